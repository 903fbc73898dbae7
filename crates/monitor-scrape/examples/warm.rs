//! Samples a second of a warm scrape, from body to rows:
//! `cargo run --release -p monitor-scrape --example warm FILE`.

#![allow(clippy::print_stdout)]

use monitor_exposition::Format;
use monitor_model::{Exemplar, Histogram, Labels};
use monitor_scrape::{Appender, Found, Group, Pool, Rules, Scrape, target};
use std::sync::Arc;
use std::time::Instant;

#[derive(Default)]
struct Rows(Vec<(u32, i64, f64)>, u32);

impl Appender for Rows {
    type Series = u32;

    fn series(&mut self, _: &Labels) -> Result<u32, String> {
        self.1 += 1;
        Ok(self.1)
    }
    fn float(&mut self, series: u32, at_ms: i64, value: f64, _: i64) {
        self.0.push((series, at_ms, value));
    }
    fn histogram(&mut self, _: u32, _: i64, _: Arc<Histogram>, _: i64) {}
    fn exemplar(&mut self, _: u32, _: Exemplar, _: i64) {}
    fn clear(&mut self) {
        self.0.clear();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: warm FILE")?;
    let body = std::fs::read(path)?;
    let pool = Pool::named("job");
    let group = Group::of_addresses("file", ["h:1"]);
    let Some(Found::Target(target)) = target::of_group(&pool, &group).pop() else { return Ok(()) };
    let (mut scrape, mut rows) = (Scrape::new(Rules::new(&pool, &target), 1), Rows::default());
    for round in 0..3 {
        let (mut samples, began) = (0u64, Instant::now());
        while began.elapsed().as_millis() < 1_000 {
            rows.0.clear();
            samples += scrape.take(Format::Text, &body, 1, &mut rows).kept;
        }
        let rate = samples as f64 / began.elapsed().as_secs_f64();
        println!("round {round}: {:.2} M samples/s of {} series", rate / 1e6, scrape.series());
    }
    Ok(())
}
