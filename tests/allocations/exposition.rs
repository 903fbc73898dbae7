//! Reading an exposition asks for no memory for a sample.

use monitor_exposition::{Entry, Format, Limits, Parser, Writer};
use monitor_model::{Exemplar, Histogram, Labels, METRIC_NAME, MetricType};
use monitor_scrape::{Appender, Found, Group, Pool, Rules, Scrape, target};
use std::sync::Arc;

/// As an exporter writes it: families of samples with a few labels.
fn exposition(format: Format, samples: usize) -> Vec<u8> {
    let mut writer = Writer::new(format, true);
    for family in 0..samples / 100 {
        let name = format!("node_family_{family}_bytes_total");
        writer.family(&name, MetricType::Counter, "What it counts.", "");
        for at in 0..100 {
            let (cpu, path) = (format!("{at}"), format!("/var/lib/\\{at}"));
            let labels = [(METRIC_NAME, name.as_str()), ("cpu", &cpu), ("path", &path), ("mode", "user")];
            writer.sample(&Labels::from_pairs(labels), at as f64 * 1.25, None, None);
        }
    }
    writer.finish()
}

fn read(format: Format, body: &[u8]) -> (u64, u64) {
    let before = sys::allocations::of_this_thread();
    let mut parser = Parser::new(format, body, Limits::default()).expect("UTF-8");
    let (mut samples, mut keys) = (0, 0);
    while let Some(entry) = parser.next_entry().expect("an exposition") {
        if let Entry::Sample(sample) = entry {
            samples += 1;
            keys += sample.key.len();
        }
    }
    assert!(keys > 0);
    (samples, sys::allocations::of_this_thread() - before)
}

#[test]
fn no_allocation_for_a_sample() {
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let (few, many) = (exposition(format, 100), exposition(format, 20_000));
        let (some, small) = read(format, &few);
        let (all, large) = read(format, &many);
        assert_eq!((some, all), (100, 20_000), "{format:?}");
        // The parser's own few, whatever the exposition's size; a longer name may make its memory larger once.
        assert!(large <= small + 2 && small < 24, "{format:?}: {small} allocations, then {large}");
    }
}

/// Counts rows; a series is a number.
#[derive(Default)]
struct Rows {
    series: u64,
    rows: u64,
}

impl Appender for Rows {
    type Series = u64;

    fn series(&mut self, _: &Labels) -> Result<u64, String> {
        self.series += 1;
        Ok(self.series)
    }
    fn float(&mut self, _: u64, _: i64, _: f64, _: i64) {
        self.rows += 1;
    }
    fn histogram(&mut self, _: u64, _: i64, _: Arc<Histogram>, _: i64) {}
    fn exemplar(&mut self, _: u64, _: Exemplar, _: i64) {}
    fn clear(&mut self) {}
}

#[test]
fn no_allocation_for_a_sample_of_a_warm_scrape() {
    let pool = Pool::named("job");
    let Found::Target(target) = target::of_group(&pool, &Group::of_addresses("test", ["h:1"])).remove(0)
    else {
        panic!("a target")
    };
    for format in [Format::Text, Format::OpenMetrics, Format::Protobuf] {
        let body = exposition(format, 20_000);
        let (mut scrape, mut rows) = (Scrape::new(Rules::new(&pool, &target), 1), Rows::default());
        assert_eq!(scrape.take(format, &body, 1, &mut rows).added, 20_000);
        let before = sys::allocations::of_this_thread();
        let outcome = scrape.take(format, &body, 2, &mut rows);
        let count = sys::allocations::of_this_thread() - before;
        assert_eq!((outcome.kept, outcome.added, rows.series, rows.rows), (20_000, 0, 20_000, 40_000));
        assert!(count < 24, "{format:?}: {count} allocations for 20,000 samples");
    }
}
