//! What is refused where histograms come in.

use super::{Buckets, CUSTOM_BUCKETS, Histogram, MAX_SCHEMA, MIN_SCHEMA};
use std::fmt;

/// The most buckets that a histogram may have, empty ones too, and the most
/// spans and custom bounds. Clients keep to 160 or so; at the finest schema this
/// covers values that differ by a factor of 2³⁹.
pub const MAX_BUCKETS: usize = 10_000;

/// A side of a histogram, for messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Above zero, or custom.
    Positive,
    /// Below zero.
    Negative,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Positive { "positive" } else { "negative" })
    }
}

/// Why a histogram is refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HistogramError {
    /// Neither exponential nor custom.
    #[error("histogram schema `{0}` is not one of -4 … 8 and -53")]
    Schema(i64),
    /// Too large.
    #[error("histogram has {0} buckets, spans or bounds; at most {MAX_BUCKETS} are taken")]
    TooLarge(usize),
    /// Spans and counts disagree.
    #[error("{0} side: spans need {1} buckets, there are {2}")]
    SpanLengths(Side, u64, usize),
    /// Spans overlap.
    #[error("{0} side: span number {1} with offset `{2}` overlaps the one before")]
    SpanOffset(Side, usize, i32),
    /// A bucket beyond all numbers.
    #[error("{0} side: bucket index `{1}` is beyond the range of the schema")]
    Index(Side, i64),
    /// A count below zero.
    #[error("{0} side: bucket number {1} has an observation count of `{2}`")]
    BucketCount(Side, usize, f64),
    /// A count below zero.
    #[error("observation count is `{0}`")]
    Count(f64),
    /// A count below zero.
    #[error("zero bucket has an observation count of `{0}`")]
    ZeroCount(f64),
    /// No width.
    #[error("zero threshold is `{0}`")]
    ZeroThreshold(f64),
    /// Bounds that do not ascend.
    #[error("custom bound number {0} is `{1}`: bounds must ascend and be finite")]
    Bound(usize, f64),
    /// Bounds of a histogram that needs none, or the other way round.
    #[error("histogram of schema `{0}` has {1}, which goes with the other kind of schema only")]
    Misplaced(i8, &'static str),
    /// Buckets and count disagree.
    #[error("{0} observations are in buckets, the count says {1}")]
    CountMismatch(f64, f64),
}

impl Histogram {
    /// Checks what came from outside: schema, size, spans, bounds, no count
    /// below zero. That the buckets sum up to the count is not checked, as
    /// histograms that were calculated round; see [`Histogram::validate_counts`].
    pub fn validate(&self) -> Result<(), HistogramError> {
        let sides = [(Side::Positive, &self.positive), (Side::Negative, &self.negative)];
        let size = sides.iter().map(|(_, side)| side.counts.len().max(side.spans.len())).sum::<usize>();
        let size = size.max(self.bounds.len());
        if size > MAX_BUCKETS {
            return Err(HistogramError::TooLarge(size));
        }
        match self.schema {
            CUSTOM_BUCKETS => self.validate_custom()?,
            MIN_SCHEMA..=MAX_SCHEMA => {
                if !self.bounds.is_empty() {
                    return Err(HistogramError::Misplaced(self.schema, "custom bounds"));
                }
            }
            other => return Err(HistogramError::Schema(other.into())),
        }
        for (name, side) in sides {
            side.validate(name, self.schema, self.bounds.len())?;
        }
        if self.count < 0.0 {
            return Err(HistogramError::Count(self.count));
        }
        if self.zero_count < 0.0 {
            return Err(HistogramError::ZeroCount(self.zero_count));
        }
        if !(self.zero_threshold >= 0.0 && self.zero_threshold.is_finite()) {
            return Err(HistogramError::ZeroThreshold(self.zero_threshold));
        }
        Ok(())
    }

    /// Checks that the buckets hold as many observations as the count says; more
    /// may be missing where the sum is NaN, as observations of NaN are in no
    /// bucket. For histograms of whole numbers.
    pub fn validate_counts(&self) -> Result<(), HistogramError> {
        let all = self.positive.counts.iter().chain(&self.negative.counts);
        let in_buckets = all.sum::<f64>() + self.zero_count;
        let fits = if self.sum.is_nan() { in_buckets <= self.count } else { in_buckets == self.count };
        if fits { Ok(()) } else { Err(HistogramError::CountMismatch(in_buckets, self.count)) }
    }

    fn validate_custom(&self) -> Result<(), HistogramError> {
        let misplaced = |what| Err(HistogramError::Misplaced(self.schema, what));
        if self.zero_count != 0.0 || self.zero_threshold != 0.0 {
            return misplaced("a zero bucket");
        }
        if !self.negative.spans.is_empty() || !self.negative.counts.is_empty() {
            return misplaced("negative buckets");
        }
        let mut before = f64::NEG_INFINITY;
        for (number, bound) in self.bounds.iter().copied().enumerate() {
            if !(bound > before && bound.is_finite()) {
                return Err(HistogramError::Bound(number + 1, bound));
            }
            before = bound;
        }
        Ok(())
    }
}

impl Buckets {
    fn validate(&self, name: Side, schema: i8, bounds: usize) -> Result<(), HistogramError> {
        let lengths = self.spans.iter().map(|span| u64::from(span.length)).sum::<u64>();
        if lengths != self.counts.len() as u64 {
            return Err(HistogramError::SpanLengths(name, lengths, self.counts.len()));
        }
        for (number, span) in self.spans.iter().enumerate().skip(1) {
            if span.offset < 0 {
                return Err(HistogramError::SpanOffset(name, number + 1, span.offset));
            }
        }
        let (lowest, highest) = indexes(schema, bounds);
        let first = self.spans.first().map_or(lowest, |span| i64::from(span.offset));
        let ends = self.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length));
        let last = if self.counts.is_empty() { lowest } else { ends.sum::<i64>() - 1 };
        for index in [first, last] {
            if !self.counts.is_empty() && !(lowest..=highest).contains(&index) {
                return Err(HistogramError::Index(name, index));
            }
        }
        // A NaN is left: what was calculated may have it.
        if let Some(at) = self.counts.iter().position(|count| *count < 0.0) {
            return Err(HistogramError::BucketCount(name, at + 1, self.counts[at]));
        }
        Ok(())
    }
}

/// The first and the last bucket that can have an observation: from the smallest
/// number above zero to the bucket of infinity.
fn indexes(schema: i8, bounds: usize) -> (i64, i64) {
    if schema == CUSTOM_BUCKETS {
        (0, bounds as i64)
    } else if schema < 0 {
        let shift = u32::from(schema.unsigned_abs());
        (-1075 >> shift, (1024 >> shift) + 1)
    } else {
        (-1075 << schema, (1024 << schema) + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Span;

    fn side(spans: &[(i32, u32)], counts: usize) -> Buckets {
        let spans = spans.iter().map(|(offset, length)| Span { offset: *offset, length: *length });
        Buckets { spans: spans.collect(), counts: vec![1.0; counts] }
    }

    #[test]
    fn refusals() {
        let good = Histogram { positive: side(&[(0, 2), (3, 1)], 3), ..Histogram::default() };
        let custom = Histogram { schema: CUSTOM_BUCKETS, bounds: [1.0, 2.0].into(), ..Histogram::default() };
        let huge = side(&[(0, u32::MAX)], 1);
        let with = |change: &dyn Fn(&mut Histogram)| {
            let mut histogram = good.clone();
            change(&mut histogram);
            histogram
        };
        let of_custom = |change: &dyn Fn(&mut Histogram)| {
            let mut histogram = custom.clone();
            change(&mut histogram);
            histogram
        };
        let cases: &[(Histogram, &str)] = &[
            (good.clone(), "ok"),
            (custom.clone(), "ok"),
            (Histogram::stale(), "ok"),
            (with(&|h| h.schema = 9), "schema `9`"),
            (with(&|h| h.schema = -52), "schema `-52`"),
            (with(&|h| h.positive = huge.clone()), "need 4294967295 buckets, there are 1"),
            (with(&|h| h.positive = side(&[(0, 1); 10_001], 10_001)), "at most 10000"),
            (with(&|h| h.positive = side(&[(0, 0); 10_001], 0)), "at most 10000"),
            (with(&|h| h.negative = side(&[(0, 1)], 2)), "negative side"),
            (with(&|h| h.positive = side(&[(0, 1), (-1, 1)], 2)), "span number 2"),
            (with(&|h| h.positive = side(&[(i32::MAX, 1)], 1)), "beyond the range"),
            (with(&|h| h.positive = side(&[(i32::MIN, 1)], 1)), "beyond the range"),
            (with(&|h| h.positive = side(&[(1025, 1)], 1)), "ok"),
            (with(&|h| h.positive = side(&[(1026, 1)], 1)), "beyond the range"),
            (with(&|h| h.positive.counts[1] = -1.0), "bucket number 2"),
            (with(&|h| h.count = -1.0), "observation count is `-1`"),
            (with(&|h| h.zero_count = -1.0), "zero bucket"),
            (with(&|h| h.zero_threshold = f64::NAN), "zero threshold"),
            (with(&|h| h.zero_threshold = -1.0), "zero threshold"),
            (with(&|h| h.bounds = [1.0].into()), "custom bounds"),
            (of_custom(&|h| h.bounds = [2.0, 1.0].into()), "bound number 2"),
            (of_custom(&|h| h.bounds = [f64::NAN].into()), "bound number 1"),
            (of_custom(&|h| h.bounds = [f64::INFINITY].into()), "bound number 1"),
            (of_custom(&|h| h.positive = side(&[(0, 3)], 3)), "ok"),
            (of_custom(&|h| h.positive = side(&[(0, 4)], 4)), "beyond the range"),
            (of_custom(&|h| h.positive = side(&[(-1, 1)], 1)), "beyond the range"),
            (of_custom(&|h| h.negative = side(&[(0, 1)], 1)), "negative buckets"),
            (of_custom(&|h| h.zero_count = 1.0), "a zero bucket"),
        ];
        for (histogram, expected) in cases {
            let given = histogram.validate().map_or_else(|error| error.to_string(), |()| "ok".into());
            assert!(given.contains(expected), "{given:?} has no {expected:?}");
        }
    }

    #[test]
    fn counts() {
        let cases = [
            ("{{count:4 sum:1 z_bucket:1 buckets:[1 1] n_buckets:[1]}}", true),
            ("{{count:5 sum:1 buckets:[1 1]}}", false),
            ("{{count:1 sum:NaN buckets:[1 1]}}", false),
            ("{{count:5 sum:NaN buckets:[1 1]}}", true),
        ];
        for (text, expected) in cases {
            assert_eq!(Histogram::from_script(text).unwrap().validate_counts().is_ok(), expected, "{text}");
        }
    }
}
