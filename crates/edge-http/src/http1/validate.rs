//! The loops that see most of a head's bytes, sixteen at a time.
//!
//! A block's bytes are classified without a branch between them, which the
//! compiler turns into SIMD: about ten instructions to learn that a block holds
//! nothing of note, twenty to learn where (counted with `examples/head.rs`).

use crate::guard::is_token;

/// How many bytes at the front are `tchar` (RFC 9110 §5.6.2).
#[inline]
pub(super) fn token_length(bytes: &[u8]) -> usize {
    // Nearly all names are letters and dashes; the table takes over at the first
    // byte that is neither.
    let mut at = match bytes.first_chunk() {
        Some(block) => first(block, |b| ((b | 0x20).wrapping_sub(b'a') >= 26) & (b != b'-')),
        None => 0,
    };
    while bytes.get(at).is_some_and(|&b| is_token(b)) {
        at += 1;
    }
    at
}

/// How many bytes at the front may stand in a field value: visible ones, blanks
/// and those above ASCII (`obs-text`), so all but controls (RFC 9110 §5.5).
#[inline]
pub(super) fn value_length(bytes: &[u8]) -> usize {
    let control = |b: u8| (b < b' ') | (b == 0x7F);
    let mut rest = bytes;
    while let Some((block, behind)) = rest.split_first_chunk() {
        if !any(block, control) {
            rest = behind;
            continue;
        }
        rest = &rest[first(block, control).min(BLOCK)..];
        match rest {
            [b'\t', behind @ ..] => rest = behind,
            _ => return bytes.len() - rest.len(),
        }
    }
    let ok = rest.iter().take_while(|&&b| b == b'\t' || !control(b)).count();
    bytes.len() - rest.len() + ok
}

/// Whether a target holds only bytes that clients send; see
/// [`crate::guard::target_bytes_ok`], which this is in blocks.
#[inline]
pub(super) fn target_ok(target: &[u8]) -> bool {
    // `|` and not `||`: a branch would keep the compiler from vectors.
    let never = |b: u8| (b.wrapping_sub(0x21) > 0x5D) | (b == b'#') | (b == b'"') | (b == b'<') | (b == b'>');
    let not_in_path = |b: u8| (b == b'`') | (b == b'\\');
    let (mut refused, mut look) = (false, false);
    match target.last_chunk() {
        None => {
            refused = target.iter().any(|&b| never(b));
            look = target.iter().any(|&b| not_in_path(b));
        }
        // The last block overlaps the one before: looking twice does no harm.
        Some(last) => {
            for block in target.as_chunks().0.iter().chain([last]) {
                refused |= any(block, never);
                look |= any(block, not_in_path);
            }
        }
    }
    if look {
        let path = memchr::memchr(b'?', target).unwrap_or(target.len());
        refused |= target[..path].iter().any(|&b| not_in_path(b));
    }
    !refused
}

const BLOCK: usize = 16;

/// Whether a byte of the block is such a one.
#[inline(always)]
fn any(block: &[u8; BLOCK], such: impl Fn(u8) -> bool) -> bool {
    block.iter().fold(0, |found, &b| found | u8::from(such(b))) != 0
}

/// Where the first such byte is; the block's length where none is.
#[inline(always)]
fn first(block: &[u8; BLOCK], such: impl Fn(u8) -> bool) -> usize {
    let mut marks = [0u8; BLOCK];
    for (mark, &b) in marks.iter_mut().zip(block) {
        *mark = if such(b) { 0xFF } else { 0 };
    }
    u128::from_le_bytes(marks).trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::target_bytes_ok;

    #[test]
    fn each_byte_at_each_place() {
        for b in 0..=255u8 {
            let (token, value) = (is_token(b), b == b'\t' || (b >= b' ' && b != 0x7F));
            for length in [1, 15, 16, 17, 40] {
                for at in 0..length {
                    let mut bytes = vec![b'a'; length];
                    bytes[at] = b;
                    assert_eq!(token_length(&bytes), if token { length } else { at }, "{b:#x} at {at}");
                    assert_eq!(value_length(&bytes), if value { length } else { at }, "{b:#x} at {at}");
                    assert_eq!(target_ok(&bytes), target_bytes_ok(&bytes), "{b:#x} at {at} of {length}");
                    bytes[length / 2] = b'?';
                    assert_eq!(target_ok(&bytes), target_bytes_ok(&bytes), "{b:#x} at {at}, with a query");
                }
            }
        }
        assert!(token_length(b"") == 0 && value_length(b"") == 0 && target_ok(b""));
    }
}
