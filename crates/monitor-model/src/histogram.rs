//! Native histograms: one sample that holds a whole distribution.
//!
//! Counts are kept as doubles, whole numbers of integer histograms too (exact
//! below 2⁵³). Bucket counts are absolute, not differences.
//!
//! What PromQL does with them is in the parts: [`Histogram::add`] and
//! [`Histogram::sub`] reconcile schema, zero bucket and custom bounds;
//! [`KahanSum`] adds many with compensation; [`Histogram::quantile`],
//! [`Histogram::fraction`] and [`Histogram::variance`] estimate;
//! [`Histogram::detect_reset`] compares two samples of a counter.
//!
//! Nothing here panics on a histogram whose spans and counts disagree; what came
//! from outside is nevertheless to be refused by [`Histogram::validate`] first.
//!
//! Sources: the specification of native histograms (Prometheus 3), and the
//! behaviour that Prometheus 3.14's own scripts pin down.

mod arithmetic;
mod bounds;
mod buckets;
mod classic;
mod custom;
mod estimate;
mod format;
mod kahan;
mod layout;
#[cfg(test)]
mod properties;
mod reset;
mod script;
mod trim;
mod validate;

use std::sync::Arc;

pub use arithmetic::{Added, IncompatibleSchemas};
pub use bounds::{MAX_SCHEMA, MIN_SCHEMA};
pub use buckets::Bucket;
pub use classic::{ClassicError, ClassicHistogram};
pub use estimate::{Estimate, NanEffect};
pub use format::format_g;
pub use kahan::{KahanSum, kahan_add};
pub use script::ScriptError;
pub use validate::{HistogramError, MAX_BUCKETS, Side};

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
    /// The staleness marker as a histogram.
    pub fn stale() -> Self {
        Self { sum: crate::STALE, ..Self::default() }
    }

    /// Whether this is the staleness marker.
    pub fn is_stale(&self) -> bool {
        crate::is_stale(self.sum)
    }

    /// Whether the bounds are given one by one.
    pub fn has_custom_buckets(&self) -> bool {
        self.schema == CUSTOM_BUCKETS
    }

    /// How many buckets are written down, empty ones too; the zero bucket not.
    pub fn bucket_count(&self) -> usize {
        self.positive.counts.len() + self.negative.counts.len()
    }

    /// Bytes of memory that it takes, bounds included.
    pub fn bytes(&self) -> usize {
        let side = |side: &Buckets| side.spans.len() * size_of::<Span>() + side.counts.len() * 8;
        size_of::<Self>() + side(&self.positive) + side(&self.negative) + self.bounds.len() * 8
    }
}
