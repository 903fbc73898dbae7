//! Go's `time.Time` for templates: printing, layouts, time zones.

use super::value::Value;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use std::fmt::{self, Write as _};

/// A time in a zone.
#[derive(Clone, Debug)]
pub struct Moment(Zoned);

impl Moment {
    /// Unix milliseconds in UTC; what no calendar holds is the nearest that it does.
    pub fn of_ms(at_ms: i64) -> Self {
        let at = Timestamp::from_millisecond(at_ms);
        let nearest = if at_ms < 0 { Timestamp::MIN } else { Timestamp::MAX };
        Self(at.unwrap_or(nearest).to_zoned(TimeZone::UTC))
    }

    /// Go's zero time, 1 January of the year 1.
    pub fn zero() -> Self {
        Self::of_ms(ZERO_MS)
    }

    /// Unix milliseconds.
    pub fn ms(&self) -> i64 {
        self.0.timestamp().as_millisecond()
    }

    /// The same time elsewhere.
    pub fn within(&self, zone: &str) -> Result<Self, String> {
        let zone = match zone {
            "" | "UTC" => TimeZone::UTC,
            // No machine's own zone: what a template says must not depend on where it is filled in.
            "Local" => TimeZone::UTC,
            name => {
                TimeZone::get(name).map_err(|_| format!("`{name}` is no time zone; hint: `Europe/Berlin`"))?
            }
        };
        Ok(Self(self.0.with_time_zone(zone)))
    }

    pub(super) fn method(&self, name: &str, args: &[Value]) -> Result<Value, String> {
        let zoned = &self.0;
        Ok(match (name, args) {
            ("Format", [layout]) => Value::text(self.layout(layout.as_text()?)),
            ("String", []) => Value::text(self.to_string()),
            ("Unix", []) => Value::Int(zoned.timestamp().as_second()),
            ("UnixMilli", []) => Value::Int(self.ms()),
            ("UnixNano", []) => Value::Int(self.ms().saturating_mul(1_000_000)),
            ("UTC" | "Local", []) => Value::Time(self.within("UTC")?),
            ("IsZero", []) => Value::Bool(self.ms() == ZERO_MS),
            ("Year", []) => Value::Int(i64::from(zoned.year())),
            ("Month", []) => Value::text(MONTHS[usize::from(zoned.month().unsigned_abs()) - 1]),
            ("Day", []) => Value::Int(i64::from(zoned.day())),
            ("Hour", []) => Value::Int(i64::from(zoned.hour())),
            ("Minute", []) => Value::Int(i64::from(zoned.minute())),
            ("Second", []) => Value::Int(i64::from(zoned.second())),
            ("Weekday", []) => Value::text(WEEKDAYS[weekday(zoned)]),
            ("Sub", [Value::Time(other)]) => Value::Span(self.ms() - other.ms()),
            ("Before", [Value::Time(other)]) => Value::Bool(self.ms() < other.ms()),
            ("After", [Value::Time(other)]) => Value::Bool(self.ms() > other.ms()),
            ("Equal", [Value::Time(other)]) => Value::Bool(self.ms() == other.ms()),
            ("Add", [Value::Span(ms)]) => {
                let moved = Self::of_ms(self.ms().saturating_add(*ms));
                Value::Time(Self(moved.0.with_time_zone(zoned.time_zone().clone())))
            }
            _ => return Err(format!("a time has no method `{name}` with {} arguments", args.len())),
        })
    }

    /// Go's layout language (package `time`, "Constants").
    pub fn layout(&self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        'next: while let Some(first) = rest.chars().next() {
            for (mark, write) in MARKS {
                // `Jan` does not begin `January`, which is tried first; `1` does not begin `15`.
                if let Some(after) = rest.strip_prefix(mark) {
                    write(&self.0, &mut out);
                    rest = after;
                    continue 'next;
                }
            }
            if matches!(first, '.' | ',') {
                let digits = &rest[1..];
                let zeros = digits.bytes().take_while(|b| *b == b'0').count();
                let nines = digits.bytes().take_while(|b| *b == b'9').count();
                let count = zeros.max(nines);
                let ends = !digits[count..].starts_with(|c: char| c.is_ascii_digit());
                if (1..=9).contains(&count) && ends {
                    let nanos = format!("{:09}", self.0.subsec_nanosecond());
                    let part = &nanos[..count];
                    let part = if nines > 0 { part.trim_end_matches('0') } else { part };
                    if !part.is_empty() {
                        out.push(first);
                        out.push_str(part);
                    }
                    rest = &digits[count..];
                    continue;
                }
            }
            out.push(first);
            rest = &rest[first.len_utf8()..];
        }
        out
    }
}

/// `2006-01-02 15:04:05.999999999 -0700 MST`, as Go prints a time.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.layout("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

/// 0001-01-01T00:00:00Z in Unix milliseconds.
const ZERO_MS: i64 = -62_135_596_800_000;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

fn weekday(zoned: &Zoned) -> usize {
    usize::from(zoned.weekday().to_sunday_zero_offset().unsigned_abs())
}

fn twelve(zoned: &Zoned) -> i8 {
    if zoned.hour() % 12 == 0 { 12 } else { zoned.hour() % 12 }
}

fn offset(zoned: &Zoned, separator: &str, zulu: bool, out: &mut String) {
    let seconds = zoned.offset().seconds();
    if zulu && seconds == 0 {
        out.push('Z');
        return;
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let minutes = seconds.abs() / 60;
    let _ = write!(out, "{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60);
}

type Write = fn(&Zoned, &mut String);

macro_rules! number {
    ($format:literal, $($get:tt)+) => {
        |z, out| { let _ = write!(out, $format, $($get)+(z)); }
    };
}

/// The parts of a layout, longer ones first where one begins another.
const MARKS: &[(&str, Write)] = &[
    ("January", |z, out| out.push_str(MONTHS[usize::from(z.month().unsigned_abs()) - 1])),
    ("Jan", |z, out| out.push_str(&MONTHS[usize::from(z.month().unsigned_abs()) - 1][..3])),
    ("Monday", |z, out| out.push_str(WEEKDAYS[weekday(z)])),
    ("Mon", |z, out| out.push_str(&WEEKDAYS[weekday(z)][..3])),
    ("MST", |z, out| {
        let info = z.time_zone().to_offset_info(z.timestamp());
        out.push_str(info.abbreviation());
    }),
    ("2006", number!("{:04}", Zoned::year)),
    ("-07:00", |z, out| offset(z, ":", false, out)),
    ("-0700", |z, out| offset(z, "", false, out)),
    ("Z07:00", |z, out| offset(z, ":", true, out)),
    ("Z0700", |z, out| offset(z, "", true, out)),
    ("002", number!("{:03}", Zoned::day_of_year)),
    ("01", number!("{:02}", Zoned::month)),
    ("02", number!("{:02}", Zoned::day)),
    ("03", number!("{:02}", twelve)),
    ("04", number!("{:02}", Zoned::minute)),
    ("05", number!("{:02}", Zoned::second)),
    ("06", |z, out| {
        let _ = write!(out, "{:02}", z.year().rem_euclid(100));
    }),
    ("15", number!("{:02}", Zoned::hour)),
    ("PM", |z, out| out.push_str(if z.hour() < 12 { "AM" } else { "PM" })),
    ("pm", |z, out| out.push_str(if z.hour() < 12 { "am" } else { "pm" })),
    ("_2", number!("{:2}", Zoned::day)),
    ("1", number!("{}", Zoned::month)),
    ("2", number!("{}", Zoned::day)),
    ("3", number!("{}", twelve)),
    ("4", number!("{}", Zoned::minute)),
    ("5", number!("{}", Zoned::second)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts() {
        let at = Moment::of_ms(1_643_114_203_120);
        let berlin = at.within("Europe/Berlin").unwrap();
        let cases = [
            (&at, "2006-01-02T15:04:05.999Z07:00", "2022-01-25T12:36:43.12Z"),
            (&at, "2006-01-02 15:04:05.000", "2022-01-25 12:36:43.120"),
            (&at, "Mon, 02 Jan 2006 15:04:05 -0700", "Tue, 25 Jan 2022 12:36:43 +0000"),
            (&at, "Monday, January _2 3:04PM '06", "Tuesday, January 25 12:36PM '22"),
            (&berlin, "15:04 MST -07:00", "13:36 CET +01:00"),
            (&at, "nothing here: .x", "nothing here: .x"),
        ];
        for (time, layout, expected) in cases {
            assert_eq!(time.layout(layout), expected, "{layout}");
        }
        assert_eq!(at.to_string(), "2022-01-25 12:36:43.12 +0000 UTC");
        assert_eq!(Moment::zero().to_string(), "0001-01-01 00:00:00 +0000 UTC");
        assert!(at.within("Atlantis/Capital").is_err());
        Moment::of_ms(i64::MAX).to_string();
        Moment::of_ms(i64::MIN).to_string();
    }
}
