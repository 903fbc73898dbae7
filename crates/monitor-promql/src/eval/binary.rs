//! Operators between two samples, and between series and a number.

use super::{Collision, Evaluator, Sink};
use crate::column::{At, Column, Steps};
use crate::notes::{Note, Operation};
use crate::plan::{Binary, Part};
use crate::{Error, Histogram};
use monitor_lang::ast::{BinaryOp, Place, Type};
use monitor_model::CounterReset;
use std::sync::Arc;

/// What an operator makes of two samples.
pub(super) enum Result2 {
    Float(f64),
    Histogram(Histogram),
    /// Of a comparison: whether it holds.
    Holds(bool),
    /// The two cannot be combined; that was noted.
    Nothing,
}

impl<'a> Evaluator<'a> {
    pub(super) fn of_scalars(&mut self, binary: &Binary<'_>, steps: Steps) -> Result<Vec<f64>, Error> {
        let left = self.scalars(&binary.left, steps)?;
        let right = self.scalars(&binary.right, steps)?;
        let op = binary.op;
        if matches!(op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            return Err(Error::Execution(format!("operator \"{op}\" not allowed for Scalar operations")));
        }
        let of = |(left, right)| match compare(op, left, right) {
            Some(holds) => f64::from(u8::from(holds)),
            None => arithmetic(op, left, right).unwrap_or(f64::NAN),
        };
        Ok(left.into_iter().zip(right).map(of).collect())
    }

    pub(super) fn binary(
        &mut self,
        part: &Part<'_>,
        binary: &Binary<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        match (binary.left.gives, binary.right.gives) {
            (Type::Vector, Type::Scalar) => self.with_scalar(part, binary, steps, false, sink),
            (Type::Scalar, Type::Vector) => self.with_scalar(part, binary, steps, true, sink),
            (Type::Vector, Type::Vector) => match binary.op {
                BinaryOp::And | BinaryOp::Or | BinaryOp::Unless => self.set_operation(binary, steps, sink),
                _ => self.matched(part, binary, steps, sink),
            },
            _ => Err(Error::Execution("the operator cannot be used between these types".into())),
        }
    }

    /// An operator between series and a number; `swapped` where the number is on the left.
    fn with_scalar(
        &mut self,
        part: &Part<'_>,
        binary: &Binary<'_>,
        steps: Steps,
        swapped: bool,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let (number, series) =
            if swapped { (&binary.left, &binary.right) } else { (&binary.right, &binary.left) };
        let scalars = self.scalars(number, steps)?;
        let (op, bool) = (binary.op, binary.bool);
        let renames = is_arithmetic(op) || bool;
        let mut run = |this: &mut Self, sink: Sink<'_, 'a>| {
            this.each(series, steps, &mut |this, column| {
                let mut any = false;
                for (step, scalar) in scalars.iter().enumerate() {
                    any |= this.step_with_scalar(column, step, *scalar, op, bool, swapped, part.place);
                }
                if !any {
                    return Ok(());
                }
                if renames {
                    this.drop_name(column);
                }
                sink(this, column)
            })
        };
        if renames { self.renamed(series, sink, Collision::Merge, &mut run) } else { run(self, sink) }
    }

    /// One step of an operator with a number; whether a sample is left.
    #[allow(clippy::too_many_arguments)] // a loop's body
    fn step_with_scalar(
        &mut self,
        column: &mut Column,
        step: usize,
        scalar: f64,
        op: BinaryOp,
        bool: bool,
        swapped: bool,
        place: Place,
    ) -> bool {
        let result = match column.at(step) {
            At::None => return false,
            At::Float(value) => {
                let (left, right) = if swapped { (scalar, value) } else { (value, scalar) };
                if let Some(result) = arithmetic(op, left, right) {
                    column.values[step] = result;
                    return true;
                }
                self.operate(op, At::Float(left), At::Float(right), place)
            }
            at if swapped => self.operate(op, At::Float(scalar), at, place),
            at => self.operate(op, at, At::Float(scalar), place),
        };
        match result {
            Result2::Float(value) => column.values[step] = value,
            Result2::Histogram(histogram) => column.set_histogram(step, Arc::new(histogram)),
            Result2::Holds(holds) if bool => {
                column.clear_step(step);
                column.values[step] = f64::from(u8::from(holds));
            }
            Result2::Holds(true) => {}
            Result2::Holds(false) | Result2::Nothing => {
                column.clear_step(step);
                return false;
            }
        }
        true
    }

    /// An operator between two samples (Prometheus' `vectorElemBinop`).
    pub(super) fn operate(&mut self, op: BinaryOp, left: At<'_>, right: At<'_>, place: Place) -> Result2 {
        let words = |at: &At<'_>| if matches!(at, At::Float(_)) { "float" } else { "histogram" };
        match (left, right) {
            (At::Float(left), At::Float(right)) => {
                if let Some(result) = arithmetic(op, left, right) {
                    return Result2::Float(result);
                }
                if let Some(holds) = compare(op, left, right) {
                    return Result2::Holds(holds);
                }
            }
            (At::Float(factor), At::Histogram(histogram)) | (At::Histogram(histogram), At::Float(factor))
                if op == BinaryOp::Mul =>
            {
                return changed(histogram, |h| h.mul(factor));
            }
            (At::Histogram(histogram), At::Float(value)) => match op {
                BinaryOp::Div => return changed(histogram, |h| h.div(value)),
                BinaryOp::TrimUpper => return changed(histogram, |h| h.trim_upper(value)),
                BinaryOp::TrimLower => return changed(histogram, |h| h.trim_lower(value)),
                _ => {}
            },
            (At::Histogram(left), At::Histogram(right)) => match op {
                BinaryOp::Add | BinaryOp::Sub => return self.add_histograms(op, left, right, place),
                BinaryOp::Equal => return Result2::Holds(left.equals(right)),
                BinaryOp::NotEqual => return Result2::Holds(!left.equals(right)),
                _ => {}
            },
            (At::None, _) | (_, At::None) => return Result2::Nothing,
            (At::Float(_), At::Histogram(_)) => {}
        }
        let (left, right) = (words(&left), words(&right));
        self.note(Note::IncompatibleTypes { left, operator: op.sign(), right }, place);
        Result2::Nothing
    }

    fn add_histograms(&mut self, op: BinaryOp, left: &Histogram, right: &Histogram, place: Place) -> Result2 {
        let mut result = left.clone();
        let (added, operation) = match op {
            BinaryOp::Add => (result.add(right), Operation::Addition),
            _ => (result.sub(right), Operation::Subtraction),
        };
        let Ok(added) = added else {
            self.note(Note::IncompatibleBuckets(op.sign()), place);
            return Result2::Nothing;
        };
        if added.counter_reset_collision {
            self.note(Note::ResetCollision(operation), place);
            return Result2::Nothing;
        }
        if added.bounds_reconciled {
            self.note(Note::Reconciled(operation), place);
        }
        if op == BinaryOp::Sub {
            result.reset = CounterReset::Gauge;
        }
        result.compact();
        Result2::Histogram(result)
    }
}

fn changed(histogram: &Histogram, change: impl FnOnce(&mut Histogram)) -> Result2 {
    let mut histogram = histogram.clone();
    change(&mut histogram);
    histogram.compact();
    Result2::Histogram(histogram)
}

/// Whether an operator makes something else of the metric, so that its name goes.
pub(super) fn is_arithmetic(op: BinaryOp) -> bool {
    use BinaryOp::{Add, Atan2, Div, Mod, Mul, Pow, Sub};
    matches!(op, Add | Sub | Mul | Div | Mod | Pow | Atan2)
}

fn arithmetic(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    Some(match op {
        BinaryOp::Add => left + right,
        BinaryOp::Sub => left - right,
        BinaryOp::Mul => left * right,
        BinaryOp::Div => left / right,
        BinaryOp::Mod => left % right,
        BinaryOp::Pow => left.powf(right),
        BinaryOp::Atan2 => left.atan2(right),
        _ => return None,
    })
}

fn compare(op: BinaryOp, left: f64, right: f64) -> Option<bool> {
    Some(match op {
        BinaryOp::Equal => left == right,
        BinaryOp::NotEqual => left != right,
        BinaryOp::Greater => left > right,
        BinaryOp::Less => left < right,
        BinaryOp::GreaterEqual => left >= right,
        BinaryOp::LessEqual => left <= right,
        _ => return None,
    })
}
