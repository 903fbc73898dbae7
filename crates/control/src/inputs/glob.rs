//! Patterns of paths, as `Include` and `rules` have them.

use std::path::{Component, Path, PathBuf};

/// Files that one pattern or folder names, at most.
const MOST: usize = 10_000;

/// Folders within folders that are looked through.
const DEPTH: usize = 16;

/// The files that a pattern names. Sorted.
pub(super) fn files(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let wild = match part {
            Component::Normal(name) => name.to_str().filter(|name| name.contains(['*', '?', '['])),
            _ => None,
        };
        match wild {
            None => found.iter_mut().for_each(|path| path.push(part)),
            Some(pattern) => {
                found = found.iter().flat_map(|folder| entries(folder, pattern)).take(MOST).collect()
            }
        }
    }
    found.retain(|path| path.is_file());
    found.sort();
    found
}

/// What of a folder fits a pattern.
fn entries(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let fits =
        |path: &PathBuf| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| matches(pattern, n));
    let mut found: Vec<PathBuf> =
        entries.flatten().map(|entry| entry.path()).filter(fits).take(MOST).collect();
    found.sort();
    found
}

/// Every file in a folder and in those below it. Sorted.
pub(super) fn below(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for path in entries(&folder, "*") {
            if path.is_file() {
                found.push(path);
            } else if path.is_dir() && depth < DEPTH {
                folders.push((path, depth + 1));
            }
        }
        if found.len() >= MOST {
            break;
        }
    }
    found.truncate(MOST);
    found.sort();
    found
}

/// Whether a name fits a pattern (POSIX.1-2017, 2.13): `*` any text, `?` one
/// character, `[a-z]` and `[!a-z]` one of some. Hidden files fit only a pattern that
/// begins with a dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (pattern, name): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Where to go on when what follows the last `*` does not fit.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, n));
            p += 1;
            continue;
        }
        match (one(&pattern[p..], name[n]), star) {
            (Some(length), _) => (p, n) = (p + length, n + 1),
            (None, Some((at, from))) => {
                star = Some((at, from + 1));
                (p, n) = (at + 1, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// How much of a pattern stands for this character.
fn one(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match bracket(pattern, c) {
            Some((true, length)) => Some(length),
            Some((false, _)) => None,
            // It is never closed: a bracket like any other character.
            None => (c == '[').then_some(1),
        },
        same => (*same == c).then_some(1),
    }
}

/// `[a-z]` at the head of a pattern: whether it has the character, and its length.
fn bracket(pattern: &[char], c: char) -> Option<(bool, usize)> {
    let negated = matches!(pattern.get(1), Some('!' | '^'));
    let first = 1 + usize::from(negated);
    let mut at = first;
    let mut found = false;
    loop {
        match (*pattern.get(at)?, pattern.get(at + 1), pattern.get(at + 2)) {
            (']', ..) if at > first => return Some((found != negated, at + 1)),
            (low, Some('-'), Some(&high)) if high != ']' => {
                found |= (low..=high).contains(&c);
                at += 3;
            }
            (same, ..) => {
                found |= same == c;
                at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let cases = [
            ("*.conf", "a.conf", true),
            ("*.conf", ".hidden.conf", false),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("*", "x", true),
            ("plain", "plain", true),
            ("plain", "plainer", false),
            ("REQUEST-9[0-4]?*.conf", "REQUEST-941-X.conf", true),
            ("REQUEST-9[0-4]?*.conf", "REQUEST-951-X.conf", false),
            ("[!a]x", "bx", true),
            ("[!a]x", "ax", false),
            ("[x", "[x", true),
            ("[]]", "]", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn folders() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["a/x.conf", "b/x.conf", "b/y.data", "b/c/z.conf"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |found: Vec<PathBuf>| -> Vec<String> {
            found.iter().map(|p| p.strip_prefix(folder.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(names(files(&folder.path().join("*/x.conf"))), ["a/x.conf", "b/x.conf"]);
        assert_eq!(names(files(&folder.path().join("b/*"))), ["b/x.conf", "b/y.data"]);
        assert_eq!(names(below(&folder.path().join("b"))), ["b/c/z.conf", "b/x.conf", "b/y.data"]);
        assert!(files(&folder.path().join("none/*")).is_empty());
    }
}
