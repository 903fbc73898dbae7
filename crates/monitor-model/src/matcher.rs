//! Label matchers: what selects series.

use crate::Labels;
use regex::{Regex, RegexBuilder};
use std::fmt;

/// Why a text is no regular expression.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRegex(pub String);

/// One condition on one label. A label that is absent counts as empty.
#[derive(Clone)]
pub struct Matcher {
    /// The label's name.
    pub name: String,
    /// The value or the regular expression, as written.
    pub value: String,
    /// Whether the condition is turned round: `!=`, `!~`.
    pub negated: bool,
    test: Test,
}

#[derive(Clone)]
enum Test {
    Equal,
    /// A regular expression that is only `a|b|c`.
    OneOf(Vec<String>),
    Regex(Regex),
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), value: value.into(), negated: false, test: Test::Equal }
    }

    /// `name!="value"`.
    pub fn not_equal(name: &str, value: &str) -> Self {
        Self { negated: true, ..Self::equal(name, value) }
    }

    /// `name=~"regex"` or `name!~"regex"`; the expression is anchored at both
    /// ends and `.` matches line feeds too, as in Prometheus 3.
    pub fn regex(name: &str, regex: &str, negated: bool) -> Result<Self, BadRegex> {
        let test = match alternatives(regex) {
            Some(values) => Test::OneOf(values),
            None => Test::Regex(compile_anchored(regex)?),
        };
        Ok(Self { name: name.into(), value: regex.into(), negated, test })
    }

    /// Whether a label's value (empty where absent) fulfils the condition.
    pub fn is_match(&self, value: &str) -> bool {
        let hit = match &self.test {
            Test::Equal => self.value == value,
            Test::OneOf(values) => values.iter().any(|v| v == value),
            Test::Regex(regex) => regex.is_match(value),
        };
        hit != self.negated
    }

    /// Whether this is `name="value"`.
    pub fn is_equality(&self) -> bool {
        matches!(self.test, Test::Equal) && !self.negated
    }

    /// Whether the value is a regular expression: `=~`, `!~`.
    pub fn is_regex(&self) -> bool {
        !matches!(self.test, Test::Equal)
    }

    /// Whether series without the label are selected.
    pub fn matches_empty(&self) -> bool {
        self.is_match("")
    }

    /// The only values that can match, where the condition names them; an index
    /// looks those up instead of testing every value.
    pub fn exact_values(&self) -> Option<Vec<&str>> {
        match &self.test {
            _ if self.negated => None,
            Test::Equal => Some(vec![&self.value]),
            Test::OneOf(values) => Some(values.iter().map(String::as_str).collect()),
            Test::Regex(_) => None,
        }
    }

    /// Whether a series is selected by all of these conditions.
    pub fn all_match(matchers: &[Self], labels: &Labels) -> bool {
        matchers.iter().all(|m| m.is_match(labels.get(&m.name).unwrap_or_default()))
    }
}

/// As in PromQL: `job=~"a.*"`.
impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regex = !matches!(self.test, Test::Equal);
        let operator = match (regex, self.negated) {
            (false, false) => "=",
            (false, true) => "!=",
            (true, false) => "=~",
            (true, true) => "!~",
        };
        if crate::labels::is_label_name(&self.name) {
            write!(f, "{}{operator}{:?}", self.name, self.value)
        } else {
            write!(f, "{:?}{operator}{:?}", self.name, self.value)
        }
    }
}

impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Compiles a regular expression in Go's syntax that must match a whole value. The compiled
/// size is bounded, so that a hostile one costs an error and not memory.
pub fn compile_anchored(regex: &str) -> Result<Regex, BadRegex> {
    RegexBuilder::new(&format!("^(?s:{})$", crate::regex_of_go(regex)))
        .size_limit(1 << 20)
        .dfa_size_limit(1 << 20)
        .build()
        .map_err(|error| BadRegex(format!("`{regex}` is not a regular expression: {error}")))
}

/// The values of a regular expression that is nothing but `a|b|c`.
fn alternatives(regex: &str) -> Option<Vec<String>> {
    let plain =
        |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | ':' | '/' | ' ' | '|' | '@' | '=' | ',');
    regex.chars().all(plain).then(|| regex.split('|').map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions() {
        let re = |r: &str, negated| Matcher::regex("l", r, negated).unwrap();
        let cases = [
            (Matcher::equal("l", "a"), "a", true),
            (Matcher::equal("l", "a"), "b", false),
            (Matcher::equal("l", ""), "", true),
            (Matcher::not_equal("l", "a"), "", true),
            (re("a|b", false), "b", true),
            (re("a|b", false), "ab", false),
            (re("a|", false), "", true),
            (re("a.*", false), "a\nb", true),
            (re("a.*", false), "ba", false),
            (re("a|b.c", false), "bxc", true),
            (re("a|b.c", false), "ac", false),
            (re("a.+", true), "a", true),
            (re(".*", true), "", false),
        ];
        for (matcher, value, expected) in cases {
            assert_eq!(matcher.is_match(value), expected, "{matcher} on {value:?}");
        }
        assert_eq!(re("a|b", false).exact_values(), Some(vec!["a", "b"]));
        assert_eq!(re("a|b", true).exact_values(), None);
    }

    #[test]
    fn hostile_expressions_are_refused() {
        for regex in ["(", "a{1000}{1000}{1000}", "\\p{Greek", "[z-a]"] {
            assert!(Matcher::regex("l", regex, false).is_err(), "{regex}");
        }
    }
}
