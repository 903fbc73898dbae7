//! Sensors of the hardware (collector `hwmon`):
//! `Documentation/hwmon/sysfs-interface.rst`. Names, units and the chips' names
//! are node_exporter's.

use crate::Fault;
use crate::files::{Files, Tree, finite};
use crate::settings::Rules;
use crate::text::{Text, Type};
use std::collections::BTreeMap;
use std::path::Path;

const DIR: &str = "class/hwmon";

/// What a sensor measures: the beginning of its files' names.
const KINDS: [&str; 14] = [
    "vrm",
    "beep_enable",
    "update_interval",
    "in",
    "cpu",
    "fan",
    "pwm",
    "temp",
    "curr",
    "power",
    "energy",
    "humidity",
    "intrusion",
    "freq",
];

/// The chips are looked for anew after so many readings, or when others are there.
const LOOK_AFTER: u32 = 60;

/// Files of one chip that are read, at most.
const MAX_FILES: usize = 2_000;

/// The chips of the last look.
#[derive(Debug, Default)]
pub(crate) struct Known {
    folders: Vec<String>,
    chips: Vec<Chip>,
    readings: u32,
}

#[derive(Debug)]
struct Chip {
    name: String,
    human_name: Option<String>,
    /// By sensor (`temp1`), then by property (`crit_alarm`): the file.
    sensors: BTreeMap<String, Sensor>,
}

#[derive(Debug)]
struct Sensor {
    kind: &'static str,
    files: BTreeMap<String, String>,
}

/// Samples by family, so that all chips' are together.
#[derive(Default)]
struct Families(BTreeMap<String, Family>);

struct Family {
    kind: Type,
    help: String,
    rows: BTreeMap<(String, String), f64>,
}

impl Families {
    fn add(&mut self, name: String, kind: Type, help: String, chip: &str, sensor: &str, value: f64) {
        let family = self.0.entry(name).or_insert_with(|| Family { kind, help, rows: BTreeMap::new() });
        family.rows.insert((chip.to_owned(), sensor.to_owned()), value);
    }
}

pub(crate) fn read(
    files: &mut Files,
    rules: &mut Rules,
    known: &mut Known,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    let folders = files.devices(DIR)?;
    if *folders != *known.folders || known.readings.is_multiple_of(LOOK_AFTER) {
        known.chips = look(files, &folders);
        known.folders = folders.to_vec();
    }
    known.readings = known.readings.wrapping_add(1);
    let chips: Vec<&Chip> = known.chips.iter().filter(|chip| rules.chips.takes(&chip.name)).collect();

    let named = chips.iter().filter_map(|chip| Some((&*chip.name, chip.human_name.as_deref()?)));
    let name = "node_hwmon_chip_names";
    let mut begun = false;
    for (chip, human) in named {
        if !begun {
            text.family(name, Type::Gauge, "Annotation metric for human-readable chip names");
            begun = true;
        }
        text.sample(name, &[("chip", chip), ("chip_name", human)], 1.0);
    }
    let mut families = Families::default();
    let mut labels: BTreeMap<(String, String), String> = BTreeMap::new();
    for chip in chips {
        for (sensor, found) in &chip.sensors {
            if rules.sensors.takes(&format!("{};{sensor}", chip.name)) {
                sample(files, &chip.name, sensor, found, &mut labels, &mut families);
            }
        }
    }
    let name = "node_hwmon_sensor_label";
    if !labels.is_empty() {
        text.family(name, Type::Gauge, "Label for given chip and sensor");
    }
    for ((chip, sensor), label) in &labels {
        text.sample(name, &[("chip", chip), ("label", label), ("sensor", sensor)], 1.0);
    }
    for (name, family) in &families.0 {
        text.family(name, family.kind, &family.help);
        for ((chip, sensor), value) in &family.rows {
            text.sample(name, &[("chip", chip), ("sensor", sensor)], *value);
        }
    }
    Ok(())
}

fn sample(
    files: &mut Files,
    chip: &str,
    sensor: &str,
    found: &Sensor,
    labels: &mut BTreeMap<(String, String), String>,
    families: &mut Families,
) {
    let mut read = |file: &str| files.word(&[file]).map(str::to_owned);
    let label = found.files.get("label").and_then(|file| read(file));
    if let Some(label) = &label {
        labels.insert((chip.to_owned(), sensor.to_owned()), label.clone());
    }
    for (property, file) in &found.files {
        if property == "label" {
            continue;
        }
        let Some(value) = read(file).as_deref().and_then(finite) else { continue };
        let bare = property == "input" && found.files.contains_key("");
        let Some((name, kind, help, factor)) = reading(found.kind, property, bare) else { continue };
        if found.kind == "freq" && property == "input" {
            // Without a label nobody knows of what.
            if let Some(label) = &label {
                families.add(name, kind, help, chip, label, value / factor);
            }
            continue;
        }
        families.add(
            name,
            kind,
            help,
            chip,
            sensor,
            if factor == 0.001 { value * factor } else { value / factor },
        );
    }
}

/// Metric, kind, help, and what the value is divided by; 0.001 stands for a
/// multiplication, as node_exporter does it. `bare` is an input besides which
/// there is a file without property.
fn reading(kind: &str, property: &str, bare: bool) -> Option<(String, Type, String, f64)> {
    let gauge = |name: String, help: String, factor: f64| Some((name, Type::Gauge, help, factor));
    match kind {
        "beep_enable" => {
            return gauge("node_hwmon_beep_enabled".into(), "Hardware beep enabled".into(), 1.0);
        }
        "vrm" => {
            let name = "node_hwmon_voltage_regulator_version";
            return gauge(name.into(), "Hardware voltage regulator".into(), 1.0);
        }
        "update_interval" => {
            let name = "node_hwmon_update_interval_seconds";
            return gauge(name.into(), "Hardware monitor update interval".into(), 0.001);
        }
        _ => {}
    }
    let mut name = format!("node_hwmon_{kind}");
    if property == "input" {
        name.push_str(if bare { "_input" } else { "" });
    } else if !property.is_empty() {
        name.push('_');
        name.push_str(&cleaned(property));
    }
    let with = |suffix: &str| format!("{name}{suffix}");
    match (kind, property) {
        // These have no unit.
        (_, "fault" | "alarm") => {
            gauge(name.clone(), format!("Hardware sensor {property} status ({kind})"), 1.0)
        }
        (_, "beep") => gauge(with("_enabled"), "Hardware monitor sensor has beeping enabled".into(), 1.0),
        ("in" | "cpu", _) => {
            gauge(with("_volts"), format!("Hardware monitor for voltage ({property})"), 0.001)
        }
        ("temp", _) if property != "type" => {
            let property = if property.is_empty() { "input" } else { property };
            gauge(with("_celsius"), format!("Hardware monitor for temperature ({property})"), 0.001)
        }
        ("curr", _) => gauge(with("_amps"), format!("Hardware monitor for current ({property})"), 0.001),
        ("energy", _) => {
            let help = format!("Hardware monitor for joules used so far ({property})");
            Some((with("_joule_total"), Type::Counter, help, 1e6))
        }
        ("power", "accuracy") => {
            gauge(name.clone(), "Hardware monitor power meter accuracy, as a ratio".into(), 1e6)
        }
        ("power", "average_interval" | "average_interval_min" | "average_interval_max") => gauge(
            with("_seconds"),
            format!("Hardware monitor power usage update interval ({property})"),
            0.001,
        ),
        ("power", _) => {
            gauge(with("_watt"), format!("Hardware monitor for power usage in watts ({property})"), 1e6)
        }
        ("humidity", _) => {
            let help = format!(
                "Hardware monitor for humidity, as a ratio (multiply with 100.0 to get the humidity as a \
                 percentage) ({property})"
            );
            gauge(name.clone(), help, 1e6)
        }
        ("fan", "input" | "min" | "max" | "target") => {
            let help = format!("Hardware monitor for fan revolutions per minute ({property})");
            gauge(with("_rpm"), help, 1.0)
        }
        ("freq", "input") => {
            gauge(with("_freq_mhz"), "Hardware monitor for GPU frequency in MHz".into(), 1e6)
        }
        _ => gauge(name.clone(), format!("Hardware monitor {kind} element {property}"), 1.0),
    }
}

/// Every chip there is, with its files.
fn look(files: &mut Files, folders: &[String]) -> Vec<Chip> {
    let mut chips: Vec<(Chip, String)> = Vec::new();
    for folder in folders {
        let dir = format!("{DIR}/{folder}");
        if !files.path(Tree::Sys, &[&dir]).is_dir() {
            continue;
        }
        let human_name = files.word(&[&dir, "name"]).filter(|name| !name.is_empty()).map(str::to_owned);
        let Some(name) = name_of_chip(&files.path(Tree::Sys, &[&dir]), human_name.as_deref()) else {
            continue;
        };
        let mut sensors = BTreeMap::new();
        // Older drivers have their files in the device's own folder.
        for dir in [dir.clone(), format!("{dir}/device")] {
            collect(files, &dir, &mut sensors);
        }
        let human = human_name.as_deref().map(cleaned).filter(|name| !name.is_empty());
        chips.push((Chip { name, human_name: human, sensors }, human_name.unwrap_or_default()));
    }
    // Several chips of one device have its name: their own names set them apart.
    let mut count: BTreeMap<String, u32> = BTreeMap::new();
    for (chip, _) in &chips {
        *count.entry(chip.name.clone()).or_default() += 1;
    }
    for (chip, own) in &mut chips {
        let own = cleaned(own);
        if count[&chip.name] > 1 && !own.is_empty() {
            chip.name = format!("{}_{own}", chip.name);
        }
    }
    chips.into_iter().map(|(chip, _)| chip).collect()
}

/// The device's path is stable, the number is not: `platform_coretemp_0`. Without
/// a device, the chip's own name; without that, `hwmon4`.
fn name_of_chip(dir: &Path, own: Option<&str>) -> Option<String> {
    let last =
        |path: &Path| path.file_name().map(|name| cleaned(&name.to_string_lossy())).unwrap_or_default();
    if let Ok(device) = dir.join("device").canonicalize() {
        let (name, bus) = (last(&device), device.parent().map(last).unwrap_or_default());
        if !name.is_empty() {
            return Some(if bus.is_empty() { name } else { format!("{bus}_{name}") });
        }
    }
    let own = own.map(cleaned).filter(|name| !name.is_empty());
    own.or_else(|| Some(last(&dir.canonicalize().ok()?)).filter(|name| !name.is_empty()))
}

fn collect(files: &Files, dir: &str, sensors: &mut BTreeMap<String, Sensor>) {
    for file in files.list(Tree::Sys, &[dir]).unwrap_or_default().into_iter().take(MAX_FILES) {
        let Some((kind, number, property)) = parts(&file) else { continue };
        let sensor = sensors
            .entry(format!("{kind}{number}"))
            .or_insert_with(|| Sensor { kind, files: BTreeMap::new() });
        sensor.files.insert(property.to_owned(), format!("{dir}/{file}"));
    }
}

/// `temp1_crit_alarm`: kind, number (0 where there is none), property.
fn parts(file: &str) -> Option<(&'static str, u32, &str)> {
    let digits = file.find(|c: char| c.is_ascii_digit());
    let (kind, rest) = match digits {
        Some(at) => file.split_at(at),
        None => (file, ""),
    };
    let kind = KINDS.iter().find(|known| **known == kind)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (number, property) = rest.split_at(end);
    let number = if number.is_empty() { 0 } else { number.parse().ok()? };
    match property {
        "" => Some((kind, number, "")),
        _ => property.strip_prefix('_').filter(|p| !p.is_empty()).map(|property| (*kind, number, property)),
    }
}

/// `[^a-z0-9:_]` becomes `_`, and none is left at the ends.
fn cleaned(text: &str) -> String {
    let replaced: String = text
        .trim()
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() || c == ':' || c == '_' { c } else { '_' })
        .collect();
    replaced.trim_matches('_').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files() {
        let cases = [
            ("temp1_input", Some(("temp", 1, "input"))),
            ("temp12_crit_alarm", Some(("temp", 12, "crit_alarm"))),
            ("pwm1", Some(("pwm", 1, ""))),
            ("update_interval", Some(("update_interval", 0, ""))),
            ("beep_enable", Some(("beep_enable", 0, ""))),
            ("in0_min", Some(("in", 0, "min"))),
            ("name", None),
            ("bogus1_input", None),
            ("temp1x", None),
            ("temp1_", None),
            ("temp99999999999_input", None),
        ];
        for (file, expected) in cases {
            assert_eq!(parts(file), expected, "{file}");
        }
    }

    #[test]
    fn units_of_readings() {
        let cases = [
            ("power", "input", "node_hwmon_power_watt", 1e6),
            ("power", "average_interval", "node_hwmon_power_average_interval_seconds", 0.001),
            ("energy", "input", "node_hwmon_energy_joule_total", 1e6),
            ("humidity", "input", "node_hwmon_humidity", 1e6),
            ("curr", "max", "node_hwmon_curr_max_amps", 0.001),
            ("fan", "div", "node_hwmon_fan_div", 1.0),
            ("temp", "type", "node_hwmon_temp_type", 1.0),
            ("temp", "", "node_hwmon_temp_celsius", 0.001),
            ("in", "input", "node_hwmon_in_volts", 0.001),
        ];
        for (kind, property, name, factor) in cases {
            let (found, _, _, divisor) = reading(kind, property, false).unwrap();
            assert_eq!((found.as_str(), divisor), (name, factor), "{kind} {property}");
        }
        assert_eq!(reading("pwm", "input", true).unwrap().0, "node_hwmon_pwm_input");
        assert_eq!(cleaned("0000:45:00.0 "), "0000:45:00_0");
    }
}
