//! Readings of this host and of odd trees. node_exporter's fixture tree is read by
//! `cargo xtask conformance agent`.

use monitor_agent::{Host, Process, Roots, Settings};
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
    let mut host = Host::new(Settings::default()).unwrap();
    let mut out = String::new();
    host.read(1_764_000_000.5, "", &mut out);
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
    host.read(1_764_000_001.5, "", &mut again);
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
    let mut host = Host::new(Settings::default()).unwrap();
    host.read_processes(&processes, &mut out);
    child.kill().unwrap();
    child.wait().unwrap();
    // Without looking anew: the one that ended is no more, and no counter falls.
    let mut later = String::new();
    host.read_processes(&processes, &mut later);
    let count = "process_tree_processes{process=\"me\"}";
    assert_eq!(samples(&later)[count], samples(&out)[count] - 1.0);
    let time = "process_cpu_seconds_total{process=\"me\"}";
    assert!(samples(&later)[time] >= samples(&out)[time]);
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
    let mut host = host_of(dir.path());
    let mut out = String::new();
    host.read(0.0, "", &mut out);
    let found = samples(&out);
    assert_eq!(found["node_load5"], 0.2);
    for failed in ["cpu", "diskstats", "meminfo", "netclass", "filesystem", "zfs"] {
        let series = format!("node_scrape_collector_success{{collector=\"{failed}\"}}");
        assert_eq!(found[&series], 0.0, "{failed}");
        // What is not there is no failure.
        let absent = ["netclass", "filesystem", "zfs"].contains(&failed);
        assert_ne!(host.failures.iter().any(|(name, _)| *name == failed), absent, "{failed}");
    }
    assert!(!out.contains("MemTotal"));
    let text = host.failures.iter().find(|(n, _)| *n == "cpu").unwrap().1.to_string();
    assert!(text.contains("cpu0 x y z") && text.contains("stat"), "{text}");
}

fn host_of(dir: &Path) -> Host {
    let roots =
        Roots { proc: dir.join("proc"), sys: dir.join("sys"), root: dir.to_owned(), udev: dir.join("udev") };
    Host::new(Settings { roots, textfiles: vec![dir.join("textfile")], ..Settings::default() }).unwrap()
}

/// A random number generator of a known seed (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % end as u64) as usize
    }
}

/// Every file that a collector asks for, in every shape: cut, with words
/// exchanged, binary, a folder, unreadable. No shape may panic, spoil the format,
/// or give a family twice.
#[test]
fn hostile_trees_never_spoil_the_exposition() {
    const FILES: &[(&str, &str)] = &[
        ("proc/stat", "cpu  1 2 3\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5 1\nctxt 7\nbtime 1\nsoftirq 9 1 2\n"),
        ("proc/meminfo", "MemTotal:  12 kB\nActive(anon): 5 kB\nHugePages_Total: 0\n"),
        ("proc/loadavg", "0.1 0.2 0.3 1/2 3\n"),
        ("proc/diskstats", "8 0 sda 1 2 3 4 5 6 7 8 9 10 11\n8 16 sdb 1 2 3 4 5 6 7 8 9 10 11 1 2 3 4 5 6\n"),
        (
            "proc/mdstat",
            "md0 : active raid1 sda[0](F) sdb[1]\n  12 blocks [2/1] [U_]\n  [=>] recovery = 5% (1/12)\n",
        ),
        ("proc/net/netstat", "TcpExt: ListenDrops\nTcpExt: 4\n"),
        ("proc/net/snmp", "Tcp: InSegs OutSegs\nTcp: 1 2\n"),
        ("proc/net/snmp6", "Ip6InOctets 4\n"),
        ("proc/net/sockstat", "TCP: inuse 4 mem 1\n"),
        ("proc/net/softnet_stat", "00000001 00000002 00000003\n"),
        ("proc/net/udp", "  sl\n 0: 00:00 00:00 0A 00000015:00000000 0\n"),
        ("proc/net/arp", "IP\n1.2.3.4 0x1 0x2 aa * eth0\n"),
        ("proc/net/dev", "a\nb\neth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n"),
        ("proc/net/rpc/nfs", "net 1 2 3 4\nrpc 1 2 3\nproc3 2 1 2\n"),
        ("proc/net/stat/nf_conntrack", "entries found drop\n0a 0b 0c\n"),
        ("proc/sys/net/netfilter/nf_conntrack_count", "1\n"),
        ("proc/sys/net/netfilter/nf_conntrack_max", "2\n"),
        ("proc/sys/fs/file-nr", "1 0 3\n"),
        ("proc/sys/kernel/random/entropy_avail", "256\n"),
        ("proc/sys/kernel/random/poolsize", "256\n"),
        ("proc/schedstat", "version 15\ncpu0 0 0 0 0 0 0 7 8 9\n"),
        ("proc/vmstat", "pgpgin 5\npgpgout 6\n"),
        ("proc/pressure/cpu", "some avg10=0.00 total=5\n"),
        ("proc/1/mountinfo", "36 35 98:0 / / rw - ext4 /dev/a rw\n"),
        ("proc/cpuinfo", "processor : 0\ncpu MHz : 1.5\nflags : a b\n\nprocessor : 1\n"),
        ("proc/spl/kstat/zfs/arcstats", "a\nb\nhits 4 5\nmem-x 3 -5\n"),
        ("proc/spl/kstat/zfs/tank/io", "a\nnread nwritten\n1 2\n"),
        ("proc/spl/kstat/zfs/tank/objset-1", "a\nb\ndataset_name 7 tank\nwrites 4 5\n"),
        ("proc/spl/kstat/zfs/tank/state", "ONLINE\n"),
        ("sys/class/net/eth0/flags", "0x1003\n"),
        ("sys/class/net/eth0/speed", "1000\n"),
        ("sys/class/net/bonding_masters", "eth0\n"),
        ("sys/class/net/eth0/bonding/slaves", "a b\n"),
        ("sys/class/hwmon/hwmon0/temp1_input", "5000\n"),
        ("sys/class/hwmon/hwmon0/temp1_label", "a\"b\\c\n"),
        ("sys/class/hwmon/hwmon0/name", "chip\n"),
        ("sys/class/thermal/thermal_zone0/temp", "5000\n"),
        ("sys/class/thermal/thermal_zone0/type", "x\n"),
        ("sys/class/power_supply/BAT0/capacity", "81\n"),
        ("sys/class/power_supply/BAT0/type", "Battery\n"),
        ("sys/class/powercap/intel-rapl:0/name", "package-0\n"),
        ("sys/class/powercap/intel-rapl:0/energy_uj", "5\n"),
        ("sys/class/nvme/nvme0/nvme0n1/size", "5\n"),
        ("sys/class/nvme/nvme0/nvme0n1/queue/logical_block_size", "512\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "powersave\n"),
        ("sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "800\n"),
        ("sys/devices/system/cpu/cpu0/topology/core_id", "0\n"),
        ("sys/devices/system/cpu/cpu0/topology/physical_package_id", "0\n"),
        ("sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count", "5\n"),
        ("sys/devices/system/cpu/isolated", "1,3-5\n"),
        ("sys/devices/system/edac/mc/mc0/ce_count", "1\n"),
        ("sys/devices/system/edac/mc/mc0/csrow0/ch0_dimm_label", "x\n"),
        ("sys/devices/system/edac/mc/mc0/csrow0/ch0_ce_count", "1\n"),
        ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet\n"),
        ("sys/fs/xfs/sda1/stats/stats", "rw 1 2\nig 1 2 3\n"),
        ("sys/block/md0/md/raid_disks", "2\n"),
        ("udev/b8:0", "E:ID_FS_TYPE=ext4\nE:DM_NAME=x\nE:ID_ATA=1\nE:ID_ATA_WRITE_CACHE=1\n"),
        ("etc/os-release", "ID=x\nVERSION_ID=\"1.2\"\n"),
        ("textfile/a.prom", "# TYPE x counter\nx{a=\"1\"} 5\n"),
    ];
    let seed = 0x5eed;
    println!("seed {seed:#x}");
    let mut chance = Chance(seed);
    for round in 0..24 {
        let dir = tempfile::tempdir().unwrap();
        for (file, content) in FILES {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            // The first round is as it should be.
            match if round == 0 { 9 } else { chance.below(14) } {
                0 => {}
                1 => std::fs::create_dir(&path).unwrap(),
                2 => std::fs::write(&path, &content.as_bytes()[..chance.below(content.len())]).unwrap(),
                3 => {
                    let mut words: Vec<&str> = content.split(' ').collect();
                    let (a, b) = (chance.below(words.len()), chance.below(words.len()));
                    words.swap(a, b);
                    std::fs::write(&path, words.join(" ")).unwrap();
                }
                4 => {
                    let mut bytes = content.as_bytes().to_vec();
                    let at = chance.below(bytes.len());
                    bytes[at] = chance.below(256) as u8;
                    std::fs::write(&path, bytes).unwrap();
                }
                5 => std::fs::write(
                    &path,
                    content.replace(|c: char| c.is_ascii_digit(), "99999999999999999999"),
                )
                .unwrap(),
                6 => std::fs::write(&path, format!("{content}{content}")).unwrap(),
                7 => std::os::unix::fs::symlink(&path, &path).unwrap(),
                8 => std::fs::write(&path, content.replace(' ', "")).unwrap(),
                _ => std::fs::write(&path, content).unwrap(),
            }
        }
        let mut host = host_of(dir.path());
        for _ in 0..2 {
            let mut out = String::new();
            host.read(1.0, "", &mut out);
            well_formed(&out).unwrap_or_else(|line| panic!("round {round}: {line}\n{:?}", host.failures));
            assert!(round > 0 || host.failures.is_empty(), "{:?}", host.failures);
        }
    }
}

/// Each family once, its samples after its type, legal names, a number at the end.
fn well_formed(text: &str) -> Result<(), String> {
    let mut families = std::collections::BTreeSet::new();
    let mut series = std::collections::BTreeSet::new();
    let mut family = "";
    for line in text.lines() {
        let wrong = || line.to_owned();
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            family = rest.split(' ').next().unwrap();
            if !families.insert(family) {
                return Err(wrong());
            }
        } else if !line.starts_with("# HELP ") {
            let (one, value) = line.rsplit_once(' ').ok_or_else(wrong)?;
            let name = one.split('{').next().unwrap();
            let legal = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let ours = name == family
                || ["_bucket", "_sum", "_count"].iter().any(|s| name.strip_suffix(s) == Some(family));
            if !legal || !ours || !series.insert(one) || value.replace("+Inf", "inf").parse::<f64>().is_err()
            {
                return Err(wrong());
            }
        }
    }
    Ok(())
}
