//! Instant selectors: the latest sample of each series at each step.

use super::{Evaluator, Sink};
use crate::column::{At, Column, Made, Steps};
use crate::notes::Note;
use crate::plan::Selector;
use crate::{Error, HistogramPoint, Point, SeriesData, is_stale};
use monitor_model::{Column as Rollup, CounterReset};
use std::sync::Arc;

/// What is taken of a sample.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    Sample,
    /// Its time, in seconds.
    Time,
    /// Its start timestamp, in seconds; 0 where it is not known.
    Start,
}

impl<'a> Evaluator<'a> {
    pub(super) fn selector(
        &mut self,
        selector: &Selector<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        if selector.smoothed {
            return self.smoothed_selector(selector, steps, sink);
        }
        self.latest(selector, steps, Take::Sample, sink)
    }

    /// The latest sample of each selected series at each step, or what is taken of it.
    pub(super) fn latest(
        &mut self,
        selector: &Selector<'_>,
        steps: Steps,
        take: Take,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let lookback = self.options.lookback_ms;
        let (first, last) = (selector.time.apply(steps.start_ms), selector.time.apply(steps.end_ms));
        // What a histogram says of resets may be told from the one before it.
        let windows = super::windows(steps, selector.time, lookback).filter(|_| !selector.stats_only);
        let mut selected =
            self.open(selector.matchers, first - lookback + 1, last, Rollup::Value, windows)?;
        let mut column = Column::default();
        let mut series = 0;
        while selected.next(self)? {
            if selector.stats_only {
                tell_resets(&mut selected.data.histograms);
            }
            let data = &selected.data;
            column.reset(data.labels.clone(), false, steps.count);
            let any = if data.histograms.is_empty() && take == Take::Sample {
                latest_floats(data, selector, steps, lookback, &mut column.values)
            } else {
                latest_of_both(data, selector, steps, lookback, take, &mut column)
            };
            if any {
                series += 1;
                self.check_series(series)?;
                sink(self, &mut column)?;
            }
        }
        selected.finish(self);
        Ok(())
    }

    /// `up smoothed`: the value at each step between the sample before and after it.
    fn smoothed_selector(
        &mut self,
        selector: &Selector<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let lookback = self.options.lookback_ms;
        let (first, last) = (selector.time.apply(steps.start_ms), selector.time.apply(steps.end_ms));
        let mut selected =
            self.open(selector.matchers, first - lookback + 1, last + lookback, Rollup::Value, None)?;
        let mut column = Column::default();
        while selected.next(self)? {
            if selector.stats_only {
                tell_resets(&mut selected.data.histograms);
            }
            super::range::remove_stale(&mut selected.data);
            column.reset(selected.data.labels.clone(), false, steps.count);
            for (step, at_ms) in steps.times().enumerate() {
                let at = selector.time.apply(at_ms);
                if let Some(made) = self.smoothed_at(&selected.data, selector, at, lookback) {
                    column.set(step, made);
                }
            }
            if column.any() {
                sink(self, &mut column)?;
            }
        }
        selected.finish(self);
        Ok(())
    }

    fn smoothed_at(
        &mut self,
        data: &SeriesData,
        selector: &Selector<'_>,
        at: i64,
        lookback: i64,
    ) -> Option<Made> {
        let floats = between(&data.points, at - lookback, at + lookback, |p| p.at_ms);
        let histograms = between(&data.histograms, at - lookback, at + lookback, |p| p.at_ms);
        let name = data.labels.name().unwrap_or_default();
        match (floats, histograms) {
            ([], []) => None,
            (floats, []) => {
                let next = floats.partition_point(|p| p.at_ms < at);
                match (next.checked_sub(1).map(|i| &floats[i]), floats.get(next)) {
                    (_, Some(exact)) if exact.at_ms == at => Some(Made::Float(exact.value)),
                    (Some(before), Some(after)) => {
                        Some(Made::Float(super::extended::interpolate(before, after, at, false)))
                    }
                    (Some(before), None) => Some(Made::Float(before.value)),
                    (None, _) => None,
                }
            }
            ([], histograms) => {
                let next = histograms.partition_point(|p| p.at_ms < at);
                match (next.checked_sub(1).map(|i| &histograms[i]), histograms.get(next)) {
                    (_, Some(exact)) if exact.at_ms == at => {
                        Some(Made::Histogram(exact.value.as_ref().clone()))
                    }
                    (Some(before), Some(after)) => {
                        let fit = before.value.has_custom_buckets() == after.value.has_custom_buckets();
                        let gauge = |p: &HistogramPoint| p.value.reset == CounterReset::Gauge;
                        let counter = !(gauge(before) || gauge(after));
                        let between = fit
                            .then(|| self.interpolate_histograms(before, after, at, counter, selector.place))
                            .flatten();
                        if between.is_none() {
                            self.note(Note::MixedSchemas(name), selector.place);
                        }
                        between.map(Made::Histogram)
                    }
                    (Some(before), None) => Some(Made::Histogram(before.value.as_ref().clone())),
                    (None, _) => None,
                }
            }
            _ => {
                self.note(Note::MixedFloatsHistograms(name), selector.place);
                None
            }
        }
    }
}

/// What lies after `after` and not after `until`.
pub(super) fn between<T>(all: &[T], after: i64, until: i64, at_ms: impl Fn(&T) -> i64) -> &[T] {
    let low = all.partition_point(|p| at_ms(p) <= after);
    let high = all.partition_point(|p| at_ms(p) <= until);
    &all[low..high.max(low)]
}

/// The first place at or after `from` whose time is after `until_ms`: near ones
/// are found step by step, far ones by doubling and halving.
pub(super) fn advance(points: &[Point], from: usize, until_ms: i64) -> usize {
    advance_by(points, from, |p| p.at_ms <= until_ms)
}

pub(super) fn advance_by<T>(all: &[T], mut from: usize, before: impl Fn(&T) -> bool) -> usize {
    for _ in 0..8 {
        match all.get(from) {
            Some(point) if before(point) => from += 1,
            _ => return from,
        }
    }
    let mut width = 16;
    while all.get(from + width).is_some_and(&before) {
        from += width;
        width *= 2;
    }
    let end = all.len().min(from + width);
    from + all[from..end].partition_point(before)
}

fn latest_floats(
    data: &SeriesData,
    selector: &Selector<'_>,
    steps: Steps,
    lookback: i64,
    values: &mut [f64],
) -> bool {
    let points = &data.points;
    let (mut seen, mut any) = (0, false);
    for (value, at_ms) in values.iter_mut().zip(steps.times()) {
        let reference = selector.time.apply(at_ms);
        seen = advance(points, seen, reference);
        let Some(point) = seen.checked_sub(1).map(|last| &points[last]) else { continue };
        if point.at_ms > reference - lookback && !is_stale(point.value) {
            *value = point.value;
            any = true;
        }
    }
    any
}

fn latest_of_both(
    data: &SeriesData,
    selector: &Selector<'_>,
    steps: Steps,
    lookback: i64,
    take: Take,
    column: &mut Column,
) -> bool {
    let (points, histograms) = (&data.points, &data.histograms);
    let (mut floats_seen, mut histograms_seen, mut any) = (0, 0, false);
    for (step, at_ms) in steps.times().enumerate() {
        let reference = selector.time.apply(at_ms);
        floats_seen = advance(points, floats_seen, reference);
        histograms_seen = advance_by(histograms, histograms_seen, |p| p.at_ms <= reference);
        let float = floats_seen.checked_sub(1).map(|at| (points[at].at_ms, at));
        let histogram = histograms_seen.checked_sub(1).map(|at| (histograms[at].at_ms, at));
        let is_float = float > histogram || (float.is_some() && float.map(|f| f.0) == histogram.map(|h| h.0));
        let Some((time, at)) = (if is_float { float } else { histogram }) else { continue };
        let stale = if is_float { is_stale(points[at].value) } else { histograms[at].value.is_stale() };
        if time <= reference - lookback || stale {
            continue;
        }
        any = true;
        match take {
            Take::Sample if is_float => column.values[step] = points[at].value,
            Take::Sample => column.copy_step(step, At::Histogram(&histograms[at].value)),
            Take::Time => column.values[step] = time as f64 / 1e3,
            Take::Start => {
                let starts = if is_float { &data.starts } else { &data.histogram_starts };
                column.values[step] = starts.get(at).copied().unwrap_or_default() as f64 / 1e3;
            }
        }
    }
    any
}

/// Where only count and sum of histograms are asked for, Prometheus does not read
/// their buckets but tells resets from the sample before each; so the hints say
/// more than the store's (`histogramStatsIterator`).
pub(super) fn tell_resets(histograms: &mut [HistogramPoint]) {
    for at in (1..histograms.len()).rev() {
        let (before, here) = histograms.split_at_mut(at);
        let (Some(before), here) = (before.last(), &mut here[0].value) else { continue };
        if here.reset != CounterReset::Unknown || here.is_stale() || before.value.is_stale() {
            continue;
        }
        let reset = here.detect_reset(&before.value);
        Arc::make_mut(here).reset = if reset { CounterReset::Reset } else { CounterReset::NotReset };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_and_near_places_are_found() {
        let points: Vec<Point> = (0..1_000).map(|i| Point { at_ms: i * 10, value: 0.0 }).collect();
        for from in [0, 1, 7, 500, 999, 1_000] {
            for until in [-1, 0, 5, 79, 80, 81, 4_999, 9_990, 20_000] {
                let naive = from + points[from..].iter().take_while(|p| p.at_ms <= until).count();
                assert_eq!(advance(&points, from, until), naive, "{from} {until}");
            }
        }
    }
}
