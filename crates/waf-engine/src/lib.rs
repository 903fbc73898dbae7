//! The web application firewall: SecLang rules, compiled and run.
//!
//! What it does: [`Engine::load`] compiles rule files into an engine that all
//! workers share; a [`Transaction`] inspects one request and its answer, phase by
//! phase, says whether to let it pass, and [`Transaction::finish`] tells which rule
//! matched what in which value.
//!
//! What it never does: I/O, reading a clock, chance. Values are bytes; nothing a
//! client sends can make it panic; memory, values, work and time of a request are
//! bounded by [`settings::Limits`].
//!
//! How it is fast, in the order of what it saves:
//!
//! 1. What is decided when rules are loaded is not decided again (`compile::fold`).
//! 2. One pass over the distinct bytes of a text says which rules can match it at
//!    all, before any transformation (`filter`, `requirement`).
//! 3. Equal texts are kept, transformed and looked at once (`texts`).
//! 4. Chains of transformations share their beginnings, and are skipped where no
//!    byte of the text triggers them (`chains`).
//! 5. A worker's memory is used again; a benign request allocates nothing.
//!
//! Sources: ModSecurity Reference Manual v3; for what its words leave open, what
//! libmodsecurity 3.0.9 does, tried.

mod audit;
mod chains;
mod compile;
mod dialect;
mod engine;
mod expand;
mod expression;
mod filter;
mod grams;
mod kept;
mod number;
mod operate;
mod program;
mod report;
mod request;
mod requirement;
mod run;
pub mod settings;
mod state;
mod texts;
mod time;
mod transaction;

pub use audit::{Concurrent, LogContext, Record as AuditRecord, error_log_line};
pub use engine::{Engine, RuleFacts, builtin};
pub use kept::Collections;
pub use report::{MatchedIds, Report, Score, escape};
pub use settings::Settings;
pub use state::Exceeded;
pub use transaction::{Connection, Transaction, Verdict, Workspace};
pub use waf_lang::LoadError;
pub use waf_lang::model::Note;
