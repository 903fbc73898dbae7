use super::*;
use crate::{Entry, Limits, Parser, check};
use monitor_model::Span;
use std::sync::Arc;

fn read(format: Format, body: &[u8]) -> Vec<String> {
    let mut parser = Parser::new(format, body, Limits::default()).unwrap();
    let mut out = Vec::new();
    while let Some(entry) = parser.next_entry().unwrap() {
        match entry {
            Entry::Sample(s) => {
                let exemplar = s.exemplar.as_ref().map(|e| e.to_exemplar());
                let exemplar = exemplar.map(|e| format!(" # {} {} {:?}", e.labels, e.value, e.at_ms));
                out.push(format!(
                    "{} {} {:?}{}",
                    s.to_labels(),
                    s.value,
                    s.at_ms,
                    exemplar.unwrap_or_default()
                ));
            }
            Entry::Histogram(h) => out.push(format!("{} {:?} {:?}", h.to_labels(), h.histogram, h.at_ms)),
            Entry::Type { family, kind } => out.push(format!("type {family} {}", kind.as_str())),
            Entry::Help { family, text } => out.push(format!("help {family} {text:?}")),
            Entry::Unit { family, unit } => out.push(format!("unit {family} {unit}")),
        }
    }
    out
}

fn exemplar() -> Exemplar {
    Exemplar { labels: Labels::from_pairs([("trace_id", "x\"y")]), value: 0.5, at_ms: Some(1_500) }
}

fn write(format: Format, utf8: bool) -> Vec<u8> {
    let mut writer = Writer::new(format, utf8);
    writer.family("a_seconds_total", MetricType::Counter, "two\nlines \\ \"q\"", "seconds");
    let labels = Labels::from_pairs([("__name__", "a_seconds_total"), ("x", "1\n\"\\"), ("é", "2")]);
    writer.sample(&labels, 1e6, Some(-1_234), Some(&exemplar()));
    writer.family("my.gauge", MetricType::Gauge, "", "");
    writer.sample(&Labels::from_pairs([("__name__", "my.gauge")]), f64::NEG_INFINITY, None, None);
    writer.finish()
}

#[test]
fn what_is_written_reads_back() {
    let series = "a_seconds_total{x=\"1\\n\\\"\\\\\", \"é\"=\"2\"}";
    let gauge = "{__name__=\"my.gauge\"} -inf None";
    let trace = " # {trace_id=\"x\\\"y\"} 0.5 Some(1500)";
    let help = "\"two\\nlines \\\\ \\\"q\\\"\"";
    let text = read(Format::Text, &write(Format::Text, true));
    assert_eq!(
        text,
        [
            format!("help a_seconds_total {help}"),
            "type a_seconds_total counter".into(),
            format!("{series} 1000000 Some(-1234)"),
            "type my.gauge gauge".into(),
            gauge.into(),
        ]
    );
    let open = read(Format::OpenMetrics, &write(Format::OpenMetrics, true));
    assert_eq!(
        open,
        [
            "type a_seconds counter".to_owned(),
            "unit a_seconds seconds".into(),
            format!("help a_seconds {help}"),
            format!("{series} 1000000 Some(-1234){trace}"),
            "type my.gauge gauge".into(),
            gauge.into(),
        ]
    );
    let proto = read(Format::Protobuf, &write(Format::Protobuf, true));
    assert_eq!(
        proto,
        [
            format!("help a_seconds_total {help}"),
            "type a_seconds_total counter".into(),
            "unit a_seconds_total seconds".into(),
            format!("{series} 1000000 Some(-1234){trace}"),
            "type my.gauge gauge".into(),
            gauge.into(),
        ]
    );
    // Without UTF-8 names it obeys OpenMetrics 1.0 in every rule.
    let plain = write(Format::OpenMetrics, false);
    let text = String::from_utf8(plain.clone()).unwrap();
    assert!(text.contains("_=\"2\"") && text.contains("\nmy_gauge -Inf\n"), "{text}");
    check(Format::OpenMetrics, &plain, Limits::default()).unwrap();
}

#[test]
fn native_histograms_read_back() {
    let histogram = Histogram {
        schema: 2,
        zero_threshold: 0.001,
        zero_count: 1.0,
        count: 10.5,
        sum: 3.25,
        positive: Buckets {
            spans: vec![Span { offset: -3, length: 2 }, Span { offset: 4, length: 1 }],
            counts: vec![1.0, 2.5, 3.0],
        },
        negative: Buckets { spans: vec![Span { offset: 0, length: 1 }], counts: vec![3.0] },
        ..Histogram::default()
    };
    let labels = Labels::from_pairs([("__name__", "h"), ("a", "b")]);
    let mut writer = Writer::new(Format::Protobuf, true);
    writer.family("h", MetricType::Histogram, "", "");
    writer.histogram(&labels, &histogram, Some(7));
    let body = writer.finish();
    let mut parser = Parser::new(Format::Protobuf, &body, Limits::default()).unwrap();
    let mut seen = 0;
    while let Some(entry) = parser.next_entry().unwrap() {
        if let Entry::Histogram(entry) = entry {
            assert_eq!(entry.histogram, histogram);
            assert_eq!((entry.to_labels(), entry.at_ms), (labels.clone(), Some(7)));
            seen += 1;
        }
    }
    assert_eq!(seen, 1);
    // One with custom bounds is classic on the wire.
    let custom = Histogram {
        schema: monitor_model::histogram::CUSTOM_BUCKETS,
        count: 6.0,
        sum: 9.0,
        positive: Buckets {
            spans: vec![Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }],
            counts: vec![4.0, 2.0],
        },
        bounds: Arc::from([1.0, 2.0]),
        ..Histogram::default()
    };
    let mut writer = Writer::new(Format::Protobuf, true);
    writer.family("h", MetricType::Histogram, "", "");
    writer.histogram(&labels, &custom, None);
    assert_eq!(
        read(Format::Protobuf, &writer.finish())[1..],
        [
            "h_count{a=\"b\"} 6 None",
            "h_sum{a=\"b\"} 9 None",
            "h_bucket{a=\"b\", le=\"1.0\"} 4 None",
            "h_bucket{a=\"b\", le=\"2.0\"} 4 None",
            "h_bucket{a=\"b\", le=\"+Inf\"} 6 None",
        ]
    );
    let mut writer = Writer::new(Format::Text, true);
    writer.histogram(&labels, &custom, None);
    assert_eq!((writer.left_out(), writer.is_empty()), (1, true));
}
