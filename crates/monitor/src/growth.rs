//! What comes next, from what the store has: which resource runs out first, and
//! which band of traffic is normal now.
//!
//! Both ask PromQL for the highest value of each hour of the past weeks and leave
//! the deciding to `monitor-forecast`. The band is written as series
//! (`site:qps:expected`, `:low`, `:high`, `:vanished`), so that alerts and charts
//! use it like any other; where two weeks are not known yet, there is none.

use crate::sink::Pending;
use crate::state::State;
use monitor_forecast::{
    Answer as Growth, Bands, HIGHEST, HOUR_MS, Hourly, Kind, LOWEST, Resource, Unit, answer,
};
use monitor_promql::{Answer, Error, Labels, METRIC_NAME, Options, Query, Source};
use role::Shutdown;
use std::sync::Arc;
use std::time::Duration;

/// Between two samples of the band.
const STEP: Duration = Duration::from_secs(15);

/// The band is computed anew after this.
const FRESH_MS: i64 = HOUR_MS;

/// What the answer to "what runs out first" may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Traffic below this many requests a second is not missed.
const LEAST_QPS: f64 = 0.5;

const TRAFFIC: &str = "site:qps";

/// Something that may run out, as PromQL: what is used, what there is.
struct Watched {
    /// As it stands in a sentence; `{label}` is filled in.
    name: &'static str,
    unit: Unit,
    kind: Kind,
    used: &'static str,
    ceiling: &'static str,
    /// The label that tells one from another; empty for one alone.
    label: &'static str,
    usable: f64,
}

/// File systems that are made of memory or of images do not fill.
static WATCHED: &[Watched] = &[
    Watched {
        name: "CPU of `{instance}`",
        unit: Unit::Cores,
        kind: Kind::Load,
        used: "sum by (instance) (rate(node_cpu_seconds_total{mode!~\"idle|iowait|steal\"}[5m]))",
        ceiling: "count by (instance) (count by (instance, cpu) (node_cpu_seconds_total))",
        label: "instance",
        usable: 0.8,
    },
    Watched {
        name: "memory of `{instance}`",
        unit: Unit::Bytes,
        kind: Kind::Fills,
        used: "max by (instance) (node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)",
        ceiling: "max by (instance) (node_memory_MemTotal_bytes)",
        label: "instance",
        usable: 0.9,
    },
    Watched {
        name: "disk `{device}`",
        unit: Unit::Bytes,
        kind: Kind::Fills,
        used: "max by (device) (node_filesystem_size_bytes{fstype!~\"tmpfs|ramfs|squashfs|overlay\"} - node_filesystem_avail_bytes{fstype!~\"tmpfs|ramfs|squashfs|overlay\"})",
        ceiling: "max by (device) (node_filesystem_size_bytes{fstype!~\"tmpfs|ramfs|squashfs|overlay\"})",
        label: "device",
        usable: 0.9,
    },
    Watched {
        name: "the line of `{device}`",
        unit: Unit::Bandwidth,
        kind: Kind::Load,
        used: "sum by (device) (rate(node_network_transmit_bytes_total[5m]))",
        ceiling: "max by (device) (node_network_speed_bytes > 0)",
        label: "device",
        usable: 0.8,
    },
    Watched {
        name: "connections of PostgreSQL `{server}`",
        unit: Unit::Connections,
        kind: Kind::Load,
        used: "sum by (server) (pg_stat_activity_count)",
        ceiling: "max by (server) (pg_settings_max_connections)",
        label: "server",
        usable: 0.9,
    },
];

/// Answers which resource runs out first.
pub(crate) async fn grow(state: &Arc<State>) -> Result<Growth, Error> {
    let capacities = state.plan().site.capacities.clone();
    state
        .queries
        .run(PATIENCE, move |store, options| {
            let now_ms = sys::clock::now_ms() as i64;
            let traffic = highest(store, TRAFFIC, now_ms, options)?.pop().map(|(_, h)| h).unwrap_or_default();
            let mut resources = Vec::new();
            for watched in WATCHED {
                resources.extend(find(store, watched, now_ms, options)?);
            }
            for capacity in &capacities {
                let used =
                    format!("sum(rate(bastide_edge_server_requests_total{{pool={:?}}}[5m]))", capacity.pool);
                let used = highest(store, &used, now_ms, options)?.pop().map(|(_, h)| h).unwrap_or_default();
                resources.push(Resource {
                    name: format!("pool `{}`", capacity.pool),
                    unit: Unit::Requests,
                    kind: Kind::Load,
                    used,
                    ceiling: capacity.per_second.map(|one| one * f64::from(capacity.servers)),
                    usable: 1.0,
                    servers: Some(capacity.servers),
                });
            }
            Ok(answer(&resources, &traffic, now_ms))
        })
        .await
}

fn find(
    source: &dyn Source,
    watched: &Watched,
    now_ms: i64,
    options: &Options<'_>,
) -> Result<Vec<Resource>, Error> {
    let ceilings = instant(source, watched.ceiling, now_ms, options)?;
    let found = highest(source, watched.used, now_ms, options)?.into_iter().map(|(labels, used)| {
        let label = labels.get(watched.label).unwrap_or_default();
        let ceiling = ceilings.iter().find(|(of, _)| of.get(watched.label).unwrap_or_default() == label);
        Resource {
            name: watched.name.replace(&format!("{{{}}}", watched.label), label),
            unit: watched.unit,
            kind: watched.kind,
            used,
            ceiling: ceiling.map(|(_, value)| *value),
            usable: watched.usable,
            servers: None,
        }
    });
    // A network card without a known speed is no finding.
    Ok(found.filter(|r| r.unit != Unit::Bandwidth || r.ceiling.is_some()).collect())
}

/// The highest value of each hour of the past weeks, for each series.
fn highest(
    source: &dyn Source,
    expr: &str,
    now_ms: i64,
    options: &Options<'_>,
) -> Result<Vec<(Labels, Hourly)>, Error> {
    hourly(source, &format!("max_over_time(({expr})[1h:5m])"), now_ms, options)
}

fn hourly(
    source: &dyn Source,
    expr: &str,
    now_ms: i64,
    options: &Options<'_>,
) -> Result<Vec<(Labels, Hourly)>, Error> {
    let (start_ms, end_ms) = Hourly::range_before(now_ms);
    let outcome = Query::parse(expr)?.range(source, start_ms, end_ms, HOUR_MS, options)?;
    let Answer::Matrix(series) = outcome.answer else { return Ok(Vec::new()) };
    let hours = |points: &[monitor_promql::Point]| {
        Hourly::from_hour_ends(points.iter().map(|point| (point.at_ms, point.value)))
    };
    Ok(series.iter().map(|series| (series.labels.clone(), hours(&series.points))).collect())
}

fn instant(
    source: &dyn Source,
    expr: &str,
    at_ms: i64,
    options: &Options<'_>,
) -> Result<Vec<(Labels, f64)>, Error> {
    let outcome = Query::parse(expr)?.instant(source, at_ms, options)?;
    let Answer::Vector(samples) = outcome.answer else { return Ok(Vec::new()) };
    Ok(samples.iter().filter_map(|sample| Some((sample.labels.clone(), sample.float()?))).collect())
}

/// Writes the band of normal traffic, until the monitor ends.
pub(crate) async fn keep_band(state: Arc<State>, shutdown: Shutdown) {
    let mut bands: Option<Bands> = None;
    let mut made_ms = i64::MIN;
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(STEP) => {}
        }
        let now_ms = sys::clock::now_ms() as i64;
        if now_ms.saturating_sub(made_ms) >= FRESH_MS || now_ms < made_ms {
            made_ms = now_ms;
            // What cannot be computed now is tried again in an hour; alerts fall back meanwhile.
            bands = state
                .queries
                .run(PATIENCE, move |store, options| band(store, now_ms, options))
                .await
                .ok()
                .flatten();
        }
        let Some(band) = bands.as_ref().map(|bands| bands.at(now_ms)) else { continue };
        let named = [
            ("expected", band.expected),
            ("low", band.low),
            ("high", band.high),
            ("vanished", band.vanished),
        ];
        let samples: Vec<Pending> = named
            .iter()
            .map(|(name, value)| Pending {
                labels: Labels::from_pairs([(METRIC_NAME, format!("{TRAFFIC}:{name}"))]),
                at_ms: now_ms,
                value: *value,
            })
            .collect();
        let sink = state.sink.clone();
        if let Err(panic) = tokio::task::spawn_blocking(move || sink.append(&samples)).await {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
}

/// The band for each hour of the week, where two weeks are known.
fn band(source: &dyn Source, now_ms: i64, options: &Options<'_>) -> Result<Option<Bands>, Error> {
    let one = |expr: &str| -> Result<Hourly, Error> {
        let found = hourly(source, expr, now_ms, options)?;
        Ok(found.into_iter().next().map(|(_, hourly)| hourly).unwrap_or_default())
    };
    Ok(Bands::new(&one(HIGHEST)?, &one(LOWEST)?, LEAST_QPS).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_promql::{Point, SeriesData};

    #[test]
    fn every_watched_resource_can_be_asked_for() {
        for watched in WATCHED {
            for expr in [watched.used, watched.ceiling] {
                Query::parse(expr).unwrap_or_else(|error| panic!("{expr}: {error}"));
            }
            assert!(watched.name.contains(&format!("{{{}}}", watched.label)), "{}", watched.name);
        }
    }

    #[test]
    fn a_band_comes_from_the_hours_of_past_weeks() {
        let hours = 3 * 168;
        let value = |n: i64| 100.0 + 50.0 * f64::from(i32::from((n / 12) % 24 >= 12));
        let points = (0..hours * 12).map(|n| Point { at_ms: n * 300_000, value: value(n) }).collect();
        let labels = Labels::from_pairs([(METRIC_NAME, TRAFFIC)]);
        let source = vec![SeriesData::of_points(labels, points)];
        let options = Options::default();
        let now_ms = hours * HOUR_MS;
        let bands = band(&source, now_ms, &options).unwrap().expect("three weeks are enough");
        let night = bands.at(now_ms + 3 * HOUR_MS);
        let day = bands.at(now_ms + 15 * HOUR_MS);
        assert!(night.high < day.high && night.low < 100.0 && day.low > 100.0, "{night:?} {day:?}");
        let short = vec![SeriesData::of_points(Labels::from_pairs([(METRIC_NAME, TRAFFIC)]), Vec::new())];
        assert!(band(&short, now_ms, &options).unwrap().is_none());
    }

    #[test]
    fn a_disk_is_found_with_its_ceiling() {
        let series = |name: &str, value: &dyn Fn(i64) -> f64| {
            let labels = Labels::from_pairs([
                (METRIC_NAME, name),
                ("device", "/dev/vda1"),
                ("fstype", "ext4"),
                ("mountpoint", "/"),
            ]);
            let points = (0..10 * 24 * 12).map(|n| Point { at_ms: n * 300_000, value: value(n) }).collect();
            SeriesData::of_points(labels, points)
        };
        let mut source = vec![
            series("node_filesystem_size_bytes", &|_| 1e12),
            series("node_filesystem_avail_bytes", &|n| 6e11 - n as f64 * 1e8),
        ];
        source.sort_by(|a, b| a.labels.cmp(&b.labels));
        let now_ms = 10 * 24 * HOUR_MS - 1;
        let disk = WATCHED.iter().find(|w| w.label == "device" && w.kind == Kind::Fills).unwrap();
        let found = find(&source, disk, now_ms, &Options::default()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].ceiling), ("disk `/dev/vda1`", Some(1e12)));
        let answer = answer(&found, &Hourly::default(), now_ms);
        assert!(answer.findings[0].on.is_some(), "{answer:?}");
    }
}
