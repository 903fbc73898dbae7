//! The two loops that see most of a head's bytes.

use crate::guard::is_token;

/// How many bytes at the front are `tchar` (RFC 9110 §5.6.2).
#[inline]
pub(super) fn token_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|&b| !is_token(b)).unwrap_or(bytes.len())
}

/// How many bytes at the front may stand in a field value: visible ones, blanks
/// and those above ASCII (`obs-text`), so all but controls (RFC 9110 §5.5).
#[inline]
pub(super) fn value_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += until_control(&bytes[at..]);
        match bytes.get(at) {
            Some(b'\t') => at += 1,
            _ => return at,
        }
    }
}

const ONES: u64 = 0x0101_0101_0101_0101;
const TOPS: u64 = 0x8080_8080_8080_8080;

/// How many bytes at the front are neither below SP nor DEL, eight at a time.
#[inline]
fn until_control(bytes: &[u8]) -> usize {
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let controls = controls_of(u64::from_le_bytes(*word));
        if controls != 0 {
            return i * 8 + (controls.trailing_zeros() / 8) as usize;
        }
    }
    let tail_ok = tail.iter().take_while(|&&b| b >= b' ' && b != 0x7F).count();
    words.len() * 8 + tail_ok
}

/// The top bit of each byte that is below SP, or DEL. The lowest one set is
/// exact; a borrow may set some above it.
#[inline]
const fn controls_of(word: u64) -> u64 {
    let below_space = word.wrapping_sub(ONES * 0x20) & !word;
    let delete = word ^ (ONES * 0x7F);
    let is_delete = delete.wrapping_sub(ONES) & !delete;
    (below_space | is_delete) & TOPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_at_each_place() {
        for b in 0..=255u8 {
            let (token, value) = (is_token(b), b == b'\t' || (b >= b' ' && b != 0x7F));
            for at in 0..24 {
                let mut bytes = [b'a'; 24];
                bytes[at] = b;
                assert_eq!(token_length(&bytes), if token { 24 } else { at }, "{b:#x} at {at}");
                assert_eq!(value_length(&bytes), if value { 24 } else { at }, "{b:#x} at {at}");
                // A second one behind it, where a borrow could reach.
                if at + 1 < 24 {
                    bytes[at + 1] = b;
                    assert_eq!(value_length(&bytes), if value { 24 } else { at }, "{b:#x} at {at}");
                }
            }
        }
    }
}
