//! What an exposition says, entry by entry.

use crate::LabelPairs;
use monitor_model::{Exemplar, Histogram, Labels, LabelsBuilder, METRIC_NAME, MetricType};
use std::borrow::Cow;

/// One statement of an exposition.
#[derive(Debug)]
pub enum Entry<'a> {
    /// What a family means.
    Help {
        /// The family.
        family: Cow<'a, str>,
        /// In words, escapes undone.
        text: Cow<'a, str>,
    },
    /// Of which type a family is.
    Type {
        /// The family.
        family: Cow<'a, str>,
        /// Its type.
        kind: MetricType,
    },
    /// In which unit a family counts.
    Unit {
        /// The family.
        family: Cow<'a, str>,
        /// `seconds`; may be empty.
        unit: &'a str,
    },
    /// A number.
    Sample(Sample<'a>),
    /// A native histogram.
    Histogram(Box<HistogramEntry<'a>>),
}

/// One number of one series.
#[derive(Debug)]
pub struct Sample<'a> {
    /// Names the series within this target and format: the same bytes are the
    /// same series in the next exposition, too. For caches.
    pub key: &'a [u8],
    /// The metric's name.
    pub name: Cow<'a, str>,
    /// The labels as they were written; see [`LabelPairs`].
    pub labels: LabelPairs<'a>,
    /// The value.
    pub value: f64,
    /// Unix milliseconds, where the target gives a time.
    pub at_ms: Option<i64>,
    /// Since when it counts, in Unix milliseconds; 0 where not told.
    pub start_ms: i64,
    /// A sample that stands for others.
    pub exemplar: Option<ExemplarRef<'a>>,
}

/// One native histogram of one series.
#[derive(Debug)]
pub struct HistogramEntry<'a> {
    /// As in [`Sample`].
    pub key: &'a [u8],
    /// The metric's name.
    pub name: Cow<'a, str>,
    /// The labels as they were written.
    pub labels: LabelPairs<'a>,
    /// The distribution; it was validated for lengths, not for meaning.
    pub histogram: Histogram,
    /// Unix milliseconds, where the target gives a time.
    pub at_ms: Option<i64>,
    /// Since when it counts, in Unix milliseconds; 0 where not told.
    pub start_ms: i64,
    /// Samples that stand for others.
    pub exemplars: Vec<Exemplar>,
}

impl Sample<'_> {
    /// The labels with the metric's name, as a set. Duplicates were refused by the parser.
    pub fn to_labels(&self) -> Labels {
        to_labels(&self.name, self.labels)
    }
}

impl HistogramEntry<'_> {
    /// The labels with the metric's name, as a set.
    pub fn to_labels(&self) -> Labels {
        to_labels(&self.name, self.labels)
    }
}

fn to_labels(name: &str, labels: LabelPairs<'_>) -> Labels {
    let mut builder = LabelsBuilder::default();
    builder.set(METRIC_NAME, name);
    for (name, value) in labels {
        builder.set(&name, &value);
    }
    builder.build()
}

/// An exemplar in place.
#[derive(Clone, Copy, Debug)]
pub struct ExemplarRef<'a> {
    /// What leads to it.
    pub labels: LabelPairs<'a>,
    /// Its value.
    pub value: f64,
    /// Its own time, in Unix milliseconds.
    pub at_ms: Option<i64>,
}

impl ExemplarRef<'_> {
    /// In memory of its own.
    pub fn to_exemplar(&self) -> Exemplar {
        Exemplar { labels: Labels::from_pairs(self.labels), value: self.value, at_ms: self.at_ms }
    }

    /// Characters of all names and values; OpenMetrics 1.0 allows 128.
    pub fn characters(&self) -> usize {
        self.labels.map(|(name, value)| name.chars().count() + value.chars().count()).sum()
    }
}
