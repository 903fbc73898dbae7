//! Transformations of each byte by itself, and `length`.

use std::io::Write as _;

/// Whether any byte is such; blocks without a branch inside, which compile to
/// vector instructions.
pub(super) fn any(value: &[u8], such: impl Fn(u8) -> bool) -> bool {
    let mut blocks = value.chunks_exact(32);
    blocks.any(|block| block.iter().fold(false, |found, &byte| found | such(byte)))
        || blocks.remainder().iter().any(|&byte| such(byte))
}

/// Each byte's image.
pub(super) fn map(value: &[u8], out: &mut Vec<u8>, image: impl Fn(u8) -> u8) {
    out.extend(value.iter().map(|&byte| image(byte)));
}

/// All bytes but those.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>, such: impl Fn(u8) -> bool) {
    out.extend(value.iter().copied().filter(|&byte| !such(byte)));
}

pub(super) fn lower(byte: u8) -> u8 {
    byte.to_ascii_lowercase()
}

pub(super) fn upper(byte: u8) -> u8 {
    byte.to_ascii_uppercase()
}

/// The eighth bit becomes the parity of all eight, as in ModSecurity.
pub(super) fn parity_even(byte: u8) -> u8 {
    if byte.count_ones() % 2 == 1 { byte | 0x80 } else { byte & 0x7f }
}

pub(super) fn parity_odd(byte: u8) -> u8 {
    if byte.count_ones().is_multiple_of(2) { byte | 0x80 } else { byte & 0x7f }
}

pub(super) fn parity_zero(byte: u8) -> u8 {
    byte & 0x7f
}

/// The value's length in bytes, in decimal.
pub(super) fn length(value: &[u8], out: &mut Vec<u8>) {
    // Writing to a `Vec` cannot fail.
    let _ = write!(out, "{}", value.len());
}
