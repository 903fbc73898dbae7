//! Classic histograms as native ones with custom buckets, while they are read
//! (`convert_classic_histograms_to_nhcb`).

use crate::relabel::Builder;
use monitor_exposition::Sample;
use monitor_model::histogram::ClassicHistogram;
use monitor_model::{Exemplar, Histogram, METRIC_NAME, MetricType};
use std::sync::Arc;

/// Gathers the series of one histogram at a time.
#[derive(Debug, Default)]
pub(crate) struct Collector {
    /// The family of the last `# TYPE`, where it is a histogram.
    family: Option<String>,
    /// Its labels without `le`, with the family's name.
    labels: Builder,
    classic: ClassicHistogram,
    broken: bool,
    at_ms: Option<i64>,
    start_ms: i64,
    exemplars: Vec<Exemplar>,
}

/// A histogram that is complete.
pub(crate) struct Collected {
    pub(crate) labels: Builder,
    pub(crate) histogram: Arc<Histogram>,
    pub(crate) at_ms: Option<i64>,
    pub(crate) start_ms: i64,
    pub(crate) exemplars: Vec<Exemplar>,
}

impl Collector {
    /// A family begins; what was gathered before is complete.
    pub(crate) fn family(&mut self, name: &str, kind: MetricType) -> Option<Collected> {
        let done = self.finish();
        self.family = (kind == MetricType::Histogram).then(|| name.to_owned());
        done
    }

    /// The family has native histograms of its own: nothing is made of its classic series.
    pub(crate) fn is_native(&mut self) {
        self.family = None;
    }

    /// Takes a sample where it is a part of the family. Tells whether it was, and
    /// gives the histogram before it where another begins.
    pub(crate) fn take(&mut self, sample: &Sample<'_>) -> (bool, Option<Collected>) {
        let Some(family) = &self.family else { return (false, None) };
        let Some(suffix @ ("_bucket" | "_sum" | "_count")) = sample.name.strip_prefix(family.as_str()) else {
            return (false, None);
        };
        let mut labels = Builder::default();
        labels.set(METRIC_NAME, family);
        let mut bound = None;
        for (name, value) in sample.labels {
            if name == "le" && suffix == "_bucket" {
                bound = value.parse::<f64>().ok();
            } else {
                labels.set(&name, &value);
            }
        }
        let same =
            !self.classic.is_empty() && self.at_ms == sample.at_ms && self.labels.iter().eq(labels.iter());
        let done = if same { None } else { self.finish() };
        if !same {
            (self.labels, self.at_ms, self.start_ms) = (labels, sample.at_ms, sample.start_ms);
        }
        let taken = match (suffix, bound) {
            ("_bucket", Some(bound)) => self.classic.bucket(bound, sample.value).is_ok(),
            ("_bucket", None) => false,
            ("_count", _) => self.classic.count(sample.value).is_ok(),
            _ => {
                self.classic.sum(sample.value);
                true
            }
        };
        self.broken |= !taken;
        if let Some(exemplar) = &sample.exemplar {
            self.exemplars.push(exemplar.to_exemplar());
        }
        (true, done)
    }

    /// What was gathered; nothing of what makes no histogram, as in Prometheus.
    pub(crate) fn finish(&mut self) -> Option<Collected> {
        let exemplars = std::mem::take(&mut self.exemplars);
        let whole = !std::mem::take(&mut self.broken) && !self.classic.is_empty();
        let histogram = whole.then(|| self.classic.to_native().ok()).flatten();
        self.classic.clear();
        Some(Collected {
            labels: std::mem::take(&mut self.labels),
            histogram: Arc::new(histogram?),
            at_ms: self.at_ms,
            start_ms: self.start_ms,
            exemplars,
        })
    }
}
