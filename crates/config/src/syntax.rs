//! From text to TOML, past mistakes where that is possible.

use crate::diagnostic::Code;
use crate::read::Context;
use crate::span::{Source, Span};
use toml_edit::Document;

/// More syntax errors than this say nothing new.
const MOST: usize = 20;

/// Parses the text. After a syntax error the table it stands in is left out and
/// the rest is parsed, so that one slip does not hide the others; the context is
/// then `partial`.
pub(crate) fn document(source: &Source, cx: &mut Context) -> Option<Document<String>> {
    let mut text = source.text.clone();
    for _ in 0..MOST {
        let error = match Document::parse(text.clone()) {
            Ok(document) => return Some(document),
            Err(error) => error,
        };
        cx.partial = true;
        let span = source.clamp(error.span().map_or_else(Span::default, Span::from));
        report(source, span, error.message(), cx);
        let part = part_around(&text, span.start);
        if text[part.start..part.end].bytes().all(|byte| byte.is_ascii_whitespace()) {
            return None;
        }
        // Spaces in its place keep every other byte where it is.
        let blank: String =
            text[part.start..part.end].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
        text.replace_range(part.start..part.end, &blank);
    }
    None
}

fn report(source: &Source, span: Span, message: &str, cx: &mut Context) {
    // What cannot be read may be a secret: nothing is shown of what stands behind its key.
    let line = source.line(source.line_of(span.start));
    let text = &source.text[line.start..line.end];
    for (at, _) in text.match_indices('=') {
        let key = text[..at].rsplit(['{', ',', '=']).next().unwrap_or_default();
        if crate::read::looks_secret(key) {
            cx.masked.push(Span { start: line.start + at + 1, end: line.end });
        }
    }
    if message == "duplicate key" {
        return duplicate(source, span, cx);
    }
    let hint = HINTS.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| (*hint).to_owned());
    cx.error(Code::Syntax, span, format!("not TOML: {message}")).hint = hint;
}

/// A key or table that stands in the file twice, with the place of the first.
fn duplicate(source: &Source, span: Span, cx: &mut Context) {
    let index = source.line_of(span.start);
    let text = |index: usize| {
        let line = source.line(index);
        (line, source.text[line.start..line.end].trim())
    };
    let key = &source.text[span.start..span.end];
    let (_, here) = text(index);
    let header = here.starts_with('[');
    let same = |line: &str| match header {
        true => line == here,
        false => line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(['=', '.'])),
    };
    let before = (0..index).rev().map(text).take_while(|(_, line)| header || !line.starts_with('['));
    let first = before.filter(|(_, line)| same(line)).map(|(span, _)| span).last();
    let what = if header { here.split('#').next().unwrap_or(here).trim() } else { key };
    let message = format!("{} stands in the file twice", crate::diagnostic::quote(what));
    let problem = cx.error(Code::Duplicate, span, message).hint("keep one; several values are a list");
    if let Some(first) = first {
        problem.related(first, "the first is here");
    }
}

/// What to do about the messages of `toml_edit`, by a part of them.
const HINTS: &[(&str, &str)] = &[
    ("string values must be quoted", "text stands in quotes; so do durations and sizes: `drain = \"20s\"`"),
    ("invalid mantissa", "text stands in quotes: `run = \"./app\"`"),
    ("invalid boolean", "text stands in quotes; `true` and `false` do not"),
    ("invalid basic string", "close the quote on the same line"),
    ("invalid literal string", "close the quote on the same line"),
    ("missing comma", "put a comma between the elements, and close the list or table"),
    ("unclosed", "close it with the bracket that is missing"),
    ("invalid unquoted key", "keys have letters of ASCII, digits, `-` and `_`"),
    ("missing value", "write a value behind the `=`"),
];

/// The lines from the table header above `at` up to the next one.
fn part_around(text: &str, at: usize) -> Span {
    let is_header = |line: &str| line.trim_start().starts_with('[');
    let mut start = 0;
    let mut end = text.len();
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let next = offset + line.len();
        if is_header(line) {
            if offset <= at {
                start = offset;
            } else {
                end = offset;
                break;
            }
        }
        offset = next;
    }
    Span { start, end }
}

/// Logins within URLs, `//user:password@host`: they are not shown.
pub(crate) fn logins(text: &str) -> Vec<Span> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("://") {
        let start = at + "://".len();
        let rest = &text[start..];
        let authority = rest.find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '/' | '?' | '#'));
        let authority = &rest[..authority.unwrap_or(rest.len())];
        if let Some(end) = authority.rfind('@') {
            found.push(Span { start, end: start + end });
        }
    }
    found
}
