//! Cores to run on, and CPU time from `/proc`.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use std::collections::HashMap;
use std::fs;
use std::time::Duration;

/// Two cores that this process may use: the first for the contender, the second
/// for load and origin. None on a machine with one.
pub(crate) fn two_cores() -> Option<(usize, usize)> {
    let set = sched_getaffinity(None).ok()?;
    let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| set.is_set(*core));
    let two = allowed.next().zip(allowed.next());
    if two.is_none() {
        eprintln!("note: one core only: contender, load and what is behind share it");
    }
    two
}

/// A folder for a bench's configurations, logs and data; it goes with the value.
pub(crate) fn folder(bench: &str) -> Result<tempfile::TempDir, String> {
    let made = tempfile::Builder::new().prefix(&format!("bench-{bench}-")).tempdir();
    made.map_err(|error| format!("no temporary folder: {error}"))
}

/// Binds the calling thread, and what it starts from now on, to `core`.
pub(crate) fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("binding to core {core}: {error}"))
}

/// CPU time of the calling thread, to the nanosecond.
pub(crate) fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A clock that never goes back, as the edge gives it to the engine.
pub(crate) fn monotonic_us() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

/// User and system time, in seconds, of the process `pid`, its descendants, and
/// those of them that ended and were waited for.
///
/// Resolution is one clock tick (10 ms), see proc(5), `/proc/pid/stat` fields 14
/// to 17; the kernel makes user + system equal to the exact time run.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64, String> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    let mut ticks: HashMap<u32, u64> = HashMap::new();
    for entry in fs::read_dir("/proc").map_err(|error| format!("/proc: {error}"))?.flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that ended meanwhile is in its parent's figures.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((parent, time)) = parse_stat(&stat) else { continue };
        children.entry(parent).or_default().push(id);
        ticks.insert(id, time);
    }
    if !ticks.contains_key(&pid) {
        return Err(format!("process {pid} has ended"));
    }
    let mut sum = 0;
    let mut next = vec![pid];
    while let Some(id) = next.pop() {
        sum += ticks.get(&id).copied().unwrap_or_default();
        next.extend(children.get(&id).into_iter().flatten());
    }
    Ok(sum as f64 / rustix::param::clock_ticks_per_second() as f64)
}

/// Parent and utime + stime + cutime + cstime. The second field, the name in
/// parentheses, may hold anything, parentheses and spaces too.
fn parse_stat(stat: &str) -> Option<(u32, u64)> {
    let fields: Vec<&str> = stat.get(stat.rfind(')')? + 1..)?.split_whitespace().collect();
    let time = fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum::<Option<u64>>()?;
    Some((fields.get(1)?.parse().ok()?, time))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_whatever_the_name() {
        let rest = "S 7 1 1 0 -1 4194304 99 0 0 0 10 20 3 4 20 0 1 0 110156 3133440 389";
        for name in ["cat", "a b", ") S 1 (", ""] {
            assert_eq!(parse_stat(&format!("12 ({name}) {rest}")), Some((7, 37)), "{name}");
        }
        assert_eq!(parse_stat("12 cat S 7"), None);
    }

    #[test]
    fn work_done_is_counted() {
        let pid = std::process::id();
        let before = cpu_seconds(pid).unwrap();
        let mut x = 1u64;
        // Until the kernel says that two ticks went by: no clock is compared.
        while cpu_seconds(pid).unwrap() < before + 0.02 {
            for i in 0..100_000u64 {
                x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i);
            }
        }
        assert_ne!(x, 0);
    }
}
