//! `bench router`: CPU time of a PostgreSQL router for each transaction, beside
//! PgBouncer, with pgbench's own read-only script (one SELECT by primary key).
//!
//! | workload | transactions |
//! |---|---|
//! | `R1` | simple protocol, 16 sessions |
//! | `R2` | extended protocol, 16 sessions |
//! | `R3` | a new session (SCRAM) for each, 4 at once |
//!
//! The metric is `cpu_us`: user + system time of the router's processes, from
//! `/proc`, divided by the transactions that pgbench counts. Both pool sessions,
//! both log in to one PostgreSQL made for the run, without replicas: what differs
//! is that ours looks at every statement. The router has one core; pgbench and
//! PostgreSQL share another.

use crate::process::{self, Running};
use crate::rounds::{Named, Pace, chosen, interleaved};
use crate::rows::{self, Report};
use crate::{RouterOptions, machine};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const USER: &str = "bench";
const DATABASE: &str = "bench";
/// Of a cluster that lives for one run and listens on a loopback address.
const PASSWORD: &str = "bench-for-one-run";

/// What pgbench is told besides the time.
type Plan = &'static [&'static str];

static WORKLOADS: &[Named<Plan>] = &[
    ("R1", &["-M", "simple", "-c", "16"]),
    ("R2", &["-M", "extended", "-c", "16"]),
    ("R3", &["-M", "simple", "-c", "4", "-C"]),
];

/// A router that answers.
struct Contender {
    address: SocketAddr,
    version: String,
    running: Running,
}

/// Starts everything, measures in interleaved rounds, ends everything.
pub(crate) fn run(target: &Path, options: &RouterOptions) -> Result<Report, String> {
    let workloads = chosen(WORKLOADS.to_vec(), &options.workload);
    let names = chosen(vec![(rows::OURS, ()), ("pgbouncer", ())], &options.contender);
    let pace = Pace::new(&options.common);
    let cores = machine::two_cores();
    let folder = machine::folder("router")?;
    let mut bench = Bench {
        target,
        folder: folder.path(),
        programs: programs()?,
        account: account()?,
        core: cores.map(|(first, _)| first),
        database: SocketAddr::from(([127, 0, 0, 1], process::free_port()?)),
    };
    bench.own(folder.path())?;
    let _postgres = bench.postgres(cores.map(|(_, second)| second))?;
    if let Some((_, second)) = cores {
        machine::pin(second)?;
    }
    bench.pgbench(bench.database, &["-i", "-q", "-s", "10"])?;

    let mut report = Report::default();
    let mut contenders = Vec::new();
    for (name, ()) in names {
        let started = if name == rows::OURS { bench.bastide() } else { bench.pgbouncer() };
        match started {
            Ok(contender) => {
                eprintln!("{name:<11} {}", contender.version);
                contenders.push((name, contender));
            }
            Err(why) => report.skipped.push(format!("{name}: {why}")),
        }
    }
    interleaved(pace.rounds, "cpu_us", &workloads, &contenders, &mut report, |plan, contender| {
        bench.cell(pace, plan, contender)
    });
    Ok(report)
}

/// The folder of PostgreSQL's programs; the newest of Debian's.
fn programs() -> Result<PathBuf, String> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let debian =
        versions.map(|version| version.path().join("bin")).filter(|bin| bin.join("postgres").is_file());
    let newest = debian.max_by_key(|bin| {
        bin.parent().and_then(|p| p.file_name()?.to_str()?.parse::<u32>().ok()).unwrap_or_default()
    });
    newest
        .or_else(|| process::find("postgres").and_then(|program| Some(program.parent()?.to_owned())))
        .ok_or_else(|| "no PostgreSQL server here\nhint: ./script/up --prepare installs it".to_owned())
}

/// The uid and gid to run PostgreSQL under where we are root, which it refuses.
fn account() -> Result<Option<(u32, u32)>, String> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let find = |name: &str| {
        let fields: Vec<&str> =
            passwd.lines().map(|l| l.split(':').collect()).find(|f: &Vec<&str>| f[0] == name)?;
        Some((fields.get(2)?.parse().ok()?, fields.get(3)?.parse().ok()?))
    };
    find("postgres")
        .or_else(|| find("nobody"))
        .map(Some)
        .ok_or_else(|| "neither a user `postgres` nor `nobody` to run PostgreSQL under".to_owned())
}

struct Bench<'a> {
    target: &'a Path,
    folder: &'a Path,
    programs: PathBuf,
    account: Option<(u32, u32)>,
    core: Option<usize>,
    database: SocketAddr,
}

impl Bench<'_> {
    /// `program`, under the unprivileged account where we are root.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        if let Some((uid, gid)) = self.account {
            command.uid(uid).gid(gid);
        }
        command.current_dir(self.folder).env("PGPASSWORD", PASSWORD);
        command
    }

    fn own(&self, path: &Path) -> Result<(), String> {
        let (uid, gid) = self.account.unzip();
        chown(path, uid, gid).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// A file that only its reader's account may read.
    fn write(&self, name: &str, text: &str) -> Result<PathBuf, String> {
        let path = self.folder.join(name);
        fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)))
            .map_err(|error| format!("{}: {error}", path.display()))?;
        self.own(&path)?;
        Ok(path)
    }

    /// A new cluster, and its server.
    fn postgres(&mut self, core: Option<usize>) -> Result<Running, String> {
        let data = self.folder.join("data");
        let password = self.write("password", PASSWORD)?;
        let mut initdb = self.command(&self.programs.join("initdb"));
        initdb.args(["--no-sync", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "-U", USER]);
        output(initdb.arg("-D").arg(&data).arg("--pwfile").arg(&password))?;
        let mut server = self.command(&self.programs.join("postgres"));
        server.arg("-D").arg(&data).args([
            "-p",
            &self.database.port().to_string(),
            "-c",
            "listen_addresses=127.0.0.1",
        ]);
        // No socket in a folder of the system's; nothing here outlives the run.
        server.args(["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200"]);
        let mut running = Running::start(server, core, &self.folder.join("postgres.log"))?;
        running
            .wait_for(&[self.database], Duration::from_secs(15))
            .map_err(|why| format!("PostgreSQL: {why}"))?;
        self.ready(self.database, "postgres")?;
        let mut createdb = self.command(&self.programs.join("createdb"));
        output(createdb.arg("--maintenance-db").arg(url(self.database, "postgres")).arg(DATABASE))?;
        Ok(running)
    }

    /// Waits until a statement is answered.
    fn ready(&self, address: SocketAddr, database: &str) -> Result<(), String> {
        let mut last = String::new();
        for _ in 0..100 {
            let mut psql = self.command(&self.programs.join("psql"));
            psql.args(["-X", "-q", "-c", "SELECT 1"]).arg(url(address, database));
            match output(&mut psql) {
                Ok(_) => return Ok(()),
                Err(why) => last = why,
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Err(format!("no statement is answered at {address}: {last}"))
    }

    fn bastide(&self) -> Result<Contender, String> {
        let program = self.target.join("release/bastide");
        let address = SocketAddr::from(([127, 0, 0, 1], process::free_port()?));
        let text = format!(
            r#"[site]
domains = ["localhost"]

[database.main]
primary   = "{database}"
user      = "{USER}"
dbname    = "{DATABASE}"
password  = {{ file = "password" }}
listen    = "{address}"
pool_size = 100
"#,
            database = self.database
        );
        let config = self.write("bastide.toml", &text)?;
        let mut command = Command::new(&program);
        command.args(["run", "database", "--config"]).arg(config);
        // Sockets, state and logs of the run's own.
        command.env("BASTIDE_RUN_DIR", self.folder.join("run"));
        command.env("BASTIDE_STATE_DIR", self.folder.join("state"));
        self.start(command, process::version(&program, &["--version"]), address, "bastide.log")
    }

    fn pgbouncer(&self) -> Result<Contender, String> {
        let program = process::find("pgbouncer").ok_or("not installed (Debian: pgbouncer)")?;
        let address = SocketAddr::from(([127, 0, 0, 1], process::free_port()?));
        let users = self.write("users.txt", &format!("\"{USER}\" \"{PASSWORD}\"\n"))?;
        let text = format!(
            "[databases]\n{DATABASE} = host=127.0.0.1 port={port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {listen}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n\
             pool_mode = session\ndefault_pool_size = 100\nmax_client_conn = 1000\n\
             log_connections = 0\nlog_disconnections = 0\nlog_stats = 0\n",
            port = self.database.port(),
            listen = address.port(),
            users = users.display(),
        );
        let config = self.write("pgbouncer.ini", &text)?;
        let mut command = self.command(&program);
        command.arg(config);
        self.start(command, process::version(&program, &["--version"]), address, "pgbouncer.log")
    }

    fn start(
        &self,
        command: Command,
        version: String,
        address: SocketAddr,
        log: &str,
    ) -> Result<Contender, String> {
        let mut running = Running::start(command, self.core, &self.folder.join(log))?;
        running.wait_for(&[address], Duration::from_secs(15))?;
        self.ready(address, DATABASE)?;
        Ok(Contender { address, version, running })
    }

    /// CPU µs of `contender` for each transaction of `plan`.
    fn cell(&self, pace: Pace, plan: &Plan, contender: &Contender) -> Result<f64, String> {
        let before = machine::cpu_seconds(contender.running.pid())?;
        // pgbench counts whole seconds.
        let seconds = pace.measured.as_secs().max(1).to_string();
        let said =
            self.pgbench(contender.address, &[&["-S", "-n", "-j", "1", "-T", &seconds], *plan].concat())?;
        let after = machine::cpu_seconds(contender.running.pid())?;
        let count = transactions(&said)?;
        Ok((after - before) * 1e6 / count as f64)
    }

    fn pgbench(&self, address: SocketAddr, arguments: &[&str]) -> Result<String, String> {
        let mut pgbench = self.command(&self.programs.join("pgbench"));
        output(pgbench.args(arguments).arg(url(address, DATABASE)))
    }
}

fn url(address: SocketAddr, database: &str) -> String {
    format!("postgresql://{USER}@{address}/{database}?sslmode=disable")
}

/// What pgbench counted; an error where some failed.
fn transactions(said: &str) -> Result<u64, String> {
    let field = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.split('/').next()?.parse::<u64>().ok()
    };
    let count = field("number of transactions actually processed:").filter(|count| *count > 0);
    let count = count.ok_or_else(|| format!("pgbench counted no transactions: {}", said.trim()))?;
    match field("number of failed transactions:") {
        None | Some(0) => Ok(count),
        Some(failed) => Err(format!("{failed} transactions failed")),
    }
}

/// What `command` printed; its last words where it failed.
fn output(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().display().to_string();
    let result = command.output().map_err(|error| format!("`{program}` could not be started: {error}"))?;
    if result.status.success() {
        return Ok(String::from_utf8_lossy(&result.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&result.stderr).into_owned();
    Err(format!("`{program}` failed: {}", said.lines().last().unwrap_or("it said nothing").trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbench_is_read() {
        let said = "transaction type: <builtin: select only>\nnumber of transactions actually processed: 1234\n\
                    number of failed transactions: 0 (0.000%)\n";
        assert_eq!(transactions(said), Ok(1234));
        assert_eq!(transactions("number of transactions actually processed: 100/100\n"), Ok(100));
        assert!(transactions(&said.replace(": 0 (", ": 7 (")).is_err());
        assert!(transactions("number of transactions actually processed: 0\n").is_err());
        assert!(transactions("").is_err());
    }
}
