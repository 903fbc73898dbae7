//! What is pushed: remote write 1.0 and 2.0, read and written, and OTLP metrics,
//! read.
//!
//! Bytes in, calls to a sink out: [`remote::read_v1`] and [`remote::read_v2`]
//! allocate nothing for a time series of numbers (its labels are handed over as
//! raw bytes, for the caller's cache, and parsed when asked for), and histograms
//! only what they hold. [`otlp`] has Prometheus' translation of names, units,
//! resources and distributions.
//!
//! Never here: sockets, HTTP, files, clocks. Whether a sample is stored is the
//! sink's matter.
//!
//! Limits: decompressed size (checked against the length that the message
//! claims before anything is allocated), buckets per histogram, attributes per
//! set, elements of a JSON document. A message that breaks the protocol is
//! refused as a whole, with what is wrong and at which byte; a histogram that
//! breaks the rules for histograms is refused alone.
//!
//! Sources: Prometheus Remote-Write 1.0 and 2.0 specifications; Protocol Buffers
//! encoding; Snappy format description; OpenTelemetry protocol 1.x and its
//! "Prometheus and OpenMetrics compatibility" page; Prometheus 3 manual, `otlp`.

pub mod body;
mod error;
pub mod otlp;

mod proto;
pub mod remote;

pub use error::WireError;
