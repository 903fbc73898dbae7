//! Evaluation: each part of a query gives, for all steps at once, a number or
//! series. A selector's series are read one after another, and only what they
//! give at the steps is kept.

mod aggregate;
mod binary;
mod histogram;
mod instant;
mod labels;
mod range;

use crate::plan::{At, Call, Node, Selector, TimeShift};
use crate::query::Stop;
use crate::{Error, Labels, METRIC_NAME, Matcher, Options, Point, STALE, Selection, Source, is_stale};
use rustc_hash::FxHashMap;
use std::collections::BTreeSet;

/// The times at which a part is evaluated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    pub(crate) step_ms: i64,
    pub(crate) count: usize,
}

impl Steps {
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Self {
        let count = if end_ms < start_ms { 0 } else { (end_ms - start_ms) / step_ms + 1 };
        Self { start_ms, end_ms, step_ms, count: count as usize }
    }

    pub(crate) fn at(&self, index: usize) -> i64 {
        self.start_ms + self.step_ms * index as i64
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = i64> + use<> {
        let steps = *self;
        (0..steps.count).map(move |i| steps.at(i))
    }

    fn first_only(&self) -> Self {
        Self { end_ms: self.start_ms, count: self.count.min(1), ..*self }
    }
}

/// What a part gives.
#[derive(Debug)]
pub(crate) enum Value {
    /// A number at each step.
    Scalar(Vec<f64>),
    Text(String),
    /// Series.
    Vector(Vec<Column>),
}

/// A series with its value at each step; [`ABSENT`] where it has none.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) labels: Labels,
    /// The metric's name no longer fits the values and goes at the end.
    pub(crate) drop_name: bool,
    pub(crate) values: Vec<f64>,
}

/// Stands for "no value at this step". No selector gives the staleness marker as
/// a value and no calculation makes it, so it is free for this.
pub(crate) const ABSENT: f64 = STALE;

pub(crate) fn present(value: f64) -> bool {
    !is_stale(value)
}

/// Labels that describe a metric and go with its name (Prometheus 3, "type and unit labels").
fn is_reserved(label: &str) -> bool {
    matches!(label, METRIC_NAME | "__type__" | "__unit__")
}

/// What the reader of the answer should know.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) warnings: BTreeSet<String>,
    pub(crate) infos: BTreeSet<String>,
}

/// Notes of one kind that are kept.
const MAX_NOTES: usize = 10;

pub(crate) struct Evaluator<'a> {
    source: &'a dyn Source,
    options: &'a Options<'a>,
    /// The whole query's steps, for `start()` and `end()`.
    query: Steps,
    /// Values in memory.
    held: u64,
    pub(crate) samples_read: u64,
    pub(crate) notes: Notes,
}

impl<'a> Evaluator<'a> {
    pub(crate) fn new(source: &'a dyn Source, options: &'a Options<'a>, query: Steps) -> Self {
        Self { source, options, query, held: 0, samples_read: 0, notes: Notes::default() }
    }

    pub(crate) fn eval(&mut self, node: &Node, steps: Steps) -> Result<Value, Error> {
        self.check_stop()?;
        match node {
            Node::Number(number) => Ok(Value::Scalar(vec![*number; steps.count])),
            Node::Text(text) => Ok(Value::Text(text.clone())),
            Node::Vector(selector) => self.instant_vector(selector, steps, false).map(Value::Vector),
            Node::Range(_) => Err(Error::Execution("a range of points is not a value here".into())),
            Node::Negate(inner) => self.negate(inner, steps),
            Node::Binary(binary) => self.binary(binary, steps),
            Node::Aggregate(aggregate) => self.aggregate(aggregate, steps).map(Value::Vector),
            Node::Call(call) => self.call(call, steps),
            Node::Constant(inner) => self.constant(inner, steps),
        }
    }

    /// Series, where the parser has already made sure of the type.
    fn eval_vector(&mut self, node: &Node, steps: Steps) -> Result<Vec<Column>, Error> {
        match self.eval(node, steps)? {
            Value::Vector(columns) => Ok(columns),
            _ => Err(Error::Execution("expected an instant vector".into())),
        }
    }

    /// A number at each step.
    fn eval_scalar(&mut self, node: &Node, steps: Steps) -> Result<Vec<f64>, Error> {
        match self.eval(node, steps)? {
            Value::Scalar(values) => Ok(values),
            _ => Err(Error::Execution("expected a scalar".into())),
        }
    }

    /// Evaluates at the first step and repeats.
    fn constant(&mut self, inner: &Node, steps: Steps) -> Result<Value, Error> {
        match self.eval(inner, steps.first_only())? {
            Value::Vector(mut columns) => {
                self.hold(columns.len(), steps.count.saturating_sub(1))?;
                for column in &mut columns {
                    let value = column.values.first().copied().unwrap_or(ABSENT);
                    column.values = vec![value; steps.count];
                }
                Ok(Value::Vector(columns))
            }
            Value::Scalar(values) => {
                Ok(Value::Scalar(vec![values.first().copied().unwrap_or(f64::NAN); steps.count]))
            }
            text => Ok(text),
        }
    }

    fn negate(&mut self, inner: &Node, steps: Steps) -> Result<Value, Error> {
        match self.eval(inner, steps)? {
            Value::Scalar(values) => Ok(Value::Scalar(values.into_iter().map(|v| -v).collect())),
            Value::Vector(columns) => self.map_values(columns, |v| -v).map(Value::Vector),
            text => Ok(text),
        }
    }

    /// Applies a function to each value; the metric's name goes.
    fn map_values(&self, mut columns: Vec<Column>, f: impl Fn(f64) -> f64) -> Result<Vec<Column>, Error> {
        for column in &mut columns {
            column.values.iter_mut().filter(|v| present(**v)).for_each(|v| *v = f(*v));
        }
        self.without_names(columns)
    }

    /// The latest value of each selected series at each step, or the time of it
    /// in seconds.
    fn instant_vector(
        &mut self,
        selector: &Selector,
        steps: Steps,
        time_of_point: bool,
    ) -> Result<Vec<Column>, Error> {
        let lookback = self.options.lookback_ms;
        let (first, last) =
            (self.shift(selector.time, steps.start_ms), self.shift(selector.time, steps.end_ms));
        let mut columns = Vec::new();
        let mut shared = self.select(&selector.matchers, first - lookback + 1, last)?;
        while let Some((labels, points)) = shared.next(self)? {
            let mut values = Vec::with_capacity(steps.count);
            let mut seen = 0;
            let mut any = false;
            for at in steps.times() {
                let reference = self.shift(selector.time, at);
                seen += points[seen..].iter().take_while(|p| p.at_ms <= reference).count();
                let value = match points[..seen].last() {
                    Some(p) if p.at_ms > reference - lookback && !is_stale(p.value) => {
                        if time_of_point {
                            p.at_ms as f64 / 1e3
                        } else {
                            p.value
                        }
                    }
                    _ => ABSENT,
                };
                any |= present(value);
                values.push(value);
            }
            self.release(points.len());
            if any {
                self.hold(1, steps.count)?;
                columns.push(Column { labels, drop_name: false, values });
                self.check_series(columns.len())?;
            }
        }
        shared.finish(self);
        Ok(columns)
    }

    /// A time with `offset` and `@` applied.
    fn shift(&self, time: TimeShift, at_ms: i64) -> i64 {
        let fixed = match time.at {
            Some(At::Ms(ms)) => ms,
            Some(At::Start) => self.query.start_ms,
            Some(At::End) => self.query.end_ms,
            None => at_ms,
        };
        fixed - time.offset_ms
    }

    fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<Selected<'a>, Error> {
        let selection = Selection::new(matchers, start_ms, end_ms);
        Ok(Selected { stream: self.source.select(&selection)? })
    }

    /// Takes the metric's name off: at once, or at the end where names are kept so long.
    fn without_names(&self, mut columns: Vec<Column>) -> Result<Vec<Column>, Error> {
        if self.options.delayed_name_removal {
            columns.iter_mut().for_each(|c| c.drop_name = true);
            return Ok(columns);
        }
        columns.iter_mut().for_each(|c| c.labels = c.labels.without(is_reserved));
        merge_same_labels(columns)
    }

    /// The end of the query: names that were kept so long go.
    pub(crate) fn finish(&self, mut columns: Vec<Column>) -> Result<Vec<Column>, Error> {
        if self.options.delayed_name_removal {
            columns.iter_mut().filter(|c| c.drop_name).for_each(|c| c.labels = c.labels.without(is_reserved));
        }
        merge_same_labels(columns)
    }

    /// Accounts for values in memory.
    fn hold(&mut self, series: usize, steps: usize) -> Result<(), Error> {
        self.held = self.held.saturating_add((series as u64).saturating_mul(steps as u64));
        if self.held > self.options.max_samples {
            return Err(Error::Limit(format!(
                "query processing would load too many samples into memory in query execution: more than {}",
                self.options.max_samples
            )));
        }
        Ok(())
    }

    /// Accounts for points that the answer keeps.
    pub(crate) fn keep_points(&mut self, points: usize) -> Result<(), Error> {
        self.hold(1, points)
    }

    fn release(&mut self, values: usize) {
        self.held = self.held.saturating_sub(values as u64);
    }

    fn release_columns(&mut self, columns: usize, steps: Steps) {
        self.release(columns.saturating_mul(steps.count));
    }

    fn check_series(&self, series: usize) -> Result<(), Error> {
        if series > self.options.max_series {
            return Err(Error::Limit(format!(
                "the query has more than {} series; select fewer",
                self.options.max_series
            )));
        }
        Ok(())
    }

    fn check_stop(&self) -> Result<(), Error> {
        match (self.options.stop)() {
            None => Ok(()),
            Some(Stop::Deadline) => Err(Error::Timeout),
            Some(Stop::Cancelled) => Err(Error::Cancelled),
        }
    }

    fn warn(&mut self, what: String) {
        if self.notes.warnings.len() < MAX_NOTES {
            self.notes.warnings.insert(format!("PromQL warning: {what}"));
        }
    }

    fn inform(&mut self, what: String) {
        if self.notes.infos.len() < MAX_NOTES {
            self.notes.infos.insert(format!("PromQL info: {what}"));
        }
    }

    fn call(&mut self, call: &Call, steps: Steps) -> Result<Value, Error> {
        use crate::functions::Kind;
        match call.function.kind {
            Kind::Range(function) => self.range_function(call, function, steps).map(Value::Vector),
            Kind::AbsentOverTime => self.absent_over_time(call, steps).map(Value::Vector),
            Kind::LabelReplace => self.label_replace(call, steps).map(Value::Vector),
            Kind::LabelJoin => self.label_join(call, steps).map(Value::Vector),
            Kind::Sort { descending } => self.sort(call, steps, descending).map(Value::Vector),
            Kind::SortByLabel { descending } => {
                self.sort_by_label(call, steps, descending).map(Value::Vector)
            }
            Kind::HistogramQuantile | Kind::HistogramQuantiles | Kind::HistogramFraction => {
                self.histogram(call, steps).map(Value::Vector)
            }
            _ => self.instant_function(call, steps),
        }
    }
}

/// The series of a selector, accounted for as they come.
struct Selected<'a> {
    stream: Box<dyn crate::SeriesStream + 'a>,
}

impl Selected<'_> {
    fn next(&mut self, evaluator: &mut Evaluator<'_>) -> Result<Option<(Labels, Vec<Point>)>, Error> {
        evaluator.check_stop()?;
        let Some(series) = self.stream.next_series()? else { return Ok(None) };
        evaluator.hold(1, series.points.len())?;
        evaluator.samples_read += series.points.len() as u64;
        Ok(Some((series.labels, series.points)))
    }

    /// Passes on what the source has to say.
    fn finish(mut self, evaluator: &mut Evaluator<'_>) {
        evaluator.notes.warnings.extend(self.stream.warnings());
    }
}

/// Joins columns of the same labels; two values at one step are an error.
pub(crate) fn merge_same_labels(columns: Vec<Column>) -> Result<Vec<Column>, Error> {
    let mut places: FxHashMap<Labels, usize> = FxHashMap::default();
    let mut merged: Vec<Column> = Vec::with_capacity(columns.len());
    for column in columns {
        let place = *places.entry(column.labels.clone()).or_insert(merged.len());
        if place == merged.len() {
            merged.push(column);
            continue;
        }
        for (into, value) in merged[place].values.iter_mut().zip(&column.values) {
            if present(*into) && present(*value) {
                return Err(Error::Execution("vector cannot contain metrics with the same labelset".into()));
            }
            if present(*value) {
                *into = *value;
            }
        }
        merged[place].drop_name |= column.drop_name;
    }
    Ok(merged)
}

/// A number as Go's `%g` writes it, as Prometheus does in notes.
pub(crate) fn format_g(value: f64) -> String {
    let exponent = if value == 0.0 || !value.is_finite() { 0 } else { value.abs().log10().floor() as i32 };
    if (-4..21).contains(&exponent) {
        crate::format_value(value)
    } else {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
    }
}
