//! What becomes of messages, in both encodings.

use super::*;
use crate::proto::Writer;
use proptest::prelude::*;

#[derive(Default)]
struct Heard(Vec<String>);

impl OtlpSink for Heard {
    fn sample(&mut self, labels: &Labels, at_ms: i64, value: f64, start_ms: i64) {
        let value = if monitor_model::is_stale(value) { "stale".into() } else { value.to_string() };
        self.0.push(format!("{labels} {value}@{at_ms} from {start_ms}"));
    }

    fn histogram(&mut self, labels: &Labels, at_ms: i64, value: Histogram, start_ms: i64) {
        assert_eq!(value.validate(), Ok(()));
        let value = if value.is_stale() { "stale".into() } else { value.to_script() };
        self.0.push(format!("{labels} {value}@{at_ms} from {start_ms}"));
    }

    fn exemplar(&mut self, labels: &Labels, exemplar: Exemplar) {
        let Exemplar { labels: own, value, at_ms } = exemplar;
        self.0.push(format!("exemplar of {labels}: {own} {value}@{at_ms:?}"));
    }

    fn metadata(&mut self, family: &str, metadata: &Metadata) {
        let Metadata { kind, unit, help } = metadata;
        self.0.push(format!("{family} is {} in `{unit}`: {help}", kind.as_str()));
    }

    fn refused(&mut self, points: u64, why: &Refused) {
        self.0.push(format!("refused {points}: {why}"));
    }
}

/// A message with one metric, whose data is given.
fn json(resource: &str, metric: &str) -> String {
    let resource: Vec<String> = resource
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| format!(r#"{{"key":"{key}","value":{{"stringValue":"{value}"}}}}"#))
        .collect();
    let scope =
        r#""scope":{"name":"lib","version":"1","attributes":[{"key":"a.b","value":{"intValue":"5"}}]}"#;
    format!(
        r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{}]}},"scopeMetrics":[{{{scope},"metrics":[{metric}]}}]}}]}}"#,
        resource.join(",")
    )
}

const SERVICE: &str = "service.name=shop,service.namespace=web,service.instance.id=i1,host.name=h";

const SUM: &str = r#"{"name":"http.requests","unit":"{request}","description":"what came","sum":{
    "aggregationTemporality":2,"isMonotonic":true,"dataPoints":[{
    "attributes":[{"key":"http.method","value":{"stringValue":"GET"}},{"key":"http_method","value":{"boolValue":true}}],
    "startTimeUnixNano":"1000000000","timeUnixNano":"2000000000","asInt":"7",
    "exemplars":[{"timeUnixNano":"1500000000","asDouble":3.5,"traceId":"0af7","spanId":"b7"}]}]}}"#;

fn hear_json(settings: &Settings, body: &str) -> Vec<String> {
    let mut heard = Heard::default();
    read_json(body.as_bytes(), settings, &mut heard).unwrap();
    heard.0
}

#[test]
fn sums_with_resource() {
    let lines = hear_json(&Settings::default(), &json(SERVICE, SUM));
    let series = r#"http_requests_total{http_method="GET;true", instance="i1", job="web/shop"}"#;
    assert_eq!(
        lines,
        [
            "http_requests_total is counter in ``: what came".to_owned(),
            format!("{series} 7@2000 from 1000"),
            format!(r#"exemplar of {series}: {{span_id="b7", trace_id="0af7"}} 3.5@Some(1500)"#),
            "target_info is gauge in ``: Target metadata".into(),
            r#"target_info{host_name="h", instance="i1", job="web/shop"} 1@2000 from 0"#.into(),
        ]
    );
    // All that is to be chosen, chosen otherwise.
    let settings = Settings {
        strategy: super::Strategy::NoTranslation,
        promote: Promote::Only(vec!["host.name".into(), "none".into()]),
        keep_identifying_attributes: true,
        promote_scope: true,
        ..Settings::default()
    };
    let lines = hear_json(&settings, &json(SERVICE, SUM));
    assert_eq!(
        lines[1],
        r#"{__name__="http.requests", "host.name"="h", "http.method"="GET", http_method="true", instance="i1", job="web/shop", "otel_scope_a.b"="5", otel_scope_name="lib", otel_scope_version="1"} 7@2000 from 1000"#
    );
    assert_eq!(
        lines.last().unwrap(),
        r#"target_info{"host.name"="h", instance="i1", job="web/shop", "service.instance.id"="i1", "service.name"="shop", "service.namespace"="web"} 1@2000 from 0"#
    );
    // Nothing to tell apart: no target_info.
    let lines = hear_json(&Settings::default(), &json("host.name=h", SUM));
    assert!(lines.iter().all(|line| !line.contains("target_info")), "{lines:?}");
    let all = Settings { promote: Promote::AllBut(vec!["host.name".into()]), ..Settings::default() };
    let lines = hear_json(&all, &json("host.name=h,zone=z", SUM));
    assert!(lines[1].contains(r#"zone="z""#) && !lines[1].contains("host"), "{lines:?}");
}

#[test]
fn temporality() {
    let sum = |temporality: &str, monotonic: bool| {
        let metric = format!(
            r#"{{"name":"x","sum":{{{temporality}"isMonotonic":{monotonic},"dataPoints":[{{"startTimeUnixNano":"1000000","timeUnixNano":"5000000","asDouble":1}},{{"asDouble":"NaN","flags":1}}]}}}}"#
        );
        json("", &metric)
    };
    let delta = r#""aggregationTemporality":1,"#;
    let lines = hear_json(&Settings::default(), &sum(delta, true));
    assert!(
        lines.len() == 1 && lines[0].starts_with("refused 2: metric `x` has delta temporality; hint:"),
        "{lines:?}"
    );
    let lines = hear_json(&Settings::default(), &sum("", true));
    assert_eq!(lines, ["refused 2: metric `x` has no aggregation temporality"]);
    let kept = Settings { store_deltas: true, ..Settings::default() };
    let lines = hear_json(&kept, &sum(delta, true));
    assert_eq!(lines, ["x_total is unknown in ``: ", "x_total 1@5 from 0", "x_total stale@0 from 0"]);
    let lines = hear_json(&Settings::default(), &sum(r#""aggregationTemporality":2,"#, false));
    assert_eq!(lines, ["x is gauge in ``: ", "x 1@5 from 0", "x stale@0 from 0"]);
}

#[test]
fn explicit_histograms() {
    let metric = |counts: &str, flags: u8| {
        json(
            "",
            &format!(
                r#"{{"name":"t","unit":"s","histogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"5000000",
                "startTimeUnixNano":"1000000","count":"6","sum":9.5,"bucketCounts":{counts},"explicitBounds":[0.5,1],"flags":{flags},
                "exemplars":[{{"asDouble":0.7,"traceId":"aa"}}]}}]}}}}"#
            ),
        )
    };
    let lines = hear_json(&Settings::default(), &metric(r#"["1",2,3]"#, 0));
    assert_eq!(
        lines,
        [
            "t_seconds is histogram in `seconds`: ",
            "t_seconds_sum 9.5@5 from 1",
            "t_seconds_count 6@5 from 1",
            r#"t_seconds_bucket{le="0.5"} 1@5 from 1"#,
            r#"t_seconds_bucket{le="1"} 3@5 from 1"#,
            r#"exemplar of t_seconds_bucket{le="1"}: {trace_id="aa"} 0.7@None"#,
            r#"t_seconds_bucket{le="+Inf"} 6@5 from 1"#,
        ]
    );
    let native = Settings { histograms_to_native: true, ..Settings::default() };
    let lines = hear_json(&native, &metric(r#"["1",0,5]"#, 0));
    assert_eq!(
        lines[1],
        "t_seconds {{schema:-53 count:6 sum:9.5 custom_values:[0.5 1] buckets:[1 0 5]}}@5 from 1"
    );
    assert_eq!(lines[2], r#"exemplar of t_seconds: {trace_id="aa"} 0.7@None"#);
    let stale = hear_json(&Settings::default(), &metric(r#"["1",2,3]"#, 1));
    assert!(stale[1..6].iter().all(|line| line.contains("stale") || line.contains("exemplar")), "{stale:?}");
    for settings in [Settings::default(), native] {
        let lines = hear_json(&settings, &metric("[1,2]", 0));
        assert_eq!(lines[1], "refused 1: metric `t`: a histogram of 2 bounds has 2 bucket counts");
    }
}

#[test]
fn exponential_histograms() {
    let metric = |scale: i32, positive: &str| {
        json(
            "",
            &format!(
                r#"{{"name":"t","exponentialHistogram":{{"aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":"5000000",
                "count":"10","sum":9.5,"scale":{scale},"zeroCount":1,"positive":{positive},"negative":{{"offset":-2,"bucketCounts":[1]}}}}]}}}}"#
            ),
        )
    };
    let cases = [
        // OTLP's (1, 2] is index 0, a native histogram's is 1.
        (0, r#"{"offset":0,"bucketCounts":[3,0,2]}"#, "offset:1 buckets:[3 0 2] n_offset:-1 n_buckets:[1]"),
        (8, r#"{"offset":-3,"bucketCounts":[3]}"#, "offset:-2 buckets:[3] n_offset:-1 n_buckets:[1]"),
        // Finer than native ones are: pairs become one.
        (9, r#"{"offset":-2,"bucketCounts":[1,2,3,4]}"#, "buckets:[3 7] n_buckets:[1]"),
        (20, r#"{"offset":0,"bucketCounts":[1,2,3,4]}"#, "offset:1 buckets:[10] n_buckets:[1]"),
    ];
    for (scale, positive, expected) in cases {
        let lines = hear_json(&Settings::default(), &metric(scale, positive));
        let schema = if scale == 0 { String::new() } else { "schema:8 ".into() };
        let expected =
            format!("t {{{{{schema}count:10 sum:9.5 z_bucket:1 z_bucket_w:1e-128 {expected}}}}}@5 from 0");
        assert_eq!(lines[1], expected);
    }
    let lines = hear_json(&Settings::default(), &metric(-5, "{}"));
    assert!(lines[1].contains("scale `-5`"), "{lines:?}");
    let lines = hear_json(&Settings::default(), &metric(0, r#"{"offset":2000000000,"bucketCounts":[1]}"#));
    assert!(lines[1].contains("refused 1: metric `t`: positive side: bucket index"), "{lines:?}");
}

#[test]
fn summaries() {
    let metric = r#"{"name":"t","summary":{"dataPoints":[{"timeUnixNano":"5000000","count":"2","sum":3,
        "quantileValues":[{"quantile":0.5,"value":1.25},{"quantile":1,"value":"Infinity"}]}]}}"#;
    assert_eq!(
        hear_json(&Settings::default(), &json("", metric)),
        [
            "t is summary in ``: ",
            "t_sum 3@5 from 0",
            "t_count 2@5 from 0",
            r#"t{quantile="0.5"} 1.25@5 from 0"#,
            r#"t{quantile="1"} inf@5 from 0"#,
        ]
    );
}

#[test]
fn protobuf_says_the_same() {
    let text = |writer: &mut Writer<'_>, key: &str, value: &str| {
        writer.bytes(1, key.as_bytes());
        writer.message(2, |writer| writer.bytes(1, value.as_bytes()));
    };
    let fixed = |writer: &mut Writer<'_>, field: u32, value: u64| writer.double(field, f64::from_bits(value));
    let mut body = Vec::new();
    Writer(&mut body).message(1, |writer| {
        // The resource behind what belongs to it.
        writer.message(2, |writer| {
            writer.message(2, |writer| {
                writer.bytes(2, b"what came");
                writer.message(7, |writer| {
                    writer.message(1, |writer| {
                        writer.message(7, |writer| text(writer, "http.method", "GET"));
                        writer.message(7, |writer| {
                            writer.bytes(1, b"http_method");
                            writer.message(2, |writer| writer.always_number(2, 1));
                        });
                        fixed(writer, 2, 1_000_000_000);
                        fixed(writer, 3, 2_000_000_000);
                        fixed(writer, 6, 7);
                        writer.message(5, |writer| {
                            fixed(writer, 2, 1_500_000_000);
                            writer.double(3, 3.5);
                            writer.bytes(4, &[0xb7]);
                            writer.bytes(5, &[0x0a, 0xf7]);
                        });
                    });
                    writer.number(2, 2);
                    writer.number(3, 1);
                });
                writer.bytes(1, b"http.requests");
                writer.bytes(3, b"{request}");
            });
            writer.message(1, |writer| {
                writer.bytes(1, b"lib");
                writer.bytes(2, b"1");
                writer.message(3, |writer| {
                    writer.bytes(1, b"a.b");
                    writer.message(2, |writer| writer.number(3, 5));
                });
            });
        });
        writer.message(1, |writer| {
            for pair in SERVICE.split(',') {
                let (key, value) = pair.split_once('=').unwrap();
                writer.message(1, |writer| text(writer, key, value));
            }
        });
    });
    for promote_scope in [false, true] {
        let settings = Settings { promote_scope, ..Settings::default() };
        let mut heard = Heard::default();
        read_protobuf(&body, &settings, &mut heard).unwrap();
        assert_eq!(heard.0, hear_json(&settings, &json(SERVICE, SUM)));
    }
}

#[test]
fn hostile_documents() {
    let mut heard = Heard::default();
    let mut deep = r#"{"intValue":1}"#.to_owned();
    for _ in 0..20 {
        deep = format!(r#"{{"arrayValue":{{"values":[{deep}]}}}}"#);
    }
    let deep = format!(r#"{{"key":"k","value":{deep}}}"#);
    let deep = format!(r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{deep}]}}}}]}}"#);
    let many = format!(r#"{{"resourceMetrics":[{}]}}"#, vec!["{}"; 200_001].join(","));
    let cases = [
        ("[", "not OTLP in JSON: "),
        (
            r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"gauge":{"dataPoints":[{"timeUnixNano":-1}]}}]}]}]}"#,
            "whole number",
        ),
        (&deep, "nest deeper"),
        (&many, "200002 objects; at most 200000"),
    ];
    for (body, expected) in cases {
        let error = read_json(body.as_bytes(), &Settings::default(), &mut heard).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    // Data points of nothing.
    let mut body = Vec::new();
    Writer(&mut body)
        .message(1, |w| w.message(2, |w| w.message(2, |w| w.bytes(5, &[10, 0].repeat(1_000_001)))));
    let error = read_protobuf(&body, &Settings::default(), &mut heard).unwrap_err().to_string();
    assert!(error.contains("more than 1000000 data points"), "{error}");
    // Values that nest, in Protocol Buffers.
    let mut value = vec![0x18, 1];
    for _ in 0..20 {
        let mut outer = Vec::new();
        Writer(&mut outer).message(5, |writer| writer.bytes(1, &value));
        value = outer;
    }
    let mut body = Vec::new();
    Writer(&mut body).message(1, |w| w.message(1, |w| w.message(1, |w| w.bytes(2, &value))));
    let error = read_protobuf(&body, &Settings::default(), &mut heard).unwrap_err().to_string();
    assert!(error.contains("nest deeper than 16"), "{error}");
}

#[test]
fn answers() {
    assert!(answer(false, 0, "").is_empty());
    assert_eq!(answer(true, 0, ""), b"{}");
    assert_eq!(answer(false, 2, "no"), b"\x0a\x06\x08\x02\x12\x02no");
    assert_eq!(
        answer(true, 2, "no"),
        br#"{"partialSuccess":{"rejectedDataPoints":"2","errorMessage":"no"}}"#
    );
    assert_eq!(refusal(false, "no"), b"\x12\x02no");
    assert_eq!(refusal(true, "no"), br#"{"message":"no"}"#);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut heard = Heard::default();
        let _ = read_protobuf(&body, &Settings::default(), &mut heard);
        let _ = read_json(&body, &Settings::default(), &mut heard);
    }

    #[test]
    fn arbitrary_exponential_histograms_are_valid_or_refused(
        scale in -10i32..40, offset in any::<i32>(), counts in prop::collection::vec(any::<u64>(), 0..9),
        count in any::<u64>(), zero_threshold in any::<f64>(),
    ) {
        let mut body = Vec::new();
        Writer(&mut body).message(1, |w| w.message(2, |w| w.message(2, |w| {
            w.bytes(1, b"t");
            w.message(10, |w| {
                w.number(2, 2);
                w.message(1, |w| {
                    w.double(4, f64::from_bits(count));
                    w.zigzag(6, scale.into());
                    w.double(14, zero_threshold);
                    w.message(8, |w| {
                        w.zigzag(1, offset.into());
                        w.message(2, |w| counts.iter().for_each(|count| w.varint(*count)));
                    });
                });
            });
        })));
        // The sink asserts that what it gets is valid.
        read_protobuf(&body, &Settings::default(), &mut Heard::default()).unwrap();
    }
}
