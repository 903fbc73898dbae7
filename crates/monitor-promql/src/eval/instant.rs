//! Functions on the sample of each series at each step.

use super::selector::Take;
use super::{Collision, Evaluator, Sink, one_column};
use crate::column::{ABSENT, At, Column, Steps, present};
use crate::dates::Date;
use crate::functions::Kind as FunctionKind;
use crate::plan::{Call, Kind, Part, Selector};
use crate::stats::{larger, smaller};
use crate::{Error, Histogram, Labels};

impl<'a> Evaluator<'a> {
    /// Functions that give a number.
    pub(super) fn scalar_call(&mut self, call: &Call<'_>, steps: Steps) -> Result<Vec<f64>, Error> {
        let times = self.times;
        let repeated = |value: f64| Ok(vec![value; steps.count]);
        let seconds = |ms: i64| ms as f64 / 1e3;
        match call.function.kind {
            FunctionKind::Time => Ok(steps.times().map(seconds).collect()),
            FunctionKind::Pi => repeated(std::f64::consts::PI),
            FunctionKind::QueryStart => repeated(seconds(times.start_ms)),
            FunctionKind::QueryEnd => repeated(seconds(times.end_ms)),
            FunctionKind::QueryRange => repeated(seconds(times.end_ms - times.start_ms)),
            FunctionKind::QueryStep => repeated(seconds(times.step_ms)),
            FunctionKind::MinOf => self.of_two(call, steps, smaller),
            FunctionKind::MaxOf => self.of_two(call, steps, larger),
            FunctionKind::Scalar => self.scalar(call, steps),
            _ => Err(Error::Execution(format!("{}() gives no scalar", call.function.name))),
        }
    }

    fn of_two(&mut self, call: &Call<'_>, steps: Steps, f: fn(f64, f64) -> f64) -> Result<Vec<f64>, Error> {
        let (a, b) = (self.scalars(&call.args[0], steps)?, self.scalars(&call.args[1], steps)?);
        Ok(a.into_iter().zip(b).map(|(a, b)| f(a, b)).collect())
    }

    /// The one series' number; NaN where there is none or more than one.
    fn scalar(&mut self, call: &Call<'_>, steps: Steps) -> Result<Vec<f64>, Error> {
        let mut values = vec![ABSENT; steps.count];
        let mut several = vec![false; steps.count];
        self.each(&call.args[0], steps, &mut |_, column| {
            for (step, value) in column.values.iter().enumerate().filter(|(_, v)| present(**v)) {
                several[step] |= present(values[step]);
                values[step] = *value;
            }
            Ok(())
        })?;
        let one = |(value, several)| if several || !present(value) { f64::NAN } else { value };
        Ok(values.into_iter().zip(several).map(one).collect())
    }

    pub(super) fn instant_function(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        match call.function.kind {
            FunctionKind::Vector => {
                let values = self.scalars(&call.args[0], steps)?;
                sink(self, &mut Column::of_values(Labels::empty(), values))
            }
            FunctionKind::Math(f) => self.each_float(call, steps, sink, &mut |value, _| f(value)),
            FunctionKind::Date(f) => self.date(call, steps, f, sink),
            FunctionKind::Absent => self.absent(call, steps, sink),
            FunctionKind::Clamp => {
                let low = self.scalars(&call.args[1], steps)?;
                let high = self.scalars(&call.args[2], steps)?;
                self.clamp(call, steps, &low, &high, sink)
            }
            FunctionKind::ClampMin => {
                let low = self.scalars(&call.args[1], steps)?;
                self.clamp(call, steps, &low, &vec![f64::INFINITY; steps.count], sink)
            }
            FunctionKind::ClampMax => {
                let high = self.scalars(&call.args[1], steps)?;
                self.clamp(call, steps, &vec![f64::NEG_INFINITY; steps.count], &high, sink)
            }
            FunctionKind::Round => {
                let to = match call.args.len() {
                    2 => self.scalars(&call.args[1], steps)?,
                    _ => vec![1.0; steps.count],
                };
                self.each_float(call, steps, sink, &mut |value, step| {
                    // Ties go up; dividing by the inverse loses less than dividing.
                    let inverse = 1.0 / to[step];
                    (value * inverse + 0.5).floor() / inverse
                })
            }
            FunctionKind::Timestamp => self.timestamp(call, steps, sink),
            FunctionKind::StartTimestamp => match selector_of(&call.args[0]) {
                Some(selector) => self.taken(call, selector, steps, Take::Start, sink),
                // What is computed has no start.
                None => Ok(()),
            },
            FunctionKind::HistogramAvg => self.each_histogram(call, steps, sink, Histogram::average),
            FunctionKind::HistogramCount => self.each_histogram(call, steps, sink, |h| h.count),
            FunctionKind::HistogramSum => self.each_histogram(call, steps, sink, |h| h.sum),
            FunctionKind::HistogramStddev => {
                self.each_histogram(call, steps, sink, Histogram::standard_deviation)
            }
            FunctionKind::HistogramStdvar => self.each_histogram(call, steps, sink, Histogram::variance),
            _ => Err(Error::Execution(format!("{}() gives no vector", call.function.name))),
        }
    }

    /// Applies a function of number and step; histograms are passed over, and the
    /// metric's name goes.
    fn each_float(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
        f: &mut dyn FnMut(f64, usize) -> f64,
    ) -> Result<(), Error> {
        let input = &call.args[0];
        self.renamed(input, sink, Collision::Merge, &mut |this, sink| {
            this.each(input, steps, &mut |this, column| {
                column.floats_only();
                let mut any = false;
                for (step, value) in column.values.iter_mut().enumerate().filter(|(_, v)| present(**v)) {
                    *value = f(*value, step);
                    any |= present(*value);
                }
                if !any {
                    return Ok(());
                }
                this.drop_name(column);
                sink(this, column)
            })
        })
    }

    /// Applies a function to histograms; numbers are passed over.
    fn each_histogram(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
        f: fn(&Histogram) -> f64,
    ) -> Result<(), Error> {
        let input = &call.args[0];
        self.renamed(input, sink, Collision::Merge, &mut |this, sink| {
            this.each(input, steps, &mut |this, column| {
                if column.histograms.is_empty() {
                    return Ok(());
                }
                for step in 0..column.values.len() {
                    column.values[step] = match column.at(step) {
                        At::Histogram(histogram) => f(histogram),
                        _ => ABSENT,
                    };
                }
                column.floats_only();
                this.drop_name(column);
                sink(this, column)
            })
        })
    }

    fn clamp(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        low: &[f64],
        high: &[f64],
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        self.each_float(call, steps, sink, &mut |value, step| {
            if high[step] < low[step] { ABSENT } else { larger(low[step], smaller(high[step], value)) }
        })
    }

    fn date(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        f: fn(&Date) -> f64,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let of = |seconds: f64| Date::from_seconds(seconds).map_or(f64::NAN, |date| f(&date));
        if call.args.is_empty() {
            let values = steps.times().map(|ms| of((ms / 1_000) as f64)).collect();
            return sink(self, &mut Column::of_values(Labels::empty(), values));
        }
        self.each_float(call, steps, sink, &mut |value, _| of(value))
    }

    /// The times of the samples themselves where the argument is a selector, else
    /// of the evaluation.
    fn timestamp(&mut self, call: &Call<'_>, steps: Steps, sink: Sink<'_, 'a>) -> Result<(), Error> {
        if let Some(selector) = selector_of(&call.args[0]) {
            return self.taken(call, selector, steps, Take::Time, sink);
        }
        let input = &call.args[0];
        self.renamed(input, sink, Collision::Merge, &mut |this, sink| {
            this.each(input, steps, &mut |this, column| {
                for step in 0..column.values.len() {
                    if column.has(step) {
                        column.values[step] = steps.at(step) as f64 / 1e3;
                    }
                }
                column.floats_only();
                this.drop_name(column);
                sink(this, column)
            })
        })
    }

    fn taken(
        &mut self,
        call: &Call<'_>,
        selector: &Selector<'_>,
        steps: Steps,
        take: Take,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        self.renamed(&call.args[0], sink, Collision::Merge, &mut |this, sink| {
            this.latest(selector, steps, take, &mut |this, column| {
                this.drop_name(column);
                sink(this, column)
            })
        })
    }

    fn absent(&mut self, call: &Call<'_>, steps: Steps, sink: Sink<'_, 'a>) -> Result<(), Error> {
        let mut values = vec![1.0; steps.count];
        self.each(&call.args[0], steps, &mut |_, column| {
            for (step, value) in values.iter_mut().enumerate() {
                if column.has(step) {
                    *value = ABSENT;
                }
            }
            Ok(())
        })?;
        let labels = selector_of(&call.args[0])
            .map_or_else(Labels::empty, |selector| super::range::absent_labels(selector.matchers));
        one_column(self, labels, values, sink)
    }
}

/// The selector that a part is.
fn selector_of<'p, 'e>(part: &'p Part<'e>) -> Option<&'p Selector<'e>> {
    match &part.kind {
        Kind::Selector(selector) => Some(selector),
        Kind::Constant(inner) => selector_of(inner),
        _ => None,
    }
}
