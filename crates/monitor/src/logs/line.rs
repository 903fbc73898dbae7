//! One line of an access log.

use serde::Deserialize;
use site::LogFormat;

/// What is counted of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The status code, 100 to 599.
    pub(crate) code: u16,
    /// Bytes of the response's body.
    pub(crate) sent_bytes: u64,
    /// How long it took, in seconds, where the log says.
    pub(crate) duration_s: Option<f64>,
}

/// Reads a line, without its end. `None` is a malformed one.
pub(crate) fn parse(format: LogFormat, line: &[u8]) -> Option<Entry> {
    let entry = match format {
        LogFormat::Bastide => ours(line)?,
        LogFormat::Combined => combined(line)?,
    };
    let sane = entry.duration_s.is_none_or(|d| d.is_finite() && (0.0..=31_536_000.0).contains(&d));
    ((100..=599).contains(&entry.code) && sane).then_some(entry)
}

/// What we read of the edge's own lines; the other keys are for people.
#[derive(Deserialize)]
struct Ours {
    status: u16,
    #[serde(default)]
    bytes: u64,
    #[serde(default)]
    duration_ms: Option<f64>,
}

fn ours(line: &[u8]) -> Option<Entry> {
    let read: Ours = serde_json::from_slice(line).ok()?;
    Some(Entry { code: read.status, sent_bytes: read.bytes, duration_s: read.duration_ms.map(|ms| ms / 1e3) })
}

/// Apache's `LogFormat "%h %l %u %t \"%r\" %>s %b …"` (mod_log_config) and nginx'
/// `combined`. What follows the bytes may be quoted referer and agent; a last
/// unquoted number is the duration in seconds, as nginx' `$request_time`.
fn combined(line: &[u8]) -> Option<Entry> {
    // Host, identity and user may not hold a bracket; the time is in brackets.
    let time = memchr::memchr(b'[', line)?;
    let after_time = time + memchr::memchr(b']', &line[time..])? + 1;
    let request = strip_quoted(trim(&line[after_time..]))?;
    let (code, rest) = word(request);
    let (bytes, rest) = word(rest);
    let code = number(code)?;
    let sent_bytes = if bytes == b"-" { 0 } else { number(bytes)? };
    let duration_s = std::str::from_utf8(last_unquoted_word(rest)).ok().and_then(|text| text.parse().ok());
    Some(Entry { code: u16::try_from(code).ok()?, sent_bytes, duration_s })
}

/// What follows a quoted text; a backslash takes the next byte along.
fn strip_quoted(text: &[u8]) -> Option<&[u8]> {
    let inside = text.strip_prefix(b"\"")?;
    let mut at = 0;
    loop {
        at += memchr::memchr2(b'"', b'\\', inside.get(at..)?)?;
        if inside[at] == b'"' {
            return Some(&inside[at + 1..]);
        }
        at += 2;
    }
}

fn last_unquoted_word(mut rest: &[u8]) -> &[u8] {
    let mut last: &[u8] = &[];
    loop {
        rest = trim(rest);
        if rest.is_empty() {
            return last;
        }
        if rest.starts_with(b"\"") {
            let Some(after) = strip_quoted(rest) else { return &[] };
            last = &[];
            rest = after;
        } else {
            (last, rest) = word(rest);
        }
    }
}

fn trim(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

fn word(text: &[u8]) -> (&[u8], &[u8]) {
    let text = trim(text);
    text.split_at(memchr::memchr(b' ', text).unwrap_or(text.len()))
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A line, and what is read of it.
    type Case = (&'static str, Option<(u16, u64, Option<f64>)>);

    fn check(format: LogFormat, cases: &[Case]) {
        for (line, expected) in cases {
            let got = parse(format, line.as_bytes()).map(|e| (e.code, e.sent_bytes, e.duration_s));
            assert_eq!(got, *expected, "{line}");
        }
    }

    #[test]
    fn combined_lines() {
        check(
            LogFormat::Combined,
            &[
                (
                    r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)""#,
                    Some((200, 2_326, None)),
                ),
                (r#"::1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 304 -"#, Some((304, 0, None))),
                (r#"h - - [t] "GET /\"q\" HTTP/1.1" 200 5 "-" "a \"b\"" 0.125"#, Some((200, 5, Some(0.125)))),
                (r#"h - - [t] "-" 400 0 "-" "-""#, Some((400, 0, None))),
                (r#"h - - [t] "\x16\x03" 400 0 "-" "-" "-""#, Some((400, 0, None))),
                ("", None),
                ("h - - [t", None),
                (r#"h - - [t] "GET / 200 5"#, None),
                (r#"h - - [t] "GET /" 99 5"#, None),
                (r#"h - - [t] "GET /" 70000 5"#, None),
                (r#"h - - [t] "GET /" 200 -5"#, None),
                (r#"h - - [t] "GET /" 200"#, None),
                ("h - - [t] \"GET /\\", None),
                (r#"h - - [t] "GET /" 200 5 "-" "-" -1"#, None),
                (r#"h - - [t] "GET /" 200 5 NaN"#, None),
            ],
        );
        assert_eq!(parse(LogFormat::Combined, b"h - - [t] \"\xff\" 200 1").map(|e| e.code), Some(200));
    }

    #[test]
    fn our_lines() {
        check(
            LogFormat::Bastide,
            &[
                (
                    r#"{"at_ms":1,"status":200,"bytes":12,"duration_ms":1.5,"path":"/"}"#,
                    Some((200, 12, Some(0.0015))),
                ),
                (r#"{"status":404}"#, Some((404, 0, None))),
                (r#"{"status":"200"}"#, None),
                (r#"{"status":200,"bytes":-1}"#, None),
                (r#"{"status":20"#, None),
                ("null", None),
            ],
        );
    }
}
