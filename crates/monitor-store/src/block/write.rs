//! Writing a block.

use super::chunk::{pack_histograms, pack_rolled, pack_values};
use super::symbols::Gathered;
use super::{About, CHUNKS, COLUMN_TABLE, FIRST_CHUNKS, GROUPS, LABEL_PAGES, LABEL_TEXT, MAGIC, NAMES};
use super::{POSTINGS, REPLACES, Rolled, SYMBOL_ENDS, SYMBOL_TEXT, TABLES, VALUES, file_name};
use crate::Error;
use crate::bytes::put_varint;
use crate::disk::{Disk, temporary};
use crate::numbers::{MAX_SAMPLES, Packer};
use crate::report::io_error;
use crate::samples::Samples;
use crate::times;
use monitor_model::Labels;
use rustc_hash::{FxHashMap, FxHasher};
use std::fs::File;
use std::hash::Hasher;
use std::path::{Path, PathBuf};
use zstd::bulk::Compressor;
use zstd::zstd_safe::CParameter;

/// Fast, and within one percent of level 3 on these bytes.
const LEVEL: i32 = 1;
/// Shorter matches among bytes that look like chance cost as much as they save, and
/// time to read: 1.6 percent fewer bytes than with level 1's own choice, 5, on
/// series like the benchmark's.
const SHORTEST_MATCH: u32 = 7;
/// Chunks are gathered until their low parts have so many bytes.
const GROUP_BYTES: usize = 8 << 10;
/// A chunk of so many has a group of its own, or ends one: reading one series of a
/// long time must not unpack others.
const LONG_CHUNK: usize = 3 << 10;
/// Histograms of a chunk: each may have hundreds of buckets.
const MAX_HISTOGRAMS: usize = 240;
/// Bytes of columns of times that are kept to find the same one again.
const KEPT_COLUMNS: usize = 16 << 20;
/// Written at once.
const BUFFER: usize = 256 << 10;

/// Writes a block, series after series, ascending by labels.
pub(crate) struct BlockWriter {
    disk: Disk,
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    finished: bool,
    about: About,
    replaces: Vec<u64>,
    /// Bytes of the file, those in the buffer included.
    offset: u64,
    buffer: Vec<u8>,
    zstd: Compressor<'static>,
    packer: Packer,
    group: Group,
    columns: ColumnTable,
    labels: Gathered,
    first_chunks: Vec<u8>,
    chunks: Vec<u8>,
    groups: Vec<u8>,
}

/// The group that is being gathered.
#[derive(Default)]
struct Group {
    low: Vec<u8>,
    high: Vec<u8>,
    sizes: Vec<(usize, usize)>,
    number: u32,
}

#[derive(Default)]
struct ColumnTable {
    rows: Vec<u8>,
    steady: FxHashMap<(i64, i64, usize), u32>,
    kept: FxHashMap<u64, (u32, Box<[i64]>)>,
    kept_bytes: usize,
    /// The last one used: neighbours share it mostly.
    last: Option<(u32, Vec<i64>)>,
}

impl BlockWriter {
    /// Begins a block of this number, order (`first`), resolution and log; times
    /// and counts are filled in as samples come.
    pub(crate) fn create(disk: &Disk, dir: &Path, about: About, replaces: Vec<u64>) -> Result<Self, Error> {
        let path = dir.join(file_name(about.number));
        let temporary = temporary(&path);
        let begin = || {
            disk.remove(&temporary)?;
            let file = disk.create(&temporary)?;
            let mut zstd = Compressor::new(LEVEL)?;
            zstd.set_parameter(CParameter::MinMatch(SHORTEST_MATCH))?;
            Ok((file, zstd))
        };
        let (file, zstd) = begin().map_err(io_error("creating", &temporary))?;
        let about = About { start_ms: i64::MAX, end_ms: i64::MIN, samples: 0, series: 0, ..about };
        Ok(Self {
            disk: disk.clone(),
            file,
            path,
            temporary,
            finished: false,
            about,
            replaces,
            offset: MAGIC.len() as u64,
            buffer: MAGIC.to_vec(),
            zstd,
            packer: Packer::default(),
            group: Group::default(),
            columns: ColumnTable::default(),
            labels: Gathered::default(),
            first_chunks: Vec::new(),
            chunks: Vec::new(),
            groups: Vec::new(),
        })
    }

    /// Adds a series; one without samples is left out. Its times ascend.
    pub(crate) fn add(&mut self, labels: &Labels, samples: &Samples) -> Result<(), Error> {
        let Some(range) = samples.range_ms() else { return Ok(()) };
        self.begin_series(labels, range, samples.len());
        for at in (0..samples.times.len()).step_by(MAX_SAMPLES) {
            let part = at..samples.times.len().min(at + MAX_SAMPLES);
            let starts = samples.starts.get(part.clone()).unwrap_or_default();
            let (low, high) = (self.group.low.len(), self.group.high.len());
            let Group { low: l, high: h, .. } = &mut self.group;
            pack_values(&mut self.packer, &samples.values[part.clone()], starts, l, h);
            self.end_chunk(&samples.times[part], low, high)?;
        }
        for at in (0..samples.histograms.len()).step_by(MAX_HISTOGRAMS) {
            let part = at..samples.histograms.len().min(at + MAX_HISTOGRAMS);
            let starts = samples.histogram_starts.get(part.clone()).unwrap_or_default();
            let (low, high) = (self.group.low.len(), self.group.high.len());
            pack_histograms(&samples.histograms[part.clone()], starts, &mut self.group.low);
            self.end_chunk(&samples.histogram_times[part], low, high)?;
        }
        Ok(())
    }

    /// Adds a rolled-up series, with the last histogram of each window where there are any.
    pub(crate) fn add_rolled(
        &mut self,
        labels: &Labels,
        rolled: &Rolled,
        last: &Samples,
    ) -> Result<(), Error> {
        let times = |times: &[i64]| Some((*times.first()?, *times.last()?));
        let ranges = [times(&rolled.times), times(&last.histogram_times)];
        let range = ranges.into_iter().flatten().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)));
        let Some(range) = range else { return Ok(()) };
        self.begin_series(labels, range, rolled.times.len() + last.histograms.len());
        for at in (0..rolled.times.len()).step_by(MAX_SAMPLES) {
            let part = at..rolled.times.len().min(at + MAX_SAMPLES);
            let (low, high) = (self.group.low.len(), self.group.high.len());
            let Group { low: l, high: h, .. } = &mut self.group;
            pack_rolled(&mut self.packer, rolled, part.clone(), l, h);
            self.end_chunk(&rolled.times[part], low, high)?;
        }
        for at in (0..last.histograms.len()).step_by(MAX_HISTOGRAMS) {
            let part = at..last.histograms.len().min(at + MAX_HISTOGRAMS);
            let (low, high) = (self.group.low.len(), self.group.high.len());
            pack_histograms(&last.histograms[part.clone()], &[], &mut self.group.low);
            self.end_chunk(&last.histogram_times[part], low, high)?;
        }
        Ok(())
    }

    fn begin_series(&mut self, labels: &Labels, (first_ms, last_ms): (i64, i64), samples: usize) {
        self.about.start_ms = self.about.start_ms.min(first_ms);
        self.about.end_ms = self.about.end_ms.max(last_ms);
        self.about.samples += samples as u64;
        self.labels.add(labels);
        let chunk = (self.chunks.len() / 8) as u32;
        self.first_chunks.extend_from_slice(&chunk.to_le_bytes());
    }

    /// Notes a chunk whose parts begin at two places of the group.
    fn end_chunk(&mut self, times: &[i64], low: usize, high: usize) -> Result<(), Error> {
        let column = self.column(times)?;
        self.chunks.extend_from_slice(&self.group.number.to_le_bytes());
        self.chunks.extend_from_slice(&column.to_le_bytes());
        self.group.sizes.push((self.group.low.len() - low, self.group.high.len() - high));
        let long = self.group.low.len() - low >= LONG_CHUNK;
        if long || self.group.low.len() >= GROUP_BYTES { self.end_group() } else { Ok(()) }
    }

    /// The column of some times: one that is there, or a new one.
    fn column(&mut self, times: &[i64]) -> Result<u32, Error> {
        if let Some((column, last)) = &self.columns.last
            && last == times
        {
            return Ok(*column);
        }
        let (first_ms, last_ms) = (times[0], times[times.len() - 1]);
        let known = if times::is_steady(times) {
            let key = (first_ms, last_ms, times.len());
            match self.columns.steady.get(&key) {
                Some(column) => *column,
                None => {
                    let column = self.put_column(times, &[])?;
                    self.columns.steady.insert(key, column);
                    column
                }
            }
        } else {
            let mut hasher = FxHasher::default();
            times.iter().for_each(|t| hasher.write_i64(*t));
            let hash = hasher.finish();
            match self.columns.kept.get(&hash) {
                Some((column, kept)) if **kept == *times => *column,
                _ => {
                    let mut bytes = Vec::new();
                    times::pack(times, &mut self.zstd, &mut bytes)
                        .map_err(io_error("packing for", &self.path))?;
                    let column = self.put_column(times, &bytes)?;
                    if self.columns.kept_bytes < KEPT_COLUMNS {
                        self.columns.kept_bytes += times.len() * 8;
                        self.columns.kept.insert(hash, (column, times.into()));
                    }
                    column
                }
            }
        };
        let last = self.columns.last.get_or_insert_default();
        last.0 = known;
        last.1.clear();
        last.1.extend_from_slice(times);
        Ok(known)
    }

    fn put_column(&mut self, times: &[i64], bytes: &[u8]) -> Result<u32, Error> {
        let offset = if bytes.is_empty() { 0 } else { self.offset };
        let rows = &mut self.columns.rows;
        let column = (rows.len() / super::COLUMN_ROW) as u32;
        rows.extend_from_slice(&times[0].to_le_bytes());
        rows.extend_from_slice(&times[times.len() - 1].to_le_bytes());
        rows.extend_from_slice(&(times.len() as u32).to_le_bytes());
        rows.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
        rows.extend_from_slice(&offset.to_le_bytes());
        rows.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        rows.extend_from_slice(&[0; 4]);
        self.put(bytes)?;
        Ok(column)
    }

    fn end_group(&mut self) -> Result<(), Error> {
        if self.group.sizes.is_empty() {
            return Ok(());
        }
        let mut low = Vec::with_capacity(self.group.low.len() + self.group.sizes.len() * 6);
        put_varint(&mut low, self.group.sizes.len() as u64);
        for (low_size, high_size) in &self.group.sizes {
            put_varint(&mut low, *low_size as u64);
            put_varint(&mut low, *high_size as u64);
        }
        low.extend_from_slice(&self.group.low);
        let mut bytes = vec![0; 4];
        let packed: Vec<Option<Vec<u8>>> = [&low, &self.group.high]
            .into_iter()
            .map(|part| {
                let packed = self.zstd.compress(part)?;
                Ok((packed.len() < part.len()).then_some(packed))
            })
            .collect::<std::io::Result<_>>()
            .map_err(io_error("packing for", &self.path))?;
        let parts: Vec<(&[u8], &[u8])> = [&low, &self.group.high]
            .into_iter()
            .zip(&packed)
            .map(|(part, packed)| (part.as_slice(), packed.as_deref().unwrap_or(part)))
            .collect();
        for (part, stored) in &parts {
            put_varint(&mut bytes, part.len() as u64);
            put_varint(&mut bytes, stored.len() as u64);
        }
        parts.iter().for_each(|(_, stored)| bytes.extend_from_slice(stored));
        let crc = crc32fast::hash(&bytes[4..]);
        bytes[..4].copy_from_slice(&crc.to_le_bytes());
        let first_chunk = (self.chunks.len() / 8 - self.group.sizes.len()) as u32;
        self.groups.extend_from_slice(&self.offset.to_le_bytes());
        self.groups.extend_from_slice(&first_chunk.to_le_bytes());
        self.groups.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        self.group.low.clear();
        self.group.high.clear();
        self.group.sizes.clear();
        self.group.number += 1;
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        if self.buffer.len() >= BUFFER { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.disk.write(&self.file, &self.buffer).map_err(io_error("writing", &self.temporary))?;
        self.buffer.clear();
        Ok(())
    }

    /// Finishes the block; `None` where it got no samples.
    pub(crate) fn finish(mut self) -> Result<Option<PathBuf>, Error> {
        if self.labels.series == 0 {
            return Ok(None);
        }
        self.end_group()?;
        while !self.offset.is_multiple_of(8) {
            self.put(&[0])?;
        }
        let chunks = (self.chunks.len() / 8) as u32;
        self.first_chunks.extend_from_slice(&chunks.to_le_bytes());
        self.about.series = u64::from(self.labels.series);
        let labels = std::mem::take(&mut self.labels).finish();
        let mut tables: [Vec<u8>; TABLES] = Default::default();
        tables[SYMBOL_ENDS] = labels.symbol_ends;
        tables[SYMBOL_TEXT] = labels.symbol_text;
        tables[NAMES] = labels.names;
        tables[VALUES] = labels.values;
        tables[POSTINGS] = labels.postings;
        tables[LABEL_PAGES] = labels.label_pages;
        tables[LABEL_TEXT] = labels.label_text;
        tables[FIRST_CHUNKS] = std::mem::take(&mut self.first_chunks);
        tables[CHUNKS] = std::mem::take(&mut self.chunks);
        tables[GROUPS] = std::mem::take(&mut self.groups);
        tables[COLUMN_TABLE] = std::mem::take(&mut self.columns.rows);
        tables[REPLACES] = self.replaces.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.put_tables(tables)?;
        self.flush()?;
        self.disk
            .finish(&self.file, &self.temporary, &self.path)
            .map_err(io_error("finishing", &self.path))?;
        self.finished = true;
        Ok(Some(self.path.clone()))
    }

    fn put_tables(&mut self, tables: [Vec<u8>; TABLES]) -> Result<(), Error> {
        let mut footer = Vec::with_capacity(super::FOOTER);
        let mut crc = crc32fast::Hasher::new();
        for table in tables {
            footer.extend_from_slice(&self.offset.to_le_bytes());
            footer.extend_from_slice(&(table.len() as u64).to_le_bytes());
            crc.update(&table);
            self.put(&table)?;
        }
        let about = &self.about;
        let times = [about.resolution_ms as u64, about.start_ms as u64, about.end_ms as u64];
        for number in
            [about.number, about.first].iter().chain(&times).chain(&[about.samples, about.series, about.log])
        {
            footer.extend_from_slice(&number.to_le_bytes());
        }
        footer.extend_from_slice(&crc.finalize().to_le_bytes());
        let own = crc32fast::hash(&footer);
        footer.extend_from_slice(&own.to_le_bytes());
        footer.extend_from_slice(MAGIC);
        self.put(&footer)
    }
}

/// A block that was not finished leaves nothing behind.
impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.disk.remove(&self.temporary);
        }
    }
}
