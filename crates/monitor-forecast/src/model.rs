//! The forecast: last weeks, growth, and how far it was off before.

use crate::hourly::{Hourly, TooLittle, WEEK_HOURS};
use crate::numbers::{Line, quantile};
use std::ops::Range;

/// Weeks that are looked at.
const WEEKS: usize = 8;

/// How fast the three memories forget: the share of the newest week in level and
/// in shape. 1 knows the last week only.
const MEMORIES: [f64; 3] = [1.0, 0.6, 0.3];

/// Growth counts where it is this many standard errors from none; on real series
/// a weaker test takes noise for growth (`docs/decisions/forecasts.md`).
const STANDS_OUT: f64 = 4.0;

/// Weeks from which on growth can be told from noise.
const GROWTH_WEEKS: usize = 4;

/// Past forecasts that say how far this one may be off.
const ORIGINS: usize = 6;

/// What is expected, hour by hour.
#[derive(Clone, Debug, PartialEq)]
pub struct Forecast {
    /// The first hour, in hours since the epoch.
    pub first_hour: i64,
    /// The middle of what is expected.
    pub values: Vec<f64>,
    /// Nine of ten come above this.
    pub low: Vec<f64>,
    /// Nine of ten come below this.
    pub high: Vec<f64>,
    /// The highest hour of them all.
    pub peak: Peak,
    /// From week to week, 1.05 for 5 % more.
    pub weekly_growth: f64,
    /// Weeks of history that this rests on.
    pub weeks: usize,
}

/// The highest hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Peak {
    /// The middle of what is expected.
    pub value: f64,
    /// Nine of ten come above this.
    pub low: f64,
    /// Nine of ten come below this.
    pub high: f64,
}

/// Continues a history of non-negative values by `hours`, at most a year. Needs
/// two whole weeks; growth needs four.
pub fn forecast(history: &Hourly, hours: usize) -> Result<Forecast, TooLittle> {
    let weeks = history.weeks(WEEKS);
    if weeks.len() < 2 {
        return Err(TooLittle { have_hours: history.known(), need_hours: 2 * WEEK_HOURS });
    }
    let hours = hours.clamp(1, 366 * 24);
    let plain = Plain::new(&weeks, hours);
    let errors = Errors::of(history, weeks.len(), hours);
    let (mut low, mut high) = (Vec::with_capacity(hours), Vec::with_capacity(hours));
    for value in &plain.values {
        let (below, above) = errors.around(*value);
        low.push(below.max(0.0));
        high.push(above);
    }
    let peak = Peak { value: plain.peak, low: plain.peak * errors.peak.0, high: plain.peak * errors.peak.1 };
    Ok(Forecast {
        first_hour: history.end_hour(),
        values: plain.values,
        low,
        high,
        peak,
        weekly_growth: plain.growth.exp(),
        weeks: weeks.len(),
    })
}

/// Growth from week to week and between which values it lies with 80 %; 1.05 is 5 %
/// more. `None` where there are fewer than four weeks.
pub fn weekly_growth(history: &Hourly) -> Option<(f64, Range<f64>)> {
    let weeks = history.weeks(WEEKS);
    let line = (weeks.len() >= GROWTH_WEEKS).then(|| Line::through(&log_sums(&weeks)))??;
    let growth = shrunk(&line);
    // 1.2816 standard errors on both sides hold 80 % of a normal distribution.
    let width = 1.2816 * line.error;
    Some((growth.exp(), (growth - width).exp()..(growth + width).exp()))
}

fn log_sums(weeks: &[Vec<f64>]) -> Vec<f64> {
    weeks.iter().map(|week| week.iter().sum::<f64>().max(1e-9).ln()).collect()
}

/// A slope as far as it stands out from its error.
fn shrunk(line: &Line) -> f64 {
    if line.slope == 0.0 {
        return 0.0;
    }
    let noise = STANDS_OUT * line.error / line.slope.abs();
    line.slope * (1.0 - noise * noise).max(0.0)
}

/// A forecast without its errors.
struct Plain {
    values: Vec<f64>,
    peak: f64,
    growth: f64,
}

impl Plain {
    fn new(weeks: &[Vec<f64>], hours: usize) -> Self {
        let sums = log_sums(weeks);
        let line = if weeks.len() >= GROWTH_WEEKS { Line::through(&sums) } else { None };
        let growth = line.as_ref().map_or(0.0, shrunk);
        let highest: Vec<f64> =
            weeks.iter().map(|week| week.iter().copied().fold(0.0, f64::max).max(1e-9).ln()).collect();
        let ahead = if growth > 0.0 { hours.div_ceil(WEEK_HOURS) as f64 } else { 1.0 };
        let mut values = vec![0.0; hours];
        let mut peak = 0.0;
        let share = 1.0 / MEMORIES.len() as f64;
        for memory in MEMORIES {
            let weights = weights(weeks.len(), memory);
            // Each week's level, brought to now by the growth since.
            let now = |logs: &[f64]| -> f64 {
                let age = |week: usize| (weeks.len() - 1 - week) as f64;
                logs.iter().zip(&weights).enumerate().map(|(n, (log, w))| w * (log + growth * age(n))).sum()
            };
            let level = now(&sums);
            for (hour, value) in values.iter_mut().enumerate() {
                let shape: f64 = weeks
                    .iter()
                    .zip(&sums)
                    .zip(&weights)
                    .map(|((week, sum), w)| w * week[hour % WEEK_HOURS] / sum.exp())
                    .sum();
                let week = (hour / WEEK_HOURS + 1) as f64;
                *value += share * shape * (level + growth * week).exp();
            }
            peak += share * (now(&highest) + growth * ahead).exp();
        }
        Self { values, peak, growth }
    }
}

/// Weights of weeks, oldest first, that sum to one.
fn weights(weeks: usize, memory: f64) -> Vec<f64> {
    let raw: Vec<f64> = (0..weeks).map(|n| (1.0 - memory).powi((weeks - 1 - n) as i32)).collect();
    let sum: f64 = raw.iter().sum();
    raw.into_iter().map(|w| w / sum).collect()
}

/// How far forecasts made in the past were off, for low, middle and high values.
struct Errors {
    /// Values up to here are low, up to there middle.
    bounds: [f64; 2],
    /// Quantiles 10 % and 90 % of (actual − forecast) ÷ (forecast + `floor`).
    off: [(f64, f64); 3],
    /// Keeps small forecasts from making large ratios.
    floor: f64,
    /// Quantiles of actual peak ÷ forecast peak.
    peak: (f64, f64),
}

impl Errors {
    fn of(history: &Hourly, weeks: usize, hours: usize) -> Self {
        let horizon = hours.min(2 * WEEK_HOURS);
        let mut pairs: Vec<(f64, f64)> = Vec::new();
        let mut peaks: Vec<f64> = Vec::new();
        // From every day that leaves two weeks before it and one behind it.
        let origins = ORIGINS.min(weeks.saturating_sub(2)) * 7;
        for day in 0..origins {
            let end = history.end_hour() - (WEEK_HOURS + day * 24) as i64;
            let before = history.before(end).weeks(WEEKS);
            if before.len() < 2 {
                break;
            }
            let made = Plain::new(&before, horizon);
            let begin = (end - history.first_hour) as usize;
            let came = &history.values[begin..history.values.len().min(begin + horizon)];
            pairs.extend(made.values.iter().copied().zip(came.iter().copied()).filter(|(_, y)| !y.is_nan()));
            let highest = came.iter().copied().fold(f64::NAN, f64::max);
            if highest.is_finite() && made.peak > 0.0 {
                peaks.push(highest / made.peak);
            }
        }
        let mut made: Vec<f64> = pairs.iter().map(|(f, _)| *f).collect();
        let floor = 0.02 * made.iter().sum::<f64>() / made.len().max(1) as f64;
        let bounds = [quantile(&mut made, 1.0 / 3.0), quantile(&mut made, 2.0 / 3.0)];
        let place = |f: f64| usize::from(f > bounds[0]) + usize::from(f > bounds[1]);
        let off = [0, 1, 2].map(|part| {
            let mut errors: Vec<f64> = pairs
                .iter()
                .filter(|(f, _)| place(*f) == part)
                .map(|(f, y)| (y - f) / (f + floor).max(1e-12))
                .collect();
            spread(&mut errors, (-0.3, 0.3))
        });
        let peak = spread(&mut peaks, (0.8, 1.25));
        Self { bounds, off, floor: if floor.is_finite() { floor } else { 0.0 }, peak }
    }

    fn around(&self, value: f64) -> (f64, f64) {
        let part = usize::from(value > self.bounds[0]) + usize::from(value > self.bounds[1]);
        let (low, high) = self.off[part];
        (value + low * (value + self.floor), value + high * (value + self.floor))
    }
}

/// The quantiles 10 % and 90 %, a little wider for few values; `unknown` for none.
fn spread(values: &mut [f64], unknown: (f64, f64)) -> (f64, f64) {
    if values.len() < 7 {
        return unknown;
    }
    (quantile(values, 0.1), quantile(values, 0.9))
}
