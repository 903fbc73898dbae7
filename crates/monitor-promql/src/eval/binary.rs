//! Operators between numbers, series and numbers, series and series.

use super::{ABSENT, Column, Evaluator, Steps, Value, is_reserved, merge_same_labels, present};
use crate::plan::{Binary, Many, Matching, Op};
use crate::{Error, Labels};
use rustc_hash::{FxHashMap, FxHashSet};

impl Evaluator<'_> {
    pub(super) fn binary(&mut self, binary: &Binary, steps: Steps) -> Result<Value, Error> {
        match binary.scalars {
            (true, true) => {
                let left = self.eval_scalar(&binary.left, steps)?;
                let right = self.eval_scalar(&binary.right, steps)?;
                let both = left.into_iter().zip(right);
                Ok(Value::Scalar(both.map(|(l, r)| scalar_result(binary.op, l, r)).collect()))
            }
            (false, true) => {
                let left = self.eval_vector(&binary.left, steps)?;
                let right = self.eval_scalar(&binary.right, steps)?;
                self.with_scalar(binary, left, &right, false).map(Value::Vector)
            }
            (true, false) => {
                let left = self.eval_scalar(&binary.left, steps)?;
                let right = self.eval_vector(&binary.right, steps)?;
                self.with_scalar(binary, right, &left, true).map(Value::Vector)
            }
            (false, false) => {
                let left = self.eval_vector(&binary.left, steps)?;
                let right = self.eval_vector(&binary.right, steps)?;
                let inputs = left.len() + right.len();
                let columns = match binary.op {
                    Op::And | Op::Or | Op::Unless => self.set_operation(binary, left, right, steps),
                    _ => self.match_up(binary, left, right, steps),
                }?;
                self.hold(columns.len(), steps.count)?;
                self.release_columns(inputs, steps);
                Ok(Value::Vector(columns))
            }
        }
    }

    /// Each series with a number; `swapped` where the number is on the left.
    fn with_scalar(
        &mut self,
        binary: &Binary,
        mut columns: Vec<Column>,
        scalar: &[f64],
        swapped: bool,
    ) -> Result<Vec<Column>, Error> {
        let op = binary.op;
        for column in &mut columns {
            for (value, scalar) in column.values.iter_mut().zip(scalar).filter(|(v, _)| present(**v)) {
                let (left, right) = if swapped { (*scalar, *value) } else { (*value, *scalar) };
                *value = match (op.is_comparison(), binary.return_bool) {
                    (false, _) => arithmetic(op, left, right),
                    (true, true) => f64::from(u8::from(compare(op, left, right))),
                    // The series' value stays, on whichever side it is.
                    (true, false) if compare(op, left, right) => *value,
                    (true, false) => ABSENT,
                };
            }
        }
        columns.retain(|c| c.values.iter().copied().any(present));
        if op.is_comparison() && !binary.return_bool { Ok(columns) } else { self.without_names(columns) }
    }

    fn set_operation(
        &mut self,
        binary: &Binary,
        left: Vec<Column>,
        right: Vec<Column>,
        steps: Steps,
    ) -> Result<Vec<Column>, Error> {
        let mut groups = Groups::default();
        let left_groups = groups.of(&binary.matching, &left);
        let right_groups = groups.of(&binary.matching, &right);
        let or = binary.op == Op::Or;
        // Which groups have a value at each step on the side that decides.
        let (decider, decider_groups) = if or { (&left, &left_groups) } else { (&right, &right_groups) };
        let mut here = vec![vec![false; steps.count]; groups.count()];
        for (column, group) in decider.iter().zip(decider_groups) {
            for (there, value) in here[*group].iter_mut().zip(&column.values) {
                *there |= present(*value);
            }
        }
        let keep_where = binary.op == Op::And;
        let (decided, decided_groups) = if or { (right, right_groups) } else { (left.clone(), left_groups) };
        let mut columns = if or { left } else { Vec::new() };
        for (mut column, group) in decided.into_iter().zip(decided_groups) {
            for (value, there) in column.values.iter_mut().zip(&here[group]) {
                if *there != keep_where {
                    *value = ABSENT;
                }
            }
            if column.values.iter().copied().any(present) {
                columns.push(column);
            }
        }
        if or && !self.options.delayed_name_removal { merge_same_labels(columns) } else { Ok(columns) }
    }

    /// Series with series, one to one or many to one.
    fn match_up(
        &mut self,
        binary: &Binary,
        left: Vec<Column>,
        right: Vec<Column>,
        steps: Steps,
    ) -> Result<Vec<Column>, Error> {
        let matching = &binary.matching;
        // From here on the right side is the one side.
        let swapped = matching.many == Many::Right;
        let (many, one) = if swapped { (right, left) } else { (left, right) };
        // The fill values belong to the sides as they are now, as in Prometheus.
        let (fill_one, fill_many) = (matching.fill_right, matching.fill_left);
        let mut groups = Groups::default();
        let many_groups = groups.of(matching, &many);
        let one_groups = groups.of(matching, &one);
        let mut results = Results::new(self.options.delayed_name_removal, steps.count);
        let mut ones: Vec<Option<usize>> = vec![None; groups.count()];
        for step in 0..steps.count {
            if step % 64 == 0 {
                self.check_stop()?;
            }
            ones.fill(None);
            for (i, group) in one_groups.iter().enumerate().filter(|(i, _)| present(one[*i].values[step])) {
                if let Some(other) = ones[*group].replace(i) {
                    return Err(duplicate(matching, &one[i].labels, &one[other].labels, swapped));
                }
            }
            let mut matched = Matched::default();
            for (i, group) in many_groups.iter().enumerate().filter(|(i, _)| present(many[*i].values[step])) {
                let partner = match (ones[*group], fill_one) {
                    (Some(o), _) => (Some(o), one[o].values[step]),
                    (None, Some(fill)) => (None, fill),
                    (None, None) => continue,
                };
                let pair = Pair { many: Some(i), one: partner.0, group: *group };
                let values = (many[i].values[step], partner.1);
                results.put(self, binary, &many, &one, pair, values, swapped, step, &mut matched)?;
            }
            let Some(fill) = fill_many else { continue };
            for (group, o) in ones.iter().enumerate().filter_map(|(g, o)| o.map(|o| (g, o))) {
                if !matched.has(group) {
                    let pair = Pair { many: None, one: Some(o), group };
                    let values = (fill, one[o].values[step]);
                    results.put(self, binary, &many, &one, pair, values, swapped, step, &mut matched)?;
                }
            }
        }
        self.check_series(results.columns.len())?;
        Ok(results.columns.into_iter().filter(|c| c.values.iter().copied().any(present)).collect())
    }
}

/// Two series that belong together; one side may be filled in.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Pair {
    many: Option<usize>,
    one: Option<usize>,
    group: usize,
}

/// What matched at one step.
#[derive(Default)]
struct Matched {
    groups: FxHashSet<usize>,
    results: FxHashSet<(usize, Labels)>,
}

impl Matched {
    fn has(&self, group: usize) -> bool {
        self.groups.contains(&group)
    }
}

/// The series of a result, found again by the pair they come from.
struct Results {
    delayed: bool,
    steps: usize,
    columns: Vec<Column>,
    labels_of: FxHashMap<Pair, Labels>,
    /// The columns of a label set: one, unless names still tell them apart.
    places: FxHashMap<Labels, Vec<usize>>,
}

impl Results {
    fn new(delayed: bool, steps: usize) -> Self {
        Self {
            delayed,
            steps,
            columns: Vec::new(),
            labels_of: FxHashMap::default(),
            places: FxHashMap::default(),
        }
    }

    #[allow(clippy::too_many_arguments)] // one step of a loop, named where it is called
    fn put(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        binary: &Binary,
        many: &[Column],
        one: &[Column],
        pair: Pair,
        (many_value, one_value): (f64, f64),
        swapped: bool,
        step: usize,
        matched: &mut Matched,
    ) -> Result<(), Error> {
        let (left, right) = if swapped { (one_value, many_value) } else { (many_value, one_value) };
        let value = match (binary.op.is_comparison(), binary.return_bool) {
            (false, _) => Some(arithmetic(binary.op, left, right)),
            (true, true) => Some(f64::from(u8::from(compare(binary.op, left, right)))),
            (true, false) => compare(binary.op, left, right).then_some(left),
        };
        let labels = self.labels(binary, many, one, pair);
        let again = !matched.groups.insert(pair.group);
        if binary.matching.many == Many::Neither {
            if again {
                return Err(Error::Execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .into(),
                ));
            }
        } else if !matched.results.insert((pair.group, labels.clone())) {
            return Err(Error::Execution(
                "multiple matches for labels: grouping labels must ensure unique matches".into(),
            ));
        }
        let Some(value) = value else { return Ok(()) };
        let drop_name =
            binary.return_bool || pair.many.is_some_and(|i| many[i].drop_name && binary.op.is_comparison());
        let place = self.place(evaluator, labels, step)?;
        self.columns[place].drop_name |= drop_name && self.delayed;
        self.columns[place].values[step] = value;
        Ok(())
    }

    /// The column for a result; a second value at the same step is an error now,
    /// or at the end where names are kept so long.
    fn place(&mut self, evaluator: &mut Evaluator<'_>, labels: Labels, step: usize) -> Result<usize, Error> {
        let places = self.places.entry(labels.clone()).or_default();
        if let Some(place) = places.iter().find(|p| !present(self.columns[**p].values[step])) {
            return Ok(*place);
        }
        if !places.is_empty() && !self.delayed {
            return Err(Error::Execution("vector cannot contain metrics with the same labelset".into()));
        }
        evaluator.check_series(self.columns.len())?;
        places.push(self.columns.len());
        self.columns.push(Column { labels, drop_name: false, values: vec![ABSENT; self.steps] });
        Ok(self.columns.len() - 1)
    }

    /// The labels of a pair's result (Prometheus' `resultMetric`).
    fn labels(&mut self, binary: &Binary, many: &[Column], one: &[Column], pair: Pair) -> Labels {
        if let Some(labels) = self.labels_of.get(&pair) {
            return labels.clone();
        }
        let matching = &binary.matching;
        let of = |columns: &[Column], i: Option<usize>| i.map(|i| columns[i].labels.clone());
        let (many_labels, one_labels) = (of(many, pair.many), of(one, pair.one));
        // A side that is filled in has the labels that match.
        let filled = || {
            let other = many_labels.as_ref().or(one_labels.as_ref()).cloned().unwrap_or_default();
            matching.key(&other)
        };
        let from = many_labels.clone().unwrap_or_else(filled);
        let partner = one_labels.clone().unwrap_or_else(filled);
        let mut labels = from;
        if !binary.op.is_comparison() || (binary.return_bool && !self.delayed) {
            labels = labels.without(is_reserved);
        }
        if matching.many == Many::Neither {
            let named = |name: &str| matching.labels.iter().any(|l| l == name);
            labels = labels.without(|name| named(name) != matching.on);
        }
        for name in &matching.include {
            labels = labels.with(name, partner.get(name).unwrap_or_default());
        }
        self.labels_of.insert(pair, labels.clone());
        labels
    }
}

/// Numbers the label sets by which series match.
#[derive(Default)]
struct Groups(FxHashMap<Labels, usize>);

impl Groups {
    fn of(&mut self, matching: &Matching, columns: &[Column]) -> Vec<usize> {
        columns
            .iter()
            .map(|column| {
                let next = self.0.len();
                *self.0.entry(matching.key(&column.labels)).or_insert(next)
            })
            .collect()
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

impl Matching {
    /// The labels that must agree.
    fn key(&self, labels: &Labels) -> Labels {
        let named = |name: &str| self.labels.iter().any(|l| l == name);
        match self.on {
            true => labels.without(|name| !named(name)),
            false => labels.without(|name| named(name) || name == crate::METRIC_NAME),
        }
    }
}

fn duplicate(matching: &Matching, a: &Labels, b: &Labels, swapped: bool) -> Error {
    let written = |labels: &Labels| {
        let pairs: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
        format!("{{{}}}", pairs.join(", "))
    };
    let side = if swapped { "left" } else { "right" };
    let (a, b) = if a <= b { (a, b) } else { (b, a) };
    Error::Execution(format!(
        "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
        written(&matching.key(a)),
        written(a),
        written(b),
    ))
}

fn scalar_result(op: Op, left: f64, right: f64) -> f64 {
    if op.is_comparison() {
        f64::from(u8::from(compare(op, left, right)))
    } else {
        arithmetic(op, left, right)
    }
}

fn compare(op: Op, left: f64, right: f64) -> bool {
    match op {
        Op::Equal => left == right,
        Op::NotEqual => left != right,
        Op::Greater => left > right,
        Op::Less => left < right,
        Op::GreaterEqual => left >= right,
        Op::LessEqual => left <= right,
        _ => false,
    }
}

fn arithmetic(op: Op, left: f64, right: f64) -> f64 {
    match op {
        Op::Add => left + right,
        Op::Sub => left - right,
        Op::Mul => left * right,
        Op::Div => left / right,
        Op::Mod => left % right,
        Op::Pow => left.powf(right),
        Op::Atan2 => left.atan2(right),
        _ => f64::NAN,
    }
}
