//! The write-ahead log: files that grow (docs/formats/store-log.md).

use crate::Error;
use crate::disk::Disk;
use crate::record::{HEAD, LOG_MAGIC, METADATA, OLD_LOG_MAGIC, SERIES, whole_record};
use crate::report::io_error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A file is finished at this size; one is read into memory at a time when the
/// store is opened.
const MAX_FILE: u64 = 32 << 20;

/// The log that is being written, and the files before it.
#[derive(Debug)]
pub(crate) struct Log {
    disk: Disk,
    dir: PathBuf,
    file: Arc<File>,
    path: PathBuf,
    number: u64,
    /// Where the last whole record ends.
    length: u64,
    older: Vec<OldFile>,
    /// Files with content that was not synced.
    unsynced: Vec<(PathBuf, Arc<File>)>,
    /// The end of the file may hold part of a record that could not be taken back.
    broken: bool,
    synced: Instant,
    window: Duration,
}

/// A log file that is not written any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OldFile {
    pub(crate) number: u64,
    pub(crate) path: PathBuf,
    pub(crate) length: u64,
}

/// What must still be synced; done without the lock of whoever appends.
#[derive(Debug)]
pub(crate) struct ToSync(Disk, Vec<(PathBuf, Arc<File>)>);

impl ToSync {
    pub(crate) fn run(&self) -> Result<(), Error> {
        self.1.iter().try_for_each(|(path, file)| self.0.sync(file).map_err(io_error("syncing", path)))
    }
}

impl Log {
    /// Begins a new file after those that are there.
    pub(crate) fn begin(
        disk: &Disk,
        dir: &Path,
        older: Vec<OldFile>,
        number: u64,
        window: Duration,
    ) -> Result<Self, Error> {
        let (file, path) = new_file(disk, dir, number)?;
        Ok(Self {
            disk: disk.clone(),
            dir: dir.into(),
            file,
            path,
            number,
            length: LOG_MAGIC.len() as u64,
            older,
            unsynced: Vec::new(),
            broken: false,
            synced: Instant::now(),
            window,
        })
    }

    /// Writes records; when this returns, the kernel has them. On an error
    /// nothing of them stays.
    pub(crate) fn append(&mut self, records: &[u8]) -> Result<(), Error> {
        let full = self.length > LOG_MAGIC.len() as u64 && self.length + records.len() as u64 > MAX_FILE;
        if self.broken || full {
            // A file that is full is only large; one that is broken must not be written.
            let rotated = self.rotate();
            if self.broken {
                rotated?;
            }
        }
        let mut written = self.disk.write(&self.file, records);
        if self.window.is_zero() {
            // Acknowledged means: survives the loss of power.
            written = written.and_then(|()| self.disk.sync(&self.file));
        }
        if let Err(error) = written {
            // Part of it may have been written: take it back, or leave the file.
            self.broken = self.disk.truncate(&self.file, self.length).is_err();
            return Err(io_error("writing", &self.path)(error));
        }
        self.length += records.len() as u64;
        if !self.window.is_zero() && self.unsynced.last().is_none_or(|(path, _)| *path != self.path) {
            self.unsynced.push((self.path.clone(), self.file.clone()));
        }
        Ok(())
    }

    /// What must be synced now that the window has passed; the caller does it
    /// after giving the lock back.
    pub(crate) fn due(&mut self) -> Option<ToSync> {
        let due = !self.unsynced.is_empty() && self.synced.elapsed() >= self.window;
        due.then(|| self.take_unsynced())
    }

    /// All that must be synced, whatever the window.
    pub(crate) fn take_unsynced(&mut self) -> ToSync {
        self.synced = Instant::now();
        ToSync(self.disk.clone(), std::mem::take(&mut self.unsynced))
    }

    /// What could not be synced is tried again next time.
    pub(crate) fn give_back(&mut self, not_synced: ToSync) {
        self.unsynced.splice(0..0, not_synced.1);
    }

    /// Changes how long acknowledged samples may be unsynced.
    pub(crate) fn set_window(&mut self, window: Duration) {
        self.window = window;
    }

    /// Begins a new file and gives its number.
    pub(crate) fn rotate(&mut self) -> Result<u64, Error> {
        let (file, path) = new_file(&self.disk, &self.dir, self.number + 1)?;
        let path = std::mem::replace(&mut self.path, path);
        self.older.push(OldFile { number: self.number, path, length: self.length });
        self.file = file;
        self.number += 1;
        self.length = LOG_MAGIC.len() as u64;
        self.broken = false;
        Ok(self.number)
    }

    /// Bytes of the files from a number on, heads of files not counted.
    pub(crate) fn bytes_from(&self, number: u64) -> u64 {
        let older = self.older.iter().filter(|f| f.number >= number).map(|f| f.length);
        older.chain([self.length]).map(|length| length - LOG_MAGIC.len() as u64).sum()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.length + self.older.iter().map(|f| f.length).sum::<u64>()
    }

    /// Deletes the files before a number.
    pub(crate) fn drop_before(&mut self, number: u64) -> Result<(), Error> {
        while self.older.first().is_some_and(|file| file.number < number) {
            let path = &self.older[0].path;
            self.disk.remove(path).map_err(io_error("deleting", path))?;
            self.unsynced.retain(|(unsynced, _)| unsynced != path);
            self.older.remove(0);
        }
        Ok(())
    }
}

fn new_file(disk: &Disk, dir: &Path, number: u64) -> Result<(Arc<File>, PathBuf), Error> {
    let path = dir.join(format!("{number:08}.log"));
    let create = || {
        let file = disk.create(&path)?;
        if let Err(error) = disk.write(&file, LOG_MAGIC).and_then(|()| disk.sync_dir(dir)) {
            let _ = disk.remove(&path);
            return Err(error);
        }
        Ok(file)
    };
    let file = create().map_err(io_error("creating", &path))?;
    Ok((Arc::new(file), path))
}

/// Files `<number><suffix>` with their numbers, ascending.
pub(crate) fn numbered(dir: &Path, suffix: &str) -> Result<Vec<(u64, PathBuf)>, Error> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(io_error("reading", dir))? {
        let path = entry.map_err(io_error("reading", dir))?.path();
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
        if let Some(number) = name.strip_suffix(suffix).and_then(|n| n.parse().ok()) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
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

/// Whether a file was written by the first version of the store.
pub(crate) fn is_old(path: &Path) -> bool {
    let mut head = [0; 8];
    let read = File::open(path).and_then(|file| std::io::Read::read_exact(&mut { file }, &mut head));
    read.is_ok() && head == *OLD_LOG_MAGIC
}

/// Reads a log file's records in order; what `on_record` cannot understand is damage.
pub(crate) fn read_file(
    path: &Path,
    mut on_record: impl FnMut(u8, &[u8]) -> Result<(), String>,
) -> Result<FileReport, Error> {
    let bytes = fs::read(path).map_err(io_error("reading", path))?;
    let mut report = FileReport::default();
    let begins = bytes.starts_with(LOG_MAGIC);
    let mut at = LOG_MAGIC.len();
    if !begins {
        let found = resync(&bytes, 0);
        if let Some(next) = found {
            report.damage.push(format!("its first {next} bytes are not a log's beginning"));
        }
        at = found.unwrap_or(bytes.len());
    }
    if begins || at < bytes.len() {
        report.length = at as u64;
    }
    while at < bytes.len() {
        if let Some((kind, payload, after)) = whole_record(&bytes[at..]) {
            if let Err(what) = on_record(kind, payload) {
                report.damage.push(format!("byte {at}: {what}"));
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

/// Where the next whole record begins.
fn resync(bytes: &[u8], from: usize) -> Option<usize> {
    let plausible = |at: &usize| {
        let kind = bytes[*at + HEAD - 1];
        (SERIES..=METADATA).contains(&kind) && whole_record(&bytes[*at..]).is_some()
    };
    (from..bytes.len().saturating_sub(HEAD)).find(plausible)
}
