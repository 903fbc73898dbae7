//! What is read of one line.

use crate::time;

/// A request as its line tells it. Slices point into the line; what the line does
/// not say is empty.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Entry<'a> {
    /// When, as it is written.
    pub time: Time<'a>,
    /// The client's address.
    pub ip: &'a [u8],
    /// The host that was asked for, its port included where the log has it.
    pub host: &'a [u8],
    /// `GET`.
    pub method: &'a [u8],
    /// Path and query, or an absolute URL.
    pub target: &'a [u8],
    /// The status code, 100 to 599.
    pub status: u16,
    /// Bytes sent.
    pub bytes: u64,
    /// How long it took, in microseconds, where the log says.
    pub duration_us: Option<u64>,
}

/// A line's time, read only where somebody asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Time<'a> {
    /// The line has none that we understand.
    #[default]
    None,
    /// `10/Oct/2000:13:55:36 -0700`.
    Common(&'a [u8]),
    /// RFC 3339.
    Iso(&'a [u8]),
    /// A count since the epoch, of 10^-n seconds.
    Number(&'a [u8], u32),
}

/// A longer duration is no duration: a year, in microseconds.
pub(crate) const MAX_DURATION_US: u64 = 31_536_000_000_000;

impl Entry<'_> {
    /// Unix milliseconds, where the line has a time that can be read.
    pub fn time_ms(&self) -> Option<i64> {
        match self.time {
            Time::None => None,
            Time::Common(text) => time::common(text),
            Time::Iso(text) => time::iso(text),
            // 10^-n seconds are 10^(3-n) milliseconds.
            Time::Number(text, n) => {
                i64::try_from(scaled(text, 3 - n.cast_signed())?).ok().filter(|ms| *ms < time::END_MS)
            }
        }
    }

    /// Whether the numbers can be true.
    pub(crate) fn is_sane(&self) -> bool {
        (100..=599).contains(&self.status) && self.duration_us.is_none_or(|d| d <= MAX_DURATION_US)
    }
}

/// A whole number without sign; `None` for anything else.
pub(crate) fn integer(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 19 {
        return None;
    }
    text.iter().try_fold(0_u64, |sum, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit <= 9).then(|| sum * 10 + u64::from(digit))
    })
}

/// A decimal number without sign, times ten to `power`, rounded down: `0.125`
/// with 6 is 125000. JSON's exponents are understood.
pub(crate) fn scaled(text: &[u8], power: i32) -> Option<u64> {
    let (mut mantissa, mut exponent) = (0_u64, power);
    let (mut seen, mut fraction) = (false, false);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                if mantissa < 100_000_000_000_000_000 {
                    mantissa = mantissa * 10 + u64::from(byte - b'0');
                    exponent -= i32::from(fraction);
                } else {
                    // Beyond seventeen digits they change nothing that is kept.
                    exponent = exponent.saturating_add(i32::from(!fraction));
                }
            }
            b'.' if !fraction => fraction = true,
            b'e' | b'E' if seen => {
                let rest = &text[at + 1..];
                let (negative, digits) = match rest.first()? {
                    b'-' => (true, &rest[1..]),
                    b'+' => (false, &rest[1..]),
                    _ => (false, rest),
                };
                let value = i32::try_from(integer(digits)?.min(1_000)).ok()?;
                exponent += if negative { -value } else { value };
                at = text.len();
                continue;
            }
            _ => return None,
        }
        at += 1;
    }
    if !seen {
        return None;
    }
    while exponent < 0 && mantissa > 0 {
        let step = (-exponent).min(18);
        mantissa /= 10_u64.pow(step.unsigned_abs());
        exponent += step;
    }
    while exponent > 0 && mantissa > 0 {
        mantissa = mantissa.checked_mul(10)?;
        exponent -= 1;
    }
    Some(mantissa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let cases: &[(&str, i32, Option<u64>)] = &[
            ("0.125", 6, Some(125_000)),
            ("1", 6, Some(1_000_000)),
            ("0.000", 6, Some(0)),
            ("1.2e-05", 6, Some(12)),
            ("1.2E-7", 6, Some(0)),
            ("2e3", 0, Some(2_000)),
            ("123456", -3, Some(123)),
            ("1700000000.123", 3, Some(1_700_000_000_123)),
            ("0.12345678901234567890123", 6, Some(123_456)),
            ("", 0, None),
            (".", 0, None),
            ("-1", 0, None),
            ("1.2.3", 0, None),
            ("NaN", 0, None),
            ("1e", 0, None),
            ("1e999999999", 0, None),
            ("9e99", 0, None),
            ("1e-999999999", 0, Some(0)),
            ("123456789012345678901234567890", 0, None),
        ];
        for (text, power, expected) in cases {
            assert_eq!(scaled(text.as_bytes(), *power), *expected, "{text} {power}");
        }
        assert_eq!(integer(b"18446744073709551615"), None, "more than nineteen digits");
        assert_eq!(integer(b"5000000000"), Some(5_000_000_000));
        assert_eq!(integer(b"+5"), None);
    }
}
