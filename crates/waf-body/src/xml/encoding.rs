//! From the document's encoding to UTF-8.

/// Writes `text` into `out` as UTF-8, without a byte order mark; the error is
/// what is wrong and where.
pub(super) fn to_utf8(text: &[u8], complete: bool, out: &mut Vec<u8>) -> Result<(), (&'static str, usize)> {
    // XML 1.0 appendix F: by the first bytes.
    match text {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest, complete, out),
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes, complete, out),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes, complete, out),
        [b'<', 0, ..] => utf16(text, u16::from_le_bytes, complete, out),
        [0, b'<', ..] => utf16(text, u16::from_be_bytes, complete, out),
        _ => match declared(text) {
            None => utf8(text, complete, out),
            Some(name) if is_one_of(name, &["utf-8", "utf8", "us-ascii", "ascii"]) => {
                utf8(text, complete, out)
            }
            // A declaration that can be read is not in UTF-16.
            Some(name) if is_one_of(name, &["utf-16", "utf-16le", "utf-16be"]) => {
                Err(("the text is not UTF-16", 0))
            }
            Some(name) if is_one_of(name, &["iso-8859-1", "latin1", "windows-1252", "cp1252"]) => {
                for &byte in text {
                    crate::json::push_utf8(out, u32::from(byte));
                }
                Ok(())
            }
            Some(_) => Err(("an encoding that is not supported", 0)),
        },
    }
}

fn is_one_of(name: &[u8], names: &[&str]) -> bool {
    names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
}

fn utf8(text: &[u8], complete: bool, out: &mut Vec<u8>) -> Result<(), (&'static str, usize)> {
    match std::str::from_utf8(text) {
        Ok(_) => {
            out.extend_from_slice(text);
            Ok(())
        }
        Err(error) => {
            out.extend_from_slice(&text[..error.valid_up_to()]);
            match error.error_len() {
                None if !complete => Ok(()),
                _ => Err(("the text is not UTF-8", error.valid_up_to())),
            }
        }
    }
}

fn utf16(
    text: &[u8],
    unit: impl Fn([u8; 2]) -> u16,
    complete: bool,
    out: &mut Vec<u8>,
) -> Result<(), (&'static str, usize)> {
    let (pairs, rest) = text.as_chunks::<2>();
    let units = pairs.iter().map(|pair| unit(*pair));
    let mut at = 0;
    for decoded in char::decode_utf16(units) {
        match decoded {
            Ok(character) => {
                crate::json::push_utf8(out, u32::from(character));
                at += 2 * character.len_utf16();
            }
            Err(_) if !complete && at + 2 >= text.len() => return Ok(()),
            Err(_) => return Err(("the text is not UTF-16", at)),
        }
    }
    match rest {
        [] => Ok(()),
        _ if !complete => Ok(()),
        _ => Err(("the text is not UTF-16", at)),
    }
}

/// The encoding that `<?xml … encoding="…"?>` names.
fn declared(text: &[u8]) -> Option<&[u8]> {
    let declaration = text.strip_prefix(b"<?xml")?;
    let end = memchr::memmem::find(declaration, b"?>").unwrap_or(declaration.len());
    let declaration = &declaration[..end];
    let at = memchr::memmem::find(declaration, b"encoding")?;
    let after = declaration[at + b"encoding".len()..].trim_ascii_start();
    let after = after.strip_prefix(b"=")?.trim_ascii_start();
    let (&quote, value) = after.split_first()?;
    let end = memchr::memchr(quote, value)?;
    matches!(quote, b'"' | b'\'').then_some(&value[..end])
}
