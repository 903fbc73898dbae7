//! Transformations of values before an operator sees them, as the ModSecurity
//! Reference Manual v3 describes them under "Transformation functions".

use crate::error::Wrong;

/// What `t:` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transformation {
    /// `lowercase`: ASCII letters.
    Lowercase,
    /// `urlDecode`: `%XX` and `+`; what is malformed stays.
    UrlDecode,
    /// `urlDecodeUni`: also `%uXXXX`: full-width ASCII becomes ASCII, of others
    /// the low byte stays. No `SecUnicodeMapFile`.
    UrlDecodeUni,
    /// `htmlEntityDecode`: `&#dd;`, `&#xhh;` (the low byte) and `quot amp lt gt nbsp`,
    /// with or without the semicolon.
    HtmlEntityDecode,
    /// `compressWhitespace`: each run of white space becomes one blank.
    CompressWhitespace,
    /// `normalizePath`: removes `.`, `..` and empty segments.
    NormalizePath,
    /// `normalizePathWin`: the same, after turning backslashes into slashes.
    NormalizePathWin,
    /// `removeNulls`: removes NUL bytes.
    RemoveNulls,
    /// `replaceComments`: `/* … */` becomes one blank, also where it does not end.
    ReplaceComments,
}

/// Names as rules write them; in any case.
const NAMES: &[(&str, Transformation)] = &[
    ("lowercase", Transformation::Lowercase),
    ("urlDecode", Transformation::UrlDecode),
    ("urlDecodeUni", Transformation::UrlDecodeUni),
    ("htmlEntityDecode", Transformation::HtmlEntityDecode),
    ("compressWhitespace", Transformation::CompressWhitespace),
    ("normalizePath", Transformation::NormalizePath),
    ("normalisePath", Transformation::NormalizePath),
    ("normalizePathWin", Transformation::NormalizePathWin),
    ("normalisePathWin", Transformation::NormalizePathWin),
    ("removeNulls", Transformation::RemoveNulls),
    ("replaceComments", Transformation::ReplaceComments),
];

impl Transformation {
    /// Reads a name; `none` is the caller's business.
    pub(crate) fn parse(name: &str) -> Result<Self, Wrong> {
        let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        let known = NAMES.iter().map(|(known, _)| *known);
        found.map(|(_, t)| *t).ok_or_else(|| Wrong::unknown("transformation", "t:", name, known))
    }

    /// The name as reports give it.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, t)| *t == self).map_or("", |(name, _)| name)
    }

    /// Appends the transformed value to `out`; never more bytes than came in.
    pub fn apply(self, input: &[u8], out: &mut Vec<u8>) {
        match self {
            Self::Lowercase => out.extend(input.iter().map(u8::to_ascii_lowercase)),
            Self::UrlDecode => url_decode(input, true, out),
            Self::UrlDecodeUni => url_decode_uni(input, out),
            Self::HtmlEntityDecode => html_entity_decode(input, out),
            Self::CompressWhitespace => compress_whitespace(input, out),
            Self::NormalizePath => normalize_path(input, out),
            Self::NormalizePathWin => {
                let slashes: Vec<u8> = input.iter().map(|b| if *b == b'\\' { b'/' } else { *b }).collect();
                normalize_path(&slashes, out);
            }
            Self::RemoveNulls => out.extend(input.iter().filter(|b| **b != 0)),
            Self::ReplaceComments => replace_comments(input, out),
        }
    }
}

/// Decodes `%XX`; with `plus`, also `+` as a blank. What is malformed stays as it is.
pub(crate) fn url_decode(input: &[u8], plus: bool, out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, len) = match first {
            b'%' => hex_pair(after).map_or((b'%', 1), |byte| (byte, 3)),
            b'+' if plus => (b' ', 1),
            other => (other, 1),
        };
        out.push(byte);
        rest = &rest[len..];
    }
}

fn url_decode_uni(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some((&first, after)) = rest.split_first() {
        let (byte, len) = match (first, after.first()) {
            (b'%', Some(b'u' | b'U')) => match (hex_pair(&after[1..]), after.get(3..).and_then(hex_pair)) {
                (Some(0xFF), Some(low @ 0x01..=0x5E)) => (low + 0x20, 6),
                (Some(_), Some(low)) => (low, 6),
                _ => (b'%', 1),
            },
            (b'%', _) => hex_pair(after).map_or((b'%', 1), |byte| (byte, 3)),
            (b'+', _) => (b' ', 1),
            (other, _) => (other, 1),
        };
        out.push(byte);
        rest = &rest[len..];
    }
}

/// The byte that the first two hexadecimal digits stand for.
pub(crate) fn hex_pair(text: &[u8]) -> Option<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).map(|d| d as u8);
    Some(digit(*text.first()?)? << 4 | digit(*text.get(1)?)?)
}

fn html_entity_decode(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some((&first, after)) = rest.split_first() {
        if let Some((byte, len)) = (first == b'&').then(|| entity(after)).flatten() {
            out.push(byte);
            rest = &after[len..];
            if let Some(trimmed) = rest.strip_prefix(b";") {
                rest = trimmed;
            }
        } else {
            out.push(first);
            rest = after;
        }
    }
}

/// The byte an entity stands for, and its length without `&` and `;`.
fn entity(text: &[u8]) -> Option<(u8, usize)> {
    if let Some(number) = text.strip_prefix(b"#") {
        let hex = matches!(number.first(), Some(b'x' | b'X'));
        let (radix, digits) = if hex { (16, &number[1..]) } else { (10, number) };
        let len = digits.iter().take_while(|b| char::from(**b).is_digit(radix)).count();
        // As C's strtol, whose result ModSecurity cuts to a byte: too large a
        // number is the largest one.
        let add = |sum: i64, b: &u8| {
            let digit = i64::from(char::from(*b).to_digit(radix).unwrap_or(0));
            sum.saturating_mul(i64::from(radix)).saturating_add(digit)
        };
        let value = digits[..len].iter().fold(0i64, add);
        return (len > 0).then_some(((value & 0xFF) as u8, 1 + usize::from(hex) + len));
    }
    let len = text.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
    let known: [(&[u8], u8); 5] =
        [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", 0xA0)];
    let found = known.iter().find(|(name, _)| name.eq_ignore_ascii_case(&text[..len]));
    found.map(|(_, byte)| (*byte, len))
}

fn compress_whitespace(input: &[u8], out: &mut Vec<u8>) {
    let mut in_space = false;
    for &byte in input {
        // C's isspace, with the vertical tab that `is_ascii_whitespace` leaves out.
        let space = byte.is_ascii_whitespace() || byte == 0x0B;
        if !space {
            out.push(byte);
        } else if !in_space {
            out.push(b' ');
        }
        in_space = space;
    }
}

fn normalize_path(input: &[u8], out: &mut Vec<u8>) {
    let absolute = input.first() == Some(&b'/');
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in input.split(|b| *b == b'/') {
        match segment {
            b"" | b"." => {}
            // Above the root there is nothing; above a relative path's beginning
            // there may be, so that reference stays.
            b".." if kept.last().is_some_and(|last| *last != b"..") => drop(kept.pop()),
            b".." if absolute => {}
            other => kept.push(other),
        }
    }
    let trailing = input.last() == Some(&b'/');
    if absolute && (trailing || !kept.is_empty()) {
        out.push(b'/');
    }
    out.extend_from_slice(&kept.join(&b'/'));
    if trailing && !kept.is_empty() {
        out.push(b'/');
    }
}

fn replace_comments(input: &[u8], out: &mut Vec<u8>) {
    let mut rest = input;
    while let Some(start) = find(rest, b"/*") {
        out.extend_from_slice(&rest[..start]);
        out.push(b' ');
        rest = find(&rest[start + 2..], b"*/").map_or(&[][..], |end| &rest[start + 2 + end + 2..]);
    }
    out.extend_from_slice(rest);
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memchr::memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transformation as T;

    fn apply(transformation: Transformation, input: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        transformation.apply(input, &mut out);
        assert!(out.len() <= input.len(), "{transformation:?} grew {input:?}");
        out
    }

    #[test]
    fn examples() {
        let cases: &[(Transformation, &[u8], &[u8])] = &[
            (T::Lowercase, b"SeLeCT \xC3\x89", b"select \xC3\x89"),
            (T::UrlDecode, b"a%20b+c%2", b"a b c%2"),
            (T::UrlDecode, b"%%20%u0041%00", b"% %u0041\0"),
            (T::UrlDecodeUni, b"%u0041%uFF1cscript%uff1E", b"A<script>"),
            (T::UrlDecodeUni, b"%u%u12%u123", b"%u%u12%u123"),
            (T::UrlDecodeUni, b"%u12%41%U0027", b"%u12A'"),
            (T::HtmlEntityDecode, b"&lt;&#60;&#x3C;&#X3cx&gtx&gt", b"<<<<x&gtx>"),
            (
                T::HtmlEntityDecode,
                b"&#;&#x;&;&amp;amp;&QUOT;&#99999999999999999999;",
                b"&#;&#x;&;&amp;\"\xFF",
            ),
            (T::HtmlEntityDecode, b"&nbsp;&unknown;&#x13c;", b"\xA0&unknown;<"),
            (T::CompressWhitespace, b" a \t\r\n\x0B\x0Cb  ", b" a b "),
            (T::NormalizePath, b"/a/./b/../../../etc//passwd", b"/etc/passwd"),
            (T::NormalizePath, b"../x/../..", b"../.."),
            (T::NormalizePath, b"/..", b""),
            (T::NormalizePath, b"/../", b"/"),
            (T::NormalizePath, b"a/..", b""),
            (T::NormalizePath, b"a\\..\\b", b"a\\..\\b"),
            (T::NormalizePathWin, b"a\\..\\b\\.\\c", b"b/c"),
            (T::RemoveNulls, b"\0a\0b", b"ab"),
            (T::ReplaceComments, b"un/**/ion/*x", b"un ion "),
            (T::ReplaceComments, b"a*/b/*/c*/d", b"a*/b d"),
        ];
        for (transformation, input, expected) in cases {
            let got = apply(*transformation, input);
            assert_eq!(got, *expected, "{transformation:?} of {:?}", String::from_utf8_lossy(input));
        }
    }

    #[test]
    fn names_are_read_in_any_case() {
        assert_eq!(T::parse("URLDECODEUNI"), Ok(T::UrlDecodeUni));
        assert_eq!(T::parse("normalisePath"), Ok(T::NormalizePath));
        let wrong = T::parse("lowercas").unwrap_err();
        assert_eq!(wrong.hint, "did you mean `t:lowercase`?");
        let wrong = T::parse("sqlHexDecode").unwrap_err();
        assert!(wrong.hint.contains("`t:urlDecodeUni`"), "{wrong:?}");
    }
}
