//! The store against a naive model: whatever is appended, cut, merged and
//! reopened, it answers as a map of maps would.

use base::{Bytes, Millis};
use monitor_promql::{Labels, Matcher, STALE, Selection, Source};
use monitor_store::{Refusal, Sample, Settings, Store};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

const MINUTE: i64 = 60_000;
const NOW: i64 = 1_764_000_000_000 - 1_764_000_000_000 % (10 * MINUTE);

fn settings() -> Settings {
    Settings {
        block: Millis(10 * 60_000),
        out_of_order: Millis(2 * 60_000),
        sync: Millis(3_600_000),
        log_file: Bytes(4_096),
        index_cache: Bytes(4_096),
        ..Settings::default()
    }
}

/// A directory in memory where there is one: syncing to a disk would take most of the time.
fn fast_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn labels(series: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", if series.is_multiple_of(2) { "even" } else { "odd" }.to_owned()),
        ("series", series.to_string()),
    ])
}

/// What the store must know: series, then time, then the value's bits.
#[derive(Default)]
struct Model {
    series: BTreeMap<Labels, BTreeMap<i64, u64>>,
    newest_ms: Option<i64>,
    /// Before this the store has cut blocks.
    floor_ms: i64,
}

#[derive(Debug, PartialEq)]
enum Expected {
    Stored,
    Duplicate,
    Refused(Refusal),
}

impl Model {
    fn append(&mut self, labels: &Labels, at_ms: i64, value: f64) -> Expected {
        let grace = 5 * MINUTE;
        if self.newest_ms.is_some_and(|newest| at_ms < newest - grace) || at_ms < self.floor_ms {
            return Expected::Refused(Refusal::TooOld);
        }
        let points = self.series.entry(labels.clone()).or_default();
        if let Some(there) = points.get(&at_ms) {
            let same = *there == value.to_bits();
            return if same { Expected::Duplicate } else { Expected::Refused(Refusal::Conflict) };
        }
        // What is in blocks already says nothing about the order in the head.
        let last = points.range(self.floor_ms..).next_back().map(|(at, _)| *at);
        let window = self.newest_ms.unwrap_or(i64::MIN + 10 * MINUTE) - 2 * MINUTE;
        if last.is_some_and(|last| at_ms < last) && at_ms < window {
            return Expected::Refused(Refusal::TooOld);
        }
        points.insert(at_ms, value.to_bits());
        self.newest_ms = Some(self.newest_ms.map_or(at_ms, |newest| newest.max(at_ms)));
        Expected::Stored
    }
}

/// Everything the store has, read through queries.
fn contents(store: &Store, start_ms: i64, end_ms: i64) -> BTreeMap<Labels, BTreeMap<i64, u64>> {
    let matchers = [Matcher::not_equal("__name__", "")];
    let mut stream = store.select(&Selection::new(&matchers, start_ms, end_ms)).unwrap();
    let mut found = BTreeMap::new();
    while let Some(series) = stream.next_series().unwrap() {
        assert!(series.points.is_sorted_by(|a, b| a.at_ms < b.at_ms), "{:?}", series.labels);
        let points = series.points.iter().map(|p| (p.at_ms, p.value.to_bits())).collect();
        assert!(found.insert(series.labels, points).is_none());
    }
    assert_eq!(stream.warnings(), Vec::<String>::new());
    found
}

fn expected(model: &Model, start_ms: i64, end_ms: i64) -> BTreeMap<Labels, BTreeMap<i64, u64>> {
    let cut = |points: &BTreeMap<i64, u64>| points.range(start_ms..=end_ms).map(|(a, b)| (*a, *b)).collect();
    let all = model.series.iter().map(|(labels, points)| (labels.clone(), cut(points)));
    all.filter(|(_, points): &(_, BTreeMap<i64, u64>)| !points.is_empty()).collect()
}

#[derive(Clone, Debug)]
enum Step {
    /// Series, distance from the running clock in milliseconds, value.
    Append(Vec<(usize, i64, f64)>),
    Pass(i64),
    Maintain,
    Reopen,
    Query(i64, i64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        (0i64..1_000).prop_map(|n| n as f64),
        Just(STALE),
        Just(f64::NAN),
        Just(-0.0),
        (-1e6f64..1e6),
    ];
    let sample = (0usize..6, -7 * MINUTE..MINUTE, value);
    prop_oneof![
        10 => prop::collection::vec(sample, 1..20).prop_map(Step::Append),
        6 => (1_000i64..6 * MINUTE).prop_map(Step::Pass),
        3 => Just(Step::Maintain),
        1 => Just(Step::Reopen),
        2 => (0i64..60, 0i64..60).prop_map(|(a, b)| Step::Query(a * MINUTE, b * MINUTE)),
    ]
}

fn open(dir: &Path, now_ms: i64) -> Store {
    let (store, report) = Store::open(dir, settings(), now_ms).unwrap();
    assert_eq!((report.damage.as_slice(), report.torn_bytes), (&[][..], 0));
    store
}

fn run(steps: Vec<Step>) {
    let dir = fast_dir();
    let mut now_ms = NOW;
    let mut store = open(dir.path(), now_ms);
    let mut model = Model { floor_ms: i64::MIN, ..Model::default() };
    for step in steps {
        match step {
            Step::Append(samples) => {
                let all: Vec<(Labels, i64, f64)> = samples
                    .into_iter()
                    .map(|(s, offset, value)| (labels(s), now_ms + offset, value))
                    .collect();
                let batch: Vec<Sample<'_>> = all
                    .iter()
                    .map(|(labels, at_ms, value)| Sample { labels, at_ms: *at_ms, value: *value })
                    .collect();
                let report = store.append(&batch, now_ms).unwrap();
                let outcomes: Vec<Expected> =
                    all.iter().map(|(labels, at_ms, value)| model.append(labels, *at_ms, *value)).collect();
                let count = |e: &Expected| outcomes.iter().filter(|o| *o == e).count() as u64;
                assert_eq!(report.stored, count(&Expected::Stored));
                assert_eq!(report.duplicates, count(&Expected::Duplicate));
                for (why, refused) in report.refused {
                    assert_eq!(refused, count(&Expected::Refused(why)), "{why}");
                }
            }
            Step::Pass(ms) => now_ms += ms,
            Step::Maintain => {
                let report = store.maintain(now_ms).unwrap();
                assert_eq!(report.damage, []);
                if report.blocks_cut > 0 {
                    let newest = model.newest_ms.unwrap();
                    model.floor_ms = (newest - 5 * MINUTE).div_euclid(10 * MINUTE) * 10 * MINUTE;
                }
            }
            Step::Reopen => {
                drop(store);
                store = open(dir.path(), now_ms);
                // Reading the log may have cut blocks.
                model.floor_ms = model.floor_ms.max(store.stats().newest_block_ms.unwrap_or(i64::MIN));
            }
            Step::Query(from, to) => {
                let (start_ms, end_ms) = (now_ms - from, now_ms - from + to);
                assert_eq!(contents(&store, start_ms, end_ms), expected(&model, start_ms, end_ms));
            }
        }
    }
    assert_eq!(contents(&store, i64::MIN, i64::MAX), expected(&model, i64::MIN, i64::MAX));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_answers_as_the_model(steps in prop::collection::vec(any_step(), 1..60)) {
        run(steps);
    }
}

/// A day of ten-minute blocks, merged, then read back whole and after reopening.
#[test]
fn a_day_is_cut_and_merged() {
    let dir = fast_dir();
    let mut store = open(dir.path(), NOW);
    let mut model = Model { floor_ms: i64::MIN, ..Model::default() };
    let (mut cut, mut merged) = (0, 0);
    for minute in 0..(26 * 60) {
        let now_ms = NOW + minute * MINUTE;
        for series in 0..5 {
            let labels = labels(series);
            let value = (minute * series as i64) as f64 / 10.0;
            let batch = [Sample { labels: &labels, at_ms: now_ms, value }];
            assert_eq!(store.append(&batch, now_ms).unwrap().stored, 1);
            model.append(&labels, now_ms, value);
        }
        let report = store.maintain(now_ms).unwrap();
        cut += report.blocks_cut;
        merged += report.blocks_merged;
    }
    assert!(cut > 150 && merged > 40, "{cut} {merged}");
    assert!(store.stats().blocks < cut);
    assert_eq!(contents(&store, i64::MIN, i64::MAX), expected(&model, i64::MIN, i64::MAX));
    drop(store);
    store = open(dir.path(), NOW + 26 * 60 * MINUTE);
    assert_eq!(contents(&store, i64::MIN, i64::MAX), expected(&model, i64::MIN, i64::MAX));
    assert!(store.stats().log_bytes < 100_000);
}

/// Found by the test above: a series whose definition went with its log file.
#[test]
fn a_series_that_pauses_keeps_its_definition() {
    use Step::{Append, Maintain, Pass, Reopen};
    let one = |series, offset| Append(vec![(series, offset, 0.0)]);
    run(vec![
        Pass(130_225),
        one(5, -130_226),
        Pass(208_415),
        Pass(319_538),
        one(0, 0),
        Maintain,
        Append(vec![(5, 0, 0.0), (0, -150_001, 0.0)]),
        Pass(172_262),
        one(0, 0),
        Maintain,
        one(0, 0),
        Pass(80_239),
        Pass(259_438),
        one(5, 29_883),
        Reopen,
        Pass(286_829),
        one(0, 43_054),
        Maintain,
        Reopen,
    ]);
}
