//! Every metric the product emits, declared once: name, kind, unit, labels and
//! help. Code never spells a metric's name; it uses these constants, and the
//! reference (`docs/reference/metrics.md`) is generated from [`ALL`] by [`reference()`].
//!
//! Names follow Prometheus' conventions: base units (seconds, bytes), `_total`
//! on counters, and the part that counts as the second word.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only goes up, and restarts at zero.
    Counter,
    /// Goes both ways.
    Gauge,
    /// Cumulative buckets, `_sum` and `_count`.
    Histogram,
}

/// One metric's declaration.
#[derive(Debug, PartialEq, Eq)]
pub struct Metric {
    /// The whole name.
    pub name: &'static str,
    /// Counter, gauge or histogram.
    pub kind: Kind,
    /// The label names, in the order in which code gives their values.
    pub labels: &'static [&'static str],
    /// One sentence without a full stop.
    pub help: &'static str,
}

impl Kind {
    /// As Prometheus' text format names it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

impl Metric {
    /// The upper bounds of a histogram's buckets, in seconds.
    pub fn buckets(&self) -> &'static [f64] {
        if self.name == WAF_DURATION.name { WAF_BUCKETS } else { DURATION_BUCKETS }
    }

    /// The name's second word: the part that counts.
    fn part(&self) -> &'static str {
        self.name.split('_').nth(1).unwrap_or_default()
    }
}

macro_rules! metrics {
    ($($const:ident = $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(#[doc = $help] pub static $const: Metric =
            Metric { name: $name, kind: Kind::$kind, labels: &[$($label),*], help: $help };)*
        /// All of them, in the order of this file.
        pub static ALL: &[&Metric] = &[$(&$const),*];
    };
}

metrics! {
    // Every role.
    BUILD_INFO = Gauge "bastide_build_info" ["role", "version"] "Always 1; the version a role runs";
    ROLE_REVISION = Gauge "bastide_role_revision" ["role"] "The configuration revision a role runs";
    ROLE_START_TIME = Gauge "bastide_role_start_time_seconds" ["role"] "When the role started, in Unix seconds";
    EVENTS_DROPPED = Counter "bastide_events_dropped_total" ["role"] "Events and access log lines dropped because the writer could not keep up or the disk was full";

    // Edge: what clients see.
    EDGE_ACCEPTED = Counter "bastide_edge_accepted_total" ["listener"] "Connections accepted";
    EDGE_CONNECTIONS = Gauge "bastide_edge_connections" ["listener"] "Client connections open now";
    EDGE_HANDSHAKES = Counter "bastide_edge_tls_handshakes_total" ["result"] "TLS handshakes by result: full, resumed, failed";
    EDGE_REQUESTS = Counter "bastide_edge_requests_total" ["pool", "code"] "Requests answered, by pool (`-` where no pool was involved) and status code";
    EDGE_REQUEST_DURATION = Histogram "bastide_edge_request_duration_seconds" ["pool"] "From the request's head to the response's last byte";
    EDGE_IN_FLIGHT = Gauge "bastide_edge_requests_in_flight" [] "Requests being answered now";
    EDGE_RECEIVED_BYTES = Counter "bastide_edge_received_bytes_total" [] "Request body bytes received from clients";
    EDGE_SENT_BYTES = Counter "bastide_edge_sent_bytes_total" [] "Response body bytes sent to clients";
    EDGE_REFUSED = Counter "bastide_edge_refused_total" ["reason"] "Requests and connections refused before routing, by reason";
    EDGE_BANNED = Counter "bastide_edge_banned_total" [] "Connections and requests refused because the client is banned";
    EDGE_RATE_LIMITED = Counter "bastide_edge_rate_limited_total" ["route"] "Requests refused by a route's limit";
    EDGE_CERTIFICATE_EXPIRY = Gauge "bastide_edge_certificate_expiry_timestamp_seconds" ["name"] "When the certificate served for a name ends, in Unix seconds";
    // Edge: what servers do.
    EDGE_SERVER_REQUESTS = Counter "bastide_edge_server_requests_total" ["pool", "server", "code"] "Requests sent to a web server, by the status it gave (`error` where it gave none)";
    EDGE_SERVER_DURATION = Histogram "bastide_edge_server_duration_seconds" ["pool", "server"] "From sending a request to a web server to its response head";
    EDGE_SERVER_IN_FLIGHT = Gauge "bastide_edge_server_in_flight" ["pool", "server"] "Requests at a web server now";
    EDGE_SERVER_UP = Gauge "bastide_edge_server_up" ["pool", "server"] "1 where the web server takes requests, 0 where health checks or failures took it out";
    EDGE_SERVER_CONNECTS = Counter "bastide_edge_server_connects_total" ["pool", "server", "result"] "New connections to a web server: ok, failed";
    EDGE_RETRIES = Counter "bastide_edge_retries_total" ["pool"] "Requests sent again to another web server because the first failed before answering";
    // WAF.
    WAF_REQUESTS = Counter "bastide_waf_requests_total" ["verdict"] "Requests inspected, by verdict: pass, detect, block";
    WAF_MATCHES = Counter "bastide_waf_matches_total" ["rule"] "Rule matches (`other` for the rules beyond the first thousand that matched)";
    WAF_EXCEEDED = Counter "bastide_waf_exceeded_total" ["budget"] "Requests beyond their budget of inspection: values, inspected, memory, time";
    WAF_BANS = Counter "bastide_waf_bans_total" [] "Clients banned because the rules kept matching on what they sent";
    WAF_RESPONSES = Counter "bastide_waf_responses_total" ["verdict"] "Answers of web servers inspected, by verdict: pass, block";
    WAF_FRAMES = Counter "bastide_waf_websocket_messages_total" ["verdict"] "Text messages of WebSockets inspected, by verdict: pass, detect, block";
    WAF_DURATION = Histogram "bastide_waf_duration_seconds" [] "Time spent inspecting a request";

    // Database router.
    DATABASE_CLIENTS = Gauge "bastide_database_clients" ["database"] "Client sessions open now";
    DATABASE_CLIENTS_TOTAL = Counter "bastide_database_clients_total" ["database", "result"] "Client sessions by how they began: ok, auth_failed, refused, protocol_error";
    DATABASE_BACKENDS = Gauge "bastide_database_backends" ["database", "member", "state"] "Connections to a member: active, idle";
    DATABASE_STATEMENTS = Counter "bastide_database_statements_total" ["database", "member", "kind"] "Statements run on a member, by what the router took them for: read, write";
    DATABASE_DURATION = Histogram "bastide_database_statement_duration_seconds" ["database", "member"] "From a statement's first byte to its ReadyForQuery";
    DATABASE_ROUTED = Counter "bastide_database_routed_total" ["database", "to", "reason"] "Routing decisions: to primary or replica, and why";
    DATABASE_ERRORS = Counter "bastide_database_errors_total" ["database", "class"] "Errors sent to clients, by SQLSTATE class";
    DATABASE_WAIT = Histogram "bastide_database_pool_wait_seconds" ["database"] "Time a session waited for a connection to a member";
    DATABASE_MEMBER_UP = Gauge "bastide_database_member_up" ["database", "member", "role"] "1 where the member answers in that role";
    DATABASE_LAG_SECONDS = Gauge "bastide_database_replica_lag_seconds" ["database", "member"] "How far behind the primary a replica's replay is, in seconds";
    DATABASE_LAG_BYTES = Gauge "bastide_database_replica_lag_bytes" ["database", "member"] "How far behind the primary a replica's replay is, in bytes of write-ahead log";

    // Monitor.
    MONITOR_SAMPLES = Counter "bastide_monitor_samples_total" ["result"] "Samples by what became of them: stored, duplicate, out_of_order, refused, failed (the disk)";
    MONITOR_SCRAPES = Counter "bastide_monitor_scrapes_total" ["pool", "result"] "Scrapes: ok, unreachable (no answer, or not 200), malformed (no exposition), body_limit, sample_limit, label_limit, bucket_limit, no_name (relabelling left none)";
    MONITOR_TARGETS = Gauge "bastide_monitor_targets" ["pool", "state"] "Discovered targets: active, dropped (by relabelling), wrong (they cannot be one)";
    MONITOR_DISCOVERY_FAILURES = Counter "bastide_monitor_discovery_failures_total" ["pool"] "Service discovery that failed; the targets found before go on";
    MONITOR_SERIES = Gauge "bastide_monitor_series" [] "Series in the head";
    MONITOR_CONFLICTS = Counter "bastide_monitor_conflicts_total" [] "Samples counted as stored that came late for a time that had another value: the first one was kept";
    MONITOR_STORE_BYTES = Gauge "bastide_monitor_store_bytes" [] "Bytes the store has on disk";
    MONITOR_PUSHED = Counter "bastide_monitor_pushed_total" ["protocol", "result"] "Samples pushed, by protocol and what became of them: stored, duplicate, out_of_order, refused";
    MONITOR_PUSH_REQUESTS = Counter "bastide_monitor_push_requests_total" ["protocol", "code"] "Push requests answered, by protocol and status code";
    MONITOR_SENT = Counter "bastide_monitor_sent_total" ["remote", "result"] "Samples on their way to a remote: sent, refused (by the far end, for good), dropped (the queue was full or the disk failed), kept_back (by the selectors)";
    MONITOR_SENT_REQUESTS = Counter "bastide_monitor_sent_requests_total" ["remote", "result"] "Requests to a remote: taken, refused, later (to be tried again)";
    MONITOR_SENT_NEWEST = Gauge "bastide_monitor_sent_newest_timestamp_seconds" ["remote"] "Time of the newest sample that a remote was sent, in Unix seconds";
    MONITOR_SENT_WAITING = Gauge "bastide_monitor_sent_waiting" ["remote"] "Samples that wait to be sent to a remote";
    MONITOR_SENT_QUEUE_BYTES = Gauge "bastide_monitor_sent_queue_bytes" ["remote"] "Bytes on disk of what waits to be sent to a remote";
    MONITOR_SENT_SHARDS = Gauge "bastide_monitor_sent_shards" ["remote"] "Requests at once to a remote";
    MONITOR_QUERIES = Counter "bastide_monitor_queries_total" ["endpoint", "result"] "Queries answered";
    MONITOR_QUERY_DURATION = Histogram "bastide_monitor_query_duration_seconds" ["endpoint"] "Time spent answering a query";
    MONITOR_RULE_FAILURES = Counter "bastide_monitor_rule_failures_total" ["rule"] "Rule evaluations that failed";
    MONITOR_RULE_EVALUATIONS = Counter "bastide_monitor_rule_evaluations_total" ["group"] "Evaluations of a group of rules";
    MONITOR_RULE_MISSED = Counter "bastide_monitor_rule_evaluations_missed_total" ["group"] "Evaluations of a group left out because the one before took too long";
    MONITOR_RULE_GROUP_SECONDS = Gauge "bastide_monitor_rule_group_last_duration_seconds" ["group"] "How long a group's last evaluation took";
    MONITOR_CLOCK_JUMPS = Counter "bastide_monitor_clock_jumps_total" ["direction"] "Times that the machine's clock jumped by a minute or more, or the machine slept: ahead, back";
    MONITOR_DEAD_MAN = Counter "bastide_monitor_dead_man_calls_total" ["result"] "Calls to the outside checker: ok, failed";
    MONITOR_NOTIFICATIONS = Counter "bastide_monitor_notifications_total" ["receiver", "result"] "Notifications sent";
    MONITOR_LOG_LINES = Counter "bastide_monitor_log_lines_total" ["log", "result"] "Access log lines read: ok, malformed";
    MONITOR_LOG_LOST = Counter "bastide_monitor_log_lines_lost_total" ["log"] "Access log lines that were counted and are not kept for searching, because the disk did not take them";
    MONITOR_LOG_BYTES = Gauge "bastide_monitor_log_archive_bytes" ["log"] "Bytes of an access log's lines that are kept for searching";
    MONITOR_LOG_SEARCHES = Counter "bastide_monitor_log_searches_total" ["result"] "Searches of kept lines: complete, partial (more lines than asked for, or out of time), failed";
    LOG_REQUESTS = Counter "bastide_log_requests_total" ["log", "code"] "Requests read from an access log, by status code";
    LOG_BYTES = Counter "bastide_log_sent_bytes_total" ["log"] "Response bytes read from an access log";
    LOG_DURATION = Histogram "bastide_log_request_duration_seconds" ["log"] "Request durations read from an access log that has them";
    LOG_ROUTE_REQUESTS = Counter "bastide_log_route_requests_total" ["log", "host", "method", "route", "class"] "Requests read from an access log by host, method, route (ids are `:id`; what is beyond the bounds is `other`) and class of status";
    LOG_ROUTE_BYTES = Counter "bastide_log_route_sent_bytes_total" ["log", "host", "method", "route"] "Response bytes read from an access log, by host, method and route";
    LOG_ROUTE_DURATION = Histogram "bastide_log_route_request_duration_seconds" ["log", "host", "method", "route"] "Request durations read from an access log that has them, by host, method and route; a native histogram and buckets";
    LOG_OTHER = Counter "bastide_log_other_requests_total" ["log", "what"] "Requests counted under `other`, because there was no room for their host or their route: host, route";

    // Agent.
    AGENT_COLLECTOR_SUCCESS = Gauge "bastide_agent_collector_success" ["collector"] "1 where a collector with an interval of its own succeeded: cgroup, processes, systemd";
    AGENT_LEFT_OUT = Gauge "bastide_agent_left_out" ["collector"] "Control groups or units left out because there are more than the limit";

    // Control and supervision.
    PROCESS_UP = Gauge "bastide_process_up" ["process"] "1 where a supervised process runs";
    PROCESS_RESTARTS = Counter "bastide_process_restarts_total" ["process"] "Times a supervised process was started again after it ended by itself";
    CONTROL_REVISIONS = Counter "bastide_control_revisions_total" ["result"] "Configuration revisions: committed, refused";
    BANS = Gauge "bastide_bans" [] "Addresses and networks banned now";
}

/// Upper bounds of the duration histograms' buckets, in seconds: 250 µs to 30 s,
/// close together where web pages live (5 ms to 1 s).
pub static DURATION_BUCKETS: &[f64] =
    &[0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

/// The same of [`WAF_DURATION`]: 5 µs to 0.5 s, since rules take microseconds.
pub static WAF_BUCKETS: &[f64] = &[
    0.000_005, 0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1,
    0.5,
];

const HEAD: &str = "\
<!-- Generated from the declarations in crates/base/src/names.rs; a test keeps it in step.
     BASTIDE_BLESS=1 cargo nextest run -p base writes it anew. -->

# Metrics

What Bastide says of itself, by the part that counts. Counters only go up and restart at zero; gauges
go both ways; a histogram `NAME` is the series `NAME_bucket`, `NAME_sum` and `NAME_count`.
";

/// The reference of all metrics, in Markdown: `docs/reference/metrics.md`.
pub fn reference() -> String {
    let mut out = HEAD.to_owned();
    let bounds = |of: &[f64]| of.iter().map(|bound| format!("`{bound}`")).collect::<Vec<_>>().join(", ");
    let (most, waf) = (bounds(DURATION_BUCKETS), bounds(WAF_BUCKETS));
    // Writing to a `String` cannot fail.
    let _ = writeln!(
        out,
        "\nHistograms of durations have the upper bounds {most} seconds; `{}` has {waf}.",
        WAF_DURATION.name
    );
    let mut parts: Vec<&str> = Vec::new();
    for part in ALL.iter().map(|m| m.part()) {
        if !parts.contains(&part) {
            parts.push(part);
        }
    }
    for part in parts {
        let _ = write!(out, "\n## {part}\n\n| name | kind | labels | help |\n|---|---|---|---|\n");
        for metric in ALL.iter().filter(|m| m.part() == part) {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let kind = metric.kind.as_str();
            let _ = writeln!(out, "| `{}` | {kind} | {} | {} |", metric.name, labels.join(", "), metric.help);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_follow_the_conventions() {
        for (i, metric) in ALL.iter().enumerate() {
            assert!(ALL[..i].iter().all(|m| m.name != metric.name), "{} is declared twice", metric.name);
            assert_eq!(metric.kind == Kind::Counter, metric.name.ends_with("_total"), "{}", metric.name);
            assert!(metric.name.starts_with("bastide_"), "{}", metric.name);
            assert!(!metric.help.ends_with('.'), "{}", metric.name);
            // The reference is a table.
            assert!(!metric.help.contains(['|', '\n']), "{}", metric.name);
        }
    }
}
