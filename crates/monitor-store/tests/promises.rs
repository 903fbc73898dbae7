//! What the store promises when things go wrong: a process killed, a log cut
//! anywhere, a damaged file, a full disk, limits, retention.

use base::{Bytes, Millis};
use monitor_model::{Labels, Matcher, STALE_BITS, Selection, Source};
use monitor_store::{Error, Refusal, Sample, Settings, Store};
use std::fs;
use std::path::{Path, PathBuf};

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_764_000_000_000;

fn settings() -> Settings {
    Settings {
        block: Millis(600_000),
        out_of_order: Millis(60_000),
        retention_5m: Millis(0),
        retention_1h: Millis(0),
        ..Settings::default()
    }
}

/// A directory in memory where there is one: syncing to a disk would take most of the time.
fn fast_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn series(number: usize) -> Labels {
    Labels::from_pairs([("__name__", "up".to_owned()), ("n", number.to_string())])
}

/// Appends a sample to each of some series.
fn append(store: &Store, count: usize, at_ms: i64, value: f64) -> u64 {
    let labels: Vec<Labels> = (0..count).map(series).collect();
    let batch: Vec<Sample<'_>> = labels.iter().map(|labels| Sample { labels, at_ms, value }).collect();
    store.append_samples(&batch, at_ms).unwrap().stored
}

/// How many samples queries find, and what they warn of.
fn count(store: &Store) -> (usize, Vec<String>) {
    let matchers = [Matcher::equal("__name__", "up")];
    let selection = Selection::new(&matchers, i64::MIN, i64::MAX);
    let mut stream = store.select(&selection).unwrap();
    let mut found = 0;
    while let Some(series) = stream.next_series().unwrap() {
        found += series.points.len();
    }
    (found, stream.warnings())
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.to_str().unwrap().ends_with(ending))
        .collect();
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for folder in ["", "log", "blocks"] {
        fs::create_dir_all(to.join(folder)).unwrap();
        for entry in fs::read_dir(from.join(folder)).unwrap().map(|e| e.unwrap().path()) {
            if entry.is_file() {
                fs::copy(&entry, to.join(folder).join(entry.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// What is on disk when the process is killed, after each append: the files as
/// they are, without a close.
#[test]
fn what_was_acknowledged_survives_a_kill() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let mut acknowledged = 0;
    for minute in 0..45 {
        let now_ms = NOW + minute * MINUTE;
        acknowledged += append(&store, 7, now_ms, minute as f64) as usize;
        if minute % 4 == 0 {
            store.maintain(now_ms).unwrap();
        }
        let killed = fast_dir();
        copy(dir.path(), killed.path());
        let (reopened, report) = Store::open(killed.path(), settings(), now_ms).unwrap();
        assert_eq!(report.damage, []);
        assert_eq!(count(&reopened), (acknowledged, vec![]));
        // And it goes on from there.
        assert_eq!(append(&reopened, 7, now_ms + 1, 1.0), 7);
        assert_eq!(count(&reopened).0, acknowledged + 7);
    }
    assert!(store.stats().blocks > 1);
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_record_loses_that_record_alone() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    append(&store, 3, NOW, 1.0);
    append(&store, 3, NOW + 1, f64::from_bits(STALE_BITS));
    let log = files(&dir.path().join("log"), ".log").pop().unwrap();
    let before = fs::metadata(&log).unwrap().len();
    append(&store, 3, NOW + 2, 3.0);
    drop(store);
    let whole = fs::read(&log).unwrap();
    for length in before as usize..whole.len() {
        let cut = fast_dir();
        copy(dir.path(), cut.path());
        fs::write(cut.path().join("log").join(log.file_name().unwrap()), &whole[..length]).unwrap();
        let (reopened, report) = Store::open(cut.path(), settings(), NOW).unwrap();
        assert_eq!(report.torn_bytes, length as u64 - before, "cut at {length}");
        assert_eq!(report.damage, []);
        assert_eq!(count(&reopened).0, 6);
        assert_eq!(append(&reopened, 3, NOW + 3, 1.0), 3);
        drop(reopened);
        let (again, report) = Store::open(cut.path(), settings(), NOW).unwrap();
        assert_eq!((report.torn_bytes, report.damage), (0, vec![]));
        assert_eq!(count(&again).0, 9);
    }
}

#[test]
fn a_damaged_record_is_named_and_costs_itself() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    append(&store, 3, NOW, 1.0);
    let log = files(&dir.path().join("log"), ".log").pop().unwrap();
    let first = fs::metadata(&log).unwrap().len() as usize;
    append(&store, 3, NOW + 1, 2.0);
    let second = fs::metadata(&log).unwrap().len() as usize;
    append(&store, 3, NOW + 2, 3.0);
    drop(store);
    let whole = fs::read(&log).unwrap();
    for at in first..second {
        let damaged = fast_dir();
        copy(dir.path(), damaged.path());
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        fs::write(damaged.path().join("log").join(log.file_name().unwrap()), &bytes).unwrap();
        let (reopened, report) = Store::open(damaged.path(), settings(), NOW).unwrap();
        assert_eq!(report.damage.len(), 1, "byte {at}");
        assert_eq!(count(&reopened).0, 6, "byte {at}: {report:?}");
    }
}

/// A store with several blocks and a head.
fn with_blocks() -> (tempfile::TempDir, usize) {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let mut samples = 0;
    for minute in 0..60 {
        let now_ms = NOW + minute * MINUTE;
        samples += append(&store, 4, now_ms, (minute * 3) as f64) as usize;
        store.maintain(now_ms).unwrap();
    }
    assert!(store.stats().blocks >= 4 && store.stats().head_samples > 0, "{:?}", store.stats());
    (dir, samples)
}

#[test]
fn a_damaged_block_costs_its_block_and_is_named() {
    let (dir, samples) = with_blocks();
    let block = files(&dir.path().join("blocks"), ".blk")[1].clone();
    let whole = fs::read(&block).unwrap();
    let (mut costs, mut free) = (0, 0);
    for place in 0..whole.len() {
        let damaged = fast_dir();
        copy(dir.path(), damaged.path());
        let path = damaged.path().join("blocks").join(block.file_name().unwrap());
        let mut bytes = whole.clone();
        bytes[place] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let (store, report) = Store::open(damaged.path(), settings(), NOW + 60 * MINUTE).unwrap();
        let (first, warnings) = count(&store);
        let maintained = store.maintain(NOW + 60 * MINUTE).unwrap();
        let told = report.damage.len() + maintained.damage.len();
        if told == 0 {
            // A byte that nothing depends on: padding between chunks and tables.
            assert_eq!((first, whole[place]), (samples, 0), "byte {place}");
            free += 1;
            continue;
        }
        assert_eq!(told, 1, "byte {place}");
        let named = report.damage.iter().chain(&maintained.damage).all(|d| d.file == path);
        assert!(named, "byte {place}");
        assert_eq!(report.damage.is_empty(), !warnings.is_empty(), "byte {place}");
        // The others are all there, and the next query has nothing to say.
        costs = samples - count(&store).0;
        assert!(costs > 0 && costs <= 4 * 12, "byte {place}: {costs}");
        assert_eq!(count(&store).1, Vec::<String>::new(), "byte {place}");
    }
    assert!(costs > 0 && free < 8);
}

/// Each file of a small store, each byte: never a panic, and never a value that
/// was not appended.
#[test]
fn no_damage_anywhere_makes_a_wrong_value() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    for minute in 0..14 {
        append(&store, 2, NOW + minute * MINUTE, (minute * 3) as f64);
        store.maintain(NOW + minute * MINUTE).unwrap();
    }
    drop(store);
    let mut damaged_files = 0;
    for folder in ["", "log", "blocks"] {
        for file in files(&dir.path().join(folder), "").into_iter().filter(|f| f.is_file()) {
            let whole = fs::read(&file).unwrap();
            damaged_files += usize::from(!whole.is_empty());
            for place in 0..whole.len() {
                let damaged = fast_dir();
                copy(dir.path(), damaged.path());
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << (place % 8);
                fs::write(damaged.path().join(folder).join(file.file_name().unwrap()), &bytes).unwrap();
                let Ok((store, _)) = Store::open(damaged.path(), settings(), NOW + 14 * MINUTE) else {
                    // Only a log of the first version is refused, and one bit makes none of this.
                    panic!("{} byte {place} cannot be opened", file.display());
                };
                let matchers = [Matcher::not_equal("__name__", "")];
                let mut stream = store.select(&Selection::new(&matchers, i64::MIN, i64::MAX)).unwrap();
                while let Some(found) = stream.next_series().unwrap() {
                    assert!(found.labels == series(0) || found.labels == series(1), "{}", found.labels);
                    for point in found.points {
                        let minute = (point.at_ms - NOW) / MINUTE;
                        assert_eq!((point.at_ms, point.value), (NOW + minute * MINUTE, (minute * 3) as f64));
                    }
                }
                drop(stream);
                append(&store, 2, NOW + 15 * MINUTE, 45.0);
                store.maintain(NOW + 15 * MINUTE).unwrap();
                let all = store.compact(NOW + 15 * MINUTE);
                assert!(all.is_ok(), "{} byte {place}: {all:?}", file.display());
            }
        }
    }
    assert!(damaged_files >= 4, "manifest, head file, log, block: {damaged_files}");
}

#[test]
fn a_store_has_one_process() {
    let dir = fast_dir();
    let (_store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let second = Store::open(dir.path(), settings(), NOW).unwrap_err();
    assert!(matches!(second, Error::Locked(_)), "{second}");
}

#[test]
fn a_store_of_the_first_version_is_refused_and_not_touched() {
    let dir = fast_dir();
    fs::create_dir_all(dir.path().join("log")).unwrap();
    let log = dir.path().join("log/00000001.log");
    fs::write(&log, b"bastlog\x01and more").unwrap();
    let refused = Store::open(dir.path(), settings(), NOW).unwrap_err();
    assert!(
        matches!(refused, Error::OldVersion(_)) && refused.to_string().contains("version 1"),
        "{refused}"
    );
    assert_eq!(fs::read(&log).unwrap(), b"bastlog\x01and more");
}

#[test]
fn limits_are_typed_refusals() {
    let limits =
        Settings { max_series: 3, max_labels: 3, max_label_name: 8, max_label_value: 16, ..settings() };
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), limits, NOW).unwrap();
    let of = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
    let long = "x".repeat(17);
    let hour = 60 * MINUTE;
    let cases = [
        (of(&[]), NOW, Some(Refusal::NoLabels)),
        (of(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1")]), NOW, Some(Refusal::TooManyLabels)),
        (of(&[("a23456789", "1")]), NOW, Some(Refusal::LabelNameTooLong)),
        (of(&[("a", &long)]), NOW, Some(Refusal::LabelValueTooLong)),
        (of(&[("a", "1")]), NOW + hour, Some(Refusal::Future)),
        (of(&[("a", "1")]), NOW, None),
        (of(&[("a", "2")]), NOW, None),
        (of(&[("a", "3")]), NOW - hour, None),
        (of(&[("a", "4")]), NOW, Some(Refusal::TooManySeries)),
        (of(&[("a", "2")]), NOW - hour - 1, Some(Refusal::TooOld)),
        (of(&[("a", "1")]), NOW - MINUTE, None),
        (of(&[("a", "1")]), NOW - MINUTE - 1, Some(Refusal::TooOld)),
        (of(&[("a", "1")]), NOW + 1, None),
    ];
    for (labels, at_ms, expected) in &cases {
        let report = store.append_samples(&[Sample { labels, at_ms: *at_ms, value: 1.0 }], NOW).unwrap();
        assert_eq!(report.first_refused.map(|(_, why)| why), *expected, "{labels} {at_ms}");
        assert_eq!(report.stored, u64::from(expected.is_none()));
    }
    let conflict =
        store.append_samples(&[Sample { labels: &cases[5].0, at_ms: NOW, value: 2.0 }], NOW).unwrap();
    assert_eq!(conflict.refused, [(Refusal::Conflict, 1)]);
    let same = store.append_samples(&[Sample { labels: &cases[5].0, at_ms: NOW, value: 1.0 }], NOW).unwrap();
    assert_eq!((same.duplicates, same.stored), (1, 0));
    assert_eq!(store.stats().refused.iter().map(|(_, n)| n).sum::<u64>(), 9);
}

#[test]
fn old_blocks_go_by_time_and_by_size() {
    let (dir, samples) = with_blocks();
    let hour = NOW + 60 * MINUTE;
    let by_time = Settings { retention: Millis(20 * 60_000), ..settings() };
    let (store, _) = Store::open(dir.path(), by_time, hour).unwrap();
    store.maintain(hour).unwrap();
    let left = count(&store).0;
    assert!(left < samples && left >= 4 * 20, "{left} of {samples}");
    // And while it is open.
    let retention = Settings { retention_bytes: Bytes(1), ..settings() }.retention();
    store.set_retention(retention);
    store.maintain(hour).unwrap();
    assert_eq!(store.stats().blocks, 0);
    assert!(count(&store).0 > 0, "the head stays");
}

/// A clock that jumps a day ahead and comes back: samples are stored at both
/// times and after, and what is old by the wrong clock alone is not deleted.
#[test]
fn a_clock_that_jumps_costs_nothing() {
    for jump in [86_400_000, -86_400_000, 3_650 * 86_400_000] {
        let (dir, samples) = with_blocks();
        let (store, _) =
            Store::open(dir.path(), Settings { retention: Millis(7_200_000), ..settings() }, NOW).unwrap();
        let mut all = samples;
        for (minutes, offset) in [(61..75, jump), (75..120, 0)] {
            for minute in minutes {
                let now_ms = NOW + minute * MINUTE + offset;
                all += append(&store, 4, now_ms, minute as f64) as usize;
                store.maintain(now_ms).unwrap();
            }
        }
        assert_eq!((all, count(&store)), (samples + 4 * 59, (all, vec![])), "jump {jump}");
        assert!(store.stats().head_samples < 4 * 30, "blocks are made on: {:?}", store.stats());
        drop(store);
        let (store, report) = Store::open(dir.path(), settings(), NOW + 120 * MINUTE).unwrap();
        assert_eq!((count(&store).0, report.damage), (all, vec![]));
    }
}

#[test]
fn names_values_and_series() {
    let (dir, _) = with_blocks();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let all = (i64::MIN, i64::MAX);
    assert_eq!(store.label_names(&[], all.0, all.1).unwrap(), ["__name__", "n"]);
    assert_eq!(store.label_values("n", &[], all.0, all.1).unwrap(), ["0", "1", "2", "3"]);
    let one = vec![vec![Matcher::equal("n", "1")], vec![Matcher::regex("n", "[3-9]", false).unwrap()]];
    assert_eq!(store.label_values("n", &one, all.0, all.1).unwrap(), ["1", "3"]);
    assert_eq!(store.series_labels(&one, all.0, all.1).unwrap(), [series(1), series(3)]);
    assert_eq!(store.label_names(&one, all.0, all.1).unwrap(), ["__name__", "n"]);
    assert_eq!(store.series_labels(&one, 0, 1_000).unwrap(), []);
    assert_eq!(store.series_labels(&[], all.0, all.1).unwrap().len(), 4);
    let top = store.cardinality(2);
    assert_eq!((top.series, top.label_pairs, top.metrics), (4, 5, vec![("up".to_owned(), 4)]));
    assert_eq!(top.pairs, [("__name__=up".to_owned(), 4), ("n=0".to_owned(), 1)]);
}

#[test]
fn impossible_settings_are_refused() {
    let dir = fast_dir();
    for settings in [
        Settings { block: Millis(1), ..settings() },
        Settings { out_of_order: Millis(8 * 86_400_000), ..settings() },
        Settings { max_label_value: 1 << 20, ..settings() },
        Settings { log_limit: Bytes(1), ..settings() },
        Settings { max_buckets: 1 << 20, ..settings() },
    ] {
        assert!(matches!(Store::open(dir.path(), settings, NOW), Err(Error::Settings(_))));
    }
}
