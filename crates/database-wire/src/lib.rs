//! The PostgreSQL frontend/backend protocol, version 3.0: messages cut out of
//! bytes, read, and written, from both ends, and SCRAM-SHA-256 as both parties.
//!
//! What it does: [`frame`] cuts a stream into messages (large ones into pieces,
//! so that nobody has to hold them); [`startup`], [`frontend`] and [`backend`]
//! read and write them; [`error`] has the SQLSTATEs we send; [`scram`] the
//! state machines of RFC 5802 and RFC 7677.
//!
//! What it never does: I/O, clocks, randomness (nonces and salts are
//! arguments), and it never keeps more than the caller's buffer. Values inside
//! `DataRow` and `Bind` are not read: the router passes them on.
//!
//! Limits: a message is at most [`frame::MAX_MESSAGE`] bytes, a start-up packet
//! [`startup::MAX_STARTUP`]. Replication connections and protocol 2 are not spoken.
//!
//! Sources: PostgreSQL 15 manual, chapter 55 "Frontend/Backend Protocol",
//! above all 55.2 "Message Flow" and 55.7 "Message Formats".

pub mod backend;
pub mod error;
pub mod frame;
pub mod frontend;
pub mod scram;
pub mod startup;

pub use error::{ErrorFields, Report, Severity};
pub use frame::{Cut, Cutter, Malformed};
