//! Networks, for `@ipMatch`.

use std::net::IpAddr;

/// An address with the number of its leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits count.
    pub bits: u8,
}
