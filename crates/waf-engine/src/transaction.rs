//! The inspection of one request and its answer, phase by phase.

use crate::engine::{Engine, builtin};
use crate::program::Disruptive;
use crate::report::{Report, Score};
use crate::request;
use crate::run::{self, Flow};
use crate::settings::BeyondLimit;
use crate::state::{Exceeded, State};
use base::events::RuleMatch;
use edge_http::RequestHead;
use std::net::IpAddr;
use std::sync::Arc;
use waf_lang::model::{self, AuditMode, EngineMode, PartsChange, Variable as V};

/// Memory that a worker uses for one transaction after the other.
#[derive(Debug, Default)]
pub struct Workspace(Box<Memory>);

#[derive(Debug, Default)]
struct Memory {
    state: State,
    outside: Outside,
}

/// Who speaks with whom, and when.
#[derive(Clone, Copy, Debug)]
pub struct Connection<'c> {
    /// The client, the real one.
    pub client: IpAddr,
    /// Its port; 0 where it is not known.
    pub client_port: u16,
    /// The address that it reached.
    pub server: IpAddr,
    /// And the port.
    pub server_port: u16,
    /// Wall clock, microseconds since 1970.
    pub now_us: u64,
    /// The transaction's own name, `UNIQUE_ID`.
    pub unique_id: &'c str,
    /// A clock that never goes back, microseconds: for the budget of time.
    pub clock: fn() -> u64,
}

/// What to do with a request or its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it pass.
    Pass,
    /// Refuse it.
    Deny {
        /// With this status.
        status: u16,
        /// Because of this rule.
        rule: u64,
    },
    /// Send the client elsewhere.
    Redirect {
        /// With this status.
        status: u16,
        /// There.
        to: String,
        /// Because of this rule.
        rule: u64,
    },
    /// Close the connection without an answer.
    Drop {
        /// Because of this rule.
        rule: u64,
    },
}

/// What rules read and write beside values: facts, and what is told in the end.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) now_us: u64,
    pub(crate) clock: fn() -> u64,
    started_us: u64,
    spent_us: u64,
    detect_only: bool,
    pub(crate) processors_by_content_type: bool,
    pub(crate) argument_separator: u8,
    /// `REQUEST_BODY` is set whatever reads the body.
    pub(crate) raw_body_always: bool,
    pub(crate) args_size: u64,
    /// Bytes of the body that `SecRequestBodyNoFilesLimit` counts.
    pub(crate) no_files_size: u64,
    /// `SecRequestBodyNoFilesLimit`.
    pub(crate) no_files_limit: Option<u64>,
    pub(crate) content_type: Vec<u8>,
    pub(crate) grpc_encoding: Vec<u8>,
    content_encoding: Vec<u8>,
    response_encoding: Vec<u8>,
    pub(crate) full_request: Vec<u8>,
    /// The target's path as sent, for the site's exclusions.
    path: Vec<u8>,
    decoded: Vec<u8>,
    /// The rule whose texts are filled in.
    pub(crate) running: Option<u32>,
    pub(crate) matches: Vec<RuleMatch>,
    pub(crate) matched_ids: crate::report::MatchedIds,
    pub(crate) audited: bool,
    pub(crate) audit_parts: String,
    pub(crate) audit: crate::audit::Kept,
    pub(crate) disrupted_by: Option<u64>,
    body_error: Option<String>,
    pub(crate) status: u16,
}

fn no_clock() -> u64 {
    0
}

impl Default for Outside {
    fn default() -> Self {
        Self {
            now_us: 0,
            clock: no_clock,
            started_us: 0,
            spent_us: 0,
            detect_only: false,
            processors_by_content_type: true,
            argument_separator: b'&',
            raw_body_always: false,
            args_size: 0,
            no_files_size: 0,
            no_files_limit: None,
            content_type: Vec::new(),
            grpc_encoding: Vec::new(),
            content_encoding: Vec::new(),
            response_encoding: Vec::new(),
            full_request: Vec::new(),
            path: Vec::new(),
            decoded: Vec::new(),
            running: None,
            matches: Vec::new(),
            matched_ids: crate::report::MatchedIds::new(),
            audited: false,
            audit_parts: String::new(),
            audit: crate::audit::Kept::default(),
            disrupted_by: None,
            body_error: None,
            status: 0,
        }
    }
}

impl Outside {
    fn clear(&mut self) {
        for buffer in [
            &mut self.content_type,
            &mut self.grpc_encoding,
            &mut self.content_encoding,
            &mut self.response_encoding,
            &mut self.full_request,
            &mut self.path,
            &mut self.decoded,
        ] {
            buffer.clear();
            buffer.shrink_to(256 << 10);
        }
        self.args_size = 0;
        self.no_files_size = 0;
        self.spent_us = 0;
        self.running = None;
        self.matches.clear();
        self.matched_ids.clear();
        self.audited = false;
        self.audit_parts.clear();
        self.audit.clear();
        self.disrupted_by = None;
        self.body_error = None;
        self.status = 0;
    }

    pub(crate) fn elapsed_us(&self) -> u64 {
        (self.clock)().saturating_sub(self.started_us)
    }

    /// In detect mode no rule makes the engine act.
    pub(crate) fn mode_of(&self, said: EngineMode) -> EngineMode {
        if self.detect_only && said == EngineMode::On { EngineMode::DetectionOnly } else { said }
    }

    pub(crate) fn change_audit_parts(&mut self, change: &PartsChange) {
        match change {
            PartsChange::Set(parts) => self.audit_parts.clone_from(parts),
            PartsChange::Add(parts) => self.audit_parts.push_str(parts),
            PartsChange::Remove(parts) => self.audit_parts.retain(|letter| !parts.contains(letter)),
        }
    }
}

/// One request under inspection, and its answer. In detect mode the verdict is always
/// [`Verdict::Pass`], and what matched is in the [`Report`].
#[derive(Debug)]
pub struct Transaction {
    engine: Arc<Engine>,
    memory: Workspace,
    verdict: Verdict,
}

/// Ids of rules that are kept of all frames but the last: a connection may live for days.
const FRAME_IDS: usize = 1_024;

/// Memory for texts beside what the body's limit allows, bytes.
const MEMORY: usize = 8 << 20;

/// What transformations may make of each byte that is inspected.
const MEMORY_PER_BYTE: usize = 16;

impl Transaction {
    pub(crate) fn new(engine: Arc<Engine>, mut memory: Workspace, connection: Connection<'_>) -> Self {
        let Memory { state, outside } = &mut *memory.0;
        let limits = &engine.limits;
        let bodies = (limits.request_body.0.max(limits.response_body.0)) as usize;
        state.clear(
            &engine.program,
            engine.number,
            MEMORY.saturating_add(bodies.saturating_mul(MEMORY_PER_BYTE)),
        );
        outside.clear();
        outside.now_us = connection.now_us;
        outside.audit.begin(&connection);
        outside.clock = connection.clock;
        outside.started_us = (connection.clock)();
        outside.detect_only = engine.mode == crate::settings::Mode::Detect;
        outside.processors_by_content_type = engine.processors_by_content_type;
        outside.raw_body_always = engine.raw_body == crate::settings::RawBody::Always;
        outside.no_files_limit = engine.directives.request_body_no_files_limit;
        outside.argument_separator = engine.directives.argument_separator.unwrap_or(b'&');
        outside
            .audit_parts
            .push_str(engine.directives.audit.parts.as_deref().unwrap_or(crate::audit::DEFAULT_PARTS));
        let directives = &engine.directives;
        let limit = |own: u64, said: Option<u64>| said.map_or(own, |said| said.min(own)) as usize;
        let switches = &mut state.switches;
        switches.engine = engine.first_mode();
        switches.audit = directives.audit.engine.unwrap_or(AuditMode::Off);
        switches.request_body_access = directives.request_body_access.unwrap_or(true);
        switches.response_body_access =
            directives.response_body_access.unwrap_or(true) && limits.response_body.0 > 0;
        switches.request_body_limit = limit(limits.request_body.0, directives.request_body_limit);
        switches.response_body_limit = limit(limits.response_body.0, directives.response_body_limit);
        if let Some(how) = directives.xml_into_args {
            switches.xml_into_args = how;
        }
        let work = &mut state.work;
        work.inspected_max = limits.inspected.0;
        work.values_max = directives.arguments_limit.map_or(limits.values, |said| said.min(limits.values));
        work.until_us = outside.started_us.saturating_add(limits.time_us);
        for &variable in &engine.used_scalars {
            state.set_text(variable, crate::texts::TextId::EMPTY);
        }
        who(&engine, state, &connection);
        Self { engine, memory, verdict: Verdict::Pass }
    }

    /// Inspects the head: phase 1.
    pub fn request_head(&mut self, head: &RequestHead<'_>) -> Verdict {
        let Memory { state, outside } = &mut *self.memory.0;
        outside.path.extend_from_slice(head.path());
        if let Some(encoding) = head.header("content-encoding") {
            outside.content_encoding.extend_from_slice(encoding);
        }
        if let Some(encoding) = head.header("grpc-encoding") {
            outside.grpc_encoding.extend_from_slice(encoding);
        }
        request::head(&self.engine.program, state, outside, head);
        self.exclude();
        let verdict = self.phase(1);
        // RFC 6455 §4.1, and RFC 8441 §4 for HTTP/2.
        if head.header("upgrade").is_some() || head.method == b"CONNECT" {
            self.memory.0.state.keep_after_head();
        }
        verdict
    }

    /// Whether the body is to be held back and shown, whole or its beginning.
    pub fn wants_request_body(&self) -> bool {
        let switches = &self.memory.0.state.switches;
        switches.engine != EngineMode::Off
            && self.verdict == Verdict::Pass
            && switches.request_body_access
            && (switches.request_processor.is_some()
                || switches.force_request_body
                || self.engine.directives.request_body_access == Some(true)
                || self.engine.directives.request_body_limit_action == Some(model::BeyondLimit::Reject))
    }

    /// How much of the body is looked at, bytes.
    pub fn request_body_limit(&self) -> usize {
        self.memory.0.state.switches.request_body_limit
    }

    /// Inspects the body: phase 2. Call it once after the head, with `b""` and `true`
    /// where there is none or it is not wanted.
    pub fn request_body(&mut self, body: &[u8], complete: bool) -> Verdict {
        if self.verdict != Verdict::Pass {
            return self.verdict.clone();
        }
        let limit = self.request_body_limit();
        let too_large = !complete || body.len() > limit;
        let body = &body[..body.len().min(limit)];
        let Memory { state, outside } = &mut *self.memory.0;
        state.set(V::InboundDataError, if too_large { b"1" } else { b"0" });
        if too_large && self.engine.beyond() == BeyondLimit::Refuse {
            // Where the rules alone decide, v3's status.
            let by_rules = self.engine.mode == crate::settings::Mode::Rules
                && self.engine.directives.request_body_limit_action.is_some();
            let status = if by_rules { 403 } else { 413 };
            self.builtin(
                builtin::BODY_TOO_LARGE,
                status,
                &format!("the body is larger than the {limit} bytes that are inspected"),
            );
            if self.verdict != Verdict::Pass {
                return self.verdict.clone();
            }
            return self.look_at_body(body, false);
        }
        let _ = outside;
        self.look_at_body(body, !too_large)
    }

    fn look_at_body(&mut self, body: &[u8], complete: bool) -> Verdict {
        let Memory { state, outside } = &mut *self.memory.0;
        let engine = &*self.engine;
        let decoded = std::mem::take(&mut outside.decoded);
        let encoding = std::mem::take(&mut outside.content_encoding);
        let mut plain = Plain { bytes: decoded, error: None, used: false };
        if !body.is_empty() && !encoding.is_empty() {
            plain.decode(&encoding, body, complete, &engine.body_limits);
        }
        let shown = if plain.used { plain.bytes.as_slice() } else { body };
        let read = request::body(&engine.program, state, outside, &engine.body_limits, shown, complete);
        request::with_body(state, outside, shown);
        outside.audit.request_body(engine, state, shown);
        let error = plain.error.take().or(read.error);
        if let Some(error) = &error {
            for variable in [V::ReqbodyError, V::ReqbodyProcessorError] {
                state.set(variable, b"1");
            }
            for variable in [V::ReqbodyErrorMsg, V::ReqbodyProcessorErrorMsg] {
                state.set(variable, error.as_bytes());
            }
        }
        outside.decoded = plain.bytes;
        outside.content_encoding = encoding;
        let used = |variable: V| self.engine.program.used[variable as usize];
        let looked_at = used(V::ReqbodyError) || used(V::ReqbodyProcessorError);
        outside.body_error.clone_from(&error);
        if let Some(error) = error
            && !looked_at
        {
            self.builtin(
                builtin::UNREADABLE_BODY,
                400,
                &format!("the body is not what its headers say: {error}"),
            );
        }
        self.phase(2)
    }

    /// Inspects the answer's head: phase 3. `version` is `HTTP/1.1`, say.
    pub fn response_head(&mut self, status: u16, version: &str, headers: &[(&[u8], &[u8])]) -> Verdict {
        let Memory { state, outside } = &mut *self.memory.0;
        outside.status = status;
        state.set_number(V::ResponseStatus, i64::from(status));
        state.set_number(V::Status, i64::from(status));
        state.set(V::ResponseProtocol, version.as_bytes());
        outside.response_encoding.clear();
        for (name, value) in headers {
            state.add(V::ResponseHeaders, name, value);
            if name.eq_ignore_ascii_case(b"content-type") {
                let kind = value.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
                state.set(V::ResponseContentType, kind);
            } else if name.eq_ignore_ascii_case(b"content-length") {
                state.set(V::ResponseContentLength, value);
            } else if name.eq_ignore_ascii_case(b"content-encoding") {
                outside.response_encoding.extend_from_slice(value);
            }
        }
        self.phase(3)
    }

    /// Whether the answer's body is to be held back and shown, whole or its beginning:
    /// some rule looks at it and its type is one that is inspected.
    pub fn wants_response_body(&self) -> bool {
        let state = &self.memory.0.state;
        if state.switches.engine == EngineMode::Off
            || self.verdict != Verdict::Pass
            || !state.switches.response_body_access
            || state.switches.allowed_until > 4
            || !(self.engine.program.used[V::ResponseBody as usize]
                || self.engine.program.used[V::OutboundDataError as usize]
                || crate::audit::wants_response_body(&self.engine, state, &self.memory.0.outside))
        {
            return false;
        }
        let kind = state.scalar(V::ResponseContentType);
        match &self.engine.directives.response_mime_types {
            Some(types) => types.iter().any(|wanted| kind.eq_ignore_ascii_case(wanted.as_bytes())),
            None => ["text/plain", "text/html", "text/xml", "application/json", "application/xml"]
                .iter()
                .any(|wanted| kind.eq_ignore_ascii_case(wanted.as_bytes())),
        }
    }

    /// How much of the answer's body is looked at, bytes.
    pub fn response_body_limit(&self) -> usize {
        self.memory.0.state.switches.response_body_limit
    }

    /// Inspects the answer's body: phase 4. Call it once after its head, with `b""` and
    /// `true` where there is none or it is not wanted.
    pub fn response_body(&mut self, body: &[u8], complete: bool) -> Verdict {
        let limit = self.response_body_limit();
        let too_large = !complete || body.len() > limit;
        let body = &body[..body.len().min(limit)];
        let Memory { state, outside } = &mut *self.memory.0;
        state.set(V::OutboundDataError, if too_large { b"1" } else { b"0" });
        let decoded = std::mem::take(&mut outside.decoded);
        let encoding = std::mem::take(&mut outside.response_encoding);
        let mut plain = Plain { bytes: decoded, error: None, used: false };
        if !body.is_empty() && !encoding.is_empty() {
            plain.decode(&encoding, body, !too_large, &self.engine.body_limits);
        }
        let shown = if plain.used { plain.bytes.as_slice() } else { body };
        state.set(V::ResponseBody, shown);
        outside.decoded = plain.bytes;
        outside.response_encoding = encoding;
        self.phase(4)
    }

    /// A text frame of a WebSocket, from the client: the request's rules look at it as
    /// at one argument named `websocket`, each frame by itself.
    pub fn websocket_text(&mut self, text: &[u8]) -> Verdict {
        if self.verdict != Verdict::Pass {
            return self.verdict.clone();
        }
        let Memory { state, outside } = &mut *self.memory.0;
        state.begin_frame();
        outside.matched_ids.truncate(FRAME_IDS);
        state.work.until_us = (outside.clock)().saturating_add(self.engine.limits.time_us);
        state.add(V::ArgsPost, b"websocket", text);
        self.phase(2)
    }

    /// The verdict so far.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Ends it: phase 5, and what is to be told. The workspace is for the next one.
    pub fn finish(mut self, now_us: u64) -> (Report, Workspace) {
        self.memory.0.outside.now_us = now_us;
        let verdict = std::mem::replace(&mut self.verdict, Verdict::Pass);
        // Rules of the last phase cannot disrupt any more.
        let mode = self.memory.0.state.switches.engine;
        if mode == EngineMode::On {
            self.memory.0.state.switches.engine = EngineMode::DetectionOnly;
        }
        self.memory.0.state.switches.allowed_until = 0;
        self.phase(5);
        let Memory { state, outside } = &mut *self.memory.0;
        state.switches.engine = mode;
        let program = &self.engine.program;
        let score = |slots: [Option<u32>; 2]| {
            let numbers = slots.into_iter().flatten().map(|slot| state.tx.slots[slot as usize]);
            numbers.map(|value| crate::expand::as_number(program, state, value)).max().unwrap_or(0)
        };
        let scores = self.engine.scores;
        let score = Score { inbound: score(scores.inbound), outbound: score(scores.outbound) };
        let audit = crate::audit::record(&self.engine, state, outside, &verdict);
        let report = Report {
            matches: std::mem::take(&mut outside.matches),
            matched_ids: std::mem::take(&mut outside.matched_ids),
            score,
            exceeded: state.work.exceeded.or(state.work.too_many.then_some(Exceeded::Values)),
            body_error: outside.body_error.take(),
            disrupted_by: outside.disrupted_by,
            audit,
            spent_us: outside.spent_us,
        };
        (report, self.memory)
    }

    fn phase(&mut self, number: u8) -> Verdict {
        if self.verdict != Verdict::Pass {
            return self.verdict.clone();
        }
        let Memory { state, outside } = &mut *self.memory.0;
        let started = (outside.clock)();
        let flow = run::phase(&self.engine, state, outside, number);
        outside.spent_us += (outside.clock)().saturating_sub(started);
        let too_many = state.work.too_many.then_some(Exceeded::Values);
        // Values that were not kept may have been the ones that matter.
        let overflowed = state.texts.overflowed.then_some(Exceeded::Memory);
        state.work.exceeded = state.work.exceeded.or(overflowed);
        let exceeded = state.work.exceeded.or(too_many).filter(|_| number < 5);
        match flow {
            Flow::Disrupted(rule) => self.disrupt(rule),
            Flow::Done => {}
        }
        if let Some(exceeded) = exceeded {
            self.beyond_budget(exceeded);
        }
        self.verdict.clone()
    }

    fn disrupt(&mut self, number: u32) {
        let engine = Arc::clone(&self.engine);
        let rule = &engine.program.rules[number as usize];
        let id = rule.model.id;
        let Memory { state, outside } = &mut *self.memory.0;
        self.verdict = match &rule.disruptive {
            Disruptive::Drop => Verdict::Drop { rule: id },
            Disruptive::Redirect(to) => {
                let mut text = state.buffer();
                crate::expand::text(&engine, state, outside, to, &mut text);
                let to = crate::report::location(&text);
                state.give_back(text);
                let status = rule.model.status.filter(|status| (300..400).contains(status)).unwrap_or(302);
                Verdict::Redirect { status, to, rule: id }
            }
            _ => Verdict::Deny { status: rule.model.status.unwrap_or(403), rule: id },
        };
    }

    fn beyond_budget(&mut self, exceeded: Exceeded) {
        let what = match exceeded {
            Exceeded::Values => "names and values",
            Exceeded::Inspected => "work for the rules",
            Exceeded::Memory => "memory",
            Exceeded::Time => "time",
        };
        if self.memory.0.outside.matched_ids.contains(&builtin::TOO_MUCH) {
            return;
        }
        let message = format!("the request is beyond its budget of {what}");
        if self.engine.limits.beyond == BeyondLimit::Refuse {
            self.builtin(builtin::TOO_MUCH, 400, &message);
        } else {
            self.tell_builtin(builtin::TOO_MUCH, &message);
        }
    }

    /// One of the engine's own rules matched.
    fn builtin(&mut self, rule: u64, status: u16, message: &str) {
        if self.builtin_excluded(rule) {
            return;
        }
        self.tell_builtin(rule, message);
        let Memory { state, outside } = &mut *self.memory.0;
        outside.disrupted_by.get_or_insert(rule);
        if state.switches.engine == EngineMode::On && self.verdict == Verdict::Pass {
            self.verdict = Verdict::Deny { status, rule };
        }
    }

    fn tell_builtin(&mut self, rule: u64, message: &str) {
        let outside = &mut self.memory.0.outside;
        outside.matches.push(crate::report::of_builtin(rule, message));
        outside.matched_ids.push(rule);
    }

    fn builtin_excluded(&self, rule: u64) -> bool {
        let path = &self.memory.0.outside.path;
        self.engine
            .exclusions
            .iter()
            .any(|e| e.rule == rule && e.path.as_deref().is_none_or(|pattern| path_fits(pattern, path)))
    }

    /// The site's exclusions for this path.
    fn exclude(&mut self) {
        let engine = &self.engine;
        let first = engine.program.removals.len() - engine.exclusions.len();
        let Memory { state, outside } = &mut *self.memory.0;
        for (at, exclusion) in engine.exclusions.iter().enumerate() {
            if exclusion.path.as_deref().is_none_or(|pattern| path_fits(pattern, &outside.path)) {
                run::remove(&engine.program, state, (first + at) as u32);
            }
        }
    }
}

/// Whether a path is one that an exclusion names: exactly, or below its `*`. A path
/// that could be understood as another one is none.
fn path_fits(pattern: &str, path: &[u8]) -> bool {
    let plain = !path.contains(&b'%')
        && !path.contains(&b'\\')
        && memchr::memmem::find(path, b"//").is_none()
        && !path.split(|b| *b == b'/').any(|part| part == b"." || part == b"..");
    let fits = match pattern.strip_suffix('*') {
        Some(prefix) => path.starts_with(prefix.as_bytes()),
        None => path == pattern.as_bytes(),
    };
    fits && plain
}

fn who(engine: &Engine, state: &mut State, connection: &Connection<'_>) {
    use std::io::Write;
    let used = |variable: V| engine.program.used[variable as usize];
    let mut text = state.buffer();
    for (variable, address) in [
        (V::RemoteAddr, connection.client),
        (V::RemoteHost, connection.client),
        (V::ServerAddr, connection.server),
    ] {
        if used(variable) {
            text.clear();
            let _ = write!(text, "{address}");
            state.set(variable, &text);
        }
    }
    state.give_back(text);
    if used(V::RemotePort) {
        state.set_number(V::RemotePort, i64::from(connection.client_port));
    }
    if used(V::ServerPort) {
        state.set_number(V::ServerPort, i64::from(connection.server_port));
    }
    if used(V::UniqueId) {
        state.set(V::UniqueId, connection.unique_id.as_bytes());
    }
}

/// A compressed body, made plain for the rules.
struct Plain {
    bytes: Vec<u8>,
    error: Option<String>,
    used: bool,
}

impl Plain {
    fn decode(&mut self, encoding: &[u8], body: &[u8], complete: bool, limits: &waf_body::Limits) {
        self.bytes.clear();
        match waf_body::decode::Decoder::new(encoding, limits) {
            Ok(None) => {}
            Ok(Some(mut decoder)) => {
                self.used = true;
                let mut result = decoder.push(body, &mut self.bytes);
                if result.is_ok() && complete {
                    result = decoder.finish(&mut self.bytes);
                }
                self.error = result.err().map(|error| error.to_string());
            }
            Err(error) => self.error = Some(error.to_string()),
        }
    }
}
