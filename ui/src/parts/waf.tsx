// What the WAF's rules matched within the chosen range, by rule, path or client.

import { useSignal } from "@preact/signals";
import { count, when } from "../format.ts";
import { line, nowMs, range, wafEvents, WAF_EVENTS } from "../state.ts";
import { OTHERS, SIDES, countWaf } from "../waf.ts";
import { Empty, Panel } from "./basics.tsx";
import { Table } from "./tables.tsx";

const ROWS = 10;

export function Waf() {
  const by = useSignal<(typeof SIDES)[number]>("rule");
  const shown = useSignal(ROWS);
  const mode = line.value?.waf ?? null;
  if (line.value === null || mode === null) return null;
  const all = wafEvents.value;
  // By the minute: so rows do not leave while they are read.
  const nowMin = Math.floor(nowMs.value / 60_000) * 60_000;
  const counted = countWaf(all ?? [], by.value, nowMin - range.value.seconds * 1000);
  const oldest = all?.[all.length - 1];
  const cut = all !== null && all.length >= WAF_EVENTS && oldest !== undefined && counted.events === all.length;
  const [first, second] = OTHERS[by.value];
  return (
    <Panel
      id="waf"
      title="WAF"
      aside={
        <fieldset class="segments">
          <legend class="unseen">Count WAF events by</legend>
          {SIDES.map((side) => (
            <label key={side}>
              <input
                type="radio"
                name="waf-side"
                checked={by.value === side}
                onChange={() => {
                  by.value = side;
                  shown.value = ROWS;
                }}
              />
              <span>by {side}</span>
            </label>
          ))}
        </fieldset>
      }
    >
      <p class="quiet caption">
        {counted.events === 0
          ? `mode ${mode} · last ${range.value.label}`
          : `mode ${mode} · ${count(counted.events)} requests matched, ${count(counted.refused)} refused · last ${range.value.label}`}
        {cut && `, as far as the newest ${count(WAF_EVENTS)} events go back: ${when(oldest.at_ms, nowMs.value)}`}
      </p>
      {all === null ? (
        <Empty>Waiting for the monitor.</Empty>
      ) : counted.rows.length === 0 ? (
        <Empty>No rule matched in this time.</Empty>
      ) : (
        <Table label={`WAF events by ${by.value}`} heads={[by.value, "last", "requests", "refused", "top score", first, second]}>
          {counted.rows.slice(0, shown.value).map((row) => (
            <tr key={row.key}>
              <th scope="row" class="waf-key">
                {row.key}
                {row.about && <span class="quiet address">{row.about}</span>}
              </th>
              <td>{when(row.lastMs, nowMs.value)}</td>
              <td>{count(row.events)}</td>
              <td class={row.refused > 0 ? "bad" : ""}>{count(row.refused)}</td>
              <td>{count(row.highest)}</td>
              <td>{count(row.others[0])}</td>
              <td>{count(row.others[1])}</td>
            </tr>
          ))}
        </Table>
      )}
      {counted.rows.length > shown.value && (
        <button type="button" class="more" onClick={() => (shown.value += 4 * ROWS)}>
          Show more ({counted.rows.length - shown.value})
        </button>
      )}
    </Panel>
  );
}
