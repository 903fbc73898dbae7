//! Contenders as child processes: started on their core, ended by their pid.

use crate::machine;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A running contender; dropping it ends it.
pub(crate) struct Running {
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Starts `command` bound to `core`; what it prints goes to `log`.
    pub(crate) fn start(mut command: Command, core: Option<usize>, log: &Path) -> Result<Self, String> {
        let out = File::create(log).map_err(|error| format!("{}: {error}", log.display()))?;
        let err = out.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let program = command.get_program().display().to_string();
        // A child inherits the binding of the thread that starts it.
        let started = std::thread::spawn(move || {
            core.map_or(Ok(()), machine::pin)?;
            command.spawn().map_err(|error| format!("`{program}` could not be started: {error}"))
        });
        let child = started.join().map_err(|_| "the starting thread ended".to_owned())??;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it by signal 9 and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let ended = self.child.kill().and_then(|()| self.child.wait());
        ended.map(drop).map_err(|error| format!("ending it: {error}"))
    }

    /// Waits until it accepts at each of `addresses`.
    pub(crate) fn wait_for(&mut self, addresses: &[SocketAddr], limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        for address in addresses {
            while TcpStream::connect_timeout(address, Duration::from_millis(200)).is_err() {
                if let Ok(Some(status)) = self.child.try_wait() {
                    return Err(format!("it ended ({status}): {}", self.last_words()));
                }
                if Instant::now() > deadline {
                    return Err(format!("it does not accept at {address}: {}", self.last_words()));
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// The end of what it printed.
    pub(crate) fn last_words(&self) -> String {
        let text =
            std::fs::read(&self.log).map(|b| String::from_utf8_lossy(&b).into_owned()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
        let words = lines[lines.len().saturating_sub(4)..].join(" / ");
        if words.is_empty() { "it said nothing".to_owned() } else { words }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Asked first, so that it ends its own workers.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A free loopback port. Nothing keeps it: another program could take it before
/// the contender does, which then says so and is skipped.
pub(crate) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| format!("binding a port: {error}"))?;
    listener.local_addr().map(|address| address.port()).map_err(|error| format!("binding a port: {error}"))
}

/// The first line that `program ARGUMENTS` prints (blank ones aside), for the heading.
pub(crate) fn version(program: &Path, arguments: &[&str]) -> String {
    let Ok(output) = Command::new(program).args(arguments).output() else { return "?".to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("?").trim();
    // Envoy begins with its own path.
    line.strip_prefix(&program.display().to_string()).unwrap_or(line).trim().to_owned()
}

/// Where `name` is on this machine.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Debian keeps servers where a user's PATH does not look.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}
