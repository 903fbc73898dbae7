//! Comments: C's `/* */`, HTML's `<!-- -->`, SQL's `--` and `#`.
//!
//! All openers but `#` hold a rarer byte than they begin with, so the search is
//! for `*`, `-` and `#`, and looks back from there; never into what was already
//! taken.

use memchr::{memchr, memchr2, memchr3};

/// Removes comments. As in ModSecurity, `--` and `#` end the value, an
/// unterminated comment leaves a space, and the byte behind a comment is copied
/// unseen, which is a NUL where there is none.
pub(super) fn remove(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    loop {
        let Some(opener) = next_opener(rest) else {
            return out.extend_from_slice(rest);
        };
        out.extend_from_slice(&rest[..opener.at]);
        if opener.to_the_end {
            return;
        }
        let Some(behind) = behind_comment(&rest[opener.at + opener.len..]) else {
            return out.push(b' ');
        };
        match behind.split_first() {
            Some((&byte, tail)) => {
                out.push(byte);
                rest = tail;
            }
            None => return out.push(0),
        }
    }
}

struct Opener {
    at: usize,
    len: usize,
    to_the_end: bool,
}

fn next_opener(text: &[u8]) -> Option<Opener> {
    let mut from = 0;
    while let Some(found) = memchr3(b'*', b'-', b'#', &text[from..]) {
        let at = from + found;
        match text[at] {
            b'#' => return Some(Opener { at, len: 1, to_the_end: true }),
            b'*' if text[..at].ends_with(b"/") => {
                return Some(Opener { at: at - 1, len: 2, to_the_end: false });
            }
            b'-' if text.get(at + 1) == Some(&b'-') => {
                return Some(if text[..at].ends_with(b"<!") {
                    Opener { at: at - 2, len: 4, to_the_end: false }
                } else {
                    Opener { at, len: 2, to_the_end: true }
                });
            }
            _ => from = at + 1,
        }
    }
    None
}

/// What follows the first `*/` or `-->`.
fn behind_comment(text: &[u8]) -> Option<&[u8]> {
    let mut from = 0;
    while let Some(found) = memchr2(b'*', b'-', &text[from..]) {
        let here = &text[from + found..];
        if here.starts_with(b"*/") {
            return Some(&here[2..]);
        }
        if here.starts_with(b"-->") {
            return Some(&here[3..]);
        }
        from += found + 1;
    }
    None
}

/// Each `/* */` becomes a space, and so does one that does not end.
pub(super) fn replace(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    while let Some(at) = after_pair(rest, b'*', |text, at| text[..at].ends_with(b"/"), 1) {
        out.extend_from_slice(&rest[..at - 2]);
        out.push(b' ');
        rest = &rest[at..];
        match after_pair(rest, b'*', |text, at| text.get(at + 1) == Some(&b'/'), 2) {
            Some(behind) => rest = &rest[behind..],
            None => return,
        }
    }
    out.extend_from_slice(rest);
}

/// The place `step` bytes after the first `byte` that is such.
fn after_pair(text: &[u8], byte: u8, such: impl Fn(&[u8], usize) -> bool, step: usize) -> Option<usize> {
    let mut from = 0;
    while let Some(found) = memchr(byte, &text[from..]) {
        let at = from + found;
        if such(text, at) {
            return Some(at + step);
        }
        from = at + 1;
    }
    None
}

/// Removes the marks themselves: `/*`, `*/`, `<!--`, `-->`, `--`, `#`.
pub(super) fn remove_chars(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    let mut from = 0;
    while let Some(found) = memchr3(b'*', b'-', b'#', &rest[from..]) {
        let at = from + found;
        let (before, here) = rest.split_at(at);
        let (back, len) = match here {
            [b'#', ..] => (0, 1),
            [b'*', ..] if before.ends_with(b"/") => (1, 2),
            [b'*', b'/', ..] => (0, 2),
            [b'-', b'-', ..] if before.ends_with(b"<!") => (2, 4),
            [b'-', b'-', b'>', ..] => (0, 3),
            [b'-', b'-', ..] => (0, 2),
            _ => {
                from = at + 1;
                continue;
            }
        };
        out.extend_from_slice(&before[..at - back]);
        rest = &rest[at - back + len..];
        from = 0;
    }
    out.extend_from_slice(rest);
}
