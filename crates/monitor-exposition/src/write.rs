//! Series written as an exposition: for federation, and for metrics of our own.

use crate::parser::Format;
use crate::wire::{put_bytes, put_double, put_unsigned, put_varint, put_zigzag};
use crate::{canonical, go_float};
use monitor_model::histogram::Buckets;
use monitor_model::labels::{is_label_name, is_metric_name};
use monitor_model::{Exemplar, Histogram, Labels, METRIC_NAME, MetricType};
use std::borrow::Cow;

/// Writes families one after another; [`Writer::finish`] gives the body.
#[derive(Debug)]
pub struct Writer {
    format: Format,
    utf8: bool,
    out: Vec<u8>,
    /// The family that is written, in protobuf.
    family: Vec<u8>,
    /// A metric, and a message within it.
    metric: Vec<u8>,
    part: Vec<u8>,
    kind: MetricType,
    /// Native histograms that the format cannot hold.
    left_out: u64,
}

impl Writer {
    /// `utf8`: whether the reader takes names of any characters; else what cannot
    /// be part of a plain name becomes `_` (Prometheus, "Escaping schemes").
    pub fn new(format: Format, utf8: bool) -> Self {
        Self {
            format,
            utf8,
            out: Vec::with_capacity(4096),
            family: Vec::new(),
            metric: Vec::new(),
            part: Vec::new(),
            kind: MetricType::Unknown,
            left_out: 0,
        }
    }

    /// Begins a family. `name` is that of its samples; of counters OpenMetrics
    /// has a family without their `_total`. In protobuf a family holds numbers
    /// (whatever their type) or native histograms, as `kind` says.
    pub fn family(&mut self, name: &str, kind: MetricType, help: &str, unit: &str) {
        self.end_family();
        self.kind = kind;
        let name = self.name(name, true).into_owned();
        match self.format {
            Format::Text => {
                let kind = match kind {
                    MetricType::Unknown | MetricType::Info | MetricType::StateSet => "untyped",
                    MetricType::GaugeHistogram => "gauge",
                    kind => kind.as_str(),
                };
                let name = quoted(&name, is_metric_name);
                if !help.is_empty() {
                    self.line(&["# HELP ", &name, " ", &escaped(help, false), "\n"]);
                }
                self.line(&["# TYPE ", &name, " ", kind, "\n"]);
            }
            Format::OpenMetrics => {
                // Samples without their type's suffix are of no type that we could name.
                let (family, kind) = match kind {
                    MetricType::Counter => match name.strip_suffix("_total") {
                        Some(base) => (base, kind),
                        None => (&*name, MetricType::Unknown),
                    },
                    MetricType::Info => match name.strip_suffix("_info") {
                        Some(base) => (base, kind),
                        None => (&*name, MetricType::Unknown),
                    },
                    kind => (&*name, kind),
                };
                let fits = !unit.is_empty() && family.strip_suffix(unit).is_some_and(|b| b.ends_with('_'));
                let family = quoted(family, is_metric_name).into_owned();
                self.line(&["# TYPE ", &family, " ", kind.as_str(), "\n"]);
                if fits {
                    self.line(&["# UNIT ", &family, " ", unit, "\n"]);
                }
                if !help.is_empty() {
                    self.line(&["# HELP ", &family, " ", &escaped(help, true), "\n"]);
                }
            }
            Format::Protobuf => {
                put_bytes(&mut self.family, 1, name.as_bytes());
                if !help.is_empty() {
                    put_bytes(&mut self.family, 2, help.as_bytes());
                }
                let number = match kind {
                    MetricType::Counter => 0,
                    MetricType::Gauge => 1,
                    MetricType::Histogram => 4,
                    MetricType::GaugeHistogram => 5,
                    _ => 3,
                };
                put_unsigned(&mut self.family, 3, number);
                if !unit.is_empty() {
                    put_bytes(&mut self.family, 5, unit.as_bytes());
                }
            }
        }
    }

    /// A number of the series `labels`, whose name is the family's (or, in text,
    /// one of its samples').
    pub fn sample(&mut self, labels: &Labels, value: f64, at_ms: Option<i64>, exemplar: Option<&Exemplar>) {
        if self.format == Format::Protobuf {
            return self.proto_sample(labels, value, at_ms, exemplar);
        }
        self.series(labels);
        self.line(&[" ", &go_float(value)]);
        if let Some(at_ms) = at_ms {
            let time = self.time(at_ms);
            self.line(&[" ", &time]);
        }
        if let (Format::OpenMetrics, Some(exemplar)) = (self.format, exemplar) {
            self.line(&[" # {"]);
            self.pairs(&exemplar.labels, &mut false);
            self.line(&["} ", &go_float(exemplar.value)]);
            if let Some(at_ms) = exemplar.at_ms {
                let time = self.time(at_ms);
                self.line(&[" ", &time]);
            }
        }
        self.out.push(b'\n');
    }

    /// A native histogram of the series `labels`; text cannot hold it, and
    /// [`Writer::left_out`] counts it.
    pub fn histogram(&mut self, labels: &Labels, histogram: &Histogram, at_ms: Option<i64>) {
        if self.format != Format::Protobuf {
            self.left_out += 1;
            return;
        }
        self.proto_labels(labels);
        self.part.clear();
        let part = &mut self.part;
        put_double(part, 2, histogram.sum);
        if histogram.has_custom_buckets() {
            // Custom bounds are classic buckets on the wire.
            put_double(part, 4, histogram.count);
            custom_buckets(part, histogram);
        } else {
            put_double(part, 4, histogram.count);
            put_zigzag(part, 5, i64::from(histogram.schema));
            put_double(part, 6, histogram.zero_threshold);
            put_double(part, 8, histogram.zero_count);
            side(part, 9, 11, &histogram.negative);
            side(part, 12, 14, &histogram.positive);
            if histogram.positive.spans.is_empty() && histogram.negative.spans.is_empty() {
                // One span without buckets says that it is a native one.
                put_bytes(part, 12, &[]);
            }
        }
        put_bytes(&mut self.metric, 7, &self.part);
        self.end_metric(at_ms);
    }

    /// How many histograms the format could not hold.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.out.len() + self.family.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The body.
    pub fn finish(mut self) -> Vec<u8> {
        self.end_family();
        if self.format == Format::OpenMetrics {
            self.line(&["# EOF\n"]);
        }
        self.out
    }

    fn end_family(&mut self) {
        if !self.family.is_empty() {
            put_varint(&mut self.out, self.family.len() as u64);
            self.out.append(&mut self.family);
        }
    }

    fn line(&mut self, parts: &[&str]) {
        for part in parts {
            self.out.extend_from_slice(part.as_bytes());
        }
    }

    /// Milliseconds in text, seconds in OpenMetrics.
    fn time(&self, at_ms: i64) -> String {
        if self.format == Format::Text {
            return at_ms.to_string();
        }
        let sign = if at_ms < 0 { "-" } else { "" };
        let at_ms = at_ms.unsigned_abs();
        format!("{sign}{}.{:03}", at_ms / 1000, at_ms % 1000)
    }

    fn name<'a>(&self, name: &'a str, metric: bool) -> Cow<'a, str> {
        let plain = if metric { is_metric_name(name) } else { is_label_name(name) };
        if plain || self.utf8 {
            return Cow::Borrowed(name);
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || metric && c == ':';
        let mut out: String = name.chars().map(|c| if fits(c) { c } else { '_' }).collect();
        if out.starts_with(|c: char| c.is_ascii_digit()) {
            out.replace_range(..1, "_");
        }
        Cow::Owned(out)
    }

    fn series(&mut self, labels: &Labels) {
        let name = labels.name().map(|name| self.name(name, true)).unwrap_or_default();
        let mut open = false;
        if is_metric_name(&name) {
            self.line(&[&name]);
        } else {
            self.line(&["{", &quoted(&name, is_metric_name)]);
            open = true;
        }
        let had = open;
        if labels.iter().any(|(name, _)| name != METRIC_NAME) && !had {
            self.line(&["{"]);
        }
        let before = self.out.len();
        self.pairs(labels, &mut open);
        if had || self.out.len() > before {
            self.line(&["}"]);
        }
    }

    fn pairs(&mut self, labels: &Labels, open: &mut bool) {
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            let name = self.name(name, false);
            let name = quoted(&name, is_label_name);
            let comma = if std::mem::replace(open, true) { "," } else { "" };
            // `le` of OpenMetrics is in canonical form whatever the store holds.
            let number = match (self.format, &*name) {
                (Format::OpenMetrics, "le" | "quantile") => value.parse::<f64>().ok().map(canonical),
                _ => None,
            };
            let value = number.map_or_else(|| escaped(value, true), Cow::Owned);
            self.line(&[comma, &name, "=\"", &value, "\""]);
        }
    }

    fn proto_labels(&mut self, labels: &Labels) {
        self.metric.clear();
        for (name, value) in labels.iter().filter(|(name, _)| *name != METRIC_NAME) {
            self.part.clear();
            let name = self.name(name, false);
            put_bytes(&mut self.part, 1, name.as_bytes());
            put_bytes(&mut self.part, 2, value.as_bytes());
            put_bytes(&mut self.metric, 1, &self.part);
        }
    }

    fn proto_sample(&mut self, labels: &Labels, value: f64, at_ms: Option<i64>, exemplar: Option<&Exemplar>) {
        self.proto_labels(labels);
        self.part.clear();
        put_double(&mut self.part, 1, value);
        let field = match self.kind {
            MetricType::Counter => 3,
            MetricType::Gauge => 2,
            _ => 5,
        };
        if let (3, Some(exemplar)) = (field, exemplar) {
            let mut message = Vec::new();
            for (name, value) in &exemplar.labels {
                let mut pair = Vec::new();
                put_bytes(&mut pair, 1, name.as_bytes());
                put_bytes(&mut pair, 2, value.as_bytes());
                put_bytes(&mut message, 1, &pair);
            }
            put_double(&mut message, 2, exemplar.value);
            if let Some(at_ms) = exemplar.at_ms {
                let mut time = Vec::new();
                put_unsigned(&mut time, 1, at_ms.div_euclid(1000) as u64);
                put_unsigned(&mut time, 2, (at_ms.rem_euclid(1000) * 1_000_000) as u64);
                put_bytes(&mut message, 3, &time);
            }
            put_bytes(&mut self.part, 2, &message);
        }
        put_bytes(&mut self.metric, field, &self.part);
        self.end_metric(at_ms);
    }

    fn end_metric(&mut self, at_ms: Option<i64>) {
        if let Some(at_ms) = at_ms {
            put_unsigned(&mut self.metric, 6, at_ms as u64);
        }
        put_bytes(&mut self.family, 4, &self.metric);
    }
}

fn side(out: &mut Vec<u8>, span_field: u32, count_field: u32, buckets: &Buckets) {
    for span in &buckets.spans {
        let mut message = Vec::with_capacity(12);
        put_zigzag(&mut message, 1, i64::from(span.offset));
        put_unsigned(&mut message, 2, u64::from(span.length));
        put_bytes(out, span_field, &message);
    }
    if !buckets.counts.is_empty() {
        let packed: Vec<u8> = buckets.counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        put_bytes(out, count_field, &packed);
    }
}

/// Buckets whose bounds are given one by one, cumulative.
fn custom_buckets(out: &mut Vec<u8>, histogram: &Histogram) {
    let mut counts = vec![0.0; histogram.bounds.len() + 1];
    let mut given = histogram.positive.counts.iter();
    let mut index = 0usize;
    for span in &histogram.positive.spans {
        index += usize::try_from(span.offset).unwrap_or(0);
        for _ in 0..span.length {
            if let (Some(count), Some(place)) = (given.next(), counts.get_mut(index)) {
                *place = *count;
            }
            index += 1;
        }
    }
    let mut below = 0.0;
    for (at, count) in counts.iter().enumerate() {
        below += count;
        let mut message = Vec::with_capacity(20);
        put_double(&mut message, 2, histogram.bounds.get(at).copied().unwrap_or(f64::INFINITY));
        put_double(&mut message, 4, below);
        put_bytes(out, 3, &message);
    }
}

fn quoted(name: &str, plain: fn(&str) -> bool) -> Cow<'_, str> {
    if plain(name) { Cow::Borrowed(name) } else { Cow::Owned(format!("\"{}\"", escaped(name, true))) }
}

/// `\\`, `\n`, and `\"` where quotes stand around it.
fn escaped(text: &str, quotes: bool) -> Cow<'_, str> {
    let needs = |c: char| matches!(c, '\\' | '\n') || quotes && c == '"';
    if !text.contains(needs) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if quotes => out.push_str("\\\""),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests;
