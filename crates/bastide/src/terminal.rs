//! What people see: colours, errors, exit codes.

use crate::args::Color;
use role::Fault;
use serde::Serialize;
use std::cell::Cell;
use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Done.
pub(crate) const OK: u8 = 0;
/// Failed.
pub(crate) const FAILED: u8 = 1;
/// Wrong usage (sysexits(3), EX_USAGE).
pub(crate) const USAGE: u8 = 64;

/// Standard output and error.
#[derive(Debug)]
pub(crate) struct Terminal {
    out_color: bool,
    err_color: bool,
    /// Data as JSON.
    pub(crate) json: bool,
    gone: Cell<bool>,
}

/// A colour's SGR parameters (ECMA-48 §8.3.117); meaning is never in colour alone.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    /// Well.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Secondary.
    Dim,
    /// A heading.
    Bold,
}

impl Style {
    const fn sgr(self) -> &'static str {
        match self {
            Self::Good => "32",
            Self::Warn => "33",
            Self::Bad => "31",
            Self::Dim => "2",
            Self::Bold => "1",
        }
    }
}

impl Terminal {
    /// Decides about colours: the option, then NO_COLOR, then whether it is a terminal.
    pub(crate) fn new(color: Color, json: bool) -> Self {
        let wanted = |terminal: bool| match color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty()),
        };
        Self {
            out_color: wanted(std::io::stdout().is_terminal()),
            err_color: wanted(std::io::stderr().is_terminal()),
            json,
            gone: Cell::new(false),
        }
    }

    /// Whether standard error takes colours.
    pub(crate) fn err_colored(&self) -> bool {
        self.err_color
    }

    /// Text for standard output in a style.
    pub(crate) fn paint(&self, style: Style, text: impl Display) -> String {
        paint(self.out_color, style, text)
    }

    /// Text for standard error in a style.
    pub(crate) fn paint_err(&self, style: Style, text: impl Display) -> String {
        paint(self.err_color, style, text)
    }

    /// A line of data. Whoever reads it may go away early: that is no error of ours.
    pub(crate) fn line(&self, text: impl Display) {
        if writeln!(std::io::stdout().lock(), "{text}").is_err() {
            self.gone.set(true);
        }
    }

    /// Whether what is printed still reaches somebody.
    pub(crate) fn is_read(&self) -> bool {
        !self.gone.get()
    }

    /// A line beside the data.
    pub(crate) fn note(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A question, without a line's end.
    pub(crate) fn ask(&self, text: &str) {
        let mut err = std::io::stderr().lock();
        let _ = write!(err, "{text}").and_then(|()| err.flush());
    }

    /// How many places a line has where standard output is a terminal.
    pub(crate) fn columns(&self) -> Option<usize> {
        let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
        (size.ws_col > 0).then_some(size.ws_col.into())
    }

    /// Data as JSON, indented.
    pub(crate) fn print_json(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(text),
            Err(error) => self.note(format!("error: the answer cannot be written as JSON: {error}")),
        }
    }

    /// An error and what to do.
    pub(crate) fn fault(&self, fault: &Fault) {
        self.note(format!("{} {fault}", self.paint_err(Style::Bad, "error:")));
    }

    /// A warning.
    pub(crate) fn warn(&self, text: impl Display) {
        self.note(format!("{} {text}", self.paint_err(Style::Warn, "warning:")));
    }
}

fn paint(on: bool, style: Style, text: impl Display) -> String {
    if on { format!("\x1b[{}m{text}\x1b[0m", style.sgr()) } else { text.to_string() }
}

/// Text from elsewhere, safe for a terminal: control characters become `\u{..}`.
pub(crate) fn escape(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}
