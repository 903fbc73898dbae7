//! Native histograms as bytes: alone in the log, one after another in head and
//! blocks (docs/formats/store-log.md, docs/formats/store-block.md).

use crate::bytes::{Malformed, Reader, put_varint, put_zigzag};
use monitor_model::histogram::{Buckets, CounterReset, Histogram, Span};
use std::sync::Arc;

const STALE: u8 = 4;
const WHOLE: u8 = 8;
const SAME_LAYOUT: u8 = 16;
const RESET: u8 = 3;
/// Below this whole numbers have doubles of their own: 2^53.
const LARGEST: f64 = 9_007_199_254_740_992.0;
/// Buckets, bounds and spans of one histogram; more is damage. Appending refuses far fewer.
const MAX_PARTS: usize = 1 << 20;

/// Appends a histogram that stands alone.
pub(crate) fn put_absolute(into: &mut Vec<u8>, histogram: &Histogram) {
    put_next(into, None, histogram);
}

/// Reads a histogram that stands alone.
pub(crate) fn read_absolute(reader: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    read_next(reader, None)
}

/// Appends a histogram that follows another one of its series.
pub(crate) fn put_next(into: &mut Vec<u8>, before: Option<&Histogram>, histogram: &Histogram) {
    let reset = match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    if histogram.is_stale() {
        into.push(reset | STALE);
        return;
    }
    let whole = counts(histogram).all(is_whole);
    let before =
        before.filter(|before| same_layout(before, histogram) && counts(before).all(is_whole) == whole);
    into.push(reset | (u8::from(whole) * WHOLE) | (u8::from(before.is_some()) * SAME_LAYOUT));
    if before.is_none() {
        put_layout(into, histogram);
    }
    into.extend_from_slice(&histogram.sum.to_bits().to_le_bytes());
    match before {
        Some(before) if whole => {
            let pairs = counts(histogram).zip(counts(before));
            pairs.for_each(|(now, then)| put_zigzag(into, now as i64 - then as i64));
        }
        None if whole => counts(histogram).for_each(|count| put_varint(into, count as u64)),
        Some(before) => {
            let pairs = counts(histogram).zip(counts(before));
            pairs.for_each(|(now, then)| {
                into.extend_from_slice(&(now.to_bits() ^ then.to_bits()).to_le_bytes())
            });
        }
        None => counts(histogram).for_each(|count| into.extend_from_slice(&count.to_bits().to_le_bytes())),
    }
}

/// Count, zero count, then each bucket.
fn counts(histogram: &Histogram) -> impl Iterator<Item = f64> + '_ {
    [histogram.count, histogram.zero_count]
        .into_iter()
        .chain(histogram.positive.counts.iter().copied())
        .chain(histogram.negative.counts.iter().copied())
}

fn is_whole(count: f64) -> bool {
    (0.0..LARGEST).contains(&count) && count.trunc() == count && (count != 0.0 || count.is_sign_positive())
}

fn same_layout(a: &Histogram, b: &Histogram) -> bool {
    let bits = |bounds: &[f64], other: &[f64]| {
        bounds.len() == other.len() && bounds.iter().zip(other).all(|(a, b)| a.to_bits() == b.to_bits())
    };
    !a.is_stale()
        && a.schema == b.schema
        && a.zero_threshold.to_bits() == b.zero_threshold.to_bits()
        && a.positive.spans == b.positive.spans
        && a.negative.spans == b.negative.spans
        && a.positive.counts.len() == b.positive.counts.len()
        && a.negative.counts.len() == b.negative.counts.len()
        && bits(&a.bounds, &b.bounds)
}

fn put_layout(into: &mut Vec<u8>, histogram: &Histogram) {
    into.push(histogram.schema as u8);
    into.extend_from_slice(&histogram.zero_threshold.to_bits().to_le_bytes());
    put_varint(into, histogram.bounds.len() as u64);
    for bound in histogram.bounds.iter() {
        into.extend_from_slice(&bound.to_bits().to_le_bytes());
    }
    for side in [&histogram.positive, &histogram.negative] {
        put_varint(into, side.spans.len() as u64);
        for span in &side.spans {
            put_zigzag(into, i64::from(span.offset));
            put_varint(into, u64::from(span.length));
        }
    }
}

/// Reads a histogram that follows another one of its series.
pub(crate) fn read_next(reader: &mut Reader<'_>, before: Option<&Histogram>) -> Result<Histogram, Malformed> {
    let layout = reader.u8()?;
    let reset = match layout & RESET {
        0 => CounterReset::Unknown,
        1 => CounterReset::Reset,
        2 => CounterReset::NotReset,
        _ => CounterReset::Gauge,
    };
    if layout & STALE != 0 {
        return Ok(Histogram { reset, ..Histogram::stale() });
    }
    let mut histogram = match (layout & SAME_LAYOUT != 0, before) {
        (true, Some(before)) => before.clone(),
        (true, None) => return Err(Malformed),
        (false, _) => read_layout(reader)?,
    };
    histogram.reset = reset;
    histogram.sum = f64::from_bits(reader.u64()?);
    let (whole, follows) = (layout & WHOLE != 0, layout & SAME_LAYOUT != 0);
    let mut next = |count: &mut f64| {
        *count = match (whole, follows) {
            (true, true) => (*count as i64).wrapping_add(reader.zigzag()?) as f64,
            (true, false) => reader.varint()? as f64,
            (false, true) => f64::from_bits(reader.u64()? ^ count.to_bits()),
            (false, false) => f64::from_bits(reader.u64()?),
        };
        Ok(())
    };
    next(&mut histogram.count)?;
    next(&mut histogram.zero_count)?;
    histogram.positive.counts.iter_mut().try_for_each(&mut next)?;
    histogram.negative.counts.iter_mut().try_for_each(&mut next)?;
    Ok(histogram)
}

/// A histogram of a layout, its counts zero.
fn read_layout(reader: &mut Reader<'_>) -> Result<Histogram, Malformed> {
    let schema = reader.u8()? as i8;
    let zero_threshold = f64::from_bits(reader.u64()?);
    let count = reader.count()?;
    let bounds = (0..count).map(|_| reader.u64().map(f64::from_bits)).collect::<Result<Arc<[f64]>, _>>()?;
    let (positive, negative) = (read_side(reader)?, read_side(reader)?);
    Ok(Histogram { schema, zero_threshold, positive, negative, bounds, ..Histogram::default() })
}

fn read_side(reader: &mut Reader<'_>) -> Result<Buckets, Malformed> {
    let mut buckets = 0usize;
    let count = reader.count()?;
    let mut spans = Vec::with_capacity(count);
    for _ in 0..count {
        let offset = i32::try_from(reader.zigzag()?).map_err(|_| Malformed)?;
        let length = reader.u32_varint()?;
        buckets = buckets.saturating_add(length as usize);
        spans.push(Span { offset, length });
    }
    // Each count takes a byte at least.
    if buckets > MAX_PARTS.min(reader.0.len()) {
        return Err(Malformed);
    }
    Ok(Buckets { spans, counts: vec![0.0; buckets] })
}

/// Histograms of a series, ascending by time, as bytes.
#[derive(Debug, Default)]
pub(crate) struct Sequence {
    bytes: Vec<u8>,
    /// The last one that is no marker; the next is coded from it.
    before: Option<Arc<Histogram>>,
}

impl Sequence {
    pub(crate) fn push(&mut self, histogram: &Arc<Histogram>) {
        put_next(&mut self.bytes, self.before.as_deref(), histogram);
        if !histogram.is_stale() {
            self.before = Some(histogram.clone());
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads `count` histograms of a sequence.
pub(crate) fn read_sequence(
    reader: &mut Reader<'_>,
    count: usize,
    mut each: impl FnMut(Arc<Histogram>),
) -> Result<(), Malformed> {
    let mut before: Option<Arc<Histogram>> = None;
    for _ in 0..count {
        let histogram = Arc::new(read_next(reader, before.as_deref())?);
        if !histogram.is_stale() {
            before = Some(histogram.clone());
        }
        each(histogram);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_histogram() -> impl Strategy<Value = Histogram> {
        let count = || prop_oneof![3 => (0u32..1_000).prop_map(f64::from), 1 => 0.0f64..10.0];
        let side = (prop::collection::vec((-3i32..5, 0u32..4), 0..4), prop::collection::vec(count(), 16))
            .prop_map(|(spans, counts)| {
                let spans: Vec<Span> =
                    spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
                let buckets: u32 = spans.iter().map(|s| s.length).sum();
                Buckets { spans, counts: counts[..buckets as usize].to_vec() }
            });
        let hint = prop_oneof![
            Just(CounterReset::Unknown),
            Just(CounterReset::Reset),
            Just(CounterReset::NotReset),
            Just(CounterReset::Gauge)
        ];
        (hint, -4i8..8, count(), count(), side.clone(), side, any::<bool>(), 0u8..8).prop_map(
            |(reset, schema, zero_count, sum, positive, negative, custom, stale)| Histogram {
                reset,
                schema: if custom { -53 } else { schema },
                zero_threshold: 0.001,
                zero_count,
                count: zero_count + positive.counts.iter().chain(&negative.counts).sum::<f64>(),
                sum: if stale == 0 { monitor_model::STALE } else { sum },
                positive,
                negative,
                bounds: if custom { Arc::from([0.1, 0.5, 1.0]) } else { Arc::from([]) },
            },
        )
    }

    pub(crate) fn same(a: &Histogram, b: &Histogram) -> bool {
        if a.is_stale() { b.is_stale() && a.reset == b.reset } else { a == b }
    }

    proptest! {
        #[test]
        fn histograms_read_back(all in prop::collection::vec(any_histogram(), 1..20), repeat in 1usize..4) {
            let mut sequence = Sequence::default();
            let all: Vec<Arc<Histogram>> =
                all.into_iter().flat_map(|h| std::iter::repeat_n(Arc::new(h), repeat)).collect();
            all.iter().for_each(|h| sequence.push(h));
            let mut read = Vec::new();
            let mut reader = Reader(sequence.bytes());
            read_sequence(&mut reader, all.len(), |h| read.push(h)).unwrap();
            prop_assert!(reader.0.is_empty());
            prop_assert!(read.iter().zip(&all).all(|(a, b)| same(a, b)));
            let mut alone = Vec::new();
            put_absolute(&mut alone, &all[0]);
            prop_assert!(same(&read_absolute(&mut Reader(&alone)).unwrap(), &all[0]));
        }

        #[test]
        fn malformed_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_sequence(&mut Reader(&bytes), 5, drop);
        }
    }
}
