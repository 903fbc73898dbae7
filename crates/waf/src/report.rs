//! What a match looks like to a person: cut, escaped, without secrets.

use crate::limits::SHOWN_MAX;
use crate::rule::{Link, Rule};
use crate::transform::{Transformation, url_decode};
use crate::values::Values;
use crate::variable::{Place, Target};
use base::events::{RuleMatch, is_secret_name};
use std::ops::Range;

const SECRET: &str = "[secret]";

/// A value that matched one link of a rule.
pub(crate) struct Hit<'e> {
    pub(crate) link: &'e Link,
    pub(crate) target: &'e Target,
    /// Which of the values.
    pub(crate) index: usize,
    /// Which part of it, transformed.
    pub(crate) range: Range<usize>,
}

/// The report of a hit; `transformed` is what the operator saw.
pub(crate) fn of_hit(
    rule: &Rule,
    hit: &Hit<'_>,
    values: &Values,
    transformed: &[u8],
    pipeline: &[Transformation],
) -> RuleMatch {
    let Hit { link, target, index, .. } = *hit;
    let original = if target.names() { values.name(index) } else { values.value(index) };
    let secret = !target.names() && is_secret(values, index);
    let hide = |text: String| if secret { SECRET.to_owned() } else { text };
    // Of a query its harmless pairs may be shown; once decoded, they are not told apart.
    let value = match values.place(index) {
        Place::QueryString | Place::Uri | Place::UriRaw if secret => without_secret_pairs(original),
        _ => hide(escape(original)),
    };
    RuleMatch {
        rule: rule.id,
        source: link.source.clone(),
        message: rule.message.clone(),
        data: String::new(),
        severity: rule.severity.map(str::to_owned),
        tags: rule.tags.clone(),
        variable: variable(target, values.name(index)),
        value,
        transformed: hide(escape(transformed)),
        transformations: pipeline.iter().map(|t| t.name().to_owned()).collect(),
        operator: escape(link.test.text.as_bytes()),
        matched: hide(escape(&transformed[hit.range.clone()])),
    }
}

/// The report of one of the engine's own rules.
pub(crate) fn of_builtin(rule: u64, message: String, variable: &str) -> RuleMatch {
    RuleMatch {
        rule,
        source: "built-in".to_owned(),
        message,
        data: String::new(),
        severity: Some("CRITICAL".to_owned()),
        tags: Vec::new(),
        variable: variable.to_owned(),
        value: String::new(),
        transformed: String::new(),
        transformations: Vec::new(),
        operator: "built-in".to_owned(),
        matched: String::new(),
    }
}

/// `ARGS:q`, `REQUEST_URI`.
fn variable(target: &Target, name: &[u8]) -> String {
    let variable = target.variable.name;
    if target.named() && !target.names() {
        format!("{variable}:{}", escape(name))
    } else {
        variable.to_owned()
    }
}

fn is_secret(values: &Values, index: usize) -> bool {
    let lossy = |bytes: &[u8]| is_secret_name(&String::from_utf8_lossy(bytes));
    match values.place(index) {
        Place::Cookies => true,
        Place::ArgsGet | Place::ArgsPost | Place::Files => lossy(values.name(index)),
        // A Referer may hold another page's query.
        Place::Headers => lossy(values.name(index)) || lossy(values.value(index)),
        Place::QueryString | Place::Uri | Place::UriRaw => {
            let value = values.value(index);
            let query = memchr::memchr(b'?', value).map_or(value, |at| &value[at..]);
            let mut decoded = Vec::new();
            url_decode(query, true, &mut decoded);
            lossy(&decoded)
        }
        // Of what is not parsed into arguments, any mention counts.
        Place::Body => {
            let mut decoded = Vec::new();
            url_decode(values.value(index), true, &mut decoded);
            lossy(&decoded)
        }
        Place::Filename | Place::Method | Place::Protocol | Place::RemoteAddr | Place::BodyError => false,
    }
}

/// A target or query, with the values of secret arguments replaced.
fn without_secret_pairs(text: &[u8]) -> String {
    let at = memchr::memchr(b'?', text).map_or(0, |at| at + 1);
    let (mut shown, query) = (text[..at].to_vec(), &text[at..]);
    for (i, pair) in query.split(|b| *b == b'&').enumerate() {
        if i > 0 {
            shown.push(b'&');
        }
        let mut decoded = Vec::new();
        url_decode(pair, true, &mut decoded);
        if is_secret_name(&String::from_utf8_lossy(&decoded)) {
            let name_end = memchr::memchr(b'=', pair).unwrap_or(0);
            shown.extend_from_slice(&pair[..name_end]);
            shown.push(b'=');
            shown.extend_from_slice(SECRET.as_bytes());
        } else {
            shown.extend_from_slice(pair);
        }
    }
    escape(&shown)
}

/// The first [`SHOWN_MAX`] bytes of a value for a log or a terminal: letters,
/// digits and ASCII signs as they are, everything else as `\xHH` or `\u{…}`, a
/// backslash as `\\`; `…` where something was cut.
pub fn escape(value: &[u8]) -> String {
    let mut shown = String::new();
    let mut room = SHOWN_MAX;
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.len_utf8() > room {
                shown.push('…');
                return shown;
            }
            room -= c.len_utf8();
            match c {
                '\\' => shown.push_str("\\\\"),
                ' '..='~' => shown.push(c),
                c if c.is_ascii() => shown.push_str(&format!("\\x{:02x}", c as u32)),
                // Letters of any script; not what turns a line around or hides.
                c if c.is_alphanumeric() => shown.push(c),
                c => shown.push_str(&format!("\\u{{{:x}}}", c as u32)),
            }
        }
        for byte in chunk.invalid() {
            if room == 0 {
                shown.push('…');
                return shown;
            }
            room -= 1;
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping() {
        let cases: &[(&[u8], &str)] = &[
            (b"plain 'text' <b>", "plain 'text' <b>"),
            (b"a\\b\x1b[31m\n\0", "a\\\\b\\x1b[31m\\x0a\\x00"),
            ("café 日本 \u{202E}x\u{200B}".as_bytes(), "café 日本 \\u{202e}x\\u{200b}"),
            (b"\xFF\xFEa", "\\xff\\xfea"),
        ];
        for (value, expected) in cases {
            assert_eq!(escape(value), *expected);
        }
        assert_eq!(escape(&[b'a'; 257]), format!("{}…", "a".repeat(256)));
        assert_eq!(escape(&[b'a'; 256]), "a".repeat(256));
        assert!(escape(&[0xFF; 5_000]).len() < 1_100);
    }

    #[test]
    fn secret_pairs_are_replaced() {
        let cases = [
            ("/x?q=1&password=hunter2&b=2", "/x?q=1&password=[secret]&b=2"),
            ("q=1&pass%77ord=hunter2", "q=1&pass%77ord=[secret]"),
            ("/token", "=[secret]"),
            ("/a?q=my+token", "/a?q=[secret]"),
        ];
        for (text, expected) in cases {
            assert_eq!(without_secret_pairs(text.as_bytes()), expected);
        }
    }
}
