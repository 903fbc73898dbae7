//! Limits and timeouts of HTTP connections. Defaults are the values of the file.

use base::{Bytes, Millis};
use serde::{Deserialize, Serialize};

/// What a client may send.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// The whole head: request line and header lines.
    pub head: Bytes,
    /// Header lines in a request.
    pub header_lines: u32,
    /// A request's body; 0 means no limit.
    pub body: Bytes,
    /// Client connections at once, over all workers.
    pub connections: u32,
    /// Client connections at once from one address.
    pub connections_per_ip: u32,
    /// HTTP/2 streams at once on one connection.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Bytes(32 << 10),
            header_lines: 100,
            body: Bytes(64 << 20),
            connections: 20_000,
            connections_per_ip: 256,
            streams: 128,
        }
    }
}

/// How long each step may take.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Timeouts {
    /// The TLS handshake.
    pub handshake: Millis,
    /// From a connection's (or the previous response's) end to a whole head.
    pub head: Millis,
    /// Between two pieces of a request's body.
    pub body: Millis,
    /// An idle keep-alive connection of a client.
    pub keep_alive: Millis,
    /// A connection to a web server.
    pub connect: Millis,
    /// From a request sent to a web server to its response's head.
    pub response: Millis,
    /// Between two pieces of a response's body, and of a tunnel (WebSocket) in
    /// either direction.
    pub idle: Millis,
    /// What is still running when the edge is told to stop may go on for this long.
    pub drain: Millis,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            handshake: Millis(10_000),
            head: Millis(15_000),
            body: Millis(30_000),
            keep_alive: Millis(60_000),
            connect: Millis(2_000),
            response: Millis(60_000),
            idle: Millis(300_000),
            drain: Millis(20_000),
        }
    }
}
