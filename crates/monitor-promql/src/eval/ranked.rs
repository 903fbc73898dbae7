//! Aggregations that choose series: `topk`, `bottomk`, `limitk`, `limit_ratio`.

use super::aggregate::{Groups, no_param};
use super::{Evaluator, Sink};
use crate::column::{At, Column, Steps};
use crate::notes::Note;
use crate::plan::{Aggregate, Part};
use crate::stats::format_g;
use crate::{Error, Histogram, Labels};
use monitor_lang::ast::AggregateOp;
use std::sync::Arc;
use twox_hash::XxHash64;

/// A sample that was chosen.
#[derive(Clone)]
struct Chosen {
    value: f64,
    histogram: Option<Arc<Histogram>>,
    /// Its place among the series that were chosen at some step.
    series: usize,
}

impl<'a> Evaluator<'a> {
    pub(super) fn ranked(
        &mut self,
        part: &Part<'_>,
        aggregate: &Aggregate<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let Some(param) = &aggregate.param else { return Err(no_param()) };
        let params = self.scalars(param, steps)?;
        let highest = params.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let lowest = params.iter().copied().fold(f64::INFINITY, f64::min);
        let ratio = aggregate.op == AggregateOp::LimitRatio;
        if params.iter().any(|p| p.is_nan()) {
            let what = if ratio { "Ratio value is NaN" } else { "Parameter value is NaN" };
            return Err(Error::Execution(what.into()));
        }
        if ratio {
            if highest > 1.0 {
                self.note(Note::InvalidRatio(highest, 1.0), param.place);
            }
            if lowest < -1.0 {
                self.note(Note::InvalidRatio(lowest, -1.0), param.place);
            }
        } else if highest >= 1.0 {
            if lowest <= i64::MIN as f64 {
                let lowest = format_g(lowest);
                return Err(Error::Execution(format!("Scalar value {lowest} underflows int64")));
            }
            if highest >= i64::MAX as f64 {
                let highest = format_g(highest);
                return Err(Error::Execution(format!("Scalar value {highest} overflows int64")));
            }
        }
        if highest < 1.0 && !ratio || highest == 0.0 && lowest == 0.0 {
            // Nothing is chosen; what there is to note is noted all the same.
            return self.each(&aggregate.of, steps, &mut |_, _| Ok(()));
        }
        let mut choice = Choice {
            op: aggregate.op,
            params,
            groups: Groups::new(aggregate),
            heaps: Vec::new(),
            series: Vec::new(),
        };
        self.each(&aggregate.of, steps, &mut |this, column| {
            if matches!(aggregate.op, AggregateOp::Topk | AggregateOp::Bottomk)
                && column.histograms.iter().any(Option::is_some)
            {
                let op = if aggregate.op == AggregateOp::Topk { "topk" } else { "bottomk" };
                this.note(Note::HistogramIgnored(op), part.place);
            }
            let held = choice.add(column, steps);
            this.hold(held)?;
            this.check_series(choice.series.len())
        })?;
        let columns = choice.columns(steps);
        for mut column in columns {
            sink(self, &mut column)?;
        }
        Ok(())
    }
}

struct Choice<'g> {
    op: AggregateOp,
    params: Vec<f64>,
    groups: Groups<'g>,
    /// Of each group, what is chosen at each step.
    heaps: Vec<Vec<Vec<Chosen>>>,
    /// The series that were chosen at some step.
    series: Vec<(Labels, bool)>,
}

impl Choice<'_> {
    /// Looks at a series; gives how many values more are kept.
    fn add(&mut self, column: &mut Column, steps: Steps) -> usize {
        let group = self.groups.of(&column.labels);
        let mut held = 0;
        if group == self.heaps.len() {
            self.heaps.push(vec![Vec::new(); steps.count]);
            held += 2 * steps.count;
        }
        let ranked = matches!(self.op, AggregateOp::Topk | AggregateOp::Bottomk);
        let descending = self.op == AggregateOp::Topk;
        let offset = if self.op == AggregateOp::LimitRatio { hash_offset(&column.labels) } else { 0.0 };
        let mut number = None;
        for step in 0..steps.count {
            let (value, histogram) = match column.at(step) {
                At::None => continue,
                At::Float(value) => (value, None),
                At::Histogram(_) if ranked => continue,
                At::Histogram(histogram) => (0.0, Some(histogram.clone())),
            };
            let heap = &mut self.heaps[group][step];
            let param = self.params[step];
            let room = match self.op {
                // Cut towards zero, as Go converts.
                AggregateOp::LimitRatio => in_ratio(param.clamp(-1.0, 1.0), offset),
                _ if param < 1.0 => continue,
                _ => (heap.len() as f64) < param.trunc(),
            };
            let better = ranked
                && !room
                && heap.first().is_some_and(|worst| {
                    let (old, new) = (worst.value, value);
                    old.is_nan() && !new.is_nan() || if descending { old < new } else { old > new }
                });
            if !room && !better {
                continue;
            }
            let series = *number.get_or_insert_with(|| {
                self.series.push((column.labels.clone(), column.drop_name));
                self.series.len() - 1
            });
            let chosen = Chosen { value, histogram, series };
            if better {
                heap[0] = chosen;
                sift_down(heap, descending);
            } else {
                held += 2;
                heap.push(chosen);
                if ranked {
                    sift_up(heap, descending);
                }
            }
        }
        held
    }

    /// The chosen series; at a single step in their order.
    fn columns(mut self, steps: Steps) -> Vec<Column> {
        let descending = self.op == AggregateOp::Topk;
        let ranked = matches!(self.op, AggregateOp::Topk | AggregateOp::Bottomk);
        let mut columns: Vec<Option<Column>> = vec![None; self.series.len()];
        let mut order = Vec::new();
        for heaps in &mut self.heaps {
            for (step, heap) in heaps.iter_mut().enumerate() {
                if ranked {
                    heap.sort_by(|a, b| {
                        // NaN comes last either way.
                        match (a.value.is_nan(), b.value.is_nan()) {
                            (false, false) if descending => b.value.total_cmp(&a.value),
                            (false, false) => a.value.total_cmp(&b.value),
                            (a, b) => a.cmp(&b),
                        }
                    });
                }
                for chosen in heap.drain(..) {
                    let (labels, drop_name) = &self.series[chosen.series];
                    let column = columns[chosen.series].get_or_insert_with(|| {
                        order.push(chosen.series);
                        let mut column = Column::default();
                        column.reset(labels.clone(), *drop_name, steps.count);
                        column
                    });
                    match chosen.histogram {
                        Some(histogram) => column.set_histogram(step, histogram),
                        None => column.values[step] = chosen.value,
                    }
                }
            }
        }
        if steps.count > 1 {
            // In the order in which they came: by labels.
            return columns.into_iter().flatten().collect();
        }
        order.into_iter().filter_map(|series| columns[series].take()).collect()
    }
}

/// Whether one sample is to leave a heap before another; NaN first.
fn leaves_first(a: f64, b: f64, descending: bool) -> bool {
    a.is_nan() || if descending { a < b } else { a > b }
}

fn sift_up(heap: &mut [Chosen], descending: bool) {
    let mut at = heap.len() - 1;
    while at > 0 {
        let parent = (at - 1) / 2;
        if !leaves_first(heap[at].value, heap[parent].value, descending) {
            break;
        }
        heap.swap(at, parent);
        at = parent;
    }
}

fn sift_down(heap: &mut [Chosen], descending: bool) {
    let mut at = 0;
    loop {
        let mut child = 2 * at + 1;
        if child >= heap.len() {
            break;
        }
        if child + 1 < heap.len() && leaves_first(heap[child + 1].value, heap[child].value, descending) {
            child += 1;
        }
        if !leaves_first(heap[child].value, heap[at].value, descending) {
            break;
        }
        heap.swap(at, child);
        at = child;
    }
}

/// Where between 0 and 1 a label set lies: its hash by the largest one
/// (Prometheus' `HashRatioSampler`). Prometheus 3 hashes, with XXH64, each name
/// and value with its length before it: one byte, or 255 and three bytes, the
/// lowest first (`model/labels/labels_stringlabels.go`).
fn hash_offset(labels: &Labels) -> f64 {
    let mut bytes = Vec::with_capacity(labels.bytes() + 16);
    for text in labels.iter().flat_map(|(name, value)| [name, value]) {
        let length = text.len();
        if length < 255 {
            bytes.push(length as u8);
        } else {
            bytes.extend([255, length as u8, (length >> 8) as u8, (length >> 16) as u8]);
        }
        bytes.extend_from_slice(text.as_bytes());
    }
    XxHash64::oneshot(0, &bytes) as f64 / u64::MAX as f64
}

/// A positive ratio takes what lies below it, a negative one the rest.
fn in_ratio(ratio: f64, offset: f64) -> bool {
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_and_its_complement_share_all() {
        for i in 0..100 {
            let offset = hash_offset(&Labels::from_pairs([("n", i.to_string())]));
            assert!((0.0..=1.0).contains(&offset));
            for ratio in [0.1, 0.5, 0.9] {
                assert_ne!(in_ratio(ratio, offset), in_ratio(ratio - 1.0, offset), "{ratio} {offset}");
            }
        }
    }
}
