//! Quantiles and fractions of classic histograms.

use super::{ABSENT, Column, Evaluator, Steps, present};
use crate::functions::Kind;
use crate::plan::{Call, Node};
use crate::stats::{Bucket, Mended, bucket_fraction, bucket_quantile, tidy_buckets};
use crate::{Error, Labels};
use rustc_hash::FxHashMap;

/// The label that holds a bucket's upper bound.
const BUCKET: &str = "le";

/// The buckets of one histogram: upper bounds with their columns.
struct Histogram {
    labels: Labels,
    drop_name: bool,
    buckets: Vec<(f64, Vec<f64>)>,
}

impl Evaluator<'_> {
    pub(super) fn histogram(&mut self, call: &Call, steps: Steps) -> Result<Vec<Column>, Error> {
        match call.function.kind {
            Kind::HistogramQuantile => {
                let q = self.quantile_arg(&call.args[0], steps)?;
                let histograms = self.histograms(&call.args[1], steps)?;
                let columns = self.quantiles(&histograms, &q, steps)?;
                self.without_names(columns)
            }
            Kind::HistogramFraction => {
                let lower = self.eval_scalar(&call.args[0], steps)?;
                let upper = self.eval_scalar(&call.args[1], steps)?;
                let histograms = self.histograms(&call.args[2], steps)?;
                let columns = self.fractions(&histograms, &lower, &upper, steps)?;
                self.without_names(columns)
            }
            _ => self.histogram_quantiles(call, steps),
        }
    }

    /// `histogram_quantiles(v, label, φ…)`: one series for each φ.
    fn histogram_quantiles(&mut self, call: &Call, steps: Steps) -> Result<Vec<Column>, Error> {
        let Node::Text(label) = &call.args[1] else {
            return Err(Error::Execution(
                "histogram_quantiles() wants a label name as second argument".into(),
            ));
        };
        let histograms = self.histograms(&call.args[0], steps)?;
        let mut columns = Vec::new();
        for arg in &call.args[2..] {
            let q = self.quantile_arg(arg, steps)?;
            let value = open_metrics_number(q.first().copied().unwrap_or(f64::NAN));
            for mut column in self.quantiles(&histograms, &q, steps)? {
                column.labels = column.labels.with(label, &value);
                columns.push(column);
            }
        }
        self.without_names(columns)
    }

    fn quantile_arg(&mut self, arg: &Node, steps: Steps) -> Result<Vec<f64>, Error> {
        let values = self.eval_scalar(arg, steps)?;
        values.iter().for_each(|q| self.check_quantile(*q));
        Ok(values)
    }

    /// Groups bucket series into histograms.
    fn histograms(&mut self, node: &Node, steps: Steps) -> Result<Vec<Histogram>, Error> {
        let columns = self.eval_vector(node, steps)?;
        let mut places: FxHashMap<Labels, usize> = FxHashMap::default();
        let mut histograms: Vec<Histogram> = Vec::new();
        for column in columns {
            let bound = column.labels.get(BUCKET).unwrap_or_default();
            let Some(upper) = parse_bound(bound) else {
                let name =
                    column.labels.name().map(|n| format!(" for metric name {n:?}")).unwrap_or_default();
                self.warn(format!(
                    "bucket label \"le\" is missing or has a malformed value of {bound:?}{name}"
                ));
                continue;
            };
            let labels = column.labels.without(|name| name == BUCKET);
            let place = *places.entry(labels.clone()).or_insert(histograms.len());
            if place == histograms.len() {
                histograms.push(Histogram { labels, drop_name: column.drop_name, buckets: Vec::new() });
            }
            histograms[place].buckets.push((upper, column.values));
        }
        Ok(histograms)
    }

    fn quantiles(&mut self, histograms: &[Histogram], q: &[f64], steps: Steps) -> Result<Vec<Column>, Error> {
        self.each_histogram(histograms, steps, |this, histogram, buckets, i| {
            let special = !(0.0..=1.0).contains(&q[i]);
            let Some(mended) = tidy_buckets(buckets).filter(|_| !special) else {
                return if special { bucket_quantile(q[i], &[]) } else { f64::NAN };
            };
            if let Some(mended) = mended {
                this.note_mended(&histogram.labels, mended, steps.at(i));
            }
            bucket_quantile(q[i], buckets)
        })
    }

    fn fractions(
        &mut self,
        histograms: &[Histogram],
        lower: &[f64],
        upper: &[f64],
        steps: Steps,
    ) -> Result<Vec<Column>, Error> {
        self.each_histogram(histograms, steps, |_, _, buckets, i| match tidy_buckets(buckets) {
            Some(_) => bucket_fraction(lower[i], upper[i], buckets),
            None => f64::NAN,
        })
    }

    fn each_histogram(
        &mut self,
        histograms: &[Histogram],
        steps: Steps,
        mut f: impl FnMut(&mut Self, &Histogram, &mut Vec<Bucket>, usize) -> f64,
    ) -> Result<Vec<Column>, Error> {
        let mut columns = Vec::new();
        let mut buckets = Vec::new();
        for histogram in histograms {
            self.check_stop()?;
            let mut values = Vec::with_capacity(steps.count);
            for i in 0..steps.count {
                buckets.clear();
                let here = histogram.buckets.iter().filter(|(_, counts)| present(counts[i]));
                buckets.extend(here.map(|(upper, counts)| Bucket { upper: *upper, count: counts[i] }));
                values.push(if buckets.is_empty() { ABSENT } else { f(self, histogram, &mut buckets, i) });
            }
            self.hold(1, steps.count)?;
            columns.push(Column { labels: histogram.labels.clone(), drop_name: histogram.drop_name, values });
        }
        Ok(columns)
    }

    fn note_mended(&mut self, labels: &Labels, mended: Mended, at_ms: i64) {
        let g = super::format_g;
        let name = labels.name().map(|n| format!(" for metric name {n:?}")).unwrap_or_default();
        self.inform(format!(
            "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile), from buckets {} to {}, with a max diff of {}, at {} s{name}",
            g(mended.lowest),
            g(mended.highest),
            g(mended.difference),
            at_ms as f64 / 1e3,
        ));
    }
}

/// A bucket's bound as Go's `ParseFloat` reads it; NaN is none.
fn parse_bound(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|bound| !bound.is_nan())
}

/// A label value for a number: `0.5`, `1.0`.
fn open_metrics_number(value: f64) -> String {
    let text = super::format_g(value);
    let whole = value.is_finite() && !text.contains(['.', 'e']);
    if whole { text + ".0" } else { text }
}
