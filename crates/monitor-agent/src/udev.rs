//! udev's database of devices: `/run/udev/data/b<major>:<minor>`, of whose lines
//! `E:KEY=value` are the properties (systemd's `sd-device`; the format is the one
//! that `udevadm info --query=property` prints).

use crate::files::{Files, Tree};
use rustc_hash::FxHashMap;
use std::os::unix::fs::MetadataExt as _;

/// A device's properties, as far as they are given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Properties(Vec<(Box<str>, Box<str>)>);

impl Properties {
    /// The property, if the device has it.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| &**known == key).map(|(_, value)| &**value)
    }

    /// The property, or nothing.
    pub(crate) fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or("")
    }

    fn of(content: &str, wanted: &[&str]) -> Self {
        let mut found = Vec::new();
        for line in content.lines() {
            let Some((key, value)) = line.strip_prefix("E:").and_then(|l| l.split_once('=')) else {
                continue;
            };
            if wanted.contains(&key) {
                found.push((key.into(), value.into()));
            }
        }
        Self(found)
    }
}

/// When a file was written: inode, seconds and nanoseconds of the last change.
type Stamp = (u64, i64, i64);

/// What was read before: udev puts a new file in the old one's place when a
/// device changes, so that one `stat` says whether it must be read again.
#[derive(Debug, Default)]
pub(crate) struct Database(FxHashMap<String, (Stamp, Properties)>);

impl Database {
    /// The properties in `wanted` of a block device.
    pub(crate) fn block(&mut self, files: &mut Files, number: (i32, i32), wanted: &[&str]) -> &Properties {
        static NONE: Properties = Properties(Vec::new());
        let file = format!("b{}:{}", number.0, number.1);
        let Ok(found) = std::fs::metadata(files.path(Tree::Udev, &[&file])) else {
            self.0.remove(&file);
            return &NONE;
        };
        let stamp = (found.ino(), found.mtime(), found.mtime_nsec());
        if self.0.get(&file).is_none_or(|(known, _)| *known != stamp) {
            let content = files.read(Tree::Udev, &[&file]).unwrap_or("");
            self.0.insert(file.clone(), (stamp, Properties::of(content, wanted)));
        }
        self.0.get(&file).map_or(&NONE, |(_, properties)| properties)
    }

    /// Forgets devices that are none of `present`.
    pub(crate) fn keep(&mut self, present: usize) {
        if self.0.len() > present * 2 + 16 {
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_the_wanted_lines() {
        let content = "S:disk/by-id/x\nE:ID_WWN=0x1\nE:ID_MODEL=a=b\nE:OTHER=1\nE:ID_FS_TYPE=\nE:broken\n";
        let found = Properties::of(content, &["ID_WWN", "ID_MODEL", "ID_FS_TYPE"]);
        assert_eq!((found.text("ID_WWN"), found.text("ID_MODEL")), ("0x1", "a=b"));
        assert_eq!((found.get("ID_FS_TYPE"), found.get("OTHER")), (Some(""), None));
    }

    #[test]
    fn a_changed_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = Files::new(&crate::Roots { udev: dir.path().into(), ..crate::Roots::default() });
        let mut database = Database::default();
        let mut model = |files: &mut Files| database.block(files, (8, 0), &["M"]).text("M").to_owned();
        assert_eq!(model(&mut files), "");
        for (at, name) in ["one", "two"].into_iter().enumerate() {
            let fresh = dir.path().join(format!("new{at}"));
            std::fs::write(&fresh, format!("E:M={name}\n")).unwrap();
            std::fs::rename(&fresh, dir.path().join("b8:0")).unwrap();
            assert_eq!(model(&mut files), name);
        }
        std::fs::remove_file(dir.path().join("b8:0")).unwrap();
        assert_eq!(model(&mut files), "");
    }
}
