//! Series by their text, in the order in which the last exposition had them.

use hashbrown::HashTable;
use monitor_model::Labels;
use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};

/// A series that was in an exposition.
#[derive(Debug)]
pub struct Known<S> {
    /// Its text there.
    key: Box<[u8]>,
    /// What it is stored as; empty where relabelling dropped it.
    pub(super) labels: Labels,
    /// What the store calls it; `None` where it was dropped.
    pub(super) series: Option<S>,
    /// The last round that had it.
    pub(super) round: u32,
    /// Whether its end is to be marked: this round's word, which counts when the round is good.
    pub(super) track: bool,
    /// Whether a good round had it and its end is to be marked.
    live: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table<S> {
    known: Vec<Known<S>>,
    places: HashTable<u32>,
    hasher: foldhash::quality::FixedState,
    round: u32,
    /// Where the next sample's series is, if the exposition is ordered as the last one.
    expected: usize,
    /// How many there were when the round began.
    before: usize,
    /// Series to end that are not known under their text any more.
    orphans: Vec<S>,
}

impl<S: Copy + Eq + Hash> Table<S> {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            known: Vec::new(),
            places: HashTable::new(),
            hasher: foldhash::quality::FixedState::with_seed(seed),
            round: 0,
            expected: 0,
            before: 0,
            orphans: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Known<S>> {
        self.known.iter()
    }

    pub(super) fn series_mut(&mut self) -> impl Iterator<Item = &mut S> {
        self.known.iter_mut().filter_map(|known| known.series.as_mut()).chain(&mut self.orphans)
    }

    pub(super) fn begin(&mut self) {
        self.round = self.round.wrapping_add(1);
        self.expected = 0;
        self.before = self.known.len();
    }

    pub(super) fn round(&self) -> u32 {
        self.round
    }

    /// Where the series with this text is.
    #[inline]
    pub(super) fn find(&mut self, key: &[u8]) -> Option<usize> {
        let at = match self.known.get(self.expected) {
            Some(known) if *known.key == *key => self.expected,
            _ => {
                let known = &self.known;
                let hash = self.hasher.hash_one(key);
                *self.places.find(hash, |at| *known[*at as usize].key == *key)? as usize
            }
        };
        self.expected = at + 1;
        Some(at)
    }

    pub(super) fn get_mut(&mut self, at: usize) -> &mut Known<S> {
        &mut self.known[at]
    }

    /// Remembers a series that was not there.
    pub(super) fn add(&mut self, key: &[u8], labels: Labels, series: Option<S>) -> usize {
        let at = self.known.len();
        // A round before this one: it has no sample yet.
        let round = self.round.wrapping_sub(1);
        self.known.push(Known { key: key.into(), labels, series, round, track: false, live: false });
        self.expected = at + 1;
        let (known, hasher) = (&self.known, &self.hasher);
        let hash = hasher.hash_one(key);
        // A body has fewer than 2³² samples: `monitor_exposition::Limits`.
        self.places.insert_unique(hash, at as u32, |at| hasher.hash_one(&*known[*at as usize].key));
        at
    }

    /// The round was good: the series that end, each once. What it did not have
    /// is forgotten.
    pub(super) fn end_missing(&mut self) -> Vec<S> {
        let round = self.round;
        let gone = |known: &Known<S>| known.round != round;
        let mut ended: Vec<S> = std::mem::take(&mut self.orphans);
        ended.extend(self.known.iter().filter(|k| gone(k) && k.live).filter_map(|k| k.series));
        if !ended.is_empty() {
            // The same series may have come under another text.
            let here: HashSet<S> = self.known.iter().filter(|k| !gone(k)).filter_map(|k| k.series).collect();
            let mut told = HashSet::new();
            ended.retain(|series| !here.contains(series) && told.insert(*series));
        }
        if self.known.iter().any(gone) {
            self.known.retain(|known| !gone(known));
            self.index();
        }
        for known in &mut self.known {
            known.live = known.track;
        }
        self.before = self.known.len();
        ended
    }

    /// The round was bad: what it alone had is forgotten, and all that was there
    /// ends, each once.
    pub(super) fn end_all(&mut self) -> Vec<S> {
        if self.known.len() > self.before {
            self.known.truncate(self.before);
            self.index();
        }
        let mut ended = std::mem::take(&mut self.orphans);
        for known in &mut self.known {
            if std::mem::take(&mut known.live) {
                ended.extend(known.series);
            }
        }
        let mut told = HashSet::new();
        ended.retain(|series| told.insert(*series));
        ended
    }

    /// Texts may mean other series from now on.
    pub(super) fn relearn(&mut self) {
        self.orphans.extend(self.known.drain(..).filter(|known| known.live).filter_map(|known| known.series));
        self.places.clear();
        self.expected = 0;
        self.before = 0;
    }

    fn index(&mut self) {
        let (known, hasher) = (&self.known, &self.hasher);
        self.places.clear();
        for (at, entry) in known.iter().enumerate() {
            let hash = hasher.hash_one(&*entry.key);
            self.places.insert_unique(hash, at as u32, |at| hasher.hash_one(&*known[*at as usize].key));
        }
        if self.places.capacity() > 4 * self.known.len().max(16) {
            self.places.shrink_to(self.known.len(), |at| hasher.hash_one(&*known[*at as usize].key));
        }
    }
}
