//! Statement and session to primary or replica, and the decisions about members.
//!
//! What it does: [`class`] reads a statement with PostgreSQL's own parser and
//! says whether it is a plain read; [`cache`] remembers the answers; [`session`]
//! keeps what a session did that binds it to the primary; [`member`] chooses
//! the replica for a read, judges what members say of themselves, and computes
//! lag; [`position`] remembers how far each login has written.
//!
//! What it never does: I/O, clocks, randomness. Times and seeds are arguments.
//! It never proves a statement by its look: what is not on a list goes to the
//! primary. Views and triggers are not opened; behind a wrong guess stands
//! PostgreSQL itself, which refuses every write on a replica (SQLSTATE 25006),
//! and the router then runs the statement on the primary.
//!
//! Limits: statements longer than [`class::MAX_STATEMENT`] go to the primary unread.
//!
//! Sources: PostgreSQL manual chapters 9 (functions), 13.2 (isolation),
//! 27.4 (hot standby); `docs/decisions/read-your-writes.md`.

pub mod cache;
pub mod class;
mod functions;
pub mod member;
pub mod position;
pub mod session;
pub mod settings;
mod walk;

pub use class::{Class, Effect, Reason, Verdict, classify};
pub use functions::READ as READ_FUNCTIONS;

#[cfg(test)]
mod simulation;
