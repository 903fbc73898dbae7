//! The resolved site: what `control` makes of the file and publishes, and what
//! each role receives.
//!
//! Everything here is decided: defaults are filled in, addresses and ports
//! chosen, rule files read, secrets resolved. A role gets its own part only
//! ([`Edge`], [`Databases`], [`Monitor`]), with the secrets due to it, wrapped in
//! a [`Revision`]. Pure data; versions N and N−1 read each other's, so new
//! fields come with `#[serde(default)]`.

pub mod capture;
pub mod database;
pub mod edge;
pub mod line;
pub mod monitor;
pub mod process;
pub mod waf;

pub use capture::Captured;
pub use database::{Database, Databases, Durability, Member, MemberRole, PostgresInstance, User};
pub use edge::{AccessLog, Certificate, Edge};
pub use line::Line;
pub use monitor::{
    Agent, AgentPostgres, Capacity, DeadMan, Log, LogArchive, LogFormat, Login, Monitor, NamedText, Probe,
    ProbeKind, ProbeStep, RemoteWrite, ScrapeLimits, Store, Target,
};
pub use process::{ListenerSpec, ProcessFile, ProcessSpec, StopSignal, UserClass};
pub use waf::{Capture, CoreRuleSet, RouteWaf, Waf, WafBan};

use base::RevisionId;
use serde::{Deserialize, Serialize};

/// A committed or proposed configuration, or a role's part of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision<T> {
    /// Its number.
    pub id: RevisionId,
    /// The first 16 hexadecimal digits of the SHA-256 of everything it was made from.
    pub hash: String,
    /// When it was made, in Unix milliseconds.
    pub made_at_ms: u64,
    /// The content.
    pub site: T,
}

impl<T> Revision<T> {
    /// The same revision with another content: a role's part.
    pub fn part<U>(&self, site: U) -> Revision<U> {
        Revision { id: self.id, hash: self.hash.clone(), made_at_ms: self.made_at_ms, site }
    }
}

/// The whole site, as `control` keeps it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Site {
    /// The name of its state and run directories.
    pub name: String,
    /// What the edge gets.
    pub edge: Edge,
    /// What the database router gets; none without a database.
    pub databases: Option<Databases>,
    /// What the monitor gets.
    pub monitor: Monitor,
    /// What the agent gets, the socket of `control` aside.
    #[serde(default)]
    pub agent: Agent,
    /// What the supervisor keeps running, in order of starting.
    pub processes: Vec<ProcessSpec>,
}
