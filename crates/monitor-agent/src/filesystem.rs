//! Mounted file systems (collector `filesystem`): `mountinfo` and `statvfs`.

use crate::Fault;
use crate::files::{Files, Tree, is_virtual};
use crate::settings::Rules;
use crate::text::{Text, Type};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags, StatVfsMountFlags};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// `statvfs` on these waits for another machine or program, perhaps for ever.
const REMOTE_TYPES: &[&str] =
    &["nfs", "nfs4", "cifs", "smb3", "ceph", "9p", "afs", "glusterfs", "lustre", "virtiofs"];

/// Mounts that are read, at most: a host of containers has thousands.
const MAX_MOUNTS: usize = 2_000;

/// How long a remote file system may take; node_exporter's `mount-timeout`.
const REMOTE_LIMIT: Duration = Duration::from_secs(5);

/// What is remembered between readings.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The mounts of the last look, and a file that says when there are others.
    mounts: Option<(OwnedFd, Vec<Mount>)>,
    /// Remote mounts whose `statvfs` has not come back.
    stuck: Vec<(PathBuf, Arc<AtomicBool>)>,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mount {
    device: String,
    point: String,
    kind: String,
    major: String,
    minor: String,
    read_only: bool,
}

struct Space {
    size: f64,
    free: f64,
    avail: f64,
    files: f64,
    files_free: f64,
    /// A file system that found an error in itself turns so without its mount
    /// being changed (`errors=remount-ro`, ext4(5)).
    read_only: bool,
}

pub(crate) fn read(
    files: &mut Files,
    rules: &mut Rules,
    watch: &mut Watch,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    let root = files.path(Tree::Root, &[""]);
    let root = root.to_string_lossy();
    let root = root.trim_end_matches('/');
    let mut readings: Vec<(Mount, Result<Space, String>)> = Vec::new();
    for mount in watch.current(files, root, rules)? {
        let space = watch.space(&mount, Path::new(&format!("{root}{}", mount.point)));
        readings.push((mount, space));
    }
    give(&readings, text);
    Ok(())
}

type Value = fn(&Mount, &Result<Space, String>) -> Option<f64>;

const FAMILIES: &[(&str, &str, Value)] = &[
    ("node_filesystem_avail_bytes", "Filesystem space available to non-root users in bytes.", |_, s| {
        s.as_ref().ok().map(|s| s.avail)
    }),
    (
        "node_filesystem_device_error",
        "Whether an error occurred while getting statistics for the given device.",
        |_, s| Some(f64::from(u8::from(s.is_err()))),
    ),
    ("node_filesystem_files", "Filesystem total file nodes.", |_, s| s.as_ref().ok().map(|s| s.files)),
    ("node_filesystem_files_free", "Filesystem total free file nodes.", |_, s| {
        s.as_ref().ok().map(|s| s.files_free)
    }),
    ("node_filesystem_free_bytes", "Filesystem free space in bytes.", |_, s| s.as_ref().ok().map(|s| s.free)),
    ("node_filesystem_readonly", "Filesystem read-only status.", |m, s| {
        Some(f64::from(u8::from(m.read_only || s.as_ref().is_ok_and(|s| s.read_only))))
    }),
    ("node_filesystem_size_bytes", "Filesystem size in bytes.", |_, s| s.as_ref().ok().map(|s| s.size)),
];

fn give(readings: &[(Mount, Result<Space, String>)], text: &mut Text<'_>) {
    for (name, help, value) in FAMILIES {
        let mut begun = false;
        for (mount, space) in readings {
            let Some(value) = value(mount, space) else { continue };
            if !begun {
                text.family(name, Type::Gauge, help);
                begun = true;
            }
            let error = space.as_ref().err().map_or("", String::as_str);
            let labels = [
                ("device", &*mount.device),
                ("device_error", error),
                ("fstype", &*mount.kind),
                ("mountpoint", &*mount.point),
            ];
            text.sample(name, &labels, value);
        }
    }
    let name = "node_filesystem_mount_info";
    if !readings.is_empty() {
        text.family(name, Type::Gauge, "Filesystem mount information.");
    }
    let mut seen = std::collections::HashSet::new();
    for (mount, _) in readings {
        // The type is no label here.
        if !seen.insert((&mount.device, &mount.point, &mount.major, &mount.minor)) {
            continue;
        }
        let labels = [
            ("device", &*mount.device),
            ("major", &*mount.major),
            ("minor", &*mount.minor),
            ("mountpoint", &*mount.point),
        ];
        text.sample(name, &labels, 1.0);
    }
}

/// The mounts worth a reading: pid 1's, or ours where that may not be read. What
/// is mounted twice in one place counts once, and so does what differs in nothing
/// that is a label.
fn mounts(files: &mut Files, root: &str, rules: &mut Rules) -> Result<Vec<Mount>, Fault> {
    let content = match files.proc("1/mountinfo") {
        Ok(content) => content,
        Err(_) => files.proc("self/mountinfo")?,
    };
    let mut found: Vec<Mount> = Vec::new();
    for mut mount in content.lines().filter_map(mount_of_line) {
        // Below the root that is set, points are named as from there.
        if !root.is_empty()
            && let Some(rest) = mount.point.strip_prefix(root)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            mount.point = if rest.is_empty() { "/".to_owned() } else { rest.to_owned() };
        }
        if rules.filesystem_types.takes(&mount.kind) && rules.mount_points.takes(&mount.point) {
            found.push(mount);
        }
    }
    found.sort();
    found.dedup_by(|a, b| (&a.device, &a.point, &a.kind) == (&b.device, &b.point, &b.kind));
    found.truncate(MAX_MOUNTS);
    Ok(found)
}

/// The table of mounts, where it is the kernel's; another file says nothing of its
/// changes.
fn watched(files: &Files) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let open = |file: &str| rustix::fs::open(files.path(Tree::Proc, &[file]), flags, Mode::empty()).ok();
    let fd = open("1/mountinfo").or_else(|| open("self/mountinfo"))?;
    is_virtual(&fd).then_some(fd)
}

/// proc_pid_mountinfo(5): `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn mount_of_line(line: &str) -> Option<Mount> {
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ');
    let (major, minor) = left.nth(2)?.split_once(':')?;
    let point = unescape(left.nth(1)?);
    let options = left.next()?;
    let mut right = right.split(' ');
    let kind = right.next()?.to_owned();
    let device = unescape(right.next()?);
    let super_options = right.next().unwrap_or("");
    let read_only = |options: &str| options.split(',').any(|o| o == "ro");
    Some(Mount {
        device,
        point,
        kind,
        major: major.to_owned(),
        minor: minor.to_owned(),
        read_only: read_only(options) || read_only(super_options),
    })
}

/// The kernel writes space, tab, newline and backslash as octal (`\040`).
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code.filter(u8::is_ascii) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

impl Watch {
    /// The mounts, which are looked up only where the kernel says that they changed
    /// (proc_pid_mounts(5): such a file becomes readable for priority data).
    fn current(&mut self, files: &mut Files, root: &str, rules: &mut Rules) -> Result<Vec<Mount>, Fault> {
        if let Some((watched, mounts)) = &self.mounts {
            let mut changed = [PollFd::new(watched, PollFlags::PRI)];
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            if rustix::event::poll(&mut changed, Some(&now)) == Ok(0) {
                return Ok(mounts.clone());
            }
        }
        // Opened before they are read: a change between the two is seen next time.
        let watched = watched(files);
        let mounts = mounts(files, root, rules)?;
        self.mounts = watched.map(|watched| (watched, mounts.clone()));
        Ok(mounts)
    }

    fn space(&mut self, mount: &Mount, path: &Path) -> Result<Space, String> {
        let remote = REMOTE_TYPES.contains(&mount.kind.as_str()) || mount.kind.starts_with("fuse");
        if !remote {
            return statvfs(path);
        }
        let point = path.to_owned();
        self.stuck.retain(|(_, done)| !done.load(Ordering::Acquire));
        let timeout = || Err("mountpoint timeout".to_owned());
        if self.stuck.iter().any(|(stuck, _)| *stuck == point) {
            return timeout(); // One thread a stuck mount, never more.
        }
        let done = Arc::new(AtomicBool::new(false));
        let (sender, receiver) = mpsc::channel();
        let (thread_point, thread_done) = (point.clone(), done.clone());
        let spawned = std::thread::Builder::new().name("statvfs".to_owned()).spawn(move || {
            let _ = sender.send(statvfs(&thread_point));
            thread_done.store(true, Ordering::Release);
        });
        if let Err(error) = spawned {
            return Err(error.to_string());
        }
        receiver.recv_timeout(REMOTE_LIMIT).unwrap_or_else(|_| {
            self.stuck.push((point, done));
            timeout()
        })
    }
}

fn statvfs(point: &Path) -> Result<Space, String> {
    let found = rustix::fs::statvfs(point).map_err(|error| error.to_string())?;
    let block = found.f_frsize as f64;
    Ok(Space {
        size: found.f_blocks as f64 * block,
        free: found.f_bfree as f64 * block,
        avail: found.f_bavail as f64 * block,
        files: found.f_files as f64,
        files_free: found.f_ffree as f64,
        read_only: found.f_flag.contains(StatVfsMountFlags::RDONLY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_lines() {
        let mount = mount_of_line(
            r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 - ext3 /dev/root ro,errors=continue",
        )
        .unwrap();
        assert_eq!((mount.point.as_str(), mount.kind.as_str(), mount.read_only), ("/mnt 2", "ext3", true));
        assert_eq!((mount.major.as_str(), mount.minor.as_str()), ("98", "0"));
        for bad in ["", "1 2 3", "36 35 98:0 / /x rw", "36 35 98 / /x rw - ext4 /dev/a rw"] {
            assert_eq!(mount_of_line(bad), None, "{bad}");
        }
        assert_eq!(unescape(r"a\134b\x\04"), r"a\b\x\04");
    }
}
