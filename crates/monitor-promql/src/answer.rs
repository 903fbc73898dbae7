//! What a query answers.

use crate::{HistogramPoint, Labels, Point, Value};

/// A query's answer with what was noticed on the way.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The answer.
    pub answer: Answer,
    /// What may make the answer wrong; the HTTP API's `warnings`.
    pub warnings: Vec<String>,
    /// What the author of the query may want to look at; the HTTP API's `infos`.
    pub infos: Vec<String>,
    /// Samples read from the source.
    pub samples_read: u64,
}

/// The answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// A number, of an instant query. API: `"scalar"`, `[t, "v"]`.
    Scalar(Point),
    /// A text, of an instant query. API: `"string"`, `[t, "text"]`.
    String {
        /// When it was evaluated, in Unix milliseconds.
        at_ms: i64,
        /// The text.
        text: String,
    },
    /// Series with one value each, of an instant query; in the order of the
    /// query where it sorts, else ascending by labels. API: `"vector"`.
    Vector(Vec<Sample>),
    /// Series with values over time, ascending by labels: the answer of a range
    /// query, and of an instant query for a range selector. API: `"matrix"`.
    Matrix(Vec<Series>),
}

/// A series' value at one time.
#[derive(Clone, Debug)]
pub struct Sample {
    /// What names the series.
    pub labels: Labels,
    /// When it was evaluated, in Unix milliseconds.
    pub at_ms: i64,
    /// The value.
    pub value: Value,
}

impl Sample {
    /// The number, where it is one.
    pub fn float(&self) -> Option<f64> {
        match self.value {
            Value::Float(value) => Some(value),
            Value::Histogram(_) => None,
        }
    }
}

/// A series' values over time.
#[derive(Clone, Debug)]
pub struct Series {
    /// What names the series.
    pub labels: Labels,
    /// The numbers, ascending by time.
    pub points: Vec<Point>,
    /// The histograms, ascending by time.
    pub histograms: Vec<HistogramPoint>,
}

/// A value as Prometheus' HTTP API writes it: the shortest decimal that reads
/// back as the same number, never with an exponent (Go's
/// `strconv.FormatFloat(v, 'f', -1, 64)`); `NaN`, `+Inf`, `-Inf`.
pub fn format_value(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else {
        format!("{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_prometheus_does() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1, "0.1"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (123_456.789, "123456.789"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(format_value(value), expected);
        }
    }
}
