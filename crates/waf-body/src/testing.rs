//! What the tests of every processor share.

use crate::{File, Full, Sink};

/// A sink that keeps everything, up to `room` things.
pub(crate) struct Collected {
    pub(crate) args: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) files: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)>,
    pub(crate) headers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) names: Vec<Vec<u8>>,
    pub(crate) filenames: Vec<Vec<u8>>,
    pub(crate) room: usize,
}

impl Default for Collected {
    fn default() -> Self {
        Self {
            args: Vec::new(),
            files: Vec::new(),
            headers: Vec::new(),
            names: Vec::new(),
            filenames: Vec::new(),
            room: usize::MAX,
        }
    }
}

pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Collected {
    fn take_room(&mut self) -> Result<(), Full> {
        self.room = self.room.checked_sub(1).ok_or(Full)?;
        Ok(())
    }

    pub(crate) fn args(&self) -> Vec<(String, String)> {
        self.args.iter().map(|(name, value)| (lossy(name), lossy(value))).collect()
    }

    /// `name=value`, one on each line.
    pub(crate) fn lines(&self) -> String {
        let lines: Vec<_> = self.args().into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        lines.join("\n")
    }

    /// Bytes kept in all.
    pub(crate) fn size(&self) -> usize {
        let pairs = self.args.iter().chain(&self.headers);
        pairs.map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + self.files.iter().map(|file| file.2.len()).sum::<usize>()
    }
}

impl Sink for Collected {
    fn arg(&mut self, name: &[u8], value: &[u8]) -> Result<(), Full> {
        self.take_room()?;
        self.args.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
    fn file(&mut self, file: File<'_>) -> Result<(), Full> {
        self.take_room()?;
        let File { field, filename, extended, content } = file;
        if let Some(extended) = extended {
            self.filenames.push(extended.to_vec());
        }
        self.files.push((field.to_vec(), filename.to_vec(), content.to_vec()));
        Ok(())
    }
    fn part_header(&mut self, part: &[u8], line: &[u8]) -> Result<(), Full> {
        self.take_room()?;
        self.headers.push((part.to_vec(), line.to_vec()));
        Ok(())
    }
    fn part_name(&mut self, name: &[u8]) -> Result<(), Full> {
        self.names.push(name.to_vec());
        Ok(())
    }
    fn part_filename(&mut self, filename: &[u8]) -> Result<(), Full> {
        self.filenames.push(filename.to_vec());
        Ok(())
    }
}

/// A small generator of test inputs (SplitMix64): the seed in a failing test is
/// all that is needed to run it again.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    /// Up to `longest` bytes of `alphabet`.
    pub(crate) fn text(&mut self, alphabet: &[u8], longest: usize) -> Vec<u8> {
        let length = self.below(longest + 1);
        (0..length).map(|_| alphabet[self.below(alphabet.len())]).collect()
    }

    /// Up to `most` of `pieces`, one after another.
    pub(crate) fn pieces(&mut self, pieces: &[&[u8]], most: usize) -> Vec<u8> {
        let count = self.below(most + 1);
        let mut out = Vec::new();
        for _ in 0..count {
            out.extend_from_slice(pieces[self.below(pieces.len())]);
        }
        out
    }

    /// `text` with a few bytes changed, removed, repeated or cut off.
    pub(crate) fn mutate(&mut self, text: &[u8]) -> Vec<u8> {
        let mut out = text.to_vec();
        for _ in 0..1 + self.below(3) {
            if out.is_empty() {
                break;
            }
            let at = self.below(out.len());
            match self.below(5) {
                0 => out[at] = self.next() as u8,
                1 => {
                    out.remove(at);
                }
                2 => {
                    let to = at + self.below(out.len() - at);
                    let copy = out[at..to].to_vec();
                    out.splice(at..at, copy);
                }
                3 => out.truncate(at),
                _ => out[at] ^= 1 << self.below(8),
            }
        }
        out
    }
}
