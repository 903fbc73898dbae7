//! The protobuf exposition: `io.prometheus.client.MetricFamily` messages, each
//! with its length before it (`prometheus/client_model`, `metrics.proto`).
//!
//! A message is walked in place. Of what Prometheus makes of a family: a summary
//! gives `_count`, `_sum` and its quantiles, a classic histogram `_count`, `_sum`
//! and `_bucket`s (one for +Inf, also where none was sent); a histogram that has
//! native buckets gives those alone, unless both are wanted.

mod histogram;

use crate::labels::{LabelPairs, Number, pair};
use crate::parser::{Limits, ParseError, Place, cut};
use crate::wire::{Field, Reader};
use crate::{Entry, ExemplarRef, HistogramEntry, Sample};
use histogram::{Classic, Native};
use monitor_model::{METRIC_NAME, MetricType};
use std::borrow::Cow;

/// Reads families.
#[derive(Debug)]
pub(crate) struct ProtoParser<'b> {
    body: Reader<'b>,
    limits: Limits,
    samples: u64,
    /// Native histograms at all.
    pub(crate) native: bool,
    /// Classic series of native histograms, too.
    pub(crate) classic_too: bool,
    /// Where the last thing began, for errors.
    at: usize,
    family: Family<'b>,
    metric: Metric<'b>,
    /// The key of the last sample; it begins with the metric's labels.
    key: Vec<u8>,
    labels_end: usize,
    /// The name of the last sample.
    name: String,
    /// A metric's label names, to find one that stands twice.
    names: Vec<&'b str>,
}

#[derive(Debug)]
struct Family<'b> {
    name: &'b str,
    help: Option<&'b str>,
    unit: Option<&'b str>,
    kind: MetricType,
    kind_told: bool,
    /// What follows of the message: its metrics.
    rest: Reader<'b>,
}

/// A metric, and what of it is still to be told.
#[derive(Debug)]
struct Metric<'b> {
    message: Reader<'b>,
    at_ms: Option<i64>,
    start_ms: i64,
    left: Left<'b>,
}

#[derive(Debug)]
enum Left<'b> {
    Nothing,
    Number { value: f64, exemplar: Option<Reader<'b>> },
    Summary { message: Reader<'b>, count: Option<f64>, sum: Option<f64> },
    Histogram { native: Option<Reader<'b>>, classic: Option<Classic<'b>> },
}

/// What is told next.
enum Step<'b> {
    Help(&'b str),
    Type,
    Unit(&'b str),
    Number { suffix: &'static str, bound: Option<(Number, f64)>, value: f64, exemplar: Option<Reader<'b>> },
    Native(Box<Native>),
}

impl<'b> ProtoParser<'b> {
    pub(crate) fn new(body: &'b [u8], limits: Limits) -> Self {
        let nothing = Reader::new(&[], 0);
        let family = Family {
            name: "",
            help: None,
            unit: None,
            kind: MetricType::Unknown,
            kind_told: true,
            rest: nothing.clone(),
        };
        let metric = Metric { message: nothing, at_ms: None, start_ms: 0, left: Left::Nothing };
        Self {
            body: Reader::new(body, 0),
            limits,
            samples: 0,
            native: true,
            classic_too: false,
            at: 0,
            family,
            metric,
            key: Vec::new(),
            labels_end: 0,
            name: String::new(),
            names: Vec::new(),
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place::Protobuf { byte: self.at }
    }

    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry<'_>>, ParseError> {
        match self.step() {
            Ok(None) => Ok(None),
            Ok(Some(step)) => self.entry(step).map(Some).map_err(|(at, what)| error(at, what)),
            Err(what) => {
                let what = match self.family.name {
                    "" => what,
                    name => format!("metric `{}`: {what}", cut(name)),
                };
                Err(error(self.at, what))
            }
        }
    }

    fn step(&mut self) -> Result<Option<Step<'b>>, String> {
        loop {
            if let Some(help) = self.family.help.take() {
                return Ok(Some(Step::Help(help)));
            }
            if !std::mem::replace(&mut self.family.kind_told, true) {
                return Ok(Some(Step::Type));
            }
            if let Some(unit) = self.family.unit.take() {
                return Ok(Some(Step::Unit(unit)));
            }
            if let Some(step) = self.of_metric()? {
                if self.samples == self.limits.samples {
                    return Err(format!("more than {} samples", self.limits.samples));
                }
                self.samples += 1;
                return Ok(Some(step));
            }
            if self.next_metric()? {
                continue;
            }
            if self.body.is_empty() {
                return Ok(None);
            }
            self.next_family()?;
        }
    }

    fn next_family(&mut self) -> Result<(), String> {
        self.family.name = "";
        self.at = self.body.place();
        let length = self.body.varint()?;
        self.at = self.body.place();
        let message = Reader::new(self.body.take(length)?, self.at);
        let mut family = Family {
            name: "",
            help: None,
            unit: None,
            // An absent type is the first one, as proto2 has it.
            kind: MetricType::Counter,
            kind_told: false,
            rest: message.clone(),
        };
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => family.name = field.text()?,
                2 => family.help = Some(field.text()?),
                3 => family.kind = kind(field.unsigned()?)?,
                5 => family.unit = Some(field.text()?).filter(|unit| !unit.is_empty()),
                _ => {}
            }
        }
        if family.name.is_empty() {
            return Err("a metric family without a name".to_owned());
        }
        self.family = family;
        Ok(())
    }

    /// Goes to the family's next metric; `false` after the last.
    fn next_metric(&mut self) -> Result<bool, String> {
        while let Some(field) = self.family.rest.next_field()? {
            if field.number == 4 {
                self.at = field.place;
                self.begin_metric(field.message()?)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn begin_metric(&mut self, message: Reader<'b>) -> Result<(), String> {
        self.key.clear();
        self.names.clear();
        let mut metric = Metric { message: message.clone(), at_ms: None, start_ms: 0, left: Left::Nothing };
        let wanted = match self.family.kind {
            MetricType::Counter => 3,
            MetricType::Gauge => 2,
            MetricType::Summary => 4,
            MetricType::Histogram | MetricType::GaugeHistogram => 7,
            _ => 5,
        };
        let mut content: Option<Field<'b>> = None;
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => self.label(&field)?,
                // Zero is what proto2 gives where nothing was set.
                6 => metric.at_ms = Some(field.signed()?).filter(|at_ms| *at_ms != 0),
                number if number == wanted => content = Some(field),
                _ => {}
            }
        }
        self.labels_end = self.key.len();
        let content = content
            .ok_or_else(|| format!("a metric of type {} without its value", self.family.kind.as_str()))?;
        let message = content.message()?;
        match self.family.kind {
            MetricType::Summary => {
                let (mut count, mut sum) = (0.0, 0.0);
                let mut fields = message.clone();
                while let Some(field) = fields.next_field()? {
                    match field.number {
                        1 => count = field.unsigned()? as f64,
                        2 => sum = field.double()?,
                        4 => metric.start_ms = timestamp(field.message()?)?,
                        _ => {}
                    }
                }
                metric.left = Left::Summary { message, count: Some(count), sum: Some(sum) };
            }
            MetricType::Histogram | MetricType::GaugeHistogram => {
                let mut head = histogram::Head::read(message.clone())?;
                head.native &= self.native;
                metric.start_ms = head.start_ms;
                let classic = (!head.native || self.classic_too).then(|| head.classic(message.clone()));
                metric.left = Left::Histogram { native: head.native.then_some(message), classic };
            }
            _ => {
                let (mut value, mut exemplar) = (0.0, None);
                let mut fields = message;
                while let Some(field) = fields.next_field()? {
                    match field.number {
                        1 => value = field.double()?,
                        2 => exemplar = Some(field.message()?),
                        3 => metric.start_ms = timestamp(field.message()?)?,
                        _ => {}
                    }
                }
                metric.left = Left::Number { value, exemplar };
            }
        }
        self.metric = metric;
        Ok(())
    }

    fn label(&mut self, field: &Field<'b>) -> Result<(), String> {
        let bytes = field.bytes().ok_or("a label that is no message")?;
        let (name, _) = pair(bytes)?;
        if name.is_empty() {
            return Err("a label without a name".to_owned());
        }
        if name == METRIC_NAME || self.names.contains(&name) {
            return Err(format!("label `{}` stands twice", cut(name)));
        }
        if self.names.len() == self.limits.labels {
            return Err(format!("more than {} labels", self.limits.labels));
        }
        self.names.push(name);
        self.key.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.key.extend_from_slice(bytes);
        Ok(())
    }

    /// The next of the metric's samples.
    fn of_metric(&mut self) -> Result<Option<Step<'b>>, String> {
        let number = |suffix, value| Step::Number { suffix, bound: None, value, exemplar: None };
        match &mut self.metric.left {
            Left::Nothing => Ok(None),
            Left::Number { value, exemplar } => {
                let step = Step::Number { suffix: "", bound: None, value: *value, exemplar: exemplar.take() };
                self.metric.left = Left::Nothing;
                Ok(Some(step))
            }
            Left::Summary { message, count, sum } => {
                if let Some(count) = count.take() {
                    return Ok(Some(number("_count", count)));
                }
                if let Some(sum) = sum.take() {
                    return Ok(Some(number("_sum", sum)));
                }
                while let Some(field) = message.next_field()? {
                    if field.number != 3 {
                        continue;
                    }
                    let (mut quantile, mut value) = (0.0, 0.0);
                    let mut fields = field.message()?;
                    while let Some(field) = fields.next_field()? {
                        match field.number {
                            1 => quantile = field.double()?,
                            2 => value = field.double()?,
                            _ => {}
                        }
                    }
                    let bound = Some((Number::Quantile, quantile));
                    return Ok(Some(Step::Number { suffix: "", bound, value, exemplar: None }));
                }
                self.metric.left = Left::Nothing;
                Ok(None)
            }
            Left::Histogram { native, classic } => {
                if let Some(message) = native.take() {
                    let gauge = self.family.kind == MetricType::GaugeHistogram;
                    let native = Native::read(message, gauge, self.limits.buckets)?;
                    return Ok(Some(Step::Native(Box::new(native))));
                }
                if let Some(classic) = classic
                    && let Some((suffix, bound, value, exemplar)) = classic.next_sample()?
                {
                    let bound = bound.map(|bound| (Number::Le, bound));
                    return Ok(Some(Step::Number { suffix, bound, value, exemplar }));
                }
                self.metric.left = Left::Nothing;
                Ok(None)
            }
        }
    }

    fn entry(&mut self, step: Step<'b>) -> Result<Entry<'_>, (usize, String)> {
        let family = Cow::Borrowed(self.family.name);
        Ok(match step {
            Step::Help(text) => Entry::Help { family, text: Cow::Borrowed(text) },
            Step::Type => Entry::Type { family, kind: self.family.kind },
            Step::Unit(unit) => Entry::Unit { family, unit },
            Step::Number { suffix, bound, value, exemplar } => {
                let exemplar = match exemplar {
                    Some(message) => exemplar_of(message).map_err(|what| (self.at, what))?,
                    None => None,
                };
                self.name_sample(suffix, bound.map(|(_, bound)| bound));
                let (number, bound) = bound.unwrap_or((Number::None, 0.0));
                Entry::Sample(Sample {
                    key: &self.key,
                    name: Cow::Borrowed(&self.name),
                    labels: LabelPairs::proto(self.metric.message.rest(), number, bound),
                    value,
                    at_ms: self.metric.at_ms,
                    start_ms: self.metric.start_ms,
                    exemplar,
                })
            }
            Step::Native(native) => {
                self.name_sample("", None);
                Entry::Histogram(Box::new(HistogramEntry {
                    key: &self.key,
                    name: Cow::Borrowed(&self.name),
                    labels: LabelPairs::proto(self.metric.message.rest(), Number::None, 0.0),
                    histogram: native.histogram,
                    at_ms: self.metric.at_ms,
                    start_ms: self.metric.start_ms,
                    exemplars: native.exemplars,
                }))
            }
        })
    }

    /// Name and key of a sample, in memory that is used again.
    fn name_sample(&mut self, suffix: &str, bound: Option<f64>) {
        self.name.clear();
        self.name.push_str(self.family.name);
        self.name.push_str(suffix);
        self.key.truncate(self.labels_end);
        self.key.push(0xff);
        self.key.extend_from_slice(self.name.as_bytes());
        if let Some(bound) = bound {
            self.key.push(0xff);
            self.key.extend_from_slice(&bound.to_le_bytes());
        }
    }
}

fn error(byte: usize, what: String) -> ParseError {
    ParseError { place: Place::Protobuf { byte }, what }
}

fn kind(number: u64) -> Result<MetricType, String> {
    Ok(match number {
        0 => MetricType::Counter,
        1 => MetricType::Gauge,
        2 => MetricType::Summary,
        3 => MetricType::Unknown,
        4 => MetricType::Histogram,
        5 => MetricType::GaugeHistogram,
        other => return Err(format!("{other} is not a metric's type")),
    })
}

/// `google.protobuf.Timestamp`, in milliseconds.
fn timestamp(mut message: Reader<'_>) -> Result<i64, String> {
    let (mut seconds, mut nanos) = (0i64, 0i64);
    while let Some(field) = message.next_field()? {
        match field.number {
            1 => seconds = field.signed()?,
            2 => nanos = field.signed()?,
            _ => {}
        }
    }
    Ok(seconds.saturating_mul(1000).saturating_add(nanos / 1_000_000))
}

/// An `Exemplar` message; its labels are its field 1, as a metric's are.
fn exemplar_of(message: Reader<'_>) -> Result<Option<ExemplarRef<'_>>, String> {
    let (mut value, mut at_ms) = (0.0, None);
    let mut fields = message.clone();
    while let Some(field) = fields.next_field()? {
        match field.number {
            1 => drop(pair(field.bytes().ok_or("an exemplar's label that is no message")?)?),
            2 => value = field.double()?,
            3 => at_ms = Some(timestamp(field.message()?)?),
            _ => {}
        }
    }
    Ok(Some(ExemplarRef { labels: LabelPairs::proto(message.rest(), Number::None, 0.0), value, at_ms }))
}

#[cfg(test)]
mod tests;
