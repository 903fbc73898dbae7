//! Why a message is refused.

use std::borrow::Cow;

/// Why a message cannot be read. Small, as every field of every sample may
/// return it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WireError(Box<Details>);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}, at byte {at} of the message, in `{place}`")]
struct Details {
    what: Cow<'static, str>,
    at: usize,
    place: &'static str,
}

impl WireError {
    #[cold]
    pub(crate) fn new(what: Cow<'static, str>, at: usize, place: &'static str) -> Self {
        Self(Box::new(Details { what, at, place }))
    }

    /// What is wrong.
    pub fn what(&self) -> &str {
        &self.0.what
    }

    /// Where, from the begin of the decompressed message.
    pub fn at(&self) -> usize {
        self.0.at
    }

    /// The field that was read: `timeseries.samples`.
    pub fn place(&self) -> &'static str {
        self.0.place
    }
}
