//! Host and path to what answers: a pool, a folder of files, a redirect; and the
//! limits on how often.
//!
//! Pure. First match wins; a request that nothing matches has no route. Paths
//! are compared in their normal form (`edge_http::path::normal`), hosts without
//! regard to case. It never allocates on a match.

pub mod limiter;
pub mod settings;
pub mod table;

pub use limiter::Limiter;
pub use table::{Found, Table};
