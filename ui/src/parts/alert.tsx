// One alert: its chart with its threshold, what is known of it, and what its rule
// would have fired.

import type { ComponentChildren } from "preact";
import { useEffect, useId, useMemo, useState } from "preact/hooks";
import * as api from "../api.ts";
import { ago, clock, count, date, duration, value } from "../format.ts";
import { RANGES, grid, type Chart } from "../promql.ts";
import { align, times } from "../series.ts";
import { nowMs, type Drawn } from "../state.ts";
import { silenceAdd, visible } from "../shell.ts";
import type { Alert, Firing, LookBack, Rule, Series } from "../types.ts";
import { Command, Empty, words } from "./basics.tsx";
import { ChartCard } from "./charts.tsx";

/** The last six hours. */
const RANGE = RANGES[2];
/** More would not be told apart. */
const CURVES = 4;
const FIRINGS = 5;
/** Of a rule that flaps, no more are drawn: they would not be told apart. */
const DRAWN = 500;
/** These annotations of an alert stand above its detail. */
const SHOWN = new Set(["summary", "description", "action"]);

export function AlertDetail({ rule, alert }: { rule: Rule | undefined; alert?: Alert }) {
  const [past, setPast] = useState<LookBack | string | null>(null);
  useEffect(() => {
    if (rule === undefined) return;
    const stop = new AbortController();
    setPast(null);
    api.lookBack(rule, stop.signal).then(setPast, (error) => stop.signal.aborted || setPast(said(error)));
    return () => stop.abort();
  }, [rule?.file, rule?.group, rule?.name]);
  const known = past !== null && typeof past !== "string" ? past : null;
  const labels = alert?.labels ?? rule?.labels ?? {};
  const silence = alert ? silenceAdd(alert.labels) : rule ? silenceAdd({ alertname: rule.name }) : null;
  return (
    <div class="detail">
      {known && <Drawing past={known} labels={alert?.labels ?? {}} />}
      <dl class="pairs">
        {rule && <Pair name="rule" code={rule.query} />}
        {known?.threshold && (
          <Pair name="threshold">
            {known.threshold.operator} {value(known.threshold.value)}
            {alert?.value !== undefined && <span class="quiet">, now {value(Number(alert.value))}</span>}
          </Pair>
        )}
        {rule?.duration ? <Pair name="for">{duration(rule.duration)} before it fires</Pair> : null}
        {known && known.keepFiringFor > 0 && <Pair name="keeps firing">{duration(known.keepFiringFor)} more</Pair>}
        {alert?.activeAt && <Pair name="since">{moment(Date.parse(alert.activeAt))}</Pair>}
        {Object.keys(labels).length > 0 && (
          <Pair name="labels">
            {Object.entries(labels).map(([n, v]) => (
              <span class="tag" key={n}>
                {visible(`${n}=${v}`)}
              </span>
            ))}
          </Pair>
        )}
        {Object.entries(alert?.annotations ?? rule?.annotations ?? {}).map(([n, v]) =>
          alert && SHOWN.has(n) ? null : (
            <Pair key={n} name={visible(n)}>
              {words(v)}
            </Pair>
          ),
        )}
        {rule && (
          <Pair name="defined in">
            group {visible(rule.group)}
            {rule.file && (
              <>
                {" of "}
                <code>{visible(rule.file)}</code>
              </>
            )}
          </Pair>
        )}
      </dl>
      {rule === undefined && <Empty>Its rule is not among those that are evaluated now.</Empty>}
      {rule !== undefined && (
        <p role="status" class={typeof past === "string" ? "notice" : ""}>
          {past === null
            ? "Looking back over 30 days…"
            : typeof past === "string"
              ? `What it would have fired cannot be told: ${visible(past)}`
              : told(past)}
        </p>
      )}
      {known && known.firing.length > 0 && <Past past={known} />}
      {known && known.warnings.length + known.infos.length > 0 && (
        <p class="quiet small">{visible([...known.warnings, ...known.infos].join("; "))}</p>
      )}
      {silence !== null && (
        <>
          <p class="quiet small">To silence it, at a terminal:</p>
          <Command text={silence} />
        </>
      )}
    </div>
  );
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function moment(ms: number): string {
  return `${date(ms)} ${clock(ms)}, ${ago((nowMs.value - ms) / 1000)}`;
}

function Pair({ name, code, children }: { name: string; code?: string; children?: ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{code === undefined ? children : <code>{visible(code)}</code>}</dd>
    </div>
  );
}

/** The series that the rule compares, and with what. */
function Drawing({ past, labels }: { past: LookBack; labels: Record<string, string> }) {
  const id = useId();
  const [answer, setAnswer] = useState<{ series: Series[]; at: ReturnType<typeof grid> } | string | null>(null);
  const query = past.threshold?.series ?? past.query;
  // Anew each minute; not while the page is hidden, as time then stands still.
  const minute = Math.floor(nowMs.value / 60_000);
  useEffect(() => {
    let gone = false;
    const at = grid(RANGE, Date.now() / 1000);
    api.range(query, at).then(
      (series) => gone || setAnswer({ series, at }),
      (error) => gone || setAnswer(said(error)),
    );
    return () => {
      gone = true;
    };
  }, [query, minute]);
  const [chart, drawn, series] = useMemo(() => {
    if (answer === null || typeof answer === "string") return [null, undefined, 0] as const;
    return [...plotted(id, past, labels, answer.series, answer.at), answer.series.length] as const;
  }, [answer, past]);
  if (typeof answer === "string") return <p class="notice">Its series cannot be drawn: {visible(answer)}</p>;
  if (chart === null) return <Empty>Waiting for its series.</Empty>;
  return (
    <>
      <ChartCard key={chart.id} chart={chart} drawn={drawn} />
      {series > CURVES && (
        <p class="quiet small">
          {CURVES} of {count(series)} series are drawn.
        </p>
      )}
      {past.threshold === null && (
        <p class="quiet small">It is compared with no fixed number: a line stands where the rule held.</p>
      )}
    </>
  );
}

function plotted(
  id: string,
  past: LookBack,
  labels: Record<string, string>,
  series: Series[],
  at: ReturnType<typeof grid>,
): [Chart, Drawn] {
  const grid_ = times(at);
  const own = (s: Series) => Object.entries(s.metric).every(([n, v]) => n === "__name__" || labels[n] === v);
  const shown = [...series].sort((a, b) => Number(own(b)) - Number(own(a))).slice(0, CURVES);
  // What all have in common tells none apart.
  const differs = (n: string) => n !== "__name__" && shown.some((s) => s.metric[n] !== shown[0]?.metric[n]);
  const named = (s: Series, i: number) => {
    const name = Object.entries(s.metric)
      .filter(([n]) => differs(n))
      .map(([, v]) => v)
      .join(" ");
    const short = visible(name).slice(0, 60);
    return short || (shown.length === 1 ? "value" : `series ${i + 1}`);
  };
  const bound = past.threshold;
  const chart: Chart = {
    id: `${id}-${shown.length}`,
    title: "Last 6 h",
    unit: "value",
    about: visible(bound?.series ?? "where it held").slice(0, 120),
    empty: bound === null ? "It held at no time of the last 6 h." : "Its series had no value in the last 6 h.",
    curves: shown.map((s, i) => ({ label: named(s, i), query: "" })),
  };
  const curves = shown.map((s) => align([s], { label: "", query: "" }, at, grid_.length));
  if (bound !== null && shown.length > 0) {
    chart.curves.push({ label: `threshold ${bound.operator}`, query: "", colour: "down" });
    curves.push(grid_.map(() => bound.value));
  }
  return [chart, { at: grid_, curves }];
}

function until(f: Firing, end: number): number {
  return f.resolvedAt === null ? end : Date.parse(f.resolvedAt);
}

/** What it would have fired, in a sentence. */
function told({ firing, end }: LookBack): string {
  const n = firing.length;
  if (n === 0) return "In the last 30 days it would have fired at no time.";
  const total = firing.reduce((sum, f) => sum + (until(f, Date.parse(end)) - Date.parse(f.firedAt)) / 1000, 0);
  return `In the last 30 days it would have fired ${n === 1 ? "once" : `${count(n)} times`}, ${duration(total)} in all.`;
}

/** The same as a strip of time, and one by one. */
function Past({ past }: { past: LookBack }) {
  const start = Date.parse(past.start);
  const end = Date.parse(past.end);
  const span = Math.max(1, end - start);
  const newest = [...past.firing].sort((a, b) => Date.parse(b.firedAt) - Date.parse(a.firedAt));
  return (
    <div>
      <svg class="strip" viewBox="0 0 1000 12" preserveAspectRatio="none" aria-hidden="true">
        <rect width="1000" height="12" class="ground" />
        {newest.slice(0, DRAWN).map((f, i) => {
          const from = Date.parse(f.firedAt);
          const x = Math.max(0, ((from - start) / span) * 1000);
          return <rect key={i} x={Math.min(x, 997)} width={Math.max(3, ((until(f, end) - from) / span) * 1000)} height="12" class="fired" />;
        })}
      </svg>
      <p class="ends quiet" aria-hidden="true">
        <span>{date(start)}</span>
        <span>now</span>
      </p>
      <ul class="plain-list firings">
        {newest.slice(0, FIRINGS).map((f, i) => (
          <li key={i}>
            <time dateTime={f.firedAt}>
              {date(Date.parse(f.firedAt))} {clock(Date.parse(f.firedAt))}
            </time>
            <span>
              {duration(Math.max(1, Math.round((until(f, end) - Date.parse(f.firedAt)) / 1000)))}
              {f.resolvedAt === null && ", still"}
            </span>
            <span>at {value(Number(f.value))}</span>
            <span class="quiet of">
              {visible(
                Object.entries(f.labels)
                  .filter(([name]) => !["__name__", "alertname", "severity", "job"].includes(name))
                  .map(([, v]) => v)
                  .join(" "),
              )}
            </span>
          </li>
        ))}
      </ul>
      {newest.length > FIRINGS && <p class="quiet small">and {count(newest.length - FIRINGS)} earlier</p>}
    </div>
  );
}
