//! Thermal zones, cooling devices and the energy that the CPU's domains used
//! (collectors `thermal_zone`, `rapl`): `Documentation/driver-api/thermal/sysfs-api.rst`,
//! `Documentation/power/powercap/powercap.rst`.

use crate::Fault;
use crate::files::{Files, Tree};
use crate::text::{Text, Type, name_of};
use std::collections::BTreeMap;

const DIR: &str = "class/thermal";

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut zones: Vec<(String, String, f64)> = Vec::new();
    let mut coolers: Vec<(String, String, f64, f64)> = Vec::new();
    for folder in files.devices(DIR)?.iter() {
        let kind = |files: &mut Files| files.word(&[DIR, folder, "type"]).map(str::to_owned);
        if let Some(zone) = folder.strip_prefix("thermal_zone") {
            // A zone whose sensor is off gives ENODATA: there is no reading of it.
            if let (Some(kind), Some(temp)) = (kind(files), files.number(&[DIR, folder, "temp"])) {
                zones.push((zone.to_owned(), kind, temp / 1000.0));
            }
        } else if let Some(name) = folder.strip_prefix("cooling_device")
            && let (Some(kind), Some(now), Some(most)) = (
                kind(files),
                files.number(&[DIR, folder, "cur_state"]),
                files.number(&[DIR, folder, "max_state"]),
            )
        {
            coolers.push((name.to_owned(), kind, now, most));
        }
    }
    if !coolers.is_empty() {
        let name = "node_cooling_device_cur_state";
        text.family(name, Type::Gauge, "Current throttle state of the cooling device");
        for (device, kind, now, _) in &coolers {
            text.sample(name, &[("name", device), ("type", kind)], *now);
        }
        let name = "node_cooling_device_max_state";
        text.family(name, Type::Gauge, "Maximum throttle state of the cooling device");
        for (device, kind, _, most) in &coolers {
            text.sample(name, &[("name", device), ("type", kind)], *most);
        }
    }
    let name = "node_thermal_zone_temp";
    if !zones.is_empty() {
        text.family(name, Type::Gauge, "Zone temperature in Celsius");
    }
    for (zone, kind, celsius) in &zones {
        text.sample(name, &[("type", kind), ("zone", zone)], *celsius);
    }
    Ok(())
}

const POWERCAP: &str = "class/powercap";

/// Microjoules counted by each zone. Its name is what it measures (`core`,
/// `dram`), with the package's number where it is a package (`package-1`).
pub(crate) fn rapl(files: &mut Files, zone_label: bool, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut used: BTreeMap<String, u32> = BTreeMap::new();
    let mut zones: BTreeMap<String, Vec<(String, String, f64)>> = BTreeMap::new();
    for folder in files.devices(POWERCAP)?.iter() {
        // The control type itself (`intel-rapl`) has no name and no counter.
        let Some(name) = files.word(&[POWERCAP, folder, "name"]).map(str::to_owned) else { continue };
        let energy = match files.read(Tree::Sys, &[POWERCAP, folder, "energy_uj"]) {
            Ok(content) => crate::files::finite(content.trim()),
            Err(fault) if fault.is_absence() => continue,
            // Readable by root alone since Linux 5.10 (CVE-2020-8694).
            Err(fault) => return Err(fault),
        };
        let Some(energy) = energy else { continue };
        let (zone, index) = match name.split_once('-').map(|(zone, index)| (zone, index.parse::<u32>())) {
            Some((zone, Ok(index))) => (zone.to_owned(), index),
            _ => {
                let count = used.entry(name.clone()).or_default();
                *count += 1;
                (name.clone(), *count - 1)
            }
        };
        let path = files.path(Tree::Sys, &[POWERCAP, folder]).to_string_lossy().into_owned();
        zones.entry(zone).or_default().push((index.to_string(), path, energy / 1e6));
    }
    if zone_label && !zones.is_empty() {
        text.family("node_rapl_joules_total", Type::Counter, "Current RAPL value in joules");
    }
    for (zone, rows) in &zones {
        let name = if zone_label {
            "node_rapl_joules_total".to_owned()
        } else {
            let name = format!("{}_joules_total", name_of("node_rapl_", zone));
            text.family(&name, Type::Counter, &format!("Current RAPL {zone} value in joules"));
            name
        };
        for (index, path, joules) in rows {
            let mut labels = vec![("index", index.as_str()), ("path", path)];
            if zone_label {
                labels.push(("rapl_zone", zone));
            }
            text.sample(&name, &labels, *joules);
        }
    }
    Ok(())
}
