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
    // One pass: what is in each segment is known when its end is.
    let (mut start, mut seen, mut digits, mut count) = (1, 0_u8, 0_usize, 0);
    for at in 1..=path.len() {
        let class = path.get(at).map_or(SLASH, |byte| CLASSES[usize::from(*byte)]);
        if class != SLASH {
            seen |= class;
            digits += usize::from(class == DIGIT);
            continue;
        }
        if count == MAX_SEGMENTS {
            out.extend_from_slice(b"/*");
            return;
        }
        out.push(b'/');
        push_segment(&path[start..at], seen, digits, out);
        (start, seen, digits) = (at + 1, 0, 0);
        count += 1;
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
const SLASH: u8 = 64;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [FOREIGN; 256];
    let mut at = 0_usize;
    while at < 256 {
        let byte = at as u8;
        table[at] = match byte {
            b'/' => SLASH,
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

fn push_segment(segment: &[u8], seen: u8, digits: usize, out: &mut Vec<u8>) {
    if segment.len() > MAX_SEGMENT || seen & FOREIGN != 0 {
        out.extend_from_slice(ID);
        return;
    }
    if digits == 0 {
        out.extend_from_slice(segment);
        return;
    }
    if seen & SEPARATOR == 0 {
        out.extend_from_slice(if is_id(segment.len(), seen, digits) { ID } else { segment });
        return;
    }
    let from = out.len();
    let (mut start, mut ids, mut pieces) = (0, 0, 0);
    let (mut seen, mut digits) = (0, 0);
    for at in 0..=segment.len() {
        let class = segment.get(at).map_or(SEPARATOR, |byte| CLASSES[usize::from(*byte)]);
        if class != SEPARATOR {
            seen |= class;
            digits += usize::from(class == DIGIT);
            continue;
        }
        pieces += 1;
        if is_id(at - start, seen, digits) {
            ids += 1;
            out.extend_from_slice(ID);
        } else {
            out.extend_from_slice(&segment[start..at]);
        }
        out.extend_from_slice(&segment[at..segment.len().min(at + 1)]);
        (start, seen, digits) = (at + 1, 0, 0);
    }
    // UUIDs, dates, versions: one id. A UUID's short pieces may be letters alone.
    if ids == pieces || is_uuid(segment) {
        out.truncate(from);
        out.extend_from_slice(ID);
    }
}

/// Of a piece: its length, the classes of its bytes, and how many are digits.
fn is_id(length: usize, seen: u8, digits: usize) -> bool {
    match seen {
        DIGIT => true,
        _ if digits == 0 => false,
        _ if seen & !(DIGIT | HEX) == 0 => length >= 8,
        _ => length >= 20 && digits >= 2,
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
