//! Requests written down whole, for `bastide waf learn`. What no log may show is
//! masked: credentials, cookies' values, arguments, JSON members and form parts that
//! are named like secrets. A body in which such a name stands and whose values cannot
//! be told apart is left out.

use crate::inspect::Asked;
use base::EventId;
use base::events::is_secret_name;
use edge_http::{RequestHead, Version};
use site::capture::{MASK, encode};
use site::{Capture, Captured};

/// A request as it is written down.
pub(crate) fn captured(
    head: &RequestHead<'_>,
    asked: &Asked,
    body: &[u8],
    whole: bool,
    event: Option<EventId>,
    settings: &Capture,
) -> Captured {
    let most = usize::try_from(settings.body.0).unwrap_or(usize::MAX);
    let kind = head.header("content-type").unwrap_or_default();
    let encoded = head.header("content-encoding").is_some_and(|encoding| encoding != b"identity");
    // A compressed body hides the names in it.
    let masked = if encoded { None } else { mask_body(kind, body, whole) };
    let (mut body, mut whole) = match masked {
        Some(body) => (body, whole),
        None => (Vec::new(), body.is_empty() && whole),
    };
    if body.len() > most {
        body.truncate(most);
        whole = false;
    }
    Captured {
        at_ms: sys::clock::now_ms(),
        request_id: asked.request_id.to_str().unwrap_or_default().to_owned(),
        event,
        client: asked.client,
        route: asked.waf.route.clone(),
        method: encode(head.method),
        target: encode(&mask_target(head.target)),
        host: encode(head.authority),
        version: match head.version {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
            Version::Http2 => "HTTP/2.0",
        }
        .to_owned(),
        headers: head.headers.iter().map(|(name, value)| header(name, value)).collect(),
        body: encode(&body),
        whole,
    }
}

fn header(name: &[u8], value: &[u8]) -> (String, String) {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let value = match name.as_str() {
        "cookie" => mask_cookies(value),
        "referer" => mask_target(value),
        _ if is_secret_name(&name) => MASK.as_bytes().to_vec(),
        _ => value.to_vec(),
    };
    (name, encode(&value))
}

/// Every cookie's value: any of them may be a session's.
fn mask_cookies(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, pair) in value.split(|&byte| byte == b';').enumerate() {
        if number > 0 {
            out.push(b';');
        }
        match pair.iter().position(|&byte| byte == b'=') {
            Some(at) => {
                out.extend_from_slice(&pair[..=at]);
                out.extend_from_slice(MASK.as_bytes());
            }
            // A cookie without a name is all value.
            None => out.extend_from_slice(MASK.as_bytes()),
        }
    }
    out
}

/// A target or URL: secret values of its query.
fn mask_target(target: &[u8]) -> Vec<u8> {
    match target.iter().position(|&byte| byte == b'?') {
        Some(at) => [&target[..=at], &mask_pairs(&target[at + 1..])].concat(),
        None => target.to_vec(),
    }
}

/// `a=b&c=d`: secret values.
fn mask_pairs(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for (number, pair) in text.split(|&byte| byte == b'&').enumerate() {
        if number > 0 {
            out.push(b'&');
        }
        let at = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
        let (name, value) = pair.split_at(at);
        out.extend_from_slice(name);
        if value.is_empty() {
            continue;
        }
        match is_secret(&decoded(name)) {
            true => {
                out.push(b'=');
                out.extend_from_slice(MASK.as_bytes());
            }
            false => out.extend_from_slice(value),
        }
    }
    out
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let hex = |at: usize| text.get(at).and_then(|&byte| char::from(byte).to_digit(16));
    let mut at = 0;
    while at < text.len() {
        match (text[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
            }
            (byte, ..) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    out
}

fn is_secret(name: &[u8]) -> bool {
    is_secret_name(&String::from_utf8_lossy(name))
}

/// The body with its secrets masked; none where that cannot be done.
fn mask_body(kind: &[u8], body: &[u8], whole: bool) -> Option<Vec<u8>> {
    let kind = String::from_utf8_lossy(kind).to_ascii_lowercase();
    let media = kind.split(';').next().unwrap_or_default().trim();
    if media == "application/x-www-form-urlencoded" {
        return Some(mask_pairs(body));
    }
    if !is_secret(body) {
        return Some(body.to_vec());
    }
    if media == "application/json" || media.ends_with("+json") {
        return if whole { mask_json(body) } else { None };
    }
    if media == "multipart/form-data" { mask_parts(&kind, body) } else { None }
}

/// JSON, written anew with the members masked that are named like secrets.
fn mask_json(body: &[u8]) -> Option<Vec<u8>> {
    fn mask(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                for (name, value) in members {
                    if is_secret_name(name) {
                        *value = MASK.into();
                    } else {
                        mask(value);
                    }
                }
            }
            serde_json::Value::Array(items) => items.iter_mut().for_each(mask),
            _ => {}
        }
    }
    // It refuses what nests deeper than 128, so `mask` does not, either.
    let mut value: serde_json::Value = serde_json::from_slice(body).ok()?;
    mask(&mut value);
    serde_json::to_vec(&value).ok()
}

/// `multipart/form-data` (RFC 7578): the contents of parts that are named like secrets.
fn mask_parts(kind: &str, body: &[u8]) -> Option<Vec<u8>> {
    // The boundary's letters have a case: it is looked up in the body itself, where
    // it stands at the first line's beginning.
    let length = kind.split("boundary=").nth(1)?.trim_matches('"').split(['"', ';']).next()?.trim().len();
    let line = body.get(..length.checked_add(2)?)?;
    if !line.starts_with(b"--") || length == 0 {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    for (number, part) in split(body, line).into_iter().enumerate() {
        if number > 0 {
            out.extend_from_slice(line);
        }
        match find(part, b"\r\n\r\n") {
            Some(at) if is_secret(&part[..at]) => {
                out.extend_from_slice(&part[..at + 4]);
                out.extend_from_slice(MASK.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(part),
        }
    }
    Some(out)
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    text.windows(wanted.len()).position(|window| window == wanted)
}

fn split<'t>(text: &'t [u8], at: &[u8]) -> Vec<&'t [u8]> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(found) = find(rest, at) {
        parts.push(&rest[..found]);
        rest = &rest[found + at.len()..];
    }
    parts.push(rest);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked() {
        let form = "application/x-www-form-urlencoded";
        let multi = "multipart/form-data; boundary=XyZ";
        let parts = |password: &str| {
            format!(
                "--XyZ\r\nContent-Disposition: form-data; name=\"q\"\r\n\r\nshoes\r\n\
                 --XyZ\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\n{password}\r\n--XyZ--\r\n"
            )
        };
        let (given, kept) = (parts("5ECRET"), parts("masked"));
        let cases = [
            (form, "a=1&password=5ECRET&b=2", Some("a=1&password=masked&b=2")),
            (form, "user[pass%77ord]=5ECRET", Some("user[pass%77ord]=masked")),
            (form, "password", Some("password")),
            ("application/json", r#"{"q":"1"}"#, Some(r#"{"q":"1"}"#)),
            (
                "application/json; charset=utf-8",
                r#"{"q": 1, "login": [{"Password": "5ECRET"}]}"#,
                Some(r#"{"q":1,"login":[{"Password":"masked"}]}"#),
            ),
            ("application/json", r#"{"token": "5ECRET"#, None),
            (multi, given.as_str(), Some(kept.as_str())),
            ("multipart/form-data", "--x\r\nname=password\r\n\r\n5ECRET", None),
            ("application/xml", "<password>5ECRET</password>", None),
            ("application/xml", "<q>1</q>", Some("<q>1</q>")),
            ("", "token=5ECRET", None),
        ];
        for (kind, body, expected) in cases {
            let masked = mask_body(kind.as_bytes(), body.as_bytes(), true);
            assert_eq!(masked.as_deref(), expected.map(str::as_bytes), "{kind}: {body}");
        }
        assert_eq!(mask_body(b"application/json", br#"{"token":"5"}"#, false), None);
        let lines: [(&str, &str, &str); 5] = [
            ("Cookie", "sid=5ECRET; theme=5ECRET", "sid=masked; theme=masked"),
            ("Cookie", "5ECRET", "masked"),
            ("Authorization", "Bearer 5ECRET", "masked"),
            ("Referer", "https://x/y?token=5ECRET&a=b", "https://x/y?token=masked&a=b"),
            ("Accept", "*/*", "*/*"),
        ];
        for (name, value, expected) in lines {
            let (_, shown) = header(name.as_bytes(), value.as_bytes());
            assert_eq!(shown, expected, "{name}");
        }
        assert_eq!(mask_target(b"/reset?api_key=5ECRET&q=1"), b"/reset?api_key=masked&q=1");
        assert_eq!(mask_target(b"/plain"), b"/plain");
    }
}
