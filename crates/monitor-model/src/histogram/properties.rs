//! What must hold for any histogram.

use super::*;
use proptest::prelude::*;

fn side() -> impl Strategy<Value = Buckets> {
    let spans = prop::collection::vec((0i32..5, prop::collection::vec(0u32..6, 0..5)), 0..5);
    (-8i32..8, spans).prop_map(|(first, parts)| {
        let mut side = Buckets::default();
        for (i, (gap, counts)) in parts.into_iter().enumerate() {
            let offset = if i == 0 { first } else { gap };
            side.spans.push(Span { offset, length: counts.len() as u32 });
            side.counts.extend(counts.into_iter().map(f64::from));
        }
        side
    })
}

fn counted(mut histogram: Histogram) -> Histogram {
    let all = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    histogram.count = all.sum::<f64>() + histogram.zero_count;
    histogram
}

prop_compose! {
    fn exponential()(
        schema in -2i8..4,
        positive in side(),
        negative in side(),
        zero_count in 0u32..4,
        zero_threshold in prop::sample::select(vec![0.0, 1e-9, 0.001, 0.3, 1.0, 3.0]),
        sum in -1e3f64..1e3,
    ) -> Histogram {
        let mut histogram = Histogram { schema, positive, negative, sum, ..Histogram::default() };
        // No client has observations in buckets that its zero bucket covers.
        let threshold = histogram.zero_count_for(zero_threshold).1;
        for side in [&mut histogram.positive, &mut histogram.negative] {
            *side = Buckets::from_indexed(layout::outside_zero(side.iter(), schema, threshold));
        }
        counted(Histogram { zero_count: zero_count.into(), zero_threshold: threshold, ..histogram })
    }
}

prop_compose! {
    fn custom()(
        steps in prop::collection::vec(1u32..4, 0..6),
        counts in prop::collection::vec(0u32..5, 7),
        sum in -1e3f64..1e3,
    ) -> Histogram {
        let mut bound = -5.0;
        let bounds: Vec<f64> = steps.iter().map(|step| { bound += f64::from(*step); bound }).collect();
        let counts: Vec<f64> = counts[..=bounds.len()].iter().map(|c| f64::from(*c)).collect();
        let spans = vec![Span { offset: 0, length: counts.len() as u32 }];
        counted(Histogram {
            schema: CUSTOM_BUCKETS, bounds: bounds.into(), sum,
            positive: Buckets { spans, counts },
            ..Histogram::default()
        })
    }
}

fn any_pair() -> impl Strategy<Value = (Histogram, Histogram)> {
    prop_oneof![(exponential(), exponential()), (custom(), custom())]
}

fn compacted(mut histogram: Histogram) -> Histogram {
    histogram.compact();
    histogram
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * (1.0 + a.abs() + b.abs())
}

/// The populated buckets.
fn populated(histogram: &Histogram) -> Vec<Bucket> {
    histogram.buckets().filter(|bucket| bucket.count != 0.0).collect()
}

fn in_buckets(histogram: &Histogram) -> f64 {
    let all = histogram.positive.counts.iter().chain(&histogram.negative.counts);
    all.sum::<f64>() + histogram.zero_count
}

proptest! {
    #[test]
    fn addition_commutes((a, b) in any_pair()) {
        let (mut ab, mut ba) = (a.clone(), b.clone());
        prop_assert_eq!(ab.add(&b), ba.add(&a));
        let (ab, ba) = (compacted(ab), compacted(ba));
        prop_assert!(ab.matches(&ba, near), "{} is not {}", ab, ba);
        prop_assert!(near(in_buckets(&ab), a.count + b.count), "{}: an observation was lost", ab);
    }

    #[test]
    fn what_is_added_can_be_taken_away((a, b) in any_pair()) {
        let mut back = a.clone();
        back.add(&b).unwrap();
        back.sub(&b).unwrap();
        // Resolution may be lost, observations may not.
        let mut nothing = b.clone();
        nothing.mul(0.0);
        let mut expected = a.clone();
        expected.add(&b).unwrap();
        let mut other = b.clone();
        other.mul(-1.0);
        other.reset = CounterReset::Unknown;
        expected.add(&other).unwrap();
        let (back, expected) = (compacted(back), compacted(expected));
        prop_assert!(back.matches(&expected, near), "{} is not {}", back, expected);
        prop_assert!(near(back.count, a.count) && near(back.sum, a.sum));
        prop_assert!(near(in_buckets(&back), a.count), "{} has other observations than {}", back, a);
        if a.schema <= b.schema && a.zero_threshold == b.zero_threshold && a.bounds == b.bounds {
            prop_assert!(back.matches(&compacted(a.clone()), near), "{} is not {}", back, a);
        }
    }

    #[test]
    fn compensated_sums_are_sums((a, b) in any_pair(), c in any_pair()) {
        let mut plain = a.clone();
        let mut kahan = KahanSum::new(&a);
        for other in [&b, &c.0, &c.1] {
            prop_assert_eq!(plain.add(other), kahan.add(other));
        }
        let (plain, kahan) = (compacted(plain), compacted(kahan.total()));
        prop_assert!(plain.matches(&kahan, near), "{} is not {}", plain, kahan);
    }

    #[test]
    fn resolution_keeps_observations(histogram in exponential(), schema in -4i8..4) {
        let mut coarse = histogram.clone();
        coarse.reduce_resolution(schema);
        prop_assert_eq!(coarse.schema, histogram.schema.min(schema));
        prop_assert_eq!(in_buckets(&coarse), in_buckets(&histogram));
        // No bucket of the fine one sticks out of those of the coarse one.
        for fine in histogram.positive_buckets() {
            let around = coarse.positive_buckets().any(|b| b.lower <= fine.lower && fine.upper <= b.upper);
            prop_assert!(around, "{} in {}", fine, coarse);
        }
        prop_assert_eq!(coarse.validate(), Ok(()));
    }

    #[test]
    fn compaction_changes_no_bucket((a, _) in any_pair()) {
        let compact = compacted(a.clone());
        prop_assert_eq!(populated(&a), populated(&compact));
        prop_assert_eq!(compact.validate(), Ok(()));
        prop_assert!(compact.positive.counts.iter().all(|count| *count != 0.0));
        let again = compacted(compact.clone());
        prop_assert_eq!(again, compact);
    }

    #[test]
    fn quantiles_ascend_and_stay_inside((a, _) in any_pair(), mut q in 0f64..=1.0, mut r in 0f64..=1.0) {
        if q > r {
            std::mem::swap(&mut q, &mut r);
        }
        let (low, high) = (a.quantile(q).value, a.quantile(r).value);
        if a.count == 0.0 {
            prop_assert!(low.is_nan() && high.is_nan());
        } else {
            prop_assert!(low <= high + 1e-9 * high.abs(), "{} at {} is {}, at {} is {}", a, q, low, r, high);
            let inside = |value: f64| {
                let margin = 1e-9 * value.abs();
                populated(&a).iter().any(|b| {
                    // Both ends of half a zero bucket, and of the first custom
                    // bucket, are at zero.
                    let (lower, upper) = (b.lower.min(b.upper), b.upper.max(b.lower));
                    lower - margin <= value && value <= upper + margin
                })
            };
            prop_assert!(inside(low) && inside(high), "{}: {} or {} is in no bucket", a, low, high);
        }
    }

    #[test]
    fn fraction_undoes_quantile(a in exponential(), q in 0.01f64..0.99) {
        let value = a.quantile(q).value;
        if a.count > 0.0 {
            let fraction = a.fraction(f64::NEG_INFINITY, value).value;
            // Over a gap without observations any value is right; the fraction
            // is then that of the gap.
            let jump = populated(&a).iter().any(|b| near(b.upper, value) || near(b.lower, value));
            prop_assert!(jump || near(fraction, q), "{} at {}: {} has {}", a, q, value, fraction);
        }
    }

    #[test]
    fn trimming_splits((a, _) in any_pair(), at in -10f64..10.0) {
        let (mut below, mut above) = (a.clone(), a.clone());
        below.trim_upper(at);
        above.trim_lower(at);
        prop_assert!(below.count <= a.count + 1e-9 && above.count <= a.count + 1e-9);
        if !a.has_custom_buckets() {
            prop_assert!(near(below.count + above.count, a.count), "{} at {}: {} and {}", a, at, below, above);
        }
        prop_assert_eq!(below.validate(), Ok(()));
        prop_assert_eq!(above.validate(), Ok(()));
    }

    #[test]
    fn growing_is_no_reset(a in exponential(), b in exponential()) {
        let mut later = a.clone();
        later.add(&b).unwrap();
        // The sum is coarser at most, and has at least as much everywhere.
        prop_assert!(!later.detect_reset(&a), "{} then {}", a, later);
        if a.count > 0.0 && later.count > a.count {
            prop_assert!(a.detect_reset(&later), "{} then {}", later, a);
        }
    }

    #[test]
    fn descriptions_come_back((a, _) in any_pair()) {
        let back = Histogram::from_script(&a.to_script()).unwrap();
        prop_assert!(compacted(back).equals(&compacted(a)));
    }

    #[test]
    fn nothing_panics_on_nonsense(
        spans in prop::collection::vec((any::<i32>(), prop::sample::select(vec![0u32, 1, 3, u32::MAX])), 0..4),
        counts in prop::collection::vec(any::<f64>(), 0..6),
        schema in prop::sample::select(vec![-128i8, -53, -5, -4, 0, 8, 9, 127]),
        zero_threshold in any::<f64>(),
        bounds in prop::collection::vec(any::<f64>(), 0..3),
        good in exponential(),
        good_custom in custom(),
        value in any::<f64>(),
    ) {
        let spans: Vec<Span> = spans.into_iter().map(|(offset, length)| Span { offset, length }).collect();
        let side = Buckets { spans, counts };
        let bad = Histogram {
            schema, zero_threshold, zero_count: value, count: value, bounds: bounds.into(),
            positive: side.clone(), negative: side, ..Histogram::default()
        };
        let _ = bad.validate();
        for good in [good, good_custom] {
            for (a, b) in [(&bad, &good), (&good, &bad), (&bad, &bad)] {
                let mut sum = a.clone();
                let _ = sum.add(b);
                sum.compact();
                let mut kahan = KahanSum::new(a);
                let _ = kahan.add(b);
                kahan.total();
                a.detect_reset(b);
            }
        }
        let _ = (bad.quantile(0.3), bad.quantile(0.7), bad.fraction(-1.0, value), bad.variance());
        let _ = (bad.to_string(), bad.to_script());
        let mut trimmed = bad.clone();
        trimmed.trim_upper(value);
        trimmed.trim_lower(value);
        let mut coarse = bad;
        coarse.reduce_resolution(-4);
    }
}
