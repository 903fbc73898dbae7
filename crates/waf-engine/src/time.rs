//! The calendar, for `TIME_HOUR` and its company: UTC.

/// A moment, taken apart.
pub(crate) struct Utc {
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
    pub(crate) hour: i64,
    pub(crate) minute: i64,
    pub(crate) second: i64,
    /// 0 for Sunday.
    pub(crate) weekday: i64,
}

impl Utc {
    /// Of seconds since 1970. The date after Howard Hinnant's `civil_from_days`.
    pub(crate) fn of(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        // Years begin in March here, so that the leap day is their last.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * march_month + 2) / 5 + 1,
            hour: rest / 3_600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        for (seconds, expected) in [
            (0, (1970, 1, 1, 0, 0, 0, 4)),
            (951_782_400, (2000, 2, 29, 0, 0, 0, 2)),
            (1_795_395_661, (2026, 11, 23, 1, 1, 1, 1)),
            (-1, (1969, 12, 31, 23, 59, 59, 3)),
        ] {
            let utc = Utc::of(seconds);
            let all = (utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.weekday);
            assert_eq!(all, expected);
        }
    }
}
