//! Which rules a value can match at all: one pass over the distinct bytes of a
//! text answers it for all rules of a phase at once.
//!
//! For each byte there are [`SETS`] rows of bits, one bit a step of the phase: in
//! row *i* the bit of a step is set if the byte is in the *i*-th set that the
//! step's operator needs (all sets, where it needs fewer). The rows of a text's
//! bytes are united, then the rows of the result intersected. What a rule needs is
//! translated back through its transformations, so that this looks at the text as
//! it came, and most texts are never transformed.

use crate::grams::{self, Gram};
use crate::program::{Known, ListId, NOT_LOOKED_UP, Part, UNKNOWN};
use crate::requirement::{Requirement, SETS};
use waf_text::ByteSet;

/// Hashes of grams told apart.
const GRAMS: usize = 4_096;

#[inline]
fn hash(gram: Gram) -> usize {
    (gram.wrapping_mul(0x9E37_79B1) >> 20) as usize
}

/// So few steps are looked at one by one.
const FEW: u32 = 12;

/// Lengths told apart.
const LENGTHS: usize = 48;

/// The filter of one phase.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    /// 64-bit words for one row.
    pub(crate) words: usize,
    /// `[byte][set][word]`.
    rows: Vec<u64>,
    /// `[length][word]`: steps that are content with it.
    lengths: Vec<u64>,
    /// `[byte][word]`: steps whose chains a byte triggers to do more than change case.
    disturbed: Vec<u64>,
    /// `[hash of a gram][word]`.
    grams: Vec<u64>,
    /// Steps that no gram is needed for.
    gramless: Vec<u64>,
    /// By step, what the rows say together.
    needs: Vec<Requirement>,
    /// Steps that always run.
    pub(crate) always: Vec<u64>,
    /// The lists that filtered steps look at, and who looks at what of them.
    pub(crate) watched: Vec<Watched>,
}

/// One part of one list, and the steps that look at it.
#[derive(Debug)]
pub(crate) struct Watched {
    pub(crate) list: ListId,
    pub(crate) part: Part,
    /// By an entry of any name that is not below.
    pub(crate) steps: Lookers,
    /// By an entry of a known name.
    pub(crate) named: Vec<(Known, Lookers)>,
}

impl Watched {
    /// Who looks at an entry of this name.
    #[inline]
    pub(crate) fn lookers(&self, name: Known) -> &Lookers {
        if name == UNKNOWN || name == NOT_LOOKED_UP {
            return &self.steps;
        }
        self.named.iter().find(|(known, _)| *known == name).map_or(&self.steps, |(_, lookers)| lookers)
    }
}

/// Steps that look at something.
#[derive(Debug)]
pub(crate) struct Lookers {
    pub(crate) steps: Vec<u64>,
    /// Tells them from others of the filter.
    pub(crate) number: u32,
}

/// One step that is filtered.
pub(crate) struct Filtered {
    pub(crate) step: usize,
    pub(crate) needs: Requirement,
    /// Bytes that make its chain do more than change case.
    pub(crate) disturbed_by: ByteSet,
    /// What it looks at: list, part, the only name, names left out.
    pub(crate) looks: Vec<Look>,
}

pub(crate) struct Look {
    pub(crate) list: ListId,
    pub(crate) part: Part,
    pub(crate) only: Option<Known>,
    pub(crate) not: Vec<Known>,
}

impl Filter {
    /// Of `count` steps, of which those not filtered always run.
    pub(crate) fn new(count: usize, filtered: &[Filtered]) -> Self {
        let words = count.div_ceil(64);
        let mut filter = Self {
            words,
            rows: vec![0; 256 * SETS * words],
            lengths: vec![0; LENGTHS * words],
            disturbed: vec![0; 256 * words],
            grams: vec![0; GRAMS * words],
            gramless: vec![u64::MAX; words],
            needs: vec![Requirement::default(); count],
            always: vec![0; words],
            watched: Vec::new(),
        };
        (0..count).for_each(|step| set(&mut filter.always, step));
        for one in filtered {
            filter.always[one.step >> 6] &= !(1 << (one.step & 63));
            filter.need(one);
        }
        filter.watch(filtered);
        filter
    }

    fn need(&mut self, one: &Filtered) {
        let words = self.words;
        self.needs[one.step] = Requirement { grams: None, ..one.needs.clone() };
        for index in 0..SETS {
            let bytes = one.needs.sets.get(index).copied().unwrap_or(ByteSet::ALL);
            for byte in bytes.iter() {
                set(&mut self.rows[(byte as usize * SETS + index) * words..][..words], one.step);
            }
        }
        for byte in one.disturbed_by.iter() {
            set(&mut self.disturbed[byte as usize * words..][..words], one.step);
        }
        if let Some(grams) = &one.needs.grams {
            self.gramless[one.step >> 6] &= !(1 << (one.step & 63));
            for &gram in grams {
                set(&mut self.grams[hash(gram) * words..][..words], one.step);
            }
        }
        for len in one.needs.min_len.min(LENGTHS - 1)..LENGTHS {
            set(&mut self.lengths[len * words..][..words], one.step);
        }
    }

    fn watch(&mut self, filtered: &[Filtered]) {
        let words = self.words;
        // Every name that some step treats in its own way, by list and part.
        let mut names: Vec<((ListId, Part), Vec<Known>)> = Vec::new();
        for look in filtered.iter().flat_map(|one| &one.looks) {
            let key = (look.list, look.part);
            let at = names.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
                names.push((key, Vec::new()));
                names.len() - 1
            });
            names[at].1.extend(look.only.iter().chain(&look.not).copied());
        }
        // Values are looked at in the order in which rules that are not filtered look.
        names.sort_by_key(|((list, _), _)| *list);
        for ((list, part), names) in names {
            let mut number = self.watched.iter().map(|w| w.named.len() as u32 + 1).sum::<u32>();
            let mut blank = || {
                number += 1;
                Lookers { steps: vec![0; words], number }
            };
            let steps = blank();
            let mut named: Vec<(Known, Lookers)> = Vec::new();
            for name in names {
                if named.iter().all(|(known, _)| *known != name) {
                    named.push((name, blank()));
                }
            }
            let mut watched = Watched { list, part, steps, named };
            for one in filtered {
                for look in one.looks.iter().filter(|look| look.list == list && look.part == part) {
                    if look.only.is_none() {
                        set(&mut watched.steps.steps, one.step);
                    }
                    for (name, steps) in &mut watched.named {
                        let looks =
                            look.only.as_ref().is_none_or(|only| only == name) && !look.not.contains(name);
                        if looks {
                            set(&mut steps.steps, one.step);
                        }
                    }
                }
            }
            self.watched.push(watched);
        }
    }

    /// Appends to `out` those of the steps asked for whose needs a text meets, as far as
    /// can be told before it is transformed; true where what [`Self::grams`] says of it
    /// stands behind them.
    pub(crate) fn candidates(&self, text: &[u8], bytes: &ByteSet, asked: &[u64], out: &mut Vec<u64>) -> bool {
        match self.words {
            1 => self.fixed::<1>(text, bytes, asked, out),
            2 => self.fixed::<2>(text, bytes, asked, out),
            3 => self.fixed::<3>(text, bytes, asked, out),
            4 => self.fixed::<4>(text, bytes, asked, out),
            5 => self.fixed::<5>(text, bytes, asked, out),
            6 => self.fixed::<6>(text, bytes, asked, out),
            words => {
                (0..words).for_each(|word| out.push(self.one_word(bytes, text.len(), word) & asked[word]));
                false
            }
        }
    }

    /// Appends to `out` the steps of whose grams a text, as an operator sees it, has one.
    pub(crate) fn grams(&self, text: &[u8], out: &mut Vec<u64>) {
        match self.words {
            1 => out.extend(self.grams_of::<1>(text)),
            2 => out.extend(self.grams_of::<2>(text)),
            3 => out.extend(self.grams_of::<3>(text)),
            4 => out.extend(self.grams_of::<4>(text)),
            5 => out.extend(self.grams_of::<5>(text)),
            6 => out.extend(self.grams_of::<6>(text)),
            words => out.extend(std::iter::repeat_n(u64::MAX, words)),
        }
    }

    fn grams_of<const WORDS: usize>(&self, text: &[u8]) -> [u64; WORDS] {
        if text.len() > grams::TEXT_MAX {
            return [u64::MAX; WORDS];
        }
        let mut all = [0; WORDS];
        all.copy_from_slice(&self.gramless[..WORDS]);
        let (rows, _) = self.grams.as_chunks::<WORDS>();
        grams::each(text, |gram| {
            if let Some(row) = rows.get(hash(gram)) {
                for (all, row) in all.iter_mut().zip(row) {
                    *all |= row;
                }
            }
        });
        all
    }

    /// The same with the number of words known to the compiler.
    fn fixed<const WORDS: usize>(
        &self,
        text: &[u8],
        bytes: &ByteSet,
        asked: &[u64],
        out: &mut Vec<u64>,
    ) -> bool {
        let mut all = [0; WORDS];
        for ((all, length), asked) in
            all.iter_mut().zip(&self.lengths[text.len().min(LENGTHS - 1) * WORDS..]).zip(asked)
        {
            *all = length & asked;
        }
        if text.is_empty() {
            out.extend_from_slice(&all);
            return false;
        }
        // For a few steps, looking at each is less than the pass over the rows.
        if all.iter().map(|word| word.count_ones()).sum::<u32>() <= FEW {
            self.one_by_one(text, bytes, &mut all);
            out.extend_from_slice(&all);
            return false;
        }
        let mut united = [[0u64; WORDS]; SETS];
        let mut disturbed = [0u64; WORDS];
        let (rows, _) = self.rows.as_chunks::<WORDS>();
        let (disturbing, _) = self.disturbed.as_chunks::<WORDS>();
        for (quarter, mut bits) in bytes.0.into_iter().enumerate() {
            while bits != 0 {
                let byte = quarter * 64 + bits.trailing_zeros() as usize;
                bits &= bits - 1;
                let (Some(row), Some(more)) =
                    (rows.get(byte * SETS..(byte + 1) * SETS), disturbing.get(byte))
                else {
                    continue;
                };
                for (united, row) in united.iter_mut().zip(row) {
                    for (word, bits) in united.iter_mut().zip(row) {
                        *word |= bits;
                    }
                }
                for (word, bits) in disturbed.iter_mut().zip(more) {
                    *word |= bits;
                }
            }
        }
        for row in &united {
            for (all, row) in all.iter_mut().zip(row) {
                *all &= row;
            }
        }
        let calm: u32 = all
            .iter()
            .zip(&disturbed)
            .zip(&self.gramless)
            .map(|((a, d), g)| (a & !d & !g).count_ones())
            .sum();
        // One or two operators are not dearer than this pass, unless the text is short.
        let pays = if text.len() <= grams::SHORT { 1 } else { 3 };
        if calm < pays {
            out.extend_from_slice(&all);
            return false;
        }
        let grams = self.grams_of::<WORDS>(text);
        for ((all, grams), disturbed) in all.iter_mut().zip(grams).zip(disturbed) {
            *all &= grams | disturbed;
        }
        out.extend_from_slice(&all);
        out.extend_from_slice(&grams);
        true
    }

    fn one_by_one(&self, text: &[u8], bytes: &ByteSet, all: &mut [u64]) {
        for (index, word) in all.iter_mut().enumerate() {
            let mut left = *word;
            while left != 0 {
                let bit = left.trailing_zeros();
                left &= left - 1;
                let allowed = self
                    .needs
                    .get(index * 64 + bit as usize)
                    .is_none_or(|needs| needs.allows(bytes, text.len()));
                if !allowed {
                    *word &= !(1 << bit);
                }
            }
        }
    }

    fn one_word(&self, bytes: &ByteSet, len: usize, word: usize) -> u64 {
        if bytes.is_empty() {
            return self.of_empty(word);
        }
        let mut all = self.lengths[len.min(LENGTHS - 1) * self.words + word];
        for index in 0..SETS {
            let united = bytes
                .iter()
                .fold(0, |bits, byte| bits | self.rows[(byte as usize * SETS + index) * self.words + word]);
            all &= united;
        }
        all
    }

    /// An empty text has no byte of any row: whoever asks for nothing may match it.
    fn of_empty(&self, word: usize) -> u64 {
        self.lengths.get(word).copied().unwrap_or(0)
    }
}

pub(crate) fn set(bits: &mut [u64], at: usize) {
    bits[at >> 6] |= 1 << (at & 63);
}
