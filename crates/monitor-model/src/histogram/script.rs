//! Histograms in the language of Prometheus' test scripts:
//! `{{schema:1 count:4 sum:5 z_bucket:1 z_bucket_w:0.001 buckets:[1 2] offset:1}}`.

use super::{Buckets, CounterReset, Histogram, Span, format_g};
use std::fmt::Write as _;

/// Why a text describes no histogram.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} at byte {at} of a histogram description")]
pub struct ScriptError {
    /// What is wrong.
    pub what: String,
    /// Where, from the opening braces on.
    pub at: usize,
}

impl Histogram {
    /// Reads a description; the whole text must be one.
    pub fn from_script(text: &str) -> Result<Self, ScriptError> {
        let mut reader = Reader { text, at: 0 };
        let histogram = reader.histogram()?;
        reader.space();
        if reader.at < text.len() {
            return Err(reader.wrong("text behind the end"));
        }
        Ok(histogram)
    }

    /// Reads the description with which a text begins; gives what is behind it.
    pub fn split_script(text: &str) -> Result<(Self, &str), ScriptError> {
        let mut reader = Reader { text, at: 0 };
        let histogram = reader.histogram()?;
        Ok((histogram, &text[reader.at..]))
    }

    /// The description, as Prometheus' `TestExpression` gives it: compacted, each
    /// side one run of buckets, with zeros in the gaps; a side whose populated
    /// buckets lie further apart than [`super::MAX_BUCKETS`] is cut there.
    pub fn to_script(&self) -> String {
        let mut text = String::from("{{");
        let mut field = |name: &str, value: String| {
            if text.len() > 2 {
                text.push(' ');
            }
            let _ = write!(text, "{name}:{value}");
        };
        if self.schema != 0 {
            field("schema", self.schema.to_string());
        }
        let numbers = [
            ("count", self.count),
            ("sum", self.sum),
            ("z_bucket", self.zero_count),
            ("z_bucket_w", self.zero_threshold),
        ];
        for (name, value) in numbers.into_iter().filter(|(_, value)| *value != 0.0) {
            field(name, format_g(value));
        }
        if self.has_custom_buckets() {
            field("custom_values", list(self.bounds.iter().copied()));
        }
        match self.reset {
            CounterReset::Unknown => {}
            CounterReset::Reset => field("counter_reset_hint", "reset".into()),
            CounterReset::NotReset => field("counter_reset_hint", "not_reset".into()),
            CounterReset::Gauge => field("counter_reset_hint", "gauge".into()),
        }
        for (side, buckets, offset) in
            [(&self.positive, "buckets", "offset"), (&self.negative, "n_buckets", "n_offset")]
        {
            let (first, counts) = run(side);
            if first != 0 {
                field(offset, first.to_string());
            }
            if !counts.is_empty() {
                field(buckets, list(counts.into_iter()));
            }
        }
        text.push_str("}}");
        text
    }
}

/// A side as one run of buckets.
fn run(side: &Buckets) -> (i64, Vec<f64>) {
    let mut populated = side.iter().filter(|(_, count)| *count != 0.0).peekable();
    let first = populated.peek().map_or(0, |bucket| bucket.0);
    let mut counts = Vec::new();
    for (index, count) in populated {
        let Ok(at) = usize::try_from(index - first) else { break };
        if at >= super::MAX_BUCKETS {
            break;
        }
        counts.resize(at, 0.0);
        counts.push(count);
    }
    (first, counts)
}

fn list(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<String> = values.map(format_g).collect();
    format!("[{}]", values.join(" "))
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn histogram(&mut self) -> Result<Histogram, ScriptError> {
        self.space();
        self.expect("{{")?;
        let mut histogram = Histogram::default();
        let (mut positive, mut negative) = ((0, Vec::new()), (0, Vec::new()));
        loop {
            self.space();
            if self.skip("}}") {
                break;
            }
            let begin = self.at;
            let name = self.word();
            if name.is_empty() {
                return Err(self.wrong("a field's name or `}}` is missing"));
            }
            self.expect(":")?;
            match name {
                "schema" => histogram.schema = self.whole()?,
                "sum" => histogram.sum = self.number()?,
                "count" => histogram.count = self.number()?,
                "z_bucket" => histogram.zero_count = self.number()?,
                "z_bucket_w" => histogram.zero_threshold = self.number()?,
                "custom_values" => histogram.bounds = self.numbers()?.into(),
                "buckets" => positive.1 = self.numbers()?,
                "n_buckets" => negative.1 = self.numbers()?,
                "offset" => positive.0 = self.whole()?,
                "n_offset" => negative.0 = self.whole()?,
                "counter_reset_hint" => histogram.reset = self.reset()?,
                _ => {
                    self.at = begin;
                    return Err(self.wrong(&format!("`{name}` is not a field")));
                }
            }
        }
        histogram.positive = side(positive);
        histogram.negative = side(negative);
        Ok(histogram)
    }

    fn reset(&mut self) -> Result<CounterReset, ScriptError> {
        let begin = self.at;
        Ok(match self.word() {
            "unknown" => CounterReset::Unknown,
            "reset" => CounterReset::Reset,
            "not_reset" => CounterReset::NotReset,
            "gauge" => CounterReset::Gauge,
            other => {
                let what = format!("`{other}` is not one of unknown, reset, not_reset, gauge");
                self.at = begin;
                return Err(self.wrong(&what));
            }
        })
    }

    fn numbers(&mut self) -> Result<Vec<f64>, ScriptError> {
        self.expect("[")?;
        let mut numbers = Vec::new();
        loop {
            self.space();
            if self.skip("]") {
                return Ok(numbers);
            }
            if numbers.len() == super::MAX_BUCKETS {
                return Err(self.wrong("more buckets than are taken"));
            }
            numbers.push(self.number()?);
        }
    }

    fn number(&mut self) -> Result<f64, ScriptError> {
        let (begin, word) = (self.at, self.word());
        let plain = word.trim_start_matches(['+', '-']);
        let named = plain.eq_ignore_ascii_case("inf") || plain.eq_ignore_ascii_case("nan");
        let numeric = named || plain.starts_with(|c: char| c.is_ascii_digit() || c == '.');
        match word.parse() {
            Ok(number) if numeric => Ok(number),
            _ => {
                self.at = begin;
                Err(self.wrong(&format!("`{word}` is not a number")))
            }
        }
    }

    fn whole<T: std::str::FromStr>(&mut self) -> Result<T, ScriptError> {
        let (begin, word) = (self.at, self.word());
        word.parse().map_err(|_| {
            self.at = begin;
            self.wrong(&format!("`{word}` is not a whole number in range"))
        })
    }

    fn word(&mut self) -> &'a str {
        let rest = &self.text[self.at..];
        let ends = |c: char| c.is_whitespace() || matches!(c, ':' | '[' | ']' | '{' | '}' | ',');
        let length = rest.find(ends).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn skip(&mut self, what: &str) -> bool {
        let found = self.text[self.at..].starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    fn expect(&mut self, what: &str) -> Result<(), ScriptError> {
        if self.skip(what) { Ok(()) } else { Err(self.wrong(&format!("`{what}` is missing"))) }
    }

    fn wrong(&self, what: &str) -> ScriptError {
        ScriptError { what: what.into(), at: self.at }
    }
}

fn side((offset, counts): (i32, Vec<f64>)) -> Buckets {
    let spans =
        if counts.is_empty() { Vec::new() } else { vec![Span { offset, length: counts.len() as u32 }] };
    Buckets { spans, counts }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let cases = [
            ("{{}}", "{{}}"),
            (" {{ sum:2  count:1e0 }} ", "{{count:1 sum:2}}"),
            (
                "{{schema:-2 sum:-Inf count:3 z_bucket:0.5 z_bucket_w:1e-7 buckets:[0 1 0 2 0] offset:-3 n_buckets:[-1 NaN] counter_reset_hint:not_reset}}",
                "{{schema:-2 count:3 sum:-Inf z_bucket:0.5 z_bucket_w:1e-07 counter_reset_hint:not_reset offset:-2 buckets:[1 0 2] n_buckets:[-1 NaN]}}",
            ),
            (
                "{{schema:-53 custom_values:[5 10] buckets:[1]}}",
                "{{schema:-53 custom_values:[5 10] buckets:[1]}}",
            ),
            ("{{counter_reset_hint:gauge}}", "{{counter_reset_hint:gauge}}"),
        ];
        for (text, expected) in cases {
            let given = Histogram::from_script(text).unwrap();
            assert_eq!(given.to_script(), expected);
            assert_eq!(Histogram::from_script(expected).unwrap().to_script(), expected);
        }
        let (histogram, rest) = Histogram::split_script("{{count:1}}+{{count:2}}x3").unwrap();
        assert_eq!((histogram.count, rest), (1.0, "+{{count:2}}x3"));
    }

    #[test]
    fn wrong_descriptions() {
        let cases = [
            ("", "`{{` is missing at byte 0"),
            ("{{", "a field's name"),
            ("{{count}}", "`:` is missing at byte 7"),
            ("{{count:x}}", "`x` is not a number at byte 8"),
            ("{{count:infinity}}", "`infinity` is not a number"),
            ("{{cuont:1}}", "`cuont` is not a field at byte 2"),
            ("{{schema:300}}", "`300` is not a whole number"),
            ("{{buckets:1}}", "`[` is missing"),
            ("{{buckets:[1}}", "`` is not a number"),
            ("{{counter_reset_hint:yes}}", "`yes` is not one of"),
            ("{{}} x", "text behind the end"),
        ];
        for (text, expected) in cases {
            let given = Histogram::from_script(text).unwrap_err().to_string();
            assert!(given.contains(expected), "{text}: {given}");
        }
    }
}
