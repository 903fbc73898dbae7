// What fires, what is about to, what is silenced, and what watches.

import { ago, date, clock, duration } from "../format.ts";
import { alerts, nowMs, routed, rules, silences } from "../state.ts";
import { matcher, visible } from "../shell.ts";
import type { Alert, Rule, Silence } from "../types.ts";
import { AlertDetail } from "./alert.tsx";
import { Command, Disclosure, Empty, Mark, Panel, words } from "./basics.tsx";

const HIDDEN = new Set(["alertname", "severity", "job", "instance"]);

export function Alerts() {
  const active = [...alerts.value].sort((a, b) => order(a) - order(b));
  const watching = rules.value.filter((r) => r.type === "alerting");
  const quiet = watching.filter((r) => !active.some((a) => ruleOf(a) === r));
  const broken = watching.filter((r) => r.health === "err");
  return (
    <Panel id="alerts" title="Alerts">
      {active.length === 0 && (
        <Empty>
          {watching.length === 0 ? "No rule is evaluated yet." : `Nothing fires. ${watching.length} rules watch.`}
        </Empty>
      )}
      {active.length > 0 && (
        <ul class="plain-list alerts">
          {active.map((alert) => (
            <Active key={JSON.stringify(alert.labels)} alert={alert} />
          ))}
        </ul>
      )}
      {broken.map((rule) => (
        <p class="notice" key={`${rule.file} ${rule.group} ${rule.name}`}>
          Rule <strong>{rule.name}</strong> cannot be evaluated: {visible(rule.lastError ?? "")}
        </p>
      ))}
      <Silences />
      {quiet.length > 0 && (
        <details>
          <summary>{quiet.length} rules that do not fire</summary>
          <ul class="plain-list rules">
            {quiet.map((rule) => (
              <Quiet key={`${rule.file} ${rule.group} ${rule.name} ${rule.query}`} rule={rule} />
            ))}
          </ul>
        </details>
      )}
    </Panel>
  );
}

function order(alert: Alert): number {
  const severity = alert.labels["severity"] === "critical" ? 0 : 1;
  return (alert.state === "firing" ? 0 : 2) + severity;
}

/** The rule that an alert is of; among several of one name, one that gives its labels. */
function ruleOf(alert: Alert): Rule | undefined {
  const named = rules.value.filter((r) => r.type === "alerting" && r.name === alert.labels["alertname"]);
  const gives = (rule: Rule) => Object.entries(rule.labels ?? {}).every(([n, v]) => v.includes("{{") || alert.labels[n] === v);
  return named.length > 1 ? (named.find(gives) ?? named[0]) : named[0];
}

/** Why nobody hears of an alert; none where somebody does. */
function hushed(alert: Alert): string | null {
  // Labels of the site may have been added on the way.
  const found = routed.value.find((r) => Object.entries(alert.labels).every(([n, v]) => r.labels[n] === v));
  if (found?.status.silencedBy.length) return "silenced";
  return found?.status.inhibitedBy.length ? "inhibited" : null;
}

function Active({ alert }: { alert: Alert }) {
  const since = alert.activeAt ? (nowMs.value - Date.parse(alert.activeAt)) / 1000 : null;
  const labels = Object.entries(alert.labels).filter(([name]) => !HIDDEN.has(name));
  const { summary, description, action } = alert.annotations;
  const rule = ruleOf(alert);
  const hush = hushed(alert);
  return (
    <li class={`alert ${alert.state}`}>
      <p class="alert-head">
        <Mark health={alert.state === "firing" ? "down" : "warn"} word={alert.state} />
        <strong>{visible(alert.labels["alertname"] ?? "")}</strong>
        {alert.labels["severity"] && <span class="tag">{visible(alert.labels["severity"])}</span>}
        {hush && <span class="tag">{hush}</span>}
        <span class="quiet">{since === null ? "" : `since ${ago(since)}`}</span>
      </p>
      {summary && <p>{words(summary)}</p>}
      {description && <p class="quiet">{words(description)}</p>}
      {action && <p class="quiet">→ {words(action)}</p>}
      {!summary && labels.length > 0 && <p class="quiet">{visible(labels.map(([n, v]) => `${n} ${v}`).join(", "))}</p>}
      <Disclosure summary="Chart, threshold, the last 30 days">
        <AlertDetail rule={rule} alert={alert} />
      </Disclosure>
    </li>
  );
}

function Quiet({ rule }: { rule: Rule }) {
  return (
    <li>
      <Disclosure
        summary={
          <>
            <span class="name">{rule.name}</span>
            <code class="grow">{rule.query}</code>
            {rule.duration ? <span class="quiet">for {duration(rule.duration)}</span> : null}
          </>
        }
      >
        <AlertDetail rule={rule} />
      </Disclosure>
    </li>
  );
}

function Silences() {
  const held = silences.value.filter((s) => s.status.state !== "expired");
  if (held.length === 0) return null;
  return (
    <>
      <h3 class="under">Silences</h3>
      <ul class="plain-list silences">
        {held.map((silence) => (
          <Held key={silence.id} silence={silence} />
        ))}
      </ul>
    </>
  );
}

function Held({ silence }: { silence: Silence }) {
  const { matchers, status, startsAt, endsAt, createdBy, comment, id } = silence;
  const ends = Date.parse(endsAt);
  const left = (ends - nowMs.value) / 1000;
  const starts = Date.parse(startsAt);
  return (
    <li>
      <p>
        <code>{visible(matchers.map(matcher).join(", "))}</code>
      </p>
      <p class="quiet">
        {status.state === "pending" && `from ${date(starts)} ${clock(starts)}, `}
        until {date(ends)} {clock(ends)}
        {left > 0 && status.state === "active" && `, ${duration(left)} more`}; by {visible(createdBy)}: {visible(comment)}
      </p>
      <Command text={`bastide silence expire ${id}`} />
    </li>
  );
}
