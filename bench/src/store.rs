//! `bench store`: the monitor's time-series store beside VictoriaMetrics and
//! Prometheus: the same samples through the same remote-write requests, the same
//! queries over HTTP.
//!
//! | workload | what | metrics |
//! |---|---|---|
//! | `ingest` | 10,000 series × 1,000 samples, 15 s apart | `samples_per_cpu_s`, `bytes_per_sample` (index included, log not), `rss_mb` (peak) |
//! | `one-4h` | one series over 4 h, step 15 s | `cpu_ms` a query |
//! | `rate-1000` | `sum(rate(…[5m]))` over 1,000 series, 1 h, step 1 min | `cpu_ms` |
//! | `topk-10k` | `topk(10, …)` over 10,000 series at one time | `cpu_ms` |
//! | `range-30d` | on a second data set, 20 series × 60 days: `rate(…[5m])` of ten series over 30 days, step 1 h | `cpu_ms` |
//! | `million` | 1,000,000 series × 5 samples | `rss_bytes_per_series`, `restart_s` after `kill -9` |
//! | `kill` | `kill -9` at random moments while samples come | `lost_acked`, `wrong` |
//!
//! CPU is user + system time of the contender's process from `/proc`, merging and
//! compaction included: a contender is waited for until it rests. Each has one
//! core; the load has the other. Caches of query results are off, where there are.

pub(crate) mod client;
mod contender;
mod crash;
mod data;

use crate::rows::{Report, Sample, summarise};
use crate::{StoreOptions, machine};
use client::Client;
use contender::{Contender, Kind};
use data::{Data, STEP_MS};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

const SERIES: usize = 10_000;
const TICKS: usize = 1_000;
/// Series of one request, as Prometheus sends by default.
const PER_REQUEST: usize = 2_000;
const DAY_MS: i64 = 86_400_000;

/// Metrics of which more is better.
pub(crate) const MORE_IS_BETTER: &[&str] = &["samples_per_cpu_s", "lines_per_cpu_s"];

/// Measures what was asked for.
pub(crate) fn run(target: &Path, options: &StoreOptions) -> Result<Report, String> {
    let wanted = |name: &str| options.workload.is_empty() || options.workload.iter().any(|w| w == name);
    let cores = machine::two_cores();
    if let Some((_, second)) = cores {
        machine::pin(second)?;
    }
    let core = cores.map(|(first, _)| first);
    let folder = machine::folder("store")?;
    let mut report = Report::default();
    let mut kinds = Vec::new();
    for kind in [Kind::Bastide, Kind::VictoriaMetrics, Kind::Prometheus] {
        if !options.contender.is_empty() && !options.contender.iter().any(|name| name == kind.name()) {
            continue;
        }
        match kind.version(target) {
            Ok(version) => {
                eprintln!("{:<17} {version}", kind.name());
                kinds.push(kind);
            }
            Err(why) => report.skipped.push(format!("{}: {why}", kind.name())),
        }
    }
    let rounds = options.common.rounds.unwrap_or(if options.common.quick { 1 } else { 3 });
    let mut measured = Measured::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for turn in 0..kinds.len() {
            let kind = kinds[(round as usize + turn) % kinds.len()];
            let mut bench =
                Bench { kind, target, folder: folder.path(), core, options, measured: &mut measured };
            let mut done = |name: &str, outcome: Result<(), String>| {
                if let Err(why) = outcome {
                    report.failed.push(format!("{name} {}: {why}", kind.name()));
                }
            };
            if ["ingest", "one-4h", "rate-1000", "topk-10k"].iter().any(|w| wanted(w)) {
                done("ingest", bench.ingest());
            }
            if wanted("range-30d") {
                done("range-30d", bench.long_range());
            }
            // Once is enough: what they show does not waver.
            if wanted("million") && round == 0 && !options.common.quick {
                done("million", bench.million());
            }
            if wanted("kill") && round == 0 {
                done("kill", bench.kill());
            }
        }
    }
    report.rows = measured.rows();
    Ok(report)
}

/// Figures by workload and metric, in the order in which they first came.
#[derive(Default)]
struct Measured(Vec<(&'static str, &'static str, Vec<Sample>)>);

impl Measured {
    fn put(&mut self, workload: &'static str, metric: &'static str, kind: Kind, value: f64) {
        eprintln!("  {workload} {} {metric} {value:.3}", kind.name());
        let sample = Sample { workload, contender: kind.name().to_owned(), value };
        match self.0.iter_mut().find(|(w, m, _)| (*w, *m) == (workload, metric)) {
            Some((_, _, samples)) => samples.push(sample),
            None => self.0.push((workload, metric, vec![sample])),
        }
    }

    fn rows(self) -> Vec<crate::rows::Row> {
        let order =
            |name: &str| ["bastide", "victoria-metrics", "prometheus"].iter().position(|n| *n == name);
        self.0
            .into_iter()
            .flat_map(|(_, metric, mut samples)| {
                samples.sort_by_key(|sample| order(&sample.contender));
                summarise(metric, &samples)
            })
            .collect()
    }
}

/// A series' labels as protobuf, and its samples: times and values.
type Row = (Vec<u8>, Vec<(i64, f64)>);

/// One contender's turn.
struct Bench<'a> {
    kind: Kind,
    target: &'a Path,
    folder: &'a Path,
    core: Option<usize>,
    options: &'a StoreOptions,
    measured: &'a mut Measured,
}

/// Now, on the grid of samples.
fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |t| t.as_millis() as i64);
    now - now % STEP_MS
}

/// Sends one sample of every series.
fn send_tick(client: &mut Client, data: &mut Data) -> Result<(), String> {
    let mut request = Vec::with_capacity(1 << 20);
    let mut requests = Vec::new();
    let mut count = 0;
    data.tick(|labels, at_ms, value| {
        data::put_series(&mut request, labels, at_ms, value);
        count += 1;
        if count % PER_REQUEST == 0 {
            requests.push(std::mem::take(&mut request));
        }
    });
    if !request.is_empty() {
        requests.push(request);
    }
    requests.iter().try_for_each(|request| client.write(&compress(request)))
}

fn compress(request: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(request).unwrap_or_default()
}

impl Bench<'_> {
    fn contender(&self) -> Result<Contender<'_>, String> {
        Contender::new(self.kind, self.target, self.folder, self.core)
    }

    /// Ten million samples in, then the queries over them.
    fn ingest(&mut self) -> Result<(), String> {
        let kind = self.kind;
        let ticks = if self.options.common.quick { TICKS / 10 } else { TICKS };
        let mut contender = Contender::new(kind, self.target, self.folder, self.core)?;
        contender.start()?;
        let start_ms = now_ms() - ticks as i64 * STEP_MS;
        let mut data = Data::new(SERIES, start_ms);
        let mut client = contender.client();
        let (before, _) = contender.cost()?;
        for _ in 0..ticks {
            send_tick(&mut client, &mut data)?;
        }
        contender.settle()?;
        let (after, rss) = contender.cost()?;
        let samples = (ticks * SERIES) as f64;
        self.measured.put("ingest", "samples_per_cpu_s", kind, samples / (after - before));
        self.measured.put("ingest", "rss_mb", kind, rss);
        let bytes = contender.bytes_at_rest()?;
        self.measured.put("ingest", "bytes_per_sample", kind, bytes as f64 / samples);

        let end = start_ms / 1_000 + ticks as i64 * STEP_MS / 1_000 - 15;
        let span = |seconds: i64| end - seconds.min(ticks as i64 * STEP_MS / 1_000);
        let one = "node_memory_bytes{instance=\"10.0.0.42:9100\",what=\"free\"}";
        let rate = "sum(rate(web_request_duration_seconds_bucket[5m]))";
        self.query(&contender, "one-4h", &range(one, span(4 * 3_600), end, 15))?;
        self.query(&contender, "rate-1000", &range(rate, span(3_600), end, 60))?;
        let topk = escape("topk(10, {job=\"bench\"})");
        self.query(&contender, "topk-10k", &format!("/api/v1/query?query={topk}&time={end}&nocache=1"))
    }

    /// Two months of few series, and a month of them asked for.
    fn long_range(&mut self) -> Result<(), String> {
        let kind = self.kind;
        let days = if self.options.common.quick { 6 } else { 60 };
        let mut contender = Contender::new(kind, self.target, self.folder, self.core)?;
        contender.start()?;
        let ticks = days * DAY_MS / STEP_MS;
        let start_ms = now_ms() - ticks * STEP_MS;
        // The first of each target are counters of requests.
        let mut data = Data::new(20, start_ms);
        let mut client = contender.client();
        // A hundred samples of a series in a request.
        let per_request = 100;
        let mut rows: Vec<Row> = Vec::new();
        for tick in 0..ticks {
            let mut at = 0;
            data.tick(|labels, at_ms, value| {
                if rows.len() <= at {
                    rows.push((labels.to_vec(), Vec::new()));
                }
                rows[at].1.push((at_ms, value));
                at += 1;
            });
            if (tick + 1) % per_request == 0 || tick + 1 == ticks {
                let mut request = Vec::new();
                for (labels, samples) in &mut rows {
                    data::put_samples(&mut request, labels, samples);
                    samples.clear();
                }
                client.write(&compress(&request))?;
            }
        }
        contender.settle()?;
        let end = start_ms / 1_000 + ticks * STEP_MS / 1_000 - 15;
        let query = "rate(web_requests_total{code=~\"200|301|404\"}[5m])";
        let target = range(query, end - days / 2 * 86_400, end, 3_600);
        self.query(&contender, "range-30d", &target)
    }

    /// A million series: memory of each, and how soon it is back after a kill.
    fn million(&mut self) -> Result<(), String> {
        let kind = self.kind;
        let mut contender = self.contender()?;
        contender.start()?;
        let empty = contender.rss()?;
        let (count, ticks) = (1_000_000, 5);
        let mut data = Data::new(count, now_ms() - ticks * STEP_MS);
        let mut client = contender.client();
        for _ in 0..ticks {
            send_tick(&mut client, &mut data)?;
        }
        contender.settle()?;
        let bytes = (contender.rss()? - empty) * 1_048_576.0 / count as f64;
        contender.kill()?;
        let took = contender.start()?;
        let found = count_of(&mut contender.client(), "count(up{job=\"bench\"})", now_ms() / 1_000)?;
        // One of each target's hundred series.
        let found = found * data::PER_TARGET as f64;
        drop(contender);
        self.measured.put("million", "rss_bytes_per_series", kind, bytes);
        self.measured.put("million", "restart_s", kind, took.as_secs_f64());
        self.measured.put("million", "series_after", kind, found);
        Ok(())
    }

    fn kill(&mut self) -> Result<(), String> {
        let kills = self.options.kills.unwrap_or(if self.options.common.quick { 2 } else { 10 });
        let mut contender = Contender::new(self.kind, self.target, self.folder, self.core)?;
        let found = crash::campaign(&mut contender, kills, self.options.seed)?;
        self.measured.put("kill", "lost_acked", self.kind, found.lost as f64);
        self.measured.put("kill", "wrong", self.kind, found.wrong as f64);
        Ok(())
    }

    /// Asks again and again until the time can be read from ticks of 10 ms.
    fn query(
        &mut self,
        contender: &Contender<'_>,
        workload: &'static str,
        target: &str,
    ) -> Result<(), String> {
        let mut client = contender.client();
        for _ in 0..3 {
            client.get(target)?;
        }
        let enough = if self.options.common.quick { 0.2 } else { 1.0 };
        let (before, _) = contender.cost()?;
        let mut asked = 0;
        loop {
            for _ in 0..5 {
                client.get(target)?;
                asked += 1;
            }
            let (now, _) = contender.cost()?;
            if now - before >= enough || asked >= 20_000 {
                self.measured.put(workload, "cpu_ms", self.kind, (now - before) * 1_000.0 / f64::from(asked));
                return Ok(());
            }
        }
    }
}

/// The target of a range query.
fn range(query: &str, start: i64, end: i64, step: i64) -> String {
    format!("/api/v1/query_range?query={}&start={start}&end={end}&step={step}&nocache=1", escape(query))
}

/// The number that a query answers; 0 where it answers nothing.
fn count_of(client: &mut Client, query: &str, at: i64) -> Result<f64, String> {
    let answer = client.get(&format!("/api/v1/query?query={}&time={at}", escape(query)))?;
    let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    let value = &answer["data"]["result"][0]["value"][1];
    Ok(value.as_str().and_then(|text| text.parse().ok()).unwrap_or_default())
}

/// Percent-encoding of everything that is not plain (RFC 3986 §2.3).
pub(crate) fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}
