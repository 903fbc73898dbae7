//! What attackers do to a payload so that a rule does not know it again.

use super::random::Random;

/// One way, and its name in reports.
type Way = (&'static str, fn(&Random, &[u8]) -> Vec<u8>);

const WAYS: &[Way] = &[
    ("case", case),
    ("percent", |r, p| encode(r, p, percent)),
    ("percent-twice", |r, p| encode(r, p, |b| percent_all(&percent(b)))),
    ("percent-u", |r, p| encode(r, p, |b| format!("%u{:04x}", b).into_bytes())),
    ("full-width", full_width),
    ("entity-dec", |r, p| encode(r, p, |b| format!("&#{b};").into_bytes())),
    ("entity-hex", |r, p| encode(r, p, |b| format!("&#x{b:x};").into_bytes())),
    ("entity-no-end", |r, p| encode(r, p, |b| format!("&#x{b:02x}").into_bytes())),
    ("entity-name", entity_name),
    ("backslash-x", |r, p| encode(r, p, |b| format!("\\x{b:02x}").into_bytes())),
    ("backslash-u", |r, p| encode(r, p, |b| format!("\\u{b:04x}").into_bytes())),
    ("backslash-octal", |r, p| encode(r, p, |b| format!("\\{b:03o}").into_bytes())),
    ("css-escape", |r, p| encode(r, p, |b| format!("\\{b:x} ").into_bytes())),
    ("comment", |r, p| blanks(r, p, &[b"/**/", b"/*x*/", b"/*!*/", b" -- \n", b"#\n", b"/*!50000 */"])),
    ("blank", |r, p| {
        blanks(r, p, &[b"\t", b"\n", b"\r\n", b"\x0b", b"\x0c", b"\xa0", b"  ", b"+", b"${IFS}", b"%20"])
    }),
    ("sql-comment-inside", |r, p| insert(r, p, &[b"/**/", b"/*", b"*/", b"--", b"#"])),
    ("shell-splits", |r, p| insert(r, p, &[b"\\", b"''", b"\"\"", b"$@", b"${x}", b"^", b"`"])),
    ("nul", |r, p| insert(r, p, &[b"\0", b"%00", b"\\0"])),
    ("punctuation", |r, p| {
        insert(
            r,
            p,
            &[
                b"'", b"\"", b"`", b";", b")", b"(", b"|", b"&", b"=", b"<", b">", b"{", b"}", b"\\", b"$",
                b"/", b"..", b"@", b"%", b",", b":", b"~", b"!", b"*", b"?", b"[",
            ],
        )
    }),
    ("path-walk", |r, p| insert(r, p, &[b"../", b"..\\", b"/./", b"//", b"..;/", b"%2e%2e/", b"..%c0%af"])),
    ("overlong", |r, p| encode(r, p, |b| vec![0xc0 | (b >> 6), 0x80 | (b & 0x3f)])),
    ("flip", flip),
    ("drop", |r, p| {
        let mut out = p.to_vec();
        if !out.is_empty() {
            out.remove(r.below(out.len()));
        }
        out
    }),
    ("cut", |r, p| p[..r.below(p.len() + 1)].to_vec()),
    ("tail", |r, p| p[r.below(p.len() + 1)..].to_vec()),
    ("twice", |_, p| [p, b" ", p].concat()),
    ("base64", |_, p| base64(p)),
    ("in-words", |r, p| [r.pick(WORDS), b" ", p, b" ", r.pick(WORDS)].concat()),
    ("quoted", |r, p| {
        let quote: &[u8] = r.pick(&[&b"'"[..], b"\"", b"`", b"')", b"'))", b"1'"]);
        [quote, p, quote].concat()
    }),
    ("concat", concat),
    ("reverse", |_, p| p.iter().rev().copied().collect()),
    ("char-call", char_call),
];

const WORDS: &[&[u8]] =
    &[b"the", b"order", b"1", b"hello", b"x", b"our garden", b"null", b"2026-01-01", b"a@b.example"];

/// Up to four ways, one after the other, and their names.
pub(super) fn mutate(random: &Random, payload: &[u8]) -> (Vec<u8>, Vec<&'static str>) {
    let mut out = payload.to_vec();
    let mut names = Vec::new();
    // A fifth stays as it is.
    for _ in 0..random.pick(&[0, 1, 1, 2, 3]) {
        let (name, way) = random.pick(WAYS);
        out = way(random, &out);
        names.push(name);
        out.truncate(4_000);
    }
    (out, names)
}

/// `%41`.
fn percent(byte: u8) -> Vec<u8> {
    format!("%{byte:02x}").into_bytes()
}

fn percent_all(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|&b| if b == b'%' { b"%25".to_vec() } else { vec![b] }).collect()
}

/// Some bytes, all, or those that are no letters or digits, as `as_what` writes them.
fn encode(random: &Random, payload: &[u8], as_what: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    let share = random.pick(&[10, 30, 100, 0]);
    let mut out = Vec::new();
    for &byte in payload {
        let this = if share == 0 { !byte.is_ascii_alphanumeric() } else { random.chance(share) };
        if this { out.extend(as_what(byte)) } else { out.push(byte) }
    }
    out
}

fn case(random: &Random, payload: &[u8]) -> Vec<u8> {
    payload
        .iter()
        .map(|b| if random.chance(50) { b ^ (u8::from(b.is_ascii_alphabetic()) << 5) } else { *b })
        .collect()
}

/// ASCII as its full-width forms, U+FF01 to U+FF5E, in UTF-8.
fn full_width(random: &Random, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in payload {
        if (0x21..=0x7e).contains(&byte) && random.chance(30) {
            let wide = char::from_u32(0xff00 + u32::from(byte) - 0x20).unwrap_or('?');
            out.extend(wide.to_string().bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

fn entity_name(random: &Random, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in payload {
        let name: &[u8] = match byte {
            b'<' => b"&lt;",
            b'>' => b"&gt;",
            b'"' => b"&quot;",
            b'&' => b"&amp;",
            b' ' => b"&nbsp;",
            b'(' => b"&lpar;",
            b':' => b"&colon;",
            b'\t' => b"&Tab;",
            _ => b"",
        };
        if name.is_empty() || random.chance(30) { out.push(byte) } else { out.extend_from_slice(name) }
    }
    out
}

fn blanks(random: &Random, payload: &[u8], instead: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for &byte in payload {
        if byte == b' ' && random.chance(80) {
            out.extend_from_slice(random.pick(instead))
        } else {
            out.push(byte)
        }
    }
    out
}

fn insert(random: &Random, payload: &[u8], what: &[&[u8]]) -> Vec<u8> {
    let mut out = payload.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(out.len() + 1);
        out.splice(at..at, random.pick(what).iter().copied());
    }
    out
}

fn flip(random: &Random, payload: &[u8]) -> Vec<u8> {
    let mut out = payload.to_vec();
    if !out.is_empty() {
        let at = random.below(out.len());
        out[at] = random.next() as u8;
    }
    out
}

/// `'ab'||'cd'`, `"ab"+"cd"`, `'ab' 'cd'`.
fn concat(random: &Random, payload: &[u8]) -> Vec<u8> {
    let (one, other) = payload.split_at(random.below(payload.len() + 1));
    let glue: &[u8] = random.pick(&[&b"'||'"[..], b"\"+\"", b"' '", b"'+'", b"\".\"", b"','"]);
    [one, glue, other].concat()
}

/// The first bytes as a call: `CHAR(97,98)`, `String.fromCharCode(97,98)`, `chr(97).chr(98)`.
fn char_call(random: &Random, payload: &[u8]) -> Vec<u8> {
    let (head, rest) = payload.split_at(payload.len().min(1 + random.below(12)));
    let numbers: Vec<String> = head.iter().map(u8::to_string).collect();
    let call = match random.below(3) {
        0 => format!("CHAR({})", numbers.join(",")),
        1 => format!("String.fromCharCode({})", numbers.join(",")),
        _ => numbers.iter().map(|n| format!("chr({n})")).collect::<Vec<_>>().join("."),
    };
    [call.as_bytes(), rest].concat()
}

/// RFC 4648 §4.
pub(super) fn base64(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = Vec::new();
    for chunk in bytes.chunks(3) {
        let number = chunk.iter().fold(0u32, |n, b| n << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let digit = DIGITS[(number >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { digit } else { b'=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_as_in_the_rfc() {
        // RFC 4648 §10.
        for (input, expected) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(base64(input.as_bytes()), expected.as_bytes());
        }
    }

    #[test]
    fn a_seed_gives_the_same_again_and_every_way_takes_anything() {
        let run = |seed| mutate(&Random::new(seed), b"1' OR sleep(5)-- ");
        assert_eq!(run(7), run(7));
        for payload in [&b""[..], b"\0", b"\xff\xfe", b"<script>alert(1)</script>"] {
            for (_, way) in WAYS {
                for seed in 0..50 {
                    way(&Random::new(seed), payload);
                }
            }
        }
    }
}
