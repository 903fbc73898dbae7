//! From the file to what runs: compile it into a revision, publish that to the
//! roles, keep the processes of the site running, answer the command line.
//!
//! [`supervisor`] holds privileges and sockets and knows nothing of the file;
//! [`life_of_a_change`] is the other half, the `control` role, which has no
//! privileges. Traffic waits for neither.

mod admin;
pub mod authority;
pub mod bans;
pub mod book;
pub mod compile;
mod enforce;
pub mod inputs;
pub mod life_of_a_change;
mod lower;
pub mod paths;
pub mod plan;
pub mod publish;
pub mod status;
pub mod supervisor;
mod upkeep;

pub use lower::processes::database_url;
