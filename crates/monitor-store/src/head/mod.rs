//! The head: what is not in blocks yet, and what is known of the series that
//! samples come for.

mod floats;
mod postings;
mod series;

pub(crate) use floats::decode;
pub(crate) use postings::Postings;
pub(crate) use series::{Applied, Kind, Last, Part, Series, UNRANKED};

use crate::SeriesRef;
use foldhash::fast::RandomState;
use hashbrown::HashTable;
use monitor_model::{Labels, Matcher};
use std::hash::BuildHasher;

/// Series of a slab: the table grows by slabs, so that growing never moves it.
const SLAB: usize = 4_096;

/// The series in memory.
#[derive(Debug, Default)]
pub(crate) struct Head {
    slabs: Vec<Vec<Series>>,
    /// Slots without a series.
    free: Vec<u32>,
    by_labels: HashTable<(u32, u32)>,
    hasher: RandomState,
    postings: Postings,
    /// The newest sample ever taken.
    pub(crate) max_ms: i64,
    /// The oldest sample in the head since the last flush ended.
    pub(crate) min_ms: i64,
    /// Samples in the head, those that are set aside included.
    pub(crate) samples: u64,
    /// Of them, those set aside.
    pub(crate) frozen_samples: u64,
    /// The oldest of those set aside.
    pub(crate) frozen_min_ms: i64,
    unranked: usize,
}

impl Head {
    pub(crate) fn new() -> Self {
        Self { max_ms: i64::MIN, min_ms: i64::MAX, frozen_min_ms: i64::MAX, ..Self::default() }
    }

    /// How many series there are.
    pub(crate) fn len(&self) -> usize {
        self.by_labels.len()
    }

    /// Series without a rank.
    pub(crate) fn unranked(&self) -> usize {
        self.unranked
    }

    pub(crate) fn postings(&self) -> &Postings {
        &self.postings
    }

    pub(crate) fn sort_postings(&mut self) {
        if self.postings.is_unsorted() {
            self.postings.sort();
        }
    }

    /// The oldest and newest sample.
    pub(crate) fn range_ms(&self) -> Option<(i64, i64)> {
        (self.samples > 0).then_some((self.min_ms.min(self.frozen_min_ms), self.max_ms))
    }

    /// Slots that have or had a series.
    pub(crate) fn slots(&self) -> u32 {
        (self.slabs.len().saturating_sub(1) * SLAB + self.slabs.last().map_or(0, Vec::len)) as u32
    }

    /// The series in a slot.
    #[inline]
    pub(crate) fn slot(&self, slot: u32) -> Option<&Series> {
        let slot = slot as usize;
        self.slabs.get(slot / SLAB)?.get(slot % SLAB).filter(|series| series.used)
    }

    #[inline]
    pub(crate) fn slot_mut(&mut self, slot: u32) -> Option<&mut Series> {
        let slot = slot as usize;
        self.slabs.get_mut(slot / SLAB)?.get_mut(slot % SLAB).filter(|series| series.used)
    }

    /// The series that a reference means, if the slot still holds it.
    #[inline]
    pub(crate) fn get(&self, series: SeriesRef) -> Option<&Series> {
        self.slot(series.slot).filter(|s| s.generation == series.generation)
    }

    pub(crate) fn find(&self, labels: &Labels) -> Option<SeriesRef> {
        let hash = self.hasher.hash_one(labels);
        let same = |entry: &(u32, u32)| {
            entry.0 == hash as u32 && self.slot(entry.1).is_some_and(|series| series.labels == *labels)
        };
        let slot = self.by_labels.find(spread(hash as u32), same)?.1;
        self.slot(slot).map(|series| SeriesRef { slot, generation: series.generation })
    }

    /// Adds a series that is not there yet.
    pub(crate) fn define(&mut self, labels: Labels) -> SeriesRef {
        let slot = self.free.pop().unwrap_or_else(|| self.slots());
        self.put(slot, labels)
    }

    /// Puts a series into a slot; what the slot had, and what had the labels, goes.
    /// Call [`Head::find_free`] after the last one.
    pub(crate) fn define_at(&mut self, slot: u32, labels: Labels) {
        let mut gone = Vec::new();
        gone.extend(self.slot(slot).map(|_| slot));
        gone.extend(self.find(&labels).map(|series| series.slot));
        gone.sort_unstable();
        gone.dedup();
        self.forget(&gone);
        while self.slots() <= slot {
            self.push_unused();
        }
        self.put(slot, labels);
    }

    /// Finds the free slots again, after [`Head::define_at`].
    pub(crate) fn find_free(&mut self) {
        self.free = (0..self.slots()).rev().filter(|slot| self.slot(*slot).is_none()).collect();
    }

    fn push_unused(&mut self) {
        if self.slabs.last().is_none_or(|slab| slab.len() == SLAB) {
            self.slabs.push(Vec::with_capacity(SLAB));
        }
        if let Some(slab) = self.slabs.last_mut() {
            slab.push(Series::unused(0));
        }
    }

    fn put(&mut self, slot: u32, labels: Labels) -> SeriesRef {
        if slot >= self.slots() {
            self.push_unused();
        }
        let hash = self.hasher.hash_one(&labels);
        self.postings.add(&labels, slot);
        let place = &mut self.slabs[slot as usize / SLAB][slot as usize % SLAB];
        let generation = place.generation.wrapping_add(1);
        *place = Series::new(labels, generation);
        self.by_labels.insert_unique(spread(hash as u32), (hash as u32, slot), |entry| spread(entry.0));
        self.unranked += 1;
        SeriesRef { slot, generation }
    }

    /// Forgets series, with the samples they have. `slots` ascends.
    pub(crate) fn forget(&mut self, slots: &[u32]) {
        let mut gone = Vec::with_capacity(slots.len());
        for slot in slots {
            let Some(series) = self.slot_mut(*slot) else { continue };
            let labels = series.labels.clone();
            let unranked = series.rank == UNRANKED;
            *series = Series::unused(series.generation);
            self.unranked -= usize::from(unranked);
            let hash = self.hasher.hash_one(&labels);
            if let Ok(entry) = self.by_labels.find_entry(spread(hash as u32), |e| e.1 == *slot) {
                entry.remove();
            }
            self.free.push(*slot);
            gone.push((*slot, labels));
        }
        self.postings.remove(&gone);
    }

    /// All slots with a series.
    pub(crate) fn used(&self) -> impl Iterator<Item = (u32, &Series)> {
        let slabs = self.slabs.iter().enumerate();
        slabs.flat_map(|(s, slab)| {
            let numbered = slab.iter().enumerate().filter(|(_, series)| series.used);
            numbered.map(move |(i, series)| ((s * SLAB + i) as u32, series))
        })
    }

    /// The used series from one slot on, up to another.
    pub(crate) fn range_mut(&mut self, from: u32, to: u32) -> impl Iterator<Item = (u32, &mut Series)> {
        let slabs = self.slabs.iter_mut().enumerate();
        slabs
            .skip(from as usize / SLAB)
            .take((to as usize).div_ceil(SLAB).saturating_sub(from as usize / SLAB))
            .flat_map(|(s, slab)| {
                slab.iter_mut().enumerate().map(move |(i, series)| ((s * SLAB + i) as u32, series))
            })
            .filter(move |(slot, series)| series.used && (from..to).contains(slot))
    }

    /// Sets everything aside for a flush.
    pub(crate) fn freeze(&mut self) {
        for slab in &mut self.slabs {
            slab.iter_mut().filter(|series| series.used).for_each(Series::freeze);
        }
        self.frozen_samples = self.samples;
        self.frozen_min_ms = self.min_ms;
        self.min_ms = i64::MAX;
    }

    /// What was set aside is in blocks and is gone from every series.
    pub(crate) fn thawed(&mut self) {
        self.samples -= self.frozen_samples;
        self.frozen_samples = 0;
        self.frozen_min_ms = i64::MAX;
    }

    /// Sets the rank of one series: the caller goes through them in order.
    pub(crate) fn set_rank(&mut self, slot: u32, rank: u32) {
        if let Some(series) = self.slot_mut(slot) {
            let new = series.rank == UNRANKED;
            series.rank = rank;
            self.unranked -= usize::from(new);
        }
    }

    /// Sets the ranks of all series: those in the order given, and nothing of the others.
    pub(crate) fn rank(&mut self, order: &[(u32, u32)]) {
        for (rank, (slot, generation)) in order.iter().enumerate() {
            if let Some(series) = self.slot_mut(*slot).filter(|series| series.generation == *generation) {
                let new = series.rank == UNRANKED;
                series.rank = rank as u32;
                self.unranked -= usize::from(new);
            }
        }
    }

    /// The slots of the series that are selected, in no order.
    pub(crate) fn matching(&self, matchers: &[Matcher]) -> Vec<u32> {
        let (candidates, rest) = self.postings.candidates(matchers);
        let wanted =
            |series: &Series| rest.iter().all(|m| m.is_match(series.labels.get(&m.name).unwrap_or_default()));
        match candidates {
            Some(slots) if rest.is_empty() => slots,
            Some(mut slots) => {
                slots.retain(|slot| self.slot(*slot).is_some_and(wanted));
                slots
            }
            None => self.used().filter(|(_, series)| wanted(series)).map(|(slot, _)| slot).collect(),
        }
    }
}

/// The table wants all bits of a hash; half of one is kept.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Puts things into the order of their series' labels: cheaply by rank where
/// they have one.
pub(crate) fn sort_by_rank<T>(list: &mut [T], rank: impl Fn(&T) -> u32, labels: impl Fn(&T) -> &Labels) {
    list.sort_unstable_by_key(|item| rank(item));
    let ranked = list.partition_point(|item| rank(item) != UNRANKED);
    if ranked == list.len() {
        return;
    }
    list[ranked..].sort_unstable_by(|a, b| labels(a).cmp(labels(b)));
    if ranked > 0 {
        // Two ascending parts: a stable sort merges them.
        list.sort_by(|a, b| labels(a).cmp(labels(b)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(n: u32) -> Labels {
        Labels::from_pairs([("n", n.to_string())])
    }

    #[test]
    fn slots_are_used_again_and_old_references_mean_nothing() {
        let mut head = Head::new();
        let refs: Vec<SeriesRef> = (0..10_000).map(|n| head.define(labels(n))).collect();
        assert!(refs.iter().zip(0..).all(|(r, n)| head.find(&labels(n)) == Some(*r)));
        head.forget(&[3, 5_000]);
        assert_eq!((head.len(), head.find(&labels(3)), head.get(refs[3]).is_some()), (9_998, None, false));
        let again = head.define(labels(5_000));
        assert_eq!(again.slot, 5_000);
        assert!(head.get(refs[5_000]).is_none() && head.get(again).is_some());
        assert_eq!(head.matching(&[Matcher::equal("n", "5000")]), [5_000]);
        // As the log has it: a slot that another series had, and labels that another slot had.
        head.define_at(7, labels(8));
        assert_eq!((head.find(&labels(8)).map(|r| r.slot), head.find(&labels(7))), (Some(7), None));
        assert!(head.slot(8).is_none());
        head.define_at(20_000, labels(7));
        assert_eq!(head.find(&labels(7)).map(|r| r.slot), Some(20_000));
        assert_eq!(head.used().count(), head.len());
        assert_eq!(head.unranked(), head.len());
    }
}
