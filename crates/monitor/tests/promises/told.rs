//! Rule files, routes, silences and a remote Alertmanager: with real sockets, and
//! Debian's `amtool` where it is installed.

use crate::common::{Fake, Home, Running, until};
use base::{Millis, Secret};
use serde_json::{Value, json};
use std::process::Command;

fn file(name: &str, text: String) -> site::NamedText {
    site::NamedText { name: name.into(), folder: std::env::temp_dir(), text: Secret::new(text) }
}

const RULES: &str = r#"
groups:
- name: example
  interval: 200ms
  labels: {team: web}
  rules:
  - record: job:queue:sum
    expr: sum by (instance) (queue)
  - alert: QueueLong
    expr: job:queue:sum > 10
    keep_firing_for: 100ms
    labels: {severity: page}
    annotations:
      summary: '{{ $labels.instance }} of {{ $externalLabels.site }}: {{ $value | humanize }}, {{ with query "count(queue)" }}{{ . | first | value }}{{ end }} queues'
  - alert: QueueAny
    expr: job:queue:sum > 0
    labels: {severity: warn}
- name: slow
  interval: 1h
  rules:
  - record: never
    expr: vector(1)
"#;

fn site(target: &Fake, hook: &Fake) -> site::Monitor {
    let mut site = crate::common::site();
    site.targets = vec![target.target("app/1")];
    site.external_labels = vec![("site".into(), "shop".into())];
    site.admin_api = true;
    site.receive = true;
    site.rule_files = vec![file("rules.yml", RULES.to_owned())];
    let routes = format!(
        r#"
route:
  receiver: nobody
  group_by: [alertname]
  group_wait: 100ms
  group_interval: 200ms
  repeat_interval: 1h
  routes:
  - matchers: [severity="page"]
    receiver: hook
inhibit_rules:
- source_matchers: [severity="page"]
  target_matchers: [severity="warn"]
  equal: [instance]
receivers:
- name: nobody
- name: hook
  webhook_configs:
  - url: http://{}/routed
"#,
        hook.address
    );
    site.alertmanager = Some(file("alertmanager.yml", routes));
    site
}

fn bodies(fake: &Fake, path: &str) -> Vec<Value> {
    let wanted = format!("POST {path} ");
    let seen = fake.seen();
    seen.iter()
        .filter(|s| s.head.starts_with(&wanted))
        .map(|s| serde_json::from_slice(&s.body).unwrap())
        .collect()
}

fn status_of(monitor: &Running, name: &str) -> Option<Value> {
    let all = monitor.json("/api/v2/alerts");
    let found = all.as_array()?.iter().find(|a| a["labels"]["alertname"] == name)?;
    Some(found["status"].clone())
}

#[test]
fn a_rule_file_is_followed_routed_and_silenced() {
    let (home, target, hook) = (Home::new(), Fake::new("queue 12\n"), Fake::new(""));
    let monitor = home.monitor(site(&target, &hook));
    let told = until("told", || bodies(&hook, "/routed").into_iter().next());
    assert_eq!(
        (&told["receiver"], &told["groupKey"]),
        (&"hook".into(), &r#"{}/{}/{severity="page"}:{alertname="QueueLong"}"#.into())
    );
    assert_eq!(told["alerts"][0]["annotations"]["summary"], "app/1 of shop: 12, 1 queues");
    assert_eq!(told["commonLabels"]["team"], "web");

    // Prometheus' API has the groups of the file; the other alert is inhibited.
    let rules = monitor.json("/api/v1/rules?file[]=rules.yml");
    let group = &rules["data"]["groups"][0];
    assert_eq!(
        (&group["name"], &group["interval"], &group["file"]),
        (&"example".into(), &json!(0.2), &"rules.yml".into())
    );
    assert_eq!(group["rules"][0]["type"], "recording");
    assert_eq!(
        (&group["rules"][1]["state"], &group["rules"][1]["keepFiringFor"]),
        (&"firing".into(), &json!(0.1))
    );
    assert_eq!(rules["data"]["groups"][1]["rules"][0]["health"], "unknown");
    let any = until("the other one fires", || status_of(&monitor, "QueueAny"));
    assert_eq!(any["state"], "suppressed");
    assert_eq!(any["inhibitedBy"].as_array().unwrap().len(), 1);
    let groups = monitor.json("/api/v2/alerts/groups?active=true&inhibited=false");
    assert_eq!((groups.as_array().unwrap().len(), &groups[0]["receiver"]["name"]), (1, &"hook".into()));

    // A silence by the admin socket; it outlives a restart.
    let now_ms = sys::clock::now_ms();
    let silence = json!({
        "matchers": [{ "name": "alertname", "value": "Queue.*", "isRegex": true, "isEqual": true }],
        "startsAt": monitor_alert::rfc3339(now_ms), "endsAt": monitor_alert::rfc3339(now_ms + 600_000),
        "createdBy": "me", "comment": "tested",
    });
    let (status, body) = monitor.admin("POST", "/silences", &silence.to_string());
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
    let id: Value = serde_json::from_slice(&body).unwrap();
    let id = id["silenceID"].as_str().unwrap().to_owned();
    assert_eq!(status_of(&monitor, "QueueLong").unwrap()["silencedBy"], json!([id]));
    let (status, body) = monitor.admin("POST", "/silences", "{\"matchers\":[]}");
    assert_eq!(status, 400, "{}", String::from_utf8_lossy(&body));
    monitor.stop();
    let mut site = site(&target, &hook);
    site.admin_api = false;
    let monitor = home.monitor(site);
    assert_eq!(monitor.json("/api/v2/silences")[0]["id"], id.as_str());
    assert_eq!(monitor.ask("DELETE", &format!("/api/v2/silence/{id}"), "").0, 403);

    // It resolves unheard; when the silence ends, it is told.
    let count = bodies(&hook, "/routed").len();
    target.say(200, "queue 1\n");
    until("resolved", || (monitor.value("ALERTS{alertname=\"QueueLong\"}").is_none()).then_some(()));
    assert_eq!(bodies(&hook, "/routed").len(), count);
    assert_eq!(monitor.admin("DELETE", &format!("/silence/{id}"), "").0, 200);
    let resolved =
        until("told resolved", || bodies(&hook, "/routed").into_iter().find(|m| m["status"] == "resolved"));
    assert_eq!(resolved["alerts"][0]["labels"]["alertname"], "QueueLong");
    monitor.stop();
}

#[test]
fn an_alert_shows_its_threshold_and_what_it_fired() {
    let (home, target, hook) = (Home::new(), Fake::new("queue 12\n"), Fake::new(""));
    let monitor = home.monitor(site(&target, &hook));
    until("a recording", || monitor.value("job:queue:sum"));
    let shown = monitor.json("/api/bastide/v1/alert?name=QueueLong&days=1");
    assert_eq!(shown["threshold"], json!({ "series": "job:queue:sum", "operator": ">", "value": 10.0 }));
    assert_eq!((&shown["file"], &shown["group"]), (&"rules.yml".into(), &"example".into()));
    assert!(shown["firing"].is_array() && shown["step"].as_f64().unwrap() >= 10.0, "{shown}");
    assert_eq!(monitor.get("/api/bastide/v1/alert?name=none").0, 404);
    assert_eq!(monitor.get("/api/bastide/v1/alert?name=QueueLong&days=9999").0, 400);
    monitor.stop();
}

#[test]
fn a_remote_alertmanager_is_sent_alerts_and_an_outside_checker_is_called() {
    let (home, target, remote) = (Home::new(), Fake::new("queue 12\n"), Fake::new(""));
    let mut site = crate::common::site();
    site.targets = vec![target.target("app/1")];
    site.external_labels = vec![("site".into(), "shop".into())];
    site.rule_files = vec![file("rules.yml", RULES.split("- name: slow").next().unwrap().to_owned())];
    let url = Secret::new(format!("http://{}/am/", remote.address));
    let kind = monitor_alert::manager::Kind::Alertmanager { url };
    site.alert.channels = vec![monitor_alert::manager::Receiver {
        name: "am".into(),
        integrations: vec![monitor_alert::manager::Integration::new(kind)],
        repeat: Millis(1),
    }];
    site.dead_man = Some(site::DeadMan {
        url: Secret::new(format!("http://{}/ping/t0k3n", remote.address)),
        post: false,
        every: Millis(1_000),
    });
    remote.say(500, "not yet");
    let monitor = home.monitor(site);
    until("refused once", || bodies(&remote, "/am/api/v2/alerts").pop());
    let undelivered = until("the operator is told", || {
        let status: Value = serde_json::from_slice(&monitor.admin("GET", "/status", "").1).unwrap();
        status["undelivered"]["am"].as_str().map(str::to_owned)
    });
    assert!(undelivered.contains("HTTP status 500") && !undelivered.contains("/am"), "{undelivered}");
    remote.say(200, "");
    let before = bodies(&remote, "/am/api/v2/alerts").len();
    let sent = until("sent again", || bodies(&remote, "/am/api/v2/alerts").into_iter().nth(before));
    let alert = sent.as_array().unwrap().iter().find(|a| a["labels"]["alertname"] == "QueueLong").unwrap();
    assert_eq!(alert["labels"]["site"], "shop", "{alert}");
    assert!(alert["endsAt"].as_str() > alert["startsAt"].as_str());
    until("called", || remote.seen().iter().any(|s| s.head.starts_with("GET /ping/t0k3n ")).then_some(()));
    assert!(monitor.json("/api/v1/alertmanagers")["data"]["activeAlertmanagers"][0]["url"].is_string());
    monitor.stop();
}

#[test]
fn amtool_silences_and_lists() {
    if Command::new("amtool").arg("--version").output().is_err() {
        eprintln!("not run: amtool is not installed");
        return;
    }
    let (home, target, hook) = (Home::new(), Fake::new("queue 12\n"), Fake::new(""));
    let monitor = home.monitor(site(&target, &hook));
    until("it fires", || status_of(&monitor, "QueueLong"));
    let url = format!("--alertmanager.url=http://{}", monitor.address);
    let amtool = |args: &[&str]| {
        let ran = Command::new("amtool").args(args).arg(&url).output().unwrap();
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        assert!(ran.status.success(), "{args:?}: {said}{}", String::from_utf8_lossy(&ran.stderr));
        said
    };
    assert!(amtool(&["alert", "query", "alertname=QueueLong"]).contains("QueueLong"));
    let id = amtool(&[
        "silence",
        "add",
        "alertname=QueueLong",
        "--comment=tested",
        "--author=me",
        "--duration=1h",
    ]);
    let id = id.trim();
    assert!(amtool(&["silence", "query"]).contains(id));
    assert!(
        !amtool(&["alert", "query", "alertname=QueueLong"]).contains("QueueLong"),
        "silenced ones are not shown"
    );
    assert!(amtool(&["alert", "query", "--silenced", "alertname=QueueLong"]).contains("QueueLong"));
    let longer = amtool(&["silence", "update", id, "--duration=2h"]);
    assert!(longer.contains(id), "{longer}");
    amtool(&["silence", "expire", id]);
    assert!(!amtool(&["silence", "query"]).contains(id));
    assert!(amtool(&["silence", "query", "--expired"]).contains(id));
    amtool(&["alert", "add", "alertname=Pushed", "node=x", "--annotation=summary=by hand"]);
    assert!(amtool(&["alert", "query", "node=x"]).contains("by hand"));
    monitor.stop();
}

#[test]
fn a_file_that_is_wrong_is_refused_with_its_places() {
    let (home, target, hook) = (Home::new(), Fake::new(""), Fake::new(""));
    let good = site(&target, &hook);
    let monitor = home.monitor(good.clone());
    let mut wrong = good;
    wrong.rule_files =
        vec![file("rules.yml", "groups:\n- name: a\n  rules:\n  - alert: x\n    expr: sum(\n".into())];
    wrong.alertmanager = Some(file(
        "am.yml",
        "route: {receiver: x}\nreceivers: [{name: x, webhook_configs: [{url_file: nowhere}]}]\n".into(),
    ));
    let body = serde_json::to_string(&crate::common::revision(2, wrong)).unwrap();
    let (status, answer) = monitor.admin("POST", "/prepare", &body);
    let said = String::from_utf8_lossy(&answer).into_owned();
    assert_ne!(status, 200);
    for expected in ["rules.yml:5:11: group", "could not parse expression", "am.yml:2:", "nowhere"] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
    monitor.stop();
}
