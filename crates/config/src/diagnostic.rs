//! What is wrong with a file, where, and what to do about it.

use crate::span::{Source, Span};
use serde::Serialize;
use std::fmt::Write as _;

/// One finding about a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// What kind of finding: stable, for programs.
    pub code: Code,
    /// What is wrong: a lower-case fragment, values in back-ticks.
    pub message: String,
    /// The file's name.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// The bytes of the file that are meant.
    pub span: Span,
    /// The line they stand on.
    pub snippet: Snippet,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file is refused.
    Error,
    /// The file works; this part of it probably does not do what was meant.
    Warning,
    /// The file works, and so does this; there is something to know about it.
    Note,
}

/// The kinds of findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// Not TOML.
    Syntax,
    /// A key or table that does not exist.
    UnknownKey,
    /// A name that nothing in the file has.
    UnknownName,
    /// A string where a number is wanted, and the like.
    WrongType,
    /// A value that cannot be read.
    BadValue,
    /// A value beyond its range.
    OutOfRange,
    /// A key that must be there.
    MissingKey,
    /// Keys that exclude or need one another.
    Conflict,
    /// The same thing twice.
    Duplicate,
    /// A secret in plain text.
    PlainSecret,
    /// Something that a later version brings.
    NotBuilt,
    /// Something that has no effect.
    NoEffect,
    /// A file named in this file cannot be used (found by who reads it).
    File,
    /// An expression or rule that does not parse (found by who compiles it).
    Expression,
}

/// One line of the file, made safe to print: control characters are replaced,
/// secrets are masked, and a long line is cut around the place that is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Snippet {
    /// The line.
    pub text: String,
    /// How many characters stand before the place that is meant.
    pub caret: usize,
    /// How many characters are meant, at least 1.
    pub width: usize,
}

/// Another place that has to do with a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Related {
    /// What is there.
    pub message: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// That line.
    pub snippet: Snippet,
}

/// A snippet shows this many characters of a line, so that a line of a megabyte does not flood a terminal.
const SNIPPET_CHARS: usize = 120;
/// A value quoted in a message is cut after this many characters.
const QUOTE_CHARS: usize = 60;

impl Diagnostic {
    pub(crate) fn at(source: &Source, masked: &[Span], problem: Problem) -> Self {
        let span = source.clamp(problem.span);
        let (line, column, snippet) = locate(source, masked, span);
        let related = problem
            .related
            .into_iter()
            .map(|(span, message)| {
                let (line, column, snippet) = locate(source, masked, source.clamp(span));
                Related { message: printable(&message), line, column, snippet }
            })
            .collect();
        Self {
            severity: problem.severity,
            code: problem.code,
            message: printable(&problem.message),
            file: printable(&source.name),
            line,
            column,
            span,
            snippet,
            related,
            hint: problem.hint.as_deref().map(printable),
        }
    }

    /// For a terminal: message, file and line, the line with the place marked,
    /// hint. Ends with a newline. Says the same with and without colour.
    pub fn render(&self, color: bool) -> String {
        let paint = |code: &str, text: &str| match color {
            true => format!("\x1b[{code}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let (word, hue) = match self.severity {
            Severity::Error => ("error", "1;31"),
            Severity::Warning => ("warning", "1;33"),
            Severity::Note => ("note", "1;36"),
        };
        let lines = self.related.iter().map(|related| related.line).chain([self.line]);
        let gutter = lines.max().unwrap_or(1).to_string().len();
        let mut out = String::new();
        let _ = writeln!(out, "{}: {}", paint(hue, word), paint("1", &self.message));
        let arrow = paint("34", "-->");
        let _ = writeln!(out, "{:gutter$}{arrow} {}:{}:{}", "", self.file, self.line, self.column);
        let bar = paint("34", "|");
        let mut excerpt = |line: usize, snippet: &Snippet, mark: &str, hue: &str, note: &str| {
            let number = paint("34", &format!("{line:>gutter$}"));
            let marks = paint(hue, mark.repeat(snippet.width).as_str());
            let note = if note.is_empty() { String::new() } else { format!(" {note}") };
            let _ = writeln!(out, "{:gutter$} {bar}", "");
            let _ = writeln!(out, "{number} {bar} {}", snippet.text);
            let _ = writeln!(out, "{:gutter$} {bar} {}{marks}{note}", "", " ".repeat(snippet.caret));
        };
        excerpt(self.line, &self.snippet, "^", hue, "");
        for related in &self.related {
            excerpt(related.line, &related.snippet, "-", "34", &related.message);
        }
        if let Some(hint) = &self.hint {
            let _ = writeln!(out, "{}: {hint}", paint("1;36", "hint"));
        }
        out
    }
}

/// A finding before it is located and made safe to print.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) severity: Severity,
    pub(crate) code: Code,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) related: Vec<(Span, String)>,
}

impl Problem {
    pub(crate) fn hint(&mut self, hint: impl Into<String>) -> &mut Self {
        self.hint = Some(hint.into());
        self
    }

    pub(crate) fn related(&mut self, span: Span, message: impl Into<String>) -> &mut Self {
        self.related.push((span, message.into()));
        self
    }
}

/// A value for a message: cut where it is long, in back-ticks.
pub(crate) fn quote(value: &str) -> String {
    match value.char_indices().nth(QUOTE_CHARS) {
        Some((cut, _)) => format!("`{}…`", &value[..cut]),
        None => format!("`{value}`"),
    }
}

/// The text with control characters and those that turn the direction of text
/// replaced, so that a file cannot drive the terminal that shows it.
fn printable(text: &str) -> String {
    text.chars().map(printable_char).collect()
}

fn printable_char(c: char) -> char {
    match c {
        '\t' => ' ',
        '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}' => {
            '\u{FFFD}'
        }
        c if c.is_control() => '\u{FFFD}',
        c => c,
    }
}

/// Line and column, both from 1, and the line as it may be shown.
fn locate(source: &Source, masked: &[Span], span: Span) -> (usize, usize, Snippet) {
    let index = source.line_of(span.start);
    let line = source.line(index);
    let start = span.start.min(line.end);
    let column = source.text[line.start..start].chars().count();
    let meant = source.text[start..span.end.clamp(start, line.end)].chars().take(SNIPPET_CHARS).count();

    let window = window(source, line, start);
    let masks: Vec<&Span> =
        masked.iter().filter(|mask| mask.start < window.end && window.start < mask.end).collect();
    let hidden = |at: usize| masks.iter().any(|mask| mask.start <= at && at < mask.end);
    let show = |(at, c): (usize, char)| if hidden(window.start + at) { '*' } else { printable_char(c) };
    let mut text: String = source.text[window.start..window.end].char_indices().map(show).collect();
    let mut caret = source.text[window.start..start].chars().count();
    if window.start > line.start {
        text.insert(0, '…');
        caret += 1;
    }
    if window.end < line.end {
        text.push('…');
    }
    let width = meant.min(SNIPPET_CHARS.saturating_sub(caret)).max(1);
    (index + 1, column + 1, Snippet { text: text.trim_end().to_owned(), caret, width })
}

/// The part of a line that is shown: all of it, or so many characters around the place that is meant.
fn window(source: &Source, line: Span, at: usize) -> Span {
    let text = &source.text[line.start..line.end];
    if text.chars().take(SNIPPET_CHARS + 1).count() <= SNIPPET_CHARS {
        return line;
    }
    let before = source.text[line.start..at].char_indices().rev().take(SNIPPET_CHARS / 4).last();
    let start = line.start + before.map_or(0, |(offset, _)| offset);
    let after = source.text[start..line.end].char_indices().nth(SNIPPET_CHARS);
    Span { start, end: after.map_or(line.end, |(offset, _)| start + offset) }
}
