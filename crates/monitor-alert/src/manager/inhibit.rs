//! Inhibition: while a source fires, its targets are not told of
//! (Alertmanager's documentation, `<inhibit_rule>`).

use super::matcher::{MatcherText, all_match};
use crate::Labels;
use monitor_model::Matcher;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A rule as it is written.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InhibitRule {
    /// What inhibits.
    pub source: Vec<MatcherText>,
    /// What is inhibited.
    pub target: Vec<MatcherText>,
    /// Labels that must be equal in both; absent ones count as empty.
    pub equal: Vec<String>,
}

/// Rules ready to be used.
#[derive(Clone, Debug, Default)]
pub struct Inhibitor(Vec<(Vec<Matcher>, Vec<Matcher>, Vec<String>)>);

impl Inhibitor {
    /// Of rules as they are written.
    pub fn new(rules: &[InhibitRule]) -> Result<Self, String> {
        let compile =
            |list: &[MatcherText]| list.iter().map(MatcherText::compile).collect::<Result<Vec<_>, _>>();
        let rules =
            rules.iter().map(|rule| Ok((compile(&rule.source)?, compile(&rule.target)?, rule.equal.clone())));
        rules.collect::<Result<_, String>>().map(Self)
    }

    /// For each of `targets` that is inhibited, by which. `firing` are all alerts
    /// that fire, silenced and inhibited ones too, which inhibit all the same.
    pub fn inhibited<'a>(
        &self,
        firing: impl Iterator<Item = (u64, &'a Labels)> + Clone,
        targets: impl Iterator<Item = (u64, &'a Labels)> + Clone,
    ) -> BTreeMap<u64, BTreeSet<u64>> {
        let mut found: BTreeMap<u64, BTreeSet<u64>> = BTreeMap::new();
        for (source, target, equal) in &self.0 {
            let key = |labels: &Labels| -> Vec<String> {
                equal.iter().map(|name| label(labels, name).to_owned()).collect()
            };
            // By the labels that must be equal: those that are no target too, and those that are.
            let mut sources: BTreeMap<Vec<String>, (Vec<u64>, Vec<u64>)> = BTreeMap::new();
            for (print, labels) in firing.clone().filter(|(_, labels)| all_match(source, labels)) {
                let (plain, both) = sources.entry(key(labels)).or_default();
                if all_match(target, labels) { both.push(print) } else { plain.push(print) }
            }
            if sources.is_empty() {
                continue;
            }
            for (print, labels) in targets.clone().filter(|(_, labels)| all_match(target, labels)) {
                let Some((plain, both)) = sources.get(&key(labels)) else { continue };
                // What is source and target at once is inhibited by pure sources only,
                // or alerts would inhibit themselves and each other.
                let by_both = if all_match(source, labels) { &[][..] } else { both.as_slice() };
                if let Some(by) = plain.iter().chain(by_both).next() {
                    found.entry(print).or_default().insert(*by);
                }
            }
        }
        found
    }
}

fn label<'a>(labels: &'a Labels, name: &str) -> &'a str {
    labels.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v.as_str())
}

#[cfg(test)]
mod tests {
    use super::super::matcher::parse;
    use super::*;
    use crate::fingerprint;

    #[test]
    fn who_inhibits_whom() {
        let rule = InhibitRule {
            source: parse("severity=critical").unwrap(),
            target: parse("severity=~\"warning|critical\"").unwrap(),
            equal: vec!["cluster".into(), "node".into()],
        };
        let labels = |severity: &str, cluster: &str| -> Labels {
            vec![("cluster".into(), cluster.into()), ("severity".into(), severity.into())]
        };
        let check = |all: &[Labels]| -> Vec<usize> {
            let inhibitor = Inhibitor::new(std::slice::from_ref(&rule)).unwrap();
            let found = inhibitor
                .inhibited(all.iter().map(|l| (fingerprint(l), l)), all.iter().map(|l| (fingerprint(l), l)));
            (0..all.len()).filter(|i| found.contains_key(&fingerprint(&all[*i]))).collect()
        };
        // The critical one is source and target: it inhibits the warning, not itself.
        assert_eq!(check(&[labels("critical", "a"), labels("warning", "a")]), [1]);
        assert_eq!(check(&[labels("critical", "a"), labels("warning", "b")]), [] as [usize; 0]);
        assert_eq!(check(&[labels("warning", "a")]), [] as [usize; 0]);
        assert_eq!(check(&[labels("critical", "a"), labels("info", "a")]), [] as [usize; 0]);
    }
}
