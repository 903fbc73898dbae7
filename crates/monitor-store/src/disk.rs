//! The one way to the disk for what the store writes, so that tests can make
//! every step fail.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Does what the operating system does; in tests it can stop at any step.
#[derive(Clone, Debug, Default)]
pub(crate) struct Disk {
    #[cfg(test)]
    faults: Option<std::sync::Arc<tests::Faults>>,
}

impl Disk {
    /// A new file for writing; one that is there already is an error.
    pub(crate) fn create(&self, path: &Path) -> io::Result<File> {
        self.step(true)?;
        OpenOptions::new().append(true).create_new(true).mode(0o600).open(path)
    }

    pub(crate) fn write(&self, mut file: &File, bytes: &[u8]) -> io::Result<()> {
        #[cfg(test)]
        if let Err(error) = self.step(true) {
            // A write that is cut short leaves a part behind.
            if self.torn() {
                file.write_all(&bytes[..bytes.len() / 2])?;
            }
            return Err(error);
        }
        file.write_all(bytes)
    }

    pub(crate) fn sync(&self, file: &File) -> io::Result<()> {
        self.step(false)?;
        file.sync_data()
    }

    pub(crate) fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.step(false)?;
        File::open(dir)?.sync_all()
    }

    pub(crate) fn truncate(&self, file: &File, length: u64) -> io::Result<()> {
        self.step(false)?;
        file.set_len(length)
    }

    pub(crate) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(false)?;
        fs::rename(from, to)
    }

    /// Deletes a file; one that is gone already is as good.
    pub(crate) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(false)?;
        match fs::remove_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Syncs a file that was written under the name of `temporary`, and gives it its name.
    pub(crate) fn finish(&self, file: &File, temporary: &Path, path: &Path) -> io::Result<()> {
        self.sync(file)?;
        self.rename(temporary, path)?;
        self.sync_dir(path.parent().unwrap_or(Path::new(".")))
    }

    /// Writes a file whole or not at all.
    pub(crate) fn write_whole(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let temporary = temporary(path);
        self.remove(&temporary)?;
        let file = self.create(&temporary)?;
        let written = self.write(&file, bytes).and_then(|()| self.finish(&file, &temporary, path));
        if written.is_err() {
            let _ = self.remove(&temporary);
        }
        written
    }

    #[cfg(not(test))]
    #[allow(clippy::unused_self, clippy::unnecessary_wraps)] // In tests it does something.
    fn step(&self, _takes_space: bool) -> io::Result<()> {
        Ok(())
    }
}

/// The name under which a file is written until it is whole.
pub(crate) fn temporary(path: &Path) -> std::path::PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

    /// What goes wrong, and when.
    #[derive(Debug)]
    pub(crate) struct Faults {
        /// Steps that still succeed.
        left: AtomicI64,
        /// Only what takes space fails; else everything does, as after a crash.
        full: AtomicBool,
    }

    impl Faults {
        /// After so many steps the process is as good as dead.
        pub(crate) fn crash_after(steps: i64) -> Arc<Self> {
            Arc::new(Self { left: AtomicI64::new(steps), full: AtomicBool::new(false) })
        }

        /// After so many steps the disk is full.
        pub(crate) fn full_after(steps: i64) -> Arc<Self> {
            Arc::new(Self { left: AtomicI64::new(steps), full: AtomicBool::new(true) })
        }

        /// There is room again; a full disk comes back after so many steps.
        pub(crate) fn room(&self, steps: i64) {
            self.left.store(steps, Ordering::SeqCst);
        }

        /// Whether the fault has struck.
        pub(crate) fn struck(&self) -> bool {
            self.left.load(Ordering::SeqCst) < 0
        }
    }

    impl Disk {
        pub(crate) fn with(faults: Arc<Faults>) -> Self {
            Self { faults: Some(faults) }
        }

        pub(super) fn step(&self, takes_space: bool) -> io::Result<()> {
            let Some(faults) = &self.faults else { return Ok(()) };
            let full = faults.full.load(Ordering::SeqCst);
            if full && !takes_space {
                return Ok(());
            }
            if faults.left.fetch_sub(1, Ordering::SeqCst) > 0 {
                return Ok(());
            }
            Err(if full { io::Error::from(io::ErrorKind::StorageFull) } else { io::Error::other("crashed") })
        }

        /// Whether this very step is the one that fails first.
        pub(super) fn torn(&self) -> bool {
            self.faults.as_ref().is_some_and(|f| f.left.load(Ordering::SeqCst) == -1)
        }
    }
}
