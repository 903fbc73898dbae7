//! Unpacking the numbers of a block's chunks (docs/formats/store-block.md,
//! "Chunk"): most of what a query over a long time costs.
//!
//! Values are made 64 at a time in arrays of fixed length, which stay in the
//! nearest cache and which the compiler turns into vector instructions; only the
//! running sum goes from one number to the next. What lies before the wanted part
//! is summed up, and not made into values.

use crate::bytes::{Malformed, Reader, unzigzag};
use crate::numbers::{CONSTANT, POWERS, RAW, RAW_LOW, SCALED, SCALED_TWICE};
use std::ops::Range;

/// Values made at once.
const PIECE: usize = 64;

/// Unpacks values; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Unpacker {
    exceptions: Vec<(usize, f64)>,
    large: Vec<(usize, u64)>,
}

impl Unpacker {
    /// Reads a chunk of `count` values (at least one) of a kind, and gives those of
    /// some parts of it, which ascend, piece by piece, each with the place of its first.
    #[inline]
    pub(crate) fn unpack<'a>(
        &mut self,
        kind: u8,
        count: usize,
        parts: &[Range<usize>],
        low: &mut Reader<'a>,
        high: &mut Reader<'a>,
        mut give: impl FnMut(usize, &[f64]),
    ) -> Result<(), Malformed> {
        if parts.last().is_some_and(|part| part.end > count) {
            return Err(Malformed);
        }
        match kind {
            CONSTANT => {
                let values = [f64::from_bits(low.u64()?); PIECE];
                pieces(parts, |piece| give(piece.start, &values[..piece.len()]));
            }
            SCALED | SCALED_TWICE => {
                let mut scaled = self.scaled(kind == SCALED_TWICE, count, low, high)?;
                pieces(parts, |piece| {
                    scaled.skip_to(piece.start);
                    scaled.give(piece.len(), &mut give);
                });
            }
            RAW => {
                let mut raw = Raw::read(count, low, high)?;
                pieces(parts, |piece| {
                    raw.skip_to(piece.start);
                    raw.give(piece.len(), &mut give);
                });
            }
            _ => return Err(Malformed),
        }
        Ok(())
    }

    fn scaled<'s, 'a: 's>(
        &'s mut self,
        twice: bool,
        count: usize,
        low: &mut Reader<'a>,
        high: &mut Reader<'a>,
    ) -> Result<Scaled<'s>, Malformed> {
        let power = *POWERS.get(usize::from(low.u8()?)).ok_or(Malformed)?;
        let shift = u32::from(low.u8()?);
        let width = usize::from(low.u8()?);
        if shift > 63 || !(1..=8).contains(&width) {
            return Err(Malformed);
        }
        list(low, count, &mut self.exceptions, |low| low.u64().map(f64::from_bits))?;
        list(low, count - 1, &mut self.large, |low| low.varint())?;
        let number = low.zigzag()?;
        let mut planes: [&[u8]; 8] = [&[]; 8];
        planes[0] = low.bytes(count - 1)?;
        for plane in &mut planes[1..width] {
            *plane = high.bytes(count - 1)?;
        }
        Ok(Scaled {
            planes,
            width,
            power,
            shift,
            twice,
            at: 0,
            number,
            slope: 0,
            large: &self.large,
            exceptions: &self.exceptions,
        })
    }
}

#[inline]
fn pieces(parts: &[Range<usize>], mut each: impl FnMut(Range<usize>)) {
    for part in parts {
        let mut at = part.start;
        while at < part.end {
            let end = part.end.min(at + PIECE);
            each(at..end);
            at = end;
        }
    }
}

/// Scaled numbers, somewhere on the way through their differences.
struct Scaled<'a> {
    /// Bytes of the differences, lowest first; the `i`th leads to number `i + 1`.
    planes: [&'a [u8]; 8],
    width: usize,
    power: f64,
    shift: u32,
    twice: bool,
    /// Which number is next,
    at: usize,
    /// that number,
    number: i64,
    /// and the difference that led to it, where there are differences of differences.
    slope: i64,
    /// Differences that do not fit the planes, from `at` on.
    large: &'a [(usize, u64)],
    /// Values that are no scaled numbers, from `at` on.
    exceptions: &'a [(usize, f64)],
}

impl Scaled<'_> {
    /// Passes numbers over, up to a place that is not behind.
    fn skip_to(&mut self, end: usize) {
        while self.at < end {
            let length = PIECE.min(end - self.at);
            if self.is_narrow(length) {
                let sum: i32 = self.narrow(length).iter().sum();
                self.number = self.number.wrapping_add(i64::from(sum) << self.shift);
            } else {
                let wide = self.wide(length);
                self.numbers(&wide[..length]);
            }
            self.at += length;
        }
        while let Some((_, rest)) = self.exceptions.split_first().filter(|((at, _), _)| *at < end) {
            self.exceptions = rest;
        }
    }

    /// Gives the next values, at most a piece of them.
    fn give(&mut self, length: usize, give: &mut impl FnMut(usize, &[f64])) {
        let mut values = [0.0; PIECE];
        if self.is_narrow(length) {
            // Sums of up to 64 numbers of 24 bits are exact in 32, and what is made
            // of them is, like the numbers themselves, exact in a double.
            let differences = self.narrow(length);
            let (mut sums, mut sum) = ([0i32; PIECE], 0i32);
            for (before, difference) in sums.iter_mut().zip(&differences) {
                *before = sum;
                sum += difference;
            }
            let (base, unit) = (self.number as f64, (1u64 << self.shift) as f64);
            for (value, sum) in values.iter_mut().zip(&sums) {
                *value = base + f64::from(*sum) * unit;
            }
            self.number = self.number.wrapping_add(i64::from(sum) << self.shift);
        } else {
            let wide = self.wide(length);
            for (value, number) in values.iter_mut().zip(&self.numbers(&wide[..length])) {
                *value = *number as f64;
            }
        }
        if self.power != 1.0 {
            values.iter_mut().for_each(|value| *value /= self.power);
        }
        let (begin, end) = (self.at, self.at + length);
        while let Some(((at, value), rest)) = self.exceptions.split_first().filter(|((at, _), _)| *at < end) {
            values[at - begin] = *value;
            self.exceptions = rest;
        }
        self.at = end;
        give(begin, &values[..length]);
    }

    /// Whether the next differences have at most 24 bits each and lead to numbers
    /// one by one.
    #[inline]
    fn is_narrow(&self, length: usize) -> bool {
        let large = self.large.first().is_some_and(|(at, _)| *at < self.at + length);
        self.width <= 3 && !self.twice && !large
    }

    /// The next differences, narrow ones; 0 behind them.
    #[inline]
    fn narrow(&self, length: usize) -> [i32; PIECE] {
        let mut into = [0; PIECE];
        let low = self.plane(0, length);
        match self.width {
            1 => {
                for (into, low) in into.iter_mut().zip(&low) {
                    *into = i32::from((low >> 1) as i8 ^ -((low & 1) as i8));
                }
            }
            2 => {
                let high = self.plane(1, length);
                for (into, (low, high)) in into.iter_mut().zip(low.iter().zip(&high)) {
                    let coded = u16::from(*low) | u16::from(*high) << 8;
                    *into = i32::from((coded >> 1) as i16 ^ -((coded & 1) as i16));
                }
            }
            _ => {
                let (middle, high) = (self.plane(1, length), self.plane(2, length));
                for (i, into) in into.iter_mut().enumerate() {
                    let coded = u32::from(low[i]) | u32::from(middle[i]) << 8 | u32::from(high[i]) << 16;
                    *into = (coded >> 1) as i32 ^ -((coded & 1) as i32);
                }
            }
        }
        into
    }

    /// The next differences, whatever they are; 0 behind them.
    fn wide(&mut self, length: usize) -> [i64; PIECE] {
        let mut coded = words(&self.planes.map(|plane| piece_of(plane, self.at, length)));
        while let Some(((at, number), rest)) =
            self.large.split_first().filter(|((at, _), _)| *at < self.at + length)
        {
            coded[at - self.at] = *number;
            self.large = rest;
        }
        coded.map(|coded| unzigzag(coded) << self.shift)
    }

    /// Goes along differences; gives the numbers before each of them.
    fn numbers(&mut self, differences: &[i64]) -> [i64; PIECE] {
        let mut numbers = [0; PIECE];
        // Differences of ours fit: wrapping is for damage that no CRC noticed.
        let (mut number, mut slope) = (self.number, self.slope);
        if self.twice {
            for (before, difference) in numbers.iter_mut().zip(differences) {
                *before = number;
                slope = slope.wrapping_add(*difference);
                number = number.wrapping_add(slope);
            }
        } else {
            for (before, difference) in numbers.iter_mut().zip(differences) {
                *before = number;
                number = number.wrapping_add(*difference);
            }
        }
        (self.number, self.slope) = (number, slope);
        numbers
    }

    /// Bytes of the next differences; the last number leads to none.
    fn plane(&self, plane: usize, length: usize) -> [u8; PIECE] {
        piece_of(self.planes[plane], self.at, length)
    }
}

/// Values as the bits that differ from those before.
struct Raw<'a> {
    planes: [&'a [u8]; 8],
    /// Which value is next,
    at: usize,
    /// and the bits of the one before it.
    before: u64,
}

impl<'a> Raw<'a> {
    fn read(count: usize, low: &mut Reader<'a>, high: &mut Reader<'a>) -> Result<Self, Malformed> {
        let mut planes: [&[u8]; 8] = [&[]; 8];
        for (i, plane) in planes.iter_mut().enumerate() {
            *plane = if i < RAW_LOW { low.bytes(count)? } else { high.bytes(count)? };
        }
        Ok(Self { planes, at: 0, before: 0 })
    }

    fn skip_to(&mut self, end: usize) {
        for (i, plane) in self.planes.iter().enumerate() {
            let byte = plane[self.at..end].iter().fold(0, |all, byte| all ^ byte);
            self.before ^= u64::from(byte) << (i * 8);
        }
        self.at = end;
    }

    fn give(&mut self, length: usize, give: &mut impl FnMut(usize, &[f64])) {
        let mut bits = words(&self.planes.map(|plane| piece_of(plane, self.at, length)));
        for bits in &mut bits {
            self.before ^= *bits;
            *bits = self.before;
        }
        let begin = self.at;
        self.at += length;
        give(begin, &bits.map(f64::from_bits)[..length]);
    }
}

/// Some bytes of a plane, as many as there are; 0 behind them.
#[inline]
fn piece_of(plane: &[u8], at: usize, length: usize) -> [u8; PIECE] {
    if length == PIECE
        && let Some(piece) = plane.get(at..).and_then(<[u8]>::first_chunk)
    {
        return *piece;
    }
    let mut piece = [0; PIECE];
    let there = &plane[at.min(plane.len())..plane.len().min(at + length)];
    piece[..there.len()].copy_from_slice(there);
    piece
}

/// Numbers out of their bytes' planes: pairs of bytes, of those, and of those
/// again, so that as many as possible are put together by one instruction.
fn words(planes: &[[u8; PIECE]; 8]) -> [u64; PIECE] {
    let mut pairs = [[0u16; PIECE]; 4];
    for (pair, planes) in pairs.iter_mut().zip(planes.chunks_exact(2)) {
        for (pair, (low, high)) in pair.iter_mut().zip(planes[0].iter().zip(&planes[1])) {
            *pair = u16::from(*low) | u16::from(*high) << 8;
        }
    }
    let mut halves = [[0u32; PIECE]; 2];
    for (half, pairs) in halves.iter_mut().zip(pairs.chunks_exact(2)) {
        for (half, (low, high)) in half.iter_mut().zip(pairs[0].iter().zip(&pairs[1])) {
            *half = u32::from(*low) | u32::from(*high) << 16;
        }
    }
    let mut words = [0; PIECE];
    for (word, (low, high)) in words.iter_mut().zip(halves[0].iter().zip(&halves[1])) {
        *word = u64::from(*low) | u64::from(*high) << 32;
    }
    words
}

/// Reads a list of places, ascending and each below `count`, with something at each.
fn list<T>(
    from: &mut Reader<'_>,
    count: usize,
    into: &mut Vec<(usize, T)>,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<(), Malformed> {
    into.clear();
    let mut place = 0usize;
    for _ in 0..from.count()? {
        place = place.checked_add(from.size()?).filter(|p| *p < count).ok_or(Malformed)?;
        into.push((place, read(from)?));
    }
    Ok(())
}
