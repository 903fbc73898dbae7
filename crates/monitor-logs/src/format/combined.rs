//! The combined and the common format.
//!
//! Sources: Apache's mod_log_config (`%h %l %u %t "%r" %>s %b "%{Referer}i"
//! "%{User-agent}i"`), nginx' ngx_http_log_module (`combined`).

use super::{closing_quote, request_line};
use crate::entry::{Entry, Time, scaled};

/// The time's width between the brackets.
const TIME: usize = 26;

/// Reads a line. Only what comes before the referer is looked at, and the end.
#[inline]
pub(super) fn parse(line: &[u8]) -> Option<Entry<'_>> {
    let ip = &line[..memchr::memchr(b' ', line)?];
    // Host, identity and user may not hold a bracket; the time is in brackets.
    let open = match line[ip.len()..].starts_with(b" - - [") {
        true => ip.len() + 5,
        false => ip.len() + memchr::memchr(b'[', &line[ip.len()..])?,
    };
    let close = match line.get(open + TIME + 1) {
        Some(b']') => open + TIME + 1,
        _ => open + memchr::memchr(b']', &line[open..])?,
    };
    let mut at = close + 1;
    while line.get(at) == Some(&b' ') {
        at += 1;
    }
    if line.get(at) != Some(&b'"') {
        return None;
    }
    let quote = closing_quote(line, at + 1)?;
    let (method, target) = request_line(&line[at + 1..quote]);
    let mut rest = blanks(&line[quote + 1..]);

    let [a, b, c, after @ ..] = rest else { return None };
    let digit = |byte: &u8| byte.wrapping_sub(b'0');
    if digit(a) > 9 || digit(b) > 9 || digit(c) > 9 || after.first() != Some(&b' ') {
        return None;
    }
    let status = u16::from(digit(a)) * 100 + u16::from(digit(b)) * 10 + u16::from(digit(c));
    rest = blanks(after);

    let mut bytes = 0_u64;
    let digits = rest.iter().take(20).take_while(|b| b.is_ascii_digit()).count();
    match digits {
        0 if rest.first() == Some(&b'-') => rest = &rest[1..],
        1..=19 => {
            bytes = rest[..digits].iter().fold(0, |sum, d| sum * 10 + u64::from(d - b'0'));
            rest = &rest[digits..];
        }
        _ => return None,
    }
    if rest.first().is_some_and(|byte| *byte != b' ') {
        return None;
    }
    // Most lines end with the agent's quote and have no duration.
    let duration_us = match rest.last() {
        Some(b'0'..=b'9') => duration(rest)?,
        _ => None,
    };
    Some(Entry {
        time: Time::Common(&line[open + 1..close]),
        ip,
        host: b"",
        method,
        target,
        status,
        bytes,
        duration_us,
    })
}

fn blanks(text: &[u8]) -> &[u8] {
    text.trim_ascii_start()
}

/// The last word, where it is an unquoted number. `None` is a negative one.
fn duration(mut rest: &[u8]) -> Option<Option<u64>> {
    let mut last: &[u8] = b"";
    loop {
        rest = blanks(rest);
        if rest.is_empty() {
            break;
        }
        if rest[0] == b'"' {
            let Some(end) = closing_quote(rest, 1) else { return Some(None) };
            last = b"";
            rest = &rest[end + 1..];
        } else {
            let end = memchr::memchr(b' ', rest).unwrap_or(rest.len());
            (last, rest) = rest.split_at(end);
        }
    }
    match last {
        [b'-', b'0'..=b'9', ..] => None,
        _ => Some(scaled(last, 6)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Format, Scratch, Spec};

    /// A line; then status, bytes, microseconds, method and target.
    type Case = (&'static str, Option<(u16, u64, Option<u64>, &'static str, &'static str)>);

    #[test]
    fn lines() {
        let cases: &[Case] = &[
            (
                r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326 "http://www.example.com/start.html" "Mozilla/4.08 [en] (Win98; I ;Nav)""#,
                Some((200, 2_326, None, "GET", "/apache_pb.gif")),
            ),
            (
                r#"::1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 304 -"#,
                Some((304, 0, None, "GET", "/")),
            ),
            (
                r#"h - - [t] "GET /\"q\" HTTP/1.1" 200 5 "-" "a \"b\"" 0.125"#,
                Some((200, 5, Some(125_000), "GET", r#"/\"q\""#)),
            ),
            (r#"h - - [t] "-" 400 0 "-" "-""#, Some((400, 0, None, "", ""))),
            (r#"h - - [t] "\x16\x03" 400 0 "-" "-" "-""#, Some((400, 0, None, "", ""))),
            (r#"h - - [t] "GET /" 200 5 "-" "x" gzip7"#, Some((200, 5, None, "GET", "/"))),
            (r#"h - - [t] "GET /" 200 5 "-" "ends with 7"#, Some((200, 5, None, "GET", "/"))),
            ("", None),
            ("h - - [t", None),
            (r#"h - - [t] "GET / 200 5"#, None),
            (r#"h - - [t] "GET /" 99 5"#, None),
            (r#"h - - [t] "GET /" 700 5"#, None),
            (r#"h - - [t] "GET /" 70000 5"#, None),
            (r#"h - - [t] "GET /" 200 -5"#, None),
            (r#"h - - [t] "GET /" 200 5x"#, None),
            (r#"h - - [t] "GET /" 200 99999999999999999999"#, None),
            (r#"h - - [t] "GET /" 200"#, None),
            ("h - - [t] \"GET /\\", None),
            (r#"h - - [t] "GET /" 200 5 "-" "-" -1"#, None),
            (r#"h - - [t] "GET /" 200 5 "-" "-" 99999999999"#, None),
        ];
        let format = Format::compile(&Spec::Combined).unwrap();
        for (line, expected) in cases {
            let mut scratch = Scratch::default();
            let got = format.parse(line.as_bytes(), &mut scratch).map(|e| {
                let text = |bytes| std::str::from_utf8(bytes).unwrap();
                (e.status, e.bytes, e.duration_us, text(e.method), text(e.target))
            });
            assert_eq!(got, *expected, "{line}");
        }
        assert_eq!(parse(b"h - - [t] \"\xff\" 200 1").map(|e| e.status), Some(200));
        let line = br#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 304 -"#;
        let entry = parse(line).unwrap();
        assert_eq!((entry.ip, entry.time_ms()), (&b"1.2.3.4"[..], Some(971_211_336_000)));
    }
}
