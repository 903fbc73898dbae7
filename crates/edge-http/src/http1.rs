//! HTTP/1 from raw bytes: the head, and the framing of the body behind it.
//!
//! [`HeadParser::advance`] finds a head's end in bytes that arrive piece by
//! piece and holds the limits; [`parse`] then reads the whole head in one pass
//! over it. Nothing is copied: a [`Head`] borrows from the bytes, and its header
//! lines stand in a table that the caller keeps and lends ([`Lines`]), so that a
//! connection allocates once.
//!
//! Strict where RFC 9112 lets a server be: what two servers could read in two
//! ways is refused, with the verdict that [`crate::Guard`] gives for the same
//! bytes. What of a well-formed request the edge does not serve (methods,
//! expectations) is not decided here but in [`crate::check`].
//!
//! Sources: RFC 9112 §2–§7, RFC 9110 §5 and §7, RFC 3986 §3.

mod body;
mod head;
mod validate;

#[cfg(test)]
mod obvious;
#[cfg(test)]
mod tests;

pub use body::{Body, BodyLimits, read_body};
pub use head::{Framing, Head, HeadParser, Lines, Step, parse};
