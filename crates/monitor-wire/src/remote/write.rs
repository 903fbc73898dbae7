//! Writing requests.

use super::histogram::write_histogram;
use super::type_number;
use crate::proto::Writer;
use monitor_model::{Histogram, Labels, Metadata};
use std::collections::HashMap;

/// A number to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OutgoingSample {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The value.
    pub value: f64,
    /// When the counter began; 0 where that is not known. 1.0 cannot say it.
    pub start_ms: i64,
}

/// A histogram to send.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingHistogram<'a> {
    /// Unix milliseconds.
    pub at_ms: i64,
    /// The value.
    pub value: &'a Histogram,
    /// As of a number.
    pub start_ms: i64,
}

/// An exemplar to send.
#[derive(Clone, Debug, PartialEq)]
pub struct OutgoingExemplar<'a> {
    /// Its labels.
    pub labels: &'a Labels,
    /// Its value.
    pub value: f64,
    /// Unix milliseconds.
    pub at_ms: i64,
}

/// A time series to send.
#[derive(Clone, Debug, Default)]
pub struct Outgoing<'a> {
    /// What names it.
    pub labels: Labels,
    /// Its numbers.
    pub samples: &'a [OutgoingSample],
    /// Its histograms.
    pub histograms: &'a [OutgoingHistogram<'a>],
    /// Its exemplars.
    pub exemplars: &'a [OutgoingExemplar<'a>],
    /// What its metric is; 1.0 has that beside the series.
    pub metadata: Option<&'a Metadata>,
}

/// Appends a 1.0 message: series, and what is known of metric families.
pub fn write_v1(series: &[Outgoing<'_>], metadata: &[(&str, &Metadata)], out: &mut Vec<u8>) {
    let mut writer = Writer(out);
    for one in series {
        writer.message(1, |writer| {
            v1_labels(writer, &one.labels);
            for sample in one.samples {
                writer.message(2, |writer| {
                    writer.double(1, sample.value);
                    writer.number(2, sample.at_ms as u64);
                });
            }
            for exemplar in one.exemplars {
                writer.message(3, |writer| {
                    v1_labels(writer, exemplar.labels);
                    writer.double(2, exemplar.value);
                    writer.number(3, exemplar.at_ms as u64);
                });
            }
            for histogram in one.histograms {
                // 1.0 has no start timestamps.
                writer.message(4, |writer| write_histogram(writer, histogram.value, histogram.at_ms, 0));
            }
        });
    }
    for (family, metadata) in metadata {
        writer.message(3, |writer| {
            writer.number(1, type_number(metadata.kind));
            writer.bytes(2, family.as_bytes());
            if !metadata.help.is_empty() {
                writer.bytes(4, metadata.help.as_bytes());
            }
            if !metadata.unit.is_empty() {
                writer.bytes(5, metadata.unit.as_bytes());
            }
        });
    }
}

fn v1_labels(writer: &mut Writer<'_>, labels: &Labels) {
    for (name, value) in labels {
        writer.message(1, |writer| {
            writer.bytes(1, name.as_bytes());
            writer.bytes(2, value.as_bytes());
        });
    }
}

/// Appends a 2.0 message.
pub fn write_v2(series: &[Outgoing<'_>], out: &mut Vec<u8>) {
    let mut symbols = Table::default();
    symbols.number("");
    let mut body = Vec::new();
    let mut writer = Writer(&mut body);
    for one in series {
        writer.message(5, |writer| {
            v2_labels(writer, &one.labels, &mut symbols);
            for sample in one.samples {
                writer.message(2, |writer| {
                    writer.double(1, sample.value);
                    writer.number(2, sample.at_ms as u64);
                    writer.number(3, sample.start_ms as u64);
                });
            }
            for histogram in one.histograms {
                writer.message(3, |writer| {
                    write_histogram(writer, histogram.value, histogram.at_ms, histogram.start_ms);
                });
            }
            for exemplar in one.exemplars {
                writer.message(4, |writer| {
                    v2_labels(writer, exemplar.labels, &mut symbols);
                    writer.double(2, exemplar.value);
                    writer.number(3, exemplar.at_ms as u64);
                });
            }
            if let Some(metadata) = one.metadata {
                writer.message(5, |writer| {
                    writer.number(1, type_number(metadata.kind));
                    writer.number(3, symbols.number(&metadata.help));
                    writer.number(4, symbols.number(&metadata.unit));
                });
            }
        });
    }
    let mut writer = Writer(out);
    for symbol in &symbols.texts {
        writer.bytes(4, symbol.as_bytes());
    }
    out.append(&mut body);
}

fn v2_labels(writer: &mut Writer<'_>, labels: &Labels, symbols: &mut Table) {
    writer.message(1, |writer| {
        for (name, value) in labels {
            writer.varint(symbols.number(name));
            writer.varint(symbols.number(value));
        }
    });
}

/// The symbols of a message that is written.
#[derive(Default)]
struct Table {
    numbers: HashMap<String, u64>,
    texts: Vec<String>,
}

impl Table {
    fn number(&mut self, text: &str) -> u64 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        let number = self.texts.len() as u64;
        self.numbers.insert(text.to_owned(), number);
        self.texts.push(text.to_owned());
        number
    }
}
