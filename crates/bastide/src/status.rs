//! `bastide status`: the drawing of the line, with how each part fares.

use crate::Outcome;
use crate::args::{Global, Status};
use crate::ask::Monitor;
use crate::show;
use crate::target;
use crate::terminal::{FAILED, OK, Style, Terminal, escape};
use crate::top;
use control::paths::Paths;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// How long the drawing waits for the monitor's numbers.
const SOON: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Status, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.file.as_deref())?;
    let admin = target::control(&paths).timeout(Duration::from_secs(10));
    let (answer, now) = crate::runtime()?.block_on(async { tokio::join!(admin.get("/site"), now(&paths)) });
    let status = match answer {
        Ok(mut status) => {
            status["now"] = now;
            status
        }
        Err(error) => {
            if terminal.json {
                terminal
                    .print_json(&json!({ "site": paths.site, "ready": false, "error": error.to_string() }));
            }
            return Err(target::explain(&paths, error));
        }
    };
    if terminal.json {
        terminal.print_json(&status);
    } else {
        draw(&status, terminal);
    }
    Ok(ExitCode::from(if status["ready"] == true { OK } else { FAILED }))
}

/// How the site fares, as the monitor's recordings say; null where it does not
/// answer quickly: nothing waits for it.
async fn now(paths: &Paths) -> Value {
    let asked = async {
        let monitor = Monitor::find(paths, SOON).await.ok()?;
        let (qps, errors, p99) = tokio::join!(
            monitor.value("site:qps"),
            monitor.value("site:errors:ratio"),
            monitor.value("site:latency:p99")
        );
        Some(json!({ "qps": qps, "error_ratio": errors, "p99_seconds": p99 }))
    };
    tokio::time::timeout(SOON, asked).await.ok().flatten().unwrap_or_default()
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn draw(status: &Value, terminal: &Terminal) {
    let revision = format!("r{}", status["revision"]["id"]);
    let ready = status["ready"] == true;
    let word =
        if ready { terminal.paint(Style::Good, "ready") } else { terminal.paint(Style::Bad, "not ready") };
    terminal.line(format!(
        "{}  {word}  {revision}  {}",
        terminal.paint(Style::Bold, text(&status["site"])),
        text(&status["urls"]["site"])
    ));
    terminal.line("");
    let line = &status["line"];
    let up = |good: bool, word: &str| mark(terminal, good, word);

    row(terminal, "clients", &clients(status, terminal));
    arrow(terminal);
    let bans = match status["bans"].as_u64() {
        Some(0) | None => "no bans".to_owned(),
        Some(1) => "1 ban".to_owned(),
        Some(n) => format!("{n} bans"),
    };
    let firewall = if line["firewall"] == true {
        "kernel policy applied"
    } else {
        "not applied here (`[firewall] apply`)"
    };
    row(terminal, "firewall", &format!("{firewall}, {bans}"));
    arrow(terminal);
    let waf = line["waf"].as_str().map_or("no WAF".to_owned(), |mode| format!("WAF {mode}"));
    row(terminal, "edge", &format!("{}  TLS, HTTP, routes, {waf}", process(terminal, status, "edge")));
    for pool in list(&status["edge"]["pools"]) {
        arrow(terminal);
        row(terminal, &text(&pool["name"]), "");
        for server in list(&pool["servers"]) {
            let good = server["up"] == true;
            let why = if good { String::new() } else { format!("  {}", text(&server["why"])) };
            let name = text(&server["name"]);
            terminal.line(format!(
                "    {} {name:<14} {:<22} {} in flight{why}",
                up(good, if good { "up" } else { "down" }),
                text(&server["address"]),
                count(&server["in_flight"])
            ));
        }
    }
    for database in list(&status["database"]["databases"]) {
        arrow(terminal);
        row(
            terminal,
            &format!("database {}", text(&database["name"])),
            &format!("{} clients", count(&database["clients"])),
        );
        for member in list(&database["members"]) {
            let good = member["up"] == true;
            let lag =
                member["lag_seconds"].as_f64().map_or(String::new(), |lag| format!("  {lag:.1} s behind"));
            let spared = good && member["role"] == "replica" && member["takes"] != "reads";
            let why = match (good, spared) {
                (true, false) => String::new(),
                (true, true) => terminal.paint(Style::Warn, format!("  no reads: {}", text(&member["why"]))),
                (false, _) => format!("  {}", text(&member["why"])),
            };
            terminal.line(format!(
                "    {} {:<14} {:<22} {}{lag}{why}",
                up(good, if good { "up" } else { "down" }),
                text(&member["name"]),
                text(&member["address"]),
                text(&member["role"])
            ));
        }
    }
    terminal.line("");
    let firing = top::firing(status);
    let pending = list(&status["monitor"]["alerts"]).iter().filter(|a| a["state"] == "pending").count();
    let pending = if pending > 0 { format!(", {pending} pending") } else { String::new() };
    let alerts = match firing.len() {
        0 => terminal.paint(Style::Good, format!("no alert fires{pending}")),
        n => terminal.paint(Style::Bad, format!("{n} firing: {}{pending}", firing.join(", "))),
    };
    row(
        terminal,
        "monitor",
        &format!("{}  {alerts}  {}", process(terminal, status, "monitor"), text(&status["urls"]["page"])),
    );
    for why in list(&status["waiting_for"]) {
        terminal.line(format!("  {} {}", terminal.paint(Style::Warn, "waiting for"), text(why)));
    }
    if let Some(trouble) = status["trouble"].as_str() {
        let lines: Vec<String> = trouble.lines().map(escape).collect();
        terminal.line(format!("  {} {}", terminal.paint(Style::Bad, "trouble"), lines.join("\n  ")));
    }
}

/// Connections, and the golden signals where the monitor tells.
fn clients(status: &Value, terminal: &Terminal) -> String {
    let mut parts = Vec::new();
    if let Some(qps) = status["now"]["qps"].as_f64() {
        parts.push(format!("{} requests/s", show::number(qps)));
    }
    if let Some(ratio) = status["now"]["error_ratio"].as_f64() {
        let style = if ratio >= 0.01 { Style::Bad } else { Style::Good };
        parts.push(terminal.paint(style, format!("{} errors", show::percent(ratio))));
    }
    if let Some(p99) = status["now"]["p99_seconds"].as_f64() {
        parts.push(format!("p99 {}", show::seconds(p99)));
    }
    parts.push(format!("{} connections", count(&status["edge"]["connections"])));
    parts.join("  ")
}

fn row(terminal: &Terminal, what: &str, detail: &str) {
    terminal.line(format!("  {} {detail}", terminal.paint(Style::Bold, format!("{what:<16}"))).trim_end());
}

fn arrow(terminal: &Terminal) {
    terminal.line(terminal.paint(Style::Dim, "    │"));
}

fn mark(terminal: &Terminal, good: bool, word: &str) -> String {
    let (style, sign) = if good { (Style::Good, "●") } else { (Style::Bad, "○") };
    terminal.paint(style, format!("{sign} {word:<4}"))
}

pub(crate) fn count(value: &Value) -> String {
    match value {
        Value::Number(n) => format!("{:.0}", n.as_f64().unwrap_or_default()),
        Value::Object(map) => map.values().filter_map(Value::as_u64).sum::<u64>().to_string(),
        _ => "0".to_owned(),
    }
}

fn process(terminal: &Terminal, status: &Value, name: &str) -> String {
    if status["processes"].is_null() {
        return terminal.paint(Style::Warn, "? unknown");
    }
    let found = list(&status["processes"]).iter().find(|p| p["name"] == name);
    let running = found.is_some_and(|p| p["state"] == "running");
    mark(terminal, running, if running { "up" } else { "down" })
}
