//! The web application firewall's place in a request's life: head and body are
//! shown to it, then the answer's, and what it says is done. Whatever path a
//! request takes, dropping its [`Inspection`] ends it: what matched is counted and
//! written down, and the worker gets its memory back.

use crate::capture;
use crate::compiled::RouteWaf;
use crate::headers::Lines;
use crate::pages::Answer;
use crate::worker::Worker;
use base::EventId;
use base::events::{Event, WafMatch};
use bytes::Bytes;
use edge_http::path::escape;
use edge_http::{RequestHead, Version};
use hyper::header::HeaderValue;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use waf_engine::{Connection, Report, Transaction, Verdict, Workspace};

/// Workspaces that a worker keeps for the next requests. More are under way at once
/// only while bodies are awaited, and each holds some 100 KB.
const KEPT: usize = 32;

/// Memory of transactions that have ended, of one worker.
#[derive(Default)]
pub(crate) struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    fn take(&self) -> Workspace {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn give_back(&self, workspace: Workspace) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT {
            kept.push(workspace);
        }
    }
}

/// Who asks, and where: what an inspection is told of and its event tells.
#[derive(Clone)]
pub(crate) struct Asked {
    /// The real client.
    pub(crate) client: IpAddr,
    /// Its port; 0 behind a proxy.
    pub(crate) client_port: u16,
    /// Whether a trusted proxy told us of it.
    pub(crate) behind_proxy: bool,
    /// The address that it reached.
    pub(crate) server: SocketAddr,
    pub(crate) request_id: HeaderValue,
    pub(crate) waf: Arc<RouteWaf>,
}

/// What was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Request,
    Response,
    Websocket,
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
            Self::Websocket => "websocket",
        }
    }
}

/// One request under inspection, with its answer.
pub(crate) struct Inspection<'a> {
    /// None once it has ended.
    transaction: Option<Transaction>,
    worker: &'a Arc<Worker>,
    head: &'a RequestHead<'a>,
    asked: Asked,
    /// What was inspected of the body, and whether that is all.
    body: (Bytes, bool),
    part: Part,
    /// Rule matches that an earlier event told already.
    told: &'a [(u64, String, String)],
    spent: Duration,
}

/// What came of an inspection.
#[derive(Debug, Default)]
pub(crate) struct Ended {
    /// The event that was written, if any.
    pub(crate) event: Option<EventId>,
    /// Which rules matched which variable's value.
    pub(crate) told: Vec<(u64, String, String)>,
}

impl<'a> Inspection<'a> {
    pub(crate) fn begin(worker: &'a Arc<Worker>, head: &'a RequestHead<'a>, asked: Asked) -> Self {
        let connection = Connection {
            client: asked.client,
            client_port: asked.client_port,
            server: asked.server.ip(),
            server_port: asked.server.port(),
            now_us: sys::clock::now_ms().saturating_mul(1_000),
            unique_id: asked.request_id.to_str().unwrap_or_default(),
            clock: sys::clock::monotonic_us,
        };
        let transaction = asked.waf.engine.begin(worker.workspaces.take(), connection);
        Self {
            transaction: Some(transaction),
            worker,
            head,
            asked,
            body: (Bytes::new(), true),
            part: Part::Request,
            told: &[],
            spent: Duration::ZERO,
        }
    }

    /// Of a message of a WebSocket, whose request was told of already.
    pub(crate) fn of_message(mut self, told: &'a [(u64, String, String)]) -> Self {
        self.part = Part::Websocket;
        self.told = told;
        self
    }

    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    fn timed<R: Default>(&mut self, look: impl FnOnce(&mut Transaction) -> R) -> R {
        let started = Instant::now();
        let result = self.transaction.as_mut().map(look).unwrap_or_default();
        self.spent += started.elapsed();
        result
    }

    /// Shows the request's head.
    pub(crate) fn request_head(&mut self) -> Decision {
        let head = self.head;
        // HTTP/2 has `:authority` where HTTP/1.1 has Host (RFC 9113 §8.3.1); rules know
        // the latter.
        if head.version == Version::Http2 && !head.authority.is_empty() && head.header("host").is_none() {
            let host = (b"host".as_slice(), head.authority);
            let headers: Lines<'_> = std::iter::once(host).chain(head.headers.iter().copied()).collect();
            let with_host = RequestHead { headers: &headers, ..*head };
            return self.timed(|transaction| Decision(transaction.request_head(&with_host)));
        }
        self.timed(|transaction| Decision(transaction.request_head(head)))
    }

    /// How much of the body is to be shown; none where it is not wanted.
    pub(crate) fn wants_request_body(&self) -> Option<usize> {
        let transaction = self.transaction.as_ref()?;
        transaction.wants_request_body().then(|| transaction.request_body_limit())
    }

    /// Shows the body, or its beginning; nothing where there is none or it is not wanted.
    pub(crate) fn request_body(&mut self, body: Bytes, whole: bool) -> Decision {
        let decision = self.timed(|transaction| Decision(transaction.request_body(&body, whole)));
        self.body = (body, whole);
        decision
    }

    /// Shows a text message of a WebSocket, or its beginning.
    pub(crate) fn message(&mut self, text: &[u8]) -> Decision {
        self.timed(|transaction| Decision(transaction.websocket_text(text)))
    }

    /// Shows the answer's head.
    pub(crate) fn response_head(
        &mut self,
        status: u16,
        version: &str,
        headers: &[(&[u8], &[u8])],
    ) -> Decision {
        self.part = Part::Response;
        self.timed(|transaction| Decision(transaction.response_head(status, version, headers)))
    }

    /// How much of the answer's body is to be shown; none where it is not wanted.
    pub(crate) fn wants_response_body(&self) -> Option<usize> {
        let transaction = self.transaction.as_ref()?;
        let limit = transaction.wants_response_body().then(|| transaction.response_body_limit())?;
        (limit > 0).then_some(limit)
    }

    /// Shows the answer's body, or its beginning.
    pub(crate) fn response_body(&mut self, body: &[u8], whole: bool) -> Decision {
        self.timed(|transaction| Decision(transaction.response_body(body, whole)))
    }

    /// Ends it where the verdict is that nothing goes on: the answer in its place.
    pub(crate) fn refuse(mut self, decision: Decision) -> Answer {
        let ended = self.finish();
        // A verdict that refuses has an event: that of the rule which decided.
        let id = ended.event.unwrap_or_else(new_id);
        match decision.0 {
            Verdict::Drop { .. } => Answer::Dropped(id),
            Verdict::Redirect { status, to, .. } => Answer::Diverted(status, to, id),
            Verdict::Deny { status, .. } if self.part == Part::Response => Answer::Withheld(status, id),
            Verdict::Deny { status, .. } => Answer::Blocked(status, id),
            Verdict::Pass => Answer::Internal,
        }
    }

    /// Ends it. The answer is the event that was written, if any.
    pub(crate) fn end(mut self) -> Ended {
        self.finish()
    }

    fn finish(&mut self) -> Ended {
        let Some(transaction) = self.transaction.take() else { return Ended::default() };
        let verdict = transaction.verdict().clone();
        let (mut report, workspace) = transaction.finish(sys::clock::now_ms().saturating_mul(1_000));
        self.worker.workspaces.give_back(workspace);
        let edge = &self.worker.edge;
        let blocked = verdict != Verdict::Pass;
        if self.part != Part::Websocket {
            edge.metrics.waf_duration.observe(self.spent);
        }
        if let Some(audit) = report.audit.take() {
            edge.audit.write(audit);
        }
        if !self.told.is_empty() {
            report.matches.retain(|m| {
                !self.told.iter().any(|(rule, variable, value)| {
                    m.rule == *rule && m.variable == *variable && m.value == *value
                })
            });
        }
        self.count(&report, blocked);
        let event = (blocked || !report.matches.is_empty() || report.exceeded.is_some()).then(new_id);
        if let Some(capture) = &self.asked.waf.capture
            && self.part != Part::Websocket
            && (event.is_some() && capture.events || edge.is_sampled(capture.every))
        {
            let (body, whole) = (&self.body.0, self.body.1);
            edge.captured.write(&capture::captured(self.head, &self.asked, body, whole, event, capture));
        }
        let Some(id) = event else { return Ended::default() };
        let told = report.matches.iter().map(|m| (m.rule, m.variable.clone(), m.value.clone())).collect();
        if let Some(ban) = &self.asked.waf.ban
            && self.asked.waf.blocks
        {
            let score = crate::offenders::score(&report, &self.asked.waf.response_rules);
            edge.note_offence(ban, &self.asked, score, id);
        }
        edge.events.emit(Event::WafMatch(self.event(id, report, &verdict)));
        Ended { event: Some(id), told }
    }

    fn count(&self, report: &Report, blocked: bool) {
        let metrics = &self.worker.edge.metrics;
        if let Some(exceeded) = report.exceeded {
            metrics.waf_exceeded.with(&[exceeded.as_str()]).inc();
        }
        for matched in &report.matches {
            metrics.waf_matched(matched.rule);
        }
        let noted = !report.matches.is_empty() || report.exceeded.is_some();
        let verdicts = match self.part {
            Part::Websocket => &metrics.waf_messages,
            Part::Request | Part::Response => &metrics.waf,
        };
        match (blocked, noted) {
            (true, _) => verdicts.block.inc(),
            (false, true) => verdicts.detect.inc(),
            (false, false) => verdicts.pass.inc(),
        }
        if self.part == Part::Response {
            let responses = &metrics.waf_responses;
            if blocked { responses.block.inc() } else { responses.pass.inc() }
        }
    }

    fn event(&self, id: EventId, report: Report, verdict: &Verdict) -> WafMatch {
        let head = self.head;
        let (action, status) = match verdict {
            Verdict::Pass => (None, None),
            Verdict::Deny { status, .. } => (Some("deny"), Some(*status)),
            Verdict::Redirect { status, .. } => (Some("redirect"), Some(*status)),
            Verdict::Drop { .. } => (Some("drop"), None),
        };
        // What goes on was looked at to its end; its event is about what matched.
        let decisive = report.disrupted_by.or_else(|| report.matches.last().map(|matched| matched.rule));
        let of_response = decisive.is_some_and(|rule| self.asked.waf.response_rules.contains(&rule));
        let part = match self.part {
            Part::Response if !of_response => Part::Request,
            part => part,
        };
        WafMatch {
            id,
            client: self.asked.client,
            method: escape(head.method, 32),
            host: escape(head.authority, 260),
            path: escape(head.path(), 1_024),
            blocked: action.is_some(),
            matches: report.matches,
            request_id: self.asked.request_id.to_str().unwrap_or_default().to_owned(),
            route: self.asked.waf.route.clone(),
            score: report.score.inbound,
            outbound_score: report.score.outbound,
            rule: report.disrupted_by,
            action: action.map(str::to_owned),
            status,
            part: part.as_str().to_owned(),
            exceeded: report.exceeded.map(|exceeded| exceeded.as_str().to_owned()),
        }
    }
}

impl Drop for Inspection<'_> {
    /// The client went away, or another answer was found on the way.
    fn drop(&mut self) {
        self.finish();
    }
}

/// What the rules say so far.
#[derive(Debug, PartialEq)]
pub(crate) struct Decision(Verdict);

impl Default for Decision {
    fn default() -> Self {
        Self(Verdict::Pass)
    }
}

impl Decision {
    pub(crate) fn passes(&self) -> bool {
        self.0 == Verdict::Pass
    }
}

fn new_id() -> EventId {
    EventId::new(sys::clock::now_ms(), sys::random::u64())
}
