//! Operators that look at bytes alone. Each asks of a value what its name says;
//! whether the answer is negated is the engine's business.

use crate::ByteSet;
pub use crate::national_id::{is_card, is_cpf, is_rut, is_ssn, is_svnr};
use memchr::memmem;
use std::fmt;

/// `@streq`: the value is `wanted`.
pub fn streq(value: &[u8], wanted: &[u8]) -> bool {
    value == wanted
}

/// `@contains`: `wanted` is somewhere in the value.
pub fn contains(value: &[u8], wanted: &[u8]) -> bool {
    memmem::find(value, wanted).is_some()
}

/// `@strmatch`: the same as [`contains`].
pub fn strmatch(value: &[u8], wanted: &[u8]) -> bool {
    contains(value, wanted)
}

/// `@beginsWith`.
pub fn begins_with(value: &[u8], wanted: &[u8]) -> bool {
    value.starts_with(wanted)
}

/// `@endsWith`.
pub fn ends_with(value: &[u8], wanted: &[u8]) -> bool {
    value.ends_with(wanted)
}

/// `@within`: the value is somewhere in `list`; an empty one is in each.
pub fn within(value: &[u8], list: &[u8]) -> bool {
    contains(list, value)
}

/// `@containsWord`: `word` is in the value, with no ASCII letter on either side.
pub fn contains_word(value: &[u8], word: &[u8]) -> bool {
    if word.is_empty() {
        return true;
    }
    let letter = |at: Option<&u8>| at.is_some_and(u8::is_ascii_alphabetic);
    let stands_alone = |at: usize| {
        let before = at.checked_sub(1).and_then(|before| value.get(before));
        !letter(before) && !letter(value.get(at + word.len()))
    };
    if word.len() > OVERLAPPING {
        return every_hit(value, word).any(stands_alone);
    }
    let finder = memmem::Finder::new(word);
    let mut from = 0;
    // One byte on from each hit, not behind it: hits may overlap.
    while let Some(found) = finder.find(&value[from..]) {
        if stands_alone(from + found) {
            return true;
        }
        from += found + 1;
    }
    false
}

/// A longer word may be found at each of its own periods, and comparing it anew each
/// time would make a search quadratic.
const OVERLAPPING: usize = 64;

/// Where a word is found, overlapping hits too, in one pass (Knuth, Morris and Pratt,
/// *Fast pattern matching in strings*, 1977).
fn every_hit(value: &[u8], word: &[u8]) -> impl Iterator<Item = usize> {
    // By length of a beginning of the word, the longest shorter one that also ends it.
    let mut borders = vec![0; word.len() + 1];
    let mut border = 0;
    for at in 1..word.len() {
        while border > 0 && word[border] != word[at] {
            border = borders[border];
        }
        border += usize::from(word[border] == word[at]);
        borders[at + 1] = border;
    }
    let mut matched = 0;
    value.iter().enumerate().filter_map(move |(at, byte)| {
        while matched > 0 && (matched == word.len() || word[matched] != *byte) {
            matched = borders[matched];
        }
        matched += usize::from(word[matched] == *byte);
        (matched == word.len()).then(|| at + 1 - word.len())
    })
}

/// What `@eq`, `@lt` and their like make of a text, as C's `atoi`: blanks, a
/// sign, digits, and nothing after them; zero where there is none. Beyond 64
/// bits it stays at the nearest.
pub fn number(text: &[u8]) -> i64 {
    let mut rest = text.trim_ascii_start();
    let negative = rest.first() == Some(&b'-');
    if let [b'-' | b'+', tail @ ..] = rest {
        rest = tail;
    }
    let mut value = 0i64;
    for byte in rest.iter().take_while(|byte| byte.is_ascii_digit()) {
        let digit = i64::from(byte - b'0');
        value = value.saturating_mul(10);
        value = if negative { value.saturating_sub(digit) } else { value.saturating_add(digit) };
    }
    value
}

/// `@validateUrlEncoding`: where a `%` stands without two hexadecimal digits.
pub fn invalid_url_encoding(value: &[u8]) -> Option<usize> {
    memchr::memchr_iter(b'%', value).find(|&at| {
        let digits = value.get(at + 1..at + 3);
        // Digits are no `%`, so that each one stands by itself.
        !digits.is_some_and(|two| two.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Why bytes are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Utf8Error {
    /// The value ends within a character.
    Missing,
    /// A byte that cannot begin a character, or one that cannot continue it.
    Invalid,
    /// A character in more bytes than it needs.
    Overlong,
    /// A surrogate, or beyond U+10FFFF.
    Restricted,
}

/// `@validateUtf8Encoding`: where and why the value is not UTF-8 (RFC 3629 §3, §4).
pub fn invalid_utf8(value: &[u8]) -> Option<(usize, Utf8Error)> {
    let at = std::str::from_utf8(value).err()?.valid_up_to();
    Some((at, utf8_error(&value[at..])))
}

/// What is wrong with the character `rest` begins with; kinds and their order
/// are ModSecurity's.
fn utf8_error(rest: &[u8]) -> Utf8Error {
    let (length, bits, least) = match rest.first() {
        Some(first @ 0xc0..=0xdf) => (2, first & 0x1f, 0x80),
        Some(first @ 0xe0..=0xef) => (3, first & 0x0f, 0x800),
        Some(first @ 0xf0..=0xf4) => (4, first & 0x07, 0x1_0000),
        Some(0xf5..=0xf7) => return Utf8Error::Restricted,
        _ => return Utf8Error::Invalid,
    };
    let Some(tail) = rest.get(1..length) else { return Utf8Error::Missing };
    let mut code = u32::from(bits);
    for byte in tail {
        if byte & 0xc0 != 0x80 {
            return Utf8Error::Invalid;
        }
        code = code << 6 | u32::from(byte & 0x3f);
    }
    if code < least { Utf8Error::Overlong } else { Utf8Error::Restricted }
}

/// `@validateByteRange`'s argument.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// The bytes that may occur.
    pub allowed: ByteSet,
}

/// What in a range cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteRangeError(pub String);

impl fmt::Display for ByteRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no byte and no range of bytes: 0 to 255, as in `32-126`", self.0)
    }
}

impl std::error::Error for ByteRangeError {}

impl ByteRange {
    /// `1-255,9,10`; blanks around a part do not matter. No part at all allows
    /// no byte.
    ///
    /// # Errors
    ///
    /// The part that is neither a byte nor an ascending range.
    pub fn parse(text: &str) -> Result<Self, ByteRangeError> {
        let mut allowed = ByteSet::EMPTY;
        if text.trim().is_empty() {
            return Ok(Self { allowed });
        }
        for part in text.split(',').map(str::trim) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            match (first.trim().parse::<u8>(), last.trim().parse::<u8>()) {
                (Ok(first), Ok(last)) if first <= last => {
                    allowed = allowed.union(&ByteSet::range(first, last))
                }
                _ => return Err(ByteRangeError(part.to_owned())),
            }
        }
        Ok(Self { allowed })
    }

    /// Where the first byte stands that is not allowed.
    pub fn first_outside(&self, value: &[u8]) -> Option<usize> {
        value.iter().position(|&byte| !self.allowed.contains(byte))
    }
}

/// `@pm`'s phrases: split at blanks. As in Snort, pairs of hexadecimal digits
/// between two `|` are bytes (`a|20|b` is one phrase of three), and `\:`, `\;`,
/// `\\` and `\"` stand for what is behind the backslash; one that stands before
/// anything else leaves all backslashes as they are, as in ModSecurity. A `|`
/// that no such run begins with is itself.
pub fn phrases(text: &[u8]) -> Vec<Vec<u8>> {
    let escapes = escapes_are_known(text);
    let mut all = Vec::new();
    let mut phrase = Vec::new();
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            // A run ends at the next `|` at the latest, so that this is linear.
            b'|' if let Some(behind) = hex_run(tail, &mut phrase) => rest = behind,
            b'\\' if escapes && let [escaped, tail @ ..] = tail => {
                phrase.push(*escaped);
                rest = tail;
            }
            byte if byte.is_ascii_whitespace() || *byte == 0x0b => {
                if !phrase.is_empty() {
                    all.push(std::mem::take(&mut phrase));
                }
            }
            byte => phrase.push(*byte),
        }
    }
    if !phrase.is_empty() {
        all.push(phrase);
    }
    all
}

fn escapes_are_known(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        if !rest.get(at + 1).is_some_and(|byte| matches!(byte, b':' | b';' | b'\\' | b'"')) {
            return false;
        }
        rest = &rest[at + 2..];
    }
    true
}

/// Appends the bytes that stand in hexadecimal, with blanks between, before the
/// next `|`, and answers what follows it; nothing where there is something else.
fn hex_run<'a>(text: &'a [u8], phrase: &mut Vec<u8>) -> Option<&'a [u8]> {
    let start = phrase.len();
    let mut high = None;
    for (at, &byte) in text.iter().enumerate() {
        let digit = char::from(byte).to_digit(16).map(|digit| digit as u8);
        match (high.take(), digit) {
            (None, Some(digit)) => high = Some(digit),
            (Some(high), Some(digit)) => phrase.push(high << 4 | digit),
            (None, None) if byte == b' ' => {}
            (None, None) if byte == b'|' && phrase.len() > start => return Some(&text[at + 1..]),
            _ => break,
        }
    }
    phrase.truncate(start);
    None
}

/// `@pmFromFile`'s phrases: a line each, without the blanks around it; blank
/// lines and those that begin with `#` are skipped.
pub fn phrases_from_file(text: &[u8]) -> Vec<&[u8]> {
    text.split(|&byte| byte == b'\n')
        .map(<[u8]>::trim_ascii)
        .filter(|line| !line.is_empty() && !line.starts_with(b"#"))
        .collect()
}

#[cfg(test)]
mod tests;
