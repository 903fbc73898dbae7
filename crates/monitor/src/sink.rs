//! What is stored, and what became of it: the one way into the store.
//!
//! Appending waits for the disk, so it is called from threads that may wait. A
//! full disk costs the samples of that moment, each counted; the next append
//! tries again, and rules see them all the same ([`crate::recent`]).

use crate::push::Forward;
use crate::recent::{Recent, Seen};
use base::names;
use monitor_model::{Metadata, Point};
use monitor_promql::{Histogram, Labels};
use monitor_store::{AppendReport, Batch, Refusal, Sample, SeriesRef, Store};
use role::{Counter, Registry};
use std::sync::{Arc, Mutex, PoisonError};

/// A sample on its way to the store.
pub(crate) struct Pending {
    /// What names the series.
    pub(crate) labels: Labels,
    /// Unix milliseconds.
    pub(crate) at_ms: i64,
    /// The value.
    pub(crate) value: f64,
}

/// The store with its counters.
pub(crate) struct Sink {
    store: Arc<Store>,
    /// What is stored is sent on too.
    forward: Arc<Forward>,
    /// What the disk did not take.
    recent: Recent,
    stored: Arc<Counter>,
    duplicate: Arc<Counter>,
    out_of_order: Arc<Counter>,
    refused: Arc<Counter>,
    failed: Arc<Counter>,
    /// The last failure, until an append succeeds.
    trouble: Mutex<Option<String>>,
}

impl Sink {
    /// Counts in `registry`.
    pub(crate) fn new(store: Arc<Store>, forward: Arc<Forward>, registry: &Registry) -> Self {
        let samples = registry.counter(&names::MONITOR_SAMPLES);
        Self {
            store,
            forward,
            recent: Recent::default(),
            stored: samples.with(&["stored"]),
            duplicate: samples.with(&["duplicate"]),
            out_of_order: samples.with(&["out_of_order"]),
            refused: samples.with(&["refused"]),
            failed: samples.with(&["failed"]),
            trouble: Mutex::new(None),
        }
    }

    /// Stores a batch. What is not stored is counted by reason.
    pub(crate) fn append(&self, batch: &[Pending]) {
        if batch.is_empty() {
            return;
        }
        let samples: Vec<Sample<'_>> =
            batch.iter().map(|p| Sample { labels: &p.labels, at_ms: p.at_ms, value: p.value }).collect();
        let now_ms = sys::clock::now_ms() as i64;
        match self.store.append_samples(&samples, now_ms) {
            Ok(report) => {
                self.recent.forget(now_ms);
                self.forward.samples(batch);
                self.stored.add(report.stored);
                self.duplicate.add(report.duplicates);
                for (reason, count) in &report.refused {
                    let counter =
                        if reason.result() == "out_of_order" { &self.out_of_order } else { &self.refused };
                    counter.add(*count);
                }
                self.note(report.first_refused.map(|(at, reason)| {
                    let labels = batch.get(at).map(|p| p.labels.to_string()).unwrap_or_default();
                    format!("{reason}: {labels}")
                }));
            }
            Err(error) => {
                self.failed.add(batch.len() as u64);
                self.note(Some(error.to_string()));
                let floats =
                    batch.iter().map(|p| (p.labels.clone(), Point { at_ms: p.at_ms, value: p.value }));
                self.recent.keep(floats, std::iter::empty(), now_ms);
            }
        }
    }

    /// Stores rows of series that were asked for before. What is not stored is
    /// counted by reason; rows of series that the store has forgotten are named in
    /// the report and not counted here. `None` where the disk failed.
    pub(crate) fn append_batch(&self, batch: &Batch) -> Option<AppendReport> {
        if batch.is_empty() {
            return Some(AppendReport::default());
        }
        let now_ms = sys::clock::now_ms() as i64;
        match self.store.append(batch, now_ms) {
            Ok(report) => {
                self.forward.rows(batch);
                self.stored.add(report.stored);
                self.duplicate.add(report.duplicates);
                let of_rows = report.refused.iter().filter(|(reason, _)| *reason != Refusal::Forgotten);
                for (reason, count) in of_rows {
                    let counter =
                        if reason.result() == "out_of_order" { &self.out_of_order } else { &self.refused };
                    counter.add(*count);
                }
                let first = report.first_refused.filter(|(_, reason)| *reason != Refusal::Forgotten);
                self.note(first.map(|(_, reason)| reason.to_string()));
                Some(report)
            }
            Err(error) => {
                self.failed.add((batch.floats.len() + batch.histograms.len()) as u64);
                self.note(Some(error.to_string()));
                self.keep(batch, now_ms);
                None
            }
        }
    }

    fn keep(&self, batch: &Batch, now_ms: i64) {
        let of = |rows: Vec<SeriesRef>| self.store.labels_of(rows);
        let floats = of(batch.floats.iter().map(|row| row.series).collect());
        let histograms = of(batch.histograms.iter().map(|row| row.series).collect());
        let floats = floats
            .into_iter()
            .zip(&batch.floats)
            .filter_map(|(labels, row)| Some((labels?, Point { at_ms: row.at_ms, value: row.value })));
        let histograms = histograms
            .into_iter()
            .zip(&batch.histograms)
            .filter_map(|(labels, row)| Some((labels?, row.at_ms, row.value.clone())));
        self.recent.keep(floats, histograms, now_ms);
    }

    /// Samples that a scrape had and that became no rows: a second one of a series,
    /// and those of series that the store does not take, with the first reason.
    pub(crate) fn note_scrape(&self, duplicates: u64, refused: &(u64, Option<String>)) {
        self.duplicate.add(duplicates);
        self.refused.add(refused.0);
        if let Some(why) = &refused.1 {
            self.note(Some(why.clone()));
        }
    }

    /// Stores what is known of metrics; `false` where the disk does not take it.
    pub(crate) fn append_metadata<'a>(&self, all: impl IntoIterator<Item = (&'a str, &'a Metadata)>) -> bool {
        let stored = self.store.append_metadata(all);
        if let Err(error) = &stored {
            self.note(Some(error.to_string()));
        }
        stored.is_ok()
    }

    /// Stores native histograms: labels, Unix milliseconds, value.
    pub(crate) fn append_histograms(&self, rows: &[(Labels, i64, Arc<Histogram>)]) {
        let mut batch = Batch::default();
        for (labels, at_ms, value) in rows {
            match self.store.series(labels) {
                Ok(series) => {
                    let row = monitor_store::HistogramRow {
                        series,
                        at_ms: *at_ms,
                        value: value.clone(),
                        start_ms: 0,
                    };
                    batch.histograms.push(row);
                }
                Err(why) => {
                    self.refused.add(1);
                    self.note(Some(format!("{why}: {labels}")));
                }
            }
        }
        self.append_batch(&batch);
    }

    /// The last failure, where the last append had one.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// What rules see: the store, and what the disk did not take lately.
    pub(crate) fn seen(&self) -> Seen<'_> {
        Seen { store: &self.store, recent: &self.recent }
    }

    /// The store, for queries.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
