//! Regular expressions as Go writes them, for Rust's engine.
//!
//! Prometheus, Alertmanager and their rule files use Go's package `regexp` (RE2's
//! syntax). The crate `regex` reads nearly the same; where the two differ, texts
//! of the one are said in the words of the other: `\d`, `\s`, `\w` and `\b` are of
//! ASCII, a `{` that begins no repetition is itself, a class knows no inner classes
//! and no `&&`, `--`, `~~`, and there are `\Q…\E` and octal escapes.
//!
//! Source: Go's package `regexp/syntax`, its description of the syntax.

use std::borrow::Cow;
use std::fmt::Write as _;

/// The same expression in the syntax of the crate `regex`. What is wrong stays
/// wrong, so that the engine says so.
pub fn regex_of_go(pattern: &str) -> Cow<'_, str> {
    if !pattern.contains(['\\', '[', '{']) {
        return Cow::Borrowed(pattern);
    }
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => escape(rest, &mut out),
            '[' => class(rest, &mut out),
            '{' => match repetition(rest) {
                Some(length) => moved(rest, length, &mut out),
                None => {
                    out.push_str("\\{");
                    &rest[1..]
                }
            },
            c => moved(rest, c.len_utf8(), &mut out),
        };
    }
    Cow::Owned(out)
}

/// Copies so many bytes, and gives what is behind them.
fn moved<'t>(text: &'t str, bytes: usize, out: &mut String) -> &'t str {
    let (copied, rest) = text.split_at(bytes);
    out.push_str(copied);
    rest
}

/// An escape outside of a class.
fn escape<'t>(text: &'t str, out: &mut String) -> &'t str {
    if let Some(quoted) = text.strip_prefix("\\Q") {
        let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(literal));
        return rest;
    }
    if let Some((inside, is_negated, rest)) = perl_class(text) {
        let _ = write!(out, "[{}{inside}]", if is_negated { "^" } else { "" });
        return rest;
    }
    if let Some(rest) = text.strip_prefix("\\b") {
        out.push_str("(?-u:\\b)");
        return rest;
    }
    if let Some(rest) = unicode_class(text, out) {
        return rest;
    }
    match character(text) {
        Some((c, rest)) => {
            out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
            rest
        }
        None => {
            let length = text.chars().take(2).map(char::len_utf8).sum();
            moved(text, length, out)
        }
    }
}

/// `\d` and its like: what is in the class, whether the rest is meant, what follows.
fn perl_class(text: &str) -> Option<(&'static str, bool, &str)> {
    let mut chars = text.strip_prefix('\\')?.chars();
    let (inside, is_negated) = match chars.next()? {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        's' => ("\\t\\n\\f\\r ", false),
        'S' => ("\\t\\n\\f\\r ", true),
        'w' => ("0-9A-Za-z_", false),
        'W' => ("0-9A-Za-z_", true),
        _ => return None,
    };
    Some((inside, is_negated, chars.as_str()))
}

/// `\pL`, `\p{Greek}`, `\P{^Greek}`: copied, and what follows.
fn unicode_class<'t>(text: &'t str, out: &mut String) -> Option<&'t str> {
    let rest = text.strip_prefix("\\p").or_else(|| text.strip_prefix("\\P"))?;
    let Some(braced) = rest.strip_prefix('{') else {
        let length = 2 + rest.chars().next().map_or(0, char::len_utf8);
        return Some(moved(text, length, out));
    };
    let Some((name, rest)) = braced.split_once('}') else {
        return Some(moved(text, text.len(), out));
    };
    let is_negated = text.starts_with("\\P") != name.starts_with('^');
    let _ =
        write!(out, "\\{}{{{}}}", if is_negated { 'P' } else { 'p' }, name.strip_prefix('^').unwrap_or(name));
    Some(rest)
}

/// One character, escaped or not; none where an escape is not that of a character.
fn character(text: &str) -> Option<(char, &str)> {
    let Some(escaped) = text.strip_prefix('\\') else {
        let c = text.chars().next()?;
        return Some((c, &text[c.len_utf8()..]));
    };
    let c = escaped.chars().next()?;
    let rest = &escaped[c.len_utf8()..];
    let simple = match c {
        'a' => '\x07',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        'x' => return hexadecimal(rest),
        '0'..='7' => return octal(escaped),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => c,
        _ => return None,
    };
    Some((simple, rest))
}

/// Behind `\x`: two digits, or some in braces.
fn hexadecimal(text: &str) -> Option<(char, &str)> {
    let (digits, rest) = match text.strip_prefix('{') {
        Some(braced) => braced.split_once('}')?,
        None => text.split_at_checked(2)?,
    };
    if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    Some((char::from_u32(u32::from_str_radix(digits, 16).ok()?)?, rest))
}

/// Up to three octal digits. One alone that is not 0 would be a reference to a
/// group, which neither engine has.
fn octal(text: &str) -> Option<(char, &str)> {
    let length = text.bytes().take(3).take_while(|b| matches!(b, b'0'..=b'7')).count();
    if length == 1 && !text.starts_with('0') {
        return None;
    }
    let (digits, rest) = text.split_at(length);
    Some((char::from_u32(u32::from_str_radix(digits, 8).ok()?)?, rest))
}

/// The length of `{n}`, `{n,}`, `{n,m}`; none where the brace is itself.
fn repetition(text: &str) -> Option<usize> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let is_number = |digits: &str| {
        !digits.is_empty()
            && digits.bytes().all(|b| b.is_ascii_digit())
            && (digits.len() == 1 || !digits.starts_with('0'))
    };
    let is_one = match inside.split_once(',') {
        None => is_number(inside),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    };
    is_one.then_some(inside.len() + 2)
}

/// A class in brackets: each character by its number, so that nothing in it means more.
fn class<'t>(text: &'t str, out: &mut String) -> &'t str {
    let mut rest = moved(text, 1, out);
    if rest.starts_with('^') {
        rest = moved(rest, 1, out);
    }
    let mut first = true;
    loop {
        if rest.is_empty() {
            return rest; // It has no end, which the engine says.
        }
        if rest.starts_with(']') && !first {
            return moved(rest, 1, out);
        }
        first = false;
        if let Some(end) = rest.strip_prefix("[:").and_then(|named| named.find(":]")) {
            rest = moved(rest, end + 4, out);
        } else if let Some((inside, is_negated, behind)) = perl_class(rest) {
            let _ = if is_negated { write!(out, "[^{inside}]") } else { write!(out, "{inside}") };
            rest = behind;
        } else if let Some(behind) = unicode_class(rest, out) {
            rest = behind;
        } else if let Some(behind) = range(rest, out) {
            rest = behind;
        } else {
            return moved(rest, rest.len(), out);
        }
    }
}

/// `a` or `a-z`; none where an escape is not that of a character.
fn range<'t>(text: &'t str, out: &mut String) -> Option<&'t str> {
    let (low, rest) = character(text)?;
    let _ = write!(out, "\\x{{{:X}}}", u32::from(low));
    match rest.strip_prefix('-') {
        Some(high) if !high.is_empty() && !high.starts_with(']') => {
            let (high, rest) = character(high)?;
            let _ = write!(out, "-\\x{{{:X}}}", u32::from(high));
            Some(rest)
        }
        _ => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile_anchored;
    use proptest::prelude::*;

    #[test]
    fn what_go_takes_matches_what_go_matches() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("/users/{id}", &["/users/{id}"], &["/users/id"]),
            ("a{,2}", &["a{,2}"], &["aa"]),
            ("{foo}{2}", &["{foo}}"], &["{foo}"]),
            ("a{2,3}b{1}c{2,}", &["aabcc", "aaabccc"], &["abcc", "aab{1}cc"]),
            ("a{01}", &["a{01}"], &["a"]),
            (r"\d+", &["12"], &["١٢", "a"]),
            (r"\w\W\s\S", &["a- b", "_é\t."], &["é- b"]),
            (r"[\d\w]+[\D]", &["1a-"], &["1a1"]),
            (r"\bcat\b|\bé", &["cat"], &["é"]),
            (r"\Qa.b\E+", &["a.b", "a.bb"], &["axb", "a.ba.b"]),
            (r"\Q{x}[", &["{x}["], &[]),
            (r"\101\x42\x{43}", &["ABC"], &[]),
            (r"\<a\>\_\-\%", &["<a>_-%"], &[]),
            (r"[a&&b]+", &["a&b"], &["c"]),
            (r"[a[b]+", &["a[b"], &["c"]),
            (r"[]a]+", &["]a"], &[]),
            (r"[^]a]", &["b"], &["]", "a"]),
            (r"[a-]+", &["a-"], &["b"]),
            (r"[+--]+", &["+,-"], &["."]),
            (r"[~~x]", &["~"], &["y"]),
            (r"[[:alpha:]-]+", &["a-b"], &["1"]),
            (r"[\]\\\x41-\103]+", &["]\\ABC"], &["D"]),
            (r"\p{Greek}\pL\p{^Greek}", &["αbc"], &["abc"]),
            (r"[\p{Greek}x]", &["β", "x"], &["y"]),
            ("a.b", &["a\nb"], &[]),
        ];
        for (pattern, takes, refuses) in cases {
            let compiled = compile_anchored(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
            for text in *takes {
                assert!(compiled.is_match(text), "{pattern} on {text}: {}", regex_of_go(pattern));
            }
            for text in *refuses {
                assert!(!compiled.is_match(text), "{pattern} on {text}: {}", regex_of_go(pattern));
            }
        }
        for wrong in ["[a", "(", r"\1", "a\\", r"[\q]", "{2}", "*", r"\p{Nothing}", r"[z-a]", "(?=a)"] {
            assert!(compile_anchored(wrong).is_err(), "{wrong}: {}", regex_of_go(wrong));
        }
        assert!(matches!(regex_of_go("a|b.*"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "([\\\\\\[\\]{}^:,0-9a-zQEpPx&~-]|\\PC){0,40}") {
            let _ = compile_anchored(&text);
        }

        #[test]
        fn quoted_text_is_itself(text in "\\PC{0,20}") {
            let pattern = format!("\\Q{}\\E", text.replace("\\E", ""));
            prop_assert!(compile_anchored(&pattern).unwrap().is_match(&text.replace("\\E", "")));
        }
    }
}
