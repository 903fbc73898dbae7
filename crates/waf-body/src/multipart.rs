//! `multipart/form-data` (RFC 7578) with ModSecurity's strictness flags.

use crate::{Error, Limits, Scratch, Sink};

/// The strictness flags: variables `MULTIPART_*`, each 0 or 1 but for
/// `unmatched_boundary`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Flags {
    /// `MULTIPART_BOUNDARY_QUOTED`.
    pub boundary_quoted: bool,
    /// `MULTIPART_BOUNDARY_WHITESPACE`.
    pub boundary_whitespace: bool,
    /// `MULTIPART_DATA_BEFORE`.
    pub data_before: bool,
    /// `MULTIPART_DATA_AFTER`.
    pub data_after: bool,
    /// `MULTIPART_HEADER_FOLDING`.
    pub header_folding: bool,
    /// `MULTIPART_INVALID_HEADER_FOLDING`.
    pub invalid_header_folding: bool,
    /// `MULTIPART_LF_LINE`: a line of the structure ended by a bare LF.
    pub lf_line: bool,
    /// A line of the structure ended by CRLF.
    pub crlf_line: bool,
    /// `MULTIPART_MISSING_SEMICOLON`.
    pub missing_semicolon: bool,
    /// `MULTIPART_INVALID_QUOTING`.
    pub invalid_quoting: bool,
    /// `MULTIPART_INVALID_PART`.
    pub invalid_part: bool,
    /// `MULTIPART_FILE_LIMIT_EXCEEDED`.
    pub file_limit_exceeded: bool,
    /// `MULTIPART_UNMATCHED_BOUNDARY`: 1 when something looked like a boundary
    /// and was none, 2 when one that matched came after it.
    pub unmatched_boundary: u8,
    /// The parser gave up: counts towards `MULTIPART_STRICT_ERROR`.
    pub error: bool,
}

impl Flags {
    /// `MULTIPART_CRLF_LF_LINES`: both kinds of line ends.
    pub fn crlf_lf_lines(&self) -> bool {
        self.crlf_line && self.lf_line
    }

    /// `MULTIPART_STRICT_ERROR`: the OR of the flags, as the manual lists them
    /// (`unmatched_boundary` is not among them).
    pub fn strict_error(&self) -> bool {
        self.error
            || self.boundary_quoted
            || self.boundary_whitespace
            || self.data_before
            || self.data_after
            || self.header_folding
            || self.lf_line
            || self.missing_semicolon
            || self.invalid_quoting
            || self.invalid_part
            || self.invalid_header_folding
            || self.file_limit_exceeded
    }
}

/// What reading a multipart body showed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Multipart {
    /// The strictness flags.
    pub flags: Flags,
    /// Why the body could not be read to its end. What came before it was
    /// handed to the sink.
    pub error: Option<Error>,
    /// Parts read, files among them.
    pub parts: u32,
    /// Files read.
    pub files: u32,
    /// `FILES_COMBINED_SIZE`, bytes.
    pub files_size: u64,
}

/// Reads a multipart body. `content_type` is the value of `Content-Type`.
pub fn multipart(
    content_type: &[u8],
    body: &[u8],
    complete: bool,
    limits: &Limits,
    sink: &mut impl Sink,
    scratch: &mut Scratch,
) -> Multipart {
    let _ = (content_type, body, complete, limits, sink, scratch);
    Multipart::default()
}
