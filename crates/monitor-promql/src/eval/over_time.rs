//! What functions make of the samples in a range.

use super::Evaluator;
use super::rate::Kind;
use super::window::{Window, begins_anew};
use crate::column::Made;
use crate::functions::RangeFunction;
use crate::notes::{Note, Operation};
use crate::stats::{Kahan, Mean, linear_regression, quantile, variance};
use crate::{Error, Histogram, HistogramPoint, Point};
use monitor_model::CounterReset;
use monitor_model::histogram::KahanSum;

impl Evaluator<'_> {
    /// A function's value for a window.
    pub(super) fn over_time(
        &mut self,
        function: RangeFunction,
        window: &Window<'_>,
    ) -> Result<Option<Made>, Error> {
        use RangeFunction as R;
        if let Some(kind) = function.extrapolates() {
            return Ok(self.extrapolated(window, kind));
        }
        Ok(match function {
            R::Rate | R::Increase | R::Delta => None,
            R::Irate => self.last_two(window, true),
            R::Idelta => self.last_two(window, false),
            R::Sum | R::Avg => self.sum_or_mean(function, window),
            R::Count => Some(Made::Float(count(window))),
            R::Present => Some(Made::Float(1.0)),
            R::First => one_end(window.floats.first(), window.histograms.first(), |float, histogram| {
                float < histogram
            }),
            R::Last => {
                one_end(window.floats.last(), window.histograms.last(), |float, histogram| float > histogram)
            }
            R::TsOfFirst => ends(window, false),
            R::TsOfLast => ends(window, true),
            R::Resets => self.resets(window),
            R::Changes => changes(window),
            R::Deriv | R::PredictLinear | R::DoubleExponentialSmoothing => {
                return self.of_two_floats(function, window);
            }
            R::Mad | R::Max | R::Min | R::Quantile | R::Stddev | R::Stdvar | R::TsOfMax | R::TsOfMin => {
                self.of_floats(function, window)
            }
        })
    }

    /// Functions that pass histograms over.
    fn of_floats(&mut self, function: RangeFunction, window: &Window<'_>) -> Option<Made> {
        use RangeFunction as R;
        let points = window.floats;
        if points.is_empty() {
            return None;
        }
        if function == R::Quantile {
            self.note_quantile(window.args[0], window.place);
        }
        if !window.histograms.is_empty() {
            self.note(Note::HistogramIgnoredInRange(window.name), window.place);
        }
        let values = || points.iter().map(|p| p.value).collect::<Vec<f64>>();
        Some(Made::Float(match function {
            R::Mad => mad(values()),
            R::Quantile => quantile(window.args[0], &mut values()),
            R::Stdvar => variance(points),
            R::Stddev => variance(points).sqrt(),
            R::Max => extreme_value(points, f64::NEG_INFINITY, |new, old| if new > old { new } else { old }),
            R::Min => extreme_value(points, f64::INFINITY, |new, old| if new < old { new } else { old }),
            R::TsOfMax => seconds(extreme(points, |new, old| new >= old).at_ms),
            _ => seconds(extreme(points, |new, old| new <= old).at_ms),
        }))
    }

    /// Functions that need two numbers.
    fn of_two_floats(&mut self, function: RangeFunction, window: &Window<'_>) -> Result<Option<Made>, Error> {
        let points = window.floats;
        if function == RangeFunction::DoubleExponentialSmoothing {
            for (value, (what, short)) in window.args.iter().zip([("smoothing", "sf"), ("trend", "tf")]) {
                if !(*value > 0.0 && *value < 1.0) {
                    return Err(Error::Execution(format!(
                        "invalid {what} factor. Expected: 0 < {short} < 1, got: {value:.6}"
                    )));
                }
            }
        }
        if !points.is_empty() && !window.histograms.is_empty() {
            self.note(Note::HistogramIgnoredInRange(window.name), window.place);
        }
        let [first, _, ..] = points else { return Ok(None) };
        Ok(Some(Made::Float(match function {
            RangeFunction::Deriv => linear_regression(points, first.at_ms).0,
            RangeFunction::PredictLinear => {
                let (slope, intercept) = linear_regression(points, window.at_ms);
                slope * window.args[0] + intercept
            }
            _ => smoothed_twice(points, window.args[0], window.args[1]),
        })))
    }

    fn sum_or_mean(&mut self, function: RangeFunction, window: &Window<'_>) -> Option<Made> {
        let mean = function == RangeFunction::Avg;
        match (window.floats, window.histograms) {
            (floats, []) if mean => Some(Made::Float(mean_of(floats))),
            (floats, []) => {
                let mut sum = Kahan::default();
                floats.iter().for_each(|p| sum.add(p.value));
                Some(Made::Float(sum.total()))
            }
            ([], histograms) => self.sum_of_histograms(mean, histograms, window),
            _ => {
                self.note(Note::MixedFloatsHistograms(window.name), window.place);
                None
            }
        }
    }

    fn sum_of_histograms(
        &mut self,
        mean: bool,
        histograms: &[HistogramPoint],
        window: &Window<'_>,
    ) -> Option<Made> {
        let mut fold = HistogramFold::new(&histograms.first()?.value);
        for point in &histograms[1..] {
            let added = if mean { fold.add_to_mean(&point.value) } else { fold.add(&point.value) };
            if added.is_err() {
                self.note(Note::MixedSchemas(window.name), window.place);
                return None;
            }
        }
        if fold.resets_collide() {
            self.note(Note::ResetCollision(Operation::Aggregation), window.place);
        }
        if fold.reconciled {
            self.note(Note::Reconciled(Operation::Aggregation), window.place);
        }
        Some(Made::Histogram(if mean { fold.mean() } else { fold.sum() }))
    }

    fn resets(&mut self, window: &Window<'_>) -> Option<Made> {
        if window.histograms.is_empty() && !window.anchored {
            return Some(Made::Float(window.marks.places.len() as f64));
        }
        let count = count_pairs(window, |before, here| match (before.of, here.of) {
            (Ok(was), Ok(is)) => is < was || begins_anew(before.start, before.at_ms, here.start, here.at_ms),
            (Err(was), Err(is)) => {
                begins_anew(before.start, before.at_ms, here.start, here.at_ms) || is.detect_reset(was)
            }
            _ => true,
        })?;
        Some(Made::Float(count))
    }

    /// Notes a φ outside 0 to 1.
    pub(super) fn note_quantile(&mut self, q: f64, place: monitor_lang::ast::Place) {
        if !(0.0..=1.0).contains(&q) {
            self.note(Note::InvalidQuantile(q), place);
        }
    }
}

fn changes(window: &Window<'_>) -> Option<Made> {
    if window.histograms.is_empty() && !window.anchored {
        return Some(Made::Float(window.marks.places.len() as f64));
    }
    let count = count_pairs(window, |before, here| match (before.of, here.of) {
        (Ok(was), Ok(is)) => was != is && !(was.is_nan() && is.is_nan()),
        (Err(was), Err(is)) => !is.equals(was),
        _ => true,
    })?;
    Some(Made::Float(count))
}

fn count(window: &Window<'_>) -> f64 {
    let floats = match window.counts {
        true => window.floats.iter().map(|p| p.value).sum(),
        false => window.floats.len() as f64,
    };
    floats + window.histograms.len() as f64
}

/// A sample of either kind.
#[derive(Clone, Copy)]
struct Either<'w> {
    at_ms: i64,
    start: i64,
    of: Result<f64, &'w Histogram>,
}

/// How many samples of a window fulfil a condition with the one before each.
/// `anchored` begins with the last sample at or before the range's start; without
/// any sample in the range there is nothing to count.
fn count_pairs(window: &Window<'_>, counts: impl Fn(Either<'_>, Either<'_>) -> bool) -> Option<f64> {
    let mut samples: Vec<Either<'_>> = Vec::with_capacity(window.floats.len() + window.histograms.len());
    samples.extend(window.floats.iter().enumerate().map(|(i, p)| Either {
        at_ms: p.at_ms,
        start: window.float_start(i),
        of: Ok(p.value),
    }));
    samples.extend(window.histograms.iter().enumerate().map(|(i, p)| Either {
        at_ms: p.at_ms,
        start: window.histogram_start(i),
        of: Err(p.value.as_ref()),
    }));
    samples.sort_by_key(|s| s.at_ms);
    let mut samples = samples.as_slice();
    if window.anchored {
        let inside = samples.partition_point(|s| s.at_ms <= window.start_ms);
        if inside == samples.len() {
            return None;
        }
        samples = &samples[inside.saturating_sub(1)..];
    }
    Some(samples.windows(2).filter(|pair| counts(pair[0], pair[1])).count() as f64)
}

impl RangeFunction {
    /// What it is in the family of `rate`.
    pub(super) fn extrapolates(self) -> Option<Kind> {
        match self {
            Self::Rate => Some(Kind { counter: true, per_second: true }),
            Self::Increase => Some(Kind { counter: true, per_second: false }),
            Self::Delta => Some(Kind { counter: false, per_second: false }),
            _ => None,
        }
    }
}

/// [`Mean`] of all, quicker where the sum does not overflow.
fn mean_of(points: &[Point]) -> f64 {
    let mut sum = Kahan::default();
    points.iter().for_each(|p| sum.add(p.value));
    if sum.sum.is_finite() {
        let count = points.len() as f64;
        return sum.sum / count + sum.lost / count;
    }
    let mut mean = Mean::default();
    points.iter().for_each(|p| mean.add(p.value));
    mean.value()
}

/// The first or last sample of a window; `float_wins` by the times of both.
fn one_end(
    float: Option<&Point>,
    histogram: Option<&HistogramPoint>,
    float_wins: fn(i64, i64) -> bool,
) -> Option<Made> {
    match (float, histogram) {
        (Some(float), Some(histogram)) if float_wins(float.at_ms, histogram.at_ms) => {
            Some(Made::Float(float.value))
        }
        (_, Some(histogram)) => Some(Made::Histogram(histogram.value.as_ref().clone())),
        (Some(float), None) => Some(Made::Float(float.value)),
        (None, None) => None,
    }
}

/// The time of the first or the last sample.
fn ends(window: &Window<'_>, last: bool) -> Option<Made> {
    let times = if last {
        [window.floats.last().map(|p| p.at_ms), window.histograms.last().map(|p| p.at_ms)]
    } else {
        [window.floats.first().map(|p| p.at_ms), window.histograms.first().map(|p| p.at_ms)]
    };
    let times = times.into_iter().flatten();
    let at_ms = if last { times.max() } else { times.min() };
    at_ms.map(|at_ms| Made::Float(seconds(at_ms)))
}

fn seconds(at_ms: i64) -> f64 {
    at_ms as f64 / 1e3
}

/// The point whose value is before all others; a NaN only where all are.
fn extreme(points: &[Point], before: impl Fn(f64, f64) -> bool) -> Point {
    let mut found = points[0];
    for point in points {
        if before(point.value, found.value) || found.value.is_nan() {
            found = *point;
        }
    }
    found
}

/// The value of [`extreme`]; four at a time, as each waits for the one before.
fn extreme_value(points: &[Point], first: f64, pick: impl Fn(f64, f64) -> f64) -> f64 {
    let mut found = [first; 4];
    let mut chunks = points.chunks_exact(4);
    for chunk in &mut chunks {
        for (found, point) in found.iter_mut().zip(chunk) {
            *found = pick(point.value, *found);
        }
    }
    let rest = chunks.remainder().iter().map(|p| p.value);
    let value = rest.chain(found).fold(first, |old, new| pick(new, old));
    let nothing = value == first && points.iter().all(|p| p.value.is_nan());
    if nothing { f64::NAN } else { value }
}

/// The median of the distances from the median; NaN where a value is.
fn mad(mut values: Vec<f64>) -> f64 {
    if values.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    quantile(0.5, &mut values)
}

/// Double exponential smoothing (Prometheus manual, "double_exponential_smoothing").
fn smoothed_twice(points: &[Point], smoothing: f64, trending: f64) -> f64 {
    let (mut before, mut level) = (0.0, points[0].value);
    let mut trend = points[1].value - points[0].value;
    for (i, point) in points[1..].iter().enumerate() {
        if i > 0 {
            trend = trending * (level - before) + (1.0 - trending) * trend;
        }
        let next = smoothing * point.value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    level
}

/// A sum or mean of histograms.
#[derive(Clone, Debug)]
pub(super) struct HistogramFold {
    sum: KahanSum,
    count: f64,
    /// The sum would overflow: it is the mean, and each addition keeps it so.
    incremental: bool,
    reset_seen: bool,
    no_reset_seen: bool,
    pub(super) reconciled: bool,
}

/// Exponential and custom buckets cannot be added to one another.
#[derive(Debug)]
pub(super) struct Incompatible;

impl HistogramFold {
    pub(super) fn new(first: &Histogram) -> Self {
        let mut fold = Self {
            sum: KahanSum::new(first),
            count: 1.0,
            incremental: false,
            reset_seen: false,
            no_reset_seen: false,
            reconciled: false,
        };
        fold.track(first);
        fold
    }

    fn track(&mut self, histogram: &Histogram) {
        match histogram.reset {
            CounterReset::Reset => self.reset_seen = true,
            CounterReset::NotReset => self.no_reset_seen = true,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
    }

    pub(super) fn add(&mut self, histogram: &Histogram) -> Result<(), Incompatible> {
        self.track(histogram);
        self.count += 1.0;
        let added = self.sum.add(histogram).map_err(|_| Incompatible)?;
        self.reconciled |= added.bounds_reconciled;
        Ok(())
    }

    /// Adds towards a mean: plainly, until a sum would be infinite.
    pub(super) fn add_to_mean(&mut self, histogram: &Histogram) -> Result<(), Incompatible> {
        if !self.incremental {
            let before = self.sum.clone();
            let count = self.count;
            self.add(histogram)?;
            if !self.sum.has_overflow() {
                return Ok(());
            }
            self.sum = before;
            self.sum.div(count);
            self.count = count;
            self.incremental = true;
        }
        self.track(histogram);
        self.count += 1.0;
        self.sum.mul((self.count - 1.0) / self.count);
        let mut part = histogram.clone();
        part.div(self.count);
        let added = self.sum.add(&part).map_err(|_| Incompatible)?;
        self.reconciled |= added.bounds_reconciled;
        Ok(())
    }

    pub(super) fn resets_collide(&self) -> bool {
        self.reset_seen && self.no_reset_seen
    }

    pub(super) fn sum(&self) -> Histogram {
        self.sum.total()
    }

    pub(super) fn mean(mut self) -> Histogram {
        if !self.incremental {
            self.sum.div(self.count);
        }
        self.sum.total()
    }
}
