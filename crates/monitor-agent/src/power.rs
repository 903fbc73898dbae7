//! Batteries and mains (collector `powersupplyclass`):
//! `Documentation/ABI/testing/sysfs-class-power`.

use crate::Fault;
use crate::files::Files;
use crate::settings::Filter;
use crate::text::{Text, Type};

const DIR: &str = "class/power_supply";

/// Metric after `node_power_supply_`, file, what the value is divided by
/// (sysfs counts in µV, µA, µWh and tenths of a degree).
const READINGS: &[(&str, &str, f64)] = &[
    ("authentic", "authentic", 1.0),
    ("calibrate", "calibrate", 1.0),
    ("capacity", "capacity", 1.0),
    ("capacity_alert_max", "capacity_alert_max", 1.0),
    ("capacity_alert_min", "capacity_alert_min", 1.0),
    ("charge_ampere", "charge_now", 1e6),
    ("charge_control_limit", "charge_control_limit", 1e6),
    ("charge_control_limit_max", "charge_control_limit_max", 1e6),
    ("charge_counter", "charge_counter", 1e6),
    ("charge_empty", "charge_empty", 1e6),
    ("charge_empty_design", "charge_empty_design", 1e6),
    ("charge_full", "charge_full", 1e6),
    ("charge_full_design", "charge_full_design", 1e6),
    ("charge_term_current", "charge_term_current", 1e6),
    ("constant_charge_current", "constant_charge_current", 1e6),
    ("constant_charge_current_max", "constant_charge_current_max", 1e6),
    ("constant_charge_voltage", "constant_charge_voltage", 1e6),
    ("constant_charge_voltage_max", "constant_charge_voltage_max", 1e6),
    ("current_ampere", "current_now", 1e6),
    ("current_boot", "current_boot", 1e6),
    ("current_max", "current_max", 1e6),
    ("cyclecount", "cycle_count", 1.0),
    ("energy_empty", "energy_empty", 1e6),
    ("energy_empty_design", "energy_empty_design", 1e6),
    ("energy_full", "energy_full", 1e6),
    ("energy_full_design", "energy_full_design", 1e6),
    ("energy_watthour", "energy_now", 1e6),
    ("input_current_limit", "input_current_limit", 1e6),
    ("online", "online", 1.0),
    ("power_watt", "power_now", 1e6),
    ("precharge_current", "precharge_current", 1e6),
    ("present", "present", 1.0),
    ("temp_alert_max_celsius", "temp_alert_max", 10.0),
    ("temp_alert_min_celsius", "temp_alert_min", 10.0),
    ("temp_ambient_celsius", "temp_ambient", 10.0),
    ("temp_ambient_max_celsius", "temp_ambient_max", 10.0),
    ("temp_ambient_min_celsius", "temp_ambient_min", 10.0),
    ("temp_celsius", "temp", 10.0),
    ("temp_max_celsius", "temp_max", 10.0),
    ("temp_min_celsius", "temp_min", 10.0),
    ("time_to_empty_seconds", "time_to_empty_now", 1.0),
    ("time_to_full_seconds", "time_to_full_now", 1.0),
    ("voltage_boot", "voltage_boot", 1e6),
    ("voltage_max", "voltage_max", 1e6),
    ("voltage_max_design", "voltage_max_design", 1e6),
    ("voltage_min", "voltage_min", 1e6),
    ("voltage_min_design", "voltage_min_design", 1e6),
    ("voltage_ocv", "voltage_ocv", 1e6),
    ("voltage_volt", "voltage_now", 1e6),
];

/// Labels of `node_power_supply_info`, which are the files' names; one that the
/// supply has not is not given.
const WORDS: [&str; 11] = [
    "capacity_level",
    "charge_type",
    "health",
    "manufacturer",
    "model_name",
    "scope",
    "serial_number",
    "status",
    "technology",
    "type",
    "usb_type",
];

pub(crate) fn read(files: &mut Files, filter: &mut Filter, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut supplies = files.devices(DIR)?.to_vec();
    supplies.retain(|name| filter.takes(name));
    // Its own folder says which of the many files a supply has.
    let mut present = Vec::with_capacity(supplies.len());
    for name in &supplies {
        present.push(files.devices(&format!("{DIR}/{name}")).unwrap_or_default());
    }
    let name = "node_power_supply_info";
    if !supplies.is_empty() {
        text.family(name, Type::Gauge, "info of /sys/class/power_supply/<power_supply>.");
    }
    for (supply, present) in supplies.iter().zip(&present) {
        let mut labels = vec![("power_supply", supply.clone())];
        for file in WORDS {
            if present.iter().any(|name| name == file)
                && let Some(word) = files.word(&[DIR, supply, file]).filter(|word| !word.is_empty())
            {
                labels.push((file, word.to_owned()));
            }
        }
        labels.sort_unstable();
        let labels: Vec<(&str, &str)> =
            labels.iter().map(|(label, value)| (*label, value.as_str())).collect();
        text.sample(name, &labels, 1.0);
    }
    for (reading, file, divisor) in READINGS {
        let mut rows: Vec<(&String, f64)> = Vec::new();
        for (supply, present) in supplies.iter().zip(&present) {
            if present.iter().any(|name| name == file)
                && let Some(value) = files.number(&[DIR, supply, file])
            {
                rows.push((supply, value / divisor));
            }
        }
        if !rows.is_empty() {
            let name = format!("node_power_supply_{reading}");
            let help = format!("{reading} value of /sys/class/power_supply/<power_supply>.");
            text.rows(&name, Type::Gauge, &help, "power_supply", rows);
        }
    }
    Ok(())
}
