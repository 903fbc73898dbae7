//! The samples of a series in a range, at one step.

use crate::{HistogramPoint, Point};
use monitor_lang::ast::Place;

/// The samples of a series in a range, at one step. Never empty.
#[derive(Clone, Copy)]
pub(crate) struct Window<'w> {
    pub(crate) floats: &'w [Point],
    pub(crate) histograms: &'w [HistogramPoint],
    /// Start timestamps: as many as there are samples, or none.
    pub(crate) float_starts: &'w [i64],
    pub(crate) histogram_starts: &'w [i64],
    /// Where a number is marked against the one before it (a reset, a change):
    /// places in `floats`, ascending, none of them 0. Only of functions that ask for it.
    pub(crate) marks: Marks<'w>,
    /// The range: after `start_ms`, up to and including `end_ms`. With `anchored`
    /// and `smoothed` there are samples outside it, too.
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    /// The time of evaluation.
    pub(crate) at_ms: i64,
    /// The other arguments, in order.
    pub(crate) args: &'w [f64],
    /// The metric's name.
    pub(crate) name: &'w str,
    /// Where notes say they are from: the first argument.
    pub(crate) place: Place,
    pub(crate) anchored: bool,
    pub(crate) smoothed: bool,
    /// Numbers are counts that rollups stand for.
    pub(crate) counts: bool,
}

/// Places that are marked.
#[derive(Clone, Copy, Default)]
pub(crate) struct Marks<'w> {
    pub(crate) places: &'w [u32],
    /// What is place 0 of the window.
    pub(crate) low: usize,
}

impl Marks<'_> {
    /// The marked places of the window.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.places.iter().map(|place| *place as usize - self.low)
    }
}

/// A range in time: after `start_ms`, up to and including `end_ms`.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

impl Span {
    pub(crate) fn seconds(self) -> f64 {
        (self.end_ms - self.start_ms) as f64 / 1e3
    }
}

impl Window<'_> {
    pub(crate) fn span(&self) -> Span {
        Span { start_ms: self.start_ms, end_ms: self.end_ms }
    }

    /// Seconds that the range is long.
    pub(crate) fn seconds(&self) -> f64 {
        self.span().seconds()
    }

    /// The start timestamp of a number; 0 where it is not known.
    pub(crate) fn float_start(&self, at: usize) -> i64 {
        self.float_starts.get(at).copied().unwrap_or_default()
    }

    pub(crate) fn histogram_start(&self, at: usize) -> i64 {
        self.histogram_starts.get(at).copied().unwrap_or_default()
    }
}

/// Whether a sample's start timestamp says that the counter began anew after the
/// sample before it (Prometheus' `isStartTimestampReset`).
pub(crate) fn begins_anew(start_before: i64, before_ms: i64, start: i64, at_ms: i64) -> bool {
    // Not set, after the sample, or at it (OpenTelemetry's "unknown").
    if start == 0 || start >= at_ms || start < before_ms {
        return false;
    }
    if start > before_ms {
        return true;
    }
    // It points at the sample before: a delta, or a counter whose start is not
    // known; of the latter the first sample has no start or its own time.
    start_before != 0 && start_before < before_ms
}
