//! SecLang: rule files, read into typed rules.
//!
//! [`parse`] takes the bytes of every file that takes part and answers
//! [`model::RuleSet`], in which default actions, removals and updates are already
//! applied; [`referenced`] says which further files a file names, so that a caller
//! reads them first. Nothing is ignored: what does not parse, is not known or is
//! not supported is an error with file, line and what to do; what is understood and
//! has no effect in this engine is a note.
//!
//! It never reads a file, runs anything, or compiles an expression: that is the
//! engine's. Limits: 50 errors, 64 files deep, 10,000 files.
//!
//! Source: the ModSecurity v3 reference manual, and libmodsecurity's behaviour where
//! the manual is silent; what differs between v2 and v3 is as in v3: removals and
//! updates apply wherever they stand and compare tags and messages whole, and a rule
//! without a disruptive action passes whatever `SecDefaultAction` says.

mod action;
mod build;
mod control;
mod data;
mod directive;
mod error;
mod files;
mod lines;
mod load;
mod macros;
pub mod model;
mod operator;
mod rules;
mod target;

pub use error::LoadError;
pub use files::{Files, Kind, Reference, referenced};
pub use load::{MAX_ERRORS, parse};
