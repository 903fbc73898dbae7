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
pub mod privileged;
pub mod publish;
pub mod status;
pub mod supervisor;
mod upkeep;

pub use lower::processes::database_url;

use base::Millis;
use paths::Paths;
use site::{ProcessSpec, UserClass};
use std::path::Path;

/// What the supervisor starts by itself: control, which then says what else.
/// Where the file asks for the kernel's firewall, and root runs it, also the helper that speaks to it.
pub fn first_processes(program: &Path, paths: &Paths, firewall: bool) -> Vec<ProcessSpec> {
    let process = |name| lower::processes::role_process(program, Some(paths), name, 0, Millis(10_000));
    let mut first = vec![process("control")];
    if firewall {
        first.push(ProcessSpec { user: UserClass::Privileged, ..process("privileged") });
    }
    first
}
