//! The store.

use crate::{AppendReport, Error, MaintainReport, OpenReport, Sample, Settings, Stats};
use monitor_promql::{Labels, Matcher, Selection, SeriesStream, Source, SourceError};
use std::path::Path;

/// The store. All methods take `&self`; appends come one at a time, queries run
/// beside them.
#[derive(Debug)]
pub struct Store {
    _settings: Settings,
}

impl Store {
    /// Opens the store in a directory, which is made where it is missing, and
    /// reads the log back. `now_ms` is the time in Unix milliseconds.
    pub fn open(_dir: &Path, settings: Settings, _now_ms: i64) -> Result<(Self, OpenReport), Error> {
        Ok((Self { _settings: settings }, OpenReport::default()))
    }

    /// Stores samples. What the report counts as stored survives the end of the
    /// process. An error means that none of the batch was stored.
    pub fn append(&self, _batch: &[Sample<'_>], _now_ms: i64) -> Result<AppendReport, Error> {
        Ok(AppendReport::default())
    }

    /// Syncs the log to the disk, whatever the interval.
    pub fn commit(&self) -> Result<(), Error> {
        Ok(())
    }

    /// Does what is due: syncs, cuts and merges blocks, drops old ones. Call it
    /// every few seconds, off the threads that must not wait.
    pub fn maintain(&self, _now_ms: i64) -> Result<MaintainReport, Error> {
        Ok(MaintainReport::default())
    }

    /// The names of labels, ascending, of the series that match one of the lists
    /// of conditions (all series where there is none) between two times.
    pub fn label_names(
        &self,
        _any_of: &[Vec<Matcher>],
        _start_ms: i64,
        _end_ms: i64,
    ) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// The values of a label, ascending; otherwise as [`Store::label_names`].
    pub fn label_values(
        &self,
        _name: &str,
        _any_of: &[Vec<Matcher>],
        _start_ms: i64,
        _end_ms: i64,
    ) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    /// The label sets, ascending; otherwise as [`Store::label_names`].
    pub fn series(
        &self,
        _any_of: &[Vec<Matcher>],
        _start_ms: i64,
        _end_ms: i64,
    ) -> Result<Vec<Labels>, Error> {
        Ok(Vec::new())
    }

    /// The store in numbers.
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}

impl Source for Store {
    fn select(&self, _selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        Ok(Box::new(Vec::new().into_iter()))
    }
}
