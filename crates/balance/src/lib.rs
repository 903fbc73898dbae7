//! Endpoints, their health, and the choice of one. The edge uses it for web
//! servers; the database router may use [`Health`] for members.
//!
//! What it does: keeps one [`Pool`] of servers that run the same program,
//! counts the requests at each, takes a server out when checks or traffic say
//! so, lets it back in, and chooses the server for the next request.
//!
//! What it never does: I/O, reading a clock, drawing random numbers. Times are
//! arguments, in milliseconds of any clock that does not go backwards; the same
//! calls give the same choices.
//!
//! A pool is shared by all workers behind an `Arc`. Choosing takes one short
//! lock (a pass over the servers); ending a request that was answered is two
//! atomic operations. Nothing waits on anything else.
//!
//! Limits: no slow start, no zones, no stickiness. When no server may take a
//! request, [`Pool::choose`] says so and when asking again makes sense; there is
//! no panic mode that sends requests to servers known to be down, because a
//! fresh failure helps nobody and a trial is never further away than
//! [`health::BACK_OFF_MAX_MS`].
//!
//! Sources: smooth weighted round robin as nginx documents it (`upstream`
//! module, "balancing method"); least connections by weight, ties in turn, as
//! nginx's `least_conn`; ejection after consecutive failures with growing
//! back-off as Envoy documents under "Outlier detection".

pub mod health;
pub mod pool;
pub mod settings;

pub use health::{Change, Health, Outcome, State};
pub use pool::{Lease, NoServer, Pool, ServerStatus};
