//! The lines themselves, compressed, for as long as is wanted.
//!
//! One [`Archive`] a log, in a folder of its own: what came last is in an open frame,
//! as it is; full frames are compressed and appended to segments. Every frame says
//! what times, classes and durations it holds, and has a signature of its text, so
//! that a search ([`search()`]) passes over most of them without unpacking them.
//! The bytes are drawn in `docs/formats/logs.md`.
//!
//! Written by one thread, read by any number: a reader takes a snapshot and never
//! makes the writer wait longer than copying a megabyte takes. A process that is
//! killed loses nothing that [`Archive::flush`] took; a machine that loses power
//! loses nothing before the last [`Archive::sync`]. A full disk costs the lines of
//! that moment, and the caller is told how many.

mod frame;
mod gram;
mod index;
mod search;
mod segment;
mod tail;
#[cfg(test)]
mod tests;

pub use frame::Record;
pub use index::{Kept, bound};
pub use search::{Found, Hit, Position, Query, Statuses, Text, search};

use frame::Open;
use index::Shared;
use segment::Segment;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tail::Tail;

/// How an archive is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Text of a frame before it is compressed, in bytes: 1 MiB becomes some 100 KB,
    /// enough to compress well and little enough to unpack for one line. 4 KiB to 16 MiB.
    pub frame_bytes: usize,
    /// Bytes of a segment; whole segments are removed. 64 KiB to 1 GiB, default 16 MiB.
    pub segment_bytes: u64,
    /// zstd's level, 1 to 19; 3 is its own default and costs about 3 ms a megabyte.
    pub level: i32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { frame_bytes: 1 << 20, segment_bytes: 16 << 20, level: 3 }
    }
}

/// How far an archive was written: kept beside the place up to which the log was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mark {
    /// The open frame's number.
    pub frame: u64,
    /// Lines in it.
    pub lines: u32,
}

/// Appends to one log's archive.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    settings: Settings,
    shared: Arc<Shared>,
    tail: Tail,
    /// Lines that were appended and not flushed.
    pending: Open,
    /// Lines since the last [`Archive::flush`] for which there was no room.
    refused: u64,
}

/// What opening found.
#[derive(Debug, Default)]
pub struct Opened {
    /// What is damaged and was left out: which file, where, why.
    pub damage: Vec<String>,
}

impl Archive {
    /// Opens the archive in `dir`, which is made. `spec` is written down with the
    /// lines, so that a search can read them when the log's format has changed.
    pub fn open(dir: &Path, spec: &str, settings: Settings) -> io::Result<(Self, Opened)> {
        let settings = Settings {
            frame_bytes: settings.frame_bytes.clamp(4 << 10, 16 << 20),
            segment_bytes: settings.segment_bytes.clamp(64 << 10, 1 << 30),
            level: settings.level.clamp(1, 19),
        };
        sys::file::make_dir(dir, 0o700)?;
        let mut opened = Opened::default();
        let (segments, frames) = segment::load(dir, &mut opened.damage)?;
        let next = frames.back().map_or(0, |frame| frame.head.sequence + 1);
        let (tail, open) = Tail::load(dir, next, &mut opened.damage)?;
        let shared = Arc::new(Shared::new(spec, segments, frames, open));
        let archive =
            Self { dir: dir.to_owned(), settings, shared, tail, pending: Open::default(), refused: 0 };
        Ok((archive, opened))
    }

    /// For searching and for removing what is old.
    pub fn kept(&self) -> Kept {
        Kept(self.shared.clone())
    }

    /// Takes a line. It is kept once [`Archive::flush`] succeeded. Lines may not hold
    /// line ends.
    pub fn append(&mut self, record: Record<'_>) {
        if self.pending.text.len() + record.line.len() > self.settings.frame_bytes * 4 {
            self.refused += 1;
            return;
        }
        self.pending.push(record);
    }

    /// Whether enough was appended that it should be flushed now.
    pub fn is_full(&self) -> bool {
        self.pending.text.len() >= self.settings.frame_bytes
    }

    /// Writes what was appended, and compresses what is a whole frame. Gives how many
    /// lines were lost, and why, where the disk did not take them.
    pub fn flush(&mut self) -> (u64, io::Result<()>) {
        let pending = std::mem::take(&mut self.pending);
        let refused = std::mem::take(&mut self.refused);
        let (mut lost, mut result) = (refused, Ok(()));
        if pending.lines() > 0 {
            // Where sealing fails, the open frame grows, but not for ever.
            let room = self.shared.open_bytes() + pending.text.len() <= self.settings.frame_bytes * 4;
            let written =
                if room { self.tail.write(&pending) } else { Err(io::ErrorKind::StorageFull.into()) };
            match written {
                Ok(()) => self.shared.extend(&pending),
                Err(error) => {
                    lost += u64::from(pending.lines());
                    result = Err(error);
                }
            }
        }
        if self.shared.open_bytes() >= self.settings.frame_bytes {
            result = result.and(self.seal());
        }
        (lost, result)
    }

    /// Waits until what was flushed is on the disk.
    pub fn sync(&mut self) -> io::Result<()> {
        self.tail.sync()
    }

    /// How far it was written, all flushed lines included.
    pub fn mark(&self) -> Mark {
        Mark { frame: self.tail.sequence(), lines: self.shared.open_lines() }
    }

    /// Back to `mark`: what was appended later is forgotten, because it will be read
    /// from the log again. A mark of what is not there any more changes nothing.
    pub fn rewind(&mut self, mark: Mark) -> io::Result<()> {
        self.pending = Open::default();
        let sequence = self.tail.sequence();
        if mark.frame > sequence {
            return Ok(());
        }
        let mut open = self.shared.open();
        if mark.frame < sequence {
            let Some(frame) = self.shared.frame(mark.frame) else { return Ok(()) };
            open = frame.unpack()?;
        }
        if open.lines() < mark.lines || (mark.frame == sequence && open.lines() == mark.lines) {
            return Ok(());
        }
        open.truncate(mark.lines);
        // First the lines that stay, whole and on the disk; then what came later goes.
        // A crash between leaves an open frame of a number that is sealed, which the
        // next start removes, and this is done again.
        let tail = Tail::create(&self.dir, mark.frame, &open)?;
        if mark.frame < sequence {
            self.shared.cut_from(mark.frame)?;
            self.tail.remove()?;
        }
        self.tail = tail;
        self.shared.set_open(open);
        Ok(())
    }

    fn seal(&mut self) -> io::Result<()> {
        let open = self.shared.open();
        let sequence = self.tail.sequence();
        let bytes = frame::seal(&open, sequence, self.settings.level)?;
        let segment = match self.shared.last_segment() {
            Some(last) if last.spec == self.shared.spec && last.length() < self.settings.segment_bytes => {
                last
            }
            _ => Arc::new(Segment::create(&self.dir, sequence, &self.shared.spec)?),
        };
        let (offset, head) = segment.append(&bytes)?;
        let tail = Tail::create(&self.dir, sequence + 1, &Open::default());
        // The frame is on the disk whatever becomes of the next file.
        self.shared.sealed(segment, offset, head);
        let old = std::mem::replace(
            &mut self.tail,
            match tail {
                Ok(tail) => tail,
                Err(error) => {
                    self.tail.begin(sequence + 1);
                    return Err(error);
                }
            },
        );
        old.remove()
    }
}
