//! The boundary parameter of `Content-Type`.
//!
//! ModSecurity v3 accepts one form only, and so do we: `multipart/form-data`, a
//! semicolon, `boundary=` and the value up to the end of the field. RFC 2046
//! §5.1.1 bounds a boundary at 70 characters; v3's own test has one of 75, so the
//! bound is that of the whole field, 1,024.

use super::Flags;

/// The boundary, or what is wrong with the field, in v3's words.
pub(super) fn parameter<'a>(content_type: &'a [u8], flags: &mut Flags) -> Result<&'a [u8], &'static str> {
    const TYPE: &[u8] = b"multipart/form-data";
    if content_type.is_empty() {
        return Err("Content-Type header not available.");
    }
    if content_type.len() > 1024 {
        return Err("Invalid boundary in C-T (length).");
    }
    let starts = content_type.get(..TYPE.len());
    if !starts.is_some_and(|starts| starts.eq_ignore_ascii_case(TYPE)) {
        return Err("Invalid MIME type.");
    }
    let count = boundary_words(content_type);
    if count > 1 {
        return Err("Multiple boundary parameters in C-T.");
    }
    let Some(word) = memchr::memmem::find(content_type, b"boundary") else {
        return match count {
            0 => Err("Boundary not found in C-T."),
            _ => Err("Invalid boundary in C-T (case sensitivity)."),
        };
    };

    // Between the type and the word: blanks and one semicolon.
    let mut semicolons = 0;
    for &byte in &content_type[TYPE.len()..word] {
        match byte {
            b';' if semicolons == 0 => semicolons = 1,
            _ if is_space(byte) => {}
            _ => return Err("Invalid boundary in C-T (malformed)."),
        }
    }
    flags.missing_semicolon = semicolons == 0;

    // Between the word and `=`: at best nothing.
    let after_word = &content_type[word + b"boundary".len()..];
    let Some(equals) = memchr::memchr(b'=', after_word) else {
        return Err("Invalid boundary in C-T (malformed).");
    };
    if equals > 0 {
        if !after_word[..equals].iter().copied().all(is_space) {
            return Err("Invalid boundary in C-T (parameter name).");
        }
        flags.boundary_whitespace = true;
    }
    value(&after_word[equals + 1..], flags)
}

fn value<'a>(value: &'a [u8], flags: &mut Flags) -> Result<&'a [u8], &'static str> {
    if value.first().copied().is_some_and(is_space) {
        flags.boundary_whitespace = true;
    }
    let boundary = match value {
        [b'"', quoted @ .., b'"'] => {
            flags.boundary_quoted = true;
            quoted
        }
        [b'"', ..] | [_, .., b'"'] => return Err("Invalid boundary in C-T (quote)."),
        plain => plain,
    };
    if boundary.is_empty() {
        return Err("Invalid boundary in C-T (empty).");
    }
    if boundary_words(boundary) != 0 {
        return Err("Invalid boundary in C-T (content).");
    }
    // RFC 2046 §5.1.1: these characters, a blank only before another.
    let good = |byte: &u8| byte.is_ascii_alphanumeric() || b" '()+_,-./:=?".contains(byte);
    if !boundary.iter().all(good) || boundary.ends_with(b" ") {
        return Err("Invalid boundary in C-T (characters).");
    }
    Ok(boundary)
}

/// How often the word `boundary`, in any case, stands before some `=`.
fn boundary_words(text: &[u8]) -> usize {
    const WORD: &[u8] = b"boundary";
    let Some(last_equals) = memchr::memrchr(b'=', text) else {
        return 0;
    };
    let before = &text[..last_equals];
    before.windows(WORD.len()).filter(|window| window.eq_ignore_ascii_case(WORD)).count()
}

/// What C calls a space: also vertical tab and form feed.
pub(super) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}
