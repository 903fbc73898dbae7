//! The native format: parts between boundaries.
//!
//! ```text
//! ---Xy3kPq0b---A--
//! [23/Nov/2026:10:08:19 +0000] ID CLIENT PORT SERVER PORT
//! ---Xy3kPq0b---B--
//! GET /?q=1 HTTP/1.1
//! Host: example.com
//!
//! …
//! ---Xy3kPq0b---Z--
//!
//! ```

use super::text::{one_line, or_dash, quoted};
use super::{Entry, LogContext};
use std::fmt::Write;
use std::hash::Hasher;
use waf_lang::model::Variable as V;
use waf_text::Transformation;

pub(super) fn entry(entry: &Entry<'_>) -> String {
    let mut text = String::new();
    for attempt in 0..8 {
        let boundary = boundary(entry, attempt);
        text.clear();
        let parts = parts(entry, &boundary, &mut text);
        // Nothing that a client sends can look like a part.
        if text.matches(&*boundary).count() == parts {
            break;
        }
    }
    text
}

/// Eight letters and digits of the transaction's own.
fn boundary(entry: &Entry<'_>, attempt: u8) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let kept = entry.kept();
    let mut hasher = rustc_hash::FxHasher::default();
    hasher.write(kept.id.as_bytes());
    hasher.write_u64(kept.at_us);
    hasher.write_u8(attempt);
    let mut hash = hasher.finish();
    let mut boundary = String::from("---");
    for _ in 0..8 {
        boundary.push(LETTERS[(hash % 62) as usize] as char);
        hash /= 62;
    }
    boundary.push_str("---");
    boundary
}

/// Writes all parts; the answer is how many.
fn parts(entry: &Entry<'_>, boundary: &str, out: &mut String) -> usize {
    let mut count = 0;
    let mut part = |out: &mut String, letter: char| {
        count += 1;
        let _ = writeln!(out, "{boundary}{letter}--");
    };
    part(out, 'A');
    let kept = entry.kept();
    let _ = write!(out, "{} {}", date(kept.at_us), or_dash(one_line(kept.id.as_bytes())));
    for (address, port) in [kept.client, kept.server].into_iter().flatten() {
        let _ = write!(out, " {address} {port}");
    }
    out.push('\n');
    if entry.has('B') {
        part(out, 'B');
        let method = or_dash(one_line(entry.scalar(V::RequestMethod)));
        let _ = writeln!(out, "{method} {} HTTP/{}", entry.target(), entry.version());
        headers(out, &entry.request_headers());
        out.push('\n');
    }
    if let Some(body) = entry.request_body() {
        part(out, if entry.has('C') { 'C' } else { 'I' });
        let _ = writeln!(out, "{body}\n");
    }
    // Reserved by the manual.
    if entry.has('D') {
        part(out, 'D');
        out.push('\n');
    }
    if let Some(body) = entry.response_body() {
        part(out, 'E');
        let _ = writeln!(out, "{body}\n");
    }
    if entry.has('F') && entry.status > 0 {
        part(out, 'F');
        let _ = writeln!(out, "HTTP/{} {}", entry.version(), entry.status);
        headers(out, &entry.response_headers());
    }
    out.push('\n');
    if entry.has('H') {
        part(out, 'H');
        messages(entry, out);
        out.push('\n');
    }
    if entry.has('J') {
        part(out, 'J');
        uploads(entry, out);
        out.push('\n');
    }
    if entry.has('K') {
        part(out, 'K');
        for rule in entry.rules() {
            let _ = writeln!(out, "{rule}");
        }
        out.push('\n');
    }
    part(out, 'Z');
    out.push('\n');
    count
}

fn headers(out: &mut String, headers: &[(String, String)]) {
    for (name, value) in headers {
        let _ = writeln!(out, "{name}: {value}");
    }
}

fn messages(entry: &Entry<'_>, out: &mut String) {
    let (host, path) = (
        one_line(entry.scalar(V::ServerName)),
        one_line(&entry.masks().path(entry.scalar(V::RequestFilename))),
    );
    let server = entry.kept().server.map(|(address, _)| address.to_string()).unwrap_or_default();
    let context = LogContext {
        client: "",
        hostname: if host.is_empty() { &server } else { &host },
        uri: &path,
        unique_id: &entry.kept().id,
        refused: None,
    };
    for message in entry.messages() {
        let _ = writeln!(out, "{}", message.line(&context));
    }
}

/// `1,312,"photo.png","image/png"`, then how much it is together.
fn uploads(entry: &Entry<'_>, out: &mut String) {
    let mut total = 0_u64;
    let uploads = entry.uploads();
    for (at, (size, name, kind)) in uploads.iter().enumerate() {
        total = total.saturating_add(size.parse().unwrap_or(0));
        let _ = writeln!(out, "{},{size},\"{}\",\"{}\"", at + 1, quoted(name), quoted(kind));
    }
    if !uploads.is_empty() {
        let _ = writeln!(out, "Total,{total}");
    }
}

/// The line of the index of a concurrent log.
pub(super) fn index(entry: &Entry<'_>, folder: &str, file: &str, text: &str) -> String {
    let header = |wanted: &str| {
        let mut headers = entry.request_headers().into_iter();
        headers
            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
            .map(|(_, value)| value)
            .unwrap_or_default()
    };
    let word = |text: String| or_dash(quoted(&text).replace(' ', "\\x20"));
    let referer = word(one_line(&entry.masks().target(header("referer").as_bytes())));
    let client = entry.kept().client.map(|(address, _)| address.to_string()).unwrap_or_default();
    let mut md5 = Vec::new();
    let mut hex = Vec::new();
    Transformation::Md5.apply(text.as_bytes(), &mut md5);
    Transformation::HexEncode.apply(&md5, &mut hex);
    let separator = if folder.is_empty() || folder.ends_with('/') { "" } else { "/" };
    format!(
        "{} {} {} {} \"{} {} HTTP/{}\" {} {} {referer} \"{}\" {} {referer} {folder}{separator}{file} 0 {} md5:{}\n",
        word(header("host")),
        or_dash(client),
        word(one_line(entry.scalar(V::RemoteUser))),
        date(entry.kept().at_us),
        or_dash(quoted(&one_line(entry.scalar(V::RequestMethod)))),
        quoted(&entry.target()),
        entry.version(),
        entry.status,
        entry.scalar(V::ResponseBody).len(),
        or_dash(quoted(&header("user-agent"))),
        word(one_line(entry.kept().id.as_bytes())),
        text.len(),
        String::from_utf8_lossy(&hex),
    )
}

/// `[23/Nov/2026:10:08:19 +0000]`.
fn date(at_us: u64) -> String {
    let utc = crate::time::Utc::of((at_us / 1_000_000) as i64);
    let month = super::json::MONTHS[(utc.month - 1) as usize];
    format!(
        "[{:02}/{month}/{:04}:{:02}:{:02}:{:02} +0000]",
        utc.day, utc.year, utc.hour, utc.minute, utc.second
    )
}
