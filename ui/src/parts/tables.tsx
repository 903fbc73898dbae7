// The same facts as numbers in columns.

import type { ComponentChildren } from "preact";
import { bytes, count, date, duration, percent, rate } from "../format.ts";
import { line, live } from "../state.ts";
import { Empty, Mark, Panel } from "./basics.tsx";

/** A table that scrolls sideways by itself where the screen is narrow; focusable, so that keys can scroll it too. */
export function Table({ label, heads, children }: { label: string; heads: string[]; children: ComponentChildren }) {
  return (
    <div class="scroll" role="region" aria-label={`Table: ${label}`} tabIndex={0}>
      <table>
        <thead>
          <tr>
            {heads.map((head, i) => (
              <th key={head} scope="col" class={i > 1 ? "number" : ""}>
                {head}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Servers() {
  const servers = live.value?.pools.flatMap((p) => p.servers) ?? [];
  return (
    <Panel id="servers" title="Web servers">
      {servers.length === 0 ? (
        <Empty>No web server is known yet. They come from the pools of the file.</Empty>
      ) : (
        <Table label="Web servers" heads={["server", "state", "req/s", "errors", "p50", "p99", "in flight", "restarts 1 h"]}>
          {servers.map((s) => (
            <tr key={s.name}>
              <th scope="row">
                {s.name} <span class="quiet address">{s.address}</span>
              </th>
              <td>
                <Mark health={s.health} />
                {s.why && s.health !== "up" && <span class="quiet why-cell">{s.why}</span>}
              </td>
              <td>{rate(s.qps)}</td>
              <td class={s.errors !== null && s.errors >= 0.01 ? "bad" : ""}>{percent(s.errors)}</td>
              <td>{duration(s.p50)}</td>
              <td>{duration(s.p99)}</td>
              <td>{count(s.inFlight)}</td>
              <td>{s.restarts === null ? "–" : Math.round(s.restarts)}</td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}

export function Databases() {
  const databases = live.value?.databases ?? [];
  if (line.value !== null && databases.length === 0) return null;
  return (
    <Panel id="databases" title="Database">
      {databases.length === 0 && <Empty>No database is known yet.</Empty>}
      {databases.map((d) => (
        <div key={d.name}>
          <p class="quiet caption">
            {d.name} · router on {d.listen} · {count(d.clients)} clients · {rate(d.statements)} statements/s
          </p>
          <Table
            label={`Database ${d.name}`}
            heads={["member", "state", "lag", "behind", "reads/s", "writes/s", "p99", "busy / idle"]}
          >
            {d.members.map((m) => (
              <tr key={m.name}>
                <th scope="row">
                  {m.name} <span class="tag">{m.role}</span> <span class="quiet address">{m.address}</span>
                </th>
                <td>
                  <Mark health={m.health} />
                  {m.why && m.health !== "up" && <span class="quiet why-cell">{m.why}</span>}
                </td>
                <td class={m.health === "warn" ? "bad" : ""}>{m.role === "replica" ? duration(m.lagSeconds) : "–"}</td>
                <td>{m.role === "replica" ? bytes(m.lagBytes) : "–"}</td>
                <td>{rate(m.reads)}</td>
                <td>{rate(m.writes)}</td>
                <td>{duration(m.p99)}</td>
                <td>
                  {count(m.active)} / {count(m.idle)}
                </td>
              </tr>
            ))}
          </Table>
        </div>
      ))}
    </Panel>
  );
}

export function Certificates() {
  const certificates = live.value?.certificates ?? [];
  return (
    <Panel id="certificates" title="Certificates">
      {certificates.length === 0 ? (
        <Empty>The edge has told of no certificate yet.</Empty>
      ) : (
        <ul class="plain-list">
          {certificates.map((c) => (
            <li key={c.name}>
              <Mark health={c.health} word={c.why} />
              <span class="grow name">{c.name}</span>
              <span class="quiet">
                {c.leftSeconds > 0 ? `${duration(c.leftSeconds).split(" ")[0]} left` : "ended"}, {date(c.endsAtMs)}
              </span>
            </li>
          ))}
        </ul>
      )}
    </Panel>
  );
}
