//! Labels as they lie in a message: compared as bytes, parsed when asked for.

use super::Symbols;
use crate::WireError;
use crate::proto::{Reader, Value};
use monitor_model::{Labels, METRIC_NAME};

/// The labels of a time series or an exemplar.
#[derive(Clone, Copy, Debug)]
pub struct RawLabels<'a>(pub(super) Raw<'a>);

#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// Fields `labels = 1` of a 1.0 series, one after another.
    Fields(&'a [u8]),
    /// A whole 1.0 message, whose labels lie apart from one another.
    Scattered(&'a [u8]),
    /// Packed `labels_refs` of 2.0.
    References(&'a [u8], &'a Symbols<'a>),
}

/// Why labels name no series.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BadLabels {
    /// The bytes are wrong.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A name without text.
    #[error("a label has no name: {0}")]
    NoLabelName(Labels),
    /// The same name twice.
    #[error("label `{0}` is there twice: {1}")]
    Twice(String, Labels),
    /// Nothing names the metric.
    #[error("labels have no `__name__`: {0}")]
    NoMetricName(Labels),
    /// One name without a value.
    #[error("the number of label references is odd")]
    Odd,
    /// A reference to nothing.
    #[error("label reference `{0}` is beyond the {1} symbols")]
    Reference(u64, usize),
}

impl<'a> RawLabels<'a> {
    /// The bytes that name the series, to be hashed part by part, each with its
    /// length. Two series of the same version with the same parts have the same
    /// labels; `None` where that cannot be promised.
    pub fn parts(&self) -> Option<impl Iterator<Item = &'a [u8]>> {
        let (one, references) = match self.0 {
            Raw::Fields(bytes) => (Some(bytes), None),
            Raw::Scattered(_) => return None,
            Raw::References(bytes, symbols) => (None, Some(symbols.referenced(bytes))),
        };
        Some(one.into_iter().chain(references.into_iter().flatten()))
    }

    /// The labels of a time series.
    pub fn series(&self) -> Result<Labels, BadLabels> {
        let labels = self.labels()?;
        if labels.get(METRIC_NAME).is_none() {
            return Err(BadLabels::NoMetricName(labels));
        }
        Ok(labels)
    }

    /// The labels.
    pub fn labels(&self) -> Result<Labels, BadLabels> {
        let mut pairs: Vec<(&str, &str)> = Vec::with_capacity(16);
        match self.0 {
            Raw::Fields(bytes) | Raw::Scattered(bytes) => {
                let mut reader = Reader::new(bytes, "labels");
                while let Some((number, value)) = reader.next()? {
                    if number == 1 {
                        pairs.push(pair(reader.inside(reader.message(value)?, "labels"))?);
                    }
                }
            }
            Raw::References(bytes, symbols) => {
                let mut reader = Reader::new(bytes, "labels_refs");
                let symbol = |reader: &mut Reader<'_>| -> Result<&'a str, BadLabels> {
                    let reference = reader.varint()?;
                    symbols.text(reference).ok_or(BadLabels::Reference(reference, symbols.len()))
                };
                while !reader.is_done() {
                    let name = symbol(&mut reader)?;
                    if reader.is_done() {
                        return Err(BadLabels::Odd);
                    }
                    pairs.push((name, symbol(&mut reader)?));
                }
            }
        }
        // Senders must sort; that they do is not relied on.
        if !pairs.is_sorted_by(|a, b| a.0 < b.0) {
            pairs.sort_by_key(|pair| pair.0);
            if let Some(twice) = pairs.windows(2).find(|two| two[0].0 == two[1].0) {
                return Err(BadLabels::Twice(twice[0].0.into(), Labels::from_pairs(pairs.iter().copied())));
            }
        }
        let labels = Labels::from_sorted(pairs.iter().copied());
        if pairs.first().is_some_and(|pair| pair.0.is_empty()) {
            return Err(BadLabels::NoLabelName(labels));
        }
        Ok(labels)
    }
}

fn pair<'a>(mut reader: Reader<'a>) -> Result<(&'a str, &'a str), WireError> {
    let mut pair = ("", "");
    while let Some((number, value)) = reader.next()? {
        match (number, value) {
            (1, Value::Bytes(_)) => pair.0 = reader.text(value)?,
            (2, Value::Bytes(_)) => pair.1 = reader.text(value)?,
            _ => {}
        }
    }
    Ok(pair)
}
