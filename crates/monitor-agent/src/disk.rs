//! Block devices: `/proc/diskstats` and what udev knows of them (collector
//! `diskstats`).

use crate::files::Files;
use crate::settings::Filter;
use crate::text::{Text, Type};
use crate::udev::{Database, Properties};
use crate::{Fault, odd};
use procfs::DiskStat;

/// A sector of `diskstats` is 512 bytes whatever the device says (iostats.rst).
const SECTOR_BYTES: f64 = 512.0;

/// What is remembered between readings.
#[derive(Debug, Default)]
pub(crate) struct Known {
    udev: Database,
}

type Field = fn(&DiskStat) -> Option<f64>;

/// Metric, kind, help, value. Times are multiplied as node_exporter does it, so
/// that the last digit is the same.
const FIELDS: &[(&str, Type, &str, Field)] = {
    use Type::{Counter, Gauge};
    const fn ms(value: u64) -> f64 {
        value as f64 * 0.001
    }
    &[
        (
            "node_disk_discard_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all discards.",
            |d| d.time_discarding.map(ms),
        ),
        (
            "node_disk_discarded_sectors_total",
            Counter,
            "The total number of sectors discarded successfully.",
            |d| d.sectors_discarded.map(|n| n as f64),
        ),
        (
            "node_disk_discards_completed_total",
            Counter,
            "The total number of discards completed successfully.",
            |d| d.discards.map(|n| n as f64),
        ),
        ("node_disk_discards_merged_total", Counter, "The total number of discards merged.", |d| {
            d.discards_merged.map(|n| n as f64)
        }),
        (
            "node_disk_flush_requests_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all flush requests.",
            |d| d.time_flushing.map(ms),
        ),
        (
            "node_disk_flush_requests_total",
            Counter,
            "The total number of flush requests completed successfully",
            |d| d.flushes.map(|n| n as f64),
        ),
        ("node_disk_io_now", Gauge, "The number of I/Os currently in progress.", |d| {
            Some(d.in_progress as f64)
        }),
        ("node_disk_io_time_seconds_total", Counter, "Total seconds spent doing I/Os.", |d| {
            Some(ms(d.time_in_progress))
        }),
        (
            "node_disk_io_time_weighted_seconds_total",
            Counter,
            "The weighted # of seconds spent doing I/Os.",
            |d| Some(ms(d.weighted_time_in_progress)),
        ),
        ("node_disk_read_bytes_total", Counter, "The total number of bytes read successfully.", |d| {
            Some(d.sectors_read as f64 * SECTOR_BYTES)
        }),
        (
            "node_disk_read_time_seconds_total",
            Counter,
            "The total number of seconds spent by all reads.",
            |d| Some(ms(d.time_reading)),
        ),
        (
            "node_disk_reads_completed_total",
            Counter,
            "The total number of reads completed successfully.",
            |d| Some(d.reads as f64),
        ),
        ("node_disk_reads_merged_total", Counter, "The total number of reads merged.", |d| {
            Some(d.merged as f64)
        }),
        (
            "node_disk_write_time_seconds_total",
            Counter,
            "This is the total number of seconds spent by all writes.",
            |d| Some(ms(d.time_writing)),
        ),
        (
            "node_disk_writes_completed_total",
            Counter,
            "The total number of writes completed successfully.",
            |d| Some(d.writes as f64),
        ),
        ("node_disk_writes_merged_total", Counter, "The number of writes merged.", |d| {
            Some(d.writes_merged as f64)
        }),
        ("node_disk_written_bytes_total", Counter, "The total number of bytes written successfully.", |d| {
            Some(d.sectors_written as f64 * SECTOR_BYTES)
        }),
    ]
};

/// The properties of udev's that are given.
const PROPERTIES: &[&str] = &[
    "DM_LV_LAYER",
    "DM_LV_NAME",
    "DM_NAME",
    "DM_UUID",
    "DM_VG_NAME",
    "ID_ATA",
    "ID_ATA_ROTATION_RATE_RPM",
    "ID_ATA_WRITE_CACHE",
    "ID_ATA_WRITE_CACHE_ENABLED",
    "ID_FS_TYPE",
    "ID_FS_USAGE",
    "ID_FS_UUID",
    "ID_FS_VERSION",
    "ID_MODEL",
    "ID_PATH",
    "ID_REVISION",
    "ID_SERIAL",
    "ID_SERIAL_SHORT",
    "ID_WWN",
    "SCSI_IDENT_SERIAL",
];

/// Property, metric, help.
const ATA: [(&str, &str, &str); 3] = [
    (
        "ID_ATA_ROTATION_RATE_RPM",
        "node_disk_ata_rotation_rate_rpm",
        "ATA disk rotation rate in RPMs (0 for SSDs).",
    ),
    ("ID_ATA_WRITE_CACHE", "node_disk_ata_write_cache", "ATA disk has a write cache."),
    (
        "ID_ATA_WRITE_CACHE_ENABLED",
        "node_disk_ata_write_cache_enabled",
        "ATA disk has its write cache enabled.",
    ),
];

pub(crate) fn read(
    files: &mut Files,
    filter: &mut Filter,
    known: &mut Known,
    text: &mut Text<'_>,
) -> Result<(), Fault> {
    let content = files.proc("diskstats")?;
    let mut disks: Vec<DiskStat> = Vec::new();
    for line in content.lines() {
        // The name is the third word: what is left out need not be parsed further.
        let name = line.split_ascii_whitespace().nth(2).unwrap_or("");
        if !filter.takes(name) {
            continue;
        }
        let Ok(disk) = DiskStat::from_line(line) else {
            let line = line.to_owned();
            return Err(odd(files, "diskstats", &line));
        };
        if !disks.iter().any(|known| known.name == disk.name) {
            disks.push(disk);
        }
    }
    for (name, kind, help, value) in FIELDS {
        let rows = disks.iter().filter_map(|disk| Some((&disk.name, value(disk)?)));
        text.rows(name, *kind, help, "device", rows);
    }
    properties(files, known, &disks, text);
    Ok(())
}

fn properties(files: &mut Files, known: &mut Known, disks: &[DiskStat], text: &mut Text<'_>) {
    let mut found: Vec<(Properties, String)> = Vec::with_capacity(disks.len());
    for disk in disks {
        let properties = known.udev.block(files, (disk.major, disk.minor), PROPERTIES).clone();
        let rotational = files.word(&["block", &disk.name, "queue/rotational"]);
        let rotational = if rotational == Some("1") { "1" } else { "0" };
        found.push((properties, rotational.to_owned()));
    }
    known.udev.keep(disks.len());

    let each = || disks.iter().zip(&found);
    for (property, name, help) in ATA {
        let rows = each().filter_map(|(disk, (udev, _))| {
            udev.get("ID_ATA")?;
            Some((&disk.name, crate::files::finite(udev.get(property)?)?))
        });
        text.rows(name, Type::Gauge, help, "device", rows);
    }
    let mut info = |name: &str, help: &str, present: &str, labels: &[(&str, &str)]| {
        let mut begun = false;
        for (disk, (udev, _)) in each() {
            if udev.text(present).is_empty() {
                continue;
            }
            if !begun {
                text.family(name, Type::Gauge, help);
                begun = true;
            }
            let mut all = vec![("device", &*disk.name)];
            all.extend(labels.iter().map(|(label, property)| (*label, udev.text(property))));
            text.sample(name, &all, 1.0);
        }
    };
    let labels = [
        ("lv_layer", "DM_LV_LAYER"),
        ("lv_name", "DM_LV_NAME"),
        ("name", "DM_NAME"),
        ("uuid", "DM_UUID"),
        ("vg_name", "DM_VG_NAME"),
    ];
    info("node_disk_device_mapper_info", "Info about disk device mapper.", "DM_NAME", &labels);
    let labels = [
        ("type", "ID_FS_TYPE"),
        ("usage", "ID_FS_USAGE"),
        ("uuid", "ID_FS_UUID"),
        ("version", "ID_FS_VERSION"),
    ];
    info("node_disk_filesystem_info", "Info about disk filesystem.", "ID_FS_TYPE", &labels);

    let name = "node_disk_info";
    if !disks.is_empty() {
        text.family(name, Type::Gauge, "Info of /sys/block/<block_device>.");
    }
    for (disk, (udev, rotational)) in each() {
        // Usually the number printed on the disk.
        let serials = ["SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL"];
        let serial = serials.iter().map(|key| udev.text(key)).find(|s| !s.is_empty()).unwrap_or("");
        let labels = [
            ("device", &*disk.name),
            ("major", &*disk.major.to_string()),
            ("minor", &*disk.minor.to_string()),
            ("model", udev.text("ID_MODEL")),
            ("path", udev.text("ID_PATH")),
            ("revision", udev.text("ID_REVISION")),
            ("rotational", rotational),
            ("serial", serial),
            ("wwn", udev.text("ID_WWN")),
        ];
        text.sample(name, &labels, 1.0);
    }
}
