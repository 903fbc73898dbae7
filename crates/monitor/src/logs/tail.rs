//! Following a file that grows, is renamed, is cut, disappears and comes back.
//!
//! Where reading stands is a [`Place`]: which file (device and inode), how it
//! begins, and how far it was read. It is saved together with what was counted up
//! to there, so that `kill -9` neither loses nor doubles a line.

use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A longer line is skipped and counted as malformed.
pub(crate) const MAX_LINE: usize = 64 << 10;

/// Bytes read in one [`Tail::poll`], so that a large backlog does not keep one
/// thread for minutes.
const MAX_POLL: u64 = 64 << 20;

const CHUNK: usize = 256 << 10;

/// The first bytes of a file by which it is known again: a file that was cut and
/// grew past where we were begins differently.
const HEAD: usize = 128;

/// Where reading stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// The file's device.
    pub(crate) device: u64,
    /// The file's inode.
    pub(crate) inode: u64,
    /// How it begins; up to 128 bytes.
    pub(crate) head: Vec<u8>,
    /// The byte behind the last whole line that was read.
    pub(crate) offset: u64,
}

/// Follows one path.
#[derive(Debug)]
pub(crate) struct Tail {
    path: PathBuf,
    /// Read next: what was rotated away while nobody looked, oldest first.
    older: Vec<File>,
    open: Option<Open>,
    place: Place,
    /// A file found at the first look is read from its end.
    skip_existing: bool,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes behind `place.offset` that are no whole line yet.
    partial: Vec<u8>,
    /// Skipping the rest of a line that is too long.
    skipping: bool,
}

/// What a line was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// A whole line without its end.
    Line(&'a [u8]),
    /// A line longer than [`MAX_LINE`], left out.
    TooLong,
}

impl Tail {
    /// Goes on at `place`. Without one, a file that exists already is read from
    /// its beginning, or from its end where `skip_existing`.
    pub(crate) fn new(path: PathBuf, place: Option<Place>, skip_existing: bool) -> Self {
        let mut tail = Self { path, older: Vec::new(), open: None, place: Place::default(), skip_existing };
        if let Some(place) = place {
            tail.skip_existing = false;
            tail.resume(place);
        }
        tail
    }

    /// Where reading stands: all lines before were given.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Gives every whole line there is now, up to 64 MiB. Tells whether there is
    /// more already.
    pub(crate) fn poll(&mut self, mut each: impl FnMut(Piece<'_>)) -> io::Result<bool> {
        let mut budget = MAX_POLL;
        loop {
            if self.open.is_none() && !self.open_next()? {
                return Ok(false);
            }
            if self.was_cut()? {
                self.start_over();
            }
            self.read_to_end(&mut budget, &mut each)?;
            if budget == 0 {
                return Ok(true);
            }
            if !self.is_over()? {
                return Ok(false);
            }
            // Renamed away. What was written between our last read and the renaming is
            // still to come; a last line without an end stays without.
            self.read_to_end(&mut budget, &mut each)?;
            self.open = None;
        }
    }

    /// Finds the file of `place` again, under its name or one it was renamed to,
    /// and those that came after it.
    fn resume(&mut self, place: Place) {
        let current = std::fs::metadata(&self.path).ok();
        let is = |m: &std::fs::Metadata| m.dev() == place.device && m.ino() == place.inode;
        if current.as_ref().is_some_and(is) {
            if let Ok(file) = File::open(&self.path) {
                self.take_up(file, place);
            }
            return;
        }
        // `access.log.1`, `access.log-20261123`: by time, so that none between is missed.
        let mut rotated: Vec<(std::time::SystemTime, PathBuf, std::fs::Metadata)> = siblings(&self.path);
        rotated.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let Some(at) = rotated.iter().position(|(_, _, m)| is(m)) else { return };
        for (index, (_, path, _)) in rotated.into_iter().enumerate().skip(at) {
            let Ok(file) = File::open(path) else { continue };
            if index == at { self.take_up(file, place.clone()) } else { self.older.push(file) }
        }
    }

    fn take_up(&mut self, file: File, place: Place) {
        self.place = place;
        self.open = Some(Open { file, partial: Vec::new(), skipping: false });
    }

    fn open_next(&mut self) -> io::Result<bool> {
        let file = if self.older.is_empty() {
            match File::open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.skip_existing = false; // What appears later is new, all of it.
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        } else {
            self.older.remove(0)
        };
        let metadata = file.metadata()?;
        let offset = if std::mem::take(&mut self.skip_existing) {
            end_of_last_line(&file, metadata.len())?
        } else {
            0
        };
        let head = read_head(&file, offset)?;
        self.take_up(file, Place { device: metadata.dev(), inode: metadata.ino(), head, offset });
        Ok(true)
    }

    fn was_cut(&self) -> io::Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        if open.file.metadata()?.len() < self.place.offset {
            return Ok(true);
        }
        Ok(read_head(&open.file, self.place.head.len() as u64)? != self.place.head)
    }

    fn start_over(&mut self) {
        if let Some(open) = &mut self.open {
            open.partial.clear();
            open.skipping = false;
            self.place.offset = 0;
            self.place.head.clear();
        }
    }

    fn read_to_end(&mut self, budget: &mut u64, each: &mut impl FnMut(Piece<'_>)) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        let mut chunk = vec![0; CHUNK];
        while *budget > 0 {
            let from = self.place.offset + open.partial.len() as u64;
            let count = open.file.read_at(&mut chunk, from)?;
            if count == 0 {
                break;
            }
            *budget = budget.saturating_sub(count as u64);
            open.partial.extend_from_slice(&chunk[..count]);
            let mut start = 0;
            while let Some(end) = memchr::memchr(b'\n', &open.partial[start..]) {
                let line = &open.partial[start..start + end];
                if open.skipping || line.len() > MAX_LINE {
                    each(Piece::TooLong);
                    open.skipping = false;
                } else if !line.is_empty() {
                    each(Piece::Line(line.strip_suffix(b"\r").unwrap_or(line)));
                }
                start += end + 1;
            }
            self.place.offset += start as u64;
            open.partial.drain(..start);
            if open.partial.len() > MAX_LINE {
                open.skipping = true;
                self.place.offset += open.partial.len() as u64;
                open.partial.clear();
            }
        }
        if self.place.head.len() < HEAD {
            self.place.head = read_head(&open.file, self.place.offset)?;
        }
        Ok(())
    }

    /// Whether nothing more will be written to the open file: the path names
    /// another one.
    fn is_over(&self) -> io::Result<bool> {
        if !self.older.is_empty() {
            return Ok(true);
        }
        match std::fs::metadata(&self.path) {
            Ok(m) => Ok(m.dev() != self.place.device || m.ino() != self.place.inode),
            // Renamed, and the new one not made yet: its writer may still have it open.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// The files beside `path` whose names begin with its name, with their times.
fn siblings(path: &Path) -> Vec<(std::time::SystemTime, PathBuf, std::fs::Metadata)> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Vec::new();
    };
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| {
            let other = entry.file_name().to_string_lossy().into_owned();
            let suffix = other.strip_prefix(name);
            let compressed = [".gz", ".xz", ".zst", ".bz2", ".lock"].iter().any(|end| other.ends_with(end));
            suffix.is_some_and(|s| s.starts_with(['.', '-'])) && !compressed
        })
        .filter_map(|entry| {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((metadata.modified().ok()?, entry.path(), metadata))
        })
        .collect()
}

/// The first bytes, as many as were read already, up to [`HEAD`].
fn read_head(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let mut head = vec![0; HEAD.min(usize::try_from(offset).unwrap_or(HEAD))];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    head.truncate(filled);
    Ok(head)
}

/// The byte behind the last line end, so that a line being written is read whole later.
fn end_of_last_line(file: &File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(MAX_LINE as u64);
    let mut last = vec![0; usize::try_from(length - from).unwrap_or(MAX_LINE)];
    file.read_exact_at(&mut last, from)?;
    Ok(memchr::memrchr(b'\n', &last).map_or(from, |at| from + at as u64 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    struct Log {
        dir: tempfile::TempDir,
    }

    impl Log {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }
        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }
        fn write(&self, name: &str, text: &str) {
            let mut file =
                std::fs::OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
        fn rename(&self, from: &str, to: &str) {
            std::fs::rename(self.path(from), self.path(to)).unwrap();
        }
        fn tail(&self, place: Option<Place>) -> Tail {
            Tail::new(self.path("a.log"), place, false)
        }
    }

    fn lines(tail: &mut Tail) -> String {
        let mut out = Vec::new();
        tail.poll(|piece| {
            out.push(match piece {
                Piece::Line(line) => String::from_utf8_lossy(line).into_owned(),
                Piece::TooLong => "TOO LONG".to_owned(),
            });
        })
        .unwrap();
        out.join(" ")
    }

    #[test]
    fn a_file_grows_is_rotated_and_cut() {
        let log = Log::new();
        let mut tail = log.tail(None);
        assert_eq!(lines(&mut tail), "", "it need not exist");
        log.write("a.log", "1\n2\r\nhal");
        assert_eq!(lines(&mut tail), "1 2");
        log.write("a.log", "f\n");
        assert_eq!(lines(&mut tail), "half");
        // Renamed; its writer has it open a while longer.
        log.rename("a.log", "a.log.1");
        log.write("a.log.1", "late\n");
        assert_eq!(lines(&mut tail), "late");
        log.write("a.log.1", "later\n");
        log.write("a.log", "new\n");
        assert_eq!(lines(&mut tail), "later new");
        // Cut to nothing and written again (copytruncate).
        std::fs::write(log.path("a.log"), "x\n").unwrap();
        assert_eq!(lines(&mut tail), "x");
        // Cut, and already longer than it was.
        std::fs::write(log.path("a.log"), "y\nz\nq\n").unwrap();
        assert_eq!(lines(&mut tail), "y z q");
        std::fs::remove_file(log.path("a.log")).unwrap();
        assert_eq!(lines(&mut tail), "");
        log.write("a.log", "back\n");
        assert_eq!(lines(&mut tail), "back");
    }

    #[test]
    fn a_restart_goes_on_where_it_was_across_rotations() {
        let log = Log::new();
        let mut tail = log.tail(None);
        log.write("a.log", "1\n2\nunfinished");
        assert_eq!(lines(&mut tail), "1 2");
        let place: Place = serde_json::from_str(&serde_json::to_string(tail.place()).unwrap()).unwrap();
        drop(tail);
        log.write("a.log", " 3\n");
        let mut same = log.tail(Some(place.clone()));
        assert_eq!(lines(&mut same), "unfinished 3");
        let place = same.place().clone();
        log.write("a.log", "4\n");
        let at = |name: &str, secs| {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(secs);
            File::options().append(true).open(log.path(name)).unwrap().set_modified(time).unwrap();
        };
        log.rename("a.log", "a.log.2");
        log.write("a.log.1", "5\n");
        log.write("a.log", "6\n");
        at("a.log.2", 1_000);
        at("a.log.1", 2_000);
        log.write("a.log.2.gz", "not text");
        assert_eq!(lines(&mut log.tail(Some(place.clone()))), "4 5 6");
        // Its file is gone for good: what there is counts.
        std::fs::remove_file(log.path("a.log.2")).unwrap();
        assert_eq!(lines(&mut log.tail(Some(place))), "6");
    }

    #[test]
    fn a_foreign_log_is_read_from_its_end() {
        let log = Log::new();
        log.write("a.log", "old\nunfinished");
        let mut tail = Tail::new(log.path("a.log"), None, true);
        assert_eq!(lines(&mut tail), "");
        log.write("a.log", " line\nnew\n");
        assert_eq!(lines(&mut tail), "unfinished line new");
    }

    #[test]
    fn an_endless_line_is_skipped_without_being_kept() {
        let log = Log::new();
        let mut tail = log.tail(None);
        log.write("a.log", &"x".repeat(3 * MAX_LINE));
        assert_eq!(lines(&mut tail), "");
        assert!(tail.open.as_ref().unwrap().partial.len() <= MAX_LINE);
        log.write("a.log", "x\ngood\n");
        assert_eq!(lines(&mut tail), "TOO LONG good");
    }
}
