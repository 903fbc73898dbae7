//! Which times a query wants of what it selects.

use monitor_model::{Selection, Windows};

/// A time range, or windows in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) start_ms: i64,
    /// Inclusive.
    pub(crate) end_ms: i64,
    windows: Option<Windows>,
}

impl Wanted {
    pub(crate) fn of(selection: &Selection<'_>) -> Self {
        let Selection { start_ms, end_ms, windows, .. } = *selection;
        Self { start_ms, end_ms, windows: windows.filter(|w| w.length_ms > 0 && w.step_ms > w.length_ms) }
    }

    /// The same within another range.
    pub(crate) fn within(self, (start_ms, end_ms): (i64, i64)) -> Self {
        Self { start_ms: self.start_ms.max(start_ms), end_ms: self.end_ms.min(end_ms), ..self }
    }

    /// What is wanted between two times, all inclusive: ranges that ascend.
    pub(crate) fn between(self, first_ms: i64, last_ms: i64) -> impl Iterator<Item = (i64, i64)> {
        let (from_ms, to_ms) = (self.start_ms.max(first_ms), self.end_ms.min(last_ms));
        // Without windows, one that has all of it.
        let windows = self.windows.unwrap_or(Windows { end_ms: i64::MAX, step_ms: 1, length_ms: i64::MAX });
        let before = from_ms.saturating_sub(windows.end_ms).max(0) as u64;
        let first = before.div_ceil(windows.step_ms as u64) as i64;
        let end_ms = first.checked_mul(windows.step_ms).and_then(|ms| windows.end_ms.checked_add(ms));
        let ends = std::iter::successors(end_ms, move |end_ms| end_ms.checked_add(windows.step_ms));
        ends.map(move |end_ms| match self.windows {
            Some(_) => (end_ms.saturating_sub(windows.length_ms - 1), end_ms),
            None => (i64::MIN, end_ms),
        })
        .take_while(move |(start_ms, _)| from_ms <= to_ms && *start_ms <= to_ms)
        .map(move |(start_ms, end_ms)| (start_ms.max(from_ms), end_ms.min(to_ms)))
    }

    /// About how many of some samples, which are spread evenly, are wanted.
    pub(crate) fn share(self, samples: usize) -> usize {
        let Some(windows) = self.windows else {
            return samples;
        };
        ((samples as u64).saturating_mul(windows.length_ms as u64) / windows.step_ms as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wanted(start_ms: i64, end_ms: i64, windows: Option<Windows>) -> Wanted {
        Wanted::of(&Selection { windows, ..Selection::new(&[], start_ms, end_ms) })
    }

    proptest! {
        #[test]
        fn windows_are_those_of_a_naive_look(
            range in (-50i64..50, 0i64..100), between in (-50i64..50, 0i64..100),
            windows in (-60i64..60, 2i64..40, 1i64..39).prop_filter("apart", |(_, step, length)| length < step),
        ) {
            let (end_ms, step_ms, length_ms) = windows;
            let wanted = wanted(range.0, range.0 + range.1, Some(Windows { end_ms, step_ms, length_ms }));
            let found: Vec<(i64, i64)> = wanted.between(between.0, between.0 + between.1).collect();
            let inside = |t: &i64| {
                let ends = (0..).map(|k| end_ms + k * step_ms);
                let looked_at = ends.take_while(|end| end - length_ms < *t).any(|end| *t <= end);
                looked_at && *t >= range.0 && *t <= range.0 + range.1
            };
            let times: Vec<i64> = (between.0..=between.0 + between.1).filter(inside).collect();
            prop_assert_eq!(found.iter().flat_map(|(a, b)| *a..=*b).collect::<Vec<_>>(), times);
        }
    }

    #[test]
    fn the_ends_of_time_are_no_panic() {
        let far = [i64::MIN, -1, 0, i64::MAX];
        for (start, end) in far.iter().flat_map(|a| far.map(|b| (*a, b))) {
            let all: Vec<_> = wanted(start, end, None).between(i64::MIN, i64::MAX).collect();
            assert_eq!(all, if start <= end { vec![(start, end)] } else { vec![] });
            for end_ms in far {
                let windows = Some(Windows { end_ms, step_ms: i64::MAX, length_ms: i64::MAX - 1 });
                assert!(wanted(start, end, windows).between(i64::MIN, i64::MAX).count() < 4);
            }
        }
    }
}
