//! Events and requests from their logs, and each as one line for a person.
//!
//! Events are read as any JSON: a newer or older role may write kinds and fields
//! that this program does not know.

use crate::lines;
use crate::show;
use crate::terminal::{Style, Terminal, escape};
use control::paths::Paths;
use role::Fault;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The event log.
pub(crate) fn event_log(paths: &Paths) -> PathBuf {
    paths.logs().join("events.jsonl")
}

/// The access log.
pub(crate) fn access_log(paths: &Paths) -> PathBuf {
    paths.logs().join("access.jsonl")
}

/// What may be wrong with a log.
pub(crate) fn cannot_read(path: &Path, error: &std::io::Error) -> Fault {
    let fault = Fault::new(format!("cannot read `{}`: {error}", path.display()));
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => fault.hint("run it as the site's user, or as root"),
        _ => fault,
    }
}

/// The newest lines of a log that hold `needle` and are `wanted`, the newest first.
/// Only lines that hold the needle are parsed, so that large logs are read fast.
pub(crate) fn newest(
    path: &Path,
    needle: &str,
    limit: usize,
    wanted: impl Fn(&Value) -> bool,
) -> Result<Vec<Value>, Fault> {
    let mut found = Vec::new();
    let finder = memchr::memmem::Finder::new(needle.as_bytes());
    lines::backwards(path, |line| {
        if finder.find(line).is_some()
            && let Ok(value) = serde_json::from_slice::<Value>(line)
            && wanted(&value)
        {
            found.push(value);
        }
        found.len() < limit
    })
    .map_err(|e| cannot_read(path, &e))?;
    Ok(found)
}

/// A field as text, safe for a terminal.
pub(crate) fn text(value: &Value, key: &str) -> String {
    match &value[key] {
        Value::String(text) => escape(text),
        Value::Null => "-".to_owned(),
        other => escape(&other.to_string()),
    }
}

/// One event on one line, its time first.
pub(crate) fn event_line(event: &Value, now_ms: u64, terminal: &Terminal) -> String {
    let at = show::time(event["at_ms"].as_u64().unwrap_or_default(), now_ms);
    let kind = event["event"].as_str().unwrap_or("?");
    let (style, said) = describe(event, kind);
    let kind = terminal.paint(style, format!("{:<8}", short(kind)));
    format!("{} {kind} {said}", terminal.paint(Style::Dim, at))
}

fn short(kind: &str) -> String {
    match kind {
        "waf_match" => "waf".to_owned(),
        "server_health" => "server".to_owned(),
        "member_health" => "member".to_owned(),
        other => escape(other),
    }
}

fn describe(event: &Value, kind: &str) -> (Style, String) {
    let get = |key: &str| text(event, key);
    let why = |text: String| if text.is_empty() || text == "-" { String::new() } else { format!(": {text}") };
    match kind {
        "waf_match" => {
            let blocked = event["blocked"] == true;
            let first = &event["matches"][0];
            let more = event["matches"].as_array().map_or(0, |m| m.len().saturating_sub(1));
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let said = format!(
                "{} {} {} {}{}: rule {} {} in {}{more}  {}",
                if blocked { "blocked" } else { "detected" },
                get("client"),
                get("method"),
                get("host"),
                get("path"),
                text(first, "rule"),
                text(first, "message"),
                text(first, "variable"),
                get("id"),
            );
            (if blocked { Style::Bad } else { Style::Warn }, said)
        }
        "server_health" | "member_health" => {
            let up = event["up"] == true;
            let name = if kind == "server_health" { get("server") } else { get("member") };
            let said = format!("{name} {}{}", if up { "up" } else { "down" }, why(get("why")));
            (if up { Style::Good } else { Style::Bad }, said)
        }
        "process" => {
            let what = get("what");
            let pid = event["pid"].as_i64().map_or(String::new(), |pid| format!(", pid {pid}"));
            let style = match what.as_str() {
                "started" | "adopted" => Style::Good,
                "failed" | "restarting" => Style::Bad,
                _ => Style::Dim,
            };
            (style, format!("{} {what}{pid}{}", get("process"), why(get("why"))))
        }
        "revision" => {
            let committed = event["committed"] == true;
            let word = if committed { "committed" } else { "refused" };
            let style = if committed { Style::Good } else { Style::Bad };
            (style, format!("r{} {word}{}", get("revision"), why(get("why"))))
        }
        "ban" => {
            let duration =
                event["duration"].as_u64().map_or(String::new(), |ms| format!(" for {}", show::span(ms)));
            (Style::Warn, format!("{} {}{duration}{}", get("what"), get("net"), why(get("why"))))
        }
        "alert" => {
            let state = get("state");
            let labels = labels(&event["labels"], &["alertname"]);
            let style = match state.as_str() {
                "firing" => Style::Bad,
                "pending" => Style::Warn,
                _ => Style::Good,
            };
            let value =
                event["value"].as_f64().map_or(String::new(), |v| format!(", value {}", show::number(v)));
            (style, format!("{} {state}{value}  {labels}", get("alert")))
        }
        "refused" => (Style::Warn, format!("{} {}{}", get("client"), get("reason"), why(get("what")))),
        _ => (Style::Dim, escape(&event.to_string())),
    }
}

/// `name=value …` of labels as pairs or as an object, without those of `besides`.
pub(crate) fn labels(labels: &Value, besides: &[&str]) -> String {
    let pairs: Vec<(String, String)> = match labels {
        Value::Object(map) => {
            map.iter().map(|(n, v)| (n.clone(), v.as_str().unwrap_or_default().to_owned())).collect()
        }
        Value::Array(list) => list
            .iter()
            .map(|pair| {
                let part = |i: usize| pair[i].as_str().unwrap_or_default().to_owned();
                (part(0), part(1))
            })
            .collect(),
        _ => Vec::new(),
    };
    let shown = pairs.iter().filter(|(name, _)| !besides.contains(&name.as_str()));
    shown.map(|(name, value)| format!("{}={}", escape(name), escape(value))).collect::<Vec<_>>().join(" ")
}

/// One request on one line, its time first.
pub(crate) fn request_line(request: &Value, now_ms: u64, terminal: &Terminal) -> String {
    let get = |key: &str| text(request, key);
    let status = request["status"].as_u64().unwrap_or_default();
    let style = match status {
        500.. => Style::Bad,
        400..500 => Style::Warn,
        _ => Style::Good,
    };
    let retries = match request["retries"].as_u64() {
        Some(n) if n > 0 => format!("  {n} retries"),
        _ => String::new(),
    };
    let waf = request["waf"].as_str().map_or(String::new(), |id| format!("  waf {}", escape(id)));
    let took = request["duration_ms"].as_f64().map_or("-".to_owned(), |ms| show::seconds(ms / 1e3));
    format!(
        "{} {} {:<6} {}{}  {took}  {}  {}  {}{retries}{waf}",
        terminal.paint(Style::Dim, show::time(request["at_ms"].as_u64().unwrap_or_default(), now_ms)),
        terminal.paint(style, status),
        get("method"),
        get("host"),
        get("path"),
        show::bytes(request["bytes"].as_f64().unwrap_or_default()),
        match request["server"].as_str() {
            Some(server) => escape(server),
            None => "no server".to_owned(),
        },
        get("client"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Color;
    use serde_json::json;

    #[test]
    fn events_become_lines_without_control_characters() {
        let terminal = Terminal::new(Color::Never, false);
        let cases = [
            (
                json!({"at_ms": 1, "event": "server_health", "server": "app/1", "up": false, "why": "refused\u{1b}[31m"}),
                "server   app/1 down: refused\\u{1b}[31m",
            ),
            (
                json!({"at_ms": 1, "event": "process", "process": "edge", "what": "started", "pid": 7, "why": ""}),
                "process  edge started, pid 7",
            ),
            (
                json!({"at_ms": 1, "event": "ban", "net": "10.0.0.1/32", "duration": 3_600_000, "what": "ban", "why": "x"}),
                "ban      ban 10.0.0.1/32 for 60 min: x",
            ),
            (
                json!({"at_ms": 1, "event": "alert", "alert": "qps", "state": "firing", "value": 2.0, "labels": [["alertname", "qps"], ["a", "b"]]}),
                "alert    qps firing, value 2  a=b",
            ),
            (json!({"event": "new\nkind"}), r#"new\nkind {"event":"new\nkind"}"#),
        ];
        for (event, expected) in cases {
            let line = event_line(&event, 5, &terminal);
            assert!(line.ends_with(expected), "{line}");
            assert!(!line.contains('\u{1b}') && !line.contains('\n'), "{line:?}");
        }
    }

    #[test]
    fn requests_become_lines() {
        let request = json!({"at_ms": 1000, "client": "127.0.0.1", "method": "GET", "host": "a", "path": "/x", "status": 502,
            "bytes": 10, "duration_ms": 1.5, "server": null, "retries": 1, "waf": null});
        let line = request_line(&request, 1000, &Terminal::new(Color::Never, false));
        assert_eq!(line, "00:00:01Z 502 GET    a/x  1.50 ms  10 B  no server  127.0.0.1  1 retries");
    }

    #[test]
    fn the_newest_come_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.jsonl");
        let line = |n: u32| format!("{{\"event\":\"waf_match\",\"n\":{n}}}\n");
        std::fs::write(folder.path().join("events.jsonl.1"), line(1)).unwrap();
        std::fs::write(&path, format!("{}not json waf_match\n{{\"event\":\"ban\"}}\n{}", line(2), line(3)))
            .unwrap();
        let found = newest(&path, "waf_match", 5, |e| e["event"] == "waf_match").unwrap();
        assert_eq!(found.iter().map(|e| e["n"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 2, 1]);
    }
}
