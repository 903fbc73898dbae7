//! `ExportMetricsServiceRequest` (opentelemetry-proto, `metrics/v1`, `common/v1`,
//! `resource/v1`), one data point at a time.

use super::OtlpSink;
use super::translate::{
    Attributes, Exponential, MAX_POINTS, Metric, Point, PointExemplar, Scope, Shape, Temporality, Translator,
};
use super::value::Value;
use crate::WireError;
use crate::proto::{Reader, Value as Field};
use monitor_model::histogram::MAX_BUCKETS;

/// Attributes of one data point, resource, scope or exemplar; 128 is the limit
/// that SDKs have by default.
pub(super) const MAX_ATTRIBUTES: usize = 1024;

/// Exemplars of one data point, quantiles of a summary.
pub(super) const MAX_EXEMPLARS: usize = 1024;

/// Lists within lists.
pub(super) const MAX_DEPTH: usize = 16;

type Result<T> = std::result::Result<T, WireError>;

pub(super) fn read<S: OtlpSink>(body: &[u8], translator: &mut Translator<'_, S>) -> Result<()> {
    let mut reader = Reader::new(body, "request");
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            resource_metrics(&inside(&reader, value, "resource_metrics")?, translator)?;
        }
    }
    Ok(())
}

fn inside<'a>(reader: &Reader<'a>, value: Field<'a>, place: &'static str) -> Result<Reader<'a>> {
    Ok(reader.inside(reader.message(value)?, place))
}

/// `ResourceMetrics`: resource = 1, scope_metrics = 2.
fn resource_metrics<S: OtlpSink>(message: &Reader<'_>, translator: &mut Translator<'_, S>) -> Result<()> {
    let mut attributes = Vec::new();
    let mut reader = message.clone();
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            let mut resource = inside(&reader, value, "resource")?;
            while let Some((number, value)) = resource.next()? {
                if number == 1 {
                    attribute(&resource, value, &mut attributes)?;
                }
            }
        }
    }
    translator.begin_resource(attributes);
    let mut reader = message.clone();
    while let Some((number, value)) = reader.next()? {
        if number == 2 {
            scope_metrics(&inside(&reader, value, "scope_metrics")?, translator)?;
        }
    }
    translator.end_resource();
    Ok(())
}

/// `ScopeMetrics`: scope = 1, metrics = 2, schema_url = 3.
fn scope_metrics<S: OtlpSink>(message: &Reader<'_>, translator: &mut Translator<'_, S>) -> Result<()> {
    let mut scope = Scope::default();
    let mut reader = message.clone();
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => {
                let mut inner = inside(&reader, value, "scope")?;
                while let Some((number, value)) = inner.next()? {
                    match number {
                        1 => scope.name = inner.text(value)?.into(),
                        2 => scope.version = inner.text(value)?.into(),
                        3 => attribute(&inner, value, &mut scope.attributes)?,
                        _ => {}
                    }
                }
            }
            3 => scope.schema_url = reader.text(value)?.into(),
            _ => {}
        }
    }
    translator.begin_scope(&scope);
    let mut reader = message.clone();
    while let Some((number, value)) = reader.next()? {
        if number == 2 {
            metric(&inside(&reader, value, "metrics")?, translator)?;
        }
    }
    Ok(())
}

/// `Metric`: name = 1, description = 2, unit = 3, and one of gauge = 5, sum = 7,
/// histogram = 9, exponential_histogram = 10, summary = 11.
fn metric<S: OtlpSink>(message: &Reader<'_>, translator: &mut Translator<'_, S>) -> Result<()> {
    let mut metric = Metric::default();
    let mut data = None;
    let mut reader = message.clone();
    while let Some((number, value)) = reader.next()? {
        metric.shape = match number {
            1 => {
                metric.name = reader.text(value)?.into();
                continue;
            }
            2 => {
                metric.description = reader.text(value)?.into();
                continue;
            }
            3 => {
                metric.unit = reader.text(value)?.into();
                continue;
            }
            5 => Shape::Gauge,
            7 => Shape::Sum,
            9 => Shape::Histogram,
            10 => Shape::Exponential,
            11 => Shape::Summary,
            _ => continue,
        };
        data = Some(inside(&reader, value, "data")?);
    }
    let Some(data) = data else { return Ok(()) };
    let mut points = 0;
    let mut reader = data.clone();
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => points += 1,
            2 => metric.temporality = Temporality::from_number(reader.unsigned(value)?),
            3 => metric.monotonic = reader.unsigned(value)? != 0,
            _ => {}
        }
    }
    if !translator.has_room(points) {
        return Err(data.wrong(format!("more than {MAX_POINTS} data points")));
    }
    let shape = metric.shape;
    if !translator.begin_metric(metric, points) {
        return Ok(());
    }
    let mut reader = data;
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            let inner = inside(&reader, value, "data_points")?;
            let point = match shape {
                Shape::Gauge | Shape::Sum => number_point(inner)?,
                Shape::Histogram => histogram_point(inner)?,
                Shape::Exponential => exponential_point(inner)?,
                Shape::Summary => summary_point(inner)?,
            };
            translator.point(&point);
        }
    }
    Ok(())
}

/// `NumberDataPoint`: start = 2, time = 3, as_double = 4, exemplars = 5,
/// as_int = 6, attributes = 7, flags = 8.
fn number_point(mut reader: Reader<'_>) -> Result<Point> {
    let mut point = Point::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => point.start_ns = reader.fixed64(value)?,
            3 => point.time_ns = reader.fixed64(value)?,
            4 => point.value = reader.double(value)?,
            5 => exemplar(&reader, value, &mut point.exemplars)?,
            6 => point.value = reader.fixed64(value)? as i64 as f64,
            7 => attribute(&reader, value, &mut point.attributes)?,
            8 => point.flags = reader.unsigned(value)?,
            _ => {}
        }
    }
    Ok(point)
}

/// `HistogramDataPoint`: start = 2, time = 3, count = 4, sum = 5,
/// bucket_counts = 6, explicit_bounds = 7, exemplars = 8, attributes = 9, flags = 10.
fn histogram_point(mut reader: Reader<'_>) -> Result<Point> {
    let mut point = Point::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => point.start_ns = reader.fixed64(value)?,
            3 => point.time_ns = reader.fixed64(value)?,
            4 => point.count = reader.fixed64(value)?,
            5 => point.sum = Some(reader.double(value)?),
            6 => reader.fixed64s(value, &mut point.bucket_counts, MAX_BUCKETS, |count| count)?,
            7 => reader.fixed64s(value, &mut point.bounds, MAX_BUCKETS, f64::from_bits)?,
            8 => exemplar(&reader, value, &mut point.exemplars)?,
            9 => attribute(&reader, value, &mut point.attributes)?,
            10 => point.flags = reader.unsigned(value)?,
            _ => {}
        }
    }
    Ok(point)
}

/// `ExponentialHistogramDataPoint`: attributes = 1, start = 2, time = 3,
/// count = 4, sum = 5, scale = 6, zero_count = 7, positive = 8, negative = 9,
/// flags = 10, exemplars = 11, zero_threshold = 14.
fn exponential_point(mut reader: Reader<'_>) -> Result<Point> {
    let mut point = Point::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => attribute(&reader, value, &mut point.attributes)?,
            2 => point.start_ns = reader.fixed64(value)?,
            3 => point.time_ns = reader.fixed64(value)?,
            4 => point.count = reader.fixed64(value)?,
            5 => point.sum = Some(reader.double(value)?),
            6 => point.scale = reader.zigzag32(value)?.into(),
            7 => point.zero_count = reader.fixed64(value)?,
            8 => point.positive = buckets(inside(&reader, value, "positive")?)?,
            9 => point.negative = buckets(inside(&reader, value, "negative")?)?,
            10 => point.flags = reader.unsigned(value)?,
            11 => exemplar(&reader, value, &mut point.exemplars)?,
            14 => point.zero_threshold = reader.double(value)?,
            _ => {}
        }
    }
    Ok(point)
}

/// `Buckets`: offset = 1, bucket_counts = 2.
fn buckets(mut reader: Reader<'_>) -> Result<Exponential> {
    let mut side = Exponential::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => side.offset = reader.zigzag32(value)?,
            2 => reader.varints(value, &mut side.counts, MAX_BUCKETS, |count| count)?,
            _ => {}
        }
    }
    Ok(side)
}

/// `SummaryDataPoint`: start = 2, time = 3, count = 4, sum = 5,
/// quantile_values = 6, attributes = 7, flags = 8.
fn summary_point(mut reader: Reader<'_>) -> Result<Point> {
    let mut point = Point::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => point.start_ns = reader.fixed64(value)?,
            3 => point.time_ns = reader.fixed64(value)?,
            4 => point.count = reader.fixed64(value)?,
            5 => point.sum = Some(reader.double(value)?),
            6 => {
                if point.quantiles.len() >= MAX_EXEMPLARS {
                    return Err(reader.wrong(format!("more than {MAX_EXEMPLARS} quantiles")));
                }
                let mut inner = inside(&reader, value, "quantile_values")?;
                let mut pair = (0.0, 0.0);
                while let Some((number, value)) = inner.next()? {
                    match number {
                        1 => pair.0 = inner.double(value)?,
                        2 => pair.1 = inner.double(value)?,
                        _ => {}
                    }
                }
                point.quantiles.push(pair);
            }
            7 => attribute(&reader, value, &mut point.attributes)?,
            8 => point.flags = reader.unsigned(value)?,
            _ => {}
        }
    }
    Ok(point)
}

/// `Exemplar`: time = 2, as_double = 3, span_id = 4, trace_id = 5, as_int = 6,
/// filtered_attributes = 7.
fn exemplar<'a>(reader: &Reader<'a>, value: Field<'a>, into: &mut Vec<PointExemplar>) -> Result<()> {
    if into.len() >= MAX_EXEMPLARS {
        return Err(reader.wrong(format!("more than {MAX_EXEMPLARS} exemplars")));
    }
    let mut reader = inside(reader, value, "exemplars")?;
    let mut exemplar = PointExemplar::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => exemplar.time_ns = reader.fixed64(value)?,
            3 => exemplar.value = reader.double(value)?,
            4 => exemplar.span_id = reader.message(value)?.to_vec(),
            5 => exemplar.trace_id = reader.message(value)?.to_vec(),
            6 => exemplar.value = reader.fixed64(value)? as i64 as f64,
            7 => attribute(&reader, value, &mut exemplar.attributes)?,
            _ => {}
        }
    }
    into.push(exemplar);
    Ok(())
}

/// `KeyValue`: key = 1, value = 2.
fn attribute<'a>(reader: &Reader<'a>, value: Field<'a>, into: &mut Attributes) -> Result<()> {
    if into.len() >= MAX_ATTRIBUTES {
        return Err(reader.wrong(format!("more than {MAX_ATTRIBUTES} attributes")));
    }
    into.push(key_value(inside(reader, value, "attributes")?, 0)?);
    Ok(())
}

fn key_value(mut reader: Reader<'_>, depth: usize) -> Result<(String, Value)> {
    let mut pair = (String::new(), Value::Empty);
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => pair.0 = reader.text(value)?.into(),
            2 => pair.1 = any_value(inside(&reader, value, "attributes.value")?, depth)?,
            _ => {}
        }
    }
    Ok(pair)
}

/// `AnyValue`: string = 1, bool = 2, int = 3, double = 4, array = 5, kvlist = 6,
/// bytes = 7.
fn any_value(mut reader: Reader<'_>, depth: usize) -> Result<Value> {
    if depth > MAX_DEPTH {
        return Err(reader.wrong(format!("values nest deeper than {MAX_DEPTH}")));
    }
    let mut any = Value::Empty;
    while let Some((number, value)) = reader.next()? {
        any = match number {
            1 => Value::Text(reader.text(value)?.into()),
            2 => Value::Bool(reader.unsigned(value)? != 0),
            3 => Value::Int(reader.signed(value)?),
            4 => Value::Double(reader.double(value)?),
            5 | 6 => {
                let mut list = inside(&reader, value, "attributes.value")?;
                let (mut values, mut pairs) = (Vec::new(), Vec::new());
                while let Some((inner, value)) = list.next()? {
                    if values.len() + pairs.len() >= MAX_ATTRIBUTES {
                        return Err(list.wrong(format!("more than {MAX_ATTRIBUTES} values in a list")));
                    }
                    let element = inside(&list, value, "attributes.value")?;
                    match (inner, number) {
                        (1, 5) => values.push(any_value(element, depth + 1)?),
                        (1, _) => pairs.push(key_value(element, depth + 1)?),
                        _ => {}
                    }
                }
                if number == 5 { Value::List(values) } else { Value::Map(pairs) }
            }
            7 => Value::Bytes(reader.message(value)?.to_vec()),
            _ => continue,
        };
    }
    Ok(any)
}
