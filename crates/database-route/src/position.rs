//! How far each login has written, so that its reads never go behind it.
//!
//! The position belongs to the login (the role's name), not to the session: a
//! web server's pool holds several connections, and what was written through
//! one is read through another. See `docs/decisions/read-your-writes.md`.

use base::Lsn;
use std::collections::HashMap;

/// What a read of a login needs of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// It has replayed this position. `Lsn(0)` is any.
    At(Lsn),
    /// Not known: a write ended without its position being noted. Only the primary will do.
    Unknown,
}

#[derive(Clone, Copy, Debug, Default)]
struct Position {
    lsn: Lsn,
    /// The number of the newest poll of the primary that had begun when a write
    /// ended unnoted; a later one is an upper bound for that write.
    unknown_after: Option<u64>,
}

/// The positions of all logins of a database. As many entries as logins exist.
#[derive(Debug, Default)]
pub struct Positions {
    logins: HashMap<Box<str>, Position>,
    /// Where the primary was when this router first saw it: what was written
    /// through the router before, and noted by a process that is gone, is not behind it.
    floor: Option<Lsn>,
}

impl Positions {
    /// A write of `login` ended at or before `lsn`. Positions only go up.
    pub fn note(&mut self, login: &str, lsn: Lsn) {
        let position = self.entry(login);
        position.lsn = position.lsn.max(lsn);
    }

    /// A write of `login` ended, or may have, at a position that could not be
    /// asked for. `polls_begun` is the number of the newest poll begun.
    pub fn note_unknown(&mut self, login: &str, polls_begun: u64) {
        let position = self.entry(login);
        position.unknown_after = Some(position.unknown_after.map_or(polls_begun, |n| n.max(polls_begun)));
    }

    /// Poll number `poll` of the primary read the insert position `lsn`.
    pub fn settle(&mut self, poll: u64, lsn: Lsn) {
        self.floor.get_or_insert(lsn);
        for position in self.logins.values_mut() {
            if position.unknown_after.is_some_and(|after| poll > after) {
                position.unknown_after = None;
                position.lsn = position.lsn.max(lsn);
            }
        }
    }

    /// What the next read of `login` needs.
    pub fn need(&self, login: &str) -> Need {
        match (self.floor, self.logins.get(login)) {
            (None, _) | (_, Some(Position { unknown_after: Some(_), .. })) => Need::Unknown,
            (Some(floor), None) => Need::At(floor),
            (Some(floor), Some(position)) => Need::At(floor.max(position.lsn)),
        }
    }

    /// Each login that wrote, with what its next read needs.
    pub fn all(&self) -> impl Iterator<Item = (&str, Need)> {
        self.logins.keys().map(|login| (&**login, self.need(login)))
    }

    /// The highest position noted: where replicas must get to.
    pub fn highest(&self) -> Lsn {
        let logins = self.logins.values().map(|p| p.lsn);
        logins.chain(self.floor).max().unwrap_or_default()
    }

    fn entry(&mut self, login: &str) -> &mut Position {
        if !self.logins.contains_key(login) {
            self.logins.insert(login.into(), Position::default());
        }
        self.logins.entry(login.into()).or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_only_go_up_and_belong_to_the_login() {
        let mut positions = Positions::default();
        // A process before us may have noted more.
        assert_eq!(positions.need("shop"), Need::Unknown);
        positions.settle(1, Lsn(10));
        assert_eq!(positions.need("shop"), Need::At(Lsn(10)));
        positions.note("shop", Lsn(50));
        positions.note("shop", Lsn(40));
        assert_eq!(positions.need("shop"), Need::At(Lsn(50)));
        assert_eq!(positions.need("other"), Need::At(Lsn(10)));
        assert_eq!(positions.highest(), Lsn(50));
    }

    #[test]
    fn an_unnoted_write_waits_for_a_poll_begun_after_it() {
        let mut positions = Positions::default();
        positions.note("shop", Lsn(50));
        positions.note_unknown("shop", 7);
        positions.settle(7, Lsn(55)); // begun before the write ended
        assert_eq!(positions.need("shop"), Need::Unknown);
        positions.settle(8, Lsn(60));
        assert_eq!(positions.need("shop"), Need::At(Lsn(60)));
    }
}
