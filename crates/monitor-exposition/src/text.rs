//! Both text formats, read line by line.
//!
//! The text format 0.0.4 takes blanks nearly everywhere; OpenMetrics has exactly
//! one space where its ABNF says so. Names in quotes are Prometheus 3's
//! ("UTF-8 names"): `{"my.name","my.label"="value"} 1`.

mod meta;

use crate::labels::{LabelPairs, Number, unescape};
use crate::number::{parse_float, parse_integer, parse_seconds};
use crate::parser::{Limits, ParseError, Place, cut};
use crate::{Entry, ExemplarRef, Sample};
use monitor_model::{METRIC_NAME, MetricType};
use std::borrow::Cow;

/// Reads text.
#[derive(Debug)]
pub(crate) struct TextParser<'b> {
    body: &'b str,
    at: usize,
    line: u64,
    open_metrics: bool,
    /// Only what the grammar has.
    pub(crate) strict: bool,
    limits: Limits,
    samples: u64,
    /// The last `# TYPE`: whose, and which.
    family: Cow<'b, str>,
    kind: MetricType,
    /// Where this sample's label names are.
    names: Vec<(usize, usize)>,
    /// The sample of the line that was read, in the place from which it is given out.
    sample: Sample<'b>,
    ended: bool,
    /// The last name that was read: the next one is often the same.
    last: &'b str,
}

/// What a line told.
enum Told<'b> {
    Nothing,
    /// It is in the parser's `sample`.
    Sample,
    Metadata(Entry<'b>),
}

/// What is wrong, and at which byte of the line (counted from 0).
type Wrong = (usize, String);

/// What a byte may be part of.
const NAME: u8 = 1;
const LABEL: u8 = 2;
const DIGIT: u8 = 4;
const CLASS: [u8; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = if b.is_ascii_alphabetic() || b == b'_' {
            NAME | LABEL
        } else if b == b':' {
            NAME
        } else if b.is_ascii_digit() {
            NAME | LABEL | DIGIT
        } else {
            0
        };
        byte += 1;
    }
    table
};

/// The end of a name that begins at `from`; `from` where there is none.
#[inline]
fn name_end(line: &[u8], from: usize, class: u8) -> usize {
    if line.get(from).is_none_or(|b| CLASS[usize::from(*b)] & DIGIT != 0) {
        return from;
    }
    let mut at = from;
    while line.get(at).is_some_and(|b| CLASS[usize::from(*b)] & class != 0) {
        at += 1;
    }
    at
}

#[inline]
fn skip_blanks(line: &[u8], mut at: usize) -> usize {
    while matches!(line.get(at), Some(b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// The end of a word: the next blank.
#[inline]
fn word_end(line: &[u8], mut at: usize) -> usize {
    while line.get(at).is_some_and(|b| !matches!(b, b' ' | b'\t')) {
        at += 1;
    }
    at
}

/// Where the quote is that closes what begins at `from`.
#[inline]
fn quote_end(line: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match line.get(at)? {
            b'"' => return Some(at),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

impl<'b> TextParser<'b> {
    pub(crate) fn new(body: &'b [u8], open_metrics: bool, limits: Limits) -> Result<Self, ParseError> {
        let body = std::str::from_utf8(body).map_err(|error| {
            let before = &body[..error.valid_up_to()];
            let line = memchr::memchr_iter(b'\n', before).count() as u64 + 1;
            let column = before.len() - memchr::memrchr(b'\n', before).map_or(0, |at| at + 1) + 1;
            ParseError { place: Place::Text { line, column }, what: "not UTF-8".to_owned() }
        })?;
        Ok(Self {
            body,
            at: 0,
            line: 0,
            open_metrics,
            strict: false,
            limits,
            samples: 0,
            family: Cow::Borrowed(""),
            kind: MetricType::Unknown,
            names: Vec::new(),
            sample: Sample {
                key: &[],
                name: Cow::Borrowed(""),
                labels: LabelPairs::text("", Number::None),
                value: 0.0,
                at_ms: None,
                start_ms: 0,
                exemplar: None,
            },
            ended: false,
            last: "",
        })
    }

    pub(crate) fn place(&self) -> Place {
        Place::Text { line: self.line, column: 1 }
    }

    fn error(&self, (at, what): Wrong) -> ParseError {
        ParseError { place: Place::Text { line: self.line, column: at + 1 }, what }
    }

    pub(crate) fn next_entry(&mut self) -> Result<Option<Entry<'b>>, ParseError> {
        while self.at < self.body.len() && !self.ended {
            self.line += 1;
            let rest = &self.body[self.at..];
            let line = match memchr::memchr(b'\n', rest.as_bytes()) {
                Some(end) => {
                    self.at += end + 1;
                    &rest[..end]
                }
                None => {
                    self.at = self.body.len();
                    let may_end_so = if self.open_metrics { rest == "# EOF" } else { !self.strict };
                    if !may_end_so {
                        let what = "the last line has no end; hint: was the body cut off?".to_owned();
                        return Err(self.error((rest.len(), what)));
                    }
                    rest
                }
            };
            match self.take_line(line) {
                Ok(Told::Nothing) => {}
                Ok(Told::Sample) => {
                    let Sample { key, labels, value, at_ms, start_ms, exemplar, .. } = self.sample;
                    let name = std::mem::take(&mut self.sample.name);
                    let sample = Sample { key, name, labels, value, at_ms, start_ms, exemplar };
                    return Ok(Some(Entry::Sample(sample)));
                }
                Ok(Told::Metadata(entry)) => return Ok(Some(entry)),
                Err(wrong) => return Err(self.error(wrong)),
            }
        }
        if self.open_metrics && !self.ended {
            self.line += 1;
            let what = "the body ends without `# EOF`; hint: was it cut off?".to_owned();
            return Err(self.error((0, what)));
        }
        Ok(None)
    }

    #[inline]
    fn take_line(&mut self, line: &'b str) -> Result<Told<'b>, Wrong> {
        let bytes = line.as_bytes();
        let start = if self.open_metrics { 0 } else { skip_blanks(bytes, 0) };
        match bytes.get(start) {
            None if self.open_metrics => Err((0, "a blank line".to_owned())),
            None => Ok(Told::Nothing),
            Some(b'#') => {
                let entry = match self.open_metrics {
                    true => self.open_metrics_comment(line)?,
                    false => self.text_comment(line, start + 1)?,
                };
                Ok(entry.map_or(Told::Nothing, Told::Metadata))
            }
            Some(_) => self.take_sample(line, start).map(|()| Told::Sample),
        }
    }

    fn take_sample(&mut self, line: &'b str, start: usize) -> Result<(), Wrong> {
        if self.samples == self.limits.samples {
            return Err((start, format!("more than {} samples", self.limits.samples)));
        }
        self.samples += 1;
        let bytes = line.as_bytes();
        let name_end = self.metric_name_end(line, start);
        let mut name = Cow::Borrowed(&line[start..name_end]);
        let mut at = if self.open_metrics { name_end } else { skip_blanks(bytes, name_end) };
        let mut key_end = name_end;
        let mut inside = "";
        if bytes.get(at) == Some(&b'{') {
            let (end, quoted) = self.labels(line, at + 1, false)?;
            inside = &line[at + 1..end];
            key_end = end + 1;
            at = key_end;
            match quoted {
                Some(_) if !name.is_empty() => {
                    return Err((start, format!("metric `{}` has a second name in its braces", cut(&name))));
                }
                Some((from, to)) => name = unescape(&line[from..to]),
                None => {}
            }
        } else if name_end < bytes.len() && at == name_end && !matches!(bytes[at], b' ' | b'\t') {
            return Err((at, self.not_in_a_name(line, at)));
        }
        if name.is_empty() {
            return Err((start, "a sample without a metric's name".to_owned()));
        }
        let number = match self.kind {
            MetricType::Histogram | MetricType::GaugeHistogram => Number::Le,
            MetricType::Summary => Number::Quantile,
            _ => Number::None,
        };
        let number = if name.starts_with(&*self.family) { number } else { Number::None };
        let key = &bytes[start..key_end];
        let labels = LabelPairs::text(inside, number);

        at = self.gap(bytes, at, "the value")?;
        let end = word_end(bytes, at);
        let value = parse_float(&bytes[at..end])
            .ok_or_else(|| (at, format!("`{}` is not a value", cut(&line[at..end]))))?;
        let (at_ms, exemplar) = if self.open_metrics {
            self.open_metrics_tail(line, end)?
        } else {
            (Self::text_tail(line, end)?, None)
        };
        self.sample = Sample { key, name, labels, value, at_ms, start_ms: 0, exemplar };
        Ok(())
    }

    /// The end of a metric's name that begins at `start`.
    #[inline]
    fn metric_name_end(&mut self, line: &'b str, start: usize) -> usize {
        let bytes = line.as_bytes();
        let same = start + self.last.len();
        if matches!(bytes.get(same), Some(b'{' | b' '))
            && bytes[start..].starts_with(self.last.as_bytes())
            && same > start
        {
            return same;
        }
        let end = name_end(bytes, start, NAME);
        self.last = &line[start..end];
        end
    }

    fn not_in_a_name(&self, line: &str, at: usize) -> String {
        let found: String = line[at..].chars().take(1).collect();
        format!(
            "`{}` cannot stand in a metric's name; hint: put such a name in quotes, within the braces",
            cut(&found)
        )
    }

    /// Between two parts of a line.
    fn gap(&self, line: &[u8], at: usize, before: &str) -> Result<usize, Wrong> {
        if !self.open_metrics {
            return Ok(skip_blanks(line, at));
        }
        match (line.get(at), line.get(at + 1)) {
            (Some(b' '), Some(b' ' | b'\t')) => Err((at + 1, format!("more than one space before {before}"))),
            (Some(b' '), Some(_)) => Ok(at + 1),
            (Some(b' '), None) | (None, _) => Err((at, format!("the line ends before {before}"))),
            (Some(_), _) => Err((at, format!("no space before {before}"))),
        }
    }

    fn text_tail(line: &str, at: usize) -> Result<Option<i64>, Wrong> {
        let bytes = line.as_bytes();
        let at = skip_blanks(bytes, at);
        if at == bytes.len() {
            return Ok(None);
        }
        let end = word_end(bytes, at);
        let Some(at_ms) = parse_integer(&bytes[at..end]) else {
            return Err((at, format!("`{}` is not a time in whole milliseconds", cut(&line[at..end]))));
        };
        let after = skip_blanks(bytes, end);
        if after < bytes.len() {
            return Err((after, format!("`{}` after the time", cut(&line[after..]))));
        }
        Ok(Some(at_ms))
    }

    /// `[SP timestamp] [exemplar]`
    fn open_metrics_tail(
        &mut self,
        line: &'b str,
        mut at: usize,
    ) -> Result<(Option<i64>, Option<ExemplarRef<'b>>), Wrong> {
        let bytes = line.as_bytes();
        let mut at_ms = None;
        if at < bytes.len() && !line[at..].starts_with(" # ") {
            (at_ms, at) = self.time(line, at)?;
        }
        if at == bytes.len() {
            return Ok((at_ms, None));
        }
        // exemplar = SP HASH SP labels SP number [SP timestamp]
        if !line[at..].starts_with(" # {") {
            return Err((
                at,
                format!("`{}` where an exemplar, ` # {{…}} value`, could be", cut(&line[at..])),
            ));
        }
        let from = at + 4;
        let (end, _) = self.labels(line, from, true)?;
        let labels = LabelPairs::text(&line[from..end], Number::None);
        at = self.gap(bytes, end + 1, "the exemplar's value")?;
        let end = word_end(bytes, at);
        let value = parse_float(&bytes[at..end])
            .ok_or_else(|| (at, format!("`{}` is not an exemplar's value", cut(&line[at..end]))))?;
        let mut exemplar = ExemplarRef { labels, value, at_ms: None };
        if end < bytes.len() {
            let after;
            (exemplar.at_ms, after) = self.time(line, end)?;
            if after < bytes.len() {
                return Err((after, format!("`{}` after the exemplar", cut(&line[after..]))));
            }
        }
        Ok((at_ms, Some(exemplar)))
    }

    /// `SP timestamp`, in seconds.
    fn time(&self, line: &str, at: usize) -> Result<(Option<i64>, usize), Wrong> {
        let bytes = line.as_bytes();
        let at = self.gap(bytes, at, "the time")?;
        let end = word_end(bytes, at);
        match parse_seconds(&bytes[at..end]) {
            Some(at_ms) => Ok((Some(at_ms), end)),
            None => Err((at, format!("`{}` is not a time in seconds", cut(&line[at..end])))),
        }
    }

    /// Checks `a="b",c="d"}` and gives the closing brace's place, and that of a
    /// metric's name in quotes.
    fn labels(
        &mut self,
        line: &str,
        from: usize,
        exemplar: bool,
    ) -> Result<(usize, Option<(usize, usize)>), Wrong> {
        let bytes = line.as_bytes();
        let open_metrics = self.open_metrics;
        let blanks = |at: usize| if open_metrics { at } else { skip_blanks(bytes, at) };
        self.names.clear();
        let mut seen = 0u64;
        let mut metric = None;
        let mut at = blanks(from);
        if bytes.get(at) == Some(&b'}') {
            return Ok((at, None));
        }
        loop {
            let (start, end, after) = self.label_name(line, at)?;
            at = blanks(after);
            let quoted = after > end;
            match bytes.get(at) {
                Some(b'=') => {
                    self.note_name(line, start, end, &mut seen)?;
                    at = blanks(at + 1);
                    if bytes.get(at) != Some(&b'"') {
                        let name = cut(&line[start..end]);
                        return Err((at, format!("the value of label `{name}` is not in double quotes")));
                    }
                    let Some(close) = quote_end(bytes, at + 1) else {
                        return Err((
                            at,
                            format!("the value of label `{}` has no end", cut(&line[start..end])),
                        ));
                    };
                    if self.strict && !self.open_metrics {
                        known_escapes(&line[at + 1..close])
                            .map_err(|(place, what)| (at + 1 + place, what))?;
                    }
                    at = blanks(close + 1);
                }
                Some(b',' | b'}') if quoted && !exemplar => {
                    if metric.replace((start, end)).is_some() {
                        return Err((start, "a second metric's name in the braces".to_owned()));
                    }
                }
                Some(_) => return Err((at, format!("no `=` after the label `{}`", cut(&line[start..end])))),
                None => return Err((at, "the labels have no end".to_owned())),
            }
            match bytes.get(at) {
                Some(b'}') => return Ok((at, metric)),
                Some(b',') => at = blanks(at + 1),
                Some(_) => {
                    return Err((
                        at,
                        format!("`{}` between labels, where `,` or `}}` could be", cut(&line[at..])),
                    ));
                }
                None => return Err((at, "the labels have no end".to_owned())),
            }
            // Prometheus takes a comma at the end; OpenMetrics' grammar does not.
            if bytes.get(at) == Some(&b'}') && !(self.strict && self.open_metrics) {
                return Ok((at, metric));
            }
        }
    }

    /// A label's name: its start and end without quotes, and what follows.
    fn label_name(&self, line: &str, at: usize) -> Result<(usize, usize, usize), Wrong> {
        let bytes = line.as_bytes();
        if bytes.get(at) == Some(&b'"') {
            if self.strict && self.open_metrics {
                return Err((at, "a name in quotes, which OpenMetrics 1.0 does not have".to_owned()));
            }
            return match quote_end(bytes, at + 1) {
                Some(end) if end > at + 1 => Ok((at + 1, end, end + 1)),
                Some(_) => Err((at, "an empty name".to_owned())),
                None => Err((at, "a name in quotes has no end".to_owned())),
            };
        }
        let end = name_end(bytes, at, LABEL);
        if end == at {
            let what = match at == bytes.len() {
                true => "the labels have no end".to_owned(),
                false => format!("`{}` is not a label's name", cut(&line[at..word_end(bytes, at)])),
            };
            return Err((at, what));
        }
        Ok((at, end, end))
    }

    /// A label's name stands once.
    #[inline]
    fn note_name(&mut self, line: &str, start: usize, end: usize, seen: &mut u64) -> Result<(), Wrong> {
        if self.names.len() == self.limits.labels {
            return Err((start, format!("more than {} labels", self.limits.labels)));
        }
        let bytes = line.as_bytes();
        let name = &bytes[start..end];
        // Most names differ in this already, and need no comparison.
        let bit =
            1 << ((usize::from(name[0]) ^ usize::from(name[name.len() - 1]) << 1 ^ name.len() << 3) & 63);
        if *seen & bit != 0 && self.names.iter().any(|(from, to)| &bytes[*from..*to] == name) {
            return Err((start, format!("label `{}` stands twice", cut(&line[start..end]))));
        }
        *seen |= bit;
        if name == METRIC_NAME.as_bytes() {
            return Err((
                start,
                format!("`{METRIC_NAME}` as a label; hint: the metric's name stands before the braces"),
            ));
        }
        self.names.push((start, end));
        Ok(())
    }
}

/// `\\`, `\"` and `\n` are all there are in the text format's label values.
fn known_escapes(value: &str) -> Result<(), Wrong> {
    let bytes = value.as_bytes();
    let mut from = 0;
    while let Some(at) = memchr::memchr(b'\\', &bytes[from..]) {
        let at = from + at;
        if !matches!(bytes.get(at + 1), Some(b'\\' | b'"' | b'n')) {
            let escape: String = value[at..].chars().take(2).collect();
            return Err((at, format!("`{}` is not an escape", cut(&escape))));
        }
        from = at + 2;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
