//! Access logs: followed, read, counted, and kept searchable for a while.
//!
//! - [`follow`]: files that grow, are renamed, cut, removed and made anew; every
//!   complete line is given once, whatever happens, a crash included.
//! - [`Format`]: how lines are written, compiled once. [`Format::parse`] reads a line
//!   without an allocation.
//! - [`Counts`]: requests, bytes, classes and durations by host, method and route.
//! - [`archive`]: the lines themselves, compressed, with what a search needs to pass
//!   over most of them.
//! - [`Reader`]: all of that for one log, with a checkpoint that holds it together.
//!
//! It never prints, never talks to a network, never waits for who reads, never runs
//! a task of its own: who uses it decides when ([`follow::Follower::poll`]) and on
//! which thread. Memory is bounded by [`count::Limits`] and constants beside the code.
//!
//! Limits: a line longer than 64 KiB is left out and counted; compressed rotated
//! files are not read; a file that is cut and written again to the same bytes is
//! taken for the same.
//!
//! Sources: nginx.org (ngx_http_log_module), Apache's mod_log_config, inotify(7),
//! logrotate(8); formats on disk: `docs/formats/logs.md`.

pub mod archive;
pub mod count;
mod entry;
pub mod follow;
mod format;
pub mod reader;
mod time;

pub use count::Counts;
pub use entry::{Entry, Time};
pub use format::{BadFormat, Format, Json, Scratch, Spec, Unit};
pub use reader::Reader;

/// A longer line is left out, and counted as unparsed.
pub const MAX_LINE: usize = 64 << 10;
