//! Why a request or connection was refused before routing: the vocabulary of
//! `bastide_edge_refused_total`, each with the status the client gets.

/// One reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// The request line is not `method SP target SP version` (RFC 9112 §3).
    RequestLine,
    /// A version other than HTTP/1.0 and HTTP/1.1.
    Version,
    /// A line that does not end in CR LF, or a CR elsewhere (RFC 9112 §2.2).
    LineEnd,
    /// A header line that is not `name: value` (RFC 9112 §5), folded (§5.2), or
    /// holds a control character.
    HeaderSyntax,
    /// A head larger than the limit.
    HeadTooLarge,
    /// A request line larger than the limit.
    TargetTooLong,
    /// More header lines than the limit.
    TooManyHeaders,
    /// HTTP/1.1 without Host (RFC 9112 §3.2).
    NoHost,
    /// More than one Host line.
    SeveralHosts,
    /// A Host or `:authority` that is not a host with an optional port.
    BadHost,
    /// A target in absolute form, or `:authority`, that names another host than Host.
    AuthorityMismatch,
    /// A target with forbidden characters, a fragment, or of an unsupported form.
    Target,
    /// CONNECT, TRACE, or a method that is not a token.
    Method,
    /// Content-Length repeated or not a number (RFC 9112 §6.3).
    ContentLength,
    /// Content-Length together with Transfer-Encoding (RFC 9112 §6.1).
    LengthAndEncoding,
    /// A Transfer-Encoding other than exactly `chunked`, or in HTTP/1.0.
    TransferEncoding,
    /// A chunk that breaks RFC 9112 §7.1, or trailers that are too large.
    Chunk,
    /// A header of a single connection in HTTP/2 (RFC 9113 §8.2.2).
    ConnectionHeader,
    /// An Expect other than `100-continue`.
    Expect,
    /// A body larger than the limit.
    BodyTooLarge,
    /// The body did not come in time.
    BodyTimeout,
    /// The head did not come in time.
    HeadTimeout,
    /// The TLS handshake failed.
    Handshake,
    /// The TLS handshake did not end in time.
    HandshakeTimeout,
    /// Too many connections.
    Connections,
    /// Too many connections from this address.
    ConnectionsPerIp,
    /// A host that is not the site's.
    UnknownHost,
    /// The request has passed through this edge too often.
    Loop,
    /// The client broke HTTP/2, or the connection.
    Protocol,
}

impl Refusal {
    /// All of them, in order.
    pub const ALL: [Self; 29] = [
        Self::RequestLine,
        Self::Version,
        Self::LineEnd,
        Self::HeaderSyntax,
        Self::HeadTooLarge,
        Self::TargetTooLong,
        Self::TooManyHeaders,
        Self::NoHost,
        Self::SeveralHosts,
        Self::BadHost,
        Self::AuthorityMismatch,
        Self::Target,
        Self::Method,
        Self::ContentLength,
        Self::LengthAndEncoding,
        Self::TransferEncoding,
        Self::Chunk,
        Self::ConnectionHeader,
        Self::Expect,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::HeadTimeout,
        Self::Handshake,
        Self::HandshakeTimeout,
        Self::Connections,
        Self::ConnectionsPerIp,
        Self::UnknownHost,
        Self::Loop,
        Self::Protocol,
    ];

    /// The label's value.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::RequestLine => "request_line",
            Self::Version => "version",
            Self::LineEnd => "line_end",
            Self::HeaderSyntax => "header_syntax",
            Self::HeadTooLarge => "head_too_large",
            Self::TargetTooLong => "target_too_long",
            Self::TooManyHeaders => "too_many_headers",
            Self::NoHost => "no_host",
            Self::SeveralHosts => "several_hosts",
            Self::BadHost => "bad_host",
            Self::AuthorityMismatch => "authority_mismatch",
            Self::Target => "target",
            Self::Method => "method",
            Self::ContentLength => "content_length",
            Self::LengthAndEncoding => "length_and_encoding",
            Self::TransferEncoding => "transfer_encoding",
            Self::Chunk => "chunk",
            Self::ConnectionHeader => "connection_header",
            Self::Expect => "expect",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::HeadTimeout => "head_timeout",
            Self::Handshake => "handshake",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::Connections => "connections",
            Self::ConnectionsPerIp => "connections_per_ip",
            Self::UnknownHost => "unknown_host",
            Self::Loop => "loop",
            Self::Protocol => "protocol",
        }
    }

    /// What the client gets, where it can still get an answer (RFC 9110 §15, RFC 6585 §5).
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::HeadTooLarge | Self::TooManyHeaders => 431,
            Self::TargetTooLong => 414,
            Self::Method => 405,
            Self::Expect => 417,
            Self::BodyTooLarge => 413,
            Self::BodyTimeout | Self::HeadTimeout => 408,
            Self::Connections | Self::ConnectionsPerIp => 503,
            Self::UnknownHost => 421,
            Self::Loop => 508,
            _ => 400,
        }
    }

    /// Where the rule that was broken is written; empty where it is not a rule of
    /// HTTP but a limit of this edge or of the layer below.
    pub const fn section(self) -> &'static str {
        match self {
            Self::RequestLine => "RFC 9112 §3",
            Self::Version => "RFC 9112 §2.3",
            Self::LineEnd => "RFC 9112 §2.2",
            Self::HeaderSyntax => "RFC 9112 §5",
            Self::NoHost | Self::SeveralHosts | Self::BadHost => "RFC 9112 §3.2",
            Self::AuthorityMismatch => "RFC 9112 §3.2.2",
            Self::Target => "RFC 9112 §3.2, RFC 3986 §2",
            Self::Method => "RFC 9110 §9.1",
            Self::ContentLength => "RFC 9112 §6.3",
            Self::LengthAndEncoding | Self::TransferEncoding => "RFC 9112 §6.1",
            Self::Chunk => "RFC 9112 §7.1",
            Self::ConnectionHeader => "RFC 9113 §8.2.2",
            Self::Expect => "RFC 9110 §10.1.1",
            Self::UnknownHost => "RFC 9110 §7.4",
            Self::HeadTooLarge
            | Self::TargetTooLong
            | Self::TooManyHeaders
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::HeadTimeout
            | Self::Handshake
            | Self::HandshakeTimeout
            | Self::Connections
            | Self::ConnectionsPerIp
            | Self::Loop
            | Self::Protocol => "",
        }
    }

    /// What is wrong, as the error page says it.
    pub const fn explanation(self) -> &'static str {
        match self {
            Self::RequestLine => "the request line cannot be understood",
            Self::Version => "this HTTP version is not supported",
            Self::LineEnd => "a line does not end in CR LF",
            Self::HeaderSyntax => "a header line cannot be understood",
            Self::HeadTooLarge => "the request's head is too large",
            Self::TargetTooLong => "the address is too long",
            Self::TooManyHeaders => "the request has too many header lines",
            Self::NoHost => "the request names no host",
            Self::SeveralHosts => "the request names its host more than once",
            Self::BadHost => "the request's host is not a host name",
            Self::AuthorityMismatch => "the request names two different hosts",
            Self::Target => "the address contains characters that must be escaped",
            Self::Method => "this method is not supported",
            Self::ContentLength => "the Content-Length cannot be understood",
            Self::LengthAndEncoding => "the request has both a Content-Length and a Transfer-Encoding",
            Self::TransferEncoding => "this Transfer-Encoding is not supported",
            Self::Chunk => "the chunked body cannot be understood",
            Self::ConnectionHeader => "a connection header is not allowed in HTTP/2",
            Self::Expect => "this expectation cannot be met",
            Self::BodyTooLarge => "the request's body is too large",
            Self::BodyTimeout => "the request's body did not arrive in time",
            Self::HeadTimeout => "the request did not arrive in time",
            Self::Handshake | Self::HandshakeTimeout => "the TLS handshake failed",
            Self::Connections | Self::ConnectionsPerIp => "too many connections",
            Self::UnknownHost => "this site is not served here",
            Self::Loop => "the request goes round in a loop",
            Self::Protocol => "the connection broke the protocol",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_listed_once_at_its_place() {
        for (i, refusal) in Refusal::ALL.iter().enumerate() {
            assert_eq!(*refusal as usize, i);
            assert!(Refusal::ALL[..i].iter().all(|r| r.reason() != refusal.reason()));
            assert!((400..600).contains(&refusal.status()));
        }
    }
}
