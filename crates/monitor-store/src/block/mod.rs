//! Block files (docs/formats/store-block.md).

mod chunk;
mod read;
mod symbols;
mod tables;
mod write;

pub(crate) use chunk::Rolled;
pub(crate) use read::{Block, BlockReader, ChunkPlace, Tools};
pub(crate) use tables::{SeriesCursor, Tables};
pub(crate) use write::BlockWriter;

const MAGIC: &[u8; 8] = b"bastblk\x02";

/// Tables of a block, in their order in the file.
const TABLES: usize = 12;
const SYMBOL_ENDS: usize = 0;
const SYMBOL_TEXT: usize = 1;
const NAMES: usize = 2;
const VALUES: usize = 3;
const POSTINGS: usize = 4;
const LABEL_PAGES: usize = 5;
const LABEL_TEXT: usize = 6;
const FIRST_CHUNKS: usize = 7;
const CHUNKS: usize = 8;
const GROUPS: usize = 9;
const COLUMN_TABLE: usize = 10;
const REPLACES: usize = 11;

const FOOTER: usize = TABLES * 16 + 8 * 8 + 16;
/// Series of a page of labels.
const PAGE: usize = 16;
const GROUP_ROW: usize = 16;
const COLUMN_ROW: usize = 40;

/// What a block says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct About {
    /// Numbers only grow.
    pub(crate) number: u64,
    /// The smallest number among the blocks it was merged from: what is in the
    /// block with the smaller one was acknowledged first.
    pub(crate) first: u64,
    /// 0: raw samples.
    pub(crate) resolution_ms: i64,
    pub(crate) start_ms: i64,
    /// Inclusive.
    pub(crate) end_ms: i64,
    pub(crate) samples: u64,
    pub(crate) series: u64,
    /// What log files before this one have is in this block or older ones.
    pub(crate) log: u64,
}

/// The file name of a block.
pub(crate) fn file_name(number: u64) -> String {
    format!("{number:08}.blk")
}
