//! Variables: which of a request's values a rule looks at.

use crate::error::Wrong;
use crate::parse::split_outside_quotes;

/// Where a value of a request is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Place {
    ArgsGet,
    ArgsPost,
    Headers,
    Cookies,
    Files,
    QueryString,
    Uri,
    UriRaw,
    Filename,
    Method,
    Protocol,
    RemoteAddr,
    Body,
    BodyError,
}

const fn set(places: &[Place]) -> u16 {
    let (mut mask, mut i) = (0, 0);
    while i < places.len() {
        mask |= 1 << places[i] as u16;
        i += 1;
    }
    mask
}

/// Places that only a body fills.
pub(crate) const OF_BODY: u16 = set(&[Place::ArgsPost, Place::Files, Place::Body, Place::BodyError]);
/// Of those, the raw bytes.
pub(crate) const RAW_BODY: u16 = set(&[Place::Body]);

/// A variable as rules name it.
#[derive(Debug)]
pub struct Variable {
    /// `ARGS`.
    pub name: &'static str,
    /// What it holds.
    pub help: &'static str,
    places: u16,
    part: Part,
}

/// Which part of the values is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Values that have names to select by.
    Value,
    /// Their names.
    Name,
    /// The one value there is.
    Only,
}

/// All variables of this version.
pub static VARIABLES: &[Variable] = &[
    of("ARGS", "arguments of query and body", set(&[Place::ArgsGet, Place::ArgsPost]), Part::Value),
    of("ARGS_GET", "arguments of the query", set(&[Place::ArgsGet]), Part::Value),
    of("ARGS_POST", "form fields and JSON values of the body", set(&[Place::ArgsPost]), Part::Value),
    of("ARGS_NAMES", "names of all arguments", set(&[Place::ArgsGet, Place::ArgsPost]), Part::Name),
    of("ARGS_GET_NAMES", "names of the query's arguments", set(&[Place::ArgsGet]), Part::Name),
    of("ARGS_POST_NAMES", "names of the body's arguments", set(&[Place::ArgsPost]), Part::Name),
    of("FILES", "file names of uploads, by field", set(&[Place::Files]), Part::Value),
    of("FILES_NAMES", "fields that upload files", set(&[Place::Files]), Part::Name),
    of("REQUEST_HEADERS", "header values", set(&[Place::Headers]), Part::Value),
    of("REQUEST_HEADERS_NAMES", "header names", set(&[Place::Headers]), Part::Name),
    of("REQUEST_COOKIES", "cookie values", set(&[Place::Cookies]), Part::Value),
    of("REQUEST_COOKIES_NAMES", "cookie names", set(&[Place::Cookies]), Part::Name),
    of("QUERY_STRING", "the query as sent", set(&[Place::QueryString]), Part::Only),
    of("REQUEST_URI", "path and query, percent-decoded once", set(&[Place::Uri]), Part::Only),
    of("REQUEST_URI_RAW", "the request target as sent", set(&[Place::UriRaw]), Part::Only),
    of("REQUEST_FILENAME", "the path, percent-decoded once", set(&[Place::Filename]), Part::Only),
    of("REQUEST_METHOD", "the method", set(&[Place::Method]), Part::Only),
    of("REQUEST_PROTOCOL", "`HTTP/1.1`", set(&[Place::Protocol]), Part::Only),
    of("REMOTE_ADDR", "the client's address", set(&[Place::RemoteAddr]), Part::Only),
    of("REQUEST_BODY", "the body as sent, unless it is multipart", set(&[Place::Body]), Part::Only),
    of("REQBODY_ERROR", "1 where the body did not parse, else 0", set(&[Place::BodyError]), Part::Only),
];

const fn of(name: &'static str, help: &'static str, places: u16, part: Part) -> Variable {
    Variable { name, help, places, part }
}

/// `ARGS`, `ARGS:q`.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) variable: &'static Variable,
    /// The name selected, in lower case: selectors are matched in any case.
    selector: Option<Vec<u8>>,
}

impl Target {
    /// Whether the rule looks at a value of that place and name.
    pub(crate) fn takes(&self, place: Place, name: &[u8]) -> bool {
        self.variable.places >> place as u16 & 1 == 1
            && self.selector.as_ref().is_none_or(|selector| selector.eq_ignore_ascii_case(name))
    }

    pub(crate) fn places(&self) -> u16 {
        self.variable.places
    }

    /// Whether it looks at names rather than values.
    pub(crate) fn names(&self) -> bool {
        self.variable.part == Part::Name
    }

    /// Whether its values have names.
    pub(crate) fn named(&self) -> bool {
        self.variable.part != Part::Only
    }
}

/// What a rule looks at, and what of that it leaves out.
#[derive(Clone, Debug)]
pub(crate) struct Targets {
    pub(crate) wanted: Vec<Target>,
    pub(crate) left_out: Vec<Target>,
}

impl Targets {
    /// Reads `ARGS|!ARGS:comment|REQUEST_HEADERS:User-Agent`.
    pub(crate) fn parse(text: &str) -> Result<Self, Wrong> {
        let mut targets = Self { wanted: Vec::new(), left_out: Vec::new() };
        for item in split_outside_quotes(text, '|') {
            if let Some(counted) = item.strip_prefix('&') {
                let what = format!("`&{counted}` counts values, which is not supported");
                return Err(Wrong::new(what, "this version has no numeric operators; take the rule out"));
            }
            match item.strip_prefix('!') {
                Some(item) => targets.left_out.push(target(item)?),
                None => targets.wanted.push(target(item)?),
            }
        }
        let looks = |out: &Target| {
            targets.wanted.iter().any(|t| t.places() & out.places() != 0 && t.names() == out.names())
        };
        if targets.wanted.is_empty() {
            return Err(Wrong::new("the rule looks at no variable", "name one, such as `ARGS`"));
        }
        if let Some(out) = targets.left_out.iter().find(|out| !looks(out)) {
            let what = format!("`!{}` leaves out what the rule does not look at", out.variable.name);
            return Err(Wrong::new(what, "leave out a part of a variable that the rule names"));
        }
        Ok(targets)
    }
}

fn target(item: &str) -> Result<Target, Wrong> {
    let (name, selector) = match item.split_once(':') {
        Some((name, selector)) => (name.trim(), Some(selector.trim())),
        None => (item.trim(), None),
    };
    let known = VARIABLES.iter().map(|v| v.name);
    let variable = VARIABLES
        .iter()
        .find(|v| v.name.eq_ignore_ascii_case(name))
        .ok_or_else(|| Wrong::unknown("variable", "", name, known))?;
    let Some(selector) = selector else {
        return Ok(Target { variable, selector: None });
    };
    if variable.part != Part::Value {
        let what = format!("`{}` cannot be selected from by name", variable.name);
        return Err(Wrong::new(what, format!("write `{}` alone", variable.name)));
    }
    let selector = match selector.strip_prefix('\'').and_then(|s| s.strip_suffix('\'')) {
        Some(inner) => inner.replace("\\'", "'"),
        None => selector.to_owned(),
    };
    if selector.is_empty() || (selector.len() > 1 && selector.starts_with('/') && selector.ends_with('/')) {
        let what = format!("the selector `{}:{selector}` is not supported", variable.name);
        return Err(Wrong::new(what, "select by a whole name, such as `ARGS:q`"));
    }
    Ok(Target { variable, selector: Some(selector.to_ascii_lowercase().into_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_take_what_they_name() {
        let targets =
            Targets::parse("ARGS|!ARGS:comment | REQUEST_HEADERS:User-Agent|REQUEST_COOKIES:'a|b'").unwrap();
        let takes = |place, name: &[u8]| {
            targets.wanted.iter().any(|t| t.takes(place, name))
                && !targets.left_out.iter().any(|t| t.takes(place, name))
        };
        assert!(takes(Place::ArgsGet, b"q") && takes(Place::ArgsPost, b"q"));
        assert!(!takes(Place::ArgsPost, b"Comment"));
        assert!(takes(Place::Headers, b"user-agent") && !takes(Place::Headers, b"accept"));
        assert!(takes(Place::Cookies, b"a|b") && !takes(Place::Uri, b""));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let cases = [
            ("ARG", "`ARG` is not supported"),
            ("TX:score", "`TX` is not supported"),
            ("&ARGS", "counts values"),
            ("ARGS:/^x/", "selector `ARGS:/^x/`"),
            ("ARGS:", "selector `ARGS:`"),
            ("REQUEST_URI:x", "cannot be selected"),
            ("ARGS_NAMES:x", "cannot be selected"),
            ("!ARGS:x", "no variable"),
            ("ARGS|!REQUEST_COOKIES:x", "leaves out"),
            ("", "`` is not supported"),
        ];
        for (text, part) in cases {
            let wrong = Targets::parse(text).unwrap_err();
            assert!(wrong.what.contains(part) && !wrong.hint.is_empty(), "{text}: {wrong:?}");
        }
    }
}
