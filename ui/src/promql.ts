// Every question the page asks the monitor. The metrics are those of
// `crates/base/src/names.rs` and node_exporter's.

/** Numbers that are read as they are: one query brings them all. */
export const GAUGES = [
  "up",
  "bastide_bans",
  "bastide_build_info",
  "bastide_database_backends",
  "bastide_database_clients",
  "bastide_database_member_up",
  "bastide_database_replica_lag_bytes",
  "bastide_database_replica_lag_seconds",
  "bastide_edge_certificate_expiry_timestamp_seconds",
  "bastide_edge_connections",
  "bastide_edge_requests_in_flight",
  "bastide_edge_server_in_flight",
  "bastide_edge_server_up",
  "bastide_monitor_series",
  "bastide_monitor_store_bytes",
  "bastide_process_up",
  "node_filesystem_avail_bytes",
  "node_filesystem_readonly",
  "node_filesystem_size_bytes",
  "node_load1",
  "node_memory_MemAvailable_bytes",
  "node_memory_MemTotal_bytes",
  "site:errors:ratio",
  "site:latency:p50",
  "site:latency:p95",
  "site:latency:p99",
  "site:qps",
] as const;

export type Gauge = (typeof GAUGES)[number];

/** A quoted PromQL string. */
export function quote(text: string): string {
  return `"${text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n")}"`;
}

/** A series selector: `name{label="value"}`. */
export function selector(name: string, labels: Record<string, string> = {}): string {
  const inside = Object.entries(labels).map(([label, value]) => `${label}=${quote(value)}`);
  return inside.length === 0 ? name : `${name}{${inside.join(",")}}`;
}

export function sum(by: string[], inner: string): string {
  return by.length === 0 ? `sum(${inner})` : `sum by (${by.join(", ")}) (${inner})`;
}

export function perSecond(name: string, window: string, labels: Record<string, string> = {}): string {
  return `rate(${selector(name, labels)}[${window}])`;
}

/** A percentile of a histogram, over everything but `by`. */
export function quantile(q: number, histogram: string, window: string, by: string[] = []): string {
  return `histogram_quantile(${q}, ${sum(["le", ...by], perSecond(`${histogram}_bucket`, window))})`;
}

/** `part`, or zero where there is no such series yet but `whole` is counted. */
export function orZero(part: string, whole: string): string {
  return `${part} or 0 * ${whole}`;
}

/** Requests a second by class: the label `class` is `2xx` … `5xx`. */
export function requestsByClass(window: string): string {
  const requests = perSecond("bastide_edge_requests_total", window);
  return sum(["class"], `label_replace(${requests}, "class", "\${1}xx", "code", "(.).*")`);
}

/** The share of time that the processors were not idle, 0 to 1. */
export function processors(window: string): string {
  return `1 - avg(${perSecond("node_cpu_seconds_total", window, { mode: "idle" })})`;
}

export const MEMORY = "1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes";

/** The fullest real file system, 0 to 1. */
export const DISK =
  'max(1 - node_filesystem_avail_bytes{fstype!~"tmpfs|ramfs|fuse.*|overlay|squashfs"} / node_filesystem_size_bytes)';
/** Where everything is an overlay (a container), that one is the real one. */
export const DISK_OR_OVERLAY = `${DISK} or max(1 - node_filesystem_avail_bytes{fstype="overlay"} / node_filesystem_size_bytes)`;

/** The questions behind the drawing and the tables, asked at every poll. */
export const LIVE = {
  gauges: `{__name__=~${quote(GAUGES.join("|"))}}`,
  age: "time() - max(timestamp(up))",
  requests: sum(["code"], perSecond("bastide_edge_requests_total", "30s")),
  sent: sum([], perSecond("bastide_edge_sent_bytes_total", "30s")),
  accepted: sum([], perSecond("bastide_edge_accepted_total", "30s")),
  handshakes: sum(["result"], perSecond("bastide_edge_tls_handshakes_total", "1m")),
  banned: sum([], perSecond("bastide_edge_banned_total", "1m")),
  refused: sum([], perSecond("bastide_edge_refused_total", "1m")),
  limited: sum([], perSecond("bastide_edge_rate_limited_total", "1m")),
  waf: sum(["verdict"], perSecond("bastide_waf_requests_total", "1m")),
  retries: sum(["pool"], "increase(bastide_edge_retries_total[5m])"),
  serverRequests: sum(["pool", "server", "code"], perSecond("bastide_edge_server_requests_total", "30s")),
  serverP50: quantile(0.5, "bastide_edge_server_duration_seconds", "1m", ["pool", "server"]),
  serverP99: quantile(0.99, "bastide_edge_server_duration_seconds", "1m", ["pool", "server"]),
  statements: sum(["database", "member", "kind"], perSecond("bastide_database_statements_total", "30s")),
  statementP99: quantile(0.99, "bastide_database_statement_duration_seconds", "1m", ["database", "member"]),
  wait: quantile(0.99, "bastide_database_pool_wait_seconds", "1m", ["database"]),
  databaseErrors: sum(["database", "class"], perSecond("bastide_database_errors_total", "1m")),
  restarts: sum(["process"], "increase(bastide_process_restarts_total[1h])"),
  processors: processors("30s"),
  disk: DISK_OR_OVERLAY,
} as const;

/** When the first certificate that a probe was shown ends. */
export const PROBE_ENDS = 'min by (instance) (probe_ssl_earliest_cert_expiry{job="probe"})';
/** The share of the last day's tries that succeeded. */
export const PROBE_UPTIME = 'avg by (instance) (avg_over_time(probe_success{job="probe"}[1d]))';

export type LiveName = keyof typeof LIVE;

/** The time ranges a reader can choose. */
export const RANGES = [
  { name: "15m", label: "15 min", seconds: 900, step: 5, refresh: 10 },
  { name: "1h", label: "1 h", seconds: 3600, step: 15, refresh: 15 },
  { name: "6h", label: "6 h", seconds: 21600, step: 90, refresh: 60 },
  { name: "24h", label: "24 h", seconds: 86400, step: 360, refresh: 120 },
  { name: "7d", label: "7 d", seconds: 604800, step: 2520, refresh: 300 },
] as const;

export type Range = (typeof RANGES)[number];

/** How far a rate looks back: every sample of a step, and never less than live rates do. */
export function window(range: Range): string {
  return `${Math.max(30, range.step)}s`;
}

/** The grid of times a range is asked for: whole steps, so that a curve does not tremble as it moves. */
export function grid(range: Range, nowS: number): { start: number; end: number; step: number } {
  const end = Math.floor(nowS / range.step) * range.step;
  return { start: end - range.seconds, end, step: range.step };
}

/** A line of a chart: a query, and which of its series. */
export interface Curve {
  label: string;
  query: string;
  /** Only the series with these labels; none means the only one. */
  pick?: Record<string, string>;
  /** A colour of the stylesheet, where the order's own will not do. */
  colour?: string;
  /** Whether the area beneath is tinted. */
  filled?: boolean;
  /** An edge of a band that is tinted: no line of its own. The lower edge comes after the upper one. */
  edge?: "upper" | "lower";
  /** Not named where there is no such series. */
  optional?: boolean;
}

export interface Chart {
  id: string;
  title: string;
  /** What the numbers are, for the heading and for who cannot see the curve. */
  unit: "per second" | "seconds" | "share" | "count" | "value";
  about: string;
  /** Said where there is nothing to draw. */
  empty: string;
  curves: Curve[];
}

/** The golden signals. */
export function charts(range: Range): Chart[] {
  const w = window(range);
  const byClass = requestsByClass(w);
  const requests = "bastide_edge_request_duration_seconds";
  const statements = sum(["kind"], perSecond("bastide_database_statements_total", w));
  return [
    {
      id: "traffic",
      title: "Traffic",
      unit: "per second",
      about: "requests per second",
      empty: "No request was answered in this time.",
      curves: [
        { label: "all requests", query: sum([], perSecond("bastide_edge_requests_total", w)), filled: true },
        { label: "2xx", query: byClass, pick: { class: "2xx" } },
        { label: "3xx", query: byClass, pick: { class: "3xx" } },
        { label: "expected", query: "site:qps:expected", colour: "quiet", optional: true },
        { label: "usual", query: "site:qps:high", colour: "band", edge: "upper", optional: true },
        { label: "usual", query: "site:qps:low", colour: "band", edge: "lower", optional: true },
      ],
    },
    {
      id: "errors",
      title: "Errors",
      unit: "per second",
      about: "failures per second",
      empty: "No request failed in this time.",
      curves: [
        { label: "5xx", query: byClass, pick: { class: "5xx" }, colour: "down", filled: true },
        { label: "4xx", query: byClass, pick: { class: "4xx" } },
        {
          label: "WAF blocks",
          query: orZero(
            sum([], perSecond("bastide_waf_requests_total", w, { verdict: "block" })),
            sum([], perSecond("bastide_waf_requests_total", w)),
          ),
        },
        {
          label: "database",
          query: orZero(
            sum([], perSecond("bastide_database_errors_total", w)),
            sum([], perSecond("bastide_database_statements_total", w)),
          ),
        },
      ],
    },
    {
      id: "latency",
      title: "Latency",
      unit: "seconds",
      about: "request duration",
      empty: "No request was answered in this time.",
      curves: [
        { label: "p99", query: quantile(0.99, requests, w) },
        { label: "p95", query: quantile(0.95, requests, w) },
        { label: "p50", query: quantile(0.5, requests, w) },
      ],
    },
    {
      id: "saturation",
      title: "Saturation",
      unit: "share",
      about: "share of this machine in use",
      empty: "No readings of the machine: does the agent run?",
      curves: [
        { label: "processors", query: processors(w) },
        { label: "memory", query: MEMORY },
        { label: "disk", query: DISK_OR_OVERLAY },
      ],
    },
    {
      id: "in-flight",
      title: "In flight",
      unit: "count",
      about: "being worked on at once",
      empty: "Nothing was counted in this time.",
      curves: [
        { label: "requests", query: "sum(bastide_edge_requests_in_flight)" },
        { label: "statements", query: sum([], selector("bastide_database_backends", { state: "active" })) },
        { label: "client connections", query: "sum(bastide_edge_connections)" },
      ],
    },
    {
      id: "database",
      title: "Database",
      unit: "per second",
      about: "statements per second",
      empty: "No statement passed the router in this time.",
      curves: [
        { label: "reads", query: statements, pick: { kind: "read" }, filled: true },
        { label: "writes", query: statements, pick: { kind: "write" } },
      ],
    },
  ];
}
