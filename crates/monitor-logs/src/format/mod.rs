//! How a log's lines are written, compiled once.

mod apache;
mod combined;
mod json;
mod nginx;
mod pattern;

pub use json::{Json, Unit};

use crate::entry::Entry;
use pattern::Pattern;
use serde::{Deserialize, Serialize};

/// How lines are written, as an operator says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Spec {
    /// Bastide's own JSON lines.
    Bastide,
    /// nginx' and Apache's combined or common format. What follows the bytes may
    /// be quoted referer and agent; a last unquoted number is the duration in
    /// seconds, as nginx' `$request_time`.
    Combined,
    /// Caddy's JSON access log.
    Caddy,
    /// Traefik's JSON access log.
    Traefik,
    /// The text of an nginx `log_format`.
    Nginx(String),
    /// The text of an Apache `LogFormat`.
    Apache(String),
    /// JSON lines with keys of one's own.
    Json(Json),
}

impl Spec {
    /// As one line of text, for [`Spec::from_text`].
    pub fn to_text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default() // Texts and units alone: it cannot fail.
    }

    /// From what [`Spec::to_text`] gave.
    pub fn from_text(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }
}

/// Compiled: reads lines.
#[derive(Clone, Debug)]
pub struct Format(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Combined,
    Pattern(Pattern),
    Json(json::Compiled),
}

/// Why a format cannot be used: which part of it, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFormat(pub(crate) String);

/// What a parser writes down meanwhile; one a reader, so that no line allocates.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
}

impl Format {
    /// Compiles it. An error names the variable or key that is not understood.
    pub fn compile(spec: &Spec) -> Result<Self, BadFormat> {
        Ok(Self(match spec {
            Spec::Bastide => Kind::Json(Json::bastide().compile()?),
            Spec::Caddy => Kind::Json(Json::caddy().compile()?),
            Spec::Traefik => Kind::Json(Json::traefik().compile()?),
            Spec::Json(fields) => Kind::Json(fields.compile()?),
            Spec::Combined => Kind::Combined,
            Spec::Nginx(text) => Kind::Pattern(nginx::compile(text)?),
            Spec::Apache(text) => Kind::Pattern(apache::compile(text)?),
        }))
    }

    /// Reads a line, without its end. `None` is one that is not of this format or
    /// says what cannot be.
    #[inline]
    pub fn parse<'a>(&'a self, line: &'a [u8], scratch: &'a mut Scratch) -> Option<Entry<'a>> {
        let entry = match &self.0 {
            Kind::Combined => combined::parse(line)?,
            Kind::Pattern(pattern) => pattern.parse(line)?,
            Kind::Json(json) => json.parse(line, &mut scratch.text)?,
        };
        entry.is_sane().then_some(entry)
    }
}

/// `GET /a HTTP/1.1` → `GET`, `/a`. What is no request line gives empty ones.
fn request_line(text: &[u8]) -> (&[u8], &[u8]) {
    if let Some(rest) = text.strip_prefix(b"GET ") {
        return (&text[..3], target(rest));
    }
    // A method is a token (RFC 9110 §5.6.2); the longest that is registered has 17 bytes.
    let Some(blank) = text.iter().take(18).position(|b| *b == b' ') else { return (b"", b"") };
    let (method, rest) = (&text[..blank], &text[blank + 1..]);
    if blank == 0 || !method.iter().all(|b| b.is_ascii_alphabetic() || *b == b'-') {
        return (b"", b"");
    }
    (method, target(rest))
}

/// What stands before the protocol.
fn target(rest: &[u8]) -> &[u8] {
    // `HTTP/1.1` has no blanks: what is before the last one is the target.
    let short = rest.len().wrapping_sub(9);
    match rest.get(short) {
        Some(b' ') => &rest[..short],
        _ => memchr::memrchr(b' ', rest)
            .filter(|at| rest[at + 1..].starts_with(b"HTTP/"))
            .map_or(rest, |at| &rest[..at]),
    }
}

/// The byte behind a quoted text whose opening quote is before `from`: the place
/// of the closing one. A backslash takes the next byte along.
fn closing_quote(text: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_lines() {
        let cases: &[(&str, &str, &str)] = &[
            ("GET / HTTP/1.1", "GET", "/"),
            ("GET /a b HTTP/1.0", "GET", "/a b"),
            ("PROPFIND /x HTTP/2", "PROPFIND", "/x"),
            ("GET /x HTTP/2.0", "GET", "/x"),
            ("GET /old", "GET", "/old"),
            ("M-SEARCH * HTTP/1.1", "M-SEARCH", "*"),
            ("-", "", ""),
            ("", "", ""),
            ("\\x16\\x03 a", "", ""),
            (" / HTTP/1.1", "", ""),
        ];
        for (text, method, target) in cases {
            let got = request_line(text.as_bytes());
            assert_eq!(got, (method.as_bytes(), target.as_bytes()), "{text}");
        }
    }
}
