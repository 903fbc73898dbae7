//! Files that are whole or not there, and locks that end with their process.

use rustix::fs::{FlockOperation, flock};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// For `OpenOptions::custom_flags`: an error where the last part of the path is a
/// symbolic link (open(2), O_NOFOLLOW).
pub const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;

/// Writes a file so that a reader, or the next start after a crash, sees the old
/// content or the new, never a part: a temporary file beside it, synced,
/// renamed, its directory synced.
pub fn write_atomic(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    // A bare name's parent is the empty path, which nothing opens.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().ok_or_else(|| io::Error::other("the path names no file"))?;
    let mut temporary = PathBuf::from(folder);
    temporary.push(format!(".{}.{:x}.new", name.to_string_lossy(), crate::random::u64()));
    let result = (|| {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary)?;
        // The umask may have taken bits away; the caller's mode is meant.
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(folder)?.sync_all()
    })();
    if result.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    result
}

/// A file's next content, whole on the disk beside it: what is left to do needs
/// no space, so that a disk that fills up meanwhile changes nothing.
#[derive(Debug)]
pub struct Staged {
    next: PathBuf,
    path: PathBuf,
}

impl Staged {
    /// Writes the next content beside `path`.
    pub fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<Self> {
        let mut next = path.as_os_str().to_owned();
        next.push(".next");
        let next = PathBuf::from(next);
        write_atomic(&next, content, mode)?;
        Ok(Self { next, path: path.to_owned() })
    }

    /// Puts it in place.
    pub fn commit(self) -> io::Result<()> {
        fs::rename(&self.next, &self.path)?;
        match self.path.parent() {
            Some(folder) if folder != Path::new("") => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // After a commit it is not there any more.
        let _ = fs::remove_file(&self.next);
    }
}

/// Makes a directory and those above it, the last with `mode`; one that exists
/// keeps what it has.
pub fn make_dir(path: &Path, mode: u32) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// An exclusive lock on a file; it ends with the process, however that ends.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock; `None` where another process has it.
    pub fn take(path: &Path) -> io::Result<Option<Self>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_whole_files_with_their_mode() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(write_atomic(&folder.path().join("no/such"), b"", 0o600).is_err());
    }

    #[test]
    fn what_is_staged_is_seen_only_when_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_atomic(&path, b"one", 0o600).unwrap();
        drop(Staged::write(&path, b"two", 0o600).unwrap());
        assert_eq!(fs::read(&path).unwrap(), b"one");
        Staged::write(&path, b"two", 0o600).unwrap().commit().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_lock_is_exclusive_and_ends_with_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::take(&path).unwrap();
        assert!(first.is_some());
        assert!(Lock::take(&path).unwrap().is_none());
        drop(first);
        assert!(Lock::take(&path).unwrap().is_some());
    }
}
