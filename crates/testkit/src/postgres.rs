//! Real PostgreSQL for tests: a user that may run it, folders that belong to
//! that user, processes that end with the test, and `psql`.
//!
//! PostgreSQL refuses to run as root. Where a test is root, members run as the
//! user `postgres`, or else `nobody`; otherwise as whoever runs the test.

use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Whether the server's programs are on this machine; tests that need them say so and pass where not.
pub fn is_installed() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|v| v.path().join("bin/initdb")).any(|initdb| initdb.exists())
}

/// The user and group that PostgreSQL runs as; none where we are not root and need not change.
pub fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let ids = |name: &str| {
        let line = passwd.lines().find(|l| l.starts_with(&format!("{name}:")))?;
        let mut fields = line.split(':').skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody"))
}

/// A folder that belongs to [`owner`], removed when dropped.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Makes one. Panics where that fails: the test cannot go on.
    pub fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("bastide-pg").tempdir().expect("a temporary folder");
        give(folder.path());
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

/// Gives a file or folder to [`owner`].
pub fn give(path: &Path) {
    if let Some((uid, gid)) = owner() {
        chown(path, Some(uid), Some(gid)).expect("root may give files away");
    }
}

/// A port that nothing listens on at this moment.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A process that runs as [`owner`] and is killed when dropped.
pub struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `argv` with `env` added, its output appended to `log`.
    pub fn start(argv: &[&str], env: &[(&str, &str)], log: &Path) -> io::Result<Self> {
        let output = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(argv[0]);
        command.args(&argv[1..]).envs(env.iter().copied()).current_dir("/");
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        if let Some((uid, gid)) = owner() {
            command.gid(gid).uid(uid);
        }
        Ok(Self { child: command.spawn()?, log: log.to_owned() })
    }

    /// Its pid.
    pub fn pid(&self) -> i32 {
        self.child.id() as i32
    }

    /// What it said so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends a signal.
    pub fn signal(&self, signal: rustix::process::Signal) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid()) {
            // It may have ended: then there is nothing to signal.
            let _ = rustix::process::kill_process(pid, signal);
        }
    }

    /// Kills it at once, as a crash would, and waits until it is gone.
    pub fn kill(&mut self) {
        // Its children notice within moments that it is gone and end by themselves.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end; panics after `limit`.
    pub fn wait(&mut self, limit: Duration) {
        let began = Instant::now();
        while self.is_running() {
            assert!(
                began.elapsed() < limit,
                "pid {} still runs after {limit:?}:\n{}",
                self.pid(),
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.is_running() {
            // PostgreSQL's immediate shutdown takes its children along.
            self.signal(rustix::process::Signal::QUIT);
            let began = Instant::now();
            while self.is_running() && began.elapsed() < Duration::from_secs(5) {
                std::thread::sleep(Duration::from_millis(10));
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Runs `sql` by `psql`: what it printed (rows a line, columns joined by `|`), or its error text.
pub fn psql(url: &str, sql: &str) -> Result<String, String> {
    let output = Command::new("psql")
        .args([url, "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", sql])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .output()
        .map_err(|e| format!("psql: {e}"))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
    }
}
