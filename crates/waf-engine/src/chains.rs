//! Chains of transformations: each distinct one once, as its last step after a
//! shorter chain, so that rules with a common beginning share its work.

use rustc_hash::FxHashMap;
use std::sync::Arc;
use waf_text::{ByteSet, Context, Transformation, UnicodeMap};

/// A chain. [`ChainId::NONE`] does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ChainId(pub(crate) u16);

impl ChainId {
    pub(crate) const NONE: Self = Self(0);
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Chain {
    /// The chain without its last transformation.
    pub(crate) before: ChainId,
    pub(crate) last: Transformation,
    /// A text with none of these bytes is not changed by any of it.
    pub(crate) triggers: ByteSet,
    /// Any text may be changed, the empty one too.
    pub(crate) always: bool,
    /// The same of the last transformation alone.
    pub(crate) last_triggers: ByteSet,
}

/// All chains of an engine.
#[derive(Debug)]
pub(crate) struct Chains {
    all: Vec<Chain>,
    beginnings: Vec<Box<[ChainId]>>,
    known: FxHashMap<(ChainId, Transformation), ChainId>,
    unicode: Option<Arc<UnicodeMap>>,
}

impl Chains {
    pub(crate) fn new(unicode: Option<Arc<UnicodeMap>>) -> Self {
        // The empty chain's own entry is never looked at.
        let none = Chain {
            before: ChainId::NONE,
            last: Transformation::Length,
            triggers: ByteSet::EMPTY,
            always: false,
            last_triggers: ByteSet::EMPTY,
        };
        Self { all: vec![none], beginnings: vec![Box::default()], known: FxHashMap::default(), unicode }
    }

    #[inline]
    pub(crate) fn get(&self, id: ChainId) -> &Chain {
        &self.all[id.0 as usize]
    }

    /// The chain of these transformations.
    pub(crate) fn add(&mut self, transformations: &[Transformation]) -> ChainId {
        transformations.iter().fold(ChainId::NONE, |before, &last| {
            if let Some(&id) = self.known.get(&(before, last)) {
                return id;
            }
            let id = ChainId(self.all.len() as u16);
            let triggers = self.get(before).triggers.union(&last.triggers());
            let last_triggers = last.triggers();
            self.all.push(Chain { before, last, triggers, always: triggers == ByteSet::ALL, last_triggers });
            let mut beginnings = self.beginnings[before.0 as usize].to_vec();
            beginnings.push(id);
            self.beginnings.push(beginnings.into());
            self.known.insert((before, last), id);
            id
        })
    }

    /// The chains that a chain begins with, shortest first, itself last.
    pub(crate) fn beginnings(&self, id: ChainId) -> &[ChainId] {
        &self.beginnings[id.0 as usize]
    }

    /// The transformations of a chain, in order.
    pub(crate) fn steps(&self, mut id: ChainId) -> Vec<Transformation> {
        let mut steps = Vec::new();
        while id != ChainId::NONE {
            steps.push(self.get(id).last);
            id = self.get(id).before;
        }
        steps.reverse();
        steps
    }

    pub(crate) fn apply(&self, by: Transformation, value: &[u8], out: &mut Vec<u8>) -> bool {
        by.apply_with(value, out, &Context { unicode_map: self.unicode.as_deref() })
    }
}
