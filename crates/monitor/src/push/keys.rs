//! Which series raw labels name, without reading them.

use monitor_store::SeriesRef;
use monitor_wire::remote::{KeyHash, Version};
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

/// Hashes with seeds that no sender knows: a sender that could make two series
/// meet would mix their samples.
pub(crate) struct Hash {
    halves: [foldhash::quality::RandomState; 2],
    version: u8,
}

impl KeyHash for Hash {
    fn hash(&self, bytes: &[u8]) -> u128 {
        let half = |state: &foldhash::quality::RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            // The same bytes mean one thing in 1.0 and another in 2.0.
            hasher.write_u8(self.version);
            u128::from(hasher.finish())
        };
        half(&self.halves[0]) << 64 | half(&self.halves[1])
    }
}

/// Keys are hashes already.
#[derive(Default)]
struct AsIs(u64);

impl Hasher for AsIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 ^= value;
    }
}

/// 24 bytes an entry, where a u128 would make 32 of it.
type Entries = HashMap<[u64; 2], SeriesRef, BuildHasherDefault<AsIs>>;

/// What is known of series that were pushed. When it is full, what was not asked
/// for since it was half full goes.
pub(crate) struct Cache {
    seeds: [foldhash::quality::RandomState; 2],
    half: usize,
    generations: RwLock<[Entries; 2]>,
}

/// The cache, while one request is read.
pub(crate) struct Known<'a> {
    generations: RwLockReadGuard<'a, [Entries; 2]>,
    /// To be kept afterwards.
    pub(crate) found: Vec<(u128, SeriesRef)>,
}

impl Cache {
    /// For so many series.
    pub(crate) fn new(series: usize) -> Self {
        Self {
            seeds: [foldhash::quality::RandomState::default(), foldhash::quality::RandomState::default()],
            half: series.max(1_000),
            generations: RwLock::default(),
        }
    }

    pub(crate) fn hash(&self, version: Version) -> Hash {
        Hash { halves: self.seeds.clone(), version: version as u8 }
    }

    pub(crate) fn known(&self) -> Known<'_> {
        let generations = self.generations.read().unwrap_or_else(PoisonError::into_inner);
        Known { generations, found: Vec::new() }
    }

    /// Keeps what a request found.
    pub(crate) fn keep(&self, found: Vec<(u128, SeriesRef)>) {
        if found.is_empty() {
            return;
        }
        let mut generations = self.generations.write().unwrap_or_else(PoisonError::into_inner);
        for (key, series) in found {
            if generations[0].len() >= self.half {
                generations.swap(0, 1);
                generations[0] = Entries::default();
            }
            generations[0].insert(parts(key), series);
        }
    }

    /// Series that are known.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.generations.read().unwrap().iter().map(HashMap::len).sum()
    }
}

impl Known<'_> {
    /// The series of a key.
    pub(crate) fn get(&mut self, key: u128) -> Option<SeriesRef> {
        let parts = parts(key);
        if let Some(series) = self.generations[0].get(&parts) {
            return Some(*series);
        }
        let series = *self.generations[1].get(&parts)?;
        self.found.push((key, series));
        Some(series)
    }
}

fn parts(key: u128) -> [u64; 2] {
    [key as u64, (key >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_model::Labels;

    #[test]
    fn what_is_asked_for_stays() {
        let dir = tempfile::tempdir().unwrap();
        let settings = monitor_store::Settings::default();
        let (store, _) = monitor_store::Store::open(dir.path(), settings, 0).unwrap();
        let series = store.series(&Labels::from_pairs([("__name__", "up")])).unwrap();
        let cache = Cache::new(1_000);
        let hash = cache.hash(Version::V1);
        let key = |i: u32| hash.hash(&i.to_le_bytes());
        assert_ne!(key(1), key(2));
        assert_ne!(key(1), cache.hash(Version::V2).hash(&1u32.to_le_bytes()));
        for i in 0..5_000 {
            let mut known = cache.known();
            assert_eq!(known.get(key(i)), None);
            // The first one is in every request.
            let _ = known.get(key(0));
            let mut found = std::mem::take(&mut known.found);
            drop(known);
            found.push((key(i), series));
            cache.keep(found);
            assert!(cache.len() <= 2_000);
        }
        assert_eq!(cache.known().get(key(0)), Some(series));
        assert_eq!(cache.known().get(key(1)), None);
    }
}
