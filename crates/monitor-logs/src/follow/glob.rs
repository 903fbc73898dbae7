//! `/var/log/nginx/*.log`: which files a pattern names.

use super::files::Files;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Folders looked into for one pattern, at most.
const MAX_FOLDERS: usize = 1_000;

/// The files that `pattern` names. `*`, `?` and `[a-z]` stand for parts of a name
/// (glob(7)); a name that begins with a dot is matched by a pattern that does, too.
/// A pattern without them names itself, whether it exists or not.
pub(super) fn matches<F: Files>(files: &F, pattern: &Path) -> io::Result<Vec<PathBuf>> {
    if !is_pattern(&pattern.to_string_lossy()) {
        return Ok(vec![pattern.to_owned()]);
    }
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let Component::Normal(name) = component else {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        };
        let text = name.to_string_lossy();
        if !is_pattern(&text) {
            found.iter_mut().for_each(|path| path.push(name));
            continue;
        }
        let mut next = Vec::new();
        for folder in found.iter().take(MAX_FOLDERS) {
            for name in files.list(folder)? {
                let plain = name.to_string_lossy();
                if fits(text.as_bytes(), plain.as_bytes()) && !is_packed(&plain) {
                    next.push(folder.join(&name));
                }
            }
        }
        found = next;
    }
    found.sort();
    Ok(found)
}

/// The folders that a pattern's files can be in, as far as they exist.
pub fn folders<F: Files>(files: &F, pattern: &Path) -> Vec<PathBuf> {
    let Some(parent) = pattern.parent() else { return Vec::new() };
    matches(files, parent).unwrap_or_default()
}

/// Rotated files beside `path`: its name, then `.` or `-` and anything.
pub(super) fn rotated<F: Files>(files: &F, path: &Path) -> io::Result<Vec<PathBuf>> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return Ok(Vec::new()) };
    let name = name.to_string_lossy();
    let is_rotated = |other: &str| {
        other.strip_prefix(&*name).is_some_and(|rest| rest.starts_with(['.', '-'])) && !is_packed(other)
    };
    let names = files.list(folder)?;
    let mut found: Vec<PathBuf> =
        names.iter().filter(|other| is_rotated(&other.to_string_lossy())).map(|n| folder.join(n)).collect();
    found.sort();
    Ok(found)
}

/// Compressed files and locks hold no lines.
fn is_packed(name: &str) -> bool {
    [".gz", ".xz", ".zst", ".bz2", ".lz4", ".lock", ".swp"].iter().any(|end| name.ends_with(end))
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// One name against one pattern, in time of their product.
fn fits(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        let step = match pattern.get(p) {
            Some(b'*') => {
                star = Some((p + 1, n));
                p += 1;
                continue;
            }
            Some(b'?') => Some(p + 1),
            Some(b'[') => class(pattern, p, name[n]),
            Some(byte) if *byte == name[n] => Some(p + 1),
            _ => None,
        };
        match (step, star) {
            (Some(next), _) => {
                p = next;
                n += 1;
            }
            (None, Some((behind, from))) => {
                star = Some((behind, from + 1));
                (p, n) = (behind, from + 1);
            }
            (None, None) => return false,
        }
    }
    pattern[p.min(pattern.len())..].iter().all(|b| *b == b'*')
}

/// The place behind `[a-z]` where `byte` is in it. One without an end is text.
fn class(pattern: &[u8], open: usize, byte: u8) -> Option<usize> {
    let Some(length) = pattern[open + 1..].iter().skip(1).position(|b| *b == b']') else {
        return (byte == b'[').then_some(open + 1);
    };
    let close = open + 2 + length;
    let mut inside = &pattern[open + 1..close];
    let negated = matches!(inside.first(), Some(b'!' | b'^'));
    if negated {
        inside = &inside[1..];
    }
    let mut found = false;
    let mut at = 0;
    while at < inside.len() {
        if inside.get(at + 1) == Some(&b'-') && at + 2 < inside.len() {
            found |= (inside[at]..=inside[at + 2]).contains(&byte);
            at += 3;
        } else {
            found |= inside[at] == byte;
            at += 1;
        }
    }
    (found != negated).then_some(close + 1)
}

#[cfg(test)]
mod tests {
    use super::super::Disk;
    use super::*;

    #[test]
    fn names_fit_patterns() {
        for (pattern, name, expected) in [
            ("*.log", "a.log", true),
            ("*.log", "a.log.1", false),
            ("*.log", ".a.log", false),
            (".*", ".a", true),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]x", "]x", true),
            ("[x", "[x", true),
            ("[x", "x", false),
            ("*a*b*c", "xaxbxbxc", true),
            ("*a*b*c", "xaxbxbx", false),
            ("access*log*", "access-shop.log.1", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
        assert!(!fits("*a".repeat(2_000).as_bytes(), "a".repeat(1_999).as_bytes()));
    }

    #[test]
    fn patterns_name_files() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["a/x.log", "b/x.log", "b/y.log.1", "b/y.log", "b/y.log.2.gz", "b/.z.log"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
        let names = |found: Vec<PathBuf>| -> Vec<String> {
            found.iter().map(|p| p.strip_prefix(dir.path()).unwrap().display().to_string()).collect()
        };
        assert_eq!(
            names(matches(&Disk, &dir.path().join("*/*.log")).unwrap()),
            ["a/x.log", "b/x.log", "b/y.log"]
        );
        assert_eq!(names(matches(&Disk, &dir.path().join("b/y.log*")).unwrap()), ["b/y.log", "b/y.log.1"]);
        assert_eq!(names(matches(&Disk, &dir.path().join("none.log")).unwrap()), ["none.log"]);
        assert_eq!(names(matches(&Disk, &dir.path().join("c/*.log")).unwrap()), [""; 0]);
        assert_eq!(names(rotated(&Disk, &dir.path().join("b/y.log")).unwrap()), ["b/y.log.1"]);
        assert_eq!(names(folders(&Disk, &dir.path().join("*/*.log"))), ["a", "b"]);
        assert_eq!(names(folders(&Disk, &dir.path().join("b/x.log"))), ["b"]);
    }
}
