//! Functions over ranges of points.

use super::{ABSENT, Column, Evaluator, Steps, Value, present};
use crate::functions::{RangeFunction, Window};
use crate::plan::{Call, Node, Range, RangeOf};
use crate::{Error, Labels, METRIC_NAME, Matcher, Point, is_stale};

/// What is done with each series of a range: its labels, whether its name goes,
/// and its points without staleness markers.
pub(crate) type OnSeries<'f, 'a> =
    &'f mut dyn FnMut(&mut Evaluator<'a>, Labels, bool, &[Point]) -> Result<(), Error>;

/// Points that are visited between two looks at whether the query should stop:
/// at some nanoseconds each, about a millisecond.
const POINTS_BETWEEN_LOOKS: usize = 1 << 18;

impl<'a> Evaluator<'a> {
    pub(super) fn range_function(
        &mut self,
        call: &Call,
        function: RangeFunction,
        steps: Steps,
    ) -> Result<Vec<Column>, Error> {
        let range = range_arg(call, function.range_arg)?;
        let args = self.scalar_args(call, function.range_arg, steps)?;
        self.check_args(call.function.name, &args)?;
        let counter = matches!(call.function.name, "rate" | "increase");
        let mut columns = Vec::new();
        self.each_series(range, steps, &mut |this, labels, drop_name, points| {
            let values = this.apply(range, function, &args, steps, points)?;
            if !values.iter().copied().any(present) {
                return Ok(());
            }
            if counter {
                this.note_non_counter(&labels);
            }
            this.hold(1, steps.count)?;
            let drop_name = drop_name && function.keeps_name;
            columns.push(Column { labels, drop_name, values });
            this.check_series(columns.len())
        })?;
        if function.keeps_name { Ok(columns) } else { self.without_names(columns) }
    }

    /// The function's value at each step, for one series.
    fn apply(
        &self,
        range: &Range,
        function: RangeFunction,
        args: &[Vec<f64>],
        steps: Steps,
        points: &[Point],
    ) -> Result<Vec<f64>, Error> {
        let mut visited = 0;
        let mut values = Vec::with_capacity(steps.count);
        let mut at_step = vec![0.0; args.len()];
        let (mut low, mut high) = (0, 0);
        for (i, at_ms) in steps.times().enumerate() {
            let end_ms = self.shift(range.time, at_ms);
            let start_ms = end_ms - range.range_ms;
            // Later windows begin and end no earlier.
            low += points[low..].iter().take_while(|p| p.at_ms <= start_ms).count();
            high = high.max(low);
            high += points[high..].iter().take_while(|p| p.at_ms <= end_ms).count();
            if low == high {
                values.push(ABSENT);
                continue;
            }
            for (value, arg) in at_step.iter_mut().zip(args) {
                *value = arg[i];
            }
            // A function visits its whole window: a day at every second is long.
            visited += high - low;
            if visited >= POINTS_BETWEEN_LOOKS {
                visited = 0;
                self.check_stop()?;
            }
            let window = Window { points: &points[low..high], start_ms, end_ms, at_ms, args: &at_step };
            values.push((function.apply)(&window).unwrap_or(ABSENT));
        }
        Ok(values)
    }

    /// Calls `f` with each series of a range.
    pub(crate) fn each_series(
        &mut self,
        range: &Range,
        steps: Steps,
        f: OnSeries<'_, 'a>,
    ) -> Result<(), Error> {
        if steps.count == 0 {
            return Ok(());
        }
        let (first, last) = (self.shift(range.time, steps.start_ms), self.shift(range.time, steps.end_ms));
        match &range.of {
            RangeOf::Series(matchers) => {
                let mut selected = self.select(matchers, first - range.range_ms + 1, last)?;
                while let Some((labels, mut points)) = selected.next(self)? {
                    let read = points.len();
                    points.retain(|p| !is_stale(p.value));
                    f(self, labels, false, &points)?;
                    self.release(read);
                }
                selected.finish(self);
                Ok(())
            }
            RangeOf::Subquery { expr, step_ms } => {
                let inner = subquery_steps(
                    first - range.range_ms,
                    last,
                    step_ms.unwrap_or(self.options.subquery_step_ms),
                );
                if inner.count as u64 > self.options.max_samples {
                    self.hold(1, inner.count)?;
                }
                let columns = self.subquery_columns(expr, inner)?;
                let mut points = Vec::new();
                for column in columns {
                    self.check_stop()?;
                    points.clear();
                    points.extend(
                        inner
                            .times()
                            .zip(&column.values)
                            .filter(|(_, value)| present(**value))
                            .map(|(at_ms, value)| Point { at_ms, value: *value }),
                    );
                    f(self, column.labels, column.drop_name, &points)?;
                    self.release(inner.count);
                }
                Ok(())
            }
        }
    }

    fn subquery_columns(&mut self, expr: &Node, inner: Steps) -> Result<Vec<Column>, Error> {
        if inner.count == 0 {
            return Ok(Vec::new());
        }
        match self.eval(expr, inner)? {
            Value::Vector(columns) => Ok(columns),
            Value::Scalar(values) => {
                self.hold(1, inner.count)?;
                Ok(vec![Column { labels: Labels::empty(), drop_name: false, values }])
            }
            Value::Text(_) => Err(Error::Execution("a subquery of a text is not possible".into())),
        }
    }

    fn scalar_args(&mut self, call: &Call, range_arg: usize, steps: Steps) -> Result<Vec<Vec<f64>>, Error> {
        let others = call.args.iter().enumerate().filter(|(i, _)| *i != range_arg);
        others.map(|(_, arg)| self.eval_scalar(arg, steps)).collect()
    }

    fn check_args(&mut self, name: &str, args: &[Vec<f64>]) -> Result<(), Error> {
        match name {
            "quantile_over_time" => {
                for q in &args[0] {
                    self.check_quantile(*q);
                }
            }
            "double_exponential_smoothing" => {
                for (values, (what, short)) in args.iter().zip([("smoothing", "sf"), ("trend", "tf")]) {
                    if let Some(bad) = values.iter().find(|v| !(**v > 0.0 && **v < 1.0)) {
                        return Err(Error::Execution(format!(
                            "invalid {what} factor. Expected: 0 < {short} < 1, got: {bad:.6}"
                        )));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes a φ outside 0 to 1.
    pub(super) fn check_quantile(&mut self, q: f64) {
        if !(0.0..=1.0).contains(&q) {
            self.warn(format!("quantile value should be between 0 and 1, got {}", super::format_g(q)));
        }
    }

    /// Notes a rate over something that is not named like a counter.
    fn note_non_counter(&mut self, labels: &Labels) {
        let Some(name) = labels.name() else { return };
        if !["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix)) {
            let what = "metric might not be a counter, name does not end in _total/_sum/_count/_bucket:";
            self.inform(format!("{what} {name:?}"));
        }
    }

    pub(super) fn absent_over_time(&mut self, call: &Call, steps: Steps) -> Result<Vec<Column>, Error> {
        let range = range_arg(call, 0)?;
        let mut values = vec![1.0; steps.count];
        let something = RangeFunction { range_arg: 0, keeps_name: false, apply: |_| Some(1.0) };
        self.each_series(range, steps, &mut |this, _, _, points| {
            let found = this.apply(range, something, &[], steps, points)?;
            for (value, found) in values.iter_mut().zip(found) {
                if present(found) {
                    *value = ABSENT;
                }
            }
            Ok(())
        })?;
        let labels = match &range.of {
            RangeOf::Series(matchers) => absent_labels(matchers),
            RangeOf::Subquery { .. } => Labels::empty(),
        };
        Ok(one_column(labels, values))
    }
}

/// A column, where it has a value at all.
pub(super) fn one_column(labels: Labels, values: Vec<f64>) -> Vec<Column> {
    let any = values.iter().copied().any(present);
    any.then_some(Column { labels, drop_name: false, values }).into_iter().collect()
}

/// The labels of what is absent: those that the selector says exactly, each once.
pub(super) fn absent_labels(matchers: &[Matcher]) -> Labels {
    let exact = |m: &&Matcher| {
        m.is_equality()
            && m.name != METRIC_NAME
            && matchers.iter().filter(|other| other.name == m.name).count() == 1
    };
    Labels::from_pairs(matchers.iter().filter(exact).map(|m| (m.name.as_str(), m.value.as_str())))
}

fn range_arg(call: &Call, at: usize) -> Result<&Range, Error> {
    match call.args.get(at) {
        Some(Node::Range(range)) => Ok(range),
        _ => Err(Error::Execution(format!("{}() wants a range of points", call.function.name))),
    }
}

/// The steps of a subquery: multiples of its step after `after_ms`, up to `end_ms`.
pub(crate) fn subquery_steps(after_ms: i64, end_ms: i64, step_ms: i64) -> Steps {
    let step_ms = step_ms.max(1);
    let mut start_ms = step_ms * (after_ms / step_ms);
    if start_ms <= after_ms {
        start_ms += step_ms;
    }
    Steps::new(start_ms, end_ms, step_ms)
}
