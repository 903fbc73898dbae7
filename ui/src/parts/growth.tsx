// What runs out first, when, and on which evidence.

import { evidence } from "../evidence.ts";
import { date, percent } from "../format.ts";
import { growth } from "../state.ts";
import { visible } from "../shell.ts";
import type { Finding } from "../types.ts";
import { Empty, Panel, words } from "./basics.tsx";

export function Growth() {
  const { answer, problem } = growth.value;
  const first = answer?.findings[0];
  const weekly = answer?.weekly_growth ?? null;
  return (
    <Panel id="growth" title="Growth">
      {answer === null && problem === null && <Empty>Looking at the past weeks…</Empty>}
      {problem !== null && <p class="notice">What runs out first cannot be told: {visible(problem)}</p>}
      {answer !== null && (
        <>
          <p class="lead">
            {first === undefined ? (
              "Nothing can be said yet."
            ) : first.on === null ? (
              "Nothing runs out within two years."
            ) : (
              <>
                {words(first.resource)} runs out first: {isNow(first.on) ? "now" : day(first.on)}.
              </>
            )}
          </p>
          <p class="quiet">
            {weekly === null
              ? "Traffic: fewer than four weeks are known; growth needs as many."
              : `Traffic ${weekly >= 1 ? "grows" : "shrinks"} by ${percent(Math.abs(weekly - 1))} a week.`}
          </p>
          <ul class="plain-list findings">
            {answer.findings.map((finding) => (
              <Found key={finding.resource} finding={finding} />
            ))}
          </ul>
          {answer.silent.length > 0 && (
            <details open={first === undefined}>
              <summary>
                {answer.silent.length === 1 ? "One resource" : `${answer.silent.length} resources`} nothing can be said about
              </summary>
              <ul class="plain-list">
                {answer.silent.map((what) => (
                  <li key={what} class="quiet wrap">
                    {words(what)}
                  </li>
                ))}
              </ul>
            </details>
          )}
          <p class="quiet small">
            The same at a terminal: <code>bastide grow</code>
          </p>
        </>
      )}
    </Panel>
  );
}

function day(text: string): string {
  const ms = Date.parse(`${text}T12:00:00`);
  return Number.isNaN(ms) ? visible(text) : date(ms);
}

function isNow(text: string): boolean {
  return Date.parse(`${text}T00:00:00Z`) <= Date.now();
}

const sentence = (text: string) => `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;

function Found({ finding }: { finding: Finding }) {
  const { resource, on, earliest, latest, used, ceiling, bearable, with_another_server: more } = finding;
  const share = (n: number) => Math.min(100, Math.max(0, ceiling > 0 ? (n / ceiling) * 100 : 0));
  const near = used > bearable ? "over" : "";
  return (
    <li>
      <p class="ends">
        <strong class="name">{words(resource)}</strong>
        <span>{on === null ? "enough for two years" : isNow(on) ? "used up now" : `until ${day(on)}`}</span>
      </p>
      <svg class={`strip ${near}`} viewBox="0 0 100 8" preserveAspectRatio="none" aria-hidden="true">
        <rect width="100" height="8" class="ground" />
        <rect width={share(used)} height="8" class="used" />
        <rect x={Math.min(99.4, share(bearable))} width="0.6" height="8" class="tick" />
      </svg>
      {on !== null && !isNow(on) && (
        <p class="small">
          {latest !== null
            ? `With 80 % between ${earliest === null || isNow(earliest) ? "now" : day(earliest)} and ${day(latest)}.`
            : earliest === null || isNow(earliest)
              ? "With 80 %: at any time from now on, or never."
              : `With 80 %: not before ${day(earliest)}, or never.`}
        </p>
      )}
      <p class="quiet small">{words(sentence(evidence(finding)))}</p>
      {more !== null && (
        <p class="small">
          With another server: {/^\d/.test(more) ? `until ${day(more)}` : visible(more)}.
        </p>
      )}
    </li>
  );
}
