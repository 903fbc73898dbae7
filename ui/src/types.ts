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
  name: string;
  query: string;
  duration?: number;
  state?: "firing" | "pending" | "inactive";
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  health?: string;
  lastError?: string;
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
  | { event: "refused"; client: string; reason: string; what: string }
);
