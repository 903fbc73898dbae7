//! Native histograms on their whole way, and what is pushed beside samples:
//! metadata, exemplars.

use crate::common::{Home, Running, encode, recording, sending_to, site, until};
use monitor_model::{Histogram, Labels, Metadata, MetricType, STALE};
use monitor_wire::body::snappy_encode;
use monitor_wire::remote::{
    Outgoing, OutgoingExemplar, OutgoingHistogram, OutgoingSample, Version, write_v1,
};
use serde_json::json;

fn now_ms() -> i64 {
    sys::clock::now_ms() as i64
}

fn receiving() -> site::Monitor {
    site::Monitor { receive: true, ..site() }
}

fn push(monitor: &Running, name: &str, instance: &str, value: &Histogram) {
    let labels = Labels::from_pairs([("__name__", name), ("job", "pushed"), ("instance", instance)]);
    let histograms = [OutgoingHistogram { at_ms: now_ms(), value, start_ms: 0 }];
    let (status, said) = monitor.push(&[Outgoing { labels, histograms: &histograms, ..Outgoing::default() }]);
    assert_eq!(status, 204, "{said}");
}

/// The histogram of an instant query that gives one.
fn histogram(monitor: &Running, query: &str) -> Option<serde_json::Value> {
    let answer = monitor.json(&format!("/api/v1/query?query={}", encode(query)));
    let series = answer["data"]["result"].get(0)?.clone();
    assert!(series.get("value").is_none(), "{query}: a number, not a histogram: {series}");
    Some(series["histogram"][1].clone())
}

#[test]
fn a_recording_rule_keeps_a_histogram_a_histogram_here_and_at_the_far_end() {
    let (here, there) = (Home::new(), Home::new());
    let far = there.monitor(receiving());
    let mut site = receiving();
    site.alert.recordings = vec![
        recording("job:latency:sum", "sum by (job) (latency)"),
        // A rule that reads what the one before it wrote.
        recording("job:latency:half", "histogram_quantile(0.5, job:latency:sum)"),
    ];
    site.remote_write = vec![sending_to(far.address, &["{__name__=~\"job:.*\"}"])];
    let monitor = here.monitor(site);
    let one = Histogram::from_script("{{schema:0 count:4 sum:5.5 buckets:[1 0 3]}}").unwrap();
    push(&monitor, "latency", "a", &one);
    push(&monitor, "latency", "b", &one);
    let expected =
        json!({ "count": "8", "sum": "11", "buckets": [[0, "0.5", "1", "2"], [0, "2", "4", "6"]] });
    let both = |found: &serde_json::Value| *found == expected;
    until("the sum is recorded", || histogram(&monitor, "job:latency:sum").filter(both));
    let half = until("its median", || monitor.value("histogram_quantile(0.5, job:latency:sum)"));
    assert!((2.0..4.0).contains(&half), "{half}");
    until("a rule on it", || monitor.value("job:latency:half").filter(|value| *value == half));
    until("a rate", || histogram(&monitor, "rate(job:latency:sum[1m])"));
    until("the far end has it", || histogram(&far, "job:latency:sum").filter(both));
    assert_eq!(far.value("histogram_quantile(0.5, job:latency:sum)"), Some(half));
    assert!(histogram(&far, "latency").is_none(), "it was not asked for");

    // What ends, ends in both at once, and not when nobody looks back so far.
    let stale = Histogram { sum: STALE, ..Histogram::default() };
    push(&monitor, "latency", "a", &stale);
    push(&monitor, "latency", "b", &stale);
    until("it ends", || histogram(&monitor, "job:latency:sum").is_none().then_some(()));
    until("there as well", || histogram(&far, "job:latency:sum").is_none().then_some(()));
    assert!(histogram(&monitor, "last_over_time(job:latency:sum[5m])").is_some(), "it was there");
    monitor.stop();
    far.stop();
}

#[test]
fn metadata_and_exemplars_that_are_pushed_are_shown() {
    let home = Home::new();
    let monitor = home.monitor(receiving());
    let now = now_ms();
    let trace = Labels::from_pairs([("trace_id", "abc")]);
    let metadata =
        Metadata { kind: MetricType::Counter, unit: "bytes".into(), help: "What went out.".into() };
    let labels = Labels::from_pairs([("__name__", "sent_bytes_total"), ("job", "pushed")]);
    let sent = [Outgoing {
        labels: labels.clone(),
        samples: &[OutgoingSample { at_ms: now, value: 7.0, start_ms: 0 }],
        exemplars: &[OutgoingExemplar { labels: &trace, value: 0.5, at_ms: now }],
        metadata: Some(&metadata),
        ..Outgoing::default()
    }];
    assert_eq!(monitor.push(&sent).0, 204);
    let shown = |metric: &str| monitor.json(&format!("/api/v1/metadata?metric={metric}"))["data"].clone();
    let told = json!([{ "type": "counter", "help": "What went out.", "unit": "bytes" }]);
    assert_eq!(shown("sent_bytes_total"), json!({ "sent_bytes_total": told }));
    let exemplars = |query: &str| {
        let (start, end) = (now / 1_000 - 60, now / 1_000 + 60);
        let query = encode(query);
        monitor.json(&format!("/api/v1/query_exemplars?query={query}&start={start}&end={end}"))["data"]
            .clone()
    };
    assert_eq!(
        exemplars("sent_bytes_total"),
        json!([{
            "seriesLabels": { "__name__": "sent_bytes_total", "job": "pushed" },
            "exemplars": [{ "labels": { "trace_id": "abc" }, "value": "0.5", "timestamp": now as f64 / 1e3 }],
        }])
    );

    // The first version tells metadata beside the series.
    let metadata = Metadata { kind: MetricType::Gauge, unit: String::new(), help: "How warm.".into() };
    let labels = Labels::from_pairs([("__name__", "warmth"), ("job", "pushed")]);
    let samples = [OutgoingSample { at_ms: now, value: 21.0, start_ms: 0 }];
    let exemplars_of = [OutgoingExemplar { labels: &trace, value: 21.5, at_ms: now }];
    let series = [Outgoing { labels, samples: &samples, exemplars: &exemplars_of, ..Outgoing::default() }];
    let mut body = Vec::new();
    write_v1(&series, &[("warmth", &metadata)], &mut body);
    let headers = format!("content-type: {}\r\ncontent-encoding: snappy\r\n", Version::V1.content_type());
    assert_eq!(monitor.post("/api/v1/write", &headers, &snappy_encode(&body)).0, 204);
    assert_eq!(shown("warmth"), json!({ "warmth": [{ "type": "gauge", "help": "How warm.", "unit": "" }] }));
    assert_eq!(exemplars("warmth")[0]["exemplars"][0]["value"], "21.5");

    // OTLP: a sum with an exemplar, a histogram with bounds, and an exponential one.
    let nanos = format!("{now}000000");
    let otlp = json!({ "resourceMetrics": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": "shop" } }] },
        "scopeMetrics": [{ "metrics": [
            { "name": "orders", "description": "Orders taken.", "unit": "1", "sum": {
                "aggregationTemporality": 2, "isMonotonic": true,
                "dataPoints": [{
                    "timeUnixNano": nanos, "asInt": "9",
                    "exemplars": [{
                        "timeUnixNano": nanos, "asDouble": 1.0,
                        "traceId": "0102030405060708090a0b0c0d0e0f10", "spanId": "0102030405060708",
                    }],
                }],
            } },
            { "name": "wait", "description": "How long.", "unit": "s", "histogram": {
                "aggregationTemporality": 2,
                "dataPoints": [{
                    "timeUnixNano": nanos, "count": "4", "sum": 5.5,
                    "explicitBounds": [0.5, 2.0], "bucketCounts": ["1", "2", "1"],
                }],
            } },
            { "name": "size", "description": "How large.", "unit": "By", "exponentialHistogram": {
                "aggregationTemporality": 2,
                "dataPoints": [{
                    "timeUnixNano": nanos, "count": "4", "sum": 5.5, "scale": 0, "zeroCount": "1",
                    "positive": { "offset": 0, "bucketCounts": ["2", "1"] },
                }],
            } },
        ] }],
    }] });
    let (status, said) = monitor.post(
        "/api/v1/otlp/v1/metrics",
        "content-type: application/json\r\n",
        otlp.to_string().as_bytes(),
    );
    assert_eq!((status, said.as_str()), (200, "{}"));
    assert_eq!(monitor.value("orders_total{job=\"shop\"}"), Some(9.0));
    assert_eq!(
        monitor.value("wait_seconds_bucket{le=\"2\"}").or(monitor.value("wait_seconds_bucket{le=\"2.0\"}")),
        Some(3.0)
    );
    assert_eq!(monitor.value("wait_seconds_count"), Some(4.0));
    let size = histogram(&monitor, "size_bytes").unwrap();
    assert_eq!((&size["count"], &size["sum"]), (&json!("4"), &json!("5.5")), "{size}");
    assert!(monitor.value("histogram_quantile(0.9, size_bytes)").is_some_and(|value| value > 2.0));
    let told = [
        ("orders_total", "counter", "Orders taken."),
        ("wait_seconds", "histogram", "How long."),
        ("size_bytes", "histogram", "How large."),
    ];
    for (metric, kind, help) in told {
        let shown = shown(metric);
        assert_eq!(
            (&shown[metric][0]["type"], &shown[metric][0]["help"]),
            (&json!(kind), &json!(help)),
            "{shown}"
        );
    }
    let exemplar = exemplars("orders_total")[0]["exemplars"][0].clone();
    assert_eq!(exemplar["labels"]["trace_id"], "0102030405060708090a0b0c0d0e0f10", "{exemplar}");
    // All of it survives a restart.
    monitor.stop();
    let monitor = home.monitor(receiving());
    let shown = monitor.json("/api/v1/metadata?metric=size_bytes")["data"].clone();
    assert_eq!(shown["size_bytes"][0]["help"], "How large.");
    assert!(histogram(&monitor, "last_over_time(size_bytes[5m])").is_some());
    monitor.stop();
}
