//! The bytes of a request, as go-ftw writes them: with all that is wrong in a
//! case left wrong, and headers completed only where the case lets it.

use crate::Input;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// What the stage before left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Previous {
    /// Its response's Location.
    pub location: Option<String>,
    /// The cookies that it set: `name=value`.
    pub cookies: Vec<String>,
}

/// Why a request could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// `follow_redirect`, and the stage before did not redirect.
    NoRedirect,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRedirect => f.write_str("`follow_redirect`, but the stage before did not redirect"),
        }
    }
}

impl std::error::Error for BuildError {}

impl Input {
    /// The bytes to send, one request for each of [`Input::uris`].
    pub fn requests(&self, previous: &Previous) -> Result<Vec<Vec<u8>>, BuildError> {
        if let Some(raw) = &self.encoded_request {
            return Ok(vec![raw.clone()]);
        }
        if self.follow_redirect {
            let location = previous.location.as_deref().ok_or(BuildError::NoRedirect)?;
            return Ok(vec![self.request_to(origin_form(location), previous)]);
        }
        Ok(self.uris.iter().map(|uri| self.request_to(uri, previous)).collect())
    }

    fn request_to(&self, uri: &str, previous: &Previous) -> Vec<u8> {
        let mut headers = self.headers.clone();
        let mut body = self.data.clone();
        if self.save_cookie && !previous.cookies.is_empty() && !has(&headers, "Cookie") {
            headers.push(("Cookie".to_owned(), previous.cookies.join("; ")));
        }
        if !body.is_empty() && self.autocomplete_headers {
            if !has(&headers, "Content-Type") {
                headers.push(("Content-Type".to_owned(), FORM.to_owned()));
            }
            if values(&headers, "Content-Type").any(|value| value.eq_ignore_ascii_case(FORM)) {
                body = escape_form(body);
            }
        }
        // Multipart lines end in CR LF; a case writes them as YAML does.
        let multipart = |value: &str| value.to_lowercase().contains("multipart/form-data;");
        if values(&headers, "Content-Type").any(multipart) {
            body = lf_to_crlf(&body);
        }
        if self.autocomplete_headers {
            complete(&mut headers, &self.method, body.len());
        }
        let mut raw = format!("{} {uri} {}\r\n", self.method, self.version).into_bytes();
        for (name, value) in &headers {
            raw.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        raw.extend_from_slice(b"\r\n");
        raw.extend_from_slice(&body);
        raw
    }
}

const FORM: &str = "application/x-www-form-urlencoded";

fn values<'a>(headers: &'a [(String, String)], name: &str) -> impl Iterator<Item = &'a str> {
    headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn has(headers: &[(String, String)], name: &str) -> bool {
    values(headers, name).next().is_some()
}

/// Connection and Content-Length, where they are missing.
fn complete(headers: &mut Vec<(String, String)>, method: &str, length: usize) {
    if !has(headers, "Connection") {
        headers.push(("Connection".to_owned(), "close".to_owned()));
    }
    // go-ftw's `^POST|PUT|PATCH|DELETE$`, which binds as it reads.
    let may_have_body = method.starts_with("POST")
        || method.contains("PUT")
        || method.contains("PATCH")
        || method.ends_with("DELETE");
    if !has(headers, "Content-Length") && (length > 0 || may_have_body) {
        headers.push(("Content-Length".to_owned(), length.to_string()));
    }
}

/// Escapes names and values of a form, unless something in it is escaped already:
/// then unescaping would change it, or fail.
fn escape_form(body: Vec<u8>) -> Vec<u8> {
    if body.iter().any(|b| matches!(b, b'%' | b'+')) {
        return body;
    }
    let mut escaped = Vec::with_capacity(body.len() * 2);
    let pairs = body.strip_suffix(b"&").unwrap_or(&body);
    for (i, pair) in pairs.split(|&b| b == b'&').enumerate() {
        if i > 0 {
            escaped.push(b'&');
        }
        let equals = pair.iter().position(|&b| b == b'=');
        let (name, value) = pair.split_at(equals.unwrap_or(pair.len()));
        escape(name, &mut escaped);
        if let Some((b'=', value)) = value.split_first() {
            escaped.push(b'=');
            escape(value, &mut escaped);
        }
    }
    escaped
}

/// Go's `url.QueryEscape`.
fn escape(bytes: &[u8], into: &mut Vec<u8>) {
    for &b in bytes {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => into.push(b),
            b' ' => into.push(b'+'),
            _ => into.extend_from_slice(format!("%{b:02X}").as_bytes()),
        }
    }
}

fn lf_to_crlf(body: &[u8]) -> Vec<u8> {
    let mut lines = Vec::with_capacity(body.len() + body.len() / 16);
    for &b in body {
        if b == b'\n' {
            lines.push(b'\r');
        }
        lines.push(b);
    }
    lines
}

/// A Location's path and query.
fn origin_form(location: &str) -> &str {
    let Some((_, rest)) = location.split_once("://") else { return location };
    rest.find('/').map_or("/", |at| &rest[at..])
}

/// Standard base64; line ends in it do not count.
pub(crate) fn base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    STANDARD.decode(text).ok()
}
