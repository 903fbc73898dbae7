//! Cases marked `(v3)` were tried on libmodsecurity 3.0.9; those of its own
//! regression suite run where the test data is there.

use super::*;
use crate::testing::{Collected, Rng, lossy};

const TYPE: &str = "multipart/form-data; boundary=BB";

fn read_all(content_type: &str, body: &[u8], complete: bool, limits: &Limits) -> (Collected, Multipart) {
    let mut sink = Collected::default();
    let mut scratch = Scratch::default();
    let read = multipart(content_type.as_bytes(), body, complete, limits, &mut sink, &mut scratch);
    (sink, read)
}

fn read(body: &str) -> (Collected, Multipart) {
    read_all(TYPE, body.as_bytes(), true, &Limits::default())
}

/// One part whose head is `head`, with content `x`.
fn part(head: &str) -> String {
    format!("--BB\r\n{head}\r\n\r\nx\r\n--BB--\r\n")
}

/// The names of the flags that are set.
fn flags(read: &Multipart) -> String {
    let flags = &read.flags;
    let all = [
        ("boundary_quoted", flags.boundary_quoted),
        ("boundary_whitespace", flags.boundary_whitespace),
        ("data_before", flags.data_before),
        ("data_after", flags.data_after),
        ("header_folding", flags.header_folding),
        ("invalid_header_folding", flags.invalid_header_folding),
        ("lf_line", flags.lf_line),
        ("crlf_lf_lines", flags.crlf_lf_lines()),
        ("missing_semicolon", flags.missing_semicolon),
        ("invalid_quoting", flags.invalid_quoting),
        ("invalid_part", flags.invalid_part),
        ("file_limit_exceeded", flags.file_limit_exceeded),
        ("unmatched=1", flags.unmatched_boundary == 1),
        ("unmatched=2", flags.unmatched_boundary == 2),
    ];
    let set: Vec<_> = all.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    set.join(" ")
}

/// Checks `args`, one `name=value` a line; the flags that are set; and a part
/// of the error's text, empty for none.
#[track_caller]
fn check(body: &str, args: &[&str], expected_flags: &str, error: &str) {
    let (sink, read) = read(body);
    assert_eq!(sink.lines(), args.join("\n"), "{body}");
    assert_eq!(flags(&read), expected_flags, "{body}");
    let text = read.error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains(error) && text.is_empty() == error.is_empty(), "{body}: {text}");
    assert_eq!(read.flags.error, read.error.is_some());
}

#[test]
fn arguments_files_and_headers() {
    let body = "--BB\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n1.1\r\n--BB\r\n\
                content-disposition: form-data; name=\"f\"; filename=\"x.txt\"\r\n\
                Content-Type: text/plain\r\n folded\r\n\r\nline1\r\nline2\r\n--BB--\r\n";
    let (sink, read) = read(body);
    assert_eq!(sink.lines(), "a=1\r\n1.1");
    assert_eq!(sink.files, [(b"f".to_vec(), b"x.txt".to_vec(), b"line1\r\nline2".to_vec())]);
    assert_eq!(sink.names, [b"a", b"f"]);
    assert_eq!(sink.filenames, [b"x.txt"]);
    let headers: Vec<_> =
        sink.headers.iter().map(|(part, line)| format!("{}|{}", lossy(part), lossy(line))).collect();
    assert_eq!(
        headers,
        [
            "a|Content-Disposition: form-data; name=\"a\"",
            "f|content-disposition: form-data; name=\"f\"; filename=\"x.txt\"",
            "f|Content-Type: text/plain folded",
        ]
    );
    assert_eq!((read.parts, read.files, read.files_size), (2, 1, 12));
    assert_eq!(flags(&read), "header_folding");
    assert!(read.flags.strict_error() && read.error.is_none());
}

#[test]
fn structure_is_judged_as_v3_judges_it() {
    // (v3), but for what the module says differs.
    check(&part("Content-Disposition: form-data; name=\"a\""), &["a=x"], "", "");
    let a = "--BB\r\nContent-Disposition: form-data; name=a\r\n\r\n";
    check(&format!("{a}x\r\n--BB--"), &["a=x"], "", "");
    check(&format!("{a}x\r\n\r\n--BB--\r\n"), &["a=x\r\n"], "", "");
    check(&format!("{a}\r\n--BB--\r\n"), &["a="], "", "");
    check(&format!("{a}x\r\n--BB--\r\n\r\n"), &["a=x"], "data_after", "");
    check(&format!("{a}x\r\n--BB--\r\n--BB\r\n"), &["a=x"], "data_after", "");
    check(&format!("pre\r\n{a}x\r\n--BB--\r\n"), &["a=x"], "data_before", "");
    check(&format!("\r\n{a}x\r\n--BB--\r\n"), &["a=x"], "data_before", "");
    check(&format!("{a}x\r\n--other\r\n--BB--\r\n"), &["a=x\r\n--other"], "unmatched=2", "");
    check(&format!("{a}in --BB a line\r\n--BB--\r\n"), &["a=in --BB a line"], "unmatched=2", "");
    check(&format!("{a}x\r\n--\r\n--BB--\r\n"), &["a=x\r\n--"], "unmatched=2", "");
    check(&format!("{a}x\n--\r\n--BB--\r\n"), &["a=x\n--"], "unmatched=2", "");
    check(&format!("{a}x\n--\n--BB--\r\n"), &["a=x\n--"], "lf_line crlf_lf_lines", "");
    check(&format!("{a}x\n--BB--\r\n"), &["a=x"], "lf_line crlf_lf_lines", "");
    check(
        &format!("{a}--BBx\r\nin --BB data\r\n--BB--\r\nafter"),
        &["a=--BBx\r\nin --BB data"],
        "data_after invalid_part unmatched=2",
        "",
    );
    check(
        &format!("{a}--BB\r\nContent-Disposition: form-data; name=b\r\n\r\n\r\n--BB--\r\n"),
        &["a=--BB\r\nContent-Disposition: form-data; name=b\r\n\r\n"],
        "invalid_part unmatched=2",
        "",
    );
    check(&format!("{a}x\r\n--BB-\r\n--BB--\r\n"), &["a=x\r\n--BB-"], "unmatched=2", "Invalid boundary.");
    check(&format!("{a}x\r\n--BB--x"), &["a=x\r\n--BB--x"], "unmatched=1", "Invalid boundary.");
    check(&format!("{a}x\r\n-- BB\r\n--BB--\r\n"), &["a=x\r\n-- BB"], "unmatched=2", "(whitespace)");
    check(&format!("{a}val"), &["a=val"], "", "Final boundary missing.");
    check("--BB--\r\n", &[], "", "");
    check("--BB\r\n--BB--\r\n", &[], "invalid_part", "a boundary within its header");
    check("--BB\nContent-Disposition: form-data; name=\"a\"\n\nval\n--BB--\n", &["a=val"], "lf_line", "");
    check(
        "--BB\nContent-Disposition: form-data; name=\"a\"\r\n\nval\n--BB--\n",
        &["a=val"],
        "lf_line crlf_lf_lines",
        "",
    );
    check("nothing", &[], "data_before", "No boundaries found in payload.");
    check("", &[], "", "");
}

#[test]
fn part_headers_are_judged_as_v3_judges_them() {
    let d = "Content-Disposition: form-data; name=a";
    check(&part(&format!("{d}\r\nFoo")), &["a=x"], "", "Invalid part header (colon missing).");
    check(&part(&format!("{d}\r\n: v")), &["a=x"], "", "Invalid part header (header name missing).");
    check(&part(&format!("\x0eX: y\r\n{d}")), &["a=x"], "", "(contains invalid character)");
    check(&part(&format!("{d}\r\nContent-Type : text/html")), &["a=x"], "", "(contains invalid character)");
    check(&part(&format!("{d}\r\nX: \0")), &["a=x"], "", "Nul byte in part headers.");
    check(&part(&format!(" {d}")), &["=x"], "invalid_part", "(folding error)");
    check(&part("X: y"), &["=x"], "invalid_part", "Part missing Content-Disposition header.");
    check(&part(&format!("{d}\r\n{d}")), &["a=x"], "", "Duplicate part header.");
    check(&part(&format!("{d};\r\n filename=\"\"")), &["a=x"], "header_folding", "");
    check(
        &part("Content-Disposition: form-data;\r\n\x0c name=a"),
        &["a=x"],
        "header_folding invalid_header_folding",
        "",
    );
    let long = part(&format!("{d}\r\nX: {}", "y".repeat(5000)));
    check(&long, &[], "invalid_part", "Part header line over the limit.");
    let many = part(&format!("{d}{}", "\r\nX: y".repeat(5000)));
    check(&many, &[], "invalid_part", "Part header over the limit.");
}

#[track_caller]
fn check_disposition(value: &str, name: &str, filename: &str, expected_flags: &str, error: &str) {
    let (sink, read) = read(&part(&format!("Content-Disposition: {value}")));
    let text = |list: &[Vec<u8>]| list.first().map(|bytes| lossy(bytes)).unwrap_or_default();
    assert_eq!((text(&sink.names), text(&sink.filenames)), (name.into(), filename.into()), "{value}");
    assert_eq!(flags(&read), expected_flags, "{value}");
    let text = read.error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains(error) && text.is_empty() == error.is_empty(), "{value}: {text}");
}

#[test]
fn dispositions_are_judged_as_v3_judges_them() {
    const WRONG: &str = "Invalid Content-Disposition header";
    let check = check_disposition;
    check("form-data; name=\"a\"; filename=\"\"", "a", "", "", "");
    check("form-data; name=\"\"; filename=\"x\"", "", "x", "invalid_part", "missing name field");
    check("form-data", "", "", "invalid_part", "missing name field");
    check(
        "form-data; name=\"a\\\"b\\\\c\\d\"; filename=\"q\\\"; name=\\\"x\"",
        "a\"b\\c\\d",
        "q\"; name=\"x",
        "",
        "",
    );
    check("form-data;name=\"a\"; filename=\"\\\\\\\\x\\\\y\"", "a", "\\\\x\\y", "", "");
    check("form-data; name=\"it's\"", "it's", "", "", "");
    check("form-data; name=it's", "it's", "", "invalid_quoting", "");
    check("form-data; name='a'", "a", "", "invalid_quoting", "");
    check("form-data; name=\"a\";", "a", "", "", "");
    check("form-data; name=\"a\"; ", "a", "", "invalid_part", WRONG);
    check("form-data; name=a b", "a", "", "invalid_part", WRONG);
    check("form-data; name = \"a\"", "a", "", "", "");
    check("form-data; name = \"a\" ; filename = \"b\"", "a", "b", "invalid_part", "(filename)");
    check("form-data; name=\"a\"; name=\"b\"", "a", "", "invalid_part", WRONG);
    check("form-data; name=\"a\"; size=3", "a", "", "invalid_part", WRONG);
    check("form-data; NAME=\"a\"", "", "", "invalid_part", WRONG);
    check("Form-Data; name=\"a\"", "", "", "invalid_part", WRONG);
    check("form-data name=\"a\"", "", "", "invalid_part", WRONG);
    check("form-data; name=\"a\"; filename=\"b\"c\"", "a", "b", "invalid_quoting invalid_part", WRONG);
    check("form-data; name=\"a", "a", "", "invalid_part", "unterminated");
    check("form-data; name", "", "", "invalid_part", WRONG);
    check("form-data; name=", "", "", "invalid_part", WRONG);
    check("attachment; name=a", "", "", "invalid_part", WRONG);
    check("form-data; name=a; filename*=utf-8''x.php", "a", "", "invalid_part", "filename* alone");
    check("form-data; name=a; filename=y; filename*=\"utf-8''x.php\"", "a", "y", "invalid_part", WRONG);
    check("form-data; name=a; filename=y; filename*=bad", "a", "y", "invalid_part", WRONG);
    check("form-data; name=a; filename=y; filename*=utf-8''%2", "a", "y", "invalid_part", WRONG);
    check("form-data; name=a; filename*=UTF-8'en'x.php; filename=y", "a", "y", "", "");
}

#[test]
fn an_extended_filename_is_seen() {
    let head = "Content-Disposition: form-data; name=a; filename=y; filename*=utf-8''%e2%82%ac%2ephp";
    let (sink, read) = read(&part(head));
    assert_eq!(read.error, None);
    assert_eq!(sink.filenames.last().map(|name| lossy(name)), Some("€.php".into()));
}

#[track_caller]
fn check_type(content_type: &str, expected_flags: &str, error: &str) {
    let (_, read) = read_all(content_type, b"", true, &Limits::default());
    let text = read.error.map(|error| error.to_string()).unwrap_or_default();
    assert!(text.contains(error) && text.is_empty() == error.is_empty(), "{content_type}: {text}");
    assert_eq!(flags(&read), expected_flags, "{content_type}");
}

#[test]
fn the_boundary_is_judged_as_v3_judges_it() {
    let check = check_type;
    check("", "", "Content-Type header not available.");
    check("text/plain", "", "Invalid MIME type.");
    check("multipart/form-data", "", "Boundary not found in C-T.");
    check("multipart/form-data; bOundAry=0", "", "Invalid boundary in C-T (case sensitivity).");
    check("multipart/form-data; boundary=\"0\"; boundary=1", "", "Multiple boundary parameters in C-T.");
    check("multipart/form-data; boundary=0, boundary=1", "", "Multiple boundary parameters in C-T.");
    check("multipart/form-data, boundary=0", "", "Invalid boundary in C-T (malformed).");
    check("multipart/form-data; charset=utf-8; boundary=0", "", "Invalid boundary in C-T (malformed).");
    check("multipart/form-data; boundary", "", "Invalid boundary in C-T (malformed).");
    check("multipart/form-data boundary=0", "missing_semicolon", "");
    check("MULTIPART/Form-Data; boundary=0", "", "");
    check("multipart/form-data; boundary =0", "boundary_whitespace", "");
    check("multipart/form-data; boundary= 0", "boundary_whitespace", "");
    check("multipart/form-data; boundaryx=0", "", "Invalid boundary in C-T (parameter name).");
    check("multipart/form-data; boundary=", "", "Invalid boundary in C-T (empty).");
    check("multipart/form-data; boundary=\"\"", "boundary_quoted", "Invalid boundary in C-T (empty).");
    check("multipart/form-data; boundary=\"a\"", "boundary_quoted", "");
    check("multipart/form-data; boundary=\"a", "", "Invalid boundary in C-T (quote).");
    check("multipart/form-data; boundary=a\"", "", "Invalid boundary in C-T (quote).");
    check(
        "multipart/form-data; boundary=\"a\"b\"",
        "boundary_quoted",
        "Invalid boundary in C-T (characters).",
    );
    check("multipart/form-data; boundary=a ", "", "Invalid boundary in C-T (characters).");
    check("multipart/form-data; boundary=a b", "", "");
    check("multipart/form-data; boundary=a!b", "", "Invalid boundary in C-T (characters).");
    check("multipart/form-data; boundary=a; x=y", "", "Invalid boundary in C-T (characters).");
    check("multipart/form-data; boundary=--boundary", "", "");
    check("multipart/form-data; boundary=--bOuNdary", "", "");
    let long = format!("multipart/form-data; boundary={}", "a".repeat(1024));
    check(&long, "", "Invalid boundary in C-T (length).");
    // Its own test has all 75 characters that are allowed.
    check(
        "multipart/form-data; boundary=0123456789AaBbCcDdEeFfGgHhIiJjKkLlMmNnOoPpQqRrSsTtUuVvWwXxYyZz '()+_,-./:=?",
        "",
        "",
    );
}

#[test]
fn a_quoted_boundary_in_the_body_is_an_error() {
    let body = b"--B\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--\"B\"\r\n--B--\r\n";
    let (_, read) = read_all("multipart/form-data; boundary=\"B\"", body, true, &Limits::default());
    assert!(read.error.unwrap().to_string().contains("Invalid boundary (quotes)."));
}

#[test]
fn a_partial_body_gives_what_it_has() {
    let body = "--BB\r\nContent-Disposition: form-data; name=a\r\n\r\none\r\n--BB\r\n\
                Content-Disposition: form-data; name=b; filename=c\r\n\r\ntwo\r\n--BB--\r\n";
    for length in 0..body.len() {
        let (sink, read) = read_all(TYPE, &body.as_bytes()[..length], false, &Limits::default());
        assert_eq!(read.error, None, "{length}");
        assert!(!read.flags.invalid_part, "{length}");
        assert!(sink.lines().is_empty() || "a=one\r\n-".starts_with(&sink.lines()), "{length}");
        for (_, _, content) in sink.files {
            assert!(b"two\r\n-".starts_with(&content), "{length}");
        }
    }
}

#[test]
fn limits_hold() {
    let one = "--BB\r\nContent-Disposition: form-data; name=a; filename=f\r\n\r\nx\r\n";
    let body = format!("{}--BB--\r\n", one.repeat(5));
    let limits = Limits { files: 2, parts: 4, ..Limits::default() };
    let (sink, read) = read_all(TYPE, body.as_bytes(), true, &limits);
    assert!(read.flags.file_limit_exceeded);
    assert_eq!(sink.files.len(), 4);
    assert!(read.error.unwrap().to_string().contains("More parts than the limit."));

    let mut sink = Collected { room: 3, ..Collected::default() };
    let scratch = &mut Scratch::default();
    let read = multipart(TYPE.as_bytes(), body.as_bytes(), true, &limits, &mut sink, scratch);
    assert_eq!(read.error.unwrap().kind, ErrorKind::Full);
}

/// ModSecurity's own cases: what their debug log must say is our error's text,
/// and what their rules on flags expect, our flags.
#[test]
fn modsecuritys_own_cases() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/testdata/modsecurity-regression");
    let path = format!("{folder}/request-body-parser-multipart.json");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: no {path}");
        return;
    };
    let cases: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let mut judged = 0;
    for case in cases.as_array().unwrap() {
        let request = &case["request"];
        let Some(content_type) = request["headers"]["Content-Type"].as_str() else { continue };
        let lines: Vec<_> =
            request["body"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
        let body = lines.join("\n") + "\n";
        let limits = Limits { files: 2, ..Limits::default() };
        let (sink, read) = read_all(content_type, body.as_bytes(), true, &limits);
        let title = case["title"].as_str().unwrap();
        let log = case["expected"]["debug_log"].as_str().unwrap_or_default().replace('\\', "");
        let error = read.error.map(|error| error.to_string()).unwrap_or_default();
        let words = [
            "Final boundary missing",
            "Part missing Content-Disposition header",
            "Invalid Content-Disposition header",
            "header name missing",
            "Invalid boundary in C-T (malformed)",
            "Invalid boundary in C-T (case sensitivity)",
            "Multiple boundary parameters in C-T",
            "No boundaries found in payload",
            "Invalid boundary in C-T (characters)",
            "Invalid boundary in C-T (quote)",
            "contains invalid character",
        ];
        for word in words.into_iter().filter(|word| log.contains(*word)) {
            assert!(error.contains(word), "{title}: {error}");
            judged += 1;
        }
        if log.contains("boundary was quoted") {
            assert!(read.flags.boundary_quoted, "{title}");
            judged += 1;
        }
        if log.contains("Upload file limit exceeded") {
            assert!(read.flags.file_limit_exceeded && sink.files.len() == 3, "{title}");
            judged += 1;
        }
        if log.starts_with("Adding request argument") || log.starts_with("name: a") {
            assert!(error.is_empty() && sink.lines().starts_with("a=1"), "{title}: {error}");
            judged += 1;
        }
        for rule in case["rules"].as_array().unwrap() {
            let rule = rule.as_str().unwrap();
            let unmatched = read.flags.unmatched_boundary;
            let denied = case["expected"]["http_code"].as_i64() == Some(403);
            if title.contains("foreign bound") && rule.contains("UNMATCHED") {
                let fires = if rule.contains("!@eq 0") { unmatched != 0 } else { unmatched == 1 };
                assert_eq!(fires, denied, "{title}: {unmatched}");
                judged += 1;
            }
            for (name, set) in [
                ("MULTIPART_HEADER_FOLDING \"!@eq 1", read.flags.header_folding),
                ("MULTIPART_INVALID_HEADER_FOLDING \"!@eq 1", read.flags.invalid_header_folding),
                ("MULTIPART_INVALID_HEADER_FOLDING \"!@eq 0", !read.flags.invalid_header_folding),
                ("MULTIPART_DATA_AFTER \"@eq 1", read.flags.data_after),
            ] {
                if rule.contains(name) {
                    assert!(set, "{title}: {rule}");
                    judged += 1;
                }
            }
        }
    }
    assert!(judged >= 40, "only {judged} statements judged");
}

/// The obvious way to split a well-formed body, to hold `memmem` against.
#[test]
fn contents_equal_what_went_in() {
    let mut rng = Rng::new(3);
    let pieces: [&[u8]; 12] =
        [b"-", b"--", b"\r", b"\n", b"\r\n", b"B", b"BB", b"--B", b"x", b"\0", b"\xFF", b"\r\n--B "];
    let mut scratch = Scratch::default();
    for round in 0..20_000 {
        let contents: Vec<_> = (0..rng.below(4)).map(|_| rng.pieces(&pieces, 12)).collect();
        let mut body = Vec::new();
        for content in &contents {
            body.extend_from_slice(b"--BB\r\nContent-Disposition: form-data; name=n\r\n\r\n");
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--BB--\r\n");
        // A content with a line that begins with the boundary is another test's.
        if contents
            .iter()
            .any(|content| [b"\n", content.as_slice()].concat().windows(5).any(|five| five == b"\n--BB"))
        {
            continue;
        }
        let mut sink = Collected::default();
        let limits = Limits::default();
        let read = multipart(TYPE.as_bytes(), &body, true, &limits, &mut sink, &mut scratch);
        let values: Vec<_> = sink.args.into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, contents, "round {round}: {}", lossy(&body));
        let blanks_error = read.error.is_none_or(|error| error.to_string().contains("whitespace"));
        assert!(blanks_error, "round {round}: {:?}", read.error);
    }
}

/// Whatever the bytes: no panic, and no content handed over twice.
#[test]
fn hostile_bodies_are_survived() {
    let whole = b"--BB\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n1\r\n--BB\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"x\"; filename*=utf-8''%41\r\n\
        Content-Type: text/plain\r\n folded\r\n\r\nline1\r\nline2\r\n--BB--\r\n";
    let pieces: [&[u8]; 22] = [
        b"--BB",
        b"--",
        b"\r\n",
        b"\n",
        b"\r",
        b"Content-Disposition",
        b":",
        b" ",
        b"form-data",
        b";",
        b"name=",
        b"filename=",
        b"filename*=",
        b"utf-8''",
        b"\"",
        b"'",
        b"\\",
        b"a",
        b"\0",
        b"%41",
        b"\x0c",
        b"--BB\r\nContent-Disposition: form-data; name=a\r\n\r\n",
    ];
    let types = [
        "multipart/form-data; boundary=BB",
        "multipart/form-data; boundary=\"BB\"",
        "multipart/form-data boundary = B",
    ];
    let limits = Limits { parts: 8, part_head: 100, part_line: 60, ..Limits::default() };
    let mut rng = Rng::new(17);
    let mut scratch = Scratch::default();
    for round in 0..40_000 {
        let body = match round % 2 {
            0 => rng.pieces(&pieces, 40),
            _ => rng.mutate(whole),
        };
        let content_type = match rng.below(4) {
            3 => rng.mutate(types[0].as_bytes()),
            other => types[other].as_bytes().to_vec(),
        };
        for complete in [true, false] {
            let mut sink = Collected::default();
            let read = multipart(&content_type, &body, complete, &limits, &mut sink, &mut scratch);
            // Content once, each header line once with the part's name, which is
            // part of one of them.
            assert!(sink.size() <= body.len() * 4 + 200, "round {round}: {}", lossy(&body));
            assert!(read.parts <= 8);
        }
    }
}
