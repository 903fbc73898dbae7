//! Readings of this host, and of node_exporter's fixture tree where it exists.

use monitor_agent::{Host, Process, Roots};
use std::collections::BTreeMap;
use std::path::Path;

fn samples(text: &str) -> BTreeMap<String, f64> {
    text.lines()
        .filter(|l| !l.starts_with('#') && !l.is_empty())
        .map(|l| {
            let (series, value) = l.rsplit_once(' ').expect("a value");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().expect("a number") };
            (series.to_owned(), value)
        })
        .collect()
}

#[test]
fn this_host_has_what_boards_ask_for() {
    let mut host = Host::new(Roots::default());
    let mut out = String::new();
    host.read(1_764_000_000.5, &mut out);
    let found = samples(&out);
    for name in [
        "node_cpu_seconds_total{cpu=\"0\",mode=\"idle\"}",
        "node_memory_MemAvailable_bytes",
        "node_load1",
        "node_network_receive_bytes_total{device=\"lo\"}",
        "node_network_mtu_bytes{device=\"lo\"}",
        "node_boot_time_seconds",
        "node_filefd_allocated",
        "node_vmstat_pgfault",
        "node_netstat_Tcp_CurrEstab",
        "node_sockstat_sockets_used",
    ] {
        assert!(found.contains_key(name), "{name} is missing; failures: {:?}", host.failures);
    }
    assert_eq!(found["node_time_seconds"], 1_764_000_000.5);
    assert!(out.contains("node_uname_info{") && out.contains("sysname=\"Linux\""));

    // Every family is written once, with its type before its samples.
    let mut families = std::collections::BTreeSet::new();
    for line in out.lines().filter_map(|l| l.strip_prefix("# TYPE ")) {
        assert!(families.insert(line.to_owned()), "`{line}` twice");
    }

    // Counters of a second reading never step back.
    let mut again = String::new();
    host.read(1_764_000_001.5, &mut again);
    let later = samples(&again);
    for (series, before) in found.iter().filter(|(s, _)| s.starts_with("node_cpu_seconds_total")) {
        assert!(later[series] >= *before, "{series} fell");
    }
}

#[test]
fn a_process_is_read_with_its_descendants_and_a_missing_one_is_left_out() {
    let mut child = std::process::Command::new("sleep").arg("30").spawn().expect("sleep");
    let own = i32::try_from(std::process::id()).unwrap();
    let mut out = String::new();
    let processes = [Process { name: "me".into(), pid: own }, Process { name: "gone".into(), pid: i32::MAX }];
    Host::new(Roots::default()).read_processes(&processes, &mut out);
    child.kill().unwrap();
    child.wait().unwrap();
    let found = samples(&out);
    assert!(found["process_resident_memory_bytes{process=\"me\"}"] > 100_000.0);
    assert!(found["process_open_fds{process=\"me\"}"] >= 3.0);
    assert!(found["process_max_fds{process=\"me\"}"] > 0.0);
    assert!(found["process_tree_processes{process=\"me\"}"] >= 2.0, "{out}");
    assert!(found["process_start_time_seconds{process=\"me\"}"] > 1_000_000_000.0);
    assert!(!out.contains("gone"));
}

#[test]
fn a_broken_tree_fails_by_collector_and_gives_no_half_family() {
    let dir = tempfile::tempdir().unwrap();
    let proc = dir.path().join("proc");
    std::fs::create_dir_all(proc.join("net")).unwrap();
    std::fs::write(proc.join("loadavg"), "0.10 0.20 0.30 1/2 3\n").unwrap();
    std::fs::write(proc.join("stat"), "cpu  1 2 3\ncpu0 x y z\n").unwrap();
    std::fs::write(proc.join("diskstats"), "8 0 sda 1 2 3\n\u{fffd}").unwrap();
    std::fs::write(proc.join("meminfo"), b"MemTotal: 12 kB\nOdd: \xff\xfe MB\n").unwrap();
    let mut host = Host::new(Roots { proc, sys: dir.path().join("sys") });
    let mut out = String::new();
    host.read(0.0, &mut out);
    let found = samples(&out);
    assert_eq!(found["node_load5"], 0.2);
    for failed in ["cpu", "diskstats", "meminfo", "netdev", "netclass", "filesystem"] {
        let series = format!("node_scrape_collector_success{{collector=\"{failed}\"}}");
        assert_eq!(found[&series], 0.0, "{failed}");
        assert!(host.failures.iter().any(|(name, _)| *name == failed));
    }
    assert!(!out.contains("MemTotal"));
    let text = host.failures.iter().find(|(n, _)| *n == "cpu").unwrap().1.to_string();
    assert!(text.contains("cpu0 x y z") && text.contains("stat"), "{text}");
}

/// Unpacks node_exporter's plain-text archives: `Path:`, then `Lines: N` or
/// `SymlinkTo:` or `Directory:`.
fn unpack(archive: &str, to: &Path) {
    let mut lines = archive.split('\n');
    let mut path = to.to_owned();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("Path: ") {
            path = to.join(name);
        } else if let Some(name) = line.strip_prefix("Directory: ") {
            std::fs::create_dir_all(to.join(name)).unwrap();
        } else if let Some(target) = line.strip_prefix("SymlinkTo: ") {
            let _ = std::os::unix::fs::symlink(target, &path);
        } else if let Some(count) = line.strip_prefix("Lines: ") {
            let content: Vec<&str> = lines.by_ref().take(count.trim().parse().unwrap()).collect();
            let text = content.join("\n").replace("NULLBYTE", "\0").replace("EOF", "");
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
        }
    }
}

#[test]
fn node_exporters_fixtures_give_its_expected_output() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/testdata/node_exporter/collector/fixtures");
    let Ok(expected) = std::fs::read_to_string(fixtures.join("e2e-output.txt")) else {
        println!("node_exporter's fixtures are not here: not checked");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    unpack(&std::fs::read_to_string(fixtures.join("sys.ttar")).unwrap(), dir.path());
    let mut out = String::new();
    Host::new(Roots { proc: fixtures.join("proc"), sys: dir.path().join("sys") }).read(0.0, &mut out);
    let found = samples(&out);
    // Collectors whose whole output depends on the fixture tree alone. `netdev`
    // is not among them: node_exporter asks netlink for it.
    let families = [
        "node_cpu_seconds_total",
        "node_cpu_guest_seconds_total",
        "node_disk_read",
        "node_disk_write",
        "node_disk_io",
        "node_disk_discard",
        "node_disk_flush",
        "node_filefd",
        "node_load",
        "node_memory_",
        "node_netstat",
        "node_pressure",
        "node_sockstat",
        "node_vmstat",
        "node_boot_time",
        "node_context",
        "node_forks",
        "node_intr_total",
        "node_procs",
        "node_network_",
    ];
    let statistic = |s: &str| s.starts_with("node_network_receive") || s.starts_with("node_network_transmit");
    let ours = |s: &str| {
        families.iter().any(|f| s.starts_with(f))
            && !s.starts_with("node_memory_numa") // collector meminfo_numa, off by default
            && (!statistic(s) || s.starts_with("node_network_transmit_queue_length"))
    };
    let mut checked = 0;
    for line in expected.lines().filter(|l| ours(l)) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value: f64 = value.parse().unwrap();
        let got = found.get(series).unwrap_or_else(|| panic!("{series} is missing"));
        assert!((got - value).abs() <= value.abs() * 1e-12, "{series}: {got}, expected {value}");
        checked += 1;
    }
    assert!(checked > 400, "{checked}");
    for line in out.lines().filter(|l| l.starts_with("# ") && l.split(' ').nth(2).is_some_and(ours)) {
        assert!(expected.lines().any(|e| e == line), "not node_exporter's: {line}");
    }
    let expected = samples_of(&expected);
    // Upstream's run is told to ignore these two.
    let ignored = |s: &str| s.contains("device=\"dmz\"") || s.contains("device=\"int\"");
    for series in found.keys().filter(|s| ours(s) && !ignored(s)) {
        assert!(expected.contains(series), "{series} is too much");
    }
}

fn samples_of(text: &str) -> std::collections::BTreeSet<String> {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines.filter_map(|l| l.rsplit_once(' ').map(|(s, _)| s.to_owned())).collect()
}
