//! What the reader of an answer should know: Prometheus' annotations, in its
//! words, each with its place in the query (`util/annotations` of Prometheus).

use crate::stats::format_g;
use monitor_lang::ast::Place;
use rustc_hash::{FxHashMap, FxHasher};
use std::hash::{Hash, Hasher};

/// Notes of one kind that are told; Prometheus' HTTP API tells as many.
const MAX_TOLD: usize = 10;
/// Different notes that are remembered, so that none is written twice.
const MAX_SEEN: usize = 10_000;

/// What was noticed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // their texts are below
pub(crate) enum Note<'n> {
    InvalidQuantile(f64),
    InvalidRatio(f64, f64),
    BadBucketLabel { le: &'n str, name: &'n str },
    MixedFloatsHistograms(&'n str),
    MixedFloatsHistogramsAggregation,
    MixedClassicNative(&'n str),
    NotCounter(&'n str),
    NotGauge(&'n str),
    MixedSchemas(&'n str),
    IncompatibleBuckets(&'static str),
    ResetCollision(Operation),
    StartTimeOverlap(&'n str),
    SortInRange,
    PossibleNonCounter(&'n str),
    IncompatibleTypes { left: &'static str, operator: &'static str, right: &'static str },
    HistogramIgnored(&'static str),
    HistogramIgnoredInRange(&'n str),
    QuantileNan(&'n str),
    QuantileSkewed(&'n str),
    FractionNan(&'n str),
    Reconciled(Operation),
}

/// What was done with histograms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Addition,
    Subtraction,
    Aggregation,
}

impl Operation {
    fn word(self) -> &'static str {
        match self {
            Self::Addition => "addition",
            Self::Subtraction => "subtraction",
            Self::Aggregation => "aggregation",
        }
    }
}

impl Note<'_> {
    fn is_info(self) -> bool {
        matches!(
            self,
            Self::PossibleNonCounter(_)
                | Self::IncompatibleTypes { .. }
                | Self::HistogramIgnored(_)
                | Self::HistogramIgnoredInRange(_)
                | Self::QuantileNan(_)
                | Self::QuantileSkewed(_)
                | Self::FractionNan(_)
                | Self::Reconciled(_)
        )
    }

    fn text(self) -> String {
        let of_metric = |name: &str| match name {
            "" => String::new(),
            name => format!(" for metric name {name:?}"),
        };
        match self {
            Self::InvalidQuantile(q) => {
                format!("quantile value should be between 0 and 1, got {}", format_g(q))
            }
            Self::InvalidRatio(ratio, to) => format!(
                "ratio value should be between -1 and 1, got {}, capping to {}",
                format_g(ratio),
                format_g(to)
            ),
            Self::BadBucketLabel { le, name } => {
                format!(
                    "bucket label \"le\" is missing or has a malformed value of {le:?}{}",
                    of_metric(name)
                )
            }
            Self::MixedFloatsHistograms(name) => {
                format!("encountered a mix of histograms and floats for metric name {name:?}")
            }
            Self::MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation".into()
            }
            Self::MixedClassicNative(name) => {
                format!("vector contains a mix of classic and native histograms{}", of_metric(name))
            }
            Self::NotCounter(name) => format!("this native histogram metric is not a counter: {name:?}"),
            Self::NotGauge(name) => format!("this native histogram metric is not a gauge: {name:?}"),
            Self::MixedSchemas(name) => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name:?}"
            ),
            Self::IncompatibleBuckets(operator) => {
                format!("incompatible bucket layout encountered for binary operator {operator}")
            }
            Self::ResetCollision(operation) => {
                format!("conflicting counter resets during histogram {}", operation.word())
            }
            Self::StartTimeOverlap(name) => {
                format!("start timestamp of a sample overlaps the sample before it for metric name {name:?}")
            }
            Self::SortInRange => {
                "sort is ineffective for range queries since results are always ordered by labels".into()
            }
            Self::PossibleNonCounter(name) => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name:?}"
            ),
            Self::IncompatibleTypes { left, operator, right } => format!(
                "incompatible sample types encountered for binary operator {operator:?}: {left} {operator} {right}"
            ),
            Self::HistogramIgnored(aggregation) => format!("ignored histogram in {aggregation} aggregation"),
            Self::HistogramIgnoredInRange(name) => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {name:?}"
            ),
            Self::QuantileNan(name) => {
                format!("input to histogram_quantile has NaN observations, result is NaN{}", of_metric(name))
            }
            Self::QuantileSkewed(name) => format!(
                "input to histogram_quantile has NaN observations, result is skewed higher{}",
                of_metric(name)
            ),
            Self::FractionNan(name) => format!(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions{}",
                of_metric(name)
            ),
            Self::Reconciled(operation) => {
                format!("mismatched custom buckets were reconciled during {}", operation.word())
            }
        }
    }

    /// Equal for notes of the same text.
    fn key(self) -> u64 {
        let mut hasher = FxHasher::default();
        std::mem::discriminant(&self).hash(&mut hasher);
        match self {
            Self::InvalidQuantile(q) => q.to_bits().hash(&mut hasher),
            Self::InvalidRatio(ratio, to) => (ratio.to_bits(), to.to_bits()).hash(&mut hasher),
            Self::BadBucketLabel { le, name } => (le, name).hash(&mut hasher),
            Self::IncompatibleTypes { left, operator, right } => (left, operator, right).hash(&mut hasher),
            Self::ResetCollision(operation) | Self::Reconciled(operation) => operation.hash(&mut hasher),
            Self::IncompatibleBuckets(text) | Self::HistogramIgnored(text) => text.hash(&mut hasher),
            Self::MixedFloatsHistograms(name)
            | Self::MixedClassicNative(name)
            | Self::NotCounter(name)
            | Self::NotGauge(name)
            | Self::MixedSchemas(name)
            | Self::StartTimeOverlap(name)
            | Self::PossibleNonCounter(name)
            | Self::HistogramIgnoredInRange(name)
            | Self::QuantileNan(name)
            | Self::QuantileSkewed(name)
            | Self::FractionNan(name) => name.hash(&mut hasher),
            Self::MixedFloatsHistogramsAggregation | Self::SortInRange => {}
        }
        hasher.finish()
    }
}

/// Buckets of classic histograms that had to be mended, told as one note a metric.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mended {
    /// Bounds of the lowest and highest bucket that held less than one below it.
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
    /// The largest difference.
    pub(crate) difference: f64,
}

struct MendedNote {
    name: String,
    place: Place,
    mended: Mended,
    samples: u64,
    first_ms: i64,
    last_ms: i64,
}

/// All that was noticed.
#[derive(Default)]
pub(crate) struct Notes {
    seen: FxHashMap<u64, ()>,
    warnings: Told,
    infos: Told,
    mended: Vec<MendedNote>,
}

#[derive(Default)]
struct Told {
    texts: Vec<(String, Place)>,
    omitted: usize,
}

impl Notes {
    pub(crate) fn add(&mut self, note: Note<'_>, place: Place) {
        // The same text is told once, with the place where it came up first.
        if self.seen.len() >= MAX_SEEN || self.seen.insert(note.key(), ()).is_some() {
            return;
        }
        let told = if note.is_info() { &mut self.infos } else { &mut self.warnings };
        if told.texts.len() < MAX_TOLD {
            told.texts.push((note.text(), place));
        } else {
            told.omitted += 1;
        }
    }

    pub(crate) fn add_mended(&mut self, name: &str, place: Place, mended: Mended, at_ms: i64) {
        if let Some(note) = self.mended.iter_mut().find(|note| note.name == name) {
            note.mended.lowest = note.mended.lowest.min(mended.lowest);
            note.mended.highest = note.mended.highest.max(mended.highest);
            note.mended.difference = note.mended.difference.max(mended.difference);
            note.samples += 1;
            note.first_ms = note.first_ms.min(at_ms);
            note.last_ms = note.last_ms.max(at_ms);
        } else if self.mended.len() < MAX_TOLD {
            let name = name.to_owned();
            let note = MendedNote { name, place, mended, samples: 1, first_ms: at_ms, last_ms: at_ms };
            self.mended.push(note);
        } else {
            self.infos.omitted += 1;
        }
    }

    /// Warnings and infos as the HTTP API gives them, for a query's text.
    pub(crate) fn tell(self, query: &str) -> (Vec<String>, Vec<String>) {
        let warnings = self.warnings.tell("warning", query);
        let mut infos = self.infos;
        for note in self.mended {
            if infos.texts.len() < MAX_TOLD {
                infos.texts.push((note.text(), note.place));
            } else {
                infos.omitted += 1;
            }
        }
        (warnings, infos.tell("info", query))
    }
}

impl MendedNote {
    fn text(&self) -> String {
        let name = match self.name.as_str() {
            "" => String::new(),
            name => format!(" for metric name {name:?}"),
        };
        format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){name}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            format_g(self.mended.lowest),
            format_g(self.mended.highest),
            two_digits(self.mended.difference),
            self.samples,
            rfc3339(self.first_ms),
            rfc3339(self.last_ms),
        )
    }
}

impl Told {
    fn tell(self, kind: &str, query: &str) -> Vec<String> {
        let mut told: Vec<String> = self
            .texts
            .into_iter()
            .map(|(text, place)| format!("PromQL {kind}: {text} ({})", position(query, place)))
            .collect();
        if self.omitted > 0 {
            told.push(format!("{} more {kind} annotations omitted", self.omitted));
        }
        told
    }
}

/// `line:column` of a place, both from 1, the column in bytes.
fn position(query: &str, place: Place) -> String {
    let before = query.as_bytes().get(..place.start as usize).unwrap_or(query.as_bytes());
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let column = before.len() - before.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1) + 1;
    format!("{line}:{column}")
}

/// Go's `%.2g`.
fn two_digits(value: f64) -> String {
    let rounded: f64 = format!("{value:.1e}").parse().unwrap_or(value);
    let exponent = if rounded == 0.0 { 0 } else { rounded.abs().log10().floor() as i32 };
    if (-4..2).contains(&exponent) {
        crate::format_value(rounded)
    } else {
        crate::stats::exponential(rounded)
    }
}

/// `2006-01-02T15:04:05Z`.
fn rfc3339(at_ms: i64) -> String {
    match crate::dates::Date::from_seconds(at_ms.div_euclid(1_000) as f64) {
        Some(d) => {
            let second = at_ms.div_euclid(1_000).rem_euclid(60);
            format!("{:04}-{:02}-{:02}T{:02}:{:02}:{second:02}Z", d.year, d.month, d.day, d.hour, d.minute)
        }
        None => format!("{at_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_line_and_column() {
        let place = |start| Place { start, end: start };
        for (query, start, expected) in
            [("abc", 0, "1:1"), ("abc", 2, "1:3"), ("a\nbc", 3, "2:2"), ("", 9, "1:1")]
        {
            assert_eq!(position(query, place(start)), expected, "{query:?} {start}");
        }
    }

    #[test]
    fn a_text_is_told_once_and_many_are_counted() {
        let mut notes = Notes::default();
        for i in 0..40 {
            let name = (i % 13).to_string();
            notes.add(Note::NotGauge(&name), Place { start: i, end: i });
        }
        notes.add_mended(
            "m",
            Place::default(),
            Mended { lowest: 2.5, highest: 10.0, difference: 7.5 },
            1_703_462_400_000,
        );
        notes.add_mended(
            "m",
            Place::default(),
            Mended { lowest: 5.0, highest: 100.0, difference: 10.0 },
            1_735_084_800_000,
        );
        let (warnings, infos) = notes.tell("x");
        assert_eq!(warnings.len(), 11);
        assert_eq!(warnings[0], "PromQL warning: this native histogram metric is not a gauge: \"0\" (1:1)");
        assert_eq!(warnings[10], "3 more warning annotations omitted");
        assert_eq!(infos.len(), 1);
        assert!(infos[0].ends_with("for metric name \"m\", from buckets 2.5 to 100, with a max diff of 10, over 2 samples from 2023-12-25T00:00:00Z to 2024-12-25T00:00:00Z (1:1)"), "{}", infos[0]);
    }
}
