//! Why a query was not answered.

use crate::source::SourceError;

/// Why a query was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is not a query. The client's fault.
    #[error("{0}")]
    Parse(String),
    /// The query cannot be answered on this data: series that do not match one
    /// to one, a negative step, and the like. The client's fault.
    #[error("{0}")]
    Execution(String),
    /// The query would take more than it may.
    #[error("{0}")]
    Limit(String),
    /// The deadline passed.
    #[error("the query took longer than it may")]
    Timeout,
    /// The client went away, or the process ends.
    #[error("the query was cancelled")]
    Cancelled,
    /// The source failed. Ours.
    #[error("reading series: {0}")]
    Source(#[from] SourceError),
}

impl Error {
    /// The error type of Prometheus' HTTP API (Prometheus manual, "HTTP API",
    /// Format overview): `bad_data`, `execution`, `timeout`, `canceled`, `internal`.
    pub fn api_type(&self) -> &'static str {
        match self {
            Self::Parse(_) => "bad_data",
            Self::Execution(_) | Self::Limit(_) => "execution",
            Self::Timeout => "timeout",
            Self::Cancelled => "canceled",
            Self::Source(_) => "internal",
        }
    }
}

impl From<monitor_model::BadRegex> for Error {
    fn from(bad: monitor_model::BadRegex) -> Self {
        Self::Parse(bad.0)
    }
}
