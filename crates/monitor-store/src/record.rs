//! Records of log, head file and manifest (docs/formats/store-log.md).

use crate::bytes::{Malformed, Reader, put_labels, put_text, put_varint, put_zigzag};
use crate::histograms;
use monitor_model::{Exemplar, Histogram, Labels, Metadata, MetricType};
use std::sync::Arc;

pub(crate) const LOG_MAGIC: &[u8; 8] = b"bastlog\x02";
pub(crate) const OLD_LOG_MAGIC: &[u8; 8] = b"bastlog\x01";

pub(crate) const SERIES: u8 = 1;
pub(crate) const FLOATS: u8 = 2;
pub(crate) const HISTOGRAMS: u8 = 3;
pub(crate) const EXEMPLARS: u8 = 4;
pub(crate) const METADATA: u8 = 5;

pub(crate) const HEAD: usize = 9;
/// Bytes of a record; longer ones are taken for damage.
pub(crate) const MAX_RECORD: usize = 16 << 20;
/// Floats of one record: at most 38 bytes each, far below [`MAX_RECORD`].
pub(crate) const MAX_FLOATS: usize = 65_536;

const SAME_TIME: u8 = 1;
const STARTS: u8 = 2;

/// A float on its way to or from the log.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LoggedFloat {
    pub(crate) slot: u32,
    pub(crate) at_ms: i64,
    pub(crate) value: f64,
    pub(crate) start_ms: i64,
}

/// Appends a record.
pub(crate) fn put_record(into: &mut Vec<u8>, kind: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    let begin = into.len();
    into.extend_from_slice(&[0; 8]);
    into.push(kind);
    fill(into);
    let length = (into.len() - begin - HEAD) as u32;
    let crc = crc32fast::hash(&into[begin + 8..]);
    into[begin..begin + 4].copy_from_slice(&length.to_le_bytes());
    into[begin + 4..begin + 8].copy_from_slice(&crc.to_le_bytes());
}

/// A record's kind, payload, and what is behind it, where it is whole and sound.
pub(crate) fn whole_record(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let mut reader = Reader(bytes);
    let length = reader.u32().ok()? as usize;
    let crc = reader.u32().ok()?;
    if length > MAX_RECORD {
        return None;
    }
    let content = reader.bytes(length + 1).ok()?;
    (crc32fast::hash(content) == crc).then(|| (content[0], &content[1..], reader.0))
}

/// Appends records of floats.
pub(crate) fn put_floats(into: &mut Vec<u8>, floats: &[LoggedFloat]) {
    for part in floats.chunks(MAX_FLOATS) {
        put_record(into, FLOATS, |payload| put_columns(payload, part));
    }
}

fn put_columns(payload: &mut Vec<u8>, floats: &[LoggedFloat]) {
    let first_ms = floats[0].at_ms;
    let same = floats.iter().all(|f| f.at_ms == first_ms);
    let starts = floats.iter().any(|f| f.start_ms != 0);
    payload.reserve(floats.len() * 12 + 32);
    put_varint(payload, floats.len() as u64);
    payload.push((u8::from(same) * SAME_TIME) | (u8::from(starts) * STARTS));
    let mut before = 0;
    for float in floats {
        put_zigzag(payload, i64::from(float.slot) - before);
        before = i64::from(float.slot);
    }
    if same {
        put_zigzag(payload, first_ms);
    } else {
        put_times(payload, floats.iter().map(|f| f.at_ms));
    }
    for float in floats {
        payload.extend_from_slice(&float.value.to_bits().to_le_bytes());
    }
    if starts {
        put_times(payload, floats.iter().map(|f| f.start_ms));
    }
}

fn put_times(payload: &mut Vec<u8>, times: impl Iterator<Item = i64>) {
    let mut before = 0i64;
    for at_ms in times {
        put_zigzag(payload, at_ms.wrapping_sub(before));
        before = at_ms;
    }
}

/// Reads a record of floats into the place of what is there.
pub(crate) fn read_floats(payload: &[u8], into: &mut Vec<LoggedFloat>) -> Result<(), Malformed> {
    let mut reader = Reader(payload);
    let count = reader.count()?;
    let flags = reader.u8()?;
    into.clear();
    into.reserve(count);
    let mut before = 0i64;
    for _ in 0..count {
        before = before.wrapping_add(reader.zigzag()?);
        let slot = u32::try_from(before).map_err(|_| Malformed)?;
        into.push(LoggedFloat { slot, at_ms: 0, value: 0.0, start_ms: 0 });
    }
    if flags & SAME_TIME != 0 {
        let at_ms = reader.zigzag()?;
        into.iter_mut().for_each(|f| f.at_ms = at_ms);
    } else {
        let mut at_ms = 0i64;
        for float in into.iter_mut() {
            at_ms = at_ms.wrapping_add(reader.zigzag()?);
            float.at_ms = at_ms;
        }
    }
    for float in into.iter_mut() {
        float.value = f64::from_bits(reader.u64()?);
    }
    if flags & STARTS != 0 {
        let mut start_ms = 0i64;
        for float in into.iter_mut() {
            start_ms = start_ms.wrapping_add(reader.zigzag()?);
            float.start_ms = start_ms;
        }
    }
    Ok(())
}

pub(crate) fn put_series(into: &mut Vec<u8>, slot: u32, labels: &Labels) {
    put_record(into, SERIES, |payload| {
        put_varint(payload, u64::from(slot));
        put_labels(payload, labels);
    });
}

pub(crate) fn read_series(payload: &[u8]) -> Result<(u32, Labels), Malformed> {
    let mut reader = Reader(payload);
    Ok((reader.u32_varint()?, reader.labels()?))
}

/// A histogram on its way to or from the log.
#[derive(Clone, Debug)]
pub(crate) struct LoggedHistogram {
    pub(crate) slot: u32,
    pub(crate) at_ms: i64,
    pub(crate) value: Arc<Histogram>,
    pub(crate) start_ms: i64,
}

/// Appends records of histograms.
pub(crate) fn put_histograms(into: &mut Vec<u8>, all: &[LoggedHistogram]) {
    // 64 of the largest that are taken stay below `MAX_RECORD`.
    for part in all.chunks(64) {
        put_record(into, HISTOGRAMS, |payload| {
            put_varint(payload, part.len() as u64);
            for one in part {
                put_varint(payload, u64::from(one.slot));
                put_zigzag(payload, one.at_ms);
                put_zigzag(payload, one.start_ms);
                histograms::put_absolute(payload, &one.value);
            }
        });
    }
}

pub(crate) fn read_histograms(payload: &[u8]) -> Result<Vec<LoggedHistogram>, Malformed> {
    let mut reader = Reader(payload);
    (0..reader.count()?)
        .map(|_| {
            let (slot, at_ms, start_ms) = (reader.u32_varint()?, reader.zigzag()?, reader.zigzag()?);
            let value = Arc::new(histograms::read_absolute(&mut reader)?);
            Ok(LoggedHistogram { slot, at_ms, value, start_ms })
        })
        .collect()
}

/// Appends an exemplar without its series.
pub(crate) fn put_exemplar(payload: &mut Vec<u8>, exemplar: &Exemplar, stored_ms: i64) {
    put_zigzag(payload, stored_ms);
    payload.push(u8::from(exemplar.at_ms.is_some()));
    if let Some(at_ms) = exemplar.at_ms {
        put_zigzag(payload, at_ms);
    }
    payload.extend_from_slice(&exemplar.value.to_bits().to_le_bytes());
    put_labels(payload, &exemplar.labels);
}

pub(crate) fn read_exemplar(reader: &mut Reader<'_>) -> Result<(Exemplar, i64), Malformed> {
    let stored_ms = reader.zigzag()?;
    let at_ms = if reader.u8()? == 0 { None } else { Some(reader.zigzag()?) };
    let value = f64::from_bits(reader.u64()?);
    let labels = reader.labels()?;
    Ok((Exemplar { labels, value, at_ms }, stored_ms))
}

/// Appends a record of exemplars: slot, exemplar, when it was stored.
pub(crate) fn put_exemplars(into: &mut Vec<u8>, all: &[(u32, &Exemplar, i64)]) {
    for part in all.chunks(4_096) {
        put_record(into, EXEMPLARS, |payload| {
            put_varint(payload, part.len() as u64);
            for (slot, exemplar, stored_ms) in part {
                put_varint(payload, u64::from(*slot));
                put_exemplar(payload, exemplar, *stored_ms);
            }
        });
    }
}

pub(crate) fn read_exemplars(payload: &[u8]) -> Result<Vec<(u32, Exemplar, i64)>, Malformed> {
    let mut reader = Reader(payload);
    (0..reader.count()?)
        .map(|_| {
            let slot = reader.u32_varint()?;
            let (exemplar, stored_ms) = read_exemplar(&mut reader)?;
            Ok((slot, exemplar, stored_ms))
        })
        .collect()
}

const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

pub(crate) fn put_metadata<'a>(payload: &mut Vec<u8>, all: &[(&'a str, &'a Metadata)]) {
    put_varint(payload, all.len() as u64);
    for (metric, metadata) in all {
        put_text(payload, metric);
        payload.push(TYPES.iter().position(|t| *t == metadata.kind).unwrap_or(0) as u8);
        put_text(payload, &metadata.unit);
        put_text(payload, &metadata.help);
    }
}

pub(crate) fn read_metadata(payload: &[u8]) -> Result<Vec<(String, Metadata)>, Malformed> {
    let mut reader = Reader(payload);
    (0..reader.count()?)
        .map(|_| {
            let metric = reader.text()?.to_owned();
            let kind = *TYPES.get(usize::from(reader.u8()?)).ok_or(Malformed)?;
            let (unit, help) = (reader.text()?.to_owned(), reader.text()?.to_owned());
            Ok((metric, Metadata { kind, unit, help }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn floats_read_back(
            all in prop::collection::vec((any::<u32>(), any::<i64>(), any::<u64>(), prop_oneof![Just(0i64), any::<i64>()]), 1..100),
            same in any::<bool>(),
        ) {
            let floats: Vec<LoggedFloat> = all.iter().map(|(slot, at_ms, bits, start_ms)| LoggedFloat {
                slot: *slot,
                at_ms: if same { all[0].1 } else { *at_ms },
                value: f64::from_bits(*bits),
                start_ms: *start_ms,
            }).collect();
            let mut bytes = Vec::new();
            put_floats(&mut bytes, &floats);
            let (kind, payload, rest) = whole_record(&bytes).unwrap();
            prop_assert_eq!((kind, rest.len()), (FLOATS, 0));
            let mut read = Vec::new();
            read_floats(payload, &mut read).unwrap();
            let plain = |all: &[LoggedFloat]| all.iter().map(|f| (f.slot, f.at_ms, f.value.to_bits(), f.start_ms)).collect::<Vec<_>>();
            prop_assert_eq!(plain(&read), plain(&floats));
        }

        #[test]
        fn malformed_payloads_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = whole_record(&bytes);
            let _ = read_floats(&bytes, &mut Vec::new());
            let _ = read_histograms(&bytes);
            let _ = read_exemplars(&bytes);
            let _ = read_metadata(&bytes);
            let _ = read_series(&bytes);
        }
    }
}
