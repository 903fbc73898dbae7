//! What is normal for this hour of the week.

use crate::hourly::{HOUR_MS, Hourly, TooLittle, WEEK_HOURS};
use crate::model::weekly_growth;
use crate::numbers::median;

/// The highest short rate of an hour, asked for at the hour's end: PromQL.
pub const HIGHEST: &str = "max_over_time(site:qps[1h])";

/// The lowest one.
pub const LOWEST: &str = "min_over_time(site:qps[1h])";

/// Weeks that are looked at.
const WEEKS: usize = 6;

/// Standard deviations to both sides, of what the same hours of past weeks scatter.
const WIDE: f64 = 4.0;

/// A band is never narrower than this share of what is expected.
const LEAST: f64 = 0.3;

/// Below this share of the lowest that is usual, traffic has vanished.
const VANISHED: f64 = 0.1;

/// The band of one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Band {
    /// The middle of what is expected.
    pub expected: f64,
    /// Less is unusual.
    pub low: f64,
    /// More is unusual.
    pub high: f64,
    /// Less means that traffic vanished; 0 where so little is usual that silence is, too.
    pub vanished: f64,
}

/// Bands for each hour of the week.
#[derive(Clone, Debug)]
pub struct Bands {
    /// The hour that `hours[0]` is for, in hours since the epoch.
    first_hour: i64,
    hours: Vec<Band>,
}

impl Bands {
    /// From the highest and the lowest short rates of each hour: the same hours of
    /// past weeks × growth. Needs two whole weeks of both.
    pub fn new(highest: &Hourly, lowest: &Hourly, least: f64) -> Result<Self, TooLittle> {
        let need = |history: &Hourly| TooLittle { have_hours: history.known(), need_hours: 2 * WEEK_HOURS };
        let growth = weekly_growth(highest).map_or(1.0, |(growth, _)| growth);
        let end = highest.end_hour().min(lowest.end_hour());
        let above = Side::new(&highest.before(end), growth).ok_or_else(|| need(highest))?;
        let below = Side::new(&lowest.before(end), growth).ok_or_else(|| need(lowest))?;
        let hours = (0..WEEK_HOURS).map(|hour| {
            let (top, bottom) = (above.expected[hour], below.expected[hour].min(above.expected[hour]));
            let expected = (top + bottom) / 2.0;
            let high = top + (WIDE * above.scatter[hour]).max(LEAST * top).max(least);
            let low = (bottom - (WIDE * below.scatter[hour]).max(LEAST * bottom)).max(0.0);
            let usual = if bottom > least { VANISHED * bottom } else { 0.0 };
            Band { expected, low, high, vanished: usual.min(low.max(VANISHED * usual)) }
        });
        Ok(Self { first_hour: end, hours: hours.collect() })
    }

    /// The band of a moment, in Unix milliseconds: between the middles of the
    /// hours beside it in proportion, so that it has no steps.
    pub fn at(&self, at_ms: i64) -> Band {
        let half = at_ms.saturating_sub(HOUR_MS / 2);
        let part = half.rem_euclid(HOUR_MS) as f64 / HOUR_MS as f64;
        let place = (half.div_euclid(HOUR_MS) - self.first_hour).rem_euclid(WEEK_HOURS as i64) as usize;
        let (a, b) = (self.hours[place], self.hours[(place + 1) % WEEK_HOURS]);
        let mix = |x: f64, y: f64| x + (y - x) * part;
        Band {
            expected: mix(a.expected, b.expected),
            low: mix(a.low, b.low),
            high: mix(a.high, b.high),
            vanished: mix(a.vanished, b.vanished),
        }
    }
}

/// The highest or lowest values: what is expected next week, and its scatter.
struct Side {
    expected: Vec<f64>,
    scatter: Vec<f64>,
}

impl Side {
    fn new(history: &Hourly, growth: f64) -> Option<Self> {
        let weeks = history.weeks(WEEKS);
        if weeks.len() < 2 {
            return None;
        }
        let (mut expected, mut scatter) = (Vec::new(), Vec::new());
        for hour in 0..WEEK_HOURS {
            // An incident of a past week must not become what is normal: the median.
            let at = |hour: usize| -> Vec<f64> {
                let grown =
                    |(n, week): (usize, &Vec<f64>)| week[hour] * growth.powi((weeks.len() - n) as i32);
                weeks.iter().enumerate().map(grown).collect()
            };
            let middle = median(&mut at(hour));
            expected.push(middle);
            // The hours beside it scatter alike; with a few weeks one hour says little.
            let mut off: Vec<f64> = Vec::new();
            for beside in [hour + WEEK_HOURS - 1, hour, hour + 1] {
                let mut values = at(beside % WEEK_HOURS);
                let centre = median(&mut values);
                off.extend(values.iter().map(|v| (v - centre).abs()));
            }
            scatter.push(1.4826 * median(&mut off));
        }
        Some(Self { expected, scatter })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Five weeks of a daily wave that grows 5 % a week.
    fn wave(factor: f64) -> Hourly {
        let value = |hour: usize| {
            let day = (hour % 24) as f64 / 24.0 * std::f64::consts::TAU;
            factor * (100.0 - 80.0 * day.cos()) * 1.05f64.powf(hour as f64 / WEEK_HOURS as f64)
        };
        Hourly { first_hour: 400_000, values: (0..5 * WEEK_HOURS).map(value).collect() }
    }

    #[test]
    fn the_band_follows_the_hour_of_the_week_and_the_growth() {
        let bands = Bands::new(&wave(1.1), &wave(0.9), 0.5).unwrap();
        let end = 400_000 + 5 * WEEK_HOURS as i64;
        let noon = bands.at((end + 12) * HOUR_MS + HOUR_MS / 2);
        let night = bands.at(end * HOUR_MS + HOUR_MS / 2);
        let came = 180.0 * 1.05f64.powf(5.0 + 12.0 / 168.0);
        assert!((noon.expected / came - 1.0).abs() < 0.02, "{noon:?} {came}");
        assert!(noon.low < came * 0.8 && noon.high > came * 1.2, "{noon:?}");
        assert!(night.high < noon.low, "{night:?} {noon:?}");
        assert!(night.vanished > 0.0 && night.vanished < night.low, "{night:?}");
    }

    #[test]
    fn an_incident_of_a_past_week_is_not_normal() {
        let (mut high, mut low) = (wave(1.0), wave(1.0));
        let incident = 3 * WEEK_HOURS + 60;
        high.values[incident] *= 20.0;
        low.values[incident] = 0.0;
        let (plain, hit) =
            (Bands::new(&wave(1.0), &wave(1.0), 0.5).unwrap(), Bands::new(&high, &low, 0.5).unwrap());
        let at = (400_000 + 5 * WEEK_HOURS as i64 + 60) * HOUR_MS + HOUR_MS / 2;
        assert!((hit.at(at).high / plain.at(at).high - 1.0).abs() < 0.1);
        assert!(hit.at(at).low > 0.5 * plain.at(at).low);
    }

    #[test]
    fn a_quiet_hour_may_be_silent() {
        let quiet = Hourly { first_hour: 0, values: vec![0.01; 3 * WEEK_HOURS] };
        let band = Bands::new(&quiet, &quiet, 0.5).unwrap().at(0);
        assert_eq!(band.vanished, 0.0);
        assert!(band.high >= 0.5);
    }

    #[test]
    fn two_weeks_are_needed() {
        let short = wave(1.0).before(400_000 + 300);
        assert!(Bands::new(&short, &short, 0.5).is_err());
    }
}
