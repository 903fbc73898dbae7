//! Payloads and requests out of the Core Rule Set's regression cases (go-ftw YAML):
//! their inputs only; what they expect is another suite's business.

use super::carry;
use crate::waf::request::Request;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// What mutations start from.
pub(super) struct Seeds {
    /// Whole requests.
    pub(super) requests: Vec<Request>,
    /// Values of arguments, headers and the like, decoded; each once.
    pub(super) payloads: Vec<Vec<u8>>,
}

/// A payload longer than this tests limits, not rules.
const LONGEST_PAYLOAD: usize = 2_000;

impl Seeds {
    /// From all cases below `folder`.
    pub(super) fn read(folder: &Path) -> Result<Self, String> {
        let requests = requests(folder)?;
        if requests.is_empty() {
            return Err(format!(
                "no regression cases below `{}`\nhint: name their folder with --dir",
                folder.display()
            ));
        }
        let mut payloads = BTreeSet::new();
        for request in &requests {
            collect(request, &mut payloads);
        }
        payloads.retain(|payload| !payload.is_empty() && payload.len() <= LONGEST_PAYLOAD);
        Ok(Self { requests, payloads: payloads.into_iter().collect() })
    }
}

/// The inputs of all cases, one request a stage and target, in the order of file names.
fn requests(folder: &Path) -> Result<Vec<Request>, String> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        for path in entries.flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                files.push(path);
            }
        }
    }
    files.sort();
    let mut requests = Vec::new();
    for file in files {
        let fail = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
        let text = fs::read_to_string(&file).map_err(|error| fail(&error))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        for case in waf_ftw::read(&name, &text).map_err(|error| fail(&error))? {
            // Raw bytes would need a parser between: the few cases of them test those.
            for input in case.stages.iter().map(|stage| &stage.input).filter(|i| i.encoded_request.is_none())
            {
                requests.extend(input.uris.iter().map(|target| request(input, target)));
            }
        }
    }
    Ok(requests)
}

/// With the headers that go-ftw adds where they are missing.
fn request(input: &waf_ftw::Input, target: &str) -> Request {
    let headers =
        input.headers.iter().map(|(name, value)| (name.clone().into_bytes(), carry::line(value.as_bytes())));
    let mut request = Request {
        method: input.method.clone().into_bytes(),
        target: target.as_bytes().to_vec(),
        version: if input.version == "HTTP/1.0" { "1.0" } else { "1.1" },
        headers: headers.collect(),
        body: input.data.clone(),
    };
    if input.autocomplete_headers {
        let length = request.body.len().to_string();
        let with_body = !request.body.is_empty();
        for (name, value, wanted) in [
            ("Connection", "close", true),
            ("Content-Length", length.as_str(), with_body),
            ("Content-Type", "application/x-www-form-urlencoded", with_body),
        ] {
            if wanted && request.header(name).is_none() {
                request.set_header(name, value);
            }
        }
    }
    request
}

/// Every value that somebody could have meant as an attack.
fn collect(request: &Request, payloads: &mut BTreeSet<Vec<u8>>) {
    let (path, query) = match request.target.iter().position(|&b| b == b'?') {
        Some(at) => (&request.target[..at], &request.target[at + 1..]),
        None => (&request.target[..], &[][..]),
    };
    payloads.insert(decoded(path.strip_prefix(b"/").unwrap_or(path)));
    pairs(query, payloads);
    const PLAIN: [&str; 7] = [
        "host",
        "accept",
        "content-length",
        "connection",
        "content-type",
        "accept-encoding",
        "accept-language",
    ];
    for (name, value) in &request.headers {
        let name = String::from_utf8_lossy(name).to_ascii_lowercase();
        if name == "cookie" {
            for cookie in value.split(|&b| b == b';') {
                payloads.extend(cookie.splitn(2, |&b| b == b'=').map(|part| decoded(part.trim_ascii())));
            }
        } else if !PLAIN.contains(&name.as_str()) {
            payloads.insert(value.clone());
        }
    }
    let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    if kind.starts_with(b"application/json") {
        match serde_json::from_slice(&request.body) {
            Ok(value) => texts(&value, payloads),
            Err(_) => {
                payloads.insert(request.body.clone());
            }
        }
    } else if kind.starts_with(b"multipart/") {
        for part in request.body.split(|&b| b == b'\n') {
            payloads.insert(part.trim_ascii().to_vec());
        }
    } else if kind.starts_with(b"application/x-www-form-urlencoded") || kind.is_empty() {
        pairs(&request.body, payloads);
    } else {
        payloads.insert(request.body.clone());
    }
}

fn pairs(text: &[u8], payloads: &mut BTreeSet<Vec<u8>>) {
    for pair in text.split(|&b| b == b'&') {
        payloads.extend(pair.splitn(2, |&b| b == b'=').map(decoded));
    }
}

fn texts(value: &serde_json::Value, payloads: &mut BTreeSet<Vec<u8>>) {
    match value {
        serde_json::Value::String(text) => {
            payloads.insert(text.clone().into_bytes());
        }
        serde_json::Value::Array(all) => all.iter().for_each(|one| texts(one, payloads)),
        serde_json::Value::Object(all) => {
            for (name, one) in all {
                payloads.insert(name.clone().into_bytes());
                texts(one, payloads);
            }
        }
        _ => {}
    }
}

/// Percent signs and plus signs undone, where they stand for something.
fn decoded(text: &[u8]) -> Vec<u8> {
    let digit = |at: usize| text.get(at).and_then(|&b| (b as char).to_digit(16));
    let (mut out, mut at) = (Vec::new(), 0);
    while at < text.len() {
        match (text[at], digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_come_from_every_part() {
        let request =
            Request::new("POST", "/a%20b?q=1%27+or&x", &[("User-Agent", "sqlmap"), ("Cookie", "k=%3Cv; l")])
                .with_body("application/json", br#"{"n":["t",{"m":1}]}"#.to_vec());
        let mut payloads = BTreeSet::new();
        collect(&request, &mut payloads);
        let expected: [&[u8]; 10] = [b"a b", b"q", b"1' or", b"x", b"sqlmap", b"k", b"<v", b"l", b"t", b"m"];
        for payload in expected {
            assert!(payloads.contains(payload), "{}", payload.escape_ascii());
        }
    }
}
