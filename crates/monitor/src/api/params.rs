//! Times and durations as Prometheus' API takes them.

use base::Millis;

/// The earliest time that a request may mean: the epoch.
pub(crate) const MIN_MS: i64 = 0;

/// The latest: the last millisecond of the year 9999.
pub(crate) const MAX_MS: i64 = 253_402_300_799_999;

/// Unix seconds with a fraction, or RFC 3339; in Unix milliseconds.
pub(crate) fn time_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid timestamp");
    if let Ok(seconds) = text.parse::<f64>() {
        let at_ms = (seconds * 1_000.0).round();
        // What lies beyond is meant as "from the beginning" and "until the end".
        return if at_ms.is_nan() { Err(wrong()) } else { Ok((at_ms.clamp(-1e17, 1e17)) as i64) };
    }
    text.parse::<jiff::Timestamp>().map(jiff::Timestamp::as_millisecond).map_err(|_| wrong())
}

/// Seconds with a fraction, or `1m30s`; in milliseconds.
pub(crate) fn duration_ms(text: &str) -> Result<i64, String> {
    let wrong = || format!("cannot parse {text:?} to a valid duration");
    if let Ok(seconds) = text.parse::<f64>() {
        let ms = (seconds * 1_000.0).round();
        return if ms.abs() <= 1e15 { Ok(ms as i64) } else { Err(wrong()) };
    }
    // Prometheus knows years, too: 365 days.
    let (years, rest) = match text.split_once('y') {
        Some((years, rest)) => (years.parse::<u32>().map_err(|_| wrong())?, rest),
        None => (0, text),
    };
    let rest_ms = if rest.is_empty() && years > 0 { 0 } else { Millis::parse(rest).map_err(|_| wrong())?.0 };
    let total_ms = u64::from(years) * 31_536_000_000 + rest_ms.min(1 << 60);
    i64::try_from(total_ms).ok().filter(|ms| *ms <= 1_000_000_000_000_000).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let cases = [
            ("1435781451.781", Some(1_435_781_451_781)),
            ("0", Some(0)),
            ("1e3", Some(1_000_000)),
            ("2015-06-03T13:21:58.555Z", Some(1_433_337_718_555)),
            ("2015-06-03T14:21:58.555+01:00", Some(1_433_337_718_555)),
            ("-9223372036854775808", Some(-100_000_000_000_000_000)),
            ("NaN", None),
            ("30s", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(time_ms(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn durations() {
        let cases = [
            ("15", Some(15_000)),
            ("0.5", Some(500)),
            ("-1", Some(-1_000)),
            ("5m", Some(300_000)),
            ("1h30m", Some(5_400_000)),
            ("1y", Some(31_536_000_000)),
            ("1y2d", Some(31_708_800_000)),
            ("1e40", None),
            ("999999y", None),
            ("abc", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(duration_ms(text).ok(), expected, "{text}");
        }
    }
}
