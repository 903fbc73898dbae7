//! Why a message is refused.

use std::borrow::Cow;

/// Why a message cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at byte {at} of the message, in `{place}`")]
pub struct WireError {
    /// What is wrong.
    pub what: Cow<'static, str>,
    /// From the message's begin, decompressed.
    pub at: usize,
    /// The field that was read: `timeseries.samples`.
    pub place: &'static str,
}

impl WireError {
    pub(crate) fn new(what: impl Into<Cow<'static, str>>, at: usize, place: &'static str) -> Self {
        Self { what: what.into(), at, place }
    }
}
