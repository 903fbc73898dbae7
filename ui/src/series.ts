// A range query's answer on the page's own grid of times, as uPlot wants it.

import type { Maybe } from "./format.ts";
import type { Curve } from "./promql.ts";
import type { Series } from "./types.ts";

/** The times of a grid, in seconds. */
export function times(grid: { start: number; end: number; step: number }): number[] {
  return Array.from({ length: Math.round((grid.end - grid.start) / grid.step) + 1 }, (_, i) => grid.start + i * grid.step);
}

/** A curve's values at those times; `null` where there is none. */
export function align(series: Series[], curve: Curve, grid: { start: number; step: number }, length: number): Maybe[] {
  const values: Maybe[] = new Array<Maybe>(length).fill(null);
  const wanted = Object.entries(curve.pick ?? {});
  let mine = series.find((s) => wanted.every(([name, value]) => s.metric[name] === value));
  // No series of this kind, while there are others: it was counted, and there was none.
  if (mine === undefined && wanted.length > 0 && series[0]) {
    mine = { metric: {}, values: series[0].values.map(([time]) => [time, "0"]) };
  }
  for (const [time, text] of mine?.values ?? []) {
    const index = Math.round((time - grid.start) / grid.step);
    const value = Number(text);
    if (index >= 0 && index < length && Number.isFinite(value)) values[index] = value;
  }
  return values;
}

/** The last value that is known, and the highest. */
export function summary(values: Maybe[]): { last: Maybe; highest: Maybe } {
  let last: Maybe = null;
  let highest: Maybe = null;
  for (const value of values) {
    if (value === null) continue;
    last = value;
    highest = highest === null ? value : Math.max(highest, value);
  }
  return { last, highest };
}
