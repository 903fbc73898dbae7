//! Aggregations that give one series a group: each input series is folded in as
//! it passes.

use super::over_time::HistogramFold;
use super::{Evaluator, Sink, text_arg_of};
use crate::column::{ABSENT, At, Column, Merge, Steps, histogram_size, present};
use crate::notes::{Note, Operation};
use crate::plan::{Aggregate, Part};
use crate::stats::{Kahan, Mean, quantile};
use crate::{Error, Labels, METRIC_NAME, format_value};
use monitor_lang::ast::{AggregateOp, Place};
use rustc_hash::FxHashMap;
use std::sync::Arc;

impl<'a> Evaluator<'a> {
    pub(super) fn aggregate(
        &mut self,
        part: &Part<'_>,
        aggregate: &Aggregate<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        match aggregate.op {
            AggregateOp::Topk | AggregateOp::Bottomk | AggregateOp::Limitk | AggregateOp::LimitRatio => {
                self.ranked(part, aggregate, steps, sink)
            }
            AggregateOp::CountValues => self.count_values(aggregate, steps, sink),
            AggregateOp::Quantile => self.quantile_of(aggregate, steps, sink),
            _ => self.fold(aggregate, steps, sink),
        }
    }

    /// `sum`, `avg`, `count`, `min`, `max`, `group`, `stddev` and `stdvar`.
    fn fold(&mut self, aggregate: &Aggregate<'_>, steps: Steps, sink: Sink<'_, 'a>) -> Result<(), Error> {
        let op = aggregate.op;
        let place = aggregate.of.place;
        let mut groups = Groups::new(aggregate);
        let mut folds: Vec<Fold> = Vec::new();
        self.each(&aggregate.of, steps, &mut |this, column| {
            let group = groups.of(&column.labels);
            if group == folds.len() {
                this.hold(steps.count * Fold::VALUES)?;
                this.check_series(group + 1)?;
                folds.push(Fold::new(op, steps.count));
            }
            let fold = &mut folds[group];
            fold.drop_name |= column.drop_name;
            fold.add_floats(&column.values);
            if !column.histograms.is_empty() {
                this.fold_histograms(op, fold, column, place)?;
            }
            Ok(())
        })?;
        for (fold, labels) in folds.into_iter().zip(groups.labels) {
            self.check_stop()?;
            let mut column = self.folded(fold, labels, place);
            if column.any() {
                sink(self, &mut column)?;
            }
            self.release(steps.count * Fold::VALUES);
        }
        Ok(())
    }

    fn fold_histograms(
        &mut self,
        op: AggregateOp,
        fold: &mut Fold,
        column: &Column,
        place: Place,
    ) -> Result<(), Error> {
        let ignoring = match op {
            AggregateOp::Min => Some("min"),
            AggregateOp::Max => Some("max"),
            AggregateOp::Stddev => Some("stddev"),
            AggregateOp::Stdvar => Some("stdvar"),
            _ => None,
        };
        for step in 0..column.values.len() {
            let At::Histogram(histogram) = column.at(step) else { continue };
            match op {
                _ if ignoring.is_some() => {
                    self.note(Note::HistogramIgnored(ignoring.unwrap_or_default()), place);
                    return Ok(());
                }
                AggregateOp::Group => fold.values[step] = 1.0,
                AggregateOp::Count => {
                    let counted = fold.values[step];
                    fold.values[step] = if present(counted) { counted + 1.0 } else { 1.0 };
                }
                _ => {
                    if fold.histograms.is_empty() {
                        fold.histograms.resize_with(column.values.len(), || None);
                    }
                    let slot = &mut fold.histograms[step];
                    let name = || column.labels.name().unwrap_or_default();
                    match slot {
                        None => {
                            self.hold(histogram_size(histogram))?;
                            *slot = Some(Box::new(Folded { sum: HistogramFold::new(histogram), fits: true }));
                        }
                        Some(folded) if folded.fits => {
                            let added = match op {
                                AggregateOp::Avg => folded.sum.add_to_mean(histogram),
                                _ => folded.sum.add(histogram),
                            };
                            if added.is_err() {
                                folded.fits = false;
                                self.note(Note::MixedSchemas(name()), place);
                            }
                        }
                        Some(_) => {}
                    }
                }
            }
        }
        Ok(())
    }

    /// A group's series.
    fn folded(&mut self, mut fold: Fold, labels: Labels, place: Place) -> Column {
        let mean = fold.op == AggregateOp::Avg;
        let histograms = std::mem::take(&mut fold.histograms);
        let mut column = Column { labels, drop_name: fold.drop_name, ..Column::default() };
        column.values = fold.finish();
        for (step, folded) in histograms.into_iter().enumerate() {
            let Some(folded) = folded else { continue };
            if present(column.values[step]) {
                self.note(Note::MixedFloatsHistogramsAggregation, place);
                column.values[step] = ABSENT;
                continue;
            }
            if folded.sum.resets_collide() {
                self.note(Note::ResetCollision(Operation::Aggregation), place);
            }
            if folded.sum.reconciled {
                self.note(Note::Reconciled(Operation::Aggregation), place);
            }
            if !folded.fits {
                continue;
            }
            let mut histogram = if mean { folded.sum.mean() } else { folded.sum.sum() };
            histogram.compact();
            column.set_histogram(step, Arc::new(histogram));
        }
        column
    }

    /// `quantile(φ, v)`: all numbers of a group are needed at once.
    fn quantile_of(
        &mut self,
        aggregate: &Aggregate<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let Some(param) = &aggregate.param else { return Err(no_param()) };
        let q = self.scalars(param, steps)?;
        self.note_params(&q, param.place);
        let mut groups = Groups::new(aggregate);
        let mut all: Vec<(bool, Vec<Vec<f64>>)> = Vec::new();
        self.each(&aggregate.of, steps, &mut |this, column| {
            let group = groups.of(&column.labels);
            if group == all.len() {
                this.hold(steps.count * 2)?;
                this.check_series(group + 1)?;
                all.push((false, vec![Vec::new(); steps.count]));
            }
            this.hold(steps.count.div_ceil(2))?;
            let (drop_name, values) = &mut all[group];
            *drop_name |= column.drop_name;
            for (into, value) in values.iter_mut().zip(&column.values) {
                if present(*value) {
                    into.push(*value);
                }
            }
            if column.histograms.iter().any(Option::is_some) {
                this.note(Note::HistogramIgnored("quantile"), aggregate.of.place);
            }
            Ok(())
        })?;
        for ((drop_name, values), labels) in all.into_iter().zip(groups.labels) {
            self.check_stop()?;
            let of = |(mut values, q): (Vec<f64>, &f64)| {
                if values.is_empty() { ABSENT } else { quantile(*q, &mut values) }
            };
            let values = values.into_iter().zip(&q).map(of).collect();
            let mut column = Column { drop_name, ..Column::of_values(labels, values) };
            if column.any() {
                sink(self, &mut column)?;
            }
        }
        Ok(())
    }

    /// Notes a φ outside 0 to 1, once for what is too low and for what is too high.
    fn note_params(&mut self, params: &[f64], place: Place) {
        let lowest = params.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = params.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if params.iter().any(|q| q.is_nan()) {
            self.note(Note::InvalidQuantile(f64::NAN), place);
        }
        if highest > 1.0 {
            self.note(Note::InvalidQuantile(highest), place);
        }
        if lowest < 0.0 {
            self.note(Note::InvalidQuantile(lowest), place);
        }
    }

    /// `count_values("label", v)`: how many series have each value.
    fn count_values(
        &mut self,
        aggregate: &Aggregate<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let label = text_arg_of(aggregate.param.as_ref())?;
        if label.is_empty() {
            return Err(Error::Execution(format!("invalid label name {label:?}")));
        }
        let kept = aggregate.without && aggregate.labels.contains(&label);
        let mut merged = Merge::default();
        self.each(&aggregate.of, steps, &mut |this, column| {
            let group = group_labels(aggregate, &column.labels, Some(label));
            // A series has few values at a time, mostly one for long.
            let mut known: FxHashMap<u64, usize> = FxHashMap::default();
            for step in 0..steps.count {
                let (bits, text) = match column.at(step) {
                    At::None => continue,
                    At::Float(value) => (Some(value.to_bits()), None),
                    At::Histogram(histogram) => (None, Some(histogram.to_string())),
                };
                let place = match bits.and_then(|bits| known.get(&bits)) {
                    Some(place) => *place,
                    None => {
                        let text = text.unwrap_or_else(|| format_value(column.values[step]));
                        let labels = if kept { group.clone() } else { group.with(label, &text) };
                        let (place, new) = merged.column(labels, column.drop_name, steps.count);
                        if new {
                            this.hold(steps.count)?;
                            this.hold_label(text.len())?;
                            this.check_series(place + 1)?;
                        }
                        if let Some(bits) = bits {
                            known.insert(bits, place);
                        }
                        place
                    }
                };
                let count = &mut merged.columns[place].values[step];
                *count = if present(*count) { *count + 1.0 } else { 1.0 };
            }
            Ok(())
        })?;
        self.pass_merged(merged, sink)
    }
}

pub(super) fn no_param() -> Error {
    Error::Execution("the aggregation wants a parameter".into())
}

/// Which group each series belongs to.
pub(super) struct Groups<'g> {
    aggregate: &'g Aggregate<'g>,
    places: FxHashMap<String, usize>,
    key: String,
    /// Of each group.
    pub(super) labels: Vec<Labels>,
}

impl<'g> Groups<'g> {
    pub(super) fn new(aggregate: &'g Aggregate<'g>) -> Self {
        Self { aggregate, places: FxHashMap::default(), key: String::new(), labels: Vec::new() }
    }

    /// The group of a label set; a new one is the next number.
    pub(super) fn of(&mut self, labels: &Labels) -> usize {
        let aggregate = self.aggregate;
        if !aggregate.without && aggregate.labels.is_empty() {
            if self.labels.is_empty() {
                self.labels.push(Labels::empty());
            }
            return 0;
        }
        self.key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| stays(aggregate, name)) {
            for text in [name, value] {
                self.key.push_str(text);
                self.key.push('\u{0}');
            }
        }
        if let Some(place) = self.places.get(self.key.as_str()) {
            return *place;
        }
        let place = self.labels.len();
        self.places.insert(self.key.clone(), place);
        self.labels.push(group_labels(aggregate, labels, None));
        place
    }
}

fn stays(aggregate: &Aggregate<'_>, name: &str) -> bool {
    let named = aggregate.labels.binary_search(&name).is_ok();
    if aggregate.without { !named && name != METRIC_NAME } else { named }
}

/// The labels of a series' group; one label may be taken out.
fn group_labels(aggregate: &Aggregate<'_>, labels: &Labels, out: Option<&str>) -> Labels {
    labels.without(|name| !stays(aggregate, name) || Some(name) == out)
}

/// What was folded of a group, at each step.
struct Fold {
    op: AggregateOp,
    drop_name: bool,
    /// The result so far, or the sum; [`ABSENT`] where there was no number.
    values: Vec<f64>,
    /// What rounding lost of the sum, or the mean.
    second: Vec<f64>,
    counts: Vec<f64>,
    means: Vec<Mean>,
    histograms: Vec<Option<Box<Folded>>>,
}

struct Folded {
    sum: HistogramFold,
    fits: bool,
}

impl Fold {
    /// Values of sixteen bytes that a step takes, at most.
    const VALUES: usize = 3;

    fn new(op: AggregateOp, steps: usize) -> Self {
        let of = |wanted: bool| if wanted { vec![0.0; steps] } else { Vec::new() };
        let deviates = matches!(op, AggregateOp::Stddev | AggregateOp::Stdvar);
        let means = if op == AggregateOp::Avg { vec![Mean::default(); steps] } else { Vec::new() };
        Self {
            op,
            drop_name: false,
            values: vec![ABSENT; steps],
            second: of(deviates || op == AggregateOp::Sum),
            counts: of(deviates),
            means,
            histograms: Vec::new(),
        }
    }

    fn add_floats(&mut self, values: &[f64]) {
        let present = values.iter().enumerate().filter(|(_, v)| present(**v));
        match self.op {
            AggregateOp::Sum => {
                for ((sum, lost), value) in self.values.iter_mut().zip(&mut self.second).zip(values) {
                    if !crate::column::present(*value) {
                        continue;
                    }
                    if !crate::column::present(*sum) {
                        *sum = *value;
                        continue;
                    }
                    let mut kahan = Kahan { sum: *sum, lost: *lost };
                    kahan.add(*value);
                    (*sum, *lost) = (kahan.sum, kahan.lost);
                }
            }
            AggregateOp::Avg => present.for_each(|(step, value)| {
                self.values[step] = 0.0;
                self.means[step].add(*value);
            }),
            AggregateOp::Count => present.for_each(|(step, _)| {
                let count = &mut self.values[step];
                *count = if crate::column::present(*count) { *count + 1.0 } else { 1.0 };
            }),
            AggregateOp::Group => present.for_each(|(step, _)| self.values[step] = 1.0),
            AggregateOp::Min => present.for_each(|(step, value)| {
                let min = &mut self.values[step];
                if *min > *value || min.is_nan() {
                    *min = *value;
                }
            }),
            AggregateOp::Max => present.for_each(|(step, value)| {
                let max = &mut self.values[step];
                if *max < *value || max.is_nan() {
                    *max = *value;
                }
            }),
            _ => present.for_each(|(step, value)| self.deviate(step, *value)),
        }
    }

    /// Welford's variance: squares in `values`, the mean in `second`.
    fn deviate(&mut self, step: usize, value: f64) {
        self.counts[step] += 1.0;
        if !present(self.values[step]) {
            self.values[step] = if value.is_finite() { 0.0 } else { f64::NAN };
            self.second[step] = value;
            return;
        }
        let delta = value - self.second[step];
        self.second[step] += delta / self.counts[step];
        self.values[step] += delta * (value - self.second[step]);
    }

    fn finish(mut self) -> Vec<f64> {
        let steps = self.values.iter_mut().enumerate().filter(|(_, v)| present(**v));
        match self.op {
            AggregateOp::Sum => steps.for_each(|(step, sum)| *sum += self.second[step]),
            AggregateOp::Avg => steps.for_each(|(step, mean)| *mean = self.means[step].value()),
            AggregateOp::Stdvar => steps.for_each(|(step, squares)| *squares /= self.counts[step]),
            AggregateOp::Stddev => {
                steps.for_each(|(step, squares)| *squares = (*squares / self.counts[step]).sqrt());
            }
            _ => {}
        }
        self.values
    }
}
