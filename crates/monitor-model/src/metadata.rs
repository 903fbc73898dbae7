//! What is told about series beside their samples.

use crate::Labels;

/// The type of a metric, as Prometheus and OpenMetrics name them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MetricType {
    /// Nothing is known (`untyped` in the text format 0.0.4).
    #[default]
    Unknown,
    /// Only grows, but for resets.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, count and sum that only grow.
    Histogram,
    /// Buckets, count and sum of what is there now.
    GaugeHistogram,
    /// Quantiles, count and sum.
    Summary,
    /// A constant 1 whose labels say something.
    Info,
    /// One of several states.
    StateSet,
}

impl MetricType {
    /// The name in the HTTP API and in OpenMetrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
            Self::GaugeHistogram => "gaugehistogram",
            Self::Summary => "summary",
            Self::Info => "info",
            Self::StateSet => "stateset",
        }
    }

    /// From a name; `untyped` counts as unknown.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "unknown" | "untyped" => Self::Unknown,
            "counter" => Self::Counter,
            "gauge" => Self::Gauge,
            "histogram" => Self::Histogram,
            "gaugehistogram" => Self::GaugeHistogram,
            "summary" => Self::Summary,
            "info" => Self::Info,
            "stateset" => Self::StateSet,
            _ => return None,
        })
    }
}

/// Type, unit and meaning of a metric family.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Metadata {
    /// Its type.
    pub kind: MetricType,
    /// Its unit, `seconds`; empty where none was given.
    pub unit: String,
    /// What it means, in words.
    pub help: String,
}

/// A sample that stands for others: usually one request's trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Exemplar {
    /// What leads to it: `trace_id`. At most 128 characters, names and values together (OpenMetrics 1.0).
    pub labels: Labels,
    /// Its value.
    pub value: f64,
    /// Its own time, in Unix milliseconds; `None` where the exposition gave none.
    pub at_ms: Option<i64>,
}
