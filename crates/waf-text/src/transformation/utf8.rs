//! UTF-8 to `%uHHHH`.

use super::hex;

/// Each character beyond ASCII becomes `%u` and its code point in at least four
/// small digits. As in ModSecurity v3 an overlong form or a surrogate becomes
/// that too, followed by its first byte; a first byte without what must follow
/// vanishes; any other stray byte stays. Unlike there, NUL stays too.
pub(super) fn to_unicode(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = rest.iter().position(|&byte| byte >= 0x80) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let first = rest[0];
        let (length, mut code, least) = match first {
            0xc0..=0xdf => (2, u32::from(first & 0x1f), 0x80),
            0xe0..=0xef => (3, u32::from(first & 0x0f), 0x800),
            0xf0..=0xf4 => (4, u32::from(first & 0x07), 0x1_0000),
            _ => {
                out.push(first);
                rest = &rest[1..];
                continue;
            }
        };
        let followed = rest.get(1..length).filter(|tail| tail.iter().all(|byte| byte & 0xc0 == 0x80));
        let Some(tail) = followed else {
            rest = &rest[1..];
            continue;
        };
        for byte in tail {
            code = code << 6 | u32::from(byte & 0x3f);
        }
        write(code, out);
        if code < least || (0xd800..=0xdfff).contains(&code) {
            out.push(first);
        }
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

fn write(code: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(b"%u");
    let [_, high, middle, low] = code.to_be_bytes();
    // Beyond four digits none is a leading zero.
    if high > 0 {
        let two = hex::digits(high);
        out.extend_from_slice(if two[0] == b'0' { &two[1..] } else { &two });
    }
    out.extend_from_slice(&hex::digits(middle));
    out.extend_from_slice(&hex::digits(low));
}
