//! Access logs: rotation, truncation, restart; each request counts once.

use crate::common::{Home, site, until};
use site::{Log, LogFormat};
use std::io::Write;
use std::path::Path;

fn write(path: &Path, from: u32, to: u32) {
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    for n in from..to {
        let code = if n.is_multiple_of(10) { 500 } else { 200 };
        writeln!(file, "{{\"at_ms\":{n},\"status\":{code},\"bytes\":10,\"duration_ms\":3.0,\"path\":\"/\"}}")
            .unwrap();
    }
}

#[test]
fn each_request_counts_once_across_rotation_truncation_and_restart() {
    let home = Home::new();
    let path = home.state().join("log/access.jsonl");
    let combined = home.state().join("log/nginx.log");
    std::fs::write(&combined, "old line from before\n").unwrap();
    let mut site = site();
    let log = |name: &str, path: &Path, format| Log { name: name.into(), path: path.into(), format };
    site.logs = vec![log("edge", &path, LogFormat::Bastide), log("nginx", &combined, LogFormat::Combined)];
    let monitor = home.monitor(site.clone());
    let requests = "sum(bastide_log_requests_total{log=\"edge\"})";
    write(&path, 0, 1_000);
    until("a thousand", || monitor.value(requests).filter(|v| *v == 1_000.0));
    std::fs::rename(&path, home.state().join("log/access.jsonl.1")).unwrap();
    write(&path, 0, 500);
    until("rotated", || monitor.value(requests).filter(|v| *v == 1_500.0));
    std::fs::File::create(&path).unwrap();
    write(&path, 0, 100);
    until("cut", || monitor.value(requests).filter(|v| *v == 1_600.0));
    write(&path, 0, 40);
    monitor.stop();

    // Written and rotated while nobody reads.
    write(&path, 0, 60);
    std::fs::remove_file(home.state().join("log/access.jsonl.1")).unwrap();
    std::fs::rename(&path, home.state().join("log/access.jsonl.1")).unwrap();
    write(&path, 0, 300);
    let monitor = home.monitor(site);
    until("all of it", || monitor.value(requests).filter(|v| *v == 2_000.0));
    assert_eq!(monitor.value("bastide_log_requests_total{log=\"edge\",code=\"500\"}"), Some(200.0));
    assert_eq!(monitor.value("bastide_log_sent_bytes_total{log=\"edge\"}"), Some(20_000.0));
    assert_eq!(monitor.value("bastide_log_request_duration_seconds_count{log=\"edge\"}"), Some(2_000.0));
    assert_eq!(
        monitor.value("histogram_quantile(1, bastide_log_request_duration_seconds_bucket{log=\"edge\"})"),
        Some(0.005)
    );

    let mut file = std::fs::OpenOptions::new().append(true).open(&combined).unwrap();
    writeln!(file, "1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 404 7 \"-\" \"x\"\nnonsense")
        .unwrap();
    until("nginx", || {
        monitor.value("bastide_log_requests_total{log=\"nginx\",code=\"404\"}").filter(|v| *v == 1.0)
    });
    let metrics = String::from_utf8(monitor.admin("GET", "/metrics", "").1).unwrap();
    assert!(
        metrics.contains("bastide_monitor_log_lines_total{log=\"nginx\",result=\"malformed\"} 1"),
        "{metrics}"
    );
    monitor.stop();
}

#[test]
fn kept_lines_are_found_by_what_is_asked_and_over_a_restart() {
    let home = Home::new();
    let path = home.state().join("log/access.jsonl");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut site = site();
    site.logs = vec![Log { name: "edge".into(), path: path.clone(), format: LogFormat::Bastide }];
    let monitor = home.monitor(site.clone());
    write(&path, 0, 1_000);
    std::fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"<script>\x1b[2J\n").unwrap();
    let found = |monitor: &crate::common::Running, parameters: &str| {
        monitor.json(&format!("/api/bastide/v1/logs?{parameters}"))["data"].clone()
    };
    let count = |data: &serde_json::Value| data["lines"].as_array().map_or(0, Vec::len);
    until("the lines are kept", || (count(&found(&monitor, "limit=5000")) == 1_001).then_some(()));
    monitor.stop();
    let monitor = home.monitor(site);
    let data = found(&monitor, "limit=5000");
    assert_eq!((count(&data), &data["complete"]), (1_001, &serde_json::json!(true)));
    assert_eq!(data["lines"][0]["line"], "<script>\u{1b}[2J", "the newest first, those that are none too");
    assert_eq!(data["lines"][0]["status"], serde_json::Value::Null);
    assert_eq!(count(&found(&monitor, "status=5xx&limit=5000")), 100);
    assert_eq!(count(&found(&monitor, "query=%22at_ms%22%3A77%2C")), 1);
    assert_eq!(count(&found(&monitor, "regex=at_ms%22%3A7%5B0-9%5D%2C")), 10);
    assert_eq!(count(&found(&monitor, "min_seconds=1")), 0);
    let page = found(&monitor, "limit=400&status=200");
    assert_eq!((count(&page), &page["complete"]), (400, &serde_json::json!(false)));
    let next = crate::common::encode(&page["next"].to_string());
    assert_eq!(count(&found(&monitor, &format!("limit=5000&status=200&from={next}"))), 500);
    for wrong in ["regex=%28", "limit=0", "status=x", "log=none"] {
        let (status, _, body) = monitor.get(&format!("/api/bastide/v1/logs?{wrong}"));
        assert!(status == 400 || status == 404, "{wrong}: {status}");
        assert!(String::from_utf8_lossy(&body).contains("\"status\":\"error\""), "{wrong}");
    }
    monitor.stop();
}
