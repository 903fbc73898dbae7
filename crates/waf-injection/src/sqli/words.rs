//! The words and phrases of SQL, and what they are: a table built by the compiler from
//! `data/words.txt`, found by hash.

use super::kind::{Kind, TEXT_MAX, traits};
use crate::bytes::{load, upper};

/// A line each: the kind's letter, a space, the word or phrase in capitals.
/// `-` marks what is no word but begins a phrase.
const DATA: &[u8] = include_bytes!("../../data/words.txt");

const COUNT: usize = 992;
const SLOTS: usize = 4096;

/// A word's place in the table; 0 is no word.
pub(super) type WordId = u16;

#[derive(Clone, Copy)]
pub(super) struct Word {
    /// The text in capitals, 31 bytes and zeros.
    text: [u64; 4],
    pub(super) len: u8,
    pub(super) kind: Kind,
    pub(super) traits: u16,
}

struct Table {
    words: [Word; COUNT + 1],
    /// Ten bits of a word's place, six of its hash; 0 is empty.
    slots: [u16; SLOTS],
    /// By the first two bytes: the lengths that words have.
    lengths: [u32; 1024],
}

static TABLE: Table = Table::build();

/// The word that the text is, in any case.
#[inline]
pub(super) fn lookup(text: &[u8]) -> WordId {
    // No word has one byte only.
    let [first, second, ..] = text else { return 0 };
    if text.len() > TEXT_MAX || (TABLE.lengths[pair(*first, *second)] >> text.len()) & 1 == 0 {
        return 0;
    }
    find(text)
}

pub(super) fn word(id: WordId) -> &'static Word {
    &TABLE.words[id as usize]
}

impl Word {
    /// The text's bytes, `len` of them and zeros.
    pub(super) fn bytes(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (chunk, part) in bytes.chunks_exact_mut(8).zip(self.text) {
            chunk.copy_from_slice(&part.to_le_bytes());
        }
        bytes
    }
}

fn find(text: &[u8]) -> WordId {
    if text.len() <= 8 {
        let first = upper(load(text));
        return probe([first, 0, 0, 0], text.len());
    }
    find_long(text)
}

#[cold]
fn find_long(text: &[u8]) -> WordId {
    let mut parts = [0; 4];
    for (part, chunk) in parts.iter_mut().zip(text.chunks(8)) {
        *part = upper(load(chunk));
    }
    probe(parts, text.len())
}

#[inline]
fn probe(parts: [u64; 4], len: usize) -> WordId {
    let hash = hash(&parts, len);
    let mut slot = slot_of(hash);
    loop {
        let entry = TABLE.slots[slot];
        if entry == 0 {
            return 0;
        }
        if entry >> 10 == tag_of(hash) {
            let id = entry & 0x3ff;
            let word = &TABLE.words[id as usize];
            if word.text == parts && word.len as usize == len {
                return id;
            }
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Two bytes in either case, though not these alone.
#[inline]
const fn pair(first: u8, second: u8) -> usize {
    (first as usize & 31) << 5 | second as usize & 31
}

#[inline]
const fn hash(parts: &[u64; 4], len: usize) -> u64 {
    let mixed = parts[0] ^ parts[1].rotate_left(23) ^ parts[2].rotate_left(41) ^ parts[3];
    (mixed ^ len as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[inline]
const fn slot_of(hash: u64) -> usize {
    (hash >> 52) as usize
}

#[inline]
const fn tag_of(hash: u64) -> u16 {
    (hash >> 46) as u16 & 0x3f
}

impl Table {
    const fn build() -> Table {
        // No word is a name, as tame as one.
        const EMPTY: Word = Word { text: [0; 4], len: 0, kind: Kind::None, traits: traits::TAME };
        let mut table = Table { words: [EMPTY; COUNT + 1], slots: [0; SLOTS], lengths: [0; 1024] };
        let mut at = 0;
        let mut id = 1;
        while at < DATA.len() {
            let kind = Kind::from_letter(DATA[at]);
            let start = at + 2;
            let mut end = start;
            while DATA[end] != b'\n' {
                end += 1;
            }
            table.insert(id, kind, start, end);
            at = end + 1;
            id += 1;
        }
        assert!(id == COUNT + 1);
        table.mark_phrases();
        table
    }

    const fn insert(&mut self, id: usize, kind: Kind, start: usize, end: usize) {
        let len = end - start;
        assert!(len < TEXT_MAX);
        let text = pack(start, end);
        let hash = hash(&text, len);
        let mut slot = slot_of(hash);
        while self.slots[slot] != 0 {
            slot = (slot + 1) % SLOTS;
        }
        self.slots[slot] = tag_of(hash) << 10 | id as u16;
        assert!(len > 1);
        self.lengths[pair(DATA[start], DATA[start + 1])] |= 1 << len;
        self.words[id] = Word { text, len: len as u8, kind, traits: traits_of(kind, start, end) };
    }

    /// Marks every word that begins a phrase.
    const fn mark_phrases(&mut self) {
        let mut at = 0;
        while at < DATA.len() {
            let kind = Kind::from_letter(DATA[at]);
            let start = at + 2;
            let mut end = start;
            while DATA[end] != b'\n' {
                if DATA[end] == b' ' {
                    let id = self.find(start, end);
                    self.words[id].traits |= traits::PHRASE;
                    if !is_tame(kind) {
                        self.words[id].traits &= !traits::TAME;
                    }
                }
                end += 1;
            }
            at = end + 1;
        }
    }

    const fn find(&self, start: usize, end: usize) -> usize {
        let text = pack(start, end);
        let mut slot = slot_of(hash(&text, end - start));
        loop {
            let id = (self.slots[slot] & 0x3ff) as usize;
            assert!(id != 0, "the beginning of a phrase isn't in the table");
            let word = &self.words[id];
            let same = word.text[0] == text[0]
                && word.text[1] == text[1]
                && word.text[2] == text[2]
                && word.text[3] == text[3];
            if same && word.len as usize == end - start {
                return id;
            }
            slot = (slot + 1) % SLOTS;
        }
    }
}

const fn pack(start: usize, end: usize) -> [u64; 4] {
    let mut parts = [0; 4];
    let mut at = 0;
    while at < end - start {
        parts[at / 8] |= (DATA[start + at] as u64) << (at % 8 * 8);
        at += 1;
    }
    parts
}

const fn is(text: &[u8], start: usize, end: usize) -> bool {
    if text.len() != end - start {
        return false;
    }
    let mut at = 0;
    while at < text.len() {
        if text[at] != DATA[start + at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_any(texts: &[&[u8]], start: usize, end: usize) -> bool {
    let mut at = 0;
    while at < texts.len() {
        if is(texts[at], start, end) {
            return true;
        }
        at += 1;
    }
    false
}

const fn is_tame(kind: Kind) -> bool {
    matches!(kind, Kind::None | Kind::Bareword | Kind::Operator | Kind::Function)
}

const fn traits_of(kind: Kind, start: usize, end: usize) -> u16 {
    // Names that MySQL and T-SQL call as functions, but that are as often columns.
    const CALLABLE: [&[u8]; 11] = [
        b"USER_ID",
        b"USER_NAME",
        b"DATABASE",
        b"PASSWORD",
        b"USER",
        b"CURRENT_USER",
        b"CURRENT_DATE",
        b"CURRENT_TIME",
        b"CURRENT_TIMESTAMP",
        b"LOCALTIME",
        b"LOCALTIMESTAMP",
    ];
    let mut traits = 0;
    if is_tame(kind) {
        traits |= traits::TAME;
    }
    if is_any(&[b"NOT", b"!!"], start, end) {
        traits |= traits::UNARY;
    }
    if is(b"::", start, end) {
        traits |= traits::CAST;
    }
    if is_any(&[b"LIKE", b"NOT LIKE"], start, end) {
        traits |= traits::LIKE;
    }
    if is_any(&[b"IN", b"NOT IN"], start, end) {
        traits |= traits::IN;
    }
    if is_any(&CALLABLE, start, end) {
        traits |= traits::CALLABLE;
    }
    if matches!(kind, Kind::Function) && DATA[start] == b'I' && DATA[start + 1] == b'F' {
        traits |= traits::IF;
    }
    traits
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn entries() -> impl Iterator<Item = (Kind, &'static [u8])> {
        DATA.split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| (Kind::from_letter(line[0]), &line[2..]))
    }

    #[test]
    fn every_word_is_found_in_either_case_and_no_other() {
        let known: HashSet<&[u8]> = entries().map(|(_, text)| text).collect();
        for (kind, text) in entries() {
            for text in [text.to_vec(), text.to_ascii_lowercase()] {
                let id = lookup(&text);
                assert_ne!(id, 0, "{}", text.escape_ascii());
                assert_eq!(word(id).kind, kind);
                let bytes = word(id).bytes();
                assert!(text.eq_ignore_ascii_case(&bytes[..text.len()]));
                for at in 0..text.len() {
                    for byte in [b'~', 0, text[at] | 0x80] {
                        let mut other = text.clone();
                        other[at] = byte;
                        let expected = known.contains(&*other.to_ascii_uppercase());
                        assert_eq!(lookup(&other) != 0, expected, "{}", other.escape_ascii());
                    }
                }
            }
        }
        for text in [&b""[..], b"x", b"hello", &[b'A'; 31], &[b'A'; 40]] {
            assert_eq!(lookup(text), 0);
        }
    }

    #[test]
    fn callable_names_are_words() {
        let callable = |&(_, text): &(Kind, &[u8])| word(lookup(text)).traits & traits::CALLABLE != 0;
        assert_eq!(entries().filter(callable).count(), 11);
    }

    #[test]
    fn phrases_are_reached_from_their_beginnings() {
        for (text, phrase, tame) in [
            ("GROUP", true, false),
            ("IS", true, true),
            ("IS NOT", true, true),
            ("AT", true, false),
            ("USER", false, true),
            ("SELECT", true, false),
        ] {
            let traits = word(lookup(text.as_bytes())).traits;
            assert_eq!(traits & traits::PHRASE != 0, phrase, "{text}");
            assert_eq!(traits & traits::TAME != 0, tame, "{text}");
        }
    }
}
