//! OTLP metrics: `ExportMetricsServiceRequest` in Protocol Buffers and JSON,
//! translated as Prometheus 3 does.
//!
//! Memory stays bounded: Protocol Buffers are read data point by data point; of a
//! JSON document the number of objects is counted before it is parsed.

mod answer;
mod json;
mod names;
mod protobuf;
#[cfg(test)]
mod tests;
mod translate;
mod value;

use crate::WireError;
use monitor_model::{Exemplar, Histogram, Labels, Metadata};

pub use answer::{answer, refusal};
pub use names::{label_name, metric_name};

/// How names are translated (Prometheus manual, `otlp.translation_strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Characters that PromQL's plain names cannot have become underscores; unit
    /// and `_total` are appended.
    #[default]
    UnderscoreEscapingWithSuffixes,
    /// Characters become underscores; nothing is appended.
    UnderscoreEscapingWithoutSuffixes,
    /// Names stay; unit and `_total` are appended.
    NoUtf8EscapingWithSuffixes,
    /// Names stay as they are.
    NoTranslation,
}

impl Strategy {
    /// From its name in Prometheus' configuration.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "UnderscoreEscapingWithSuffixes" => Self::UnderscoreEscapingWithSuffixes,
            "UnderscoreEscapingWithoutSuffixes" => Self::UnderscoreEscapingWithoutSuffixes,
            "NoUTF8EscapingWithSuffixes" => Self::NoUtf8EscapingWithSuffixes,
            "NoTranslation" => Self::NoTranslation,
            _ => return None,
        })
    }

    fn escapes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::UnderscoreEscapingWithoutSuffixes)
    }

    fn has_suffixes(self) -> bool {
        matches!(self, Self::UnderscoreEscapingWithSuffixes | Self::NoUtf8EscapingWithSuffixes)
    }
}

/// Which attributes of a resource become labels of its series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promote {
    /// These, by their names in OpenTelemetry.
    Only(Vec<String>),
    /// All but these.
    AllBut(Vec<String>),
}

impl Default for Promote {
    fn default() -> Self {
        Self::Only(Vec::new())
    }
}

impl Promote {
    fn takes(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|n| n == name),
            Self::AllBut(names) => names.iter().all(|n| n != name),
        }
    }
}

/// How to translate. The defaults are Prometheus'.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Names of metrics and labels.
    pub strategy: Strategy,
    /// Attributes of a resource that its series have; the others are on
    /// `target_info` only.
    pub promote: Promote,
    /// `target_info` has `service.name`, `service.namespace` and
    /// `service.instance.id` too, which are `job` and `instance` already.
    pub keep_identifying_attributes: bool,
    /// Series have name, version, schema and attributes of their scope, as
    /// `otel_scope_…`.
    pub promote_scope: bool,
    /// Explicit histograms become native ones with custom buckets, else classic.
    pub histograms_to_native: bool,
    /// Differences ("delta temporality") are stored as they are; else refused:
    /// PromQL's `rate` wants counters.
    pub store_deltas: bool,
    /// A label that begins with one underscore gets `key` before it.
    pub label_underscore_sanitization: bool,
    /// Several underscores in a label's name stay several.
    pub label_preserve_multiple_underscores: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            strategy: Strategy::default(),
            promote: Promote::default(),
            keep_identifying_attributes: false,
            promote_scope: false,
            histograms_to_native: false,
            store_deltas: false,
            label_underscore_sanitization: true,
            label_preserve_multiple_underscores: true,
        }
    }
}

/// What becomes of a message's content.
pub trait OtlpSink {
    /// A number of a series. `start_ms` is when the counter began, 0 where that
    /// is not known.
    fn sample(&mut self, labels: &Labels, at_ms: i64, value: f64, start_ms: i64);

    /// A histogram of a series that [`Histogram::validate`] takes.
    fn histogram(&mut self, labels: &Labels, at_ms: i64, value: Histogram, start_ms: i64);

    /// An exemplar of a series.
    fn exemplar(&mut self, labels: &Labels, exemplar: Exemplar);

    /// What a metric is.
    fn metadata(&mut self, family: &str, metadata: &Metadata);

    /// Data points that are not taken.
    fn refused(&mut self, points: u64, why: &Refused);
}

/// Why data points are not taken; others of the same message are.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// Differences.
    #[error(
        "metric `{0}` has delta temporality; hint: have the SDK or collector send cumulative values \
         (OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE=cumulative)"
    )]
    Delta(String),
    /// Neither.
    #[error("metric `{0}` has no aggregation temporality")]
    NoTemporality(String),
    /// Nothing left of a name.
    #[error("metric name `{0}` has no character that a name can have")]
    MetricName(String),
    /// Nothing left of a name.
    #[error("metric `{0}`: attribute name `{1}` has no character that a name can have")]
    LabelName(String, String),
    /// A distribution that is none.
    #[error("metric `{0}`: {1}")]
    Histogram(String, monitor_model::histogram::HistogramError),
    /// Bounds and counts disagree.
    #[error("metric `{0}`: a histogram of {1} bounds has {2} bucket counts")]
    BucketCounts(String, usize, usize),
    /// Coarser than anything native.
    #[error("metric `{0}`: exponential histogram of scale `{1}`; -4 is the coarsest that can be kept")]
    Scale(String, i64),
}

/// Reads a message in Protocol Buffers, decompressed.
pub fn read_protobuf(body: &[u8], settings: &Settings, sink: &mut impl OtlpSink) -> Result<(), WireError> {
    protobuf::read(body, &mut translate::Translator::new(settings, sink))
}

/// Reads a message in JSON, decompressed.
pub fn read_json(body: &[u8], settings: &Settings, sink: &mut impl OtlpSink) -> Result<(), WireError> {
    json::read(body, &mut translate::Translator::new(settings, sink))
}
