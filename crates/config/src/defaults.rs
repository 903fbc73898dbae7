//! Every default of the file, in one place. Those that a pure crate's `Settings`
//! have too are equal to them; a test says so.

use base::{Bytes, Millis};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const fn localhost(port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)
}

/// HTTPS and HTTP ports where Bastide runs as root.
pub const PORTS_AS_ROOT: (u16, u16) = (443, 80);
/// HTTPS and HTTP ports otherwise: below 1024 a port needs a privilege.
pub const PORTS_OTHERWISE: (u16, u16) = (8443, 8080);

/// The site's only name where none is given.
pub const DOMAIN: &str = "localhost";
/// Worker threads of the edge; 0 is one a processor that the process may use.
pub const WORKERS: u16 = 0;
/// What still runs at a stop may go on for this long.
pub const DRAIN: Millis = Millis(20_000);

/// A TLS handshake.
pub const TIMEOUT_HANDSHAKE: Millis = Millis(10_000);
/// A request's head: long enough for a phone with a poor connection, too short to hold many open.
pub const TIMEOUT_HEAD: Millis = Millis(15_000);
/// Between two pieces of a request's body.
pub const TIMEOUT_BODY: Millis = Millis(30_000);
/// An idle connection of a client.
pub const TIMEOUT_KEEP_ALIVE: Millis = Millis(60_000);
/// A connection to a web server.
pub const TIMEOUT_CONNECT: Millis = Millis(2_000);
/// A web server's answer.
pub const TIMEOUT_RESPONSE: Millis = Millis(60_000);
/// Between two pieces of a response's body.
pub const TIMEOUT_IDLE: Millis = Millis(300_000);

/// A request's head.
pub const LIMIT_HEAD: Bytes = Bytes(32 << 10);
/// Header lines.
pub const LIMIT_HEADER_LINES: u32 = 100;
/// A request's body.
pub const LIMIT_BODY: Bytes = Bytes(64 << 20);
/// Client connections.
pub const LIMIT_CONNECTIONS: u32 = 20_000;
/// Client connections of one address: an office behind one address opens many.
pub const LIMIT_CONNECTIONS_PER_IP: u32 = 256;
/// HTTP/2 streams of a connection.
pub const LIMIT_STREAMS: u32 = 128;

/// Processes of a pool with `run`.
pub const INSTANCES: u16 = 1;
/// A server's share.
pub const WEIGHT: u16 = 1;
/// Requests at one server at once; 0 is no limit.
pub const MAX_IN_FLIGHT: u32 = 0;
/// Idle connections kept to each server.
pub const IDLE_CONNECTIONS: u32 = 64;
/// A web server that is told to stop is killed after this.
pub const STOP_TIMEOUT: Millis = Millis(10_000);
/// Between two health checks.
pub const HEALTH_INTERVAL: Millis = Millis(2_000);
/// For one health check.
pub const HEALTH_TIMEOUT: Millis = Millis(1_000);
/// Successes until a server is in.
pub const HEALTH_RISE: u32 = 2;
/// Failures until a server is out.
pub const HEALTH_FALL: u32 = 3;

/// Every path.
pub const ROUTE_PATH: &str = "/*";
/// The file served for a folder.
pub const INDEX: &str = "index.html";
/// A permanent redirect that keeps method and body (RFC 9110 §15.4.9).
pub const REDIRECT_STATUS: u16 = 308;

/// A new firewall policy falls back to the one before after this, unless confirmed.
pub const REVERT_AFTER: Millis = Millis(60_000);

/// How much of a body the WAF inspects: ModSecurity's recommended limit for bodies without files.
pub const WAF_BODY_LIMIT: Bytes = Bytes(128 << 10);
/// How much of an answer: ModSecurity's recommended limit.
pub const WAF_RESPONSE_BODY_LIMIT: Bytes = Bytes(512 << 10);
/// Names and values of one request.
pub const WAF_VALUES: u32 = 4_096;
/// How deep JSON and XML nest.
pub const WAF_DEPTH: u32 = 64;
/// Bytes that the rules look at for one request.
pub const WAF_INSPECTED: Bytes = Bytes(256 << 20);
/// Time that they take for one request.
pub const WAF_TIME: Millis = Millis(500);
/// How much of a captured request's body is kept.
pub const CAPTURE_BODY: Bytes = Bytes(16 << 10);
/// Captured requests, and as much again.
pub const CAPTURE_SIZE: Bytes = Bytes(16 << 20);
/// Events until a client is banned: a person meets a false alarm or two, a scanner hundreds.
pub const BAN_EVENTS: u32 = 10;
/// The score of one critical rule.
pub const BAN_SCORE: u32 = 5;
/// Within which they count.
pub const BAN_WINDOW: Millis = Millis(600_000);
/// How long a client is banned.
pub const BAN_TIME: Millis = Millis(3_600_000);

/// The database router.
pub const DATABASE_LISTEN: SocketAddr = localhost(6432);
/// A replica further behind gets no reads.
pub const MAX_LAG: Millis = Millis(2_000);
/// Connections to each member.
pub const POOL_SIZE: u32 = 40;
/// Client sessions.
pub const MAX_CLIENTS: u32 = 1_000;
/// How long a session waits for a connection.
pub const POOL_WAIT: Millis = Millis(10_000);
/// How long a read waits for a replica.
pub const READ_WAIT: Millis = Millis(0);

/// Page and Prometheus API.
pub const MONITOR_LISTEN: SocketAddr = localhost(9600);
/// Samples are kept for 30 days.
pub const RETENTION: Millis = Millis(30 * 86_400_000);
/// The store's greatest size: 2,000 series every 5 s for 30 days are about
/// 1.04 thousand million samples, 1.5 bytes each: 1.5 GiB.
pub const RETENTION_SIZE: Bytes = Bytes(4 << 30);
/// Between two scrapes: the page is live.
pub const SCRAPE_INTERVAL: Millis = Millis(5_000);

/// Rollups of five minutes: half a year.
pub const RETENTION_5M: Millis = Millis(180 * 86_400_000);
/// Rollups of an hour: three years.
pub const RETENTION_1H: Millis = Millis(1_095 * 86_400_000);
/// What a loss of power may cost.
pub const STORE_SYNC: Millis = Millis(1_000);
/// How late a sample may come: as with Prometheus, whose senders catch up for an hour.
pub const OUT_OF_ORDER: Millis = Millis(3_600_000);
/// Series in memory: below 2 KB each, so 2 GB.
pub const MAX_SERIES: u32 = 1_000_000;
/// What one scrape may bring.
pub const SCRAPE_BODY: Bytes = Bytes(64 << 20);
/// Of samples; node_exporter shows some 2,000.
pub const SCRAPE_SAMPLES: u32 = 100_000;
/// Of different series of one target within a day: a label that differs with each
/// request would fill the memory, scrape by scrape.
pub const SCRAPE_SERIES: u32 = 500_000;
/// Of labels of a series.
pub const SCRAPE_LABELS: u32 = 64;
/// Of bytes of a label's value.
pub const SCRAPE_LABEL_VALUE: u32 = 4_096;
/// Queries at once: of 16 MB to 80 MB each at the worst.
pub const QUERIES_AT_ONCE: u32 = 8;
/// The longest query, waiting included.
pub const QUERY_TIMEOUT: Millis = Millis(30_000);
/// Samples of a query, 16 bytes each: 80 MB.
pub const QUERY_SAMPLES: u32 = 5_000_000;
/// How far back a value counts as current, as in Prometheus.
pub const QUERY_LOOKBACK: Millis = Millis(300_000);
/// A query that takes longer is told.
pub const QUERY_SLOW: Millis = Millis(5_000);
/// Between two readings of what costs more: programs, control groups, units.
pub const AGENT_SLOW: Millis = Millis(30_000);
/// Between two readings of a PostgreSQL.
pub const AGENT_POSTGRES: Millis = Millis(30_000);
/// Lines of access logs are kept for two weeks, as logrotate's usual setting has it.
pub const LOG_RETENTION: Millis = Millis(14 * 86_400_000);
/// The archive's greatest size.
pub const LOG_SIZE: Bytes = Bytes(2 << 30);
/// What waits on disk for a far end that is away.
pub const REMOTE_QUEUE: Bytes = Bytes(1 << 30);
/// Requests under way at once to one far end.
pub const REMOTE_SHARDS: u32 = 8;
/// Between two calls of an outside checker.
pub const DEAD_MAN_EVERY: Millis = Millis(60_000);
/// Between two tries of a probe.
pub const PROBE_EVERY: Millis = Millis(30_000);
/// What takes longer has failed.
pub const PROBE_TIMEOUT: Millis = Millis(10_000);

/// A firing group is told again after this, as Alertmanager does.
pub const REPEAT: Millis = Millis(4 * 3_600_000);

/// The ready-made alerts, each with what it says. An `[alert.NAME]` of the same
/// name with an `expr` replaces one; without, it changes the keys that it has.
pub const READY_MADE_ALERTS: &[(&str, &str)] = &[
    ("server-down", "a web server fails its health checks and takes no requests"),
    ("target-down", "something that is scraped does not answer"),
    ("member-down", "a PostgreSQL server does not answer"),
    ("process-restarting", "a supervised process keeps ending"),
    ("replica-lag", "a replica is too far behind its primary"),
    ("error-rate", "too many requests end in a 5xx"),
    ("latency", "one request in a hundred takes too long"),
    ("qps-high", "there are far more requests a second than an hour ago"),
    ("qps-vanished", "the requests have stopped"),
    ("disk-filling", "a file system will be full soon"),
    ("disk-nearly-full", "a file system is nearly full"),
    ("samples-lost", "the monitor's disk does not take its samples"),
    ("certificate-expiring", "a certificate ends soon"),
];
