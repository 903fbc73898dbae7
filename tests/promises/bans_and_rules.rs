//! The WAF on a site that runs: who attacks again and again is kept out; rules
//! change without a pause; what a change does is told before.

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use testkit::load::Load;
use testkit::site::{Site, eventually, repository};

const SITE: &str = "[site]\nname = \"walls\"\nlisten = { https = \"127.0.0.1:0\", http = [] }\n\n\
    [monitor]\nlisten = \"127.0.0.1:0\"\nscrape_interval = \"1s\"\n\n[[route]]\npath = \"/*\"\nfiles = \"./public\"\n\n";

fn site(waf: &str) -> Site {
    let site = Site::empty();
    site.write("public/index.html", "<!doctype html><html lang=\"en\"><title>walls</title>");
    site.write("bastide.toml", &format!("{SITE}[waf]\n{waf}"));
    site
}

/// A copy of the Core Rule Set: beside the repository, or installed.
fn core_rules() -> Option<PathBuf> {
    let beside = repository().join("../shared/testdata/crs/rules");
    let found = [beside, PathBuf::from("/usr/share/modsecurity-crs")].into_iter().find(|path| path.is_dir());
    found.map(|path| path.canonicalize().expect("a path"))
}

fn status(site: &Site, path: &str) -> String {
    let answer = site.curl(&["--output", "/dev/null", "--write-out", "%{http_code}"], path);
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

fn json(site: &Site, args: &[&str]) -> Value {
    serde_json::from_str(&site.ok(args)).expect("JSON")
}

#[test]
fn who_attacks_again_and_again_is_kept_out_until_let_back() {
    let site = site(
        "mode = \"block\"\nrules = [\"waf/*.conf\"]\nban = { events = 3, window = \"5m\", time = \"10m\" }\n",
    );
    site.write(
        "waf/a.conf",
        "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,severity:CRITICAL,msg:'attack'\"\n",
    );
    site.up();
    for _ in 0..3 {
        assert_eq!(status(&site, "/"), "200");
        assert_eq!(status(&site, "/?q=attack"), "403");
    }
    // At once, by the edge; and soon by control, which remembers.
    assert_ne!(status(&site, "/"), "200");
    let bans = eventually("control has the ban", Duration::from_secs(10), || {
        let bans = json(&site, &["bans", "--json"]);
        bans.to_string().contains("127.0.0.1/32").then_some(bans)
    });
    assert!(bans.to_string().contains("3 WAF events of score 5 or more within 5m"), "{bans}");
    // An edge that is started again is told.
    let edge = site.pid("edge");
    site.kill(edge);
    eventually("the edge is there again", Duration::from_secs(20), || {
        (site.pid("edge") != edge).then_some(())
    });
    eventually("it knows the ban", Duration::from_secs(20), || (status(&site, "/") != "200").then_some(()));
    site.ok(&["unban", "127.0.0.1"]);
    eventually("the client is let back", Duration::from_secs(20), || {
        (status(&site, "/") == "200").then_some(())
    });
    let events = site.ok(&["logs", "--events", "--json", "-n", "1000"]);
    let told: Vec<Value> = events
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line of JSON"))
        .filter(|event: &Value| event["event"] == "ban")
        .collect();
    let what: Vec<&str> = told.iter().filter_map(|event| event["what"].as_str()).collect();
    assert_eq!(what, ["ban", "unban"], "{told:?}");
}

#[test]
fn an_address_of_the_allow_list_is_never_banned() {
    let site = site("mode = \"block\"\nrules = [\"waf/*.conf\"]\nban = { events = 2 }\n");
    site.write(
        "waf/a.conf",
        "SecRule ARGS \"@contains attack\" \"id:1,phase:2,deny,severity:CRITICAL,msg:'attack'\"\n",
    );
    site.edit(|text| format!("{text}\n[firewall]\nallow = [\"22/tcp from 127.0.0.0/8\"]\n"));
    site.up();
    for _ in 0..5 {
        assert_eq!(status(&site, "/?q=attack"), "403");
        assert_eq!(status(&site, "/"), "200");
    }
    assert!(!site.ok(&["bans", "--json"]).contains("127.0.0.1"));
}

/// The Core Rule Set changes its level under load: nothing waits, nothing is lost, and
/// the plan says what changes.
#[test]
fn the_core_rule_set_changes_under_load_without_a_pause() {
    let Some(rules) = core_rules() else {
        println!("not tried: there is no copy of the Core Rule Set");
        return;
    };
    let waf = format!("mode = \"block\"\ncrs = \"{}\"\n", rules.display());
    let site = site(&waf);
    site.up();
    let load = Load::start(&site.url(), &site.root_pem(), "/", 4, Duration::from_millis(5));
    let attack = "/?q=1%27+UNION+SELECT+password+FROM+users--";
    assert_eq!(status(&site, attack), "403");
    for (keys, expected) in [
        ("paranoia = 2\ninbound_threshold = 1000\n", "paranoia none → 2"),
        ("paranoia = 1\n", "paranoia 2 → 1"),
    ] {
        site.write("bastide.toml", &format!("{SITE}[waf]\n{waf}{keys}"));
        let plan = site.ok(&["plan"]);
        assert!(plan.contains(expected), "{plan}");
        assert!(!plan.contains("Core Rule Set"), "the rules themselves do not change: {plan}");
        site.ok(&["reload"]);
        let blocked = if keys.contains("1000") { "200" } else { "403" };
        assert_eq!(status(&site, attack), blocked, "{keys}");
    }
    let outcome = load.stop();
    assert!(outcome.ok() > 50 && outcome.is_perfect(), "{outcome:?}");
}
