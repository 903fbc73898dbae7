//! The web application firewall: SecLang rules, parsed, compiled, evaluated.
//!
//! What it does: [`Engine::load`] compiles rule files into an engine that all
//! workers share; a [`Transaction`] inspects one request, head then body, says
//! whether to let it pass, and keeps which rule matched what in which value.
//!
//! What it never does: I/O, reading a clock, backtracking. Regular expressions
//! are those that run in time linear in the value; a rule that needs more is
//! refused when it is loaded. Values are bytes; nothing a client sends can make
//! it panic, and memory is bounded by [`limits`].
//!
//! This version knows a small part of SecLang, and everything else is an error
//! that names file, line and the thing not known, never silently skipped:
//!
//! - the directive `SecRule`, with line continuation and `#` comments;
//! - the variables in [`variable::VARIABLES`], selectors by name, `!` exclusions;
//! - the operators `@rx`, `@pm`, `@contains`, `@streq`, each with `!`;
//! - the transformations in [`transform::Transformation`];
//! - the actions `id phase deny pass status msg severity tag t log nolog chain`,
//!   in phases 1 (the head) and 2 (head and body).
//!
//! Where it is stricter than ModSecurity v3: ids below 100 are the engine's own
//! ([`builtin`]); a rule whose match denies is always reported, `nolog` or not,
//! because every decision must be explainable; JSON keys keep their duplicates.
//!
//! Limits: no collections that last, no variables set by rules, no response
//! phases, no XML. The contents of uploaded files are not inspected, their names
//! are.
//!
//! Sources: ModSecurity Reference Manual v3 (variables, transformations,
//! actions); its `Regex` class for what `@rx` means (`.` matches a newline, `^`
//! and `$` match at lines); WHATWG URL §5 for forms; RFC 7578 and RFC 2046 §5.1
//! for multipart; RFC 8259 for JSON; RFC 6265 §4.2 for cookies.

mod action;
mod body;
mod engine;
mod error;
pub mod limits;
mod operator;
mod parse;
mod report;
mod rule;
pub mod settings;
mod transaction;
pub mod transform;
mod values;
pub mod variable;

pub use engine::Engine;
pub use error::LoadError;
pub use limits::builtin;
pub use report::escape;
pub use settings::Settings;
pub use transaction::{Transaction, Verdict};
