//! Load, pressure, counters of the kernel and of its scheduler, entropy, file
//! descriptors, connection tracking, name (collectors `conntrack`, `entropy`,
//! `filefd`, `loadavg`, `pressure`, `schedstat`, `stat`, `uname`).

use crate::files::{Files, finite};
use crate::text::{Text, Type};
use crate::{Fault, odd};

pub(crate) fn load(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("loadavg")?;
    let mut loads = content.split_ascii_whitespace().map_while(finite);
    let (Some(one), Some(five), Some(fifteen)) = (loads.next(), loads.next(), loads.next()) else {
        let content = content.to_owned();
        return Err(odd(files, "loadavg", &content));
    };
    text.single("node_load1", Type::Gauge, "1m load average.", one);
    text.single("node_load15", Type::Gauge, "15m load average.", fifteen);
    text.single("node_load5", Type::Gauge, "5m load average.", five);
    Ok(())
}

/// File, line, metric, help.
const PRESSURES: &[(&str, &str, &str, &str)] = &[
    (
        "pressure/cpu",
        "some",
        "node_pressure_cpu_waiting_seconds_total",
        "Total time in seconds that processes have waited for CPU time",
    ),
    (
        "pressure/io",
        "full",
        "node_pressure_io_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IO congestion",
    ),
    (
        "pressure/io",
        "some",
        "node_pressure_io_waiting_seconds_total",
        "Total time in seconds that processes have waited due to IO congestion",
    ),
    (
        "pressure/irq",
        "full",
        "node_pressure_irq_stalled_seconds_total",
        "Total time in seconds no process could make progress due to IRQ congestion",
    ),
    (
        "pressure/memory",
        "full",
        "node_pressure_memory_stalled_seconds_total",
        "Total time in seconds no process could make progress due to memory congestion",
    ),
    (
        "pressure/memory",
        "some",
        "node_pressure_memory_waiting_seconds_total",
        "Total time in seconds that processes have waited for memory",
    ),
];

pub(crate) fn pressure(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut found = false;
    for (file, line, name, help) in PRESSURES {
        // `irq` needs CONFIG_IRQ_TIME_ACCOUNTING; reading any of them fails with
        // EOPNOTSUPP where PSI is compiled in but switched off.
        let Ok(content) = files.proc(file) else { continue };
        let Some(total) = pressure_total(content, line) else {
            let content = content.to_owned();
            return Err(odd(files, file, &content));
        };
        // Twice by a thousand, as node_exporter divides: the last digit is the same.
        text.single(name, Type::Counter, help, total / 1000.0 / 1000.0);
        found = true;
    }
    if found {
        return Ok(());
    }
    // A kernel without PSI, or started with psi=0.
    Err(Fault::Absent { path: files.path(crate::files::Tree::Proc, &["pressure"]) })
}

/// psi.rst: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`; the total in µs.
pub(crate) fn pressure_total(content: &str, line: &str) -> Option<f64> {
    let line = content.lines().find_map(|l| l.strip_prefix(line))?;
    finite(line.split_ascii_whitespace().find_map(|word| word.strip_prefix("total="))?)
}

/// The words of `/proc/stat`'s `softirq` line after the total, in the kernel's order.
const SOFTIRQS: [&str; 10] =
    ["hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu"];

pub(crate) fn stat(files: &mut Files, softirqs: bool, text: &mut Text<'_>) -> Result<(), Fault> {
    /// Key in `/proc/stat`, metric, kind, help.
    const READINGS: &[(&str, &str, Type, &str)] = &[
        ("intr", "node_intr_total", Type::Counter, "Total number of interrupts serviced."),
        ("ctxt", "node_context_switches_total", Type::Counter, "Total number of context switches."),
        ("btime", "node_boot_time_seconds", Type::Gauge, "Node boot time, in unixtime."),
        ("processes", "node_forks_total", Type::Counter, "Total number of forks."),
        ("procs_running", "node_procs_running", Type::Gauge, "Number of processes in runnable state."),
        (
            "procs_blocked",
            "node_procs_blocked",
            Type::Gauge,
            "Number of processes blocked waiting for I/O to complete.",
        ),
    ];
    let content = files.proc("stat")?;
    let mut seen = [false; READINGS.len()];
    let mut wrong = None;
    for line in content.lines().filter(|line| !line.starts_with("cpu")) {
        let Some((key, rest)) = line.split_once(' ') else { continue };
        let mut numbers = rest.split_ascii_whitespace().map(finite);
        if softirqs && key == "softirq" {
            let name = "node_softirqs_total";
            let rows = SOFTIRQS.iter().zip(numbers.skip(1)).map(|(name, value)| (name, value.unwrap_or(0.0)));
            text.rows(name, Type::Counter, "Number of softirq calls.", "vector", rows);
            continue;
        }
        let Some(at) = READINGS.iter().position(|(known, ..)| *known == key).filter(|at| !seen[*at]) else {
            continue;
        };
        let (_, name, kind, help) = READINGS[at];
        let Some(Some(value)) = numbers.next() else {
            wrong = Some(line.to_owned());
            break;
        };
        seen[at] = true;
        text.single(name, kind, help, value);
    }
    match wrong {
        Some(line) => Err(odd(files, "stat", &line)),
        None if !seen.contains(&true) => Err(odd(files, "stat", "no counter")),
        None => Ok(()),
    }
}

/// Scheduling of each CPU (`Documentation/scheduler/sched-stats.rst`): after the
/// CPU's name, the seventh to ninth fields are nanoseconds run, nanoseconds
/// waited and time slices.
pub(crate) fn schedstat(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("schedstat")?;
    let mut rows: std::collections::BTreeMap<String, [f64; 3]> = std::collections::BTreeMap::new();
    for line in content.lines() {
        let Some((cpu, rest)) = line.strip_prefix("cpu").and_then(|l| l.split_once(' ')) else { continue };
        let mut fields = rest.split_ascii_whitespace().skip(6).map_while(finite);
        let (Some(run), Some(waited), Some(slices)) = (fields.next(), fields.next(), fields.next()) else {
            let line = line.to_owned();
            return Err(odd(files, "schedstat", &line));
        };
        rows.insert(cpu.to_owned(), [run / 1e9, waited / 1e9, slices]);
    }
    const FAMILIES: [(&str, &str); 3] = [
        ("node_schedstat_running_seconds_total", "Number of seconds CPU spent running a process."),
        (
            "node_schedstat_waiting_seconds_total",
            "Number of seconds spent by processing waiting for this CPU.",
        ),
        ("node_schedstat_timeslices_total", "Number of timeslices executed by CPU."),
    ];
    for (at, (name, help)) in FAMILIES.iter().enumerate() {
        text.rows(name, Type::Counter, help, "cpu", rows.iter().map(|(cpu, values)| (cpu, values[at])));
    }
    Ok(())
}

/// One number in a file of `/proc`.
fn one(files: &mut Files, file: &str) -> Result<f64, Fault> {
    let content = files.proc(file)?;
    match finite(content.trim()) {
        Some(value) => Ok(value),
        None => {
            let content = content.to_owned();
            Err(odd(files, file, &content))
        }
    }
}

pub(crate) fn entropy(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let available = one(files, "sys/kernel/random/entropy_avail")?;
    let size = one(files, "sys/kernel/random/poolsize")?;
    text.single("node_entropy_available_bits", Type::Gauge, "Bits of available entropy.", available);
    text.single("node_entropy_pool_size_bits", Type::Gauge, "Bits of entropy pool.", size);
    Ok(())
}

pub(crate) fn file_descriptors(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("sys/fs/file-nr")?;
    let mut numbers = content.split_ascii_whitespace().map(finite);
    let (Some(Some(allocated)), Some(_), Some(Some(maximum))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        let content = content.to_owned();
        return Err(odd(files, "sys/fs/file-nr", &content));
    };
    let help = "File descriptor statistics: allocated.";
    text.single("node_filefd_allocated", Type::Gauge, help, allocated);
    text.single("node_filefd_maximum", Type::Gauge, "File descriptor statistics: maximum.", maximum);
    Ok(())
}

/// Column of `net/stat/nf_conntrack`, which is summed over the CPUs, and help.
const CONNTRACK: &[(&str, &str)] = &[
    ("drop", "Number of packets dropped due to conntrack failure."),
    (
        "early_drop",
        "Number of dropped conntrack entries to make room for new ones, if maximum table size was reached.",
    ),
    ("found", "Number of searched entries which were successful."),
    ("ignore", "Number of packets seen which are already connected to a conntrack entry."),
    ("insert", "Number of entries inserted into the list."),
    ("insert_failed", "Number of entries for which list insertion was attempted but failed."),
    ("invalid", "Number of packets seen which can not be tracked."),
    (
        "search_restart",
        "Number of conntrack table lookups which had to be restarted due to hashtable resizes.",
    ),
];

pub(crate) fn conntrack(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let entries = one(files, "sys/net/netfilter/nf_conntrack_count")?;
    let limit = one(files, "sys/net/netfilter/nf_conntrack_max")?;
    let file = "net/stat/nf_conntrack";
    let content = files.proc(file)?;
    let mut lines = content.lines();
    let columns: Vec<&str> = lines.next().unwrap_or("").split_ascii_whitespace().collect();
    let mut sums = vec![0.0; columns.len()];
    let mut wrong = None;
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.split_ascii_whitespace()) {
            match u64::from_str_radix(word, 16) {
                Ok(value) => *sum += value as f64,
                Err(_) => wrong = Some(line.to_owned()),
            }
        }
    }
    if let Some(line) = wrong {
        return Err(odd(files, file, &line));
    }
    let help = "Number of currently allocated flow entries for connection tracking.";
    text.single("node_nf_conntrack_entries", Type::Gauge, help, entries);
    let help = "Maximum size of connection tracking table.";
    text.single("node_nf_conntrack_entries_limit", Type::Gauge, help, limit);
    for (column, help) in CONNTRACK {
        let value = columns.iter().position(|c| c == column).map_or(0.0, |at| sums[at]);
        text.single(&format!("node_nf_conntrack_stat_{column}"), Type::Gauge, help, value);
    }
    Ok(())
}

pub(crate) fn uname(text: &mut Text<'_>) -> Result<(), Fault> {
    let uname = rustix::system::uname();
    let name = "node_uname_info";
    text.family(name, Type::Gauge, "Labeled system information as provided by the uname system call.");
    let labels = [
        ("domainname", &*uname.domainname().to_string_lossy()),
        ("machine", &*uname.machine().to_string_lossy()),
        ("nodename", &*uname.nodename().to_string_lossy()),
        ("release", &*uname.release().to_string_lossy()),
        ("sysname", &*uname.sysname().to_string_lossy()),
        ("version", &*uname.version().to_string_lossy()),
    ];
    text.sample(name, &labels, 1.0);
    Ok(())
}
