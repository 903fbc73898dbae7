//! The store: appending, and what its parts share.

use crate::block::{Block, Index};
use crate::head::{Applied, Head, Rules};
use crate::log::{Batch, Log};
use crate::{AppendReport, Damage, Error, Refusal, Sample, Settings, Stats};
use monitor_promql::{Labels, Point};
use rustc_hash::FxHashMap;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The store. All methods take `&self`; appends come one at a time, queries run
/// beside them.
///
/// Locks are taken in the order of the fields: `maintenance`, `ingest`, `state`.
/// No input or output happens under `state`.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: PathBuf,
    pub(crate) settings: Settings,
    pub(crate) rules: Rules,
    /// Held while blocks are cut, merged and deleted.
    pub(crate) maintenance: Mutex<()>,
    pub(crate) ingest: Mutex<Ingest>,
    state: RwLock<State>,
    pub(crate) indexes: Mutex<IndexCache>,
    pub(crate) counters: Counters,
    pub(crate) damage: Mutex<Vec<Damage>>,
    pub(crate) _lock: sys::file::Lock,
}

/// What appending needs.
#[derive(Debug)]
pub(crate) struct Ingest {
    pub(crate) log: Log,
    pub(crate) next_id: u64,
}

/// What queries see.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) head: Head,
    /// Ascending by time, not overlapping.
    pub(crate) blocks: Vec<Arc<Block>>,
}

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) stored: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) damaged: AtomicU64,
    pub(crate) refused: Mutex<BTreeMap<Refusal, u64>>,
}

/// Block indexes that were used lately, oldest use first.
#[derive(Debug, Default)]
pub(crate) struct IndexCache(Vec<(PathBuf, Arc<Index>)>);

impl Store {
    pub(crate) fn assemble(
        dir: &Path,
        settings: Settings,
        rules: Rules,
        lock: sys::file::Lock,
        ingest: Ingest,
        state: State,
    ) -> Self {
        Self {
            dir: dir.into(),
            settings,
            rules,
            maintenance: Mutex::new(()),
            ingest: Mutex::new(ingest),
            state: RwLock::new(state),
            indexes: Mutex::default(),
            counters: Counters::default(),
            damage: Mutex::default(),
            _lock: lock,
        }
    }

    /// Stores samples. What the report counts as stored survives the end of the
    /// process. An error means that none of the batch was stored.
    pub fn append(&self, batch: &[Sample<'_>], now_ms: i64) -> Result<AppendReport, Error> {
        let mut report = AppendReport::default();
        let mut ingest = locked(&self.ingest);
        let (plan, new) = self.plan(batch, now_ms, ingest.next_id, &mut report);
        if plan.is_empty() {
            self.count(&report);
            return Ok(report);
        }
        let mut records = Batch::default();
        for (id, labels) in &new {
            records.series(*id, labels);
        }
        let samples: Vec<(u64, Point)> = plan.iter().map(|(_, id, point)| (*id, *point)).collect();
        records.samples(&samples);
        // Part of a failed write may stay in a file that cannot be cut, so its
        // ids are never used again either.
        ingest.next_id += new.len() as u64;
        if let Err(error) = ingest.log.append(&records) {
            self.counters.failed.fetch_add(batch.len() as u64, Ordering::Relaxed);
            return Err(error);
        }
        let mut state = self.state_mut();
        for (id, labels) in new {
            state.head.define(id, labels);
        }
        for (place, id, point) in plan {
            match state.head.apply(id, point) {
                Some(Applied::Stored) => report.stored += 1,
                Some(Applied::Duplicate) => report.duplicates += 1,
                Some(Applied::Refused(why)) => report.refuse(place, why),
                None => debug_assert!(false, "a sample of a series that was not defined"),
            }
        }
        drop(state);
        self.count(&report);
        // The samples are in the log and can be queried: a sync that fails now
        // breaks no promise yet. `maintain` tries again and tells.
        let _ = ingest.log.sync_when_due();
        Ok(report)
    }

    /// Decides, before anything is written, which samples are logged under which
    /// id, and which series are new.
    #[allow(clippy::type_complexity)] // (place in the batch, id, point), (id, labels)
    fn plan(
        &self,
        batch: &[Sample<'_>],
        now_ms: i64,
        mut next_id: u64,
        report: &mut AppendReport,
    ) -> (Vec<(usize, u64, Point)>, Vec<(u64, Labels)>) {
        let state = self.state();
        let newest_ms = now_ms.saturating_add(self.settings.future.0 as i64);
        let mut max_ms = state.head.max_ms();
        let mut plan = Vec::with_capacity(batch.len());
        let mut new: Vec<(u64, Labels)> = Vec::new();
        let mut new_ids: FxHashMap<&Labels, u64> = FxHashMap::default();
        for (place, sample) in batch.iter().enumerate() {
            let refusal = if sample.at_ms > newest_ms {
                Some(Refusal::Future)
            } else {
                // Counting the samples before it in the batch: what is refused for
                // its age is never logged, and so needs no series when the log is read.
                state.head.too_old(sample.at_ms, max_ms).then_some(Refusal::TooOld)
            };
            let known = || state.head.id(sample.labels).or_else(|| new_ids.get(sample.labels).copied());
            let id = match refusal {
                Some(why) => Err(why),
                None => match known() {
                    Some(id) => Ok(id),
                    None => self.check_new(sample.labels, state.head.len() + new.len()).map(|()| next_id),
                },
            };
            match id {
                Ok(id) => {
                    if id == next_id {
                        new.push((id, sample.labels.clone()));
                        new_ids.insert(sample.labels, id);
                        next_id += 1;
                    }
                    max_ms = max_ms.max(sample.at_ms);
                    plan.push((place, id, Point { at_ms: sample.at_ms, value: sample.value }));
                }
                Err(why) => report.refuse(place, why),
            }
        }
        (plan, new)
    }

    /// Whether a new series may be.
    fn check_new(&self, labels: &Labels, series: usize) -> Result<(), Refusal> {
        let limits = &self.settings;
        if labels.is_empty() {
            return Err(Refusal::NoLabels);
        }
        if labels.len() > limits.max_labels {
            return Err(Refusal::TooManyLabels);
        }
        for (name, value) in labels {
            if name.len() > limits.max_label_name {
                return Err(Refusal::LabelNameTooLong);
            }
            if value.len() > limits.max_label_value {
                return Err(Refusal::LabelValueTooLong);
            }
        }
        if series >= limits.max_series { Err(Refusal::TooManySeries) } else { Ok(()) }
    }

    fn count(&self, report: &AppendReport) {
        self.counters.stored.fetch_add(report.stored, Ordering::Relaxed);
        self.counters.duplicates.fetch_add(report.duplicates, Ordering::Relaxed);
        let mut refused = locked(&self.counters.refused);
        for (why, count) in &report.refused {
            *refused.entry(*why).or_default() += count;
        }
    }

    /// Syncs the log to the disk, whatever the interval.
    pub fn commit(&self) -> Result<(), Error> {
        locked(&self.ingest).log.sync()
    }

    /// The store in numbers.
    pub fn stats(&self) -> Stats {
        let log_bytes = locked(&self.ingest).log.bytes();
        let state = self.state();
        let head_range_ms = state.head.range_ms();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            series: state.head.len(),
            head_samples: state.head.samples,
            head_bytes: state.head.bytes,
            head_range_ms,
            newest_block_ms: state.blocks.last().map(|b| b.end_ms),
            blocks: state.blocks.len(),
            block_bytes: state.blocks.iter().map(|b| b.bytes).sum(),
            block_samples: state.blocks.iter().map(|b| b.samples).sum(),
            log_bytes,
            oldest_ms: state.blocks.first().map(|b| b.start_ms).or(head_range_ms.map(|(oldest, _)| oldest)),
            stored: of(&self.counters.stored),
            duplicates: of(&self.counters.duplicates),
            refused: locked(&self.counters.refused).iter().map(|(why, count)| (*why, *count)).collect(),
            failed: of(&self.counters.failed),
            damaged: of(&self.counters.damaged),
        }
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
}

/// A lock; a panic of another thread while it held it is that thread's matter.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AppendReport {
    pub(crate) fn refuse(&mut self, place: usize, why: Refusal) {
        self.first_refused.get_or_insert((place, why));
        match self.refused.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, count)) => *count += 1,
            None => self.refused.push((why, 1)),
        }
    }
}

impl IndexCache {
    /// An index that is in memory.
    pub(crate) fn get(&mut self, path: &Path) -> Option<Arc<Index>> {
        let at = self.0.iter().position(|(p, _)| p == path)?;
        let entry = self.0.remove(at);
        let index = entry.1.clone();
        self.0.push(entry);
        Some(index)
    }

    /// Keeps an index; those not used for longest go while there are too many bytes.
    pub(crate) fn put(&mut self, path: &Path, index: Arc<Index>, limit: u64) {
        self.0.retain(|(p, _)| p != path);
        self.0.push((path.into(), index));
        let mut bytes: u64 = self.0.iter().map(|(_, index)| index.bytes).sum();
        while bytes > limit && self.0.len() > 1 {
            bytes -= self.0.remove(0).1.bytes;
        }
    }

    pub(crate) fn forget(&mut self, path: &Path) {
        self.0.retain(|(p, _)| p != path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_promql::{Matcher, Selection, Source};

    fn stored(store: &Store) -> usize {
        let matchers = [Matcher::not_equal("n", "")];
        let mut stream = store.select(&Selection::new(&matchers, 0, i64::MAX)).unwrap();
        let mut points = 0;
        while let Some(series) = stream.next_series().unwrap() {
            points += series.points.len();
        }
        points
    }

    /// A full disk refuses samples with an error and a count, and keeps what it
    /// had; when there is room again, it goes on, and reading the log back finds
    /// exactly what was acknowledged.
    #[test]
    fn a_full_disk_refuses_and_resumes() {
        for sync in [base::Millis(0), base::Millis(1_000)] {
            let dir = tempfile::tempdir().unwrap();
            let settings = Settings { sync, ..Settings::default() };
            let (store, _) = Store::open(dir.path(), settings.clone(), 1_000).unwrap();
            let (one, two) = (Labels::from_pairs([("n", "1")]), Labels::from_pairs([("n", "2")]));
            let put = |labels: &Labels, at_ms| store.append(&[Sample { labels, at_ms, value: 1.0 }], at_ms);
            put(&one, 1_000).unwrap();
            locked(&store.ingest).log.fill_disk();
            let full = put(&two, 2_000).unwrap_err();
            assert!(full.is_disk_full(), "{full}");
            assert_eq!((store.stats().failed, stored(&store)), (1, 1));
            // The next append begins a new file.
            assert_eq!(put(&two, 3_000).unwrap().stored, 1);
            assert_eq!(put(&one, 3_000).unwrap().stored, 1);
            assert_eq!(stored(&store), 3);
            drop(store);
            let (store, report) = Store::open(dir.path(), settings, 4_000).unwrap();
            assert_eq!((report.samples, report.damage, stored(&store)), (3, vec![], 3));
        }
    }

    /// Many threads append and ask while blocks are cut: nothing is lost, twice
    /// there or half seen.
    #[test]
    fn queries_run_beside_appends_and_cuts() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings {
            block: base::Millis(60_000),
            out_of_order: base::Millis(1_000),
            sync: base::Millis(3_600_000),
            ..Settings::default()
        };
        let (store, _) = Store::open(dir.path(), settings, 0).unwrap();
        let acknowledged = AtomicU64::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let labels: Vec<Labels> =
                    (0..10).map(|n| Labels::from_pairs([("n", n.to_string())])).collect();
                for second in 0..600i64 {
                    let at_ms = 1_000_000 + second * 1_000;
                    let batch: Vec<Sample<'_>> =
                        labels.iter().map(|labels| Sample { labels, at_ms, value: second as f64 }).collect();
                    let report = store.append(&batch, at_ms).unwrap();
                    assert_eq!(report.stored, 10);
                    acknowledged.fetch_add(10, Ordering::SeqCst);
                    if second % 50 == 0 {
                        store.maintain(at_ms).unwrap();
                    }
                }
            });
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..40 {
                        let before = acknowledged.load(Ordering::SeqCst) as usize;
                        let found = stored(&store);
                        let after = acknowledged.load(Ordering::SeqCst) as usize + 10;
                        assert!((before..=after).contains(&found), "{before} {found} {after}");
                    }
                });
            }
        });
        assert!(store.stats().blocks > 3);
        assert_eq!(stored(&store), 6_000);
    }
}
