//! The write-ahead log (docs/formats/store.md, "Log file").

use crate::bytes::{Malformed, Reader, put_labels, put_varint, put_zigzag};
use crate::report::io_error;
use crate::{Error, Settings};
use monitor_promql::{Labels, Point};
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const LOG_MAGIC: &[u8; 8] = b"bastlog\x01";
const SNAPSHOT_MAGIC: &[u8; 8] = b"bastser\x01";
const END: u8 = 0;
const SERIES: u8 = 1;
const SAMPLES: u8 = 2;
const RECORD_HEAD: usize = 9;
/// Bytes of a record; longer ones are taken for damage.
pub(crate) const MAX_RECORD: usize = 4 << 20;
/// Samples of one record: at most 20 bytes each, far below [`MAX_RECORD`].
const MAX_SAMPLES: usize = 65_536;

/// A record, read.
#[derive(Debug)]
pub(crate) enum Record {
    Series(u64, Labels),
    Samples(Vec<(u64, Point)>),
}

/// The log that is being written, and the files before it.
#[derive(Debug)]
pub(crate) struct Log {
    dir: PathBuf,
    file: File,
    path: PathBuf,
    number: u64,
    /// Where the last whole record ends.
    length: u64,
    max_ms: i64,
    min_ms: i64,
    older: Vec<OldFile>,
    dirty: bool,
    /// The end of the file may hold part of a record that could not be taken back.
    broken: bool,
    synced: Instant,
    sync: Duration,
    max_length: u64,
}

#[derive(Debug)]
pub(crate) struct OldFile {
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
    pub(crate) max_ms: i64,
    /// It was there when the store was opened.
    pub(crate) read_back: bool,
}

/// The records of one append.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    min_ms: i64,
    max_ms: i64,
}

impl Batch {
    pub(crate) fn series(&mut self, id: u64, labels: &Labels) {
        record(&mut self.bytes, SERIES, |payload| {
            put_varint(payload, id);
            put_labels(payload, labels);
        });
    }

    pub(crate) fn samples(&mut self, samples: &[(u64, Point)]) {
        self.min_ms = samples.iter().map(|(_, p)| p.at_ms).min().unwrap_or(i64::MAX);
        self.max_ms = samples.iter().map(|(_, p)| p.at_ms).max().unwrap_or(i64::MIN);
        for part in samples.chunks(MAX_SAMPLES) {
            record(&mut self.bytes, SAMPLES, |payload| put_samples(payload, part));
        }
    }
}

fn put_samples(payload: &mut Vec<u8>, samples: &[(u64, Point)]) {
    put_varint(payload, samples.len() as u64);
    let (mut last_id, mut last_ms) = (0u64, 0i64);
    for (id, point) in samples {
        put_zigzag(payload, id.wrapping_sub(last_id) as i64);
        put_zigzag(payload, point.at_ms.wrapping_sub(last_ms));
        payload.extend_from_slice(&point.value.to_bits().to_le_bytes());
        (last_id, last_ms) = (*id, point.at_ms);
    }
}

fn record(into: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let begin = into.len();
    into.extend_from_slice(&[0; 8]);
    into.push(kind);
    fill(into);
    let length = (into.len() - begin - RECORD_HEAD) as u32;
    let crc = crc32fast::hash(&into[begin + 8..]);
    into[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    into[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
}

impl Log {
    /// Begins a new file after those that are there.
    pub(crate) fn begin(
        dir: &Path,
        older: Vec<OldFile>,
        number: u64,
        settings: &Settings,
    ) -> Result<Self, Error> {
        let (file, path) = new_file(dir, number)?;
        Ok(Self {
            dir: dir.into(),
            file,
            path,
            number,
            length: LOG_MAGIC.len() as u64,
            max_ms: i64::MIN,
            min_ms: i64::MAX,
            older,
            dirty: false,
            broken: false,
            synced: Instant::now(),
            sync: settings.sync.duration(),
            max_length: settings.log_file.0,
        })
    }

    /// Writes a batch; when this returns, the kernel has it. On an error nothing
    /// of it stays.
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), Error> {
        let full = self.length + batch.bytes.len() as u64 > self.max_length;
        if self.broken || (full && self.length > LOG_MAGIC.len() as u64) {
            // A file that is full is only large; one that is broken must not be written.
            let rotated = self.rotate();
            if self.broken {
                rotated?;
            }
        }
        let mut written = self.file.write_all(&batch.bytes);
        if self.sync.is_zero() {
            // Acknowledged means: survives the loss of power.
            written = written.and_then(|()| self.file.sync_data());
        }
        if let Err(error) = written {
            // Part of it may have been written: take it back, or leave the file.
            self.broken = self.file.set_len(self.length).is_err();
            return Err(io_error("writing", &self.path)(error));
        }
        self.length += batch.bytes.len() as u64;
        self.min_ms = self.min_ms.min(batch.min_ms);
        self.max_ms = self.max_ms.max(batch.max_ms);
        self.dirty = !self.sync.is_zero();
        Ok(())
    }

    /// Syncs where the interval has passed.
    pub(crate) fn sync_when_due(&mut self) -> Result<(), Error> {
        if self.synced.elapsed() >= self.sync { self.sync() } else { Ok(()) }
    }

    pub(crate) fn sync(&mut self) -> Result<(), Error> {
        if self.dirty {
            self.file.sync_data().map_err(io_error("syncing", &self.path))?;
            self.dirty = false;
        }
        self.synced = Instant::now();
        Ok(())
    }

    /// Begins a new file.
    pub(crate) fn rotate(&mut self) -> Result<(), Error> {
        let synced = self.sync();
        if !self.broken {
            synced?;
        }
        // A file that cannot be written any more may be one that cannot be synced
        // either; it is left all the same, or nothing would ever be stored again.
        let (file, path) = new_file(&self.dir, self.number + 1)?;
        self.older.push(OldFile {
            path: std::mem::replace(&mut self.path, path),
            length: self.length,
            max_ms: self.max_ms,
            read_back: false,
        });
        self.file = file;
        self.number += 1;
        self.length = LOG_MAGIC.len() as u64;
        (self.max_ms, self.min_ms) = (i64::MIN, i64::MAX);
        self.broken = false;
        Ok(())
    }

    /// How much time the current file's samples span, in milliseconds.
    pub(crate) fn span_ms(&self) -> i64 {
        if self.min_ms > self.max_ms { 0 } else { self.max_ms.saturating_sub(self.min_ms) }
    }

    /// Whether files are left that were there when the store was opened.
    pub(crate) fn has_read_back(&self) -> bool {
        self.older.iter().any(|f| f.read_back)
    }

    /// The number for a snapshot written now.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Deletes the oldest files as long as all their samples are before a time.
    pub(crate) fn drop_before(&mut self, floor_ms: i64) -> Result<(), Error> {
        while self.older.first().is_some_and(|f| f.max_ms < floor_ms) {
            let file = &self.older[0];
            fs::remove_file(&file.path).map_err(io_error("deleting", &file.path))?;
            self.older.remove(0);
        }
        Ok(())
    }

    /// From now on the file is as on a full disk.
    #[cfg(test)]
    pub(crate) fn fill_disk(&mut self) {
        self.file = OpenOptions::new().append(true).open("/dev/full").unwrap();
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.length + self.older.iter().map(|f| f.length).sum::<u64>()
    }
}

fn new_file(dir: &Path, number: u64) -> Result<(File, PathBuf), Error> {
    let path = dir.join(format!("{number:08}.log"));
    let create = || {
        let mut file = OpenOptions::new().append(true).create_new(true).open(&path)?;
        if let Err(error) = file.write_all(LOG_MAGIC).and_then(|()| File::open(dir)?.sync_all()) {
            let _ = fs::remove_file(&path);
            return Err(error);
        }
        Ok(file)
    };
    let file = create().map_err(io_error("creating", &path))?;
    Ok((file, path))
}

/// The log's files with their numbers, ascending.
pub(crate) fn files(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    numbered(dir, "", ".log")
}

/// The series snapshots with their numbers, ascending.
pub(crate) fn snapshots(dir: &Path) -> Result<Vec<(u64, PathBuf)>, Error> {
    numbered(dir, "series-", ".snapshot")
}

fn numbered(dir: &Path, prefix: &str, suffix: &str) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("reading", dir))? {
        let path = entry.map_err(io_error("reading", dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        let number =
            name.strip_prefix(prefix).and_then(|n| n.strip_suffix(suffix)).and_then(|n| n.parse().ok());
        if let Some(number) = number {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// Writes the series that later log files may refer to.
pub(crate) fn write_snapshot(dir: &Path, number: u64, series: &[(Labels, u64)]) -> Result<PathBuf, Error> {
    let path = dir.join(format!("series-{number:08}.snapshot"));
    let mut bytes = SNAPSHOT_MAGIC.to_vec();
    for (labels, id) in series {
        record(&mut bytes, SERIES, |payload| {
            put_varint(payload, *id);
            put_labels(payload, labels);
        });
    }
    record(&mut bytes, END, |payload| put_varint(payload, series.len() as u64));
    sys::file::write_atomic(&path, &bytes, 0o600).map_err(io_error("writing", &path))?;
    Ok(path)
}

/// Reads a snapshot; `Err` says why it is not whole.
pub(crate) fn read_snapshot(path: &Path) -> Result<Vec<(u64, Labels)>, String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let mut rest = bytes.strip_prefix(SNAPSHOT_MAGIC).ok_or("it does not begin as a snapshot does")?;
    let mut series = Vec::new();
    while let Some((kind, payload, after)) = whole_record(rest) {
        rest = after;
        match (kind, parse(kind, payload)) {
            (_, Ok(Some(Record::Series(id, labels)))) => series.push((id, labels)),
            (END, _) if Reader(payload).varint() == Ok(series.len() as u64) => return Ok(series),
            _ => return Err("a record in it cannot be read".into()),
        }
    }
    Err("its end is missing".into())
}

/// What reading a log file found, besides its records.
#[derive(Debug, Default)]
pub(crate) struct FileReport {
    /// Where the last whole record ends.
    pub(crate) length: u64,
    /// Bytes behind it, where nothing can be read.
    pub(crate) tail: u64,
    /// Damage with whole records behind it.
    pub(crate) damage: Vec<String>,
}

/// Reads a log file's records in order.
pub(crate) fn read_file(path: &Path, mut on_record: impl FnMut(Record)) -> Result<FileReport, Error> {
    let bytes = fs::read(path).map_err(io_error("reading", path))?;
    let mut report = FileReport::default();
    let mut at = match bytes.starts_with(LOG_MAGIC) {
        true => LOG_MAGIC.len(),
        false => {
            let found = resync(&bytes, 0);
            if let Some(next) = found {
                report.damage.push(format!("its first {next} bytes are not a log's beginning"));
            }
            found.unwrap_or(bytes.len())
        }
    };
    if bytes.starts_with(LOG_MAGIC) || at < bytes.len() {
        report.length = at as u64;
    }
    while at < bytes.len() {
        if let Some((kind, payload, after)) = whole_record(&bytes[at..]) {
            match parse(kind, payload) {
                Ok(Some(record)) => on_record(record),
                Ok(None) => {
                    report.damage.push(format!("byte {at}: a record of unknown kind {kind}, left out"))
                }
                Err(Malformed) => {
                    report.damage.push(format!("byte {at}: a record that cannot be understood"))
                }
            }
            at = bytes.len() - after.len();
            report.length = at as u64;
            continue;
        }
        let Some(next) = resync(&bytes, at + 1) else { break };
        report.damage.push(format!("bytes {at} to {next}: damaged, the samples in them are lost"));
        at = next;
    }
    report.tail = bytes.len() as u64 - report.length;
    Ok(report)
}

/// A record's kind, payload, and what is behind it, where it is whole and sound.
fn whole_record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let mut reader = Reader(bytes);
    let length = reader.u32().ok()? as usize;
    let crc = reader.u32().ok()?;
    if length > MAX_RECORD {
        return None;
    }
    let content = reader.bytes(length + 1).ok()?;
    (crc32fast::hash(content) == crc).then(|| (content[0], &content[1..], reader.0))
}

/// Where the next whole record begins.
fn resync(bytes: &[u8], from: usize) -> Option<usize> {
    let plausible = |at: &usize| {
        let head = &bytes[*at..*at + RECORD_HEAD];
        matches!(head[8], SERIES | SAMPLES) && whole_record(&bytes[*at..]).is_some()
    };
    (from..bytes.len().saturating_sub(RECORD_HEAD)).find(plausible)
}

fn parse(kind: u8, payload: &[u8]) -> Result<Option<Record>, Malformed> {
    let mut reader = Reader(payload);
    match kind {
        SERIES => Ok(Some(Record::Series(reader.varint()?, reader.labels()?))),
        SAMPLES => {
            let count = reader.count()?;
            let mut samples = Vec::with_capacity(count);
            let (mut id, mut at_ms) = (0u64, 0i64);
            for _ in 0..count {
                id = id.wrapping_add(reader.zigzag()? as u64);
                at_ms = at_ms.wrapping_add(reader.zigzag()?);
                samples.push((id, Point { at_ms, value: f64::from_bits(reader.u64()?) }));
            }
            Ok(Some(Record::Samples(samples)))
        }
        _ => Ok(None),
    }
}
