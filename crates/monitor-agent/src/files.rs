//! Reading the kernel's files.
//!
//! A file of `/proc`, `/sys` or the cgroup tree that is read at every reading
//! stays open and is read again from its start (`pread` at 0 makes the kernel
//! write it anew, `Documentation/filesystems/seq_file.rst`): looking its path up
//! costs more than most of these files do. Ordinary files are opened each time,
//! because whoever writes them may put another in their place.
//!
//! That a file of the kernel's is not there, and which devices a folder has, is
//! remembered for a minute at the usual 15 s: most of what is looked for, most
//! machines lack. Network devices, which come and go with containers, are listed
//! each time.
//!
//! Limits: a file of more than 16 MiB is refused; at most a quarter of the
//! process' descriptors, and never more than 512, stay open.

use crate::Fault;
use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A larger file is not the kernel's.
const MAX_BYTES: usize = 16 << 20;

/// What the buffer keeps between readings, at most: `mountinfo` and `zoneinfo` of
/// a large host are below it.
const USUAL_BYTES: usize = 256 << 10;

/// Descriptors kept, at most.
const MAX_KEPT: usize = 512;

/// Paths remembered as absent, at most.
const MAX_ABSENT: usize = 4_096;

/// After so many readings everything is opened anew, so that no descriptor of a
/// device that changed its name outlives a quarter of an hour at the usual 15 s.
const REOPEN_AFTER: u32 = 60;

/// After so many readings what is absent is looked for again, and folders are
/// listed anew.
const LOOK_AFTER: u32 = 4;

/// `statfs` types whose files are written anew at each read (`linux/magic.h`).
const VIRTUAL: [u64; 3] = [0x9fa0, 0x6265_6572, 0x6367_7270];

/// Which tree a file is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tree {
    Proc,
    Sys,
    Root,
    Udev,
}

/// Where the kernel's trees are mounted; a test points them at a fixture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
    /// `/`: mount points and `os-release` are below it.
    pub root: PathBuf,
    /// `/run/udev/data`: udev's properties of devices.
    pub udev: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), root: "/".into(), udev: "/run/udev/data".into() }
    }
}

/// The open files, and buffers that are used again.
#[derive(Debug)]
pub(crate) struct Files {
    roots: [String; 4],
    path: String,
    bytes: Vec<u8>,
    replaced: String,
    kept: FxHashMap<Box<str>, OwnedFd>,
    may_keep: usize,
    /// Files and folders that are not there.
    absent: FxHashSet<Box<str>>,
    listed: FxHashMap<Box<str>, Arc<[String]>>,
    /// Whether `/proc` and `/sys` are the kernel's: of others nothing is remembered.
    are_virtual: bool,
    readings: u32,
}

impl Files {
    pub(crate) fn new(roots: &Roots) -> Self {
        let text = |path: &Path| path.to_string_lossy().trim_end_matches('/').to_owned();
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        let quarter = limit.map_or(MAX_KEPT, |limit| usize::try_from(limit / 4).unwrap_or(MAX_KEPT));
        Self {
            roots: [text(&roots.proc), text(&roots.sys), text(&roots.root), text(&roots.udev)],
            path: String::new(),
            bytes: vec![0; 16 << 10],
            replaced: String::new(),
            kept: FxHashMap::default(),
            may_keep: quarter.min(MAX_KEPT),
            absent: FxHashSet::default(),
            listed: FxHashMap::default(),
            are_virtual: is_virtual_at(&roots.proc) && is_virtual_at(&roots.sys),
            readings: 0,
        }
    }

    /// As [`Files::new`], but nothing is kept open.
    pub(crate) fn fleeting(roots: &Roots) -> Self {
        Self { may_keep: 0, ..Self::new(roots) }
    }

    /// A new reading begins.
    pub(crate) fn begin(&mut self) {
        self.readings += 1;
        if self.readings.is_multiple_of(REOPEN_AFTER) {
            self.forget();
        }
        if self.readings.is_multiple_of(LOOK_AFTER) {
            self.absent.clear();
            self.listed.clear();
        }
        // One odd large file must not cost its size for ever.
        if self.bytes.len() > USUAL_BYTES {
            self.bytes.truncate(USUAL_BYTES);
            self.bytes.shrink_to_fit();
            self.replaced = String::new();
        }
    }

    /// Closes every file: devices came or went.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
        self.absent.clear();
        self.listed.clear();
    }

    /// The path of `parts`, joined by `/`, in `tree`.
    pub(crate) fn path(&self, tree: Tree, parts: &[&str]) -> PathBuf {
        let mut path = String::new();
        join(&mut path, &self.roots[tree as usize], parts);
        path.into()
    }

    /// The file's text; bytes that are not UTF-8 are replaced.
    pub(crate) fn read(&mut self, tree: Tree, parts: &[&str]) -> Result<&str, Fault> {
        let mut path = std::mem::take(&mut self.path);
        join(&mut path, &self.roots[tree as usize], parts);
        // A sysfs attribute is at most a page and comes in one piece
        // (Documentation/filesystems/sysfs.rst), so that its end need not be asked for.
        let whole = matches!(tree, Tree::Sys);
        let found = self.fill(&path, whole);
        let outcome = match found {
            Ok(length) => Ok(length),
            Err(error) => Err(Fault::of(Path::new(&path), error)),
        };
        self.path = path;
        let bytes = &self.bytes[..outcome?];
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(text),
            Err(_) => {
                self.replaced.clear();
                self.replaced.push_str(&String::from_utf8_lossy(bytes));
                Ok(&self.replaced)
            }
        }
    }

    /// A file of `/proc`.
    pub(crate) fn proc(&mut self, file: &str) -> Result<&str, Fault> {
        self.read(Tree::Proc, &[file])
    }

    /// The trimmed text of a sysfs attribute that may be absent or unreadable.
    pub(crate) fn word(&mut self, parts: &[&str]) -> Option<&str> {
        Some(self.read(Tree::Sys, parts).ok()?.trim())
    }

    /// The number in a sysfs attribute that may be absent or unreadable.
    pub(crate) fn number(&mut self, parts: &[&str]) -> Option<f64> {
        self.word(parts).and_then(finite)
    }

    /// The sorted names in a folder.
    pub(crate) fn list(&self, tree: Tree, parts: &[&str]) -> Result<Vec<String>, Fault> {
        let path = self.path(tree, parts);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => return Err(Fault::of(&path, error)),
        };
        let mut names: Vec<String> =
            entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The sorted names in a folder of `/sys`, as they were up to a minute ago.
    pub(crate) fn devices(&mut self, dir: &str) -> Result<Arc<[String]>, Fault> {
        if let Some(names) = self.listed.get(dir) {
            return Ok(names.clone());
        }
        if self.absent.contains(dir) {
            return Err(Fault::Absent { path: self.path(Tree::Sys, &[dir]) });
        }
        let outcome = self.list(Tree::Sys, &[dir]);
        if self.are_virtual {
            match &outcome {
                Ok(names) => {
                    self.listed.insert(dir.into(), names.as_slice().into());
                }
                Err(fault) if fault.is_absence() => {
                    self.absent.insert(dir.into());
                }
                Err(_) => {}
            }
        }
        outcome.map(Arc::from)
    }

    fn fill(&mut self, path: &str, whole: bool) -> std::io::Result<usize> {
        if self.absent.contains(path) {
            return Err(Errno::NOENT.into());
        }
        let outcome = self.open_or_kept(path, whole);
        let may_come = outcome.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
        if may_come && self.are_virtual && self.may_keep > 0 && self.absent.len() < MAX_ABSENT {
            self.absent.insert(path.into());
        }
        outcome
    }

    fn open_or_kept(&mut self, path: &str, whole: bool) -> std::io::Result<usize> {
        if let Some(fd) = self.kept.get(path) {
            match read_from_start(fd, &mut self.bytes, whole) {
                // The device or task is gone; another may have its path now.
                Err(Errno::NODEV | Errno::SRCH | Errno::NOENT | Errno::NXIO) => {
                    self.kept.remove(path);
                }
                other => return Ok(other?),
            }
        }
        // Not blocking: a FIFO where a file should be must not stop the reading.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = rustix::fs::open(path, flags, Mode::empty())?;
        let length = read_from_start(&fd, &mut self.bytes, whole)?;
        if self.kept.len() < self.may_keep && is_virtual(&fd) {
            self.kept.insert(path.into(), fd);
        }
        Ok(length)
    }
}

/// Whether the kernel writes the file at each read.
pub(crate) fn is_virtual(fd: &OwnedFd) -> bool {
    rustix::fs::fstatfs(fd).is_ok_and(|found| VIRTUAL.contains(&(found.f_type as u64)))
}

fn is_virtual_at(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| VIRTUAL.contains(&(found.f_type as u64)))
}

fn join(path: &mut String, root: &str, parts: &[&str]) {
    path.clear();
    path.push_str(root);
    for part in parts {
        path.push('/');
        path.push_str(part);
    }
}

/// The length of what was read into `bytes`.
fn read_from_start(fd: &OwnedFd, bytes: &mut Vec<u8>, whole: bool) -> Result<usize, Errno> {
    let mut length = 0;
    loop {
        if length == bytes.len() {
            if length >= MAX_BYTES {
                return Err(Errno::FBIG);
            }
            bytes.resize(length * 2, 0);
        }
        match rustix::io::pread(fd, &mut bytes[length..], length as u64) {
            Ok(0) => return Ok(length),
            Ok(count) => {
                length += count;
                if whole && length < bytes.len() {
                    return Ok(length);
                }
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A number as the kernel writes them: no `inf`, no `nan`.
pub(crate) fn finite(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_as_it_is_now_and_a_large_one_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(&Roots { sys: dir.path().into(), ..Roots::default() });
        let file = dir.path().join("a/b");
        std::fs::create_dir_all(dir.path().join("a")).unwrap();
        for text in ["12\n", "", "inf\n", " 7 "] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(files.read(Tree::Sys, &["a", "b"]).unwrap(), text);
        }
        assert_eq!(files.number(&["a", "b"]), Some(7.0));
        std::fs::write(&file, "x".repeat(100_000)).unwrap();
        assert_eq!(files.read(Tree::Sys, &["a", "b"]).unwrap().len(), 100_000);
        std::fs::write(&file, b"a\xffb").unwrap();
        assert_eq!(files.word(&["a", "b"]), Some("a\u{fffd}b"));
        std::fs::remove_file(&file).unwrap();
        assert!(matches!(files.read(Tree::Sys, &["a", "b"]), Err(Fault::Absent { .. })));
        // Its own folder is not a file.
        assert!(matches!(files.read(Tree::Sys, &["a"]), Err(Fault::Read { .. })));
        assert!(files.kept.is_empty(), "an ordinary file was kept open");
    }

    #[test]
    fn the_kernels_files_stay_open() {
        let mut files = Files::new(&Roots::default());
        let first = files.proc("uptime").unwrap().to_owned();
        assert_eq!(files.kept.len(), 1);
        let later = files.proc("uptime").unwrap().to_owned();
        let seconds = |text: &str| text.split(' ').next().unwrap().parse::<f64>().unwrap();
        assert!(seconds(&later) >= seconds(&first));
        // A table of many records comes whole.
        assert!(files.proc("self/smaps").unwrap().lines().filter(|l| l.starts_with("Rss:")).count() > 5);
        for _ in 0..REOPEN_AFTER {
            files.begin();
        }
        assert!(files.kept.is_empty());
    }

    #[test]
    fn what_is_absent_is_looked_for_again() {
        let mut files = Files::new(&Roots::default());
        for _ in 0..2 {
            assert!(files.proc("no/such/file").unwrap_err().is_absence());
            assert!(files.devices("no/such/folder").unwrap_err().is_absence());
            assert_eq!(files.absent.len(), 2);
        }
        let net = files.devices("class/net").unwrap();
        assert!(net.iter().any(|name| name == "lo") && files.listed.len() == 1);
        for _ in 0..LOOK_AFTER {
            files.begin();
        }
        assert!(files.absent.is_empty() && files.listed.is_empty());
        // In a tree of a test's nothing is remembered.
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(&Roots { sys: dir.path().into(), ..Roots::default() });
        assert!(files.devices("a").is_err());
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        assert_eq!(*files.devices("a").unwrap(), ["b".to_owned()]);
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let mut files = Files::new(&Roots { root: "/dev".into(), ..Roots::default() });
        assert!(matches!(files.read(Tree::Root, &["zero"]), Err(Fault::Read { .. })));
    }
}
