//! Samples on their way out: what an append brought as a message for the queue,
//! and messages of the queue as requests.

use monitor_model::histogram::HistogramError;
use monitor_model::{Exemplar, Histogram, Labels, LabelsBuilder, METRIC_NAME, Matcher, Metadata};
use monitor_wire::WireError;
use monitor_wire::body::{BodyError, Encoding, snappy_encode};
use monitor_wire::remote::{
    KeyHash, Outgoing, OutgoingExemplar, OutgoingHistogram, OutgoingSample, RawLabels, RemoteExemplar,
    RemoteMetadata, RemoteSink, Version, read_v2, write_v1, write_v2,
};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// A message of the queue, decompressed: as much as a body that is pushed.
const MAX_MESSAGE: usize = 256 << 20;

/// What one append had of one series.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) labels: Labels,
    pub(crate) samples: Vec<OutgoingSample>,
    pub(crate) histograms: Vec<(i64, Arc<Histogram>, i64)>,
    pub(crate) exemplars: Vec<Exemplar>,
}

impl Row {
    /// What a receiver counts.
    pub(crate) fn len(&self) -> usize {
        self.samples.len() + self.histograms.len()
    }
}

/// A message for the queue: how many samples it has, and its bytes.
pub(crate) fn pack(rows: &[Row]) -> (u32, Vec<u8>) {
    let count: usize = rows.iter().map(Row::len).sum();
    (u32::try_from(count).unwrap_or(u32::MAX), request(rows, Version::V2, Part::All, &BTreeMap::new()))
}

/// Which part of rows a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Everything.
    All,
    /// Numbers and exemplars.
    Numbers,
    /// Histograms: a receiver that has no notion of them must not refuse the rest.
    Histograms,
}

/// A request's body, compressed. `metadata` goes with 2.0 by the metric's name.
pub(crate) fn request(
    rows: &[Row],
    version: Version,
    part: Part,
    metadata: &BTreeMap<String, Metadata>,
) -> Vec<u8> {
    let histograms: Vec<Vec<OutgoingHistogram<'_>>> = rows
        .iter()
        .map(|row| {
            let all = row.histograms.iter().filter(|_| part != Part::Numbers);
            all.map(|(at_ms, value, start_ms)| OutgoingHistogram {
                at_ms: *at_ms,
                value,
                start_ms: *start_ms,
            })
            .collect()
        })
        .collect();
    let exemplars: Vec<Vec<OutgoingExemplar<'_>>> = rows
        .iter()
        .map(|row| {
            let last_ms = row.samples.last().map_or(0, |sample| sample.at_ms);
            let all = row.exemplars.iter().filter(|_| part != Part::Histograms);
            all.map(|exemplar| OutgoingExemplar {
                labels: &exemplar.labels,
                value: exemplar.value,
                at_ms: exemplar.at_ms.unwrap_or(last_ms),
            })
            .collect()
        })
        .collect();
    let outgoing: Vec<Outgoing<'_>> = rows
        .iter()
        .zip(histograms.iter().zip(&exemplars))
        .map(|(row, (histograms, exemplars))| Outgoing {
            labels: row.labels.clone(),
            samples: if part == Part::Histograms { &[] } else { &row.samples },
            histograms,
            exemplars,
            metadata: row.labels.name().and_then(|name| metadata.get(name)),
        })
        .filter(|row| !row.samples.is_empty() || !row.histograms.is_empty() || !row.exemplars.is_empty())
        .collect();
    let mut body = Vec::new();
    match version {
        Version::V1 => write_v1(&outgoing, &[], &mut body),
        Version::V2 => write_v2(&outgoing, &mut body),
    }
    snappy_encode(&body)
}

/// A 1.0 request that has metadata only.
pub(crate) fn metadata_request(metadata: &[(&String, &Metadata)]) -> Vec<u8> {
    let pairs: Vec<(&str, &Metadata)> =
        metadata.iter().map(|(name, about)| (name.as_str(), *about)).collect();
    let mut body = Vec::new();
    write_v1(&[], &pairs, &mut body);
    snappy_encode(&body)
}

/// What leaves, and what is added to it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exit {
    /// Only series that fulfil one of these; none: all.
    pub(crate) only: Vec<Vec<Matcher>>,
    /// Not those that fulfil one of these.
    pub(crate) except: Vec<Vec<Matcher>>,
    /// Labels that are left out.
    pub(crate) without: Vec<String>,
    /// Labels that series get that have none of this name.
    pub(crate) external: Vec<(String, String)>,
}

impl Exit {
    fn labels(&self, labels: Labels) -> Option<Labels> {
        let fulfils = |all: &[Vec<Matcher>]| all.iter().any(|matchers| Matcher::all_match(matchers, &labels));
        if !self.only.is_empty() && !fulfils(&self.only) || fulfils(&self.except) {
            return None;
        }
        let labels = match self.without.iter().any(|name| labels.get(name).is_some()) {
            false => labels,
            true => {
                let mut builder = LabelsBuilder::from(&labels);
                for name in &self.without {
                    builder.set(name, "");
                }
                builder.build()
            }
        };
        let missing = |name: &str| labels.get(name).is_none() && name != METRIC_NAME;
        if self.external.iter().all(|(name, _)| !missing(name)) {
            return Some(labels);
        }
        let mut builder = LabelsBuilder::from(&labels);
        for (name, value) in self.external.iter().filter(|(name, _)| missing(name)) {
            builder.set(name, value);
        }
        Some(builder.build())
    }
}

/// Why a message of the queue cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Wire(#[from] WireError),
}

/// What of the queue's messages goes where.
#[derive(Debug, Default)]
pub(crate) struct Sorted {
    /// For each shard, in the order of the queue: a series is always in the same.
    pub(crate) shards: Vec<Vec<Row>>,
    /// Samples of series that are not to leave.
    pub(crate) kept_back: u64,
    /// The newest time.
    pub(crate) newest_ms: i64,
}

/// Reads messages of the queue.
pub(crate) fn unpack<'a>(
    bodies: impl Iterator<Item = &'a [u8]>,
    exit: &Exit,
    shards: usize,
) -> (Sorted, Vec<Unreadable>) {
    let mut reader = Unpacker { exit, sorted: Sorted::default(), row: None, skipping: false };
    reader.sorted.shards.resize_with(shards.max(1), Vec::new);
    let mut spare = Vec::new();
    let mut wrong = Vec::new();
    for body in bodies {
        match Encoding::Snappy.decode(body, MAX_MESSAGE, &mut spare) {
            Ok(message) => wrong.extend(read_v2(message, &NoKeys, &mut reader).err().map(Unreadable::from)),
            Err(error) => wrong.push(error.into()),
        }
        reader.finish_row();
    }
    (reader.sorted, wrong)
}

struct NoKeys;

impl KeyHash for NoKeys {
    fn hash(&self, _: &[u8]) -> u128 {
        0
    }
}

struct Unpacker<'a> {
    exit: &'a Exit,
    sorted: Sorted,
    row: Option<Row>,
    skipping: bool,
}

impl Unpacker<'_> {
    fn finish_row(&mut self) {
        let Some(row) = self.row.take().filter(|row| row.len() > 0 || !row.exemplars.is_empty()) else {
            return;
        };
        let mut hasher = std::hash::DefaultHasher::new();
        row.labels.hash(&mut hasher);
        let shard = (hasher.finish() % self.sorted.shards.len() as u64) as usize;
        self.sorted.shards[shard].push(row);
    }

    fn row(&mut self, at_ms: i64) -> Option<&mut Row> {
        if self.skipping {
            self.sorted.kept_back += 1;
            return None;
        }
        self.sorted.newest_ms = self.sorted.newest_ms.max(at_ms);
        self.row.as_mut()
    }
}

impl RemoteSink for Unpacker<'_> {
    fn series(&mut self, labels: &RawLabels<'_>) -> bool {
        self.finish_row();
        let leaves = labels.labels().ok().and_then(|labels| self.exit.labels(labels));
        self.skipping = leaves.is_none();
        self.row = leaves.map(|labels| Row { labels, ..Row::default() });
        // Also of those that stay the samples are counted.
        true
    }

    fn sample(&mut self, at_ms: i64, value: f64, start_ms: i64) {
        if let Some(row) = self.row(at_ms) {
            row.samples.push(OutgoingSample { at_ms, value, start_ms });
        }
    }

    fn histogram(&mut self, at_ms: i64, value: Histogram, start_ms: i64) {
        if let Some(row) = self.row(at_ms) {
            row.histograms.push((at_ms, Arc::new(value), start_ms));
        }
    }

    fn refused_histogram(&mut self, _: i64, _: &HistogramError) {}

    fn exemplar(&mut self, exemplar: RemoteExemplar<'_>) {
        if let (Some(row), Ok(labels)) = (&mut self.row, exemplar.labels.labels()) {
            row.exemplars.push(Exemplar { labels, value: exemplar.value, at_ms: Some(exemplar.at_ms) });
        }
    }

    fn series_metadata(&mut self, _: RemoteMetadata<'_>) {}

    fn family_metadata(&mut self, _: &str, _: RemoteMetadata<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, at_ms: i64) -> Row {
        let histogram = Histogram::from_script("{{count:3 sum:2 buckets:[1 2]}}").unwrap();
        Row {
            labels: Labels::from_pairs([(METRIC_NAME, name), ("job", "a")]),
            samples: vec![OutgoingSample { at_ms, value: 1.5, start_ms: 7 }],
            histograms: vec![(at_ms + 1, Arc::new(histogram), 0)],
            exemplars: vec![Exemplar {
                labels: Labels::from_pairs([("id", "1")]),
                value: 2.0,
                at_ms: Some(3),
            }],
        }
    }

    #[test]
    fn packed_and_unpacked() {
        let rows = [row("a", 10), row("b", 20)];
        let (count, body) = pack(&rows);
        assert_eq!(count, 4);
        let (sorted, wrong) = unpack([&body[..], &body].into_iter(), &Exit::default(), 1);
        assert!(wrong.is_empty());
        assert_eq!(sorted.shards, [[rows.clone(), rows.clone()].concat()]);
        assert_eq!((sorted.kept_back, sorted.newest_ms), (0, 21));

        // A series is in one shard, in order.
        let (sorted, _) = unpack([&body[..], &body].into_iter(), &Exit::default(), 8);
        for name in ["a", "b"] {
            let homes =
                sorted.shards.iter().filter(|shard| shard.iter().any(|row| row.labels.name() == Some(name)));
            assert_eq!(homes.count(), 1);
        }
        assert_eq!(sorted.shards.iter().map(Vec::len).sum::<usize>(), 4);
    }

    #[test]
    fn what_leaves() {
        let exit = Exit {
            only: vec![vec![Matcher::equal(METRIC_NAME, "b")], vec![Matcher::equal("job", "none")]],
            except: Vec::new(),
            without: Vec::new(),
            external: vec![("site".into(), "s".into()), ("job".into(), "other".into())],
        };
        let (_, body) = pack(&[row("a", 10), row("b", 20)]);
        let (sorted, _) = unpack(std::iter::once(&body[..]), &exit, 1);
        let labels = Labels::from_pairs([(METRIC_NAME, "b"), ("job", "a"), ("site", "s")]);
        assert_eq!(sorted.shards, [vec![Row { labels, ..row("b", 20) }]]);
        assert_eq!(sorted.kept_back, 2);

        let exit = Exit {
            except: vec![vec![Matcher::equal(METRIC_NAME, "b")]],
            without: vec!["job".into(), "none".into()],
            ..Exit::default()
        };
        let (sorted, _) = unpack(std::iter::once(&body[..]), &exit, 1);
        let labels = Labels::from_pairs([(METRIC_NAME, "a")]);
        assert_eq!(sorted.shards, [vec![Row { labels, ..row("a", 10) }]]);
    }

    #[test]
    fn parts_are_apart() {
        let rows = [row("a", 10)];
        let read = |part| {
            let body = request(&rows, Version::V2, part, &BTreeMap::new());
            let (mut sorted, wrong) = unpack(std::iter::once(&body[..]), &Exit::default(), 1);
            assert!(wrong.is_empty());
            sorted.shards.remove(0).remove(0)
        };
        let numbers = read(Part::Numbers);
        assert_eq!((numbers.samples.len(), numbers.histograms.len(), numbers.exemplars.len()), (1, 0, 1));
        let histograms = read(Part::Histograms);
        assert_eq!(
            (histograms.samples.len(), histograms.histograms.len(), histograms.exemplars.len()),
            (0, 1, 0)
        );
        let (_, wrong) = unpack(std::iter::once(&b"nonsense"[..]), &Exit::default(), 1);
        assert_eq!(wrong.len(), 1);
    }
}
