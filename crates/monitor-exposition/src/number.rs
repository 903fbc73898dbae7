//! Numbers as expositions write them: read exactly and fast, written as Go does.

/// Powers of ten that a double holds exactly.
const EXACT: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// A number as OpenMetrics' ABNF and Go's `strconv.ParseFloat` have it; hexadecimal
/// ones and underscores are refused, as Prometheus does.
///
/// Short decimal numbers take a way of their own: where the digits are below 2⁵³
/// and the power of ten is at most 22, both are exact doubles, and IEEE 754 rounds
/// their product or quotient correctly (Clinger 1990). The rest goes to the
/// standard library, whose results are the same.
pub fn parse_float(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text.first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let mut mantissa: u64 = 0;
    let mut at = 0;
    while let Some(digit) = digit(digits, at) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
        at += 1;
    }
    let mut count = at;
    let mut exponent = 0i32;
    if digits.get(at) == Some(&b'.') {
        at += 1;
        let from = at;
        while let Some(digit) = digit(digits, at) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(digit);
            at += 1;
        }
        count += at - from;
        // More digits than an i32 could count take the slow way below.
        exponent = -i32::try_from(at - from).unwrap_or(i32::MAX);
    }
    if at < digits.len() && matches!(digits[at], b'e' | b'E') && count > 0 {
        let (sign, mut place) = match digits.get(at + 1) {
            Some(b'-') => (-1, at + 2),
            Some(b'+') => (1, at + 2),
            _ => (1, at + 1),
        };
        let from = place;
        let mut power = 0i32;
        while let Some(digit) = digit(digits, place) {
            power = power.saturating_mul(10).saturating_add(digit as i32);
            place += 1;
        }
        if place == from {
            return None;
        }
        exponent = exponent.saturating_add(sign * power);
        at = place;
    }
    // 19 digits never wrap a u64.
    if at == digits.len() && count > 0 && count <= 19 && mantissa <= 1 << 53 && exponent.abs() <= 22 {
        let value = mantissa as f64;
        let power = EXACT[exponent.unsigned_abs() as usize];
        let value = if exponent < 0 { value / power } else { value * power };
        return Some(if negative { -value } else { value });
    }
    slow(text)
}

#[inline]
fn digit(bytes: &[u8], at: usize) -> Option<u64> {
    let digit = bytes.get(at)?.wrapping_sub(b'0');
    (digit < 10).then_some(u64::from(digit))
}

#[cold]
fn slow(text: &[u8]) -> Option<f64> {
    // `nan` takes no sign in the grammar, and the standard library would take one.
    let signed = matches!(text.first(), Some(b'+' | b'-'));
    if signed && text.get(1..4).is_some_and(|rest| rest.eq_ignore_ascii_case(b"nan")) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    Some(if value.is_nan() { f64::NAN } else { value })
}

/// A time in whole milliseconds.
pub(crate) fn parse_integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// A time in seconds (OpenMetrics 1.0 "Timestamps"), to milliseconds; beyond what
/// 64 bits hold it is the largest or smallest.
pub(crate) fn parse_seconds(text: &[u8]) -> Option<i64> {
    let seconds = parse_float(text)?;
    // `as` saturates.
    seconds.is_finite().then(|| (seconds * 1000.0).round() as i64)
}

/// As Go's `strconv.FormatFloat(value, 'g', -1, 64)` writes it, and with it
/// Prometheus: the shortest digits that read back to the same number.
pub fn go_float(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    let power: i32 = exponent.parse().unwrap_or(0);
    // `strconv/ftoa.go`: an exponent is written below 10⁻⁴ and from 10⁶ on, where
    // the digits are the shortest ones.
    if (-4..6).contains(&power) {
        return format!("{value}");
    }
    let sign = if power < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", power.abs())
}

/// The canonical form of a bucket's bound or a quantile (OpenMetrics 1.0
/// "Considerations: Canonical Numbers"): as Go's `%g`, with `.0` where there is
/// neither point nor exponent.
pub fn canonical(value: f64) -> String {
    if !value.is_finite() {
        return go_float(value);
    }
    let mut text = go_float(value);
    if !text.contains(['.', 'e']) {
        text.push_str(".0");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_exactly() {
        let cases: &[(&str, Option<f64>)] = &[
            ("0", Some(0.0)),
            ("-0", Some(-0.0)),
            ("+1", Some(1.0)),
            ("0000000000000000000000000000000000000000001.2e-1", Some(0.12)),
            ("1.", Some(1.0)),
            (".5", Some(0.5)),
            ("5e3", Some(5000.0)),
            ("1E+2", Some(100.0)),
            ("9007199254740993", Some(9007199254740992.0)),
            ("9223372036854775808", Some(9223372036854775808.0)),
            ("0.3", Some(0.3)),
            ("123456789.123456789", Some(123_456_789.123_456_79)),
            ("1e308", Some(1e308)),
            ("1e400", Some(f64::INFINITY)),
            ("1e-400", Some(0.0)),
            ("1e99999999999999", Some(f64::INFINITY)),
            ("Inf", Some(f64::INFINITY)),
            ("+iNf", Some(f64::INFINITY)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("", None),
            ("+", None),
            (".", None),
            ("e5", None),
            (".e5", None),
            ("1e", None),
            ("1e+", None),
            ("1.1.1", None),
            ("1z", None),
            ("0x1", None),
            ("0x1p-3", None),
            ("1_000", None),
            ("+nan", None),
            ("1 ", None),
        ];
        for (text, expected) in cases {
            let got = parse_float(text.as_bytes());
            assert_eq!(got.map(f64::to_bits), expected.map(f64::to_bits), "{text}: {got:?}");
        }
        assert!(parse_float(b"NaN").is_some_and(f64::is_nan));
        assert!(parse_float(b"nan").is_some_and(f64::is_nan));
    }

    proptest::proptest! {
        #[test]
        fn the_fast_way_is_the_slow_one(text in "[+-]?[0-9]{0,21}(\\.[0-9]{0,21})?([eE][+-]?[0-9]{1,3})?") {
            let expected: Option<f64> = text.parse().ok();
            let got = parse_float(text.as_bytes());
            proptest::prop_assert_eq!(got.map(f64::to_bits), expected.map(f64::to_bits), "{}", text);
        }

        #[test]
        fn written_numbers_read_back(bits: u64) {
            let value = f64::from_bits(bits);
            let got = parse_float(go_float(value).as_bytes()).unwrap();
            proptest::prop_assert!(got == value || got.is_nan() && value.is_nan(), "{}", value);
        }
    }

    #[test]
    fn written_as_go_does() {
        let cases = [
            (0.0, "0", "0.0"),
            (1.0, "1", "1.0"),
            (-1.5, "-1.5", "-1.5"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "1e-05", "1e-05"),
            (100_000.0, "100000", "100000.0"),
            (123_456.7, "123456.7", "123456.7"),
            (1e6, "1e+06", "1e+06"),
            (2_478_268_416.0, "2.478268416e+09", "2.478268416e+09"),
            (1e23, "1e+23", "1e+23"),
            (1e-100, "1e-100", "1e-100"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN"),
        ];
        for (value, plain, bound) in cases {
            assert_eq!((go_float(value).as_str(), canonical(value).as_str()), (plain, bound));
        }
    }
}
