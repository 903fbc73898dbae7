//! How far each login has written, so that its reads never go behind it.
//!
//! The position belongs to the login (the role's name), not to the session: a
//! web server's pool holds several connections, and what was written through
//! one is read through another. See `docs/decisions/read-your-writes.md`.

use base::Lsn;
use std::collections::HashMap;

/// `wal_segment_size`, unless `initdb` was told another.
const SEGMENT: u64 = 16 << 20;
/// `XLOG_BLCKSZ`, unless PostgreSQL was built with another.
const PAGE: u64 = 8_192;
/// The header of a segment's first page: `XLogLongPageHeaderData`, aligned.
const LONG_HEADER: u64 = 40;
/// The header of every other page: `XLogPageHeaderData`, aligned.
const SHORT_HEADER: u64 = 24;

/// The least that a replica must have replayed to have replayed everything
/// before the insert position `lsn`.
///
/// Where a record fills its page to the end, or the segment was switched, the
/// primary's insert position is already behind the next page's header, and a
/// replica that has replayed all stands before that header until something is
/// written: up to 15 seconds, the background writer's `LOG_SNAPSHOT_INTERVAL_MS`.
///
/// A server with other sizes is safe: no record is shorter than its header, 24
/// bytes, so that none that begins on a page ends within the first 40 bytes of
/// it (16 behind a short header), and a replica never stands inside a record.
/// With smaller segments or larger pages some headers are not recognised, and
/// the replica seems late, no more. (Behind a page boundary that is none, 24
/// bytes may be a record without content, which nobody can miss.)
///
/// Sources: PostgreSQL, `src/include/access/xlog_internal.h` (the headers),
/// `xlogrecord.h` (`SizeOfXLogRecord`), `src/backend/access/transam/xlog.c`
/// (`XLogBytePosToRecPtr` for insert positions, `XLogBytePosToEndRecPtr` for ends).
pub fn before_header(lsn: Lsn) -> Lsn {
    let header = match (lsn.0 % SEGMENT, lsn.0 % PAGE) {
        (LONG_HEADER, _) => LONG_HEADER,
        (_, SHORT_HEADER) => SHORT_HEADER,
        _ => 0,
    };
    // Position 0 is none (`InvalidXLogRecPtr`): to need it would be to need nothing.
    if header == lsn.0 { lsn } else { Lsn(lsn.0 - header) }
}

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
    /// A write of `login` ended at or before the insert position `lsn`. Positions only go up.
    pub fn note(&mut self, login: &str, lsn: Lsn) {
        let position = self.entry(login);
        position.lsn = position.lsn.max(before_header(lsn));
    }

    /// A write of `login` ended, or may have, at a position that could not be
    /// asked for. `polls_begun` is the number of the newest poll begun.
    pub fn note_unknown(&mut self, login: &str, polls_begun: u64) {
        let position = self.entry(login);
        position.unknown_after = Some(position.unknown_after.map_or(polls_begun, |n| n.max(polls_begun)));
    }

    /// Poll number `poll` of the primary read the insert position `lsn`.
    pub fn settle(&mut self, poll: u64, lsn: Lsn) {
        let lsn = before_header(lsn);
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

    #[test]
    fn a_position_behind_a_page_header_is_its_pages_start() {
        let segment = 3 * SEGMENT;
        let cases = [
            // What PostgreSQL 15 says after `pg_switch_wal()`, and what its replica has replayed.
            (0x400_0028, 0x400_0000),
            (segment, segment),
            (segment + 0x28, segment),
            (segment + 0x30, segment + 0x30),
            (segment + PAGE, segment + PAGE),
            (segment + PAGE + 0x18, segment + PAGE),
            // With the assumed sizes a record's end like any other.
            (segment + PAGE + 0x28, segment + PAGE + 0x28),
            (segment + PAGE + 0x20, segment + PAGE + 0x20),
            (segment + PAGE - 8, segment + PAGE - 8),
            // `0/0` is none.
            (0, 0),
            (0x18, 0x18),
            (0x28, 0x28),
            (u64::MAX, u64::MAX),
        ];
        for (lsn, expected) in cases {
            assert_eq!(before_header(Lsn(lsn)), Lsn(expected), "{}", Lsn(lsn));
        }
    }

    /// A server's log: where records end, and where the next is inserted.
    struct Log {
        segment: u64,
        page: u64,
    }

    impl Log {
        fn header(&self, page: u64) -> u64 {
            if page.is_multiple_of(self.segment) { LONG_HEADER } else { SHORT_HEADER }
        }

        /// The end of a record of `length` bytes inserted at `at`, and the insert position after it.
        fn insert(&self, mut at: u64, mut length: u64) -> (u64, u64) {
            loop {
                let room = self.page - at % self.page;
                if length < room {
                    return (at + length, at + length);
                }
                at += room;
                let next = at + self.header(at);
                if length == room {
                    return (at, next);
                }
                (at, length) = (next, length - room);
            }
        }
    }

    #[test]
    fn nothing_is_taken_for_replayed_that_is_not_whatever_the_servers_sizes() {
        const MIB: u64 = 1 << 20;
        // Segment, page, and whether these are the sizes we know.
        let servers = [
            (16 * MIB, 8_192, true),
            (MIB, 8_192, false),
            (64 * MIB, 8_192, false),
            (1_024 * MIB, 8_192, false),
            (16 * MIB, 1_024, false),
            (16 * MIB, 65_536, false),
        ];
        let mut at_headers = 0;
        for (segment, page, known) in servers {
            let log = Log { segment, page };
            // Before boundaries of 1, 16, 64 and 1024 MiB, and the shortest records that end around them.
            for boundary in [5 * MIB, 48 * MIB, 192 * MIB, 3_072 * MIB] {
                // Records with content: 24 bytes of header and more, in steps of 8 (`MAXALIGN`).
                for first in (32..=512).step_by(8) {
                    for second in (32..=96).step_by(8) {
                        let mut insert = boundary - 256;
                        let mut ends = Vec::new();
                        for length in [first, second, second, 32, 8_192] {
                            let (end, next) = log.insert(insert, length);
                            ends.push(end);
                            insert = next;
                            let need = before_header(Lsn(insert)).0;
                            at_headers += u32::from(need < insert);
                            for &replayed in &ends[..ends.len() - 1] {
                                assert!(replayed < need, "{segment} {page}: {replayed:#x} for {insert:#x}");
                            }
                            assert!(!known || end >= need, "{end:#x} does not do for {insert:#x}");
                        }
                    }
                }
            }
        }
        assert!(at_headers > 100, "only {at_headers} positions were behind headers");
    }
}
