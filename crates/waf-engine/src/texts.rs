//! Every text that a transaction looks at, each once, in one piece of memory that
//! a worker uses again and again.

use crate::chains::{ChainId, Chains};
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};
use waf_text::{ByteSet, Transformation};

/// One text. Equal texts have equal ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct TextId(pub(crate) u32);

impl TextId {
    /// The empty text, which is always there.
    pub(crate) const EMPTY: Self = Self(0);
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    start: u32,
    len: u32,
    pub(crate) bytes: ByteSet,
    /// The newest transformed form: a list through [`Form::next`].
    forms: u32,
    /// Where the candidates of the phase that runs are, plus one; 0 for not yet.
    pub(crate) candidates: u32,
    /// For which steps those were asked.
    pub(crate) asked: u32,
    /// The same of the steps of whose grams it has one.
    pub(crate) grams: u32,
}

/// What a transformation makes of a text.
#[derive(Clone, Copy, Debug)]
struct Form {
    by: Transformation,
    to: TextId,
    next: u32,
}

const NONE: u32 = u32::MAX;

/// The texts of one transaction.
#[derive(Debug)]
pub(crate) struct Texts {
    memory: Vec<u8>,
    all: Vec<Text>,
    table: HashTable<u32>,
    seed: foldhash::fast::RandomState,
    forms: Vec<Form>,
    scratch: Vec<u8>,
    /// Bytes that transformations and operators have looked at.
    pub(crate) inspected: u64,
    /// Bytes of memory that may be used; what is beyond is not kept.
    pub(crate) memory_max: usize,
    /// Whether something was not kept.
    pub(crate) overflowed: bool,
}

impl Default for Texts {
    fn default() -> Self {
        let mut texts = Self {
            memory: Vec::new(),
            all: Vec::new(),
            table: HashTable::new(),
            seed: foldhash::fast::RandomState::default(),
            forms: Vec::new(),
            scratch: Vec::new(),
            inspected: 0,
            memory_max: usize::MAX,
            overflowed: false,
        };
        texts.clear(usize::MAX);
        texts
    }
}

/// Memory kept between transactions; a larger one's is given back.
const KEPT: usize = 1 << 20;

impl Texts {
    /// Forgets all texts, for a new transaction.
    pub(crate) fn clear(&mut self, memory_max: usize) {
        self.memory.clear();
        self.all.clear();
        self.table.clear();
        self.forms.clear();
        if self.memory.capacity() > KEPT {
            self.memory.shrink_to(KEPT);
        }
        if self.scratch.capacity() > KEPT {
            self.scratch = Vec::new();
        }
        if self.table.capacity() > KEPT / 64 {
            self.table = HashTable::new();
            self.all.shrink_to(KEPT / 64);
            self.forms.shrink_to(KEPT / 64);
        }
        self.inspected = 0;
        self.memory_max = memory_max;
        self.overflowed = false;
        self.intern(b"");
    }

    /// How many there are: where [`Self::back_to`] may come back to.
    pub(crate) fn mark(&self) -> usize {
        self.all.len()
    }

    /// Forgets the texts that came since a mark, and what became of those before.
    pub(crate) fn back_to(&mut self, mark: usize) {
        self.table.retain(|id| (*id as usize) < mark);
        self.all.truncate(mark);
        self.memory.truncate(self.all.last().map_or(0, |last| (last.start + last.len) as usize));
        self.forms.clear();
        for text in &mut self.all {
            text.forms = NONE;
        }
        self.forget_candidates();
        self.inspected = 0;
        self.overflowed = false;
    }

    /// The bytes of a text.
    #[inline]
    pub(crate) fn get(&self, id: TextId) -> &[u8] {
        let text = &self.all[id.0 as usize];
        &self.memory[text.start as usize..(text.start + text.len) as usize]
    }

    #[inline]
    pub(crate) fn text(&self, id: TextId) -> &Text {
        &self.all[id.0 as usize]
    }

    pub(crate) fn len_of(&self, id: TextId) -> usize {
        self.all[id.0 as usize].len as usize
    }

    pub(crate) fn set_candidates(&mut self, id: TextId, at: u32, asked: u32) {
        let text = &mut self.all[id.0 as usize];
        text.candidates = at;
        text.asked = asked;
    }

    pub(crate) fn set_grams(&mut self, id: TextId, at: u32) {
        self.all[id.0 as usize].grams = at;
    }

    /// For a new phase: no candidates are known.
    pub(crate) fn forget_candidates(&mut self) {
        for text in &mut self.all {
            text.candidates = 0;
            text.grams = 0;
        }
    }

    /// The id of a text, which is kept if it is new.
    pub(crate) fn intern(&mut self, bytes: &[u8]) -> TextId {
        let hash = hash(&self.seed, bytes);
        let (memory, all) = (&self.memory, &self.all);
        let found = self.table.find(hash, |&id| {
            let text = &all[id as usize];
            text.len as usize == bytes.len() && &memory[text.start as usize..][..bytes.len()] == bytes
        });
        if let Some(&id) = found {
            return TextId(id);
        }
        if self.memory.len() + bytes.len() > self.memory_max.min(u32::MAX as usize / 2) {
            self.overflowed = true;
            return TextId::EMPTY;
        }
        let start = self.memory.len() as u32;
        self.memory.extend_from_slice(bytes);
        self.push(hash, start, bytes.len() as u32)
    }

    fn push(&mut self, hash: u64, start: u32, len: u32) -> TextId {
        let id = self.all.len() as u32;
        let bytes = ByteSet::of(&self.memory[start as usize..]);
        self.all.push(Text { start, len, bytes, forms: NONE, candidates: 0, asked: 0, grams: 0 });
        let (memory, all, seed) = (&self.memory, &self.all, &self.seed);
        self.table.insert_unique(hash, id, |&other| {
            let text = &all[other as usize];
            self::hash(seed, &memory[text.start as usize..][..text.len as usize])
        });
        TextId(id)
    }

    /// What a chain of transformations makes of a text.
    #[inline]
    pub(crate) fn transformed(&mut self, id: TextId, chain: ChainId, chains: &Chains) -> TextId {
        let link = chains.get(chain);
        if !link.always && !link.triggers.meets(&self.all[id.0 as usize].bytes) {
            return id;
        }
        self.transform(id, chain, chains)
    }

    fn transform(&mut self, id: TextId, chain: ChainId, chains: &Chains) -> TextId {
        let before = self.transformed(id, chains.get(chain).before, chains);
        self.step(before, chain, chains)
    }

    /// What the last transformation of a chain makes of what those before it made.
    #[inline]
    pub(crate) fn step(&mut self, before: TextId, chain: ChainId, chains: &Chains) -> TextId {
        let link = chains.get(chain);
        let text = &self.all[before.0 as usize];
        if link.last_triggers != ByteSet::ALL && !link.last_triggers.meets(&text.bytes) {
            return before;
        }
        self.form(before, link.last, chains)
    }

    fn form(&mut self, before: TextId, by: Transformation, chains: &Chains) -> TextId {
        let mut form = self.all[before.0 as usize].forms;
        while form != NONE {
            let known = self.forms[form as usize];
            if known.by == by {
                return known.to;
            }
            form = known.next;
        }
        let to = self.apply(before, by, chains);
        let next = self.all[before.0 as usize].forms;
        self.all[before.0 as usize].forms = self.forms.len() as u32;
        self.forms.push(Form { by, to, next });
        to
    }

    /// One transformation; the id is the same where it changes nothing.
    fn apply(&mut self, id: TextId, by: Transformation, chains: &Chains) -> TextId {
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        self.inspected += u64::from(self.all[id.0 as usize].len);
        let changed = chains.apply(by, self.get(id), &mut scratch);
        let to = if changed { self.intern(&scratch) } else { id };
        self.scratch = scratch;
        to
    }
}

/// A hash whose seed a client does not know, so that it cannot choose texts that collide.
fn hash(seed: &foldhash::fast::RandomState, bytes: &[u8]) -> u64 {
    let mut hasher = seed.build_hasher();
    hasher.write(bytes);
    hasher.finish()
}
