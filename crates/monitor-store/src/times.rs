//! Columns of times, which series that were scraped together share
//! (docs/formats/store-block.md, "Columns of times").

use crate::bytes::{Malformed, Reader, put_varint, unzigzag, zigzag};
use crate::numbers::{MAX_SAMPLES, add_planes, put_planes};
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

/// Reads the times of a column into the place of what is there. `bytes` is
/// empty where the times are steady.
pub(crate) fn unpack(
    first_ms: i64,
    last_ms: i64,
    count: usize,
    bytes: &[u8],
    zstd: &mut Decompressor<'_>,
    into: &mut Vec<i64>,
) -> Result<(), Malformed> {
    into.clear();
    if count == 0 || count > MAX_SAMPLES || first_ms > last_ms {
        return Err(Malformed);
    }
    if bytes.is_empty() {
        let span = last_ms.checked_sub(first_ms).ok_or(Malformed)?;
        let step = if count == 1 { 0 } else { span / (count as i64 - 1) };
        if step * (count as i64 - 1) != span {
            return Err(Malformed);
        }
        into.extend((0..count as i64).map(|i| first_ms + i * step));
        return Ok(());
    }
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
    let mut coded = vec![0; count - 1];
    add_planes(&mut coded, 0..width, &mut planes)?;
    into.push(first_ms);
    let (mut at_ms, mut distance, mut steady) = (first_ms, 0i64, first_ms);
    for n in coded {
        let before = at_ms;
        if kind == GRID {
            steady = steady.wrapping_add(step);
            at_ms = steady.wrapping_add(unzigzag(n));
        } else {
            distance = distance.wrapping_add(unzigzag(n));
            at_ms = at_ms.wrapping_add(distance);
        }
        if at_ms <= before {
            return Err(Malformed);
        }
        into.push(at_ms);
    }
    if at_ms == last_ms { Ok(()) } else { Err(Malformed) }
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
        let mut read = Vec::new();
        let mut zstd = Decompressor::new().unwrap();
        unpack(times[0], times[times.len() - 1], times.len(), &bytes, &mut zstd, &mut read).unwrap();
        assert_eq!(read, times);
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
            let _ = unpack(0, 1_000_000, count, &bytes, &mut zstd, &mut Vec::new());
            let _ = unpack(i64::MIN, i64::MAX, count, &bytes, &mut zstd, &mut Vec::new());
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
