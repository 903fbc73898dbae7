//! Histograms as people read them.

use super::{Bucket, Histogram};
use std::fmt;

/// As Prometheus writes it: `{count:4, sum:5, [-2,-1):1, [-0.1,0.1]:1, (1,2]:2}`;
/// populated buckets only.
impl fmt::Display for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{count:{}, sum:{}", format_g(self.count), format_g(self.sum))?;
        let negative: Vec<Bucket> = self.negative_buckets().collect();
        let zero = [self.zero_bucket()];
        let zero = zero.iter().copied().filter(|_| !self.has_custom_buckets());
        let all = negative.into_iter().rev().chain(zero).chain(self.positive_buckets());
        for bucket in all.filter(|bucket| bucket.count != 0.0) {
            write!(f, ", {bucket}")?;
        }
        f.write_str("}")
    }
}

/// With square brackets where a bound belongs to the bucket: `(1,2]:3`.
impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = if self.lower_inclusive { '[' } else { '(' };
        let close = if self.upper_inclusive { ']' } else { ')' };
        let (lower, upper) = (format_g(self.lower), format_g(self.upper));
        write!(f, "{open}{lower},{upper}{close}:{}", format_g(self.count))
    }
}

/// A number as Go's `%g` has it, in which Prometheus writes histograms and
/// messages: the fewest digits that read back, with an exponent (of two digits at
/// least) below 1e-4 and from 1e+06.
pub fn format_g(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((scientific.as_str(), "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.5, "1.5"),
            (1e6, "1e+06"),
            (123456.0, "123456"),
            (1234567.0, "1.234567e+06"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        for (value, expected) in cases {
            assert_eq!(format_g(value), expected);
        }
    }

    #[test]
    fn histograms() {
        let cases = [
            ("{{}}", "{count:0, sum:0}"),
            (
                "{{count:10 sum:-3 z_bucket:1 z_bucket_w:0.001 buckets:[1 0 2] n_buckets:[3 4]}}",
                "{count:10, sum:-3, [-2,-1):4, [-1,-0.5):3, [-0.001,0.001]:1, (0.5,1]:1, (2,4]:2}",
            ),
            (
                "{{schema:-53 count:3 sum:2e9 custom_values:[1 2] buckets:[1 1 1]}}",
                "{count:3, sum:2e+09, [-Inf,1]:1, (1,2]:1, (2,+Inf]:1}",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(Histogram::from_script(text).unwrap().to_string(), expected);
        }
    }
}
