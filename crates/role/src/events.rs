//! The event log: a bounded queue to a thread that appends JSON lines. Nothing
//! that serves traffic ever waits for it; what does not fit is dropped and counted.

use crate::metrics::{Counter, Registry};
use base::events::{Event, Record};
use base::names;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

/// Lines that may wait for the disk.
const QUEUE: usize = 8_192;
/// The log is renamed to `.1` when it grows beyond this; five are kept.
const ROTATE_AT: u64 = 64 << 20;
const KEEP: u32 = 5;

/// Writes events; cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    role: &'static str,
    queue: SyncSender<Vec<u8>>,
    dropped: Arc<Counter>,
}

impl Events {
    /// Appends to `<state>/log/events.jsonl`, which several roles share: each
    /// line is one `write` to a file opened for appending, so lines stay whole.
    pub fn open(role: &'static str, state_dir: &Path, registry: &Registry) -> Self {
        let path = state_dir.join("log/events.jsonl");
        let dropped = registry.counter(&names::EVENTS_DROPPED).with(&[role]);
        let (queue, lines) = sync_channel(QUEUE);
        let counter = dropped.clone();
        let writer = std::thread::Builder::new().name("events".into());
        // Without a thread the queue's end is gone and every event counts as dropped.
        let _ = writer.spawn(move || write_lines(path, lines, &counter));
        Self { role, queue, dropped }
    }

    /// Writes one event, now.
    pub fn emit(&self, event: Event) {
        let record = Record { at_ms: sys::clock::now_ms(), role: self.role.to_owned(), event };
        let line = serde_json::to_vec(&record).map(|mut line| {
            line.push(b'\n');
            line
        });
        if !line.is_ok_and(|line| self.queue.try_send(line).is_ok()) {
            self.dropped.inc();
        }
    }
}

fn write_lines(path: PathBuf, lines: Receiver<Vec<u8>>, dropped: &Counter) {
    let mut file: Option<File> = None;
    while let Ok(line) = lines.recv() {
        // Opened anew for each burst: another role may have renamed it meanwhile.
        let mut next = Some(line);
        while let Some(line) = next {
            if file.is_none() {
                file = open(&path);
            }
            let written = file.as_mut().is_some_and(|f| f.write_all(&line).is_ok());
            if !written {
                dropped.inc();
                file = None;
            }
            next = lines.try_recv().ok();
        }
        if file.as_ref().is_some_and(|f| f.metadata().is_ok_and(|m| m.len() > ROTATE_AT)) {
            rotate(&path, KEEP);
        }
        file = None;
    }
}

/// All roles append to the same file: whoever makes it makes it the group's (the
/// folder's set-group-ID bit gives it the roles' group).
fn open(path: &Path) -> Option<File> {
    let open = |new: bool| {
        OpenOptions::new()
            .append(true)
            .create_new(new)
            .mode(0o660)
            .custom_flags(sys::file::NOFOLLOW)
            .open(path)
    };
    match open(false) {
        Ok(file) => Some(file),
        Err(_) => {
            let file = open(true).ok()?;
            // The umask took the group's right to write.
            let _ = file.set_permissions(fs::Permissions::from_mode(0o660));
            Some(file)
        }
    }
}

/// Renames `path` to `path.1`, `path.1` to `path.2`, and so on, keeping `keep`.
/// Several processes may share the file: only the one that gets the lock beside
/// it, and still finds it grown, renames.
pub fn rotate(path: &Path, keep: u32) {
    let numbered = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    let Ok(Some(_lock)) = sys::file::Lock::take(&PathBuf::from(format!("{}.lock", path.display()))) else {
        return;
    };
    if !fs::metadata(path).is_ok_and(|m| m.len() > ROTATE_AT) {
        return;
    }
    let _ = fs::remove_file(numbered(keep));
    for n in (1..keep).rev() {
        let _ = fs::rename(numbered(n), numbered(n + 1));
    }
    let _ = fs::rename(path, numbered(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_lines() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        let registry = Registry::default();
        let events = Events::open("edge", folder.path(), &registry);
        for n in 0..3 {
            events.emit(Event::ServerHealth {
                pool: "app".into(),
                server: format!("app/{n}"),
                up: true,
                why: "ok".into(),
            });
        }
        let path = folder.path().join("log/events.jsonl");
        let lines = loop {
            let text = fs::read_to_string(&path).unwrap_or_default();
            if text.lines().count() == 3 {
                break text;
            }
            std::thread::yield_now();
        };
        for (n, line) in lines.lines().enumerate() {
            let record: Record = serde_json::from_str(line).unwrap();
            assert_eq!(record.role, "edge");
            assert!(
                matches!(record.event, Event::ServerHealth { server, .. } if server == format!("app/{n}"))
            );
        }
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let registry = Registry::default();
        let events = Events::open("edge", Path::new("/no/such/folder"), &registry);
        events.emit(Event::ServerHealth {
            pool: "a".into(),
            server: "a/1".into(),
            up: false,
            why: "x".into(),
        });
        let dropped = registry.counter(&names::EVENTS_DROPPED).with(&["edge"]);
        while dropped.get() == 0 {
            std::thread::yield_now();
        }
    }
}
