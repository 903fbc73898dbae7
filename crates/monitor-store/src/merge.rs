//! Merging blocks, and rolling them up.

use crate::block::{About, Block, BlockWriter, Tools};
use crate::flush::{DAY_MS, open_written};
use crate::report::io_error;
use crate::rollup::{Roller, merge_rolled};
use crate::samples::{Samples, settle};
use crate::store::{Store, Upkeep, locked};
use crate::walk::{Cursor, least};
use crate::{Error, FIVE_MINUTES_MS, HOUR_MS};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// So many small blocks that follow one another become one, though their day is not over.
const SMALL_BLOCKS: usize = 8;
/// A day is over when samples are so much past it, beside the out-of-order window.
const SETTLED_MS: i64 = 3_600_000;
/// Days that blocks of rollups cover once they are merged.
const FIVE_MINUTES_DAYS: i64 = 8;
const HOUR_DAYS: i64 = 32;
/// Between two looks at whether the head must be flushed meanwhile.
const SERIES_BETWEEN: usize = 1_024;

type Blocks = Vec<Arc<Block>>;

fn day_of(block: &Block) -> i64 {
    block.about.start_ms.div_euclid(DAY_MS)
}

/// The day that a rollup's points are of: the last point of a day is midnight.
fn rolled_day_of(block: &Block) -> i64 {
    (block.about.start_ms - 1).div_euclid(DAY_MS)
}

impl Store {
    /// The newest time by which something can be called over.
    fn over_ms(&self, now_ms: i64) -> i64 {
        let newest_ms = self.state().head.max_ms.min(now_ms);
        newest_ms.saturating_sub((self.settings.out_of_order.0 as i64).saturating_add(SETTLED_MS))
    }

    /// Merges what is due first; gives how many blocks went. `all` merges the
    /// blocks of every day, whether it is over or not.
    pub(crate) fn merge(&self, upkeep: &mut Upkeep, now_ms: i64, all: bool) -> Result<usize, Error> {
        let mut merged = 0;
        while let Some(blocks) = self.mergeable(self.over_ms(now_ms), all) {
            let merging = self.merge_blocks(upkeep, &blocks, now_ms);
            if !merging.inspect_err(|_| upkeep.untidy = true)? {
                break;
            }
            merged += blocks.len();
            if !all {
                // The rest in the next call: flushes and syncs come in between.
                break;
            }
        }
        Ok(merged)
    }

    fn mergeable(&self, over_ms: i64, all: bool) -> Option<Blocks> {
        let state = self.state();
        let mut days: BTreeMap<i64, Blocks> = BTreeMap::new();
        for block in state.raw() {
            days.entry(day_of(block)).or_default().push(block.clone());
        }
        let concerned = |b: &Arc<Block>| {
            let about = &b.about;
            state.tombstones.iter().any(|t| t.concerns(about.number, about.start_ms, about.end_ms))
        };
        for (day, blocks) in days {
            let over = all || (day + 1) * DAY_MS <= over_ms;
            if over && (blocks.len() > 1 || blocks.iter().any(concerned)) {
                return Some(blocks);
            }
            // Neighbours by order alone, so that what was acknowledged first stays first.
            let small = |b: &Arc<Block>| b.about.end_ms - b.about.start_ms < self.settings.block.0 as i64 / 2;
            for run in blocks.chunk_by(|a, b| small(a) == small(b)) {
                if small(&run[0]) && run.len() >= SMALL_BLOCKS {
                    return Some(run.to_vec());
                }
            }
        }
        for (resolution_ms, days) in [(FIVE_MINUTES_MS, FIVE_MINUTES_DAYS), (HOUR_MS, HOUR_DAYS)] {
            if let Some(block) = state.rolled(resolution_ms).find(|b| concerned(b)) {
                return Some(vec![block.clone()]);
            }
            let mut windows: BTreeMap<i64, Blocks> = BTreeMap::new();
            for block in state.rolled(resolution_ms) {
                windows.entry(rolled_day_of(block).div_euclid(days)).or_default().push(block.clone());
            }
            let over = |window: i64| all || (window + 1) * days * DAY_MS <= over_ms.saturating_sub(DAY_MS);
            if let Some((_, blocks)) = windows.into_iter().find(|(w, blocks)| over(*w) && blocks.len() > 1) {
                return Some(blocks);
            }
        }
        None
    }

    /// Puts one block in the place of some; `false` where one turned out to be damaged.
    fn merge_blocks(&self, upkeep: &mut Upkeep, blocks: &[Arc<Block>], now_ms: i64) -> Result<bool, Error> {
        let resolution_ms = blocks[0].about.resolution_ms;
        let number = upkeep.next_block;
        upkeep.next_block += 1;
        let about = About {
            number,
            first: blocks.iter().map(|b| b.about.first).min().unwrap_or(number),
            resolution_ms,
            log: blocks.iter().map(|b| b.about.log).max().unwrap_or(0),
            ..About::default()
        };
        let replaces = blocks.iter().map(|b| b.about.number).collect();
        let mut writer = BlockWriter::create(&self.disk, &self.blocks_dir(), about, replaces)?;
        let mut conflicts = 0;
        let done = if resolution_ms == 0 {
            self.each_merged(upkeep, blocks, now_ms, |labels, samples| {
                conflicts += samples.conflicts;
                writer.add(labels, samples)
            })?
        } else {
            merge_rolled(self, blocks, |labels, rolled, last| writer.add_rolled(labels, rolled, last))?
        };
        if !done {
            return Ok(false);
        }
        let new = open_written(writer)?;
        self.replace(upkeep, blocks, new)?;
        self.counters.conflicts.fetch_add(conflicts, Ordering::Relaxed);
        Ok(true)
    }

    /// Gives all series of some blocks, put together; `false` where one of them
    /// turned out to be damaged: it is out of the store now.
    pub(crate) fn each_merged(
        &self,
        upkeep: &mut Upkeep,
        blocks: &[Arc<Block>],
        now_ms: i64,
        mut each: impl FnMut(&monitor_model::Labels, &Samples) -> Result<(), Error>,
    ) -> Result<bool, Error> {
        let Some(mut cursors) = self.cursors(blocks) else { return Ok(false) };
        let mut tools = Tools::new().map_err(io_error("starting zstd for", &self.dir))?;
        let (mut hits, mut samples, mut done) = (Vec::new(), Samples::default(), 0usize);
        while let Some(labels) = least(&cursors, None, &mut hits) {
            samples.clear();
            for hit in &hits {
                let cursor = &mut cursors[*hit];
                let read = cursor.append(&mut tools, &labels, &mut samples).and_then(|()| cursor.advance());
                if let Err(why) = read {
                    self.set_aside(&cursor.reader.block.clone(), &why);
                    return Ok(false);
                }
            }
            settle(&mut samples);
            each(&labels, &samples)?;
            done += 1;
            // A merge may take long; the log must stay bounded meanwhile.
            if done.is_multiple_of(SERIES_BETWEEN) && self.log_is_long(upkeep) {
                self.flush(upkeep, now_ms)?;
            }
        }
        Ok(true)
    }

    /// Cursors over everything in some blocks; `None` where one is damaged.
    pub(crate) fn cursors(&self, blocks: &[Arc<Block>]) -> Option<Vec<Cursor>> {
        let tombstones = self.state().tombstones.clone();
        let mut cursors = Vec::with_capacity(blocks.len());
        for block in blocks {
            match Cursor::new(block, &[], (i64::MIN, i64::MAX), &tombstones) {
                Ok(cursor) => cursors.push(cursor),
                Err(why) => {
                    self.set_aside(block, &why);
                    return None;
                }
            }
        }
        Some(cursors)
    }

    fn log_is_long(&self, upkeep: &Upkeep) -> bool {
        let logged = locked(&self.ingest).log.as_ref().map_or(0, |log| log.bytes_from(upkeep.log));
        logged > self.settings.log_limit.0
    }

    /// Puts new blocks in the place of old ones: manifest, memory, files, in this order.
    pub(crate) fn replace(
        &self,
        upkeep: &mut Upkeep,
        old: &[Arc<Block>],
        new: impl IntoIterator<Item = Arc<Block>>,
    ) -> Result<(), Error> {
        let is_old = |b: &Arc<Block>| old.iter().any(|old| Arc::ptr_eq(b, old));
        let new: Blocks = new.into_iter().collect();
        let (mut blocks, tombstones) = {
            let state = self.state();
            let blocks: Blocks = state.blocks.iter().filter(|b| !is_old(b)).cloned().collect();
            (blocks, state.tombstones.clone())
        };
        blocks.extend(new.iter().cloned());
        // One whose samples are out of all blocks is kept until a head file is
        // written that knows nothing of them either.
        let useful = |t: &&crate::manifest::Tombstone| {
            t.log == upkeep.log
                || blocks.iter().any(|b| t.concerns(b.about.number, b.about.start_ms, b.about.end_ms))
        };
        let tombstones = tombstones.iter().filter(useful).cloned().collect::<Vec<_>>();
        self.write_manifest(upkeep, &blocks, &tombstones)?;
        {
            let mut state = self.state_mut();
            // One that was found damaged meanwhile stays out.
            state.blocks.retain(|b| !is_old(b));
            state.add_blocks(new);
            state.tombstones = Arc::new(tombstones);
        }
        for block in old {
            self.remove_block(block)?;
        }
        Ok(())
    }

    /// Makes rollups of the first day that is over and has none; gives of how many.
    pub(crate) fn roll_up(&self, upkeep: &mut Upkeep, now_ms: i64) -> Result<usize, Error> {
        let retention = *locked(&self.retention);
        let wanted: Vec<i64> = [(FIVE_MINUTES_MS, retention.five_minutes), (HOUR_MS, retention.hour)]
            .into_iter()
            .filter(|(_, kept)| kept.0 > 0)
            .map(|(resolution_ms, _)| resolution_ms)
            .collect();
        let Some((block, stale)) = self.to_roll(self.over_ms(now_ms), &wanted) else { return Ok(0) };
        let rolling = self.roll_block(upkeep, &block, stale, &wanted, now_ms);
        rolling.map(usize::from).inspect_err(|_| upkeep.untidy = true)
    }

    /// A day's block that has no rollups yet, or older ones (which are given).
    fn to_roll(&self, over_ms: i64, wanted: &[i64]) -> Option<(Arc<Block>, Blocks)> {
        let state = self.state();
        let day_is_over = |b: &&Arc<Block>| (day_of(b) + 1) * DAY_MS <= over_ms;
        for block in state.raw().filter(day_is_over) {
            let day = day_of(block);
            let alone = state.raw().filter(|b| day_of(b) == day).count() == 1;
            let has = |resolution_ms: i64| {
                state.rolled(resolution_ms).any(|b| {
                    let last_day = (b.about.end_ms - 1).div_euclid(DAY_MS);
                    (rolled_day_of(b)..=last_day).contains(&day) && b.about.number > block.about.number
                })
            };
            if alone && !wanted.iter().all(|resolution_ms| has(*resolution_ms)) {
                let of_day = |b: &&Arc<Block>| {
                    b.about.resolution_ms != 0
                        && rolled_day_of(b) == day
                        && (b.about.end_ms - 1).div_euclid(DAY_MS) == day
                };
                let stale = state.blocks.iter().filter(of_day).cloned().collect();
                return Some((block.clone(), stale));
            }
        }
        None
    }

    fn roll_block(
        &self,
        upkeep: &mut Upkeep,
        block: &Arc<Block>,
        stale: Blocks,
        wanted: &[i64],
        now_ms: i64,
    ) -> Result<bool, Error> {
        let mut writers = Vec::new();
        for resolution_ms in wanted {
            let number = upkeep.next_block;
            upkeep.next_block += 1;
            let about = About {
                number,
                first: number,
                resolution_ms: *resolution_ms,
                log: block.about.log,
                ..About::default()
            };
            writers.push(BlockWriter::create(&self.disk, &self.blocks_dir(), about, Vec::new())?);
        }
        let mut roller = Roller::default();
        let done = self.each_merged(upkeep, std::slice::from_ref(block), now_ms, |labels, samples| {
            for (writer, resolution_ms) in writers.iter_mut().zip(wanted) {
                roller.roll(samples, *resolution_ms);
                writer.add_rolled(labels, &roller.rolled, &roller.last)?;
            }
            Ok(())
        })?;
        if !done {
            return Ok(false);
        }
        let mut new = Vec::new();
        for writer in writers {
            new.extend(open_written(writer)?);
        }
        let mut old = stale;
        if new.is_empty() {
            // All of the day is deleted.
            old.push(block.clone());
        }
        self.replace(upkeep, &old, new)?;
        Ok(true)
    }
}
