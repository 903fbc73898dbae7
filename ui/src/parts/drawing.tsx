// The whiteboard drawing, with what is true of it now.

import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { bytes, count, duration, percent, rate, type Maybe } from "../format.ts";
import { spoken, type Database, type Health, type Judged, type Member, type Server, type View } from "../model.ts";
import { line, live } from "../state.ts";
import { Empty, Fact, Mark, Panel } from "./basics.tsx";

/** From one node of the drawing to another. */
interface Wire {
  from: string;
  to: string;
  /** How much flows; none where it is not known. */
  flow: Maybe;
  health: Health;
}

export function Drawing() {
  const v = live.value;
  const paper = useRef<HTMLDivElement>(null);
  if (v === null || line.value === null) {
    return (
      <Panel id="line" title="The line">
        <Empty>Waiting for the monitor to say what this site is made of.</Empty>
      </Panel>
    );
  }
  const servers = v.pools.flatMap((p) => p.servers);
  const members = v.databases.flatMap((d) => d.members);
  return (
    <Panel id="line" title="The line" aside={<Legend />}>
      <div class="paper" ref={paper}>
        <Wires paper={paper} wires={wires(v)} />
        <ol class="stages" aria-label={spoken(v)}>
          <li class="stage">
            <Clients v={v} />
          </li>
          <li class="stage">
            <Firewall v={v} />
          </li>
          <li class="stage">
            <Edge v={v} />
          </li>
          <li class="stage wide">
            {v.pools.map((pool) => (
              <div class="group" key={pool.name}>
                <h3>{v.pools.length > 1 ? `Web servers: ${pool.name}` : "Web servers"}</h3>
                {pool.servers.map((s) => (
                  <ServerNode key={s.name} server={s} />
                ))}
              </div>
            ))}
            {servers.length === 0 && <Empty>No pool in the file.</Empty>}
          </li>
          {v.databases.length > 0 && (
            <>
              <li class="stage">
                {v.databases.map((d) => (
                  <Router key={d.name} database={d} only={v.databases.length === 1} />
                ))}
              </li>
              <li class="stage wide">
                <div class="group">
                  <h3>PostgreSQL</h3>
                  {members.map((m) => (
                    <MemberNode key={`${m.database} ${m.name}`} member={m} />
                  ))}
                </div>
              </li>
            </>
          )}
        </ol>
        <Monitor v={v} />
      </div>
    </Panel>
  );
}

function Legend() {
  return (
    <p class="legend quiet">
      <Mark health="up" />
      <Mark health="warn" />
      <Mark health="down" />
      <Mark health="unknown" />
    </p>
  );
}

function wires(v: View): Wire[] {
  const list: Wire[] = [
    { from: "clients", to: "firewall", flow: v.qps, health: "up" },
    { from: "firewall", to: "edge", flow: v.qps, health: v.edge.health },
  ];
  for (const server of v.pools.flatMap((p) => p.servers)) {
    list.push({ from: "edge", to: `server ${server.name}`, flow: server.qps, health: server.health });
    for (const database of v.databases) {
      list.push({ from: `server ${server.name}`, to: `router ${database.name}`, flow: server.qps, health: server.health });
    }
  }
  for (const database of v.databases) {
    for (const member of database.members) {
      const flow = member.reads === null && member.writes === null ? null : (member.reads ?? 0) + (member.writes ?? 0);
      list.push({ from: `router ${database.name}`, to: `member ${member.name}`, flow, health: member.health });
    }
  }
  return list;
}

function Node(props: {
  id: string;
  title: string;
  note?: string | undefined;
  state: Judged;
  word?: string;
  children: ComponentChildren;
}) {
  return (
    <article class={`node ${props.state.health}`} data-node={props.id}>
      <header>
        <h3>
          {props.title}
          {props.note && <span class="note">{props.note}</span>}
        </h3>
        <Mark health={props.state.health} {...(props.word === undefined ? {} : { word: props.word })} />
      </header>
      <dl>{props.children}</dl>
      {props.state.why && props.state.health !== "up" && <p class="why">{props.state.why}</p>}
    </article>
  );
}

function Clients({ v }: { v: View }) {
  return (
    <article class="node plain" data-node="clients">
      <header>
        <h3>Clients</h3>
      </header>
      <p class="big">
        {rate(v.qps)}
        <span> req/s</span>
      </p>
      <dl>
        <Fact name="connections">{count(v.connections)}</Fact>
        <Fact name="new / s">{rate(v.accepted)}</Fact>
        <Fact name="sent / s">{bytes(v.sent)}</Fact>
      </dl>
    </article>
  );
}

function Firewall({ v }: { v: View }) {
  const f = v.firewall;
  return (
    <Node id="firewall" title="Firewall" state={{ health: f.health, why: "" }} word={f.applied ? "applied" : "shown only"}>
      <Fact name="bans">{count(f.bans)}</Fact>
      <Fact name="banned / s">{rate(f.banned)}</Fact>
      <Fact name="limited / s">{rate(f.limited)}</Fact>
      <Fact name="refused / s">{rate(f.refused)}</Fact>
    </Node>
  );
}

function Edge({ v }: { v: View }) {
  const blocked = v.waf.blocked;
  return (
    <Node id="edge" title="Edge" state={v.edge}>
      <Fact name="errors" tone={v.errors !== null && v.errors >= 0.01 ? "down" : undefined}>
        {percent(v.errors)}
      </Fact>
      <Fact name="p50">{duration(v.p50)}</Fact>
      <Fact name="p99">{duration(v.p99)}</Fact>
      <Fact name="in flight">{count(v.inFlight)}</Fact>
      <Fact name="handshakes / s">{rate(v.edge.handshakes)}</Fact>
      {v.waf.mode === null ? (
        <Fact name="WAF">off</Fact>
      ) : (
        <Fact name={v.waf.mode === "block" ? "WAF blocks / s" : "WAF notes / s"}>
          {rate(v.waf.mode === "block" ? (blocked ?? (v.waf.inspected === null ? null : 0)) : v.waf.detected)}
        </Fact>
      )}
    </Node>
  );
}

function ServerNode({ server }: { server: Server }) {
  return (
    <Node id={`server ${server.name}`} title={server.name} state={server}>
      <Fact name="req/s">{rate(server.qps)}</Fact>
      <Fact name="errors" tone={server.errors !== null && server.errors >= 0.01 ? "down" : undefined}>
        {percent(server.errors)}
      </Fact>
      <Fact name="p99">{duration(server.p99)}</Fact>
    </Node>
  );
}

function Router({ database, only }: { database: Database; only: boolean }) {
  return (
    <Node id={`router ${database.name}`} title={only ? "Database router" : `Router: ${database.name}`} state={database}>
      <Fact name="statements / s">{rate(database.statements)}</Fact>
      <Fact name="reads on replicas">{percent(database.replicaShare)}</Fact>
      <Fact name="clients">{count(database.clients)}</Fact>
      <Fact name="wait p99">{duration(database.wait)}</Fact>
      <Fact name="errors / s" tone={database.errors ? "warn" : undefined}>
        {rate(database.errors ?? (database.statements === null ? null : 0))}
      </Fact>
    </Node>
  );
}

function MemberNode({ member }: { member: Member }) {
  const flow = member.reads === null && member.writes === null ? null : (member.reads ?? 0) + (member.writes ?? 0);
  const replica = member.role === "replica";
  return (
    <Node id={`member ${member.name}`} title={member.name} note={member.role} state={member}>
      <Fact name="stmt/s">{rate(flow)}</Fact>
      <Fact name="p99">{duration(member.p99)}</Fact>
      {replica ? (
        <Fact name="lag" tone={member.health === "warn" ? "warn" : undefined}>
          {duration(member.lagSeconds)}
        </Fact>
      ) : (
        <Fact name="active">{count(member.active)}</Fact>
      )}
    </Node>
  );
}

function Monitor({ v }: { v: View }) {
  const m = v.monitor;
  return (
    <article class={`node monitor ${m.health}`} aria-label="Monitor">
      <header>
        <h3>Monitor</h3>
        <Mark health={m.health} />
      </header>
      <p class="note">sees all of the line; nothing on it waits</p>
      <dl>
        <Fact name="targets">
          {m.targetsUp} / {m.targets}
        </Fact>
        <Fact name="series">{count(m.series)}</Fact>
        <Fact name="stored">{bytes(m.bytes)}</Fact>
        <Fact name="processors">{percent(v.host.processors)}</Fact>
        <Fact name="memory">{percent(v.host.memory)}</Fact>
        <Fact name="disk" tone={v.host.disk !== null && v.host.disk > 0.9 ? "warn" : undefined}>
          {percent(v.host.disk)}
        </Fact>
      </dl>
      {m.why && <p class="why">{m.why}</p>}
    </article>
  );
}

interface Drawn extends Wire {
  path: string;
}

/** The lines between nodes, drawn from where the nodes are. */
function Wires({ paper, wires }: { paper: RefObject<HTMLDivElement | null>; wires: Wire[] }) {
  const [size, setSize] = useState(0);
  const [paths, setPaths] = useState<Map<string, string>>(new Map());
  useLayoutEffect(() => {
    const observer = new ResizeObserver(() => setSize((n) => n + 1));
    if (paper.current) observer.observe(paper.current);
    return () => observer.disconnect();
  }, []);
  const names = wires.map((w) => `${w.from}→${w.to}`).join("|");
  useLayoutEffect(() => {
    const root = paper.current;
    if (root) setPaths(measure(root, wires));
  }, [names, size]);
  const most = Math.max(1, ...wires.map((w) => w.flow ?? 0));
  return (
    <svg class="wires" aria-hidden="true">
      {wires
        .map((wire): Drawn => ({ ...wire, path: paths.get(`${wire.from}→${wire.to}`) ?? "" }))
        .filter((wire) => wire.path !== "")
        .map((wire) => (
          <g key={`${wire.from}→${wire.to}`} class={wire.health} style={{ "--wide": `${(1.5 + 3 * Math.sqrt((wire.flow ?? 0) / most)).toFixed(1)}px` }}>
            <path class="wire" d={wire.path} />
            {wire.flow !== null && wire.flow > 0 && wire.health !== "down" && <path class="flow" d={wire.path} />}
          </g>
        ))}
    </svg>
  );
}

function measure(root: HTMLElement, wires: Wire[]): Map<string, string> {
  const origin = root.getBoundingClientRect();
  const nodes = new Map<string, DOMRect>();
  for (const element of root.querySelectorAll<HTMLElement>("[data-node]")) {
    nodes.set(element.dataset["node"] ?? "", element.getBoundingClientRect());
  }
  const paths = new Map<string, string>();
  for (const { from, to } of wires) {
    const a = nodes.get(from);
    const b = nodes.get(to);
    if (!a || !b) continue;
    // Side by side: from edge to edge. One below the other (a narrow screen): down the left margin.
    const sideways = b.left >= a.right;
    const [x1, y1] = sideways ? [a.right, a.top + a.height / 2] : [a.left, a.top + 22];
    const [x2, y2] = sideways ? [b.left, b.top + b.height / 2] : [b.left, b.top + 22];
    const [ax, ay, bx, by] = [x1 - origin.left, y1 - origin.top, x2 - origin.left, y2 - origin.top];
    const bend = sideways ? (bx - ax) / 2 : 0;
    const path = sideways
      ? `M${ax} ${ay}C${ax + bend} ${ay} ${bx - bend} ${by} ${bx} ${by}`
      : `M${ax} ${ay}h-6a6 6 0 0 0-6 6V${by - 6}a6 6 0 0 0 6 6h6`;
    paths.set(`${from}→${to}`, path);
  }
  return paths;
}
