// What the WAF's rules matched, counted by rule, path or client.

import type { Event } from "./types.ts";

export type WafEvent = Extract<Event, { event: "waf_match" }>;

export const SIDES = ["rule", "path", "client"] as const;
export type Side = (typeof SIDES)[number];

/** What the other two sides of a count are called. */
export const OTHERS: Record<Side, [string, string]> = {
  rule: ["paths", "clients"],
  path: ["rules", "clients"],
  client: ["rules", "paths"],
};

export interface WafRow {
  key: string;
  /** Of a rule, what it says. */
  about: string;
  events: number;
  refused: number;
  /** Distinct ones of the two other sides. */
  others: [number, number];
  /** The highest score of its events; none where rules do not count. */
  highest: number | null;
  lastMs: number;
  /** The newest event's id. */
  id: string;
}

export interface WafCount {
  rows: WafRow[];
  events: number;
  refused: number;
}

/** A rule of the Core Rule Set that only adds up what others found. */
function sums(rule: number): boolean {
  return [949, 959, 980].includes(Math.floor(rule / 1000));
}

/** What the event counted against the request; none where rules do not count. */
export function score(event: WafEvent): number | null {
  const highest = Math.max(event.score ?? 0, event.outbound_score ?? 0);
  return highest > 0 ? highest : null;
}

/** Counts the events since a moment; the most frequent come first. */
export function countWaf(events: WafEvent[], by: Side, sinceMs: number): WafCount {
  const rows = new Map<string, WafRow & { seen: [Set<string>, Set<string>] }>();
  const count: WafCount = { rows: [], events: 0, refused: 0 };
  for (const event of events) {
    if (event.at_ms < sinceMs) continue;
    count.events += 1;
    count.refused += event.blocked ? 1 : 0;
    const found = event.matches.filter((m) => !sums(m.rule));
    const sides: Record<Side, string[]> = {
      rule: [...new Set(found.map((m) => String(m.rule)))],
      path: [`${event.host}${event.path}`],
      client: [event.client],
    };
    const [first, second] = SIDES.filter((side) => side !== by) as [Side, Side];
    for (const key of sides[by]) {
      let row = rows.get(key);
      if (row === undefined) {
        row = { key, about: "", events: 0, refused: 0, others: [0, 0], highest: null, lastMs: 0, id: "", seen: [new Set(), new Set()] };
        rows.set(key, row);
      }
      row.events += 1;
      row.refused += event.blocked ? 1 : 0;
      for (const other of sides[first]) row.seen[0].add(other);
      for (const other of sides[second]) row.seen[1].add(other);
      const points = score(event);
      if (points !== null) row.highest = Math.max(row.highest ?? 0, points);
      if (event.at_ms >= row.lastMs) {
        row.lastMs = event.at_ms;
        row.id = event.id;
        if (by === "rule") row.about = found.find((m) => String(m.rule) === key)?.message ?? "";
      }
    }
  }
  count.rows = [...rows.values()]
    .map(({ seen, ...row }) => ({ ...row, others: [seen[0].size, seen[1].size] as [number, number] }))
    .sort((a, b) => b.events - a.events || b.lastMs - a.lastMs || a.key.localeCompare(b.key));
  return count;
}
