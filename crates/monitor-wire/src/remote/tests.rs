//! What is written is read, in both versions; what is wrong is refused.

use super::*;
use crate::WireError;
use monitor_model::{Labels, STALE};
use proptest::prelude::*;
use std::hash::{BuildHasher, Hasher};

/// As callers hash, with keys of its own.
#[derive(Default)]
struct Hash(foldhash::quality::RandomState, foldhash::quality::RandomState);

impl KeyHash for Hash {
    fn hash(&self, bytes: &[u8]) -> u128 {
        let half = |state: &foldhash::quality::RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(bytes);
            u128::from(hasher.finish())
        };
        half(&self.0) << 64 | half(&self.1)
    }
}

/// Writes down what it is told.
#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    keys: Vec<Option<u128>>,
}

impl RemoteSink for Heard {
    fn series(&mut self, labels: &RawLabels<'_>) -> bool {
        self.keys.push(labels.key());
        match labels.series() {
            Ok(labels) => self.lines.push(format!("series {labels}")),
            Err(why) => {
                self.lines.push(format!("refused {why}"));
                return false;
            }
        }
        true
    }

    fn sample(&mut self, at_ms: i64, value: f64, start_ms: i64) {
        let value = if monitor_model::is_stale(value) { "stale".into() } else { value.to_string() };
        self.lines.push(format!("sample {value}@{at_ms} from {start_ms}"));
    }

    fn histogram(&mut self, at_ms: i64, value: Histogram, start_ms: i64) {
        let value = if value.is_stale() { "stale".into() } else { value.to_script() };
        self.lines.push(format!("histogram {value}@{at_ms} from {start_ms}"));
    }

    fn refused_histogram(&mut self, at_ms: i64, why: &HistogramError) {
        self.lines.push(format!("refused@{at_ms} {why}"));
    }

    fn exemplar(&mut self, exemplar: RemoteExemplar<'_>) {
        let labels = exemplar.labels.labels().unwrap();
        self.lines.push(format!("exemplar {labels} {}@{}", exemplar.value, exemplar.at_ms));
    }

    fn series_metadata(&mut self, metadata: RemoteMetadata<'_>) {
        self.lines.push(format!("metadata {} {} {}", metadata.kind.as_str(), metadata.unit, metadata.help));
    }

    fn family_metadata(&mut self, family: &str, metadata: RemoteMetadata<'_>) {
        let kind = metadata.kind.as_str();
        self.lines.push(format!("family {family} {kind} {} {}", metadata.unit, metadata.help));
    }
}

fn hear(version: Version, body: &[u8]) -> Result<Vec<String>, WireError> {
    let mut heard = Heard::default();
    version.read(body, &Hash::default(), &mut heard)?;
    Ok(heard.lines)
}

#[test]
fn there_and_back() {
    let script = |text| Histogram::from_script(text).unwrap();
    let whole = script(
        "{{schema:3 count:9 sum:-1.5 z_bucket:1 z_bucket_w:0.001 counter_reset_hint:not_reset offset:-4 buckets:[1 0 2] n_buckets:[5]}}",
    );
    let broken = script("{{count:2.5 sum:1 counter_reset_hint:gauge buckets:[1.25 1.25]}}");
    let custom = script("{{schema:-53 count:3 sum:4 custom_values:[1 2.5] buckets:[1 1 1]}}");
    let stale = Histogram::stale();
    let labels = Labels::from_pairs([("__name__", "up"), ("job", "a"), ("zone", "é")]);
    let trace = Labels::from_pairs([("trace_id", "77")]);
    let histograms: Vec<_> = [&whole, &broken, &custom, &stale]
        .into_iter()
        .zip(1..)
        .map(|(value, at_ms)| OutgoingHistogram { at_ms, value, start_ms: 9 })
        .collect();
    let samples = [
        OutgoingSample { at_ms: 1_700_000_000_000, value: 0.1, start_ms: 5 },
        OutgoingSample { at_ms: -3, value: STALE, start_ms: 0 },
    ];
    let metadata = Metadata { kind: MetricType::Counter, unit: "s".into(), help: "what is up".into() };
    let series = [
        Outgoing {
            labels,
            samples: &samples,
            histograms: &histograms,
            exemplars: &[OutgoingExemplar { labels: &trace, value: 3.0, at_ms: 8 }],
            metadata: Some(&metadata),
        },
        Outgoing {
            labels: Labels::from_pairs([("job", "nameless")]),
            samples: &samples,
            ..Outgoing::default()
        },
    ];
    let expected = |starts: bool| {
        let start = |start: i64| if starts { start } else { 0 };
        let (five, nine) = (start(5), start(9));
        let mut lines = vec![
            r#"series up{job="a", zone="é"}"#.to_owned(),
            format!("sample 0.1@1700000000000 from {five}"),
            "sample stale@-3 from 0".into(),
        ];
        let exemplar = r#"exemplar {trace_id="77"} 3@8"#.to_owned();
        if !starts {
            lines.push(exemplar.clone());
        }
        for (i, value) in [&whole, &broken, &custom].into_iter().enumerate() {
            lines.push(format!("histogram {}@{} from {nine}", value.to_script(), i + 1));
        }
        lines.push(format!("histogram stale@4 from {nine}"));
        if starts {
            lines.push(exemplar);
            lines.push("metadata counter s what is up".into());
        }
        lines.push(r#"refused labels have no `__name__`: {job="nameless"}"#.into());
        lines
    };

    let mut body = Vec::new();
    write_v1(&series, &[("up", &metadata)], &mut body);
    let mut lines = expected(false);
    lines.push("family up counter s what is up".into());
    assert_eq!(hear(Version::V1, &body).unwrap(), lines);

    body.clear();
    write_v2(&series, &mut body);
    assert_eq!(hear(Version::V2, &body).unwrap(), expected(true));
    let error = hear(Version::V2, &[0x0a, 0]).unwrap_err();
    assert!(error.to_string().contains("1.0 message"), "{error}");
}

/// A field of bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, u8::try_from(bytes.len()).unwrap()], bytes].concat()
}

fn label(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

#[test]
fn labels_in_any_order() {
    let sample = field(2, &[9, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 16, 5]);
    let (name, job) = (label("__name__", "up"), label("job", "a"));
    let lines = |parts: &[&[u8]]| hear(Version::V1, &field(1, &parts.concat())).unwrap();
    let good = [r#"series up{job="a"}"#, "sample 1@5 from 0"];
    assert_eq!(lines(&[&name, &job, &sample]), good);
    assert_eq!(lines(&[&job, &name, &sample]), good);
    assert_eq!(lines(&[&name, &sample, &job]), good);
    assert_eq!(lines(&[&sample, &name, &job]), good);
    let twice = lines(&[&name, &job, &label("job", "b")]);
    assert!(twice[0].contains("label `job` is there twice"), "{twice:?}");
    let nameless = lines(&[&name, &label("", "b")]);
    assert!(nameless[0].contains("a label has no name"), "{nameless:?}");
    let nothing = lines(&[&sample]);
    assert!(nothing[0].contains("no `__name__`"), "{nothing:?}");

    // Only what lies together is a key.
    let mut heard = Heard::default();
    let body =
        [field(1, &[&name[..], &job, &sample].concat()), field(1, &[&name[..], &sample, &job].concat())];
    read_v1(&body.concat(), &Hash::default(), &mut heard).unwrap();
    assert!(heard.keys[0].is_some() && heard.keys[1].is_none());
}

#[test]
fn references() {
    let symbols: Vec<u8> = ["", "__name__", "up"].iter().flat_map(|s| field(4, s.as_bytes())).collect();
    let series = |labels: &[u8]| [&symbols[..], &field(5, labels)].concat();
    let first = |body: &[u8]| hear(Version::V2, body).unwrap().remove(0);
    assert_eq!(first(&series(&field(1, &[1, 2]))), "series up");
    // Not packed: a reader must take that too.
    assert_eq!(first(&series(&[8, 1, 8, 2])), "series up");
    assert_eq!(first(&series(&[field(1, &[1]), field(1, &[2])].concat())), "series up");
    assert!(first(&series(&field(1, &[1]))).contains("odd"));
    assert!(first(&series(&field(1, &[1, 9]))).contains("label reference `9` is beyond the 3 symbols"));
    // Symbols behind the series.
    assert_eq!(first(&[field(5, &field(1, &[1, 2])), symbols.clone()].concat()), "series up");
    let error = hear(Version::V2, &[0x22, 0].repeat(1_000_001)).unwrap_err();
    assert!(error.to_string().contains("more than 1000000 symbols"), "{error}");
    let error = hear(Version::V2, &field(4, b"x")).unwrap_err();
    assert!(error.to_string().contains("first symbol"), "{error}");

    // The same texts under other numbers are the same key.
    let hash = Hash::default();
    let key = |body: &[u8]| {
        let mut heard = Heard::default();
        read_v2(body, &hash, &mut heard).unwrap();
        heard.keys.remove(0).unwrap()
    };
    let other: Vec<u8> = ["", "up", "__name__"].iter().flat_map(|s| field(4, s.as_bytes())).collect();
    assert_eq!(key(&series(&field(1, &[1, 2]))), key(&[other, field(5, &field(1, &[2, 1]))].concat()));
    assert_ne!(key(&series(&field(1, &[1, 2]))), key(&series(&field(1, &[2, 1]))));
}

#[test]
fn hostile_histograms_are_refused_alone() {
    let name = label("__name__", "h");
    let lines = |histogram: &[u8]| hear(Version::V1, &field(1, &[&name[..], &field(4, histogram)].concat()));
    // A span of 2³² − 1 buckets.
    let span = field(11, &[16, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let refused = lines(&[&span[..], &[120, 7]].concat()).unwrap();
    assert!(refused[1].starts_with("refused@7 positive side: spans need 4294967295 buckets"), "{refused:?}");
    // Schema 100; two observations in the count and one in the bucket.
    assert!(lines(&[32, 200, 1]).unwrap()[1].contains("schema `100`"));
    let one = [&[8, 2][..], &field(11, &[16, 1]), &field(12, &[2])].concat();
    assert!(lines(&one).unwrap()[1].contains("1 observations are in buckets, the count says 2"));
    // More deltas than there may be buckets.
    let mut body = Vec::new();
    crate::proto::Writer(&mut body).message(1, |writer| {
        writer.0.extend_from_slice(&name);
        writer.message(4, |writer| writer.bytes(12, &[0; 10_001]));
    });
    let error = hear(Version::V1, &body).unwrap_err();
    assert!(error.to_string().contains("more than 10000 numbers"), "{error}");
}

/// CPU time of a warm request: decompressed, walked, each series' bytes hashed.
/// `cargo nextest run --release -p monitor-wire --run-ignored only --no-capture speed`
#[test]
#[ignore = "a measurement; needs a release build and a quiet machine"]
fn speed() {
    struct Warm(u128, usize);
    impl RemoteSink for Warm {
        fn series(&mut self, labels: &RawLabels<'_>) -> bool {
            self.0 ^= labels.key().unwrap();
            true
        }
        fn sample(&mut self, _: i64, _: f64, _: i64) {
            self.1 += 1;
        }
        fn histogram(&mut self, _: i64, _: Histogram, _: i64) {}
        fn refused_histogram(&mut self, _: i64, _: &HistogramError) {}
        fn exemplar(&mut self, _: RemoteExemplar<'_>) {}
        fn series_metadata(&mut self, _: RemoteMetadata<'_>) {}
        fn family_metadata(&mut self, _: &str, _: RemoteMetadata<'_>) {}
    }
    let labels: Vec<Labels> = (0..10_000)
        .map(|i| {
            let (pod, instance) =
                (format!("web-{}-{i:06}", i % 7), format!("10.0.{}.{}:9100", i / 250, i % 250));
            Labels::from_pairs([
                ("__name__", "http_request_duration_seconds_bucket"),
                ("cluster", "production-eu-west-1"),
                ("container", "application-server"),
                ("instance", &instance),
                ("job", "kubernetes-service-endpoints"),
                ("le", "0.25"),
                ("method", "GET"),
                ("namespace", "storefront"),
                ("pod", &pod),
                ("status", "200"),
            ])
        })
        .collect();
    let samples = [OutgoingSample { at_ms: 1_700_000_000_000, value: 17.25, start_ms: 0 }];
    let series: Vec<_> = labels
        .iter()
        .map(|l| Outgoing { labels: l.clone(), samples: &samples, ..Outgoing::default() })
        .collect();
    for version in [Version::V1, Version::V2] {
        let mut body = Vec::new();
        if version == Version::V1 {
            write_v1(&series, &[], &mut body)
        } else {
            write_v2(&series, &mut body)
        }
        let packed = crate::body::snappy_encode(&body);
        let mut sink = Warm(0, 0);
        let (mut spare, hash) = (Vec::new(), Hash::default());
        for _ in 0..20 {
            let begun = std::time::Instant::now();
            let body = crate::body::Encoding::Snappy.decode(&packed, 1 << 26, &mut spare).unwrap();
            let decoded = begun.elapsed();
            version.read(body, &hash, &mut sink).unwrap();
            let each = |time: std::time::Duration| time.as_secs_f64() * 1e9 / 10_000.0;
            eprintln!(
                "{version:?}: {} B a series, {} packed; snappy {:.0} ns, all {:.0} ns a sample",
                body.len() / 10_000,
                packed.len() / 10_000,
                each(decoded),
                each(begun.elapsed())
            );
        }
        assert_eq!(sink.1, 200_000);
    }
}

#[test]
fn content_types() {
    let cases = [
        ("application/x-protobuf", Some(Version::V1)),
        ("application/x-protobuf;proto=prometheus.WriteRequest", Some(Version::V1)),
        ("Application/X-Protobuf; proto=io.prometheus.write.v2.Request", Some(Version::V2)),
        ("application/x-protobuf; charset=utf-8", Some(Version::V1)),
        ("application/x-protobuf;proto=other", None),
        ("application/json", None),
        ("", None),
    ];
    for (value, expected) in cases {
        assert_eq!(Version::from_content_type(value), expected, "{value}");
    }
    for version in [Version::V1, Version::V2] {
        assert_eq!(Version::from_content_type(version.content_type()), Some(version));
    }
    let written = Written { samples: 3, histograms: 0, exemplars: 1 };
    let text: Vec<String> = written.headers().iter().map(|(_, value)| value.to_string()).collect();
    let get = |name: &str| written.headers().iter().position(|h| h.0 == name).map(|i| text[i].as_str());
    assert_eq!(Written::from_headers(get), Some(written));
    assert_eq!(Written::from_headers(|_| None), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = hear_quietly(Version::V1, &body);
        let _ = hear_quietly(Version::V2, &body);
    }

    #[test]
    fn damaged_messages_never_panic(at in 0usize..400, byte in any::<u8>(), version in prop::bool::ANY) {
        let histogram = Histogram::from_script("{{schema:1 count:3 sum:2 buckets:[1 2] n_offset:4}}").unwrap();
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]);
        let series = [Outgoing {
            labels,
            samples: &[OutgoingSample { at_ms: 7, value: 1.5, start_ms: 3 }],
            histograms: &[OutgoingHistogram { at_ms: 8, value: &histogram, start_ms: 3 }],
            ..Outgoing::default()
        }];
        let mut body = Vec::new();
        if version { write_v1(&series, &[], &mut body) } else { write_v2(&series, &mut body) }
        if let Some(old) = body.get_mut(at) {
            *old = byte;
        }
        let _ = hear_quietly(if version { Version::V1 } else { Version::V2 }, &body);
    }
}

/// As [`hear`], for messages whose exemplars may be wrong.
fn hear_quietly(version: Version, body: &[u8]) -> Result<(), WireError> {
    struct Deaf;
    impl RemoteSink for Deaf {
        fn series(&mut self, labels: &RawLabels<'_>) -> bool {
            let _ = labels.series();
            true
        }
        fn sample(&mut self, _: i64, _: f64, _: i64) {}
        fn histogram(&mut self, _: i64, value: Histogram, _: i64) {
            assert!(value.validate().is_ok());
        }
        fn refused_histogram(&mut self, _: i64, _: &HistogramError) {}
        fn exemplar(&mut self, exemplar: RemoteExemplar<'_>) {
            let _ = exemplar.labels.labels();
        }
        fn series_metadata(&mut self, _: RemoteMetadata<'_>) {}
        fn family_metadata(&mut self, _: &str, _: RemoteMetadata<'_>) {}
    }
    version.read(body, &Hash::default(), &mut Deaf)
}
