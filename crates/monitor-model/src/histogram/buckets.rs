//! Walking over buckets.

use super::{Buckets, Histogram};

/// One bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Where it begins.
    pub lower: f64,
    /// Where it ends.
    pub upper: f64,
    /// Whether `lower` itself belongs to it.
    pub lower_inclusive: bool,
    /// Whether `upper` itself belongs to it.
    pub upper_inclusive: bool,
    /// Observations in it.
    pub count: f64,
}

impl Buckets {
    /// The buckets with their indexes, ascending by index; away from zero.
    pub(super) fn iter(&self) -> impl Iterator<Item = (i64, f64)> + Clone + '_ {
        let mut next = 0i64;
        let indexes = self.spans.iter().flat_map(move |span| {
            let first = next + i64::from(span.offset);
            next = first + i64::from(span.length);
            first..next
        });
        indexes.zip(self.counts.iter().copied())
    }

    /// The buckets with their indexes, descending by index; towards zero.
    pub(super) fn iter_back(&self) -> impl Iterator<Item = (i64, f64)> + '_ {
        let mut end: i64 =
            self.spans.iter().map(|span| i64::from(span.offset) + i64::from(span.length)).sum();
        let indexes = self.spans.iter().rev().flat_map(move |span| {
            let first = end - i64::from(span.length);
            let range = first..end;
            end = first - i64::from(span.offset);
            range.rev()
        });
        indexes.zip(self.counts.iter().rev().copied())
    }
}

impl Histogram {
    /// All buckets ascending: the lowest negative one first, then the zero
    /// bucket where it is populated, then the positive ones. A bucket that the
    /// zero bucket overlaps ends, or begins, at the zero threshold.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        let negative = self.negative.iter_back().map(|(index, count)| self.clip(self.below(index, count)));
        let positive = self.positive.iter().map(|(index, count)| self.clip(self.above(index, count)));
        negative.chain(self.populated_zero_bucket()).chain(positive)
    }

    /// All buckets descending; else as [`Histogram::buckets`].
    pub fn buckets_descending(&self) -> impl Iterator<Item = Bucket> + '_ {
        let positive = self.positive.iter_back().map(|(index, count)| self.clip(self.above(index, count)));
        let negative = self.negative.iter().map(|(index, count)| self.clip(self.below(index, count)));
        positive.chain(self.populated_zero_bucket()).chain(negative)
    }

    /// The zero bucket, populated or not.
    pub fn zero_bucket(&self) -> Bucket {
        Bucket {
            lower: -self.zero_threshold,
            upper: self.zero_threshold,
            lower_inclusive: true,
            upper_inclusive: true,
            count: self.zero_count,
        }
    }

    /// The buckets above zero, ascending, as they are without the zero bucket;
    /// with custom buckets all of them.
    pub fn positive_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.positive.iter().map(|(index, count)| self.above(index, count))
    }

    /// The buckets below zero, descending (the nearest to zero first).
    pub fn negative_buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.negative.iter().map(|(index, count)| self.below(index, count))
    }

    fn populated_zero_bucket(&self) -> Option<Bucket> {
        (self.zero_count > 0.0).then(|| self.zero_bucket())
    }

    fn above(&self, index: i64, count: f64) -> Bucket {
        let (lower, upper) = (self.upper_bound(index.saturating_sub(1)), self.upper_bound(index));
        let (lower_inclusive, upper_inclusive) =
            if self.has_custom_buckets() { (index == 0, true) } else { (lower < 0.0, upper > 0.0) };
        Bucket { lower, upper, lower_inclusive, upper_inclusive, count }
    }

    fn below(&self, index: i64, count: f64) -> Bucket {
        let (lower, upper) = (-self.upper_bound(index), -self.upper_bound(index.saturating_sub(1)));
        Bucket { lower, upper, lower_inclusive: lower < 0.0, upper_inclusive: upper > 0.0, count }
    }

    fn clip(&self, mut bucket: Bucket) -> Bucket {
        if bucket.upper < 0.0 && bucket.upper > -self.zero_threshold {
            bucket.upper = -self.zero_threshold;
        } else if bucket.lower > 0.0 && bucket.lower < self.zero_threshold {
            bucket.lower = self.zero_threshold;
        }
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Triple = (f64, f64, f64);

    fn bounds(text: &str) -> (Vec<Triple>, Vec<Triple>) {
        let histogram = Histogram::from_script(text).unwrap();
        let triple = |bucket: Bucket| (bucket.lower, bucket.upper, bucket.count);
        (histogram.buckets().map(triple).collect(), histogram.buckets_descending().map(triple).collect())
    }

    #[test]
    fn both_ways() {
        let cases: &[(&str, &[Triple])] = &[
            ("{{}}", &[]),
            ("{{buckets:[1 2]}}", &[(0.5, 1.0, 1.0), (1.0, 2.0, 2.0)]),
            (
                "{{z_bucket:5 z_bucket_w:0.75 buckets:[1 2] n_buckets:[3 4] n_offset:1}}",
                &[
                    (-4.0, -2.0, 4.0),
                    (-2.0, -1.0, 3.0),
                    (-0.75, 0.75, 5.0),
                    (0.75, 1.0, 1.0),
                    (1.0, 2.0, 2.0),
                ],
            ),
            (
                "{{schema:-53 custom_values:[-1 3] buckets:[1 2 3]}}",
                &[(f64::NEG_INFINITY, -1.0, 1.0), (-1.0, 3.0, 2.0), (3.0, f64::INFINITY, 3.0)],
            ),
        ];
        for (text, expected) in cases {
            let (up, mut down) = bounds(text);
            assert_eq!(up, *expected, "{text}");
            down.reverse();
            assert_eq!(down, *expected, "{text} descending");
        }
    }
}
