//! The functions by name, and those over ranges of points.

use crate::Point;
use crate::stats::{Kahan, Mean, linear_regression, quantile, variance};

/// A function of the language.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Function {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Its value depends on when it is evaluated, even where its selectors are
    /// fixed by `@` (Prometheus' `AtModifierUnsafeFunctions`).
    pub(crate) sees_time: bool,
}

impl Function {
    /// Whether it wants its argument's selector itself, for the points' times.
    pub(crate) fn takes_selector(&self) -> bool {
        matches!(self.kind, Kind::Timestamp)
    }

    /// Whether its value depends on the start, end or step of the whole query.
    pub(crate) fn sees_query(&self) -> bool {
        matches!(self.kind, Kind::QueryStart | Kind::QueryEnd | Kind::QueryRange | Kind::QueryStep)
    }
}

/// How a function is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Over a range of points.
    Range(RangeFunction),
    /// On each value alone.
    Math(fn(f64) -> f64),
    /// On each value as a time, or on the evaluation time.
    Date(fn(&Date) -> f64),
    AbsentOverTime,
    Absent,
    Clamp,
    ClampMax,
    ClampMin,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    /// Native histograms only, of which there are none: no result.
    HistogramOnly,
    LabelJoin,
    LabelReplace,
    MaxOf,
    MinOf,
    Pi,
    QueryEnd,
    QueryRange,
    QueryStart,
    QueryStep,
    Round,
    Scalar,
    Sort {
        descending: bool,
    },
    SortByLabel {
        descending: bool,
    },
    Time,
    Timestamp,
    Vector,
}

/// A function over a range: where its range is among its arguments, whether it
/// keeps the metric's name, and what it does with each window of points.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RangeFunction {
    pub(crate) range_arg: usize,
    pub(crate) keeps_name: bool,
    pub(crate) apply: fn(&Window<'_>) -> Option<f64>,
}

/// The points of a series in a range, at one step. Never empty.
pub(crate) struct Window<'a> {
    pub(crate) points: &'a [Point],
    /// The range: after `start_ms`, up to and including `end_ms`.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// The time of evaluation.
    pub(crate) at_ms: i64,
    /// The other arguments, in order.
    pub(crate) args: &'a [f64],
}

/// A function by its name; `None` where it is not implemented.
pub(crate) fn find(name: &str) -> Option<Function> {
    use Kind::*;
    let over = |apply| Range(RangeFunction { range_arg: 0, keeps_name: false, apply });
    let keeping = |apply| Range(RangeFunction { range_arg: 0, keeps_name: true, apply });
    let (name, kind) = match name {
        "abs" => ("abs", Math(f64::abs)),
        "absent" => ("absent", Absent),
        "absent_over_time" => ("absent_over_time", AbsentOverTime),
        "acos" => ("acos", Math(f64::acos)),
        "acosh" => ("acosh", Math(f64::acosh)),
        "asin" => ("asin", Math(f64::asin)),
        "asinh" => ("asinh", Math(f64::asinh)),
        "atan" => ("atan", Math(f64::atan)),
        "atanh" => ("atanh", Math(f64::atanh)),
        "avg_over_time" => ("avg_over_time", over(avg)),
        "ceil" => ("ceil", Math(f64::ceil)),
        "changes" => ("changes", over(changes)),
        "clamp" => ("clamp", Clamp),
        "clamp_max" => ("clamp_max", ClampMax),
        "clamp_min" => ("clamp_min", ClampMin),
        "cos" => ("cos", Math(f64::cos)),
        "cosh" => ("cosh", Math(f64::cosh)),
        "count_over_time" => ("count_over_time", over(|w| Some(w.points.len() as f64))),
        "day_of_month" => ("day_of_month", Date(|d| f64::from(d.day))),
        "day_of_week" => ("day_of_week", Date(|d| f64::from(d.weekday))),
        "day_of_year" => ("day_of_year", Date(|d| f64::from(d.day_of_year))),
        "days_in_month" => ("days_in_month", Date(|d| f64::from(days_in_month(d.year, d.month)))),
        "deg" => ("deg", Math(|v| v * 180.0 / std::f64::consts::PI)),
        "delta" => ("delta", over(|w| extrapolated(w, false, false))),
        "deriv" => ("deriv", over(deriv)),
        "double_exponential_smoothing" => ("double_exponential_smoothing", over(smoothed)),
        "end" => ("end", QueryEnd),
        "exp" => ("exp", Math(f64::exp)),
        "first_over_time" => ("first_over_time", keeping(|w| w.points.first().map(|p| p.value))),
        "floor" => ("floor", Math(f64::floor)),
        "histogram_avg" => ("histogram_avg", HistogramOnly),
        "histogram_count" => ("histogram_count", HistogramOnly),
        "histogram_fraction" => ("histogram_fraction", HistogramFraction),
        "histogram_quantile" => ("histogram_quantile", HistogramQuantile),
        "histogram_quantiles" => ("histogram_quantiles", HistogramQuantiles),
        "histogram_stddev" => ("histogram_stddev", HistogramOnly),
        "histogram_stdvar" => ("histogram_stdvar", HistogramOnly),
        "histogram_sum" => ("histogram_sum", HistogramOnly),
        "hour" => ("hour", Date(|d| f64::from(d.hour))),
        "idelta" => ("idelta", over(|w| last_two(w, false))),
        "increase" => ("increase", over(|w| extrapolated(w, true, false))),
        "irate" => ("irate", over(|w| last_two(w, true))),
        "label_join" => ("label_join", LabelJoin),
        "label_replace" => ("label_replace", LabelReplace),
        "last_over_time" => ("last_over_time", keeping(|w| w.points.last().map(|p| p.value))),
        "ln" => ("ln", Math(f64::ln)),
        "log10" => ("log10", Math(f64::log10)),
        "log2" => ("log2", Math(f64::log2)),
        "mad_over_time" => ("mad_over_time", over(mad)),
        "max_of" => ("max_of", MaxOf),
        "max_over_time" => ("max_over_time", over(|w| Some(extreme(w, |new, old| new > old).value))),
        "min_of" => ("min_of", MinOf),
        "min_over_time" => ("min_over_time", over(|w| Some(extreme(w, |new, old| new < old).value))),
        "minute" => ("minute", Date(|d| f64::from(d.minute))),
        "month" => ("month", Date(|d| f64::from(d.month))),
        "pi" => ("pi", Pi),
        "predict_linear" => ("predict_linear", over(predict_linear)),
        "present_over_time" => ("present_over_time", over(|_| Some(1.0))),
        "quantile_over_time" => {
            let apply = |w: &Window<'_>| Some(quantile(w.args[0], &mut values(w)));
            ("quantile_over_time", Range(RangeFunction { range_arg: 1, keeps_name: false, apply }))
        }
        "rad" => ("rad", Math(|v| v * std::f64::consts::PI / 180.0)),
        "range" => ("range", QueryRange),
        "rate" => ("rate", over(|w| extrapolated(w, true, true))),
        "resets" => ("resets", over(resets)),
        "round" => ("round", Round),
        "scalar" => ("scalar", Scalar),
        "sgn" => ("sgn", Math(|v| if v == 0.0 || v.is_nan() { v } else { v.signum() })),
        "sin" => ("sin", Math(f64::sin)),
        "sinh" => ("sinh", Math(f64::sinh)),
        "sort" => ("sort", Sort { descending: false }),
        "sort_by_label" => ("sort_by_label", SortByLabel { descending: false }),
        "sort_by_label_desc" => ("sort_by_label_desc", SortByLabel { descending: true }),
        "sort_desc" => ("sort_desc", Sort { descending: true }),
        "sqrt" => ("sqrt", Math(f64::sqrt)),
        "start" => ("start", QueryStart),
        "stddev_over_time" => ("stddev_over_time", over(|w| Some(variance(w.points).sqrt()))),
        "stdvar_over_time" => ("stdvar_over_time", over(|w| Some(variance(w.points)))),
        "step" => ("step", QueryStep),
        "sum_over_time" => ("sum_over_time", over(sum)),
        "tan" => ("tan", Math(f64::tan)),
        "tanh" => ("tanh", Math(f64::tanh)),
        "time" => ("time", Time),
        "timestamp" => ("timestamp", Timestamp),
        "ts_of_first_over_time" => ("ts_of_first_over_time", over(|w| w.points.first().map(seconds))),
        "ts_of_last_over_time" => ("ts_of_last_over_time", over(|w| w.points.last().map(seconds))),
        "ts_of_max_over_time" => {
            ("ts_of_max_over_time", over(|w| Some(seconds(extreme(w, |new, old| new >= old)))))
        }
        "ts_of_min_over_time" => {
            ("ts_of_min_over_time", over(|w| Some(seconds(extreme(w, |new, old| new <= old)))))
        }
        "vector" => ("vector", Vector),
        "year" => ("year", Date(|d| d.year as f64)),
        _ => return None,
    };
    let sees_time = matches!(kind, Date(_) | Time | Timestamp) || name == "predict_linear";
    Some(Function { name, kind, sees_time })
}

fn seconds(point: &Point) -> f64 {
    point.at_ms as f64 / 1e3
}

fn values(window: &Window<'_>) -> Vec<f64> {
    window.points.iter().map(|p| p.value).collect()
}

/// `rate`, `increase` and `delta`: the difference of last and first point,
/// resets of a counter added, extended to the range's ends where the points come
/// close to them (Prometheus' `extrapolatedRate`).
fn extrapolated(window: &Window<'_>, counter: bool, per_second: bool) -> Option<f64> {
    let [first, .., last] = window.points else { return None };
    let mut result = last.value - first.value;
    if counter {
        for pair in window.points.windows(2) {
            if pair[1].value < pair[0].value {
                result += pair[0].value;
            }
        }
    }
    let sampled = (last.at_ms - first.at_ms) as f64 / 1e3;
    let between = sampled / (window.points.len() - 1) as f64;
    // A gap at an end longer than 1.1 mean distances means that the series began
    // or ended within the range: extend by half a distance only.
    let threshold = between * 1.1;
    let gap = |gap_ms: i64| {
        let gap = gap_ms as f64 / 1e3;
        if gap >= threshold { between / 2.0 } else { gap }
    };
    let mut to_start = gap(first.at_ms - window.start_ms);
    let to_end = gap(window.end_ms - last.at_ms);
    if counter && result > 0.0 && first.value >= 0.0 {
        // A counter is never below zero, so it began no earlier than its line meets zero.
        to_start = to_start.min(sampled * (first.value / result));
    }
    let mut factor = (sampled + to_start + to_end) / sampled;
    if per_second {
        factor /= (window.end_ms - window.start_ms) as f64 / 1e3;
    }
    Some(result * factor)
}

/// `irate` and `idelta`: the difference of the last two points.
fn last_two(window: &Window<'_>, rate: bool) -> Option<f64> {
    let [.., before, last] = window.points else { return None };
    let seconds = (last.at_ms - before.at_ms) as f64 / 1e3;
    let reset = rate && last.value < before.value;
    let difference = if reset { last.value } else { last.value - before.value };
    Some(if rate { difference / seconds } else { difference })
}

fn deriv(window: &Window<'_>) -> Option<f64> {
    let [first, _, ..] = window.points else { return None };
    Some(linear_regression(window.points, first.at_ms).0)
}

fn predict_linear(window: &Window<'_>) -> Option<f64> {
    let [_, _, ..] = window.points else { return None };
    let (slope, intercept) = linear_regression(window.points, window.at_ms);
    Some(slope * window.args[0] + intercept)
}

fn resets(window: &Window<'_>) -> Option<f64> {
    Some(window.points.windows(2).filter(|pair| pair[1].value < pair[0].value).count() as f64)
}

fn changes(window: &Window<'_>) -> Option<f64> {
    let changed = |pair: &&[Point]| {
        pair[0].value != pair[1].value && !(pair[0].value.is_nan() && pair[1].value.is_nan())
    };
    Some(window.points.windows(2).filter(changed).count() as f64)
}

fn sum(window: &Window<'_>) -> Option<f64> {
    let mut sum = Kahan::default();
    window.points.iter().for_each(|p| sum.add(p.value));
    Some(sum.total())
}

fn avg(window: &Window<'_>) -> Option<f64> {
    let mut mean = Mean::default();
    window.points.iter().for_each(|p| mean.add(p.value));
    Some(mean.value())
}

/// The point whose value is before all others; a NaN only where all are.
fn extreme<'a>(window: &Window<'a>, before: fn(f64, f64) -> bool) -> &'a Point {
    let mut found = &window.points[0];
    for point in window.points {
        if before(point.value, found.value) || found.value.is_nan() {
            found = point;
        }
    }
    found
}

/// The median of the distances from the median; NaN where a value is.
fn mad(window: &Window<'_>) -> Option<f64> {
    let mut values = values(window);
    if values.iter().any(|v| v.is_nan()) {
        return Some(f64::NAN);
    }
    let median = quantile(0.5, &mut values);
    values.iter_mut().for_each(|v| *v = (*v - median).abs());
    Some(quantile(0.5, &mut values))
}

/// Double exponential smoothing with the factors of the arguments (Prometheus
/// manual, "double_exponential_smoothing").
fn smoothed(window: &Window<'_>) -> Option<f64> {
    let [first, second, ..] = window.points else { return None };
    let (smoothing, trending) = (window.args[0], window.args[1]);
    let (mut before, mut level) = (0.0, first.value);
    let mut trend = second.value - first.value;
    for (i, point) in window.points[1..].iter().enumerate() {
        if i > 0 {
            trend = trending * (level - before) + (1.0 - trending) * trend;
        }
        let next = smoothing * point.value + (1.0 - smoothing) * (level + trend);
        (before, level) = (level, next);
    }
    Some(level)
}

/// A time as people say it, in UTC.
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) day_of_year: u32,
    /// 0 is Sunday.
    pub(crate) weekday: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
}

impl Date {
    /// From Unix seconds; `None` where they are no number or beyond ±10 million years.
    pub(crate) fn from_seconds(seconds: f64) -> Option<Self> {
        if seconds.is_nan() || seconds.abs() > 3.2e14 {
            return None;
        }
        // Whole seconds towards zero, as Go's conversion cuts.
        let seconds = seconds as i64;
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let before: u32 = (1..month).map(|m| days_in_month(year, m)).sum();
        Some(Self {
            year,
            month,
            day,
            day_of_year: before + day,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7) as u32,
            hour: (rest / 3_600) as u32,
            minute: (rest / 60 % 60) as u32,
        })
    }
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window<'a>(points: &'a [Point], range: (i64, i64), args: &'a [f64]) -> Window<'a> {
        Window { points, start_ms: range.0, end_ms: range.1, at_ms: range.1, args }
    }

    fn points(values: &[f64]) -> Vec<Point> {
        (1..).zip(values).map(|(i, value)| Point { at_ms: i * 10_000, value: *value }).collect()
    }

    #[test]
    fn rates() {
        let cases: &[(&[f64], Option<f64>)] = &[
            (&[], None),
            (&[1.0], None),
            (&[0.0, 10.0], Some(1.0)),
            (&[100.0, 110.0, 120.0, 130.0, 140.0, 150.0], Some(1.0)),
            // A reset counts what came after it.
            (&[100.0, 110.0, 5.0, 15.0, 25.0, 35.0], Some(0.9)),
        ];
        for (values, expected) in cases {
            let points = points(values);
            let rate = (values.len() > 1)
                .then(|| extrapolated(&window(&points, (0, 10_000 * values.len() as i64), &[]), true, true))
                .flatten();
            match (rate, expected) {
                (Some(rate), Some(expected)) => assert!((rate - expected).abs() < 0.51 * expected, "{rate}"),
                (rate, expected) => assert_eq!(rate.is_some(), expected.is_some()),
            }
        }
    }

    #[test]
    fn dates() {
        let cases = [
            (0.0, (1970, 1, 1, 1, 4, 0, 0)),
            (1_136_239_445.0, (2006, 1, 2, 2, 1, 22, 4)),
            (951_782_400.0, (2000, 2, 29, 60, 2, 0, 0)),
            (-1.0, (1969, 12, 31, 365, 3, 23, 59)),
        ];
        for (seconds, expected) in cases {
            let d = Date::from_seconds(seconds).unwrap();
            let got = (d.year, d.month, d.day, d.day_of_year, d.weekday, d.hour, d.minute);
            assert_eq!(got, expected, "{seconds}");
        }
        assert!(Date::from_seconds(f64::NAN).is_none() && Date::from_seconds(f64::INFINITY).is_none());
    }
}
