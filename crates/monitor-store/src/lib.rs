//! The time-series store: samples in, series out, on disk in between.
//!
//! ```text
//! append ─▶ log (write, fsync at intervals) ─▶ head (compressed, in memory) ─▶ block files (immutable)
//! select ◀──────────────────────────────────── head ◀───────────────────────── blocks
//! ```
//!
//! A sample that [`Store::append`] reports as stored is in the log by then: it
//! survives the end of the process, however it ends, and after
//! [`Settings::sync`] also the loss of power. Every two hours the head's oldest
//! part becomes a block; the log before it is dropped. A damaged file costs what
//! is in it, is named in a report, and never the store. A full disk refuses
//! samples (an error and a counter) until there is room again.
//!
//! It never reads the clock to decide anything about data (times are
//! arguments), starts no thread and prints nothing: the assembly calls
//! [`Store::maintain`] at intervals and tells what it reports.
//!
//! Limits of this version: floats only (native histograms, exemplars and rollups
//! have their place in the formats), and samples older than the newest block are
//! refused. The formats are drawn in `docs/formats/store.md`.

mod block;
mod bytes;
mod chunk;
mod head;
mod log;
mod maintain;
mod open;
mod pack;
mod postings;
mod report;
mod select;
mod settings;
mod store;

pub use report::{AppendReport, Damage, Error, MaintainReport, OpenReport, Refusal, Sample, Stats};
pub use settings::Settings;
pub use store::Store;
