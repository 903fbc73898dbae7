//! Times as people say them.

/// A time as people say it, in UTC.
pub(crate) struct Date {
    pub(crate) year: i64,
    pub(crate) month: u32,
    pub(crate) day: u32,
    pub(crate) day_of_year: u32,
    /// 0 is Sunday.
    pub(crate) weekday: u32,
    pub(crate) hour: u32,
    pub(crate) minute: u32,
}

impl Date {
    /// From Unix seconds; `None` where they are no number or beyond ±10 million years.
    pub(crate) fn from_seconds(seconds: f64) -> Option<Self> {
        if seconds.is_nan() || seconds.abs() > 3.2e14 {
            return None;
        }
        // Whole seconds towards zero, as Go's conversion cuts.
        let seconds = seconds as i64;
        let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let before: u32 = (1..month).map(|m| days_in_month(year, m)).sum();
        Some(Self {
            year,
            month,
            day,
            day_of_year: before + day,
            // 1 January 1970 was a Thursday.
            weekday: (days + 4).rem_euclid(7) as u32,
            hour: (rest / 3_600) as u32,
            minute: (rest / 60 % 60) as u32,
        })
    }
}

/// Year, month and day of a day counted from 1970 (Howard Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `civil_from_days`).
fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month as u32, day as u32)
}

pub(crate) fn days_in_month(year: i64, month: u32) -> u32 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        let cases = [
            (0.0, (1970, 1, 1, 1, 4, 0, 0)),
            (1_136_239_445.0, (2006, 1, 2, 2, 1, 22, 4)),
            (951_782_400.0, (2000, 2, 29, 60, 2, 0, 0)),
            (-1.0, (1969, 12, 31, 365, 3, 23, 59)),
        ];
        for (seconds, expected) in cases {
            let d = Date::from_seconds(seconds).unwrap();
            let got = (d.year, d.month, d.day, d.day_of_year, d.weekday, d.hour, d.minute);
            assert_eq!(got, expected, "{seconds}");
        }
        assert!(Date::from_seconds(f64::NAN).is_none() && Date::from_seconds(f64::INFINITY).is_none());
    }
}
