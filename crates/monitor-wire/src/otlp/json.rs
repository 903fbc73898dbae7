//! The same message in JSON (OTLP specification, "JSON Protobuf Encoding"): names
//! in lowerCamelCase, 64-bit numbers as texts or numbers, trace and span ids in
//! hexadecimal, enumerations as numbers, unknown names ignored.

use super::OtlpSink;
use super::protobuf::{MAX_ATTRIBUTES, MAX_DEPTH, MAX_EXEMPLARS};
use super::translate::{self, Metric, Point, PointExemplar, Shape, Temporality, Translator};
use super::value::Value;
use crate::WireError;
use monitor_model::histogram::MAX_BUCKETS;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use std::fmt;

/// Objects in a document. Each takes some hundred bytes once it is parsed, of the
/// two that it may have in the text.
const MAX_OBJECTS: usize = 200_000;

pub(super) fn read<S: OtlpSink>(body: &[u8], translator: &mut Translator<'_, S>) -> Result<(), WireError> {
    let wrong = |what: String| WireError::new(what.into(), 0, "request");
    let objects = body.iter().filter(|byte| **byte == b'{').count();
    if objects > MAX_OBJECTS {
        return Err(wrong(format!(
            "JSON document of {objects} objects; at most {MAX_OBJECTS} are taken; hint: send smaller batches, or protobuf"
        )));
    }
    let request: Request =
        serde_json::from_slice(body).map_err(|error| wrong(format!("not OTLP in JSON: {error}")))?;
    for resource in request.resource_metrics {
        translator.begin_resource(attributes(resource.resource.attributes).map_err(wrong)?);
        for scope in resource.scope_metrics {
            translator.begin_scope(&translate::Scope {
                name: scope.scope.name,
                version: scope.scope.version,
                schema_url: scope.schema_url,
                attributes: attributes(scope.scope.attributes).map_err(wrong)?,
            });
            for metric in scope.metrics {
                read_metric(metric, translator).map_err(wrong)?;
            }
        }
        translator.end_resource();
    }
    Ok(())
}

fn read_metric<S: OtlpSink>(json: JsonMetric, translator: &mut Translator<'_, S>) -> Result<(), String> {
    let shapes = [
        (Shape::Gauge, json.gauge),
        (Shape::Sum, json.sum),
        (Shape::Histogram, json.histogram),
        (Shape::Exponential, json.exponential_histogram),
        (Shape::Summary, json.summary),
    ];
    let data = shapes.into_iter().find_map(|(shape, data)| Some((shape, data?)));
    let Some((shape, data)) = data else { return Ok(()) };
    let metric = Metric {
        name: json.name,
        description: json.description,
        unit: json.unit,
        shape,
        temporality: Temporality::from_number(data.aggregation_temporality),
        monotonic: data.is_monotonic,
    };
    if translator.begin_metric(metric, data.data_points.len() as u64) {
        for point in data.data_points {
            translator.point(&read_point(point)?);
        }
    }
    Ok(())
}

fn read_point(json: JsonPoint) -> Result<Point, String> {
    let sizes = [json.bucket_counts.len(), json.explicit_bounds.len()];
    let sides = [json.positive.bucket_counts.len(), json.negative.bucket_counts.len()];
    if sizes.into_iter().chain(sides).any(|size| size > MAX_BUCKETS) {
        return Err(format!("a histogram has more than {MAX_BUCKETS} buckets"));
    }
    if json.exemplars.len() > MAX_EXEMPLARS || json.quantile_values.len() > MAX_EXEMPLARS {
        return Err(format!("a data point has more than {MAX_EXEMPLARS} exemplars or quantiles"));
    }
    let exemplars = json.exemplars.into_iter().map(|exemplar| {
        Ok(PointExemplar {
            attributes: attributes(exemplar.filtered_attributes)?,
            time_ns: exemplar.time_unix_nano.0,
            value: exemplar.as_double.map_or(exemplar.as_int.0 as f64, |double| double.0),
            span_id: hex(&exemplar.span_id)?,
            trace_id: hex(&exemplar.trace_id)?,
        })
    });
    let counts = |counts: Vec<Whole>| counts.into_iter().map(|count| count.0).collect();
    let side = |side: JsonBuckets| translate::Exponential {
        offset: side.offset,
        counts: counts(side.bucket_counts),
    };
    Ok(Point {
        attributes: attributes(json.attributes)?,
        start_ns: json.start_time_unix_nano.0,
        time_ns: json.time_unix_nano.0,
        flags: json.flags,
        exemplars: exemplars.collect::<Result<_, String>>()?,
        value: json.as_double.map_or(json.as_int.0 as f64, |double| double.0),
        count: json.count.0,
        sum: json.sum.map(|sum| sum.0),
        bucket_counts: json.bucket_counts.into_iter().map(|count| count.0).collect(),
        bounds: json.explicit_bounds.into_iter().map(|bound| bound.0).collect(),
        scale: json.scale,
        zero_count: json.zero_count.0,
        zero_threshold: json.zero_threshold.map_or(0.0, |threshold| threshold.0),
        positive: side(json.positive),
        negative: side(json.negative),
        quantiles: json.quantile_values.into_iter().map(|pair| (pair.quantile.0, pair.value.0)).collect(),
    })
}

fn attributes(json: Vec<KeyValue>) -> Result<translate::Attributes, String> {
    if json.len() > MAX_ATTRIBUTES {
        return Err(format!("more than {MAX_ATTRIBUTES} attributes"));
    }
    json.into_iter().map(|pair| Ok((pair.key, pair.value.read(0)?))).collect()
}

impl AnyValue {
    fn read(self, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("values nest deeper than {MAX_DEPTH}"));
        }
        Ok(if let Some(text) = self.string_value {
            Value::Text(text)
        } else if let Some(value) = self.bool_value {
            Value::Bool(value)
        } else if let Some(value) = self.int_value {
            Value::Int(value.0)
        } else if let Some(value) = self.double_value {
            Value::Double(value.0)
        } else if let Some(list) = self.array_value {
            let values = list.values.into_iter().map(|value| value.read(depth + 1));
            Value::List(values.collect::<Result<_, _>>()?)
        } else if let Some(map) = self.kvlist_value {
            let pairs = map.values.into_iter().map(|pair| Ok((pair.key, pair.value.read(depth + 1)?)));
            Value::Map(pairs.collect::<Result<_, String>>()?)
        } else if let Some(base64) = self.bytes_value {
            // It becomes a label as it is: base64 again.
            Value::Text(base64)
        } else {
            Value::Empty
        })
    }
}

fn hex(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("`{}` is not hexadecimal", text.chars().take(40).collect::<String>());
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0).ok_or_else(wrong)?;
    Ok(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Request {
    resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ResourceMetrics {
    resource: Resource,
    scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Resource {
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ScopeMetrics {
    scope: JsonScope,
    metrics: Vec<JsonMetric>,
    schema_url: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonScope {
    name: String,
    version: String,
    attributes: Vec<KeyValue>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonMetric {
    name: String,
    description: String,
    unit: String,
    gauge: Option<Data>,
    sum: Option<Data>,
    histogram: Option<Data>,
    exponential_histogram: Option<Data>,
    summary: Option<Data>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Data {
    data_points: Vec<JsonPoint>,
    aggregation_temporality: u64,
    is_monotonic: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonPoint {
    attributes: Vec<KeyValue>,
    start_time_unix_nano: Whole,
    time_unix_nano: Whole,
    flags: u64,
    exemplars: Vec<JsonExemplar>,
    as_double: Option<Double>,
    as_int: Signed,
    count: Whole,
    sum: Option<Double>,
    bucket_counts: Vec<Whole>,
    explicit_bounds: Vec<Double>,
    scale: i64,
    zero_count: Whole,
    zero_threshold: Option<Double>,
    positive: JsonBuckets,
    negative: JsonBuckets,
    quantile_values: Vec<Quantile>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonBuckets {
    offset: i32,
    bucket_counts: Vec<Whole>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Quantile {
    quantile: Double,
    value: Double,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonExemplar {
    filtered_attributes: Vec<KeyValue>,
    time_unix_nano: Whole,
    as_double: Option<Double>,
    as_int: Signed,
    span_id: String,
    trace_id: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct KeyValue {
    key: String,
    value: AnyValue,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct AnyValue {
    string_value: Option<String>,
    bool_value: Option<bool>,
    int_value: Option<Signed>,
    double_value: Option<Double>,
    array_value: Option<Box<List>>,
    kvlist_value: Option<Box<Map>>,
    bytes_value: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct List {
    values: Vec<AnyValue>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Map {
    values: Vec<KeyValue>,
}

/// A whole number, as a number or a text.
#[derive(Clone, Copy, Default)]
struct Whole(u64);

/// As [`Whole`], with a sign.
#[derive(Clone, Copy, Default)]
struct Signed(i64);

/// A number; as a text also `NaN`, `Infinity`, `-Infinity`.
#[derive(Clone, Copy, Default)]
struct Double(f64);

/// One visitor for the three: a number in whatever form.
struct Number<T>(std::marker::PhantomData<T>);

trait FromNumber: Sized {
    const WHAT: &'static str;
    fn unsigned(value: u64) -> Option<Self>;
    fn signed(value: i64) -> Option<Self>;
    fn double(value: f64) -> Option<Self>;
    fn text(value: &str) -> Option<Self>;
}

impl FromNumber for Whole {
    const WHAT: &'static str = "a whole number, or a text with one";
    fn unsigned(value: u64) -> Option<Self> {
        Some(Self(value))
    }
    fn signed(value: i64) -> Option<Self> {
        u64::try_from(value).ok().map(Self)
    }
    fn double(_: f64) -> Option<Self> {
        None
    }
    fn text(value: &str) -> Option<Self> {
        value.parse().ok().map(Self)
    }
}

impl FromNumber for Signed {
    const WHAT: &'static str = "a whole number, or a text with one";
    fn unsigned(value: u64) -> Option<Self> {
        i64::try_from(value).ok().map(Self)
    }
    fn signed(value: i64) -> Option<Self> {
        Some(Self(value))
    }
    fn double(_: f64) -> Option<Self> {
        None
    }
    fn text(value: &str) -> Option<Self> {
        value.parse().ok().map(Self)
    }
}

impl FromNumber for Double {
    const WHAT: &'static str = "a number, `NaN`, `Infinity` or `-Infinity`";
    fn unsigned(value: u64) -> Option<Self> {
        Some(Self(value as f64))
    }
    fn signed(value: i64) -> Option<Self> {
        Some(Self(value as f64))
    }
    fn double(value: f64) -> Option<Self> {
        Some(Self(value))
    }
    fn text(value: &str) -> Option<Self> {
        value.parse().ok().map(Self)
    }
}

impl<T: FromNumber> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        T::unsigned(value).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(value), &self))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::signed(value).ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        T::double(value).ok_or_else(|| E::invalid_value(de::Unexpected::Float(value), &self))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        T::text(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Signed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number(std::marker::PhantomData))
    }
}

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Number(std::marker::PhantomData))
    }
}
