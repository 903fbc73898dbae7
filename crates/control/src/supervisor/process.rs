//! One supervised process: what is wanted of it and what it does.

use super::Settings;
use super::restart::Backoff;
use role::listeners;
use site::{ProcessSpec, StopSignal, UserClass};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use sys::process::{Handle, Spawn};

/// What a process does now.
#[derive(Debug)]
pub(super) enum State {
    /// It runs.
    Running {
        /// The process.
        handle: Handle,
        /// Since when, monotonic; none where it was adopted.
        since_ms: u64,
    },
    /// It was asked to end.
    Ending {
        /// The process.
        handle: Handle,
        /// When it is killed, monotonic.
        kill_at_ms: u64,
    },
    /// It is started at this time, monotonic.
    Waiting {
        /// When.
        at_ms: u64,
    },
    /// It has ended and is not wanted.
    Stopped,
}

/// A process and its history.
#[derive(Debug)]
pub(super) struct Process {
    /// What is wanted.
    pub(super) spec: ProcessSpec,
    /// What it was started with, while it runs.
    running: Option<ProcessSpec>,
    /// Times it was started again after it ended by itself.
    pub(super) restarts: u64,
    /// How it ended last.
    pub(super) last_end: Option<String>,
    state: State,
    wanted: bool,
    backoff: Backoff,
}

impl Process {
    pub(super) fn new(spec: ProcessSpec, now_ms: u64) -> Self {
        Self {
            spec,
            running: None,
            restarts: 0,
            last_end: None,
            state: State::Waiting { at_ms: now_ms },
            wanted: true,
            backoff: Backoff::default(),
        }
    }

    pub(super) fn adopted(spec: ProcessSpec, handle: Handle, restarts: u64) -> Self {
        let state = State::Running { handle, since_ms: 0 };
        let running = Some(spec.clone());
        Self { spec, running, restarts, last_end: None, state, wanted: true, backoff: Backoff::default() }
    }

    pub(super) fn state(&self) -> &State {
        &self.state
    }

    pub(super) fn handle(&self) -> Option<&Handle> {
        match &self.state {
            State::Running { handle, .. } | State::Ending { handle, .. } => Some(handle),
            State::Waiting { .. } | State::Stopped => None,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted
    }

    /// Ended and not wanted: nothing is left to do for it.
    pub(super) fn is_forgotten(&self) -> bool {
        !self.wanted && matches!(self.state, State::Stopped)
    }

    pub(super) fn is_due(&self, now_ms: u64) -> bool {
        self.wanted && matches!(self.state, State::Waiting { at_ms } if at_ms <= now_ms)
    }

    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Waiting { at_ms } => Some(at_ms),
            State::Ending { kill_at_ms, .. } => Some(kill_at_ms),
            State::Running { .. } | State::Stopped => None,
        }
    }

    /// Takes another specification; the name, where what runs differs from it.
    pub(super) fn want(&mut self, spec: ProcessSpec, now_ms: u64) -> Option<String> {
        let differs = self.spec != spec;
        self.spec = spec;
        self.wanted = true;
        match self.state {
            State::Stopped => self.state = State::Waiting { at_ms: now_ms },
            // It is asked for again while it waits: perhaps the cause is gone.
            State::Waiting { .. } if differs => self.state = State::Waiting { at_ms: now_ms },
            _ => {}
        }
        let outdated = self.handle().is_some() && self.running.as_ref() != Some(&self.spec);
        outdated.then(|| self.spec.name.clone())
    }

    /// What it was started with where it runs; otherwise what it will be started with.
    pub(super) fn running(&self) -> &ProcessSpec {
        self.running.as_ref().filter(|_| self.handle().is_some()).unwrap_or(&self.spec)
    }

    pub(super) fn unwant(&mut self) {
        self.wanted = false;
        if matches!(self.state, State::Waiting { .. }) {
            self.state = State::Stopped;
        }
    }

    pub(super) fn restart(&mut self, now_ms: u64) {
        self.wanted = true;
        self.backoff = Backoff::default();
        match self.state {
            State::Running { .. } | State::Ending { .. } => self.ask_to_end(now_ms),
            State::Waiting { .. } | State::Stopped => self.state = State::Waiting { at_ms: now_ms },
        }
    }

    /// Sends the signal that asks, once.
    pub(super) fn ask_to_end(&mut self, now_ms: u64) {
        self.state = match std::mem::replace(&mut self.state, State::Stopped) {
            State::Running { handle, .. } => {
                let signal = match self.spec.stop_signal {
                    StopSignal::Term => sys::process::TERM,
                    StopSignal::Int => sys::process::INT,
                };
                // A failure means that it has ended meanwhile; its pidfd says so next.
                let _ = handle.signal(signal);
                State::Ending { handle, kill_at_ms: now_ms + self.spec.stop_timeout.0 }
            }
            other => other,
        };
    }

    pub(super) fn kill_if_overdue(&mut self, now_ms: u64) {
        if matches!(self.state, State::Ending { kill_at_ms, .. } if kill_at_ms <= now_ms) {
            self.kill();
        }
    }

    pub(super) fn kill(&mut self) {
        if let State::Ending { kill_at_ms, .. } = &mut self.state {
            // Killed once: its end is certain now.
            *kill_at_ms = u64::MAX;
        }
        if let Some(handle) = self.handle() {
            let _ = handle.signal(sys::process::KILL);
        }
    }

    pub(super) fn started(&mut self, handle: Handle, now_ms: u64) {
        self.running = Some(self.spec.clone());
        self.state = State::Running { handle, since_ms: now_ms };
    }

    pub(super) fn failed_to_start(&mut self, why: &str, now_ms: u64) {
        self.last_end = Some(format!("could not be started: {why}"));
        // A start that fails is no faster the second time: begin with a wait.
        let wait = self.backoff.after_end(0).max(1_000);
        self.state = State::Waiting { at_ms: now_ms + wait };
    }

    /// Its pidfd says that it has ended. Returns how.
    pub(super) fn ended(&mut self, now_ms: u64) -> String {
        let previous = std::mem::replace(&mut self.state, State::Stopped);
        let (handle, ran_ms, asked) = match previous {
            State::Running { handle, since_ms } => (handle, now_ms.saturating_sub(since_ms), false),
            State::Ending { handle, .. } => (handle, 0, true),
            other => {
                self.state = other;
                return String::new();
            }
        };
        let how = handle.reap().unwrap_or_else(|| "an unknown status".to_owned());
        self.last_end = Some(how.clone());
        if self.wanted {
            let wait = if asked { 0 } else { self.backoff.after_end(ran_ms) };
            self.restarts += u64::from(!asked);
            self.state = State::Waiting { at_ms: now_ms + wait };
        }
        how
    }
}

/// Where a process' output goes.
pub(super) fn log_path(state_dir: &Path, name: &str) -> PathBuf {
    state_dir.join("log").join(format!("{}.log", name.replace('/', "-")))
}

/// The variables passed on from the supervisor's own environment.
const PASSED_ON: &[&str] = &["PATH", "LANG", "TZ"];

/// Writes its files and starts it. The error is a fragment for a message.
pub(super) fn spawn(
    spec: &ProcessSpec,
    sockets: Vec<(String, OwnedFd)>,
    settings: &Settings,
) -> Result<Handle, String> {
    let class = match spec.user {
        UserClass::Role => "role",
        UserClass::Database => "database",
        UserClass::App => "app",
        UserClass::Privileged => "privileged",
    };
    let identity = settings.users.get(class).copied();
    for dir in &spec.dirs {
        sys::file::make_dir(dir, 0o700)
            .and_then(|()| own(dir, identity))
            .map_err(|e| format!("`{}`: {e}", dir.display()))?;
    }
    for file in &spec.files {
        sys::file::write_atomic(&file.path, file.content.reveal().as_bytes(), 0o600)
            .and_then(|()| own(&file.path, identity))
            .map_err(|e| format!("`{}`: {e}", file.path.display()))?;
    }
    let log = log_path(&settings.state_dir, &spec.name);
    let output = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        // The folder is writable for the roles: root follows no link of theirs.
        .custom_flags(sys::file::NOFOLLOW)
        .open(&log)
        .map_err(|e| format!("its log `{}`: {e}", log.display()))?;
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            env.push((name.into(), value));
        }
    }
    env.push(("HOME".into(), spec.cwd.clone().into_os_string()));
    env.extend(spec.env.iter().map(|(name, value)| (name.into(), value.reveal().into())));
    if !sockets.is_empty() {
        let entries: Vec<String> =
            sockets.iter().map(|(name, fd)| format!("{name}={}", fd.as_raw_fd())).collect();
        env.push((listeners::VARIABLE.into(), entries.join(",").into()));
    }
    let spawn = Spawn {
        argv: spec.argv.iter().map(OsString::from).collect(),
        env,
        cwd: spec.cwd.clone(),
        identity,
        output,
        keep: sockets.into_iter().map(|(_, fd)| fd).collect(),
    };
    let program = spec.argv.first().cloned().unwrap_or_default();
    spawn.start().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            format!("the program `{program}` or the folder `{}` does not exist", spec.cwd.display())
        }
        std::io::ErrorKind::PermissionDenied => {
            format!("user `{class}` may not run `{program}` in `{}`", spec.cwd.display())
        }
        _ => format!("`{program}`: {e}"),
    })
}

fn own(path: &Path, identity: Option<(u32, u32)>) -> std::io::Result<()> {
    match identity {
        // Not through a link that a role may have put there.
        Some((uid, gid)) => std::os::unix::fs::lchown(path, Some(uid), Some(gid)),
        None => Ok(()),
    }
}

/// A process' log is cut when it grows beyond this; one old copy is kept.
const LOG_LIMIT: u64 = 64 << 20;

/// Copies overgrown process logs to `.1` and empties them. They are open for
/// appending in the processes, so that they go on at the new end.
pub(super) fn trim_logs(state_dir: &Path) {
    let Ok(entries) = fs::read_dir(state_dir.join("log")) else { return };
    for path in entries.flatten().map(|e| e.path()) {
        let overgrown = fs::metadata(&path).is_ok_and(|m| m.len() > LOG_LIMIT);
        if path.extension().is_some_and(|e| e == "log") && overgrown {
            // A full disk keeps the copy from being made; the log is cut all the same.
            let _ = fs::copy(&path, path.with_extension("log.1"));
            let _ = OpenOptions::new().write(true).truncate(true).open(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Millis;

    fn spec(argument: &str) -> ProcessSpec {
        ProcessSpec {
            name: "app/1".into(),
            argv: vec!["/bin/sleep".into(), argument.into()],
            env: vec![],
            cwd: "/".into(),
            user: UserClass::App,
            dirs: vec![],
            files: vec![],
            listeners: vec![],
            stop_signal: StopSignal::Term,
            stop_timeout: Millis(1_000),
            stage: 4,
        }
    }

    fn sleep() -> Handle {
        let output = fs::File::options().write(true).open("/dev/null").unwrap();
        let argv = vec!["/bin/sleep".into(), "60".into()];
        Spawn { argv, env: vec![], cwd: "/".into(), identity: None, output, keep: vec![] }.start().unwrap()
    }

    #[test]
    fn a_process_is_outdated_until_it_was_started_with_what_is_wanted() {
        let mut process = Process::new(spec("1"), 0);
        assert!(process.is_due(0));
        assert_eq!(process.want(spec("2"), 0), None, "it does not run yet");
        process.started(sleep(), 0);
        assert_eq!(process.want(spec("2"), 0), None);
        // Asked twice, it is outdated twice: nothing has restarted it yet.
        for _ in 0..2 {
            assert_eq!(process.want(spec("3"), 0), Some("app/1".to_owned()));
        }
        assert_eq!(process.running(), &spec("2"));
        assert_eq!(process.want(spec("2"), 0), None, "what runs is wanted again");
        process.want(spec("3"), 0);
        process.kill();
        let handle = process.handle().unwrap();
        wait_for_end(handle);
        assert!(process.ended(0).contains("signal"));
        process.started(sleep(), 0);
        assert_eq!(process.want(spec("3"), 0), None);
        process.kill();
    }

    /// A process that has ended is a zombie until it is reaped: not alive.
    fn wait_for_end(handle: &Handle) {
        while handle.identity().is_alive() {
            std::thread::yield_now();
        }
    }
}
