//! Bastide's monitor, VictoriaMetrics and Prometheus, each with a folder of its
//! own and a core of its own.

use crate::process::{self, Running};
use crate::store::client::Client;
use crate::{machine, rows};
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bastide,
    VictoriaMetrics,
    Prometheus,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bastide => rows::OURS,
            Self::VictoriaMetrics => "victoria-metrics",
            Self::Prometheus => "prometheus",
        }
    }

    fn program(self, target: &Path) -> Result<PathBuf, String> {
        match self {
            Self::Bastide => Ok(target.join("release/bastide")),
            _ => process::find(self.name()).ok_or(format!("not installed (Debian: {})", self.name())),
        }
    }

    pub(crate) fn version(self, target: &Path) -> Result<String, String> {
        let asked = if self == Self::VictoriaMetrics { "-version" } else { "--version" };
        Ok(process::version(&self.program(target)?, &[asked]))
    }
}

/// A contender's folder, and its process while it runs.
pub(crate) struct Contender<'a> {
    pub(crate) kind: Kind,
    target: &'a Path,
    folder: PathBuf,
    core: Option<usize>,
    address: SocketAddr,
    running: Option<Running>,
}

impl<'a> Contender<'a> {
    /// In a new folder below `folder`; not started yet.
    pub(crate) fn new(
        kind: Kind,
        target: &'a Path,
        folder: &Path,
        core: Option<usize>,
    ) -> Result<Self, String> {
        let folder = folder.join(kind.name());
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let address = SocketAddr::from(([127, 0, 0, 1], process::free_port()?));
        Ok(Self { kind, target, folder, core, address, running: None })
    }

    /// Starts it; ready when it answers a query. Tells how long that took.
    pub(crate) fn start(&mut self) -> Result<Duration, String> {
        self.running = None;
        let mut command = Command::new(self.kind.program(self.target)?);
        command.current_dir(&self.folder);
        let data = self.folder.join("data");
        match self.kind {
            Kind::Bastide => {
                let config = self.folder.join("bastide.toml");
                let text = format!(
                    "[site]\ndomains = [\"localhost\"]\naccess_log = false\n\n[pool.app]\nservers = [\"127.0.0.1:9\"]\n\n\
                     [[route]]\npath = \"/*\"\npool = \"app\"\n\n\
                     [monitor]\nlisten = \"{}\"\nretention = \"400d\"\n{}",
                    self.address, SETTINGS
                );
                fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
                command.args(["run", "monitor", "--config"]).arg(config);
                command.env("BASTIDE_RUN_DIR", self.folder.join("run")).env("BASTIDE_STATE_DIR", &data);
            }
            Kind::VictoriaMetrics => {
                command.arg(format!("-storageDataPath={}", data.display()));
                command.arg(format!("-httpListenAddr={}", self.address)).arg("-retentionPeriod=100y");
                command.args(["-search.maxUniqueTimeseries=2000000", "-search.latencyOffset=0s"]);
            }
            Kind::Prometheus => {
                let config = self.folder.join("prometheus.yml");
                fs::write(&config, "").map_err(|error| format!("{}: {error}", config.display()))?;
                command.arg(format!("--config.file={}", config.display()));
                command.arg(format!("--storage.tsdb.path={}", data.display()));
                command.arg(format!("--web.listen-address={}", self.address));
                command.args(["--web.enable-remote-write-receiver", "--web.enable-admin-api"]);
                command.args(["--storage.tsdb.retention.time=400d", "--log.level=error"]);
            }
        }
        let began = Instant::now();
        let mut running = Running::start(command, self.core, &self.folder.join("log"))?;
        running.wait_for(&[self.address], Duration::from_secs(60))?;
        let mut last = String::new();
        while began.elapsed() < Duration::from_secs(60) {
            match self.client().get("/api/v1/query?query=vector(1)") {
                Ok(_) => {
                    self.running = Some(running);
                    return Ok(began.elapsed());
                }
                Err(why) => last = why,
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("it answers no query: {last}"))
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(self.address)
    }

    pub(crate) fn pid(&self) -> Result<u32, String> {
        self.running.as_ref().map(Running::pid).ok_or_else(|| "it does not run".to_owned())
    }

    /// Ends it by signal 9 and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<(), String> {
        let mut running = self.running.take().ok_or("it does not run")?;
        running.kill()
    }

    /// CPU seconds so far, and peak memory in MiB.
    pub(crate) fn cost(&self) -> Result<(f64, f64), String> {
        let pid = self.pid()?;
        let cpu = machine::cpu_seconds(pid)?;
        Ok((cpu, memory_mib(pid, "VmHWM:")?))
    }

    /// Memory in MiB as of now.
    pub(crate) fn rss(&self) -> Result<f64, String> {
        memory_mib(self.pid()?, "VmRSS:")
    }

    /// Waits until it stops working on what it was given.
    pub(crate) fn settle(&self) -> Result<(), String> {
        let mut before = self.cost()?.0;
        let mut idle = 0;
        // Upkeep comes every few seconds: one quiet moment is not the end of it.
        for _ in 0..60 {
            std::thread::sleep(Duration::from_secs(2));
            let now = self.cost()?.0;
            idle = if now - before < 0.06 { idle + 1 } else { 0 };
            if idle == 4 {
                break;
            }
            before = now;
        }
        Ok(())
    }

    /// Bytes of all samples as they lie on disk when nothing is left to be merged,
    /// indexes included, logs left out.
    pub(crate) fn bytes_at_rest(&mut self) -> Result<u64, String> {
        let mut client = self.client();
        match self.kind {
            Kind::VictoriaMetrics => {
                client.get("/internal/force_flush")?;
                client.get("/internal/force_merge")?;
                self.settle()?;
                Ok(size(&self.folder.join("data/data")) + size(&self.folder.join("data/indexdb")))
            }
            Kind::Bastide | Kind::Prometheus => {
                let answer = client.post("/api/v1/admin/tsdb/snapshot")?;
                let answer: serde_json::Value = serde_json::from_slice(&answer).map_err(|e| e.to_string())?;
                let name = answer["data"]["name"].as_str().ok_or("a snapshot without a name")?;
                let found = find(&self.folder.join("data"), name).ok_or(format!("no snapshot `{name}`"))?;
                Ok(size(&found))
            }
        }
    }
}

/// What the benched monitor is told beside the defaults: the load writes and asks
/// for snapshots, and nothing else comes in.
const SETTINGS: &str = "admin_api = true\nreceive = true\nscrape_own = false\n";

fn memory_mib(pid: u32, field: &str) -> Result<f64, String> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find(|line| line.starts_with(field)).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or_default();
    Ok(kib / 1024.0)
}

/// Bytes of all files below `path`.
fn size(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => size(&entry.path()),
            _ => entry.metadata().map_or(0, |m| m.len()),
        })
        .sum()
}

/// The folder `name` somewhere below `path`.
fn find(path: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(path).ok()?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name() == name {
                return Some(entry.path());
            }
            if let Some(found) = find(&entry.path(), name) {
                return Some(found);
            }
        }
    }
    None
}
