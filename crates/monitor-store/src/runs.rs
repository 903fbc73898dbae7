//! Sets of numbers as ascending runs: what an inverted index answers.

use std::ops::Range;

/// Numbers, as runs that ascend and do not touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Runs(Vec<Range<u32>>);

impl Runs {
    /// All numbers below a count.
    pub(crate) fn all(count: u32) -> Self {
        Self(if count == 0 { vec![] } else { std::iter::once(0..count).collect() })
    }

    /// All numbers of some runs, in any order.
    pub(crate) fn union(mut runs: Vec<Range<u32>>) -> Self {
        runs.retain(|run| !run.is_empty());
        if !runs.is_sorted_by_key(|run| run.start) {
            runs.sort_unstable_by_key(|run| run.start);
        }
        let mut joined: Vec<Range<u32>> = Vec::with_capacity(runs.len());
        for run in runs {
            match joined.last_mut() {
                Some(last) if run.start <= last.end => last.end = last.end.max(run.end),
                _ => joined.push(run),
            }
        }
        Self(joined)
    }

    /// How many numbers there are.
    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(ExactSizeIterator::len).sum()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().cloned().flatten()
    }

    /// The numbers that both have.
    pub(crate) fn and(&self, other: &Self) -> Self {
        let mut both = Vec::new();
        let (mut a, mut b) = (self.0.iter().peekable(), other.0.iter().peekable());
        while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
            let (start, end) = (x.start.max(y.start), x.end.min(y.end));
            if start < end {
                both.push(start..end);
            }
            if x.end <= y.end {
                a.next();
            } else {
                b.next();
            }
        }
        Self(both)
    }

    /// The numbers that the other does not have.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut cuts = other.0.iter().peekable();
        for run in &self.0 {
            let mut start = run.start;
            while let Some(cut) = cuts.peek() {
                if cut.start >= run.end {
                    break;
                }
                if cut.start > start {
                    left.push(start..cut.start);
                }
                start = start.max(cut.end);
                if cut.end > run.end {
                    break;
                }
                cuts.next();
            }
            if start < run.end {
                left.push(start..run.end);
            }
        }
        Self(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn sets_as_sets(
            a in prop::collection::vec((0u32..60, 0u32..6), 0..20),
            b in prop::collection::vec((0u32..60, 0u32..6), 0..20),
        ) {
            let runs = |list: &[(u32, u32)]| Runs::union(list.iter().map(|(s, l)| *s..s + l).collect());
            let set = |runs: &Runs| runs.iter().collect::<BTreeSet<u32>>();
            let (a, b) = (runs(&a), runs(&b));
            let list = |set: BTreeSet<u32>| set.into_iter().collect::<Vec<_>>();
            prop_assert_eq!(a.and(&b).iter().collect::<Vec<_>>(), list(&set(&a) & &set(&b)));
            prop_assert_eq!(a.without(&b).iter().collect::<Vec<_>>(), list(&set(&a) - &set(&b)));
            prop_assert_eq!(&Runs::all(70).and(&a), &a);
        }
    }
}
