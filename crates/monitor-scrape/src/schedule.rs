//! When a target is scraped: on a grid of its own that never drifts.

/// A target's moments: every `interval_ms`, `offset_ms` after a multiple of it.
/// The grid is pinned to the clock's zero, so that it is the same after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    interval_ms: u64,
    offset_ms: u64,
}

/// A scrape that is this late or early still counts as on time; of shorter
/// intervals than five seconds it is a hundredth. Prometheus has 2 ms, and a flag
/// that raises it (`scrape.timestamp-tolerance`): on a busy machine 2 ms would let
/// most samples be off their grid, which costs the store more than it tells anyone.
pub const TOLERANCE_MS: u64 = 50;

impl Schedule {
    /// `hash` spreads targets over the interval; the same hash gives the same grid.
    pub fn new(interval_ms: u64, hash: u64) -> Self {
        let interval_ms = interval_ms.max(1);
        Self { interval_ms, offset_ms: hash % interval_ms }
    }

    /// Between two moments.
    pub fn interval_ms(&self) -> u64 {
        self.interval_ms
    }

    /// The first moment after `now_ms`, but not one within the tolerance of it:
    /// that one has just been.
    pub fn next_ms(&self, now_ms: u64) -> u64 {
        let from = now_ms.saturating_add(self.tolerance_ms());
        let past = from.wrapping_sub(self.offset_ms) % self.interval_ms;
        // Before the grid's first moment the subtraction wraps.
        if from < self.offset_ms {
            return self.offset_ms;
        }
        from - past + self.interval_ms
    }

    /// The time that a scrape which begins now has: its moment's, where it is on
    /// time, so that the distance between two samples is the interval exactly.
    pub fn stamp_ms(&self, now_ms: u64) -> u64 {
        if now_ms < self.offset_ms {
            return now_ms;
        }
        let past = (now_ms - self.offset_ms) % self.interval_ms;
        let tolerance = self.tolerance_ms();
        if past <= tolerance {
            now_ms - past
        } else if self.interval_ms - past <= tolerance {
            now_ms + (self.interval_ms - past)
        } else {
            now_ms
        }
    }

    fn tolerance_ms(&self) -> u64 {
        TOLERANCE_MS.min(self.interval_ms / 100)
    }
}

/// FNV-1a over a target's labels and URL, by which targets are spread.
pub fn hash<'a>(parts: impl Iterator<Item = &'a str>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    // The low bits of FNV are weak, and the interval is often a round number.
    (hash ^ hash >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_steady() {
        let schedule = Schedule::new(5_000, 123);
        for now_ms in [0, 72, 73, 122, 1_000_000, 1_000_073, 1_000_122, 1_004_999, 1_005_123] {
            let next = schedule.next_ms(now_ms);
            assert_eq!(next % 5_000, 123, "{now_ms}");
            assert!(next > now_ms && next <= now_ms + 5_050, "{now_ms}: {next}");
        }
        // Woken a moment early or late: the next one is a whole interval later.
        for now_ms in [1_000_073, 1_000_123, 1_000_200] {
            assert_eq!(schedule.next_ms(now_ms), 1_005_123, "{now_ms}");
        }
        assert_eq!(schedule.next_ms(1_000_072), 1_000_123);
        let stamps = [
            (1_000_073, 1_000_123),
            (1_000_123, 1_000_123),
            (1_000_173, 1_000_123),
            (1_000_174, 1_000_174),
            (1_000_072, 1_000_072),
            (7, 7),
        ];
        for (now, expected) in stamps {
            assert_eq!(schedule.stamp_ms(now), expected, "{now}");
        }
        // A hundredth of a short interval.
        assert_eq!(Schedule::new(100, 0).stamp_ms(1_001), 1_000);
        assert_eq!(Schedule::new(100, 0).stamp_ms(1_002), 1_002);
        assert_eq!(Schedule::new(50, 0).stamp_ms(1_001), 1_001);
        assert_eq!(Schedule::new(0, 7).next_ms(10), 11);
    }

    #[test]
    fn targets_are_spread() {
        let mut tenths = [0; 10];
        for at in 0..1_000 {
            let hash = hash([format!("10.0.0.{at}:9100").as_str(), "/metrics"].into_iter());
            let schedule = Schedule::new(15_000, hash);
            tenths[(schedule.offset_ms / 1_500) as usize] += 1;
        }
        assert!(tenths.iter().all(|count| (60..140).contains(count)), "{tenths:?}");
    }
}
