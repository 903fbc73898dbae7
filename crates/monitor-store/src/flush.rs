//! Flush: what is in the head becomes blocks (docs/formats/store.md, "The life
//! of a sample").

use crate::Error;
use crate::block::{About, Block, BlockWriter};
use crate::head::{Last, UNRANKED, sort_by_rank};
use crate::headfile::HeadWriter;
use crate::log::numbered;
use crate::manifest::{Found, Manifest};
use crate::report::io_error;
use crate::samples::Samples;
use crate::store::{Store, Upkeep, locked};
use monitor_model::Labels;
use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::path::Path;
use std::sync::Arc;

pub(crate) const DAY_MS: i64 = 86_400_000;
/// Series read from the head under one lock.
const AT_ONCE: usize = 32;
/// Blocks written side by side.
const FILES_AT_ONCE: usize = 16;
/// Slots changed under one lock.
const SLOTS_AT_ONCE: u32 = 8_192;
/// A series without samples in the head for so long is forgotten; it is found
/// again, or defined anew, when it has samples.
const IDLE_MS: i64 = 3_600_000;

/// A series as it was when the flush began.
struct Entry {
    rank: u32,
    slot: u32,
    generation: u32,
    logged: bool,
    labels: Labels,
}

impl Store {
    /// Makes blocks of everything in the head; gives how many. Where it fails,
    /// everything stays as it was, and the next call goes on.
    pub(crate) fn flush(&self, upkeep: &mut Upkeep, now_ms: i64) -> Result<usize, Error> {
        if upkeep.frozen_log.is_none() {
            let mut ingest = locked(&self.ingest);
            let Some(log) = &mut ingest.log else { return Ok(0) };
            let worth = upkeep.renew
                || self.state().head.samples > 0
                || log.bytes_from(upkeep.log) > self.settings.log_limit.0;
            if !worth {
                return Ok(0);
            }
            upkeep.frozen_log = Some(log.rotate()?);
            self.state_mut().head.freeze();
        }
        self.finish_flush(upkeep, now_ms).inspect_err(|_| upkeep.untidy = true)
    }

    /// The same while the log is read: what came from files before `log` is flushed.
    pub(crate) fn flush_replayed(&self, upkeep: &mut Upkeep, log: u64, now_ms: i64) -> Result<(), Error> {
        upkeep.frozen_log = Some(log);
        self.state_mut().head.freeze();
        self.finish_flush(upkeep, now_ms).map(drop)
    }

    fn finish_flush(&self, upkeep: &mut Upkeep, now_ms: i64) -> Result<usize, Error> {
        let Some(log) = upkeep.frozen_log else { return Ok(0) };
        let order = self.frozen_order();
        let new = self.write_frozen(upkeep, log, &order)?;
        let count = new.len();
        let (mut blocks, tombstones) = {
            let state = self.state();
            (state.blocks.clone(), state.tombstones.clone())
        };
        blocks.extend(new.iter().cloned());
        let floor = std::mem::replace(&mut upkeep.log, log);
        if let Err(error) = self.write_manifest(upkeep, &blocks, &tombstones) {
            upkeep.log = floor;
            return Err(error);
        }
        upkeep.frozen_log = None;
        upkeep.renew = false;
        upkeep.flushed_ms = now_ms;
        upkeep.untidy = true;
        self.state_mut().add_blocks(new);
        self.drop_frozen(&order, now_ms);
        self.tidy(upkeep)?;
        Ok(count)
    }

    /// The series that are frozen, ascending by labels; ranks them where some are not.
    fn frozen_order(&self) -> Vec<Entry> {
        let (mut order, unranked) = {
            let state = self.state();
            let entry = |(slot, series): (u32, &crate::head::Series)| Entry {
                rank: series.rank,
                slot,
                generation: series.generation,
                logged: series.logged,
                labels: series.labels.clone(),
            };
            let order: Vec<Entry> =
                state.head.used().filter(|(_, series)| series.is_frozen()).map(entry).collect();
            let unranked = order.iter().any(|entry| entry.rank == UNRANKED);
            (order, unranked)
        };
        sort_by_rank(&mut order, |entry| entry.rank, |entry| &entry.labels);
        if unranked {
            let ranked: Vec<(u32, u32)> = order.iter().map(|entry| (entry.slot, entry.generation)).collect();
            self.state_mut().head.rank(&ranked);
        }
        order
    }

    /// Writes blocks and the head file.
    fn write_frozen(&self, upkeep: &mut Upkeep, log: u64, order: &[Entry]) -> Result<Vec<Arc<Block>>, Error> {
        let mut days = BTreeSet::new();
        let mut head = HeadWriter::create(&self.disk, &self.log_dir(), log)?;
        let mut writers: BTreeMap<i64, BlockWriter> = BTreeMap::new();
        self.each_frozen(order, |entry, samples, last| {
            if entry.logged {
                head.add(&entry.labels, entry.slot, last)?;
            }
            each_day(samples, |day, samples| {
                days.insert(day);
                // Most flushes have one day: its block is written on the way. Further
                // ones, of samples that came late, are written a few at a time below.
                if days.len() > 1 && !writers.contains_key(&day) {
                    return Ok(());
                }
                self.writer_of(day, &mut writers, upkeep, log)?.add(&entry.labels, samples)
            })
        })?;
        let mut blocks = Vec::new();
        for (day, writer) in writers {
            days.remove(&day);
            blocks.extend(open_written(writer)?);
        }
        let days: Vec<i64> = days.into_iter().collect();
        for days in days.chunks(FILES_AT_ONCE) {
            let mut writers: BTreeMap<i64, BlockWriter> = BTreeMap::new();
            self.each_frozen(order, |entry, samples, _| {
                each_day(samples, |day, samples| {
                    if !days.contains(&day) {
                        return Ok(());
                    }
                    self.writer_of(day, &mut writers, upkeep, log)?.add(&entry.labels, samples)
                })
            })?;
            for writer in writers.into_values() {
                blocks.extend(open_written(writer)?);
            }
        }
        let (exemplars, metadata, max_ms) = {
            let state = self.state();
            let metadata: Vec<_> = state.metadata.iter().map(|(name, m)| (name.clone(), m.clone())).collect();
            (state.exemplars.iter().cloned().collect::<Vec<_>>(), metadata, state.head.max_ms)
        };
        head.finish(&exemplars, &metadata, max_ms)?;
        Ok(blocks)
    }

    /// Gives what is frozen, series after series.
    fn each_frozen(
        &self,
        order: &[Entry],
        mut each: impl FnMut(&Entry, &Samples, Last) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut read: Vec<(Samples, Option<Last>)> = Vec::new();
        read.resize_with(AT_ONCE, Default::default);
        for entries in order.chunks(AT_ONCE) {
            {
                let state = self.state();
                for (entry, into) in entries.iter().zip(&mut read) {
                    into.1 = state.head.slot(entry.slot).and_then(|series| series.frozen(&mut into.0));
                }
            }
            for (entry, (samples, last)) in entries.iter().zip(&read) {
                if let Some(last) = last {
                    each(entry, samples, *last)?;
                }
            }
        }
        Ok(())
    }

    fn writer_of<'a>(
        &self,
        day: i64,
        writers: &'a mut BTreeMap<i64, BlockWriter>,
        upkeep: &mut Upkeep,
        log: u64,
    ) -> Result<&'a mut BlockWriter, Error> {
        Ok(match writers.entry(day) {
            btree_map::Entry::Occupied(writer) => writer.into_mut(),
            btree_map::Entry::Vacant(place) => place.insert(self.new_block(upkeep, log)?),
        })
    }

    fn new_block(&self, upkeep: &mut Upkeep, log: u64) -> Result<BlockWriter, Error> {
        let number = upkeep.next_block;
        upkeep.next_block += 1;
        let about = About { number, first: number, log, ..About::default() };
        BlockWriter::create(&self.disk, &self.blocks_dir(), about, Vec::new())
    }

    /// Forgets what is in blocks now, and series that nothing comes for any more.
    fn drop_frozen(&self, order: &[Entry], now_ms: i64) {
        let slots = self.state().head.slots();
        for from in (0..slots).step_by(SLOTS_AT_ONCE as usize) {
            let mut state = self.state_mut();
            for (_, series) in state.head.range_mut(from, slots.min(from + SLOTS_AT_ONCE)) {
                series.drop_frozen();
            }
        }
        self.state_mut().head.thawed();
        // Whoever appends holds this lock from looking a series up to storing its sample.
        let _ingest = locked(&self.ingest);
        let idle: Vec<u32> = {
            let state = self.state();
            let idle_ms = state
                .head
                .max_ms
                .min(now_ms)
                .saturating_sub(IDLE_MS.max(self.settings.out_of_order.0 as i64));
            let mut idle: Vec<u32> = order
                .iter()
                .filter(|entry| {
                    state.head.slot(entry.slot).is_some_and(|series| {
                        series.generation == entry.generation
                            && !series.has_samples()
                            && (!series.logged || series.last.at_ms < idle_ms)
                    })
                })
                .map(|entry| entry.slot)
                .collect();
            idle.sort_unstable();
            idle
        };
        for part in idle.chunks(SLOTS_AT_ONCE as usize) {
            self.state_mut().head.forget(part);
        }
    }

    /// Deletes log and head files that no longer count, and blocks that never came to.
    pub(crate) fn tidy(&self, upkeep: &mut Upkeep) -> Result<(), Error> {
        if let Some(log) = &mut locked(&self.ingest).log {
            log.drop_before(upkeep.log)?;
        }
        let dir = self.log_dir();
        for (number, path) in numbered(&dir, ".head")? {
            if number < upkeep.log {
                self.disk.remove(&path).map_err(io_error("deleting", &path))?;
            }
        }
        self.remove_unnamed()?;
        upkeep.untidy = false;
        Ok(())
    }

    /// Deletes blocks that were written, and then the disk was too full for what
    /// names them; they would take the room that is missing. One that the manifest
    /// on disk names, although writing it was told to have failed, stays.
    fn remove_unnamed(&self) -> Result<(), Error> {
        let Found::Whole(manifest) = Manifest::read(&self.dir)? else { return Ok(()) };
        let mut known: BTreeSet<u64> = manifest.blocks.iter().map(|listed| listed.number).collect();
        known.extend(self.state().blocks.iter().map(|block| block.about.number));
        for (number, path) in numbered(&self.blocks_dir(), ".blk")? {
            if !known.contains(&number) {
                self.disk.remove(&path).map_err(io_error("deleting", &path))?;
            }
        }
        Ok(())
    }

    /// Gives ranks to series that have none, so that queries need not compare labels.
    pub(crate) fn rank_new(&self) {
        let mut order: Vec<Entry> = {
            let state = self.state();
            if state.head.unranked() * 64 < state.head.len() {
                return;
            }
            let entry = |(slot, series): (u32, &crate::head::Series)| Entry {
                rank: series.rank,
                slot,
                generation: series.generation,
                logged: series.logged,
                labels: series.labels.clone(),
            };
            state.head.used().map(entry).collect()
        };
        sort_by_rank(&mut order, |entry| entry.rank, |entry| &entry.labels);
        let ranked: Vec<(u32, u32)> = order.iter().map(|entry| (entry.slot, entry.generation)).collect();
        self.state_mut().head.rank(&ranked);
    }

    /// Whether a flush is due.
    pub(crate) fn flush_due(&self, upkeep: &Upkeep, now_ms: i64) -> bool {
        if upkeep.frozen_log.is_some() {
            return true;
        }
        let logged = locked(&self.ingest).log.as_ref().map_or(0, |log| log.bytes_from(upkeep.log));
        if logged > self.settings.log_limit.0 {
            return true;
        }
        let state = self.state();
        let Some((min_ms, max_ms)) = state.head.range_ms() else { return false };
        let block_ms = self.settings.block.0 as i64;
        // Late samples make the head look older than it is; the newest samples of
        // the last flush say when this part of time began.
        let began_ms = state.raw().map(|b| b.about.end_ms).max().map_or(min_ms, |end_ms| end_ms.max(min_ms));
        max_ms.saturating_sub(began_ms) >= block_ms || now_ms.abs_diff(upkeep.flushed_ms) as i64 >= block_ms
    }
}

/// Gives the samples of a series day by day.
fn each_day(
    samples: &Samples,
    mut each: impl FnMut(i64, &Samples) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some((first_ms, last_ms)) = samples.range_ms() else { return Ok(()) };
    let last_day = last_ms.div_euclid(DAY_MS);
    let mut day = first_ms.div_euclid(DAY_MS);
    if day == last_day {
        return each(day, samples);
    }
    let mut part = Samples::default();
    while day <= last_day {
        let (start_ms, end_ms) = (day * DAY_MS, (day + 1) * DAY_MS - 1);
        part.clear();
        part.copy_part(samples, start_ms, end_ms);
        if !part.is_empty() {
            each(day, &part)?;
        }
        // There may be years between two samples.
        let after = |times: &[i64]| times.get(times.partition_point(|t| *t <= end_ms)).copied();
        let next = [after(&samples.times), after(&samples.histogram_times)].into_iter().flatten().min();
        day = next.map_or(last_day + 1, |at_ms| at_ms.div_euclid(DAY_MS));
    }
    Ok(())
}

/// Finishes a block and opens it; what was just written and cannot be read is the disk's failure.
pub(crate) fn open_written(writer: BlockWriter) -> Result<Option<Arc<Block>>, Error> {
    let Some(path) = writer.finish()? else { return Ok(None) };
    open_block(&path).map(Some)
}

fn open_block(path: &Path) -> Result<Arc<Block>, Error> {
    match Block::open(path) {
        Ok(block) => Ok(Arc::new(block)),
        Err(why) => Err(io_error("reading back", path)(std::io::Error::other(why))),
    }
}
