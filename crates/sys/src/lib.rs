//! What only the operating system can give: the clock, chance, processes,
//! sockets, files that survive a crash. The home of the little unsafe code
//! there is; no other crate may have any.

pub mod allocations;
pub mod clock;
pub mod fd;
pub mod file;
pub mod map;
pub mod process;
pub mod random;
pub mod socket;
pub mod user;
