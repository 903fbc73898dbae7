//! Lines as Apache reads them: continued with a backslash, split into arguments
//! that may be quoted.

use std::borrow::Cow;

use crate::error::{Wrong, shown};

/// A directive with its arguments, and where each piece of it stands.
pub(crate) struct Line<'a> {
    text: Cow<'a, [u8]>,
    /// The first line's number, from 1.
    pub(crate) number: u32,
    /// Where in `text` each continued line begins, and its number.
    breaks: Vec<(usize, u32)>,
    /// The first comment inside the continued line, which was left out.
    pub(crate) comment: Option<u32>,
    /// A line that looks continued but has blanks after its backslash.
    pub(crate) blanks_after_backslash: Option<u32>,
}

/// One argument.
#[derive(Debug)]
pub(crate) struct Arg<'a> {
    /// With quotes taken off and `\"` made `"`.
    pub(crate) text: Cow<'a, [u8]>,
    /// Where it begins in the line's text.
    start: usize,
    /// Where in the line's text a backslash was taken out.
    removed: Vec<usize>,
}

impl Arg<'_> {
    /// For names and numbers; anything that is not UTF-8 is shown as such.
    pub(crate) fn str(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }
}

impl Line<'_> {
    /// The number of the line that holds the `offset`th byte of an argument.
    pub(crate) fn number_at(&self, arg: &Arg<'_>, offset: usize) -> u32 {
        let mut at = arg.start + offset;
        for &removed in &arg.removed {
            if removed > at {
                break;
            }
            at += 1;
        }
        self.breaks.iter().rev().find(|(from, _)| *from <= at).map_or(self.number, |(_, number)| *number)
    }

    /// Whether it is a rule, for lines that do not split.
    pub(crate) fn names_rule(&self) -> bool {
        let text = self.text.trim_ascii_start();
        starts_with_ignore_case(text, b"secrule") || starts_with_ignore_case(text, b"secaction")
    }

    /// The directive and its arguments, and whether a rule's actions, the last of
    /// them, lack their closing quote, which libmodsecurity allows.
    pub(crate) fn args(&self) -> Result<(Vec<Arg<'_>>, bool), Wrong> {
        let text: &[u8] = &self.text;
        let mut args: Vec<Arg<'_>> = Vec::with_capacity(4);
        let mut at = 0;
        loop {
            while at < text.len() && text[at].is_ascii_whitespace() {
                at += 1;
            }
            if at == text.len() {
                return Ok((args, false));
            }
            let (arg, end) = match text[at] {
                quote @ (b'"' | b'\'') => match quoted(text, at + 1, quote) {
                    (arg, Some(end)) => (arg, end),
                    (arg, None) if args.len() == 3 && args[0].text.eq_ignore_ascii_case(b"secrule") => {
                        args.push(arg);
                        return Ok((args, true));
                    }
                    (arg, None) => {
                        return Err(Wrong::new(
                            format!("the quote before `{}` is never closed", shown(&arg.text)),
                            "close it on this line, or end the line with a backslash to continue it",
                        ));
                    }
                },
                _ => bare(text, at),
            };
            if text.get(end).is_some_and(|b| !b.is_ascii_whitespace()) {
                return Err(Wrong::new(
                    format!("`{}` follows a closing quote", shown(&text[end..])),
                    "a quote inside a quoted text is written `\\\"`",
                ));
            }
            args.push(arg);
            at = end;
        }
    }
}

/// A quoted argument that begins at `start`; where the line goes on after it, if
/// the quote is closed. `\"` becomes `"`; every other backslash stays, as
/// expressions need it.
fn quoted(text: &[u8], start: usize, quote: u8) -> (Arg<'_>, Option<usize>) {
    let mut removed = Vec::new();
    let mut at = start;
    while let Some(found) = memchr::memchr2(quote, b'\\', &text[at..]) {
        at += found;
        if text[at] == quote {
            break;
        }
        if text.get(at + 1) == Some(&quote) {
            removed.push(at);
        }
        at = (at + 2).min(text.len());
    }
    if text.get(at) != Some(&quote) {
        at = text.len();
    }
    let inner = if removed.is_empty() {
        Cow::Borrowed(&text[start..at])
    } else {
        let mut out = Vec::with_capacity(at - start);
        let mut from = start;
        for &backslash in &removed {
            out.extend_from_slice(&text[from..backslash]);
            from = backslash + 1;
        }
        out.extend_from_slice(&text[from..at]);
        Cow::Owned(out)
    };
    (Arg { text: inner, start, removed }, (at < text.len()).then_some(at + 1))
}

/// An argument without quotes around it; `ARGS:'/a b/'` is one.
fn bare(text: &[u8], start: usize) -> (Arg<'_>, usize) {
    let mut at = start;
    while at < text.len() && !text[at].is_ascii_whitespace() {
        if text[at] == b'\'' && at > start && text[at - 1] == b':' {
            let close = text[at + 1..].windows(2).position(|w| w[1] == b'\'' && w[0] != b'\\');
            at += close.map_or(0, |n| n + 2);
        }
        at += 1;
    }
    (Arg { text: Cow::Borrowed(&text[start..at]), start, removed: Vec::new() }, at)
}

/// The lines of a file that say something.
pub(crate) fn lines(file: &[u8]) -> Lines<'_> {
    // A byte order mark is no part of the first directive's name.
    Lines { rest: file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file), number: 0 }
}

pub(crate) struct Lines<'a> {
    rest: &'a [u8],
    number: u32,
}

impl<'a> Lines<'a> {
    /// The next line as it stands in the file, without its end.
    fn physical(&mut self) -> Option<&'a [u8]> {
        if self.rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', self.rest);
        let line = &self.rest[..end.unwrap_or(self.rest.len())];
        self.rest = end.map_or(&[], |end| &self.rest[end + 1..]);
        self.number += 1;
        Some(line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// Goes over the rest of a rule that is commented out at its first line alone,
    /// as libmodsecurity does: `# SecRule … \`.
    fn skip_comment(&mut self, line: &[u8]) {
        let text = line.trim_ascii_start().trim_ascii_start_matches(b'#');
        let rule = starts_with_ignore_case(text, b"secrule") || starts_with_ignore_case(text, b"secaction");
        let mut line = line;
        while rule && line.trim_ascii_end().ends_with(b"\\") {
            match self.physical() {
                Some(next) => line = next,
                None => return,
            }
        }
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        loop {
            let line = self.physical()?;
            let trimmed = line.trim_ascii_start();
            if trimmed.is_empty() {
                continue;
            }
            if trimmed[0] == b'#' {
                self.skip_comment(line);
                continue;
            }
            let mut whole = Line {
                text: Cow::Borrowed(line),
                number: self.number,
                breaks: Vec::new(),
                comment: None,
                blanks_after_backslash: ends_in_backslash_and_blanks(line).then_some(self.number),
            };
            let Some(mut head) = continued(line) else { return Some(whole) };
            let mut text = Vec::with_capacity(512);
            loop {
                text.extend_from_slice(head);
                let Some(mut next) = self.physical() else { break };
                // A commented-out action in the middle of a rule.
                while next.trim_ascii_start().starts_with(b"#") {
                    whole.comment.get_or_insert(self.number);
                    match self.physical() {
                        Some(after) => next = after,
                        None => next = b"",
                    }
                }
                whole.breaks.push((text.len(), self.number));
                if ends_in_backslash_and_blanks(next) {
                    whole.blanks_after_backslash.get_or_insert(self.number);
                }
                match continued(next) {
                    Some(more) => head = more,
                    None => {
                        text.extend_from_slice(next);
                        break;
                    }
                }
            }
            whole.text = Cow::Owned(text);
            return Some(whole);
        }
    }
}

/// A line that the next one continues, without its backslash. Blanks behind the
/// backslash are reported; what follows is read as if they were not there.
fn continued(line: &[u8]) -> Option<&[u8]> {
    line.trim_ascii_end().strip_suffix(b"\\")
}

fn ends_in_backslash_and_blanks(line: &[u8]) -> bool {
    let trimmed = line.trim_ascii_end();
    trimmed.len() < line.len() && trimmed.ends_with(b"\\")
}

pub(crate) fn starts_with_ignore_case(text: &[u8], prefix: &[u8]) -> bool {
    text.len() >= prefix.len() && text[..prefix.len()].eq_ignore_ascii_case(prefix)
}

trait TrimMatches {
    fn trim_ascii_start_matches(&self, byte: u8) -> &[u8];
}

impl TrimMatches for [u8] {
    /// Without leading `byte`s and blanks.
    fn trim_ascii_start_matches(&self, byte: u8) -> &[u8] {
        let skip = self.iter().take_while(|&&b| b == byte || b.is_ascii_whitespace()).count();
        &self[skip..]
    }
}
