//! `anchored` and `smoothed`: rates between the range's exact edges.

use super::Evaluator;
use super::rate::Kind;
use super::window::Window;
use crate::column::Made;
use crate::notes::{Note, Operation};
use crate::{Histogram, HistogramPoint, Point};
use monitor_lang::ast::Place;
use monitor_model::CounterReset;

impl Evaluator<'_> {
    /// `rate`, `increase` and `delta` of an anchored or smoothed range: the
    /// difference of the values at its edges (Prometheus' `extendedRate`).
    pub(super) fn extended(&mut self, window: &Window<'_>, kind: Kind) -> Option<Made> {
        match (window.floats, window.histograms) {
            ([], []) => None,
            (floats, []) => extended_floats(floats, window, kind).map(Made::Float),
            ([], histograms) => self.extended_histograms(histograms, window, kind).map(Made::Histogram),
            _ => {
                self.note(Note::MixedFloatsHistograms(window.name), window.place);
                None
            }
        }
    }

    fn extended_histograms(
        &mut self,
        points: &[HistogramPoint],
        window: &Window<'_>,
        kind: Kind,
    ) -> Option<Histogram> {
        let (first, last) = edges(points, window, |p| p.at_ms)?;
        let gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
        let custom = points[first].value.has_custom_buckets();
        for point in &points[first..=last] {
            if point.value.has_custom_buckets() != custom {
                self.note(Note::MixedSchemas(window.name), window.place);
                return None;
            }
            if kind.counter && gauge(&point.value) {
                self.note(Note::NotCounter(window.name), window.place);
            }
        }
        let spans_start = window.smoothed && points[first].at_ms < window.start_ms;
        let left = if spans_start {
            let (before, after) = (&points[first], &points[first + 1]);
            self.interpolate_histograms(before, after, window.start_ms, kind.counter, window.place)
        } else {
            Some(points[first].value.as_ref().clone())
        };
        let right = if window.smoothed && last > 0 && points[last].at_ms > window.end_ms {
            let (before, after) = (&points[last - 1], &points[last]);
            self.interpolate_histograms(before, after, window.end_ms, kind.counter, window.place)
        } else {
            Some(points[last].value.as_ref().clone())
        };
        let (Some(left), Some(right)) = (left, right) else {
            self.note(Note::MixedSchemas(window.name), window.place);
            return None;
        };
        if !(kind.counter || gauge(&left) && gauge(&right)) {
            self.note(Note::NotGauge(window.name), window.place);
        }
        let mut result = right.clone();
        if !self.sub_noted(&mut result, &left, window) {
            return None;
        }
        if kind.counter && !self.add_resets(&mut result, points, (first, last), (&left, &right), window) {
            return None;
        }
        if kind.per_second {
            result.div(window.seconds());
        }
        result.reset = CounterReset::Gauge;
        result.compact();
        Some(result)
    }

    /// Adds what was counted before each reset between two edges; whether all fit.
    fn add_resets(
        &mut self,
        result: &mut Histogram,
        points: &[HistogramPoint],
        (first, last): (usize, usize),
        (left, right): (&Histogram, &Histogram),
        window: &Window<'_>,
    ) -> bool {
        let mut from = first + 1;
        let mut before = left;
        let spans_start = window.smoothed && points[first].at_ms < window.start_ms;
        if spans_start && points[first + 1].value.detect_reset(&points[first].value) {
            // The left edge accounts for this reset already; the sample after it
            // is what the next one is compared with.
            before = &points[first + 1].value;
            from += 1;
        }
        // The right edge stands for the last sample, and has its hint.
        if from > last {
            return true;
        }
        let inner: Vec<&Histogram> = points[from..last].iter().map(|p| p.value.as_ref()).collect();
        for here in inner.into_iter().chain([right]) {
            if here.detect_reset(before) && !self.add_noted(result, before, window) {
                return false;
            }
            before = here;
        }
        true
    }

    /// The histogram at a time between two samples; after a reset it grew from
    /// nothing. `None` where the two do not fit each other.
    pub(super) fn interpolate_histograms(
        &mut self,
        before: &HistogramPoint,
        after: &HistogramPoint,
        at_ms: i64,
        counter: bool,
        place: Place,
    ) -> Option<Histogram> {
        if at_ms == before.at_ms {
            return Some(before.value.as_ref().clone());
        }
        let mut result = after.value.as_ref().clone();
        if at_ms == after.at_ms {
            return Some(result);
        }
        let part = (at_ms - before.at_ms) as f64 / (after.at_ms - before.at_ms) as f64;
        if counter && after.value.detect_reset(&before.value) {
            result.mul(part);
            return Some(result);
        }
        if result.sub(&before.value).ok()?.bounds_reconciled {
            self.note(Note::Reconciled(Operation::Subtraction), place);
        }
        result.mul(part);
        if result.add(&before.value).ok()?.bounds_reconciled {
            self.note(Note::Reconciled(Operation::Addition), place);
        }
        Some(result)
    }
}

/// The samples that stand at, or around, a range's edges; `None` without a sample
/// in or after the range that matters.
fn edges<T>(points: &[T], window: &Window<'_>, at_ms: impl Fn(&T) -> i64) -> Option<(usize, usize)> {
    let end = points.len() - 1;
    let after_start = points[..end].partition_point(|p| at_ms(p) <= window.start_ms);
    let first = after_start.saturating_sub(1);
    let last =
        if window.smoothed { points[..end].partition_point(|p| at_ms(p) < window.end_ms) } else { end };
    if at_ms(&points[last]) <= window.start_ms {
        return None;
    }
    if window.smoothed && at_ms(&points[first]) > window.end_ms {
        return None;
    }
    Some((first, last))
}

fn extended_floats(points: &[Point], window: &Window<'_>, kind: Kind) -> Option<f64> {
    let (mut first, mut last) = edges(points, window, |p| p.at_ms)?;
    let (left, right) = edge_values(points, (first, last), window, kind.counter);
    let mut result = right - left;
    if kind.counter {
        // The edges account for what is outside the range.
        if points[first].at_ms <= window.start_ms {
            first += 1;
        }
        let until = if points[last].at_ms >= window.end_ms { last } else { last + 1 };
        last = until.max(first);
        let mut before = left;
        for value in points[first..last].iter().map(|p| p.value).chain([right]) {
            if value < before {
                result += before;
            }
            before = value;
        }
    }
    Some(if kind.per_second { result / window.seconds() } else { result })
}

fn edge_values(
    points: &[Point],
    (first, last): (usize, usize),
    window: &Window<'_>,
    counter: bool,
) -> (f64, f64) {
    let left = if window.smoothed && points[first].at_ms < window.start_ms {
        interpolate(&points[first], &points[first + 1], window.start_ms, counter)
    } else {
        points[first].value
    };
    let right = if window.smoothed && last > 0 && points[last].at_ms > window.end_ms {
        interpolate(&points[last - 1], &points[last], window.end_ms, counter)
    } else {
        points[last].value
    };
    (left, right)
}

/// The value at a time between two samples; after a reset of a counter it grew from zero.
pub(super) fn interpolate(before: &Point, after: &Point, at_ms: i64, counter: bool) -> f64 {
    let from = if counter && after.value < before.value { 0.0 } else { before.value };
    from + (after.value - from) * (at_ms - before.at_ms) as f64 / (after.at_ms - before.at_ms) as f64
}

/// The points of an anchored or smoothed range as they are: those in it, and its
/// two edges (Prometheus' `extendFloats`).
pub(crate) fn with_edges(points: &[Point], window: &Window<'_>) -> Vec<Point> {
    if points.is_empty() {
        return Vec::new();
    }
    let Some((first, last)) = edges(points, window, |p| p.at_ms) else { return Vec::new() };
    let (left, right) = edge_values(points, (first, last), window, false);
    let inside = points.iter().filter(|p| p.at_ms > window.start_ms && p.at_ms < window.end_ms);
    let edge = |at_ms, value| Point { at_ms, value };
    [edge(window.start_ms, left)]
        .into_iter()
        .chain(inside.copied())
        .chain([edge(window.end_ms, right)])
        .collect()
}
