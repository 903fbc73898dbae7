//! What there is to ask for: label names, values, series, exemplars, metadata.

use crate::Error;
use crate::block::Block;
use crate::store::{State, Store};
use crate::walk::{Cursor, least};
use monitor_model::{Exemplar, Labels, Matcher, Metadata};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

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
            let blocks = self.known(start_ms, end_ms, |state| {
                names.extend(state.head.postings().names().map(|(name, ..)| name.to_owned()));
            });
            for block in &blocks {
                if let Ok(tables) = block.tables() {
                    names.extend(tables.label_names().map(str::to_owned));
                }
            }
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
            let blocks = self.known(start_ms, end_ms, |state| {
                values.extend(state.head.postings().values(name).map(|(value, _)| value.to_owned()));
            });
            for block in &blocks {
                if let Ok(tables) = block.tables() {
                    values.extend(tables.label_values(name).map(str::to_owned));
                }
            }
            return Ok(values.into_iter().collect());
        }
        self.each_labels(any_of, start_ms, end_ms, |labels| {
            if let Some(value) = labels.get(name)
                && !values.contains(value)
            {
                values.insert(value.to_owned());
            }
        });
        Ok(values.into_iter().collect())
    }

    /// The label sets, ascending; otherwise as [`Store::label_names`].
    pub fn series_labels(
        &self,
        any_of: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Result<Vec<Labels>, Error> {
        let mut found = BTreeSet::new();
        let all = [Vec::new()];
        self.each_labels(if any_of.is_empty() { &all } else { any_of }, start_ms, end_ms, |labels| {
            if !found.contains(labels) {
                found.insert(labels.clone());
            }
        });
        Ok(found.into_iter().collect())
    }

    /// Blocks of a time range that can be read; what is in the head is shown first.
    fn known(&self, start_ms: i64, end_ms: i64, head: impl FnOnce(&State)) -> Vec<Arc<Block>> {
        let blocks: Vec<Arc<Block>> = {
            let state = self.state();
            head(&state);
            state.blocks.iter().filter(|b| b.overlaps(start_ms, end_ms)).cloned().collect()
        };
        blocks
            .into_iter()
            .filter(|block| match block.tables() {
                Ok(_) => true,
                Err(why) => {
                    self.set_aside(block, &why);
                    false
                }
            })
            .collect()
    }

    /// Gives the label sets of series that may have samples between two times,
    /// some more than once.
    fn each_labels(
        &self,
        any_of: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
        mut each: impl FnMut(&Labels),
    ) {
        let tombstones = self.state().tombstones.clone();
        for matchers in any_of {
            let blocks = self.known(start_ms, end_ms, |state| {
                for slot in state.head.matching(matchers) {
                    if let Some(series) = state.head.slot(slot)
                        && series.overlaps(start_ms, end_ms)
                    {
                        each(&series.labels);
                    }
                }
            });
            for block in blocks {
                let read =
                    Cursor::new(&block, matchers, (start_ms, end_ms), &tombstones).and_then(|cursor| {
                        let mut cursors = [cursor];
                        let mut hits = Vec::new();
                        while let Some(labels) = least(&cursors, None, &mut hits) {
                            // A series that is deleted as a whole is not there any more.
                            let about = &block.about;
                            let gone = cursors[0]
                                .deleted(&labels)
                                .any(|(from, to)| from <= about.start_ms && to >= about.end_ms);
                            if !gone {
                                each(&labels);
                            }
                            cursors[0].advance()?;
                        }
                        Ok(())
                    });
                if let Err(why) = read {
                    self.set_aside(&block, &why);
                }
            }
        }
    }

    /// The exemplars between two times of the series that match one of the lists
    /// of conditions, by series, each ascending by time.
    pub fn exemplars(
        &self,
        any_of: &[Vec<Matcher>],
        start_ms: i64,
        end_ms: i64,
    ) -> Vec<(Labels, Vec<Exemplar>)> {
        let state = self.state();
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for held in state.exemplars.iter() {
            let within = (start_ms..=end_ms).contains(&held.at_ms());
            if within && any_of.iter().any(|matchers| Matcher::all_match(matchers, &held.series)) {
                found.entry(held.series.clone()).or_default().push(held.exemplar.clone());
            }
        }
        drop(state);
        found.values_mut().for_each(|list| list.sort_by_key(|e| e.at_ms));
        found.into_iter().collect()
    }

    /// What is known about one metric, or all.
    pub fn metadata(&self, metric: Option<&str>) -> BTreeMap<String, Metadata> {
        let state = self.state();
        match metric {
            Some(metric) => {
                state.metadata.get(metric).map(|m| (metric.to_owned(), m.clone())).into_iter().collect()
            }
            None => state.metadata.clone(),
        }
    }
}
