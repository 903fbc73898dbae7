//! From PCRE's way of writing expressions, which rules use, to that of the
//! `regex` crates.
//!
//! What both share is left as it stands. What differs in spelling is respelt:
//! `\<` is a plain `<` in PCRE and a word boundary in Rust, `[` inside a class is
//! plain in PCRE and opens a class in Rust, a `{` that begins no repetition is
//! plain in PCRE and an error in Rust. What linear time cannot do (look-around,
//! back-references, atomic groups, possessive repetition) is reported as
//! [`Translated::Backtracking`].
//!
//! Source: pcre2pattern(3), regex-syntax's documentation.

/// An expression in Rust's syntax.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Translated {
    /// It can run in linear time.
    Linear(String),
    /// It needs a backtracking engine, and is respelt for it.
    Backtracking(String),
}

/// Translates a pattern given as bytes: those beyond ASCII stand for themselves.
pub(crate) fn translate(pattern: &[u8]) -> Translated {
    let mut reader = Reader { rest: pattern, out: String::with_capacity(pattern.len() + 16), lenient: false };
    if reader.run().is_ok() {
        return Translated::Linear(reader.out);
    }
    let mut reader = Reader { rest: pattern, out: String::with_capacity(pattern.len() + 16), lenient: true };
    // What it cannot translate it leaves as it stands, for the engine to judge.
    let _ = reader.run();
    Translated::Backtracking(reader.out)
}

struct NeedsBacktracking;

struct Reader<'p> {
    rest: &'p [u8],
    out: String,
    /// What needs backtracking stays as it is.
    lenient: bool,
}

type Step = Result<(), NeedsBacktracking>;

impl Reader<'_> {
    fn run(&mut self) -> Step {
        // Whether something stands before that a repetition can repeat.
        let mut repeatable = false;
        while let Some(&byte) = self.rest.first() {
            match byte {
                b'\\' => {
                    self.escape(false)?;
                    repeatable = true;
                }
                b'[' => {
                    self.class();
                    repeatable = true;
                }
                b'(' => {
                    self.group()?;
                    repeatable = false;
                }
                b'|' => {
                    self.take(1);
                    repeatable = false;
                }
                b'*' | b'+' | b'?' if repeatable => {
                    self.take(1);
                    self.after_repetition()?;
                    repeatable = true;
                }
                b'{' => match repetition(self.rest).filter(|_| repeatable) {
                    Some(len) => {
                        self.take(len);
                        self.after_repetition()?;
                    }
                    None => {
                        self.out.push_str("\\{");
                        self.rest = &self.rest[1..];
                        repeatable = true;
                    }
                },
                b'}' | b']' => {
                    self.out.push('\\');
                    self.take(1);
                    repeatable = true;
                }
                _ => {
                    self.byte(byte);
                    self.rest = &self.rest[1..];
                    repeatable = true;
                }
            }
        }
        Ok(())
    }

    fn take(&mut self, len: usize) {
        for &byte in &self.rest[..len] {
            self.byte(byte);
        }
        self.rest = &self.rest[len..];
    }

    fn byte(&mut self, byte: u8) {
        if byte < 0x80 {
            self.out.push(byte as char);
        } else {
            self.hex(byte);
        }
    }

    fn hex(&mut self, byte: u8) {
        use std::fmt::Write;
        let _ = write!(self.out, "\\x{byte:02X}");
    }

    /// A lazy mark belongs to the repetition; a possessive one is not linear.
    fn after_repetition(&mut self) -> Step {
        match self.rest.first() {
            Some(b'?') => {
                self.take(1);
                Ok(())
            }
            Some(b'+') if self.lenient => {
                self.take(1);
                Ok(())
            }
            Some(b'+') => Err(NeedsBacktracking),
            _ => Ok(()),
        }
    }

    fn group(&mut self) -> Step {
        let after = &self.rest[1..];
        if after.first() != Some(&b'?') {
            self.take(1);
            return Ok(());
        }
        match after.get(1) {
            Some(b'=' | b'!' | b'>' | b'|' | b'(' | b'R' | b'&') => self.backtracks(3),
            Some(b'<') if matches!(after.get(2), Some(b'=' | b'!')) => self.backtracks(4),
            Some(b'P') if matches!(after.get(2), Some(b'=' | b'>')) => self.backtracks(4),
            Some(b'#') => {
                let end = self.rest.iter().position(|&b| b == b')').map_or(self.rest.len(), |at| at + 1);
                self.rest = &self.rest[end..];
                Ok(())
            }
            Some(b'\'') => {
                // `(?'name'…)`
                let name: Vec<u8> = after[2..].iter().copied().take_while(|&b| b != b'\'').collect();
                self.out.push_str("(?P<");
                self.out.push_str(&String::from_utf8_lossy(&name));
                self.out.push('>');
                self.rest = self.rest.get(4 + name.len()..).unwrap_or_default();
                Ok(())
            }
            _ => {
                let end = self.rest.iter().position(|&b| matches!(b, b')' | b':' | b'>')).unwrap_or(0);
                self.take(end + 1);
                Ok(())
            }
        }
    }

    /// So many bytes that a linear engine has no word for.
    fn backtracks(&mut self, len: usize) -> Step {
        if !self.lenient {
            return Err(NeedsBacktracking);
        }
        self.take(len.min(self.rest.len()));
        Ok(())
    }

    /// A backslash and what it says, outside of a class or inside.
    fn escape(&mut self, in_class: bool) -> Step {
        let Some(&next) = self.rest.get(1) else {
            self.out.push_str("\\\\");
            self.rest = &[];
            return Ok(());
        };
        match next {
            b'd' | b'D' | b's' | b'S' | b'w' | b'W' | b'a' | b'f' | b'n' | b'r' | b't' | b'v' => self.take(2),
            b'b' if in_class => self.replace(2, "\\x08"),
            b'b' | b'B' | b'A' | b'z' if !in_class => self.take(2),
            b'Z' if !in_class => self.replace(2, "(?:\\n?\\z)"),
            b'h' => self.replace(2, if in_class { "\\t\\x20\\xA0" } else { "[\\t\\x20\\xA0]" }),
            b'H' if !in_class => self.replace(2, "[^\\t\\x20\\xA0]"),
            b'R' if !in_class => self.replace(2, "(?:\\r\\n|[\\n\\x0B\\f\\r\\x85])"),
            b'N' if !in_class => self.replace(2, "[^\\n]"),
            b'e' => self.replace(2, "\\x1B"),
            b'x' => self.hex_escape(),
            b'c' if self.rest.len() > 2 => {
                let control = self.rest[2].to_ascii_uppercase() ^ 0x40;
                self.rest = &self.rest[3..];
                self.hex(control);
            }
            b'Q' => self.quoted(),
            b'E' => self.rest = &self.rest[2..],
            b'0'..=b'9' => return self.digits(in_class),
            b'G' | b'K' | b'X' | b'C' | b'p' | b'P' | b'k' | b'g' => return self.backtracks(2),
            _ if next.is_ascii_alphanumeric() => self.replace_one(next),
            _ => {
                self.rest = &self.rest[2..];
                self.plain(next);
            }
        }
        Ok(())
    }

    fn replace(&mut self, len: usize, with: &str) {
        self.out.push_str(with);
        self.rest = &self.rest[len..];
    }

    /// A letter that means nothing after a backslash stands for itself.
    fn replace_one(&mut self, byte: u8) {
        self.rest = &self.rest[2..];
        self.out.push(byte as char);
    }

    /// A byte that stands for itself wherever it is.
    fn plain(&mut self, byte: u8) {
        match byte {
            b'<' | b'>' | b' ' => self.hex(byte),
            _ if byte.is_ascii_alphanumeric() || byte == b'_' => self.out.push(byte as char),
            _ if byte.is_ascii_graphic() => {
                self.out.push('\\');
                self.out.push(byte as char);
            }
            _ => self.hex(byte),
        }
    }

    fn hex_escape(&mut self) {
        let rest = &self.rest[2..];
        let (digits, used) = match rest.first() {
            Some(b'{') => {
                let end = rest.iter().position(|&b| b == b'}').unwrap_or(rest.len());
                (&rest[1.min(end)..end], (end + 1).min(rest.len()))
            }
            _ => {
                let len = rest.iter().take(2).take_while(|b| b.is_ascii_hexdigit()).count();
                (&rest[..len], len)
            }
        };
        let value =
            std::str::from_utf8(digits).ok().and_then(|d| u32::from_str_radix(d, 16).ok()).unwrap_or(0);
        self.hex((value & 0xff) as u8);
        self.rest = &self.rest[2 + used..];
    }

    fn quoted(&mut self) {
        let rest = &self.rest[2..];
        let end = memchr::memmem::find(rest, b"\\E");
        let text = &rest[..end.unwrap_or(rest.len())];
        for &byte in text {
            self.plain(byte);
        }
        self.rest = &rest[end.map_or(rest.len(), |at| at + 2)..];
    }

    /// `\0`, `\012`: a byte in octal; `\1` to `\9`, outside of a class: what a group found.
    fn digits(&mut self, in_class: bool) -> Step {
        let octal = self.rest[1..].iter().take(3).take_while(|b| (b'0'..=b'7').contains(b)).count();
        let first = self.rest[1];
        if first != b'0' && !in_class && octal < 3 {
            return self.backtracks(2);
        }
        if octal == 0 {
            self.replace_one(first);
            return Ok(());
        }
        let value = self.rest[1..=octal].iter().fold(0u32, |value, b| value * 8 + u32::from(b - b'0'));
        self.hex((value & 0xff) as u8);
        self.rest = &self.rest[1 + octal..];
        Ok(())
    }

    /// `[…]`.
    fn class(&mut self) {
        self.out.push('[');
        self.rest = &self.rest[1..];
        if self.rest.first() == Some(&b'^') {
            self.take(1);
        }
        let mut first = true;
        while let Some(&byte) = self.rest.first() {
            match byte {
                b']' if !first => {
                    self.take(1);
                    return;
                }
                b'[' if matches!(self.rest.get(1), Some(b':')) && posix_class(self.rest).is_some() => {
                    let len = posix_class(self.rest).unwrap_or(1);
                    self.take(len);
                }
                b'\\' => {
                    // In a class nothing needs backtracking.
                    let before = self.out.len();
                    if self.escape(true).is_err() {
                        self.out.truncate(before);
                        let next = self.rest.get(1).copied().unwrap_or(b'\\');
                        self.rest = self.rest.get(2..).unwrap_or_default();
                        self.plain(next);
                    }
                }
                b'-' => {
                    self.rest = &self.rest[1..];
                    // At either end, and after `\w` and the like, it is itself.
                    let last = self.rest.first() == Some(&b']');
                    let itself = first || last || self.ends_with_class_escape();
                    self.out.push_str(if itself { "\\-" } else { "-" });
                }
                b'[' | b']' | b'&' | b'~' | b'#' | b' ' | b'^' => {
                    self.rest = &self.rest[1..];
                    self.plain(byte);
                }
                _ => {
                    self.rest = &self.rest[1..];
                    self.byte(byte);
                }
            }
            first = false;
        }
    }

    /// Whether what was written last is `\w` or the like, which begins no range.
    fn ends_with_class_escape(&self) -> bool {
        let out = self.out.as_bytes();
        let [.., slash, last] = out else { return false };
        let escapes = out[..out.len() - 1].iter().rev().take_while(|&&b| b == b'\\').count();
        *slash == b'\\' && escapes % 2 == 1 && matches!(last, b'w' | b'W' | b's' | b'S' | b'd' | b'D')
    }
}

/// The length of `{3}`, `{3,}` or `{3,5}` where one begins.
fn repetition(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|&b| b == b'}')?;
    let inside = &text[1..end];
    let comma = inside.iter().position(|&b| b == b',');
    let (low, high) = match comma {
        Some(at) => (&inside[..at], &inside[at + 1..]),
        None => (inside, &b""[..]),
    };
    let digits = |part: &[u8]| part.iter().all(u8::is_ascii_digit);
    (!low.is_empty() && digits(low) && digits(high)).then_some(end + 1)
}

/// The length of `[:alpha:]` where one begins.
fn posix_class(text: &[u8]) -> Option<usize> {
    let end = memchr::memmem::find(text, b":]")?;
    let name = text.get(2..end)?;
    let name = name.strip_prefix(b"^").unwrap_or(name);
    (!name.is_empty() && name.iter().all(u8::is_ascii_lowercase)).then_some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let cases: &[(&str, &str)] = &[
            (r"abc", r"abc"),
            (r"\<a\>", r"\x3Ca\x3E"),
            (r"\/\-\!", r"\/\-\!"),
            (r"[a[b]", r"[a\[b]"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a]", r"[^\]a]"),
            (r"[\w-]", r"[\w\-]"),
            (r"[\w-.]", r"[\w\-.]"),
            (r"[a-z-]", r"[a-z\-]"),
            (r"[&&~~]", r"[\&\&\~\~]"),
            (r"[[:alpha:]_]", r"[[:alpha:]_]"),
            (r"${x}", r"$\{x\}"),
            (r"a{2,3}b{,3}c{", r"a{2,3}b\{,3\}c\{"),
            (r"{1}", r"\{1\}"),
            (r"(?i:a)(?#no)b", r"(?i:a)b"),
            (r"(?'n'x)(?<m>y)", r"(?P<n>x)(?<m>y)"),
            (r"\x5c\x{41}\x9", r"\x5C\x41\x09"),
            (r"\0\012\e\cA", r"\x00\x0A\x1B\x01"),
            (r"\Qa.b\Ec", r"a\.bc"),
            (r"a*?b+?c??", r"a*?b+?c??"),
            (r"[\1\b]", r"[\x01\x08]"),
            (r"\y", "y"),
        ];
        for (pattern, expected) in cases {
            assert_eq!(
                translate(pattern.as_bytes()),
                Translated::Linear((*expected).to_owned()),
                "{pattern}"
            );
        }
        assert_eq!(translate(b"\xe9[\xff]"), Translated::Linear(r"\xE9[\xFF]".to_owned()));
    }

    #[test]
    fn respelt_for_the_other_engine() {
        let spelt = Translated::Backtracking(r"(?<!a)[\[\]b]\s*+\x3C\1".to_owned());
        assert_eq!(translate(br"(?<!a)[[\]b]\s*+\<\1"), spelt);
    }

    #[test]
    fn what_is_not_linear() {
        for pattern in ["(?=a)", "(?!a)", "(?<=a)", "(?<!a)", "(?>a)", "a++", "a{2}+", r"(a)\1", r"\p{L}"] {
            assert!(matches!(translate(pattern.as_bytes()), Translated::Backtracking(_)), "{pattern}");
        }
    }
}
