//! The fingerprints of attacks: a set built by the compiler from `data/fingerprints.txt`.

use super::kind::Kind;

/// Up to five capital letters each, between spaces and line ends; `T` stands for types and
/// for T-SQL's statements alike.
const DATA: &[u8] = include_bytes!("../../data/fingerprints.txt");

const COUNT: usize = 8367;
const SLOTS: usize = 16384;

struct Set {
    slots: [u32; SLOTS],
    /// By first kind: the second kinds that occur.
    pairs: [u32; 32],
}

static SET: Set = Set::build();

/// Whether the kinds, one to five, are those of an attack.
#[inline]
pub(super) fn contains(kinds: &[Kind]) -> bool {
    match kinds {
        [] => false,
        [only] => *only == Kind::Evil,
        [first, second, ..] => {
            SET.pairs[code(*first) as usize] >> code(*second) & 1 != 0
                && SET.find(kinds.iter().fold(0, |key, &kind| key << 5 | code(kind)))
        }
    }
}

/// Five bits: the kind's number, types as T-SQL.
#[inline]
const fn code(kind: Kind) -> u32 {
    if matches!(kind, Kind::SqlType) {
        return Kind::Tsql as u32;
    }
    kind as u32
}

#[inline]
const fn slot_of(key: u32) -> usize {
    (key.wrapping_mul(0x9e37_79b1) >> 18) as usize
}

impl Set {
    #[inline]
    fn find(&self, key: u32) -> bool {
        let mut slot = slot_of(key);
        loop {
            match self.slots[slot] {
                0 => return false,
                found if found == key => return true,
                _ => slot = (slot + 1) % SLOTS,
            }
        }
    }

    const fn build() -> Set {
        let codes = codes();
        let mut set = Set { slots: [0; SLOTS], pairs: [0; 32] };
        let mut key = 0;
        let mut first = 0;
        let mut count = 0;
        let mut at = 0;
        while at < DATA.len() {
            let byte = DATA[at];
            at += 1;
            if byte > b' ' {
                let code = codes[byte as usize] as u32;
                if key == 0 {
                    first = code;
                } else if key == first {
                    set.pairs[first as usize] |= 1 << code;
                }
                key = key << 5 | code;
            } else {
                let mut slot = slot_of(key);
                while set.slots[slot] != 0 {
                    slot = (slot + 1) % SLOTS;
                }
                set.slots[slot] = key;
                key = 0;
                count += 1;
            }
        }
        assert!(count == COUNT);
        set
    }
}

/// By capital letter: the kind's code.
const fn codes() -> [u8; 128] {
    const LETTERS: &[u8] = b"kUBEfn1vso&cA(),:;TX";
    let mut codes = [0; 128];
    let mut at = 0;
    while at < LETTERS.len() {
        let letter = LETTERS[at];
        let code = code(Kind::from_letter(letter)) as u8;
        codes[letter.to_ascii_uppercase() as usize] = code;
        at += 1;
    }
    codes
}

#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = &'static [u8]> {
    DATA.split(|byte| byte.is_ascii_whitespace()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const KINDS: &[u8] = b"kUBEtfn1vso&cA(){}.,:;T?X\\";

    #[test]
    fn the_set_holds_what_the_file_says_and_nothing_else() {
        let known: HashSet<Vec<u8>> = all().map(<[u8]>::to_vec).collect();
        assert_eq!(known.len(), COUNT);
        let check = |letters: &[u8]| {
            let kinds: Vec<Kind> = letters.iter().map(|&l| Kind::from_letter(l)).collect();
            let expected = known.contains(&letters.to_ascii_uppercase());
            assert_eq!(contains(&kinds), expected, "{}", letters.escape_ascii());
        };
        check(b"");
        for &a in KINDS {
            check(&[a]);
            for &b in KINDS {
                check(&[a, b]);
                for &c in KINDS {
                    check(&[a, b, c]);
                    for &d in KINDS {
                        check(&[a, b, c, d]);
                    }
                }
            }
        }
        let lower = |letter: u8| match letter {
            b'K' | b'F' | b'N' | b'V' | b'S' | b'O' | b'C' => letter.to_ascii_lowercase(),
            other => other,
        };
        for text in all() {
            let letters: Vec<u8> = text.iter().map(|&l| lower(l)).collect();
            check(&letters);
            for &other in KINDS {
                let mut letters = letters.clone();
                *letters.last_mut().unwrap() = other;
                check(&letters);
            }
        }
    }
}
