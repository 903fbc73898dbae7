//! Each ready-made alert on a site that fares well, and on one that does not: the
//! expressions are evaluated on made-up series, with the recordings they need.

use base::Millis;
use monitor_alert::ready_made::{DatabaseFacts, Facts, Thresholds};
use monitor_alert::settings::Settings;
use monitor_promql::labels::METRIC_NAME;
use monitor_promql::{Answer, Labels, Options, Point, Query, SeriesData};

const STEP_S: u64 = 5;
const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;

/// Series of a site, from 0 to `end_s`.
struct World {
    end_s: u64,
    series: Vec<SeriesData>,
}

impl World {
    fn new(end_s: u64) -> Self {
        Self { end_s, series: Vec::new() }
    }

    /// A series whose value follows from the second.
    fn with(mut self, name: &str, labels: &[(&str, &str)], value: impl Fn(u64) -> f64) -> Self {
        let labels = Labels::from_pairs(labels.iter().copied().chain([(METRIC_NAME, name)]));
        let times = (0..=self.end_s).step_by(STEP_S as usize);
        let points = times.map(|s| Point { at_ms: s as i64 * 1_000, value: value(s) }).collect();
        self.series.push(SeriesData::of_points(labels, points));
        self
    }

    /// `bastide_edge_requests_total` at a rate that follows from the second.
    fn requests(self, code: &str, per_second: impl Fn(u64) -> f64) -> Self {
        let mut total = 0.0;
        let totals: Vec<f64> = (0..=self.end_s)
            .map(|s| {
                total += per_second(s);
                total
            })
            .collect();
        self.with("bastide_edge_requests_total", &[("pool", "app"), ("code", code)], |s| totals[s as usize])
    }

    /// Evaluates the recordings, then the alerts: the names of those that are true.
    fn firing(mut self, rules: &Settings) -> Vec<String> {
        let end_ms = self.end_s as i64 * 1_000;
        let options = Options::default();
        for rule in &rules.recordings {
            let query = Query::parse(&rule.expr).unwrap();
            let outcome = query.range(&self.series, 0, end_ms, STEP_S as i64 * 1_000, &options).unwrap();
            let Answer::Matrix(found) = outcome.answer else { panic!("{}", rule.record) };
            self.series.extend(found.into_iter().map(|series| {
                SeriesData::of_points(series.labels.with(METRIC_NAME, &rule.record), series.points)
            }));
        }
        let mut names = Vec::new();
        for rule in &rules.alerts {
            let outcome = Query::parse(&rule.expr).unwrap().instant(&self.series, end_ms, &options).unwrap();
            let Answer::Vector(found) = outcome.answer else { panic!("{} gives no vector", rule.name) };
            if !found.is_empty() {
                names.push(rule.name.clone());
            }
        }
        names
    }
}

fn rules(thresholds: Thresholds) -> Settings {
    let database = DatabaseFacts { name: "main".into(), max_lag: Millis(2_000) };
    let facts = Facts { databases: vec![database], interval: Millis(5_000), to: Vec::new(), thresholds };
    monitor_alert::ready_made(&facts)
}

fn check(world: World, expected: &[&str]) {
    assert_eq!(world.firing(&rules(Thresholds::default())), expected);
}

/// Requests of `latency` seconds, as a histogram.
fn latency(world: World, slow_share: f64) -> World {
    let name = "bastide_edge_request_duration_seconds_bucket";
    let bucket = |world: World, le: &str, share: f64| {
        world.with(name, &[("pool", "app"), ("le", le)], move |s| s as f64 * 100.0 * share)
    };
    let world = bucket(world, "0.1", 1.0 - slow_share);
    let world = bucket(world, "2.5", 1.0 - slow_share);
    bucket(bucket(world, "5", 1.0), "+Inf", 1.0)
}

#[test]
fn a_site_that_fares_well_alerts_nothing() {
    let world = World::new(70 * MINUTE_S)
        .requests("200", |_| 10.0)
        .requests("500", |_| 0.01)
        .with("bastide_edge_server_up", &[("pool", "app"), ("server", "app/1")], |_| 1.0)
        .with("up", &[("job", "app"), ("instance", "app/1")], |_| 1.0)
        .with(
            "bastide_database_member_up",
            &[("database", "main"), ("member", "main/0"), ("role", "primary")],
            |_| 1.0,
        )
        .with(
            "bastide_database_member_up",
            &[("database", "main"), ("member", "main/0"), ("role", "replica")],
            |_| 0.0,
        )
        .with("bastide_database_replica_lag_seconds", &[("database", "main"), ("member", "main/1")], |_| 0.2)
        .with("bastide_process_restarts_total", &[("process", "app/1")], |_| 7.0)
        .with("bastide_edge_certificate_expiry_timestamp_seconds", &[("name", "a")], |_| 90.0 * 86_400.0);
    let world = latency(world, 0.001);
    check(disk(world, 0.6, 0.0), &[]);
}

#[test]
fn a_site_without_errors_has_an_error_ratio_of_zero() {
    let world = World::new(5 * MINUTE_S).requests("200", |_| 10.0);
    let rules = rules(Thresholds { error_ratio: -1.0, ..Thresholds::default() });
    assert!(world.firing(&rules).contains(&"error-rate".to_owned()), "a ratio, not nothing");
}

#[test]
fn servers_and_members_that_are_down() {
    let world = World::new(MINUTE_S)
        .with("bastide_edge_server_up", &[("pool", "app"), ("server", "app/1")], |_| 0.0)
        .with("bastide_edge_server_up", &[("pool", "app"), ("server", "app/2")], |_| 1.0);
    check(world, &["server-down"]);
    check(World::new(MINUTE_S).with("up", &[("job", "a"), ("instance", "b")], |_| 0.0), &["target-down"]);
    let member = [("database", "main"), ("member", "main/1"), ("role", "replica")];
    check(World::new(MINUTE_S).with("bastide_database_member_up", &member, |_| 0.0), &["member-down"]);
    let lagging = [("database", "main"), ("member", "main/1")];
    let world = World::new(MINUTE_S).with("bastide_database_replica_lag_seconds", &lagging, |_| 2.5);
    check(world, &["replica-lag"]);
    let restarts = |s: u64| (s / 40) as f64;
    let world =
        World::new(5 * MINUTE_S).with("bastide_process_restarts_total", &[("process", "a")], restarts);
    check(world, &["process-restarting"]);
}

#[test]
fn requests_that_fail_or_are_slow() {
    check(World::new(5 * MINUTE_S).requests("200", |_| 10.0).requests("502", |_| 1.0), &["error-rate"]);
    check(latency(World::new(5 * MINUTE_S), 0.05), &["latency"]);
}

#[test]
fn traffic_that_grows_or_vanishes() {
    let end_s = 70 * MINUTE_S;
    let last = move |s: u64| s > end_s - 3 * MINUTE_S;
    check(World::new(end_s).requests("200", move |s| if last(s) { 50.0 } else { 10.0 }), &["qps-high"]);
    check(World::new(end_s).requests("200", move |s| if last(s) { 0.0 } else { 10.0 }), &["qps-vanished"]);
    // Nobody is missed where hardly anybody came, and a site that has just begun has no usual.
    check(World::new(end_s).requests("200", move |s| if last(s) { 0.0 } else { 0.2 }), &[]);
    check(World::new(4 * MINUTE_S).requests("200", |_| 500.0), &[]);
    let young_s = 12 * MINUTE_S;
    let rising = move |s: u64| if s > young_s - 4 * MINUTE_S { 50.0 } else { 5.0 };
    check(World::new(young_s).requests("200", rising), &[]);
    check(World::new(young_s).requests("200", move |s| 50.0 - rising(s)), &[]);
    // A burst in a quiet hour is not missed when it is over.
    let burst = |s: u64| if (40 * MINUTE_S..45 * MINUTE_S).contains(&s) { 100.0 } else { 0.0 };
    check(World::new(end_s).requests("200", burst), &[]);
    let limit = Thresholds { qps_high: Some(40.0), ..Thresholds::default() };
    let world = World::new(2 * MINUTE_S).requests("200", |_| 50.0);
    assert_eq!(world.firing(&rules(limit)), ["qps-high"]);
}

/// A disk with `left` of its space at the end, losing `per_hour` of it.
fn disk(world: World, left: f64, per_hour: f64) -> World {
    let labels = [("device", "/dev/a"), ("device_error", ""), ("fstype", "ext4"), ("mountpoint", "/")];
    let end_s = world.end_s;
    let size = 1e11;
    world
        .with("node_filesystem_size_bytes", &labels, move |_| size)
        .with("node_filesystem_readonly", &labels, |_| 0.0)
        .with("node_filesystem_avail_bytes", &labels, move |s| {
            size * (left + per_hour * (end_s - s) as f64 / HOUR_S as f64)
        })
}

#[test]
fn disks_and_certificates_that_end() {
    check(disk(World::new(6 * HOUR_S), 0.3, 0.03), &["disk-filling"]);
    check(disk(World::new(6 * HOUR_S), 0.3, 0.005), &[]);
    // Minutes are no trend, however steep.
    check(disk(World::new(HOUR_S / 2), 0.3, 0.03), &[]);
    check(disk(World::new(6 * HOUR_S), 0.04, 0.0), &["disk-nearly-full"]);
    let failed = [("result", "failed")];
    let lost = |s: u64| s.saturating_sub(4 * MINUTE_S) as f64;
    check(World::new(5 * MINUTE_S).with("bastide_monitor_samples_total", &failed, lost), &["samples-lost"]);
    check(World::new(5 * MINUTE_S).with("bastide_monitor_samples_total", &failed, |_| 7.0), &[]);
    let world = World::new(MINUTE_S).with(
        "bastide_edge_certificate_expiry_timestamp_seconds",
        &[("name", "a")],
        |_| 10.0 * 86_400.0,
    );
    check(world, &["certificate-expiring"]);
}
