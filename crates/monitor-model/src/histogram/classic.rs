//! Classic histograms, of cumulative `_bucket` series, as native ones of custom
//! buckets (NHCB), and back.

use super::{Buckets, CUSTOM_BUCKETS, Histogram, MAX_BUCKETS, Span};

/// Why the series of a classic histogram do not make one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ClassicError {
    /// A count below zero.
    #[error("bucket with `le` of `{0}` has a count of `{1}`")]
    NegativeBucket(f64, f64),
    /// A count below zero.
    #[error("`_count` is `{0}`")]
    NegativeCount(f64),
    /// A bound that orders with nothing.
    #[error("`le` is not a number")]
    NanBound,
    /// A bucket holds less than one that it contains.
    #[error("bucket counts are cumulative: the one with `le` of `{0}` must not be below the one before")]
    NotCumulative(f64),
    /// The last bucket and the count disagree.
    #[error("bucket with `le` of `+Inf` has `{0}`, `_count` says `{1}`")]
    CountMismatch(f64, f64),
    /// Too many.
    #[error("classic histogram has more than {MAX_BUCKETS} buckets")]
    TooManyBuckets,
}

/// The series of one classic histogram at one time, gathered in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClassicHistogram {
    /// Bounds ascending, with cumulative counts.
    buckets: Vec<(f64, f64)>,
    count: Option<f64>,
    sum: f64,
}

impl ClassicHistogram {
    /// Takes a `_bucket` sample: the number of its `le` and its value. A bound
    /// that is there already keeps its first count.
    pub fn bucket(&mut self, bound: f64, count: f64) -> Result<(), ClassicError> {
        if bound.is_nan() {
            return Err(ClassicError::NanBound);
        }
        if count < 0.0 {
            return Err(ClassicError::NegativeBucket(bound, count));
        }
        let at = self.buckets.partition_point(|bucket| bucket.0 < bound);
        if self.buckets.get(at).is_some_and(|bucket| bucket.0 == bound) {
            return Ok(());
        }
        if self.buckets.len() == MAX_BUCKETS {
            return Err(ClassicError::TooManyBuckets);
        }
        let below = at.checked_sub(1).map_or(0.0, |before| self.buckets[before].1);
        let above = self.buckets.get(at).map_or(f64::INFINITY, |after| after.1);
        if count < below || count > above {
            return Err(ClassicError::NotCumulative(bound));
        }
        self.buckets.insert(at, (bound, count));
        Ok(())
    }

    /// Takes the `_count` sample.
    pub fn count(&mut self, count: f64) -> Result<(), ClassicError> {
        if count < 0.0 {
            return Err(ClassicError::NegativeCount(count));
        }
        self.count = Some(count);
        Ok(())
    }

    /// Takes the `_sum` sample.
    pub fn sum(&mut self, sum: f64) {
        self.sum = sum;
    }

    /// Whether nothing was taken.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty() && self.count.is_none()
    }

    /// Forgets what was taken; the memory stays for the next one.
    pub fn clear(&mut self) {
        self.buckets.clear();
        self.count = None;
        self.sum = 0.0;
    }

    /// The native histogram. Without a bucket up to +Inf the count stands for it,
    /// without a count the last bucket.
    pub fn to_native(&self) -> Result<Histogram, ClassicError> {
        let last = self.buckets.last().copied();
        let finite = self.buckets.iter().filter(|bucket| bucket.0 != f64::INFINITY);
        let highest = last.map_or(0.0, |bucket| bucket.1);
        let count = self.count.unwrap_or(highest);
        if let Some((f64::INFINITY, all)) = last {
            if all != count {
                return Err(ClassicError::CountMismatch(all, count));
            }
        } else if count < highest {
            return Err(ClassicError::NotCumulative(f64::INFINITY));
        }
        let mut before = 0.0;
        let cumulative = finite.clone().map(|bucket| bucket.1).chain([count]);
        let counts: Vec<f64> = cumulative.map(|all| all - std::mem::replace(&mut before, all)).collect();
        let spans = vec![Span { offset: 0, length: counts.len() as u32 }];
        let mut histogram = Histogram {
            schema: CUSTOM_BUCKETS,
            count,
            sum: self.sum,
            positive: Buckets { spans, counts },
            bounds: finite.map(|bucket| bucket.0).collect(),
            ..Histogram::default()
        };
        histogram.compact();
        Ok(histogram)
    }
}

impl Histogram {
    /// The cumulative buckets of a histogram with custom buckets, ascending, the
    /// last one up to +Inf: what its classic `_bucket` series say.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        let mut own = self.positive.iter().peekable();
        let mut sum = 0.0;
        let bounds = self.bounds.iter().copied().enumerate();
        let finite = bounds.map(move |(index, bound)| {
            while let Some((_, count)) = own.next_if(|bucket| bucket.0 <= index as i64) {
                sum += count;
            }
            (bound, sum)
        });
        finite.chain([(f64::INFINITY, self.count)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(buckets: &[(f64, f64)], count: Option<f64>) -> Result<String, ClassicError> {
        let mut classic = ClassicHistogram::default();
        for (bound, value) in buckets {
            classic.bucket(*bound, *value)?;
        }
        if let Some(count) = count {
            classic.count(count)?;
        }
        Ok(classic.to_native()?.to_script())
    }

    #[test]
    fn conversion() {
        let inf = f64::INFINITY;
        let ok = |text: &str| Ok(text.to_owned());
        type Case<'a> = (&'a [(f64, f64)], Option<f64>, Result<String, ClassicError>);
        let cases: &[Case<'_>] = &[
            (&[], None, ok("{{schema:-53 custom_values:[]}}")),
            (
                &[(1.0, 2.0), (2.0, 2.0), (4.0, 7.0), (inf, 9.0)],
                None,
                ok("{{schema:-53 count:9 custom_values:[1 2 4] buckets:[2 0 5 2]}}"),
            ),
            (
                &[(4.0, 7.0), (1.0, 2.0), (1.0, 5.0)],
                None,
                ok("{{schema:-53 count:7 custom_values:[1 4] buckets:[2 5]}}"),
            ),
            (&[(1.0, 2.0)], Some(2.5), ok("{{schema:-53 count:2.5 custom_values:[1] buckets:[2 0.5]}}")),
            (&[(1.0, 2.0), (inf, 3.0)], Some(4.0), Err(ClassicError::CountMismatch(3.0, 4.0))),
            (&[(1.0, 2.0)], Some(1.0), Err(ClassicError::NotCumulative(inf))),
            (&[(1.0, 2.0), (2.0, 1.0)], None, Err(ClassicError::NotCumulative(2.0))),
            (&[(2.0, 1.0), (1.0, 2.0)], None, Err(ClassicError::NotCumulative(1.0))),
            (&[(2.0, -1.0)], None, Err(ClassicError::NegativeBucket(2.0, -1.0))),
            (&[(f64::NAN, 1.0)], None, Err(ClassicError::NanBound)),
            (&[], Some(-1.0), Err(ClassicError::NegativeCount(-1.0))),
        ];
        for (buckets, count, expected) in cases {
            assert_eq!(convert(buckets, *count), *expected, "{buckets:?} {count:?}");
        }
    }

    #[test]
    fn back_again() {
        let native = Histogram::from_script("{{schema:-53 count:9 custom_values:[1 2 4] buckets:[2 0 5 2]}}");
        let cumulative: Vec<_> = native.unwrap().cumulative().collect();
        assert_eq!(cumulative, [(1.0, 2.0), (2.0, 2.0), (4.0, 7.0), (f64::INFINITY, 9.0)]);
    }
}
