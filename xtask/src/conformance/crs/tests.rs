use super::*;
use waf_engine::settings::{Limits, Mode, RuleFile, Settings};

/// Runs the cases of `tests` (YAML below `tests:`) against one rule that looks for
/// `evil` in arguments and one that looks for it in the response.
fn run_cases(tests: &str) -> Outcome {
    let rules = r#"
SecRuleEngine DetectionOnly
SecRequestBodyAccess On
SecResponseBodyAccess On
SecResponseBodyMimeType text/plain
SecRule ARGS "@contains evil" "id:1,phase:2,log,pass,msg:'in',logdata:'%{MATCHED_VAR}'"
SecRule RESPONSE_BODY "@contains evil" "id:2,phase:4,log,pass,msg:'out'"
"#;
    let settings = Settings {
        mode: Mode::Detect,
        files: vec![RuleFile { name: "rules.conf".to_owned(), text: rules.to_owned() }],
        data: Vec::new(),
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: false,
        raw_body: Default::default(),
        limits: Limits::default(),
    };
    let mut site = Site::new(&settings).unwrap();
    let mut outcome = Outcome::default();
    let cases = waf_ftw::read("1.yaml", &format!("rule_id: 1\ntests:\n{tests}")).unwrap();
    for case in &cases {
        run_case(&mut site, case, false, &mut outcome);
    }
    outcome
}

/// One stage in short; `input` and `output` are flow mappings.
fn stage(input: &str, output: &str) -> String {
    format!(
        "- stages:\n  - input: {{ordered_headers: [{{name: Host, value: a}}], {input}}}\n    output: {output}\n"
    )
}

#[test]
fn the_whole_way_and_back() {
    let passing = [
        (
            "uri: /?q=evil",
            "{log: {expect_ids: [1], no_expect_ids: [2], match_regex: 'data \"evil'}, status: 200}",
        ),
        ("uri: /?q=good", "{log: {no_expect_ids: [1, 2]}, isolated: false}"),
        ("method: POST, data: q=evil", "{log: {expect_ids: [1]}}"),
        (
            "headers: {Host: a, Content-Type: a/json}, method: POST, uri: /reflect, data: '{\"body\": \"evil\"}'",
            "{log: {expect_ids: [2]}, response_contains: evil}",
        ),
        ("response: {status: 404, body: evil}", "{log: {expect_ids: [2]}, status: 404}"),
        ("uri: '/<'", "{status: 400}"),
    ];
    for (input, output) in passing {
        let outcome = run_cases(&stage(input, output));
        assert_eq!((outcome.passed, outcome.failures), (1, vec![]), "{input}");
    }
}

#[test]
fn what_fails_says_why() {
    let failing = [
        ("uri: /?q=good", "{log: {expect_ids: [1]}}", "expected 1 to match"),
        ("uri: /?q=evil", "{log: {no_expect_ids: [1]}}", "expected 1 not to match"),
        ("uri: /", "{status: 403}", "expected status 403, got 200"),
        // A limit of ours excuses nothing, not even where nothing was to match.
        ("uri: '/{{LONG}}'", "{log: {no_expect_ids: [1]}}", "refused with 414"),
        (
            "uri: '/', version: HTTP/1.1, encoded_request: R0VUIC8=",
            "{log: {no_expect_ids: [1]}}",
            "refused with 408",
        ),
    ];
    for (input, output, why) in failing {
        let outcome = run_cases(&stage(&input.replace("{{LONG}}", &"a".repeat(40_000)), output));
        assert_eq!((outcome.passed, outcome.failed), (0, 1), "{why}");
        assert!(outcome.failures[0].why.starts_with(why), "{:?}", outcome.failures);
    }
}

#[test]
fn what_http_refuses_is_listed_by_its_section() {
    let outcome = run_cases(&stage("uri: '/?q=<evil>'", "{log: {expect_ids: [1]}}"));
    let [refused] = &outcome.refused[..] else { panic!("{outcome:?}") };
    assert_eq!((outcome.passed, outcome.failed), (0, 0));
    assert_eq!(
        refused.line(),
        "refused 1-1 with 400: target (RFC 9112 §3.2, RFC 3986 §2); the rules alone would do as expected"
    );
    let outcome = run_cases(&stage("uri: '/?q=<good>'", "{log: {expect_ids: [1]}}"));
    assert_eq!(outcome.refused[0].rules_alone, Some(false));
    let outcome = run_cases(&stage("version: HTTP/4.0", "{log: {expect_ids: [1]}}"));
    assert_eq!((outcome.refused[0].status, outcome.refused[0].rules_alone), (505, None));
}

#[test]
fn both_layouts_are_found() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let names = |dir: &str| -> Vec<String> {
        let settings = rules::settings(&root.path().join(dir)).unwrap();
        let rules = settings.files.into_iter().map(|file| file.name);
        rules.chain(settings.data.into_iter().map(|file| file.name)).collect()
    };
    write("four/crs-setup.conf.example", "");
    write("four/rules/REQUEST-920.conf", "");
    write("four/rules/REQUEST-901.conf", "");
    write("four/rules/REQUEST-900.conf.example", "");
    write("four/rules/words.data", "");
    let expected =
        ["server.conf", "crs-setup.conf.example", "REQUEST-901.conf", "REQUEST-920.conf", "words.data"];
    assert_eq!(names("four"), expected);
    assert_eq!(names("four/rules"), expected);
    write("etc/modsecurity/crs/crs-setup.conf", "");
    write("etc/modsecurity/crs/RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf", "");
    write("usr/share/modsecurity-crs/rules/REQUEST-901.conf", "");
    assert_eq!(
        names("usr/share/modsecurity-crs"),
        ["server.conf", "crs-setup.conf", "REQUEST-901.conf", "RESPONSE-999-EXCLUSION-RULES-AFTER-CRS.conf"]
    );
    write("none/REQUEST-901.conf", "");
    let error = rules::settings(&root.path().join("none")).unwrap_err();
    assert!(error.contains("no `crs-setup.conf`"), "{error}");
}
