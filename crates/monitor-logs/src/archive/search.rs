//! Finding lines, the newest first.

use super::frame::{Open, Summary};
use super::gram;
use super::index::{Kept, Snapshot};
use crate::{Format, Scratch, Spec, count};
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

/// What is looked for; everything that is said must be true of a line.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// From this time, in Unix milliseconds, included.
    pub start_ms: Option<i64>,
    /// Up to this time, included.
    pub end_ms: Option<i64>,
    /// In the line.
    pub text: Option<Text>,
    /// The status.
    pub status: Option<Statuses>,
    /// The host, without port, whatever its case.
    pub host: Option<String>,
    /// The client's address, as it is written.
    pub ip: Option<String>,
    /// The method.
    pub method: Option<String>,
    /// The route, as it is counted: `/orders/:id`.
    pub route: Option<String>,
    /// At least so many microseconds.
    pub min_duration_us: Option<u32>,
    /// Hits, at most.
    pub limit: usize,
    /// Where an earlier search stopped; it goes on there.
    pub from: BTreeMap<String, Position>,
}

/// A text to find.
#[derive(Clone, Debug)]
pub enum Text {
    /// These bytes.
    Plain(Box<memchr::memmem::Finder<'static>>),
    /// A regular expression, with the texts that each match must have.
    Regex(Box<regex::bytes::Regex>, Vec<Vec<u8>>),
}

/// A regular expression's compiled size, at most, in bytes.
const REGEX_SIZE: usize = 1 << 20;

impl Text {
    /// The text as it is.
    pub fn plain(text: &str) -> Self {
        Self::Plain(Box::new(memchr::memmem::Finder::new(text.as_bytes()).into_owned()))
    }

    /// A regular expression. An error says what is wrong with it.
    pub fn regex(text: &str) -> Result<Self, String> {
        let regex = regex::bytes::RegexBuilder::new(text).size_limit(REGEX_SIZE).build();
        let regex = regex.map_err(|error| error.to_string())?;
        let tree = regex_syntax::parse(text).map_err(|error| error.to_string())?;
        let mut needed = Vec::new();
        literals(&tree, &mut needed);
        Ok(Self::Regex(Box::new(regex), needed))
    }

    /// The text, whatever the case of its letters.
    pub fn ignoring_case(text: &str) -> Result<Self, String> {
        let regex = regex::bytes::RegexBuilder::new(&regex::escape(text)).case_insensitive(true).build();
        Ok(Self::Regex(Box::new(regex.map_err(|error| error.to_string())?), vec![text.as_bytes().to_vec()]))
    }

    fn is_in(&self, line: &[u8]) -> bool {
        match self {
            Self::Plain(finder) => finder.find(line).is_some(),
            Self::Regex(regex, _) => regex.is_match(line),
        }
    }
}

/// The texts that every match of an expression holds.
fn literals(tree: &regex_syntax::hir::Hir, out: &mut Vec<Vec<u8>>) {
    use regex_syntax::hir::HirKind;
    match tree.kind() {
        HirKind::Literal(literal) => out.push(literal.0.to_vec()),
        HirKind::Capture(capture) => literals(&capture.sub, out),
        HirKind::Repetition(repetition) if repetition.min > 0 => literals(&repetition.sub, out),
        HirKind::Concat(parts) => parts.iter().for_each(|part| literals(part, out)),
        _ => {}
    }
}

/// Which status codes: `404`, `5xx`, `500-504`, several with commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statuses(Vec<(u16, u16)>);

impl Statuses {
    /// Reads them. `0` is a line that could not be read.
    pub fn parse(text: &str) -> Result<Self, String> {
        let one = |text: &str| -> Option<(u16, u16)> {
            if let Some(class) = text.strip_suffix("xx") {
                let class: u16 = class.parse().ok().filter(|class| (1..=5).contains(class))?;
                return Some((class * 100, class * 100 + 99));
            }
            let (from, to) = text.split_once('-').unwrap_or((text, text));
            let range = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            (range.0 <= range.1 && range.1 <= 599).then_some(range)
        };
        let ranges: Option<Vec<_>> = text.split(',').map(|part| one(part.trim())).collect();
        ranges.map(Self).ok_or_else(|| format!("`{text}` is no status; hint: `404`, `5xx` or `500-504`"))
    }

    fn has(&self, status: u16) -> bool {
        self.0.iter().any(|(from, to)| (*from..=*to).contains(&status))
    }

    fn classes(&self) -> u8 {
        self.0.iter().flat_map(|(from, to)| from / 100..=to / 100).fold(0, |all, class| all | 1 << class)
    }
}

/// A line that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// Which log.
    pub log: Arc<str>,
    /// Unix milliseconds.
    pub time_ms: i64,
    /// 0 is a line that could not be read.
    pub status: u16,
    /// Microseconds, where the line says.
    pub duration_us: Option<u32>,
    /// The line.
    pub line: Vec<u8>,
}

/// A place in an archive: what is before it is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The frame's number.
    pub frame: u64,
    /// The line in it.
    pub line: u32,
}

/// What a search gave.
#[derive(Debug, Default)]
pub struct Found {
    /// The newest first.
    pub hits: Vec<Hit>,
    /// Whether all that was asked for was looked at: nothing older would be found.
    pub complete: bool,
    /// Where a search for older ones goes on.
    pub next: BTreeMap<String, Position>,
    /// Frames that there are in these times.
    pub frames: u64,
    /// Frames of them that were not unpacked.
    pub passed_over: u64,
    /// What cannot be read, once each.
    pub damage: Vec<String>,
}

/// Finds lines in the archives of several logs, by name. `stop` is asked before each
/// frame; one that says so ends the search with what was found so far.
pub fn search(archives: &[(String, Kept)], query: &Query, stop: &dyn Fn() -> bool) -> Found {
    let needed = needed(query);
    let mut found = Found { complete: true, ..Found::default() };
    let mut cursors: Vec<Cursor<'_>> = archives
        .iter()
        .map(|(name, kept)| Cursor::new(name, kept.0.snapshot(), query.from.get(name).copied()))
        .collect();
    loop {
        // Every log's next hit, then the newest of them.
        let mut stopped = false;
        for cursor in &mut cursors {
            while cursor.hits.is_empty() && !cursor.is_over() {
                if stop() {
                    stopped = true;
                    break;
                }
                cursor.look_further(query, &needed, &mut found);
            }
        }
        if stopped {
            found.complete = false;
            break;
        }
        let newest = cursors
            .iter_mut()
            .filter(|c| !c.hits.is_empty())
            .max_by_key(|c| c.hits.last().map(|h| h.1.time_ms));
        let Some(cursor) = newest else { break };
        if found.hits.len() >= query.limit {
            found.complete = false;
            break;
        }
        if let Some((position, hit)) = cursor.hits.pop() {
            cursor.reached = position;
            found.hits.push(hit);
        }
    }
    for cursor in cursors {
        found.next.insert(cursor.name.to_owned(), cursor.reached());
    }
    found
}

/// The runs of bytes that every line that is looked for has.
fn needed(query: &Query) -> Vec<usize> {
    let mut texts: Vec<Vec<u8>> = Vec::new();
    match &query.text {
        Some(Text::Plain(finder)) => texts.push(finder.needle().to_vec()),
        Some(Text::Regex(_, needed)) => texts.clone_from(needed),
        None => {}
    }
    texts.extend(query.ip.iter().chain(&query.host).map(|text| text.as_bytes().to_vec()));
    if let Some(route) = query.route.as_deref().filter(|route| route.starts_with('/')) {
        // JSON may write a slash with a backslash before it; names between do not change.
        texts.extend(route.split(['/', '*']).flat_map(|s| s.split(":id")).map(|s| s.as_bytes().to_vec()));
    }
    texts.iter().flat_map(|text| gram::runs(text)).collect()
}

/// How far one log was looked through.
struct Cursor<'a> {
    name: &'a str,
    log: Arc<str>,
    snapshot: Snapshot,
    /// Frames before this one are still to be looked at; `frames.len()` + 1 is the
    /// open one.
    ahead: usize,
    /// Lines of the first frame that are still to be looked at.
    lines: Option<u32>,
    /// What was found in the frame looked at last, the newest at the end.
    hits: Vec<(Position, Hit)>,
    reached: Position,
    formats: BTreeMap<String, Option<Format>>,
}

impl<'a> Cursor<'a> {
    fn new(name: &'a str, snapshot: Snapshot, from: Option<Position>) -> Self {
        let end = Position { frame: snapshot.next, line: u32::MAX };
        let from = from.unwrap_or(end);
        let whole = snapshot.frames.iter().filter(|frame| frame.head.sequence < from.frame).count();
        let partly = from.frame == snapshot.next
            || snapshot.frames.get(whole).is_some_and(|frame| frame.head.sequence == from.frame);
        Self {
            name,
            log: name.into(),
            ahead: whole + usize::from(partly),
            lines: partly.then_some(from.line),
            snapshot,
            hits: Vec::new(),
            reached: from,
            formats: BTreeMap::new(),
        }
    }

    fn is_over(&self) -> bool {
        self.ahead == 0
    }

    /// Where a later search goes on: behind the last hit that was given, or where
    /// looking stopped if none is left over.
    fn reached(&self) -> Position {
        if !self.hits.is_empty() {
            return self.reached;
        }
        let next = match self.ahead {
            0 => Position { frame: 0, line: 0 },
            at => match self.snapshot.frames.get(at - 1) {
                Some(frame) => Position { frame: frame.head.sequence, line: self.lines.unwrap_or(u32::MAX) },
                None => Position { frame: self.snapshot.next, line: self.lines.unwrap_or(u32::MAX) },
            },
        };
        next.min(self.reached)
    }

    /// Looks at the next frame.
    fn look_further(&mut self, query: &Query, needed: &[usize], found: &mut Found) {
        self.ahead -= 1;
        let lines = self.lines.take().unwrap_or(u32::MAX);
        let frame = self.snapshot.frames.get(self.ahead);
        let summary = frame.map_or_else(|| self.snapshot.open.summary(), |frame| frame.head.summary);
        if summary.lines == 0 || !is_in_time(&summary, query) {
            return;
        }
        found.frames += 1;
        let unpacked = match frame {
            Some(frame) => match candidates(frame, query, needed) {
                Ok(Some(open)) => open,
                Ok(None) => {
                    found.passed_over += 1;
                    return;
                }
                Err(error) => {
                    let path = frame.segment.path.display();
                    found.damage.push(format!("{path}: frame {}: {error}", frame.head.sequence));
                    return;
                }
            },
            None => std::mem::take(&mut self.snapshot.open),
        };
        let (sequence, spec) = match frame {
            Some(frame) => (frame.head.sequence, &frame.segment.spec),
            None => (self.snapshot.next, &self.snapshot.spec),
        };
        let format =
            (query.host.is_some() || query.ip.is_some() || query.method.is_some() || query.route.is_some())
                .then(|| self.formats.entry(spec.clone()).or_insert_with(|| compile(spec)));
        let format = format.map(|format| format.as_ref());
        let starts = unpacked.starts();
        let mut scratch = (Scratch::default(), Vec::new());
        // From the oldest to the newest, of which `hits` gives the last first.
        for at in 0..unpacked.times.len().min(lines as usize) {
            if !columns_fit(&unpacked, at, query) {
                continue;
            }
            let line = &unpacked.text[starts[at]..starts[at + 1] - 1];
            let fits = query.text.as_ref().is_none_or(|text| text.is_in(line))
                && format
                    .is_none_or(|format| format.is_some_and(|f| fields_fit(f, line, query, &mut scratch)));
            if fits {
                let hit = Hit {
                    log: self.log.clone(),
                    time_ms: unpacked.times[at],
                    status: unpacked.statuses[at],
                    duration_us: unpacked.duration_us(at),
                    line: line.to_vec(),
                };
                self.hits.push((Position { frame: sequence, line: at as u32 }, hit));
                // More than what is given at most will not be asked for.
                if self.hits.len() > query.limit.saturating_mul(2) + 1_000 {
                    self.hits.drain(..self.hits.len() - query.limit - 1);
                }
            }
        }
    }
}

fn compile(spec: &str) -> Option<Format> {
    Format::compile(&Spec::from_text(spec)?).ok()
}

fn is_in_time(summary: &Summary, query: &Query) -> bool {
    query.start_ms.is_none_or(|start| summary.max_ms >= start)
        && query.end_ms.is_none_or(|end| summary.min_ms <= end)
}

/// A frame's lines, unless what it says of itself, its signature or its columns show
/// that none of them is looked for.
fn candidates(frame: &super::segment::Frame, query: &Query, needed: &[usize]) -> io::Result<Option<Open>> {
    let summary = &frame.head.summary;
    let classes = query.status.as_ref().is_none_or(|status| status.classes() & summary.classes != 0);
    let slow = query.min_duration_us.is_none_or(|least| summary.max_duration > least);
    if !classes || !slow || (!needed.is_empty() && !gram::may_have(&frame.signature()?, needed)) {
        return Ok(None);
    }
    if query.status.is_some() || query.min_duration_us.is_some() {
        let columns = frame.columns()?;
        if !(0..columns.times.len()).any(|at| columns_fit(&columns, at, query)) {
            return Ok(None);
        }
    }
    frame.unpack().map(Some)
}

fn columns_fit(open: &Open, at: usize, query: &Query) -> bool {
    query.start_ms.is_none_or(|start| open.times[at] >= start)
        && query.end_ms.is_none_or(|end| open.times[at] <= end)
        && query.status.as_ref().is_none_or(|status| status.has(open.statuses[at]))
        && query.min_duration_us.is_none_or(|least| open.durations[at] > least)
}

fn fields_fit(format: &Format, line: &[u8], query: &Query, scratch: &mut (Scratch, Vec<u8>)) -> bool {
    let Some(entry) = format.parse(line, &mut scratch.0) else { return false };
    let host = |wanted: &String| count::host_name(entry.host).eq_ignore_ascii_case(wanted.as_bytes());
    let route = |wanted: &String, out: &mut Vec<u8>| {
        let end = memchr::memchr2(b'?', b'#', entry.target).unwrap_or(entry.target.len());
        count::normalise(&entry.target[..end], out);
        out == wanted.as_bytes()
    };
    query.ip.as_ref().is_none_or(|ip| entry.ip == ip.as_bytes())
        && query.method.as_ref().is_none_or(|method| entry.method == method.as_bytes())
        && query.host.as_ref().is_none_or(host)
        && query.route.as_ref().is_none_or(|wanted| route(wanted, &mut scratch.1))
}
