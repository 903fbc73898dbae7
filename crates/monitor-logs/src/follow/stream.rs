//! One file's content, and how far it was read.

use super::files::{Files, Stat};
use crate::MAX_LINE;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes read at once.
const CHUNK: usize = 128 << 10;

/// The first bytes of a file by which it is known again.
const HEAD: u64 = 128;

/// The last bytes that were read, by which a cut is noticed even where the file
/// begins as it did.
const LAST: u64 = 64;

/// Where reading stands in one file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The file's name when it was seen last.
    pub path: PathBuf,
    /// The name it is read for: `access.log`, of `access.log.1` too.
    pub origin: PathBuf,
    /// The file's device.
    pub device: u64,
    /// The file's inode.
    pub inode: u64,
    /// How it begins; up to 128 bytes, none that were not read.
    pub head: Vec<u8>,
    /// What stands before `offset`; up to 64 bytes.
    pub last: Vec<u8>,
    /// The byte behind the last complete line that was given.
    pub offset: u64,
    /// Its time when it was read last, in nanoseconds.
    pub modified_ns: i64,
    /// Whether `offset` is within a line that is too long.
    pub skipping: bool,
    /// Whether it is read on.
    pub state: State,
}

/// What is done with a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is read.
    #[default]
    Live,
    /// It was read to its end; more is not expected.
    Done,
    /// A copy of a file that is read; it is needed where that one is cut.
    Copy,
}

/// What a line was.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// A complete line without its end.
    Line(&'a [u8]),
    /// A line longer than [`MAX_LINE`], left out.
    TooLong,
}

/// A file that is known.
#[derive(Debug)]
pub(super) struct Stream<F> {
    pub(super) place: Place,
    pub(super) file: Option<F>,
    /// A path that the pattern matches names it.
    pub(super) named: bool,
    pub(super) grew: bool,
    pub(super) quiet_since_ms: Option<u64>,
}

impl Place {
    /// Notes how the file begins and what was read last.
    pub(super) fn note<F: Files>(&mut self, files: &F, file: &F::File) -> io::Result<()> {
        if (self.head.len() as u64) < HEAD.min(self.offset) {
            self.head = exactly(files, file, 0, HEAD.min(self.offset))?;
        }
        let from = self.offset.saturating_sub(LAST);
        self.last = exactly(files, file, from, self.offset - from)?;
        Ok(())
    }

    /// Whether `file` begins as this one did.
    pub(super) fn begins<F: Files>(&self, files: &F, file: &F::File) -> io::Result<bool> {
        Ok(exactly(files, file, 0, self.head.len() as u64)? == self.head)
    }

    /// The same, where there is something to know it by: a file of which nothing was
    /// read is as good as a new one.
    pub(super) fn is_known_by<F: Files>(&self, files: &F, file: &F::File) -> io::Result<bool> {
        Ok(self.offset > 0 && self.is_content_of(files, file)?)
    }

    /// Whether `file` holds what was read of this one.
    pub(super) fn is_content_of<F: Files>(&self, files: &F, file: &F::File) -> io::Result<bool> {
        if files.stat_file(file)?.length < self.offset || !self.begins(files, file)? {
            return Ok(false);
        }
        let from = self.offset - self.last.len() as u64;
        Ok(exactly(files, file, from, self.last.len() as u64)? == self.last)
    }
}

impl<F> Stream<F> {
    pub(super) fn new(path: &Path, origin: &Path, stat: Stat, offset: u64) -> Self {
        let place = Place {
            path: path.to_owned(),
            origin: origin.to_owned(),
            device: stat.device,
            inode: stat.inode,
            offset,
            modified_ns: stat.modified_ns,
            ..Place::default()
        };
        Self::saved(place)
    }

    pub(super) fn saved(place: Place) -> Self {
        Self { place, file: None, named: false, grew: false, quiet_since_ms: None }
    }

    /// Its inode is another file's now. The place in the list stays until the end of
    /// the look, because others are found by theirs.
    pub(super) fn forget(&mut self) {
        let origin = std::mem::take(&mut self.place.origin);
        self.place =
            Place { origin, device: u64::MAX, inode: u64::MAX, state: State::Done, ..Place::default() };
        self.file = None;
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.place.device == u64::MAX && self.place.inode == u64::MAX
    }

    pub(super) fn is_file(&self, stat: &Stat) -> bool {
        (self.place.device, self.place.inode) == (stat.device, stat.inode)
    }

    /// Whether the file does not hold any more what was read of it.
    pub(super) fn was_cut<S: Files<File = F>>(&mut self, files: &S) -> io::Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let stat = files.stat_file(file)?;
        let quiet = stat.length == self.place.offset && stat.modified_ns == self.place.modified_ns;
        if quiet || self.place.is_content_of(files, file)? {
            self.place.modified_ns = stat.modified_ns;
            return Ok(false);
        }
        Ok(true)
    }

    /// After a cut: the file is another one, and begins.
    pub(super) fn start_over(&mut self) {
        self.place.offset = 0;
        self.place.head.clear();
        self.place.last.clear();
        self.place.skipping = false;
    }

    /// Gives complete lines until the end of the file or of the budget.
    pub(super) fn read<S: Files<File = F>>(
        &mut self,
        files: &S,
        budget: &mut u64,
        buffer: &mut Vec<u8>,
        each: &mut impl FnMut(Piece<'_>),
    ) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let place = &mut self.place;
        let begun = place.offset;
        // Room for the longest line behind which another chunk is read.
        buffer.resize(CHUNK + MAX_LINE + 1, 0);
        let mut held = 0; // Bytes at the buffer's start that are no complete line yet.
        let mut result = Ok(());
        while *budget > 0 {
            let count = match files.read_at(file, &mut buffer[held..held + CHUNK], place.offset + held as u64)
            {
                Ok(0) => break,
                Ok(count) => count,
                Err(error) => {
                    result = Err(error);
                    break;
                }
            };
            *budget = budget.saturating_sub(count as u64);
            let filled = held + count;
            let mut start = 0;
            let mut from = held; // No line ends before.
            while let Some(end) = memchr::memchr(b'\n', &buffer[from..filled]) {
                let line = &buffer[start..from + end];
                if std::mem::take(&mut place.skipping) || line.len() > MAX_LINE {
                    each(Piece::TooLong);
                } else if !line.is_empty() {
                    each(Piece::Line(line.strip_suffix(b"\r").unwrap_or(line)));
                }
                start = from + end + 1;
                from = start;
            }
            place.offset += start as u64;
            buffer.copy_within(start..filled, 0);
            held = filled - start;
            if held > MAX_LINE || (place.skipping && held > 0) {
                place.skipping = true;
                place.offset += held as u64;
                held = 0;
            }
        }
        if place.offset != begun {
            self.grew = true;
            place.note(files, file)?;
        }
        result
    }
}

/// Whether the `length` bytes of `copy` are the first of `original`: their beginnings
/// and their ends are.
pub(super) fn begins_with<F: Files>(
    files: &F,
    original: &F::File,
    copy: &F::File,
    length: u64,
) -> io::Result<bool> {
    let head = HEAD.min(length);
    let (from, last) = (length.saturating_sub(LAST), LAST.min(length));
    Ok(exactly(files, original, 0, head)? == exactly(files, copy, 0, head)?
        && exactly(files, original, from, last)? == exactly(files, copy, from, last)?)
}

/// The bytes from `offset`, fewer where the file ends.
fn exactly<F: Files>(files: &F, file: &F::File, offset: u64, length: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length as usize];
    let mut filled = 0;
    while filled < bytes.len() {
        match files.read_at(file, &mut bytes[filled..], offset + filled as u64)? {
            0 => break,
            count => filled += count,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

/// The byte behind the last line end, so that a line being written is read whole later.
pub(super) fn end_of_last_line<F: Files>(files: &F, file: &F::File, length: u64) -> io::Result<u64> {
    let from = length.saturating_sub(MAX_LINE as u64);
    let last = exactly(files, file, from, length - from)?;
    Ok(memchr::memrchr(b'\n', &last).map_or(from, |at| from + at as u64 + 1))
}
