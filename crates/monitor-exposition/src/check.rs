//! Whether an exposition obeys its standard, in the rules that need memory:
//! families, metrics, metric points, values.
//!
//! Prometheus scrapes what breaks most of these rules, and so do we; this is for
//! those who write exporters, and for `cargo xtask conformance openmetrics`.

mod open_metrics;

use crate::parser::{Format, Limits, ParseError, Parser};
use crate::{Entry, parse_float};
use monitor_model::MetricType;
use rustc_hash::FxHashMap;

/// What an exposition that obeys its standard held.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Samples, native histograms among them.
    pub samples: u64,
    /// Lines (or fields) of metadata.
    pub metadata: u64,
}

/// Checks a whole body. The error is the first that was found.
pub fn check(format: Format, body: &[u8], limits: Limits) -> Result<Checked, ParseError> {
    let mut parser = Parser::new(format, body, limits)?.strict();
    let mut checked = Checked::default();
    let mut rules = match format {
        Format::Text => Rules::Text(FxHashMap::default()),
        Format::OpenMetrics => Rules::OpenMetrics(Box::default()),
        Format::Protobuf => Rules::None,
    };
    loop {
        let verdict = match parser.next_entry()? {
            None => break,
            Some(entry) => {
                match &entry {
                    Entry::Sample(_) | Entry::Histogram(_) => checked.samples += 1,
                    _ => checked.metadata += 1,
                }
                match &mut rules {
                    Rules::Text(families) => text_entry(families, &entry),
                    Rules::OpenMetrics(rules) => rules.entry(&entry),
                    // The message's structure says what belongs together.
                    Rules::None => Ok(()),
                }
            }
        };
        verdict.map_err(|what| ParseError { place: parser.place(), what })?;
    }
    if let Rules::OpenMetrics(rules) = &mut rules {
        rules.end().map_err(|what| ParseError { place: parser.place(), what })?;
    }
    Ok(checked)
}

enum Rules {
    Text(FxHashMap<Box<str>, Family>),
    OpenMetrics(Box<open_metrics::Rules>),
    None,
}

/// What the text format's rules need to know of a family.
#[derive(Debug, Default)]
struct Family {
    help: bool,
    kind: Option<MetricType>,
    samples: bool,
}

/// "Exposition formats", "Comments, help text, and type information": each once,
/// and TYPE before the first sample.
fn text_entry(families: &mut FxHashMap<Box<str>, Family>, entry: &Entry<'_>) -> Result<(), String> {
    match entry {
        Entry::Help { text, .. } if text.is_empty() => {} // Says nothing.
        Entry::Help { family, .. } => {
            let known = families.entry((**family).into()).or_default();
            if std::mem::replace(&mut known.help, true) {
                return Err(format!("a second HELP for `{family}`"));
            }
        }
        Entry::Type { family, kind } => {
            let known = families.entry((**family).into()).or_default();
            if known.samples {
                return Err(format!("TYPE for `{family}` after its samples"));
            }
            if known.kind.replace(*kind).is_some() {
                return Err(format!("a second TYPE for `{family}`"));
            }
        }
        Entry::Sample(sample) => {
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| {
                let base = sample.name.strip_suffix(suffix)?;
                families.get(base)?.kind.map(|kind| (base, kind))
            });
            if let Some((base, MetricType::Histogram | MetricType::Summary)) = base
                && let Some(known) = families.get_mut(base)
            {
                known.samples = true;
            }
            match families.get_mut(&*sample.name) {
                Some(known) => known.samples = true,
                None => {
                    let known = Family { samples: true, ..Family::default() };
                    families.insert((*sample.name).into(), known);
                }
            }
            let of_itself = families.get(&*sample.name).and_then(|known| known.kind);
            let label = match (base, of_itself) {
                (Some((_, MetricType::Histogram)), _) if sample.name.ends_with("_bucket") => "le",
                (_, Some(MetricType::Summary)) => "quantile",
                _ => return Ok(()),
            };
            if let Some(value) = sample.labels.get(label)
                && parse_float(value.as_bytes()).is_none()
            {
                return Err(format!("`{label}` of `{}` is not a number: `{value}`", sample.name));
            }
        }
        Entry::Unit { .. } | Entry::Histogram(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests;
