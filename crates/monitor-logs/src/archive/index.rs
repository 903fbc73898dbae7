//! What writer and readers share.

use super::frame::{Head, Open};
use super::segment::{Frame, Segment};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// An archive as others than its writer see it: for searches, and to remove what is old.
#[derive(Clone, Debug)]
pub struct Kept(pub(super) Arc<Shared>);

#[derive(Debug)]
pub(super) struct Shared {
    /// How lines are written now.
    pub(super) spec: String,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    segments: VecDeque<Arc<Segment>>,
    frames: VecDeque<Frame>,
    open: Open,
    /// The open frame's number.
    next: u64,
}

/// What a search looks at.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) frames: VecDeque<Frame>,
    pub(super) open: Open,
    /// The open frame's number and its lines' spec.
    pub(super) next: u64,
    pub(super) spec: String,
}

impl Shared {
    pub(super) fn new(
        spec: &str,
        segments: VecDeque<Arc<Segment>>,
        frames: VecDeque<Frame>,
        open: Open,
    ) -> Self {
        let next = frames.back().map_or(0, |frame| frame.head.sequence + 1);
        Self { spec: spec.to_owned(), inner: Mutex::new(Inner { segments, frames, open, next }) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let inner = self.lock();
        Snapshot {
            frames: inner.frames.clone(),
            open: inner.open.clone(),
            next: inner.next,
            spec: self.spec.clone(),
        }
    }

    pub(super) fn open(&self) -> Open {
        self.lock().open.clone()
    }

    pub(super) fn open_bytes(&self) -> usize {
        self.lock().open.text.len()
    }

    pub(super) fn open_lines(&self) -> u32 {
        self.lock().open.lines()
    }

    pub(super) fn extend(&self, more: &Open) {
        self.lock().open.extend(more);
    }

    pub(super) fn set_open(&self, open: Open) {
        let mut inner = self.lock();
        inner.open = open;
        inner.next = inner.frames.back().map_or(0, |frame| frame.head.sequence + 1);
    }

    pub(super) fn frame(&self, sequence: u64) -> Option<Frame> {
        let inner = self.lock();
        let at = inner.frames.binary_search_by_key(&sequence, |frame| frame.head.sequence).ok()?;
        inner.frames.get(at).cloned()
    }

    pub(super) fn last_segment(&self) -> Option<Arc<Segment>> {
        self.lock().segments.back().cloned()
    }

    /// The open frame is a frame of `segment` now.
    pub(super) fn sealed(&self, segment: Arc<Segment>, offset: u64, head: Head) {
        let mut inner = self.lock();
        if inner.segments.back().is_none_or(|last| last.path != segment.path) {
            inner.segments.push_back(segment.clone());
        }
        inner.frames.push_back(Frame { segment, offset, head });
        inner.open = Open::default();
        inner.next = head.sequence + 1;
    }

    /// Removes the frames from `sequence` on.
    pub(super) fn cut_from(&self, sequence: u64) -> io::Result<()> {
        let mut inner = self.lock();
        // The last first: a crash between leaves frames without a gap.
        while let Some(last) = inner.frames.back().filter(|frame| frame.head.sequence >= sequence).cloned() {
            last.segment.cut(last.offset)?;
            inner.frames.pop_back();
        }
        let used = inner.frames.back().map(|frame| frame.segment.path.clone());
        while let Some(segment) = inner.segments.back().filter(|s| Some(&s.path) != used.as_ref()) {
            std::fs::remove_file(&segment.path)?;
            inner.segments.pop_back();
        }
        Ok(())
    }
}

impl Kept {
    /// Bytes on the disk.
    pub fn bytes(&self) -> u64 {
        let inner = self.0.lock();
        inner.segments.iter().map(|segment| segment.length()).sum::<u64>() + inner.open.text.len() as u64
    }

    /// Lines kept.
    pub fn lines(&self) -> u64 {
        let inner = self.0.lock();
        let sealed: u64 = inner.frames.iter().map(|frame| u64::from(frame.head.summary.lines)).sum();
        sealed + u64::from(inner.open.lines())
    }

    /// The time of the oldest line, in Unix milliseconds.
    pub fn oldest_ms(&self) -> Option<i64> {
        let inner = self.0.lock();
        let open = inner.open.summary().min_ms;
        let frames = inner.frames.iter().map(|frame| frame.head.summary.min_ms);
        frames.chain([open]).min().filter(|at| *at != i64::MAX)
    }

    /// The newest time in the oldest segment, where that may be removed: the one that
    /// is written to stays.
    fn oldest_segment(&self) -> Option<i64> {
        let inner = self.0.lock();
        let first = inner.segments.front().filter(|_| inner.segments.len() > 1)?;
        let own = inner.frames.iter().take_while(|frame| frame.segment.path == first.path);
        Some(own.map(|frame| frame.head.summary.max_ms).max().unwrap_or(i64::MIN))
    }

    fn remove_oldest(&self) -> io::Result<()> {
        let mut inner = self.0.lock();
        let Some(first) = inner.segments.front().cloned() else { return Ok(()) };
        // Who searches it has it open.
        match std::fs::remove_file(&first.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        inner.segments.pop_front();
        inner.frames.retain(|frame| frame.segment.path != first.path);
        Ok(())
    }
}

/// Removes the oldest segments of all archives together, until none has only lines
/// older than `since_ms` and their bytes are at most `limit` (0 is no limit). Gives
/// how many were removed.
pub fn bound(archives: &[Kept], since_ms: i64, limit: u64) -> io::Result<u64> {
    let mut removed = 0;
    loop {
        let oldest =
            archives.iter().filter_map(|kept| Some((kept.oldest_segment()?, kept))).min_by_key(|(at, _)| *at);
        let Some((at, kept)) = oldest else { return Ok(removed) };
        let total: u64 = archives.iter().map(Kept::bytes).sum();
        if at >= since_ms && (limit == 0 || total <= limit) {
            return Ok(removed);
        }
        kept.remove_oldest()?;
        removed += 1;
    }
}
