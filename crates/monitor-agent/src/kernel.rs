//! Load, pressure, counters of the kernel, file descriptors, name (collectors
//! `loadavg`, `pressure`, `stat`, `filefd`, `uname`).

use crate::text::{Text, Type};
use crate::{Fault, Roots, odd, parse, slurp};

pub(crate) fn load(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("loadavg");
    let content = slurp(&path)?;
    let mut words = content.split_ascii_whitespace();
    for (name, minutes) in [("node_load1", "1m"), ("node_load5", "5m"), ("node_load15", "15m")] {
        let word = words.next().ok_or_else(|| odd(&path, &content))?;
        text.single(name, Type::Gauge, &format!("{minutes} load average."), parse(&path, word)?);
    }
    Ok(())
}

pub(crate) fn pressure(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    /// File, line, metric, help.
    const READINGS: &[(&str, &str, &str, &str)] = &[
        ("cpu", "some", "cpu_waiting", "that processes have waited for CPU time"),
        ("io", "full", "io_stalled", "no process could make progress due to IO congestion"),
        ("io", "some", "io_waiting", "that processes have waited due to IO congestion"),
        ("irq", "full", "irq_stalled", "no process could make progress due to IRQ congestion"),
        ("memory", "full", "memory_stalled", "no process could make progress due to memory congestion"),
        ("memory", "some", "memory_waiting", "that processes have waited for memory"),
    ];
    if !roots.proc.join("pressure").is_dir() {
        return Ok(()); // A kernel without PSI, or started with psi=0.
    }
    for (file, line, name, help) in READINGS {
        let path = roots.proc.join("pressure").join(file);
        // `irq` needs CONFIG_IRQ_TIME_ACCOUNTING; reading any of them fails with
        // EOPNOTSUPP where PSI is compiled in but switched off.
        let Ok(content) = slurp(&path) else { continue };
        let total = content
            .lines()
            .find_map(|l| {
                l.strip_prefix(line)?.split_ascii_whitespace().find_map(|w| w.strip_prefix("total="))
            })
            .ok_or_else(|| odd(&path, &content))?;
        let name = format!("node_pressure_{name}_seconds_total");
        let help = format!("Total time in seconds {help}");
        text.single(&name, Type::Counter, &help, parse(&path, total)? / 1_000_000.0);
    }
    Ok(())
}

pub(crate) fn stat(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    /// Key in `/proc/stat`, metric, kind, help.
    const READINGS: &[(&str, &str, Type, &str)] = &[
        ("btime", "node_boot_time_seconds", Type::Gauge, "Node boot time, in unixtime."),
        ("ctxt", "node_context_switches_total", Type::Counter, "Total number of context switches."),
        ("intr", "node_intr_total", Type::Counter, "Total number of interrupts serviced."),
        ("processes", "node_forks_total", Type::Counter, "Total number of forks."),
        (
            "procs_blocked",
            "node_procs_blocked",
            Type::Gauge,
            "Number of processes blocked waiting for I/O to complete.",
        ),
        ("procs_running", "node_procs_running", Type::Gauge, "Number of processes in runnable state."),
    ];
    let path = roots.proc.join("stat");
    let content = slurp(&path)?;
    for (key, name, kind, help) in READINGS {
        let value = content.lines().find_map(|line| {
            let (first, rest) = line.split_once(' ')?;
            (first == *key).then(|| rest.split_ascii_whitespace().next())?
        });
        if let Some(value) = value {
            text.single(name, *kind, help, parse(&path, value)?);
        }
    }
    Ok(())
}

pub(crate) fn file_descriptors(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("sys/fs/file-nr");
    let content = slurp(&path)?;
    let mut words = content.split_ascii_whitespace();
    let (Some(allocated), Some(_), Some(maximum)) = (words.next(), words.next(), words.next()) else {
        return Err(odd(&path, &content));
    };
    for (name, value) in [("allocated", allocated), ("maximum", maximum)] {
        let help = format!("File descriptor statistics: {name}.");
        text.single(&format!("node_filefd_{name}"), Type::Gauge, &help, parse(&path, value)?);
    }
    Ok(())
}

pub(crate) fn uname(text: &mut Text<'_>) -> Result<(), Fault> {
    let uname = rustix::system::uname();
    let domain = uname.domainname().to_string_lossy();
    let machine = uname.machine().to_string_lossy();
    let node = uname.nodename().to_string_lossy();
    let release = uname.release().to_string_lossy();
    let system = uname.sysname().to_string_lossy();
    let version = uname.version().to_string_lossy();
    let name = "node_uname_info";
    text.family(name, Type::Gauge, "Labeled system information as provided by the uname system call.");
    let labels = [
        ("domainname", &*domain),
        ("machine", &*machine),
        ("nodename", &*node),
        ("release", &*release),
        ("sysname", &*system),
        ("version", &*version),
    ];
    text.sample(name, &labels, 1.0);
    Ok(())
}
