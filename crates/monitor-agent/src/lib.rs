//! Readings of the host and of supervised processes, in the text exposition
//! format, under the names, labels and semantics of Prometheus' node_exporter, so
//! that existing boards and rules work.
//!
//! [`Host::read`] runs node_exporter's collectors that the kernel's files answer
//! (see [`COLLECTORS`]); [`Slow::read`] what is worth less often: control
//! groups, systemd's units, the processes that use most; [`postgres`] asks a
//! PostgreSQL server. A collector that fails is named by
//! `node_scrape_collector_success` and hides no other.
//!
//! It never runs a program, never writes, and reads nothing but `/proc`, `/sys`,
//! `/run/udev/data`, `os-release`, the folders of the settings, `statvfs`,
//! `adjtimex`, netlink's list of links and systemd's private socket. Blocking:
//! call it from a thread that may wait.
//!
//! Limits: of [`files`](Settings)' kind each: 16 MiB a file, 512 descriptors.
//! What grows with what others do (processes, control groups, units, mounts,
//! text files) is bounded where it is read, and says when the bound was met.
//!
//! Sources: the kernel's `Documentation/filesystems/proc.rst`,
//! `Documentation/admin-guide/iostats.rst`, `Documentation/accounting/psi.rst`,
//! `Documentation/admin-guide/cgroup-v2.rst`, `Documentation/hwmon/sysfs-interface.rst`,
//! `Documentation/ABI`, and node_exporter's own expected output.

mod cgroup;
mod cpu;
mod cpufreq;
mod dbus;
mod disk;
mod edac;
mod files;
mod filesystem;
mod hwmon;
mod kernel;
mod mdadm;
mod memory;
mod netclass;
mod netdev;
mod netlink;
mod nfs;
mod nvme;
mod os;
pub mod postgres;
mod power;
mod process;
mod settings;
mod slow;
mod sockets;
pub mod text;
mod textfile;
mod thermal;
mod time;
mod top;
mod udev;
mod units;
mod xfs;
mod zfs;

pub use files::Roots;
pub use process::Process;
pub use settings::{BadPattern, Pattern, Settings};
pub use slow::{SLOW_COLLECTORS, Slow};

use files::Files;
use settings::Rules;
use std::path::{Path, PathBuf};
use std::time::Instant;
use text::{Text, Type};

/// Why a collector gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// This host has not what is read: no ZFS, no sensors.
    #[error("no `{path}`")]
    Absent {
        /// The file or folder.
        path: PathBuf,
    },
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
    /// A call to the system failed.
    #[error("cannot {what}: {error}")]
    System {
        /// What was attempted.
        what: &'static str,
        /// The system's reason.
        error: std::io::Error,
    },
}

impl Fault {
    pub(crate) fn of(path: &Path, error: std::io::Error) -> Self {
        let path = path.to_owned();
        // ENOTDIR: a file is where a folder of that name would be.
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => Self::Absent { path },
            _ => Self::Read { path, error },
        }
    }

    /// Whether the host lacks what the collector is about, which is no failure.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Absent { .. })
    }
}

/// One host, with what must be remembered between two readings.
#[derive(Debug)]
pub struct Host {
    settings: Settings,
    rules: Rules,
    files: Files,
    cpu: cpu::Seen,
    disks: disk::Known,
    filesystems: filesystem::Watch,
    hwmon: hwmon::Known,
    links: netlink::Links,
    classes: netclass::Known,
    os: os::Known,
    processes: process::Known,
    textfiles: textfile::Known,
    zone: time::Zone,
    now_s: f64,
    /// The collectors that failed in the last reading, with the reason; those whose
    /// subject this host lacks are not among them.
    pub failures: Vec<(&'static str, Fault)>,
}

/// Is given what else will be in the exposition, too.
type Collector = fn(&mut Host, &str, &mut Text<'_>) -> Result<(), Fault>;

/// The collectors of [`Host::read`], by node_exporter's names.
pub const COLLECTORS: &[&str] = &[
    "arp",
    "bonding",
    "conntrack",
    "cpu",
    "cpufreq",
    "diskstats",
    "edac",
    "entropy",
    "filefd",
    "filesystem",
    "hwmon",
    "loadavg",
    "mdadm",
    "meminfo",
    "netclass",
    "netdev",
    "netstat",
    "nfs",
    "nvme",
    "os",
    "powersupplyclass",
    "pressure",
    "rapl",
    "schedstat",
    "sockstat",
    "softnet",
    "stat",
    "thermal_zone",
    "time",
    "timex",
    "udp_queues",
    "uname",
    "vmstat",
    "xfs",
    "zfs",
    // Last, because it may not give a family that another gave.
    "textfile",
];

/// In the order of [`COLLECTORS`].
const RUN: [Collector; COLLECTORS.len()] = [
    |h, _, t| sockets::arp(&mut h.files, &mut h.rules.arp_devices, t),
    |h, _, t| netclass::bonding(&mut h.files, t),
    |h, _, t| kernel::conntrack(&mut h.files, t),
    |h, _, t| cpu::read(&mut h.files, &h.settings, &mut h.rules, &mut h.cpu, t),
    |h, _, t| cpufreq::read(&mut h.files, !cpu::gives_info(&h.settings), t),
    |h, _, t| disk::read(&mut h.files, &mut h.rules.disks, &mut h.disks, t),
    |h, _, t| edac::read(&mut h.files, t),
    |h, _, t| kernel::entropy(&mut h.files, t),
    |h, _, t| kernel::file_descriptors(&mut h.files, t),
    |h, _, t| filesystem::read(&mut h.files, &mut h.rules, &mut h.filesystems, t),
    |h, _, t| hwmon::read(&mut h.files, &mut h.rules, &mut h.hwmon, t),
    |h, _, t| kernel::load(&mut h.files, t),
    |h, _, t| mdadm::read(&mut h.files, t),
    |h, _, t| memory::read(&mut h.files, t),
    |h, _, t| netclass::read(&mut h.files, &h.settings, &mut h.rules.network_classes, &mut h.classes, t),
    |h, _, t| netdev::read(&mut h.files, &h.settings, &mut h.rules.network_devices, &mut h.links, t),
    |h, _, t| sockets::netstat(&mut h.files, &mut h.rules.netstat_fields, t),
    |h, _, t| nfs::read(&mut h.files, t),
    |h, _, t| nvme::read(&mut h.files, t),
    |h, _, t| os::read(&mut h.files, &mut h.os, t),
    |h, _, t| power::read(&mut h.files, &mut h.rules.power_supplies, t),
    |h, _, t| kernel::pressure(&mut h.files, t),
    |h, _, t| thermal::rapl(&mut h.files, h.settings.rapl_zone_label, t),
    |h, _, t| kernel::schedstat(&mut h.files, t),
    |h, _, t| sockets::sockstat(&mut h.files, t),
    |h, _, t| sockets::softnet(&mut h.files, t),
    |h, _, t| kernel::stat(&mut h.files, h.settings.softirqs, t),
    |h, _, t| thermal::read(&mut h.files, t),
    |h, _, t| time::read(&mut h.files, &mut h.zone, h.now_s, t),
    |_, _, t| time::timex(t),
    |h, _, t| sockets::udp_queues(&mut h.files, t),
    |_, _, t| kernel::uname(t),
    |h, _, t| memory::vmstat(&mut h.files, &mut h.rules.vmstat_fields, t),
    |h, _, t| xfs::read(&mut h.files, t),
    |h, _, t| zfs::read(&mut h.files, t),
    |h, beside, t| textfile::read(&h.settings.textfiles, beside, &mut h.textfiles, t),
];

impl Host {
    /// A host that is read as `settings` say.
    pub fn new(settings: Settings) -> Result<Self, BadPattern> {
        Ok(Self {
            rules: Rules::new(&settings)?,
            files: Files::new(&settings.roots),
            cpu: cpu::Seen::default(),
            disks: disk::Known::default(),
            filesystems: filesystem::Watch::default(),
            hwmon: hwmon::Known::default(),
            links: netlink::Links::default(),
            classes: netclass::Known::default(),
            os: os::Known::default(),
            processes: process::Known::default(),
            textfiles: textfile::Known::default(),
            zone: time::Zone::default(),
            now_s: 0.0,
            failures: Vec::new(),
            settings,
        })
    }

    /// Appends every reading of the host to `out`. `now_s` is the wall clock in
    /// Unix seconds; `beside` is what else will be in the same exposition, whose
    /// families text files may not give again.
    pub fn read(&mut self, now_s: f64, beside: &str, out: &mut String) {
        self.failures.clear();
        self.files.begin();
        self.now_s = now_s;
        let mut outcomes = Vec::with_capacity(COLLECTORS.len());
        for (name, collect) in COLLECTORS.iter().zip(RUN) {
            if self.settings.without.iter().any(|without| without == name) {
                continue;
            }
            let began = Instant::now();
            let whole = out.len();
            let result = collect(self, beside, &mut Text::new(out));
            outcomes.push((*name, began.elapsed().as_secs_f64(), result.is_ok()));
            if let Err(fault) = result {
                // Half a family would look like the disappearance of the rest.
                out.truncate(whole);
                if !fault.is_absence() {
                    self.failures.push((name, fault));
                }
            }
        }
        outcome_families(&outcomes, &mut Text::new(out));
    }

    /// Appends the readings of `processes` and all their descendants to `out`,
    /// as `process_*` with the label `process`. Those that ended are left out.
    pub fn read_processes(&mut self, processes: &[Process], out: &mut String) {
        process::read(&self.settings.roots, &mut self.processes, processes, &mut Text::new(out));
    }
}

fn outcome_families(outcomes: &[(&str, f64, bool)], text: &mut Text<'_>) {
    let name = "node_scrape_collector_duration_seconds";
    let durations = outcomes.iter().map(|(collector, seconds, _)| (*collector, *seconds));
    text.rows(name, Type::Gauge, "node_exporter: Duration of a collector scrape.", "collector", durations);
    let name = "node_scrape_collector_success";
    let successes = outcomes.iter().map(|(collector, _, ok)| (*collector, f64::from(u8::from(*ok))));
    text.rows(name, Type::Gauge, "node_exporter: Whether a collector succeeded.", "collector", successes);
}

/// The error for a line that is not understood.
fn odd(files: &Files, file: &str, what: &str) -> Fault {
    odd_at(files.path(files::Tree::Proc, &[file]), what)
}

fn odd_at(path: PathBuf, what: &str) -> Fault {
    Fault::Parse { path, what: format!("`{}`", what.chars().take(120).collect::<String>()) }
}

/// The kernel's clock ticks a second and the bytes of a page.
fn ticks_and_page() -> (f64, f64) {
    (rustix::param::clock_ticks_per_second() as f64, rustix::param::page_size() as f64)
}
