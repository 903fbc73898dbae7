//! Where in a request a payload can stand.

use super::random::Random;
use crate::waf::request::Request;

/// One place, and its name in reports.
type Place = (&'static str, fn(&Random, &[u8]) -> Request);

const PLACES: &[Place] = &[
    ("query-value", |r, p| query(r, &[(word(r).into(), p.to_vec())])),
    ("query-value", |r, p| query(r, &[(b"q".to_vec(), p.to_vec()), (b"page".to_vec(), b"2".to_vec())])),
    ("query-name", |r, p| query(r, &[(p.to_vec(), b"1".to_vec())])),
    ("query-whole", |r, p| get(r, [b"/search?".to_vec(), target(r, p)].concat())),
    ("query-pollution", |r, p| {
        let (one, other) = p.split_at(r.below(p.len() + 1));
        query(r, &[(b"id".to_vec(), one.to_vec()), (b"id".to_vec(), other.to_vec())])
    }),
    ("path", |r, p| get(r, [b"/files/".to_vec(), target(r, p)].concat())),
    ("path-whole", |r, p| get(r, [b"/".to_vec(), target(r, p)].concat())),
    ("form-value", |r, p| form(r, &[(word(r).into(), p.to_vec()), (b"ok".to_vec(), b"1".to_vec())])),
    ("form-value", |r, p| form(r, &[(b"comment".to_vec(), p.to_vec())])),
    ("form-name", |r, p| form(r, &[(p.to_vec(), b"on".to_vec())])),
    ("form-raw", |r, p| post(r).with_body("application/x-www-form-urlencoded", p.to_vec())),
    ("form-pollution", |r, p| {
        let (one, other) = p.split_at(r.below(p.len() + 1));
        form(r, &[(b"a[]".to_vec(), one.to_vec()), (b"a[]".to_vec(), other.to_vec())])
    }),
    ("json-value", |r, p| {
        json(r, &format!("{{\"name\":\"Maria\",\"note\":{},\"n\":[1,2]}}", json_text(r, p)))
    }),
    ("json-name", |r, p| json(r, &format!("{{{}:true}}", json_text(r, p)))),
    ("json-deep", |r, p| json(r, &format!("[[{{\"a\":{{\"b\":[null,{}]}}}}]]", json_text(r, p)))),
    ("json-raw", |r, p| post(r).with_body("application/json", p.to_vec())),
    ("multipart-value", |r, p| multipart(r, b"name=\"comment\"", None, p)),
    ("multipart-name", |r, p| multipart(r, &[b"name=\"", &quotable(p)[..], b"\""].concat(), None, b"1")),
    ("multipart-filename", |r, p| {
        multipart(
            r,
            &[b"name=\"f\"; filename=\"", &quotable(p)[..], b"\""].concat(),
            Some("image/png"),
            b"\x89PNG",
        )
    }),
    ("multipart-file", |r, p| multipart(r, b"name=\"f\"; filename=\"a.txt\"", Some("text/plain"), p)),
    ("multipart-header", |r, p| {
        let value = line(p);
        let more = [b"name=\"x\"\r\nX-Part: ", &value[..]].concat();
        multipart(r, &more, None, b"1")
    }),
    ("xml-text", |r, p| xml(r, &[b"<?xml version=\"1.0\"?><a><b>", &xml_text(p)[..], b"</b></a>"].concat())),
    ("xml-attribute", |r, p| xml(r, &[b"<a b=\"", &xml_text(p)[..], b"\"/>"].concat())),
    ("xml-raw", |r, p| xml(r, p)),
    ("plain-body", |r, p| post(r).with_body("text/plain", p.to_vec())),
    ("cookie-value", |r, p| with(r, "Cookie", &[b"session=1; pref=", &line(p)[..]].concat())),
    ("cookie-name", |r, p| with(r, "Cookie", &[&line(p)[..], b"=1; lang=en"].concat())),
    ("cookie-encoded", |r, p| with(r, "Cookie", &[b"pref=", &encoded(r, p)[..]].concat())),
    ("user-agent", |r, p| with(r, "User-Agent", &line(p))),
    ("referer", |r, p| with(r, "Referer", &[b"https://a.example/?x=", &line(p)[..]].concat())),
    ("referer", |r, p| with(r, "Referer", &line(p))),
    ("header", |r, p| with(r, "X-Anything", &line(p))),
    ("forwarded", |r, p| with(r, "X-Forwarded-For", &line(p))),
    ("content-type", |r, p| {
        let mut request = form(r, &[(b"a".to_vec(), b"1".to_vec())]);
        request.set_header("Content-Type", line(p));
        request
    }),
    ("host", |r, p| with(r, "Host", &line(p))),
    ("range", |r, p| with(r, "Range", &line(p))),
    ("basic-auth", |r, p| with(r, "Authorization", &[b"Basic ", &super::mutate::base64(p)[..]].concat())),
];

/// `payload` somewhere, and where.
pub(super) fn carry(random: &Random, payload: &[u8]) -> (Request, &'static str) {
    let (name, place) = random.pick(PLACES);
    (place(random, payload), name)
}

/// Headers of a request that nothing is wrong with.
pub(super) const HEADERS: [(&str, &str); 4] = [
    ("Host", "shop.example"),
    ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br"),
];

pub(super) fn get(random: &Random, target: Vec<u8>) -> Request {
    let method = random.pick(&["GET", "GET", "GET", "HEAD"]);
    Request::new(method, target, &HEADERS)
}

pub(super) fn post(random: &Random) -> Request {
    let target = random.pick(&["/", "/comments", "/api/items?x=1", "/login"]);
    Request::new("POST", target, &HEADERS)
}

fn with(random: &Random, header: &str, value: &[u8]) -> Request {
    let mut request = get(random, b"/account?tab=1".to_vec());
    request.set_header(header, value);
    request
}

pub(super) fn query(random: &Random, pairs: &[(Vec<u8>, Vec<u8>)]) -> Request {
    let text = pairs_of(random, pairs);
    get(random, [b"/search?".to_vec(), text].concat())
}

pub(super) fn form(random: &Random, pairs: &[(Vec<u8>, Vec<u8>)]) -> Request {
    let text = pairs_of(random, pairs);
    let kind = random.pick(&[
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=utf-8",
    ]);
    post(random).with_body(kind, text)
}

fn pairs_of(random: &Random, pairs: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in pairs {
        if !text.is_empty() {
            text.push(b'&');
        }
        text.extend(encoded(random, name));
        text.push(b'=');
        text.extend(encoded(random, value));
    }
    text
}

pub(super) fn json(random: &Random, body: &str) -> Request {
    let kind = random.pick(&[
        "application/json",
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.api+json",
    ]);
    post(random).with_body(kind, body.as_bytes().to_vec())
}

fn xml(random: &Random, body: &[u8]) -> Request {
    let kind = random.pick(&["text/xml", "application/xml", "application/soap+xml; charset=utf-8"]);
    post(random).with_body(kind, body.to_vec())
}

pub(super) fn multipart(random: &Random, parameters: &[u8], kind: Option<&str>, content: &[u8]) -> Request {
    let boundary = random.pick(&[
        "----WebKitFormBoundary7MA4YWxkTrZu0gW",
        "b0undary",
        "---------------------------974767299852498929531610575",
    ]);
    let mut body = format!("--{boundary}\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nfirst\r\n--{boundary}\r\nContent-Disposition: form-data; ")
        .into_bytes();
    body.extend_from_slice(parameters);
    if let Some(kind) = kind {
        body.extend(format!("\r\nContent-Type: {kind}").bytes());
    }
    body.extend_from_slice(b"\r\n\r\n");
    body.extend_from_slice(content);
    body.extend(format!("\r\n--{boundary}--\r\n").bytes());
    post(random).with_body(&format!("multipart/form-data; boundary={boundary}"), body)
}

pub(super) fn word(random: &Random) -> &'static [u8] {
    random.pick(&[&b"id"[..], b"name", b"q", b"file", b"url", b"page", b"user", b"data", b"items[0]", b"a.b"])
}

/// As a browser writes it into a query or form: reserved bytes percent-encoded;
/// sometimes only those that would end the value, sometimes nothing.
fn encoded(random: &Random, bytes: &[u8]) -> Vec<u8> {
    let how = random.below(10);
    let mut out = Vec::new();
    for &byte in bytes {
        let stays = match how {
            0..=5 => byte.is_ascii_alphanumeric() || b"-._~".contains(&byte),
            6..=8 => byte > b' ' && byte != 0x7f && !b"&=#%+".contains(&byte),
            _ => byte > b' ' && byte != 0x7f && byte != b'#',
        };
        match byte {
            b' ' if how.is_multiple_of(2) => out.push(b'+'),
            _ if stays => out.push(byte),
            _ => out.extend(format!("%{byte:02X}").bytes()),
        }
    }
    out
}

/// What may stand in a request target: nothing that would end it.
fn target(random: &Random, bytes: &[u8]) -> Vec<u8> {
    let whole = random.chance(30);
    let mut out = Vec::new();
    for &byte in bytes {
        let stays = if whole {
            byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte)
        } else {
            byte > b' ' && byte != 0x7f
        };
        if stays { out.push(byte) } else { out.extend(format!("%{byte:02x}").bytes()) }
    }
    out
}

/// What may stand in a header's value (RFC 9110 §5.5): no control bytes, no blanks around.
pub(super) fn line(bytes: &[u8]) -> Vec<u8> {
    let line: Vec<u8> =
        bytes.iter().map(|&b| if (b < b' ' && b != b'\t') || b == 0x7f { b' ' } else { b }).collect();
    line.trim_ascii().to_vec()
}

/// Between quotes of a part's header.
fn quotable(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|&b| if b < b' ' { b'_' } else { b }).collect()
}

/// A JSON string: mandatory escapes, sometimes more than those (RFC 8259 §7). Bytes
/// that are no UTF-8 stay in one of four.
fn json_text(random: &Random, bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let more = random.chance(20);
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '/' if more => out.push_str("\\/"),
            c if c < ' ' || (more && !c.is_alphanumeric() && (c as u32) < 0x80) => {
                out.push_str(&format!("\\u{:04x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn xml_text(bytes: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(bytes);
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            // XML 1.0 §2.2 allows no other control characters.
            c if c < ' ' && !"\t\r\n".contains(c) => out.push('.'),
            '\u{fffe}' | '\u{ffff}' => out.push('.'),
            c => out.push(c),
        }
    }
    out.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_the_payload_it_stays_within_its_place() {
        for payload in [&b"\r\nHost: x\r\n\r\n"[..], b"\0\xff\x7f\n", b"", b"a b#c?d&e=f%41"] {
            for seed in 0..2_000 {
                let (request, place) = carry(&Random::new(seed), payload);
                let clean = |bytes: &[u8]| bytes.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7f));
                assert!(clean(&request.target) && !request.target.contains(&b' '), "{place} {seed}");
                for (name, value) in &request.headers {
                    assert!(clean(name) && clean(value), "{place} {seed}");
                }
            }
        }
    }
}
