//! PromQL: reads a query and evaluates it over anything that has series.
//!
//! [`Query::parse`] reads the text, [`Query::instant`] and [`Query::range`]
//! evaluate it over a [`Source`]; the answer is what Prometheus 3 would answer,
//! ready for the HTTP API's JSON.
//!
//! It never does I/O, reads no clock and holds no state between queries. A
//! query's length, nesting, steps, series and samples are bounded, and it asks
//! [`Options::stop`] often, so that a hostile query costs an error.
//!
//! Limits of this version: no native histograms, duration expressions,
//! `anchored`/`smoothed`, `info()` or start timestamps; each is an error that
//! names it.
//!
//! Sources: Prometheus manual, "Querying"; the behaviour was checked against
//! the scripts of Prometheus 3.14 (see [`script`]). `promql-parser` reads the text.

mod answer;
mod error;
mod eval;
mod functions;
mod guard;
mod plan;
mod query;
pub mod script;
mod stats;

pub use answer::{Answer, Outcome, Sample, Series, format_value};
pub use error::Error;
pub use monitor_model::{
    Labels, LabelsBuilder, METRIC_NAME, Matcher, Point, STALE, STALE_BITS, Selection, SeriesData,
    SeriesStream, Source, SourceError, is_stale, labels, series as source,
};
pub use query::{Options, Query, Stop, parse_selector};
