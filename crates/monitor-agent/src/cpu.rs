//! `/proc/stat`'s `cpu` lines (node_exporter's `cpu` collector).
//!
//! Not through `procfs::KernelStats`: it drops the CPU's number, which is not
//! its position where a CPU is offline.

use crate::text::{Text, Type};
use crate::{Fault, Roots, odd, slurp, ticks_and_page};
use std::collections::BTreeMap;

/// The fields of a `cpu` line, in the kernel's order.
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const GUEST_MODES: [&str; 2] = ["user", "nice"];
const FIELDS: usize = MODES.len() + GUEST_MODES.len();

/// The ticks last given for each CPU. Idle and iowait may step back by a tick
/// (proc.rst says so), which a counter must not; a step back by more than three
/// seconds means a CPU that was away, and starts its counters again. Both as
/// node_exporter does.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<u32, [u64; FIELDS]>);

pub(crate) fn read(roots: &Roots, seen: &mut Seen, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("stat");
    let (ticks, _) = ticks_and_page();
    let content = slurp(&path)?;
    let mut present = BTreeMap::new();
    for line in content.lines().filter(|l| l.starts_with("cpu") && !l.starts_with("cpu ")) {
        let mut words = line[3..].split_ascii_whitespace();
        let number: u32 = words.next().and_then(|w| w.parse().ok()).ok_or_else(|| odd(&path, line))?;
        let mut fields = [0u64; FIELDS];
        for (field, word) in fields.iter_mut().zip(words) {
            *field = word.parse().map_err(|_| odd(&path, line))?;
        }
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
        return Err(odd(&path, "no `cpu` line"));
    }

    let name = "node_cpu_guest_seconds_total";
    text.family(name, Type::Counter, "Seconds the CPUs spent in guests (VMs) for each mode.");
    for (cpu, fields) in &present {
        for (mode, value) in GUEST_MODES.iter().zip(&fields[MODES.len()..]) {
            text.sample(name, &[("cpu", &cpu.to_string()), ("mode", mode)], *value as f64 / ticks);
        }
    }
    let name = "node_cpu_seconds_total";
    text.family(name, Type::Counter, "Seconds the CPUs spent in each mode.");
    for (cpu, fields) in &present {
        for (mode, value) in MODES.iter().zip(fields) {
            text.sample(name, &[("cpu", &cpu.to_string()), ("mode", mode)], *value as f64 / ticks);
        }
    }
    seen.0 = present;
    Ok(())
}
