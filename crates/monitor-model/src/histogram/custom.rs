//! Custom buckets whose bounds differ.

use super::{Buckets, Histogram};
use std::sync::Arc;

impl Histogram {
    /// Brings both histograms to the bounds that they share and adds them. What
    /// lies above the last shared bound goes into the bucket up to +Inf.
    pub(super) fn combine_custom(&mut self, other: &Self, sign: f64) {
        let shared = shared_bounds(&self.bounds, &other.bounds);
        let mut counts = vec![0.0; shared.len() + 1];
        for (target, count) in mapped(self, &shared) {
            counts[target] += count;
        }
        for (target, count) in mapped(other, &shared) {
            counts[target] += sign * count;
        }
        let populated = counts.into_iter().enumerate().filter(|(_, count)| *count != 0.0);
        self.positive = Buckets::from_indexed(populated.map(|(index, count)| (index as i64, count)));
        self.bounds = shared;
    }
}

/// The bounds that are in both lists.
pub(super) fn shared_bounds(a: &[f64], b: &[f64]) -> Arc<[f64]> {
    let mut b = b.iter().copied().peekable();
    a.iter()
        .copied()
        .filter(|bound| {
            while b.next_if(|other| other < bound).is_some() {}
            b.peek() == Some(bound)
        })
        .collect()
}

/// The populated buckets with the index that they have among other bounds, which
/// are a subset of the own ones.
pub(super) fn mapped<'a>(
    histogram: &'a Histogram,
    bounds: &'a [f64],
) -> impl Iterator<Item = (usize, f64)> + 'a {
    let mut target = 0;
    histogram.positive.iter().map(move |(index, count)| {
        let upper = histogram.upper_bound(index);
        while bounds.get(target).is_some_and(|bound| *bound < upper) {
            target += 1;
        }
        (target, count)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_in_both() {
        let cases: &[(&[f64], &[f64], &[f64])] = &[
            (&[], &[1.0], &[]),
            (&[1.0, 2.0], &[3.0], &[]),
            (&[1.0, 2.0, 3.0, 5.0], &[0.0, 2.0, 4.0, 5.0], &[2.0, 5.0]),
        ];
        for (a, b, expected) in cases {
            assert_eq!(*shared_bounds(a, b), **expected);
            assert_eq!(*shared_bounds(b, a), **expected);
        }
    }
}
