//! Reading a script.

use super::values::{Value, duration, number, start_timestamps, values};
use crate::{Labels, Query, parse_selector};
use regex::Regex;
use std::sync::LazyLock;

/// A block of a script: a command and its lines.
pub(super) enum Block {
    Clear,
    Load(Load),
    Eval(Box<Eval>),
}

pub(super) struct Load {
    pub(super) step_ms: i64,
    /// Classic histograms become native ones too.
    pub(super) with_histograms: bool,
    pub(super) series: Vec<LoadSeries>,
}

pub(super) struct LoadSeries {
    pub(super) labels: Labels,
    pub(super) values: Vec<Value>,
    /// How far from each sample its start timestamp is, in milliseconds.
    pub(super) starts: Vec<Option<i64>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) step_ms: i64,
}

pub(super) struct Eval {
    pub(super) line: usize,
    pub(super) query: String,
    pub(super) at_ms: i64,
    /// Of a range query.
    pub(super) range: Option<Range>,
    pub(super) expects: Vec<Expect>,
    pub(super) expected: Vec<(Labels, Vec<Value>)>,
    pub(super) expected_scalar: Option<f64>,
    pub(super) expected_string: Option<String>,
    /// The times of the points that an instant query for a range must give.
    pub(super) range_vector: Option<Range>,
}

pub(super) enum Expect {
    Fail(Note),
    Warn(Note),
    Info(Note),
    NoWarn,
    NoInfo,
    Ordered,
}

#[derive(Debug)]
pub(super) enum Note {
    Any,
    Message(String),
    Pattern(String),
}

impl Eval {
    pub(super) fn fails(&self) -> bool {
        self.expects.iter().any(|e| matches!(e, Expect::Fail(_)))
    }

    pub(super) fn ordered(&self) -> bool {
        self.expects.iter().any(|e| matches!(e, Expect::Ordered))
    }
}

/// A line number and what is wrong there.
type Wrong = (usize, String);

static INSTANT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(\S+)\s+)?(.+)$").ok()
});
static RANGE: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(\S+)\s+to\s+(\S+)\s+step\s+(\S+)\s+(.+)$").ok()
});

/// The blocks of a script, in order.
pub(super) fn blocks(text: &str) -> Vec<Result<Block, Wrong>> {
    let lines: Vec<&str> =
        text.lines().map(str::trim).map(|line| if line.starts_with('#') { "" } else { line }).collect();
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        if lines[at].is_empty() {
            at += 1;
            continue;
        }
        let (number, first) = (at + 1, lines[at]);
        at += 1;
        // `clear` has no lines of its own, so that what follows it at once is a block.
        let length = match first {
            "clear" => 0,
            _ => lines[at..].iter().take_while(|line| !line.is_empty()).count(),
        };
        let body = &lines[at..at + length];
        at += length;
        blocks.push(block(number, first, body));
    }
    blocks
}

fn block(number: usize, first: &str, body: &[&str]) -> Result<Block, Wrong> {
    match first.split_whitespace().next().unwrap_or_default() {
        "clear" => Ok(Block::Clear),
        "load" | "load_with_nhcb" => load(number, first, body).map(Block::Load),
        word if word.starts_with("eval") => eval(number, first, body).map(|eval| Block::Eval(Box::new(eval))),
        word => Err((number, format!("`{word}` is not a command"))),
    }
}

fn load(number: usize, first: &str, body: &[&str]) -> Result<Load, Wrong> {
    let mut words = first.split_whitespace();
    let with_histograms = words.next() == Some("load_with_nhcb");
    let step_ms = words.next().and_then(duration).ok_or((number, "no step to load with".to_owned()))?;
    if let Some(word) = words.next() {
        return Err((number, format!("`{word}` behind the step is not known")));
    }
    let mut series = Vec::new();
    let mut starts: Option<(Labels, Vec<Option<i64>>)> = None;
    for (line, text) in (number + 1..).zip(body) {
        let wrong = |why: String| (line, why);
        let end = metric_end(text);
        let (metric, rest) = text.split_at(end);
        if let Some(metric) = metric.trim().strip_suffix("@st") {
            starts = Some((labels(metric.trim()).map_err(wrong)?, start_timestamps(rest).map_err(wrong)?));
            continue;
        }
        let (labels, values) = series_line(text).map_err(wrong)?;
        let starts = match starts.take() {
            Some((of, starts)) if of == labels => starts,
            Some((of, _)) => {
                return Err((line, format!("start timestamps of {of} stand before another series")));
            }
            None => Vec::new(),
        };
        series.push(LoadSeries { labels, values, starts });
    }
    Ok(Load { step_ms, with_histograms, series })
}

fn eval(number: usize, first: &str, body: &[&str]) -> Result<Eval, Wrong> {
    let wrong = |why: &str| (number, why.to_owned());
    let instant = INSTANT.as_ref().and_then(|r| r.captures(first));
    let range = RANGE.as_ref().and_then(|r| r.captures(first));
    let mut eval = Eval {
        line: number,
        query: String::new(),
        at_ms: 0,
        range: None,
        expects: Vec::new(),
        expected: Vec::new(),
        expected_scalar: None,
        expected_string: None,
        range_vector: None,
    };
    let form = if let Some(parts) = instant {
        eval.at_ms = match parts.get(2) {
            Some(at) => duration(at.as_str()).ok_or(wrong("the time is not a duration"))?,
            None => 0,
        };
        eval.query = parts[3].to_owned();
        parts.get(1).map(|form| form.as_str().to_owned())
    } else if let Some(parts) = range {
        eval.range = Some(times(&parts[2], &parts[3], &parts[4]).ok_or(wrong("the range is not one"))?);
        eval.query = parts[5].to_owned();
        parts.get(1).map(|form| form.as_str().to_owned())
    } else {
        return Err(wrong("not `eval instant at …` nor `eval range from … to … step …`"));
    };
    match form.as_deref() {
        Some("fail") => eval.expects.push(Expect::Fail(Note::Any)),
        Some("warn") => eval.expects.push(Expect::Warn(Note::Any)),
        Some("info") => eval.expects.push(Expect::Info(Note::Any)),
        Some("ordered") => eval.expects.push(Expect::Ordered),
        _ => {}
    }
    for (line, text) in (number + 1..).zip(body) {
        eval_line(&mut eval, text).map_err(|why| (line, why))?;
    }
    Ok(eval)
}

fn eval_line(eval: &mut Eval, text: &str) -> Result<(), String> {
    if let Some(times_text) = text.strip_prefix("expect range vector from ") {
        let words: Vec<&str> = times_text.split_whitespace().collect();
        let [start, "to", end, "step", step] = words[..] else { return Err("not a range".into()) };
        eval.range_vector = Some(times(start, end, step).ok_or("not a range")?);
    } else if let Some(quoted) = text.strip_prefix("expect string ") {
        eval.expected_string = Some(unquote(quoted).ok_or("not a quoted text")?);
    } else if let Some(rest) = text.strip_prefix("expect ") {
        eval.expects.push(expect(rest)?);
    } else if let Some(message) = text.strip_prefix("expected_fail_message") {
        eval.expects.push(Expect::Fail(Note::Message(message.trim().into())));
    } else if let Some(pattern) = text.strip_prefix("expected_fail_regexp") {
        eval.expects.push(Expect::Fail(Note::Pattern(pattern.trim().into())));
    } else if let Some(number) = number(text) {
        eval.expected_scalar = Some(number);
    } else {
        eval.expected.push(series_line(text)?);
    }
    Ok(())
}

fn expect(text: &str) -> Result<Expect, String> {
    let (kind, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    let note = if let Some(message) = rest.strip_prefix("msg:") {
        Note::Message(message.trim().into())
    } else if let Some(pattern) = rest.strip_prefix("regex:") {
        Note::Pattern(pattern.trim().into())
    } else {
        Note::Any
    };
    Ok(match kind {
        "fail" => Expect::Fail(note),
        "warn" => Expect::Warn(note),
        "info" => Expect::Info(note),
        "no_warn" => Expect::NoWarn,
        "no_info" => Expect::NoInfo,
        "ordered" => Expect::Ordered,
        other => return Err(format!("`expect {other}` is unknown")),
    })
}

fn times(start: &str, end: &str, step: &str) -> Option<Range> {
    Some(Range { start_ms: duration(start)?, end_ms: duration(end)?, step_ms: duration(step)? })
}

fn unquote(text: &str) -> Option<String> {
    Query::parse(text).ok()?.literal().map(str::to_owned)
}

/// `metric{a="b"} 1 2 3`.
fn series_line(text: &str) -> Result<(Labels, Vec<Value>), String> {
    let end = metric_end(text);
    let labels = labels(text[..end].trim())?;
    Ok((labels, values(&text[end..])?))
}

/// Where the metric's name and labels end.
fn metric_end(text: &str) -> usize {
    let (mut depth, mut quote, mut escaped) = (0, None, false);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(_), _) if escaped => escaped = false,
            (Some('"' | '\''), '\\') => escaped = true,
            (Some(q), c) if c == q => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'' | '`') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') => depth -= 1,
            (None, c) if c.is_whitespace() && depth == 0 => {
                let next = text[at..].trim_start();
                // `{{` begins a histogram, not labels.
                if !next.starts_with('{') || next.starts_with("{{") {
                    return at;
                }
            }
            _ => {}
        }
    }
    text.len()
}

fn labels(metric: &str) -> Result<Labels, String> {
    if metric == "{}" {
        return Ok(Labels::empty());
    }
    let matchers = parse_selector(metric).map_err(|error| error.to_string())?;
    Ok(Labels::from_pairs(matchers.iter().map(|m| (m.name.as_str(), m.value.as_str()))))
}
