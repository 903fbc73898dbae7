//! Samples of one series on their way between head, blocks and queries.

use monitor_model::{Histogram, HistogramPoint, Point, SeriesData, is_stale};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Samples of a series, each list ascending by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    pub(crate) times: Vec<i64>,
    pub(crate) values: Vec<f64>,
    /// As many as times, or none: all are 0.
    pub(crate) starts: Vec<i64>,
    pub(crate) histogram_times: Vec<i64>,
    pub(crate) histograms: Vec<Arc<Histogram>>,
    /// As many as histograms, or none.
    pub(crate) histogram_starts: Vec<i64>,
    /// How many samples went because another one was acknowledged first for their
    /// time, and said something else.
    pub(crate) conflicts: u64,
}

impl Samples {
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.values.clear();
        self.starts.clear();
        self.histogram_times.clear();
        self.histograms.clear();
        self.histogram_starts.clear();
        self.conflicts = 0;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.times.is_empty() && self.histograms.is_empty()
    }

    /// The oldest and newest time.
    pub(crate) fn range_ms(&self) -> Option<(i64, i64)> {
        let first = self.times.first().into_iter().chain(self.histogram_times.first()).min()?;
        let last = self.times.last().into_iter().chain(self.histogram_times.last()).max()?;
        Some((*first, *last))
    }

    pub(crate) fn len(&self) -> usize {
        self.times.len() + self.histograms.len()
    }

    /// Sets starts for the values from one place on.
    pub(crate) fn set_starts(&mut self, from: usize, start_ms: i64) {
        if start_ms != 0 || !self.starts.is_empty() {
            self.starts.resize(from, 0);
            self.starts.resize(self.times.len(), start_ms);
        }
    }

    /// Takes out what lies between two times, of the values and histograms from
    /// some places on.
    pub(crate) fn remove(&mut self, from: usize, from_histogram: usize, start_ms: i64, end_ms: i64) {
        let keep = |times: &[i64], from: usize| -> Vec<bool> {
            let gone = |(i, at_ms): (usize, &i64)| i >= from && (start_ms..=end_ms).contains(at_ms);
            times.iter().enumerate().map(|at| !gone(at)).collect()
        };
        let kept = keep(&self.times, from);
        filter(&mut self.times, &kept);
        filter(&mut self.values, &kept);
        filter(&mut self.starts, &kept);
        let kept = keep(&self.histogram_times, from_histogram);
        filter(&mut self.histogram_times, &kept);
        filter(&mut self.histograms, &kept);
        filter(&mut self.histogram_starts, &kept);
    }

    /// Of a time that a histogram had before, a number that came later goes, and
    /// the other way round: `from` and `from_histogram` are where later ones begin.
    pub(crate) fn drop_clashes(&mut self, from: usize, from_histogram: usize) {
        if self.times.is_empty() || self.histograms.is_empty() {
            return;
        }
        let clashes = |times: &[i64], from: usize, others: &[i64]| -> Vec<bool> {
            let others: BTreeSet<i64> = others.iter().copied().collect();
            times.iter().enumerate().map(|(i, at_ms)| i < from || !others.contains(at_ms)).collect()
        };
        let kept = clashes(&self.times, from, &self.histogram_times[..from_histogram]);
        let kept_histograms = clashes(&self.histogram_times, from_histogram, &self.times[..from]);
        self.conflicts += kept.iter().chain(&kept_histograms).filter(|kept| !**kept).count() as u64;
        filter(&mut self.times, &kept);
        filter(&mut self.values, &kept);
        filter(&mut self.starts, &kept);
        filter(&mut self.histogram_times, &kept_histograms);
        filter(&mut self.histograms, &kept_histograms);
        filter(&mut self.histogram_starts, &kept_histograms);
    }

    /// Takes what another has between two times, both inclusive.
    pub(crate) fn copy_part(&mut self, from: &Self, start_ms: i64, end_ms: i64) {
        let part = within(&from.times, start_ms, end_ms);
        let had = self.times.len();
        self.times.extend_from_slice(&from.times[part.clone()]);
        self.values.extend_from_slice(&from.values[part.clone()]);
        append_starts(&mut self.starts, had, &from.starts, part);
        let part = within(&from.histogram_times, start_ms, end_ms);
        let had = self.histogram_times.len();
        self.histogram_times.extend_from_slice(&from.histogram_times[part.clone()]);
        self.histograms.extend_from_slice(&from.histograms[part.clone()]);
        append_starts(&mut self.histogram_starts, had, &from.histogram_starts, part);
    }

    /// Appends what is here between two times to a series for a query.
    pub(crate) fn append_to(&self, into: &mut SeriesData, start_ms: i64, end_ms: i64) {
        let part = within(&self.times, start_ms, end_ms);
        let had = into.points.len();
        let points = self.times[part.clone()].iter().zip(&self.values[part.clone()]);
        into.points.extend(points.map(|(at_ms, value)| Point { at_ms: *at_ms, value: *value }));
        append_starts(&mut into.starts, had, &self.starts, part);
        let part = within(&self.histogram_times, start_ms, end_ms);
        let had = into.histograms.len();
        let pairs = self.histogram_times[part.clone()].iter().zip(&self.histograms[part.clone()]);
        let points = pairs.map(|(at_ms, value)| HistogramPoint { at_ms: *at_ms, value: value.clone() });
        into.histograms.extend(points);
        append_starts(&mut into.histogram_starts, had, &self.histogram_starts, part);
    }
}

/// Appends a part of `from` (or as many zeros) to a list that stands for `had` samples.
pub(crate) fn append_starts(into: &mut Vec<i64>, had: usize, from: &[i64], part: std::ops::Range<usize>) {
    if from.is_empty() && into.is_empty() {
        return;
    }
    let count = part.len();
    into.resize(had, 0);
    match from.get(part) {
        Some(starts) if !from.is_empty() => into.extend_from_slice(starts),
        _ => into.resize(had + count, 0),
    }
}

/// Keeps the places that are to be kept; an empty list stays one.
pub(crate) fn filter<T>(list: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    list.retain(|_| kept.next().copied().unwrap_or(true));
}

/// The places of ascending times that lie between two times, both inclusive.
pub(crate) fn within(times: &[i64], start_ms: i64, end_ms: i64) -> std::ops::Range<usize> {
    let from = match times.first() {
        Some(first) if *first >= start_ms => 0,
        _ => times.partition_point(|t| *t < start_ms),
    };
    let to = match times.last() {
        Some(last) if *last <= end_ms => times.len(),
        _ => times.partition_point(|t| *t <= end_ms),
    };
    from..to.max(from)
}

/// Of lists of a series that may overlap, one after another in the order in
/// which they were acknowledged, makes one ascending list: of the same time the
/// first counts.
pub(crate) fn settle(samples: &mut Samples) {
    let ascending = |times: &[i64]| times.windows(2).all(|pair| pair[0] < pair[1]);
    let shared = !samples.times.is_empty() && !samples.histograms.is_empty();
    if ascending(&samples.times) && ascending(&samples.histogram_times) && !shared {
        return;
    }
    // Clashes of raw samples were settled before; of rollups a time that both
    // have is the number's.
    let Samples { values, histograms, conflicts, .. } = samples;
    let order = order_of(&samples.times, |first, later| {
        *conflicts += u64::from(values[first].to_bits() != values[later].to_bits());
    });
    reorder(&mut samples.times, &order);
    reorder(&mut samples.values, &order);
    reorder(&mut samples.starts, &order);
    let mut order = order_of(&samples.histogram_times, |first, later| {
        let same = is_stale(histograms[first].sum) && is_stale(histograms[later].sum);
        *conflicts += u64::from(!same && histograms[first] != histograms[later]);
    });
    order.retain(|i| samples.times.binary_search(&samples.histogram_times[*i]).is_err());
    reorder(&mut samples.histogram_times, &order);
    reorder(&mut samples.histograms, &order);
    reorder(&mut samples.histogram_starts, &order);
}

/// The places that make a list ascending, the first of equal ones alone; tells
/// which goes because of which.
fn order_of(times: &[i64], mut goes: impl FnMut(usize, usize)) -> Vec<usize> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by_key(|i| times[*i]);
    order.dedup_by(|later, first| {
        let equal = times[*later] == times[*first];
        if equal {
            goes(*first, *later);
        }
        equal
    });
    order
}

fn reorder<T: Clone>(list: &mut Vec<T>, order: &[usize]) {
    if !list.is_empty() {
        *list = order.iter().map(|i| list[*i].clone()).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_equal_times_counts() {
        let mut samples = Samples {
            times: vec![10, 30, 20, 30, 5],
            values: vec![1.0, 2.0, 3.0, 9.0, 4.0],
            starts: vec![1, 2, 3, 9, 4],
            histogram_times: vec![7, 20],
            histograms: vec![Arc::default(), Arc::default()],
            histogram_starts: vec![],
            conflicts: 0,
        };
        settle(&mut samples);
        assert_eq!(samples.times, [5, 10, 20, 30]);
        assert_eq!(samples.values, [4.0, 1.0, 3.0, 2.0]);
        assert_eq!(samples.starts, [4, 1, 3, 2]);
        assert_eq!(samples.histogram_times, [7]);
        assert_eq!(samples.conflicts, 1);
    }

    #[test]
    fn parts_are_inclusive() {
        let times = [10, 20, 30];
        for (start, end, expected) in
            [(0, 99, 0..3), (10, 30, 0..3), (11, 29, 1..2), (31, 99, 3..3), (25, 15, 2..2)]
        {
            assert_eq!(within(&times, start, end), expected);
        }
        let mut starts = Vec::new();
        append_starts(&mut starts, 0, &[], 0..2);
        assert!(starts.is_empty());
        append_starts(&mut starts, 2, &[7, 8, 9], 1..3);
        append_starts(&mut starts, 4, &[], 0..1);
        assert_eq!(starts, [0, 0, 8, 9, 0]);
    }
}
