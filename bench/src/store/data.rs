//! The samples that every contender gets: series as a site's machines and web
//! servers have them, the same for the same numbers.
//!
//! A target has a hundred series: counters of requests and packets (whole, often
//! idle), of seconds (two decimals), of bytes; gauges that wander in pages of
//! memory or in thousandths; constants; and sums of latencies, which use all
//! digits. Nine targets of ten are scraped on a steady grid, one has jitter of a
//! few milliseconds.

/// Between two samples of a series.
pub(crate) const STEP_MS: i64 = 15_000;

/// Series of one target.
pub(crate) const PER_TARGET: usize = 100;

/// A generator of tick after tick.
pub(crate) struct Data {
    series: Vec<Series>,
    start_ms: i64,
    tick: u32,
}

struct Series {
    /// The protobuf fields of its labels, ready to be copied.
    labels: Vec<u8>,
    kind: Kind,
    value: f64,
    random: u64,
    offset_ms: i64,
    jitter: bool,
}

#[derive(Clone, Copy)]
enum Kind {
    /// Whole increments; the chance of idleness in 256.
    Counter {
        most: u64,
        idle: u64,
    },
    /// Increments in hundredths.
    Seconds,
    /// Wanders by whole pages of 4 KiB.
    Pages,
    /// Wanders by thousandths.
    Thousandths,
    Constant,
    /// Increments with all digits.
    LatencySum,
}

/// Name, its further labels, what it does.
type Family = (&'static str, &'static [(&'static str, &'static [&'static str])], Kind);

static FAMILIES: &[Family] = &[
    (
        "web_requests_total",
        &[("code", &["200", "301", "404", "500"]), ("handler", &["/", "/cart", "/item/:id"])],
        Kind::Counter { most: 60, idle: 100 },
    ),
    (
        "web_request_duration_seconds_sum",
        &[("handler", &["/", "/cart", "/item/:id", "/pay"])],
        Kind::LatencySum,
    ),
    (
        "web_request_duration_seconds_bucket",
        &[("le", &["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "5", "+Inf"])],
        Kind::Counter { most: 300, idle: 20 },
    ),
    (
        "node_cpu_seconds_total",
        &[
            ("cpu", &["0", "1"]),
            ("mode", &["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"]),
        ],
        Kind::Seconds,
    ),
    (
        "node_network_receive_bytes_total",
        &[("device", &["eth0", "eth1", "lo"])],
        Kind::Counter { most: 2_000_000, idle: 10 },
    ),
    (
        "node_network_transmit_packets_total",
        &[("device", &["eth0", "eth1", "lo"])],
        Kind::Counter { most: 4_000, idle: 10 },
    ),
    (
        "node_disk_written_bytes_total",
        &[("device", &["vda", "vdb"])],
        Kind::Counter { most: 900_000, idle: 120 },
    ),
    (
        "node_memory_bytes",
        &[(
            "what",
            &[
                "active",
                "anon",
                "available",
                "buffers",
                "cached",
                "dirty",
                "free",
                "slab",
                "mapped",
                "inactive",
            ],
        )],
        Kind::Pages,
    ),
    ("node_load", &[("minutes", &["1", "5", "15"])], Kind::Thousandths),
    ("queue_wait_seconds", &[("queue", &["mail", "image", "report", "index"])], Kind::Thousandths),
    ("node_filesystem_size_bytes", &[("mountpoint", &["/", "/home", "/var", "/srv"])], Kind::Constant),
    ("process_open_fds", &[("process", &["app", "edge", "db"])], Kind::Counter { most: 1, idle: 250 }),
    (
        "node_vmstat",
        &[("what", &["pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout", "oom_kill"])],
        Kind::Counter { most: 9_000, idle: 60 },
    ),
    (
        "app_events_total",
        &[
            ("event", &["login", "logout", "search", "order", "mail", "retry", "error", "click", "view"]),
            ("version", &["1.4.2", "1.4.3"]),
        ],
        Kind::Counter { most: 12, idle: 180 },
    ),
    ("up", &[], Kind::Constant),
];

/// Names and values.
type LabelPairs<'a> = Vec<(&'a str, &'a str)>;

impl Data {
    /// `count` series whose first samples lie at `start_ms` or a few seconds after it.
    pub(crate) fn new(count: usize, start_ms: i64) -> Self {
        let mut one: Vec<(String, LabelPairs<'_>, Kind)> = Vec::new();
        for (name, labels, kind) in FAMILIES {
            let mut sets: Vec<Vec<(&str, &str)>> = vec![vec![]];
            for (label, values) in *labels {
                sets = sets
                    .iter()
                    .flat_map(|set| values.iter().map(move |v| [set.clone(), vec![(*label, *v)]].concat()))
                    .collect();
            }
            one.extend(sets.into_iter().map(|set| ((*name).to_owned(), set, *kind)));
        }
        // As many as a target has: the rest are gauges of an application.
        for n in one.len()..PER_TARGET {
            one.push((format!("app_gauge_{n}"), vec![], Kind::Thousandths));
        }
        one.truncate(PER_TARGET);
        let series = (0..count).map(|n| {
            let (target, (name, labels, kind)) = (n / PER_TARGET, &one[n % PER_TARGET]);
            // Not a multiple of the generator's own step: series would be each other's
            // past, which a compressor sees and real series do not have.
            let mut seed = (n as u64 + 1).wrapping_mul(0xd134_2543_de82_ef95);
            let mut random = next(&mut seed);
            let instance = format!("10.{}.{}.{}:9100", target >> 16, (target >> 8) & 255, target & 255);
            let mut all = vec![("__name__", name.as_str()), ("instance", &instance), ("job", "bench")];
            all.extend(labels);
            all.sort_unstable();
            let bytes = self::labels(&all);
            let value = match kind {
                Kind::Pages | Kind::Constant => ((next(&mut random) >> 44) * 4_096) as f64,
                Kind::Thousandths => (next(&mut random) >> 50) as f64 / 1_000.0,
                _ => (next(&mut random) >> 40) as f64,
            };
            let offset_ms = (target as i64 * 37) % STEP_MS;
            Series { labels: bytes, kind: *kind, value, random, offset_ms, jitter: target % 10 == 9 }
        });
        Self { series: series.collect(), start_ms, tick: 0 }
    }

    /// The next value of every series, and when.
    pub(crate) fn tick(&mut self, mut each: impl FnMut(&[u8], i64, f64)) {
        let at_ms = self.start_ms + i64::from(self.tick) * STEP_MS;
        self.tick += 1;
        for series in &mut self.series {
            let chance = next(&mut series.random);
            let jitter = if series.jitter { (chance >> 60) as i64 % 4 } else { 0 };
            series.step(chance);
            each(&series.labels, at_ms + series.offset_ms + jitter, series.value);
        }
    }
}

impl Series {
    fn step(&mut self, chance: u64) {
        match self.kind {
            Kind::Counter { most, idle } => {
                if chance & 255 >= idle {
                    self.value += ((chance >> 8) % (most + 1)) as f64;
                }
            }
            Kind::Seconds => {
                // Kept whole, so that the decimals are those that a kernel prints.
                let hundredths = (self.value * 100.0).round() + ((chance >> 8) % 1_500) as f64;
                self.value = hundredths / 100.0;
            }
            Kind::Pages => {
                let pages = ((chance >> 8) % 2_048) as f64 - 1_024.0;
                self.value = (self.value + pages * 4_096.0).max(0.0);
            }
            Kind::Thousandths => {
                let thousandths = (self.value * 1_000.0).round() + ((chance >> 8) % 400) as f64 - 200.0;
                self.value = thousandths.max(0.0) / 1_000.0;
            }
            Kind::Constant => {}
            Kind::LatencySum => {
                if chance & 255 >= 60 {
                    self.value += (chance >> 11) as f64 / (1u64 << 53) as f64 * 3.0;
                }
            }
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The protobuf fields of labels, which are ascending by name.
pub(crate) fn labels(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut into = Vec::new();
    for (name, value) in pairs {
        let mut label = Vec::new();
        put_bytes(&mut label, 1, name.as_bytes());
        put_bytes(&mut label, 2, value.as_bytes());
        put_bytes(&mut into, 1, &label);
    }
    into
}

/// A length-delimited protobuf field.
fn put_bytes(into: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    into.push(field << 3 | 2);
    put_varint(into, bytes.len() as u64);
    into.extend_from_slice(bytes);
}

fn put_varint(into: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        into.push(number as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Adds a time series with one sample to a remote-write 1.0 request.
pub(crate) fn put_series(request: &mut Vec<u8>, labels: &[u8], at_ms: i64, value: f64) {
    put_samples(request, labels, &[(at_ms, value)]);
}

/// Adds a time series to a remote-write 1.0 request (`prometheus.WriteRequest`,
/// field 1; its `TimeSeries` has labels in field 1 and samples in field 2; a
/// `Sample` its value in field 1 and time in field 2).
pub(crate) fn put_samples(request: &mut Vec<u8>, labels: &[u8], samples: &[(i64, f64)]) {
    let mut body = labels.to_vec();
    for (at_ms, value) in samples {
        let mut sample = vec![1 << 3 | 1];
        sample.extend_from_slice(&value.to_le_bytes());
        sample.push(2 << 3);
        put_varint(&mut sample, *at_ms as u64);
        put_bytes(&mut body, 2, &sample);
    }
    put_bytes(request, 1, &body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_numbers_give_the_same_samples() {
        let samples = |ticks: u32| {
            let mut data = Data::new(250, 1_000);
            let mut all = Vec::new();
            (0..ticks).for_each(|_| data.tick(|labels, at, value| all.push((labels.to_vec(), at, value))));
            all
        };
        let (few, many) = (samples(3), samples(5));
        assert_eq!(few[..], many[..750]);
        let names: std::collections::BTreeSet<_> = few.iter().map(|(labels, ..)| labels.clone()).collect();
        assert_eq!(names.len(), 250);
        let sum = many.iter().filter(|(_, at, v)| *at >= 1_000 && v.is_finite()).count();
        assert_eq!(sum, 1_250);
    }
}
