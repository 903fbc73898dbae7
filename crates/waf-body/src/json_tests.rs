//! Names and values were tried on libmodsecurity 3.0.9.

use super::*;
use crate::testing::{Collected, Rng, lossy};

fn read(text: &[u8], complete: bool) -> (Collected, Result<(), Error>) {
    let mut sink = Collected::default();
    let result = json(text, complete, &Limits::default(), &mut sink, &mut Scratch::default());
    (sink, result)
}

#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let (sink, result) = read(text.as_bytes(), true);
    assert_eq!(sink.lines(), expected.join("\n"), "{text}");
    assert_eq!(result, Ok(()), "{text}");
}

#[track_caller]
fn check_error(text: &[u8], expected: &[&str], what: &str, at: usize) {
    let (sink, result) = read(text, true);
    assert_eq!(sink.lines(), expected.join("\n"), "{}", lossy(text));
    let error = result.unwrap_err();
    let message = error.to_string();
    assert!(message.contains(what), "{}: {message}", lossy(text));
    assert_eq!(error.at, at, "{}: {message}", lossy(text));
}

#[test]
fn names_and_values_are_those_of_modsecurity() {
    check(
        r#"{"a":{"b":[1,true,null,"x\u00e9\ud83d\ude00",{"c":2.5e3},[],[[7]]],"":"e"},"a.b":"d","e":{}}"#,
        &[
            "json.a.b.array_0=1",
            "json.a.b.array_1=true",
            "json.a.b.array_2=",
            "json.a.b.array_3=xé😀",
            "json.a.b.array_4.c=2.5e3",
            "json.a.b.array_6.array_0.array_0=7",
            "json.a.empty-key=e",
            "json.a.b=d",
        ],
    );
    check(r#"[1,{"a":2},"s"]"#, &["json.array_0=1", "json.array_1.a=2", "json.array_2=s"]);
    check(r#" "top" "#, &["json=top"]);
    check(
        "{\"first_level\":{       \"first_key\":\"bar\",\n       \"second_key\":\"sec\"}}",
        &["json.first_level.first_key=bar", "json.first_level.second_key=sec"],
    );
    check(r#"{"a":1,"a":2}"#, &["json.a=1", "json.a=2"]);
    check(r#"{"k\"\n":"\b\f\n\r\t\/\\\""}"#, &["json.k\"\n=\u{8}\u{c}\n\r\t/\\\""]);
    check("", &[]);
    check("{}", &[]);
    check("[]", &[]);
    check("-0.5e-10", &["json=-0.5e-10"]);
    check(
        "{\"a\":\"abcdefghijklmnopqrstuvwxyz0123456789\"}",
        &["json.a=abcdefghijklmnopqrstuvwxyz0123456789"],
    );
}

#[test]
fn lone_surrogates_are_as_with_yajl() {
    let (sink, result) = read(br#"{"a":"\u0000y\ude00z\ud83dq"}"#, true);
    assert_eq!(result, Ok(()));
    assert_eq!(sink.args, [(b"json.a".to_vec(), b"\0y\xED\xB8\x80z?q".to_vec())]);
    let (sink, result) = read(br#""\ud83d\u0041""#, true);
    assert_eq!(result, Ok(()));
    assert_eq!(sink.args[0].1, b"?A");
}

#[test]
fn what_is_malformed_is_said_where_it_is() {
    check_error(b"a", &[], "invalid character in the text", 0);
    check_error(b" ", &[], "premature end", 1);
    check_error(br#"{"a":1} {"b":2}"#, &["json.a=1"], "something follows", 8);
    check_error(br#"{"a":1,}"#, &["json.a=1"], "must be a string", 7);
    check_error(
        br#"{"a":1, "b":[1,2"#,
        &["json.a=1", "json.b.array_0=1", "json.b.array_1=2"],
        "premature end",
        16,
    );
    check_error(br#"{"a":"\q"}"#, &[], "may not escape", 6);
    check_error(b"{\"a\":\"x\ny\"}", &[], "invalid character inside a string", 7);
    check_error(b"\xEF\xBB\xBF{}", &[], "invalid character in the text", 0);
    check_error(b"{\"a\":\"xy\" /* */}", &["json.a=xy"], "`,` or `}`", 10);
    check_error(b"{\"a\":\"\xFF\"}", &[], "UTF-8", 6);
    check_error(b"{\"a\":01}", &["json.a=0"], "`,` or `}`", 6);
    check_error(b"[1.]", &[], "malformed number", 3);
    check_error(b"[-]", &[], "malformed number", 2);
    check_error(b"[1e+]", &[], "malformed number", 4);
    check_error(b"[trux]", &[], "invalid string", 1);
    check_error(b"[1 2]", &["json.array_0=1"], "`,` or `]`", 3);
    check_error(b"{\"a\" 1}", &[], "`:`", 5);
    check_error(br#"["\u12G4"]"#, &[], "four hexadecimal", 2);
    check_error(b"[1,]", &["json.array_0=1"], "invalid character", 3);
}

#[test]
fn overlong_utf8_passes_to_the_rules() {
    let (sink, result) = read(b"[\"\xC0\xAE\"]", true);
    assert_eq!(result, Ok(()));
    assert_eq!(sink.args[0].1, b"\xC0\xAE");
}

#[test]
fn a_partial_body_gives_what_it_has() {
    let whole = br#"{"a":"be\u0041","c":[12,true]}"#;
    let cases: [(usize, &[&str]); 8] = [
        (0, &[]),
        (3, &[]),
        (7, &["json.a=b"]),
        (10, &["json.a=be"]),
        (14, &["json.a=beA"]),
        (17, &["json.a=beA"]),
        (22, &["json.a=beA", "json.c.array_0=1"]),
        (26, &["json.a=beA", "json.c.array_0=12"]),
    ];
    for (length, expected) in cases {
        let (sink, result) = read(&whole[..length], false);
        assert_eq!(result, Ok(()), "{length}");
        assert_eq!(sink.lines(), expected.join("\n"), "{length}");
    }
}

#[test]
fn depth_counts_containers() {
    let limits = Limits { depth: 4, ..Limits::default() };
    let mut scratch = Scratch::default();
    let mut sink = Collected::default();
    assert_eq!(json(b"[[[[1]]]]", true, &limits, &mut sink, &mut scratch), Ok(()));
    // The regression test `depth over limit`.
    let five = br#"{"key1":{"key2":{"key3":{"key4":{"key5":"thevalue"}}}}}"#;
    let error = json(five, true, &limits, &mut sink, &mut scratch).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Json("JSON depth limit exceeded"));
    assert_eq!(sink.args.len(), 1);
}

#[test]
fn a_name_has_a_limit() {
    let limits = Limits { path: 20, ..Limits::default() };
    let mut sink = Collected::default();
    let mut scratch = Scratch::default();
    let text = br#"{"a":1,"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa":2}"#;
    let error = json(text, true, &limits, &mut sink, &mut scratch).unwrap_err();
    assert_eq!(error, Error::new(ErrorKind::Json("a name longer than the limit"), 7));
    assert_eq!(sink.lines(), "json.a=1");
}

#[test]
fn a_full_sink_ends_it() {
    let mut sink = Collected { room: 2, ..Collected::default() };
    let result = json(b"[1,2,3]", true, &Limits::default(), &mut sink, &mut Scratch::default());
    assert_eq!(result.unwrap_err().kind, ErrorKind::Full);
    assert_eq!(sink.args.len(), 2);
}

#[test]
fn each_line_is_a_text_of_its_own() {
    let mut sink = Collected::default();
    let mut scratch = Scratch::default();
    let text = b"{\"a\":1}\r\n\n[2]\n{bad\n\"last\"";
    let error = ndjson(text, true, &Limits::default(), &mut sink, &mut scratch).unwrap_err();
    assert_eq!(error.at, 15, "{error}");
    assert_eq!(sink.lines(), "json.array_0.a=1\njson.array_1.array_0=2\njson.array_3=last");
}

/// Whatever the bytes: no panic, and no more handed over than the input and
/// its paths can account for.
#[test]
fn hostile_texts_are_survived() {
    let mut scratch = Scratch::default();
    let limits = Limits { depth: 8, path: 64, ..Limits::default() };
    let pieces: [&[u8]; 24] = [
        b"{",
        b"}",
        b"[",
        b"]",
        b"\"",
        b"\"a\"",
        b":",
        b",",
        b"1",
        b"-",
        b"0",
        b".",
        b"e",
        b"true",
        b"null",
        b"\\u",
        b"\\ud83d",
        b"\\udc00",
        b"\\",
        b"\x00",
        b"\xFF",
        b"\xC3\xA9",
        b" ",
        b"\"k\":",
    ];
    let whole = br#"{"a":{"b":[1,true,null,"x\u00e9\ud83d\ude00",{"c":2.5e3},[],[[7]]],"":"e"},"a.b":"d"}"#;
    let mut rng = Rng::new(11);
    for round in 0..40_000 {
        let text = match round % 2 {
            0 => rng.pieces(&pieces, 30),
            _ => rng.mutate(whole),
        };
        for complete in [true, false] {
            let mut sink = Collected::default();
            let _ = json(&text, complete, &limits, &mut sink, &mut scratch);
            assert!(sink.args.len() <= text.len(), "{}", lossy(&text));
            assert!(sink.args.iter().all(|(name, _)| name.len() <= 64 + ".array_4294967295".len()));
            let _ = ndjson(&text, complete, &limits, &mut sink, &mut scratch);
        }
    }
}

/// Against a parser that has nothing to do with ours: what it accepts we accept
/// (YAJL is laxer in surrogates only), what it refuses we refuse.
#[test]
fn agrees_with_another_parser() {
    let mut rng = Rng::new(5);
    let mut scratch = Scratch::default();
    let whole = br#"{"a":{"b":[1,true,null,"x\u00e9y",{"c":-2.5e3},[],[[7]]],"":"e"},"a.b":"d\n"}"#;
    for _ in 0..20_000 {
        let text = rng.mutate(whole);
        let theirs: Result<serde_json::Value, _> = serde_json::from_slice(&text);
        let lenient = lossy(&text).contains("\\ud") || lossy(&text).contains("\\uD");
        // A number too large is theirs to refuse, not ours.
        let out_of_range = theirs.as_ref().is_err_and(|error| error.to_string().contains("range"));
        let overlong = std::str::from_utf8(&text).is_err();
        if lenient || out_of_range || overlong || text.is_empty() {
            continue;
        }
        let mut sink = Collected::default();
        let ours = json(&text, true, &Limits::default(), &mut sink, &mut scratch);
        assert_eq!(ours.is_ok(), theirs.is_ok(), "{}: {ours:?} {theirs:?}", lossy(&text));
    }
}
