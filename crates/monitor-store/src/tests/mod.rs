//! Tests that need the inside of the store: a disk that fails at any step.

mod faults;
mod features;
mod model;

use crate::{Settings, Store};
use base::Millis;
use monitor_model::{Matcher, Selection, SeriesData, Source};
use std::path::Path;

pub(crate) const MINUTE: i64 = 60_000;
pub(crate) const NOW: i64 = 1_764_000_000_000;

/// Blocks of ten minutes, lateness of five.
pub(crate) fn settings() -> Settings {
    Settings { block: Millis(600_000), out_of_order: Millis(300_000), ..Settings::default() }
}

/// A directory in memory where there is one: syncing to a disk would take most of the time.
pub(crate) fn fast_dir() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Everything that is selected, and what there is to say about it.
pub(crate) fn select(
    source: &dyn Source,
    matchers: &[Matcher],
    start_ms: i64,
    end_ms: i64,
) -> (Vec<SeriesData>, Vec<String>) {
    let mut stream = source.select(&Selection::new(matchers, start_ms, end_ms)).unwrap();
    let mut all = Vec::new();
    while let Some(series) = stream.next_series().unwrap() {
        all.push(series);
    }
    assert_eq!(stream.warnings(), Vec::<String>::new());
    assert!(all.windows(2).all(|pair| pair[0].labels < pair[1].labels), "series are not in order");
    (all, stream.infos())
}

/// Everything in a store.
pub(crate) fn everything(store: &Store) -> Vec<SeriesData> {
    select(store, &[], i64::MIN, i64::MAX).0
}
