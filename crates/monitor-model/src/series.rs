//! Series in memory, and the trait by which they are read.

use crate::{Histogram, Labels, Matcher};
use std::sync::Arc;

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

/// A histogram at a time.
#[derive(Clone, Debug)]
pub struct HistogramPoint {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The histogram; may be the staleness marker.
    pub value: Arc<Histogram>,
}

/// What a sample holds.
#[derive(Clone, Debug)]
pub enum Value {
    /// A number.
    Float(f64),
    /// A native histogram.
    Histogram(Arc<Histogram>),
}

/// A series and its points, ascending by time, each time once over both lists.
#[derive(Clone, Debug, Default)]
pub struct SeriesData {
    /// What names it.
    pub labels: Labels,
    /// Its numbers.
    pub points: Vec<Point>,
    /// Its histograms.
    pub histograms: Vec<HistogramPoint>,
    /// Start timestamps of `points` (when the counter began, Unix milliseconds;
    /// 0 where not known): as many as there are points, or none at all.
    pub starts: Vec<i64>,
    /// Start timestamps of `histograms`, likewise.
    pub histogram_starts: Vec<i64>,
}

impl SeriesData {
    /// A series of numbers.
    pub fn of_points(labels: Labels, points: Vec<Point>) -> Self {
        Self { labels, points, ..Self::default() }
    }

    /// Whether it has no point at all.
    pub fn is_empty(&self) -> bool {
        self.points.is_empty() && self.histograms.is_empty()
    }

    /// Forgets what it holds; the memory stays for the next series.
    pub fn clear(&mut self) {
        self.labels = Labels::empty();
        self.points.clear();
        self.histograms.clear();
        self.starts.clear();
        self.histogram_starts.clear();
    }
}

/// Which of a rollup's numbers stands for a window of samples. Raw samples are
/// given so that the same calculation fits both: as they are for `Value`, `Min`,
/// `Max` and `Sum`, as 1 for `Count`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Column {
    /// The last value of the window.
    #[default]
    Value,
    /// The smallest.
    Min,
    /// The largest.
    Max,
    /// Their sum.
    Sum,
    /// How many there were.
    Count,
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
    /// What is wanted where only rollups are left; see [`Source::raw_since_ms`].
    pub column: Column,
    /// The parts of this time that are looked at; none: all of it. A source may
    /// leave out what lies between them, and may give it.
    pub windows: Option<Windows>,
}

/// Windows of time, equally long and equally distant: what `rate(…[5m])` at every
/// hour needs of a month is a twelfth of its samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// When the first one ends, inclusive, in Unix milliseconds.
    pub end_ms: i64,
    /// From the end of one to the end of the next; longer than they are.
    pub step_ms: i64,
    /// How long each is: what is so much older than its end is outside of it.
    pub length_ms: i64,
}

impl Windows {
    /// Whether a time is in one of them.
    pub fn has(&self, at_ms: i64) -> bool {
        let before_end = self.end_ms.saturating_sub(at_ms);
        before_end < self.length_ms && before_end.rem_euclid(self.step_ms) < self.length_ms
    }
}

impl<'a> Selection<'a> {
    /// The values of what matches between two times, both inclusive.
    pub fn new(matchers: &'a [Matcher], start_ms: i64, end_ms: i64) -> Self {
        Self { matchers, start_ms, end_ms, column: Column::Value, windows: None }
    }
}

/// Something that has series.
pub trait Source {
    /// The selected series that have a point in the time range, ascending by
    /// labels. The stream decodes a series when it is asked for it, so that a
    /// query over many series holds the raw points of one at a time.
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError>;

    /// Samples are as they came since this time; what is older was rolled up,
    /// and a selection's [`Column`] counts there.
    fn raw_since_ms(&self) -> i64 {
        i64::MIN
    }
}

/// The series of a selection, one after another.
pub trait SeriesStream {
    /// Puts the next series in the place of what `into` holds (its memory is
    /// used again); `false` after the last one.
    fn next_into(&mut self, into: &mut SeriesData) -> Result<bool, SourceError>;

    /// The next series, in memory of its own.
    fn next_series(&mut self) -> Result<Option<SeriesData>, SourceError> {
        let mut series = SeriesData::default();
        Ok(self.next_into(&mut series)?.then_some(series))
    }

    /// What the user of the result must know: a damaged block that was left
    /// out, say. Asked for after the last series.
    fn warnings(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// What the user of the result may want to know: that rollups stand for
    /// samples that expired. Asked for after the last series.
    fn infos(&mut self) -> Vec<String> {
        Vec::new()
    }
}

/// Why a source could not give its series.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// A source and stream over series that are in memory; for tests, and for
/// series that were computed. It leaves out all that it may.
impl Source for Vec<SeriesData> {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        let (start, end) = (selection.start_ms, selection.end_ms);
        let mut found: Vec<SeriesData> = self
            .iter()
            .filter(|series| Matcher::all_match(selection.matchers, &series.labels))
            .map(|series| {
                let within = |at_ms: i64| {
                    (start..=end).contains(&at_ms) && selection.windows.is_none_or(|w| w.has(at_ms))
                };
                let starts = |all: &[i64], times: &mut dyn Iterator<Item = i64>| -> Vec<i64> {
                    all.iter().zip(times).filter(|(_, at)| within(*at)).map(|(start, _)| *start).collect()
                };
                SeriesData {
                    labels: series.labels.clone(),
                    points: series.points.iter().filter(|p| within(p.at_ms)).copied().collect(),
                    histograms: series.histograms.iter().filter(|p| within(p.at_ms)).cloned().collect(),
                    starts: starts(&series.starts, &mut series.points.iter().map(|p| p.at_ms)),
                    histogram_starts: starts(
                        &series.histogram_starts,
                        &mut series.histograms.iter().map(|p| p.at_ms),
                    ),
                }
            })
            .filter(|series| !series.is_empty())
            .collect();
        found.sort_by(|a, b| a.labels.cmp(&b.labels));
        Ok(Box::new(found.into_iter()))
    }
}

impl SeriesStream for std::vec::IntoIter<SeriesData> {
    fn next_into(&mut self, into: &mut SeriesData) -> Result<bool, SourceError> {
        let next = self.next();
        let more = next.is_some();
        *into = next.unwrap_or_default();
        Ok(more)
    }
}
