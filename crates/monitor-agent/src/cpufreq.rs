//! The CPUs' frequencies and governors (collector `cpufreq`):
//! `Documentation/admin-guide/pm/cpufreq.rst`, in kHz.

use crate::cpu;
use crate::files::Files;
use crate::text::{Text, Type};
use crate::{Fault, files::Tree};

/// File, metric, help.
const FREQUENCIES: [(&str, &str, &str); 6] = [
    ("cpuinfo_cur_freq", "node_cpu_frequency_hertz", "Current CPU thread frequency in hertz."),
    ("cpuinfo_max_freq", "node_cpu_frequency_max_hertz", "Maximum CPU thread frequency in hertz."),
    ("cpuinfo_min_freq", "node_cpu_frequency_min_hertz", "Minimum CPU thread frequency in hertz."),
    ("scaling_cur_freq", "node_cpu_scaling_frequency_hertz", "Current scaled CPU thread frequency in hertz."),
    (
        "scaling_max_freq",
        "node_cpu_scaling_frequency_max_hertz",
        "Maximum scaled CPU thread frequency in hertz.",
    ),
    (
        "scaling_min_freq",
        "node_cpu_scaling_frequency_min_hertz",
        "Minimum scaled CPU thread frequency in hertz.",
    ),
];

/// `current` is whether `node_cpu_frequency_hertz` is ours to give: the collector
/// `cpu` has a family of that name where `cpuinfo` is wanted.
pub(crate) fn read(files: &mut Files, current: bool, text: &mut Text<'_>) -> Result<(), Fault> {
    let dir = "devices/system/cpu";
    if !files.path(Tree::Sys, &[dir]).is_dir() {
        return Err(Fault::Absent { path: files.path(Tree::Sys, &[dir]) });
    }
    let mut frequencies: [Vec<(String, f64)>; FREQUENCIES.len()] = Default::default();
    let mut governors: Vec<(String, String, f64)> = Vec::new();
    for (number, cpu) in cpu::folders(files) {
        // Every driver has a governor; without one (a virtual machine) there is nothing.
        let Some(governor) = files.word(&[dir, &cpu, "cpufreq/scaling_governor"]).map(String::from) else {
            continue;
        };
        let number = number.to_string();
        for (readings, (file, ..)) in frequencies.iter_mut().zip(FREQUENCIES) {
            if let Some(khz) = files.number(&[dir, &cpu, "cpufreq", file]) {
                readings.push((number.clone(), khz * 1000.0));
            }
        }
        let available = files.word(&[dir, &cpu, "cpufreq/scaling_available_governors"]).unwrap_or("");
        let mut names: Vec<&str> = available.split_ascii_whitespace().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            governors.push((number.clone(), name.to_owned(), f64::from(u8::from(name == governor))));
        }
    }
    for (readings, (_, name, help)) in frequencies.into_iter().zip(FREQUENCIES) {
        if current || name != "node_cpu_frequency_hertz" {
            text.rows(name, Type::Gauge, help, "cpu", readings);
        }
    }
    let name = "node_cpu_scaling_governor";
    if !governors.is_empty() {
        text.family(name, Type::Gauge, "Current enabled CPU frequency governor.");
    }
    for (cpu, governor, enabled) in &governors {
        text.sample(name, &[("cpu", cpu), ("governor", governor)], *enabled);
    }
    Ok(())
}
