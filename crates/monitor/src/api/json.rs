//! JSON exactly as Prometheus writes it. Large answers are written straight into
//! one buffer.

use monitor_promql::{Answer, Labels, Outcome, Point, format_value};
use std::fmt::Write as _;

/// A text in quotes.
pub(crate) fn text(out: &mut String, text: &str) {
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
fn time(out: &mut String, at_ms: i64) {
    let _ = match at_ms % 1_000 {
        0 => write!(out, "{}", at_ms / 1_000),
        part => {
            write!(out, "{}{}.{:03}", if at_ms < 0 { "-" } else { "" }, (at_ms / 1_000).abs(), part.abs())
        }
    };
}

/// `[1435781451.781,"1"]`.
fn point(out: &mut String, point: &Point) {
    out.push('[');
    time(out, point.at_ms);
    out.push_str(",\"");
    out.push_str(&format_value(point.value));
    out.push_str("\"]");
}

/// `{"status":"success","data":…}` for a query.
pub(crate) fn outcome(outcome: &Outcome) -> String {
    let mut out = String::with_capacity(1 << 10);
    out.push_str(r#"{"status":"success","data":{"resultType":"#);
    match &outcome.answer {
        Answer::Scalar(value) => {
            out.push_str(r#""scalar","result":"#);
            point(&mut out, value);
        }
        Answer::String { at_ms, text: value } => {
            out.push_str(r#""string","result":["#);
            time(&mut out, *at_ms);
            out.push(',');
            text(&mut out, value);
            out.push(']');
        }
        Answer::Vector(samples) => {
            out.push_str(r#""vector","result":"#);
            separated(&mut out, samples, |out, sample| {
                out.push_str(r#"{"metric":"#);
                labels(out, &sample.labels);
                out.push_str(r#","value":"#);
                point(out, &sample.point);
                out.push('}');
            });
        }
        Answer::Matrix(series) => {
            out.push_str(r#""matrix","result":"#);
            separated(&mut out, series, |out, series| {
                out.push_str(r#"{"metric":"#);
                labels(out, &series.labels);
                out.push_str(r#","values":"#);
                separated(out, &series.points, point);
                out.push('}');
            });
        }
    }
    out.push('}');
    notes(&mut out, "warnings", &outcome.warnings);
    notes(&mut out, "infos", &outcome.infos);
    out.push('}');
    out
}

fn notes(out: &mut String, name: &str, list: &[String]) {
    if !list.is_empty() {
        let _ = write!(out, ",\"{name}\":");
        texts(out, list.iter().map(String::as_str));
    }
}

/// `{"status":"success","data":…}` around what `data` writes.
pub(crate) fn success(data: impl FnOnce(&mut String)) -> String {
    let mut out = String::from(r#"{"status":"success","data":"#);
    data(&mut out);
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

    #[test]
    fn numbers() {
        let cases = [
            (0, "0"),
            (1_435_781_451_781, "1435781451.781"),
            (1_700, "1.700"),
            (5, "0.005"),
            (-1_500, "-1.500"),
        ];
        for (at_ms, expected) in cases {
            let mut out = String::new();
            time(&mut out, at_ms);
            assert_eq!(out, expected);
        }
        for (value, expected) in [(1.0, "1e+00"), (0.05, "5e-02"), (1234.5, "1.2345e+03"), (f64::NAN, "NaN")]
        {
            assert_eq!(exponent(value), expected);
        }
    }
}
