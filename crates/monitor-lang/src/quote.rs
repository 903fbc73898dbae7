//! Quoted texts as Go, and so Prometheus, writes and reads them.

use std::fmt::Write;

/// In double quotes, as Go's `%q`: what cannot be printed is escaped.
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    text.chars().for_each(|c| push(&mut quoted, c, '"'));
    quoted.push('"');
    quoted
}

/// Bytes as [`quote`] has texts; what is no UTF-8 as `\xff`.
pub(crate) fn quote_bytes(bytes: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push(&mut quoted, c, '"'));
        for byte in chunk.invalid() {
            // A `String` takes whatever is written to it.
            let _ = write!(quoted, "\\x{byte:02x}");
        }
    }
    quoted.push('"');
    quoted
}

/// In single quotes, as Go's `%q` of a character; the end of a text is the
/// replacement character.
pub(crate) fn quote_char(c: Option<char>) -> String {
    let mut quoted = String::from("'");
    push(&mut quoted, c.unwrap_or(char::REPLACEMENT_CHARACTER), '\'');
    quoted.push('\'');
    quoted
}

fn push(quoted: &mut String, c: char, mark: char) {
    let letter = match c {
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{b}' => 'v',
        '\\' => '\\',
        c if c == mark => mark,
        c => {
            // A `String` takes whatever is written to it.
            let _ = match u32::from(c) {
                _ if is_printable(c) => write!(quoted, "{c}"),
                code @ (..0x20 | 0x7f) => write!(quoted, "\\x{code:02x}"),
                code @ ..0x1_0000 => write!(quoted, "\\u{code:04x}"),
                code => write!(quoted, "\\U{code:08x}"),
            };
            return;
        }
    };
    quoted.push('\\');
    quoted.push(letter);
}

/// Nearly Go's `unicode.IsPrint`: Rust escapes combining marks in addition.
fn is_printable(c: char) -> bool {
    matches!(c, '\'' | '"') || c.escape_debug().len() == 1
}

/// What a quoted text means: `"…"` and `'…'` with Go's escapes, `` `…` `` as it
/// stands. The lexer has seen that it is well-formed; none where the bytes that
/// it names are no UTF-8.
pub(crate) fn unquote(quoted: &str) -> Option<String> {
    String::from_utf8(unquoted_bytes(quoted)?).ok()
}

/// [`unquote`], whatever the bytes are.
pub(crate) fn unquoted_bytes(quoted: &str) -> Option<Vec<u8>> {
    let inner = quoted.get(1..quoted.len().checked_sub(1)?)?;
    if quoted.starts_with('`') || !inner.contains('\\') {
        return Some(inner.as_bytes().to_vec());
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let mark = rest[at + 1..].chars().next()?;
        rest = &rest[at + 1 + mark.len_utf8()..];
        let (digits, radix) = match mark {
            'x' => (2, 16),
            'u' => (4, 16),
            'U' => (8, 16),
            '0'..='7' => (2, 8),
            _ => (0, 0),
        };
        let number = u32::from_str_radix(rest.get(..digits)?, radix.max(2)).unwrap_or_default();
        rest = &rest[digits..];
        match mark {
            'a' => bytes.push(7),
            'b' => bytes.push(8),
            'f' => bytes.push(0xc),
            'n' => bytes.push(b'\n'),
            'r' => bytes.push(b'\r'),
            't' => bytes.push(b'\t'),
            'v' => bytes.push(0xb),
            'x' => bytes.push(number as u8),
            '0'..='7' => bytes.push((mark.to_digit(8)? * 64 + number) as u8),
            'u' | 'U' => {
                let c = char::from_u32(number)?;
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes.extend_from_slice(rest.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_and_back() {
        let cases = [
            ("", r#""""#),
            ("a\"b'c\\", r#""a\"b'c\\""#),
            ("\u{7}\u{8}\u{c}\n\r\t\u{b}", r#""\a\b\f\n\r\t\v""#),
            ("\u{0}\u{7f}\u{85}\u{feff}\u{10ffff}", r#""\x00\x7f\u0085\ufeff\U0010ffff""#),
            ("日本 é", "\"日本 é\""),
        ];
        for (text, quoted) in cases {
            assert_eq!(quote(text), quoted);
            assert_eq!(unquote(quoted).as_deref(), Some(text));
        }
        assert_eq!(unquote(r"'\'\303\251\xc3\xa9'").as_deref(), Some("'éé"));
        assert_eq!(unquote(r"`\n`").as_deref(), Some(r"\n"));
        assert_eq!(unquote(r"'\xff'"), None);
        assert_eq!(quote_bytes(b"a\xc5z\""), r#""a\xc5z\""#.to_owned() + "\"");
        assert_eq!(quote_char(Some('\'')), r"'\''");
        assert_eq!(quote_char(None), "'\u{fffd}'");
    }
}
