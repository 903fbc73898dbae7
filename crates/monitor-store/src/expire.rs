//! Deleting by age, by size, and on request.

use crate::block::Block;
use crate::flush::DAY_MS;
use crate::head::Series;
use crate::log::numbered;
use crate::manifest::Tombstone;
use crate::report::io_error;
use crate::store::{Store, Upkeep, locked};
use crate::{Error, FIVE_MINUTES_MS, HOUR_MS, headfile, manifest};
use monitor_model::Matcher;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// A clock that moves on by more than this between two calls of upkeep jumped.
const JUMP_MS: u64 = 3_600_000;
/// For so many calls nothing expires after that: an hour at a call every 5 s, in
/// which a wrong clock may be set right before it costs anything.
const PATIENCE: u32 = 720;
/// Tombstones; each costs queries a little.
const MAX_TOMBSTONES: usize = 10_000;

impl Store {
    /// Deletes blocks that are too old or too many; gives how many.
    pub(crate) fn expire(&self, upkeep: &mut Upkeep, now_ms: i64) -> Result<usize, Error> {
        let jumped = upkeep.called_ms != i64::MIN && now_ms.abs_diff(upkeep.called_ms) > JUMP_MS;
        upkeep.called_ms = now_ms;
        upkeep.patience = if jumped { PATIENCE } else { upkeep.patience.saturating_sub(1) };
        let mut gone = if upkeep.patience == 0 { self.too_old(now_ms) } else { Vec::new() };
        self.too_many(&mut gone);
        if !gone.is_empty() {
            self.replace(upkeep, &gone, None)?;
        }
        if upkeep.patience == 0 {
            self.expire_damaged(now_ms)?;
        }
        Ok(gone.len())
    }

    fn too_old(&self, now_ms: i64) -> Vec<Arc<Block>> {
        let retention = *locked(&self.retention);
        let state = self.state();
        // A clock that is ahead must not delete more than time really passed.
        let now_ms = now_ms.min(state.head.max_ms);
        let oldest = |kept: base::Millis| now_ms.saturating_sub(i64::try_from(kept.0).unwrap_or(i64::MAX));
        let raw_ms = oldest(retention.raw);
        let rolls = retention.five_minutes.0.max(retention.hour.0) > retention.raw.0;
        let is_rolled = |block: &Block| {
            let of_five = retention.five_minutes.0 == 0 || self.has_rollup(&state, block, FIVE_MINUTES_MS);
            of_five && (retention.hour.0 == 0 || self.has_rollup(&state, block, HOUR_MS))
        };
        let expired = |block: &&Arc<Block>| {
            let about = &block.about;
            match about.resolution_ms {
                // Where rollups take over, a day goes as a whole, once it is rolled up.
                0 if rolls => {
                    let day_end_ms = (about.start_ms.div_euclid(DAY_MS) + 1) * DAY_MS;
                    day_end_ms <= raw_ms && is_rolled(block)
                }
                0 => about.end_ms < raw_ms,
                FIVE_MINUTES_MS => about.end_ms < oldest(retention.five_minutes),
                _ => about.end_ms < oldest(retention.hour),
            }
        };
        state.blocks.iter().filter(expired).cloned().collect()
    }

    fn has_rollup(&self, state: &crate::store::State, block: &Block, resolution_ms: i64) -> bool {
        let day = block.about.start_ms.div_euclid(DAY_MS);
        state.rolled(resolution_ms).any(|rollup| {
            let about = &rollup.about;
            let days = (about.start_ms - 1).div_euclid(DAY_MS)..=(about.end_ms - 1).div_euclid(DAY_MS);
            days.contains(&day) && about.number > block.about.number
        })
    }

    /// Adds the oldest blocks while the others are too large together.
    fn too_many(&self, gone: &mut Vec<Arc<Block>>) {
        let limit = locked(&self.retention).bytes.0;
        if limit == 0 {
            return;
        }
        let log_bytes = locked(&self.ingest).log.as_ref().map_or(0, crate::log::Log::bytes);
        let state = self.state();
        let is_gone = |b: &Arc<Block>, gone: &[Arc<Block>]| gone.iter().any(|g| Arc::ptr_eq(b, g));
        let mut left: Vec<Arc<Block>> = state.blocks.iter().filter(|b| !is_gone(b, gone)).cloned().collect();
        let mut bytes = log_bytes + left.iter().map(|b| b.bytes).sum::<u64>();
        // Raw samples first, oldest first: rollups are small and worth most.
        left.sort_by_key(|b| (b.about.resolution_ms, b.about.end_ms));
        for block in left {
            if bytes <= limit {
                break;
            }
            bytes -= block.bytes;
            gone.push(block);
        }
    }

    /// Deletes damaged blocks when what they had would be too old by now, as far
    /// as their own footer can say.
    fn expire_damaged(&self, now_ms: i64) -> Result<(), Error> {
        let retention = *locked(&self.retention);
        let kept_ms = retention.raw.0.max(retention.five_minutes.0).max(retention.hour.0);
        let oldest_ms = now_ms.saturating_sub(i64::try_from(kept_ms).unwrap_or(i64::MAX));
        for (_, path) in numbered(&self.blocks_dir(), ".blk.damaged")? {
            let modified = fs::metadata(&path).and_then(|m| m.modified());
            let age = modified.ok().and_then(|m| m.duration_since(std::time::UNIX_EPOCH).ok());
            if age.is_some_and(|age| (age.as_millis() as i64) < oldest_ms) {
                self.disk.remove(&path).map_err(io_error("deleting", &path))?;
            }
        }
        Ok(())
    }

    /// Deletes the samples of series between two times, both inclusive. They are
    /// gone for queries at once, and from the disk when their blocks are merged
    /// next; what is appended from now on is not concerned.
    pub fn delete(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Result<(), Error> {
        let mut upkeep = locked(&self.upkeep);
        if matchers.is_empty() || matchers.iter().all(Matcher::matches_empty) {
            return Err(Error::Settings(
                "a deletion needs a condition that selects series by a label they have".into(),
            ));
        }
        if self.state().tombstones.len() >= MAX_TOMBSTONES {
            return Err(Error::Settings(format!(
                "`{MAX_TOMBSTONES}` deletions are waiting to be applied; hint: delete more with one condition, or try again when the days concerned are over"
            )));
        }
        // What is in the head goes to blocks first, so that all that a tombstone
        // concerns has a number.
        let now_ms = upkeep.flushed_ms;
        self.flush(&mut upkeep, now_ms)?;
        let tombstone = Tombstone {
            newest_block: upkeep.next_block - 1,
            log: upkeep.log,
            start_ms,
            end_ms,
            matchers: matchers.to_vec(),
        };
        upkeep.next_block += 1;
        let (blocks, mut tombstones) = {
            let state = self.state();
            (state.blocks.clone(), state.tombstones.to_vec())
        };
        let within = |b: &Arc<Block>| tombstone.concerns(b.about.number, b.about.start_ms, b.about.end_ms);
        if blocks.iter().any(within) {
            tombstones.push(tombstone.clone());
        }
        self.write_manifest(&upkeep, &blocks, &tombstones)?;
        let _ingest = locked(&self.ingest);
        let mut state = self.state_mut();
        state.tombstones = Arc::new(tombstones);
        state
            .exemplars
            .retain(|held| !((start_ms..=end_ms).contains(&held.at_ms()) && tombstone.covers(&held.series)));
        // A deleted sample may come again: nothing may remember that it was there.
        let mut slots = state.head.matching(matchers);
        let deleted =
            |series: &Series| !series.has_samples() && (start_ms..=end_ms).contains(&series.last.at_ms);
        slots.retain(|slot| state.head.slot(*slot).is_some_and(deleted));
        slots.sort_unstable();
        state.head.forget(&slots);
        Ok(())
    }

    /// Writes the store as it is now into a new directory, from which it can be
    /// opened: blocks as hard links (copies where the directory is on another file
    /// system), what is in the head as blocks too.
    pub fn snapshot(&self, dir: &Path) -> Result<(), Error> {
        let mut upkeep = locked(&self.upkeep);
        let now_ms = upkeep.flushed_ms;
        self.flush(&mut upkeep, now_ms)?;
        let (log_dir, blocks_dir) = (dir.join("log"), dir.join("blocks"));
        if dir.join("manifest").exists() || blocks_dir.exists() {
            return Err(Error::Settings(format!(
                "`{}` is there already; a snapshot needs a new directory",
                dir.display()
            )));
        }
        for folder in [dir, &log_dir, &blocks_dir] {
            sys::file::make_dir(folder, 0o700).map_err(io_error("making", folder))?;
        }
        let (blocks, tombstones) = {
            let state = self.state();
            (state.blocks.clone(), state.tombstones.clone())
        };
        for block in &blocks {
            let to = blocks_dir.join(crate::block::file_name(block.about.number));
            link(&block.path, &to)?;
        }
        // The log before this number is in the blocks; later files stay behind.
        let head = headfile::path(&self.log_dir(), upkeep.log);
        if head.exists() {
            link(&head, &headfile::path(&log_dir, upkeep.log))?;
        }
        let manifest = self.manifest(&upkeep, &blocks, &tombstones);
        let path = manifest::path(dir);
        self.disk.write_whole(&path, &manifest.bytes()).map_err(io_error("writing", &path))?;
        for folder in [&log_dir, &blocks_dir] {
            self.disk.sync_dir(folder).map_err(io_error("syncing", folder))?;
        }
        Ok(())
    }
}

fn link(from: &Path, to: &Path) -> Result<(), Error> {
    fs::hard_link(from, to)
        .or_else(|_| fs::copy(from, to).and_then(|_| fs::File::open(to)?.sync_all()))
        .map_err(io_error("linking", to))
}
