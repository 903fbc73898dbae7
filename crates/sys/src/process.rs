//! Processes: started with just the descriptors and identity meant for them,
//! recognised again after their parent has died, ended through a pidfd, which
//! never hits a stranger that got the same pid.

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitOptions};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A process that is not mistaken for another: pid and start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (proc_pid_stat(5), field 22).
    pub start_ticks: u64,
}

impl Identity {
    /// Of a running process; `None` where there is none, or only its remains.
    pub fn of(pid: i32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The second field, the name, is in parentheses and may hold anything.
        let mut fields = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
        let state = fields.next()?;
        let start_ticks = fields.nth(18)?.parse().ok()?;
        (state != "Z" && state != "X").then_some(Self { pid, start_ticks })
    }

    /// Whether this very process still runs.
    pub fn is_alive(self) -> bool {
        Self::of(self.pid) == Some(self)
    }

    /// A handle to it, if it still runs.
    pub fn open(self) -> io::Result<Option<Handle>> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(None) };
        let fd = match rustix::process::pidfd_open(pid, PidfdFlags::NONBLOCK) {
            Ok(fd) => fd,
            Err(Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only after the pidfd is held does the start time prove whose it is.
        Ok(self.is_alive().then_some(Handle { identity: self, fd }))
    }
}

/// A held process: its pidfd becomes readable when it ends.
#[derive(Debug)]
pub struct Handle {
    identity: Identity,
    fd: OwnedFd,
}

impl Handle {
    /// Which process.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// Sends a signal; nothing happens to a process that has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match rustix::process::pidfd_send_signal(&self.fd, signal) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Collects a child's remains and says how it ended; `None` where it still
    /// runs, or where it is not our child (adopted).
    pub fn reap(&self) -> Option<String> {
        let pid = Pid::from_raw(self.identity.pid)?;
        match rustix::process::waitpid(Some(pid), WaitOptions::NOHANG) {
            Ok(Some((_, status))) => Some(match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (_, Some(signal)) => format!("signal {signal}"),
                _ => "an unknown status".to_owned(),
            }),
            _ => None,
        }
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Handle {
    fn as_raw_fd(&self) -> i32 {
        self.fd.as_raw_fd()
    }
}

/// A program about to be started.
#[derive(Debug)]
pub struct Spawn {
    /// Program and arguments.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory.
    pub cwd: PathBuf,
    /// The user and group to become, with no supplementary groups; root only.
    pub identity: Option<(u32, u32)>,
    /// Where standard output and error go.
    pub output: File,
    /// Descriptors that stay open across `exec`, under the same numbers.
    pub keep: Vec<OwnedFd>,
}

impl Spawn {
    /// Starts it in a process group of its own (a terminal's Ctrl-C reaches the
    /// supervisor alone), with no privileges to gain (`no_new_privs`) and the
    /// default signal mask. It does not die with its parent.
    pub fn start(self) -> io::Result<Handle> {
        let mut argv = self.argv.iter();
        let program = argv.next().ok_or_else(|| io::Error::other("no program to start"))?;
        let mut command = Command::new(program);
        command.args(argv).env_clear().envs(self.env).current_dir(&self.cwd);
        command.stdin(Stdio::null()).stdout(self.output.try_clone()?).stderr(self.output);
        command.process_group(0);
        if let Some((uid, gid)) = self.identity {
            // The standard library drops supplementary groups when root gives up its uid.
            command.gid(gid).uid(uid);
        }
        let keep: Vec<i32> = self.keep.iter().map(AsRawFd::as_raw_fd).collect();
        // SAFETY: the closure runs between fork and exec and makes only
        // async-signal-safe system calls (prctl, fcntl) on descriptors that the
        // parent keeps open until `spawn` has returned; it does not allocate.
        unsafe {
            command.pre_exec(move || {
                rustix::thread::set_no_new_privs(true)?;
                for &fd in &keep {
                    // SAFETY: `self.keep` owns the descriptor until after the spawn.
                    let fd = BorrowedFd::borrow_raw(fd);
                    rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
                }
                Ok(())
            });
        }
        // The remains are collected through `Handle::reap`; dropping `Child` neither waits nor kills.
        let child = command.spawn()?;
        let pid = child.id() as i32;
        let fd = rustix::process::pidfd_open(
            Pid::from_raw(pid).ok_or_else(|| io::Error::other("a child without pid"))?,
            PidfdFlags::NONBLOCK,
        )?;
        // An unreaped child keeps its entry even when it has ended already.
        let start_ticks = Identity::of(pid).map_or(0, |identity| identity.start_ticks);
        Ok(Handle { identity: Identity { pid, start_ticks }, fd })
    }
}

/// The signal that asks a process to end.
pub const TERM: Signal = Signal::TERM;
/// The signal of PostgreSQL's fast shutdown.
pub const INT: Signal = Signal::INT;
/// The signal that ends a process at once.
pub const KILL: Signal = Signal::KILL;

/// Unmaps the pages of this program's code; what still runs is mapped again from
/// the file as it is reached. A role that starts through code it never needs again
/// gives back megabytes so: the kernel maps 64 KiB around each page that is touched
/// (`fault_around_bytes`). Gives how many bytes of code there are.
#[allow(unsafe_code)]
pub fn release_code() -> std::io::Result<usize> {
    let program = std::fs::read_link("/proc/self/exe")?;
    let maps = std::fs::read_to_string("/proc/self/maps")?;
    let mut length = 0;
    for line in maps.lines() {
        // proc_pid_maps(5): `from-to r-xp offset device inode path`.
        let mut words = line.split_ascii_whitespace();
        let (Some(range), Some("r-xp"), Some(path)) = (words.next(), words.next(), words.nth(3)) else {
            continue;
        };
        let ends = range
            .split_once('-')
            .map(|(from, to)| (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16)));
        let Some((Ok(from), Ok(to))) = ends else { continue };
        if std::path::Path::new(path) != program || to <= from {
            continue;
        }
        // SAFETY: the range is a mapping of the program's own file, private and not
        // writable, so that no page of it was ever changed (code for this position
        // has no relocations): what is dropped is read again from the file, with the
        // same content, when it is next reached, by this thread as by others.
        unsafe { rustix::mm::madvise(from as *mut _, to - from, rustix::mm::Advice::LinuxDontNeed)? };
        length += to - from;
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleep() -> Spawn {
        Spawn {
            argv: vec!["/bin/sleep".into(), "60".into()],
            env: vec![],
            cwd: "/".into(),
            identity: None,
            output: File::options().write(true).open("/dev/null").unwrap(),
            keep: vec![],
        }
    }

    #[test]
    fn a_process_is_started_recognised_and_ended() {
        let handle = sleep().start().unwrap();
        let identity = handle.identity();
        assert!(identity.is_alive());
        assert!(!Identity { start_ticks: identity.start_ticks + 1, ..identity }.is_alive());
        let again = identity.open().unwrap().expect("it runs");
        assert_eq!(handle.reap(), None);
        again.signal(KILL).unwrap();
        rustix::event::poll(&mut [rustix::event::PollFd::new(&handle, rustix::event::PollFlags::IN)], None)
            .unwrap();
        assert!(handle.reap().unwrap().contains('9'));
        assert!(!identity.is_alive());
        assert!(identity.open().unwrap().is_none());
    }

    #[test]
    fn a_missing_program_is_an_error_of_the_start() {
        let mut spawn = sleep();
        spawn.argv = vec!["/no/such/program".into()];
        assert_eq!(spawn.start().unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn kept_descriptors_reach_the_child() {
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut spawn = sleep();
        let number = write.as_raw_fd();
        spawn.argv = vec!["/bin/sh".into(), "-c".into(), format!("echo here >&{number}").into()];
        spawn.keep = vec![write];
        let _handle = spawn.start().unwrap();
        let mut text = String::new();
        io::Read::read_to_string(&mut File::from(read), &mut text).unwrap();
        assert_eq!(text, "here\n");
    }

    #[test]
    fn code_that_was_given_back_still_runs() {
        let bytes = release_code().unwrap();
        assert!(bytes > 10_000, "{bytes}");
        assert_eq!(release_code().unwrap(), bytes);
    }
}
