//! How many different series a target makes within a day.

use monitor_model::Labels;
use std::collections::HashSet;
use std::hash::BuildHasher;

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

/// The series of a day, by a hash each: two that share one count as one.
#[derive(Debug)]
pub(super) struct Churn {
    began_ms: i64,
    seen: HashSet<u64>,
    hasher: foldhash::quality::FixedState,
}

impl Churn {
    /// `seed` keeps targets from choosing labels that collide.
    pub(super) fn new(seed: u64) -> Self {
        let hasher = foldhash::quality::FixedState::with_seed(seed);
        Self { began_ms: i64::MIN, seen: HashSet::new(), hasher }
    }

    /// Another scrape. A new day, or a clock that was set back, begins with what
    /// is `known`.
    pub(super) fn begin<'l>(&mut self, at_ms: i64, known: impl Iterator<Item = &'l Labels>) {
        if at_ms >= self.began_ms && at_ms.saturating_sub(self.began_ms) < DAY_MS {
            return;
        }
        self.began_ms = at_ms;
        self.seen = known.map(|labels| self.hasher.hash_one(labels)).collect();
    }

    /// Whether a series may be: it was there today, or there is room.
    pub(super) fn takes(&mut self, labels: &Labels, limit: usize) -> bool {
        let hash = self.hasher.hash_one(labels);
        self.seen.contains(&hash) || self.seen.len() < limit && self.seen.insert(hash)
    }
}
