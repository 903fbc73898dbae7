//! Functions on the values at each step.

use super::range::{absent_labels, one_column};
use super::{ABSENT, Column, Evaluator, Steps, Value, present};
use crate::functions::{Date, Kind};
use crate::plan::{Call, Node};
use crate::{Error, Labels};

impl Evaluator<'_> {
    pub(super) fn instant_function(&mut self, call: &Call, steps: Steps) -> Result<Value, Error> {
        let repeated = |value: f64| Ok(Value::Scalar(vec![value; steps.count]));
        let seconds = |ms: i64| ms as f64 / 1e3;
        match call.function.kind {
            Kind::Time => Ok(Value::Scalar(steps.times().map(seconds).collect())),
            Kind::Pi => repeated(std::f64::consts::PI),
            Kind::QueryStart => repeated(seconds(self.query.start_ms)),
            Kind::QueryEnd => repeated(seconds(self.query.end_ms)),
            Kind::QueryRange => repeated(seconds(self.query.end_ms - self.query.start_ms)),
            Kind::QueryStep => {
                // An instant query has no step.
                let instant = self.query.start_ms == self.query.end_ms;
                repeated(if instant { 0.0 } else { seconds(self.query.step_ms) })
            }
            Kind::MinOf => {
                self.of_two(call, steps, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) })
            }
            Kind::MaxOf => {
                self.of_two(call, steps, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) })
            }
            Kind::Scalar => self.scalar(call, steps),
            Kind::Vector => {
                let values = self.eval_scalar(&call.args[0], steps)?;
                self.hold(1, steps.count)?;
                Ok(Value::Vector(vec![Column { labels: Labels::empty(), drop_name: false, values }]))
            }
            _ => self.vector_function(call, steps).map(Value::Vector),
        }
    }

    fn of_two(&mut self, call: &Call, steps: Steps, f: fn(f64, f64) -> f64) -> Result<Value, Error> {
        let (a, b) = (self.eval_scalar(&call.args[0], steps)?, self.eval_scalar(&call.args[1], steps)?);
        Ok(Value::Scalar(a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect()))
    }

    /// The one series' value; NaN where there is none or more than one.
    fn scalar(&mut self, call: &Call, steps: Steps) -> Result<Value, Error> {
        let columns = self.eval_vector(&call.args[0], steps)?;
        self.release_columns(columns.len(), steps);
        let at = |i: usize| {
            let mut found = columns.iter().map(|c| c.values[i]).filter(|v| present(*v));
            match (found.next(), found.next()) {
                (Some(value), None) => value,
                _ => f64::NAN,
            }
        };
        Ok(Value::Scalar((0..steps.count).map(at).collect()))
    }

    fn vector_function(&mut self, call: &Call, steps: Steps) -> Result<Vec<Column>, Error> {
        match call.function.kind {
            Kind::Math(f) => {
                let columns = self.eval_vector(&call.args[0], steps)?;
                self.map_values(columns, f)
            }
            Kind::Date(f) => self.date(call, steps, f),
            Kind::Absent => self.absent(call, steps),
            Kind::Clamp => {
                let (low, high) = (self.number(call, 1, steps)?, self.number(call, 2, steps)?);
                self.clamp(call, steps, &low, &high)
            }
            Kind::ClampMin => {
                let low = self.number(call, 1, steps)?;
                self.clamp(call, steps, &low, &vec![f64::INFINITY; steps.count])
            }
            Kind::ClampMax => {
                let high = self.number(call, 1, steps)?;
                self.clamp(call, steps, &vec![f64::NEG_INFINITY; steps.count], &high)
            }
            Kind::Round => {
                let to = match call.args.len() {
                    2 => self.number(call, 1, steps)?,
                    _ => vec![1.0; steps.count],
                };
                self.with_args(call, steps, |value, i| {
                    // Ties go up; dividing by the inverse loses less than dividing.
                    let inverse = 1.0 / to[i];
                    (value * inverse + 0.5).floor() / inverse
                })
            }
            Kind::Timestamp => self.timestamp(call, steps),
            Kind::HistogramOnly => {
                let columns = self.eval_vector(&call.args[0], steps)?;
                self.release_columns(columns.len(), steps);
                Ok(Vec::new())
            }
            _ => Err(Error::NotImplemented(format!("{}()", call.function.name))),
        }
    }

    fn number(&mut self, call: &Call, arg: usize, steps: Steps) -> Result<Vec<f64>, Error> {
        self.eval_scalar(&call.args[arg], steps)
    }

    /// Applies a function of value and step to the first argument.
    fn with_args(
        &mut self,
        call: &Call,
        steps: Steps,
        f: impl Fn(f64, usize) -> f64,
    ) -> Result<Vec<Column>, Error> {
        let mut columns = self.eval_vector(&call.args[0], steps)?;
        for column in &mut columns {
            for (i, value) in column.values.iter_mut().enumerate().filter(|(_, v)| present(**v)) {
                *value = f(*value, i);
            }
        }
        columns.retain(|c| c.values.iter().copied().any(present));
        self.without_names(columns)
    }

    fn clamp(&mut self, call: &Call, steps: Steps, low: &[f64], high: &[f64]) -> Result<Vec<Column>, Error> {
        self.with_args(call, steps, |value, i| {
            if high[i] < low[i] {
                ABSENT
            } else if value.is_nan() || low[i].is_nan() || high[i].is_nan() {
                f64::NAN
            } else {
                value.min(high[i]).max(low[i])
            }
        })
    }

    fn date(&mut self, call: &Call, steps: Steps, f: fn(&Date) -> f64) -> Result<Vec<Column>, Error> {
        let of = |seconds: f64| Date::from_seconds(seconds).map_or(f64::NAN, |date| f(&date));
        if call.args.is_empty() {
            let values = steps.times().map(|ms| of(ms.div_euclid(1_000) as f64)).collect();
            self.hold(1, steps.count)?;
            return Ok(vec![Column { labels: Labels::empty(), drop_name: false, values }]);
        }
        let columns = self.eval_vector(&call.args[0], steps)?;
        self.map_values(columns, of)
    }

    /// The times of the points themselves where the argument is a selector, else
    /// of the evaluation.
    fn timestamp(&mut self, call: &Call, steps: Steps) -> Result<Vec<Column>, Error> {
        if let Node::Vector(selector) = &call.args[0] {
            let columns = self.instant_vector(selector, steps, true)?;
            return self.without_names(columns);
        }
        self.with_args(call, steps, |_, i| steps.at(i) as f64 / 1e3)
    }

    fn absent(&mut self, call: &Call, steps: Steps) -> Result<Vec<Column>, Error> {
        let columns = self.eval_vector(&call.args[0], steps)?;
        self.release_columns(columns.len(), steps);
        let none = |i: &usize| columns.iter().all(|c| !present(c.values[*i]));
        let values = (0..steps.count).map(|i| if none(&i) { 1.0 } else { ABSENT }).collect();
        let labels = match &call.args[0] {
            Node::Vector(selector) => absent_labels(&selector.matchers),
            Node::Constant(inner) => match &**inner {
                Node::Vector(selector) => absent_labels(&selector.matchers),
                _ => Labels::empty(),
            },
            _ => Labels::empty(),
        };
        self.hold(1, steps.count)?;
        Ok(one_column(labels, values))
    }
}
