//! The drawing of the line, for page and `bastide status`: what there is, not how it fares.

use serde::{Deserialize, Serialize};

/// Clients to replicas, from left to right.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// The site's name.
    pub site: String,
    /// The revision drawn, `r3`.
    pub revision: String,
    /// Its domains.
    pub domains: Vec<String>,
    /// The site's own URL, `https://localhost:8443/`.
    pub site_url: String,
    /// The page's URL.
    pub page_url: String,
    /// Whether the kernel's firewall is applied by us.
    pub firewall: bool,
    /// `detect`, `block`, or none without a WAF.
    pub waf: Option<String>,
    /// The pools in the order of the file.
    pub pools: Vec<LinePool>,
    /// The databases in the order of the file.
    pub databases: Vec<LineDatabase>,
}

/// A pool of web servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinePool {
    /// `app`.
    pub name: String,
    /// Whether we start and supervise them.
    #[serde(default)]
    pub run_here: bool,
    /// Their names and addresses.
    pub servers: Vec<LineServer>,
}

/// A web server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineServer {
    /// `app/1`.
    pub name: String,
    /// `127.0.0.1:41000`.
    pub address: String,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineDatabase {
    /// `main`.
    pub name: String,
    /// The router's address, `127.0.0.1:6432`.
    pub listen: String,
    /// A replica further behind gets no reads, in seconds.
    pub max_lag_seconds: f64,
    /// Its members.
    pub members: Vec<LineMember>,
}

/// A PostgreSQL server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LineMember {
    /// `main/0`.
    pub name: String,
    /// `127.0.0.1:41010`.
    pub address: String,
    /// `primary` or `replica`: what it is meant to be.
    pub role: String,
}
