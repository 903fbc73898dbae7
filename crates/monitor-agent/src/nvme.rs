//! NVMe controllers and their namespaces (collector `nvme`):
//! `/sys/class/nvme`, `Documentation/ABI/stable/sysfs-block`.

use crate::Fault;
use crate::files::Files;
use crate::text::{Text, Type};

const DIR: &str = "class/nvme";

struct Namespace {
    device: String,
    id: String,
    state: String,
    block: f64,
    size: f64,
    used: f64,
}

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let devices = files.devices(DIR)?;
    let mut namespaces: Vec<Namespace> = Vec::new();
    let name = "node_nvme_info";
    if !devices.is_empty() {
        text.family(name, Type::Gauge, "Non-numeric data from /sys/class/nvme/<device>, value is always 1.");
    }
    for device in devices.iter() {
        let mut attribute = |file: &str| files.word(&[DIR, device, file]).unwrap_or_default().to_owned();
        let labels = [
            ("cntlid", &*attribute("cntlid")),
            ("device", device),
            ("firmware_revision", &*attribute("firmware_rev")),
            ("model", &*attribute("model")),
            ("serial", &*attribute("serial")),
            ("state", &*attribute("state")),
        ];
        text.sample(name, &labels, 1.0);
        namespaces_of(files, device, &mut namespaces);
    }
    give(&namespaces, text);
    Ok(())
}

/// Folders `nvme0n1`, or `nvme0c0n1` for a path of a controller with several.
fn namespaces_of(files: &mut Files, device: &str, namespaces: &mut Vec<Namespace>) {
    let Ok(folders) = files.devices(&format!("{DIR}/{device}")) else { return };
    for folder in folders.iter() {
        let Some(id) = namespace_of(folder, device) else { continue };
        let Some(block) = files.number(&[DIR, device, folder, "queue/logical_block_size"]) else { continue };
        let sectors = files.number(&[DIR, device, folder, "size"]).unwrap_or(0.0);
        // `nuse` is counted in blocks of the namespace (`drivers/nvme/host/sysfs.c`).
        let used = files.number(&[DIR, device, folder, "nuse"]).unwrap_or(0.0);
        let state = files.word(&[DIR, device, folder, "ana_state"]).unwrap_or("unknown").to_owned();
        namespaces.push(Namespace {
            device: device.to_owned(),
            id: id.to_owned(),
            state,
            block,
            size: sectors * block,
            used: used * block,
        });
    }
}

fn namespace_of<'a>(folder: &'a str, device: &str) -> Option<&'a str> {
    let rest = folder.strip_prefix(device)?;
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let id = match rest.strip_prefix('c') {
        Some(path) => path.split_once('n').filter(|(controller, _)| digits(controller))?.1,
        None => rest.strip_prefix('n')?,
    };
    digits(id).then_some(id)
}

fn give(namespaces: &[Namespace], text: &mut Text<'_>) {
    if namespaces.is_empty() {
        return;
    }
    let name = "node_nvme_namespace_info";
    text.family(name, Type::Gauge, "Information about NVMe namespaces. Value is always 1");
    for n in namespaces {
        text.sample(name, &[("ana_state", &n.state), ("device", &n.device), ("nsid", &n.id)], 1.0);
    }
    let mut gauge = |name: &str, help: &str, value: fn(&Namespace) -> f64| {
        text.family(name, Type::Gauge, help);
        for n in namespaces {
            text.sample(name, &[("device", &n.device), ("nsid", &n.id)], value(n));
        }
    };
    gauge(
        "node_nvme_namespace_capacity_bytes",
        "Capacity of the NVMe namespace in bytes. Computed as namespace_size * namespace_logical_block_size",
        |n| n.size,
    );
    gauge(
        "node_nvme_namespace_logical_block_size_bytes",
        "Logical block size of the NVMe namespace in bytes. Usually 4Kb. Available in \
         /sys/class/nvme/<device>/<namespace>/queue/logical_block_size",
        |n| n.block,
    );
    gauge(
        "node_nvme_namespace_size_bytes",
        "Size of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/size",
        |n| n.size,
    );
    gauge(
        "node_nvme_namespace_used_bytes",
        "Used space of the NVMe namespace in bytes. Available in /sys/class/nvme/<device>/<namespace>/nuse",
        |n| n.used,
    );
}

#[cfg(test)]
mod tests {
    use super::namespace_of;

    #[test]
    fn folders_of_namespaces() {
        let cases = [
            ("nvme0n1", Some("1")),
            ("nvme0c3n12", Some("12")),
            ("nvme0n", None),
            ("nvme01n1", None),
            ("nvme0cn1", None),
            ("power", None),
            ("nvme0n1p1", None),
        ];
        for (folder, expected) in cases {
            assert_eq!(namespace_of(folder, "nvme0"), expected, "{folder}");
        }
    }
}
