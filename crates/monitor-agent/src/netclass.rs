//! Network devices as `/sys/class/net` describes them, and bonds of them
//! (collectors `netclass`, `bonding`): `Documentation/ABI/testing/sysfs-class-net`,
//! `Documentation/networking/bonding.rst`.

use crate::Fault;
use crate::files::{Files, Tree};
use crate::settings::{Filter, Settings};
use crate::text::{Text, Type};

const DIR: &str = "class/net";

/// The devices of the last reading, and those of them that are folders.
#[derive(Debug, Default)]
pub(crate) struct Known {
    names: Vec<String>,
    devices: Vec<String>,
}

/// Metric, help, kind, file.
const PROPERTIES: &[(&str, &str, Type, &str)] = {
    use Type::{Counter, Gauge};
    macro_rules! property {
        ($name:literal, $kind:expr, $file:literal) => {
            (concat!("node_network_", $name), concat!("Network device property: ", $name), $kind, $file)
        };
    }
    &[
        property!("address_assign_type", Gauge, "addr_assign_type"),
        property!("carrier", Gauge, "carrier"),
        property!("carrier_changes_total", Counter, "carrier_changes"),
        property!("carrier_down_changes_total", Counter, "carrier_down_count"),
        property!("carrier_up_changes_total", Counter, "carrier_up_count"),
        property!("device_id", Gauge, "dev_id"),
        property!("dormant", Gauge, "dormant"),
        property!("flags", Gauge, "flags"),
        property!("iface_id", Gauge, "ifindex"),
        property!("iface_link", Gauge, "iflink"),
        property!("iface_link_mode", Gauge, "link_mode"),
        property!("mtu_bytes", Gauge, "mtu"),
        property!("name_assign_type", Gauge, "name_assign_type"),
        property!("net_dev_group", Gauge, "netdev_group"),
        property!("protocol_type", Gauge, "type"),
        property!("speed_bytes", Gauge, "speed"),
        property!("transmit_queue_length", Gauge, "tx_queue_len"),
    ]
};
const FLAGS: usize = 7;

pub(crate) fn read(
    files: &mut Files,
    settings: &Settings,
    filter: &mut Filter,
    known: &mut Known,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    let names = files.list(Tree::Sys, &[DIR])?;
    if names != known.names {
        // An open file follows its device to another name.
        files.forget();
        known.devices = names
            .iter()
            .filter(|name| files.path(Tree::Sys, &[DIR, name]).is_dir()) // `bonding_masters` is a file.
            .cloned()
            .collect();
        known.names = names;
    }
    let devices: Vec<&String> = known.devices.iter().filter(|name| filter.takes(name)).collect();

    // Device by device, as their folders lie in the kernel; then family by family.
    let mut values: Vec<[Option<f64>; PROPERTIES.len()]> = Vec::with_capacity(devices.len());
    let mut states: Vec<[String; 5]> = Vec::with_capacity(devices.len());
    for device in &devices {
        // `speed` and `carrier` give EINVAL on a device that is down.
        values.push(std::array::from_fn(|at| {
            let file = PROPERTIES[at].3;
            let value = files.word(&[DIR, device, file]).and_then(integer)?;
            if file != "speed" {
                return Some(value);
            }
            // Mbit/s; negative where the driver does not know.
            (value >= 0.0 || !settings.ignore_invalid_speed).then_some(value * 1_000_000.0 / 8.0)
        }));
        states.push(
            ["address", "broadcast", "duplex", "ifalias", "operstate"]
                .map(|file| files.word(&[DIR, device, file]).unwrap_or_default().to_owned()),
        );
    }
    info(&devices, &values, &states, text);
    for (at, (name, help, kind, _)) in PROPERTIES.iter().enumerate() {
        let rows = devices.iter().zip(&values).filter_map(|(device, values)| Some((device, values[at]?)));
        text.rows(name, *kind, help, "device", rows);
    }
    Ok(())
}

fn info(
    devices: &[&String],
    values: &[[Option<f64>; PROPERTIES.len()]],
    states: &[[String; 5]],
    text: &mut Text<'_>,
) {
    let name = "node_network_info";
    if !devices.is_empty() {
        text.family(name, Type::Gauge, "Non-numeric data from /sys/class/net/<iface>, value is always 1.");
    }
    for ((device, values), [address, broadcast, duplex, alias, state]) in
        devices.iter().zip(values).zip(states)
    {
        let admin = match values[FLAGS] {
            // IFF_UP, linux/if.h.
            Some(flags) if flags as u64 & 1 == 1 => "up",
            Some(_) => "down",
            None => "unknown",
        };
        let labels = [
            ("address", &**address),
            ("adminstate", admin),
            ("broadcast", broadcast),
            ("device", device),
            ("duplex", duplex),
            ("ifalias", alias),
            ("operstate", state),
        ];
        text.sample(name, &labels, 1.0);
    }
    let up = |state: &[String; 5]| f64::from(u8::from(state[4] == "up"));
    let rows = devices.iter().zip(states).map(|(device, state)| (device, up(state)));
    let help = "Value is 1 if operstate is 'up', 0 otherwise.";
    text.rows("node_network_up", Type::Gauge, help, "device", rows);
}

/// Decimal, or hexadecimal with `0x`.
fn integer(text: &str) -> Option<f64> {
    match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok().map(|n| n as f64),
        None => text.parse::<i64>().ok().map(|n| n as f64),
    }
}

pub(crate) fn bonding(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let masters = files.read(Tree::Sys, &[DIR, "bonding_masters"])?;
    let masters: std::collections::BTreeSet<String> =
        masters.split_ascii_whitespace().map(str::to_owned).collect();
    let mut counts: Vec<(String, f64, f64)> = Vec::new();
    for master in masters {
        let slaves = files.read(Tree::Sys, &[DIR, &master, "bonding/slaves"])?;
        let slaves: Vec<String> = slaves.split_ascii_whitespace().map(str::to_owned).collect();
        let mut active = 0.0;
        for slave in &slaves {
            // Called `slave_` before Linux 3.13.
            let up = ["lower_", "slave_"].iter().any(|prefix| {
                let folder = format!("{prefix}{slave}");
                files.word(&[DIR, &master, &folder, "bonding_slave/mii_status"]) == Some("up")
            });
            active += f64::from(u8::from(up));
        }
        counts.push((master, active, slaves.len() as f64));
    }
    let rows = counts.iter().map(|(master, active, _)| (master, *active));
    let help = "Number of active slaves per bonding interface.";
    text.rows("node_bonding_active", Type::Gauge, help, "master", rows);
    let rows = counts.iter().map(|(master, _, slaves)| (master, *slaves));
    let help = "Number of configured slaves per bonding interface.";
    text.rows("node_bonding_slaves", Type::Gauge, help, "master", rows);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn numbers_of_sysfs() {
        let cases = [
            ("12", Some(12.0)),
            ("-1", Some(-1.0)),
            ("0x1303", Some(4867.0)),
            ("0x", None),
            ("x", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(integer(text), expected, "{text}");
        }
    }
}
