//! Files seen as memory.

#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Deref;

/// A part of a file as memory, read only. The pages come and go as the kernel
/// likes; they are not the process' own memory.
#[derive(Debug)]
pub struct Map(memmap2::Mmap);

impl Map {
    /// Maps `length` bytes of a file from `offset` on.
    ///
    /// The file must be one that nobody changes or shortens as long as the map
    /// lives: an immutable file in a directory of ours, which is only ever
    /// deleted whole. Reading what another process cut off ends the process
    /// (SIGBUS), and bytes that change under a reader may be read twice
    /// differently; a caller parses what it reads accordingly, as from a disk.
    pub fn of(file: &File, offset: u64, length: usize) -> io::Result<Self> {
        // SAFETY: the map is read only, and as the contract above says the file
        // is not changed while it lives.
        let map = unsafe { memmap2::MmapOptions::new().offset(offset).len(length).map(file) }?;
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn shows_a_part_of_a_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&[7; 5_000]).unwrap();
        file.write_all(b"bastide").unwrap();
        let map = Map::of(&file, 4_998, 6).unwrap();
        assert_eq!(&map[..], b"\x07\x07bast");
    }
}
