import assert from "node:assert/strict";
import { test } from "node:test";
import { passes, runs, tell, type Kind } from "../src/events.ts";
import type { Event } from "../src/types.ts";

const at = { at_ms: 1_764_000_000_000, role: "edge" };
const waf: Event = {
  ...at,
  event: "waf_match",
  id: "01KAX5T7RZ4B2Q8M0XNV",
  client: "203.0.113.9",
  method: "GET",
  host: "localhost",
  path: "/search",
  blocked: true,
  matches: [],
};

test("every kind of event is told in words", () => {
  const cases: [Event, Kind, string, string][] = [
    [waf, "WAF", "203.0.113.9", "blocked GET /search: no rule told"],
    [{ ...at, event: "server_health", pool: "app", server: "app/1", up: false, why: "3 checks failed" }, "health", "app/1", "taken out: 3 checks failed"],
    [{ ...at, event: "member_health", database: "main", member: "main/1", up: true, why: "", lsn: null }, "health", "main/1", "in again"],
    [{ ...at, event: "process", process: "app/2", what: "ended", pid: 7, why: "killed by signal 9" }, "process", "app/2", "ended (pid 7): killed by signal 9"],
    [{ ...at, event: "revision", revision: 3, committed: false, why: "unknown key" }, "change", "r3", "refused: unknown key"],
    [{ ...at, event: "ban", net: "203.0.113.9/32", duration: 600_000, what: "ban", why: "x" }, "ban", "203.0.113.9/32", "banned for 10\u00a0min: x"],
    [{ ...at, event: "ban", net: "203.0.113.9/32", duration: null, what: "expired", why: "" }, "ban", "203.0.113.9/32", "expired"],
    [{ ...at, event: "alert", alert: "server-down", state: "firing", labels: [["severity", "critical"], ["server", "app/2"]], value: 0 }, "alert", "server-down", "firing (server app/2)"],
    [{ ...at, event: "clock_jump", by_ms: -86_400_000, why: "it went back by 1 d" }, "health", "clock", "it went back by 1 d"],
    [{ ...at, event: "query", endpoint: "query_range", query: "rate(a[1m])", result: "answered", took: 6_200, samples: 7 }, "query", "query_range", "answered after 6.20\u00a0s: rate(a[1m])"],
    [{ ...at, event: "refused", client: "::1", reason: "bad_header", what: "" }, "refused", "::1", "bad_header"],
  ];
  for (const [event, kind, subject, text] of cases) {
    const told = tell(event);
    assert.deepEqual([told.kind, told.subject, told.text], [kind, subject, text]);
  }
});

test("an event of a newer monitor is shown by its name", () => {
  const newer = { ...at, event: "eclipse" } as unknown as Event;
  assert.deepEqual(tell(newer), { kind: "change", tone: "unknown", subject: "edge", text: "eclipse" });
});

test("what repeats itself is one line, with its number and its first time", () => {
  const at_ms = (n: number) => ({ ...waf, at_ms: n, id: String(n) }) as Event;
  const ban: Event = { ...at, at_ms: 4, event: "ban", net: "::1/128", duration: null, what: "unban", why: "" };
  assert.deepEqual(
    runs([at_ms(7), at_ms(6), at_ms(5), ban, at_ms(3)]).map((r) => [r.event.at_ms, r.count, r.sinceMs]),
    [
      [7, 3, 5],
      [4, 1, 4],
      [3, 1, 3],
    ],
  );
  assert.deepEqual(runs([]), []);
});

test("filters join by kind, then narrow by every word", () => {
  const cases: [Kind[], string, boolean][] = [
    [[], "", true],
    [["WAF"], "", true],
    [["ban"], "", false],
    [["ban", "WAF"], "search 203.0", true],
    [[], "SEARCH", true],
    [[], "search nowhere", false],
    [[], "01kax5t7", true],
  ];
  for (const [kinds, words, expected] of cases) assert.equal(passes(waf, new Set(kinds), words), expected, `${kinds} ${words}`);
});
