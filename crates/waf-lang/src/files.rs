//! Names of files: which ones a file names, and what a pattern matches.

use std::collections::BTreeMap;

use crate::lines::{lines, starts_with_ignore_case};

/// Every file that takes part, read by the caller.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// The rule files to begin with, in order: names in `all`.
    pub roots: Vec<String>,
    /// Every file's bytes by its name: roots, what they include, and data.
    pub all: BTreeMap<String, Vec<u8>>,
}

/// What a file names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Its name, already joined to the folder of the file that names it; for
    /// [`Kind::Rules`] it may be a pattern (`*`, `?`, `[…]`) or a folder, which
    /// stands for every file in it.
    pub name_or_pattern: String,
    /// Rules or data.
    pub kind: Kind,
    /// Whether it may be missing (`IncludeOptional`).
    pub optional: bool,
    /// Where it is named, from 1.
    pub line: u32,
}

/// What kind of file is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Another rule file: it may name more.
    Rules,
    /// Phrases, networks, a unicode map, a JSON schema.
    Data,
}

/// What else a file names, so that the caller can read it before it calls
/// [`crate::parse`]. Lines that do not parse name nothing: `parse` reports them.
pub fn referenced(name: &str, text: &[u8]) -> Vec<Reference> {
    let mut found = Vec::new();
    for line in lines(text) {
        let Ok((args, _)) = line.args() else { continue };
        let Some((directive, args)) = args.split_first() else { continue };
        let directive = directive.str().to_ascii_lowercase();
        let mut add = |what: &str, kind, optional| {
            found.push(Reference { name_or_pattern: join(name, what), kind, optional, line: line.number });
        };
        match (directive.as_str(), args) {
            ("include" | "includeoptional", args) => {
                for arg in args {
                    add(&arg.str(), Kind::Rules, directive == "includeoptional");
                }
            }
            ("secunicodemapfile", [names @ .., _]) if !names.is_empty() => {
                add(&unicode_map_name(names.iter().map(|arg| arg.str())), Kind::Data, false);
            }
            ("secrule", [_, operator, ..]) => {
                for data in data_files(&operator.text) {
                    add(&data, Kind::Data, false);
                }
            }
            _ => {}
        }
    }
    found
}

/// The name in `SecUnicodeMapFile a b.mapping 20127`: all but the code page.
pub(crate) fn unicode_map_name<S: AsRef<str>>(words: impl Iterator<Item = S>) -> String {
    words.map(|word| word.as_ref().to_owned()).collect::<Vec<_>>().join(" ")
}

/// The files that an operator reads.
fn data_files(operator: &[u8]) -> Vec<String> {
    let text = operator.trim_ascii_start();
    let text = text.strip_prefix(b"!").unwrap_or(text).trim_ascii_start();
    const NAMES: [&[u8]; 5] =
        [b"@pmfromfile", b"@pmf", b"@ipmatchfromfile", b"@ipmatchf", b"@validateschema"];
    for name in NAMES {
        if starts_with_ignore_case(text, name) && text.get(name.len()).is_some_and(u8::is_ascii_whitespace) {
            return data_names(&text[name.len()..]);
        }
    }
    Vec::new()
}

/// The names in the argument of `@pmFromFile`: separated by blanks.
pub(crate) fn data_names(argument: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(argument).split_ascii_whitespace().map(str::to_owned).collect()
}

/// A name as written in a file, seen from that file's folder. `.` and `..` are
/// resolved, so that a file has one name however it is reached.
pub(crate) fn join(from: &str, name: &str) -> String {
    let folder = if name.starts_with('/') { "" } else { from.rfind('/').map_or("", |at| &from[..=at]) };
    if folder.is_empty() && !name.contains("./") {
        return name.to_owned();
    }
    let whole = format!("{folder}{name}");
    let absolute = whole.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join("/");
    if absolute { format!("/{joined}") } else { joined }
}

/// The files that an `Include` means, in order: the one of that name; those that
/// the pattern matches; or all below the folder of that name.
pub(crate) fn matching<'a>(all: &'a BTreeMap<String, Vec<u8>>, pattern: &str) -> Vec<&'a str> {
    if let Some((name, _)) = all.get_key_value(pattern) {
        return vec![name];
    }
    if pattern.contains(['*', '?', '[']) {
        return all
            .keys()
            .filter(|name| glob(pattern.as_bytes(), name.as_bytes()))
            .map(String::as_str)
            .collect();
    }
    let folder = format!("{}/", pattern.trim_end_matches('/'));
    all.range(folder.clone()..)
        .map(|(name, _)| name.as_str())
        .take_while(|name| name.starts_with(&folder))
        .collect()
}

/// Whether a pattern matches a name: `*` and `?` do not match `/`, and a leading
/// dot is matched by a dot alone (POSIX.1-2017, 2.13.3).
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go back to when what follows the last `*` does not match.
    let mut star: Option<(usize, usize)> = None;
    let hidden = |n: usize| name.get(n) == Some(&b'.') && (n == 0 || name[n - 1] == b'/');
    loop {
        let step = match (pattern.get(p), name.get(n)) {
            (None, None) => return true,
            (Some(b'*'), _) if !hidden(n) => {
                star = Some((p, n));
                p += 1;
                continue;
            }
            (Some(b'?'), Some(&c)) if c != b'/' && !hidden(n) => Some(1),
            (Some(b'['), Some(&c)) if c != b'/' && !hidden(n) => match bracket(&pattern[p..], c) {
                Some((true, len)) => Some(len),
                Some((false, _)) => None,
                None => (c == b'[').then_some(1),
            },
            (Some(a), Some(b)) if a == b && !matches!(a, b'*' | b'?') => Some(1),
            _ => None,
        };
        match (step, star) {
            (Some(len), _) => {
                p += len;
                n += 1;
            }
            (None, Some((star_p, star_n))) if star_n < name.len() && name[star_n] != b'/' => {
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
            (None, _) => return false,
        }
    }
}

/// `[a-z]` at the start of a pattern: whether it has the byte, and its length.
fn bracket(pattern: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some(b'!' | b'^'));
    let first = 1 + usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        match pattern.get(at)? {
            b']' if at > first => return Some((found != negated, at + 1)),
            &low => match (pattern.get(at + 1), pattern.get(at + 2)) {
                (Some(b'-'), Some(&high)) if high != b']' => {
                    found |= (low..=high).contains(&byte);
                    at += 3;
                }
                _ => {
                    found |= low == byte;
                    at += 1;
                }
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_joined_to_the_folder_of_the_file_that_names_them() {
        for (from, name, expected) in [
            ("main.conf", "a.conf", "a.conf"),
            ("main.conf", "./a.conf", "a.conf"),
            ("etc/main.conf", "a.conf", "etc/a.conf"),
            ("etc/crs/main.conf", "../rules/*.conf", "etc/rules/*.conf"),
            ("etc/main.conf", "/usr/share/a.conf", "/usr/share/a.conf"),
            ("/etc/main.conf", "../../../a.conf", "/a.conf"),
            ("main.conf", "../a.conf", "../a.conf"),
            ("/etc/x/main.conf", "rules//a.conf", "/etc/x/rules/a.conf"),
        ] {
            assert_eq!(join(from, name), expected, "{name} from {from}");
        }
    }

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("rules/*.conf", "rules/a.conf", true),
            ("rules/*.conf", "rules/sub/a.conf", false),
            ("rules/*.conf", "rules/.a.conf", false),
            ("rules/.*.conf", "rules/.a.conf", true),
            ("*", "a", true),
            ("*", "", true),
            ("a*b*c", "aXXbYYc", true),
            ("a*b*c", "aXXbYY", false),
            ("RE?UEST", "REQUEST", true),
            ("[A-C]x", "Bx", true),
            ("[!A-C]x", "Bx", false),
            ("[]x]y", "]y", true),
            ("[x", "[x", true),
            ("a**", "a", true),
            ("test/config_ex*ple2.txt", "test/config_example2.txt", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} against {name}");
        }
    }

    #[test]
    fn what_a_file_names() {
        let text = b"Include rules/*.conf\n# Include no.conf\nIncludeOptional \"../x y.conf\"\n\
            SecUnicodeMapFile unicode.mapping 20127\nSecRule ARGS \"!@pmFromFile a.data b.data\" \\\n \"id:1\"\n\
            SecRule ARGS \"@ipMatchF /etc/ip.data\" \"id:2\"\nSecRule ARGS \"@pm a.data\" \"id:3\"\n\
            SecRule REQUEST_BODY \"!@validateSchema s.json\" \"id:4\"";
        let found: Vec<_> = referenced("etc/main.conf", text)
            .into_iter()
            .map(|r| (r.name_or_pattern, r.kind, r.optional, r.line))
            .collect();
        let expected = [
            ("etc/rules/*.conf", Kind::Rules, false, 1),
            ("x y.conf", Kind::Rules, true, 3),
            ("etc/unicode.mapping", Kind::Data, false, 4),
            ("etc/a.data", Kind::Data, false, 5),
            ("etc/b.data", Kind::Data, false, 5),
            ("/etc/ip.data", Kind::Data, false, 7),
            ("etc/s.json", Kind::Data, false, 9),
        ];
        assert_eq!(
            found,
            expected.map(|(name, kind, optional, line)| (name.to_owned(), kind, optional, line))
        );
    }
}
