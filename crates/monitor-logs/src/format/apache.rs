//! Apache's `LogFormat`.
//!
//! Source: the manual's "Custom Log Formats" of mod_log_config, with mod_logio's
//! `%I %O %S`.

use super::BadFormat;
use super::pattern::{Field, Part, Pattern};

/// Compiles the text of a `LogFormat`, without its nickname and the quotes around
/// it; a nickname of Apache's shipped file stands for its text.
pub(super) fn compile(text: &str) -> Result<Pattern, BadFormat> {
    let text = match text.trim() {
        "common" => r#"%h %l %u %t "%r" %>s %b"#,
        "combined" => r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i""#,
        "vhost_combined" => r#"%v:%p %h %l %u %t "%r" %>s %O "%{Referer}i" "%{User-Agent}i""#,
        "combinedio" => r#"%h %l %u %t "%r" %>s %b "%{Referer}i" "%{User-Agent}i" %I %O"#,
        other => other,
    };
    let mut parts: Vec<Part> = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first == '%' {
            let (field, written, behind) = directive(rest)?;
            match (parts.last_mut(), written) {
                // `%U%q` is one target.
                (Some(Part::Field(Field::Target, before)), "%q") => before.push_str(written),
                (_, "%%") => parts.push(Part::Text(b"%".to_vec())),
                _ => parts.push(Part::Field(field, written.to_owned())),
            }
            rest = behind;
        } else if let Some(escaped) = rest.strip_prefix('\\') {
            let (byte, behind) = escape(escaped)?;
            parts.push(Part::Text(vec![byte]));
            rest = behind;
        } else {
            let end = rest.find(['%', '\\']).unwrap_or(rest.len());
            parts.push(Part::Text(rest.as_bytes()[..end].to_vec()));
            rest = &rest[end..];
        }
    }
    Pattern::new(parts)
}

fn escape(text: &str) -> Result<(u8, &str), BadFormat> {
    let byte = match text.as_bytes().first() {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'"') => b'"',
        Some(b'\\') => b'\\',
        _ => return Err(BadFormat(format!("`\\{text}` is no escape; hint: `\\\"`, `\\t` and `\\\\` are"))),
    };
    Ok((byte, &text[1..]))
}

/// `%>s`, `%{ms}T`, `%!200,304{Referer}i`: what it is, how it is written, what follows.
fn directive(text: &str) -> Result<(Field, &str, &str), BadFormat> {
    let bytes = text.as_bytes();
    let mut at = 1;
    // Modifiers: conditions by status code, then `<` or `>`.
    while bytes.get(at).is_some_and(|b| b.is_ascii_digit() || matches!(b, b'!' | b',' | b'<' | b'>')) {
        at += 1;
    }
    let mut argument = "";
    if bytes.get(at) == Some(&b'{') {
        let close = text[at..]
            .find('}')
            .ok_or_else(|| BadFormat(format!("`{}` has no `}}`", &text[..text.len().min(20)])))?;
        argument = &text[at + 1..at + close];
        at += close + 1;
    }
    let width =
        if text[at.min(text.len())..].starts_with("^ti") || text[at.min(text.len())..].starts_with("^to") {
            3
        } else {
            text[at.min(text.len())..].chars().next().map_or(0, char::len_utf8)
        };
    if width == 0 {
        return Err(BadFormat(format!("`{text}` ends too early; hint: `%>s`")));
    }
    let (written, behind) = text.split_at(at + width);
    let letter = &text[at..at + width];
    let field = field(letter, argument).ok_or_else(|| {
        BadFormat(format!("Apache has no `{written}`; hint: see the manual of mod_log_config"))
    })?;
    Ok((field, written, behind))
}

fn field(letter: &str, argument: &str) -> Option<Field> {
    Some(match (letter, argument) {
        ("h" | "a", _) => Field::Ip,
        ("v" | "V", _) => Field::Host,
        ("i", name) if name.eq_ignore_ascii_case("host") => Field::Host,
        ("r", _) => Field::Request,
        ("m", _) => Field::Method,
        ("U", _) => Field::Target,
        ("s", _) => Field::Status,
        ("b" | "B" | "O", _) => Field::Bytes,
        ("D", _) | ("T", "us") => Field::Duration(6),
        ("T", "ms") => Field::Duration(3),
        ("T", "" | "s") => Field::Duration(0),
        ("t", "") => Field::TimeBrackets,
        ("t", "sec" | "begin:sec" | "end:sec") => Field::TimeNumber(0),
        ("t", "msec" | "begin:msec" | "end:msec") => Field::TimeNumber(3),
        ("t", "usec" | "begin:usec" | "end:usec") => Field::TimeNumber(6),
        // A format of one's own (strftime) may be anything.
        ("t", _) | ("%", "") => Field::Ignored,
        (
            "A" | "C" | "e" | "f" | "H" | "I" | "i" | "k" | "l" | "L" | "n" | "o" | "p" | "P" | "q" | "R"
            | "S" | "u" | "X" | "^ti" | "^to" | "x" | "c",
            _,
        ) => Field::Ignored,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::{Format, Scratch, Spec};

    #[test]
    fn lines_of_log_formats() {
        let cases: &[(&str, &str, Option<&str>)] = &[
            (
                "vhost_combined",
                r#"shop.example:443 10.1.2.3 - - [10/Oct/2000:13:55:36 -0700] "GET /a HTTP/1.1" 200 23 "-" "x""#,
                Some("10.1.2.3 shop.example GET /a 200 23 None Some(971211336000)"),
            ),
            (
                r#"%{msec}t %a %{Host}i %m %U%q %>s %B %{us}T \"%{X-Id}i\" 100%%"#,
                r#"971211336500 ::1 shop POST /x?y=1 404 0 1500 "id \" 7" 100%"#,
                Some("::1 shop POST /x?y=1 404 0 Some(1500) Some(971211336500)"),
            ),
            ("%h %>s %b %D", "h 200 - -", Some("h    200 0 None None")),
            ("%h %>s %b %D", "h 200 - -5", None),
            ("%h %>s", "h 200 x", None),
        ];
        for (format, line, expected) in cases {
            let format = Format::compile(&Spec::Apache((*format).to_owned())).unwrap();
            let mut scratch = Scratch::default();
            let got = format.parse(line.as_bytes(), &mut scratch).map(|e| {
                let text = String::from_utf8_lossy;
                let (ip, host, method) = (text(e.ip), text(e.host), text(e.method));
                let (target, time) = (text(e.target), e.time_ms());
                format!("{ip} {host} {method} {target} {} {} {:?} {time:?}", e.status, e.bytes, e.duration_us)
            });
            assert_eq!(got.as_deref(), *expected, "{line}");
        }
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (format, part) in [
            ("%h %Z %>s", "`%Z`"),
            ("%{fortnight}T %>s", "`%{fortnight}T`"),
            ("%h%u %>s", "between `%h` and `%u`"),
            ("%{Referer", "has no `}`"),
            ("%>s %", "ends too early"),
            ("%>s \\q", "is no escape"),
            ("%h", "no status"),
        ] {
            let error = Format::compile(&Spec::Apache(format.to_owned())).unwrap_err().to_string();
            assert!(error.contains(part), "{format}: {error}");
        }
    }
}
