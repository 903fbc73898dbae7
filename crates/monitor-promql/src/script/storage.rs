//! What Prometheus' store makes of the samples that a script loads.

use super::parse::Load;
use super::values::Value;
use crate::{Histogram, HistogramPoint, Labels, METRIC_NAME, Point, SeriesData};
use monitor_model::CounterReset;
use monitor_model::histogram::ClassicHistogram;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A sample that was loaded.
#[derive(Clone)]
pub(super) struct Loaded {
    at_ms: i64,
    of: Result<f64, Arc<Histogram>>,
    start: i64,
}

impl Loaded {
    pub(super) fn of(value: Value, at_ms: i64, start: Option<i64>) -> Option<Self> {
        let start = start.unwrap_or_default();
        match value {
            Value::Gap => None,
            Value::Number(value) => Some(Self { at_ms, of: Ok(value), start }),
            Value::Histogram(histogram) => Some(Self { at_ms, of: Err(histogram), start }),
        }
    }
}

/// The samples of a series.
pub(super) fn samples_of(series: &SeriesData) -> Vec<Loaded> {
    let start = |starts: &[i64], at: usize| starts.get(at).copied().unwrap_or_default();
    let floats = series.points.iter().enumerate().map(|(i, p)| Loaded {
        at_ms: p.at_ms,
        of: Ok(p.value),
        start: start(&series.starts, i),
    });
    let histograms = series.histograms.iter().enumerate().map(|(i, p)| Loaded {
        at_ms: p.at_ms,
        of: Err(p.value.clone()),
        start: start(&series.histogram_starts, i),
    });
    floats.chain(histograms).collect()
}

/// A series of samples in any order; of two at one time the first counts.
pub(super) fn series(labels: Labels, mut samples: Vec<Loaded>) -> SeriesData {
    samples.sort_by_key(|sample| sample.at_ms);
    samples.dedup_by_key(|sample| sample.at_ms);
    let mut series = SeriesData { labels, ..SeriesData::default() };
    let mut chunk: Option<Arc<Histogram>> = None;
    for sample in samples {
        match sample.of {
            Ok(value) => {
                chunk = None;
                series.points.push(Point { at_ms: sample.at_ms, value });
                series.starts.push(sample.start);
            }
            Err(histogram) => {
                let value = stored(&mut chunk, histogram);
                series.histograms.push(HistogramPoint { at_ms: sample.at_ms, value });
                series.histogram_starts.push(sample.start);
            }
        }
    }
    for starts in [&mut series.starts, &mut series.histogram_starts] {
        if starts.iter().all(|start| *start == 0) {
            starts.clear();
        }
    }
    series
}

/// Prometheus keeps what is known about resets by chunks of histograms: a reset
/// and another layout begin a chunk; of its first histogram nothing is known, the
/// others were not reset (`tsdb/chunkenc/float_histogram.go`).
fn stored(chunk: &mut Option<Arc<Histogram>>, histogram: Arc<Histogram>) -> Arc<Histogram> {
    if histogram.is_stale() {
        *chunk = None;
        return histogram;
    }
    if histogram.reset == CounterReset::Gauge {
        *chunk = Some(histogram.clone());
        return histogram;
    }
    let goes_on = chunk.as_ref().is_some_and(|before| {
        let same_layout = before.schema == histogram.schema
            && before.zero_threshold == histogram.zero_threshold
            && before.bounds == histogram.bounds;
        let mut plain = histogram.as_ref().clone();
        plain.reset = CounterReset::Unknown;
        before.reset != CounterReset::Gauge
            && histogram.reset != CounterReset::Reset
            && same_layout
            && !plain.detect_reset(before)
    });
    let mut kept = histogram.as_ref().clone();
    kept.reset = if goes_on { CounterReset::NotReset } else { CounterReset::Unknown };
    let kept = Arc::new(kept);
    *chunk = Some(kept.clone());
    kept
}

/// The native histograms of the classic ones that are loaded (`load_with_nhcb`).
pub(super) fn native_of_classic(load: &Load) -> BTreeMap<Labels, Vec<Loaded>> {
    let mut classic: BTreeMap<(Labels, usize), ClassicHistogram> = BTreeMap::new();
    for line in &load.series {
        let Some((name, suffix)) = line.labels.name().and_then(base_name) else { continue };
        let le = line.labels.get("le").and_then(|le| le.parse::<f64>().ok());
        let labels = line.labels.without(|label| label == "le").with(METRIC_NAME, name);
        for (step, value) in line.values.iter().enumerate() {
            let Value::Number(value) = value else { continue };
            let histogram = classic.entry((labels.clone(), step)).or_default();
            // What does not fit is left out, as Prometheus' runner leaves it out.
            match (suffix, le) {
                ("_bucket", Some(le)) => drop(histogram.bucket(le, *value)),
                ("_count", _) => drop(histogram.count(*value)),
                ("_sum", _) => histogram.sum(*value),
                _ => {}
            }
        }
    }
    let mut native: BTreeMap<Labels, Vec<Loaded>> = BTreeMap::new();
    for ((labels, step), histogram) in classic {
        let Ok(histogram) = histogram.to_native() else { continue };
        let at_ms = load.step_ms * step as i64;
        native.entry(labels).or_default().push(Loaded { at_ms, of: Err(histogram.into()), start: 0 });
    }
    native
}

fn base_name(name: &str) -> Option<(&str, &'static str)> {
    ["_bucket", "_count", "_sum"].into_iter().find_map(|suffix| Some((name.strip_suffix(suffix)?, suffix)))
}
