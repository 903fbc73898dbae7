//! What a site needs of the machine.

use super::Check;
use crate::show;
use crate::up::USERS;
use control::book::Book;
use control::compile::{self, Checked, Facts};
use control::paths::Paths;
use rustix::process::{Resource, getrlimit};
use site::Site;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Less free space than this is worth a look, and than this a failure: PostgreSQL
/// keeps log segments of 16 MiB, and stops when it cannot write them.
const LITTLE_SPACE: u64 = 2 << 30;
const NO_SPACE: u64 = 256 << 20;
/// This program is younger than any right clock says (2026-01-01).
const BUILT_AFTER_MS: u64 = 1_767_225_600_000;

/// The site that the file makes, with its ports as they are or would be chosen.
pub(super) fn site(checked: &Checked, paths: Option<&Paths>) -> Option<Site> {
    let program = std::env::current_exe().unwrap_or_default();
    let running = match paths {
        Some(paths) => crate::runtime().ok()?.block_on(control::status::running(paths)),
        None => Default::default(),
    };
    let facts = Facts { paths, program: &program, running: &running, now_ms: sys::clock::now_ms() };
    // The book may be another user's: then its ports are not known.
    let mut book = paths.and_then(|p| Book::open(&p.state_dir).ok()).unwrap_or_else(Book::blank);
    compile::compile(&checked.inputs, &mut book, &facts).ok().map(|compiled| compiled.site)
}

pub(super) fn look(
    site: Option<&Site>,
    checked: Option<&Checked>,
    paths: Option<&Paths>,
    is_up: bool,
    checks: &mut Vec<Check>,
) {
    if let Some(site) = site {
        ports(site, is_up, checks);
        if site.databases.is_some() {
            checks.push(postgres());
        }
        checks.push(descriptors(site));
    }
    if checked.is_some_and(|checked| checked.firewall.apply) {
        checks.push(nft());
    }
    checks.push(users());
    if let Some(paths) = paths {
        checks.push(space(&paths.state_dir));
        checks.push(directory("state", &paths.state_dir));
        checks.push(directory("run", &paths.run_dir));
    }
    checks.push(clock());
    checks.push(ipv6());
}

fn ports(site: &Site, is_up: bool, checks: &mut Vec<Check>) {
    let mut wanted: BTreeSet<SocketAddr> = site.edge.https.iter().chain(&site.edge.http).copied().collect();
    wanted.extend(site.databases.iter().flat_map(|d| &d.databases).flat_map(|d| &d.listen));
    wanted.extend(&site.monitor.listen);
    let mut free = Vec::new();
    for address in wanted {
        match TcpListener::bind(address) {
            Ok(_) if is_up => checks.push(Check::warn(
                "port",
                format!("the site is up, but nobody listens on {address}"),
                "`bastide status` says whether it runs with another file; `bastide reload` applies this one",
            )),
            Ok(_) => free.push(address.to_string()),
            Err(error) if error.kind() == ErrorKind::AddrInUse && is_up => free.push(address.to_string()),
            Err(error) if error.kind() == ErrorKind::AddrInUse => checks.push(Check::fail(
                "port",
                format!("{address} is taken by another program"),
                format!(
                    "`ss -ltnp 'sport = :{}'` shows which; stop it, or change `listen` in the file",
                    address.port()
                ),
            )),
            Err(error) if error.kind() == ErrorKind::PermissionDenied => checks.push(Check::fail(
                "port",
                format!("{address}: ports below 1024 need root"),
                "run `bastide up` as root, or choose a higher port in `[site] listen`",
            )),
            Err(error) => checks.push(Check::fail(
                "port",
                format!("{address}: {error}"),
                "the address must be one of this machine's: `ip address` lists them",
            )),
        }
    }
    if !free.is_empty() {
        let said = if is_up { "ours" } else { "free" };
        checks.push(Check::ok("ports", format!("{} {said}", free.join(", "))));
    }
}

fn postgres() -> Check {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = versions.map(|v| v.path().join("bin")).collect();
    places.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    let found =
        places.into_iter().find(|place| place.join("initdb").is_file() && place.join("postgres").is_file());
    match found {
        Some(place) => Check::ok("postgresql", format!("`{}`", place.display())),
        None => Check::fail(
            "postgresql",
            "PostgreSQL's server programs are not installed",
            "`apt install postgresql` on Debian, with `create_main_cluster = false` in /etc/postgresql-common/createcluster.conf",
        ),
    }
}

fn nft() -> Check {
    match Command::new("nft").arg("--version").stdin(Stdio::null()).output() {
        Ok(output) if output.status.success() => {
            Check::ok("nft", String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        _ => {
            Check::fail("nft", "`[firewall] apply` needs `nft`, which does not run", "`apt install nftables`")
        }
    }
}

fn users() -> Check {
    if !sys::user::is_root() {
        return Check::ok("users", "everything runs as you; PostgreSQL wants a user that is not root");
    }
    let missing: Vec<&str> = USERS
        .iter()
        .map(|(_, name)| *name)
        .filter(|name| !matches!(sys::user::find(name), Ok(Some(_))))
        .collect();
    match missing.as_slice() {
        [] => Check::ok("users", USERS.map(|(_, name)| name).join(", ")),
        missing => Check::ok("users", format!("{} are missing; `bastide up` adds them", missing.join(", "))),
    }
}

/// The folder, or the nearest one above it that exists.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|p| p.exists()).unwrap_or(Path::new("/"))
}

fn space(state_dir: &Path) -> Check {
    let place = existing(state_dir);
    let stat = match rustix::fs::statvfs(place) {
        Ok(stat) => stat,
        Err(error) => {
            return Check::warn(
                "disk",
                format!("`{}`: {error}", place.display()),
                "is the file system mounted?",
            );
        }
    };
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let share = stat.f_bavail as f64 / (stat.f_blocks.max(1)) as f64;
    let said =
        format!("{} free ({}) at `{}`", show::bytes(free as f64), show::percent(share), place.display());
    let no_inodes = stat.f_files > 0 && stat.f_favail < 1_000;
    match free {
        _ if no_inodes => Check::fail(
            "disk",
            format!("no more files can be made at `{}`", place.display()),
            "the file system is out of inodes: remove files",
        ),
        0..NO_SPACE => Check::fail("disk", said, "free some space now: databases and logs stop without it"),
        NO_SPACE..LITTLE_SPACE => {
            Check::warn("disk", said, "free some space, or keep less: `[monitor] retention`")
        }
        _ => Check::ok("disk", said),
    }
}

fn directory(what: &'static str, path: &Path) -> Check {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let above = existing(path);
            let writable = rustix::fs::access(above, rustix::fs::Access::WRITE_OK).is_ok();
            return match writable {
                true => Check::ok(what, format!("`{shown}` is made by `bastide up`")),
                false => Check::fail(
                    what,
                    format!("`{shown}` is not there, and you may not make it in `{}`", above.display()),
                    "run as the right user, or set `BASTIDE_STATE_DIR` and `BASTIDE_RUN_DIR`",
                ),
            };
        }
        Err(error) => {
            return Check::fail(what, format!("`{shown}`: {error}"), "run as the site's user, or as root");
        }
    };
    let mode = metadata.permissions().mode() & 0o7777;
    let owner = metadata.uid();
    if mode & 0o002 != 0 {
        let hint = format!("`chmod o-w {shown}`: anyone may replace its files");
        return Check::fail(what, format!("`{shown}` is writable by everyone (mode {mode:o})"), hint);
    }
    if owner != 0 && owner != sys::user::uid() && !sys::user::is_root() {
        let said = format!("`{shown}` belongs to uid {owner}, not to you");
        return Check::warn(what, said, "run as the user that ran `bastide up`");
    }
    Check::ok(what, format!("`{shown}`, mode {mode:o}"))
}

fn clock() -> Check {
    let now_ms = sys::clock::now_ms();
    if now_ms < BUILT_AFTER_MS {
        let said = format!("the clock says {}, which is past", show::date_time(now_ms));
        return Check::fail("clock", said, "set it: certificates would not be valid yet");
    }
    let asked = Command::new("timedatectl")
        .args(["show", "--property", "NTPSynchronized", "--value"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    let said = show::date_time(now_ms);
    match asked
        .ok()
        .filter(|o| o.status.success())
        .map(|o| String::from_utf8_lossy(&o.stdout).trim().to_owned())
    {
        Some(answer) if answer == "no" => Check::warn(
            "clock",
            format!("{said}, not kept by NTP"),
            "`timedatectl set-ntp true`, where the host does not keep it",
        ),
        Some(answer) if answer == "yes" => Check::ok("clock", format!("{said}, kept by NTP")),
        _ => Check::ok("clock", format!("{said}; whether NTP keeps it is not known here")),
    }
}

fn ipv6() -> Check {
    match TcpListener::bind("[::1]:0") {
        Ok(_) => Check::ok("ipv6", "available"),
        Err(error) => Check::warn(
            "ipv6",
            format!("not available: {error}"),
            "visitors who have IPv6 alone do not reach the site; IPv4 works",
        ),
    }
}

/// Each connection of a client may need one to a web server; the rest is for logs,
/// listeners, files.
fn descriptors(site: &Site) -> Check {
    let limit = getrlimit(Resource::Nofile);
    let connections = u64::from(site.edge.limits.connections);
    let wanted = connections * 2 + 256;
    let Some(hard) = limit.maximum else { return Check::ok("files", "no limit of open files") };
    let soft = limit.current.unwrap_or(hard);
    let said =
        format!("{soft} open files a process, {hard} at most; {connections} connections want {wanted}");
    match hard >= wanted {
        true => Check::ok("files", said),
        false => Check::warn(
            "files",
            said,
            "raise the hard limit (`ulimit -Hn`, /etc/security/limits.conf), or lower `[site] limits.connections`",
        ),
    }
}
