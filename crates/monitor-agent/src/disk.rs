//! `/proc/diskstats` (collector `diskstats`).

use crate::text::{Text, Type};
use crate::{Fault, Roots, odd, slurp};
use procfs::DiskStat;

/// A sector of `diskstats` is 512 bytes whatever the device says (iostats.rst).
const SECTOR_BYTES: f64 = 512.0;

type Field = fn(&DiskStat) -> Option<f64>;

/// Metric, kind, help, value.
const FIELDS: &[(&str, Type, &str, Field)] = {
    use Type::{Counter, Gauge};
    const fn ms(value: u64) -> f64 {
        value as f64 / 1000.0
    }
    &[
        (
            "discard_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all discards.",
            |d| d.time_discarding.map(ms),
        ),
        ("discarded_sectors_total", Counter, "The total number of sectors discarded successfully.", |d| {
            d.sectors_discarded.map(|n| n as f64)
        }),
        ("discards_completed_total", Counter, "The total number of discards completed successfully.", |d| {
            d.discards.map(|n| n as f64)
        }),
        ("discards_merged_total", Counter, "The total number of discards merged.", |d| {
            d.discards_merged.map(|n| n as f64)
        }),
        (
            "flush_requests_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all flush requests.",
            |d| d.time_flushing.map(ms),
        ),
        ("flush_requests_total", Counter, "The total number of flush requests completed successfully", |d| {
            d.flushes.map(|n| n as f64)
        }),
        ("io_now", Gauge, "The number of I/Os currently in progress.", |d| Some(d.in_progress as f64)),
        ("io_time_seconds_total", Counter, "Total seconds spent doing I/Os.", |d| {
            Some(ms(d.time_in_progress))
        }),
        ("io_time_weighted_seconds_total", Counter, "The weighted # of seconds spent doing I/Os.", |d| {
            Some(ms(d.weighted_time_in_progress))
        }),
        ("read_bytes_total", Counter, "The total number of bytes read successfully.", |d| {
            Some(d.sectors_read as f64 * SECTOR_BYTES)
        }),
        ("read_time_seconds_total", Counter, "The total number of seconds spent by all reads.", |d| {
            Some(ms(d.time_reading))
        }),
        ("reads_completed_total", Counter, "The total number of reads completed successfully.", |d| {
            Some(d.reads as f64)
        }),
        ("reads_merged_total", Counter, "The total number of reads merged.", |d| Some(d.merged as f64)),
        (
            "write_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all writes.",
            |d| Some(ms(d.time_writing)),
        ),
        ("writes_completed_total", Counter, "The total number of writes completed successfully.", |d| {
            Some(d.writes as f64)
        }),
        ("writes_merged_total", Counter, "The number of writes merged.", |d| Some(d.writes_merged as f64)),
        ("written_bytes_total", Counter, "The total number of bytes written successfully.", |d| {
            Some(d.sectors_written as f64 * SECTOR_BYTES)
        }),
    ]
};

pub(crate) fn read(roots: &Roots, text: &mut Text<'_>) -> Result<(), Fault> {
    let path = roots.proc.join("diskstats");
    let content = slurp(&path)?;
    let mut disks = Vec::new();
    for line in content.lines() {
        let disk = DiskStat::from_line(line).map_err(|_| odd(&path, line))?;
        if !ignored(&disk.name) {
            disks.push(disk);
        }
    }
    for (field, kind, help, value) in FIELDS {
        let name = format!("node_disk_{field}");
        let mut begun = false;
        for disk in &disks {
            let Some(value) = value(disk) else { continue };
            if !begun {
                text.family(&name, *kind, help);
                begun = true;
            }
            text.sample(&name, &[("device", &disk.name)], value);
        }
    }
    Ok(())
}

/// node_exporter's default of `--collector.diskstats.device-exclude`:
/// `^(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$`: what is no disk, and partitions.
fn ignored(device: &str) -> bool {
    let stem = device.trim_end_matches(|c: char| c.is_ascii_digit());
    if stem.len() == device.len() {
        return false;
    }
    if matches!(stem, "ram" | "zram" | "loop" | "fd") {
        return true;
    }
    let letter = |rest: &str| rest.len() == 1 && rest.as_bytes()[0].is_ascii_lowercase();
    if ["hd", "sd", "vd", "xvd"].iter().any(|p| stem.strip_prefix(p).is_some_and(letter)) {
        return true;
    }
    // nvme0n1p1: the partition's `p` between digits.
    let numbers = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    stem.strip_prefix("nvme")
        .and_then(|rest| rest.strip_suffix('p'))
        .and_then(|rest| rest.split_once('n'))
        .is_some_and(|(controller, namespace)| numbers(controller) && numbers(namespace))
}

#[cfg(test)]
mod tests {
    use super::ignored;

    #[test]
    fn partitions_and_ram_disks_are_left_out() {
        for device in ["ram0", "zram1", "loop12", "fd0", "sda1", "vdb2", "xvda1", "hdc10", "nvme0n1p1"] {
            assert!(ignored(device), "{device}");
        }
        for device in ["sda", "vda", "xvda", "nvme0n1", "dm-0", "md127", "sr0", "mmcblk0p1", "nbd0", "sdaa1"]
        {
            assert!(!ignored(device), "{device}");
        }
    }
}
