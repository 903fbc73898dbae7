//! Access logs → counters and histograms.
//!
//! What was counted is saved together with how far was read, in one file that is
//! replaced whole: after `kill -9` both go on together, and each request counts
//! once. The counts go to the store directly, at the scrape interval, under
//! `job="logs"`.

mod line;
mod tail;

pub(crate) use line::{Entry, parse};
pub(crate) use tail::{Piece, Place, Tail};

use crate::scrape::Go;
use crate::sink::Pending;
use crate::state::{State, lock};
use base::names::{self, DURATION_BUCKETS};
use monitor_promql::labels::METRIC_NAME;
use monitor_promql::{Labels, STALE};
use role::Counter;
use serde::{Deserialize, Serialize};
use site::{Log, LogFormat};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Between two looks at a file.
const POLL: Duration = Duration::from_millis(500);

/// What a log said so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counts {
    /// Requests by status code.
    pub(crate) requests: BTreeMap<u16, u64>,
    /// Bytes sent.
    pub(crate) sent_bytes: u64,
    /// Durations by bucket, not cumulative; the last is +Inf.
    pub(crate) buckets: Vec<u64>,
    /// The sum of durations, in seconds.
    pub(crate) duration_sum_s: f64,
    /// Lines that could not be read.
    pub(crate) malformed: u64,
}

impl Counts {
    /// Counts one request.
    pub(crate) fn add(&mut self, entry: Entry) {
        *self.requests.entry(entry.code).or_default() += 1;
        self.sent_bytes = self.sent_bytes.saturating_add(entry.sent_bytes);
        if let Some(duration_s) = entry.duration_s {
            self.buckets.resize(DURATION_BUCKETS.len() + 1, 0);
            self.buckets[DURATION_BUCKETS.partition_point(|bound| *bound < duration_s)] += 1;
            self.duration_sum_s += duration_s;
        }
    }

    /// The samples of these counts.
    pub(crate) fn samples(&self, log: &str, at_ms: i64) -> Vec<Pending> {
        let mut out = Vec::new();
        let mut give = |name: &str, more: Option<(&str, &str)>, value: f64| {
            let own = [(METRIC_NAME, name), ("job", "logs"), ("instance", log), ("log", log)];
            out.push(Pending { labels: Labels::from_pairs(own.into_iter().chain(more)), at_ms, value });
        };
        for (code, count) in &self.requests {
            give(names::LOG_REQUESTS.name, Some(("code", &code.to_string())), *count as f64);
        }
        give(names::LOG_BYTES.name, None, self.sent_bytes as f64);
        if !self.buckets.is_empty() {
            let name = names::LOG_DURATION.name;
            let mut total = 0;
            for (i, count) in self.buckets.iter().enumerate() {
                total += count;
                let bound = DURATION_BUCKETS.get(i).map_or("+Inf".to_owned(), f64::to_string);
                give(&format!("{name}_bucket"), Some(("le", &bound)), total as f64);
            }
            give(&format!("{name}_sum"), None, self.duration_sum_s);
            give(&format!("{name}_count"), None, total as f64);
        }
        out
    }
}

/// What is saved.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Checkpoint {
    place: Place,
    counts: Counts,
}

/// Reads one log.
pub(crate) struct Reader {
    log: Log,
    tail: Tail,
    counts: Counts,
    saved: Checkpoint,
    file: PathBuf,
    state: Arc<State>,
    ok: Arc<Counter>,
    malformed: Arc<Counter>,
}

impl Reader {
    /// A reader whose checkpoint is in `dir`. A damaged checkpoint counts as none.
    pub(crate) fn new(log: Log, dir: &Path, state: Arc<State>) -> Self {
        // The name is the operator's; as a file name it is its fingerprint.
        let print = monitor_alert::fingerprint(&[(log.name.clone(), log.path.display().to_string())]);
        let file = dir.join(format!("log-{print:016x}.json"));
        let saved: Option<Checkpoint> =
            std::fs::read(&file).ok().and_then(|text| serde_json::from_slice(&text).ok());
        let place = saved.as_ref().map(|s| s.place.clone());
        let saved = saved.unwrap_or_default();
        // Our own log began with us; a foreign one may hold years.
        let tail = Tail::new(log.path.clone(), place, log.format != LogFormat::Bastide);
        let lines = state.registry.counter(&names::MONITOR_LOG_LINES);
        let (ok, malformed) = (lines.with(&[&log.name, "ok"]), lines.with(&[&log.name, "malformed"]));
        Self { log, tail, counts: saved.counts.clone(), saved, file, state, ok, malformed }
    }

    /// Reads until told otherwise; gives the counts to the store every `interval`.
    pub(crate) async fn run(mut self, interval: Duration, mut go: watch::Receiver<Go>) {
        let mut next_sample = tokio::time::Instant::now();
        loop {
            let due = tokio::time::Instant::now() >= next_sample;
            if due {
                next_sample = tokio::time::Instant::now() + interval;
            }
            let told = *go.borrow();
            let ended = told != Go::On;
            let read = tokio::task::spawn_blocking(move || {
                let more = self.poll();
                if due || ended {
                    self.give(told == Go::Removed);
                }
                (self, more)
            });
            let more;
            (self, more) = match read.await {
                Ok(read) => read,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            if ended {
                return;
            }
            if !more {
                let _ = tokio::time::timeout(POLL, go.changed()).await;
            }
        }
    }

    /// Reads what there is and saves how far. Tells whether there is more.
    fn poll(&mut self) -> bool {
        let (counts, format) = (&mut self.counts, self.log.format);
        let (mut good, mut bad) = (0, 0);
        let read = self.tail.poll(|piece| {
            let entry = match piece {
                Piece::Line(line) => parse(format, line),
                Piece::TooLong => None,
            };
            match entry {
                Some(entry) => {
                    good += 1;
                    counts.add(entry);
                }
                None => bad += 1,
            }
        });
        // A file that may not be read is tried again; its lines stay where they are.
        let mut trouble = lock(&self.state.log_trouble);
        match &read {
            Ok(_) => drop(trouble.remove(&self.log.name)),
            Err(error) => {
                let what = format!("cannot read `{}`: {error}", self.log.path.display());
                trouble.insert(self.log.name.clone(), what);
            }
        }
        drop(trouble);
        counts.malformed += bad;
        self.ok.add(good);
        self.malformed.add(bad);
        if self.tail.place() != &self.saved.place {
            let now = Checkpoint { place: self.tail.place().clone(), counts: self.counts.clone() };
            let written = serde_json::to_vec(&now)
                .map_err(std::io::Error::other)
                .and_then(|text| sys::file::write_atomic(&self.file, &text, 0o600));
            // On a full disk the older pair stays, and is tried again at the next look.
            if written.is_ok() {
                self.saved = now;
            }
        }
        read.unwrap_or(false)
    }

    /// Gives the counts to the store; those of a log that left the revision are over.
    fn give(&self, over: bool) {
        let mut samples = self.counts.samples(&self.log.name, sys::clock::now_ms() as i64);
        if over {
            samples.iter_mut().for_each(|sample| sample.value = STALE);
            lock(&self.state.log_trouble).remove(&self.log.name);
        }
        self.state.sink.append(&samples);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_samples() {
        let mut counts = Counts::default();
        counts.add(Entry { code: 200, sent_bytes: 5, duration_s: Some(0.002) });
        counts.add(Entry { code: 200, sent_bytes: 6, duration_s: Some(60.0) });
        counts.add(Entry { code: 503, sent_bytes: 0, duration_s: None });
        let text: Vec<String> =
            counts.samples("edge", 7).iter().map(|p| format!("{} {}", p.labels, p.value)).collect();
        let own = r#"instance="edge", job="logs""#;
        for expected in [
            format!(r#"bastide_log_requests_total{{code="200", {own}, log="edge"}} 2"#),
            format!(r#"bastide_log_requests_total{{code="503", {own}, log="edge"}} 1"#),
            format!(r#"bastide_log_sent_bytes_total{{{own}, log="edge"}} 11"#),
            format!(r#"bastide_log_request_duration_seconds_bucket{{{own}, le="0.001", log="edge"}} 0"#),
            format!(r#"bastide_log_request_duration_seconds_bucket{{{own}, le="0.0025", log="edge"}} 1"#),
            format!(r#"bastide_log_request_duration_seconds_bucket{{{own}, le="+Inf", log="edge"}} 2"#),
            format!(r#"bastide_log_request_duration_seconds_sum{{{own}, log="edge"}} 60.002"#),
            format!(r#"bastide_log_request_duration_seconds_count{{{own}, log="edge"}} 2"#),
        ] {
            assert!(text.contains(&expected), "{expected} not in {text:#?}");
        }
        let read: Counts = serde_json::from_str(&serde_json::to_string(&counts).unwrap()).unwrap();
        assert_eq!(read, counts);
    }
}
