//! The `Content-Disposition` of a part (RFC 7578 §4.2), as strictly as v3.

use super::Flags;
use super::boundary::is_space;
use crate::forms::hex;

/// What a `Content-Disposition` named. The names themselves are in the buffers
/// that [`parse`] was given.
#[derive(Default)]
pub(super) struct Disposition {
    pub(super) has_name: bool,
    pub(super) has_filename: bool,
    pub(super) has_extended: bool,
}

/// Where the names go; all are cleared first.
pub(super) struct Names<'a> {
    pub(super) name: &'a mut Vec<u8>,
    pub(super) filename: &'a mut Vec<u8>,
    pub(super) extended: &'a mut Vec<u8>,
}

/// Reads the field's value, folded lines joined. What was read before an error
/// stays in `names`.
pub(super) fn parse(
    value: &[u8],
    names: Names<'_>,
    found: &mut Disposition,
    flags: &mut Flags,
) -> Result<(), &'static str> {
    const WRONG: &str = "Invalid Content-Disposition header.";
    names.name.clear();
    names.filename.clear();
    names.extended.clear();
    let Some(rest) = value.strip_prefix(b"form-data") else {
        return Err("Invalid Content-Disposition header (not form-data).");
    };
    let mut rest = skip_blanks(rest);
    if rest.is_empty() {
        return Ok(());
    }
    rest = rest.strip_prefix(b";").ok_or(WRONG)?;
    while !rest.is_empty() {
        rest = skip_blanks(rest);
        let name_end = rest.iter().position(|byte| b"=\t ".contains(byte)).ok_or(WRONG)?;
        let parameter = &rest[..name_end];
        rest = skip_blanks(&rest[name_end..]).strip_prefix(b"=").ok_or(WRONG)?;
        rest = skip_blanks(rest);
        if rest.is_empty() {
            return Err(WRONG);
        }
        let (out, seen) = match parameter {
            b"name" => (&mut *names.name, &mut found.has_name),
            b"filename" => (&mut *names.filename, &mut found.has_filename),
            b"filename*" => (&mut *names.extended, &mut found.has_extended),
            _ => return Err("Invalid Content-Disposition header (unknown parameter)."),
        };
        if *seen {
            return Err("Invalid Content-Disposition header (duplicate parameter).");
        }
        rest = match parameter {
            b"filename*" => extended_value(rest, out)?,
            _ => parameter_value(rest, out, flags)?,
        };
        *seen = true;
        rest = skip_blanks(rest);
        if rest.is_empty() {
            break;
        }
        let Some(after) = rest.strip_prefix(b";") else {
            // A quote within quotes, or something after them.
            flags.invalid_quoting |= value[..value.len() - rest.len()].ends_with(b"\"");
            return Err(WRONG);
        };
        rest = after;
    }
    // A parser cruder than this one would look for the word and its `=`.
    if !names.filename.is_empty() && memchr::memmem::find(value, b"filename=").is_none() {
        return Err("Invalid Content-Disposition header (filename).");
    }
    Ok(())
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b"\t ".contains(byte)).count();
    &text[blanks..]
}

/// A quoted string or a token into `out`; the rest after it. Quotes of either
/// kind are understood, since some back ends do; single ones raise a flag. Only
/// the quote and the backslash can be escaped: other backslashes stand for
/// themselves, as old browsers send them in paths.
fn parameter_value<'a>(
    text: &'a [u8],
    out: &mut Vec<u8>,
    flags: &mut Flags,
) -> Result<&'a [u8], &'static str> {
    let (&quote, quoted) = match text.split_first() {
        Some(split @ (b'"' | b'\'', _)) => split,
        _ => {
            let length = text.iter().take_while(|&&byte| is_token(byte)).count();
            out.extend_from_slice(&text[..length]);
            flags.invalid_quoting |= out.contains(&b'\'');
            return Ok(&text[length..]);
        }
    };
    flags.invalid_quoting |= quote == b'\'';
    let mut at = 0;
    loop {
        match (quoted.get(at), quoted.get(at + 1)) {
            (None, _) => return Err("Invalid Content-Disposition header (unterminated quote)."),
            (Some(b'\\'), None) => return Err("Invalid Content-Disposition header (escape)."),
            (Some(b'\\'), Some(&next)) if next == quote || next == b'\\' => {
                out.push(next);
                at += 2;
            }
            (Some(&byte), _) if byte == quote => return Ok(&quoted[at + 1..]),
            (Some(&byte), _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
}

/// RFC 5987 §3.2.1: `charset'language'value`, the value percent-encoded. The
/// bytes are handed over as they are in that charset.
fn extended_value<'a>(text: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], &'static str> {
    const WRONG: &str = "Invalid Content-Disposition header (filename*).";
    let end = text.iter().position(|&byte| byte == b';' || is_space(byte)).unwrap_or(text.len());
    let (value, rest) = text.split_at(end);
    let mut quotes = memchr::memchr_iter(b'\'', value);
    let (Some(charset), Some(language)) = (quotes.next(), quotes.next()) else {
        return Err(WRONG);
    };
    let charset = &value[..charset];
    let known = [&b"utf-8"[..], b"iso-8859-1"];
    if !known.iter().any(|name| name.eq_ignore_ascii_case(charset)) {
        return Err(WRONG);
    }
    let mut encoded = value[language + 1..].iter();
    while let Some(&byte) = encoded.next() {
        match byte {
            b'%' => {
                let high = encoded.next().copied().and_then(hex).ok_or(WRONG)?;
                let low = encoded.next().copied().and_then(hex).ok_or(WRONG)?;
                out.push(high << 4 | low);
            }
            _ if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) => out.push(byte),
            _ => return Err(WRONG),
        }
    }
    Ok(rest)
}

/// RFC 2045 §5.1.
fn is_token(byte: u8) -> bool {
    byte > b' ' && byte < 0x7F && !b"()<>@,;:\\\"/[]?=".contains(&byte)
}
