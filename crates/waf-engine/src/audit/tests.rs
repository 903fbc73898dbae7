use super::*;
use crate::{Report, Workspace};
use edge_http::{RequestHead, Version};
use std::sync::Arc;

/// Monday, 23 November 2026, 10:08:19 UTC.
const NOW_US: u64 = 1_795_428_499_000_000;

struct Played {
    engine: Arc<Engine>,
    report: Report,
}

impl Played {
    fn record(&self) -> &Record {
        self.report.audit.as_ref().expect("a record")
    }

    fn text(&self) -> &str {
        &self.record().text
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(self.text()).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

#[derive(Clone, Copy)]
struct Exchange<'a> {
    target: &'a str,
    headers: &'a [(&'a str, &'a str)],
    body: &'a [u8],
    status: u16,
    response_headers: &'a [(&'a str, &'a str)],
    response_body: &'a [u8],
}

const PLAIN: Exchange<'static> = Exchange {
    target: "/a?q=attack",
    headers: &[("Host", "example.com"), ("User-Agent", "test")],
    body: b"",
    status: 200,
    response_headers: &[("Content-Type", "text/html")],
    response_body: b"",
};

fn engine(rules: &str) -> Arc<Engine> {
    let files = serde_json::json!([{"name": "main.conf", "text": rules}]);
    let settings =
        serde_json::from_value(serde_json::json!({"mode": "rules", "files": files})).expect("settings");
    Arc::new(Engine::load(&settings).expect("rules that load"))
}

fn play(rules: &str, exchange: &Exchange<'_>) -> Played {
    let engine = engine(rules);
    let connection = Connection {
        client: "192.0.2.7".parse().expect("an address"),
        client_port: 50_123,
        server: "192.0.2.1".parse().expect("an address"),
        server_port: 443,
        now_us: NOW_US,
        unique_id: "06H0/..ID",
        clock: || 0,
    };
    let headers: Vec<(&[u8], &[u8])> =
        exchange.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
    let head = RequestHead {
        method: if exchange.body.is_empty() { b"GET" } else { b"POST" },
        target: exchange.target.as_bytes(),
        authority: b"example.com",
        version: Version::Http11,
        headers: &headers,
    };
    let mut transaction = engine.begin(Workspace::default(), connection);
    let mut verdict = transaction.request_head(&head);
    if verdict == Verdict::Pass {
        verdict = transaction.request_body(exchange.body, true);
    }
    if verdict == Verdict::Pass {
        let headers: Vec<(&[u8], &[u8])> =
            exchange.response_headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
        if transaction.response_head(exchange.status, "HTTP/1.1", &headers) == Verdict::Pass {
            let body = if transaction.wants_response_body() { exchange.response_body } else { b"" };
            transaction.response_body(body, true);
        }
    }
    let (report, _) = transaction.finish(NOW_US + 5_000);
    Played { engine, report }
}

fn form(body: &'static [u8]) -> Exchange<'static> {
    Exchange {
        headers: &[("Host", "example.com"), ("Content-Type", "application/x-www-form-urlencoded")],
        body,
        ..PLAIN
    }
}

const DENY: &str = "SecRule ARGS:q \"@rx at(t)a\" \"id:7,phase:2,deny,status:404,capture,t:none,t:lowercase,\
    msg:'it is \\\"bad\\\"',logdata:'%{TX.0} in %{MATCHED_VAR_NAME}',severity:CRITICAL,tag:'a b',ver:'V/1',rev:'2',maturity:3,accuracy:4\"\n";

#[test]
fn a_native_record() {
    let rules = format!("SecAuditEngine RelevantOnly\nSecAuditLogParts ABDEFHJKZ\n{DENY}");
    let played = play(&rules, &PLAIN);
    let text = played.text();
    let boundary = &text[..text.find("A--").expect("a first part")];
    assert!(boundary.len() == 14 && boundary.starts_with("---") && boundary.ends_with("---"), "{boundary}");
    let message = "ModSecurity: Access denied with code 404 (phase 2). Matched \"Operator `Rx' with parameter `at(t)a' \
        against variable `ARGS:q' (Value: `attack' ) [file \"main.conf\"] [line \"3\"] [id \"7\"] [rev \"2\"] \
        [msg \"it is \\x22bad\\x22\"] [data \"atta in ARGS:q\"] [severity \"2\"] [ver \"V/1\"] [maturity \"3\"] \
        [accuracy \"4\"] [tag \"a b\"] [hostname \"example.com\"] [uri \"/a\"] [unique_id \"06H0/..ID\"] \
        [ref \"o0,4v9,6t:lowercase\"]";
    let rule = "SecRule \"ARGS:q\" \"@rx at(t)a\" \"phase:2,deny,log,auditlog,id:7,status:404,severity:2,rev:'2',\
        ver:'V/1',maturity:3,accuracy:4,tag:'a b',t:lowercase,capture,msg:'it is \"bad\"',\
        logdata:'%{TX.0} in %{MATCHED_VAR_NAME}'\"";
    let expected = format!(
        "#A--\n[23/Nov/2026:10:08:19 +0000] 06H0/..ID 192.0.2.7 50123 192.0.2.1 443\n\
         #B--\nGET /a?q=attack HTTP/1.1\nHost: example.com\nUser-Agent: test\n\n#D--\n\n#F--\nHTTP/1.1 404\n\n\
         #H--\n{message}\n\n#J--\n\n#K--\n{rule}\n\n#Z--\n\n"
    );
    assert_eq!(text.replace(boundary, "#"), expected);
    assert_eq!((played.record().file_mode, played.record().dir_mode), (0o600, 0o700));
    assert_eq!(played.record().concurrent, None);
}

#[test]
fn which_transactions_are_recorded() {
    let rule = |actions: &str| format!("SecRule ARGS:q attack \"id:1,phase:2,pass,{actions}\"\n");
    let relevant = "SecAuditLogRelevantStatus \"^(?:5|4(?!04))\"\n";
    for (rules, status, expected) in [
        (String::new(), 200, false),
        ("SecAuditEngine Off\n".to_owned() + &rule("log"), 200, false),
        ("SecAuditEngine On\n".to_owned(), 200, true),
        ("SecAuditEngine RelevantOnly\n".to_owned(), 200, false),
        ("SecAuditEngine RelevantOnly\n".to_owned() + &rule("log"), 200, true),
        ("SecAuditEngine RelevantOnly\n".to_owned() + &rule("log,noauditlog"), 200, false),
        ("SecAuditEngine RelevantOnly\n".to_owned() + &rule("nolog"), 200, false),
        ("SecAuditEngine RelevantOnly\n".to_owned() + &rule("nolog,auditlog"), 200, true),
        (format!("SecAuditEngine RelevantOnly\n{relevant}"), 404, false),
        (format!("SecAuditEngine RelevantOnly\n{relevant}"), 403, true),
        (format!("SecAuditEngine RelevantOnly\n{relevant}"), 500, true),
        (format!("SecAuditEngine RelevantOnly\n{relevant}") + &rule("log,noauditlog"), 500, true),
        (rule("nolog,ctl:auditEngine=On"), 200, true),
        (rule("nolog,ctl:auditEngine=RelevantOnly"), 200, false),
        ("SecAuditEngine On\n".to_owned() + &rule("nolog,ctl:auditEngine=Off"), 200, false),
        ("SecAuditEngine On\n".to_owned() + &rule("nolog,ctl:ruleEngine=Off"), 200, false),
        ("SecAuditEngine On\nSecRuleEngine Off\n".to_owned(), 200, false),
    ] {
        let played = play(&rules, &Exchange { status, ..PLAIN });
        assert_eq!(played.report.audit.is_some(), expected, "{status}\n{rules}");
    }
}

#[test]
fn what_is_only_for_the_audit_log_is_not_in_the_report() {
    let rules = "SecAuditEngine RelevantOnly\nSecRule ARGS:q attack \"id:1,phase:2,pass,nolog,auditlog\"\n\
        SecRule ARGS:q attack \"id:2,phase:2,pass,log,noauditlog\"\n";
    let played = play(rules, &PLAIN);
    assert_eq!(played.report.matches.iter().map(|m| m.rule).collect::<Vec<_>>(), [2]);
    assert!(played.text().contains("ModSecurity: Warning. ") && played.text().contains("[id \"1\"]"));
    assert!(!played.text().contains("[id \"2\"]"));
}

#[test]
fn parts() {
    let letters = |text: &str| -> String {
        let marks = text.lines().filter(|line| line.starts_with("---") && line.ends_with("--"));
        marks.filter_map(|line| line.chars().nth(14)).collect()
    };
    let all = Exchange { response_body: b"<p>x</p>", ..form(b"a=1") };
    for (rules, expected) in [
        ("", "ABCFHZ"),
        ("SecAuditLogParts AZ\n", "AZ"),
        ("SecAuditLogParts B\n", "ABZ"),
        ("SecAuditLogParts ABIJDEFHZ\n", "ABIDEFHJZ"),
        ("SecAuditLogParts ABZ\nSecAction \"id:1,phase:1,nolog,pass,ctl:auditLogParts=+EK\"\n", "ABEKZ"),
        ("SecAuditLogParts ABFHZ\nSecAction \"id:1,phase:1,nolog,pass,ctl:auditLogParts=-FH\"\n", "ABZ"),
    ] {
        let played = play(&format!("SecAuditEngine On\n{rules}"), &all);
        assert_eq!(letters(played.text()), expected, "{rules}{}", played.text());
    }
}

#[test]
fn a_client_cannot_fake_a_part() {
    let text = play("SecAuditEngine On\n", &form(b"a=1")).text().to_owned();
    let boundary = &text[..14];
    let body = format!("a=1\n{boundary}H--\nfake").into_bytes().leak();
    let faked = play("SecAuditEngine On\n", &form(body)).text().to_owned();
    assert_ne!(&faked[..14], boundary);
    assert_eq!(faked.matches(&faked[..14]).count(), 6, "{faked}");
    // Nor a header or a line.
    let played =
        play("SecAuditEngine On\n", &Exchange { headers: &[("X", "a\x1b[2J\u{202e}\u{7f}é")], ..PLAIN });
    assert!(played.text().contains("X: a\\x1b[2J\\xe2\\x80\\xae\\x7fé\n"), "{}", played.text());
}

#[test]
fn a_json_record() {
    let rules = format!(
        "SecAuditEngine On\nSecAuditLogFormat JSON\nSecAuditLogParts ABCEFHJKZ\nSecComponentSignature \"crs/4\"\n{DENY}"
    );
    let headers = &[("Host", "example.com"), ("X-A", "1"), ("x-a", "\"2\""), ("Authorization", "Basic eDp5")];
    let played = play(&rules, &Exchange { headers, ..PLAIN });
    assert!(played.text().ends_with("}\n") && played.text().matches('\n').count() == 1);
    let all = played.json();
    let entry = &all["transaction"];
    assert_eq!(entry["client_ip"], "192.0.2.7");
    assert_eq!(entry["time_stamp"], "Mon Nov 23 10:08:19 2026");
    assert_eq!(entry["client_port"], 50_123);
    assert_eq!((&entry["host_ip"], &entry["host_port"]), (&"192.0.2.1".into(), &443.into()));
    assert_eq!(entry["unique_id"], "06H0/..ID");
    assert_eq!(entry["server_id"].as_str().map(str::len), Some(40));
    assert_eq!(
        entry["request"],
        serde_json::json!({
            "method": "GET", "http_version": 1.1, "uri": "/a?q=attack", "body": "",
            "headers": {"Host": "example.com", "X-A": "1, \"2\"", "Authorization": "**********"},
        })
    );
    assert_eq!(entry["response"], serde_json::json!({"body": "", "http_code": 404, "headers": {}}));
    assert_eq!(entry["producer"]["secrules_engine"], "Enabled");
    assert_eq!(entry["producer"]["components"], serde_json::json!(["crs/4"]));
    assert_eq!(
        entry["messages"],
        serde_json::json!([{
            "message": "it is \"bad\"",
            "details": {
                "match": "Matched \"Operator `Rx' with parameter `at(t)a' against variable `ARGS:q' (Value: `attack' )",
                "reference": "o0,4v9,6t:lowercase", "ruleId": "7", "file": "main.conf", "lineNumber": "5",
                "data": "atta in ARGS:q", "severity": "2", "ver": "V/1", "rev": "2", "tags": ["a b"],
                "maturity": "3", "accuracy": "4",
            },
        }])
    );
    assert_eq!(entry["uploads"], serde_json::json!([]));
    assert_eq!(entry["rules"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_record_with_a_file_of_its_own() {
    let rules = "SecAuditEngine On\nSecAuditLogType Concurrent\nSecAuditLogStorageDir /var/audit\n\
        SecAuditLog /var/index\nSecAuditLogFileMode 0640\nSecAuditLogDirMode 0750\n";
    let headers = &[("Host", "a b\""), ("User-Agent", "x \"y"), ("Referer", "/?token=abc&a=1")];
    let played = play(rules, &Exchange { headers, target: "/?password=x", ..PLAIN });
    let record = played.record();
    let concurrent = record.concurrent.as_ref().expect("a file of its own");
    assert_eq!(concurrent.file, "20261123/20261123-1008/20261123-100819-06H0___ID");
    let index = concurrent.index.clone();
    let (before, md5) = index.trim_end().rsplit_once(" md5:").expect("a digest");
    assert!(md5.len() == 32 && md5.bytes().all(|b| b.is_ascii_hexdigit()), "{md5}");
    let expected = format!(
        "a\\x20b\\x22 192.0.2.7 - [23/Nov/2026:10:08:19 +0000] \"GET /?password=* HTTP/1.1\" 200 0 /?token=***&a=1 \
         \"x \\x22y\" 06H0/..ID /?token=***&a=1 /var/audit/{} 0 {}",
        concurrent.file,
        record.text.len()
    );
    assert_eq!(before, expected);
    assert_eq!((record.file_mode, record.dir_mode), (0o640, 0o750));
}

#[test]
fn secrets_are_masked() {
    let all = "SecAuditEngine On\nSecAuditLogParts ABCEFHZ\nSecRequestBodyAccess On\nSecResponseBodyAccess On\n\
        SecResponseBodyMimeType application/json\n\
        SecRule ARGS|REQUEST_HEADERS|REQUEST_COOKIES|REQUEST_URI|REQUEST_BODY|XML:/* hunter \"id:1,phase:2,pass,\
        msg:'found %{MATCHED_VAR}',logdata:'%{MATCHED_VAR}'\"\n";
    let typed = |kind: &'static str, body: &'static [u8]| Exchange {
        headers: Box::leak(Box::new([("Content-Type", kind)])),
        body,
        ..PLAIN
    };
    let cases = [
        Exchange { target: "/?user=u&pass%77ord=hunter2", ..PLAIN },
        Exchange { headers: &[("Cookie", "a=hunter2"), ("Authorization", "hunter2"), ("X-Api-Key", "hunter2")], ..PLAIN },
        Exchange { headers: &[("Referer", "http://a/?token=hunter2")], ..PLAIN },
        form(b"user=u&passwd=hunter2"),
        form(b"user=u&pass%77d=hunter2&x"),
        typed("application/json", br#"{"user": "u", "passw\u006frd" : "hunter2", "a": {"secrets": [1, {"x": "hunter2"}, "hunter2"]}}"#),
        typed("application/json", br#"{"a": "hunter1", "password": "\u0068unter2", "b": [{"token":"hunter2"#),
        typed("application/x-ndjson", b"{\"token\": \"hunter2\"}\n{\"user\": \"u\"}\n"),
        typed("application/xml", b"<a user='u' password='hunter2'><token x=\"hunter2\">hunter2<b>hunter2</b></token><!-- x --></a>"),
        typed("application/xml", b"<a><ns:secret><![CDATA[hunter2]]></ns:secret></a>"),
        typed("text/plain", b"{\"password\": \"hunter2\"}"),
        typed("multipart/form-data; boundary=x", b"--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhunter2\r\n--x--\r\n"),
        typed("application/graphql", b"mutation { login(user: \"u\", password: \"hunter2\") { id } }"),
        typed("application/graphql", b"mutation { login(password: \"hunter2\", user: \"hunter\") { id } }"),
        Exchange {
            response_headers: &[("Content-Type", "application/json"), ("Set-Cookie", "a=hunter2"), ("Location", "/?token=hunter2")],
            response_body: b"{\"user\": \"u\", \"access_token\": \"hunter2\"}",
            ..PLAIN
        },
    ];
    for exchange in cases {
        for format in ["Native", "JSON"] {
            let played = play(&format!("SecAuditLogFormat {format}\n{all}"), &exchange);
            let shown = played.text();
            assert!(!shown.contains("hunter2"), "{shown}");
            let told = format!("{:?}", played.report.matches);
            let elsewhere =
                ["Referer", "XML:", "REQUEST_BODY", "graphql.query"].iter().any(|kind| told.contains(kind));
            assert!(elsewhere || !told.contains("hunter2"), "{told}");
            assert!(shown.contains('*') || shown.contains("left out"), "{shown}");
        }
    }
}

#[test]
fn what_rules_sanitise_is_masked() {
    let rules = |actions: &str| {
        format!(
            "SecAuditEngine On\nSecAuditLogParts ABCFHZ\nSecRule ARGS \"@contains 471\" \"id:1,phase:2,pass,\
             msg:'a %{{MATCHED_VAR}}',logdata:'%{{MATCHED_VAR}}',{actions}\"\n"
        )
    };
    let json = Exchange {
        headers: &[("Host", "h"), ("Content-Type", "application/json"), ("X-Pin", "4711")],
        body: br#"{"pin": "4711 ", "other": "x"}"#,
        response_headers: &[("X-Echo", "4711")],
        target: "/?a=1",
        ..PLAIN
    };
    let query = Exchange { target: "/?pin=4711&a=1", ..PLAIN };
    for (actions, exchange, shown, hidden) in [
        ("sanitiseArg:pin", &query, "GET /?pin=****&a=1 HTTP", "4711"),
        ("sanitiseMatched", &query, "GET /?pin=****&a=1 HTTP", "4711"),
        ("sanitiseMatchedBytes", &query, "GET /?pin=****&a=1 HTTP", "4711"),
        ("sanitiseArg:json.pin", &json, r#"{"pin": "*****", "other": "x"}"#, "pin\": \"4711"),
        ("sanitiseRequestHeader:x-pin", &json, "X-Pin: ****", "X-Pin: 4711"),
        ("sanitiseResponseHeader:x-echo", &json, "X-Echo: ****", "X-Echo: 4711"),
    ] {
        let played = play(&rules(actions), exchange);
        let text = played.text();
        assert!(text.contains(shown) && !text.contains(hidden), "{actions}\n{text}");
    }
    // What cannot be found is not shown at all.
    let escaped = Exchange { body: br#"{"pin": "471\u0031"}"#, ..json };
    let played = play(&rules("sanitiseArg:json.pin"), &escaped);
    assert!(played.text().contains("[left out: ") && !played.text().contains("u0031"), "{}", played.text());
}

#[test]
fn files_are_left_out_of_part_i() {
    let body = b"--x\r\nContent-Disposition: form-data; name=\"a b\"\r\n\r\n1&2\r\n--x\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"p.png\"\r\nContent-Type: image/png\r\n\r\ncontent\r\n--x--\r\n";
    let exchange =
        Exchange { headers: &[("Content-Type", "multipart/form-data; boundary=x")], body, ..PLAIN };
    let played = play("SecAuditEngine On\nSecAuditLogParts AIJZ\n", &exchange);
    let text = played.text();
    assert!(text.contains("I--\na+b=1%262\n") && !text.contains("content"), "{text}");
    assert!(text.contains("J--\n1,7,\"p.png\",\"image/png\"\nTotal,7\n"), "{text}");
}

#[test]
fn the_response_body_is_wanted_where_it_is_recorded() {
    let exchange = Exchange { response_body: b"<p>hello</p>", status: 500, ..PLAIN };
    let rules = "SecAuditEngine RelevantOnly\nSecAuditLogParts AEZ\nSecAuditLogRelevantStatus ^5\n";
    assert!(play(rules, &exchange).text().contains("<p>hello</p>"));
    // Not where nothing is recorded, nor for other types.
    let other = Exchange { response_headers: &[("Content-Type", "image/png")], ..exchange };
    assert!(!play(rules, &other).text().contains("hello"));
    assert!(play(rules, &Exchange { status: 200, ..exchange }).report.audit.is_none());
}

#[test]
fn lines_of_the_error_log() {
    let played = play(DENY, &PLAIN);
    let context = LogContext {
        client: "192.0.2.7",
        hostname: "example.com",
        uri: "/a",
        unique_id: "ID",
        refused: Some(404),
    };
    let line = error_log_line(&played.engine, &played.report.matches[0], &context);
    assert_eq!(
        line,
        "[client 192.0.2.7] ModSecurity: Access denied with code 404 (phase 2). Matched \"Operator `Rx' with parameter \
         `at(t)a' against variable `ARGS:q' (Value: `attack' ) [file \"main.conf\"] [line \"1\"] [id \"7\"] [rev \"2\"] \
         [msg \"it is \\x22bad\\x22\"] [data \"atta in ARGS:q\"] [severity \"2\"] [ver \"V/1\"] [maturity \"3\"] \
         [accuracy \"4\"] [tag \"a b\"] [hostname \"example.com\"] [uri \"/a\"] [unique_id \"ID\"] [ref \"\"]"
    );
    for (rule, expected) in [
        ("SecAction \"id:1,pass\"", "ModSecurity: Warning. Unconditional match in SecAction. [file"),
        (
            "SecRule ARGS \"!@within %{tx.x} b\" \"id:1,pass\"",
            "Matched \"Operator `Within' with parameter ` b' against",
        ),
        (
            "SecRule ARGS \"att\\d?\" \"id:1,pass\"",
            "Matched \"Operator `Rx' with parameter `att\\d?' against",
        ),
    ] {
        let played = play(rule, &PLAIN);
        let line = error_log_line(&played.engine, &played.report.matches[0], &LogContext::default());
        assert!(line.contains(expected), "{line}");
    }
}

proptest::proptest! {
    /// Whatever a client sends, the record is made, is JSON, and shows no secret.
    #[test]
    fn any_body(
        body in proptest::collection::vec(proptest::sample::select(b"{}[]\",:<>/=&!-\\ a1".to_vec()), 0..60),
        kind in proptest::sample::select(vec!["application/json", "application/xml", "text/plain", "multipart/form-data; boundary=a"]),
    ) {
        let mut whole = body.clone();
        whole.extend_from_slice(br#"{"password": "hunter2"}"#);
        let mut json = whole.clone();
        mask::json(&mut json);
        proptest::prop_assert_eq!(json.len(), whole.len());
        let headers = [("Content-Type", kind)];
        let exchange = Exchange { headers: &headers, body: &whole, ..PLAIN };
        for format in ["Native", "JSON"] {
            let played = play(&format!("SecAuditLogFormat {format}\nSecAuditEngine On\n"), &exchange);
            if format == "JSON" {
                played.json();
            }
        }
    }
}
