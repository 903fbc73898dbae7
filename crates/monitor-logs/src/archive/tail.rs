//! The open frame's file: batches of lines as they came.

use super::frame::{Open, Record};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Bytes before a batch's lines: length, checksum.
const BATCH: usize = 8;

/// Bytes before a line: time, duration, status, length.
const LINE: usize = 18;

/// A longer batch is damage.
const MAX_BATCH: usize = 256 << 20;

/// The file that the open frame is in.
#[derive(Debug)]
pub(super) struct Tail {
    dir: PathBuf,
    sequence: u64,
    file: Option<File>,
    /// Bytes of it that are whole batches.
    length: u64,
}

impl Tail {
    fn path(dir: &Path, sequence: u64) -> PathBuf {
        dir.join(format!("{sequence:016x}.open"))
    }

    /// Reads the open frame `sequence`; files of others are over and are removed.
    pub(super) fn load(dir: &Path, sequence: u64, damage: &mut Vec<String>) -> io::Result<(Self, Open)> {
        let path = Self::path(dir, sequence);
        for entry in std::fs::read_dir(dir)?.flatten() {
            let other = entry.path();
            if other.extension().is_some_and(|e| e == "open" || e == "new") && other != path {
                std::fs::remove_file(&other)?;
            }
        }
        let mut open = Open::default();
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok((Self::create(dir, sequence, &open)?, open));
            }
            Err(error) => return Err(error),
        };
        let mut at = 0;
        while let Some(batch) = batch(&bytes[at..]) {
            if !lines(batch, &mut open) {
                break;
            }
            at += BATCH + batch.len();
        }
        if at < bytes.len() {
            let lost = bytes.len() - at;
            damage.push(format!(
                "{}: the last {lost} bytes are no whole batch; they are left out",
                path.display()
            ));
        }
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        Ok((Self { dir: dir.to_owned(), sequence, file: Some(file), length: at as u64 }, open))
    }

    /// Makes the file of the open frame `sequence` with these lines, on the disk
    /// before it has its name.
    pub(super) fn create(dir: &Path, sequence: u64, open: &Open) -> io::Result<Self> {
        let path = Self::path(dir, sequence);
        let next = path.with_extension("new");
        let bytes = if open.lines() > 0 { encode(open) } else { Vec::new() };
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_all()?;
        std::fs::rename(&next, &path)?;
        File::open(dir)?.sync_all()?;
        Ok(Self { dir: dir.to_owned(), sequence, file: Some(file), length: bytes.len() as u64 })
    }

    /// The open frame's number.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The frame was sealed, and the next one's file could not be made yet.
    pub(super) fn begin(&mut self, sequence: u64) {
        self.sequence = sequence;
        self.file = None;
        self.length = 0;
    }

    /// Appends a batch.
    pub(super) fn write(&mut self, lines: &Open) -> io::Result<()> {
        if self.file.is_none() {
            *self = Self::create(&self.dir, self.sequence, &Open::default())?;
        }
        let Some(file) = &self.file else { return Ok(()) };
        let bytes = encode(lines);
        // At its place: what a full disk left of a batch before is overwritten.
        file.write_all_at(&bytes, self.length)?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    /// Removes the file: its lines are in a sealed frame.
    pub(super) fn remove(&self) -> io::Result<()> {
        match std::fs::remove_file(Self::path(&self.dir, self.sequence)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// The first batch's lines, where it is whole.
fn batch(bytes: &[u8]) -> Option<&[u8]> {
    let (head, rest) = bytes.split_first_chunk::<BATCH>()?;
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let batch = rest.get(..length).filter(|_| length <= MAX_BATCH)?;
    (crc32fast::hash(batch).to_le_bytes() == head[4..]).then_some(batch)
}

/// Reads a batch; tells whether it makes sense.
fn lines(mut batch: &[u8], open: &mut Open) -> bool {
    while !batch.is_empty() {
        let Some((head, rest)) = batch.split_first_chunk::<LINE>() else { return false };
        let [t0, t1, t2, t3, t4, t5, t6, t7, d0, d1, d2, d3, s0, s1, l0, l1, l2, l3] = *head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        let Some((line, rest)) = rest.split_at_checked(length) else { return false };
        open.push(Record {
            time_ms: i64::from_le_bytes([t0, t1, t2, t3, t4, t5, t6, t7]),
            status: u16::from_le_bytes([s0, s1]),
            duration_us: u32::from_le_bytes([d0, d1, d2, d3]).checked_sub(1),
            line,
        });
        batch = rest;
    }
    true
}

fn encode(open: &Open) -> Vec<u8> {
    let mut out = vec![0; BATCH];
    out.reserve(open.text.len() + open.times.len() * LINE);
    let starts = open.starts();
    for at in 0..open.times.len() {
        let line = &open.text[starts[at]..starts[at + 1] - 1];
        out.extend_from_slice(&open.times[at].to_le_bytes());
        out.extend_from_slice(&open.durations[at].to_le_bytes());
        out.extend_from_slice(&open.statuses[at].to_le_bytes());
        out.extend_from_slice(&(line.len() as u32).to_le_bytes());
        out.extend_from_slice(line);
    }
    let length = (out.len() - BATCH) as u32;
    let crc = crc32fast::hash(&out[BATCH..]);
    out[..4].copy_from_slice(&length.to_le_bytes());
    out[4..BATCH].copy_from_slice(&crc.to_le_bytes());
    out
}
