//! Aggregations over series, at each step.

use super::{ABSENT, Column, Evaluator, Steps, format_g, present};
use crate::plan::{Aggregate, AggregateOp, Node};
use crate::stats::{Kahan, Mean, quantile};
use crate::{Error, Labels};
use rustc_hash::{FxHashMap, FxHasher};
use std::cmp::Ordering;
use std::hash::{Hash, Hasher};

impl Evaluator<'_> {
    pub(super) fn aggregate(&mut self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<Column>, Error> {
        use AggregateOp::*;
        match aggregate.op {
            CountValues => self.count_values(aggregate, steps),
            Topk | Bottomk | Limitk | LimitRatio => self.choose(aggregate, steps),
            Quantile => {
                let q = self.param(aggregate, steps)?;
                self.check_quantiles(&q);
                self.fold(aggregate, steps, |step| Fold::Quantile(q[step], Vec::new()))
            }
            op => self.fold(aggregate, steps, |_| Fold::new(op)),
        }
    }

    fn param(&mut self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<f64>, Error> {
        match &aggregate.param {
            Some(param) => self.eval_scalar(param, steps),
            None => Err(Error::Execution("the aggregation wants a parameter".into())),
        }
    }

    fn check_quantiles(&mut self, q: &[f64]) {
        q.iter().for_each(|q| self.check_quantile(*q));
    }

    /// One result for each group and step.
    fn fold(
        &mut self,
        aggregate: &Aggregate,
        steps: Steps,
        begin: impl Fn(usize) -> Fold,
    ) -> Result<Vec<Column>, Error> {
        let inputs = self.eval_vector(&aggregate.expr, steps)?;
        let (groups, of) = group(aggregate, &inputs);
        self.hold(groups.len() * FOLD_VALUES, steps.count)?;
        // Column by column, so that the values of one series are read in a row.
        let mut folds: Vec<Vec<Option<Fold>>> = groups.iter().map(|_| vec![None; steps.count]).collect();
        let mut drop_names = vec![false; groups.len()];
        for (column, group) in inputs.iter().zip(&of) {
            self.check_stop()?;
            drop_names[*group] |= column.drop_name;
            for (step, value) in column.values.iter().enumerate().filter(|(_, v)| present(**v)) {
                folds[*group][step].get_or_insert_with(|| begin(step)).add(*value);
            }
        }
        self.release_columns(inputs.len() + groups.len() * (FOLD_VALUES - 1), steps);
        let finish = |fold: Option<Fold>| fold.map_or(ABSENT, Fold::finish);
        let columns = groups.into_iter().zip(folds).zip(drop_names).map(|((labels, folds), drop_name)| {
            Column { labels, drop_name, values: folds.into_iter().map(finish).collect() }
        });
        Ok(columns.collect())
    }

    /// `topk`, `bottomk`, `limitk`, `limit_ratio`: some of the series themselves.
    fn choose(&mut self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<Column>, Error> {
        let params = self.param(aggregate, steps)?;
        self.check_choice(aggregate.op, &params)?;
        let inputs = self.eval_vector(&aggregate.expr, steps)?;
        let (groups, of) = group(aggregate, &inputs);
        let mut members: Vec<Vec<usize>> = vec![Vec::new(); groups.len()];
        of.iter().enumerate().for_each(|(i, group)| members[*group].push(i));
        let mut outputs: Vec<Option<Vec<f64>>> = vec![None; inputs.len()];
        let mut order = Vec::new();
        for (step, param) in params.iter().enumerate() {
            self.check_stop()?;
            for group in &members {
                let mut here: Vec<usize> =
                    group.iter().copied().filter(|i| present(inputs[*i].values[step])).collect();
                chosen(aggregate.op, *param, &inputs, step, &mut here);
                for i in here {
                    let values = outputs[i].get_or_insert_with(|| {
                        order.push(i);
                        vec![ABSENT; steps.count]
                    });
                    values[step] = inputs[i].values[step];
                }
            }
        }
        self.release_columns(inputs.len() - order.len(), steps);
        let output = |i: usize| {
            let values = outputs[i].take()?;
            Some(Column { labels: inputs[i].labels.clone(), drop_name: inputs[i].drop_name, values })
        };
        Ok(order.into_iter().filter_map(output).collect())
    }

    fn check_choice(&mut self, op: AggregateOp, params: &[f64]) -> Result<(), Error> {
        let ratio = op == AggregateOp::LimitRatio;
        for param in params {
            if param.is_nan() {
                let what = if ratio { "Ratio" } else { "Parameter" };
                return Err(Error::Execution(format!("{what} value is NaN")));
            }
            if ratio && param.abs() > 1.0 {
                self.warn(format!(
                    "ratio value should be between -1 and 1, got {}, capping to {}",
                    format_g(*param),
                    param.signum()
                ));
            }
            if !ratio && param.abs() >= i64::MAX as f64 {
                let how = if *param > 0.0 { "overflows" } else { "underflows" };
                return Err(Error::Execution(format!("Scalar value {} {how} int64", format_g(*param))));
            }
        }
        Ok(())
    }

    fn count_values(&mut self, aggregate: &Aggregate, steps: Steps) -> Result<Vec<Column>, Error> {
        let label = match &aggregate.param {
            Some(Node::Text(label)) if !label.is_empty() => label,
            _ => return Err(Error::Execution("invalid label name \"\"".into())),
        };
        let inputs = self.eval_vector(&aggregate.expr, steps)?;
        let mut grouping = aggregate.grouping.clone();
        if !grouping.without {
            grouping.labels.push(label.clone());
        }
        let mut places: FxHashMap<Labels, usize> = FxHashMap::default();
        let mut columns: Vec<Column> = Vec::new();
        for input in &inputs {
            self.check_stop()?;
            for (step, value) in input.values.iter().enumerate().filter(|(_, v)| present(**v)) {
                let labels = grouping.group(&input.labels.with(label, &crate::format_value(*value)));
                let place = *places.entry(labels.clone()).or_insert(columns.len());
                if place == columns.len() {
                    self.hold(1, steps.count)?;
                    self.check_series(place)?;
                    columns.push(Column { labels, drop_name: false, values: vec![ABSENT; steps.count] });
                }
                let count = &mut columns[place].values[step];
                *count = if present(*count) { *count + 1.0 } else { 1.0 };
            }
        }
        self.release_columns(inputs.len(), steps);
        Ok(columns)
    }
}

/// The label sets of the groups, and the group of each input.
fn group(aggregate: &Aggregate, inputs: &[Column]) -> (Vec<Labels>, Vec<usize>) {
    let mut places: FxHashMap<Labels, usize> = FxHashMap::default();
    let mut groups = Vec::new();
    let of = inputs.iter().map(|input| {
        let labels = aggregate.grouping.group(&input.labels);
        *places.entry(labels).or_insert_with_key(|labels| {
            groups.push(labels.clone());
            groups.len() - 1
        })
    });
    let of = of.collect();
    (groups, of)
}

/// Keeps of a group's series those that are chosen at a step, best first.
fn chosen(op: AggregateOp, param: f64, inputs: &[Column], step: usize, here: &mut Vec<usize>) {
    let k = if param < 1.0 { 0 } else { param as usize };
    let value = |i: &usize| inputs[*i].values[step];
    // NaN is the worst either way.
    let by = |descending: bool| {
        move |a: &usize, b: &usize| match (value(a).is_nan(), value(b).is_nan()) {
            (false, false) if descending => value(b).partial_cmp(&value(a)).unwrap_or(Ordering::Equal),
            (false, false) => value(a).partial_cmp(&value(b)).unwrap_or(Ordering::Equal),
            (a, b) => a.cmp(&b),
        }
    };
    match op {
        AggregateOp::Topk => here.sort_by(by(true)),
        AggregateOp::Bottomk => here.sort_by(by(false)),
        AggregateOp::LimitRatio => {
            let ratio = param.clamp(-1.0, 1.0);
            here.retain(|i| in_ratio(ratio, &inputs[*i].labels));
            return;
        }
        _ => {}
    }
    here.truncate(k);
}

/// Whether a series is in the part that `limit_ratio` keeps: its hash as a
/// number from 0 to 1 is below the ratio, or for a negative one not below its complement.
fn in_ratio(ratio: f64, labels: &Labels) -> bool {
    let mut hasher = FxHasher::default();
    labels.hash(&mut hasher);
    // Fx leaves its entropy in some bits only; a multiply and shift spread it.
    let mixed = (hasher.finish() ^ (hasher.finish() >> 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    let place = (mixed >> 11) as f64 / (1u64 << 53) as f64;
    if ratio >= 0.0 { place < ratio } else { place >= 1.0 + ratio }
}

/// What an aggregation in progress takes, in values of eight bytes.
const FOLD_VALUES: usize = size_of::<Option<Fold>>() / 8;

/// An aggregation in progress, for one group at one step.
#[derive(Clone)]
enum Fold {
    Sum(Kahan),
    Avg(Mean),
    Count(f64),
    Min(f64),
    Max(f64),
    Group,
    /// Count, mean and sum of squared distances, and whether to take the root.
    Spread {
        count: f64,
        mean: f64,
        squares: f64,
        root: bool,
    },
    Quantile(f64, Vec<f64>),
}

impl Fold {
    fn new(op: AggregateOp) -> Self {
        match op {
            AggregateOp::Sum => Self::Sum(Kahan::default()),
            AggregateOp::Avg => Self::Avg(Mean::default()),
            AggregateOp::Min => Self::Min(f64::NAN),
            AggregateOp::Max => Self::Max(f64::NAN),
            AggregateOp::Group => Self::Group,
            AggregateOp::Stddev => Self::Spread { count: 0.0, mean: 0.0, squares: 0.0, root: true },
            AggregateOp::Stdvar => Self::Spread { count: 0.0, mean: 0.0, squares: 0.0, root: false },
            _ => Self::Count(0.0),
        }
    }

    fn add(&mut self, value: f64) {
        match self {
            Self::Sum(sum) => sum.add(value),
            Self::Avg(mean) => mean.add(value),
            Self::Count(count) => *count += 1.0,
            Self::Min(min) => {
                if value < *min || min.is_nan() {
                    *min = value;
                }
            }
            Self::Max(max) => {
                if value > *max || max.is_nan() {
                    *max = value;
                }
            }
            Self::Group => {}
            Self::Spread { count, mean, squares, .. } => {
                *count += 1.0;
                if *count == 1.0 {
                    *mean = value;
                    *squares = if value.is_finite() { 0.0 } else { f64::NAN };
                    return;
                }
                let delta = value - *mean;
                *mean += delta / *count;
                *squares += delta * (value - *mean);
            }
            Self::Quantile(_, values) => values.push(value),
        }
    }

    fn finish(self) -> f64 {
        match self {
            Self::Sum(sum) => sum.total(),
            Self::Avg(mean) => mean.value(),
            Self::Count(value) | Self::Min(value) | Self::Max(value) => value,
            Self::Group => 1.0,
            Self::Spread { count, squares, root, .. } => {
                let variance = squares / count;
                if root { variance.sqrt() } else { variance }
            }
            Self::Quantile(q, mut values) => quantile(q, &mut values),
        }
    }
}
