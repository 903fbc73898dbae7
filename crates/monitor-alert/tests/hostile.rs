//! Files and templates that someone broke on purpose or by accident: an error,
//! never a panic, and never without end.
//!
//! A failing run prints its seed; `SEED=n` runs that one alone.

use monitor_alert::manager::{file, matcher};
use monitor_alert::template::{Environment, RuleData, Template};
use monitor_alert::{Sample, duration, rule_file};
use monitor_model::series::Value;

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((z ^ (z >> 31)) % n.max(1) as u64).unwrap_or(0)
    }
}

const RULES: &str = "groups:\n- name: é\n  interval: 30s\n  limit: 3\n  rules:\n  - &a {alert: A, expr: 'x > 1', for: 5m, labels: {s: '{{ $labels.x }}'}}\n  - <<: *a\n    annotations: {d: \"{{ range query `m` }}{{ .Value | humanize }}{{ end }}\"}\n  - record: b:c\n    expr: |\n      sum(x)\n";

const ROUTES: &str = "route:\n  receiver: a\n  group_by: ['...']\n  routes:\n  - matchers: ['x=~\"y|z\"', 'ü!=1']\n    mute_time_intervals: [t]\nreceivers:\n- name: a\n  webhook_configs: [{url: 'http://h/'}]\n  slack_configs: [{api_url: 'http://s/', title: '{{ .Status }}', fields: [{title: a, value: b}]}]\n  pagerduty_configs: [{routing_key: k, details: {a: b}}]\n  email_configs: [{to: a@b, from: c@d, smarthost: 'h:25', headers: {X: y}}]\ntime_intervals:\n- name: t\n  time_intervals: [{times: [{start_time: '09:00', end_time: '17:00'}], weekdays: ['monday:friday'], days_of_month: ['-3:-1'], months: ['1:3'], years: ['2026'], location: 'Europe/Berlin'}]\ninhibit_rules:\n- {source_matchers: ['a=b'], target_match: {c: d}, equal: [e]}\n";

const TEMPLATE: &str = "{{- /* é */ -}} {{ $x := 1 }}{{ if gt $value 1.0 }}{{ .Labels.a | toUpper | printf \"%5.2s|%v\" }}{{ else if and $x .Value }}ü{{ end }}{{ range $i, $v := query `m` }}{{ $v.Labels.id }}{{ index $labels \"a\" }}{{ break }}{{ end }}{{ define \"t\" }}{{ .arg0 }}{{ end }}{{ template \"t\" (args '\\n' 0x1F 1e3) }}{{ slice \"äbc\" 1 2 }}{{ reReplaceAll \"(a)\" \"$1$1\" \"aaa\" }}{{ (toTime 5).Format \"Jan _2 .000\" }}{{ humanizeTimestamp 1e9 }}{{ title \"ß a\" }}{{ stripDomain \"a.b:1\" }}";

/// A text with some characters taken out, doubled, swapped or replaced.
fn broken(text: &str, random: &mut Random) -> String {
    const ODD: &[&str] = &[
        "{{",
        "}}",
        "\"",
        "'",
        "`",
        "|",
        "\\",
        "(",
        ")",
        "$",
        ".",
        "-",
        ":",
        "\n",
        " ",
        "é",
        "\u{10ffff}",
        "9999999999999999999999",
        "%",
        "{",
        "}",
        "[",
        "]",
        "*a",
        "&a ",
        "~",
        "#",
        "\0",
        "end",
        "range",
    ];
    let mut chars: Vec<String> = text.chars().map(String::from).collect();
    for _ in 0..1 + random.below(6) {
        let at = random.below(chars.len());
        match random.below(4) {
            0 => drop(chars.remove(at)),
            1 => chars.insert(at, ODD[random.below(ODD.len())].to_owned()),
            2 => chars[at] = ODD[random.below(ODD.len())].to_owned(),
            _ => {
                let end = (at + random.below(40)).min(chars.len());
                let part: Vec<String> = chars[at..end].to_vec();
                let to = random.below(chars.len());
                chars.splice(to..to, part);
            }
        }
    }
    chars.concat()
}

fn samples(_: &str) -> Result<Vec<Sample>, String> {
    let labels = monitor_model::Labels::from_pairs([("id", "ä")]);
    Ok(vec![Sample { labels, value: Value::Float(f64::NAN) }])
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let rules = broken(RULES, &mut random);
    let _ = rule_file::read(&rules, "f");
    let routes = broken(ROUTES, &mut random);
    let _ = file::read(&routes, "f", &|path| Err(format!("no `{path}`")));
    let template = broken(TEMPLATE, &mut random);
    if let Ok(read) = Template::parse(&template) {
        let labels = vec![("a".to_owned(), "wörd".to_owned())];
        let value = Value::Float(2.0);
        let data = RuleData { labels: &labels, external_labels: &labels, value: &value };
        let environment =
            Environment { query: Some(&samples), external_url: "http://h/é", now_ms: i64::MAX };
        let _ = read.render(&data, &environment);
    }
    let _ = matcher::parse(&broken("{a=\"b\\n\",c=~\"d|ü\",e!=f}", &mut random));
    let _ = duration::parse(&broken("1y2w3d4h5m6s7ms", &mut random));
}

#[test]
fn what_is_broken_is_an_error() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..500).collect(),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = result {
            eprintln!("failing seed: {seed}; run it alone with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

/// The originals are whole, or the test above would try nothing.
#[test]
fn what_is_whole_is_read() {
    rule_file::read(RULES, "f").unwrap();
    file::read(ROUTES, "f", &|_| Err("none".to_owned())).unwrap();
    Template::parse(TEMPLATE).unwrap();
}
