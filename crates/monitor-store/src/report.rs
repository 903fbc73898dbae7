//! What the store says about itself and about what it was given.

use monitor_promql::Labels;
use std::path::PathBuf;

/// A value of a series at a time, to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// What names the series.
    pub labels: &'a Labels,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The value; the staleness marker keeps its bits.
    pub value: f64,
}

/// Why one sample was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Older than the out-of-order window, or than what is already in blocks.
    #[error("the sample is too old")]
    TooOld,
    /// The series has another value at this time.
    #[error("the series has another value at this time")]
    Conflict,
    /// Too far ahead of the clock.
    #[error("the sample is too far in the future")]
    Future,
    /// A new series, and the head has as many as it may.
    #[error("the store has as many series as it may")]
    TooManySeries,
    /// The series has more labels than it may.
    #[error("the series has too many labels")]
    TooManyLabels,
    /// A label's name is longer than it may be.
    #[error("a label's name is too long")]
    LabelNameTooLong,
    /// A label's value is longer than it may be.
    #[error("a label's value is too long")]
    LabelValueTooLong,
    /// The series has no labels at all.
    #[error("the series has no labels")]
    NoLabels,
}

impl Refusal {
    /// The value of the label `result` of `bastide_monitor_samples_total`.
    pub fn result(self) -> &'static str {
        match self {
            Self::TooOld | Self::Conflict => "out_of_order",
            _ => "refused",
        }
    }
}

/// What became of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// Samples that are in the log and can be queried.
    pub stored: u64,
    /// Samples that were there already with the same value.
    pub duplicates: u64,
    /// How many were refused, by reason; only reasons that occurred.
    pub refused: Vec<(Refusal, u64)>,
    /// The first refused sample's place in the batch, for a message.
    pub first_refused: Option<(usize, Refusal)>,
}

/// Something on disk that could not be read and was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, where, and what was lost by it.
    pub what: String,
}

/// What was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Blocks that are in use.
    pub blocks: usize,
    /// Log files that were read.
    pub log_files: usize,
    /// Samples taken from checkpoint and log into the head.
    pub samples: u64,
    /// Series in the head.
    pub series: usize,
    /// Bytes of an unfinished record at the end of the log, cut off: what was
    /// being written, and so not acknowledged, when the process ended.
    pub torn_bytes: u64,
    /// What could not be read.
    pub damage: Vec<Damage>,
}

/// What a call of [`crate::Store::maintain`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintainReport {
    /// Blocks written.
    pub blocks_cut: usize,
    /// Blocks merged into larger ones.
    pub blocks_merged: usize,
    /// Blocks deleted because of age or size.
    pub blocks_expired: usize,
    /// What could not be read, found since the last call.
    pub damage: Vec<Damage>,
}

/// The store in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Series in the head.
    pub series: usize,
    /// Samples in the head.
    pub head_samples: u64,
    /// Bytes of the head's compressed samples.
    pub head_bytes: u64,
    /// The oldest and newest sample of the head, in Unix milliseconds.
    pub head_range_ms: Option<(i64, i64)>,
    /// Where the newest block ends, in Unix milliseconds; older samples are refused.
    pub newest_block_ms: Option<i64>,
    /// Blocks on disk.
    pub blocks: usize,
    /// Bytes of the blocks.
    pub block_bytes: u64,
    /// Samples in the blocks.
    pub block_samples: u64,
    /// Bytes of the log, checkpoint included.
    pub log_bytes: u64,
    /// The oldest time that the store has, in Unix milliseconds.
    pub oldest_ms: Option<i64>,
    /// Samples stored since the store was opened.
    pub stored: u64,
    /// Duplicates since the store was opened.
    pub duplicates: u64,
    /// Refused samples since the store was opened, by reason.
    pub refused: Vec<(Refusal, u64)>,
    /// Samples lost to a failing disk since the store was opened: each was
    /// reported as an error to whoever appended it.
    pub failed: u64,
    /// Files found damaged since the store was opened.
    pub damaged: u64,
}

/// Why the store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused: no space, no permission.
    #[error("{doing} `{}`: {error}", path.display())]
    Io {
        /// What was attempted: `writing`, `opening`.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        error: std::io::Error,
    },
    /// Another process has the store open.
    #[error(
        "another process uses the store `{}`\nhint: one monitor a state directory; end the other one, or give this one a directory of its own",
        .0.display()
    )]
    Locked(PathBuf),
    /// A setting that cannot be.
    #[error("{0}")]
    Settings(String),
}

impl Error {
    /// Whether the disk is full; the operator frees space and the store resumes.
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { error, .. }
            if matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded))
    }
}

/// Shorthand for the operating system's refusals.
pub(crate) fn io_error(doing: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.to_path_buf();
    move |error| Error::Io { doing, path, error }
}
