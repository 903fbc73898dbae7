//! Who is kept out, and until when.

use arc_swap::ArcSwap;
use base::net::{IpNet, canonical};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

/// A ban that the edge made, as `POST /bans/made` gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MadeBan {
    /// The address or network.
    pub net: IpNet,
    /// When it ends, Unix milliseconds.
    pub until_ms: u64,
    /// Why, for a person.
    pub why: String,
    /// The client is behind a trusted proxy: only the edge can tell it from others.
    pub behind_proxy: bool,
}

/// Bans made here that are kept until control has them; further ones are not made.
const MADE: usize = 10_000;

/// Bans that the edge made itself. They hold at once, and until control, which keeps
/// them, has them in the list that it sends.
#[derive(Default)]
pub(crate) struct Made {
    list: Mutex<MadeList>,
    now: ArcSwap<Bans>,
}

#[derive(Default)]
struct MadeList {
    bans: Vec<MadeBan>,
    /// How many of them, from the first, were handed to control.
    handed: usize,
}

impl Made {
    /// Whether a client is banned by one of these.
    pub(crate) fn bans(&self, ip: IpAddr) -> bool {
        self.now.load().bans(ip, sys::clock::now_ms)
    }

    pub(crate) fn add(&self, ban: MadeBan) {
        let mut list = self.list();
        if list.bans.len() < MADE {
            list.bans.push(ban);
            self.swap(&list);
        }
    }

    /// All of them, for control. They hold here until its next list.
    pub(crate) fn hand_over(&self) -> Vec<MadeBan> {
        let mut list = self.list();
        list.handed = list.bans.len();
        list.bans.clone()
    }

    /// Control has sent its list: what was handed over is in it, or was refused.
    pub(crate) fn forget_handed(&self) {
        let mut list = self.list();
        let handed = std::mem::take(&mut list.handed);
        list.bans.drain(..handed);
        self.swap(&list);
    }

    fn list(&self) -> MutexGuard<'_, MadeList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn swap(&self, list: &MadeList) {
        let bans: Vec<Ban> =
            list.bans.iter().map(|ban| Ban { net: ban.net, until_ms: ban.until_ms }).collect();
        self.now.store(Arc::new(Bans::new(&bans)));
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
    fn bans_made_here_hold_until_control_has_them() {
        let ban = |net: &str| MadeBan {
            net: net.parse().unwrap(),
            until_ms: u64::MAX,
            why: "test".into(),
            behind_proxy: false,
        };
        let (first, second) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let made = Made::default();
        made.add(ban("192.0.2.1/32"));
        assert!(made.bans(first) && !made.bans(second));
        // A list that control sent before it asked changes nothing.
        made.forget_handed();
        assert!(made.bans(first));
        assert_eq!(made.hand_over(), [ban("192.0.2.1/32")]);
        // One that is made meanwhile stays.
        made.add(ban("192.0.2.2/32"));
        made.forget_handed();
        assert!(!made.bans(first) && made.bans(second));
        for _ in 0..MADE {
            made.list().bans.push(ban("192.0.2.3/32"));
        }
        made.add(ban("192.0.2.4/32"));
        assert!(!made.bans("192.0.2.4".parse().unwrap()), "there is no room for it");
    }

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
