//! PromQL's text: read into a typed tree with every position, checked, and
//! written again.
//!
//! [`parse`] reads a query, [`parse_selector`] what `match[]` holds; `Display`
//! of [`Expr`] and [`pretty`] write it. All of Prometheus 3.14 is there, what it
//! calls experimental included; errors have its words and positions.
//!
//! Pure: no I/O, no clock, no randomness. Length, nesting and the tree's height
//! are bounded ([`ParseOptions`]), so that whoever walks a tree may recurse; so is
//! what regular expressions take.
//!
//! Differences to Prometheus, on purpose: only the first mistake is told; `0x1e5`
//! is a number; what an escape names must be UTF-8; regular expressions are
//! those of the `regex` crate, as are the words about them, and their number is
//! bounded; a span below one millisecond is nothing.
//!
//! Sources: Prometheus manual, "Querying"; the language of Prometheus 3.14.

pub mod ast;
mod check;
mod duration;
mod error;
mod functions;
mod lexer;
mod number;
mod parser;
mod print;
mod quote;
mod token;

pub use ast::{Expr, Place};
pub use duration::{format_duration, parse_duration};
pub use error::ParseError;
pub use functions::{FUNCTIONS, Function};
pub use print::pretty;
pub use quote::quote;

use monitor_model::Matcher;

/// What a text may cost.
#[derive(Clone, Debug)]
pub struct ParseOptions {
    /// The longest text, in bytes. Default: 1 MiB.
    pub max_bytes: usize,
    /// How deep parentheses, arguments and signs may be in one another. Default:
    /// 150, for which 1 MiB of stack suffices without optimisation.
    pub max_nesting: usize,
    /// The most operations in one another: `a + b + c` are two. Default: 500.
    pub max_height: usize,
    /// How many different regular expressions with `\` or `{` there may be: what is
    /// shorter to write than to keep. A compiled one takes up to 1 MiB, which is
    /// some milliseconds of work. Default: 256.
    pub max_regexes: usize,
}

impl Default for ParseOptions {
    fn default() -> Self {
        Self { max_bytes: 1 << 20, max_nesting: 150, max_height: 500, max_regexes: 256 }
    }
}

/// Reads a query and checks its types.
pub fn parse(text: &str, options: &ParseOptions) -> Result<Expr, ParseError> {
    let mut expr = parser::Parser::new(text, options)?.whole()?;
    check::check(text, &mut expr)?;
    Ok(expr)
}

/// Reads a series selector alone, `up{job="a"}`. Unlike in a query it may
/// select everything; whoever minds looks with [`Matcher::matches_empty`].
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseError> {
    let options = ParseOptions::default();
    Ok(parser::Parser::new(text, &options)?.whole_selector()?.matchers)
}
