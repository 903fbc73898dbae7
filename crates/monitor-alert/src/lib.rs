//! Decides which alerts are pending, firing or resolved, and when which
//! receiver is told what.
//!
//! Rules come from the site's file ([`mod@ready_made`]) and from Prometheus' rule
//! files ([`rule_file`]); the caller evaluates an expression and gives its samples
//! with the time ([`Rules::evaluate`]). What fires goes to the Alertmanager inside
//! ([`manager`]): routes, groups, silences, inhibition; it says what is due, and is
//! told what became of it. [`receiver`] builds what is sent, [`template`] fills in
//! the words, [`backtest`] says what an alert would have fired.
//!
//! Pure: no I/O, no clock, no randomness. States serialise, so that a restart
//! neither forgets nor repeats.
//!
//! It never evaluates PromQL and never drops an alert that fires: a message stays
//! due until a receiver took it.
//!
//! Limits: [`rules::MAX_ALERTS_PER_RULE`] label sets a rule,
//! [`manager::MAX_ALERTS`] alerts, [`manager::MAX_ALERTS_PER_MESSAGE`] in one
//! message; templates are bounded by [`template::Limits`]. One monitor alone: no
//! gossip between several.
//!
//! Sources: Prometheus' documentation of rules and of templates; Alertmanager's
//! documentation; the specification of alert generators (prometheus/compliance).

pub mod api;
pub mod backtest;
pub mod duration;
pub mod group;
pub mod manager;
pub mod ready_made;
pub mod receiver;
pub mod rule_file;
pub mod rules;
pub mod settings;
pub mod template;

pub use ready_made::{Facts, Thresholds, ready_made};
pub use rules::{ActiveAlert, Change, Rules, State};
pub use yaml_tree::Mistake;

/// One element of the vector that an expression gave.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Its labels, with or without `__name__`.
    pub labels: monitor_model::Labels,
    /// Its value.
    pub value: monitor_model::series::Value,
}

/// Label names and values, sorted by name, each name once.
pub type Labels = Vec<(String, String)>;

/// The fingerprint Prometheus and Alertmanager give a label set: 64-bit FNV-1a
/// over each name, 0xff, value, 0xff (prometheus/common, `LabelSet.Fingerprint`).
pub fn fingerprint(labels: &[(String, String)]) -> u64 {
    const OFFSET: u64 = 14_695_981_039_346_656_037;
    const PRIME: u64 = 1_099_511_628_211;
    let mut hash = OFFSET;
    let mut add = |bytes: &[u8]| {
        for byte in bytes.iter().chain(&[0xff]) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
    };
    for (name, value) in labels {
        add(name.as_bytes());
        add(value.as_bytes());
    }
    hash
}

/// Unix milliseconds as RFC 3339 in UTC; what no calendar holds is the zero time
/// that Go prints, which Alertmanager's readers take for "not yet".
pub fn rfc3339(at_ms: u64) -> String {
    let time = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| ZERO_TIME.to_owned(), |t| t.to_string())
}

/// Go's zero time.
pub const ZERO_TIME: &str = "0001-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_fnv_1a() {
        // The offset basis for the empty set; the second computed from the definition.
        assert_eq!(format!("{:016x}", fingerprint(&[])), "cbf29ce484222325");
        let one = fingerprint(&[("a".into(), "b".into())]);
        let other = fingerprint(&[("a".into(), "".into()), ("b".into(), "".into())]);
        assert_ne!(one, other);
    }

    #[test]
    fn times() {
        assert_eq!(rfc3339(1_764_000_000_000), "2025-11-24T16:00:00Z");
        assert_eq!(rfc3339(1_764_000_000_250), "2025-11-24T16:00:00.25Z");
        assert_eq!(rfc3339(u64::MAX), ZERO_TIME);
    }
}
