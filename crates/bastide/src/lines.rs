//! Lines of logs: the last ones across rotated files, and those still to come.
//!
//! Process logs are copied to `.1` and cut; the others are renamed to `.1`, `.2`
//! and so on. Following survives both.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Longer lines are cut here: a log is somebody else's text.
pub(crate) const LINE_MAX: usize = 256 << 10;

const CHUNK: u64 = 64 << 10;

/// A log's files that exist, the newest first: `NAME`, `NAME.1`, …
pub(crate) fn files(path: &Path) -> Vec<PathBuf> {
    let numbered = (1..100).map(|n| PathBuf::from(format!("{}.{n}", path.display())));
    std::iter::once(path.to_owned())
        .chain(numbered.take_while(|p| p.exists()))
        .filter(|p| p.exists())
        .collect()
}

/// Gives a log's lines, the last one first, across its files, until `each` has enough.
pub(crate) fn backwards(path: &Path, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    for file in files(path) {
        let file = match File::open(&file) {
            Ok(file) => file,
            // Renamed between two looks: its lines come with the next file.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        let end = file.metadata()?.len();
        if !file_backwards(&file, end, &mut each)? {
            return Ok(());
        }
    }
    Ok(())
}

/// The same for one file up to the byte `end`; false where `each` had enough.
fn file_backwards(file: &File, mut end: u64, each: &mut impl FnMut(&[u8]) -> bool) -> io::Result<bool> {
    // The beginning of the line whose end is read already.
    let mut rest: Vec<u8> = Vec::new();
    let mut first = true;
    while end > 0 {
        let size = CHUNK.min(end);
        let mut block = vec![0; size as usize];
        match file.read_exact_at(&mut block, end - size) {
            Ok(()) => {}
            // Cut meanwhile: what was there is gone.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
            Err(error) => return Err(error),
        }
        end -= size;
        let mut pieces = block.rsplit(|b| *b == b'\n');
        let last = pieces.next().unwrap_or_default();
        let mut line = last.to_vec();
        line.extend_from_slice(&rest);
        for piece in pieces {
            // What follows the last newline of the file is a line only if it is something.
            let nothing = first && line.is_empty();
            if !nothing && !each(&line) {
                return Ok(false);
            }
            first = false;
            line = piece.to_vec();
        }
        line.truncate(LINE_MAX);
        rest = line;
    }
    Ok(if first && rest.is_empty() { true } else { each(&rest) })
}

/// A log that is read as it grows.
#[derive(Debug)]
pub(crate) struct Follow {
    path: PathBuf,
    file: Option<File>,
    at: u64,
    rest: Vec<u8>,
}

impl Follow {
    /// Begins at the end, giving the last `count` lines first; a line still being
    /// written comes once it is whole.
    pub(crate) fn begin(path: &Path, count: usize) -> io::Result<(Self, Vec<Vec<u8>>)> {
        let mut follow = Self { path: path.to_owned(), file: None, at: 0, rest: Vec::new() };
        let Ok(file) = File::open(path) else { return Ok((follow, last(path, count)?)) };
        follow.at = file.metadata()?.len();
        let mut ending = [b'\n'];
        if follow.at > 0 {
            file.read_exact_at(&mut ending, follow.at - 1)?;
        }
        let unfinished = usize::from(ending[0] != b'\n');
        let mut lines: Vec<Vec<u8>> = Vec::new();
        let wanted = count + unfinished;
        let mut keep = |line: &[u8]| {
            if lines.len() < wanted {
                lines.push(line.to_vec());
            }
            lines.len() < wanted
        };
        if file_backwards(&file, follow.at, &mut keep)? {
            for older in files(path).iter().skip(1) {
                let Ok(older) = File::open(older) else { continue };
                let end = older.metadata()?.len();
                if !file_backwards(&older, end, &mut keep)? {
                    break;
                }
            }
        }
        follow.file = Some(file);
        if unfinished == 1 && !lines.is_empty() {
            follow.rest = lines.remove(0);
        }
        lines.reverse();
        Ok((follow, lines))
    }

    /// The lines that came since the last look.
    pub(crate) fn more(&mut self) -> io::Result<Vec<Vec<u8>>> {
        let mut lines = Vec::new();
        self.read(&mut lines)?;
        // Renamed away? What the old file still got is read; the new one begins at its beginning.
        let there = std::fs::metadata(&self.path).ok();
        let held = self.file.as_ref().and_then(|f| f.metadata().ok());
        let same = matches!((&there, &held), (Some(a), Some(b)) if a.ino() == b.ino() && a.dev() == b.dev());
        if !same && there.is_some() {
            self.read(&mut lines)?;
            self.file = File::open(&self.path).ok();
            self.at = 0;
            self.rest.clear();
            self.read(&mut lines)?;
        }
        Ok(lines)
    }

    fn read(&mut self, lines: &mut Vec<Vec<u8>>) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if file.metadata()?.len() < self.at {
            // Cut in place.
            self.at = 0;
            self.rest.clear();
        }
        loop {
            let mut block = [0; CHUNK as usize];
            let count = file.read_at(&mut block, self.at)?;
            if count == 0 {
                return Ok(());
            }
            self.at += count as u64;
            for piece in block[..count].split_inclusive(|b| *b == b'\n') {
                let whole = piece.last() == Some(&b'\n');
                let room = LINE_MAX.saturating_sub(self.rest.len());
                let piece = if whole { &piece[..piece.len() - 1] } else { piece };
                self.rest.extend_from_slice(&piece[..piece.len().min(room)]);
                if whole {
                    lines.push(std::mem::take(&mut self.rest));
                }
            }
        }
    }
}

/// The last `count` lines of a log, in order.
pub(crate) fn last(path: &Path, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    if count > 0 {
        backwards(path, |line| {
            lines.push(line.to_vec());
            lines.len() < count
        })?;
    }
    lines.reverse();
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write;

    fn texts(lines: Vec<Vec<u8>>) -> Vec<String> {
        lines.into_iter().map(|l| String::from_utf8(l).unwrap()).collect()
    }

    #[test]
    fn last_lines_cross_files_and_chunks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        let long = "x".repeat(CHUNK as usize);
        fs::write(folder.path().join("a.log.1"), format!("one\ntwo{long}\n")).unwrap();
        fs::write(&path, "three\n\nfour").unwrap();
        assert_eq!(texts(last(&path, 3).unwrap()), ["three", "", "four"]);
        assert_eq!(texts(last(&path, 9).unwrap()), ["one", &format!("two{long}"), "three", "", "four"]);
        assert!(last(&path, 0).unwrap().is_empty());
        assert!(last(&folder.path().join("none"), 5).unwrap().is_empty());
        fs::write(&path, "").unwrap();
        assert_eq!(texts(last(&path, 1).unwrap()), [format!("two{long}")]);
    }

    #[test]
    fn following_survives_renaming_cutting_and_unfinished_lines() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "one\ntw").unwrap();
        let (mut follow, before) = Follow::begin(&path, 5).unwrap();
        assert_eq!(texts(before), ["one"]);
        let append = |text: &str| {
            let mut file = fs::OpenOptions::new().append(true).create(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        append("o\nthr");
        assert_eq!(texts(follow.more().unwrap()), ["two"]);
        append("ee\nfour\n");
        fs::rename(&path, folder.path().join("a.log.1")).unwrap();
        append("five\n");
        assert_eq!(texts(follow.more().unwrap()), ["three", "four", "five"]);
        fs::write(&path, "6\n").unwrap();
        assert_eq!(texts(follow.more().unwrap()), ["6"]);
        assert!(follow.more().unwrap().is_empty());
    }
}
