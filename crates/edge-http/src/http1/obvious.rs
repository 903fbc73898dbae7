//! The same rules, written so that one sees them: for the tests to compare with.
//! It splits, collects and searches; it knows nothing of pieces or of speed.

use super::Framing;
use crate::{GuardLimits, Refusal, Version};

/// What the slow reading of a whole input found.
#[derive(Debug, PartialEq)]
pub(super) enum Found {
    More,
    Refused(Refusal),
    Head(OwnedHead),
}

#[derive(Debug, PartialEq)]
pub(super) struct OwnedHead {
    pub(super) length: usize,
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    pub(super) version: Version,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) framing: Framing,
    pub(super) upgrade: bool,
}

pub(super) fn read(data: &[u8], limits: GuardLimits) -> Found {
    let (lines, length) = match lines(data, limits) {
        Ok(Some(found)) => found,
        Ok(None) => return Found::More,
        Err(refusal) => return Found::Refused(refusal),
    };
    match head(&lines, length) {
        Ok(head) => Found::Head(head),
        Err(refusal) => Found::Refused(refusal),
    }
}

/// The lines of a head, and its length.
type Split = Option<(Vec<Vec<u8>>, usize)>;

/// The lines up to the empty one, without their ends, and how far they reach.
fn lines(data: &[u8], limits: GuardLimits) -> Result<Split, Refusal> {
    if data == b"\r" {
        return Ok(None);
    }
    let mut at = if data.starts_with(b"\r\n") { 2 } else { 0 };
    let mut lines: Vec<Vec<u8>> = Vec::new();
    let tchar = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if data.len() > at && !tchar(data[at]) {
        return Err(Refusal::RequestLine);
    }
    loop {
        let too_large = if lines.is_empty() { Refusal::TargetTooLong } else { Refusal::HeadTooLarge };
        let Some(newline) = data[at..].iter().position(|&b| b == b'\n').map(|n| n + at) else {
            return if data.len() >= limits.head { Err(too_large) } else { Ok(None) };
        };
        if newline >= limits.head {
            return Err(too_large);
        }
        let line = &data[at..newline];
        let Some(line) = line.strip_suffix(b"\r") else { return Err(Refusal::LineEnd) };
        if line.is_empty() {
            return Ok(Some((lines, newline + 1)));
        }
        if lines.len() > limits.header_lines {
            return Err(Refusal::TooManyHeaders);
        }
        lines.push(line.to_vec());
        at = newline + 1;
    }
}

fn head(lines: &[Vec<u8>], length: usize) -> Result<OwnedHead, Refusal> {
    let Some(first) = lines.first() else { return Err(Refusal::RequestLine) };
    let parts: Vec<&[u8]> = first.splitn(3, |&b| b == b' ').collect();
    let [method, target, version] = parts[..] else { return Err(Refusal::RequestLine) };
    if !is_token(method) || target.is_empty() {
        return Err(Refusal::RequestLine);
    }
    let mut in_query = false;
    for &b in target {
        in_query |= b == b'?';
        let always_bad = b <= b' ' || b >= 0x7F || b"#\"<>".contains(&b);
        if always_bad || (!in_query && b"`\\".contains(&b)) {
            return Err(Refusal::Target);
        }
    }
    let text = String::from_utf8_lossy(version).into_owned();
    let digits: Vec<char> = text.chars().filter(char::is_ascii_digit).collect();
    let version = match text.as_str() {
        "HTTP/1.1" => Version::Http11,
        "HTTP/1.0" => Version::Http10,
        _ if digits.len() == 2 && digits[0] != '0' && text == format!("HTTP/{}.{}", digits[0], digits[1]) => {
            return Err(Refusal::Version);
        }
        _ => return Err(Refusal::RequestLine),
    };
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for line in &lines[1..] {
        headers.push(header(line, version, &headers)?);
    }
    let has = |name: &str| values(&headers, name).count() > 0;
    if version == Version::Http11 && !has("host") {
        return Err(Refusal::NoHost);
    }
    if has("content-length") && has("transfer-encoding") {
        return Err(Refusal::LengthAndEncoding);
    }
    let mut framing = if has("transfer-encoding") { Framing::Chunked } else { Framing::None };
    if let Some(length) = values(&headers, "content-length").next() {
        let length: u64 = String::from_utf8_lossy(length).parse().unwrap_or(0);
        framing = if length == 0 { Framing::None } else { Framing::Length(length) };
    }
    let asked = values(&headers, "connection").any(|value| {
        let value = String::from_utf8_lossy(value).into_owned();
        value.split(',').any(|item| item.trim_matches([' ', '\t']).eq_ignore_ascii_case("upgrade"))
    });
    let upgrade =
        framing == Framing::None && has("upgrade") && asked && version == Version::Http11 && method == b"GET";
    Ok(OwnedHead {
        length,
        method: method.to_vec(),
        target: target.to_vec(),
        version,
        headers,
        framing,
        upgrade,
    })
}

fn header(
    line: &[u8],
    version: Version,
    before: &[(Vec<u8>, Vec<u8>)],
) -> Result<(Vec<u8>, Vec<u8>), Refusal> {
    let Some(colon) = line.iter().position(|&b| b == b':') else { return Err(Refusal::HeaderSyntax) };
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let controls = value.iter().any(|&b| b != b'\t' && (b < b' ' || b == 0x7F));
    if !is_token(name) || controls {
        return Err(Refusal::HeaderSyntax);
    }
    let mut value = value.to_vec();
    while value.last().is_some_and(|b| b" \t".contains(b)) {
        value.pop();
    }
    while value.first().is_some_and(|b| b" \t".contains(b)) {
        value.remove(0);
    }
    let again = values(before, &String::from_utf8_lossy(name)).count() > 0;
    match String::from_utf8_lossy(name).to_ascii_lowercase().as_str() {
        "host" if again => Err(Refusal::SeveralHosts),
        "content-length"
            if again || value.is_empty() || value.len() > 18 || !value.iter().all(u8::is_ascii_digit) =>
        {
            Err(Refusal::ContentLength)
        }
        "transfer-encoding"
            if again || version == Version::Http10 || !value.eq_ignore_ascii_case(b"chunked") =>
        {
            Err(Refusal::TransferEncoding)
        }
        _ => Ok((name.to_vec(), value)),
    }
}

fn values<'a>(headers: &'a [(Vec<u8>, Vec<u8>)], name: &str) -> impl Iterator<Item = &'a Vec<u8>> {
    let name = name.to_owned();
    headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| v)
}

fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|&b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}
