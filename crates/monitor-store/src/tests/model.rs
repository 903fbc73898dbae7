//! The store beside a naive model of itself: random appends, late samples,
//! deletions, restarts, crashes, flushes, merges, and queries; both must say the same.

use super::{NOW, everything, fast_dir, select, settings};
use crate::disk::Disk;
use crate::disk::tests::Faults;
use crate::{Batch, FloatRow, HistogramRow, Refusal, Settings, Store};
use monitor_model::{Histogram, Labels, Matcher, SeriesData};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const SERIES: usize = 7;

#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Series, milliseconds from now, value; all in one batch.
    Append(Vec<(usize, i64, f64)>),
    Histograms(Vec<(usize, i64, u32)>),
    Pass(i64),
    Maintain,
    Flush,
    Compact,
    Reopen,
    Delete(usize, i64, i64),
    Query(i64, i64),
}

pub(super) fn labels(series: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", if series < 4 { "requests" } else { "seconds" }.to_owned()),
        ("series", series.to_string()),
        ("odd", (series % 2).to_string()),
    ])
}

fn histogram(n: u32) -> Arc<Histogram> {
    Arc::new(Histogram { count: f64::from(n), zero_count: f64::from(n), ..Histogram::default() })
}

/// What a sample is, for comparing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Float(u64),
    Histogram(u64),
}

/// The samples of each series.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    series: BTreeMap<Labels, BTreeMap<i64, Value>>,
}

impl Model {
    /// Stores a sample; where there is one already, that one stays.
    fn append(&mut self, series: usize, at_ms: i64, value: Value) {
        self.series.entry(labels(series)).or_default().entry(at_ms).or_insert(value);
    }

    pub(super) fn contents(&self, start_ms: i64, end_ms: i64) -> Vec<(Labels, Vec<(i64, Value)>)> {
        self.series
            .iter()
            .map(|(labels, known)| {
                let within = known.range(start_ms..=end_ms.max(start_ms));
                (labels.clone(), within.map(|(at_ms, value)| (*at_ms, *value)).collect::<Vec<_>>())
            })
            .filter(|(_, samples)| !samples.is_empty() && start_ms <= end_ms)
            .collect()
    }
}

pub(super) fn contents(series: &[SeriesData]) -> Vec<(Labels, Vec<(i64, Value)>)> {
    let plain = |series: &SeriesData| {
        let mut all: Vec<(i64, Value)> =
            series.points.iter().map(|p| (p.at_ms, Value::Float(p.value.to_bits()))).collect();
        let bits = |h: &Histogram| Value::Histogram(h.count.to_bits());
        all.extend(series.histograms.iter().map(|p| (p.at_ms, bits(&p.value))));
        all.sort_by_key(|(at_ms, _)| *at_ms);
        (series.labels.clone(), all)
    };
    series.iter().map(plain).collect()
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        4 => (0u32..1_000).prop_map(f64::from),
        2 => (0u32..100_000).prop_map(|n| f64::from(n) / 100.0),
        1 => any::<f64>(),
        1 => Just(monitor_model::STALE),
    ];
    // Times that meet again: the same sample twice, and two values for one time.
    let offset = prop_oneof![4 => Just(0i64), 2 => -20i64..0, 1 => -280i64..10].prop_map(|s| s * 1_000);
    let row = (0..SERIES, offset.clone(), value);
    let row_histogram = (0..SERIES, offset, 0u32..50);
    prop_oneof![
        10 => prop::collection::vec(row, 1..12).prop_map(Step::Append),
        2 => prop::collection::vec(row_histogram, 1..4).prop_map(Step::Histograms),
        8 => (1i64..300).prop_map(|s| Step::Pass(s * 1_000)),
        1 => Just(Step::Pass(26 * 3_600_000)),
        4 => Just(Step::Maintain),
        2 => Just(Step::Flush),
        1 => Just(Step::Compact),
        2 => Just(Step::Reopen),
        1 => (0..SERIES, 0i64..600, 0i64..600).prop_map(|(s, a, b)| Step::Delete(s, a * 1_000, b * 1_000)),
        2 => (0i64..600, 0i64..600).prop_map(|(a, b)| Step::Query(a * 1_000, b * 1_000)),
    ]
}

/// A store, its model and the time.
pub(super) struct Pair {
    pub(super) store: Option<Store>,
    pub(super) model: Model,
    /// The model if the step that failed was done after all.
    pub(super) perhaps: Option<Model>,
    pub(super) now_ms: i64,
    settings: Settings,
}

impl Pair {
    pub(super) fn new(dir: &Path, disk: Disk) -> Result<Self, crate::Error> {
        let settings = settings();
        let (store, report) = Store::open_with(dir, settings.clone(), NOW, disk)?;
        assert_eq!(report.damage, []);
        Ok(Self { store: Some(store), model: Model::default(), perhaps: None, now_ms: NOW, settings })
    }

    /// Does a step in both; an error is the disk's.
    pub(super) fn step(&mut self, dir: &Path, disk: &Disk, step: &Step) -> Result<(), crate::Error> {
        let store = self.store.as_ref().expect("is open");
        match step {
            Step::Append(_) | Step::Histograms(_) => self.append(step)?,
            Step::Pass(ms) => self.now_ms += ms,
            Step::Maintain => assert_eq!(store.maintain(self.now_ms)?.damage, []),
            Step::Flush => {
                let mut upkeep = crate::store::locked(&store.upkeep);
                store.flush(&mut upkeep, self.now_ms)?;
            }
            Step::Compact => store.compact(self.now_ms)?,
            Step::Reopen => {
                self.store = None;
                let opened = Store::open_with(dir, self.settings.clone(), self.now_ms, disk.clone())?;
                assert_eq!(opened.1.damage, []);
                self.store = Some(opened.0);
            }
            Step::Delete(series, from, length) => {
                let (start_ms, end_ms) = (self.now_ms - from, self.now_ms - from + length);
                let mut model = self.model.clone();
                if let Some(known) = model.series.get_mut(&labels(*series)) {
                    known.retain(|at_ms, _| !(start_ms..=end_ms).contains(at_ms));
                }
                self.perhaps = Some(model);
                store.delete(&[Matcher::equal("series", &series.to_string())], start_ms, end_ms)?;
                self.model = self.perhaps.take().expect("was set");
            }
            Step::Query(from, length) => {
                let (start_ms, end_ms) = (self.now_ms - from, self.now_ms - from + length);
                let found = contents(&select(store, &[], start_ms, end_ms).0);
                assert_eq!(found, self.model.contents(start_ms, end_ms));
            }
        }
        Ok(())
    }

    fn append(&mut self, step: &Step) -> Result<(), crate::Error> {
        let store = self.store.as_ref().expect("is open");
        let mut batch = Batch::default();
        let series = |n: usize| store.series(&labels(n)).unwrap();
        match step {
            Step::Append(rows) => batch.floats.extend(rows.iter().map(|(n, offset, value)| FloatRow {
                series: series(*n),
                at_ms: self.now_ms + offset,
                value: *value,
                start_ms: 0,
            })),
            Step::Histograms(rows) => batch.histograms.extend(rows.iter().map(|(n, offset, count)| {
                let (series, at_ms) = (series(*n), self.now_ms + offset);
                HistogramRow { series, at_ms, value: histogram(*count), start_ms: 0 }
            })),
            _ => {}
        }
        let rows: Vec<(usize, i64, Value)> = match step {
            Step::Append(rows) => {
                rows.iter().map(|(n, o, v)| (*n, self.now_ms + o, Value::Float(v.to_bits()))).collect()
            }
            Step::Histograms(rows) => {
                let bits = |n: &u32| Value::Histogram(f64::from(*n).to_bits());
                rows.iter().map(|(n, o, v)| (*n, self.now_ms + o, bits(v))).collect()
            }
            _ => Vec::new(),
        };
        // All of it is taken, and of two values for a time the first: what is refused
        // for its time is tried elsewhere.
        let mut model = self.model.clone();
        for (n, at_ms, value) in &rows {
            model.append(*n, *at_ms, *value);
        }
        self.perhaps = Some(model);
        let report = store.append(&batch, self.now_ms)?;
        let refused: u64 = report.refused.iter().map(|(_, count)| count).sum();
        assert_eq!(report.stored + report.duplicates + refused, rows.len() as u64);
        let of = |why| report.refused.iter().find(|(reason, _)| *reason == why).map_or(0, |(_, n)| *n);
        assert_eq!(of(Refusal::Conflict), refused);
        self.model = self.perhaps.take().expect("was set");
        Ok(())
    }

    pub(super) fn check(&self) {
        let found = contents(&everything(self.store.as_ref().expect("is open")));
        assert_eq!(found, self.model.contents(i64::MIN, i64::MAX));
    }
}

fn run(steps: &[Step]) {
    let dir = fast_dir();
    let disk = Disk::default();
    let mut pair = Pair::new(dir.path(), disk.clone()).unwrap();
    for step in steps {
        pair.step(dir.path(), &disk, step).unwrap();
    }
    pair.check();
    pair.step(dir.path(), &disk, &Step::Reopen).unwrap();
    pair.check();
    pair.step(dir.path(), &disk, &Step::Compact).unwrap();
    pair.check();
}

/// Crashes at one step of the disk after another; what was acknowledged is there
/// when the store is opened again, and what was not is there whole or not at all
/// for each sample.
fn crash(steps: &[Step], at: i64) -> bool {
    let dir = fast_dir();
    let faults = Faults::crash_after(at);
    let disk = Disk::with(faults.clone());
    let Ok(mut pair) = Pair::new(dir.path(), disk.clone()) else { return true };
    for step in steps {
        if pair.step(dir.path(), &disk, step).is_err() {
            break;
        }
        pair.perhaps = None;
        if faults.struck() {
            break;
        }
    }
    let crashed = faults.struck();
    pair.store = None;
    let (store, report) = Store::open(dir.path(), settings(), pair.now_ms).unwrap();
    assert_eq!(report.damage, [], "crash at step {at}");
    let found = contents(&everything(&store));
    let right = pair.model.contents(i64::MIN, i64::MAX);
    let perhaps = pair.perhaps.take().map(|model| model.contents(i64::MIN, i64::MAX));
    if found != right && Some(&found) != perhaps.as_ref() {
        // A write that was cut may have left whole records of the batch.
        let lost = |all: &[(Labels, Vec<(i64, Value)>)], from: &[(Labels, Vec<(i64, Value)>)]| {
            from.iter().any(|(labels, samples)| {
                let there = all.iter().find(|(l, _)| l == labels).map_or(&[][..], |(_, s)| s);
                samples.iter().any(|sample| !there.contains(sample))
            })
        };
        let wrong = perhaps.as_ref().is_none_or(|perhaps| lost(perhaps, &found));
        assert!(!lost(&found, &right) && !wrong, "crash at step {at}:\n{found:?}\n{right:?}\n{perhaps:?}");
    }
    // And it goes on from there.
    pair.store = Some(store);
    pair.perhaps = None;
    assert!(pair.step(dir.path(), &Disk::default(), &Step::Compact).is_ok());
    let after = contents(&everything(pair.store.as_ref().unwrap()));
    assert_eq!(after, found);
    crashed
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_answers_as_the_model(steps in prop::collection::vec(any_step(), 1..60)) {
        run(&steps);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn a_crash_at_any_write_loses_nothing(steps in prop::collection::vec(any_step(), 10..30)) {
        let mut at = 0;
        while crash(&steps, at) {
            at += 1;
        }
        prop_assert!(at > 5);
    }
}
