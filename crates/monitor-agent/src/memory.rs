//! `/proc/meminfo` and `/proc/vmstat` (collectors `meminfo`, `vmstat`).
//!
//! Names come from the file, so that a newer kernel's fields appear by
//! themselves; that is why this is not `procfs::Meminfo`.

use crate::files::{Files, finite};
use crate::settings::Filter;
use crate::text::{Text, Type, name_of};
use crate::{Fault, odd};

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("meminfo")?;
    let mut fields: Vec<(String, String, f64)> = Vec::with_capacity(64);
    for line in content.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        let unit = words.next();
        let (Some(value), None | Some("kB")) = (finite(value), unit) else {
            let line = line.to_owned();
            return Err(odd(files, "meminfo", &line));
        };
        // `Active(anon):` is `Active_anon`.
        let mut field = key.trim_end_matches(':').replace('(', "_").replace(')', "");
        let factor = if unit.is_some() {
            field.push_str("_bytes");
            1024.0
        } else {
            1.0
        };
        let name = name_of("node_memory_", &field);
        if !fields.iter().any(|(known, ..)| *known == name) {
            fields.push((name, field, value * factor));
        }
    }
    for (name, field, value) in fields {
        let kind = if field.ends_with("_total") { Type::Counter } else { Type::Gauge };
        text.single(&name, kind, &format!("Memory information field {field}."), value);
    }
    Ok(())
}

pub(crate) fn vmstat(files: &mut Files, filter: &mut Filter, text: &mut Text<'_>) -> Result<(), Fault> {
    let content = files.proc("vmstat")?;
    let mut given: Vec<String> = Vec::new();
    let mut wrong = None;
    for line in content.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        if !filter.takes(key) {
            continue;
        }
        let name = name_of("node_vmstat_", key);
        if given.contains(&name) {
            continue;
        }
        let Some(value) = finite(value) else {
            wrong = Some(line.to_owned());
            break;
        };
        let help = format!("/proc/vmstat information field {key}.");
        text.single(&name, Type::Untyped, &help, value);
        given.push(name);
    }
    match wrong {
        Some(line) => Err(odd(files, "vmstat", &line)),
        None => Ok(()),
    }
}
