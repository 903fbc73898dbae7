//! Counters, gauges and histograms, and their text exposition (Prometheus text
//! format 0.0.4).
//!
//! Declared in `base::names`; code asks a [`Registry`] for a metric's [`Family`],
//! and the family for the handle of some label values, once. Using a handle is
//! one relaxed atomic operation: no lock, no allocation.

use base::names::{Kind, Metric};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Only goes up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Goes both ways. Holds whole numbers by [`Gauge::add`] or any by [`Gauge::set`],
/// not both on one handle.
#[derive(Debug, Default)]
pub struct Gauge {
    whole: AtomicI64,
    float_bits: AtomicU64,
}

impl Gauge {
    /// Changes the whole-number part.
    pub fn add(&self, n: i64) {
        self.whole.fetch_add(n, Relaxed);
    }

    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.whole.store(0, Relaxed);
        self.float_bits.store(value.to_bits(), Relaxed);
    }

    /// The value.
    pub fn get(&self) -> f64 {
        f64::from_bits(self.float_bits.load(Relaxed)) + self.whole.load(Relaxed) as f64
    }
}

/// Cumulative buckets. The bounds are those that the metric's declaration has, in seconds.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One a bound and one for +Inf, not cumulative.
    buckets: Vec<AtomicU64>,
    /// In nanoseconds: 584 years fit.
    sum_ns: AtomicU64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new(base::names::DURATION_BUCKETS)
    }
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum_ns: AtomicU64::new(0) }
    }

    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let at = self.bounds.partition_point(|bound| *bound < seconds);
        self.buckets[at].fetch_add(1, Relaxed);
        self.sum_ns.fetch_add(duration.as_nanos() as u64, Relaxed);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|b| b.load(Relaxed)).sum()
    }
}

/// The series of one metric, by label values.
#[derive(Debug)]
pub struct Family<M> {
    metric: &'static Metric,
    series: Mutex<BTreeMap<Vec<String>, Arc<M>>>,
}

/// Series of one family, at most: label values come from configuration and small
/// vocabularies, and this bound keeps a mistake from eating memory.
const MAX_SERIES: usize = 20_000;

/// What a series of a metric is made as.
trait Series {
    fn of(metric: &'static Metric) -> Self;
}

impl Series for Counter {
    fn of(_: &'static Metric) -> Self {
        Self::default()
    }
}

impl Series for Gauge {
    fn of(_: &'static Metric) -> Self {
        Self::default()
    }
}

impl Series for Histogram {
    fn of(metric: &'static Metric) -> Self {
        Self::new(metric.buckets())
    }
}

#[expect(private_bounds, reason = "there are three kinds of metrics, and no others are made")]
impl<M: Series> Family<M> {
    /// The handle of these label values, in the order of the declaration. Beyond
    /// 20,000 series a handle is given that no exposition shows.
    pub fn with(&self, values: &[&str]) -> Arc<M> {
        assert_eq!(values.len(), self.metric.labels.len(), "label values of {}", self.metric.name);
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let key: Vec<String> = values.iter().map(|v| (*v).to_owned()).collect();
        if let Some(found) = series.get(&key) {
            return found.clone();
        }
        let made = Arc::new(M::of(self.metric));
        if series.len() < MAX_SERIES {
            series.insert(key, made.clone());
        }
        made
    }

    /// Forgets the series whose label values `gone` accepts; handles already given keep working unseen.
    pub fn remove(&self, gone: impl Fn(&[String]) -> bool) {
        self.series.lock().unwrap_or_else(PoisonError::into_inner).retain(|values, _| !gone(values));
    }
}

trait Expose: Send + Sync {
    fn expose(&self, out: &mut String);
}

fn head(out: &mut String, metric: &Metric) {
    let kind = metric.kind.as_str();
    let _ = writeln!(out, "# HELP {} {}\n# TYPE {} {kind}", metric.name, metric.help, metric.name);
}

fn line(
    out: &mut String,
    metric: &Metric,
    suffix: &str,
    values: &[String],
    more: Option<(&str, &str)>,
    value: f64,
) {
    out.push_str(metric.name);
    out.push_str(suffix);
    let pairs = metric.labels.iter().copied().zip(values.iter().map(String::as_str)).chain(more);
    let mut open = false;
    for (name, value) in pairs {
        out.push(if open { ',' } else { '{' });
        open = true;
        let _ = write!(out, "{name}=\"");
        for c in value.chars() {
            match c {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                c => out.push(c),
            }
        }
        out.push('"');
    }
    if open {
        out.push('}');
    }
    let _ = writeln!(out, " {value}");
}

macro_rules! expose_simple {
    ($type:ty) => {
        impl Expose for Family<$type> {
            fn expose(&self, out: &mut String) {
                let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
                if series.is_empty() {
                    return;
                }
                head(out, self.metric);
                for (values, handle) in series.iter() {
                    line(out, self.metric, "", values, None, handle.get() as f64);
                }
            }
        }
    };
}
expose_simple!(Counter);
expose_simple!(Gauge);

impl Expose for Family<Histogram> {
    fn expose(&self, out: &mut String) {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if series.is_empty() {
            return;
        }
        head(out, self.metric);
        for (values, handle) in series.iter() {
            let mut total = 0;
            for (i, bucket) in handle.buckets.iter().enumerate() {
                total += bucket.load(Relaxed);
                let bound = handle.bounds.get(i).map_or("+Inf".to_owned(), f64::to_string);
                line(out, self.metric, "_bucket", values, Some(("le", &bound)), total as f64);
            }
            let sum = handle.sum_ns.load(Relaxed) as f64 / 1e9;
            line(out, self.metric, "_sum", values, None, sum);
            line(out, self.metric, "_count", values, None, total as f64);
        }
    }
}

/// All metrics of a process.
#[derive(Default)]
pub struct Registry {
    families: Mutex<BTreeMap<&'static str, Entry>>,
}

#[derive(Clone)]
enum Entry {
    Counter(Arc<Family<Counter>>),
    Gauge(Arc<Family<Gauge>>),
    Histogram(Arc<Family<Histogram>>),
}

macro_rules! family {
    ($method:ident, $variant:ident, $doc:literal) => {
        #[doc = $doc]
        pub fn $method(&self, metric: &'static Metric) -> Arc<Family<$variant>> {
            assert_eq!(metric.kind, Kind::$variant, "{}", metric.name);
            let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = families
                .entry(metric.name)
                .or_insert_with(|| Entry::$variant(Arc::new(Family { metric, series: Mutex::default() })));
            match entry {
                Entry::$variant(family) => family.clone(),
                _ => unreachable!("a metric's kind is declared once"),
            }
        }
    };
}

impl Registry {
    family!(counter, Counter, "The family of a counter.");
    family!(gauge, Gauge, "The family of a gauge.");
    family!(histogram, Histogram, "The family of a histogram of durations.");

    /// The text exposition.
    pub fn expose(&self) -> String {
        let families: Vec<Entry> =
            self.families.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        let mut out = String::with_capacity(16 << 10);
        for family in families {
            match family {
                Entry::Counter(f) => f.expose(&mut out),
                Entry::Gauge(f) => f.expose(&mut out),
                Entry::Histogram(f) => f.expose(&mut out),
            }
        }
        out
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Registry")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::names;

    #[test]
    fn exposition() {
        let registry = Registry::default();
        registry.counter(&names::EDGE_REQUESTS).with(&["a\"b\\\n", "200"]).add(3);
        registry.gauge(&names::EDGE_IN_FLIGHT).with(&[]).add(2);
        registry.gauge(&names::EDGE_IN_FLIGHT).with(&[]).add(-1);
        let histogram = registry.histogram(&names::WAF_DURATION).with(&[]);
        histogram.observe(Duration::from_micros(250));
        histogram.observe(Duration::from_secs(40));
        registry.histogram(&names::DATABASE_WAIT).with(&["main"]).observe(Duration::from_micros(250));
        let text = registry.expose();
        let wait = "bastide_database_pool_wait_seconds_bucket{database=\"main\",le=";
        assert!(text.contains(&format!("{wait}\"0.00025\"}} 1\n")), "{text}");
        assert!(text.contains(&format!("{wait}\"30\"}} 1\n")), "{text}");
        assert!(
            text.contains("bastide_edge_requests_total{pool=\"a\\\"b\\\\\\n\",code=\"200\"} 3\n"),
            "{text}"
        );
        assert!(text.contains("bastide_edge_requests_in_flight 1\n"), "{text}");
        assert!(text.contains("bastide_waf_duration_seconds_bucket{le=\"0.0002\"} 0\n"), "{text}");
        assert!(text.contains("bastide_waf_duration_seconds_bucket{le=\"0.5\"} 1\n"), "{text}");
        assert!(text.contains("bastide_waf_duration_seconds_bucket{le=\"+Inf\"} 2\n"), "{text}");
        assert!(text.contains("bastide_waf_duration_seconds_sum 40.00025\n"), "{text}");
        assert!(text.contains("# TYPE bastide_waf_duration_seconds histogram\n"), "{text}");
    }
}
