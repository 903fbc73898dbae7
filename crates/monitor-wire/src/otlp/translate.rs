//! From data points to samples.

use super::names::{Kind, build, label_name, unit_name};
use super::value::Value;
use super::{OtlpSink, Refused, Settings};
use monitor_model::histogram::{Buckets, CUSTOM_BUCKETS, HistogramError, MAX_SCHEMA, MIN_SCHEMA};
use monitor_model::{
    CounterReset, Exemplar, Histogram, Labels, LabelsBuilder, METRIC_NAME, Metadata, MetricType, STALE, Span,
};

/// The zero bucket's width where a data point gives none, as Prometheus has it.
const ZERO_THRESHOLD: f64 = 1e-128;

/// Half of PromQL's look-back: `target_info` repeats so that it is never stale
/// among the points of one message.
const TARGET_INFO_EVERY_MS: i64 = 150_000;

/// Data points of one message: each may take two bytes of it, and microseconds.
pub(super) const MAX_POINTS: u64 = 1_000_000;

/// No more of them in one message, whatever times it has.
const MAX_TARGET_INFO: i64 = 100;

/// OpenMetrics 1.0: labels of an exemplar have at most 128 characters.
const MAX_EXEMPLAR_CHARS: usize = 128;

/// Names and values.
pub(super) type Attributes = Vec<(String, Value)>;

/// What a scope is.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) schema_url: String,
    pub(super) attributes: Attributes,
}

/// How a metric's data points are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Shape {
    #[default]
    Gauge,
    Sum,
    Histogram,
    Exponential,
    Summary,
}

/// `AggregationTemporality`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Temporality {
    #[default]
    Unspecified,
    Delta,
    Cumulative,
}

impl Temporality {
    pub(super) fn from_number(number: u64) -> Self {
        match number {
            1 => Self::Delta,
            2 => Self::Cumulative,
            _ => Self::Unspecified,
        }
    }
}

/// What a metric is.
#[derive(Clone, Debug, Default)]
pub(super) struct Metric {
    pub(super) name: String,
    pub(super) description: String,
    pub(super) unit: String,
    pub(super) shape: Shape,
    pub(super) temporality: Temporality,
    pub(super) monotonic: bool,
}

/// One side of an exponential histogram.
#[derive(Clone, Debug, Default)]
pub(super) struct Exponential {
    pub(super) offset: i32,
    pub(super) counts: Vec<u64>,
}

/// An exemplar.
#[derive(Clone, Debug, Default)]
pub(super) struct PointExemplar {
    pub(super) attributes: Attributes,
    pub(super) time_ns: u64,
    pub(super) value: f64,
    pub(super) span_id: Vec<u8>,
    pub(super) trace_id: Vec<u8>,
}

/// A data point of any shape.
#[derive(Clone, Debug, Default)]
pub(super) struct Point {
    pub(super) attributes: Attributes,
    pub(super) start_ns: u64,
    pub(super) time_ns: u64,
    pub(super) flags: u64,
    pub(super) exemplars: Vec<PointExemplar>,
    /// Of a number.
    pub(super) value: f64,
    /// Of distributions.
    pub(super) count: u64,
    pub(super) sum: Option<f64>,
    /// Of an explicit histogram.
    pub(super) bucket_counts: Vec<u64>,
    pub(super) bounds: Vec<f64>,
    /// Of an exponential one.
    pub(super) scale: i64,
    pub(super) zero_count: u64,
    pub(super) zero_threshold: f64,
    pub(super) positive: Exponential,
    pub(super) negative: Exponential,
    /// Of a summary.
    pub(super) quantiles: Vec<(f64, f64)>,
}

impl Point {
    /// `DataPointFlags`: "no recorded value" ends the series.
    fn is_stale(&self) -> bool {
        self.flags & 1 != 0
    }

    fn at_ms(&self) -> i64 {
        (self.time_ns / 1_000_000) as i64
    }
}

/// Turns what a message says, in its order, into calls of the sink.
pub(super) struct Translator<'a, S> {
    settings: &'a Settings,
    sink: &'a mut S,
    resource: Attributes,
    /// `job` and `instance`, and what is promoted of resource and scope.
    common: Vec<(String, String)>,
    promoted: Vec<(String, String)>,
    /// First and last time of the resource's points.
    times: Option<(i64, i64)>,
    metric: Metric,
    name: String,
    /// How many data points there were.
    points: u64,
}

impl<'a, S: OtlpSink> Translator<'a, S> {
    pub(super) fn new(settings: &'a Settings, sink: &'a mut S) -> Self {
        Self {
            settings,
            sink,
            resource: Vec::new(),
            common: Vec::new(),
            promoted: Vec::new(),
            times: None,
            metric: Metric::default(),
            name: String::new(),
            points: 0,
        }
    }

    /// Whether so many more data points are taken.
    pub(super) fn has_room(&mut self, points: u64) -> bool {
        self.points += points;
        self.points <= MAX_POINTS
    }

    pub(super) fn begin_resource(&mut self, attributes: Attributes) {
        self.resource = attributes;
        self.times = None;
        self.common.clear();
        let get = |name: &str| {
            let found = self.resource.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value.to_text()).filter(|text| !text.is_empty())
        };
        // "service.name" and "service.namespace" make the job (OpenTelemetry,
        // "Resource Attributes").
        if let Some(job) = get("service.name") {
            let job = get("service.namespace").map_or(job.clone(), |space| format!("{space}/{job}"));
            self.common.push(("job".into(), job));
        }
        if let Some(instance) = get("service.instance.id") {
            self.common.push(("instance".into(), instance));
        }
    }

    pub(super) fn begin_scope(&mut self, scope: &Scope) {
        self.promoted.clear();
        for (name, value) in &self.resource {
            if self.settings.promote.takes(name)
                && let Some(name) = label_name(name, self.settings)
            {
                self.promoted.push((name, value.to_text()));
            }
        }
        if !self.settings.promote_scope {
            return;
        }
        for (name, text) in
            [("name", &scope.name), ("version", &scope.version), ("schema_url", &scope.schema_url)]
        {
            self.promoted.push((format!("otel_scope_{name}"), text.clone()));
        }
        for (name, value) in &scope.attributes {
            if let Some(name) = label_name(&format!("otel_scope_{name}"), self.settings) {
                self.promoted.push((name, value.to_text()));
            }
        }
    }

    /// `points`: how many belong to it. `false`: it is not taken.
    pub(super) fn begin_metric(&mut self, metric: Metric, points: u64) -> bool {
        let kind = match metric.shape {
            Shape::Gauge => Kind::Gauge,
            Shape::Sum if metric.monotonic => Kind::Counter,
            _ => Kind::Other,
        };
        self.name = build(&metric.name, &metric.unit, kind, self.settings.strategy);
        self.metric = metric;
        let name = || self.metric.name.clone();
        let aggregated = !matches!(self.metric.shape, Shape::Gauge | Shape::Summary);
        let why = match self.metric.temporality {
            _ if self.name.is_empty() => Refused::MetricName(name()),
            Temporality::Delta if aggregated && !self.settings.store_deltas => Refused::Delta(name()),
            Temporality::Unspecified if aggregated => Refused::NoTemporality(name()),
            _ => {
                self.tell_metadata();
                return true;
            }
        };
        if points > 0 {
            self.sink.refused(points, &why);
        }
        false
    }

    fn tell_metadata(&mut self) {
        let delta = self.metric.temporality == Temporality::Delta;
        let kind = match self.metric.shape {
            Shape::Gauge => MetricType::Gauge,
            // Differences are no counter: PromQL must not look for resets.
            Shape::Sum | Shape::Histogram | Shape::Exponential if delta => MetricType::Unknown,
            Shape::Sum if self.metric.monotonic => MetricType::Counter,
            Shape::Sum => MetricType::Gauge,
            Shape::Histogram | Shape::Exponential => MetricType::Histogram,
            Shape::Summary => MetricType::Summary,
        };
        let metadata =
            Metadata { kind, unit: unit_name(&self.metric.unit), help: self.metric.description.clone() };
        self.sink.metadata(&self.name, &metadata);
    }

    /// A data point of the metric.
    pub(super) fn point(&mut self, point: &Point) {
        let labels = match self.labels(&point.attributes) {
            Ok(labels) => labels,
            Err(why) => return self.sink.refused(1, &why),
        };
        let at_ms = point.at_ms();
        let told = match self.metric.shape {
            Shape::Gauge | Shape::Sum => {
                self.number(point, labels);
                Ok(())
            }
            Shape::Histogram if self.settings.histograms_to_native => self.custom_histogram(point, labels),
            Shape::Histogram => self.classic_histogram(point, labels),
            Shape::Exponential => self.exponential_histogram(point, labels),
            Shape::Summary => {
                self.summary(point, labels);
                Ok(())
            }
        };
        match told {
            Ok(()) => {
                let (first, last) = self.times.unwrap_or((at_ms, at_ms));
                self.times = Some((first.min(at_ms), last.max(at_ms)));
            }
            Err(why) => self.sink.refused(1, &why),
        }
    }

    /// The resource's own series, at the times of its points.
    pub(super) fn end_resource(&mut self) {
        let Some((first, last)) = self.times.take() else { return };
        if self.common.is_empty() {
            return;
        }
        let keep = self.settings.keep_identifying_attributes;
        let identifying = ["service.name", "service.namespace", "service.instance.id"];
        let attributes: Vec<_> = std::mem::take(&mut self.resource)
            .into_iter()
            .filter(|(name, _)| keep || !identifying.contains(&name.as_str()))
            .collect();
        let mut builder = LabelsBuilder::default();
        if self.add_attributes(&mut builder, &attributes).is_err() || builder.build().is_empty() {
            return;
        }
        for (name, value) in &self.common {
            builder.set(name, value);
        }
        builder.set(METRIC_NAME, "target_info");
        let labels = builder.build();
        let metadata =
            Metadata { kind: MetricType::Gauge, help: "Target metadata".into(), ..Metadata::default() };
        self.sink.metadata("target_info", &metadata);
        let steps = (last.saturating_sub(first) / TARGET_INFO_EVERY_MS).clamp(0, MAX_TARGET_INFO - 1);
        for step in (0..=steps).rev() {
            self.sink.sample(&labels, last - step * TARGET_INFO_EVERY_MS, 1.0, 0);
        }
    }

    /// Labels of a data point, without a name. What the point says goes before
    /// what is promoted; `job` and `instance` before all.
    fn labels(&self, attributes: &Attributes) -> Result<LabelsBuilder, Refused> {
        let mut builder = LabelsBuilder::default();
        for (name, value) in &self.promoted {
            builder.set(name, value);
        }
        self.add_attributes(&mut builder, attributes)?;
        for (name, value) in &self.common {
            builder.set(name, value);
        }
        Ok(builder)
    }

    /// Attributes whose names become the same are joined by `;`, in the order of
    /// their own names.
    fn add_attributes(&self, builder: &mut LabelsBuilder, attributes: &Attributes) -> Result<(), Refused> {
        let mut sorted: Vec<_> = attributes.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let mut joined: Vec<(String, String)> = Vec::with_capacity(sorted.len());
        for (name, value) in sorted {
            let Some(label) = label_name(name, self.settings) else {
                return Err(Refused::LabelName(self.metric.name.clone(), name.clone()));
            };
            match joined.iter_mut().find(|known| known.0 == label) {
                Some(known) => {
                    known.1.push(';');
                    known.1.push_str(&value.to_text());
                }
                None => joined.push((label, value.to_text())),
            }
        }
        for (name, value) in joined {
            builder.set(&name, &value);
        }
        Ok(())
    }

    fn start_ms(&self, point: &Point) -> i64 {
        // A gauge has no begin, and differences begin anew with each point.
        let counts = self.metric.temporality == Temporality::Cumulative
            && (self.metric.monotonic || self.metric.shape != Shape::Sum);
        if counts { (point.start_ns / 1_000_000) as i64 } else { 0 }
    }

    fn number(&mut self, point: &Point, labels: LabelsBuilder) {
        let labels = named(labels, &self.name, "");
        let value = if point.is_stale() { STALE } else { point.value };
        self.sink.sample(&labels, point.at_ms(), value, self.start_ms(point));
        for exemplar in &point.exemplars {
            self.sink.exemplar(&labels, self.exemplar(exemplar));
        }
    }

    fn summary(&mut self, point: &Point, labels: LabelsBuilder) {
        let (at_ms, start_ms) = (point.at_ms(), (point.start_ns / 1_000_000) as i64);
        let or_stale = |value: f64| if point.is_stale() { STALE } else { value };
        let sum = or_stale(point.sum.unwrap_or(0.0));
        self.sink.sample(&named(labels.clone(), &self.name, "_sum"), at_ms, sum, start_ms);
        let count = or_stale(point.count as f64);
        self.sink.sample(&named(labels.clone(), &self.name, "_count"), at_ms, count, start_ms);
        for (quantile, value) in &point.quantiles {
            let mut labels = labels.clone();
            labels.set("quantile", &number_text(*quantile));
            self.sink.sample(&named(labels, &self.name, ""), at_ms, or_stale(*value), start_ms);
        }
    }

    fn classic_histogram(&mut self, point: &Point, labels: LabelsBuilder) -> Result<(), Refused> {
        self.check_buckets(point)?;
        let (at_ms, start_ms) = (point.at_ms(), self.start_ms(point));
        let or_stale = |value: f64| if point.is_stale() { STALE } else { value };
        if let Some(sum) = point.sum.or(point.is_stale().then_some(0.0)) {
            self.sink.sample(&named(labels.clone(), &self.name, "_sum"), at_ms, or_stale(sum), start_ms);
        }
        let count = or_stale(point.count as f64);
        self.sink.sample(&named(labels.clone(), &self.name, "_count"), at_ms, count, start_ms);
        let finite = point.bounds.iter().copied().filter(|bound| *bound < f64::INFINITY);
        let mut cumulative = 0u64;
        let mut counts = point.bucket_counts.iter().copied();
        let mut below = f64::NEG_INFINITY;
        for bound in finite.chain([f64::INFINITY]) {
            cumulative = cumulative.saturating_add(counts.next().unwrap_or(0));
            // Up to +Inf lies everything, what no bucket has too.
            let all = if bound == f64::INFINITY { point.count } else { cumulative };
            let mut labels = labels.clone();
            labels.set("le", &number_text(bound));
            let labels = named(labels, &self.name, "_bucket");
            self.sink.sample(&labels, at_ms, or_stale(all as f64), start_ms);
            for exemplar in &point.exemplars {
                if exemplar.value > below && exemplar.value <= bound {
                    self.sink.exemplar(&labels, self.exemplar(exemplar));
                }
            }
            below = bound;
        }
        Ok(())
    }

    fn custom_histogram(&mut self, point: &Point, labels: LabelsBuilder) -> Result<(), Refused> {
        self.check_buckets(point)?;
        let counts: Vec<f64> = point.bucket_counts.iter().map(|count| *count as f64).collect();
        let spans = vec![Span { offset: 0, length: counts.len() as u32 }];
        let bounds = point.bounds.iter().copied().filter(|bound| *bound < f64::INFINITY).collect();
        let positive = if counts.is_empty() { Buckets::default() } else { Buckets { spans, counts } };
        let histogram = Histogram { schema: CUSTOM_BUCKETS, bounds, positive, ..Histogram::default() };
        self.histogram(point, histogram, labels)
    }

    fn exponential_histogram(&mut self, point: &Point, labels: LabelsBuilder) -> Result<(), Refused> {
        if point.scale < i64::from(MIN_SCHEMA) {
            return Err(Refused::Scale(self.metric.name.clone(), point.scale));
        }
        let schema = point.scale.min(MAX_SCHEMA.into());
        let shift = u32::try_from(point.scale - schema).unwrap_or(u32::MAX).min(62);
        let side = |side: &Exponential| {
            // OTLP's bucket 0 begins above 1, a native histogram's ends at 1.
            let indexed = (i64::from(side.offset)..).zip(&side.counts);
            let populated = indexed.filter(|(_, count)| **count > 0);
            Buckets::from_indexed(populated.map(|(index, count)| ((index >> shift) + 1, *count as f64)))
        };
        let zero_threshold = if point.zero_threshold > 0.0 { point.zero_threshold } else { ZERO_THRESHOLD };
        let histogram = Histogram {
            schema: schema as i8,
            zero_threshold,
            zero_count: point.zero_count as f64,
            positive: side(&point.positive),
            negative: side(&point.negative),
            ..Histogram::default()
        };
        self.histogram(point, histogram, labels)
    }

    /// A native histogram, but for count and sum.
    fn histogram(
        &mut self,
        point: &Point,
        mut histogram: Histogram,
        labels: LabelsBuilder,
    ) -> Result<(), Refused> {
        histogram.count = point.count as f64;
        histogram.sum = point.sum.unwrap_or(0.0);
        if self.metric.temporality == Temporality::Delta {
            histogram.reset = CounterReset::Gauge;
        }
        if point.is_stale() {
            histogram = Histogram::stale();
        }
        histogram.compact();
        let wrong = |why: HistogramError| Refused::Histogram(self.metric.name.clone(), why);
        histogram.validate().map_err(wrong)?;
        let labels = named(labels, &self.name, "");
        self.sink.histogram(&labels, point.at_ms(), histogram, self.start_ms(point));
        for exemplar in &point.exemplars {
            self.sink.exemplar(&labels, self.exemplar(exemplar));
        }
        Ok(())
    }

    /// "The number of elements in bucket_counts array must be by one greater
    /// than the number of elements in explicit_bounds array", or both are empty.
    fn check_buckets(&self, point: &Point) -> Result<(), Refused> {
        let (bounds, counts) = (point.bounds.len(), point.bucket_counts.len());
        let name = || self.metric.name.clone();
        if counts != bounds + 1 && !(counts == 0 && bounds == 0) {
            return Err(Refused::BucketCounts(name(), bounds, counts));
        }
        let ascending = point.bounds.windows(2).position(|two| two[0] >= two[1] || two[1].is_nan());
        let nan = point.bounds.iter().position(|bound| bound.is_nan());
        match ascending.map(|at| at + 1).or(nan) {
            Some(at) => Err(Refused::Histogram(name(), HistogramError::Bound(at + 1, point.bounds[at]))),
            None => Ok(()),
        }
    }

    fn exemplar(&self, exemplar: &PointExemplar) -> Exemplar {
        let mut builder = LabelsBuilder::default();
        let mut chars = 0;
        for (name, id) in [("trace_id", &exemplar.trace_id), ("span_id", &exemplar.span_id)] {
            if !id.is_empty() {
                let text: String = id.iter().take(32).map(|byte| format!("{byte:02x}")).collect();
                chars += name.len() + text.len();
                builder.set(name, &text);
            }
        }
        let attributes: Vec<_> = exemplar
            .attributes
            .iter()
            .filter_map(|(name, value)| Some((label_name(name, self.settings)?, value.to_text())))
            .collect();
        let more = attributes.iter().map(|(name, text)| name.chars().count() + text.chars().count());
        // All of them or none: half of them would mislead.
        if chars + more.sum::<usize>() <= MAX_EXEMPLAR_CHARS {
            for (name, text) in attributes {
                builder.set(&name, &text);
            }
        }
        let at_ms = (exemplar.time_ns > 0).then_some((exemplar.time_ns / 1_000_000) as i64);
        Exemplar { labels: builder.build(), value: exemplar.value, at_ms }
    }
}

fn named(mut labels: LabelsBuilder, name: &str, end: &str) -> Labels {
    labels.set(METRIC_NAME, &format!("{name}{end}"));
    labels.build()
}

/// A bound or quantile as a label has it: all digits, no exponent.
fn number_text(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".into()
    } else if value == f64::NEG_INFINITY {
        "-Inf".into()
    } else {
        value.to_string()
    }
}
