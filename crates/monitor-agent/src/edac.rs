//! Memory errors that the hardware corrected or could not (collector `edac`):
//! `Documentation/admin-guide/RAS/main.rst`, `/sys/devices/system/edac/mc`.

use crate::Fault;
use crate::files::Files;
use crate::text::{Text, Type};

const DIR: &str = "devices/system/edac/mc";

/// Rows of one family: the values of its labels, and the value.
#[derive(Default)]
struct Family<const LABELS: usize>(Vec<([String; LABELS], f64)>);

impl<const LABELS: usize> Family<LABELS> {
    fn push(&mut self, labels: [&str; LABELS], value: Option<f64>) {
        if let Some(value) = value {
            self.0.push((labels.map(str::to_owned), value));
        }
    }

    fn give(&self, name: &str, help: &str, labels: [&str; LABELS], text: &mut Text<'_>) {
        if !self.0.is_empty() {
            text.family(name, Type::Counter, help);
        }
        for (values, value) in &self.0 {
            let pairs: [(&str, &str); LABELS] = std::array::from_fn(|at| (labels[at], values[at].as_str()));
            text.sample(name, &pairs, *value);
        }
    }
}

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut controllers: [Family<1>; 2] = Default::default();
    let mut rows: [Family<2>; 2] = Default::default();
    let mut channels: [Family<4>; 2] = Default::default();
    // `ce`: corrected; `ue`: not.
    const KINDS: [&str; 2] = ["ce", "ue"];
    for controller in numbered(&files.devices(DIR)?, "mc") {
        let dir = format!("{DIR}/mc{controller}");
        for (at, kind) in KINDS.iter().enumerate() {
            controllers[at].push([&controller], files.number(&[&dir, &format!("{kind}_count")]));
            // Errors of which the row is not known.
            let unknown = files.number(&[&dir, &format!("{kind}_noinfo_count")]);
            rows[at].push([&controller, "unknown"], unknown);
        }
        for row in numbered(&files.devices(&dir)?, "csrow") {
            let dir = format!("{dir}/csrow{row}");
            for (at, kind) in KINDS.iter().enumerate() {
                rows[at].push([&controller, &row], files.number(&[&dir, &format!("{kind}_count")]));
            }
            for file in files.devices(&dir)?.iter() {
                let Some(channel) = file.strip_prefix("ch").and_then(|f| f.strip_suffix("_dimm_label"))
                else {
                    continue;
                };
                let label = files.word(&[&dir, file]).map(dimm_label).unwrap_or_default();
                for (at, kind) in KINDS.iter().enumerate() {
                    let count = files.number(&[&dir, &format!("ch{channel}_{kind}_count")]);
                    channels[at].push([channel, &controller, &row, &label], count);
                }
            }
        }
    }
    for (at, word) in ["correctable", "uncorrectable"].iter().enumerate() {
        let labels = ["channel", "controller", "csrow", "dimm_label"];
        let name = format!("node_edac_channel_{word}_errors_total");
        channels[at].give(&name, &format!("Total {word} memory errors for this channel."), labels, text);
        let name = format!("node_edac_csrow_{word}_errors_total");
        let help = format!("Total {word} memory errors for this csrow.");
        rows[at].give(&name, &help, ["controller", "csrow"], text);
        let name = format!("node_edac_{word}_errors_total");
        controllers[at].give(&name, &format!("Total {word} memory errors."), ["controller"], text);
    }
    Ok(())
}

/// The numbers of the names that are `prefix` and a number.
fn numbered(names: &[String], prefix: &str) -> Vec<String> {
    let digits = |rest: &&str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
    names.iter().filter_map(|n| n.strip_prefix(prefix).filter(digits)).map(str::to_owned).collect()
}

/// `mc#0csrow#2channel#1`, as the kernel labels a module by default, as
/// node_exporter writes it: `mc0_csrow2_channel1`.
fn dimm_label(label: &str) -> String {
    label.replace('#', "").replace("csrow", "_csrow").replace("channel", "_channel")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_modules() {
        assert_eq!(dimm_label("mc#0csrow#2channel#1"), "mc0_csrow2_channel1");
        assert_eq!(dimm_label("DIMM_A1"), "DIMM_A1");
    }

    #[test]
    fn numbered_names() {
        let names = ["mc0", "mc12", "mc", "mcx", "power"].map(str::to_owned);
        assert_eq!(numbered(&names, "mc"), ["0", "12"]);
    }
}
