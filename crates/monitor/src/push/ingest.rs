//! What is pushed becomes rows of the store.

use super::keys::{Cache, Known};
use monitor_model::histogram::HistogramError;
use monitor_model::{Exemplar, Histogram, Labels, Metadata, MetricType};
use monitor_store::{
    AppendReport, Batch, Error, ExemplarRow, FloatRow, HistogramRow, Refusal, SeriesRef, Store,
};
use monitor_wire::WireError;
use monitor_wire::otlp::{self, OtlpSink};
use monitor_wire::remote::{RawLabels, RemoteExemplar, RemoteMetadata, RemoteSink, Version, Written};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Rows of one request: numbers, and of the larger ones histograms and exemplars.
/// A message may have one in two bytes; senders put 10,000 into a request.
const MAX_ROWS: usize = 1_000_000;
const MAX_LARGE_ROWS: usize = 100_000;

/// What became of a request that could be read.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Taken {
    /// What the store has, duplicates too.
    pub(crate) written: Written,
    /// Samples that were stored, and were not there.
    pub(crate) stored: u64,
    /// Samples that were there.
    pub(crate) duplicates: u64,
    /// Samples that are too old, or contradict another one.
    pub(crate) out_of_order: u64,
    /// Samples that are refused otherwise.
    pub(crate) refused: u64,
    /// Why, of the first.
    pub(crate) why: Option<String>,
}

/// Why a request was not taken at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    /// It is wrong: sending it again changes nothing.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The store's disk: it may go later.
    #[error(transparent)]
    Store(#[from] Error),
}

/// Told of each batch that the store has.
pub(crate) type Tap<'a> = &'a dyn Fn(&Batch);

/// Stores a remote-write message, decompressed.
pub(crate) fn remote_write(
    store: &Store,
    cache: &Cache,
    version: Version,
    body: &[u8],
    now_ms: i64,
    tap: Tap<'_>,
) -> Result<Taken, Failed> {
    let mut rows = Rows::default();
    let none = HashSet::new();
    let found = {
        let mut reader = Reader {
            store,
            known: cache.known(),
            rows: &mut rows,
            series: None,
            new: None,
            forgotten: &none,
        };
        version.read(body, &cache.hash(version), &mut reader)?;
        reader.known.found
    };
    cache.keep(found);
    let forgotten = rows.append(store, now_ms, tap)?;
    if !forgotten.is_empty() {
        // The store forgot series that the cache still had: what is theirs is
        // read again, and their labels with it.
        let found = {
            let mut reader = Reader {
                store,
                known: cache.known(),
                rows: &mut rows,
                series: None,
                new: None,
                forgotten: &forgotten,
            };
            version.read(body, &cache.hash(version), &mut reader)?;
            reader.known.found
        };
        cache.keep(found);
        let again = rows.append(store, now_ms, tap)?;
        rows.refuse(again.len() as u64, || Refusal::Forgotten.to_string());
    }
    Ok(rows.taken)
}

/// Stores an OTLP message, decompressed; gives what became of its samples, and
/// how many data points were refused.
pub(crate) fn otlp_metrics(
    store: &Store,
    settings: &otlp::Settings,
    json: bool,
    body: &[u8],
    now_ms: i64,
    tap: Tap<'_>,
) -> Result<Taken, Failed> {
    let read = |rows: &mut Rows| {
        let mut sink = Otlp { store, rows };
        if json {
            otlp::read_json(body, settings, &mut sink)
        } else {
            otlp::read_protobuf(body, settings, &mut sink)
        }
    };
    let mut rows = Rows::default();
    read(&mut rows)?;
    let forgotten = rows.append(store, now_ms, tap)?;
    if !forgotten.is_empty() {
        // Series are asked for just before: it forgot one in between. All again:
        // what is stored is a duplicate then.
        let before = std::mem::take(&mut rows.taken);
        read(&mut rows)?;
        let again = rows.append(store, now_ms, tap)?;
        rows.refuse(again.len() as u64, || Refusal::Forgotten.to_string());
        rows.taken.stored += before.stored;
        rows.taken.duplicates = rows.taken.duplicates.saturating_sub(before.stored);
    }
    Ok(rows.taken)
}

/// Rows on their way, and what became of others.
#[derive(Default)]
struct Rows {
    batch: Batch,
    metadata: BTreeMap<String, Metadata>,
    taken: Taken,
}

impl Rows {
    fn refuse(&mut self, samples: u64, why: impl FnOnce() -> String) {
        if samples > 0 {
            self.taken.refused += samples;
            self.taken.why.get_or_insert_with(why);
        }
    }

    fn float(&mut self, row: FloatRow) {
        if self.batch.floats.len() < MAX_ROWS {
            self.batch.floats.push(row);
        } else {
            self.refuse(1, || format!("a request has at most {MAX_ROWS} samples"));
        }
    }

    fn histogram(&mut self, row: HistogramRow) {
        if self.batch.histograms.len() < MAX_LARGE_ROWS {
            self.batch.histograms.push(row);
        } else {
            self.refuse(1, || format!("a request has at most {MAX_LARGE_ROWS} histograms"));
        }
    }

    fn exemplar(&mut self, row: ExemplarRow) {
        // What is more is left out: exemplars are examples.
        if self.batch.exemplars.len() < MAX_LARGE_ROWS {
            self.batch.exemplars.push(row);
        }
    }

    /// Appends what is there; gives the series that the store has forgotten.
    fn append(&mut self, store: &Store, now_ms: i64, tap: Tap<'_>) -> Result<HashSet<SeriesRef>, Failed> {
        let mut batch = std::mem::take(&mut self.batch);
        let mut forgotten = HashSet::new();
        // Numbers and histograms are counted apart in the answer.
        let numbers = Batch { floats: std::mem::take(&mut batch.floats), ..Batch::default() };
        for part in [numbers, batch] {
            if part.is_empty() {
                continue;
            }
            let report = store.append(&part, now_ms)?;
            tap(&part);
            let series = report.forgotten_floats.iter().map(|at| part.floats[*at].series);
            forgotten.extend(series);
            let series = report.forgotten_histograms.iter().map(|at| part.histograms[*at].series);
            forgotten.extend(series);
            self.count(&part, report);
        }
        if !self.metadata.is_empty() {
            let metadata = std::mem::take(&mut self.metadata);
            store.append_metadata(metadata.iter().map(|(name, about)| (name.as_str(), about)))?;
        }
        Ok(forgotten)
    }

    fn count(&mut self, part: &Batch, report: AppendReport) {
        let has = report.stored + report.duplicates;
        let taken = &mut self.taken;
        taken.stored += report.stored;
        taken.duplicates += report.duplicates;
        taken.written.exemplars += report.exemplars;
        if part.histograms.is_empty() {
            taken.written.samples += has;
        } else {
            taken.written.histograms += has;
        }
        for (why, count) in &report.refused {
            match why {
                Refusal::Forgotten => continue,
                // Told by nobody who waits for an answer: exemplars are extra.
                Refusal::ExemplarTooLong => {}
                why if why.result() == "out_of_order" => taken.out_of_order += count,
                _ => taken.refused += count,
            }
            taken.why.get_or_insert_with(|| why.to_string());
        }
    }
}

/// Reads remote write into rows.
struct Reader<'a> {
    store: &'a Store,
    known: Known<'a>,
    rows: &'a mut Rows,
    series: Option<SeriesRef>,
    /// The metric's name, where the series was not in the cache.
    new: Option<String>,
    /// Where these are named only what is theirs is read, and they are asked for
    /// anew.
    forgotten: &'a HashSet<SeriesRef>,
}

impl Reader<'_> {
    fn define(&mut self, labels: &RawLabels<'_>) -> Option<SeriesRef> {
        let mut say = |why: &dyn std::fmt::Display, of: &Labels| {
            self.rows.taken.why.get_or_insert_with(|| match of.is_empty() {
                true => why.to_string(),
                false => format!("{why}: {of}"),
            });
        };
        let parsed = match labels.series() {
            Ok(parsed) => parsed,
            Err(why) => {
                say(&why, &Labels::empty());
                return None;
            }
        };
        let series = match self.store.series(&parsed) {
            Ok(series) => series,
            Err(why) => {
                say(&why, &parsed);
                return None;
            }
        };
        if let Some(key) = labels.key() {
            self.known.found.push((key, series));
        }
        self.new = parsed.name().map(str::to_owned);
        Some(series)
    }
}

impl RemoteSink for Reader<'_> {
    fn series(&mut self, labels: &RawLabels<'_>) -> bool {
        let cached = labels.key().and_then(|key| self.known.get(key));
        if !self.forgotten.is_empty() && cached.is_none_or(|series| !self.forgotten.contains(&series)) {
            return false;
        }
        self.new = None;
        self.series = match cached.filter(|_| self.forgotten.is_empty()) {
            Some(series) => Some(series),
            None => self.define(labels),
        };
        // Also what has no series is counted.
        true
    }

    fn sample(&mut self, at_ms: i64, value: f64, start_ms: i64) {
        match self.series {
            Some(series) => self.rows.float(FloatRow { series, at_ms, value, start_ms }),
            None => self.rows.taken.refused += 1,
        }
    }

    fn histogram(&mut self, at_ms: i64, value: Histogram, start_ms: i64) {
        match self.series {
            Some(series) => {
                let value = Arc::new(value);
                self.rows.histogram(HistogramRow { series, at_ms, value, start_ms });
            }
            None => self.rows.taken.refused += 1,
        }
    }

    fn refused_histogram(&mut self, at_ms: i64, why: &HistogramError) {
        self.rows.refuse(1, || format!("the histogram at {at_ms} is not valid: {why}"));
    }

    fn exemplar(&mut self, exemplar: RemoteExemplar<'_>) {
        if let (Some(series), Ok(labels)) = (self.series, exemplar.labels.labels()) {
            let (value, at_ms) = (exemplar.value, exemplar.at_ms);
            let exemplar = Exemplar { labels, value, at_ms: Some(at_ms) };
            self.rows.exemplar(ExemplarRow { series, exemplar, at_ms });
        }
    }

    fn series_metadata(&mut self, metadata: RemoteMetadata<'_>) {
        // 2.0 tells it with each series in each request: once is enough.
        if let Some(name) = self.new.take().filter(|_| !metadata.is_empty()) {
            let family = family(&name, metadata.kind).to_owned();
            self.rows.metadata.insert(family, metadata.to_metadata());
        }
    }

    fn family_metadata(&mut self, family: &str, metadata: RemoteMetadata<'_>) {
        if !family.is_empty() && !metadata.is_empty() {
            self.rows.metadata.insert(family.to_owned(), metadata.to_metadata());
        }
    }
}

/// Reads OTLP into rows.
struct Otlp<'a> {
    store: &'a Store,
    rows: &'a mut Rows,
}

impl Otlp<'_> {
    fn series(&mut self, labels: &Labels) -> Option<SeriesRef> {
        match self.store.series(labels) {
            Ok(series) => Some(series),
            Err(why) => {
                self.rows.refuse(1, || format!("{why}: {labels}"));
                None
            }
        }
    }
}

impl OtlpSink for Otlp<'_> {
    fn sample(&mut self, labels: &Labels, at_ms: i64, value: f64, start_ms: i64) {
        if let Some(series) = self.series(labels) {
            self.rows.float(FloatRow { series, at_ms, value, start_ms });
        }
    }

    fn histogram(&mut self, labels: &Labels, at_ms: i64, value: Histogram, start_ms: i64) {
        if let Some(series) = self.series(labels) {
            let value = Arc::new(value);
            self.rows.histogram(HistogramRow { series, at_ms, value, start_ms });
        }
    }

    fn exemplar(&mut self, labels: &Labels, exemplar: Exemplar) {
        if let Ok(series) = self.store.series(labels) {
            let at_ms = exemplar.at_ms.unwrap_or(0);
            self.rows.exemplar(ExemplarRow { series, exemplar, at_ms });
        }
    }

    fn metadata(&mut self, family: &str, metadata: &Metadata) {
        self.rows.metadata.insert(family.to_owned(), metadata.clone());
    }

    fn refused(&mut self, points: u64, why: &otlp::Refused) {
        self.rows.refuse(points, || why.to_string());
    }
}

/// The metric family of a series: 2.0 says of series what belongs to families.
fn family(name: &str, kind: MetricType) -> &str {
    let ends: &[&str] = match kind {
        MetricType::Histogram | MetricType::GaugeHistogram => &["_bucket", "_count", "_sum"],
        MetricType::Summary => &["_count", "_sum"],
        _ => &[],
    };
    ends.iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_model::{METRIC_NAME, Matcher, Selection, SeriesData, Source};
    use monitor_wire::remote::{Outgoing, OutgoingHistogram, OutgoingSample, write_v1, write_v2};

    const NOW_MS: i64 = 1_700_000_000_000;

    fn open() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), monitor_store::Settings::default(), NOW_MS).unwrap();
        (dir, store)
    }

    fn message(version: Version, series: &[Outgoing<'_>]) -> Vec<u8> {
        let mut body = Vec::new();
        match version {
            Version::V1 => write_v1(series, &[], &mut body),
            Version::V2 => write_v2(series, &mut body),
        }
        body
    }

    fn stored(store: &Store, name: &str) -> SeriesData {
        let matchers = [Matcher::equal(METRIC_NAME, name)];
        let mut stream = store.select(&Selection::new(&matchers, 0, i64::MAX)).unwrap();
        stream.next_series().unwrap().unwrap_or_default()
    }

    fn push(store: &Store, cache: &Cache, version: Version, series: &[Outgoing<'_>]) -> Taken {
        remote_write(store, cache, version, &message(version, series), NOW_MS, &|_| {}).unwrap()
    }

    #[test]
    fn both_versions_reach_the_same_series() {
        let (_dir, store) = open();
        let cache = Cache::new(1_000);
        let histogram = Histogram::from_script("{{count:3 sum:2 buckets:[1 2]}}").unwrap();
        let metadata = Metadata { kind: MetricType::Counter, unit: "s".into(), help: "h".into() };
        for (i, version) in [Version::V1, Version::V2, Version::V1, Version::V2].into_iter().enumerate() {
            let at_ms = NOW_MS + i as i64;
            let samples = [OutgoingSample { at_ms, value: i as f64, start_ms: NOW_MS - 5 }];
            let histograms = [OutgoingHistogram { at_ms, value: &histogram, start_ms: 0 }];
            let series = [
                Outgoing {
                    labels: Labels::from_pairs([(METRIC_NAME, "up"), ("job", "a")]),
                    samples: &samples,
                    metadata: Some(&metadata),
                    ..Outgoing::default()
                },
                Outgoing {
                    labels: Labels::from_pairs([(METRIC_NAME, "h")]),
                    histograms: &histograms,
                    ..Outgoing::default()
                },
            ];
            let taken = push(&store, &cache, version, &series);
            let written = Written { samples: 1, histograms: 1, exemplars: 0 };
            assert_eq!(taken, Taken { written, stored: 2, ..Taken::default() }, "{version:?}");
            // Again: there already.
            let taken = push(&store, &cache, version, &series);
            assert_eq!(taken, Taken { written, duplicates: 2, ..Taken::default() }, "{version:?}");
        }
        let up = stored(&store, "up");
        assert_eq!(up.points.iter().map(|point| point.value).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0]);
        assert_eq!(up.starts, [0, NOW_MS - 5, 0, NOW_MS - 5]);
        assert_eq!(stored(&store, "h").histograms.len(), 4);
        assert_eq!(store.metadata(Some("up")).get("up"), Some(&metadata));
    }

    #[test]
    fn what_is_refused_is_said_and_the_rest_is_stored() {
        let (_dir, store) = open();
        let cache = Cache::new(1_000);
        let sample = |at_ms| OutgoingSample { at_ms, value: 1.0, start_ms: 0 };
        let good = [sample(NOW_MS)];
        let bad = [sample(NOW_MS), sample(NOW_MS + 365 * 86_400_000)];
        let old = [sample(5)];
        // What is old is so beside something newer.
        let labels = Labels::from_pairs([(METRIC_NAME, "first")]);
        push(&store, &cache, Version::V1, &[Outgoing { labels, samples: &good, ..Outgoing::default() }]);
        for version in [Version::V1, Version::V2] {
            let series = |labels: &[(&str, &str)], samples| Outgoing {
                labels: Labels::from_pairs(labels.iter().copied()),
                samples,
                ..Outgoing::default()
            };
            let name = format!("{version:?}");
            let taken = push(
                &store,
                &cache,
                version,
                &[
                    series(&[("job", "nameless")], &bad),
                    series(&[(METRIC_NAME, name.as_str())], &good),
                    series(&[(METRIC_NAME, "future")], &bad),
                    series(&[(METRIC_NAME, "old")], &old),
                ],
            );
            let first = version == Version::V1;
            assert_eq!(taken.written.samples, 2, "{taken:?}");
            assert_eq!((taken.stored, taken.duplicates), if first { (2, 0) } else { (1, 1) }, "{taken:?}");
            assert_eq!((taken.refused, taken.out_of_order), (3, 1), "{taken:?}");
            assert!(taken.why.unwrap().contains("no `__name__`"));
            assert_eq!(stored(&store, &name).points.len(), 1);
        }
    }

    #[test]
    fn a_broken_message_stores_nothing() {
        let (_dir, store) = open();
        let cache = Cache::new(1_000);
        let samples = [OutgoingSample { at_ms: NOW_MS, value: 1.0, start_ms: 0 }];
        let labels = Labels::from_pairs([(METRIC_NAME, "up")]);
        let mut body = message(Version::V1, &[Outgoing { labels, samples: &samples, ..Outgoing::default() }]);
        body.extend_from_slice(&[0x0a, 200]);
        let failed = remote_write(&store, &cache, Version::V1, &body, NOW_MS, &|_| {}).unwrap_err();
        assert!(failed.to_string().contains("cut off"), "{failed}");
        assert_eq!(store.stats().stored, 0);
    }

    #[test]
    fn otlp_is_stored_and_tapped() {
        let (_dir, store) = open();
        let body = br#"{"resourceMetrics":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
            "scopeMetrics":[{"metrics":[
            {"name":"load","gauge":{"dataPoints":[{"timeUnixNano":"1700000000000000000","asDouble":0.5}]}},
            {"name":"gone","sum":{"aggregationTemporality":1,"dataPoints":[{"asInt":1},{"asInt":2}]}}]}]}]}"#;
        let seen = std::cell::Cell::new(0);
        let tap = |batch: &Batch| seen.set(seen.get() + batch.floats.len());
        let taken = otlp_metrics(&store, &otlp::Settings::default(), true, body, NOW_MS, &tap).unwrap();
        assert_eq!((taken.stored, taken.refused, seen.get()), (1, 2, 1), "{taken:?}");
        assert!(taken.why.unwrap().contains("delta temporality"));
        assert_eq!(stored(&store, "load").labels.get("job"), Some("shop"));
        assert_eq!(store.metadata(Some("load"))["load"].kind, MetricType::Gauge);
    }

    #[test]
    fn rows_are_bounded() {
        let (_dir, store) = open();
        let cache = Cache::new(1_000);
        let labels = Labels::from_pairs([(METRIC_NAME, "up")]);
        let samples = [OutgoingSample { at_ms: NOW_MS, value: 1.0, start_ms: 0 }];
        let one = message(Version::V1, &[Outgoing { labels, samples: &samples, ..Outgoing::default() }]);
        // The series' message, with histograms of nothing behind its labels.
        let empty = [0x22, 0].repeat(MAX_LARGE_ROWS + 5);
        let mut body = vec![0x0a];
        let mut length = one.len() - 2 + empty.len();
        while length >= 0x80 {
            body.push(length as u8 | 0x80);
            length >>= 7;
        }
        body.push(length as u8);
        body.extend_from_slice(&one[2..]);
        body.extend_from_slice(&empty);
        let taken = remote_write(&store, &cache, Version::V1, &body, NOW_MS, &|_| {}).unwrap();
        assert_eq!(taken.written.samples, 1);
        assert!(taken.refused >= 5, "{taken:?}");
        assert!(taken.why.unwrap().contains("at most 100000 histograms"));
    }

    #[test]
    fn families() {
        let cases = [
            ("a_bucket", MetricType::Histogram, "a"),
            ("a_sum", MetricType::Summary, "a"),
            ("a_bucket", MetricType::Counter, "a_bucket"),
            ("a", MetricType::Histogram, "a"),
        ];
        for (name, kind, expected) in cases {
            assert_eq!(family(name, kind), expected);
        }
    }
}
