import assert from "node:assert/strict";
import { test } from "node:test";
import { ago, bytes, count, duration, percent, rate, tick } from "../src/format.ts";

/** No-break spaces are written as spaces here. */
function check<T>(write: (value: T) => string, cases: [T, string][]): void {
  for (const [value, expected] of cases) assert.equal(write(value).replaceAll("\u00a0", " "), expected, String(value));
}

test("counts keep three digits and their unit", () => {
  check(count, [
    [null, "–"],
    [0, "0"],
    [3, "3"],
    [0.04, "0.04"],
    [1.236, "1.24"],
    [12.36, "12.4"],
    [240.4, "240"],
    [9999, "9,999"],
    [12_400, "12.4 k"],
    [4_812_000, "4.81 M"],
    [2e9, "2 G"],
    [-1.5, "-1.50"],
  ]);
});

test("a rate too small for two places is not nothing", () => {
  check(rate, [
    [0, "0"],
    [0.001, "<0.01"],
    [0.005, "0.01"],
    [null, "–"],
  ]);
});

test("shares are per cent", () => {
  check(percent, [
    [null, "–"],
    [0, "0 %"],
    [0.00001, "<0.01 %"],
    [0.0002, "0.02 %"],
    [0.013, "1.3 %"],
    [0.414, "41 %"],
    [1, "100 %"],
  ]);
});

test("durations go from fractions of a millisecond to days", () => {
  check(duration, [
    [null, "–"],
    [0, "0 s"],
    [0.0004, "0.4 ms"],
    [0.0384, "38 ms"],
    [0.9994, "999 ms"],
    [0.9996, "1.00 s"],
    [1.239, "1.24 s"],
    [9.994, "9.99 s"],
    [9.996, "10 s"],
    [59.4, "59 s"],
    [59.6, "1 min"],
    [125, "2 min 5 s"],
    [3600, "1 h"],
    [93_784, "1 d 2 h"],
    [-5, "−5.00 s"],
  ]);
});

test("bytes step by a thousand", () => {
  check(bytes, [
    [null, "–"],
    [0, "0 B"],
    [999, "999 B"],
    [999.7, "1.00 kB"],
    [2048, "2.05 kB"],
    [23_400_000, "23.4 MB"],
    [25.1e9, "25.1 GB"],
    [1e18, "1,000 PB"],
  ]);
});

test("what was, was in one unit", () => {
  check(ago, [
    [null, "never"],
    [0, "now"],
    [12, "12 s ago"],
    [89, "89 s ago"],
    [600, "10 min ago"],
    [7200, "2 h ago"],
    [200_000, "2 d ago"],
  ]);
});

test("ticks name the day where one begins and seconds where they differ", () => {
  const at = (h: number, m: number, s = 0) => new Date(2026, 10, 23, h, m, s).getTime() / 1000;
  assert.equal(tick(at(6, 45), 300), "06:45");
  assert.equal(tick(at(6, 45, 30), 30), "06:45:30");
  assert.equal(tick(at(0, 0), 3600), "Mon 23");
  assert.equal(tick(at(12, 0), 86_400), "Mon 23");
});
