//! What is done from time to time: blocks are cut, merged and deleted.

use crate::block::{Block, BlockWriter};
use crate::head::HeadPart;
use crate::pack::Unpacker;
use crate::report::io_error;
use crate::store::{Store, locked};
use crate::{Error, MaintainReport, log};
use monitor_promql::Labels;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// Blocks of one day are merged into one: a year of queries then opens 365 files
/// and not 4,380, and the labels are there once a day.
const MERGED_MS: i64 = 86_400_000;

impl Store {
    /// Does what is due: syncs, cuts and merges blocks, drops old ones. Call it
    /// every few seconds, off the threads that must not wait. It does all it can
    /// before it gives the first error.
    pub fn maintain(&self, now_ms: i64) -> Result<MaintainReport, Error> {
        let _one_at_a_time = locked(&self.maintenance);
        let mut report = MaintainReport::default();
        let synced = self.commit();
        // Deleting comes before writing: it makes room.
        let expired = self.expire(now_ms).map(|count| report.blocks_expired = count);
        let cut = self.cut(&mut report);
        let merged = self.merge(&mut report);
        synced.and(expired).and(cut).and(merged)?;
        report.damage = std::mem::take(&mut *locked(&self.damage));
        Ok(report)
    }

    /// Makes blocks of the head's whole block times, and drops the log before them.
    fn cut(&self, report: &mut MaintainReport) -> Result<(), Error> {
        {
            let mut ingest = locked(&self.ingest);
            if ingest.log.span_ms() > self.rules.block_ms / 4 {
                ingest.log.rotate()?;
            }
        }
        loop {
            let (end_ms, start_ms, series) = {
                let state = self.state();
                let Some(end_ms) = state.head.cut_end_ms() else { break };
                let Some((start_ms, _)) = state.head.range_ms() else { break };
                (end_ms, start_ms, state.head.all())
            };
            // Nothing before `end_ms` is taken any more, so the lock is needed
            // for a series at a time only.
            let block = write_block(&self.blocks_dir(), start_ms, end_ms, series, |id| {
                self.state().head.part_before(id, end_ms)
            })?;
            let mut ingest = locked(&self.ingest);
            let mut state = self.state_mut();
            state.blocks.extend(block.map(Arc::new));
            state.head.truncate(end_ms);
            drop(state);
            report.blocks_cut += 1;
            ingest.log.rotate()?;
        }
        if report.blocks_cut > 0 { self.drop_log() } else { Ok(()) }
    }

    /// Drops the log files whose samples are all in blocks, after writing down
    /// the series that the others refer to.
    fn drop_log(&self) -> Result<(), Error> {
        let dir = self.log_dir();
        // Series that come later are defined in the file that is written now.
        let ingest = locked(&self.ingest);
        let number = ingest.log.number();
        if !ingest.log.has_read_back() {
            self.state_mut().head.forget_aliases();
        }
        drop(ingest);
        let (series, floor_ms) = {
            let state = self.state();
            (state.head.definitions(), state.head.floor_ms())
        };
        log::write_snapshot(&dir, number, &series)?;
        locked(&self.ingest).log.drop_before(floor_ms)?;
        for (_, path) in log::snapshots(&dir)?.into_iter().filter(|(n, _)| *n < number) {
            fs::remove_file(&path).map_err(io_error("deleting", &path))?;
        }
        Ok(())
    }

    /// Deletes blocks that are too old or too many; gives how many.
    pub(crate) fn expire(&self, now_ms: i64) -> Result<usize, Error> {
        let retention_ms = i64::try_from(self.settings.retention.0).unwrap_or(i64::MAX);
        let log_bytes = locked(&self.ingest).log.bytes();
        let mut state = self.state_mut();
        let Some(newest_ms) = state.blocks.last().map(|b| b.end_ms) else { return Ok(0) };
        // A clock that jumped ahead must not empty the store.
        let oldest_ms = now_ms.min(newest_ms).saturating_sub(retention_ms);
        let limit = match self.settings.retention_bytes.0 {
            0 => u64::MAX,
            limit => limit,
        };
        let mut bytes = log_bytes + state.blocks.iter().map(|b| b.bytes).sum::<u64>();
        let mut gone = 0;
        for block in &state.blocks {
            if block.end_ms > oldest_ms && bytes <= limit {
                break;
            }
            bytes -= block.bytes;
            gone += 1;
        }
        let expired: Vec<Arc<Block>> = state.blocks.drain(..gone).collect();
        drop(state);
        for block in &expired {
            locked(&self.indexes).forget(&block.path);
            fs::remove_file(&block.path).map_err(io_error("deleting", &block.path))?;
        }
        self.expire_damaged(oldest_ms)?;
        Ok(expired.len())
    }

    /// Deletes damaged blocks that would be too old by now.
    fn expire_damaged(&self, oldest_ms: i64) -> Result<(), Error> {
        let dir = self.blocks_dir();
        for entry in fs::read_dir(&dir).map_err(io_error("reading", &dir))? {
            let path = entry.map_err(io_error("reading", &dir))?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            let end_ms =
                name.strip_suffix(".blk.damaged").and_then(|n| n.rsplit_once('-')?.1.parse::<i64>().ok());
            if end_ms.is_some_and(|end_ms| end_ms <= oldest_ms) {
                fs::remove_file(&path).map_err(io_error("deleting", &path))?;
            }
        }
        Ok(())
    }

    /// Merges the blocks of each day that is over.
    fn merge(&self, report: &mut MaintainReport) -> Result<(), Error> {
        while let Some(blocks) = self.mergeable() {
            let (first, last) = (&blocks[0], &blocks[blocks.len() - 1]);
            let Some(merged) = self.write_merged(&blocks, first.start_ms, last.end_ms)? else { break };
            let mut state = self.state_mut();
            let at = state.blocks.iter().position(|b| Arc::ptr_eq(b, first)).unwrap_or(0);
            state.blocks.retain(|b| !blocks.iter().any(|old| Arc::ptr_eq(b, old)));
            state.blocks.insert(at, Arc::new(merged));
            drop(state);
            for block in &blocks {
                locked(&self.indexes).forget(&block.path);
                fs::remove_file(&block.path).map_err(io_error("deleting", &block.path))?;
            }
            report.blocks_merged += blocks.len();
        }
        Ok(())
    }

    /// Blocks of one day that is over, two or more.
    fn mergeable(&self) -> Option<Vec<Arc<Block>>> {
        let state = self.state();
        let newest_ms = state.blocks.last()?.end_ms;
        let mut days: BTreeMap<i64, Vec<Arc<Block>>> = BTreeMap::new();
        for block in &state.blocks {
            // A block's range ends at a block boundary; the time just before it says its day.
            days.entry((block.end_ms - 1).div_euclid(MERGED_MS)).or_default().push(block.clone());
        }
        let over = |day: &i64| (day + 1) * MERGED_MS <= newest_ms;
        days.into_iter().find(|(day, blocks)| over(day) && blocks.len() > 1).map(|(_, blocks)| blocks)
    }

    /// `None` where a block turned out to be damaged: it is out of the store now.
    fn write_merged(
        &self,
        blocks: &[Arc<Block>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Option<Block>, Error> {
        let mut warnings = BTreeSet::new();
        let mut series: BTreeMap<Labels, Vec<(usize, usize)>> = BTreeMap::new();
        let mut indexes = Vec::new();
        for (b, block) in blocks.iter().enumerate() {
            let Some(index) = self.index(block, &mut warnings) else { return Ok(None) };
            for (s, one) in index.series.iter().enumerate() {
                series.entry(one.labels.clone()).or_default().push((b, s));
            }
            indexes.push(index);
        }
        let mut writer = BlockWriter::create(&self.blocks_dir(), start_ms, end_ms)?;
        let mut unpacker = Unpacker::new().map_err(io_error("starting zstd for", &self.dir))?;
        let (mut buffer, mut points) = (Vec::new(), Vec::new());
        for (labels, places) in series {
            points.clear();
            for (b, s) in places {
                for chunk in &indexes[b].series[s].chunks {
                    if let Err(why) = blocks[b].read(*chunk, &mut unpacker, &mut buffer, &mut points) {
                        self.set_aside(&blocks[b], &why);
                        return Ok(None);
                    }
                }
            }
            writer.add(&labels, &points)?;
        }
        open_written(writer)
    }
}

/// Writes a block of what the head has before a time; `None` where that is nothing.
pub(crate) fn write_block(
    dir: &Path,
    start_ms: i64,
    end_ms: i64,
    mut series: Vec<(Labels, u64)>,
    part: impl Fn(u64) -> Option<HeadPart>,
) -> Result<Option<Block>, Error> {
    let mut writer = BlockWriter::create(dir, start_ms, end_ms)?;
    let mut points = Vec::new();
    series.sort_unstable();
    for (labels, id) in series {
        let Some(part) = part(id) else { continue };
        points.clear();
        part.decode(i64::MIN, end_ms - 1, &mut points);
        writer.add(&labels, &points)?;
    }
    open_written(writer)
}

/// Finishes a block and opens it; what was just written and cannot be read is the disk's failure.
fn open_written(writer: BlockWriter) -> Result<Option<Block>, Error> {
    let Some(path) = writer.finish()? else { return Ok(None) };
    match Block::open(&path) {
        Ok(block) => Ok(Some(block)),
        Err(why) => Err(io_error("reading back", &path)(std::io::Error::other(why))),
    }
}
