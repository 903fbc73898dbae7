//! Backslash escapes: CSS, JavaScript, ANSI C.

use super::hex::{digit, pair};
use super::space;
use super::url::low_byte;

/// Copies the value; at each backslash, `decode` writes what it stands for and
/// answers how many bytes it took.
fn each_escape(value: &[u8], out: &mut Vec<u8>, decode: impl Fn(&[u8], &mut Vec<u8>) -> usize) {
    let mut rest = value;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[decode(rest, out)..];
    }
    out.extend_from_slice(rest);
}

/// CSS Syntax Level 3 §4.3.7, as Coraza does it: one to six digits are a code
/// point, written as UTF-8; zero, surrogates and what is beyond Unicode become
/// U+FFFD. ModSecurity v3 takes the last two digits as a byte, which differs
/// from U+0080 on. Full-width forms become ASCII in both.
pub(super) fn css(value: &[u8], out: &mut Vec<u8>) {
    each_escape(value, out, |rest, out| {
        let digits = rest[1..].iter().take(6).take_while(|&&byte| digit(byte).is_some()).count();
        if digits > 0 {
            let code = rest[1..=digits]
                .iter()
                .fold(0, |code, &byte| code << 4 | u32::from(digit(byte).unwrap_or(0)));
            let code = if (0xff01..=0xff5e).contains(&code) { code - 0xfee0 } else { code };
            let point = char::from_u32(code).filter(|&point| point != '\0').unwrap_or('\u{fffd}');
            out.extend_from_slice(point.encode_utf8(&mut [0; 4]).as_bytes());
            // One whitespace ends the escape and is part of it.
            return 1 + digits + usize::from(rest.get(1 + digits).is_some_and(|&byte| space::is(byte)));
        }
        match rest {
            // A line's end after a backslash continues the line; CR LF is one.
            [_, b'\r', b'\n', ..] => 3,
            [_, b'\n' | b'\r' | 0x0c, ..] => 2,
            [_, byte, ..] => {
                out.push(*byte);
                2
            }
            _ => 1,
        }
    });
}

/// ECMAScript's escapes, each to one byte: `\uHHHH` to its low byte.
pub(super) fn js(value: &[u8], out: &mut Vec<u8>) {
    each_escape(value, out, |rest, out| match rest {
        [_, b'u', a, b, c, d, ..] if let (Some(high), Some(low)) = (pair(*a, *b), pair(*c, *d)) => {
            out.push(low_byte(high, low));
            6
        }
        [_, b'x', a, b, ..] if let Some(byte) = pair(*a, *b) => {
            out.push(byte);
            4
        }
        [_, b'0'..=b'7', ..] => {
            // Three digits only where they make one byte.
            let most = if rest[1] > b'3' { 2 } else { 3 };
            octal(rest, most, out)
        }
        [_, byte, ..] => {
            out.push(control(*byte).unwrap_or(*byte));
            2
        }
        _ => {
            out.push(b'\\');
            1
        }
    });
}

/// ANSI C's escapes. An unknown one loses its backslash; three octal digits
/// beyond a byte keep its low eight bits.
pub(super) fn ansi_c(value: &[u8], out: &mut Vec<u8>) {
    each_escape(value, out, |rest, out| match rest {
        [_, b'x' | b'X', a, b, ..] if let Some(byte) = pair(*a, *b) => {
            out.push(byte);
            4
        }
        [_, b'0'..=b'7', ..] => octal(rest, 3, out),
        [_, byte, ..] => {
            out.push(control(*byte).unwrap_or(*byte));
            2
        }
        _ => {
            out.push(b'\\');
            1
        }
    });
}

/// `\a`, `\b`, `\f`, `\n`, `\r`, `\t`, `\v`.
const fn control(letter: u8) -> Option<u8> {
    Some(match letter {
        b'a' => 0x07,
        b'b' => 0x08,
        b'f' => 0x0c,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'v' => 0x0b,
        _ => return None,
    })
}

fn octal(rest: &[u8], most: usize, out: &mut Vec<u8>) -> usize {
    let digits = rest[1..].iter().take(most).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
    let code = rest[1..=digits].iter().fold(0, |code, &byte| code << 3 | u32::from(byte - b'0'));
    out.push(code as u8);
    1 + digits
}
