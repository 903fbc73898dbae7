//! Durations: a classic histogram and a native one of the same observations.

use base::names::DURATION_BUCKETS;
use monitor_model::histogram::Buckets;
use monitor_model::{Histogram, Span};

/// Bucket bounds grow by 2^(1/8): 9 %.
const SCHEMA: i8 = 3;

/// Buckets of one doubling.
const PER_OCTAVE: i32 = 8;

/// The native bucket that is kept first: its upper bound is 2^-20 s, a microsecond.
const FIRST: i32 = -20 * PER_OCTAVE;

/// Up to 2^25 s, more than the longest duration that a line may tell.
const NATIVE: usize = (45 * PER_OCTAVE) as usize + 1;

/// The mantissas of the seven bounds within one doubling: 2^(i/8), as the bits of a
/// double have them.
const BOUNDS: [u64; 7] = [
    0x0001_72B8_3C7D_517B, // 2^(1/8)
    0x0003_06FE_0A31_B715, // 2^(2/8)
    0x0004_BFDA_D536_2A27, // 2^(3/8)
    0x0006_A09E_667F_3BCD, // 2^(4/8)
    0x0008_ACE5_422A_A0DB, // 2^(5/8)
    0x000A_E89F_995A_D3AD, // 2^(6/8)
    0x000D_5818_DCFB_A487, // 2^(7/8)
];

/// Observations of durations.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    count: u64,
    sum_us: u128,
    /// Not cumulative; the last is +Inf.
    classic: [u64; 17],
    /// Below a microsecond.
    zero: u64,
    native: Box<[u64; NATIVE]>,
}

impl Default for Durations {
    fn default() -> Self {
        Self { count: 0, sum_us: 0, classic: [0; 17], zero: 0, native: Box::new([0; NATIVE]) }
    }
}

impl Durations {
    /// Counts one, of microseconds.
    pub fn add(&mut self, duration_us: u64) {
        self.count += 1;
        self.sum_us += u128::from(duration_us);
        self.classic[bucket(duration_us)] += 1;
        if duration_us == 0 {
            self.zero += 1;
        } else {
            let at = (native_index(duration_us as f64 / 1e6) - FIRST).clamp(0, NATIVE as i32 - 1);
            self.native[at as usize] += 1;
        }
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum in seconds.
    pub fn sum_s(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// Upper bounds in seconds and how many were at or below each; +Inf is last.
    pub fn classic(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = DURATION_BUCKETS.iter().copied().chain([f64::INFINITY]);
        bounds.zip(self.classic).scan(0, |total, (bound, count)| {
            *total += count;
            Some((bound, *total))
        })
    }

    /// As a native histogram in seconds.
    pub fn native(&self) -> Histogram {
        let mut positive = Buckets::default();
        let mut next = 0; // The index behind the last bucket.
        for (at, count) in self.native.iter().enumerate().filter(|(_, count)| **count > 0) {
            let index = FIRST + at as i32;
            match positive.spans.last_mut() {
                Some(span) if next == index => span.length += 1,
                _ => positive.spans.push(Span { offset: index - next, length: 1 }),
            }
            next = index + 1;
            positive.counts.push(*count as f64);
        }
        Histogram {
            schema: SCHEMA,
            zero_threshold: 2_f64.powi(-128), // Prometheus' client's default.
            zero_count: self.zero as f64,
            count: self.count as f64,
            sum: self.sum_s(),
            positive,
            ..Histogram::default()
        }
    }

    /// All numbers, for saving: count, sum's halves, zero, classic, native.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u64> {
        let head = [self.count, self.sum_us as u64, (self.sum_us >> 64) as u64, self.zero];
        head.into_iter().chain(self.classic).chain(self.native.iter().copied())
    }

    /// How many [`Durations::numbers`] gives.
    pub(super) const NUMBERS: usize = 4 + 17 + NATIVE;

    /// From what [`Durations::numbers`] gave.
    pub(super) fn from_numbers(numbers: &[u64]) -> Option<Self> {
        if numbers.len() != Self::NUMBERS {
            return None;
        }
        let mut read = Self {
            count: numbers[0],
            sum_us: u128::from(numbers[2]) << 64 | u128::from(numbers[1]),
            zero: numbers[3],
            ..Self::default()
        };
        read.classic.copy_from_slice(&numbers[4..21]);
        read.native.copy_from_slice(&numbers[21..]);
        Some(read)
    }
}

/// The classic bucket: the first whose bound is not below.
fn bucket(duration_us: u64) -> usize {
    BOUNDS_US.partition_point(|bound| *bound < duration_us)
}

/// [`DURATION_BUCKETS`] in whole microseconds; a test keeps them the same.
const BOUNDS_US: [u64; 16] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000, 30_000_000,
];

/// The index of the bucket that holds `value` (> 0, normal): the smallest i with
/// value ≤ 2^(i/8). Source: the specification of native histograms, "Buckets".
fn native_index(value: f64) -> i32 {
    let bits = value.to_bits();
    let exponent = ((bits >> 52) & 0x7FF) as i32 - 1_023;
    let mantissa = bits & ((1 << 52) - 1);
    let within = BOUNDS.iter().filter(|bound| mantissa > **bound).count() as i32;
    // Exactly a power of two is the upper bound of the bucket before.
    exponent * PER_OCTAVE + within + i32::from(mantissa != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_as_specified() {
        assert_eq!(DURATION_BUCKETS.len() + 1, 17);
        for (us, s) in BOUNDS_US.iter().zip(DURATION_BUCKETS) {
            assert!((*us as f64 / 1e6 - s).abs() < 1e-12);
        }
        for index in -100..100 {
            let bound = 2_f64.powf(f64::from(index) / 8.0);
            assert_eq!(native_index(bound * 1.000_001), index + 1, "above {bound}");
            assert_eq!(native_index(bound * 0.999_999), index, "below {bound}");
        }
        for power in -20..25 {
            assert_eq!(native_index(2_f64.powi(power)), power * 8, "the bound itself belongs to its bucket");
        }
    }

    #[test]
    fn both_histograms_hold_all() {
        let mut durations = Durations::default();
        for us in [0, 1, 250, 251, 2_000, 2_001, 40_000_000, crate::entry::MAX_DURATION_US] {
            durations.add(us);
        }
        let classic: Vec<(f64, u64)> = durations.classic().collect();
        assert_eq!(classic[0], (0.000_25, 3));
        assert_eq!(classic[1], (0.000_5, 4));
        assert_eq!(classic[16], (f64::INFINITY, 8));
        let native = durations.native();
        assert_eq!(native.count, 8.0);
        assert_eq!(native.zero_count + native.positive.counts.iter().sum::<f64>(), 8.0);
        let spans: u32 = native.positive.spans.iter().map(|s| s.length).sum();
        assert_eq!(spans as usize, native.positive.counts.len());
        let numbers: Vec<u64> = durations.numbers().collect();
        assert_eq!(Durations::from_numbers(&numbers), Some(durations));
    }
}
