//! Checks of a whole request head, of any version: what must hold before
//! routing, WAF and web servers see it.

use crate::guard::{is_token, list_has, target_bytes_ok};
use crate::{Refusal, RequestHead, Version};

/// Refuses a head that is ambiguous or that we do not speak. The guard has
/// already checked the bytes of HTTP/1.1; HTTP/2 comes here first.
pub fn check_head(head: &RequestHead<'_>) -> Result<(), Refusal> {
    if head.method.is_empty() || !head.method.iter().all(|&b| is_token(b)) {
        return Err(Refusal::Method);
    }
    // CONNECT makes a forward proxy, TRACE echoes credentials (RFC 9110 §9.3.6, §9.3.8, §17.2).
    if matches!(head.method, b"CONNECT" | b"TRACE" | b"TRACK") {
        return Err(Refusal::Method);
    }
    check_target(head)?;
    check_authority(head)?;
    if head.version == Version::Http2 {
        check_h2(head)?;
    }
    if let Some(expect) = head.header("expect") {
        // RFC 9110 §10.1.1: any other expectation may get 417.
        if !expect.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::Expect);
        }
    }
    Ok(())
}

/// Origin form, or `*` for OPTIONS (RFC 9112 §3.2). An absolute form's path was
/// already taken out of it by the engine.
pub(crate) fn check_target(head: &RequestHead<'_>) -> Result<(), Refusal> {
    let target = head.target;
    let form_ok = match target {
        b"*" => head.method == b"OPTIONS",
        _ => target.first() == Some(&b'/'),
    };
    if !form_ok || !target_bytes_ok(target) {
        return Err(Refusal::Target);
    }
    Ok(())
}

pub(crate) fn check_authority(head: &RequestHead<'_>) -> Result<(), Refusal> {
    let mut hosts = head.header_all("host");
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(Refusal::SeveralHosts);
    }
    if head.authority.is_empty() {
        // Only HTTP/1.0 may leave it out.
        return if head.version == Version::Http10 && host.is_none() {
            Ok(())
        } else if host.is_some() {
            Err(Refusal::BadHost)
        } else {
            Err(Refusal::NoHost)
        };
    }
    // RFC 9113 §8.3.1: a Host that differs from `:authority` is malformed; for an
    // absolute form RFC 9112 §3.2.2 has the target win: we refuse instead.
    if host.is_some_and(|host| !host.eq_ignore_ascii_case(head.authority)) {
        return Err(Refusal::AuthorityMismatch);
    }
    if is_authority(head.authority) { Ok(()) } else { Err(Refusal::BadHost) }
}

/// `host [":" port]` (RFC 9110 §7.2) without user information.
pub(crate) fn is_authority(text: &[u8]) -> bool {
    if text.len() > 260 {
        return false;
    }
    let (host, port) = match text.first() {
        Some(b'[') => match text.iter().position(|&b| b == b']') {
            Some(end) => (&text[..=end], &text[end + 1..]),
            None => return false,
        },
        _ => {
            let end = text.iter().position(|&b| b == b':').unwrap_or(text.len());
            (&text[..end], &text[end..])
        }
    };
    let host_ok = match host {
        [b'[', inner @ .., b']'] => {
            std::str::from_utf8(inner).is_ok_and(|t| t.parse::<std::net::Ipv6Addr>().is_ok())
        }
        _ => {
            !host.is_empty()
                && host.iter().all(|&b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
                && !host.starts_with(b".")
                && !host.windows(2).any(|w| w == b"..")
        }
    };
    let port_ok = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    host_ok && port_ok
}

/// RFC 9113 §8.2.2: no connection headers, and of `te` only `trailers`.
fn check_h2(head: &RequestHead<'_>) -> Result<(), Refusal> {
    for (name, value) in head.headers {
        let bad = match name.len() {
            2 if name.eq_ignore_ascii_case(b"te") => !value.eq_ignore_ascii_case(b"trailers"),
            7 => name.eq_ignore_ascii_case(b"upgrade"),
            10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
            16 => name.eq_ignore_ascii_case(b"proxy-connection"),
            17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
            _ => false,
        };
        if bad {
            return Err(Refusal::ConnectionHeader);
        }
    }
    Ok(())
}

/// The protocol a request asks to switch to, where we pass that on: HTTP/1.1,
/// GET, no body, `Connection: upgrade`, and not h2c, which would carry requests
/// past every check.
pub fn upgrade_wanted<'a>(head: &RequestHead<'a>) -> Option<&'a [u8]> {
    let has_body = head.header("transfer-encoding").is_some()
        || head.header("content-length").is_some_and(|length| length != b"0");
    if head.version != Version::Http11 || head.method != b"GET" || has_body {
        return None;
    }
    let upgrade = head.header("upgrade")?;
    let asked = head.header_all("connection").any(|value| list_has(value, b"upgrade"));
    let token = !upgrade.is_empty() && upgrade.iter().all(|&b| is_token(b) || b == b'/');
    (asked && token && !upgrade.eq_ignore_ascii_case(b"h2c")).then_some(upgrade)
}

/// How the client would rather read an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// A person's browser.
    Html,
    /// A program.
    Json,
}

/// HTML unless Accept prefers JSON, or names JSON and not HTML (RFC 9110 §12.5.1,
/// simplified to these two types).
pub fn page_kind(head: &RequestHead<'_>) -> PageKind {
    let (mut html, mut json) = (0.0f32, 0.0f32);
    for part in head.header_all("accept").flat_map(|value| value.split(|&b| b == b',')) {
        let mut pieces = part.split(|&b| b == b';').map(crate::guard::trim);
        let media = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let quality = crate::negotiate::quality(pieces);
        match media.as_slice() {
            b"text/html" | b"application/xhtml+xml" | b"text/*" => html = html.max(quality),
            b"application/json" | b"application/problem+json" => json = json.max(quality),
            _ if media.ends_with(b"+json") => json = json.max(quality),
            _ => {}
        }
    }
    if json > html { PageKind::Json } else { PageKind::Html }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head<'a>(
        method: &'a str,
        target: &'a str,
        authority: &'a str,
        version: Version,
        headers: &'a [(&'a [u8], &'a [u8])],
    ) -> RequestHead<'a> {
        RequestHead {
            method: method.as_bytes(),
            target: target.as_bytes(),
            authority: authority.as_bytes(),
            version,
            headers,
        }
    }

    #[test]
    fn targets_and_methods() {
        use Refusal::{Method, Target};
        let cases = [
            ("GET", "/", None),
            ("GET", "/a^{b}|?q=|{}^\\`", None),
            ("GET", "/a?q=<x>", Some(Target)),
            ("GET", "/a`", Some(Target)),
            ("PURGE", "/", None),
            ("OPTIONS", "*", None),
            ("GET", "*", Some(Target)),
            ("GET", "", Some(Target)),
            ("GET", "a/b", Some(Target)),
            ("GET", "/a#b", Some(Target)),
            ("GET", "/a b", Some(Target)),
            ("GET", "/a\u{e9}", Some(Target)),
            ("GET", "/a\\..\\b", Some(Target)),
            ("CONNECT", "/", Some(Method)),
            ("TRACE", "/", Some(Method)),
            ("G T", "/", Some(Method)),
            ("", "/", Some(Method)),
        ];
        for (method, target, expected) in cases {
            let got = check_head(&head(method, target, "a", Version::Http11, &[]));
            assert_eq!(got.err(), expected, "{method} {target}");
        }
    }

    #[test]
    fn authorities() {
        use Refusal::{AuthorityMismatch, BadHost, ConnectionHeader, Expect, NoHost, SeveralHosts};
        let good =
            ["a", "A.example", "a.example:8443", "127.0.0.1", "[::1]", "[::1]:80", "a.", "a_b.c", "a:"];
        for authority in good {
            assert_eq!(check_head(&head("GET", "/", authority, Version::Http2, &[])), Ok(()), "{authority}");
        }
        for authority in
            ["a b", "u@a", "a/b", "a,b", "a:x", "a:123456", "[::1", "[a]", "[::1]x", ".a", "a..b", ":80"]
        {
            let got = check_head(&head("GET", "/", authority, Version::Http2, &[]));
            assert_eq!(got, Err(BadHost), "{authority}");
        }
        type Headers<'a> = &'a [(&'a [u8], &'a [u8])];
        let cases: &[(&str, Version, Headers<'_>, Result<(), Refusal>)] = &[
            ("", Version::Http10, &[], Ok(())),
            ("", Version::Http11, &[], Err(NoHost)),
            ("", Version::Http2, &[], Err(NoHost)),
            ("", Version::Http11, &[(b"host", b"")], Err(BadHost)),
            ("a", Version::Http11, &[(b"host", b"A")], Ok(())),
            ("a", Version::Http11, &[(b"host", b"b")], Err(AuthorityMismatch)),
            ("a", Version::Http2, &[(b"host", b"b")], Err(AuthorityMismatch)),
            ("a", Version::Http11, &[(b"host", b"a"), (b"host", b"a")], Err(SeveralHosts)),
            ("a", Version::Http11, &[(b"expect", b"100-Continue")], Ok(())),
            ("a", Version::Http11, &[(b"expect", b"miracles")], Err(Expect)),
            ("a", Version::Http2, &[(b"te", b"trailers")], Ok(())),
            ("a", Version::Http2, &[(b"te", b"gzip")], Err(ConnectionHeader)),
            ("a", Version::Http2, &[(b"connection", b"close")], Err(ConnectionHeader)),
            ("a", Version::Http2, &[(b"transfer-encoding", b"chunked")], Err(ConnectionHeader)),
            ("a", Version::Http11, &[(b"connection", b"close")], Ok(())),
        ];
        for (authority, version, headers, expected) in cases {
            let got = check_head(&head("GET", "/", authority, *version, headers));
            assert_eq!(got, *expected, "{authority} {version:?} {headers:?}");
        }
    }

    #[test]
    fn upgrades() {
        type Headers<'a> = &'a [(&'a [u8], &'a [u8])];
        let ws: Headers<'_> = &[(b"connection", b"keep-alive, Upgrade"), (b"upgrade", b"websocket")];
        let cases: &[(&str, Version, Headers<'_>, Option<&[u8]>)] = &[
            ("GET", Version::Http11, ws, Some(b"websocket")),
            ("POST", Version::Http11, ws, None),
            ("GET", Version::Http10, ws, None),
            ("GET", Version::Http2, ws, None),
            ("GET", Version::Http11, &[(b"upgrade", b"websocket")], None),
            ("GET", Version::Http11, &[(b"connection", b"upgrade"), (b"upgrade", b"h2c")], None),
            (
                "GET",
                Version::Http11,
                &[(b"connection", b"upgrade"), (b"upgrade", b"websocket"), (b"content-length", b"3")],
                None,
            ),
        ];
        for (method, version, headers, expected) in cases {
            assert_eq!(upgrade_wanted(&head(method, "/", "a", *version, headers)), *expected);
        }
    }

    #[test]
    fn pages() {
        let cases = [
            ("", PageKind::Html),
            ("*/*", PageKind::Html),
            ("text/html,application/xhtml+xml,*/*;q=0.8", PageKind::Html),
            ("application/json", PageKind::Json),
            ("application/problem+json", PageKind::Json),
            ("text/html;q=0.5, application/json", PageKind::Json),
            ("application/json;q=0.5, text/html", PageKind::Html),
            ("application/json;q=0", PageKind::Html),
        ];
        for (accept, expected) in cases {
            let headers: &[(&[u8], &[u8])] = &[(b"accept", accept.as_bytes())];
            assert_eq!(page_kind(&head("GET", "/", "a", Version::Http11, headers)), expected, "{accept}");
        }
    }
}
