//! Disagreements that are understood: each class is a section of
//! `docs/decisions/waf-differential.md`, which says who is right and why.

use crate::waf::request::Request;

/// Which engine matched a rule that the other did not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// libmodsecurity did: we missed it.
    Missed,
    /// We did.
    Extra,
}

impl Side {
    /// As it is printed.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missed => "missed",
            Self::Extra => "extra",
        }
    }
}

/// One disagreement about one rule.
pub(super) struct Case<'a> {
    /// The rule.
    pub(super) rule: u64,
    /// Who matched it.
    pub(super) side: Side,
    /// On what.
    pub(super) request: &'a Request,
    /// What the engine that matched wrote.
    pub(super) line: &'a str,
}

/// A reason for disagreements.
pub(super) struct Class {
    /// As the section in the documentation is called.
    pub(super) name: &'static str,
    /// Whether a disagreement is of this class. As narrow as the reason.
    holds: fn(&Case<'_>) -> bool,
}

static CLASSES: &[Class] = &[
    Class { name: "encoded question mark", holds: |case| case.side == Side::Extra && path_has(case, b"%3f") },
    Class { name: "fragment in the target", holds: |case| case.request.target.contains(&b'#') },
    Class {
        name: "NUL in a decoded value",
        holds: |case| matches!(case.rule / 1_000, 941 | 942) && has_nul(case),
    },
    Class { name: "line ends in a part", holds: |case| is_multipart_of_lines(case.request) },
    Class { name: "quote that does not end", holds: |case| has_open_quote(case.request) },
    Class {
        name: "stale MATCHED_VARS",
        holds: |case| case.side == Side::Missed && is_stale(case.rule, case.line),
    },
    Class {
        name: "multiMatch logs early",
        holds: |case| case.side == Side::Missed && case.rule == 942_131 && case.line.contains("[msg \"\"]"),
    },
    Class { name: "Unicode best fit", holds: |case| is_best_fit(case) },
    Class {
        name: "numbers that end in e",
        holds: |case| case.side == Side::Extra && case.rule == 942_100 && has_bare_exponent(case.request),
    },
    Class {
        name: "names that end in dots",
        holds: |case| case.side == Side::Extra && dots(case.rule) && has_dots(case.request),
    },
    Class {
        name: "phrases within phrases",
        holds: |case| case.side == Side::Extra && matches!(case.rule, 930_120..=930_131),
    },
    Class {
        name: "bytes that are no base64",
        holds: |case| case.side == Side::Extra && matches!(case.rule, 934_100 | 934_101 | 934_160),
    },
    Class {
        name: "bodies of unknown type",
        holds: |case| {
            case.side == Side::Extra && !case.request.body.is_empty() && has_no_processor(case.request)
        },
    },
    Class {
        name: "type without a body",
        holds: |case| {
            let (rule, request) = (case.rule, case.request);
            let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
            let is_of = |rule_of: u64, sign: &[u8]| rule == rule_of && contains(&kind, sign);
            let said = is_of(UNREADABLE_BODY, b"xml") || is_of(MULTIPART_NOT_STRICT, b"multipart/");
            case.side == Side::Missed && request.body.is_empty() && said
        },
    },
];

/// `base.conf`'s rule on `REQBODY_ERROR`.
const UNREADABLE_BODY: u64 = 200_002;

/// And on `MULTIPART_STRICT_ERROR`.
const MULTIPART_NOT_STRICT: u64 = 200_003;

/// The class of `case`, if it is understood.
pub(super) fn explain(case: &Case<'_>) -> Option<&'static Class> {
    CLASSES.iter().find(|class| (class.holds)(case))
}

/// Whether the path, before the first `?`, holds `what`, in any case.
fn path_has(case: &Case<'_>, what: &[u8]) -> bool {
    let path = case.request.target.split(|&b| b == b'?').next().unwrap_or_default();
    contains(&path.to_ascii_lowercase(), what)
}

fn contains(text: &[u8], what: &[u8]) -> bool {
    text.windows(what.len()).any(|window| window == what)
}

/// Whether what the first link found (`Matched Data: …`) is not in the value that the
/// chain went on with (`found within …: …`): another rule left it there.
/// Of a value that is cut it cannot be told; then its name is enough.
fn is_stale(rule: u64, line: &str) -> bool {
    // The rules whose chain goes on with it.
    let found = || {
        if !matches!(rule, 932_200 | 942_200 | 942_440) {
            return None;
        }
        let (_, rest) = line.split_once("[data \"Matched Data: ")?;
        let (what, rest) = rest.split_once(" found within ")?;
        let (_, value) = rest.split("\"] [").next()?.split_once(": ")?;
        let cut = value.contains("characters omitted");
        Some(if cut { line.contains("within MATCHED_VARS") } else { !value.contains(what) })
    };
    found().unwrap_or(false)
}

/// Rules that look at paths made normal.
fn dots(rule: u64) -> bool {
    matches!(rule, 930_100..=930_199 | 932_100..=932_299)
}

/// Whether two dots stand somewhere, encoded or not.
fn has_dots(request: &Request) -> bool {
    let all = all_of(request);
    contains(&all, b"..") || contains(&all, b"%2e%2e")
}

/// Whether something is in the request that a code page's best fit turns to ASCII: a
/// byte beyond it, or an escape of one. What becomes ASCII is missed where rules look
/// for what is not.
fn is_best_fit(case: &Case<'_>) -> bool {
    let all = all_of(case.request);
    let escaped = contains(&all, b"%u") || contains(&all, b"%25u");
    let encoded = all.windows(2).any(|pair| pair[0] == b'%' && b"89abcdef".contains(&pair[1]));
    match case.side {
        Side::Extra => escaped || encoded || !all.is_ascii(),
        Side::Missed => escaped && matches!(case.rule, 920_270..=920_274),
    }
}

/// Whether there is a number as `1.e(` or `2ey`: an exponent's sign without digits.
fn has_bare_exponent(request: &Request) -> bool {
    all_of(request)
        .windows(3)
        .any(|w| (w[0].is_ascii_digit() || w[0] == b'.') && w[1] == b'e' && !w[2].is_ascii_digit())
}

/// Whether a part's header has a quoted text whose last quote is escaped.
fn has_open_quote(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    kind.starts_with(b"multipart/") && contains(&request.body, b"\\\"\r\n")
}

/// Target, body and header values, in lower case.
fn all_of(request: &Request) -> Vec<u8> {
    let mut all = [&request.target[..], &request.body].join(&b' ');
    for (_, value) in &request.headers {
        all.push(b' ');
        all.extend_from_slice(value);
    }
    all.to_ascii_lowercase()
}

/// Whether no rule of `base.conf`, nor the Content-Type itself, says how the body is read.
fn has_no_processor(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    let known: [&[u8]; 4] = [b"application/x-www-form-urlencoded", b"multipart/form-data", b"json", b"xml"];
    !known.iter().any(|known| contains(&kind, known))
}

/// Whether anything in the request is a NUL byte, or becomes one when decoded.
fn has_nul(case: &Case<'_>) -> bool {
    let all = all_of(case.request);
    let signs: [&[u8]; 9] = [b"\0", b"%00", b"%2500", b"\\0", b"%5c0", b"&#0", b"\\x00", b"u0000", b"&#x0"];
    signs.iter().any(|sign| contains(&all, sign))
}

/// Whether some part of a multipart body has content of several lines.
fn is_multipart_of_lines(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or_default();
    let is_multipart = kind.to_ascii_lowercase().starts_with(b"multipart/");
    let boundary = split(kind, b"boundary=").nth(1).unwrap_or_default();
    let delimiter = [b"\n--", boundary].concat();
    // What stands behind the blank line that ends a part's headers.
    let content = |part: &[u8]| {
        let after = |blank: &[u8]| Some(part.windows(blank.len()).position(|w| w == blank)? + blank.len());
        after(b"\r\n\r\n").or_else(|| after(b"\n\n")).unwrap_or(part.len())
    };
    is_multipart && split(&request.body, &delimiter).any(|part| part[content(part)..].contains(&b'\n'))
}

/// The pieces between `what`.
fn split<'a>(text: &'a [u8], what: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let at = text.windows(what.len()).position(|window| window == what);
        rest = at.map(|at| &text[at + what.len()..]);
        Some(at.map_or(text, |at| &text[..at]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(rule: u64, side: Side, request: &Request, line: &str) -> Option<&'static str> {
        explain(&Case { rule, side, request, line }).map(|class| class.name)
    }

    #[test]
    fn classes_are_no_wider_than_their_reasons() {
        let path = Request::new("GET", "/a%3Fb", &[]);
        assert_eq!(class(941_101, Side::Extra, &path, ""), Some("encoded question mark"));
        assert_eq!(class(941_101, Side::Missed, &path, ""), None);
        assert_eq!(class(941_101, Side::Extra, &Request::new("GET", "/a?b=%3f", &[]), ""), None);

        let part = |text: &str| {
            let body =
                format!("--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n{text}\r\n--b--\r\n");
            Request::new("POST", "/", &[]).with_body("multipart/form-data; boundary=b", body.into_bytes())
        };
        for (text, expected) in [
            ("a", None),
            ("", None),
            ("a\nb", Some("line ends in a part")),
            ("a\r\nb", Some("line ends in a part")),
        ] {
            assert_eq!(class(932_235, Side::Extra, &part(text), ""), expected, "{text:?}");
        }

        let plain = Request::new("GET", "/", &[]);
        let stale =
            r#"[data "Matched Data: 2#top found within MATCHED_VARS:ARGS:a: 50 + 50"] [severity "2"]"#;
        assert_eq!(class(942_440, Side::Missed, &plain, stale), Some("stale MATCHED_VARS"));
        assert_eq!(class(942_440, Side::Extra, &plain, stale), None);
        let fresh = stale.replace("50 + 50", "y=2#top");
        assert_eq!(class(942_440, Side::Missed, &plain, &fresh), None);

        let xml = Request::new("GET", "/", &[("Content-Type", "text/xml")]);
        assert_eq!(class(200_002, Side::Missed, &xml, ""), Some("type without a body"));
        assert_eq!(class(942_100, Side::Missed, &xml, ""), None);
        let nul = Request::new("GET", "/?q=%2f", &[]);
        assert_eq!(class(941_100, Side::Extra, &nul, ""), None);
        assert_eq!(
            class(941_100, Side::Extra, &Request::new("GET", "/?q=%00", &[]), ""),
            Some("NUL in a decoded value")
        );
    }
}
