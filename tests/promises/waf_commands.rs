//! What the WAF does to a running site, as its operator works with it: detect, look,
//! learn, allow, block; and rules that are tested from outside.

use serde_json::Value;
use std::time::Duration;
use testkit::customer::Customer;
use testkit::site::{Site, eventually, repository};

/// Rules that count as the Core Rule Set does, so that the same holds where none is
/// installed: three kinds of attack, and the sum.
const RULES: &str = r#"
SecAction "id:1001,phase:1,pass,nolog,setvar:tx.blocking_inbound_anomaly_score=0"
SecRule ARGS "@rx (?i)\bselect\b" "id:942001,phase:2,pass,t:none,t:urlDecodeUni,t:lowercase,msg:'SQL',severity:CRITICAL,\
    tag:OWASP_CRS,tag:attack-sqli,setvar:tx.blocking_inbound_anomaly_score=+5"
SecRule ARGS "@contains <script" "id:941001,phase:2,pass,t:none,t:lowercase,msg:'XSS',severity:CRITICAL,\
    tag:OWASP_CRS,tag:attack-xss,setvar:tx.blocking_inbound_anomaly_score=+5"
SecRule ARGS "@contains ../" "id:930001,phase:2,pass,t:none,msg:'LFI',severity:CRITICAL,\
    tag:OWASP_CRS,tag:attack-lfi,setvar:tx.blocking_inbound_anomaly_score=+5"
SecRule TX:blocking_inbound_anomaly_score "@ge 5" "id:949110,phase:2,deny,status:403,\
    msg:'Inbound Anomaly Score Exceeded (Total Score: %{TX.blocking_inbound_anomaly_score})',tag:OWASP_CRS"
"#;

const FILE: &str = r#"# ours
[site]
name   = "small"
listen = { https = "127.0.0.1:0", http = [] }

[monitor]
listen = "127.0.0.1:0"

[[route]]
path  = "/*"
files = "./public"

[waf]
mode    = "detect"        # until it is tuned
crs     = false
rules   = ["./rules.conf"]
capture = { every = 1 }
"#;

/// A case: its number, what it asks for, what must follow.
fn case(number: u32, target: &str, expected: &str) -> String {
    format!(
        "  - test_id: {number}\n    stages:\n      - input:\n          dest_addr: 127.0.0.1\n          \
         headers: {{ Host: localhost, User-Agent: tests, Accept: \"*/*\" }}\n          uri: \"{target}\"\n        \
         output: {{ log: {{ {expected} }} }}\n"
    )
}

fn small() -> Site {
    let site = Site::empty();
    site.write("public/index.html", "<!doctype html><title>small</title>");
    site.write("rules.conf", RULES);
    site.write("bastide.toml", FILE);
    let cases = [
        case(1, "/?q=select%20a%20colour", "expect_ids: [942001]"),
        case(2, "/?q=selection", "no_expect_ids: [942001]"),
        case(3, "/?q=lamp", "expect_ids: [942001]"),
    ];
    site.write("cases/942001.yaml", &format!("---\nrule_id: 942001\ntests:\n{}", cases.concat()));
    site
}

fn json(site: &Site, args: &[&str]) -> Value {
    let output = site.run(&[args, &["--json"]].concat());
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}\n{out}{err}"))
}

fn status(site: &Site, path: &str, from: &str) -> String {
    let answer = site.curl(
        &["--path-as-is", "--output", "/dev/null", "--write-out", "%{http_code}", "--interface", from],
        path,
    );
    String::from_utf8_lossy(&answer.stdout).into_owned()
}

#[test]
fn from_detect_to_block_without_refusing_an_honest_request() {
    let site = small();
    site.up();
    // Customers, and somebody who tries what gets through.
    let honest = "/?q=select%20a%20colour";
    for _ in 0..3 {
        assert_eq!(status(&site, honest, "127.0.0.1"), "200");
    }
    for attack in ["/?q=1%20union%20select%201", "/?x=%3Cscript%3E", "/?x=../../etc/hosts"] {
        assert_eq!(status(&site, attack, "127.9.9.9"), "200", "nothing is refused in detect mode");
    }
    for source in ["events", "capture"] {
        let learnt = eventually("all six requests are written down", Duration::from_secs(10), || {
            let output = site.run(&["waf", "learn", "--from", source, "--json"]);
            let learnt: Value = serde_json::from_slice(&output.stdout).ok()?;
            (learnt["requests"] == 6).then_some(learnt)
        });
        assert_eq!(learnt["refused"], 6, "{learnt:#}");
        let proposals = learnt["proposals"].as_array().expect("a list");
        assert_eq!(proposals.len(), 1, "{learnt:#}");
        assert_eq!(proposals[0]["exclude"], serde_json::json!({ "rule": 942_001, "path": "/", "arg": "q" }));
        assert_eq!((&proposals[0]["requests"], &proposals[0]["attacks"]), (&3.into(), &1.into()));
        assert!(learnt["not_proposed"].as_array().is_some_and(|list| list.len() >= 3), "{learnt:#}");
        assert_eq!(learnt["written"], false);
    }
    let file = || std::fs::read_to_string(site.path("bastide.toml")).expect("the file");
    assert_eq!(file(), FILE, "only `--apply` writes");

    site.ok(&["waf", "learn", "--apply"]);
    assert!(file().starts_with(FILE.trim_end()), "comments and form stay:\n{}", file());
    assert!(file().contains("exclude = [{ rule = 942001, path = \"/\", arg = \"q\" }]"), "{}", file());
    site.edit(|text| text.replace("\"detect\"", "\"block\""));
    site.ok(&["reload"]);
    assert_eq!(status(&site, honest, "127.0.0.1"), "200");
    assert_eq!(status(&site, "/?x=%3Cscript%3E", "127.9.9.9"), "403");
    assert_eq!(status(&site, "/?other=select%201", "127.9.9.9"), "403", "another argument is not let pass");
}

#[test]
fn a_request_is_explained_before_anybody_sends_it() {
    let site = small();
    let told = site.ok(&["waf", "explain", "GET /?q=SELECT a colour"]);
    let parts =
        ["refused with 403 by rule 949110", "5 = 5 (942001 critical)", "lowercase", "select", "arg = \"q\""];
    for part in parts {
        assert!(told.contains(part), "no `{part}` in\n{told}");
    }
    let raw =
        "POST /x HTTP/1.1\nHost: localhost\nContent-Type: application/json\n\n{\"a\":{\"b\":\"<script>\"}}\n";
    site.write("request.http", raw);
    let told = json(&site, &["waf", "explain", "request.http"]);
    assert_eq!(told["verdict"]["action"], "deny", "{told:#}");
    assert_eq!(told["matches"][0]["variable"], "ARGS:json.a.b", "{told:#}");
    let passes = json(&site, &["waf", "explain", "/?q=lamp"]);
    assert_eq!((&passes["verdict"]["action"], &passes["mode"]), (&"pass".into(), &"detect".into()));
    let unclear = site.run(&["waf", "explain", "nonsense"]);
    assert!(String::from_utf8_lossy(&unclear.stderr).contains("hint:"));
}

#[test]
fn one_match_is_allowed_by_its_event_and_takes_effect_at_once() {
    let site = small();
    site.edit(|text| text.replace("\"detect\"", "\"block\""));
    site.up();
    assert_eq!(status(&site, "/?q=select", "127.0.0.1"), "403");
    let event = eventually("the event is in the log", Duration::from_secs(10), || {
        json(&site, &["waf", "events"])[0]["id"].as_str().map(str::to_owned)
    });
    let asked = site.run(&["waf", "allow", &event]);
    assert_eq!(asked.status.code(), Some(1), "nobody answers, so nothing is written");
    assert!(String::from_utf8_lossy(&asked.stdout).contains("+exclude"), "{asked:?}");
    site.ok(&["waf", "allow", &event, "--yes", "--reload"]);
    assert_eq!(status(&site, "/?q=select", "127.0.0.1"), "200");
    let again = json(&site, &["waf", "allow", &event]);
    assert_eq!(again["added"], Value::Array(Vec::new()), "it is there already");
}

#[test]
fn go_ftw_cases_are_judged_at_the_running_site() {
    let site = small();
    site.up();
    let output = site.run(&["waf", "test", "cases"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.ends_with("2 passed, 1 failed\n"), "{said}");
    assert!(said.contains("942001-3"), "{said}");
    let missing = site.run(&["waf", "test", "none"]);
    assert!(String::from_utf8_lossy(&missing.stderr).contains("cannot read `none`"));
}

#[test]
fn the_shop_s_own_rules_stand_back_where_there_is_a_core_rule_set() {
    let copy = repository().join("../shared/testdata/crs/rules");
    let Ok(copy) = copy.canonicalize() else {
        return skipped("there is no copy of the Core Rule Set beside the repository");
    };
    let crs = format!("[waf]\ncrs = \"{}\"\n#", copy.display());
    let site = Site::shop(|text| text.replacen("[waf]", &crs, 1));
    site.up();
    let ada = Customer::new(&site, "ada");
    let order = ada.buy(32);
    assert!(ada.get(&order).contains("Desk lamp"));
    for benign in ["/search?q=O%27Brien", "/search?q=select%20a%20colour", "/search?q=rock%20%26%20roll"] {
        assert_eq!(ada.request(benign, &[]).status, 200, "{benign}");
    }
    let mallory = Customer::new(&site, "mallory");
    for attack in
        ["/search?q=1%27%20UNION%20SELECT%20password%20FROM%20users--", "/search?q=%3Cscript%3Ealert(1)"]
    {
        assert_eq!(mallory.request(attack, &[]).status, 403, "{attack}");
    }
    let rules = eventually("both are in the log", Duration::from_secs(10), || {
        let rules = json(&site, &["waf", "events", "--by", "rule"]);
        let of = |first: u64, last: u64| {
            let all = rules.as_array().into_iter().flatten().filter_map(|row| row["rule"].as_u64());
            all.filter(|id| (first..=last).contains(id)).count()
        };
        (of(942_000, 942_999) > 0 && of(941_000, 941_999) > 0).then(|| (of(100_000, 199_999), rules.clone()))
    });
    assert_eq!(rules.0, 0, "an attack is told of twice: {:#}", rules.1);
    let honest = json(&site, &["waf", "events"]);
    let events = honest.as_array().map_or(0, Vec::len);
    assert_eq!(events, 2, "no honest request is even noticed: {honest:#}");
}

#[allow(clippy::print_stdout, reason = "who runs the tests must see what was not tested")]
fn skipped(why: &str) {
    println!("not tried: {why}");
}
