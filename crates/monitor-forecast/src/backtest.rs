//! Forecasts made in the past, held against what came.

use crate::hourly::{Hourly, WEEK_HOURS};
use crate::model::forecast;

/// How forecasts of two weeks did, from every day of a series on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Forecasts made.
    pub origins: usize,
    /// Mean of |forecast − actual| over all hours, as a share of the series' mean.
    pub error: f64,
    /// The same of the seasonal naive forecast: the last week again and again.
    pub naive_error: f64,
    /// Mean of |forecast peak − actual peak| ÷ actual peak.
    pub peak_error: f64,
    /// The same of the seasonal naive forecast.
    pub naive_peak_error: f64,
    /// The share of hours that lay between low and high; 0.8 is meant.
    pub coverage: f64,
}

/// Hours of each forecast.
const HORIZON: usize = 2 * WEEK_HOURS;

/// Makes a forecast of two weeks from each day after the first `history_weeks` on.
/// `None` where the series is too short for one.
pub fn rolling(series: &Hourly, history_weeks: usize) -> Option<Score> {
    let mut score = Score::default();
    let (mut hours, mut inside) = (0.0, 0.0);
    let mut begin = history_weeks * WEEK_HOURS;
    while begin + HORIZON <= series.values.len() {
        let history = series.before(series.first_hour + begin as i64);
        let came = &series.values[begin..begin + HORIZON];
        if let Ok(made) = forecast(&history, HORIZON) {
            let naive = &history.values[begin - WEEK_HOURS..];
            score.origins += 1;
            let highest = |values: &[f64]| values.iter().copied().fold(f64::MIN, f64::max);
            let peak = highest(came);
            score.peak_error += (made.peak.value - peak).abs() / peak;
            score.naive_peak_error += (highest(naive) - peak).abs() / peak;
            for (hour, value) in came.iter().enumerate().filter(|(_, v)| !v.is_nan()) {
                score.error += (made.values[hour] - value).abs();
                score.naive_error += (naive[hour % WEEK_HOURS] - value).abs();
                inside += f64::from(u8::from((made.low[hour]..=made.high[hour]).contains(value)));
                hours += 1.0;
            }
        }
        begin += 24;
    }
    if score.origins == 0 {
        return None;
    }
    let known: Vec<f64> = series.values.iter().copied().filter(|v| !v.is_nan()).collect();
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    let origins = score.origins as f64;
    Some(Score {
        origins: score.origins,
        error: score.error / hours / mean,
        naive_error: score.naive_error / hours / mean,
        peak_error: score.peak_error / origins,
        naive_peak_error: score.naive_peak_error / origins,
        coverage: inside / hours,
    })
}
