//! Scraping: every target at its own steady moment of the interval.
//!
//! A scrape's time is the moment it was due, so that the distance between two
//! samples is the interval exactly; a scrape that is late by more than
//! [`SNAP_MS`] says when it really was. Series that were there and are not any
//! more get a staleness marker, as Prometheus does it.

use crate::exposition::{Limits, Line, ParseError, Parser, Sample};
use crate::fetch::{Endpoint, Exchange, fetch};
use crate::sink::{Pending, Sink};
use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT, ACCEPT_ENCODING};
use monitor_promql::labels::{LabelsBuilder, METRIC_NAME};
use monitor_promql::{Labels, STALE};
use rustc_hash::FxHashMap;
use site::Target;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A body may have this many bytes.
const MAX_BODY: usize = 16 << 20;

/// A scrape may be this late and still count as on time.
const SNAP_MS: u64 = 50;

/// A scrape may take this long, or the interval where that is shorter.
const MAX_TIMEOUT: Duration = Duration::from_secs(10);

/// Families whose type and help are remembered for a target.
const MAX_METADATA: usize = 2_000;

/// Bytes of a help text that are remembered.
const MAX_HELP: usize = 1_000;

/// What a task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    /// Go on.
    On,
    /// The target left the revision: its series are over.
    Removed,
    /// The monitor ends; the series go on with the next one.
    Shutdown,
}

/// How a target fares, for the API.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Why the last scrape failed; empty where it did not.
    pub(crate) error: String,
    /// When it was, in Unix milliseconds; none before the first.
    pub(crate) at_ms: Option<u64>,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
    /// Samples it gave.
    pub(crate) samples: usize,
    /// Type and help of each family.
    pub(crate) metadata: BTreeMap<String, Metadata>,
}

/// What a target says about a metric.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Metadata {
    /// `counter`, `gauge`, `histogram`, `summary`, or `unknown`.
    pub(crate) kind: String,
    /// The help text.
    pub(crate) help: String,
}

/// One target.
pub(crate) struct Scraper {
    target: Target,
    endpoint: Endpoint,
    interval: Duration,
    sink: Arc<Sink>,
    health: Arc<Mutex<Health>>,
    /// Series by their text in the exposition.
    known: FxHashMap<Box<str>, Known>,
    round: u64,
}

struct Known {
    labels: Labels,
    /// The last round that had it.
    round: u64,
    /// Without a time of its own; only such series become stale (Prometheus:
    /// `track_timestamps_staleness` is off by default).
    untimed: bool,
}

/// What a body held.
struct Taken {
    batch: Vec<Pending>,
    samples: usize,
    added: usize,
    metadata: BTreeMap<String, Metadata>,
}

impl Scraper {
    /// A scraper of `target`; the state it shows is in the second part.
    pub(crate) fn new(target: Target, interval: Duration, sink: Arc<Sink>) -> (Self, Arc<Mutex<Health>>) {
        let health = Arc::new(Mutex::new(Health::default()));
        let endpoint = Endpoint::of(&target.address, target.tls);
        let known = FxHashMap::default();
        (Self { target, endpoint, interval, sink, health: health.clone(), known, round: 0 }, health)
    }

    /// How long a scrape of this interval may take.
    pub(crate) fn timeout(interval: Duration) -> Duration {
        interval.min(MAX_TIMEOUT)
    }

    /// Scrapes until told otherwise.
    pub(crate) async fn run(mut self, mut go: watch::Receiver<Go>) {
        let interval_ms = (self.interval.as_millis() as u64).max(1);
        let offset_ms = offset_ms(&self.target, interval_ms);
        loop {
            let wait = until_next(sys::clock::now_ms(), interval_ms, offset_ms);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = go.changed() => {}
            }
            let told = *go.borrow();
            match told {
                // Its sender went without a word only if the monitor did.
                Go::On if go.has_changed().is_err() => return,
                Go::On => {}
                Go::Removed => return self.say_goodbye().await,
                Go::Shutdown => return,
            }
            let at_ms = due_ms(sys::clock::now_ms(), interval_ms, offset_ms);
            self = self.scrape(at_ms).await;
        }
    }

    async fn scrape(mut self, at_ms: u64) -> Self {
        let began = Instant::now();
        let accept = [(ACCEPT, "text/plain;version=0.0.4"), (ACCEPT_ENCODING, "identity")];
        let answer = fetch(
            &self.endpoint,
            Exchange {
                method: Method::GET,
                target: &self.target.path,
                headers: &accept,
                body: Bytes::new(),
                timeout: Self::timeout(self.interval),
                max_body: MAX_BODY,
            },
        )
        .await;
        let body = answer.and_then(|answer| match answer.status {
            200 => Ok(answer.body),
            status => Err(format!("server returned HTTP status {status}")),
        });
        // Reading and storing may wait for the disk: not on the threads that keep time.
        let outcome = tokio::task::spawn_blocking(move || {
            self.take(body, at_ms as i64, began);
            self
        })
        .await;
        match outcome {
            Ok(scraper) => scraper,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        }
    }

    fn take(&mut self, body: Result<Bytes, String>, at_ms: i64, began: Instant) {
        self.round += 1;
        let taken = body.and_then(|body| {
            let text = std::str::from_utf8(&body).map_err(|e| format!("the body is not UTF-8: {e}"))?;
            self.read(text, at_ms).map_err(|e| e.to_string())
        });
        let (mut batch, samples, added, metadata, error) = match taken {
            Ok(t) => (t.batch, t.samples, t.added, Some(t.metadata), String::new()),
            Err(error) => (Vec::new(), 0, 0, None, error),
        };
        self.drop_missing(&mut batch, at_ms);
        let took_s = began.elapsed().as_secs_f64();
        let up = f64::from(u8::from(error.is_empty()));
        for (name, value) in REPORT.iter().zip([up, took_s, samples as f64, samples as f64, added as f64]) {
            batch.push(Pending { labels: self.own_labels(name), at_ms, value });
        }
        self.sink.append(&batch);
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        health.error = error;
        health.at_ms = Some(at_ms as u64);
        health.took_s = took_s;
        health.samples = samples;
        if let Some(metadata) = metadata {
            health.metadata = metadata;
        }
    }

    /// Reads a body; nothing is kept of one that is refused.
    fn read(&mut self, text: &str, at_ms: i64) -> Result<Taken, ParseError> {
        let mut taken = Taken {
            batch: Vec::with_capacity(self.known.len() + 8),
            samples: 0,
            added: 0,
            metadata: BTreeMap::new(),
        };
        let mut fresh: Vec<(&str, Labels, bool)> = Vec::new();
        let mut seen: Vec<&str> = Vec::with_capacity(self.known.len());
        let mut parser = Parser::new(text, Limits::default());
        while let Some(line) = parser.next_line()? {
            match line {
                Line::Sample(sample) => {
                    let labels = match self.known.get(sample.series) {
                        Some(known) => {
                            seen.push(sample.series);
                            known.labels.clone()
                        }
                        None => {
                            let labels = series_labels(&self.target, &sample);
                            fresh.push((sample.series, labels.clone(), sample.at_ms.is_none()));
                            labels
                        }
                    };
                    taken.samples += 1;
                    taken.batch.push(Pending {
                        labels,
                        at_ms: sample.at_ms.unwrap_or(at_ms),
                        value: sample.value,
                    });
                }
                Line::Type { name, kind } if taken.metadata.len() < MAX_METADATA => {
                    let kind = if kind == "untyped" { "unknown" } else { kind };
                    taken.metadata.entry(name.to_owned()).or_default().kind = kind.to_owned();
                }
                Line::Help { name, text } if taken.metadata.len() < MAX_METADATA => {
                    let text = text.chars().take(MAX_HELP).collect();
                    taken.metadata.entry(name.to_owned()).or_default().help = text;
                }
                Line::Type { .. } | Line::Help { .. } => {}
            }
        }
        for series in seen {
            if let Some(known) = self.known.get_mut(series) {
                known.round = self.round;
            }
        }
        taken.added = fresh.len();
        for (series, labels, untimed) in fresh {
            self.known.insert(series.into(), Known { labels, round: self.round, untimed });
        }
        Ok(taken)
    }

    /// Marks what this round did not have as over.
    fn drop_missing(&mut self, batch: &mut Vec<Pending>, at_ms: i64) {
        let round = self.round;
        self.known.retain(|_, known| {
            if known.round != round && known.untimed {
                batch.push(Pending { labels: known.labels.clone(), at_ms, value: STALE });
            }
            known.round == round
        });
    }

    async fn say_goodbye(mut self) {
        let ended = tokio::task::spawn_blocking(move || {
            self.round += 1;
            let at_ms = sys::clock::now_ms() as i64;
            let mut batch = Vec::new();
            self.drop_missing(&mut batch, at_ms);
            for name in REPORT {
                batch.push(Pending { labels: self.own_labels(name), at_ms, value: STALE });
            }
            self.sink.append(&batch);
        });
        let _ = ended.await; // A panic there is a bug of ours that costs these markers alone.
    }

    fn own_labels(&self, name: &str) -> Labels {
        let Target { job, instance, .. } = &self.target;
        Labels::from_pairs([(METRIC_NAME, name), ("job", job.as_str()), ("instance", instance.as_str())])
    }
}

/// What a scrape says about itself, in the order of [`Scraper::take`].
const REPORT: [&str; 5] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
];

/// The series' labels: ours win, the target's own of these names become
/// `exported_*` (Prometheus' `honor_labels: false`).
fn series_labels(target: &Target, sample: &Sample<'_>) -> Labels {
    let mut labels = LabelsBuilder::default();
    labels.set(METRIC_NAME, sample.name);
    for (name, value) in sample.labels() {
        labels.set(name, &value);
    }
    for (name, ours) in [("job", &target.job), ("instance", &target.instance)] {
        if let Some(theirs) = sample.labels().find(|(n, v)| *n == name && !v.is_empty()) {
            let mut exported = format!("exported_{name}");
            while sample.labels().any(|(n, v)| n == exported && !v.is_empty()) {
                exported.insert_str(0, "exported_");
            }
            labels.set(&exported, &theirs.1);
        }
        labels.set(name, ours);
    }
    labels.build()
}

/// Where in the interval a target is scraped: spread, and the same after a restart.
fn offset_ms(target: &Target, interval_ms: u64) -> u64 {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    monitor_alert::fingerprint(&[pair("job", &target.job), pair("instance", &target.instance)]) % interval_ms
}

/// How long until the next moment. Never more than an interval, wherever the
/// clock jumps; and not the moment that has just been.
fn until_next(now_ms: u64, interval_ms: u64, offset_ms: u64) -> Duration {
    let past_ms = (now_ms + interval_ms - offset_ms) % interval_ms;
    let wait_ms = interval_ms - past_ms;
    // Woken a moment too early by a coarse timer: that was this one.
    Duration::from_millis(if wait_ms < interval_ms.min(SNAP_MS) / 4 {
        wait_ms + interval_ms
    } else {
        wait_ms
    })
}

/// The moment that was due, where it was just now.
fn due_ms(now_ms: u64, interval_ms: u64, offset_ms: u64) -> u64 {
    let past_ms = (now_ms + interval_ms - offset_ms) % interval_ms;
    let snap_ms = SNAP_MS.min(interval_ms / 4);
    if past_ms <= snap_ms {
        now_ms - past_ms
    } else if interval_ms - past_ms <= snap_ms {
        now_ms + (interval_ms - past_ms)
    } else {
        now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Address;

    fn target() -> Target {
        Target {
            job: "app".into(),
            instance: "app/1".into(),
            address: Address::parse("127.0.0.1:1").unwrap(),
            tls: false,
            path: "/metrics".into(),
        }
    }

    #[test]
    fn moments_are_steady() {
        for now_ms in [1_000_000, 1_000_001, 1_004_999, 1_005_000] {
            let next = now_ms + until_next(now_ms, 5_000, 123).as_millis() as u64;
            assert_eq!(next % 5_000, 123, "{now_ms}");
            assert!(next > now_ms && next <= now_ms + 5_012);
        }
        // A few milliseconds late or early is on time.
        assert_eq!(due_ms(1_000_126, 5_000, 123), 1_000_123);
        assert_eq!(due_ms(1_000_120, 5_000, 123), 1_000_123);
        assert_eq!(due_ms(1_002_000, 5_000, 123), 1_002_000);
        // Woken early: the next one is a whole interval later.
        assert_eq!(until_next(1_000_120, 5_000, 123).as_millis(), 5_003);
    }

    #[test]
    fn labels_of_the_target_win() {
        let body = "m{job=\"theirs\",exported_job=\"x\",instance=\"\",a=\"1\"} 1\n";
        let mut parser = Parser::new(body, Limits::default());
        let Some(Line::Sample(sample)) = parser.next_line().unwrap() else { panic!("a sample") };
        assert_eq!(
            series_labels(&target(), &sample).to_string(),
            r#"m{a="1", exported_exported_job="theirs", exported_job="x", instance="app/1", job="app"}"#
        );
    }
}
