//! The body of a request that is whole in memory.

use super::head::Framing;
use crate::Refusal;
use crate::guard::{chunk_size, trailer_line};
use std::borrow::Cow;

/// What a body may hold.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// Bytes of content.
    pub content: u64,
    /// Bytes of trailers.
    pub trailers: usize,
    /// Lines of trailers.
    pub trailer_lines: usize,
}

/// One body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body<'a> {
    /// The content without its framing; borrowed where the framing left it in one piece.
    pub content: Cow<'a, [u8]>,
    /// How many bytes it took; what follows is the next request.
    pub length: usize,
}

/// Reads a body of the given framing from the front of `data` (RFC 9112 §6.3,
/// §7.1). `None` where bytes are missing.
pub fn read_body(data: &[u8], framing: Framing, limits: BodyLimits) -> Result<Option<Body<'_>>, Refusal> {
    match framing {
        Framing::None => Ok(Some(Body { content: Cow::Borrowed(&[]), length: 0 })),
        Framing::Length(length) if length > limits.content => Err(Refusal::BodyTooLarge),
        Framing::Length(length) => {
            let content = usize::try_from(length).ok().and_then(|length| data.get(..length));
            Ok(content.map(|content| Body { content: Cow::Borrowed(content), length: content.len() }))
        }
        Framing::Chunked => read_chunks(data, limits),
    }
}

fn read_chunks(data: &[u8], limits: BodyLimits) -> Result<Option<Body<'_>>, Refusal> {
    let mut content: Cow<'_, [u8]> = Cow::Borrowed(&[]);
    let mut at = 0;
    loop {
        let Some((line, size)) = chunk_size(&data[at..])? else { return Ok(None) };
        at += line;
        if size == 0 {
            break;
        }
        if content.len() as u64 + size > limits.content {
            return Err(Refusal::BodyTooLarge);
        }
        let rest = &data[at..];
        let Some(chunk) = usize::try_from(size).ok().and_then(|size| rest.get(..size)) else {
            return Ok(None);
        };
        match &rest[chunk.len()..] {
            [b'\r', b'\n', ..] => {}
            [] | [b'\r'] => return Ok(None),
            _ => return Err(Refusal::Chunk),
        }
        at += chunk.len() + 2;
        if content.is_empty() {
            content = Cow::Borrowed(chunk);
        } else {
            content.to_mut().extend_from_slice(chunk);
        }
    }
    let (trailers, mut lines) = (at, 0);
    loop {
        lines += 1;
        let Some(length) =
            trailer_line(&data[at..], at - trailers, lines, limits.trailers, limits.trailer_lines)?
        else {
            return Ok(None);
        };
        at += length;
        if length == 2 {
            return Ok(Some(Body { content, length: at }));
        }
    }
}
