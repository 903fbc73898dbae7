//! The time-series store: samples in, series out, on disk in between.
//!
//! ```text
//! append ─▶ log (one write, synced at intervals) ─▶ head (in memory) ─▶ blocks (immutable) ─▶ rollups
//! select ◀───────────────────────────────────────── head ◀───────────── blocks ◀───────────── rollups
//! ```
//!
//! What [`Store::append`] reports as stored is in the log by then: it survives
//! the end of the process, however it ends, and after [`Settings::sync`] also
//! the loss of power. Every two hours, or when the log is large, the head becomes
//! a block; memory, log and the time to open are bounded by that. Blocks of a
//! day become one, and rollups are made of it. A damaged file costs what is in
//! it, is named in a report, and never the store. A full disk refuses samples (an
//! error and a counter) until there is room again.
//!
//! It never reads the clock to decide anything about data (times are
//! arguments), starts no thread and prints nothing: the assembly calls
//! [`Store::maintain`] at intervals and tells what it reports.
//!
//! Where to look: a sample comes in by `append`, lies in `head`, goes out by
//! `flush`, `merge` and `rollup` to `block`, and is found again by `select`.
//!
//! Limits: 2^32 series at once; one process a directory; of two values for the
//! same time of a series the first acknowledged counts, and the second is told
//! apart from a new one only while the first is in the head.
//!
//! Sources: the formats are our own, drawn in `docs/formats/store.md`; the
//! staleness marker, the windows of time and the limits are Prometheus'.

mod append;
mod block;
mod bytes;
mod disk;
mod exemplars;
mod expire;
mod flush;
mod head;
mod headfile;
mod histograms;
mod log;
mod maintain;
mod manifest;
mod merge;
mod names;
mod numbers;
mod open;
mod record;
mod report;
mod rollup;
mod runs;
mod samples;
mod select;
mod settings;
mod store;
mod text;
mod times;
mod unpack;
mod walk;
mod wanted;

pub use report::{
    AppendReport, Batch, Cardinality, Damage, Error, ExemplarRow, FloatRow, HistogramRow, MaintainReport,
    OpenReport, Refusal, Sample, SeriesRef, Stats,
};
pub use select::RolledUp;
pub use settings::{Retention, Settings};
pub use store::Store;

/// Rollups' resolutions, in milliseconds.
pub(crate) const FIVE_MINUTES_MS: i64 = 300_000;
pub(crate) const HOUR_MS: i64 = 3_600_000;

/// What samples are rolled up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Resolution {
    /// A point for each 5 minutes.
    FiveMinutes,
    /// A point for each hour.
    Hour,
}

impl Resolution {
    /// How much time a point stands for, in milliseconds.
    pub fn ms(self) -> i64 {
        match self {
            Self::FiveMinutes => FIVE_MINUTES_MS,
            Self::Hour => HOUR_MS,
        }
    }
}

#[cfg(test)]
mod tests;
