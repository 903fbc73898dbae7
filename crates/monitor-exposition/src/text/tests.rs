use crate::{Entry, Format, Limits, ParseError, Parser};

fn read(format: Format, body: &str) -> Result<Vec<String>, ParseError> {
    let mut parser = Parser::new(format, body.as_bytes(), Limits { samples: 100, labels: 5, buckets: 10 })?;
    let mut out = Vec::new();
    while let Some(entry) = parser.next_entry()? {
        out.push(match entry {
            Entry::Sample(s) => {
                let exemplar = s.exemplar.as_ref().map(|e| {
                    let labels: Vec<String> = e.labels.map(|(n, v)| format!("{n}={v:?}")).collect();
                    format!(" # [{}] {} {:?}", labels.join(" "), e.value, e.at_ms)
                });
                let labels: Vec<String> = s.labels.map(|(n, v)| format!("{n}={v:?}")).collect();
                let (name, value, at) = (&s.name, s.value, s.at_ms);
                format!("{name} [{}] {value} {at:?}{}", labels.join(" "), exemplar.unwrap_or_default())
            }
            Entry::Help { family, text } => format!("help {family} {text:?}"),
            Entry::Type { family, kind } => format!("type {family} {}", kind.as_str()),
            Entry::Unit { family, unit } => format!("unit {family} {unit}"),
            Entry::Histogram(_) => "histogram".to_owned(),
        });
    }
    Ok(out)
}

fn good(format: Format, cases: &[(&str, &[&str])]) {
    for (body, expected) in cases {
        assert_eq!(read(format, body).unwrap(), *expected, "{body}");
    }
}

fn bad(format: Format, cases: &[(&str, &str)]) {
    for (body, expected) in cases {
        let got = read(format, body).unwrap_err().to_string();
        assert!(got.contains(expected), "{body:?}: {got}, not {expected}");
    }
}

#[test]
fn what_exporters_write() {
    good(
        Format::Text,
        &[
            ("", &[]),
            ("\n\n \t\n", &[]),
            ("m{} 0\n", &["m [] 0 None"]),
            ("m -3e3 103948\n", &["m [] -3000 Some(103948)"]),
            ("m +Inf -1\n", &["m [] inf Some(-1)"]),
            ("m NaN", &["m [] NaN None"]),
            ("m{a=\"x\\\"y\\\\z\\nw\",b=\"}{,\"} 1\n", &[r#"m [a="x\"y\\z\nw" b="}{,"] 1 None"#]),
            ("m {a = \"\\t\"\t, b=\"\", }-Inf\n", &[r#"m [a="\\t" b=""] -inf None"#]),
            ("# a comment\n#\n#HELP m x\n# HELP\n# HELP 1x y\nm 1\n", &["m [] 1 None"]),
            ("#  HELP  m  two\\nlines \\\\ \\x\n", &["help m \"two\\nlines \\\\ \\\\x\""]),
            ("# TYPE m Counter \n", &["type m counter"]),
            ("# TYPE m untyped\nm 1\n# TYPE m gauge\n", &["type m unknown", "m [] 1 None", "type m gauge"]),
            // Prometheus 3: names in quotes.
            ("{\"my.name\", \"my.label\"=\"1\", x=\"2\"} 3\n", &[r#"my.name [my.label="1" x="2"] 3 None"#]),
            ("{x=\"2\",\"a\\\"b\"} 3\n", &["a\"b [x=\"2\"] 3 None"]),
            ("# TYPE \"my.name\" gauge\n", &["type my.name gauge"]),
            // Bounds are in canonical form where the family's type says that they are numbers.
            ("m_bucket{le=\"1\"} 3\n", &[r#"m_bucket [le="1"] 3 None"#]),
            (
                "# TYPE m histogram\nm_bucket{le=\"1\"} 3\n",
                &["type m histogram", r#"m_bucket [le="1.0"] 3 None"#],
            ),
            (
                "# TYPE m summary\nm{quantile=\".50\"} 3\n",
                &["type m summary", r#"m [quantile="0.5"] 3 None"#],
            ),
        ],
    );
}

#[test]
fn what_is_refused_and_where() {
    bad(
        Format::Text,
        &[
            ("m\n", "line 1, column 2: `` is not a value"),
            ("a 1\nm x\n", "line 2, column 3: `x` is not a value"),
            ("m 1 1.5\n", "line 1, column 5: `1.5` is not a time"),
            ("m 1 2 3\n", "line 1, column 7: `3` after the time"),
            ("1m 1\n", "column 1: `1` cannot stand in a metric's name"),
            ("m-n 1\n", "column 2: `-` cannot stand"),
            ("{a=\"b\"} 1\n", "without a metric's name"),
            ("m{\"n\"} 1\n", "second name"),
            ("{\"n\",\"m\"} 1\n", "a second metric's name"),
            ("{\"\"} 1\n", "an empty name"),
            ("m{a=\"1\",a=\"2\"} 1\n", "label `a` stands twice"),
            ("m{\"a\"=\"1\",a=\"2\"} 1\n", "label `a` stands twice"),
            ("m{__name__=\"x\"} 1\n", "`__name__` as a label"),
            ("m{a=b} 1\n", "column 5: the value of label `a` is not in double quotes"),
            ("m{a=\"b} 1\n", "column 5: the value of label `a` has no end"),
            ("m{a=\"b\\\"} 1\n", "has no end"),
            ("m{a=\"b\\", "has no end"),
            ("m{a=\"b\"c=\"d\"} 1\n", "between labels"),
            ("m{a\n", "the labels have no end"),
            ("m{\n", "the labels have no end"),
            ("m{,} 1\n", "is not a label's name"),
            ("m{a=\"b\",,} 1\n", "is not a label's name"),
            ("m{a=\"\",b=\"\",c=\"\",d=\"\",e=\"\",f=\"\"} 1\n", "more than 5 labels"),
            ("# TYPE m thing\n", "column 10: `thing` is not a metric's type"),
            ("# TYPE m-n gauge\n", "is not a metric's name"),
            (&"m 1\n".repeat(101), "line 101, column 1: more than 100 samples"),
        ],
    );
    let body = b"a 1\nb{x=\"\xff\"} 1\n";
    let got = Parser::new(Format::Text, body, Limits::default()).unwrap_err().to_string();
    assert_eq!(got, "line 2, column 6: not UTF-8");
}

#[test]
fn open_metrics() {
    good(
        Format::OpenMetrics,
        &[
            ("# EOF", &[]),
            (
                "# TYPE a_s counter\n# UNIT a_s s\n# HELP a_s x \\\"\n# EOF\n",
                &["type a_s counter", "unit a_s s", "help a_s \"x \\\"\""],
            ),
            ("a{x=\"1\"} 1 1520879607.789\n# EOF\n", &["a [x=\"1\"] 1 Some(1520879607789)"]),
            ("a 1 # {t=\"x # y\"} 0.5\n# EOF\n", &["a [] 1 None # [t=\"x # y\"] 0.5 None"]),
            ("a 1 -0.5 # {} 1e3 2\n# EOF\n", &["a [] 1 Some(-500) # [] 1000 Some(2000)"]),
            ("{\"a.b\",x=\"1\",} 1\n# EOF\n", &["a.b [x=\"1\"] 1 None"]),
            ("a 1 99999999999999999999\n# EOF\n", &["a [] 1 Some(9223372036854775807)"]),
        ],
    );
    bad(
        Format::OpenMetrics,
        &[
            ("", "line 1, column 1: the body ends without `# EOF`"),
            ("a 1\n", "line 2, column 1: the body ends without `# EOF`"),
            ("a 1", "the last line has no end"),
            ("# EOF\na 1\n", "line 1, column 6: more follows"),
            ("# EOF\n\n", "more follows"),
            ("\n# EOF\n", "a blank line"),
            ("#a\n# EOF\n", "only TYPE, HELP, UNIT and EOF"),
            ("a  1\n# EOF\n", "column 3: more than one space before the value"),
            ("a 1 \n# EOF\n", "column 4: the line ends before the time"),
            ("a 1 nan\n# EOF\n", "`nan` is not a time in seconds"),
            ("a 1 #{} 1\n# EOF\n", "`#{}` is not a time"),
            ("a 1 # x\n# EOF\n", "where an exemplar"),
            ("a 1 # {}\n# EOF\n", "before the exemplar's value"),
            ("a 1 # {} 1 2 3\n# EOF\n", "after the exemplar"),
            ("a 1 # {\"x\"} 1\n# EOF\n", "no `=`"),
            ("a{ x=\"1\"} 1\n# EOF\n", "is not a label's name"),
            ("# UNIT a s\n# EOF\n", "the unit `s` does not end the name `a`"),
            ("# TYPE a untyped\n# EOF\n", "`untyped` is not a metric's type"),
            ("# TYPE a\n# EOF\n", "nothing follows"),
        ],
    );
}

proptest::proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text in "([a-z#{}\"=,\\\\ \n0-9é.]|# TYPE |# EOF\n|le=\"){0,60}") {
        for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
            for body in [&bytes[..], text.as_bytes()] {
                if let Ok(mut parser) = Parser::new(format, body, Limits::default()) {
                    while let Ok(Some(entry)) = parser.next_entry() {
                        if let Entry::Sample(sample) = entry {
                            // What was checked can be walked.
                            let labels = sample.to_labels();
                            proptest::prop_assert!(labels.name().is_some());
                        }
                    }
                }
                let _ = crate::check(format, body, Limits::default());
            }
        }
    }
}
