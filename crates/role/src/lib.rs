//! What every role (`edge`, `database`, `monitor`, `agent`, `control`) is made
//! of besides its own work: how it starts, the admin socket it serves, its
//! metrics, its events.
//!
//! A role's `run(start)` builds its state from [`Start`], implements [`Role`],
//! calls [`admin::serve`], does its work until [`Shutdown`] says drain, and
//! returns. It holds no privileges and reads no configuration file: revisions
//! reach it as JSON, from disk at the start and by `POST /prepare` and
//! `POST /commit` afterwards.

pub mod admin;
pub mod client;
pub mod events;
pub mod listeners;
pub mod metrics;
pub mod shutdown;

pub use admin::{Request, Response, Role};
pub use events::Events;
pub use listeners::Listeners;
pub use metrics::{Counter, Family, Gauge, Histogram, Registry};
pub use shutdown::Shutdown;

use std::path::PathBuf;
use std::sync::Arc;

/// What a role starts with.
#[derive(Debug)]
pub struct Start<T> {
    /// Which role: `edge`.
    pub role: &'static str,
    /// The revision to begin with.
    pub revision: site::Revision<T>,
    /// Sockets inherited from the supervisor or systemd, by name; where there is
    /// none of a name, the role binds what the revision says.
    pub listeners: Listeners,
    /// Where the admin socket is made: `<run>/edge.sock`.
    pub run_dir: PathBuf,
    /// Where logs and data are: `<state>/log/events.jsonl`.
    pub state_dir: PathBuf,
    /// The event log.
    pub events: Events,
    /// The metrics.
    pub registry: Arc<Registry>,
    /// The signals.
    pub shutdown: Shutdown,
}

/// Why a role could not start or had to stop: what was attempted, on what, the
/// cause, and what to do.
#[derive(Debug)]
pub struct Fault {
    /// `cannot listen on 0.0.0.0:443: permission denied`.
    pub what: String,
    /// What the operator can do, where we know.
    pub hint: Option<String>,
}

impl Fault {
    /// A fault without a hint.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None }
    }

    /// With what to do about it.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.what)?;
        match &self.hint {
            Some(hint) => write!(f, "\n  hint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Fault {}
