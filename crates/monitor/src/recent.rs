//! What the disk did not take, in memory for a while: rules see it, so that a
//! full disk silences no alert and resolves none. It is lost to queries and to
//! the next process, and counted as failed.

use crate::state::lock;
use monitor_model::{
    Histogram, HistogramPoint, Labels, Matcher, Point, Selection, SeriesData, SeriesStream, Source,
    SourceError,
};
use monitor_store::Store;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

/// Twice what a selector looks back by default, which is what rules' ranges are, too.
const KEPT_MS: i64 = 600_000;

/// Samples kept at once, some 100 MB; where there are more, the oldest go.
const MAX_SAMPLES: usize = if cfg!(test) { 1_000 } else { 4_000_000 };

/// The samples that were not stored.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    /// Whether there are any: asked by every rule of a disk that is well.
    any: AtomicBool,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    series: BTreeMap<Labels, Points>,
    samples: usize,
    forgot_ms: i64,
    shrunk_ms: i64,
}

/// A series' samples, in the order in which they came.
#[derive(Debug, Default)]
struct Points {
    floats: VecDeque<Point>,
    histograms: VecDeque<HistogramPoint>,
}

impl Recent {
    /// Keeps numbers and histograms that the disk did not take.
    pub(crate) fn keep(
        &self,
        floats: impl Iterator<Item = (Labels, Point)>,
        histograms: impl Iterator<Item = (Labels, i64, Arc<Histogram>)>,
        now_ms: i64,
    ) {
        let mut held = lock(&self.held);
        held.forget(now_ms);
        for (labels, point) in floats {
            if held.has_room(now_ms) {
                held.series.entry(labels).or_default().floats.push_back(point);
                held.samples += 1;
            }
        }
        for (labels, at_ms, value) in histograms {
            if held.has_room(now_ms) {
                held.series.entry(labels).or_default().histograms.push_back(HistogramPoint { at_ms, value });
                held.samples += 1;
            }
        }
        self.any.store(held.samples > 0, Relaxed);
    }

    /// Forgets what is too old; called when the disk is well again, too.
    pub(crate) fn forget(&self, now_ms: i64) {
        if self.any.load(Relaxed) {
            let mut held = lock(&self.held);
            held.forget(now_ms);
            self.any.store(held.samples > 0, Relaxed);
        }
    }

    fn matching(&self, selection: &Selection<'_>) -> VecDeque<SeriesData> {
        if !self.any.load(Relaxed) {
            return VecDeque::new();
        }
        let held = lock(&self.held);
        let wanted = selection.start_ms..=selection.end_ms;
        let found = held.series.iter().filter(|(labels, _)| Matcher::all_match(selection.matchers, labels));
        let of = |(labels, points): (&Labels, &Points)| {
            let mut floats: Vec<Point> =
                points.floats.iter().filter(|point| wanted.contains(&point.at_ms)).copied().collect();
            let mut histograms: Vec<HistogramPoint> =
                points.histograms.iter().filter(|point| wanted.contains(&point.at_ms)).cloned().collect();
            floats.sort_by_key(|point| point.at_ms);
            floats.dedup_by_key(|point| point.at_ms);
            histograms.sort_by_key(|point| point.at_ms);
            histograms.dedup_by_key(|point| point.at_ms);
            SeriesData { histograms, ..SeriesData::of_points(labels.clone(), floats) }
        };
        found.map(of).filter(|series| !series.is_empty()).collect()
    }
}

impl Held {
    /// Whether there is room for one more, once the oldest were forgotten.
    fn has_room(&mut self, now_ms: i64) -> bool {
        // Down to half, and once a second at most: not each sample asks for it anew.
        if self.samples >= MAX_SAMPLES && now_ms.abs_diff(self.shrunk_ms) >= 1_000 {
            self.shrunk_ms = now_ms;
            let mut kept_ms = KEPT_MS;
            while self.samples > MAX_SAMPLES / 2 && kept_ms > 1_000 {
                kept_ms /= 2;
                self.keep_only(now_ms, kept_ms);
            }
        }
        self.samples < MAX_SAMPLES
    }

    /// Once a second at most: each failed append asks for it.
    fn forget(&mut self, now_ms: i64) {
        if now_ms.abs_diff(self.forgot_ms) >= 1_000 {
            self.forgot_ms = now_ms;
            self.keep_only(now_ms, KEPT_MS);
        }
    }

    fn keep_only(&mut self, now_ms: i64, kept_ms: i64) {
        // What is ahead was kept by a clock that was.
        let kept = now_ms.saturating_sub(kept_ms)..=now_ms.saturating_add(KEPT_MS);
        self.series.retain(|_, points| {
            points.floats.retain(|point| kept.contains(&point.at_ms));
            points.histograms.retain(|point| kept.contains(&point.at_ms));
            !(points.floats.is_empty() && points.histograms.is_empty())
        });
        self.samples = self.series.values().map(|points| points.floats.len() + points.histograms.len()).sum();
    }
}

/// The store, and what it could not take.
pub(crate) struct Seen<'a> {
    pub(crate) store: &'a Store,
    pub(crate) recent: &'a Recent,
}

impl Source for Seen<'_> {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        let stored = self.store.select(selection)?;
        let kept = self.recent.matching(selection);
        Ok(if kept.is_empty() { stored } else { Box::new(Merged { stored, next: None, kept }) })
    }

    fn raw_since_ms(&self) -> i64 {
        self.store.raw_since_ms()
    }
}

/// Both, ascending by labels.
struct Merged<'a> {
    stored: Box<dyn SeriesStream + 'a>,
    /// The store's next series, once it was asked for.
    next: Option<SeriesData>,
    kept: VecDeque<SeriesData>,
}

impl SeriesStream for Merged<'_> {
    fn next_into(&mut self, into: &mut SeriesData) -> Result<bool, SourceError> {
        if self.next.is_none() {
            self.next = self.stored.next_series()?;
        }
        let order = match (&self.next, self.kept.front()) {
            (None, None) => return Ok(false),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(stored), Some(kept)) => stored.labels.cmp(&kept.labels),
        };
        let stored = if order.is_le() { self.next.take() } else { None };
        let kept = if order.is_ge() { self.kept.pop_front() } else { None };
        *into = match (stored, kept) {
            (Some(stored), Some(kept)) => together(stored, kept),
            (one, other) => one.or(other).unwrap_or_default(),
        };
        Ok(true)
    }

    fn warnings(&mut self) -> Vec<String> {
        self.stored.warnings()
    }
}

/// What the store has goes before what it has not.
fn together(mut stored: SeriesData, kept: SeriesData) -> SeriesData {
    // Who needs start timestamps does without them for once.
    stored.starts.clear();
    stored.histogram_starts.clear();
    stored.points.extend(kept.points);
    stored.points.sort_by_key(|point| point.at_ms);
    stored.points.dedup_by_key(|point| point.at_ms);
    stored.histograms.extend(kept.histograms);
    stored.histograms.sort_by_key(|point| point.at_ms);
    stored.histograms.dedup_by_key(|point| point.at_ms);
    stored
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_store::Sample;

    const NOW: i64 = 1_700_000_000_000;

    fn labels(name: &str) -> Labels {
        Labels::from_pairs([("__name__", "m"), ("n", name)])
    }

    fn point(at_ms: i64, value: f64) -> Point {
        Point { at_ms, value }
    }

    fn seen(store: &Store, recent: &Recent, matcher: Matcher) -> Vec<(String, Vec<(i64, f64)>)> {
        let matchers = [matcher];
        let source = Seen { store, recent };
        let mut stream = source.select(&Selection::new(&matchers, NOW, NOW + 60_000)).unwrap();
        let mut all = Vec::new();
        while let Some(series) = stream.next_series().unwrap() {
            let points = series.points.iter().map(|p| (p.at_ms - NOW, p.value)).collect();
            all.push((series.labels.get("n").unwrap().to_owned(), points));
        }
        all
    }

    #[test]
    fn rules_see_both_in_order_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), monitor_store::Settings::default(), NOW).unwrap();
        let recent = Recent::default();
        for (name, at_ms) in [("b", 0), ("b", 2_000), ("d", 0)] {
            let labels = labels(name);
            let sample = Sample { labels: &labels, at_ms: NOW + at_ms, value: 1.0 };
            store.append_samples(&[sample], NOW).unwrap();
        }
        let all = || Matcher::equal("__name__", "m");
        let stored = [("b".to_owned(), vec![(0, 1.0), (2_000, 1.0)]), ("d".to_owned(), vec![(0, 1.0)])];
        assert_eq!(seen(&store, &recent, all()), stored);
        let kept = [("a", 5), ("b", 1_000), ("b", 2_000), ("b", 90_000), ("c", 7), ("e", 9)];
        let floats = kept.map(|(name, at_ms)| (labels(name), point(NOW + at_ms, 2.0)));
        recent.keep(floats.into_iter(), std::iter::empty(), NOW);
        let expected = [
            ("a".to_owned(), vec![(5, 2.0)]),
            // Of two samples of one time the one that is stored counts.
            ("b".to_owned(), vec![(0, 1.0), (1_000, 2.0), (2_000, 1.0)]),
            ("c".to_owned(), vec![(7, 2.0)]),
            ("d".to_owned(), vec![(0, 1.0)]),
            ("e".to_owned(), vec![(9, 2.0)]),
        ];
        assert_eq!(seen(&store, &recent, all()), expected);
        assert_eq!(seen(&store, &recent, Matcher::equal("n", "c")), expected[2..3]);
        assert!(seen(&store, &recent, Matcher::equal("n", "f")).is_empty());
        recent.forget(NOW + KEPT_MS + 500);
        assert_eq!(seen(&store, &recent, all()), [expected[1].clone(), expected[3].clone()]);
        recent.forget(NOW + 2 * KEPT_MS);
        assert_eq!(seen(&store, &recent, all()), stored);
    }

    #[test]
    fn memory_is_bounded_and_has_the_newest() {
        let recent = Recent::default();
        // Ten a second, for ten times as long as there is room for.
        for n in 0..10 * MAX_SAMPLES as i64 {
            let now_ms = NOW + n * 100;
            let one = [(labels("a"), point(now_ms, n as f64))];
            recent.keep(one.into_iter(), std::iter::empty(), now_ms);
            let held = lock(&recent.held);
            assert!(held.samples <= MAX_SAMPLES);
            assert_eq!(held.series[&labels("a")].floats.back().unwrap().at_ms, now_ms);
        }
        assert!(lock(&recent.held).samples > MAX_SAMPLES / 4);
        // More of one moment than there is room for: some of them are not seen.
        let many = (0..2 * MAX_SAMPLES).map(|n| (labels(&n.to_string()), point(NOW, 0.0)));
        let recent = Recent::default();
        recent.keep(many, std::iter::empty(), NOW);
        assert_eq!(lock(&recent.held).samples, MAX_SAMPLES);
        recent.forget(NOW + 2 * KEPT_MS);
        assert_eq!(lock(&recent.held).samples, 0);
    }
}
