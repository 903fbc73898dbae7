//! What is wrong is said with its cause and its remedy, and what runs goes on.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Output;
use testkit::site::Site;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A site of two lines: no database, no web server.
fn small(site: &Site, more: &str) {
    std::fs::create_dir_all(site.path("public")).expect("a folder");
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>small</title>");
    site.write(
        "bastide.toml",
        &format!(
            "[site]\nname = \"small\"\nlisten = {{ https = \"127.0.0.1:0\", http = [] }}\n\n[monitor]\nlisten = \"127.0.0.1:0\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n{more}"
        ),
    );
}

#[test]
fn wrong_usage_is_64_and_a_missing_file_is_said() {
    let site = Site::empty();
    assert_eq!(site.run(&["no-such-command"]).status.code(), Some(64));
    assert_eq!(site.run(&["up", "--no-such-option"]).status.code(), Some(64));
    let output = site.run(&["check", "nothing.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("nothing.toml") && said(&output).contains("hint:"), "{}", said(&output));
}

#[test]
fn all_errors_of_a_file_are_reported_at_once() {
    let site = Site::empty();
    site.write("bastide.toml", "[site]\ndomain = [\"localhost\"]\n\n[pool.app]\nrun = \"./shop\"\ninstanses = 2\n\n[[route]]\npath = \"api\"\npool = \"ap\"\n");
    let output = site.run(&["check"]);
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    for expected in [
        "bastide.toml:2:",
        "domains",
        "bastide.toml:6:",
        "instances",
        "bastide.toml:9:",
        "bastide.toml:10:",
        "^",
    ] {
        assert!(said.contains(expected), "`{expected}` is not in\n{said}");
    }
    let json: serde_json::Value =
        serde_json::from_slice(&site.run(&["check", "--json"]).stdout).expect("JSON");
    assert_eq!(json["ok"], false);
    assert!(json["diagnostics"].as_array().is_some_and(|list| list.len() >= 4), "{json}");
}

#[test]
fn a_port_that_is_taken_is_named_and_nothing_is_left_behind() {
    let site = Site::empty();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("its address");
    small(&site, "");
    site.edit(|text| text.replacen("https = \"127.0.0.1:0\"", &format!("https = \"{address}\""), 1));
    let output = site.run(&["up", "--detach"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("hint:"), "{said}");
    drop(taken);
    site.up();
    assert_eq!(site.status()["ready"], true);
}

#[test]
fn a_missing_program_is_named_before_anything_starts() {
    let site = Site::empty();
    small(&site, "\n[pool.app]\nrun = \"./missing --port $PORT\"\n");
    let output = site.run(&["up", "--detach"]);
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("missing") && said.contains("does not exist") && said.contains("hint:"), "{said}");
    assert!(!site.run_dir().join("supervisor.sock").exists());
}

#[test]
fn what_later_versions_bring_is_refused_clearly() {
    let site = Site::empty();
    small(&site, "");
    site.edit(|text| {
        text.replacen("name = \"small\"", "name = \"small\"\ntls = { acme = \"ops@shop.example\" }", 1)
    });
    let output = site.run(&["up", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("acme") && said(&output).contains("hint:"), "{}", said(&output));

    small(
        &site,
        "\n[machine.a]\naddress = \"10.0.0.2\"\nruns = [\"edge\", \"monitor\"]\n\n[machine.b]\naddress = \"10.0.0.3\"\nruns = [\"edge\"]\n",
    );
    assert!(site.run(&["check"]).status.success(), "{}", said(&site.run(&["check"])));
    let output = site.run(&["up", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("2 machines"), "{}", said(&output));
}

#[test]
fn a_second_up_of_a_running_site_says_so() {
    let site = Site::empty();
    small(&site, "");
    site.up();
    let output = site.run(&["up", "--detach"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("is up already") && said(&output).contains("bastide reload"),
        "{}",
        said(&output)
    );
    assert_eq!(site.status()["ready"], true);
}

#[test]
fn ctrl_c_drains_stops_everything_and_a_second_one_stops_at_once() {
    let site = Site::empty();
    small(&site, "");
    let mut up = site.up_in_foreground();
    testkit::site::eventually("ready", std::time::Duration::from_secs(60), || {
        (site.status()["ready"] == true).then_some(())
    });
    let pid = rustix::process::Pid::from_raw(up.id() as i32).expect("a pid");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("interrupted");
    let rest: Vec<String> = said.map_while(Result::ok).collect();
    let status = up.wait().expect("it ends");
    assert!(status.success(), "{status:?} {rest:?}");
    assert!(!site.run_dir().join("supervisor.sock").exists());
}
