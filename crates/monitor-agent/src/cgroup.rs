//! Control groups, version 2: CPU, memory, I/O, tasks and pressure of each slice
//! and unit (`Documentation/admin-guide/cgroup-v2.rst`).
//!
//! Names are cAdvisor's, with the group's path as the label `id`, as cAdvisor has
//! it for groups that are no container: boards and rules for it work.

use crate::files::{Files, Tree, finite};
use crate::kernel::pressure_total;
use crate::settings::Filter;
use crate::text::{Text, Type};
use crate::{Fault, odd_at};
use std::collections::BTreeMap;

/// Where version 2 is mounted: alone, or beside version 1 by systemd.
const ROOTS: [&str; 2] = ["fs/cgroup", "fs/cgroup/unified"];

/// Devices of one group, at most.
const MAX_DEVICES: usize = 64;

/// Metric, kind, help, file, key in it (none: the file is the number), what the
/// value is divided by.
type Reading = (&'static str, Type, &'static str, &'static str, Option<&'static str>, f64);

const READINGS: &[Reading] = {
    use Type::{Counter, Gauge};
    &[
        (
            "container_cpu_usage_seconds_total",
            Counter,
            "Cumulative cpu time consumed in seconds.",
            "cpu.stat",
            Some("usage_usec"),
            1e6,
        ),
        (
            "container_cpu_user_seconds_total",
            Counter,
            "Cumulative user cpu time consumed in seconds.",
            "cpu.stat",
            Some("user_usec"),
            1e6,
        ),
        (
            "container_cpu_system_seconds_total",
            Counter,
            "Cumulative system cpu time consumed in seconds.",
            "cpu.stat",
            Some("system_usec"),
            1e6,
        ),
        (
            "container_cpu_cfs_periods_total",
            Counter,
            "Number of elapsed enforcement period intervals.",
            "cpu.stat",
            Some("nr_periods"),
            1.0,
        ),
        (
            "container_cpu_cfs_throttled_periods_total",
            Counter,
            "Number of throttled period intervals.",
            "cpu.stat",
            Some("nr_throttled"),
            1.0,
        ),
        (
            "container_cpu_cfs_throttled_seconds_total",
            Counter,
            "Total time duration the container has been throttled.",
            "cpu.stat",
            Some("throttled_usec"),
            1e6,
        ),
        (
            "container_memory_usage_bytes",
            Gauge,
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            "memory.current",
            None,
            1.0,
        ),
        ("container_memory_swap", Gauge, "Container swap usage in bytes.", "memory.swap.current", None, 1.0),
        ("container_memory_rss", Gauge, "Size of RSS in bytes.", "memory.stat", Some("anon"), 1.0),
        (
            "container_memory_cache",
            Gauge,
            "Number of bytes of page cache memory.",
            "memory.stat",
            Some("file"),
            1.0,
        ),
        (
            "container_spec_memory_limit_bytes",
            Gauge,
            "Memory limit for the container.",
            "memory.max",
            None,
            1.0,
        ),
        (
            "container_oom_events_total",
            Counter,
            "Count of out of memory events observed for the container",
            "memory.events",
            Some("oom_kill"),
            1.0,
        ),
        (
            "container_threads",
            Gauge,
            "Number of threads running inside the container",
            "pids.current",
            None,
            1.0,
        ),
        (
            "container_threads_max",
            Gauge,
            "Maximum number of threads allowed inside the container",
            "pids.max",
            None,
            1.0,
        ),
    ]
};

/// `container_memory_usage_bytes` without what can be given back at once.
const WORKING_SET: &str = "container_memory_working_set_bytes";

/// Key in `io.stat`, metric, help.
const IO: [(&str, &str, &str); 4] = [
    ("rbytes", "container_fs_reads_bytes_total", "Cumulative count of bytes read"),
    ("wbytes", "container_fs_writes_bytes_total", "Cumulative count of bytes written"),
    ("rios", "container_fs_reads_total", "Cumulative count of reads completed"),
    ("wios", "container_fs_writes_total", "Cumulative count of writes completed"),
];

/// File, line, metric, help.
const PRESSURES: [(&str, &str, &str, &str); 6] = [
    (
        "cpu.pressure",
        "some",
        "container_pressure_cpu_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to CPU congestion.",
    ),
    (
        "cpu.pressure",
        "full",
        "container_pressure_cpu_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to CPU congestion.",
    ),
    (
        "memory.pressure",
        "some",
        "container_pressure_memory_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to memory congestion.",
    ),
    (
        "memory.pressure",
        "full",
        "container_pressure_memory_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to memory congestion.",
    ),
    (
        "io.pressure",
        "some",
        "container_pressure_io_waiting_seconds_total",
        "Total time duration tasks in the container have waited due to IO congestion.",
    ),
    (
        "io.pressure",
        "full",
        "container_pressure_io_stalled_seconds_total",
        "Total time duration no tasks in the container could make progress due to IO congestion.",
    ),
];

/// Kind, help, and the rows: the labels after `id` and their values, `id` first.
struct Family {
    kind: Type,
    help: &'static str,
    rows: Vec<(usize, Option<String>, f64)>,
}

#[derive(Default)]
struct Families(BTreeMap<&'static str, Family>);

impl Families {
    fn add(
        &mut self,
        name: &'static str,
        kind: Type,
        help: &'static str,
        group: usize,
        device: Option<&str>,
        value: f64,
    ) {
        let family = self.0.entry(name).or_insert_with(|| Family { kind, help, rows: Vec::new() });
        family.rows.push((group, device.map(str::to_owned), value));
    }
}

/// Gives how many groups were left out because there are more than `limit`.
pub(crate) fn read(
    files: &mut Files,
    filter: &mut Filter,
    depth: usize,
    limit: usize,
    text: &mut Text<'_>,
) -> Result<usize, Fault> {
    let controllers = |root: &&&str| files.path(Tree::Sys, &[root, "cgroup.controllers"]).is_file();
    let Some(root) = ROOTS.iter().find(controllers) else {
        return Err(Fault::Absent { path: files.path(Tree::Sys, &[ROOTS[0], "cgroup.controllers"]) });
    };
    let (groups, left_out) = groups(files, root, filter, depth, limit);
    let mut families = Families::default();
    let mut devices: BTreeMap<String, String> = BTreeMap::new();
    for (at, group) in groups.iter().enumerate() {
        let dir = format!("{root}{}", group.trim_end_matches('/'));
        if let Err((file, line)) = measure(files, &dir, at, &mut families, &mut devices) {
            // A group may end while it is read; what it said until then is true.
            if files.path(Tree::Sys, &[&dir]).is_dir() {
                return Err(odd_at(files.path(Tree::Sys, &[&dir, file]), &line));
            }
        }
    }
    for (name, family) in &families.0 {
        text.family(name, family.kind, family.help);
        for (group, device, value) in &family.rows {
            let id = groups[*group].as_str();
            match device {
                Some(device) => text.sample(name, &[("device", device), ("id", id)], *value),
                None => text.sample(name, &[("id", id)], *value),
            }
        }
    }
    Ok(left_out)
}

/// The groups from the root down, those of a level before the next, and how many
/// more there are. A group that is left out by its name has no children here.
fn groups(
    files: &Files,
    root: &str,
    filter: &mut Filter,
    depth: usize,
    limit: usize,
) -> (Vec<String>, usize) {
    let mut found = vec!["/".to_owned()];
    let mut level = vec![String::new()];
    let mut left_out = 0;
    for _ in 0..depth {
        let mut next = Vec::new();
        for parent in level {
            let dir = files.path(Tree::Sys, &[&format!("{root}{parent}")]);
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            let mut names: Vec<String> = entries
                .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            names.sort_unstable();
            for name in names {
                let path = format!("{parent}/{name}");
                if !filter.takes(&path) {
                    continue;
                }
                if found.len() >= limit {
                    left_out += 1;
                    continue;
                }
                found.push(path.clone());
                next.push(path);
            }
        }
        level = next;
    }
    (found, left_out)
}

/// The file and line that is not understood.
type Odd = (&'static str, String);

fn measure(
    files: &mut Files,
    dir: &str,
    group: usize,
    families: &mut Families,
    devices: &mut BTreeMap<String, String>,
) -> Result<(), Odd> {
    let mut before = "";
    let mut content = String::new();
    let mut usage = None;
    let mut inactive = None;
    for (name, kind, help, file, key, divisor) in READINGS {
        if before != *file {
            before = file;
            content.clear();
            // A controller that is not enabled for the group has no files there.
            if let Some(found) = files.word(&[dir, file]) {
                content.push_str(found);
            }
            if *file == "memory.stat" {
                inactive = value_of(&content, "inactive_file");
            }
        }
        // `max`: no limit.
        if content.is_empty() || content == "max" {
            continue;
        }
        let value = match key {
            Some(key) => value_of(&content, key),
            None => Some(finite(&content).ok_or_else(|| (*file, content.clone()))?),
        };
        let Some(value) = value else { continue };
        if *name == "container_memory_usage_bytes" {
            usage = Some(value);
        }
        families.add(name, *kind, help, group, None, value / divisor);
    }
    if let (Some(usage), Some(inactive)) = (usage, inactive) {
        let help = "Current working set in bytes.";
        families.add(WORKING_SET, Type::Gauge, help, group, None, (usage - inactive).max(0.0));
    }
    for (file, line, name, help) in PRESSURES {
        // The root has none of its own, and `psi=0` none at all.
        if let Some(total) = files.word(&[dir, file]).and_then(|content| pressure_total(content, line)) {
            families.add(name, Type::Counter, help, group, None, total / 1e6);
        }
    }
    io(files, dir, group, families, devices)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`, a line a device.
fn io(
    files: &mut Files,
    dir: &str,
    group: usize,
    families: &mut Families,
    devices: &mut BTreeMap<String, String>,
) -> Result<(), Odd> {
    let content = files.word(&[dir, "io.stat"]).unwrap_or_default().to_owned();
    let mut seen = Vec::new();
    for line in content.lines().take(MAX_DEVICES) {
        let mut words = line.split_ascii_whitespace();
        let Some(number) = words.next().filter(|number| !seen.contains(number)) else { continue };
        seen.push(number);
        let device = match devices.get(number) {
            Some(device) => device.clone(),
            None => {
                let device = device_name(files, number);
                devices.insert(number.to_owned(), device.clone());
                device
            }
        };
        for word in words {
            let Some((key, value)) = word.split_once('=') else { return Err(("io.stat", line.to_owned())) };
            let Some((_, name, help)) = IO.iter().find(|(known, ..)| *known == key) else { continue };
            let value = finite(value).ok_or_else(|| ("io.stat", line.to_owned()))?;
            families.add(name, Type::Counter, help, group, Some(&device), value);
        }
    }
    Ok(())
}

/// `/dev/sda` of `8:0`, as `/sys/dev/block` links it; the number where it does not.
fn device_name(files: &Files, number: &str) -> String {
    let digits = number.bytes().all(|b| b.is_ascii_digit() || b == b':');
    let link = std::fs::read_link(files.path(Tree::Sys, &["dev/block", number])).ok();
    match link.as_deref().filter(|_| digits).and_then(|link| link.file_name()) {
        Some(name) => format!("/dev/{}", name.to_string_lossy()),
        None => number.to_owned(),
    }
}

/// The number after `key` in a file of `key value` lines.
fn value_of(content: &str, key: &str) -> Option<f64> {
    let mut found = content.lines().filter_map(|line| line.split_once(' '));
    finite(found.find(|(known, _)| *known == key)?.1.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Pattern, Roots};

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Files) {
        let dir = tempfile::tempdir().unwrap();
        for (file, content) in files {
            let path = dir.path().join("fs/cgroup").join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
        std::fs::create_dir_all(dir.path().join("dev/block")).unwrap();
        let _ = std::os::unix::fs::symlink("../../devices/x/block/sda", dir.path().join("dev/block/8:0"));
        let files = Files::new(&Roots { sys: dir.path().to_owned(), ..Roots::default() });
        (dir, files)
    }

    fn reading(files: &mut Files, depth: usize, limit: usize) -> (Result<usize, Fault>, String) {
        let mut out = String::new();
        let mut filter = Filter::new("test", &Pattern::without("/hidden$")).unwrap();
        let outcome = read(files, &mut filter, depth, limit, &mut Text::new(&mut out));
        (outcome, out)
    }

    const UNIT: &str = "system.slice/nginx.service";

    #[test]
    fn a_units_share() {
        let unit = |file: &str| format!("{UNIT}/{file}");
        let (_dir, mut files) = tree(&[
            ("cgroup.controllers", "cpu memory"),
            ("cpu.stat", "usage_usec 5\n"),
            (&unit("cpu.stat"), "usage_usec 2500000\nuser_usec 1\nnr_throttled 3\n"),
            (&unit("memory.current"), "1000\n"),
            (&unit("memory.stat"), "anon 300\nfile 600\ninactive_file 400\n"),
            (&unit("memory.max"), "max\n"),
            (&unit("memory.events"), "oom 2\noom_kill 1\n"),
            (&unit("pids.current"), "7\n"),
            (&unit("io.stat"), "8:0 rbytes=10 wbytes=20 rios=1 wios=2 dbytes=0\n9:9 rbytes=1\n"),
            (&unit("io.pressure"), "some avg10=0.00 total=3000000\nfull avg10=0.00 total=5\n"),
            ("hidden/below/pids.current", "1\n"),
        ]);
        let (outcome, out) = reading(&mut files, 3, 100);
        assert_eq!(outcome.unwrap(), 0);
        let id = format!("id=\"/{UNIT}\"");
        for expected in [
            "container_cpu_usage_seconds_total{id=\"/\"} 0.000005".to_owned(),
            format!("container_cpu_usage_seconds_total{{{id}}} 2.5"),
            format!("container_cpu_cfs_throttled_periods_total{{{id}}} 3"),
            format!("container_memory_working_set_bytes{{{id}}} 600"),
            format!("container_memory_rss{{{id}}} 300"),
            format!("container_oom_events_total{{{id}}} 1"),
            format!("container_threads{{{id}}} 7"),
            format!("container_fs_writes_bytes_total{{device=\"/dev/sda\",{id}}} 20"),
            format!("container_fs_reads_bytes_total{{device=\"9:9\",{id}}} 1"),
            format!("container_pressure_io_waiting_seconds_total{{{id}}} 3"),
        ] {
            assert!(out.lines().any(|line| line == expected), "{expected} is not in\n{out}");
        }
        assert!(!out.contains("limit_bytes") && !out.contains("hidden"));
    }

    #[test]
    fn bounds_hold() {
        let (_dir, mut files) =
            tree(&[("cgroup.controllers", ""), ("a/b/c/d/pids.current", "1\n"), ("e/pids.current", "2\n")]);
        let (outcome, out) = reading(&mut files, 3, 100);
        assert_eq!((outcome.unwrap(), out.contains("/a/b/c/d")), (0, false));
        let (outcome, out) = reading(&mut files, 3, 2);
        // `/e`, and `/a/b` below the one that is in.
        assert_eq!((outcome.unwrap(), out.contains("id=\"/e\"")), (2, false), "{out}");
    }

    #[test]
    fn odd_groups_are_named_and_no_groups_are_absent() {
        let (_dir, mut files) = tree(&[("cgroup.controllers", ""), ("a/pids.current", "seven\n")]);
        let (outcome, _) = reading(&mut files, 1, 10);
        assert!(outcome.unwrap_err().to_string().contains("a/pids.current`: `seven`"));
        let (_dir, mut files) = tree(&[]);
        assert!(reading(&mut files, 1, 10).0.unwrap_err().is_absence());
    }
}
