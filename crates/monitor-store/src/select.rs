//! Reading: series of head and blocks, put together.

use crate::block::{Block, ChunkPlace, Index};
use crate::head::HeadPart;
use crate::pack::Unpacker;
use crate::postings::Postings;
use crate::store::{State, Store, locked};
use crate::{Damage, Error};
use monitor_promql::{Labels, Matcher, Point, Selection, SeriesData, SeriesStream, Source, SourceError};
use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// A series' samples in one place, not read yet.
#[derive(Debug)]
enum Part {
    Block(Arc<Block>, Vec<ChunkPlace>),
    Head(HeadPart),
}

/// The series of a selection; each is decoded when it is asked for.
struct Stream<'a> {
    store: &'a Store,
    series: std::vec::IntoIter<(Labels, Vec<Part>)>,
    start_ms: i64,
    end_ms: i64,
    unpacker: Unpacker,
    buffer: Vec<u8>,
    warnings: BTreeSet<String>,
}

impl Source for Store {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        let (start_ms, end_ms) = (selection.start_ms, selection.end_ms);
        let mut warnings = BTreeSet::new();
        let mut found: HashMap<Labels, Vec<Part>> = HashMap::new();
        // Blocks and head are looked at in one go: a block that is cut meanwhile
        // is either in both or in neither.
        let (blocks, head) = {
            let state = self.state();
            (overlapping(&state, start_ms, end_ms), state.head.select(selection.matchers, start_ms, end_ms))
        };
        for block in blocks {
            let Some(index) = self.index(&block, &mut warnings) else { continue };
            for series in index.matching(selection.matchers) {
                let wanted = |c: &&ChunkPlace| c.last_ms >= start_ms && c.first_ms <= end_ms;
                let chunks: Vec<ChunkPlace> = series.chunks.iter().filter(wanted).copied().collect();
                if !chunks.is_empty() {
                    let part = Part::Block(block.clone(), chunks);
                    found.entry(series.labels.clone()).or_default().push(part);
                }
            }
        }
        for (labels, part) in head {
            found.entry(labels).or_default().push(Part::Head(part));
        }
        let mut series: Vec<(Labels, Vec<Part>)> = found.into_iter().collect();
        series.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let unpacker = Unpacker::new().map_err(|error| SourceError(format!("starting zstd: {error}")))?;
        Ok(Box::new(Stream {
            store: self,
            series: series.into_iter(),
            start_ms,
            end_ms,
            unpacker,
            buffer: Vec::new(),
            warnings,
        }))
    }
}

impl SeriesStream for Stream<'_> {
    fn next_into(&mut self, into: &mut SeriesData) -> Result<bool, SourceError> {
        for (labels, parts) in self.series.by_ref() {
            let mut points = Vec::new();
            for part in parts {
                match part {
                    Part::Head(part) => part.decode(self.start_ms, self.end_ms, &mut points),
                    Part::Block(block, chunks) => {
                        for chunk in chunks {
                            let read = block.read(chunk, &mut self.unpacker, &mut self.buffer, &mut points);
                            if let Err(why) = read {
                                self.warnings.insert(self.store.set_aside(&block, &why));
                            }
                        }
                    }
                }
            }
            points.retain(|p: &Point| (self.start_ms..=self.end_ms).contains(&p.at_ms));
            if !points.is_empty() {
                *into = SeriesData::of_points(labels, points);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings).into_iter().collect()
    }
}

impl Store {
    /// The names of labels, ascending, of the series that match one of the lists
    /// of conditions (all series where there is none) between two times.
    pub fn label_names(
        &self,
        any_of: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<String>, Error> {
        let mut names = BTreeSet::new();
        if any_of.is_empty() {
            self.each_postings(start_ms, end_ms, |known| names.extend(known.names().map(str::to_owned)));
            return Ok(names.into_iter().collect());
        }
        self.each_labels(any_of, start_ms, end_ms, |labels| {
            for (name, _) in labels {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
        });
        Ok(names.into_iter().collect())
    }

    /// The values of a label, ascending; otherwise as [`Store::label_names`].
    pub fn label_values(
        &self,
        name: &str,
        any_of: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<String>, Error> {
        let mut values = BTreeSet::new();
        if any_of.is_empty() {
            self.each_postings(start_ms, end_ms, |known| {
                values.extend(known.values(name).map(str::to_owned))
            });
            return Ok(values.into_iter().collect());
        }
        // Only series that have the label are looked at.
        let has = Matcher::not_equal(name, "");
        let mut any_of = any_of.to_vec();
        any_of.iter_mut().for_each(|matchers| matchers.push(has.clone()));
        self.each_labels(&any_of, start_ms, end_ms, |labels| {
            if let Some(value) = labels.get(name)
                && !values.contains(value)
            {
                values.insert(value.to_owned());
            }
        });
        Ok(values.into_iter().collect())
    }

    /// The label sets, ascending; otherwise as [`Store::label_names`].
    pub fn series(&self, any_of: &[Vec<Matcher>], start_ms: i64, end_ms: i64) -> Result<Vec<Labels>, Error> {
        let mut found = BTreeSet::new();
        self.each_labels(any_of, start_ms, end_ms, |labels| {
            if !found.contains(labels) {
                found.insert(labels.clone());
            }
        });
        Ok(found.into_iter().collect())
    }

    /// Calls `f` with the labels of each matching series, of head and blocks.
    fn each_labels(&self, any_of: &[Vec<Matcher>], start_ms: i64, end_ms: i64, mut f: impl FnMut(&Labels)) {
        let all = [Vec::new()];
        let any_of = if any_of.is_empty() { &all } else { any_of };
        let mut warnings = BTreeSet::new();
        let blocks = {
            let state = self.state();
            for matchers in any_of {
                state.head.labels(matchers, start_ms, end_ms, &mut f);
            }
            overlapping(&state, start_ms, end_ms)
        };
        for block in blocks {
            let Some(index) = self.index(&block, &mut warnings) else { continue };
            for matchers in any_of {
                index.matching(matchers).for_each(|series| f(&series.labels));
            }
        }
    }

    /// Calls `f` with the names and values of head and blocks that overlap a time range.
    fn each_postings(&self, start_ms: i64, end_ms: i64, mut f: impl FnMut(&dyn Known)) {
        let mut warnings = BTreeSet::new();
        let blocks = {
            let state = self.state();
            if state.head.range_ms().is_some_and(|(oldest, newest)| newest >= start_ms && oldest <= end_ms) {
                f(state.head.postings());
            }
            overlapping(&state, start_ms, end_ms)
        };
        for block in blocks {
            if let Some(index) = self.index(&block, &mut warnings) {
                f(&index.postings);
            }
        }
    }

    /// A block's tables, from memory or disk; `None` where they are damaged.
    pub(crate) fn index(&self, block: &Arc<Block>, warnings: &mut BTreeSet<String>) -> Option<Arc<Index>> {
        if let Some(index) = locked(&self.indexes).get(&block.path) {
            return Some(index);
        }
        match block.index() {
            Ok(index) => {
                let index = Arc::new(index);
                locked(&self.indexes).put(&block.path, index.clone(), self.settings.index_cache.0);
                Some(index)
            }
            Err(why) => {
                warnings.insert(self.set_aside(block, &why));
                None
            }
        }
    }

    /// Takes a damaged block out of the store and keeps its file under another
    /// name. Gives the sentence for whoever met it.
    pub(crate) fn set_aside(&self, block: &Arc<Block>, why: &str) -> String {
        let what = format!(
            "{why}; the block with the samples from {} to {} (Unix ms) is left out",
            block.start_ms, block.end_ms
        );
        if !block.damaged.swap(true, Ordering::Relaxed) {
            self.state_mut().blocks.retain(|b| !Arc::ptr_eq(b, block));
            locked(&self.indexes).forget(&block.path);
            let _ = fs::rename(&block.path, block.path.with_extension("blk.damaged"));
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            locked(&self.damage).push(Damage { file: block.path.clone(), what: what.clone() });
        }
        format!("`{}`: {what}", block.path.display())
    }
}

/// An inverted index, whatever it calls its series.
trait Known {
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_>;
    fn values<'a>(&'a self, name: &str) -> Box<dyn Iterator<Item = &'a str> + 'a>;
}

impl<T: Copy + Ord> Known for Postings<T> {
    fn names(&self) -> Box<dyn Iterator<Item = &str> + '_> {
        Box::new(Postings::names(self))
    }

    fn values<'a>(&'a self, name: &str) -> Box<dyn Iterator<Item = &'a str> + 'a> {
        Box::new(Postings::values(self, name))
    }
}

fn overlapping(state: &State, start_ms: i64, end_ms: i64) -> Vec<Arc<Block>> {
    state.blocks.iter().filter(|b| b.end_ms > start_ms && b.start_ms <= end_ms).cloned().collect()
}

impl Index {
    /// The series that match.
    pub(crate) fn matching<'a>(
        &'a self,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = &'a crate::block::IndexedSeries> {
        let places = self.postings.candidates(matchers);
        let all = places.is_none().then_some(0..self.series.len() as u32);
        let places = places.into_iter().flatten().chain(all.into_iter().flatten());
        places
            .filter_map(|place| self.series.get(place as usize))
            .filter(|series| Matcher::all_match(matchers, &series.labels))
    }
}
