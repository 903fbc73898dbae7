//! Opening: blocks are checked, the log is read back.

use crate::block::Block;
use crate::head::{Applied, Head, Rules};
use crate::log::{self, Log, OldFile, Record};
use crate::report::io_error;
use crate::store::{Ingest, State, Store};
use crate::{Damage, Error, OpenReport, Settings};
use base::Bytes;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl Store {
    /// Opens the store in a directory, which is made where it is missing, and
    /// reads the log back. `now_ms` is the time in Unix milliseconds.
    pub fn open(dir: &Path, settings: Settings, now_ms: i64) -> Result<(Self, OpenReport), Error> {
        let rules = rules(&settings)?;
        for folder in [dir.to_path_buf(), dir.join("log"), dir.join("blocks")] {
            sys::file::make_dir(&folder, 0o700).map_err(io_error("making", &folder))?;
            remove_unfinished(&folder)?;
        }
        let lock_path = dir.join("lock");
        let lock = sys::file::Lock::take(&lock_path)
            .map_err(io_error("locking", &lock_path))?
            .ok_or_else(|| Error::Locked(dir.into()))?;
        let mut report = OpenReport::default();
        let blocks = open_blocks(&dir.join("blocks"), &mut report)?;
        report.blocks = blocks.len();
        let floor_ms = blocks.last().map_or(i64::MIN, |b| b.end_ms);
        let state = State { head: Head::new(rules, floor_ms), blocks };

        let log_dir = dir.join("log");
        let mut replay = Replay { state, next_id: 1, report, unknown: 0 };
        replay.snapshots(&log_dir)?;
        let files = log::files(&log_dir)?;
        let mut older = Vec::new();
        for (at, (_, path)) in files.iter().enumerate() {
            let last = at + 1 == files.len();
            older.extend(replay.file(path, last)?);
            replay.cut_what_is_whole(&dir.join("blocks"))?;
        }
        let number = files.last().map_or(0, |(number, _)| *number) + 1;
        let log = Log::begin(&log_dir, older, number, &settings)?;
        let (state, next_id, report) = replay.finish();
        let store = Self::assemble(dir, settings, rules, lock, Ingest { log, next_id }, state);
        store.expire(now_ms)?;
        Ok((store, report))
    }
}

fn rules(settings: &Settings) -> Result<Rules, Error> {
    let (block, out_of_order) = (settings.block.0, settings.out_of_order.0);
    if !(60_000..=86_400_000).contains(&block) {
        return Err(Error::Settings(format!(
            "a block of `{}` is not possible: at least 1m, at most 1d",
            settings.block
        )));
    }
    if out_of_order > block {
        return Err(Error::Settings(format!(
            "an out-of-order window of `{}` is longer than a block of `{}`",
            settings.out_of_order, settings.block
        )));
    }
    let labels = settings.max_labels.saturating_mul(settings.max_label_name + settings.max_label_value + 20);
    if labels > log::MAX_RECORD / 2 {
        return Err(Error::Settings(format!(
            "`{}` labels of `{}` and `{}` bytes do not fit a record of the log; together they may have {}",
            settings.max_labels,
            settings.max_label_name,
            settings.max_label_value,
            Bytes((log::MAX_RECORD / 2) as u64)
        )));
    }
    Ok(Rules { block_ms: block as i64, out_of_order_ms: out_of_order as i64 })
}

/// Deletes what was being written when the process ended.
fn remove_unfinished(dir: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(io_error("reading", dir))? {
        let path = entry.map_err(io_error("reading", dir))?.path();
        if path.extension().is_some_and(|e| e == "new") {
            fs::remove_file(&path).map_err(io_error("deleting", &path))?;
        }
    }
    Ok(())
}

fn open_blocks(dir: &Path, report: &mut OpenReport) -> Result<Vec<Arc<Block>>, Error> {
    let mut blocks = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("reading", dir))? {
        let path = entry.map_err(io_error("reading", dir))?.path();
        if path.extension().is_none_or(|e| e != "blk") {
            continue;
        }
        // A file that may not be opened is the operator's matter, and not damaged.
        fs::File::open(&path).map_err(io_error("opening", &path))?;
        match Block::open(&path) {
            Ok(block) => blocks.push(Arc::new(block)),
            Err(why) => {
                let _ = fs::rename(&path, path.with_extension("blk.damaged"));
                report.damage.push(Damage { file: path, what: format!("{why}; the block is left out") });
            }
        }
    }
    // Of blocks that cover one another the largest was merged from the others.
    blocks.sort_by_key(|b| (b.start_ms, -b.end_ms));
    let mut kept: Vec<Arc<Block>> = Vec::new();
    for block in blocks {
        match kept.last() {
            Some(before) if block.end_ms <= before.end_ms => {
                fs::remove_file(&block.path).map_err(io_error("deleting", &block.path))?;
            }
            _ => kept.push(block),
        }
    }
    Ok(kept)
}

/// Reading the log back.
struct Replay {
    state: State,
    next_id: u64,
    report: OpenReport,
    /// Samples whose series' definition is lost.
    unknown: u64,
}

impl Replay {
    /// Reads the newest snapshot that is whole.
    fn snapshots(&mut self, dir: &Path) -> Result<(), Error> {
        for (_, path) in log::snapshots(dir)?.into_iter().rev() {
            match log::read_snapshot(&path) {
                Ok(series) => {
                    series.into_iter().for_each(|(id, labels)| self.define(id, labels));
                    return Ok(());
                }
                Err(why) => self.damage(&path, format!("{why}; an older snapshot is tried")),
            }
        }
        Ok(())
    }

    fn define(&mut self, id: u64, labels: monitor_promql::Labels) {
        self.next_id = self.next_id.max(id + 1);
        self.state.head.define(id, labels);
    }

    fn file(&mut self, path: &Path, last: bool) -> Result<Option<OldFile>, Error> {
        let (mut max_ms, before) = (i64::MIN, self.unknown);
        let found = log::read_file(path, |record| match record {
            Record::Series(id, labels) => self.define(id, labels),
            Record::Samples(samples) => {
                for (id, point) in samples {
                    max_ms = max_ms.max(point.at_ms);
                    self.apply(id, point);
                }
            }
        })?;
        self.report.log_files += 1;
        for what in found.damage {
            self.damage(path, what);
        }
        if self.unknown > before {
            self.damage(
                path,
                format!("{} samples of series whose definition is lost", self.unknown - before),
            );
        }
        if found.tail > 0 && last {
            self.report.torn_bytes = found.tail;
            cut_file(path, found.length)?;
        } else if found.tail > 0 {
            self.damage(
                path,
                format!("its last {} bytes are damaged, the samples in them are lost", found.tail),
            );
        }
        if found.length == 0 {
            // Not even a beginning: nothing can be kept in it.
            fs::remove_file(path).map_err(io_error("deleting", path))?;
            return Ok(None);
        }
        Ok(Some(OldFile { path: path.into(), length: found.length, max_ms, read_back: true }))
    }

    fn apply(&mut self, id: u64, point: monitor_promql::Point) {
        match self.state.head.apply(id, point) {
            Some(Applied::Stored) => self.report.samples += 1,
            Some(_) => {}
            // What is in blocks already needs no series in the head.
            None => self.unknown += u64::from(point.at_ms >= self.state.head.floor_ms()),
        }
    }

    /// Keeps the head small however long the log is.
    fn cut_what_is_whole(&mut self, blocks_dir: &Path) -> Result<(), Error> {
        while let Some(end_ms) = self.state.head.cut_end_ms() {
            let start_ms = self.state.head.range_ms().map_or(end_ms, |(min_ms, _)| min_ms);
            let head = &self.state.head;
            let block = crate::maintain::write_block(blocks_dir, start_ms, end_ms, head.all(), |id| {
                head.part_before(id, end_ms)
            })?;
            self.state.blocks.extend(block.map(Arc::new));
            self.state.head.truncate_samples(end_ms);
        }
        Ok(())
    }

    fn damage(&mut self, path: &Path, what: String) {
        self.report.damage.push(Damage { file: PathBuf::from(path), what });
    }

    fn finish(mut self) -> (State, u64, OpenReport) {
        self.state.head.forget_empty();
        self.report.series = self.state.head.len();
        (self.state, self.next_id, self.report)
    }
}

/// Cuts off what was being written when the process ended.
fn cut_file(path: &Path, length: u64) -> Result<(), Error> {
    let cut = || {
        let file = fs::OpenOptions::new().write(true).open(path)?;
        file.set_len(length)?;
        file.sync_all()
    };
    cut().map_err(io_error("cutting", path))
}
