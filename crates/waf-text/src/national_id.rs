//! Numbers with a check: national identity numbers (`@validateNid`,
//! `@verifySSN`, `@verifyCPF`, `@verifySVNR`) and payment cards (`@verifyCC`).
//!
//! Each function looks at one text that the operator's expression found, and
//! counts only what its number is made of, so that separators do not matter.

/// Whose number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nid {
    /// Chile's RUT.
    Cl,
    /// The social security number of the United States.
    Us,
}

impl Nid {
    /// By the word that `@validateNid`'s argument begins with.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "cl" => Some(Self::Cl),
            "us" => Some(Self::Us),
            _ => None,
        }
    }

    /// Whether a text holds such a number.
    pub fn check(self, text: &[u8]) -> bool {
        match self {
            Self::Cl => is_rut(text),
            Self::Us => is_ssn(text),
        }
    }
}

/// The text's digits, where there are exactly `N`.
fn digits<const N: usize>(text: &[u8]) -> Option<[u32; N]> {
    let mut found = [0; N];
    let mut count = 0;
    for byte in text.iter().filter(|byte| byte.is_ascii_digit()) {
        *found.get_mut(count)? = u32::from(byte - b'0');
        count += 1;
    }
    (count == N).then_some(found)
}

/// All alike, or each one more than the one before: made up.
fn made_up(digits: &[u32]) -> bool {
    digits.windows(2).all(|pair| pair[0] == pair[1]) || digits.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

/// Chile's RUT: digits with weights 2 to 7 from the right, modulo 11; the check
/// digit is `k` where the remainder leaves ten.
pub fn is_rut(text: &[u8]) -> bool {
    if text.len() < 8 {
        return false;
    }
    let mut kept =
        text.iter().rev().map(u8::to_ascii_lowercase).filter(|byte| matches!(byte, b'0'..=b'9' | b'k'));
    let Some(check) = kept.next() else { return false };
    let mut sum: u64 = 0;
    for (place, byte) in kept.enumerate() {
        if byte == b'k' {
            return false;
        }
        sum += u64::from(byte - b'0') * (place as u64 % 6 + 2);
    }
    let expected = match sum % 11 {
        0 => b'0',
        1 => b'k',
        rest => b'0' + (11 - rest) as u8,
    };
    check == expected
}

/// A social security number that could have been issued before numbers were
/// given at random (2011): area not 000, 666 or from 740 on, group and serial
/// not zero.
pub fn is_ssn(text: &[u8]) -> bool {
    let Some(number) = digits::<9>(text) else { return false };
    let [a, b, c, d, e, f, g, h, i] = number;
    let area = a * 100 + b * 10 + c;
    let group = d * 10 + e;
    let serial = f * 1000 + g * 100 + h * 10 + i;
    !made_up(&number) && area != 0 && area != 666 && area < 740 && group != 0 && serial != 0
}

/// Brazil's CPF: nine digits and two check digits, each modulo 11.
pub fn is_cpf(text: &[u8]) -> bool {
    let Some(number) = digits::<11>(text) else { return false };
    let check = |count: usize| {
        let weights = (2..=count as u32 + 1).rev();
        let sum: u32 = number[..count].iter().zip(weights).map(|(digit, weight)| digit * weight).sum();
        match sum % 11 {
            0 | 1 => 0,
            rest => 11 - rest,
        }
    };
    !made_up(&number) && number[9] == check(9) && number[10] == check(10)
}

/// Austria's social security number: the fourth digit is the others' weighted
/// sum modulo 11, ten counting as zero, as in ModSecurity.
pub fn is_svnr(text: &[u8]) -> bool {
    const WEIGHTS: [u32; 10] = [3, 7, 9, 0, 5, 8, 4, 2, 1, 6];
    let Some(number) = digits::<10>(text) else { return false };
    let sum: u32 = number.iter().zip(WEIGHTS).map(|(digit, weight)| digit * weight).sum();
    !made_up(&number) && sum % 11 % 10 == number[3]
}

/// A payment card's number by its check digit (ISO/IEC 7812-1 annex B, Luhn);
/// of any length but zero.
pub fn is_card(text: &[u8]) -> bool {
    let mut sum: u64 = 0;
    let mut count: u64 = 0;
    for byte in text.iter().rev().filter(|byte| byte.is_ascii_digit()) {
        let digit = u64::from(byte - b'0');
        sum += if count.is_multiple_of(2) { digit } else { digit * 2 / 10 + digit * 2 % 10 };
        count += 1;
    }
    count > 0 && sum.is_multiple_of(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(is: fn(&[u8]) -> bool, valid: &[&str], invalid: &[&str]) {
        for text in valid {
            assert!(is(text.as_bytes()), "{text} is valid");
        }
        for text in invalid {
            assert!(!is(text.as_bytes()), "{text} is not");
        }
    }

    #[test]
    fn numbers_and_no_numbers() {
        check(
            is_card,
            &["5484605089158216", "4417-1234-5678-9113", "343918934573386"],
            &["", "x", "5484605089158217"],
        );
        check(
            is_ssn,
            &["219-09-9999", "574-57-8065"],
            &[
                "000-09-9999",
                "123-45-6789",
                "111111111",
                "666-12-1234",
                "740-12-1234",
                "219-00-9999",
                "21909999",
                "2190999991",
            ],
        );
        check(is_cpf, &["529.982.247-25"], &["529.982.247-26", "111.111.111-11", "010.817"]);
        check(is_svnr, &["1237010180", "1237 010180"], &["1238 010180", "0000000000"]);
        check(
            is_rut,
            &["12.345.678-5", "11.111.111-1", "9.007.920-4"],
            &["11.111.111-0", "1-9", "kkkkkkkk", ""],
        );
        check(is_rut, &["20.347.878-K", "20347878-k"], &["20347878-1"]);
    }
}
