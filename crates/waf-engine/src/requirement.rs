//! What every match of an operator needs: how long the value is at least, and
//! sets of bytes of each of which it has at least one. Most values lack something
//! that most rules need, so most pairs of the two are never looked at.

use regex_syntax::hir::{Class, Hir, HirKind};
use waf_text::{ByteSet, Transformation};

/// Sets kept for one operator.
pub(crate) const SETS: usize = 6;

/// Sets kept while parts are put together.
const KEPT: usize = 16;

/// What a value needs in order to match. The default says nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Requirement {
    /// Bytes at least.
    pub(crate) min_len: usize,
    /// Each has a byte in common with every value that matches; rarest first.
    pub(crate) sets: Vec<ByteSet>,
    /// Every value that matches has one of these.
    pub(crate) grams: Option<Vec<crate::grams::Gram>>,
}

impl Requirement {
    /// Of a regular expression.
    pub(crate) fn of(hir: &Hir) -> Self {
        let mut requirement = of_hir(hir);
        requirement.trim(SETS);
        requirement.grams = crate::grams::of_hir(hir);
        requirement
    }

    /// Of a text that the value contains, in any case of its letters if so told.
    pub(crate) fn literal(text: &[u8], any_case: bool) -> Self {
        let set = |&byte: &u8| {
            let mut set = ByteSet::EMPTY;
            set.insert(byte);
            if any_case {
                set.insert(byte.to_ascii_lowercase());
                set.insert(byte.to_ascii_uppercase());
            }
            set
        };
        let mut requirement = Self { min_len: text.len(), sets: text.iter().map(set).collect(), grams: None };
        requirement.trim(KEPT);
        requirement
    }

    /// Of one of several texts.
    pub(crate) fn any_literal<'t>(texts: impl Iterator<Item = &'t [u8]> + Clone) -> Self {
        let grams = crate::grams::of_literals(texts.clone());
        let mut requirement =
            either(texts.map(|text| Self::literal(text, true)).collect::<Vec<_>>()).unwrap_or_default();
        requirement.trim(SETS);
        requirement.grams = grams;
        requirement
    }

    /// Of a value that has what one of several asks for.
    pub(crate) fn any(branches: Vec<Self>) -> Self {
        let mut requirement = either(branches).unwrap_or_default();
        requirement.trim(SETS);
        requirement
    }

    /// Of a byte out of a set, and no more.
    pub(crate) fn one_of(set: ByteSet) -> Self {
        Self { min_len: 1, sets: vec![set], grams: None }
    }

    /// What the value needs before the transformations, so that it has the rest after.
    /// Grams stay those of the value after them.
    pub(crate) fn before(&self, transformations: &[Transformation]) -> Self {
        let mut requirement = self.clone();
        for transformation in transformations.iter().rev() {
            requirement.min_len = transformation.min_input_len(requirement.min_len);
            for set in &mut requirement.sets {
                *set = transformation.sources(set);
            }
        }
        requirement.sets.retain(|set| *set != ByteSet::ALL);
        requirement.trim(SETS);
        requirement
    }

    /// Whether a value of these bytes and this length can match.
    #[inline]
    pub(crate) fn allows(&self, bytes: &ByteSet, len: usize) -> bool {
        len >= self.min_len && self.sets.iter().all(|set| set.meets(bytes))
    }

    /// Rarest first, none that another implies, at most `most`.
    fn trim(&mut self, most: usize) {
        self.sets.sort_by_cached_key(|set| (weight(set), set.0));
        let mut kept: Vec<ByteSet> = Vec::new();
        for set in &self.sets {
            let implied = kept.iter().any(|k| k.intersection(set) == *k);
            if !implied {
                kept.push(*set);
            }
            if kept.len() == most {
                break;
            }
        }
        self.sets = kept;
    }
}

/// How likely a benign value has a byte of a set: the sum of the bytes' shares.
fn weight(set: &ByteSet) -> u32 {
    let mut sum = 0;
    for (quarter, mut bits) in set.0.into_iter().enumerate() {
        while bits != 0 {
            sum += SHARES[quarter * 64 + bits.trailing_zeros() as usize];
            bits &= bits - 1;
        }
    }
    sum
}

const SHARES: [u32; 256] = {
    let mut shares = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        shares[byte] = share(byte as u8);
        byte += 1;
    }
    shares
};

/// How often a byte occurs in benign values, roughly, in parts of a thousand.
/// Letters and digits after the frequencies in English text and in numbers,
/// punctuation after what URLs, dates and JSON hold.
pub(crate) const fn share(byte: u8) -> u32 {
    match byte {
        b'e' | b'a' | b'i' | b'o' | b'n' | b't' | b's' | b'r' => 300,
        b'l' | b'c' | b'd' | b'u' | b'm' | b'p' | b'h' => 200,
        b'g' | b'b' | b'y' | b'f' | b'w' | b'v' | b'k' => 100,
        b'x' | b'j' | b'q' | b'z' => 40,
        b'0'..=b'2' => 300,
        b'3'..=b'9' => 200,
        b'A'..=b'Z' => 60,
        b' ' | b'.' => 250,
        b'-' | b'_' | b'/' => 150,
        b':' | b',' | b'@' | b'=' => 60,
        b'%' | b'+' | b'&' | b'?' => 30,
        b'"' | b'\'' | b'(' | b')' | b';' => 20,
        b'\r' | b'\n' | b'\t' => 10,
        0x80..=0xff => 3,
        _ => 8,
    }
}

fn of_hir(hir: &Hir) -> Requirement {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Requirement::default(),
        HirKind::Literal(literal) => Requirement::literal(&literal.0, false),
        HirKind::Class(Class::Bytes(class)) => {
            let mut set = ByteSet::EMPTY;
            for range in class.ranges() {
                set = set.union(&ByteSet::range(range.start(), range.end()));
            }
            Requirement::one_of(set)
        }
        HirKind::Class(Class::Unicode(_)) => Requirement { min_len: 1, ..Requirement::default() },
        HirKind::Repetition(repetition) => match repetition.min {
            0 => Requirement::default(),
            min => {
                let mut inner = of_hir(&repetition.sub);
                inner.min_len = inner.min_len.saturating_mul(min as usize);
                inner
            }
        },
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Concat(parts) => {
            let mut all = Requirement::default();
            for part in parts {
                let part = of_hir(part);
                all.min_len = all.min_len.saturating_add(part.min_len);
                all.sets.extend(part.sets);
            }
            all.trim(KEPT);
            all
        }
        HirKind::Alternation(branches) => either(branches.iter().map(of_hir).collect()).unwrap_or_default(),
    }
}

/// What is needed when one of several is: unions of one set of each.
fn either(mut branches: Vec<Requirement>) -> Option<Requirement> {
    let min_len = branches.iter().map(|branch| branch.min_len).min()?;
    // From the branch with the fewest sets on: its sets decide how many unions there are.
    branches.sort_by_key(|branch| branch.sets.len());
    let mut sets = Vec::new();
    if branches[0].sets.is_empty() {
        return Some(Requirement { min_len, sets, grams: None });
    }
    for set in &branches[0].sets {
        let mut union = *set;
        for branch in &branches[1..] {
            let best = branch.sets.iter().min_by_key(|other| weight(&union.union(other)))?;
            union = union.union(best);
        }
        sets.push(union);
    }
    // Another way: the rarest of each branch.
    let rarest = branches
        .iter()
        .try_fold(ByteSet::EMPTY, |union, branch| branch.sets.first().map(|set| union.union(set)));
    sets.extend(rarest);
    let mut requirement = Requirement { min_len, sets, grams: None };
    requirement.sets.retain(|set| *set != ByteSet::ALL);
    requirement.trim(KEPT);
    Some(requirement)
}
