//! Quantiles and fractions of histograms, native and classic.

use super::{Evaluator, Sink, text_arg};
use crate::column::{At, Column, Merge, Steps, histogram_size, merge_same_labels, present};
use crate::notes::Note;
use crate::plan::{Call, Part};
use crate::stats::{Bucket, bucket_fraction, bucket_quantile, format_g, tidy_buckets};
use crate::{Error, Histogram, Labels};
use monitor_lang::ast::Place;
use monitor_model::histogram::NanEffect;
use rustc_hash::FxHashMap;

/// The label that holds a classic bucket's upper bound.
const BUCKET: &str = "le";

/// One histogram: the bucket series of a classic one, or a native one's series.
struct OneHistogram {
    labels: Labels,
    drop_name: bool,
    /// Upper bounds and counts.
    buckets: Vec<(f64, Vec<f64>)>,
    native: Option<Column>,
}

/// A histogram at one step.
enum Here<'h> {
    Classic(&'h mut Vec<Bucket>),
    Native(&'h Histogram),
}

impl<'a> Evaluator<'a> {
    pub(super) fn histogram_quantile(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let q = self.quantile_arg(&call.args[0], steps)?;
        let histograms = self.histograms(&call.args[1], steps)?;
        let columns = self.quantiles(&histograms, &q, steps, call.args[1].place)?;
        self.settle(histograms, columns, &call.args[1], sink)
    }

    pub(super) fn histogram_fraction(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let lower = self.scalars(&call.args[0], steps)?;
        let upper = self.scalars(&call.args[1], steps)?;
        let histograms = self.histograms(&call.args[2], steps)?;
        let columns = self.each_of(&histograms, steps, &mut |this, histogram, here, step| match here {
            Here::Classic(buckets) => match tidy_buckets(buckets) {
                Some(_) => bucket_fraction(lower[step], upper[step], buckets),
                None => f64::NAN,
            },
            Here::Native(native) => {
                let estimate = native.fraction(lower[step], upper[step]);
                this.note_nan(estimate.nan, &histogram.labels, call.args[2].place);
                estimate.value
            }
        })?;
        self.settle(histograms, columns, &call.args[2], sink)
    }

    /// `histogram_quantiles(v, label, φ…)`: one series for each φ.
    pub(super) fn histogram_quantiles(
        &mut self,
        call: &Call<'_>,
        steps: Steps,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let label = text_arg(call, 1)?;
        let quantiles: Vec<Vec<f64>> =
            call.args[2..].iter().map(|arg| self.quantile_arg(arg, steps)).collect::<Result<_, _>>()?;
        let histograms = self.histograms(&call.args[0], steps)?;
        let place = call.args[0].place;
        let mut merged = Merge::default();
        for q in &quantiles {
            let columns = self.quantiles(&histograms, q, steps, place)?;
            for column in columns {
                for (step, value) in column.values.iter().enumerate().filter(|(_, v)| present(**v)) {
                    let labels = column.labels.with(label, &open_metrics_number(q[step]));
                    let (at, new) = merged.column(labels, column.drop_name, steps.count);
                    if new {
                        self.hold(steps.count)?;
                        self.check_series(at + 1)?;
                    }
                    let into = &mut merged.columns[at];
                    if into.has(step) {
                        return Err(Error::Execution(crate::column::SAME_LABELS.into()));
                    }
                    into.values[step] = *value;
                }
                self.release(column.size());
            }
        }
        self.settle(histograms, merged.columns, &call.args[0], sink)
    }

    fn quantile_arg(&mut self, arg: &Part<'_>, steps: Steps) -> Result<Vec<f64>, Error> {
        let values = self.scalars(arg, steps)?;
        values.iter().for_each(|q| self.note_quantile(*q, arg.place));
        Ok(values)
    }

    /// Takes names off and passes the series on.
    fn settle(
        &mut self,
        histograms: Vec<OneHistogram>,
        mut columns: Vec<Column>,
        _input: &Part<'_>,
        sink: Sink<'_, 'a>,
    ) -> Result<(), Error> {
        let size = |h: &OneHistogram| {
            let classic: usize = h.buckets.iter().map(|(_, counts)| counts.len()).sum();
            classic + h.native.as_ref().map_or(0, Column::size)
        };
        self.release(histograms.iter().map(size).sum());
        columns.iter_mut().for_each(|column| self.drop_name(column));
        if !self.options.delayed_name_removal {
            columns = merge_same_labels(columns)?;
        }
        self.pass(columns, sink)
    }

    /// Gathers bucket series and native histograms.
    fn histograms(&mut self, part: &Part<'_>, steps: Steps) -> Result<Vec<OneHistogram>, Error> {
        let mut places: FxHashMap<Labels, usize> = FxHashMap::default();
        let mut all: Vec<OneHistogram> = Vec::new();
        self.each(part, steps, &mut |this, column| {
            if !column.histograms.is_empty() {
                let place = place_of(&mut all, &mut places, &column.labels, column.drop_name);
                let mut native =
                    Column { histograms: std::mem::take(&mut column.histograms), ..Column::default() };
                native.values.resize(steps.count, crate::column::ABSENT);
                let sizes = native.histograms.iter().flatten().map(|h| histogram_size(h));
                this.hold(steps.count + sizes.sum::<usize>())?;
                all[place].native = Some(native);
            }
            if !column.values.iter().copied().any(present) {
                return Ok(());
            }
            let bound = column.labels.get(BUCKET).unwrap_or_default();
            let Some(upper) = parse_bound(bound) else {
                let name = column.labels.name().unwrap_or_default();
                this.note(Note::BadBucketLabel { le: bound, name }, part.place);
                return Ok(());
            };
            let labels = column.labels.without(|name| name == BUCKET);
            let place = place_of(&mut all, &mut places, &labels, column.drop_name);
            this.hold(steps.count)?;
            this.check_series(all.len())?;
            all[place].buckets.push((upper, std::mem::take(&mut column.values)));
            Ok(())
        })?;
        self.refuse_mixed(&mut all, part.place, steps);
        Ok(all)
    }

    /// At a step with both a classic and a native histogram of the same labels
    /// neither counts.
    fn refuse_mixed(&mut self, all: &mut [OneHistogram], place: Place, steps: Steps) {
        for histogram in all {
            let Some(native) = &mut histogram.native else { continue };
            for step in 0..steps.count {
                let classic = histogram.buckets.iter().any(|(_, counts)| present(counts[step]));
                if !classic || !native.has(step) {
                    continue;
                }
                native.clear_step(step);
                for (_, counts) in &mut histogram.buckets {
                    counts[step] = crate::column::ABSENT;
                }
                self.note(Note::MixedClassicNative(histogram.labels.name().unwrap_or_default()), place);
            }
        }
    }

    /// The quantile of each histogram at each step; notes are placed at `place`.
    fn quantiles(
        &mut self,
        histograms: &[OneHistogram],
        q: &[f64],
        steps: Steps,
        place: Place,
    ) -> Result<Vec<Column>, Error> {
        self.each_of(histograms, steps, &mut |this, histogram, here, step| {
            let q = q[step];
            match here {
                Here::Native(native) => {
                    let estimate = native.quantile(q);
                    this.note_nan(estimate.nan, &histogram.labels, place);
                    estimate.value
                }
                Here::Classic(_) if !(0.0..=1.0).contains(&q) => bucket_quantile(q, &[]),
                Here::Classic(buckets) => {
                    let Some(mended) = tidy_buckets(buckets) else { return f64::NAN };
                    if let Some(mended) = mended {
                        let name = match this.options.delayed_name_removal {
                            true => histogram.labels.name().unwrap_or_default(),
                            false => "",
                        };
                        this.notes.add_mended(name, place, mended, steps.at(step));
                    }
                    bucket_quantile(q, buckets)
                }
            }
        })
    }

    fn note_nan(&mut self, nan: Option<NanEffect>, labels: &Labels, place: Place) {
        let name = labels.name().unwrap_or_default();
        match nan {
            None => {}
            Some(NanEffect::Result) => self.note(Note::QuantileNan(name), place),
            Some(NanEffect::Skewed) => self.note(Note::QuantileSkewed(name), place),
            Some(NanEffect::Excluded) => self.note(Note::FractionNan(name), place),
        }
    }

    /// A column of what is made of each histogram at each step.
    fn each_of(
        &mut self,
        histograms: &[OneHistogram],
        steps: Steps,
        f: &mut dyn FnMut(&mut Self, &OneHistogram, Here<'_>, usize) -> f64,
    ) -> Result<Vec<Column>, Error> {
        let mut columns = Vec::new();
        let mut buckets = Vec::new();
        for histogram in histograms {
            self.check_stop()?;
            let mut column = Column::default();
            column.reset(histogram.labels.clone(), histogram.drop_name, steps.count);
            for step in 0..steps.count {
                if let Some(At::Histogram(native)) = histogram.native.as_ref().map(|native| native.at(step)) {
                    column.values[step] = f(self, histogram, Here::Native(native), step);
                    continue;
                }
                buckets.clear();
                let here = histogram.buckets.iter().filter(|(_, counts)| present(counts[step]));
                buckets.extend(here.map(|(upper, counts)| Bucket { upper: *upper, count: counts[step] }));
                if !buckets.is_empty() {
                    column.values[step] = f(self, histogram, Here::Classic(&mut buckets), step);
                }
            }
            if column.any() {
                self.keep(&mut columns, &mut column)?;
            }
        }
        Ok(columns)
    }
}

fn place_of(
    all: &mut Vec<OneHistogram>,
    places: &mut FxHashMap<Labels, usize>,
    labels: &Labels,
    drop_name: bool,
) -> usize {
    let place = *places.entry(labels.clone()).or_insert(all.len());
    if place == all.len() {
        all.push(OneHistogram { labels: labels.clone(), drop_name, buckets: Vec::new(), native: None });
    }
    place
}

/// A bucket's bound as Go's `ParseFloat` reads it; NaN is none.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|bound| !bound.is_nan())
}

/// A label value for a number: `0.5`, `1.0`.
fn open_metrics_number(value: f64) -> String {
    let text = format_g(value);
    let whole = value.is_finite() && !text.contains(['.', 'e']);
    if whole { text + ".0" } else { text }
}
