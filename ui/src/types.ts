// What the monitor's API answers.

/** `site::Line`: what is drawn. */
export interface Line {
  site: string;
  revision: string;
  domains: string[];
  site_url: string;
  page_url: string;
  firewall: boolean;
  waf: string | null;
  pools: { name: string; servers: { name: string; address: string }[] }[];
  databases: {
    name: string;
    listen: string;
    max_lag_seconds: number;
    members: { name: string; address: string; role: string }[];
  }[];
}

/** A series with one value: the Prometheus API's "vector". */
export interface Sample {
  metric: Record<string, string>;
  value: [number, string];
}

/** A series with values over time: the Prometheus API's "matrix". */
export interface Series {
  metric: Record<string, string>;
  values: [number, string][];
}

export interface Alert {
  labels: Record<string, string>;
  annotations: Record<string, string>;
  state: "firing" | "pending" | "inactive";
  activeAt?: string;
  value?: string;
}

export interface Rule {
  type: string;
  /** The group it is in, and that one's file: names of rules need not be unique. */
  group: string;
  file: string;
  name: string;
  query: string;
  duration?: number;
  state?: "firing" | "pending" | "inactive";
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  health?: string;
  lastError?: string;
}

/** `/api/bastide/v1/alert`: an alert's threshold, and what it would have fired. */
export interface LookBack {
  query: string;
  duration: number;
  keepFiringFor: number;
  threshold: { series: string; operator: string; value: number } | null;
  start: string;
  end: string;
  firing: Firing[];
  warnings: string[];
  infos: string[];
}

export interface Firing {
  labels: Record<string, string>;
  firedAt: string;
  resolvedAt: string | null;
  /** As Go writes it, `5.2e+00`. */
  value: string;
}

/** An alert of Alertmanager's API, of which only who hears of it is wanted. */
export interface Routed {
  labels: Record<string, string>;
  status: { state: string; silencedBy: string[]; inhibitedBy: string[] };
}

export interface Silence {
  id: string;
  status: { state: "active" | "pending" | "expired" };
  matchers: SilenceMatcher[];
  startsAt: string;
  endsAt: string;
  createdBy: string;
  comment: string;
}

export interface SilenceMatcher {
  name: string;
  value: string;
  isRegex: boolean;
  isEqual?: boolean;
}

/** `monitor_forecast::Answer`. Days are `2027-01-11`. */
export interface Growth {
  findings: Finding[];
  silent: string[];
  weekly_growth: number | null;
  text: string;
}

export interface Finding {
  resource: string;
  on: string | null;
  earliest: string | null;
  latest: string | null;
  used: number;
  ceiling: number;
  bearable: number;
  with_another_server: string | null;
  text: string;
}

/** How a probe fared when it was last tried. */
export interface Probe {
  name: string;
  well: boolean;
  error: string | null;
  at_ms: number;
  seconds: number;
}

/** Lines of access logs that a search found, the newest first. */
export interface Found {
  lines: LogLine[];
  /** Whether all that was asked for was looked at. */
  complete: boolean;
  /** Where older ones are looked for, by log. */
  next: Record<string, [number, number]>;
  frames: number;
  damage: string[];
}

export interface LogLine {
  log: string;
  at_ms: number;
  status: number | null;
  seconds: number | null;
  line: string;
}

export interface Target {
  labels: Record<string, string>;
  scrapeUrl?: string;
  health: "up" | "down" | "unknown";
  lastError?: string;
  lastScrape?: string;
}

/** `base::events::RuleMatch`. */
export interface RuleMatch {
  rule: number;
  source: string;
  message: string;
  data?: string;
  severity: string | null;
  tags: string[];
  variable: string;
  value: string;
  transformed: string;
  transformations: string[];
  operator: string;
  matched: string;
}

/** `base::events::Record`. */
export type Event = { at_ms: number; role: string } & (
  | {
      event: "waf_match";
      id: string;
      client: string;
      method: string;
      host: string;
      path: string;
      blocked: boolean;
      matches: RuleMatch[];
      /** What the rules counted against the request, and against its answer. */
      score?: number;
      outbound_score?: number;
    }
  | { event: "server_health"; pool: string; server: string; up: boolean; why: string }
  | { event: "member_health"; database: string; member: string; up: boolean; why: string; lsn: string | null }
  | { event: "process"; process: string; what: string; pid: number | null; why: string }
  | { event: "revision"; revision: number; committed: boolean; why: string }
  | { event: "ban"; net: string; duration: number | null; what: string; why: string }
  | { event: "alert"; alert: string; state: string; labels: [string, string][]; value: number }
  | { event: "clock_jump"; by_ms: number; why: string }
  | { event: "query"; endpoint: string; query: string; result: string; took: number; samples: number }
  | { event: "refused"; client: string; reason: string; what: string }
);
