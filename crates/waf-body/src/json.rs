//! JSON (RFC 8259), in one pass and without a tree.
//!
//! Names are those of ModSecurity v3: `json`, then `.key` for a member and
//! `.array_<index>` for an element; an empty key reads `empty-key`. Strings are
//! unescaped, numbers and `true`/`false` are handed over as written, `null` as
//! the empty value; empty containers give nothing; duplicates are all handed
//! over. A key may itself hold a dot: names are for people and rules, not a key
//! to the document.
//!
//! What the library behind ModSecurity (YAJL 2) accepts is accepted, what it
//! refuses is an error: a byte order mark, comments, a trailing comma, control
//! characters and malformed UTF-8 in strings, anything after the text. Lone
//! surrogates do as it does: a high one becomes `?`, a low one the three bytes
//! that its number would have in UTF-8.

use crate::scratch::Level;
use crate::{Error, ErrorKind, Full, Limits, Scratch, Sink};

/// Reads a JSON text. An empty one holds nothing and is no error.
pub fn json(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    if text.is_empty() {
        return Ok(());
    }
    scratch.name.clear();
    scratch.name.extend_from_slice(b"json");
    Reader::new(text, complete, limits, sink, scratch).text()
}

/// Reads JSON texts, one on each line; names begin with `json.array_<line>`,
/// lines counted from 0 without the blank ones. A line that is malformed does
/// not hide the ones after it: the first error is reported at the end.
pub fn ndjson(
    text: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Result<(), Error> {
    let mut first_error = None;
    let mut line_number = 0;
    let mut begin = 0;
    while begin < text.len() {
        let end = memchr::memchr(b'\n', &text[begin..]).map_or(text.len(), |n| begin + n);
        let line = &text[begin..end];
        if !line.iter().all(u8::is_ascii_whitespace) {
            if line_number == limits.messages {
                let error = Error::new(ErrorKind::Json("more lines than the limit"), begin);
                return Err(first_error.unwrap_or(error));
            }
            scratch.name.clear();
            scratch.name.extend_from_slice(b"json");
            push_index(&mut scratch.name, line_number);
            let whole = complete || end < text.len();
            let read = Reader::new(line, whole, limits, &mut *sink, &mut *scratch).text();
            match read {
                Ok(()) => {}
                Err(error) if error.kind == ErrorKind::Full => {
                    return Err(Error::new(ErrorKind::Full, begin + error.at));
                }
                Err(error) => {
                    first_error.get_or_insert(Error::new(error.kind, begin + error.at));
                }
            }
            line_number += 1;
        }
        begin = end + 1;
    }
    first_error.map_or(Ok(()), Err)
}

/// Why the reader stops before the end of the text.
enum Stop {
    /// The text ends here. An error only when the body is complete.
    End,
    /// The text is wrong at this place.
    Wrong(&'static str, usize),
    Full,
}

impl From<Full> for Stop {
    fn from(_: Full) -> Self {
        Self::Full
    }
}

struct Reader<'a, S> {
    text: &'a [u8],
    at: usize,
    complete: bool,
    depth: usize,
    path: usize,
    sink: &'a mut S,
    scratch: &'a mut Scratch,
}

impl<'a, S: Sink> Reader<'a, S> {
    /// The path of names stands in `scratch.name`.
    fn new(
        text: &'a [u8],
        complete: bool,
        limits: &Limits,
        sink: &'a mut S,
        scratch: &'a mut Scratch,
    ) -> Self {
        scratch.levels.clear();
        Self { text, at: 0, complete, depth: limits.depth as usize, path: limits.path, sink, scratch }
    }

    /// One value with blanks around it, and nothing after.
    fn text(mut self) -> Result<(), Error> {
        let stop = match self.values() {
            Ok(()) => return Ok(()),
            Err(stop) => stop,
        };
        match stop {
            Stop::End if self.complete => {
                let what = ErrorKind::Json("parse error: premature end of the text");
                Err(Error::new(what, self.text.len()))
            }
            Stop::End => Ok(()),
            Stop::Wrong(what, at) => Err(Error::new(ErrorKind::Json(what), at)),
            Stop::Full => Err(Error::new(ErrorKind::Full, self.at)),
        }
    }

    fn values(&mut self) -> Result<(), Stop> {
        loop {
            // A value is due.
            match self.token()? {
                b'"' => self.string_value()?,
                b'{' => {
                    self.open(Level::OBJECT)?;
                    match self.token()? {
                        b'}' => self.close(),
                        b'"' => {
                            self.key()?;
                            continue;
                        }
                        _ => return self.wrong("parse error: a member's name must be a string"),
                    }
                }
                b'[' => {
                    self.open(0)?;
                    if self.token()? == b']' {
                        self.close();
                    } else {
                        push_index(&mut self.scratch.name, 0);
                        continue;
                    }
                }
                b'-' | b'0'..=b'9' => self.number()?,
                b't' => self.literal(b"true", b"true")?,
                b'f' => self.literal(b"false", b"false")?,
                b'n' => self.literal(b"null", b"")?,
                _ => return self.wrong("lexical error: invalid character in the text"),
            }
            if !self.next_value()? {
                return Ok(());
            }
        }
    }

    /// After a value: to where the next is due, out of the containers that end
    /// here. `false` at the end of the text.
    fn next_value(&mut self) -> Result<bool, Stop> {
        loop {
            let Some(level) = self.scratch.levels.last_mut() else {
                self.skip_blanks();
                return match self.at == self.text.len() {
                    true => Ok(false),
                    false => self.wrong("parse error: something follows the text"),
                };
            };
            let path = level.path as usize;
            if level.index == Level::OBJECT {
                match self.token()? {
                    b'}' => self.close(),
                    b',' => {
                        self.at += 1;
                        if self.token()? != b'"' {
                            return self.wrong("parse error: a member's name must be a string");
                        }
                        self.scratch.name.truncate(path);
                        self.key()?;
                        return Ok(true);
                    }
                    _ => return self.wrong("parse error: after a member, `,` or `}` is due"),
                }
            } else {
                level.index += 1;
                let index = level.index;
                match self.token()? {
                    b']' => self.close(),
                    b',' => {
                        self.at += 1;
                        self.scratch.name.truncate(path);
                        push_index(&mut self.scratch.name, index);
                        return Ok(true);
                    }
                    _ => return self.wrong("parse error: after an element, `,` or `]` is due"),
                }
            }
        }
    }

    fn wrong<T>(&self, what: &'static str) -> Result<T, Stop> {
        Err(Stop::Wrong(what, self.at))
    }

    fn skip_blanks(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    /// The first byte of the next token; it stays to be read.
    #[inline]
    fn token(&mut self) -> Result<u8, Stop> {
        self.skip_blanks();
        self.text.get(self.at).copied().ok_or(Stop::End)
    }

    fn open(&mut self, index: u32) -> Result<(), Stop> {
        if self.scratch.levels.len() >= self.depth {
            return self.wrong("JSON depth limit exceeded");
        }
        self.at += 1;
        // The path is bounded far below 4 GiB by `Limits::path`.
        let path = self.scratch.name.len() as u32;
        self.scratch.levels.push(Level { path, index });
        Ok(())
    }

    fn close(&mut self) {
        self.at += 1;
        if let Some(level) = self.scratch.levels.pop() {
            self.scratch.name.truncate(level.path as usize);
        }
    }

    /// A member's name and its colon: appended to the path.
    fn key(&mut self) -> Result<(), Stop> {
        let begin = self.at;
        self.scratch.name.push(b'.');
        let before = self.scratch.name.len();
        match self.string()? {
            Text::Plain(from, to) => {
                if to - from > self.path {
                    return Err(Stop::Wrong("a name longer than the limit", begin));
                }
                self.scratch.name.extend_from_slice(&self.text[from..to]);
            }
            Text::Unescaped => self.scratch.name.extend_from_slice(&self.scratch.value),
            Text::Cut(_) => return Err(Stop::End),
        }
        if self.scratch.name.len() == before {
            self.scratch.name.extend_from_slice(b"empty-key");
        }
        if self.scratch.name.len() > self.path {
            return Err(Stop::Wrong("a name longer than the limit", begin));
        }
        if self.token()? != b':' {
            return self.wrong("parse error: after a member's name, `:` is due");
        }
        self.at += 1;
        Ok(())
    }

    fn string_value(&mut self) -> Result<(), Stop> {
        match self.string()? {
            Text::Plain(from, to) => {
                self.sink.arg(&self.scratch.name, &self.text[from..to])?;
            }
            Text::Unescaped => self.sink.arg(&self.scratch.name, &self.scratch.value)?,
            Text::Cut(from) => {
                // Half an escape at the end is left out.
                let _ = unescape(&self.text[from..], from, &mut self.scratch.value);
                self.sink.arg(&self.scratch.name, &self.scratch.value)?;
                return Err(Stop::End);
            }
        }
        Ok(())
    }

    /// Reads a string from its opening quote on.
    fn string(&mut self) -> Result<Text, Stop> {
        let from = self.at + 1;
        let mut at = from;
        let mut escaped = false;
        let mut all_bytes = 0;
        loop {
            at = plain_run(self.text, at, &mut all_bytes);
            match self.text.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                Some(_) => {
                    let what = "lexical error: invalid character inside a string";
                    return Err(Stop::Wrong(what, at));
                }
                None if self.complete => return Err(Stop::End),
                None => {
                    self.at = self.text.len();
                    return Ok(Text::Cut(from));
                }
            }
        }
        let raw = &self.text[from..at];
        if all_bytes >= 0x80
            && let Some(bad) = malformed_utf8(raw)
        {
            let what = "lexical error: invalid bytes in a UTF-8 string";
            return Err(Stop::Wrong(what, from + bad));
        }
        self.at = at + 1;
        if !escaped {
            return Ok(Text::Plain(from, at));
        }
        unescape(raw, from, &mut self.scratch.value)?;
        Ok(Text::Unescaped)
    }

    fn literal(&mut self, word: &[u8], value: &[u8]) -> Result<(), Stop> {
        let rest = &self.text[self.at..];
        if rest.starts_with(word) {
            self.at += word.len();
            self.sink.arg(&self.scratch.name, value)?;
            return Ok(());
        }
        match word.starts_with(rest) {
            true => Err(Stop::End),
            false => self.wrong("lexical error: invalid string in the text"),
        }
    }

    /// RFC 8259 §6: `-`, an integer without leading zeros, a fraction, an
    /// exponent.
    fn number(&mut self) -> Result<(), Stop> {
        let text = self.text;
        let begin = self.at;
        let digits = |mut at: usize| {
            while text.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let mut at = begin + usize::from(text[begin] == b'-');
        let mut whole = match text.get(at) {
            Some(b'0') => at + 1,
            _ => digits(at),
        };
        let mut good = whole > at;
        at = whole;
        if good && text.get(at) == Some(&b'.') {
            whole = digits(at + 1);
            good = whole > at + 1;
            at = whole;
        }
        if good && let Some(b'e' | b'E') = text.get(at) {
            let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
            whole = digits(at + 1 + sign);
            good = whole > at + 1 + sign;
            at = whole;
        }
        if !good {
            if at < text.len() {
                return Err(Stop::Wrong("lexical error: malformed number", at));
            }
            if self.complete {
                return Err(Stop::End);
            }
        }
        self.at = at.min(text.len());
        self.sink.arg(&self.scratch.name, &text[begin..self.at])?;
        Ok(())
    }
}

/// What reading a string gave.
enum Text {
    /// It stands in the text as it is, between these places.
    Plain(usize, usize),
    /// It had escapes: what it means is in `scratch.value`.
    Unescaped,
    /// The text ends before it does; it begins here.
    Cut(usize),
}

/// The first place from `at` on that ends a run of plain bytes: a quote, a
/// backslash, a control character, or the text's end. ORs what it passes over
/// into `seen`, so that the caller learns of bytes beyond ASCII.
#[inline]
fn plain_run(text: &[u8], mut at: usize, seen: &mut u8) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let mut bits = 0_u64;
    let zero_bytes = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    while let Some(eight) = text.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let word = u64::from_le_bytes(*eight);
        let quotes = zero_bytes(word ^ (ONES * u64::from(b'"')));
        let backslashes = zero_bytes(word ^ (ONES * u64::from(b'\\')));
        let controls = zero_bytes(word & (ONES * 0xE0));
        // The lowest set bit is exact; borrows reach only higher bytes.
        let stops = quotes | backslashes | controls;
        if stops == 0 {
            bits |= word;
            at += 8;
            continue;
        }
        let before = stops.trailing_zeros() / 8;
        bits |= word & ((1_u64 << (before * 8)) - 1);
        *seen |= u8::from(bits & HIGH != 0) << 7;
        return at + before as usize;
    }
    *seen |= u8::from(bits & HIGH != 0) << 7;
    while let Some(&byte) = text.get(at) {
        if byte < 0x20 || byte == b'"' || byte == b'\\' {
            break;
        }
        *seen |= byte;
        at += 1;
    }
    at.min(text.len())
}

/// Where `text` is not UTF-8, by the lead bytes and continuation bytes alone:
/// overlong forms and surrogates pass, as they do in YAJL, so that rules see
/// them.
fn malformed_utf8(text: &[u8]) -> Option<usize> {
    let mut at = match std::str::from_utf8(text) {
        Ok(_) => return None,
        Err(error) => error.valid_up_to(),
    };
    while let Some(&lead) = text.get(at) {
        let following = match lead {
            0..0x80 => 0,
            0xC0..0xE0 => 1,
            0xE0..0xF0 => 2,
            0xF0..0xF8 => 3,
            _ => return Some(at),
        };
        let continued = text.get(at + 1..=at + following);
        if !continued.is_some_and(|bytes| bytes.iter().all(|byte| byte & 0xC0 == 0x80)) {
            return Some(at);
        }
        at += 1 + following;
    }
    None
}

/// Undoes the escapes of RFC 8259 §7 in `raw`, which begins at byte `base` of
/// the text. `out` holds what came before when an escape is wrong.
fn unescape(raw: &[u8], base: usize, out: &mut Vec<u8>) -> Result<(), Stop> {
    out.clear();
    let mut at = 0;
    while let Some(&byte) = raw.get(at) {
        // Escapes often follow one another: no search from one to the next.
        if byte != b'\\' {
            let next = memchr::memchr(b'\\', &raw[at..]).unwrap_or(raw.len() - at);
            out.extend_from_slice(&raw[at..at + next]);
            at += next;
            continue;
        }
        let Some(&escape) = raw.get(at + 1) else {
            return Err(Stop::End);
        };
        let byte = match escape {
            b'"' | b'\\' | b'/' => escape,
            b'b' => 0x08,
            b'f' => 0x0C,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let what = "lexical error: `\\u` needs four hexadecimal digits";
                at += unicode_escape(&raw[at..], out).ok_or(Stop::Wrong(what, base + at))?;
                continue;
            }
            _ => {
                let what = "lexical error: inside a string, `\\` before a character it may not escape";
                return Err(Stop::Wrong(what, base + at));
            }
        };
        out.push(byte);
        at += 2;
    }
    Ok(())
}

/// Undoes `\uXXXX`, or two of them for a character beyond the BMP, at the
/// beginning of `raw`; returns how many bytes that took. `None` without four
/// digits.
pub(crate) fn unicode_escape(raw: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let unit = raw.get(2..6).and_then(four_hex)?;
    if (0xD800..0xDC00).contains(&unit) {
        let low = match raw.get(6..8) {
            Some(b"\\u") => raw.get(8..12).and_then(four_hex),
            _ => None,
        };
        if let Some(low @ 0xDC00..0xE000) = low {
            let scalar = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
            push_utf8(out, scalar);
            return Some(12);
        }
        out.push(b'?');
        return Some(6);
    }
    push_utf8(out, unit);
    Some(6)
}

fn four_hex(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, &digit| (digit as char).to_digit(16).map(|nibble| number << 4 | nibble))
}

/// Appends a code point in UTF-8. Surrogates take three bytes like others of
/// their size.
pub(crate) fn push_utf8(out: &mut Vec<u8>, scalar: u32) {
    let tail = |shift: u32| 0x80 | (scalar >> shift & 0x3F) as u8;
    match scalar {
        0..0x80 => out.push(scalar as u8),
        0x80..0x800 => out.extend_from_slice(&[0xC0 | (scalar >> 6) as u8, tail(0)]),
        0x800..0x1_0000 => {
            out.extend_from_slice(&[0xE0 | (scalar >> 12) as u8, tail(6), tail(0)]);
        }
        _ => {
            let lead = 0xF0 | (scalar >> 18 & 0x07) as u8;
            out.extend_from_slice(&[lead, tail(12), tail(6), tail(0)]);
        }
    }
}

/// Appends `.array_<index>` to a path.
pub(crate) fn push_index(path: &mut Vec<u8>, index: u32) {
    path.extend_from_slice(b".array_");
    push_number(path, index);
}

/// Appends a number in decimal.
pub(crate) fn push_number(path: &mut Vec<u8>, number: u32) {
    let mut digits = [0; 10];
    let mut begin = digits.len();
    let mut rest = number;
    loop {
        begin -= 1;
        digits[begin] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    path.extend_from_slice(&digits[begin..]);
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
