// What happened lately.

import { useSignal } from "@preact/signals";
import { duration, when } from "../format.ts";
import { KINDS, passes, runs, type Kind, type Run } from "../events.ts";
import { eventKinds, events, nowMs, toggleKind } from "../state.ts";
import type { RuleMatch } from "../types.ts";
import { score } from "../waf.ts";
import { Empty, Mark, Panel } from "./basics.tsx";

const PAGE = 25;

export function Events() {
  const kinds = eventKinds;
  const words = useSignal("");
  const shown = useSignal(PAGE);
  const all = events.value;
  const found = runs(all?.filter((e) => passes(e, kinds.value, words.value)) ?? []);
  const toggle = (kind: Kind) => {
    toggleKind(kind);
    shown.value = PAGE;
  };
  return (
    <Panel id="events" title="Events">
      <div class="filters">
        <div role="group" aria-label="Kinds of event" class="chips">
          {KINDS.map((kind) => (
            <button key={kind} type="button" aria-pressed={kinds.value.has(kind)} onClick={() => toggle(kind)}>
              {kind}
            </button>
          ))}
        </div>
        <label class="find">
          <span class="unseen">Find in events</span>
          <input
            type="search"
            placeholder="address, rule, server, event id…"
            value={words.value}
            onInput={(e) => {
              words.value = e.currentTarget.value;
              shown.value = PAGE;
            }}
          />
        </label>
      </div>
      {all === null ? (
        <Empty>Waiting for the monitor.</Empty>
      ) : found.length === 0 ? (
        <Empty>{all.length === 0 ? "Nothing has happened since this site was started." : "No event passes this filter."}</Empty>
      ) : (
        <ol class="plain-list events">
          {found.slice(0, shown.value).map((run) => (
            <Row key={`${run.sinceMs} ${run.told.kind} ${run.told.subject} ${run.told.text}`} run={run} />
          ))}
        </ol>
      )}
      {found.length > shown.value && (
        <button type="button" class="more" onClick={() => (shown.value += 4 * PAGE)}>
          Show more ({found.length - shown.value})
        </button>
      )}
    </Panel>
  );
}

function Row({ run }: { run: Run }) {
  const { event, told, count } = run;
  const head = (
    <>
      <time dateTime={new Date(event.at_ms).toISOString()}>{when(event.at_ms, nowMs.value)}</time>
      <Mark health={told.tone} word={told.kind} />
      <span class="subject">{told.subject}</span>
      <span class="text">
        {told.text}
        {count > 1 && (
          <span class="quiet">
            {" "}
            × {count} in {duration(Math.max(1, Math.round((event.at_ms - run.sinceMs) / 1000)))}
          </span>
        )}
      </span>
    </>
  );
  if (event.event !== "waf_match") return <li class="event">{head}</li>;
  return (
    <li>
      <details>
        <summary class="event">{head}</summary>
        <dl class="matches">
          <div>
            <dt>event</dt>
            <dd>
              <code>{event.id}</code> <span class="quiet">more: </span>
              <code>bastide waf explain {event.id}</code>
            </dd>
          </div>
          {score(event) !== null && (
            <div>
              <dt>score</dt>
              <dd>{score(event)}</dd>
            </div>
          )}
          {event.matches.map((m, i) => (
            <Match key={i} match={m} />
          ))}
        </dl>
      </details>
    </li>
  );
}

function Match({ match }: { match: RuleMatch }) {
  return (
    <div>
      <dt>
        rule {match.rule} <span class="quiet">{match.source}</span>
      </dt>
      <dd>
        {match.message}
        {match.variable && (
          <>
            : <code>{match.operator}</code> in <code>{match.variable}</code> = <code>{match.value}</code>
          </>
        )}
        {match.matched && (
          <>
            , matched <code>{match.matched}</code>
          </>
        )}
      </dd>
    </div>
  );
}
