//! The functions by name: how each is evaluated.

use crate::dates::{Date, days_in_month};

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
    /// Whether its value depends on the start, end or step of the whole query.
    pub(crate) fn sees_query(&self) -> bool {
        matches!(self.kind, Kind::QueryStart | Kind::QueryEnd | Kind::QueryRange | Kind::QueryStep)
    }

    /// Whether it wants no more of a histogram than count and sum.
    pub(crate) fn wants_stats(&self) -> bool {
        matches!(self.kind, Kind::HistogramCount | Kind::HistogramSum | Kind::HistogramAvg)
    }

    /// Whether it wants a histogram's buckets.
    pub(crate) fn wants_buckets(&self) -> bool {
        matches!(self.kind, Kind::HistogramQuantile | Kind::HistogramFraction)
    }

    /// Whether series that differ in more than the name still do afterwards.
    pub(crate) fn keeps_series_apart(&self) -> bool {
        !matches!(
            self.kind,
            Kind::LabelReplace
                | Kind::LabelJoin
                | Kind::Info
                | Kind::HistogramQuantile
                | Kind::HistogramQuantiles
                | Kind::HistogramFraction
        )
    }
}

/// How a function is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Over a range of points.
    Range(RangeFunction),
    /// On each number alone.
    Math(fn(f64) -> f64),
    /// On each number as a time, or on the evaluation time.
    Date(fn(&Date) -> f64),
    Absent,
    AbsentOverTime,
    Clamp,
    ClampMax,
    ClampMin,
    HistogramAvg,
    HistogramCount,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
    Info,
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
    StartTimestamp,
    Time,
    Timestamp,
    Vector,
}

/// Functions over ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RangeFunction {
    Avg,
    Changes,
    Count,
    Delta,
    Deriv,
    DoubleExponentialSmoothing,
    First,
    Idelta,
    Increase,
    Irate,
    Last,
    Mad,
    Max,
    Min,
    PredictLinear,
    Present,
    Quantile,
    Rate,
    Resets,
    Stddev,
    Stdvar,
    Sum,
    TsOfFirst,
    TsOfLast,
    TsOfMax,
    TsOfMin,
}

impl RangeFunction {
    /// Where its range is among its arguments.
    pub(crate) fn range_arg(self) -> usize {
        usize::from(self == Self::Quantile)
    }

    /// Whether the metric's name still fits.
    pub(crate) fn keeps_name(self) -> bool {
        matches!(self, Self::First | Self::Last)
    }

    /// Whether it is for counters.
    pub(crate) fn is_counter(self) -> bool {
        matches!(self, Self::Rate | Self::Increase)
    }
}

/// A function by its name.
pub(crate) fn find(name: &str) -> Option<Function> {
    use Kind::*;
    use RangeFunction as R;
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
        "avg_over_time" => ("avg_over_time", Range(R::Avg)),
        "ceil" => ("ceil", Math(f64::ceil)),
        "changes" => ("changes", Range(R::Changes)),
        "clamp" => ("clamp", Clamp),
        "clamp_max" => ("clamp_max", ClampMax),
        "clamp_min" => ("clamp_min", ClampMin),
        "cos" => ("cos", Math(f64::cos)),
        "cosh" => ("cosh", Math(f64::cosh)),
        "count_over_time" => ("count_over_time", Range(R::Count)),
        "day_of_month" => ("day_of_month", Date(|d| f64::from(d.day))),
        "day_of_week" => ("day_of_week", Date(|d| f64::from(d.weekday))),
        "day_of_year" => ("day_of_year", Date(|d| f64::from(d.day_of_year))),
        "days_in_month" => ("days_in_month", Date(|d| f64::from(days_in_month(d.year, d.month)))),
        "deg" => ("deg", Math(|v| v * 180.0 / std::f64::consts::PI)),
        "delta" => ("delta", Range(R::Delta)),
        "deriv" => ("deriv", Range(R::Deriv)),
        "double_exponential_smoothing" => {
            ("double_exponential_smoothing", Range(R::DoubleExponentialSmoothing))
        }
        "end" => ("end", QueryEnd),
        "exp" => ("exp", Math(f64::exp)),
        "first_over_time" => ("first_over_time", Range(R::First)),
        "floor" => ("floor", Math(f64::floor)),
        "histogram_avg" => ("histogram_avg", HistogramAvg),
        "histogram_count" => ("histogram_count", HistogramCount),
        "histogram_fraction" => ("histogram_fraction", HistogramFraction),
        "histogram_quantile" => ("histogram_quantile", HistogramQuantile),
        "histogram_quantiles" => ("histogram_quantiles", HistogramQuantiles),
        "histogram_stddev" => ("histogram_stddev", HistogramStddev),
        "histogram_stdvar" => ("histogram_stdvar", HistogramStdvar),
        "histogram_sum" => ("histogram_sum", HistogramSum),
        "hour" => ("hour", Date(|d| f64::from(d.hour))),
        "idelta" => ("idelta", Range(R::Idelta)),
        "increase" => ("increase", Range(R::Increase)),
        "info" => ("info", Info),
        "irate" => ("irate", Range(R::Irate)),
        "label_join" => ("label_join", LabelJoin),
        "label_replace" => ("label_replace", LabelReplace),
        "last_over_time" => ("last_over_time", Range(R::Last)),
        "ln" => ("ln", Math(f64::ln)),
        "log10" => ("log10", Math(f64::log10)),
        "log2" => ("log2", Math(f64::log2)),
        "mad_over_time" => ("mad_over_time", Range(R::Mad)),
        "max_of" => ("max_of", MaxOf),
        "max_over_time" => ("max_over_time", Range(R::Max)),
        "min_of" => ("min_of", MinOf),
        "min_over_time" => ("min_over_time", Range(R::Min)),
        "minute" => ("minute", Date(|d| f64::from(d.minute))),
        "month" => ("month", Date(|d| f64::from(d.month))),
        "pi" => ("pi", Pi),
        "predict_linear" => ("predict_linear", Range(R::PredictLinear)),
        "present_over_time" => ("present_over_time", Range(R::Present)),
        "quantile_over_time" => ("quantile_over_time", Range(R::Quantile)),
        "rad" => ("rad", Math(|v| v * std::f64::consts::PI / 180.0)),
        "range" => ("range", QueryRange),
        "rate" => ("rate", Range(R::Rate)),
        "resets" => ("resets", Range(R::Resets)),
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
        "start_timestamp" => ("start_timestamp", StartTimestamp),
        "stddev_over_time" => ("stddev_over_time", Range(R::Stddev)),
        "stdvar_over_time" => ("stdvar_over_time", Range(R::Stdvar)),
        "step" => ("step", QueryStep),
        "sum_over_time" => ("sum_over_time", Range(R::Sum)),
        "tan" => ("tan", Math(f64::tan)),
        "tanh" => ("tanh", Math(f64::tanh)),
        "time" => ("time", Time),
        "timestamp" => ("timestamp", Timestamp),
        "ts_of_first_over_time" => ("ts_of_first_over_time", Range(R::TsOfFirst)),
        "ts_of_last_over_time" => ("ts_of_last_over_time", Range(R::TsOfLast)),
        "ts_of_max_over_time" => ("ts_of_max_over_time", Range(R::TsOfMax)),
        "ts_of_min_over_time" => ("ts_of_min_over_time", Range(R::TsOfMin)),
        "vector" => ("vector", Vector),
        "year" => ("year", Date(|d| d.year as f64)),
        _ => return None,
    };
    let sees_time = matches!(
        kind,
        Date(_)
            | Time
            | Timestamp
            | StartTimestamp
            | QueryStart
            | QueryEnd
            | QueryRange
            | QueryStep
            | Range(R::PredictLinear)
    );
    Some(Function { name, kind, sees_time })
}

#[cfg(test)]
mod tests {
    /// What the parser reads can be evaluated.
    #[test]
    fn each_function_of_the_language_is_there() {
        for function in monitor_lang::FUNCTIONS {
            let found = super::find(function.name);
            assert_eq!(found.map(|f| f.name), Some(function.name));
        }
    }
}
