//! Sums whose rounding errors are carried along.

use super::bounds::exponential_bound;
use super::layout::{coarser, joined, outside_zero};
use super::{Added, Buckets, CUSTOM_BUCKETS, CounterReset, Histogram, IncompatibleSchemas};
use std::cmp::Ordering;
use std::sync::Arc;

/// Adds to a sum; what is lost by rounding goes into `carry`, which is added at
/// the very end (Kahan's summation as Neumaier improved it, 1974).
pub fn kahan_add(sum: &mut f64, carry: &mut f64, value: f64) {
    let total = *sum + value;
    *carry = if total.is_infinite() {
        0.0
    } else if sum.abs() >= value.abs() {
        *carry + ((*sum - total) + value)
    } else {
        *carry + ((value - total) + *sum)
    };
    *sum = total;
}

/// A compensated number.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    sum: f64,
    carry: f64,
}

impl Number {
    fn add(&mut self, value: f64) {
        kahan_add(&mut self.sum, &mut self.carry, value);
    }

    fn join(&mut self, other: Self) {
        self.add(other.sum);
        self.carry += other.carry;
    }

    fn total(self) -> f64 {
        self.sum + self.carry
    }
}

/// A bucket of a sum.
#[derive(Clone, Copy, Debug)]
struct Cell {
    index: i64,
    count: Number,
}

/// A compensated sum of histograms, for `sum`, `avg` and their `_over_time`.
#[derive(Clone, Debug)]
pub struct KahanSum {
    reset: CounterReset,
    schema: i8,
    zero_threshold: f64,
    zero_count: Number,
    count: Number,
    sum: Number,
    positive: Vec<Cell>,
    negative: Vec<Cell>,
    bounds: Arc<[f64]>,
}

impl KahanSum {
    /// Begins with a histogram.
    pub fn new(first: &Histogram) -> Self {
        let exactly = |value| Number { sum: value, carry: 0.0 };
        let cells = |side: &Buckets| {
            side.iter().map(|(index, count)| Cell { index, count: exactly(count) }).collect()
        };
        Self {
            reset: first.reset,
            schema: first.schema,
            zero_threshold: first.zero_threshold,
            zero_count: exactly(first.zero_count),
            count: exactly(first.count),
            sum: exactly(first.sum),
            positive: cells(&first.positive),
            negative: cells(&first.negative),
            bounds: first.bounds.clone(),
        }
    }

    /// Adds a histogram, reconciling as [`Histogram::add`] does.
    pub fn add(&mut self, other: &Histogram) -> Result<Added, IncompatibleSchemas> {
        let custom = self.has_custom_buckets();
        if custom != other.has_custom_buckets() {
            return Err(IncompatibleSchemas);
        }
        let (reset, counter_reset_collision) = self.reset.combined(other.reset);
        self.reset = reset;
        self.count.add(other.count);
        self.sum.add(other.sum);
        let bounds_reconciled = custom && self.bounds != other.bounds;
        if bounds_reconciled {
            self.add_with_other_bounds(other);
        } else if custom {
            merge(&mut self.positive, other.positive.iter());
        } else {
            let zero_count = self.reconcile_zero_buckets(other);
            self.zero_count.add(zero_count);
            self.reduce_resolution(other.schema);
            let (schema, threshold) = (self.schema, self.zero_threshold);
            for (cells, side) in
                [(&mut self.positive, &other.positive), (&mut self.negative, &other.negative)]
            {
                let same_buckets = other.schema == schema && threshold <= other.zero_threshold;
                if same_buckets {
                    merge(cells, side.iter());
                } else {
                    let buckets = outside_zero(side.iter(), other.schema, threshold);
                    merge(cells, joined(coarser(buckets, other.schema, schema)));
                }
            }
        }
        Ok(Added { counter_reset_collision, bounds_reconciled })
    }

    /// Multiplies counts and sum. A negative factor makes a gauge.
    pub fn mul(&mut self, factor: f64) {
        self.each(|number| {
            number.sum *= factor;
            number.carry *= factor;
        });
        if factor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    /// Divides counts and sum; zero leaves no bucket.
    pub fn div(&mut self, divisor: f64) {
        if divisor == 0.0 {
            self.positive.clear();
            self.negative.clear();
        }
        self.each(|number| {
            number.sum /= divisor;
            number.carry /= divisor;
        });
        if divisor < 0.0 {
            self.reset = CounterReset::Gauge;
        }
    }

    /// Whether a count or the sum is infinite; an average then goes step by step.
    pub fn has_overflow(&self) -> bool {
        let cells = self.positive.iter().chain(&self.negative).map(|cell| cell.count);
        cells.chain([self.zero_count, self.count, self.sum]).any(|number| number.sum.is_infinite())
    }

    /// Whether the bounds are given one by one.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS
    }

    /// What is known about a reset of the sum.
    pub fn reset(&self) -> CounterReset {
        self.reset
    }

    /// Says what is known about a reset.
    pub fn set_reset(&mut self, reset: CounterReset) {
        self.reset = reset;
    }

    /// The sum, with what rounding had lost.
    pub fn total(&self) -> Histogram {
        let side =
            |cells: &[Cell]| Buckets::from_indexed(cells.iter().map(|cell| (cell.index, cell.count.total())));
        Histogram {
            reset: self.reset,
            schema: self.schema,
            zero_threshold: self.zero_threshold,
            zero_count: self.zero_count.total(),
            count: self.count.total(),
            sum: self.sum.total(),
            positive: side(&self.positive),
            negative: side(&self.negative),
            bounds: self.bounds.clone(),
        }
    }

    fn each(&mut self, mut change: impl FnMut(&mut Number)) {
        let Self { zero_count, count, sum, positive, negative, .. } = self;
        let cells = positive.iter_mut().chain(negative).map(|cell| &mut cell.count);
        cells.chain([zero_count, count, sum]).for_each(&mut change);
    }

    fn reduce_resolution(&mut self, schema: i8) {
        if schema >= self.schema {
            return;
        }
        let shift = u32::from(self.schema.abs_diff(schema)).min(62);
        for side in [&mut self.positive, &mut self.negative] {
            regroup(side, |index| ((index - 1) >> shift) + 1);
        }
        self.schema = schema;
    }

    /// As the histogram's own, with what was carried moving along.
    fn reconcile_zero_buckets(&mut self, other: &Histogram) -> f64 {
        let (mut count, mut threshold) = (other.zero_count, other.zero_threshold);
        while threshold.partial_cmp(&self.zero_threshold).is_some_and(Ordering::is_ne) {
            if self.zero_threshold > threshold {
                (count, threshold) = other.zero_count_for(self.zero_threshold);
            }
            if threshold > self.zero_threshold {
                let wider = self.total().zero_count_for(threshold).1;
                let (schema, zero_count) = (self.schema, &mut self.zero_count);
                for side in [&mut self.positive, &mut self.negative] {
                    side.retain(|cell| {
                        let inside = exponential_bound(cell.index, schema) <= wider;
                        if inside {
                            zero_count.join(cell.count);
                        }
                        !inside
                    });
                }
                self.zero_threshold = wider;
            }
        }
        count
    }

    fn add_with_other_bounds(&mut self, other: &Histogram) {
        let shared = super::custom::shared_bounds(&self.bounds, &other.bounds);
        let bounds = &self.bounds;
        regroup(&mut self.positive, |index| {
            let upper = usize::try_from(index).ok().and_then(|i| bounds.get(i)).copied();
            let upper = upper.unwrap_or(f64::INFINITY);
            shared.partition_point(|bound| *bound < upper) as i64
        });
        let buckets = super::custom::mapped(other, &shared).map(|(index, count)| (index as i64, count));
        merge(&mut self.positive, joined(buckets));
        self.bounds = shared;
    }
}

/// Gives cells other indexes, which ascend too, and joins those that are equal.
fn regroup(cells: &mut Vec<Cell>, index: impl Fn(i64) -> i64) {
    for cell in cells.iter_mut() {
        cell.index = index(cell.index);
    }
    cells.dedup_by(|cell, kept| {
        let same = cell.index == kept.index;
        if same {
            kept.count.join(cell.count);
        }
        same
    });
}

/// Adds buckets, ascending and each once, to cells.
fn merge(cells: &mut Vec<Cell>, buckets: impl Iterator<Item = (i64, f64)>) {
    let mut at = 0;
    let mut missing: Vec<Cell> = Vec::new();
    for (index, count) in buckets {
        while cells.get(at).is_some_and(|cell| cell.index < index) {
            at += 1;
        }
        match cells.get_mut(at) {
            Some(cell) if cell.index == index => cell.count.add(count),
            _ => missing.push(Cell { index, count: Number { sum: count, carry: 0.0 } }),
        }
    }
    if !missing.is_empty() {
        cells.extend(missing);
        // Two runs that are sorted already: a stable sort merges them.
        cells.sort_by_key(|cell| cell.index);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(texts: &[&str]) -> Histogram {
        let all: Vec<_> = texts.iter().map(|text| Histogram::from_script(text).unwrap()).collect();
        let mut sum = KahanSum::new(&all[0]);
        for histogram in &all[1..] {
            sum.add(histogram).unwrap();
        }
        let mut total = sum.total();
        total.compact();
        total
    }

    #[test]
    fn what_rounding_loses_comes_back() {
        let total = sum(&[
            "{{count:1 sum:5.3 buckets:[1]}}",
            "{{count:2 sum:1e100 buckets:[1e100]}}",
            "{{count:3 sum:1 buckets:[1]}}",
            "{{count:4 sum:-1e100 buckets:[-1e100]}}",
        ]);
        assert!((total.sum - 6.3).abs() < 1e-9, "{}", total.sum);
        assert_eq!((total.count, total.positive.counts), (10.0, vec![2.0]));
    }

    #[test]
    fn reconciles_as_plain_addition_does() {
        let cases: &[&[&str]] = &[
            &["{{count:3 buckets:[1 2]}}", "{{schema:1 count:3 buckets:[1 2 3]}}"],
            &[
                "{{schema:1 count:3 buckets:[1 2 3] n_buckets:[1 2]}}",
                "{{count:3 offset:-1 buckets:[1 0 2]}}",
            ],
            &[
                "{{count:9 z_bucket:1 z_bucket_w:0.1 offset:-5 buckets:[1 2 3 4]}}",
                "{{z_bucket:1 z_bucket_w:0.2}}",
            ],
            &[
                "{{z_bucket:1 z_bucket_w:0.2}}",
                "{{count:9 z_bucket:1 z_bucket_w:0.1 n_offset:-5 n_buckets:[1 2 3 4]}}",
            ],
            &[
                "{{schema:-53 custom_values:[1 2 3] buckets:[1 2 3 4]}}",
                "{{schema:-53 custom_values:[0 2 4] buckets:[1 2 3 4]}}",
                "{{schema:-53 custom_values:[2 4] buckets:[1 2]}}",
            ],
        ];
        for texts in cases {
            let mut plain = Histogram::from_script(texts[0]).unwrap();
            for text in &texts[1..] {
                plain.add(&Histogram::from_script(text).unwrap()).unwrap();
            }
            plain.compact();
            assert_eq!(sum(texts), plain, "{texts:?}");
        }
    }
}
