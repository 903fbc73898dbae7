//! PromQL's text: read into a typed tree with every position, checked, and
//! written again.
//!
//! Pure: no I/O, no clock, no randomness. Depth and length are bounded.
//!
//! Sources: Prometheus manual, "Querying"; the language of Prometheus 3.14.

pub mod ast;
mod functions;

pub use functions::Function;
