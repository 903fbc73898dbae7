//! Functions on labels, and orders.

use super::{Evaluator, Sink, text_arg};
use crate::column::{Column, Merge, Steps, present};
use crate::notes::Note;
use crate::plan::{Call, Part};
use crate::{Error, Labels, METRIC_NAME};
use monitor_model::compile_anchored;
use std::cmp::Ordering;

impl<'a> Evaluator<'a> {
    /// `label_replace(v, dst, replacement, src, regex)`.
    pub(super) fn label_replace(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let [destination, replacement, source, regex] = [1, 2, 3, 4].map(|i| text_arg(call, i));
        let (destination, replacement, source, regex) = (destination?, replacement?, source?, regex?);
        let pattern = compile_anchored(regex).map_err(|_| {
            Error::Execution(format!("invalid regular expression in label_replace(): {regex}"))
        })?;
        check_label_name("destination", destination, "label_replace")?;
        // Each `$` is at most the whole value.
        let references = replacement.matches('$').count();
        let mut merged = Merge::default();
        self.each(&call.args[0], steps, &mut |this, column| {
            let value = column.labels.get(source).unwrap_or_default();
            if let Some(captures) = pattern.captures(value) {
                this.hold_label(replacement.len().saturating_add(references.saturating_mul(value.len())))?;
                let mut new = String::new();
                captures.expand(replacement, &mut new);
                column.set_label(destination, &new);
            }
            this.join(&mut merged, column)
        })?;
        self.pass_merged(merged, sink)
    }

    /// `label_join(v, dst, separator, src…)`.
    pub(super) fn label_join(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let (destination, separator) = (text_arg(call, 1)?, text_arg(call, 2)?);
        let sources: Vec<&str> = (3..call.args.len()).map(|i| text_arg(call, i)).collect::<Result<_, _>>()?;
        for source in &sources {
            check_label_name("source", source, "label_join")?;
        }
        check_label_name("destination", destination, "label_join")?;
        let mut merged = Merge::default();
        self.each(&call.args[0], steps, &mut |this, column| {
            let values: Vec<&str> =
                sources.iter().map(|source| column.labels.get(source).unwrap_or_default()).collect();
            let length: usize = values.iter().map(|value| value.len() + separator.len()).sum();
            this.hold_label(length)?;
            let joined = values.join(separator);
            column.set_label(destination, &joined);
            this.join(&mut merged, column)
        })?;
        self.pass_merged(merged, sink)
    }

    /// Keeps a series, joined with others of its labels.
    pub(super) fn join(&mut self, merged: &mut Merge, column: &mut Column) -> Result<(), Error> {
        self.hold(column.size())?;
        merged.add(std::mem::take(column))?;
        self.check_series(merged.columns.len())
    }

    pub(super) fn sort(
        &mut self,
        part: &Part<'_>,
        call: &Call<'_>,
        steps: Steps,
        descending: bool,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let mut columns = Vec::new();
        self.each(&call.args[0], steps, &mut |this, column| {
            // Histograms have no order.
            column.floats_only();
            if column.values.iter().copied().any(present) { this.keep(&mut columns, column) } else { Ok(()) }
        })?;
        if !self.sorts_in_vain(part, steps) {
            columns.sort_by(|a, b| {
                let (a, b) = (a.values[0], b.values[0]);
                // NaN comes last either way.
                match (a.is_nan(), b.is_nan()) {
                    (false, false) if descending => b.partial_cmp(&a).unwrap_or(Ordering::Equal),
                    (false, false) => a.partial_cmp(&b).unwrap_or(Ordering::Equal),
                    (a, b) => a.cmp(&b),
                }
            });
        }
        self.pass(columns, sink)
    }

    pub(super) fn sort_by_label(
        &mut self,
        part: &Part<'_>,
        call: &Call<'_>,
        steps: Steps,
        descending: bool,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let names: Vec<&str> = (1..call.args.len()).map(|i| text_arg(call, i)).collect::<Result<_, _>>()?;
        let mut columns = self.columns(&call.args[0], steps)?;
        if !self.sorts_in_vain(part, steps) {
            columns.sort_by(|a, b| {
                let order = by_labels(&a.labels, &b.labels, &names);
                if descending { order.reverse() } else { order }
            });
        }
        self.pass(columns, sink)
    }

    /// A range query's answer is always in the order of labels.
    fn sorts_in_vain(&mut self, part: &Part<'_>, steps: Steps) -> bool {
        if self.times.step_ms > 0 {
            self.note(Note::SortInRange, part.place);
        }
        steps.count != 1
    }
}

impl Column {
    fn set_label(&mut self, label: &str, value: &str) {
        self.labels = self.labels.with(label, value);
        if label == METRIC_NAME {
            self.drop_name = false;
        }
    }
}

/// Any name of at least one character is a label name since Prometheus 3.
fn check_label_name(which: &str, name: &str, function: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::Execution(format!("invalid {which} label name in {function}(): {name}")));
    }
    Ok(())
}

fn by_labels(a: &Labels, b: &Labels, names: &[&str]) -> Ordering {
    for name in names {
        let order = natural(a.get(name).unwrap_or_default(), b.get(name).unwrap_or_default());
        if order != Ordering::Equal {
            return order;
        }
    }
    a.cmp(b)
}

/// Texts with their numbers compared as numbers: `a2` before `a10`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        if a.is_empty() || b.is_empty() {
            return a.len().cmp(&b.len());
        }
        let (part_a, rest_a) = part(a);
        let (part_b, rest_b) = part(b);
        let order = match (part_a.parse::<u128>(), part_b.parse::<u128>()) {
            (Ok(number_a), Ok(number_b)) => number_a.cmp(&number_b).then_with(|| part_a.cmp(part_b)),
            _ => part_a.cmp(part_b),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (rest_a, rest_b);
    }
}

/// The longest start that is all digits or has none.
fn part(text: &str) -> (&str, &str) {
    let digits = text.starts_with(|c: char| c.is_ascii_digit());
    let end = text.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_numbers() {
        let mut texts = ["a10", "a2", "b", "a", "4m5", "4m10", "", "a2b"];
        texts.sort_by(|a, b| natural(a, b));
        assert_eq!(texts, ["", "4m5", "4m10", "a", "a2", "a2b", "a10", "b"]);
    }
}
