import { useEffect, useRef } from "preact/hooks";
import { ago, clock, count, duration, percent, rate } from "../format.ts";
import type { Judged, View } from "../model.ts";
import { alerts, connection, line, live, nowMs, problems, staleness, status } from "../state.ts";
import { THEMES, setTheme, theme } from "../theme.ts";
import { Mark } from "./basics.tsx";

/** Name, freshness, theme. */
export function Header() {
  const site = line.value;
  return (
    <header class="top">
      <svg class="logo" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true">
        <path d="M2 22V6h3v3h3V6h3v3h2V6h3v3h3V6h3v16h-6v-5a4 4 0 0 0-8 0v5z" />
      </svg>
      <h1>
        {site?.site ?? "Bastide"}
        {site && <span class="revision">{site.revision}</span>}
      </h1>
      {site && (
        <a class="visit" href={site.site_url}>
          {site.domains[0] ?? site.site_url}
        </a>
      )}
      <Freshness />
      <Themes />
    </header>
  );
}

function Freshness() {
  const { lastMs } = connection.value;
  const why = staleness.value;
  const age = lastMs === null ? null : (nowMs.value - lastMs) / 1000;
  return (
    <p class={`fresh ${why ? "old" : ""}`}>
      <Mark health={why ? "warn" : lastMs === null ? "unknown" : "up"} word={why ? "not live" : "live"} />
      <span class="quiet age">{lastMs === null ? "connecting" : why ? ago(age) : "every 5 s"}</span>
    </p>
  );
}

function Themes() {
  return (
    <fieldset class="segments themes">
      <legend class="unseen">Colours</legend>
      {THEMES.map((name) => (
        <label key={name}>
          <input type="radio" name="theme" checked={theme.value === name} onChange={() => setTheme(name)} />
          <span>{name}</span>
        </label>
      ))}
    </fieldset>
  );
}

/** What is wrong with the numbers themselves. */
export function Notices() {
  const { problem, lastMs } = connection.value;
  const age = live.value?.age ?? null;
  const failed = [...problems.value];
  return (
    <div role="alert" class="notices">
      {problem !== null && (
        <p class="notice">
          <strong>The monitor does not answer</strong> ({problem}).{" "}
          {lastMs === null ? "Nothing is shown yet" : `What you see is of ${clock(lastMs)}`}; trying again every 5 s.
          Traffic does not depend on it: the site may well be up. See <code>bastide status</code>.
        </p>
      )}
      {problem === null && staleness.value !== null && (
        <p class="notice">
          <strong>Readings have stopped</strong>: the newest is {duration(age)} old. The monitor answers but scrapes
          nothing. See <code>bastide logs monitor</code>.
        </p>
      )}
      {problem === null && failed.length > 0 && (
        <p class="notice">
          <strong>
            {failed.length} {failed.length === 1 ? "question" : "questions"} got an error
          </strong>
          : {failed[0]?.[1]}
        </p>
      )}
    </div>
  );
}

/** The whole status in five seconds. */
export function Vitals() {
  const v = live.value;
  const old = staleness.value !== null;
  const state = old ? notKnown() : status.value;
  useTitle(v, old);
  const servers = v?.pools.flatMap((p) => p.servers) ?? [];
  const known = servers.filter((s) => s.health !== "unknown");
  const up = known.filter((s) => s.health !== "down").length;
  const lags = v?.databases.flatMap((d) => d.members).flatMap((m) => (m.role === "replica" && m.lagSeconds !== null ? [m.lagSeconds] : [])) ?? [];
  const lag = lags.length === 0 ? null : Math.max(...lags);
  const firing = alerts.value.filter((a) => a.state === "firing").length;
  const errors = v?.errors ?? null;
  return (
    <section class="vitals" aria-label="Status">
      <p class={`verdict ${state?.health ?? "unknown"}`} role="status">
        <Mark health={state?.health ?? "unknown"} word={null} />
        <span>{state?.why ?? "Waiting for the monitor…"}</span>
      </p>
      <dl class="figures">
        <Figure name="req / s" value={rate(v?.qps ?? null)} />
        <Figure name="errors" value={percent(errors)} bad={errors !== null && errors >= 0.01} />
        <Figure name="p50" value={duration(v?.p50 ?? null)} />
        <Figure name="p99" value={duration(v?.p99 ?? null)} />
        <Figure name="servers up" value={known.length ? `${up} / ${servers.length}` : "–"} bad={up < known.length} />
        <Figure name="replica lag" value={duration(lag)} />
        <Figure name="alerts firing" value={count(firing)} bad={firing > 0} to="#alerts" />
      </dl>
    </section>
  );
}

/** Old numbers prove nothing about now. */
function notKnown(): Judged | null {
  const age = live.value?.age ?? null;
  const { lastMs, problem } = connection.value;
  const sinceMs = lastMs === null ? null : problem === null && age !== null ? lastMs - age * 1000 : lastMs;
  if (sinceMs === null) return null;
  return { health: "unknown", why: `Not known since ${clock(sinceMs)}. Last: ${status.value?.why ?? "nothing."}` };
}

function Figure({ name, value, bad, to }: { name: string; value: string; bad?: boolean; to?: string }) {
  return (
    <div class={bad ? "bad" : ""}>
      <dt>{name}</dt>
      <dd>{to ? <a href={to}>{value}</a> : value}</dd>
    </div>
  );
}

/** The tab tells the status too. */
function useTitle(v: View | null, old: boolean): void {
  const mark = { up: "●", warn: "▲", down: "✖", unknown: "○" }[old ? "unknown" : (status.value?.health ?? "unknown")];
  const title = `${mark} ${v ? `${rate(v.qps)}/s · ` : ""}${line.value?.site ?? "Bastide"}`;
  const before = useRef("");
  useEffect(() => {
    if (before.current !== title) document.title = before.current = title;
  });
}
