//! Samples in the head: a chunk that grows (docs/formats/store.md, "Samples in the head").

use crate::bytes::{Malformed, Reader, put_zigzag};
use monitor_promql::Point;
use std::sync::Arc;

/// Samples of a chunk. More would make queries for a short time decode too much;
/// fewer would waste more on the first sample of each.
pub(crate) const MAX_SAMPLES: u16 = 240;

/// Whole numbers up to here have exact doubles around them.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// A chunk that takes no more samples.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) count: u16,
    pub(crate) bytes: Arc<[u8]>,
}

impl Chunk {
    pub(crate) fn decode(&self, into: &mut Vec<Point>) {
        decode(self.count, &self.bytes, into);
    }
}

/// A chunk that samples are appended to.
#[derive(Clone, Debug)]
pub(crate) struct OpenChunk {
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
    pub(crate) last_value: f64,
    distance: i64,
    pub(crate) count: u16,
    bytes: Vec<u8>,
}

impl OpenChunk {
    pub(crate) fn new(point: Point) -> Self {
        let mut bytes = Vec::with_capacity(32);
        put_zigzag(&mut bytes, point.at_ms);
        bytes.extend_from_slice(&point.value.to_bits().to_le_bytes());
        Self {
            first_ms: point.at_ms,
            last_ms: point.at_ms,
            last_value: point.value,
            distance: 0,
            count: 1,
            bytes,
        }
    }

    /// Appends a sample that is newer than the last.
    pub(crate) fn push(&mut self, point: Point) {
        let distance = point.at_ms - self.last_ms;
        let (before, now) = (self.last_value.to_bits(), point.value.to_bits());
        let difference = whole_difference(self.last_value, point.value);
        let kind = match difference {
            _ if before == now => 0,
            Some(_) => 1,
            None => 2,
        };
        self.bytes.push(u8::from(distance != self.distance) | kind << 1);
        if distance != self.distance {
            put_zigzag(&mut self.bytes, distance - self.distance);
        }
        match (kind, difference) {
            (1, Some(difference)) => put_zigzag(&mut self.bytes, difference),
            (2, _) => {
                let xor = before ^ now;
                let trailing = xor.trailing_zeros() / 8;
                let length = 8 - trailing - xor.leading_zeros() / 8;
                self.bytes.push((trailing << 4 | length) as u8);
                let shifted = (xor >> (trailing * 8)).to_le_bytes();
                self.bytes.extend_from_slice(&shifted[..length as usize]);
            }
            _ => {}
        }
        self.distance = distance;
        self.last_ms = point.at_ms;
        self.last_value = point.value;
        self.count += 1;
    }

    /// Bytes of memory that the samples take.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The chunk as it is now.
    pub(crate) fn freeze(&self) -> Chunk {
        Chunk {
            first_ms: self.first_ms,
            last_ms: self.last_ms,
            count: self.count,
            bytes: self.bytes.as_slice().into(),
        }
    }
}

/// The difference of two whole numbers that gives back the second exactly.
fn whole_difference(before: f64, now: f64) -> Option<i64> {
    let whole = |v: f64| v.abs() <= WHOLE && v.trunc() == v && (v != 0.0 || v.is_sign_positive());
    (whole(before) && whole(now)).then(|| now as i64 - before as i64)
}

fn decode(count: u16, bytes: &[u8], into: &mut Vec<Point>) {
    // The bytes never left this process' memory; what is malformed is a defect
    // of ours, and costs the rest of the chunk rather than the process.
    let result = try_decode(count, bytes, into);
    debug_assert_eq!(result, Ok(()));
}

fn try_decode(count: u16, bytes: &[u8], into: &mut Vec<Point>) -> Result<(), Malformed> {
    let mut reader = Reader(bytes);
    let mut at_ms = reader.zigzag()?;
    let mut value = f64::from_bits(reader.u64()?);
    into.push(Point { at_ms, value });
    let mut distance = 0;
    for _ in 1..count {
        let control = reader.u8()?;
        if control & 1 == 1 {
            distance += reader.zigzag()?;
        }
        at_ms += distance;
        match control >> 1 {
            0 => {}
            1 => value = (value as i64 + reader.zigzag()?) as f64,
            _ => {
                let shape = reader.u8()?;
                let (trailing, length) = (u32::from(shape >> 4), usize::from(shape & 15));
                let mut word = [0; 8];
                word.get_mut(..length).ok_or(Malformed)?.copy_from_slice(reader.bytes(length)?);
                let xor = u64::from_le_bytes(word).checked_shl(trailing * 8).ok_or(Malformed)?;
                value = f64::from_bits(value.to_bits() ^ xor);
            }
        }
        into.push(Point { at_ms, value });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Values as they occur: counters, gauges, decimals, markers, anything.
    pub(crate) fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            (0i64..1_000_000).prop_map(|n| n as f64),
            (-1_000i64..1_000).prop_map(|n| n as f64 / 100.0),
            any::<u64>().prop_map(f64::from_bits),
            Just(monitor_promql::STALE),
            Just(-0.0),
            Just(9_007_199_254_740_992.0),
            Just(-9_007_199_254_740_993.0),
        ]
    }

    proptest! {
        #[test]
        fn samples_read_back(
            start in -1_000_000_000_000i64..2_000_000_000_000,
            samples in prop::collection::vec((1i64..100_000, any_value()), 1..240),
        ) {
            let mut at_ms = start;
            let points: Vec<Point> = samples.iter().map(|(distance, value)| {
                at_ms += distance;
                Point { at_ms, value: *value }
            }).collect();
            let mut open = OpenChunk::new(points[0]);
            points[1..].iter().for_each(|p| open.push(*p));
            let mut read = Vec::new();
            open.freeze().decode(&mut read);
            prop_assert_eq!(read.len(), points.len());
            for (a, b) in read.iter().zip(&points) {
                prop_assert_eq!((a.at_ms, a.value.to_bits()), (b.at_ms, b.value.to_bits()));
            }
        }
    }
}
