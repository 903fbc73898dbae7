//! Watches the bytes of an HTTP/1.1 client connection before the engine sees
//! them, and lets only whole, unambiguous heads and well-framed bodies through.
//!
//! Engines are lenient where leniency is how requests are smuggled: hyper drops
//! a Content-Length beside a Transfer-Encoding and merges repeated lengths, as
//! RFC 9112 §6.3 allows. The guard reads the framing itself and refuses. Nothing
//! behind a refused head is ever passed on. It holds back at most one head.

use crate::{Refusal, Version};
use memchr::{memchr, memchr_iter};

/// The limits a guard enforces.
#[derive(Clone, Copy, Debug)]
pub struct GuardLimits {
    /// Bytes in a head.
    pub head: usize,
    /// Header lines in a head; also in trailers.
    pub header_lines: usize,
}

/// What became of the bytes shown to [`Guard::scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// This many bytes at the front may go on; the rest is not complete yet and
    /// is to be shown again, with more behind it.
    Pass(usize),
    /// This many bytes may go on. They end with a head that asks to switch
    /// protocols: nothing more is to be passed until [`Guard::upgraded`] or
    /// [`Guard::not_upgraded`] was called.
    Upgrade(usize),
    /// This many bytes may go on; what follows is refused, for good.
    Refused(usize, Refusal),
}

/// The state of one connection.
#[derive(Debug)]
pub struct Guard {
    limits: GuardLimits,
    state: State,
    /// In a head: how far newlines have been looked at already.
    looked: usize,
    /// In a head: where the line being read begins.
    line_start: usize,
    /// In a head or trailers: lines ended so far.
    lines: usize,
    /// Heads passed so far.
    heads: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    Trailers(usize),
    AwaitsUpgrade,
    Tunnel,
    Refused(Refusal),
}

/// What a head says about the bytes after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Framing {
    None,
    Length(u64),
    Chunked,
    Upgrade,
}

/// A chunk's size line: 16 digits and a short extension (RFC 9112 §7.1.1). Long
/// extensions have no use but to make servers count.
const CHUNK_LINE_MAX: usize = 256;

impl Guard {
    /// For a new connection.
    pub const fn new(limits: GuardLimits) -> Self {
        Self { limits, state: State::Head, looked: 0, line_start: 0, lines: 0, heads: 0 }
    }

    /// How many heads have passed.
    pub const fn heads(&self) -> u64 {
        self.heads
    }

    /// Whether a message was begun whose end has not been seen, so that closing
    /// now leaves bytes of the client unread.
    pub fn mid_message(&self) -> bool {
        !matches!(self.state, State::Head if self.looked == 0) && self.state != State::Tunnel
    }

    /// Whether the bytes of a body are being read, or awaited.
    pub const fn in_body(&self) -> bool {
        matches!(
            self.state,
            State::Body(_)
                | State::ChunkSize
                | State::ChunkData(_)
                | State::Trailers(_)
                | State::AwaitsUpgrade
        )
    }

    /// The protocol was switched: the guard lets everything pass from now on.
    pub fn upgraded(&mut self) {
        self.state = State::Tunnel;
    }

    /// The protocol was not switched: what follows is the next request.
    pub fn not_upgraded(&mut self) {
        if self.state == State::AwaitsUpgrade {
            self.begin_head();
        }
    }

    /// Looks at `data`: what an earlier call did not pass, then new bytes.
    pub fn scan(&mut self, data: &[u8]) -> Scan {
        let mut at = 0;
        loop {
            let rest = &data[at..];
            if rest.is_empty() && !matches!(self.state, State::Refused(_)) {
                return Scan::Pass(at);
            }
            match self.state {
                State::Tunnel => return Scan::Pass(data.len()),
                State::AwaitsUpgrade => return Scan::Upgrade(at),
                State::Refused(refusal) => return Scan::Refused(at, refusal),
                State::Head => match self.scan_head(rest) {
                    Ok(None) => return Scan::Pass(at),
                    Ok(Some((length, framing))) => {
                        at += length;
                        self.after_head(framing);
                        if framing == Framing::Upgrade {
                            return Scan::Upgrade(at);
                        }
                    }
                    Err(refusal) => self.state = State::Refused(refusal),
                },
                State::Body(left) => {
                    let taken = left.min(rest.len() as u64);
                    at += taken as usize;
                    self.state = State::Body(left - taken);
                    if left == taken {
                        self.begin_head();
                    }
                }
                State::ChunkSize => match chunk_size(rest) {
                    Ok(None) => return Scan::Pass(at),
                    Ok(Some((length, 0))) => {
                        at += length;
                        self.state = State::Trailers(0);
                        self.lines = 0;
                    }
                    Ok(Some((length, size))) => {
                        at += length;
                        self.state = State::ChunkData(size);
                    }
                    Err(refusal) => self.state = State::Refused(refusal),
                },
                State::ChunkData(0) => match rest {
                    [b'\r', b'\n', ..] => {
                        at += 2;
                        self.state = State::ChunkSize;
                    }
                    [b'\r'] => return Scan::Pass(at),
                    _ => self.state = State::Refused(Refusal::Chunk),
                },
                State::ChunkData(left) => {
                    let taken = left.min(rest.len() as u64);
                    at += taken as usize;
                    self.state = State::ChunkData(left - taken);
                }
                State::Trailers(size) => match self.scan_trailer(rest, size) {
                    Ok(None) => return Scan::Pass(at),
                    Ok(Some(2)) => {
                        at += 2;
                        self.begin_head();
                    }
                    Ok(Some(length)) => {
                        at += length;
                        self.state = State::Trailers(size + length);
                    }
                    Err(refusal) => self.state = State::Refused(refusal),
                },
            }
        }
    }

    fn begin_head(&mut self) {
        self.state = State::Head;
        self.looked = 0;
        self.line_start = 0;
        self.lines = 0;
    }

    fn after_head(&mut self, framing: Framing) {
        self.begin_head();
        self.heads += 1;
        self.state = match framing {
            Framing::None | Framing::Length(0) => State::Head,
            Framing::Length(length) => State::Body(length),
            Framing::Chunked => State::ChunkSize,
            Framing::Upgrade => State::AwaitsUpgrade,
        };
    }

    /// Finds a head's end. `data` begins with the head; the answer is its length
    /// with the empty line, once it is whole.
    fn scan_head(&mut self, data: &[u8]) -> Result<Option<(usize, Framing)>, Refusal> {
        if data == b"\r" {
            return Ok(None);
        }
        // RFC 9112 §2.2: one empty line before the request line is ignored.
        let leading = if data.starts_with(b"\r\n") { 2 } else { 0 };
        if self.line_start < leading {
            self.line_start = leading;
            self.looked = leading;
        }
        if self.lines == 0 && data.get(leading).is_some_and(|&b| !is_token(b)) {
            return Err(Refusal::RequestLine);
        }
        for newline in memchr_iter(b'\n', &data[self.looked..]) {
            let newline = self.looked + newline;
            if newline >= self.limits.head {
                return Err(self.too_large());
            }
            if newline == self.line_start || data[newline - 1] != b'\r' {
                return Err(Refusal::LineEnd);
            }
            if newline == self.line_start + 1 {
                let framing = check_head(&data[leading..newline + 1])?;
                return Ok(Some((newline + 1, framing)));
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

    /// One trailer line with its end, or the empty line (length 2).
    fn scan_trailer(&mut self, data: &[u8], size: usize) -> Result<Option<usize>, Refusal> {
        let line = trailer_line(data, size, self.lines + 1, self.limits.head, self.limits.header_lines)?;
        self.lines += usize::from(line.is_some());
        Ok(line)
    }
}

/// The trailer line that `data` begins with: its length with its end, 2 for the
/// empty one. `size` bytes of trailers came before, and this is line `lines`.
pub(crate) fn trailer_line(
    data: &[u8],
    size: usize,
    lines: usize,
    max_size: usize,
    max_lines: usize,
) -> Result<Option<usize>, Refusal> {
    let Some(newline) = memchr(b'\n', data) else {
        return if size + data.len() >= max_size { Err(Refusal::Chunk) } else { Ok(None) };
    };
    let too_large = size + newline >= max_size;
    if newline == 0 || data[newline - 1] != b'\r' || too_large {
        return Err(Refusal::Chunk);
    }
    if newline > 1 {
        let (name, _) = header_line(&data[..newline - 1]).map_err(|_| Refusal::Chunk)?;
        // RFC 9110 §6.5.1: framing and routing fields have no place in trailers.
        let framing = [&b"content-length"[..], b"transfer-encoding", b"host", b"trailer"];
        let forbidden = framing.iter().any(|f| name.eq_ignore_ascii_case(f));
        if forbidden || lines > max_lines {
            return Err(Refusal::Chunk);
        }
    }
    Ok(Some(newline + 1))
}

/// Reads a chunk's size line; the answer is its length with its end, and the size.
pub(crate) fn chunk_size(data: &[u8]) -> Result<Option<(usize, u64)>, Refusal> {
    let window = &data[..data.len().min(CHUNK_LINE_MAX)];
    let Some(newline) = memchr(b'\n', window) else {
        let hopeless = window.len() == CHUNK_LINE_MAX || !window.iter().take(16).all(|b| chunk_line_byte(*b));
        return if hopeless { Err(Refusal::Chunk) } else { Ok(None) };
    };
    let line = window[..newline].strip_suffix(b"\r").ok_or(Refusal::Chunk)?;
    let digits = line.iter().take_while(|b| b.is_ascii_hexdigit()).count();
    let extension_ok = match line.get(digits) {
        None => true,
        // An extension is kept as it is by no one; it only must not hide a line end.
        Some(b';' | b' ' | b'\t') => line[digits..].iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7F)),
        Some(_) => false,
    };
    // 15 digits: less than 2^60, so that no sum of sizes overflows.
    if digits == 0 || digits > 15 || !extension_ok {
        return Err(Refusal::Chunk);
    }
    let size = line[..digits].iter().fold(0u64, |size, &b| (size << 4) | u64::from(hex(b)));
    Ok(Some((newline + 1, size)))
}

const fn chunk_line_byte(b: u8) -> bool {
    b.is_ascii_hexdigit() || matches!(b, b';' | b' ' | b'\t' | b'\r') || b >= 0x20
}

const fn hex(b: u8) -> u8 {
    match b {
        b'0'..=b'9' => b - b'0',
        _ => (b | 0x20) - b'a' + 10,
    }
}

/// Checks a whole head's lines, each already known to end in CR LF, and reads its framing.
fn check_head(head: &[u8]) -> Result<Framing, Refusal> {
    let mut lines = Lines(head);
    let request_line = lines.next().ok_or(Refusal::RequestLine)?;
    let (is_http_10, body_unusual) = check_request_line(request_line)?;
    let mut hosts = 0u32;
    let mut length: Option<u64> = None;
    let mut chunked = false;
    let mut upgrade = false;
    let mut connection_upgrade = false;
    for line in lines {
        let (name, value) = header_line(line)?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => {
                hosts += 1;
                if hosts > 1 {
                    return Err(Refusal::SeveralHosts);
                }
            }
            7 if name.eq_ignore_ascii_case(b"upgrade") => upgrade = true,
            10 if name.eq_ignore_ascii_case(b"connection") => {
                connection_upgrade |= list_has(value, b"upgrade");
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                // RFC 9112 §6.3 lets equal repetitions pass; nobody honest sends them.
                if length.is_some() {
                    return Err(Refusal::ContentLength);
                }
                length = Some(decimal(value).ok_or(Refusal::ContentLength)?);
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                if chunked || is_http_10 || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::TransferEncoding);
                }
                chunked = true;
            }
            _ => {}
        }
    }
    if hosts == 0 && !is_http_10 {
        return Err(Refusal::NoHost);
    }
    match (length, chunked) {
        (Some(_), true) => Err(Refusal::LengthAndEncoding),
        (None, true) => Ok(Framing::Chunked),
        (Some(length), false) if length > 0 => Ok(Framing::Length(length)),
        // A request with a body is never switched (see `upgrade_wanted`).
        _ if upgrade && connection_upgrade && !is_http_10 && !body_unusual => Ok(Framing::Upgrade),
        _ => Ok(Framing::None),
    }
}

/// `method SP target SP version`: whether it is HTTP/1.0, and whether the method
/// is another than GET.
fn check_request_line(line: &[u8]) -> Result<(bool, bool), Refusal> {
    let method_end = memchr(b' ', line).ok_or(Refusal::RequestLine)?;
    let (method, rest) = (&line[..method_end], &line[method_end + 1..]);
    let target_end = memchr(b' ', rest).ok_or(Refusal::RequestLine)?;
    let (target, version) = (&rest[..target_end], &rest[target_end + 1..]);
    if method.is_empty() || !method.iter().all(|&b| is_token(b)) || target.is_empty() {
        return Err(Refusal::RequestLine);
    }
    if !target_bytes_ok(target) {
        return Err(Refusal::Target);
    }
    Ok((version_of(version)? == Version::Http10, method != b"GET"))
}

/// `HTTP/` digit `.` digit (RFC 9112 §2.3). There is no HTTP/0.9 request line
/// that names its version (RFC 1945 §4.1), so a major version of 0 is no version.
pub(crate) fn version_of(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http11),
        b"HTTP/1.0" => Ok(Version::Http10),
        [b'H', b'T', b'T', b'P', b'/', b'1'..=b'9', b'.', b'0'..=b'9'] => Err(Refusal::Version),
        _ => Err(Refusal::RequestLine),
    }
}

/// Whether a target holds only bytes that clients send: visible ASCII without a
/// fragment and without `"`, `<`, `>`, and a path without backquote and
/// backslash. RFC 3986 §2 allows fewer, but browsers leave the rest of them
/// alone (WHATWG URL, path and query percent-encode sets).
pub(crate) fn target_bytes_ok(target: &[u8]) -> bool {
    let path = memchr(b'?', target).unwrap_or(target.len());
    let ok = |&b: &u8| (0x21..0x7F).contains(&b) && !matches!(b, b'#' | b'"' | b'<' | b'>');
    target.iter().all(ok) && !target[..path].iter().any(|b| matches!(b, b'`' | b'\\'))
}

/// A header line without its end: name, and value without surrounding blanks.
fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    // A first blank is obsolete folding (RFC 9112 §5.2); a blank before the
    // colon is refused by §5.1; both fail the token test.
    let colon = memchr(b':', line).ok_or(Refusal::HeaderSyntax)?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let name_ok = !name.is_empty() && name.iter().all(|&b| is_token(b));
    let value_ok = value.iter().all(|&b| b == b'\t' || (b >= b' ' && b != 0x7F));
    if !name_ok || !value_ok {
        return Err(Refusal::HeaderSyntax);
    }
    Ok((name, trim(value)))
}

/// The lines of a head, without their ends, up to the empty one.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let newline = memchr(b'\n', self.0)?;
        let line = &self.0[..newline.saturating_sub(1)];
        self.0 = &self.0[newline + 1..];
        (!line.is_empty()).then_some(line)
    }
}

/// A `tchar` of RFC 9110 §5.6.2.
pub(crate) const fn is_token(b: u8) -> bool {
    TOKEN[b as usize]
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut b = 0;
    while b < 256 {
        let c = b as u8;
        table[b] = c.is_ascii_alphanumeric()
            || matches!(
                c,
                b'!' | b'#'
                    | b'$'
                    | b'%'
                    | b'&'
                    | b'\''
                    | b'*'
                    | b'+'
                    | b'-'
                    | b'.'
                    | b'^'
                    | b'_'
                    | b'`'
                    | b'|'
                    | b'~'
            );
        b += 1;
    }
    table
};

/// Without blanks (SP, HTAB) around it.
pub(crate) fn trim(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = value {
        value = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

/// Whether a comma-separated list has this item, in any case (RFC 9110 §5.6.1).
pub(crate) fn list_has(list: &[u8], item: &[u8]) -> bool {
    list.split(|&b| b == b',').any(|part| trim(part).eq_ignore_ascii_case(item))
}

/// A decimal number of digits only (RFC 9110 §8.6 allows no sign), below 2^60.
pub(crate) fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests;
