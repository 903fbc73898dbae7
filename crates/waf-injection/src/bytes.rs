//! Eight bytes at a time, without calls: most values are shorter than a call is worth.

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Up to eight bytes as a number, the first lowest; zeros above.
#[inline]
pub(crate) fn load(text: &[u8]) -> u64 {
    fn two(text: &[u8]) -> u64 {
        u64::from(u16::from_le_bytes([text[0], text[1]]))
    }
    fn four(text: &[u8]) -> u64 {
        u64::from(u32::from_le_bytes([text[0], text[1], text[2], text[3]]))
    }
    let len = text.len();
    if let Some(eight) = text.first_chunk::<8>() {
        u64::from_le_bytes(*eight)
    } else if len >= 4 {
        four(text) | four(&text[len - 4..]) << ((len - 4) * 8)
    } else if len >= 2 {
        two(text) | two(&text[len - 2..]) << ((len - 2) * 8)
    } else {
        text.first().map_or(0, |&byte| u64::from(byte))
    }
}

/// Eight bytes, their ASCII letters in capitals.
#[inline]
pub(crate) const fn upper(bytes: u64) -> u64 {
    bytes ^ (in_range(bytes, b'a', b'z') >> 2)
}

/// The high bit of each byte that lies between two ASCII bytes.
#[inline]
const fn in_range(bytes: u64, first: u8, last: u8) -> u64 {
    let low = bytes & !HIGH;
    let from_first = low + (0x80 - first as u64) * ONES;
    let beyond_last = low + (0x7f - last as u64) * ONES;
    from_first & !beyond_last & !bytes & HIGH
}

/// Whether every byte of a text passes, eight at a time; `fill` is one that does.
#[inline]
fn all(text: &[u8], fill: u8, passes: impl Fn(u64) -> bool) -> bool {
    let len = text.len();
    if len < 8 {
        let filled = load(text) | (u64::from(fill) * ONES) << (len * 8);
        return passes(filled);
    }
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        if !passes(u64::from_le_bytes(*eight)) {
            return false;
        }
        rest = behind;
    }
    // What is left, and some bytes before it once more.
    rest.is_empty() || text.last_chunk::<8>().is_some_and(|eight| passes(u64::from_le_bytes(*eight)))
}

/// Whether there are only ASCII letters, digits and `_`.
#[inline]
pub(crate) fn is_identifier(text: &[u8]) -> bool {
    all(text, b'0', |bytes| {
        let letters = in_range(bytes | (0x20 * ONES), b'a', b'z');
        letters | in_range(bytes, b'0', b'9') | in_range(bytes, b'_', b'_') == HIGH
    })
}

/// Whether there is neither `<` nor `=`.
#[inline]
pub(crate) fn lacks_tag_and_value(text: &[u8]) -> bool {
    all(text, b'0', |bytes| {
        // The two differ in the lowest bit.
        let differ = (bytes | ONES) ^ (b'=' as u64 * ONES);
        differ.wrapping_sub(ONES) & !differ & HIGH == 0
    })
}

/// Which of some bytes, none of them NUL, occur in a text.
#[inline]
pub(crate) fn occur<const N: usize>(text: &[u8], bytes: [u8; N]) -> [bool; N] {
    let mut found = [0; N];
    let mut look = |eight: u64| {
        for (found, byte) in found.iter_mut().zip(bytes) {
            let differ = eight ^ (u64::from(byte) * ONES);
            *found |= differ.wrapping_sub(ONES) & !differ & HIGH;
        }
    };
    let mut rest = text;
    while let Some((eight, behind)) = rest.split_first_chunk::<8>() {
        look(u64::from_le_bytes(*eight));
        rest = behind;
    }
    look(load(rest));
    found.map(|found| found != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loading_keeps_the_order() {
        let text = b"abcdefgh";
        for len in 0..=8 {
            let mut expected = [0; 8];
            expected[..len].copy_from_slice(&text[..len]);
            assert_eq!(load(&text[..len]).to_le_bytes(), expected);
        }
    }

    #[test]
    fn capitals_are_of_ascii_letters_only() {
        for byte in 0..=255u8 {
            let bytes = u64::from_le_bytes([byte; 8]);
            assert_eq!(upper(bytes).to_le_bytes(), [byte.to_ascii_uppercase(); 8]);
        }
    }

    /// Every byte at every place of texts of every length up to three times eight.
    #[test]
    fn every_byte_counts() {
        for len in 0..=24 {
            let text = vec![b'a'; len];
            assert!(is_identifier(&text) && lacks_tag_and_value(&text));
            for at in 0..len {
                for byte in 0..=255u8 {
                    let mut text = text.clone();
                    text[at] = byte;
                    assert_eq!(is_identifier(&text), byte.is_ascii_alphanumeric() || byte == b'_');
                    assert_eq!(lacks_tag_and_value(&text), !matches!(byte, b'<' | b'='));
                    assert_eq!(occur(&text, *b"'b"), [byte == b'\'', byte == b'b']);
                }
            }
        }
    }
}
