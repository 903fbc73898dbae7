//! `cargo xtask replay`: a week of a site's samples, made up, through store,
//! PromQL and the ready-made alerts as fast as they go; what went wrong in that
//! week must be found, and in its quiet hours nothing.
//!
//! The site has three web servers, a database with a replica and a disk; traffic
//! with days, weekends, noise and 3 % of growth a week. Three weeks of
//! `site:qps` lie before it, so that the band of the hour of the week is known.

use monitor_alert::ready_made::{DatabaseFacts, Facts, ready_made};
use monitor_alert::rules::Context;
use monitor_alert::settings::Rule;
use monitor_alert::{Rules, State};
use monitor_forecast::{Bands, HIGHEST, HOUR_MS, Hourly, LOWEST};
use monitor_model::{Labels, METRIC_NAME};
use monitor_promql::{Answer, Options, Query, Sample as Found};
use monitor_store::{Sample, Settings, Store};
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Instant;

const STEP_S: i64 = 15;
const HOUR_S: i64 = 3_600;
const DAY_S: i64 = 24 * HOUR_S;
/// A Monday at midnight, in Unix seconds.
const MONDAY_S: i64 = 1_763_942_400;

/// Something that goes wrong, and the alert that must say so.
struct Incident {
    alert: &'static str,
    /// Seconds into the week.
    from_s: i64,
    to_s: i64,
    /// The alert must fire within this after the beginning, and end within this after the end.
    within_s: i64,
}

const fn at(day: i64, hour: i64, minute: i64) -> i64 {
    day * DAY_S + hour * HOUR_S + minute * 60
}

/// Monday to Thursday; Friday to Sunday are quiet.
static WEEK: &[Incident] = &[
    Incident { alert: "server-down", from_s: at(0, 10, 0), to_s: at(0, 10, 10), within_s: 120 },
    Incident { alert: "qps-high", from_s: at(0, 20, 0), to_s: at(0, 20, 40), within_s: 420 },
    Incident { alert: "qps-vanished", from_s: at(1, 11, 0), to_s: at(1, 11, 15), within_s: 420 },
    Incident { alert: "error-rate", from_s: at(1, 15, 0), to_s: at(1, 15, 10), within_s: 300 },
    Incident { alert: "latency", from_s: at(1, 21, 0), to_s: at(1, 21, 20), within_s: 420 },
    Incident { alert: "replica-lag", from_s: at(2, 4, 0), to_s: at(2, 4, 10), within_s: 180 },
    Incident { alert: "target-down", from_s: at(2, 12, 0), to_s: at(2, 12, 5), within_s: 180 },
    Incident { alert: "member-down", from_s: at(2, 18, 0), to_s: at(2, 18, 5), within_s: 120 },
    Incident { alert: "disk-filling", from_s: at(3, 6, 0), to_s: at(3, 15, 0), within_s: 7 * HOUR_S },
    Incident { alert: "process-restarting", from_s: at(3, 20, 0), to_s: at(3, 20, 10), within_s: 420 },
];

/// Replays `days` of the week from Monday on.
pub(crate) fn run(days: i64, seed: u64, json: bool) -> ExitCode {
    match replay(days.clamp(1, 7), seed) {
        Ok(report) => report.print(json),
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::from(1)
        }
    }
}

/// When each alert fired: beginning and end in seconds of the week.
type Fired = BTreeMap<&'static str, Vec<(i64, i64)>>;

struct Report {
    days: i64,
    seed: u64,
    fired: BTreeMap<String, Vec<(i64, i64)>>,
    evaluations: u64,
    took_s: f64,
}

fn replay(days: i64, seed: u64) -> Result<Report, String> {
    let began = Instant::now();
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let first_ms = (MONDAY_S - 21 * DAY_S) * 1_000;
    // Three weeks lie within one head's reach, as if they had been read from the log.
    let settings = Settings::default();
    let (store, _) = Store::open(folder.path(), settings, first_ms).map_err(|error| error.to_string())?;
    let mut world = World::new(seed);
    history(&store, &mut world)?;

    let facts = Facts {
        databases: vec![DatabaseFacts { name: "main".to_owned(), max_lag: base::Millis(2_000) }],
        interval: base::Millis(STEP_S as u64 * 1_000),
        to: vec!["ops".to_owned()],
        ..Facts::default()
    };
    let rules = ready_made(&facts);
    let parse = |expr: &str| Query::parse(expr).map_err(|error| format!("{expr}: {error}"));
    let recordings: Vec<(&str, Query)> = rules
        .recordings
        .iter()
        .map(|r| Ok((r.record.as_str(), parse(&r.expr)?)))
        .collect::<Result<_, String>>()?;
    let alerts: Vec<(Rule, Query)> =
        rules.alerts.iter().map(|a| Ok((Rule::from(a), parse(&a.expr)?))).collect::<Result<_, String>>()?;
    let mut states = Rules::default();
    let mut fired: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    let mut evaluations = 0;
    let mut bands = None;
    for second in (0..days * DAY_S).step_by(STEP_S as usize) {
        let now_ms = (MONDAY_S + second) * 1_000;
        append(&store, &world.samples(second), now_ms)?;
        if second % HOUR_S == 0 {
            store.maintain(now_ms).map_err(|error| error.to_string())?;
            bands = Bands::new(&hourly(&store, HIGHEST, now_ms)?, &hourly(&store, LOWEST, now_ms)?, 0.5).ok();
        }
        let mut recorded = Vec::new();
        if let Some(band) = bands.as_ref().map(|bands| bands.at(now_ms)) {
            for (name, value) in [("high", band.high), ("vanished", band.vanished)] {
                recorded.push((Labels::from_pairs([(METRIC_NAME, format!("site:qps:{name}"))]), value));
            }
        }
        for (name, query) in &recordings {
            let found = ask(&store, query, now_ms)?;
            recorded
                .extend(found.iter().filter_map(|s| Some((s.labels.with(METRIC_NAME, name), s.float()?))));
        }
        append(&store, &recorded, now_ms)?;
        for (rule, query) in &alerts {
            let found = ask(&store, query, now_ms)?;
            evaluations += 1;
            let given: Vec<monitor_alert::Sample> = found
                .into_iter()
                .map(|s| monitor_alert::Sample { labels: s.labels, value: s.value })
                .collect();
            let none = Vec::new();
            let context = Context {
                now_ms: now_ms as u64,
                limit: 0,
                external_labels: &none,
                external_url: "",
                query: None,
            };
            let changes =
                states.evaluate(&rule.name, rule, &given, &context).map_err(|error| error.to_string())?;
            for change in changes {
                let spans = fired.entry(change.alert).or_default();
                match change.state {
                    State::Firing => spans.push((second, i64::MAX)),
                    State::Resolved => spans.iter_mut().rev().take(1).for_each(|span| span.1 = second),
                    State::Pending => {}
                }
            }
        }
    }
    Ok(Report { days, seed, fired, evaluations, took_s: began.elapsed().as_secs_f64() })
}

fn ask(store: &Store, query: &Query, at_ms: i64) -> Result<Vec<Found>, String> {
    let outcome = query
        .instant(store, at_ms, &Options::default())
        .map_err(|error| format!("{}: {error}", query.text()))?;
    match outcome.answer {
        Answer::Vector(found) => Ok(found),
        _ => Err(format!("{}: no vector", query.text())),
    }
}

/// A value for each hour of the weeks before.
fn hourly(store: &Store, expr: &str, now_ms: i64) -> Result<Hourly, String> {
    let (start_ms, end_ms) = Hourly::range_before(now_ms);
    let query = Query::parse(expr).map_err(|error| error.to_string())?;
    let outcome = query.range(store, start_ms, end_ms, HOUR_MS, &Options::default());
    let Answer::Matrix(series) = outcome.map_err(|error| error.to_string())?.answer else {
        return Err(format!("{expr}: no series"));
    };
    let points = series.iter().flat_map(|series| &series.points);
    Ok(Hourly::from_hour_ends(points.map(|point| (point.at_ms, point.value))))
}

fn append(store: &Store, samples: &[(Labels, f64)], at_ms: i64) -> Result<(), String> {
    let batch: Vec<Sample<'_>> =
        samples.iter().map(|(labels, value)| Sample { labels, at_ms, value: *value }).collect();
    let report = store.append_samples(&batch, at_ms).map_err(|error| error.to_string())?;
    match report.refused.first() {
        None => Ok(()),
        Some((why, count)) => Err(format!("{count} samples were refused: {why}")),
    }
}

/// `site:qps` of the three weeks before, every five minutes.
fn history(store: &Store, world: &mut World) -> Result<(), String> {
    let labels = Labels::from_pairs([(METRIC_NAME, "site:qps")]);
    for second in (-21 * DAY_S..0).step_by(300) {
        let now_ms = (MONDAY_S + second) * 1_000;
        append(store, &[(labels.clone(), world.qps(second))], now_ms)?;
        if second % (6 * HOUR_S) == 0 {
            store.maintain(now_ms).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// The site.
struct World {
    random: u64,
    series: BTreeMap<&'static str, f64>,
    buckets: [f64; 5],
    disk_used: f64,
}

const BUCKETS: [&str; 5] = ["0.05", "0.25", "1", "5", "+Inf"];

impl World {
    fn new(seed: u64) -> Self {
        Self { random: seed, series: BTreeMap::new(), buckets: [0.0; 5], disk_used: 3e11 }
    }

    /// SplitMix64, as a number in 0 … 1.
    fn chance(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Requests a second, without incidents.
    fn qps(&mut self, second: i64) -> f64 {
        let day = second.rem_euclid(DAY_S) as f64 / DAY_S as f64;
        let weekend = if second.rem_euclid(7 * DAY_S) >= 5 * DAY_S { 0.6 } else { 1.0 };
        let wave = 1.0 - 0.75 * (std::f64::consts::TAU * (day - 0.125)).cos();
        let growth = 1.03f64.powf(second as f64 / (7 * DAY_S) as f64);
        200.0 * wave * weekend * growth * (1.0 + 0.1 * (self.chance() - 0.5))
    }

    fn count(&mut self, name: &'static str, more: f64) -> f64 {
        let total = self.series.entry(name).or_default();
        *total += more;
        *total
    }

    /// What a scrape of everything brings at a second of the week.
    fn samples(&mut self, second: i64) -> Vec<(Labels, f64)> {
        let goes_wrong =
            |alert: &str| WEEK.iter().any(|i| i.alert == alert && (i.from_s..i.to_s).contains(&second));
        let mut qps = self.qps(second);
        qps *= if goes_wrong("qps-high") { 3.0 } else { 1.0 };
        qps *= if goes_wrong("qps-vanished") { 0.01 } else { 1.0 };
        let failing = if goes_wrong("error-rate") { 0.2 } else { 0.002 };
        let slow = if goes_wrong("latency") { 0.05 } else { 0.001 };
        let requests = (qps * STEP_S as f64).round();
        let bad = (requests * failing).round();
        let mut samples = Vec::new();
        let mut put = |name: &str, labels: &[(&str, &str)], value: f64| {
            samples.push((Labels::from_pairs(labels.iter().copied().chain([(METRIC_NAME, name)])), value));
        };
        let (good, bad) = (self.count("good", requests - bad), self.count("bad", bad));
        put("bastide_edge_requests_total", &[("pool", "app"), ("code", "200")], good);
        put("bastide_edge_requests_total", &[("pool", "app"), ("code", "503")], bad);
        let within = [0.7, 0.95, 1.0 - slow, 1.0, 1.0];
        for (n, le) in BUCKETS.iter().enumerate() {
            self.buckets[n] += (requests * within[n]).round();
            put(
                "bastide_edge_request_duration_seconds_bucket",
                &[("pool", "app"), ("le", le)],
                self.buckets[n],
            );
        }
        for (n, server) in ["app/1", "app/2", "app/3"].iter().enumerate() {
            let up = f64::from(u8::from(!(n == 1 && goes_wrong("server-down"))));
            put("bastide_edge_server_up", &[("pool", "app"), ("server", server)], up);
            let up = f64::from(u8::from(!(n == 2 && goes_wrong("target-down"))));
            put("up", &[("job", "app"), ("instance", server)], up);
        }
        let member = f64::from(u8::from(!goes_wrong("member-down")));
        put(
            "bastide_database_member_up",
            &[("database", "main"), ("member", "main/0"), ("role", "primary")],
            1.0,
        );
        put(
            "bastide_database_member_up",
            &[("database", "main"), ("member", "main/1"), ("role", "replica")],
            member,
        );
        let lag = if goes_wrong("replica-lag") { 30.0 } else { 0.2 * self.chance() };
        put("bastide_database_replica_lag_seconds", &[("database", "main"), ("member", "main/1")], lag);
        let restarts = if goes_wrong("process-restarting") && second % 60 == 0 { 1.0 } else { 0.0 };
        let restarts = self.count("restarts", restarts);
        put("bastide_process_restarts_total", &[("process", "app/1")], restarts);
        // 1 TB; a gigabyte a day comes, and in the incident 55 GB an hour, which are removed again.
        self.disk_used += 1e9 / DAY_S as f64 * STEP_S as f64;
        if goes_wrong("disk-filling") {
            self.disk_used += 55e9 / HOUR_S as f64 * STEP_S as f64;
        } else if WEEK.iter().any(|i| i.alert == "disk-filling" && second == i.to_s) {
            self.disk_used = 3.1e11;
        }
        let disk = [("device", "/dev/vda1"), ("mountpoint", "/"), ("fstype", "ext4")];
        put("node_filesystem_size_bytes", &disk, 1e12);
        put("node_filesystem_avail_bytes", &disk, 1e12 - self.disk_used);
        put("node_filesystem_readonly", &disk, 0.0);
        let expiry = (MONDAY_S + 60 * DAY_S) as f64;
        put("bastide_edge_certificate_expiry_timestamp_seconds", &[("name", "shop.example")], expiry);
        samples
    }
}

impl Report {
    fn print(&self, json: bool) -> ExitCode {
        let clock = |s: i64| {
            if s == i64::MAX {
                return "the end".to_owned();
            }
            let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"][(s / DAY_S).min(6) as usize];
            format!("{day} {:02}:{:02}:{:02}", s % DAY_S / HOUR_S, s % HOUR_S / 60, s % 60)
        };
        let mut failed = 0;
        let mut explained: Fired = BTreeMap::new();
        let mut rows = Vec::new();
        for incident in WEEK.iter().filter(|i| i.to_s + i.within_s <= self.days * DAY_S) {
            let spans = self.fired.get(incident.alert).map_or(&[][..], Vec::as_slice);
            let fits = |span: &&(i64, i64)| {
                span.0 >= incident.from_s
                    && span.0 <= incident.from_s + incident.within_s
                    && span.1 <= incident.to_s + incident.within_s
            };
            let found = spans.iter().find(fits);
            let verdict = match found {
                Some((from, to)) => {
                    explained.entry(incident.alert).or_default().push((*from, *to));
                    format!(
                        "found after {} s, over {} s after its end",
                        from - incident.from_s,
                        to - incident.to_s
                    )
                }
                None => {
                    failed += 1;
                    "NOT FOUND".to_owned()
                }
            };
            rows.push((incident.alert, clock(incident.from_s), clock(incident.to_s), verdict));
        }
        let mut alarms = Vec::new();
        for (alert, spans) in &self.fired {
            let known = explained.get(alert.as_str());
            // What is still to come of the last incidents of a short replay is no false alarm.
            let cut = |span: &(i64, i64)| {
                WEEK.iter().any(|i| i.alert == alert && (i.from_s..=i.to_s + i.within_s).contains(&span.0))
            };
            for span in spans.iter().filter(|span| !known.is_some_and(|k| k.contains(span)) && !cut(span)) {
                alarms.push(format!("{alert} from {} to {}", clock(span.0), clock(span.1)));
            }
        }
        failed += alarms.len();
        let done = rows.len() + alarms.len() - failed;
        if json {
            let rows: Vec<_> = rows
                .iter()
                .map(|(alert, from, to, verdict)| {
                    serde_json::json!({ "alert": alert, "from": from, "to": to, "verdict": verdict })
                })
                .collect();
            println!(
                "{}",
                serde_json::json!({ "incidents": rows, "false_alarms": alarms, "seed": self.seed })
            );
        } else {
            for (alert, from, to, verdict) in &rows {
                println!("{alert:<20} {from} … {to}  {verdict}");
            }
            for alarm in &alarms {
                println!("FALSE ALARM          {alarm}");
            }
        }
        eprintln!(
            "{} days, {} evaluations in {:.1} s, seed {}",
            self.days, self.evaluations, self.took_s, self.seed
        );
        println!("{done} passed, {failed} failed");
        ExitCode::from(u8::from(failed > 0))
    }
}
