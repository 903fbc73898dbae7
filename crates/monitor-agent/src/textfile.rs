//! Readings that other programs leave in files (collector `textfile`): every
//! `*.prom` in the folders of the settings, in the text exposition format.
//!
//! As node_exporter has it: a file that cannot be read or parsed, or that gives
//! timestamps, counts nothing and sets `node_textfile_scrape_error`; a family
//! without help says which files it is from; of two helps for one family the
//! first counts, and the other file's is left out; labels that only some series
//! of a family have are empty in the rest.
//!
//! Ours besides: a family that a collector gives, and a series given twice, is
//! left out and is an error, where node_exporter would answer nothing at all.

mod parse;

use crate::Fault;
use crate::text::{Text, Type, families_of, number};
use parse::Family;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// A larger file is refused.
const MAX_BYTES: u64 = 8 << 20;

/// Files read, at most, in all folders together.
const MAX_FILES: usize = 1_000;

/// Bytes of all files together, at most.
const MAX_TOTAL_BYTES: u64 = 32 << 20;

/// A file as it was read: changed files are read again, others are not.
#[derive(Debug)]
struct Read {
    stamp: Stamp,
    mtime_s: f64,
    /// None where it could not be used.
    families: Option<Vec<Family>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    modified: (i64, i64),
    bytes: u64,
}

/// What was read before.
#[derive(Debug, Default)]
pub(crate) struct Known {
    files: BTreeMap<PathBuf, Read>,
}

/// `beside` is what else will be in the exposition.
pub(crate) fn read(
    folders: &[PathBuf],
    beside: &str,
    known: &mut Known,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    let mut error = false;
    let mut present: BTreeSet<PathBuf> = BTreeSet::new();
    for folder in folders {
        for folder in matching(folder) {
            match std::fs::read_dir(&folder) {
                Ok(entries) => {
                    let paths = entries.flatten().map(|entry| entry.path());
                    present.extend(paths.filter(|path| path.extension().is_some_and(|e| e == "prom")));
                }
                Err(_) => error = true,
            }
        }
    }
    if present.len() > MAX_FILES {
        error = true;
        present = present.into_iter().take(MAX_FILES).collect();
    }
    known.files.retain(|path, _| present.contains(path));
    let mut total = 0;
    for path in present {
        error |= !known.refresh(path, &mut total);
    }
    error |= known.files.values().any(|read| read.families.is_none());
    let families = known.merged(&mut error, beside, text);
    write(&families, &mut error, text);
    let name = "node_textfile_mtime_seconds";
    let times = known.files.iter().filter(|(_, read)| read.families.is_some());
    let times = times.map(|(path, read)| (path.to_string_lossy(), read.mtime_s));
    text.rows(name, Type::Gauge, "Unixtime mtime of textfiles successfully read.", "file", times);
    let help = "1 if there was an error opening or reading a file, 0 otherwise";
    text.single("node_textfile_scrape_error", Type::Gauge, help, f64::from(u8::from(error)));
    Ok(())
}

impl Known {
    /// Whether the file could be looked at and is within the limits.
    fn refresh(&mut self, path: PathBuf, total: &mut u64) -> bool {
        let Ok(found) = std::fs::metadata(&path) else {
            self.files.remove(&path);
            return false;
        };
        *total += found.len();
        if !found.is_file() || found.len() > MAX_BYTES || *total > MAX_TOTAL_BYTES {
            self.files.remove(&path);
            return false;
        }
        let stamp =
            Stamp { inode: found.ino(), modified: (found.mtime(), found.mtime_nsec()), bytes: found.len() };
        if self.files.get(&path).is_some_and(|read| read.stamp == stamp) {
            return true;
        }
        let families = std::fs::read_to_string(&path).ok().and_then(|content| parse::families(&content).ok());
        let mtime_s = stamp.modified.0 as f64 + stamp.modified.1 as f64 / 1e9;
        self.files.insert(path, Read { stamp, mtime_s, families });
        true
    }

    /// The families of all files, by name.
    fn merged(&self, error: &mut bool, beside: &str, text: &Text<'_>) -> BTreeMap<String, Family> {
        let mut merged: BTreeMap<String, Family> = BTreeMap::new();
        let mut from: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let read = self.files.iter().filter_map(|(path, read)| Some((path, read.families.as_ref()?)));
        for (path, family) in read.flat_map(|(path, families)| families.iter().map(move |f| (path, f))) {
            match merged.get_mut(&family.name) {
                None => {
                    merged.insert(family.name.clone(), family.clone());
                }
                Some(first) if first.help == family.help && first.kind == family.kind => {
                    first.series.extend(family.series.iter().cloned());
                }
                Some(_) => {
                    *error = true;
                    continue;
                }
            }
            from.entry(&family.name).or_default().push(path.to_string_lossy().into_owned());
        }
        if !merged.is_empty() {
            let mut ours = text.families();
            ours.extend(families_of(beside));
            let before = merged.len();
            merged.retain(|name, _| !ours.contains(name.as_str()) && !OWN.contains(&name.as_str()));
            *error |= merged.len() < before;
        }
        for (name, family) in &mut merged {
            if family.help.is_empty() {
                family.help = format!("Metric read from {}", from[name.as_str()].join(", "));
            }
        }
        merged
    }
}

/// Given after the text files'.
const OWN: [&str; 4] = [
    "node_scrape_collector_duration_seconds",
    "node_scrape_collector_success",
    "node_textfile_mtime_seconds",
    "node_textfile_scrape_error",
];

fn write(families: &BTreeMap<String, Family>, error: &mut bool, text: &mut Text<'_>) {
    for (name, family) in families {
        let labels: BTreeSet<&str> =
            family.series.iter().flat_map(|series| series.labels.keys().map(String::as_str)).collect();
        let mut seen = HashSet::new();
        text.family(name, family.kind, &family.help);
        for series in &family.series {
            let all: Vec<(&str, &str)> = labels
                .iter()
                .map(|label| (*label, series.labels.get(*label).map_or("", String::as_str)))
                .collect();
            if !seen.insert(all.clone()) {
                *error = true;
                continue;
            }
            match family.kind {
                Type::Histogram | Type::Summary => composite(name, family.kind, &all, series, text),
                _ => text.sample(name, &all, series.value),
            }
        }
    }
}

fn composite(name: &str, kind: Type, labels: &[(&str, &str)], series: &parse::Series, text: &mut Text<'_>) {
    let (parts_name, part_label) = match kind {
        Type::Histogram => (format!("{name}_bucket"), "le"),
        _ => (name.to_owned(), "quantile"),
    };
    let mut ends_with_infinity = false;
    for (bound, value) in &series.parts {
        let mut bound_text = String::new();
        number(&mut bound_text, *bound);
        let mut all = labels.to_vec();
        all.push((part_label, &bound_text));
        text.sample(&parts_name, &all, *value);
        ends_with_infinity = *bound == f64::INFINITY;
    }
    if kind == Type::Histogram && !ends_with_infinity {
        let mut all = labels.to_vec();
        all.push(("le", "+Inf"));
        text.sample(&parts_name, &all, series.count);
    }
    text.sample(&format!("{name}_sum"), labels, series.sum);
    text.sample(&format!("{name}_count"), labels, series.count);
}

/// The folders that `pattern` names, of which each part may hold `*` and `?`;
/// itself where none does, so that its absence is an error.
fn matching(pattern: &Path) -> Vec<PathBuf> {
    if !pattern.to_string_lossy().contains(['*', '?']) {
        return vec![pattern.to_owned()];
    }
    let mut found = vec![PathBuf::new()];
    for part in pattern.components() {
        let text = part.as_os_str().to_string_lossy();
        if !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(part));
            continue;
        }
        let mut next = Vec::new();
        for path in found {
            let dir = if path.as_os_str().is_empty() { Path::new(".") } else { path.as_path() };
            for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if next.len() < MAX_FILES && wild(text.as_bytes(), name.to_string_lossy().as_bytes()) {
                    next.push(path.join(name));
                }
            }
        }
        found = next;
    }
    found.retain(|path| path.exists());
    found.sort();
    if found.is_empty() { vec![pattern.to_owned()] } else { found }
}

/// Whether `text` is what `pattern` says; linear but for the last `*`, which is
/// tried again further on.
fn wild(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match &mut star {
                Some((at, from)) => {
                    *from += 1;
                    (p, t) = (*at + 1, *from);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(files: &[(&str, &str)]) -> String {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).unwrap();
        }
        let mut out = String::from("# TYPE node_load1 gauge\nnode_load1 1\n");
        let mut known = Known::default();
        read(&[dir.path().to_owned()], "# TYPE pg_up gauge\n", &mut known, &mut Text::new(&mut out)).unwrap();
        out.replace(&*dir.path().to_string_lossy(), "DIR")
    }

    #[test]
    fn what_is_wrong_is_left_out_and_counted() {
        let cases = [
            ("x 1\n", "x 1\n", 0),
            ("x 1 12345\n", "", 1),
            ("x{a=\"1\"} 1\nx{a=\"1\"} 2\n", "x{a=\"1\"} 1\n", 1),
            ("node_load1 7\n", "", 1),
            ("pg_up 7\npg_down 1\n", "pg_down 1\n", 1),
            ("node_textfile_scrape_error 7\n", "", 1),
            ("x{ 1\n", "", 1),
            ("x 1", "x 1\n", 0),
        ];
        for (content, samples, error) in cases {
            let out = reading(&[("a.prom", content), ("b.txt", "y 1\n")]);
            let ours: String = out
                .lines()
                .skip(2)
                .filter(|l| !l.starts_with('#') && !l.starts_with("node_textfile"))
                .map(|l| format!("{l}\n"))
                .collect();
            assert_eq!(ours, samples, "{content}");
            assert!(out.ends_with(&format!("node_textfile_scrape_error {error}\n")), "{content}: {out}");
        }
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_lost_one_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut known = Known::default();
        let values = |known: &mut Known| {
            let mut out = String::new();
            read(&[dir.path().to_owned()], "", known, &mut Text::new(&mut out)).unwrap();
            out.lines().filter(|l| l.starts_with("x ")).map(str::to_owned).collect::<Vec<_>>()
        };
        let file = dir.path().join("a.prom");
        std::fs::write(&file, "x 1\n").unwrap();
        assert_eq!(values(&mut known), ["x 1"]);
        std::fs::write(dir.path().join("new"), "x 22\n").unwrap();
        std::fs::rename(dir.path().join("new"), &file).unwrap();
        assert_eq!(values(&mut known), ["x 22"]);
        std::fs::remove_file(&file).unwrap();
        assert!(values(&mut known).is_empty());
        assert!(known.files.is_empty());
    }

    #[test]
    fn wild_cards() {
        let cases = [
            ("*", "", true),
            ("a*b", "ab", true),
            ("a*b", "axxb", true),
            ("a*b", "axxc", false),
            ("*_extra_*", "histogram_extra_dimension", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**x", "aax", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(wild(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
    }
}
