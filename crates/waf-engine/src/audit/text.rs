//! Bytes as text of a log.

/// One line: what is not printable as `\xHH`.
pub(super) fn one_line(bytes: &[u8]) -> String {
    readable(bytes, false)
}

/// Several lines, as they are.
pub(super) fn lines(bytes: &[u8]) -> String {
    readable(bytes, true)
}

fn readable(bytes: &[u8], is_many: bool) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                ' '..='~' => out.push(c),
                '\n' | '\r' | '\t' if is_many => out.push(c),
                // Letters of any script; not what turns a line around or hides.
                c if !c.is_ascii() && c.is_alphanumeric() => out.push(c),
                c => hex(&mut out, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        hex(&mut out, chunk.invalid());
    }
    out
}

fn hex(out: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for byte in bytes {
        let _ = write!(out, "\\x{byte:02x}");
    }
}

/// A text within `[name "…"]`: ASCII, without quotes, so that it cannot end there.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        match byte {
            b'"' | ..=0x1f | 0x7f.. => hex(&mut out, &[byte]),
            _ => out.push(byte as char),
        }
    }
    out
}

/// The first bytes of an ASCII text, as libmodsecurity cuts it.
pub(super) fn limited(text: &str, most: usize) -> String {
    match text.len().checked_sub(most) {
        Some(omitted @ 1..) => format!("{} ({omitted} characters omitted)", &text[..most]),
        _ => text.to_owned(),
    }
}

/// `-` where there is nothing.
pub(super) fn or_dash(text: String) -> String {
    if text.is_empty() { "-".to_owned() } else { text }
}
