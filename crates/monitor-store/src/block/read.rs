//! Reading a block.

use super::chunk::{Opened, Opener, Parts, Values, open};
use super::tables::ColumnRow;
use super::{About, COLUMN_TABLE, FOOTER, MAGIC, REPLACES, Rolled, TABLES, Tables};
use crate::bytes::{Malformed, Reader, u64_at};
use crate::numbers::MAX_SAMPLES;
use crate::samples::{Samples, append_starts};
use crate::times::Times;
use crate::wanted::Wanted;
use monitor_model::{Histogram, HistogramPoint, Point, SeriesData};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use sys::map::Map;
use zstd::bulk::Decompressor;

/// A group's parts before compression: 8,192 samples of the widest kind, or
/// histograms of many buckets, are far below this.
const MAX_PART: usize = 64 << 20;

/// A block on disk.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) about: About,
    pub(crate) bytes: u64,
    /// Numbers of the blocks it was merged from.
    pub(crate) replaces: Vec<u64>,
    /// Set once when something in it turns out to be damaged.
    pub(crate) damaged: AtomicBool,
    file: File,
    places: [Range<u64>; TABLES],
    crc: u32,
    tables: OnceLock<Result<Tables, String>>,
}

/// A chunk of a series and what it covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkPlace {
    chunk: u32,
    group: u32,
    column: u32,
    pub(crate) times: ColumnRow,
}

impl ChunkPlace {
    /// How many samples are within two times for sure.
    pub(crate) fn sure_samples(&self, start_ms: i64, end_ms: i64) -> usize {
        let inside = self.times.first_ms >= start_ms && self.times.last_ms <= end_ms;
        // A larger count is damage, and must not ask for memory.
        if inside { (self.times.count as usize).min(MAX_SAMPLES) } else { 0 }
    }
}

impl Block {
    /// Opens a block and checks its footer; `Err` says what is wrong with it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let at = bytes.checked_sub((FOOTER + MAGIC.len()) as u64).ok_or("it is too short to be a block")?;
        let at = at + MAGIC.len() as u64;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, at).map_err(|error| error.to_string())?;
        let mut head = [0; MAGIC.len()];
        file.read_exact_at(&mut head, 0).map_err(|error| error.to_string())?;
        if head != *MAGIC {
            return Err("it does not begin as a block of version 2 does".into());
        }
        let (about, places, crc) = parse_footer(&footer, at).map_err(|Malformed| "its footer is damaged")?;
        let mut list = vec![0; (places[REPLACES].end - places[REPLACES].start) as usize];
        file.read_exact_at(&mut list, places[REPLACES].start).map_err(|error| error.to_string())?;
        let replaces = (0..list.len() / 8).map(|i| u64_at(&list, i)).collect();
        Ok(Self {
            path: path.into(),
            about,
            bytes,
            replaces,
            damaged: AtomicBool::new(false),
            file,
            places,
            crc,
            tables: OnceLock::new(),
        })
    }

    /// The tables, checked when they are first asked for; `Err` says what is wrong.
    pub(crate) fn tables(&self) -> Result<&Tables, String> {
        self.tables.get_or_init(|| self.load()).as_ref().map_err(Clone::clone)
    }

    /// Bytes of tables that are mapped.
    pub(crate) fn table_bytes(&self) -> usize {
        self.places[REPLACES].end.saturating_sub(self.places[0].start) as usize
    }

    fn load(&self) -> Result<Tables, String> {
        let (from, to) = (self.places[0].start, self.places[COLUMN_TABLE].end);
        // Read once in the ordinary way: what the disk cannot give is an error
        // here, and not a signal later.
        let end = self.places[REPLACES].end;
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; 256 << 10];
        let mut at = from;
        while at < end {
            let length = buffer.len().min((end - at) as usize);
            self.file.read_exact_at(&mut buffer[..length], at).map_err(|error| error.to_string())?;
            crc.update(&buffer[..length]);
            at += length as u64;
        }
        if crc.finalize() != self.crc {
            return Err("its tables are damaged".into());
        }
        let length = usize::try_from(to - from).map_err(|_| "its tables are too large")?;
        let map = Map::of(&self.file, from, length)
            .map_err(|error| format!("its tables cannot be mapped: {error}"))?;
        let places = self.places.clone().map(|p| (p.start - from) as usize..(p.end - from) as usize);
        Tables::new(map, places, self.about.series)
            .map_err(|Malformed| "its tables cannot be understood".into())
    }

    pub(crate) fn overlaps(&self, start_ms: i64, end_ms: i64) -> bool {
        self.about.end_ms >= start_ms && self.about.start_ms <= end_ms
    }
}

fn parse_footer(footer: &[u8; FOOTER], at: u64) -> Result<(About, [Range<u64>; TABLES], u32), Malformed> {
    let (content, end) = footer.split_at(FOOTER - 12);
    let mut end = Reader(end);
    if end.u32()? != crc32fast::hash(content) || end.0 != MAGIC {
        return Err(Malformed);
    }
    let mut reader = Reader(content);
    let mut places: [Range<u64>; TABLES] = Default::default();
    let mut before = MAGIC.len() as u64;
    for place in &mut places {
        let (offset, length) = (reader.u64()?, reader.u64()?);
        *place = offset..offset.checked_add(length).ok_or(Malformed)?;
        if offset < before || place.end > at {
            return Err(Malformed);
        }
        before = place.end;
    }
    let about = About {
        number: reader.u64()?,
        first: reader.u64()?,
        resolution_ms: reader.i64()?,
        start_ms: reader.i64()?,
        end_ms: reader.i64()?,
        samples: reader.u64()?,
        series: reader.u64()?,
        log: reader.u64()?,
    };
    Ok((about, places, reader.u32()?))
}

/// What reading needs and blocks can share.
pub(crate) struct Tools {
    zstd: Decompressor<'static>,
    opener: Opener,
    buffer: Vec<u8>,
    /// Which samples of a chunk are wanted.
    parts: Vec<Range<usize>>,
}

impl Tools {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            zstd: Decompressor::new()?,
            opener: Opener::default(),
            buffer: Vec::new(),
            parts: Vec::new(),
        })
    }
}

/// Reads series of one block; keeps the group and column it read last.
pub(crate) struct BlockReader {
    pub(crate) block: Arc<Block>,
    group: Option<u32>,
    first_chunk: u32,
    low: Vec<u8>,
    high: Vec<u8>,
    /// Where the low and the high part of each chunk of the group end.
    ends: Vec<(usize, usize)>,
    column: Option<u32>,
    times: Times,
}

impl BlockReader {
    pub(crate) fn new(block: Arc<Block>) -> Self {
        Self {
            block,
            group: None,
            first_chunk: 0,
            low: Vec::new(),
            high: Vec::new(),
            ends: Vec::new(),
            column: None,
            times: Times::default(),
        }
    }

    /// The chunks of a series that overlap a time range.
    pub(crate) fn chunks(
        tables: &Tables,
        series: u32,
        start_ms: i64,
        end_ms: i64,
        into: &mut Vec<ChunkPlace>,
    ) -> Result<(), Malformed> {
        into.clear();
        for chunk in tables.chunks_of(series) {
            let (group, column) = tables.chunk(chunk);
            let times = tables.column(column)?;
            if times.last_ms >= start_ms && times.first_ms <= end_ms {
                into.push(ChunkPlace { chunk, group, column, times });
            }
        }
        Ok(())
    }

    fn load(&mut self, tools: &mut Tools, tables: &Tables, place: ChunkPlace) -> Result<(), String> {
        self.load_group(tools, tables, place.group)?;
        if self.column != Some(place.column) {
            self.column = None;
            let row = place.times;
            tools.buffer.clear();
            if row.length > 0 {
                if row.offset.saturating_add(u64::from(row.length)) > self.block.bytes {
                    return Err("a column of times lies outside of the file".into());
                }
                tools.buffer.resize(row.length as usize, 0);
                self.block
                    .file
                    .read_exact_at(&mut tools.buffer, row.offset)
                    .map_err(|error| error.to_string())?;
            }
            if crc32fast::hash(&tools.buffer) != row.crc {
                return Err("a column of times is damaged".into());
            }
            self.times
                .read(row.first_ms, row.last_ms, row.count as usize, &tools.buffer, &mut tools.zstd)
                .map_err(|Malformed| "a column of times cannot be understood")?;
            self.column = Some(place.column);
        }
        Ok(())
    }

    fn load_group(&mut self, tools: &mut Tools, tables: &Tables, group: u32) -> Result<(), String> {
        if self.group == Some(group) {
            return Ok(());
        }
        self.group = None;
        let malformed = |Malformed| "a group of chunks cannot be understood".to_owned();
        let row = tables.group(group).map_err(malformed)?;
        if row.offset.saturating_add(u64::from(row.length)) > self.block.bytes {
            return Err("a group of chunks lies outside of the file".into());
        }
        tools.buffer.clear();
        tools.buffer.resize(row.length as usize, 0);
        self.block.file.read_exact_at(&mut tools.buffer, row.offset).map_err(|error| error.to_string())?;
        let mut reader = Reader(&tools.buffer);
        let crc = reader.u32().map_err(malformed)?;
        if crc32fast::hash(reader.0) != crc {
            return Err("a group of chunks is damaged".into());
        }
        unpack_group(reader, &mut tools.zstd, &mut self.low, &mut self.high, &mut self.ends)
            .map_err(malformed)?;
        self.first_chunk = row.first_chunk;
        self.group = Some(group);
        Ok(())
    }

    fn parts(&self, chunk: u32) -> Result<Parts<'_>, String> {
        let at = chunk.checked_sub(self.first_chunk).map(|at| at as usize);
        let end = at.and_then(|at| self.ends.get(at)).ok_or("a chunk is not in its group")?;
        let begin = match at {
            Some(at) if at > 0 => self.ends[at - 1],
            _ => (0, 0),
        };
        Ok(Parts { low: &self.low[begin.0..end.0], high: &self.high[begin.1..end.1] })
    }

    /// Appends a chunk's samples to those of a series; `Err` says what is wrong.
    pub(crate) fn append(
        &mut self,
        tools: &mut Tools,
        tables: &Tables,
        place: ChunkPlace,
        into: &mut Samples,
    ) -> Result<(), String> {
        self.load(tools, tables, place)?;
        self.times.fill();
        let read = tools.opener.append(self.parts(place.chunk)?, self.times.list(), into);
        read.map_err(|Malformed| "a chunk cannot be understood".into())
    }

    /// Appends a rollup's chunk with all columns, or its histograms.
    pub(crate) fn append_rolled(
        &mut self,
        tools: &mut Tools,
        tables: &Tables,
        place: ChunkPlace,
        into: &mut Rolled,
        last: &mut Samples,
    ) -> Result<(), String> {
        self.load(tools, tables, place)?;
        self.times.fill();
        let read = tools.opener.append_rolled(self.parts(place.chunk)?, self.times.list(), into, last);
        read.map_err(|Malformed| "a chunk cannot be understood".into())
    }

    /// Appends what is wanted of a chunk to a series of a query; of a rollup one column.
    pub(crate) fn append_to(
        &mut self,
        tools: &mut Tools,
        tables: &Tables,
        place: ChunkPlace,
        column: usize,
        wanted: Wanted,
        into: &mut SeriesData,
    ) -> Result<(), String> {
        let row = &place.times;
        if wanted.between(row.first_ms, row.last_ms).next().is_none() {
            return Ok(());
        }
        self.load(tools, tables, place)?;
        let Tools { opener, parts, .. } = tools;
        parts.clear();
        let ranges = wanted.between(row.first_ms, row.last_ms);
        parts.extend(ranges.map(|range| self.times.within(range)).filter(|part| !part.is_empty()));
        let read = match open(self.parts(place.chunk)?, self.times.len(), column) {
            Ok(Opened::Values(values)) => append_values(opener, values, &self.times, parts, into),
            Ok(Opened::Histograms { histograms, starts }) => {
                for part in parts {
                    let had = into.histograms.len();
                    let these = part.clone().zip(&histograms[part.clone()]);
                    let point = |(i, value): (usize, &Arc<Histogram>)| HistogramPoint {
                        at_ms: self.times.at(i),
                        value: value.clone(),
                    };
                    into.histograms.extend(these.map(point));
                    append_starts(&mut into.histogram_starts, had, &starts, part.clone());
                }
                Ok(())
            }
            Err(malformed) => Err(malformed),
        };
        read.map_err(|Malformed| "a chunk cannot be understood".into())
    }
}

/// Appends parts of a chunk's numbers with their times.
fn append_values(
    opener: &mut Opener,
    mut values: Values<'_>,
    times: &Times,
    parts: &[Range<usize>],
    into: &mut SeriesData,
) -> Result<(), Malformed> {
    let mut had = into.points.len();
    let starts = std::mem::take(&mut values.starts);
    let points = &mut into.points;
    if let Some((_, step_ms)) = times.steady() {
        opener.unpack(values, times.len(), parts, |place, values| {
            let mut next_ms = times.at(place);
            points.extend(values.iter().map(|value| {
                let at_ms = next_ms;
                next_ms = next_ms.wrapping_add(step_ms);
                Point { at_ms, value: *value }
            }));
        })?;
    } else {
        opener.unpack(values, times.len(), parts, |place, values| {
            let times = times.list()[place..].iter();
            points.extend(times.zip(values).map(|(at_ms, value)| Point { at_ms: *at_ms, value: *value }));
        })?;
    }
    if !starts.is_empty() || !into.starts.is_empty() {
        for part in parts {
            append_starts(&mut into.starts, had, &starts, part.clone());
            had += part.len();
        }
    }
    Ok(())
}

fn unpack_group(
    mut reader: Reader<'_>,
    zstd: &mut Decompressor<'_>,
    low: &mut Vec<u8>,
    high: &mut Vec<u8>,
    ends: &mut Vec<(usize, usize)>,
) -> Result<(), Malformed> {
    let sizes = [(reader.size()?, reader.size()?), (reader.size()?, reader.size()?)];
    for (into, (size, stored)) in [&mut *low, &mut *high].into_iter().zip(sizes) {
        let bytes = reader.bytes(stored)?;
        into.clear();
        if size > MAX_PART {
            return Err(Malformed);
        }
        if stored == size {
            into.extend_from_slice(bytes);
        } else {
            into.reserve(size);
            zstd.decompress_to_buffer(bytes, into).map_err(|_| Malformed)?;
            if into.len() != size {
                return Err(Malformed);
            }
        }
    }
    let mut head = Reader(low);
    ends.clear();
    let (mut low_end, mut high_end) = (0usize, 0usize);
    for _ in 0..head.count()? {
        low_end = low_end.checked_add(head.size()?).ok_or(Malformed)?;
        high_end = high_end.checked_add(head.size()?).ok_or(Malformed)?;
        ends.push((low_end, high_end));
    }
    if head.0.len() != low_end || high.len() != high_end {
        return Err(Malformed);
    }
    let begin = low.len() - low_end;
    low.drain(..begin);
    Ok(())
}
