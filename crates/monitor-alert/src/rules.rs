//! The states of alerting rules.
//!
//! One alert for each label set an expression gives. As in Prometheus:
//! *pending* from the first evaluation that gives the label set, *firing* once it
//! was given throughout `hold`, *resolved* by the first evaluation that does not
//! give it, or, with `keep_firing`, by the first that long after. An evaluation
//! that fails changes nothing.

use crate::settings::Rule;
use crate::template::{self, Ask, Environment, RuleData};
use crate::{Labels, Sample};
use monitor_model::series::Value;
use monitor_model::{Labels as ModelLabels, LabelsBuilder, METRIC_NAME};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Label sets one rule may have at once; an expression that gives more is refused
/// whole, and what fired keeps firing.
pub const MAX_ALERTS_PER_RULE: usize = 10_000;

/// How long a resolved alert is remembered, so that a receiver that was away
/// still hears of it (Prometheus: `resolvedRetention`).
pub const RESOLVED_KEPT_MS: u64 = 15 * 60 * 1_000;

/// Pending alerts are taken from the series `ALERTS_FOR_STATE` after an outage
/// this long at most (Prometheus: `--rules.alert.for-outage-tolerance`).
pub const OUTAGE_TOLERANCE_MS: u64 = 60 * 60 * 1_000;

/// A restored alert is pending for this long at least, and rules with a shorter
/// `for` are not restored (Prometheus: `--rules.alert.for-grace-period`).
pub const GRACE_MS: u64 = 10 * 60 * 1_000;

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
    /// The first evaluation since which it fires only because of `keep_firing`.
    #[serde(default)]
    pub kept_since_ms: Option<u64>,
    /// The last value; 0 of a native histogram.
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
    #[error("`{rule}` exceeded limit of {limit} with {found} alerts; hint: aggregate with `sum by (...)`")]
    TooMany {
        /// The rule.
        rule: String,
        /// How many.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// What an evaluation can see beside what its expression gave.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Unix milliseconds of the evaluation.
    pub now_ms: u64,
    /// Alerts that may be active at once; 0 means no limit but ours.
    pub limit: u64,
    /// Labels that tell this monitor from others.
    pub external_labels: &'a Labels,
    /// The page's URL, without a slash at its end.
    pub external_url: &'a str,
    /// Answers `query` in templates.
    pub query: Option<Ask<'a>>,
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

    /// Whether the rule was ever evaluated, here or before a restart.
    pub fn knows(&self, key: &str) -> bool {
        self.rules.contains_key(key)
    }

    /// A copy of one rule's alerts, to be evaluated apart; [`Rules::put`] takes it back.
    pub fn part(&self, key: &str) -> Self {
        let own = self.rules.get(key).map(|alerts| (key.to_owned(), alerts.clone()));
        Self { rules: own.into_iter().collect(), saved_at_ms: self.saved_at_ms }
    }

    /// Takes back what [`Rules::part`] gave.
    pub fn put(&mut self, key: &str, mut part: Self) {
        if let Some(alerts) = part.rules.remove(key) {
            self.rules.insert(key.to_owned(), alerts);
        }
    }

    /// The wall clock jumped by `by_ms` and no time passed: `for`, `keep_firing` and
    /// how long what resolved is remembered are counted on from where they were.
    pub fn shift(&mut self, by_ms: i64) {
        let moved = |at_ms: &mut u64| *at_ms = at_ms.saturating_add_signed(by_ms);
        for alert in self.rules.values_mut().flat_map(BTreeMap::values_mut) {
            moved(&mut alert.active_at_ms);
            let others = [&mut alert.fired_at_ms, &mut alert.resolved_at_ms, &mut alert.kept_since_ms];
            others.into_iter().flatten().for_each(moved);
        }
        moved(&mut self.saved_at_ms);
    }

    /// Takes what `rule`'s expression gave; `key` names the rule uniquely
    /// ([`crate::group::keys`]).
    pub fn evaluate(
        &mut self,
        key: &str,
        rule: &Rule,
        given: &[Sample],
        context: &Context<'_>,
    ) -> Result<Vec<Change>, EvaluationError> {
        let now_ms = context.now_ms;
        let ours = MAX_ALERTS_PER_RULE;
        let limit = usize::try_from(context.limit).unwrap_or(ours).min(ours);
        let limit = if limit == 0 { ours } else { limit };
        let too_many = |found: usize| EvaluationError::TooMany { rule: rule.name.clone(), found, limit };
        if given.len() > limit {
            return Err(too_many(given.len()));
        }
        let mut seen: BTreeMap<String, ActiveAlert> = BTreeMap::new();
        for sample in given {
            let alert = alert_of(rule, sample, context);
            let id = label_key(&alert.labels);
            if seen.insert(id.clone(), alert).is_some() {
                return Err(EvaluationError::Duplicate { rule: rule.name.clone(), labels: id });
            }
        }
        let before = self.rules.get(key);
        let kept = before
            .into_iter()
            .flatten()
            .filter(|(id, alert)| !seen.contains_key(*id) && still_kept(alert, rule.keep_firing.0, now_ms));
        let found = seen.len() + kept.count();
        if found > limit {
            return Err(too_many(found));
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
                    known.kept_since_ms = None;
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
            if still_kept(alert, rule.keep_firing.0, now_ms) {
                alert.kept_since_ms.get_or_insert(now_ms);
                return true;
            }
            resolve_or_forget(alert, now_ms, &mut change)
        });
        Ok(changes)
    }

    /// Takes what the series `ALERTS_FOR_STATE` last said into the rule's
    /// pending alerts, after an outage without saved state (Prometheus,
    /// `Group.RestoreForState`). `last` gives an alert's last sample within
    /// [`OUTAGE_TOLERANCE_MS`]: its time in Unix milliseconds and its value.
    pub fn restore_from_series(
        &mut self,
        key: &str,
        rule: &Rule,
        now_ms: u64,
        last: impl Fn(&Labels) -> Option<(u64, f64)>,
    ) {
        if rule.hold.0 < GRACE_MS {
            return; // It waits its `for` once more, which is no longer than the grace.
        }
        for alert in self.rules.get_mut(key).into_iter().flat_map(BTreeMap::values_mut) {
            let Some((down_at_ms, value)) = last(&alert.labels).filter(|_| alert.state == State::Pending)
            else {
                continue;
            };
            if monitor_model::is_stale(value) || !value.is_finite() || value < 0.0 {
                continue; // It was not active when the outage began.
            }
            let active_at_ms = (value * 1e3) as u64;
            let pending_ms = down_at_ms.saturating_sub(active_at_ms);
            let remaining_ms = rule.hold.0.saturating_sub(pending_ms);
            alert.active_at_ms = if remaining_ms == 0 {
                active_at_ms // It fired, and the next evaluation lets it fire again.
            } else if remaining_ms < GRACE_MS {
                now_ms.saturating_add(GRACE_MS).saturating_sub(rule.hold.0)
            } else {
                active_at_ms.saturating_add(now_ms.saturating_sub(down_at_ms))
            };
        }
    }

    /// What the rule writes after an evaluation: for each pending or firing alert
    /// `ALERTS` and `ALERTS_FOR_STATE`.
    pub fn series(&self, key: &str) -> Vec<(ModelLabels, f64)> {
        let mut written = Vec::new();
        for alert in self.of(key).filter(|a| a.state != State::Resolved) {
            let mut labels = LabelsBuilder::default();
            for (name, value) in &alert.labels {
                labels.set(name, value);
            }
            labels.set(METRIC_NAME, "ALERTS_FOR_STATE");
            written.push((labels.build(), (alert.active_at_ms / 1_000) as f64));
            labels.set(METRIC_NAME, "ALERTS");
            labels.set("alertstate", alert.state.as_str());
            written.push((labels.build(), 1.0));
        }
        written
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

/// `{a="b",c="d"}`, as Prometheus writes a label set.
pub fn label_key(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
    format!("{{{}}}", pairs.join(","))
}

/// Whether an alert that was not given goes on firing for a while.
fn still_kept(alert: &ActiveAlert, keep_ms: u64, now_ms: u64) -> bool {
    let since_ms = alert.kept_since_ms.unwrap_or(now_ms);
    alert.state == State::Firing && now_ms.saturating_sub(since_ms) < keep_ms
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

fn alert_of(rule: &Rule, sample: &Sample, context: &Context<'_>) -> ActiveAlert {
    // Templates see the metric's name, the alert does not have it.
    let series: Labels = sample.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let data = RuleData { labels: &series, external_labels: context.external_labels, value: &sample.value };
    let environment = Environment {
        query: context.query,
        external_url: context.external_url,
        now_ms: i64::try_from(context.now_ms).unwrap_or(i64::MAX),
    };
    let expand = |text: &str| template::expand(text, &data, &environment);
    let mut labels: BTreeMap<String, String> = series.iter().cloned().collect();
    labels.remove(METRIC_NAME);
    for (name, value) in &rule.labels {
        labels.insert(name.clone(), expand(value));
    }
    labels.insert("alertname".to_owned(), rule.name.clone());
    labels.retain(|_, value| !value.is_empty()); // An empty label is no label.
    let annotations = rule.annotations.iter();
    ActiveAlert {
        labels: labels.into_iter().collect(),
        annotations: annotations.map(|(name, text)| (name.clone(), expand(text))).collect(),
        state: State::Pending,
        active_at_ms: context.now_ms,
        fired_at_ms: None,
        resolved_at_ms: None,
        kept_since_ms: None,
        value: match sample.value {
            Value::Float(value) => value,
            Value::Histogram(_) => 0.0,
        },
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

    fn rule(hold_ms: u64) -> Rule {
        Rule {
            name: "server-down".into(),
            expr: "up == 0".into(),
            hold: Millis(hold_ms),
            labels: vec![("severity".into(), "page".into())],
            annotations: vec![("summary".into(), "{{ $labels.instance }} is {{ $value }}".into())],
            to: vec!["ops".into()],
            ..Rule::default()
        }
    }

    fn down(instance: &str, value: f64) -> Sample {
        let labels = ModelLabels::from_pairs([("__name__", "up"), ("instance", instance)]);
        Sample { labels, value: Value::Float(value) }
    }

    fn at(now_ms: u64) -> Context<'static> {
        static NONE: Labels = Vec::new();
        Context { now_ms, limit: 0, external_labels: &NONE, external_url: "http://h", query: None }
    }

    fn states(changes: &[Change]) -> Vec<&'static str> {
        changes.iter().map(|c| c.state.as_str()).collect()
    }

    #[test]
    fn from_pending_to_resolved() {
        let (mut rules, rule) = (Rules::default(), rule(10_000));
        let mut step = |at_ms: u64, given: &[Sample]| {
            states(&rules.evaluate("k", &rule, given, &at(at_ms)).unwrap()).join(",")
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
    fn a_clock_that_jumps_lets_nothing_fire_and_nothing_hang() {
        const DAY: u64 = 86_400_000;
        let (mut rules, rule) = (Rules::default(), rule(60_000));
        let given = [down("a", 0.0)];
        let mut step = |by_ms: i64, at_ms: u64| {
            rules.shift(by_ms);
            states(&rules.evaluate("k", &rule, &given, &at(at_ms)).unwrap()).join(",")
        };
        assert_eq!(step(0, DAY), "pending");
        assert_eq!(step(DAY as i64, 2 * DAY + 30_000), "", "pending for half a minute, not for a day");
        assert_eq!(step(-(DAY as i64), DAY + 59_000), "");
        assert_eq!(step(0, DAY + 60_000), "firing", "and not a day later");
    }

    #[test]
    fn it_goes_on_firing_for_a_while() {
        let rule = Rule { keep_firing: Millis(10_000), ..rule(0) };
        let mut rules = Rules::default();
        let mut step = |at_ms: u64, given: &[Sample]| {
            let changes = states(&rules.evaluate("k", &rule, given, &at(at_ms)).unwrap()).join(",");
            (changes, rules.series("k").len())
        };
        assert_eq!(step(0, &[down("a", 0.0)]), ("firing".into(), 2));
        assert_eq!(step(5_000, &[]), (String::new(), 2));
        assert_eq!(step(10_000, &[down("a", 0.0)]), (String::new(), 2)); // counts anew
        assert_eq!(step(15_000, &[]), (String::new(), 2));
        assert_eq!(step(24_999, &[]), (String::new(), 2));
        assert_eq!(step(25_000, &[]), ("resolved".into(), 0));
    }

    #[test]
    fn labels_and_annotations_are_filled_in() {
        let (mut rules, mut rule) = (Rules::default(), rule(0));
        rule.labels.push(("was".into(), "{{ $labels.__name__ }}".into()));
        let changes = rules.evaluate("k", &rule, &[down("app/1", 0.5)], &at(1_000)).unwrap();
        assert_eq!(states(&changes), ["firing"], "without hold it fires at once");
        let alert = rules.of("k").next().unwrap();
        assert_eq!(
            label_key(&alert.labels),
            r#"{alertname="server-down",instance="app/1",severity="page",was="up"}"#
        );
        assert_eq!(alert.annotations[0].1, "app/1 is 0.5");
        assert_eq!((alert.active_at_ms, alert.fired_at_ms), (1_000, Some(1_000)));
        let written: Vec<String> = rules.series("k").iter().map(|(l, v)| format!("{l} {v}")).collect();
        assert_eq!(
            written,
            [
                r#"ALERTS_FOR_STATE{alertname="server-down", instance="app/1", severity="page", was="up"} 1"#,
                r#"ALERTS{alertname="server-down", alertstate="firing", instance="app/1", severity="page", was="up"} 1"#
            ]
        );
    }

    #[test]
    fn a_refused_evaluation_changes_nothing() {
        let (mut rules, rule) = (Rules::default(), rule(0));
        rules.evaluate("k", &rule, &[down("a", 0.0)], &at(0)).unwrap();
        let before = rules.clone();
        let twice = [down("a", 0.0), down("a", 1.0)];
        assert!(matches!(rules.evaluate("k", &rule, &twice, &at(1)), Err(EvaluationError::Duplicate { .. })));
        let many: Vec<Sample> = (0..3).map(|i| down(&i.to_string(), 0.0)).collect();
        let limited = Context { limit: 2, ..at(1) };
        let refused = rules.evaluate("k", &rule, &many, &limited).unwrap_err();
        assert!(refused.to_string().contains("exceeded limit of 2 with 3 alerts"), "{refused}");
        assert_eq!(rules, before);
    }

    #[test]
    fn a_restart_neither_forgets_nor_counts_the_time_away() {
        let (mut rules, rule) = (Rules::default(), rule(10_000));
        rules.evaluate("k", &rule, &[down("a", f64::INFINITY)], &at(1_000)).unwrap();
        rules.evaluate("fired", &self::rule(0), &[down("b", f64::NAN)], &at(1_000)).unwrap();
        let saved = rules.save(5_000).unwrap();
        let mut rules = Rules::restore(&saved, 65_000).unwrap();
        assert_eq!(rules.of("fired").next().unwrap().state, State::Firing);
        // Four seconds of ten have passed; the minute away does not count.
        let mut step =
            |at_ms| states(&rules.evaluate("k", &rule, &[down("a", 1.0)], &at(at_ms)).unwrap()).len();
        assert_eq!(step(70_900), 0);
        assert_eq!(step(71_000), 1);
        assert!(Rules::restore("{\"rules\":3}", 0).is_err());
    }

    #[test]
    fn what_series_say_is_restored_as_prometheus_does() {
        const MIN: u64 = 60_000;
        // `for` 20 min; active at minute 100, the last sample at `down`, evaluated again at minute 140.
        let cases = [
            ("it had fired", 125, Some(100 * MIN)),
            ("8 min were left: the grace", 112, Some((140 + 10 - 20) * MIN)),
            ("18 min are left: moved by the outage", 102, Some((100 + 38) * MIN)),
            ("stale", 0, None),
        ];
        for (what, down_at_min, expected) in cases {
            let (mut rules, rule) = (Rules::default(), rule(20 * MIN));
            rules.evaluate("k", &rule, &[down("a", 0.0)], &at(140 * MIN)).unwrap();
            rules.restore_from_series("k", &rule, 140 * MIN, |_| match down_at_min {
                0 => Some((130 * MIN, monitor_model::STALE)),
                at => Some((at * MIN, (100 * MIN / 1_000) as f64)),
            });
            let active = rules.of("k").next().unwrap().active_at_ms;
            assert_eq!(active, expected.unwrap_or(140 * MIN), "{what}");
        }
        // Shorter than the grace: nothing is restored.
        let (mut rules, rule) = (Rules::default(), rule(5 * MIN));
        rules.evaluate("k", &rule, &[down("a", 0.0)], &at(140 * MIN)).unwrap();
        rules.restore_from_series("k", &rule, 140 * MIN, |_| Some((139 * MIN, 6_000.0)));
        assert_eq!(rules.of("k").next().unwrap().active_at_ms, 140 * MIN);
    }

    #[test]
    fn a_rule_taken_out_resolves_what_it_had_firing() {
        let mut rules = Rules::default();
        rules.evaluate("gone", &rule(0), &[down("a", 0.0)], &at(0)).unwrap();
        rules.evaluate("pending", &rule(9_000), &[down("a", 0.0)], &at(0)).unwrap();
        let kept: BTreeSet<String> = BTreeSet::new();
        assert_eq!(states(&rules.retain(&kept, 1_000)), ["resolved"]);
        assert_eq!(rules.retain(&kept, 2_000), []);
        assert_eq!(rules.all().count(), 1);
        rules.retain(&kept, 1_000 + RESOLVED_KEPT_MS);
        assert_eq!(rules.all().count(), 0);
    }
}
