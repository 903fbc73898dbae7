//! Certificates: our internal authority, the reading of anyone's, and the choice
//! of one by the name a client asks for.
//!
//! It works on texts and bytes; the caller reads and writes files. Times are
//! arguments, in Unix seconds. Keys are made by AWS-LC from the kernel's chance.
//! It never logs or prints a key, and errors never quote one.
//!
//! Sources: RFC 5280 (certificates), RFC 6066 §3 (SNI), RFC 9525 (matching
//! names), RFC 7468 (PEM).

pub mod anyone;
pub mod authority;
pub mod load;
pub mod resolver;

pub use anyone::Anyone;
pub use authority::{Authority, Issued};
pub use load::{Info, Loaded, inspect, load};
pub use resolver::Resolver;

use std::fmt;

/// Why a certificate or key cannot be used: what is wrong, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertError {
    /// Lower-case fragment.
    pub what: String,
    /// What the operator can do.
    pub hint: Option<String>,
}

impl CertError {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for CertError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "; hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for CertError {}

/// When a certificate should be replaced: after two thirds of its life, which
/// leaves room for a month of failures in one of 90 days (the practice that ACME
/// clients follow).
pub const fn renew_at_s(not_before_s: u64, not_after_s: u64) -> u64 {
    not_before_s + (not_after_s.saturating_sub(not_before_s)) / 3 * 2
}
