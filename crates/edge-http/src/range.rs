//! Byte ranges (RFC 9110 §14) and conditional requests (§13).

use crate::RequestHead;
use crate::guard::{decimal, trim};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// One range of bytes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte.
    pub first: u64,
    /// The last byte.
    pub last: u64,
}

impl ByteRange {
    /// How many bytes.
    pub const fn length(self) -> u64 {
        self.last - self.first + 1
    }
}

/// What a Range header asks of a representation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ranges {
    /// Everything: no Range, or one that §14.2 lets us ignore.
    Whole,
    /// One range: 206.
    One(ByteRange),
    /// None of it exists: 416.
    Unsatisfiable,
}

/// Reads a Range header for a representation of `length` bytes. Several ranges
/// are answered with the whole (§14.2 allows it; multipart answers have served
/// attacks more than readers).
pub fn ranges(value: Option<&[u8]>, length: u64) -> Ranges {
    let Some(value) = value else { return Ranges::Whole };
    let Some(equals) = value.iter().position(|&b| b == b'=') else { return Ranges::Whole };
    let (unit, set) = (trim(&value[..equals]), trim(&value[equals + 1..]));
    if !unit.eq_ignore_ascii_case(b"bytes") || set.contains(&b',') {
        return Ranges::Whole;
    }
    let Some(dash) = set.iter().position(|&b| b == b'-') else { return Ranges::Whole };
    let (first, last) = (trim(&set[..dash]), trim(&set[dash + 1..]));
    if first.is_empty() {
        // The last so many bytes.
        return match decimal(last) {
            None => Ranges::Whole,
            Some(0) => Ranges::Unsatisfiable,
            Some(_) if length == 0 => Ranges::Unsatisfiable,
            Some(suffix) => Ranges::One(ByteRange { first: length.saturating_sub(suffix), last: length - 1 }),
        };
    }
    let Some(first) = decimal(first) else { return Ranges::Whole };
    let last = match last {
        [] => length.saturating_sub(1),
        digits => match decimal(digits) {
            Some(last) if last >= first => last.min(length.saturating_sub(1)),
            _ => return Ranges::Whole,
        },
    };
    if first >= length { Ranges::Unsatisfiable } else { Ranges::One(ByteRange { first, last }) }
}

/// What a file's validators say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Validators {
    /// The strong entity tag with its quotes.
    pub etag: String,
    /// When it was changed, in whole Unix seconds.
    pub modified_s: u64,
}

impl Validators {
    /// From length, time of change in nanoseconds and the variant's encoding: two
    /// different contents of one name differ in one of them.
    pub fn new(length: u64, modified_ns: u128, encoding: &str) -> Self {
        let dash = if encoding.is_empty() { "" } else { "-" };
        Self {
            etag: format!("\"{length:x}-{modified_ns:x}{dash}{encoding}\""),
            modified_s: u64::try_from(modified_ns / 1_000_000_000).unwrap_or(u64::MAX),
        }
    }

    /// For the Last-Modified header. None where the date is beyond year 9999.
    pub fn last_modified(&self) -> Option<String> {
        // 9999-12-31T23:59:59Z; `httpdate` panics beyond it.
        const LAST: u64 = 253_402_300_799;
        let at = || UNIX_EPOCH + Duration::from_secs(self.modified_s);
        (self.modified_s <= LAST).then(|| httpdate::fmt_http_date(at()))
    }
}

/// What the request's conditions decide (RFC 9110 §13.2.2, for GET and HEAD).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Answer; `true` if a Range may be honoured.
    Answer(bool),
    /// 304.
    NotModified,
    /// 412.
    Failed,
}

/// Evaluates the conditions in the order of RFC 9110 §13.2.2.
pub fn condition(head: &RequestHead<'_>, validators: &Validators) -> Condition {
    // Steps 1 and 2.
    if head.header("if-match").is_some() {
        if !any_tag(head, "if-match", &validators.etag, false) {
            return Condition::Failed;
        }
    } else if let Some(since) = date(head.header("if-unmodified-since"))
        && validators.modified_s > since
    {
        return Condition::Failed;
    }
    // Steps 3 and 4.
    if head.header("if-none-match").is_some() {
        if any_tag(head, "if-none-match", &validators.etag, true) {
            return Condition::NotModified;
        }
    } else if let Some(since) = date(head.header("if-modified-since"))
        && validators.modified_s <= since
    {
        return Condition::NotModified;
    }
    // Step 5. A date validates strongly only when it is exact (§13.1.5).
    let range_ok = match head.header("if-range") {
        None => true,
        Some(tag) if tag.starts_with(b"\"") => tag == validators.etag.as_bytes(),
        Some(tag) if tag.starts_with(b"W/") => false,
        Some(when) => date(Some(when)) == Some(validators.modified_s),
    };
    Condition::Answer(range_ok)
}

fn any_tag(head: &RequestHead<'_>, name: &str, etag: &str, weak: bool) -> bool {
    head.header_all(name).any(|value| {
        value == b"*"
            || value.split(|&b| b == b',').map(trim).any(|tag| match tag.strip_prefix(b"W/") {
                // §8.8.3.2: If-None-Match compares weakly, If-Match strongly.
                Some(inner) => weak && inner == etag.as_bytes(),
                None => tag == etag.as_bytes(),
            })
    })
}

/// An HTTP date (RFC 9110 §5.6.7) in Unix seconds.
fn date(value: Option<&[u8]>) -> Option<u64> {
    let text = std::str::from_utf8(value?).ok()?;
    let time: SystemTime = httpdate::parse_http_date(text).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn range_headers() {
        let one = |first, last| Ranges::One(ByteRange { first, last });
        let cases: &[(&str, u64, Ranges)] = &[
            ("bytes=0-0", 10, one(0, 0)),
            ("bytes=2-5", 10, one(2, 5)),
            ("bytes=2-", 10, one(2, 9)),
            ("bytes=2-99", 10, one(2, 9)),
            ("bytes=-3", 10, one(7, 9)),
            ("bytes=-99", 10, one(0, 9)),
            ("Bytes = 1-2", 10, one(1, 2)),
            ("bytes=10-", 10, Ranges::Unsatisfiable),
            ("bytes=-0", 10, Ranges::Unsatisfiable),
            ("bytes=0-", 0, Ranges::Unsatisfiable),
            ("bytes=-1", 0, Ranges::Unsatisfiable),
            ("bytes=5-2", 10, Ranges::Whole),
            ("bytes=0-1,3-4", 10, Ranges::Whole),
            ("bytes=a-b", 10, Ranges::Whole),
            ("bytes=", 10, Ranges::Whole),
            ("items=0-1", 10, Ranges::Whole),
            ("bytes", 10, Ranges::Whole),
            ("bytes=99999999999999999999-", 10, Ranges::Whole),
        ];
        for (value, length, expected) in cases {
            assert_eq!(ranges(Some(value.as_bytes()), *length), *expected, "{value} of {length}");
        }
        assert_eq!(ranges(None, 10), Ranges::Whole);
    }

    #[test]
    fn conditions() {
        // 1994-11-06 08:49:37 is 784111777.
        let validators = Validators { etag: "\"a-1\"".into(), modified_s: 784_111_777 };
        let at = "Sun, 06 Nov 1994 08:49:37 GMT";
        let before = "Sun, 06 Nov 1994 08:49:36 GMT";
        let cases: &[(&[(&str, &str)], Condition)] = &[
            (&[], Condition::Answer(true)),
            (&[("if-none-match", "\"a-1\"")], Condition::NotModified),
            (&[("if-none-match", "W/\"a-1\"")], Condition::NotModified),
            (&[("if-none-match", "\"x\", \"a-1\"")], Condition::NotModified),
            (&[("if-none-match", "*")], Condition::NotModified),
            (&[("if-none-match", "\"x\"")], Condition::Answer(true)),
            (&[("if-none-match", "\"x\""), ("if-modified-since", at)], Condition::Answer(true)),
            (&[("if-modified-since", at)], Condition::NotModified),
            (&[("if-modified-since", before)], Condition::Answer(true)),
            (&[("if-modified-since", "yesterday")], Condition::Answer(true)),
            (&[("if-match", "\"a-1\"")], Condition::Answer(true)),
            (&[("if-match", "W/\"a-1\"")], Condition::Failed),
            (&[("if-match", "\"x\"")], Condition::Failed),
            (&[("if-match", "*")], Condition::Answer(true)),
            (&[("if-unmodified-since", before)], Condition::Failed),
            (&[("if-unmodified-since", at)], Condition::Answer(true)),
            (&[("if-range", "\"a-1\"")], Condition::Answer(true)),
            (&[("if-range", "W/\"a-1\"")], Condition::Answer(false)),
            (&[("if-range", "\"x\"")], Condition::Answer(false)),
            (&[("if-range", at)], Condition::Answer(true)),
            (&[("if-range", before)], Condition::Answer(false)),
        ];
        for (headers, expected) in cases {
            let lines: Vec<(&[u8], &[u8])> =
                headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            let head = RequestHead {
                method: b"GET",
                target: b"/",
                authority: b"a",
                version: crate::Version::Http11,
                headers: &lines,
            };
            assert_eq!(condition(&head, &validators), *expected, "{headers:?}");
        }
        assert_eq!(validators.last_modified().as_deref(), Some(at));
        assert_eq!(Validators { etag: String::new(), modified_s: u64::MAX }.last_modified(), None);
    }

    #[test]
    fn tags_differ_by_variant() {
        let plain = Validators::new(10, 5_000_000_001, "");
        assert_eq!((plain.etag.as_str(), plain.modified_s), ("\"a-12a05f201\"", 5));
        assert_ne!(plain.etag, Validators::new(10, 5_000_000_001, "br").etag);
    }
}
