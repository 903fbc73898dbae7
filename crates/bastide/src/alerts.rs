//! `bastide alerts`: what fires, what is about to, and with `--all` every rule.

use crate::Outcome;
use crate::args::{Alerts, Global};
use crate::ask::Monitor;
use crate::events::{labels, text};
use crate::show::{self, Table};
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use monitor_alert::api::time_ms;
use role::client::Admin;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Thirty days of an expression are evaluated.
const BACKTEST: Duration = Duration::from_secs(75);

pub(crate) fn run(args: &Alerts, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    if let Some(name) = &args.name {
        let days = args.days.to_string();
        let shown = crate::runtime()?.block_on(async {
            let form = [("name", name.as_str()), ("days", days.as_str())];
            Monitor::find(&paths, BACKTEST).await?.bastide("alert", &form).await
        })?;
        look_back(&shown, args.days, terminal);
        return Ok(ExitCode::SUCCESS);
    }
    let (rules, told) = crate::runtime()?.block_on(async {
        let rules = Monitor::find(&paths, PATIENCE).await?.prometheus("rules", &[("type", "alert")]).await?;
        // Whether people hear of them; a monitor of an older version does not say.
        let told = Admin::new(&paths.socket("monitor")).timeout(PATIENCE).get("/alerts").await;
        Ok::<_, role::Fault>((rules, told.unwrap_or_default()))
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
            if let Some(why) = unheard(alert, &told) {
                terminal.line(format!("         {}", terminal.paint(Style::Dim, why)));
            }
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

/// Why nobody is told of an alert, where that is so.
fn unheard(alert: &Value, told: &Value) -> Option<String> {
    // Told with the labels of the site, too.
    let own = alert["labels"].as_object()?;
    let fits = |other: &&Value| own.iter().all(|(name, value)| other["labels"][name] == *value);
    let same = told.as_array()?.iter().find(fits)?;
    let status = &same["status"];
    if let Some(id) = status["silencedBy"][0].as_str() {
        return Some(escape(&format!("silenced: `bastide silence expire {id}` ends it")));
    }
    let inhibited = status["inhibitedBy"].as_array().is_some_and(|by| !by.is_empty());
    inhibited.then(|| "not told: another alert that fires explains it".to_owned())
}

/// One alert: when it fires, and what it would have fired.
fn look_back(shown: &Value, days: u16, terminal: &Terminal) {
    if terminal.json {
        terminal.print_json(shown);
        return;
    }
    let hold_s = shown["duration"].as_f64().unwrap_or_default();
    let held =
        if hold_s > 0.0 { format!(" for {}", show::span((hold_s * 1e3) as u64)) } else { String::new() };
    let threshold = &shown["threshold"];
    terminal.line(format!("{}  fires when", terminal.paint(Style::Bold, text(shown, "name"))));
    match threshold["value"].as_f64() {
        Some(value) => terminal.line(format!(
            "  {} {} {}{held}",
            text(threshold, "series"),
            text(threshold, "operator"),
            show::number(value)
        )),
        None => terminal.line(format!("  {}{held}", text(shown, "query"))),
    }
    let firing: Vec<&Value> = shown["firing"].as_array().into_iter().flatten().collect();
    let step_s = shown["step"].as_f64().unwrap_or_default();
    if firing.is_empty() {
        terminal.note(format!("it would have fired never in the last {days} days"));
    } else {
        terminal.line(format!("it would have fired {} times in the last {days} days:", firing.len()));
        let now_ms = sys::clock::now_ms();
        let at = |value: &Value| value.as_str().and_then(|t| time_ms(t).ok().flatten());
        let mut table = Table::new(&["from", ">for", "which"]);
        for one in &firing {
            let from = at(&one["firedAt"]).unwrap_or_default();
            let until = at(&one["resolvedAt"]);
            let length = show::span(until.unwrap_or(now_ms).saturating_sub(from));
            let still = if until.is_none() { " (still)" } else { "" };
            table.row([
                show::time(from, now_ms),
                format!("{length}{still}"),
                labels(&one["labels"], &["__name__"]),
            ]);
        }
        table.print(terminal);
    }
    terminal.note(format!(
        "looked at every {}; what was shorter may be missing",
        show::span((step_s * 1e3) as u64)
    ));
    for note in ["warnings", "infos"].iter().filter_map(|n| shown[*n].as_array()).flatten() {
        terminal.warn(escape(note.as_str().unwrap_or_default()));
    }
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
