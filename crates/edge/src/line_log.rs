//! Logs of lines: the access log, the WAF's audit log, captured requests. Each has
//! a bounded queue to a thread of its own. No request ever waits for the disk; what
//! does not fit is dropped and counted.

use crate::compiled::Waf;
use role::Counter;
use serde::Serialize;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Lines that may wait for the disk.
const QUEUE: usize = 16_384;
/// Lines are written together up to this many bytes.
const BATCH: usize = 64 << 10;
/// How long after a failure the file is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Where lines go.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    pub(crate) path: PathBuf,
    /// It is renamed to `.1` when it grows beyond this; 0 is never.
    pub(crate) rotate_at: u64,
    /// How many renamed files are kept.
    pub(crate) keep: u32,
    /// The mode of a new file.
    pub(crate) mode: u32,
}

impl From<&site::AccessLog> for Settings {
    fn from(log: &site::AccessLog) -> Self {
        Self { path: log.path.clone(), rotate_at: log.rotate_at.0, keep: log.keep, mode: 0o640 }
    }
}

impl Settings {
    /// Where captured requests go: two files of the size that the site's file says.
    pub(crate) fn captured(waf: Option<&Waf>, state_dir: &Path) -> Option<Self> {
        let capture = waf?.settings.capture?;
        let path = state_dir.join(site::waf::CAPTURE);
        Some(Self { path, rotate_at: capture.size.0.max(1), keep: 1, mode: 0o600 })
    }
}

/// A log of lines.
pub(crate) struct LineLog {
    queue: Mutex<Option<SyncSender<Message>>>,
    sender: SyncSender<Message>,
    on: AtomicBool,
    dropped: Arc<Counter>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Message {
    Line(Vec<u8>),
    /// A file of its own.
    File(PathBuf, Vec<u8>),
    Settings(Option<Settings>),
    End,
}

impl LineLog {
    /// `name` is the thread's.
    pub(crate) fn start(
        name: &str,
        settings: Option<Settings>,
        dropped: Arc<Counter>,
    ) -> std::io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let on = AtomicBool::new(settings.is_some());
        let counter = dropped.clone();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || Writer::new(settings, counter).run(&receiver))?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { queue: Mutex::new(Some(sender.clone())), sender, on, dropped, thread })
    }

    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// Queues one line.
    pub(crate) fn write(&self, line: &impl Serialize) {
        let mut bytes = Vec::with_capacity(512);
        match serde_json::to_writer(&mut bytes, line) {
            Ok(()) => self.write_text(bytes),
            Err(_) => self.dropped.inc(),
        }
    }

    /// Queues a line, or several that belong together.
    pub(crate) fn write_text(&self, mut text: Vec<u8>) {
        if text.last() != Some(&b'\n') {
            text.push(b'\n');
        }
        if self.sender.try_send(Message::Line(text)).is_err() {
            self.dropped.inc();
        }
    }

    /// Queues a file of its own, in folders that are made where they are missing.
    pub(crate) fn write_file(&self, path: PathBuf, content: Vec<u8>) {
        if self.sender.try_send(Message::File(path, content)).is_err() {
            self.dropped.inc();
        }
    }

    /// Writes elsewhere from now on, or nowhere.
    pub(crate) fn change(&self, settings: Option<Settings>) {
        self.on.store(settings.is_some(), Ordering::Relaxed);
        // Waits for room: settings are not lines, they must arrive.
        let _ = self.sender.send(Message::Settings(settings));
    }

    /// Writes what is queued and ends.
    pub(crate) fn finish(&self) {
        self.on.store(false, Ordering::Relaxed);
        if let Some(sender) = self.queue.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = sender.send(Message::End);
        }
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    settings: Option<Settings>,
    dropped: Arc<Counter>,
    file: Option<(File, u64)>,
    failed_at: Option<Instant>,
    batch: Vec<u8>,
    lines: u64,
}

impl Writer {
    fn new(settings: Option<Settings>, dropped: Arc<Counter>) -> Self {
        Self { settings, dropped, file: None, failed_at: None, batch: Vec::with_capacity(BATCH), lines: 0 }
    }

    fn run(mut self, queue: &Receiver<Message>) {
        while let Ok(message) = queue.recv() {
            let mut next = Some(message);
            while let Some(message) = next {
                match message {
                    Message::Line(line) => {
                        self.batch.extend_from_slice(&line);
                        self.lines += 1;
                        if self.batch.len() >= BATCH {
                            self.flush();
                        }
                    }
                    Message::File(path, content) => {
                        if write_new(&path, &content).is_err() {
                            self.dropped.inc();
                        }
                    }
                    Message::Settings(settings) => {
                        self.flush();
                        self.settings = settings;
                        self.file = None;
                        self.failed_at = None;
                    }
                    Message::End => {
                        self.flush();
                        return;
                    }
                }
                next = queue.try_recv().ok();
            }
            self.flush();
        }
    }

    fn flush(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        if !self.write_batch() {
            self.dropped.add(self.lines);
            self.file = None;
            self.failed_at = Some(Instant::now());
        }
        self.batch.clear();
        self.lines = 0;
    }

    fn write_batch(&mut self) -> bool {
        let Some(settings) = &self.settings else { return true };
        if self.failed_at.is_some_and(|at| at.elapsed() < RETRY) {
            return false;
        }
        // Someone else may have renamed the file (logrotate): a name that leads
        // elsewhere is opened anew.
        let moved = |file: &File| !same_file(file, &settings.path);
        if self.file.as_ref().is_some_and(|(file, _)| moved(file)) {
            self.file = None;
        }
        if self.file.is_none() {
            self.file = open(&settings.path, settings.mode);
        }
        let Some((file, size)) = &mut self.file else { return false };
        if file.write_all(&self.batch).is_err() {
            return false;
        }
        self.failed_at = None;
        *size += self.batch.len() as u64;
        if settings.rotate_at > 0 && *size > settings.rotate_at {
            rotate(&settings.path, settings.keep);
            self.file = None;
        }
        true
    }
}

fn same_file(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let id = |m: std::fs::Metadata| (m.dev(), m.ino());
    let (Ok(open), Ok(named)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    id(open) == id(named)
}

fn open(path: &Path, mode: u32) -> Option<(File, u64)> {
    if let Some(folder) = path.parent() {
        let _ = std::fs::create_dir_all(folder);
    }
    let file = OpenOptions::new().append(true).create(true).mode(mode).open(path).ok()?;
    let size = file.metadata().ok()?.len();
    Some((file, size))
}

fn write_new(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().write(true).create_new(true).mode(0o640).open(path)?.write_all(content)
}

/// `access.jsonl` → `access.jsonl.1` → … → `.keep`, which is removed.
fn rotate(path: &Path, keep: u32) {
    let numbered = |n: u32| PathBuf::from(format!("{}.{n}", path.display()));
    if keep == 0 {
        let _ = std::fs::remove_file(path);
        return;
    }
    for n in (1..keep).rev() {
        let _ = std::fs::rename(numbered(n), numbered(n + 1));
    }
    let _ = std::fs::rename(path, numbered(1));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_arrive_files_rotate_and_failures_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log/access.jsonl");
        let settings = Settings { path: path.clone(), rotate_at: 100, keep: 2, mode: 0o600 };
        let dropped = Arc::new(Counter::default());
        let log = LineLog::start("test", Some(settings), dropped.clone()).unwrap();
        for n in 0..2_000u32 {
            log.write(&n);
        }
        log.write_file(folder.path().join("one/by/one"), b"whole".to_vec());
        log.change(Some(Settings { path: "/proc/no/such".into(), rotate_at: 0, keep: 0, mode: 0o600 }));
        log.write(&1);
        log.finish();
        let count =
            |name: &str| std::fs::read_to_string(folder.path().join(name)).map_or(0, |t| t.lines().count());
        let kept = count("log/access.jsonl") + count("log/access.jsonl.1") + count("log/access.jsonl.2");
        assert!(kept > 0 && kept <= 2_000, "{kept}");
        assert!(!folder.path().join("log/access.jsonl.3").exists());
        assert_eq!(dropped.get(), 1);
        assert_eq!(std::fs::read(folder.path().join("one/by/one")).unwrap(), b"whole");
    }
}
