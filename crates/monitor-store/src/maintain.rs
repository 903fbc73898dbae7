//! What is done from time to time: flush, merge, roll up, delete.

use crate::Error;
use crate::MaintainReport;
use crate::store::{Store, locked};

impl Store {
    /// Does what is due: syncs, makes blocks of the head, merges blocks, rolls
    /// them up, drops old ones. Call it every few seconds, off the threads that
    /// must not wait; appends and queries go on beside it. It does all it can
    /// before it gives the first error.
    pub fn maintain(&self, now_ms: i64) -> Result<MaintainReport, Error> {
        let mut upkeep = locked(&self.upkeep);
        let mut report = MaintainReport::default();
        let synced = self.commit();
        {
            let unsorted = self.state().head.postings().is_unsorted();
            if unsorted {
                self.state_mut().head.sort_postings();
            }
        }
        self.rank_new();
        let tidied = if upkeep.untidy { self.tidy(&mut upkeep) } else { Ok(()) };
        // Deleting comes before writing: it makes room.
        let expired = self.expire(&mut upkeep, now_ms).map(|count| report.blocks_expired = count);
        let flushed = if self.flush_due(&upkeep, now_ms) {
            self.flush(&mut upkeep, now_ms).map(|count| report.blocks_cut = count)
        } else {
            Ok(())
        };
        let merged = self.merge(&mut upkeep, now_ms, false).map(|count| report.blocks_merged = count);
        let rolled = self.roll_up(&mut upkeep, now_ms).map(|count| report.blocks_rolled = count);
        synced.and(tidied).and(expired).and(flushed).and(merged).and(rolled)?;
        report.damage = std::mem::take(&mut *locked(&self.damage));
        Ok(report)
    }

    /// Makes blocks of everything in the head, and one block of those of each day.
    pub fn compact(&self, now_ms: i64) -> Result<(), Error> {
        let mut upkeep = locked(&self.upkeep);
        upkeep.renew = !self.state().tombstones.is_empty();
        self.flush(&mut upkeep, now_ms)?;
        self.merge(&mut upkeep, now_ms, true)?;
        Ok(())
    }
}
