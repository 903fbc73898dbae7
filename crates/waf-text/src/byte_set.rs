//! A set of byte values.

/// A set of byte values, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ByteSet(pub [u64; 4]);

impl ByteSet {
    /// No byte.
    pub const EMPTY: Self = Self([0; 4]);
    /// Every byte.
    pub const ALL: Self = Self([u64::MAX; 4]);

    /// The bytes that occur in a text.
    #[inline]
    pub fn of(text: &[u8]) -> Self {
        // Both halves of ASCII stay in registers; a table in memory would wait for its
        // own last store at each byte.
        let (mut low, mut high, mut beyond) = (0u64, 0u64, 0u8);
        for &byte in text {
            let bit = 1u64 << (byte & 63);
            let is_high = u64::from(byte >> 6 & 1).wrapping_neg();
            high |= bit & is_high;
            low |= bit & !is_high;
            beyond |= byte;
        }
        if beyond < 0x80 { Self([low, high, 0, 0]) } else { Self::of_any(text) }
    }

    /// The same where not all is ASCII.
    fn of_any(text: &[u8]) -> Self {
        let mut set = Self::EMPTY;
        for &byte in text {
            set.insert(byte);
        }
        set
    }

    /// The bytes of a text, for constants.
    pub const fn new(text: &[u8]) -> Self {
        let mut set = [0; 4];
        let mut i = 0;
        while i < text.len() {
            set[(text[i] >> 6) as usize] |= 1 << (text[i] & 63);
            i += 1;
        }
        Self(set)
    }

    /// The bytes from `first` to `last`, both included.
    pub const fn range(first: u8, last: u8) -> Self {
        let mut set = [0; 4];
        let mut i = first as usize;
        while i <= last as usize {
            set[i >> 6] |= 1 << (i & 63);
            i += 1;
        }
        Self(set)
    }

    /// The bytes that are such.
    pub fn filter(such: impl Fn(u8) -> bool) -> Self {
        let mut set = Self::EMPTY;
        for byte in 0..=255 {
            if such(byte) {
                set.insert(byte);
            }
        }
        set
    }

    /// Adds a byte.
    #[inline]
    pub const fn insert(&mut self, byte: u8) {
        self.0[(byte >> 6) as usize] |= 1 << (byte & 63);
    }

    /// Whether a byte is in it.
    #[inline]
    pub const fn contains(&self, byte: u8) -> bool {
        self.0[(byte >> 6) as usize] >> (byte & 63) & 1 == 1
    }

    /// Whether the two have a byte in common.
    #[inline]
    pub const fn meets(&self, other: &Self) -> bool {
        (self.0[0] & other.0[0])
            | (self.0[1] & other.0[1])
            | (self.0[2] & other.0[2])
            | (self.0[3] & other.0[3])
            != 0
    }

    /// Those in either.
    pub const fn union(&self, other: &Self) -> Self {
        Self([self.0[0] | other.0[0], self.0[1] | other.0[1], self.0[2] | other.0[2], self.0[3] | other.0[3]])
    }

    /// Those in both.
    pub const fn intersection(&self, other: &Self) -> Self {
        Self([self.0[0] & other.0[0], self.0[1] & other.0[1], self.0[2] & other.0[2], self.0[3] & other.0[3]])
    }

    /// Those in this one and not in the other.
    pub const fn difference(&self, other: &Self) -> Self {
        self.intersection(&other.complement())
    }

    /// Those not in it.
    pub const fn complement(&self) -> Self {
        Self([!self.0[0], !self.0[1], !self.0[2], !self.0[3]])
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.0[0] | self.0[1] | self.0[2] | self.0[3] == 0
    }

    /// How many.
    pub const fn len(&self) -> u32 {
        self.0[0].count_ones() + self.0[1].count_ones() + self.0[2].count_ones() + self.0[3].count_ones()
    }

    /// Each byte, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        (0..=255u8).filter(|&byte| self.contains(byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_text() {
        for text in [&b""[..], b"a", b"?@", b"The quick brown fox 0123 ~\x00\x7f", b"\x80a", b"\xff\xbf\x40z"]
        {
            let set = ByteSet::of(text);
            for byte in 0..=255u8 {
                assert_eq!(set.contains(byte), text.contains(&byte), "{byte} in {text:?}");
            }
        }
    }
}
