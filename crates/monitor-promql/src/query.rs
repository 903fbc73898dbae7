//! A query, read once and evaluated as often as wanted.

use crate::eval::{Evaluator, Steps, Value, present};
use crate::plan::{self, Node, Plan, Range, RangeOf};
use crate::{Answer, Error, Labels, Matcher, Outcome, Point, Sample, Series, Source};
use promql_parser::parser::value::ValueType;

/// A query that was read and understood.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    plan: Plan,
}

/// How a query is evaluated, and what it may take.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How far back a value counts as current, in milliseconds. Prometheus: 5 min.
    pub lookback_ms: i64,
    /// The step of a subquery that gives none, in milliseconds; the interval of rules.
    pub subquery_step_ms: i64,
    /// Values of eight or sixteen bytes that may be in memory at once. Default
    /// 20,000,000; Prometheus: 50,000,000.
    pub max_samples: u64,
    /// Series that one expression may have.
    pub max_series: usize,
    /// Steps of a range query. Prometheus: 11,000.
    pub max_steps: usize,
    /// Keep metric names until the end, so that `label_replace` still sees them
    /// (Prometheus' feature `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Asked often; an answer ends the query.
    pub stop: &'a (dyn Fn() -> Option<Stop> + Sync),
}

/// Why a query must end before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its deadline passed.
    Deadline,
    /// Nobody waits for it any more.
    Cancelled,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            max_samples: 20_000_000,
            max_series: 100_000,
            max_steps: 11_000,
            delayed_name_removal: false,
            stop: &|| None,
        }
    }
}

/// Times are kept below 2⁵³ ms, so that sums of a few of them never overflow.
const MAX_TIME_MS: i64 = 1 << 53;

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { text: text.into(), plan: plan::read(text)? })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text that the query is, where it is only that.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.plan.root {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The conditions of each selector in it, in order.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        let mut into = Vec::new();
        self.plan.root.selectors(&mut into);
        into
    }

    /// Evaluates at one time, in Unix milliseconds.
    pub fn instant(&self, source: &dyn Source, at_ms: i64, options: &Options<'_>) -> Result<Outcome, Error> {
        check_times(&[at_ms])?;
        let steps = Steps::new(at_ms, at_ms, 1);
        let mut evaluator = Evaluator::new(source, options, steps);
        let root = match &self.plan.root {
            Node::Constant(inner) => inner,
            root => root,
        };
        if let Node::Range(range) = root {
            let series = raw_points(&mut evaluator, range, steps)?;
            return Ok(outcome(evaluator, Answer::Matrix(series)));
        }
        let answer = match evaluator.eval(root, steps)? {
            Value::Scalar(values) => Answer::Scalar(Point { at_ms, value: values[0] }),
            Value::Text(text) => Answer::String { at_ms, text },
            Value::Vector(columns) => {
                let columns = evaluator.finish(columns)?;
                let sample = |column: crate::eval::Column| {
                    let value = column.values[0];
                    present(value).then_some(Sample { labels: column.labels, point: Point { at_ms, value } })
                };
                Answer::Vector(columns.into_iter().filter_map(sample).collect())
            }
        };
        Ok(outcome(evaluator, answer))
    }

    /// Evaluates at `start`, `start + step` and so on until `end`, in
    /// milliseconds. The answer is always a matrix.
    pub fn range(
        &self,
        source: &dyn Source,
        start_ms: i64,
        end_ms: i64,
        step_ms: i64,
        options: &Options<'_>,
    ) -> Result<Outcome, Error> {
        check_times(&[start_ms, end_ms])?;
        if step_ms <= 0 || step_ms >= MAX_TIME_MS {
            return Err(Error::Parse("the step must be positive: a number of seconds such as `15`".into()));
        }
        if end_ms < start_ms {
            return Err(Error::Parse("the end of the range is before its start".into()));
        }
        if !matches!(self.plan.kind, ValueType::Vector | ValueType::Scalar) {
            return Err(Error::Parse(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                if self.plan.kind == ValueType::String { "string" } else { "range vector" }
            )));
        }
        let steps = Steps::new(start_ms, end_ms, step_ms);
        if steps.count > options.max_steps {
            return Err(Error::Limit(format!(
                "the range has {} steps, at most {} are evaluated\nhint: use a larger step",
                steps.count, options.max_steps
            )));
        }
        let mut evaluator = Evaluator::new(source, options, steps);
        let columns = match evaluator.eval(&self.plan.root, steps)? {
            Value::Scalar(values) => {
                vec![crate::eval::Column { labels: Labels::empty(), drop_name: false, values }]
            }
            Value::Vector(columns) => evaluator.finish(columns)?,
            Value::Text(_) => return Err(Error::Parse("a range query cannot evaluate a text".into())),
        };
        let mut series: Vec<Series> = columns
            .into_iter()
            .map(|column| {
                let points = steps.times().zip(column.values).filter(|(_, v)| present(*v));
                let points = points.map(|(at_ms, value)| Point { at_ms, value }).collect();
                Series { labels: column.labels, points }
            })
            .filter(|series| !series.points.is_empty())
            .collect();
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(outcome(evaluator, Answer::Matrix(series)))
    }

    /// Whether the answer at a time depends on the range that is asked for.
    pub(crate) fn sees_query(&self) -> bool {
        self.plan.root.calls(&crate::functions::Function::sees_query)
    }

    /// The same query with every selector and subquery fixed to a time that is
    /// not fixed yet, outside subqueries that are; `None` where a function looks
    /// at the time of evaluation itself. Evaluated at any time, it must give
    /// what the query gives at `at_ms`: the script runner checks that.
    pub(crate) fn pinned(&self, at_ms: i64) -> Option<Self> {
        let mut pinned = self.clone();
        plan::pin(&mut pinned.plan.root, at_ms).then_some(pinned)
    }
}

/// Reads a series selector, the `match[]` of the HTTP API: `up{job="a"}`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, Error> {
    plan::read_selector(text)
}

fn check_times(times: &[i64]) -> Result<(), Error> {
    if times.iter().any(|t| t.unsigned_abs() >= MAX_TIME_MS as u64) {
        return Err(Error::Parse("a time of the query is out of range".into()));
    }
    Ok(())
}

fn outcome(evaluator: Evaluator<'_>, answer: Answer) -> Outcome {
    Outcome {
        answer,
        warnings: evaluator.notes.warnings.into_iter().collect(),
        infos: evaluator.notes.infos.into_iter().collect(),
        samples_read: evaluator.samples_read,
    }
}

/// The points themselves, for an instant query of `up[5m]`.
fn raw_points(evaluator: &mut Evaluator<'_>, range: &Range, steps: Steps) -> Result<Vec<Series>, Error> {
    let mut columns = Vec::new();
    evaluator.each_series(range, steps, &mut |evaluator, labels, drop_name, points| {
        if !points.is_empty() {
            evaluator.keep_points(points.len())?;
            let labels = if drop_name { labels.without_name() } else { labels };
            columns.push(Series { labels, points: points.to_vec() });
        }
        Ok(())
    })?;
    if matches!(range.of, RangeOf::Subquery { .. }) {
        let mut seen = std::collections::HashSet::new();
        if !columns.iter().all(|s: &Series| seen.insert(s.labels.clone())) {
            return Err(Error::Execution("vector cannot contain metrics with the same labelset".into()));
        }
    }
    columns.sort_by(|a, b| a.labels.cmp(&b.labels));
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SeriesData;
    use proptest::prelude::*;

    fn data() -> Vec<SeriesData> {
        let series = |name: &str, n: usize| {
            SeriesData::of_points(
                Labels::from_pairs([("__name__", name.to_owned()), ("n", n.to_string())]),
                (0..100).map(|i| Point { at_ms: i * 10_000, value: (i * n as i64) as f64 }).collect(),
            )
        };
        (0..5).map(|n| series("a", n)).chain((0..5).map(|n| series("b", n))).collect()
    }

    #[test]
    fn limits_are_errors() {
        let data = data();
        let few = Options { max_samples: 1_000, ..Options::default() };
        let cases: &[(&str, Options<'_>)] = &[
            ("a[10m]", Options { max_samples: 100, ..Options::default() }),
            ("sum_over_time(a[1000s:1ms])", few),
            ("sum_over_time(a[100y:1ms])", Options::default()),
            ("a", Options { max_series: 2, ..Options::default() }),
            ("sum(a)", Options { stop: &|| Some(Stop::Deadline), ..Options::default() }),
            ("rate(a[1m])", Options { stop: &|| Some(Stop::Cancelled), ..Options::default() }),
        ];
        for (text, options) in cases {
            let error = Query::parse(text).unwrap().instant(&data, 900_000, options).unwrap_err();
            let fits = matches!(error, Error::Limit(_) | Error::Timeout | Error::Cancelled);
            assert!(fits, "{text}: {error}");
        }
        let sum = Query::parse("sum(a)").unwrap();
        for (start, end, step) in [(0, 1, 0), (0, 1, -1), (1, 0, 1), (0, 20_000_000, 1), (i64::MIN, 0, 1)] {
            assert!(sum.range(&data, start, end, step, &Options::default()).is_err(), "{start} {end} {step}");
        }
        assert!(sum.instant(&data, i64::MAX, &Options::default()).is_err());
    }

    /// A query is asked to stop by how much it visits, not only by how much it reads:
    /// nested subqueries visit each point of a day for each second of another.
    #[test]
    fn a_query_that_visits_much_looks_at_its_deadline() {
        let data = data();
        let query = Query::parse("max_over_time(max_over_time(a[1000s:10ms])[20s:100ms])").unwrap();
        let looks = std::sync::atomic::AtomicU64::new(0);
        let stop = || {
            let look = looks.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            (look > 100).then_some(Stop::Deadline)
        };
        let options = Options { stop: &stop, ..Options::default() };
        let error = query.instant(&data, 900_000, &options).unwrap_err();
        assert!(matches!(error, Error::Timeout), "{error}");
    }

    /// The largest trees that are read fit the stack of a small thread.
    #[test]
    fn deep_queries_fit_a_small_stack() {
        let deep = |inner: String| {
            std::thread::Builder::new()
                .stack_size(2 << 20)
                .spawn(move || {
                    let query = Query::parse(&inner).unwrap();
                    let data = data();
                    query.instant(&data, 900_000, &Options::default()).unwrap();
                    query.range(&data, 0, 900_000, 60_000, &Options::default()).unwrap();
                })
                .unwrap()
                .join()
        };
        let cases = [
            "a".to_owned() + &" + a".repeat(400),
            "1".to_owned() + &" ^ 1".repeat(400),
            "-".repeat(400) + "a",
            "(".repeat(100) + "a" + &")".repeat(100),
            "abs(".repeat(100) + "a" + &")".repeat(100),
            "sum(".repeat(100) + "a" + &")".repeat(100),
        ];
        for text in cases {
            let name = text[..20.min(text.len())].to_owned();
            assert!(deep(text).is_ok(), "{name}");
        }
    }

    #[test]
    fn names_are_kept_or_dropped_as_asked() {
        let data = data();
        let text = "label_replace(rate(a[1m]), \"was\", \"$1\", \"__name__\", \"(.*)\")";
        for (delayed, expected) in [(true, Some("a")), (false, None)] {
            let options = Options { delayed_name_removal: delayed, ..Options::default() };
            let outcome = Query::parse(text).unwrap().instant(&data, 900_000, &options).unwrap();
            let Answer::Vector(samples) = outcome.answer else { panic!("no vector") };
            assert_eq!(samples.len(), 5);
            assert!(samples.iter().all(|s| s.labels.get("was") == expected && s.labels.name().is_none()));
        }
        let same = Query::parse("abs({n=\"1\"})").unwrap().instant(&data, 900_000, &Options::default());
        assert!(same.unwrap_err().to_string().contains("same labelset"));
    }

    const PARTS: &[&str] = &[
        "a",
        "b",
        "{n=\"1\"}",
        "1",
        "-",
        "+",
        "*",
        "(",
        ")",
        "sum",
        "by (n)",
        "rate(",
        "[1m]",
        "[1m:10s]",
        "offset",
        "1m",
        "@",
        "start()",
        "or",
        "and on(n)",
        "group_left",
        "bool",
        ">",
        "topk(2,",
        "histogram_quantile(0.5,",
        "\"x\"",
        "Inf",
        "NaN",
        "1e300",
        "0x",
        "absent(",
        "le",
        ",",
        "{",
        "}",
        "[",
        "]",
        "#",
        "é",
        "label_replace(",
        "time()",
        "vector(",
        "scalar(",
        "quantile(",
        "count_values(\"v\",",
        " ",
        "\n",
        "^",
        "predict_linear(",
    ];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
        /// Any text gets an answer or an error.
        #[test]
        fn no_text_panics(parts in prop::collection::vec(0..PARTS.len(), 0..12), noise in ".{0,6}") {
            let text: String = parts.iter().map(|i| PARTS[*i]).chain([noise.as_str()]).collect();
            let options = Options { max_samples: 10_000, ..Options::default() };
            if let Ok(query) = Query::parse(&text) {
                let _ = query.instant(&data(), 500_000, &options);
                let _ = query.range(&data(), 0, 500_000, 50_000, &options);
            }
        }
    }
}
