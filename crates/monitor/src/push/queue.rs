//! What waits to be sent on: files that survive a restart, within a size.
//!
//! Bytes (version 1; numbers little-endian):
//!
//! ```text
//! 00000001.queue   "BSTDQ001"                                    8 bytes
//!                  record*
//! record           length of the body        u32
//!                  samples in the body       u32
//!                  CRC-32 of both and body   u32
//!                  body                      a remote-write 2.0 message, snappy
//! position         "BSTDP001", file number u64, offset u64, CRC-32 of both u32
//! ```
//!
//! A body is what one append brought. It is in the file before the append is
//! acknowledged, so a process that is killed loses nothing; power can cost what
//! was written in the last second ([`Queue::sync`]). Position is what the far
//! end has taken, written after it; what lies between is sent again after a
//! crash, and a receiver knows it already.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

const MAGIC: &[u8; 8] = b"BSTDQ001";
const POSITION_MAGIC: &[u8; 8] = b"BSTDP001";
const RECORD_HEAD: usize = 12;

/// A file is closed when it has this many bytes. What is over the limit is
/// dropped file by file, so it is small; each costs a system call or two.
const FILE_BYTES: u64 = 8 << 20;

/// The largest body: as much as a receiver must take, and a push may bring.
const MAX_BODY: usize = 64 << 20;

/// A place in the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    file: u64,
    offset: u64,
}

/// Bodies that follow one another.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// The bodies, and how many samples each has.
    pub(crate) bodies: Vec<(u32, Vec<u8>)>,
    /// Where the next window begins.
    pub(crate) end: Position,
    /// What could not be read, and is passed over.
    pub(crate) damage: Option<String>,
}

/// What was dropped because the queue was full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// Samples that no one has sent.
    pub(crate) samples: u64,
}

/// A queue in a folder of its own.
#[derive(Debug)]
pub(crate) struct Queue {
    dir: PathBuf,
    limit: u64,
    inner: Mutex<Inner>,
    more: Notify,
}

#[derive(Debug)]
struct Inner {
    /// From the oldest to the one that is written.
    files: VecDeque<Segment>,
    writing: Option<File>,
    position: Position,
    unsynced: bool,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    bytes: u64,
    /// In records from the position on.
    samples: u64,
}

impl Queue {
    /// Opens the queue, or makes it. `limit`: bytes on disk. What cannot be read
    /// is left out and named.
    pub(crate) fn open(dir: &Path, limit: u64) -> io::Result<(Self, Vec<String>)> {
        sys::file::make_dir(dir, 0o700)?;
        let mut trouble = Vec::new();
        let mut numbers = Vec::new();
        for entry in fs::read_dir(dir)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".queue"));
            numbers.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        numbers.sort_unstable();
        let mut position = match read_position(&dir.join("position")) {
            Ok(position) => position,
            Err(why) => {
                trouble
                    .push(format!("`{}`: {why}; what waits is sent again", dir.join("position").display()));
                Position::default()
            }
        };
        // What is removed here keeps its number: the position may lie in it.
        let last = numbers.last().map_or(position.file, |last| position.file.max(*last));
        let mut files = VecDeque::new();
        for number in numbers {
            let path = file_path(dir, number);
            if number < position.file {
                fs::remove_file(&path)?;
                continue;
            }
            let from = if number == position.file { position.offset } else { 0 };
            let scanned = scan(&path, from)?;
            if let Some(why) = scanned.why {
                trouble.push(format!("`{}`: {why}", path.display()));
            }
            if scanned.good == 0 {
                fs::remove_file(&path)?;
                continue;
            }
            if scanned.good < fs::metadata(&path)?.len() {
                // What was being written when the process ended: not acknowledged.
                OpenOptions::new().write(true).open(&path)?.set_len(scanned.good)?;
            }
            files.push_back(Segment { number, bytes: scanned.good, samples: scanned.samples });
        }
        let next = last + 1;
        let first = files.front().map_or(next, |first: &Segment| first.number);
        if position.file < first {
            position = Position { file: first, offset: 0 };
        }
        let mut inner = Inner { files, writing: None, position, unsynced: false };
        if let Err(error) = inner.begin_file(dir, next) {
            // A full disk: the first append that finds room begins it.
            trouble.push(format!("`{}` cannot be begun yet: {error}", file_path(dir, next).display()));
        }
        Ok((Self { dir: dir.to_owned(), limit, inner: Mutex::new(inner), more: Notify::new() }, trouble))
    }

    /// Appends a body. What is over the limit is dropped, the oldest first.
    pub(crate) fn append(&self, samples: u32, body: &[u8]) -> io::Result<Dropped> {
        if body.len() > MAX_BODY {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a body of {} bytes", body.len()),
            ));
        }
        let mut record = Vec::with_capacity(RECORD_HEAD + body.len());
        record.extend_from_slice(&(body.len() as u32).to_le_bytes());
        record.extend_from_slice(&samples.to_le_bytes());
        let mut crc = crc32fast::Hasher::new();
        crc.update(&record);
        crc.update(body);
        record.extend_from_slice(&crc.finalize().to_le_bytes());
        record.extend_from_slice(body);
        let mut inner = self.inner();
        let full =
            inner.files.back().is_some_and(|last| last.bytes + record.len() as u64 > FILE_BYTES.max(32));
        let written = inner.files.back().is_some_and(|last| last.bytes > MAGIC.len() as u64);
        if (full && written) || inner.writing.is_none() {
            let next = inner.files.back().map_or(1, |last| last.number + 1);
            inner.begin_file(&self.dir, next)?;
        }
        let dropped = inner.make_room(&self.dir, self.limit, record.len() as u64)?;
        let inner = &mut *inner;
        let (Some(file), Some(last)) = (&mut inner.writing, inner.files.back_mut()) else {
            return Err(io::Error::other("the queue has no file to write to"));
        };
        if let Err(error) = file.write_all(&record) {
            // A half-written record would hide those behind it.
            file.set_len(last.bytes)?;
            file.seek(SeekFrom::Start(last.bytes))?;
            return Err(error);
        }
        last.bytes += record.len() as u64;
        last.samples += u64::from(samples);
        inner.unsynced = true;
        self.more.notify_one();
        Ok(dropped)
    }

    /// The bodies from the position on: at least one where there is one, then as
    /// many as fit into `max_bytes`.
    pub(crate) fn read(&self, max_bytes: usize) -> io::Result<Window> {
        let (mut at, files) = {
            let inner = self.inner();
            let files: Vec<(u64, u64)> = inner.files.iter().map(|file| (file.number, file.bytes)).collect();
            (inner.position, files)
        };
        let mut window = Window { end: at, ..Window::default() };
        let mut size = 0;
        for (number, bytes) in files {
            if number < at.file {
                continue;
            }
            if number > at.file {
                at = Position { file: number, offset: 0 };
            }
            let mut file = match File::open(file_path(&self.dir, number)) {
                Ok(file) => file,
                // Dropped meanwhile: the next read begins behind it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            };
            at.offset = at.offset.max(MAGIC.len() as u64);
            file.seek(SeekFrom::Start(at.offset))?;
            while at.offset < bytes {
                match read_record(&mut file, bytes - at.offset)? {
                    Ok((samples, body)) => {
                        if size + body.len() > max_bytes && !window.bodies.is_empty() {
                            return Ok(window);
                        }
                        size += body.len();
                        at.offset += (RECORD_HEAD + body.len()) as u64;
                        window.bodies.push((samples, body));
                    }
                    Err(why) => {
                        let path = file_path(&self.dir, number);
                        window.damage = Some(format!(
                            "`{}`: {why} at byte {}; the rest of the file is left out",
                            path.display(),
                            at.offset
                        ));
                        at.offset = bytes;
                    }
                }
                window.end = at;
            }
            if window.damage.is_some() {
                break;
            }
        }
        Ok(window)
    }

    /// The far end has what is before a position, or will never have it: files
    /// before it go. What the limit took meanwhile is not gone back to.
    /// `samples`: how many lay between the position and this one.
    pub(crate) fn advance(&self, to: Position, samples: u64) -> io::Result<()> {
        let mut inner = self.inner();
        if to <= inner.position {
            return Ok(());
        }
        inner.position = to;
        let mut left = samples;
        while inner.files.front().is_some_and(|file| file.number < to.file) && inner.files.len() > 1 {
            left = left.saturating_sub(inner.files.front().map_or(0, |file| file.samples));
            inner.remove_first(&self.dir)?;
        }
        if let Some(first) = inner.files.front_mut() {
            first.samples = first.samples.saturating_sub(left);
        }
        let mut bytes = POSITION_MAGIC.to_vec();
        bytes.extend_from_slice(&to.file.to_le_bytes());
        bytes.extend_from_slice(&to.offset.to_le_bytes());
        let crc = crc32fast::hash(&bytes[8..]);
        bytes.extend_from_slice(&crc.to_le_bytes());
        let path = self.dir.join("position");
        sys::file::write_atomic(&path, &bytes, 0o600)
    }

    /// Waits until there is something to read.
    pub(crate) async fn wait(&self) {
        loop {
            let more = self.more.notified();
            if self.is_waiting() {
                return;
            }
            more.await;
        }
    }

    /// Whether something waits.
    pub(crate) fn is_waiting(&self) -> bool {
        let inner = self.inner();
        let Some(last) = inner.files.back() else { return false };
        let end = Position { file: last.number, offset: last.bytes };
        let begin = Position { offset: inner.position.offset.max(MAGIC.len() as u64), ..inner.position };
        // An empty last file behind a position at the end of the one before.
        begin < end
            && inner.files.iter().any(|file| {
                let from = if file.number == begin.file { begin.offset } else { MAGIC.len() as u64 };
                file.number >= begin.file && from < file.bytes
            })
    }

    /// Samples that wait, and the bytes on disk.
    pub(crate) fn waiting(&self) -> (u64, u64) {
        let inner = self.inner();
        let samples = inner.files.iter().map(|file| file.samples).sum();
        (samples, inner.files.iter().map(|file| file.bytes).sum())
    }

    /// Syncs what was written.
    pub(crate) fn sync(&self) -> io::Result<()> {
        let file = {
            let mut inner = self.inner();
            if !std::mem::take(&mut inner.unsynced) {
                return Ok(());
            }
            inner.writing.as_ref().map(File::try_clone).transpose()?
        };
        file.map_or(Ok(()), |file| file.sync_data())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn begin_file(&mut self, dir: &Path, number: u64) -> io::Result<()> {
        if let Some(before) = &self.writing {
            before.sync_data()?;
        }
        let path = file_path(dir, number);
        let mut file = OpenOptions::new().create_new(true).append(true).open(&path)?;
        if let Err(error) = file.write_all(MAGIC) {
            // The disk is full: the next try makes it anew.
            fs::remove_file(&path)?;
            return Err(error);
        }
        self.files.push_back(Segment { number, bytes: MAGIC.len() as u64, samples: 0 });
        self.writing = Some(file);
        Ok(())
    }

    /// Drops the oldest files until there is room. The one that is written stays.
    fn make_room(&mut self, dir: &Path, limit: u64, more: u64) -> io::Result<Dropped> {
        let mut dropped = Dropped::default();
        while self.files.len() > 1 && self.files.iter().map(|file| file.bytes).sum::<u64>() + more > limit {
            dropped.samples += self.files.front().map_or(0, |file| file.samples);
            self.remove_first(dir)?;
        }
        let first = self.files.front().map_or(0, |file| file.number);
        if self.position.file < first {
            self.position = Position { file: first, offset: 0 };
        }
        Ok(dropped)
    }

    fn remove_first(&mut self, dir: &Path) -> io::Result<()> {
        if let Some(file) = self.files.front() {
            match fs::remove_file(file_path(dir, file.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            self.files.pop_front();
        }
        Ok(())
    }
}

fn file_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.queue"))
}

struct Scanned {
    good: u64,
    samples: u64,
    why: Option<String>,
}

/// How much of a file is whole records, and how many samples lie from `from` on.
/// Nothing is good of what is no file of a queue.
fn scan(path: &Path, from: u64) -> io::Result<Scanned> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut scanned = Scanned { good: MAGIC.len() as u64, samples: 0, why: None };
    let mut magic = [0; 8];
    if length < MAGIC.len() as u64 || file.read_exact(&mut magic).is_err() || &magic != MAGIC {
        // Made, and not written yet; or not ours.
        scanned.good = 0;
        scanned.why = Some("it is no file of a queue, and is removed".to_owned());
        return Ok(scanned);
    }
    while scanned.good < length {
        match read_record(&mut file, length - scanned.good)? {
            Ok((samples, body)) => {
                if scanned.good >= from {
                    scanned.samples += u64::from(samples);
                }
                scanned.good += (RECORD_HEAD + body.len()) as u64;
            }
            Err(why) => {
                scanned.why = Some(format!("{why} at byte {}; it is cut off there", scanned.good));
                break;
            }
        }
    }
    Ok(scanned)
}

/// A record; the inner error is what is wrong with it.
fn read_record(file: &mut File, left: u64) -> io::Result<Result<(u32, Vec<u8>), &'static str>> {
    let mut head = [0; RECORD_HEAD];
    if left < RECORD_HEAD as u64 {
        return Ok(Err("a record is cut off"));
    }
    file.read_exact(&mut head)?;
    let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (length, samples, crc) = (number(0) as usize, number(4), number(8));
    if length as u64 > left - RECORD_HEAD as u64 || length > MAX_BODY {
        return Ok(Err("a record is cut off"));
    }
    let mut body = vec![0; length];
    file.read_exact(&mut body)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..8]);
    hasher.update(&body);
    if hasher.finalize() != crc {
        return Ok(Err("a record has another checksum"));
    }
    Ok(Ok((samples, body)))
}

fn read_position(path: &Path) -> Result<Position, String> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Position::default()),
        Err(error) => return Err(error.to_string()),
    };
    let whole: Option<&[u8; 28]> = bytes.first_chunk().filter(|_| bytes.len() == 28);
    let Some(whole) = whole.filter(|whole| whole.starts_with(POSITION_MAGIC)) else {
        return Err("it is no position of a queue".into());
    };
    let number = |at: usize| whole[at..at + 8].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
    let crc = whole[24..].iter().rev().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
    if crc32fast::hash(&whole[8..24]) != crc {
        return Err("it has another checksum".into());
    }
    Ok(Position { file: number(8), offset: number(16) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bodies(queue: &Queue) -> Vec<Vec<u8>> {
        queue.read(usize::MAX).unwrap().bodies.into_iter().map(|(_, body)| body).collect()
    }

    fn open(dir: &Path) -> Queue {
        let (queue, trouble) = Queue::open(dir, 1 << 30).unwrap();
        assert!(trouble.is_empty(), "{trouble:?}");
        queue
    }

    #[test]
    fn what_waits_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path());
        assert!(!queue.is_waiting());
        for body in [&b"one"[..], b"two", b"three"] {
            queue.append(body.len() as u32, body).unwrap();
        }
        assert_eq!(queue.waiting().0, 11);
        // A window is as large as asked for, and one body at least.
        let window = queue.read(4).unwrap();
        assert_eq!(window.bodies, [(3, b"one".to_vec())]);
        queue.advance(window.end, 3).unwrap();
        assert_eq!(bodies(&queue), [b"two".to_vec(), b"three".to_vec()]);
        drop(queue);

        let queue = open(dir.path());
        assert_eq!((bodies(&queue), queue.waiting().0), (vec![b"two".to_vec(), b"three".to_vec()], 8));
        queue.append(4, b"four").unwrap();
        let window = queue.read(usize::MAX).unwrap();
        assert_eq!(window.bodies.len(), 3);
        assert!(queue.is_waiting());
        queue.advance(window.end, 8).unwrap();
        assert!(!queue.is_waiting() && bodies(&queue).is_empty());
        drop(queue);
        let queue = open(dir.path());
        assert!(!queue.is_waiting());
        queue.append(1, b"x").unwrap();
        assert!(queue.is_waiting());
        assert_eq!(bodies(&queue), [b"x".to_vec()]);
    }

    #[test]
    fn what_was_half_written_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path());
        queue.append(1, b"whole").unwrap();
        queue.append(1, b"torn by the end").unwrap();
        drop(queue);
        let path = file_path(dir.path(), 1);
        let whole = fs::read(&path).unwrap();
        for cut in [whole.len() - 1, whole.len() - 15, whole.len() - 20] {
            fs::write(&path, &whole[..cut]).unwrap();
            let (queue, trouble) = Queue::open(dir.path(), 1 << 30).unwrap();
            assert!(trouble[0].contains("cut off at byte 25"), "{trouble:?}");
            assert_eq!(bodies(&queue), [b"whole".to_vec()]);
        }
    }

    #[test]
    fn a_damaged_file_costs_what_is_behind_it_in_this_file() {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path());
        let large = vec![7; FILE_BYTES as usize / 2 + 1];
        queue.append(1, b"good").unwrap();
        queue.append(1, &large).unwrap();
        queue.append(1, &large).unwrap();
        let path = file_path(dir.path(), 1);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 100;
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        let window = queue.read(usize::MAX).unwrap();
        assert_eq!(window.bodies.len(), 1);
        assert!(window.damage.unwrap().contains("another checksum at byte 24"));
        queue.advance(window.end, 8).unwrap();
        assert_eq!(queue.read(usize::MAX).unwrap().bodies, [(1, large)]);
        fs::write(dir.path().join("position"), b"nonsense").unwrap();
        drop(queue);
        let (_, trouble) = Queue::open(dir.path(), 1 << 30).unwrap();
        assert!(trouble.iter().any(|text| text.contains("no position of a queue")), "{trouble:?}");
    }

    #[test]
    fn the_oldest_goes_when_it_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let (queue, _) = Queue::open(dir.path(), 3 * FILE_BYTES).unwrap();
        let body = vec![1; FILE_BYTES as usize - 100];
        let mut dropped = 0;
        for _ in 0..5 {
            dropped += queue.append(10, &body).unwrap().samples;
        }
        let (waiting, bytes) = queue.waiting();
        assert_eq!(dropped + waiting, 50);
        assert!(dropped == 20 || dropped == 30, "{dropped}");
        assert!(bytes <= 3 * FILE_BYTES, "{bytes}");
        assert_eq!(bodies(&queue).len() as u64 * 10, waiting);
    }

    #[test]
    fn what_is_no_file_of_a_queue_is_removed_and_its_number_not_used_again() {
        let dir = tempfile::tempdir().unwrap();
        let queue = open(dir.path());
        queue.append(1, b"one").unwrap();
        let mut end = queue.read(usize::MAX).unwrap().end;
        queue.advance(end, 1).unwrap();
        drop(queue);
        for broken in [&b""[..], b"BSTD", b"something else, and longer"] {
            fs::write(file_path(dir.path(), end.file), broken).unwrap();
            let (queue, trouble) = Queue::open(dir.path(), 1 << 30).unwrap();
            assert!(trouble.iter().any(|text| text.contains("is removed")), "{trouble:?}");
            queue.append(1, b"x").unwrap();
            assert_eq!(bodies(&queue).last().unwrap(), b"x");
            end = queue.read(usize::MAX).unwrap().end;
            queue.advance(end, 1).unwrap();
        }
    }

    /// A file system of a few MiB; gone when dropped.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Option<Self> {
            let dir = tempfile::tempdir().unwrap();
            let mount = std::process::Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=20m", "tmpfs"])
                .arg(dir.path())
                .output();
            mount.is_ok_and(|mounted| mounted.status.success()).then_some(Self(dir))
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount").arg("--lazy").arg(self.0.path()).status();
        }
    }

    /// The disk is full wherever a file ends and the next one begins: each append
    /// says so, and when there is room again they go on by themselves.
    #[test]
    #[allow(clippy::print_stderr)] // A test says what it leaves out.
    fn a_full_disk_costs_what_comes_meanwhile_and_no_more() {
        let Some(disk) = SmallDisk::mount() else {
            eprintln!("skipped: mounting a small file system needs root");
            return;
        };
        let (dir, ballast) = (disk.0.path().join("queue"), disk.0.path().join("ballast"));
        let mut queue = open(&dir);
        let body = vec![7; 1 << 20];
        let mut taken = 0;
        for room in [0, 2, 5, 7, 8, 9] {
            // Full after so many MiB.
            let fill = |bytes: usize| {
                let mut file = File::create(&ballast).unwrap();
                while file.write_all(&vec![1; bytes]).is_ok() {}
            };
            fill(64 << 10);
            fs::OpenOptions::new()
                .write(true)
                .open(&ballast)
                .and_then(|file| file.set_len(file.metadata()?.len().saturating_sub(room << 20)))
                .unwrap();
            let (mut stored, mut failed) = (0, 0);
            for _ in 0..20 {
                match queue.append(1, &body) {
                    Ok(dropped) => stored += 1 - dropped.samples,
                    Err(error) => {
                        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{error}");
                        failed += 1;
                    }
                }
            }
            assert!(failed > 0, "the disk was not full");
            // One that begins on the full disk has what waits, too.
            let waiting = queue.waiting().0;
            drop(queue);
            queue = Queue::open(&dir, 1 << 30).unwrap().0;
            assert_eq!(queue.waiting().0, waiting);
            fs::remove_file(&ballast).unwrap();
            queue.append(1, &body).unwrap();
            taken += stored + 1;
            assert_eq!(queue.waiting().0, taken, "{room}");
            while queue.is_waiting() {
                let window = queue.read(4 << 20).unwrap();
                queue.advance(window.end, window.bodies.len() as u64).unwrap();
                taken -= window.bodies.len() as u64;
            }
            assert_eq!(taken, 0);
        }
    }

    #[tokio::test]
    async fn waiting_ends_with_an_append() {
        let dir = tempfile::tempdir().unwrap();
        let queue = std::sync::Arc::new(open(dir.path()));
        let waiter = tokio::spawn({
            let queue = queue.clone();
            async move { queue.wait().await }
        });
        tokio::task::yield_now().await;
        queue.append(1, b"x").unwrap();
        waiter.await.unwrap();
    }
}
