//! What a pool is told.

use base::{Address, Millis};
use serde::{Deserialize, Serialize};

/// One pool of servers that run the same program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The name, `app`.
    pub name: String,
    /// Its servers.
    pub servers: Vec<Server>,
    /// How one is chosen.
    pub policy: Policy,
    /// Active checks; none means that only traffic tells.
    pub health: Option<HealthCheck>,
    /// Idle connections kept to each server.
    pub idle_connections: u32,
    /// Requests at one server at once; further ones go elsewhere or get 503. 0 means no limit.
    pub max_in_flight: u32,
}

/// One server of a pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// The name in logs, metrics and page: `app/1`.
    pub name: String,
    /// Where it answers.
    pub address: Address,
    /// Its share, 1 to 256.
    pub weight: u16,
}

/// How a server is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// In turn, by weight, spread evenly (smooth weighted round robin).
    RoundRobin,
    /// The one with the fewest requests in flight for its weight; ties in turn.
    #[default]
    LeastRequests,
}

/// `health = "GET /healthz"` and its refinements.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// `GET` or `HEAD`.
    pub method: String,
    /// The path, `/healthz`.
    pub path: String,
    /// Between two checks of a server.
    pub interval: Millis,
    /// For one check.
    pub timeout: Millis,
    /// Successes in a row before a server that was out is in.
    pub rise: u32,
    /// Failures in a row before a server that was in is out.
    pub fall: u32,
}
