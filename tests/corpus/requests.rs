//! Requests from case files, and engines to show them to.

use edge_http::{RequestHead, Version};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use testkit::site::repository;
use waf_engine::settings::{Limits, Mode, RawBody, RuleFile, Settings};
use waf_engine::{Connection, Verdict, Workspace};

/// Rules with a name for messages.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    engine: Arc<waf_engine::Engine>,
}

fn waf() -> PathBuf {
    repository().join("examples/shop/waf")
}

/// A file as the site reads it: what is not UTF-8 is taken for Latin-1.
fn read(path: &Path) -> RuleFile {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let text =
        String::from_utf8(bytes).unwrap_or_else(|e| e.as_bytes().iter().map(|&b| char::from(b)).collect());
    RuleFile { name: path.display().to_string(), text }
}

/// The files of a folder with one of these endings, by name.
fn files(folder: &Path, ending: &str) -> Vec<RuleFile> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == ending));
    paths.sort();
    paths.iter().map(|path| read(path)).collect()
}

/// As the shop's file has them: the Core Rule Set's setup, what the shop says, the rules.
fn load(name: &'static str, crs: Option<(PathBuf, PathBuf)>) -> Engine {
    let mut all = Vec::new();
    let mut data = Vec::new();
    if let Some((setup, _)) = &crs {
        all.push(read(setup));
    }
    all.extend(files(&waf(), "conf"));
    all.extend(files(&waf().join("own"), "conf"));
    if let Some((_, rules)) = &crs {
        all.extend(files(rules, "conf"));
        data = files(rules, "data");
    }
    let settings = Settings {
        mode: Mode::Block,
        files: all,
        data,
        tx: Vec::new(),
        exclude: Vec::new(),
        processors_by_content_type: true,
        raw_body: RawBody::default(),
        limits: Limits::default(),
    };
    let engine = waf_engine::Engine::load(&settings).unwrap_or_else(|errors| {
        panic!("{name}: {}", errors.iter().map(|e| format!("{e}\n")).collect::<String>())
    });
    Engine { name, engine: Arc::new(engine) }
}

/// What there is here; says what there is not.
#[allow(clippy::print_stdout)]
pub(crate) fn engines() -> Vec<Engine> {
    let mut engines = vec![load("the shop's own rules", None)];
    let shared = repository().join("../shared/testdata/crs/rules");
    // Names within are joined, so there must be no `..` in it.
    let shared = shared.canonicalize().unwrap_or(shared);
    let root = PathBuf::from(std::env::var_os("MODSECURITY_CRS_ROOT").unwrap_or("/".into()));
    let debian =
        (root.join("etc/modsecurity/crs/crs-setup.conf"), root.join("usr/share/modsecurity-crs/rules"));
    for (name, setup, rules) in
        [("CRS 4", shared.join("crs-setup.conf.example"), shared), ("Debian's CRS 3.3", debian.0, debian.1)]
    {
        match setup.is_file() && rules.is_dir() {
            true => engines.push(load(name, Some((setup, rules)))),
            false => println!("note: {name} is not here, so nothing is tried with it"),
        }
    }
    engines
}

/// The lines of a case file, with their numbers, split at `|` into `columns`.
pub(crate) fn cases(name: &str, columns: usize) -> Vec<(usize, Vec<String>)> {
    let text = std::fs::read_to_string(waf().join("cases").join(name)).unwrap();
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let split = |(number, line): (usize, &str)| {
        let parts: Vec<String> = line.splitn(columns, '|').map(|part| part.trim().to_owned()).collect();
        assert_eq!(parts.len(), columns, "{name}:{number}");
        (number, parts)
    };
    lines.map(split).collect()
}

/// `\xHH`, `\n` and `\t` of a case to bytes.
pub(crate) fn unescape(text: &str) -> Vec<u8> {
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

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
    }

    /// What every browser sends, and what a body needs.
    fn completed(mut self) -> Self {
        let browser = [
            ("Host", "shop.example"),
            ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            (
                "Accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
            ),
            ("Accept-Language", "en-GB,en;q=0.7,de;q=0.3"),
            ("Accept-Encoding", "gzip, deflate, br, zstd"),
        ];
        for (name, value) in browser {
            if !self.has(name) {
                self.headers.push((name.to_owned(), value.into()));
            }
        }
        if (!self.body.is_empty() || self.method == "POST") && !self.has("content-length") {
            self.headers.push(("Content-Length".to_owned(), self.body.len().to_string().into()));
        }
        self
    }
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
        [
            &b"; filename=\""[..],
            &String::from_utf8_lossy(f).replace('"', "%22").into_bytes(),
            b"\"\r\nContent-Type: image/png",
        ]
        .concat()
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
pub(crate) fn requests(place: &str, value: &[u8]) -> Vec<Request> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let get =
        |target: String| Request { method: "GET".into(), target, headers: Vec::new(), body: Vec::new() };
    let post = |content_type: &str, body: Vec<u8>| Request {
        method: "POST".into(),
        target: "/checkout".into(),
        headers: vec![("Content-Type".into(), content_type.into())],
        body,
    };
    let (kind, rest) = place.split_once(' ').unwrap_or((place, ""));
    let all = match kind {
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
            vec![Request { headers: vec![("Cookie".into(), cookie)], ..get("/cart".into()) }]
        }
        "header" => vec![Request { headers: vec![(rest.to_owned(), value.to_vec())], ..get("/".into()) }],
        "file" => {
            vec![post("multipart/form-data; boundary=edge", multipart("photo", Some(value), b"\x89PNG"))]
        }
        "body" => vec![post(rest, value.to_vec())],
        other => panic!("no place `{other}`"),
    };
    all.into_iter().map(Request::completed).collect()
}

/// What the rules made of a request.
pub(crate) struct Seen {
    pub(crate) refused: bool,
    pub(crate) matches: Vec<(u64, String)>,
}

pub(crate) fn inspect(engine: &Engine, request: &Request) -> Seen {
    let headers: Vec<(&[u8], &[u8])> =
        request.headers.iter().map(|(n, v)| (n.as_bytes(), v.as_slice())).collect();
    let host = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    let head = RequestHead {
        method: request.method.as_bytes(),
        target: request.target.as_bytes(),
        authority: host.map_or(&b"shop.example"[..], |(_, value)| value),
        version: Version::Http11,
        headers: &headers,
    };
    let connection = Connection {
        client: [203, 0, 113, 9].into(),
        client_port: 40_000,
        server: [203, 0, 113, 80].into(),
        server_port: 443,
        now_us: 1_750_000_000_000_000,
        unique_id: "case",
        clock: || 0,
    };
    let mut transaction = engine.engine.begin(Workspace::default(), connection);
    let mut verdict = transaction.request_head(&head);
    if verdict == Verdict::Pass {
        let wanted = transaction.wants_request_body();
        verdict = transaction.request_body(if wanted { &request.body } else { b"" }, true);
    }
    let (report, _) = transaction.finish(1_750_000_000_000_000);
    let told =
        report.matches.into_iter().map(|m| (m.rule, format!("{}={} ({})", m.variable, m.value, m.matched)));
    Seen { refused: verdict != Verdict::Pass, matches: told.collect() }
}

/// The requests of `cases/benign/*.http`, each with its place and what it is about.
///
/// The form is that of editors' HTTP clients: `###` and a comment begin a request; then
/// its first line, header lines, an empty line and the body. Header lines before the
/// first `###` are those of every request of the file. Lines of a multipart body end in
/// CR LF; a line `< FILE` is that file's content, `< random N` are N bytes of noise.
pub(crate) fn sessions() -> Vec<(String, Request)> {
    let folder = waf().join("cases/benign");
    let mut all = Vec::new();
    for file in files(&folder, "http") {
        let name = Path::new(&file.name).file_name().unwrap().to_string_lossy().into_owned();
        let mut parts = file.text.split("\n### ");
        let common = headers(parts.next().unwrap_or_default().lines().filter(|l| !l.starts_with('#')));
        for part in parts {
            let (about, rest) = part.split_once('\n').unwrap_or((part, ""));
            all.push((format!("{name}: {about}"), request(rest, &common, &folder)));
        }
    }
    all
}

fn headers<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(String, Vec<u8>)> {
    let split = |line: &str| {
        let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no header: {line}"));
        (name.to_owned(), value.trim().as_bytes().to_vec())
    };
    lines.filter(|line| !line.trim().is_empty()).map(split).collect()
}

fn request(text: &str, common: &[(String, Vec<u8>)], folder: &Path) -> Request {
    let (head, body) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut lines = head.lines();
    let (method, target) = lines.next().unwrap_or_default().split_once(' ').expect("a request line");
    let mut request = Request {
        method: method.to_owned(),
        target: target.trim().to_owned(),
        headers: headers(lines),
        body: Vec::new(),
    };
    let missing: Vec<_> = common.iter().filter(|(name, _)| !request.has(name)).cloned().collect();
    request.headers.extend(missing);
    let content_type = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let multipart = content_type.is_some_and(|(_, value)| value.starts_with(b"multipart/"));
    let end: &[u8] = if multipart { b"\r\n" } else { b"\n" };
    for line in body.trim_end_matches('\n').lines() {
        match line.strip_prefix("< ") {
            Some(what) => request.body.extend(match what.strip_prefix("random ") {
                Some(count) => noise(count.parse().expect("a number")),
                None => std::fs::read(folder.join(what)).unwrap_or_else(|e| panic!("{what}: {e}")),
            }),
            None => request.body.extend_from_slice(line.as_bytes()),
        }
        request.body.extend_from_slice(end);
    }
    if !multipart && request.body.ends_with(b"\n") {
        request.body.pop();
    }
    request.completed()
}

/// The same bytes each time: what a photo looks like to rules (Knuth's multiplier).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    (0..count).map(|_| next()).collect()
}
