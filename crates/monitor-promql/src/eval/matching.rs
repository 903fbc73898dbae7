//! Operators between two vectors: which series belong together.

use super::binary::{Result2, is_arithmetic};
use super::{Evaluator, Sink, is_reserved};
use crate::column::{At, Column, Merge, SAME_LABELS, Steps};
use crate::plan::{Binary, Part};
use crate::{Error, Labels, LabelsBuilder, METRIC_NAME};
use monitor_lang::ast::{BinaryOp, Cardinality, Matching, Place};
use rustc_hash::FxHashMap;
use std::sync::Arc;

impl<'a> Evaluator<'a> {
    /// `and`, `or`, `unless`.
    pub(super) fn set_operation(
        &mut self,
        binary: &Binary<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let everything = Matching::default();
        let mut groups = MatchGroups::new(binary.matching.unwrap_or(&everything));
        if binary.op == BinaryOp::Or {
            return self.union(binary, steps, groups, sink);
        }
        let mut there: Vec<Bits> = Vec::new();
        self.each(&binary.right, steps, &mut |this, column| {
            let group = groups.of(&column.labels);
            if group == there.len() {
                this.hold(steps.count.div_ceil(128))?;
                there.push(Bits::new(steps.count));
            }
            mark(&mut there[group], column);
            Ok(())
        })?;
        let wanted = binary.op == BinaryOp::And;
        self.each(&binary.left, steps, &mut |this, column| {
            match groups.find(&column.labels).map(|group| &there[group]) {
                None if wanted => return Ok(()),
                None => {}
                Some(there) => {
                    for step in 0..steps.count {
                        if there.get(step) != wanted {
                            column.clear_step(step);
                        }
                    }
                    if !column.any() {
                        return Ok(());
                    }
                }
            }
            sink(this, column)
        })
    }

    /// `or`: all of the left side, and of the right side what has no match there.
    fn union(
        &mut self,
        binary: &Binary<'_>,
        steps: Steps,
        mut groups: MatchGroups<'_>,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let mut there: Vec<Bits> = Vec::new();
        let mut merged = Merge::default();
        self.each(&binary.left, steps, &mut |this, column| {
            let group = groups.of(&column.labels);
            if group == there.len() {
                this.hold(steps.count.div_ceil(128))?;
                there.push(Bits::new(steps.count));
            }
            mark(&mut there[group], column);
            this.join(&mut merged, column)
        })?;
        self.each(&binary.right, steps, &mut |this, column| {
            if let Some(there) = groups.find(&column.labels).map(|group| &there[group]) {
                for step in 0..steps.count {
                    if there.get(step) {
                        column.clear_step(step);
                    }
                }
                if !column.any() {
                    return Ok(());
                }
            }
            this.join(&mut merged, column)
        })?;
        self.pass_merged(merged, sink)
    }

    /// Arithmetic and comparisons (Prometheus' `VectorBinop`).
    pub(super) fn matched(
        &mut self,
        part: &Part<'_>,
        binary: &Binary<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let everything = Matching::default();
        let matching = binary.matching.unwrap_or(&everything);
        let left = self.columns(&binary.left, steps)?;
        let right = self.columns(&binary.right, steps)?;
        let swapped = matching.cardinality == Cardinality::OneToMany;
        let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
        let mut pairing = Pairing {
            binary,
            matching,
            swapped,
            place: part.place,
            steps,
            active: active_steps(many, one, matching, steps),
            matched: Vec::new(),
            made: FxHashMap::default(),
            output: Merge::default(),
        };
        pairing.run(self, many, one)?;
        let output = pairing.output;
        self.release_columns(&left);
        self.release_columns(&right);
        drop((left, right));
        let columns = output.columns.into_iter().filter(Column::any).collect();
        self.pass(columns, sink)
    }
}

/// The steps at which there is anything to do: both sides have samples, or one
/// has and the other's are filled in.
fn active_steps(many: &[Column], one: &[Column], matching: &Matching, steps: Steps) -> Bits {
    let any = |columns: &[Column]| {
        let mut bits = Bits::new(steps.count);
        columns.iter().for_each(|column| mark(&mut bits, column));
        bits
    };
    let (mut active, other) = (any(many), any(one));
    let fills = matching.fill_left.is_some() || matching.fill_right.is_some();
    for (active, other) in active.0.iter_mut().zip(&other.0) {
        *active = if fills { *active | other } else { *active & other };
    }
    active
}

/// The state of an operation between two vectors.
struct Pairing<'p> {
    binary: &'p Binary<'p>,
    matching: &'p Matching,
    /// The many side is the right one.
    swapped: bool,
    place: Place,
    steps: Steps,
    active: Bits,
    /// Of each match group, the steps at which a sample of the many side was matched.
    matched: Vec<Bits>,
    /// Of each match group and label set that was made of it, the steps.
    made: FxHashMap<(usize, Labels), Bits>,
    output: Merge,
}

impl Pairing<'_> {
    fn run(&mut self, evaluator: &mut Evaluator<'_>, many: &[Column], one: &[Column]) -> Result<(), Error> {
        let mut groups = MatchGroups::new(self.matching);
        let mut ones: Vec<Vec<usize>> = Vec::new();
        for (at, column) in one.iter().enumerate() {
            let group = groups.of(&column.labels);
            if group == ones.len() {
                ones.push(Vec::new());
            }
            ones[group].push(at);
        }
        self.refuse_several(one, &ones)?;
        self.matched = vec![Bits::new(self.steps.count); ones.len()];
        for many in many {
            evaluator.check_stop()?;
            let group = groups.of(&many.labels);
            if group >= self.matched.len() {
                self.matched.push(Bits::new(self.steps.count));
            }
            let ones = ones.get(group).map(Vec::as_slice).unwrap_or_default();
            for at in ones {
                self.pair(evaluator, group, Some(many), Some(&one[*at]), |step| {
                    many.has(step) && one[*at].has(step)
                })?;
            }
            if self.matching.fill_right.is_some() {
                self.pair(evaluator, group, Some(many), None, |step| {
                    many.has(step) && !ones.iter().any(|at| one[*at].has(step))
                })?;
            }
        }
        if self.matching.fill_left.is_some() {
            for (group, ones) in ones.iter().enumerate() {
                let matched = self.matched[group].clone();
                for at in ones {
                    self.pair(evaluator, group, None, Some(&one[*at]), |step| {
                        one[*at].has(step) && !matched.get(step)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Two samples of a match group on the side that must have one.
    fn refuse_several(&self, one: &[Column], ones: &[Vec<usize>]) -> Result<(), Error> {
        for group in ones.iter().filter(|group| group.len() > 1) {
            for step in (0..self.steps.count).filter(|step| self.active.get(*step)) {
                let mut there = group.iter().filter(|at| one[**at].has(step));
                let (Some(a), Some(b)) = (there.next(), there.next()) else { continue };
                let mut texts = [in_braces(&one[*a].labels), in_braces(&one[*b].labels)];
                texts.sort();
                let side = if self.swapped { "left" } else { "right" };
                return Err(Error::Execution(format!(
                    "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
                    in_braces(&matched_labels(self.matching, &one[*a].labels)),
                    texts[0],
                    texts[1],
                )));
            }
        }
        Ok(())
    }

    /// Operates on the samples of two series at some steps; one of the two may be
    /// filled in.
    fn pair(
        &mut self,
        evaluator: &mut Evaluator<'_>,
        group: usize,
        many: Option<&Column>,
        one: Option<&Column>,
        here: impl Fn(usize) -> bool,
    ) -> Result<(), Error> {
        let there = |step: usize| self.active.get(step) && here(step);
        let Some(first) = (0..self.steps.count).find(|step| there(*step)) else { return Ok(()) };
        let filled = |other: Option<&Column>| {
            other.map(|column| matched_labels(self.matching, &column.labels)).unwrap_or_default()
        };
        let many_labels = many.map_or_else(|| filled(one), |column| column.labels.clone());
        let one_labels = one.map_or_else(|| filled(many), |column| column.labels.clone());
        let op = self.binary.op;
        let mut labels = self.result_labels(&many_labels, &one_labels);
        let delayed = evaluator.options.delayed_name_removal;
        if self.binary.bool && !delayed {
            labels = labels.without(is_reserved);
        }
        let drop_name =
            delayed && (self.binary.bool || !is_arithmetic(op) && many.is_some_and(|many| many.drop_name));
        let (at, new) = self.output.column(labels.clone(), drop_name, self.steps.count);
        if new {
            evaluator.hold(self.steps.count)?;
            evaluator.check_series(at + 1)?;
        }
        let key = (group, labels);
        if self.matching.cardinality != Cardinality::OneToOne && !self.made.contains_key(&key) {
            self.made.insert(key.clone(), Bits::new(self.steps.count));
        }
        for step in first..self.steps.count {
            if !(self.active.get(step) && here(step)) {
                continue;
            }
            let many_at = many.map_or(At::Float(self.matching.fill_left.unwrap_or(f64::NAN)), |c| c.at(step));
            let one_at = one.map_or(At::Float(self.matching.fill_right.unwrap_or(f64::NAN)), |c| c.at(step));
            let (left, right) = if self.swapped { (one_at, many_at) } else { (many_at, one_at) };
            let result = evaluator.operate(op, left, right, self.place);
            if matches!(result, Result2::Nothing) {
                continue;
            }
            self.refuse_repeated(&key, step)?;
            let column = &mut self.output.columns[at];
            if matches!(result, Result2::Holds(false)) && !self.binary.bool {
                continue;
            }
            if column.has(step) {
                return Err(Error::Execution(SAME_LABELS.into()));
            }
            match result {
                Result2::Float(value) => column.values[step] = value,
                Result2::Histogram(histogram) => column.set_histogram(step, Arc::new(histogram)),
                Result2::Holds(holds) if self.binary.bool => {
                    column.values[step] = f64::from(u8::from(holds));
                }
                Result2::Holds(_) => column.copy_step(step, left),
                Result2::Nothing => {}
            }
        }
        Ok(())
    }

    /// A sample that is matched twice.
    fn refuse_repeated(&mut self, key: &(usize, Labels), step: usize) -> Result<(), Error> {
        let repeated = self.matched[key.0].set(step);
        if self.matching.cardinality == Cardinality::OneToOne {
            if repeated {
                return Err(Error::Execution(
                    "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        .into(),
                ));
            }
        } else if self.made.get_mut(key).is_some_and(|made| made.set(step)) {
            return Err(Error::Execution(
                "multiple matches for labels: grouping labels must ensure unique matches".into(),
            ));
        }
        Ok(())
    }

    fn result_labels(&self, many: &Labels, one: &Labels) -> Labels {
        let matching = self.matching;
        let renamed = is_arithmetic(self.binary.op);
        let one_to_one = matching.cardinality == Cardinality::OneToOne;
        let named = |name: &str| matching.labels.iter().any(|label| label == name);
        let labels =
            many.without(|name| (renamed && is_reserved(name)) || (one_to_one && named(name) != matching.on));
        if matching.include.is_empty() {
            return labels;
        }
        let mut builder = LabelsBuilder::from(&labels);
        for name in &matching.include {
            builder.set(name, one.get(name).unwrap_or_default());
        }
        builder.build()
    }
}

/// The labels by which a series is matched.
fn matched_labels(matching: &Matching, labels: &Labels) -> Labels {
    labels.without(|name| !matches(matching, name))
}

fn matches(matching: &Matching, name: &str) -> bool {
    let named = matching.labels.iter().any(|label| label == name);
    if matching.on { named } else { !named && name != METRIC_NAME }
}

/// Which match group each series belongs to.
struct MatchGroups<'m> {
    matching: &'m Matching,
    places: FxHashMap<String, usize>,
    key: String,
}

impl<'m> MatchGroups<'m> {
    fn new(matching: &'m Matching) -> Self {
        Self { matching, places: FxHashMap::default(), key: String::new() }
    }

    fn write_key(&mut self, labels: &Labels) {
        self.key.clear();
        for (name, value) in labels.iter().filter(|(name, _)| matches(self.matching, name)) {
            for text in [name, value] {
                self.key.push_str(text);
                self.key.push('\u{0}');
            }
        }
    }

    /// The group of a label set; a new one is the next number.
    fn of(&mut self, labels: &Labels) -> usize {
        self.write_key(labels);
        if let Some(place) = self.places.get(self.key.as_str()) {
            return *place;
        }
        let place = self.places.len();
        self.places.insert(self.key.clone(), place);
        place
    }

    fn find(&mut self, labels: &Labels) -> Option<usize> {
        self.write_key(labels);
        self.places.get(self.key.as_str()).copied()
    }
}

/// One bit a step.
#[derive(Clone, Debug)]
struct Bits(Vec<u64>);

impl Bits {
    fn new(steps: usize) -> Self {
        Self(vec![0; steps.div_ceil(64)])
    }

    fn get(&self, step: usize) -> bool {
        self.0[step / 64] >> (step % 64) & 1 == 1
    }

    /// Sets a bit; whether it was set.
    fn set(&mut self, step: usize) -> bool {
        let was = self.get(step);
        self.0[step / 64] |= 1 << (step % 64);
        was
    }
}

/// Sets the bits of the steps at which a series has a sample.
fn mark(bits: &mut Bits, column: &Column) {
    for step in 0..column.values.len() {
        if column.has(step) {
            bits.set(step);
        }
    }
}

/// A label set as Go's `Labels.String` writes it, the name as a label like others.
fn in_braces(labels: &Labels) -> String {
    let pairs: Vec<String> = labels
        .iter()
        .map(|(name, value)| match monitor_model::labels::is_label_name(name) {
            true => format!("{name}={value:?}"),
            false => format!("{name:?}={value:?}"),
        })
        .collect();
    format!("{{{}}}", pairs.join(", "))
}
