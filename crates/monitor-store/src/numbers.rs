//! Packing the numbers of a block's chunks: scaled to whole ones, differences,
//! planes of bytes (docs/formats/store-block.md, "Chunk"). Unpacking is in `unpack`.

use crate::bytes::{Malformed, Reader, put_varint, put_zigzag, zigzag};

/// Samples of a chunk in a block.
pub(crate) const MAX_SAMPLES: usize = 8_192;

pub(crate) const CONSTANT: u8 = 0;
pub(crate) const SCALED: u8 = 1;
pub(crate) const SCALED_TWICE: u8 = 2;
pub(crate) const RAW: u8 = 3;

/// Up to 10^15 a scaled number keeps as many digits as a double has.
const MAX_EXPONENT: u8 = 15;
pub(crate) const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
/// Up to here all whole numbers have doubles of their own: 2^53.
const WHOLE: f64 = 9_007_199_254_740_992.0;
/// Adding and taking this away rounds to a whole number, below 2^51.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// Planes of raw values that go to the low part; the highest two repeat.
pub(crate) const RAW_LOW: usize = 6;

/// Packs values; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    numbers: Vec<i64>,
    exceptions: Vec<(usize, f64)>,
    coded: Vec<u64>,
}

impl Packer {
    /// Appends the parts of some values (at least one) and gives their kind, which
    /// the caller has written or will write before the low part.
    pub(crate) fn pack(&mut self, values: &[f64], low: &mut Vec<u8>, high: &mut Vec<u8>) -> u8 {
        let first = values[0].to_bits();
        if values.iter().all(|v| v.to_bits() == first) {
            low.extend_from_slice(&first.to_le_bytes());
            return CONSTANT;
        }
        match self.scale(values) {
            Some(exponent) => self.put_scaled(exponent, low, high),
            None => put_raw(values, low, high),
        }
    }

    /// Finds the smallest exponent that makes (nearly) all values whole; the
    /// numbers and exceptions are left in the buffers.
    fn scale(&mut self, values: &[f64]) -> Option<u8> {
        let allowed = 1 + values.len() / 16;
        let mut exponent = 0u8;
        let mut hopeless = 0;
        // A first look at a part is enough for most, and cheap for random bits.
        for value in values.iter().step_by(1 + values.len() / 64) {
            match (exponent..=MAX_EXPONENT).find(|e| scaled(*value, *e).is_some()) {
                Some(enough) => exponent = enough,
                None => hopeless += 1,
            }
            if hopeless > allowed {
                return None;
            }
        }
        loop {
            if self.all_scaled(values, exponent, allowed) {
                return Some(exponent);
            }
            // One of those not looked at needs more digits.
            exponent += 1;
            if exponent > MAX_EXPONENT {
                return None;
            }
        }
    }

    fn all_scaled(&mut self, values: &[f64], exponent: u8, allowed: usize) -> bool {
        self.numbers.clear();
        self.exceptions.clear();
        let mut before = 0;
        for (i, value) in values.iter().enumerate() {
            match scaled(*value, exponent) {
                Some(number) => before = number,
                None => {
                    self.exceptions.push((i, *value));
                    if self.exceptions.len() > allowed {
                        return false;
                    }
                }
            }
            self.numbers.push(before);
        }
        true
    }

    fn put_scaled(&mut self, exponent: u8, low: &mut Vec<u8>, high: &mut Vec<u8>) -> u8 {
        // Whichever of differences and their differences is shorter.
        let (mut simple, mut double, mut set) = (0u64, 0u64, 0i64);
        let (mut before, mut slope) = (self.numbers[0], 0i64);
        for number in &self.numbers[1..] {
            let difference = number - before;
            simple += u64::from(bits(difference));
            double += u64::from(bits(difference - slope));
            set |= difference;
            (before, slope) = (*number, difference);
        }
        let twice = double < simple;
        let shift = if set == 0 { 0 } else { set.trailing_zeros() as u8 };
        self.coded.clear();
        let mut sizes = [0usize; 9];
        let (mut before, mut slope) = (self.numbers[0], 0i64);
        for number in &self.numbers[1..] {
            let difference = number - before;
            let coded = zigzag((if twice { difference - slope } else { difference }) >> shift);
            sizes[width_of(coded)] += 1;
            self.coded.push(coded);
            (before, slope) = (*number, difference);
        }
        let width = width_for(&sizes, 1 + self.coded.len() / 64);
        low.extend_from_slice(&[exponent, shift, width as u8]);
        put_varint(low, self.exceptions.len() as u64);
        let mut last = 0;
        for (i, value) in &self.exceptions {
            put_varint(low, (i - last) as u64);
            low.extend_from_slice(&value.to_bits().to_le_bytes());
            last = *i;
        }
        put_large(&mut self.coded, width, low);
        put_zigzag(low, self.numbers[0]);
        put_planes(&self.coded, 0..1, low);
        put_planes(&self.coded, 1..width, high);
        if twice { SCALED_TWICE } else { SCALED }
    }
}

/// Lists the numbers that are wider, and leaves 0 in their place.
fn put_large(coded: &mut [u64], width: usize, low: &mut Vec<u8>) {
    let large = |n: u64| width_of(n) > width;
    put_varint(low, coded.iter().filter(|n| large(**n)).count() as u64);
    let mut last = 0;
    for (i, number) in coded.iter_mut().enumerate().filter(|(_, n)| large(**n)) {
        put_varint(low, (i - last) as u64);
        put_varint(low, *number);
        last = i;
        *number = 0;
    }
}

/// The number that gives the value back exactly when divided by 10^exponent.
#[inline]
fn scaled(value: f64, exponent: u8) -> Option<i64> {
    if exponent == 0 {
        let number = value as i64;
        // NaN becomes 0 and fails the test, as do -0 and what is too large.
        return (value.abs() < WHOLE && (number as f64).to_bits() == value.to_bits()).then_some(number);
    }
    let power = POWERS[usize::from(exponent)];
    let number = (value * power + ROUND) - ROUND;
    let same = (number / power).to_bits() == value.to_bits() && number.abs() < ROUND / 4.0;
    same.then_some(number as i64)
}

fn bits(n: i64) -> u32 {
    64 - n.unsigned_abs().leading_zeros()
}

/// Bytes that a number needs.
fn width_of(n: u64) -> usize {
    (64 - n.leading_zeros() as usize).div_ceil(8)
}

/// The smallest width (at least 1) that at most `allowed` numbers exceed.
pub(crate) fn width_for(sizes: &[usize; 9], allowed: usize) -> usize {
    let mut wider: usize = sizes[2..].iter().sum();
    let mut width = 1;
    while wider > allowed {
        width += 1;
        wider -= sizes[width];
    }
    width
}

/// Appends some bytes of all numbers, lowest first, one plane after another.
pub(crate) fn put_planes(numbers: &[u64], planes: std::ops::Range<usize>, into: &mut Vec<u8>) {
    for plane in planes {
        into.extend(numbers.iter().map(|n| (n >> (plane * 8)) as u8));
    }
}

/// Adds planes to numbers.
pub(crate) fn add_planes(
    numbers: &mut [u64],
    planes: std::ops::Range<usize>,
    from: &mut Reader<'_>,
) -> Result<(), Malformed> {
    for plane in planes {
        let bytes = from.bytes(numbers.len())?;
        for (number, byte) in numbers.iter_mut().zip(bytes) {
            *number |= u64::from(*byte) << (plane * 8);
        }
    }
    Ok(())
}

fn put_raw(values: &[f64], low: &mut Vec<u8>, high: &mut Vec<u8>) -> u8 {
    for plane in 0..8 {
        let into = if plane < RAW_LOW { &mut *low } else { &mut *high };
        let mut before = 0;
        into.extend(values.iter().map(|value| {
            let bits = value.to_bits();
            let byte = ((bits ^ before) >> (plane * 8)) as u8;
            before = bits;
            byte
        }));
    }
    RAW
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unpack::Unpacker;
    use proptest::prelude::*;
    use std::ops::Range;

    /// Values of some parts, as bits; nothing is left of the chunk then.
    fn unpack(kind: u8, count: usize, parts: &[Range<usize>], low: &[u8], high: &[u8]) -> Vec<u64> {
        let (mut low, mut high) = (Reader(low), Reader(high));
        let mut read = Vec::new();
        let give = |_: usize, values: &[f64]| read.extend(values.iter().map(|value| value.to_bits()));
        Unpacker::default().unpack(kind, count, parts, &mut low, &mut high, give).unwrap();
        assert!(low.0.is_empty() && high.0.is_empty());
        read
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (0i64..1_000_000).prop_map(|n| n as f64),
            8 => (-100_000i64..100_000).prop_map(|n| n as f64 / 1_000.0),
            2 => (-(1i64 << 53)..1 << 53).prop_map(|n| n as f64),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(monitor_model::STALE),
            1 => Just(-0.0),
            1 => Just(1e300),
        ]
    }

    fn check(values: &[f64]) -> (u8, usize, usize) {
        let (mut low, mut high) = (Vec::new(), Vec::new());
        let kind = Packer::default().pack(values, &mut low, &mut high);
        let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
        let count = values.len();
        let whole = 0..count;
        assert_eq!(unpack(kind, count, &[whole], &low, &high), bits);
        // Parts of them need nothing but what comes before.
        let part = |from: usize, to: usize| count * from / 21..count * to / 21;
        for parts in [
            vec![],
            vec![part(10, 21)],
            vec![part(7, 11), part(20, 21)],
            vec![part(1, 2), part(2, 3), part(9, 19)],
            (0..count).step_by(3).map(|at| at..at + 1).collect(),
        ] {
            let right: Vec<u64> = parts.iter().flat_map(|part| bits[part.clone()].to_vec()).collect();
            assert_eq!(unpack(kind, count, &parts, &low, &high), right);
        }
        (kind, low.len(), high.len())
    }

    proptest! {
        #[test]
        fn values_read_back(values in prop::collection::vec(any_value(), 1..400)) {
            check(&values);
        }

        #[test]
        fn whole_values_read_back(values in prop::collection::vec((0i64..1 << 40).prop_map(|n| n as f64 / 100.0), 1..400)) {
            check(&values);
        }

        #[test]
        fn numbers_of_any_width_read_back(
            bits in 1u32..53, shift in 0u32..20, exponent in 0usize..4,
            coded in prop::collection::vec((any::<u64>(), 0u32..40), 1..300),
        ) {
            // Runs of narrow differences with wide ones among them, and their sums.
            let of = |(random, rare): &(u64, u32)| {
                let bits = if *rare == 0 { 45 } else { bits.min(45) };
                (*random as i64) >> (64 - bits) << shift.min(45 - bits)
            };
            let differences: Vec<i64> = coded.iter().map(of).collect();
            let sums = |of: &[i64]| -> Vec<i64> {
                of.iter().scan(0i64, |sum, n| { *sum += n; Some(*sum >> 4) }).collect()
            };
            let whole = sums(&differences);
            for numbers in [&differences, &whole, &sums(&whole)] {
                check(&numbers.iter().map(|n| (n >> 2) as f64 / POWERS[exponent]).collect::<Vec<_>>());
            }
        }

        #[test]
        fn malformed_bytes_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..6, count in 1usize..300,
        ) {
            let (low, high) = bytes.split_at(bytes.len() / 2);
            for parts in [[0..count, count..count], [0..count / 3, count / 2..count]] {
                let _ = Unpacker::default().unpack(kind, count, &parts, &mut Reader(low), &mut Reader(high), |_, _| {});
            }
        }
    }

    #[test]
    fn usual_series_are_small() {
        let series = |f: fn(i64) -> f64| check(&(0..480).map(f).collect::<Vec<_>>());
        assert_eq!(series(|_| 1.0), (CONSTANT, 8, 0));
        assert!(series(|i| ((i * 37) % 11) as f64 / 100.0).0 != RAW);
        // All differences have the same zero bits.
        assert_eq!(series(|i| ((i * 7919) % 100 * 4_096) as f64).2, 0);
        // Second differences are all zero.
        assert_eq!(series(|i| (i * 100_000) as f64).0, SCALED_TWICE);
        // One reset of a counter does not make all numbers wide.
        assert_eq!(series(|i| ((i + 5_000_000) % 5_000_200) as f64).2, 0);
        assert_eq!(series(|i| (i as f64).sin()).0, RAW);
    }
}
