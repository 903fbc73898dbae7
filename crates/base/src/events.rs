//! Everything that is worth a line in the event log, declared once. An event is
//! one JSON object on one line of `<state>/log/events.jsonl`; `event` names its
//! kind, the other keys are the fields below.

use crate::{EventId, Lsn, Millis, RevisionId};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An event with its time and origin.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Unix milliseconds.
    pub at_ms: u64,
    /// The role that saw it: `edge`, `database`, `monitor`, `control`, `supervisor`.
    pub role: String,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The WAF matched rules on a request.
    WafMatch(WafMatch),
    /// A web server was taken out of its pool, or back in.
    ServerHealth {
        /// The pool's name.
        pool: String,
        /// The server's name, `app/1`.
        server: String,
        /// Whether it takes requests now.
        up: bool,
        /// Why, for a person.
        why: String,
    },
    /// A database member changed: reachable, role, lag.
    MemberHealth {
        /// The database's name.
        database: String,
        /// The member's name.
        member: String,
        /// Whether reads (a replica) or writes (the primary) go to it now.
        up: bool,
        /// Why, for a person.
        why: String,
        /// How far it had replayed or written, where known.
        lsn: Option<Lsn>,
    },
    /// A supervised process started, ended, was killed or was started again.
    Process {
        /// The process' name: `edge`, `app/1`, `database.main/0`.
        process: String,
        /// `started`, `adopted`, `ended`, `restarting`, `stopped`, `failed`.
        what: String,
        /// Its pid, where it has one.
        pid: Option<i32>,
        /// Why, for a person.
        why: String,
    },
    /// A configuration was committed or refused.
    Revision {
        /// Its number.
        revision: RevisionId,
        /// Whether it runs now.
        committed: bool,
        /// Why not, or what changed.
        why: String,
    },
    /// An address was banned, or a ban ended.
    Ban {
        /// The address or network.
        net: crate::net::IpNet,
        /// How long, where it is a ban.
        duration: Option<Millis>,
        /// `ban`, `unban`, `expired`, `refused`.
        what: String,
        /// Why, for a person.
        why: String,
    },
    /// An alert changed its state.
    Alert {
        /// The alert's name.
        alert: String,
        /// `pending`, `firing`, `resolved`.
        state: String,
        /// Its labels, `name="value"` in order.
        labels: Vec<(String, String)>,
        /// The value that decided.
        value: f64,
    },
    /// The machine's clock jumped, as the monitor saw it.
    ClockJump {
        /// By how many milliseconds; negative where it went back.
        by_ms: i64,
        /// In words, for a person.
        why: String,
    },
    /// A query to the monitor took long or was stopped; sampled.
    Query {
        /// `query` or `query_range`.
        endpoint: String,
        /// Its text; the end of a very long one is left out.
        query: String,
        /// `answered`, or why not.
        result: String,
        /// How long it took, waiting included.
        took: Millis,
        /// Samples it read.
        samples: u64,
    },
    /// A client sent what cannot be understood; sampled.
    Refused {
        /// The client.
        client: IpAddr,
        /// A reason from the metric's vocabulary.
        reason: String,
        /// What exactly, escaped.
        what: String,
    },
}

/// What the WAF saw in one request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WafMatch {
    /// The id shown on the block page.
    pub id: EventId,
    /// The real client.
    pub client: IpAddr,
    /// The request's method.
    pub method: String,
    /// The request's host.
    pub host: String,
    /// The request's target without its query, escaped.
    pub path: String,
    /// Whether the request was refused (false in detect mode).
    pub blocked: bool,
    /// Each rule that matched.
    pub matches: Vec<RuleMatch>,
    /// The id that the web server and the access log have for the request.
    #[serde(default)]
    pub request_id: String,
    /// The route that took the request, as metrics name it.
    #[serde(default)]
    pub route: String,
    /// What the rules counted against the request: the Core Rule Set's inbound anomaly score.
    #[serde(default)]
    pub score: i64,
    /// What they counted against the answer: its outbound anomaly score.
    #[serde(default)]
    pub outbound_score: i64,
    /// The rule that refuses, redirects or drops, whether or not it may act.
    #[serde(default)]
    pub rule: Option<u64>,
    /// What was done: `deny`, `redirect`, `drop`; none where the request went on.
    #[serde(default)]
    pub action: Option<String>,
    /// The status that it was answered with in the web server's place, where it was.
    #[serde(default)]
    pub status: Option<u16>,
    /// What was looked at when that was decided: `request`, `response`, `websocket`.
    #[serde(default)]
    pub part: String,
    /// The budget that was used up, if one was: `values`, `inspected`, `memory`, `time`.
    #[serde(default)]
    pub exceeded: Option<String>,
}

/// One rule that matched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuleMatch {
    /// The rule's id.
    pub rule: u64,
    /// The rule file and line, `waf/sqli.conf:12`.
    pub source: String,
    /// The rule's `msg`.
    pub message: String,
    /// The rule's `logdata`, filled in, escaped; empty where it has none.
    #[serde(default)]
    pub data: String,
    /// The rule's severity, where it has one.
    pub severity: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The variable, `ARGS:q`.
    pub variable: String,
    /// The value before transformations, cut to 256 bytes and escaped; `[secret]`
    /// for cookies, authorization headers and arguments named like passwords.
    pub value: String,
    /// The value that the operator saw, cut and escaped alike.
    pub transformed: String,
    /// The transformations, in order.
    pub transformations: Vec<String>,
    /// The operator with its argument, cut to 256 bytes.
    pub operator: String,
    /// The part of the value that matched, where the operator tells.
    pub matched: String,
}

/// Whether a cookie, header or argument of this name holds something that no
/// log may show.
pub fn is_secret_name(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    [
        "authorization",
        "cookie",
        "passw",
        "secret",
        "token",
        "api_key",
        "apikey",
        "api-key",
        "session",
        "card",
        "cvc",
    ]
    .iter()
    .any(|word| lower.contains(word))
}
