//! Numbers as rules read them: C's `atoi`. Blanks, a sign, digits; whatever else
//! there is ends the number, and none is 0. Too large ones stay at the limit.

/// The number that a text begins with.
pub(crate) fn parse(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let mut number: i64 = 0;
    for byte in digits.iter().take_while(|byte| byte.is_ascii_digit()) {
        number = number.saturating_mul(10).saturating_add(i64::from(byte - b'0'));
    }
    if negative { -number } else { number }
}

/// Appends a number in decimal.
pub(crate) fn write(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_atoi() {
        let cases: &[(&[u8], i64)] = &[
            (b"", 0),
            (b"12", 12),
            (b" +7x", 7),
            (b"-3", -3),
            (b"x", 0),
            (b"99999999999999999999", i64::MAX),
        ];
        for &(text, number) in cases {
            assert_eq!(parse(text), number);
        }
        for number in [0, 5, -17, i64::MAX, i64::MIN] {
            let mut out = Vec::new();
            write(number, &mut out);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
