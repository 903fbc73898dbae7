//! Percent-encoding (RFC 3986 §2.1), with forms' `+` and IIS' `%uHHHH`.

use super::hex;
use crate::UnicodeMap;
use crate::unicode_map::best_fit;

/// What is not a valid `%HH` stays as it is.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) {
    each_escape(value, out, |rest, out| match rest {
        [b'+', ..] => one(b' ', 1, out),
        [b'%', high, low, ..] if let Some(byte) = hex::pair(*high, *low) => one(byte, 3, out),
        _ => one(b'%', 1, out),
    });
}

/// Also `%uHHHH`, which becomes one byte: the map's, or else the code point's
/// low byte, with full-width forms (U+FF01 – U+FF5E) turned to ASCII.
pub(super) fn decode_uni(value: &[u8], out: &mut Vec<u8>, map: Option<&UnicodeMap>) {
    each_escape(value, out, |rest, out| match rest {
        [b'+', ..] => one(b' ', 1, out),
        [b'%', b'u' | b'U', a, b, c, d, ..]
            if let (Some(high), Some(low)) = (hex::pair(*a, *b), hex::pair(*c, *d)) =>
        {
            let code = u32::from(high) << 8 | u32::from(low);
            let mapped = map.map_or_else(|| best_fit(code), |map| map.get(code));
            one(mapped.unwrap_or_else(|| low_byte(high, low)), 6, out)
        }
        [b'%', high, low, ..] if let Some(byte) = hex::pair(*high, *low) => one(byte, 3, out),
        _ => one(b'%', 1, out),
    });
}

/// A code point's low byte; full-width ASCII as ASCII.
pub(super) fn low_byte(high: u8, low: u8) -> u8 {
    if high == 0xff && low > 0 && low < 0x5f { low + 0x20 } else { low }
}

fn one(byte: u8, used: usize, out: &mut Vec<u8>) -> usize {
    out.push(byte);
    used
}

/// Copies the value; at each `%` and `+`, `decode` writes what it stands for
/// and answers how many bytes it took.
fn each_escape(value: &[u8], out: &mut Vec<u8>, decode: impl Fn(&[u8], &mut Vec<u8>) -> usize) {
    let mut rest = value;
    while let Some(at) = memchr::memchr2(b'%', b'+', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        rest = &rest[decode(rest, out)..];
    }
    out.extend_from_slice(rest);
}

/// The bytes `urlEncode` leaves alone.
pub(super) const fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'*'
}

pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) {
    for &byte in value {
        let [high, low] = hex::digits(byte);
        match byte {
            b' ' => out.push(b'+'),
            _ if plain(byte) => out.push(byte),
            _ => out.extend_from_slice(&[b'%', high, low]),
        }
    }
}
