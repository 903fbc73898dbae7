//! Whether a server may take requests: a state machine fed with the results of
//! active checks and of real requests.

use serde::{Deserialize, Serialize};

/// Failed requests in a row that take a server out. Three, so that one lost
/// connection is no reason, and a dead server costs three retries.
pub const FAILURES_TO_TAKE_OUT: u32 = 3;
/// How long a server is left alone after it was taken out, the first time.
pub const BACK_OFF_MIN_MS: u64 = 500;
/// The longest it is left alone; each failed trial doubles the time until then.
pub const BACK_OFF_MAX_MS: u64 = 30_000;
/// A server that took requests for so long without being taken out starts again
/// at [`BACK_OFF_MIN_MS`]; one that fails sooner goes on doubling.
pub const FORGIVEN_AFTER_MS: u64 = 60_000;
/// Reasons are cut to so many characters: they may quote what a server sent.
const WHY_MAX: usize = 200;

/// How a request at a server went, as far as the server is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It gave a response head, whatever the status: a 500 is the program's own
    /// word, and for the checks to judge.
    Answered,
    /// No connection came about: refused, unreachable, timed out.
    Unreachable,
    /// The connection ended, or what came was no HTTP, before a response head.
    /// A kept connection that the server closed while idle is not this: use
    /// [`Outcome::Abandoned`] and try again on a new connection.
    Broken,
    /// Connected, but no response head in time.
    TimedOut,
    /// Nothing was learned: the client went away, or a kept connection was stale.
    Abandoned,
}

impl Outcome {
    /// For messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Unreachable => "could not be reached",
            Self::Broken => "broke off before it answered",
            Self::TimedOut => "did not answer in time",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What a server does now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Takes requests.
    In,
    /// Not checked yet: takes requests only where no server is known to be good.
    Unchecked,
    /// Active checks failed; they bring it back.
    FailedChecks,
    /// Requests failed; from `trial_at_ms` on one request at a time tries it.
    BackingOff {
        /// When.
        trial_at_ms: u64,
    },
    /// Taken out by the operator.
    Drained,
}

impl State {
    /// Whether the server counts as up: it takes requests as a matter of course.
    pub const fn is_up(self) -> bool {
        matches!(self, Self::In | Self::Unchecked)
    }
}

/// A server changed; worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The server's name, `app/1`.
    pub server: String,
    /// Whether it takes requests now.
    pub up: bool,
    /// Why, for a person.
    pub why: String,
}

/// One server's health. All times are milliseconds of the caller's clock.
#[derive(Clone, Debug)]
pub struct Health {
    active: Active,
    passive: Passive,
    drained: bool,
    since_ms: u64,
    why: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Active {
    /// The pool has no checks.
    None,
    /// The first result decides alone: nothing speaks against it yet.
    Waiting,
    Good {
        failures: u32,
    },
    Bad {
        successes: u32,
    },
}

#[derive(Clone, Debug, Default)]
struct Passive {
    failures: u32,
    trial_at_ms: Option<u64>,
    back_off_ms: u64,
    in_since_ms: u64,
}

impl Health {
    /// A server nobody has spoken to yet. `checked`: active checks will come.
    pub fn new(checked: bool, now_ms: u64) -> Self {
        let (active, why) =
            if checked { (Active::Waiting, "not checked yet") } else { (Active::None, "no failure seen") };
        Self { active, passive: Passive::default(), drained: false, since_ms: now_ms, why: why.to_owned() }
    }

    /// What the server does now.
    pub fn state(&self) -> State {
        if self.drained {
            return State::Drained;
        }
        if matches!(self.active, Active::Bad { .. }) {
            return State::FailedChecks;
        }
        if let Some(trial_at_ms) = self.passive.trial_at_ms {
            return State::BackingOff { trial_at_ms };
        }
        if self.active == Active::Waiting { State::Unchecked } else { State::In }
    }

    /// Why it is in that state, for a person.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// Since when it is in that state.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Failed requests in a row.
    pub fn failures(&self) -> u32 {
        self.passive.failures
    }

    /// Takes an active check's result: nothing, or why it failed. `rise` and
    /// `fall` are the pool's; true if the state changed.
    pub fn checked(&mut self, result: Result<(), &str>, rise: u32, fall: u32, now_ms: u64) -> bool {
        let before = self.state();
        match (&mut self.active, result) {
            (Active::None | Active::Waiting, Ok(())) => {
                self.active = Active::Good { failures: 0 };
                return self.settle(before, now_ms, "the first health check passed".to_owned());
            }
            (Active::None | Active::Waiting, Err(why)) => {
                self.active = Active::Bad { successes: 0 };
                return self.settle(before, now_ms, format!("the first health check failed: {}", cut(why)));
            }
            (Active::Good { failures }, Ok(())) => *failures = 0,
            (Active::Bad { successes }, Err(_)) => *successes = 0,
            (Active::Good { failures }, Err(why)) => {
                *failures += 1;
                if *failures >= fall.max(1) {
                    let text = format!("{failures} health checks in a row failed: {}", cut(why));
                    self.active = Active::Bad { successes: 0 };
                    return self.settle(before, now_ms, text);
                }
            }
            (Active::Bad { successes }, Ok(())) => {
                *successes += 1;
                if *successes >= rise.max(1) {
                    let text = format!("{successes} health checks in a row passed");
                    self.active = Active::Good { failures: 0 };
                    // Checks that failed and pass again speak of a server started
                    // anew: what requests met before says nothing about it.
                    self.passive = Passive { in_since_ms: now_ms, ..Passive::default() };
                    return self.settle(before, now_ms, text);
                }
            }
        }
        false
    }

    /// Takes a request's outcome; `trial`: it was sent to try a server that was
    /// out. True if the state changed.
    pub fn ended(&mut self, outcome: Outcome, trial: bool, now_ms: u64) -> bool {
        let before = self.state();
        match outcome {
            Outcome::Abandoned => false,
            Outcome::Answered => {
                self.passive.failures = 0;
                // An answer to a request sent before the server was taken out
                // does not cut the back-off short; only a trial's does.
                if trial && self.passive.trial_at_ms.take().is_some() {
                    self.passive.in_since_ms = now_ms;
                    return self.settle(before, now_ms, "a trial request was answered".to_owned());
                }
                false
            }
            Outcome::Unreachable | Outcome::Broken | Outcome::TimedOut => {
                self.passive.failures = self.passive.failures.saturating_add(1);
                self.failed(before, outcome, trial, now_ms)
            }
        }
    }

    fn failed(&mut self, before: State, outcome: Outcome, trial: bool, now_ms: u64) -> bool {
        let failures = self.passive.failures;
        let already_out = self.passive.trial_at_ms.is_some();
        if already_out != trial || (!already_out && failures < FAILURES_TO_TAKE_OUT) {
            return false;
        }
        let forgiven = !already_out && now_ms.saturating_sub(self.passive.in_since_ms) >= FORGIVEN_AFTER_MS;
        let doubled = (self.passive.back_off_ms * 2).clamp(BACK_OFF_MIN_MS, BACK_OFF_MAX_MS);
        self.passive.back_off_ms = if forgiven { BACK_OFF_MIN_MS } else { doubled };
        self.passive.trial_at_ms = Some(now_ms.saturating_add(self.passive.back_off_ms));
        let text = if trial {
            format!("a trial request {}", outcome.as_str())
        } else {
            format!("{failures} requests in a row failed, the last {}", outcome.as_str())
        };
        self.settle(before, now_ms, text)
    }

    /// Takes the server out by hand, or back in. True if that changed anything.
    pub fn drain(&mut self, drained: bool, now_ms: u64) -> bool {
        if self.drained == drained {
            return false;
        }
        let before = self.state();
        self.drained = drained;
        let text = if drained { "drained by the operator" } else { "taken back by the operator" };
        self.settle(before, now_ms, text.to_owned())
    }

    /// Notes why and since when, where the state changed.
    fn settle(&mut self, before: State, now_ms: u64, why: String) -> bool {
        let after = self.state();
        if before == after {
            return false;
        }
        self.why = why;
        // A trial that failed moves the next one but not the beginning of the outage.
        if std::mem::discriminant(&before) != std::mem::discriminant(&after) {
            self.since_ms = now_ms;
        }
        true
    }
}

/// A reason of at most [`WHY_MAX`] characters, without control characters.
fn cut(why: &str) -> String {
    why.chars().map(|c| if c.is_control() { ' ' } else { c }).take(WHY_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drives a checked server (rise 2, fall 3) through a script: `+`/`-` are
    /// checks, `a`/`u`/`b`/`t`/`x` answered/unreachable/broken/timed out/abandoned
    /// requests, `A`/`U` the same as trials, `D`/`d` drained and back; each step
    /// is one second.
    fn play(checked: bool, script: &str) -> Health {
        let mut health = Health::new(checked, 0);
        for (i, step) in script.chars().filter(|c| *c != ' ').enumerate() {
            let now = (i as u64 + 1) * 1_000;
            match step {
                '+' => health.checked(Ok(()), 2, 3, now),
                '-' => health.checked(Err("status 503"), 2, 3, now),
                'a' => health.ended(Outcome::Answered, false, now),
                'u' => health.ended(Outcome::Unreachable, false, now),
                'b' => health.ended(Outcome::Broken, false, now),
                't' => health.ended(Outcome::TimedOut, false, now),
                'x' => health.ended(Outcome::Abandoned, false, now),
                'A' => health.ended(Outcome::Answered, true, now),
                'U' => health.ended(Outcome::Unreachable, true, now),
                'D' => health.drain(true, now),
                'd' => health.drain(false, now),
                other => panic!("no step {other}"),
            };
        }
        health
    }

    #[test]
    fn states() {
        let out = |trial_at_ms| State::BackingOff { trial_at_ms };
        let cases: &[(bool, &str, State)] = &[
            (true, "", State::Unchecked),
            (false, "", State::In),
            (true, "+", State::In),
            (true, "-", State::FailedChecks),
            (true, "-+", State::FailedChecks),
            (true, "-++", State::In),
            (true, "-+-+", State::FailedChecks),
            (true, "+--", State::In),
            (true, "+---", State::FailedChecks),
            (true, "+--+--", State::In),
            (false, "uu", State::In),
            (false, "uua u", State::In),
            (false, "uxu", State::In),
            (false, "uxbt", out(4_500)),
            (false, "uuuu", out(3_500)),
            (false, "uuu a", out(3_500)),
            (false, "uuu A", State::In),
            (false, "uuu U", out(5_000)),
            (false, "uuu UU", out(7_000)),
            (false, "uuu UUUUUUUU", out(41_000)),
            (false, "uuu A uuu", out(8_000)),
            (true, "+uuu +++", out(4_500)),
            (true, "+uuu ---", State::FailedChecks),
            (true, "+uuu ---++", State::In),
            (false, "D", State::Drained),
            (false, "Duuu", State::Drained),
            (false, "Duuud", out(4_500)),
            (false, "Dd", State::In),
            (true, "-D++d", State::In),
        ];
        for (checked, script, expected) in cases {
            assert_eq!(play(*checked, script).state(), *expected, "{checked} {script}");
        }
    }

    #[test]
    fn reasons_are_for_people() {
        let cases: &[(bool, &str, &str)] = &[
            (true, "", "not checked yet"),
            (true, "+", "the first health check passed"),
            (true, "+---", "3 health checks in a row failed: status 503"),
            (true, "-++", "2 health checks in a row passed"),
            (false, "utb", "3 requests in a row failed, the last broke off before it answered"),
            (false, "uuuU", "a trial request could not be reached"),
            (false, "uuuA", "a trial request was answered"),
            (false, "D", "drained by the operator"),
        ];
        for (checked, script, expected) in cases {
            assert_eq!(play(*checked, script).why(), *expected, "{script}");
        }
        let mut hostile = Health::new(true, 0);
        hostile.checked(Err(&"\u{1b}[31mé\n".repeat(1_000)), 1, 1, 0);
        assert!(hostile.why().chars().count() < 300 && !hostile.why().contains('\u{1b}'));
    }

    #[test]
    fn a_long_good_time_is_forgiving() {
        let mut health = Health::new(false, 0);
        let fail = |health: &mut Health, from: u64| {
            for i in 0..3 {
                health.ended(Outcome::Broken, false, from + i);
            }
            match health.state() {
                State::BackingOff { trial_at_ms } => trial_at_ms - (from + 2),
                state => panic!("{state:?}"),
            }
        };
        assert_eq!(fail(&mut health, 0), BACK_OFF_MIN_MS);
        health.ended(Outcome::Answered, true, 1_000);
        assert_eq!(fail(&mut health, 2_000), 2 * BACK_OFF_MIN_MS);
        health.ended(Outcome::Answered, true, 4_000);
        assert_eq!(fail(&mut health, 4_000 + FORGIVEN_AFTER_MS), BACK_OFF_MIN_MS);
    }

    #[test]
    fn a_failed_trial_keeps_the_outage_s_beginning() {
        let health = play(false, "uuu UU");
        assert_eq!(health.since_ms(), 3_000);
    }
}
