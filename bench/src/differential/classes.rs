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
    /// Rules that the other engine matched on the same request.
    pub(super) other: &'a [u64],
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
        holds: |case| case.side == Side::Extra && is_xss(case.rule) && has_nul(case),
    },
    Class { name: "line ends in a part", holds: |case| is_multipart_of_lines(case.request) },
    Class { name: "stale MATCHED_VARS", holds: |case| case.side == Side::Missed && is_stale(case.line) },
    Class {
        name: "multiMatch logs early",
        holds: |case| case.side == Side::Missed && case.rule == 942_131 && case.line.contains("[msg \"\"]"),
    },
    Class {
        name: "names that end in dots",
        holds: |case| case.side == Side::Extra && contains(&all_of(case.request), b"..//"),
    },
    Class {
        name: "bodies of unknown type",
        holds: |case| {
            case.side == Side::Extra && !case.request.body.is_empty() && has_no_processor(case.request)
        },
    },
    Class {
        name: "XML without a body",
        holds: |case| {
            let (rule, request) = (case.rule, case.request);
            rule == UNREADABLE_BODY && case.side == Side::Missed && request.body.is_empty() && is_xml(request)
        },
    },
];

/// `base.conf`'s rule on `REQBODY_ERROR`.
const UNREADABLE_BODY: u64 = 200_002;

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
/// chain went on with (`found within MATCHED_VARS:…: …`): another rule left it there.
fn is_stale(line: &str) -> bool {
    let found = || {
        let (_, rest) = line.split_once("[data \"Matched Data: ")?;
        let (what, rest) = rest.split_once(" found within MATCHED_VARS:")?;
        let value = rest.split("\"] [").next()?;
        Some(!value.contains("characters omitted") && !value.contains(what))
    };
    found().unwrap_or(false)
}

/// Rules of 941, which decode CSS.
fn is_xss(rule: u64) -> bool {
    rule / 1_000 == 941
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
    let signs: [&[u8]; 8] = [b"\0", b"%00", b"\\0", b"%5c0", b"&#0", b"\\x00", b"u0000", b"&#x0"];
    signs.iter().any(|sign| contains(&all, sign))
}

/// Whether some part of a multipart body has content of several lines.
fn is_multipart_of_lines(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or_default();
    let kind = kind.to_ascii_lowercase();
    // What stands behind the blank line that ends a part's headers.
    let content = |part: &'_ [u8]| {
        let after = |blank: &[u8]| Some(part.windows(blank.len()).position(|w| w == blank)? + blank.len());
        after(b"\r\n\r\n").or_else(|| after(b"\n\n")).unwrap_or(part.len())
    };
    let several = |part: &[u8]| part[content(part)..].contains(&b'\n');
    kind.starts_with(b"multipart/") && split(&request.body, b"\n--").any(several)
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

fn is_xml(request: &Request) -> bool {
    contains(request.header("content-type").unwrap_or_default(), b"xml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(rule: u64, side: Side, request: &Request, line: &str) -> Option<&'static str> {
        explain(&Case { rule, side, request, line, other: &[] }).map(|class| class.name)
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
        assert_eq!(class(200_002, Side::Missed, &xml, ""), Some("XML without a body"));
        assert_eq!(class(942_100, Side::Missed, &xml, ""), None);
        let nul = Request::new("GET", "/?q=%2500", &[]);
        assert_eq!(class(941_100, Side::Extra, &nul, ""), None);
        assert_eq!(
            class(941_100, Side::Extra, &Request::new("GET", "/?q=%00", &[]), ""),
            Some("NUL in a decoded value")
        );
    }
}
