use super::*;

/// The first stage's input of a file with this input; `input` is indented by four.
fn input(input: &str) -> Input {
    let text = format!("rule_id: 1\ntests:\n- stages:\n  - input:\n{input}\n    output: {{}}\n");
    read("1.yaml", &text).unwrap_or_else(|error| panic!("{error}\n{text}")).remove(0).stages.remove(0).input
}

fn bytes(text: &str) -> String {
    let requests = input(text).requests(&Previous::default()).unwrap();
    requests.iter().map(|raw| String::from_utf8_lossy(raw).into_owned()).collect::<Vec<_>>().join("|")
}

#[test]
fn requests_are_go_ftws_byte_by_byte() {
    let cases = [
        ("      {}", "GET / HTTP/1.1\r\nConnection: close\r\n\r\n"),
        ("      autocomplete_headers: false", "GET / HTTP/1.1\r\n\r\n"),
        ("      stop_magic: true", "GET / HTTP/1.1\r\n\r\n"),
        ("      uris: [/a, /b]\n      stop_magic: true", "GET /a HTTP/1.1\r\n\r\n|GET /b HTTP/1.1\r\n\r\n"),
        // A mapping is sorted by name, bytewise; values stay as they are written.
        (
            "      headers: {b: 007, Z: 1.10, Connection: x}\n      method: POST\n      version: ''",
            "POST / \r\nConnection: x\r\nZ: 1.10\r\nb: 007\r\nContent-Length: 0\r\n\r\n",
        ),
        (
            "      ordered_headers:\n      - {name: b, value: c}\n      - {name: a, value: b}\n      stop_magic: true",
            "GET / HTTP/1.1\r\nb: c\r\na: b\r\n\r\n",
        ),
        // Forms are escaped where nothing in them is.
        (
            "      method: POST\n      data: \"a b=c=d&&e/\\xe9&\"",
            "POST / HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n\
             Content-Length: 21\r\n\r\na+b=c%3Dd&&e%2F%C3%A9",
        ),
        (
            "      data: a=b+c d\n      headers: {content-length: 3}",
            "GET / HTTP/1.1\r\ncontent-length: 3\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Connection: close\r\n\r\na=b+c d",
        ),
        (
            "      data: a=b c\n      headers: {Content-Type: application/json}",
            "GET / HTTP/1.1\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: 5\r\n\r\na=b c",
        ),
        ("      data: a=b c\n      stop_magic: true", "GET / HTTP/1.1\r\n\r\na=b c"),
        // Multipart gets its line ends even where nothing else is completed.
        (
            "      headers: {Content-Type: 'Multipart/form-data; boundary=x'}\n      stop_magic: true\n      data: |\n        --x\n        a",
            "GET / HTTP/1.1\r\nContent-Type: Multipart/form-data; boundary=x\r\n\r\n--x\r\na\r\n",
        ),
        ("      encoded_request: \"R0VU\\nIC8=\"\n      method: POST", "GET /"),
        (
            "      encoded_data: AP8=\n      headers: {Content-Type: a}\n      stop_magic: true",
            "GET / HTTP/1.1\r\nContent-Type: a\r\n\r\n\u{0}\u{fffd}",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(bytes(text), expected, "{text}");
    }
}

#[test]
fn stages_know_the_one_before() {
    let previous =
        Previous { location: Some("https://a.example/b?c".to_owned()), cookies: vec!["d=e".to_owned()] };
    let stage = input("      follow_redirect: true\n      save_cookie: true\n      stop_magic: true");
    let sent = stage.requests(&previous).unwrap();
    assert_eq!(sent, [b"GET /b?c HTTP/1.1\r\nCookie: d=e\r\n\r\n".to_vec()]);
    assert_eq!(stage.requests(&Previous::default()), Err(BuildError::NoRedirect));
}

#[test]
fn the_first_format() {
    let text = "meta: {author: x, enabled: true}\ntests:\n- test_title: 920100-7\n  stages:\n  - stage:\n      input: {data: [a, b], raw_request: \"\"}\n      output: {log_contains: 'id \"920100\"', status: [200, 403]}\n";
    let cases = read("920100.yaml", text).unwrap();
    assert_eq!(cases[0].id(), "920100-7");
    let stage = &cases[0].stages[0];
    assert_eq!(stage.input.data, b"a\r\nb");
    assert_eq!(stage.output.status, [200, 403]);
    assert_eq!(stage.output.log.match_regex.as_deref(), Some("id \"920100\""));
}

#[test]
fn mistakes_have_a_line() {
    let cases = [
        ("", 1, "empty"),
        ("tests: []", 1, "rule_id"),
        ("rule_id: 1\ntests:\n- stages:\n  - input: {}\n    output:\n      statsu: 200\n", 6, "statsu"),
        ("rule_id: 1\ntests:\n- stages:\n  - input: {}\n", 4, "output"),
        ("rule_id: x", 1, "number"),
        ("rule_id: 1\nrule_id: 2", 2, "already defined"),
        ("rule_id: 1\ntests: &a [*a]", 2, "alias"),
        ("rule_id: 1\ntests: [\n", 3, "YAML"),
        ("rule_id: 1\ntests:\n- stages:\n  - input: {port: 99999}\n    output: {}\n", 4, "range"),
        ("rule_id: 1\ntests:\n- stages:\n  - input: {data: '{{x}}'}\n    output: {}\n", 4, "template"),
        ("rule_id: 1\ntests:\n- stages:\n  - input: {encoded_request: '*'}\n    output: {}\n", 4, "base64"),
        ("rule_id: 1\ntests:\n- stages:\n  - input: {}\n    output: {isolated: true}\n", 5, "isolated"),
    ];
    for (text, line, what) in cases {
        let error = read("", text).expect_err(text);
        assert!(error.line == line && error.what.contains(what), "{text:?}: {error}");
    }
    let deep = format!("rule_id: 1\ntests: {}", "[".repeat(10_000));
    assert!(read("", &deep).is_err());
}

#[test]
fn judgements() {
    let log = vec!["[id \"7\"] [msg \"a\"] [data \"b found within ARGS:x\"]".to_owned()];
    let outcome = Outcome {
        error: None,
        status: 403,
        response: b"HTTP/1.1 403 Forbidden\r\n\r\nno",
        matched_ids: &[7, 8],
        log: &log,
    };
    let output = |text: &str| {
        let text = format!("rule_id: 1\ntests:\n- stages:\n  - input: {{}}\n    output: {text}\n");
        read("", &text).unwrap().remove(0).stages.remove(0).output
    };
    let cases = [
        ("{}", None),
        ("{status: 403}", None),
        ("{status: [200, 403]}", None),
        ("{status: 200}", Some("expected status 200, got 403")),
        ("{response_contains: 'Forb.*'}", None),
        ("{response_contains: 'welcome'}", Some("the response does not match `welcome`")),
        ("{log: {expect_ids: [7, 8]}}", None),
        ("{log: {expect_ids: [7, 9]}}", Some("expected 9 to match")),
        ("{log: {no_expect_ids: [9]}}", None),
        ("{log: {no_expect_ids: [9, 8]}}", Some("expected 8 not to match")),
        ("{log: {match_regex: 'found within ARGS:x'}}", None),
        ("{log: {match_regex: 'ARGS:y'}}", Some("no log line matches `ARGS:y`")),
        ("{log: {no_match_regex: 'ARGS:y'}}", None),
        ("{log: {no_match_regex: '\\[id \"7\"\\]'}}", Some("a log line matches")),
        ("{log: {match_regex: '('}}", Some("`(` is no regular expression")),
        ("{isolated: true, log: {expect_ids: [7]}}", Some("expected one rule alone, and 7, 8 matched")),
        ("{expect_error: true}", Some("expected no response, got status 403")),
    ];
    for (text, expected) in cases {
        let got = judge(&output(text), &outcome).err().map(|why| why.to_string());
        assert_eq!(got.is_some(), expected.is_some(), "{text}: {got:?}");
        assert!(got.unwrap_or_default().starts_with(expected.unwrap_or_default()), "{text}");
    }
    let broken = Outcome { error: Some("reset"), ..outcome };
    assert_eq!(judge(&output("{expect_error: true, status: 200}"), &broken), Ok(()));
    assert_eq!(judge(&output("{}"), &broken), Err(Why::Failed("reset".to_owned())));
}
