//! Access logs: read, counted, kept for searching.
//!
//! The work is `monitor-logs`'; here are its tasks. A log is looked at when inotify
//! tells of its folder, and every few seconds whatever inotify tells: some file
//! systems tell nothing. At the scrape interval, how far was read is saved together
//! with what was counted, and then the counts go to the store under `job="logs"`: in
//! that order, so that no counter goes back after `kill -9`.

mod give;
mod spec;

pub(crate) use spec::spec;

use crate::scrape::Go;
use crate::state::{State, lock};
use base::names;
use give::Giver;
use monitor_logs::archive::{self, Kept};
use monitor_logs::count::Limits;
use monitor_logs::follow::Watch;
use monitor_logs::reader::{Reader, Settings};
use role::{Counter, Gauge};
use site::{Log, LogFormat};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

/// Between two looks where inotify works.
const LOOK: Duration = Duration::from_secs(2);

/// Between two looks where it does not.
const POLL: Duration = Duration::from_millis(500);

/// A log that is written to without a pause is looked at this often.
const PAUSE: Duration = Duration::from_millis(100);

/// Between two times that old lines are removed.
const BOUND: Duration = Duration::from_secs(60);

/// What is kept of all logs, by name, for searches and upkeep.
pub(crate) type Archives = Mutex<BTreeMap<String, Kept>>;

/// The task of one log.
pub(crate) struct Task {
    log: Log,
    /// Where checkpoint and archive are.
    dir: PathBuf,
    state: Arc<State>,
    reader: Option<Reader>,
    giver: Giver,
    folders: Vec<PathBuf>,
    bounded: Option<Instant>,
    ok: Arc<Counter>,
    malformed: Arc<Counter>,
    lost: Arc<Counter>,
    bytes: Arc<Gauge>,
}

impl Task {
    /// A task for `log`, with its files in a folder of its own below `dir`.
    pub(crate) fn new(log: Log, dir: &Path, state: Arc<State>) -> Self {
        // The name is the operator's; as a file name it is its fingerprint.
        let dir = dir.join("logs").join(folder(&log));
        let lines = state.registry.counter(&names::MONITOR_LOG_LINES);
        Self {
            giver: Giver::new(&log.name, &state),
            ok: lines.with(&[&log.name, "ok"]),
            malformed: lines.with(&[&log.name, "malformed"]),
            lost: state.registry.counter(&names::MONITOR_LOG_LOST).with(&[&log.name]),
            bytes: state.registry.gauge(&names::MONITOR_LOG_BYTES).with(&[&log.name]),
            log,
            dir,
            state,
            reader: None,
            folders: Vec::new(),
            bounded: None,
        }
    }

    /// Reads until told otherwise; gives the counts to the store every `interval`.
    pub(crate) async fn run(mut self, interval: Duration, mut go: watch::Receiver<Go>) {
        let mut told = Told::new();
        let mut next_sample = tokio::time::Instant::now();
        loop {
            let due = tokio::time::Instant::now() >= next_sample;
            if due {
                next_sample = tokio::time::Instant::now() + interval;
            }
            let state = *go.borrow();
            let ended = state != Go::On;
            let work = tokio::task::spawn_blocking(move || {
                let more = self.look();
                if due || ended {
                    self.save_and_give(state == Go::Removed);
                }
                (self, more)
            });
            let more;
            (self, more) = match work.await {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            };
            if ended {
                return;
            }
            if more {
                continue;
            }
            told.follow(&self.folders);
            let wait = tokio::time::Instant::now() + if told.works() { LOOK } else { POLL };
            tokio::select! {
                // Only whether it ended is asked, above.
                _ = go.changed() => {}
                () = tokio::time::sleep_until(wait.min(next_sample)) => {}
                () = told.changed() => tokio::time::sleep(PAUSE).await,
            }
        }
    }

    /// Reads what there is. Tells whether there is more.
    fn look(&mut self) -> bool {
        let name = self.log.name.clone();
        let wanted = self.settings();
        let keeps = self.reader.as_ref().is_some_and(|reader| reader.kept().is_some());
        if self.reader.is_some() && keeps != wanted.archive.is_some() {
            self.close();
        }
        if self.reader.is_none() && !self.open(&wanted) {
            return false;
        }
        let Some(reader) = &mut self.reader else { return false };
        let looked = reader.look(sys::clock::monotonic_ms(), sys::clock::now_ms() as i64);
        self.folders = reader.folders();
        self.ok.add(looked.read);
        self.malformed.add(looked.unparsed);
        self.lost.add(looked.lost);
        let trouble =
            looked.trouble.map(|why| format!("`{}` {why}", self.log.path.display())).or_else(|| {
                (looked.left_out > 0).then(|| {
                    format!(
                        "`{}` names {} files more than are read; hint: give several logs narrower patterns",
                        self.log.path.display(),
                        looked.left_out
                    )
                })
            });
        // What may not be read is tried again; its lines stay where they are.
        let mut troubles = lock(&self.state.log_trouble);
        match trouble {
            Some(why) => drop(troubles.insert(name, why)),
            None => drop(troubles.remove(&name)),
        }
        looked.more
    }

    fn settings(&self) -> Settings {
        let plan = self.state.plan();
        Settings {
            pattern: self.log.path.clone(),
            spec: spec(&self.log.format),
            // Our own log began with us; a foreign one may hold years.
            skip_existing: self.log.format != LogFormat::Bastide,
            limits: Limits::default(),
            archive: (plan.site.log_archive.retention.0 > 0).then(|| archive::Settings {
                // Whole segments are removed, so that there are several in the whole.
                segment_bytes: (plan.site.log_archive.bytes.0 / 16).min(16 << 20),
                ..archive::Settings::default()
            }),
        }
    }

    fn open(&mut self, settings: &Settings) -> bool {
        match Reader::open(settings, &self.dir, sys::random::u64()) {
            Ok((reader, damage)) => {
                let name = &self.log.name;
                lock(&self.state.trouble)
                    .extend(damage.into_iter().map(|what| format!("log `{name}`: {what}")));
                if let Some(kept) = reader.kept() {
                    lock(&self.state.archives).insert(name.clone(), kept);
                }
                self.reader = Some(reader);
                true
            }
            Err(error) => {
                let what = format!("log `{}`: {error}", self.log.name);
                lock(&self.state.log_trouble).insert(self.log.name.clone(), what);
                false
            }
        }
    }

    /// Saves, and forgets the reader: it is opened anew at the next look.
    fn close(&mut self) {
        if let Some(mut reader) = self.reader.take() {
            self.lost.add(reader.save().0);
        }
        lock(&self.state.archives).remove(&self.log.name);
    }

    /// Saves how far was read; then gives the counts to the store. Those of a log that
    /// left the revision are over.
    fn save_and_give(&mut self, over: bool) {
        let Some(reader) = &mut self.reader else { return };
        let (lost, saved) = reader.save();
        self.lost.add(lost);
        if let Err(error) = saved {
            let what = format!("`{}` is read, but how far cannot be saved: {error}", self.log.path.display());
            lock(&self.state.log_trouble).insert(self.log.name.clone(), what);
        }
        self.giver.give(reader.counts(), sys::clock::now_ms() as i64, over);
        if let Some(kept) = reader.kept() {
            self.bytes.set(kept.bytes() as f64);
        }
        if over {
            lock(&self.state.log_trouble).remove(&self.log.name);
            lock(&self.state.archives).remove(&self.log.name);
        }
        if self.bounded.is_none_or(|last| last.elapsed() >= BOUND) {
            self.bounded = Some(Instant::now());
            bound(&self.state);
            if let Some(all) = self.dir.parent() {
                forget(&self.state, all);
            }
        }
    }
}

/// Removes lines that are too old or too many, of all logs together.
fn bound(state: &State) {
    let archives = lock(&state.archives);
    let all: Vec<Kept> = archives.values().cloned().collect();
    let limits = state.plan().site.log_archive.clone();
    state.look_at_clock();
    // A clock that jumped is not believed at once: size alone removes lines then.
    let since_ms = match state.clock.is_unsettled() {
        true => i64::MIN,
        false => (sys::clock::now_ms() as i64).saturating_sub_unsigned(limits.retention.0),
    };
    let removed = archive::bound(&all, since_ms, limits.bytes.0);
    drop(archives);
    let mut trouble = lock(&state.trouble);
    trouble.retain(|text| !text.starts_with(BOUND_FAILED));
    if let Err(error) = removed {
        trouble.push(format!("{BOUND_FAILED}{error}"));
    }
}

/// The name of a log's folder.
fn folder(log: &Log) -> String {
    let print = monitor_alert::fingerprint(&[(log.name.clone(), log.path.display().to_string())]);
    format!("{print:016x}")
}

/// Removes what was kept of logs that left the revision, once it is too old: they may
/// come back before.
fn forget(state: &State, all: &Path) {
    if state.clock.is_unsettled() {
        return;
    }
    let plan = state.plan();
    let known: Vec<String> = plan.site.logs.iter().map(folder).collect();
    let Ok(folders) = std::fs::read_dir(all) else { return };
    for found in
        folders.flatten().filter(|found| !known.contains(&found.file_name().to_string_lossy().into_owned()))
    {
        // The checkpoint is written whenever a line was read.
        let last = std::fs::metadata(found.path().join("checkpoint")).and_then(|m| m.modified());
        let age = last.ok().and_then(|last| last.elapsed().ok());
        if age.is_some_and(|age| age > plan.site.log_archive.retention.duration()) {
            // Tried again in a minute, if it cannot be.
            let _ = std::fs::remove_dir_all(found.path());
        }
    }
}

/// How trouble in [`bound`] begins, so that it goes when the next call succeeds.
const BOUND_FAILED: &str = "old log lines cannot be removed: ";

/// What inotify tells, where it works.
struct Told {
    watch: Option<(Watch, AsyncFd<OwnedFd>)>,
    whole: bool,
}

impl Told {
    fn new() -> Self {
        let watch = Watch::new().and_then(|watch| {
            let fd = watch.as_fd().try_clone_to_owned()?;
            // Its deprecation is about types whose descriptor may change; an `OwnedFd`'s cannot.
            #[expect(deprecated)]
            let ready = AsyncFd::with_interest(fd, Interest::READABLE)?;
            Ok((watch, ready))
        });
        Self { watch: watch.ok(), whole: false }
    }

    fn follow(&mut self, folders: &[PathBuf]) {
        let Some((watch, _)) = &mut self.watch else { return };
        self.whole = watch.follow(folders).is_ok();
    }

    /// Whether all folders are watched.
    fn works(&self) -> bool {
        self.watch.is_some() && self.whole
    }

    /// When something changed; never, where inotify does not work.
    async fn changed(&self) {
        let Some((watch, ready)) = &self.watch else { return std::future::pending().await };
        let Ok(mut ready) = ready.readable().await else { return std::future::pending().await };
        // An error here comes again at the next look, which is made anyway.
        let _ = watch.drain();
        ready.clear_ready();
    }
}
