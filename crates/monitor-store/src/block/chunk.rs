//! Chunks: samples of one series as a low and a high part.

use crate::bytes::{Malformed, Reader, put_varint, put_zigzag};
use crate::histograms::{Sequence, read_sequence};
use crate::numbers::Packer;
use crate::samples::Samples;
use crate::unpack::Unpacker;
use monitor_model::{Column, Histogram};
use std::ops::Range;
use std::sync::Arc;

const KIND: u8 = 15;
const HISTOGRAMS: u8 = 4;
const ROLLUP: u8 = 5;
const STARTS: u8 = 0x80;

/// Numbers of a rollup's point.
pub(crate) const COLUMNS: usize = 5;

/// A rolled-up series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rolled {
    pub(crate) times: Vec<i64>,
    /// Last, min, max, sum, count; each as long as the times.
    pub(crate) columns: [Vec<f64>; COLUMNS],
}

impl Rolled {
    pub(crate) fn clear(&mut self) {
        self.times.clear();
        self.columns.iter_mut().for_each(Vec::clear);
    }

    /// Where a column is among the others.
    pub(crate) fn place(column: Column) -> usize {
        match column {
            Column::Value => 0,
            Column::Min => 1,
            Column::Max => 2,
            Column::Sum => 3,
            Column::Count => 4,
        }
    }
}

/// Appends the parts of numbers with their starts (none, or as many).
pub(super) fn pack_values(
    packer: &mut Packer,
    values: &[f64],
    starts: &[i64],
    low: &mut Vec<u8>,
    high: &mut Vec<u8>,
) {
    let kind_at = low.len();
    low.push(0);
    let flag = put_starts(starts, low);
    let kind = packer.pack(values, low, high);
    low[kind_at] = kind | flag;
}

/// Appends the low part of histograms; they have no high part.
pub(super) fn pack_histograms(histograms: &[Arc<Histogram>], starts: &[i64], low: &mut Vec<u8>) {
    let kind_at = low.len();
    low.push(0);
    let flag = put_starts(starts, low);
    let mut sequence = Sequence::default();
    histograms.iter().for_each(|h| sequence.push(h));
    low.extend_from_slice(sequence.bytes());
    low[kind_at] = HISTOGRAMS | flag;
}

/// Appends the parts of a piece of a rolled-up series.
pub(super) fn pack_rolled(
    packer: &mut Packer,
    rolled: &Rolled,
    part: Range<usize>,
    low: &mut Vec<u8>,
    high: &mut Vec<u8>,
) {
    low.push(ROLLUP);
    let (mut heads, mut lows) = (Vec::new(), Vec::new());
    for column in &rolled.columns {
        let (low_at, high_at) = (lows.len(), high.len());
        lows.push(0);
        lows[low_at] = packer.pack(&column[part.clone()], &mut lows, high);
        put_varint(&mut heads, (lows.len() - low_at) as u64);
        put_varint(&mut heads, (high.len() - high_at) as u64);
    }
    low.extend_from_slice(&heads);
    low.extend_from_slice(&lows);
}

fn put_starts(starts: &[i64], into: &mut Vec<u8>) -> u8 {
    if starts.iter().all(|start| *start == 0) {
        return 0;
    }
    let runs = || starts.chunk_by(|a, b| a == b);
    put_varint(into, runs().count() as u64);
    for run in runs() {
        put_varint(into, run.len() as u64);
        put_zigzag(into, run[0]);
    }
    STARTS
}

/// A chunk's parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    pub(super) low: &'a [u8],
    pub(super) high: &'a [u8],
}

/// Unpacks chunks; keeps its buffers.
#[derive(Debug, Default)]
pub(super) struct Opener {
    numbers: Unpacker,
}

/// What a chunk turned out to hold.
pub(super) enum Opened<'a> {
    Values(Values<'a>),
    Histograms { histograms: Vec<Arc<Histogram>>, starts: Vec<i64> },
}

/// Numbers that are still packed.
pub(super) struct Values<'a> {
    kind: u8,
    low: Reader<'a>,
    high: Reader<'a>,
    pub(super) starts: Vec<i64>,
}

/// Opens a chunk of `count` samples; of a rollup one column.
pub(super) fn open(parts: Parts<'_>, count: usize, column: usize) -> Result<Opened<'_>, Malformed> {
    let (mut low, mut high) = (Reader(parts.low), Reader(parts.high));
    let mut kind = low.u8()?;
    let starts = if kind & STARTS == 0 { Vec::new() } else { read_starts(&mut low, count)? };
    kind &= KIND;
    if kind == HISTOGRAMS {
        let mut histograms = Vec::with_capacity(count);
        read_sequence(&mut low, count, |h| histograms.push(h))?;
        return Ok(Opened::Histograms { histograms, starts });
    }
    if kind == ROLLUP {
        (low, high) = rolled_parts(low, high, column)?;
        kind = low.u8()?;
    }
    Ok(Opened::Values(Values { kind, low, high, starts }))
}

impl Opener {
    /// Gives parts of a chunk's `count` numbers, which ascend, piece by piece, each
    /// with the place of its first.
    #[inline]
    pub(super) fn unpack(
        &mut self,
        mut values: Values<'_>,
        count: usize,
        parts: &[Range<usize>],
        give: impl FnMut(usize, &[f64]),
    ) -> Result<(), Malformed> {
        self.numbers.unpack(values.kind, count, parts, &mut values.low, &mut values.high, give)
    }

    /// Appends a chunk to samples.
    pub(super) fn append(
        &mut self,
        parts: Parts<'_>,
        times: &[i64],
        into: &mut Samples,
    ) -> Result<(), Malformed> {
        let count = times.len();
        match open(parts, count, 0)? {
            Opened::Values(mut values) => {
                let had = into.times.len();
                let starts = std::mem::take(&mut values.starts);
                self.unpack(values, count, &whole(count), |_, values| into.values.extend_from_slice(values))?;
                into.times.extend_from_slice(times);
                crate::samples::append_starts(&mut into.starts, had, &starts, 0..count);
            }
            Opened::Histograms { histograms, starts } => {
                let had = into.histogram_times.len();
                into.histogram_times.extend_from_slice(times);
                into.histograms.extend(histograms);
                crate::samples::append_starts(&mut into.histogram_starts, had, &starts, 0..count);
            }
        }
        Ok(())
    }

    /// Appends a rollup's chunk with all its columns, or its histograms.
    pub(super) fn append_rolled(
        &mut self,
        parts: Parts<'_>,
        times: &[i64],
        into: &mut Rolled,
        last: &mut Samples,
    ) -> Result<(), Malformed> {
        if parts.low.first() != Some(&ROLLUP) {
            return self.append(parts, times, last);
        }
        for column in 0..COLUMNS {
            if let Opened::Values(values) = open(parts, times.len(), column)? {
                let into = &mut into.columns[column];
                self.unpack(values, times.len(), &whole(times.len()), |_, values| {
                    into.extend_from_slice(values)
                })?;
            }
        }
        into.times.extend_from_slice(times);
        Ok(())
    }
}

fn whole(count: usize) -> [Range<usize>; 1] {
    std::array::from_fn(|_| 0..count)
}

/// The parts of one column of a rollup, behind its kind.
fn rolled_parts<'a>(
    mut low: Reader<'a>,
    mut high: Reader<'a>,
    column: usize,
) -> Result<(Reader<'a>, Reader<'a>), Malformed> {
    let mut sizes = [(0, 0); COLUMNS];
    for size in &mut sizes {
        *size = (low.size()?, low.size()?);
    }
    for size in sizes.get(..column).ok_or(Malformed)? {
        low.bytes(size.0)?;
        high.bytes(size.1)?;
    }
    let size = sizes.get(column).ok_or(Malformed)?;
    Ok((Reader(low.bytes(size.0)?), Reader(high.bytes(size.1)?)))
}

fn read_starts(low: &mut Reader<'_>, count: usize) -> Result<Vec<i64>, Malformed> {
    let mut starts = Vec::with_capacity(count);
    for _ in 0..low.count()? {
        let (length, start) = (low.size()?, low.zigzag()?);
        if length > count - starts.len() {
            return Err(Malformed);
        }
        starts.resize(starts.len() + length, start);
    }
    if starts.len() == count { Ok(starts) } else { Err(Malformed) }
}
