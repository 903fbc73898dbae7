//! A request as the operator writes it down: raw bytes of a file, or the short form
//! of the command line.

use crate::terminal::escape;
use edge_http::http1::{self, Body, BodyLimits, Framing, HeadParser, Lines};
use edge_http::{GuardLimits, Refusal, RequestHead, Version};
use role::Fault;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

/// A request that is looked at is held in memory: its head and body, at most.
const LARGEST: u64 = 64 << 20;

/// Heads of files are read up to here; the site's own limits are looked at later.
const LIMITS: GuardLimits = GuardLimits { head: 1 << 20, header_lines: 1_000 };

/// Where a request comes from that names no client (RFC 5737: an address of no one).
pub(crate) const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));

/// What a browser sends with everything, so that the short form is judged as a
/// browser's request and not for what it leaves out.
const BROWSER: [(&str, &str); 3] = [
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Language", "en-GB,en;q=0.5"),
];

const FORM: &str = "application/x-www-form-urlencoded";

/// One request, whole.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Request {
    /// Where it was read, for messages.
    pub(crate) origin: String,
    pub(crate) client: Option<IpAddr>,
    pub(crate) method: Vec<u8>,
    /// Origin form, or `*`.
    pub(crate) target: Vec<u8>,
    /// Empty where it names no host.
    pub(crate) authority: Vec<u8>,
    pub(crate) version: Version,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) body: Vec<u8>,
    /// What was made of it beyond what was written, for the operator.
    pub(crate) notes: Vec<String>,
}

impl Request {
    /// Runs with the head that the engine sees.
    pub(crate) fn with_head<T>(&self, look: impl FnOnce(&RequestHead<'_>) -> T) -> T {
        let mut headers: Vec<(&[u8], &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        // As the edge does it: HTTP/2 has `:authority` where rules look for Host.
        let has_host = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host"));
        if self.version == Version::Http2 && !has_host && !self.authority.is_empty() {
            headers.push((b"host", &self.authority));
        }
        look(&RequestHead {
            method: &self.method,
            target: &self.target,
            authority: &self.authority,
            version: self.version,
            headers: &headers,
        })
    }

    /// `GET /search?q=…`, safe for a terminal.
    pub(crate) fn line(&self) -> String {
        let host = String::from_utf8_lossy(&self.authority);
        let (method, target) = (String::from_utf8_lossy(&self.method), String::from_utf8_lossy(&self.target));
        escape(&format!("{method} {host}{target}"))
    }

    /// A header that is set where there is none of its name.
    pub(crate) fn default_header(&mut self, name: &str, value: &str) {
        if !self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name.as_bytes())) {
            self.headers.push((name.into(), value.into()));
        }
    }
}

/// Why bytes are no request of ours.
#[derive(Debug, PartialEq)]
pub(crate) enum Wrong {
    /// The edge answers this with a 4xx, before any rule runs.
    Refused(Refusal),
    /// It ends before it is whole.
    Incomplete(String),
}

/// Reads raw bytes as the edge would. Where an editor wrote the head's lines without
/// CR, they are completed, and the request says so.
pub(crate) fn parse(origin: &str, raw: &[u8]) -> Result<Request, Wrong> {
    let mut notes = Vec::new();
    let mut completed = None;
    if let Some((head, body)) = without_carriage_returns(raw) {
        notes.push("its lines end in LF alone, which the edge refuses; looked at with CR LF".to_owned());
        completed = Some([head.as_slice(), body].concat());
    }
    let raw = completed.as_deref().unwrap_or(raw);
    let mut lines = Lines::default();
    let parsed = HeadParser::new(LIMITS).read(raw, &mut lines).map_err(Wrong::Refused)?;
    let head = parsed
        .ok_or_else(|| Wrong::Incomplete("the head does not end: an empty line must follow it".to_owned()))?;
    let seen = head.request().map_err(Wrong::Refused)?;
    let rest = &raw[head.length..];
    let body = match head.framing {
        // Whoever saves a request rarely counts its body.
        Framing::None if !rest.trim_ascii().is_empty() => {
            let body = rest.strip_suffix(b"\n").map_or(rest, |b| b.strip_suffix(b"\r").unwrap_or(b));
            notes.push(format!("no Content-Length: the {} bytes behind the head are its body", body.len()));
            body.to_vec()
        }
        framing => {
            let limits = BodyLimits { content: LARGEST, trailers: 8 << 10, trailer_lines: 100 };
            match http1::read_body(rest, framing, limits).map_err(Wrong::Refused)? {
                Some(Body { content, .. }) => content.into_owned(),
                None => {
                    return Err(Wrong::Incomplete(match framing {
                        Framing::Length(length) => {
                            format!("Content-Length says {length} bytes of body, and {} follow", rest.len())
                        }
                        _ => "the last chunk of its body is missing".to_owned(),
                    }));
                }
            }
        }
    };
    Ok(Request {
        origin: origin.to_owned(),
        client: None,
        method: seen.method.to_vec(),
        target: seen.target.to_vec(),
        authority: seen.authority.to_vec(),
        version: seen.version,
        headers: seen.headers.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect(),
        body,
        notes,
    })
}

/// The head with CR LF and the rest, where no line of the head has a CR.
fn without_carriage_returns(raw: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let first = memchr::memchr(b'\n', raw)?;
    if first == 0 || raw[first - 1] == b'\r' {
        return None;
    }
    let end = memchr::memmem::find(raw, b"\n\n").unwrap_or(raw.len().saturating_sub(1));
    let head = &raw[..=end.min(raw.len() - 1)];
    if head.contains(&b'\r') {
        return None;
    }
    let mut completed = Vec::with_capacity(head.len() + 64);
    for line in head.split_inclusive(|b| *b == b'\n') {
        completed.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
        completed.extend_from_slice(b"\r\n");
    }
    completed.extend_from_slice(b"\r\n");
    Some((completed, raw.get(end + 2..).unwrap_or_default()))
}

/// What the options of the short form add.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short<'a> {
    /// `Name: value`.
    pub(crate) headers: &'a [String],
    /// The body, or `@FILE`.
    pub(crate) data: Option<&'a str>,
    /// Where the request names none.
    pub(crate) host: &'a str,
}

/// A request in the short form: `/search?q=…`, `GET /search?q=…`, or with a whole URL.
pub(crate) fn short(text: &str, short: Short<'_>) -> Result<Request, Fault> {
    let text = text.trim();
    let (method, target) = match text.split_once(' ') {
        Some((method, target)) if is_method(method) => (Some(method), target.trim()),
        _ => (None, text),
    };
    let target = ["HTTP/1.1", "HTTP/1.0", "HTTP/2"]
        .iter()
        .find_map(|version| target.strip_suffix(version))
        .map_or(target, str::trim_end);
    let (host, target) = match target.split_once("://") {
        Some(("http" | "https", rest)) => {
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            (&rest[..end], &rest[end..])
        }
        _ => (short.host, target),
    };
    let target = if target.is_empty() { "/" } else { target };
    if !target.starts_with('/') && target != "*" {
        return Err(Fault::new(format!("`{}` is neither an event's id nor a request", escape(text))).hint(
            "write `'GET /search?q=…'` with a path that begins with `/`, or name a file that holds a raw request, or `-`",
        ));
    }
    let body = match short.data {
        Some(data) => match data.strip_prefix('@') {
            Some(file) => read(Path::new(file))?,
            None => data.as_bytes().to_vec(),
        },
        None => Vec::new(),
    };
    let method = method.unwrap_or(if short.data.is_some() { "POST" } else { "GET" });
    let mut request = Request {
        origin: "the command line".to_owned(),
        client: None,
        method: method.into(),
        target: as_a_browser_writes(target),
        authority: host.into(),
        version: Version::Http11,
        headers: vec![("Host".into(), host.into())],
        body,
        notes: Vec::new(),
    };
    for line in short.headers {
        let (name, value) = line.split_once(':').ok_or_else(|| {
            Fault::new(format!("`--header {}` has no colon", escape(line)))
                .hint("write `--header 'Name: value'`")
        })?;
        let (name, value) = (name.trim(), value.trim());
        if name.eq_ignore_ascii_case("host") {
            request.authority = value.into();
            request.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(b"host"));
        }
        request.headers.push((name.into(), value.into()));
    }
    for (name, value) in BROWSER {
        request.default_header(name, value);
    }
    if short.data.is_some() {
        request.default_header("Content-Type", FORM);
        let length = request.body.len().to_string();
        request.default_header("Content-Length", &length);
    }
    Ok(request)
}

/// Of RFC 9110 §9 and what is registered beside: upper case in practice.
pub(crate) fn is_method(word: &str) -> bool {
    (2..=20).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'-' || b == b'_')
}

/// What may not stand in a request line is percent-encoded, as browsers do
/// (WHATWG URL, the query percent-encode set and the path's).
fn as_a_browser_writes(target: &str) -> Vec<u8> {
    let mut written = Vec::with_capacity(target.len());
    for byte in target.bytes() {
        match byte {
            0x21..=0x7e if !matches!(byte, b'"' | b'<' | b'>' | b'#') => written.push(byte),
            _ => written.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    written
}

/// A file's bytes, or standard input's where it is `-`.
pub(crate) fn read(file: &Path) -> Result<Vec<u8>, Fault> {
    let cannot = |e: std::io::Error| Fault::new(format!("cannot read `{}`: {e}", file.display()));
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().lock().take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
    } else {
        std::fs::File::open(file)
            .and_then(|f| f.take(LARGEST + 1).read_to_end(&mut bytes))
            .map_err(cannot)?;
    }
    if bytes.len() as u64 > LARGEST {
        return Err(Fault::new(format!("`{}` has more than {} MiB", file.display(), LARGEST >> 20))
            .hint("give it in several files"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NO_OPTIONS: Short<'_> = Short { headers: &[], data: None, host: "shop.example" };

    #[test]
    fn raw_requests_are_read_as_the_edge_reads_them() {
        let request =
            parse("a", b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nd=1\n").unwrap();
        assert_eq!((request.body.as_slice(), request.target.as_slice()), (&b"d=1"[..], &b"/a?b=c"[..]));
        assert!(request.notes.is_empty());
        let edited = parse("a", b"POST /a HTTP/1.1\nHost: x\n\nd=1\n").unwrap();
        assert_eq!(edited.body, b"d=1");
        assert_eq!(edited.notes.len(), 2, "{:?}", edited.notes);
        assert_eq!(
            parse("a", b"GET / HTTP/1.1\n Host: x\n\n").unwrap_err(),
            parse("a", b"GET / HTTP/1.1\r\n Host: x\r\n\r\n").unwrap_err()
        );
        assert!(matches!(parse("a", b"GET / HTTP/1.1\r\nHost: x\r\n"), Err(Wrong::Incomplete(_))));
        assert!(matches!(
            parse("a", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nd=1"),
            Err(Wrong::Incomplete(why)) if why.contains("9 bytes")
        ));
        assert!(matches!(
            parse("a", b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
            Err(Wrong::Refused(_))
        ));
        assert!(parse("a", b"").is_err());
        assert!(parse("a", b"\n").is_err());
    }

    #[test]
    fn the_short_form_is_what_a_browser_sends() {
        let cases: [(&str, &str, &str, &str); 6] = [
            ("/a?b=1 2", "GET", "/a?b=1%202", "shop.example"),
            ("GET /a?b='x' or <b>", "GET", "/a?b='x'%20or%20%3Cb%3E", "shop.example"),
            ("DELETE https://other.example/a HTTP/1.1", "DELETE", "/a", "other.example"),
            ("https://other.example", "GET", "/", "other.example"),
            ("/caf\u{e9}", "GET", "/caf%C3%A9", "shop.example"),
            ("OPTIONS *", "OPTIONS", "*", "shop.example"),
        ];
        for (text, method, target, host) in cases {
            let request = short(text, NO_OPTIONS).unwrap();
            let made =
                [&request.method, &request.target, &request.authority].map(|b| String::from_utf8_lossy(b));
            assert_eq!(made, [method, target, host], "{text}");
            assert!(request.headers.iter().any(|(name, _)| name == b"User-Agent"));
        }
        let headers = ["host: b.example".to_owned(), "X-A: 1: 2".to_owned()];
        let request = short("/x", Short { headers: &headers, data: Some("a=1"), host: "a" }).unwrap();
        assert_eq!(
            (request.method.as_slice(), request.authority.as_slice()),
            (&b"POST"[..], &b"b.example"[..])
        );
        assert!(request.headers.contains(&(b"X-A".to_vec(), b"1: 2".to_vec())));
        assert!(request.headers.contains(&(b"Content-Length".to_vec(), b"3".to_vec())));
        for wrong in ["nonsense", "GET nonsense", ""] {
            assert_eq!(short(wrong, NO_OPTIONS).is_err(), !wrong.is_empty(), "{wrong}");
        }
        assert!(short("/x", Short { headers: &["no colon".to_owned()], ..NO_OPTIONS }).is_err());
    }
}
