//! Columns of times, which series that were scraped together share
//! (docs/formats/store-block.md, "Columns of times").

use crate::bytes::{Malformed, Reader, put_varint, unzigzag, zigzag};
use crate::numbers::{MAX_SAMPLES, add_planes, put_planes};
use crate::samples::within;
use std::ops::Range;
use zstd::bulk::{Compressor, Decompressor};

const DIFFERENCES: u8 = 0;
const GRID: u8 = 1;

/// Whether all times are equally distant: first, last and count say them all.
pub(crate) fn is_steady(times: &[i64]) -> bool {
    let Some(step) = times.get(1).map(|second| second - times[0]) else { return true };
    times.windows(2).all(|pair| pair[1] - pair[0] == step)
}

/// Appends the bytes of times that are ascending and not steady.
pub(crate) fn pack(times: &[i64], zstd: &mut Compressor<'_>, into: &mut Vec<u8>) -> std::io::Result<()> {
    let differences = differences(times);
    let (step, grid) = grid(times);
    let weight = |numbers: &[u64]| numbers.iter().map(|n| u64::from(64 - n.leading_zeros())).sum::<u64>();
    let coded = if weight(&grid) < weight(&differences) {
        into.push(GRID);
        put_varint(into, step);
        grid
    } else {
        into.push(DIFFERENCES);
        differences
    };
    let widest = coded.iter().fold(0, |all, n| all | n);
    let width = (64 - widest.leading_zeros() as usize).div_ceil(8).max(1);
    let mut planes = Vec::with_capacity(coded.len() * width);
    put_planes(&coded, 0..width, &mut planes);
    let packed = zstd.compress(&planes)?;
    into.push(width as u8);
    into.extend_from_slice(if packed.len() < planes.len() { &packed } else { &planes });
    Ok(())
}

/// The first distance, then differences of distances.
fn differences(times: &[i64]) -> Vec<u64> {
    let mut before = 0;
    times
        .windows(2)
        .map(|pair| {
            let distance = pair[1] - pair[0];
            let coded = zigzag(distance.wrapping_sub(before));
            before = distance;
            coded
        })
        .collect()
}

/// How far each time is from where a steady column would have it: jitter costs
/// once, and not three times as in differences of differences.
fn grid(times: &[i64]) -> (u64, Vec<u64>) {
    let span = times[times.len() - 1].wrapping_sub(times[0]) as u64;
    let step = (span + (times.len() as u64 - 1) / 2) / (times.len() as u64 - 1);
    let mut steady = times[0];
    let coded = times[1..].iter().map(|at_ms| {
        steady = steady.wrapping_add(step as i64);
        zigzag(at_ms.wrapping_sub(steady))
    });
    (step, coded.collect())
}

/// A column of times, read; each is later than the one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Times {
    count: usize,
    first_ms: i64,
    /// Between all times, where they are steady.
    step_ms: Option<i64>,
    /// All times; of steady ones only once they were filled in.
    list: Vec<i64>,
    coded: Vec<u64>,
}

impl Times {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The first time and the distance of the others, where they are steady.
    pub(crate) fn steady(&self) -> Option<(i64, i64)> {
        self.step_ms.map(|step_ms| (self.first_ms, step_ms))
    }

    /// The `i`th.
    pub(crate) fn at(&self, i: usize) -> i64 {
        match self.steady() {
            Some((first_ms, step_ms)) => first_ms + i as i64 * step_ms,
            None => self.list[i],
        }
    }

    /// Makes a list of steady ones, too.
    pub(crate) fn fill(&mut self) {
        if self.list.is_empty() {
            let Self { count, first_ms, step_ms, .. } = *self;
            let step_ms = step_ms.unwrap_or_default();
            self.list.extend((0..count as i64).map(|i| first_ms + i * step_ms));
        }
    }

    /// All of them; of steady ones only once they were filled in.
    pub(crate) fn list(&self) -> &[i64] {
        debug_assert_eq!(self.list.len(), self.count);
        &self.list
    }

    /// The places of those between two times, both inclusive.
    pub(crate) fn within(&self, (start_ms, end_ms): (i64, i64)) -> Range<usize> {
        let Some((first_ms, step_ms)) = self.steady() else { return within(&self.list, start_ms, end_ms) };
        let last_ms = first_ms + (self.count as i64 - 1) * step_ms;
        if start_ms > end_ms || start_ms > last_ms || end_ms < first_ms {
            return 0..0;
        }
        let from = ((start_ms.max(first_ms) - first_ms) as usize).div_ceil(step_ms as usize);
        let to = ((end_ms.min(last_ms) - first_ms) / step_ms + 1) as usize;
        from..to.max(from)
    }

    /// Puts a column in the place of what is there. `bytes` is empty where the
    /// times are steady.
    pub(crate) fn read(
        &mut self,
        first_ms: i64,
        last_ms: i64,
        count: usize,
        bytes: &[u8],
        zstd: &mut Decompressor<'_>,
    ) -> Result<(), Malformed> {
        self.list.clear();
        (self.count, self.first_ms, self.step_ms) = (0, first_ms, None);
        if count == 0 || count > MAX_SAMPLES || first_ms > last_ms {
            return Err(Malformed);
        }
        if bytes.is_empty() {
            let span = last_ms.checked_sub(first_ms).ok_or(Malformed)?;
            // Of a single time any step is right.
            let step_ms = span.checked_div(count as i64 - 1).unwrap_or(1);
            if step_ms < 1 || step_ms * (count as i64 - 1) != span {
                return Err(Malformed);
            }
            self.step_ms = Some(step_ms);
        } else {
            self.read_list(last_ms, count, bytes, zstd)?;
        }
        self.count = count;
        Ok(())
    }

    fn read_list(
        &mut self,
        last_ms: i64,
        count: usize,
        bytes: &[u8],
        zstd: &mut Decompressor<'_>,
    ) -> Result<(), Malformed> {
        let mut reader = Reader(bytes);
        let kind = reader.u8()?;
        let step = if kind == GRID { reader.varint()? as i64 } else { 0 };
        let width = usize::from(reader.u8()?);
        if !(1..=8).contains(&width) || kind > GRID {
            return Err(Malformed);
        }
        let size = (count - 1) * width;
        let unpacked;
        let mut planes = if reader.0.len() == size {
            reader
        } else {
            unpacked = zstd.decompress(reader.0, size).map_err(|_| Malformed)?;
            Reader(&unpacked)
        };
        self.coded.clear();
        self.coded.resize(count - 1, 0);
        add_planes(&mut self.coded, 0..width, &mut planes)?;
        self.list.push(self.first_ms);
        let (mut at_ms, mut distance, mut steady) = (self.first_ms, 0i64, self.first_ms);
        for n in &self.coded {
            let before = at_ms;
            if kind == GRID {
                steady = steady.wrapping_add(step);
                at_ms = steady.wrapping_add(unzigzag(*n));
            } else {
                distance = distance.wrapping_add(unzigzag(*n));
                at_ms = at_ms.wrapping_add(distance);
            }
            if at_ms <= before {
                return Err(Malformed);
            }
            self.list.push(at_ms);
        }
        if at_ms == last_ms { Ok(()) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(times: &[i64]) -> usize {
        let mut bytes = Vec::new();
        if !is_steady(times) {
            pack(times, &mut Compressor::new(1).unwrap(), &mut bytes).unwrap();
        }
        let mut read = Times::default();
        let mut zstd = Decompressor::new().unwrap();
        let (first_ms, last_ms) = (times[0], times[times.len() - 1]);
        read.read(first_ms, last_ms, times.len(), &bytes, &mut zstd).unwrap();
        let middle_ms = times[times.len() / 2];
        for start_ms in [i64::MIN, first_ms - 1, first_ms, first_ms + 1, middle_ms, last_ms, last_ms + 1] {
            for end_ms in [first_ms - 1, first_ms, middle_ms - 1, middle_ms, last_ms, i64::MAX] {
                let found = read.within((start_ms, end_ms));
                let right = within(times, start_ms, end_ms);
                assert!(found == right || found.is_empty() && right.is_empty(), "{found:?} {right:?}");
            }
        }
        assert_eq!((0..times.len()).map(|i| read.at(i)).collect::<Vec<_>>(), times);
        read.fill();
        assert_eq!((read.list(), read.len()), (times, times.len()));
        bytes.len()
    }

    proptest! {
        #[test]
        fn times_read_back(
            start in -1_000_000_000_000i64..2_000_000_000_000,
            distances in prop::collection::vec(prop_oneof![Just(15_000i64), 1i64..100_000, 1i64..1 << 50], 0..300),
        ) {
            let mut times = vec![start];
            times.extend(distances.iter().scan(start, |at, d| { *at += d; Some(*at) }));
            check(&times);
        }

        #[test]
        fn malformed_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100), count in 0usize..9_000) {
            let mut zstd = Decompressor::new().unwrap();
            let mut times = Times::default();
            for (first_ms, last_ms) in [(0, 1_000_000), (i64::MIN, i64::MAX), (5, 5)] {
                if times.read(first_ms, last_ms, count, &bytes, &mut zstd).is_ok() {
                    times.fill();
                    assert!(times.list().len() == count && times.list().is_sorted_by(|a, b| a < b));
                }
            }
        }
    }

    #[test]
    fn jitter_costs_little() {
        let mut random = 7u64;
        let times: Vec<i64> = (0..1_000)
            .map(|i| {
                random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                i * 15_000 + (random >> 62) as i64
            })
            .collect();
        let bytes = check(&times);
        assert!(bytes < 450, "{bytes}"); // Two bits a time are 250.
        assert_eq!(check(&[5]), 0);
        assert_eq!(check(&[5, 9, 13]), 0);
    }
}
