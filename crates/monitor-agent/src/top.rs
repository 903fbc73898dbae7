//! The programs that use most, by their name: CPU time, memory, processes and
//! threads, under the names of process-exporter (`namedprocess_namegroup_*`).
//!
//! By name and not by process id: ids would make a new series for each process
//! that ever ran. The time of a process that ended stays in its program's sum, so
//! that the counters never fall. The kernel's own threads are one group.
//!
//! Limits: `Settings::top_processes` of each kind are given, 50,000 processes are
//! looked at, 2,000 names remembered.

use crate::Fault;
use crate::files::{Files, Tree};
use crate::text::{Text, Type};
use procfs::FromRead as _;
use procfs::process::Stat;
use rustc_hash::FxHashMap;
use std::collections::{BTreeMap, BTreeSet};

const MAX_PROCESSES: usize = 50_000;
const MAX_NAMES: usize = 2_000;

/// The group of the kernel's threads, which have `kthreadd` (2) as their parent.
const KERNEL: &str = "kernel";
const KTHREADD: i32 = 2;

/// What is remembered between readings.
#[derive(Debug, Default)]
pub(crate) struct Known {
    /// By id and start: the ticks that are in the group's sum already.
    processes: FxHashMap<(i32, u64), [u64; 2]>,
    groups: BTreeMap<String, Group>,
}

#[derive(Clone, Debug, Default)]
struct Group {
    /// Ticks in user and in system mode since the first reading.
    ticks: [u64; 2],
    /// In the last interval: what the order goes by.
    recent: u64,
    processes: u64,
    threads: f64,
    resident_pages: f64,
    virtual_bytes: f64,
}

pub(crate) fn read(files: &Files, known: &mut Known, count: usize, text: &mut Text<'_>) -> Result<(), Fault> {
    let root = files.path(Tree::Proc, &[""]);
    let entries = match std::fs::read_dir(&root) {
        Ok(entries) => entries,
        Err(error) => return Err(Fault::of(&root, error)),
    };
    let pids = entries.flatten().filter(|entry| {
        entry.file_name().to_string_lossy().bytes().next().is_some_and(|first| first.is_ascii_digit())
    });
    // One that ended meanwhile is no failure.
    let stats = pids.take(MAX_PROCESSES).filter_map(|entry| Stat::from_file(entry.path().join("stat")).ok());
    known.take(stats);
    give(known, count, text);
    Ok(())
}

impl Known {
    fn take(&mut self, stats: impl Iterator<Item = Stat>) {
        let first = self.processes.is_empty();
        for group in self.groups.values_mut() {
            *group = Group { ticks: group.ticks, ..Group::default() };
        }
        let mut present = FxHashMap::default();
        for stat in stats {
            let kernel = stat.ppid == KTHREADD || stat.pid == KTHREADD;
            let name = if kernel { KERNEL } else { stat.comm.as_str() };
            if !self.groups.contains_key(name) {
                if self.groups.len() >= MAX_NAMES {
                    continue;
                }
                self.groups.insert(name.to_owned(), Group::default());
            }
            let Some(group) = self.groups.get_mut(name) else { continue };
            let now = [stat.utime, stat.stime];
            let key = (stat.pid, stat.starttime);
            // A process that is new since the last reading counts from its start;
            // at the first reading all do.
            let before = self.processes.get(&key).copied().unwrap_or_default();
            for at in 0..now.len() {
                let used = now[at].saturating_sub(before[at]);
                group.ticks[at] += used;
                group.recent += if first { 0 } else { used };
            }
            group.processes += 1;
            group.threads += stat.num_threads as f64;
            group.resident_pages += stat.rss as f64;
            group.virtual_bytes += stat.vsize as f64;
            present.insert(key, now);
        }
        self.processes = present;
        // Names that are no more make room for others.
        if self.groups.len() >= MAX_NAMES {
            self.groups.retain(|_, group| group.processes > 0);
        }
    }
}

fn give(known: &Known, count: usize, text: &mut Text<'_>) {
    let (ticks, page) = crate::ticks_and_page();
    let running: Vec<(&String, &Group)> = known.groups.iter().filter(|(_, g)| g.processes > 0).collect();
    let mut chosen: BTreeSet<&String> = BTreeSet::new();
    // By the interval's time and, until there is one, by all of it.
    let mut by_time = running.clone();
    by_time.sort_by_key(|(_, g)| std::cmp::Reverse((g.recent, g.ticks[0] + g.ticks[1])));
    let mut by_memory = running.clone();
    by_memory.sort_by(|a, b| b.1.resident_pages.total_cmp(&a.1.resident_pages));
    chosen.extend(by_time.iter().take(count).chain(by_memory.iter().take(count)).map(|(name, _)| *name));
    let groups: Vec<(&String, &Group)> =
        running.into_iter().filter(|(name, _)| chosen.contains(name)).collect();
    if groups.is_empty() {
        return;
    }
    let name = "namedprocess_namegroup_cpu_seconds_total";
    text.family(name, Type::Counter, "Cpu user usage in seconds");
    for (group, found) in &groups {
        for (mode, used) in ["user", "system"].iter().zip(found.ticks) {
            text.sample(name, &[("groupname", group), ("mode", mode)], used as f64 / ticks);
        }
    }
    let name = "namedprocess_namegroup_memory_bytes";
    text.family(name, Type::Gauge, "number of bytes of memory in use");
    for (group, found) in &groups {
        let resident = found.resident_pages * page;
        for (kind, bytes) in [("resident", resident), ("virtual", found.virtual_bytes)] {
            text.sample(name, &[("groupname", group), ("memtype", kind)], bytes);
        }
    }
    let name = "namedprocess_namegroup_num_procs";
    let rows = groups.iter().map(|(group, found)| (group, found.processes as f64));
    text.rows(name, Type::Gauge, "number of processes in this group", "groupname", rows);
    let name = "namedprocess_namegroup_num_threads";
    let rows = groups.iter().map(|(group, found)| (group, found.threads));
    text.rows(name, Type::Gauge, "Number of threads", "groupname", rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: i32, start: u64, name: &str, ticks: [u64; 2], pages: u64) -> Stat {
        let line = format!(
            "{pid} ({name}) S {} 1 1 0 -1 0 0 0 0 0 {} {} 0 0 20 0 2 0 {start} 4096 {pages} 18446744073709551615 \
             0 0 0 0 0 0 0 0 0 0 0 0 17 0 0 0 0 0 0 0 0 0 0 0 0 0 0",
            if name.starts_with("kworker") { 2 } else { 1 },
            ticks[0],
            ticks[1],
        );
        Stat::from_read(line.as_bytes()).unwrap()
    }

    fn seconds(known: &Known, count: usize) -> Vec<(String, f64)> {
        let mut out = String::new();
        give(known, count, &mut Text::new(&mut out));
        let lines =
            out.lines().filter(|l| l.starts_with("namedprocess_namegroup_cpu") && l.contains("\"user\""));
        lines
            .map(|line| {
                let name = line.split('"').nth(1).unwrap().to_owned();
                (name, line.rsplit_once(' ').unwrap().1.parse().unwrap())
            })
            .collect()
    }

    #[test]
    fn a_programs_time_never_falls_and_the_busiest_are_given() {
        let mut known = Known::default();
        let first = [
            process(10, 5, "web", [100, 0], 10),
            process(11, 6, "web", [200, 0], 10),
            process(12, 7, "large", [1, 0], 9_999),
            process(13, 8, "idle", [90_000, 0], 1),
            process(14, 8, "kworker/0:1", [5, 0], 0),
            process(15, 8, "kworker/1:1", [5, 0], 0),
        ];
        known.take(first.into_iter());
        assert_eq!(seconds(&known, 9).len(), 4);
        assert_eq!(seconds(&known, 1), [("idle".to_owned(), 900.0), ("large".to_owned(), 0.01)]);
        // One ended, one is new with its number, one is older.
        let second = [
            process(10, 5, "web", [150, 0], 10),
            process(11, 99, "web", [7, 0], 10),
            process(12, 7, "large", [1, 0], 9_999),
            process(13, 8, "idle", [90_000, 0], 1),
        ];
        known.take(second.into_iter());
        assert_eq!(seconds(&known, 1), [("large".to_owned(), 0.01), ("web".to_owned(), 3.57)]);
        assert_eq!(known.processes.len(), 4);
    }

    #[test]
    fn this_machine_runs_this_test() {
        let files = Files::new(&crate::Roots::default());
        let mut out = String::new();
        read(&files, &mut Known::default(), 100, &mut Text::new(&mut out)).unwrap();
        assert!(out.contains("namedprocess_namegroup_memory_bytes{groupname="), "{out}");
    }
}
