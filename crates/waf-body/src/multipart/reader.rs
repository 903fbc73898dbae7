//! From boundary to boundary.

use memchr::memmem::Finder;

use super::boundary::is_space;
use super::disposition::{self, Disposition, Names};
use super::{Flags, Multipart};
use crate::{Error, ErrorKind, File, Full, Limits, Scratch, Sink};

pub(super) struct Reader<'a, S> {
    body: &'a [u8],
    /// `--` and the boundary.
    delimiter: &'a [u8],
    /// Finds the delimiter anywhere.
    look_alike: Finder<'a>,
    /// Finds a line that begins with `--`.
    dashed_line: Finder<'static>,
    complete: bool,
    limits: &'a Limits,
    read: &'a mut Multipart,
    sink: &'a mut S,
    scratch: &'a mut Scratch,
}

/// How a stretch of the body ends.
enum End {
    /// At a boundary; the next part begins there.
    Boundary { next: usize },
    /// At the final boundary; what follows is not part of it.
    Final { next: usize },
    /// The body ends.
    Body,
}

/// What a line that begins with two dashes is.
enum Dashes {
    Boundary(End),
    /// Perhaps a boundary: the body was cut within it.
    Cut,
    Other,
}

/// A part's head: where it ends, and what it says.
struct Head {
    end: usize,
    disposition: Disposition,
}

impl<'a, S: Sink> Reader<'a, S> {
    pub(super) fn new(
        body: &'a [u8],
        delimiter: &'a [u8],
        complete: bool,
        limits: &'a Limits,
        read: &'a mut Multipart,
        sink: &'a mut S,
        scratch: &'a mut Scratch,
    ) -> Self {
        let look_alike = Finder::new(delimiter);
        let dashed_line = Finder::new(b"\n--");
        Self { body, delimiter, look_alike, dashed_line, complete, limits, read, sink, scratch }
    }

    /// The whole body.
    pub(super) fn body(&mut self) {
        let first_line = match self.body.starts_with(b"--") {
            true => self.dashes(0),
            false => Dashes::Other,
        };
        let mut end = match first_line {
            Dashes::Boundary(end) => end,
            Dashes::Cut => End::Body,
            Dashes::Other => {
                self.flags().data_before = true;
                let (length, end) = self.up_to_boundary(0);
                self.look_alikes(0, length);
                end
            }
        };
        if let End::Body = end {
            return self.missing("No boundaries found in payload.");
        }
        loop {
            let begin = match end {
                End::Boundary { next } => next,
                End::Final { next } => {
                    self.read.flags.data_after = next < self.body.len();
                    return;
                }
                End::Body => return self.missing("Final boundary missing."),
            };
            if self.read.parts == self.limits.parts {
                return self.fail("More parts than the limit.", begin);
            }
            self.read.parts += 1;
            match self.part(begin) {
                Ok(after) => end = after,
                Err(Full) => {
                    self.read.flags.error = true;
                    let error = Error::new(ErrorKind::Full, begin);
                    self.read.error.get_or_insert(error);
                    return;
                }
            }
        }
    }

    fn fail(&mut self, what: &'static str, at: usize) {
        self.read.fail(what, at);
    }

    fn flags(&mut self) -> &mut Flags {
        &mut self.read.flags
    }

    /// The body ended before its structure did.
    fn missing(&mut self, what: &'static str) {
        if self.complete {
            self.fail(what, self.body.len());
        }
    }

    /// One part, from after its boundary to after the next.
    fn part(&mut self, begin: usize) -> Result<End, Full> {
        let (head, early) = self.head(begin)?;
        if let Some(end) = early {
            // No blank line: what there is of the head is all there is.
            self.look_alikes(begin, head.end);
            self.matched(&end);
            return Ok(end);
        }
        // RFC 2046 §5.1.1: a part without a body ends in the head's blank line.
        // v3 takes a boundary right after it for data, and says that the part is
        // invalid; a back end may take it for either.
        if self.body[head.end..].starts_with(self.delimiter) {
            self.flags().invalid_part = true;
        }
        let (length, end) = self.up_to_boundary(head.end);
        let content = &self.body[head.end..head.end + length];
        if !matches!(end, End::Body) {
            // The line end before a boundary belongs to it, not to the content.
            match self.body[head.end + length] {
                b'\r' => self.flags().crlf_line = true,
                _ => self.flags().lf_line = true,
            }
        }
        self.look_alikes(begin, head.end + length);
        self.matched(&end);
        self.hand_over(&head, content)?;
        Ok(end)
    }

    fn hand_over(&mut self, head: &Head, content: &[u8]) -> Result<(), Full> {
        let scratch = &*self.scratch;
        let disposition = &head.disposition;
        if !disposition.has_filename || scratch.filename.is_empty() {
            // A part that is malformed, too: rules should see what it holds.
            return self.sink.arg(&scratch.name, content);
        }
        if self.read.files >= self.limits.files {
            self.read.flags.file_limit_exceeded = true;
        }
        self.read.files += 1;
        self.read.files_size += content.len() as u64;
        let differs = disposition.has_extended && scratch.extended != scratch.filename;
        self.sink.file(File {
            field: &scratch.name,
            filename: &scratch.filename,
            extended: differs.then_some(&scratch.extended),
            content,
        })
    }

    /// From `from` to the next boundary: how many bytes lie before it (without
    /// the line end that belongs to it), and what comes after. A boundary at
    /// `from` itself has no line end before it and does not count.
    fn up_to_boundary(&mut self, from: usize) -> (usize, End) {
        let body = self.body;
        let mut at = from;
        while let Some(found) = self.dashed_line.find(&body[at..]) {
            let line_end = at + found;
            let end = match self.dashes(line_end + 1) {
                Dashes::Boundary(end) => end,
                Dashes::Cut => End::Body,
                Dashes::Other => {
                    at = line_end + 1;
                    continue;
                }
            };
            let content = &body[from..line_end];
            let content = content.strip_suffix(b"\r").unwrap_or(content);
            return (content.len(), end);
        }
        (body.len() - from, End::Body)
    }

    /// What is the line at `at`, which begins with two dashes?
    fn dashes(&mut self, at: usize) -> Dashes {
        let rest = &self.body[at..];
        let Some(after) = rest.strip_prefix(self.delimiter) else {
            if !self.complete && self.delimiter.starts_with(rest) {
                return Dashes::Cut;
            }
            return self.other_dashes(at);
        };
        let last = after.starts_with(b"--");
        let after = if last { &after[2..] } else { after };
        let line_end = match after {
            [b'\r', b'\n', ..] => {
                self.flags().crlf_line = true;
                2
            }
            [b'\n', ..] => {
                self.flags().lf_line = true;
                1
            }
            // The final boundary needs no line end.
            [] if last => 0,
            [] | [b'-'] | [b'\r'] if !self.complete => return Dashes::Cut,
            [] => return Dashes::Other,
            _ => {
                self.fail("Invalid boundary.", at);
                return Dashes::Other;
            }
        };
        let next = self.body.len() - after.len() + line_end;
        Dashes::Boundary(match last {
            true => End::Final { next },
            false => End::Boundary { next },
        })
    }

    /// A line of two dashes that is no boundary of ours.
    fn other_dashes(&mut self, at: usize) -> Dashes {
        let line = &self.body[at + 2..];
        let boundary = &self.delimiter[2..];
        if self.read.flags.boundary_quoted
            && line.strip_prefix(b"\"").is_some_and(|inner| inner.starts_with(boundary))
        {
            self.fail("Invalid boundary (quotes).", at);
        }
        let blanks = line.iter().take_while(|&&byte| is_space(byte) && byte != b'\n').count();
        if blanks > 0 && line[blanks..].starts_with(boundary) {
            self.fail("Invalid boundary (whitespace).", at);
        }
        // v3: two dashes and nothing else before an LF do not count.
        if !line.is_empty() && !line.starts_with(b"\n") {
            self.flags().unmatched_boundary = 1;
        }
        Dashes::Other
    }

    /// The boundary inside a line is no boundary, but some parsers take it for
    /// one.
    fn look_alikes(&mut self, begin: usize, end: usize) {
        if self.read.flags.unmatched_boundary != 1 && self.look_alike.find(&self.body[begin..end]).is_some() {
            self.flags().unmatched_boundary = 1;
        }
    }

    /// A boundary after the first one: what looked like one was seen inside a
    /// body that matches.
    fn matched(&mut self, end: &End) {
        if !matches!(end, End::Body) && self.read.flags.unmatched_boundary == 1 {
            self.flags().unmatched_boundary = 2;
        }
    }

    /// A part's head, up to and with its blank line. The second result is where
    /// it goes on if there is no blank line.
    fn head(&mut self, begin: usize) -> Result<(Head, Option<End>), Full> {
        let (end, early) = self.head_end(begin);
        let mut head = Head { end, disposition: Disposition::default() };
        self.scratch.name.clear();
        self.scratch.filename.clear();
        if memchr::memchr(0, &self.body[begin..end]).is_some() {
            self.fail("Nul byte in part headers.", begin);
        }

        let mut joined = std::mem::take(&mut self.scratch.value);
        let mut good = true;
        let mut dispositions = 0;
        let mut types = 0;
        let mut at = begin;
        while let Some((line, next)) = header(self.body, at, end, &mut joined, self.flags()) {
            let name = self.header_name(line, at);
            if name.eq_ignore_ascii_case(b"content-type") {
                types += 1;
            }
            if name.eq_ignore_ascii_case(b"content-disposition") {
                dispositions += 1;
                if dispositions == 1 {
                    let value = trim_blanks(&line[name.len() + 1..]);
                    good = self.disposition(value, at, &mut head.disposition);
                }
            }
            at = next;
        }
        if !matches!(early, None | Some(End::Body)) {
            self.fail("Invalid part (a boundary within its header).", end);
        }
        if dispositions > 1 || types > 1 {
            self.fail("Duplicate part header.", begin);
        }
        if dispositions == 0 && early.is_none() {
            self.fail("Part missing Content-Disposition header.", begin);
            good = false;
        } else if good && self.scratch.name.is_empty() && early.is_none() {
            self.fail("Content-Disposition header missing name field.", begin);
            good = false;
        }
        if !good {
            self.flags().invalid_part = true;
        }
        let announced = self.announce(begin, &head, &mut joined);
        self.scratch.value = joined;
        announced?;
        Ok((head, early))
    }

    /// Names, then the lines, which go under the part's name.
    fn announce(&mut self, begin: usize, head: &Head, joined: &mut Vec<u8>) -> Result<(), Full> {
        let scratch = &*self.scratch;
        if !scratch.name.is_empty() {
            self.sink.part_name(&scratch.name)?;
        }
        if !scratch.filename.is_empty() {
            self.sink.part_filename(&scratch.filename)?;
        }
        let mut at = begin;
        let flags = &mut self.read.flags;
        while let Some((line, next)) = header(self.body, at, head.end, joined, flags) {
            self.sink.part_header(&scratch.name, line)?;
            at = next;
        }
        Ok(())
    }

    /// Where the head that begins at `begin` ends: after its blank line, or at a
    /// boundary, the limit, or the body's end.
    fn head_end(&mut self, begin: usize) -> (usize, Option<End>) {
        let mut at = begin;
        loop {
            let rest = &self.body[at..];
            if rest.starts_with(b"--") {
                match self.dashes(at) {
                    Dashes::Boundary(end) => {
                        self.flags().invalid_part = true;
                        return (at, Some(end));
                    }
                    Dashes::Cut => return (at, Some(End::Body)),
                    Dashes::Other => {}
                }
            }
            let Some(length) = memchr::memchr(b'\n', rest) else {
                let end = if self.complete { self.body.len() } else { at };
                return (end, Some(End::Body));
            };
            let what = match length {
                _ if length >= self.limits.part_line => "Part header line over the limit.",
                _ if at + length - begin > self.limits.part_head => "Part header over the limit.",
                _ => "",
            };
            if !what.is_empty() {
                self.fail(what, at);
                self.flags().invalid_part = true;
                let (_, end) = self.up_to_boundary(at);
                return (at, Some(end));
            }
            let crlf = length > 0 && rest[length - 1] == b'\r';
            if crlf {
                self.flags().crlf_line = true;
            } else {
                self.flags().lf_line = true;
            }
            at += length + 1;
            if length == usize::from(crlf) {
                return (at, None);
            }
        }
    }

    /// A header line's name; empty where there is none.
    fn header_name<'l>(&mut self, line: &'l [u8], at: usize) -> &'l [u8] {
        if line.first().copied().is_some_and(is_space) {
            self.fail("Invalid part header (folding error).", at);
            return b"";
        }
        let Some(colon) = memchr::memchr(b':', line) else {
            self.fail("Invalid part header (colon missing).", at);
            return b"";
        };
        let name = &line[..colon];
        if name.is_empty() {
            self.fail("Invalid part header (header name missing).", at);
        } else if !name.iter().all(u8::is_ascii_graphic) {
            // RFC 5322 §2.2: printable, and no blank before the colon.
            self.fail("Invalid part header (contains invalid character).", at);
        }
        name
    }

    /// Reads the part's first `Content-Disposition`; whether it is good.
    fn disposition(&mut self, value: &[u8], at: usize, found: &mut Disposition) -> bool {
        let scratch = &mut *self.scratch;
        let names = Names {
            name: &mut scratch.name,
            filename: &mut scratch.filename,
            extended: &mut scratch.extended,
        };
        match disposition::parse(value, names, found, &mut self.read.flags) {
            Ok(()) if found.has_extended && !found.has_filename => {
                // As in v3: a back end that does not know the parameter would
                // take the part for an argument.
                self.fail("Invalid Content-Disposition header (filename* alone).", at);
                false
            }
            Ok(()) => true,
            Err(what) => {
                self.fail(what, at);
                false
            }
        }
    }
}

/// The header line at `at`, without its line end, those folded under it joined
/// by a blank (in `joined`); and where the next begins. `None` at the head's end
/// and its blank line.
fn header<'l>(
    body: &'l [u8],
    at: usize,
    end: usize,
    joined: &'l mut Vec<u8>,
    flags: &mut Flags,
) -> Option<(&'l [u8], usize)> {
    let (line, mut next) = line(body, at, end)?;
    if line.is_empty() {
        return None;
    }
    joined.clear();
    while let Some((folded, after)) = self::line(body, next, end)
        && folded.first().copied().is_some_and(is_space)
    {
        if joined.is_empty() {
            joined.extend_from_slice(line);
        }
        let blanks = folded.iter().take_while(|&&byte| is_space(byte)).count();
        flags.header_folding = true;
        // RFC 5322 §2.2.3: blanks and tabs fold; some parsers take others too.
        let only_blanks = folded[..blanks].iter().all(|byte| b" \t".contains(byte));
        // So does v3 where only blanks follow, the line end among them.
        flags.invalid_header_folding |= !only_blanks || blanks == folded.len();
        joined.push(b' ');
        joined.extend_from_slice(&folded[blanks..]);
        next = after;
    }
    match joined.is_empty() {
        true => Some((line, next)),
        false => Some((joined, next)),
    }
}

/// The line at `at` without its line end, and where the next begins.
fn line(body: &[u8], at: usize, end: usize) -> Option<(&[u8], usize)> {
    let rest = &body[at..end];
    if rest.is_empty() {
        return None;
    }
    let length = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let line = &rest[..length];
    let next = (at + length + 1).min(end);
    Some((line.strip_suffix(b"\r").unwrap_or(line), next))
}

fn trim_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|byte| b"\t ".contains(byte)).count();
    &text[blanks..]
}
