//! `bastide logs search`: requests among the lines that the monitor keeps.

use crate::Outcome;
use crate::args::{Global, LogsSearch};
use crate::ask::Monitor;
use crate::events;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use role::Fault;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

/// Longer than the monitor lets a search take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Lines asked for at once, at most: what the monitor gives.
const PAGE: u32 = 5_000;

/// Searches that follow one another where the monitor stopped for lack of time.
const MAX_PAGES: u32 = 200;

pub(crate) fn run(args: &LogsSearch, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let mut form = form(args, sys::clock::now_ms());
    let (mut lines, mut damage, mut complete) = (Vec::new(), Vec::new(), false);
    crate::runtime()?.block_on(async {
        let monitor = Monitor::find(&paths, PATIENCE).await?;
        for _ in 0..MAX_PAGES {
            let left = args.lines - lines.len() as u32;
            form.retain(|(name, _)| *name != "limit");
            form.push(("limit", left.min(PAGE).to_string()));
            let borrowed: Vec<(&str, &str)> = form.iter().map(|(n, v)| (*n, v.as_str())).collect();
            let answer = monitor.bastide("logs", &borrowed).await?;
            let data = &answer["data"];
            lines.extend(data["lines"].as_array().into_iter().flatten().cloned());
            damage.extend(data["damage"].as_array().into_iter().flatten().cloned());
            complete = data["complete"] == true;
            if complete || lines.len() >= args.lines as usize {
                break;
            }
            form.retain(|(name, _)| *name != "from");
            form.push(("from", data["next"].to_string()));
        }
        Ok::<(), Fault>(())
    })?;
    if terminal.json {
        terminal.print_json(&json!({ "lines": lines, "complete": complete, "damage": damage }));
        return Ok(ExitCode::SUCCESS);
    }
    print(&lines, args, terminal);
    for what in damage.iter().filter_map(Value::as_str) {
        terminal.warn(format!("some lines cannot be read: {}", escape(what)));
    }
    if lines.is_empty() {
        terminal.note("no line is kept of which this is true");
    } else if !complete {
        terminal
            .note(format!("there may be older ones: `--lines {}` shows more", args.lines.saturating_mul(10)));
    }
    Ok(ExitCode::SUCCESS)
}

fn form(args: &LogsSearch, now_ms: u64) -> Vec<(&'static str, String)> {
    let mut form = Vec::new();
    let mut give = |name, value: Option<String>| form.extend(value.map(|value| (name, value)));
    give(if args.regex { "regex" } else { "query" }, args.text.clone());
    give("ignore_case", args.ignore_case.then(|| "1".to_owned()));
    let since = args.since.map(|since| format!("{:.3}", now_ms.saturating_sub(since.0) as f64 / 1e3));
    give("start", since.or_else(|| args.start.clone()));
    give("end", args.end.clone());
    give("status", args.status.clone());
    give("host", args.host.clone());
    give("ip", args.ip.clone());
    give("method", args.method.clone());
    give("route", args.route.clone());
    give("min_seconds", args.slower.map(|least| least.as_secs_f64().to_string()));
    for log in &args.log {
        give("log", Some(log.clone()));
    }
    form
}

/// The oldest first, as everywhere on a terminal.
fn print(lines: &[Value], args: &LogsSearch, terminal: &Terminal) {
    let now_ms = sys::clock::now_ms();
    let several = lines.iter().any(|line| line["log"] != lines[0]["log"]) && args.log.len() != 1;
    for line in lines.iter().rev() {
        let text = line["line"].as_str().unwrap_or_default();
        // Our own lines are JSON, and shown as `--access` shows them.
        let shown = match serde_json::from_str::<Value>(text) {
            Ok(value) if value["at_ms"].is_u64() && value["status"].is_u64() => {
                events::request_line(&value, now_ms, terminal)
            }
            _ => escape(text),
        };
        match several {
            true => {
                let log = terminal.paint(Style::Dim, escape(line["log"].as_str().unwrap_or_default()));
                terminal.line(format!("{log} {shown}"));
            }
            false => terminal.line(shown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Args, Command, LogsCommand};
    use clap::Parser;

    fn search(args: &[&str]) -> LogsSearch {
        let args = ["bastide", "logs", "search"].iter().chain(args);
        match Args::try_parse_from(args).unwrap().command {
            Command::Logs(logs) => match logs.command {
                Some(LogsCommand::Search(search)) => search,
                None => panic!("`search` was taken for a process"),
            },
            _ => panic!("another command"),
        }
    }

    #[test]
    fn options_become_parameters() {
        let args = search(&[
            "needle", "-i", "--status", "5xx", "--since", "1h", "--slower", "250ms", "--log", "edge",
        ]);
        assert_eq!(
            form(&args, 10_000_000),
            [
                ("query", "needle".to_owned()),
                ("ignore_case", "1".to_owned()),
                ("start", "6400.000".to_owned()),
                ("status", "5xx".to_owned()),
                ("min_seconds", "0.25".to_owned()),
                ("log", "edge".to_owned()),
            ]
        );
        assert_eq!(form(&search(&["-e", "a.b"]), 0), [("regex", "a.b".to_owned())]);
        assert!(form(&search(&[]), 0).is_empty());
        let plain = Args::try_parse_from(["bastide", "logs", "app/1"]).unwrap();
        assert!(matches!(plain.command, Command::Logs(logs) if logs.process.as_deref() == Some("app/1")));
    }
}
