//! The database role: a router between the web servers and PostgreSQL, and the
//! way in which PostgreSQL members are made and started.
//!
//! What it does: on one port it speaks PostgreSQL's protocol with SCRAM-SHA-256
//! (and TLS where it has a certificate), lends each session a connection to the
//! primary from its first need to its end, and runs plain reads outside
//! transactions on replicas that have replayed what the login wrote
//! (`docs/decisions/read-your-writes.md`). It asks the members several times a
//! second what they are and how far they have got. [`instance`] makes a
//! member's data directory and becomes its `postgres`.
//!
//! What it never does: run a write on a replica, or again; decide a failover
//! (the file says who is the primary); replication connections; GSSAPI; TLS or
//! anything but SCRAM-SHA-256 towards members.
//!
//! Limits: per session about half a MiB of buffers, however large results and
//! parameters are; batches beyond 256 KiB go to the primary as they come.
//!
//! The journey is told in `life_of_a_query.rs`.
//!
//! Sources: PostgreSQL 15 manual, chapters 55 (protocol), 27 (high availability), 19 and 20 (configuration).

mod backend;
mod cancel;
mod client;
mod flow;
mod held;
pub mod instance;
mod life_of_a_query;
mod member;
mod poll;
mod primary;
mod session;
mod shared;
mod stats;
mod wire;

pub use life_of_a_query::run;
