//! Groups of rules: names that outlive a revision, the schedule, and which series
//! have ended.

use crate::settings::{Group, Rule, RuleKind, Settings};
use crate::{Labels, fingerprint};
use monitor_model::{Labels as ModelLabels, LabelsBuilder, METRIC_NAME};
use std::collections::{BTreeMap, BTreeSet};

/// The group of our own rules and the file's.
pub const OWN_GROUP: &str = "bastide";

/// The site's own rules as a group, its recordings before its alerts; none where
/// there are no rules.
pub fn own(settings: &Settings) -> Option<Group> {
    let recordings = settings.recordings.iter().map(Rule::from);
    let own = Group {
        name: OWN_GROUP.to_owned(),
        rules: recordings.chain(settings.alerts.iter().map(Rule::from)).collect(),
        ..Group::default()
    };
    (!own.rules.is_empty()).then_some(own)
}

/// A key for each rule of a group, the same in the next revision while rules of
/// other names come and go: file, group, kind and name, and a number where all
/// of that occurs again.
pub fn keys(group: &Group) -> Vec<String> {
    let mut times: BTreeMap<(RuleKindKey, &str), usize> = BTreeMap::new();
    group
        .rules
        .iter()
        .map(|rule| {
            let count = times.entry((rule.kind.into(), &rule.name)).or_insert(0);
            *count += 1;
            let kind = if rule.kind == RuleKind::Record { "record:" } else { "" };
            let number = if *count == 1 { String::new() } else { format!("#{count}") };
            match (group.file.as_str(), group.name.as_str()) {
                // Our own keep the keys that earlier versions saved.
                ("", OWN_GROUP) => format!("{kind}{}{number}", rule.name),
                (file, name) => format!("{file};{name};{kind}{}{number}", rule.name),
            }
        })
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct RuleKindKey(bool);

impl From<RuleKind> for RuleKindKey {
    fn from(kind: RuleKind) -> Self {
        Self(kind == RuleKind::Alert)
    }
}

/// When the group is evaluated next, strictly after `now_ms`: always at the same
/// place within its interval, which its name chooses, so that groups spread over
/// time and a restart changes nothing (Prometheus, `Group.EvalTimestamp`).
pub fn next_evaluation(file: &str, name: &str, interval_ms: u64, now_ms: u64) -> u64 {
    let interval_ms = interval_ms.max(1);
    let place = fingerprint(&[(file.to_owned(), name.to_owned())]) % interval_ms;
    let since = now_ms.saturating_sub(place);
    let next = (since / interval_ms + 1) * interval_ms + place;
    if now_ms < place { place } else { next }
}

/// What a recording rule writes: the samples with its name and labels. The error
/// says which labels came twice, or that there are too many.
pub fn recorded(rule: &Rule, limit: u64, given: Vec<crate::Sample>) -> Result<Vec<crate::Sample>, String> {
    if limit > 0 && given.len() as u64 > limit {
        return Err(format!("exceeded limit of {limit} with {} series", given.len()));
    }
    let mut seen = BTreeSet::new();
    let mut written = Vec::with_capacity(given.len());
    for sample in given {
        let mut labels = LabelsBuilder::from(&sample.labels);
        labels.set(METRIC_NAME, &rule.name);
        for (name, value) in &rule.labels {
            labels.set(name, value);
        }
        let labels = labels.build();
        if !seen.insert(labels.clone()) {
            return Err(format!(
                "vector contains metrics with the same labelset after applying rule labels: {labels}; hint: keep the labels that tell them apart"
            ));
        }
        written.push(crate::Sample { labels, value: sample.value });
    }
    Ok(written)
}

/// Which series each rule wrote at its last evaluation.
#[derive(Clone, Debug, Default)]
pub struct Written(BTreeMap<String, BTreeSet<ModelLabels>>);

impl Written {
    /// Takes what the rule wrote now; gives what it wrote before and nobody writes
    /// any more: those series have ended.
    pub fn replace(&mut self, key: &str, now: BTreeSet<ModelLabels>) -> Vec<ModelLabels> {
        let before = self.0.insert(key.to_owned(), now).unwrap_or_default();
        self.ended(before)
    }

    /// Forgets rules that are gone; gives the series that ended with them.
    pub fn retain(&mut self, keys: &BTreeSet<String>) -> Vec<ModelLabels> {
        let gone: Vec<String> = self.0.keys().filter(|key| !keys.contains(*key)).cloned().collect();
        let before = gone.iter().filter_map(|key| self.0.remove(key)).flatten().collect();
        self.ended(before)
    }

    fn ended(&self, before: BTreeSet<ModelLabels>) -> Vec<ModelLabels> {
        before.into_iter().filter(|labels| !self.0.values().any(|set| set.contains(labels))).collect()
    }
}

/// Rules of the same kind, name and labels: one of them hides the other's
/// samples (`promtool check rules`, lint `duplicate-rules`). Gives the labels of each.
pub fn duplicates(groups: &[Group]) -> Vec<(String, Labels)> {
    let mut count: BTreeMap<(&str, &Labels), usize> = BTreeMap::new();
    for rule in groups.iter().flat_map(|g| &g.rules) {
        *count.entry((&rule.name, &rule.labels)).or_default() += 1;
    }
    count
        .into_iter()
        .filter(|(_, times)| *times > 1)
        .map(|((name, labels), _)| (name.to_owned(), labels.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(kind: RuleKind, name: &str) -> Rule {
        Rule { kind, name: name.into(), ..Rule::default() }
    }

    #[test]
    fn keys_are_unique_and_stay() {
        let rules = vec![rule(RuleKind::Record, "a"), rule(RuleKind::Alert, "a"), rule(RuleKind::Alert, "a")];
        let own = Group { name: OWN_GROUP.into(), rules: rules.clone(), ..Group::default() };
        assert_eq!(keys(&own), ["record:a", "a", "a#2"]);
        let filed = Group { file: "f.yml".into(), name: "g".into(), rules, ..Group::default() };
        assert_eq!(keys(&filed), ["f.yml;g;record:a", "f.yml;g;a", "f.yml;g;a#2"]);
    }

    #[test]
    fn evaluations_are_steady() {
        for (name, interval_ms) in [("a", 5_000), ("b", 60_000), ("c", 1)] {
            let first = next_evaluation("f", name, interval_ms, 1_000_000);
            assert!(first > 1_000_000 && first <= 1_000_000 + interval_ms);
            assert_eq!(next_evaluation("f", name, interval_ms, first), first + interval_ms);
            assert_eq!(next_evaluation("f", name, interval_ms, first - 1), first);
        }
        assert_ne!(next_evaluation("f", "a", 60_000, 0), next_evaluation("f", "b", 60_000, 0));
    }

    #[test]
    fn series_end_once_nobody_writes_them() {
        let set = |names: &[&str]| {
            names.iter().map(|n| ModelLabels::from_pairs([("__name__", n)])).collect::<BTreeSet<_>>()
        };
        let mut written = Written::default();
        assert!(written.replace("r", set(&["a", "b"])).is_empty());
        assert!(written.replace("s", set(&["b"])).is_empty());
        assert_eq!(written.replace("r", set(&[])), set(&["a"]).into_iter().collect::<Vec<_>>());
        assert_eq!(written.retain(&BTreeSet::new()), set(&["b"]).into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn recordings_take_name_and_labels() {
        let given = |value: &str| crate::Sample {
            labels: ModelLabels::from_pairs([("__name__", "x"), ("job", value), ("gone", "1")]),
            value: monitor_model::series::Value::Float(1.0),
        };
        let mut rule = rule(RuleKind::Record, "job:x");
        rule.labels = vec![("gone".into(), String::new()), ("to".into(), "y".into())];
        let written = recorded(&rule, 0, vec![given("a"), given("b")]).unwrap();
        assert_eq!(written[0].labels.to_string(), r#"job:x{job="a", to="y"}"#);
        assert!(recorded(&rule, 1, vec![given("a"), given("b")]).unwrap_err().contains("limit of 1"));
        assert!(recorded(&rule, 0, vec![given("a"), given("a")]).unwrap_err().contains("same labelset"));
    }
}
