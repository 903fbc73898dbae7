//! Appending: what is given, checked, logged and put into the head, in this order.

use crate::exemplars::Held;
use crate::head::{Applied, Head};
use crate::record::{self, LoggedFloat, LoggedHistogram};
use crate::store::{Ingest, State, Store, locked};
use crate::{AppendReport, Batch, Error, FloatRow, HistogramRow, Refusal, Sample, SeriesRef};
use monitor_model::{Exemplar, Labels, Metadata};
use std::sync::atomic::Ordering;

/// Times beyond 2^52 ms (the year 144,683) are nobody's, and could overflow.
const FARTHEST_MS: i64 = 1 << 52;
/// A sample that is newer than its series' newest may be an hour behind the
/// store's newest, as in Prometheus: a target may be late as a whole.
const BEHIND_MS: i64 = 3_600_000;
/// Metrics' names, units and help texts are cut here.
const MAX_METADATA_TEXT: usize = 16 << 10;

/// From when on samples are taken now.
#[derive(Clone, Copy, Debug)]
struct Window {
    newest_ms: i64,
    /// For a sample newer than its series' newest.
    oldest_ms: i64,
    /// For a late one.
    oldest_late_ms: i64,
}

impl Window {
    fn check(self, at_ms: i64, last_ms: i64) -> Result<(), Refusal> {
        if at_ms > self.newest_ms {
            return Err(Refusal::Future);
        }
        let oldest_ms = if at_ms >= last_ms { self.oldest_ms } else { self.oldest_late_ms };
        if at_ms < oldest_ms { Err(Refusal::TooOld) } else { Ok(()) }
    }
}

impl Store {
    /// Finds a series, or defines it. It becomes durable with its first sample.
    pub fn series(&self, labels: &Labels) -> Result<SeriesRef, Refusal> {
        if let Some(found) = self.state().head.find(labels) {
            return Ok(found);
        }
        let checked = self.check_labels(labels);
        let mut state = self.state_mut();
        if let Some(found) = state.head.find(labels) {
            return Ok(found);
        }
        let refusal = match checked {
            Ok(()) if state.head.len() < self.settings.max_series => {
                return Ok(state.head.define(labels.clone()));
            }
            Ok(()) => Refusal::TooManySeries,
            Err(why) => why,
        };
        drop(state);
        Err(refusal)
    }

    /// The labels of series, in the order asked for; `None` where the store
    /// forgot one.
    pub fn labels_of(&self, series: impl IntoIterator<Item = SeriesRef>) -> Vec<Option<Labels>> {
        let state = self.state();
        let all = series.into_iter().map(|series| state.head.get(series));
        all.map(|series| series.map(|series| series.labels.clone())).collect()
    }

    fn check_labels(&self, labels: &Labels) -> Result<(), Refusal> {
        let limits = &self.settings;
        if labels.is_empty() {
            return Err(Refusal::NoLabels);
        }
        if labels.len() > limits.max_labels {
            return Err(Refusal::TooManyLabels);
        }
        for (name, value) in labels {
            if name.len() > limits.max_label_name {
                return Err(Refusal::LabelNameTooLong);
            }
            if value.len() > limits.max_label_value {
                return Err(Refusal::LabelValueTooLong);
            }
        }
        Ok(())
    }

    fn window(&self, head: &Head, now_ms: i64) -> Window {
        // Whichever is earlier: a clock or a sample that was ahead for a while
        // must not keep out what comes after it.
        let current_ms = head.max_ms.min(now_ms);
        let late = self.settings.out_of_order.0 as i64;
        Window {
            newest_ms: now_ms.saturating_add(self.settings.future.0 as i64).min(FARTHEST_MS),
            oldest_ms: current_ms.saturating_sub(late.max(BEHIND_MS)).max(-FARTHEST_MS),
            oldest_late_ms: current_ms.saturating_sub(late).max(-FARTHEST_MS),
        }
    }

    /// Stores what is in a batch. What the report counts as stored is in the log
    /// and survives the end of the process. An error means that nothing of the
    /// batch was stored.
    ///
    /// Of two values of a series for the same time the one that was acknowledged
    /// first is the series' value. The head tells the second one apart (as a
    /// duplicate or a conflict); one whose first is in a block already is taken
    /// for stored, left out when the series is read, and counted as a conflict
    /// ([`Stats::conflicts`](crate::Stats::conflicts)) when the blocks are merged.
    pub fn append(&self, batch: &Batch, now_ms: i64) -> Result<AppendReport, Error> {
        let mut report = AppendReport::default();
        let mut ingest = locked(&self.ingest);
        let planned = self.plan(batch, now_ms, &mut ingest, &mut report);
        let Ingest { log, floats, histograms, records } = &mut *ingest;
        let exemplars = self.plan_exemplars(batch, &planned.new, &mut report, records);
        if floats.is_empty() && histograms.is_empty() && exemplars.is_empty() {
            self.count(&report);
            return Ok(report);
        }
        if !floats.is_empty() {
            record::put_floats(records, floats);
        }
        record::put_histograms(records, histograms);
        let written = match log {
            Some(log) => log.append(records),
            None => Ok(()),
        };
        if let Err(error) = written {
            let rows = batch.floats.len() + batch.histograms.len();
            self.counters.failed.fetch_add(rows as u64, Ordering::Relaxed);
            return Err(error);
        }
        let mut state = self.state_mut();
        apply_floats(&mut state, floats, |at, applied| note(&mut report, &planned.no_floats, at, applied));
        apply_histograms(&mut state, histograms, |at, applied| {
            note(&mut report, &planned.no_histograms, at, applied)
        });
        for (series, row) in exemplars {
            let labels = state.head.get(series).map(|series| series.labels.clone());
            if let Some(labels) = labels {
                let held = Held { series: labels, exemplar: row.clone(), stored_ms: 0 };
                report.exemplars += u64::from(state.exemplars.push(held));
            }
        }
        drop(state);
        self.count(&report);
        // What is stored is in the log and can be queried: a sync that fails now
        // breaks no promise yet. `maintain` tries again and tells.
        let due = ingest.log.as_mut().and_then(crate::log::Log::due);
        drop(ingest);
        if let Some(due) = due
            && due.run().is_err()
            && let Some(log) = &mut locked(&self.ingest).log
        {
            log.give_back(due);
        }
        Ok(report)
    }

    /// Stores samples that come with their labels: the simple form of
    /// [`Store::append`].
    pub fn append_samples(&self, samples: &[Sample<'_>], now_ms: i64) -> Result<AppendReport, Error> {
        let mut batch = Batch::default();
        let mut places = Vec::with_capacity(samples.len());
        let mut refused = AppendReport::default();
        for (place, sample) in samples.iter().enumerate() {
            // A sample that will be refused for its time defines no series.
            let window = self.window(&self.state().head, now_ms);
            let timely = window.check(sample.at_ms, i64::MIN).and_then(|()| self.series(sample.labels));
            match timely {
                Ok(series) => {
                    places.push(place);
                    batch.floats.push(FloatRow {
                        series,
                        at_ms: sample.at_ms,
                        value: sample.value,
                        start_ms: 0,
                    });
                }
                Err(why) => refused.refuse(place, why),
            }
        }
        self.count(&refused);
        let mut report = self.append(&batch, now_ms)?;
        // A series is forgotten between two calls if at all: it is there now.
        let forgotten = std::mem::take(&mut report.forgotten_floats);
        if !forgotten.is_empty() {
            let again: Vec<Sample<'_>> = forgotten.iter().map(|at| samples[places[*at]]).collect();
            let second = self.append_samples(&again, now_ms)?;
            report.stored += second.stored;
            report.duplicates += second.duplicates;
            report.refused.retain(|(why, _)| *why != Refusal::Forgotten);
        }
        report.first_refused = report.first_refused.map(|(at, why)| (places[at], why));
        for (why, count) in refused.refused {
            match report.refused.iter_mut().find(|(reason, _)| *reason == why) {
                Some((_, more)) => *more += count,
                None => report.refused.push((why, count)),
            }
        }
        report.first_refused =
            [report.first_refused, refused.first_refused].into_iter().flatten().min_by_key(|r| r.0);
        Ok(report)
    }

    /// Decides, before anything is written, what is logged; leaves it in `ingest`.
    fn plan(&self, batch: &Batch, now_ms: i64, ingest: &mut Ingest, report: &mut AppendReport) -> Planned {
        let Ingest { floats, histograms, records, .. } = ingest;
        floats.clear();
        histograms.clear();
        records.clear();
        let state = self.state();
        let head = &state.head;
        let window = self.window(head, now_ms);
        let mut planned = Planned::default();
        for (place, row) in batch.floats.iter().enumerate() {
            let Some(series) = head.get(row.series) else {
                report.refuse(place, Refusal::Forgotten);
                report.forgotten_floats.push(place);
                planned.no_floats.push(place);
                continue;
            };
            if let Err(why) = window.check(row.at_ms, series.last.at_ms) {
                report.refuse(place, why);
                planned.no_floats.push(place);
                continue;
            }
            if !series.logged {
                planned.new.push(row.series.slot);
            }
            let FloatRow { at_ms, value, start_ms, .. } = *row;
            floats.push(LoggedFloat { slot: row.series.slot, at_ms, value, start_ms });
        }
        for (place, row) in batch.histograms.iter().enumerate() {
            let Some(series) = head.get(row.series) else {
                report.refuse(place, Refusal::Forgotten);
                report.forgotten_histograms.push(place);
                planned.no_histograms.push(place);
                continue;
            };
            let taken =
                window.check(row.at_ms, series.last.at_ms).and_then(|()| self.check_histogram(&row.value));
            if let Err(why) = taken {
                report.refuse(place, why);
                planned.no_histograms.push(place);
                continue;
            }
            if !series.logged {
                planned.new.push(row.series.slot);
            }
            let HistogramRow { at_ms, ref value, start_ms, .. } = *row;
            histograms.push(LoggedHistogram { slot: row.series.slot, at_ms, value: value.clone(), start_ms });
        }
        planned.new.sort_unstable();
        planned.new.dedup();
        for slot in &planned.new {
            if let Some(series) = head.slot(*slot) {
                record::put_series(records, *slot, &series.labels);
            }
        }
        planned
    }

    fn check_histogram(&self, histogram: &monitor_model::Histogram) -> Result<(), Refusal> {
        if histogram.is_stale() {
            return Ok(());
        }
        let parts = histogram.bucket_count()
            + histogram.bounds.len()
            + histogram.positive.spans.len()
            + histogram.negative.spans.len();
        // Each bucket may come with a span and a bound of its own.
        if histogram.bucket_count() > self.settings.max_buckets || parts > 3 * self.settings.max_buckets + 8 {
            return Err(Refusal::TooManyBuckets);
        }
        histogram.validate().map_err(|_| Refusal::BadHistogram)
    }

    /// Logs the exemplars whose series is or becomes known; gives them.
    fn plan_exemplars(
        &self,
        batch: &Batch,
        new: &[u32],
        report: &mut AppendReport,
        records: &mut Vec<u8>,
    ) -> Vec<(SeriesRef, Exemplar)> {
        if batch.exemplars.is_empty() {
            return Vec::new();
        }
        let state = self.state();
        let mut taken = Vec::new();
        for (place, row) in batch.exemplars.iter().enumerate() {
            let characters: usize =
                row.exemplar.labels.iter().map(|(n, v)| n.chars().count() + v.chars().count()).sum();
            let Some(series) = state.head.get(row.series) else {
                report.forgotten_exemplars.push(place);
                continue;
            };
            // OpenMetrics 1.0, "Exemplars": 128 characters.
            if characters > 128 {
                report.refuse(place, Refusal::ExemplarTooLong);
                continue;
            }
            if !series.logged && new.binary_search(&row.series.slot).is_err() {
                // A series without samples is nothing that the log knows.
                continue;
            }
            let mut exemplar = row.exemplar.clone();
            exemplar.at_ms.get_or_insert(row.at_ms);
            taken.push((row.series, exemplar));
        }
        let logged: Vec<(u32, &Exemplar, i64)> =
            taken.iter().map(|(series, e)| (series.slot, e, 0)).collect();
        record::put_exemplars(records, &logged);
        taken
    }

    /// Stores what is known about metrics; what is known already costs nothing.
    pub fn append_metadata<'a>(
        &self,
        all: impl IntoIterator<Item = (&'a str, &'a Metadata)>,
    ) -> Result<(), Error> {
        let mut ingest = locked(&self.ingest);
        let new: Vec<(String, Metadata)> = {
            let state = self.state();
            let room = self.settings.max_metadata.saturating_sub(state.metadata.len());
            let mut added = 0;
            all.into_iter()
                .map(|(metric, metadata)| {
                    (
                        cut(metric),
                        Metadata {
                            kind: metadata.kind,
                            unit: cut(&metadata.unit),
                            help: cut(&metadata.help),
                        },
                    )
                })
                .filter(|(metric, metadata)| match state.metadata.get(metric) {
                    Some(known) => known != metadata,
                    None => {
                        added += 1;
                        added <= room
                    }
                })
                .collect()
        };
        if new.is_empty() {
            return Ok(());
        }
        let mut records = Vec::new();
        for part in new.chunks(256) {
            let part: Vec<(&str, &Metadata)> = part.iter().map(|(name, m)| (name.as_str(), m)).collect();
            record::put_record(&mut records, record::METADATA, |payload| {
                record::put_metadata(payload, &part)
            });
        }
        if let Some(log) = &mut ingest.log {
            log.append(&records)?;
        }
        self.state_mut().metadata.extend(new);
        Ok(())
    }

    pub(crate) fn count(&self, report: &AppendReport) {
        self.counters.stored.fetch_add(report.stored, Ordering::Relaxed);
        self.counters.duplicates.fetch_add(report.duplicates, Ordering::Relaxed);
        if report.refused.is_empty() {
            return;
        }
        let mut refused = locked(&self.counters.refused);
        for (why, count) in &report.refused {
            // A forgotten series is not a lost sample: it is appended again.
            if *why != Refusal::Forgotten {
                *refused.entry(*why).or_default() += count;
            }
        }
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MAX_METADATA_TEXT)].to_owned()
}

/// What [`Store::plan`] found out beside the rows that are logged.
#[derive(Debug, Default)]
struct Planned {
    /// Slots that the log learns of, ascending.
    new: Vec<u32>,
    /// Places of the batch that are not logged, ascending.
    no_floats: Vec<usize>,
    no_histograms: Vec<usize>,
}

/// Counts what became of the `at`th logged row; `without` are the places of the
/// batch that were not logged.
fn note(report: &mut AppendReport, without: &[usize], at: usize, applied: Applied) {
    match applied {
        Applied::Stored => report.stored += 1,
        Applied::Duplicate => report.duplicates += 1,
        Applied::Refused(why) => {
            let place = without.iter().fold(at, |place, skipped| place + usize::from(*skipped <= place));
            report.refuse(place, why);
        }
    }
}

/// Puts logged floats into the head; tells what became of each.
pub(crate) fn apply_floats(state: &mut State, floats: &[LoggedFloat], mut each: impl FnMut(usize, Applied)) {
    let head = &mut state.head;
    let (mut min_ms, mut max_ms, mut stored) = (head.min_ms, head.max_ms, 0);
    for (place, float) in floats.iter().enumerate() {
        let Some(series) = head.slot_mut(float.slot) else { continue };
        series.logged = true;
        let applied = series.push(float.at_ms, float.value, float.start_ms);
        if applied == Applied::Stored {
            stored += 1;
            min_ms = min_ms.min(float.at_ms);
            max_ms = max_ms.max(float.at_ms);
        }
        each(place, applied);
    }
    (head.min_ms, head.max_ms) = (min_ms, max_ms);
    head.samples += stored;
}

/// Puts logged histograms into the head; tells what became of each.
pub(crate) fn apply_histograms(
    state: &mut State,
    histograms: &[LoggedHistogram],
    mut each: impl FnMut(usize, Applied),
) {
    let head = &mut state.head;
    for (place, one) in histograms.iter().enumerate() {
        let Some(series) = head.slot_mut(one.slot) else { continue };
        series.logged = true;
        let applied = series.push_histogram(one.at_ms, &one.value, one.start_ms);
        if applied == Applied::Stored {
            head.samples += 1;
            head.min_ms = head.min_ms.min(one.at_ms);
            head.max_ms = head.max_ms.max(one.at_ms);
        }
        each(place, applied);
    }
}
