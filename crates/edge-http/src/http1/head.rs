//! The head: request line and header lines.

use super::validate::{target_ok, token_length, value_length};
use crate::check::{check_authority, check_target, is_authority};
use crate::guard::{decimal, is_token, list_has, version_of};
use crate::{GuardLimits, Refusal, RequestHead, Version};
use memchr::{memchr, memchr_iter};

/// Reads one head from bytes that arrive piece by piece.
#[derive(Clone, Debug)]
pub struct HeadParser {
    limits: GuardLimits,
    /// How far line ends have been looked for.
    looked: usize,
    /// Where the line being read begins.
    line_start: usize,
    /// Lines ended so far, the request line among them.
    lines: usize,
    refused: Option<Refusal>,
}

impl HeadParser {
    /// For one head; the next on the connection needs a new parser.
    pub const fn new(limits: GuardLimits) -> Self {
        Self { limits, looked: 0, line_start: 0, lines: 0, refused: None }
    }

    /// Looks at `data`, which begins where the head begins and holds all that an
    /// earlier call saw. `None` where the head is not whole yet. A refusal is
    /// final: it is given again at every call.
    ///
    /// What breaks lines or limits is refused before what breaks a line's syntax,
    /// as soon as it is seen; the syntax once the head is whole.
    pub fn read<'t, 'a: 't>(
        &mut self,
        data: &'a [u8],
        lines: &'t mut Lines<'a>,
    ) -> Result<Option<Head<'t>>, Refusal> {
        if let Some(refusal) = self.refused {
            return Err(refusal);
        }
        // Nearly always the first bytes hold the whole head, and it is sound: then
        // one pass is enough. All else is left to the passes that know what comes
        // first.
        if self.looked == 0
            && let Ok(parts) = parse(data, lines)
            && parts.length <= self.limits.head
            && lines.0.len() <= self.limits.header_lines
        {
            return Ok(Some(parts.head(lines)));
        }
        let parts = match self.find_end(data) {
            Ok(None) => return Ok(None),
            Ok(Some(length)) => parse(&data[..length], lines),
            Err(refusal) => Err(refusal),
        };
        self.refused = parts.as_ref().err().copied();
        Ok(Some(parts?.head(lines)))
    }

    /// The head's length, where `data` holds its end.
    fn find_end(&mut self, data: &[u8]) -> Result<Option<usize>, Refusal> {
        if data == b"\r" {
            return Ok(None);
        }
        // RFC 9112 §2.2: one empty line before the request line is ignored.
        let leading = leading_empty_line(data);
        if self.line_start < leading {
            self.line_start = leading;
            self.looked = leading;
        }
        // No need to wait for the end of what cannot become a method: a TLS
        // handshake on a plain port, say.
        if self.lines == 0 && data.get(leading).is_some_and(|&b| !is_token(b)) {
            return Err(Refusal::RequestLine);
        }
        let looked = self.looked;
        for newline in memchr_iter(b'\n', &data[looked..]) {
            let newline = looked + newline;
            if newline >= self.limits.head {
                return Err(self.too_large());
            }
            // RFC 9112 §2.2 lets a recipient take a bare LF for a line's end; two
            // servers that differ in it differ in where the head ends.
            if newline == self.line_start || data[newline - 1] != b'\r' {
                return Err(Refusal::LineEnd);
            }
            if newline == self.line_start + 1 {
                return Ok(Some(newline + 1));
            }
            if self.lines > self.limits.header_lines {
                return Err(Refusal::TooManyHeaders);
            }
            self.lines += 1;
            self.line_start = newline + 1;
        }
        self.looked = data.len();
        if data.len() >= self.limits.head {
            return Err(self.too_large());
        }
        Ok(None)
    }

    fn too_large(&self) -> Refusal {
        if self.lines == 0 { Refusal::TargetTooLong } else { Refusal::HeadTooLarge }
    }
}

fn leading_empty_line(data: &[u8]) -> usize {
    if data.starts_with(b"\r\n") { 2 } else { 0 }
}

/// What a head says about the bytes behind it (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body: the next request follows.
    None,
    /// So many bytes; never 0.
    Length(u64),
    /// Chunks (RFC 9112 §7.1).
    Chunked,
}

/// One head, as sent: names and values in the client's own case and order.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The request target in whatever form was sent (RFC 9112 §3.2).
    pub target: &'a [u8],
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The header lines in order: name, and value without blanks around it.
    pub headers: &'a [(&'a [u8], &'a [u8])],
    /// How the body is framed.
    pub framing: Framing,
    /// Whether the connection is to change its protocol behind this head
    /// (RFC 9110 §7.8): HTTP/1.1, GET, no body, and both header lines.
    pub upgrade: bool,
    /// How many bytes it took, its empty line included.
    pub length: usize,
    /// The Host line's value.
    host: Option<&'a [u8]>,
}

/// The table that [`HeadParser::read`] writes header lines to. It allocates when it first
/// meets a head with more lines than it has room for, and never again:
/// [`Lines::recycle`] carries the room over to the next head.
#[derive(Debug, Default)]
pub struct Lines<'a>(Vec<(&'a [u8], &'a [u8])>);

impl Lines<'_> {
    /// With room for so many lines.
    pub fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    /// The same room, empty, for a head in other bytes.
    pub fn recycle<'b>(mut self) -> Lines<'b> {
        self.0.clear();
        // Collecting what a vector of the same layout held stays in its
        // allocation; there is nothing to map.
        Lines(self.0.into_iter().map(|_| (&b""[..], &b""[..])).collect())
    }
}

/// A head without its lines.
struct Parts<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: Version,
    framing: Framing,
    upgrade: bool,
    host: Option<&'a [u8]>,
    length: usize,
}

impl<'a> Parts<'a> {
    fn head<'t>(self, lines: &'t Lines<'a>) -> Head<'t>
    where
        'a: 't,
    {
        Head {
            method: self.method,
            target: self.target,
            version: self.version,
            headers: &lines.0,
            framing: self.framing,
            upgrade: self.upgrade,
            length: self.length,
            host: self.host,
        }
    }
}

/// Reads the head at the front of `data`.
///
/// The refusals are those of RFC 9112 §3 (request line), §5 (header lines) and
/// §6 (framing), the first in the order of the bytes.
fn parse<'a>(data: &'a [u8], lines: &mut Lines<'a>) -> Result<Parts<'a>, Refusal> {
    lines.0.clear();
    let leading = leading_empty_line(data);
    let newline = memchr(b'\n', &data[leading..]).ok_or(Refusal::RequestLine)?;
    let request_line = data[leading..leading + newline].strip_suffix(b"\r").ok_or(Refusal::LineEnd)?;
    let (method, target, version) = request_line_parts(request_line)?;
    let mut seen = Seen { version, host: None, length: None, chunked: false, upgrade: [false; 2] };
    let mut rest = &data[leading + newline + 1..];
    while !rest.starts_with(b"\r\n") {
        let (field, behind) = header_line(rest)?;
        seen.look(field.0, field.1)?;
        lines.0.push(field);
        rest = behind;
    }
    let length = data.len() - rest.len() + 2;
    let framing = seen.framing()?;
    let upgrade = framing == Framing::None
        && seen.upgrade == [true; 2]
        && version == Version::Http11
        && method == b"GET";
    Ok(Parts { method, target, version, framing, upgrade, host: seen.host, length })
}

/// `method SP target SP version` (RFC 9112 §3).
fn request_line_parts(line: &[u8]) -> Result<(&[u8], &[u8], Version), Refusal> {
    let method_end = token_length(line);
    if method_end == 0 || line.get(method_end) != Some(&b' ') {
        return Err(Refusal::RequestLine);
    }
    let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
    // RFC 9112 §3: no other whitespace stands for the two spaces, and none
    // belongs to a target.
    let target_end = memchr(b' ', rest).filter(|&end| end > 0).ok_or(Refusal::RequestLine)?;
    let (target, version) = (&rest[..target_end], &rest[target_end + 1..]);
    if !target_ok(target) {
        return Err(Refusal::Target);
    }
    Ok((method, target, version_of(version)?))
}

/// Name and value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The header line that `data` begins with: name, value, and what follows its end.
#[inline(always)]
fn header_line(data: &[u8]) -> Result<(Field<'_>, &[u8]), Refusal> {
    // A first blank is obsolete folding (RFC 9112 §5.2); a blank before the colon
    // is refused by §5.1; neither is a token's byte.
    let (name, rest) = data.split_at(token_length(data));
    let Some((b':', mut value)) = rest.split_first() else { return Err(Refusal::HeaderSyntax) };
    if name.is_empty() {
        return Err(Refusal::HeaderSyntax);
    }
    while let [b' ' | b'\t', behind @ ..] = value {
        value = behind;
    }
    let (mut value, rest) = value.split_at(value_length(value));
    // RFC 9110 §5.5: CR, LF and NUL in a value are dangerous, other control
    // characters of no use.
    let [b'\r', b'\n', behind @ ..] = rest else { return Err(Refusal::HeaderSyntax) };
    while let [before @ .., b' ' | b'\t'] = value {
        value = before;
    }
    Ok(((name, value), behind))
}

/// What the header lines seen so far say about host, framing and upgrade.
struct Seen<'a> {
    version: Version,
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    /// Whether there is an Upgrade line; whether Connection names it.
    upgrade: [bool; 2],
}

impl<'a> Seen<'a> {
    #[inline(always)]
    fn look(&mut self, name: &[u8], value: &'a [u8]) -> Result<(), Refusal> {
        let is = |known: &[u8]| name.eq_ignore_ascii_case(known);
        // The first letter first: most names differ in it, which is one comparison.
        match (name.len(), name[0] | 0x20) {
            (4, b'h') if is(b"host") => {
                // RFC 9112 §3.2.
                let before = self.host.replace(value);
                return before.map_or(Ok(()), |_| Err(Refusal::SeveralHosts));
            }
            (7, b'u') if is(b"upgrade") => self.upgrade[0] = true,
            (10, b'c') if is(b"connection") => {
                self.upgrade[1] |= list_has(value, b"upgrade");
            }
            (14, b'c') if is(b"content-length") => {
                // RFC 9112 §6.3 lets equal repetitions pass; nobody honest sends them.
                let length = decimal(value).ok_or(Refusal::ContentLength)?;
                if self.length.replace(length).is_some() {
                    return Err(Refusal::ContentLength);
                }
            }
            (17, b't') if is(b"transfer-encoding") => {
                // RFC 9112 §6.1: `chunked` once, and never in HTTP/1.0; §7: other
                // codings we do not know.
                let known = value.eq_ignore_ascii_case(b"chunked") && self.version == Version::Http11;
                if self.chunked || !known {
                    return Err(Refusal::TransferEncoding);
                }
                self.chunked = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// RFC 9112 §6.3.
    fn framing(&self) -> Result<Framing, Refusal> {
        if self.host.is_none() && self.version == Version::Http11 {
            return Err(Refusal::NoHost);
        }
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal::LengthAndEncoding),
            (None, true) => Ok(Framing::Chunked),
            (Some(length), false) if length > 0 => Ok(Framing::Length(length)),
            _ => Ok(Framing::None),
        }
    }
}

impl<'a> Head<'a> {
    /// The head as the rest of the edge sees it: the target in origin form or
    /// `*`, and the authority of an absolute target, else of Host. Only a
    /// CONNECT's target stays as it is.
    ///
    /// Refuses a target of no form that its method may have (RFC 9112 §3.2), a
    /// host that is none, and two hosts that differ.
    pub fn request(&self) -> Result<RequestHead<'a>, Refusal> {
        let host = self.host.unwrap_or_default();
        let (authority, target) = if self.method == b"CONNECT" {
            // RFC 9112 §3.2.3: host and port, nothing else.
            if !is_authority(self.target) || !has_port(self.target) {
                return Err(Refusal::Target);
            }
            (host, self.target)
        } else if matches!(self.target.first(), Some(b'/' | b'*')) {
            (host, self.target)
        } else {
            absolute(self.target, self.method).ok_or(Refusal::Target)?
        };
        let head = RequestHead {
            method: self.method,
            target,
            authority,
            version: self.version,
            headers: self.headers,
        };
        if self.method != b"CONNECT" {
            check_target(&head)?;
        }
        check_authority(&head)?;
        Ok(head)
    }
}

fn has_port(authority: &[u8]) -> bool {
    let digits = authority.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    digits > 0 && authority[..authority.len() - digits].ends_with(b":")
}

/// Authority and path of a target in absolute form (RFC 9112 §3.2.2). A query
/// behind no path is not read: no client writes one (WHATWG URL puts `/`), and
/// it has no origin form that is a part of what was sent.
fn absolute<'a>(target: &'a [u8], method: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let scheme = memchr(b':', target)?;
    let http = [&b"http"[..], b"https"].iter().any(|s| s.eq_ignore_ascii_case(&target[..scheme]));
    let rest = target[scheme + 1..].strip_prefix(b"//").filter(|_| http)?;
    let end = rest.iter().position(|&b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if authority.is_empty() || path.first() == Some(&b'?') {
        return None;
    }
    // RFC 9112 §3.2.1 and §3.2.4: what an empty path stands for.
    let path = match path {
        [] if method == b"OPTIONS" => b"*",
        [] => b"/",
        _ => path,
    };
    Some((authority, path))
}
