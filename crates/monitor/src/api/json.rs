//! JSON exactly as Prometheus writes it. Large answers are written straight into
//! one buffer.

use monitor_model::Exemplar;
use monitor_promql::{Answer, Histogram, HistogramPoint, Labels, Outcome, Point, Value, format_value};
use std::fmt::Write as _;

/// A text in quotes.
pub(crate) fn text(out: &mut String, text: &str) {
    // Nearly all names and values stand as they are.
    if !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
        return;
    }
    // Writing a `str` as JSON cannot fail.
    out.push_str(&serde_json::to_string(text).unwrap_or_default());
}

/// A list of texts.
pub(crate) fn texts<'a>(out: &mut String, list: impl IntoIterator<Item = &'a str>) {
    separated(out, list, text);
}

/// `[a,b,c]`, each written by `one`.
pub(crate) fn separated<T>(
    out: &mut String,
    items: impl IntoIterator<Item = T>,
    mut one: impl FnMut(&mut String, T),
) {
    out.push('[');
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        one(out, item);
    }
    out.push(']');
}

/// `{"__name__":"up","job":"a"}`.
pub(crate) fn labels(out: &mut String, labels: &Labels) {
    pairs(out, labels.iter());
}

/// An object of texts.
pub(crate) fn pairs<'a>(out: &mut String, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
    out.push('{');
    for (i, (name, value)) in pairs.into_iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        text(out, name);
        out.push(':');
        text(out, value);
    }
    out.push('}');
}

/// Seconds, with three digits where they are not whole.
pub(crate) fn time(out: &mut String, at_ms: i64) {
    let sign = if at_ms < 0 { "-" } else { "" };
    let (seconds, part) = (at_ms.unsigned_abs() / 1_000, at_ms.unsigned_abs() % 1_000);
    let _ = write!(out, "{sign}{seconds}");
    if part > 0 {
        let _ = write!(out, ".{part:03}");
    }
}

/// Seconds as Go writes a number: those of a scalar or a text have no zeros at
/// their end.
fn plain_time(out: &mut String, at_ms: i64) {
    time(out, at_ms);
    if at_ms % 1_000 != 0 {
        out.truncate(out.trim_end_matches('0').len());
    }
}

/// A sample's number: the shortest that reads back as the same, with an exponent
/// where it is very large or small (Prometheus: `util/jsonutil`).
fn number(out: &mut String, value: f64) {
    let size = value.abs();
    let far = size != 0.0 && size.is_finite() && !(1e-6..1e21).contains(&size);
    if far {
        out.push_str(&exponent(value));
    } else if value.is_finite() {
        let _ = write!(out, "{value}");
    } else {
        out.push_str(&format_value(value));
    }
}

fn quoted_number(out: &mut String, value: f64) {
    out.push('"');
    number(out, value);
    out.push('"');
}

/// `[1435781451.781,"1"]`.
fn point(out: &mut String, point: &Point) {
    out.push('[');
    time(out, point.at_ms);
    out.push(',');
    quoted_number(out, point.value);
    out.push(']');
}

/// `[1435781451.781,{"count":"2","sum":"3","buckets":[[0,"1","2","2"]]}]`. Before
/// the bounds stands which of them belong to the bucket: the upper (0), the lower
/// (1), neither (2), both (3). Empty buckets are left out.
fn histogram(out: &mut String, at_ms: i64, value: &Histogram) {
    out.push('[');
    time(out, at_ms);
    out.push_str(",{\"count\":");
    quoted_number(out, value.count);
    out.push_str(",\"sum\":");
    quoted_number(out, value.sum);
    let mut full = value.buckets().filter(|bucket| bucket.count != 0.0).peekable();
    if full.peek().is_some() {
        out.push_str(",\"buckets\":");
        separated(out, full, |out, bucket| {
            let bounds = match (bucket.lower_inclusive, bucket.upper_inclusive) {
                (false, true) => 0,
                (true, false) => 1,
                (false, false) => 2,
                (true, true) => 3,
            };
            let _ = write!(out, "[{bounds}");
            for value in [bucket.lower, bucket.upper, bucket.count] {
                out.push(',');
                quoted_number(out, value);
            }
            out.push(']');
        });
    }
    out.push_str("}]");
}

/// `{"labels":{"trace_id":"x"},"value":"6","timestamp":1600096945.479}`.
pub(crate) fn exemplar(out: &mut String, exemplar: &Exemplar) {
    out.push_str("{\"labels\":");
    labels(out, &exemplar.labels);
    out.push_str(",\"value\":");
    quoted_number(out, exemplar.value);
    out.push_str(",\"timestamp\":");
    time(out, exemplar.at_ms.unwrap_or_default());
    out.push('}');
}

/// What a query took, for `stats`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stats {
    /// Seconds until it began.
    pub(crate) queued_s: f64,
    /// Seconds it was evaluated for.
    pub(crate) evaluated_s: f64,
}

/// `{"status":"success","data":…}` for a query.
pub(crate) fn outcome(outcome: &Outcome, stats: Option<Stats>) -> String {
    let mut out = String::with_capacity(1 << 10);
    out.push_str(r#"{"status":"success","data":{"resultType":"#);
    match &outcome.answer {
        Answer::Scalar(value) => {
            out.push_str(r#""scalar","result":["#);
            plain_time(&mut out, value.at_ms);
            let _ = write!(out, ",\"{}\"]", format_value(value.value));
        }
        Answer::String { at_ms, text: value } => {
            out.push_str(r#""string","result":["#);
            plain_time(&mut out, *at_ms);
            out.push(',');
            text(&mut out, value);
            out.push(']');
        }
        Answer::Vector(samples) => {
            out.push_str(r#""vector","result":"#);
            separated(&mut out, samples, |out, sample| {
                out.push_str(r#"{"metric":"#);
                labels(out, &sample.labels);
                match &sample.value {
                    Value::Float(value) => {
                        out.push_str(r#","value":"#);
                        point(out, &Point { at_ms: sample.at_ms, value: *value });
                    }
                    Value::Histogram(value) => {
                        out.push_str(r#","histogram":"#);
                        histogram(out, sample.at_ms, value);
                    }
                }
                out.push('}');
            });
        }
        Answer::Matrix(series) => {
            out.push_str(r#""matrix","result":"#);
            separated(&mut out, series, |out, series| {
                out.push_str(r#"{"metric":"#);
                labels(out, &series.labels);
                if !series.points.is_empty() {
                    out.push_str(r#","values":"#);
                    separated(out, &series.points, point);
                }
                if !series.histograms.is_empty() {
                    out.push_str(r#","histograms":"#);
                    separated(out, &series.histograms, |out, at: &HistogramPoint| {
                        histogram(out, at.at_ms, &at.value);
                    });
                }
                out.push('}');
            });
        }
    }
    if let Some(stats) = stats {
        write_stats(&mut out, outcome, stats);
    }
    out.push('}');
    notes(&mut out, "warnings", &outcome.warnings);
    notes(&mut out, "infos", &outcome.infos);
    out.push('}');
    out
}

/// Of Prometheus' times those that we take; the others would be invented.
fn write_stats(out: &mut String, outcome: &Outcome, stats: Stats) {
    let Stats { queued_s, evaluated_s } = stats;
    let total_s = queued_s + evaluated_s;
    let _ = write!(
        out,
        r#","stats":{{"timings":{{"evalTotalTime":{evaluated_s},"execQueueTime":{queued_s},"execTotalTime":{total_s}}},"samples":{{"totalQueryableSamples":{}}}}}"#,
        outcome.samples_read
    );
}

/// `,"warnings":[…]` where there are some.
pub(crate) fn notes(out: &mut String, name: &str, list: &[String]) {
    if !list.is_empty() {
        let _ = write!(out, ",\"{name}\":");
        texts(out, list.iter().map(String::as_str));
    }
}

/// `{"status":"success","data":…}` around what `data` writes.
pub(crate) fn success(data: impl FnOnce(&mut String)) -> String {
    noted(&[], data)
}

/// The same with warnings.
pub(crate) fn noted(warnings: &[String], data: impl FnOnce(&mut String)) -> String {
    let mut out = String::from(r#"{"status":"success","data":"#);
    data(&mut out);
    notes(&mut out, "warnings", warnings);
    out.push('}');
    out
}

/// `{"status":"error","errorType":…,"error":…}`.
pub(crate) fn error(kind: &str, why: &str) -> String {
    let mut out = format!(r#"{{"status":"error","errorType":"{kind}","error":"#);
    text(&mut out, why);
    out.push('}');
    out
}

/// Go's `strconv.FormatFloat(v, 'e', -1, 64)`, as in `/api/v1/alerts`.
pub(crate) fn exponent(value: f64) -> String {
    if !value.is_finite() {
        return format_value(value);
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use monitor_promql::{Sample, Series};

    fn written(write: impl FnOnce(&mut String)) -> String {
        let mut out = String::new();
        write(&mut out);
        out
    }

    #[test]
    fn numbers() {
        let cases = [
            (0, "0", "0"),
            (1_435_781_451_781, "1435781451.781", "1435781451.781"),
            (1_700, "1.700", "1.7"),
            (100_000, "100", "100"),
            (5, "0.005", "0.005"),
            (-500, "-0.500", "-0.5"),
            (-1_500, "-1.500", "-1.5"),
            (i64::MIN, "-9223372036854775.808", "-9223372036854775.808"),
        ];
        for (at_ms, expected, plain) in cases {
            assert_eq!(written(|out| time(out, at_ms)), expected);
            assert_eq!(written(|out| plain_time(out, at_ms)), plain);
        }
        for (value, expected) in [(1.0, "1e+00"), (0.05, "5e-02"), (1234.5, "1.2345e+03"), (f64::NAN, "NaN")]
        {
            assert_eq!(exponent(value), expected);
        }
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e-7, "-2.5e-07"),
            (1e-6, "0.000001"),
            (1e300, "1e+300"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(written(|out| number(out, value)), expected);
        }
    }

    #[test]
    fn exemplars() {
        let of = Exemplar {
            labels: Labels::from_pairs([("trace_id", "x")]),
            value: 6.0,
            at_ms: Some(1_600_096_945_479),
        };
        assert_eq!(
            written(|out| exemplar(out, &of)),
            r#"{"labels":{"trace_id":"x"},"value":"6","timestamp":1600096945.479}"#
        );
    }

    #[test]
    fn answers() {
        let native = std::sync::Arc::new(
            Histogram::from_script(
                "{{schema:0 count:7 sum:1e21 z_bucket:1 z_bucket_w:0.5 buckets:[2 0 3] n_buckets:[1]}}",
            )
            .unwrap(),
        );
        let up = Labels::from_pairs([("__name__", "up"), ("a", "\"<\n")]);
        let buckets = r#"{"count":"7","sum":"1e+21","buckets":[[1,"-1","-0.5","1"],[3,"-0.5","0.5","1"],[0,"0.5","1","2"],[0,"2","4","3"]]}"#;
        let empty = std::sync::Arc::new(Histogram::default());
        let cases = [
            (
                Answer::Scalar(Point { at_ms: 1_500, value: 1e21 }),
                r#"{"resultType":"scalar","result":[1.5,"1000000000000000000000"]}"#.to_owned(),
            ),
            (
                Answer::String { at_ms: 0, text: "a\"b".into() },
                r#"{"resultType":"string","result":[0,"a\"b"]}"#.into(),
            ),
            (Answer::Vector(vec![]), r#"{"resultType":"vector","result":[]}"#.into()),
            (
                Answer::Vector(vec![
                    Sample { labels: up.clone(), at_ms: 1_500, value: Value::Float(f64::NAN) },
                    Sample { labels: Labels::empty(), at_ms: 1_000, value: Value::Histogram(native.clone()) },
                    Sample { labels: Labels::empty(), at_ms: 1_000, value: Value::Histogram(empty) },
                ]),
                format!(
                    r#"{{"resultType":"vector","result":[{{"metric":{{"__name__":"up","a":"\"<\n"}},"value":[1.500,"NaN"]}},{{"metric":{{}},"histogram":[1,{buckets}]}},{{"metric":{{}},"histogram":[1,{{"count":"0","sum":"0"}}]}}]}}"#
                ),
            ),
            (
                Answer::Matrix(vec![Series {
                    labels: Labels::empty(),
                    points: vec![Point { at_ms: 0, value: 1.0 }, Point { at_ms: 5_000, value: 0.1 }],
                    histograms: vec![HistogramPoint { at_ms: 10_000, value: native }],
                }]),
                format!(
                    r#"{{"resultType":"matrix","result":[{{"metric":{{}},"values":[[0,"1"],[5,"0.1"]],"histograms":[[10,{buckets}]]}}]}}"#
                ),
            ),
        ];
        for (answer, data) in cases {
            let told = Outcome { answer, warnings: vec![], infos: vec![], samples_read: 3 };
            assert_eq!(outcome(&told, None), format!(r#"{{"status":"success","data":{data}}}"#));
        }
        let told = Outcome {
            answer: Answer::Vector(vec![]),
            warnings: vec!["w".into()],
            infos: vec!["i".into()],
            samples_read: 3,
        };
        assert_eq!(
            outcome(&told, Some(Stats { queued_s: 0.5, evaluated_s: 1.0 })),
            r#"{"status":"success","data":{"resultType":"vector","result":[],"stats":{"timings":{"evalTotalTime":1,"execQueueTime":0.5,"execTotalTime":1.5},"samples":{"totalQueryableSamples":3}}},"warnings":["w"],"infos":["i"]}"#
        );
    }
}
