//! The edge's metrics: handles resolved once, so that a request costs a few
//! atomic additions and no lookup.

use base::names;
use edge_http::Refusal;
use role::{Counter, Family, Gauge, Histogram, Registry};
use std::sync::{Arc, OnceLock};

/// What is counted whatever the pool.
pub(crate) struct Metrics {
    pub(crate) registry: Arc<Registry>,
    pub(crate) handshakes_full: Arc<Counter>,
    pub(crate) handshakes_resumed: Arc<Counter>,
    pub(crate) handshakes_failed: Arc<Counter>,
    pub(crate) in_flight: Arc<Gauge>,
    pub(crate) received_bytes: Arc<Counter>,
    pub(crate) sent_bytes: Arc<Counter>,
    pub(crate) banned: Arc<Counter>,
    pub(crate) lines_dropped: Arc<Counter>,
    pub(crate) waf_pass: Arc<Counter>,
    pub(crate) waf_detect: Arc<Counter>,
    pub(crate) waf_block: Arc<Counter>,
    pub(crate) waf_duration: Arc<Histogram>,
    pub(crate) waf_matches: Arc<Family<Counter>>,
    /// Requests that no pool answered.
    pub(crate) own: PoolMetrics,
    refused: Vec<Arc<Counter>>,
}

/// One pool's part.
pub(crate) struct PoolMetrics {
    codes: Codes,
    pub(crate) duration: Arc<Histogram>,
    pub(crate) retries: Option<Arc<Counter>>,
}

/// One server's part.
pub(crate) struct ServerMetrics {
    codes: Codes,
    pub(crate) errors: Arc<Counter>,
    pub(crate) duration: Arc<Histogram>,
    pub(crate) in_flight: Arc<Gauge>,
    pub(crate) up: Arc<Gauge>,
    pub(crate) connects_ok: Arc<Counter>,
    pub(crate) connects_failed: Arc<Counter>,
}

/// One counter a status code, made when first needed.
struct Codes {
    family: Arc<Family<Counter>>,
    labels: Vec<String>,
    slots: Box<[OnceLock<Arc<Counter>>]>,
}

impl Metrics {
    pub(crate) fn new(registry: Arc<Registry>) -> Self {
        let handshakes = registry.counter(&names::EDGE_HANDSHAKES);
        let refused = registry.counter(&names::EDGE_REFUSED);
        let waf = registry.counter(&names::WAF_REQUESTS);
        let counter = |metric| registry.counter(metric).with(&[]);
        Self {
            handshakes_full: handshakes.with(&["full"]),
            handshakes_resumed: handshakes.with(&["resumed"]),
            handshakes_failed: handshakes.with(&["failed"]),
            in_flight: registry.gauge(&names::EDGE_IN_FLIGHT).with(&[]),
            received_bytes: counter(&names::EDGE_RECEIVED_BYTES),
            sent_bytes: counter(&names::EDGE_SENT_BYTES),
            banned: counter(&names::EDGE_BANNED),
            lines_dropped: registry.counter(&names::EVENTS_DROPPED).with(&["edge"]),
            waf_pass: waf.with(&["pass"]),
            waf_detect: waf.with(&["detect"]),
            waf_block: waf.with(&["block"]),
            waf_duration: registry.histogram(&names::WAF_DURATION).with(&[]),
            waf_matches: registry.counter(&names::WAF_MATCHES),
            own: PoolMetrics {
                codes: Codes::new(registry.counter(&names::EDGE_REQUESTS), &["-"]),
                duration: registry.histogram(&names::EDGE_REQUEST_DURATION).with(&["-"]),
                retries: None,
            },
            refused: Refusal::ALL.iter().map(|r| refused.with(&[r.reason()])).collect(),
            registry,
        }
    }

    pub(crate) fn refused(&self, refusal: Refusal) {
        self.refused[refusal as usize].inc();
    }
}

impl PoolMetrics {
    pub(crate) fn new(registry: &Registry, pool: &str) -> Self {
        Self {
            codes: Codes::new(registry.counter(&names::EDGE_REQUESTS), &[pool]),
            duration: registry.histogram(&names::EDGE_REQUEST_DURATION).with(&[pool]),
            retries: Some(registry.counter(&names::EDGE_RETRIES).with(&[pool])),
        }
    }

    /// A request was answered with this status.
    pub(crate) fn answered(&self, status: u16) {
        self.codes.inc(status);
    }
}

impl ServerMetrics {
    pub(crate) fn new(registry: &Registry, pool: &str, server: &str) -> Self {
        let requests = registry.counter(&names::EDGE_SERVER_REQUESTS);
        let connects = registry.counter(&names::EDGE_SERVER_CONNECTS);
        Self {
            errors: requests.with(&[pool, server, "error"]),
            codes: Codes::new(requests, &[pool, server]),
            duration: registry.histogram(&names::EDGE_SERVER_DURATION).with(&[pool, server]),
            in_flight: registry.gauge(&names::EDGE_SERVER_IN_FLIGHT).with(&[pool, server]),
            up: registry.gauge(&names::EDGE_SERVER_UP).with(&[pool, server]),
            connects_ok: connects.with(&[pool, server, "ok"]),
            connects_failed: connects.with(&[pool, server, "failed"]),
        }
    }

    /// The server gave this status.
    pub(crate) fn answered(&self, status: u16) {
        self.codes.inc(status);
    }
}

/// Statuses have three digits; what is outside (hyper allows 100 to 999) shares a slot.
const FIRST: u16 = 100;
const SLOTS: usize = 900;

impl Codes {
    fn new(family: Arc<Family<Counter>>, labels: &[&str]) -> Self {
        let labels = labels.iter().map(|l| (*l).to_owned()).collect();
        Self { family, labels, slots: (0..SLOTS).map(|_| OnceLock::new()).collect() }
    }

    fn inc(&self, status: u16) {
        let slot = usize::from(status.saturating_sub(FIRST)).min(SLOTS - 1);
        let counter = self.slots[slot].get_or_init(|| {
            let code = status.to_string();
            let labels: Vec<&str> = self.labels.iter().map(String::as_str).chain([code.as_str()]).collect();
            self.family.with(&labels)
        });
        counter.inc();
    }
}
