//! The functions of the language: what they take and give.

use crate::ast::Type;
use Type::{Matrix, Scalar, String, Vector};

/// A function.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [Type],
    /// 0: exactly [`args`](Self::args). `n` > 0: the last of them may be left
    /// out, and there may be `n − 1` more of its type. −1: the last may be left
    /// out or repeated without a bound.
    pub variadic: i8,
    /// What it gives.
    pub gives: Type,
    /// Whether Prometheus counts it as experimental.
    pub experimental: bool,
}

impl Function {
    /// The function of a name; names are case-sensitive.
    pub fn named(name: &str) -> Option<&'static Self> {
        let at = FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok()?;
        Some(&FUNCTIONS[at])
    }

    /// How few arguments it takes.
    pub fn at_least(&self) -> usize {
        self.args.len() - usize::from(self.variadic != 0)
    }

    /// How many arguments it takes; none where there is no bound.
    pub fn at_most(&self) -> Option<usize> {
        match self.variadic {
            0 => Some(self.args.len()),
            -1 => None,
            more => Some(self.at_least() + more.unsigned_abs() as usize),
        }
    }

    /// The type of an argument, counted from 0.
    pub fn arg(&self, index: usize) -> Option<Type> {
        match self.args.get(index) {
            None if self.variadic != 0 => self.args.last().copied(),
            found => found.copied(),
        }
    }
}

/// All functions, ascending by name. Sources: Prometheus manual, "Query
/// functions"; signatures as Prometheus 3.14 has them.
pub static FUNCTIONS: &[Function] = &[
    of("abs", V, Vector),
    of("absent", V, Vector),
    of("absent_over_time", M, Vector),
    of("acos", V, Vector),
    of("acosh", V, Vector),
    of("asin", V, Vector),
    of("asinh", V, Vector),
    of("atan", V, Vector),
    of("atanh", V, Vector),
    of("avg_over_time", M, Vector),
    of("ceil", V, Vector),
    of("changes", M, Vector),
    of("clamp", &[Vector, Scalar, Scalar], Vector),
    of("clamp_max", &[Vector, Scalar], Vector),
    of("clamp_min", &[Vector, Scalar], Vector),
    of("cos", V, Vector),
    of("cosh", V, Vector),
    of("count_over_time", M, Vector),
    of("day_of_month", V, Vector).variadic(1),
    of("day_of_week", V, Vector).variadic(1),
    of("day_of_year", V, Vector).variadic(1),
    of("days_in_month", V, Vector).variadic(1),
    of("deg", V, Vector),
    of("delta", M, Vector),
    of("deriv", M, Vector),
    of("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector).experimental(),
    of("end", &[], Scalar).experimental(),
    of("exp", V, Vector),
    of("first_over_time", M, Vector),
    of("floor", V, Vector),
    of("histogram_avg", V, Vector),
    of("histogram_count", V, Vector),
    of("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    of("histogram_quantile", &[Scalar, Vector], Vector),
    of("histogram_quantiles", &[Vector, String, Scalar, Scalar], Vector).variadic(9).experimental(),
    of("histogram_stddev", V, Vector),
    of("histogram_stdvar", V, Vector),
    of("histogram_sum", V, Vector),
    of("hour", V, Vector).variadic(1),
    of("idelta", M, Vector),
    of("increase", M, Vector),
    of("info", &[Vector, Vector], Vector).variadic(1).experimental(),
    of("irate", M, Vector),
    of("label_join", &[Vector, String, String, String], Vector).variadic(-1),
    of("label_replace", &[Vector, String, String, String, String], Vector),
    of("last_over_time", M, Vector),
    of("ln", V, Vector),
    of("log10", V, Vector),
    of("log2", V, Vector),
    of("mad_over_time", M, Vector).experimental(),
    of("max_of", &[Scalar, Scalar], Scalar).experimental(),
    of("max_over_time", M, Vector),
    of("min_of", &[Scalar, Scalar], Scalar).experimental(),
    of("min_over_time", M, Vector),
    of("minute", V, Vector).variadic(1),
    of("month", V, Vector).variadic(1),
    of("pi", &[], Scalar),
    of("predict_linear", &[Matrix, Scalar], Vector),
    of("present_over_time", M, Vector),
    of("quantile_over_time", &[Scalar, Matrix], Vector),
    of("rad", V, Vector),
    of("range", &[], Scalar).experimental(),
    of("rate", M, Vector),
    of("resets", M, Vector),
    of("round", &[Vector, Scalar], Vector).variadic(1),
    of("scalar", V, Scalar),
    of("sgn", V, Vector),
    of("sin", V, Vector),
    of("sinh", V, Vector),
    of("sort", V, Vector),
    of("sort_by_label", &[Vector, String], Vector).variadic(-1).experimental(),
    of("sort_by_label_desc", &[Vector, String], Vector).variadic(-1).experimental(),
    of("sort_desc", V, Vector),
    of("sqrt", V, Vector),
    of("start", &[], Scalar).experimental(),
    of("start_timestamp", V, Vector).experimental(),
    of("stddev_over_time", M, Vector),
    of("stdvar_over_time", M, Vector),
    of("step", &[], Scalar).experimental(),
    of("sum_over_time", M, Vector),
    of("tan", V, Vector),
    of("tanh", V, Vector),
    of("time", &[], Scalar),
    of("timestamp", V, Vector),
    of("ts_of_first_over_time", M, Vector).experimental(),
    of("ts_of_last_over_time", M, Vector).experimental(),
    of("ts_of_max_over_time", M, Vector).experimental(),
    of("ts_of_min_over_time", M, Vector).experimental(),
    of("vector", &[Scalar], Vector),
    of("year", V, Vector).variadic(1),
];

const V: &[Type] = &[Vector];
const M: &[Type] = &[Matrix];

const fn of(name: &'static str, args: &'static [Type], gives: Type) -> Function {
    Function { name, args, variadic: 0, gives, experimental: false }
}

impl Function {
    const fn variadic(self, variadic: i8) -> Self {
        Self { variadic, ..self }
    }

    const fn experimental(self) -> Self {
        Self { experimental: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_each_is_found() {
        assert!(FUNCTIONS.is_sorted_by(|a, b| a.name < b.name));
        for function in FUNCTIONS {
            assert_eq!(Function::named(function.name), Some(function));
        }
        assert_eq!(Function::named("Abs"), None);
    }

    #[test]
    fn how_many_arguments() {
        let cases = [
            ("abs", 1, Some(1)),
            ("time", 0, Some(0)),
            ("round", 1, Some(2)),
            ("hour", 0, Some(1)),
            ("info", 1, Some(2)),
            ("label_join", 3, None),
            ("sort_by_label", 1, None),
            ("histogram_quantiles", 3, Some(12)),
        ];
        for (name, least, most) in cases {
            let function = Function::named(name).unwrap();
            assert_eq!((function.at_least(), function.at_most()), (least, most), "{name}");
        }
        assert_eq!(Function::named("label_join").unwrap().arg(9), Some(String));
        assert_eq!(Function::named("abs").unwrap().arg(1), None);
    }
}
