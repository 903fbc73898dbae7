//! What the store is told.

use base::{Bytes, Millis};

/// How the store keeps its data, and what it may take.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The span of time that a block covers. Default 2 h, as Prometheus.
    pub block: Millis,
    /// Blocks wholly older than this are deleted. Default 15 d.
    pub retention: Millis,
    /// The oldest blocks are deleted while the store is larger; 0 means no limit.
    pub retention_bytes: Bytes,
    /// How much older than the newest sample of the store a sample may be; what
    /// is older is refused and counted. Default 5 min, at most one block.
    pub out_of_order: Millis,
    /// How far ahead of the clock a sample may be. Default 10 min, as Prometheus.
    pub future: Millis,
    /// The longest time for which acknowledged samples may be lost when the
    /// machine loses its power; 0 syncs on every append. A `kill -9` loses none
    /// whatever this says. Default 1 s.
    pub sync: Millis,
    /// A log file is finished at this size; one is read into memory at a time when
    /// the store is opened. Default 16 MiB.
    pub log_file: Bytes,
    /// Series that may be in the head at once. Default 1,000,000.
    pub max_series: usize,
    /// Labels of one series, its name included. Default 64.
    pub max_labels: usize,
    /// Bytes of a label's name. Default 256.
    pub max_label_name: usize,
    /// Bytes of a label's value. Default 4096.
    pub max_label_value: usize,
    /// Bytes of block indexes kept in memory between queries. Default 64 MiB.
    pub index_cache: Bytes,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block: Millis::from_secs(2 * 3_600),
            retention: Millis::from_secs(15 * 86_400),
            retention_bytes: Bytes(0),
            out_of_order: Millis::from_secs(300),
            future: Millis::from_secs(600),
            sync: Millis::from_secs(1),
            log_file: Bytes(16 << 20),
            max_series: 1_000_000,
            max_labels: 64,
            max_label_name: 256,
            max_label_value: 4_096,
            index_cache: Bytes(64 << 20),
        }
    }
}
