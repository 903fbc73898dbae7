//! OpenMetrics 1.0, "Data Model" and "Text format", as far as a grammar does not
//! say it.

use crate::{Entry, Sample, parse_float};
use monitor_model::MetricType;
use rustc_hash::FxHashSet;

/// An exemplar's labels may have this many characters ("Exemplars").
const MAX_EXEMPLAR: usize = 128;

/// What has been seen.
#[derive(Debug, Default)]
pub(super) struct Rules {
    /// Names of families that are over, and of samples that they could have had.
    taken: FxHashSet<Box<str>>,
    family: Option<Family>,
}

/// The family that is being told.
#[derive(Debug, Default)]
struct Family {
    name: Box<str>,
    kind: Option<MetricType>,
    unit: Option<Box<str>>,
    help: bool,
    samples: bool,
    /// Metrics that are over.
    metrics: FxHashSet<Box<str>>,
    metric: Option<Metric>,
}

/// The metric (a label set of the family) that is being told.
#[derive(Debug, Default)]
struct Metric {
    labels: Box<str>,
    at_ms: Option<i64>,
    /// Series of this point, by name and labels.
    series: FxHashSet<Box<str>>,
    histogram: HistogramPoint,
}

/// What a point of a histogram has shown so far.
#[derive(Debug, Default)]
struct HistogramPoint {
    /// Bound and value of the last bucket.
    bucket: Option<(f64, f64)>,
    negative_bounds: bool,
    count: Option<f64>,
    sum: Option<f64>,
}

type Verdict = Result<(), String>;

/// Suffixes of the samples of a family ("Suffixes").
fn suffixes(kind: MetricType) -> &'static [&'static str] {
    match kind {
        MetricType::Counter => &["_total", "_created"],
        MetricType::Summary => &["", "_count", "_sum", "_created"],
        MetricType::Histogram => &["_bucket", "_count", "_sum", "_created"],
        MetricType::GaugeHistogram => &["_bucket", "_gcount", "_gsum"],
        MetricType::Info => &["_info"],
        _ => &[""],
    }
}

impl Rules {
    pub(super) fn entry(&mut self, entry: &Entry<'_>) -> Verdict {
        match entry {
            Entry::Help { family, .. } => {
                let family = self.metadata(family)?;
                once(std::mem::replace(&mut family.help, true), "HELP", &family.name)
            }
            Entry::Type { family, kind } => {
                let family = self.metadata(family)?;
                once(family.kind.replace(*kind).is_some(), "TYPE", &family.name)
            }
            Entry::Unit { family, unit } => {
                let family = self.metadata(family)?;
                once(family.unit.replace((*unit).into()).is_some(), "UNIT", &family.name)
            }
            Entry::Sample(sample) => self.sample(sample),
            Entry::Histogram(_) => Ok(()),
        }
    }

    /// The family that a line of metadata is about.
    fn metadata(&mut self, name: &str) -> Result<&mut Family, String> {
        match &self.family {
            Some(family) if *family.name == *name && family.samples => {
                return Err(format!("metadata of `{name}` after its samples"));
            }
            Some(family) if *family.name == *name => {}
            _ => self.begin(name)?,
        }
        Ok(self.family.get_or_insert_default())
    }

    /// "MetricFamilies MUST NOT be interleaved", and their names are unique.
    fn begin(&mut self, name: &str) -> Verdict {
        self.end()?;
        if self.taken.contains(name) {
            return Err(format!(
                "`{name}` was told before; hint: a family's lines follow one another, and no sample's name \
                 may be another family's"
            ));
        }
        self.family = Some(Family { name: name.into(), ..Family::default() });
        Ok(())
    }

    /// The family that was told is complete.
    pub(super) fn end(&mut self) -> Verdict {
        let Some(mut family) = self.family.take() else { return Ok(()) };
        family.end_of_point()?;
        let kind = family.kind.unwrap_or_default();
        let unit = family.unit.as_deref().unwrap_or_default();
        if !unit.is_empty() && matches!(kind, MetricType::Info | MetricType::StateSet) {
            return Err(format!("`{}` is a {} and has the unit `{unit}`", family.name, kind.as_str()));
        }
        // "MUST NOT result in a potential clash for sample metric names".
        let mut names: FxHashSet<Box<str>> = FxHashSet::default();
        names.insert(family.name.clone());
        names.extend(suffixes(kind).iter().map(|suffix| format!("{}{suffix}", family.name).into()));
        for name in names {
            if let Some(name) = self.taken.replace(name) {
                return Err(format!("`{name}` could be a sample of two families"));
            }
        }
        Ok(())
    }

    fn sample(&mut self, sample: &Sample<'_>) -> Verdict {
        if self.family.as_ref().and_then(|family| family.suffix(&sample.name)).is_none() {
            // "If no TYPE is exposed, the MetricFamily MUST be of type Unknown."
            self.begin(&sample.name)?;
        }
        let family = self.family.get_or_insert_default();
        family.samples = true;
        let suffix = family.suffix(&sample.name).unwrap_or_default();
        family.take(sample, suffix)
    }
}

fn once(again: bool, what: &str, name: &str) -> Verdict {
    if again { Err(format!("a second {what} for `{name}`")) } else { Ok(()) }
}

impl Family {
    /// Which of its samples a name is.
    fn suffix(&self, name: &str) -> Option<&'static str> {
        let rest = name.strip_prefix(&*self.name)?;
        suffixes(self.kind.unwrap_or_default()).iter().find(|suffix| **suffix == rest).copied()
    }

    fn take(&mut self, sample: &Sample<'_>, suffix: &str) -> Verdict {
        let kind = self.kind.unwrap_or_default();
        let bound = self.special_label(sample, suffix, kind)?;
        value(sample, suffix, kind)?;
        if let Some(exemplar) = &sample.exemplar {
            if !matches!(suffix, "_total" | "_bucket") {
                return Err(format!("`{}` cannot have an exemplar", sample.name));
            }
            if exemplar.characters() > MAX_EXEMPLAR {
                return Err(format!("the exemplar's labels have more than {MAX_EXEMPLAR} characters"));
            }
        }
        // "… the value of the exemplar MUST be within this range."
        let beyond = |exemplar: &crate::ExemplarRef<'_>| suffix == "_bucket" && exemplar.value > bound;
        if sample.exemplar.as_ref().is_some_and(beyond) {
            return Err(format!("the exemplar of `{}` is above its bucket's bound, `{bound}`", sample.name));
        }
        self.place(sample, suffix, kind)?;
        let metric = self.metric.get_or_insert_default();
        metric.histogram.take(sample, suffix, bound)
    }

    /// `le`, `quantile`, and a state's label.
    fn special_label(&self, sample: &Sample<'_>, suffix: &str, kind: MetricType) -> Result<f64, String> {
        let number = |name: &str| sample.labels.get(name).and_then(|text| parse_float(text.as_bytes()));
        let none = |name: &str| match sample.labels.get(name) {
            Some(_) => Err(format!("`{}` has a label `{name}`", sample.name)),
            None => Ok(0.0),
        };
        match (kind, suffix) {
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => number("le")
                .filter(|bound| !bound.is_nan())
                .ok_or_else(|| format!("`{}` without a number as `le`", sample.name)),
            (MetricType::Histogram | MetricType::GaugeHistogram, _) => none("le"),
            (MetricType::Summary, "") => number("quantile")
                .filter(|quantile| (0.0..=1.0).contains(quantile))
                .ok_or_else(|| format!("`{}` without a `quantile` from 0 to 1", sample.name)),
            (MetricType::Summary, _) => none("quantile"),
            (MetricType::StateSet, _) if sample.labels.get(&self.name).is_none() => {
                Err(format!("a state of `{0}` without the label `{0}`", self.name))
            }
            _ => Ok(0.0),
        }
    }

    /// Metrics and their points follow one another.
    fn place(&mut self, sample: &Sample<'_>, suffix: &str, kind: MetricType) -> Verdict {
        let labels = self.metric_labels(sample, suffix, kind);
        let series = key(sample, &[]) + suffix;
        let same_metric = self.metric.as_ref().is_some_and(|metric| *metric.labels == *labels);
        let same_point = same_metric && self.metric.as_ref().is_some_and(|m| m.at_ms == sample.at_ms);
        if same_metric && !same_point && kind != MetricType::Info {
            let before = self.metric.as_ref().and_then(|metric| metric.at_ms);
            match (before, sample.at_ms) {
                (Some(before), Some(now)) if now < before => {
                    return Err(format!("the times of `{}` go backwards", sample.name));
                }
                (Some(_), Some(_)) => {}
                _ => {
                    return Err(format!(
                        "some samples of `{}` have a time and others have none",
                        sample.name
                    ));
                }
            }
        }
        if !same_point {
            self.end_of_point()?;
            if !same_metric && self.metrics.contains(&*labels) {
                return Err(format!("the metrics of `{}` are interleaved", self.name));
            }
            self.metrics.insert(labels.clone().into());
            self.metric = Some(Metric { labels: labels.into(), at_ms: sample.at_ms, ..Metric::default() });
        }
        let metric = self.metric.get_or_insert_default();
        if !metric.series.insert(series.into()) && sample.at_ms.is_none() {
            return Err(format!("`{}` stands twice with the same labels", sample.name));
        }
        Ok(())
    }

    /// The labels of the metric: those of the sample without what tells its parts apart.
    fn metric_labels(&self, sample: &Sample<'_>, suffix: &str, kind: MetricType) -> String {
        match (kind, suffix) {
            // Which labels are the metric's and which the value's cannot be seen.
            (MetricType::Info, _) => String::new(),
            (MetricType::Histogram | MetricType::GaugeHistogram, "_bucket") => key(sample, &["le"]),
            (MetricType::Summary, "") => key(sample, &["quantile"]),
            (MetricType::StateSet, _) => key(sample, &[&self.name]),
            _ => key(sample, &[]),
        }
    }

    fn end_of_point(&mut self) -> Verdict {
        let Some(metric) = &self.metric else { return Ok(()) };
        match self.kind {
            Some(MetricType::Histogram) => metric.histogram.end(&self.name, false),
            Some(MetricType::GaugeHistogram) => metric.histogram.end(&self.name, true),
            _ => Ok(()),
        }
    }
}

/// Labels in one order, without some; unlike for unlike ones.
fn key(sample: &Sample<'_>, without: &[&str]) -> String {
    let mut pairs: Vec<_> = sample.labels.filter(|(name, _)| !without.contains(&&**name)).collect();
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name:?}={value:?},")).collect()
}

fn value(sample: &Sample<'_>, suffix: &str, kind: MetricType) -> Verdict {
    let value = sample.value;
    let wrong = |what: &str| Err(format!("`{}` is {what}: `{value}`", sample.name));
    match (kind, suffix) {
        (MetricType::StateSet, _) if value != 0.0 && value != 1.0 => wrong("a state that is not 0 or 1"),
        (MetricType::Info, _) if value != 1.0 => wrong("an info that is not 1"),
        (MetricType::Summary, "") if value < 0.0 => wrong("a negative quantile"),
        (_, "_total" | "_sum" | "_count" | "_bucket" | "_gcount" | "_gsum") if value.is_nan() => {
            wrong("not a number")
        }
        (_, "_total" | "_sum" | "_count" | "_bucket" | "_gcount") if value < 0.0 => wrong("negative"),
        (_, "_count" | "_bucket" | "_gcount") if value.fract() != 0.0 => wrong("not a whole number"),
        (_, "_created") if !value.is_finite() => wrong("not a time"),
        _ => Ok(()),
    }
}

impl HistogramPoint {
    fn take(&mut self, sample: &Sample<'_>, suffix: &str, bound: f64) -> Verdict {
        let value = sample.value;
        match suffix {
            "_bucket" => {
                if let Some((last, below)) = self.bucket {
                    if bound <= last {
                        return Err(format!(
                            "the buckets of `{}` do not ascend: `{bound}` after `{last}`",
                            sample.name
                        ));
                    }
                    if value < below {
                        return Err(format!(
                            "`{}` is not cumulative: `{value}` after `{below}`",
                            sample.name
                        ));
                    }
                }
                self.negative_bounds |= bound < 0.0;
                self.bucket = Some((bound, value));
            }
            "_count" | "_gcount" => self.count = Some(value),
            "_sum" | "_gsum" => self.sum = Some(value),
            _ => {}
        }
        Ok(())
    }

    fn end(&self, name: &str, gauge: bool) -> Verdict {
        let Some((_, all)) = self.bucket.filter(|(bound, _)| *bound == f64::INFINITY) else {
            return Err(format!("`{name}` has no bucket with `le=\"+Inf\"` as its last"));
        };
        if self.count.is_some_and(|count| count != all) {
            return Err(format!("the count of `{name}` is not that of its +Inf bucket, `{all}`"));
        }
        // "If and only if a Sum Value is present in a MetricPoint, then the +Inf
        // Bucket value MUST also appear" as the count.
        if self.sum.is_some() != self.count.is_some() {
            return Err(format!("`{name}` has one of sum and count; hint: both or neither"));
        }
        match self.sum {
            Some(_) if self.negative_bounds && !gauge => {
                Err(format!("`{name}` has a sum, and buckets below zero"))
            }
            Some(sum) if sum < 0.0 && !self.negative_bounds => {
                Err(format!("`{name}` has a negative sum, and no bucket below zero"))
            }
            _ => Ok(()),
        }
    }
}
