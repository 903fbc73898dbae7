//! Readings of the host and of supervised processes, in the text exposition
//! format, under the names, labels and semantics of Prometheus' node_exporter
//! (its collectors `cpu`, `diskstats`, `filefd`, `filesystem`, `loadavg`,
//! `meminfo`, `netclass`, `netdev`, `netstat`, `pressure`, `sockstat`, `stat`,
//! `time`, `uname`, `vmstat`), so that existing boards and rules work.
//!
//! It never runs a program, never writes, and reads nothing but `/proc`,
//! `/sys` and `statvfs`. A collector that fails is named by
//! `node_scrape_collector_success` and hides no other. Blocking: call it from a
//! thread that may wait.
//!
//! Limits: without udev (`node_disk_info`) and without hardware sensors; these
//! come with the monitor's later issue.
//!
//! Sources: the kernel's `Documentation/filesystems/proc.rst`,
//! `Documentation/admin-guide/iostats.rst`, `Documentation/accounting/psi.rst`,
//! and node_exporter's own expected output.

mod cpu;
mod disk;
mod filesystem;
mod kernel;
mod memory;
mod network;
mod process;
mod sockets;
pub mod text;

pub use process::Process;

use std::path::{Path, PathBuf};
use std::time::Instant;
use text::{Text, Type};

/// Where the kernel's trees are mounted; a test points them at a fixture.
#[derive(Clone, Debug)]
pub struct Roots {
    /// `/proc`.
    pub proc: PathBuf,
    /// `/sys`.
    pub sys: PathBuf,
}

impl Default for Roots {
    fn default() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into() }
    }
}

/// Why a collector gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A file could not be read.
    #[error("cannot read `{path}`: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        error: std::io::Error,
    },
    /// A file does not look as the kernel's documentation says.
    #[error("cannot understand `{path}`: {what}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// The line or field.
        what: String,
    },
}

/// One host, with what must be remembered between two readings.
#[derive(Debug, Default)]
pub struct Host {
    roots: Roots,
    cpu: cpu::Seen,
    filesystems: filesystem::Watch,
    /// The collectors that failed in the last reading, with the reason.
    pub failures: Vec<(&'static str, Fault)>,
}

type Collector = fn(&mut Host, &mut Text<'_>) -> Result<(), Fault>;

impl Host {
    /// A host whose trees are mounted at `roots`.
    pub fn new(roots: Roots) -> Self {
        Self { roots, ..Self::default() }
    }

    /// Appends every reading of the host to `out`. `now_s` is the wall clock in
    /// Unix seconds.
    pub fn read(&mut self, now_s: f64, out: &mut String) {
        const COLLECTORS: &[(&str, Collector)] = &[
            ("cpu", |h, t| cpu::read(&h.roots, &mut h.cpu, t)),
            ("diskstats", |h, t| disk::read(&h.roots, t)),
            ("filefd", |h, t| kernel::file_descriptors(&h.roots, t)),
            ("filesystem", |h, t| filesystem::read(&h.roots, &mut h.filesystems, t)),
            ("loadavg", |h, t| kernel::load(&h.roots, t)),
            ("meminfo", |h, t| memory::read(&h.roots, t)),
            ("netclass", |h, t| network::class(&h.roots, t)),
            ("netdev", |h, t| network::devices(&h.roots, t)),
            ("netstat", |h, t| sockets::netstat(&h.roots, t)),
            ("pressure", |h, t| kernel::pressure(&h.roots, t)),
            ("sockstat", |h, t| sockets::sockstat(&h.roots, t)),
            ("stat", |h, t| kernel::stat(&h.roots, t)),
            ("uname", |_, t| kernel::uname(t)),
            ("vmstat", |h, t| memory::vmstat(&h.roots, t)),
        ];
        self.failures.clear();
        let mut outcomes = Vec::with_capacity(COLLECTORS.len());
        for (name, collect) in COLLECTORS {
            let began = Instant::now();
            let whole = out.len();
            let result = collect(self, &mut Text::new(out));
            outcomes.push((*name, began.elapsed().as_secs_f64(), result.is_ok()));
            if let Err(fault) = result {
                // Half a family would look like the disappearance of the rest.
                out.truncate(whole);
                self.failures.push((name, fault));
            }
        }
        let mut text = Text::new(out);
        text.single("node_time_seconds", Type::Gauge, "System time in seconds since epoch (1970).", now_s);
        let name = "node_scrape_collector_duration_seconds";
        text.family(name, Type::Gauge, "node_exporter: Duration of a collector scrape.");
        for (collector, seconds, _) in &outcomes {
            text.sample(name, &[("collector", collector)], *seconds);
        }
        let name = "node_scrape_collector_success";
        text.family(name, Type::Gauge, "node_exporter: Whether a collector succeeded.");
        for (collector, _, ok) in &outcomes {
            text.sample(name, &[("collector", collector)], f64::from(u8::from(*ok)));
        }
    }

    /// Appends the readings of `processes` and all their descendants to `out`,
    /// as `process_*` with the label `process`. Those that ended are left out.
    pub fn read_processes(&mut self, processes: &[Process], out: &mut String) {
        process::read(&self.roots, processes, &mut Text::new(out));
    }
}

/// Reads a whole file of `/proc` or `/sys`; bytes that are not UTF-8 are replaced.
fn slurp(path: &Path) -> Result<String, Fault> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())),
        Err(error) => Err(Fault::Read { path: path.to_owned(), error }),
    }
}

/// The error for a line that is not understood.
fn odd(path: &Path, what: &str) -> Fault {
    Fault::Parse { path: path.to_owned(), what: format!("`{}`", what.chars().take(120).collect::<String>()) }
}

/// A number of the kernel's.
fn parse(path: &Path, text: &str) -> Result<f64, Fault> {
    text.trim().parse().map_err(|_| odd(path, text))
}

/// The kernel's clock ticks a second and the bytes of a page.
fn ticks_and_page() -> (f64, f64) {
    (rustix::param::clock_ticks_per_second() as f64, rustix::param::page_size() as f64)
}
