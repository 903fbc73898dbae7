import assert from "node:assert/strict";
import { test } from "node:test";
import { GAUGES, LIVE, RANGES, charts, grid, orZero, perSecond, quantile, quote, requestsByClass, selector, sum, window } from "../src/promql.ts";
import { align, summary, times } from "../src/series.ts";
import type { Series } from "../src/types.ts";

test("strings are quoted whatever is in them", () => {
  assert.equal(quote('a"b\\c\nd'), '"a\\"b\\\\c\\nd"');
  assert.equal(selector("up", { job: 'x"} or vector(1)#' }), 'up{job="x\\"} or vector(1)#"}');
});

test("queries read as Prometheus writes them", () => {
  assert.equal(sum([], perSecond("a_total", "30s")), "sum(rate(a_total[30s]))");
  assert.equal(sum(["x", "y"], "a"), "sum by (x, y) (a)");
  assert.equal(
    quantile(0.99, "a_seconds", "1m", ["pool"]),
    "histogram_quantile(0.99, sum by (le, pool) (rate(a_seconds_bucket[1m])))",
  );
  assert.equal(
    requestsByClass("1m"),
    'sum by (class) (label_replace(rate(bastide_edge_requests_total[1m]), "class", "${1}xx", "code", "(.).*"))',
  );
  assert.equal(orZero("sum(a)", "sum(b)"), "sum(a) or 0 * sum(b)");
});

test("all gauges come by one query that names them sorted and once", () => {
  assert.deepEqual([...GAUGES], [...new Set(GAUGES)]);
  assert.ok(LIVE.gauges.startsWith('{__name__=~"up|bastide_bans|'), LIVE.gauges);
});

test("parentheses and quotes are even in every query", () => {
  const all = [...Object.values(LIVE), ...RANGES.flatMap((r) => charts(r).flatMap((c) => c.curves.map((k) => k.query)))];
  for (const query of all) {
    const bare = query.replace(/"(\\.|[^"\\])*"/g, "");
    for (const [open, close] of [["(", ")"], ["[", "]"], ["{", "}"]] as const) {
      assert.equal(bare.split(open).length, bare.split(close).length, query);
    }
    assert.ok(!bare.includes('"'), query);
  }
});

test("a range's grid stands still between two steps, and rates leave no sample out", () => {
  for (const range of RANGES) {
    const a = grid(range, 1_764_000_000.1);
    assert.deepEqual(grid(range, Math.ceil(a.end + range.step) - 0.5), a, range.name);
    assert.equal(a.end % range.step, 0);
    assert.equal(times(a).length, range.seconds / range.step + 1);
    assert.ok(Number.parseInt(window(range)) >= range.step);
  }
});

test("answers fall on the grid; holes stay holes; a class never seen is zero where others are", () => {
  const place = { start: 100, end: 140, step: 10 };
  const series: Series[] = [
    { metric: { class: "2xx" }, values: [[100, "1"], [110, "NaN"], [120, "3"], [140, "5"], [150, "9"]] },
  ];
  const length = times(place).length;
  const curve = (of: string) => ({ label: "", query: "", pick: { class: of } });
  assert.deepEqual(align(series, curve("2xx"), place, length), [1, null, 3, null, 5]);
  assert.deepEqual(align(series, curve("5xx"), place, length), [0, 0, 0, null, 0]);
  assert.deepEqual(align([], curve("2xx"), place, length), [null, null, null, null, null]);
  assert.deepEqual(align(series, { label: "", query: "" }, place, length), [1, null, 3, null, 5]);
  assert.deepEqual(summary([1, null, 7, 3, null]), { last: 3, highest: 7 });
  assert.deepEqual(summary([null]), { last: null, highest: null });
});
