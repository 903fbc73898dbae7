//! The endpoints about the monitor itself: rules, alerts, targets, metadata, status.

use crate::api::{Params, json};
use crate::rules::RuleHealth;
use crate::scrape::{Metadata, Scraper};
use crate::state::{State, lock};
use base::Address;
use monitor_alert::rules::{ActiveAlert, State as AlertState};
use monitor_alert::{ZERO_TIME, rfc3339};
use serde_json::{Value, json};
use site::Target;
use std::collections::{BTreeMap, BTreeSet};

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

/// `/api/v1/metadata`.
pub(super) fn metadata(state: &State, params: &Params) -> String {
    let limit = |name: &str| {
        params.get(name).and_then(|v| v.parse::<i64>().ok()).and_then(|n| usize::try_from(n).ok())
    };
    let wanted = params.get("metric");
    let mut found: BTreeMap<String, BTreeSet<Metadata>> = BTreeMap::new();
    for scraped in lock(&state.targets).values() {
        for (name, metadata) in &lock(&scraped.health).metadata {
            if wanted.is_none_or(|w| w == name) {
                found.entry(name.clone()).or_default().insert(metadata.clone());
            }
        }
    }
    let per_metric = limit("limit_per_metric").filter(|n| *n > 0).unwrap_or(usize::MAX);
    let shown: serde_json::Map<String, Value> = found
        .into_iter()
        .take(limit("limit").unwrap_or(usize::MAX))
        .map(|(name, all)| {
            let list = all.into_iter().take(per_metric);
            (name, list.map(|m| json!({ "type": kind(&m), "help": m.help, "unit": "" })).collect())
        })
        .collect();
    success(&shown.into())
}

fn kind(metadata: &Metadata) -> &str {
    if metadata.kind.is_empty() { "unknown" } else { &metadata.kind }
}

/// `/api/v1/targets`.
pub(super) fn targets(state: &State, params: &Params) -> String {
    let active = params.get("state").is_none_or(|s| matches!(s, "active" | "any"));
    let interval = state.plan().site.scrape_interval;
    let timeout = base::Millis(Scraper::timeout(interval.duration()).as_millis() as u64);
    let list: Vec<Value> = lock(&state.targets)
        .values()
        .filter(|_| active)
        .map(|scraped| {
            let target = &scraped.target;
            let health = lock(&scraped.health);
            let url = url(target);
            json!({
                "discoveredLabels": {
                    "__address__": target.address.to_string(),
                    "__metrics_path__": target.path,
                    "__scheme__": scheme(target),
                    "job": target.job,
                },
                "labels": { "instance": target.instance, "job": target.job },
                "scrapePool": target.job,
                "scrapeUrl": url,
                "globalUrl": url,
                "lastError": health.error,
                "lastScrape": health.at_ms.map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
                "lastScrapeDuration": health.took_s,
                "health": match (health.at_ms, health.error.is_empty()) {
                    (None, _) => "unknown",
                    (_, true) => "up",
                    (_, false) => "down",
                },
                "scrapeInterval": interval.to_string(),
                "scrapeTimeout": timeout.to_string(),
            })
        })
        .collect();
    success(&json!({ "activeTargets": list, "droppedTargets": [], "droppedTargetCounts": {} }))
}

fn scheme(target: &Target) -> &'static str {
    if target.tls { "https" } else { "http" }
}

fn url(target: &Target) -> String {
    match &target.address {
        Address::Unix(path) => format!("unix:{}:{}", path.display(), target.path),
        address => format!("{}://{address}{}", scheme(target), target.path),
    }
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

/// `/api/v1/rules`: one group of recordings, one of alerts.
pub(super) fn rules(state: &State, params: &Params) -> String {
    let plan = state.plan();
    let book = lock(&state.book);
    let interval_s = plan.site.alert.interval.as_secs_f64();
    let names: Vec<&str> = params.all("rule_name[]").collect();
    let named = |name: &str| names.is_empty() || names.contains(&name);
    let wanted = |kind: &str| params.get("type").is_none_or(|t| t == kind);
    let without_alerts = params.get("exclude_alerts") == Some("true");
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
        .map(|(name, rules)| {
            json!({
                "name": name,
                "file": "bastide.toml",
                "interval": interval_s,
                "limit": 0,
                "rules": rules,
                "evaluationTime": book.took_s,
                "lastEvaluation": book.at_ms.map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
            })
        })
        .collect();
    success(&json!({ "groups": groups }))
}

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

/// `/api/v1/status/buildinfo`. The version is ours: nothing here is Prometheus' code.
pub(super) fn build_info() -> String {
    success(&json!({
        "version": env!("CARGO_PKG_VERSION"),
        "revision": "",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
        "application": "bastide",
    }))
}

/// `/api/v1/status/runtimeinfo`.
pub(super) fn runtime_info(state: &State) -> String {
    let plan = state.plan();
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    success(&json!({
        "startTime": rfc3339(state.started_ms),
        "CWD": state.state_dir.display().to_string(),
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(state.started_ms),
        "corruptionCount": state.opened.damage.len() + lock(&state.damage).len(),
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": plan.site.retention.to_string(),
    }))
}
