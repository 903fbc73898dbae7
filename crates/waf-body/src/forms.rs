//! Forms, query strings and cookies.
//!
//! What ModSecurity v3 does, rules see: every piece between separators is an
//! argument, an empty piece too (but not one after the last separator); the
//! first `=` ends the name; `+` is a blank; a `%` without two hexadecimal digits
//! stays as it is and raises `URLENCODED_ERROR`; `%00` is a byte like any other.

use crate::{Scratch, Sink};

/// What reading a form showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Form {
    /// `URLENCODED_ERROR`: a `%` without two hexadecimal digits after it. The
    /// value keeps it as it stands.
    pub invalid_encoding: bool,
    /// The sink took no more; the rest was not read.
    pub full: bool,
}

/// Reads a form's body or a query string: pairs split at `separator` (`&`;
/// `SecArgumentSeparator`), name and value at the first `=`, both decoded.
pub fn urlencoded(text: &[u8], separator: u8, sink: &mut impl Sink, scratch: &mut Scratch) -> Form {
    let mut form = Form::default();
    let mut begin = 0;
    while begin < text.len() {
        // A piece: where it splits, and whether there is something to decode.
        let mut name_end = None;
        let mut name_encoded = false;
        let mut value_encoded = false;
        let mut at = begin;
        let end = loop {
            at = next_special(text, at, separator);
            match text.get(at) {
                None => break text.len(),
                Some(&byte) if byte == separator => break at,
                Some(b'=') if name_end.is_none() => name_end = Some(at),
                Some(b'%' | b'+') if name_end.is_none() => {
                    name_encoded = true;
                    let rest = &text[at..];
                    let found = memchr::memchr2(b'=', separator, rest).unwrap_or(rest.len());
                    at += found;
                    continue;
                }
                Some(b'%' | b'+') => {
                    // Nothing but the end matters from here on.
                    value_encoded = true;
                    let rest = &text[at..];
                    break memchr::memchr(separator, rest).map_or(text.len(), |found| at + found);
                }
                Some(_) => {}
            }
            at += 1;
        };
        let name_end = name_end.unwrap_or(end);
        let mut name = &text[begin..name_end];
        let mut value = &text[(name_end + 1).min(end)..end];
        if name_encoded {
            form.invalid_encoding |= decode(name, &mut scratch.name);
            name = &scratch.name;
        }
        if value_encoded {
            form.invalid_encoding |= decode(value, &mut scratch.value);
            value = &scratch.value;
        }
        if sink.arg(name, value).is_err() {
            form.full = true;
            break;
        }
        begin = end + 1;
    }
    form
}

/// Reads the value of a `Cookie` field: pieces split at `;`, name and value at
/// the first `=`. Blanks before a name and at the end of the field are dropped,
/// others stay; nothing is decoded; a piece without a name is left out.
pub fn cookies(text: &[u8], sink: &mut impl Sink) -> Form {
    let mut form = Form::default();
    let text = text.trim_ascii_end();
    let mut begin = 0;
    while begin < text.len() {
        let rest = &text[begin..];
        let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
        let piece = rest[..end].trim_ascii_start();
        let equals = memchr::memchr(b'=', piece).unwrap_or(piece.len());
        let name = &piece[..equals];
        let value = piece.get(equals + 1..).unwrap_or_default();
        if !name.is_empty() && sink.arg(name, value).is_err() {
            form.full = true;
            break;
        }
        begin += end + 1;
    }
    form
}

/// The first place from `at` on that holds the separator, `=`, `%` or `+`; or
/// some place past the end. Eight bytes at a time: the pieces of a query are too
/// short for `memchr` to pay, its long values too long for byte by byte.
#[inline]
fn next_special(text: &[u8], mut at: usize, separator: u8) -> usize {
    while let Some(eight) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let found = places(word, separator) | places(word, b'=') | places(word, b'%') | places(word, b'+');
        if found != 0 {
            return at + (found.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while let Some(&byte) = text.get(at) {
        if byte == separator || matches!(byte, b'=' | b'%' | b'+') {
            break;
        }
        at += 1;
    }
    at
}

/// The high bit of each byte of `word` that is `byte`. The lowest bit set is
/// exact; borrows may set others above it.
#[inline]
fn places(word: u64, byte: u8) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero_where_found = word ^ (ONES * u64::from(byte));
    zero_where_found.wrapping_sub(ONES) & !zero_where_found & HIGH
}

/// Decodes into `out`, which is overwritten; whether an escape was invalid.
fn decode(text: &[u8], out: &mut Vec<u8>) -> bool {
    // Eight bytes are copied at a time, whether or not all are wanted.
    out.clear();
    out.resize(text.len() + 8, 0);
    let mut invalid = false;
    let mut from = 0;
    let mut to = 0;
    while from < text.len() {
        if let Some(eight) = text[from..].first_chunk::<8>() {
            out[to..to + 8].copy_from_slice(eight);
            let word = u64::from_le_bytes(*eight);
            let found = places(word, b'%') | places(word, b'+');
            // The lowest set bit is exact; none set counts 64.
            let plain = (found.trailing_zeros() / 8) as usize;
            from += plain;
            to += plain;
            if plain == 8 {
                continue;
            }
        }
        // Escapes often stand close: no search from one to the next.
        while let Some(&byte) = text.get(from) {
            let mut decoded = byte;
            from += 1;
            if byte == b'+' {
                decoded = b' ';
            } else if byte == b'%' {
                match text.get(from..from + 2).and_then(|two| number(two[0], two[1])) {
                    Some(number) => {
                        from += 2;
                        decoded = number;
                    }
                    None => invalid = true,
                }
            } else if text.len() - from >= 8 {
                from -= 1;
                break;
            }
            out[to] = decoded;
            to += 1;
        }
    }
    out.truncate(to);
    invalid
}

#[inline]
fn number(high: u8, low: u8) -> Option<u8> {
    let (high, low) = (HEX[high as usize], HEX[low as usize]);
    (high | low < 16).then_some(high << 4 | low)
}

pub(crate) fn hex(digit: u8) -> Option<u8> {
    let value = HEX[digit as usize];
    (value < 16).then_some(value)
}

/// The value of each hexadecimal digit; 255 for other bytes.
static HEX: [u8; 256] = {
    let mut table = [255; 256];
    let mut value = 0;
    while value < 16 {
        let digit = b"0123456789abcdef"[value];
        table[digit as usize] = value as u8;
        table[digit.to_ascii_uppercase() as usize] = value as u8;
        value += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Collected, Rng};

    fn read(text: &str) -> (Vec<(String, String)>, Form) {
        let mut sink = Collected::default();
        let form = urlencoded(text.as_bytes(), b'&', &mut sink, &mut Scratch::default());
        (sink.args(), form)
    }

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)], invalid: bool) {
        let (args, form) = read(text);
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(args, expected, "{text}");
        assert_eq!(form.invalid_encoding, invalid, "{text}");
        assert!(!form.full);
    }

    /// Each line was tried on libmodsecurity 3.0.9.
    #[test]
    fn forms_read_as_modsecurity_reads_them() {
        check("", &[], false);
        check("a=b&&c=d&", &[("a", "b"), ("", ""), ("c", "d")], false);
        check("=x&y", &[("", "x"), ("y", "")], false);
        check("&", &[("", "")], false);
        check("a=1=2&b", &[("a", "1=2"), ("b", "")], false);
        check("a=%zz&b=%2", &[("a", "%zz"), ("b", "%2")], true);
        check("a=%41%4", &[("a", "A%4")], true);
        check("a+b=c+d%00e", &[("a b", "c d\0e")], false);
        check("a=b;c=d", &[("a", "b;c=d")], false);
        check("%&=", &[("%", ""), ("", "")], true);
        check("a=%u0041", &[("a", "%u0041")], true);
        check("a=b%2a", &[("a", "b*")], false);
        check("param1=value12%&param2=value2%2", &[("param1", "value12%"), ("param2", "value2%2")], true);
        check("%41%3d=%26%3d", &[("A=", "&=")], false);
    }

    #[test]
    fn another_separator_splits() {
        let mut sink = Collected::default();
        urlencoded(b"a=b;c=d&e", b';', &mut sink, &mut Scratch::default());
        assert_eq!(sink.args(), [("a".into(), "b".into()), ("c".into(), "d&e".into())]);
    }

    #[test]
    fn a_full_sink_ends_it() {
        let mut sink = Collected { room: 2, ..Collected::default() };
        let form = urlencoded(b"a=b&c=d&e=f", b'&', &mut sink, &mut Scratch::default());
        assert!(form.full);
        assert_eq!(sink.args.len(), 2);
    }

    #[track_caller]
    fn check_cookies(text: &str, expected: &[(&str, &str)]) {
        let mut sink = Collected::default();
        cookies(text.as_bytes(), &mut sink);
        let expected: Vec<_> =
            expected.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        assert_eq!(sink.args(), expected, "{text}");
    }

    /// The first line was tried on libmodsecurity 3.0.9, the others are its
    /// regression tests' (variable-REQUEST_COOKIES).
    #[test]
    fn cookies_read_as_modsecurity_reads_them() {
        check_cookies(
            " a=1; b = 2 ;;c;=5;  ;d=x=y ; e=\"q;r\"  ",
            &[("a", "1"), ("b ", " 2 "), ("c", ""), ("d", "x=y "), ("e", "\"q"), ("r\"", "")],
        );
        check_cookies("USER_TOKEN=Yes; a=z; t=b", &[("USER_TOKEN", "Yes"), ("a", "z"), ("t", "b")]);
        check_cookies("aaa=bbb;abc=def  ", &[("aaa", "bbb"), ("abc", "def")]);
        check_cookies(
            "t=b;  foo= bar; = ; = = ; baz=value1=insert here something",
            &[("t", "b"), ("foo", " bar"), ("baz", "value1=insert here something")],
        );
        check_cookies("", &[]);
        check_cookies(";;;", &[]);
    }

    /// The obvious way, byte by byte, to hold the fast way against.
    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn obvious(text: &[u8]) -> (Pairs, bool) {
        let mut invalid = false;
        let mut plain = |text: &[u8]| {
            let mut out = Vec::new();
            let mut at = 0;
            while at < text.len() {
                let pair = text.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
                let number = pair
                    .filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()))
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok());
                match (text[at], number) {
                    (b'+', _) => out.push(b' '),
                    (b'%', Some(number)) => {
                        out.push(number);
                        at += 2;
                    }
                    (b'%', None) => {
                        invalid = true;
                        out.push(b'%');
                    }
                    (byte, _) => out.push(byte),
                }
                at += 1;
            }
            out
        };
        let mut pieces: Vec<&[u8]> = text.split(|&byte| byte == b'&').collect();
        if pieces.last().is_some_and(|last| last.is_empty()) {
            pieces.pop();
        }
        let pairs = pieces
            .into_iter()
            .map(|piece| {
                let at = piece.iter().position(|&byte| byte == b'=').unwrap_or(piece.len());
                (plain(&piece[..at]), plain(piece.get(at + 1..).unwrap_or_default()))
            })
            .collect();
        (pairs, invalid)
    }

    #[test]
    fn the_fast_way_equals_the_obvious_one() {
        let mut rng = Rng::new(7);
        let mut scratch = Scratch::default();
        for _ in 0..20_000 {
            let text = rng.text(b"abc=&%+4G;\xFF\0", 40);
            let mut sink = Collected::default();
            let form = urlencoded(&text, b'&', &mut sink, &mut scratch);
            assert_eq!((sink.args, form.invalid_encoding), obvious(&text), "{text:?}");
        }
    }
}
