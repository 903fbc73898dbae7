//! The trim operators: observations below (`</`) or above (`>/`) a value.

use super::{Bucket, Histogram};

/// Which part of a bucket is kept.
#[derive(Clone, Copy)]
enum Keep {
    Below(f64),
    Above(f64),
}

/// A part of a bucket: observations, and the value that stands for them.
struct Kept {
    count: f64,
    middle: f64,
}

impl Histogram {
    /// Keeps the observations below a value: PromQL's `</`. The bucket that has
    /// the value inside is split as [`Histogram::quantile`] would; count and sum
    /// are estimated anew if anything was cut off, from the middles of what is
    /// left.
    pub fn trim_upper(&mut self, value: f64) {
        self.trim(Keep::Below(value));
    }

    /// Keeps the observations above a value: PromQL's `>/`; else as
    /// [`Histogram::trim_upper`].
    pub fn trim_lower(&mut self, value: f64) {
        self.trim(Keep::Above(value));
    }

    fn trim(&mut self, keep: Keep) {
        let (mut count, mut sum, mut cut) = (0.0, 0.0, false);
        let mut populated = [false; 2];
        let sides: [Vec<Bucket>; 2] = [self.positive_buckets().collect(), self.negative_buckets().collect()];
        for (i, buckets) in sides.into_iter().enumerate() {
            for (at, bucket) in buckets.into_iter().enumerate().filter(|(_, bucket)| bucket.count != 0.0) {
                populated[i] = true;
                let kept = self.kept(&bucket, keep);
                count += kept.count;
                sum += kept.middle * kept.count;
                if kept.count != bucket.count {
                    cut = true;
                    let side = if i == 0 { &mut self.positive } else { &mut self.negative };
                    side.counts[at] = kept.count;
                }
            }
        }
        if self.zero_count > 0.0 {
            let kept = self.kept_of_zero_bucket(keep, populated[0], populated[1]);
            count += kept.count;
            sum += kept.middle * kept.count;
            cut |= kept.count != self.zero_count;
            self.zero_count = kept.count;
        }
        if cut {
            self.count = count;
            self.sum = sum;
            self.compact();
        }
    }

    fn kept(&self, bucket: &Bucket, keep: Keep) -> Kept {
        let Bucket { lower, upper, count, .. } = *bucket;
        let (whole, nothing, from, to) = match keep {
            Keep::Below(value) => (upper <= value, lower >= value || value.is_nan(), lower, value),
            Keep::Above(value) => (lower >= value, upper <= value || value.is_nan(), value, upper),
        };
        if whole {
            return Kept { count, middle: self.middle(lower, upper) };
        }
        if nothing {
            return Kept { count: 0.0, middle: 0.0 };
        }
        if lower == f64::NEG_INFINITY || upper == f64::INFINITY {
            return kept_of_infinite(bucket, keep);
        }
        let below =
            count * self.fraction_below(bucket, if matches!(keep, Keep::Below(_)) { to } else { from });
        let count = if matches!(keep, Keep::Below(_)) { below } else { count - below };
        Kept { count, middle: self.middle(from, to) }
    }

    /// Which fraction of a finite bucket lies below a value inside it.
    fn fraction_below(&self, bucket: &Bucket, value: f64) -> f64 {
        if self.has_custom_buckets() {
            return (value - bucket.lower) / (bucket.upper - bucket.lower);
        }
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        let place = value.abs().log2();
        if bucket.lower >= 0.0 {
            (place - lower) / (upper - lower)
        } else {
            1.0 - (place - upper) / (lower - upper)
        }
    }

    /// The value that stands for all between two others.
    fn middle(&self, lower: f64, upper: f64) -> f64 {
        match (lower.is_infinite(), upper.is_infinite()) {
            (true, true) => 0.0,
            (true, false) if upper > 0.0 => upper / 2.0,
            (true, false) => upper,
            (false, true) => lower,
            (false, false) if self.has_custom_buckets() => (lower + upper) / 2.0,
            (false, false) => (lower * upper).abs().sqrt().copysign(lower + upper),
        }
    }

    /// Evenly spread, and only on the side of zero that has other observations.
    fn kept_of_zero_bucket(&self, keep: Keep, positive: bool, negative: bool) -> Kept {
        let lower = if positive && !negative { 0.0 } else { -self.zero_threshold };
        let upper = if negative && !positive { 0.0 } else { self.zero_threshold };
        let (from, to) = match keep {
            Keep::Below(value) => (lower, upper.min(value)),
            Keep::Above(value) => (lower.max(value), upper),
        };
        let outside = match keep {
            Keep::Below(value) => value <= lower,
            Keep::Above(value) => value >= upper && value > lower,
        };
        if let Keep::Below(value) | Keep::Above(value) = keep
            && value.is_nan()
        {
            return Kept { count: f64::NAN, middle: f64::NAN };
        }
        if outside {
            return Kept { count: 0.0, middle: 0.0 };
        }
        let whole = from == lower && to == upper;
        let share = if whole { 1.0 } else { (to - from) / (upper - lower) };
        Kept { count: self.zero_count * share, middle: (from + to) / 2.0 }
    }
}

/// How a bucket without an end is split: not at all where nothing is known of
/// where its observations are. The first custom bucket begins at zero where its
/// end is above that. What is kept of a doubtful bucket is as Prometheus has it.
fn kept_of_infinite(bucket: &Bucket, keep: Keep) -> Kept {
    let Bucket { lower, upper, count, .. } = *bucket;
    let nothing = Kept { count: 0.0, middle: 0.0 };
    let from_zero = lower == f64::NEG_INFINITY && upper > 0.0 && upper != f64::INFINITY;
    match keep {
        Keep::Below(value) if from_zero && value > 0.0 => {
            Kept { count: count * value / upper, middle: value / 2.0 }
        }
        Keep::Below(value) if lower == f64::NEG_INFINITY && upper <= 0.0 => Kept { count, middle: value },
        Keep::Above(value) if from_zero && value >= 0.0 => {
            Kept { count: count * (1.0 - value / upper), middle: (value + upper) / 2.0 }
        }
        Keep::Above(value) if lower != f64::NEG_INFINITY && value >= lower => Kept { count, middle: value },
        _ => nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trimming() {
        let custom = "{{schema:-53 sum:172.5 count:15 custom_values:[5 10 15 20] buckets:[1 6 4 3 1]}}";
        let both = "{{schema:0 sum:33 count:19 z_bucket:1 z_bucket_w:0.5 buckets:[1 2 4] n_buckets:[1 2 8]}}";
        let cases = [
            // Values of Prometheus' own scripts (pull request 16330, review).
            (
                custom,
                "</",
                13.0,
                "{{schema:-53 count:9.4 sum:75.1 custom_values:[5 10 15 20] buckets:[1 6 2.4]}}",
            ),
            (
                custom,
                ">/",
                13.0,
                "{{schema:-53 count:5.6 sum:94.9 custom_values:[5 10 15 20] offset:2 buckets:[1.6 3 1]}}",
            ),
            (
                custom,
                "</",
                15.0,
                "{{schema:-53 count:11 sum:97.5 custom_values:[5 10 15 20] buckets:[1 6 4]}}",
            ),
            (
                custom,
                ">/",
                15.0,
                "{{schema:-53 count:4 sum:72.5 custom_values:[5 10 15 20] offset:3 buckets:[3 1]}}",
            ),
            (
                custom,
                "</",
                2.5,
                "{{schema:-53 count:0.5 sum:0.625 custom_values:[5 10 15 20] buckets:[0.5]}}",
            ),
            (custom, "</", f64::INFINITY, custom),
            (custom, ">/", f64::NEG_INFINITY, custom),
            (custom, "</", 0.0, "{{schema:-53 custom_values:[5 10 15 20]}}"),
            (both, "</", 100.0, both),
            (both, ">/", -100.0, both),
            (both, ">/", 1.0, "{{count:6 sum:14.142135623730951 z_bucket_w:0.5 offset:1 buckets:[2 4]}}"),
            (
                both,
                "</",
                -1.0,
                "{{count:10 sum:-25.455844122715714 z_bucket_w:0.5 n_offset:1 n_buckets:[2 8]}}",
            ),
            (
                both,
                "</",
                std::f64::consts::SQRT_2,
                "{{count:14 sum:-24.266637 z_bucket:1 z_bucket_w:0.5 buckets:[1 1] n_buckets:[1 2 8]}}",
            ),
            (
                "{{count:4 sum:1 z_bucket:4 z_bucket_w:1}}",
                ">/",
                0.0,
                "{{count:2 sum:1 z_bucket:2 z_bucket_w:1}}",
            ),
        ];
        for (text, operator, value, expected) in cases {
            let mut given = Histogram::from_script(text).unwrap();
            if operator == "</" {
                given.trim_upper(value)
            } else {
                given.trim_lower(value)
            }
            let expected = Histogram::from_script(expected).unwrap();
            let near = |a: f64, b: f64| (a - b).abs() <= 1e-6 * (a.abs() + b.abs());
            assert!(given.matches(&expected, near), "{text} {operator} {value}: {given} is not {expected}");
        }
        // What lies below no number is no number.
        let mut given = Histogram::from_script("{{count:4 sum:1 z_bucket:4 z_bucket_w:1}}").unwrap();
        given.trim_upper(f64::NAN);
        assert!(given.count.is_nan() && given.sum.is_nan() && given.zero_count.is_nan());
    }
}
