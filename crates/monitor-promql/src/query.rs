//! A query, read once and evaluated as often as wanted.

use crate::{Error, Matcher, Outcome, Source};

/// A query that was read and understood.
#[derive(Clone, Debug)]
pub struct Query {
    text: String,
}

/// How a query is evaluated, and what it may take.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// How far back a value counts as current, in milliseconds. Prometheus: 5 min.
    pub lookback_ms: i64,
    /// The step of a subquery that gives none, in milliseconds; the interval of rules.
    pub subquery_step_ms: i64,
    /// Samples that may be in memory at once.
    pub max_samples: u64,
    /// Series that one expression may have.
    pub max_series: usize,
    /// Steps of a range query. Prometheus: 11,000.
    pub max_steps: usize,
    /// Keep metric names until the end, so that `label_replace` still sees them
    /// (Prometheus' feature `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Asked often; an answer ends the query.
    pub stop: &'a (dyn Fn() -> Option<Stop> + Sync),
}

/// Why a query must end before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Its deadline passed.
    Deadline,
    /// Nobody waits for it any more.
    Cancelled,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            subquery_step_ms: 60_000,
            max_samples: 50_000_000,
            max_series: 100_000,
            max_steps: 11_000,
            delayed_name_removal: false,
            stop: &|| None,
        }
    }
}

impl Query {
    /// Reads a query.
    pub fn parse(text: &str) -> Result<Self, Error> {
        Ok(Self { text: text.into() })
    }

    /// The text it was read from.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The conditions of each selector in it, in order; a selector with `or`
    /// counts once for each alternative.
    pub fn selectors(&self) -> Vec<Vec<Matcher>> {
        Vec::new()
    }

    /// Evaluates at one time.
    pub fn instant(
        &self,
        _source: &dyn Source,
        _at_ms: i64,
        _options: &Options<'_>,
    ) -> Result<Outcome, Error> {
        Err(Error::NotImplemented("evaluation".into()))
    }

    /// Evaluates at `start`, `start + step` and so on until `end`, in
    /// milliseconds. The answer is always a matrix.
    pub fn range(
        &self,
        _source: &dyn Source,
        _start_ms: i64,
        _end_ms: i64,
        _step_ms: i64,
        _options: &Options<'_>,
    ) -> Result<Outcome, Error> {
        Err(Error::NotImplemented("evaluation".into()))
    }
}

/// Reads a series selector, the `match[]` of the HTTP API: `up{job="a"}`. Each
/// inner list is an alternative whose conditions must all match.
pub fn parse_selector(_text: &str) -> Result<Vec<Vec<Matcher>>, Error> {
    Err(Error::NotImplemented("evaluation".into()))
}
