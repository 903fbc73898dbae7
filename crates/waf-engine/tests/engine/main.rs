//! The engine as its callers see it.
//!
//! - [`language`]: what rules mean, case by case; the cases are `../cases/*.txt`.
//! - [`soundness`]: folding and filtering change nothing, on rules put together by chance.
//! - [`crs`]: the same on the Core Rule Set and its mutated attacks.
//! - [`hostile`]: any bytes at all; a workspace used again is as good as a new one.
//! - [`budgets`]: what a request may cost.

mod budgets;
mod case;
mod chance;
mod crs;
mod exchange;
mod hostile;
mod language;
mod soundness;
