//! A path → the route it belongs to: `/orders/1729/items` → `/orders/:id/items`.

/// Segments that are kept; the rest becomes `*`.
const MAX_SEGMENTS: usize = 8;

/// A longer segment is an id.
const MAX_SEGMENT: usize = 48;

/// What an id becomes.
const ID: &[u8] = b":id";

/// Writes the route of `path` (without query) to `out`. It is ASCII whatever the
/// path was, of at most 8 × 49 + 2 bytes. An id is:
///
/// - a number, a UUID, a date: digits with separators between;
/// - hexadecimal of 8 characters or more with a digit in it;
/// - letters and digits of 20 characters or more with at least two digits;
/// - anything longer than 48 bytes or with a byte that URLs do not have.
///
/// Pieces between `.`, `-`, `_`, `~`, `,`, `:`, `@` and `=` are judged one by one, so
/// that `/app-3f2a9c1b.js` is `/app-:id.js`.
pub fn normalise(path: &[u8], out: &mut Vec<u8>) {
    out.clear();
    let path = without_authority(path);
    if !path.starts_with(b"/") {
        // `*` (RFC 9112 §3.2.4), `host:port` of CONNECT, or nonsense.
        out.extend_from_slice(if path == b"*" { b"*" } else { b"/:id" });
        return;
    }
    for (count, segment) in path[1..].split(|b| *b == b'/').enumerate() {
        out.push(b'/');
        if count == MAX_SEGMENTS {
            out.push(b'*');
            return;
        }
        push_segment(segment, out);
    }
}

/// `http://host/path` → `/path` (RFC 9112 §3.2.2).
fn without_authority(target: &[u8]) -> &[u8] {
    if target.first() == Some(&b'/') {
        return target;
    }
    let Some(rest) = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://")) else {
        return target;
    };
    memchr::memchr(b'/', rest).map_or(b"/", |at| &rest[at..])
}

/// What a byte is.
const DIGIT: u8 = 1;
const HEX: u8 = 2;
const LETTER: u8 = 4;
const SEPARATOR: u8 = 8;
const SIGN: u8 = 16;
const FOREIGN: u8 = 32;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [FOREIGN; 256];
    let mut at = 0_usize;
    while at < 256 {
        let byte = at as u8;
        table[at] = match byte {
            b'0'..=b'9' => DIGIT,
            b'a'..=b'f' | b'A'..=b'F' => HEX,
            b'g'..=b'z' | b'G'..=b'Z' => LETTER,
            b'.' | b'-' | b'_' | b'~' | b',' | b':' | b'@' | b'=' => SEPARATOR,
            // RFC 3986 §3.3: the rest of `pchar`, and the percent of an encoded byte.
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b';' | b'%' => SIGN,
            _ => FOREIGN,
        };
        at += 1;
    }
    table
}

fn push_segment(segment: &[u8], out: &mut Vec<u8>) {
    let mut seen = 0;
    for byte in segment {
        seen |= CLASSES[usize::from(*byte)];
    }
    if segment.len() > MAX_SEGMENT || seen & FOREIGN != 0 {
        out.extend_from_slice(ID);
        return;
    }
    if seen & DIGIT == 0 {
        out.extend_from_slice(segment);
        return;
    }
    let from = out.len();
    let (mut start, mut ids, mut pieces) = (0, 0, 0);
    for at in 0..=segment.len() {
        if at < segment.len() && CLASSES[usize::from(segment[at])] != SEPARATOR {
            continue;
        }
        let piece = &segment[start..at];
        pieces += 1;
        if is_id(piece) {
            ids += 1;
            out.extend_from_slice(ID);
        } else {
            out.extend_from_slice(piece);
        }
        out.extend_from_slice(&segment[at..segment.len().min(at + 1)]);
        start = at + 1;
    }
    // UUIDs, dates, versions: one id. A UUID's short pieces may be letters alone.
    if ids == pieces || is_uuid(segment) {
        out.truncate(from);
        out.extend_from_slice(ID);
    }
}

fn is_id(piece: &[u8]) -> bool {
    let mut seen = 0;
    let mut digits = 0_usize;
    for byte in piece {
        let class = CLASSES[usize::from(*byte)];
        seen |= class;
        digits += usize::from(class == DIGIT);
    }
    match seen {
        DIGIT => true,
        _ if seen & DIGIT == 0 => false,
        _ if seen & !(DIGIT | HEX) == 0 => piece.len() >= 8,
        _ => piece.len() >= 20 && digits >= 2,
    }
}

/// RFC 9562 §4: 8-4-4-4-12.
fn is_uuid(segment: &[u8]) -> bool {
    segment.len() == 36
        && segment.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn routes() {
        let cases = [
            ("/", "/"),
            ("/about", "/about"),
            ("/about/", "/about/"),
            ("/orders/1729", "/orders/:id"),
            ("/orders/1729/items/3", "/orders/:id/items/:id"),
            ("/u/9b2f3a1c-1111-4abc-8def-0123456789ab", "/u/:id"),
            ("/u/deadbeef-aaaa-bbbb-cccc-ddddddddddd1/x", "/u/:id/x"),
            ("/commit/3f2a9c1b7d", "/commit/:id"),
            ("/commit/deadbeef", "/commit/deadbeef"),
            ("/o/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/o/:id"),
            ("/2024/05/01/hello", "/:id/:id/:id/hello"),
            ("/news/2024-05-01", "/news/:id"),
            ("/news/2024-05-01-good-news", "/news/:id-:id-:id-good-news"),
            ("/assets/app-3f2a9c1b.js", "/assets/app-:id.js"),
            ("/api/v2/mp3/h264", "/api/v2/mp3/h264"),
            ("/order-12", "/order-:id"),
            ("/a%20b/x", "/a%20b/x"),
            ("/\u{e4}/x", "/:id/x"),
            ("/a\"b", "/:id"),
            ("/a\\x22", "/:id"),
            ("/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*"),
            ("//x", "//x"),
            ("http://shop.example/a/5", "/a/:id"),
            ("https://shop.example", "/"),
            ("*", "*"),
            ("shop.example:443", "/:id"),
            ("/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "/:id"),
        ];
        for (path, expected) in cases {
            let mut out = Vec::new();
            normalise(path.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn routes_are_bounded_ascii(path in proptest::collection::vec(any::<u8>(), 0..600)) {
            let mut out = Vec::new();
            normalise(&path, &mut out);
            prop_assert!(out.is_ascii() && !out.iter().any(u8::is_ascii_control));
            prop_assert!(!out.is_empty() && out.len() <= 8 * (MAX_SEGMENT * 2 + 1) + 2);
        }
    }
}
