//! Numbers of one series in the head: bytes that grow.
//!
//! ```text
//! control u8   bit 7: first of a stretch: time i64 and value u64 follow, nothing else
//!              bit 0: zigzag difference of distances follows (else the same distance as before)
//!              bits 1-2: 0 the same value
//!                        1 zigzag difference, both values are whole numbers
//!                        2 XOR: a byte (trailing zero bytes << 4 | bytes), then the bytes
//! ```
//!
//! In memory only. Every 32 samples a stretch begins, whose place is known, so
//! that a query for the last minutes decodes little.

use crate::bytes::{Malformed, Reader, put_zigzag};
use std::ops::Range;

const STRETCH: u8 = 0x80;
/// Samples of a stretch: 16 bytes more for each, and half of it decoded in vain.
const STRETCH_SAMPLES: u32 = 32;
/// Whole numbers up to here have exact doubles around them.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Numbers, ascending by time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Floats {
    bytes: Vec<u8>,
    /// Where stretches begin; the first, at 0, is not listed.
    marks: Vec<Mark>,
    first_ms: i64,
    last_ms: i64,
    last_bits: u64,
    distance: i64,
    count: u32,
    /// Samples since the last stretch began.
    stretch: u32,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    first_ms: i64,
    offset: u32,
    index: u32,
}

impl Floats {
    /// Appends a number that is newer than the last.
    #[inline]
    pub(crate) fn push(&mut self, at_ms: i64, bits: u64) {
        if self.count == 0 || self.stretch >= STRETCH_SAMPLES {
            self.begin_stretch(at_ms, bits);
            return;
        }
        let distance = at_ms - self.last_ms;
        let mut control = u8::from(distance != self.distance);
        let at = self.bytes.len();
        self.bytes.push(0);
        if control != 0 {
            put_zigzag(&mut self.bytes, distance - self.distance);
        }
        if bits != self.last_bits {
            match whole_difference(f64::from_bits(self.last_bits), f64::from_bits(bits)) {
                Some(difference) => {
                    control |= 1 << 1;
                    put_zigzag(&mut self.bytes, difference);
                }
                None => {
                    control |= 2 << 1;
                    let xor = self.last_bits ^ bits;
                    let trailing = xor.trailing_zeros() / 8;
                    let length = 8 - trailing - xor.leading_zeros() / 8;
                    self.bytes.push((trailing << 4 | length) as u8);
                    let shifted = (xor >> (trailing * 8)).to_le_bytes();
                    self.bytes.extend_from_slice(&shifted[..length as usize]);
                }
            }
        }
        self.bytes[at] = control;
        self.distance = distance;
        (self.last_ms, self.last_bits) = (at_ms, bits);
        self.count += 1;
        self.stretch += 1;
    }

    fn begin_stretch(&mut self, at_ms: i64, bits: u64) {
        if self.count == 0 {
            self.first_ms = at_ms;
        } else {
            let offset = self.bytes.len() as u32;
            self.marks.push(Mark { first_ms: at_ms, offset, index: self.count });
        }
        self.bytes.push(STRETCH);
        self.bytes.extend_from_slice(&at_ms.to_le_bytes());
        self.bytes.extend_from_slice(&bits.to_le_bytes());
        self.distance = 0;
        (self.last_ms, self.last_bits) = (at_ms, bits);
        self.count += 1;
        self.stretch = 1;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn len(&self) -> u32 {
        self.count
    }

    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.count > 0 && self.last_ms >= start_ms && self.first_ms <= end_ms
    }

    /// The bytes to decode for a time range, and the index of their first sample.
    fn part(&self, start_ms: i64, end_ms: i64) -> (Range<usize>, u32) {
        let from = self.marks.partition_point(|mark| mark.first_ms <= start_ms);
        let (begin, index) = match from.checked_sub(1) {
            Some(before) => (self.marks[before].offset as usize, self.marks[before].index),
            None => (0, 0),
        };
        let to = self.marks[from..].iter().find(|mark| mark.first_ms > end_ms);
        (begin..to.map_or(self.bytes.len(), |mark| mark.offset as usize), index)
    }

    /// The bytes to decode for a time range; they begin with a stretch.
    pub(crate) fn slice(&self, start_ms: i64, end_ms: i64) -> &[u8] {
        let (part, _) = self.part(start_ms, end_ms);
        &self.bytes[part]
    }

    /// Gives all numbers of a time range, and perhaps some before and after it,
    /// with their indexes.
    pub(crate) fn each(&self, start_ms: i64, end_ms: i64, mut each: impl FnMut(u32, i64, u64)) {
        let (part, mut index) = self.part(start_ms, end_ms);
        decode(&self.bytes[part], |at_ms, bits| {
            each(index, at_ms, bits);
            index += 1;
        });
    }

    /// The value at exactly a time.
    pub(crate) fn at(&self, at_ms: i64) -> Option<u64> {
        let mut found = None;
        if self.overlaps(at_ms, at_ms) {
            self.each(at_ms, at_ms, |_, time, bits| {
                if time == at_ms {
                    found = Some(bits);
                }
            });
        }
        found
    }
}

/// The difference of two whole numbers that gives back the second exactly.
#[inline]
fn whole_difference(before: f64, now: f64) -> Option<i64> {
    let (b, n) = (before as i64, now as i64);
    let whole = |v: f64, i: i64| v.abs() <= WHOLE && (i as f64).to_bits() == v.to_bits();
    (whole(before, b) && whole(now, n)).then(|| n - b)
}

/// Gives the numbers of some bytes, which begin with a stretch.
pub(crate) fn decode(bytes: &[u8], each: impl FnMut(i64, u64)) {
    // The bytes never left this process' memory; what is malformed is a defect
    // of ours, and costs the rest of them rather than the process.
    let result = try_decode(bytes, each);
    debug_assert_eq!(result, Ok(()));
}

fn try_decode(bytes: &[u8], mut each: impl FnMut(i64, u64)) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let (mut at_ms, mut bits, mut distance) = (0i64, 0u64, 0i64);
    while !reader.0.is_empty() {
        let control = reader.u8()?;
        if control & STRETCH != 0 {
            (at_ms, bits, distance) = (reader.i64()?, reader.u64()?, 0);
            each(at_ms, bits);
            continue;
        }
        if control & 1 != 0 {
            distance = distance.wrapping_add(reader.zigzag()?);
        }
        at_ms = at_ms.wrapping_add(distance);
        match control >> 1 & 3 {
            0 => {}
            1 => bits = ((f64::from_bits(bits) as i64).wrapping_add(reader.zigzag()?) as f64).to_bits(),
            _ => {
                let head = reader.u8()?;
                let mut word = [0; 8];
                let length = usize::from(head & 15);
                word.get_mut(..length).ok_or(Malformed)?.copy_from_slice(reader.bytes(length)?);
                bits ^= u64::from_le_bytes(word).checked_shl(u32::from(head >> 4) * 8).ok_or(Malformed)?;
            }
        }
        each(at_ms, bits);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_read_back(
            start in -1_000_000i64..2_000_000_000_000,
            samples in prop::collection::vec((1i64..50_000, prop_oneof![
                (0u32..1000).prop_map(f64::from),
                any::<u64>().prop_map(f64::from_bits),
                Just(-0.0), Just(WHOLE), Just(-WHOLE), Just(f64::INFINITY),
            ]), 1..300),
            part in (0usize..300, 0usize..100),
        ) {
            let mut floats = Floats::default();
            let mut at_ms = start;
            let mut all = Vec::new();
            for (distance, value) in samples {
                at_ms += distance;
                all.push((at_ms, value.to_bits()));
                floats.push(at_ms, value.to_bits());
            }
            let mut read = Vec::new();
            floats.each(i64::MIN, i64::MAX, |i, at_ms, bits| {
                assert_eq!(i as usize, read.len());
                read.push((at_ms, bits));
            });
            prop_assert_eq!(&read, &all);
            // A part has all that is within, and each with its own index.
            let from = all[part.0.min(all.len() - 1)].0;
            let to = all[(part.0 + part.1).min(all.len() - 1)].0;
            let mut found = Vec::new();
            floats.each(from, to, |i, at_ms, bits| {
                assert_eq!(all[i as usize], (at_ms, bits));
                if (from..=to).contains(&at_ms) {
                    found.push((at_ms, bits));
                }
            });
            let expected: Vec<_> = all.iter().filter(|s| (from..=to).contains(&s.0)).copied().collect();
            prop_assert_eq!(found, expected);
            prop_assert_eq!(floats.at(from), all.iter().find(|s| s.0 == from).map(|s| s.1));
            prop_assert_eq!(floats.at(to + 1), all.iter().find(|s| s.0 == to + 1).map(|s| s.1));
        }
    }
}
