//! Samples in a block: a chunk packed as tightly as it is worth
//! (docs/formats/store.md, "Block file").

use crate::bytes::{Malformed, Reader, put_varint, put_zigzag};
use monitor_promql::Point;
use zstd::bulk::{Compressor, Decompressor};

/// Samples of a chunk in a block.
pub(crate) const MAX_SAMPLES: usize = 4_096;
/// Fast, and within a few percent of the higher levels on these bytes.
const LEVEL: i32 = 3;
/// A body's size is at most this: times and values of 10 bytes each, and heads.
const MAX_BODY: usize = MAX_SAMPLES * 20 + 64;
/// Up to 10^15 a scaled number keeps as many digits as a double has.
const MAX_EXPONENT: u8 = 15;
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Packs chunks; keeps its buffers and zstd's state between them.
pub(crate) struct Packer {
    zstd: Compressor<'static>,
    body: Vec<u8>,
    numbers: Vec<i64>,
    exceptions: Vec<(usize, f64)>,
}

impl Packer {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: Compressor::new(LEVEL)?,
            body: Vec::new(),
            numbers: Vec::new(),
            exceptions: Vec::new(),
        })
    }

    /// Appends the chunk of some points, at least one and at most [`MAX_SAMPLES`],
    /// with its CRC.
    pub(crate) fn pack(&mut self, points: &[Point], into: &mut Vec<u8>) -> std::io::Result<()> {
        self.body.clear();
        put_varint(&mut self.body, points.len() as u64);
        put_times(&mut self.body, points);
        self.put_values(points);
        let begin = into.len();
        into.extend_from_slice(&[0; 4]);
        let packed = self.zstd.compress(&self.body)?;
        let shorter = packed.len() < self.body.len();
        into.push(u8::from(shorter));
        put_varint(into, self.body.len() as u64);
        into.extend_from_slice(if shorter { &packed } else { &self.body });
        let crc = crc32fast::hash(&into[begin + 4..]);
        into[begin..begin + 4].copy_from_slice(&crc.to_le_bytes());
        Ok(())
    }

    fn put_values(&mut self, points: &[Point]) {
        let first = points[0].value.to_bits();
        if points.iter().all(|p| p.value.to_bits() == first) {
            self.body.push(0);
            self.body.extend_from_slice(&first.to_le_bytes());
        } else if let Some(exponent) = self.scale(points) {
            self.put_scaled(exponent);
        } else {
            put_xor(&mut self.body, points);
        }
    }

    /// Finds the smallest exponent that makes (nearly) all values whole; the
    /// numbers and exceptions are left in the buffers.
    fn scale(&mut self, points: &[Point]) -> Option<u8> {
        let allowed = 1 + points.len() / 16;
        let mut exponent = 0u8;
        let mut hopeless = 0;
        for point in points {
            match (exponent..=MAX_EXPONENT).find(|e| scaled(point.value, *e).is_some()) {
                Some(enough) => exponent = enough,
                None => hopeless += 1,
            }
            if hopeless > allowed {
                return None;
            }
        }
        self.numbers.clear();
        self.exceptions.clear();
        for (i, point) in points.iter().enumerate() {
            let number = scaled(point.value, exponent).unwrap_or_else(|| {
                self.exceptions.push((i, point.value));
                self.numbers.last().copied().unwrap_or(0)
            });
            self.numbers.push(number);
        }
        // A value may be whole at a small exponent and too large at this one.
        (self.exceptions.len() <= allowed).then_some(exponent)
    }

    fn put_scaled(&mut self, exponent: u8) {
        // Whichever of differences and their differences is shorter.
        let (mut simple, mut double) = (0, 0);
        let (mut before, mut slope) = (0i64, 0i64);
        for number in &self.numbers {
            let difference = number - before;
            simple += bits(difference);
            double += bits(difference - slope);
            (before, slope) = (*number, difference);
        }
        self.body.push(if double < simple { 2 } else { 1 });
        self.body.push(exponent);
        put_varint(&mut self.body, self.exceptions.len() as u64);
        let mut last = 0;
        for (i, value) in &self.exceptions {
            put_varint(&mut self.body, (i - last) as u64);
            self.body.extend_from_slice(&value.to_bits().to_le_bytes());
            last = *i;
        }
        let (mut before, mut slope) = (0i64, 0i64);
        for number in &self.numbers {
            let difference = number - before;
            put_zigzag(&mut self.body, if double < simple { difference - slope } else { difference });
            (before, slope) = (*number, difference);
        }
    }
}

/// The number that gives the value back exactly when divided by 10^exponent.
fn scaled(value: f64, exponent: u8) -> Option<i64> {
    let power = POWERS[usize::from(exponent)];
    let number = (value * power).round();
    if number.abs() >= WHOLE {
        return None;
    }
    // NaN becomes 0 and fails the test, as does -0.
    let number = number as i64;
    (((number as f64) / power).to_bits() == value.to_bits()).then_some(number)
}

fn bits(n: i64) -> u32 {
    64 - n.unsigned_abs().leading_zeros()
}

fn put_times(into: &mut Vec<u8>, points: &[Point]) {
    put_zigzag(into, points[0].at_ms);
    let distance = |pair: &[Point]| pair[1].at_ms - pair[0].at_ms;
    let first = points.get(..2).map_or(0, distance);
    let equal = points.windows(2).all(|pair| distance(pair) == first);
    into.push(u8::from(!equal));
    put_varint(into, first as u64);
    if !equal {
        let mut before = first;
        for pair in points[1..].windows(2) {
            put_zigzag(into, distance(pair) - before);
            before = distance(pair);
        }
    }
}

fn put_xor(into: &mut Vec<u8>, points: &[Point]) {
    into.push(3);
    for plane in (0..8).rev() {
        let mut before = 0;
        for point in points {
            let bits = point.value.to_bits();
            into.push(((bits ^ before) >> (plane * 8)) as u8);
            before = bits;
        }
    }
}

/// Unpacks chunks; keeps its buffer and zstd's state between them.
pub(crate) struct Unpacker {
    zstd: Decompressor<'static>,
}

impl Unpacker {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { zstd: Decompressor::new()? })
    }

    /// Appends the points of a chunk, if it is sound.
    pub(crate) fn unpack(&mut self, chunk: &[u8], into: &mut Vec<Point>) -> Result<(), Malformed> {
        let mut reader = Reader(chunk);
        let crc = reader.u32()?;
        if crc32fast::hash(reader.0) != crc {
            return Err(Malformed);
        }
        let flags = reader.u8()?;
        let length = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
        if length > MAX_BODY {
            return Err(Malformed);
        }
        if flags & 1 == 0 {
            return read_body(reader.0, into);
        }
        let body = self.zstd.decompress(reader.0, length).map_err(|_| Malformed)?;
        read_body(&body, into)
    }
}

fn read_body(body: &[u8], into: &mut Vec<Point>) -> Result<(), Malformed> {
    let mut reader = Reader(body);
    let count = usize::try_from(reader.varint()?).map_err(|_| Malformed)?;
    if count == 0 || count > MAX_SAMPLES {
        return Err(Malformed);
    }
    let begin = into.len();
    read_times(&mut reader, count, into)?;
    read_values(&mut reader, &mut into[begin..])
}

fn read_times(reader: &mut Reader<'_>, count: usize, into: &mut Vec<Point>) -> Result<(), Malformed> {
    let mut at_ms = reader.zigzag()?;
    let varying = reader.u8()? != 0;
    let mut distance = reader.varint()? as i64;
    for i in 0..count {
        if i > 0 {
            if varying && i > 1 {
                distance = distance.checked_add(reader.zigzag()?).ok_or(Malformed)?;
            }
            at_ms = at_ms.checked_add(distance).ok_or(Malformed)?;
        }
        into.push(Point { at_ms, value: 0.0 });
    }
    Ok(())
}

fn read_values(reader: &mut Reader<'_>, points: &mut [Point]) -> Result<(), Malformed> {
    match reader.u8()? {
        0 => {
            let value = f64::from_bits(reader.u64()?);
            points.iter_mut().for_each(|p| p.value = value);
        }
        mode @ (1 | 2) => read_scaled(reader, points, mode == 2)?,
        3 => {
            let planes = reader.bytes(points.len() * 8)?;
            let mut before = 0u64;
            let count = points.len();
            for (i, point) in points.iter_mut().enumerate() {
                let xor = (0..8).fold(0u64, |word, plane| word << 8 | u64::from(planes[plane * count + i]));
                before ^= xor;
                point.value = f64::from_bits(before);
            }
        }
        _ => return Err(Malformed),
    }
    Ok(())
}

fn read_scaled(reader: &mut Reader<'_>, points: &mut [Point], double: bool) -> Result<(), Malformed> {
    let power = *POWERS.get(usize::from(reader.u8()?)).ok_or(Malformed)?;
    let mut exceptions = Vec::new();
    let mut place = 0usize;
    for _ in 0..reader.count()? {
        place =
            place.checked_add(usize::try_from(reader.varint()?).map_err(|_| Malformed)?).ok_or(Malformed)?;
        exceptions.push((place, f64::from_bits(reader.u64()?)));
    }
    let (mut number, mut slope) = (0i64, 0i64);
    for point in points.iter_mut() {
        let step = reader.zigzag()?;
        slope = if double { slope.wrapping_add(step) } else { step };
        number = number.wrapping_add(slope);
        point.value = number as f64 / power;
    }
    for (place, value) in exceptions {
        points.get_mut(place).ok_or(Malformed)?.value = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            8 => (0i64..1_000_000).prop_map(|n| n as f64),
            8 => (-100_000i64..100_000).prop_map(|n| n as f64 / 1_000.0),
            1 => any::<u64>().prop_map(f64::from_bits),
            1 => Just(monitor_promql::STALE),
            1 => Just(-0.0),
            1 => Just(1e300),
        ]
    }

    fn check(points: &[Point]) -> usize {
        let mut packed = Vec::new();
        Packer::new().unwrap().pack(points, &mut packed).unwrap();
        let mut read = Vec::new();
        Unpacker::new().unwrap().unpack(&packed, &mut read).unwrap();
        assert_eq!(read.len(), points.len());
        for (a, b) in read.iter().zip(points) {
            assert_eq!((a.at_ms, a.value.to_bits()), (b.at_ms, b.value.to_bits()));
        }
        packed.len()
    }

    proptest! {
        #[test]
        fn samples_read_back(
            start in -1_000_000_000_000i64..2_000_000_000_000,
            samples in prop::collection::vec((1i64..100_000, any_value()), 1..300),
        ) {
            let mut at_ms = start;
            let points: Vec<Point> = samples.iter().map(|(distance, value)| {
                at_ms += distance;
                Point { at_ms, value: *value }
            }).collect();
            check(&points);
        }

        #[test]
        fn damaged_bytes_are_noticed_and_never_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            flip in 0usize..100,
        ) {
            let mut read = Vec::new();
            prop_assert!(Unpacker::new().unwrap().unpack(&bytes, &mut read).is_err());
            // Malformed bytes under a right CRC: any answer but a panic.
            let mut signed = crc32fast::hash(&bytes).to_le_bytes().to_vec();
            signed.extend_from_slice(&bytes);
            let _ = Unpacker::new().unwrap().unpack(&signed, &mut read);
            let points: Vec<Point> = (0..50).map(|i| Point { at_ms: i * 15_000, value: i as f64 * 0.1 }).collect();
            let mut packed = Vec::new();
            Packer::new().unwrap().pack(&points, &mut packed).unwrap();
            let at = flip % packed.len();
            packed[at] ^= 1;
            prop_assert!(Unpacker::new().unwrap().unpack(&packed, &mut read).is_err());
        }
    }

    #[test]
    fn usual_series_are_small() {
        let series = |f: fn(i64) -> f64| -> Vec<Point> {
            (0..480).map(|i| Point { at_ms: 1_764_000_000_000 + i * 15_000, value: f(i) }).collect()
        };
        assert!(check(&series(|_| 1.0)) < 40);
        assert!(check(&series(|i| (i * 100) as f64)) < 50);
        assert!(check(&series(|i| ((i * 37) % 11) as f64 * 0.01)) < 480);
        check(&series(|i| (i as f64).sin()));
    }
}
