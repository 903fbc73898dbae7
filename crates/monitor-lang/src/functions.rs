//! The functions of the language: what they take and give.

use crate::ast::Type;

/// A function.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub args: &'static [Type],
    /// How many arguments at the end may be left out (`n`), or that the last may
    /// be repeated without a bound (−1).
    pub variadic: i8,
    /// What it gives.
    pub gives: Type,
    /// Whether Prometheus counts it as experimental.
    pub experimental: bool,
}
