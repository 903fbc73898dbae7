//! What is read, and of which devices: node_exporter's flags as settings, with
//! its defaults.

use crate::Roots;
use regex::Regex;
use rustc_hash::FxHashMap;
use std::path::PathBuf;

/// Everything that can be set. Patterns are regular expressions that match
/// anywhere unless they are anchored, as node_exporter's do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where the kernel's trees are.
    pub roots: Roots,
    /// Collectors that are not run, by name (`--no-collector.NAME`). Default: none.
    pub without: Vec<String>,
    /// `arp`: devices (`--collector.arp.device-include`, `-exclude`).
    pub arp_devices: Pattern,
    /// `cpu`: `node_cpu_info` and `node_cpu_frequency_hertz` from `cpuinfo`
    /// (`--collector.cpu.info`). Default: no.
    pub cpu_info: bool,
    /// `cpu`: which of the first core's flags are given (`--collector.cpu.info.flags-include`).
    /// Default: none; a pattern implies `cpu_info`.
    pub cpu_flags: Option<String>,
    /// `cpu`: which bugs (`--collector.cpu.info.bugs-include`). Default: none.
    pub cpu_bugs: Option<String>,
    /// `diskstats`: devices. Default: no RAM disks, loops and partitions.
    pub disks: Pattern,
    /// `filesystem`: mount points. Default: nothing below `/dev`, `/proc`, `/sys` and containers' folders.
    pub mount_points: Pattern,
    /// `filesystem`: types. Default: none that hold no data.
    pub filesystem_types: Pattern,
    /// `hwmon`: chips by name.
    pub chips: Pattern,
    /// `hwmon`: sensors, as `chip;sensor`.
    pub sensors: Pattern,
    /// `netclass`: devices (`--collector.netclass.ignored-devices` is the exclusion).
    pub network_classes: Pattern,
    /// `netclass`: no `speed_bytes` where the driver does not know, rather than
    /// -125000 (`--collector.netclass.ignore-invalid-speed`). Default: no.
    pub ignore_invalid_speed: bool,
    /// `netdev`: devices.
    pub network_devices: Pattern,
    /// `netdev`: ask netlink rather than read `net/dev` (`--collector.netdev.netlink`).
    /// Default: yes. Netlink is always of this process' network namespace.
    pub netlink: bool,
    /// `netstat`: fields as `Protocol_Name` (`--collector.netstat.fields`).
    pub netstat_fields: Pattern,
    /// `powersupplyclass`: supplies (`--collector.powersupply.ignored-supplies`).
    pub power_supplies: Pattern,
    /// `rapl`: the zone as a label instead of in the name (`--collector.rapl.enable-zone-label`).
    /// Default: no.
    pub rapl_zone_label: bool,
    /// `stat`: `node_softirqs_total` (`--collector.stat.softirq`). Default: no.
    pub softirqs: bool,
    /// `textfile`: folders with `*.prom`; a path may hold `*` (`--collector.textfile.directory`).
    /// Default: none.
    pub textfiles: Vec<PathBuf>,
    /// `vmstat`: fields (`--collector.vmstat.fields`).
    pub vmstat_fields: Pattern,
    /// `cgroup`: groups by path. Default: all but transient session scopes.
    pub cgroups: Pattern,
    /// `cgroup`: how deep below the root, 1–8. Default: 3 (slice, slice, unit).
    pub cgroup_depth: usize,
    /// `cgroup`: groups, at most, 1–10,000. Default: 500.
    pub cgroup_limit: usize,
    /// `systemd`: units (`--collector.systemd.unit-include`, `-exclude`).
    /// Default: no automount, device, mount, scope and slice units.
    pub units: Pattern,
    /// `processes`: how many each of the largest users of CPU time and of memory
    /// are given, 0–100. Default: 10.
    pub top_processes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            roots: Roots::default(),
            without: Vec::new(),
            arp_devices: Pattern::default(),
            cpu_info: false,
            cpu_flags: None,
            cpu_bugs: None,
            disks: Pattern::without(r"^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$"),
            mount_points: Pattern::without(
                "^/(dev|proc|run/credentials/.+|sys|var/lib/docker/.+|var/lib/containers/storage/.+)($|/)",
            ),
            filesystem_types: Pattern::without(
                "^(autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|erofs|fusectl|hugetlbfs|\
                 iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|sysfs|\
                 tracefs)$",
            ),
            chips: Pattern::default(),
            sensors: Pattern::default(),
            network_classes: Pattern::default(),
            ignore_invalid_speed: false,
            network_devices: Pattern::default(),
            netlink: true,
            netstat_fields: Pattern::only(
                "^(.*_(InErrors|InErrs)|Ip_Forwarding|Ip(6|Ext)_(InOctets|OutOctets)|Icmp6?_(InMsgs|OutMsgs)|\
                 TcpExt_(Listen.*|Syncookies.*|TCPSynRetrans|TCPTimeouts|TCPOFOQueue|TCPRcvQDrop)|\
                 Tcp_(ActiveOpens|InSegs|OutSegs|OutRsts|PassiveOpens|RetransSegs|CurrEstab)|\
                 Udp6?_(InDatagrams|OutDatagrams|NoPorts|RcvbufErrors|SndbufErrors))$",
            ),
            power_supplies: Pattern::default(),
            rapl_zone_label: false,
            softirqs: false,
            textfiles: Vec::new(),
            vmstat_fields: Pattern::only("^(oom_kill|pgpg|pswp|pg.*fault).*"),
            cgroups: Pattern::without(r"/session-[^/]*\.scope$|/user@\d+\.service/"),
            cgroup_depth: 3,
            cgroup_limit: 500,
            units: Pattern::without(r".+\.(automount|device|mount|scope|slice)$"),
            top_processes: 10,
        }
    }
}

/// What is taken, and what of it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pattern {
    /// Only what matches. None: everything.
    pub include: Option<String>,
    /// Not what matches. None: nothing.
    pub exclude: Option<String>,
}

impl Pattern {
    /// Only what matches `pattern`.
    pub fn only(pattern: &str) -> Self {
        Self { include: Some(pattern.to_owned()), exclude: None }
    }

    /// All but what matches `pattern`.
    pub fn without(pattern: &str) -> Self {
        Self { include: None, exclude: Some(pattern.to_owned()) }
    }
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error(
    "`{setting}` is not a regular expression: {error}\nhint: the syntax is RE2's, as in node_exporter's flags"
)]
pub struct BadPattern {
    /// The setting.
    pub setting: &'static str,
    /// What is wrong with it.
    pub error: regex::Error,
}

/// Names decided before are remembered, up to this many: matching a pattern costs
/// more than looking a name up, and devices and fields seldom change.
const MAX_REMEMBERED: usize = 4_096;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Filter {
    include: Option<Regex>,
    exclude: Option<Regex>,
    decided: FxHashMap<Box<str>, bool>,
}

impl Filter {
    pub(crate) fn new(setting: &'static str, pattern: &Pattern) -> Result<Self, BadPattern> {
        let compile = |text: &Option<String>| {
            let text = text.as_deref().filter(|text| !text.is_empty());
            let compiled = text.map(|text| Regex::new(&monitor_model::regex_of_go(text)));
            compiled.transpose().map_err(|error| BadPattern { setting, error })
        };
        Ok(Self {
            include: compile(&pattern.include)?,
            exclude: compile(&pattern.exclude)?,
            decided: FxHashMap::default(),
        })
    }

    /// A filter that takes what matches `pattern`; None takes nothing.
    pub(crate) fn listed(setting: &'static str, pattern: Option<&str>) -> Result<Option<Self>, BadPattern> {
        pattern.filter(|p| !p.is_empty()).map(|p| Self::new(setting, &Pattern::only(p))).transpose()
    }

    pub(crate) fn takes(&mut self, name: &str) -> bool {
        if self.include.is_none() && self.exclude.is_none() {
            return true;
        }
        if let Some(known) = self.decided.get(name) {
            return *known;
        }
        let takes = self.include.as_ref().is_none_or(|p| p.is_match(name))
            && !self.exclude.as_ref().is_some_and(|p| p.is_match(name));
        if self.decided.len() >= MAX_REMEMBERED {
            self.decided.clear();
        }
        self.decided.insert(name.into(), takes);
        takes
    }
}

/// The patterns of the settings, compiled.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) arp_devices: Filter,
    pub(crate) cpu_flags: Option<Filter>,
    pub(crate) cpu_bugs: Option<Filter>,
    pub(crate) disks: Filter,
    pub(crate) mount_points: Filter,
    pub(crate) filesystem_types: Filter,
    pub(crate) chips: Filter,
    pub(crate) sensors: Filter,
    pub(crate) network_classes: Filter,
    pub(crate) network_devices: Filter,
    pub(crate) netstat_fields: Filter,
    pub(crate) power_supplies: Filter,
    pub(crate) vmstat_fields: Filter,
    pub(crate) cgroups: Filter,
    pub(crate) units: Filter,
}

impl Rules {
    pub(crate) fn new(settings: &Settings) -> Result<Self, BadPattern> {
        Ok(Self {
            arp_devices: Filter::new("arp_devices", &settings.arp_devices)?,
            cpu_flags: Filter::listed("cpu_flags", settings.cpu_flags.as_deref())?,
            cpu_bugs: Filter::listed("cpu_bugs", settings.cpu_bugs.as_deref())?,
            disks: Filter::new("disks", &settings.disks)?,
            mount_points: Filter::new("mount_points", &settings.mount_points)?,
            filesystem_types: Filter::new("filesystem_types", &settings.filesystem_types)?,
            chips: Filter::new("chips", &settings.chips)?,
            sensors: Filter::new("sensors", &settings.sensors)?,
            network_classes: Filter::new("network_classes", &settings.network_classes)?,
            network_devices: Filter::new("network_devices", &settings.network_devices)?,
            netstat_fields: Filter::new("netstat_fields", &settings.netstat_fields)?,
            power_supplies: Filter::new("power_supplies", &settings.power_supplies)?,
            vmstat_fields: Filter::new("vmstat_fields", &settings.vmstat_fields)?,
            cgroups: Filter::new("cgroups", &settings.cgroups)?,
            units: Filter::new("units", &settings.units)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(pattern: &Pattern, name: &str) -> bool {
        let mut filter = Filter::new("test", pattern).unwrap();
        let first = filter.takes(name);
        assert_eq!(filter.takes(name), first, "remembered otherwise");
        first
    }

    #[test]
    fn what_the_defaults_leave_out() {
        let settings = Settings::default();
        let cases: &[(&Pattern, &[&str], &[&str])] = &[
            (
                &settings.disks,
                &["sda", "vda", "nvme0n1", "dm-0", "md127", "sr0", "mmcblk0p1", "nbd0", "sdaa1"],
                &["ram0", "zram1", "loop12", "fd0", "sda1", "vdb2", "xvda1", "hdc10", "nvme0n1p1"],
            ),
            (
                &settings.mount_points,
                &["/", "/devel", "/var/lib/docker", "/run", "/data"],
                &["/dev", "/dev/shm", "/proc", "/sys/fs", "/var/lib/docker/overlay2", "/run/credentials/x"],
            ),
            (
                &settings.filesystem_types,
                &["ext4", "xfs", "tmpfs"],
                &["cgroup", "cgroup2", "proc", "overlay"],
            ),
            (
                &settings.vmstat_fields,
                &["oom_kill", "pgpgin", "pswpout", "pgmajfault"],
                &["nr_free_pages", "xpgpgin"],
            ),
            (
                &settings.netstat_fields,
                &["Tcp_InErrs", "UdpLite6_InErrors", "TcpExt_ListenDrops", "Ip_Forwarding", "Udp6_NoPorts"],
                &["Tcp_OutErrs", "Ip_InOctets", "Ip6_Forwarding", "TcpExt_TW"],
            ),
            (
                &settings.units,
                &["nginx.service", "x.timer", "y.socket"],
                &["a.mount", "user.slice", "b.device"],
            ),
            (
                &settings.cgroups,
                &["/system.slice/nginx.service", "/user.slice"],
                &["/user.slice/user-0.slice/session-1.scope", "/user.slice/user@1000.service/app.slice"],
            ),
        ];
        for (pattern, taken, left) in cases {
            for name in *taken {
                assert!(takes(pattern, name), "{name} is left out");
            }
            for name in *left {
                assert!(!takes(pattern, name), "{name} is taken");
            }
        }
        assert!(takes(&Pattern::default(), "anything"));
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let settings = Settings { disks: Pattern::only("("), ..Settings::default() };
        let text = Rules::new(&settings).unwrap_err().to_string();
        assert!(text.contains("`disks`") && text.contains("hint: "), "{text}");
    }
}
