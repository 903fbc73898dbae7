//! The edge's metrics: handles resolved once, so that a request costs a few
//! atomic additions and no lookup.

use base::names;
use edge_http::Refusal;
use role::{Counter, Family, Gauge, Histogram, Registry};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    pub(crate) waf: Verdicts,
    pub(crate) waf_responses: Verdicts,
    pub(crate) waf_messages: Verdicts,
    pub(crate) waf_duration: Arc<Histogram>,
    pub(crate) waf_exceeded: Arc<Family<Counter>>,
    pub(crate) waf_bans: Arc<Counter>,
    waf_matches: Arc<Family<Counter>>,
    /// The rules that have matched, at most a thousand.
    waf_rules: Mutex<HashMap<u64, Arc<Counter>>>,
    /// Requests that no pool answered.
    pub(crate) own: PoolMetrics,
    refused: Vec<Arc<Counter>>,
}

/// What the WAF said.
pub(crate) struct Verdicts {
    pub(crate) pass: Arc<Counter>,
    pub(crate) detect: Arc<Counter>,
    pub(crate) block: Arc<Counter>,
}

/// Rules that have a series of their own: the Core Rule Set has some 600.
const RULES: usize = 1_000;

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
        let verdicts = |metric| {
            let family = registry.counter(metric);
            let [pass, detect, block] = ["pass", "detect", "block"].map(|verdict| family.with(&[verdict]));
            Verdicts { pass, detect, block }
        };
        let answers = registry.counter(&names::WAF_RESPONSES);
        // Detecting is told of requests, with their answers.
        let [pass, block] = ["pass", "block"].map(|verdict| answers.with(&[verdict]));
        let waf_responses = Verdicts { detect: pass.clone(), pass, block };
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
            waf: verdicts(&names::WAF_REQUESTS),
            waf_responses,
            waf_messages: verdicts(&names::WAF_FRAMES),
            waf_duration: registry.histogram(&names::WAF_DURATION).with(&[]),
            waf_exceeded: registry.counter(&names::WAF_EXCEEDED),
            waf_bans: counter(&names::WAF_BANS),
            waf_matches: registry.counter(&names::WAF_MATCHES),
            waf_rules: Mutex::default(),
            own: PoolMetrics {
                codes: Codes::new(registry.counter(&names::EDGE_REQUESTS), &["-"]),
                duration: registry.histogram(&names::EDGE_REQUEST_DURATION).with(&["-"]),
                retries: None,
            },
            refused: Refusal::ALL.iter().map(|r| refused.with(&[r.reason()])).collect(),
            registry,
        }
    }

    /// A rule matched.
    pub(crate) fn waf_matched(&self, rule: u64) {
        let mut rules = self.waf_rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counter) = rules.get(&rule) {
            counter.inc();
        } else if rules.len() < RULES {
            let counter = self.waf_matches.with(&[&rule.to_string()]);
            counter.inc();
            rules.insert(rule, counter);
        } else {
            self.waf_matches.with(&["other"]).inc();
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_a_bounded_number_of_series() {
        let metrics = Metrics::new(Arc::default());
        for rule in 0..RULES as u64 + 10 {
            metrics.waf_matched(rule);
            metrics.waf_matched(rule % 5);
        }
        let text = metrics.registry.expose();
        assert_eq!(text.matches("bastide_waf_matches_total{").count(), RULES + 1);
        assert!(text.contains("bastide_waf_matches_total{rule=\"other\"} 10\n"));
        let fifth = RULES / 5 + 2 + 1;
        assert!(text.contains(&format!("bastide_waf_matches_total{{rule=\"4\"}} {fifth}\n")), "{text}");
    }
}
