//! What a session did that later statements depend on, and where its next batch goes.
//!
//! A batch is what the protocol makes atomic for routing: one `Query`, or all
//! messages up to a `Sync`.

use crate::class::{Effect, Reason, Verdict};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Statements that a session has prepared are remembered up to this many bytes;
/// beyond it the session stays on the primary, whose connection has them all.
pub const MAX_PREPARED_BYTES: usize = 4 * 1024 * 1024;

/// A prepared statement, with what is needed to prepare it elsewhere.
#[derive(Debug, PartialEq, Eq)]
pub struct Prepared {
    /// The statement, in the client's encoding.
    pub sql: Box<[u8]>,
    /// Parameter types as the `Parse` message has them.
    pub types: Box<[u8]>,
    /// What the statement is.
    pub verdict: Arc<Verdict>,
}

/// Why a batch goes where it goes: a value for the metric's label `reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A replica may answer.
    Read,
    /// Only the primary may; the reason.
    Primary(&'static str),
}

/// The state of one client's session.
#[derive(Debug, Default)]
pub struct Session {
    /// Whether a transaction block is open, also a failed one.
    pub in_transaction: bool,
    pinned: Option<&'static str>,
    statements: HashMap<Box<[u8]>, Arc<Prepared>>,
    statement_bytes: usize,
    on_primary: HashSet<Box<[u8]>>,
}

impl Session {
    /// Where a batch goes whose statements are `verdicts` (in order). `opaque`
    /// says that it has parts that cannot be judged before they are sent.
    pub fn route<'a>(&self, verdicts: impl IntoIterator<Item = &'a Verdict>, opaque: bool) -> Route {
        if self.in_transaction {
            return Route::Primary("transaction");
        }
        if let Some(pinned) = self.pinned {
            return Route::Primary(pinned);
        }
        if opaque {
            return Route::Primary("opaque");
        }
        let first_other = verdicts.into_iter().find(|v| !v.is_read());
        first_other.map_or(Route::Read, |v| Route::Primary(v.reason.as_str()))
    }

    /// Whether the session is bound to the primary, and why.
    pub fn pinned(&self) -> Option<&'static str> {
        self.pinned
    }

    /// Binds the session to the primary for its rest.
    pub fn pin(&mut self, why: &'static str) {
        self.pinned.get_or_insert(why);
    }

    /// What a batch leaves behind once it ran on the primary. `succeeded` is
    /// whether at least one of its statements completed.
    pub fn apply(&mut self, verdict: &Verdict, succeeded: bool) {
        if !succeeded {
            return;
        }
        match &verdict.effect {
            Effect::None => {}
            Effect::Pin if verdict.reason == Reason::Unparsed => self.pin("unparsed"),
            Effect::Pin => self.pin("session"),
            Effect::Reset => {
                self.forget_statements();
                // Outside a transaction only, or PostgreSQL would have refused it.
                self.pinned = None;
            }
            Effect::NeedsStatement { name, drops: true } => self.close(name.as_bytes()),
            Effect::NeedsStatement { drops: false, .. } => {}
            Effect::DropsStatements => self.forget_statements(),
        }
    }

    /// A statement was prepared on the primary's connection (`on_primary`) or on a replica's.
    pub fn prepare(&mut self, name: &[u8], prepared: Arc<Prepared>, on_primary: bool) {
        self.close(name);
        let cost = Self::cost(name, &prepared);
        if self.statement_bytes + cost > MAX_PREPARED_BYTES {
            self.pin("prepared");
            return;
        }
        self.statement_bytes += cost;
        self.statements.insert(name.into(), prepared);
        if on_primary {
            self.on_primary.insert(name.into());
        }
    }

    /// A statement was closed.
    pub fn close(&mut self, name: &[u8]) {
        if let Some(old) = self.statements.remove(name) {
            self.statement_bytes -= Self::cost(name, &old);
        }
        self.on_primary.remove(name);
    }

    /// The statement of that name, where it is known.
    pub fn statement(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        self.statements.get(name)
    }

    /// The statement of that name, where it must be prepared on the primary's connection before it is used.
    pub fn missing_on_primary(&self, name: &[u8]) -> Option<&Arc<Prepared>> {
        if self.on_primary.contains(name) { None } else { self.statements.get(name) }
    }

    /// The primary's connection has the statement now.
    pub fn now_on_primary(&mut self, name: &[u8]) {
        if self.statements.contains_key(name) {
            self.on_primary.insert(name.into());
        }
    }

    /// The primary's connection is gone, or another one.
    pub fn lost_primary(&mut self) {
        self.on_primary.clear();
    }

    fn forget_statements(&mut self) {
        self.statements.clear();
        self.on_primary.clear();
        self.statement_bytes = 0;
    }

    fn cost(name: &[u8], prepared: &Prepared) -> usize {
        name.len() * 2 + prepared.sql.len() + prepared.types.len() + 256
    }
}

/// What was going on when a member's connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// It was the primary's connection.
    pub primary: bool,
    /// A batch had been sent, and its end was not seen.
    pub in_flight: bool,
    /// All of the batch is plain reads.
    pub read_only: bool,
    /// The client has got a part of the answer.
    pub answered: bool,
    /// A transaction is open.
    pub in_transaction: bool,
    /// The connection had state that no other has.
    pub pinned: bool,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Run the batch elsewhere: it only read, and nobody has seen anything of it.
    RunElsewhere,
    /// Carry on: nothing was lost.
    CarryOn,
    /// Tell the client that the read failed; the session goes on.
    FailStatement,
    /// End the session: the result of what ran is not known.
    EndUnknown,
    /// End the session: its state is lost.
    EndLost,
}

/// Decides after a broken connection. What may have written is never run again.
pub fn after_break(broken: Broken) -> Remedy {
    let state_lost = broken.primary && (broken.in_transaction || broken.pinned);
    match (broken.in_flight, broken.read_only) {
        (true, false) => Remedy::EndUnknown,
        _ if state_lost => Remedy::EndLost,
        (true, true) if broken.answered => Remedy::FailStatement,
        (true, true) => Remedy::RunElsewhere,
        (false, _) => Remedy::CarryOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::class::classify;

    fn prepared(sql: &str) -> Arc<Prepared> {
        Arc::new(Prepared {
            sql: sql.as_bytes().into(),
            types: [0, 0].into(),
            verdict: Arc::new(classify(sql)),
        })
    }

    #[test]
    fn a_story_of_a_session() {
        let mut session = Session::default();
        let read = classify("select 1");
        let write = classify("insert into t values (1)");
        assert_eq!(session.route([&read, &read], false), Route::Read);
        assert_eq!(session.route([&read, &write], false), Route::Primary("write"));
        assert_eq!(session.route([&read], true), Route::Primary("opaque"));
        session.in_transaction = true;
        assert_eq!(session.route([&read], false), Route::Primary("transaction"));
        session.in_transaction = false;

        session.apply(&classify("set search_path = x"), false);
        assert_eq!(session.route([&read], false), Route::Read);
        session.apply(&classify("set search_path = x"), true);
        assert_eq!(session.route([&read], false), Route::Primary("session"));
        session.apply(&classify("discard all"), true);
        assert_eq!(session.route([&read], false), Route::Read);
    }

    #[test]
    fn prepared_statements_follow_the_session() {
        let mut session = Session::default();
        session.prepare(b"a", prepared("select 1"), false);
        session.prepare(b"b", prepared("select 2"), true);
        assert!(session.missing_on_primary(b"a").is_some());
        assert!(session.missing_on_primary(b"b").is_none());
        assert!(session.missing_on_primary(b"unknown").is_none());
        session.now_on_primary(b"a");
        assert!(session.missing_on_primary(b"a").is_none());
        session.lost_primary();
        assert!(session.missing_on_primary(b"b").is_some());
        session.apply(&classify("deallocate a"), true);
        assert!(session.statement(b"a").is_none());
        session.apply(&classify("deallocate all"), true);
        assert!(session.statement(b"b").is_none());
        assert_eq!(session.statement_bytes, 0);
    }

    #[test]
    fn too_many_statements_bind_the_session_to_the_primary() {
        let mut session = Session::default();
        let sql = format!("select '{}'", "x".repeat(60_000));
        for n in 0..100 {
            session.prepare(format!("s{n}").as_bytes(), prepared(&sql), true);
            assert!(session.statement_bytes <= MAX_PREPARED_BYTES);
        }
        assert_eq!(session.pinned(), Some("prepared"));
        // The same name again replaces.
        let mut session = Session::default();
        for _ in 0..100 {
            session.prepare(b"", prepared(&sql), true);
        }
        assert_eq!(session.pinned(), None);
    }

    #[test]
    fn what_may_have_written_is_never_run_again() {
        for bits in 0..64u8 {
            let bit = |n: u8| bits >> n & 1 == 1;
            let broken = Broken {
                primary: bit(0),
                in_flight: bit(1),
                read_only: bit(2),
                answered: bit(3),
                in_transaction: bit(4),
                pinned: bit(5),
            };
            let remedy = after_break(broken);
            if remedy == Remedy::RunElsewhere {
                assert!(broken.read_only && !broken.answered && broken.in_flight, "{broken:?}");
            }
            if broken.in_flight && !broken.read_only {
                assert_eq!(remedy, Remedy::EndUnknown, "{broken:?}");
            }
            if broken.primary && (broken.in_transaction || broken.pinned) {
                assert!(matches!(remedy, Remedy::EndLost | Remedy::EndUnknown), "{broken:?}");
            }
        }
    }
}
