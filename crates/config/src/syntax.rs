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
    // What cannot be read may be a secret: only what stands before the value is shown.
    let line = source.line(source.line_of(span.start));
    let text = &source.text[line.start..line.end];
    if let Some((key, value)) = text.split_once('=')
        && crate::read::looks_secret(key)
    {
        cx.masked.push(Span { start: line.end - value.len(), end: line.end });
    }
    let hint = match message {
        "duplicate key" => Some("a key or table stands in the file only once; several values are a list"),
        message if message.contains("string values must be quoted") => Some("put the text in quotes"),
        _ => None,
    };
    cx.error(Code::Syntax, span, message.to_owned()).hint = hint.map(str::to_owned);
}

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
