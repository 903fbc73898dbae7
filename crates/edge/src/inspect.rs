//! The web application firewall's place in a request's life: the head is shown
//! to it, then the body where it wants one, and what it says is done.

use crate::edge::Edge;
use base::EventId;
use base::events::{Event, WafMatch};
use edge_http::RequestHead;
use edge_http::path::escape;
use std::net::IpAddr;
use std::time::{Duration, Instant};
use waf::{Engine, Transaction, Verdict};

/// One request under inspection.
pub(crate) struct Inspection<'e> {
    transaction: Transaction<'e>,
    spent: Duration,
}

/// What came of an inspection.
#[derive(Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Nothing matched.
    Clean,
    /// Rules matched, and the request goes on.
    Noted(EventId),
    /// The request is refused with this status.
    Refused(u16, EventId),
}

impl<'e> Inspection<'e> {
    pub(crate) fn begin(engine: &'e Engine, client: IpAddr) -> Self {
        Self { transaction: engine.begin(client), spent: Duration::ZERO }
    }

    /// Shows the head; the answer is whether it is refused already.
    pub(crate) fn head(&mut self, head: &RequestHead<'_>, body_follows: bool) -> Verdict {
        let started = Instant::now();
        let verdict = self.transaction.request_head(head, body_follows);
        self.spent += started.elapsed();
        verdict
    }

    /// Shows the body, or its beginning.
    pub(crate) fn body(&mut self, body: &[u8], complete: bool) -> Verdict {
        let started = Instant::now();
        let verdict = self.transaction.request_body(body, complete);
        self.spent += started.elapsed();
        verdict
    }

    /// Ends the inspection: counts it and writes down what matched.
    pub(crate) fn end(
        self,
        edge: &Edge,
        head: &RequestHead<'_>,
        client: IpAddr,
        verdict: Verdict,
    ) -> Outcome {
        let metrics = &edge.metrics;
        metrics.waf_duration.observe(self.spent);
        let matches = self.transaction.into_matches();
        let denied = match verdict {
            Verdict::Pass => None,
            Verdict::Deny { status, .. } => Some(status),
        };
        if matches.is_empty() && denied.is_none() {
            metrics.waf_pass.inc();
            return Outcome::Clean;
        }
        for matched in &matches {
            metrics.waf_matches.with(&[&matched.rule.to_string()]).inc();
        }
        let id = EventId::new(sys::clock::now_ms(), sys::random::u64());
        edge.events.emit(Event::WafMatch(WafMatch {
            id,
            client,
            method: escape(head.method, 32),
            host: escape(head.authority, 260),
            path: escape(head.path(), 1_024),
            blocked: denied.is_some(),
            matches,
        }));
        match denied {
            Some(status) => {
                metrics.waf_block.inc();
                Outcome::Refused(status, id)
            }
            None => {
                metrics.waf_detect.inc();
                Outcome::Noted(id)
            }
        }
    }
}
