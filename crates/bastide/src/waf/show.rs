//! What rules saw, for people: a request, its score, and each match with the value
//! after every transformation.

use super::findings::{self, Exclusion};
use super::seen::{Seen, is_sum};
use crate::terminal::{Style, Terminal, escape};
use base::events::RuleMatch;
use serde_json::{Value, json};
use waf_text::Transformation;

/// A value that a transformation made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Made {
    pub(crate) by: String,
    pub(crate) value: String,
    pub(crate) changed: bool,
}

/// A line of the picture: a name and what it is.
pub(crate) fn field(name: &str, value: &str, terminal: &Terminal) {
    terminal.line(format!("  {} {value}", terminal.paint(Style::Dim, format!("{name:<10}"))).trim_end());
}

/// `10 = 5 (942100 critical) + 5 (941100 critical), the threshold is 5`.
pub(crate) fn score(seen: &Seen) -> Option<String> {
    let total = seen.score?;
    let points = seen.points();
    let terms =
        points.iter().map(|(rule, severity, points)| format!("{points} ({rule} {})", escape(severity)));
    let terms = terms.collect::<Vec<_>>().join(" + ");
    let told = match points.iter().map(|(.., points)| points).sum::<i64>() == total && !points.is_empty() {
        true => format!("{total} = {terms}"),
        // Rules may count otherwise than by their severity; then only the sum is known.
        false => total.to_string(),
    };
    Some(match seen.threshold {
        Some(threshold) => format!("{told}; refused from {threshold} on"),
        None => told,
    })
}

/// All matches, each rule once with its values, and what would let them pass.
pub(crate) fn matches(seen: &Seen, terminal: &Terminal) {
    let mut told = Vec::new();
    for one in &seen.matches {
        if told.contains(&one.rule) {
            continue;
        }
        told.push(one.rule);
        terminal.line("");
        heading(one, terminal);
        for one in seen.matches.iter().filter(|m| m.rule == one.rule) {
            value(one, terminal);
        }
        if !is_sum(one) && seen.refused {
            exclusion(seen, one.rule, terminal);
        }
    }
}

fn heading(matched: &RuleMatch, terminal: &Terminal) {
    let title = format!("rule {}", matched.rule);
    terminal.line(format!("{}  {}", terminal.paint(Style::Bold, title), escape(&matched.message)));
    field("where", &escape(&matched.source), terminal);
    let tags = matched.tags.iter().map(|tag| escape(tag)).collect::<Vec<_>>().join(", ");
    let severity = matched.severity.as_deref().map(escape);
    let about = [severity, (!tags.is_empty()).then_some(tags)].into_iter().flatten().collect::<Vec<_>>();
    if !about.is_empty() {
        field("about", &about.join("  "), terminal);
    }
    if !matched.data.is_empty() {
        field("logdata", &escape(&matched.data), terminal);
    }
}

fn value(matched: &RuleMatch, terminal: &Terminal) {
    if matched.variable.is_empty() && matched.operator.is_empty() {
        field("always", "it looks at nothing", terminal);
        return;
    }
    field("variable", &escape(&matched.variable), terminal);
    field("value", &escape(&matched.value), terminal);
    match steps(&matched.value, &matched.transformations, &matched.transformed) {
        Some(steps) => {
            for step in steps {
                let said = if step.changed { step.value } else { terminal.paint(Style::Dim, "(unchanged)") };
                field("after", &format!("{:<18} {said}", step.by), terminal);
            }
        }
        None if matched.transformations.is_empty() => {}
        None => {
            field("through", &escape(&matched.transformations.join(" → ")), terminal);
            field("became", &escape(&matched.transformed), terminal);
        }
    }
    // It comes from a rule file, where a backslash is written once.
    field("operator", &escape(&matched.operator).replace("\\\\", "\\"), terminal);
    let part = escape(&matched.matched);
    field(
        "matched",
        if part.is_empty() { "(the operator does not tell which part)" } else { &part },
        terminal,
    );
}

/// What would let it pass, should it be none of an attack.
fn exclusion(seen: &Seen, rule: u64, terminal: &Terminal) {
    match findings::narrowest(seen, rule) {
        Some(exclusions) => {
            let list = exclusions.iter().map(Exclusion::toml).collect::<Vec<_>>().join(", ");
            field("if wrong", &terminal.paint(Style::Dim, format!("[waf] exclude = [{list}]")), terminal);
        }
        None => field(
            "if wrong",
            &terminal.paint(Style::Dim, "no exclusion applies to a path that is spelt like this one"),
            terminal,
        ),
    }
}

/// The same as data.
pub(crate) fn json(seen: &Seen) -> Vec<Value> {
    let points = seen.points();
    seen.matches
        .iter()
        .map(|one| {
            let mut value = serde_json::to_value(one).unwrap_or_default();
            value["steps"] = match steps(&one.value, &one.transformations, &one.transformed) {
                Some(steps) => steps
                    .iter()
                    .map(|s| json!({ "transformation": s.by, "value": s.value, "changed": s.changed }))
                    .collect(),
                None => Value::Null,
            };
            value["points"] = points.iter().find(|(rule, ..)| *rule == one.rule).map(|(.., n)| *n).into();
            value["exclude"] = match (is_sum(one), findings::narrowest(seen, one.rule)) {
                (false, Some(list)) => list.iter().map(Exclusion::json).collect(),
                _ => Value::Null,
            };
            value
        })
        .collect()
}

/// The value after each transformation. None where the match does not hold enough to
/// do it again: a secret, a value that was cut, a transformation of another version.
pub(crate) fn steps(value: &str, names: &[String], end: &str) -> Option<Vec<Made>> {
    let mut bytes = unescape(value)?;
    let mut steps = Vec::new();
    for name in names {
        let transformation = Transformation::parse(name)?;
        let mut next = Vec::new();
        let changed = transformation.apply(&bytes, &mut next) && next != bytes;
        if changed {
            bytes = next;
        }
        steps.push(Made { by: name.clone(), value: waf_engine::escape(&bytes, usize::MAX), changed });
    }
    // The event has the last word: if ours ends elsewhere, ours is wrong. It may have
    // been cut where ours grew.
    let same = match end.strip_suffix('…') {
        Some(cut) => waf_engine::escape(&bytes, usize::MAX).starts_with(cut),
        None => waf_engine::escape(&bytes, usize::MAX) == end,
    };
    same.then_some(steps)
}

/// The bytes that the engine's `escape` wrote as `text`; none where it was cut or hidden.
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

#[cfg(test)]
mod tests {
    use super::super::seen::tests::matched;
    use super::*;

    #[test]
    fn escaping_is_undone() {
        for bytes in [&b"a\\b\x1b\n"[..], "caf\u{e9} \u{202e}".as_bytes(), b"\xff\\x41", b""] {
            assert_eq!(unescape(&waf_engine::escape(bytes, 256)).as_deref(), Some(bytes));
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
        let expected =
            expected.map(|(by, value, changed)| Made { by: by.into(), value: value.into(), changed });
        assert_eq!(made, expected);
        assert!(steps("%41B", &names, "something else").is_none());
        assert!(steps("[secret]", &names, "[secret]").is_none());
        assert!(steps("a", &["unknown".to_owned()], "a").is_none());
        let hex = ["hexEncode".to_owned()];
        assert_eq!(steps("AB", &hex, "414…").map(|made| made[0].value.clone()), Some("4142".into()));
    }

    #[test]
    fn scores_are_added_up_where_severities_tell() {
        let seen = Seen {
            score: Some(10),
            threshold: Some(5),
            matches: vec![matched(1, "ARGS:a", &[]), matched(1, "ARGS:b", &[]), matched(2, "ARGS:a", &[])],
            ..Seen::default()
        };
        assert_eq!(score(&seen).unwrap(), "10 = 5 (1 critical) + 5 (2 critical); refused from 5 on");
        assert_eq!(score(&Seen { score: Some(7), threshold: None, ..seen.clone() }).unwrap(), "7");
        assert_eq!(score(&Seen { score: None, ..seen }), None);
    }
}
