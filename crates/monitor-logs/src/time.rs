//! The times of log lines.

/// The first millisecond of the year 10000.
pub(crate) const END_MS: i64 = 253_402_300_800_000;

/// `10/Oct/2000:13:55:36 -0700` (Apache's `%t` without its brackets, nginx'
/// `$time_local`).
pub(crate) fn common(text: &[u8]) -> Option<i64> {
    let text: &[u8; 26] = text.try_into().ok()?;
    if text[2] != b'/' || text[6] != b'/' || text[11] != b':' || text[14] != b':' || text[17] != b':' {
        return None;
    }
    let month = match &text[3..6] {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    };
    let seconds = seconds(
        number(&text[7..11])?,
        month,
        number(&text[..2])?,
        [number(&text[12..14])?, number(&text[15..17])?, number(&text[18..20])?],
    )?;
    let offset = minutes(text[21], [text[22], text[23], text[24], text[25]])?;
    Some((seconds - offset) * 1_000)
}

/// RFC 3339, and ISO 8601 as nginx' `$time_iso8601` has it: `2000-10-10T13:55:36.5+02:00`.
pub(crate) fn iso(text: &[u8]) -> Option<i64> {
    if text.len() < 20 || text[4] != b'-' || text[7] != b'-' || !matches!(text[10], b'T' | b't' | b' ') {
        return None;
    }
    let clock = [number(&text[11..13])?, number(&text[14..16])?, number(&text[17..19])?];
    let seconds = seconds(number(&text[..4])?, number(&text[5..7])?, number(&text[8..10])?, clock)?;
    let mut rest = &text[19..];
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix(b".").or_else(|| rest.strip_prefix(b",")) {
        let digits = fraction.iter().take_while(|b| b.is_ascii_digit()).count();
        for place in 0..3 {
            ms = ms * 10 + fraction[..digits].get(place).map_or(0, |d| i64::from(d - b'0'));
        }
        rest = &fraction[digits..];
    }
    let offset = match rest {
        b"Z" | b"z" => 0,
        [sign, h1, h2, b':', m1, m2] | [sign, h1, h2, m1, m2] => minutes(*sign, [*h1, *h2, *m1, *m2])?,
        [sign, h1, h2] => minutes(*sign, [*h1, *h2, b'0', b'0'])?,
        _ => return None,
    };
    Some((seconds - offset) * 1_000 + ms)
}

/// The seconds of a zone's offset.
fn minutes(sign: u8, digits: [u8; 4]) -> Option<i64> {
    let (hours, minutes) = (number(&digits[..2])?, number(&digits[2..])?);
    let offset = hours * 3_600 + minutes * 60;
    match sign {
        _ if hours > 23 || minutes > 59 => None,
        b'+' => Some(offset),
        b'-' => Some(-offset),
        _ => None,
    }
}

/// Unix seconds of a date and a time of day.
fn seconds(year: i64, month: i64, day: i64, [hour, minute, second]: [i64; 3]) -> Option<i64> {
    // 60 is a leap second, told as the next one.
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", days_from_civil.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then(|| sum * 10 + i64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_logs_write_them() {
        let common_cases: &[(&str, Option<i64>)] = &[
            ("10/Oct/2000:13:55:36 -0700", Some(971_211_336_000)),
            ("01/Jan/1970:00:00:00 +0000", Some(0)),
            ("29/Feb/2024:23:59:60 +0530", Some(1_709_231_400_000)),
            ("10/Okt/2000:13:55:36 -0700", None),
            ("10/Oct/2000:25:55:36 -0700", None),
            ("10/Oct/2000:13:55:36 x0700", None),
            ("10/Oct/2000:13:55:36", None),
            ("", None),
        ];
        for (text, expected) in common_cases {
            assert_eq!(common(text.as_bytes()), *expected, "{text}");
        }
        let iso_cases: &[(&str, Option<i64>)] = &[
            ("2000-10-10T13:55:36-07:00", Some(971_211_336_000)),
            ("2000-10-10T20:55:36Z", Some(971_211_336_000)),
            ("2000-10-10T20:55:36.5Z", Some(971_211_336_500)),
            ("2000-10-10 20:55:36.123456789+0000", Some(971_211_336_123)),
            ("2000-10-10T20:55:36.Z", Some(971_211_336_000)),
            ("2000-10-10T20:55:36", None),
            ("2000-13-10T20:55:36Z", None),
            ("2000-10-10T20:55:36+99:00", None),
            ("x", None),
        ];
        for (text, expected) in iso_cases {
            assert_eq!(iso(text.as_bytes()), *expected, "{text}");
        }
    }
}
