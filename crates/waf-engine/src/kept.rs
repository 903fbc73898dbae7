//! Collections that outlast a transaction: `GLOBAL`, `IP`, `SESSION`, `USER`,
//! `RESOURCE`. They live in the process, are bounded, expire, and are lost when it
//! restarts.

use foldhash::fast::RandomState;
use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Mutex;
use waf_lang::model::Variable;

/// The keys that a transaction's rules have chosen (`initcol`, `setsid`, …).
#[derive(Clone, Debug, Default)]
pub(crate) struct Keys {
    keys: Vec<(Variable, Box<[u8]>)>,
}

impl Keys {
    pub(crate) fn set(&mut self, collection: Variable, key: &[u8]) {
        self.keys.retain(|(other, _)| *other != collection);
        self.keys.push((collection, key.into()));
    }

    pub(crate) fn get(&self, collection: Variable) -> Option<&[u8]> {
        self.keys.iter().find(|(other, _)| *other == collection).map(|(_, key)| &**key)
    }
}

/// How many records there may be, over all collections.
const RECORDS: usize = 100_000;

/// How many variables one record may have.
const VARIABLES: usize = 256;

/// The longest name or value, bytes.
const LONGEST: usize = 4_096;

/// Parts of the map with a lock of their own.
const SHARDS: usize = 16;

/// What rules remember between transactions; shared by all workers.
#[derive(Debug)]
pub struct Collections {
    shards: Vec<Mutex<Shard>>,
    seed: RandomState,
    /// A record that nobody writes to is forgotten after this, seconds.
    timeout_s: u64,
}

#[derive(Debug, Default)]
struct Shard {
    /// Clients choose the keys: the hasher's seed is not known to them.
    records: HashMap<Key, Record, RandomState>,
    next_sweep_us: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    collection: u8,
    key: Box<[u8]>,
}

#[derive(Debug)]
struct Record {
    variables: Vec<Kept>,
    until_us: u64,
}

#[derive(Debug)]
struct Kept {
    name: Box<[u8]>,
    value: Vec<u8>,
    until_us: u64,
}

impl Default for Collections {
    fn default() -> Self {
        Self::new(3_600)
    }
}

impl Collections {
    /// Empty ones, whose records last so many seconds after their last change
    /// (`SecCollectionTimeout`, 3,600 in ModSecurity).
    pub fn new(timeout_s: u64) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            seed: RandomState::default(),
            timeout_s,
        }
    }

    fn shard(&self, key: &Key) -> std::sync::MutexGuard<'_, Shard> {
        let shard = self.seed.hash_one(key) as usize % SHARDS;
        // A poisoned lock holds only counters: go on with them.
        self.shards[shard].lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Hands every variable of a record that has not expired to `take`.
    pub(crate) fn each(
        &self,
        collection: Variable,
        key: &[u8],
        now_us: u64,
        mut take: impl FnMut(&[u8], &[u8]),
    ) {
        let key = Key { collection: collection as u8, key: key.into() };
        let shard = self.shard(&key);
        let Some(record) = shard.records.get(&key).filter(|record| record.until_us > now_us) else { return };
        for kept in record.variables.iter().filter(|kept| kept.until_us > now_us) {
            take(&kept.name, &kept.value);
        }
    }

    /// Changes one variable: the answer of `change` is its new value, `None` removes it.
    pub(crate) fn change(
        &self,
        collection: Variable,
        key: &[u8],
        name: &[u8],
        now_us: u64,
        change: impl FnOnce(Option<&[u8]>) -> Option<Vec<u8>>,
    ) {
        let key = Key { collection: collection as u8, key: key.into() };
        let mut shard = self.shard(&key);
        shard.make_room(&key, now_us);
        let until_us = now_us.saturating_add(self.timeout_s * 1_000_000);
        let record = shard.records.entry(key).or_insert_with(|| Record { variables: Vec::new(), until_us });
        if record.until_us <= now_us {
            record.variables.clear();
        }
        record.until_us = until_us;
        record.variables.retain(|kept| kept.until_us > now_us);
        let at = record.variables.iter().position(|kept| *kept.name == *name);
        let new = change(at.map(|at| record.variables[at].value.as_slice()));
        match (at, new) {
            (Some(at), Some(value)) if value.len() <= LONGEST => record.variables[at].value = value,
            (Some(at), None) => {
                record.variables.swap_remove(at);
            }
            (None, Some(value))
                if record.variables.len() < VARIABLES && value.len() <= LONGEST && name.len() <= LONGEST =>
            {
                record.variables.push(Kept { name: name.into(), value, until_us: u64::MAX });
            }
            _ => {}
        }
    }

    /// `expirevar`.
    pub(crate) fn expire(&self, collection: Variable, key: &[u8], name: &[u8], until_us: u64) {
        let key = Key { collection: collection as u8, key: key.into() };
        let mut shard = self.shard(&key);
        let record = shard.records.get_mut(&key);
        if let Some(kept) =
            record.and_then(|record| record.variables.iter_mut().find(|kept| *kept.name == *name))
        {
            kept.until_us = until_us;
        }
    }
}

impl Shard {
    /// Expired records go; if that is not enough, the one that would expire first.
    fn make_room(&mut self, wanted: &Key, now_us: u64) {
        let full = self.records.len() >= RECORDS / SHARDS;
        if now_us < self.next_sweep_us && !full || self.records.contains_key(wanted) {
            return;
        }
        if now_us >= self.next_sweep_us {
            self.records.retain(|_, record| record.until_us > now_us);
            self.next_sweep_us = now_us + 10_000_000;
        }
        if self.records.len() >= RECORDS / SHARDS {
            // Any sixteen: looking at all would let a flood of keys cost more and more.
            let oldest = self.records.iter().take(16).min_by_key(|(_, record)| record.until_us);
            if let Some(key) = oldest.map(|(key, _)| key.clone()) {
                self.records.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(collections: &Collections, key: &[u8], now_us: u64) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut found = Vec::new();
        collections
            .each(Variable::Ip, key, now_us, |name, value| found.push((name.to_vec(), value.to_vec())));
        found
    }

    #[test]
    fn kept_and_expired() {
        let collections = Collections::new(60);
        collections.change(Variable::Ip, b"a", b"n", 0, |old| {
            assert_eq!(old, None);
            Some(b"1".to_vec())
        });
        assert_eq!(all(&collections, b"a", 1), [(b"n".to_vec(), b"1".to_vec())]);
        assert_eq!(all(&collections, b"b", 1), []);
        assert_eq!(all(&collections, b"a", 60_000_000), [], "the record is gone after its time");
        collections.change(Variable::Ip, b"a", b"n", 1, |old| old.map(|_| b"2".to_vec()));
        collections.expire(Variable::Ip, b"a", b"n", 5_000_000);
        assert_eq!(all(&collections, b"a", 4_999_999).len(), 1);
        assert_eq!(all(&collections, b"a", 5_000_000).len(), 0);
    }

    #[test]
    fn bounded() {
        let collections = Collections::new(60);
        for number in 0..RECORDS as u32 * 2 {
            collections.change(Variable::Ip, &number.to_be_bytes(), b"n", 0, |_| Some(b"1".to_vec()));
        }
        let records: usize = collections.shards.iter().map(|s| s.lock().map_or(0, |s| s.records.len())).sum();
        assert!(records <= RECORDS);
        for number in 0..VARIABLES as u32 * 2 {
            collections.change(Variable::Ip, b"one", &number.to_be_bytes(), 0, |_| Some(b"1".to_vec()));
        }
        assert_eq!(all(&collections, b"one", 1).len(), VARIABLES);
    }
}
