//! Whether a counter began anew between two samples.

use super::custom::{mapped, shared_bounds};
use super::layout::{coarser, joined, outside_zero};
use super::{Buckets, CounterReset, Histogram};

impl Histogram {
    /// Whether a counter was reset between an earlier sample and this one: some
    /// count is smaller, a populated bucket is gone, the resolution is finer or
    /// the zero bucket narrower. What the sample itself says about it counts
    /// first; a gauge is compared as if it were a counter. The sum does not
    /// count: observations may be negative.
    pub fn detect_reset(&self, previous: &Self) -> bool {
        match self.reset {
            CounterReset::Reset => return true,
            CounterReset::NotReset => return false,
            CounterReset::Unknown | CounterReset::Gauge => {}
        }
        if self.count < previous.count || self.has_custom_buckets() != previous.has_custom_buckets() {
            return true;
        }
        if self.has_custom_buckets() {
            return self.detect_custom_reset(previous);
        }
        if self.schema > previous.schema || self.zero_threshold < previous.zero_threshold {
            return true;
        }
        // Wider zero bucket: the previous one as it would have been. A threshold
        // inside a bucket that was populated means that a new histogram began.
        let (zero_count, threshold) = previous.zero_count_for(self.zero_threshold);
        if threshold != self.zero_threshold || self.zero_count < zero_count {
            return true;
        }
        self.side_shrank(&self.positive, &previous.positive, previous.schema)
            || self.side_shrank(&self.negative, &previous.negative, previous.schema)
    }

    fn side_shrank(&self, side: &Buckets, previous: &Buckets, previous_schema: i8) -> bool {
        if previous_schema == self.schema && side.spans == previous.spans {
            return side.counts.iter().zip(&previous.counts).any(|(count, before)| count < before);
        }
        let before = outside_zero(previous.iter(), previous_schema, self.zero_threshold);
        shrank(side.iter(), joined(coarser(before, previous_schema, self.schema)))
    }

    /// Compared bucket by bucket over the bounds that both have.
    fn detect_custom_reset(&self, previous: &Self) -> bool {
        if self.bounds == previous.bounds {
            return shrank(self.positive.iter(), previous.positive.iter());
        }
        let shared = shared_bounds(&self.bounds, &previous.bounds);
        let over_shared = |histogram: &Self| {
            let mut counts = vec![0.0; shared.len() + 1];
            mapped(histogram, &shared).for_each(|(target, count)| counts[target] += count);
            counts
        };
        over_shared(self).iter().zip(over_shared(previous)).any(|(count, before)| *count < before)
    }
}

/// Whether a populated bucket is gone or has less.
fn shrank(now: impl Iterator<Item = (i64, f64)>, before: impl Iterator<Item = (i64, f64)>) -> bool {
    let mut now = now.peekable();
    for (index, count) in before {
        while now.next_if(|bucket| bucket.0 < index).is_some() {}
        let left = now.peek().filter(|bucket| bucket.0 == index).map(|bucket| bucket.1);
        if left.map_or(count != 0.0, |left| left < count) {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resets() {
        let cases = [
            ("{{count:4 buckets:[1 2 1]}}", "{{count:4 buckets:[1 2 1]}}", false),
            ("{{count:4 buckets:[1 2 1]}}", "{{count:5 buckets:[1 3 1]}}", false),
            ("{{count:4 buckets:[1 2 1]}}", "{{count:3 buckets:[1 2 1]}}", true),
            ("{{count:4 buckets:[1 2 1]}}", "{{count:5 buckets:[1 1 3]}}", true),
            ("{{count:4 buckets:[1 2 1]}}", "{{count:5 buckets:[1 4]}}", true),
            ("{{count:4 buckets:[1 2 0]}}", "{{count:5 buckets:[1 4]}}", false),
            ("{{count:4 n_buckets:[1 2 1]}}", "{{count:5 n_buckets:[1 1 3]}}", true),
            ("{{count:4 sum:9 buckets:[1]}}", "{{count:4 sum:3 buckets:[1]}}", false),
            ("{{count:4 z_bucket:2}}", "{{count:4 z_bucket:1}}", true),
            ("{{schema:1 count:4 buckets:[1 2 1]}}", "{{count:4 buckets:[1 3]}}", false),
            ("{{schema:1 count:4 buckets:[1 2 1]}}", "{{count:4 buckets:[1 2]}}", true),
            ("{{count:4 buckets:[1]}}", "{{schema:1 count:4 buckets:[1]}}", true),
            ("{{count:4 z_bucket_w:0.1}}", "{{count:4 z_bucket_w:0.01}}", true),
            ("{{count:4 buckets:[1 2]}}", "{{count:4 z_bucket:1 z_bucket_w:1 offset:1 buckets:[2]}}", false),
            ("{{count:4 buckets:[1 2]}}", "{{count:4 z_bucket:1 z_bucket_w:0.75 buckets:[1 2]}}", true),
            ("{{count:4 buckets:[1]}}", "{{count:4 buckets:[1] counter_reset_hint:reset}}", true),
            ("{{count:4 buckets:[2]}}", "{{count:4 buckets:[1] counter_reset_hint:not_reset}}", false),
            ("{{count:4 buckets:[2]}}", "{{count:4 buckets:[1] counter_reset_hint:gauge}}", true),
            ("{{count:4}}", "{{schema:-53 count:4 custom_values:[1]}}", true),
            ("{{schema:-53 count:4 custom_values:[1]}}", "{{count:4}}", true),
            (
                "{{schema:-53 count:4 custom_values:[1 2] buckets:[1 2 1]}}",
                "{{schema:-53 count:4 custom_values:[2 3] buckets:[3 0 1]}}",
                false,
            ),
            (
                "{{schema:-53 count:4 custom_values:[1 2] buckets:[1 2 1]}}",
                "{{schema:-53 count:4 custom_values:[2 3] buckets:[2 1 1]}}",
                true,
            ),
        ];
        for (before, now, expected) in cases {
            let of = |text| Histogram::from_script(text).unwrap();
            assert_eq!(of(now).detect_reset(&of(before)), expected, "{before} then {now}");
        }
    }
}
