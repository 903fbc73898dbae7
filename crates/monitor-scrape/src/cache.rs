//! What becomes of a body that was scraped: rows for the store, staleness
//! markers, and the scrape's report on itself (Prometheus, `scrape/scrape.go`).
//!
//! The series of a target are remembered by their text in the exposition: a warm
//! scrape builds no labels and allocates nothing for a sample.

mod churn;
mod read;
mod table;

use crate::Relabel;
use crate::exposed;
use crate::settings::{Limits, Pool};
use crate::target::Target;
use churn::Churn;
use monitor_exposition::ParseError;
use monitor_model::{Exemplar, Histogram, Labels, Metadata, STALE};
use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;
pub use table::Known;
use table::Table;

/// Where rows go: a batch for the store.
pub trait Appender {
    /// Names a series to the store.
    type Series: Copy + Eq + Hash + std::fmt::Debug;

    /// Finds or defines a series. The error is counted, and the sample is left out.
    fn series(&mut self, labels: &Labels) -> Result<Self::Series, String>;
    /// A number. `start_ms`: since when it counts, 0 where not known.
    fn float(&mut self, series: Self::Series, at_ms: i64, value: f64, start_ms: i64);
    /// A native histogram.
    fn histogram(&mut self, series: Self::Series, at_ms: i64, value: Arc<Histogram>, start_ms: i64);
    /// An exemplar of a sample at `at_ms`.
    fn exemplar(&mut self, series: Self::Series, exemplar: Exemplar, at_ms: i64);
    /// Takes back what was appended.
    fn clear(&mut self);
}

/// How a target's samples are treated.
#[derive(Clone, Debug, PartialEq)]
pub struct Rules {
    target: Labels,
    honor_labels: bool,
    honor_timestamps: bool,
    track_timestamps_staleness: bool,
    legacy_names: bool,
    native_histograms: bool,
    classic_too: bool,
    classic_to_native: bool,
    bucket_limit: usize,
    max_schema: Option<i8>,
    limits: Limits,
    extra_metrics: bool,
    timeout_s: f64,
    metric_relabel: Vec<Relabel>,
}

impl Rules {
    /// Of a target of a pool.
    pub fn new(pool: &Pool, target: &Target) -> Self {
        Self {
            target: target.labels.clone(),
            honor_labels: pool.honor_labels,
            honor_timestamps: pool.honor_timestamps,
            track_timestamps_staleness: pool.track_timestamps_staleness,
            legacy_names: pool.legacy_names,
            native_histograms: pool.native_histograms,
            classic_too: pool.classic_too,
            classic_to_native: pool.classic_to_native,
            bucket_limit: pool.bucket_limit,
            max_schema: (pool.min_bucket_factor > 1.0).then(|| schema_of(pool.min_bucket_factor)),
            limits: pool.limits,
            extra_metrics: pool.extra_metrics,
            timeout_s: target.timeout_ms as f64 / 1000.0,
            metric_relabel: pool.metric_relabel.clone(),
        }
    }
}

/// The coarsest schema whose buckets grow by no more than `factor`: 2^(2^-schema) ≤ factor.
fn schema_of(factor: f64) -> i8 {
    (-factor.log2().log2().floor()).clamp(-4.0, 8.0) as i8
}

/// Why a scrape whose body was there failed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// It is no exposition.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// `sample_limit`
    #[error(
        "sample limit exceeded: {samples} samples after relabelling, limit {limit}; hint: raise `sample_limit`, or drop some with `metric_relabel_configs`"
    )]
    Samples {
        /// How many there were.
        samples: u64,
        /// How many there may be.
        limit: u64,
    },
    /// `label_limit`, `label_name_length_limit`, `label_value_length_limit`
    #[error("{0}")]
    Labels(String),
    /// `native_histogram_bucket_limit`
    #[error("{0}")]
    Buckets(String),
    /// Relabelling left no name, or labels that cannot be stored.
    #[error("{0}")]
    Name(String),
}

impl Failure {
    /// In one word, for a metric's label.
    pub fn result(&self) -> &'static str {
        match self {
            Self::Parse(_) => "malformed",
            Self::Samples { .. } => "sample_limit",
            Self::Labels(_) => "label_limit",
            Self::Buckets(_) => "bucket_limit",
            Self::Name(_) => "no_name",
        }
    }
}

/// What a body held.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Samples, before relabelling.
    pub scraped: u64,
    /// Samples, after relabelling.
    pub kept: u64,
    /// Series that were not there before.
    pub added: u64,
    /// Samples of series that had one already, at the same time.
    pub duplicates: u64,
    /// Samples whose series the store did not take, with its first reason.
    pub refused: (u64, Option<String>),
    /// Why the whole was refused; then only staleness markers were appended.
    pub failure: Option<Failure>,
}

/// What a scrape says about itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Report {
    /// Whether it succeeded.
    pub up: bool,
    /// How long it took, in seconds.
    pub took_s: f64,
    /// Samples, before relabelling.
    pub scraped: u64,
    /// Samples, after relabelling.
    pub kept: u64,
    /// Series that were not there before.
    pub added: u64,
    /// Bytes of the body, unpacked; −1 where it was larger than it may be.
    pub body_bytes: i64,
}

/// Names of what [`Scrape::report`] appends; the last three are `extra_scrape_metrics`.
const REPORT: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];

/// Series of a target, from scrape to scrape.
#[derive(Debug)]
pub struct Scrape<S> {
    rules: Rules,
    table: Table<S>,
    churn: Churn,
    report: [Option<(Labels, S)>; REPORT.len()],
    metadata: BTreeMap<Box<str>, Metadata>,
    metadata_version: u64,
}

impl<S: Copy + Eq + Hash + std::fmt::Debug> Scrape<S> {
    /// `seed` keeps targets from choosing texts that collide in memory.
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            table: Table::new(seed),
            churn: Churn::new(seed),
            report: [const { None }; REPORT.len()],
            metadata: BTreeMap::new(),
            metadata_version: 0,
        }
    }

    /// Changed rules of the same target. What they make of known series is
    /// worked out again; series that are not there any more become stale.
    pub fn set_rules(&mut self, rules: Rules) {
        if self.rules != rules {
            self.rules = rules;
            self.table.relearn();
        }
    }

    /// Type, unit and help of each family that the target has told.
    pub fn metadata(&self) -> impl Iterator<Item = (&str, &Metadata)> {
        self.metadata.iter().map(|(name, metadata)| (&**name, metadata))
    }

    /// Another number when [`Scrape::metadata`] has changed.
    pub fn metadata_version(&self) -> u64 {
        self.metadata_version
    }

    /// Series that are remembered.
    pub fn series(&self) -> usize {
        self.table.len()
    }

    /// A scrape that brought no body: all series end.
    pub fn fail<A: Appender<Series = S>>(&mut self, at_ms: i64, appender: &mut A) {
        for series in self.table.end_all() {
            appender.float(series, at_ms, STALE, 0);
        }
    }

    /// The target is gone: all its series end, those of reports too.
    pub fn end<A: Appender<Series = S>>(&mut self, at_ms: i64, appender: &mut A) {
        self.fail(at_ms, appender);
        for (_, series) in self.report.iter_mut().filter_map(Option::take) {
            appender.float(series, at_ms, STALE, 0);
        }
    }

    /// Appends `up` and the rest.
    pub fn report<A: Appender<Series = S>>(&mut self, at_ms: i64, report: &Report, appender: &mut A) {
        let values = [
            f64::from(u8::from(report.up)),
            report.took_s,
            report.scraped as f64,
            report.kept as f64,
            report.added as f64,
            self.rules.timeout_s,
            self.rules.limits.samples as f64,
            report.body_bytes as f64,
        ];
        let count = if self.rules.extra_metrics { REPORT.len() } else { 5 };
        for (at, (name, value)) in REPORT.iter().zip(values).take(count).enumerate() {
            if self.report[at].is_none() {
                let labels = exposed::of_report(name, &self.rules.target);
                // What the store does not take now is asked for again by the next scrape.
                let Ok(series) = appender.series(&labels) else { continue };
                self.report[at] = Some((labels, series));
            }
            if let Some((_, series)) = &self.report[at] {
                appender.float(*series, at_ms, value, 0);
            }
        }
    }

    /// The labels of series that the store has forgotten; see [`Scrape::rename`].
    pub fn labels_of(&self, forgotten: &[S]) -> Vec<(S, Labels)> {
        let report = self.report.iter().flatten().map(|(labels, series)| (*series, labels.clone()));
        let known = self.table.iter().filter_map(|known| Some((known.series?, known.labels.clone())));
        let mut found: Vec<(S, Labels)> = Vec::new();
        for (series, labels) in report.chain(known) {
            if forgotten.contains(&series) && found.iter().all(|(known, _)| *known != series) {
                found.push((series, labels));
            }
        }
        found
    }

    /// A series that the store had forgotten has another name now.
    pub fn rename(&mut self, from: S, to: S) {
        let report = self.report.iter_mut().flatten().map(|(_, series)| series);
        for series in report.chain(self.table.series_mut()).filter(|series| **series == from) {
            *series = to;
        }
    }
}

#[cfg(test)]
mod tests;
