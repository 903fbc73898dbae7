// What the page knows, and how it keeps knowing it.

import { computed, signal } from "@preact/signals";
import * as api from "./api.ts";
import { verdict, view, type Answers, type View } from "./model.ts";
import { LIVE, PROBE_ENDS, PROBE_UPTIME, RANGES, charts, grid, type LiveName, type Range } from "./promql.ts";
import { align, times } from "./series.ts";
import { NAMES, type Kind } from "./events.ts";
import type { Maybe } from "./format.ts";
import type { Alert, Event, Growth, Line, Probe, Routed, Rule, Series, Silence, Target } from "./types.ts";
import type { WafEvent } from "./waf.ts";

const LIVE_EVERY_S = 5;
const SLOW_EVERY_S = 60;
/** Events asked for at once. */
const EVENTS = 200;
/** WAF events that are counted; each has a few kilobytes. */
export const WAF_EVENTS = 250;
const WAF_EVERY_S = 15;
/** Silences, and the probes. */
const REST_EVERY_S = 15;
/** The monitor looks at weeks of samples for it. */
const GROWTH_EVERY_S = 600;
/** Readings are taken every 5 s; after three that are missing, numbers are old. */
const OLD_AFTER_S = 20;

export const line = signal<Line | null>(null);
export const targets = signal<Target[]>([]);
export const alerts = signal<Alert[]>([]);
export const rules = signal<Rule[]>([]);
export const silences = signal<Silence[]>([]);
/** Alerts that fire, with who silences or inhibits them. */
export const routed = signal<Routed[]>([]);
/** The probes; none until first answered. */
export const probes = signal<Probe[] | null>(null);
/** By a probe's name: when the first certificate ends, in Unix seconds, and the share of the last day's tries that succeeded. */
export const probeReadings = signal<{ endsS: ReadonlyMap<string, number>; uptime: ReadonlyMap<string, number> }>({
  endsS: new Map(),
  uptime: new Map(),
});
/** What runs out first, or why that cannot be told. */
export const growth = signal<{ answer: Growth | null; problem: string | null }>({ answer: null, problem: null });
export const events = signal<Event[] | null>(null);
/** The latest WAF events, the newest first; none until first answered. */
export const wafEvents = signal<WafEvent[] | null>(null);
/** The kinds of event the reader wants; none means all. */
export const eventKinds = signal<ReadonlySet<Kind>>(new Set());
const answers = signal<Answers>({});
/** Ticks once a second while the page is seen. */
export const nowMs = signal(Date.now());

/** When the monitor last answered, and why it does not now. */
export const connection = signal<{ lastMs: number | null; problem: string | null }>({ lastMs: null, problem: null });
/** Questions that the monitor answered with an error, by name. */
export const problems = signal<ReadonlyMap<string, string>>(new Map());

export const live = computed<View | null>(() =>
  line.value === null ? null : view(line.value, answers.value, targets.value, Math.floor(nowMs.value / 60_000) * 60_000),
);
export const status = computed(() => (live.value === null ? null : verdict(live.value, alerts.value)));
/** Why the numbers cannot be trusted to be of now; none where they can. */
export const staleness = computed<string | null>(() => {
  if (connection.value.problem !== null) return connection.value.problem;
  const age = live.value?.age ?? null;
  return age !== null && age > OLD_AFTER_S ? "readings have stopped" : null;
});

export interface Drawn {
  at: number[];
  curves: Maybe[][];
}
export const range = signal<Range>(remembered("range", RANGES.map((r) => r.name)) ?? RANGES[0]);
/** The charts by id; none until first answered. */
export const drawn = signal<ReadonlyMap<string, Drawn>>(new Map());
export const drawnRange = signal<Range | null>(null);

function remembered(key: string, names: string[]): Range | undefined {
  const name = recall(key);
  return name !== null && names.includes(name) ? RANGES.find((r) => r.name === name) : undefined;
}

/** The browser's memory, where it lets us have one. */
export function recall(key: string): string | null {
  try {
    return localStorage.getItem(`bastide.${key}`);
  } catch {
    return null;
  }
}

export function remember(key: string, value: string): void {
  try {
    localStorage.setItem(`bastide.${key}`, value);
  } catch {
    // A browser that keeps nothing shows the page all the same.
  }
}

/** Asks one thing; notes the error, and keeps the answer of before. */
async function ask<T>(name: string, question: () => Promise<T>, take: (answer: T) => void): Promise<void> {
  try {
    take(await question());
    if (problems.value.has(name)) {
      const rest = new Map(problems.value);
      rest.delete(name);
      problems.value = rest;
    }
  } catch (error) {
    if (error instanceof api.Unreachable) throw error;
    const said = error instanceof Error ? error.message : String(error);
    if (problems.value.get(name) !== said) problems.value = new Map(problems.value).set(name, said);
  }
}

async function refreshLive(): Promise<void> {
  const collected: Answers = { ...answers.value };
  const questions = (Object.keys(LIVE) as LiveName[]).map((name) =>
    ask(name, () => api.instant(LIVE[name]), (answer) => (collected[name] = answer)),
  );
  await Promise.all([
    ...questions,
    line.value === null ? ask("line", api.line, (l) => (line.value = l)) : Promise.resolve(),
    ask("targets", api.targets, (t) => (targets.value = t)),
    ask("alerts", api.alerts, (a) => (alerts.value = a)),
  ]);
  answers.value = collected;
}

async function refreshEvents(): Promise<void> {
  const kinds = eventKinds.value;
  const names = [...kinds].flatMap((kind) => NAMES[kind]);
  await ask("events", () => api.events(EVENTS, names), (e) => {
    // The reader may have chosen other kinds meanwhile.
    if (eventKinds.value === kinds) events.value = e;
  });
}

async function refreshWaf(): Promise<void> {
  // A site without a WAF has none to tell of.
  if (line.value !== null && line.value.waf === null) return;
  await ask("waf-events", () => api.events(WAF_EVENTS, NAMES.WAF), (e) => {
    wafEvents.value = e.filter((one): one is WafEvent => one.event === "waf_match");
  });
}

async function refreshSlow(): Promise<void> {
  await Promise.all([ask("line", api.line, (l) => (line.value = l)), ask("rules", api.rules, (r) => (rules.value = r))]);
}

/** The values of series by their label `instance`. */
function byInstance(samples: { metric: Record<string, string>; value: [number, string] }[]): ReadonlyMap<string, number> {
  return new Map(samples.map((s) => [s.metric["instance"] ?? "", Number(s.value[1])]));
}

async function refreshRest(): Promise<void> {
  await Promise.all([
    ask("silences", api.silences, (s) => (silences.value = s)),
    ask("routed", api.routed, (r) => (routed.value = r)),
    ask("probes", api.probes, (p) => (probes.value = p)),
  ]);
  if (!probes.value?.length) return;
  await Promise.all([
    ask("probe-ends", () => api.instant(PROBE_ENDS), (s) => (probeReadings.value = { ...probeReadings.value, endsS: byInstance(s) })),
    ask("probe-uptime", () => api.instant(PROBE_UPTIME), (s) => (probeReadings.value = { ...probeReadings.value, uptime: byInstance(s) })),
  ]);
}

let grownMs = -Infinity;

/** Its failure is said where the answer would be: it may take long where everything else answers. */
async function refreshGrowth(): Promise<void> {
  // A page that is looked at again does not ask again what takes the monitor long.
  if (Date.now() - grownMs < (GROWTH_EVERY_S * 1000) / 2) return;
  try {
    growth.value = { answer: await api.growth(), problem: null };
    grownMs = Date.now();
  } catch (error) {
    growth.value = { ...growth.value, problem: error instanceof Error ? error.message : String(error) };
    // Whether the monitor answers at all is told by the others.
  }
}

async function refreshCharts(): Promise<void> {
  const asked = range.value;
  const times_ = grid(asked, Date.now() / 1000);
  const at = times(times_);
  const wanted = charts(asked);
  const queries = [...new Set(wanted.flatMap((chart) => chart.curves.map((curve) => curve.query)))];
  const series = new Map<string, Series[]>();
  await Promise.all(
    queries.map((query) => ask(query, () => api.range(query, times_), (answer) => series.set(query, answer))),
  );
  // The reader may have chosen another range meanwhile.
  if (range.value !== asked) return;
  drawn.value = new Map(
    wanted.map((chart) => [
      chart.id,
      { at, curves: chart.curves.map((curve) => align(series.get(curve.query) ?? [], curve, times_, at.length)) },
    ]),
  );
  drawnRange.value = asked;
}

/** A task that repeats while the page is seen, and starts again at once when it is seen again. */
class Repeated {
  private timer: ReturnType<typeof setTimeout> | undefined;
  private running = false;
  private again = false;

  constructor(
    private readonly seconds: () => number,
    private readonly task: () => Promise<void>,
    /** Whether its success proves that the monitor answers. */
    private readonly proves = true,
  ) {}

  /** Does it now; where it is being done, once more after that. */
  async now(): Promise<void> {
    clearTimeout(this.timer);
    if (this.running) {
      this.again = true;
      return;
    }
    this.running = true;
    try {
      await this.task();
      if (this.proves) connection.value = { lastMs: Date.now(), problem: null };
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      connection.value = { lastMs: connection.value.lastMs, problem: why };
    }
    this.running = false;
    if (this.again) {
      this.again = false;
      void this.now();
    } else if (!document.hidden) {
      this.timer = setTimeout(() => void this.now(), this.seconds() * 1000);
    }
  }

  pause(): void {
    clearTimeout(this.timer);
  }
}

const liveTask = new Repeated(() => LIVE_EVERY_S, refreshLive);
const eventTask = new Repeated(() => LIVE_EVERY_S, refreshEvents);
const wafTask = new Repeated(() => WAF_EVERY_S, refreshWaf);
const slowTask = new Repeated(() => SLOW_EVERY_S, refreshSlow);
const chartTask = new Repeated(() => range.value.refresh, refreshCharts);

const restTask = new Repeated(() => REST_EVERY_S, refreshRest);
const growthTask = new Repeated(() => (growth.value.problem === null ? GROWTH_EVERY_S : SLOW_EVERY_S), refreshGrowth, false);

const tasks = [liveTask, eventTask, wafTask, slowTask, chartTask, restTask, growthTask];

export function choose(next: Range): void {
  range.value = next;
  remember("range", next.name);
  void chartTask.now();
}

export function toggleKind(kind: Kind): void {
  const next = new Set(eventKinds.value);
  if (!next.delete(kind)) next.add(kind);
  eventKinds.value = next;
  void eventTask.now();
}

export function start(): void {
  let ticking: ReturnType<typeof setInterval> | undefined;
  const wake = () => {
    clearInterval(ticking);
    if (document.hidden) {
      for (const task of tasks) task.pause();
      return;
    }
    nowMs.value = Date.now();
    ticking = setInterval(() => (nowMs.value = Date.now()), 1000);
    for (const task of tasks) void task.now();
  };
  document.addEventListener("visibilitychange", wake);
  wake();
}
