//! Where in the file something stands.

use serde::Serialize;
use std::ops::{Deref, Range};

/// A range of bytes of the file, from `start` up to but without `end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self { start: range.start, end: range.end }
    }
}

/// A value and where it stands. A default stands where its key would: at the
/// head of the table that lacks it.
#[derive(Clone, Debug, PartialEq)]
pub struct Spanned<T> {
    /// The value.
    pub value: T,
    /// Where.
    pub span: Span,
    /// `false` for a default.
    pub given: bool,
}

impl<T> Spanned<T> {
    /// A value written in the file.
    pub const fn new(value: T, span: Span) -> Self {
        Self { value, span, given: true }
    }
}

impl<T> Deref for Spanned<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: std::fmt::Display> std::fmt::Display for Spanned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.value.fmt(f)
    }
}

/// A file's name and text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// As messages give it.
    pub name: String,
    /// All of it.
    pub text: String,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Source {
    /// Takes a file's text.
    pub fn new(name: &str, text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.to_owned(), text: text.to_owned(), lines }
    }

    /// The line (from 0) on which a byte stands.
    pub(crate) fn line_of(&self, at: usize) -> usize {
        self.lines.partition_point(|start| *start <= at).saturating_sub(1)
    }

    /// The bytes of a line (from 0), without its end.
    pub(crate) fn line(&self, index: usize) -> Span {
        let start = self.lines.get(index).copied().unwrap_or(self.text.len());
        let end = self.lines.get(index + 1).map_or(self.text.len(), |next| next - 1);
        let end = if self.text[start..end].ends_with('\r') { end - 1 } else { end };
        Span { start, end }
    }

    /// The span moved onto whole characters within the text.
    pub(crate) fn clamp(&self, span: Span) -> Span {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(span.start);
        Span { start, end: floor(span.end).max(start) }
    }
}
