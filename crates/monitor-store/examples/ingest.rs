//! How fast the store alone is, and how small: `cargo run --release -p
//! monitor-store --example ingest -- [series] [samples] [directory]`.
//!
//! Series as machines and web servers have them, one scrape after another in
//! batches of 10,000; then queries. Figures are CPU time of this process.

use monitor_model::{Labels, Matcher, Selection, SeriesData, Source};
use monitor_store::{Batch, FloatRow, SeriesRef, Settings, Store};
use std::path::PathBuf;
use std::time::Instant;

const STEP_MS: i64 = 15_000;
const START_MS: i64 = 1_764_000_000_000;

/// User and system time of this process, in seconds.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |i: usize| fields.get(i).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// Time of this thread on a processor, in seconds.
fn on_cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("RssAnon:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0) / 1024.0
}

struct Generator {
    random: u64,
    kind: usize,
    value: f64,
}

impl Generator {
    fn next(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let r = self.random >> 11;
        match self.kind {
            0 => {}
            1 => self.value += (r % 20) as f64,
            2 => self.value += (r % 2_000_000) as f64,
            3 => self.value = ((self.value * 100.0).round() + (r % 1_500) as f64) / 100.0,
            4 => self.value = (self.value + ((r % 2_048) as f64 - 1_024.0) * 4_096.0).max(0.0),
            5 => self.value = ((self.value * 1_000.0).round() + (r % 201) as f64 - 100.0).max(0.0) / 1_000.0,
            6 => self.value += if r.is_multiple_of(10) { 1.0 } else { 0.0 },
            7 => self.value = (self.value + (r % 5) as f64 - 2.0).max(0.0),
            8 => self.value += if r % 100 < 1 { (r % 10_000) as f64 * 1e-7 } else { (r % 60) as f64 },
            _ => self.value += if r.is_multiple_of(3) { (r % 100) as f64 } else { 0.0 },
        }
        self.value
    }
}

fn labels(n: usize) -> Labels {
    let (target, metric) = (n / 100, n % 100);
    Labels::from_pairs([
        ("__name__", format!("node_metric_{}_total", metric / 4)),
        ("instance", format!("10.{}.{}.{}:9100", target >> 16, (target >> 8) & 255, target & 255)),
        ("job", "bench".to_owned()),
        ("mode", ["idle", "user", "system", "iowait"][metric % 4].to_owned()),
        ("datacenter", "eu-central-1a".to_owned()),
    ])
}

fn main() {
    let mut args = std::env::args().skip(1);
    let count: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(10_000);
    let samples: usize = args.next().and_then(|a| a.parse().ok()).unwrap_or(1_000);
    let temporary = std::env::temp_dir().join(format!("ingest-{}", std::process::id()));
    let dir = args.next().map_or(temporary, PathBuf::from);
    let settings = Settings { retention: base::Millis::from_secs(100 * 86_400), ..Settings::default() };
    let (store, opened) = Store::open(&dir, settings.clone(), START_MS).expect("opens");
    print(&format!("opened: {opened:?}"));
    let mut generators: Vec<Generator> = (0..count)
        .map(|n| Generator {
            random: (n as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            kind: n % 100 / 4 % 10,
            value: (n % 1_000) as f64,
        })
        .collect();
    let began = cpu();
    let refs: Vec<SeriesRef> = (0..count).map(|n| store.series(&labels(n)).expect("a series")).collect();
    print(&format!("defined {count} series: {:.2} s CPU, {:.0} MB", cpu() - began, rss_mb()));
    let (began, mut generating, mut rounds) = (cpu(), 0.0, Instant::now());
    let mut batch = Batch::default();
    for tick in 0..samples {
        let at_ms = START_MS + tick as i64 * STEP_MS;
        for part in 0..count.div_ceil(10_000) {
            let before = Instant::now();
            batch.clear();
            for n in part * 10_000..count.min((part + 1) * 10_000) {
                let offset_ms = (n / 100) as i64 * 37 % STEP_MS;
                let value = generators[n].next();
                batch.floats.push(FloatRow { series: refs[n], at_ms: at_ms + offset_ms, value, start_ms: 0 });
            }
            generating += before.elapsed().as_secs_f64();
            let report = store.append(&batch, at_ms + STEP_MS).expect("appends");
            assert_eq!(report.stored as usize, batch.floats.len(), "{report:?}");
        }
        if tick % 40 == 39 || rounds.elapsed().as_secs() > 4 {
            store.maintain(at_ms + STEP_MS).expect("is maintained");
            rounds = Instant::now();
        }
    }
    let total = (count * samples) as f64;
    let used = cpu() - began - generating;
    print(&format!(
        "ingested {total:.0}: {:.3} us CPU a sample, {:.0} MB, {:?}",
        used / total * 1e6,
        rss_mb(),
        store.stats()
    ));
    let before = cpu();
    store.compact(START_MS + samples as i64 * STEP_MS).expect("compacts");
    let stats = store.stats();
    print(&format!(
        "compacted: {:.2} s CPU, {:.3} bytes a sample, {:.3} without tables, {} blocks",
        cpu() - before,
        stats.block_bytes as f64 / total,
        (stats.block_bytes - stats.table_bytes) as f64 / total,
        stats.blocks
    ));
    let end_ms = START_MS + samples as i64 * STEP_MS;
    for (name, matchers) in [
        (
            "one series",
            vec![
                Matcher::equal("__name__", "node_metric_3_total"),
                Matcher::equal("mode", "idle"),
                Matcher::equal("instance", "10.0.0.0:9100"),
            ],
        ),
        ("one metric", vec![Matcher::equal("__name__", "node_metric_3_total")]),
        ("all", vec![Matcher::equal("job", "bench")]),
    ] {
        for (range, start_ms) in [("last 5 min", end_ms - 300_000), ("everything", i64::MIN)] {
            let before = on_cpu();
            let (mut points, mut series, mut data) = (0, 0, SeriesData::default());
            let rounds = if name == "all" { 1 } else { 20 };
            for _ in 0..rounds {
                let mut stream = store.select(&Selection::new(&matchers, start_ms, end_ms)).expect("selects");
                while stream.next_into(&mut data).expect("reads") {
                    points += data.points.len();
                    series += 1;
                }
            }
            let took = (on_cpu() - before) / f64::from(rounds);
            print(&format!(
                "{name}, {range}: {} series, {} points, {:.3} ms",
                series / rounds as usize,
                points / rounds as usize,
                took * 1e3
            ));
        }
    }
    drop(store);
    let (before, clock) = (cpu(), Instant::now());
    let (_store, opened) = Store::open(&dir, settings, end_ms).expect("opens again");
    print(&format!(
        "opened again: {:.2} s, {:.2} s CPU, {} series, {:.0} MB",
        clock.elapsed().as_secs_f64(),
        cpu() - before,
        opened.series,
        rss_mb()
    ));
}

#[allow(clippy::print_stdout)] // An example's output is its purpose.
fn print(text: &str) {
    println!("{text}");
}
