// The monitor's API. Every request has a time limit; every failure a reason.

import type { Alert, Event, Line, Rule, Sample, Series, Target } from "./types.ts";

const LIMIT_MS = 10_000;

/** The monitor does not answer at all, as opposed to answering with an error. */
export class Unreachable extends Error {}

async function get(path: string, parameters: Record<string, string> | string[][] = {}): Promise<unknown> {
  const query = new URLSearchParams(parameters).toString();
  let response: Response;
  try {
    response = await fetch(query ? `${path}?${query}` : path, {
      headers: { accept: "application/json" },
      cache: "no-store",
      signal: AbortSignal.timeout(LIMIT_MS),
    });
  } catch (error) {
    const slow = error instanceof DOMException && error.name === "TimeoutError";
    throw new Unreachable(slow ? `no answer within ${LIMIT_MS / 1000} s` : "no connection");
  }
  let body: unknown;
  try {
    body = await response.json();
  } catch {
    throw new Error(`${path} answered ${response.status} with something that is no JSON`);
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
  (await data<{ groups: { name: string; rules: Rule[] }[] }>("/api/v1/rules")).groups.flatMap((g) => g.rules);

export const targets = async () => (await data<{ activeTargets: Target[] }>("/api/v1/targets")).activeTargets;
