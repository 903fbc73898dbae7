use super::*;
use crate::settings::{Exclusion, RuleFile, Settings};
use base::Bytes;
use edge_http::Version;
use proptest::prelude::*;

fn settings(rules: &str) -> Settings {
    Settings {
        mode: Mode::Block,
        files: vec![RuleFile { name: "t.conf".into(), text: rules.into() }],
        exclude: Vec::new(),
        body_limit: Bytes(64 << 10),
        beyond_limit: BeyondLimit::Pass,
    }
}

fn engine(rules: &str) -> Engine {
    Engine::load(&settings(rules)).unwrap_or_else(|errors| panic!("{errors:#?}"))
}

/// A request as text: `GET /path?query`, header lines, an empty line, the body.
fn inspect(engine: &Engine, request: &str) -> (Verdict, Vec<RuleMatch>) {
    let (head, body) = request.split_once("\n\n").map_or((request, None), |(h, b)| (h, Some(b)));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').unwrap_or_default();
    let headers: Vec<(&[u8], &[u8])> = lines
        .map(|line| line.split_once(": ").unwrap_or((line, "")))
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let head = RequestHead {
        method: method.as_bytes(),
        target: target.as_bytes(),
        authority: b"shop.example",
        version: Version::Http11,
        headers: &headers,
    };
    let mut tx = engine.begin([203, 0, 113, 9].into());
    let follows = body.is_some() && engine.wants_body(&head);
    let mut verdict = tx.request_head(&head, follows);
    if follows && verdict == Verdict::Pass {
        verdict = tx.request_body(body.unwrap_or_default().as_bytes(), true);
    }
    (verdict, tx.into_matches())
}

fn variables(matches: &[RuleMatch]) -> Vec<String> {
    matches.iter().map(|m| format!("{}={}", m.variable, m.matched)).collect()
}

const FORM: &str = "Content-Type: application/x-www-form-urlencoded";
const JSON: &str = "Content-Type: application/json";

#[test]
fn every_variable_sees_its_values() {
    let multipart = "POST /u\nContent-Type: multipart/form-data; boundary=B\n\n--B\r\nContent-Disposition: \
                     form-data; name=\"evil\"; filename=\"evil.php\"\r\n\r\nevil\r\n--B--";
    let cases: &[(&str, &str, &[&str])] = &[
        ("ARGS", "GET /?a=evil&b=ok", &["ARGS:a=evil"]),
        ("ARGS", &format!("POST /?a=1\n{FORM}\n\nb=%65vil"), &["ARGS:b=evil"]),
        ("ARGS", &format!("POST /\n{JSON}\n\n{{\"k\":[\"evil\"]}}"), &["ARGS:json.k.array_0=evil"]),
        ("ARGS_GET", &format!("POST /?a=evil\n{FORM}\n\nb=evil"), &["ARGS_GET:a=evil"]),
        ("ARGS_POST", &format!("POST /?a=evil\n{FORM}\n\nb=evil"), &["ARGS_POST:b=evil"]),
        ("ARGS_NAMES", "GET /?evil=1", &["ARGS_NAMES=evil"]),
        ("ARGS_GET_NAMES|ARGS_POST_NAMES", "GET /?%65vil", &["ARGS_GET_NAMES=evil"]),
        ("ARGS:a|ARGS:c", "GET /?a=evil&b=evil&C=evil", &["ARGS:a=evil", "ARGS:C=evil"]),
        ("ARGS|!ARGS:a", "GET /?a=evil", &[]),
        ("FILES|FILES_NAMES|ARGS_POST", multipart, &["FILES:evil=evil", "FILES_NAMES=evil"]),
        ("QUERY_STRING", "GET /?a=%65vil", &[]),
        ("QUERY_STRING", "GET /?evil", &["QUERY_STRING=evil"]),
        ("REQUEST_URI", "GET /%65vil?x", &["REQUEST_URI=evil"]),
        ("REQUEST_URI", "GET http://evil/?%65vi", &[]),
        ("REQUEST_URI_RAW", "GET http://evil/", &["REQUEST_URI_RAW=evil"]),
        ("REQUEST_FILENAME", "GET /a%2Fevil?evil", &["REQUEST_FILENAME=evil"]),
        ("REQUEST_FILENAME", "GET /?evil", &[]),
        ("REQUEST_METHOD", "evil /", &["REQUEST_METHOD=evil"]),
        ("REQUEST_PROTOCOL", "GET /evil", &[]),
        ("REQUEST_HEADERS", "GET /\nX-A: evil\nX-B: b", &["REQUEST_HEADERS:X-A=evil"]),
        ("REQUEST_HEADERS:x-a", "GET /\nX-A: evil\nX-B: evil", &["REQUEST_HEADERS:X-A=evil"]),
        ("REQUEST_HEADERS|!REQUEST_HEADERS:X-A", "GET /\nX-A: evil", &[]),
        ("REQUEST_HEADERS_NAMES", "GET /\nevil: x", &["REQUEST_HEADERS_NAMES=evil"]),
        ("REQUEST_COOKIES_NAMES", "GET /\nCookie: a=1; evil=2", &["REQUEST_COOKIES_NAMES=evil"]),
        ("REQUEST_COOKIES", "GET /\nCookie: a=1; b=evil", &["REQUEST_COOKIES:b=[secret]"]),
        ("REQUEST_BODY", "POST /\nContent-Type: text/plain\n\nan evil text", &["REQUEST_BODY=evil"]),
        ("REMOTE_ADDR", "GET /evil", &[]),
    ];
    for (targets, request, expected) in cases {
        let engine = engine(&format!("SecRule {targets} \"@contains evil\" \"id:101,phase:2,deny\""));
        let (verdict, matches) = inspect(&engine, request);
        assert_eq!(variables(&matches), *expected, "{targets} on {request}");
        let denied = verdict == (Verdict::Deny { status: 403, rule: 101 });
        assert_eq!(denied, !expected.is_empty(), "{targets} on {request}: {verdict:?}");
    }
    let engine = engine("SecRule REMOTE_ADDR \"@streq 203.0.113.9\" \"id:101,deny,status:418\"");
    assert_eq!(inspect(&engine, "GET /").0, Verdict::Deny { status: 418, rule: 101 });
}

#[test]
fn chains_need_every_link() {
    let rules = "SecRule REQUEST_METHOD \"@streq POST\" \"id:101,phase:2,deny,msg:'m',chain\"\n\
                 SecRule ARGS \"@rx evil\" \"t:lowercase,chain\"\n\
                 SecRule REQUEST_FILENAME \"!@streq /ok\"";
    let engine = engine(rules);
    assert_eq!(inspect(&engine, "GET /?a=EVIL"), (Verdict::Pass, vec![]));
    assert_eq!(inspect(&engine, "POST /ok?a=EVIL"), (Verdict::Pass, vec![]));
    let (verdict, matches) = inspect(&engine, "POST /no?a=EVIL");
    assert_eq!(verdict, Verdict::Deny { status: 403, rule: 101 });
    assert_eq!(variables(&matches), ["REQUEST_METHOD=POST", "ARGS:a=evil", "REQUEST_FILENAME="]);
    assert_eq!(matches[1].value, "EVIL");
    assert_eq!(matches[1].transformations, ["lowercase"]);
    assert_eq!(matches[1].source, "t.conf:2");
    assert_eq!(matches[2].operator, "!@streq /ok");
}

#[test]
fn reports_say_what_matched() {
    let rules = "SecRule ARGS \"@rx (?i)union\\s+select\" \"id:942100,phase:2,t:none,t:urlDecodeUni,\
                 t:compressWhitespace,deny,msg:'SQL injection',severity:CRITICAL,tag:attack-sqli\"";
    let (_, matches) = inspect(&engine(rules), "GET /search?q=1+union%250a%2509Select+2");
    let expected = RuleMatch {
        rule: 942_100,
        source: "t.conf:1".into(),
        data: String::new(),
        message: "SQL injection".into(),
        severity: Some("CRITICAL".into()),
        tags: vec!["attack-sqli".into()],
        variable: "ARGS:q".into(),
        value: "1 union%0a%09Select 2".into(),
        transformed: "1 union Select 2".into(),
        transformations: vec!["urlDecodeUni".into(), "compressWhitespace".into()],
        operator: "@rx (?i)union\\\\s+select".into(),
        matched: "union Select".into(),
    };
    assert_eq!(matches, [expected]);
}

#[test]
fn secrets_are_not_reported() {
    let engine = engine(
        "SecRule ARGS|REQUEST_HEADERS|REQUEST_COOKIES|QUERY_STRING|REQUEST_URI|REQUEST_URI_RAW|\
                         REQUEST_BODY|FILES \"@contains hunter2\" \"id:101,phase:2,pass\"",
    );
    let requests = [
        "GET /?password=hunter2&q=1".to_owned(),
        "GET /?pass%77ord=hunter2".to_owned(),
        "GET /\nAuthorization: Basic hunter2".to_owned(),
        "GET /\nCookie: x=hunter2".to_owned(),
        "GET /\nReferer: /reset?token=hunter2".to_owned(),
        format!("POST /\n{FORM}\n\nnew_passwd=hunter2"),
        format!("POST /\n{JSON}\n\n{{\"user\":{{\"password\":\"hunter2\"}}}}"),
        "POST /\nContent-Type: text/xml\n\n<password>hunter2</password>".to_owned(),
    ];
    for request in requests {
        let (_, matches) = inspect(&engine, &request);
        assert!(!matches.is_empty(), "{request}");
        for m in matches {
            let shown = format!("{} {} {}", m.value, m.transformed, m.matched);
            assert!(!shown.contains("hunter2") && shown.contains("[secret]"), "{request}: {m:?}");
        }
    }
}

#[test]
fn exclusions_let_pass() {
    let mut told = settings("SecRule ARGS|ARGS_NAMES \"@contains evil\" \"id:101,phase:2,deny\"");
    let exclusion = |rule, path: Option<&str>, arg: Option<&str>| Exclusion {
        rule,
        path: path.map(Into::into),
        arg: arg.map(Into::into),
    };
    told.exclude = vec![
        exclusion(101, Some("/search"), Some("q")),
        exclusion(101, Some("/api/*"), None),
        exclusion(builtin::UNREADABLE_BODY, Some("/raw"), None),
    ];
    let engine = Engine::load(&told).unwrap();
    let passes = |request: &str| inspect(&engine, request).0 == Verdict::Pass;
    assert!(passes("GET /search?q=evil") && passes("GET /api/x?z=evil"));
    assert!(
        !passes("GET /search?q=evil&z=evil") && !passes("GET /search?Q=evil") && !passes("GET /other?q=evil")
    );
    assert!(!passes("GET /api/../x?z=evil") && !passes("GET /api?z=evil"));
    let bad = format!("\n{JSON}\n\n{{");
    assert!(passes(&format!("POST /raw{bad}")) && !passes(&format!("POST /other{bad}")));
}

#[test]
fn detect_mode_never_denies_and_sees_everything() {
    let mut told = settings(
        "SecRule ARGS \"@contains evil\" \"id:101,phase:1,deny\"\n\
         SecRule ARGS \"@contains evil\" \"id:102,phase:2,deny,nolog\"\n\
         SecRule ARGS \"@contains evil\" \"id:103,phase:2,pass,nolog\"\n\
         SecRule ARGS \"@contains evil\" \"id:104,phase:2,pass\"",
    );
    let rules = |engine: &Engine, request: &str| {
        let (verdict, matches) = inspect(engine, request);
        (verdict, matches.iter().map(|m| m.rule).collect::<Vec<_>>())
    };
    let block = Engine::load(&told).unwrap();
    assert_eq!(rules(&block, "GET /?a=evil"), (Verdict::Deny { status: 403, rule: 101 }, vec![101]));
    told.mode = Mode::Detect;
    let detect = Engine::load(&told).unwrap();
    assert_eq!(rules(&detect, "GET /?a=evil"), (Verdict::Pass, vec![101, 102, 104]));
    let broken = format!("POST /\n{JSON}\n\n{{\"a\":\"evil\"");
    assert_eq!(rules(&detect, &broken), (Verdict::Pass, vec![builtin::UNREADABLE_BODY, 102, 104]));
}

#[test]
fn bounds_have_verdicts() {
    let engine = engine("SecRule ARGS \"@contains evil\" \"id:101,phase:2,deny\"");
    let status = |request: &str| match inspect(&engine, request).0 {
        Verdict::Deny { status, rule } => (status, rule),
        Verdict::Pass => (200, 0),
    };
    let many = "a=1&".repeat(1_001);
    assert_eq!(status(&format!("GET /?{many}")), (400, builtin::TOO_MUCH));
    assert_eq!(status(&format!("POST /\n{FORM}\n\n{many}")), (400, builtin::TOO_MUCH));
    assert_eq!(status(&format!("POST /\n{JSON}\n\n{}", "[".repeat(70))), (400, builtin::TOO_MUCH));
    assert_eq!(status(&format!("POST /\n{JSON}\n\n[")), (400, builtin::UNREADABLE_BODY));
    assert_eq!(status(&format!("POST /\n{JSON}\n{FORM}\n\n[1]")), (400, builtin::UNREADABLE_BODY));
    assert_eq!(status(&format!("POST /\n{JSON}\n\n")), (200, 0));
    let parts = "--B\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n".repeat(1_001);
    let multipart = format!("POST /\nContent-Type: multipart/form-data; boundary=B\n\n{parts}--B--");
    assert_eq!(status(&multipart), (400, builtin::TOO_MUCH));
}

#[test]
fn bodies_beyond_the_limit() {
    let mut told = settings("SecRule ARGS \"@contains evil\" \"id:101,phase:2,deny\"");
    told.body_limit = Bytes(32);
    let long = format!("POST /\n{FORM}\n\na={}&b=evil", "x".repeat(30));
    let early = format!("POST /\n{FORM}\n\nb=evil&a={}", "x".repeat(30));
    let pass = Engine::load(&told).unwrap();
    assert_eq!(inspect(&pass, &long).0, Verdict::Pass);
    assert_eq!(inspect(&pass, &early).0, Verdict::Deny { status: 403, rule: 101 });
    told.beyond_limit = BeyondLimit::Refuse;
    let refuse = Engine::load(&told).unwrap();
    let (verdict, matches) = inspect(&refuse, &long);
    assert_eq!(verdict, Verdict::Deny { status: 413, rule: builtin::BODY_TOO_LARGE });
    assert!(matches[0].message.contains("32 bytes"), "{matches:?}");
}

#[test]
fn bodies_are_wanted_only_where_a_rule_looks() {
    let head = |content_type: &'static str| RequestHead {
        method: b"POST",
        target: b"/",
        authority: b"",
        version: Version::Http11,
        headers: Vec::leak(vec![(&b"content-type"[..], content_type.as_bytes())]),
    };
    let cases: &[(&str, &str, bool)] = &[
        ("ARGS", "application/json", true),
        ("ARGS", "image/png", false),
        ("REQUEST_BODY", "image/png", true),
        ("ARGS_GET", "application/json", false),
        ("REQUEST_URI", "application/json", false),
    ];
    for (targets, content_type, expected) in cases {
        let engine = engine(&format!("SecRule {targets} \"@contains x\" \"id:101\""));
        assert_eq!(engine.wants_body(&head(content_type)), *expected, "{targets} {content_type}");
    }
}

/// Rules that touch every variable, operator and transformation.
const EVERYTHING: &str = "SecRule ARGS|ARGS_NAMES|FILES|FILES_NAMES|REQUEST_HEADERS|REQUEST_COOKIES|REQUEST_URI|\
    REQUEST_FILENAME|QUERY_STRING|REQUEST_BODY \"@rx (?i)a+b|\\x00|[^\\x00-\\x7f]{2}\" \
    \"id:101,phase:2,t:urlDecodeUni,t:htmlEntityDecode,t:replaceComments,t:compressWhitespace,\
    t:normalizePath,t:removeNulls,t:lowercase,t:normalizePathWin,t:urlDecode,pass\"\n\
    SecRule ARGS \"@pm a b c\" \"id:102,pass,t:htmlEntityDecode\"\n\
    SecRule REQUEST_URI_RAW \"!@contains x\" \"id:103,pass,phase:1\"";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_bytes_panic_or_escape(
        target in proptest::collection::vec(any::<u8>(), 0..200),
        value in proptest::collection::vec(any::<u8>(), 0..200),
        body in proptest::collection::vec(any::<u8>(), 0..400),
        kind in 0usize..5,
        complete in any::<bool>(),
    ) {
        let kinds = [
            "application/json",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=B",
            "text/plain",
            "multipart/form-data; boundary=\"",
        ];
        let engine = engine(EVERYTHING);
        let headers: [(&[u8], &[u8]); 3] =
            [(b"content-type", kinds[kind].as_bytes()), (b"cookie", &value), (&value, &target)];
        let head = RequestHead {
            method: &value, target: &target, authority: &value, version: Version::Http2, headers: &headers,
        };
        let mut tx = engine.begin([127, 0, 0, 1].into());
        tx.request_head(&head, true);
        // Half of the time the body begins like what it claims to be.
        let beginnings: [&[u8]; 5] = [b"{\"a\":[", b"a=", b"--B\r\nContent-Disposition: form-data; name=", b"", b""];
        let body = if complete { body } else { [beginnings[kind], &body].concat() };
        tx.request_body(&body, complete);
        prop_assert!(tx.matches().len() <= MATCHES_PER_REQUEST);
        for m in tx.matches() {
            for text in [&m.value, &m.transformed, &m.matched, &m.variable] {
                prop_assert!(text.chars().all(|c| !c.is_control()), "{text:?}");
                prop_assert!(text.len() < 2_600, "{}", text.len());
            }
        }
    }

    #[test]
    fn no_rule_text_panics(text in "(SecRule|SecAction| |\\\\\n|\n|\"|'|ARGS|!|\\||@rx |@pm |\\(|\\[|a|id:[0-9]{1,3}|,|t:lowercase|chain|:|é){0,40}") {
        let _ = Engine::load(&settings(&text));
    }
}

/// Third-party cases of single operators and transformations, where the shared
/// test data is at hand.
#[test]
fn coraza_unit_cases() {
    let Some(folder) = shared_cases() else {
        println!("skipped: the shared test data (`seclang-units`) is not beside the repository");
        return;
    };
    let read = |path: String| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(folder.join(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}"))
    };
    let (mut passed, mut failures) = (0, Vec::new());
    for name in ["rx", "pm", "contains", "streq"] {
        for case in read(format!("operators/{name}.json")) {
            let (param, input) = (case["param"].as_str().unwrap(), unescape(case["input"].as_str().unwrap()));
            let matched = crate::operator::Test::parse(&format!("@{name} {param}"))
                .unwrap_or_else(|wrong| panic!("{name} {param}: {wrong:?}"))
                .matches(&input)
                .is_some();
            if matched == (case["ret"] == 1) { passed += 1 } else { failures.push(case) }
        }
    }
    let names = ["lowercase", "urlDecode", "urlDecodeUni", "htmlEntityDecode", "compressWhitespace"];
    for name in
        names.into_iter().chain(["normalisePath", "normalisePathWin", "removeNulls", "replaceComments"])
    {
        let transformation = crate::transform::Transformation::parse(name).unwrap();
        for case in read(format!("transformations/{name}.json")) {
            let mut out = Vec::new();
            transformation.apply(&unescape(case["input"].as_str().unwrap()), &mut out);
            if out == unescape(case["output"].as_str().unwrap()) { passed += 1 } else { failures.push(case) }
        }
    }
    println!("{passed} passed, {} failed", failures.len());
    // The manual's urlDecodeUni keeps the low byte of what is not full-width ASCII;
    // these two expect the code page of a SecUnicodeMapFile, which is not supported.
    let unicode_map = |case: &serde_json::Value| {
        ["%u0041%u00e9%u00e8", "%u201dQuoted%u2019s%u2018 word%u2014dash"]
            .contains(&case["input"].as_str().unwrap())
    };
    failures.retain(|case| !unicode_map(case));
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(passed > 90, "{passed}");
}

fn shared_cases() -> Option<std::path::PathBuf> {
    let root =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/seclang-units");
    root.is_dir().then_some(root)
}

/// The cases write bytes as `\xHH`.
fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        match after.strip_prefix(b"x").and_then(crate::transform::hex_pair) {
            Some(byte) if *first == b'\\' => {
                out.push(byte);
                rest = &after[3..];
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    out
}
