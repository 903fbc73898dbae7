//! Host and path to what answers: a pool, a folder of files, a redirect.
//!
//! Pure. First match wins; a request that nothing matches has no route.

pub mod settings;
