use crate::wire::{put_bytes, put_double, put_unsigned, put_varint, put_zigzag};
use crate::{Entry, Format, Limits, Parser};

fn message(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    build(&mut out);
    out
}

fn family(name: &str, kind: u64, metrics: &[Vec<u8>]) -> Vec<u8> {
    let body = message(|out| {
        put_bytes(out, 1, name.as_bytes());
        put_unsigned(out, 3, kind);
        for metric in metrics {
            put_bytes(out, 4, metric);
        }
    });
    message(|out| {
        put_varint(out, body.len() as u64);
        out.extend_from_slice(&body);
    })
}

fn pair(name: &str, value: &str) -> Vec<u8> {
    message(|out| {
        put_bytes(out, 1, name.as_bytes());
        put_bytes(out, 2, value.as_bytes());
    })
}

fn time(seconds: u64, nanos: u64) -> Vec<u8> {
    message(|out| {
        put_unsigned(out, 1, seconds);
        put_unsigned(out, 2, nanos);
    })
}

fn read(body: &[u8], classic_too: bool) -> Result<Vec<String>, String> {
    let limits = Limits { samples: 20, labels: 3, buckets: 4 };
    let mut parser =
        Parser::new(Format::Protobuf, body, limits).unwrap().with_classic_histograms(classic_too);
    let mut out = Vec::new();
    while let Some(entry) = parser.next_entry().map_err(|error| error.to_string())? {
        match entry {
            Entry::Sample(s) => {
                let exemplar = s.exemplar.as_ref().map(|e| format!(" # {} {:?}", e.value, e.at_ms));
                let exemplar = exemplar.unwrap_or_default();
                out.push(format!("{} {} {:?} {}{exemplar}", s.to_labels(), s.value, s.at_ms, s.start_ms));
            }
            Entry::Histogram(h) => {
                let i = &h.histogram;
                out.push(format!(
                    "{} {} {} {} {:?} {} {}",
                    h.to_labels(),
                    i.schema,
                    i.count,
                    i.sum,
                    i.positive.counts,
                    h.start_ms,
                    h.exemplars.len()
                ));
            }
            _ => {}
        }
    }
    Ok(out)
}

fn exemplar(value: f64) -> Vec<u8> {
    message(|out| {
        put_bytes(out, 1, &pair("trace_id", "t"));
        put_double(out, 2, value);
        put_bytes(out, 3, &time(5, 250_000_000));
    })
}

#[test]
fn each_type() {
    let counter = message(|out| {
        put_bytes(out, 1, &pair("a", "b"));
        put_bytes(
            out,
            3,
            &message(|out| {
                put_double(out, 1, 7.0);
                put_bytes(out, 2, &exemplar(0.5));
                put_bytes(out, 3, &time(1, 500_000_000));
            }),
        );
        put_unsigned(out, 6, 99);
    });
    let summary = message(|out| {
        put_bytes(
            out,
            4,
            &message(|out| {
                put_unsigned(out, 1, 4);
                put_double(out, 2, 8.0);
                put_bytes(
                    out,
                    3,
                    &message(|out| {
                        put_double(out, 1, 0.5);
                        put_double(out, 2, 2.0);
                    }),
                );
            }),
        );
    });
    let mut body = family("c_total", 0, &[counter]);
    body.extend(family("s", 2, &[summary]));
    assert_eq!(
        read(&body, false).unwrap(),
        [
            "c_total{a=\"b\"} 7 Some(99) 1500 # 0.5 Some(5250)",
            "s_count 4 None 0",
            "s_sum 8 None 0",
            "s{quantile=\"0.5\"} 2 None 0",
        ]
    );
}

/// A histogram with classic and native buckets, as client libraries send it.
fn both() -> Vec<u8> {
    message(|out| {
        put_bytes(
            out,
            7,
            &message(|out| {
                put_unsigned(out, 1, 6);
                put_double(out, 2, 12.0);
                put_bytes(
                    out,
                    3,
                    &message(|out| {
                        put_unsigned(out, 1, 2);
                        put_double(out, 2, 1.0);
                        put_bytes(out, 3, &exemplar(0.7));
                    }),
                );
                put_zigzag(out, 5, 3);
                put_double(out, 6, 1e-9);
                put_bytes(
                    out,
                    12,
                    &message(|out| {
                        put_zigzag(out, 1, -2);
                        put_unsigned(out, 2, 2);
                    }),
                );
                put_bytes(out, 12, &[]);
                put_bytes(out, 12, &message(|out| put_unsigned(out, 2, 1)));
                // +1, +2, −1, packed.
                put_bytes(out, 13, &[2, 4, 1]);
                put_bytes(out, 15, &time(3, 0));
            }),
        );
    })
}

#[test]
fn histograms() {
    let body = family("h", 4, &[both()]);
    let native = "h 3 6 12 [1.0, 3.0, 2.0] 3000 1";
    assert_eq!(read(&body, false).unwrap(), [native]);
    assert_eq!(
        read(&body, true).unwrap(),
        [
            native,
            "h_count 6 None 3000",
            "h_sum 12 None 3000",
            "h_bucket{le=\"1.0\"} 2 None 3000 # 0.7 Some(5250)",
            "h_bucket{le=\"+Inf\"} 6 None 3000",
        ]
    );
}

#[test]
fn keys_name_series() {
    let gauge = |label: &str| {
        message(|out| {
            put_bytes(out, 1, &pair("a", label));
            put_bytes(out, 2, &message(|out| put_double(out, 1, 1.0)));
        })
    };
    let body = family("g", 1, &[gauge("1"), gauge("2"), gauge("1")]);
    let mut parser = Parser::new(Format::Protobuf, &body, Limits::default()).unwrap();
    let mut keys = Vec::new();
    while let Some(entry) = parser.next_entry().unwrap() {
        if let Entry::Sample(sample) = entry {
            keys.push(sample.key.to_vec());
        }
    }
    assert_eq!(keys.len(), 3);
    assert!(keys[0] == keys[2] && keys[0] != keys[1]);
}

#[test]
fn what_is_refused() {
    let histogram =
        |build: &dyn Fn(&mut Vec<u8>)| family("h", 4, &[message(|out| put_bytes(out, 7, &message(build)))]);
    let span = |out: &mut Vec<u8>, length| put_bytes(out, 12, &message(|out| put_unsigned(out, 2, length)));
    let gauge_value = message(|out| put_double(out, 1, 1.0));
    let labelled = |labels: &[(&str, &str)]| {
        family(
            "g",
            1,
            &[message(|out| {
                for (name, value) in labels {
                    put_bytes(out, 1, &pair(name, value));
                }
                put_bytes(out, 2, &gauge_value);
            })],
        )
    };
    let cases = [
        (vec![5, 1], "byte 1: 5 bytes are announced and 1 follow"),
        (vec![0xff; 11], "more than 64 bits"),
        (family("", 1, &[]), "without a name"),
        (family("g", 9, &[]), "9 is not a metric's type"),
        (family("g", 1, &[Vec::new()]), "metric `g`: a metric of type gauge without its value"),
        (labelled(&[("a", ""), ("a", "")]), "label `a` stands twice"),
        (labelled(&[("", "")]), "a label without a name"),
        (labelled(&[("a", ""), ("b", ""), ("c", ""), ("d", "")]), "more than 3 labels"),
        (
            histogram(&|out| {
                put_zigzag(out, 5, 9);
                span(out, 0)
            }),
            "schema 9",
        ),
        (histogram(&|out| span(out, 2)), "for 2 buckets, and 0 were sent"),
        (
            histogram(&|out| {
                span(out, 1);
                put_bytes(out, 13, &[1])
            }),
            "a bucket's count is -1",
        ),
        (
            histogram(&|out| {
                span(out, 5);
                put_bytes(out, 13, &[0; 5])
            }),
            "more than 4 buckets",
        ),
        (histogram(&|out| (0..5).for_each(|_| span(out, 0))), "more than 4 spans"),
    ];
    for (body, expected) in cases {
        let got = read(&body, false).unwrap_err();
        assert!(got.contains(expected), "{got}, not {expected}");
    }
}
