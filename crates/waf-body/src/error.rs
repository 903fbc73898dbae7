//! What is wrong with a body.

use std::fmt;

/// Why a body could not be read to its end. `Display` is the text of
/// `REQBODY_ERROR_MSG`: ModSecurity's words where its tests know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where: bytes from the beginning of what was parsed.
    pub at: usize,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, at: usize) -> Self {
        Self { kind, at }
    }
}

/// Whose format it is, and what is wrong in its terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The sink took no more: the caller's budget, not the client's syntax.
    Full,
    /// A multipart body; the text follows `Multipart parsing error: Multipart: `.
    Multipart(&'static str),
    /// A JSON body.
    Json(&'static str),
    /// An XML body.
    Xml(&'static str),
    /// A GraphQL document.
    Graphql(&'static str),
    /// A protobuf or gRPC message.
    Grpc(&'static str),
    /// A compressed body.
    Decode(&'static str),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match self.kind {
            ErrorKind::Full => write!(f, "more than the configured budget, at byte {at}"),
            ErrorKind::Multipart(what) => write!(f, "Multipart parsing error: Multipart: {what}"),
            ErrorKind::Json(what) => write!(f, "JSON parsing error: {what} at byte {at}"),
            ErrorKind::Xml(what) => write!(f, "XML parsing error: XML: {what} at byte {at}"),
            ErrorKind::Graphql(what) => write!(f, "GraphQL parsing error: {what} at byte {at}"),
            ErrorKind::Grpc(what) => write!(f, "gRPC parsing error: {what} at byte {at}"),
            ErrorKind::Decode(what) => write!(f, "decompression error: {what} at byte {at}"),
        }
    }
}

impl std::error::Error for Error {}
