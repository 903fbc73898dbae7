// A search in the lines of access logs that are kept. It asks when it is told to,
// and shows the newest first, a page at a time.

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import * as api from "../api.ts";
import { count, duration, when } from "../format.ts";
import { nowMs } from "../state.ts";
import { logsSearch, visible } from "../shell.ts";
import type { Found, LogLine } from "../types.ts";
import { Command, Disclosure, Empty, Panel } from "./basics.tsx";

const PAGE = 100;
/** Letters of a line that are shown before it is opened. */
const SHORT = 400;

const TIMES = [
  { name: "15 min", seconds: 900 },
  { name: "1 h", seconds: 3600 },
  { name: "6 h", seconds: 21_600 },
  { name: "24 h", seconds: 86_400 },
  { name: "7 d", seconds: 604_800 },
  { name: "all kept", seconds: Infinity },
  { name: "from … to …", seconds: null },
];

/** What is asked, without its page. */
type Asked = Record<string, string>;

export function Logs() {
  const form = useRef<HTMLFormElement>(null);
  const between = useSignal(false);
  const asked = useSignal<Asked | null>(null);
  /** Where each page begins; the last one is shown. */
  const pages = useSignal<string[]>([""]);
  const found = useSignal<Found | null>(null);
  const problem = useSignal<string | null>(null);
  const busy = useSignal(false);
  const running = useRef<AbortController | null>(null);
  useEffect(() => () => running.current?.abort(), []);

  const search = async (wanted: Asked, from: string[]) => {
    running.current?.abort();
    const stop = new AbortController();
    running.current = stop;
    busy.value = true;
    problem.value = null;
    const page = from[from.length - 1] ?? "";
    try {
      const answer = await api.logs({ ...wanted, limit: String(PAGE), ...(page ? { from: page } : {}) }, stop.signal);
      if (stop.signal.aborted) return;
      found.value = answer;
      asked.value = wanted;
      pages.value = from;
    } catch (error) {
      if (stop.signal.aborted) return;
      problem.value = error instanceof Error ? error.message : String(error);
    }
    busy.value = false;
  };
  const submit = (event: Event) => {
    event.preventDefault();
    if (form.current) void search(parameters(new FormData(form.current), Date.now()), [""]);
  };
  const stop = () => {
    running.current?.abort();
    busy.value = false;
  };
  const wanted = asked.value;
  const older = wanted !== null && found.value !== null && !found.value.complete && Object.keys(found.value.next).length > 0;
  const newer = wanted !== null && pages.value.length > 1;
  return (
    <Panel id="logs" title="Access logs">
      <form class="search" ref={form} onSubmit={submit} role="search" aria-label="Access logs">
        <label class="wide">
          Text in the line
          <input type="search" name="text" maxLength={4096} autocomplete="off" spellcheck={false} />
        </label>
        <fieldset class="checks">
          <legend class="unseen">How the text is read</legend>
          <label>
            <input type="checkbox" name="regex" /> regular expression
          </label>
          <label>
            <input type="checkbox" name="ignore_case" /> any case
          </label>
        </fieldset>
        <Field name="status" label="Status" hint="5xx, 404, 500-504" />
        <Field name="host" label="Host" />
        <Field name="method" label="Method" />
        <Field name="route" label="Route" hint="/orders/:id" />
        <Field name="ip" label="Client" />
        <label>
          Slower than, s
          <input type="number" name="min_seconds" min="0" max="4000" step="any" inputMode="decimal" />
        </label>
        <label>
          Time
          <select name="time" onChange={(e) => (between.value = TIMES[Number(e.currentTarget.value)]?.seconds === null)}>
            {TIMES.map((t, i) => (
              <option key={t.name} value={i} selected={i === 1}>
                {t.seconds !== null && Number.isFinite(t.seconds) ? `last ${t.name}` : t.name}
              </option>
            ))}
          </select>
        </label>
        {between.value && (
          <>
            <label>
              From
              <input type="datetime-local" name="start" step="1" />
            </label>
            <label>
              To
              <input type="datetime-local" name="end" step="1" />
            </label>
          </>
        )}
        <p class="actions">
          <button type="submit" class="main">
            Search
          </button>
          {busy.value && (
            <button type="button" onClick={stop}>
              Stop
            </button>
          )}
        </p>
      </form>
      <p class="caption quiet" role="status" aria-live="polite">
        {busy.value ? "Searching…" : found.value !== null && problem.value === null ? told(found.value, pages.value.length) : ""}
      </p>
      {problem.value !== null && (
        <p class="notice" role="alert">
          {visible(problem.value)}
        </p>
      )}
      {found.value !== null && (
        <div class={busy.value ? "waiting" : ""} aria-busy={busy.value}>
          {found.value.damage.map((what) => (
            <p class="notice" key={what}>
              Some lines cannot be read: {visible(what)}
            </p>
          ))}
          {found.value.lines.length === 0 ? (
            <Empty>
              {found.value.frames === 0 ? (
                <>
                  No lines are kept for this time. The edge's access log and the logs of the file are kept for{" "}
                  <code>log_retention</code>.
                </>
              ) : (
                "No line fits."
              )}
            </Empty>
          ) : (
            <div class="lines" role="region" aria-label="Lines found" tabIndex={0} key={pages.value.length}>
              <ol class="plain-list" start={(pages.value.length - 1) * PAGE + 1}>
                {found.value.lines.map((line, i) => (
                  <Line key={i} line={line} />
                ))}
              </ol>
            </div>
          )}
          {wanted !== null && (newer || older) && (
            <p class="actions">
              <button type="button" aria-disabled={!newer} onClick={() => newer && void search(wanted, pages.value.slice(0, -1))}>
                Newer
              </button>
              <button
                type="button"
                aria-disabled={!older}
                onClick={() => older && found.value && void search(wanted, [...pages.value, JSON.stringify(found.value.next)])}
              >
                Older
              </button>
              <span class="quiet">page {pages.value.length}</span>
            </p>
          )}
          {wanted !== null && (
            <>
              <p class="quiet small">The same at a terminal:</p>
              <Command text={logsSearch(wanted)} />
            </>
          )}
        </div>
      )}
    </Panel>
  );
}

function Field({ name, label, hint }: { name: string; label: string; hint?: string }) {
  return (
    <label>
      {label}
      <input type="text" name={name} placeholder={hint ?? ""} maxLength={4096} autocomplete="off" autocapitalize="off" spellcheck={false} />
    </label>
  );
}

/** The fields as the monitor wants them; what is empty is not asked. A time is fixed, so that pages fit together. */
function parameters(fields: FormData, now: number): Asked {
  const of = (name: string) => String(fields.get(name) ?? "");
  const asked: Asked = {};
  const text = of("text");
  if (text !== "") {
    asked[fields.has("regex") ? "regex" : "query"] = text;
    if (fields.has("ignore_case")) asked["ignore_case"] = "true";
  }
  for (const name of ["status", "host", "method", "route", "ip", "min_seconds"]) {
    const value = of(name).trim();
    if (value !== "") asked[name] = value;
  }
  const seconds = TIMES[Number(of("time"))]?.seconds;
  const time = (ms: number) => {
    if (!Number.isNaN(ms)) return new Date(ms).toISOString();
    return undefined;
  };
  if (typeof seconds === "number") {
    if (Number.isFinite(seconds)) asked["start"] = new Date(now - seconds * 1000).toISOString();
    asked["end"] = new Date(now).toISOString();
  } else {
    const start = time(Date.parse(of("start")));
    const end = time(Date.parse(of("end")));
    if (start !== undefined) asked["start"] = start;
    if (end !== undefined) asked["end"] = end;
  }
  return asked;
}

/** How many, and whether that is all. */
function told(found: Found, page: number): string {
  const n = found.lines.length;
  const first = (page - 1) * PAGE + 1;
  if (n === 0) return found.complete ? "0 lines" : "0 lines yet: the search took too long; Older goes on";
  const lines = page === 1 ? `${count(n)} ${n === 1 ? "line" : "lines"}` : `lines ${count(first)} to ${count(first + n - 1)}`;
  if (found.complete) return page === 1 ? lines : `${lines}, the last ones`;
  return n < PAGE ? `${lines} so far: the search took too long; Older goes on` : `${lines}, the newest first; there are older ones`;
}

function Line({ line }: { line: LogLine }) {
  const text = visible(line.line);
  const tone = line.status === null ? "" : line.status >= 500 ? "bad" : "";
  return (
    <li class="line">
      <time dateTime={new Date(line.at_ms).toISOString()}>{when(line.at_ms, nowMs.value)}</time>
      <span class={tone}>{line.status ?? "–"}</span>
      <span>{duration(line.seconds)}</span>
      <span class="quiet from">{visible(line.log)}</span>
      {text.length <= SHORT ? (
        <code class="text">{text}</code>
      ) : (
        <div class="text">
          <code>{text.slice(0, SHORT)}…</code>
          <Disclosure summary={`all ${count(text.length)} letters`}>
            <code>{text}</code>
          </Disclosure>
        </div>
      )}
    </li>
  );
}
