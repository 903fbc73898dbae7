//! What is scraped, and what is known about metrics.

use super::{Failure, limit_param};
use crate::api::{Params, json};
use crate::scrape::{PoolView, TargetView};
use crate::state::{State, lock};
use monitor_alert::{ZERO_TIME, rfc3339};
use monitor_model::Metadata;
use monitor_promql::{Labels, Matcher, parse_selector};
use monitor_scrape::format_duration;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

fn success(data: &Value) -> String {
    json::success(|out| out.push_str(&data.to_string()))
}

/// `/api/v1/metadata`.
pub(super) fn metadata(state: &State, params: &Params) -> Result<String, Failure> {
    // Unlike elsewhere, 0 metrics are none, and less than none are all.
    let limit = match params.get("limit").map(str::parse::<i64>) {
        None => usize::MAX,
        Some(Ok(limit)) => usize::try_from(limit).unwrap_or(usize::MAX),
        Some(Err(_)) => return Err(Failure::bad("limit must be a number")),
    };
    let per_metric = match params.get("limit_per_metric").map(str::parse::<i64>) {
        None => usize::MAX,
        Some(Ok(limit)) => usize::try_from(limit).ok().filter(|n| *n > 0).unwrap_or(usize::MAX),
        Some(Err(_)) => return Err(Failure::bad("limit_per_metric must be a number")),
    };
    let wanted = params.get("metric");
    let mut found: BTreeMap<String, BTreeSet<(&'static str, String, String)>> = BTreeMap::new();
    for target in state.board.targets() {
        let told = lock(&target.health).metadata.clone();
        for (name, metadata) in told.iter().filter(|(name, _)| wanted.is_none_or(|w| w == *name)) {
            let Metadata { kind, unit, help } = metadata;
            found.entry(name.clone()).or_default().insert((kind.as_str(), help.clone(), unit.clone()));
        }
    }
    // What was pushed is known to the store alone.
    for (name, Metadata { kind, unit, help }) in state.sink.store().metadata(wanted) {
        found.entry(name).or_insert_with(|| BTreeSet::from([(kind.as_str(), help, unit)]));
    }
    let shown: Map<String, Value> = found
        .into_iter()
        .take(limit)
        .map(|(name, all)| {
            let list = all.into_iter().take(per_metric);
            (
                name,
                list.map(|(kind, help, unit)| json!({ "type": kind, "help": help, "unit": unit })).collect(),
            )
        })
        .collect();
    Ok(success(&shown.into()))
}

fn labels(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<Map<_, _>>().into()
}

/// `/api/v1/targets`.
pub(super) fn targets(state: &State, params: &Params) -> Result<String, Failure> {
    let wanted = params.get("state").unwrap_or("any").to_ascii_lowercase();
    let (active, dropped) = (wanted != "dropped", wanted != "active");
    let named = params.get("scrapePool");
    let mut pools = state.board.pools();
    pools.retain(|pool| named.is_none_or(|name| name.is_empty() || name == pool.name));
    let of_active = |pool: &PoolView| pool.targets.iter().map(active_target).collect::<Vec<_>>();
    let of_dropped = |pool: &PoolView| {
        let entry = |found| json!({ "discoveredLabels": labels(found), "scrapePool": pool.name });
        pool.dropped.iter().map(entry).collect::<Vec<_>>()
    };
    let active: Vec<Value> = pools.iter().filter(|_| active).flat_map(of_active).collect();
    let counts: Map<String, Value> = pools
        .iter()
        .filter(|pool| dropped && pool.dropped_count > 0)
        .map(|pool| (pool.name.clone(), pool.dropped_count.into()))
        .collect();
    let dropped: Vec<Value> = pools.iter().filter(|_| dropped).flat_map(of_dropped).collect();
    Ok(success(&json!({
        "activeTargets": active,
        "droppedTargets": dropped,
        "droppedTargetCounts": counts,
    })))
}

fn active_target(view: &TargetView) -> Value {
    let target = &view.work.target;
    let health = lock(&view.health);
    json!({
        "discoveredLabels": labels(&target.discovered),
        "labels": labels(&target.labels),
        "scrapePool": view.work.pool.name,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": health.error,
        "lastScrape": health.at_ms.map_or_else(|| ZERO_TIME.to_owned(), rfc3339),
        "lastScrapeDuration": health.took_s,
        "health": match (health.at_ms, health.error.is_empty()) {
            (None, _) => "unknown",
            (_, true) => "up",
            (_, false) => "down",
        },
        "scrapeInterval": format_duration(target.interval_ms),
        "scrapeTimeout": format_duration(target.timeout_ms),
    })
}

/// `/api/v1/scrape_pools`.
pub(super) fn scrape_pools(state: &State) -> String {
    let names: BTreeSet<String> = state.board.pools().into_iter().map(|pool| pool.name).collect();
    success(&json!({ "scrapePools": names }))
}

/// `/api/v1/targets/metadata`: what each target says of its metrics.
pub(super) fn targets_metadata(state: &State, params: &Params) -> Result<String, Failure> {
    let limit = limit_param(params, "limit")?;
    let matchers = match params.get("match_target") {
        None => Vec::new(),
        Some(text) => parse_selector(text).map_err(|why| Failure::parameter("match_target", why))?,
    };
    let metric = params.get("metric");
    let mut list = Vec::new();
    for view in state.board.targets() {
        let target = &view.work.target;
        if !Matcher::all_match(&matchers, &target.labels) {
            continue;
        }
        let told = lock(&view.health).metadata.clone();
        for (name, metadata) in told.iter().filter(|(name, _)| metric.is_none_or(|metric| metric == *name)) {
            let mut entry = json!({ "target": labels(&target.labels) });
            if metric.is_none() {
                entry["metric"] = name.as_str().into();
            }
            entry["type"] = metadata.kind.as_str().into();
            entry["help"] = metadata.help.as_str().into();
            entry["unit"] = metadata.unit.as_str().into();
            list.push(entry);
        }
    }
    list.truncate(limit);
    Ok(success(&list.into()))
}
