//! Histograms, starts, exemplars, metadata, rollups, deletion, snapshots.

use super::{MINUTE, NOW, everything, fast_dir, select, settings};
use crate::{Batch, ExemplarRow, FloatRow, HistogramRow, Refusal, Resolution, Settings, Store};
use base::Millis;
use monitor_model::histogram::{Buckets, Span};
use monitor_model::{
    Column, Exemplar, Histogram, Labels, Matcher, Metadata, MetricType, Point, Selection, Source, Windows,
    is_stale,
};
use std::sync::Arc;

const DAY: i64 = 86_400_000;

fn labels(n: usize) -> Labels {
    Labels::from_pairs([("__name__", "m".to_owned()), ("n", n.to_string())])
}

fn histogram(step: i64) -> Arc<Histogram> {
    let counts = vec![step as f64, (step * 2) as f64, 7.0];
    Arc::new(Histogram {
        schema: 1,
        zero_threshold: 0.001,
        count: (step * 3 + 7) as f64,
        sum: step as f64 * 0.37,
        positive: Buckets { spans: vec![Span { offset: -1, length: 3 }], counts },
        ..Histogram::default()
    })
}

fn exemplar(trace: &str, at_ms: Option<i64>) -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", trace)]), value: 0.5, at_ms }
}

/// Restarts, flushes and merges change nothing.
fn through_everything(dir: &std::path::Path, store: Store, check: impl Fn(&Store)) -> Store {
    check(&store);
    drop(store);
    let (store, report) = Store::open(dir, settings(), NOW).unwrap();
    assert_eq!(report.damage, []);
    check(&store);
    store.compact(NOW).unwrap();
    check(&store);
    drop(store);
    let (store, report) = Store::open(dir, settings(), NOW).unwrap();
    assert_eq!(report.damage, []);
    check(&store);
    store
}

#[test]
fn histograms_and_starts_stay_what_they_are() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let (a, b) = (store.series(&labels(0)).unwrap(), store.series(&labels(1)).unwrap());
    for step in 0..30 {
        let at_ms = NOW + step * 15_000;
        let mut batch = Batch::default();
        let value = if step == 20 { Arc::new(Histogram::stale()) } else { histogram(step) };
        batch.histograms.push(HistogramRow {
            series: a,
            at_ms,
            value,
            start_ms: if step < 10 { 0 } else { NOW },
        });
        let start_ms = NOW - 5 + 5 * (step / 12);
        batch.floats.push(FloatRow { series: b, at_ms, value: step as f64, start_ms });
        let report = store.append(&batch, at_ms).unwrap();
        assert_eq!((report.stored, &report.refused[..]), (2, &[][..]), "{report:?}");
        if step == 13 {
            store.compact(at_ms).unwrap();
        }
    }
    // Late, duplicate, and of another kind at the same time.
    let at_ms = NOW + 25 * 15_000;
    let mut batch = Batch::default();
    batch.histograms.push(HistogramRow { series: a, at_ms: at_ms + 1, value: histogram(99), start_ms: 3 });
    batch.histograms.push(HistogramRow { series: a, at_ms, value: histogram(25), start_ms: NOW });
    batch.histograms.push(HistogramRow { series: a, at_ms, value: histogram(1), start_ms: NOW });
    batch.histograms.push(HistogramRow { series: b, at_ms, value: histogram(1), start_ms: 0 });
    batch.floats.push(FloatRow { series: a, at_ms, value: 1.0, start_ms: 0 });
    batch.floats.push(FloatRow { series: b, at_ms: at_ms + 1, value: 77.0, start_ms: 9 });
    let report = store.append(&batch, at_ms).unwrap();
    assert_eq!(
        (report.stored, report.duplicates, &report.refused[..]),
        (2, 1, &[(Refusal::Conflict, 3)][..])
    );
    through_everything(dir.path(), store, |store| {
        let all = everything(store);
        assert_eq!(all.len(), 2);
        let (a, b) = (&all[0], &all[1]);
        assert_eq!((a.points.len(), a.histograms.len(), b.points.len(), b.histograms.len()), (0, 31, 31, 0));
        assert_eq!((a.histogram_starts.len(), b.starts.len()), (31, 31));
        for (i, (point, start)) in a.histograms.iter().zip(&a.histogram_starts).enumerate() {
            let step = if i > 25 { i as i64 - 1 } else { i as i64 };
            let right = match i {
                20 => point.value.is_stale() && *start == NOW,
                26 => *point.value == *histogram(99) && *start == 3,
                _ => *point.value == *histogram(step) && *start == if step < 10 { 0 } else { NOW },
            };
            assert!(right, "{i}: {point:?} {start}");
        }
        assert_eq!((b.points[26].value, b.starts[26]), (77.0, 9));
        assert_eq!((b.starts[0], b.starts[12], b.starts[30]), (NOW - 5, NOW, NOW + 5));
    });
}

#[test]
fn bad_histograms_and_forgotten_series_are_told() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), Settings { max_buckets: 4, ..settings() }, NOW).unwrap();
    let series = store.series(&labels(0)).unwrap();
    let mut wide = (*histogram(1)).clone();
    wide.positive = Buckets { spans: vec![Span { offset: 0, length: 5 }], counts: vec![1.0; 5] };
    let mut short = (*histogram(1)).clone();
    short.positive.counts.pop();
    let mut batch = Batch::default();
    for value in [wide, short] {
        batch.histograms.push(HistogramRow { series, at_ms: NOW, value: Arc::new(value), start_ms: 0 });
    }
    let unknown = crate::SeriesRef { slot: 9_999, generation: 1 };
    batch.floats.push(FloatRow { series: unknown, at_ms: NOW, value: 1.0, start_ms: 0 });
    batch.exemplars.push(ExemplarRow { series: unknown, exemplar: exemplar("a", None), at_ms: NOW });
    let report = store.append(&batch, NOW).unwrap();
    let refused = [(Refusal::Forgotten, 1), (Refusal::TooManyBuckets, 1), (Refusal::BadHistogram, 1)];
    assert_eq!(report.refused, refused);
    assert_eq!((report.forgotten_floats, report.forgotten_exemplars), (vec![0], vec![0]));
    // A series that got nothing is forgotten by the next flush.
    let other = store.series(&labels(1)).unwrap();
    store
        .append(
            &Batch {
                floats: vec![FloatRow { series: other, at_ms: NOW, value: 1.0, start_ms: 0 }],
                ..Batch::default()
            },
            NOW,
        )
        .unwrap();
    store.compact(NOW).unwrap();
    let row = |series| Batch {
        floats: vec![FloatRow { series, at_ms: NOW, value: 1.0, start_ms: 0 }],
        ..Batch::default()
    };
    assert_eq!(store.append(&row(series), NOW).unwrap().forgotten_floats, [0]);
    assert_eq!(store.append(&row(other), NOW).unwrap().duplicates, 1);
}

#[test]
fn exemplars_and_metadata_survive() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let series = store.series(&labels(0)).unwrap();
    let mut batch = Batch::default();
    batch.floats.push(FloatRow { series, at_ms: NOW, value: 1.0, start_ms: 0 });
    batch.exemplars.push(ExemplarRow { series, exemplar: exemplar("a", None), at_ms: NOW });
    batch.exemplars.push(ExemplarRow { series, exemplar: exemplar("b", Some(NOW + 5)), at_ms: NOW });
    let long = exemplar(&"x".repeat(121), None);
    batch.exemplars.push(ExemplarRow { series, exemplar: long, at_ms: NOW });
    let report = store.append(&batch, NOW).unwrap();
    assert_eq!((report.exemplars, &report.refused[..]), (2, &[(Refusal::ExemplarTooLong, 1)][..]));
    assert_eq!(store.append(&batch, NOW).unwrap().exemplars, 0);
    let of = |kind, help: &str| Metadata { kind, unit: "bytes".into(), help: help.into() };
    let (one, two) = (of(MetricType::Gauge, "first"), of(MetricType::Counter, "second"));
    store.append_metadata([("m", &one), ("other", &one)]).unwrap();
    store.append_metadata([("m", &two)]).unwrap();
    through_everything(dir.path(), store, |store| {
        let any = [vec![Matcher::equal("n", "0")]];
        let found = store.exemplars(&any, NOW - 1, NOW + 10);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].1, [exemplar("a", Some(NOW)), exemplar("b", Some(NOW + 5))]);
        assert_eq!(store.exemplars(&any, NOW + 1, NOW + 10)[0].1.len(), 1);
        assert_eq!(store.exemplars(&[vec![Matcher::equal("n", "1")]], 0, i64::MAX), []);
        let all = store.metadata(None);
        assert_eq!((&all["m"], &all["other"], all.len()), (&two, &one, 2));
        assert_eq!(store.metadata(Some("m")).len(), 1);
    });
}

#[test]
fn what_is_deleted_is_gone_and_may_come_again() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let put = |store: &Store, n: usize, at_ms: i64, value: f64| {
        let series = store.series(&labels(n)).unwrap();
        let floats = vec![FloatRow { series, at_ms, value, start_ms: 0 }];
        let report = store.append(&Batch { floats, ..Batch::default() }, NOW + 20 * MINUTE).unwrap();
        assert_eq!(report.stored, 1, "{report:?}");
    };
    for minute in 0..20 {
        (0..3).for_each(|n| put(&store, n, NOW + minute * MINUTE, minute as f64));
        store.maintain(NOW + minute * MINUTE).unwrap();
    }
    assert!(store.delete(&[Matcher::equal("none", "")], 0, i64::MAX).is_err());
    store.delete(&[Matcher::regex("n", "0|1", false).unwrap()], NOW + 5 * MINUTE, NOW + 30 * MINUTE).unwrap();
    store.delete(&[Matcher::equal("n", "2")], i64::MIN, i64::MAX).unwrap();
    put(&store, 0, NOW + 19 * MINUTE, 190.0);
    put(&store, 0, NOW + 17 * MINUTE, 170.0);
    let store = through_everything(dir.path(), store, |store| {
        let all = everything(store);
        assert_eq!(all.iter().map(|s| s.points.len()).collect::<Vec<_>>(), [7, 5]);
        assert_eq!(all[0].points[5..].iter().map(|p| p.value).collect::<Vec<_>>(), [170.0, 190.0]);
        assert_eq!(
            store.label_values("n", &[vec![Matcher::equal("__name__", "m")]], 0, i64::MAX).unwrap(),
            ["0", "1"]
        );
    });
    assert_eq!(store.stats().tombstones, 0, "applied when blocks were merged");
}

#[test]
fn a_snapshot_is_a_store() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let put = |store: &Store, at_ms: i64| {
        let series = store.series(&labels(0)).unwrap();
        let floats = vec![FloatRow { series, at_ms, value: 1.0, start_ms: 0 }];
        store.append(&Batch { floats, ..Batch::default() }, at_ms).unwrap();
    };
    (0..30).for_each(|i| put(&store, NOW + i * MINUTE));
    let copy = dir.path().join("backup");
    store.snapshot(&copy).unwrap();
    assert!(store.snapshot(&copy).is_err());
    put(&store, NOW + 31 * MINUTE);
    let (backup, report) = Store::open(&copy, settings(), NOW + 31 * MINUTE).unwrap();
    assert_eq!((everything(&backup)[0].points.len(), report.damage), (30, vec![]));
    put(&backup, NOW + 40 * MINUTE);
    backup.compact(NOW + 40 * MINUTE).unwrap();
    assert_eq!((everything(&backup)[0].points.len(), everything(&store)[0].points.len()), (31, 31));
}

/// Three days of samples every minute; raw ones are kept for a day and a half.
#[test]
fn rollups_stand_for_what_has_expired() {
    let dir = fast_dir();
    let first = NOW.div_euclid(DAY) * DAY;
    let settings = Settings {
        block: Millis(2 * 3_600_000),
        retention: Millis(36 * 3_600_000),
        retention_5m: Millis(72 * 3_600_000),
        ..settings()
    };
    let (store, _) = Store::open(dir.path(), settings.clone(), first).unwrap();
    let series: Vec<_> = (0..2).map(|n| store.series(&labels(n)).unwrap()).collect();
    let minutes = 5 * 1_440 + 120;
    for minute in 0..minutes {
        let at_ms = first + minute * MINUTE;
        let mut batch = Batch::default();
        // The second one is gone after an hour of each day.
        let value = if minute % 1_440 < 60 { minute as f64 } else { monitor_model::STALE };
        batch.floats.push(FloatRow { series: series[0], at_ms, value: minute as f64, start_ms: 0 });
        if minute % 1_440 <= 60 {
            batch.floats.push(FloatRow { series: series[1], at_ms, value, start_ms: 0 });
        }
        if let Some(again) = store.append(&batch, at_ms).unwrap().forgotten_floats.first() {
            let mut row = batch.floats[*again];
            row.series = store.series(&labels(1)).unwrap();
            store.append(&Batch { floats: vec![row], ..Batch::default() }, at_ms).unwrap();
        }
        if minute % 10 == 0 {
            store.maintain(at_ms).unwrap();
        }
    }
    let now_ms = first + minutes * MINUTE;
    // Now: raw samples from day 3, 5 min from day 2 or 3, 1 h before.
    let raw_ms = store.raw_since_ms();
    assert_eq!(raw_ms, first + 3 * DAY, "{:?}", store.stats());
    let one = [Matcher::equal("n", "0")];
    let (all, infos) = select(&store, &one, i64::MIN, i64::MAX);
    let points = &all[0].points;
    assert_eq!(infos.len(), 2, "{infos:?}");
    assert!(infos[0].contains("1h stands for them") && infos[1].contains("5m"), "{infos:?}");
    let distances: Vec<i64> = points.windows(2).map(|pair| pair[1].at_ms - pair[0].at_ms).collect();
    assert!(distances.is_sorted_by(|a, b| a >= b), "1 h, then 5 min, then 1 min");
    assert_eq!(distances.iter().filter(|d| **d == MINUTE).count() as i64, minutes - 3 * 1_440 - 1);
    assert!(distances.iter().filter(|d| **d == 5 * MINUTE).count() >= 288);
    // The point at t says what was before t.
    for point in points.iter().filter(|p| p.at_ms <= raw_ms) {
        assert_eq!(
            point.value as i64,
            (point.at_ms - first) / MINUTE - i64::from(point.at_ms < raw_ms || point.value as i64 % 2 != 0)
        );
    }
    let column = |column| {
        let mut selection = Selection::new(&one, first, raw_ms - 1);
        selection.column = column;
        let series = store.select(&selection).unwrap().next_series().unwrap().unwrap();
        series.points.last().copied().unwrap()
    };
    let (min, max, sum, count) =
        (column(Column::Min), column(Column::Max), column(Column::Sum), column(Column::Count));
    assert_eq!((min.at_ms, count.value), (raw_ms - 5 * MINUTE, 5.0));
    assert_eq!((max.value - min.value, sum.value), (4.0, min.value * 5.0 + 10.0));
    // A series that went away is away in the rollup too.
    let gone = select(&store, &[Matcher::equal("n", "1")], first + DAY, first + DAY + 2 * 3_600_000).0;
    assert!(is_stale(gone[0].points.last().unwrap().value), "{:?}", gone[0].points);
    // On request where raw samples are still there.
    let view = store.rolled_up(Resolution::Hour);
    let (hours, infos) = select(&view, &one, raw_ms + 1, now_ms);
    assert_eq!((hours[0].points.len(), infos.len()), (48, 1), "two days that are over");
    // And all of it again after a restart.
    drop(store);
    let (store, report) = Store::open(dir.path(), settings, now_ms).unwrap();
    assert_eq!((report.damage, store.raw_since_ms()), (vec![], raw_ms));
    let again = select(&store, &one, i64::MIN, i64::MAX).0;
    assert_eq!(again[0].points.len(), points.len());
    // Deleting reaches them too.
    store.delete(&one, i64::MIN, i64::MAX).unwrap();
    assert_eq!(select(&store, &one, i64::MIN, i64::MAX).0.len(), 0);
    store.compact(now_ms).unwrap();
    assert_eq!((select(&store, &one, i64::MIN, i64::MAX).0.len(), store.stats().tombstones), (0, 0));
    assert!(!everything(&store).is_empty());
}

/// Every combination of conditions, on the head and on blocks, selects what
/// testing each series would.
#[test]
fn conditions_select_the_same_everywhere() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let all: Vec<Labels> = (0..300)
        .map(|n: usize| {
            let unique = if n.is_multiple_of(3) { String::new() } else { format!("u{n}") };
            Labels::from_pairs([
                ("__name__", format!("metric_{}", n / 4 % 25)),
                ("instance", format!("host-{}", n / 100)),
                ("job", "bench".to_owned()),
                ("mode", ["idle", "user", "system"][n % 3].to_owned()),
                ("unique", unique),
                ("n", n.to_string()),
            ])
        })
        .collect();
    let mut batch = Batch::default();
    for labels in &all {
        let series = store.series(labels).unwrap();
        batch.floats.push(FloatRow { series, at_ms: NOW, value: 1.0, start_ms: 0 });
    }
    store.append(&batch, NOW).unwrap();
    let regex = |name, text, negated| Matcher::regex(name, text, negated).unwrap();
    let conditions = [
        Matcher::equal("__name__", "metric_3"),
        Matcher::equal("instance", "host-1"),
        Matcher::equal("job", "bench"),
        Matcher::equal("mode", "idle"),
        Matcher::not_equal("mode", "idle"),
        Matcher::equal("unique", ""),
        Matcher::not_equal("unique", ""),
        Matcher::equal("missing", ""),
        Matcher::equal("job", "other"),
        regex("mode", "idle|user", false),
        regex("mode", "idle|", false),
        regex("__name__", "metric_1.*", false),
        regex("__name__", "metric_1.*", true),
        regex("unique", "u1.*", false),
        regex("unique", "(u1.*)?", false),
        regex("n", "1[0-9]", true),
    ];
    for flushed in [false, true] {
        if flushed {
            store.compact(NOW).unwrap();
            assert_eq!(store.stats().head_samples, 0);
        }
        for a in 0..conditions.len() {
            for b in a..conditions.len() {
                for c in b..conditions.len() {
                    let matchers = [conditions[a].clone(), conditions[b].clone(), conditions[c].clone()];
                    let mut right: Vec<&Labels> =
                        all.iter().filter(|labels| Matcher::all_match(&matchers, labels)).collect();
                    right.sort();
                    let found = select(&store, &matchers, NOW, NOW).0;
                    let found: Vec<&Labels> = found.iter().map(|s| &s.labels).collect();
                    assert_eq!(found, right, "{matchers:?}, in blocks: {flushed}");
                }
            }
        }
    }
}

/// A late sample whose time has another value in a block is counted as stored,
/// because nobody looks into blocks for one sample; the first value stays, and
/// the merge that finds the second one counts it.
#[test]
fn a_conflict_across_blocks_is_counted_when_it_is_found() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let append = |n: usize, at_ms: i64, value: f64| {
        let sample = crate::Sample { labels: &labels(n), at_ms, value };
        store.append_samples(&[sample], NOW + 2 * MINUTE).unwrap().stored
    };
    let flush = || {
        let mut upkeep = crate::store::locked(&store.upkeep);
        store.flush(&mut upkeep, NOW + 2 * MINUTE).unwrap();
    };
    for n in 0..3 {
        assert_eq!(append(n, NOW, 1.0) + append(n, NOW + MINUTE, 2.0), 2);
    }
    flush();
    // Another value, the same one, and a histogram for the time of a number.
    assert_eq!(append(0, NOW, 7.0) + append(1, NOW, 1.0), 2);
    let mut batch = Batch::default();
    let series = store.series(&labels(2)).unwrap();
    batch.histograms.push(HistogramRow { series, at_ms: NOW, value: histogram(1), start_ms: 0 });
    assert_eq!(store.append(&batch, NOW + 2 * MINUTE).unwrap().stored, 1);
    flush();
    let values = || -> Vec<Vec<f64>> {
        everything(&store).iter().map(|s| s.points.iter().map(|p| p.value).collect()).collect()
    };
    assert_eq!((values(), store.stats().conflicts), (vec![vec![1.0, 2.0]; 3], 0));
    for _ in 0..2 {
        store.compact(NOW + 2 * MINUTE).unwrap();
        assert_eq!((values(), store.stats().conflicts), (vec![vec![1.0, 2.0]; 3], 2));
        assert_eq!((store.stats().blocks, store.stats().block_samples), (1, 6));
    }
}

/// However long the log is, opening holds no more of it in memory than one file
/// and the limit: the rest is in blocks by then.
#[test]
fn opening_a_long_log_flushes_on_the_way() {
    let dir = fast_dir();
    let long = Settings { log_limit: base::Bytes(1 << 30), ..settings() };
    let per_file = 130_000u32;
    let files = 5u32;
    let mut written = 0u64;
    for file in 0..files {
        // Each start goes on in a file of its own.
        let (store, report) = Store::open(dir.path(), long.clone(), NOW).unwrap();
        assert_eq!((report.samples, report.blocks), (written, 0));
        let all: Vec<_> = (0..100).map(|n| store.series(&labels(n)).unwrap()).collect();
        let mut batch = Batch::default();
        for i in 0..per_file {
            let at_ms = NOW + i64::from((file * per_file + i) / 100);
            let value = f64::from(i).sqrt();
            batch.floats.push(FloatRow { series: all[i as usize % 100], at_ms, value, start_ms: 0 });
        }
        written += store.append(&batch, NOW).unwrap().stored;
    }
    assert_eq!(written, u64::from(files * per_file));
    let limited = Settings { log_limit: base::Bytes(1 << 20), ..settings() };
    for blocks in [files as usize, files as usize] {
        let (store, report) = Store::open(dir.path(), limited.clone(), NOW).unwrap();
        let stats = store.stats();
        assert_eq!((stats.blocks, stats.head_samples, report.damage), (blocks, 0, vec![]));
        assert!(stats.log_bytes < 1_000, "{stats:?}");
        assert_eq!(everything(&store).iter().map(|s| s.points.len() as u64).sum::<u64>(), written);
    }
}

/// A query that looks at windows gets all that is in them, from head and blocks,
/// with starts, whatever a chunk holds.
#[test]
fn windows_are_whole() {
    let dir = fast_dir();
    let (store, _) = Store::open(dir.path(), settings(), NOW).unwrap();
    let mut all = Vec::new();
    for step in 0..400i64 {
        // One series is steady, one is not; one has starts, one all digits.
        let at_ms = NOW + step * 15_000;
        let times = [at_ms, at_ms + step % 3, at_ms, at_ms];
        let mut batch = Batch::default();
        for (n, at_ms) in times.into_iter().enumerate() {
            let value = if n == 3 { (step as f64).sin() } else { (step * step % 1_000) as f64 };
            let start_ms = if n == 2 { NOW + step / 50 } else { 0 };
            let labels = Labels::from_pairs([("__name__", "x".to_owned()), ("n", n.to_string())]);
            let series = store.series(&labels).unwrap();
            batch.floats.push(FloatRow { series, at_ms, value, start_ms });
            all.push((n, at_ms, value.to_bits(), start_ms));
        }
        store.append(&batch, at_ms).unwrap();
        store.maintain(at_ms).unwrap();
    }
    assert!(store.stats().blocks > 3 && store.stats().head_samples > 0);
    let matchers = [Matcher::equal("__name__", "x")];
    for windows in [(0, 3_600_000, 300_000), (-70_000, 40_000, 16_000), (5, 16_000, 15_000), (0, 700_000, 1)]
    {
        let windows = Windows { end_ms: NOW + windows.0, step_ms: windows.1, length_ms: windows.2 };
        let (start_ms, end_ms) = (NOW + 100_000, NOW + 5_900_000);
        let selection = Selection { windows: Some(windows), ..Selection::new(&matchers, start_ms, end_ms) };
        let mut stream = store.select(&selection).unwrap();
        let mut found = Vec::new();
        while let Some(series) = stream.next_series().unwrap() {
            let n: usize = series.labels.get("n").unwrap().parse().unwrap();
            let start = |i: usize| series.starts.get(i).copied().unwrap_or_default();
            let point = |(i, p): (usize, &Point)| (n, p.at_ms, p.value.to_bits(), start(i));
            found.extend(series.points.iter().enumerate().map(point).filter(|p| windows.has(p.1)));
        }
        let wanted = |(_, at_ms, ..): &&(usize, i64, u64, i64)| {
            windows.has(*at_ms) && (start_ms..=end_ms).contains(at_ms)
        };
        let mut right: Vec<_> = all.iter().filter(wanted).copied().collect();
        right.sort_unstable();
        assert_eq!(found, right);
    }
}
