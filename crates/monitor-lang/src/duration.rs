//! Durations: `1h30m`. Source: Prometheus manual, "Querying basics", "Float
//! literals and time durations".

use crate::quote::quote;

/// Each unit, its milliseconds and whether it is only written where it alone
/// suffices: `90d` reads better than `12w6d`.
const UNITS: [(&str, u64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1000, false),
    ("ms", 1, false),
];

/// 64 bits of nanoseconds.
const MAX_MS: u64 = i64::MAX as u64 / 1_000_000;

/// Reads a duration (`5m`, `1h30m`, `100ms`, `0`) as milliseconds: whole
/// numbers, units from large to small, each at most once, less than 292 years.
pub fn parse_duration(text: &str) -> Result<i64, String> {
    match text {
        "0" => return Ok(0),
        "" => return Err("empty duration string".into()),
        _ => {}
    }
    let invalid = || format!("not a valid duration string: {}", quote(text));
    let mut units = UNITS.iter();
    let mut total = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().map_err(|_| invalid())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let unit = &rest[..letters];
        rest = &rest[letters..];
        if unit.is_empty() {
            return Err(invalid());
        }
        if !UNITS.iter().any(|(name, ..)| *name == unit) {
            return Err(format!("unknown unit {} in duration {}", quote(unit), quote(text)));
        }
        let (_, ms, _) = units.find(|(name, ..)| *name == unit).ok_or_else(invalid)?;
        total = number
            .checked_mul(*ms)
            .and_then(|more| total.checked_add(more))
            .filter(|total| *total <= MAX_MS)
            .ok_or("duration out of range")?;
    }
    Ok(total as i64)
}

/// Writes milliseconds as a duration, as Prometheus does: `0s`, `1h30m`, `-5m`.
pub fn format_duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".into();
    }
    let mut text = String::from(if ms < 0 { "-" } else { "" });
    let mut rest = ms.unsigned_abs();
    for (name, unit, alone) in UNITS {
        if rest >= unit && (!alone || rest.is_multiple_of(unit)) {
            text.push_str(&(rest / unit).to_string());
            text.push_str(name);
            rest %= unit;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read() {
        let cases = [
            ("0", Ok(0)),
            ("0s", Ok(0)),
            ("324ms", Ok(324)),
            ("3s", Ok(3000)),
            ("1h30m", Ok(5_400_000)),
            ("4d1h", Ok(97 * 3_600_000)),
            ("1y2w3d4h5m6s7ms", Ok(33_019_506_007)),
            ("292y", Ok(292 * 365 * 86_400_000)),
            ("", Err("empty duration string")),
            ("1", Err("not a valid duration string: \"1\"")),
            ("m", Err("not a valid duration string: \"m\"")),
            ("1m1h", Err("not a valid duration string: \"1m1h\"")),
            ("1m1m", Err("not a valid duration string: \"1m1m\"")),
            ("1.5h", Err("unknown unit \".\" in duration \"1.5h\"")),
            ("5ys", Err("unknown unit \"ys\" in duration \"5ys\"")),
            ("-5m", Err("not a valid duration string: \"-5m\"")),
            ("293y", Err("duration out of range")),
            ("99999999999999999999y", Err("not a valid duration string: \"99999999999999999999y\"")),
            ("9999999999999999999y", Err("duration out of range")),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text), expected.map_err(str::to_owned), "{text}");
        }
    }

    #[test]
    fn written() {
        let cases = [
            (0, "0s"),
            (1, "1ms"),
            (1000, "1s"),
            (90_000, "1m30s"),
            (5_400_000, "1h30m"),
            (86_400_000 * 7, "1w"),
            (86_400_000 * 8, "8d"),
            (86_400_000 * 365, "1y"),
            (86_400_000 * 372, "372d"),
            (-300_000, "-5m"),
            (i64::MIN, "-106751991167d7h12m55s808ms"),
        ];
        for (ms, text) in cases {
            assert_eq!(format_duration(ms), text);
        }
    }
}
