//! Following files that grow, are renamed, are cut, disappear and come back.
//!
//! What is followed is content, not names: each file is known by device and inode,
//! by how it begins, and by what stands before the place up to which it was read.
//! These [`Places`] are saved together with what was counted up to there; then
//! neither a rotation nor `kill -9` loses or doubles a line.
//!
//! - **Renamed** (`access.log` → `access.log.1`): the open file is read on, until it
//!   was quiet for [`LINGER_MS`]; its writer may have it open for a while.
//! - **Copied and cut** (logrotate's `copytruncate`): what was not read before the cut
//!   is read from the copy, which is found among the rotated files.
//! - **Rotated several times while nobody looked**: the files between are found by
//!   their times, and read from their beginning.

mod files;
mod glob;
#[cfg(test)]
mod simulation;
mod stream;
mod watch;

pub use files::{Disk, Files, Stat};
pub use glob::folders;
pub use stream::{Piece, Place};
pub use watch::Watch;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use stream::{State, Stream};

/// A file that nothing names any more is read on until it was quiet for this long.
pub const LINGER_MS: u64 = 300_000;

/// Files followed at once by one pattern.
pub const MAX_FILES: usize = 256;

/// Finished files that are remembered for each name, so that none is read twice.
const REMEMBERED: usize = 16;

/// Between two looks at the rotated files.
const LOOK_ASIDE_MS: u64 = 1_000;

/// Bytes read in one [`Follower::poll`], so that a backlog does not keep a thread
/// for minutes.
const MAX_POLL: u64 = 64 << 20;

/// Where reading stands: all that must be saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// One for each file that is known.
    pub files: Vec<Place>,
    /// For a name, the time (nanoseconds) before which rotated files of it are not
    /// ours to read: those that were there before us, and those that were forgotten.
    pub since_ns: BTreeMap<PathBuf, i64>,
}

/// Follows the files that one pattern names.
#[derive(Debug)]
pub struct Follower<F: Files = Disk> {
    files: F,
    pattern: PathBuf,
    streams: Vec<Stream<F::File>>,
    since_ns: BTreeMap<PathBuf, i64>,
    /// What is found at the first look is read from its end.
    skip_existing: bool,
    first: bool,
    /// When the rotated files were looked at last.
    aside_ms: Option<u64>,
    /// Files that match beyond [`MAX_FILES`].
    left_out: usize,
    buffer: Vec<u8>,
}

impl Follower<Disk> {
    /// Goes on at `places`. Without them, a file that exists already is read from its
    /// beginning, or from its end where `skip_existing`.
    pub fn new(pattern: PathBuf, places: Option<Places>, skip_existing: bool) -> Self {
        Self::with_files(Disk, pattern, places, skip_existing)
    }
}

impl<F: Files> Follower<F> {
    /// The same in another file system.
    pub fn with_files(files: F, pattern: PathBuf, places: Option<Places>, skip_existing: bool) -> Self {
        let first = places.is_none();
        let places = places.unwrap_or_default();
        let streams = places.files.into_iter().map(Stream::saved).collect();
        Self {
            files,
            pattern,
            streams,
            since_ns: places.since_ns,
            skip_existing,
            first,
            aside_ms: None,
            left_out: 0,
            buffer: Vec::new(),
        }
    }

    /// Where reading stands: all lines before were given.
    pub fn places(&self) -> Places {
        let files = self.streams.iter().map(|s| s.place.clone()).collect();
        Places { files, since_ns: self.since_ns.clone() }
    }

    /// Files that match the pattern but are beyond [`MAX_FILES`], so are not read.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The folders to [`Watch`].
    pub fn folders(&self) -> Vec<PathBuf> {
        folders(&self.files, &self.pattern)
    }

    /// Gives every complete line there is now, up to 64 MiB. Tells whether there is
    /// more already. `now_ms` is any clock that does not go back. After an error the
    /// lines before were given, [`Follower::places`] says so, and the next call goes on.
    pub fn poll(&mut self, now_ms: u64, mut each: impl FnMut(Piece<'_>)) -> io::Result<bool> {
        let mut failed = None;
        let mut pending = Vec::new();
        let mut changed = false;
        match self.look(&mut pending) {
            Ok(new) => changed = new,
            Err(error) => failed = Some(error),
        }
        let mut budget = MAX_POLL;
        let mut more = self.read_all(&mut budget, &mut changed, &mut failed, &mut each);
        // Rotated files are judged by what was read of their originals, so after that.
        let due = self.aside_ms.is_none_or(|last| now_ms.saturating_sub(last) >= LOOK_ASIDE_MS);
        if budget > 0 && (due || changed || !pending.is_empty()) {
            self.aside_ms = Some(now_ms);
            if let Err(error) = self.look_aside(&pending) {
                failed.get_or_insert(error);
            }
            more = self.read_all(&mut budget, &mut changed, &mut failed, &mut each);
        }
        self.retire(now_ms);
        match failed {
            Some(error) => Err(error),
            None => Ok(more),
        }
    }

    /// Reads all streams; tells whether the budget ended before they did.
    fn read_all(
        &mut self,
        budget: &mut u64,
        changed: &mut bool,
        failed: &mut Option<io::Error>,
        each: &mut impl FnMut(Piece<'_>),
    ) -> bool {
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut at = 0;
        while at < self.streams.len() && *budget > 0 {
            match self.read(at, budget, &mut buffer, each) {
                // Cut: it is read again, from its start; its copy was added behind.
                Ok(true) => *changed = true,
                Ok(false) => at += 1,
                Err(error) => {
                    failed.get_or_insert(error);
                    at += 1;
                }
            }
        }
        self.buffer = buffer;
        *budget == 0 || at < self.streams.len()
    }

    /// Finds out which files the pattern names. Those that are new are taken up, or
    /// are `pending` where their names are those of rotated files. Tells whether one
    /// was taken up.
    fn look(&mut self, pending: &mut Vec<(PathBuf, PathBuf)>) -> io::Result<bool> {
        let matched = glob::matches(&self.files, &self.pattern)?;
        self.streams.iter_mut().for_each(|stream| stream.named = false);
        self.left_out = 0;
        self.reopen(&matched)?;
        let mut unknown = Vec::new();
        let mut failed = None;
        for path in &matched {
            match self.files.stat(path) {
                Ok(Some(stat)) => match self.known(path, stat, true) {
                    Ok(true) => {}
                    Ok(false) => unknown.push((stat.modified_ns, path.clone())),
                    Err(error) => failed = Some(error),
                },
                Ok(None) => {}
                Err(error) => failed = Some(error),
            }
        }
        // The oldest first, so that lines come in order as far as that can be.
        unknown.sort();
        let any = !unknown.is_empty();
        for (_, path) in unknown {
            let origin = self.origin_of(&path, &matched);
            let added = if self.first {
                self.begin_first(&path, &origin, &matched)
            } else if origin != path {
                pending.push((path, origin));
                Ok(())
            } else {
                self.begin(&path, &path, Begin::AtStart)
            };
            failed = failed.or(added.err());
        }
        self.first &= failed.is_some();
        failed.map_or(Ok(any), Err)
    }

    /// The name that `path` was rotated from: itself, unless there is one that it is
    /// named after.
    fn origin_of(&self, path: &Path, matched: &[PathBuf]) -> PathBuf {
        let names = matched.iter().chain(self.streams.iter().map(|s| &s.place.origin));
        let origin =
            names.filter(|other| named_after(path, other)).min_by_key(|other| other.as_os_str().len());
        // Between a renaming and the new file, nothing has the name itself.
        origin.cloned().unwrap_or_else(|| without_number(path))
    }

    /// At the very first look, what is there already is ours or not; rotated files
    /// are not.
    fn begin_first(&mut self, path: &Path, origin: &Path, matched: &[PathBuf]) -> io::Result<()> {
        self.begin(path, origin, if self.skip_existing { Begin::AtEnd } else { Begin::AtStart })?;
        for rotated in glob::rotated(&self.files, path)? {
            // Those that match by themselves are taken as the pattern says.
            if !matched.contains(&rotated) {
                self.begin(&rotated, path, Begin::Done)?;
            }
        }
        Ok(())
    }

    /// Whether the file at `path` is one that we know; notes where it is now.
    fn known(&mut self, path: &Path, stat: Stat, named: bool) -> io::Result<bool> {
        let Some(at) = self.streams.iter().position(|s| s.is_file(&stat)) else { return Ok(false) };
        let stream = &mut self.streams[at];
        let unchanged = stat.modified_ns == stream.place.modified_ns && stat.length == stream.place.offset;
        if stream.place.state != State::Live && !unchanged {
            // An inode is used again: a finished file is known by its content, too.
            let Some(file) = self.files.open(path)? else { return Ok(true) };
            if !stream.place.is_known_by(&self.files, &file)? {
                stream.forget();
                return Ok(false);
            }
            stream.place.modified_ns = stat.modified_ns;
            if stream.place.state == State::Done && stat.length > stream.place.offset {
                stream.place.state = State::Live;
                stream.file = Some(file);
                stream.quiet_since_ms = None;
            }
        }
        stream.named |= named && path == stream.place.origin;
        if stream.place.path != path {
            stream.place.path = path.to_owned();
        }
        Ok(true)
    }

    /// Looks at the rotated files of all names that are read, and at `pending` ones
    /// that the pattern names itself. What came and went while nobody looked is read
    /// from its start.
    fn look_aside(&mut self, pending: &[(PathBuf, PathBuf)]) -> io::Result<()> {
        let mut origins: Vec<PathBuf> = self.streams.iter().map(|s| s.place.origin.clone()).collect();
        origins.sort();
        origins.dedup();
        let mut new = Vec::new();
        for origin in origins {
            let since_ns = self.since_ns.get(&origin).copied().unwrap_or(i64::MIN);
            for path in glob::rotated(&self.files, &origin)? {
                if let Some(stat) = self.files.stat(&path)?
                    && stat.modified_ns >= since_ns
                    && !self.known(&path, stat, false)?
                {
                    new.push((stat.modified_ns, path, origin.clone()));
                }
            }
        }
        for (path, origin) in pending {
            if let Some(stat) = self.files.stat(path)?
                && !new.iter().any(|(_, known, _)| known == path)
            {
                new.push((stat.modified_ns, path.clone(), origin.clone()));
            }
        }
        new.sort();
        for (_, path, origin) in new {
            match self.judge(&path)? {
                Verdict::New => self.begin(&path, &origin, Begin::AtStart)?,
                Verdict::Copy => self.begin(&path, &origin, Begin::Copy)?,
                Verdict::Later => {}
            }
        }
        Ok(())
    }

    /// Whether the file at `path` is a copy of one that is read.
    fn judge(&self, path: &Path) -> io::Result<Verdict> {
        let Some(file) = self.files.open(path)? else { return Ok(Verdict::Later) };
        let length = self.files.stat_file(&file)?.length;
        if length == 0 {
            return Ok(Verdict::Later); // There is nothing to read, or to compare.
        }
        let mut verdict = Verdict::New;
        for stream in self.streams.iter().filter(|s| named_after(path, &s.place.origin)) {
            let place = &stream.place;
            if place.state == State::Copy {
                continue; // Its original is among them.
            }
            if place.head.is_empty() {
                // Of the original nothing was read, so it cannot be told; soon it can.
                if let Some(original) = &stream.file
                    && self.files.stat_file(original)?.length > 0
                {
                    verdict = Verdict::Later;
                }
                continue;
            }
            if length >= place.offset {
                if place.is_content_of(&self.files, &file)? {
                    return Ok(Verdict::Copy);
                }
                continue;
            }
            // Perhaps a copy under way: it is judged when it is whole, or looked for when
            // its original is cut.
            let begins = match &stream.file {
                Some(original) => stream::begins_with(&self.files, original, &file, length)?,
                None => place.begins(&self.files, &file)?,
            };
            if begins {
                verdict = Verdict::Later;
            }
        }
        Ok(verdict)
    }

    fn begin(&mut self, path: &Path, origin: &Path, begin: Begin) -> io::Result<()> {
        let live = self.streams.iter().filter(|s| s.place.state == State::Live).count();
        if live >= MAX_FILES && begin != Begin::Done {
            self.left_out += 1;
            return Ok(());
        }
        let Some(file) = self.files.open(path)? else { return Ok(()) };
        let stat = self.files.stat_file(&file)?;
        if self.streams.iter().any(|s| s.is_file(&stat)) {
            return Ok(()); // Renamed since it was listed.
        }
        let offset = match begin {
            Begin::AtStart => 0,
            Begin::AtEnd => stream::end_of_last_line(&self.files, &file, stat.length)?,
            Begin::Done | Begin::Copy => stat.length,
        };
        let mut stream = Stream::new(path, origin, stat, offset);
        stream.place.note(&self.files, &file)?;
        stream.place.state = match begin {
            Begin::Done => State::Done,
            Begin::Copy => State::Copy,
            Begin::AtStart | Begin::AtEnd => State::Live,
        };
        stream.named = path == origin;
        stream.file = (stream.place.state == State::Live).then_some(file);
        self.streams.push(stream);
        Ok(())
    }

    /// Opens the files of saved places, wherever they are now.
    fn reopen(&mut self, matched: &[PathBuf]) -> io::Result<()> {
        let mut gone = Vec::new();
        for at in 0..self.streams.len() {
            let stream = &self.streams[at];
            if stream.file.is_some() || stream.place.state != State::Live {
                continue;
            }
            let mut paths = vec![stream.place.path.clone()];
            paths.extend(glob::rotated(&self.files, &stream.place.origin).unwrap_or_default());
            paths.extend_from_slice(matched);
            let mut denied = false;
            let found = paths.into_iter().find_map(|path| {
                let stat = self.files.stat(&path).ok()??;
                if !stream.is_file(&stat) {
                    return None;
                }
                let Ok(file) = self.files.open(&path) else {
                    denied = true; // It is there, and may be readable later.
                    return None;
                };
                let file = file?;
                // Under its own name it was cut, or is a new file of the same number: read
                // from the start either way. A rotated one is never cut, so it is another.
                let same = path == stream.place.origin
                    || stream.place.is_known_by(&self.files, &file).is_ok_and(|same| same);
                same.then_some((file, path))
            });
            let stream = &mut self.streams[at];
            match found {
                Some((file, path)) => {
                    stream.file = Some(file);
                    stream.place.path = path;
                }
                // Removed or compressed meanwhile, or cut and then renamed: what it had
                // may be in a copy, or is lost.
                None if !denied => {
                    stream.place.state = State::Done;
                    gone.push(stream.place.clone());
                }
                None => {}
            }
        }
        gone.iter().try_for_each(|place| self.find_copy(place))
    }

    /// Reads the stream `at`. Tells whether it was cut: nothing was read then, it
    /// begins again, and its copy is among the streams.
    fn read(
        &mut self,
        at: usize,
        budget: &mut u64,
        buffer: &mut Vec<u8>,
        each: &mut impl FnMut(Piece<'_>),
    ) -> io::Result<bool> {
        let stream = &mut self.streams[at];
        if stream.place.state != State::Live || stream.file.is_none() {
            return Ok(false);
        }
        if !stream.was_cut(&self.files)? {
            stream.read(&self.files, budget, buffer, each)?;
            return Ok(false);
        }
        let cut = stream.place.clone();
        // First the new beginning: finding the copy may move streams about.
        stream.start_over();
        if let Err(error) = self.find_copy(&cut) {
            if let Some(stream) = self.streams.get_mut(at) {
                stream.place = cut; // Tried again at the next look.
            }
            return Err(error);
        }
        Ok(true)
    }

    /// After a cut: the copy that was made before it, if there is one, is read from
    /// where the original was read to.
    fn find_copy(&mut self, cut: &Place) -> io::Result<()> {
        for path in glob::rotated(&self.files, &cut.origin)? {
            let Some(stat) = self.files.stat(&path)? else { continue };
            self.known(&path, stat, false)?;
            let known = self.streams.iter().position(|s| s.is_file(&stat));
            let taken = known.is_some_and(|at| self.streams[at].place.state != State::Copy);
            let Some(file) = self.files.open(&path)? else { continue };
            if taken || !cut.is_known_by(&self.files, &file)? {
                continue;
            }
            let place = Place {
                path,
                device: stat.device,
                inode: stat.inode,
                modified_ns: stat.modified_ns,
                ..cut.clone()
            };
            let stream = Stream { file: Some(file), ..Stream::saved(place) };
            match known {
                Some(at) => self.streams[at] = stream,
                None => self.streams.push(stream),
            }
            return Ok(());
        }
        Ok(())
    }

    /// Closes files that nothing names any more and that were quiet for long, and
    /// forgets the oldest of those that are closed.
    fn retire(&mut self, now_ms: u64) {
        self.streams.retain(|stream| !stream.is_forgotten());
        let mut finished: BTreeMap<&Path, Vec<i64>> = BTreeMap::new();
        for stream in &mut self.streams {
            if stream.place.state == State::Live {
                let grew = std::mem::take(&mut stream.grew);
                if grew || stream.named || stream.quiet_since_ms.is_none() {
                    stream.quiet_since_ms = Some(now_ms);
                }
                let quiet = now_ms.saturating_sub(stream.quiet_since_ms.unwrap_or(now_ms));
                if !stream.named && quiet >= LINGER_MS {
                    stream.place.state = State::Done;
                    stream.file = None;
                }
            }
            if stream.place.state != State::Live {
                finished.entry(&stream.place.origin).or_default().push(stream.place.modified_ns);
            }
        }
        let mut forget: BTreeMap<PathBuf, i64> = BTreeMap::new();
        for (origin, mut times) in finished.into_iter().filter(|(_, times)| times.len() > REMEMBERED) {
            times.sort_unstable();
            forget.insert(origin.to_owned(), times[times.len() - REMEMBERED - 1] + 1);
        }
        if forget.is_empty() {
            return;
        }
        self.streams.retain(|stream| {
            let since = forget.get(&stream.place.origin).copied().unwrap_or(i64::MIN);
            stream.place.state == State::Live || stream.place.modified_ns >= since
        });
        self.since_ns.extend(forget);
    }
}

/// What a file is that is new to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    New,
    Copy,
    /// It cannot be told yet.
    Later,
}

/// `access.log.1` and `access.log-20261123` → `access.log`.
fn without_number(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let base = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match base.strip_suffix(['.', '-']).filter(|stem| base.len() < name.len() && !stem.is_empty()) {
        Some(stem) => path.with_file_name(stem),
        None => path.to_owned(),
    }
}

/// Whether `path` is a rotated file's name: that of `origin`, then `.` or `-` and more.
fn named_after(path: &Path, origin: &Path) -> bool {
    let (path, origin) = (path.as_os_str().as_encoded_bytes(), origin.as_os_str().as_encoded_bytes());
    path.strip_prefix(origin).is_some_and(|rest| rest.starts_with(b".") || rest.starts_with(b"-"))
}

/// Where a file that is new to us is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begin {
    AtStart,
    AtEnd,
    /// It was there before us and is over.
    Done,
    /// Its lines are read elsewhere.
    Copy,
}
