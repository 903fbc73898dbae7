//! `bastide query`: PromQL on the site's own metrics.

use crate::Outcome;
use crate::args::{Global, Query};
use crate::ask::Monitor;
use crate::events::labels;
use crate::show::{self, Table};
use crate::target;
use crate::terminal::{Terminal, escape};
use base::Millis;
use role::Fault;
use serde_json::Value;
use std::process::ExitCode;
use std::time::Duration;

/// Longer than the monitor lets a query take.
const PATIENCE: Duration = Duration::from_secs(150);
/// Places of a chart.
const CHART: usize = 48;
/// Points that the monitor gives of one series (Prometheus' own limit).
const MAX_POINTS: u64 = 11_000;

pub(crate) fn run(args: &Query, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let answer = crate::runtime()?.block_on(async {
        let monitor = Monitor::find(&paths, PATIENCE).await?;
        match args.range {
            None => monitor.answer("query", &[("query", &args.expr)]).await,
            Some(range) => {
                let (start, end, step) = span(range, args.step, sys::clock::now_ms())?;
                let form = [("query", args.expr.as_str()), ("start", &start), ("end", &end), ("step", &step)];
                monitor.answer("query_range", &form).await
            }
        }
    })?;
    if terminal.json {
        terminal.print_json(&answer);
        return Ok(ExitCode::SUCCESS);
    }
    for key in ["warnings", "infos"] {
        for note in answer[key].as_array().into_iter().flatten().filter_map(Value::as_str) {
            terminal.warn(escape(note));
        }
    }
    print(&answer["data"], terminal);
    Ok(ExitCode::SUCCESS)
}

/// Start, end and step as the API takes them.
fn span(range: Millis, step: Option<Millis>, now_ms: u64) -> Result<(String, String, String), Fault> {
    let step = step.unwrap_or(Millis((range.0 / 60).max(1_000)));
    if range.0 / step.0 > MAX_POINTS {
        return Err(Fault::new(format!(
            "`--range {range} --step {step}` are {} points a series",
            range.0 / step.0
        ))
        .hint(format!("{MAX_POINTS} are given at most: choose a longer step")));
    }
    let at = |ms: u64| format!("{:.3}", ms as f64 / 1e3);
    Ok((at(now_ms.saturating_sub(range.0)), at(now_ms), format!("{:.3}", step.as_secs_f64())))
}

fn print(data: &Value, terminal: &Terminal) {
    let result = &data["result"];
    let value = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match data["resultType"].as_str() {
        Some("scalar") => terminal.line(value(&result[1])),
        Some("string") => terminal.line(escape(&value(&result[1]))),
        Some("matrix") => matrix(result, terminal),
        _ => {
            let mut table = Table::new(&["series", ">value"]);
            for sample in result.as_array().into_iter().flatten() {
                table.row([series(&sample["metric"]), value(&sample["value"][1])]);
            }
            match table.is_empty() {
                true => terminal.note("no series"),
                false => table.print(terminal),
            }
        }
    }
}

fn matrix(result: &Value, terminal: &Terminal) {
    let mut table = Table::new(&["series", "chart, from zero", ">min", ">max", ">last"]);
    for found in result.as_array().into_iter().flatten() {
        let points = found["values"].as_array().map_or(&[][..], Vec::as_slice);
        let values: Vec<Option<f64>> =
            points.iter().map(|p| p[1].as_str().and_then(|v| v.parse().ok())).collect();
        let finite = || values.iter().flatten().copied().filter(|v| v.is_finite());
        let number = |value: Option<f64>| value.map_or("-".to_owned(), show::number);
        table.row([
            series(&found["metric"]),
            show::sparkline(&values, CHART),
            number(finite().reduce(f64::min)),
            number(finite().reduce(f64::max)),
            number(values.iter().flatten().last().copied()),
        ]);
    }
    match table.is_empty() {
        true => terminal.note("no series"),
        false => table.print(terminal),
    }
}

/// `name a=b c=d`, or `{}` for a series without labels.
fn series(metric: &Value) -> String {
    let name = metric["__name__"].as_str().map(escape);
    let rest = labels(metric, &["__name__"]);
    match (name, rest.is_empty()) {
        (Some(name), true) => name,
        (Some(name), false) => format!("{name} {rest}"),
        (None, true) => "{}".to_owned(),
        (None, false) => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ranges_become_seconds_and_are_bounded() {
        let made = span(Millis(3_600_000), None, 10_000_000).unwrap();
        assert_eq!(made, ("6400.000".into(), "10000.000".into(), "60.000".into()));
        assert!(span(Millis(864_000_000), Some(Millis(1_000)), 0).is_err());
    }

    #[test]
    fn series_have_names() {
        assert_eq!(series(&json!({"__name__": "up", "job": "a"})), "up job=a");
        assert_eq!(series(&json!({})), "{}");
        assert_eq!(series(&json!({"job": "\u{1b}"})), "job=\\u{1b}");
    }
}
