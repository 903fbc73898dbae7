//! `io.prometheus.write.v2.Request` (Remote-Write 2.0, "Protobuf message").

use super::histogram::read_histogram;
use super::labels::Raw;
use super::{KeyHash, RawLabels, RemoteExemplar, RemoteMetadata, RemoteSink, metric_type};
use crate::WireError;
use crate::proto::{Reader, Value};
use monitor_model::MetricType;

/// The texts of a message, which labels refer to.
#[derive(Clone, Debug, Default)]
pub(super) struct Symbols<'a> {
    texts: Vec<&'a [u8]>,
    /// Their hashes: a text is hashed once, however often it is referred to.
    hashes: Vec<u128>,
}

impl<'a> Symbols<'a> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }

    /// A symbol, where there is such a one and it is UTF-8.
    pub(super) fn text(&self, reference: u64) -> Option<&'a str> {
        let bytes = self.texts.get(usize::try_from(reference).ok()?)?;
        std::str::from_utf8(bytes).ok()
    }

    /// A hash of what packed references say; `None` where one refers to nothing.
    ///
    /// It is the polynomial over the texts' hashes at an odd number, modulo
    /// 2^128. These are as good as random to who does not know their key, so two
    /// lists that differ meet with a chance of 2^-128 times a small power of two
    /// (Carter and Wegman 1979, on universal hashing).
    fn key(&self, references: &[u8]) -> Option<u128> {
        let mut reader = Reader::new(references, "labels_refs");
        let mut key = 1u128;
        while !reader.is_done() {
            let at = usize::try_from(reader.varint().ok()?).ok()?;
            key = key.wrapping_mul(POINT).wrapping_add(*self.hashes.get(at)?);
        }
        Some(key)
    }
}

/// Symbols of a message: each takes 32 bytes here, of the two that it may have
/// there. A message of 10,000 series has less than a tenth of them.
const MAX_SYMBOLS: usize = 1_000_000;

/// Odd, and 3 modulo 8, so that its powers are far apart: the digits of π after
/// the point.
const POINT: u128 = 0x243f_6a88_85a3_08d3_1319_8a2e_0370_7343;

/// Reads a 2.0 message, decompressed.
pub fn read_v2(body: &[u8], hash: &impl KeyHash, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    // Symbols may come behind the series that refer to them.
    let mut reader = Reader::new(body, "request");
    let mut symbols = Symbols::default();
    while let Some((number, value)) = reader.next()? {
        match number {
            4 => {
                if symbols.len() == MAX_SYMBOLS {
                    return Err(reader.wrong(format!("more than {MAX_SYMBOLS} symbols")));
                }
                let text = reader.message(value)?;
                symbols.texts.push(text);
                symbols.hashes.push(hash.hash(text));
            }
            // Fields 1 to 3 are reserved so that a 1.0 message is told apart.
            1..=3 => {
                return Err(reader.wrong(
                    "field of a 1.0 message in a 2.0 one; hint: the sender's `Content-Type` and body disagree",
                ));
            }
            _ => {}
        }
    }
    // "The first element of the symbols table MUST be an empty string."
    if symbols.texts.first().is_some_and(|first| !first.is_empty()) {
        return Err(reader.wrong("the first symbol is not empty"));
    }
    let mut reader = Reader::new(body, "request");
    while let Some((number, value)) = reader.next()? {
        if number == 5 {
            let message = reader.inside(reader.message(value)?, "timeseries");
            series(&message, &symbols, |labels| symbols.key(labels), sink)?;
        }
    }
    Ok(())
}

/// `TimeSeries`: labels_refs = 1, samples = 2, histograms = 3, exemplars = 4,
/// metadata = 5, and in release candidates created_timestamp = 6.
fn series(
    message: &Reader<'_>,
    symbols: &Symbols<'_>,
    key: impl FnOnce(&[u8]) -> Option<u128>,
    sink: &mut impl RemoteSink,
) -> Result<(), WireError> {
    let mut reader = message.clone();
    let mut labels: &[u8] = &[];
    let mut unpacked = Vec::new();
    let mut created_ms = 0;
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Value::Bytes(packed)) if labels.is_empty() && unpacked.is_empty() => labels = packed,
            // One by one, or in several packs: allowed, and written by nobody.
            (1, Value::Bytes(packed)) => {
                unpacked.extend_from_slice(std::mem::take(&mut labels));
                unpacked.extend_from_slice(packed);
            }
            (1, Value::Varint(reference)) => {
                unpacked.extend_from_slice(std::mem::take(&mut labels));
                crate::proto::Writer(&mut unpacked).varint(reference);
            }
            (6, _) => created_ms = reader.signed(value)?,
            _ => {}
        }
    }
    let labels = if unpacked.is_empty() { labels } else { &unpacked };
    if !sink.series(&RawLabels { raw: Raw::References(labels, symbols), key: key(labels) }) {
        return Ok(());
    }
    let mut reader = message.clone();
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => {
                let inner = reader.inside(reader.message(value)?, "timeseries.samples");
                sample(inner, created_ms, sink)?;
            }
            3 => {
                let read = read_histogram(reader.inside(reader.message(value)?, "timeseries.histograms"))?;
                let start_ms = if read.start_ms == 0 { created_ms } else { read.start_ms };
                match read.value {
                    Ok(value) => sink.histogram(read.at_ms, value, start_ms),
                    Err(why) => sink.refused_histogram(read.at_ms, &why),
                }
            }
            4 => {
                let inner = reader.inside(reader.message(value)?, "timeseries.exemplars");
                exemplar(inner, symbols, sink)?;
            }
            5 => {
                let inner = reader.inside(reader.message(value)?, "timeseries.metadata");
                metadata(inner, symbols, sink)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// `Sample`: value = 1, timestamp = 2, start_timestamp = 3.
#[inline]
fn sample(mut reader: Reader<'_>, created_ms: i64, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    if let Some((value, at_ms)) = reader.plain_sample() {
        sink.sample(at_ms, value, created_ms);
        return Ok(());
    }
    let (mut value, mut at_ms, mut start_ms) = (0.0, 0, created_ms);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => value = reader.double(field)?,
            2 => at_ms = reader.signed(field)?,
            3 => start_ms = reader.signed(field)?,
            _ => {}
        }
    }
    sink.sample(at_ms, value, start_ms);
    Ok(())
}

/// `Exemplar`: labels_refs = 1, value = 2, timestamp = 3.
fn exemplar(
    mut reader: Reader<'_>,
    symbols: &Symbols<'_>,
    sink: &mut impl RemoteSink,
) -> Result<(), WireError> {
    let (mut labels, mut value, mut at_ms): (&[u8], _, _) = (&[], 0.0, 0);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => labels = reader.message(field)?,
            2 => value = reader.double(field)?,
            3 => at_ms = reader.signed(field)?,
            _ => {}
        }
    }
    sink.exemplar(RemoteExemplar {
        labels: RawLabels { raw: Raw::References(labels, symbols), key: None },
        value,
        at_ms,
    });
    Ok(())
}

/// `Metadata`: type = 1, help_ref = 3, unit_ref = 4.
fn metadata(
    mut reader: Reader<'_>,
    symbols: &Symbols<'_>,
    sink: &mut impl RemoteSink,
) -> Result<(), WireError> {
    let (mut kind, mut help, mut unit) = (MetricType::Unknown, 0, 0);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => kind = metric_type(reader.unsigned(field)?),
            3 => help = reader.unsigned(field)?,
            4 => unit = reader.unsigned(field)?,
            _ => {}
        }
    }
    let text = |reference| match reference {
        0 => Ok(""),
        other => symbols
            .text(other)
            .ok_or_else(|| reader.wrong(format!("symbol `{other}` is missing or not UTF-8"))),
    };
    sink.series_metadata(RemoteMetadata { kind, unit: text(unit)?, help: text(help)? });
    Ok(())
}
