//! Numbers with their units.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// A span of time in whole milliseconds. In text: `250ms`, `2s`, `5m`, `1h`,
/// `30d`, `2w`, or several after one another (`1h30m`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

/// Factors of the units of time, largest first, as Prometheus reads them.
const TIME_UNITS: &[(&str, u64)] =
    &[("w", 604_800_000), ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Millis {
    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000)
    }

    /// As the standard library's type.
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.0)
    }

    /// In seconds, with the fraction.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1_000.0
    }

    /// Reads `2s`, `1h30m`, `250ms`. The error is a fragment for a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a duration; write it as `250ms`, `2s`, `5m`, `1h` or `30d`");
        let mut rest = text.trim();
        if rest.is_empty() {
            return Err(wrong());
        }
        let mut total = 0u64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let factor = TIME_UNITS.iter().find(|(name, _)| *name == &rest[..letters]).ok_or_else(wrong)?.1;
            rest = &rest[letters..];
            total = number.checked_mul(factor).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        }
        Ok(Self(total))
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        for (name, factor) in TIME_UNITS {
            if rest >= *factor {
                write!(f, "{}{name}", rest / factor)?;
                rest %= factor;
            }
        }
        Ok(())
    }
}

/// A number of bytes. In text: `512`, `64KiB`, `10MiB`, `1GiB`, or decimal `10MB`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

const BYTE_UNITS: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Bytes {
    /// Reads `64KiB`, `10MB`, `512`. The error is a fragment for a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a size; write it as `512B`, `64KiB`, `10MiB` or `1GiB`");
        let text_trimmed = text.trim();
        let digits = text_trimmed.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = text_trimmed[..digits].parse().map_err(|_| wrong())?;
        let unit = text_trimmed[digits..].trim_start();
        let factor = match unit {
            "" => 1,
            _ => BYTE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?.1,
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit =
            BYTE_UNITS[..4].iter().find(|(_, factor)| self.0 >= *factor && self.0.is_multiple_of(*factor));
        match unit {
            Some((name, factor)) => write!(f, "{}{name}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// Events a span of time. In text: `20/s`, `100/m`, `5000/h`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rate {
    /// Events a second.
    pub per_second: f64,
}

impl Rate {
    /// Reads `20/s`. The error is a fragment for a message.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not a rate; write it as `20/s`, `100/m` or `5000/h`");
        let (count, unit) = text.split_once('/').ok_or_else(wrong)?;
        let count: u32 = count.trim().parse().map_err(|_| wrong())?;
        let seconds = match unit.trim() {
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            _ => return Err(wrong()),
        };
        if count == 0 {
            return Err(wrong());
        }
        Ok(Self { per_second: f64::from(count) / seconds })
    }
}

/// A position in PostgreSQL's write-ahead log, in bytes. In text: `16/B374D848`
/// (PostgreSQL manual, 8.20 "pg_lsn Type").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

impl Lsn {
    /// Reads `16/B374D848`.
    pub fn parse(text: &str) -> Option<Self> {
        let (high, low) = text.split_once('/')?;
        let hex = |part: &str| {
            let ok = !part.is_empty() && part.len() <= 8 && part.bytes().all(|b| b.is_ascii_hexdigit());
            ok.then(|| u64::from_str_radix(part, 16).ok()).flatten()
        };
        Some(Self((hex(high)? << 32) | hex(low)?))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:X}/{:X}", self.0 >> 32, self.0 & 0xFFFF_FFFF)
    }
}

impl Serialize for Lsn {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Lsn {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an LSN such as `0/16B3748`"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let cases: &[(&str, Option<u64>)] = &[
            ("2s", Some(2_000)),
            ("250ms", Some(250)),
            ("1h30m", Some(5_400_000)),
            ("30d", Some(2_592_000_000)),
            ("0s", Some(0)),
            ("", None),
            ("2", None),
            ("s", None),
            ("2 s", None),
            ("-2s", None),
            ("2parsecs", None),
            ("99999999999999999999s", None),
            ("18446744073709551615w", None),
            ("2é", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Millis::parse(text).ok().map(|m| m.0), *expected, "{text}");
        }
        assert_eq!(Millis(5_400_000).to_string(), "1h30m");
        assert_eq!(Millis(1_250).to_string(), "1s250ms");
    }

    #[test]
    fn sizes() {
        let cases: &[(&str, Option<u64>)] = &[
            ("512", Some(512)),
            ("64KiB", Some(65_536)),
            ("10 MiB", Some(10_485_760)),
            ("10MB", Some(10_000_000)),
            ("", None),
            ("KiB", None),
            ("1.5MiB", None),
            ("18446744073709551615TiB", None),
        ];
        for (text, expected) in cases {
            assert_eq!(Bytes::parse(text).ok().map(|b| b.0), *expected, "{text}");
        }
        assert_eq!(Bytes(65_536).to_string(), "64KiB");
        assert_eq!(Bytes(1_000).to_string(), "1000B");
    }

    #[test]
    fn rates_and_positions() {
        assert_eq!(Rate::parse("20/s").unwrap().per_second, 20.0);
        assert_eq!(Rate::parse("120/m").unwrap().per_second, 2.0);
        for bad in ["20", "0/s", "x/s", "20/y", "-1/s"] {
            assert!(Rate::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Lsn::parse("16/B374D848"), Some(Lsn(0x16_B374_D848)));
        assert_eq!(Lsn(0x16_B374_D848).to_string(), "16/B374D848");
        for bad in ["", "/", "1/", "+1/2", "123456789/0", "1/2/3"] {
            assert_eq!(Lsn::parse(bad), None, "{bad}");
        }
    }
}
