//! What supervised processes use, under the names of Prometheus' client
//! libraries (`process_*`), with the label `process`.
//!
//! A web server may fork workers and PostgreSQL always does, so each reading is
//! of the process *and all its descendants*. CPU time counts children that have
//! ended through the parent's `cutime`/`cstime` (proc_pid_stat(5)), so that the
//! sum does not fall when a worker ends. Memory is the process' own resident set
//! plus the private part of each descendant's: shared buffers are counted once.

use crate::text::{Text, Type};
use crate::{Roots, ticks_and_page};
use procfs::FromRead as _;
use procfs::process::Stat;
use std::collections::HashMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Looking at every process of the machine for its parent costs more than all
/// else that is read: between two looks only the processes already known are
/// read. One that is new meanwhile is seen at the next look, with all its time;
/// one that ended is in its parent's.
const LOOK_AFTER: Duration = Duration::from_secs(60);

/// A process to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its name among us: `edge`, `app/1`, `database.main/0`.
    pub name: String,
    /// Its process id.
    pub pid: i32,
}

/// The processes of the last look, and when that was.
#[derive(Debug, Default)]
pub(crate) struct Known {
    looked: Option<Instant>,
    roots: Vec<i32>,
    /// By id, when each started: an id may be given again.
    members: HashMap<i32, u64>,
}

/// What a tree of processes uses.
#[derive(Default)]
struct Usage {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    threads: f64,
    open_files: Option<f64>,
    max_files: Option<f64>,
    start_time_s: f64,
    processes: f64,
}

/// Metric, kind, help, value.
type Reading = (&'static str, Type, &'static str, fn(&Usage) -> Option<f64>);

const READINGS: &[Reading] = &[
    (
        "process_cpu_seconds_total",
        Type::Counter,
        "Total user and system CPU time spent in seconds, descendants included.",
        |u| Some(u.cpu_seconds),
    ),
    ("process_max_fds", Type::Gauge, "Maximum number of open file descriptors.", |u| u.max_files),
    ("process_open_fds", Type::Gauge, "Number of open file descriptors, descendants included.", |u| {
        u.open_files
    }),
    (
        "process_resident_memory_bytes",
        Type::Gauge,
        "Resident memory size in bytes, with the private part of descendants.",
        |u| Some(u.resident_bytes),
    ),
    (
        "process_start_time_seconds",
        Type::Gauge,
        "Start time of the process since unix epoch in seconds.",
        |u| Some(u.start_time_s),
    ),
    ("process_threads", Type::Gauge, "Number of OS threads, descendants included.", |u| Some(u.threads)),
    ("process_tree_processes", Type::Gauge, "Number of processes, descendants included.", |u| {
        Some(u.processes)
    }),
    ("process_virtual_memory_bytes", Type::Gauge, "Virtual memory size in bytes.", |u| Some(u.virtual_bytes)),
];

pub(crate) fn read(roots: &Roots, known: &mut Known, processes: &[Process], text: &mut Text<'_>) {
    if processes.is_empty() {
        return;
    }
    let all = known.processes(&roots.proc, processes);
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for stat in all.values() {
        children.entry(stat.ppid).or_default().push(stat.pid);
    }
    let boot_s = boot_time_s(&roots.proc).unwrap_or(0.0);
    let used: Vec<(&str, Usage)> = processes
        .iter()
        .filter_map(|p| Some((p.name.as_str(), usage(roots, &all, &children, boot_s, p.pid)?)))
        .collect();
    for (name, kind, help, value) in READINGS {
        if used.iter().all(|(_, usage)| value(usage).is_none()) {
            continue;
        }
        text.family(name, *kind, help);
        for (process, usage) in &used {
            if let Some(value) = value(usage) {
                text.sample(name, &[("process", process)], value);
            }
        }
    }
}

impl Known {
    /// The processes that may be `wanted` or their descendants.
    fn processes(&mut self, proc: &Path, wanted: &[Process]) -> HashMap<i32, Stat> {
        let roots: Vec<i32> = wanted.iter().map(|process| process.pid).collect();
        let fresh = self.looked.is_some_and(|looked| looked.elapsed() < LOOK_AFTER);
        if fresh && roots == self.roots {
            let stat = |pid: i32| Stat::from_file(proc.join(pid.to_string()).join("stat")).ok();
            let found = self.members.iter().filter_map(|(pid, start)| {
                let stat = stat(*pid).filter(|stat| stat.starttime == *start)?;
                Some((*pid, stat))
            });
            return found.collect();
        }
        let mut all = every_process(proc);
        let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
        for stat in all.values() {
            children.entry(stat.ppid).or_default().push(stat.pid);
        }
        let mut open = roots.clone();
        self.members.clear();
        while let Some(pid) = open.pop() {
            if let Some(stat) = all.get(&pid)
                && self.members.insert(pid, stat.starttime).is_none()
            {
                open.extend(children.get(&pid).into_iter().flatten());
            }
        }
        all.retain(|pid, _| self.members.contains_key(pid));
        self.looked = Some(Instant::now());
        self.roots = roots;
        all
    }
}

fn every_process(proc: &Path) -> HashMap<i32, Stat> {
    let mut all = HashMap::new();
    let Ok(entries) = std::fs::read_dir(proc) else { return all };
    for entry in entries.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse::<i32>().ok()) else { continue };
        // One that ended meanwhile is no failure.
        if let Ok(stat) = Stat::from_file(entry.path().join("stat")) {
            all.insert(pid, stat);
        }
    }
    all
}

fn usage(
    roots: &Roots,
    all: &HashMap<i32, Stat>,
    children: &HashMap<i32, Vec<i32>>,
    boot_s: f64,
    root: i32,
) -> Option<Usage> {
    let (ticks, page) = ticks_and_page();
    let first = all.get(&root)?;
    let mut usage = Usage {
        start_time_s: boot_s + first.starttime as f64 / ticks,
        virtual_bytes: first.vsize as f64,
        max_files: soft_file_limit(&roots.proc, root),
        ..Usage::default()
    };
    let mut open = vec![root];
    // Each process once, whatever a racing `ppid` says.
    let mut visited = std::collections::HashSet::new();
    while let Some(pid) = open.pop() {
        let Some(stat) = all.get(&pid).filter(|_| visited.insert(pid)) else { continue };
        let waited = stat.cutime.max(0) as u64 + stat.cstime.max(0) as u64;
        usage.cpu_seconds += (stat.utime + stat.stime + waited) as f64 / ticks;
        usage.threads += stat.num_threads as f64;
        usage.processes += 1.0;
        let resident = stat.rss as f64 * page;
        usage.resident_bytes += if pid == root {
            resident
        } else {
            resident - shared_pages(&roots.proc, pid).unwrap_or(0.0).min(stat.rss as f64) * page
        };
        // Another user's descriptors cannot be counted without privileges.
        if let Ok(entries) = std::fs::read_dir(roots.proc.join(pid.to_string()).join("fd")) {
            *usage.open_files.get_or_insert(0.0) += entries.count() as f64;
        }
        open.extend(children.get(&pid).into_iter().flatten());
    }
    Some(usage)
}

/// The third field of `statm`: resident pages that are shared (proc_pid_statm(5)).
fn shared_pages(proc: &Path, pid: i32) -> Option<f64> {
    slurp(&proc.join(pid.to_string()).join("statm")).ok()?.split_ascii_whitespace().nth(2)?.parse().ok()
}

fn soft_file_limit(proc: &Path, pid: i32) -> Option<f64> {
    let limits = slurp(&proc.join(pid.to_string()).join("limits")).ok()?;
    let line = limits.lines().find_map(|l| l.strip_prefix("Max open files"))?;
    match line.split_ascii_whitespace().next()? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

fn slurp(path: &Path) -> std::io::Result<String> {
    Ok(String::from_utf8_lossy(&std::fs::read(path)?).into_owned())
}

fn boot_time_s(proc: &Path) -> Option<f64> {
    slurp(&proc.join("stat")).ok()?.lines().find_map(|l| l.strip_prefix("btime "))?.trim().parse().ok()
}
