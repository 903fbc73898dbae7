//! What the derivation is told.

use base::net::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// `[firewall]` of the file, and the proxies the site trusts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// What may be reached besides the site's ports. An entry always beats a ban.
    pub allow: Vec<Allow>,
    /// Load balancers and CDNs before the site. Never banned in the kernel: a ban
    /// of a client behind them is enforced at the edge.
    pub trusted_proxies: Vec<IpNet>,
}

/// One entry of the allow-list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allow {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports.
    pub ports: PortRange,
    /// From where; none means from anywhere.
    pub from: Option<IpNet>,
}

/// What a port is a port of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Ports from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PortRange {
    /// The first, 1 to 65535.
    pub first: u16,
    /// The last, at least the first.
    pub last: u16,
}

/// All machines of the site and what runs on each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Topology {
    /// In the order of the file; a site without `[machine.*]` has one.
    pub machines: Vec<Machine>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// `edge-1`.
    pub name: String,
    /// Where the site's other machines come from and go to. May be empty where
    /// there is only one machine.
    pub addresses: Vec<IpAddr>,
    /// What runs on it.
    pub roles: Vec<Role>,
}

/// Something that runs on a machine, with the ports at which others reach it.
/// A port that listens on loopback alone is not told here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The edge: visitors reach these TCP ports.
    Edge {
        /// HTTPS and HTTP.
        ports: Vec<u16>,
    },
    /// Web servers of a pool: edges reach them, monitors read their metrics.
    App {
        /// The pool's name.
        pool: String,
        /// One for each web server here.
        ports: Vec<u16>,
    },
    /// The database router: web servers reach it.
    Router {
        /// The database's name.
        database: String,
        /// Where it listens.
        port: u16,
    },
    /// Members of a database: routers reach them, and they one another.
    Database {
        /// The database's name.
        database: String,
        /// One for each member here.
        ports: Vec<u16>,
    },
    /// The monitor: it reads the metrics of everything else.
    Monitor,
    /// What serves readings of the machine: monitors reach it.
    Agent {
        /// Where it listens.
        port: u16,
    },
}

impl PortRange {
    /// A single port.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl Protocol {
    /// `tcp` or `udp`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }
}
