//! A query, read once and evaluated as often as wanted.

use crate::column::{At, Column, SAME_LABELS, Steps, present};
use crate::eval::Evaluator;
use crate::plan::{self, Kind, MAX_TIME_MS, Part, QueryTimes, Range, RangeOf};
use crate::{Answer, Error, HistogramPoint, Labels, Matcher, Outcome, Point, Sample, Series, Source, Value};
use monitor_lang::ParseOptions;
use monitor_lang::ast::{At as AtTime, Expr, Kind as Ast, Shift, Type};
use monitor_model::Column as Rollup;

/// A query that was read and understood.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
    expr: Expr,
}

/// How a query is evaluated, and what it may take.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How far back a value counts as current, in milliseconds. Prometheus: 5 min.
    pub lookback_ms: i64,
    /// The step of a subquery that gives none, in milliseconds; the interval of rules.
    pub subquery_step_ms: i64,
    /// Values of eight or sixteen bytes that may be in memory at once; a histogram
    /// counts as many as it takes. Default 20,000,000; Prometheus: 50,000,000.
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

/// What a query's text may cost. Grafana's largest generated queries are around
/// 20 kB; the heights are those at which evaluation fits a stack of 2 MiB even
/// without optimisation.
const LIMITS: ParseOptions =
    ParseOptions { max_bytes: 1 << 17, max_nesting: 100, max_height: 400, max_regexes: 256 };

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let expr = monitor_lang::parse(text, &LIMITS).map_err(|error| Error::Parse(error.to_string()))?;
        Ok(Self { text: text.into(), expr })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// The text that the query is, where it is only that.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &self.expr.unparenthesised().kind {
            Ast::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The conditions of each selector in it, in order.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        let mut found = Vec::new();
        walk(&self.expr, &mut |expr| {
            if let Ast::Selector(selector) | Ast::Range { selector, .. } = &expr.kind {
                found.push(selector.matchers.clone());
            }
        });
        found
    }

    /// Evaluates at one time, in Unix milliseconds.
    pub fn instant(&self, source: &dyn Source, at_ms: i64, options: &Options<'_>) -> Result<Outcome, Error> {
        check_times(&[at_ms])?;
        let times = QueryTimes { start_ms: at_ms, end_ms: at_ms, step_ms: 0 };
        let part = plan::prepare(&self.expr, times)?;
        let steps = Steps::new(at_ms, at_ms, 1);
        let mut evaluator = Evaluator::new(source, options, times);
        let answer = match (&part.kind, part.gives) {
            (Kind::Text(text), _) => Answer::String { at_ms, text: (*text).to_owned() },
            (Kind::Range(range), _) => Answer::Matrix(raw_points(&mut evaluator, range, steps)?),
            (_, Type::Scalar) => {
                let value = evaluator.scalars(&part, steps)?[0];
                Answer::Scalar(Point { at_ms, value })
            }
            _ => Answer::Vector(samples(&mut evaluator, &part, steps)?),
        };
        Ok(self.outcome(evaluator, answer))
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
        let gives = self.expr.gives();
        if !matches!(gives, Type::Vector | Type::Scalar) {
            return Err(Error::Parse(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                if gives == Type::String { "string" } else { "range vector" }
            )));
        }
        let steps = Steps::new(start_ms, end_ms, step_ms);
        if steps.count > options.max_steps {
            return Err(Error::Limit(format!(
                "the range has {} steps, at most {} are evaluated\nhint: use a larger step",
                steps.count, options.max_steps
            )));
        }
        let times = QueryTimes { start_ms, end_ms, step_ms };
        let part = plan::prepare(&self.expr, times)?;
        let mut evaluator = Evaluator::new(source, options, times);
        let columns = match gives {
            Type::Scalar => {
                let values = evaluator.scalars(&part, steps)?;
                // A number may have any bits, the marker's too.
                let values = values.into_iter().map(|v| if present(v) { v } else { f64::NAN }).collect();
                vec![Column::of_values(Labels::empty(), values)]
            }
            _ => {
                let columns = evaluator.columns(&part, steps)?;
                evaluator.finish(columns)?
            }
        };
        let mut series: Vec<Series> = columns.into_iter().map(|column| series_of(&column, steps)).collect();
        series.retain(|series| !(series.points.is_empty() && series.histograms.is_empty()));
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(self.outcome(evaluator, Answer::Matrix(series)))
    }

    fn outcome(&self, evaluator: Evaluator<'_>, answer: Answer) -> Outcome {
        let (warnings, infos) = evaluator.notes.tell(&self.text);
        let joined = |mut all: Vec<String>, notes: Vec<String>| {
            all.sort();
            all.dedup();
            all.extend(notes);
            all
        };
        Outcome {
            answer,
            warnings: joined(evaluator.source_warnings, warnings),
            infos: joined(evaluator.source_infos, infos),
            samples_read: evaluator.samples_read,
        }
    }

    /// Whether the answer at a time depends on the range that is asked for.
    pub(crate) fn sees_query(&self) -> bool {
        let mut sees = false;
        walk(&self.expr, &mut |expr| {
            sees |= called(expr).is_some_and(|function| function.sees_query())
                || spans(expr).any(|span| matches!(span, monitor_lang::ast::Span::Computed(..)))
                || shift(expr).is_some_and(|shift| matches!(shift.at, Some(AtTime::Start | AtTime::End)));
        });
        sees
    }

    /// The same query with every selector and subquery fixed to a time that is
    /// not fixed yet, outside subqueries that are; `None` where a function looks
    /// at the time of evaluation itself. Evaluated at any time, it must give
    /// what the query gives at `at_ms`: the script runner checks that.
    pub(crate) fn pinned(&self, at_ms: i64) -> Option<Self> {
        let mut pinned = self.clone();
        pin(&mut pinned.expr, at_ms).then_some(pinned)
    }
}

/// Reads a series selector, the `match[]` of the HTTP API: `up{job="a"}`.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, Error> {
    monitor_lang::parse_selector(text).map_err(|error| Error::Parse(error.to_string()))
}

fn check_times(times: &[i64]) -> Result<(), Error> {
    if times.iter().any(|t| t.unsigned_abs() >= MAX_TIME_MS as u64) {
        return Err(Error::Parse("a time of the query is out of range".into()));
    }
    Ok(())
}

fn samples(evaluator: &mut Evaluator<'_>, part: &Part<'_>, steps: Steps) -> Result<Vec<Sample>, Error> {
    let columns = evaluator.columns(part, steps)?;
    let columns = evaluator.finish(columns)?;
    let at_ms = steps.start_ms;
    let sample = |column: Column| {
        let value = match column.at(0) {
            At::None => return None,
            At::Float(value) => Value::Float(value),
            At::Histogram(histogram) => Value::Histogram(histogram.clone()),
        };
        Some(Sample { labels: column.labels, at_ms, value })
    };
    Ok(columns.into_iter().filter_map(sample).collect())
}

fn series_of(column: &Column, steps: Steps) -> Series {
    let floats = column.values.iter().filter(|v| present(**v)).count();
    let mut series =
        Series { labels: column.labels.clone(), points: Vec::with_capacity(floats), histograms: Vec::new() };
    for (step, at_ms) in steps.times().enumerate() {
        match column.at(step) {
            At::None => {}
            At::Float(value) => series.points.push(Point { at_ms, value }),
            At::Histogram(histogram) => {
                series.histograms.push(HistogramPoint { at_ms, value: histogram.clone() });
            }
        }
    }
    series
}

/// The points themselves, for an instant query of `up[5m]`.
fn raw_points(evaluator: &mut Evaluator<'_>, range: &Range<'_>, steps: Steps) -> Result<Vec<Series>, Error> {
    let mut found: Vec<Series> = Vec::new();
    evaluator.each_range(range, Rollup::Value, steps, &mut |evaluator, series| {
        let (points, histograms) = evaluator.points_of(range, steps.start_ms, series.data);
        if points.is_empty() && histograms.is_empty() {
            return Ok(());
        }
        evaluator.hold(points.len() + histograms.len())?;
        evaluator.check_series(found.len() + 1)?;
        let labels = match series.drop_name {
            true => series.data.labels.without(crate::eval::is_reserved),
            false => series.data.labels.clone(),
        };
        found.push(Series { labels, points, histograms });
        Ok(())
    })?;
    found.sort_by(|a, b| a.labels.cmp(&b.labels));
    if matches!(range.of, RangeOf::Subquery { .. })
        && found.windows(2).any(|two| two[0].labels == two[1].labels)
    {
        return Err(Error::Execution(SAME_LABELS.into()));
    }
    Ok(found)
}

/// Visits each expression of a tree.
fn walk<'e>(expr: &'e Expr, visit: &mut dyn FnMut(&'e Expr)) {
    visit(expr);
    match &expr.kind {
        Ast::Number { .. } | Ast::Text(_) | Ast::Selector(_) | Ast::Range { .. } => {}
        Ast::Subquery { of, .. } | Ast::Unary { of, .. } | Ast::Paren(of) => walk(of, visit),
        Ast::Call { args, .. } => args.iter().for_each(|arg| walk(arg, visit)),
        Ast::Aggregate { param, of, .. } => {
            if let Some(param) = param {
                walk(param, visit);
            }
            walk(of, visit);
        }
        Ast::Binary { left, right, .. } => {
            walk(left, visit);
            walk(right, visit);
        }
    }
}

fn called(expr: &Expr) -> Option<crate::functions::Function> {
    match &expr.kind {
        Ast::Call { function, .. } => crate::functions::find(function.name),
        _ => None,
    }
}

/// The spans of an expression itself.
fn spans(expr: &Expr) -> impl Iterator<Item = &monitor_lang::ast::Span> {
    let (range, step) = match &expr.kind {
        Ast::Range { range, .. } => (Some(range), None),
        Ast::Subquery { range, step, .. } => (Some(range), step.as_ref()),
        _ => (None, None),
    };
    shift(expr).and_then(|shift| shift.offset.as_ref()).into_iter().chain(range).chain(step)
}

/// `offset` and `@` of an expression itself.
fn shift(expr: &Expr) -> Option<&Shift> {
    match &expr.kind {
        Ast::Selector(selector) | Ast::Range { selector, .. } => Some(&selector.shift),
        Ast::Subquery { shift, .. } => Some(shift),
        _ => None,
    }
}

fn pin(expr: &mut Expr, at_ms: i64) -> bool {
    if called(expr).is_some_and(|function| function.sees_time) {
        return false;
    }
    match &mut expr.kind {
        Ast::Number { .. } | Ast::Text(_) => true,
        Ast::Selector(selector) | Ast::Range { selector, .. } => {
            selector.shift.at.get_or_insert(AtTime::Time(at_ms));
            settle(&mut selector.shift, at_ms);
            true
        }
        // What is inside is evaluated at the subquery's own times, which are fixed then.
        Ast::Subquery { of, shift, .. } => {
            shift.at.get_or_insert(AtTime::Time(at_ms));
            settle(shift, at_ms);
            settle_inside(of, at_ms)
        }
        Ast::Unary { of, .. } | Ast::Paren(of) => pin(of, at_ms),
        Ast::Call { args, .. } => args.iter_mut().all(|arg| pin(arg, at_ms)),
        Ast::Aggregate { param, of, .. } => {
            param.as_mut().is_none_or(|param| pin(param, at_ms)) && pin(of, at_ms)
        }
        Ast::Binary { left, right, .. } => pin(left, at_ms) && pin(right, at_ms),
    }
}

/// An instant query starts and ends at its time.
fn settle(shift: &mut Shift, at_ms: i64) {
    if matches!(shift.at, Some(AtTime::Start | AtTime::End)) {
        shift.at = Some(AtTime::Time(at_ms));
    }
}

/// Inside of a subquery only what looks at the whole query's times is fixed; whether
/// all of that can be.
fn settle_inside(expr: &mut Expr, at_ms: i64) -> bool {
    if called(expr).is_some_and(|function| function.sees_query()) {
        return false;
    }
    match &mut expr.kind {
        Ast::Number { .. } | Ast::Text(_) => true,
        Ast::Selector(selector) | Ast::Range { selector, .. } => {
            settle(&mut selector.shift, at_ms);
            true
        }
        Ast::Subquery { of, shift, .. } => {
            settle(shift, at_ms);
            settle_inside(of, at_ms)
        }
        Ast::Unary { of, .. } | Ast::Paren(of) => settle_inside(of, at_ms),
        Ast::Call { args, .. } => args.iter_mut().all(|arg| settle_inside(arg, at_ms)),
        Ast::Aggregate { param, of, .. } => {
            param.as_mut().is_none_or(|param| settle_inside(param, at_ms)) && settle_inside(of, at_ms)
        }
        Ast::Binary { left, right, .. } => settle_inside(left, at_ms) && settle_inside(right, at_ms),
    }
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

    /// What grows with each function of a query, though little is read.
    #[test]
    fn nothing_grows_without_bound() {
        let nested = |inner: &str, before: &str, after: &str| before.repeat(40) + inner + &after.repeat(40);
        let text = "label_replace(a, \"v\", \"xx\", \"\", \"\")";
        let cases = [
            nested(text, "label_replace(", ", \"v\", \"$1$1\", \"v\", \"(.*)\")"),
            nested(text, "label_join(", ", \"v\", \"\", \"v\", \"v\")"),
            format!("sum_over_time(vector({})[9000000s:1s])", nested("time()", "time() + (", ")")),
            format!("sum_over_time(({})[9000000s:1s])", nested("a", "clamp(", ", time(), time())")),
        ];
        for text in cases {
            let error =
                Query::parse(&text).unwrap().instant(&data(), 900_000, &Options::default()).unwrap_err();
            assert!(matches!(error, Error::Limit(_)), "{text}: {error}");
        }
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
            "a".to_owned() + &" + a".repeat(399),
            "1".to_owned() + &" ^ 1".repeat(99),
            "-".repeat(99) + "a",
            "(".repeat(99) + "a" + &")".repeat(99),
            "abs(".repeat(99) + "a" + &")".repeat(99),
            "sum(".repeat(99) + "a" + &")".repeat(99),
            "info(".repeat(99) + "a" + &")".repeat(99),
            "topk(1, ".repeat(99) + "a" + &")".repeat(99),
            "a + on(n) (".repeat(49) + "a" + &")".repeat(49),
            "max_over_time((".repeat(49) + "a" + &")[5m:1m])".repeat(49),
            "histogram_quantile(0.5, ".repeat(99) + "a" + &")".repeat(99),
            "label_replace(".repeat(99) + "a" + &", \"x\", \"$1\", \"n\", \"(.*)\")".repeat(99),
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
