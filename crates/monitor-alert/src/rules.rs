//! The states of alerting rules.
//!
//! One alert for each label set an expression gives. As in Prometheus:
//! *pending* from the first evaluation that gives the label set, *firing* once it
//! was given throughout `hold`, *resolved* by the first evaluation that does not
//! give it. An evaluation that fails changes nothing.

use crate::settings::Alert;
use crate::{Labels, template};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Label sets one rule may have at once; an expression that gives more is refused
/// whole, and what fired keeps firing.
pub const MAX_ALERTS_PER_RULE: usize = 1_000;

/// How long a resolved alert is remembered, so that a receiver that was away
/// still hears of it (Prometheus: `resolvedRetention`).
pub const RESOLVED_KEPT_MS: u64 = 15 * 60 * 1_000;

/// One element of the vector that an expression gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, with or without `__name__`, sorted.
    pub labels: Labels,
    /// Its value.
    pub value: f64,
}

/// Where an alert stands. An inactive one is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// True, but not for long enough.
    Pending,
    /// True for `hold` at least.
    Firing,
    /// Fired, and is no longer true.
    Resolved,
}

impl State {
    /// `pending`, `firing`, `resolved`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One alert. Times are Unix milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ActiveAlert {
    /// With `alertname` and the rule's own labels, sorted.
    pub labels: Labels,
    /// Filled in, as of the last evaluation that gave it.
    pub annotations: Labels,
    /// Where it stands.
    pub state: State,
    /// The first evaluation that gave it.
    pub active_at_ms: u64,
    /// When it began to fire.
    pub fired_at_ms: Option<u64>,
    /// When it stopped.
    pub resolved_at_ms: Option<u64>,
    /// The last value.
    #[serde(with = "lossless")]
    pub value: f64,
}

/// A change of state, worth an event.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// The rule's name.
    pub alert: String,
    /// The state it is in now.
    pub state: State,
    /// Its labels.
    pub labels: Labels,
    /// The value that decided.
    pub value: f64,
}

/// Why an evaluation was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// Two samples would be the same alert.
    #[error(
        "`{rule}` gives the same labels twice: {labels}; hint: keep the labels that tell them apart, with `by (...)`"
    )]
    Duplicate {
        /// The rule.
        rule: String,
        /// The labels, `{a="b"}`.
        labels: String,
    },
    /// Too many.
    #[error(
        "`{rule}` gives {found} alerts, more than {MAX_ALERTS_PER_RULE}; hint: aggregate with `sum by (...)`"
    )]
    TooMany {
        /// The rule.
        rule: String,
        /// How many.
        found: usize,
    },
}

/// The states of all rules. Serialises, so that a restart goes on from there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Rules {
    rules: BTreeMap<String, BTreeMap<String, ActiveAlert>>,
    saved_at_ms: u64,
}

impl Rules {
    /// What is to be written to disk now.
    pub fn save(&mut self, now_ms: u64) -> serde_json::Result<String> {
        self.saved_at_ms = now_ms;
        serde_json::to_string(self)
    }

    /// Reads it back. The time between the last save and now does not count
    /// towards `hold`: nobody looked.
    pub fn restore(text: &str, now_ms: u64) -> serde_json::Result<Self> {
        let mut rules: Self = serde_json::from_str(text)?;
        let away_ms = now_ms.saturating_sub(rules.saved_at_ms);
        for alert in rules.rules.values_mut().flat_map(BTreeMap::values_mut) {
            if alert.state == State::Pending {
                alert.active_at_ms = alert.active_at_ms.saturating_add(away_ms).min(now_ms);
            }
        }
        Ok(rules)
    }

    /// Takes what `rule`'s expression gave at `now_ms`; `key` names the rule
    /// uniquely ([`keys`]).
    pub fn evaluate(
        &mut self,
        key: &str,
        rule: &Alert,
        given: &[Sample],
        now_ms: u64,
    ) -> Result<Vec<Change>, EvaluationError> {
        if given.len() > MAX_ALERTS_PER_RULE {
            return Err(EvaluationError::TooMany { rule: rule.name.clone(), found: given.len() });
        }
        let mut seen: BTreeMap<String, ActiveAlert> = BTreeMap::new();
        for sample in given {
            let alert = alert_of(rule, sample, now_ms);
            let id = label_key(&alert.labels);
            if seen.insert(id.clone(), alert).is_some() {
                return Err(EvaluationError::Duplicate { rule: rule.name.clone(), labels: id });
            }
        }

        let mut changes = Vec::new();
        let mut change = |alert: &ActiveAlert| {
            changes.push(Change {
                alert: rule.name.clone(),
                state: alert.state,
                labels: alert.labels.clone(),
                value: alert.value,
            });
        };
        let active = self.rules.entry(key.to_owned()).or_default();
        let still: BTreeSet<String> = seen.keys().cloned().collect();
        for (id, fresh) in seen {
            match active.get_mut(&id).filter(|a| a.state != State::Resolved) {
                Some(known) => {
                    known.value = fresh.value;
                    known.annotations = fresh.annotations;
                }
                None => {
                    // New, or back after it resolved: a new alert either way.
                    if rule.hold.0 > 0 {
                        change(&fresh);
                    }
                    active.insert(id, fresh);
                }
            }
        }
        active.retain(|id, alert| {
            if still.contains(id) {
                // A clock that stepped back holds the alert where it is.
                let held_ms = now_ms.saturating_sub(alert.active_at_ms);
                if alert.state == State::Pending && held_ms >= rule.hold.0 {
                    alert.state = State::Firing;
                    alert.fired_at_ms = Some(now_ms);
                    change(alert);
                }
                return true;
            }
            resolve_or_forget(alert, now_ms, &mut change)
        });
        Ok(changes)
    }

    /// Ends the alerts of rules whose keys are not in `keys`: a rule that was
    /// taken out of the file resolves what it had firing.
    pub fn retain(&mut self, keys: &BTreeSet<String>, now_ms: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        self.rules.retain(|key, active| {
            if keys.contains(key) {
                return true;
            }
            active.retain(|_, alert| {
                resolve_or_forget(alert, now_ms, &mut |alert: &ActiveAlert| {
                    let name = alert.labels.iter().find(|(n, _)| n == "alertname");
                    changes.push(Change {
                        alert: name.map(|(_, v)| v.clone()).unwrap_or_default(),
                        state: alert.state,
                        labels: alert.labels.clone(),
                        value: alert.value,
                    });
                })
            });
            !active.is_empty()
        });
        changes
    }

    /// The alerts of one rule: pending, firing, and those resolved lately.
    pub fn of(&self, key: &str) -> impl Iterator<Item = &ActiveAlert> {
        self.rules.get(key).into_iter().flat_map(BTreeMap::values)
    }

    /// Every rule's key with its alerts.
    pub fn all(&self) -> impl Iterator<Item = (&str, &ActiveAlert)> {
        self.rules.iter().flat_map(|(key, active)| active.values().map(move |alert| (key.as_str(), alert)))
    }
}

/// A key for each rule, stable while rules of other names come and go: the name,
/// and a number where a name occurs again.
pub fn keys(rules: &[Alert]) -> Vec<String> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    rules
        .iter()
        .map(|rule| {
            let count = times.entry(&rule.name).or_insert(0);
            *count += 1;
            if *count == 1 { rule.name.clone() } else { format!("{}#{count}", rule.name) }
        })
        .collect()
}

/// `{a="b",c="d"}`, as Prometheus writes a label set.
pub fn label_key(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Whether an alert that was not given stays; tells when that resolves it.
fn resolve_or_forget(alert: &mut ActiveAlert, now_ms: u64, change: &mut impl FnMut(&ActiveAlert)) -> bool {
    match alert.state {
        State::Pending => false,
        State::Firing => {
            alert.state = State::Resolved;
            alert.resolved_at_ms = Some(now_ms);
            change(alert);
            true
        }
        State::Resolved => now_ms.saturating_sub(alert.resolved_at_ms.unwrap_or(0)) < RESOLVED_KEPT_MS,
    }
}

fn alert_of(rule: &Alert, sample: &Sample, now_ms: u64) -> ActiveAlert {
    let series: Labels = sample.labels.iter().filter(|(name, _)| name != "__name__").cloned().collect();
    let mut labels: BTreeMap<String, String> = series.iter().cloned().collect();
    for (name, value) in &rule.labels {
        labels.insert(name.clone(), template::expand(value, &series, sample.value));
    }
    labels.insert("alertname".to_owned(), rule.name.clone());
    labels.retain(|_, value| !value.is_empty()); // An empty label is no label.
    let annotations = rule.annotations.iter();
    ActiveAlert {
        labels: labels.into_iter().collect(),
        annotations: annotations
            .map(|(name, text)| (name.clone(), template::expand(text, &series, sample.value)))
            .collect(),
        state: State::Pending,
        active_at_ms: now_ms,
        fired_at_ms: None,
        resolved_at_ms: None,
        value: sample.value,
    }
}

/// JSON has no NaN and no infinity; a value is written as text.
mod lossless {
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(value)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom("not a number"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Millis;

    fn rule(hold_ms: u64) -> Alert {
        Alert {
            name: "server-down".into(),
            expr: "up == 0".into(),
            hold: Millis(hold_ms),
            labels: vec![("severity".into(), "page".into())],
            annotations: vec![("summary".into(), "{{ $labels.instance }} is {{ $value }}".into())],
            to: vec!["ops".into()],
        }
    }

    fn down(instance: &str, value: f64) -> Sample {
        let labels = [("__name__", "up"), ("instance", instance)];
        Sample { labels: labels.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(), value }
    }

    fn states(changes: &[Change]) -> Vec<&'static str> {
        changes.iter().map(|c| c.state.as_str()).collect()
    }

    #[test]
    fn from_pending_to_resolved() {
        let (mut rules, rule) = (Rules::default(), rule(10_000));
        let mut step = |at_ms: u64, given: &[Sample]| {
            states(&rules.evaluate("k", &rule, given, at_ms).unwrap()).join(",")
        };
        assert_eq!(step(0, &[]), "");
        assert_eq!(step(5_000, &[down("a", 0.0)]), "pending");
        assert_eq!(step(10_000, &[down("a", 0.0), down("b", 0.0)]), "pending");
        assert_eq!(step(14_999, &[down("a", 0.0), down("b", 0.0)]), "");
        assert_eq!(step(15_000, &[down("a", 0.0)]), "firing"); // a fires, b is forgotten
        assert_eq!(step(20_000, &[down("a", f64::NAN)]), "");
        assert_eq!(step(25_000, &[]), "resolved");
        assert_eq!(step(30_000, &[]), "");
        assert_eq!(step(35_000, &[down("a", 0.0)]), "pending"); // a new alert
        assert_eq!(step(40_000, &[]), "");
    }

    #[test]
    fn labels_and_annotations_are_filled_in() {
        let (mut rules, rule) = (Rules::default(), rule(0));
        let changes = rules.evaluate("k", &rule, &[down("app/1", 0.5)], 1_000).unwrap();
        assert_eq!(states(&changes), ["firing"], "without hold it fires at once");
        let alert = rules.of("k").next().unwrap();
        assert_eq!(label_key(&alert.labels), r#"{alertname="server-down",instance="app/1",severity="page"}"#);
        assert_eq!(alert.annotations[0].1, "app/1 is 0.5");
        assert_eq!((alert.active_at_ms, alert.fired_at_ms), (1_000, Some(1_000)));
    }

    #[test]
    fn a_refused_evaluation_changes_nothing() {
        let (mut rules, rule) = (Rules::default(), rule(0));
        rules.evaluate("k", &rule, &[down("a", 0.0)], 0).unwrap();
        let before = rules.clone();
        let twice = [down("a", 0.0), down("a", 1.0)];
        assert!(matches!(rules.evaluate("k", &rule, &twice, 1), Err(EvaluationError::Duplicate { .. })));
        let many: Vec<Sample> = (0..=MAX_ALERTS_PER_RULE).map(|i| down(&i.to_string(), 0.0)).collect();
        assert!(matches!(rules.evaluate("k", &rule, &many, 1), Err(EvaluationError::TooMany { .. })));
        assert_eq!(rules, before);
    }

    #[test]
    fn a_restart_neither_forgets_nor_counts_the_time_away() {
        let (mut rules, rule) = (Rules::default(), rule(10_000));
        rules.evaluate("k", &rule, &[down("a", f64::INFINITY)], 1_000).unwrap();
        rules.evaluate("fired", &self::rule(0), &[down("b", f64::NAN)], 1_000).unwrap();
        let saved = rules.save(5_000).unwrap();
        let mut rules = Rules::restore(&saved, 65_000).unwrap();
        assert_eq!(rules.of("fired").next().unwrap().state, State::Firing);
        // Four seconds of ten have passed; the minute away does not count.
        let mut step = |at_ms| states(&rules.evaluate("k", &rule, &[down("a", 1.0)], at_ms).unwrap()).len();
        assert_eq!(step(70_900), 0);
        assert_eq!(step(71_000), 1);
        assert!(Rules::restore("{\"rules\":3}", 0).is_err());
    }

    #[test]
    fn a_rule_taken_out_resolves_what_it_had_firing() {
        let mut rules = Rules::default();
        rules.evaluate("gone", &rule(0), &[down("a", 0.0)], 0).unwrap();
        rules.evaluate("pending", &rule(9_000), &[down("a", 0.0)], 0).unwrap();
        let kept: BTreeSet<String> = BTreeSet::new();
        assert_eq!(states(&rules.retain(&kept, 1_000)), ["resolved"]);
        assert_eq!(rules.retain(&kept, 2_000), []);
        assert_eq!(rules.all().count(), 1);
        rules.retain(&kept, 1_000 + RESOLVED_KEPT_MS);
        assert_eq!(rules.all().count(), 0);
    }

    #[test]
    fn keys_are_unique() {
        let rules = [rule(0), rule(1), rule(2)];
        assert_eq!(keys(&rules), ["server-down", "server-down#2", "server-down#3"]);
    }
}
