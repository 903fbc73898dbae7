//! The shop's own rules against what attackers and customers send. The cases are
//! data: `examples/shop/waf/cases`.

use edge_http::{RequestHead, Version};
use std::path::PathBuf;
use waf::settings::{BeyondLimit, Mode, RuleFile, Settings};
use waf::{Engine, Verdict};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/shop/waf")
}

fn engine(mode: Mode) -> Engine {
    let mut files: Vec<RuleFile> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "conf"))
        .map(|path| RuleFile {
            name: format!("waf/{}", path.file_name().unwrap().to_string_lossy()),
            text: std::fs::read_to_string(&path).unwrap(),
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let settings = Settings {
        mode,
        files,
        exclude: Vec::new(),
        body_limit: base::Bytes(128 << 10),
        beyond_limit: BeyondLimit::Pass,
    };
    let errors = |errors: Vec<waf::LoadError>| errors.iter().map(|e| format!("{e}\n")).collect::<String>();
    Engine::load(&settings).unwrap_or_else(|e| panic!("{}", errors(e)))
}

/// The lines of a case file, with their numbers, split at `|` into `columns`.
fn cases(name: &str, columns: usize) -> Vec<(usize, Vec<String>)> {
    let text = std::fs::read_to_string(folder().join("cases").join(name)).unwrap();
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let split = |(number, line): (usize, &str)| {
        let parts: Vec<String> = line.splitn(columns, '|').map(|part| part.trim().to_owned()).collect();
        assert_eq!(parts.len(), columns, "{name}:{number}");
        (number, parts)
    };
    lines.map(split).collect()
}

/// `\xHH`, `\n` and `\t` of a case to bytes.
fn unescape(text: &str) -> Vec<u8> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let after = &rest[at + 1..];
        let (byte, len) = match after.as_bytes().first() {
            Some(b'x') => (u8::from_str_radix(&after[1..3], 16).unwrap(), 3),
            Some(b'n') => (b'\n', 1),
            Some(b't') => (b'\t', 1),
            _ => (b'\\', 0),
        };
        out.push(byte);
        rest = &after[len..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

struct Request {
    method: String,
    target: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
}

fn encoded(value: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-._~".contains(b);
    value.iter().map(|b| if plain(b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn json_string(value: &[u8]) -> String {
    let one = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        c if (c as u32) < 0x20 => format!("\\u{:04x}", c as u32),
        c => c.to_string(),
    };
    String::from_utf8_lossy(value).chars().map(one).collect()
}

fn multipart(field: &str, file: Option<&[u8]>, value: &[u8]) -> Vec<u8> {
    let name = file.map(|f| {
        [&b"; filename=\""[..], &String::from_utf8_lossy(f).replace('"', "\\\"").into_bytes(), b"\""].concat()
    });
    [
        b"--edge\r\nContent-Disposition: form-data; name=\"",
        field.as_bytes(),
        b"\"",
        name.as_deref().unwrap_or_default(),
        b"\r\n\r\n",
        value,
        b"\r\n--edge--\r\n",
    ]
    .concat()
}

/// The requests that a case stands for.
fn requests(place: &str, value: &[u8]) -> Vec<Request> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let get = |target: String| Request { method: "GET".into(), target, headers: Vec::new(), body: None };
    let post = |content_type: &str, body: Vec<u8>| Request {
        method: "POST".into(),
        target: "/checkout".into(),
        headers: vec![("content-type".into(), content_type.into())],
        body: Some(body),
    };
    let (kind, rest) = place.split_once(' ').unwrap_or((place, ""));
    match kind {
        "text" => vec![
            get(format!("/search?q={}", encoded(value))),
            post("application/x-www-form-urlencoded", format!("name=A&address={}", encoded(value)).into()),
            post("multipart/form-data; boundary=edge", multipart("address", None, value)),
            post(
                "application/json",
                format!("{{\"order\":[{{\"note\":\"{}\"}}]}}", json_string(value)).into(),
            ),
        ],
        "q" => vec![get(format!(
            "/search?q={}",
            text(value).replace(' ', "+").replace('%', "%25").replace('\'', "%27")
        ))],
        "path" => vec![get(format!("/product/{}", encoded(value)))],
        "target" => vec![get(text(value))],
        "name" => vec![get(format!("/search?{}=1", encoded(value)))],
        "method" => vec![Request { method: text(value), ..get("/".into()) }],
        "cookie" => {
            let cookie = [b"theme=dark; cart=", value].concat();
            vec![Request { headers: vec![("cookie".into(), cookie)], ..get("/cart".into()) }]
        }
        "header" => vec![Request { headers: vec![(rest.to_lowercase(), value.to_vec())], ..get("/".into()) }],
        "file" => {
            vec![post("multipart/form-data; boundary=edge", multipart("photo", Some(value), b"\x89PNG"))]
        }
        "body" => vec![post(rest, value.to_vec())],
        other => panic!("no place `{other}`"),
    }
}

/// The verdict, and the tags and ids of what matched.
fn inspect(engine: &Engine, request: &Request) -> (Verdict, Vec<(u64, String, Vec<String>)>) {
    let headers: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
    let head = RequestHead {
        method: request.method.as_bytes(),
        target: request.target.as_bytes(),
        authority: b"shop.example",
        version: Version::Http2,
        headers: &headers,
    };
    let mut tx = engine.begin([203, 0, 113, 9].into());
    let follows = request.body.is_some() && engine.wants_body(&head);
    let mut verdict = tx.request_head(&head, follows);
    if let Some(body) = request.body.as_ref().filter(|_| follows && verdict == Verdict::Pass) {
        verdict = tx.request_body(body, true);
    }
    let matches = tx.into_matches().into_iter();
    (
        verdict,
        matches.map(|m| (m.rule, format!("{}={} ({})", m.variable, m.value, m.matched), m.tags)).collect(),
    )
}

#[test]
fn attacks_are_refused() {
    // A value may be two attacks at once, and the first rule refuses it: that its
    // own family sees it too, only the engine that does not refuse can tell.
    let (block, detect) = (engine(Mode::Block), engine(Mode::Detect));
    let (mut passed, mut count) = (Vec::new(), 0);
    for (line, case) in cases("attacks.txt", 3) {
        let [family, place, value] = &case[..] else { unreachable!() };
        for request in requests(place, &unescape(value)) {
            count += 1;
            let denied = inspect(&block, &request).0 != Verdict::Pass;
            let (verdict, matches) = inspect(&detect, &request);
            assert_eq!(verdict, Verdict::Pass, "detect mode refused {value}");
            let tag = format!("attack-{family}");
            if !denied || !matches.iter().any(|(_, _, tags)| tags.contains(&tag)) {
                let what = format!("{} {}", request.method, request.target);
                passed.push(format!("attacks.txt:{line}: {value} as {what}: {matches:?}"));
            }
        }
    }
    assert!(passed.is_empty(), "{} of {count}:\n{}", passed.len(), passed.join("\n"));
    assert!(count > 500, "{count}");
}

#[test]
fn customers_are_let_pass() {
    let engine = engine(Mode::Block);
    let mut refused = Vec::new();
    for (line, case) in cases("benign.txt", 2) {
        let [place, value] = &case[..] else { unreachable!() };
        for request in requests(place, &unescape(value)) {
            let (verdict, matches) = inspect(&engine, &request);
            if verdict != Verdict::Pass || !matches.is_empty() {
                refused.push(format!("benign.txt:{line}: {value}: {matches:?}"));
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn there_are_about_thirty_rules() {
    assert!((30..=45).contains(&engine(Mode::Block).rule_count()), "{}", engine(Mode::Block).rule_count());
}
