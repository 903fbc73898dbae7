//! `io.prometheus.client.Histogram`: classic buckets, native ones, or both.

use super::{exemplar_of, timestamp};
use crate::wire::{Field, Reader, Value, zigzag};
use monitor_model::histogram::Buckets;
use monitor_model::{CounterReset, Exemplar, Histogram, Span};

/// What must be known before anything is told.
#[derive(Debug, Default)]
pub(super) struct Head {
    count: f64,
    sum: f64,
    pub(super) start_ms: i64,
    /// Whether it has native buckets.
    pub(super) native: bool,
}

impl Head {
    pub(super) fn read(mut message: Reader<'_>) -> Result<Self, String> {
        let mut head = Self::default();
        while let Some(field) = message.next_field()? {
            match field.number {
                1 if head.count == 0.0 => head.count = field.unsigned()? as f64,
                2 => head.sum = field.double()?,
                // A count that is no whole number stands in a field of its own.
                4 if field.double()? > 0.0 => head.count = field.double()?,
                // As Prometheus decides it: spans, or a zero bucket.
                6 | 8 => head.native |= field.double()? > 0.0,
                7 => head.native |= field.unsigned()? > 0,
                9 | 12 => head.native = true,
                15 => head.start_ms = timestamp(field.message()?)?,
                _ => {}
            }
        }
        Ok(head)
    }

    pub(super) fn classic<'b>(&self, message: Reader<'b>) -> Classic<'b> {
        Classic { rest: message, all: self.count, count: Some(self.count), sum: Some(self.sum), inf: false }
    }
}

/// The classic series, one after another.
#[derive(Debug)]
pub(super) struct Classic<'b> {
    rest: Reader<'b>,
    all: f64,
    count: Option<f64>,
    sum: Option<f64>,
    inf: bool,
}

/// Suffix, bound, value, exemplar.
type ClassicSample<'b> = (&'static str, Option<f64>, f64, Option<Reader<'b>>);

impl<'b> Classic<'b> {
    pub(super) fn next_sample(&mut self) -> Result<Option<ClassicSample<'b>>, String> {
        if let Some(count) = self.count.take() {
            return Ok(Some(("_count", None, count, None)));
        }
        if let Some(sum) = self.sum.take() {
            return Ok(Some(("_sum", None, sum, None)));
        }
        while let Some(field) = self.rest.next_field()? {
            if field.number != 3 {
                continue;
            }
            let (mut bound, mut value, mut exemplar) = (0.0, 0.0, None);
            let mut fields = field.message()?;
            while let Some(field) = fields.next_field()? {
                match field.number {
                    1 if value == 0.0 => value = field.unsigned()? as f64,
                    2 => bound = field.double()?,
                    3 => exemplar = Some(field.message()?),
                    4 if field.double()? > 0.0 => value = field.double()?,
                    _ => {}
                }
            }
            if bound.is_nan() {
                return Err("a bucket whose bound is not a number".to_owned());
            }
            self.inf |= bound == f64::INFINITY;
            return Ok(Some(("_bucket", Some(bound), value, exemplar)));
        }
        if std::mem::replace(&mut self.inf, true) {
            return Ok(None);
        }
        Ok(Some(("_bucket", Some(f64::INFINITY), self.all, None)))
    }
}

/// A native histogram with its exemplars.
#[derive(Debug)]
pub(super) struct Native {
    pub(super) histogram: Histogram,
    pub(super) exemplars: Vec<Exemplar>,
}

/// One side as it was sent.
#[derive(Default)]
struct Side {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    floats: Vec<f64>,
}

/// Exemplars of one histogram that are kept.
const MAX_EXEMPLARS: usize = 64;

impl Native {
    pub(super) fn read(message: Reader<'_>, gauge: bool, max_buckets: usize) -> Result<Self, String> {
        let mut histogram = Histogram::default();
        let (mut positive, mut negative) = (Side::default(), Side::default());
        let (mut exemplars, mut of_buckets) = (Vec::new(), Vec::new());
        let mut schema = 0i64;
        let (mut float_count, mut float_zero) = (0.0, 0.0);
        let mut fields = message;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => histogram.count = field.unsigned()? as f64,
                2 => histogram.sum = field.double()?,
                3 => bucket_exemplar(field, &mut of_buckets)?,
                4 => float_count = field.double()?,
                5 => schema = field.zigzag()?,
                6 => histogram.zero_threshold = field.double()?,
                7 => histogram.zero_count = field.unsigned()? as f64,
                8 => float_zero = field.double()?,
                9 => negative.span(field, max_buckets)?,
                10 => integers(field, &mut negative.deltas, max_buckets)?,
                11 => doubles(field, &mut negative.floats, max_buckets)?,
                12 => positive.span(field, max_buckets)?,
                13 => integers(field, &mut positive.deltas, max_buckets)?,
                14 => doubles(field, &mut positive.floats, max_buckets)?,
                16 => keep(field.message()?, &mut exemplars)?,
                _ => {}
            }
        }
        histogram.schema = match i8::try_from(schema) {
            Ok(schema) if (-4..=8).contains(&schema) => schema,
            _ => return Err(format!("schema {schema} of a native histogram is not between −4 and 8")),
        };
        let float = float_count > 0.0 || float_zero > 0.0;
        if float {
            (histogram.count, histogram.zero_count) = (float_count, float_zero);
        }
        if gauge {
            histogram.reset = CounterReset::Gauge;
        }
        histogram.positive = positive.buckets(float)?;
        histogram.negative = negative.buckets(float)?;
        if exemplars.is_empty() {
            exemplars = of_buckets;
        }
        Ok(Self { histogram, exemplars })
    }
}

impl Side {
    fn span(&mut self, field: Field<'_>, max: usize) -> Result<(), String> {
        let (mut offset, mut length) = (0i64, 0u64);
        let mut fields = field.message()?;
        while let Some(field) = fields.next_field()? {
            match field.number {
                1 => offset = field.zigzag()?,
                2 => length = field.unsigned()?,
                _ => {}
            }
        }
        if self.spans.len() == max {
            return Err(format!("more than {max} spans"));
        }
        let offset = i32::try_from(offset).map_err(|_| format!("a span's offset is {offset}"))?;
        let length = u32::try_from(length).map_err(|_| format!("a span's length is {length}"))?;
        if offset < 0 && !self.spans.is_empty() {
            return Err(format!("a span that follows another has the offset {offset}"));
        }
        self.spans.push(Span { offset, length });
        Ok(())
    }

    /// Absolute counts; spans without buckets, by which clients mark a native
    /// histogram that has none yet, go.
    fn buckets(self, float: bool) -> Result<Buckets, String> {
        let mut spans: Vec<Span> = Vec::with_capacity(self.spans.len());
        let mut skipped = 0i32;
        for span in &self.spans {
            let offset = span.offset.checked_add(skipped).ok_or("a span's offset is too large")?;
            if span.length == 0 {
                skipped = offset;
                continue;
            }
            skipped = 0;
            match spans.last_mut() {
                Some(last) if offset == 0 => {
                    last.length = last.length.checked_add(span.length).ok_or("a span is too long")?;
                }
                _ => spans.push(Span { offset, length: span.length }),
            }
        }
        let counts: Vec<f64> = if float {
            self.floats
        } else {
            let mut count = 0i64;
            let add = |delta: &i64| {
                count = count.checked_add(*delta).ok_or("a bucket's count is too large")?;
                Ok(count as f64)
            };
            self.deltas.iter().map(add).collect::<Result<_, String>>()?
        };
        let length: u64 = spans.iter().map(|span| u64::from(span.length)).sum();
        if length != counts.len() as u64 {
            return Err(format!("the spans are for {length} buckets, and {} were sent", counts.len()));
        }
        if let Some(wrong) = counts.iter().find(|count| count.is_nan() || **count < 0.0) {
            return Err(format!("a bucket's count is {wrong}"));
        }
        Ok(Buckets { spans, counts })
    }
}

/// Packed or not (protobuf.dev, "Packed Repeated Fields").
fn integers(field: Field<'_>, out: &mut Vec<i64>, max: usize) -> Result<(), String> {
    match field.value {
        Value::Bytes(bytes) => {
            let mut reader = Reader::new(bytes, field.place);
            while !reader.is_empty() {
                out.push(zigzag(reader.varint()?));
                room(out.len(), max)?;
            }
            Ok(())
        }
        _ => {
            out.push(field.zigzag()?);
            room(out.len(), max)
        }
    }
}

fn doubles(field: Field<'_>, out: &mut Vec<f64>, max: usize) -> Result<(), String> {
    match field.value {
        Value::Bytes(bytes) => {
            let (numbers, rest) = bytes.as_chunks::<8>();
            if !rest.is_empty() {
                return Err("a list of doubles is cut off".to_owned());
            }
            room(out.len() + numbers.len(), max)?;
            out.extend(numbers.iter().map(|bytes| f64::from_le_bytes(*bytes)));
            Ok(())
        }
        _ => {
            out.push(field.double()?);
            room(out.len(), max)
        }
    }
}

fn room(length: usize, max: usize) -> Result<(), String> {
    if length > max { Err(format!("a histogram of more than {max} buckets")) } else { Ok(()) }
}

fn bucket_exemplar(field: Field<'_>, out: &mut Vec<Exemplar>) -> Result<(), String> {
    let mut fields = field.message()?;
    while let Some(field) = fields.next_field()? {
        if field.number == 3 {
            keep(field.message()?, out)?;
        }
    }
    Ok(())
}

fn keep(message: Reader<'_>, out: &mut Vec<Exemplar>) -> Result<(), String> {
    if let Some(exemplar) = exemplar_of(message)?
        && out.len() < MAX_EXEMPLARS
    {
        out.push(exemplar.to_exemplar());
    }
    Ok(())
}
