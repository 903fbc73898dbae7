//! `prometheus.WriteRequest` (prometheus/prompb `remote.proto`, `types.proto`).

use super::histogram::read_histogram;
use super::labels::Raw;
use super::{KeyHash, RawLabels, RemoteExemplar, RemoteMetadata, RemoteSink, metric_type};
use crate::WireError;
use crate::proto::{Reader, Value};
use monitor_model::MetricType;

/// Reads a 1.0 message, decompressed.
pub fn read_v1(body: &[u8], hash: &impl KeyHash, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    let mut reader = Reader::new(body, "write_request");
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => series(&reader.inside(reader.message(value)?, "timeseries"), hash, sink)?,
            3 => metadata(reader.inside(reader.message(value)?, "metadata"), sink)?,
            _ => {}
        }
    }
    Ok(())
}

/// `TimeSeries`: labels = 1, samples = 2, exemplars = 3, histograms = 4. Labels
/// come first and together as every known sender writes them; the encoding would
/// allow any order.
fn series(message: &Reader<'_>, hash: &impl KeyHash, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    let bytes = message.bytes();
    let mut reader = message.clone();
    reader.skip_leading(1);
    let (mut labels_end, mut before) = (reader.position(), reader.position());
    let mut together = true;
    while let Some((number, value)) = reader.next()? {
        if number == 1 {
            together &= before == labels_end;
            reader.message(value)?;
            labels_end = reader.position();
        }
        before = reader.position();
    }
    let labels = if together {
        let fields = &bytes[..labels_end];
        RawLabels { raw: Raw::Fields(fields), key: Some(hash.hash(fields)) }
    } else {
        RawLabels { raw: Raw::Fields(bytes), key: None }
    };
    if !sink.series(&labels) {
        return Ok(());
    }
    let mut reader = message.clone();
    if together {
        reader = message.inside(&bytes[labels_end..], "timeseries");
    }
    while let Some((number, value)) = reader.next()? {
        match number {
            2 => sample(reader.inside(reader.message(value)?, "timeseries.samples"), sink)?,
            3 => exemplar(reader.inside(reader.message(value)?, "timeseries.exemplars"), sink)?,
            4 => {
                let read = read_histogram(reader.inside(reader.message(value)?, "timeseries.histograms"))?;
                match read.value {
                    Ok(value) => sink.histogram(read.at_ms, value, read.start_ms),
                    Err(why) => sink.refused_histogram(read.at_ms, &why),
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// `Sample`: value = 1, timestamp = 2.
#[inline]
fn sample(mut reader: Reader<'_>, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    if let Some((value, at_ms)) = reader.plain_sample() {
        sink.sample(at_ms, value, 0);
        return Ok(());
    }
    let (mut value, mut at_ms) = (0.0, 0);
    while let Some((number, field)) = reader.next()? {
        match number {
            1 => value = reader.double(field)?,
            2 => at_ms = reader.signed(field)?,
            _ => {}
        }
    }
    sink.sample(at_ms, value, 0);
    Ok(())
}

/// `Exemplar`: labels = 1, value = 2, timestamp = 3.
fn exemplar(mut reader: Reader<'_>, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    let labels = RawLabels { raw: Raw::Fields(reader.bytes()), key: None };
    let (mut value, mut at_ms) = (0.0, 0);
    while let Some((number, field)) = reader.next()? {
        match number {
            2 => value = reader.double(field)?,
            3 => at_ms = reader.signed(field)?,
            _ => {}
        }
    }
    sink.exemplar(RemoteExemplar { labels, value, at_ms });
    Ok(())
}

/// `MetricMetadata`: type = 1, metric_family_name = 2, help = 4, unit = 5.
fn metadata(mut reader: Reader<'_>, sink: &mut impl RemoteSink) -> Result<(), WireError> {
    let (mut kind, mut family, mut help, mut unit) = (MetricType::Unknown, "", "", "");
    while let Some((number, field)) = reader.next()? {
        match (number, field) {
            (1, _) => kind = metric_type(reader.unsigned(field)?),
            (2, Value::Bytes(_)) => family = reader.text(field)?,
            (4, Value::Bytes(_)) => help = reader.text(field)?,
            (5, Value::Bytes(_)) => unit = reader.text(field)?,
            _ => {}
        }
    }
    sink.family_metadata(family, RemoteMetadata { kind, unit, help });
    Ok(())
}
