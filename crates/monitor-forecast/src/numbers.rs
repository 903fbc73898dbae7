//! Small statistics.

/// The middle of values; NaN of none.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// The quantile `q` (0 … 1), between neighbours in proportion; NaN of none.
pub(crate) fn quantile(values: &mut [f64], q: f64) -> f64 {
    if values.is_empty() {
        return f64::NAN;
    }
    values.sort_by(f64::total_cmp);
    let at = q * (values.len() - 1) as f64;
    let (low, part) = (at.floor() as usize, at.fract());
    let high = (low + 1).min(values.len() - 1);
    values[low] + (values[high] - values[low]) * part
}

/// A straight line through values at 0, 1, 2, …: the median of all slopes
/// between two of them (Theil 1950, Sen 1968).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Line {
    /// A step's difference.
    pub(crate) slope: f64,
    /// The slope's standard error, from the scatter around the line.
    pub(crate) error: f64,
}

/// Values beyond this are thinned out, so that the pairs stay few.
const MOST: usize = 400;

impl Line {
    /// Through at least two values.
    pub(crate) fn through(values: &[f64]) -> Option<Self> {
        let every = values.len().div_ceil(MOST).max(1);
        let places: Vec<usize> = (0..values.len()).rev().step_by(every).collect();
        let mut slopes = Vec::with_capacity(places.len() * places.len() / 2);
        for (n, late) in places.iter().enumerate() {
            for early in &places[n + 1..] {
                slopes.push((values[*late] - values[*early]) / (late - early) as f64);
            }
        }
        if slopes.is_empty() {
            return None;
        }
        let slope = median(&mut slopes);
        let mut bases: Vec<f64> = values.iter().enumerate().map(|(x, y)| y - slope * x as f64).collect();
        let base = median(&mut bases);
        let mut scatter: Vec<f64> =
            values.iter().enumerate().map(|(x, y)| (y - base - slope * x as f64).abs()).collect();
        let n = values.len() as f64;
        // 1.4826 times the median deviation is the standard deviation of normal noise.
        let sigma = 1.4826 * median(&mut scatter);
        let error = sigma * (12.0 / (n * (n * n - 1.0))).sqrt();
        Some(Self { slope, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        assert!(quantile(&mut [], 0.5).is_nan());
        for (values, q, expected) in [
            (&mut [3.0][..], 0.9, 3.0),
            (&mut [4.0, 1.0, 2.0, 3.0], 0.5, 2.5),
            (&mut [1.0, 2.0, 3.0, 4.0, 5.0], 0.1, 1.4),
        ] {
            assert!((quantile(values, q) - expected).abs() < 1e-12);
        }
    }

    #[test]
    fn an_outlier_does_not_bend_the_line() {
        let mut values: Vec<f64> = (0..1_000).map(|x| 5.0 + 2.0 * f64::from(x)).collect();
        values[500] = 1e9;
        let line = Line::through(&values).unwrap();
        assert!((line.slope - 2.0).abs() < 1e-9, "{line:?}");
        assert!(Line::through(&[1.0]).is_none());
    }
}
