//! The newest samples, in memory.

use crate::Refusal;
use crate::chunk::{Chunk, MAX_SAMPLES, OpenChunk};
use crate::postings::Postings;
use monitor_promql::{Labels, Matcher, Point};
use rustc_hash::FxHashMap;
use std::collections::HashMap;

/// The rules of what the head takes, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The span of a block.
    pub(crate) block_ms: i64,
    /// How late a sample may be that is older than its series' newest.
    pub(crate) out_of_order_ms: i64,
}

impl Rules {
    /// How late the newest sample of a series may be against the newest of all;
    /// a block is cut only when nothing so late can belong to it any more.
    pub(crate) fn grace_ms(&self) -> i64 {
        self.out_of_order_ms.max(self.block_ms / 2)
    }
}

/// The series and their newest samples.
#[derive(Debug)]
pub(crate) struct Head {
    rules: Rules,
    series: FxHashMap<u64, HeadSeries>,
    // The label sets come from what is scraped: a hash that cannot be attacked.
    by_labels: HashMap<Labels, u64>,
    /// Ids in the log of series that have another id here. A series that was
    /// forgotten and came back has two in the log; reading it finds the older first.
    aliases: FxHashMap<u64, u64>,
    postings: Postings<u64>,
    /// Samples before this are in blocks.
    floor_ms: i64,
    min_ms: i64,
    max_ms: i64,
    pub(crate) samples: u64,
    pub(crate) bytes: u64,
}

#[derive(Debug)]
struct HeadSeries {
    labels: Labels,
    /// In order, but for chunks of late samples.
    closed: Vec<Chunk>,
    open: Option<OpenChunk>,
    /// Samples older than the newest, ascending.
    late: Vec<Point>,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    Stored,
    Duplicate,
    Refused(Refusal),
}

/// A series' samples in the head, to be decoded later without a lock.
#[derive(Debug)]
pub(crate) struct HeadPart {
    chunks: Vec<Chunk>,
    late: Vec<Point>,
    floor_ms: i64,
}

impl HeadPart {
    /// Appends the points from one time to another, ascending.
    pub(crate) fn decode(&self, start_ms: i64, end_ms: i64, into: &mut Vec<Point>) {
        let begin = into.len();
        for chunk in &self.chunks {
            if chunk.last_ms >= start_ms && chunk.first_ms <= end_ms {
                chunk.decode(into);
            }
        }
        into.extend_from_slice(&self.late);
        let points = &mut into[begin..];
        if !points.is_sorted_by_key(|p| p.at_ms) {
            points.sort_by_key(|p| p.at_ms);
        }
        let start_ms = start_ms.max(self.floor_ms);
        let mut kept = begin;
        for i in begin..into.len() {
            if (start_ms..=end_ms).contains(&into[i].at_ms) {
                into[kept] = into[i];
                kept += 1;
            }
        }
        into.truncate(kept);
    }
}

impl Head {
    pub(crate) fn new(rules: Rules, floor_ms: i64) -> Self {
        Self {
            rules,
            series: FxHashMap::default(),
            by_labels: HashMap::new(),
            aliases: FxHashMap::default(),
            postings: Postings::default(),
            floor_ms,
            min_ms: i64::MAX,
            max_ms: i64::MIN,
            samples: 0,
            bytes: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    pub(crate) fn floor_ms(&self) -> i64 {
        self.floor_ms
    }

    /// The oldest and newest sample.
    pub(crate) fn range_ms(&self) -> Option<(i64, i64)> {
        (self.min_ms <= self.max_ms).then_some((self.min_ms.max(self.floor_ms), self.max_ms))
    }

    pub(crate) fn postings(&self) -> &Postings<u64> {
        &self.postings
    }

    pub(crate) fn id(&self, labels: &Labels) -> Option<u64> {
        self.by_labels.get(labels).copied()
    }

    /// Adds a series under an id that no other has; one that is there already
    /// keeps its id and gets this one too.
    pub(crate) fn define(&mut self, id: u64, labels: Labels) {
        if let Some(other) = self.by_labels.get(&labels) {
            if *other != id {
                self.aliases.insert(id, *other);
            }
            return;
        }
        if self.series.contains_key(&id) {
            return;
        }
        self.postings.add(&labels, id);
        self.by_labels.insert(labels.clone(), id);
        self.series.insert(id, HeadSeries { labels, closed: Vec::new(), open: None, late: Vec::new() });
    }

    /// The newest sample; the smallest time where there is none.
    pub(crate) fn max_ms(&self) -> i64 {
        self.max_ms
    }

    /// Whether a sample is too old for any series, where `max_ms` is the newest.
    pub(crate) fn too_old(&self, at_ms: i64, max_ms: i64) -> bool {
        at_ms < self.floor_ms || at_ms < max_ms.saturating_sub(self.rules.grace_ms())
    }

    /// Takes a sample; `None` where the series is unknown. What is decided here
    /// depends on what was applied before alone, so that reading the log decides the same.
    pub(crate) fn apply(&mut self, id: u64, point: Point) -> Option<Applied> {
        let too_old = self.too_old(point.at_ms, self.max_ms);
        let known = self.series.contains_key(&id);
        let id = if known { id } else { *self.aliases.get(&id)? };
        let series = self.series.get_mut(&id)?;
        if too_old {
            return Some(Applied::Refused(Refusal::TooOld));
        }
        let before = series.growing_bytes();
        let applied = match series.last_ms() {
            Some(last_ms) if point.at_ms <= last_ms => {
                let oldest = self.max_ms.saturating_sub(self.rules.out_of_order_ms);
                series.push_late(point, oldest, last_ms)
            }
            _ => {
                series.push(point, self.rules.block_ms);
                Applied::Stored
            }
        };
        if applied == Applied::Stored {
            // A chunk that was closed by this sample keeps its bytes.
            let after = series.growing_bytes();
            self.bytes += if after >= before { after - before } else { after } as u64;
            self.samples += 1;
            self.min_ms = self.min_ms.min(point.at_ms);
            self.max_ms = self.max_ms.max(point.at_ms);
        }
        Some(applied)
    }

    /// The end of the oldest block that can be cut now.
    pub(crate) fn cut_end_ms(&self) -> Option<i64> {
        let (min_ms, max_ms) = self.range_ms()?;
        let block = self.rules.block_ms;
        let end_ms = (min_ms.div_euclid(block) + 1) * block;
        (max_ms >= end_ms.saturating_add(self.rules.grace_ms())).then_some(end_ms)
    }

    /// The series with samples in a time range, with what is needed to read them.
    pub(crate) fn select(&self, matchers: &[Matcher], start_ms: i64, end_ms: i64) -> Vec<(Labels, HeadPart)> {
        let mut found = Vec::new();
        self.matching(matchers, |series| {
            if let Some(part) = series.part(self.floor_ms, start_ms, end_ms) {
                found.push((series.labels.clone(), part));
            }
        });
        found
    }

    /// The labels of series with samples in a time range.
    pub(crate) fn labels(
        &self,
        matchers: &[Matcher],
        start_ms: i64,
        end_ms: i64,
        mut f: impl FnMut(&Labels),
    ) {
        self.matching(matchers, |series| {
            if series.overlaps(start_ms.max(self.floor_ms), end_ms) {
                f(&series.labels);
            }
        });
    }

    fn matching<'a>(&'a self, matchers: &[Matcher], mut f: impl FnMut(&'a HeadSeries)) {
        let mut test = |series: &'a HeadSeries| {
            if Matcher::all_match(matchers, &series.labels) {
                f(series);
            }
        };
        match self.postings.candidates(matchers) {
            Some(ids) => ids.iter().filter_map(|id| self.series.get(id)).for_each(&mut test),
            None => self.series.values().for_each(test),
        }
    }

    /// All label sets with their ids, in no order: sorting many of them would
    /// hold up appends.
    pub(crate) fn all(&self) -> Vec<(Labels, u64)> {
        self.by_labels.iter().map(|(labels, id)| (labels.clone(), *id)).collect()
    }

    /// All ids with their label sets, those of the log alone too.
    pub(crate) fn definitions(&self) -> Vec<(Labels, u64)> {
        let mut all = self.all();
        for (id, target) in &self.aliases {
            all.extend(self.series.get(target).map(|series| (series.labels.clone(), *id)));
        }
        all
    }

    /// The log no longer has ids of before the store was opened.
    pub(crate) fn forget_aliases(&mut self) {
        self.aliases.clear();
    }

    /// What a series has before a time.
    pub(crate) fn part_before(&self, id: u64, end_ms: i64) -> Option<HeadPart> {
        self.series.get(&id)?.part(self.floor_ms, i64::MIN, end_ms - 1)
    }

    /// Forgets the samples before a time, which are in a block now, and the
    /// series that have no others.
    pub(crate) fn truncate(&mut self, floor_ms: i64) {
        let gone = self.truncate_samples(floor_ms);
        for (id, labels) in &gone {
            self.series.remove(id);
            self.by_labels.remove(labels);
        }
        self.postings.remove(&gone);
        self.aliases.retain(|_, target| self.series.contains_key(target));
    }

    /// Forgets samples alone: while the log is read, series without samples may
    /// still get some. Gives those series.
    pub(crate) fn truncate_samples(&mut self, floor_ms: i64) -> Vec<(u64, Labels)> {
        self.floor_ms = floor_ms;
        (self.min_ms, self.samples, self.bytes) = (i64::MAX, 0, 0);
        let mut gone = Vec::new();
        for (id, series) in &mut self.series {
            series.truncate(floor_ms);
            match series.first_ms() {
                Some(first_ms) => {
                    self.min_ms = self.min_ms.min(first_ms);
                    self.samples += series.samples();
                    self.bytes += series.bytes() as u64;
                }
                None => gone.push((*id, series.labels.clone())),
            }
        }
        gone
    }

    /// Forgets series without samples; after the log was read.
    pub(crate) fn forget_empty(&mut self) {
        self.truncate(self.floor_ms);
    }
}

impl HeadSeries {
    fn last_ms(&self) -> Option<i64> {
        let closed = || self.closed.iter().map(|c| c.last_ms).max();
        self.open.as_ref().map(|open| open.last_ms).or_else(closed)
    }

    fn first_ms(&self) -> Option<i64> {
        let closed = self.closed.iter().map(|c| c.first_ms);
        let open = self.open.iter().map(|c| c.first_ms);
        closed.chain(open).chain(self.late.first().map(|p| p.at_ms)).min()
    }

    fn bytes(&self) -> usize {
        self.closed.iter().map(|c| c.bytes.len()).sum::<usize>()
            + self.open.as_ref().map_or(0, OpenChunk::len)
            + self.late.len() * size_of::<Point>()
    }

    /// Bytes of what still grows.
    fn growing_bytes(&self) -> usize {
        self.open.as_ref().map_or(0, OpenChunk::len) + self.late.len() * size_of::<Point>()
    }

    fn samples(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|c| u64::from(c.count)).sum();
        closed + self.open.as_ref().map_or(0, |c| u64::from(c.count)) + self.late.len() as u64
    }

    /// Takes a sample newer than all others.
    fn push(&mut self, point: Point, block_ms: i64) {
        let block = |at_ms: i64| at_ms.div_euclid(block_ms);
        match &mut self.open {
            Some(open) if open.count < MAX_SAMPLES && block(open.first_ms) == block(point.at_ms) => {
                open.push(point);
            }
            open => {
                let closed = open.replace(OpenChunk::new(point));
                self.closed.extend(closed.map(|c| c.freeze()));
            }
        }
    }

    /// Takes a sample that is not newer than all others.
    fn push_late(&mut self, point: Point, oldest_ms: i64, last_ms: i64) -> Applied {
        if let Some(there) = self.value_at(point.at_ms, last_ms) {
            let same = there.to_bits() == point.value.to_bits();
            return if same { Applied::Duplicate } else { Applied::Refused(Refusal::Conflict) };
        }
        if point.at_ms < oldest_ms {
            return Applied::Refused(Refusal::TooOld);
        }
        let at = self.late.partition_point(|p| p.at_ms < point.at_ms);
        self.late.insert(at, point);
        if self.late.len() >= usize::from(MAX_SAMPLES) {
            let mut chunk = OpenChunk::new(self.late[0]);
            self.late[1..].iter().for_each(|p| chunk.push(*p));
            self.closed.push(chunk.freeze());
            self.late = Vec::new();
        }
        Applied::Stored
    }

    /// The value at exactly a time.
    fn value_at(&self, at_ms: i64, last_ms: i64) -> Option<f64> {
        if let Some(open) = self.open.as_ref().filter(|_| at_ms == last_ms) {
            return Some(open.last_value);
        }
        let mut points = Vec::new();
        self.part(i64::MIN, at_ms, at_ms)?.decode(at_ms, at_ms, &mut points);
        points.first().map(|p| p.value)
    }

    fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        let within = |first_ms: i64, last_ms: i64| last_ms >= start_ms && first_ms <= end_ms;
        self.closed.iter().any(|c| within(c.first_ms, c.last_ms))
            || self.open.as_ref().is_some_and(|c| within(c.first_ms, c.last_ms))
            || self.late.iter().any(|p| within(p.at_ms, p.at_ms))
    }

    fn part(&self, floor_ms: i64, start_ms: i64, end_ms: i64) -> Option<HeadPart> {
        let start_ms = start_ms.max(floor_ms);
        if !self.overlaps(start_ms, end_ms) {
            return None;
        }
        let wanted = |first_ms: i64, last_ms: i64| last_ms >= start_ms && first_ms <= end_ms;
        let mut chunks: Vec<Chunk> =
            self.closed.iter().filter(|c| wanted(c.first_ms, c.last_ms)).cloned().collect();
        chunks.extend(self.open.iter().filter(|c| wanted(c.first_ms, c.last_ms)).map(OpenChunk::freeze));
        let late = self.late.iter().filter(|p| wanted(p.at_ms, p.at_ms)).copied().collect();
        Some(HeadPart { chunks, late, floor_ms })
    }

    fn truncate(&mut self, floor_ms: i64) {
        self.closed.retain(|c| c.last_ms >= floor_ms);
        self.late.retain(|p| p.at_ms >= floor_ms);
        if self.open.as_ref().is_some_and(|c| c.last_ms < floor_ms) {
            self.open = None;
        }
    }
}
