//! What the rest of the edge knows of HTTP: the request head that routing, WAF
//! and limits see, the checks that refuse what is ambiguous, and the arithmetic
//! of headers: hop-by-hop, forwarding, ranges, conditions, encodings.
//!
//! It never does I/O, never allocates without a bound given by a head's limit,
//! and never panics on what a client sends. The types borrow from whichever
//! engine parsed the request. In this version the engine is hyper; what hyper
//! cannot give is written beside [`head::RequestHead`], and what it forgives
//! the [`guard::Guard`] refuses before hyper sees it. [`http1`] reads heads
//! without hyper: the conformance suites use it, the edge does not yet.
//!
//! Sources: RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 9113 (HTTP/2),
//! RFC 7239 (Forwarded), RFC 3986 (URI).

pub mod check;
pub mod forwarded;
pub mod guard;
pub mod head;
pub mod http1;
pub mod hygiene;
pub mod negotiate;
pub mod path;
pub mod range;
pub mod refusal;
pub mod settings;

pub use forwarded::Client;
pub use guard::{Guard, GuardLimits, Scan};
pub use head::{RequestHead, Version};
pub use refusal::Refusal;
pub use settings::{Limits, Timeouts};
