//! ZFS (collector `zfs`): the kernel statistics in `/proc/spl/kstat/zfs`
//! (zfs-module-parameters(4), `module/os/linux/spl/spl-kstat.c`).

use crate::files::{Files, Tree, finite};
use crate::text::{Text, Type, name_of};
use crate::{Fault, odd};
use std::collections::BTreeMap;

const DIR: &str = "spl/kstat/zfs";

/// Metric after `node_zfs_`, file.
const STATISTICS: [(&str, &str); 11] = [
    ("abd", "abdstats"),
    ("arc", "arcstats"),
    ("dbuf", "dbufstats"),
    ("dmu_tx", "dmu_tx"),
    ("dnode", "dnodestats"),
    ("fm", "fm"),
    ("vdev_cache", "vdev_cache_stats"),
    ("vdev_mirror", "vdev_mirror_stats"),
    ("xuio", "xuio_stats"),
    ("zfetch", "zfetchstats"),
    ("zil", "zil"),
];

const POOL_STATES: [&str; 7] =
    ["degraded", "faulted", "offline", "online", "removed", "suspended", "unavail"];

/// Datasets of a pool, at most: a back-up server may have hundreds of thousands of
/// snapshots' worth.
const MAX_DATASETS: usize = 2_000;

pub(crate) fn read(files: &mut Files, text: &mut Text<'_>) -> Result<(), Fault> {
    let names = files.list(Tree::Proc, &[DIR])?;
    for (prefix, file) in STATISTICS {
        // A release of OpenZFS has some of them, another others.
        if !names.iter().any(|name| name == file) {
            continue;
        }
        let path = format!("{DIR}/{file}");
        let content = files.proc(&path)?;
        let values = match named_values(content) {
            Ok((values, _)) => values,
            Err(line) => return Err(odd(files, &path, &line)),
        };
        for (name, (key, value)) in values {
            let help = format!("kstat.zfs.misc.{file}.{key}");
            text.single(&format!("node_zfs_{prefix}_{name}"), Type::Untyped, &help, value);
        }
    }
    // A pool's statistics are a folder.
    let pools: Vec<String> =
        names.into_iter().filter(|name| files.path(Tree::Proc, &[DIR, name]).is_dir()).collect();
    io(files, &pools, text)?;
    datasets(files, &pools, text)?;
    states(files, &pools, text);
    Ok(())
}

/// By name, the key as it is written, and the value.
type Values = BTreeMap<String, (String, f64)>;

/// After two lines of heading, `name type data`; integers of 64 bits are types 3
/// and 4. Also the dataset's name, which is a text (type 7). A key twice counts once.
fn named_values(content: &str) -> Result<(Values, Option<String>), String> {
    let mut values = BTreeMap::new();
    let mut dataset = None;
    for line in content.lines().skip(2) {
        let mut words = line.split_ascii_whitespace();
        let (Some(key), Some(kind), Some(data)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        match kind {
            "3" | "4" => {
                // Keys such as `erpt-dropped`, which a name may not hold.
                let value = finite(data).ok_or_else(|| line.to_owned())?;
                values.insert(name_of("", key), (key.to_owned(), value));
            }
            // A name may hold spaces: all that follows the type.
            "7" if key == "dataset_name" => {
                let rest = line.trim_start()[key.len()..].trim_start();
                dataset = rest.strip_prefix(kind).map(|name| name.trim_start().to_owned());
            }
            _ => {}
        }
    }
    Ok((values, dataset))
}

/// `io`: a line of names and one of values, after one of heading; OpenZFS 2.1 has
/// none any more.
fn io(files: &mut Files, pools: &[String], text: &mut Text<'_>) -> Result<(), Fault> {
    let mut readings: BTreeMap<String, Vec<(&str, f64)>> = BTreeMap::new();
    for pool in pools {
        let path = format!("{DIR}/{pool}/io");
        let Ok(content) = files.proc(&path) else { continue };
        let mut lines = content.lines().skip(1);
        let (names, values) = (lines.next().unwrap_or(""), lines.next().unwrap_or(""));
        let mut wrong = None;
        for (name, value) in names.split_ascii_whitespace().zip(values.split_ascii_whitespace()) {
            match finite(value) {
                Some(value) => readings.entry(name_of("", name)).or_default().push((pool, value)),
                None => wrong = Some(values.to_owned()),
            }
        }
        if let Some(line) = wrong {
            return Err(odd(files, &path, &line));
        }
    }
    for (name, rows) in readings {
        let help = format!("kstat.zfs.misc.io.{name}");
        text.rows(&format!("node_zfs_zpool_{name}"), Type::Untyped, &help, "zpool", rows);
    }
    Ok(())
}

fn datasets(files: &mut Files, pools: &[String], text: &mut Text<'_>) -> Result<(), Fault> {
    let mut readings: BTreeMap<String, BTreeMap<(&str, String), f64>> = BTreeMap::new();
    for pool in pools {
        let objects = files.list(Tree::Proc, &[DIR, pool])?;
        let objects = objects.iter().filter(|name| name.starts_with("objset-")).take(MAX_DATASETS);
        for object in objects {
            let path = format!("{DIR}/{pool}/{object}");
            // A dataset may be destroyed meanwhile.
            let Ok(content) = files.proc(&path) else { continue };
            let (values, dataset) = match named_values(content) {
                Ok(found) => found,
                Err(line) => return Err(odd(files, &path, &line)),
            };
            let Some(dataset) = dataset else { continue };
            for (key, (_, value)) in values {
                readings.entry(key).or_default().insert((pool, dataset.clone()), value);
            }
        }
    }
    for (key, rows) in readings {
        let name = format!("node_zfs_zpool_dataset_{key}");
        text.family(&name, Type::Untyped, &format!("kstat.zfs.misc.objset.{key}"));
        for ((pool, dataset), value) in rows {
            text.sample(&name, &[("dataset", &dataset), ("zpool", pool)], value);
        }
    }
    Ok(())
}

fn states(files: &mut Files, pools: &[String], text: &mut Text<'_>) {
    let name = "node_zfs_zpool_state";
    let mut begun = false;
    for pool in pools {
        let Ok(content) = files.proc(&format!("{DIR}/{pool}/state")) else { continue };
        let actual = content.trim().to_ascii_lowercase();
        if !begun {
            text.family(name, Type::Gauge, "kstat.zfs.misc.state");
            begun = true;
        }
        for state in POOL_STATES {
            let value = f64::from(u8::from(actual == state));
            text.sample(name, &[("state", state), ("zpool", pool)], value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_and_the_datasets_name() {
        let content = "23 1 0x01 7 2160 1 2\nname type data\ndataset_name   7    pool 3/with  space\n\
                       writes 4 5\nsize 3 -7\nflag 9 1\nerpt-dropped 4 18\n";
        let (values, dataset) = named_values(content).unwrap();
        assert_eq!(dataset.as_deref(), Some("pool 3/with  space"));
        let values: Vec<_> = values.iter().map(|(k, (_, v))| (k.as_str(), *v)).collect();
        assert_eq!(values, [("erpt_dropped", 18.0), ("size", -7.0), ("writes", 5.0)]);
        assert!(named_values("a\nb\nwrites 4 x\n").is_err());
        assert_eq!(named_values("").unwrap().0.len(), 0);
    }
}
