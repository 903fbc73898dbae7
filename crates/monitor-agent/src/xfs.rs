//! XFS file systems (collector `xfs`): `/sys/fs/xfs/<device>/stats/stats`;
//! the lines are those of <https://xfs.org/index.php/Runtime_Stats>.

use crate::files::{Files, Tree, finite};
use crate::text::{Text, Type};
use crate::{Fault, odd_at};

const DIR: &str = "fs/xfs";

/// Line, position in it, metric after `node_xfs_`, help.
const READINGS: &[(&str, usize, &str, &str)] = &[
    ("abt", 1, "allocation_btree_compares_total", "Number of allocation B-tree compares for a filesystem."),
    ("abt", 0, "allocation_btree_lookups_total", "Number of allocation B-tree lookups for a filesystem."),
    (
        "abt",
        3,
        "allocation_btree_records_deleted_total",
        "Number of allocation B-tree records deleted for a filesystem.",
    ),
    (
        "abt",
        2,
        "allocation_btree_records_inserted_total",
        "Number of allocation B-tree records inserted for a filesystem.",
    ),
    ("bmbt", 1, "block_map_btree_compares_total", "Number of block map B-tree compares for a filesystem."),
    ("bmbt", 0, "block_map_btree_lookups_total", "Number of block map B-tree lookups for a filesystem."),
    (
        "bmbt",
        3,
        "block_map_btree_records_deleted_total",
        "Number of block map B-tree records deleted for a filesystem.",
    ),
    (
        "bmbt",
        2,
        "block_map_btree_records_inserted_total",
        "Number of block map B-tree records inserted for a filesystem.",
    ),
    (
        "blk_map",
        6,
        "block_mapping_extent_list_compares_total",
        "Number of extent list compares for a filesystem.",
    ),
    (
        "blk_map",
        4,
        "block_mapping_extent_list_deletions_total",
        "Number of extent list deletions for a filesystem.",
    ),
    (
        "blk_map",
        3,
        "block_mapping_extent_list_insertions_total",
        "Number of extent list insertions for a filesystem.",
    ),
    (
        "blk_map",
        5,
        "block_mapping_extent_list_lookups_total",
        "Number of extent list lookups for a filesystem.",
    ),
    ("blk_map", 0, "block_mapping_reads_total", "Number of block map for read operations for a filesystem."),
    ("blk_map", 2, "block_mapping_unmaps_total", "Number of block unmaps (deletes) for a filesystem."),
    (
        "blk_map",
        1,
        "block_mapping_writes_total",
        "Number of block map for write operations for a filesystem.",
    ),
    (
        "dir",
        1,
        "directory_operation_create_total",
        "Number of times a new directory entry was created for a filesystem.",
    ),
    (
        "dir",
        3,
        "directory_operation_getdents_total",
        "Number of times the directory getdents operation was performed for a filesystem.",
    ),
    (
        "dir",
        0,
        "directory_operation_lookup_total",
        "Number of file name directory lookups which miss the operating systems directory name lookup cache.",
    ),
    (
        "dir",
        2,
        "directory_operation_remove_total",
        "Number of times an existing directory entry was created for a filesystem.",
    ),
    (
        "extent_alloc",
        1,
        "extent_allocation_blocks_allocated_total",
        "Number of blocks allocated for a filesystem.",
    ),
    ("extent_alloc", 3, "extent_allocation_blocks_freed_total", "Number of blocks freed for a filesystem."),
    (
        "extent_alloc",
        0,
        "extent_allocation_extents_allocated_total",
        "Number of extents allocated for a filesystem.",
    ),
    ("extent_alloc", 2, "extent_allocation_extents_freed_total", "Number of extents freed for a filesystem."),
    (
        "ig",
        0,
        "inode_operation_attempts_total",
        "Number of times the OS looked for an XFS inode in the inode cache.",
    ),
    (
        "ig",
        6,
        "inode_operation_attribute_changes_total",
        "Number of times the OS explicitly changed the attributes of an XFS inode.",
    ),
    (
        "ig",
        4,
        "inode_operation_duplicates_total",
        "Number of times the OS tried to add a missing XFS inode to the inode cache, but found it had already \
         been added by another process.",
    ),
    (
        "ig",
        1,
        "inode_operation_found_total",
        "Number of times the OS looked for and found an XFS inode in the inode cache.",
    ),
    (
        "ig",
        3,
        "inode_operation_missed_total",
        "Number of times the OS looked for an XFS inode in the cache, but did not find it.",
    ),
    (
        "ig",
        5,
        "inode_operation_reclaims_total",
        "Number of times the OS reclaimed an XFS inode from the inode cache to free memory for another purpose.",
    ),
    (
        "ig",
        2,
        "inode_operation_recycled_total",
        "Number of times the OS found an XFS inode in the cache, but could not use it as it was being recycled.",
    ),
    ("rw", 1, "read_calls_total", "Number of read(2) system calls made to files in a filesystem."),
    ("vnodes", 0, "vnode_active_total", "Number of vnodes not on free lists for a filesystem."),
    ("vnodes", 1, "vnode_allocate_total", "Number of times vn_alloc called for a filesystem."),
    ("vnodes", 2, "vnode_get_total", "Number of times vn_get called for a filesystem."),
    ("vnodes", 3, "vnode_hold_total", "Number of times vn_hold called for a filesystem."),
    ("vnodes", 5, "vnode_reclaim_total", "Number of times vn_reclaim called for a filesystem."),
    ("vnodes", 4, "vnode_release_total", "Number of times vn_rele called for a filesystem."),
    ("vnodes", 6, "vnode_remove_total", "Number of times vn_remove called for a filesystem."),
    ("rw", 0, "write_calls_total", "Number of write(2) system calls made to files in a filesystem."),
];

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let mut found: Vec<(String, [f64; READINGS.len()])> = Vec::new();
    for device in files.devices(DIR)?.iter() {
        let file = [DIR, device, "stats/stats"];
        let content = match files.read(Tree::Sys, &file) {
            // `/sys/fs/xfs/stats` is of all together; `debug` has none.
            Err(fault) if fault.is_absence() => continue,
            other => other?,
        };
        match values(content) {
            Ok(values) => found.push((device.clone(), values)),
            Err(line) => return Err(odd_at(files.path(Tree::Sys, &file), &line)),
        }
    }
    for (at, (_, _, metric, help)) in READINGS.iter().enumerate() {
        let rows = found.iter().map(|(device, values)| (device, values[at]));
        text.rows(&format!("node_xfs_{metric}"), Type::Counter, help, "device", rows);
    }
    Ok(())
}

/// The readings; the line that is not understood. A line that a kernel does not
/// write counts nothing.
fn values(content: &str) -> Result<[f64; READINGS.len()], String> {
    let mut values = [0.0; READINGS.len()];
    for line in content.lines() {
        let mut words = line.split_ascii_whitespace();
        let Some(key) = words.next() else { continue };
        for (at, word) in words.enumerate() {
            let reading = READINGS.iter().position(|(line, position, ..)| *line == key && *position == at);
            if let Some(reading) = reading {
                values[reading] = finite(word).ok_or_else(|| line.to_owned())?;
            }
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_statistics() {
        let found = values("rw 28 3\nig 5\nodd x y\n\n").unwrap();
        let value = |metric: &str| found[READINGS.iter().position(|(_, _, m, _)| *m == metric).unwrap()];
        assert_eq!(value("write_calls_total"), 28.0);
        assert_eq!(value("read_calls_total"), 3.0);
        assert_eq!(value("inode_operation_attempts_total"), 5.0);
        assert_eq!(value("vnode_get_total"), 0.0);
        assert_eq!(values("rw x\n"), Err("rw x".to_owned()));
    }
}
