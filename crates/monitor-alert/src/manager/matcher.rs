//! Label matchers as Alertmanager writes them: `severity=~"page|warn"`,
//! `team!=web`, several in braces or after one another with commas.

use crate::Labels;
use monitor_model::Matcher;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Matchers in one text.
const MAX_MATCHERS: usize = 100;

/// One condition as it is written; its JSON is that of Alertmanager's API v2.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatcherText {
    /// The label.
    pub name: String,
    /// The value or the regular expression.
    pub value: String,
    /// Whether the value is a regular expression.
    #[serde(default)]
    pub is_regex: bool,
    /// Whether it must match; `false` turns it round.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl MatcherText {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), value: value.to_owned(), is_regex: false, is_equal: true }
    }

    /// Ready to be used; the error says what is wrong with the expression.
    pub fn compile(&self) -> Result<Matcher, String> {
        match (self.is_regex, self.is_equal) {
            (false, true) => Ok(Matcher::equal(&self.name, &self.value)),
            (false, false) => Ok(Matcher::not_equal(&self.name, &self.value)),
            (true, equal) => Matcher::regex(&self.name, &self.value, !equal)
                .map_err(|error| format!("`{self}`: not a regular expression: {error}")),
        }
    }
}

impl fmt::Display for MatcherText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let operator = match (self.is_regex, self.is_equal) {
            (false, true) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (true, false) => "!~",
        };
        write!(f, "{}{operator}{:?}", self.name, self.value)
    }
}

/// Whether a label set fulfils all of them.
pub fn all_match(matchers: &[Matcher], labels: &Labels) -> bool {
    matchers.iter().all(|m| {
        let value = labels.iter().find(|(name, _)| *name == m.name).map_or("", |(_, value)| value.as_str());
        m.is_match(value)
    })
}

/// Reads one matcher or several: `a="b"`, `a="b",c=~"d"`, `{a="b", c!=d}`.
pub fn parse(text: &str) -> Result<Vec<MatcherText>, String> {
    let trimmed = text.trim();
    let inner = match (trimmed.strip_prefix('{'), trimmed.ends_with('}')) {
        (Some(rest), true) => &rest[..rest.len() - 1],
        (None, false) => trimmed,
        (None, true) if !trimmed.contains('{') => trimmed,
        _ => return Err(format!("`{text}`: `{{` and `}}` go together")),
    };
    let mut found = Vec::new();
    let mut rest = inner.trim_start();
    while !rest.is_empty() {
        if found.len() >= MAX_MATCHERS {
            return Err(format!("more than {MAX_MATCHERS} matchers"));
        }
        let (matcher, after) = one(rest).map_err(|why| format!("`{text}`: {why}"))?;
        matcher.compile()?;
        found.push(matcher);
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(more) => more.trim_start(),
            None if after.is_empty() => after,
            None => return Err(format!("`{text}`: a comma stands between two matchers")),
        };
    }
    Ok(found)
}

fn one(text: &str) -> Result<(MatcherText, &str), String> {
    let (name, rest) = if text.starts_with('"') {
        quoted(text)?
    } else {
        let end = text.find(|c: char| matches!(c, '=' | '!') || c.is_whitespace()).unwrap_or(text.len());
        (text[..end].to_owned(), &text[end..])
    };
    if name.is_empty() {
        return Err("a label's name is missing".to_owned());
    }
    if name.contains(['{', '}', ',', '"', '~']) {
        return Err(format!("`{name}` is no label's name; hint: put it in quotes"));
    }
    let rest = rest.trim_start();
    let operators = [("=~", true, true), ("!~", true, false), ("!=", false, false), ("=", false, true)];
    let Some((operator, is_regex, is_equal)) = operators.into_iter().find(|(op, ..)| rest.starts_with(op))
    else {
        return Err(format!("after `{name}` stands `=`, `!=`, `=~` or `!~`"));
    };
    let rest = rest[operator.len()..].trim_start();
    let (value, rest) = if rest.starts_with('"') {
        quoted(rest)?
    } else {
        // Without quotes a value goes to the next comma, as in Alertmanager's older syntax.
        let end = rest.find(',').unwrap_or(rest.len());
        let value = rest[..end].trim_end();
        if value.contains('"') {
            return Err("a quote within a value; hint: put all of it in quotes".to_owned());
        }
        (value.to_owned(), &rest[end..])
    };
    Ok((MatcherText { name, value, is_regex, is_equal }, rest))
}

/// A text in double quotes with `\"`, `\\` and `\n`; other backslashes stay, as
/// regular expressions need them.
fn quoted(text: &str) -> Result<(String, &str), String> {
    let mut out = String::new();
    let mut chars = text.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((out, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, 'n')) => out.push('\n'),
                Some((_, c @ ('"' | '\\'))) => out.push(c),
                Some((_, c)) => out.extend(['\\', c]),
                None => break,
            },
            c => out.push(c),
        }
    }
    Err("a quote that does not end".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let cases: &[(&str, Result<&[&str], &str>)] = &[
            ("a=\"b\"", Ok(&["a=\"b\""])),
            ("a = b", Ok(&["a=\"b\""])),
            ("{a=~\"x|y\", b!~\"z.*\" , c!=d,}", Ok(&["a=~\"x|y\"", "b!~\"z.*\"", "c!=\"d\""])),
            ("a=\"x,y\\\"\\n\",b=c d", Ok(&["a=\"x,y\\\"\\n\"", "b=\"c d\""])),
            ("a=~\"\\d+\"", Ok(&["a=~\"\\\\d+\""])),
            ("\"härte.1\"=x", Ok(&["härte.1=\"x\""])),
            ("{}", Ok(&[])),
            ("", Ok(&[])),
            ("a=", Ok(&["a=\"\""])),
            ("a", Err("stands `=`")),
            ("=b", Err("name is missing")),
            ("a=~\"(\"", Err("not a regular expression")),
            ("a=\"b", Err("does not end")),
            ("{a=b", Err("go together")),
            ("a=\"b\" c=\"d\"", Err("comma")),
        ];
        for (text, expected) in cases {
            match (parse(text), expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(
                        found.iter().map(ToString::to_string).collect::<Vec<_>>(),
                        *expected,
                        "{text}"
                    );
                }
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{text}: {why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
