//! Series of several blocks, put together by their labels.

use crate::block::{Block, BlockReader, ChunkPlace, SeriesCursor, Tools};
use crate::manifest::Tombstone;
use crate::runs::Runs;
use crate::samples::Samples;
use monitor_model::{Labels, Matcher};
use std::cmp::Ordering;
use std::sync::Arc;

/// Goes through selected series of one block.
pub(crate) struct Cursor {
    pub(crate) reader: BlockReader,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
    rest: std::vec::IntoIter<u32>,
    names: SeriesCursor,
    current: Option<u32>,
    /// Chunks of the series it is at.
    pub(crate) places: Vec<ChunkPlace>,
    tombstones: Vec<Tombstone>,
}

impl Cursor {
    /// Of the series of a block that are selected and have chunks in a time range.
    pub(crate) fn new(
        block: &Arc<Block>,
        matchers: &[Matcher],
        (start_ms, end_ms): (i64, i64),
        tombstones: &[Tombstone],
    ) -> Result<Self, String> {
        let tables = block.tables()?;
        let selected = if matchers.is_empty() { Runs::all(tables.series) } else { tables.matching(matchers) };
        let about = &block.about;
        let concerned = |t: &&Tombstone| t.concerns(about.number, about.start_ms, about.end_ms);
        let mut cursor = Self {
            reader: BlockReader::new(block.clone()),
            start_ms,
            end_ms,
            rest: selected.iter().collect::<Vec<u32>>().into_iter(),
            names: SeriesCursor::default(),
            current: None,
            places: Vec::new(),
            tombstones: tombstones.iter().filter(concerned).cloned().collect(),
        };
        cursor.advance()?;
        Ok(cursor)
    }

    /// Goes to the next series.
    pub(crate) fn advance(&mut self) -> Result<(), String> {
        let block = self.reader.block.clone();
        let tables = block.tables()?;
        self.current = None;
        for series in self.rest.by_ref() {
            BlockReader::chunks(tables, series, self.start_ms, self.end_ms, &mut self.places)
                .map_err(|_| "its tables cannot be understood".to_owned())?;
            if !self.places.is_empty() {
                self.names.seek(tables, series).map_err(|_| "its labels cannot be understood".to_owned())?;
                self.current = Some(series);
                break;
            }
        }
        Ok(())
    }

    /// Nothing more is to come of it: its block is damaged.
    pub(crate) fn end(&mut self) {
        self.current = None;
        self.rest = Vec::new().into_iter();
    }

    /// The time ranges that are deleted of a series.
    pub(crate) fn deleted(&self, labels: &Labels) -> impl Iterator<Item = (i64, i64)> {
        self.tombstones.iter().filter(|t| t.covers(labels)).map(|t| (t.start_ms, t.end_ms))
    }

    /// Appends all of the series it is at, without what is deleted.
    pub(crate) fn append(
        &mut self,
        tools: &mut Tools,
        labels: &Labels,
        into: &mut Samples,
    ) -> Result<(), String> {
        let block = self.reader.block.clone();
        let tables = block.tables()?;
        let (had, had_histograms) = (into.times.len(), into.histograms.len());
        for place in &self.places {
            self.reader.append(tools, tables, *place, into)?;
        }
        for (start_ms, end_ms) in self.deleted(labels) {
            into.remove(had, had_histograms, start_ms, end_ms);
        }
        into.drop_clashes(had, had_histograms);
        Ok(())
    }
}

/// The least labels among those the cursors are at and those given; `hits` gets
/// the cursors that are at them.
pub(crate) fn least(cursors: &[Cursor], other: Option<&Labels>, hits: &mut Vec<usize>) -> Option<Labels> {
    hits.clear();
    let mut best: Option<Labels> = other.cloned();
    for (i, cursor) in cursors.iter().enumerate() {
        let (Some(_), Ok(tables)) = (cursor.current, cursor.reader.block.tables()) else { continue };
        let order = best.as_ref().map_or(Ordering::Less, |best| cursor.names.compare(tables, best));
        match order {
            Ordering::Less => {
                best = Some(cursor.names.labels(tables));
                hits.clear();
                hits.push(i);
            }
            Ordering::Equal => hits.push(i),
            Ordering::Greater => {}
        }
    }
    best
}
