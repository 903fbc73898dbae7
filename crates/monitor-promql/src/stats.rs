//! The arithmetic of functions and aggregations.

use crate::Point;
use crate::notes::Mended;
pub(crate) use monitor_model::histogram::format_g;

/// Kahan's summation in Neumaier's variant, as Prometheus uses it
/// (`util/kahansum`): `sum` and what rounding lost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Kahan {
    pub(crate) sum: f64,
    pub(crate) lost: f64,
}

impl Kahan {
    pub(crate) fn add(&mut self, value: f64) {
        let total = self.sum + value;
        if total.is_infinite() {
            self.lost = 0.0;
        } else if self.sum.abs() >= value.abs() {
            self.lost += (self.sum - total) + value;
        } else {
            self.lost += (value - total) + self.sum;
        }
        self.sum = total;
    }

    pub(crate) fn total(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.lost }
    }
}

/// A mean: the sum divided, until the sum would overflow; from then on
/// incremental, as Prometheus does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mean {
    kahan: Kahan,
    pub(crate) count: f64,
    incremental: bool,
}

impl Mean {
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.kahan.sum = value;
            return;
        }
        if !self.incremental {
            let mut next = self.kahan;
            next.add(value);
            if !next.sum.is_infinite() {
                self.kahan = next;
                return;
            }
            self.incremental = true;
            let before = self.count - 1.0;
            self.kahan = Kahan { sum: self.kahan.sum / before, lost: self.kahan.lost / before };
        }
        let weight = (self.count - 1.0) / self.count;
        self.kahan = Kahan { sum: weight * self.kahan.sum, lost: weight * self.kahan.lost };
        self.kahan.add(value / self.count);
    }

    pub(crate) fn value(self) -> f64 {
        if self.incremental {
            self.kahan.sum + self.kahan.lost
        } else {
            self.kahan.sum / self.count + self.kahan.lost / self.count
        }
    }
}

/// `1.5e+06`: the exponent has a sign and at least two digits.
pub(crate) fn exponential(value: f64) -> String {
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    format!("{mantissa}e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

/// Go's `math.Min`: −∞ is the smaller even beside NaN, else NaN is the result.
pub(crate) fn smaller(a: f64, b: f64) -> f64 {
    match () {
        () if a == f64::NEG_INFINITY || b == f64::NEG_INFINITY => f64::NEG_INFINITY,
        () if a.is_nan() || b.is_nan() => f64::NAN,
        () => a.min(b),
    }
}

/// Go's `math.Max`: ∞ is the larger even beside NaN, else NaN is the result.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    -smaller(-a, -b)
}

/// Smallest first, NaN before all, as Prometheus orders values for quantiles.
pub(crate) fn nan_first(a: &f64, b: &f64) -> std::cmp::Ordering {
    a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// The φ-quantile of values, interpolated; it changes their order.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let rank = q * (values.len() - 1) as f64;
    let lower = rank.floor().max(0.0);
    let weight = rank - rank.floor();
    let (_, lower, above) = values.select_nth_unstable_by(lower as usize, nan_first);
    let lower = *lower;
    let upper = above.iter().copied().min_by(nan_first).unwrap_or(lower);
    lower * (1.0 - weight) + upper * weight
}

/// Mean and sum of squared distances from it (Welford, with Kahan's summation).
pub(crate) fn variance(points: &[Point]) -> f64 {
    let (mut count, mut mean, mut squares) = (0.0, Kahan::default(), Kahan::default());
    for point in points {
        count += 1.0;
        let delta = point.value - (mean.sum + mean.lost);
        mean.add(delta / count);
        squares.add(delta * (point.value - (mean.sum + mean.lost)));
    }
    (squares.sum + squares.lost) / count
}

/// Least squares: the slope a second, and the value at a time.
pub(crate) fn linear_regression(points: &[Point], at_ms: i64) -> (f64, f64) {
    let first = points[0].value;
    if points[1..].iter().all(|p| p.value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let (mut x_sum, mut y_sum, mut xy_sum, mut xx_sum) =
        (Kahan::default(), Kahan::default(), Kahan::default(), Kahan::default());
    for point in points {
        let x = (point.at_ms - at_ms) as f64 / 1e3;
        x_sum.add(x);
        y_sum.add(point.value);
        xy_sum.add(x * point.value);
        xx_sum.add(x * x);
    }
    let n = points.len() as f64;
    let (x, y) = (x_sum.sum + x_sum.lost, y_sum.sum + y_sum.lost);
    let covariance = xy_sum.sum + xy_sum.lost - x * y / n;
    let variance = xx_sum.sum + xx_sum.lost - x * x / n;
    let slope = covariance / variance;
    (slope, y / n - slope * x / n)
}

/// A bucket of a classic histogram: how many observations were at most `upper`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    pub(crate) upper: f64,
    pub(crate) count: f64,
}

/// Sorts buckets, merges those of the same bound, and makes counts grow: a
/// decrease of less than one in 10¹² is rounding, a larger one is mended too but
/// told. `None` where the highest bucket is not `+Inf`.
pub(crate) fn tidy_buckets(buckets: &mut Vec<Bucket>) -> Option<Option<Mended>> {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    if buckets.last()?.upper != f64::INFINITY {
        return None;
    }
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
    Some(ensure_monotonic(buckets))
}

fn ensure_monotonic(buckets: &mut [Bucket]) -> Option<Mended> {
    let mut mended: Option<Mended> = None;
    let mut before = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        if almost_equal(before, bucket.count, 1e-12) {
            bucket.count = before;
        } else if bucket.count < before {
            let difference = before - bucket.count;
            bucket.count = before;
            let so_far =
                mended.get_or_insert(Mended { lowest: bucket.upper, highest: bucket.upper, difference });
            so_far.highest = bucket.upper;
            so_far.difference = so_far.difference.max(difference);
        } else {
            before = bucket.count;
        }
    }
    mended
}

/// Whether two numbers differ by a relative error below ε (Prometheus' `almost.Equal`).
pub(crate) fn almost_equal(a: f64, b: f64, epsilon: f64) -> bool {
    if crate::is_stale(a) || crate::is_stale(b) {
        return crate::is_stale(a) && crate::is_stale(b);
    }
    if a == b || (a.is_nan() && b.is_nan()) {
        return true;
    }
    let (sum, difference) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < f64::MIN_POSITIVE {
        return difference < epsilon * f64::MIN_POSITIVE;
    }
    difference / sum.min(f64::MAX) < epsilon
}

/// The φ-quantile of a classic histogram's tidied buckets, interpolated linearly
/// (Prometheus manual, "histogram_quantile").
pub(crate) fn bucket_quantile(q: f64, buckets: &[Bucket]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let Some(observations) = buckets.last().map(|b| b.count).filter(|_| buckets.len() >= 2) else {
        return f64::NAN;
    };
    if observations == 0.0 || observations.is_nan() {
        return f64::NAN;
    }
    let mut rank = q * observations;
    let last = buckets.len() - 1;
    let at = buckets[..last].partition_point(|b| b.count < rank);
    if at == last {
        return buckets[last - 1].upper;
    }
    if at == 0 && buckets[0].upper <= 0.0 {
        return buckets[0].upper;
    }
    let (mut lower, upper, mut count) = (0.0, buckets[at].upper, buckets[at].count);
    if at > 0 {
        lower = buckets[at - 1].upper;
        count -= buckets[at - 1].count;
        rank -= buckets[at - 1].count;
    }
    lower + (upper - lower) * (rank / count)
}

/// The part of a classic histogram's observations between two values
/// (Prometheus manual, "histogram_fraction"); buckets as above.
pub(crate) fn bucket_fraction(lower: f64, upper: f64, buckets: &[Bucket]) -> f64 {
    let count = buckets.last().map_or(0.0, |b| b.count);
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    ((rank_of(upper, buckets, count) - rank_of(lower, buckets, count)) / count).clamp(0.0, 1.0)
}

/// How many observations are below a value, interpolated in its bucket; a bucket
/// without a lower bound begins at 0 where it reaches above it, else it counts
/// as lying at its upper bound.
fn rank_of(value: f64, buckets: &[Bucket], count: f64) -> f64 {
    let mut rank = 0.0;
    let mut low = match buckets.first() {
        Some(first) if first.upper > 0.0 => 0.0,
        _ => f64::NEG_INFINITY,
    };
    for bucket in buckets {
        if low >= value {
            return rank;
        }
        if bucket.upper > value {
            return match (low == f64::NEG_INFINITY, bucket.upper == f64::INFINITY) {
                (true, _) => bucket.count,
                (_, true) => rank,
                _ => rank + (bucket.count - rank) * (value - low) / (bucket.upper - low),
            };
        }
        rank = bucket.count;
        low = bucket.upper;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate() {
        let cases = [(0.5, 2.5), (0.0, 1.0), (1.0, 4.0), (-0.1, f64::NEG_INFINITY), (1.1, f64::INFINITY)];
        for (q, expected) in cases {
            assert_eq!(quantile(q, &mut [4.0, 1.0, 3.0, 2.0]), expected, "{q}");
        }
        assert!(quantile(f64::NAN, &mut [1.0]).is_nan() && quantile(0.5, &mut []).is_nan());
    }

    #[test]
    fn smaller_and_larger_are_those_of_go() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let cases =
            [(1.0, 2.0, 1.0, 2.0), (nan, 1.0, nan, nan), (inf, nan, nan, inf), (nan, -inf, -inf, nan)];
        for (a, b, small, large) in cases {
            assert_eq!(smaller(a, b).to_string(), small.to_string(), "{a} {b}");
            assert_eq!(larger(a, b).to_string(), large.to_string(), "{a} {b}");
        }
    }

    #[test]
    fn kahan_keeps_what_rounding_loses() {
        let mut sum = Kahan::default();
        for value in [1.0, 1e100, 1.0, -1e100] {
            sum.add(value);
        }
        assert_eq!(sum.total(), 2.0);
        let mut mean = Mean::default();
        for _ in 0..4 {
            mean.add(f64::MAX);
        }
        assert!(almost_equal(mean.value(), f64::MAX, 1e-15));
    }

    #[test]
    fn buckets_are_mended_and_read() {
        let bucket = |upper, count| Bucket { upper, count };
        let mut buckets =
            vec![bucket(f64::INFINITY, 10.0), bucket(1.0, 4.0), bucket(2.0, 3.0), bucket(4.0, 8.0)];
        let mended = tidy_buckets(&mut buckets).unwrap().unwrap();
        assert_eq!((mended.lowest, mended.highest, mended.difference), (2.0, 2.0, 1.0));
        assert_eq!(bucket_quantile(0.2, &buckets), 0.5);
        assert_eq!(bucket_quantile(0.6, &buckets), 3.0);
        assert_eq!(bucket_quantile(0.9, &buckets), 4.0);
        assert_eq!(bucket_fraction(0.0, 3.0, &buckets), 0.6);
        assert_eq!(tidy_buckets(&mut vec![bucket(1.0, 1.0)]).map(|_| ()), None);
    }
}
