//! Hexadecimal.

/// The value of a hexadecimal digit.
pub(super) const fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// The byte two digits spell.
pub(super) const fn pair(high: u8, low: u8) -> Option<u8> {
    match (digit(high), digit(low)) {
        (Some(high), Some(low)) => Some(high << 4 | low),
        _ => None,
    }
}

/// The small digits of a byte.
pub(super) const fn digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [DIGITS[(byte >> 4) as usize], DIGITS[(byte & 15) as usize]]
}

pub(super) fn encode(value: &[u8], out: &mut Vec<u8>) {
    out.reserve(value.len() * 2);
    for &byte in value {
        out.extend_from_slice(&digits(byte));
    }
}

/// What is not pairs of digits throughout becomes nothing, as Coraza's cases
/// have it (RFC 4648 §8 and §3.3); ModSecurity v3 makes bytes of anything.
pub(super) fn decode(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    if !value.len().is_multiple_of(2) {
        return;
    }
    for two in value.chunks_exact(2) {
        match pair(two[0], two[1]) {
            Some(byte) => out.push(byte),
            None => return out.truncate(start),
        }
    }
}

/// `0x414243` within the value becomes `ABC`; an odd digit stays behind.
/// Unlike ModSecurity, whose strings end there, a NUL is a byte as any other.
pub(super) fn decode_sql(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = next_literal(rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 2..];
        while let [high, low, tail @ ..] = rest {
            let Some(byte) = pair(*high, *low) else { break };
            out.push(byte);
            rest = tail;
        }
    }
    out.extend_from_slice(rest);
}

/// Where `0x` stands with two digits behind it.
fn next_literal(value: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr::memchr2(b'x', b'X', &value[from..]) {
        let at = from + found;
        if at > 0
            && value[at - 1] == b'0'
            && value.get(at + 1).zip(value.get(at + 2)).is_some_and(|(&a, &b)| pair(a, b).is_some())
        {
            return Some(at - 1);
        }
        from = at + 1;
    }
    None
}
