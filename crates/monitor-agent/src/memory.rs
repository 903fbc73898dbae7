//! `/proc/meminfo` and `/proc/vmstat` (collectors `meminfo`, `vmstat`).
//!
//! Names come from the file, so that a newer kernel's fields appear by
//! themselves; that is why this is not `procfs::Meminfo`.

use crate::text::{Text, Type};
use crate::{Fault, Roots, odd, parse, slurp};

pub(crate) fn read(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("meminfo");
    let content = slurp(&path)?;
    for line in content.lines() {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(value)) = (words.next(), words.next()) else { continue };
        let value = parse(&path, value)?;
        // `Active(anon):` is `Active_anon`.
        let mut field = key.trim_end_matches(':').replace('(', "_").replace(')', "");
        let factor = match words.next() {
            None => 1.0,
            Some("kB") => {
                field.push_str("_bytes");
                1024.0
            }
            Some(_) => return Err(odd(&path, line)),
        };
        let name = format!("node_memory_{field}");
        let kind = if field.ends_with("_total") { Type::Counter } else { Type::Gauge };
        text.single(&name, kind, &format!("Memory information field {field}."), value * factor);
    }
    Ok(())
}

pub(crate) fn vmstat(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("vmstat");
    let content = slurp(&path)?;
    for line in content.lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        // node_exporter's default: ^(oom_kill|pgpg|pswp|pg.*fault).*
        let wanted = key.starts_with("oom_kill")
            || key.starts_with("pgpg")
            || key.starts_with("pswp")
            || (key.starts_with("pg") && key.contains("fault"));
        if wanted {
            let help = format!("/proc/vmstat information field {key}.");
            text.single(&format!("node_vmstat_{key}"), Type::Untyped, &help, parse(&path, value)?);
        }
    }
    Ok(())
}
