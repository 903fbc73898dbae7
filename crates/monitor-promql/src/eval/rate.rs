//! `rate`, `increase`, `delta`, `irate` and `idelta`.

use super::Evaluator;
use super::window::{Span, Window, begins_anew};
use crate::column::Made;
use crate::notes::{Note, Operation};
use crate::{Histogram, HistogramPoint, Point};
use monitor_model::CounterReset;

/// What a function of this family is about.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    /// Of a counter, which may be reset.
    pub(super) counter: bool,
    pub(super) per_second: bool,
}

impl Evaluator<'_> {
    /// The difference of last and first sample, resets of a counter added, extended
    /// to the range's ends where the samples come close to them (Prometheus'
    /// `extrapolatedRate`). Where the first sample's start timestamp lies in the
    /// range, the counter was zero then, and nothing is guessed.
    pub(super) fn extrapolated(&mut self, window: &Window<'_>, kind: Kind) -> Option<Made> {
        if window.anchored || window.smoothed {
            return self.extended(window, kind);
        }
        if !window.floats.is_empty() && !window.histograms.is_empty() {
            self.note(Note::MixedFloatsHistograms(window.name), window.place);
            return None;
        }
        if window.histograms.is_empty() {
            self.extrapolated_float(window, kind)
        } else {
            self.extrapolated_histogram(window, kind)
        }
    }

    fn extrapolated_float(&mut self, window: &Window<'_>, kind: Kind) -> Option<Made> {
        let (first, last) = (window.floats.first()?, window.floats.last()?);
        let mut result = last.value - first.value;
        if kind.counter {
            for at in window.marks.iter() {
                result += window.floats[at - 1].value;
            }
            self.note_overlaps(
                window,
                window.floats.len(),
                |at| window.floats[at].at_ms,
                window.float_starts,
            );
        }
        let start = window.float_start(0);
        let from_zero = kind.counter && start != 0 && start > window.start_ms && start < first.at_ms;
        if from_zero {
            result += first.value;
        } else if window.floats.len() < 2 {
            return None;
        }
        let times = Times { first_ms: first.at_ms, last_ms: last.at_ms, samples: window.floats.len() };
        let zero_at = if from_zero {
            ZeroAt::Start(start)
        } else if kind.counter && result > 0.0 && first.value >= 0.0 {
            ZeroAt::Part(first.value / result)
        } else {
            ZeroAt::Never
        };
        Some(Made::Float(result * factor(window.span(), kind, times, zero_at)))
    }

    fn extrapolated_histogram(&mut self, window: &Window<'_>, kind: Kind) -> Option<Made> {
        let (first, last) = (window.histograms.first()?, window.histograms.last()?);
        let mut result = match window.histograms {
            [_] => None,
            _ => Some(self.histogram_difference(window, kind)?),
        };
        let start = window.histogram_start(0);
        let from_zero = kind.counter && start != 0 && start > window.start_ms && start < first.at_ms;
        if from_zero {
            match &mut result {
                None => result = Some(first.value.as_ref().clone()),
                Some(result) => {
                    if !self.add_noted(result, &first.value, window) {
                        return None;
                    }
                }
            }
        }
        let mut result = result?;
        let times = Times { first_ms: first.at_ms, last_ms: last.at_ms, samples: window.histograms.len() };
        let zero_at = if from_zero {
            ZeroAt::Start(start)
        } else if kind.counter && result.count > 0.0 && first.value.count >= 0.0 {
            ZeroAt::Part(first.value.count / result.count)
        } else {
            ZeroAt::Never
        };
        result.mul(factor(window.span(), kind, times, zero_at));
        Some(Made::Histogram(result))
    }

    /// The difference of last and first histogram, resets added; `None` where
    /// they do not fit each other (Prometheus' `histogramRate`).
    fn histogram_difference(&mut self, window: &Window<'_>, kind: Kind) -> Option<Histogram> {
        let points = window.histograms;
        let (first, last) = (&points.first()?.value, &points.last()?.value);
        let gauge = |h: &Histogram| h.reset == CounterReset::Gauge;
        if kind.counter && (gauge(first) || gauge(last)) {
            self.note(Note::NotCounter(window.name), window.place);
        }
        let resets = |at: usize, before: &Histogram| {
            let (was, here) = (&points[at - 1], &points[at]);
            let (start_was, start) = (window.histogram_start(at - 1), window.histogram_start(at));
            begins_anew(start_was, was.at_ms, start, here.at_ms) || here.value.detect_reset(before)
        };
        // A reset after the first sample: its buckets do not matter then.
        let nothing;
        let mut before: &Histogram = first;
        let mut custom = first.has_custom_buckets();
        if kind.counter && resets(1, before) {
            let second = &points[1].value;
            nothing =
                Histogram { schema: second.schema, bounds: second.bounds.clone(), ..Histogram::default() };
            before = &nothing;
            custom = second.has_custom_buckets();
        }
        if last.has_custom_buckets() != custom {
            self.note(Note::MixedSchemas(window.name), window.place);
            return None;
        }
        let mut schema = last.schema.min(before.schema);
        if kind.counter {
            for point in &points[1..points.len() - 1] {
                if gauge(&point.value) {
                    self.note(Note::NotCounter(window.name), window.place);
                }
                schema = schema.min(point.value.schema);
                if point.value.has_custom_buckets() != custom {
                    self.note(Note::MixedSchemas(window.name), window.place);
                    return None;
                }
            }
        }
        let mut result = last.as_ref().clone();
        if !custom && result.schema > schema {
            result.reduce_resolution(schema);
        }
        if !self.sub_noted(&mut result, before, window) {
            return None;
        }
        if kind.counter {
            self.note_overlaps(window, points.len(), |at| points[at].at_ms, window.histogram_starts);
            for (at, point) in points.iter().enumerate().skip(1) {
                if resets(at, before) && !self.add_noted(&mut result, before, window) {
                    return None;
                }
                before = &point.value;
            }
        } else if !gauge(first) || !gauge(last) {
            self.note(Note::NotGauge(window.name), window.place);
        }
        result.reset = CounterReset::Gauge;
        result.compact();
        Some(result)
    }

    /// Adds a histogram and notes what is odd about it; whether they fit.
    pub(super) fn add_noted(&mut self, into: &mut Histogram, other: &Histogram, window: &Window<'_>) -> bool {
        match into.add(other) {
            Err(_) => {
                self.note(Note::MixedSchemas(window.name), window.place);
                false
            }
            Ok(added) => {
                if added.bounds_reconciled {
                    self.note(Note::Reconciled(Operation::Addition), window.place);
                }
                true
            }
        }
    }

    /// Subtracts a histogram and notes what is odd about it; whether they fit.
    pub(super) fn sub_noted(&mut self, from: &mut Histogram, other: &Histogram, window: &Window<'_>) -> bool {
        match from.sub(other) {
            Err(_) => {
                self.note(Note::MixedSchemas(window.name), window.place);
                false
            }
            Ok(added) => {
                if added.bounds_reconciled {
                    self.note(Note::Reconciled(Operation::Subtraction), window.place);
                }
                true
            }
        }
    }

    /// Notes a sample that began before the one before it ended.
    fn note_overlaps(
        &mut self,
        window: &Window<'_>,
        samples: usize,
        at_ms: impl Fn(usize) -> i64,
        starts: &[i64],
    ) {
        if starts.len() < samples {
            return;
        }
        let overlaps = |at: usize| {
            let (before, start) = (starts[at - 1], starts[at]);
            start != 0 && start < at_ms(at - 1) && start != before
        };
        if (1..samples).any(overlaps) {
            self.note(Note::StartTimeOverlap(window.name), window.place);
        }
    }

    /// `irate` and `idelta`: the difference of the last two samples.
    pub(super) fn last_two(&mut self, window: &Window<'_>, rate: bool) -> Option<Made> {
        let (before, last) = last_two_samples(window)?;
        let seconds = (last.at_ms() - before.at_ms()) as f64 / 1e3;
        if seconds == 0.0 {
            return None;
        }
        let anew = begins_anew(before.start, before.at_ms(), last.start, last.at_ms());
        match (before.of, last.of) {
            (Of::Float(_, was), Of::Float(_, is)) => {
                let reset = rate && (is < was || anew);
                let difference = if reset { is } else { is - was };
                Some(Made::Float(if rate { difference / seconds } else { difference }))
            }
            (Of::Histogram(was), Of::Histogram(is)) => {
                let gauge = |p: &HistogramPoint| p.value.reset == CounterReset::Gauge;
                if rate && (gauge(was) || gauge(is)) {
                    self.note(Note::NotCounter(window.name), window.place);
                }
                if !(rate || gauge(was) && gauge(is)) {
                    self.note(Note::NotGauge(window.name), window.place);
                }
                let mut result = is.value.as_ref().clone();
                let reset = rate && (anew || is.value.detect_reset(&was.value));
                if !reset && !self.sub_noted(&mut result, &was.value, window) {
                    return None;
                }
                result.reset = CounterReset::Gauge;
                result.compact();
                if rate {
                    result.div(seconds);
                }
                Some(Made::Histogram(result))
            }
            _ => {
                self.note(Note::MixedFloatsHistograms(window.name), window.place);
                None
            }
        }
    }
}

/// The times of the samples of a window.
struct Times {
    first_ms: i64,
    last_ms: i64,
    samples: usize,
}

/// When a counter was zero.
enum ZeroAt {
    /// Nobody knows.
    Never,
    /// By its line: this part of the sampled time before the first sample.
    Part(f64),
    /// By its start timestamp.
    Start(i64),
}

/// [`Evaluator::extrapolated`] of a window with numbers only, whose start
/// timestamps are not known, and with the values that were lost to resets.
#[inline]
pub(super) fn extrapolated_plainly(
    points: &[Point],
    lost: impl Iterator<Item = f64>,
    span: Span,
    kind: Kind,
) -> Option<f64> {
    let [first, .., last] = points else { return None };
    let mut result = last.value - first.value;
    if kind.counter {
        lost.for_each(|value| result += value);
    }
    let times = Times { first_ms: first.at_ms, last_ms: last.at_ms, samples: points.len() };
    let zero_at = if kind.counter && result > 0.0 && first.value >= 0.0 {
        ZeroAt::Part(first.value / result)
    } else {
        ZeroAt::Never
    };
    Some(result * factor(span, kind, times, zero_at))
}

/// By what the difference of the samples is multiplied.
#[inline]
fn factor(span: Span, kind: Kind, times: Times, zero_at: ZeroAt) -> f64 {
    let mut sampled = (times.last_ms - times.first_ms) as f64 / 1e3;
    let between = if times.samples > 1 { sampled / (times.samples - 1) as f64 } else { 0.0 };
    // A gap at an end longer than 1.1 mean distances means that the series began
    // or ended within the range: extend by half a distance only.
    let threshold = between * 1.1;
    let gap = |gap_ms: i64| {
        let gap = gap_ms as f64 / 1e3;
        if gap >= threshold { between / 2.0 } else { gap }
    };
    let to_start = match zero_at {
        ZeroAt::Start(start) => {
            sampled = (times.last_ms - start) as f64 / 1e3;
            0.0
        }
        // A counter is never below zero, so it began no earlier than its line meets zero.
        ZeroAt::Part(part) => {
            let (to_start, to_zero) = (gap(times.first_ms - span.start_ms), sampled * part);
            if to_zero < to_start { to_zero } else { to_start }
        }
        ZeroAt::Never => gap(times.first_ms - span.start_ms),
    };
    let to_end = gap(span.end_ms - times.last_ms);
    let mut factor = if sampled == 0.0 { 1.0 } else { (sampled + to_start + to_end) / sampled };
    if kind.per_second {
        factor /= span.seconds();
    }
    factor
}

#[derive(Clone, Copy)]
struct Sample<'w> {
    of: Of<'w>,
    start: i64,
}

#[derive(Clone, Copy)]
enum Of<'w> {
    Float(i64, f64),
    Histogram(&'w HistogramPoint),
}

impl Sample<'_> {
    fn at_ms(&self) -> i64 {
        match self.of {
            Of::Float(at_ms, _) => at_ms,
            Of::Histogram(point) => point.at_ms,
        }
    }
}

/// The last two samples of a window, the earlier first.
fn last_two_samples<'w>(window: &Window<'w>) -> Option<(Sample<'w>, Sample<'w>)> {
    let float = |back: usize| {
        let at = window.floats.len().checked_sub(back)?;
        let point = window.floats[at];
        Some(Sample { of: Of::Float(point.at_ms, point.value), start: window.float_start(at) })
    };
    let histogram = |back: usize| {
        let at = window.histograms.len().checked_sub(back)?;
        Some(Sample { of: Of::Histogram(&window.histograms[at]), start: window.histogram_start(at) })
    };
    match (window.floats.len(), window.histograms.len()) {
        (_, 0) => Some((float(2)?, float(1)?)),
        (0, _) => Some((histogram(2)?, histogram(1)?)),
        _ => {
            let mut last: Vec<Sample<'w>> =
                [float(2), float(1), histogram(2), histogram(1)].into_iter().flatten().collect();
            last.sort_by_key(Sample::at_ms);
            let [.., before, last] = last[..] else { return None };
            Some((before, last))
        }
    }
}
