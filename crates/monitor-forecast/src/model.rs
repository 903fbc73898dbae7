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

/// How much wider an interval is for one week of past forecasts; less for more.
const WIDER: f64 = 0.4;

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
    for (hour, value) in plain.values.iter().enumerate() {
        let (below, above) = errors.around(*value, hour / WEEK_HOURS);
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

/// How far forecasts made in the past were off: in the first week and later, for
/// low, middle and high values.
struct Errors {
    /// Values up to here are low, up to there middle.
    bounds: [f64; 2],
    /// Quantiles 10 % and 90 % of (actual − forecast) ÷ (forecast + `floor`).
    off: [[(f64, f64); 3]; 2],
    /// Keeps small forecasts from making large ratios.
    floor: f64,
    /// Quantiles of actual peak ÷ forecast peak.
    peak: (f64, f64),
}

/// A forecast made in the past for one hour, the week it lies ahead, what came.
struct Tried {
    made: f64,
    week: usize,
    came: f64,
}

impl Errors {
    fn of(history: &Hourly, weeks: usize, hours: usize) -> Self {
        let mut tried: Vec<Tried> = Vec::new();
        let mut peaks: Vec<f64> = Vec::new();
        // From every day that leaves two weeks before it and one behind it.
        let origins = ORIGINS.min(weeks.saturating_sub(2)) * 7;
        for day in 0..origins {
            let end = history.end_hour() - (WEEK_HOURS + day * 24) as i64;
            let before = history.before(end).weeks(WEEKS);
            if before.len() < 2 {
                break;
            }
            let made = Plain::new(&before, 2 * WEEK_HOURS);
            let begin = (end - history.first_hour) as usize;
            let came = &history.values[begin..history.values.len().min(begin + 2 * WEEK_HOURS)];
            let pairs = made.values.iter().zip(came).enumerate().filter(|(_, (_, came))| !came.is_nan());
            tried.extend(pairs.map(|(hour, (made, came))| Tried {
                made: *made,
                week: hour / WEEK_HOURS,
                came: *came,
            }));
            let highest = came.iter().take(hours).copied().fold(f64::NAN, f64::max);
            if highest.is_finite() && made.peak > 0.0 {
                peaks.push(highest / made.peak);
            }
        }
        let mut made: Vec<f64> = tried.iter().map(|t| t.made).collect();
        let mean = made.iter().sum::<f64>() / made.len().max(1) as f64;
        let bounds = [quantile(&mut made, 1.0 / 3.0), quantile(&mut made, 2.0 / 3.0)];
        let mut errors = Self { bounds, off: [[(0.0, 0.0); 3]; 2], floor: 0.02 * mean, peak: (0.0, 0.0) };
        // Days that overlap are not as good as weeks that don't: few weeks know
        // less of what may come than their quantiles say.
        let wider = 1.0 + WIDER / (origins as f64 / 7.0).max(1.0);
        for week in 0..2 {
            for part in 0..3 {
                let of = |t: &&Tried| t.week == week && errors.place(t.made) == part;
                let mut off: Vec<f64> = tried.iter().filter(of).map(|t| errors.ratio(t)).collect();
                errors.off[week][part] = spread(&mut off, (-0.3, 0.3), 0.0, wider);
            }
        }
        errors.peak = spread(&mut peaks, (0.8, 1.25), 1.0, wider);
        errors
    }

    fn place(&self, made: f64) -> usize {
        usize::from(made > self.bounds[0]) + usize::from(made > self.bounds[1])
    }

    fn ratio(&self, tried: &Tried) -> f64 {
        (tried.came - tried.made) / (tried.made + self.floor).max(1e-12)
    }

    fn around(&self, value: f64, week: usize) -> (f64, f64) {
        let (low, high) = self.off[week.min(1)][self.place(value)];
        (value + low * (value + self.floor), value + high * (value + self.floor))
    }
}

/// The quantiles 10 % and 90 %, `wider` around the middle that a right forecast
/// has; `unknown` for few values.
fn spread(values: &mut [f64], unknown: (f64, f64), middle: f64, wider: f64) -> (f64, f64) {
    if values.len() < 7 {
        return unknown;
    }
    let away = |q: f64, values: &mut [f64]| middle + (quantile(values, q) - middle) * wider;
    (away(0.1, values).min(middle), away(0.9, values).max(middle))
}
