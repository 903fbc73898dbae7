//! Alerts for a remote Alertmanager: when each is sent and sent again, and the
//! body of `POST /api/v2/alerts` (Prometheus' `notifier`; the specification of
//! alert generators, "Sending Alerts to Alertmanager").

use super::webhook::object;
use crate::rules::{ActiveAlert, RESOLVED_KEPT_MS, State};
use crate::{Labels, fingerprint, rfc3339};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// An alert is sent again after this long (Prometheus: `--rules.alert.resend-delay`).
pub const RESEND_DELAY_MS: u64 = 60_000;

/// Alerts in one request (Prometheus: `maxBatchSize`).
pub const MAX_BATCH: usize = 256;

/// An alert as it is sent. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq)]
pub struct SentAlert {
    /// What names it.
    pub labels: Labels,
    /// What it says.
    pub annotations: Labels,
    /// When it began to fire.
    pub starts_at_ms: u64,
    /// When it ended, or when it is over unless it is sent again.
    pub ends_at_ms: u64,
    /// The page of its expression.
    pub generator_url: String,
}

impl SentAlert {
    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "labels": object(&self.labels),
            "annotations": object(&self.annotations),
            "startsAt": rfc3339(self.starts_at_ms),
            "endsAt": rfc3339(self.ends_at_ms),
            "generatorURL": self.generator_url,
        })
    }
}

/// The body of a request.
pub fn body(alerts: &[SentAlert]) -> Vec<u8> {
    Value::from(alerts.iter().map(SentAlert::json).collect::<Vec<_>>()).to_string().into_bytes()
}

/// What one Alertmanager was sent, and when.
#[derive(Clone, Debug, Default)]
pub struct Sent(BTreeMap<u64, Last>);

#[derive(Clone, Copy, Debug)]
struct Last {
    at_ms: u64,
    resolved: bool,
    /// The evaluation that looked at it last, so that what is gone is forgotten.
    seen_ms: u64,
}

impl Sent {
    /// The alerts of one rule that are to be sent after the evaluation at
    /// `now_ms` of a group evaluated every `interval_ms`. They count as sent;
    /// [`Sent::failed`] takes that back.
    pub fn due<'a>(
        &mut self,
        alerts: impl Iterator<Item = &'a ActiveAlert>,
        external_labels: &Labels,
        generator_url: &str,
        interval_ms: u64,
        now_ms: u64,
    ) -> Vec<SentAlert> {
        let mut due = Vec::new();
        for alert in alerts.filter(|alert| alert.state != State::Pending) {
            let resolved = alert.state == State::Resolved;
            let print = fingerprint(&alert.labels);
            let fired_at_ms = alert.fired_at_ms.unwrap_or(alert.active_at_ms);
            let last = self.0.get_mut(&print);
            let wanted = match &last {
                // What ended unheard is still told, as Prometheus does.
                None => true,
                Some(last) if last.resolved != resolved => true,
                // "The first multiple of the group interval that is more than or equal to ResendDelay."
                Some(last) => now_ms.abs_diff(last.at_ms) >= RESEND_DELAY_MS,
            };
            let over =
                resolved && now_ms.saturating_sub(alert.resolved_at_ms.unwrap_or(0)) >= RESOLVED_KEPT_MS;
            if let Some(last) = last {
                last.seen_ms = now_ms;
            }
            if !wanted || over {
                continue;
            }
            self.0.insert(print, Last { at_ms: now_ms, resolved, seen_ms: now_ms });
            let valid_ms = RESEND_DELAY_MS.max(interval_ms).saturating_mul(4);
            let mut labels = alert.labels.clone();
            for (name, value) in external_labels {
                if labels.iter().all(|(known, _)| known != name) {
                    labels.push((name.clone(), value.clone()));
                }
            }
            labels.sort();
            due.push(SentAlert {
                labels,
                annotations: alert.annotations.clone(),
                starts_at_ms: fired_at_ms,
                ends_at_ms: match alert.resolved_at_ms {
                    Some(at_ms) if resolved => at_ms,
                    _ => now_ms.saturating_add(valid_ms),
                },
                generator_url: generator_url.to_owned(),
            });
        }
        due
    }

    /// The Alertmanager did not take what was sent at `at_ms`: the next
    /// evaluation sends it again.
    pub fn failed(&mut self, at_ms: u64) {
        self.0.retain(|_, last| last.at_ms != at_ms);
    }

    /// Forgets alerts that no evaluation has given since `before_ms`.
    pub fn forget(&mut self, before_ms: u64) {
        self.0.retain(|_, last| last.seen_ms >= before_ms);
    }
}
