// What an event means to a person.

import { duration } from "./format.ts";
import type { Event } from "./types.ts";
import type { Health } from "./model.ts";

/** The kinds a reader filters by. */
export const KINDS = ["WAF", "health", "process", "ban", "alert", "change", "query", "refused"] as const;
export type Kind = (typeof KINDS)[number];

/** Their names in the event log. */
export const NAMES: Record<Kind, Event["event"][]> = {
  WAF: ["waf_match"],
  health: ["server_health", "member_health", "clock_jump"],
  process: ["process"],
  ban: ["ban"],
  alert: ["alert"],
  change: ["revision"],
  query: ["query"],
  refused: ["refused"],
};

export interface Told {
  kind: Kind;
  tone: Health;
  /** Who or what. */
  subject: string;
  /** What happened, and why. */
  text: string;
}

const health = (name: string, up: boolean, why: string): Told => ({
  kind: "health",
  tone: up ? "up" : "down",
  subject: name,
  text: `${up ? "in again" : "taken out"}${why ? `: ${why}` : ""}`,
});

/** An event in words. */
export function tell(event: Event): Told {
  switch (event.event) {
    case "waf_match": {
      const rules = [...new Set(event.matches.map((m) => m.message || `rule ${m.rule}`))];
      return {
        kind: "WAF",
        tone: event.blocked ? "warn" : "unknown",
        subject: event.client,
        text: `${event.blocked ? "blocked" : "noticed"} ${event.method} ${event.path}: ${rules.join(", ") || "no rule told"}`,
      };
    }
    case "server_health":
      return health(event.server, event.up, event.why);
    case "member_health":
      return health(event.member, event.up, event.why);
    case "process":
      return {
        kind: "process",
        tone: /^(ended|failed|restarting)$/.test(event.what) ? "warn" : "up",
        subject: event.process,
        text: `${event.what}${event.pid ? ` (pid ${event.pid})` : ""}${event.why ? `: ${event.why}` : ""}`,
      };
    case "revision":
      return {
        kind: "change",
        tone: event.committed ? "up" : "warn",
        subject: `r${event.revision}`,
        text: `${event.committed ? "runs now" : "refused"}${event.why ? `: ${event.why}` : ""}`,
      };
    case "ban": {
      const howLong = event.what === "ban" && event.duration !== null ? ` for ${duration(event.duration / 1000)}` : "";
      const verb = event.what === "ban" ? "banned" : event.what === "unban" ? "ban lifted" : event.what;
      return {
        kind: "ban",
        tone: event.what === "ban" ? "warn" : "unknown",
        subject: event.net,
        text: `${verb}${howLong}${event.why ? `: ${event.why}` : ""}`,
      };
    }
    case "alert":
      return {
        kind: "alert",
        tone: event.state === "firing" ? "down" : event.state === "pending" ? "warn" : "up",
        subject: event.alert,
        text: `${event.state}${labels(event.labels)}`,
      };
    case "clock_jump":
      return { kind: "health", tone: "warn", subject: "clock", text: event.why };
    case "query":
      return {
        kind: "query",
        tone: event.result === "answered" ? "unknown" : "warn",
        subject: event.endpoint,
        text: `${event.result} after ${duration(event.took / 1000)}: ${event.query}`,
      };
    case "refused":
      return {
        kind: "refused",
        tone: "unknown",
        subject: event.client,
        text: `${event.reason}${event.what ? `: ${event.what}` : ""}`,
      };
    default:
      return unknown(event);
  }
}

/** A newer monitor may tell of what this page does not know. */
function unknown(event: never): Told {
  const record = event as { event?: unknown; role?: unknown };
  return { kind: "change", tone: "unknown", subject: String(record.role ?? "?"), text: String(record.event ?? "?") };
}

/** An event, and how many like it there were in a row; the newest stands for all. */
export interface Run {
  event: Event;
  told: Told;
  count: number;
  /** When the first of them was. */
  sinceMs: number;
}

/** Puts what repeats itself on one line. The newest comes first. */
export function runs(events: Event[]): Run[] {
  const list: Run[] = [];
  for (const event of events) {
    const told = tell(event);
    const last = list[list.length - 1];
    if (last && last.told.kind === told.kind && last.told.subject === told.subject && last.told.text === told.text) {
      last.count += 1;
      last.sinceMs = event.at_ms;
    } else {
      list.push({ event, told, count: 1, sinceMs: event.at_ms });
    }
  }
  return list;
}

function labels(pairs: [string, string][]): string {
  const shown = pairs.filter(([name]) => name !== "severity" && name !== "alertname" && name !== "job" && name !== "instance");
  return shown.length === 0 ? "" : ` (${shown.map(([name, value]) => `${name} ${value}`).join(", ")})`;
}

/** Whether an event passes the reader's filter. */
export function passes(event: Event, kinds: ReadonlySet<Kind>, words: string): boolean {
  const told = tell(event);
  if (kinds.size > 0 && !kinds.has(told.kind)) return false;
  const haystack = `${told.kind} ${told.subject} ${told.text} ${event.role} ${"id" in event ? event.id : ""}`.toLowerCase();
  return words
    .toLowerCase()
    .split(/\s+/)
    .every((word) => haystack.includes(word));
}
