//! A full disk, at any step, during ingest and upkeep.

use super::{MINUTE, NOW, everything, fast_dir, settings};
use crate::disk::Disk;
use crate::disk::tests::Faults;
use crate::{Sample, Store};
use monitor_model::Labels;

fn points(store: &Store) -> usize {
    everything(store).iter().map(|s| s.points.len()).sum()
}

fn put(store: &Store, at_ms: i64) -> Result<u64, crate::Error> {
    let labels: Vec<Labels> = (0..3).map(|n| Labels::from_pairs([("n", n.to_string())])).collect();
    let batch: Vec<Sample<'_>> =
        labels.iter().map(|labels| Sample { labels, at_ms, value: at_ms as f64 }).collect();
    store.append_samples(&batch, at_ms).map(|report| report.stored)
}

/// The disk fills up at each step of an hour with flushes and merges, and is made
/// room on ten minutes later: what was acknowledged stays, appends that fail are
/// counted, and everything goes on by itself.
#[test]
fn a_full_disk_costs_what_is_refused_and_nothing_else() {
    for sync in [0, 1_000] {
        let settings = crate::Settings { sync: base::Millis(sync), ..settings() };
        let mut steps = 0;
        loop {
            let dir = fast_dir();
            let faults = Faults::full_after(steps);
            let Ok((store, _)) =
                Store::open_with(dir.path(), settings.clone(), NOW, Disk::with(faults.clone()))
            else {
                // Without a log there is no store.
                assert!(steps < 8);
                steps += 1;
                continue;
            };
            let (mut stored, mut failed, mut full_since) = (0, 0, None);
            for minute in 0..60 {
                let now_ms = NOW + minute * MINUTE;
                match put(&store, now_ms) {
                    Ok(count) => stored += count,
                    Err(error) => {
                        assert!(error.is_disk_full(), "{error}");
                        failed += 3;
                    }
                }
                let kept = store.maintain(now_ms);
                assert!(kept.is_ok() || kept.is_err_and(|error| error.is_disk_full()));
                if faults.struck() && full_since.is_none() {
                    full_since = Some(minute);
                }
                if full_since.is_some_and(|since| minute >= since + 10) {
                    faults.room(i64::MAX);
                }
                assert_eq!(points(&store) as u64, stored, "step {steps}, minute {minute}");
            }
            assert_eq!((store.stats().failed, stored + failed), (failed, 180), "step {steps}");
            faults.room(i64::MAX);
            store.compact(NOW + 60 * MINUTE).unwrap();
            assert_eq!((points(&store) as u64, store.stats().blocks), (stored, 1));
            drop(store);
            let (store, report) = Store::open(dir.path(), settings.clone(), NOW).unwrap();
            assert_eq!((points(&store) as u64, report.damage), (stored, vec![]), "step {steps}");
            if full_since.is_none() {
                break;
            }
            steps += 1;
        }
        assert!(steps > 70, "{steps}");
    }
}

/// The disk fills up at each step of a compaction of three days, their merging and
/// rolling up: nothing that was stored is missed meanwhile, what was begun leaves
/// no file behind, and with room again it goes on.
#[test]
fn a_full_disk_during_compaction_costs_nothing() {
    let hour = 60 * MINUTE;
    let now_ms = NOW + 80 * hour;
    for steps in 0.. {
        let dir = fast_dir();
        let faults = Faults::full_after(i64::MAX);
        let (store, _) = Store::open_with(dir.path(), settings(), NOW, Disk::with(faults.clone())).unwrap();
        let mut stored = 0;
        for step in 0..16 {
            stored += put(&store, NOW + step * 5 * hour).unwrap();
            if step % 2 == 1 {
                let mut upkeep = crate::store::locked(&store.upkeep);
                store.flush(&mut upkeep, NOW + step * 5 * hour).unwrap();
            }
        }
        let before = store.stats();
        assert!(before.blocks > 8 && before.head_samples == 0, "{before:?}");
        faults.room(steps);
        let upkeep = || {
            let compacted = store.compact(now_ms);
            // One day is rolled up in a call.
            let kept = (0..6).map(|_| store.maintain(now_ms).map(drop));
            kept.fold(compacted, Result::and)
        };
        let done = upkeep();
        assert!(done.as_ref().is_ok() || done.as_ref().is_err_and(crate::Error::is_disk_full), "{done:?}");
        assert_eq!(points(&store) as u64, stored, "step {steps}");
        let files = |ending: &str| {
            let all = std::fs::read_dir(dir.path().join("blocks")).unwrap().map(|e| e.unwrap().path());
            all.filter(|path| path.extension().is_some_and(|e| e == ending)).count()
        };
        // A block whose manifest could not be written goes when upkeep begins again.
        let blocks = store.stats().blocks;
        assert!(files("blk") <= blocks + 2, "step {steps}: {} {blocks}", files("blk"));
        store.tidy(&mut crate::store::locked(&store.upkeep)).unwrap();
        assert_eq!((files("blk"), files("new")), (blocks, 0), "step {steps}");
        let struck = faults.struck();
        faults.room(i64::MAX);
        upkeep().unwrap();
        let after = store.stats();
        assert!(after.blocks - after.rollups <= 5 && after.rollups >= 2, "step {steps}: {after:?}");
        assert_eq!((points(&store) as u64, files("blk")), (stored, after.blocks));
        drop(store);
        let (store, report) = Store::open(dir.path(), settings(), now_ms).unwrap();
        assert_eq!((points(&store) as u64, report.damage), (stored, vec![]), "step {steps}");
        if !struck {
            assert!(steps > 20, "{steps}");
            break;
        }
    }
}

/// Many threads append and ask while blocks are made and merged: nothing is
/// lost, twice there or half seen.
#[test]
fn queries_run_beside_appends_and_upkeep() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let steps = 600;
    std::thread::scope(|scope| {
        for writer in 0..2i64 {
            let store = &store;
            scope.spawn(move || {
                let labels = Labels::from_pairs([("w", writer.to_string())]);
                for step in 0..steps {
                    let at_ms = NOW + step * MINUTE / 2;
                    let sample = [Sample { labels: &labels, at_ms, value: step as f64 }];
                    let report = store.append_samples(&sample, at_ms).unwrap();
                    assert_eq!(report.stored, 1, "{report:?}");
                    if step % 5 == 0 {
                        store.maintain(at_ms).unwrap();
                    }
                }
            });
        }
        scope.spawn(|| {
            let mut before = [0usize; 2];
            while before.iter().sum::<usize>() < 2 * steps as usize {
                for series in everything(&store) {
                    let which = usize::from(series.labels.get("w") == Some("1"));
                    let right = series
                        .points
                        .iter()
                        .enumerate()
                        .all(|(i, p)| p.value == i as f64 && p.at_ms == NOW + i as i64 * MINUTE / 2);
                    assert!(right && series.points.len() >= before[which], "{:?}", series.points.len());
                    before[which] = series.points.len();
                }
            }
        });
    });
    assert!(store.stats().blocks > 0);
}
