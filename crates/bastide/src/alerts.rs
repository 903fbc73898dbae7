//! `bastide alerts`: what fires, what is about to, and with `--all` every rule.

use crate::Outcome;
use crate::args::{Alerts, Global};
use crate::ask::Monitor;
use crate::events::{labels, text};
use crate::show::{self, Table};
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Alerts, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let rules = crate::runtime()?.block_on(async {
        Monitor::find(&paths, PATIENCE).await?.prometheus("rules", &[("type", "alert")]).await
    })?;
    let groups = rules["groups"].as_array().into_iter().flatten();
    let rules: Vec<&Value> = groups.filter_map(|g| g["rules"].as_array()).flatten().collect();
    let active: Vec<&Value> = rules.iter().filter_map(|r| r["alerts"].as_array()).flatten().collect();
    if terminal.json {
        match args.all {
            true => terminal.print_json(&json!({ "rules": rules })),
            false => terminal.print_json(&json!({ "alerts": active })),
        }
        return Ok(ExitCode::SUCCESS);
    }
    if args.all {
        all(&rules, terminal);
    } else {
        for alert in &active {
            print(alert, terminal);
        }
        if active.is_empty() {
            terminal.note(format!(
                "no alert fires or is pending; {} rules watch (`--all` lists them)",
                rules.len()
            ));
        }
    }
    for rule in rules.iter().filter(|rule| rule["health"] == "err") {
        terminal.warn(format!(
            "rule `{}` cannot be evaluated: {}",
            text(rule, "name"),
            text(rule, "lastError")
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn style(state: &str) -> Style {
    match state {
        "firing" => Style::Bad,
        "pending" => Style::Warn,
        _ => Style::Good,
    }
}

/// One alert with what it means and what to do.
pub(crate) fn print(alert: &Value, terminal: &Terminal) {
    let state = text(alert, "state");
    let name = text(&alert["labels"], "alertname");
    let value = alert["value"].as_str().and_then(|v| v.parse::<f64>().ok());
    let since = alert["activeAt"].as_str().unwrap_or_default();
    terminal.line(format!(
        "{} {}  since {}{}",
        terminal.paint(style(&state), format!("{state:<8}")),
        terminal.paint(Style::Bold, name),
        escape(since.split('.').next().unwrap_or_default().trim_end_matches('Z').replace('T', " ").as_str())
            + "Z",
        value.map_or(String::new(), |v| format!(", value {}", show::number(v))),
    ));
    let told = &alert["annotations"];
    for key in ["summary", "description", "action"] {
        if let Some(said) = told[key].as_str() {
            for line in show::wrap(&escape(said), 70) {
                terminal.line(format!("         {line}"));
            }
        }
    }
    let which = labels(&alert["labels"], &["alertname"]);
    if !which.is_empty() {
        terminal.line(format!("         {}", terminal.paint(Style::Dim, which)));
    }
}

fn all(rules: &[&Value], terminal: &Terminal) {
    let mut table = Table::new(&["state", "rule", "severity", ">for", "fires when"]);
    for rule in rules {
        let state = text(rule, "state");
        let hold = rule["duration"].as_f64().unwrap_or_default();
        table.row([
            terminal.paint(style(&state), &state),
            text(rule, "name"),
            text(&rule["labels"], "severity"),
            if hold > 0.0 { show::span((hold * 1e3) as u64) } else { "at once".to_owned() },
            text(rule, "query"),
        ]);
    }
    let room = terminal.columns().unwrap_or(usize::MAX);
    for line in table.lines(terminal) {
        terminal.line(show::clip(&line, room));
    }
}
