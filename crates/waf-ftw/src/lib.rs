//! Regression cases in the form of go-ftw, the runner of the Core Rule Set's own
//! tests: what to send, byte by byte, and what must follow.
//!
//! Two users share it. `cargo xtask conformance crs` hands the bytes to our own
//! parser and engine in one process, with [`backend`] behind them; `bastide waf
//! test` sends them to a running site. Both [`read`] a file, build each stage's
//! bytes with [`Input::requests`], observe an [`Outcome`] and let [`judge`] decide.
//!
//! It never does I/O. What of the format it does not know is an error with its
//! line: a key that is misspelt would otherwise be an expectation that always
//! holds.
//!
//! Limits: a body's template knows text and `repeat`, the only functions that the
//! Core Rule Set's cases use of Go's; anchors of YAML are refused.
//!
//! Sources: go-ftw's documentation and behaviour (`ftwhttp/request.go`,
//! `test/defaults.go`, `runner/run.go` at 1.3), the schema of
//! coreruleset/ftw-tests-schema up to 3.0, albedo for the back end.

pub mod backend;
mod case;
mod judge;
mod node;
mod request;
mod template;

pub use case::{Case, Input, Logged, Output, ReadError, Stage, read};
pub use judge::{Outcome, Why, judge};
pub use request::{BuildError, Previous};

#[cfg(test)]
mod tests;
