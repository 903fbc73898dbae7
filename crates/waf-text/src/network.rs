//! Networks, for `@ipMatch`.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// An address with the number of its leading bits that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The address.
    pub address: IpAddr,
    /// How many of its bits count.
    pub bits: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// What stands before the slash is no address.
    Address(String),
    /// What stands behind the slash is no number of bits that the address has.
    Bits(String),
}

impl fmt::Display for NetworkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(text) => write!(f, "`{text}` is no IP address"),
            Self::Bits(text) => {
                write!(f, "`{text}` is no prefix length: 0 to 32 for IPv4, 0 to 128 for IPv6")
            }
        }
    }
}

impl std::error::Error for NetworkError {}

impl FromStr for Network {
    type Err = NetworkError;

    /// `10.0.0.0/8`, `2001:db8::/32`, or an address by itself.
    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let text = text.trim();
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Address(address.to_owned()))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => most,
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|&count| count <= most && bits.bytes().all(|byte| byte.is_ascii_digit()))
                .ok_or_else(|| NetworkError::Bits(bits.to_owned()))?,
        };
        Ok(Self { address, bits })
    }
}

impl Network {
    /// Whether an address is in it. An IPv4 address and its mapped form
    /// (RFC 4291 §2.5.5.2) are the same.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (first, last) = self.range();
        (first..=last).contains(&number(address))
    }

    /// Its first and last address.
    fn range(&self) -> (u128, u128) {
        let leading = if self.address.is_ipv4() { 96 + u32::from(self.bits) } else { u32::from(self.bits) };
        let hosts = u128::MAX.checked_shr(leading).unwrap_or(0);
        let first = number(self.address) & !hosts;
        (first, first | hosts)
    }
}

/// An address as a number of 128 bits, IPv4 in its mapped form.
fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_ipv6_mapped()),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

/// Many networks, asked at once: sorted ranges that do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpSet {
    ranges: Vec<(u128, u128)>,
}

impl IpSet {
    /// Of these networks.
    pub fn new(networks: impl IntoIterator<Item = Network>) -> Self {
        let mut all: Vec<(u128, u128)> = networks.into_iter().map(|network| network.range()).collect();
        all.sort_unstable();
        let mut ranges: Vec<(u128, u128)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match ranges.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }

    /// `@ipMatch`'s argument: networks between commas.
    ///
    /// # Errors
    ///
    /// The first that is none; an empty list is none.
    pub fn parse(list: &str) -> Result<Self, NetworkError> {
        let networks: Result<Vec<Network>, _> = list.split(',').map(str::parse).collect();
        networks.map(Self::new)
    }

    /// `@ipMatchFromFile`'s file: a network a line (or several between commas);
    /// blank lines and what follows `#` are skipped.
    ///
    /// # Errors
    ///
    /// The first line that holds none, counted from one.
    pub fn parse_file(text: &str) -> Result<Self, (usize, NetworkError)> {
        let mut networks = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            for word in line.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                networks.push(word.parse().map_err(|error| (index + 1, error))?);
            }
        }
        Ok(Self::new(networks))
    }

    /// Whether an address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = number(address);
        let after = self.ranges.partition_point(|&(first, _)| first <= address);
        after > 0 && address <= self.ranges[after - 1].1
    }

    /// Whether a value is an address that is in one of them; a value that is no
    /// address is in none.
    pub fn contains_text(&self, value: &[u8]) -> bool {
        let Ok(text) = std::str::from_utf8(value) else { return false };
        text.parse().is_ok_and(|address| self.contains(address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(list: &str, address: &str, expected: bool) {
        let set = IpSet::parse(list).map(|set| set.contains_text(address.as_bytes()));
        assert_eq!(set, Ok(expected), "{address} in {list}");
    }

    #[test]
    fn contains_or_not() {
        check("10.10.10.0/21", "10.10.8.1", true);
        check("10.10.10.0/21", "10.10.15.254", true);
        check("10.10.10.0/21", "10.10.16.1", false);
        check("0.0.0.0/0", "255.255.255.255", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "1.2.3.4", true);
        check("2001:db8::/32", "2001:db8:ffff::1", true);
        check("2001:db8::/32", "2001:db9::", false);
        check("127.0.0.1,::1", "::1", true);
        check("127.0.0.1, 10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("::ffff:10.0.0.0/104", "10.1.2.3", true);
        check("0:0:0:0:0:0:0::", "::", true);
        check("10.0.0.0/8", "localhost", false);
        check("10.0.0.0/8", "", false);
    }

    #[test]
    fn what_is_no_network_is_an_error() {
        let address = |text: &str| NetworkError::Address(text.to_owned());
        let bits = |text: &str| NetworkError::Bits(text.to_owned());
        assert_eq!(IpSet::parse(""), Err(address("")));
        assert_eq!(IpSet::parse("10.0.0"), Err(address("10.0.0")));
        assert_eq!(IpSet::parse("10.0.0.0/33"), Err(bits("33")));
        assert_eq!(IpSet::parse("10.0.0.0/+8"), Err(bits("+8")));
        assert_eq!(IpSet::parse("::/129"), Err(bits("129")));
        assert_eq!(IpSet::parse_file("# all\n10.0.0.0/8 # ours\n\nten\n"), Err((4, address("ten"))));
    }

    #[test]
    fn a_file_is_a_network_a_line() {
        let set = IpSet::parse_file("# all\r\n10.0.0.0/8 # ours\r\n\r\n::1,192.0.2.7\n").unwrap_or_default();
        assert!(
            set.contains_text(b"192.0.2.7") && set.contains_text(b"::1") && set.contains_text(b"10.9.8.7")
        );
        assert!(!set.contains_text(b"192.0.2.8"));
    }

    proptest! {
        #[test]
        fn a_set_answers_as_its_networks_do(
            networks in prop::collection::vec((any::<u32>(), 0u8..=32), 0..20),
            near in any::<prop::sample::Index>(),
            flip in 0u32..32,
        ) {
            let networks: Vec<Network> = networks
                .into_iter()
                .map(|(address, bits)| Network { address: IpAddr::V4(address.into()), bits })
                .collect();
            let set = IpSet::new(networks.iter().copied());
            let address = match networks.get(near.index(networks.len().max(1))) {
                Some(Network { address: IpAddr::V4(address), .. }) => u32::from(*address) ^ (1 << flip),
                _ => 1 << flip,
            };
            let address = IpAddr::V4(address.into());
            prop_assert_eq!(set.contains(address), networks.iter().any(|network| network.contains(address)));
        }
    }
}
