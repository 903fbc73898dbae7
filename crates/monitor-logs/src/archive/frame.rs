//! A frame: many lines with their times, statuses and durations.

use super::gram;
use crate::count::varint::{From, put};
use std::io;

/// One line with what a search asks for most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Unix milliseconds: the line's own time, or when it was read.
    pub time_ms: i64,
    /// The status code; 0 is a line that could not be read.
    pub status: u16,
    /// Microseconds, where the line says.
    pub duration_us: Option<u32>,
    /// The line without its end.
    pub line: &'a [u8],
}

/// A frame that is not compressed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Open {
    pub(super) times: Vec<i64>,
    pub(super) statuses: Vec<u16>,
    /// One more than the microseconds; 0 is none.
    pub(super) durations: Vec<u32>,
    /// The lines, each with its line end.
    pub(super) text: Vec<u8>,
}

impl Open {
    pub(super) fn push(&mut self, record: Record<'_>) {
        self.times.push(record.time_ms);
        self.statuses.push(record.status);
        self.durations.push(record.duration_us.map_or(0, |us| us.saturating_add(1)));
        self.text.extend_from_slice(record.line);
        self.text.push(b'\n');
    }

    pub(super) fn lines(&self) -> u32 {
        self.times.len() as u32 // A frame's text has at most 64 MiB.
    }

    pub(super) fn extend(&mut self, other: &Self) {
        self.times.extend_from_slice(&other.times);
        self.statuses.extend_from_slice(&other.statuses);
        self.durations.extend_from_slice(&other.durations);
        self.text.extend_from_slice(&other.text);
    }

    pub(super) fn truncate(&mut self, lines: u32) {
        let lines = lines as usize;
        let end = match lines {
            0 => 0,
            _ => memchr::memchr_iter(b'\n', &self.text).nth(lines - 1).map_or(self.text.len(), |at| at + 1),
        };
        self.times.truncate(lines);
        self.statuses.truncate(lines);
        self.durations.truncate(lines);
        self.text.truncate(end);
    }

    /// Where each line begins; one more at the end.
    pub(super) fn starts(&self) -> Vec<usize> {
        let mut starts = Vec::with_capacity(self.times.len() + 1);
        starts.push(0);
        starts.extend(memchr::memchr_iter(b'\n', &self.text).map(|at| at + 1));
        starts
    }

    pub(super) fn duration_us(&self, line: usize) -> Option<u32> {
        self.durations[line].checked_sub(1)
    }

    /// What a frame of it would say about itself.
    pub(super) fn summary(&self) -> Summary {
        let classes = self.statuses.iter().fold(0, |all, status| all | 1 << (status / 100).min(7));
        Summary {
            lines: self.lines(),
            min_ms: self.times.iter().copied().min().unwrap_or(i64::MAX),
            max_ms: self.times.iter().copied().max().unwrap_or(i64::MIN),
            max_duration: self.durations.iter().copied().max().unwrap_or(0),
            classes,
        }
    }
}

/// What is known of a frame without unpacking it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) lines: u32,
    pub(super) min_ms: i64,
    pub(super) max_ms: i64,
    /// One more than the longest duration's microseconds; 0 is none.
    pub(super) max_duration: u32,
    /// Bit n: a status of n hundred; bit 0: lines that could not be read.
    pub(super) classes: u8,
}

/// A frame's head, but for its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) sequence: u64,
    pub(super) summary: Summary,
    /// Bytes of head and signature.
    pub(super) length: u32,
    pub(super) columns: (u32, u32),
    pub(super) text: (u32, u32),
    body_crc: u32,
    head_crc: u32,
}

/// Bytes of a head without its signature.
pub(super) const HEAD: usize = 72;

const MAGIC: [u8; 4] = *b"BLF1";

/// Unpacked sizes beyond this are damage: a frame's text has at most 64 MiB.
const MAX_RAW: u32 = 128 << 20;

impl Head {
    /// All of the frame.
    pub(super) fn frame_length(&self) -> u64 {
        u64::from(self.length) + u64::from(self.columns.0) + u64::from(self.text.0)
    }

    /// Reads a head, its checksum still to be compared.
    pub(super) fn read(bytes: &[u8; HEAD]) -> Option<Self> {
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let head = Self {
            head_crc: u32_at(4),
            length: u32_at(8),
            sequence: u64_at(12),
            summary: Summary {
                lines: u32_at(20),
                min_ms: u64_at(24).cast_signed(),
                max_ms: u64_at(32).cast_signed(),
                max_duration: u32_at(40),
                classes: bytes[44],
            },
            columns: (u32_at(48), u32_at(52)),
            text: (u32_at(56), u32_at(60)),
            body_crc: u32_at(64),
        };
        let sane = bytes[..4] == MAGIC
            && (HEAD as u32..=HEAD as u32 + gram::MAX_BYTES as u32).contains(&head.length)
            && head.columns.1 <= MAX_RAW
            && head.text.1 <= MAX_RAW
            && head.columns.0 <= MAX_RAW
            && head.text.0 <= MAX_RAW;
        sane.then_some(head)
    }

    /// Whether the head's bytes, signature included, are those that were written.
    pub(super) fn is_intact(&self, head: &[u8]) -> bool {
        head.len() == self.length as usize && crc32fast::hash(&head[8..]) == self.head_crc
    }

    /// Unpacks what follows the head.
    pub(super) fn unpack(&self, body: &[u8], with_text: bool) -> io::Result<Open> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let (columns, text) =
            body.split_at_checked(self.columns.0 as usize).ok_or_else(|| damaged("it is cut"))?;
        if with_text && crc32fast::hash(body) != self.body_crc {
            return Err(damaged("its checksum is wrong"));
        }
        let columns = zstd::bulk::decompress(columns, self.columns.1 as usize)?;
        let mut open = Open::default();
        let mut from = From(&columns);
        let mut time = 0_i64;
        let read = (|| {
            for _ in 0..self.summary.lines {
                let zigzag = from.number()?;
                time = time.wrapping_add((zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed());
                open.times.push(time);
            }
            for _ in 0..self.summary.lines {
                open.statuses.push(from.number()? as u16);
            }
            for _ in 0..self.summary.lines {
                open.durations.push(from.number()? as u32);
            }
            Ok::<(), crate::count::Damaged>(())
        })();
        read.map_err(|_| damaged("its columns are damaged"))?;
        if with_text {
            open.text = zstd::bulk::decompress(text, self.text.1 as usize)?;
            if memchr::memchr_iter(b'\n', &open.text).count() != open.times.len() {
                return Err(damaged("its lines are not as many as it says"));
            }
        }
        Ok(open)
    }
}

/// Compresses an open frame: all of its bytes.
pub(super) fn seal(open: &Open, sequence: u64, level: i32) -> io::Result<Vec<u8>> {
    let mut columns = Vec::with_capacity(open.times.len() * 5);
    let mut before = 0_i64;
    for time in &open.times {
        let delta = time.wrapping_sub(before);
        put(&mut columns, ((delta << 1) ^ (delta >> 63)).cast_unsigned());
        before = *time;
    }
    open.statuses.iter().for_each(|status| put(&mut columns, u64::from(*status)));
    open.durations.iter().for_each(|duration| put(&mut columns, u64::from(*duration)));
    let packed_columns = zstd::bulk::compress(&columns, level)?;
    let packed_text = zstd::bulk::compress(&open.text, level)?;
    let signature = gram::signature(&open.text);
    let summary = open.summary();

    let mut out = Vec::with_capacity(HEAD + signature.len() + packed_columns.len() + packed_text.len());
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&[0; 4]); // The head's checksum comes last.
    out.extend_from_slice(&((HEAD + signature.len()) as u32).to_le_bytes());
    out.extend_from_slice(&sequence.to_le_bytes());
    out.extend_from_slice(&summary.lines.to_le_bytes());
    out.extend_from_slice(&summary.min_ms.to_le_bytes());
    out.extend_from_slice(&summary.max_ms.to_le_bytes());
    out.extend_from_slice(&summary.max_duration.to_le_bytes());
    out.extend_from_slice(&[summary.classes, 0, 0, 0]);
    for (packed, raw) in [(packed_columns.len(), columns.len()), (packed_text.len(), open.text.len())] {
        out.extend_from_slice(&(packed as u32).to_le_bytes());
        out.extend_from_slice(&(raw as u32).to_le_bytes());
    }
    let mut body = crc32fast::Hasher::new();
    body.update(&packed_columns);
    body.update(&packed_text);
    out.extend_from_slice(&body.finalize().to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    debug_assert_eq!(out.len(), HEAD);
    out.extend_from_slice(&signature);
    let crc = crc32fast::hash(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&packed_columns);
    out.extend_from_slice(&packed_text);
    Ok(out)
}
