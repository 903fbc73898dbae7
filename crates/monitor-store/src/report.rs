//! What the store says about itself and about what it was given.

use monitor_model::{Exemplar, Histogram, Labels};
use std::path::PathBuf;
use std::sync::Arc;

/// A series of the store, found once by its labels and then named by this. The
/// store may forget a series that got no samples for long; the reference then
/// means nothing, and [`AppendReport`] says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesRef {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// A number to be stored.
#[derive(Clone, Copy, Debug)]
pub struct FloatRow {
    /// Whose it is.
    pub series: SeriesRef,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The value; the staleness marker keeps its bits.
    pub value: f64,
    /// When the counter began, in Unix milliseconds; 0 where that is not known.
    pub start_ms: i64,
}

/// A native histogram to be stored.
#[derive(Clone, Debug)]
pub struct HistogramRow {
    /// Whose it is.
    pub series: SeriesRef,
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The histogram; may be the staleness marker.
    pub value: Arc<Histogram>,
    /// When the counter began, in Unix milliseconds; 0 where that is not known.
    pub start_ms: i64,
}

/// An exemplar to be stored.
#[derive(Clone, Debug)]
pub struct ExemplarRow {
    /// Whose it is.
    pub series: SeriesRef,
    /// What it is.
    pub exemplar: Exemplar,
    /// Its sample's time, which counts where it has none of its own.
    pub at_ms: i64,
}

/// What is appended together: one write to the log.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Numbers.
    pub floats: Vec<FloatRow>,
    /// Native histograms.
    pub histograms: Vec<HistogramRow>,
    /// Exemplars.
    pub exemplars: Vec<ExemplarRow>,
}

impl Batch {
    /// Forgets the rows; the memory stays.
    pub fn clear(&mut self) {
        self.floats.clear();
        self.histograms.clear();
        self.exemplars.clear();
    }

    /// Whether there is nothing to append.
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.histograms.is_empty() && self.exemplars.is_empty()
    }
}

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
    /// Older than the out-of-order window.
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
    /// A histogram whose parts contradict each other.
    #[error("the histogram is not valid")]
    BadHistogram,
    /// A histogram with more buckets than it may have.
    #[error("the histogram has too many buckets")]
    TooManyBuckets,
    /// An exemplar whose labels have more than 128 characters (OpenMetrics 1.0).
    #[error("the exemplar's labels are too long")]
    ExemplarTooLong,
    /// The store forgot the series: ask for it again.
    #[error("the series is not known any more")]
    Forgotten,
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
    /// The first refused number's place among the floats of the batch (of
    /// another row's among its kind), for a message.
    pub first_refused: Option<(usize, Refusal)>,
    /// Places of floats whose series the store forgot: ask for it again, and append them again.
    pub forgotten_floats: Vec<usize>,
    /// Places of histograms, likewise.
    pub forgotten_histograms: Vec<usize>,
    /// Places of exemplars, likewise.
    pub forgotten_exemplars: Vec<usize>,
    /// Exemplars that were stored; the others were there already, or are older
    /// than their series' newest.
    pub exemplars: u64,
}

impl AppendReport {
    pub(crate) fn refuse(&mut self, place: usize, why: Refusal) {
        self.first_refused.get_or_insert((place, why));
        match self.refused.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((why, 1)),
        }
    }
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
    /// Log files that stay, for the log to go on with.
    pub(crate) kept: Vec<crate::log::OldFile>,
    /// Whether the manifest was made anew.
    pub(crate) rebuilt: bool,
}

/// What a call of [`crate::Store::maintain`] did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaintainReport {
    /// Blocks made of the head.
    pub blocks_cut: usize,
    /// Blocks merged into larger ones.
    pub blocks_merged: usize,
    /// Blocks rolled up.
    pub blocks_rolled: usize,
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
    /// The oldest and newest sample of the head, in Unix milliseconds.
    pub head_range_ms: Option<(i64, i64)>,
    /// Blocks on disk, rollups included.
    pub blocks: usize,
    /// Bytes of the blocks.
    pub block_bytes: u64,
    /// Of them, bytes of tables: symbols, postings, series, where chunks are.
    pub table_bytes: u64,
    /// Raw samples in the blocks.
    pub block_samples: u64,
    /// Blocks of rollups.
    pub rollups: usize,
    /// Their bytes.
    pub rollup_bytes: u64,
    /// Bytes of the log.
    pub log_bytes: u64,
    /// The oldest time that the store has, in Unix milliseconds.
    pub oldest_ms: Option<i64>,
    /// Exemplars that are kept.
    pub exemplars: usize,
    /// Deletions that are not applied to files yet.
    pub tombstones: usize,
    /// Samples stored since the store was opened.
    pub stored: u64,
    /// Duplicates since the store was opened.
    pub duplicates: u64,
    /// Samples that were counted as stored, and went when blocks were merged since
    /// the store was opened: for their time another value was acknowledged first.
    pub conflicts: u64,
    /// Refused samples since the store was opened, by reason.
    pub refused: Vec<(Refusal, u64)>,
    /// Samples lost to a failing disk since the store was opened: each was
    /// reported as an error to whoever appended it.
    pub failed: u64,
    /// Files found damaged since the store was opened.
    pub damaged: u64,
}

/// What makes the head large: the most frequent things, each with a count,
/// largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series in the head.
    pub series: usize,
    /// Distinct pairs of a label's name and value.
    pub label_pairs: usize,
    /// Metrics by their number of series.
    pub metrics: Vec<(String, u64)>,
    /// Labels by their number of values.
    pub label_values: Vec<(String, u64)>,
    /// Labels by the bytes of their values in all series.
    pub label_bytes: Vec<(String, u64)>,
    /// Pairs, `name=value`, by their number of series.
    pub pairs: Vec<(String, u64)>,
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
    /// The directory has a store of the first version.
    #[error(
        "`{}` holds a store of version 1, which this program does not read\nhint: move the directory away to begin a new one, or delete it; nothing in it was changed",
        .0.display()
    )]
    OldVersion(PathBuf),
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
