// What fires, what is about to, and what watches.

import { ago, duration } from "../format.ts";
import { alerts, nowMs, rules } from "../state.ts";
import type { Alert, Rule } from "../types.ts";
import { Empty, Mark, Panel } from "./basics.tsx";

const HIDDEN = new Set(["alertname", "severity", "job", "instance"]);

export function Alerts() {
  const active = [...alerts.value].sort((a, b) => order(a) - order(b));
  const watching = rules.value.filter((r) => r.type === "alerting");
  const quiet = watching.filter((r) => !active.some((a) => a.labels["alertname"] === r.name));
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
        <p class="notice" key={rule.name}>
          Rule <strong>{rule.name}</strong> cannot be evaluated: {rule.lastError}
        </p>
      ))}
      {quiet.length > 0 && (
        <details>
          <summary>{quiet.length} rules that do not fire</summary>
          <ul class="plain-list rules">
            {quiet.map((rule) => (
              <Quiet key={`${rule.name} ${rule.query}`} rule={rule} />
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

function Active({ alert }: { alert: Alert }) {
  const since = alert.activeAt ? (nowMs.value - Date.parse(alert.activeAt)) / 1000 : null;
  const labels = Object.entries(alert.labels).filter(([name]) => !HIDDEN.has(name));
  const { summary, description, action } = alert.annotations;
  return (
    <li class={`alert ${alert.state}`}>
      <p class="alert-head">
        <Mark health={alert.state === "firing" ? "down" : "warn"} word={alert.state} />
        <strong>{alert.labels["alertname"]}</strong>
        {alert.labels["severity"] && <span class="tag">{alert.labels["severity"]}</span>}
        <span class="quiet">{since === null ? "" : `since ${ago(since)}`}</span>
      </p>
      {summary && <p>{summary}</p>}
      {description && <p class="quiet">{description}</p>}
      {action && <p class="quiet">→ {words(action)}</p>}
      {!summary && labels.length > 0 && <p class="quiet">{labels.map(([n, v]) => `${n} ${v}`).join(", ")}</p>}
    </li>
  );
}

/** Commands stand in back-ticks. */
function words(text: string) {
  return text.split("`").map((part, i) => (i % 2 === 1 ? <code key={i}>{part}</code> : part));
}

function Quiet({ rule }: { rule: Rule }) {
  return (
    <li>
      <span class="name">{rule.name}</span>
      <code class="grow">{rule.query}</code>
      {rule.duration ? <span class="quiet">for {duration(rule.duration)}</span> : null}
    </li>
  );
}
