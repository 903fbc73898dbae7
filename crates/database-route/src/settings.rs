//! What routing is told.

use base::Millis;
use serde::{Deserialize, Serialize};

/// Routing and pooling of one database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// A replica further behind gets no reads.
    pub max_lag: Millis,
    /// Connections to each member, at most.
    pub pool_size: u32,
    /// Client sessions, at most.
    pub max_clients: u32,
    /// How long a session waits for a connection to a member.
    pub pool_wait: Millis,
    /// How long a read waits for a replica to reach the session's position before it goes to the primary; 0 means not at all.
    pub read_wait: Millis,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            max_lag: Millis(2_000),
            pool_size: 40,
            max_clients: 1_000,
            pool_wait: Millis(10_000),
            read_wait: Millis(0),
        }
    }
}
