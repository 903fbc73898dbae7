//! A back end that answers what the request asks for, as albedo does, the Core
//! Rule Set's own: `POST /reflect` with a JSON body gives status, headers and
//! body; `/status/404` its number; everything else an empty 200.
//!
//! As Go's server does it, a body without Content-Type gets one from its first
//! bytes: which bodies a WAF looks into depends on it.

use serde::Deserialize;

/// What to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reflection {
    /// The status.
    pub status: u16,
    /// Header lines.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Default for Reflection {
    fn default() -> Self {
        Self { status: 200, headers: Vec::new(), body: Vec::new() }
    }
}

/// The body of a request to `/reflect`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Asked {
    #[serde(default)]
    status: i64,
    #[serde(default)]
    headers: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    body: String,
    #[serde(default)]
    encoded_body: String,
    #[serde(default, rename = "logMessage")]
    _log_message: String,
}

/// The response to a request that came through.
pub fn answer(method: &[u8], path: &[u8], body: &[u8]) -> Reflection {
    let reflection = match path {
        b"/reflect" | b"/reflect/" if method == b"POST" => reflect(body),
        _ => status_of(path)
            .map_or_else(Reflection::default, |status| Reflection { status, ..Reflection::default() }),
    };
    reflection.completed(method)
}

impl Reflection {
    /// With the headers that Go's server adds.
    pub fn completed(mut self, method: &[u8]) -> Self {
        let bodiless = matches!(self.status, 100..=199 | 204 | 304);
        if bodiless || method == b"HEAD" {
            self.body.clear();
        }
        let has = |name: &str, headers: &[(String, String)]| {
            headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name))
        };
        if !self.body.is_empty() && !has("Content-Type", &self.headers) {
            self.headers.push(("Content-Type".to_owned(), sniff(&self.body).to_owned()));
        }
        if !bodiless && !has("Content-Length", &self.headers) {
            self.headers.push(("Content-Length".to_owned(), self.body.len().to_string()));
        }
        self
    }
}

fn status_of(path: &[u8]) -> Option<u16> {
    let number = std::str::from_utf8(path.strip_prefix(b"/status/")?).ok()?;
    number.parse().ok().filter(|status| (200..600).contains(status))
}

fn reflect(body: &[u8]) -> Reflection {
    let bad = |text: &str| Reflection { status: 400, headers: Vec::new(), body: text.as_bytes().to_vec() };
    // Go reads keys in any case and bytes that are no UTF-8 as U+FFFD.
    let text = String::from_utf8_lossy(body);
    let Ok(asked) = serde_json::from_str::<Asked>(&text) else { return bad("Invalid JSON in request body") };
    let status = match asked.status {
        0 => 200,
        status => match u16::try_from(status) {
            Ok(status @ 100..=599) => status,
            _ => return bad(&format!("Invalid status code: {status}")),
        },
    };
    let mut headers = Vec::new();
    for (name, value) in asked.headers.unwrap_or_default() {
        let serde_json::Value::String(value) = value else { return bad("Invalid JSON in request body") };
        headers.push((name, value));
    }
    let body = if asked.body.is_empty() {
        match crate::request::base64(&asked.encoded_body) {
            Some(body) => body,
            None => return bad("invalid base64 encoding of response body"),
        }
    } else {
        asked.body.into_bytes()
    };
    Reflection { status, headers, body }
}

/// The type that Go's `http.DetectContentType` gives, in the part of the WHATWG
/// MIME sniffing standard that concerns text and the common binary forms.
fn sniff(body: &[u8]) -> &'static str {
    let body = &body[..body.len().min(512)];
    let start =
        body.iter().position(|b| !matches!(b, b'\t' | b'\n' | 0x0C | b'\r' | b' ')).unwrap_or(body.len());
    let text = &body[start..];
    let html = HTML.iter().any(|tag| {
        let found = text.get(..tag.len()).is_some_and(|front| front.eq_ignore_ascii_case(tag.as_bytes()));
        found && (tag.ends_with("--") || matches!(text.get(tag.len()), Some(b' ' | b'>')))
    });
    if html {
        return "text/html; charset=utf-8";
    }
    if text.starts_with(b"<?xml") {
        return "text/xml; charset=utf-8";
    }
    if let Some((_, kind)) = MAGIC.iter().find(|(magic, _)| body.starts_with(magic)) {
        return kind;
    }
    let binary = |&b: &u8| matches!(b, 0..=0x08 | 0x0B | 0x0E..=0x1A | 0x1C..=0x1F);
    if text.iter().any(binary) { "application/octet-stream" } else { "text/plain; charset=utf-8" }
}

static HTML: [&str; 17] = [
    "<!DOCTYPE HTML",
    "<HTML",
    "<HEAD",
    "<SCRIPT",
    "<IFRAME",
    "<H1",
    "<DIV",
    "<FONT",
    "<TABLE",
    "<A",
    "<STYLE",
    "<TITLE",
    "<B",
    "<BODY",
    "<BR",
    "<P",
    "<!--",
];

static MAGIC: [(&[u8], &str); 12] = [
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xFE\xFF", "text/plain; charset=utf-16be"),
    (b"\xFF\xFE", "text/plain; charset=utf-16le"),
    (b"\xEF\xBB\xBF", "text/plain; charset=utf-8"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1A\n", "image/png"),
    (b"\xFF\xD8\xFF", "image/jpeg"),
    (b"\x1F\x8B\x08", "application/x-gzip"),
    (b"PK\x03\x04", "application/zip"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let cases: &[(&str, &str, &str, u16, &str, &str)] = &[
            ("GET", "/get", "", 200, "", ""),
            ("GET", "/status/404", "", 404, "", ""),
            ("GET", "/reflect", "{\"status\":500}", 200, "", ""),
            ("POST", "/reflect", "{\"body\":\"<?php x\"}", 200, "text/plain; charset=utf-8", "<?php x"),
            ("POST", "/reflect", "{\"body\":\" <html>\"}", 200, "text/html; charset=utf-8", " <html>"),
            ("POST", "/reflect", "{\"body\":\"<htmlx\"}", 200, "text/plain; charset=utf-8", "<htmlx"),
            (
                "POST",
                "/reflect",
                "{\"encodedBody\":\"H4sIAAAA\"}",
                200,
                "application/x-gzip",
                "\u{1f}\u{fffd}",
            ),
            (
                "POST",
                "/reflect",
                "{\"status\":503,\"headers\":{\"Content-Type\":\"a/b\"},\"body\":\"x\"}",
                503,
                "a/b",
                "x",
            ),
            (
                "POST",
                "/reflect",
                "{\"status\":99}",
                400,
                "text/plain; charset=utf-8",
                "Invalid status code: 99",
            ),
            (
                "POST",
                "/reflect",
                "nonsense",
                400,
                "text/plain; charset=utf-8",
                "Invalid JSON in request body",
            ),
            ("POST", "/reflect", "{\"status\":204,\"body\":\"x\"}", 204, "", ""),
        ];
        for (method, path, body, status, kind, expected) in cases {
            let answer = answer(method.as_bytes(), path.as_bytes(), body.as_bytes());
            let got = answer.headers.iter().find(|(n, _)| n == "Content-Type").map_or("", |(_, v)| v);
            assert_eq!((answer.status, got), (*status, *kind), "{body}");
            assert!(String::from_utf8_lossy(&answer.body).starts_with(expected), "{body}");
        }
    }
}
