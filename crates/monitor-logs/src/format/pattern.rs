//! A line's pattern: texts that are always there, and fields between them.

use super::{BadFormat, closing_quote, request_line};
use crate::entry::{Entry, Time, integer, scaled};
use std::sync::Arc;

/// What a field of a pattern is for us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Ip,
    Host,
    /// `GET /a HTTP/1.1`.
    Request,
    Method,
    /// Path and query, or the path alone.
    Target,
    Status,
    Bytes,
    /// Of 10^-n seconds.
    Duration(i32),
    /// `10/Oct/2000:13:55:36 -0700`.
    TimeCommon,
    /// The same between brackets.
    TimeBrackets,
    TimeIso,
    /// A count of 10^-n seconds.
    TimeNumber(u32),
    Ignored,
    /// Ignored; several values with `, ` and ` : ` between them.
    List,
}

/// A part of a pattern while it is compiled.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(Vec<u8>),
    /// With how it is written, for errors.
    Field(Field, String),
}

/// A compiled pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    steps: Arc<[Step]>,
    /// What follows the last field.
    end: Box<[u8]>,
}

#[derive(Debug)]
struct Step {
    /// Before the field.
    before: Box<[u8]>,
    field: Field,
    until: Until,
}

/// Where a field ends.
#[derive(Debug)]
enum Until {
    Byte(u8),
    Text(Box<memchr::memmem::Finder<'static>>),
    /// A quote that no backslash takes.
    Quote,
    End,
}

/// Parts of one pattern; more is no log format.
const MAX_PARTS: usize = 256;

impl Pattern {
    /// From parts in order; texts that follow one another are one.
    pub(super) fn new(parts: Vec<Part>) -> Result<Self, BadFormat> {
        if parts.len() > MAX_PARTS {
            return Err(BadFormat(format!(
                "the format has {} parts; hint: at most {MAX_PARTS}",
                parts.len()
            )));
        }
        let mut fields: Vec<(Vec<u8>, Field, String)> = Vec::new();
        let mut text = Vec::new();
        for part in parts {
            match part {
                Part::Text(more) => text.extend_from_slice(&more),
                Part::Field(field, name) => fields.push((std::mem::take(&mut text), field, name)),
            }
        }
        let end = text.into_boxed_slice();
        if !fields.iter().any(|(_, field, _)| *field == Field::Status) {
            return Err(BadFormat(
                "the format has no status; hint: `$status` of nginx, `%>s` of Apache".to_owned(),
            ));
        }
        let mut steps = Vec::with_capacity(fields.len());
        for (at, (before, field, name)) in fields.iter().enumerate() {
            let next = fields.get(at + 1);
            let after: &[u8] = next.map_or(&end, |(text, ..)| text);
            let until = match (next, after) {
                (Some((.., follower)), []) => {
                    return Err(BadFormat(format!(
                        "nothing stands between `{name}` and `{follower}`: where one ends and the other begins cannot be told; hint: put a blank there"
                    )));
                }
                (None, []) => Until::End,
                _ if before.ends_with(b"\"") && after.starts_with(b"\"") => Until::Quote,
                (_, [byte]) => Until::Byte(*byte),
                (_, more) => Until::Text(Box::new(memchr::memmem::Finder::new(more).into_owned())),
            };
            steps.push(Step { before: before.clone().into_boxed_slice(), field: *field, until });
        }
        Ok(Self { steps: steps.into(), end })
    }

    /// Reads a line; all of it must be as the pattern says.
    pub(super) fn parse<'a>(&self, line: &'a [u8]) -> Option<Entry<'a>> {
        let mut entry = Entry::default();
        let mut at = 0;
        for step in self.steps.iter() {
            if !step.before.is_empty() {
                if !line.get(at..)?.starts_with(&step.before) {
                    return None;
                }
                at += step.before.len();
            }
            let end = match &step.until {
                Until::End => line.len(),
                Until::Quote => closing_quote(line, at)?,
                Until::Byte(byte) if step.field == Field::List => list_end(line, at, *byte)?,
                Until::Byte(byte) => at + memchr::memchr(*byte, &line[at..])?,
                Until::Text(text) => at + text.find(&line[at..])?,
            };
            take(&mut entry, step.field, &line[at..end])?;
            at = end;
        }
        (line[at..] == *self.end).then_some(entry)
    }
}

/// nginx writes the values of several upstreams as `a, b : c` (ngx_http_upstream_module).
fn list_end(line: &[u8], from: usize, byte: u8) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr::memchr(byte, line.get(at..)?)?;
        let goes_on = byte == b' '
            && at > from
            && (line[at - 1] == b',' || line[at - 1] == b':' || line[at..].starts_with(b" : "));
        if !goes_on {
            return Some(at);
        }
        at += 1;
    }
}

/// Puts a field's text where it belongs. `None` where it cannot be.
fn take<'a>(entry: &mut Entry<'a>, field: Field, text: &'a [u8]) -> Option<()> {
    let absent = matches!(text, b"-" | b"");
    match field {
        Field::Ip => entry.ip = text,
        Field::Host if !absent => entry.host = text,
        Field::Request => (entry.method, entry.target) = request_line(text),
        Field::Method if !absent => entry.method = text,
        Field::Target if !absent => entry.target = text,
        Field::Status => {
            entry.status = integer(text).and_then(|status| u16::try_from(status).ok())?;
        }
        Field::Bytes if !absent => entry.bytes = integer(text)?,
        Field::Duration(power) if !absent => entry.duration_us = Some(scaled(text, 6 - power)?),
        Field::TimeCommon => entry.time = Time::Common(text),
        Field::TimeBrackets => {
            entry.time = Time::Common(text.strip_prefix(b"[")?.strip_suffix(b"]")?);
        }
        Field::TimeIso => entry.time = Time::Iso(text),
        Field::TimeNumber(power) => entry.time = Time::Number(text, power),
        _ => {}
    }
    Some(())
}
