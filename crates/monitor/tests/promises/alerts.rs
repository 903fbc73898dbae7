//! Pending, firing, told, resolved, told: with real sockets and the real clock.

use crate::common::{Fake, Home, alert, receiver, site, until};
use serde_json::Value;

fn messages(fake: &Fake) -> Vec<Value> {
    fake.seen().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect()
}

#[test]
fn an_alert_is_told_survives_a_restart_and_is_told_resolved() {
    let (home, target, hook) = (Home::new(), Fake::new("queue 5\n"), Fake::new(""));
    let mut site = site();
    site.targets = vec![target.target("app/1")];
    site.alert.alerts = vec![alert("queue-long", "queue > 10", 600)];
    site.alert.receivers = vec![receiver(&hook)];
    let monitor = home.monitor(site.clone());
    until("a value", || monitor.value("queue"));
    assert!(hook.seen().is_empty());

    hook.say(500, "not now");
    target.say(200, "queue 12\n");
    let state = |s: &str| {
        let alerts = monitor.json("/api/v1/alerts");
        let first = alerts["data"]["alerts"][0].clone();
        (first["state"] == s).then_some(first)
    };
    until("pending", || state("pending"));
    let firing = until("firing", || state("firing"));
    assert_eq!((&firing["value"], &firing["labels"]["alertname"]), (&"1.2e+01".into(), &"queue-long".into()));
    assert_eq!(monitor.value("ALERTS{alertstate=\"firing\"}"), Some(1.0));
    until("the receiver refused", || (!hook.seen().is_empty()).then_some(()));
    hook.say(200, "");
    until("it is tried again and taken", || {
        let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
        metrics
            .contains("bastide_monitor_notifications_total{receiver=\"ops\",result=\"ok\"} 1")
            .then_some(())
    });
    let told = messages(&hook).pop().unwrap();
    assert_eq!(
        (&told["version"], &told["status"], &told["receiver"]),
        (&"4".into(), &"firing".into(), &"ops".into())
    );
    assert_eq!(told["alerts"][0]["annotations"]["summary"], "app/1 says 12");
    assert_eq!(told["commonLabels"]["severity"], "page");
    let head = &hook.seen()[0].head;
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1"), "{head}");
    assert!(head.contains("authorization: Basic dXNlcjpzZWNyZXQ="), "{head}");
    let count = hook.seen().len();
    monitor.stop();

    // The next one knows what was told, and goes on.
    let monitor = home.monitor(site);
    until("it still fires", || monitor.value("ALERTS{alertstate=\"firing\"}"));
    let evaluated = || monitor.json("/api/v1/rules")["data"]["groups"][0]["lastEvaluation"].clone();
    let before = evaluated();
    until("another evaluation", || (evaluated() != before).then_some(()));
    assert_eq!(hook.seen().len(), count, "nobody is told twice");

    target.say(200, "queue 1\n");
    let resolved = until("resolved", || messages(&hook).into_iter().find(|m| m["status"] == "resolved"));
    assert_eq!(resolved["alerts"][0]["status"], "resolved");
    assert_ne!(resolved["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(resolved["alerts"][0]["startsAt"], told["alerts"][0]["startsAt"]);
    assert_eq!(resolved["alerts"][0]["fingerprint"], told["alerts"][0]["fingerprint"]);
    until("no ALERTS", || monitor.value("ALERTS").is_none().then_some(()));

    // The changes are in the event log, the newest first.
    let events = until("three events", || {
        let events = monitor.json("/api/bastide/v1/events?kind=alert&limit=10");
        let states: Vec<String> =
            events["events"].as_array()?.iter().map(|e| e["state"].as_str().unwrap().to_owned()).collect();
        (states.len() == 3).then_some(states)
    });
    assert_eq!(events, ["resolved", "firing", "pending"]);
    monitor.stop();
}

#[test]
fn a_rule_that_fails_says_so_and_stops_no_other() {
    let (home, target) = (Home::new(), Fake::new("a{i=\"1\"} 1\na{i=\"2\"} 1\n"));
    let mut site = site();
    site.targets = vec![target.target("app/1")];
    // Two series of one name: the division cannot match them.
    site.alert.recordings =
        vec![crate::common::recording("bad", "a / on(job) a"), crate::common::recording("good", "sum(a)")];
    site.alert.alerts = vec![alert("twice", "a", 0), alert("fine", "sum(a) > 1", 0)];
    site.alert.alerts[0].labels = vec![("i".into(), "same".into())];
    for rule in &mut site.alert.alerts {
        rule.to.clear();
    }
    let monitor = home.monitor(site);
    until("the good ones", || monitor.value("good").and(monitor.value("ALERTS{alertname=\"fine\"}")));
    let rules = monitor.json("/api/v1/rules");
    let groups = rules["data"]["groups"].as_array().unwrap();
    let find = |name: &str| {
        let mut all = groups.iter().flat_map(|g| g["rules"].as_array().unwrap());
        all.find(|r| r["name"] == name).unwrap().clone()
    };
    assert_eq!((find("bad")["health"].clone(), find("good")["health"].clone()), ("err".into(), "ok".into()));
    assert!(find("twice")["lastError"].as_str().unwrap().contains("same labels twice"), "{}", find("twice"));
    assert_eq!(find("fine")["state"], "firing");
    let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
    assert!(metrics.contains("bastide_monitor_rule_failures_total{rule=\"bad\"}"), "{metrics}");
    monitor.stop();
}
