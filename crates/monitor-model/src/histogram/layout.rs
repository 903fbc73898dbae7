//! Which buckets are written down: building spans, compacting, merging.

use super::bounds::exponential_bound;
use super::{Buckets, Histogram, Span};

impl Histogram {
    /// Leaves empty buckets out and joins spans that follow one another.
    pub fn compact(&mut self) {
        self.positive.compact();
        self.negative.compact();
    }

    /// Merges buckets until the resolution is that of a coarser schema. Nothing
    /// changes where the schema is not coarser, or the buckets are custom ones.
    pub fn reduce_resolution(&mut self, schema: i8) {
        if self.has_custom_buckets() || schema < super::MIN_SCHEMA || schema >= self.schema {
            return;
        }
        for side in [&mut self.positive, &mut self.negative] {
            *side = Buckets::from_indexed(coarser(side.iter(), self.schema, schema));
        }
        self.schema = schema;
    }

    /// Whether two histograms have the same buckets and, by `same`, the same
    /// numbers. What is known about resets is not compared.
    pub fn matches(&self, other: &Self, same: impl Fn(f64, f64) -> bool) -> bool {
        let side = |a: &Buckets, b: &Buckets| {
            a.same_layout(b) && a.counts.iter().zip(&b.counts).all(|(a, b)| same(*a, *b))
        };
        self.schema == other.schema
            && self.bounds.len() == other.bounds.len()
            && self.bounds.iter().zip(other.bounds.iter()).all(|(a, b)| a == b)
            && same(self.zero_threshold, other.zero_threshold)
            && same(self.zero_count, other.zero_count)
            && same(self.count, other.count)
            && same(self.sum, other.sum)
            && side(&self.positive, &other.positive)
            && side(&self.negative, &other.negative)
    }

    /// Whether two histograms have the same buckets and bit for bit the same
    /// numbers, as PromQL's `==` and `changes` ask. What is known about resets is
    /// not compared.
    pub fn equals(&self, other: &Self) -> bool {
        self.matches(other, |a, b| a.to_bits() == b.to_bits())
    }
}

impl Buckets {
    /// From buckets that ascend by index. Two of the same index are one bucket.
    pub fn from_indexed(buckets: impl Iterator<Item = (i64, f64)>) -> Self {
        let mut side = Self::default();
        let mut next = 0i64;
        for (index, count) in buckets {
            match side.counts.last_mut() {
                Some(last) if index < next => *last += count,
                _ => side.push(index, count, &mut next),
            }
        }
        side
    }

    /// Appends a bucket behind all others; `next` is the index behind the last.
    fn push(&mut self, index: i64, count: f64, next: &mut i64) {
        let gap = index - *next;
        match self.spans.last_mut() {
            Some(span) if gap == 0 => span.length += 1,
            _ => self.spans.push(Span { offset: clamp(gap), length: 1 }),
        }
        self.counts.push(count);
        *next = index + 1;
    }

    /// Whether the same buckets are written down, by whatever spans.
    pub(super) fn same_layout(&self, other: &Self) -> bool {
        self.counts.len() == other.counts.len()
            && (self.spans == other.spans
                || self.iter().map(|(index, _)| index).eq(other.iter().map(|(index, _)| index)))
    }

    pub(super) fn compact(&mut self) {
        let tidy = self.counts.iter().all(|count| *count != 0.0)
            && self.spans.iter().all(|span| span.length > 0)
            && self.spans.iter().skip(1).all(|span| span.offset != 0);
        if !tidy {
            *self = Self::from_indexed(self.iter().filter(|(_, count)| *count != 0.0));
        }
    }

    /// Adds the buckets of another side, or takes them away where `sign` is −1.
    pub(super) fn merge(&mut self, other: impl Iterator<Item = (i64, f64)>, sign: f64) {
        let mut own = self.iter().peekable();
        let mut other = other.peekable();
        let mut merged = Self::default();
        merged.counts.reserve(self.counts.len());
        let mut next = 0i64;
        loop {
            let (index, count) = match (own.peek().copied(), other.peek().copied()) {
                (None, None) => break,
                (Some(bucket), None) => bucket,
                (None, Some((index, count))) => (index, sign * count),
                (Some((a, count)), Some((b, _))) if a < b => (a, count),
                (Some((a, _)), Some((b, count))) if b < a => (b, sign * count),
                (Some((a, count)), Some((_, more))) => (a, count + sign * more),
            };
            own.next_if(|bucket| bucket.0 <= index);
            other.next_if(|bucket| bucket.0 <= index);
            merged.push(index, count, &mut next);
        }
        drop(own);
        *self = merged;
    }
}

/// Buckets as they are in a coarser schema, ascending by index; several of them
/// may have the same index.
pub(super) fn coarser(
    buckets: impl Iterator<Item = (i64, f64)>,
    from: i8,
    to: i8,
) -> impl Iterator<Item = (i64, f64)> {
    let shift = u32::from(from.abs_diff(to.min(from))).min(62);
    buckets.map(move |(index, count)| (((index - 1) >> shift) + 1, count))
}

/// Joins neighbours of the same index.
pub(super) fn joined(buckets: impl Iterator<Item = (i64, f64)>) -> impl Iterator<Item = (i64, f64)> {
    let mut buckets = buckets.peekable();
    std::iter::from_fn(move || {
        let (index, mut count) = buckets.next()?;
        while let Some((_, more)) = buckets.next_if(|bucket| bucket.0 == index) {
            count += more;
        }
        Some((index, count))
    })
}

/// Without the buckets that lie inside the zero bucket.
pub(super) fn outside_zero(
    buckets: impl Iterator<Item = (i64, f64)>,
    schema: i8,
    threshold: f64,
) -> impl Iterator<Item = (i64, f64)> {
    buckets.skip_while(move |(index, _)| threshold != 0.0 && exponential_bound(*index, schema) <= threshold)
}

/// Only a histogram that [`Histogram::validate`] refuses has offsets beyond 2³¹.
fn clamp(offset: i64) -> i32 {
    offset.clamp(i64::from(i32::MIN), i64::from(i32::MAX)) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(spans: &[(i32, u32)], counts: &[f64]) -> Buckets {
        let spans = spans.iter().map(|(offset, length)| Span { offset: *offset, length: *length });
        Buckets { spans: spans.collect(), counts: counts.to_vec() }
    }

    #[test]
    fn compaction() {
        let cases = [
            (side(&[], &[]), side(&[], &[])),
            (side(&[(2, 0)], &[]), side(&[], &[])),
            (side(&[(2, 3)], &[0.0, 0.0, 0.0]), side(&[], &[])),
            (side(&[(2, 3)], &[0.0, 1.0, 0.0]), side(&[(3, 1)], &[1.0])),
            (
                side(&[(-2, 2), (0, 1), (3, 2)], &[1.0, 2.0, 3.0, 0.0, 4.0]),
                side(&[(-2, 3), (4, 1)], &[1.0, 2.0, 3.0, 4.0]),
            ),
            (side(&[(-2, 1), (2, 0), (3, 1)], &[1.0, 4.0]), side(&[(-2, 1), (5, 1)], &[1.0, 4.0])),
            (side(&[(0, 4)], &[1.0, 0.0, 0.0, -1.0]), side(&[(0, 1), (2, 1)], &[1.0, -1.0])),
        ];
        for (mut given, expected) in cases {
            given.compact();
            assert_eq!(given, expected);
        }
    }

    #[test]
    fn resolution() {
        let fine =
            Histogram::from_script("{{schema:1 count:6 buckets:[1 2 0 3] n_buckets:[1 1 1 1] n_offset:-2}}")
                .unwrap();
        let cases = [
            (0, "{{count:6 offset:0 buckets:[1 2 3] n_offset:-1 n_buckets:[1 2 1]}}"),
            (-1, "{{schema:-1 count:6 buckets:[1 5] n_buckets:[3 1] n_offset:0}}"),
            (-4, "{{schema:-4 count:6 buckets:[1 5] n_buckets:[3 1] n_offset:0}}"),
            (1, "{{schema:1 count:6 buckets:[1 2 0 3] n_buckets:[1 1 1 1] n_offset:-2}}"),
            (3, "{{schema:1 count:6 buckets:[1 2 0 3] n_buckets:[1 1 1 1] n_offset:-2}}"),
        ];
        for (schema, expected) in cases {
            let mut coarse = fine.clone();
            coarse.reduce_resolution(schema);
            let mut expected = Histogram::from_script(expected).unwrap();
            coarse.compact();
            expected.compact();
            assert!(coarse.equals(&expected), "{coarse} is not {expected}");
        }
    }
}
