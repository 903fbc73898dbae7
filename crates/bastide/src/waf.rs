//! `bastide waf`: what the rules matched, and why.

use crate::Outcome;
use crate::args::{File, Global, Waf, WafEvents, WafExplain};
use crate::check;
use crate::events::{self, text};
use crate::show;
use crate::target;
use crate::terminal::{FAILED, Style, Terminal, escape};
use base::EventId;
use control::book::Book;
use control::compile::{self, Facts, Refusal};
use control::paths::Paths;
use role::Fault;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::process::ExitCode;
use waf::transform::Transformation;

pub(crate) fn run(command: &Waf, global: &Global, terminal: &Terminal) -> Outcome {
    match command {
        Waf::Explain(args) => explain(args, global, terminal),
        Waf::Events(args) => list(args, global, terminal),
        Waf::Check(args) => check_rules(args, terminal),
    }
}

fn explain(args: &WafExplain, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let event = find(&paths, args.id)?.ok_or_else(|| {
        Fault::new(format!("no WAF event `{}` is in the event log of site `{}`", args.id, paths.site)).hint(
            format!(
                "it would be of {}; `bastide waf events` lists the latest",
                show::date_time(args.id.at_ms())
            ),
        )
    })?;
    match terminal.json {
        true => terminal.print_json(&event),
        false => print(&event, terminal),
    }
    Ok(ExitCode::SUCCESS)
}

/// The WAF's event of this id.
pub(crate) fn find(paths: &Paths, id: EventId) -> Result<Option<Value>, Fault> {
    let id = id.to_string();
    let wanted = |event: &Value| event["event"] == "waf_match" && event["id"] == id.as_str();
    Ok(events::newest(&events::event_log(paths), &id, 1, wanted)?.pop())
}

fn list(args: &WafEvents, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.site.file.as_deref())?;
    let wanted = |event: &Value| event["event"] == "waf_match";
    let mut found = events::newest(&events::event_log(&paths), "\"waf_match\"", args.limit as usize, wanted)?;
    found.reverse();
    if terminal.json {
        terminal.print_json(&found);
        return Ok(ExitCode::SUCCESS);
    }
    let now_ms = sys::clock::now_ms();
    for event in &found {
        terminal.line(events::event_line(event, now_ms, terminal));
    }
    match found.is_empty() {
        true => terminal.note("no rule has matched anything yet"),
        false => terminal.note("`bastide waf explain ID` says why"),
    }
    Ok(ExitCode::SUCCESS)
}

/// One event, rule by rule.
pub(crate) fn print(event: &Value, terminal: &Terminal) {
    let blocked = event["blocked"] == true;
    let word = match blocked {
        true => terminal.paint(Style::Bad, "blocked"),
        false => terminal.paint(Style::Warn, "detected, let through"),
    };
    let at = show::date_time(event["at_ms"].as_u64().unwrap_or_default());
    terminal.line(format!("{}  {word}  {at}", terminal.paint(Style::Bold, text(event, "id"))));
    field("client", &text(event, "client"), terminal);
    let request = format!("{} {}{}", text(event, "method"), text(event, "host"), text(event, "path"));
    field("request", &request, terminal);
    for matched in event["matches"].as_array().into_iter().flatten() {
        terminal.line("");
        rule(matched, terminal);
        exclusion(matched, &text(event, "path"), terminal);
    }
}

fn field(name: &str, value: &str, terminal: &Terminal) {
    terminal.line(format!("  {} {value}", terminal.paint(Style::Dim, format!("{name:<10}"))).trim_end());
}

fn rule(matched: &Value, terminal: &Terminal) {
    let get = |key: &str| text(matched, key);
    let title = format!("rule {}", get("rule"));
    terminal.line(format!("{}  {}", terminal.paint(Style::Bold, title), get("message")));
    field("where", &get("source"), terminal);
    let tags = list_of(&matched["tags"]).join(", ");
    let severity = matched["severity"].as_str().map(escape);
    let about = [severity, (!tags.is_empty()).then_some(tags)].into_iter().flatten().collect::<Vec<_>>();
    if !about.is_empty() {
        field("about", &about.join("  "), terminal);
    }
    field("variable", &get("variable"), terminal);
    field("value", &get("value"), terminal);
    let names = list_of(&matched["transformations"]);
    let end = get("transformed");
    match steps(&get("value"), &names, &end) {
        Some(steps) => {
            for (name, value, changed) in steps {
                let said = if changed { value } else { terminal.paint(Style::Dim, "(unchanged)") };
                terminal.line(format!(
                    "  {} {name:<18} {said}",
                    terminal.paint(Style::Dim, format!("{:<10}", "after"))
                ));
            }
        }
        None if names.is_empty() => {}
        None => {
            field("through", &names.join(" → "), terminal);
            field("became", &end, terminal);
        }
    }
    // It comes from a rule file, where a backslash is written once.
    field("operator", &get("operator").replace("\\\\", "\\"), terminal);
    let part = get("matched");
    field(
        "matched",
        if part.is_empty() { "(the operator does not tell which part)" } else { &part },
        terminal,
    );
}

fn list_of(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(escape).collect()
}

const ALL: [Transformation; 9] = [
    Transformation::Lowercase,
    Transformation::UrlDecode,
    Transformation::UrlDecodeUni,
    Transformation::HtmlEntityDecode,
    Transformation::CompressWhitespace,
    Transformation::NormalizePath,
    Transformation::NormalizePathWin,
    Transformation::RemoveNulls,
    Transformation::ReplaceComments,
];

/// The value after each transformation, and whether that changed it. None where the
/// event does not hold enough to do it again: a secret, a value that was cut, a
/// transformation of another version.
fn steps(value: &str, names: &[String], end: &str) -> Option<Vec<(String, String, bool)>> {
    let mut bytes = unescape(value)?;
    let mut steps = Vec::new();
    for name in names {
        let transformation = ALL.into_iter().find(|t| t.name() == name)?;
        let mut next = Vec::new();
        transformation.apply(&bytes, &mut next);
        steps.push((name.clone(), waf::escape(&next), next != bytes));
        bytes = next;
    }
    // The event has the last word: if ours ends elsewhere, ours is wrong.
    (waf::escape(&bytes) == end).then_some(steps)
}

/// The bytes that `waf::escape` wrote as `text`; none where it was cut or hidden.
fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut rest = text;
    if text == "[secret]" || text.ends_with('…') {
        return None;
    }
    while let Some(c) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\\\") {
            bytes.push(b'\\');
            rest = after;
        } else if let Some(after) = rest.strip_prefix("\\x") {
            bytes.push(u8::from_str_radix(after.get(..2)?, 16).ok()?);
            rest = &after[2..];
        } else if let Some(after) = rest.strip_prefix("\\u{") {
            let (digits, after) = after.split_once('}')?;
            let c = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = after;
        } else {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            rest = &rest[c.len_utf8()..];
        }
    }
    Some(bytes)
}

/// What would let this request pass, should it be none of an attack.
fn exclusion(matched: &Value, path: &str, terminal: &Terminal) {
    let variable = text(matched, "variable");
    let arg = variable.strip_prefix("ARGS:").map_or(String::new(), |arg| format!(", arg = {}", quoted(arg)));
    let line = format!("exclude = [{{ rule = {}, path = {}{arg} }}]", text(matched, "rule"), quoted(path));
    field("if wrong", &terminal.paint(Style::Dim, format!("[waf] {line}")), terminal);
}

/// As TOML writes a string; JSON's escapes are TOML's.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

fn check_rules(args: &File, terminal: &Terminal) -> Outcome {
    let checked = match compile::check(&args.file) {
        Ok(checked) => checked,
        Err(Refusal { fault: Some(fault), .. }) => return Err(fault),
        Err(refusal) => {
            if terminal.json {
                terminal.print_json(&json!({ "ok": false, "diagnostics": refusal.diagnostics }));
            } else {
                check::print(&refusal.diagnostics, terminal);
                terminal.note(check::count(&refusal.diagnostics));
            }
            return Ok(ExitCode::from(FAILED));
        }
    };
    let program = std::env::current_exe().unwrap_or_default();
    let facts =
        Facts { paths: None, program: &program, running: &HashSet::new(), now_ms: sys::clock::now_ms() };
    let compiled = compile::compile(&checked.inputs, &mut Book::blank(), &facts)
        .map_err(|refusal| Fault::new(refusal.to_string()))?;
    let settings = compiled.site.edge.waf.ok_or_else(|| {
        Fault::new(format!("`{}` has no `[waf]`", args.file.display())).hint(
            "`bastide explain waf` says what it is; the shop's `examples/shop/waf` has rules to begin with",
        )
    })?;
    let engine = waf::Engine::load(&settings).map_err(|errors| {
        Fault::new(errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
    })?;
    let files: Vec<Value> = settings
        .files
        .iter()
        .map(|file| {
            let one = waf::Settings { files: vec![file.clone()], exclude: Vec::new(), ..settings.clone() };
            json!({ "file": file.name, "rules": waf::Engine::load(&one).map_or(0, |engine| engine.rule_count()) })
        })
        .collect();
    let mode = match settings.mode {
        waf::settings::Mode::Block => "block",
        waf::settings::Mode::Detect => "detect",
    };
    if terminal.json {
        terminal.print_json(&json!({
            "ok": true, "mode": mode, "rules": engine.rule_count(), "files": files,
            "exclusions": settings.exclude.len(), "body_limit_bytes": settings.body_limit.0,
        }));
        return Ok(ExitCode::SUCCESS);
    }
    terminal.line(format!(
        "{} {} rules in {} files, mode {mode}, {} exclusions, bodies up to {}",
        terminal.paint(Style::Good, "ok"),
        engine.rule_count(),
        files.len(),
        settings.exclude.len(),
        show::bytes(settings.body_limit.0 as f64)
    ));
    for file in &files {
        terminal.line(format!("  {:>4}  {}", file["rules"].as_u64().unwrap_or_default(), text(file, "file")));
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping_is_undone() {
        for bytes in [&b"a\\b\x1b\n"[..], "caf\u{e9} \u{202e}".as_bytes(), b"\xff\\x41", b""] {
            assert_eq!(unescape(&waf::escape(bytes)).as_deref(), Some(bytes));
        }
        for text in ["[secret]", "cut…", "\\x4", "\\u{110000}", "\\u{41"] {
            assert_eq!(unescape(text), None, "{text}");
        }
    }

    #[test]
    fn transformations_are_done_again_where_the_event_tells_enough() {
        let names = ["urlDecode".to_owned(), "removeNulls".to_owned(), "lowercase".to_owned()];
        let made = steps("%41B", &names, "ab").unwrap();
        let expected = [("urlDecode", "AB", true), ("removeNulls", "AB", false), ("lowercase", "ab", true)];
        assert_eq!(made, expected.map(|(n, v, c)| (n.to_owned(), v.to_owned(), c)));
        assert!(steps("%41B", &names, "something else").is_none());
        assert!(steps("[secret]", &names, "[secret]").is_none());
        assert!(steps("a", &["unknown".to_owned()], "a").is_none());
    }
}
