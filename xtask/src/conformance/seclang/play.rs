//! One request and its answer through an engine made for it.

use edge_http::{RequestHead, Version};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use waf_engine::settings::Settings;
use waf_engine::{Connection, Engine, LoadError, Report, Transaction, Verdict, Workspace};

/// A request and its answer, as the cases give them: not as bytes on a wire, and
/// not always as HTTP would allow.
#[derive(Clone, Copy)]
pub(super) struct Exchange<'a> {
    pub(super) client: (IpAddr, u16),
    pub(super) server: (IpAddr, u16),
    pub(super) method: &'a str,
    pub(super) target: &'a str,
    pub(super) version: Version,
    pub(super) headers: &'a [(String, Vec<u8>)],
    pub(super) body: &'a [u8],
    pub(super) response_version: &'a str,
    pub(super) response_headers: &'a [(String, Vec<u8>)],
    pub(super) response_body: &'a [u8],
}

impl Default for Exchange<'_> {
    fn default() -> Self {
        let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
        Self {
            client: (local, 0),
            server: (local, 80),
            method: "GET",
            target: "/",
            version: Version::Http11,
            headers: &[],
            body: b"",
            response_version: "HTTP/1.1",
            response_headers: &[],
            response_body: b"",
        }
    }
}

/// What came of it.
pub(super) struct Played {
    pub(super) verdict: Verdict,
    pub(super) report: Report,
}

/// Noon of a fixed day, so that a run can be repeated.
const NOW_US: u64 = 1_790_000_000_000_000;

/// Why there is no engine, or no answer of it.
pub(super) enum Fault {
    /// The rules do not load.
    Load(Vec<LoadError>),
    /// The engine panicked, which it never may.
    Panic(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Load(errors) => write!(f, "the rules do not load:\n{}", all(errors)),
            Self::Panic(what) => write!(f, "the engine panicked: {what}"),
        }
    }
}

/// Loads the rules.
pub(super) fn load(settings: &Settings) -> Result<Arc<Engine>, Fault> {
    guarded(|| Engine::load(settings).map(Arc::new))?.map_err(Fault::Load)
}

/// Loads the rules and runs the exchange.
pub(super) fn play(settings: &Settings, exchange: &Exchange<'_>) -> Result<Played, Fault> {
    run(&load(settings)?, exchange)
}

/// One case's panic must not hide the others' outcome.
fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        Fault::Panic(text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no words").to_owned())
    })
}

/// Every mistake, a line each.
pub(super) fn all(errors: &[LoadError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// All phases, until one has the request refused.
pub(super) fn run(engine: &Arc<Engine>, exchange: &Exchange<'_>) -> Result<Played, Fault> {
    guarded(|| run_unguarded(engine, exchange))
}

fn run_unguarded(engine: &Arc<Engine>, exchange: &Exchange<'_>) -> Played {
    let connection = Connection {
        client: exchange.client.0,
        client_port: exchange.client.1,
        server: exchange.server.0,
        server_port: exchange.server.1,
        now_us: NOW_US,
        unique_id: "1790000000.000001",
        // The budget of time is tried elsewhere.
        clock: || 0,
    };
    let mut transaction = engine.begin(Workspace::default(), connection);
    let verdict = phases(&mut transaction, exchange);
    let (report, _) = transaction.finish(NOW_US + 1_000);
    Played { verdict, report }
}

fn phases(transaction: &mut Transaction, exchange: &Exchange<'_>) -> Verdict {
    // As given: a case may mean the blanks around a value.
    let headers: Vec<(&[u8], &[u8])> =
        exchange.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"host"));
    let head = RequestHead {
        method: exchange.method.as_bytes(),
        target: exchange.target.as_bytes(),
        authority: host.map_or(b"", |(_, value)| value),
        version: exchange.version,
        headers: &headers,
    };
    let verdict = transaction.request_head(&head);
    if verdict != Verdict::Pass {
        return verdict;
    }
    let limit = if transaction.wants_request_body() { transaction.request_body_limit() } else { 0 };
    let (shown, complete) = within(exchange.body, limit);
    let verdict = transaction.request_body(shown, complete);
    if verdict != Verdict::Pass {
        return verdict;
    }
    let headers: Vec<(&[u8], &[u8])> =
        exchange.response_headers.iter().map(|(name, value)| (name.as_bytes(), value.trim_ascii())).collect();
    let verdict = transaction.response_head(200, exchange.response_version, &headers);
    if verdict != Verdict::Pass {
        return verdict;
    }
    let limit = if transaction.wants_response_body() { transaction.response_body_limit() } else { 0 };
    let (shown, complete) = within(exchange.response_body, limit);
    transaction.response_body(shown, complete)
}

/// As much of a body as is asked for; a body that nobody asks for is not shown, and
/// nothing of it is missing.
fn within(body: &[u8], limit: usize) -> (&[u8], bool) {
    let shown = &body[..body.len().min(limit)];
    (shown, limit == 0 || shown.len() == body.len())
}
