//! A seeded adversary: servers that come and go, receivers that are away,
//! restarts, clocks that jump. Checked against what a person would demand: every
//! alert that fired is told, told once until the repeat interval, and told
//! resolved; never one that did not hold for long enough.
//!
//! A failing run prints its seed; `SEED=n` runs that one alone.

use base::{Millis, Secret};
use monitor_alert::rules::Context;
use monitor_alert::settings::Rule;
use monitor_alert::settings::{Alert, Receiver};
use monitor_alert::{Dispatcher, Rules, Sample, State, fingerprint};
use monitor_model::series::Value;
use std::collections::{BTreeMap, BTreeSet};

const STEP_MS: u64 = 5_000;
const HOLD_MS: u64 = 15_000;
const REPEAT_MS: u64 = 600_000;
const SERVERS: usize = 4;

/// SplitMix64 (Steele, Lea, Flood 2014): small and good enough to choose with.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}

fn rule() -> Alert {
    Alert {
        name: "server-down".into(),
        expr: "up == 0".into(),
        hold: Millis(HOLD_MS),
        labels: Vec::new(),
        annotations: vec![("summary".into(), "{{ $labels.server }}".into())],
        to: vec!["ops".into()],
    }
}

/// What the person behind the webhook knows.
#[derive(Default)]
struct Person {
    told_firing: BTreeMap<u64, u64>,
    told_resolved: BTreeSet<u64>,
}

fn run(seed: u64) {
    let mut random = Random(seed);
    let rule = rule();
    let receivers =
        [Receiver { name: "ops".into(), webhook: Secret::new("http://r/"), repeat: Millis(REPEAT_MS) }];
    let (mut rules, mut dispatcher) = (Rules::default(), Dispatcher::default());
    let mut person = Person::default();
    let mut down_for_ms = [0u64; SERVERS];
    let mut down = [false; SERVERS];
    let mut receiver_away = false;
    let mut now_ms = 1_000_000_000;

    for step in 0..600 {
        let quiet = step >= 560; // At the end all recovers, and everyone must have heard.
        for state in &mut down {
            if quiet {
                *state = false;
            } else if random.one_in(12) {
                *state = !*state;
            }
        }
        receiver_away = !quiet && if random.one_in(10) { !receiver_away } else { receiver_away };
        let jump = random.one_in(150) && !quiet;
        if random.one_in(60) {
            // kill -9 and start: the state as it was saved.
            let saved = rules.save(now_ms).unwrap();
            let told = serde_json::to_string(&dispatcher).unwrap();
            rules = Rules::restore(&saved, now_ms).unwrap();
            dispatcher = serde_json::from_str(&told).unwrap();
        }

        let given: Vec<Sample> = (0..SERVERS)
            .filter(|i| down[*i])
            .map(|i| Sample {
                labels: monitor_model::Labels::from_pairs([("server", format!("app/{i}"))]),
                value: Value::Float(0.0),
            })
            .collect();
        for (server, for_ms) in down_for_ms.iter_mut().enumerate() {
            *for_ms = if down[server] { *for_ms + STEP_MS } else { 0 };
        }
        let before: BTreeSet<u64> = firing(&rules);
        let none = Vec::new();
        let context = Context { now_ms, limit: 0, external_labels: &none, external_url: "", query: None };
        rules.evaluate("server-down", &Rule::from(&rule), &given, &context).unwrap();
        for print in firing(&rules).difference(&before) {
            let server = (0..SERVERS).find(|i| print_of(*i) == *print).unwrap();
            // The first evaluation that gave it counts as zero. A jump forward may cut this short.
            assert!(
                down_for_ms[server] > HOLD_MS || now_ms > 1_000_000_000 + step * STEP_MS,
                "fired too early"
            );
        }

        let active: Vec<_> = rules.of("server-down").cloned().collect();
        for message in dispatcher.due(&receivers, active.iter().map(|a| (&rule, a)), now_ms) {
            if receiver_away {
                dispatcher.failed(&message.group_key, now_ms);
                continue;
            }
            let mut news = false;
            for alert in &message.alerts {
                let print = fingerprint(&alert.labels);
                match alert.state {
                    State::Firing => {
                        assert!(firing(&rules).contains(&print), "told of what does not fire");
                        let at = person.told_firing.insert(print, now_ms);
                        news |= at.is_none_or(|at| now_ms.abs_diff(at) >= REPEAT_MS);
                        person.told_resolved.remove(&print);
                    }
                    State::Resolved => {
                        assert!(
                            person.told_firing.remove(&print).is_some(),
                            "resolved what nobody was told of"
                        );
                        person.told_resolved.insert(print);
                        news = true;
                    }
                    State::Pending => panic!("told of a pending alert"),
                }
            }
            assert!(news || jumped(now_ms, step), "a message without news");
            dispatcher.delivered(&message.group_key, now_ms);
        }
        now_ms += STEP_MS;
        if jump {
            now_ms = if random.one_in(2) { now_ms + 86_400_000 } else { now_ms - 600_000 };
        }
    }
    assert!(firing(&rules).is_empty());
    assert!(person.told_firing.is_empty(), "nobody said that {:?} resolved", person.told_firing);
}

/// Whether the wall clock is not where steady steps would have it.
fn jumped(now_ms: u64, step: u64) -> bool {
    now_ms != 1_000_000_000 + step * STEP_MS
}

fn print_of(server: usize) -> u64 {
    fingerprint(&[
        ("alertname".to_owned(), "server-down".to_owned()),
        ("server".to_owned(), format!("app/{server}")),
    ])
}

fn firing(rules: &Rules) -> BTreeSet<u64> {
    let active = rules.of("server-down").filter(|a| a.state == State::Firing);
    active.map(|a| fingerprint(&a.labels)).collect()
}

#[test]
fn everyone_hears_what_fired_and_that_it_resolved() {
    let seeds: Vec<u64> = match std::env::var("SEED") {
        Ok(seed) => vec![seed.parse().expect("SEED is a number")],
        Err(_) => (0..40).collect(),
    };
    for seed in seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        if let Err(panic) = result {
            eprintln!("failing seed: {seed}; run it alone with SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
