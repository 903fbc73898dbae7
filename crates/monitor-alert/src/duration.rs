//! Durations as Prometheus and Alertmanager write them: `1h30m`, `250ms`, `0`.

use std::fmt::Write as _;

/// The units, largest first (prometheus/common, `model.ParseDuration`).
const UNITS: [(&str, u64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration that Go's 64-bit nanoseconds hold, about 292 years.
const MAX_MS: u64 = 9_223_372_036_854;

/// Reads a duration; each unit at most once, in falling order. The error says
/// what Prometheus says.
pub fn parse(text: &str) -> Result<u64, String> {
    match text {
        "" => return Err("empty duration string".to_owned()),
        "0" => return Ok(0),
        _ => {}
    }
    let wrong = || format!("not a valid duration string: {text:?}");
    let mut rest = text;
    let mut total_ms = 0u64;
    let mut units = UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let after = &rest[digits..];
        let unit_len = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (_, unit_ms) = units.find(|(name, _)| *name == &after[..unit_len]).ok_or_else(wrong)?;
        if digits == 0 {
            return Err(wrong());
        }
        let range = || "duration out of range".to_owned();
        let count: u64 = rest[..digits].parse().map_err(|_| range())?;
        total_ms = count.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(range)?;
        if total_ms > MAX_MS {
            return Err(range());
        }
        rest = &after[unit_len..];
    }
    Ok(total_ms)
}

/// Writes a duration as Prometheus does: years, weeks and days only where they
/// are whole.
pub fn format(ms: u64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    let mut rest = ms;
    for (name, unit_ms) in UNITS {
        let exact = matches!(name, "y" | "w" | "d");
        if exact && !rest.is_multiple_of(unit_ms) {
            continue;
        }
        if rest >= unit_ms {
            // Writing to a `String` cannot fail.
            let _ = write!(out, "{}{name}", rest / unit_ms);
            rest %= unit_ms;
        }
    }
    out
}

/// Durations in YAML files.
pub(crate) trait ReadDuration {
    /// A duration in milliseconds; 0 where it is none, which is noted.
    fn duration(&mut self, node: &yaml_tree::Node, what: &str) -> u64;
}

impl ReadDuration for yaml_tree::Reader {
    fn duration(&mut self, node: &yaml_tree::Node, what: &str) -> u64 {
        let read =
            |text: &str| parse(text).map_err(|why| format!("{why}; hint: write it as `5m` or `1h30m`"));
        self.parsed(node, what, read).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn read_and_written() {
        let cases = [
            ("0", Ok(0), "0s"),
            ("5m", Ok(300_000), "5m"),
            ("1h30m", Ok(5_400_000), "1h30m"),
            ("1d", Ok(86_400_000), "1d"),
            ("25h", Ok(90_000_000), "25h"),
            ("1y2w3d4h5m6s7ms", Ok(33_019_506_007), "9172h5m6s7ms"),
            ("90s", Ok(90_000), "1m30s"),
            ("", Err("empty"), ""),
            ("5", Err("not a valid"), ""),
            ("1m1h", Err("not a valid"), ""),
            ("1m1m", Err("not a valid"), ""),
            ("-1m", Err("not a valid"), ""),
            ("1.5m", Err("not a valid"), ""),
            ("m", Err("not a valid"), ""),
            ("300y", Err("out of range"), ""),
            ("99999999999999999999s", Err("out of range"), ""),
        ];
        for (text, expected, written) in cases {
            match (parse(text), expected) {
                (Ok(ms), Ok(expected)) => {
                    assert_eq!(ms, expected, "{text}");
                    assert_eq!(format(ms), written, "{text}");
                    assert_eq!(parse(written), Ok(ms), "{text}");
                }
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{text}: {why}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
