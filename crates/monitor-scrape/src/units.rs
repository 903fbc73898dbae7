//! Durations and sizes as Prometheus' configuration writes them.

/// Milliseconds of each unit, largest first (`model.ParseDuration`).
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 86_400_000),
    ("w", 7 * 86_400_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Reads `15s`, `1h30m`, `0`; units descend, each once. In milliseconds.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    if text == "0" {
        return Ok(0);
    }
    let wrong = || format!("`{text}` is not a duration; hint: write it as `15s`, `5m` or `1h30m`");
    let (mut rest, mut total, mut next) = (text, 0u64, 0);
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = UNITS[next..].iter().position(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?;
        total = number
            .checked_mul(UNITS[next + unit].1)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(wrong)?;
        next += unit + 1;
        rest = &rest[letters..];
    }
    Ok(total)
}

/// As Prometheus writes it back (`model.Duration`): years and weeks only where
/// nothing would be left.
pub fn format_duration(milliseconds: u64) -> String {
    if milliseconds == 0 {
        return "0s".to_owned();
    }
    let mut rest = milliseconds;
    let mut out = String::new();
    for (name, factor) in UNITS {
        let exact = matches!(name, "y" | "w");
        if rest < factor || exact && !rest.is_multiple_of(factor) {
            continue;
        }
        out.push_str(&format!("{}{name}", rest / factor));
        rest %= factor;
    }
    out
}

/// Reads `10MB`, `1GiB`, `0`: every unit counts in powers of 1,024, as Prometheus'
/// `units.Base2Bytes` has it.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size; hint: write it as `10MB`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let unit = text[digits..].trim();
    let power = match unit.strip_suffix('B').map(|unit| unit.strip_suffix('i').unwrap_or(unit)) {
        None if unit.is_empty() => 0,
        Some("") => 0,
        Some("K" | "k") => 1,
        Some("M") => 2,
        Some("G") => 3,
        Some("T") => 4,
        Some("P") => 5,
        Some("E") => 6,
        _ => return Err(wrong()),
    };
    number.checked_mul(1 << (10 * power)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases = [
            ("0", Some(0)),
            ("15s", Some(15_000)),
            ("1h30m", Some(5_400_000)),
            ("1m500ms", Some(60_500)),
            ("1y", Some(31_536_000_000)),
            ("2w", Some(1_209_600_000)),
            ("", None),
            ("15", None),
            ("1.5s", None),
            ("1s1m", None),
            ("1s1s", None),
            ("-1s", None),
            ("99999999999999999999s", None),
            ("9999999999y", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_duration(text).ok(), expected, "{text}");
        }
        for text in ["15s", "1h30m", "1m500ms", "1y", "2w", "8d", "1d1h"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }

    #[test]
    fn sizes() {
        let cases = [
            ("0", Some(0)),
            ("10MB", Some(10 << 20)),
            ("10MiB", Some(10 << 20)),
            ("1KB", Some(1024)),
            ("7B", Some(7)),
            ("MB", None),
            ("1XB", None),
            ("99999999EB", None),
            ("-1", None),
        ];
        for (text, expected) in cases {
            assert_eq!(parse_size(text).ok(), expected, "{text}");
        }
    }
}
