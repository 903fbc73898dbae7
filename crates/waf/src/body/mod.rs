//! Request bodies to values: forms, multipart, JSON.

mod json;
mod multipart;

use crate::values::{TooMuch, Values};
use crate::variable::Place;
use edge_http::RequestHead;

/// How a body is read, from its Content-Type.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `application/x-www-form-urlencoded`.
    Form,
    /// `multipart/form-data` with its boundary, or why there is none.
    Multipart(Result<Vec<u8>, &'static str>),
    /// `application/json`, `…+json`.
    Json,
    /// More than one Content-Type: which one the web server believes is not known.
    Ambiguous,
    /// Anything else: only the raw bytes.
    #[default]
    Other,
}

/// Why not all of a body became values.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// More than is inspected: what.
    TooMuch(&'static str),
    /// Not what its content type says: how.
    Unreadable(String),
}

impl From<TooMuch> for Problem {
    fn from(too_much: TooMuch) -> Self {
        Self::TooMuch(too_much.0)
    }
}

impl Kind {
    pub(crate) fn of(head: &RequestHead<'_>) -> Self {
        let mut all = head.header_all("content-type");
        let Some(text) = all.next() else {
            return Self::Other;
        };
        if all.next().is_some() {
            return Self::Ambiguous;
        }
        let lower = text.to_ascii_lowercase();
        let media_type = lower.split(|b| *b == b';').next().unwrap_or_default().trim_ascii();
        // By prefix, as ModSecurity v3: programs are known to look no further.
        if media_type.starts_with(b"application/x-www-form-urlencoded") {
            Self::Form
        } else if media_type.starts_with(b"multipart/form-data") {
            Self::Multipart(multipart::boundary(text))
        } else if [&b"application/json"[..], b"text/json"].contains(&media_type)
            || media_type.ends_with(b"+json")
        {
            Self::Json
        } else {
            Self::Other
        }
    }

    /// Whether arguments come of it.
    pub(crate) fn gives_arguments(&self) -> bool {
        *self != Self::Other
    }
}

/// Keeps what a body holds. `complete` is false where it was cut at the limit:
/// then its sudden end is no fault of its own.
pub(crate) fn read(kind: &Kind, body: &[u8], complete: bool, values: &mut Values) -> Result<(), Problem> {
    if !matches!(kind, Kind::Multipart(_)) {
        values.add(Place::Body, b"", body)?;
    }
    if body.is_empty() {
        return Ok(());
    }
    match kind {
        Kind::Form => Ok(values.add_query(Place::ArgsPost, body)?),
        Kind::Json => json::read(body, complete, values),
        Kind::Multipart(Ok(boundary)) => multipart::read(boundary, body, complete, values),
        Kind::Multipart(Err(why)) => Err(Problem::Unreadable((*why).to_owned())),
        Kind::Ambiguous => Err(Problem::Unreadable("more than one Content-Type".to_owned())),
        Kind::Other => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edge_http::Version;

    #[test]
    fn kinds_follow_the_content_type() {
        let cases: &[(&[&str], Kind)] = &[
            (&[], Kind::Other),
            (&["text/plain"], Kind::Other),
            (&["Application/X-WWW-Form-URLencoded; charset=utf-8"], Kind::Form),
            (&["application/json"], Kind::Json),
            (&["application/vnd.api+json; a=b"], Kind::Json),
            (&["application/jsonp"], Kind::Other),
            (&["multipart/form-data; boundary=x"], Kind::Multipart(Ok(b"x".to_vec()))),
            (&["application/json", "text/plain"], Kind::Ambiguous),
        ];
        for (types, expected) in cases {
            let headers: Vec<(&[u8], &[u8])> =
                types.iter().map(|t| (&b"Content-Type"[..], t.as_bytes())).collect();
            let head = RequestHead {
                method: b"POST",
                target: b"/",
                authority: b"",
                version: Version::Http11,
                headers: &headers,
            };
            assert_eq!(Kind::of(&head), *expected, "{types:?}");
        }
    }
}
