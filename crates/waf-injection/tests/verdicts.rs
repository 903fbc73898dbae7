//! Verdicts by example, and those of the suites shared between the projects.

use std::path::PathBuf;

use waf_injection::{sqli, xss};

fn check_sqli(value: &str, expected: Option<&str>) {
    let found = sqli(value.as_bytes());
    assert_eq!(found.as_ref().map(|f| f.as_str()), expected, "{value:?}");
}

fn check_xss(value: &str, expected: bool) {
    assert_eq!(xss(value.as_bytes()), expected, "{value:?}");
}

#[test]
fn attacks_on_sql() {
    for (value, fingerprint) in [
        ("1' OR '1'='1", "s&sos"),
        ("' or 1=1--", "s&1c"),
        ("' or 1=1#", "s&1c"),
        ("\" or \"\"=\"", "s&sos"),
        ("1 UNION SELECT 1,2,3", "1UE1"),
        ("1 union/**/all select password from users", "1UEnk"),
        ("1; drop table users", "1;Tnn"),
        ("1;if(1=1)exec sp_x", "1;T(1"),
        ("1 group by 2 having 1", "1B1B1"),
        ("x' and sleep(5) and 'x'='x", "s&f(1"),
        ("1/*!50000union*/select", "X"),
        ("1 /* /* nested */", "X"),
        ("{`` a", "X"),
        ("1-- -", "1c"),
        ("1 -- sp_password", "1c"),
        ("1 or user()=1", "1&f()"),
        ("ascii(substring(version() from 1 for 1))", "f(f(f"),
        ("admin' into outfile 'x", "sks"),
        // `:` is an operator at the very end, `<@` anywhere.
        ("version()name:", "f()no"),
        ("a<@primary@> ", "nokvo"),
        // MySQL passes over a number that ends at its `e`.
        ("1' or 1.e(1)=1", "s&(1)"),
    ] {
        check_sqli(value, Some(fingerprint));
    }
}

#[test]
fn no_attacks_on_sql() {
    for value in [
        "",
        " ",
        "'",
        "--",
        "#",
        "(((",
        "hello",
        "select",
        "union",
        "2024-01-31T12:00:00Z",
        "192.168.0.1",
        "12.50",
        "+49 (30) 1234567",
        "$1,000.00",
        "550e8400-e29b-41d4-a716-446655440000",
        "user@example.com",
        "https://example.com/path/page.html?a=1&b=two#part",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)",
        "John O'Neil",
        "don't stop, it's fine",
        "He said \"yes\", and went home.",
        "sexy and 17",
        "1 union",
        "a -- b",
        "user(1) or 1=1",
        "123ABCDEFEhfhihwuefi--",
        "Group by group, we left in order to join from where we like.",
        "rock & roll; 50% off * only today!",
        "C:\\Windows\\system32",
        "a+b=c",
        "{\"a\": [1, 2, {\"b\": null}]}",
        "日本語のテキスト",
    ] {
        check_sqli(value, None);
    }
}

#[test]
fn attacks_on_pages() {
    for value in [
        "<script>alert(1)</script>",
        "<SCR\0IPT>",
        "<img src=x onerror=alert(1)>",
        "\"><script>",
        "' onmouseover='alert(1)",
        "` onclick=x",
        "onclick=alert(1)",
        "x style=a",
        "href=javascript:alert(1)",
        "<a href=\"&#106;ava\nscript:alert(1)\">",
        "<svg/onload=alert(1)>",
        "<!doctype html>",
        "<!--[if IE]>",
        "<?import namespace=\"t\">",
        "<!-- ` -->",
        "<%`%>",
        "<animate attributeName=onclick>",
        "</script x>",
        // libinjection 3.9.2 takes what follows for an end tag too.
        "</><script>",
        "</a ><script>",
    ] {
        check_xss(value, true);
    }
}

#[test]
fn no_attacks_on_pages() {
    for value in [
        "",
        "<",
        "=",
        "a=b",
        "1 < 2 and 3 > 2",
        "<b>bold</b> <i class='x'>and</i> <a href=\"https://example.com\">link</a>",
        "https://example.com/?a=b&c=d&once=1",
        "</script>",
        "<!-- comment -->",
        "<![CDATA[<script>]]>",
        "x => y",
        "<3",
        "if (a <= b) c = d;",
    ] {
        check_xss(value, false);
    }
}

#[test]
fn any_byte_anywhere() {
    // Behind beginnings that lead into the states, two bytes; the second one that matters.
    for start in ["", "'", "1 or ", "$a", "q'", "0x", "1e", "<a ", "<!-", "<a b=", "<%", "&#", "<a href=&#x"]
    {
        for a in 0..=255u8 {
            for &b in b"\0 \n!\"#$%&'()*-./09:;<=>?@N[\\]`aex{|}~\xa0\xff" {
                let mut value = start.as_bytes().to_vec();
                value.extend([a, b]);
                let _ = sqli(&value);
                let _ = xss(&value);
            }
        }
    }
}

/// Each worst case hundreds of KB long: milliseconds; in quadratic time, minutes each.
#[test]
fn time_is_linear() {
    let unit = 1 << 17;
    for (start, piece) in [
        ("", "("),
        ("", "1,"),
        ("", "1+"),
        ("'", "\\'"),
        ("'", "''"),
        ("'", "\\"),
        ("", "''"),
        ("", "/*"),
        ("", "/**/"),
        ("", "b'0"),
        ("", "x'0"),
        ("", "q'("),
        ("", "$a"),
        ("$a", "$a"),
        ("$$", "$a$"),
        ("", "``"),
        ("", "@`"),
        ("", "[a"),
        ("", "a.b."),
        ("", "{a "),
        ("", "1e"),
        ("", "1;"),
        ("a", " -"),
        ("", "<"),
        ("", "</"),
        ("", "<a "),
        ("", "<a/"),
        ("<a ", "/"),
        ("<a ", "a="),
        ("<!--", "-"),
        ("<!--", "-\0"),
        ("<!--", "--!"),
        ("<%", "%"),
        ("<![CDATA[", "]"),
        ("<a href=", "&#0;"),
        ("<a href=", "&#0"),
        ("<a href=", " "),
        ("<a href=", "\u{a0}"),
        ("<a href='&#", "0"),
        ("", "'\"`=<>"),
    ] {
        let value = format!("{start}{}", piece.repeat(unit));
        let began = std::time::Instant::now();
        let _ = sqli(value.as_bytes());
        let _ = xss(value.as_bytes());
        assert!(began.elapsed().as_secs() < 20, "{start:?} {piece:?}");
    }
}

#[test]
fn shared_operator_cases() {
    let folder =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/seclang-units/operators");
    for (file, detects) in
        [("detectSQLi.json", (|v| sqli(v).is_some()) as fn(&[u8]) -> bool), ("detectXSS.json", xss)]
    {
        let Ok(text) = std::fs::read(folder.join(file)) else {
            eprintln!("no `{file}` in the shared test data: not compared");
            continue;
        };
        let cases: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(!cases.is_empty());
        for case in cases {
            let input = case["input"].as_str().unwrap();
            assert_eq!(detects(input.as_bytes()), case["ret"] == 1, "{input:?}");
        }
    }
    // modsecurity-regression/operator-detect{sqli,xss}.json: their values.
    check_sqli("ascii(substring(version() from 1 for 1))", Some("f(f(f"));
    check_xss("<script>alert(1)</script", true);
}
