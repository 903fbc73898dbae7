//! Values by the hour.

/// Milliseconds of an hour.
pub const HOUR_MS: i64 = 3_600_000;

/// Hours of a week.
pub const WEEK_HOURS: usize = 168;

/// Hours that a history may have: five years; what is older is left out.
const MOST_HOURS: usize = 5 * 366 * 24;

/// One value for each hour, gaps included.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hourly {
    /// The first hour, in hours since the epoch.
    pub first_hour: i64,
    /// The values; NaN where there is none.
    pub values: Vec<f64>,
}

/// Too little history for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{have_hours} hours of history are too few, {need_hours} are needed")]
pub struct TooLittle {
    /// Hours that have a value.
    pub have_hours: usize,
    /// Hours that must have one.
    pub need_hours: usize,
}

impl Hourly {
    /// From points in any order: Unix milliseconds and values. Of several in an
    /// hour the largest counts, since it is peaks that must be borne. Values that
    /// are not finite are gaps.
    pub fn from_points(points: impl IntoIterator<Item = (i64, f64)>) -> Self {
        let mut found: Vec<(i64, f64)> = points
            .into_iter()
            .filter(|(_, value)| value.is_finite())
            .map(|(at_ms, value)| (at_ms.div_euclid(HOUR_MS), value))
            .collect();
        found.sort_by_key(|(hour, _)| *hour);
        let Some(last) = found.last().map(|(hour, _)| *hour) else { return Self::default() };
        let first = found[0].0.max(last - (MOST_HOURS as i64 - 1));
        let mut values = vec![f64::NAN; (last - first + 1) as usize];
        for (hour, value) in found {
            if let Some(at) = usize::try_from(hour - first).ok().and_then(|at| values.get_mut(at)) {
                *at = at.max(value);
            }
        }
        Self { first_hour: first, values }
    }

    /// From values asked for at the ends of hours: a range query's.
    pub fn from_hour_ends(points: impl IntoIterator<Item = (i64, f64)>) -> Self {
        Self::from_points(points.into_iter().map(|(at_ms, value)| (at_ms.saturating_sub(1), value)))
    }

    /// The first and last hour's end of the nine weeks before a time, in Unix
    /// milliseconds: what history is asked for.
    pub fn range_before(now_ms: i64) -> (i64, i64) {
        let end_ms = now_ms - now_ms.rem_euclid(HOUR_MS);
        (end_ms.saturating_sub(9 * WEEK_HOURS as i64 * HOUR_MS), end_ms)
    }

    /// The hour after the last.
    pub fn end_hour(&self) -> i64 {
        self.first_hour + self.values.len() as i64
    }

    /// The hours before `hour`.
    pub fn before(&self, hour: i64) -> Self {
        let keep = usize::try_from(hour - self.first_hour).unwrap_or(0).min(self.values.len());
        Self { first_hour: self.first_hour, values: self.values[..keep].to_vec() }
    }

    /// Whole weeks, oldest first, counted back from the end, at most `most`. Gaps
    /// are filled from the same hour of the weeks beside, in proportion to their
    /// sizes; a week with more than half its hours missing ends the history.
    pub(crate) fn weeks(&self, most: usize) -> Vec<Vec<f64>> {
        let mut weeks: Vec<Vec<f64>> = Vec::new();
        let mut end = self.values.len();
        while end >= WEEK_HOURS && weeks.len() < most {
            let week = &self.values[end - WEEK_HOURS..end];
            if week.iter().filter(|v| v.is_nan()).count() > WEEK_HOURS / 2 {
                break;
            }
            weeks.push(week.to_vec());
            end -= WEEK_HOURS;
        }
        weeks.reverse();
        fill(&mut weeks);
        weeks
    }

    /// Hours that have a value.
    pub(crate) fn known(&self) -> usize {
        self.values.iter().filter(|v| !v.is_nan()).count()
    }
}

/// Fills gaps; see [`Hourly::weeks`].
fn fill(weeks: &mut [Vec<f64>]) {
    let sums: Vec<f64> = weeks.iter().map(|w| mean(w.iter().copied())).collect();
    for hour in 0..WEEK_HOURS {
        let share =
            mean(weeks.iter().zip(&sums).filter(|(_, sum)| **sum > 0.0).map(|(w, sum)| w[hour] / sum));
        for (week, sum) in weeks.iter_mut().zip(&sums) {
            if week[hour].is_nan() {
                week[hour] = if share.is_nan() { *sum } else { share * sum };
            }
        }
    }
}

/// The mean of what is a number.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut count) = (0.0, 0.0);
    for value in values.filter(|v| !v.is_nan()) {
        sum += value;
        count += 1.0;
    }
    sum / count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_become_hours() {
        let points =
            [(3 * HOUR_MS + 5, 2.0), (HOUR_MS, 1.0), (3 * HOUR_MS, 7.0), (0, f64::NAN), (9, f64::INFINITY)];
        let hourly = Hourly::from_points(points);
        assert_eq!((hourly.first_hour, hourly.end_hour()), (1, 4));
        assert_eq!(hourly.values[0], 1.0);
        assert!(hourly.values[1].is_nan());
        assert_eq!(hourly.values[2], 7.0);
        assert_eq!(hourly.before(2).values, [1.0]);
        assert_eq!(Hourly::from_points([]).values.len(), 0);
        // A clock that was wrong once costs no memory.
        let wild = Hourly::from_points([(i64::MIN / 2, 1.0), (i64::MAX / 2, 2.0)]);
        assert_eq!(wild.values.len(), MOST_HOURS);
    }

    #[test]
    fn gaps_are_filled_from_the_same_hour_of_other_weeks() {
        let mut values: Vec<f64> = (0..3 * WEEK_HOURS).map(|h| ((h % 24) + 1) as f64).collect();
        values[2 * WEEK_HOURS + 30] = f64::NAN;
        let weeks = Hourly { first_hour: 0, values }.weeks(8);
        assert_eq!(weeks.len(), 3);
        assert!((weeks[2][30] - 7.0).abs() < 0.1, "{}", weeks[2][30]);
        let mut holes = vec![f64::NAN; WEEK_HOURS];
        holes.extend((0..WEEK_HOURS).map(|_| 1.0));
        assert_eq!(Hourly { first_hour: 0, values: holes }.weeks(8).len(), 1);
    }
}
