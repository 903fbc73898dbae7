//! What is wrong with a query's text.

use crate::Place;
use std::fmt;

/// What is wrong, and where. Its `Display` is Prometheus' own:
/// `1:5: parse error: unexpected end of input`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ParseError {
    /// What is wrong, without where.
    pub message: String,
    /// Which bytes of the text.
    pub place: Place,
    position: Position,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// Line and column, counted from 1; a column is a byte.
    Line(usize, usize),
    /// The text is empty.
    Unknown,
    /// Found when the text had been read: its bytes.
    Bytes,
    /// Prometheus finds it when it evaluates, and says no place.
    Evaluation,
}

impl ParseError {
    pub(crate) fn new(text: &str, place: Place, message: impl Into<String>) -> Self {
        let before = &text.as_bytes()[..(place.start as usize).min(text.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = match before.iter().rposition(|b| *b == b'\n') {
            Some(newline) => before.len() - newline,
            None => before.len() + 1,
        };
        let position = if text.is_empty() { Position::Unknown } else { Position::Line(line, column) };
        Self { message: message.into(), place, position }
    }

    pub(crate) fn unplaced(message: &str, place: Place) -> Self {
        Self { message: message.into(), place, position: Position::Bytes }
    }

    pub(crate) fn of_evaluation(message: &str, place: Place) -> Self {
        Self { message: message.into(), place, position: Position::Evaluation }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Position::Line(line, column) => write!(f, "{line}:{column}: parse error: {}", self.message),
            Position::Unknown => write!(f, "unknown position: parse error: {}", self.message),
            Position::Bytes => write!(f, "{}:{}: {}", self.place.start, self.place.end, self.message),
            Position::Evaluation => f.write_str(&self.message),
        }
    }
}
