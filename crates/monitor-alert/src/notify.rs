//! Who is told what, and when.
//!
//! Alerts of one name are told to one receiver together (Alertmanager's
//! `group_by: [alertname]`). A group is told at once when it begins, again when
//! an alert joins or resolves (but not within [`GROUP_INTERVAL_MS`] of the last
//! message), and every `repeat` while it fires. A message that was not taken is
//! tried again, later and later, with what is true then: so there is never more
//! than one message in flight for a group and no queue that could grow.

use crate::rules::{ActiveAlert, State};
use crate::settings::{Alert, Receiver};
use crate::{Labels, fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Between two messages about one group, unless the first failed.
pub const GROUP_INTERVAL_MS: u64 = 10_000;

/// Alerts in one message; the rest is counted in `truncatedAlerts`.
pub const MAX_ALERTS_PER_NOTIFICATION: usize = 500;

/// The first wait after a message that was not taken; it doubles each time.
const FIRST_RETRY_MS: u64 = 1_000;

/// The longest wait.
const LAST_RETRY_MS: u64 = 60_000;

/// One message for one receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Notification {
    /// The receiver's name.
    pub receiver: String,
    /// Names the group: `{}/{receiver="ops"}:{alertname="server-down"}`.
    pub group_key: String,
    /// `alertname` with its value.
    pub group_labels: Labels,
    /// Firing alerts first, then resolved ones, each part by labels.
    pub alerts: Vec<ActiveAlert>,
    /// Alerts that found no place.
    pub truncated: usize,
}

impl Notification {
    /// Whether any of its alerts fires.
    pub fn firing(&self) -> bool {
        self.alerts.iter().any(|alert| alert.state == State::Firing)
    }
}

/// What each receiver knows. Serialises.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Dispatcher {
    groups: BTreeMap<String, Group>,
}

/// What a receiver knows of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Group {
    receiver: String,
    alertname: String,
    /// What it was told fires, by fingerprint. Kept here, so that a receiver that
    /// was away hears that an alert resolved however long ago that was.
    told: BTreeMap<u64, ActiveAlert>,
    told_at_ms: u64,
    /// Failures in a row, and when to try again.
    failures: u32,
    retry_at_ms: u64,
    /// What the message in flight says; lost on restart, so that it is sent again.
    #[serde(skip)]
    in_flight: Option<BTreeMap<u64, ActiveAlert>>,
}

impl Dispatcher {
    /// The messages due at `now_ms`. Each is in flight until
    /// [`Dispatcher::delivered`] or [`Dispatcher::failed`] is called with its key.
    ///
    /// `alerts` are the alerts of every rule, each with its rule.
    pub fn due<'a>(
        &mut self,
        receivers: &[Receiver],
        alerts: impl IntoIterator<Item = (&'a Alert, &'a ActiveAlert)>,
        now_ms: u64,
    ) -> Vec<Notification> {
        // By group: the alerts of its rules, if any are left.
        let mut alerts_of: BTreeMap<String, Vec<&ActiveAlert>> = BTreeMap::new();
        for (rule, alert) in alerts {
            if alert.state == State::Pending {
                continue;
            }
            for receiver in &rule.to {
                let key = group_key(receiver, &rule.name);
                let group = self.groups.entry(key.clone()).or_default();
                group.receiver.clone_from(receiver);
                group.alertname.clone_from(&rule.name);
                alerts_of.entry(key).or_default().push(alert);
            }
        }
        let mut due = Vec::new();
        self.groups.retain(|key, group| {
            // A receiver that was taken out of the file is told nothing more.
            let Some(receiver) = receivers.iter().find(|r| r.name == group.receiver) else { return false };
            let alerts = alerts_of.get(key).map_or(&[][..], Vec::as_slice);
            if let Some(tell) = group.due(alerts, receiver.repeat.0, now_ms) {
                due.push(notification(group, key, tell));
            }
            // What fires nowhere and nobody was told of needs no memory.
            !alerts.is_empty() || !group.told.is_empty() || group.in_flight.is_some()
        });
        due
    }

    /// The receiver took the message.
    pub fn delivered(&mut self, group_key: &str, now_ms: u64) {
        if let Some(group) = self.groups.get_mut(group_key)
            && let Some(firing) = group.in_flight.take()
        {
            group.told = firing;
            group.told_at_ms = now_ms;
            group.failures = 0;
            group.retry_at_ms = 0;
        }
    }

    /// The receiver did not take the message; it stays due.
    pub fn failed(&mut self, group_key: &str, now_ms: u64) {
        if let Some(group) = self.groups.get_mut(group_key) {
            group.in_flight = None;
            let wait_ms = FIRST_RETRY_MS.saturating_mul(1 << group.failures.min(10)).min(LAST_RETRY_MS);
            group.failures = group.failures.saturating_add(1);
            group.retry_at_ms = now_ms.saturating_add(wait_ms);
        }
    }
}

impl Group {
    /// The alerts to tell now, if any (Alertmanager's `DedupStage.needsUpdate`).
    fn due(&mut self, alerts: &[&ActiveAlert], repeat_ms: u64, now_ms: u64) -> Option<Vec<ActiveAlert>> {
        if self.in_flight.is_some() {
            return None;
        }
        let firing: BTreeMap<u64, ActiveAlert> = alerts
            .iter()
            .filter(|alert| alert.state == State::Firing)
            .map(|alert| (fingerprint(&alert.labels), (*alert).clone()))
            .collect();
        let joined = firing.keys().any(|print| !self.told.contains_key(print));
        let left = self.told.keys().any(|print| !firing.contains_key(print));
        // Both clocks are the wall clock: one that stepped back must not silence a group.
        let since_ms = if now_ms >= self.told_at_ms { now_ms - self.told_at_ms } else { u64::MAX };
        let repeated = !firing.is_empty() && repeat_ms > 0 && since_ms >= repeat_ms;
        if self.failures > 0 {
            let too_far = self.retry_at_ms.saturating_sub(now_ms) > LAST_RETRY_MS;
            if now_ms < self.retry_at_ms && !too_far {
                return None;
            }
        } else if !self.told.is_empty() && since_ms < GROUP_INTERVAL_MS {
            return None;
        }
        if !(joined || left || repeated) {
            return None;
        }
        let mut resolved: Vec<ActiveAlert> = self
            .told
            .iter()
            .filter(|(print, _)| !firing.contains_key(print))
            .map(|(print, told)| resolved_alert(*print, told, alerts, now_ms))
            .collect();
        let mut tell: Vec<ActiveAlert> = firing.values().cloned().collect();
        tell.sort_by(|a, b| a.labels.cmp(&b.labels));
        resolved.sort_by(|a, b| a.labels.cmp(&b.labels));
        tell.append(&mut resolved);
        self.in_flight = Some(firing);
        Some(tell)
    }
}

/// What was told firing and no longer is: as its rule remembers it, else as it
/// was told, ended now.
fn resolved_alert(print: u64, told: &ActiveAlert, alerts: &[&ActiveAlert], now_ms: u64) -> ActiveAlert {
    let known = alerts.iter().find(|a| a.state == State::Resolved && fingerprint(&a.labels) == print);
    match known {
        Some(alert) => (*alert).clone(),
        None => ActiveAlert { state: State::Resolved, resolved_at_ms: Some(now_ms), ..told.clone() },
    }
}

fn group_key(receiver: &str, alertname: &str) -> String {
    format!("{{}}/{{receiver={receiver:?}}}:{{alertname={alertname:?}}}")
}

fn notification(group: &Group, key: &str, tell: Vec<ActiveAlert>) -> Notification {
    let truncated = tell.len().saturating_sub(MAX_ALERTS_PER_NOTIFICATION);
    Notification {
        receiver: group.receiver.clone(),
        group_key: key.to_owned(),
        group_labels: vec![("alertname".to_owned(), group.alertname.clone())],
        alerts: tell.into_iter().take(MAX_ALERTS_PER_NOTIFICATION).collect(),
        truncated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{Millis, Secret};

    const REPEAT_MS: u64 = 3_600_000;

    fn rule() -> Alert {
        Alert {
            name: "server-down".into(),
            expr: String::new(),
            hold: Millis(0),
            labels: Vec::new(),
            annotations: Vec::new(),
            to: vec!["ops".into(), "nobody".into()],
        }
    }

    fn receivers() -> Vec<Receiver> {
        vec![Receiver { name: "ops".into(), webhook: Secret::new("http://h/"), repeat: Millis(REPEAT_MS) }]
    }

    fn alert(server: &str, state: State) -> ActiveAlert {
        ActiveAlert {
            labels: vec![("server".into(), server.into())],
            annotations: Vec::new(),
            state,
            active_at_ms: 0,
            fired_at_ms: Some(0),
            resolved_at_ms: None,
            kept_since_ms: None,
            value: 1.0,
        }
    }

    fn told(dispatcher: &mut Dispatcher, alerts: &[ActiveAlert], now_ms: u64) -> Vec<Notification> {
        let rule = rule();
        dispatcher.due(&receivers(), alerts.iter().map(|a| (&rule, a)), now_ms)
    }

    #[test]
    fn a_group_is_told_joined_repeated_and_resolved() {
        let mut d = Dispatcher::default();
        let t0 = 1_000_000;
        let (a, b) = (alert("a", State::Firing), alert("b", State::Firing));
        assert_eq!(told(&mut d, &[alert("a", State::Pending)], t0), []);
        let first = told(&mut d, std::slice::from_ref(&a), t0);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].group_key, r#"{}/{receiver="ops"}:{alertname="server-down"}"#);
        assert_eq!(told(&mut d, std::slice::from_ref(&a), t0), [], "one message in flight");
        d.delivered(&first[0].group_key, t0);
        let both = [a.clone(), b.clone()];
        assert_eq!(told(&mut d, &both, t0 + GROUP_INTERVAL_MS - 1), [], "not so soon");
        let second = told(&mut d, &both, t0 + GROUP_INTERVAL_MS);
        assert_eq!(second[0].alerts.len(), 2);
        d.delivered(&second[0].group_key, t0 + GROUP_INTERVAL_MS);
        let t1 = t0 + GROUP_INTERVAL_MS;
        assert_eq!(told(&mut d, &both, t1 + REPEAT_MS - 1), []);
        let again = told(&mut d, &both, t1 + REPEAT_MS);
        assert_eq!(again.len(), 1);
        d.delivered(&again[0].group_key, t1 + REPEAT_MS);
        let t2 = t1 + REPEAT_MS + GROUP_INTERVAL_MS;
        let left = told(&mut d, &[alert("a", State::Resolved), b], t2);
        assert_eq!(
            left[0].alerts.iter().map(|a| a.state).collect::<Vec<_>>(),
            [State::Firing, State::Resolved]
        );
        d.delivered(&left[0].group_key, t2);
        let t3 = t2 + GROUP_INTERVAL_MS;
        let gone = [alert("a", State::Resolved), alert("b", State::Resolved)];
        let last = told(&mut d, &gone, t3);
        assert_eq!(last[0].alerts.len(), 1, "a is not told twice");
        assert!(!last[0].firing());
        d.delivered(&last[0].group_key, t3);
        assert_eq!(told(&mut d, &gone, t3 + 2 * REPEAT_MS), []);
        assert_eq!(told(&mut d, &[], t3 + 2 * REPEAT_MS), []);
        assert_eq!(d, Dispatcher::default(), "nothing is remembered of what is over");
    }

    #[test]
    fn a_message_not_taken_stays_due_with_what_is_true_then() {
        let mut d = Dispatcher::default();
        let a = [alert("a", State::Firing)];
        let key = told(&mut d, &a, 0)[0].group_key.clone();
        d.failed(&key, 0);
        assert_eq!(told(&mut d, &a, 999), []);
        assert_eq!(told(&mut d, &a, 1_000).len(), 1);
        d.failed(&key, 1_000);
        assert_eq!(told(&mut d, &a, 2_999), []);
        let restarted: Dispatcher = serde_json::from_str(&serde_json::to_string(&d).unwrap()).unwrap();
        assert_eq!(restarted, d);
        // It resolved before anyone heard of it: nobody is told.
        assert_eq!(told(&mut d, &[alert("a", State::Resolved)], 10_000), []);
        // A wall clock that stepped back by a day does not silence the retry.
        let mut d = restarted;
        d.groups.get_mut(&key).unwrap().retry_at_ms = 86_400_000;
        assert_eq!(told(&mut d, &a, 5_000).len(), 1);
    }

    #[test]
    fn a_message_is_bounded() {
        let mut d = Dispatcher::default();
        let many: Vec<ActiveAlert> =
            (0..MAX_ALERTS_PER_NOTIFICATION + 3).map(|i| alert(&i.to_string(), State::Firing)).collect();
        let message = &told(&mut d, &many, 0)[0];
        assert_eq!((message.alerts.len(), message.truncated), (MAX_ALERTS_PER_NOTIFICATION, 3));
    }
}
