//! A disk that is full: alerts go on, questions are answered, what is lost is
//! counted, and with room again everything goes on by itself.

use crate::common::{Fake, Home, alert, get, heard, receiver, sending_to, site, until};
use base::{Address, Millis};
use monitor_alert::ready_made::{Facts, Thresholds, ready_made};
use site::{Log, LogFormat};
use std::io::Write;

/// Enough that a scrape does not fit into what is left of a page.
fn body(queue: u32) -> String {
    let many: String = (0..2_000).map(|n| format!("many{{n=\"{n}\"}} {queue}\n")).collect();
    format!("queue {queue}\n{many}")
}

/// The one that says that samples are lost, as every site has it.
fn samples_lost() -> monitor_alert::settings::Alert {
    let facts = Facts {
        databases: Vec::new(),
        interval: Millis(200),
        to: vec!["ops".into()],
        thresholds: Thresholds::default(),
    };
    ready_made(&facts).alerts.into_iter().find(|alert| alert.name == "samples-lost").unwrap()
}

#[test]
fn a_full_disk_stops_no_alert_and_no_answer() {
    let Some((home, disk)) = Home::on_small_disk("40m") else { return };
    let (target, hook) = (Fake::new(&body(5)), Fake::new(""));
    let mut site = site();
    site.admin_api = true;
    site.targets = vec![
        target.target("app/1"),
        site::Target {
            job: "monitor".into(),
            instance: "monitor".into(),
            address: Address::Unix(home.run().join("monitor.sock")),
            tls: false,
            path: "/metrics".into(),
        },
    ];
    site.alert.alerts = vec![
        alert("queue-long", "queue > 10", 0),
        alert("down", "up{job=\"app\"} == 0", 0),
        alert("gone", "absent_over_time(queue[1m])", 0),
        samples_lost(),
    ];
    site.alert.receivers = vec![receiver(&hook)];
    let monitor = home.monitor(site.clone());
    until("many samples", || monitor.value("count_over_time(queue[5m])").filter(|n| *n >= 5.0));
    let active = || monitor.json("/api/v1/alerts")["data"]["alerts"].to_string();
    until("it was missing at the very first", || (!active().contains("gone")).then_some(()));
    let gone = heard(&hook, "gone", "firing");
    let failed = "bastide_monitor_samples_total{result=\"failed\"}";
    assert_eq!(monitor.metric(failed), 0.0);

    disk.fill();
    until("samples are lost and counted", || (monitor.metric(failed) > 10_000.0).then_some(()));
    let before = monitor.samples("queue[5m]");
    assert!(before.len() >= 5);
    // What is asked is answered; what needs room says that there is none.
    assert_eq!(monitor.value("count(many)"), Some(2_000.0));
    assert_eq!(monitor.get("/").0, 200);
    assert_eq!(monitor.get("/api/v1/status/tsdb").0, 200);
    let (status, _, said) = monitor.ask("POST", "/api/v1/admin/tsdb/clean_tombstones", "");
    let said = String::from_utf8(said).unwrap();
    assert!(status >= 500 && said.contains("No space left on device"), "{status} {said}");
    until("the status says so", || monitor.trouble().contains("No space left on device").then_some(()));
    // Rules see what the disk does not take.
    target.say(200, &body(12));
    until("an alert fires", || (heard(&hook, "queue-long", "firing") == 1).then_some(()));
    until("the operator is told", || (heard(&hook, "samples-lost", "firing") == 1).then_some(()));
    target.say(500, "");
    until("another one fires", || (heard(&hook, "down", "firing") == 1).then_some(()));
    target.say_as("text/plain", body(1) + "# HELP fresh What came meanwhile.\n# TYPE fresh gauge\nfresh 1\n");
    until("it resolves", || (heard(&hook, "down", "resolved") == 1).then_some(()));
    until("and the first one", || (heard(&hook, "queue-long", "resolved") == 1).then_some(()));
    assert_eq!(heard(&hook, "gone", "firing"), gone, "nothing is missing");
    assert_eq!(monitor.value("fresh"), None, "it is kept nowhere");

    disk.make_room();
    until("it goes on by itself", || monitor.value("fresh"));
    until("what is known of it, too", || {
        let metadata = monitor.json("/api/v1/metadata?metric=fresh");
        (metadata["data"]["fresh"][0]["help"] == "What came meanwhile.").then_some(())
    });
    let lost = monitor.metric(failed);
    let count = || monitor.samples("queue[5m]").len();
    let now = count();
    until("more samples", || (count() > now + 5).then_some(()));
    assert_eq!(monitor.metric(failed), lost, "none is lost any more");
    assert!(!monitor.trouble().contains("No space left"), "{}", monitor.trouble());
    let (status, _, said) = monitor.ask("POST", "/api/v1/admin/tsdb/clean_tombstones", "");
    assert_eq!(status, 204, "{}", String::from_utf8_lossy(&said));
    let after = monitor.samples("queue[5m]");
    assert!(before.iter().all(|sample| after.contains(sample)), "nothing that was stored is gone");
    monitor.stop();

    // Nor for the next one.
    let monitor = home.monitor(site);
    let again = monitor.samples("queue[5m]");
    assert!(after.iter().all(|sample| again.contains(sample)), "{} of {}", again.len(), after.len());
    monitor.stop();
}

#[test]
fn a_full_disk_costs_log_lines_and_what_is_sent_on_no_more_than_it_must() {
    let Some((home, disk)) = Home::on_small_disk("40m") else { return };
    let far_home = Home::new();
    let far = far_home.monitor(site::Monitor { receive: true, ..site() });
    let target = Fake::new(&body(5));
    // The log itself is on another disk.
    let path = home.dir.path().join("access.jsonl");
    let mut lines = 0;
    let mut write = |count: u32| {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
        let text: String = (lines..lines + count)
            .map(|n| {
                let path = sys::random::u64();
                format!("{{\"at_ms\":{n},\"status\":200,\"bytes\":10,\"duration_ms\":3.0,\"path\":\"/{path:x}\"}}\n")
            })
            .collect();
        file.write_all(text.as_bytes()).unwrap();
        lines += count;
        lines
    };
    let mut site = site();
    site.targets = vec![target.target("app/1")];
    site.logs = vec![Log { name: "edge".into(), path: path.clone(), format: LogFormat::Bastide }];
    site.remote_write = vec![sending_to(far.address, &[])];
    let monitor = home.monitor(site.clone());
    let kept = || {
        let data = monitor.json("/api/bastide/v1/logs?limit=5000")["data"].clone();
        data["lines"].as_array().map_or(0, Vec::len)
    };
    write(1_000);
    until("the lines are kept", || (kept() == 1_000).then_some(()));
    until("the far end has samples", || far.value("queue"));

    disk.fill();
    let failed = "bastide_monitor_samples_total{result=\"failed\"}";
    until("samples are lost and counted", || (monitor.metric(failed) > 10_000.0).then_some(()));
    let all = write(40_000);
    let lost = "bastide_monitor_log_lines_lost_total{log=\"edge\"}";
    until("log lines are lost and counted", || (monitor.metric(lost) > 1_000.0).then_some(()));
    assert_eq!(get(monitor.address, "/api/bastide/v1/logs?limit=10").0, 200, "what is kept is found");

    disk.make_room();
    let requests = "sum(bastide_log_requests_total{log=\"edge\"})";
    until("each request counts, kept or not", || monitor.value(requests).filter(|n| *n == f64::from(all)));
    // A log that is read to its end: none of it is waited for.
    let lost_then = monitor.metric(lost);
    write(100);
    until("new lines are kept", || {
        let found = monitor.json("/api/bastide/v1/logs?query=%22at_ms%22%3A41099%2C");
        (found["data"]["lines"].as_array()?.len() == 1).then_some(())
    });
    assert_eq!(monitor.metric(lost), lost_then);
    // The far end has what is stored here; what the queue's own file had no room
    // for, where the store's had a little, is counted.
    until("samples go on", || monitor.value("queue"));
    let ours = monitor.samples("queue[5m]");
    until("the far end has the newest", || {
        far.samples("queue[5m]").contains(ours.last().unwrap()).then_some(())
    });
    let theirs = far.samples("queue[5m]");
    let missing = ours.iter().filter(|sample| !theirs.contains(sample)).count() as f64;
    let dropped = monitor.metric("bastide_monitor_sent_total{remote=\"far\",result=\"dropped\"}");
    assert!(missing <= dropped, "{missing} of {} are missing there, and {dropped} were counted", ours.len());
    let waits = "bastide_monitor_sent_total{remote=\"far\",result=\"refused\"}";
    assert_eq!(monitor.metric(waits), 0.0);
    monitor.stop();
    far.stop();
}
