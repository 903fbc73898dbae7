//! Recorded traffic, in whatever form it is kept: what the edge captured, its access
//! and event logs, the access logs of other servers, raw requests.

use super::request::{self, Request, Wrong};
use super::seen::Seen;
use crate::lines;
use edge_http::Version;
use role::Fault;
use serde_json::Value;
use site::capture::decode;
use std::net::IpAddr;
use std::path::Path;

/// So many requests or events are looked at, the newest first.
pub(crate) const MOST: usize = 1_000_000;

/// What a line or file holds.
#[derive(Debug, PartialEq)]
pub(crate) enum Sample {
    /// A request to try.
    Request(Box<Request>),
    /// An event: it was tried when it happened.
    Event(Seen),
}

/// What was read.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) all: Vec<Sample>,
    /// Lines that hold neither.
    pub(crate) unread: usize,
    /// What was read shows only a part of each request.
    pub(crate) without_body: usize,
    /// Captured requests whose body was not kept whole.
    pub(crate) cut: usize,
}

impl Samples {
    fn add(&mut self, sample: Option<Sample>) {
        match sample {
            Some(sample) => self.all.push(sample),
            None => self.unread += 1,
        }
    }

    /// Reads a file: lines of JSON or of an access log, or one raw request.
    pub(crate) fn read(&mut self, file: &Path) -> Result<(), Fault> {
        let bytes = request::read(file)?;
        let first =
            bytes.split(|b| *b == b'\n').find(|line| !line.trim_ascii().is_empty()).unwrap_or_default();
        let begins_like_a_request = first
            .split(|b| *b == b' ')
            .next()
            .is_some_and(|word| std::str::from_utf8(word).is_ok_and(request::is_method));
        let origin = file.display().to_string();
        if begins_like_a_request {
            let request = request::parse(&origin, &bytes).map_err(|why| match why {
                Wrong::Refused(refusal) => {
                    Fault::new(format!("`{origin}`: the edge refuses it: {}", refusal.explanation()))
                }
                Wrong::Incomplete(why) => Fault::new(format!("`{origin}` holds no whole request: {why}")),
            })?;
            self.all.push(Sample::Request(Box::new(request)));
            return Ok(());
        }
        for line in bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            self.line(&origin, line);
        }
        match self.all.is_empty() && self.unread > 0 {
            true => Err(Fault::new(format!("`{origin}` holds no requests that are understood")).hint(
                "it may be a capture, event or access log of Bastide (JSON lines), an access log of nginx or Apache (common or combined), or one raw request",
            )),
            false => Ok(()),
        }
    }

    /// Reads a log of the site with those that were renamed, the newest first.
    pub(crate) fn log(&mut self, path: &Path) -> Result<(), Fault> {
        let origin = path.display().to_string();
        lines::backwards(path, |line| {
            if !line.trim_ascii().is_empty() {
                self.line(&origin, line);
            }
            self.all.len() < MOST
        })
        .map_err(|e| crate::events::cannot_read(path, &e))
    }

    fn line(&mut self, origin: &str, line: &[u8]) {
        match serde_json::from_slice::<Value>(line) {
            Ok(value) if value["event"] == "waf_match" => {
                self.all.push(Sample::Event(Seen::of_event(&value)))
            }
            // Other events of the event log.
            Ok(value) if value["event"].is_string() && value["target"].is_null() => {}
            Ok(value) if value["target"].is_string() => {
                let captured: Option<site::Captured> = serde_json::from_value(value).ok();
                self.cut += usize::from(captured.as_ref().is_some_and(|captured| !captured.whole));
                let request = captured.map(|captured| of_capture(origin, &captured));
                self.add(request.map(|r| Sample::Request(Box::new(r))));
            }
            Ok(value) => {
                let request = of_access_log(origin, &value);
                self.without_body += usize::from(request.is_some());
                self.add(request.map(|r| Sample::Request(Box::new(r))));
            }
            Err(_) => {
                let request = of_combined(origin, &String::from_utf8_lossy(line));
                self.without_body += usize::from(request.is_some());
                self.add(request.map(|r| Sample::Request(Box::new(r))));
            }
        }
    }
}

fn of_capture(origin: &str, captured: &site::Captured) -> Request {
    let headers: Vec<(Vec<u8>, Vec<u8>)> =
        captured.headers.iter().map(|(name, value)| (name.clone().into_bytes(), decode(value))).collect();
    let mut body = decode(&captured.body);
    if !captured.whole {
        keep_whole_pairs(&headers, &mut body);
    }
    Request {
        origin: format!("{origin}: {}", captured.request_id),
        client: Some(captured.client),
        method: decode(&captured.method),
        target: decode(&captured.target),
        authority: decode(&captured.host),
        version: match captured.version.as_str() {
            "HTTP/1.0" => Version::Http10,
            "HTTP/1.1" => Version::Http11,
            _ => Version::Http2,
        },
        headers,
        body,
        notes: Vec::new(),
    }
}

/// Of a body that was cut when it was captured only what is whole may be tried: the
/// pairs of a form. Half a document would be refused for being half.
fn keep_whole_pairs(headers: &[(Vec<u8>, Vec<u8>)], body: &mut Vec<u8>) {
    let is_form = headers.iter().any(|(name, value)| {
        name == b"content-type"
            && value.to_ascii_lowercase().starts_with(b"application/x-www-form-urlencoded")
    });
    let end = if is_form { body.iter().rposition(|b| *b == b'&').unwrap_or(0) } else { 0 };
    body.truncate(end);
}

/// A line of our own access log: it has no query, no body, few headers.
fn of_access_log(origin: &str, line: &Value) -> Option<Request> {
    let get = |key: &str| line[key].as_str().filter(|text| !text.is_empty());
    let path = get("path")?;
    // What was escaped is not what was sent.
    if path.contains(['\\', '…']) {
        return None;
    }
    plain(
        origin,
        get("client"),
        get("method")?,
        path.as_bytes(),
        get("host"),
        get("user_agent"),
        get("referer"),
    )
}

/// A line of nginx' or Apache's access log, common or combined:
/// `192.0.2.1 - - [time] "GET /a?b=c HTTP/1.1" 200 612 "referer" "agent"`.
fn of_combined(origin: &str, line: &str) -> Option<Request> {
    let client = line.split(' ').next()?;
    let quoted = quoted_parts(line);
    let mut parts = quoted.first()?.split(|b| *b == b' ');
    let (method, target) = (std::str::from_utf8(parts.next()?).ok()?, parts.next()?);
    if !request::is_method(method) || !target.starts_with(b"/") || client.parse::<IpAddr>().is_err() {
        return None;
    }
    let given = |at: usize| {
        let text = quoted.get(at).map(|text| String::from_utf8_lossy(text).into_owned());
        text.filter(|text| !matches!(text.as_str(), "-" | ""))
    };
    let (referer, agent) = (given(1), given(2));
    plain(origin, Some(client), method, target, None, agent.as_deref(), referer.as_deref())
}

/// The texts between double quotes; `\"` within one does not end it, and `\xHH` is a
/// byte (nginx' `log_format`, `escape=default`; Apache's `%r`).
fn quoted_parts(line: &str) -> Vec<Vec<u8>> {
    let (mut parts, mut part, mut inside) = (Vec::new(), Vec::new(), false);
    let mut rest = line.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (inside, byte) {
            (true, b'\\') => {
                let hex = after.get(1..3).filter(|_| after.first() == Some(&b'x'));
                let value = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
                match (value, after.first()) {
                    (Some(value), _) => {
                        part.push(value);
                        rest = &after[3..];
                    }
                    (None, Some(&escaped)) => {
                        part.push(escaped);
                        rest = &after[1..];
                    }
                    (None, None) => {}
                }
            }
            (true, b'"') => {
                parts.push(std::mem::take(&mut part));
                inside = false;
            }
            (true, byte) => part.push(byte),
            (false, b'"') => inside = true,
            (false, _) => {}
        }
    }
    parts
}

fn plain(
    origin: &str,
    client: Option<&str>,
    method: &str,
    target: &[u8],
    host: Option<&str>,
    agent: Option<&str>,
    referer: Option<&str>,
) -> Option<Request> {
    let mut request = Request {
        origin: origin.to_owned(),
        client: client.and_then(|client| client.parse().ok()),
        method: method.into(),
        target: target.into(),
        authority: host.unwrap_or_default().into(),
        version: Version::Http11,
        headers: Vec::new(),
        body: Vec::new(),
        notes: Vec::new(),
    };
    for (name, value) in [("Host", host), ("User-Agent", agent), ("Referer", referer)] {
        if let Some(value) = value {
            request.headers.push((name.into(), value.into()));
        }
    }
    // Logs do not keep it, and every browser sends it.
    request.default_header("Accept", "*/*");
    Some(request)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str) -> Samples {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample");
        std::fs::write(&path, text).unwrap();
        let mut samples = Samples::default();
        samples.read(&path).unwrap();
        samples
    }

    fn requests(samples: &Samples) -> Vec<String> {
        let line = |sample: &Sample| match sample {
            Sample::Request(request) => Some(request.line()),
            Sample::Event(_) => None,
        };
        samples.all.iter().filter_map(line).collect()
    }

    #[test]
    fn logs_of_all_kinds_are_read() {
        let captured = json!({ "at_ms": 1, "request_id": "r", "client": "192.0.2.7", "route": "/*", "method": "POST",
            "target": "/a?b=1", "host": "h", "version": "HTTP/2.0", "headers": [["x", "latin1:\u{e9}"]], "body": "c=2", "whole": true });
        let event =
            json!({ "event": "waf_match", "id": "X", "client": "192.0.2.1", "path": "/a", "matches": [] });
        let access = json!({ "at_ms": 1, "client": "192.0.2.2", "method": "GET", "host": "h", "path": "/b", "status": 200, "user_agent": "u" });
        let text = format!(
            "{captured}\n{event}\n{{\"event\":\"process\"}}\n{access}\n\n\
             192.0.2.1 - - [01/Jan/2026:00:00:00 +0000] \"GET /search?q=a%27b HTTP/1.1\" 200 5 \"-\" \"Mozilla \\\"x\\\" \\x41\"\n\
             nonsense\n{{}}\n"
        );
        let samples = read(&text);
        assert_eq!(requests(&samples), ["POST h/a?b=1", "GET h/b", "GET /search?q=a%27b"]);
        assert_eq!((samples.all.len(), samples.unread, samples.without_body), (4, 2, 2));
        let Sample::Request(first) = &samples.all[0] else { panic!() };
        assert_eq!((first.headers[0].1.as_slice(), first.body.as_slice()), (&b"\xe9"[..], &b"c=2"[..]));
        let Sample::Request(last) = &samples.all[3] else { panic!() };
        assert!(
            last.headers.contains(&(b"User-Agent".to_vec(), b"Mozilla \"x\" A".to_vec())),
            "{:?}",
            last.headers
        );
    }

    #[test]
    fn of_a_body_that_was_cut_only_whole_pairs_are_tried() {
        let sample = |kind: &str, body: &str| {
            let line = json!({ "at_ms": 1, "request_id": "r", "client": "192.0.2.7", "route": "/*", "method": "POST", "target": "/",
                "host": "h", "version": "HTTP/1.1", "headers": [["content-type", kind]], "body": body, "whole": false });
            let samples = read(&line.to_string());
            assert_eq!(samples.cut, 1);
            let Some(Sample::Request(request)) = samples.all.into_iter().next() else { panic!() };
            String::from_utf8(request.body).unwrap()
        };
        assert_eq!(sample("application/x-www-form-urlencoded; charset=utf-8", "a=1&b=2&c=it's <"), "a=1&b=2");
        assert_eq!(sample("application/x-www-form-urlencoded", "a=it"), "");
        assert_eq!(sample("application/json", "{\"a\":"), "");
    }

    #[test]
    fn a_file_may_be_one_request_and_what_is_neither_is_told() {
        let samples = read("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nb=1");
        assert_eq!(requests(&samples), ["POST h/a"]);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "a\nb\n").unwrap();
        assert!(Samples::default().read(&path).unwrap_err().hint.is_some());
        assert!(Samples::default().read(&folder.path().join("none")).is_err());
    }
}
