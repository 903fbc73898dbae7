//! node_exporter's end-to-end case against `monitor-agent`: its fixture tree is
//! read, and every series, help and type of the collectors that are ours must be
//! as its expected output has them, and no other.
//!
//! `sys` and `udev` come as plain-text archives: `Path:`, then `Lines: N` and the
//! lines, or `SymlinkTo:`; `Directory:`; `NULLBYTE` for a zero byte and `EOF` for
//! no newline at the end. They are unpacked to a folder that is removed again.
//! The expected output names files as from the folder above, so the agent's
//! paths are cut likewise.
//!
//! What its run set can be seen from what it gave; [`settings`] says it.
//!
//! Values of the machine that ran it are not in the expected output: its families
//! without a sample are [matched by name](MACHINES). Three collectors are not in
//! it at all, because all they give is of the machine: they are read here too,
//! and must give the names and labels of [`UNSEEN`].

use super::{Failure, Outcome};
use monitor_agent::{Host, Pattern, Roots, Settings};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What begins with these is one of our collectors'; a longer beginning wins.
const OURS: &[(&str, &str)] = &[
    ("node_arp_", "arp"),
    ("node_bonding_", "bonding"),
    ("node_boot_time_seconds", "stat"),
    ("node_context_switches_total", "stat"),
    ("node_cooling_device_", "thermal_zone"),
    ("node_cpu_", "cpu"),
    ("node_cpu_scaling_", "cpufreq"),
    ("node_disk_", "diskstats"),
    ("node_edac_", "edac"),
    ("node_entropy_", "entropy"),
    ("node_filefd_", "filefd"),
    ("node_filesystem_", "filesystem"),
    ("node_forks_total", "stat"),
    ("node_hwmon_", "hwmon"),
    ("node_intr_total", "stat"),
    ("node_load", "loadavg"),
    ("node_md_", "mdadm"),
    ("node_memory_", "meminfo"),
    ("node_netstat_", "netstat"),
    ("node_network_", "netclass and netdev"),
    ("node_nf_conntrack_", "conntrack"),
    ("node_nfs_", "nfs"),
    ("node_nvme_", "nvme"),
    ("node_os_", "os"),
    ("node_power_supply_", "powersupplyclass"),
    ("node_pressure_", "pressure"),
    ("node_procs_", "stat"),
    ("node_rapl_", "rapl"),
    ("node_schedstat_", "schedstat"),
    ("node_scrape_collector_", "of all"),
    ("node_sockstat_", "sockstat"),
    ("node_softirqs_total", "stat"),
    ("node_softnet_", "softnet"),
    ("node_textfile_", "textfile"),
    ("node_thermal_zone_", "thermal_zone"),
    ("node_time_", "time"),
    ("node_timex_", "timex"),
    ("node_udp_queues", "udp_queues"),
    ("node_uname_info", "uname"),
    ("node_vmstat_", "vmstat"),
    ("node_xfs_", "xfs"),
    ("node_zfs_", "zfs"),
    ("testmetric", "textfile"),
];

/// Of collectors that are not ours though they begin like one.
const OTHERS: &[&str] =
    &["node_cpu_vulnerabilities_info", "node_memory_numa_", "node_softirqs_functions_total"];

/// Families whose samples the expected output lacks, and why.
const MACHINES: &[(&str, &str)] = &[
    ("node_network_receive_bytes_total", "the counters of the machine's own loopback, asked over netlink"),
    ("node_network_receive_packets_total", "the counters of the machine's own loopback, asked over netlink"),
    ("node_network_transmit_bytes_total", "the counters of the machine's own loopback, asked over netlink"),
    ("node_network_transmit_packets_total", "the counters of the machine's own loopback, asked over netlink"),
    ("node_scrape_collector_duration_seconds", "how long the machine took"),
    ("node_textfile_mtime_seconds", "when the fixture was written to this disk"),
    ("node_time_seconds", "the time"),
    ("node_time_zone_offset_seconds", "the machine's time zone"),
];

/// Collectors that the expected output leaves out, why, and their families with
/// the labels of each sample.
#[allow(clippy::type_complexity)]
const UNSEEN: &[(&str, &str, &[(&str, &[&str])])] = &[
    (
        "filesystem",
        "statfs is asked of the machine's mounts",
        &[
            ("node_filesystem_device_error", &["device", "device_error", "fstype", "mountpoint"]),
            ("node_filesystem_readonly", &["device", "device_error", "fstype", "mountpoint"]),
            ("node_filesystem_mount_info", &["device", "major", "minor", "mountpoint"]),
        ],
    ),
    (
        "timex",
        "adjtimex is the machine's clock",
        &[
            ("node_timex_estimated_error_seconds", &[]),
            ("node_timex_frequency_adjustment_ratio", &[]),
            ("node_timex_loop_time_constant", &[]),
            ("node_timex_maxerror_seconds", &[]),
            ("node_timex_offset_seconds", &[]),
            ("node_timex_pps_calibration_total", &[]),
            ("node_timex_pps_error_total", &[]),
            ("node_timex_pps_frequency_hertz", &[]),
            ("node_timex_pps_jitter_seconds", &[]),
            ("node_timex_pps_jitter_total", &[]),
            ("node_timex_pps_shift_seconds", &[]),
            ("node_timex_pps_stability_exceeded_total", &[]),
            ("node_timex_pps_stability_hertz", &[]),
            ("node_timex_status", &[]),
            ("node_timex_sync_status", &[]),
            ("node_timex_tai_offset_seconds", &[]),
            ("node_timex_tick_seconds", &[]),
        ],
    ),
    (
        "uname",
        "uname is of the machine's kernel",
        &[("node_uname_info", &["domainname", "machine", "nodename", "release", "sysname", "version"])],
    ),
];

/// One exposition, taken apart.
#[derive(Default)]
struct Exposition {
    /// Help and type, as they are written.
    families: BTreeMap<String, [Option<String>; 2]>,
    /// Series with sorted labels; the value as it is written.
    samples: BTreeMap<String, String>,
}

/// Runs the case in `dir`, which is node_exporter's folder or its fixtures'.
pub(super) fn run(dir: &Path) -> Result<Outcome, String> {
    let fixtures = [dir.join("collector/fixtures"), dir.to_owned()]
        .into_iter()
        .find(|dir| dir.join("e2e-output.txt").is_file())
        .ok_or_else(|| format!("no `collector/fixtures/e2e-output.txt` in `{}`", dir.display()))?;
    let fixtures = fixtures.canonicalize().map_err(|error| format!("{}: {error}", fixtures.display()))?;
    let expected = text_of(&fixtures.join("e2e-output.txt"))?;
    let above = tempfile::tempdir().map_err(|error| format!("no folder to unpack to: {error}"))?;
    let tree = prepared(&fixtures, above.path())?;
    let mut out = String::new();
    let mut host = Host::new(settings(&tree)).map_err(|error| error.to_string())?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    host.read(now.as_secs_f64(), "", &mut out);
    let given = out.replace(&format!("{}/", above.path().display()), "");
    for (family, why) in MACHINES {
        eprintln!("by name alone: {family}: {why}");
    }
    for (collector, why, _) in UNSEEN {
        eprintln!("by names and labels alone: collector {collector}: {why}");
    }
    Ok(compare(&taken_apart(&expected)?, &taken_apart(&given)?))
}

/// The tree as node_exporter's run saw it, below `above`.
fn prepared(fixtures: &Path, above: &Path) -> Result<PathBuf, String> {
    let tree = above.join("collector/fixtures");
    std::fs::create_dir_all(&tree).map_err(|error| format!("{}: {error}", tree.display()))?;
    for name in ["proc", "textfile", "usr"] {
        let link = tree.join(name);
        std::os::unix::fs::symlink(fixtures.join(name), &link)
            .map_err(|error| format!("{}: {error}", link.display()))?;
    }
    for archive in ["sys.ttar", "udev.ttar"] {
        let path = fixtures.join(archive);
        unpack(&text_of(&path)?, &tree).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(tree)
}

/// What upstream's run set, as its output shows: each line names what shows it.
fn settings(tree: &Path) -> Settings {
    let defaults = Settings::default();
    Settings {
        roots: Roots {
            proc: tree.join("proc"),
            sys: tree.join("sys"),
            root: tree.to_owned(),
            udev: tree.join("udev/data"),
        },
        // `net/arp` has a device `nope`, the output has not.
        arp_devices: Pattern::without("nope"),
        // There are `node_cpu_info`, four of the flags and four of the bugs.
        cpu_info: true,
        cpu_flags: Some("^(aes|avx.?|constant_tsc)$".to_owned()),
        cpu_bugs: Some("^(cpu_meltdown|spectre_.*|mds)$".to_owned()),
        // All chips but one.
        chips: Pattern::without("bogus"),
        // `sys/class/net` has `dmz` and `int`.
        network_classes: Pattern::without("^(dmz|int)$"),
        // bond0 has the speed -1.
        ignore_invalid_speed: true,
        // The loopback alone, with the counter that only netlink has.
        network_devices: Pattern::only("^lo$"),
        netlink: true,
        // There is `node_softirqs_total`.
        softirqs: true,
        textfiles: vec![tree.join("textfile/two_metric_files")],
        ..defaults
    }
}

fn compare(expected: &Exposition, given: &Exposition) -> Outcome {
    let mut outcome = Outcome::default();
    let mut judge = |name: &str, why: Option<String>| match why {
        None => outcome.passed += 1,
        Some(why) => {
            outcome.failed += 1;
            outcome.failures.push(Failure { name: name.to_owned(), why });
        }
    };
    let collectors: BTreeSet<&str> = monitor_agent::COLLECTORS.iter().copied().collect();
    let ours = |name: &str| {
        !OTHERS.iter().any(|other| name.starts_with(other))
            && OURS.iter().any(|(from, _)| name.starts_with(from))
    };
    let unseen = |name: &str| UNSEEN.iter().any(|(.., families)| families.iter().any(|(f, _)| *f == name));
    let machines = |name: &str| MACHINES.iter().any(|(family, _)| *family == name);
    let seen_collector = |series: &str| match series.split_once("{collector=\"") {
        Some((_, rest)) => collectors.contains(rest.trim_end_matches("\"}")),
        None => true,
    };

    for (name, head) in expected.families.iter().filter(|(name, _)| ours(name)) {
        for (at, word) in ["HELP", "TYPE"].iter().enumerate() {
            let got = given.families.get(name).and_then(|head| head[at].as_ref());
            let why = (got != head[at].as_ref()).then(|| format!("expected {:?}, got {got:?}", head[at]));
            judge(&format!("# {word} {name}"), why);
        }
        if machines(name) {
            let found = given.samples.keys().any(|series| name_of(series) == *name);
            judge(name, (!found).then(|| "no sample".to_owned()));
        }
    }
    for (series, value) in expected.samples.iter().filter(|(s, _)| ours(name_of(s)) && seen_collector(s)) {
        let got = given.samples.get(series);
        let same = got.is_some_and(|got| same(got, value));
        judge(series, (!same).then(|| format!("expected {value}, got {}", got.map_or("nothing", |g| g))));
    }
    for series in given.samples.keys().filter(|s| ours(name_of(s))) {
        let name = name_of(series);
        let known = expected.samples.contains_key(series)
            || machines(name)
            || unseen(name)
            || name.starts_with("node_filesystem_")
            || UNSEEN
                .iter()
                .any(|(collector, ..)| series.contains(&format!("{{collector=\"{collector}\"}}")));
        if !known {
            judge(series, Some("upstream gives no such series".to_owned()));
        }
    }
    for (collector, _, families) in UNSEEN {
        for (family, labels) in *families {
            let found: Vec<&String> = given.samples.keys().filter(|s| name_of(s) == *family).collect();
            let odd = found.iter().find(|series| labels_of(series) != *labels);
            let why = match odd {
                _ if found.is_empty() => Some(format!("collector {collector} gives no sample of it")),
                Some(series) => Some(format!("the labels of `{series}` are not {labels:?}")),
                None => None,
            };
            judge(family, why);
        }
    }
    outcome
}

/// As numbers to the last bit: `1.4e+09` is 1400000000.
fn same(one: &str, other: &str) -> bool {
    match (one.parse::<f64>(), other.parse::<f64>()) {
        (Ok(one), Ok(other)) => one == other || (one.is_nan() && other.is_nan()),
        _ => false,
    }
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap_or(series)
}

/// The names of a series' labels, which are sorted.
fn labels_of(series: &str) -> Vec<&str> {
    let Some((_, inside)) = series.split_once('{') else { return Vec::new() };
    pairs(inside.trim_end_matches('}')).into_iter().map(|(label, _)| label).collect()
}

fn taken_apart(text: &str) -> Result<Exposition, String> {
    let mut found = Exposition::default();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let head =
            [("# HELP ", 0), ("# TYPE ", 1)].iter().find_map(|(p, at)| Some((line.strip_prefix(p)?, *at)));
        if let Some((rest, at)) = head {
            let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let family = found.families.entry(name.to_owned()).or_default();
            if family[at].replace(text.to_owned()).is_some() {
                return Err(format!("`{line}` is said twice"));
            }
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').ok_or_else(|| format!("no value in `{line}`"))?;
            if found.samples.insert(sorted(series), value.to_owned()).is_some() {
                return Err(format!("`{series}` is given twice"));
            }
        }
    }
    Ok(found)
}

fn sorted(series: &str) -> String {
    let Some((name, inside)) = series.split_once('{') else { return series.to_owned() };
    let mut labels = pairs(inside.strip_suffix('}').unwrap_or(inside));
    labels.sort_unstable();
    let labels: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    format!("{name}{{{}}}", labels.join(","))
}

/// `a="1",b="2"`, with the values as they are escaped.
fn pairs(mut inside: &str) -> Vec<(&str, &str)> {
    let mut found = Vec::new();
    while let Some((label, rest)) = inside.split_once("=\"") {
        let mut escaped = false;
        let end = rest.bytes().position(|b| {
            let ends = b == b'"' && !escaped;
            escaped = b == b'\\' && !escaped;
            ends
        });
        let Some(end) = end else { break };
        found.push((label, &rest[..end]));
        inside = rest[end + 1..].trim_start_matches(',');
    }
    found
}

fn text_of(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn unpack(archive: &str, to: &Path) -> std::io::Result<()> {
    let mut lines = archive.split('\n');
    let mut path = to.to_owned();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("Path: ") {
            path = inside(to, name)?;
        } else if let Some(name) = line.strip_prefix("Directory: ") {
            std::fs::create_dir_all(inside(to, name)?)?;
        } else if let Some(target) = line.strip_prefix("SymlinkTo: ") {
            std::os::unix::fs::symlink(target, &path)?;
        } else if let Some(count) = line.strip_prefix("Lines: ") {
            let count = count.trim().parse().map_err(std::io::Error::other)?;
            let mut text = String::new();
            for line in lines.by_ref().take(count) {
                match line.strip_suffix("EOF") {
                    Some(line) => text.push_str(line),
                    None => {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
            }
            std::fs::write(&path, text.replace("NULLBYTE", "\0"))?;
        }
    }
    Ok(())
}

/// A name of the archive's, which must not lead out of the folder.
fn inside(to: &Path, name: &str) -> std::io::Result<PathBuf> {
    if Path::new(name).components().all(|part| matches!(part, std::path::Component::Normal(_))) {
        return Ok(to.join(name));
    }
    Err(std::io::Error::other(format!("`{name}` leads out of the folder")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_found() {
        let expected = "# HELP node_load1 1m load average.\n# TYPE node_load1 gauge\nnode_load1 0.21\n\
                        # HELP node_time_seconds t\n# TYPE node_time_seconds gauge\n\
                        node_arp_entries{device=\"a\"} 3\nnode_drbd_x 1\n\
                        node_scrape_collector_success{collector=\"drbd\"} 1\n";
        let judge = |given: &str| {
            let found = compare(&taken_apart(expected).unwrap(), &taken_apart(given).unwrap());
            let names: Vec<String> = found
                .failures
                .into_iter()
                .map(|failure| failure.name)
                .filter(|name| {
                    !name.contains("uname") && !name.contains("timex") && !name.contains("filesystem")
                })
                .collect();
            names
        };
        // Of a collector that is not ours nothing need be given.
        let lines = expected.lines().filter(|line| !line.contains("drbd")).map(|line| format!("{line}\n"));
        let right = lines.collect::<String>() + "node_time_seconds 5\n";
        assert_eq!(judge(&right), [""; 0]);
        assert_eq!(judge(&right.replace("0.21", "0.22")), ["node_load1"]);
        assert_eq!(judge(&right.replace("gauge\nnode_load1", "counter\nnode_load1")), ["# TYPE node_load1"]);
        assert_eq!(judge(&right.replace("node_time_seconds 5\n", "")), ["node_time_seconds"]);
        assert_eq!(judge(&(right + "node_load2 1\n")), ["node_load2"]);
    }

    #[test]
    fn labels_are_sorted_whatever_they_hold() {
        assert_eq!(sorted(r#"x{b="1,a=\"2\"",a="}"}"#), r#"x{a="}",b="1,a=\"2\""}"#);
        assert_eq!(labels_of(r#"x{a="}",b="1,a=\"2\""}"#), ["a", "b"]);
        assert!(taken_apart("x{a=\"1\",b=\"2\"} 1\nx{b=\"2\",a=\"1\"} 2\n").is_err());
    }

    #[test]
    fn an_archive_stays_in_its_folder() {
        let dir = tempfile::tempdir().unwrap();
        unpack("Directory: a\nPath: a/b\nLines: 2\nxNULLBYTE\nyEOF\nPath: a/c\nSymlinkTo: b\n", dir.path())
            .unwrap();
        assert_eq!(std::fs::read(dir.path().join("a/c")).unwrap(), b"x\0\ny");
        for bad in ["Directory: ../x\n", "Path: /etc/x\nLines: 0\n"] {
            assert!(unpack(bad, dir.path()).is_err(), "{bad}");
        }
    }
}
