//! What a distribution says: quantiles, fractions, average, variance.

use super::{Bucket, Histogram, kahan_add};

/// An estimate, and what observations that were NaN did to it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The value.
    pub value: f64,
    /// What the user of the value must know.
    pub nan: Option<NanEffect>,
}

/// What observations of NaN do: they count, and are in no bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NanEffect {
    /// The quantile is among them: the result is NaN.
    Result,
    /// They rank above everything: the quantile is higher than without them.
    Skewed,
    /// No fraction has them.
    Excluded,
}

impl Histogram {
    /// The average of all observations; NaN without any.
    pub fn average(&self) -> f64 {
        self.sum / self.count
    }

    /// Estimates a quantile. In exponential buckets observations are taken to be
    /// spread evenly on a logarithmic scale; in the zero bucket and in custom
    /// buckets evenly as they are. The zero bucket reaches only from or to zero
    /// where one side has no buckets. −∞ for `q` below 0, +∞ above 1, NaN
    /// without observations.
    pub fn quantile(&self, q: f64) -> Estimate {
        let plain = |value| Estimate { value, nan: None };
        if q < 0.0 {
            return plain(f64::NEG_INFINITY);
        }
        if q > 1.0 {
            return plain(f64::INFINITY);
        }
        if self.count == 0.0 || q.is_nan() {
            return plain(f64::NAN);
        }
        // Observations of NaN rank above the last bucket: with them the count
        // can only go upwards. Else the shorter way, which loses less digits.
        if self.sum.is_nan() || q < 0.5 {
            self.ranked(self.buckets(), q * self.count, true)
        } else {
            self.ranked(self.buckets_descending(), (1.0 - q) * self.count, false)
        }
    }

    fn ranked(&self, mut buckets: impl Iterator<Item = Bucket>, rank: f64, upwards: bool) -> Estimate {
        let plain = |value| Estimate { value, nan: None };
        let mut found =
            Bucket { lower: 0.0, upper: 0.0, lower_inclusive: false, upper_inclusive: false, count: 0.0 };
        let mut seen = 0.0;
        for bucket in buckets.by_ref() {
            found = bucket;
            seen += bucket.count;
            if bucket.count != 0.0 && seen >= rank {
                break;
            }
        }
        let mut bucket = found;
        if self.has_custom_buckets() {
            if bucket.lower == f64::NEG_INFINITY && bucket.upper <= 0.0 {
                return plain(bucket.upper);
            }
            if bucket.lower == f64::NEG_INFINITY {
                bucket.lower = 0.0;
            } else if bucket.upper == f64::INFINITY {
                return plain(bucket.lower);
            }
        } else if bucket.lower < 0.0 && bucket.upper > 0.0 {
            self.halve_zero_bucket(&mut bucket);
        }
        // Rounding may have counted more than there are.
        let counted = seen.min(self.count);
        if counted < rank {
            return if self.sum.is_nan() {
                Estimate { value: f64::NAN, nan: Some(NanEffect::Result) }
            } else {
                plain(bucket.upper)
            };
        }
        let within = if upwards { rank - (counted - bucket.count) } else { counted - rank };
        let missing = self.sum.is_nan() && counted + buckets.map(|b| b.count).sum::<f64>() < self.count;
        let value = self.interpolated(&bucket, within / bucket.count);
        Estimate { value, nan: missing.then_some(NanEffect::Skewed) }
    }

    /// The value that has a fraction of a bucket's observations below it.
    fn interpolated(&self, bucket: &Bucket, fraction: f64) -> f64 {
        let (lower, upper) = (bucket.lower, bucket.upper);
        if self.has_custom_buckets() || (lower <= 0.0 && upper >= 0.0) {
            return lower + (upper - lower) * fraction;
        }
        let (log_lower, log_upper) = (lower.abs().log2(), upper.abs().log2());
        if lower > 0.0 {
            (log_lower + (log_upper - log_lower) * fraction).exp2()
        } else {
            -(log_upper + (log_lower - log_upper) * (1.0 - fraction)).exp2()
        }
    }

    /// With buckets on one side of zero only, the zero bucket is taken to have
    /// nothing on the other.
    fn halve_zero_bucket(&self, bucket: &mut Bucket) {
        match (self.negative.counts.is_empty(), self.positive.counts.is_empty()) {
            (true, false) => bucket.lower = 0.0,
            (false, true) => bucket.upper = 0.0,
            _ => {}
        }
    }

    /// Estimates which fraction of the observations lies between two values,
    /// interpolating as [`Histogram::quantile`] does. NaN without observations
    /// or with a bound of NaN; zero where `lower` is not below `upper`.
    pub fn fraction(&self, lower: f64, upper: f64) -> Estimate {
        if self.count == 0.0 || lower.is_nan() || upper.is_nan() {
            return Estimate { value: f64::NAN, nan: None };
        }
        if lower >= upper {
            return Estimate { value: 0.0, nan: None };
        }
        let (mut from, mut to) = (None, None);
        let (mut rank, mut in_buckets) = (0.0, 0.0);
        for mut bucket in self.buckets() {
            in_buckets += bucket.count;
            let linear = self.has_custom_buckets() || (bucket.lower <= 0.0 && bucket.upper >= 0.0);
            if self.has_custom_buckets() {
                // The first bucket begins at zero where that is below its end,
                // as with classic histograms.
                if bucket.lower == f64::NEG_INFINITY && bucket.upper > 0.0 {
                    bucket.lower = 0.0;
                }
            } else if linear {
                self.halve_zero_bucket(&mut bucket);
            }
            let at = |value: f64| {
                if bucket.lower >= value {
                    Some(rank)
                } else if bucket.upper > value {
                    Some(rank_within(&bucket, linear, rank, value))
                } else {
                    None
                }
            };
            from = from.or_else(|| at(lower));
            to = to.or_else(|| at(upper));
            rank += bucket.count;
        }
        // Observations of NaN are in no bucket, and in no fraction.
        let missing = self.sum.is_nan() && in_buckets < self.count;
        let all = if self.sum.is_nan() { in_buckets } else { self.count };
        let rank = |found: Option<f64>| found.filter(|rank| *rank <= all).unwrap_or(all);
        Estimate { value: (rank(to) - rank(from)) / self.count, nan: missing.then_some(NanEffect::Excluded) }
    }

    /// Estimates the variance of the observations: each is taken to be in the
    /// middle of its bucket (the geometric one of exponential buckets, zero in
    /// the zero bucket).
    pub fn variance(&self) -> f64 {
        let mean = self.average();
        let (mut sum, mut carry) = (0.0, 0.0);
        for bucket in self.buckets().filter(|bucket| bucket.count != 0.0) {
            let middle = if self.has_custom_buckets() {
                (bucket.upper + bucket.lower) / 2.0
            } else if bucket.lower <= 0.0 && bucket.upper >= 0.0 {
                0.0
            } else {
                (bucket.upper * bucket.lower).sqrt().copysign(bucket.upper)
            };
            let delta = middle - mean;
            kahan_add(&mut sum, &mut carry, bucket.count * delta * delta);
        }
        (sum + carry) / self.count
    }

    /// Estimates the standard deviation; see [`Histogram::variance`].
    pub fn standard_deviation(&self) -> f64 {
        self.variance().sqrt()
    }
}

/// How many observations lie below a value inside a bucket.
fn rank_within(bucket: &Bucket, linear: bool, rank: f64, value: f64) -> f64 {
    if bucket.lower == f64::NEG_INFINITY {
        // Nothing is known of where they are: all are below.
        return rank + bucket.count;
    }
    let fraction = if linear {
        (value - bucket.lower) / (bucket.upper - bucket.lower)
    } else {
        let (lower, upper) = (bucket.lower.abs().log2(), bucket.upper.abs().log2());
        let place = value.abs().log2();
        if value > 0.0 { (place - lower) / (upper - lower) } else { 1.0 - (place - upper) / (lower - upper) }
    };
    rank + bucket.count * fraction
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str =
        "{{count:24 sum:100 z_bucket:4 z_bucket_w:0.001 buckets:[2 3 0 1 4] n_buckets:[2 3 0 1 4]}}";
    const NAN: &str = "{{count:10 sum:NaN buckets:[1 2 3]}}";
    const CUSTOM: &str = "{{schema:-53 count:10 custom_values:[-1 0 2 4] buckets:[1 2 3 3 1]}}";

    #[track_caller]
    fn near(given: Estimate, value: f64, nan: Option<NanEffect>, what: &str) {
        let same = given.value == value
            || (given.value.is_nan() && value.is_nan())
            || ((given.value - value) / value).abs() < 1e-12;
        assert!(same && given.nan == nan, "{what}: {given:?} is not {value} with {nan:?}");
    }

    #[test]
    fn quantiles() {
        let cases = [
            ("{{}}", 0.5, f64::NAN, None),
            ("{{count:4 buckets:[1 2 1]}}", 0.5, std::f64::consts::SQRT_2, None),
            (BOTH, 1.0, 16.0, None),
            (BOTH, 0.99, 15.34822590920423, None),
            (BOTH, 0.55, 0.0006, None),
            (BOTH, 0.5, 0.0, None),
            (BOTH, 0.3, -1.2030250360821169, None),
            (BOTH, 0.0, -16.0, None),
            (BOTH, 1.1, f64::INFINITY, None),
            (BOTH, -0.1, f64::NEG_INFINITY, None),
            (BOTH, f64::NAN, f64::NAN, None),
            (NAN, 0.05, 2f64.powf(-0.5), Some(NanEffect::Skewed)),
            (NAN, 0.9, f64::NAN, Some(NanEffect::Result)),
            (CUSTOM, 0.05, -1.0, None),
            (CUSTOM, 0.2, -0.5, None),
            (CUSTOM, 0.95, 4.0, None),
            ("{{schema:-53 count:4 custom_values:[2] buckets:[4]}}", 0.25, 0.5, None),
        ];
        for (text, q, value, nan) in cases {
            near(Histogram::from_script(text).unwrap().quantile(q), value, nan, &format!("{text} at {q}"));
        }
    }

    #[test]
    fn fractions() {
        let (low, high) = (f64::NEG_INFINITY, f64::INFINITY);
        let cases = [
            ("{{}}", 0.0, 1.0, f64::NAN, None),
            (BOTH, low, high, 1.0, None),
            (BOTH, 1.5, 6.0, 0.07625312493990366, None),
            (BOTH, -6.0, -1.5, 0.07625312493990362, None),
            (BOTH, -0.0005, 0.0005, 0.08333333333333333, None),
            (BOTH, 2.0, 2.0, 0.0, None),
            (BOTH, f64::NAN, 2.0, f64::NAN, None),
            (NAN, low, high, 0.6, Some(NanEffect::Excluded)),
            (CUSTOM, low, 0.0, 0.3, None),
            (CUSTOM, -2.0, -1.0, 0.0, None),
            (CUSTOM, 0.0, 1.0, 0.15, None),
            (CUSTOM, 3.0, high, 0.25, None),
            ("{{schema:-53 count:4 custom_values:[2] buckets:[4]}}", 0.0, 1.0, 0.5, None),
        ];
        for (text, from, to, value, nan) in cases {
            let given = Histogram::from_script(text).unwrap().fraction(from, to);
            near(given, value, nan, &format!("{text} from {from} to {to}"));
        }
    }

    #[test]
    fn deviations() {
        let cases = [
            ("{{schema:2 count:4 sum:10 buckets:[1 0 0 0 1 0 0 1 1]}}", 1.163807968526718),
            ("{{count:10 sum:-100 n_buckets:[0 0 0 0 10]}}", 1.725830020304794),
            ("{{schema:-53 count:2 sum:4 custom_values:[1 3] buckets:[0 2]}}", 0.0),
            ("{{}}", f64::NAN),
        ];
        for (text, variance) in cases {
            let given = Histogram::from_script(text).unwrap().variance();
            near(Estimate { value: given, nan: None }, variance, None, text);
        }
    }
}
