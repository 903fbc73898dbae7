import assert from "node:assert/strict";
import { test } from "node:test";
import { countWaf, score, type WafEvent } from "../src/waf.ts";

const match = (rule: number, message = "m") => ({
  rule, source: "a.conf:1", message, severity: null, tags: [], variable: "ARGS:q", value: "v", transformed: "v",
  transformations: [], operator: "@rx v", matched: "v",
});
const event = (at_ms: number, client: string, path: string, rules: number[], more: Partial<WafEvent> = {}): WafEvent => ({
  at_ms, role: "edge", event: "waf_match", id: `E${at_ms}`, client, method: "GET", host: "h", path, blocked: false,
  matches: rules.map((rule) => match(rule)), ...more,
});
const all = [
  event(5, "a", "/x", [942100, 942100, 949110], { blocked: true, score: 10 }),
  event(4, "b", "/x", [942100, 941100], { score: 15 }),
  event(3, "a", "/y", [941100]),
  event(1, "z", "/z", [1], { blocked: true }),
];

test("events are counted by each side, those that only add up are not", () => {
  const shape = (by: "rule" | "path" | "client") =>
    countWaf(all, by, 2).rows.map((r) => [r.key, r.events, r.refused, ...r.others, r.highest, r.id]);
  assert.deepEqual(shape("rule"), [
    ["942100", 2, 1, 1, 2, 15, "E5"],
    ["941100", 2, 0, 2, 2, 15, "E4"],
  ]);
  assert.deepEqual(shape("path"), [
    ["h/x", 2, 1, 2, 2, 15, "E5"],
    ["h/y", 1, 0, 1, 1, null, "E3"],
  ]);
  assert.deepEqual(shape("client"), [
    ["a", 2, 1, 2, 2, 10, "E5"],
    ["b", 1, 0, 2, 1, 15, "E4"],
  ]);
});

test("only what is within the time is counted", () => {
  assert.deepEqual([countWaf(all, "rule", 0).events, countWaf(all, "rule", 2).events], [4, 3]);
  assert.deepEqual([countWaf(all, "rule", 0).refused, countWaf(all, "rule", 2).refused], [2, 1]);
  assert.deepEqual(countWaf([], "client", 0), { rows: [], events: 0, refused: 0 });
});

test("a score is the request's or the answer's", () => {
  assert.equal(score(event(1, "a", "/", [], { score: 3, outbound_score: 8 })), 8);
  assert.equal(score(event(1, "a", "/", [])), null);
});
