//! `bastide explain`: whatever has a name or an id, from a key of the file to a
//! refused request. What fits in several ways is explained in all of them.

use crate::Outcome;
use crate::args::{Explain, Global};
use crate::ask::Monitor;
use crate::events::{self, text};
use crate::show;
use crate::status::list;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use crate::{alerts, waf};
use base::EventId;
use base::names::{self, Kind};
use control::paths::Paths;
use role::Fault;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(3);
/// Events shown of a server, member or process.
const EVENTS: usize = 10;

/// One thing of that name.
enum Found {
    /// The reference's text on a key.
    Key(String),
    /// A metric of ours.
    Metric(&'static names::Metric),
    /// A rule of the monitor, as its API gives it.
    Rule(Value),
    /// A ready-made alert, where no monitor answers.
    ReadyMade(&'static str, &'static str),
    /// A web server, database member or process: its state and its last events.
    Part { kind: &'static str, state: Value, events: Vec<Value> },
    /// A WAF event.
    Waf(Value),
    /// A request of the access log.
    Request(Value),
}

pub(crate) fn run(args: &Explain, global: &Global, terminal: &Terminal) -> Outcome {
    let what = args.what.trim();
    let mut found: Vec<Found> = Vec::new();
    // A table's head as people copy it: `[pool.app]` is `pool`.
    let key = what.trim_matches(['[', ']']);
    found.extend(config::explain(key).or_else(|| without_name(key)).map(Found::Key));
    found.extend(metric(what).map(Found::Metric));
    // The rest needs a site; without one, what is known already is all there is.
    let paths = target::find(global, args.site.file.as_deref());
    if let Ok(paths) = &paths {
        of_site(paths, what, &mut found)?;
    }
    if !found.iter().any(|f| matches!(f, Found::Rule(_))) {
        let ready = config::defaults::READY_MADE_ALERTS.iter().find(|(name, _)| *name == what);
        found.extend(ready.map(|(name, meaning)| Found::ReadyMade(name, meaning)));
    }
    if found.is_empty() {
        let fault = Fault::new(format!("nothing here is called `{}`", escape(what)));
        return Err(match paths {
            Ok(paths) if target::denied(&paths, "control").is_some() => fault.hint(format!(
                "only the file's keys, metrics and ready-made alerts were looked at: another user runs site `{}`",
                paths.site
            )),
            Ok(paths) => fault.hint(format!(
                "it may be a key (`pool.instances`), a metric, an alert, a server (`app/1`), a process, or an id of a request or WAF event of site `{}`",
                paths.site
            )),
            Err(other) => fault.hint(format!("only keys, metrics and ready-made alerts were looked at: {}", other.what)),
        });
    }
    if terminal.json {
        terminal.print_json(&found.iter().map(as_json).collect::<Vec<_>>());
        return Ok(ExitCode::SUCCESS);
    }
    for (i, one) in found.iter().enumerate() {
        if i > 0 {
            terminal.line("");
        }
        print(one, terminal);
    }
    Ok(ExitCode::SUCCESS)
}

/// `pool.app.instances` is the key `pool.instances`.
fn without_name(key: &str) -> Option<String> {
    let mut parts: Vec<&str> = key.split('.').collect();
    if parts.len() < 2 {
        return None;
    }
    parts.remove(1);
    config::explain(&parts.join("."))
}

/// A metric by its own name, or by that of one of a histogram's series.
fn metric(name: &str) -> Option<&'static names::Metric> {
    let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
    names::ALL
        .iter()
        .copied()
        .find(|metric| metric.name == name || (metric.kind == Kind::Histogram && base == Some(metric.name)))
}

fn of_site(paths: &Paths, what: &str, found: &mut Vec<Found>) -> Result<(), Fault> {
    let (rules, status) = crate::runtime()?.block_on(async {
        let rules = async { Monitor::find(paths, PATIENCE).await.ok()?.prometheus("rules", &[]).await.ok() };
        let admin = target::control(paths).timeout(PATIENCE);
        tokio::join!(rules, async { admin.get("/site").await.ok() })
    });
    let groups = rules.iter().flat_map(|rules| list(&rules["groups"]));
    let rule = groups.flat_map(|group| list(&group["rules"])).find(|rule| rule["name"] == what);
    found.extend(rule.cloned().map(Found::Rule));
    for (kind, state) in status.iter().flat_map(parts).filter(|(_, state)| state["name"] == what) {
        let mine = |event: &Value| ["server", "member", "process"].iter().any(|key| event[*key] == what);
        // A web server is a process, too: its events are told once.
        if found.iter().any(|f| matches!(f, Found::Part { .. })) {
            found.push(Found::Part { kind, state: state.clone(), events: Vec::new() });
            continue;
        }
        let mut last = events::newest(&events::event_log(paths), &format!("\"{what}\""), EVENTS, mine)?;
        last.reverse();
        found.push(Found::Part { kind, state: state.clone(), events: last });
    }
    if let Some(id) = EventId::parse(what) {
        found.extend(waf::find(paths, id)?.map(Found::Waf));
    }
    if looks_like_id(what) {
        let id = EventId::parse(what).map_or_else(|| what.to_owned(), |id| id.to_string());
        let wanted = |request: &Value| request["request_id"] == id.as_str() || request["waf"] == id.as_str();
        found.extend(events::newest(&events::access_log(paths), &id, 1, wanted)?.pop().map(Found::Request));
    }
    Ok(())
}

/// Ids are long and have a digit; anything else is not looked for in large logs.
fn looks_like_id(what: &str) -> bool {
    what.len() >= 8 && what.bytes().any(|b| b.is_ascii_digit()) && !what.contains(['/', ' '])
}

/// Everything of a site's status that has a name.
fn parts(status: &Value) -> Vec<(&'static str, &Value)> {
    let servers =
        list(&status["edge"]["pools"]).iter().flat_map(|p| list(&p["servers"])).map(|s| ("web server", s));
    let members = list(&status["database"]["databases"]).iter().flat_map(|d| list(&d["members"]));
    let members = members.map(|m| ("database member", m));
    let processes = list(&status["processes"]).iter().map(|p| ("process", p));
    servers.chain(members).chain(processes).collect()
}

fn as_json(found: &Found) -> Value {
    match found {
        Found::Key(text) => json!({ "kind": "key", "markdown": text }),
        Found::Metric(m) => {
            json!({ "kind": "metric", "name": m.name, "type": kind(m), "labels": m.labels, "help": m.help })
        }
        Found::Rule(rule) => json!({ "kind": "rule", "rule": rule }),
        Found::ReadyMade(name, meaning) => json!({ "kind": "alert", "name": name, "fires_when": meaning }),
        Found::Part { kind, state, events } => json!({ "kind": kind, "state": state, "events": events }),
        Found::Waf(event) => json!({ "kind": "waf_event", "event": event }),
        Found::Request(request) => json!({ "kind": "request", "request": request }),
    }
}

const fn kind(metric: &names::Metric) -> &'static str {
    match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    }
}

fn print(found: &Found, terminal: &Terminal) {
    let bold = |text: String| terminal.line(terminal.paint(Style::Bold, text));
    match found {
        Found::Key(text) => terminal.line(text.trim_end()),
        Found::Metric(metric) => {
            bold(format!("{}  ({})", metric.name, kind(metric)));
            terminal.line(format!("  {}", metric.help));
            if !metric.labels.is_empty() {
                terminal.line(format!("  labels: {}", metric.labels.join(", ")));
            }
            let query = match metric.kind {
                Kind::Counter => format!("rate({}[1m])", metric.name),
                Kind::Gauge => metric.name.to_owned(),
                Kind::Histogram => {
                    format!("histogram_quantile(0.99, sum by (le) (rate({}_bucket[1m])))", metric.name)
                }
            };
            terminal.line(format!("  try: bastide query '{query}'"));
        }
        Found::Rule(rule) => {
            let alerting = rule["type"] == "alerting";
            let state = if alerting { text(rule, "state") } else { text(rule, "health") };
            bold(format!(
                "{}  ({})  {state}",
                text(rule, "name"),
                if alerting { "alert" } else { "recorded" }
            ));
            let hold = rule["duration"].as_f64().filter(|s| *s > 0.0);
            let hold = hold.map_or(String::new(), |s| format!(", for {}", show::span((s * 1e3) as u64)));
            terminal.line(format!(
                "  {} {}{hold}",
                if alerting { "fires while" } else { "is" },
                text(rule, "query")
            ));
            for key in ["description", "action"] {
                if let Some(said) = rule["annotations"][key].as_str() {
                    terminal.line(format!("  {key}: {}", escape(said)));
                }
            }
            for alert in list(&rule["alerts"]) {
                alerts::print(alert, terminal);
            }
        }
        Found::ReadyMade(name, meaning) => {
            bold(format!("{name}  (ready-made alert)"));
            terminal.line(format!("  fires when {meaning}"));
        }
        Found::Part { kind, state, events } => part(kind, state, events, terminal),
        Found::Waf(event) => waf::print(event, terminal),
        Found::Request(request) => {
            bold(format!("request {}", text(request, "request_id")));
            terminal.line(format!("  {}", events::request_line(request, sys::clock::now_ms(), terminal)));
            for key in ["pool", "server", "retries", "protocol", "user_agent", "referer", "waf"] {
                if !request[key].is_null() {
                    terminal.line(format!("  {key:<11} {}", text(request, key)));
                }
            }
        }
    }
}

fn part(kind: &str, state: &Value, last: &[Value], terminal: &Terminal) {
    let up = state["up"].as_bool().unwrap_or(state["state"] == "running");
    let word = if up { terminal.paint(Style::Good, "up") } else { terminal.paint(Style::Bad, "down") };
    terminal.line(format!("{} {}  {word}", terminal.paint(Style::Bold, kind), text(state, "name")));
    const KEYS: [&str; 11] = [
        "why",
        "address",
        "role",
        "takes",
        "lag_seconds",
        "in_flight",
        "pid",
        "state",
        "restarts",
        "last_end",
        "log",
    ];
    for key in KEYS {
        if !state[key].is_null() {
            terminal.line(format!("  {:<12} {}", key.replace('_', " "), text(state, key)));
        }
    }
    if !last.is_empty() {
        terminal.line(terminal.paint(Style::Dim, "  its last events:"));
    }
    let now_ms = sys::clock::now_ms();
    for event in last {
        terminal.line(format!("  {}", events::event_line(event, now_ms, terminal)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_series_lead_to_their_metric() {
        assert_eq!(
            metric("bastide_edge_request_duration_seconds_bucket").unwrap(),
            &names::EDGE_REQUEST_DURATION
        );
        assert_eq!(metric("bastide_edge_requests_total").unwrap(), &names::EDGE_REQUESTS);
        assert!(metric("bastide_edge_connections_sum").is_none());
    }

    #[test]
    fn keys_are_found_with_and_without_a_name() {
        assert!(config::explain("pool.instances").is_some());
        assert_eq!(without_name("pool.app.instances"), config::explain("pool.instances"));
        assert!(without_name("pool").is_none());
    }

    #[test]
    fn only_ids_are_looked_for_in_logs() {
        assert!(looks_like_id("06H0EK2V999BWTZD4CSE"));
        assert!(!looks_like_id("server-down") && !looks_like_id("app/1") && !looks_like_id("edge"));
    }
}
