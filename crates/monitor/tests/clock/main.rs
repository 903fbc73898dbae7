//! The wall clock jumps a day ahead and a day back. The monitor of this program
//! is told so through `sys::clock`; the machine's clock stays as it is. What is
//! pretended is the whole program's, so that there is one test in it.

// A test says what it leaves out.
#![allow(clippy::print_stderr)]

#[allow(dead_code, reason = "it has tools for the tests of `promises`, too")]
#[path = "../promises/common.rs"]
mod common;

use common::{Fake, Home, Running, alert, heard, receiver, site, told, until};
use monitor_alert::settings::Alert;
use monitor_model::Labels;
use monitor_wire::remote::{Outgoing, OutgoingSample};
use serde_json::Value;
use std::time::{Duration, Instant};

const DAY: i64 = 86_400_000;

fn quiet(name: &str, expr: &str, hold_ms: u64) -> Alert {
    Alert { to: Vec::new(), ..alert(name, expr, hold_ms) }
}

/// A sample of a series, some hours old.
fn push_old(monitor: &Running, hours: i64) -> i64 {
    let at_ms = sys::clock::now_ms() as i64 - hours * 3_600_000;
    let samples = [OutgoingSample { at_ms, value: 1.0, start_ms: 0 }];
    let labels = Labels::from_pairs([("__name__", "old")]);
    let (status, said) = monitor.push(&[Outgoing { labels, samples: &samples, ..Outgoing::default() }]);
    assert_eq!(status, 204, "{said}");
    at_ms
}

fn state(monitor: &Running, alert: &str) -> String {
    let alerts = monitor.json("/api/v1/alerts");
    let all = alerts["data"]["alerts"].as_array().unwrap();
    let found = all.iter().find(|found| found["labels"]["alertname"] == alert);
    found.map_or("inactive", |found| found["state"].as_str().unwrap()).to_owned()
}

fn silence_state(monitor: &Running) -> Value {
    monitor.json("/api/v2/silences")[0]["status"]["state"].clone()
}

/// Waits until the rules were evaluated by the clock as it is now.
fn evaluated(monitor: &Running) {
    let now_ms = sys::clock::now_ms();
    let (from, to) = (monitor_alert::rfc3339(now_ms), monitor_alert::rfc3339(now_ms + 3_600_000));
    until("the rules are evaluated by the new time", || {
        let rules = monitor.json("/api/v1/rules");
        let last = rules["data"]["groups"][0]["lastEvaluation"].as_str()?.to_owned();
        (from[..19] < last[..19] && last[..19] < to[..19]).then_some(())
    });
}

/// The rhythm goes on: so many scrapes in the next seconds, and no more.
fn scraped_steadily(target: &Fake) {
    let (before, began) = (target.seen().len(), Instant::now());
    until("five scrapes", || (target.seen().len() >= before + 5).then_some(()));
    // A machine that is busy may be late; one that makes up for a day would be early.
    std::thread::sleep(Duration::from_secs(1).saturating_sub(began.elapsed()));
    let scrapes = (target.seen().len() - before) as f64;
    let most = began.elapsed().as_secs_f64() * 5.0 + 4.0;
    assert!(scrapes <= most, "{scrapes} scrapes are a flood; {most} were due");
}

#[test]
fn a_day_ahead_and_a_day_back_silence_no_alert_repeat_none_and_delete_nothing() {
    let (home, target, hook) = (Home::new(), Fake::new("queue 5\nwork 1\n"), Fake::new(""));
    let mut site = site();
    site.receive = true;
    site.admin_api = true;
    site.retention = base::Millis::from_secs(86_400);
    site.store.out_of_order = base::Millis::from_secs(2 * 86_400);
    site.targets = vec![target.target("app/1")];
    site.alert.alerts = vec![
        alert("steady", "work == 1", 0),
        alert("long", "queue > 10", 0),
        alert("brief", "queue > 20", 0),
        alert("silent", "work == 1", 0),
        alert("gone", "absent_over_time(work[5s])", 0),
        quiet("slow", "work == 1", 600_000),
    ];
    site.alert.alerts[3].labels = vec![("team".into(), "night".into())];
    site.alert.receivers = vec![receiver(&hook)];
    let monitor = home.monitor(site);
    // For three hours nobody hears of `silent`.
    let now_ms = sys::clock::now_ms();
    let silence = serde_json::json!({
        "matchers": [{ "name": "team", "value": "night", "isRegex": false, "isEqual": true }],
        "startsAt": monitor_alert::rfc3339(now_ms), "endsAt": monitor_alert::rfc3339(now_ms + 3 * 3_600_000),
        "createdBy": "test", "comment": "the night",
    });
    let (status, said) = monitor.post(
        "/api/v2/silences",
        "content-type: application/json\r\n",
        silence.to_string().as_bytes(),
    );
    assert_eq!(status, 200, "{said}");
    until("it fires", || (heard(&hook, "steady", "firing") == 1).then_some(()));
    until("pending", || (state(&monitor, "slow") == "pending").then_some(()));
    until("firing, silenced", || (state(&monitor, "silent") == "firing").then_some(()));
    assert_eq!(heard(&hook, "silent", "firing"), 0);
    until("it was missing at the very first", || (state(&monitor, "gone") == "inactive").then_some(()));
    let gone = heard(&hook, "gone", "firing");
    let old_ms = push_old(&monitor, 20);
    assert_eq!(monitor.ask("POST", "/api/v1/admin/tsdb/clean_tombstones", "").0, 204);
    let is_there = || monitor.samples("old[3d]") == [(old_ms, 1.0)];
    assert!(is_there());
    assert!(!monitor.trouble().contains("clock"), "{}", monitor.trouble());

    // Ahead. What fired fires, what was pending is pending, nobody is told again.
    let jumped = Instant::now();
    sys::clock::pretend(DAY);
    evaluated(&monitor);
    scraped_steadily(&target);
    assert_eq!(monitor.value("work"), Some(1.0), "there are samples by the new time");
    assert_eq!((state(&monitor, "steady").as_str(), state(&monitor, "slow").as_str()), ("firing", "pending"));
    assert_eq!(silence_state(&monitor), "expired", "a silence speaks of the clock");
    until("it is told of", || (heard(&hook, "silent", "firing") == 1).then_some(()));
    until("the operator is told", || {
        monitor.trouble().contains("the clock jumped ahead by 1d at ").then_some(())
    });
    // By the wrong time one begins to fire, and another one does and ends.
    target.say(200, "queue 25\nwork 1\n");
    until("both fire", || {
        (heard(&hook, "brief", "firing") + heard(&hook, "long", "firing") == 2).then_some(())
    });
    target.say(200, "queue 12\nwork 1\n");
    until("one ends", || (heard(&hook, "brief", "resolved") == 1).then_some(()));
    // The store's upkeep comes every five seconds.
    let upkeep = Duration::from_secs(11).saturating_sub(jumped.elapsed());
    std::thread::sleep(upkeep);
    assert!(is_there(), "what is 44 hours old by a wrong clock is not deleted");

    // And back. What fires goes on, what ended has ended.
    let before = told(&hook).len();
    sys::clock::pretend(0);
    evaluated(&monitor);
    scraped_steadily(&target);
    let stored = monitor.metric("bastide_monitor_samples_total{result=\"stored\"}");
    until("samples of before the newest ones are stored", || {
        (monitor.metric("bastide_monitor_samples_total{result=\"stored\"}") > stored).then_some(())
    });
    assert_eq!(monitor.value("queue"), Some(12.0));
    assert_eq!(silence_state(&monitor), "active", "it is not over yet");
    for (alert, expected) in
        [("steady", "firing"), ("long", "firing"), ("brief", "inactive"), ("slow", "pending")]
    {
        assert_eq!(state(&monitor, alert), expected, "{alert}");
    }
    let firing = monitor.json("/api/v2/alerts");
    let names: Vec<&str> =
        firing.as_array().unwrap().iter().map(|a| a["labels"]["alertname"].as_str().unwrap()).collect();
    assert!(!names.contains(&"brief") && names.contains(&"long"), "{names:?}");
    // It resolves by the right time, and not a day later.
    target.say(200, "queue 1\nwork 1\n");
    until("it resolves", || (heard(&hook, "long", "resolved") == 1).then_some(()));
    assert!(is_there());
    let since = told(&hook)[before..].to_vec();
    assert_eq!(since, [("long".to_owned(), "resolved".to_owned())], "and nobody is told of anything else");
    assert_eq!(heard(&hook, "brief", "firing"), 1);
    assert_eq!(heard(&hook, "steady", "resolved") + heard(&hook, "slow", "firing"), 0);
    assert_eq!(heard(&hook, "gone", "firing"), gone, "no target was missing");

    // A day later the times come for a second time: what is there is there once, and it goes on.
    sys::clock::pretend(DAY - 2_000);
    evaluated(&monitor);
    target.say(200, "queue 3\nwork 1\n");
    until("it recovers", || monitor.value("queue").filter(|value| *value == 3.0));
    for direction in ["ahead", "back"] {
        let jumps = format!("bastide_monitor_clock_jumps_total{{direction=\"{direction}\"}}");
        assert_eq!(monitor.metric(&jumps), if direction == "back" { 1.0 } else { 2.0 });
    }
    let events = monitor.json("/api/bastide/v1/events?kind=clock_jump");
    let by: Vec<i64> =
        events["events"].as_array().unwrap().iter().map(|e| e["by_ms"].as_i64().unwrap() / 10_000).collect();
    assert_eq!(by.len(), 3, "{events}");
    assert!(by[1] < -8_630 && by[2] > 8_630, "{events}");
    sys::clock::pretend(0);
    monitor.stop();
}
