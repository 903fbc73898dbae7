//! What every other crate may name: units, identifiers, addresses, and the
//! metrics and events the product emits.
//!
//! Pure: no I/O, no clock, no randomness. Times are arguments, in milliseconds
//! since the Unix epoch unless the name says otherwise.

pub mod events;
pub mod hash;
pub mod ids;
pub mod names;
pub mod net;
pub mod secret;
pub mod units;

pub use ids::{EventId, RevisionId};
pub use net::Address;
pub use secret::Secret;
pub use units::{Bytes, Lsn, Millis, Rate};
