//! `bastide waf events`: the latest, or counted by rule, path or client.

use super::seen::{Seen, is_sum};
use crate::Outcome as Done;
use crate::args::{By, Global, WafEvents};
use crate::events::{self, text};
use crate::show;
use crate::target;
use crate::terminal::{Style, Terminal, escape};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

/// Events that are counted, the newest, unless `--limit` says otherwise.
const COUNTED: usize = 100_000;
/// Events that are listed.
const LISTED: usize = 20;

pub(crate) fn run(args: &WafEvents, global: &Global, terminal: &Terminal) -> Done {
    let paths = target::find(global, args.site.file.as_deref())?;
    let now_ms = sys::clock::now_ms();
    let since = args.since.map_or(0, |since| now_ms.saturating_sub(since.0));
    let wanted = |event: &Value| event["event"] == "waf_match" && event["at_ms"].as_u64() >= Some(since);
    let limit = args.limit.map_or(if args.by.is_some() { COUNTED } else { LISTED }, |limit| limit as usize);
    let mut found = events::newest(&events::event_log(&paths), "\"waf_match\"", limit, wanted)?;
    found.reverse();
    match args.by {
        Some(by) => count(by, &found, terminal),
        None => list(&found, now_ms, terminal),
    }
    Ok(ExitCode::SUCCESS)
}

fn list(found: &[Value], now_ms: u64, terminal: &Terminal) {
    if terminal.json {
        terminal.print_json(&found);
        return;
    }
    for event in found {
        terminal.line(events::event_line(event, now_ms, terminal));
    }
    match found.is_empty() {
        true => terminal.note("no rule has matched anything"),
        false => {
            terminal.note("`bastide waf explain ID` says why; `--by rule`, `path` or `client` counts them")
        }
    }
}

/// One line of a count.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) events: usize,
    pub(crate) blocked: usize,
    /// Beside the one that is counted by: rules, paths, clients.
    pub(crate) others: [BTreeSet<String>; 3],
    pub(crate) highest: i64,
    pub(crate) last_ms: u64,
    pub(crate) about: String,
    pub(crate) id: String,
}

/// Counts events by one of their sides; the newest event comes last.
pub(crate) fn rows(by: By, found: &[Value]) -> Vec<(String, Row)> {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    for event in found {
        let seen = Seen::of_event(event);
        let rules: BTreeSet<String> = seen.rules().iter().map(u64::to_string).collect();
        let path = format!("{}{}", text(event, "host"), seen.path);
        let client = seen.client.clone().unwrap_or_default();
        let keys: Vec<String> = match by {
            By::Rule => rules.iter().cloned().collect(),
            By::Path => vec![path.clone()],
            By::Client => vec![client.clone()],
        };
        for key in keys {
            let row = rows.entry(key.clone()).or_default();
            row.events += 1;
            row.blocked += usize::from(event["blocked"] == true);
            row.highest = row.highest.max(seen.score.unwrap_or_default());
            row.last_ms = row.last_ms.max(seen.at_ms.unwrap_or_default());
            row.id = seen.id.clone().unwrap_or_default();
            row.others[0].extend(rules.iter().cloned());
            row.others[1].insert(path.clone());
            row.others[2].insert(client.clone());
            if by == By::Rule {
                let matched = seen.matches.iter().find(|m| m.rule.to_string() == key && !is_sum(m));
                row.about = matched.map(|m| m.message.clone()).unwrap_or_default();
            }
        }
    }
    let mut rows: Vec<(String, Row)> = rows.into_iter().collect();
    rows.sort_by(|a, b| b.1.events.cmp(&a.1.events).then_with(|| a.0.cmp(&b.0)));
    rows
}

fn count(by: By, found: &[Value], terminal: &Terminal) {
    let rows = rows(by, found);
    let name = match by {
        By::Rule => "rule",
        By::Path => "path",
        By::Client => "client",
    };
    if terminal.json {
        let rows = rows.iter().map(|(key, row)| {
            let counted: Value =
                if by == By::Rule { key.parse::<u64>().ok().into() } else { key.as_str().into() };
            json!({
                name: counted, "events": row.events, "blocked": row.blocked, "rules": row.others[0].len(),
                "paths": row.others[1].len(), "clients": row.others[2].len(), "highest_score": row.highest,
                "last_ms": row.last_ms, "last_id": row.id, "message": row.about,
            })
        });
        terminal.print_json(&rows.collect::<Vec<_>>());
        return;
    }
    if rows.is_empty() {
        terminal.note("no rule has matched anything");
        return;
    }
    let now_ms = sys::clock::now_ms();
    let width =
        rows.iter().map(|(key, _)| key.chars().count()).max().unwrap_or_default().clamp(name.len(), 60);
    let others = match by {
        By::Rule => ["paths", "clients"],
        By::Path => ["rules", "clients"],
        By::Client => ["rules", "paths"],
    };
    let head = format!(
        "{name:<width$}  {:>6} {:>7} {:>6} {:>7} {:>7}  {}",
        "events", "blocked", others[0], others[1], "highest", "last"
    );
    terminal.line(terminal.paint(Style::Dim, head));
    for (key, row) in &rows {
        let [rules, paths, clients] = [0, 1, 2].map(|at| row.others[at].len());
        let [first, second] = match by {
            By::Rule => [paths, clients],
            By::Path => [rules, clients],
            By::Client => [rules, paths],
        };
        let key = escape(key);
        let last = show::time(row.last_ms, now_ms);
        let (events, blocked, highest) = (row.events, row.blocked, row.highest);
        terminal.line(
            format!(
                "{key:<width$}  {events:>6} {blocked:>7} {first:>6} {second:>7} {highest:>7}  {last}  {}",
                escape(&row.about)
            )
            .trim_end(),
        );
    }
    terminal.note(format!("of {} events; `bastide waf explain ID` says why one was", found.len()));
}

#[cfg(test)]
mod tests {
    use super::super::seen::tests::matched;
    use super::*;

    #[test]
    fn events_are_counted_by_each_side() {
        let event = |client: &str, path: &str, rules: &[u64], blocked: bool| {
            let matches: Vec<_> = rules.iter().map(|rule| matched(*rule, "ARGS:q", &[])).collect();
            json!({ "event": "waf_match", "id": "X", "at_ms": 5, "client": client, "host": "h", "path": path,
                "blocked": blocked, "score": 5, "matches": matches })
        };
        let all = [
            event("a", "/x", &[1, 1, 2], true),
            event("b", "/x", &[1, 949_110], false),
            event("a", "/y", &[1], false),
        ];
        let shape = |by: By| -> Vec<(String, usize, usize)> {
            rows(by, &all).into_iter().map(|(key, row)| (key, row.events, row.blocked)).collect()
        };
        assert_eq!(shape(By::Rule), [("1".into(), 3, 1), ("2".into(), 1, 1)]);
        assert_eq!(shape(By::Path), [("h/x".into(), 2, 1), ("h/y".into(), 1, 0)]);
        assert_eq!(shape(By::Client), [("a".into(), 2, 1), ("b".into(), 1, 0)]);
        let by_rule = rows(By::Rule, &all);
        assert_eq!(
            (by_rule[0].1.others[1].len(), by_rule[0].1.others[2].len(), by_rule[0].1.highest),
            (2, 2, 5)
        );
    }
}
