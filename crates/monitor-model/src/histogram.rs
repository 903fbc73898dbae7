//! Native histograms: one sample that holds a whole distribution.
//!
//! Counts are kept as doubles, whole numbers of integer histograms too (exact
//! below 2⁵³). Bucket counts are absolute, not differences.

use std::sync::Arc;

/// What is known about a counter reset before this sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum CounterReset {
    /// Nothing is known; a reader compares with the sample before.
    #[default]
    Unknown,
    /// There was one.
    Reset,
    /// There was none.
    NotReset,
    /// It is a gauge, and never resets.
    Gauge,
}

/// Buckets that follow one another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Span {
    /// From the end of the span before to this one's first bucket; of the first
    /// span its first bucket's index.
    pub offset: i32,
    /// How many buckets.
    pub length: u32,
}

/// The buckets on one side of zero.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Buckets {
    /// Which buckets there are.
    pub spans: Vec<Span>,
    /// Their counts; as many as the spans' lengths together.
    pub counts: Vec<f64>,
}

/// The schema of histograms whose bounds are given one by one.
pub const CUSTOM_BUCKETS: i8 = -53;

/// A native histogram.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// What is known about a reset.
    pub reset: CounterReset,
    /// The resolution: bucket bounds grow by 2^(2^-schema); −4 … 8, or [`CUSTOM_BUCKETS`].
    pub schema: i8,
    /// Half the width of the zero bucket.
    pub zero_threshold: f64,
    /// Observations in the zero bucket.
    pub zero_count: f64,
    /// All observations.
    pub count: f64,
    /// Their sum; the staleness marker here makes the whole sample one.
    pub sum: f64,
    /// Buckets above zero; with custom buckets all of them.
    pub positive: Buckets,
    /// Buckets below zero.
    pub negative: Buckets,
    /// Upper bounds of custom buckets, ascending, without +Inf; else empty.
    pub bounds: Arc<[f64]>,
}

impl Histogram {
    /// Whether this is the staleness marker.
    pub fn is_stale(&self) -> bool {
        crate::is_stale(self.sum)
    }

    /// Whether the bounds are given one by one.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS
    }
}
