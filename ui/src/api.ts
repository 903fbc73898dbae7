// The monitor's API. Every request has a time limit; every failure a reason.

import type { Alert, Event, Found, Growth, Line, LookBack, Probe, Routed, Rule, Sample, Series, Silence, Target } from "./types.ts";

const LIMIT_MS = 10_000;
/** What looks at weeks of samples, or through logs, may take longer. */
const LONG_MS = 65_000;

/** The monitor does not answer at all, as opposed to answering with an error. */
export class Unreachable extends Error {}

async function get(
  path: string,
  parameters: Record<string, string> | string[][] = {},
  limitMs = LIMIT_MS,
  stop?: AbortSignal,
): Promise<unknown> {
  const query = new URLSearchParams(parameters).toString();
  // `AbortSignal.any` is younger than some browsers in use.
  const end = new AbortController();
  const late = new DOMException("too late", "TimeoutError");
  const timer = setTimeout(() => end.abort(late), limitMs);
  stop?.addEventListener("abort", () => end.abort(), { once: true });
  let response: Response;
  try {
    response = await fetch(query ? `${path}?${query}` : path, {
      headers: { accept: "application/json" },
      cache: "no-store",
      signal: end.signal,
    });
  } catch (error) {
    clearTimeout(timer);
    const slow = error instanceof DOMException && error.name === "TimeoutError";
    throw new Unreachable(slow ? `no answer within ${limitMs / 1000} s` : "no connection");
  }
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    throw new Error(`${path} answered ${response.status} with something that is no JSON`);
  } finally {
    clearTimeout(timer);
  }
  if (!response.ok) {
    const said = (body as { error?: unknown } | null)?.error;
    throw new Error(`${path} answered ${response.status}${said ? `: ${String(said)}` : ""}`);
  }
  return body;
}

/** The Prometheus API wraps what it says: `{"status": "success", "data": …}`. */
async function data<T>(path: string, parameters: Record<string, string> = {}): Promise<T> {
  const body = (await get(path, parameters)) as { data?: T } | null;
  if (body?.data === undefined) throw new Error(`${path} answered without data`);
  return body.data;
}

export async function instant(query: string): Promise<Sample[]> {
  const answer = await data<{ resultType: string; result: unknown }>("/api/v1/query", { query });
  if (answer.resultType === "vector") return answer.result as Sample[];
  if (answer.resultType === "scalar") return [{ metric: {}, value: answer.result as [number, string] }];
  throw new Error(`/api/v1/query answered with a ${answer.resultType}`);
}

export async function range(query: string, grid: { start: number; end: number; step: number }): Promise<Series[]> {
  const { start, end, step } = grid;
  const parameters = { query, start: String(start), end: String(end), step: String(step) };
  return (await data<{ result: Series[] }>("/api/v1/query_range", parameters)).result;
}

export const line = async () => (await get("/api/bastide/v1/line")) as Line;

/** The latest events of some kinds (none: of all), the newest first. */
export async function events(limit: number, kinds: string[]): Promise<Event[]> {
  const parameters = [["limit", String(limit)], ...kinds.map((kind) => ["kind", kind])];
  const answer = (await get("/api/bastide/v1/events", parameters)) as { events: Event[] };
  return [...answer.events].sort((a, b) => b.at_ms - a.at_ms);
}

export const alerts = async () => (await data<{ alerts: Alert[] }>("/api/v1/alerts")).alerts;

export const rules = async () =>
  (await data<{ groups: { name: string; file: string; rules: Rule[] }[] }>("/api/v1/rules")).groups.flatMap((g) =>
    g.rules.map((rule) => ({ ...rule, group: g.name, file: g.file })),
  );

export const targets = async () => (await data<{ activeTargets: Target[] }>("/api/v1/targets")).activeTargets;

export const silences = async () => (await get("/api/v2/silences")) as Silence[];

/** The alerts that fire, with who silences or inhibits them. */
export const routed = async () => (await get("/api/v2/alerts")) as Routed[];

/** An alert's threshold, and what its rule would have fired in the last 30 days. */
export const lookBack = async (rule: { name: string; group: string; file: string }, stop: AbortSignal) => {
  const { name, group, file } = rule;
  return (await get("/api/bastide/v1/alert", { name, group, file, days: "30" }, LONG_MS, stop)) as LookBack;
};

export const growth = async () => (await get("/api/bastide/v1/growth", {}, LONG_MS)) as Growth;

export const probes = async () => ((await get("/api/bastide/v1/probes")) as { probes: Probe[] }).probes;

/** Lines of access logs; `stop` ends the search in the monitor too. */
export const logs = async (parameters: Record<string, string>, stop: AbortSignal) => {
  const answer = (await get("/api/bastide/v1/logs", parameters, LONG_MS, stop)) as { data?: Found };
  if (answer.data === undefined) throw new Error("the search answered without data");
  return answer.data;
};
