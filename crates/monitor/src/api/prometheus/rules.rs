//! Rules and alerts.

use super::Failure;
use crate::api::{Params, json};
use crate::rules::RuleHealth;
use crate::state::{State, lock};
use monitor_alert::rules::{ActiveAlert, State as AlertState};
use monitor_alert::{ZERO_TIME, rfc3339};
use serde_json::{Value, json};

fn success(data: &Value) -> String {
    json::success(|out| out.push_str(&data.to_string()))
}

fn object(pairs: &[(String, String)]) -> Value {
    pairs
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `/api/v1/alerts`.
pub(super) fn alerts(state: &State) -> String {
    let book = lock(&state.book);
    let list: Vec<Value> =
        book.rules.all().filter(|(_, a)| a.state != AlertState::Resolved).map(|(_, a)| alert(a)).collect();
    success(&json!({ "alerts": list }))
}

fn alert(alert: &ActiveAlert) -> Value {
    json!({
        "labels": object(&alert.labels),
        "annotations": object(&alert.annotations),
        "state": alert.state.as_str(),
        "activeAt": rfc3339(alert.active_at_ms),
        "value": json::exponent(alert.value),
    })
}

/// `/api/v1/alertmanagers`: alerts are told to receivers from here.
pub(super) fn alertmanagers() -> String {
    success(&json!({ "activeAlertmanagers": [], "droppedAlertmanagers": [] }))
}

/// `/api/v1/rules`: one group of recordings, one of alerts.
pub(super) fn rules(state: &State, params: &Params) -> Result<String, Failure> {
    let type_param = params.get("type").map(str::to_ascii_lowercase);
    if let Some(other) = type_param.as_deref().filter(|t| !matches!(*t, "alert" | "record")) {
        return Err(Failure::parameter("type", format!("not supported value {other:?}")));
    }
    let flag = |name: &str| match params.get(name).map(str::to_ascii_lowercase).as_deref() {
        None | Some("false" | "0" | "f") => Ok(false),
        Some("true" | "1" | "t") => Ok(true),
        Some(_) => Err(Failure::parameter(name, "it is `true` or `false`")),
    };
    let without_alerts = flag("exclude_alerts")?;
    let groups_named: Vec<&str> = params.all("rule_group[]").collect();
    let files_named: Vec<&str> = params.all("file[]").collect();
    let plan = state.plan();
    let book = lock(&state.book);
    let interval_s = plan.site.alert.interval.as_secs_f64();
    let names: Vec<&str> = params.all("rule_name[]").collect();
    let named = |name: &str| names.is_empty() || names.contains(&name);
    let wanted = |kind: &str| type_param.as_deref().is_none_or(|t| t == kind);
    let none = RuleHealth::default();
    let health = |key: &str| book.health.get(key).unwrap_or(&none);

    let recordings: Vec<Value> = plan
        .recordings
        .iter()
        .filter(|rule| wanted("record") && named(&rule.record))
        .map(|rule| {
            let fared = health(&format!("record:{}", rule.record));
            let rest = json!({ "name": rule.record, "query": rule.query.text(), "labels": {} });
            merged("recording", rest, fared)
        })
        .collect();
    let alerts: Vec<Value> = plan
        .alerts
        .iter()
        .filter(|rule| wanted("alert") && named(&rule.rule.name))
        .map(|rule| {
            let active: Vec<&ActiveAlert> =
                book.rules.of(&rule.key).filter(|a| a.state != AlertState::Resolved).collect();
            let state = match active.iter().map(|a| a.state).max_by_key(|s| *s == AlertState::Firing) {
                Some(AlertState::Firing) => "firing",
                Some(_) => "pending",
                None => "inactive",
            };
            let shown: Vec<Value> =
                if without_alerts { Vec::new() } else { active.iter().map(|a| alert(a)).collect() };
            let rest = json!({
                "state": state,
                "name": rule.rule.name,
                "query": rule.rule.expr,
                "duration": rule.rule.hold.as_secs_f64(),
                "keepFiringFor": 0,
                "labels": object(&rule.rule.labels),
                "annotations": object(&rule.rule.annotations),
                "alerts": shown,
            });
            merged("alerting", rest, health(&rule.key))
        })
        .collect();

    let groups: Vec<Value> = [("recordings", recordings), ("alerts", alerts)]
        .into_iter()
        .filter(|(_, rules)| !rules.is_empty())
        .filter(|(name, _)| groups_named.is_empty() || groups_named.contains(name))
        .filter(|_| files_named.is_empty() || files_named.contains(&FILE))
        .map(|(name, rules)| {
            json!({
                "name": name,
                "file": FILE,
                "interval": interval_s,
                "limit": 0,
                "rules": rules,
                "evaluationTime": book.took_s,
                "lastEvaluation": book.at_ms.map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
            })
        })
        .collect();
    Ok(success(&json!({ "groups": groups })))
}

/// Where the rules stand.
const FILE: &str = "bastide.toml";

fn merged(kind: &str, mut rule: Value, fared: &RuleHealth) -> Value {
    rule["type"] = kind.into();
    rule["health"] = match (fared.at_ms, fared.error.is_empty()) {
        (0, _) => "unknown",
        (_, true) => "ok",
        (_, false) => "err",
    }
    .into();
    if !fared.error.is_empty() {
        rule["lastError"] = fared.error.as_str().into();
    }
    rule["evaluationTime"] = fared.took_s.into();
    rule["lastEvaluation"] = if fared.at_ms == 0 { ZERO_TIME.into() } else { rfc3339(fared.at_ms).into() };
    rule
}
