//! The audit log: what `SecAudit…` asks to be kept of a transaction.

use crate::engine::Engine;
use crate::state::State;
use crate::transaction::{Outside, Verdict};

/// One transaction, for the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The transaction's name.
    pub id: String,
    /// The whole entry, in the format that `SecAuditLogFormat` asks for.
    pub text: String,
}

/// The record of a transaction, where one is to be kept.
pub(crate) fn record(_engine: &Engine, _state: &State, _outside: &Outside, _verdict: &Verdict) -> Option<Record> {
    None
}
