use super::*;
use std::path::PathBuf;

/// Each with whether OpenMetrics 1.0 allows it, and the rule.
#[test]
fn open_metrics_rules() {
    let cases: &[(&str, bool)] = &[
        ("", true),
        ("a 1\n", true),
        ("# TYPE a counter\na_total 1\na_created 1.5\n", true),
        // A sample of no family's name begins an unknown one.
        ("# TYPE a counter\nb 1\n", true),
        ("# TYPE a counter\na 1\n", false),
        // Families are not interleaved.
        ("a 1\nb 1\na{x=\"1\"} 1\n", false),
        ("# TYPE a gauge\n# TYPE b gauge\na 1\n", false),
        // Names that could clash.
        ("# TYPE a_total gauge\n# TYPE a counter\n", false),
        ("# TYPE a gauge\n# TYPE a_total gauge\n", true),
        // Metrics and points are not interleaved.
        ("# TYPE a summary\na_sum{x=\"1\"} 1 1\na_count{x=\"1\"} 1 1\na_sum{x=\"1\"} 2 2\n", true),
        ("a{x=\"1\"} 1\na{x=\"2\"} 1\n", true),
        ("# TYPE a summary\na_sum{x=\"1\"} 1\na_sum{x=\"2\"} 1\na_count{x=\"1\"} 1\n", false),
        ("a 1 2\na 1 1\n", false),
        ("a 1\na 2\n", false),
        // Labels' order makes no other metric.
        ("# TYPE a summary\na_sum{x=\"1\",y=\"2\"} 1\na_count{y=\"2\",x=\"1\"} 1\n", true),
        // Histograms.
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1.5\n", false),
        ("# TYPE a histogram\na_bucket{le=\"NaN\"} 1\n", false),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count{le=\"1\"} 1\na_sum 1\n", false),
        ("# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_sum 1\n", false),
        ("# TYPE a histogram\na_bucket{le=\"-1\"} 1\na_bucket{le=\"+Inf\"} 1\n", true),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1 # {} 1\na_bucket{le=\"+Inf\"} 1\n", true),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 1 # {} 1.5\na_bucket{le=\"+Inf\"} 1\n", false),
        // Units, infos, states.
        ("# TYPE a_s info\n# UNIT a_s s\n", false),
        ("# TYPE a stateset\na{a=\"x\"} 0\na{a=\"y\"} 1\n", true),
        ("# TYPE a stateset\na{b=\"x\"} 0\n", false),
        ("# TYPE a info\na_info{v=\"1\"} 1 2\na_info{v=\"2\"} 1 1\n", true),
        // Grammar that only the standard insists on.
        ("a{x=\"1\",} 1\n", false),
        ("{\"a\"} 1\n", false),
        ("# HELP a say \"x\"\n", false),
        ("# HELP a say \\\"x\\\"\n", true),
    ];
    for (body, good) in cases {
        let body = format!("{body}# EOF\n");
        let got = check(Format::OpenMetrics, body.as_bytes(), Limits::default());
        assert_eq!(got.is_ok(), *good, "{body}{got:?}");
    }
}

fn shared(below: &str) -> Option<PathBuf> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata").join(below);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("not run: no data at `{}`", path.display());
    None
}

/// The inputs of prometheus/common's own tests, and its corpus for fuzzing.
#[test]
fn the_text_format_of_prometheus_common() {
    let Some(dir) = shared("expfmt/expfmt") else { return };
    let mut seen = 0;
    for entry in std::fs::read_dir(dir.join("fuzz/corpus")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let body = std::fs::read(&path).unwrap();
        let got = check(Format::Text, &body, Limits::default());
        assert_eq!(got.is_err(), name.contains("error"), "{name}: {got:?}");
        seen += 1;
    }
    assert!(seen > 20, "{seen} files");
    let text = std::fs::read(dir.join("testdata/text")).unwrap();
    let text = check(Format::Text, &text, Limits::default()).unwrap();
    assert!(text.samples > 100, "{text:?}");
    for file in ["protobuf", "protobuf-multimessage"] {
        let body = std::fs::read(dir.join("testdata").join(file)).unwrap();
        let got = check(Format::Protobuf, &body, Limits::default()).unwrap();
        assert!(got.samples > 2, "{file}: {got:?}");
    }
}

/// The same that `cargo xtask conformance openmetrics` runs.
#[test]
fn the_cases_of_open_metrics() {
    let Some(dir) = shared("openmetrics/testdata/parsers") else { return };
    let (mut seen, mut wrong) = (0, Vec::new());
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let said = std::fs::read_to_string(path.join("test.json")).unwrap();
        let said: String = said.split_whitespace().collect();
        let expected = said.contains("\"shouldParse\":true");
        assert!(expected || said.contains("\"shouldParse\":false"), "{said}");
        let body = std::fs::read(path.join("metrics")).unwrap();
        let got = check(Format::OpenMetrics, &body, Limits::default());
        if got.is_ok() != expected {
            wrong.push(format!("{}: {got:?}", path.display()));
        }
        seen += 1;
    }
    assert!(seen > 100 && wrong.is_empty(), "{seen} cases, {} wrong\n{}", wrong.len(), wrong.join("\n"));
}
