//! One request through the parser, the rules, the back end and back.

use super::lenient;
use edge_http::http1::{BodyLimits, HeadParser, Lines, read_body};
use edge_http::{GuardLimits, Limits, Refusal, RequestHead};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;
use waf_engine::{Connection, Engine, Report, Settings, Transaction, Verdict, Workspace};
use waf_ftw::backend::{self, Reflection};
use waf_ftw::{Input, Outcome, Previous};

/// The site under test: an edge and a back end, without a socket between them.
pub(super) struct Site {
    engine: Arc<Engine>,
    workspace: Option<Workspace>,
}

/// What came of one request.
#[derive(Default)]
pub(super) struct Exchange {
    /// Why the edge refused it before any rule.
    pub(super) refused: Option<Refusal>,
    /// The response's.
    pub(super) status: u16,
    /// Every rule that matched.
    pub(super) matched_ids: Vec<u64>,
    /// Those of them that were logged.
    pub(super) logged_ids: Vec<u64>,
    /// What happened, for people.
    pub(super) trace: Vec<String>,
    response: Vec<u8>,
    headers: Vec<(String, String)>,
    log: Vec<String>,
}

impl Exchange {
    /// As the judge sees it.
    pub(super) fn outcome(&self) -> Outcome<'_> {
        Outcome {
            error: None,
            status: self.status,
            response: &self.response,
            matched_ids: &self.matched_ids,
            log: &self.log,
        }
    }

    /// As the next stage sees it.
    pub(super) fn previous(&self) -> Previous {
        let values = |name: &'static str| {
            self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
        };
        let pair = |cookie: &String| cookie.split(';').next().unwrap_or_default().trim().to_owned();
        Previous {
            location: values("Location").next().cloned(),
            cookies: values("Set-Cookie").map(pair).collect(),
        }
    }

    fn answer(&mut self, status: u16, headers: Vec<(String, String)>, body: &[u8]) {
        self.status = status;
        self.response = format!("HTTP/1.1 {status}\r\n").into_bytes();
        for (name, value) in &headers {
            self.response.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        self.response.extend_from_slice(b"\r\n");
        self.response.extend_from_slice(body);
        self.headers = headers;
    }

    fn refuse(mut self, refusal: Refusal) -> Self {
        self.refused = Some(refusal);
        self.answer(refusal.status(), Vec::new(), refusal.explanation().as_bytes());
        self
    }
}

impl Site {
    /// Compiles the rules.
    pub(super) fn new(settings: &Settings) -> Result<Self, String> {
        let started = Instant::now();
        let engine = Engine::load(settings).map_err(|errors| {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            format!("{} mistakes in the rules\n{}", lines.len(), lines.join("\n"))
        })?;
        for note in engine.notes() {
            eprintln!("note: {}:{}: {}", note.at.file, note.at.line, note.text);
        }
        eprintln!("rules compiled in {} ms", started.elapsed().as_millis());
        Ok(Self { engine: Arc::new(engine), workspace: None })
    }

    /// Sends `raw` and answers what came of it.
    pub(super) fn exchange(&mut self, raw: &[u8], input: &Input) -> Exchange {
        let exchange = Exchange::default();
        // What the edge allows by default.
        let limits = Limits::default();
        let limits = GuardLimits { head: limits.head.0 as usize, header_lines: limits.header_lines as usize };
        let mut lines = Lines::with_capacity(limits.header_lines);
        let head = match HeadParser::new(limits).read(raw, &mut lines) {
            Ok(Some(head)) => head,
            Ok(None) => return exchange.refuse(Refusal::HeadTimeout),
            Err(refusal) => return exchange.refuse(refusal),
        };
        let request = match head.request() {
            Ok(request) => request,
            Err(refusal) => return exchange.refuse(refusal),
        };
        let body_limits =
            BodyLimits { content: u64::MAX, trailers: limits.head, trailer_lines: limits.header_lines };
        match read_body(&raw[head.length..], head.framing, body_limits) {
            Ok(Some(body)) => self.inspect(exchange, &request, Some(&body.content), input),
            // What was announced never comes: the rules see the head alone.
            Ok(None) => self.inspect(exchange, &request, None, input),
            Err(refusal) => exchange.refuse(refusal),
        }
    }

    /// What the rules say of bytes that were refused, read as a lenient server
    /// might; nothing where even that is not possible.
    pub(super) fn rules_alone(&mut self, raw: &[u8], input: &Input, verbose: bool) -> Option<Exchange> {
        let read = lenient::read(raw)?;
        let exchange = self.inspect(Exchange::default(), &read.head(), Some(read.body), input);
        if verbose {
            for line in &exchange.trace {
                eprintln!("   rules alone: {line}");
            }
        }
        Some(exchange)
    }

    fn inspect(
        &mut self,
        mut exchange: Exchange,
        request: &RequestHead<'_>,
        body: Option<&[u8]>,
        input: &Input,
    ) -> Exchange {
        let connection = Connection {
            client: CLIENT,
            client_port: 40_000,
            server: IpAddr::V4(Ipv4Addr::LOCALHOST),
            server_port: input.port,
            now_us: NOW_US,
            unique_id: "conformance",
            clock,
        };
        let mut transaction = self.engine.begin(self.workspace.take().unwrap_or_default(), connection);
        let decided = request_phases(&mut transaction, request, body);
        match (decided, body) {
            (Some(verdict), _) => exchange.answer(status(&verdict), Vec::new(), b""),
            (None, None) => {
                exchange.trace.push("the body never came whole".to_owned());
                exchange.answer(Refusal::BodyTimeout.status(), Vec::new(), b"");
            }
            (None, Some(body)) => {
                let reflection = match &input.response {
                    Some(asked) => asked.clone().completed(request.method),
                    None => backend::answer(request.method, request.path(), body),
                };
                match response_phases(&mut transaction, &reflection) {
                    Some(verdict) => exchange.answer(status(&verdict), Vec::new(), b""),
                    None => exchange.answer(reflection.status, reflection.headers, &reflection.body),
                }
            }
        }
        let (report, workspace) = transaction.finish(NOW_US + 1_000);
        self.workspace = Some(workspace);
        exchange.trace.extend(trace(&report));
        exchange.log = log(&report);
        for m in &report.matches {
            if !exchange.logged_ids.contains(&m.rule) {
                exchange.logged_ids.push(m.rule);
            }
        }
        exchange.matched_ids = report.matched_ids.to_vec();
        exchange
    }
}

/// Where the requests seem to come from.
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7));
/// When: a fixed day, so that a run can be repeated.
const NOW_US: u64 = 1_790_000_000_000_000;

/// Microseconds since the first call: the budget of time is measured with it.
fn clock() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn request_phases(
    transaction: &mut Transaction,
    request: &RequestHead<'_>,
    body: Option<&[u8]>,
) -> Option<Verdict> {
    let passed = |verdict: Verdict| if verdict == Verdict::Pass { None } else { Some(verdict) };
    if let Some(verdict) = passed(transaction.request_head(request)) {
        return Some(verdict);
    }
    let content = body.unwrap_or_default();
    let limit = if transaction.wants_request_body() { transaction.request_body_limit() } else { 0 };
    let shown = &content[..content.len().min(limit)];
    let complete = shown.len() == content.len() || limit == 0;
    body.and_then(|_| passed(transaction.request_body(shown, complete)))
}

fn response_phases(transaction: &mut Transaction, response: &Reflection) -> Option<Verdict> {
    let passed = |verdict: Verdict| if verdict == Verdict::Pass { None } else { Some(verdict) };
    let headers: Vec<(&[u8], &[u8])> =
        response.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    if let Some(verdict) = passed(transaction.response_head(response.status, "HTTP/1.1", &headers)) {
        return Some(verdict);
    }
    let limit = if transaction.wants_response_body() { transaction.response_body_limit() } else { 0 };
    let shown = &response.body[..response.body.len().min(limit)];
    let complete = shown.len() == response.body.len() || limit == 0;
    passed(transaction.response_body(shown, complete))
}

fn status(verdict: &Verdict) -> u16 {
    match verdict {
        Verdict::Pass => 200,
        Verdict::Deny { status, .. } | Verdict::Redirect { status, .. } => *status,
        // A dropped connection has no status.
        Verdict::Drop { .. } => 0,
    }
}

/// One line a match, as ModSecurity writes it.
fn log(report: &Report) -> Vec<String> {
    let line = |m: &base::events::RuleMatch| {
        let tags: String = m.tags.iter().map(|tag| format!(" [tag \"{tag}\"]")).collect();
        format!(
            "[file \"{}\"] [id \"{}\"] [msg \"{}\"] [data \"{}\"] [severity \"{}\"]{tags}",
            m.source,
            m.rule,
            m.message,
            m.data,
            m.severity.as_deref().unwrap_or_default()
        )
    };
    report.matches.iter().map(line).collect()
}

/// The matches with what they saw.
fn trace(report: &Report) -> Vec<String> {
    let mut lines = Vec::new();
    for m in &report.matches {
        lines.push(format!("{} {} ({})", m.rule, m.message, m.source));
        lines.push(format!("    {} = `{}`", m.variable, m.value));
        if m.transformed != m.value {
            lines.push(format!("    {} → `{}`", m.transformations.join(", "), m.transformed));
        }
        lines.push(format!("    {} matched `{}`", m.operator, m.matched));
    }
    lines
}
