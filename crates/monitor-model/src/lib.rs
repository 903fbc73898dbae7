//! What a sample is: label sets, values, native histograms, exemplars, metadata,
//! and the trait by which series are read.
//!
//! Everything of the monitor speaks these types: what is scraped or pushed
//! becomes them, the store keeps them, PromQL calculates with them.
//!
//! Pure: no I/O, no clock, no randomness.
//!
//! Sources: Prometheus manual, "Data model"; the specification of native
//! histograms (Prometheus 3); OpenMetrics 1.0 for exemplars and metadata.

mod dialect;
pub mod histogram;
pub mod labels;
mod matcher;
mod metadata;
pub mod series;

pub use dialect::regex_of_go;
pub use histogram::{CounterReset, Histogram, Span};
pub use labels::{Labels, LabelsBuilder, METRIC_NAME};
pub use matcher::{BadRegex, Matcher, compile_anchored};
pub use metadata::{Exemplar, Metadata, MetricType};
pub use series::{
    Column, HistogramPoint, Point, STALE, STALE_BITS, Selection, SeriesData, SeriesStream, Source,
    SourceError, Value, Windows, is_stale,
};
