//! Software RAID: `/proc/mdstat` and `/sys/block/md*/md` (collector `mdadm`):
//! `Documentation/admin-guide/md.rst`; the states are node_exporter's.

use crate::files::{Files, finite};
use crate::text::{Text, Type};
use crate::{Fault, odd};
use std::collections::BTreeMap;

/// One array of `mdstat`.
#[derive(Debug, PartialEq)]
struct Array {
    state: State,
    active: f64,
    failed: f64,
    spare: f64,
    required: f64,
    blocks: f64,
    synced: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Active,
    Inactive,
    Recovering,
    Resync,
    Check,
    Other,
}

const STATES: [(&str, State); 5] = [
    ("active", State::Active),
    ("check", State::Check),
    ("inactive", State::Inactive),
    ("recovering", State::Recovering),
    ("resync", State::Resync),
];

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("mdstat")?;
    let arrays = match arrays(content) {
        Ok(arrays) => arrays,
        Err(line) => return Err(odd(files, "mdstat", &line)),
    };
    let mut gauge = |name: &str, help: &str, value: fn(&Array) -> f64| {
        text.rows(
            name,
            Type::Gauge,
            help,
            "device",
            arrays.iter().map(|(device, array)| (device, value(array))),
        );
    };
    gauge("node_md_blocks", "Total number of blocks on device.", |a| a.blocks);
    gauge("node_md_blocks_synced", "Number of blocks synced on device.", |a| a.synced);
    gauge("node_md_disks_required", "Total number of disks of device.", |a| a.required);
    if !arrays.is_empty() {
        disks_and_states(&arrays, text);
    }
    attributes(files, text);
    Ok(())
}

fn disks_and_states(arrays: &BTreeMap<String, Array>, text: &mut Text<'_>) {
    let name = "node_md_disks";
    text.family(name, Type::Gauge, "Number of active/failed/spare disks of device.");
    for (device, array) in arrays {
        for (state, value) in [("active", array.active), ("failed", array.failed), ("spare", array.spare)] {
            text.sample(name, &[("device", device), ("state", state)], value);
        }
    }
    let name = "node_md_state";
    text.family(name, Type::Gauge, "Indicates the state of md-device.");
    for (device, array) in arrays {
        for (word, state) in STATES {
            let value = f64::from(u8::from(array.state == state));
            text.sample(name, &[("device", device), ("state", word)], value);
        }
    }
}

/// How many disks sysfs says an array has and lacks; those without redundancy do
/// not say, and lack none.
fn attributes(files: &mut Files, text: &mut Text<'_>) {
    let mut rows: Vec<(String, f64, f64)> = Vec::new();
    let Ok(devices) = files.devices("block") else { return };
    for device in devices.iter() {
        if !device.starts_with("md") {
            continue;
        }
        let Some(disks) = files.number(&["block", device, "md/raid_disks"]) else { continue };
        let degraded = files.number(&["block", device, "md/degraded"]).unwrap_or(0.0);
        rows.push((device.clone(), degraded, disks));
    }
    let degraded = rows.iter().map(|(device, degraded, _)| (device, *degraded));
    let help = "Number of degraded disks on device.";
    text.rows("node_md_degraded", Type::Gauge, help, "device", degraded);
    let disks = rows.iter().map(|(device, _, disks)| (device, *disks));
    text.rows("node_md_raid_disks", Type::Gauge, "Number of raid disks on device.", "device", disks);
}

/// The arrays by name; the line that is not understood.
fn arrays(content: &str) -> Result<BTreeMap<String, Array>, String> {
    let lines: Vec<&str> = content.lines().collect();
    let mut arrays = BTreeMap::new();
    for (at, line) in lines.iter().enumerate() {
        let starts = !line.trim().is_empty()
            && !line.starts_with(char::is_whitespace)
            && !line.starts_with("Personalities")
            && !line.starts_with("unused");
        if starts {
            let following = &lines[at + 1..];
            let (name, array) = array(line, following).ok_or_else(|| (*line).to_owned())?;
            arrays.insert(name, array);
        }
    }
    Ok(arrays)
}

/// `md6 : active raid1 sdb2[2](F) sda2[0]`, `195310144 blocks [2/1] [U_]`, and
/// perhaps a line of a bitmap and one of what is being done.
fn array(line: &str, following: &[&str]) -> Option<(String, Array)> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next()?;
    let state = words.nth(1)?;
    let status = following.first()?;
    let blocks = finite(status.split_ascii_whitespace().next()?)?;
    let unredundant = line.contains("raid0") || line.contains("linear");
    let (active, required) = if unredundant {
        // Every disk of such an array is needed; only disks have a number in brackets.
        let disks = line.matches('[').count() as f64;
        (disks, disks)
    } else if state == "inactive" {
        (0.0, 0.0)
    } else {
        active_of(status)?
    };
    let mut array = Array {
        state: match state {
            "active" => State::Active,
            "inactive" => State::Inactive,
            _ => State::Other,
        },
        active,
        failed: line.matches("(F)").count() as f64,
        spare: line.matches("(S)").count() as f64,
        required,
        blocks,
        synced: blocks,
    };
    let doing = match following.get(1) {
        Some(line) if line.contains("bitmap") => following.get(2),
        other => other,
    };
    if let Some(doing) = doing.filter(|line| line.starts_with(char::is_whitespace)) {
        progress(doing, &mut array)?;
    }
    Some((name.to_owned(), array))
}

/// `[=>...]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec`
/// or `resync=DELAYED`.
fn progress(line: &str, array: &mut Array) -> Option<()> {
    array.state = if line.contains("recovery") {
        State::Recovering
    } else if line.contains("reshape") {
        State::Other
    } else if line.contains("resync") {
        State::Resync
    } else if line.contains("check") {
        State::Check
    } else {
        return Some(());
    };
    array.synced = if line.contains("PENDING") || line.contains("DELAYED") {
        0.0
    } else {
        finite(line.split_once('(')?.1.split_once('/')?.0)?
    };
    Some(())
}

/// `… [2/1] [U_]`: required and active.
fn active_of(status: &str) -> Option<(f64, f64)> {
    for part in status.split('[').skip(1) {
        if let Some((required, active)) = part.split_once(']').and_then(|(inside, _)| inside.split_once('/'))
        {
            return Some((finite(active)?, finite(required)?));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_that_recovers() {
        let content = "Personalities : [raid1]\n\nmd6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]\n      \
                       195310144 blocks [2/1] [U_]\n      bitmap: 0/1 pages\n      [=>..]  recovery =  8.5% \
                       (16775552/195310144) finish=17.0min\n\nunused devices: <none>\n";
        let found = arrays(content).unwrap();
        let expected = Array {
            state: State::Recovering,
            active: 1.0,
            failed: 1.0,
            spare: 1.0,
            required: 2.0,
            blocks: 195_310_144.0,
            synced: 16_775_552.0,
        };
        assert_eq!(found["md6"], expected);
    }

    #[test]
    fn what_is_no_array_is_named() {
        for bad in ["md0\n", "md0 : active raid1 sda[0]\n", "md0 : active raid1\n  x blocks [2/2]\n"] {
            assert!(arrays(bad).is_err(), "{bad}");
        }
        assert!(arrays("md0 : active raid1 sda[0]\n  12 blocks\n").is_err());
        assert!(arrays("md0 : active raid1 a[0]\n  12 blocks [1/1] [U]\n  resync = 5%\n").is_err());
        assert_eq!(arrays("Personalities :\nunused devices: <none>\n").unwrap().len(), 0);
    }
}
