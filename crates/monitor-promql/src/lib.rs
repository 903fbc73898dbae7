//! PromQL: evaluates a query over anything that has series.
//!
//! [`Query::parse`] reads the text (see `monitor-lang`), [`Query::instant`] and
//! [`Query::range`] evaluate it over a [`Source`]; the answer is what Prometheus
//! 3.14 would answer, notes included, ready for the HTTP API's JSON.
//!
//! Series stream through a query one after another: a selector's samples are in
//! memory for as long as their series is looked at, aggregations fold, and only
//! what must see series together keeps them.
//!
//! It never does I/O, reads no clock and holds no state between queries. A
//! query's length, nesting, steps, series and samples are bounded, and it asks
//! [`Options::stop`] often, so that a hostile query costs an error.
//!
//! Where it differs from Prometheus on purpose: with names kept until the end, a
//! comparison of two vectors leaves the name of its result as its "many" side has
//! it (Prometheus keeps a name there that no longer fits); all notes of an
//! operator are told, not the last of each step only; `info()` finds the info
//! series of a target whatever other targets the query sees; the date of NaN is NaN
//! (Prometheus' depends on the processor); a label value that a function makes is
//! at most 1 MiB long.
//!
//! Sources: Prometheus manual, "Querying"; the specification of native histograms
//! (Prometheus 3); the behaviour was checked against the scripts of Prometheus
//! 3.14 (see [`script`]).

mod answer;
mod column;
mod dates;
mod error;
mod eval;
mod functions;
mod notes;
mod plan;
mod query;
pub mod script;
mod stats;

pub use answer::{Answer, Outcome, Sample, Series, format_value};
pub use error::Error;
pub use monitor_model::{
    Histogram, HistogramPoint, Labels, LabelsBuilder, METRIC_NAME, Matcher, Point, STALE, STALE_BITS,
    Selection, SeriesData, SeriesStream, Source, SourceError, Value, is_stale, labels, series as source,
};
pub use query::{Options, Query, Stop, parse_selector};
