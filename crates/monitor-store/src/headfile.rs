//! The head file: the series as they were when a log file began
//! (docs/formats/store-log.md, "Head file").

use crate::Error;
use crate::bytes::{Malformed, Reader, put_labels, put_text, put_varint, put_zigzag};
use crate::disk::{Disk, temporary};
use crate::exemplars::Held;
use crate::head::{Kind, Last};
use crate::record::{put_exemplar, put_metadata, put_record, read_exemplar, read_metadata, whole_record};
use crate::report::io_error;
use monitor_model::{Labels, Metadata};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use zstd::bulk::{Compressor, Decompressor};

const MAGIC: &[u8; 8] = b"basthed\x02";
const SERIES: u8 = 16;
const EXEMPLARS: u8 = 17;
const METADATA: u8 = 18;
const END: u8 = 19;
/// A page is finished at so many bytes before compression.
const PAGE: usize = 256 << 10;
const MAX_PAGE: usize = 16 << 20;

pub(crate) fn path(log_dir: &Path, number: u64) -> PathBuf {
    log_dir.join(format!("{number:08}.head"))
}

/// Writes a head file.
pub(crate) struct HeadWriter {
    disk: Disk,
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    finished: bool,
    zstd: Compressor<'static>,
    page: Vec<u8>,
    count: u64,
    before: Option<Labels>,
    series: u64,
}

impl HeadWriter {
    pub(crate) fn create(disk: &Disk, log_dir: &Path, number: u64) -> Result<Self, Error> {
        let path = path(log_dir, number);
        let temporary = temporary(&path);
        let begin = || {
            disk.remove(&temporary)?;
            let file = disk.create(&temporary)?;
            disk.write(&file, MAGIC)?;
            Ok((file, Compressor::new(1)?))
        };
        let (file, zstd) = begin().map_err(io_error("creating", &temporary))?;
        Ok(Self {
            disk: disk.clone(),
            file,
            path,
            temporary,
            finished: false,
            zstd,
            page: Vec::new(),
            count: 0,
            before: None,
            series: 0,
        })
    }

    /// Adds a series; its labels are larger than those before.
    pub(crate) fn add(&mut self, labels: &Labels, slot: u32, last: Last) -> Result<(), Error> {
        let shared = match &self.before {
            Some(before) => before.iter().zip(labels).take_while(|(a, b)| a == b).count(),
            None => 0,
        };
        put_varint(&mut self.page, shared as u64);
        put_varint(&mut self.page, (labels.len() - shared) as u64);
        for (name, value) in labels.iter().skip(shared) {
            put_text(&mut self.page, name);
            put_text(&mut self.page, value);
        }
        put_varint(&mut self.page, u64::from(slot));
        put_zigzag(&mut self.page, last.at_ms);
        self.page.extend_from_slice(&last.bits.to_le_bytes());
        self.page.push(match last.kind {
            Kind::None => 0,
            Kind::Float => 1,
            Kind::Histogram => 2,
        });
        self.before = Some(labels.clone());
        self.count += 1;
        self.series += 1;
        if self.page.len() >= PAGE { self.end_page(SERIES) } else { Ok(()) }
    }

    fn end_page(&mut self, kind: u8) -> Result<(), Error> {
        if self.count == 0 {
            return Ok(());
        }
        let mut content = Vec::with_capacity(self.page.len() + 10);
        put_varint(&mut content, self.count);
        content.append(&mut self.page);
        self.count = 0;
        self.before = None;
        self.put_page(kind, &content)
    }

    fn put_page(&mut self, kind: u8, content: &[u8]) -> Result<(), Error> {
        let packed = self.zstd.compress(content).map_err(io_error("packing for", &self.temporary))?;
        let mut bytes = Vec::new();
        put_record(&mut bytes, kind, |payload| {
            put_varint(payload, content.len() as u64);
            payload.extend_from_slice(&packed);
        });
        self.put(&bytes)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.disk.write(&self.file, bytes).map_err(io_error("writing", &self.temporary))
    }

    /// Adds exemplars and metadata and finishes the file.
    pub(crate) fn finish(
        mut self,
        exemplars: &[Held],
        metadata: &[(String, Metadata)],
        max_ms: i64,
    ) -> Result<(), Error> {
        self.end_page(SERIES)?;
        for held in exemplars {
            put_labels(&mut self.page, &held.series);
            put_exemplar(&mut self.page, &held.exemplar, held.stored_ms);
            self.count += 1;
            if self.page.len() >= PAGE {
                self.end_page(EXEMPLARS)?;
            }
        }
        self.end_page(EXEMPLARS)?;
        for part in metadata.chunks(256) {
            let part: Vec<(&str, &Metadata)> = part.iter().map(|(name, m)| (name.as_str(), m)).collect();
            let mut content = Vec::new();
            put_metadata(&mut content, &part);
            self.put_page(METADATA, &content)?;
        }
        let mut end = Vec::new();
        put_record(&mut end, END, |payload| {
            put_varint(payload, self.series);
            put_zigzag(payload, max_ms);
        });
        self.put(&end)?;
        self.disk
            .finish(&self.file, &self.temporary, &self.path)
            .map_err(io_error("finishing", &self.path))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for HeadWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.disk.remove(&self.temporary);
        }
    }
}

/// Takes what a head file has.
pub(crate) trait Restore {
    fn series(&mut self, slot: u32, labels: Labels, last: Last);
    fn exemplar(&mut self, held: Held);
    fn metadata(&mut self, metric: String, metadata: Metadata);
    fn max_ms(&mut self, max_ms: i64);
}

/// Reads a head file; `Err` says what is wrong. What was read before that is kept.
pub(crate) fn read(path: &Path, into: &mut dyn Restore) -> Result<(), String> {
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    let mut rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin as a head file of version 2 does")?;
    let mut zstd = Decompressor::new().map_err(|error| error.to_string())?;
    let mut series = 0u64;
    while let Some((kind, payload, after)) = whole_record(rest) {
        rest = after;
        if kind == END {
            let mut reader = Reader(payload);
            let (Ok(count), Ok(max_ms)) = (reader.varint(), reader.zigzag()) else { break };
            into.max_ms(max_ms);
            return if count == series { Ok(()) } else { Err("series are missing in it".into()) };
        }
        let content = unpack(payload, &mut zstd).map_err(|Malformed| "a page of it cannot be unpacked")?;
        let taken = match kind {
            SERIES => read_series(&content, into, &mut series),
            EXEMPLARS => read_exemplars(&content, into),
            METADATA => read_metadata(&content)
                .map(|all| all.into_iter().for_each(|(name, m)| into.metadata(name, m))),
            _ => Err(Malformed),
        };
        taken.map_err(|Malformed| "a page of it cannot be understood")?;
    }
    Err("it is damaged, or its end is missing".into())
}

fn unpack(payload: &[u8], zstd: &mut Decompressor<'_>) -> Result<Vec<u8>, Malformed> {
    let mut reader = Reader(payload);
    let size = reader.size()?;
    if size > MAX_PAGE {
        return Err(Malformed);
    }
    zstd.decompress(reader.0, size).map_err(|_| Malformed)
}

fn read_series(content: &[u8], into: &mut dyn Restore, series: &mut u64) -> Result<(), Malformed> {
    let mut reader = Reader(content);
    let mut pairs: Vec<(&str, &str)> = Vec::new();
    for _ in 0..reader.count()? {
        let (shared, others) = (reader.size()?, reader.count()?);
        if shared > pairs.len() {
            return Err(Malformed);
        }
        pairs.truncate(shared);
        for _ in 0..others {
            let pair = (reader.text()?, reader.text()?);
            if pairs.last().is_some_and(|before| before.0 >= pair.0) {
                return Err(Malformed);
            }
            pairs.push(pair);
        }
        let slot = reader.u32_varint()?;
        let (at_ms, bits) = (reader.zigzag()?, reader.u64()?);
        let kind = match reader.u8()? {
            0 => Kind::None,
            1 => Kind::Float,
            2 => Kind::Histogram,
            _ => return Err(Malformed),
        };
        into.series(slot, Labels::from_sorted(pairs.iter().copied()), Last { at_ms, bits, kind });
        *series += 1;
    }
    Ok(())
}

fn read_exemplars(content: &[u8], into: &mut dyn Restore) -> Result<(), Malformed> {
    let mut reader = Reader(content);
    for _ in 0..reader.count()? {
        let series = reader.labels()?;
        let (exemplar, stored_ms) = read_exemplar(&mut reader)?;
        into.exemplar(Held { series, exemplar, stored_ms });
    }
    Ok(())
}
