//! What a part of a query gives: series with a sample for each step.

use crate::{Error, Histogram, Labels, STALE, is_stale};
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// The times at which a part is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) count: usize,
}

impl Steps {
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let count = if end_ms < start_ms { 0 } else { (end_ms - start_ms) / step_ms + 1 };
        Self { start_ms, end_ms, step_ms, count: count as usize }
    }

    pub(crate) fn at(&self, index: usize) -> i64 {
        self.start_ms + self.step_ms * index as i64
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let steps = *self;
        (0..steps.count).map(move |i| steps.at(i))
    }

    pub(crate) fn first_only(&self) -> Self {
        Self { end_ms: self.start_ms, count: self.count.min(1), ..*self }
    }
}

/// Stands for "no number at this step". No selector gives the staleness marker as
/// a value and no calculation makes it, so it is free for this.
pub(crate) const ABSENT: f64 = STALE;

pub(crate) fn present(value: f64) -> bool {
    !is_stale(value)
}

/// A series with its sample at each step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(crate) labels: Labels,
    /// The metric's name no longer fits the values and goes at the end.
    pub(crate) drop_name: bool,
    /// The number at each step; [`ABSENT`] where there is none.
    pub(crate) values: Vec<f64>,
    /// The histogram at each step, where there is one; empty where there is none
    /// at any. A step has a number or a histogram, never both.
    pub(crate) histograms: Vec<Option<Arc<Histogram>>>,
}

/// A sample of a column.
#[derive(Clone, Copy, Debug)]
pub(crate) enum At<'c> {
    None,
    Float(f64),
    Histogram(&'c Arc<Histogram>),
}

/// What a function makes of a window or a sample.
#[derive(Clone, Debug)]
pub(crate) enum Made {
    Float(f64),
    Histogram(Histogram),
}

impl Column {
    pub(crate) fn of_values(labels: Labels, values: Vec<f64>) -> Self {
        Self { labels, drop_name: false, values, histograms: Vec::new() }
    }

    /// Room for another series: no sample at any step.
    pub(crate) fn reset(&mut self, labels: Labels, drop_name: bool, steps: usize) {
        self.labels = labels;
        self.drop_name = drop_name;
        self.values.clear();
        self.values.resize(steps, ABSENT);
        self.histograms.clear();
    }

    pub(crate) fn at(&self, step: usize) -> At<'_> {
        let value = self.values[step];
        if present(value) {
            return At::Float(value);
        }
        match self.histograms.get(step) {
            Some(Some(histogram)) => At::Histogram(histogram),
            _ => At::None,
        }
    }

    pub(crate) fn has(&self, step: usize) -> bool {
        present(self.values[step]) || matches!(self.histograms.get(step), Some(Some(_)))
    }

    pub(crate) fn set_histogram(&mut self, step: usize, histogram: Arc<Histogram>) {
        if self.histograms.is_empty() {
            self.histograms.resize(self.values.len(), None);
        }
        self.histograms[step] = Some(histogram);
    }

    pub(crate) fn set(&mut self, step: usize, made: Made) {
        match made {
            Made::Float(value) => self.values[step] = value,
            Made::Histogram(histogram) => self.set_histogram(step, Arc::new(histogram)),
        }
    }

    pub(crate) fn copy_step(&mut self, step: usize, at: At<'_>) {
        match at {
            At::None => {}
            At::Float(value) => self.values[step] = value,
            At::Histogram(histogram) => self.set_histogram(step, histogram.clone()),
        }
    }

    /// No sample at this step.
    pub(crate) fn clear_step(&mut self, step: usize) {
        self.values[step] = ABSENT;
        if let Some(slot) = self.histograms.get_mut(step) {
            *slot = None;
        }
    }

    /// Only numbers remain.
    pub(crate) fn floats_only(&mut self) {
        self.histograms.clear();
    }

    /// Whether there is a sample at any step.
    pub(crate) fn any(&self) -> bool {
        self.values.iter().copied().any(present) || self.histograms.iter().any(Option::is_some)
    }

    /// What it takes, in values of sixteen bytes.
    pub(crate) fn size(&self) -> usize {
        self.values.len() + self.histograms.iter().flatten().map(|h| histogram_size(h)).sum::<usize>()
    }

    /// The sample of the one step for each of `steps`.
    pub(crate) fn repeat(&mut self, steps: usize) {
        let value = self.values.first().copied().unwrap_or(ABSENT);
        self.values.clear();
        self.values.resize(steps, value);
        if let Some(histogram) = self.histograms.first().cloned() {
            self.histograms.clear();
            self.histograms.resize(steps, histogram);
        }
    }
}

/// What a histogram takes, in values of sixteen bytes.
pub(crate) fn histogram_size(histogram: &Histogram) -> usize {
    let buckets = histogram.positive.counts.len() + histogram.negative.counts.len();
    let spans = histogram.positive.spans.len() + histogram.negative.spans.len();
    // Eight bytes a bucket and a span; the rest of it is about ten values.
    10 + (buckets + spans) / 2
}

pub(crate) const SAME_LABELS: &str = "vector cannot contain metrics with the same labelset";

/// Joins columns of the same labels; two samples at one step are an error.
pub(crate) fn merge_same_labels(columns: Vec<Column>) -> Result<Vec<Column>, Error> {
    let mut merged = Merge::default();
    for column in columns {
        merged.add(column)?;
    }
    Ok(merged.columns)
}

/// Columns, each label set once, in the order in which they came; one whose name
/// goes at the end is another than one whose name stays.
#[derive(Default)]
pub(crate) struct Merge {
    places: FxHashMap<(Labels, bool), usize>,
    pub(crate) columns: Vec<Column>,
}

impl Merge {
    pub(crate) fn add(&mut self, column: Column) -> Result<(), Error> {
        let key = (column.labels.clone(), column.drop_name);
        let place = *self.places.entry(key).or_insert(self.columns.len());
        let Some(into) = self.columns.get_mut(place) else {
            self.columns.push(column);
            return Ok(());
        };
        for step in 0..into.values.len() {
            let at = column.at(step);
            if matches!(at, At::None) {
                continue;
            }
            if into.has(step) {
                return Err(Error::Execution(SAME_LABELS.into()));
            }
            into.copy_step(step, at);
        }
        Ok(())
    }

    /// The column of these labels, made where it is missing.
    pub(crate) fn column(&mut self, labels: Labels, drop_name: bool, steps: usize) -> (usize, bool) {
        let key = (labels, drop_name);
        if let Some(place) = self.places.get(&key) {
            return (*place, false);
        }
        let mut column = Column::default();
        column.reset(key.0.clone(), drop_name, steps);
        self.columns.push(column);
        self.places.insert(key, self.columns.len() - 1);
        (self.columns.len() - 1, true)
    }
}
