//! When a process that ended by itself is started again. Pure.

/// A process that ran this long has proved itself: its next end counts as the first.
const STABLE_MS: u64 = 10_000;
/// The wait doubles from here …
const FIRST_WAIT_MS: u64 = 100;
/// … to here.
const LONGEST_WAIT_MS: u64 = 10_000;

/// Counts ends in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    ends_in_row: u32,
}

impl Backoff {
    /// How long to wait, in milliseconds, before starting again a process that
    /// ran for `ran_ms`: the first time not at all.
    pub fn after_end(&mut self, ran_ms: u64) -> u64 {
        if ran_ms >= STABLE_MS {
            self.ends_in_row = 0;
        }
        let ends = self.ends_in_row;
        self.ends_in_row = ends.saturating_add(1);
        match ends {
            0 => 0,
            _ => FIRST_WAIT_MS.saturating_mul(1 << (ends - 1).min(20)).min(LONGEST_WAIT_MS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_are_forgotten_after_a_stable_run() {
        let mut backoff = Backoff::default();
        let waits: Vec<u64> = (0..10).map(|_| backoff.after_end(5)).collect();
        assert_eq!(waits, [0, 100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]);
        assert_eq!(backoff.after_end(STABLE_MS), 0);
        assert_eq!(backoff.after_end(STABLE_MS - 1), 100);
        let mut many = Backoff { ends_in_row: u32::MAX };
        assert_eq!(many.after_end(0), LONGEST_WAIT_MS);
    }
}
