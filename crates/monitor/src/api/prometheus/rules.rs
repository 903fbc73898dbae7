//! Rules and alerts.

use super::Failure;
use crate::api::{Params, json};
use crate::rules::Book;
use crate::rules::plan::{Group, Rule};
use crate::state::{State, lock};
use monitor_alert::State as AlertState;
use monitor_alert::api::{self, Health};
use monitor_alert::manager::Kind;
use serde_json::{Value, json};

/// The file that a site's own rules are said to stand in.
const OWN_FILE: &str = "bastide.toml";

fn success(data: &Value) -> String {
    json::success(|out| out.push_str(&data.to_string()))
}

/// `/api/v1/alerts`.
pub(super) fn alerts(state: &State) -> String {
    let book = lock(&state.book);
    let list: Vec<Value> = book
        .rules
        .all()
        .filter(|(_, a)| a.state != AlertState::Resolved)
        .map(|(_, a)| api::alert(a))
        .collect();
    success(&json!({ "alerts": list }))
}

/// `/api/v1/alertmanagers`: the remote ones; alerts are told from here, too.
pub(super) fn alertmanagers(state: &State) -> String {
    let plan = state.plan();
    let integrations = plan.manager.receivers.iter().flat_map(|r| &r.integrations);
    let active: Vec<Value> = integrations
        .filter_map(|integration| match &integration.kind {
            Kind::Alertmanager { url } => crate::notify::Target::parse(url.reveal()).ok(),
            _ => None,
        })
        .map(|target| json!({ "url": format!("{}/api/v2/alerts", target.place()) }))
        .collect();
    success(&json!({ "activeAlertmanagers": active, "droppedAlertmanagers": [] }))
}

/// `/api/v1/rules`.
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
    let list = |name: &str| params.all(name).map(str::to_owned).collect::<Vec<_>>();
    let (groups, files, names) = (list("rule_group[]"), list("file[]"), list("rule_name[]"));
    let among = |list: &[String], name: &str| list.is_empty() || list.iter().any(|n| n == name);
    let wanted = |rule: &Rule| {
        let kind = if rule.is_recording() { "record" } else { "alert" };
        type_param.as_deref().is_none_or(|t| t == kind) && among(&names, &rule.rule.name)
    };
    let plan = state.plan();
    let book = lock(&state.book);
    let shown: Vec<Value> = plan
        .groups
        .iter()
        .filter(|g| among(&groups, &g.settings.name) && among(&files, file(g)))
        .filter_map(|group| {
            let rules: Vec<Value> =
                group.rules.iter().filter(|r| wanted(r)).map(|r| one(&book, r, without_alerts)).collect();
            (!rules.is_empty() || (names.is_empty() && type_param.is_none())).then(|| {
                let ran = book.ran.get(&group.name());
                let interval_s = group.interval_ms as f64 / 1e3;
                let took_s = ran.map_or(0.0, |ran| ran.took_s);
                api::group(&group.settings, file(group), interval_s, rules, took_s, ran.map(|ran| ran.at_ms))
            })
        })
        .collect();
    Ok(success(&json!({ "groups": shown })))
}

fn file(group: &Group) -> &str {
    if group.settings.file.is_empty() { OWN_FILE } else { &group.settings.file }
}

fn one(book: &Book, rule: &Rule, without_alerts: bool) -> Value {
    let none = Health::default();
    let health = book.health.get(&rule.key).unwrap_or(&none);
    api::rule(&rule.rule, health, book.rules.of(&rule.key), without_alerts)
}
