//! Adding, taking away, scaling.

use super::layout::{coarser, joined, outside_zero};
use super::{Buckets, CounterReset, Histogram};
use std::cmp::Ordering;

/// What a caller must tell the user of a sum or difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// One histogram says that there was a reset, the other that there was none.
    pub counter_reset_collision: bool,
    /// The custom bounds differed; those that both have are left.
    pub bounds_reconciled: bool,
}

/// Exponential and custom buckets cannot be added to one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot combine a histogram of exponential buckets with one of custom buckets")]
pub struct IncompatibleSchemas;

impl Histogram {
    /// Adds another histogram. Of two resolutions the coarser counts, of two
    /// zero buckets the wider one (widened further where its threshold falls
    /// into a populated bucket), of custom bounds those that both have. Buckets
    /// of both are kept, empty ones too.
    pub fn add(&mut self, other: &Self) -> Result<Added, IncompatibleSchemas> {
        self.combine(other, 1.0)
    }

    /// Takes another histogram away; else as [`Histogram::add`]. The result of
    /// PromQL's `-` is a gauge: its caller says so.
    pub fn sub(&mut self, other: &Self) -> Result<Added, IncompatibleSchemas> {
        self.combine(other, -1.0)
    }

    /// Multiplies counts and sum. A negative factor makes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.each(|value| *value *= factor);
        if factor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    /// Divides counts and sum. A negative divisor makes a gauge; zero leaves no
    /// bucket, as nothing is known about where infinitely many observations are.
    pub fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive = Buckets::default();
            self.negative = Buckets::default();
        }
        self.each(|value| *value /= divisor);
        if divisor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    /// Whether a count or the sum is infinite: averages then go step by step.
    pub fn has_overflow(&self) -> bool {
        let infinite = |values: &[f64]| values.iter().any(|value| value.is_infinite());
        infinite(&[self.zero_count, self.count, self.sum])
            || infinite(&self.positive.counts)
            || infinite(&self.negative.counts)
    }

    fn each(&mut self, mut change: impl FnMut(&mut f64)) {
        let Self { zero_count, count, sum, positive, negative, .. } = self;
        let numbers = [zero_count, count, sum].into_iter();
        numbers.chain(&mut positive.counts).chain(&mut negative.counts).for_each(&mut change);
    }

    fn combine(&mut self, other: &Self, sign: f64) -> Result<Added, IncompatibleSchemas> {
        if self.has_custom_buckets() != other.has_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let (reset, counter_reset_collision) = self.reset.combined(other.reset);
        self.reset = reset;
        self.count += sign * other.count;
        self.sum += sign * other.sum;
        let mut added = Added { counter_reset_collision, bounds_reconciled: false };
        if self.has_custom_buckets() {
            if self.bounds == other.bounds {
                combine_sides(&mut self.positive, &other.positive, sign);
            } else {
                self.combine_custom(other, sign);
                added.bounds_reconciled = true;
            }
            return Ok(added);
        }
        self.zero_count += sign * self.reconcile_zero_buckets(other);
        self.reduce_resolution(other.schema);
        let (schema, threshold) = (self.schema, self.zero_threshold);
        for (side, more) in [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)] {
            let covered = threshold > other.zero_threshold;
            if other.schema == schema && !covered {
                combine_sides(side, more, sign);
            } else {
                // Left out at the other's own resolution: a coarser bucket may
                // reach beyond the zero bucket.
                let more = outside_zero(more.iter(), other.schema, threshold);
                side.merge(joined(coarser(more, other.schema, schema)), sign);
            }
        }
        Ok(added)
    }

    /// Widens the own zero bucket until its threshold is at least the other's
    /// and in no populated bucket of either; gives the zero count that the other
    /// has with it.
    fn reconcile_zero_buckets(&mut self, other: &Self) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        // A NaN is refused where histograms come in; here it widens nothing.
        while threshold.partial_cmp(&self.zero_threshold).is_some_and(Ordering::is_ne) {
            if self.zero_threshold > threshold {
                (count, threshold) = other.zero_count_for(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                (self.zero_count, self.zero_threshold) = self.zero_count_for(threshold);
                let (schema, threshold) = (self.schema, self.zero_threshold);
                for side in [&mut self.positive, &mut self.negative] {
                    *side = Buckets::from_indexed(outside_zero(side.iter(), schema, threshold));
                }
            }
        }
        count
    }

    /// The count of the zero bucket if its threshold were larger, and the
    /// threshold, which is moved up where it would lie in a populated bucket.
    pub(super) fn zero_count_for(&self, mut threshold: f64) -> (f64, f64) {
        if threshold <= self.zero_threshold {
            return (self.zero_count, self.zero_threshold);
        }
        'again: loop {
            let mut count = self.zero_count;
            for side in [&self.positive, &self.negative] {
                for (index, more) in side.iter() {
                    if self.upper_bound(index - 1) >= threshold {
                        break;
                    }
                    count += more;
                    let upper = self.upper_bound(index);
                    if upper > threshold && more != 0.0 {
                        threshold = upper;
                        // The other side may now have more inside.
                        continue 'again;
                    }
                }
            }
            return (count, threshold);
        }
    }
}

impl CounterReset {
    /// What is known about a sum, and whether the two contradict each other.
    pub(super) fn combined(self, other: Self) -> (Self, bool) {
        match (self, other) {
            (a, b) if a == b => (a, false),
            (Self::Gauge, _) | (_, Self::Gauge) => (Self::Gauge, false),
            (Self::Unknown, _) | (_, Self::Unknown) => (Self::Unknown, false),
            _ => (Self::Unknown, true),
        }
    }
}

/// Most sums are over histograms of one client, that have the same buckets.
fn combine_sides(side: &mut Buckets, more: &Buckets, sign: f64) {
    if side.spans == more.spans && side.counts.len() == more.counts.len() {
        for (count, more) in side.counts.iter_mut().zip(&more.counts) {
            *count += sign * more;
        }
    } else {
        side.merge(more.iter(), sign);
    }
}
