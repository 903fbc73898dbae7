//! A ready-made alert fires to a webhook and resolves. (That each of them fires
//! and resolves is proved on made-up series in the monitor's own tests.)

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use testkit::site::{Site, eventually};

/// Answers every POST with 200 and passes its JSON on.
pub(crate) fn webhook() -> (String, Receiver<Value>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/alerts", listener.local_addr().expect("its address"));
    let (bodies, received) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(&stream);
            let mut length = 0;
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) <= 2 {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap_or(0);
                }
            }
            let mut body = vec![0; length];
            if reader.read_exact(&mut body).is_ok()
                && let Ok(value) = serde_json::from_slice(&body)
                && bodies.send(value).is_err()
            {
                return;
            }
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (url, received)
}

#[test]
fn a_web_server_that_hangs_fires_server_down_to_a_webhook_and_resolves() {
    let (url, received) = webhook();
    let site = Site::shop(|text| {
        format!("{text}\n[receiver.ops]\nwebhook = \"{url}\"\n\n[alert.server-down]\nfor = \"2s\"\n")
    });
    site.up();
    let told = |state: &str| {
        eventually(&format!("the webhook is told: {state}"), Duration::from_secs(60), || {
            let body = received.recv_timeout(Duration::from_millis(100)).ok()?;
            let alerts = body["alerts"].as_array()?.clone();
            let ours = alerts.into_iter().find(|a| {
                a["labels"]["alertname"] == "server-down"
                    && a["labels"]["server"] == "app/1"
                    && a["status"] == state
            });
            ours.map(|alert| (body, alert))
        })
    };
    let pid = rustix::process::Pid::from_raw(site.pid("app/1")).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).expect("stopped");
    let (body, alert) = told("firing");
    assert_eq!(body["version"], "4");
    assert_eq!(body["receiver"], "ops");
    assert!(alert["annotations"]["summary"].as_str().is_some_and(|s| s.contains("app/1")), "{alert}");
    assert!(site.ok(&["alerts"]).contains("server-down"));
    // The other web server carries on meanwhile.
    assert!(site.get("/").contains("<html"));
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).expect("continued");
    let (_, alert) = told("resolved");
    assert!(alert["endsAt"].as_str().is_some_and(|at| !at.starts_with("0001")), "{alert}");
}
