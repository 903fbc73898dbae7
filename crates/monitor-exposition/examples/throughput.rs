//! Samples a CPU-second: `cargo run --release -p monitor-exposition --example throughput FILE`.
//!
//! The file is read over and over for about a second; thread CPU time would be
//! better than the wall's, so run it on an idle machine.

#![allow(clippy::print_stdout)]

use monitor_exposition::{Entry, Format, Limits, Parser};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("usage: throughput FILE")?;
    let body = std::fs::read(path)?;
    for round in 0..3 {
        let (mut samples, mut keys, mut sum) = (0u64, 0usize, 0.0);
        let began = Instant::now();
        while began.elapsed().as_millis() < 1_000 {
            let mut parser = Parser::new(Format::Text, &body, Limits::default())?;
            while let Some(entry) = parser.next_entry()? {
                if let Entry::Sample(sample) = entry {
                    samples += 1;
                    keys += sample.key.len();
                    sum += sample.value;
                }
            }
        }
        let rate = samples as f64 / began.elapsed().as_secs_f64();
        println!("round {round}: {:.2} M samples/s ({keys} bytes of keys, sum {sum})", rate / 1e6);
    }
    Ok(())
}
