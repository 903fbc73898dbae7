//! The answer in words.

use crate::hourly::{HOUR_MS, Hourly, WEEK_HOURS};
use crate::runway::{Cost, Kind, Resource, Runway, Unit, cost_per_request, runway};
use serde::Serialize;

/// What runs out first, when, and why one may believe it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// Each resource with a known ceiling and enough history, the first to run out first.
    pub findings: Vec<Finding>,
    /// What nothing could be said about, with the reason.
    pub silent: Vec<String>,
    /// Growth of requests from week to week, 1.05 is 5 % more; none where there are too few weeks.
    pub weekly_growth: Option<f64>,
    /// All of it in sentences.
    pub text: String,
}

/// One resource's end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// The resource.
    pub resource: String,
    /// What is counted.
    pub unit: Unit,
    /// The day on which it runs out, `2027-01-11`; none where that is not in sight.
    pub on: Option<String>,
    /// The earliest day, with 80 %.
    pub earliest: Option<String>,
    /// The latest day, with 80 %; none where it may never happen.
    pub latest: Option<String>,
    /// The highest use of the last week, or what is used now.
    pub used: f64,
    /// What there is.
    pub ceiling: f64,
    /// What can be used of it.
    pub bearable: f64,
    /// A ratio for a load, an amount for what fills.
    pub weekly: f64,
    /// What a request costs, where requests explain the use.
    pub cost: Option<Cost>,
    /// The day on which it would run out with one server more.
    pub with_another_server: Option<String>,
    /// In a sentence or three.
    pub text: String,
}

/// Requests explain a use from here on.
const EXPLAINS: f64 = 0.5;

/// Says which resource runs out first. `now_ms` in Unix milliseconds; `traffic`
/// are requests a second, the highest of each hour.
pub fn answer(resources: &[Resource], traffic: &Hourly, now_ms: i64) -> Answer {
    let growth = crate::model::weekly_growth(traffic);
    let mut found: Vec<(f64, Finding)> = Vec::new();
    let mut silent = Vec::new();
    for resource in resources {
        match runway(resource, Some(traffic).filter(|_| growth.is_some())) {
            Some(way) => {
                let at = way.hours.unwrap_or(f64::INFINITY);
                found.push((at, finding(resource, &way, traffic, now_ms)));
            }
            None if resource.ceiling.is_none() => {
                silent.push(format!("{}: nobody said how much there is", resource.name));
            }
            None => {
                let days = resource.used.known() / 24;
                silent.push(format!("{}: {days} days of history are too few", resource.name));
            }
        }
    }
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    let findings: Vec<Finding> = found.into_iter().map(|(_, finding)| finding).collect();
    let text = text(&findings, &silent, growth.as_ref().map(|(g, _)| *g));
    Answer { findings, silent, weekly_growth: growth.map(|(growth, _)| growth), text }
}

fn text(findings: &[Finding], silent: &[String], growth: Option<f64>) -> String {
    let mut lines = Vec::new();
    match findings.first() {
        Some(first) if first.on.is_some() => lines.push(format!("{} runs out first.", first.resource)),
        Some(_) => lines.push("nothing runs out within two years.".to_owned()),
        None => lines.push("nothing can be said yet.".to_owned()),
    }
    lines.push(match growth {
        Some(growth) => format!("traffic: {} a week", percent(growth)),
        None => "traffic: fewer than four weeks are known; growth needs as many".to_owned(),
    });
    lines.extend(findings.iter().map(|finding| finding.text.clone()));
    lines.extend(silent.iter().map(|what| format!("silent about {what}")));
    lines.join("\n")
}

fn finding(resource: &Resource, way: &Runway, traffic: &Hourly, now_ms: i64) -> Finding {
    let day = |hours: f64| day_after(now_ms, hours);
    let cost = match resource.kind {
        Kind::Load => cost_per_request(&resource.used, traffic).filter(|cost| cost.explained >= EXPLAINS),
        Kind::Fills => None,
    };
    let ceiling = resource.ceiling.unwrap_or_default();
    let more = another_server(resource, way, traffic)
        .map(|hours| hours.map_or_else(|| "beyond two years".to_owned(), |h| day(h).unwrap_or_default()));
    let mut finding = Finding {
        resource: resource.name.clone(),
        unit: resource.unit,
        on: way.hours.and_then(day),
        earliest: way.hours.and_then(|_| day(way.between.start)),
        latest: way.hours.and_then(|_| day(way.between.end)),
        used: way.used,
        ceiling,
        bearable: way.bearable,
        weekly: way.weekly,
        cost,
        with_another_server: more,
        text: String::new(),
    };
    finding.text = sentence(resource, way, &finding);
    finding
}

/// Hours until it runs out with one server more; the outer `None` where none can
/// be added or nothing runs out as it is.
fn another_server(resource: &Resource, way: &Runway, traffic: &Hourly) -> Option<Option<f64>> {
    let servers = f64::from(resource.servers.filter(|n| *n > 0)?);
    way.hours?;
    let more =
        Resource { ceiling: resource.ceiling.map(|c| c * (servers + 1.0) / servers), ..resource.clone() };
    Some(runway(&more, Some(traffic).filter(|t| crate::model::weekly_growth(t).is_some()))?.hours)
}

fn sentence(resource: &Resource, way: &Runway, finding: &Finding) -> String {
    let unit = |value: f64| amount(value, resource.unit);
    let mut text = match (&finding.on, way.hours) {
        (Some(_), Some(0.0)) => format!("{}: used up now", resource.name),
        (Some(day), _) => {
            let latest = finding.latest.as_deref().unwrap_or("never");
            let earliest = finding.earliest.as_deref().unwrap_or("now");
            format!("{}: until {day} (80 %: {earliest} to {latest})", resource.name)
        }
        (None, _) => format!("{}: enough for two years", resource.name),
    };
    let used = unit(way.used);
    let share = resource.usable * 100.0;
    text.push_str(&match resource.kind {
        Kind::Load => format!(
            "; its busiest hour of the last week took {used} of {}, {share:.0} % of which can be borne; load grows {} a week",
            unit(finding.ceiling),
            percent(way.weekly)
        ),
        Kind::Fills => format!(
            "; {used} of {} are used, {} come in a week",
            unit(finding.ceiling),
            unit(way.weekly.max(0.0))
        ),
    });
    if let Some(cost) = &finding.cost {
        let each = match resource.unit {
            Unit::Cores => format!("{:.2} ms of CPU", cost.per_request * 1_000.0),
            _ => unit(cost.per_request),
        };
        text.push_str(&format!(
            "; a request costs {each} (requests explain {:.0} % of it)",
            cost.explained * 100.0
        ));
    }
    let days = way.history_hours / 24;
    text.push_str(&format!("; {days} days of history"));
    if let Some(day) = &finding.with_another_server {
        text.push_str(&format!("; with another server until {day}"));
    }
    text
}

/// 1.05 as `+5.0 %`.
fn percent(ratio: f64) -> String {
    format!("{:+.1} %", (ratio - 1.0) * 100.0)
}

fn amount(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Cores => format!("{value:.2} cores"),
        Unit::Connections => format!("{value:.0} connections"),
        Unit::Requests => format!("{value:.1} requests/s"),
        Unit::Bytes => bytes(value),
        Unit::Bandwidth => format!("{}/s", bytes(value)),
    }
}

fn bytes(value: f64) -> String {
    let mut value = value;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if value.abs() < 1_024.0 {
            return format!("{value:.1} {unit}");
        }
        value /= 1_024.0;
    }
    format!("{value:.1} TiB")
}

/// The day that lies so many hours after a time; `None` beyond the calendar.
fn day_after(now_ms: i64, hours: f64) -> Option<String> {
    // Ten years are as good as never.
    let ahead = (hours.is_finite() && hours < 520.0 * WEEK_HOURS as f64).then_some(hours)?;
    let at = jiff::Timestamp::from_millisecond(now_ms.checked_add((ahead * HOUR_MS as f64) as i64)?).ok()?;
    Some(at.strftime("%Y-%m-%d").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traffic() -> Hourly {
        let value = |hour: usize| {
            let day = (hour % 24) as f64 / 24.0 * std::f64::consts::TAU;
            100.0 * (1.0 - 0.8 * day.cos()) * 1.04f64.powf(hour as f64 / WEEK_HOURS as f64)
        };
        Hourly { first_hour: 490_000, values: (0..6 * WEEK_HOURS).map(value).collect() }
    }

    #[test]
    fn the_first_to_run_out_is_named_with_its_day() {
        let traffic = traffic();
        let cpu = Hourly {
            first_hour: traffic.first_hour,
            values: traffic.values.iter().map(|qps| 0.05 + qps * 0.003).collect(),
        };
        let disk = Hourly {
            first_hour: traffic.first_hour,
            values: (0..1_000).map(|h| 1e9 * f64::from(h)).collect(),
        };
        let resource = |name: &str, unit, kind, used: &Hourly, ceiling, servers| Resource {
            name: name.into(),
            unit,
            kind,
            used: used.clone(),
            ceiling,
            usable: 0.8,
            servers,
        };
        let resources = [
            resource("disk `/`", Unit::Bytes, Kind::Fills, &disk, Some(9e12), None),
            resource("CPU of pool `app`", Unit::Cores, Kind::Load, &cpu, Some(2.0), Some(2)),
            resource("the line to the world", Unit::Bandwidth, Kind::Load, &cpu, None, None),
        ];
        let now_ms = traffic.end_hour() * HOUR_MS;
        let answer = answer(&resources, &traffic, now_ms);
        assert_eq!(answer.findings[0].resource, "CPU of pool `app`");
        assert_eq!(answer.silent, ["the line to the world: nobody said how much there is"]);
        let cpu = &answer.findings[0];
        let on = cpu.on.clone().unwrap();
        assert!(cpu.with_another_server.clone().unwrap() > on, "{cpu:?}");
        assert!((cpu.cost.unwrap().per_request - 0.003).abs() < 1e-6);
        assert!((answer.weekly_growth.unwrap() - 1.04).abs() < 0.005, "{answer:?}");
        assert!(answer.text.starts_with("CPU of pool `app` runs out first.\n"), "{}", answer.text);
        assert!(answer.text.contains("3.00 ms of CPU"), "{}", answer.text);
    }

    #[test]
    fn little_history_is_said() {
        let short = Hourly { first_hour: 0, values: vec![1.0; 30] };
        let resource = Resource {
            name: "CPU".into(),
            unit: Unit::Cores,
            kind: Kind::Load,
            used: short.clone(),
            ceiling: Some(4.0),
            usable: 0.8,
            servers: None,
        };
        let answer = answer(&[resource], &short, 0);
        assert!(answer.findings.is_empty());
        assert!(answer.text.contains("nothing can be said yet"), "{}", answer.text);
        assert!(answer.text.contains("1 days of history are too few"), "{}", answer.text);
    }
}
