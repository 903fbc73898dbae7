//! A segment: a file of frames, one behind the other.

use super::frame::{HEAD, Head, Open};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: [u8; 8] = *b"BLOGSEG1";

/// A spec's text, at most.
const MAX_SPEC: usize = 64 << 10;

/// An open segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) path: PathBuf,
    /// How the lines in it are written.
    pub(super) spec: String,
    file: File,
    /// Bytes of it that are whole frames.
    length: AtomicU64,
}

/// A frame in its segment.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) segment: Arc<Segment>,
    pub(super) offset: u64,
    pub(super) head: Head,
}

impl Segment {
    /// Makes one whose first frame will have the number `sequence`.
    pub(super) fn create(dir: &Path, sequence: u64, spec: &str) -> io::Result<Self> {
        let path = dir.join(format!("{sequence:016x}.frames"));
        let mut head = MAGIC.to_vec();
        head.extend_from_slice(&(spec.len() as u32).to_le_bytes());
        head.extend_from_slice(spec.as_bytes());
        head.extend_from_slice(&crc32fast::hash(&head).to_le_bytes());
        // One of that name has no whole frame, or its frames would have been found.
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        file.write_all_at(&head, 0)?;
        file.sync_all()?;
        File::open(dir)?.sync_all()?;
        Ok(Self { path, spec: spec.to_owned(), file, length: AtomicU64::new(head.len() as u64) })
    }

    pub(super) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    /// Appends a frame and waits for the disk. Gives where it is.
    pub(super) fn append(&self, frame: &[u8]) -> io::Result<(u64, Head)> {
        let head = frame.first_chunk::<HEAD>().and_then(Head::read);
        let head = head.ok_or_else(|| io::Error::other("the frame made no sense"))?;
        let offset = self.length();
        // At its place, not at the end: what a full disk left of one before is overwritten.
        self.file.write_all_at(frame, offset)?;
        self.file.sync_data()?;
        self.length.store(offset + frame.len() as u64, Ordering::Relaxed);
        Ok((offset, head))
    }

    /// Cuts off what follows `length` bytes.
    pub(super) fn cut(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)?;
        self.file.sync_data()?;
        self.length.store(length, Ordering::Relaxed);
        Ok(())
    }

    fn load(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "its head is damaged");
        let mut fixed = [0; 12];
        file.read_exact_at(&mut fixed, 0)?;
        let length = u32::from_le_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]) as usize;
        if fixed[..8] != MAGIC || length > MAX_SPEC {
            return Err(damaged());
        }
        let mut head = vec![0; 12 + length + 4];
        file.read_exact_at(&mut head, 0)?;
        let (content, crc) = head.split_at(12 + length);
        if crc32fast::hash(content).to_le_bytes() != crc {
            return Err(damaged());
        }
        let spec = String::from_utf8(content[12..].to_vec()).map_err(|_| damaged())?;
        Ok(Self { path: path.to_owned(), spec, file, length: AtomicU64::new(head.len() as u64) })
    }

    /// Finds its frames. What follows the last whole one was being written when the
    /// process ended; a frame that is damaged in the middle is left out.
    fn frames(self: &Arc<Self>, damage: &mut Vec<String>) -> io::Result<Vec<Frame>> {
        let total = self.file.metadata()?.len();
        let mut frames = Vec::new();
        let mut offset = self.length();
        while offset + HEAD as u64 <= total {
            let mut fixed = [0; HEAD];
            self.file.read_exact_at(&mut fixed, offset)?;
            let head = Head::read(&fixed).filter(|head| offset + head.frame_length() <= total);
            let intact = match &head {
                Some(head) => head.is_intact(&self.head_bytes(offset, head)?),
                None => false,
            };
            let Some(head) = head.filter(|_| intact) else {
                damage.push(format!(
                    "{}: no frame at byte {offset}; the rest is left out",
                    self.path.display()
                ));
                break;
            };
            frames.push(Frame { segment: self.clone(), offset, head });
            offset += head.frame_length();
        }
        self.length.store(offset, Ordering::Relaxed);
        Ok(frames)
    }

    fn head_bytes(&self, offset: u64, head: &Head) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; head.length as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl Frame {
    /// The signature of its text.
    pub(super) fn signature(&self) -> io::Result<Vec<u8>> {
        let mut bytes = self.segment.head_bytes(self.offset, &self.head)?;
        if !self.head.is_intact(&bytes) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its head is damaged"));
        }
        Ok(bytes.split_off(HEAD))
    }

    /// Its lines.
    pub(super) fn unpack(&self) -> io::Result<Open> {
        self.head.unpack(&self.body(self.head.columns.0 + self.head.text.0)?, true)
    }

    /// Times, statuses and durations alone.
    pub(super) fn columns(&self) -> io::Result<Open> {
        self.head.unpack(&self.body(self.head.columns.0)?, false)
    }

    fn body(&self, length: u32) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length as usize];
        self.segment.file.read_exact_at(&mut bytes, self.offset + u64::from(self.head.length))?;
        Ok(bytes)
    }
}

/// All segments of a folder and their frames, in order.
pub(super) fn load(
    dir: &Path,
    damage: &mut Vec<String>,
) -> io::Result<(VecDeque<Arc<Segment>>, VecDeque<Frame>)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == "frames"))
        .collect();
    paths.sort();
    let (mut segments, mut frames) = (VecDeque::new(), VecDeque::<Frame>::new());
    for path in paths {
        let segment = match Segment::load(&path) {
            Ok(segment) => Arc::new(segment),
            Err(error) => {
                damage.push(format!("{}: {error}; it is left out", path.display()));
                continue;
            }
        };
        for frame in segment.frames(damage)? {
            // Numbers only grow: else the frame is of a file that should not be here.
            if frames.back().is_none_or(|last| last.head.sequence < frame.head.sequence) {
                frames.push_back(frame);
            }
        }
        segments.push_back(segment);
    }
    Ok((segments, frames))
}
