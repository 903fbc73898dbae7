//! What is stored, and what became of it: the one way into the store.
//!
//! Appending waits for the disk, so it is called from threads that may wait. A
//! full disk costs the samples of that moment, each counted; the next append
//! tries again.

use base::names;
use monitor_promql::Labels;
use monitor_store::{Sample, Store};
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
    pub(crate) fn new(store: Arc<Store>, registry: &Registry) -> Self {
        let samples = registry.counter(&names::MONITOR_SAMPLES);
        Self {
            store,
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
            }
        }
    }

    /// The last failure, where the last append had one.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    /// The store, for queries.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }
}
