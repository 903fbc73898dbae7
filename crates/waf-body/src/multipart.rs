//! `multipart/form-data` (RFC 7578) with ModSecurity's strictness flags.
//!
//! The body is one slice: contents are handed over as parts of it, and
//! boundaries are searched for with `memmem`, never byte by byte.
//!
//! A front end that reads a part which its back end reads otherwise is a hole, so
//! whatever is ambiguous raises a flag or is an error, as in ModSecurity v3
//! (tried on libmodsecurity 3.0.9), whose texts the errors keep. Where we differ:
//!
//! - After an error the rest is still read and handed over, so that rules see it.
//! - A value keeps its line ends; v3 drops those inside a value.
//! - `unmatched_boundary` becomes 2 only where it was 1 before; v3 sets 2 at any
//!   second boundary. `@eq 1` (the recommended rule) judges alike.
//! - A second `Content-Disposition` or `Content-Type` in one part, and a quoted
//!   parameter without its closing quote, are errors; v3 passes over them.
//! - A `filename*` beside `filename` is decoded and handed over too.
//! - Lines of `MULTIPART_PART_HEADERS` come without their line end (3.0.9 keeps
//!   it, later versions do not).

mod boundary;
mod disposition;
mod reader;

use crate::{Error, ErrorKind, Limits, Scratch, Sink};

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
    /// and was none, 2 when a second one that matched came after it.
    pub unmatched_boundary: u8,
    /// There was an error: counts towards `MULTIPART_STRICT_ERROR`.
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
    /// The first thing that is wrong. What could be read before and after it was
    /// handed to the sink nevertheless.
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
    let mut read = Multipart::default();
    let boundary = match boundary::parameter(content_type, &mut read.flags) {
        Ok(boundary) => boundary,
        Err(what) => {
            read.fail(what, 0);
            return read;
        }
    };
    if !body.is_empty() {
        let mut needle = std::mem::take(&mut scratch.extra);
        needle.clear();
        needle.extend_from_slice(b"--");
        needle.extend_from_slice(boundary);
        reader::Reader::new(body, &needle, complete, limits, &mut read, sink, scratch).body();
        scratch.extra = needle;
    }
    read
}

impl Multipart {
    /// Records what is wrong at byte `at`, unless something was before.
    fn fail(&mut self, what: &'static str, at: usize) {
        self.flags.error = true;
        self.error.get_or_insert(Error::new(ErrorKind::Multipart(what), at));
    }
}

#[cfg(test)]
mod tests;
