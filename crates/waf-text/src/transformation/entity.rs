//! HTML's character references, those that ModSecurity v3 knows.

use super::hex::digit;

/// No-break space in Latin-1, which `&nbsp;` becomes.
const NBSP: u8 = 0xa0;

/// `&#NNN;`, `&#xHH;`, `&quot;`, `&amp;`, `&lt;`, `&gt;` and `&nbsp;`, in any
/// case and with or without the semicolon, become one byte; a number its low
/// eight bits.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'&', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let (byte, used) = reference(rest).unwrap_or((b'&', 1));
        out.push(byte);
        rest = &rest[used..];
    }
    out.extend_from_slice(rest);
}

/// What the reference that `rest` begins with stands for, and its length. The
/// digits or letters read end before the next `&`, so that reading is linear.
fn reference(rest: &[u8]) -> Option<(u8, usize)> {
    let (byte, length) = match rest {
        [_, b'#', b'x' | b'X', tail @ ..] => {
            let (byte, digits) = number(tail, 16)?;
            (byte, 3 + digits)
        }
        [_, b'#', tail @ ..] => {
            let (byte, digits) = number(tail, 10)?;
            (byte, 2 + digits)
        }
        [_, tail @ ..] => {
            let letters = tail.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
            (named(&tail[..letters])?, 1 + letters)
        }
        [] => return None,
    };
    Some((byte, length + usize::from(rest.get(length) == Some(&b';'))))
}

fn number(digits: &[u8], radix: u8) -> Option<(u8, usize)> {
    let mut value = 0i64;
    let mut length = 0;
    for &byte in digits {
        let Some(digit) = digit(byte).filter(|&digit| digit < radix) else { break };
        // C's `strtol` stays at its largest, whose low byte is 0xFF.
        value = value
            .checked_mul(i64::from(radix))
            .and_then(|value| value.checked_add(i64::from(digit)))
            .unwrap_or(i64::MAX);
        length += 1;
    }
    (length > 0).then_some((value as u8, length))
}

fn named(name: &[u8]) -> Option<u8> {
    const NAMES: [(&[u8], u8); 5] =
        [(b"quot", b'"'), (b"amp", b'&'), (b"lt", b'<'), (b"gt", b'>'), (b"nbsp", NBSP)];
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|&(_, byte)| byte)
}
