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
        name: "NUL ends cssDecode",
        holds: |case| case.side == Side::Extra && is_xss(case.rule) && has_nul(case),
    },
    Class { name: "line feed in a part", holds: |case| has_bare_line_feed(case.request) },
    Class { name: "stale MATCHED_VARS", holds: |case| case.side == Side::Missed && is_stale(case.line) },
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

/// Whether anything in the request is a NUL byte, or becomes one when decoded.
fn has_nul(case: &Case<'_>) -> bool {
    let request = case.request;
    let mut all = vec![&request.target, &request.body];
    all.extend(request.headers.iter().map(|(_, value)| value));
    let signs: [&[u8]; 8] = [b"\0", b"%00", b"\\0", b"%5c0", b"&#0", b"\\x00", b"u0000", b"&#x0"];
    all.into_iter().any(|text| signs.iter().any(|sign| contains(&text.to_ascii_lowercase(), sign)))
}

/// Whether a multipart body has a line that ends with LF alone.
fn has_bare_line_feed(request: &Request) -> bool {
    let kind = request.header("content-type").unwrap_or_default().to_ascii_lowercase();
    kind.starts_with(b"multipart/")
        && request.body.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
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
            Request::new("POST", "/", &[]).with_body("multipart/form-data; boundary=b", text.into())
        };
        assert_eq!(class(932_235, Side::Extra, &part("a\nb"), ""), Some("line feed in a part"));
        assert_eq!(class(932_235, Side::Extra, &part("a\r\nb"), ""), None);

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
            Some("NUL ends cssDecode")
        );
    }
}
