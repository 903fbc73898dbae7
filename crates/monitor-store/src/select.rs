//! Reading: series of head and blocks, put together.

use crate::block::{Block, Rolled, Tools};
use crate::flush::DAY_MS;
use crate::head::{Part, decode, sort_by_rank};
use crate::samples::filter;
use crate::store::{State, Store};
use crate::walk::{Cursor, least};
use crate::wanted::Wanted;
use crate::{FIVE_MINUTES_MS, HOUR_MS, Resolution};
use monitor_model::{
    Column, Labels, Matcher, Point, Selection, SeriesData, SeriesStream, Source, SourceError,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The series of a selection; each is decoded when it is asked for.
struct Stream<'a> {
    store: &'a Store,
    /// Of rollups first, which are older than raw samples.
    cursors: Vec<Cursor>,
    tools: Tools,
    head: std::iter::Peekable<std::vec::IntoIter<(Labels, Part)>>,
    /// What is in the head, copied: appends need not wait for a query.
    arena: Vec<u8>,
    wanted: Wanted,
    column: usize,
    hits: Vec<usize>,
    warnings: BTreeSet<String>,
    infos: Vec<String>,
}

/// Where which samples are taken from.
#[derive(Clone, Copy, Debug)]
struct Levels {
    /// Raw samples from here on.
    raw_ms: i64,
    /// Rollups of 5 min from here on, up to the raw samples; of 1 h before.
    five_ms: i64,
}

impl State {
    /// Samples are raw from this time on; before it there are rollups, if anything.
    fn raw_since_ms(&self) -> i64 {
        let day = |at_ms: i64| at_ms.div_euclid(DAY_MS) * DAY_MS;
        let rollups = self.blocks.iter().filter(|b| b.about.resolution_ms != 0);
        let Some(rolled_ms) = rollups.map(|b| b.about.start_ms).min() else { return i64::MIN };
        let blocks = self.raw().map(|b| b.about.start_ms);
        let head = self.head.range_ms().map(|(oldest_ms, _)| oldest_ms);
        // Without any raw sample all that is left are rollups.
        let raw_ms = blocks.chain(head).min().map_or(i64::MAX, day);
        if rolled_ms > raw_ms { i64::MIN } else { raw_ms }
    }

    fn levels(&self) -> Levels {
        let raw_ms = self.raw_since_ms();
        let five = self.rolled(FIVE_MINUTES_MS).map(|b| b.about.start_ms).min();
        // A point stands for what is before it: the first one of a day is past midnight.
        let five_ms = five.map_or(raw_ms, |at_ms| (at_ms - 1).div_euclid(DAY_MS) * DAY_MS);
        Levels { raw_ms, five_ms: five_ms.min(raw_ms) }
    }
}

impl Source for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        Ok(Box::new(self.stream(selection, None)?))
    }

    fn raw_since_ms(&self) -> i64 {
        self.state().raw_since_ms()
    }
}

/// The store as its rollups of one resolution show it: what a query gets that
/// asks for it, even where raw samples are still there.
#[derive(Clone, Copy, Debug)]
pub struct RolledUp<'a> {
    store: &'a Store,
    resolution: Resolution,
}

impl Source for RolledUp<'_> {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        Ok(Box::new(self.store.stream(selection, Some(self.resolution))?))
    }

    fn raw_since_ms(&self) -> i64 {
        i64::MAX
    }
}

impl Store {
    /// The store as its rollups of one resolution show it.
    pub fn rolled_up(&self, resolution: Resolution) -> RolledUp<'_> {
        RolledUp { store: self, resolution }
    }

    fn stream(&self, selection: &Selection<'_>, only: Option<Resolution>) -> Result<Stream<'_>, SourceError> {
        let (start_ms, end_ms) = (selection.start_ms, selection.end_ms);
        let mut arena = Vec::new();
        // Blocks and head are looked at in one go: what is flushed meanwhile is in
        // one of them, or in both.
        let (blocks, tombstones, head) = {
            let state = self.state();
            let blocks = match only {
                Some(resolution) => chosen(&state, resolution.ms(), start_ms, end_ms),
                None => wanted(&state, start_ms, end_ms),
            };
            let head = match only {
                Some(_) => Vec::new(),
                None => head_parts(&state, selection.matchers, start_ms, end_ms, &mut arena),
            };
            (blocks, state.tombstones.clone(), head)
        };
        let mut stream = Stream {
            store: self,
            tools: Tools::new().map_err(|error| SourceError(format!("starting zstd: {error}")))?,
            cursors: Vec::with_capacity(blocks.len()),
            head: Vec::new().into_iter().peekable(),
            arena,
            wanted: Wanted::of(selection),
            column: Rolled::place(selection.column),
            hits: Vec::new(),
            warnings: BTreeSet::new(),
            infos: infos(&blocks, selection.column),
        };
        let mut head = head;
        sort_by_rank(&mut head, |(rank, ..)| *rank, |(_, labels, _)| labels);
        let head: Vec<(Labels, Part)> = head.into_iter().map(|(_, labels, part)| (labels, part)).collect();
        stream.head = head.into_iter().peekable();
        for (block, range) in blocks {
            match Cursor::new(&block, selection.matchers, range, &tombstones) {
                Ok(cursor) => stream.cursors.push(cursor),
                Err(why) => {
                    stream.warnings.insert(self.set_aside(&block, &why));
                }
            }
        }
        Ok(stream)
    }
}

/// A block and the part of time that is taken from it.
type Chosen = (Arc<Block>, (i64, i64));

fn wanted(state: &State, start_ms: i64, end_ms: i64) -> Vec<Chosen> {
    let levels = state.levels();
    let mut blocks = Vec::new();
    if start_ms <= levels.raw_ms {
        blocks.extend(chosen(state, HOUR_MS, start_ms, end_ms.min(levels.five_ms)));
        let from = start_ms.max(levels.five_ms.saturating_add(1));
        blocks.extend(chosen(state, FIVE_MINUTES_MS, from, end_ms.min(levels.raw_ms)));
    }
    blocks.extend(chosen(state, 0, start_ms, end_ms));
    blocks
}

fn chosen(state: &State, resolution_ms: i64, start_ms: i64, end_ms: i64) -> Vec<Chosen> {
    if start_ms > end_ms {
        return Vec::new();
    }
    let blocks = state.rolled(resolution_ms).filter(|block| block.overlaps(start_ms, end_ms));
    blocks.map(|block| (block.clone(), (start_ms, end_ms))).collect()
}

fn infos(blocks: &[Chosen], column: Column) -> Vec<String> {
    let what = match column {
        Column::Value => "last value",
        Column::Min => "smallest value",
        Column::Max => "largest value",
        Column::Sum => "sum",
        Column::Count => "number of samples",
    };
    [(HOUR_MS, "1h"), (FIVE_MINUTES_MS, "5m")]
        .into_iter()
        .filter_map(|(resolution_ms, name)| {
            let rolled = blocks.iter().filter(|(b, _)| b.about.resolution_ms == resolution_ms);
            let until_ms = rolled.map(|(block, range)| block.about.end_ms.min(range.1)).max()?;
            let until = crate::text::time(until_ms);
            Some(format!("samples up to {until} are rolled up: the {what} of each {name} stands for them"))
        })
        .collect()
}

/// What the head has, copied, in no order.
fn head_parts(
    state: &State,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
    arena: &mut Vec<u8>,
) -> Vec<(u32, Labels, Part)> {
    let slots = state.head.matching(matchers);
    let mut parts = Vec::with_capacity(slots.len());
    for slot in slots {
        let Some(series) = state.head.slot(slot) else { continue };
        if let Some(part) = series.part(start_ms, end_ms, arena) {
            parts.push((series.rank, series.labels.clone(), part));
        }
    }
    parts
}

impl SeriesStream for Stream<'_> {
    fn next_into(&mut self, into: &mut SeriesData) -> Result<bool, SourceError> {
        loop {
            let next = self.head.peek().map(|(labels, _)| labels);
            let mut hits = std::mem::take(&mut self.hits);
            let Some(labels) = least(&self.cursors, next, &mut hits) else { return Ok(false) };
            into.clear();
            let chunks = hits.iter().flat_map(|hit| &self.cursors[*hit].places);
            let sure = chunks.map(|place| place.sure_samples(self.wanted.start_ms, self.wanted.end_ms));
            into.points.reserve(self.wanted.share(sure.sum()));
            let (mut rolled, mut ascending) = (0, true);
            for hit in &hits {
                ascending &= self.read(*hit, &labels, into);
                if self.cursors[*hit].reader.block.about.resolution_ms != 0 {
                    rolled = into.points.len();
                }
            }
            self.hits = hits;
            if self.head.peek().is_some_and(|(head, _)| *head == labels)
                && let Some((_, part)) = self.head.next()
            {
                let had = (into.points.len(), into.histograms.len());
                self.decode_head(part, into);
                ascending &= follows(into, had.0);
                drop_clashes(into, had);
            }
            raw_first(into, rolled);
            settle(into, ascending);
            if !into.is_empty() {
                into.labels = labels;
                return Ok(true);
            }
        }
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings).into_iter().collect()
    }

    fn infos(&mut self) -> Vec<String> {
        std::mem::take(&mut self.infos)
    }
}

impl Stream<'_> {
    /// Appends what one block has of a series, and goes on to its next. Tells
    /// whether its numbers are later than what was there, each than the one before.
    fn read(&mut self, hit: usize, labels: &Labels, into: &mut SeriesData) -> bool {
        let cursor = &mut self.cursors[hit];
        let had = (into.points.len(), into.histograms.len());
        let mut ascending = true;
        let read = read_block(cursor, &mut self.tools, self.column, self.wanted, &mut ascending, into);
        let read = read.and_then(|()| {
            for (start_ms, end_ms) in cursor.deleted(labels) {
                remove(into, had, start_ms, end_ms);
            }
            drop_clashes(into, had);
            cursor.advance()
        });
        if let Err(why) = read {
            // What was read of it before was sound.
            cursor.end();
            let block = cursor.reader.block.clone();
            self.warnings.insert(self.store.set_aside(&block, &why));
        }
        ascending
    }

    /// Appends what the head has of a series, in ascending order.
    fn decode_head(&self, part: Part, into: &mut SeriesData) {
        match part {
            Part::Samples(samples) => samples.append_to(into, self.wanted.start_ms, self.wanted.end_ms),
            Part::Bytes(place) => {
                let Wanted { start_ms, end_ms, .. } = self.wanted;
                let had = into.points.len();
                decode(&self.arena[place], |at_ms, bits| {
                    if at_ms >= start_ms && at_ms <= end_ms {
                        into.points.push(Point { at_ms, value: f64::from_bits(bits) });
                    }
                });
                if !into.starts.is_empty() {
                    into.starts.resize(had, 0);
                    into.starts.resize(into.points.len(), 0);
                }
            }
        }
    }
}

fn read_block(
    cursor: &mut Cursor,
    tools: &mut Tools,
    column: usize,
    wanted: Wanted,
    ascending: &mut bool,
    into: &mut SeriesData,
) -> Result<(), String> {
    let block = cursor.reader.block.clone();
    let tables = block.tables()?;
    let wanted = wanted.within((cursor.start_ms, cursor.end_ms));
    // The places are copied out, because reading needs the rest of the cursor.
    let places = std::mem::take(&mut cursor.places);
    let column = if block.about.resolution_ms == 0 { 0 } else { column };
    let read = places.iter().try_for_each(|place| {
        let had = into.points.len();
        let read = cursor.reader.append_to(tools, tables, *place, column, wanted, into);
        *ascending &= follows(into, had);
        read
    });
    cursor.places = places;
    read
}

/// A rollup's last point stands for what is before its time; where a raw sample
/// has this very time, it counts. `rolled` points are of rollups.
fn raw_first(into: &mut SeriesData, rolled: usize) {
    let Some(last) = rolled.checked_sub(1) else { return };
    let at_ms = into.points[last].at_ms;
    if into.points[rolled..].iter().any(|raw| raw.at_ms == at_ms) {
        into.points.remove(last);
        if !into.starts.is_empty() {
            into.starts.remove(last);
        }
    }
}

/// Takes out what is deleted of what one block gave.
fn remove(into: &mut SeriesData, had: (usize, usize), start_ms: i64, end_ms: i64) {
    let keep = |i: usize, from: usize, at_ms: i64| i < from || !(start_ms..=end_ms).contains(&at_ms);
    let kept: Vec<bool> = into.points.iter().enumerate().map(|(i, p)| keep(i, had.0, p.at_ms)).collect();
    filter(&mut into.points, &kept);
    filter(&mut into.starts, &kept);
    let kept: Vec<bool> = into.histograms.iter().enumerate().map(|(i, p)| keep(i, had.1, p.at_ms)).collect();
    filter(&mut into.histograms, &kept);
    filter(&mut into.histogram_starts, &kept);
}

/// Of a time that a histogram had before, a number that came later goes, and the
/// other way round.
fn drop_clashes(into: &mut SeriesData, had: (usize, usize)) {
    if into.points.is_empty() || into.histograms.is_empty() {
        return;
    }
    let points: BTreeSet<i64> = into.points[..had.0].iter().map(|p| p.at_ms).collect();
    let histograms: BTreeSet<i64> = into.histograms[..had.1].iter().map(|p| p.at_ms).collect();
    let keep = |i: usize, had: usize, at_ms: i64, others: &BTreeSet<i64>| i < had || !others.contains(&at_ms);
    let kept: Vec<bool> =
        into.points.iter().enumerate().map(|(i, p)| keep(i, had.0, p.at_ms, &histograms)).collect();
    filter(&mut into.points, &kept);
    filter(&mut into.starts, &kept);
    let kept: Vec<bool> =
        into.histograms.iter().enumerate().map(|(i, p)| keep(i, had.1, p.at_ms, &points)).collect();
    filter(&mut into.histograms, &kept);
    filter(&mut into.histogram_starts, &kept);
}

/// Whether the point at a place, where there is one, is later than the one before it.
fn follows(into: &SeriesData, at: usize) -> bool {
    let before = at.checked_sub(1).map(|before| into.points[before].at_ms);
    into.points.get(at).is_none_or(|point| before.is_none_or(|before| before < point.at_ms))
}

/// Makes the lists ascending (of points it is known whether they are); of the
/// same time the first counts.
fn settle(into: &mut SeriesData, points: bool) {
    debug_assert!(!points || into.points.is_sorted_by(|a, b| a.at_ms < b.at_ms));
    let histograms = into.histograms.is_sorted_by(|a, b| a.at_ms < b.at_ms);
    if !points {
        let mut order: Vec<usize> = (0..into.points.len()).collect();
        order.sort_by_key(|i| into.points[*i].at_ms);
        order.dedup_by_key(|i| into.points[*i].at_ms);
        into.points = order.iter().map(|i| into.points[*i]).collect();
        if !into.starts.is_empty() {
            into.starts = order.iter().map(|i| into.starts[*i]).collect();
        }
    }
    if !histograms || (!into.points.is_empty() && !into.histograms.is_empty()) {
        let mut order: Vec<usize> = (0..into.histograms.len()).collect();
        order.sort_by_key(|i| into.histograms[*i].at_ms);
        order.dedup_by_key(|i| into.histograms[*i].at_ms);
        // A time that both have is the float's.
        order.retain(|i| into.points.binary_search_by_key(&into.histograms[*i].at_ms, |p| p.at_ms).is_err());
        into.histograms = order.iter().map(|i| into.histograms[*i].clone()).collect();
        if !into.histogram_starts.is_empty() {
            into.histogram_starts = order.iter().map(|i| into.histogram_starts[*i]).collect();
        }
    }
}
