//! Addresses.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

pub use ipnet::IpNet;

/// Where something answers.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// An IP address and port.
    Ip(SocketAddr),
    /// A host name, looked up when used, and a port.
    Name(String, u16),
    /// A Unix socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `10.0.0.3:8000`, `[::1]:8000`, `db.internal:5432` or `unix:/path`.
    /// The error is a fragment for a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("`{text}` is not an address; write it as `10.0.0.3:8000`, `host:8000` or `unix:/path`")
        };
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') { Ok(Self::Unix(path.into())) } else { Err(wrong()) };
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self::Ip(address));
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port: u16 = port.parse().map_err(|_| wrong())?;
        if is_host_name(host) { Ok(Self::Name(host.to_ascii_lowercase(), port)) } else { Err(wrong()) }
    }
}

/// Whether `text` is a host name of letters, digits and inner hyphens in dotted
/// labels (RFC 1123 §2.1), and not an IP address in disguise.
pub fn is_host_name(text: &str) -> bool {
    let label_ok = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let last_is_number = text.rsplit('.').next().is_some_and(|l| l.bytes().all(|b| b.is_ascii_digit()));
    text.len() <= 253 && text.split('.').all(label_ok) && !last_is_number
}

/// The address as a client's: an IPv4 address mapped into IPv6 (RFC 4291
/// §2.5.5.2) is the IPv4 address it stands for, so that bans and limits match.
pub fn canonical(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => write!(f, "{address}"),
            Self::Name(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Serialize for Address {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Address {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_and_print_the_same() {
        for text in ["10.0.0.3:8000", "[::1]:80", "db.internal:5432", "localhost:1", "unix:/run/x.sock"] {
            assert_eq!(Address::parse(text).unwrap().to_string(), text);
        }
        for bad in
            ["", "host", "host:", "host:x", "host:99999", "unix:relative", "1.2.3:80", "a b:80", "-x:80"]
        {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }
}
