//! Opening: manifest, head file, log.

use crate::append::{apply_floats, apply_histograms};
use crate::block::{Block, file_name};
use crate::disk::Disk;
use crate::exemplars::Held;
use crate::head::{Applied, Last};
use crate::headfile::{self, Restore};
use crate::log::{self, Log, OldFile, numbered};
use crate::manifest::{self, Found, Listed, Manifest, Tombstone};
use crate::record::{self, LoggedFloat};
use crate::report::io_error;
use crate::store::{State, Store, locked};
use crate::{Damage, Error, OpenReport, Settings};
use base::Bytes;
use monitor_model::{Labels, Metadata};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Store {
    /// Opens the store in a directory, which is made where it is missing, and
    /// reads the log back. `now_ms` is the time in Unix milliseconds.
    pub fn open(dir: &Path, settings: Settings, now_ms: i64) -> Result<(Self, OpenReport), Error> {
        Self::open_with(dir, settings, now_ms, Disk::default())
    }

    pub(crate) fn open_with(
        dir: &Path,
        settings: Settings,
        now_ms: i64,
        disk: Disk,
    ) -> Result<(Self, OpenReport), Error> {
        check(&settings)?;
        let (log_dir, blocks_dir) = (dir.join("log"), dir.join("blocks"));
        for folder in [dir, &log_dir, &blocks_dir] {
            sys::file::make_dir(folder, 0o700).map_err(io_error("making", folder))?;
        }
        let lock_path = dir.join("lock");
        let lock = sys::file::Lock::take(&lock_path)
            .map_err(io_error("locking", &lock_path))?
            .ok_or_else(|| Error::Locked(dir.into()))?;
        let mut report = OpenReport::default();
        let manifest = read_manifest(&disk, dir, &mut report)?;
        for folder in [dir, &log_dir, &blocks_dir] {
            remove_unfinished(&disk, folder)?;
        }
        let blocks = open_blocks(&disk, &blocks_dir, &manifest, &mut report)?;
        report.blocks = blocks.len();
        let window = settings.sync.duration();
        let store = Self::assemble(dir.into(), disk, settings, manifest, blocks, lock, now_ms);
        let number = store.replay(&mut report, now_ms)?;
        let older = report.kept.drain(..).collect();
        let log = Log::begin(&store.disk, &log_dir, older, number, window)?;
        locked(&store.ingest).log = Some(log);
        store.settle_replayed(&mut report)?;
        Ok((store, report))
    }

    /// Reads head file and log; gives the number of the next log file.
    fn replay(&self, report: &mut OpenReport, now_ms: i64) -> Result<u64, Error> {
        let log_dir = self.log_dir();
        let mut upkeep = locked(&self.upkeep);
        let floor = upkeep.log;
        let head = headfile::path(&log_dir, floor);
        let mut replay = Replay { store: self, log: floor, floats: Vec::new(), unknown: 0, ranked: None };
        if head.exists() {
            if let Err(why) = headfile::read(&head, &mut replay) {
                let what = format!("{why}; samples in the log whose series it had are lost");
                report.damage.push(Damage { file: head, what });
            }
        } else if floor > 1 {
            let what = "it is missing; samples in the log whose series it had are lost".to_owned();
            report.damage.push(Damage { file: head, what });
        }
        let mut files = numbered(&log_dir, ".log")?;
        let old = files.iter().filter(|(number, _)| *number < floor).cloned().collect::<Vec<_>>();
        files.retain(|(number, _)| *number >= floor);
        for (_, path) in &old {
            self.disk.remove(path).map_err(io_error("deleting", path))?;
        }
        let mut bytes = 0;
        for (at, (number, path)) in files.iter().enumerate() {
            let kept = self.replay_file(&mut replay, *number, path, at + 1 == files.len(), report)?;
            bytes += kept.as_ref().map_or(0, |file| file.length);
            report.kept.extend(kept);
            if bytes > self.settings.log_limit.0 {
                // However long the log is, memory stays what it is in operation.
                self.flush_replayed(&mut upkeep, number + 1, now_ms)?;
                for file in report.kept.drain(..) {
                    self.disk.remove(&file.path).map_err(io_error("deleting", &file.path))?;
                }
                bytes = 0;
            }
        }
        let last = files.last().map_or(0, |(number, _)| *number);
        Ok((last + 1).max(upkeep.log))
    }

    fn replay_file(
        &self,
        replay: &mut Replay<'_>,
        number: u64,
        path: &Path,
        last: bool,
        report: &mut OpenReport,
    ) -> Result<Option<OldFile>, Error> {
        let (before, samples) = (replay.unknown, self.state().head.samples);
        let found = log::read_file(path, |kind, payload| replay.record(kind, payload))?;
        report.log_files += 1;
        report.samples += self.state().head.samples - samples;
        for what in found.damage {
            report.damage.push(Damage { file: path.into(), what });
        }
        if replay.unknown > before {
            let what = format!("{} samples of series whose definition is lost", replay.unknown - before);
            report.damage.push(Damage { file: path.into(), what });
        }
        if found.tail > 0 && last {
            report.torn_bytes = found.tail;
            let cut = || {
                let file = fs::OpenOptions::new().write(true).open(path)?;
                self.disk.truncate(&file, found.length)?;
                self.disk.sync(&file)
            };
            cut().map_err(io_error("cutting", path))?;
        } else if found.tail > 0 {
            let what = format!("its last {} bytes are damaged, the samples in them are lost", found.tail);
            report.damage.push(Damage { file: path.into(), what });
        }
        if found.length == 0 {
            // Not even a beginning: nothing can be kept in it.
            self.disk.remove(path).map_err(io_error("deleting", path))?;
            return Ok(None);
        }
        Ok(Some(OldFile { number, path: path.into(), length: found.length }))
    }

    /// What remains to be done once the log is read.
    fn settle_replayed(&self, report: &mut OpenReport) -> Result<(), Error> {
        let mut state = self.state_mut();
        state.head.find_free();
        state.head.sort_postings();
        report.series = state.head.len();
        drop(state);
        self.rank_new();
        let mut upkeep = locked(&self.upkeep);
        if report.rebuilt {
            let (blocks, tombstones) = {
                let state = self.state();
                (state.blocks.clone(), state.tombstones.clone())
            };
            self.write_manifest(&upkeep, &blocks, &tombstones)?;
        }
        self.tidy(&mut upkeep)
    }
}

fn check(settings: &Settings) -> Result<(), Error> {
    let block = settings.block.0;
    if !(60_000..=86_400_000).contains(&block) {
        return Err(Error::Settings(format!(
            "a block of `{}` is not possible: at least 1m, at most 1d",
            settings.block
        )));
    }
    if settings.out_of_order.0 > 7 * 86_400_000 {
        return Err(Error::Settings(format!(
            "an out-of-order window of `{}` is not possible: at most 7d",
            settings.out_of_order
        )));
    }
    if settings.log_limit.0 < 1 << 20 {
        return Err(Error::Settings(format!(
            "a log limit of `{}` is not possible: at least 1 MiB",
            settings.log_limit
        )));
    }
    let labels = settings.max_labels.saturating_mul(settings.max_label_name + settings.max_label_value + 20);
    if labels > record::MAX_RECORD / 2 {
        return Err(Error::Settings(format!(
            "`{}` labels of `{}` and `{}` bytes do not fit a record of the log; together they may have {}",
            settings.max_labels,
            settings.max_label_name,
            settings.max_label_value,
            Bytes((record::MAX_RECORD / 2) as u64)
        )));
    }
    if settings.max_buckets > 5_000 {
        return Err(Error::Settings(format!(
            "`{}` buckets of a histogram are not possible: at most 5000",
            settings.max_buckets
        )));
    }
    Ok(())
}

/// Deletes what was being written when the process ended.
fn remove_unfinished(disk: &Disk, dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(io_error("reading", dir))? {
        let path = entry.map_err(io_error("reading", dir))?.path();
        if path.extension().is_some_and(|e| e == "new") {
            disk.remove(&path).map_err(io_error("deleting", &path))?;
        }
    }
    Ok(())
}

fn read_manifest(disk: &Disk, dir: &Path, report: &mut OpenReport) -> Result<Manifest, Error> {
    let why = match Manifest::read(dir)? {
        Found::Whole(manifest) => return Ok(manifest),
        Found::Missing => None,
        Found::Damaged(why) => Some(why),
    };
    let logs = numbered(&dir.join("log"), ".log")?;
    if logs.iter().any(|(_, path)| log::is_old(path)) {
        return Err(Error::OldVersion(dir.into()));
    }
    let blocks = numbered(&dir.join("blocks"), ".blk")?;
    if why.is_none() && blocks.is_empty() {
        // A new store. From now on a manifest that is missing was lost.
        let manifest = Manifest::empty();
        manifest.write(disk, dir)?;
        return Ok(manifest);
    }
    let manifest = rebuild(&blocks, &logs, &numbered(&dir.join("log"), ".head")?);
    let why = why.unwrap_or_else(|| "it is missing".into());
    let what = format!("{why}; made again from the blocks that are there, deletions that it had are lost");
    report.damage.push(Damage { file: manifest::path(dir), what });
    report.rebuilt = true;
    Ok(manifest)
}

/// A manifest of what is there.
fn rebuild(blocks: &[(u64, PathBuf)], logs: &[(u64, PathBuf)], heads: &[(u64, PathBuf)]) -> Manifest {
    let mut manifest = Manifest::empty();
    let opened: Vec<Block> = blocks.iter().filter_map(|(_, path)| Block::open(path).ok()).collect();
    let replaced: BTreeSet<u64> = opened.iter().flat_map(|b| b.replaces.iter().copied()).collect();
    for block in opened.iter().filter(|b| !replaced.contains(&b.about.number)) {
        let about = &block.about;
        manifest.blocks.push(Listed {
            number: about.number,
            resolution_ms: about.resolution_ms,
            start_ms: about.start_ms,
            end_ms: about.end_ms,
        });
        manifest.log = manifest.log.max(about.log);
        manifest.max_ms = manifest.max_ms.max(about.end_ms);
    }
    // Blocks that cannot be opened are listed too, so that their damage is told.
    for (number, _) in blocks.iter().filter(|(n, _)| !opened.iter().any(|b| b.about.number == *n)) {
        manifest.blocks.push(Listed { number: *number, resolution_ms: 0, start_ms: 0, end_ms: 0 });
    }
    manifest.next_block = blocks.last().map_or(0, |(number, _)| *number) + 1;
    // Reading more of the log than must be is no harm: what is in blocks counts once.
    let known =
        heads.iter().chain(logs.first().filter(|(number, _)| *number == 1)).map(|(number, _)| *number);
    manifest.log = known.filter(|number| *number <= manifest.log).max().unwrap_or(manifest.log);
    manifest
}

fn open_blocks(
    disk: &Disk,
    dir: &Path,
    manifest: &Manifest,
    report: &mut OpenReport,
) -> Result<Vec<Arc<Block>>, Error> {
    let mut blocks = Vec::new();
    for listed in &manifest.blocks {
        let path = dir.join(file_name(listed.number));
        let range = || {
            format!(
                "samples from {} to {}",
                crate::text::time(listed.start_ms),
                crate::text::time(listed.end_ms)
            )
        };
        match fs::File::open(&path) {
            // A file that may not be opened is the operator's matter, and not damaged.
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io_error("opening", &path)(error));
            }
            Err(_) => {
                // One that was set aside was told of then.
                if !path.with_extension("blk.damaged").exists() {
                    let what = format!("the file is missing; {} are left out", range());
                    report.damage.push(Damage { file: path, what });
                }
                continue;
            }
            Ok(_) => {}
        }
        match Block::open(&path) {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(why) => {
                let _ = fs::rename(&path, path.with_extension("blk.damaged"));
                let what = format!("{why}; the block with {} is left out", range());
                report.damage.push(Damage { file: path, what });
            }
        }
    }
    for (number, path) in numbered(dir, ".blk")? {
        if !manifest.blocks.iter().any(|listed| listed.number == number) {
            disk.remove(&path).map_err(io_error("deleting", &path))?;
        }
    }
    Ok(blocks)
}

/// Reading head file and log back.
struct Replay<'a> {
    store: &'a Store,
    /// The log file that the head file belongs to.
    log: u64,
    floats: Vec<LoggedFloat>,
    /// Samples whose series' definition is lost.
    unknown: u64,
    /// The last series of the head file with its rank: it has them in order.
    ranked: Option<(Labels, u32)>,
}

impl Replay<'_> {
    fn record(&mut self, kind: u8, payload: &[u8]) -> Result<(), String> {
        let malformed = |_| "a record that cannot be understood".to_owned();
        match kind {
            record::SERIES => {
                let (slot, labels) = record::read_series(payload).map_err(malformed)?;
                self.define(slot, labels)?;
            }
            record::FLOATS => {
                record::read_floats(payload, &mut self.floats).map_err(malformed)?;
                let mut applied = 0;
                apply_floats(&mut self.store.state_mut(), &self.floats, |_, _: Applied| applied += 1);
                self.unknown += self.floats.len() as u64 - applied;
            }
            record::HISTOGRAMS => {
                let all = record::read_histograms(payload).map_err(malformed)?;
                let mut applied = 0;
                apply_histograms(&mut self.store.state_mut(), &all, |_, _| applied += 1);
                self.unknown += all.len() as u64 - applied;
            }
            record::EXEMPLARS => {
                let all = record::read_exemplars(payload).map_err(malformed)?;
                let mut state = self.store.state_mut();
                let State { head, exemplars, .. } = &mut *state;
                for (slot, exemplar, stored_ms) in all {
                    if let Some(series) = head.slot(slot) {
                        exemplars.push(Held { series: series.labels.clone(), exemplar, stored_ms });
                    }
                }
            }
            record::METADATA => {
                let all = record::read_metadata(payload).map_err(malformed)?;
                self.store.state_mut().metadata.extend(all);
            }
            kind => return Err(format!("a record of unknown kind {kind}, left out")),
        }
        Ok(())
    }

    fn define(&self, slot: u32, labels: Labels) -> Result<(), String> {
        // Twice as many slots as series may be are never used: a larger one is damage
        // that no CRC noticed, and would cost memory.
        if slot as usize > self.store.settings.max_series.saturating_mul(2).max(1 << 24) {
            return Err(format!("a series in the slot {slot}, which no store has"));
        }
        let mut state = self.store.state_mut();
        state.head.define_at(slot, labels);
        if let Some(series) = state.head.slot_mut(slot) {
            series.logged = true;
        }
        Ok(())
    }
}

impl Restore for Replay<'_> {
    fn series(&mut self, slot: u32, labels: Labels, last: Last) {
        if self.define(slot, labels.clone()).is_err() {
            return;
        }
        let mut state = self.store.state_mut();
        // What is deleted may come again, and is no duplicate then.
        let deleted = |t: &Tombstone| {
            t.log == self.log && (t.start_ms..=t.end_ms).contains(&last.at_ms) && t.covers(&labels)
        };
        let forgotten = state.tombstones.iter().any(deleted);
        if let Some(series) = state.head.slot_mut(slot).filter(|_| !forgotten) {
            series.last = last;
        }
        let rank = match &self.ranked {
            Some((before, rank)) if *before < labels => rank + 1,
            None => 0,
            // A file that is not in order ranks nothing more.
            Some(_) => return,
        };
        state.head.set_rank(slot, rank);
        self.ranked = Some((labels, rank));
    }

    fn exemplar(&mut self, held: Held) {
        self.store.state_mut().exemplars.push(held);
    }

    fn metadata(&mut self, metric: String, metadata: Metadata) {
        self.store.state_mut().metadata.insert(metric, metadata);
    }

    fn max_ms(&mut self, max_ms: i64) {
        let mut state = self.store.state_mut();
        state.head.max_ms = state.head.max_ms.max(max_ms);
    }
}
