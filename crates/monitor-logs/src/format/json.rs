//! JSON lines: one object a line, with keys that a mapping names.
//!
//! The line is scanned, not read into a tree: what is not asked for is stepped
//! over. Sources: RFC 8259; Caddy's "How logging works" (`http.log.access`);
//! Traefik's "Access logs".

use super::{BadFormat, request_line};
use crate::entry::{Entry, Time, integer, scaled};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Which key holds what. A key inside of an object is written with a dot:
/// `request.host`. Empty is: the lines do not say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Json {
    /// When: RFC 3339 as text, or a number of [`Json::time_unit`]s.
    pub time: String,
    /// What a number in `time` counts since the epoch.
    pub time_unit: Unit,
    /// The status code. Must be given.
    pub status: String,
    /// Bytes sent.
    pub bytes: String,
    /// How long it took.
    pub duration: String,
    /// What a number in `duration` counts.
    pub duration_unit: Unit,
    /// The host asked for.
    pub host: String,
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// A whole request line (`GET / HTTP/1.1`), where method and target are not apart.
    pub request: String,
    /// The client's address.
    pub ip: String,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// Seconds, with a fraction perhaps.
    #[default]
    S,
    /// Milliseconds.
    Ms,
    /// Microseconds.
    Us,
    /// Nanoseconds.
    Ns,
}

impl Unit {
    /// Of 10^-n seconds.
    const fn power(self) -> u32 {
        match self {
            Self::S => 0,
            Self::Ms => 3,
            Self::Us => 6,
            Self::Ns => 9,
        }
    }
}

impl Json {
    /// Bastide's own.
    pub fn bastide() -> Self {
        let own = |key: &str| key.to_owned();
        Self {
            time: own("at_ms"),
            time_unit: Unit::Ms,
            status: own("status"),
            bytes: own("bytes"),
            duration: own("duration_ms"),
            duration_unit: Unit::Ms,
            host: own("host"),
            method: own("method"),
            target: own("path"),
            request: String::new(),
            ip: own("client"),
        }
    }

    /// Caddy's `http.log.access`.
    pub fn caddy() -> Self {
        let own = |key: &str| key.to_owned();
        Self {
            time: own("ts"),
            time_unit: Unit::S,
            status: own("status"),
            bytes: own("size"),
            duration: own("duration"),
            duration_unit: Unit::S,
            host: own("request.host"),
            method: own("request.method"),
            target: own("request.uri"),
            request: String::new(),
            ip: own("request.client_ip"),
        }
    }

    /// Traefik's `accessLog.format: json`.
    pub fn traefik() -> Self {
        let own = |key: &str| key.to_owned();
        Self {
            time: own("StartUTC"),
            time_unit: Unit::S,
            status: own("DownstreamStatus"),
            bytes: own("DownstreamContentSize"),
            duration: own("Duration"),
            duration_unit: Unit::Ns,
            host: own("RequestHost"),
            method: own("RequestMethod"),
            target: own("RequestPath"),
            request: String::new(),
            ip: own("ClientHost"),
        }
    }

    /// Compiled once.
    pub(super) fn compile(&self) -> Result<Compiled, BadFormat> {
        if self.status.is_empty() {
            return Err(BadFormat("the mapping names no `status`; hint: status = \"status\"".to_owned()));
        }
        let named = [
            (&self.time, Key::Time),
            (&self.status, Key::Status),
            (&self.bytes, Key::Bytes),
            (&self.duration, Key::Duration),
            (&self.host, Key::Host),
            (&self.method, Key::Method),
            (&self.target, Key::Target),
            (&self.request, Key::Request),
            (&self.ip, Key::Ip),
        ];
        let wanted: Vec<(Box<[u8]>, Key)> = named
            .into_iter()
            .filter(|(path, _)| !path.is_empty())
            .map(|(path, key)| (path.as_bytes().into(), key))
            .collect();
        Ok(Compiled {
            wanted: wanted.into(),
            time: self.time_unit.power(),
            duration: self.duration_unit.power(),
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Time,
    Status,
    Bytes,
    Duration,
    Host,
    Method,
    Target,
    Request,
    Ip,
}

/// A mapping that reads lines.
#[derive(Clone, Debug)]
pub(super) struct Compiled {
    wanted: Arc<[(Box<[u8]>, Key)]>,
    time: u32,
    duration: u32,
}

/// Objects within one another that are looked into.
const MAX_DEPTH: usize = 8;

/// A scalar of a line.
#[derive(Clone, Copy, Debug)]
enum Value<'a> {
    /// Between its quotes, escapes as they are written.
    Text(&'a [u8]),
    Number(&'a [u8]),
    /// `null`, `true`, `false`, or an array.
    Other,
}

impl Compiled {
    /// Reads a line.
    pub(super) fn parse<'a>(&self, line: &'a [u8], scratch: &'a mut Vec<u8>) -> Option<Entry<'a>> {
        let mut entry = Entry::default();
        let all = (1_u16 << self.wanted.len()) - 1;
        let mut scan = Scan { line, at: 0 };
        scan.blanks();
        self.object(&mut scan, &mut entry, all, 0, 0)?;
        scan.blanks();
        if scan.at != line.len() || entry.status == 0 {
            return None;
        }
        // Go's encoder writes `&`, `<` and `>` as \u0026 …; the path is what routes need.
        if memchr::memchr(b'\\', entry.target).is_some() {
            unescape(entry.target, scratch);
            entry.target = scratch;
        }
        Some(entry)
    }

    /// `from` bytes of each path in `mask` are the keys of the objects around.
    fn object<'a>(
        &self,
        scan: &mut Scan<'a>,
        entry: &mut Entry<'a>,
        mask: u16,
        from: usize,
        depth: usize,
    ) -> Option<()> {
        scan.expect(b'{')?;
        scan.blanks();
        if scan.expect(b'}').is_some() {
            return Some(());
        }
        loop {
            scan.blanks();
            let key = scan.text()?;
            scan.blanks();
            scan.expect(b':')?;
            scan.blanks();
            let (mut here, mut inside) = (None, 0_u16);
            for (at, (path, what)) in self.wanted.iter().enumerate() {
                let Some(rest) = path.get(from..).filter(|_| mask & (1 << at) != 0) else { continue };
                if rest == key {
                    here = Some(*what);
                } else if rest.len() > key.len() && rest[key.len()] == b'.' && rest.starts_with(key) {
                    inside |= 1 << at;
                }
            }
            if inside != 0 && scan.line.get(scan.at) == Some(&b'{') && depth < MAX_DEPTH {
                self.object(scan, entry, inside, from + key.len() + 1, depth + 1)?;
            } else {
                let value = scan.value()?;
                if let Some(key) = here {
                    self.take(entry, key, value)?;
                }
            }
            scan.blanks();
            match scan.next()? {
                b',' => {}
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// `None` where a value cannot be what its key says.
    fn take<'a>(&self, entry: &mut Entry<'a>, key: Key, value: Value<'a>) -> Option<()> {
        let (Value::Text(text) | Value::Number(text)) = value else {
            return (key != Key::Status).then_some(());
        };
        let absent = matches!(text, b"-" | b"");
        match key {
            Key::Status => entry.status = integer(text).and_then(|status| u16::try_from(status).ok())?,
            Key::Bytes if !absent => entry.bytes = scaled(text, 0)?,
            Key::Duration if !absent => {
                entry.duration_us = Some(scaled(text, 6 - self.duration.cast_signed())?);
            }
            Key::Time => {
                let is_date = text.get(4) == Some(&b'-');
                entry.time = if is_date { Time::Iso(text) } else { Time::Number(text, self.time) };
                if text.get(2) == Some(&b'/') {
                    entry.time = Time::Common(text);
                }
            }
            Key::Host => entry.host = text,
            Key::Method => entry.method = text,
            Key::Target => entry.target = text,
            Key::Request => (entry.method, entry.target) = request_line(text),
            Key::Ip => entry.ip = text,
            Key::Bytes | Key::Duration => {}
        }
        Some(())
    }
}

struct Scan<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    fn blanks(&mut self) {
        while matches!(self.line.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn next(&mut self) -> Option<u8> {
        let byte = *self.line.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.line.get(self.at) == Some(&byte)).then(|| self.at += 1)
    }

    /// A string's inside.
    fn text(&mut self) -> Option<&'a [u8]> {
        self.expect(b'"')?;
        let end = super::closing_quote(self.line, self.at)?;
        let text = &self.line[self.at..end];
        self.at = end + 1;
        Some(text)
    }

    fn value(&mut self) -> Option<Value<'a>> {
        match self.line.get(self.at)? {
            b'"' => self.text().map(Value::Text),
            b'{' | b'[' => self.skip(),
            b'-' | b'0'..=b'9' => Some(Value::Number(self.word())),
            _ => matches!(self.word(), b"null" | b"true" | b"false").then_some(Value::Other),
        }
    }

    /// Up to what ends a number or a name.
    fn word(&mut self) -> &'a [u8] {
        let rest = &self.line[self.at..];
        let end = rest
            .iter()
            .position(|b| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'))
            .unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// Steps over an object or array, however deep, without calling itself.
    fn skip(&mut self) -> Option<Value<'a>> {
        let mut depth = 0_usize;
        loop {
            match self.line.get(self.at)? {
                b'"' => {
                    self.text()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Some(Value::Other);
            }
        }
    }
}

/// Undoes JSON's escapes (RFC 8259 §7). What is no escape stays as it is.
fn unescape(text: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let mut at = 0;
    while at < text.len() {
        let byte = text[at];
        at += 1;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let code = text.get(at).copied();
        at += 1;
        match code {
            Some(b'n') => out.push(b'\n'),
            Some(b't') => out.push(b'\t'),
            Some(b'r') => out.push(b'\r'),
            Some(b'u') => {
                let digits = text.get(at..at + 4).and_then(|d| std::str::from_utf8(d).ok());
                let unit = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
                // Half of a pair is shown as what it is not; paths have none.
                let shown = unit.and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(shown.encode_utf8(&mut [0; 4]).as_bytes());
                at += 4;
            }
            Some(other) => out.push(other),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Scratch, Spec};

    fn read(spec: &Spec, line: &str) -> Option<String> {
        let format = Format::compile(spec).unwrap();
        let mut scratch = Scratch::default();
        format.parse(line.as_bytes(), &mut scratch).map(|e| {
            let text = String::from_utf8_lossy;
            let (ip, host, method, target) = (text(e.ip), text(e.host), text(e.method), text(e.target));
            let (us, at) = (e.duration_us, e.time_ms());
            format!("{ip} {host} {method} {target} {} {} {us:?} {at:?}", e.status, e.bytes)
        })
    }

    #[test]
    fn lines_of_programs() {
        let own = Json {
            status: "http.status".into(),
            request: "req".into(),
            time: "t".into(),
            duration: "took".into(),
            duration_unit: Unit::Us,
            ..Json::default()
        };
        let own = Spec::Json(own);
        let cases: &[(&Spec, &str, Option<&str>)] = &[
            (
                &Spec::Bastide,
                r#"{"at_ms":1,"client":"::1","method":"GET","host":"a.b","path":"/x","status":200,"bytes":12,"duration_ms":1.5,"pool":null}"#,
                Some("::1 a.b GET /x 200 12 Some(1500) Some(1)"),
            ),
            (&Spec::Bastide, r#"{"status":404}"#, Some("    404 0 None None")),
            (&Spec::Bastide, r#" { "status" : 404 , "x" : [1,{"status":5}] } "#, Some("    404 0 None None")),
            (&Spec::Bastide, r#"{"status":200,"bytes":-1}"#, None),
            (&Spec::Bastide, r#"{"status":200,"duration_ms":-1}"#, None),
            (&Spec::Bastide, r#"{"status":20"#, None),
            (&Spec::Bastide, r#"{"status":null}"#, None),
            (&Spec::Bastide, r#"{"status":200} x"#, None),
            (&Spec::Bastide, r#"{"status":200,"x":nul}"#, None),
            (&Spec::Bastide, r#"{"status":200,"x":"\"#, None),
            (&Spec::Bastide, "null", None),
            (&Spec::Bastide, "{}", None),
            (&Spec::Bastide, "", None),
            (
                &Spec::Caddy,
                r#"{"level":"info","ts":1700000000.5,"request":{"remote_ip":"1.1.1.1","client_ip":"1.2.3.4","method":"GET","host":"shop","uri":"/a?b\u0026c","headers":{"A":["b"]}},"duration":1.2e-05,"size":3,"status":200}"#,
                Some("1.2.3.4 shop GET /a?b&c 200 3 Some(12) Some(1700000000500)"),
            ),
            (
                &Spec::Traefik,
                r#"{"ClientHost":"1.2.3.4","DownstreamContentSize":5,"DownstreamStatus":502,"Duration":1500000,"RequestHost":"shop","RequestMethod":"GET","RequestPath":"/","StartUTC":"2000-10-10T20:55:36.5Z"}"#,
                Some("1.2.3.4 shop GET / 502 5 Some(1500) Some(971211336500)"),
            ),
            (
                &own,
                r#"{"http.status":"200","req":"GET /a HTTP/1.1","t":"10/Oct/2000:13:55:36 -0700","took":"7"}"#,
                Some("  GET /a 200 0 Some(7) Some(971211336000)"),
            ),
            (&own, r#"{"http":{"status":201}}"#, Some("    201 0 None None")),
            (&own, r#"{"http":{"other":{"status":201}}}"#, None),
        ];
        for (spec, line, expected) in cases {
            assert_eq!(read(spec, line).as_deref(), *expected, "{line}");
        }
        let deep = format!("{}{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
        assert_eq!(read(&Spec::Bastide, &deep), None);
        let deep = format!("{{\"a\":{}{},\"status\":200}}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(read(&Spec::Bastide, &deep).is_some());
    }

    #[test]
    fn a_mapping_without_status_is_refused() {
        let error = Format::compile(&Spec::Json(Json::default())).unwrap_err().to_string();
        assert!(error.contains("status"), "{error}");
    }
}
