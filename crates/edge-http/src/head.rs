//! The request head: method, raw target, ordered header lines, as byte slices.

/// The HTTP version a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
}

impl Version {
    /// As a log line or rule names it: `HTTP/1.1`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http10 => "HTTP/1.0",
            Self::Http11 => "HTTP/1.1",
            Self::Http2 => "HTTP/2.0",
        }
    }
}

/// One request's head, borrowed from the connection that read it.
///
/// What hyper, today's engine, cannot give: header names come in lower case
/// whatever the client sent; header lines of different names keep their order
/// only within a name; a target in absolute form keeps its spelling but loses
/// nothing else; obsolete line folding is refused before we see it.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// The method, as sent: `GET`.
    pub method: &'a [u8],
    /// The request target as sent (RFC 9112 §3.2): path and query in origin form,
    /// or `*`. For HTTP/2, `:path`.
    pub target: &'a [u8],
    /// The authority: the Host header, or `:authority`; empty if there is none.
    pub authority: &'a [u8],
    /// The version.
    pub version: Version,
    /// The header lines in order: name and value, both without surrounding blanks.
    pub headers: &'a [(&'a [u8], &'a [u8])],
}

impl<'a> RequestHead<'a> {
    /// The target's path, before the first `?`.
    pub fn path(&self) -> &'a [u8] {
        split_target(self.target).0
    }

    /// The target's query, after the first `?`.
    pub fn query(&self) -> Option<&'a [u8]> {
        split_target(self.target).1
    }

    /// The first value of a header; `name` in any case.
    pub fn header(&self, name: &str) -> Option<&'a [u8]> {
        self.header_all(name).next()
    }

    /// All values of a header, in order; `name` in any case.
    pub fn header_all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name.as_bytes())).map(|(_, v)| *v)
    }

    /// The authority without its port, in its own case; brackets of an IPv6
    /// address stay.
    pub fn host(&self) -> &'a [u8] {
        let authority = self.authority;
        if authority.first() == Some(&b'[') {
            let end = authority.iter().position(|&b| b == b']').map_or(authority.len(), |i| i + 1);
            return &authority[..end];
        }
        let end = authority.iter().position(|&b| b == b':').unwrap_or(authority.len());
        &authority[..end]
    }
}

fn split_target(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match target.iter().position(|&b| b == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}
