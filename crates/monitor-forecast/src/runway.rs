//! When a use meets its ceiling.

use crate::hourly::{Hourly, WEEK_HOURS};
use crate::model::weekly_growth;
use crate::numbers::Line;
use serde::Serialize;
use std::ops::Range;

/// How a use grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// With the traffic, in percent a week: CPU, connections, bandwidth.
    Load,
    /// Steadily, in bytes a day: a disk.
    Fills,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// CPU cores.
    Cores,
    /// Bytes.
    Bytes,
    /// Connections.
    Connections,
    /// Requests a second.
    Requests,
    /// Bytes a second.
    Bandwidth,
}

/// Something that may run out.
#[derive(Clone, Debug)]
pub struct Resource {
    /// What it is, as it stands in a sentence: "CPU of pool `app`".
    pub name: String,
    /// What is counted.
    pub unit: Unit,
    /// How its use grows.
    pub kind: Kind,
    /// The highest use of each hour.
    pub used: Hourly,
    /// What there is; `None` where it is not known, and then nothing is said.
    pub ceiling: Option<f64>,
    /// The share of the ceiling that can be used before service suffers: 0.8 of a CPU.
    pub usable: f64,
    /// Servers that share it, where another one can be added.
    pub servers: Option<u32>,
}

/// When it runs out, and what that rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Runway {
    /// Hours from the end of the history until the usable part is used; `None`
    /// where that is further away than [`HORIZON_HOURS`].
    pub hours: Option<f64>,
    /// The earliest and latest with 80 %, in hours; the latest may be infinite.
    pub between: Range<f64>,
    /// The highest use of the last week (of a filling resource: now).
    pub used: f64,
    /// The use that can be borne.
    pub bearable: f64,
    /// A week's growth: a ratio (1.05) for a load, an amount for what fills.
    pub weekly: f64,
    /// The same, with 80 %.
    pub weekly_between: Range<f64>,
    /// Hours of history.
    pub history_hours: usize,
}

/// Further than two years ahead nothing is said.
pub const HORIZON_HOURS: f64 = 2.0 * 365.0 * 24.0;

/// Hours of history that what fills needs.
const FILL_HOURS: usize = 72;

/// When a resource runs out; `traffic` are requests a second, whose growth a load
/// follows where its own history is shorter. `None` where there is no ceiling or
/// too little history.
pub fn runway(resource: &Resource, traffic: Option<&Hourly>) -> Option<Runway> {
    let bearable = resource.ceiling.filter(|c| c.is_finite() && *c > 0.0)? * resource.usable;
    match resource.kind {
        Kind::Load => load(resource, traffic, bearable),
        Kind::Fills => fills(resource, bearable),
    }
}

fn load(resource: &Resource, traffic: Option<&Hourly>, bearable: f64) -> Option<Runway> {
    let used = highest_of_last_week(&resource.used)?;
    let own = weekly_growth(&resource.used);
    // Requests are counted exactly, so their growth stands out sooner.
    let (weekly, between) = traffic.and_then(weekly_growth).or(own)?;
    let weeks = |growth: f64| match (bearable / used).ln() {
        over if over <= 0.0 => 0.0,
        left if growth > 1.0 => left / growth.ln(),
        _ => f64::INFINITY,
    };
    let hours = |growth: f64| weeks(growth) * WEEK_HOURS as f64;
    Some(Runway {
        hours: Some(hours(weekly)).filter(|h| *h <= HORIZON_HOURS),
        between: hours(between.end)..hours(between.start),
        used,
        bearable,
        weekly,
        weekly_between: between,
        history_hours: resource.used.known(),
    })
}

fn fills(resource: &Resource, bearable: f64) -> Option<Runway> {
    let values: Vec<f64> = resource.used.values.iter().copied().filter(|v| !v.is_nan()).collect();
    if values.len() < FILL_HOURS {
        return None;
    }
    // The last four weeks say how it fills now.
    let recent = &values[values.len().saturating_sub(4 * WEEK_HOURS)..];
    let line = Line::through(recent)?;
    let used = *recent.last()?;
    let hours = |slope: f64| match bearable - used {
        over if over <= 0.0 => 0.0,
        left if slope > 0.0 => left / slope,
        _ => f64::INFINITY,
    };
    let width = 1.2816 * line.error;
    let week = WEEK_HOURS as f64;
    Some(Runway {
        hours: Some(hours(line.slope)).filter(|h| *h <= HORIZON_HOURS),
        between: hours(line.slope + width)..hours(line.slope - width),
        used,
        bearable,
        weekly: line.slope * week,
        weekly_between: (line.slope - width) * week..(line.slope + width) * week,
        history_hours: values.len(),
    })
}

fn highest_of_last_week(used: &Hourly) -> Option<f64> {
    let week = &used.values[used.values.len().saturating_sub(WEEK_HOURS)..];
    let highest = week.iter().copied().fold(f64::NAN, f64::max);
    (highest.is_finite() && highest > 0.0).then_some(highest)
}

/// What a request costs of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Of the resource's unit for a request a second: CPU seconds for a request.
    pub per_request: f64,
    /// What is used without any request.
    pub fixed: f64,
    /// The share of the use's variation that requests explain (R²).
    pub explained: f64,
}

/// The straight line from requests a second to use, by least squares over the
/// hours that both have. `None` below a day, or where traffic does not vary.
pub fn cost_per_request(used: &Hourly, traffic: &Hourly) -> Option<Cost> {
    let mut pairs: Vec<(f64, f64)> = Vec::new();
    for (n, y) in used.values.iter().enumerate() {
        let place = usize::try_from(used.first_hour + n as i64 - traffic.first_hour).ok();
        let x = place.and_then(|at| traffic.values.get(at)).copied().unwrap_or(f64::NAN);
        if x.is_finite() && y.is_finite() {
            pairs.push((x, *y));
        }
    }
    if pairs.len() < 24 {
        return None;
    }
    let n = pairs.len() as f64;
    let (mx, my) = (pairs.iter().map(|p| p.0).sum::<f64>() / n, pairs.iter().map(|p| p.1).sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| pairs.iter().map(|(x, y)| f(x - mx, y - my)).sum::<f64>();
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 0.0 || yy <= 0.0 || mx <= 0.0 {
        return None;
    }
    let per_request = xy / xx;
    Some(Cost { per_request, fixed: my - per_request * mx, explained: xy * xy / (xx * yy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load_of(growth: f64, weeks: usize) -> Hourly {
        let value = |hour: usize| {
            let day = (hour % 24) as f64 / 24.0 * std::f64::consts::TAU;
            (1.0 - 0.8 * day.cos()) * growth.powf((hour / WEEK_HOURS) as f64)
        };
        Hourly { first_hour: 0, values: (0..weeks * WEEK_HOURS).map(value).collect() }
    }

    fn resource(kind: Kind, used: Hourly, ceiling: Option<f64>) -> Resource {
        Resource {
            name: "CPU of pool `app`".into(),
            unit: Unit::Cores,
            kind,
            used,
            ceiling,
            usable: 0.8,
            servers: Some(2),
        }
    }

    #[test]
    fn a_load_meets_its_ceiling_when_growth_says_so() {
        let used = load_of(1.05, 6);
        let peak = highest_of_last_week(&used).unwrap();
        let found = runway(&resource(Kind::Load, used, Some(2.0 * peak / 0.8)), None).unwrap();
        // It doubles in ln 2 ÷ ln 1.05 = 14.2 weeks.
        let weeks = found.hours.unwrap() / WEEK_HOURS as f64;
        assert!((weeks - 14.2).abs() < 0.3, "{weeks}");
        assert!(found.between.start <= found.hours.unwrap() && found.between.end >= found.hours.unwrap());
    }

    #[test]
    fn without_growth_or_ceiling_nothing_runs_out() {
        let flat = runway(&resource(Kind::Load, load_of(1.0, 6), Some(100.0)), None).unwrap();
        assert_eq!(flat.hours, None);
        assert_eq!(runway(&resource(Kind::Load, load_of(1.05, 6), None), None), None);
        assert_eq!(runway(&resource(Kind::Load, load_of(1.05, 3), Some(9.0)), None), None);
        let full = runway(&resource(Kind::Load, load_of(1.05, 6), Some(1.0)), None).unwrap();
        assert_eq!(full.hours, Some(0.0));
    }

    #[test]
    fn a_disk_fills_steadily() {
        let used = Hourly { first_hour: 0, values: (0..240).map(|h| 50.0 + f64::from(h) * 0.1).collect() };
        let found = runway(&resource(Kind::Fills, used.clone(), Some(125.0)), None).unwrap();
        assert!((found.hours.unwrap() - (100.0 - 73.9) / 0.1).abs() < 1.0, "{found:?}");
        assert!((found.weekly - 16.8).abs() < 0.01);
        let short = Hourly { first_hour: 0, values: used.values[..50].to_vec() };
        assert_eq!(runway(&resource(Kind::Fills, short, Some(125.0)), None), None);
    }

    #[test]
    fn requests_explain_a_use() {
        let traffic = load_of(1.02, 4);
        let used = Hourly {
            first_hour: 0,
            values: traffic
                .values
                .iter()
                .enumerate()
                .map(|(n, x)| 0.1 + 0.002 * x + (n % 3) as f64 * 1e-5)
                .collect(),
        };
        let cost = cost_per_request(&used, &traffic).unwrap();
        assert!((cost.per_request - 0.002).abs() < 1e-4 && (cost.fixed - 0.1).abs() < 1e-3, "{cost:?}");
        assert!(cost.explained > 0.99);
        let still = Hourly { first_hour: 0, values: vec![1.0; 100] };
        assert_eq!(cost_per_request(&still, &still), None);
    }
}
