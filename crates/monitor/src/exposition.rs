//! Reads the text exposition format, version 0.0.4 (Prometheus documentation,
//! "Exposition formats"), as `prometheus/common`'s `expfmt` does.
//!
//! The input is a stranger's: whatever it holds, the answer is samples or an
//! error with its line. Nothing is allocated for a sample; families cost an entry
//! each, and [`Limits`] bounds both.

use rustc_hash::FxHashMap;
use std::borrow::Cow;

/// What one exposition may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Samples.
    pub(crate) samples: usize,
    /// Families with `# TYPE`, `# HELP` or samples.
    pub(crate) families: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { samples: 50_000, families: 10_000 }
    }
}

/// Labels of one sample.
const MAX_LABELS: usize = 64;

/// Why an exposition was refused; whole, because half of one would look as if
/// the other half had disappeared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub(crate) struct ParseError {
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong there.
    pub(crate) what: String,
}

/// What a line says.
#[derive(Debug, PartialEq)]
pub(crate) enum Line<'a> {
    /// A sample.
    Sample(Sample<'a>),
    /// `# HELP`, escapes undone.
    Help {
        /// The family.
        name: &'a str,
        /// The text.
        text: Cow<'a, str>,
    },
    /// `# TYPE`.
    Type {
        /// The family.
        name: &'a str,
        /// `counter`, `gauge`, `histogram`, `summary` or `untyped`.
        kind: &'static str,
    },
}

/// One sample.
#[derive(Debug, PartialEq)]
pub(crate) struct Sample<'a> {
    /// Name and labels as they were written: the same text is the same series.
    pub(crate) series: &'a str,
    /// The metric's name.
    pub(crate) name: &'a str,
    /// What stands between the braces; it was checked.
    labels: &'a str,
    /// The value.
    pub(crate) value: f64,
    /// Unix milliseconds, where the target gives a time.
    pub(crate) at_ms: Option<i64>,
}

impl<'a> Sample<'a> {
    /// The labels in the order in which they were written, escapes undone.
    pub(crate) fn labels(&self) -> LabelPairs<'a> {
        LabelPairs { rest: self.labels }
    }
}

/// See [`Sample::labels`].
#[derive(Debug)]
pub(crate) struct LabelPairs<'a> {
    rest: &'a str,
}

impl<'a> Iterator for LabelPairs<'a> {
    type Item = (&'a str, Cow<'a, str>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, rest) = self.rest.split_once('=')?;
        let value = rest.trim_start_matches(blank).strip_prefix('"')?;
        let end = end_of_quoted(value)?;
        self.rest = value[end + 1..].trim_start_matches(|c| blank(c) || c == ',');
        Some((name.trim_matches(blank), unescape(&value[..end], true).ok()?))
    }
}

/// What is known of a family.
#[derive(Clone, Copy, Debug, Default)]
struct Family {
    help: bool,
    kind: Option<&'static str>,
    samples: bool,
}

/// Reads line after line.
#[derive(Debug)]
pub(crate) struct Parser<'a> {
    rest: &'a str,
    line: usize,
    limits: Limits,
    samples: usize,
    families: FxHashMap<&'a str, Family>,
    /// Samples of a family follow one another: this saves most look-ups.
    last_name: &'a str,
}

impl<'a> Parser<'a> {
    /// Over a whole body.
    pub(crate) fn new(body: &'a str, limits: Limits) -> Self {
        Self { rest: body, line: 0, limits, samples: 0, families: FxHashMap::default(), last_name: "" }
    }

    fn error<T>(&self, what: impl Into<String>) -> Result<T, ParseError> {
        Err(ParseError { line: self.line, what: what.into() })
    }

    /// The next line that says something; `None` at the end.
    pub(crate) fn next_line(&mut self) -> Result<Option<Line<'a>>, ParseError> {
        while !self.rest.is_empty() {
            self.line += 1;
            let Some(end) = memchr::memchr(b'\n', self.rest.as_bytes()) else {
                return self.error("the last line has no end: the body was cut off");
            };
            let line = self.rest[..end].trim_start_matches(blank);
            self.rest = &self.rest[end + 1..];
            if line.is_empty() {
                continue;
            }
            if let Some(comment) = line.strip_prefix('#') {
                if let Some(found) = self.comment(comment)? {
                    return Ok(Some(found));
                }
                continue;
            }
            return self.sample(line).map(Some);
        }
        Ok(None)
    }

    fn comment(&mut self, text: &'a str) -> Result<Option<Line<'a>>, ParseError> {
        // `#HELP` without a blank is a comment like any other, as is a keyword without a name.
        let Some(text) = text.strip_prefix(blank) else { return Ok(None) };
        let (keyword, rest) = word(text);
        if keyword != "HELP" && keyword != "TYPE" {
            return Ok(None);
        }
        let (name, rest) = word(rest);
        if name.is_empty() || rest.trim_matches(blank).is_empty() && keyword == "HELP" {
            return Ok(None);
        }
        if !is_metric_name(name) {
            return self.error(format!("`{}` is not a metric name", cut(name)));
        }
        let line = self.line;
        let family = self.family(name)?;
        if keyword == "HELP" {
            if std::mem::replace(&mut family.help, true) {
                return Err(ParseError { line, what: format!("a second HELP for `{}`", cut(name)) });
            }
            return match unescape(rest.trim_start_matches(blank), false) {
                Ok(text) => Ok(Some(Line::Help { name, text })),
                Err(what) => Err(ParseError { line, what }),
            };
        }
        let what = match (family.kind, family.samples) {
            (Some(_), _) => format!("a second TYPE for `{}`, or one after its samples", cut(name)),
            (None, true) => format!("TYPE for `{}` after its samples", cut(name)),
            (None, false) => {
                let kind = rest.trim_matches(blank).to_ascii_lowercase();
                const KINDS: [&str; 5] = ["counter", "gauge", "histogram", "summary", "untyped"];
                match KINDS.into_iter().find(|k| *k == kind) {
                    Some(kind) => {
                        family.kind = Some(kind);
                        return Ok(Some(Line::Type { name, kind }));
                    }
                    None => format!("`{}` is not a metric type", cut(&kind)),
                }
            }
        };
        Err(ParseError { line, what })
    }

    fn family(&mut self, name: &'a str) -> Result<&mut Family, ParseError> {
        if self.families.len() >= self.limits.families && !self.families.contains_key(name) {
            return self.error(format!("more than {} metric families", self.limits.families));
        }
        Ok(self.families.entry(name).or_default())
    }

    fn sample(&mut self, line: &'a str) -> Result<Line<'a>, ParseError> {
        if self.samples == self.limits.samples {
            return self.error(format!("more than {} samples", self.limits.samples));
        }
        self.samples += 1;
        let length = line.find(|c| blank(c) || c == '{').unwrap_or(line.len());
        let name = &line[..length];
        if !is_metric_name(name) {
            return self.error(format!("`{}` is not a metric name", cut(name)));
        }
        let mut rest = line[length..].trim_start_matches(blank);
        let mut labels = "";
        let mut series = name;
        if let Some(inside) = rest.strip_prefix('{') {
            let end = self.check_labels(name, inside)?;
            labels = inside[..end].trim_start_matches(blank);
            rest = &inside[end + 1..];
            series = &line[..line.len() - rest.len()];
        }
        let (value, rest) = word(rest);
        let Ok(value) = value.parse::<f64>() else {
            return self.error(format!("`{}` is not a value", cut(value)));
        };
        let (time, rest) = word(rest);
        let at_ms = match time {
            "" => None,
            text => match text.parse::<i64>() {
                Ok(at_ms) => Some(at_ms),
                Err(_) => return self.error(format!("`{}` is not a time in milliseconds", cut(text))),
            },
        };
        if !rest.trim_matches(blank).is_empty() {
            return self.error(format!("`{}` after the time", cut(rest.trim_matches(blank))));
        }
        if name != self.last_name {
            self.last_name = name;
            self.family(name)?.samples = true;
            // TYPE of a histogram comes before its buckets, sum and count, too.
            for suffix in ["_bucket", "_sum", "_count"] {
                if let Some(family) = name.strip_suffix(suffix).and_then(|base| self.families.get_mut(base)) {
                    family.samples = true;
                }
            }
        }
        Ok(Line::Sample(Sample { series, name, labels, value, at_ms }))
    }

    /// Checks `a="b",c="d"}…` and gives the closing brace's place.
    fn check_labels(&self, metric: &str, text: &'a str) -> Result<usize, ParseError> {
        let mut names = [""; MAX_LABELS];
        let mut count = 0;
        let mut rest = text.trim_start_matches(blank);
        loop {
            if rest.starts_with('}') {
                return Ok(text.len() - rest.len());
            }
            let Some((name, after)) = rest.split_once('=') else {
                return self.error("labels without `=` or without an end");
            };
            let name = name.trim_end_matches(blank);
            if !is_label_name(name) || name == "__name__" {
                return self.error(format!("`{}` is not a label name", cut(name)));
            }
            if names[..count].contains(&name) {
                return self.error(format!("label `{}` twice", cut(name)));
            }
            if count == MAX_LABELS {
                return self.error(format!("more than {MAX_LABELS} labels"));
            }
            names[count] = name;
            count += 1;
            let Some(value) = after.trim_start_matches(blank).strip_prefix('"') else {
                return self.error(format!("the value of label `{}` is not in quotes", cut(name)));
            };
            let Some(end) = end_of_quoted(value) else {
                return self.error(format!("the value of label `{}` has no end", cut(name)));
            };
            let value_text = match unescape(&value[..end], true) {
                Ok(text) => text,
                Err(what) => return self.error(what),
            };
            self.check_bound(metric, name, &value_text)?;
            rest = value[end + 1..].trim_start_matches(blank);
            match rest.strip_prefix(',') {
                Some(more) => rest = more.trim_start_matches(blank),
                None if rest.starts_with('}') => {}
                None => {
                    return self.error(format!("`{}` after the value of label `{}`", cut(rest), cut(name)));
                }
            }
        }
    }

    /// A histogram's `le` and a summary's `quantile` are numbers.
    fn check_bound(&self, metric: &str, label: &str, value: &str) -> Result<(), ParseError> {
        let family = match label {
            "le" => metric.strip_suffix("_bucket").map(|base| (base, "histogram")),
            "quantile" => Some((metric, "summary")),
            _ => None,
        };
        let Some((base, kind)) = family else { return Ok(()) };
        let typed = self.families.get(base).is_some_and(|f| f.kind == Some(kind));
        if typed && value.parse::<f64>().is_err() {
            return self.error(format!(
                "`{label}` of {kind} `{}` is not a number: `{}`",
                cut(base),
                cut(value)
            ));
        }
        Ok(())
    }
}

fn blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// The first word, and what follows.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start_matches(blank);
    let end = text.find(blank).unwrap_or(text.len());
    text.split_at(end)
}

/// For a message.
fn cut(text: &str) -> String {
    text.chars().take(60).flat_map(char::escape_debug).collect()
}

fn is_metric_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_' || b == b':')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
}

fn is_label_name(text: &str) -> bool {
    is_metric_name(text) && !text.contains(':')
}

/// Where the closing quote is.
fn end_of_quoted(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut from = 0;
    loop {
        let at = from + memchr::memchr2(b'"', b'\\', &bytes[from..])?;
        if bytes[at] == b'"' {
            return Some(at);
        }
        from = at + 2;
        if from > bytes.len() {
            return None;
        }
    }
}

/// `\\`, `\n` and, in label values, `\"`; a label value with another escape is refused.
fn unescape(text: &str, label: bool) -> Result<Cow<'_, str>, String> {
    if !text.contains('\\') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('\\') => out.push('\\'),
            Some('n') => out.push('\n'),
            Some('"') if label => out.push('"'),
            Some(other) if label => return Err(format!("`\\{}` is not an escape", other.escape_debug())),
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    Ok(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Vec<String>, ParseError> {
        let mut parser = Parser::new(body, Limits { samples: 100, families: 100 });
        let mut out = Vec::new();
        while let Some(line) = parser.next_line()? {
            out.push(match line {
                Line::Sample(s) => {
                    let labels: Vec<String> = s.labels().map(|(n, v)| format!("{n}={v:?}")).collect();
                    format!("{} [{}] {} {:?}", s.name, labels.join(" "), s.value, s.at_ms)
                }
                Line::Help { name, text } => format!("help {name} {text:?}"),
                Line::Type { name, kind } => format!("type {name} {kind}"),
            });
        }
        Ok(out)
    }

    #[test]
    fn what_exporters_write() {
        let cases: &[(&str, &[&str])] = &[
            ("", &[]),
            ("\n\n", &[]),
            ("m{} 0\n", &["m [] 0 None"]),
            ("m -3e3 103948\n", &["m [] -3000 Some(103948)"]),
            ("m +Inf -1\n", &["m [] inf Some(-1)"]),
            ("m NaN\n", &["m [] NaN None"]),
            ("m{a=\"x\\\"y\\\\z\\nw\",b=\"}{,\"} 1\n", &[r#"m [a="x\"y\\z\nw" b="}{,"] 1 None"#]),
            ("name2{ labelname = \"val1\" , }-Inf\n", &["name2 [labelname=\"val1\"] -inf None"]),
            (
                "n2{labelname=\"val2\"\t,b   =   \"v\"\t\t} 5 6\n",
                &["n2 [labelname=\"val2\" b=\"v\"] 5 Some(6)"],
            ),
            ("# HELP name two-line\\n doc  str\\\\ing\n", &[r#"help name "two-line\n doc  str\\ing""#]),
            ("  #    TYPE    name2 gauge\n", &["type name2 gauge"]),
            ("# just words\n#\n# HELP\n# HELP \n#HELP a b\n", &[]),
            (
                "# TYPE h histogram\nh_bucket{le=\"+Inf\"} 2\nh_sum 1\nh_count 2\n",
                &[
                    "type h histogram",
                    "h_bucket [le=\"+Inf\"] 2 None",
                    "h_sum [] 1 None",
                    "h_count [] 2 None",
                ],
            ),
        ];
        for (body, expected) in cases {
            assert_eq!(read(body).unwrap(), *expected, "{body:?}");
        }
    }

    #[test]
    fn the_same_text_is_the_same_series() {
        let mut parser = Parser::new("m {a=\"b\"} 1\nm 2\n", Limits::default());
        let mut series = Vec::new();
        while let Some(Line::Sample(sample)) = parser.next_line().unwrap() {
            series.push(sample.series);
        }
        assert_eq!(series, ["m {a=\"b\"}", "m"]);
    }

    #[test]
    fn what_is_wrong_says_where() {
        let cases = [
            ("a 1\nbla 3.14", "line 2: the last line has no end"),
            ("m{label=\"\\t\"} 3.14\n", "line 1: `\\t` is not an escape"),
            ("m{label=\"new\nline\"} 3.14\n", "line 1: the value of label `label` has no end"),
            ("m{@=\"bla\"} 3\n", "`@` is not a label name"),
            ("m{__name__=\"bla\"} 3\n", "`__name__` is not a label name"),
            ("m{label=bla} 3\n", "not in quotes"),
            ("m{label=\"bla\"+} 3\n", "after the value of label `label`"),
            ("m{label=\"bla\" 3\n", "after the value"),
            ("m{a=\"1\",a=\"2\"} 3\n", "label `a` twice"),
            ("m 3.14 2.72\n", "`2.72` is not a time"),
            ("m 3.14 2 3\n", "`3` after the time"),
            ("m blubb\n", "`blubb` is not a value"),
            ("m\n", "`` is not a value"),
            ("# HELP m one\n# HELP m two\n", "line 2: a second HELP"),
            ("# TYPE m counter\n# TYPE m untyped\n", "line 2: a second TYPE"),
            ("m 4\n# TYPE m counter\n", "line 2: TYPE for `m` after its samples"),
            ("# TYPE m bla\n", "`bla` is not a metric type"),
            ("# TYPE met-ric\n", "`met-ric` is not a metric name"),
            ("# TYPE m histogram\nm_bucket{le=\"bla\"} 3\n", "`le` of histogram `m` is not a number"),
            ("# TYPE m summary\nm{quantile=\"bla\"} 3\n", "`quantile` of summary `m`"),
            ("{label=\"bla\"} 3\n", "is not a metric name"),
            ("м 1\n", "is not a metric name"),
            ("m{a=\"\\", "no end"),
            ("m{a=\"\\\n", "has no end"),
        ];
        for (body, expected) in cases {
            let error = read(body).unwrap_err().to_string();
            assert!(error.contains(expected), "{body:?}: {error}");
        }
    }

    #[test]
    fn samples_families_and_labels_are_bounded() {
        let samples = "m 1\n".repeat(101);
        assert!(read(&samples).unwrap_err().what.contains("more than 100 samples"));
        let families: String = (0..101).map(|i| format!("# TYPE m{i} gauge\n")).collect();
        assert!(read(&families).unwrap_err().what.contains("more than 100 metric families"));
        let labels: String = (0..65).map(|i| format!("l{i}=\"\",")).collect();
        assert!(read(&format!("m{{{labels}}} 1\n")).unwrap_err().what.contains("more than 64 labels"));
    }

    /// No input may panic; seeds are the case's number.
    #[test]
    fn hostile_bytes() {
        let alphabet: Vec<char> = "m{}=\",\\ \n\t#1a.eTYPEHELP_é+-\r\0".chars().collect();
        for seed in 0..20_000u64 {
            let mut state = seed;
            let body: String = (0..40)
                .map(|_| {
                    state =
                        state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    alphabet[(state >> 33) as usize % alphabet.len()]
                })
                .collect();
            let _ = read(&body);
        }
    }

    /// `prometheus/common`'s own corpus, where it exists.
    #[test]
    fn expfmts_corpus() {
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/testdata/expfmt/expfmt");
        let Ok(entries) = std::fs::read_dir(format!("{root}/fuzz/corpus")) else {
            println!("expfmt's corpus is not here: not checked");
            return;
        };
        let mut checked = 0;
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let body = std::fs::read_to_string(entry.path()).unwrap();
            let result = read(&body);
            assert_eq!(result.is_err(), name.contains("error"), "{name}: {result:?}");
            checked += 1;
        }
        assert!(checked >= 20, "{checked}");
        let text = std::fs::read_to_string(format!("{root}/testdata/text")).unwrap();
        let mut parser = Parser::new(&text, Limits::default());
        let mut samples = 0;
        while let Some(line) = parser.next_line().unwrap() {
            samples += usize::from(matches!(line, Line::Sample(_)));
        }
        let lines = text.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).count();
        assert_eq!(samples, lines);
    }
}
