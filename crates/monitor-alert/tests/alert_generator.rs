//! The acceptance of alert generators (prometheus/compliance,
//! `alert_generator/specification.md`): its rule file is run in simulated time
//! over series like those of its test suite; states, `ALERTS`, the API's data and
//! what an Alertmanager would be sent are compared with what the specification says.
//!
//! Runs where the specification's files lie beside the repository, and says so
//! where they do not.

use monitor_alert::receiver::alertmanager::{RESEND_DELAY_MS, Sent, SentAlert};
use monitor_alert::rules::Context;
use monitor_alert::settings::Group;
use monitor_alert::{Rules, Sample, State, api, group, rule_file};
use monitor_model::series::{SeriesData, Value};
use monitor_model::{Labels, Point};
use std::collections::BTreeMap;
use std::path::Path;

const MIN: u64 = 60_000;

/// Series in memory, with just enough of PromQL for the suite's rules: the
/// evaluator itself is another crate's, and above this one.
#[derive(Default)]
struct Memory(BTreeMap<Labels, SeriesData>);

impl Memory {
    fn add(&mut self, labels: &Labels, at_ms: u64, value: f64) {
        let series =
            self.0.entry(labels.clone()).or_insert_with(|| SeriesData::of_points(labels.clone(), Vec::new()));
        series.points.push(Point { at_ms: at_ms as i64, value });
    }

    fn select(&self, selector: &str, at_ms: u64) -> Vec<Sample> {
        let matchers = monitor_lang::parse_selector(selector).unwrap();
        let found = self.0.values().filter(|s| monitor_model::Matcher::all_match(&matchers, &s.labels));
        found
            .filter_map(|series| {
                let last = series.points.iter().rev().find(|p| p.at_ms <= at_ms as i64)?;
                let fresh = at_ms as i64 - last.at_ms < 300_000 && !monitor_model::is_stale(last.value);
                fresh.then(|| Sample { labels: series.labels.clone(), value: Value::Float(last.value) })
            })
            .collect()
    }

    /// `selector > number`, `(a + ignoring (l) b) == number`.
    fn ask(&self, expr: &str, at_ms: u64) -> Result<Vec<Sample>, String> {
        let tree =
            monitor_lang::parse(expr, &monitor_lang::ParseOptions::default()).map_err(|e| e.to_string())?;
        let Some(threshold) = monitor_alert::backtest::threshold(&tree) else {
            return Ok(self.select(expr, at_ms));
        };
        let float = |s: &Sample| match s.value {
            Value::Float(value) => value,
            Value::Histogram(_) => f64::NAN,
        };
        let samples = match threshold.series.split_once(" + ignoring (variant) ") {
            None => self.select(&threshold.series, at_ms),
            Some((a, b)) => {
                let key = |s: &Sample| s.labels.without(|n| n == "variant" || n == "__name__");
                let right = self.select(b, at_ms);
                let pair = |l: &Sample| {
                    let other = right.iter().find(|r| key(r) == key(l))?;
                    Some(Sample { labels: key(l), value: Value::Float(float(l) + float(other)) })
                };
                self.select(a, at_ms).iter().filter_map(pair).collect()
            }
        };
        let holds = |value: f64| match threshold.operator {
            ">" => value > threshold.value,
            "==" => value == threshold.value,
            other => panic!("{other}"),
        };
        Ok(samples.into_iter().filter(|s| holds(float(s))).collect())
    }
}

/// A generator: the groups of the suite, evaluated as the assembly does.
struct Generator {
    groups: Vec<Group>,
    memory: Memory,
    rules: Rules,
    written: group::Written,
    sent: Sent,
    /// What an Alertmanager was sent, with the time.
    received: Vec<(u64, SentAlert)>,
}

impl Generator {
    fn evaluate(&mut self, group: &Group, now_ms: u64) {
        let none = Vec::new();
        for (rule, key) in group.rules.iter().zip(group::keys(group)) {
            let given = self.memory.ask(&rule.expr, now_ms).unwrap();
            let memory = &self.memory;
            let ask = |expr: &str| memory.ask(expr, now_ms);
            let context = Context {
                now_ms,
                limit: group.limit,
                external_labels: &none,
                external_url: "http://g",
                query: Some(&ask),
            };
            self.rules.evaluate(&key, rule, &given, &context).unwrap();
            let series = self.rules.series(&key);
            let ended = self.written.replace(&key, series.iter().map(|(l, _)| l.clone()).collect());
            for (labels, value) in series {
                self.memory.add(&labels, now_ms, value);
            }
            for labels in ended {
                self.memory.add(&labels, now_ms, monitor_model::STALE);
            }
            let sent = self.sent.due(self.rules.of(&key), &none, "http://g/graph", group.interval.0, now_ms);
            self.received.extend(sent.into_iter().map(|alert| (now_ms, alert)));
        }
    }

    /// The rule's alerts as `/api/v1/rules` shows them.
    fn shown(&self, name: &str) -> serde_json::Value {
        let group = self.groups.iter().find(|g| g.rules.iter().any(|r| r.name == name)).unwrap();
        let at = group.rules.iter().position(|r| r.name == name).unwrap();
        let health = api::Health { at_ms: 1, ..api::Health::default() };
        api::rule(&group.rules[at], &health, self.rules.of(&group::keys(group)[at]), false)
    }
}

/// `values` one a step of 15 s, `_` none.
fn feed(memory: &mut Memory, labels: &[(&str, &str)], start_ms: u64, values: &[(f64, u64)]) {
    let labels =
        Labels::from_pairs(labels.iter().copied().chain([("__name__", "alert_generator_test_suite")]));
    let mut at_ms = start_ms;
    for (value, minutes) in values {
        for _ in 0..minutes * 4 {
            if !value.is_nan() {
                memory.add(&labels, at_ms, *value);
            }
            at_ms += 15_000;
        }
    }
}

#[allow(clippy::print_stderr)] // a test that does not run says so
fn generator() -> Option<Generator> {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/alert_generator/rules.yaml");
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!("not run: the specification's files are not here");
        return None;
    };
    let file = rule_file::read(&text, "rules.yaml").unwrap_or_else(|m| panic!("{m:?}"));
    assert_eq!(file.groups.len(), 4);
    Some(Generator {
        groups: file.groups,
        memory: Memory::default(),
        rules: Rules::default(),
        written: group::Written::default(),
        sent: Sent::default(),
        received: Vec::new(),
    })
}

const T0: u64 = 1_700_000_000_000;

/// Runs all groups every 30 s for so many minutes, calling `look` after each.
fn run(generator: &mut Generator, minutes: u64, mut look: impl FnMut(&Generator, u64)) {
    for step in 0..=minutes * 2 {
        let now_ms = T0 + step * 30_000;
        for group in generator.groups.clone() {
            generator.evaluate(&group, now_ms);
        }
        look(generator, now_ms);
    }
}

/// The state a specification's reader would expect at each time.
fn expected(since_ms: u64, until_ms: u64, hold_ms: u64, now_ms: u64) -> &'static str {
    if now_ms < since_ms || now_ms >= until_ms {
        "inactive"
    } else if now_ms - since_ms >= hold_ms {
        "firing"
    } else {
        "pending"
    }
}

#[test]
fn pending_firing_resolved() {
    let Some(mut g) = generator() else { return };
    let name = "PendingAndFiringAndResolved_SimpleAlert";
    let labels = [("alertname", name), ("rulegroup", "PendingAndFiringAndResolved"), ("variant", "one")];
    // 5 min below, 15 min above, then below again for long.
    feed(&mut g.memory, &labels, T0, &[(5.0, 5), (11.0, 15), (5.0, 30)]);
    let (since, until) = (T0 + 5 * MIN, T0 + 20 * MIN);
    run(&mut g, 45, |g, now_ms| {
        let rule = g.shown(name);
        let state = expected(since, until, 6 * MIN, now_ms);
        assert_eq!(rule["state"], state, "at {}", (now_ms - T0) / 1_000);
        let alerts = rule["alerts"].as_array().unwrap();
        assert_eq!(alerts.len(), usize::from(state != "inactive"));
        let now_alerts = g.memory.select(&format!("ALERTS{{alertname={name:?}}}"), now_ms);
        assert_eq!(now_alerts.len(), alerts.len());
        if let (Some(alert), Some(sample)) = (alerts.first(), now_alerts.first()) {
            assert_eq!(alert["activeAt"], monitor_alert::rfc3339(since));
            assert_eq!(alert["value"], "1.1e+01");
            assert_eq!(alert["annotations"]["summary"], "The value is 11 11");
            assert_eq!(
                sample.labels.to_string(),
                format!(
                    "ALERTS{{alertname={name:?}, alertstate={state:?}, foo=\"bar\", rulegroup=\"PendingAndFiringAndResolved\", variant=\"one\"}}"
                )
            );
        }
    });
    // Sent when it fired, again and again, and resolved for 15 minutes.
    let fired = since + 6 * MIN;
    let mine: Vec<&(u64, SentAlert)> = g.received.iter().filter(|(_, a)| a.labels[0].1 == name).collect();
    let times: Vec<u64> = mine.iter().map(|(at, _)| *at).collect();
    let firing: Vec<u64> = (0..).map(|i| fired + i * RESEND_DELAY_MS).take_while(|at| *at < until).collect();
    let resolved: Vec<u64> = (0..15).map(|i| until + i * RESEND_DELAY_MS).collect();
    assert_eq!(times, firing.iter().chain(&resolved).copied().collect::<Vec<_>>());
    for (at, alert) in mine {
        assert_eq!(alert.starts_at_ms, fired, "FiredAt, whatever became of it");
        let ends = if *at < until { at + 4 * RESEND_DELAY_MS } else { until };
        assert_eq!(alert.ends_at_ms, ends);
        assert_eq!(alert.generator_url, "http://g/graph");
        let json = alert.json();
        assert_eq!(json["labels"]["foo"], "bar");
        assert_eq!(json["annotations"]["description"], "SimpleAlert is firing");
    }
}

#[test]
fn pending_never_fires_and_inactive_stays() {
    let Some(mut g) = generator() else { return };
    let (pending, inactive) =
        ("PendingAndResolved_AlwaysInactive_PendingAlert", "PendingAndResolved_AlwaysInactive_InactiveAlert");
    for name in [pending, inactive] {
        let labels =
            [("alertname", name), ("rulegroup", "PendingAndResolved_AlwaysInactive"), ("variant", "one")];
        feed(&mut g.memory, &labels, T0, &[(5.0, 3), (15.0, 2), (5.0, 10)]);
    }
    run(&mut g, 15, |g, now_ms| {
        assert_eq!(g.shown(pending)["state"], expected(T0 + 3 * MIN, T0 + 5 * MIN, 3 * MIN, now_ms));
        assert_eq!(g.shown(inactive)["state"], "inactive");
    });
    assert!(g.received.is_empty(), "{:?}", g.received);
}

#[test]
fn no_hold_and_one_below_the_interval() {
    let Some(mut g) = generator() else { return };
    let (zero, small) = ("ZeroFor_SmallFor_ZeroFor", "ZeroFor_SmallFor_SmallFor");
    for name in [zero, small] {
        let labels = [("alertname", name), ("rulegroup", "ZeroFor_SmallFor"), ("variant", "one")];
        feed(&mut g.memory, &labels, T0, &[(5.0, 3), (15.0, 4), (5.0, 10)]);
    }
    for (id, value) in [("3", 30.0), ("1", 10.0), ("2", 20.0)] {
        let labels = [("id", id), ("rulegroup", "ZeroFor_SmallFor"), ("for", "template")];
        feed(&mut g.memory, &labels, T0, &[(value, 17)]);
    }
    run(&mut g, 15, |g, now_ms| {
        let (since, until) = (T0 + 3 * MIN, T0 + 7 * MIN);
        assert_eq!(g.shown(zero)["state"], expected(since, until, 0, now_ms));
        // "MUST go into firing state during the next evaluation".
        assert_eq!(g.shown(small)["state"], expected(since, until, 30_000, now_ms));
        if g.shown(zero)["state"] == "firing" {
            let told = g.shown(zero)["alerts"][0]["annotations"].clone();
            assert_eq!(told["template_test"], "1.049M 1Mi 2m 15s 95.9% 2022-01-25 12:36:43 +0000 UTC");
            assert_eq!(told["template_query_test"], "Args are: foo bar 99. first_id:1,1:10,2:20,3:30,");
        }
        if g.shown(small)["state"] == "firing" {
            let told = g.shown(small)["alerts"][0]["annotations"]["template_test"].clone();
            assert_eq!(told, "This Part IS TESTING the strings. ::1 127.0.0.1. 7815. replaced text. .");
        }
    });
}

#[test]
fn later_rules_see_what_earlier_ones_wrote_and_new_alerts_come_later() {
    let Some(mut g) = generator() else { return };
    let (first, second) = ("NewAlerts_OrderCheck_Rule1", "NewAlerts_OrderCheck_Rule2");
    let labels = |variant: &'static str| {
        [("alertname", first), ("rulegroup", "NewAlerts_OrderCheck"), ("variant", variant)]
    };
    feed(&mut g.memory, &labels("one"), T0, &[(5.0, 2), (11.0, 12), (5.0, 10)]);
    feed(&mut g.memory, &labels("two"), T0, &[(5.0, 4), (11.0, 8), (5.0, 12)]);
    run(&mut g, 20, |g, now_ms| {
        let states = [(2, 14), (4, 12)].map(|(a, b)| expected(T0 + a * MIN, T0 + b * MIN, 3 * MIN, now_ms));
        let rule = g.shown(first);
        let active = states.iter().filter(|s| **s != "inactive").count();
        assert_eq!(rule["alerts"].as_array().unwrap().len(), active);
        // In the same evaluation: Rule2 sees what Rule1 has just written.
        let both = states == ["firing", "firing"];
        let rule = g.shown(second);
        assert_eq!(rule["state"], if both { "firing" } else { "inactive" }, "at {}", (now_ms - T0) / 1_000);
        if both {
            let alert = &rule["alerts"][0];
            assert_eq!(alert["labels"]["alertname"], second);
            assert_eq!(alert["labels"]["foo"], "baz");
            assert_eq!(
                alert["annotations"]["description"],
                "Based on ALERTS. Old alertname was NewAlerts_OrderCheck_Rule1. foo was bar."
            );
        }
    });
    assert!(g.rules.all().all(|(_, a)| a.state == State::Resolved));
}
