//! `bastide logs`: process logs, requests, events.

mod search;

use crate::Outcome;
use crate::args::{Global, Logs, LogsCommand};
use crate::events;
use crate::lines::{self, Follow};
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use control::paths::Paths;
use role::Fault;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How often a followed log is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What a log's lines are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Process,
    Access,
    Events,
}

#[derive(Debug)]
struct Log {
    name: String,
    path: PathBuf,
    kind: Kind,
}

pub(crate) fn run(args: &Logs, global: &Global, terminal: &Terminal) -> Outcome {
    if let Some(LogsCommand::Search(search)) = &args.command {
        return search::run(search, global, terminal);
    }
    let paths = target::find(global, args.site.file.as_deref())?;
    let logs = chosen(args, &paths)?;
    let several = logs.len() > 1;
    let count = args.lines.map_or(if several { 10 } else { 50 }, |n| n as usize);
    let names = logs.iter().map(|log| log.name.len()).max().unwrap_or(0);
    let print = |log: &Log, lines: Vec<Vec<u8>>| {
        for line in lines {
            let text = shown(log, &String::from_utf8_lossy(&line), terminal);
            match several && !terminal.json {
                true => terminal.line(format!(
                    "{} {text}",
                    terminal.paint(Style::Dim, format!("{:<names$} │", log.name))
                )),
                false => terminal.line(text),
            }
        }
    };
    if !args.follow {
        for log in &logs {
            print(log, lines::last(&log.path, count).map_err(|e| events::cannot_read(&log.path, &e))?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut followed = Vec::new();
    for log in &logs {
        let (follow, lines) =
            Follow::begin(&log.path, count).map_err(|e| events::cannot_read(&log.path, &e))?;
        print(log, lines);
        followed.push(follow);
    }
    // Ends with Ctrl-C, or when nobody reads any more.
    while terminal.is_read() {
        for (log, follow) in logs.iter().zip(&mut followed) {
            print(log, follow.more().map_err(|e| events::cannot_read(&log.path, &e))?);
        }
        std::thread::sleep(LOOK);
    }
    Ok(ExitCode::SUCCESS)
}

fn chosen(args: &Logs, paths: &Paths) -> Result<Vec<Log>, Fault> {
    let one = |name: &str, path: PathBuf, kind: Kind| {
        if !path.exists() && !args.follow {
            return Err(Fault::new(format!("there is no `{}`", path.display()))
                .hint("it begins with the first line; `--follow` waits for it"));
        }
        Ok(vec![Log { name: name.to_owned(), path, kind }])
    };
    if args.access {
        return one("access", events::access_log(paths), Kind::Access);
    }
    if args.events {
        return one("events", events::event_log(paths), Kind::Events);
    }
    let all = process_logs(paths)?;
    let Some(wanted) = &args.process else { return Ok(all) };
    let flat = wanted.replace('/', "-");
    if let Some(exact) = all.iter().position(|log| log.name == flat) {
        return Ok(all
            .into_iter()
            .skip(exact)
            .take(1)
            .map(|log| Log { name: wanted.clone(), ..log })
            .collect());
    }
    let names = all.iter().map(|log| log.name.clone()).collect::<Vec<_>>().join(", ");
    let of_group = |log: &Log| {
        log.name
            .strip_prefix(&flat)
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    let group: Vec<Log> = all.into_iter().filter(of_group).collect();
    if group.is_empty() {
        return Err(Fault::new(format!("there is no log of a process `{}`", escape(wanted)))
            .hint(format!("there are: {names}; requests are in `--access`, events in `--events`")));
    }
    Ok(group)
}

/// All process logs, by name. `app/1` is `app-1.log`.
fn process_logs(paths: &Paths) -> Result<Vec<Log>, Fault> {
    let folder = paths.logs();
    let entries = std::fs::read_dir(&folder).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Fault::new(format!("site `{}` has no logs yet", paths.site)).hint("`bastide up FILE` starts it")
        }
        _ => events::cannot_read(&folder, &error),
    })?;
    let mut logs: Vec<Log> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_str()?.strip_suffix(".log")?.to_owned();
            Some(Log { name, path: entry.path(), kind: Kind::Process })
        })
        .collect();
    logs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(logs)
}

/// A line as it is printed: raw JSON for programs, a readable one for people.
fn shown(log: &Log, line: &str, terminal: &Terminal) -> String {
    if log.kind == Kind::Process {
        return match terminal.json {
            true => json!({ "process": log.name, "line": line }).to_string(),
            false => process_line(line, terminal),
        };
    }
    // Control characters in JSON are escaped already, unless the line is damaged.
    if terminal.json {
        return match serde_json::from_str::<Value>(line) {
            Ok(_) => line.to_owned(),
            Err(_) => json!({ "damaged": line }).to_string(),
        };
    }
    let now_ms = sys::clock::now_ms();
    match serde_json::from_str::<Value>(line) {
        Ok(value) if log.kind == Kind::Access => events::request_line(&value, now_ms, terminal),
        Ok(value) => events::event_line(&value, now_ms, terminal),
        Err(_) => terminal.paint(Style::Warn, format!("(damaged) {}", escape(line))),
    }
}

/// What a process wrote. A line of JSON is made readable: time, level and message
/// first, whatever the program calls them, then the rest.
fn process_line(line: &str, terminal: &Terminal) -> String {
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(line) else {
        let style = [
            ("PANIC:", Style::Bad),
            ("FATAL:", Style::Bad),
            ("ERROR", Style::Bad),
            ("panicked at", Style::Bad),
            ("WARN", Style::Warn),
        ];
        let found = style.iter().find(|(word, _)| line.contains(word));
        let text = escape(&line.replace('\t', "    "));
        return found.map_or(text.clone(), |(_, style)| terminal.paint(*style, text));
    };
    const FIRST: [&[&str]; 3] =
        [&["time", "timestamp", "ts", "@timestamp"], &["level", "severity", "lvl"], &["message", "msg"]];
    let plain = |value: &Value| match value {
        Value::String(text) => escape(text),
        other => other.to_string(),
    };
    let mut parts = Vec::new();
    let mut used = Vec::new();
    for names in FIRST {
        if let Some((name, value)) = names.iter().find_map(|n| map.get_key_value(*n)) {
            parts.push(plain(value));
            used.push(name.as_str());
        }
    }
    let rest = map.iter().filter(|(name, _)| !used.contains(&name.as_str()));
    parts.extend(
        rest.map(|(name, value)| terminal.paint(Style::Dim, format!("{}={}", escape(name), plain(value)))),
    );
    parts.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;

    #[test]
    fn process_lines_are_readable_and_harmless() {
        let terminal = Terminal::new(Color::Never, false);
        let cases = [
            ("plain \u{1b}[2J text", "plain \\u{1b}[2J text"),
            (r#"{"level":"info","msg":"hi\u001b","n":1,"time":"12:00"}"#, "12:00 info hi\\u{1b} n=1"),
            ("[1, 2]", "[1, 2]"),
            ("", ""),
        ];
        for (line, expected) in cases {
            assert_eq!(process_line(line, &terminal), expected);
        }
    }
}
