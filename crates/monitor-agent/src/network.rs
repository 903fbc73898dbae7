//! `/proc/net/dev` and `/sys/class/net` (collectors `netdev`, `netclass`).

use crate::text::{Text, Type};
use crate::{Fault, Roots, odd, parse, slurp};
use std::path::{Path, PathBuf};

/// The columns of `/proc/net/dev`.
const RECEIVE: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"];
const TRANSMIT: [&str; 8] = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"];

pub(crate) fn devices(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("net/dev");
    let content = slurp(&path)?;
    let mut devices: Vec<(String, Vec<f64>)> = Vec::new();
    for line in content.lines().skip(2) {
        // The name may hold a colon (an alias), the numbers may not.
        let (device, numbers) = line.rsplit_once(':').ok_or_else(|| odd(&path, line))?;
        let numbers: Vec<f64> =
            numbers.split_ascii_whitespace().map(|w| parse(&path, w)).collect::<Result<_, _>>()?;
        if numbers.len() != RECEIVE.len() + TRANSMIT.len() {
            return Err(odd(&path, line));
        }
        devices.push((device.trim().to_owned(), numbers));
    }
    let columns = RECEIVE.iter().map(|c| ("receive", c)).chain(TRANSMIT.iter().map(|c| ("transmit", c)));
    for (index, (direction, column)) in columns.enumerate() {
        let name = format!("node_network_{direction}_{column}_total");
        let help = format!("Network device statistic {direction}_{column}.");
        text.family(&name, Type::Counter, &help);
        for (device, numbers) in &devices {
            text.sample(&name, &[("device", device)], numbers[index]);
        }
    }
    Ok(())
}

/// Metric, kind, file of `/sys/class/net/<device>`.
const PROPERTIES: &[(&str, Type, &str)] = &[
    ("address_assign_type", Type::Gauge, "addr_assign_type"),
    ("carrier", Type::Gauge, "carrier"),
    ("carrier_changes_total", Type::Counter, "carrier_changes"),
    ("carrier_down_changes_total", Type::Counter, "carrier_down_count"),
    ("carrier_up_changes_total", Type::Counter, "carrier_up_count"),
    ("device_id", Type::Gauge, "dev_id"),
    ("dormant", Type::Gauge, "dormant"),
    ("flags", Type::Gauge, "flags"),
    ("iface_id", Type::Gauge, "ifindex"),
    ("iface_link", Type::Gauge, "iflink"),
    ("iface_link_mode", Type::Gauge, "link_mode"),
    ("mtu_bytes", Type::Gauge, "mtu"),
    ("name_assign_type", Type::Gauge, "name_assign_type"),
    ("net_dev_group", Type::Gauge, "netdev_group"),
    ("protocol_type", Type::Gauge, "type"),
    ("speed_bytes", Type::Gauge, "speed"),
    ("transmit_queue_length", Type::Gauge, "tx_queue_len"),
];

pub(crate) fn class(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.sys.join("class/net");
    let entries = std::fs::read_dir(&path).map_err(|error| Fault::Read { path, error })?;
    let mut devices: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter(|e| e.path().is_dir()) // `bonding_masters` is a file.
        .map(|e| (e.file_name().to_string_lossy().into_owned(), e.path()))
        .collect();
    devices.sort();

    let name = "node_network_info";
    text.family(name, Type::Gauge, "Non-numeric data from /sys/class/net/<iface>, value is always 1.");
    for (device, dir) in &devices {
        let [address, broadcast, duplex, alias, state] =
            ["address", "broadcast", "duplex", "ifalias", "operstate"]
                .map(|f| word(dir, f).unwrap_or_default());
        // IFF_UP, linux/if.h.
        let up = word(dir, "flags").and_then(|f| integer(&f)).is_some_and(|f| f as u64 & 1 == 1);
        let labels = [
            ("address", &*address),
            ("adminstate", if up { "up" } else { "down" }),
            ("broadcast", &*broadcast),
            ("device", device),
            ("duplex", &*duplex),
            ("ifalias", &*alias),
            ("operstate", &*state),
        ];
        text.sample(name, &labels, 1.0);
    }
    let name = "node_network_up";
    text.family(name, Type::Gauge, "Value is 1 if operstate is 'up', 0 otherwise.");
    for (device, dir) in &devices {
        let up = word(dir, "operstate").is_some_and(|s| s == "up");
        text.sample(name, &[("device", device)], f64::from(u8::from(up)));
    }
    for (property, kind, file) in PROPERTIES {
        let name = format!("node_network_{property}");
        let mut begun = false;
        for (device, dir) in &devices {
            // `speed` and `carrier` give EINVAL on a device that is down.
            let Some(mut value) = word(dir, file).and_then(|w| integer(&w)) else { continue };
            if *property == "speed_bytes" {
                if value < 0.0 {
                    continue; // Unknown, says sysfs-class-net.
                }
                value *= 1_000_000.0 / 8.0; // Mbit/s.
            }
            if !begun {
                text.family(&name, *kind, &format!("Network device property: {property}"));
                begun = true;
            }
            text.sample(&name, &[("device", device)], value);
        }
    }
    Ok(())
}

fn word(dir: &Path, file: &str) -> Option<String> {
    slurp(&dir.join(file)).ok().map(|text| text.trim().to_owned())
}

/// Decimal, or hexadecimal with `0x`.
fn integer(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as f64),
        None => text.parse::<i64>().ok().map(|n| n as f64),
    }
}
