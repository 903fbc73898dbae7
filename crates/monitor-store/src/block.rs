//! Block files (docs/formats/store.md, "Block file").

use crate::Error;
use crate::bytes::{Malformed, Reader, put_labels, put_text, put_varint, put_zigzag};
use crate::pack::{self, Packer};
use crate::postings::Postings;
use crate::report::io_error;
use monitor_promql::{Labels, Point};
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const MAGIC: &[u8; 8] = b"bastblk\x01";
const FOOTER: usize = 104;
/// Tables larger than this are taken for damage: 4 GiB are some 20 million series.
const MAX_TABLE: u64 = 4 << 30;
const TABLE_LEVEL: i32 = 3;

/// A block on disk.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) path: PathBuf,
    pub(crate) start_ms: i64,
    /// Exclusive.
    pub(crate) end_ms: i64,
    pub(crate) bytes: u64,
    pub(crate) samples: u64,
    /// Set once when something in it turns out to be damaged.
    pub(crate) damaged: AtomicBool,
    file: File,
    footer: Footer,
}

#[derive(Clone, Copy, Debug, Default)]
struct Table {
    offset: u64,
    length: u64,
    unpacked: u64,
    crc: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Footer {
    series_table: Table,
    index: Table,
    start_ms: i64,
    end_ms: i64,
    series: u32,
    samples: u64,
}

/// A block's tables in memory.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) series: Vec<IndexedSeries>,
    pub(crate) postings: Postings<u32>,
    /// About how many bytes of memory this takes.
    pub(crate) bytes: u64,
}

#[derive(Debug)]
pub(crate) struct IndexedSeries {
    pub(crate) labels: Labels,
    pub(crate) chunks: Vec<ChunkPlace>,
}

/// Where a chunk is and what it covers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ChunkPlace {
    offset: u64,
    length: u32,
    pub(crate) first_ms: i64,
    pub(crate) last_ms: i64,
}

/// The file name of a block.
pub(crate) fn file_name(start_ms: i64, end_ms: i64) -> String {
    format!("{start_ms}-{end_ms}.blk")
}

impl Block {
    /// Opens a block and checks its footer; `Err` says what is wrong with it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let bytes = file.metadata().map_err(|error| error.to_string())?.len();
        let at = bytes.checked_sub(FOOTER as u64).ok_or("it is too short to be a block")?;
        let mut footer = [0; FOOTER];
        file.read_exact_at(&mut footer, at).map_err(|error| error.to_string())?;
        let footer = Footer::parse(&footer, at).map_err(|Malformed| "its footer is damaged")?;
        Ok(Self {
            path: path.into(),
            start_ms: footer.start_ms,
            end_ms: footer.end_ms,
            bytes,
            samples: footer.samples,
            damaged: AtomicBool::new(false),
            file,
            footer,
        })
    }

    /// Reads the tables; `Err` says what is wrong.
    pub(crate) fn index(&self) -> Result<Index, String> {
        let table = self.table(self.footer.series_table).map_err(|why| format!("its series table {why}"))?;
        let series =
            self.parse_series(&table).map_err(|Malformed| "its series table cannot be understood")?;
        let index = self.table(self.footer.index).map_err(|why| format!("its inverted index {why}"))?;
        let postings = parse_postings(&index, series.len())
            .map_err(|Malformed| "its inverted index cannot be understood")?;
        let labels: usize = series.iter().map(|s| s.labels.bytes() + 80 + s.chunks.len() * 32).sum();
        let bytes = (labels + index.len() * 4) as u64;
        Ok(Index { series, postings, bytes })
    }

    fn table(&self, table: Table) -> Result<Vec<u8>, String> {
        let mut packed = vec![0; table.length as usize];
        self.file.read_exact_at(&mut packed, table.offset).map_err(|error| error.to_string())?;
        if crc32fast::hash(&packed) != table.crc {
            return Err("is damaged".into());
        }
        zstd::bulk::decompress(&packed, table.unpacked as usize).map_err(|error| error.to_string())
    }

    fn parse_series(&self, table: &[u8]) -> Result<Vec<IndexedSeries>, Malformed> {
        let mut reader = Reader(table);
        let mut offset = MAGIC.len() as u64;
        let count = reader.count()?;
        let mut series = Vec::with_capacity(count);
        for _ in 0..count {
            let labels = reader.labels()?;
            let mut chunks = Vec::new();
            for _ in 0..reader.count()? {
                let length = u32::try_from(reader.varint()?).map_err(|_| Malformed)?;
                let first_ms = self.start_ms.checked_add(reader.zigzag()?).ok_or(Malformed)?;
                let span = i64::try_from(reader.varint()?).map_err(|_| Malformed)?;
                let last_ms = first_ms.checked_add(span).ok_or(Malformed)?;
                reader.varint()?;
                chunks.push(ChunkPlace { offset, length, first_ms, last_ms });
                offset += u64::from(length);
            }
            series.push(IndexedSeries { labels, chunks });
        }
        if offset > self.footer.series_table.offset || series.len() != self.footer.series as usize {
            return Err(Malformed);
        }
        Ok(series)
    }

    /// Appends a chunk's points to a list; `Err` says what is wrong.
    pub(crate) fn read(
        &self,
        chunk: ChunkPlace,
        unpacker: &mut pack::Unpacker,
        buffer: &mut Vec<u8>,
        into: &mut Vec<Point>,
    ) -> Result<(), String> {
        buffer.resize(chunk.length as usize, 0);
        self.file.read_exact_at(buffer, chunk.offset).map_err(|error| error.to_string())?;
        let begin = into.len();
        unpacker.unpack(buffer, into).map_err(|Malformed| {
            into.truncate(begin);
            format!("the chunk at byte {} is damaged", chunk.offset)
        })
    }
}

fn parse_postings(index: &[u8], series: usize) -> Result<Postings<u32>, Malformed> {
    let mut reader = Reader(index);
    let mut postings = Postings::default();
    for _ in 0..reader.count()? {
        let name = reader.text()?;
        for _ in 0..reader.count()? {
            let value = reader.text()?;
            let count = reader.count()?;
            let mut list = Vec::with_capacity(count);
            let mut place = 0u64;
            for _ in 0..count {
                place = place.checked_add(reader.varint()?).ok_or(Malformed)?;
                if place >= series as u64 {
                    return Err(Malformed);
                }
                list.push(place as u32);
            }
            postings.insert(name, value, list);
        }
    }
    Ok(postings)
}

impl Footer {
    fn parse(bytes: &[u8; FOOTER], offset: u64) -> Result<Self, Malformed> {
        let (content, end) = bytes.split_at(FOOTER - 12);
        let mut reader = Reader(end);
        if reader.u32()? != crc32fast::hash(content) || reader.0 != MAGIC {
            return Err(Malformed);
        }
        let mut reader = Reader(content);
        let mut table = || {
            let (offset, length, unpacked) = (reader.u64()?, reader.u64()?, reader.u64()?);
            Ok(Table { offset, length, unpacked, crc: reader.u32()? })
        };
        let (series_table, index) = (table()?, table()?);
        let footer = Self {
            series_table,
            index,
            start_ms: reader.u64()? as i64,
            end_ms: reader.u64()? as i64,
            series: reader.u32()?,
            samples: reader.u64()?,
        };
        let fits = |t: &Table| t.length <= offset && t.offset <= offset - t.length && t.unpacked <= MAX_TABLE;
        (fits(&series_table) && fits(&index)).then_some(footer).ok_or(Malformed)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut into = Vec::with_capacity(FOOTER);
        for table in [self.series_table, self.index] {
            into.extend_from_slice(&table.offset.to_le_bytes());
            into.extend_from_slice(&table.length.to_le_bytes());
            into.extend_from_slice(&table.unpacked.to_le_bytes());
            into.extend_from_slice(&table.crc.to_le_bytes());
        }
        into.extend_from_slice(&self.start_ms.to_le_bytes());
        into.extend_from_slice(&self.end_ms.to_le_bytes());
        into.extend_from_slice(&self.series.to_le_bytes());
        into.extend_from_slice(&self.samples.to_le_bytes());
        into.extend_from_slice(&[0; 8]);
        let crc = crc32fast::hash(&into);
        into.extend_from_slice(&crc.to_le_bytes());
        into.extend_from_slice(MAGIC);
        into
    }
}

/// Writes a block, series by series.
pub(crate) struct BlockWriter {
    path: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    offset: u64,
    footer: Footer,
    table: Vec<u8>,
    postings: Postings<u32>,
    packer: Packer,
    buffer: Vec<u8>,
    finished: bool,
}

impl BlockWriter {
    pub(crate) fn create(dir: &Path, start_ms: i64, end_ms: i64) -> Result<Self, Error> {
        let path = dir.join(file_name(start_ms, end_ms));
        let temporary = path.with_extension("blk.new");
        let create = || {
            let mut file = BufWriter::with_capacity(1 << 18, File::create(&temporary)?);
            file.write_all(MAGIC)?;
            Ok((file, Packer::new()?))
        };
        let (file, packer) = create().map_err(io_error("creating", &temporary))?;
        Ok(Self {
            path,
            temporary,
            file,
            offset: MAGIC.len() as u64,
            footer: Footer { start_ms, end_ms, ..Footer::default() },
            table: Vec::new(),
            postings: Postings::default(),
            packer,
            buffer: Vec::new(),
            finished: false,
        })
    }

    /// Appends a series; series come ascending by labels, points by time.
    pub(crate) fn add(&mut self, labels: &Labels, points: &[Point]) -> Result<(), Error> {
        if points.is_empty() {
            return Ok(());
        }
        put_labels(&mut self.table, labels);
        put_varint(&mut self.table, points.len().div_ceil(pack::MAX_SAMPLES) as u64);
        for part in points.chunks(pack::MAX_SAMPLES) {
            self.buffer.clear();
            let written =
                self.packer.pack(part, &mut self.buffer).and_then(|()| self.file.write_all(&self.buffer));
            written.map_err(io_error("writing", &self.temporary))?;
            let (first_ms, last_ms) = (part[0].at_ms, part[part.len() - 1].at_ms);
            put_varint(&mut self.table, self.buffer.len() as u64);
            put_zigzag(&mut self.table, first_ms - self.footer.start_ms);
            put_varint(&mut self.table, (last_ms - first_ms) as u64);
            put_varint(&mut self.table, part.len() as u64);
            self.offset += self.buffer.len() as u64;
        }
        self.postings.add(labels, self.footer.series);
        self.footer.series += 1;
        self.footer.samples += points.len() as u64;
        Ok(())
    }

    /// Finishes the file, so that it is there whole or not at all; `None` where
    /// nothing was added.
    pub(crate) fn finish(mut self) -> Result<Option<PathBuf>, Error> {
        if self.footer.series == 0 {
            return Ok(None);
        }
        let mut table = Vec::new();
        put_varint(&mut table, u64::from(self.footer.series));
        table.append(&mut self.table);
        let index = index_bytes(&self.postings);
        let write = |this: &mut Self| {
            this.footer.series_table = this.write_table(&table)?;
            this.footer.index = this.write_table(&index)?;
            this.file.write_all(&this.footer.bytes())?;
            this.file.flush()?;
            this.file.get_ref().sync_all()?;
            fs::rename(&this.temporary, &this.path)?;
            File::open(this.path.parent().unwrap_or(Path::new(".")))?.sync_all()
        };
        write(&mut self).map_err(io_error("writing", &self.path.clone()))?;
        self.finished = true;
        Ok(Some(self.path.clone()))
    }

    fn write_table(&mut self, table: &[u8]) -> std::io::Result<Table> {
        let packed = zstd::bulk::compress(table, TABLE_LEVEL)?;
        self.file.write_all(&packed)?;
        let written = Table {
            offset: self.offset,
            length: packed.len() as u64,
            unpacked: table.len() as u64,
            crc: crc32fast::hash(&packed),
        };
        self.offset += written.length;
        Ok(written)
    }
}

/// A block that was not finished leaves nothing behind.
impl Drop for BlockWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

fn index_bytes(postings: &Postings<u32>) -> Vec<u8> {
    let mut into = Vec::new();
    put_varint(&mut into, postings.len() as u64);
    for (name, values) in postings.iter() {
        put_text(&mut into, name);
        put_varint(&mut into, values.len() as u64);
        for (value, places) in values {
            put_text(&mut into, value);
            put_varint(&mut into, places.len() as u64);
            let mut before = 0;
            for place in places {
                put_varint(&mut into, u64::from(place - before));
                before = *place;
            }
        }
    }
    into
}
