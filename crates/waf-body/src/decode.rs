//! Content codings (RFC 9110 §8.4): `gzip`, `deflate`, `br`, `zstd`.

use crate::{Error, Limits};

/// Undoes a body's `Content-Encoding`, chunk by chunk.
pub struct Decoder {}

impl Decoder {
    /// `encoding` is the whole value of `Content-Encoding`, at most three
    /// codings; `identity` counts as none. `None` when there is nothing to undo.
    pub fn new(encoding: &[u8], limits: &Limits) -> Result<Option<Self>, Error> {
        let _ = (encoding, limits);
        Ok(None)
    }

    /// Decodes one chunk and appends to `out` what comes of it.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        let _ = (chunk, out);
        Ok(())
    }

    /// The body is at its end: appends what was held back, and says when the
    /// compressed data ends too early.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), Error> {
        let _ = out;
        Ok(())
    }
}
