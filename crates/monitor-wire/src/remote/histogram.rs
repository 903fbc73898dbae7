//! `Histogram`, the same message in both versions.

use crate::WireError;
use crate::proto::{Reader, Writer, unzigzag, zigzag};
use monitor_model::histogram::{Buckets, HistogramError, MAX_BUCKETS};
use monitor_model::{CounterReset, Histogram, Span};

/// A histogram sample.
pub(super) struct ReadHistogram {
    pub(super) at_ms: i64,
    pub(super) start_ms: i64,
    pub(super) value: Result<Histogram, HistogramError>,
}

/// One side as it lies in the message.
#[derive(Default)]
struct SideFields {
    spans: Vec<Span>,
    deltas: Vec<i64>,
    counts: Vec<f64>,
}

/// count_int = 1, count_float = 2, sum = 3, schema = 4, zero_threshold = 5,
/// zero_count_int = 6, zero_count_float = 7, negative_spans = 8,
/// negative_deltas = 9, negative_counts = 10, positive_spans = 11,
/// positive_deltas = 12, positive_counts = 13, reset_hint = 14, timestamp = 15,
/// custom_values = 16, start_timestamp = 17 (2.0).
pub(super) fn read_histogram(mut reader: Reader<'_>) -> Result<ReadHistogram, WireError> {
    let mut histogram = Histogram::default();
    let (mut positive, mut negative) = (SideFields::default(), SideFields::default());
    let (mut at_ms, mut start_ms, mut schema, mut whole) = (0, 0, 0, false);
    let mut bounds = Vec::new();
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => (histogram.count, whole) = (reader.unsigned(value)? as f64, true),
            2 => (histogram.count, whole) = (reader.double(value)?, false),
            3 => histogram.sum = reader.double(value)?,
            4 => schema = reader.zigzag(value)?,
            5 => histogram.zero_threshold = reader.double(value)?,
            6 => histogram.zero_count = reader.unsigned(value)? as f64,
            7 => histogram.zero_count = reader.double(value)?,
            8 | 11 => {
                let side = if number == 8 { &mut negative } else { &mut positive };
                if side.spans.len() >= MAX_BUCKETS {
                    return Err(reader.wrong(format!("more than {MAX_BUCKETS} spans")));
                }
                side.spans.push(span(reader.inside(reader.message(value)?, "histograms.spans"))?);
            }
            9 => reader.varints(value, &mut negative.deltas, MAX_BUCKETS, unzigzag)?,
            10 => reader.fixed64s(value, &mut negative.counts, MAX_BUCKETS, f64::from_bits)?,
            12 => reader.varints(value, &mut positive.deltas, MAX_BUCKETS, unzigzag)?,
            13 => reader.fixed64s(value, &mut positive.counts, MAX_BUCKETS, f64::from_bits)?,
            14 => {
                histogram.reset = match reader.unsigned(value)? {
                    1 => CounterReset::Reset,
                    2 => CounterReset::NotReset,
                    3 => CounterReset::Gauge,
                    _ => CounterReset::Unknown,
                }
            }
            15 => at_ms = reader.signed(value)?,
            16 => reader.fixed64s(value, &mut bounds, MAX_BUCKETS, f64::from_bits)?,
            17 => start_ms = reader.signed(value)?,
            _ => {}
        }
    }
    histogram.bounds = bounds.into();
    histogram.positive = positive.buckets(whole);
    histogram.negative = negative.buckets(whole);
    let value = match i8::try_from(schema) {
        Err(_) => Err(HistogramError::Schema(schema)),
        Ok(_) if histogram.is_stale() => Ok(Histogram { reset: histogram.reset, ..Histogram::stale() }),
        Ok(schema) => {
            histogram.schema = schema;
            let counted = if whole { histogram.validate_counts() } else { Ok(()) };
            histogram.validate().and(counted).map(|()| histogram)
        }
    };
    Ok(ReadHistogram { at_ms, start_ms, value })
}

impl SideFields {
    /// Whole counts are written as differences to the bucket before.
    fn buckets(self, whole: bool) -> Buckets {
        let counts = if whole {
            let mut count = 0i64;
            let sums = self.deltas.into_iter().map(|delta| {
                count = count.saturating_add(delta);
                count as f64
            });
            sums.collect()
        } else {
            self.counts
        };
        Buckets { spans: self.spans, counts }
    }
}

/// `BucketSpan`: offset = 1, length = 2.
fn span(mut reader: Reader<'_>) -> Result<Span, WireError> {
    let mut span = Span { offset: 0, length: 0 };
    while let Some((number, value)) = reader.next()? {
        match number {
            1 => span.offset = reader.zigzag32(value)?,
            2 => span.length = reader.unsigned32(value)?,
            _ => {}
        }
    }
    Ok(span)
}

/// Writes a histogram; with differences where all counts are whole.
pub(super) fn write_histogram(writer: &mut Writer<'_>, histogram: &Histogram, at_ms: i64, start_ms: i64) {
    let whole = is_whole(histogram);
    if whole {
        writer.always_number(1, histogram.count as u64);
    } else {
        writer.always_double(2, histogram.count);
    }
    writer.double(3, histogram.sum);
    writer.zigzag(4, histogram.schema.into());
    writer.double(5, histogram.zero_threshold);
    if whole {
        writer.always_number(6, histogram.zero_count as u64);
    } else {
        writer.always_double(7, histogram.zero_count);
    }
    write_side(writer, 8, &histogram.negative, whole);
    write_side(writer, 11, &histogram.positive, whole);
    let reset = match histogram.reset {
        CounterReset::Unknown => 0,
        CounterReset::Reset => 1,
        CounterReset::NotReset => 2,
        CounterReset::Gauge => 3,
    };
    writer.number(14, reset);
    writer.number(15, at_ms as u64);
    write_doubles(writer, 16, &histogram.bounds);
    writer.number(17, start_ms as u64);
}

/// Fields of spans, deltas and counts follow one another.
fn write_side(writer: &mut Writer<'_>, first: u32, side: &Buckets, whole: bool) {
    for span in &side.spans {
        writer.message(first, |writer| {
            writer.zigzag(1, span.offset.into());
            writer.number(2, span.length.into());
        });
    }
    if side.counts.is_empty() {
        return;
    }
    if whole {
        writer.message(first + 1, |writer| {
            let mut before = 0;
            for count in &side.counts {
                writer.varint(zigzag(*count as i64 - before));
                before = *count as i64;
            }
        });
    } else {
        write_doubles(writer, first + 2, &side.counts);
    }
}

fn write_doubles(writer: &mut Writer<'_>, field: u32, values: &[f64]) {
    if !values.is_empty() {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect();
        writer.bytes(field, &bytes);
    }
}

/// Whether every count is a whole number that a double has exactly.
fn is_whole(histogram: &Histogram) -> bool {
    let sides = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    let mut all = sides.chain([&histogram.count, &histogram.zero_count]);
    all.all(|count| *count >= 0.0 && *count < 9e15 && count.fract() == 0.0)
        // Counts that do not add up would be refused as whole numbers.
        && histogram.validate_counts().is_ok()
}
