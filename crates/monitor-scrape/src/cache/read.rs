//! From entries to rows.

use super::{Appender, Failure, Outcome, Rules, Scrape};
use crate::exposed;
use crate::nhcb::{Collected, Collector};
use crate::relabel::Builder;
use monitor_exposition::{Entry, Format, HistogramEntry, LabelPairs, Limits, Parser, Sample};
use monitor_model::labels::{is_label_name, is_metric_name};
use monitor_model::{Exemplar, Histogram, METRIC_NAME, Metadata, STALE};
use std::hash::Hash;
use std::sync::Arc;

/// Families whose metadata is remembered for a target.
const MAX_METADATA: usize = 20_000;

/// Bytes of a help text that are remembered.
const MAX_HELP: usize = 1_024;

/// Exemplars of one scrape that are kept.
const MAX_EXEMPLARS: u64 = 100_000;

impl<S: Copy + Eq + Hash + std::fmt::Debug> Scrape<S> {
    /// Reads a body that was scraped at `at_ms`. Of one that is refused nothing is
    /// appended but the end of all series.
    pub fn take<A: Appender<Series = S>>(
        &mut self,
        format: Format,
        body: &[u8],
        at_ms: i64,
        appender: &mut A,
    ) -> Outcome {
        if self.rules.limits.series > 0 {
            let known = self.table.iter().filter(|known| known.series.is_some());
            self.churn.begin(at_ms, known.map(|known| &known.labels));
        }
        self.table.begin();
        let mut reading =
            Reading { scrape: self, appender, at_ms, outcome: Outcome::default(), exemplars: 0 };
        let read = reading.read(format, body);
        let mut outcome = std::mem::take(&mut reading.outcome);
        if let Err(failure) = read {
            outcome.failure = Some(failure);
            outcome.added = 0;
            appender.clear();
            self.fail(at_ms, appender);
            return outcome;
        }
        for series in self.table.end_missing() {
            appender.float(series, at_ms, STALE, 0);
        }
        outcome
    }
}

struct Reading<'r, A: Appender> {
    scrape: &'r mut Scrape<A::Series>,
    appender: &'r mut A,
    at_ms: i64,
    outcome: Outcome,
    exemplars: u64,
}

/// A series and the time of its sample; `None` where there is nothing to append.
type Place<S> = Option<(S, i64)>;

impl<A: Appender> Reading<'_, A> {
    fn read(&mut self, format: Format, body: &[u8]) -> Result<(), Failure> {
        let rules = &self.scrape.rules;
        let mut collector = rules.classic_to_native.then(Collector::default);
        let classic_too = rules.classic_too;
        let mut parser = Parser::new(format, body, Limits::default())?
            .with_native_histograms(rules.native_histograms)
            .with_classic_histograms(classic_too);
        while let Some(entry) = parser.next_entry()? {
            match entry {
                Entry::Sample(sample) => {
                    let mut told = false;
                    if let Some(collector) = &mut collector {
                        let (taken, done) = collector.take(&sample);
                        told = taken;
                        self.collected(done)?;
                    }
                    if !told || classic_too {
                        self.sample(&sample)?;
                    }
                }
                Entry::Histogram(entry) => {
                    if let Some(collector) = &mut collector {
                        collector.is_native();
                    }
                    self.histogram(*entry)?;
                }
                Entry::Type { family, kind } => {
                    if let Some(collector) = &mut collector {
                        let done = collector.family(&family, kind);
                        self.collected(done)?;
                    }
                    self.metadata(&family, |known| known.kind != kind, |known| known.kind = kind);
                }
                Entry::Unit { family, unit } => {
                    self.metadata(&family, |known| known.unit != unit, |known| known.unit = unit.to_owned());
                }
                Entry::Help { family, text } => {
                    let text = &text[..text.floor_char_boundary(MAX_HELP)];
                    self.metadata(&family, |known| known.help != text, |known| known.help = text.to_owned());
                }
            }
        }
        if let Some(mut collector) = collector {
            let done = collector.finish();
            self.collected(done)?;
        }
        let (samples, limit) = (self.outcome.kept, self.scrape.rules.limits.samples);
        if limit > 0 && samples > limit {
            return Err(Failure::Samples { samples, limit });
        }
        Ok(())
    }

    /// Changes what is known of a family where it has changed.
    fn metadata(
        &mut self,
        family: &str,
        differs: impl Fn(&Metadata) -> bool,
        change: impl Fn(&mut Metadata),
    ) {
        let all = &mut self.scrape.metadata;
        let room = all.len() < MAX_METADATA;
        match all.get_mut(family) {
            Some(known) if differs(known) => change(known),
            None if room => change(all.entry(family.into()).or_default()),
            _ => return,
        }
        self.scrape.metadata_version += 1;
    }

    fn sample(&mut self, sample: &Sample<'_>) -> Result<(), Failure> {
        let Some((series, at_ms)) = self.place(sample.key, &sample.name, sample.labels, sample.at_ms)? else {
            return Ok(());
        };
        self.appender.float(series, at_ms, sample.value, sample.start_ms);
        if let Some(exemplar) = &sample.exemplar
            && self.exemplars < MAX_EXEMPLARS
        {
            self.exemplars += 1;
            self.appender.exemplar(series, exemplar.to_exemplar(), at_ms);
        }
        Ok(())
    }

    fn histogram(&mut self, entry: HistogramEntry<'_>) -> Result<(), Failure> {
        let Some((series, at_ms)) = self.place(entry.key, &entry.name, entry.labels, entry.at_ms)? else {
            return Ok(());
        };
        let histogram = fitted(entry.histogram, &self.scrape.rules)?;
        self.append_histogram(series, at_ms, Arc::new(histogram), entry.start_ms, entry.exemplars);
        Ok(())
    }

    fn append_histogram(
        &mut self,
        series: A::Series,
        at_ms: i64,
        histogram: Arc<Histogram>,
        start_ms: i64,
        exemplars: Vec<Exemplar>,
    ) {
        self.appender.histogram(series, at_ms, histogram, start_ms);
        for exemplar in exemplars {
            if self.exemplars < MAX_EXEMPLARS {
                self.exemplars += 1;
                self.appender.exemplar(series, exemplar, at_ms);
            }
        }
    }

    /// A classic histogram that was read to its end.
    fn collected(&mut self, done: Option<Collected>) -> Result<(), Failure> {
        let Some(Collected { labels, histogram, at_ms, start_ms, exemplars }) = done else { return Ok(()) };
        // No text of an exposition begins so.
        let mut key = vec![0xff];
        for (name, value) in labels.iter() {
            key.extend_from_slice(name.as_bytes());
            key.push(0xff);
            key.extend_from_slice(value.as_bytes());
            key.push(0xff);
        }
        if let Some((series, at_ms)) = self.place_of(&key, at_ms, |()| labels)? {
            self.append_histogram(series, at_ms, histogram, start_ms, exemplars);
        }
        Ok(())
    }

    fn place(
        &mut self,
        key: &[u8],
        name: &str,
        pairs: LabelPairs<'_>,
        at_ms: Option<i64>,
    ) -> Result<Place<A::Series>, Failure> {
        self.place_of(key, at_ms, |()| {
            let mut labels = Builder::default();
            labels.set(METRIC_NAME, name);
            for (name, value) in pairs {
                labels.set(&name, &value);
            }
            labels
        })
    }

    /// Which series a sample is of, and when it is.
    fn place_of(
        &mut self,
        key: &[u8],
        own_ms: Option<i64>,
        labels: impl FnOnce(()) -> Builder,
    ) -> Result<Place<A::Series>, Failure> {
        self.outcome.scraped += 1;
        let rules = &self.scrape.rules;
        let own_ms = own_ms.filter(|_| rules.honor_timestamps);
        let track = own_ms.is_none() || rules.track_timestamps_staleness;
        let limit = rules.limits.samples;
        let (at, fresh) = match self.scrape.table.find(key) {
            Some(at) => (at, false),
            None => match self.learn(key, labels(()))? {
                Some(at) => (at, true),
                None => return Ok(None),
            },
        };
        let round = self.scrape.table.round();
        let known = self.scrape.table.get_mut(at);
        let again = std::mem::replace(&mut known.round, round) == round;
        let Some(series) = known.series else { return Ok(None) };
        if again && own_ms.is_none() {
            self.outcome.duplicates += 1;
            return Ok(None);
        }
        known.track = track;
        self.outcome.kept += 1;
        self.outcome.added += u64::from(fresh);
        // Beyond the limit samples are only counted: the scrape fails at its end.
        if limit > 0 && self.outcome.kept > limit {
            return Ok(None);
        }
        Ok(Some((series, own_ms.unwrap_or(self.at_ms))))
    }

    /// A series that was not known; `None` where the store does not take it.
    fn learn(&mut self, key: &[u8], labels: Builder) -> Result<Option<usize>, Failure> {
        let rules = &self.scrape.rules;
        let labels = exposed::of_sample(labels, &rules.target, rules.honor_labels, &rules.metric_relabel);
        let Some(labels) = labels else {
            return Ok(Some(self.scrape.table.add(key, monitor_model::Labels::empty(), None)));
        };
        if labels.get(METRIC_NAME).is_empty() {
            let labels = labels.build();
            return Err(Failure::Name(format!(
                "`{labels}` has no name after relabelling; hint: drop it instead"
            )));
        }
        if rules.legacy_names && !is_legacy(&labels) {
            let labels = labels.build();
            return Err(Failure::Name(format!(
                "`{labels}` has a name that the legacy scheme does not have; hint: `metric_name_validation_scheme: utf8`"
            )));
        }
        exposed::within(&rules.limits, &labels).map_err(Failure::Labels)?;
        let labels = labels.build();
        let limit = rules.limits.series;
        let found = match limit > 0 && !self.scrape.churn.takes(&labels, limit) {
            true => Err(format!(
                "`{labels}` is a new series of a target that had {limit} within a day; hint: a label that differs each time, as an address or an id, belongs into logs; drop it with `metric_relabel_configs`, or raise `limits.series`"
            )),
            false => self.appender.series(&labels),
        };
        match found {
            Ok(series) => Ok(Some(self.scrape.table.add(key, labels, Some(series)))),
            Err(why) => {
                self.outcome.kept += 1;
                self.outcome.refused.0 += 1;
                self.outcome.refused.1.get_or_insert(why);
                Ok(None)
            }
        }
    }
}

/// Whether all names can be written without quotes.
fn is_legacy(labels: &Builder) -> bool {
    is_metric_name(labels.get(METRIC_NAME)) && labels.iter().all(|(name, _)| is_label_name(name))
}

/// A native histogram within `native_histogram_bucket_limit` and
/// `native_histogram_min_bucket_factor`.
fn fitted(mut histogram: Histogram, rules: &Rules) -> Result<Histogram, Failure> {
    if let Some(schema) = rules.max_schema {
        histogram.reduce_resolution(schema);
    }
    let buckets = |histogram: &Histogram| histogram.positive.counts.len() + histogram.negative.counts.len();
    let limit = rules.bucket_limit;
    while limit > 0 && buckets(&histogram) > limit {
        let schema = histogram.schema;
        if schema > -4 {
            histogram.reduce_resolution(schema - 1);
        }
        if histogram.schema == schema {
            let buckets = buckets(&histogram);
            return Err(Failure::Buckets(format!(
                "native histogram bucket limit exceeded: {buckets} buckets at the coarsest, limit {limit}"
            )));
        }
    }
    Ok(histogram)
}
