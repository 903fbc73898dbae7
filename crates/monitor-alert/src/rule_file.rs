//! Prometheus' rule files, as they are: what `promtool check rules` accepts is
//! accepted, what it refuses is refused with file, line and column.
//!
//! Source: Prometheus' documentation, "Recording rules", "Alerting rules"; the
//! checks are those of its package `rulefmt`.

use crate::duration::ReadDuration as _;
use crate::group;
use crate::settings::{Group, Rule, RuleKind};
use crate::template::Template;
use base::Millis;
use std::collections::BTreeSet;
use yaml_tree::{Mistake, Node, Place, Reader};

/// Groups of one file.
const MAX_GROUPS: usize = 10_000;

/// What a file says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleFile {
    /// Its groups, in order.
    pub groups: Vec<Group>,
    /// What is allowed and most likely not meant.
    pub warnings: Vec<String>,
}

/// Reads the rule file `text`, named `file` in messages and keys. All mistakes
/// are given at once.
pub fn read(text: &str, file: &str) -> Result<RuleFile, Vec<Mistake>> {
    let documents = yaml_tree::parse(text, file).map_err(|mistake| vec![mistake])?;
    let mut reader = Reader::new(file);
    let mut groups = Vec::new();
    if let Some(second) = documents.get(1) {
        reader.wrong(
            second.place,
            "a second document; hint: a rule file is one document, write one file for each",
        );
    }
    if let Some(document) = documents.first() {
        let mut names = BTreeSet::new();
        for (key, place, node) in reader.map(document, "a rule file") {
            if key != "groups" {
                reader.wrong(
                    *place,
                    format!("field {key} not found in a rule file; hint: `groups` is the only one"),
                );
                continue;
            }
            for node in reader.list(node, "groups") {
                if let Some(group) = read_group(&mut reader, node, file, &mut names) {
                    groups.push(group);
                }
            }
        }
    }
    if groups.len() > MAX_GROUPS {
        reader.wrong(
            Place { line: 1, column: 1 },
            format!("{} groups; hint: at most {MAX_GROUPS}, split the file", groups.len()),
        );
    }
    if !reader.mistakes.is_empty() {
        reader.mistakes.sort_by_key(|m| (m.line, m.column));
        return Err(reader.mistakes);
    }
    let warnings = group::duplicates(&groups)
        .into_iter()
        .map(|(name, labels)| {
            let labels: Vec<String> = labels.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
            format!(
                "{file}: more than one rule is `{name}{{{}}}`; hint: give them labels that tell them apart",
                labels.join(", ")
            )
        })
        .collect();
    Ok(RuleFile { groups, warnings })
}

fn read_group(reader: &mut Reader, node: &Node, file: &str, names: &mut BTreeSet<String>) -> Option<Group> {
    let mut group = Group { file: file.to_owned(), ..Group::default() };
    let mut group_labels = Vec::new();
    let mut rules = None;
    let before = reader.mistakes.len();
    let mut name_place = node.place;
    for (key, place, value) in reader.map(node, "a group") {
        match key.as_str() {
            "name" => {
                group.name = reader.text(value, "name");
                name_place = value.place;
            }
            "interval" => group.interval = Millis(reader.duration(value, "interval")),
            "query_offset" => group.query_offset = Millis(reader.duration(value, "query_offset")),
            "limit" => group.limit = reader.number::<i64>(value, "limit").and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
            "labels" => group_labels = label_pairs(reader, value, "group labels"),
            "rules" => rules = Some(value),
            _ => reader.wrong(
                *place,
                format!(
                    "field {key} not found in a group; hint: one of name, interval, query_offset, limit, labels, rules"
                ),
            ),
        }
    }
    if group.name.is_empty() {
        reader.wrong(node.place, "Groupname must not be empty");
    } else if !names.insert(group.name.clone()) {
        reader.wrong(name_place, format!("groupname: {:?} is repeated in the same file", group.name));
    }
    if let Some(rules) = rules {
        for (index, node) in reader.list(rules, "rules").iter().enumerate() {
            if let Some(rule) = read_rule(reader, node, &group.name, index + 1, &group_labels) {
                group.rules.push(rule);
            }
        }
    }
    (reader.mistakes.len() == before).then_some(group)
}

fn label_pairs(reader: &mut Reader, node: &Node, what: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    for (name, value, place) in reader.pairs(node, what) {
        if name.is_empty() || name == "__name__" {
            reader.wrong(place, format!("invalid label name: {name}"));
        }
        pairs.push((name, value));
    }
    pairs
}

fn read_rule(
    reader: &mut Reader,
    node: &Node,
    group: &str,
    number: usize,
    group_labels: &[(String, String)],
) -> Option<Rule> {
    let mut draft = Draft::default();
    let before = reader.mistakes.len();
    for (key, place, value) in reader.map(node, "a rule") {
        match key.as_str() {
            "record" => draft.record = Some((reader.text(value, key), value.place)),
            "alert" => draft.alert = Some((reader.text(value, key), value.place)),
            "expr" => draft.expr = Some((reader.text(value, key), value.place)),
            "for" => draft.hold = Some((reader.duration(value, key), value.place)),
            "keep_firing_for" => draft.keep_firing = Some((reader.duration(value, key), value.place)),
            "labels" => draft.labels = reader.pairs(value, key),
            "annotations" => draft.annotations = Some((reader.pairs(value, key), *place)),
            _ => reader.wrong(
                *place,
                format!(
                    "field {key} not found in a rule; hint: one of record, alert, expr, for, keep_firing_for, labels, annotations"
                ),
            ),
        }
    }
    let name = draft.name();
    for (place, why) in draft.wrong(node.place) {
        reader.wrong(place, format!("group {group:?}, rule {number}, {name:?}: {why}"));
    }
    if reader.mistakes.len() > before {
        return None;
    }
    let mut labels: Vec<(String, String)> = draft.labels.into_iter().map(|(n, v, _)| (n, v)).collect();
    for (name, value) in group_labels {
        // What the rule says itself goes before what its group says.
        if labels.iter().all(|(known, _)| known != name) {
            labels.push((name.clone(), value.clone()));
        }
    }
    labels.sort();
    Some(Rule {
        kind: if draft.record.is_some() { RuleKind::Record } else { RuleKind::Alert },
        name,
        expr: draft.expr.map(|(text, _)| text).unwrap_or_default(),
        hold: Millis(draft.hold.map_or(0, |(ms, _)| ms)),
        keep_firing: Millis(draft.keep_firing.map_or(0, |(ms, _)| ms)),
        labels,
        annotations: draft
            .annotations
            .map_or_else(Vec::new, |(a, _)| a.into_iter().map(|(n, v, _)| (n, v)).collect()),
        to: Vec::new(),
        place: node.place,
    })
}

/// Names and values, each with its place.
type Pairs = Vec<(String, String, Place)>;

/// A rule as it stands in the file.
#[derive(Default)]
struct Draft {
    record: Option<(String, Place)>,
    alert: Option<(String, Place)>,
    expr: Option<(String, Place)>,
    hold: Option<(u64, Place)>,
    keep_firing: Option<(u64, Place)>,
    labels: Pairs,
    annotations: Option<(Pairs, Place)>,
}

impl Draft {
    fn name(&self) -> String {
        let named =
            |what: &Option<(String, Place)>| what.as_ref().map(|(n, _)| n.clone()).filter(|n| !n.is_empty());
        named(&self.alert).or_else(|| named(&self.record)).unwrap_or_default()
    }

    /// The checks of `rulefmt`'s `Rule.Validate`, in its words.
    fn wrong(&self, place: Place) -> Vec<(Place, String)> {
        let mut wrong = Vec::new();
        let mut say = |place: Place, why: String| wrong.push((place, why));
        let given = |what: &Option<(String, Place)>| what.as_ref().is_some_and(|(text, _)| !text.is_empty());
        match (given(&self.record), given(&self.alert)) {
            (true, true) => say(place, "only one of 'record' and 'alert' must be set".to_owned()),
            (false, false) => say(place, "one of 'record' or 'alert' must be set".to_owned()),
            _ => {}
        }
        match &self.expr {
            Some((text, at)) if !text.is_empty() => {
                if let Err(why) = monitor_lang::parse(text, &monitor_lang::ParseOptions::default()) {
                    say(*at, format!("could not parse expression: {why}"));
                }
            }
            _ => say(place, "field 'expr' must be set in rule".to_owned()),
        }
        if given(&self.record) {
            if let Some((annotations, at)) = &self.annotations
                && !annotations.is_empty()
            {
                say(*at, "invalid field 'annotations' in recording rule".to_owned());
            }
            if let Some((_, at)) = self.hold.filter(|(ms, _)| *ms > 0) {
                say(at, "invalid field 'for' in recording rule".to_owned());
            }
            if let Some((_, at)) = self.keep_firing.filter(|(ms, _)| *ms > 0) {
                say(at, "invalid field 'keep_firing_for' in recording rule".to_owned());
            }
            if let Some((name, at)) = &self.record
                && name.contains(['{', '}'])
            {
                say(*at, format!("braces present in the recording rule name; should it be in expr?: {name}"));
            }
        }
        for (name, _, at) in &self.labels {
            if name.is_empty() || name == "__name__" {
                say(*at, format!("invalid label name: {name}"));
            }
        }
        let annotations = self.annotations.iter().flat_map(|(a, _)| a);
        for (name, _, at) in annotations.clone() {
            if name.is_empty() {
                say(*at, format!("invalid annotation name: {name}"));
            }
        }
        if given(&self.alert) {
            let labels = self.labels.iter().map(|pair| ("label", pair));
            for (what, (name, text, at)) in labels.chain(annotations.map(|pair| ("annotation", pair))) {
                if let Err(error) = Template::parse(text) {
                    say(*at, format!("{what} {name:?}: {error}"));
                }
            }
        }
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        read(text, "f.yml").unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_file_is_read_whole() {
        let text = r#"
groups:
- name: example
  interval: 30s
  query_offset: 1m
  limit: 5
  labels: {team: web, severity: low}
  rules:
  - record: job:x:sum
    expr: sum by (job) (x)
    labels: {a: 1}
  - alert: High
    expr: |
      job:x:sum
        > 0.5
    for: 10m
    keep_firing_for: 5m
    labels: {severity: page}
    annotations:
      summary: "{{ $labels.job }} at {{ $value }}"
- name: empty
"#;
        let file = read(text, "f.yml").unwrap();
        let group = &file.groups[0];
        assert_eq!((group.interval.0, group.query_offset.0, group.limit), (30_000, 60_000, 5));
        assert_eq!(group.rules[0].kind, RuleKind::Record);
        let pairs =
            |list: &[(&str, &str)]| list.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect::<Vec<_>>();
        assert_eq!(group.rules[0].labels, pairs(&[("a", "1"), ("severity", "low"), ("team", "web")]));
        let alert = &group.rules[1];
        assert_eq!((alert.hold.0, alert.keep_firing.0, alert.place.line), (600_000, 300_000, 12));
        assert_eq!(alert.expr, "job:x:sum\n  > 0.5\n");
        assert_eq!(alert.labels, pairs(&[("severity", "page"), ("team", "web")]));
        assert!(file.groups[1].rules.is_empty() && file.warnings.is_empty());
        assert_eq!(read("", "f.yml"), Ok(RuleFile::default()));
        let again =
            format!("{text}- name: more\n  rules: [{{record: b, expr: x}}, {{record: b, expr: y}}]\n");
        assert_eq!(read(&again, "f.yml").unwrap().warnings.len(), 1);
    }

    #[test]
    fn every_mistake_has_its_place() {
        let cases: &[(&str, &[&str])] = &[
            ("group: []\n", &["f.yml:1:1: field group not found"]),
            ("groups:\n- name: a\n- name: a\n", &["f.yml:3:9: groupname: \"a\" is repeated"]),
            (
                "groups:\n- interval: 5x\n",
                &["f.yml:2:3: Groupname must not be empty", "f.yml:2:13: `interval`: not a valid duration"],
            ),
            ("groups: 3\n", &["f.yml:1:9: `groups` is a list"]),
            (
                "groups:\n- name: a\n  rules:\n  - alert: x\n    record: y\n    expr: z\n",
                &["f.yml:4:5: group \"a\", rule 1, \"x\": only one of"],
            ),
            (
                "groups:\n- name: a\n  rules:\n  - expr: z\n  - alert: x\n",
                &[
                    "f.yml:4:5: group \"a\", rule 1, \"\": one of 'record'",
                    "f.yml:5:5: group \"a\", rule 2, \"x\": field 'expr'",
                ],
            ),
            (
                "groups:\n- name: a\n  rules:\n  - alert: x\n    expr: sum(\n    fore: 5m\n",
                &[
                    "f.yml:5:11: group \"a\", rule 1, \"x\": could not parse expression: 1:",
                    "f.yml:6:5: field fore not found in a rule",
                ],
            ),
            (
                "groups:\n- name: a\n  rules:\n  - record: 'a{b}'\n    expr: x\n    for: 5m\n    annotations: {a: b}\n",
                &[
                    "f.yml:4:13: group \"a\", rule 1, \"a{b}\": braces",
                    "f.yml:6:10: group \"a\", rule 1, \"a{b}\": invalid field 'for'",
                    "f.yml:7:5: group \"a\", rule 1, \"a{b}\": invalid field 'annotations'",
                ],
            ),
            (
                "groups:\n- name: a\n  rules:\n  - alert: x\n    expr: x\n    labels: {__name__: a}\n    annotations:\n      s: '{{ $x }}'\n",
                &[
                    "f.yml:6:14: group \"a\", rule 1, \"x\": invalid label name: __name__",
                    "f.yml:8:7: group \"a\", rule 1, \"x\": annotation \"s\": line 1: `$x` is not declared",
                ],
            ),
            ("groups: []\ngroups: []\n", &["f.yml:2:1: mapping key \"groups\" already defined"]),
            ("groups: []\n---\ngroups: []\n", &["f.yml:3:1: a second document"]),
        ];
        for (text, expected) in cases {
            let got = mistakes(text);
            assert_eq!(got.len(), expected.len(), "{text}: {got:#?}");
            for (got, expected) in got.iter().zip(*expected) {
                assert!(got.starts_with(expected), "{text}: {got}, expected {expected}");
            }
        }
    }
}
