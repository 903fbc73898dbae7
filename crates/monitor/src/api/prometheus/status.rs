//! The monitor itself: what it runs with, and what it holds.

use super::{Failure, ask, limit_param};
use crate::api::{Params, json};
use crate::state::{State, lock};
use monitor_alert::rfc3339;
use monitor_lang::format_duration;
use serde_json::{Value, json};

/// The API of which release of Prometheus this is. Grafana asks for it to know
/// what it may use; an own version number would read as a Prometheus of 2012.
const SPOKEN: &str = "3.14.0";

fn success(data: &Value) -> String {
    json::success(|out| out.push_str(&data.to_string()))
}

/// `/api/v1/status/buildinfo`. Nothing here is Prometheus' code: the version is
/// that of the API, the revision ours.
pub(super) fn build_info() -> String {
    success(&json!({
        "version": SPOKEN,
        "revision": concat!("bastide-", env!("CARGO_PKG_VERSION")),
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
        "serverTime": rfc3339(sys::clock::now_ms()),
        "reloadConfigSuccess": true,
        "lastConfigTime": rfc3339(state.started_ms),
        "corruptionCount": state.opened.damage.len() + lock(&state.damage).len(),
        "goroutineCount": 0,
        "GOMAXPROCS": threads,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": plan.site.retention.to_string(),
    }))
}

/// `/api/v1/status/config`: what runs, as Prometheus would be told it; secrets
/// are not in it.
pub(super) fn config(state: &State) -> String {
    let plan = state.plan();
    let interval = |millis: base::Millis| format_duration(millis.0.min(i64::MAX as u64) as i64);
    let mut yaml = format!(
        "global:\n  scrape_interval: {}\n  evaluation_interval: {}\n",
        interval(plan.site.scrape_interval),
        interval(plan.site.alert.interval)
    );
    let quoted = |text: &str| Value::from(text).to_string();
    if !plan.site.external_labels.is_empty() {
        yaml += "  external_labels:\n";
        for (name, value) in &plan.site.external_labels {
            yaml += &format!("    {name}: {}\n", quoted(value));
        }
    }
    yaml += "scrape_configs:\n";
    for target in &plan.site.targets {
        yaml += &format!(
            "- job_name: {}\n  metrics_path: {}\n  scheme: {}\n  static_configs:\n  - targets: [{}]\n    labels: {{instance: {}}}\n",
            quoted(&target.job),
            quoted(&target.path),
            if target.tls { "https" } else { "http" },
            quoted(&target.address.to_string()),
            quoted(&target.instance),
        );
    }
    success(&json!({ "yaml": yaml }))
}

/// `/api/v1/status/flags`: those of Prometheus that have their like here.
pub(super) fn flags(state: &State) -> String {
    let plan = state.plan();
    let settings = state.queries.settings();
    let listen = lock(&state.listening).iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    success(&json!({
        "query.lookback-delta": format_duration(settings.lookback_ms()),
        "query.max-concurrency": settings.at_once.to_string(),
        "query.max-samples": settings.samples.to_string(),
        "query.timeout": format_duration(settings.timeout.0 as i64),
        "storage.tsdb.out-of-order-time-window": plan.site.store.out_of_order.to_string(),
        "storage.tsdb.path": state.state_dir.join("monitor/store").display().to_string(),
        "storage.tsdb.retention.size": plan.site.retention_bytes.to_string(),
        "storage.tsdb.retention.time": plan.site.retention.to_string(),
        "web.enable-admin-api": plan.site.admin_api.to_string(),
        "web.enable-remote-write-receiver": plan.site.receive.to_string(),
        "web.external-url": state.external_url(),
        "web.listen-address": listen,
    }))
}

/// `/api/v1/status/tsdb`: what takes the store's memory.
pub(super) async fn tsdb(state: &State, params: &Params) -> Result<String, Failure> {
    let top = match params.get("limit") {
        None => 10,
        Some(_) => limit_param(params, "limit")?.clamp(1, MAX_TOP),
    };
    let (stats, counts) = ask(state, move |store| Ok((store.stats(), store.cardinality(top)))).await?;
    let list = |pairs: &[(String, u64)]| -> Value {
        pairs.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
    };
    let (min_ms, max_ms) = stats.head_range_ms.unwrap_or((i64::MAX, i64::MIN));
    Ok(success(&json!({
        "headStats": {
            "numSeries": counts.series,
            "numLabelPairs": counts.label_pairs,
            // A series of the head is not cut into chunks here.
            "chunkCount": counts.series,
            "minTime": min_ms,
            "maxTime": max_ms,
        },
        "seriesCountByMetricName": list(&counts.metrics),
        "labelValueCountByLabelName": list(&counts.label_values),
        "memoryInBytesByLabelName": list(&counts.label_bytes),
        "seriesCountByLabelValuePair": list(&counts.pairs),
    })))
}

/// Entries of each list of `status/tsdb`, at most (Prometheus: the same).
const MAX_TOP: usize = 10_000;

/// `/api/v1/status/walreplay`: whoever is answered, the log has been read.
pub(super) fn wal_replay() -> String {
    success(&json!({ "min": 0, "max": 0, "current": 0, "state": "done" }))
}
