//! What the store is told.

use base::{Bytes, Millis};

/// How the store keeps its data, and what it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How much time of samples is in memory before it becomes a block.
    /// Default 2 h, 1 min … 1 d.
    pub block: Millis,
    /// How large the log grows before what it has becomes a block, whatever the
    /// time; bounds memory and the time to open. Default 256 MiB, at least 1 MiB.
    pub log_limit: Bytes,
    /// Raw samples older than this are deleted; see [`Retention::raw`]. Default 15 d.
    pub retention: Millis,
    /// How large the store may be; see [`Retention::bytes`]. Default 0: no limit.
    pub retention_bytes: Bytes,
    /// Rollups of 5 min older than this are deleted; 0 makes none. Default 180 d.
    pub retention_5m: Millis,
    /// Rollups of 1 h older than this are deleted; 0 makes none. Default 1,825 d.
    pub retention_1h: Millis,
    /// How much older than its series' newest sample a sample may be, measured
    /// from the newest sample of the store or the clock, whichever is earlier;
    /// what is older is refused and counted. Default 5 min, at most 7 d.
    pub out_of_order: Millis,
    /// How far ahead of the clock a sample may be. Default 10 min, as Prometheus.
    pub future: Millis,
    /// The longest time for which acknowledged samples may be lost when the
    /// machine loses its power; 0 syncs on every append. A `kill -9` loses none
    /// whatever this says. Default 1 s.
    pub sync: Millis,
    /// Series that may be in the head at once. Default 2,000,000.
    pub max_series: usize,
    /// Labels of one series, its name included. Default 64.
    pub max_labels: usize,
    /// Bytes of a label's name. Default 256.
    pub max_label_name: usize,
    /// Bytes of a label's value. Default 4096.
    pub max_label_value: usize,
    /// Buckets of one native histogram. Default 1,000.
    pub max_buckets: usize,
    /// Exemplars that are kept, the newest of all series together. Default 50,000; 0 keeps none.
    pub max_exemplars: usize,
    /// Metrics whose metadata is kept. Default 50,000.
    pub max_metadata: usize,
}

impl Settings {
    /// How long samples are kept.
    pub fn retention(&self) -> Retention {
        Retention {
            raw: self.retention,
            five_minutes: self.retention_5m,
            hour: self.retention_1h,
            bytes: self.retention_bytes,
        }
    }
}

/// How long samples are kept; [`crate::Store::set_retention`] changes it while
/// the store is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Raw samples older than this are deleted, in whole days where rollups are
    /// made of them.
    pub raw: Millis,
    /// Rollups of 5 min, likewise; 0 makes none.
    pub five_minutes: Millis,
    /// Rollups of 1 h, likewise; 0 makes none.
    pub hour: Millis,
    /// The oldest raw samples, then the oldest rollups, are deleted while the
    /// store is larger; 0 means no limit.
    pub bytes: Bytes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block: Millis::from_secs(2 * 3_600),
            log_limit: Bytes(256 << 20),
            retention: Millis::from_secs(15 * 86_400),
            retention_bytes: Bytes(0),
            retention_5m: Millis::from_secs(180 * 86_400),
            retention_1h: Millis::from_secs(1_825 * 86_400),
            out_of_order: Millis::from_secs(300),
            future: Millis::from_secs(600),
            sync: Millis::from_secs(1),
            max_series: 2_000_000,
            max_labels: 64,
            max_label_name: 256,
            max_label_value: 4_096,
            max_buckets: 1_000,
            max_exemplars: 50_000,
            max_metadata: 50_000,
        }
    }
}
