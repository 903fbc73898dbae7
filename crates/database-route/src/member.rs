//! What a member says of itself, whether to believe it, how far a replica is
//! behind, and which one gets a read.

use crate::position::{Need, before_header};
use base::{Lsn, Millis};
use std::collections::VecDeque;

/// What a member is meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Primary,
    /// Follows.
    Replica,
}

/// What a member answered when asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When the question was sent, in milliseconds of a clock that only goes forward.
    pub asked_ms: u64,
    /// `pg_is_in_recovery()`.
    pub in_recovery: bool,
    /// A primary's insert position, a replica's replayed position.
    pub lsn: Lsn,
    /// The timeline it is on.
    pub timeline: u32,
    /// `system_identifier`: the same on all members of one cluster.
    pub system: u64,
}

/// What is known of the cluster from its primary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// The primary's `system_identifier`, once seen.
    pub system: Option<u64>,
    /// The highest timeline that the primary was seen on.
    pub timeline: u32,
}

/// Whether a member may be used in its role; if not, why, for a person.
pub fn judge(role: Role, reading: &Reading, cluster: &Cluster) -> Result<(), String> {
    match (role, reading.in_recovery) {
        (Role::Primary, true) => {
            return Err("it is meant to be the primary but follows another server; hint: promote it, or correct the roles in the file".into());
        }
        (Role::Replica, false) => {
            return Err("it is meant to be a replica but takes writes of its own; hint: stop it, remove its data directory and let it copy the primary anew".into());
        }
        _ => {}
    }
    if cluster.system.is_some_and(|system| system != reading.system) {
        return Err(format!(
            "its data belongs to another cluster (system identifier `{}`, the primary's is `{}`)",
            reading.system,
            cluster.system.unwrap_or_default()
        ));
    }
    if role == Role::Primary && reading.timeline < cluster.timeline {
        return Err(format!(
            "it is on the old timeline {}; timeline {} was seen already",
            reading.timeline, cluster.timeline
        ));
    }
    Ok(())
}

impl Cluster {
    /// Learns from a reading of the primary that [`judge`] accepted.
    pub fn learn(&mut self, primary: &Reading) {
        self.system = Some(primary.system);
        self.timeline = self.timeline.max(primary.timeline);
    }
}

/// Positions of the primary with the time at which they were read, to turn a
/// replica's position into seconds.
#[derive(Debug, Default)]
pub struct LagTracker {
    history: VecDeque<(u64, Lsn)>,
    /// When the primary was seen last.
    seen_ms: u64,
}

/// Samples at least this far apart, in ms …
const HISTORY_STEP_MS: u64 = 200;
/// … and this many: ten minutes. A replica further behind shows ten minutes.
const HISTORY_LENGTH: usize = 3_000;

impl LagTracker {
    /// The primary's insert position was `lsn` at `at_ms`.
    pub fn primary_at(&mut self, at_ms: u64, lsn: Lsn) {
        let lsn = before_header(lsn);
        self.seen_ms = self.seen_ms.max(at_ms);
        let several = self.history.len() > 1;
        match self.history.back_mut() {
            // Nothing was written since: a replica at `lsn` is not behind.
            Some(last) if last.1 >= lsn => return,
            Some(last) if several && at_ms < last.0 + HISTORY_STEP_MS => {
                // The time stays, the position grows: at worst the lag shown is a step too long.
                last.1 = lsn;
                return;
            }
            _ => {}
        }
        if self.history.len() == HISTORY_LENGTH {
            self.history.pop_front();
        }
        self.history.push_back((at_ms, lsn));
    }

    /// How long before it was seen last the primary was first seen beyond
    /// `replayed`; 0 where it was not. While the primary is away nothing is
    /// written, so a replica does not fall further behind: it may have lacked the
    /// last moments, and keeps serving the reads that do not need them.
    pub fn lag(&self, replayed: Lsn) -> Millis {
        let first_beyond = self.history.partition_point(|(_, lsn)| *lsn <= replayed);
        Millis(self.history.get(first_beyond).map_or(0, |(at, _)| self.seen_ms.saturating_sub(*at)))
    }

    /// The highest position of the primary seen, as [`before_header`] gives it.
    pub fn highest(&self) -> Lsn {
        self.history.back().map_or(Lsn(0), |(_, lsn)| *lsn)
    }
}

/// A replica, as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Whether it answers and is a replica of this primary.
    pub up: bool,
    /// How far behind it is.
    pub lag: Millis,
    /// What it is known to have replayed.
    pub replayed: Lsn,
    /// Reads that it is running.
    pub active: u32,
}

/// Where a read goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// To the replica of this index.
    Replica(usize),
    /// To the primary: no replica is up.
    NoReplica,
    /// To the primary: all that are up lag too much.
    Lagging,
    /// To the primary: none has replayed what the login wrote.
    Behind,
}

/// Chooses the replica for a read: among those up, not lagging, and at the
/// position needed, the one with the fewest reads; `turn` breaks ties.
pub fn choose(need: Need, replicas: &[Candidate], max_lag: Millis, turn: usize) -> Choice {
    if !replicas.iter().any(|r| r.up) {
        return Choice::NoReplica;
    }
    if !replicas.iter().any(|r| r.up && r.lag <= max_lag) {
        return Choice::Lagging;
    }
    let Need::At(position) = need else { return Choice::Behind };
    let count = replicas.len();
    (0..count)
        .map(|offset| (turn + offset) % count)
        .filter(|&i| replicas[i].up && replicas[i].lag <= max_lag && replicas[i].replayed >= position)
        .min_by_key(|&i| replicas[i].active)
        .map_or(Choice::Behind, Choice::Replica)
}

/// What one connection to a replica is known to see. A reading counts for a
/// connection only if it was asked for after the connection was opened: while a
/// connection lives, its server has not crashed, so it has not gone back; one
/// opened later may be to a server that came back further behind.
pub fn connection_sees(opened_ms: u64, at_opening: Lsn, reading: Option<&Reading>) -> Lsn {
    match reading {
        Some(reading) if reading.in_recovery && reading.asked_ms > opened_ms => at_opening.max(reading.lsn),
        _ => at_opening,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(in_recovery: bool, timeline: u32, system: u64) -> Reading {
        Reading { asked_ms: 1, in_recovery, lsn: Lsn(1), timeline, system }
    }

    #[test]
    fn members_are_judged() {
        let cluster = Cluster { system: Some(9), timeline: 3 };
        let cases = [
            (Role::Primary, reading(false, 3, 9), None),
            (Role::Primary, reading(false, 4, 9), None),
            (Role::Primary, reading(true, 3, 9), Some("meant to be the primary")),
            (Role::Primary, reading(false, 2, 9), Some("old timeline 2")),
            (Role::Primary, reading(false, 3, 8), Some("another cluster")),
            (Role::Replica, reading(true, 3, 9), None),
            (Role::Replica, reading(true, 2, 9), None), // not there yet
            (Role::Replica, reading(false, 3, 9), Some("takes writes of its own")),
            (Role::Replica, reading(true, 3, 8), Some("another cluster")),
        ];
        for (role, reading, expected) in cases {
            let found = judge(role, &reading, &cluster);
            match expected {
                None => assert_eq!(found, Ok(()), "{role:?} {reading:?}"),
                Some(part) => assert!(found.unwrap_err().contains(part), "{role:?} {reading:?}"),
            }
        }
    }

    #[test]
    fn lag_is_the_time_since_the_primary_went_beyond() {
        let mut tracker = LagTracker::default();
        assert_eq!(tracker.lag(Lsn(5)), Millis(0));
        tracker.primary_at(1_000, Lsn(10));
        tracker.primary_at(2_000, Lsn(20));
        tracker.primary_at(3_000, Lsn(20)); // nothing written
        tracker.primary_at(4_000, Lsn(40));
        for (replayed, lag) in [(40, 0), (39, 0), (99, 0)] {
            assert_eq!(tracker.lag(Lsn(replayed)), Millis(lag), "{replayed}");
        }
        tracker.primary_at(9_000, Lsn(40)); // still nothing written, but time went by
        for (replayed, lag) in [(40, 0), (39, 5_000), (20, 5_000), (19, 7_000), (0, 8_000), (99, 0)] {
            assert_eq!(tracker.lag(Lsn(replayed)), Millis(lag), "{replayed}");
        }
        // The log's segment was switched, and nothing written since.
        let mut switched = LagTracker::default();
        switched.primary_at(1_000, Lsn(0x3FF_FFF0));
        switched.primary_at(2_000, Lsn(0x400_0028));
        switched.primary_at(9_000, Lsn(0x400_0028));
        for (replayed, lag) in [(0x3FF_FFF0, 7_000), (0x400_0000, 0), (0x400_0028, 0)] {
            assert_eq!(switched.lag(Lsn(replayed)), Millis(lag), "{replayed:#x}");
        }
        assert_eq!(switched.highest(), Lsn(0x400_0000));
        for n in 0..10_000 {
            tracker.primary_at(10_000 + n * 500, Lsn(100 + n));
        }
        assert_eq!(tracker.history.len(), HISTORY_LENGTH);
    }

    #[test]
    fn the_choice() {
        let ok = Candidate { up: true, lag: Millis(0), replayed: Lsn(100), active: 0 };
        let down = Candidate { up: false, ..ok };
        let late = Candidate { lag: Millis(5_000), ..ok };
        let behind = Candidate { replayed: Lsn(50), ..ok };
        let busy = Candidate { active: 3, ..ok };
        let at = |n| Need::At(Lsn(n));
        let max = Millis(2_000);
        assert_eq!(choose(at(0), &[], max, 5), Choice::NoReplica);
        assert_eq!(choose(at(0), &[down, down], max, 0), Choice::NoReplica);
        assert_eq!(choose(at(0), &[down, late], max, 0), Choice::Lagging);
        assert_eq!(choose(at(60), &[late, behind], max, 0), Choice::Behind);
        assert_eq!(choose(at(50), &[late, behind], max, 0), Choice::Replica(1));
        assert_eq!(choose(Need::Unknown, &[ok], max, 0), Choice::Behind);
        assert_eq!(choose(at(100), &[busy, ok], max, 0), Choice::Replica(1));
        assert_eq!(choose(at(100), &[ok, ok], max, 0), Choice::Replica(0));
        assert_eq!(choose(at(100), &[ok, ok], max, 1), Choice::Replica(1));
    }

    #[test]
    fn a_reading_counts_only_for_older_connections() {
        let reading = Reading { asked_ms: 100, in_recovery: true, lsn: Lsn(70), timeline: 1, system: 1 };
        assert_eq!(connection_sees(99, Lsn(5), Some(&reading)), Lsn(70));
        assert_eq!(connection_sees(100, Lsn(5), Some(&reading)), Lsn(5));
        assert_eq!(connection_sees(101, Lsn(5), Some(&reading)), Lsn(5));
        assert_eq!(connection_sees(1, Lsn(5), None), Lsn(5));
    }
}
