//! Six weeks of generated hourly traffic: the peak of the next two weeks.

use monitor_forecast::{Hourly, WEEK_HOURS, backtest, forecast};

/// SplitMix64, as a number in 0 … 1.
fn chance(state: &mut u64) -> f64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}

/// Traffic with days, weekends, growth and a few percent of noise.
fn traffic(weeks: usize, growth: f64, seed: u64) -> Vec<f64> {
    let mut state = seed;
    (0..weeks * WEEK_HOURS)
        .map(|hour| {
            let day = (hour % 24) as f64;
            let wave = 1.0 + 0.9 * (std::f64::consts::TAU * (day - 9.0) / 24.0).sin();
            let weekend = if (hour / 24) % 7 >= 5 { 0.6 } else { 1.0 };
            let noise = 1.0 + 0.06 * (chance(&mut state) - 0.5);
            200.0 * wave * weekend * growth.powf(hour as f64 / WEEK_HOURS as f64) * noise
        })
        .collect()
}

/// PromQL's `predict_linear`: a straight line by least squares through everything.
fn predict_linear(values: &[f64], ahead: f64) -> f64 {
    let n = values.len() as f64;
    let (mx, my) = ((n - 1.0) / 2.0, values.iter().sum::<f64>() / n);
    let (mut xy, mut xx) = (0.0, 0.0);
    for (x, y) in values.iter().enumerate() {
        xy += (x as f64 - mx) * (y - my);
        xx += (x as f64 - mx).powi(2);
    }
    my + xy / xx * (n - 1.0 + ahead - mx)
}

#[test]
fn the_next_two_weeks_peak_is_predicted_where_a_straight_line_misses_it_by_half() {
    for seed in 0..50 {
        let growth = 1.0 + 0.01 * (seed % 9) as f64;
        let all = traffic(8, growth, seed);
        let (past, came) = all.split_at(6 * WEEK_HOURS);
        let history = Hourly { first_hour: 0, values: past.to_vec() };
        let made = forecast(&history, 2 * WEEK_HOURS).unwrap();
        let peak = came.iter().copied().fold(0.0, f64::max);
        let off = (made.peak.value / peak - 1.0).abs();
        assert!(off < 0.05, "seed {seed}, growth {growth}: {} instead of {peak}", made.peak.value);
        let straight =
            (1..=2 * WEEK_HOURS).map(|ahead| predict_linear(past, ahead as f64)).fold(f64::MIN, f64::max);
        assert!(straight < 0.65 * peak, "seed {seed}: a straight line gives {straight} of {peak}");
    }
}

#[test]
fn the_interval_holds_four_of_five() {
    let (mut inside, mut all) = (0.0, 0.0);
    for seed in 0..5 {
        let series = Hourly { first_hour: 0, values: traffic(16, 1.03, 100 + seed) };
        let score = backtest::rolling(&series, 8).unwrap();
        inside += score.coverage * score.origins as f64;
        all += score.origins as f64;
        assert!(score.error < score.naive_error && score.peak_error < score.naive_peak_error, "{score:?}");
    }
    let coverage = inside / all;
    assert!((0.75..=0.85).contains(&coverage), "{coverage}");
}

/// No history, however odd, panics or gives what is no number.
#[test]
fn odd_histories() {
    let odd = [
        vec![],
        vec![f64::NAN; 1_000],
        vec![0.0; 1_000],
        (0..1_000).map(|h| if h % 3 == 0 { f64::NAN } else { f64::from(h) }).collect(),
        (0..1_000).map(|h| if h % 100 == 0 { 1e300 } else { 0.0 }).collect(),
        (0..1_000).map(|h| -f64::from(h)).collect(),
    ];
    for values in odd {
        let history = Hourly { first_hour: -5, values };
        for hours in [0, 1, 500, 100_000] {
            if let Ok(made) = forecast(&history, hours) {
                let all = made.values.iter().chain(&made.low).chain(&made.high);
                assert!(all.clone().all(|v| !v.is_nan()), "{:?}", &history.values[..5]);
            }
        }
        let _ = backtest::rolling(&history, 2);
    }
}
