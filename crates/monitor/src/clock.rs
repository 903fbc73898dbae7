//! The wall clock, watched. When it jumps, no time has passed: what alerts count
//! from a moment on is counted on from where it was, rules rest until targets
//! have been scraped by the new time, and nothing is deleted by its age for an
//! hour, in which a wrong clock may be set right.
//!
//! A jump is what the wall clock has more or less than the one that never jumps;
//! a machine that slept looks the same, and is treated the same.

use crate::state::{State, lock};
use base::events::Event;
use base::names;
use monitor_alert::rfc3339;
use role::Registry;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A clock that is set right by less disturbs nothing: no interval of ours is
/// shorter by much, and samples may be late by more.
const JUMP_MS: i64 = 60_000;

/// For so long after a jump age deletes nothing, as in the store, and the
/// operator is told.
const UNSETTLED: Duration = Duration::from_secs(3_600);

/// Rules rest no longer than this: a sample counts for so long.
const LONGEST_REST: Duration = Duration::from_secs(300);

/// A scrape that is due is stored within this, also on a machine that is busy.
const SLOWEST: Duration = Duration::from_secs(3);

/// What is known of the wall clock.
#[derive(Debug)]
pub(crate) struct Clock {
    seen: Mutex<Seen>,
    /// All jumps together; changed only by who holds the book of rules.
    moved_ms: AtomicI64,
}

#[derive(Debug)]
struct Seen {
    /// The wall clock without the one that never jumps, at the last look.
    ahead_ms: i64,
    jump: Option<Jump>,
}

/// The last jump.
#[derive(Clone, Copy, Debug)]
struct Jump {
    at: Instant,
    /// Negative where it went back.
    by_ms: i64,
    /// What it said before.
    from_ms: u64,
}

impl Clock {
    /// Trusts the clock as it is.
    pub(crate) fn new(registry: &Registry) -> Self {
        let jumps = registry.counter(&names::MONITOR_CLOCK_JUMPS);
        for direction in ["ahead", "back"] {
            jumps.with(&[direction]); // So that a first one is an increase.
        }
        let ahead_ms = ahead_ms(sys::clock::now_ms(), sys::clock::monotonic_ms());
        Self { seen: Mutex::new(Seen { ahead_ms, jump: None }), moved_ms: AtomicI64::new(0) }
    }

    /// All jumps so far together, for what was begun before one and ends after it.
    pub(crate) fn moved_ms(&self) -> i64 {
        self.moved_ms.load(Ordering::Relaxed)
    }

    /// Whether rules rest: samples by the new time may be missing of targets that
    /// are scraped every `interval`.
    pub(crate) fn rests(&self, interval: Duration) -> bool {
        self.jumped_within(interval.min(LONGEST_REST) + SLOWEST)
    }

    /// Whether it jumped lately, so that it cannot be believed about ages.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.jumped_within(UNSETTLED)
    }

    fn jumped_within(&self, time: Duration) -> bool {
        lock(&self.seen).jump.is_some_and(|jump| jump.at.elapsed() < time)
    }

    /// What the operator must know.
    pub(crate) fn trouble(&self) -> Option<String> {
        let jump = lock(&self.seen).jump.filter(|jump| jump.at.elapsed() < UNSETTLED)?;
        Some(format!(
            "{}; samples of times that it shows twice are kept once, and nothing is deleted by age for an hour; hint: let NTP keep the clock",
            jump.words()
        ))
    }
}

impl Seen {
    /// The jump since the last look, if there was one.
    fn look(&mut self, now_ms: u64, monotonic_ms: u64) -> Option<Jump> {
        let ahead_ms = ahead_ms(now_ms, monotonic_ms);
        let by_ms = ahead_ms.saturating_sub(std::mem::replace(&mut self.ahead_ms, ahead_ms));
        if by_ms.abs() < JUMP_MS {
            return None;
        }
        let from_ms = now_ms.saturating_add_signed(by_ms.saturating_neg());
        self.jump = Some(Jump { at: Instant::now(), by_ms, from_ms });
        self.jump
    }
}

impl Jump {
    fn words(self) -> String {
        let way = if self.by_ms < 0 { "back" } else { "ahead" };
        let by = base::Millis((self.by_ms.unsigned_abs() + 500) / 1_000 * 1_000);
        format!("the clock jumped {way} by {by} at {}", rfc3339(self.from_ms))
    }
}

impl State {
    /// Looks whether the clock jumped; who goes by it looks first.
    pub(crate) fn look_at_clock(&self) {
        let jump = {
            // The clocks are read under the lock: whoever waited for it has no older ones.
            let mut seen = lock(&self.clock.seen);
            seen.look(sys::clock::now_ms(), sys::clock::monotonic_ms())
        };
        let Some(jump) = jump else { return };
        {
            let mut book = lock(&self.book);
            book.rules.shift(jump.by_ms);
            book.manager.shift(jump.by_ms);
            self.clock.moved_ms.fetch_add(jump.by_ms, Ordering::Relaxed);
        }
        let direction = if jump.by_ms < 0 { "back" } else { "ahead" };
        self.registry.counter(&names::MONITOR_CLOCK_JUMPS).with(&[direction]).inc();
        self.events.emit(Event::ClockJump { by_ms: jump.by_ms, why: jump.words() });
    }
}

fn ahead_ms(now_ms: u64, monotonic_ms: u64) -> i64 {
    let of = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
    of(now_ms).saturating_sub(of(monotonic_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400_000;

    #[test]
    fn a_jump_is_seen_once_and_remembered() {
        let clock = Clock::new(&Registry::default());
        let (now, monotonic) = (sys::clock::now_ms(), sys::clock::monotonic_ms());
        let look = |ahead: u64, passed: u64| lock(&clock.seen).look(now + ahead + passed, monotonic + passed);
        assert!(look(0, 10_000).is_none() && look(30_000, 20_000).is_none(), "set right");
        assert!(!clock.is_unsettled() && !clock.rests(Duration::ZERO) && clock.trouble().is_none());
        let jump = look(DAY, 90_000).unwrap();
        assert_eq!(jump.by_ms / 1_000, 86_370);
        assert!(look(DAY, 900_000).is_none(), "time passes");
        assert!(clock.is_unsettled() && clock.rests(Duration::ZERO));
        assert_eq!(look(1, 900_000).unwrap().by_ms, 1 - DAY as i64);
        let trouble = clock.trouble().unwrap();
        assert!(trouble.starts_with("the clock jumped back by 1d at "), "{trouble}");
    }
}
