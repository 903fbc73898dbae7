//! The manifest: which files count, and what is deleted (docs/formats/store-log.md).

use crate::Error;
use crate::bytes::{Malformed, Reader, put_text, put_varint, put_zigzag};
use crate::disk::Disk;
use crate::record::{put_record, whole_record};
use crate::report::io_error;
use monitor_model::{Labels, Matcher};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"bastman\x02";
const MANIFEST: u8 = 32;
const NEGATED: u8 = 1;
const REGEX: u8 = 2;

/// What the store consists of.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) next_block: u64,
    /// The first log file whose samples are not in blocks.
    pub(crate) log: u64,
    pub(crate) max_ms: i64,
    pub(crate) blocks: Vec<Listed>,
    pub(crate) tombstones: Vec<Tombstone>,
}

/// A block, as far as it must be known where its file is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) number: u64,
    pub(crate) resolution_ms: i64,
    pub(crate) start_ms: i64,
    pub(crate) end_ms: i64,
}

/// Samples that are deleted, and still in files.
#[derive(Clone, Debug)]
pub(crate) struct Tombstone {
    /// It covers nothing of newer blocks.
    pub(crate) newest_block: u64,
    /// The head file of this log file still knows what was deleted.
    pub(crate) log: u64,
    pub(crate) start_ms: i64,
    /// Inclusive.
    pub(crate) end_ms: i64,
    pub(crate) matchers: Vec<Matcher>,
}

impl Tombstone {
    /// Whether it may cover something of a block.
    pub(crate) fn concerns(&self, number: u64, start_ms: i64, end_ms: i64) -> bool {
        number <= self.newest_block && self.start_ms <= end_ms && self.end_ms >= start_ms
    }

    pub(crate) fn covers(&self, labels: &Labels) -> bool {
        Matcher::all_match(&self.matchers, labels)
    }
}

/// What came of reading the manifest.
pub(crate) enum Found {
    Whole(Manifest),
    Missing,
    /// With what is wrong.
    Damaged(String),
}

pub(crate) fn path(dir: &Path) -> PathBuf {
    dir.join("manifest")
}

impl Manifest {
    /// Of a store without anything.
    pub(crate) fn empty() -> Self {
        Self { next_block: 1, log: 1, max_ms: i64::MIN, blocks: Vec::new(), tombstones: Vec::new() }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        put_record(&mut bytes, MANIFEST, |payload| {
            put_varint(payload, self.next_block);
            put_varint(payload, self.log);
            put_zigzag(payload, self.max_ms);
            put_varint(payload, self.blocks.len() as u64);
            for block in &self.blocks {
                put_varint(payload, block.number);
                put_varint(payload, block.resolution_ms as u64);
                put_zigzag(payload, block.start_ms);
                put_zigzag(payload, block.end_ms);
            }
            put_varint(payload, self.tombstones.len() as u64);
            for tombstone in &self.tombstones {
                put_tombstone(payload, tombstone);
            }
        });
        bytes
    }

    /// Puts it in the place of the one that is there.
    pub(crate) fn write(&self, disk: &Disk, dir: &Path) -> Result<(), Error> {
        let path = path(dir);
        disk.write_whole(&path, &self.bytes()).map_err(io_error("writing", &path))
    }

    pub(crate) fn read(dir: &Path) -> Result<Found, Error> {
        let path = path(dir);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Missing),
            Err(error) => return Err(io_error("reading", &path)(error)),
        };
        let record = bytes.strip_prefix(MAGIC).and_then(whole_record);
        let Some((MANIFEST, payload, [])) = record else {
            return Ok(Found::Damaged("it is no whole manifest of version 2".into()));
        };
        Ok(match parse(payload) {
            Ok(manifest) => Found::Whole(manifest),
            Err(Malformed) => Found::Damaged("it cannot be understood".into()),
        })
    }
}

fn put_tombstone(payload: &mut Vec<u8>, tombstone: &Tombstone) {
    put_varint(payload, tombstone.newest_block);
    put_varint(payload, tombstone.log);
    put_zigzag(payload, tombstone.start_ms);
    put_zigzag(payload, tombstone.end_ms);
    put_varint(payload, tombstone.matchers.len() as u64);
    for matcher in &tombstone.matchers {
        payload.push((u8::from(matcher.negated) * NEGATED) | (u8::from(matcher.is_regex()) * REGEX));
        put_text(payload, &matcher.name);
        put_text(payload, &matcher.value);
    }
}

fn parse(payload: &[u8]) -> Result<Manifest, Malformed> {
    let mut reader = Reader(payload);
    let (next_block, log, max_ms) = (reader.varint()?, reader.varint()?, reader.zigzag()?);
    let blocks = (0..reader.count()?)
        .map(|_| {
            let (number, resolution_ms) = (reader.varint()?, reader.varint()? as i64);
            Ok(Listed { number, resolution_ms, start_ms: reader.zigzag()?, end_ms: reader.zigzag()? })
        })
        .collect::<Result<_, _>>()?;
    let tombstones = (0..reader.count()?).map(|_| read_tombstone(&mut reader)).collect::<Result<_, _>>()?;
    Ok(Manifest { next_block, log, max_ms, blocks, tombstones })
}

fn read_tombstone(reader: &mut Reader<'_>) -> Result<Tombstone, Malformed> {
    let (newest_block, log) = (reader.varint()?, reader.varint()?);
    let (start_ms, end_ms) = (reader.zigzag()?, reader.zigzag()?);
    let matchers = (0..reader.count()?)
        .map(|_| {
            let kind = reader.u8()?;
            let (name, value) = (reader.text()?, reader.text()?);
            let negated = kind & NEGATED != 0;
            match (kind & REGEX != 0, negated) {
                (true, _) => Matcher::regex(name, value, negated).map_err(|_| Malformed),
                (false, true) => Ok(Matcher::not_equal(name, value)),
                (false, false) => Ok(Matcher::equal(name, value)),
            }
        })
        .collect::<Result<_, _>>()?;
    Ok(Tombstone { newest_block, log, start_ms, end_ms, matchers })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_and_every_byte_counts() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = Manifest {
            next_block: 9,
            log: 4,
            max_ms: -5,
            blocks: vec![Listed { number: 3, resolution_ms: 300_000, start_ms: -1, end_ms: 7 }],
            tombstones: vec![Tombstone {
                newest_block: 3,
                log: 2,
                start_ms: i64::MIN,
                end_ms: i64::MAX,
                matchers: vec![
                    Matcher::equal("a", "b"),
                    Matcher::not_equal("c", ""),
                    Matcher::regex("d", "e|f.*", false).unwrap(),
                    Matcher::regex("g", "h|i", true).unwrap(),
                ],
            }],
        };
        manifest.write(&Disk::default(), dir.path()).unwrap();
        let Found::Whole(read) = Manifest::read(dir.path()).unwrap() else { panic!() };
        assert_eq!(format!("{read:?}"), format!("{manifest:?}"));
        let whole = fs::read(path(dir.path())).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x41;
            fs::write(path(dir.path()), bytes).unwrap();
            assert!(matches!(Manifest::read(dir.path()).unwrap(), Found::Damaged(_)), "byte {at}");
        }
    }
}
