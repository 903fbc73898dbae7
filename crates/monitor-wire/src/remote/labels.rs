//! Labels as they lie in a message: compared as bytes, parsed when asked for.

use super::read_v2::Symbols;
use crate::WireError;
use crate::proto::{Reader, Value};
use monitor_model::{Labels, METRIC_NAME};

/// A keyed hash of 128 bits: it names a series in a caller's cache, so its key
/// must be one that senders do not know.
pub trait KeyHash {
    /// Hashes bytes.
    fn hash(&self, bytes: &[u8]) -> u128;
}

/// The labels of a time series or an exemplar.
#[derive(Clone, Copy, Debug)]
pub struct RawLabels<'a> {
    pub(super) raw: Raw<'a>,
    pub(super) key: Option<u128>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// Fields of a 1.0 message, of which those with the number 1 are labels.
    Fields(&'a [u8]),
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
    /// Names the labels: two time series with the same key have the same labels,
    /// in any message of the same version. `None` where that cannot be promised.
    pub fn key(&self) -> Option<u128> {
        self.key
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
        match self.raw {
            Raw::Fields(bytes) => {
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
