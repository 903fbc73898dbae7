//! Where a query gets its samples from.

use crate::{Labels, Matcher};

/// The bits that mark a series as gone since this time, as Prometheus writes
/// them (`model/value/value.go`, StaleNaN): a NaN that no calculation makes.
pub const STALE_BITS: u64 = 0x7ff0_0000_0000_0002;

/// The staleness marker.
pub const STALE: f64 = f64::from_bits(STALE_BITS);

/// Whether a value is the staleness marker; an ordinary NaN is not.
pub fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_BITS
}

/// A value at a time.
#[derive(Clone, Copy, Debug)]
pub struct Point {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The value; may be [`STALE`].
    pub value: f64,
}

/// A series and its points, ascending by time, each time once.
#[derive(Clone, Debug, Default)]
pub struct SeriesData {
    /// What names it.
    pub labels: Labels,
    /// Its points.
    pub points: Vec<Point>,
}

/// What a query asks of its source.
#[derive(Clone, Debug)]
pub struct Selection<'a> {
    /// All must match.
    pub matchers: &'a [Matcher],
    /// The first time wanted, inclusive, in Unix milliseconds.
    pub start_ms: i64,
    /// The last time wanted, inclusive.
    pub end_ms: i64,
}

/// Something that has series.
pub trait Source {
    /// The selected series that have a point in the time range, ascending by
    /// labels. The stream decodes a series when it is asked for it, so that a
    /// query over many series holds the raw points of one at a time.
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError>;
}

/// The series of a selection, one after another.
pub trait SeriesStream {
    /// The next series.
    fn next_series(&mut self) -> Result<Option<SeriesData>, SourceError>;

    /// What the user of the result must know: a damaged block that was left
    /// out, say. Asked for after the last series.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Why a source could not give its series.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A source and stream over series that are in memory; for tests, and for
/// series that were computed.
impl Source for Vec<SeriesData> {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        let (start, end) = (selection.start_ms, selection.end_ms);
        let mut found: Vec<SeriesData> = self
            .iter()
            .filter(|series| Matcher::all_match(selection.matchers, &series.labels))
            .map(|series| {
                let points = series.points.iter().filter(|p| (start..=end).contains(&p.at_ms)).copied();
                SeriesData { labels: series.labels.clone(), points: points.collect() }
            })
            .filter(|series| !series.points.is_empty())
            .collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Box::new(found.into_iter()))
    }
}

impl SeriesStream for std::vec::IntoIter<SeriesData> {
    fn next_series(&mut self) -> Result<Option<SeriesData>, SourceError> {
        Ok(self.next())
    }
}
