//! A PostgreSQL member that is ours: made where it is missing, configured at
//! each start, and then run: this process becomes `postgres`, with its pid.
//!
//! Runs as the database's own user, never as root. What it leaves beside the
//! data directory: `DIR.making` while the directory is being made (found at the
//! next start, the half-made directory is thrown away and made anew), and
//! `DIR.pgpass` with a replica's password for its primary.
//!
//! An existing data directory is kept as it is, but for `bastide.conf` and
//! `bastide_hba.conf` in it, which are written at each start, and a line in
//! `postgresql.conf` that includes the former.
//!
//! Sources: PostgreSQL 15 manual, `initdb`, `pg_basebackup`, `postgres`
//! (single-user mode), chapters 19, 21 and 27.

mod conf;
mod programs;
mod provision;
mod rejoin;

use programs::Programs;
use role::Fault;
use site::{MemberRole, PostgresInstance};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a new replica waits for its primary before it gives up; who supervises it starts it again.
const PRIMARY_WAIT: Duration = Duration::from_secs(120);

/// A new cluster takes about 40 MB; with less than this nothing is begun.
const MIN_FREE_BYTES: u64 = 128 << 20;

/// Makes what is missing and becomes `postgres`. Returns only what went wrong.
/// Steps worth telling go to standard error, the member's log, where `postgres`
/// itself writes afterwards.
pub fn exec(instance: &PostgresInstance) -> Fault {
    let report = |line: &str| {
        // Nobody reads it: then nobody misses it.
        let _ = writeln!(io::stderr(), "{line}");
    };
    match prepare(instance, &report) {
        Ok(programs) => {
            let program = programs.path("postgres");
            let error = programs.command("postgres").arg("-D").arg(&instance.data_dir).exec();
            Fault::new(format!("cannot run `{}`: {error}", program.display()))
        }
        Err(fault) => fault,
    }
}

fn prepare(instance: &PostgresInstance, report: &dyn Fn(&str)) -> Result<Programs, Fault> {
    if sys::user::is_root() {
        return Err(Fault::new(format!("PostgreSQL member `{}` cannot run as root", instance.name))
            .hint("start it as the database's own user, `bastide-db` or `postgres`"));
    }
    let data = &instance.data_dir;
    let programs = Programs::find(instance.bin_dir.as_deref(), data)?;
    not_running(data)?;
    port_is_free(instance)?;
    socket_fits(instance)?;
    make_dir(&instance.socket_dir)?;

    if half_made(data) {
        report(&format!(
            "{}: an earlier start was interrupted while it made the data; once more",
            instance.name
        ));
        remove(data)?;
    }
    let fresh = is_missing(data)?;
    match (instance.role, fresh) {
        (MemberRole::Primary, true) => {
            report(&format!("{}: making a new cluster in `{}`", instance.name, data.display()));
            while_marked(data, || provision::init(&programs, instance))?;
        }
        (MemberRole::Primary, false) => check_was(instance, false)?,
        (MemberRole::Replica, true) => copy_primary(&programs, instance, report)?,
        (MemberRole::Replica, false) => {
            check_was(instance, true)?;
            if let Some(why) = rejoin::why_not(&programs, instance) {
                report(&format!(
                    "{}: its data cannot follow the primary any more: {why}; copying anew",
                    instance.name
                ));
                remove(data)?;
                copy_primary(&programs, instance, report)?;
            }
        }
    }
    conf::write(instance)?;
    if instance.role == MemberRole::Primary {
        provision::update(&programs, instance)?;
    }
    Ok(programs)
}

/// A fault about a file or directory.
fn fault(what: &str, path: &Path, error: &io::Error) -> Fault {
    let fault = Fault::new(format!("{what} `{}`: {error}", path.display()));
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => fault.hint("free some disk space"),
        io::ErrorKind::PermissionDenied => fault.hint("it must belong to the user that runs the database"),
        _ => fault,
    }
}

/// The path with `suffix` appended to its last part.
fn beside(data: &Path, suffix: &str) -> PathBuf {
    let mut name = data.as_os_str().to_owned();
    name.push(OsStr::new(suffix));
    name.into()
}

fn half_made(data: &Path) -> bool {
    beside(data, ".making").exists()
}

/// Whether the directory has to be made: it is not there, or empty.
fn is_missing(data: &Path) -> Result<bool, Fault> {
    if data.join("PG_VERSION").exists() {
        return Ok(false);
    }
    match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(fault("cannot read", data, &error)),
        Ok(entries) => match entries.count() {
            0 => Ok(true),
            _ => Err(Fault::new(format!(
                "`{}` is not empty and not a PostgreSQL data directory",
                data.display()
            ))
            .hint("name another directory, or empty this one")),
        },
    }
}

/// Runs `make` with a mark beside the directory that says it is not whole yet.
fn while_marked(data: &Path, make: impl FnOnce() -> Result<(), Fault>) -> Result<(), Fault> {
    let parent = data.parent().unwrap_or(Path::new("/"));
    make_dir(parent)?;
    enough_space(parent)?;
    let mark = beside(data, ".making");
    fs::write(&mark, b"").map_err(|e| fault("cannot write", &mark, &e))?;
    make()?;
    fs::remove_file(&mark).map_err(|e| fault("cannot remove", &mark, &e))
}

fn make_dir(path: &Path) -> Result<(), Fault> {
    if path.is_dir() {
        return Ok(());
    }
    sys::file::make_dir(path, 0o700).map_err(|e| fault("cannot make", path, &e))
}

fn remove(data: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(data) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(fault("cannot remove", data, &error)),
    }
}

fn enough_space(path: &Path) -> Result<(), Fault> {
    let stat = rustix::fs::statvfs(path).map_err(|e| fault("cannot ask the space of", path, &e.into()))?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= MIN_FREE_BYTES {
        return Ok(());
    }
    Err(Fault::new(format!(
        "the file system of `{}` has {} MiB free; a database needs at least {} MiB to begin",
        path.display(),
        free >> 20,
        MIN_FREE_BYTES >> 20
    ))
    .hint("free some disk space, or move the state directory"))
}

/// A server that still runs on the directory keeps it. A stale `postmaster.pid`
/// (its process is gone) is PostgreSQL's own to clear.
fn not_running(data: &Path) -> Result<(), Fault> {
    let Ok(text) = fs::read_to_string(data.join("postmaster.pid")) else { return Ok(()) };
    let Some(pid) = text.lines().next().and_then(|line| line.trim().parse::<i32>().ok()) else {
        return Ok(());
    };
    let is_postgres = fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "postgres");
    if !is_postgres {
        return Ok(());
    }
    Err(Fault::new(format!("a PostgreSQL server already runs in `{}`, as pid {pid}", data.display()))
        .hint(format!("stop it with `kill -INT {pid}`")))
}

fn port_is_free(instance: &PostgresInstance) -> Result<(), Fault> {
    let host: IpAddr = match instance.listen_host.as_str() {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
        "*" => IpAddr::from([0, 0, 0, 0]),
        // Several, or names: PostgreSQL will say.
        other => match other.parse() {
            Ok(host) => host,
            Err(_) => return Ok(()),
        },
    };
    match TcpListener::bind((host, instance.port)) {
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::new(format!(
            "PostgreSQL member `{}` cannot listen on `{host}:{}`: {error}",
            instance.name, instance.port
        ))
        .hint("another program has the port: see `ss -ltnp`")),
    }
}

/// A Unix socket's path has 107 bytes at most (unix(7)).
fn socket_fits(instance: &PostgresInstance) -> Result<(), Fault> {
    let socket = instance.socket_dir.join(format!(".s.PGSQL.{}", instance.port));
    if socket.as_os_str().len() <= 107 {
        return Ok(());
    }
    Err(Fault::new(format!("the path of the socket `{}` is longer than 107 bytes", socket.display()))
        .hint("use a run directory with a shorter path: set `BASTIDE_RUN_DIR`"))
}

/// An existing directory must be of the kind that it is meant to be: neither is
/// turned into the other here, that would lose data or make a second primary.
fn check_was(instance: &PostgresInstance, follows: bool) -> Result<(), Fault> {
    let data = &instance.data_dir;
    if data.join("standby.signal").exists() == follows {
        return Ok(());
    }
    let (was, is) = if follows { ("primary", "replica") } else { ("replica", "primary") };
    Err(Fault::new(format!(
        "`{}` is the data of a {was}, and `{}` is meant to be a {is}",
        data.display(),
        instance.name
    ))
    .hint(if follows {
        "if nothing in it is needed any more, remove it, and it is copied from the primary"
    } else {
        "promote it with `pg_ctl promote`, or correct which member is the primary"
    }))
}

/// Makes a replica's directory as a copy of its primary's.
fn copy_primary(
    programs: &Programs,
    instance: &PostgresInstance,
    report: &dyn Fn(&str),
) -> Result<(), Fault> {
    let Some(primary) = &instance.primary else {
        return Err(Fault::new(format!("replica `{}` has no primary to copy", instance.name)));
    };
    conf::write_passfile(instance)?;
    let from = format!("{}:{}", primary.host, primary.port);
    let began = Instant::now();
    let mut told = false;
    loop {
        match rejoin::primary_answers(instance) {
            Ok(()) => break,
            Err(why) if began.elapsed() >= PRIMARY_WAIT => {
                return Err(Fault::new(format!(
                    "replica `{}` waited {PRIMARY_WAIT:?} for its primary at `{from}`: {why}",
                    instance.name
                )));
            }
            Err(why) => {
                if !told {
                    report(&format!("{}: waiting for the primary at {from}: {why}", instance.name));
                    told = true;
                }
                std::thread::sleep(Duration::from_millis(150));
            }
        }
    }
    report(&format!("{}: copying the primary at {from}", instance.name));
    while_marked(&instance.data_dir, || provision::base_backup(programs, instance, primary))
}
