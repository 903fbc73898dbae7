//! Operators: whether a value matches, and which part of it.

use crate::error::Wrong;
use crate::limits::{REGEX_CACHE_MAX, REGEX_SIZE_MAX};
use aho_corasick::AhoCorasick;
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};
use std::ops::Range;

/// An operator with its argument, compiled.
#[derive(Debug)]
pub(crate) struct Test {
    negated: bool,
    operator: Operator,
    /// As the rule wrote it.
    pub(crate) text: String,
}

#[derive(Debug)]
enum Operator {
    Rx(Box<Regex>),
    Pm(Box<AhoCorasick>),
    Contains(Box<Finder<'static>>),
    Streq(Vec<u8>),
}

const NAMES: &[&str] = &["rx", "pm", "contains", "streq"];

impl Test {
    /// Reads `@rx …`, `!@streq …`, or a bare regular expression.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let (negated, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, text),
        };
        let (name, argument) = match rest.strip_prefix('@') {
            Some(named) => named.split_once(char::is_whitespace).unwrap_or((named, "")),
            None => ("rx", rest),
        };
        let argument = argument.trim_start();
        if name != "rx" && argument.contains("%{") {
            let what = format!("the argument of `@{name}` has a macro `%{{…}}`, which is not supported");
            return Err(Wrong::new(what, "write the value itself"));
        }
        let operator = match name {
            "rx" => Operator::Rx(Box::new(regex(argument)?)),
            "pm" => Operator::Pm(Box::new(phrases(argument)?)),
            "contains" => Operator::Contains(Box::new(Finder::new(argument.as_bytes()).into_owned())),
            "streq" => Operator::Streq(argument.as_bytes().to_vec()),
            other => return Err(Wrong::unknown("operator", "@", other, NAMES.iter().copied())),
        };
        Ok(Self { negated, operator, text: text.to_owned() })
    }

    /// The part of the value that matches; empty at the beginning for a negated
    /// operator.
    pub(crate) fn matches(&self, value: &[u8]) -> Option<Range<usize>> {
        let found = self.operator.find(value);
        if self.negated { found.is_none().then_some(0..0) } else { found }
    }
}

impl Operator {
    fn find(&self, value: &[u8]) -> Option<Range<usize>> {
        match self {
            Self::Rx(regex) => regex.find(value).map(|found| found.range()),
            Self::Pm(phrases) => phrases.find(value).map(|found| found.range()),
            Self::Contains(finder) => finder.find(value).map(|at| at..at + finder.needle().len()),
            Self::Streq(text) => (text == value).then_some(0..value.len()),
        }
    }
}

/// A regular expression as ModSecurity v3 compiles it (`PCRE_DOTALL |
/// PCRE_MULTILINE`, on bytes), of the kind that runs in linear time.
fn regex(pattern: &str) -> Result<Regex, Wrong> {
    let built = RegexBuilder::new(&translate(pattern)?)
        .unicode(false)
        .dot_matches_new_line(true)
        .multi_line(true)
        .size_limit(REGEX_SIZE_MAX)
        .dfa_size_limit(REGEX_CACHE_MAX)
        .build();
    built.map_err(|error| {
        let text = error.to_string();
        // The crate's message draws the pattern; its last line says what is wrong.
        let last = text.lines().last().unwrap_or(&text).trim().trim_start_matches("error: ").to_owned();
        let hint = if last.contains("look-around") || last.contains("backreference") {
            "look-around and backreferences cannot run in linear time; rewrite the rule without them"
        } else if text.contains("size limit") {
            "make counted repetitions smaller"
        } else {
            "correct the regular expression"
        };
        Wrong::new(format!("the regular expression does not compile: {last}"), hint)
    })
}

/// Where PCRE and the regex crate read a class differently: `[` inside one is
/// literal in PCRE, and so are `&&` and `~~`; `--` is refused as unclear.
fn translate(pattern: &str) -> Result<String, Wrong> {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    // The position inside a class: none, or how many members were seen.
    let mut class: Option<usize> = None;
    while let Some(c) = chars.next() {
        let Some(members) = class else {
            out.push(c);
            match c {
                '\\' => out.extend(chars.next()),
                '[' => {
                    class = Some(0);
                    if chars.peek() == Some(&'^') {
                        out.extend(chars.next());
                    }
                }
                _ => {}
            }
            continue;
        };
        class = Some(members + 1);
        match c {
            '\\' => {
                out.push(c);
                out.extend(chars.next());
            }
            // A `]` that comes first is literal, to both.
            ']' if members > 0 => {
                out.push(c);
                class = None;
            }
            '[' if chars.peek() == Some(&':') => {
                out.push(c);
                for inner in chars.by_ref() {
                    out.push(inner);
                    if inner == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' => out.extend(['\\', c]),
            '-' if chars.peek() == Some(&'-') => {
                return Err(Wrong::new("`--` inside a class is unclear", "write a literal `-` as `\\-`"));
            }
            _ => out.push(c),
        }
    }
    Ok(out)
}

/// Phrases between blanks, matched in any case.
fn phrases(argument: &str) -> Result<AhoCorasick, Wrong> {
    if argument.contains('|') {
        let what = "the phrases of `@pm` have a `|`, whose hexadecimal notation is not supported";
        return Err(Wrong::new(what, "write the phrases themselves, between blanks"));
    }
    let phrases: Vec<&str> = argument.split_ascii_whitespace().collect();
    if phrases.is_empty() {
        return Err(Wrong::new("`@pm` has no phrases", "write them after it, between blanks"));
    }
    AhoCorasick::builder()
        .ascii_case_insensitive(true)
        .build(phrases)
        .map_err(|error| Wrong::new(format!("the phrases of `@pm` do not compile: {error}"), "use fewer"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches() {
        type Case = (&'static str, &'static [u8], Option<&'static [u8]>);
        let cases: &[Case] = &[
            ("@rx (?i)union\\s+select", b"1 UNION  SELECT 2", Some(b"UNION  SELECT")),
            ("abc", b"xabcx", Some(b"abc")),
            ("@rx a.b", b"a\nb", Some(b"a\nb")),
            ("@rx ^b$", b"a\nb\nc", Some(b"b")),
            ("@rx \\Ab\\z", b"a\nb", None),
            ("@rx \\xff", b"\xFF", Some(b"\xFF")),
            ("@rx [[a]", b"[", Some(b"[")),
            ("@rx [&&|]", b"&", Some(b"&")),
            ("@rx []a]", b"]", Some(b"]")),
            ("@rx [^]a]", b"]", None),
            ("@rx [[:digit:]x]", b"7", Some(b"7")),
            ("@rx \\[a]", b"[a]", Some(b"[a]")),
            ("@rx", b"anything", Some(b"")),
            ("!@rx ^[a-z]+$", b"abc", None),
            ("!@rx ^[a-z]+$", b"a1", Some(b"")),
            ("@pm sleep benchmark", b"x BENCHMARK(1)", Some(b"BENCHMARK")),
            ("@pm sleep", b"awake", None),
            ("@contains ../", b"a/../b", Some(b"../")),
            ("@contains A", b"a", None),
            ("@contains ", b"a", Some(b"")),
            ("@streq GET", b"GET", Some(b"GET")),
            ("@streq GET", b"GETS", None),
            ("!@streq 0", b"1", Some(b"")),
        ];
        for (text, value, expected) in cases {
            let found = Test::parse(text).unwrap().matches(value);
            assert_eq!(found.map(|range| &value[range]), *expected, "{text} on {value:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("@rx (?<=a)b", "look-around"),
            ("@rx (a)\\1", "backreferences"),
            ("@rx (", "unclosed group"),
            ("@rx a{1000}{1000}", "size limit"),
            ("@rx [+--]", "unclear"),
            ("@detectSQLi", "`@detectSQLi` is not supported"),
            ("@ge 1", "`@ge` is not supported"),
            ("!@rxx a", "did you mean `@rx`"),
            ("@pm", "no phrases"),
            ("@pm a|41|b", "hexadecimal"),
            ("@streq %{tx.a}", "macro"),
        ];
        for (text, part) in cases {
            let wrong = Test::parse(text).unwrap_err();
            let all = format!("{} {}", wrong.what, wrong.hint);
            assert!(all.contains(part), "{text}: {wrong:?}");
        }
    }
}
