// What is tried from outside, and how it fares.

import { ago, date, duration, percent } from "../format.ts";
import { nowMs, probeReadings, probes } from "../state.ts";
import { visible } from "../shell.ts";
import { Empty, Mark, Panel } from "./basics.tsx";
import { Table } from "./tables.tsx";

/** A certificate that ends earlier is about to be noticed by others. */
const SOON_S = 14 * 86_400;

export function Probes() {
  const all = probes.value;
  const { endsS, uptime } = probeReadings.value;
  // What fails first.
  const sorted = [...(all ?? [])].sort((a, b) => Number(a.well) - Number(b.well) || (a.name < b.name ? -1 : 1));
  return (
    <Panel id="probes" title="Probes" aside={<a href="/status">Status page</a>}>
      {all === null ? (
        <Empty>Waiting for the monitor.</Empty>
      ) : all.length === 0 ? (
        <Empty>
          Nothing is tried from outside, or not yet. A probe is a <code>[probe.NAME]</code> of the file.
        </Empty>
      ) : (
        <Table label="Probes" heads={["probe", "state", "tried", "took", "last 24 h", "certificate"]}>
          {sorted.map((probe) => {
            const ends = endsS.get(probe.name);
            const left = ends === undefined ? null : ends - nowMs.value / 1000;
            return (
              <tr key={probe.name}>
                <th scope="row" class="probe-name">
                  {visible(probe.name)}
                </th>
                <td>
                  <Mark health={probe.well ? "up" : "down"} />
                  {probe.error && <span class="quiet why-cell">{visible(probe.error)}</span>}
                </td>
                <td>{ago((nowMs.value - probe.at_ms) / 1000)}</td>
                <td>{duration(probe.seconds)}</td>
                <td>{percent(uptime.get(probe.name) ?? null)}</td>
                <td class={left !== null && left < SOON_S ? "bad" : ""}>
                  {ends === undefined || left === null ? "–" : left <= 0 ? `ended ${date(ends * 1000)}` : `${duration(left).split(" ")[0]}, ${date(ends * 1000)}`}
                </td>
              </tr>
            );
          })}
        </Table>
      )}
    </Panel>
  );
}
