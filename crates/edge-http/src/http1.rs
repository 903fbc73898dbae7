//! HTTP/1 from raw bytes: the head, and the framing of the body behind it.
//!
//! [`HeadParser::read`] reads a head from bytes that arrive piece by piece.
//! Nothing is copied: a [`Head`] borrows from the bytes, and its header lines stand
//! in a table that the caller keeps and lends ([`Lines`]), so that a connection
//! allocates once. [`read_body`] reads the body of a request that is whole in
//! memory.
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
pub use head::{Framing, Head, HeadParser, Lines};
