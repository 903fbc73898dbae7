//! What is scraped, and what is known about metrics.

use super::{Failure, limit_param};
use crate::api::{Params, json};
use crate::scrape::{Metadata, Scraper};
use crate::state::{State, lock};
use base::Address;
use monitor_alert::{ZERO_TIME, rfc3339};
use monitor_promql::{Labels, Matcher, parse_selector};
use serde_json::{Value, json};
use site::Target;
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
    let mut found: BTreeMap<String, BTreeSet<Metadata>> = BTreeMap::new();
    for scraped in lock(&state.targets).values() {
        for (name, metadata) in &lock(&scraped.health).metadata {
            if wanted.is_none_or(|w| w == name) {
                found.entry(name.clone()).or_default().insert(metadata.clone());
            }
        }
    }
    let shown: serde_json::Map<String, Value> = found
        .into_iter()
        .take(limit)
        .map(|(name, all)| {
            let list = all.into_iter().take(per_metric);
            (name, list.map(|m| json!({ "type": kind(&m), "help": m.help, "unit": "" })).collect())
        })
        .collect();
    Ok(success(&shown.into()))
}

fn kind(metadata: &Metadata) -> &str {
    if metadata.kind.is_empty() { "unknown" } else { &metadata.kind }
}

/// `/api/v1/targets`.
pub(super) fn targets(state: &State, params: &Params) -> Result<String, Failure> {
    let wanted = params.get("state").unwrap_or("any").to_ascii_lowercase();
    let active = wanted != "dropped";
    let pool = params.get("scrapePool");
    let interval = state.plan().site.scrape_interval;
    let timeout = base::Millis(Scraper::timeout(interval.duration()).as_millis() as u64);
    let list: Vec<Value> = lock(&state.targets)
        .values()
        .filter(|scraped| active && pool.is_none_or(|pool| pool == scraped.target.job))
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
    Ok(success(&json!({ "activeTargets": list, "droppedTargets": [], "droppedTargetCounts": {} })))
}

/// `/api/v1/scrape_pools`: the jobs that have targets.
pub(super) fn scrape_pools(state: &State) -> String {
    let jobs: BTreeSet<String> = lock(&state.targets).values().map(|s| s.target.job.clone()).collect();
    success(&json!({ "scrapePools": jobs }))
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
    for scraped in lock(&state.targets).values() {
        let Target { instance, job, .. } = &scraped.target;
        let labels = Labels::from_pairs([("instance", instance), ("job", job)]);
        if !Matcher::all_match(&matchers, &labels) {
            continue;
        }
        for (name, metadata) in &lock(&scraped.health).metadata {
            if metric.is_some_and(|metric| metric != name) {
                continue;
            }
            let mut entry = json!({ "target": { "instance": instance, "job": job } });
            if metric.is_none() {
                entry["metric"] = name.as_str().into();
            }
            entry["type"] = kind(metadata).into();
            entry["help"] = metadata.help.as_str().into();
            entry["unit"] = "".into();
            list.push(entry);
        }
    }
    list.truncate(limit);
    Ok(success(&list.into()))
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
