//! The inspection of one request, from head to verdict.

use crate::action::Phase;
use crate::body::{self, Kind, Problem};
use crate::engine::Engine;
use crate::limits::{KEPT_FOR_HEAD, KEPT_PER_BODY_LIMIT, MATCHES_PER_REQUEST, MATCHES_PER_RULE, builtin};
use crate::report::{self, Hit};
use crate::rule::{Excluded, Link, Rule};
use crate::settings::{BeyondLimit, Mode};
use crate::transform::url_decode;
use crate::values::{TooMuch, Transformed, Values};
use crate::variable::Place;
use base::events::RuleMatch;
use edge_http::RequestHead;
use std::net::IpAddr;

/// What to do with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

/// One request under inspection. In detect mode the verdict is always
/// [`Verdict::Pass`], and what matched is in [`Transaction::into_matches`].
#[derive(Debug)]
pub struct Transaction<'e> {
    engine: &'e Engine,
    client: IpAddr,
    /// The path as sent, for exclusions.
    path: Vec<u8>,
    kind: Kind,
    values: Values,
    transformed: Transformed,
    matches: Vec<RuleMatch>,
    verdict: Verdict,
    body_done: bool,
}

impl<'e> Transaction<'e> {
    pub(crate) fn new(engine: &'e Engine, client: IpAddr) -> Self {
        let kept = engine.body_limit.saturating_mul(KEPT_PER_BODY_LIMIT).saturating_add(KEPT_FOR_HEAD);
        Self {
            engine,
            client,
            path: Vec::new(),
            kind: Kind::Other,
            values: Values::new(kept),
            transformed: Transformed::default(),
            matches: Vec::new(),
            verdict: Verdict::Pass,
            body_done: false,
        }
    }

    /// Inspects the head. `body_follows` says that [`Transaction::request_body`]
    /// will be called; if not (there is no body, or [`Engine::wants_body`] says it
    /// need not be held back), the rules of phase 2 run now, without a body.
    pub fn request_head(&mut self, head: &RequestHead<'_>, body_follows: bool) -> Verdict {
        self.path = head.path().to_vec();
        self.kind = Kind::of(head);
        if let Err(TooMuch(what)) = self.keep_head(head) {
            self.too_much(what, "ARGS");
        }
        self.run(Phase::Head);
        if body_follows { self.verdict } else { self.finish() }
    }

    /// Inspects the body: all of it, or its beginning where `complete` is false.
    /// Call it once, after the head, also for a body that turned out empty.
    pub fn request_body(&mut self, body: &[u8], complete: bool) -> Verdict {
        if self.body_done || self.denied() {
            return self.verdict;
        }
        let limit = self.engine.body_limit;
        let complete = complete && body.len() <= limit;
        if !complete && self.engine.beyond_limit == BeyondLimit::Refuse {
            let message = format!("the body is larger than the {limit} bytes that are inspected");
            self.builtin(builtin::BODY_TOO_LARGE, 413, message, "REQUEST_BODY");
        }
        let kind = std::mem::take(&mut self.kind);
        let read = body::read(&kind, &body[..body.len().min(limit)], complete, &mut self.values);
        let error = match read {
            Ok(()) => "0",
            Err(Problem::TooMuch(what)) => {
                self.too_much(what, "REQUEST_BODY");
                "1"
            }
            Err(Problem::Unreadable(why)) => {
                let message = format!("the body is not what its Content-Type says: {why}");
                self.builtin(builtin::UNREADABLE_BODY, 400, message, "REQUEST_BODY");
                "1"
            }
        };
        // Where even this finds no room, the request was denied above.
        let _ = self.values.add(Place::BodyError, b"", error.as_bytes());
        self.finish()
    }

    /// Each rule that matched, in order, at most [`MATCHES_PER_REQUEST`].
    pub fn matches(&self) -> &[RuleMatch] {
        &self.matches
    }

    /// The same, to keep.
    pub fn into_matches(self) -> Vec<RuleMatch> {
        self.matches
    }

    fn finish(&mut self) -> Verdict {
        if !self.body_done && !self.denied() {
            self.body_done = true;
            self.run(Phase::Body);
        }
        self.verdict
    }

    fn denied(&self) -> bool {
        self.verdict != Verdict::Pass
    }

    /// ModSecurity v3's variables of a head.
    fn keep_head(&mut self, head: &RequestHead<'_>) -> Result<(), TooMuch> {
        let values = &mut self.values;
        values.add(Place::RemoteAddr, b"", self.client.to_string().as_bytes())?;
        values.add(Place::Method, b"", head.method)?;
        values.add(Place::Protocol, b"", head.version.as_str().as_bytes())?;
        values.add(Place::UriRaw, b"", head.target)?;
        let mut decoded = Vec::with_capacity(head.target.len());
        url_decode(origin_form(head.target), false, &mut decoded);
        values.add(Place::Uri, b"", &decoded)?;
        decoded.clear();
        url_decode(origin_form(head.path()), false, &mut decoded);
        values.add(Place::Filename, b"", &decoded)?;
        values.add(Place::QueryString, b"", head.query().unwrap_or_default())?;
        for (name, value) in head.headers {
            values.add(Place::Headers, name, value)?;
            if name.eq_ignore_ascii_case(b"cookie") {
                values.add_cookies(value)?;
            }
        }
        // Last, so that too many of them hide nothing else.
        values.add_query(Place::ArgsGet, head.query().unwrap_or_default())
    }

    fn run(&mut self, phase: Phase) {
        let engine = self.engine;
        for rule in engine.rules.rules.iter().filter(|rule| rule.phase == phase) {
            if self.denied() {
                return;
            }
            self.evaluate(rule);
        }
    }

    fn evaluate(&mut self, rule: &'e Rule) {
        let exclusions: Vec<&Excluded> = rule.exclusions.iter().filter(|e| e.applies(&self.path)).collect();
        if exclusions.iter().any(|e| e.arg.is_none()) {
            return;
        }
        let mut hits = Vec::new();
        for link in &rule.links {
            let before = hits.len();
            self.find(link, &exclusions, &mut hits);
            if hits.len() == before {
                return;
            }
        }
        if rule.log || rule.deny.is_some() {
            for hit in hits {
                self.report(rule, &hit);
            }
        }
        if let Some(status) = rule.deny {
            self.deny(status, rule.id);
        }
    }

    fn find(&mut self, link: &'e Link, exclusions: &[&Excluded], hits: &mut Vec<Hit<'e>>) {
        let pipeline = &self.engine.rules.pipelines[link.pipeline];
        let mut found = 0;
        for target in &link.targets.wanted {
            for index in 0..self.values.len() {
                let (place, name) = (self.values.place(index), self.values.name(index));
                let left_out = || {
                    link.targets.left_out.iter().any(|t| t.names() == target.names() && t.takes(place, name))
                };
                if !target.takes(place, name) || left_out() || is_excluded(exclusions, place, name) {
                    continue;
                }
                let names = target.names();
                let value = self.transformed.get(&self.values, index, names, link.pipeline, pipeline);
                if let Some(range) = link.test.matches(value) {
                    hits.push(Hit { link, target, index, range });
                    found += 1;
                    if found == MATCHES_PER_RULE {
                        return;
                    }
                }
            }
        }
    }

    fn report(&mut self, rule: &Rule, hit: &Hit<'_>) {
        if self.matches.len() >= MATCHES_PER_REQUEST {
            return;
        }
        let pipeline = &self.engine.rules.pipelines[hit.link.pipeline];
        let names = hit.target.names();
        let value = self.transformed.get(&self.values, hit.index, names, hit.link.pipeline, pipeline);
        self.matches.push(report::of_hit(rule, hit, &self.values, value, pipeline));
    }

    fn too_much(&mut self, what: &str, variable: &str) {
        let message = format!("the request has more {what} than are inspected");
        self.builtin(builtin::TOO_MUCH, 400, message, variable);
    }

    fn builtin(&mut self, rule: u64, status: u16, message: String, variable: &str) {
        if !self.engine.builtin_excluded(rule, &self.path) {
            self.matches.push(report::of_builtin(rule, message, variable));
            self.deny(status, rule);
        }
    }

    fn deny(&mut self, status: u16, rule: u64) {
        if self.engine.mode == Mode::Block && !self.denied() {
            self.verdict = Verdict::Deny { status, rule };
        }
    }
}

/// Whether a setting lets this argument pass the rule. Names are compared exactly.
fn is_excluded(exclusions: &[&Excluded], place: Place, name: &[u8]) -> bool {
    let argument = matches!(place, Place::ArgsGet | Place::ArgsPost | Place::Files);
    argument && exclusions.iter().any(|e| e.arg.as_ref().is_some_and(|arg| arg.as_bytes() == name))
}

/// A target without scheme and authority (RFC 9112 §3.2.2), where it has them.
fn origin_form(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(scheme_end) = memchr::memmem::find(target, b"://") else {
        return target;
    };
    let after = scheme_end + 3;
    memchr::memchr2(b'/', b'?', &target[after..]).map_or(&[][..], |at| &target[after + at..])
}

#[cfg(test)]
mod tests;
