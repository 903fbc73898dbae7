//! The same transformations again, written to be obviously right instead of
//! quick; `tests` holds the real ones against them.

use super::Transformation as T;

/// The transformed value. For `sha1` there is none: the library is the reference.
pub(super) fn apply(transformation: T, value: &[u8]) -> Option<Vec<u8>> {
    let text = |bytes: &[u8]| bytes.to_vec();
    Some(match transformation {
        T::Sha1 | T::Md5 => return None,
        T::Length => value.len().to_string().into_bytes(),
        T::Lowercase => value.to_ascii_lowercase(),
        T::Uppercase => value.to_ascii_uppercase(),
        T::ParityZero7bit => value.iter().map(|byte| byte % 128).collect(),
        T::ParityEven7bit => value.iter().map(|&byte| parity(byte, true)).collect(),
        T::ParityOdd7bit => value.iter().map(|&byte| parity(byte, false)).collect(),
        T::RemoveNulls => value.iter().copied().filter(|&byte| byte != 0).collect(),
        T::ReplaceNulls => value.iter().map(|&byte| if byte == 0 { b' ' } else { byte }).collect(),
        T::RemoveWhitespace => {
            value.iter().copied().filter(|byte| !b" \t\n\x0b\x0c\r\xa0\xc2".contains(byte)).collect()
        }
        T::CompressWhitespace => compress(value),
        T::CmdLine => cmd_line(value),
        T::Trim => trim_right(&trim_left(value)),
        T::TrimLeft => trim_left(value),
        T::TrimRight => trim_right(value),
        T::HexEncode => value.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect(),
        T::HexDecode => hex_decode(value).unwrap_or_default(),
        T::SqlHexDecode => sql_hex_decode(value),
        T::Base64Encode => base64_encode(value),
        T::Base64Decode => bits_to_bytes(base64_prefix(value)),
        T::Base64DecodeExt => base64_ext(value),
        T::UrlEncode => value.iter().flat_map(|&byte| url_encode(byte)).collect(),
        T::UrlDecode => scan(value, |rest| url(rest).or_else(|| plus(rest))),
        T::UrlDecodeUni => scan(value, |rest| iis(rest).or_else(|| url(rest)).or_else(|| plus(rest))),
        T::HtmlEntityDecode => scan(value, entity),
        T::CssDecode => scan(value, css),
        T::JsDecode => scan(value, js),
        T::EscapeSeqDecode => scan(value, ansi_c),
        T::Utf8ToUnicode => scan(value, utf8),
        T::ReplaceComments => replace_comments(&text(value)),
        T::RemoveCommentsChar => scan(value, |rest| {
            let marks: [&[u8]; 6] = [b"/*", b"*/", b"<!--", b"-->", b"--", b"#"];
            marks.iter().find(|mark| rest.starts_with(mark)).map(|mark| (vec![], mark.len()))
        }),
        T::RemoveComments => remove_comments(value),
        T::NormalizePath => normalize(value),
        T::NormalizePathWin => {
            normalize(&value.iter().map(|&byte| if byte == b'\\' { b'/' } else { byte }).collect::<Vec<_>>())
        }
    })
}

/// At each place, what `one` makes of the rest and how much of it; else the byte.
fn scan(value: &[u8], one: impl Fn(&[u8]) -> Option<(Vec<u8>, usize)>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < value.len() {
        let (bytes, used) = one(&value[at..]).unwrap_or((vec![value[at]], 1));
        out.extend(bytes);
        at += used;
    }
    out
}

fn parity(byte: u8, even: bool) -> u8 {
    let ones = format!("{byte:b}").matches('1').count();
    if (ones % 2 == 1) == even { byte % 128 + 128 } else { byte % 128 }
}

fn is_space(byte: u8) -> bool {
    b" \t\n\x0b\x0c\r".contains(&byte)
}

fn trim_left(value: &[u8]) -> Vec<u8> {
    value.iter().copied().skip_while(|&byte| is_space(byte)).collect()
}

fn trim_right(value: &[u8]) -> Vec<u8> {
    let mut value = value.to_vec();
    while value.last().is_some_and(|&byte| is_space(byte)) {
        value.pop();
    }
    value
}

fn compress(value: &[u8]) -> Vec<u8> {
    let mut value: Vec<u8> = value.iter().map(|&byte| if is_space(byte) { b' ' } else { byte }).collect();
    while let Some(at) = value.windows(2).position(|two| two == b"  ") {
        value.remove(at);
    }
    value
}

fn cmd_line(value: &[u8]) -> Vec<u8> {
    let mut value: Vec<u8> = value
        .iter()
        .copied()
        .filter(|byte| !b"\"'\\^".contains(byte))
        .map(|byte| if b",;\t\r\n".contains(&byte) { b' ' } else { byte.to_ascii_lowercase() })
        .collect();
    for pair in [b"  ", b" /", b" ("] {
        while let Some(at) = value.windows(2).position(|two| two == pair) {
            value.remove(at);
        }
    }
    value
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok()?;
    let all = digits.iter().all(u8::is_ascii_hexdigit);
    u32::from_str_radix(text, 16).ok().filter(|_| all)
}

fn hex_decode(value: &[u8]) -> Option<Vec<u8>> {
    value.chunks(2).map(|two| if two.len() == 2 { hex(two).map(|code| code as u8) } else { None }).collect()
}

fn sql_hex_decode(value: &[u8]) -> Vec<u8> {
    scan(value, |rest| {
        if !rest.starts_with(b"0x") && !rest.starts_with(b"0X") {
            return None;
        }
        let bytes: Vec<u8> =
            rest[2..].chunks_exact(2).map_while(|two| hex(two).map(|code| code as u8)).collect();
        let used = 2 + bytes.len() * 2;
        (!bytes.is_empty()).then_some((bytes, used))
    })
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn six_bits(byte: u8) -> Option<String> {
    let byte = match byte {
        b'-' => b'+',
        b'_' => b'/',
        byte => byte,
    };
    ALPHABET.iter().position(|&known| known == byte).map(|at| format!("{at:06b}"))
}

fn bits_to_bytes(bits: String) -> Vec<u8> {
    let whole = bits.len() / 8 * 8;
    (0..whole).step_by(8).map(|at| u8::from_str_radix(&bits[at..at + 8], 2).unwrap_or(0)).collect()
}

fn base64_prefix(value: &[u8]) -> String {
    value
        .iter()
        .filter(|byte| !b"\r\n".contains(byte))
        .take_while(|byte| ALPHABET.contains(byte))
        .filter_map(|&byte| six_bits(byte))
        .collect()
}

fn base64_ext(value: &[u8]) -> Vec<u8> {
    let mut bits = String::new();
    for &byte in value {
        if byte == b'=' && bits.len() / 6 % 4 == 1 {
            return vec![];
        }
        bits.push_str(&six_bits(byte).unwrap_or_default());
    }
    bits_to_bytes(bits)
}

fn base64_encode(value: &[u8]) -> Vec<u8> {
    let mut bits: String = value.iter().map(|byte| format!("{byte:08b}")).collect();
    while !bits.len().is_multiple_of(6) {
        bits.push('0');
    }
    let mut out: Vec<u8> = (0..bits.len())
        .step_by(6)
        .map(|at| ALPHABET[usize::from_str_radix(&bits[at..at + 6], 2).unwrap_or(0)])
        .collect();
    while !out.len().is_multiple_of(4) {
        out.push(b'=');
    }
    out
}

fn url_encode(byte: u8) -> Vec<u8> {
    match byte {
        b' ' => vec![b'+'],
        b'*' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => vec![byte],
        _ => format!("%{byte:02x}").into_bytes(),
    }
}

fn plus(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    rest.starts_with(b"+").then_some((vec![b' '], 1))
}

fn url(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let code = hex(rest.strip_prefix(b"%")?.get(..2)?)?;
    Some((vec![code as u8], 3))
}

fn iis(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let rest = rest.strip_prefix(b"%u").or_else(|| rest.strip_prefix(b"%U"))?;
    let code = hex(rest.get(..4)?)?;
    let byte = crate::unicode_map::best_fit(code).unwrap_or_else(|| full_width(code));
    Some((vec![byte], 6))
}

fn full_width(code: u32) -> u8 {
    if (0xff01..=0xff5e).contains(&code) { (code - 0xff00 + 0x20) as u8 } else { code as u8 }
}

fn entity(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let body = rest.strip_prefix(b"&")?;
    let run = |bytes: &[u8], such: fn(&u8) -> bool| bytes.iter().take_while(|byte| such(byte)).count();
    let end = |length: usize| length + usize::from(rest.get(length) == Some(&b';'));
    if let Some(digits) = body.strip_prefix(b"#x").or_else(|| body.strip_prefix(b"#X")) {
        let length = run(digits, u8::is_ascii_hexdigit);
        return (length > 0).then(|| (vec![saturated(&digits[..length], 16)], end(3 + length)));
    }
    if let Some(digits) = body.strip_prefix(b"#") {
        let length = run(digits, u8::is_ascii_digit);
        return (length > 0).then(|| (vec![saturated(&digits[..length], 10)], end(2 + length)));
    }
    let length = run(body, u8::is_ascii_alphanumeric);
    let byte = match body[..length].to_ascii_lowercase().as_slice() {
        b"quot" => b'"',
        b"amp" => b'&',
        b"lt" => b'<',
        b"gt" => b'>',
        b"nbsp" => 0xa0,
        _ => return None,
    };
    Some((vec![byte], end(1 + length)))
}

/// The low byte of what C's `strtol` makes of digits.
fn saturated(digits: &[u8], radix: u32) -> u8 {
    let digits = String::from_utf8_lossy(digits);
    match i64::from_str_radix(&digits, radix) {
        Ok(value) => value as u8,
        Err(_) => 0xff,
    }
}

fn css(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let body = rest.strip_prefix(b"\\")?;
    let digits = body.iter().take(6).take_while(|byte| byte.is_ascii_hexdigit()).count();
    if let Some(code) = hex(&body[..digits]) {
        let code = if (0xff01..=0xff5e).contains(&code) { u32::from(full_width(code)) } else { code };
        let point = if code == 0 { None } else { char::from_u32(code) };
        let blank = body.get(digits).is_some_and(|&byte| is_space(byte));
        let bytes = point.unwrap_or('\u{fffd}').to_string().into_bytes();
        return Some((bytes, 1 + digits + usize::from(blank)));
    }
    if body.starts_with(b"\r\n") {
        return Some((vec![], 3));
    }
    match body.first() {
        None => Some((vec![], 1)),
        Some(b'\r' | b'\n' | 0x0c) => Some((vec![], 2)),
        Some(&byte) => Some((vec![byte], 2)),
    }
}

fn named_escape(byte: u8) -> u8 {
    let from = b"abfnrtv";
    let to = b"\x07\x08\x0c\n\r\t\x0b";
    from.iter().position(|&known| known == byte).map_or(byte, |at| to[at])
}

fn octal(body: &[u8], most: usize) -> Option<(Vec<u8>, usize)> {
    let digits = body.iter().take(most).take_while(|byte| b"01234567".contains(byte)).count();
    let text = String::from_utf8_lossy(&body[..digits]).into_owned();
    let code = u32::from_str_radix(&text, 8).ok()?;
    Some((vec![(code % 256) as u8], 1 + digits))
}

fn js(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let body = rest.strip_prefix(b"\\")?;
    if let Some(code) = body.strip_prefix(b"u").and_then(|digits| hex(digits.get(..4)?)) {
        return Some((vec![full_width(code)], 6));
    }
    if let Some(code) = body.strip_prefix(b"x").and_then(|digits| hex(digits.get(..2)?)) {
        return Some((vec![code as u8], 4));
    }
    let most = if body.first().is_some_and(|byte| b"4567".contains(byte)) { 2 } else { 3 };
    octal(body, most).or_else(|| Some((vec![named_escape(*body.first()?)], 2)))
}

fn ansi_c(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let body = rest.strip_prefix(b"\\")?;
    let digits = body.strip_prefix(b"x").or_else(|| body.strip_prefix(b"X"));
    if let Some(code) = digits.and_then(|digits| hex(digits.get(..2)?)) {
        return Some((vec![code as u8], 4));
    }
    octal(body, 3).or_else(|| Some((vec![named_escape(*body.first()?)], 2)))
}

fn utf8(rest: &[u8]) -> Option<(Vec<u8>, usize)> {
    let first = *rest.first()?;
    let length = match first.leading_ones() {
        2 => 2,
        3 => 3,
        4 if first <= 0xf4 => 4,
        _ => return None,
    };
    let Some(all) = rest.get(..length).filter(|all| all[1..].iter().all(|byte| byte.leading_ones() == 1))
    else {
        return Some((vec![], 1));
    };
    let mut bits = format!("{first:08b}")[length + 1..].to_owned();
    for byte in &all[1..] {
        bits.push_str(&format!("{byte:08b}")[2..]);
    }
    let code = u32::from_str_radix(&bits, 2).unwrap_or(0);
    let mut spelt = format!("%u{code:04x}").into_bytes();
    let well_formed = char::from_u32(code).is_some_and(|point| point.len_utf8() == length);
    if !well_formed && code <= 0x10_ffff {
        spelt.push(first);
    }
    Some((spelt, length))
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn replace_comments(value: &[u8]) -> Vec<u8> {
    let Some(at) = find(value, b"/*") else { return value.to_vec() };
    let mut out = [&value[..at], b" "].concat();
    if let Some(end) = find(&value[at + 2..], b"*/") {
        out.extend(replace_comments(&value[at + 2 + end + 2..]));
    }
    out
}

fn remove_comments(value: &[u8]) -> Vec<u8> {
    let openers: [(&[u8], bool); 4] = [(b"/*", false), (b"<!--", false), (b"--", true), (b"#", true)];
    let first = openers.iter().filter_map(|(mark, all)| Some((find(value, mark)?, mark.len(), *all))).min();
    let Some((at, length, all)) = first else { return value.to_vec() };
    let mut out = value[..at].to_vec();
    if all {
        return out;
    }
    let inside = &value[at + length..];
    let closers: [&[u8]; 2] = [b"*/", b"-->"];
    let close = closers.iter().filter_map(|mark| Some((find(inside, mark)?, mark.len()))).min();
    match close {
        None => out.push(b' '),
        Some((end, length)) => match inside[end + length..].split_first() {
            None => out.push(0),
            Some((&byte, tail)) => {
                out.push(byte);
                out.extend(remove_comments(tail));
            }
        },
    }
    out
}

fn normalize(value: &[u8]) -> Vec<u8> {
    let Some(&last) = value.last() else { return vec![] };
    let absolute = value[0] == b'/';
    let mut kept: Vec<&[u8]> = Vec::new();
    for segment in value.split(|&byte| byte == b'/') {
        if segment == b".." && kept.last().is_some_and(|last| *last != b"..") {
            kept.pop();
        } else if !(segment.is_empty() || segment == b"." || (segment == b".." && absolute)) {
            kept.push(segment);
        }
    }
    let mut out = kept.join(&b'/');
    if last == b'/' && !out.is_empty() {
        out.push(b'/');
    }
    if absolute {
        out.insert(0, b'/');
    }
    out
}
