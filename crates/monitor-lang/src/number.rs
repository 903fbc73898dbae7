//! Numbers: `1.5e3`, `0x1f`, `1_000`, `Inf`. Source: Prometheus manual,
//! "Querying basics", "Float literals and time durations".

use crate::quote::quote;

/// Reads what the lexer took for a number. As in Prometheus, and in Go, a whole
/// number that begins with `0` is octal where it can be.
pub(crate) fn parse(written: &str) -> Result<f64, String> {
    match written.to_ascii_lowercase().as_str() {
        "inf" => return Ok(f64::INFINITY),
        "nan" => return Ok(f64::NAN),
        _ => {}
    }
    let wrong =
        |why: &str| format!("error parsing number: strconv.ParseFloat: parsing {}: {why}", quote(written));
    let digits: String = written.chars().filter(|c| *c != '_').collect();
    if let Some(hexadecimal) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hexadecimal, 16)
            .map(|number| number as f64)
            .map_err(|_| wrong("invalid syntax"));
    }
    if digits.starts_with('0')
        && digits.len() > 1
        && let Ok(octal) = i64::from_str_radix(&digits, 8)
    {
        return Ok(octal as f64);
    }
    match digits.parse::<f64>() {
        Ok(number) if number.is_finite() => Ok(number),
        Ok(_) => Err(wrong("value out of range")),
        Err(_) => Err(wrong("invalid syntax")),
    }
}

/// As Go's `strconv.FormatFloat(x, 'f', -1, 64)`: the shortest that reads back
/// as the same number, without an exponent.
pub(crate) fn format(number: f64) -> String {
    match number {
        n if n.is_nan() => "NaN".into(),
        f64::INFINITY => "+Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        n => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read() {
        let cases = [
            ("1", 1.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1_000_000", 1e6),
            (".123_456_789", 0.123456789),
            ("0x_53_AB_F3_82", 1403777922.0),
            ("0X1f", 31.0),
            ("010", 8.0),
            ("08", 8.0),
            ("1e3", 1000.0),
            ("2E-2", 0.02),
            ("INF", f64::INFINITY),
        ];
        for (written, number) in cases {
            assert_eq!(parse(written), Ok(number), "{written}");
        }
        assert!(parse("NaN").unwrap().is_nan());
        for (written, why) in [
            ("1e999", "value out of range"),
            ("0x", "invalid syntax"),
            ("1..2", "invalid syntax"),
            ("0xffffffffffffffff", "invalid syntax"),
        ] {
            assert!(parse(written).unwrap_err().ends_with(why), "{written}");
        }
    }
}
