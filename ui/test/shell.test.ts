import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { value } from "../src/format.ts";
import { logsSearch, matcher, silenceAdd, visible, word } from "../src/shell.ts";
import { evidence } from "../src/evidence.ts";
import type { Finding } from "../src/types.ts";

/** What a real shell makes of a command's words. */
function words(command: string): string[] {
  return execFileSync("/bin/sh", ["-c", `printf '%s\\0' ${command}`], { encoding: "utf8" }).split("\0").slice(0, -1);
}

test("a shell takes each text as one word, whatever is in it", () => {
  for (const text of ["", "a", "app/2", "it's", "$(id)", "`id`", '"', "a b", "\\", "*", "a\nb", "-n", "~", "!x", "a;b&c|d>e"]) {
    assert.deepEqual(words(word(text)), [text]);
  }
});

test("a silence names every label, the alert first", () => {
  assert.equal(
    silenceAdd({ pool: "app", server: "app/2", alertname: "server-down" }),
    "bastide silence add alertname=server-down pool=app server=app/2 --for 1h --why 'say why'",
  );
  const command = silenceAdd({ alertname: "x", path: `a 'b' "c" \\ $(id)`, "a.b": "1" });
  assert.deepEqual(words(command ?? "").slice(3, 6), ["alertname=x", '"a.b"=1', `path="a 'b' \\"c\\" \\\\ $(id)"`]);
});

test("what cannot be typed is no command", () => {
  assert.equal(silenceAdd({ alertname: "x", path: "\u001b[201~rm" }), null);
  assert.equal(silenceAdd({ alertname: "x", path: "a\nb" }), null);
});

test("matchers read as Alertmanager writes them", () => {
  assert.equal(matcher({ name: "a", value: "b.*", isRegex: true, isEqual: true }), 'a=~"b.*"');
  assert.equal(matcher({ name: "a", value: "b", isRegex: false, isEqual: false }), "a!=b");
  assert.equal(matcher({ name: "a", value: "", isRegex: true, isEqual: false }), 'a!~""');
  assert.equal(matcher({ name: "a", value: "b", isRegex: false }), "a=b");
});

test("a search is the same at the terminal", () => {
  assert.equal(
    logsSearch({ regex: "a|b", ignore_case: "true", status: "5xx", min_seconds: "0.25", start: "2026-11-23T14:00:00.000Z" }),
    "bastide logs search --start=2026-11-23T14:00:00.000Z --status=5xx --slower=250ms -e -i -- 'a|b'",
  );
  assert.deepEqual(words(logsSearch({ query: "--file=x", host: "-h" })), ["bastide", "logs", "search", "--host=-h", "--", "--file=x"]);
});

test("what moves a cursor or turns writing round is seen", () => {
  assert.equal(visible("a\u001b[31m\u202eb\u0000c\td\né"), "a\\u{1b}[31m\\u{202e}b\\u{0}c\td\né");
});

test("numbers of unknown size keep three digits", () => {
  for (const [n, text] of [[null, "–"], [0, "0"], [0.00412, "0.00412"], [0.0000123, "1.23e-5"], [5.2, "5.20"], [432_000, "432\u00a0k"], [-3.25, "-3.25"], [NaN, "–"], [-Infinity, "−∞"]] as const) {
    assert.equal(value(n), text);
  }
});

test("evidence leaves out what stands beside it", () => {
  const finding = (resource: string, text: string, more: string | null) => evidence({ resource, text, with_another_server: more } as Finding);
  assert.equal(finding("CPU", "CPU: until 2027-01-11 (80 %: a to b); load grows; 56 days; with another server until 2027-05-01", "2027-05-01"), "load grows; 56 days");
  assert.equal(finding("a; b", "a; b: enough for two years; used", null), "used");
  assert.equal(finding("CPU", "something else", null), "something else");
});
