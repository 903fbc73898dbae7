// From samples to what is drawn: who is well, who is not, and why. Pure, so that
// every verdict of the page has a test.

import type { Alert, Line, Sample, Target } from "./types.ts";
import type { LiveName } from "./promql.ts";
import { duration, percent, rate, type Maybe } from "./format.ts";

/** Well, impaired, broken, or not known. */
export type Health = "up" | "warn" | "down" | "unknown";

export interface Judged {
  health: Health;
  /** One short clause; empty where there is nothing to say. */
  why: string;
}

export interface Server extends Judged {
  pool: string;
  name: string;
  address: string;
  qps: Maybe;
  errors: Maybe;
  p50: Maybe;
  p99: Maybe;
  inFlight: Maybe;
  restarts: Maybe;
}

export interface Member extends Judged {
  database: string;
  name: string;
  address: string;
  role: string;
  lagSeconds: Maybe;
  lagBytes: Maybe;
  reads: Maybe;
  writes: Maybe;
  p99: Maybe;
  active: Maybe;
  idle: Maybe;
}

export interface Database extends Judged {
  name: string;
  listen: string;
  statements: Maybe;
  replicaShare: Maybe;
  clients: Maybe;
  errors: Maybe;
  wait: Maybe;
  members: Member[];
}

export interface Certificate extends Judged {
  name: string;
  endsAtMs: number;
  leftSeconds: number;
}

export interface View {
  qps: Maybe;
  errors: Maybe;
  p50: Maybe;
  p95: Maybe;
  p99: Maybe;
  inFlight: Maybe;
  connections: Maybe;
  accepted: Maybe;
  sent: Maybe;
  retries: Maybe;
  firewall: Judged & { applied: boolean; bans: Maybe; banned: Maybe; refused: Maybe; limited: Maybe };
  edge: Judged & { handshakes: Maybe; resumed: Maybe; failed: Maybe };
  waf: Judged & { mode: string | null; blocked: Maybe; detected: Maybe; inspected: Maybe };
  pools: { name: string; servers: Server[] }[];
  databases: Database[];
  monitor: Judged & { targetsUp: number; targets: number; series: Maybe; bytes: Maybe };
  host: { processors: Maybe; memory: Maybe; disk: Maybe; load: Maybe };
  certificates: Certificate[];
  /** Processes that do not run, by name. */
  stopped: string[];
  /** How old the newest sample is, in seconds. */
  age: Maybe;
}

/** The answers to `LIVE`; a question that failed is absent. */
export type Answers = Partial<Record<LiveName, Sample[]>>;

const DAY = 86400;
/** From here on, failures are worth a colour: one request in a hundred. */
const MANY_ERRORS = 0.01;

type Labels = Record<string, string>;

function matches(sample: Sample, labels: Labels): boolean {
  return Object.entries(labels).every(([name, value]) => sample.metric[name] === value);
}

function number(text: string | undefined): Maybe {
  const n = Number(text);
  return text === undefined || !Number.isFinite(n) ? null : n;
}

/** The first sample with these labels. */
export function pick(samples: Sample[] | undefined, labels: Labels = {}): Maybe {
  return number(samples?.find((s) => matches(s, labels))?.value[1]);
}

/** The sum of all samples with these labels; unknown where there are none. */
export function total(samples: Sample[] | undefined, labels: Labels = {}): Maybe {
  let sum: Maybe = null;
  for (const sample of samples ?? []) {
    const n = matches(sample, labels) ? number(sample.value[1]) : null;
    if (n !== null) sum = (sum ?? 0) + n;
  }
  return sum;
}

function byName(samples: Sample[] | undefined): Map<string, Sample[]> {
  const map = new Map<string, Sample[]>();
  for (const sample of samples ?? []) {
    const name = sample.metric["__name__"] ?? "";
    map.set(name, [...(map.get(name) ?? []), sample]);
  }
  return map;
}

/** Zero where the whole is known and nothing of it failed. */
function share(part: Maybe, whole: Maybe): Maybe {
  if (whole === null) return null;
  return whole === 0 ? 0 : (part ?? 0) / whole;
}

function failed(samples: Sample[] | undefined, labels: Labels): Maybe {
  const errors = (samples ?? []).filter((s) => /^(5..|error)$/.test(s.metric["code"] ?? ""));
  return share(total(errors, labels), total(samples, labels));
}

function judge(health: Health, why = ""): Judged {
  return { health, why };
}

/** Everything the drawing and the tables show. */
export function view(line: Line, answers: Answers, targets: Target[], nowMs: number): View {
  const gauges = byName(answers.gauges);
  const gauge = (name: string, labels: Labels = {}) => pick(gauges.get(name), labels);
  const scraped = (job: string): Judged => {
    const target = targets.find((t) => t.labels["job"] === job);
    const up = gauge("up", { job });
    if (target?.health === "down" || up === 0) {
      return judge("down", target?.lastError ? `not readable: ${target.lastError}` : "not readable");
    }
    return up === null ? judge("unknown", "no reading yet") : judge("up");
  };

  const edge = scraped("edge");
  const errors = gauge("site:errors:ratio") ?? failed(answers.requests, {});
  if (edge.health === "up" && errors !== null && errors >= MANY_ERRORS) {
    edge.health = "warn";
    edge.why = `${percent(errors)} of requests fail`;
  }
  const restarts = (process: string) => pick(answers.restarts, { process });
  const running = (process: string) => gauge("bastide_process_up", { process });

  const pools = line.pools.map((pool) => ({
    name: pool.name,
    servers: pool.servers.map((s) => {
      const labels = { pool: pool.name, server: s.name };
      const server: Server = {
        ...judge("unknown", "no reading yet"),
        pool: pool.name,
        name: s.name,
        address: s.address,
        qps: total(answers.serverRequests, labels),
        errors: failed(answers.serverRequests, labels),
        p50: pick(answers.serverP50, labels),
        p99: pick(answers.serverP99, labels),
        inFlight: gauge("bastide_edge_server_in_flight", labels),
        restarts: restarts(s.name),
      };
      return { ...server, ...serverHealth(server, gauge("bastide_edge_server_up", labels), running(s.name)) };
    }),
  }));

  const databases = line.databases.map((database) => databaseView(database, answers, gauges, scraped("database")));

  const certificates = (gauges.get("bastide_edge_certificate_expiry_timestamp_seconds") ?? [])
    .map((sample): Certificate => {
      const endsAtMs = (number(sample.value[1]) ?? 0) * 1000;
      const leftSeconds = (endsAtMs - nowMs) / 1000;
      const health =
        leftSeconds <= 0
          ? judge("down", "has ended")
          : leftSeconds < 14 * DAY
            ? judge("warn", "ends soon")
            : judge("up", "good");
      return { ...health, name: sample.metric["name"] ?? "?", endsAtMs, leftSeconds };
    })
    .sort((a, b) => a.leftSeconds - b.leftSeconds || a.name.localeCompare(b.name));

  const targetsUp = targets.filter((t) => t.health === "up").length;
  const lost = targets.filter((t) => t.health === "down").map((t) => t.labels["instance"] ?? t.labels["job"] ?? "?");
  const available = gauge("node_memory_MemAvailable_bytes");
  const memory = gauge("node_memory_MemTotal_bytes");

  return {
    qps: gauge("site:qps") ?? total(answers.requests),
    errors,
    p50: gauge("site:latency:p50"),
    p95: gauge("site:latency:p95"),
    p99: gauge("site:latency:p99"),
    inFlight: gauge("bastide_edge_requests_in_flight"),
    connections: total(gauges.get("bastide_edge_connections")),
    accepted: pick(answers.accepted),
    sent: pick(answers.sent),
    retries: total(answers.retries),
    firewall: {
      ...judge(line.firewall ? "up" : "unknown", line.firewall ? "" : "not applied here"),
      applied: line.firewall,
      bans: total(gauges.get("bastide_bans")),
      banned: pick(answers.banned),
      refused: pick(answers.refused),
      limited: pick(answers.limited),
    },
    edge: {
      ...edge,
      handshakes: total(answers.handshakes),
      resumed: pick(answers.handshakes, { result: "resumed" }),
      failed: pick(answers.handshakes, { result: "failed" }),
    },
    waf: {
      ...judge(line.waf === null ? "unknown" : edge.health === "down" ? "unknown" : "up"),
      mode: line.waf,
      blocked: pick(answers.waf, { verdict: "block" }),
      detected: pick(answers.waf, { verdict: "detect" }),
      inspected: total(answers.waf),
    },
    pools,
    databases,
    monitor: {
      ...(lost.length > 0 ? judge("warn", `cannot read ${list(lost)}`) : judge("up")),
      targetsUp,
      targets: targets.length,
      series: gauge("bastide_monitor_series"),
      bytes: gauge("bastide_monitor_store_bytes"),
    },
    host: {
      processors: pick(answers.processors),
      memory: available === null || memory === null ? null : 1 - available / memory,
      disk: pick(answers.disk),
      load: gauge("node_load1"),
    },
    certificates,
    stopped: (gauges.get("bastide_process_up") ?? [])
      .filter((s) => number(s.value[1]) === 0)
      .map((s) => s.metric["process"] ?? "?")
      .sort(),
    age: pick(answers.age),
  };
}

function serverHealth(server: Server, up: Maybe, running: Maybe): Judged {
  if (running === 0) return judge("down", "its process does not run");
  if (up === 0) return judge("down", "out of its pool");
  if (up === null) return judge("unknown", "no reading yet");
  if (server.errors !== null && server.errors >= MANY_ERRORS) {
    return judge("warn", `${percent(server.errors)} of its answers fail`);
  }
  if (server.restarts !== null && server.restarts >= 0.5) {
    const times = Math.round(server.restarts);
    return judge("warn", `restarted ${times === 1 ? "once" : `${times} times`} within the hour`);
  }
  return judge("up");
}

type LineDatabase = Line["databases"][number];

function databaseView(
  database: LineDatabase,
  answers: Answers,
  gauges: Map<string, Sample[]>,
  router: Judged,
): Database {
  const labels = { database: database.name };
  const ups = gauges.get("bastide_database_member_up");
  const members = database.members.map((m): Member => {
    const mine = { ...labels, member: m.name };
    const roles = (ups ?? []).filter((s) => matches(s, mine));
    const role = roles.find((s) => s.value[1] === "1")?.metric["role"];
    const member: Member = {
      ...judge("unknown", "no reading yet"),
      database: database.name,
      name: m.name,
      address: m.address,
      role: role ?? m.role,
      lagSeconds: pick(gauges.get("bastide_database_replica_lag_seconds"), mine),
      lagBytes: pick(gauges.get("bastide_database_replica_lag_bytes"), mine),
      reads: pick(answers.statements, { ...mine, kind: "read" }),
      writes: pick(answers.statements, { ...mine, kind: "write" }),
      p99: pick(answers.statementP99, mine),
      active: pick(gauges.get("bastide_database_backends"), { ...mine, state: "active" }),
      idle: pick(gauges.get("bastide_database_backends"), { ...mine, state: "idle" }),
    };
    if (roles.length === 0) return member;
    if (role === undefined) return { ...member, ...judge("down", "does not answer") };
    if (role === "replica" && member.lagSeconds !== null && member.lagSeconds > database.max_lag_seconds) {
      return { ...member, ...judge("warn", `${duration(member.lagSeconds)} behind: gets no reads`) };
    }
    return { ...member, ...judge("up") };
  });

  const onReplicas = members.filter((m) => m.role === "replica").reduce((n, m) => n + (m.reads ?? 0), 0);
  const statements = total(answers.statements, labels);
  const primary = members.find((m) => m.role === "primary" && m.health === "up");
  const known = members.some((m) => m.health !== "unknown");
  const state: Judged =
    router.health !== "up"
      ? router
      : known && !primary
        ? judge("down", "no primary: writes fail")
        : judge("up");
  return {
    ...state,
    name: database.name,
    listen: database.listen,
    statements,
    replicaShare: share(onReplicas, statements === null ? null : members.reduce((n, m) => n + (m.reads ?? 0), 0)),
    clients: pick(gauges.get("bastide_database_clients"), labels),
    errors: total(answers.databaseErrors, labels),
    wait: pick(answers.wait, labels),
    members,
  };
}

/** `a`, `a and b`, `a, b and 3 more`. */
export function list(names: string[]): string {
  if (names.length <= 2) return names.join(" and ");
  if (names.length === 3) return `${names[0]}, ${names[1]} and ${names[2]}`;
  return `${names[0]}, ${names[1]} and ${names.length - 2} more`;
}

/** The whole status in one line. */
export function verdict(v: View, alerts: Alert[]): Judged {
  const servers = v.pools.flatMap((p) => p.servers);
  const members = v.databases.flatMap((d) => d.members);
  const down = [...servers, ...members].filter((x) => x.health === "down").map((x) => x.name);
  const impaired = [...servers, ...members].filter((x) => x.health === "warn").map((x) => x.name);
  const firing = alerts.filter((a) => a.state === "firing").length;
  const parts: string[] = [];
  if (v.edge.health === "down") parts.push("the edge is not readable");
  for (const database of v.databases) {
    if (database.health === "down") parts.push(`database ${database.name}: ${database.why}`);
  }
  if (down.length > 0) parts.push(`${list(down)} ${down.length === 1 ? "is" : "are"} down`);
  if (impaired.length > 0) parts.push(`${list(impaired)} ${impaired.length === 1 ? "is" : "are"} impaired`);
  const stopped = v.stopped.filter((name) => !down.some((d) => name === d || name.endsWith(`.${d}`)));
  if (stopped.length > 0) parts.push(`${list(stopped)} ${stopped.length === 1 ? "does" : "do"} not run`);
  if (v.edge.health === "warn") parts.push(v.edge.why);
  if (firing > 0) parts.push(`${firing} ${firing === 1 ? "alert fires" : "alerts fire"}`);
  const everyServerDown = servers.length > 0 && servers.every((s) => s.health === "down");
  const noDatabase = v.databases.some((d) => d.health === "down");
  if (parts.length > 0) {
    const severe = everyServerDown || noDatabase || v.edge.health === "down";
    return judge(severe ? "down" : "warn", sentence(parts));
  }
  if (v.edge.health === "unknown") return judge("unknown", "Nothing has been read yet; the first readings take a few seconds.");
  return judge("up", v.qps ? "Everything is up." : "Everything is up; no traffic just now.");
}

function sentence(parts: string[]): string {
  const text = parts.join("; ");
  // Names keep their own letters: `app/2 is down`.
  const word = /^(the|database) /.test(text);
  return `${word ? text.charAt(0).toUpperCase() : text.charAt(0)}${text.slice(1)}.`;
}

/** What a screen reader says of the drawing. */
export function spoken(v: View): string {
  const servers = v.pools.flatMap((p) => p.servers);
  return `${rate(v.qps)} requests per second, ${percent(v.errors)} failing, p99 ${duration(v.p99)}; ${servers.filter((s) => s.health === "up").length} of ${servers.length} web servers up`;
}
