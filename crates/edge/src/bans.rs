//! Who is kept out, and until when.

use base::net::{IpNet, canonical};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;

/// One ban, as `PUT /bans` gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ban {
    /// The address or network.
    pub net: IpNet,
    /// When it ends, Unix milliseconds; 0 is never.
    #[serde(default)]
    pub until_ms: u64,
}

/// The bans now: a hash table for each length of prefix that occurs, so that a
/// look-up costs one probe a length, usually one or two, however many bans.
#[derive(Debug, Default)]
pub(crate) struct Bans {
    v4: Vec<(u8, HashMap<u32, u64>)>,
    v6: Vec<(u8, HashMap<u128, u64>)>,
    count: usize,
}

impl Bans {
    /// From a list; of two for one network the later end counts.
    pub(crate) fn new(list: &[Ban]) -> Self {
        let mut bans = Self { count: list.len(), ..Self::default() };
        for ban in list {
            let until = if ban.until_ms == 0 { u64::MAX } else { ban.until_ms };
            match ban.net {
                IpNet::V4(net) => {
                    let table = table(&mut bans.v4, net.prefix_len());
                    let end = table.entry(u32::from(net.network())).or_default();
                    *end = until.max(*end);
                }
                IpNet::V6(net) => {
                    let table = table(&mut bans.v6, net.prefix_len());
                    let end = table.entry(u128::from(net.network())).or_default();
                    *end = until.max(*end);
                }
            }
        }
        bans
    }

    /// How many there are, ended ones not yet removed included.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Whether a client is banned. `now_ms` is asked for only where a ban fits.
    pub(crate) fn bans(&self, ip: IpAddr, now_ms: impl Fn() -> u64) -> bool {
        if self.count == 0 {
            return false;
        }
        let until = match canonical(ip) {
            IpAddr::V4(ip) => {
                let bits = u32::from(ip);
                let of = |(length, table): &(u8, HashMap<u32, u64>)| {
                    table.get(&(bits & u32::MAX.checked_shl(32 - u32::from(*length)).unwrap_or(0))).copied()
                };
                self.v4.iter().filter_map(of).max()
            }
            IpAddr::V6(ip) => {
                let bits = u128::from(ip);
                let of = |(length, table): &(u8, HashMap<u128, u64>)| {
                    table.get(&(bits & u128::MAX.checked_shl(128 - u32::from(*length)).unwrap_or(0))).copied()
                };
                self.v6.iter().filter_map(of).max()
            }
        };
        until.is_some_and(|until| until > now_ms())
    }
}

fn table<K>(tables: &mut Vec<(u8, HashMap<K, u64>)>, length: u8) -> &mut HashMap<K, u64> {
    let at = match tables.iter().position(|(l, _)| *l == length) {
        Some(at) => at,
        None => {
            tables.push((length, HashMap::new()));
            tables.len() - 1
        }
    };
    &mut tables[at].1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_addresses_and_ends() {
        let ban = |net: &str, until_ms| Ban { net: net.parse().unwrap(), until_ms };
        let bans = Bans::new(&[
            ban("192.0.2.1/32", 0),
            ban("198.51.100.0/24", 1_000),
            ban("198.51.100.7/32", 5_000),
            ban("2001:db8::/32", 1_000),
            ban("203.0.113.9/24", 1_000),
        ]);
        let cases = [
            ("192.0.2.1", u64::MAX - 1, true),
            ("::ffff:192.0.2.1", 0, true),
            ("192.0.2.2", 0, false),
            ("198.51.100.1", 999, true),
            ("198.51.100.1", 1_000, false),
            ("198.51.100.7", 4_999, true),
            ("198.51.100.7", 5_000, false),
            ("203.0.113.200", 0, true),
            ("2001:db8:1::1", 0, true),
            ("2001:db9::1", 0, false),
        ];
        for (ip, now, expected) in cases {
            assert_eq!(bans.bans(ip.parse().unwrap(), || now), expected, "{ip} at {now}");
        }
        let all = Bans::new(&[ban("0.0.0.0/0", 0)]);
        assert!(all.bans("1.2.3.4".parse().unwrap(), || 0));
        assert!(!all.bans("::1".parse().unwrap(), || 0));
        assert!(!Bans::default().bans("1.2.3.4".parse().unwrap(), || 0));
    }
}
