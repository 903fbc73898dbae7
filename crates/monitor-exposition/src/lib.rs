//! What targets serve, read and written: the text format 0.0.4, OpenMetrics 1.0
//! and the protobuf exposition (`io.prometheus.client.MetricFamily`, delimited).
//!
//! [`Parser`] reads an exposition entry after entry, out of the body itself:
//! nothing is allocated for a sample, so that a scrape whose series are known
//! costs no memory. It takes what Prometheus' own readers take. [`check`] is for
//! those who want to know whether an exposition obeys its standard in every rule
//! about families, metrics and values; it remembers what it saw, and allocates.
//! [`Writer`] writes all three formats.
//!
//! The input is a stranger's: whatever it holds, the answer is entries or an
//! error with its place. [`Limits`] bound what is read.
//!
//! Never: HTTP, a clock, a judgement about which series are wanted.
//!
//! Limits: of OpenMetrics' protobuf (`application/openmetrics-protobuf`), which
//! nothing serves, nothing is read.
//!
//! Sources: Prometheus documentation, "Exposition formats" and "UTF-8 names";
//! OpenMetrics 1.0 (prometheus.io/docs/specs/om/open_metrics_spec);
//! `io/prometheus/client/metrics.proto` (prometheus/client_model); the
//! specification of native histograms.

mod check;
mod entry;
mod labels;
mod negotiate;
mod number;
mod parser;
mod proto;
mod text;
mod wire;
mod write;

pub use check::{Checked, check};
pub use entry::{Entry, ExemplarRef, HistogramEntry, Sample};
pub use labels::LabelPairs;
pub use negotiate::{Protocol, accept_header, best_for};
pub use number::{canonical, go_float, parse_float};
pub use parser::{Format, Limits, ParseError, Parser, Place};
pub use write::Writer;
