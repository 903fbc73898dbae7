//! A full disk is said, with its remedy, and what runs goes on.

use crate::alerts::webhook;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testkit::load::Load;
use testkit::site::{Site, eventually};

/// A small file system of its own at a path; gone when dropped.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(path: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(path).expect("the folder");
        let options = format!("size={size},mode=0755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: what a failed test left running may still be in it.
        let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_changes_and_leaves_what_runs() {
    let site = Site::empty();
    let state = site.path("state");
    let Some(_disk) = SmallDisk::mount(&state, "48m") else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>small</title>");
    site.write(
        "bastide.toml",
        "[site]\nname = \"small\"\nlisten = { https = \"127.0.0.1:0\", http = [] }\n\n[monitor]\nlisten = \"127.0.0.1:0\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n",
    );
    site.up();
    let revision = site.status()["revision"].clone();

    let ballast = state.join("ballast");
    fill(&ballast);
    assert!(site.get("/").contains("small"), "the site is served");
    site.edit(|text| {
        format!("{text}\n[[route]]\npath = \"/new\"\nredirect = \"/\"\n")
            .replace("path = \"/*\"", "path = \"/x*\"")
    });
    let output = site.run(&["reload"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("disk") || said.contains("No space left"), "{said}");
    assert!(site.get("/").contains("small"), "what runs is as it was");
    assert_eq!(site.status()["revision"], revision);

    std::fs::remove_file(&ballast).expect("room again");
    site.ok(&["reload"]);
    assert_ne!(site.status()["revision"], revision);
    site.down();
}

/// Takes all that is left, to the last byte.
fn fill(ballast: &Path) {
    let mut file = std::fs::File::create(ballast).expect("a file");
    while file.write_all(&[7; 65_536]).is_ok() {}
    while file.write_all(&[7; 64]).is_ok() {}
}

#[test]
fn a_full_disk_costs_no_request_and_silences_no_alert() {
    let site = Site::empty();
    let state = site.path("state");
    let Some(_disk) = SmallDisk::mount(&state, "48m") else {
        println!("skipped: mounting a small file system needs root");
        return;
    };
    let (url, received) = webhook();
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>small</title>");
    // What fires is true only once the disk is full: it is judged by samples that the disk does not take.
    site.write(
        "bastide.toml",
        &format!(
            "[site]\nname = \"small\"\nlisten = {{ https = \"127.0.0.1:0\", http = [] }}\n\n[monitor]\nlisten = \"127.0.0.1:0\"\nscrape_interval = \"1s\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n\n[receiver.ops]\nwebhook = \"{url}\"\n\n[alert.missing]\nexpr = \"sum(bastide_edge_requests_total{{code=\\\"404\\\"}}) > 0\"\nsummary = \"something is asked for that is not there\"\n"
        ),
    );
    site.up();
    let told = |alert: &str, status: &str| {
        eventually(&format!("the webhook is told: {alert} {status}"), Duration::from_secs(45), || {
            let body = received.recv_timeout(Duration::from_millis(100)).ok()?;
            let alerts = body["alerts"].as_array()?.clone();
            alerts.into_iter().find(|a| a["labels"]["alertname"] == alert && a["status"] == status)
        })
    };
    let load = Load::start(&site.url(), &site.root_pem(), "/", 4, Duration::from_millis(2));
    let counted = "sum(bastide_edge_requests_total{code=\"200\"})";
    eventually("requests are counted", Duration::from_secs(30), || {
        site.value(counted).filter(|n| *n > 100.0)
    });
    let samples = "sum(count_over_time(bastide_edge_requests_total{code=\"200\"}[10m]))";
    let before = site.value(samples).expect("samples");

    let ballast = state.join("ballast");
    fill(&ballast);
    told("samples-lost", "firing");
    let missing = site.curl(&["--output", "/dev/null", "--write-out", "%{http_code}"], "/missing");
    assert_eq!(missing.stdout, b"404");
    told("missing", "firing");
    assert!(site.ok(&["alerts"]).contains("samples-lost"));
    assert!(site.value(samples).is_some_and(|now| now >= before), "what is there can be asked for");
    assert!(load.so_far().is_perfect(), "{:?}", load.so_far());

    std::fs::remove_file(&ballast).expect("room again");
    let seen = site.value(samples).expect("samples");
    eventually("samples are stored again", Duration::from_secs(30), || {
        site.value(samples).filter(|now| *now >= seen + 3.0)
    });
    let outcome = load.stop();
    assert!(outcome.is_perfect() && outcome.ok() > 1_000, "{outcome:?}");
    site.down();
}
