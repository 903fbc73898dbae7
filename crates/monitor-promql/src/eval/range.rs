//! Functions over ranges: each series' samples, window after window.

use super::rate::{Kind as Extrapolation, extrapolated_plainly};
use super::selector::{advance, advance_by, tell_resets};
use super::window::{Marks, Span, Window, begins_anew};
use super::{Collision, Evaluator, Sink, one_column};
use crate::column::{ABSENT, At, Column, Steps, present};
use crate::functions::RangeFunction;
use crate::notes::Note;
use crate::plan::{Call, Kind, Part, Range, RangeOf, Selector};
use crate::{Error, HistogramPoint, Labels, METRIC_NAME, Matcher, Point, SeriesData, is_stale};
use monitor_lang::ast::Place;
use monitor_model::{Column as Rollup, CounterReset};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A series of a range: its samples without staleness markers.
pub(crate) struct RangeSeries<'d> {
    pub(crate) data: &'d SeriesData,
    pub(crate) drop_name: bool,
}

/// What is done with each series of a range.
pub(crate) type OnSeries<'f, 'a> =
    &'f mut dyn FnMut(&mut Evaluator<'a>, RangeSeries<'_>) -> Result<(), Error>;

/// Points that are visited between two looks at whether the query should stop:
/// at some nanoseconds each, about a millisecond.
const POINTS_BETWEEN_LOOKS: usize = 1 << 18;

/// A call of a function over a range, read out of its arguments.
struct RangeCall<'c, 'e> {
    function: RangeFunction,
    range: &'c Range<'e>,
    /// The other arguments at each step.
    args: Vec<Vec<f64>>,
    place: Place,
    /// Numbers are counts that rollups stand for.
    counts: bool,
}

impl RangeCall<'_, '_> {
    fn anchored_or_smoothed(&self) -> (bool, bool) {
        match &self.range.of {
            RangeOf::Series(selector) => (selector.anchored, selector.smoothed),
            RangeOf::Subquery { .. } => (false, false),
        }
    }
}

impl<'a> Evaluator<'a> {
    pub(super) fn range_function(
        &mut self,
        call: &Call<'_>,
        function: RangeFunction,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let range = range_arg(call, function.range_arg())?;
        check_modifiers(call.function.name, range)?;
        let args = self.other_args(call, function.range_arg(), steps)?;
        let place = call.args[0].place;
        let rollup = self.rollup_of(function, range, steps);
        let counts = rollup == Rollup::Count;
        let call_of = RangeCall { function, range, args, place, counts };
        let input = &call.args[function.range_arg()];
        let mut run = |this: &mut Self, sink: Sink<'_, 'a>| match (function, rollup) {
            (RangeFunction::Avg, Rollup::Sum) => this.mean_of_rollups(&call_of, steps, sink),
            _ => this.over_range(&call_of, rollup, steps, sink),
        };
        if function.keeps_name() {
            run(self, sink)
        } else {
            self.renamed(input, sink, Collision::Refuse, &mut run)
        }
    }

    fn over_range(
        &mut self,
        call: &RangeCall<'_, '_>,
        rollup: Rollup,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let mut column = Column::default();
        let mut scratch = Scratch::default();
        let mut kept = 0;
        self.each_range(call.range, rollup, steps, &mut |this, series| {
            column.reset(series.data.labels.clone(), series.drop_name, steps.count);
            if !this.windows(call, series.data, steps, &mut scratch, &mut column)? {
                return Ok(());
            }
            if call.function.is_counter() {
                this.note_non_counter(series.data, &column, call.place);
            }
            kept += 1;
            this.check_series(kept)?;
            if !call.function.keeps_name() {
                this.drop_name(&mut column);
            }
            sink(this, &mut column)
        })
    }

    /// The function's value at each step, for one series. Later windows begin and
    /// end no earlier, so that each point is passed once. Tells whether there is
    /// a value at all.
    fn windows(
        &mut self,
        call: &RangeCall<'_, '_>,
        data: &SeriesData,
        steps: Steps,
        scratch: &mut Scratch,
        column: &mut Column,
    ) -> Result<bool, Error> {
        let (points, histograms) = (&data.points, &data.histograms);
        let (anchored, smoothed) = call.anchored_or_smoothed();
        let lookback = self.options.lookback_ms;
        let back = if anchored || smoothed { lookback } else { 0 };
        let ahead = if smoothed { lookback } else { 0 };
        scratch.marks.clear();
        let marks = matches!(
            call.function,
            RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Resets | RangeFunction::Changes
        );
        let plain = histograms.is_empty() && data.starts.is_empty() && !anchored && !smoothed;
        if let Some(kind) = call.function.extrapolates().filter(|_| plain) {
            return self.plain_rates(call, kind, points, steps, &mut scratch.marks, &mut column.values);
        }
        scratch.args.resize(call.args.len(), 0.0);
        let name = data.labels.name().unwrap_or_default();
        let (mut low, mut high, mut h_low, mut h_high) = (0, 0, 0, 0);
        let (mut visited, mut any) = (0, false);
        for (step, at_ms) in steps.times().enumerate() {
            let end_ms = call.range.time.apply(at_ms);
            let start_ms = end_ms - call.range.range_ms;
            low = advance(points, low, start_ms - back);
            high = advance(points, high.max(low), end_ms + ahead);
            if !histograms.is_empty() {
                h_low = advance_by(histograms, h_low, |p| p.at_ms <= start_ms - back);
                h_high = advance_by(histograms, h_high.max(h_low), |p| p.at_ms <= end_ms + ahead);
            }
            if low == high && h_low == h_high {
                continue;
            }
            let places = match marks {
                true => scratch.marks.of_window(low, high, |at| marked(call.function, data, at)),
                false => &[],
            };
            for (value, arg) in scratch.args.iter_mut().zip(&call.args) {
                *value = arg[step];
            }
            // Most functions visit their whole window: a day at every second is long.
            visited += high - low + 16 * (h_high - h_low) + 1;
            if visited >= POINTS_BETWEEN_LOOKS {
                visited = 0;
                self.check_stop()?;
            }
            let window = Window {
                floats: &points[low..high],
                histograms: &histograms[h_low..h_high],
                float_starts: data.starts.get(low..high).unwrap_or_default(),
                histogram_starts: data.histogram_starts.get(h_low..h_high).unwrap_or_default(),
                marks: Marks { places, low },
                start_ms,
                end_ms,
                at_ms,
                args: &scratch.args,
                name,
                place: call.place,
                anchored,
                smoothed,
                counts: call.counts,
            };
            if let Some(made) = self.over_time(call.function, &window)? {
                any = true;
                column.set(step, made);
            }
        }
        Ok(any)
    }

    /// [`windows`](Self::windows) of what most queries are about.
    fn plain_rates(
        &mut self,
        call: &RangeCall<'_, '_>,
        kind: Extrapolation,
        points: &[Point],
        steps: Steps,
        marks: &mut Marked,
        values: &mut [f64],
    ) -> Result<bool, Error> {
        let (mut low, mut high) = (0, 0);
        let (mut visited, mut any) = (0, false);
        for (value, at_ms) in values.iter_mut().zip(steps.times()) {
            let end_ms = call.range.time.apply(at_ms);
            let span = Span { start_ms: end_ms - call.range.range_ms, end_ms };
            low = advance(points, low, span.start_ms);
            high = advance(points, high.max(low), end_ms);
            let marks = match kind.counter {
                true => marks.of_window(low, high, |at| points[at].value < points[at - 1].value),
                false => &[],
            };
            visited += marks.len() + 1;
            if visited >= POINTS_BETWEEN_LOOKS {
                visited = 0;
                self.check_stop()?;
            }
            let lost = marks.iter().map(|mark| points[*mark as usize - 1].value);
            if let Some(made) = extrapolated_plainly(&points[low..high], lost, span, kind) {
                *value = made;
                any = true;
            }
        }
        Ok(any)
    }

    /// Calls `f` with each series of a range.
    pub(crate) fn each_range(
        &mut self,
        range: &Range<'_>,
        rollup: Rollup,
        steps: Steps,
        f: OnSeries<'_, 'a>,
    ) -> Result<(), Error> {
        if steps.count == 0 {
            return Ok(());
        }
        let (first, last) = (range.time.apply(steps.start_ms), range.time.apply(steps.end_ms));
        match &range.of {
            RangeOf::Series(selector) => {
                let (from, until) = self.selected_times(selector, range.range_ms, first, last);
                // Some functions look at what is around their window, too; and what a
                // histogram says of resets may be told from the one before it.
                let alone = !selector.anchored && !selector.smoothed && !selector.stats_only;
                let windows = super::windows(steps, range.time, range.range_ms).filter(|_| alone);
                let mut selected = self.open(selector.matchers, from, until, rollup, windows)?;
                while selected.next(self)? {
                    if selector.stats_only {
                        tell_resets(&mut selected.data.histograms);
                    }
                    remove_stale(&mut selected.data);
                    if !selected.data.is_empty() {
                        f(self, RangeSeries { data: &selected.data, drop_name: false })?;
                    }
                }
                selected.finish(self);
                Ok(())
            }
            RangeOf::Subquery { part, step_ms } => {
                let step_ms = step_ms.unwrap_or(self.options.subquery_step_ms);
                self.each_of_subquery(part, subquery_steps(first - range.range_ms, last, step_ms), f)
            }
        }
    }

    /// The times that a range selector needs samples of.
    fn selected_times(&self, selector: &Selector<'_>, range_ms: i64, first: i64, last: i64) -> (i64, i64) {
        let lookback = self.options.lookback_ms;
        let back = if selector.anchored || selector.smoothed { lookback } else { 0 };
        let ahead = if selector.smoothed { lookback } else { 0 };
        (first - range_ms - back + 1, last + ahead)
    }

    fn each_of_subquery(&mut self, part: &Part<'_>, inner: Steps, f: OnSeries<'_, 'a>) -> Result<(), Error> {
        // A hostile step is refused before memory is taken for it.
        self.hold(inner.count)?;
        let mut data = self.spare.pop().unwrap_or_default();
        self.each(part, inner, &mut |this, column| {
            data.clear();
            data.labels = column.labels.clone();
            for (step, at_ms) in inner.times().enumerate() {
                match column.at(step) {
                    At::None => {}
                    At::Float(value) => data.points.push(Point { at_ms, value }),
                    At::Histogram(histogram) => {
                        data.histograms.push(HistogramPoint { at_ms, value: forget_reset(histogram) });
                    }
                }
            }
            if data.is_empty() {
                return Ok(());
            }
            f(this, RangeSeries { data: &data, drop_name: column.drop_name })
        })?;
        self.release(inner.count);
        data.clear();
        self.spare.push(data);
        Ok(())
    }

    /// Which of a rollup's numbers fits a function, where some of the selected
    /// time has only rollups left.
    fn rollup_of(&self, function: RangeFunction, range: &Range<'_>, steps: Steps) -> Rollup {
        let RangeOf::Series(selector) = &range.of else { return Rollup::Value };
        let first = range.time.apply(steps.start_ms);
        let (from, _) = self.selected_times(selector, range.range_ms, first, first);
        if self.source.raw_since_ms() <= from {
            return Rollup::Value;
        }
        match function {
            RangeFunction::Max => Rollup::Max,
            RangeFunction::Min => Rollup::Min,
            RangeFunction::Sum | RangeFunction::Avg => Rollup::Sum,
            RangeFunction::Count => Rollup::Count,
            _ => Rollup::Value,
        }
    }

    /// `avg_over_time` where rollups stand for some samples: their sum by their count.
    fn mean_of_rollups(
        &mut self,
        call: &RangeCall<'_, '_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let of = |function, counts| RangeCall {
            function,
            range: call.range,
            args: Vec::new(),
            place: call.place,
            counts,
        };
        let counts_call = of(RangeFunction::Count, true);
        let mut counts = rustc_hash::FxHashMap::default();
        self.over_range(&counts_call, Rollup::Count, steps, &mut |this, column| {
            this.hold(column.size())?;
            counts.insert(column.labels.clone(), std::mem::take(&mut column.values));
            Ok(())
        })?;
        let sums_call = of(RangeFunction::Sum, false);
        self.over_range(&sums_call, Rollup::Sum, steps, &mut |this, column| {
            let Some(counts) = counts.remove(&column.labels) else { return Ok(()) };
            this.release(counts.len());
            for (step, count) in counts.into_iter().enumerate() {
                match column.at(step) {
                    _ if !present(count) => column.clear_step(step),
                    At::None => {}
                    At::Float(sum) => column.values[step] = sum / count,
                    At::Histogram(sum) => {
                        let mut mean = sum.as_ref().clone();
                        mean.div(count);
                        column.set_histogram(step, Arc::new(mean));
                    }
                }
            }
            sink(this, column)
        })
    }

    fn other_args(
        &mut self,
        call: &Call<'_>,
        range_arg: usize,
        steps: Steps,
    ) -> Result<Vec<Vec<f64>>, Error> {
        let others = call.args.iter().enumerate().filter(|(i, _)| *i != range_arg);
        others.map(|(_, arg)| self.scalars(arg, steps)).collect()
    }

    /// Notes a rate over something that is not named like a counter.
    fn note_non_counter(&mut self, data: &SeriesData, column: &Column, place: Place) {
        let Some(name) = data.labels.name() else { return };
        let like_counter =
            ["_total", "_sum", "_count", "_bucket"].iter().any(|suffix| name.ends_with(suffix));
        if !like_counter && column.values.iter().copied().any(present) {
            self.note(Note::PossibleNonCounter(name), place);
        }
    }

    pub(super) fn absent_over_time(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let range = range_arg(call, 0)?;
        check_modifiers(call.function.name, range)?;
        let place = call.args[0].place;
        let function = RangeFunction::Present;
        let present_call = RangeCall { function, range, args: Vec::new(), place, counts: false };
        let mut values = vec![1.0; steps.count];
        let mut column = Column::default();
        let mut scratch = Scratch::default();
        self.each_range(range, Rollup::Value, steps, &mut |this, series| {
            column.reset(Labels::empty(), false, steps.count);
            this.windows(&present_call, series.data, steps, &mut scratch, &mut column)?;
            for (value, found) in values.iter_mut().zip(&column.values) {
                if present(*found) {
                    *value = ABSENT;
                }
            }
            Ok(())
        })?;
        let labels = match &range.of {
            RangeOf::Series(selector) => absent_labels(selector.matchers),
            RangeOf::Subquery { .. } => Labels::empty(),
        };
        one_column(self, labels, values, sink)
    }
}

/// Memory that is used again from series to series.
#[derive(Default)]
struct Scratch {
    marks: Marked,
    args: Vec<f64>,
}

/// The numbers of a series that a function must know against the one before each:
/// resets or changes. They are found once, as the windows come to them.
#[derive(Default)]
struct Marked {
    places: Vec<u32>,
    /// What lies before was looked at, or is in no window to come.
    until: usize,
    /// The first of the places that is in the last window.
    low: usize,
}

impl Marked {
    fn clear(&mut self) {
        self.places.clear();
        (self.until, self.low) = (0, 0);
    }

    /// The marked places of a window, without its first point. Windows ascend.
    #[inline]
    fn of_window(&mut self, low: usize, high: usize, marked: impl Fn(usize) -> bool) -> &[u32] {
        let from = self.until.max(low + 1);
        for at in from..high {
            if marked(at) {
                self.places.push(at as u32);
            }
        }
        self.until = self.until.max(high);
        while self.places.get(self.low).is_some_and(|place| *place as usize <= low) {
            self.low += 1;
        }
        &self.places[self.low..]
    }
}

/// Whether a function counts a number of a series as a reset or a change.
fn marked(function: RangeFunction, data: &SeriesData, at: usize) -> bool {
    let (before, here) = (data.points[at - 1], data.points[at]);
    match function {
        RangeFunction::Rate | RangeFunction::Increase | RangeFunction::Resets => {
            let start = |at: usize| data.starts.get(at).copied().unwrap_or_default();
            here.value < before.value || begins_anew(start(at - 1), before.at_ms, start(at), here.at_ms)
        }
        RangeFunction::Changes => {
            before.value != here.value && !(before.value.is_nan() && here.value.is_nan())
        }
        _ => false,
    }
}

/// Takes staleness markers out.
pub(super) fn remove_stale(data: &mut SeriesData) {
    if data.points.iter().any(|p| is_stale(p.value)) {
        if !data.starts.is_empty() {
            let mut at = 0;
            let points = &data.points;
            data.starts.retain(|_| {
                at += 1;
                !is_stale(points[at - 1].value)
            });
        }
        data.points.retain(|p| !is_stale(p.value));
    }
    if data.histograms.iter().any(|p| p.value.is_stale()) {
        if !data.histogram_starts.is_empty() {
            let mut at = 0;
            let histograms = &data.histograms;
            data.histogram_starts.retain(|_| {
                at += 1;
                !histograms[at - 1].value.is_stale()
            });
        }
        data.histograms.retain(|p| !p.value.is_stale());
    }
}

/// What a subquery leaves out or repeats would be taken for a reset or for none;
/// so its histograms say nothing about that.
fn forget_reset(histogram: &Arc<crate::Histogram>) -> Arc<crate::Histogram> {
    match histogram.reset {
        CounterReset::Reset | CounterReset::NotReset => {
            let mut histogram = histogram.as_ref().clone();
            histogram.reset = CounterReset::Unknown;
            Arc::new(histogram)
        }
        CounterReset::Unknown | CounterReset::Gauge => histogram.clone(),
    }
}

/// `anchored` and `smoothed` are for some functions only.
fn check_modifiers(name: &str, range: &Range<'_>) -> Result<(), Error> {
    let RangeOf::Series(selector) = &range.of else { return Ok(()) };
    let refused = |modifier: &str, fitting: &[&str]| {
        if fitting.contains(&name) {
            return Ok(());
        }
        let fitting = fitting.join(", ");
        Err(Error::Execution(format!(
            "{modifier} modifier can only be used with: {fitting} - not with {name}"
        )))
    };
    if selector.anchored {
        return refused("anchored", &["changes", "delta", "increase", "rate", "resets"]);
    }
    if selector.smoothed {
        return refused("smoothed", &["delta", "increase", "rate"]);
    }
    Ok(())
}

/// The labels of what is absent: those that the selector says exactly. A condition
/// on the same label that comes later takes it away again, as in Prometheus.
pub(super) fn absent_labels(matchers: &[Matcher]) -> Labels {
    let mut labels: BTreeMap<&str, Option<&str>> = BTreeMap::new();
    for matcher in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        let known = labels.get(matcher.name.as_str());
        match (matcher.is_equality(), known) {
            (true, None) => drop(labels.insert(&matcher.name, Some(&matcher.value))),
            (_, Some(_)) => drop(labels.insert(&matcher.name, None)),
            (false, None) => {}
        }
    }
    Labels::from_pairs(labels.into_iter().filter_map(|(name, value)| Some((name, value?))))
}

pub(super) fn range_arg<'c, 'e>(call: &'c Call<'e>, at: usize) -> Result<&'c Range<'e>, Error> {
    match call.args.get(at).map(|arg| &arg.kind) {
        Some(Kind::Range(range)) => Ok(range),
        _ => Err(Error::Execution(format!("{}() wants a range of points", call.function.name))),
    }
}

/// The steps of a subquery: multiples of its step after `after_ms`, up to `end_ms`.
pub(crate) fn subquery_steps(after_ms: i64, end_ms: i64, step_ms: i64) -> Steps {
    let step_ms = step_ms.max(1);
    let mut start_ms = step_ms * (after_ms / step_ms);
    if start_ms <= after_ms {
        start_ms += step_ms;
    }
    Steps::new(start_ms, end_ms, step_ms)
}

impl Evaluator<'_> {
    /// The samples of a range at a time as they are, for an instant query of `up[5m]`.
    pub(crate) fn points_of(
        &self,
        range: &Range<'_>,
        at_ms: i64,
        data: &SeriesData,
    ) -> (Vec<Point>, Vec<HistogramPoint>) {
        let end_ms = range.time.apply(at_ms);
        let start_ms = end_ms - range.range_ms;
        let (anchored, smoothed) = match &range.of {
            RangeOf::Series(selector) => (selector.anchored, selector.smoothed),
            RangeOf::Subquery { .. } => (false, false),
        };
        if !anchored && !smoothed {
            return (data.points.clone(), data.histograms.clone());
        }
        let window = Window {
            floats: &data.points,
            histograms: &data.histograms,
            float_starts: &[],
            histogram_starts: &[],
            marks: Marks::default(),
            start_ms,
            end_ms,
            at_ms,
            args: &[],
            name: "",
            place: Place::default(),
            anchored,
            smoothed,
            counts: false,
        };
        let inside = |p: &&HistogramPoint| p.at_ms > start_ms && p.at_ms <= end_ms;
        let histograms = data.histograms.iter().filter(inside).cloned().collect();
        (super::extended::with_edges(&data.points, &window), histograms)
    }
}
