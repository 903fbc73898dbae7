//! Identifiers.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The number of a committed configuration: 1 for the first, then one more each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RevisionId(pub u64);

impl fmt::Display for RevisionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// Names one event (a blocked request, say) to the person who met it: 20
/// characters of Crockford's base 32, 48 bits of milliseconds then 52 bits of
/// chance, so that ids sort by time and cannot be guessed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId(u128);

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

impl EventId {
    /// An id from the time in Unix milliseconds and 52 random bits (more are ignored).
    pub const fn new(at_ms: u64, random: u64) -> Self {
        Self((((at_ms as u128) & ((1 << 48) - 1)) << 52) | (random as u128 & ((1 << 52) - 1)))
    }

    /// When the event was, in Unix milliseconds.
    pub const fn at_ms(self) -> u64 {
        (self.0 >> 52) as u64
    }

    /// Reads the 20 characters back; letters may be of either case.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 20 {
            return None;
        }
        let mut value = 0u128;
        for byte in text.bytes() {
            let upper = byte.to_ascii_uppercase();
            let digit = ALPHABET.iter().position(|&a| a == upper)?;
            value = (value << 5) | digit as u128;
        }
        Some(Self(value))
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: [u8; 20] = std::array::from_fn(|i| ALPHABET[(self.0 >> (5 * (19 - i))) as usize & 31]);
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for EventId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom("not an event id of 20 characters"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_ids_read_back_and_sort_by_time() {
        for (ms, random) in [(0, 0), (1, 7), (1_764_000_000_000, u64::MAX), ((1 << 48) - 1, 1)] {
            let id = EventId::new(ms, random);
            let text = id.to_string();
            assert_eq!(text.len(), 20);
            assert_eq!(EventId::parse(&text), Some(id));
            assert_eq!(EventId::parse(&text.to_lowercase()), Some(id));
            assert_eq!(id.at_ms(), ms);
        }
        assert!(EventId::new(5, u64::MAX).to_string() < EventId::new(6, 0).to_string());
        assert_eq!(EventId::parse("short"), None);
        assert_eq!(EventId::parse("!!!!!!!!!!!!!!!!!!!!"), None);
    }
}
