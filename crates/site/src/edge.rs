//! What the edge receives.

use base::net::IpNet;
use base::{Bytes, Secret};
use edge_http::{Limits, Timeouts};
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// Everything the edge needs to serve the site.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edge {
    /// The host names that are the site's, in lower case. Requests for others get 421.
    pub domains: Vec<String>,
    /// Where TLS is served. Sockets inherited under the name `https` are used
    /// instead of binding where there are any.
    pub https: Vec<SocketAddr>,
    /// Where plain HTTP is redirected to HTTPS; inherited name `http`.
    pub http: Vec<SocketAddr>,
    /// Worker threads, at least 1.
    pub workers: u16,
    /// Proxies and CDNs whose `X-Forwarded-For`/`Forwarded` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Certificates; the first is served where no name fits.
    pub certificates: Vec<Certificate>,
    /// The pools of web servers.
    pub pools: Vec<balance::settings::Pool>,
    /// Routes, first match wins.
    pub routes: edge_route::settings::Settings,
    /// The WAF; none is off.
    pub waf: Option<crate::Waf>,
    /// What clients may send.
    pub limits: Limits,
    /// How long each step may take.
    pub timeouts: Timeouts,
    /// The access log; none is off.
    pub access_log: Option<AccessLog>,
    /// The port that redirects name, where it is not the one listened on (a
    /// firewall or container maps it).
    #[serde(default)]
    pub public_https_port: Option<u16>,
    /// Plain HTTP is served like HTTPS instead of redirected: for benches, and
    /// behind a proxy that ends TLS.
    #[serde(default)]
    pub serve_plain_http: bool,
}

/// A certificate with its key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// The names it was asked for; those in the certificate itself decide.
    pub names: Vec<String>,
    /// Leaf first, then intermediates, PEM.
    pub chain_pem: String,
    /// PKCS#8, SEC1 or PKCS#1, PEM.
    pub key_pem: Secret,
}

/// Where requests are written, one JSON object a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AccessLog {
    /// The file.
    pub path: PathBuf,
    /// It is renamed to `.1` when it grows beyond this.
    pub rotate_at: Bytes,
    /// How many renamed files are kept.
    pub keep: u32,
}
