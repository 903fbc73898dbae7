//! `bastide status`: the drawing of the line, with how each part fares.

use crate::Outcome;
use crate::args::{Global, Status};
use crate::target;
use crate::terminal::{FAILED, OK, Style, Terminal, escape};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

pub(crate) fn run(args: &Status, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.file.as_deref())?;
    let admin = target::control(&paths).timeout(Duration::from_secs(10));
    let answer = crate::runtime()?.block_on(admin.get("/site"));
    let status = match answer {
        Ok(status) => status,
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

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => escape(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> &[Value] {
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

    row(terminal, "clients", &format!("{} connections", count(&status["edge"]["connections"])));
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
            let why = if good { String::new() } else { format!("  {}", text(&member["why"])) };
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
    let firing = list(&status["monitor"]["firing"]);
    let alerts = match firing.len() {
        0 => terminal.paint(Style::Good, "no alert fires"),
        n => terminal.paint(
            Style::Bad,
            format!("{n} alerts fire: {}", firing.iter().map(text).collect::<Vec<_>>().join(", ")),
        ),
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
        terminal.line(format!("  {} {}", terminal.paint(Style::Bad, "trouble"), escape(trouble)));
    }
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

fn count(value: &Value) -> String {
    match value {
        Value::Number(n) => n.to_string(),
        Value::Object(map) => map.values().filter_map(Value::as_u64).sum::<u64>().to_string(),
        _ => "0".to_owned(),
    }
}

fn process(terminal: &Terminal, status: &Value, name: &str) -> String {
    let found = list(&status["processes"]).iter().find(|p| p["name"] == name);
    let running = found.is_some_and(|p| p["state"] == "running");
    mark(terminal, running, if running { "up" } else { "down" })
}
