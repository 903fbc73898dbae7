//! Every command of the command line against a site that runs: data on standard
//! output, JSON where it is asked for, errors with a remedy, exit codes that mean
//! something.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Output, Stdio};
use std::time::Duration;
use testkit::site::{Site, eventually};

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command that must succeed prints, as JSON.
fn json(site: &Site, args: &[&str]) -> Value {
    let text = site.ok(&[args, &["--json"]].concat());
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{args:?}: {e}\n{text}"))
}

/// A command that must fail with `code`, saying each of `expected` on standard error.
fn fails(site: &Site, args: &[&str], code: i32, expected: &[&str]) {
    let output = site.run(args);
    let said = err(&output);
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{}\n{said}", out(&output));
    for part in expected {
        assert!(said.contains(part), "{args:?}: `{part}` is not in\n{said}");
    }
}

fn contains(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn help_lists_what_there_is_and_nothing_else() {
    let site = Site::empty();
    let help = site.ok(&["--help"]);
    let listed: Vec<&str> = help
        .lines()
        .filter(|line| line.starts_with("  ") && !line.trim_start().starts_with('-'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let expected = [
        "init",
        "check",
        "plan",
        "up",
        "reload",
        "down",
        "status",
        "top",
        "logs",
        "query",
        "alerts",
        "grow",
        "silence",
        "explain",
        "doctor",
        "ban",
        "unban",
        "bans",
        "firewall",
        "waf",
        "database",
        "cert",
        "schema",
        "completions",
        "run",
    ];
    assert_eq!(listed, expected, "{help}");
    assert!(help.lines().all(|line| line.chars().count() <= 100), "{help}");
    for command in expected {
        let help = site.ok(&[command, "--help"]);
        contains(&help, &["Usage: bastide", "--json"]);
    }
    for shell in ["bash", "zsh", "fish"] {
        let script = site.ok(&["completions", shell]);
        assert!(script.contains("firewall") && !script.contains("supervisor"), "{shell}");
    }
}

#[test]
fn wrong_usage_is_64() {
    let site = Site::empty();
    for args in [
        &["ban", "nonsense"][..],
        &["ban", "10.0.0.1", "--for", "soon"],
        &["waf", "explain"],
        &["waf", "allow", "short"],
        &["waf", "events", "--by", "colour"],
        &["logs", "edge", "--access"],
        &["query"],
        &["completions", "no-shell"],
        &["init", "--template", "no-such"],
        &["firewall"],
    ] {
        fails(&site, args, 64, &[]);
    }
}

#[test]
fn a_site_begins_with_init() {
    let site = Site::empty();
    for template in ["static", "app", "app-database"] {
        site.ok(&["init", template, "--template", template]);
        fails(&site, &["init", template], 1, &["exists already", "hint:"]);
    }
    // What `init` writes for files is a site that can be brought up.
    site.ok(&["check", "static/bastide.toml"]);
    let schema: Value = serde_json::from_str(&site.ok(&["schema"])).expect("JSON");
    assert!(schema["properties"]["pool"].is_object());
}

#[test]
fn without_a_site_commands_say_what_to_do() {
    let site = Site::empty();
    for args in [
        &["status"][..],
        &["top", "--once"],
        &["bans"],
        &["alerts"],
        &["query", "up"],
        &["logs"],
        &["cert", "show"],
    ] {
        fails(&site, args, 1, &["error:", "hint:"]);
    }
    site.write("bastide.toml", "[site]\nname = \"small\"\n\n[[route]]\npath = \"/*\"\nfiles = \".\"\n");
    for args in [
        &["status"][..],
        &["ban", "203.0.113.9"],
        &["query", "up"],
        &["logs"],
        &["cert", "export"],
        &["database", "status"],
        &["database", "url"],
        &["firewall", "status"],
        &["waf", "check"],
    ] {
        fails(&site, args, 1, &["error:", "hint:"]);
    }
    // These need no site that runs.
    contains(&site.ok(&["explain", "pool.instances"]), &["How many processes"]);
    contains(&site.ok(&["explain", "bastide_edge_requests_total"]), &["counter", "Requests answered"]);
    contains(&site.ok(&["database", "explain", "select 1"]), &["replica"]);
    fails(&site, &["explain", "no-such-thing"], 1, &["no-such-thing", "hint:"]);
}

#[test]
fn the_firewall_of_any_machine_is_shown() {
    let site = Site::empty();
    site.write(
        "bastide.toml",
        "[site]\ndomains = [\"shop.example\"]\nlisten = { https = \"0.0.0.0:443\", http = \"0.0.0.0:80\" }\n\n[pool.app]\nrun = \"./shop\"\n\n[[route]]\npath = \"/*\"\npool = \"app\"\n\n[firewall]\nallow = [\"22/tcp from 203.0.113.0/24\"]\n\n[machine.edge-1]\naddress = \"10.0.0.2\"\nruns = [\"edge\", \"monitor\"]\n\n[machine.web-1]\naddress = \"10.0.0.3\"\nruns = [\"app\"]\n",
    );
    let both = site.ok(&["firewall", "show"]);
    contains(&both, &["machine edge-1", "machine web-1", "22/tcp", "203.0.113.0/24", "everything else"]);
    let edge = site.ok(&["firewall", "show", "--machine", "edge-1", "--nft"]);
    contains(&edge, &["table inet bastide", "443"]);
    assert_eq!(edge.matches("table inet bastide").count(), 1, "{edge}");
    let web = json(&site, &["firewall", "show", "--machine", "web-1"]);
    let rows = web["machines"][0]["rows"].as_array().expect("rows");
    assert!(rows.iter().any(|r| r["what"] != "no ban" && r["from"] == "10.0.0.2/32"), "{web:#}");
    fails(&site, &["firewall", "show", "--machine", "nobody"], 1, &["nobody", "edge-1, web-1"]);
    fails(&site, &["up", "--detach"], 1, &["2 machines"]);
}

#[test]
fn every_command_answers_about_a_site_that_runs() {
    // With its own rules, whatever is installed here.
    let site =
        Site::shop(|text| text.replacen("mode   = \"block\"", "mode   = \"block\"\ncrs    = false", 1));
    site.up();
    for _ in 0..5 {
        site.get("/");
    }
    let blocked = site.curl(&[], "/search?q=%3Cscript%3Ealert(1)%3C/script%3E");
    let page = out(&blocked);
    let id =
        page.split("<code>").nth(1).and_then(|rest| rest.get(..20)).expect("an id on the page").to_owned();

    // How it fares.
    contains(&site.ok(&["status"]), &["ready", "clients", "firewall", "edge", "app/1", "main/2", "monitor"]);
    contains(&site.ok(&["top", "--once"]), &["requests/s", "app/1", "main/0", "GET /"]);
    assert_eq!(json(&site, &["top"])["ready"], true);
    eventually("the monitor has a number", Duration::from_secs(30), || {
        let found = json(&site, &["query", "site:qps"]);
        found["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    });
    contains(&site.ok(&["query", "site:qps", "--range", "1m"]), &["site:qps", "max"]);
    assert_eq!(site.ok(&["query", "1 + 1"]).trim(), "2");
    fails(&site, &["query", "sum("], 1, &["refused"]);
    contains(&site.ok(&["alerts", "--all"]), &["server-down", "certificate-expiring"]);
    assert!(json(&site, &["alerts"])["alerts"].is_array());
    let doctor = json(&site, &["doctor"]);
    let failed: Vec<&Value> =
        doctor["checks"].as_array().into_iter().flatten().filter(|c| c["state"] == "fail").collect();
    assert!(failed.is_empty() && doctor["ok"] == true, "{failed:#?}");

    // Logs.
    contains(&site.ok(&["logs", "database.main/0"]), &["database system is ready"]);
    contains(&site.ok(&["logs", "app", "-n", "5"]), &["app-1", "app-2", "listening"]);
    fails(&site, &["logs", "nobody"], 1, &["nobody", "app-1"]);
    eventually("the access log has the refused request", Duration::from_secs(5), || {
        let lines = site.ok(&["logs", "--access", "--lines", "1"]);
        (lines.contains("403") && lines.contains("/search")).then_some(())
    });
    let events = site.ok(&["logs", "--events", "--json", "-n", "1000"]);
    assert!(events.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{events}");
    contains(&events, &["waf_match", "\"process\":\"app/1\""]);

    // The WAF.
    let explained = site.ok(&["waf", "explain", &id]);
    contains(&explained, &["blocked", "rule", "ARGS:q", "matched", "if wrong", "arg = \"q\"", ".conf:"]);
    contains(&site.ok(&["explain", &id.to_lowercase()]), &["blocked", "ARGS:q"]);
    contains(&site.ok(&["waf", "events"]), &[&id]);
    contains(&site.ok(&["waf", "events", "--by", "path"]), &["/search", "blocked"]);
    assert_eq!(json(&site, &["waf", "events", "--by", "client"])[0]["blocked"], 1);
    assert!(json(&site, &["waf", "check"])["rules"].as_u64().is_some_and(|n| n >= 30));
    fails(&site, &["waf", "explain", "06H0ERDX5D74DVRSFFEZ"], 1, &["no WAF event", "hint:"]);

    // Bans.
    let ban = json(&site, &["ban", "203.0.113.9", "--for", "10m", "--why", "a test"]);
    assert_eq!((&ban["ban"]["net"], &ban["enforced"]), (&"203.0.113.9/32".into(), &true.into()));
    contains(&site.ok(&["bans"]), &["203.0.113.9", "a test"]);
    site.ok(&["unban", "203.0.113.9"]);
    fails(&site, &["unban", "203.0.113.9"], 1, &["not banned"]);
    assert_eq!(json(&site, &["bans"]), Value::Array(Vec::new()));

    // The database.
    contains(&site.ok(&["database", "status"]), &["main/0", "primary", "writes", "main/1", "replica"]);
    let url = site.ok(&["database", "url", "main"]);
    assert!(url.starts_with("postgres://main:") && url.trim().ends_with("/main"), "{url}");
    fails(&site, &["database", "url", "other"], 1, &["other", "main"]);
    contains(&site.ok(&["database", "psql", "--", "-At", "-c", "select 40 + 2"]), &["42"]);
    contains(&site.ok(&["database", "explain", "update t set a = 1"]), &["primary", "now: main/0"]);

    // Certificates and firewall.
    contains(&site.ok(&["cert", "show"]), &["localhost", "ends", "internal authority"]);
    let root = std::fs::read_to_string(site.root_pem()).expect("the root");
    assert_eq!(site.ok(&["cert", "export"]).trim(), root.trim());
    site.ok(&["cert", "export", "root.pem"]);
    assert_eq!(std::fs::read_to_string(site.path("root.pem")).expect("the export"), root);
    assert_eq!(json(&site, &["firewall", "status"])["applied"], false);
    fails(&site, &["firewall", "confirm"], 1, &["apply = true"]);

    // Names.
    contains(&site.ok(&["explain", "app/1"]), &["web server app/1", "process app/1", "started"]);
    contains(&site.ok(&["explain", "main/1"]), &["database member", "replica"]);
    contains(&site.ok(&["explain", "server-down"]), &["alert", "bastide_edge_server_up"]);
    contains(&site.ok(&["explain", "site:qps"]), &["recorded", "rate("]);
}

#[test]
fn followed_logs_give_what_comes() {
    let site = Site::empty();
    std::fs::create_dir_all(site.path("public")).expect("a folder");
    site.write("public/index.html", "<!doctype html><title>small</title>");
    site.write(
        "bastide.toml",
        "[site]\nname = \"small\"\nlisten = { https = \"127.0.0.1:0\", http = [] }\n\n[monitor]\nlisten = \"127.0.0.1:0\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n",
    );
    site.up();
    site.get("/?first");
    let mut child = site
        .command(&["logs", "--access", "--follow", "--lines", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("bastide runs");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    // It may still be starting: requests come until one is seen.
    let seen = std::thread::scope(|scope| {
        let reader = scope.spawn(move || lines.next().and_then(Result::ok));
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while !reader.is_finished() && std::time::Instant::now() < end {
            site.get("/index.html");
            std::thread::sleep(Duration::from_millis(100));
        }
        if !reader.is_finished() {
            let _ = child.kill();
        }
        reader.join().expect("the reader")
    });
    let line: Value = serde_json::from_str(&seen.expect("a line")).expect("JSON");
    assert_eq!(line["path"], "/index.html");
    let _ = child.kill();
    let _ = child.wait();
}
