//! What `promtool check rules` says of rule files, and what we say: both accept,
//! or both refuse. Runs where `promtool` is installed, and says so where it is not.

use monitor_alert::rule_file;
use std::process::Command;

/// Files, and whether Debian's promtool (2.42) is too old for what they use.
const FILES: &[(&str, bool)] = &[
    ("groups: []\n", false),
    (
        "groups:\n- name: a\n  interval: 30s\n  limit: 3\n  rules:\n  - record: a:b\n    expr: sum(x)\n    labels: {c: d}\n",
        false,
    ),
    (
        "groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x > 1\n    for: 5m\n    keep_firing_for: 1m\n    annotations: {s: '{{ $labels.x }} {{ $value | humanize }}'}\n",
        false,
    ),
    ("groups:\n- name: a\n  labels: {x: y}\n  query_offset: 1m\n  rules: []\n", true),
    ("groups:\n- name: a\n  rules:\n  - &r {alert: A, expr: x}\n  - *r\n", false),
    ("groups:\n- name: a\n- name: a\n", false),
    ("groups:\n- rules: []\n", false),
    ("groups:\n- name: a\n  foo: b\n", false),
    ("groups:\n- name: a\n  interval: 5\n", false),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n", false),
    ("groups:\n- name: a\n  rules:\n  - expr: x\n", false),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n    record: b\n    expr: x\n", false),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: sum(\n", false),
    ("groups:\n- name: a\n  rules:\n  - record: a\n    expr: x\n    for: 5m\n", false),
    ("groups:\n- name: a\n  rules:\n  - record: a\n    expr: x\n    annotations: {s: t}\n", false),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x\n    labels: {__name__: y}\n", false),
    (
        "groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x\n    annotations: {s: '{{ $value | nope }}'}\n",
        false,
    ),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x\n    annotations: {s: '{{ if }}'}\n", false),
    (
        "groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x\n    labels: {s: '{{ range query \"up\" }}{{ .Value }}{{ end }}'}\n",
        false,
    ),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x\n    for: 5m5m\n", false),
    ("groups:\n- name: a\n  rules:\n  - alert: A\n    expr: x\n    labels: {severity: 1, b: true}\n", false),
    ("groups: 3\n", false),
    ("- a\n", false),
    ("groups:\n- name: a\n  name: b\n", false),
    ("groups: [\n", false),
];

#[test]
fn both_accept_or_both_refuse() {
    if Command::new("promtool").arg("--version").output().is_err() {
        eprintln!("not run: promtool is not installed");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    for (i, (text, newer)) in FILES.iter().enumerate() {
        let path = dir.path().join(format!("{i}.yml"));
        std::fs::write(&path, text).unwrap();
        let theirs = Command::new("promtool").args(["check", "rules"]).arg(&path).output().unwrap();
        let ours = rule_file::read(text, "f.yml");
        if *newer {
            assert!(ours.is_ok(), "{text}: {ours:?}");
            continue;
        }
        assert_eq!(
            ours.is_ok(),
            theirs.status.success(),
            "{text}\nours: {ours:?}\ntheirs: {}",
            String::from_utf8_lossy(&theirs.stderr)
        );
    }
}
