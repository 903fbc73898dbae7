//! Exemplars: the newest ones of the whole store, in a ring.

use monitor_model::{Exemplar, Labels};
use rustc_hash::FxHashMap;
use std::collections::VecDeque;

/// An exemplar and its series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Held {
    pub(crate) series: Labels,
    pub(crate) exemplar: Exemplar,
    /// The sample's time, where the exemplar has none.
    pub(crate) stored_ms: i64,
}

impl Held {
    /// When it was.
    pub(crate) fn at_ms(&self) -> i64 {
        self.exemplar.at_ms.unwrap_or(self.stored_ms)
    }
}

/// The newest exemplars, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    held: VecDeque<Held>,
    /// How many went out at the front.
    gone: u64,
    /// The newest one of each series, counted from the first ever.
    newest: FxHashMap<Labels, u64>,
    room: usize,
}

impl Ring {
    pub(crate) fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    /// Takes an exemplar; `false` where its series' newest is the same or newer:
    /// an exposition shows the same one again and again.
    pub(crate) fn push(&mut self, held: Held) -> bool {
        if self.room == 0 {
            return false;
        }
        if let Some(newest) = self.newest.get(&held.series)
            && let Some(before) = newest.checked_sub(self.gone).and_then(|at| self.held.get(at as usize))
        {
            let same = before.exemplar.labels == held.exemplar.labels
                && before.exemplar.value.to_bits() == held.exemplar.value.to_bits()
                && (held.exemplar.at_ms.is_none() || before.exemplar.at_ms == held.exemplar.at_ms);
            if same || before.at_ms() > held.at_ms() {
                return false;
            }
        }
        if self.held.len() >= self.room
            && let Some(oldest) = self.held.pop_front()
        {
            if self.newest.get(&oldest.series) == Some(&self.gone) {
                self.newest.remove(&oldest.series);
            }
            self.gone += 1;
        }
        self.newest.insert(held.series.clone(), self.gone + self.held.len() as u64);
        self.held.push_back(held);
        true
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.held.iter()
    }

    /// Takes out what is to go.
    pub(crate) fn retain(&mut self, keep: impl Fn(&Held) -> bool) {
        let kept: Vec<Held> = std::mem::take(&mut self.held).into_iter().filter(|h| keep(h)).collect();
        *self = Self::new(self.room);
        for held in kept {
            self.push(held);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_keeps_the_newest_and_each_once() {
        let held = |series: &str, trace: &str, at_ms| Held {
            series: Labels::from_pairs([("n", series)]),
            exemplar: Exemplar {
                labels: Labels::from_pairs([("trace_id", trace)]),
                value: 1.0,
                at_ms: Some(at_ms),
            },
            stored_ms: 0,
        };
        let mut ring = Ring::new(3);
        let cases = [
            ("a", "1", 10, true),
            ("a", "1", 10, false), // The same again.
            ("a", "0", 5, false),  // Older than the newest.
            ("b", "1", 10, true),
            ("a", "2", 20, true),
            ("c", "3", 30, true), // The first goes.
            ("a", "2", 20, false),
            ("a", "1", 30, true),
        ];
        for (series, trace, at_ms, expected) in cases {
            assert_eq!(ring.push(held(series, trace, at_ms)), expected, "{series} {trace} {at_ms}");
        }
        let names: Vec<&str> = ring.iter().map(|h| h.series.get("n").unwrap()).collect();
        assert_eq!(names, ["a", "c", "a"]);
        ring.retain(|h| h.series.get("n") == Some("a"));
        assert_eq!((ring.len(), ring.newest.len()), (2, 1));
    }
}
