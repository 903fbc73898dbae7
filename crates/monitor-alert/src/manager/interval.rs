//! Time intervals of routes: when they mute, when they are active
//! (Alertmanager's documentation, `<time_interval>`).

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use yaml_tree::{Node, Reader};

/// One interval; all that it names must hold. Ranges include both ends but for
/// times, whose end is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeInterval {
    /// Minutes of the day: from, to.
    pub times: Vec<(u16, u16)>,
    /// Sunday is 0.
    pub weekdays: Vec<(i8, i8)>,
    /// 1 to 31; −1 is the last day of the month.
    pub days_of_month: Vec<(i8, i8)>,
    /// 1 to 12.
    pub months: Vec<(i8, i8)>,
    /// Years.
    pub years: Vec<(i16, i16)>,
    /// `Europe/Berlin`; none is UTC.
    pub location: Option<String>,
}

impl TimeInterval {
    /// Whether a moment, in Unix milliseconds, lies within.
    pub fn contains(&self, at_ms: u64) -> bool {
        let zone =
            self.location.as_deref().and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        let Some(at) = i64::try_from(at_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()) else {
            return false;
        };
        let at = at.to_zoned(zone);
        let minute = u16::try_from(i32::from(at.hour()) * 60 + i32::from(at.minute())).unwrap_or(0);
        let weekday = at.weekday().to_sunday_zero_offset();
        let last = at.days_in_month();
        let day_in = |(from, to): &(i8, i8)| {
            // Days from the end become days from the beginning; what the month has not is cut.
            let day = |n: i8| if n < 0 { (last + 1 + n).max(1) } else { n };
            if day(*from) > last {
                return false;
            }
            (day(*from)..=day(*to).min(last)).contains(&at.day())
        };
        let any_or_none = |empty: bool, any: bool| empty || any;
        any_or_none(self.times.is_empty(), self.times.iter().any(|(from, to)| (*from..*to).contains(&minute)))
            && any_or_none(
                self.weekdays.is_empty(),
                self.weekdays.iter().any(|(from, to)| (*from..=*to).contains(&weekday)),
            )
            && any_or_none(self.days_of_month.is_empty(), self.days_of_month.iter().any(day_in))
            && any_or_none(
                self.months.is_empty(),
                self.months.iter().any(|(a, b)| (*a..=*b).contains(&at.month())),
            )
            && any_or_none(
                self.years.is_empty(),
                self.years.iter().any(|(a, b)| (*a..=*b).contains(&at.year())),
            )
    }

    pub(in crate::manager) fn read(reader: &mut Reader, node: &Node) -> Self {
        let mut interval = Self::default();
        for (key, place, value) in reader.map(node, "a time interval") {
            match key.as_str() {
                "times" => {
                    for item in reader.list(value, key) {
                        let (mut start, mut end) = (None, None);
                        for (key, place, value) in reader.map(item, "an item of `times`") {
                            let minute = minutes(&reader.text(value, key));
                            match (key.as_str(), minute) {
                                ("start_time", Some(at)) => start = Some(at),
                                ("end_time", Some(at)) => end = Some(at),
                                ("start_time" | "end_time", None) => {
                                    reader.wrong(value.place, format!("`{key}` is written as `17:30`"));
                                }
                                _ => reader.wrong(*place, format!("`{key}` is neither `start_time` nor `end_time`")),
                            }
                        }
                        match (start, end) {
                            (Some(start), Some(end)) if start < end => interval.times.push((start, end)),
                            _ => reader.wrong(item.place, "`start_time` and `end_time` are both needed, and the end is later"),
                        }
                    }
                }
                "weekdays" => interval.weekdays = ranges(reader, value, key, |t| name_in(t, &WEEKDAYS), 0, 6),
                "days_of_month" => {
                    interval.days_of_month = ranges(reader, value, key, |t| t.parse().ok().filter(|n| *n != 0), -31, 31);
                }
                "months" => {
                    let month = |t: &str| t.parse().ok().or_else(|| name_in(t, &MONTHS).map(|n: i8| n + 1));
                    interval.months = ranges(reader, value, key, month, 1, 12);
                }
                "years" => interval.years = ranges(reader, value, key, |t| t.parse().ok(), 1, 9_999),
                "location" => {
                    let name = reader.text(value, key);
                    if !matches!(name.as_str(), "" | "UTC" | "Local") && TimeZone::get(&name).is_err() {
                        reader.wrong(value.place, format!("`{name}` is no time zone; hint: `Europe/Berlin`"));
                    }
                    interval.location = Some(name).filter(|n| !matches!(n.as_str(), "" | "UTC" | "Local"));
                }
                _ => reader.wrong(
                    *place,
                    format!("`{key}` is not known here; hint: one of times, weekdays, days_of_month, months, years, location"),
                ),
            }
        }
        interval
    }
}

const WEEKDAYS: [&str; 7] = ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn name_in(text: &str, names: &[&str]) -> Option<i8> {
    let at = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    i8::try_from(at).ok()
}

/// `17:30`, and `24:00` for the end of the day.
fn minutes(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    let at = hour * 60 + minute;
    (hour <= 24 && minute < 60 && at <= 24 * 60).then_some(at)
}

/// `monday:friday` or one value, of each item.
fn ranges<N: Copy + PartialOrd + Default>(
    reader: &mut Reader,
    node: &Node,
    what: &str,
    value: impl Fn(&str) -> Option<N>,
    least: N,
    most: N,
) -> Vec<(N, N)> {
    let mut found = Vec::new();
    for item in reader.list(node, what) {
        let text = reader.text(item, what);
        let (from, to) = text.split_once(':').unwrap_or((&text, &text));
        let zero = N::default();
        match (value(from.trim()), value(to.trim())) {
            // A range from the beginning to the end of a month has signs that differ.
            (Some(a), Some(b))
                if a >= least
                    && b <= most
                    && (a <= b || (a > zero && b < zero))
                    && !(a < zero && b > zero) =>
            {
                found.push((a, b));
            }
            _ => reader.wrong(
                item.place,
                format!("`{what}`: `{text}` is no range; hint: `monday:friday`, `1:5`, `-3:-1`"),
            ),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<TimeInterval, String> {
        let documents = yaml_tree::parse(text, "f").map_err(|m| m.to_string())?;
        let mut reader = Reader::new("f");
        let interval = TimeInterval::read(&mut reader, &documents[0]);
        match reader.mistakes.first() {
            Some(mistake) => Err(mistake.to_string()),
            None => Ok(interval),
        }
    }

    fn at(text: &str) -> u64 {
        u64::try_from(text.parse::<Timestamp>().unwrap().as_millisecond()).unwrap()
    }

    #[test]
    fn what_lies_within() {
        let cases = [
            ("{}", "2024-02-29T12:00:00Z", true),
            (
                "{weekdays: ['monday:friday'], times: [{start_time: '09:00', end_time: '17:00'}]}",
                "2024-02-29T16:59:59Z",
                true,
            ),
            (
                "{weekdays: ['monday:friday'], times: [{start_time: '09:00', end_time: '17:00'}]}",
                "2024-02-29T17:00:00Z",
                false,
            ),
            ("{weekdays: [Saturday, sunday]}", "2024-02-29T12:00:00Z", false),
            ("{days_of_month: ['-1']}", "2024-02-29T12:00:00Z", true),
            ("{days_of_month: ['-1']}", "2024-02-28T12:00:00Z", false),
            ("{days_of_month: ['25:-1']}", "2024-02-26T12:00:00Z", true),
            ("{days_of_month: ['30:31']}", "2024-02-29T12:00:00Z", false),
            ("{months: ['december', '1:2']}", "2024-02-29T12:00:00Z", true),
            ("{years: ['2020:2023']}", "2024-02-29T12:00:00Z", false),
            (
                "{times: [{start_time: '23:00', end_time: '24:00'}], location: Europe/Berlin}",
                "2024-02-29T22:30:00Z",
                true,
            ),
            (
                "{times: [{start_time: '23:00', end_time: '24:00'}], location: Europe/Berlin}",
                "2024-07-29T22:30:00Z",
                false,
            ),
        ];
        for (text, moment, expected) in cases {
            assert_eq!(read(text).unwrap().contains(at(moment)), expected, "{text} {moment}");
        }
        for (text, expected) in [
            ("{weekday: [monday]}", "`weekday` is not known"),
            ("{weekdays: ['friday:monday']}", "no range"),
            ("{times: [{start_time: '9:60', end_time: '10:00'}]}", "written as"),
            ("{times: [{start_time: '10:00', end_time: '9:00'}]}", "the end is later"),
            ("{days_of_month: ['0']}", "no range"),
            ("{months: ['13']}", "no range"),
            ("{location: Mars/Olympus}", "no time zone"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
