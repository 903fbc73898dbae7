//! Rollups: what stands for the samples of a window of time
//! (docs/formats/store.md, "Time").

use crate::Error;
use crate::block::{Block, Rolled, Tools};
use crate::report::io_error;
use crate::samples::{Samples, filter};
use crate::store::Store;
use crate::walk::{Cursor, least};
use monitor_model::{Labels, STALE, is_stale};
use std::sync::Arc;

/// Rolls series up; keeps its buffers.
#[derive(Debug, Default)]
pub(crate) struct Roller {
    pub(crate) rolled: Rolled,
    /// The last histogram of each window.
    pub(crate) last: Samples,
}

/// The numbers of one window.
#[derive(Clone, Copy, Debug)]
struct Window {
    end_ms: i64,
    last: f64,
    min: f64,
    max: f64,
    sum: f64,
    count: f64,
}

impl Window {
    fn new(end_ms: i64) -> Self {
        Self { end_ms, last: STALE, min: STALE, max: STALE, sum: 0.0, count: 0.0 }
    }

    fn add(&mut self, value: f64) {
        self.last = value;
        if is_stale(value) {
            return;
        }
        if self.count == 0.0 {
            (self.min, self.max) = (value, value);
        } else {
            // NaN gives way to any number.
            self.min = if value < self.min || self.min.is_nan() { value } else { self.min };
            self.max = if value > self.max || self.max.is_nan() { value } else { self.max };
        }
        self.sum += value;
        self.count += 1.0;
    }
}

impl Roller {
    /// Rolls samples up to a resolution.
    pub(crate) fn roll(&mut self, samples: &Samples, resolution_ms: i64) {
        self.rolled.clear();
        self.last.clear();
        let end_of = |at_ms: i64| (at_ms.div_euclid(resolution_ms) + 1) * resolution_ms;
        let mut window: Option<Window> = None;
        for (at_ms, value) in samples.times.iter().zip(&samples.values) {
            let end_ms = end_of(*at_ms);
            let open = match &mut window {
                Some(open) if open.end_ms == end_ms => open,
                other => {
                    if let Some(done) = other.replace(Window::new(end_ms)) {
                        put(&mut self.rolled, done);
                    }
                    match other {
                        Some(open) => open,
                        None => continue,
                    }
                }
            };
            open.add(*value);
        }
        if let Some(done) = window {
            put(&mut self.rolled, done);
        }
        for (at_ms, histogram) in samples.histogram_times.iter().zip(&samples.histograms) {
            let end_ms = end_of(*at_ms);
            if self.last.histogram_times.last() == Some(&end_ms) {
                self.last.histograms.pop();
            } else {
                self.last.histogram_times.push(end_ms);
            }
            self.last.histograms.push(histogram.clone());
        }
    }
}

fn put(rolled: &mut Rolled, window: Window) {
    rolled.times.push(window.end_ms);
    let numbers = [window.last, window.min, window.max, window.sum, window.count];
    for (column, number) in rolled.columns.iter_mut().zip(numbers) {
        column.push(number);
    }
}

/// Gives all series of some blocks of rollups, put together; `false` where one
/// of them turned out to be damaged: it is out of the store now.
pub(crate) fn merge_rolled(
    store: &Store,
    blocks: &[Arc<Block>],
    mut each: impl FnMut(&Labels, &Rolled, &Samples) -> Result<(), Error>,
) -> Result<bool, Error> {
    let Some(mut cursors) = store.cursors(blocks) else { return Ok(false) };
    let mut tools = Tools::new().map_err(io_error("starting zstd for", &store.dir))?;
    let (mut hits, mut rolled, mut last) = (Vec::new(), Rolled::default(), Samples::default());
    while let Some(labels) = least(&cursors, None, &mut hits) {
        rolled.clear();
        last.clear();
        for hit in &hits {
            let cursor = &mut cursors[*hit];
            let read =
                read(&mut tools, cursor, &labels, &mut rolled, &mut last).and_then(|()| cursor.advance());
            if let Err(why) = read {
                store.set_aside(&cursor.reader.block.clone(), &why);
                return Ok(false);
            }
        }
        settle(&mut rolled);
        crate::samples::settle(&mut last);
        each(&labels, &rolled, &last)?;
    }
    Ok(true)
}

fn read(
    tools: &mut Tools,
    cursor: &mut Cursor,
    labels: &Labels,
    rolled: &mut Rolled,
    last: &mut Samples,
) -> Result<(), String> {
    let had = rolled.times.len();
    let had_histograms = last.histograms.len();
    let block = cursor.reader.block.clone();
    let tables = block.tables()?;
    let places = std::mem::take(&mut cursor.places);
    let read =
        places.iter().try_for_each(|place| cursor.reader.append_rolled(tools, tables, *place, rolled, last));
    cursor.places = places;
    read?;
    for (start_ms, end_ms) in cursor.deleted(labels) {
        let gone = |(i, at_ms): (usize, &i64)| i >= had && (start_ms..=end_ms).contains(at_ms);
        let kept: Vec<bool> = rolled.times.iter().enumerate().map(|at| !gone(at)).collect();
        filter(&mut rolled.times, &kept);
        rolled.columns.iter_mut().for_each(|column| filter(column, &kept));
        last.remove(0, had_histograms, start_ms, end_ms);
    }
    Ok(())
}

/// Makes the points ascending; of the same time the first counts.
fn settle(rolled: &mut Rolled) {
    if rolled.times.is_sorted_by(|a, b| a < b) {
        return;
    }
    let mut order: Vec<usize> = (0..rolled.times.len()).collect();
    order.sort_by_key(|i| rolled.times[*i]);
    order.dedup_by_key(|i| rolled.times[*i]);
    rolled.times = order.iter().map(|i| rolled.times[*i]).collect();
    for column in &mut rolled.columns {
        *column = order.iter().map(|i| column[*i]).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_have_the_samples_before_their_end() {
        let samples = Samples {
            times: vec![0, 100, 299_999, 300_000, 900_001, 900_002, 1_200_000],
            values: vec![5.0, f64::NAN, 3.0, 8.0, 2.0, STALE, STALE],
            ..Samples::default()
        };
        let mut roller = Roller::default();
        roller.roll(&samples, 300_000);
        let rolled = &roller.rolled;
        assert_eq!(rolled.times, [300_000, 600_000, 1_200_000, 1_500_000]);
        let column = |i: usize| rolled.columns[i].iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        let bits = |values: [f64; 4]| values.map(f64::to_bits).to_vec();
        assert_eq!(column(0), bits([3.0, 8.0, STALE, STALE]));
        assert_eq!(column(1), bits([3.0, 8.0, 2.0, STALE]));
        assert_eq!(column(2), bits([5.0, 8.0, 2.0, STALE]));
        assert!(rolled.columns[3][0].is_nan());
        assert_eq!(column(3)[1..], bits([0.0, 8.0, 2.0, 0.0])[1..]);
        assert_eq!(rolled.columns[4], [3.0, 1.0, 1.0, 0.0]);
    }
}
