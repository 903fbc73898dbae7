//! CPU time from `/proc/stat`, and what `/proc/cpuinfo` and
//! `/sys/devices/system/cpu` say of the CPUs (collector `cpu`).
//!
//! Not through `procfs::KernelStats`: it drops the CPU's number, which is not
//! its position where a CPU is offline.

use crate::files::{Files, finite};
use crate::settings::{Filter, Rules, Settings};
use crate::text::{Text, Type};
use crate::{Fault, odd, ticks_and_page};
use std::collections::BTreeMap;

/// The fields of a `cpu` line, in the kernel's order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const FIELDS: usize = MODES.len() + GUEST_MODES.len();

/// A range in a list of CPUs is not longer: the kernel's CONFIG_NR_CPUS is at most 8192.
const MAX_CPUS: u32 = 8_192;

/// The ticks last given for each CPU. Idle and iowait may step back by a tick
/// (proc.rst says so), which a counter must not; a step back by more than three
/// seconds means a CPU that was away, and starts its counters again. Both as
/// node_exporter does.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<u32, [u64; FIELDS]>);

/// Whether the readings from `cpuinfo` are wanted.
pub(crate) fn gives_info(settings: &Settings) -> bool {
    settings.cpu_info || settings.cpu_flags.is_some() || settings.cpu_bugs.is_some()
}

pub(crate) fn read(
    files: &mut Files,
    settings: &Settings,
    rules: &mut Rules,
    seen: &mut Seen,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    if gives_info(settings) {
        info(files, rules, text)?;
    }
    times(files, seen, text)?;
    // What sysfs lacks (a virtual machine has no thermal throttling) is no failure.
    throttles(files, text);
    isolated(files, text);
    Ok(())
}

fn times(files: &mut Files, seen: &mut Seen, text: &mut Text<'_>) -> Result<(), Fault> {
    let (ticks, _) = ticks_and_page();
    let content = files.proc("stat")?;
    let mut present = BTreeMap::new();
    // The lines of the CPUs are the first (proc.rst): the long `intr` need not be looked at.
    for line in content.lines().take_while(|l| l.starts_with("cpu")).filter(|l| !l.starts_with("cpu ")) {
        let Some((number, mut fields)) = cpu_of_line(line) else {
            let line = line.to_owned();
            return Err(odd(files, "stat", &line));
        };
        if let Some(before) = seen.0.get(&number) {
            let idle = 3;
            let away = before[idle] as f64 - fields[idle] as f64 > 3.0 * ticks;
            if !away {
                for (field, old) in fields.iter_mut().zip(before) {
                    *field = (*field).max(*old);
                }
            }
        }
        present.insert(number, fields);
    }
    if present.is_empty() {
        return Err(odd(files, "stat", "no `cpu` line"));
    }
    let names: Vec<String> = present.keys().map(u32::to_string).collect();
    let mut family = |name: &str, help: &str, modes: &[&str], from: usize| {
        text.family(name, Type::Counter, help);
        for (cpu, fields) in names.iter().zip(present.values()) {
            for (mode, value) in modes.iter().zip(&fields[from..]) {
                text.sample(name, &[("cpu", cpu), ("mode", mode)], *value as f64 / ticks);
            }
        }
    };
    let help = "Seconds the CPUs spent in guests (VMs) for each mode.";
    family("node_cpu_guest_seconds_total", help, &GUEST_MODES, MODES.len());
    family("node_cpu_seconds_total", "Seconds the CPUs spent in each mode.", &MODES, 0);
    seen.0 = present;
    Ok(())
}

fn cpu_of_line(line: &str) -> Option<(u32, [u64; FIELDS])> {
    let mut words = line[3..].split_ascii_whitespace();
    let number: u32 = words.next()?.parse().ok()?;
    let mut fields = [0u64; FIELDS];
    for (field, word) in fields.iter_mut().zip(words) {
        *field = word.parse().ok()?;
    }
    Some((number, fields))
}

/// One CPU of `cpuinfo`; what an architecture does not give is empty.
#[derive(Default)]
struct Info {
    values: [String; FIELDS_OF_INFO.len()],
    mhz: f64,
    flags: String,
    bugs: String,
}

/// Label, and the key in `cpuinfo`; in the labels' order.
const FIELDS_OF_INFO: [(&str, &str); 10] = [
    ("cachesize", "cache size"),
    ("core", "core id"),
    ("cpu", "processor"),
    ("family", "cpu family"),
    ("microcode", "microcode"),
    ("model", "model"),
    ("model_name", "model name"),
    ("package", "physical id"),
    ("stepping", "stepping"),
    ("vendor", "vendor_id"),
];
const CORE: usize = 1;
const CPU: usize = 2;
const PACKAGE: usize = 7;

fn info(files: &mut Files, rules: &mut Rules, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("cpuinfo")?;
    let mut cpus: Vec<Info> = Vec::new();
    for line in content.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" {
            cpus.push(Info::default());
        }
        let count = cpus.len();
        let Some(cpu) = cpus.last_mut() else { continue };
        if let Some(at) = FIELDS_OF_INFO.iter().position(|(_, known)| *known == key) {
            value.clone_into(&mut cpu.values[at]);
        }
        match key {
            "cpu MHz" => cpu.mhz = finite(value).unwrap_or(0.0),
            // Of the first core alone.
            "flags" | "Features" if count == 1 => value.clone_into(&mut cpu.flags),
            "bugs" if count == 1 => value.clone_into(&mut cpu.bugs),
            _ => {}
        }
    }
    // A hostile file may name a processor twice; a series may be given once.
    let mut seen = std::collections::HashSet::new();
    cpus.retain(|cpu| seen.insert(cpu.values[CPU].clone()));
    let Some(first) = cpus.first() else { return Err(odd(files, "cpuinfo", "no `processor`")) };

    let name = "node_cpu_info";
    text.family(name, Type::Gauge, "CPU information from /proc/cpuinfo.");
    for cpu in &cpus {
        let labels: [(&str, &str); FIELDS_OF_INFO.len()] =
            std::array::from_fn(|at| (FIELDS_OF_INFO[at].0, cpu.values[at].as_str()));
        text.sample(name, &labels, 1.0);
    }
    let name = "node_cpu_frequency_hertz";
    text.family(name, Type::Gauge, "CPU frequency in hertz from /proc/cpuinfo.");
    for cpu in &cpus {
        let labels =
            [("core", &*cpu.values[CORE]), ("cpu", &*cpu.values[CPU]), ("package", &*cpu.values[PACKAGE])];
        text.sample(name, &labels, cpu.mhz * 1e6);
    }
    let mut listed = |filter: &mut Option<Filter>, words: &str, name: &str, field: &str, label: &str| {
        let Some(filter) = filter else { return };
        let mut words: Vec<&str> = words.split_ascii_whitespace().filter(|w| filter.takes(w)).collect();
        words.sort_unstable();
        words.dedup();
        let help =
            format!("The `{field}` field of CPU information from /proc/cpuinfo taken from the first core.");
        text.rows(name, Type::Gauge, &help, label, words.into_iter().map(|word| (word, 1.0)));
    };
    listed(&mut rules.cpu_bugs, &first.bugs, "node_cpu_bug_info", "bugs", "bug");
    listed(&mut rules.cpu_flags, &first.flags, "node_cpu_flag_info", "flags", "flag");
    Ok(())
}

/// The folders `cpu0`, `cpu1`, … by number.
pub(crate) fn folders(files: &mut Files) -> Vec<(u32, String)> {
    let Ok(names) = files.devices("devices/system/cpu") else { return Vec::new() };
    let mut found: Vec<(u32, String)> = names
        .iter()
        .filter_map(|name| {
            let digits = name.strip_prefix("cpu").filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?;
            Some((digits.parse().ok()?, name.clone()))
        })
        .collect();
    found.sort_unstable();
    found
}

/// `Documentation/ABI/testing/sysfs-devices-system-cpu`: how often a core and its
/// package were throttled. CPUs of one core share its count.
fn throttles(files: &mut Files, text: &mut Text<'_>) {
    let dir = "devices/system/cpu";
    let mut packages: BTreeMap<u64, f64> = BTreeMap::new();
    let mut cores: BTreeMap<(u64, u64), f64> = BTreeMap::new();
    let mut online: Vec<(String, f64)> = Vec::new();
    for (number, cpu) in folders(files) {
        // The boot CPU has no such file on most machines.
        if let Some(value) = files.number(&[dir, &cpu, "online"]) {
            online.push((number.to_string(), value));
        }
        // Where nothing is counted, the topology need not be asked for.
        let Some(core_count) = files.number(&[dir, &cpu, "thermal_throttle/core_throttle_count"]) else {
            continue;
        };
        let mut id = |file: &str| files.word(&[dir, &cpu, file]).and_then(|w| w.parse::<u64>().ok());
        let (Some(package), Some(core)) = (id("topology/physical_package_id"), id("topology/core_id")) else {
            continue;
        };
        cores.entry((package, core)).or_insert(core_count);
        if !packages.contains_key(&package)
            && let Some(count) = files.number(&[dir, &cpu, "thermal_throttle/package_throttle_count"])
        {
            packages.insert(package, count);
        }
    }
    let name = "node_cpu_core_throttles_total";
    if !cores.is_empty() {
        text.family(name, Type::Counter, "Number of times this CPU core has been throttled.");
    }
    for ((package, core), count) in &cores {
        text.sample(name, &[("core", &core.to_string()), ("package", &package.to_string())], *count);
    }
    let rows = packages.iter().map(|(package, count)| (package.to_string(), *count));
    let help = "Number of times this CPU package has been throttled.";
    text.rows("node_cpu_package_throttles_total", Type::Counter, help, "package", rows);
    let help = "CPUs that are online and being scheduled.";
    text.rows("node_cpu_online", Type::Gauge, help, "cpu", online);
}

fn isolated(files: &mut Files, text: &mut Text<'_>) {
    let list = files.word(&["devices/system/cpu/isolated"]).map(cpus_of_list).unwrap_or_default();
    let help = "Whether each core is isolated, information from /sys/devices/system/cpu/isolated.";
    let rows = list.into_iter().map(|cpu| (cpu.to_string(), 1.0));
    text.rows("node_cpu_isolated", Type::Gauge, help, "cpu", rows);
}

/// `1,3-5,9` (admin-guide/cputopology.rst).
fn cpus_of_list(list: &str) -> std::collections::BTreeSet<u32> {
    let mut cpus = std::collections::BTreeSet::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>()) {
            cpus.extend(first..=last.min(MAX_CPUS));
        }
    }
    cpus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus() {
        let cases: &[(&str, &[u32])] =
            &[("", &[]), ("1,3-5,9", &[1, 3, 4, 5, 9]), ("0", &[0]), ("5-3", &[]), ("x,2,-", &[2])];
        for (list, expected) in cases {
            assert_eq!(cpus_of_list(list).into_iter().collect::<Vec<_>>(), *expected, "{list}");
        }
        assert_eq!(cpus_of_list("0-4294967295").len(), 8_193);
    }

    #[test]
    fn lines_of_cpus() {
        assert_eq!(cpu_of_line("cpu7 1 2 3 4 5 6 7 8 9 10"), Some((7, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10])));
        // A kernel before 2.6.33 gives fewer, a later one may give more.
        assert_eq!(cpu_of_line("cpu7 1 2 3 4"), Some((7, [1, 2, 3, 4, 0, 0, 0, 0, 0, 0])));
        assert_eq!(cpu_of_line("cpu7 1 2 3 4 5 6 7 8 9 10 11"), cpu_of_line("cpu7 1 2 3 4 5 6 7 8 9 10"));
        for bad in ["cpu", "cpux 1", "cpu1 -1", "cpu1 1 x"] {
            assert_eq!(cpu_of_line(bad), None, "{bad}");
        }
    }
}
