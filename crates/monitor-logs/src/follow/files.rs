//! The few things that following asks of a file system, so that a simulated one can
//! stand in for it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

/// A file system.
pub trait Files {
    /// An open file.
    type File;
    /// The names in a folder; none where there is no folder.
    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>>;
    /// What a path names, links followed; `None` where it names no regular file.
    fn stat(&self, path: &Path) -> io::Result<Option<Stat>>;
    /// Opens for reading; `None` where there is none.
    fn open(&self, path: &Path) -> io::Result<Option<Self::File>>;
    /// What an open file is, whatever names it now.
    fn stat_file(&self, file: &Self::File) -> io::Result<Stat>;
    /// Reads; 0 at the end.
    fn read_at(&self, file: &Self::File, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The device.
    pub device: u64,
    /// The inode.
    pub inode: u64,
    /// Bytes.
    pub length: u64,
    /// The last change of its content, in nanoseconds since the epoch.
    pub modified_ns: i64,
}

/// The machine's own file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    type File = File;

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        match std::fs::read_dir(if folder.as_os_str().is_empty() { Path::new(".") } else { folder }) {
            Ok(entries) => Ok(entries.flatten().map(|entry| entry.file_name()).collect()),
            Err(error) if is_absent(&error) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn stat(&self, path: &Path) -> io::Result<Option<Stat>> {
        match std::fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(stat(&metadata))),
            Ok(_) => Ok(None),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn open(&self, path: &Path) -> io::Result<Option<File>> {
        match File::open(path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn stat_file(&self, file: &File) -> io::Result<Stat> {
        file.metadata().map(|metadata| stat(&metadata))
    }

    fn read_at(&self, file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buffer, offset)
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn stat(metadata: &std::fs::Metadata) -> Stat {
    Stat {
        device: metadata.dev(),
        inode: metadata.ino(),
        length: metadata.len(),
        modified_ns: metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec()),
    }
}
