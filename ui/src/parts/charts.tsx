// The golden signals over time.

import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import uPlot from "uplot";
import { count, duration, percent, rate, tick, clock, date, value, type Maybe } from "../format.ts";
import { RANGES, charts, type Chart } from "../promql.ts";
import { summary } from "../series.ts";
import { choose, drawn, drawnRange, live, range, type Drawn } from "../state.ts";
import { colour, painted } from "../theme.ts";
import { Empty, Panel } from "./basics.tsx";

const HEIGHT = 150;
/** Curves differ by dash as well as by colour. */
const DASHES: number[][] = [[], [6, 3], [2, 2], [8, 3, 2, 3]];

const dash = (i: number) => DASHES[i % DASHES.length] ?? [];

const WRITE: Record<Chart["unit"], (n: Maybe) => string> = {
  "per second": rate,
  seconds: duration,
  share: percent,
  count,
  value,
};

export function Charts() {
  const waiting = drawnRange.value !== null && drawnRange.value !== range.value;
  return (
    <Panel id="signals" title="Golden signals" aside={<Ranges />}>
      <div class={`charts ${waiting ? "waiting" : ""}`} aria-busy={waiting}>
        {charts(range.value).map((chart) => (
          <ChartCard key={chart.id} chart={chart} drawn={drawn.value.get(chart.id)} />
        ))}
      </div>
    </Panel>
  );
}

function Ranges() {
  return (
    <fieldset class="segments">
      <legend class="unseen">Time range</legend>
      {RANGES.map((r) => (
        <label key={r.name}>
          <input type="radio" name="range" checked={range.value.name === r.name} onChange={() => choose(r)} />
          <span>{r.label}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** A chart with its heading and its keys, in which one may point at a time. */
export function ChartCard({ chart, drawn }: { chart: Chart; drawn: Drawn | undefined }) {
  const hovered = useSignal<number | null>(null);
  const write = WRITE[chart.unit];
  const summaries = useMemo(() => drawn?.curves.map(summary), [drawn]);
  const nothing = summaries !== undefined && summaries.every((s) => s.last === null);
  const at = hovered.value;
  const time = at === null ? undefined : drawn?.at[at];
  return (
    <figure class="chart" aria-labelledby={`${chart.id}-caption`}>
      <figcaption id={`${chart.id}-caption`}>
        <h3>{chart.title}</h3>
        <span class="quiet">{time === undefined ? chart.about : hoveredTime(time)}</span>
      </figcaption>
      {nothing ? (
        <Empty>{live.value?.age === null ? "Nothing has been read yet." : chart.empty}</Empty>
      ) : (
        <Canvas chart={chart} drawn={drawn} hover={(i) => (hovered.value = i)} />
      )}
      <ul class="keys">
        {chart.curves.map((curve, i) => {
          const known = (n: number) => (at === null ? summaries?.[n]?.last : drawn?.curves[n]?.[at]) ?? null;
          if (curve.edge === "lower" || (curve.optional && summaries?.[i]?.last == null)) return null;
          if (curve.edge === "upper") {
            return (
              <li key={curve.label}>
                <svg class={`key ${curve.colour}`} viewBox="0 0 18 10" width="18" height="10" aria-hidden="true">
                  <rect width="18" height="10" rx="2" />
                </svg>
                {curve.label}{" "}
                <b>
                  {write(known(i + 1))} – {write(known(i))}
                </b>
              </li>
            );
          }
          const highest = summaries?.[i]?.highest ?? null;
          return (
            <li key={curve.label}>
              <svg class={`key ${curve.colour ?? `c${(i % 4) + 1}`}`} viewBox="0 0 18 4" width="18" height="4" aria-hidden="true">
                <path d="M0 2h18" stroke-dasharray={dash(i).join(" ")} />
              </svg>
              {curve.label} <b>{write(known(i))}</b>
              <span class="unseen">, highest {write(highest)}</span>
            </li>
          );
        })}
      </ul>
    </figure>
  );
}

function hoveredTime(s: number): string {
  return range.value.seconds > 86_400 ? `${date(s * 1000)} ${clock(s * 1000)}` : clock(s * 1000);
}

function Canvas({ chart, drawn, hover }: { chart: Chart; drawn: Drawn | undefined; hover: (index: number | null) => void }) {
  const place = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);

  useEffect(() => {
    const root = place.current;
    if (root === null) return;
    const made = new uPlot(options(chart, root.clientWidth, hover), [[], ...chart.curves.map(() => [])], root);
    plot.current = made;
    const observer = new ResizeObserver(() => {
      if (root.clientWidth > 0) made.setSize({ width: root.clientWidth, height: HEIGHT });
    });
    observer.observe(root);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [chart.id]);

  useEffect(() => {
    if (drawn) plot.current?.setData([drawn.at, ...drawn.curves]);
  }, [drawn]);

  const colours = painted.value;
  useEffect(() => {
    plot.current?.redraw(false, true);
  }, [colours]);

  return <div class="canvas" ref={place} aria-hidden="true" />;
}

function options(chart: Chart, width: number, hover: (index: number | null) => void): uPlot.Options {
  const write = WRITE[chart.unit];
  const axis = {
    stroke: () => colour("quiet"),
    font: "11px system-ui, sans-serif",
    ticks: { show: false },
  };
  return {
    width: Math.max(width, 50),
    height: HEIGHT,
    padding: [8, 16, 0, 0],
    legend: { show: false },
    cursor: {
      // The golden signals are pointed at together; any other chart alone.
      ...(chart.unit === "value" ? {} : { sync: { key: "signals" } }),
      drag: { x: false, y: false },
      y: false,
      points: { size: (_, i) => (chart.curves[i - 1]?.edge ? 0 : 6) },
    },
    scales: {
      x: { time: true },
      y: {
        range: (_, lowest, highest) => [
          lowest < 0 ? lowest * 1.08 : 0,
          chart.unit === "share" ? 1 : headroom(highest, chart.unit),
        ],
      },
    },
    axes: [
      {
        ...axis,
        size: 26,
        gap: 4,
        space: 64,
        grid: { show: false },
        values: (_, splits) => splits.map((s, i) => tick(s, (splits[i + 1] ?? s) - s || (s - (splits[i - 1] ?? s)))),
      },
      {
        ...axis,
        size: 54,
        gap: 6,
        space: 26,
        grid: { stroke: () => colour("hair"), width: 1 },
        values: (_, splits) => splits.map(write),
      },
    ],
    series: [
      {},
      ...chart.curves.map((curve, i) => ({
        label: curve.label,
        stroke: () => (curve.edge ? "transparent" : colour(curve.colour ?? `c${(i % 4) + 1}`)),
        ...(curve.filled ? { fill: () => colour(`${curve.colour ?? "c1"}-soft`) } : {}),
        width: 1.5,
        dash: dash(i),
        points: { show: false },
        spanGaps: false,
      })),
    ],
    bands: chart.curves.flatMap((curve, i) =>
      curve.edge === "upper" ? [{ series: [i + 1, i + 2] as [number, number], fill: () => colour("band") }] : [],
    ),
    hooks: {
      setCursor: [(u) => hover(u.cursor.idx !== undefined && (u.cursor.left ?? -1) >= 0 ? (u.cursor.idx ?? null) : null)],
    },
  };
}

/** Room above the highest value; something to stand on where all is zero. */
function headroom(highest: number | null, unit: Chart["unit"]): number {
  const least = unit === "seconds" ? 0.01 : 1;
  return highest === null || highest <= 0 ? least : Math.max(highest * 1.08, unit === "count" ? 1 : 0);
}
