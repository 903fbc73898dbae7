//! The store: what its parts share.

use crate::block::Block;
use crate::disk::Disk;
use crate::exemplars::Ring;
use crate::head::Head;
use crate::log::Log;
use crate::manifest::{Listed, Manifest, Tombstone};
use crate::record::{LoggedFloat, LoggedHistogram};
use crate::report::io_error;
use crate::{Cardinality, Damage, Error, Refusal, Retention, Settings, Stats};
use monitor_model::{METRIC_NAME, Metadata};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The store. All methods take `&self`; appends come one at a time, queries and
/// upkeep run beside them.
///
/// Locks are taken in the order of the fields: `upkeep`, `ingest`, `state`. No
/// input or output happens under `state`.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) disk: Disk,
    pub(crate) settings: Settings,
    pub(crate) retention: Mutex<Retention>,
    /// Held while blocks are made, merged and deleted.
    pub(crate) upkeep: Mutex<Upkeep>,
    pub(crate) ingest: Mutex<Ingest>,
    state: RwLock<State>,
    pub(crate) counters: Counters,
    pub(crate) damage: Mutex<Vec<Damage>>,
    pub(crate) _lock: sys::file::Lock,
}

/// What upkeep remembers between its steps.
#[derive(Debug)]
pub(crate) struct Upkeep {
    pub(crate) next_block: u64,
    /// The first log file whose samples are not in blocks.
    pub(crate) log: u64,
    /// A flush that was begun: what is frozen is in log files before this number.
    pub(crate) frozen_log: Option<u64>,
    /// When the last flush was, by the clock.
    pub(crate) flushed_ms: i64,
    /// When upkeep was called last, by the clock.
    pub(crate) called_ms: i64,
    /// Calls for which nothing expires, because the clock jumped.
    pub(crate) patience: u32,
    /// Whether a flush is worth while without samples: for a new head file.
    pub(crate) renew: bool,
    /// Whether left-over files may be there.
    pub(crate) untidy: bool,
}

/// What appending needs.
#[derive(Debug)]
pub(crate) struct Ingest {
    /// `None` only while the store is opened.
    pub(crate) log: Option<Log>,
    pub(crate) floats: Vec<LoggedFloat>,
    pub(crate) histograms: Vec<LoggedHistogram>,
    pub(crate) records: Vec<u8>,
}

/// What queries see.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) head: Head,
    /// Ascending by the order in which they were acknowledged.
    pub(crate) blocks: Vec<Arc<Block>>,
    pub(crate) tombstones: Arc<Vec<Tombstone>>,
    pub(crate) exemplars: Ring,
    pub(crate) metadata: BTreeMap<String, Metadata>,
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) stored: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) refused: Mutex<BTreeMap<Refusal, u64>>,
}

impl State {
    /// The blocks of raw samples.
    pub(crate) fn raw(&self) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter().filter(|block| block.about.resolution_ms == 0)
    }

    /// The blocks of rollups.
    pub(crate) fn rolled(&self, resolution_ms: i64) -> impl Iterator<Item = &Arc<Block>> {
        self.blocks.iter().filter(move |block| block.about.resolution_ms == resolution_ms)
    }

    pub(crate) fn add_blocks(&mut self, blocks: impl IntoIterator<Item = Arc<Block>>) {
        self.blocks.extend(blocks);
        self.blocks.sort_by_key(|block| block.about.first);
    }
}

impl Store {
    pub(crate) fn assemble(
        dir: PathBuf,
        disk: Disk,
        settings: Settings,
        manifest: Manifest,
        blocks: Vec<Arc<Block>>,
        lock: sys::file::Lock,
        now_ms: i64,
    ) -> Self {
        let mut head = Head::new();
        head.max_ms = manifest.max_ms;
        let mut state = State {
            head,
            blocks: Vec::new(),
            tombstones: Arc::new(manifest.tombstones),
            exemplars: Ring::new(settings.max_exemplars),
            metadata: BTreeMap::new(),
        };
        state.add_blocks(blocks);
        Self {
            dir,
            disk,
            retention: Mutex::new(settings.retention()),
            upkeep: Mutex::new(Upkeep {
                next_block: manifest.next_block,
                log: manifest.log,
                frozen_log: None,
                flushed_ms: now_ms,
                called_ms: manifest.max_ms,
                patience: 0,
                renew: false,
                untidy: true,
            }),
            settings,
            ingest: Mutex::new(Ingest {
                log: None,
                floats: Vec::new(),
                histograms: Vec::new(),
                records: Vec::new(),
            }),
            state: RwLock::new(state),
            counters: Counters::default(),
            damage: Mutex::default(),
            _lock: lock,
        }
    }

    /// Syncs the log to the disk, whatever the window.
    pub fn commit(&self) -> Result<(), Error> {
        let unsynced = locked(&self.ingest).log.as_mut().map(Log::take_unsynced);
        let Some(unsynced) = unsynced else { return Ok(()) };
        let synced = unsynced.run();
        if synced.is_err()
            && let Some(log) = &mut locked(&self.ingest).log
        {
            log.give_back(unsynced);
        }
        synced
    }

    /// Changes how long samples are kept; the next upkeep follows it.
    pub fn set_retention(&self, retention: Retention) {
        *locked(&self.retention) = retention;
    }

    /// Changes for how long acknowledged samples may be lost with the power.
    pub fn set_sync(&self, window: base::Millis) {
        if let Some(log) = &mut locked(&self.ingest).log {
            log.set_window(window.duration());
        }
    }

    /// The store in numbers.
    pub fn stats(&self) -> Stats {
        let log_bytes = locked(&self.ingest).log.as_ref().map_or(0, Log::bytes);
        let state = self.state();
        let head_range_ms = state.head.range_ms();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let oldest =
            state.blocks.iter().map(|b| b.about.start_ms).chain(head_range_ms.map(|(oldest, _)| oldest));
        let is_rollup = |b: &&Arc<Block>| b.about.resolution_ms != 0;
        Stats {
            series: state.head.len(),
            head_samples: state.head.samples,
            head_range_ms,
            blocks: state.blocks.len(),
            block_bytes: state.blocks.iter().map(|b| b.bytes).sum(),
            table_bytes: state.blocks.iter().map(|b| b.table_bytes() as u64).sum(),
            block_samples: state.raw().map(|b| b.about.samples).sum(),
            rollups: state.blocks.iter().filter(is_rollup).count(),
            rollup_bytes: state.blocks.iter().filter(is_rollup).map(|b| b.bytes).sum(),
            log_bytes,
            oldest_ms: oldest.min(),
            exemplars: state.exemplars.len(),
            tombstones: state.tombstones.len(),
            stored: of(&self.counters.stored),
            duplicates: of(&self.counters.duplicates),
            conflicts: of(&self.counters.conflicts),
            refused: locked(&self.counters.refused).iter().map(|(why, count)| (*why, *count)).collect(),
            failed: of(&self.counters.failed),
            damaged: of(&self.counters.damaged),
        }
    }

    /// What makes the head large; of each list the `limit` largest.
    pub fn cardinality(&self, limit: usize) -> Cardinality {
        let state = self.state();
        let (head, postings) = (&state.head, state.head.postings());
        let names: Vec<(String, u64, u64)> = postings
            .names()
            .map(|(name, values, _)| {
                let bytes = postings.values(name).map(|(value, series)| (value.len() * series) as u64).sum();
                (name.to_owned(), values as u64, bytes)
            })
            .collect();
        let metrics =
            postings.values(METRIC_NAME).map(|(name, series)| (name.to_owned(), series as u64)).collect();
        let pairs = names
            .iter()
            .flat_map(|(name, ..)| postings.values(name).map(move |(v, n)| (name.as_str(), v, n as u64)))
            .collect();
        let top = |mut list: Vec<(String, u64)>| {
            list.sort_unstable_by(|a, b| (b.1, &a.0).cmp(&(a.1, &b.0)));
            list.truncate(limit);
            list
        };
        // There may be millions of pairs: only those that stay get a text.
        let top_pairs = |mut list: Vec<(&str, &str, u64)>| {
            list.sort_unstable_by(|a, b| (b.2, a.0, a.1).cmp(&(a.2, b.0, b.1)));
            list.truncate(limit);
            list.into_iter().map(|(name, value, series)| (format!("{name}={value}"), series)).collect()
        };
        Cardinality {
            series: head.len(),
            label_pairs: names.iter().map(|(_, values, _)| *values as usize).sum(),
            metrics: top(metrics),
            label_values: top(names.iter().map(|(name, values, _)| (name.clone(), *values)).collect()),
            label_bytes: top(names.iter().map(|(name, _, bytes)| (name.clone(), *bytes)).collect()),
            pairs: top_pairs(pairs),
        }
    }

    /// What the store consists of.
    pub(crate) fn manifest(
        &self,
        upkeep: &Upkeep,
        blocks: &[Arc<Block>],
        tombstones: &[Tombstone],
    ) -> Manifest {
        let listed = |b: &Arc<Block>| Listed {
            number: b.about.number,
            resolution_ms: b.about.resolution_ms,
            start_ms: b.about.start_ms,
            end_ms: b.about.end_ms,
        };
        Manifest {
            next_block: upkeep.next_block,
            log: upkeep.log,
            max_ms: self.state().head.max_ms,
            blocks: blocks.iter().map(listed).collect(),
            tombstones: tombstones.to_vec(),
        }
    }

    /// Writes down what the store consists of now.
    pub(crate) fn write_manifest(
        &self,
        upkeep: &Upkeep,
        blocks: &[Arc<Block>],
        tombstones: &[Tombstone],
    ) -> Result<(), Error> {
        self.manifest(upkeep, blocks, tombstones).write(&self.disk, &self.dir)
    }

    /// Takes a damaged block out of the store and keeps its file under another
    /// name. Gives the sentence for whoever met it.
    pub(crate) fn set_aside(&self, block: &Arc<Block>, why: &str) -> String {
        let what = format!(
            "{why}; the block with samples from {} to {} is left out",
            crate::text::time(block.about.start_ms),
            crate::text::time(block.about.end_ms)
        );
        if !block.damaged.swap(true, Ordering::Relaxed) {
            self.state_mut().blocks.retain(|b| !Arc::ptr_eq(b, block));
            let _ = fs::rename(&block.path, block.path.with_extension("blk.damaged"));
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            locked(&self.damage).push(Damage { file: block.path.clone(), what: what.clone() });
        }
        format!("`{}`: {what}", block.path.display())
    }

    pub(crate) fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    pub(crate) fn blocks_dir(&self) -> PathBuf {
        self.dir.join("blocks")
    }

    /// Deletes a block's file.
    pub(crate) fn remove_block(&self, block: &Block) -> Result<(), Error> {
        self.disk.remove(&block.path).map_err(io_error("deleting", &block.path))
    }
}

/// A lock; a panic of another thread while it held it is that thread's matter.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
