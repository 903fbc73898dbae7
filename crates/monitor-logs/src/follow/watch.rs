//! inotify: being told that a folder's files changed.
//!
//! Through rustix, which the product has anyway: the `notify` crate would add a
//! thread and four crates to hide systems that we do not run on. A watch of the
//! folder tells of all its files, of new ones too. What it cannot see (a network
//! file system's other writers, more folders than the kernel grants watches) is why
//! the reader also looks by itself from time to time.

use rustix::fs::inotify;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Folders watched, at most.
const MAX_FOLDERS: usize = 256;

/// Tells when something in its folders changes. Wait for its descriptor to be
/// readable, then [`Watch::drain`] it.
#[derive(Debug)]
pub struct Watch {
    inotify: OwnedFd,
    folders: Vec<(PathBuf, i32)>,
}

impl Watch {
    /// Watches nothing yet. Fails where the user has too many of them
    /// (`fs.inotify.max_user_instances`).
    pub fn new() -> io::Result<Self> {
        let flags = inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK;
        Ok(Self { inotify: inotify::init(flags)?, folders: Vec::new() })
    }

    /// Watches these folders and no others. Gives the first error; the other folders
    /// are watched all the same.
    pub fn follow(&mut self, folders: &[PathBuf]) -> io::Result<()> {
        let inotify = &self.inotify;
        self.folders.retain(|(folder, watch)| {
            let wanted = folders.contains(folder);
            if !wanted {
                // A folder that is gone took its watch along.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            wanted
        });
        let mut first = Ok(());
        for folder in folders.iter().take(MAX_FOLDERS) {
            let path = if folder.as_os_str().is_empty() { std::path::Path::new(".") } else { folder };
            // The same folder again gives the same watch: a folder made anew gets one.
            match inotify::add_watch(&self.inotify, path, EVENTS) {
                Ok(watch) => {
                    self.folders.retain(|(known, _)| known != folder);
                    self.folders.push((folder.clone(), watch));
                }
                Err(error) => first = first.and(Err(error.into())),
            }
        }
        first
    }

    /// Takes what the kernel told. Tells whether there was anything.
    pub fn drain(&self) -> io::Result<bool> {
        let mut space = [MaybeUninit::uninit(); 4 << 10];
        let mut reader = inotify::Reader::new(&self.inotify, &mut space);
        let mut any = false;
        loop {
            match reader.next() {
                Ok(_) => any = true,
                Err(rustix::io::Errno::AGAIN) => return Ok(any),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl std::os::fd::AsRawFd for Watch {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.inotify.as_raw_fd()
    }
}

const EVENTS: inotify::WatchFlags = inotify::WatchFlags::MODIFY
    .union(inotify::WatchFlags::CREATE)
    .union(inotify::WatchFlags::MOVED_TO)
    .union(inotify::WatchFlags::MOVED_FROM)
    .union(inotify::WatchFlags::DELETE)
    .union(inotify::WatchFlags::ONLYDIR);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut watch = Watch::new().unwrap();
        assert!(!watch.drain().unwrap());
        watch.follow(&[dir.path().to_owned()]).unwrap();
        assert!(!watch.drain().unwrap());
        std::fs::write(dir.path().join("a"), "x").unwrap();
        assert!(watch.drain().unwrap());
        std::fs::rename(dir.path().join("a"), dir.path().join("b")).unwrap();
        assert!(watch.drain().unwrap());
        assert!(!watch.drain().unwrap());
        let missing = dir.path().join("none");
        assert!(watch.follow(&[missing, dir.path().to_owned()]).is_err());
        std::fs::write(dir.path().join("b"), "y").unwrap();
        assert!(watch.drain().unwrap(), "the other folder is still watched");
        watch.follow(&[]).unwrap();
        let _ = watch.drain();
        std::fs::write(dir.path().join("b"), "z").unwrap();
        assert!(!watch.drain().unwrap());
    }
}
