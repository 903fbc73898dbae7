//! What holds for any query over any data: nothing panics, a range query gives at
//! each step what an instant query gives there, and what streams gives what a
//! plain calculation over all samples gives.

use monitor_promql::{
    Answer, Histogram, HistogramPoint, Labels, Options, Point, Query, STALE, SeriesData, Value, is_stale,
};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Takes decisions from bytes; without any left it takes the first.
struct Choices<'b>(std::slice::Iter<'b, u8>);

impl Choices<'_> {
    fn up_to(&mut self, most: usize) -> usize {
        usize::from(self.0.next().copied().unwrap_or_default()) % (most + 1)
    }

    fn of<'t, T: ?Sized>(&mut self, all: &[&'t T]) -> &'t T {
        all[self.up_to(all.len() - 1)]
    }

    fn yes(&mut self) -> bool {
        self.up_to(1) == 1
    }
}

const STEP_MS: i64 = 30_000;

/// Series of numbers, histograms, both, classic buckets and info metrics.
fn data(choices: &mut Choices<'_>) -> Vec<SeriesData> {
    let mut all: BTreeMap<Labels, SeriesData> = BTreeMap::new();
    for _ in 0..=choices.up_to(9) {
        let name = choices.of(&["a", "b_total", "h", "c_bucket", "target_info"]);
        let mut pairs = vec![("__name__", name), ("n", choices.of(&["1", "2", "3"]))];
        pairs.push(("job", choices.of(&["", "x"])));
        pairs.push(("instance", choices.of(&["", "i"])));
        if name == "c_bucket" {
            pairs.push(("le", choices.of(&["1", "2.5", "+Inf", "no"])));
        }
        if name == "target_info" {
            pairs.push(("data", choices.of(&["d", "e"])));
        }
        let labels = Labels::from_pairs(pairs);
        all.insert(labels.clone(), series(labels, name, choices));
    }
    all.into_values().collect()
}

fn series(labels: Labels, name: &str, choices: &mut Choices<'_>) -> SeriesData {
    let mut series = SeriesData { labels, ..SeriesData::default() };
    let (mut at_ms, mut total) = (0, 0.0);
    let with_starts = choices.up_to(3) == 3;
    let histograms = match name {
        "h" => 3,
        "a" => 1,
        _ => 0,
    };
    for _ in 0..=choices.up_to(40) {
        at_ms += [10_000, 15_000, 1, 60_000, 400_000][choices.up_to(4)];
        let start = [0, at_ms, at_ms - 5_000, at_ms - 100_000, at_ms + 1][choices.up_to(4)];
        if choices.up_to(3) < histograms {
            let value = if choices.up_to(9) == 9 { Histogram::stale() } else { histogram(choices) };
            series.histograms.push(HistogramPoint { at_ms, value: Arc::new(value) });
            if with_starts {
                series.histogram_starts.push(start);
            }
        } else {
            let value = match choices.up_to(20) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => STALE,
                4 => 1.5e308,
                5 => -0.0,
                6 => -7.25,
                7 | 8 => {
                    total = 0.0;
                    total
                }
                more => {
                    total += more as f64 / 3.0;
                    total
                }
            };
            series.points.push(Point { at_ms, value });
            if with_starts {
                series.starts.push(start);
            }
        }
    }
    series
}

fn histogram(choices: &mut Choices<'_>) -> Histogram {
    let text = choices.of(&[
        "{{schema:0 sum:5 count:4 buckets:[1 2 1]}}",
        "{{schema:0 sum:9 count:9 z_bucket:2 z_bucket_w:0.01 buckets:[1 3 1] n_buckets:[1 0 1]}}",
        "{{schema:2 sum:20 count:12 offset:-3 buckets:[1 2 0 0 0 4 5] counter_reset_hint:reset}}",
        "{{schema:-4 sum:1e300 count:3 buckets:[3] counter_reset_hint:not_reset}}",
        "{{schema:-53 sum:3 count:6 custom_values:[1 2 5] buckets:[1 2 2 1]}}",
        "{{schema:-53 sum:3 count:6 custom_values:[1 3] buckets:[1 2 3]}}",
        "{{schema:1 sum:NaN count:5 buckets:[1 1] counter_reset_hint:gauge}}",
        "{{schema:0 sum:-5 count:-4 buckets:[-1 -2 -1] counter_reset_hint:gauge}}",
        "{{}}",
    ]);
    let mut histogram = Histogram::from_script(text).unwrap();
    histogram.mul([1.0, 2.0, 3.5, f64::INFINITY][choices.up_to(20).saturating_sub(17)]);
    histogram
}

/// An expression that gives a vector.
fn vector(choices: &mut Choices<'_>, depth: usize) -> String {
    if depth == 0 {
        return selector(choices);
    }
    let depth = depth - 1;
    match choices.up_to(17) {
        0 => selector(choices),
        1..=4 => range_function(choices, depth),
        5 | 6 => {
            let op = choices.of(&["sum", "avg", "count", "min", "max", "group", "stddev", "stdvar"]);
            let by = choices.of(&["", " by (n)", " without (n)", " by (__name__, le)"]);
            format!("{op}{by} ({})", vector(choices, depth))
        }
        7 => {
            let op = choices.of(&["topk", "bottomk", "limitk", "limit_ratio", "quantile"]);
            let by = choices.of(&["", " by (n)"]);
            format!("{op}{by} ({}, {})", scalar(choices, depth), vector(choices, depth))
        }
        8 => format!("count_values(\"v\", {})", vector(choices, depth)),
        9 | 10 => {
            let op = choices.of(&[
                "+", "-", "*", "/", "%", "^", "==", ">", "<= bool", "and", "or", "unless", "atan2", "</",
                ">/",
            ]);
            let (left, right) = (vector(choices, depth), vector(choices, depth));
            match choices.up_to(4) {
                0 => format!("({left} {op} {right})"),
                1 => format!("({left} {op} on(n) {right})"),
                2 => format!("({left} {op} ignoring(n, job) group_left(data) {right})"),
                3 => format!("({left} {op} on(n) fill(0) {right})"),
                _ => format!("({left} {op} {})", scalar(choices, depth)),
            }
        }
        11 => format!("-{}", vector(choices, depth)),
        12 => {
            let of = vector(choices, depth);
            let function = choices.of(&[
                "abs",
                "absent",
                "ceil",
                "day_of_month",
                "histogram_avg",
                "histogram_count",
                "histogram_stddev",
                "histogram_stdvar",
                "histogram_sum",
                "ln",
                "round",
                "sgn",
                "sqrt",
                "start_timestamp",
                "timestamp",
                "year",
            ]);
            format!("{function}({of})")
        }
        13 => {
            let of = vector(choices, depth);
            match choices.up_to(2) {
                0 => format!("label_replace({of}, \"n\", \"$1x\", \"n\", \"(.*)\")"),
                1 => format!("label_join({of}, \"n\", \"-\", \"n\", \"job\")"),
                _ => format!("label_replace({of}, \"__name__\", \"z\", \"job\", \"x\")"),
            }
        }
        14 => {
            let of = vector(choices, depth);
            match choices.up_to(2) {
                0 => format!("histogram_quantile({}, {of})", scalar(choices, depth)),
                1 => format!("histogram_fraction({}, 2, {of})", scalar(choices, depth)),
                _ => format!("histogram_quantiles({of}, \"q\", 0.1, 0.9)"),
            }
        }
        15 => {
            let of = vector(choices, depth);
            choices
                .of(&["info({})", "info({}, {data=~\".+\"})", "info({}, {__name__=~\".*_info\"})"])
                .replacen("{}", &of, 1)
        }
        16 => format!("vector({})", scalar(choices, depth)),
        _ => format!("clamp({}, {}, 3)", vector(choices, depth), scalar(choices, depth)),
    }
}

fn scalar(choices: &mut Choices<'_>, depth: usize) -> String {
    match choices.up_to(6) {
        4 => "time()".into(),
        5 if depth > 0 => format!("scalar({})", vector(choices, depth - 1)),
        6 if depth > 0 => format!("(time() % {})", scalar(choices, depth - 1)),
        _ => choices.of(&["0.5", "2", "-0.3", "0", "NaN", "Inf", "1e9"]).into(),
    }
}

fn selector(choices: &mut Choices<'_>) -> String {
    let of = choices.of(&["a", "b_total", "h", "c_bucket", "{n=\"1\"}", "{job!=\"\"}", "a{n=~\"1|2\"}"]);
    let modifier = choices.of(&["", "", "", " offset 45s", " offset -20s", " @ 300", " smoothed"]);
    format!("{of}{modifier}")
}

fn range_function(choices: &mut Choices<'_>, depth: usize) -> String {
    let function = choices.of(&[
        "rate",
        "increase",
        "delta",
        "irate",
        "idelta",
        "resets",
        "changes",
        "sum_over_time",
        "avg_over_time",
        "count_over_time",
        "min_over_time",
        "max_over_time",
        "stddev_over_time",
        "stdvar_over_time",
        "last_over_time",
        "first_over_time",
        "present_over_time",
        "absent_over_time",
        "mad_over_time",
        "deriv",
        "ts_of_first_over_time",
        "ts_of_last_over_time",
        "ts_of_max_over_time",
        "ts_of_min_over_time",
        "quantile_over_time",
        "predict_linear",
        "double_exponential_smoothing",
    ]);
    let modifiers: &[&str] = match function {
        "rate" | "increase" | "delta" => &["", "", " anchored", " smoothed"],
        "resets" | "changes" => &["", "", " anchored"],
        _ => &[""],
    };
    let range = if choices.yes() || depth == 0 {
        let of = choices.of(&["a", "b_total", "h", "c_bucket", "{n=\"1\"}"]);
        let span = choices.of(&["1m", "5m", "30s", "20m", "7s"]);
        let shift = choices.of(&["", "", " offset 1m", " @ 500"]);
        format!("{of}[{span}]{}{shift}", choices.of(modifiers))
    } else {
        format!(
            "({})[{}:{}]",
            vector(choices, depth),
            choices.of(&["2m", "10m"]),
            choices.of(&["30s", "70s", ""])
        )
    };
    match function {
        "quantile_over_time" => format!("{function}({}, {range})", scalar(choices, 0)),
        "predict_linear" => format!("{function}({range}, {})", scalar(choices, 0)),
        "double_exponential_smoothing" => format!("{function}({range}, 0.5, 0.3)"),
        _ => format!("{function}({range})"),
    }
}

/// Samples of a query at a time, in words that tell all that matters apart.
type Samples = BTreeMap<String, String>;

fn in_words(value: &Value) -> String {
    match value {
        Value::Float(value) if value.is_nan() => "NaN".into(),
        Value::Float(value) => format!("{value:?}"),
        Value::Histogram(histogram) => format!("{:?} {histogram}", histogram.reset),
    }
}

fn instant(
    query: &Query,
    data: &Vec<SeriesData>,
    at_ms: i64,
    options: &Options<'_>,
) -> Result<Samples, String> {
    let outcome = query.instant(data, at_ms, options).map_err(|error| error.to_string())?;
    Ok(match outcome.answer {
        Answer::Vector(samples) => {
            samples.iter().map(|s| (s.labels.to_string(), in_words(&s.value))).collect()
        }
        Answer::Scalar(point) => [("{}".to_owned(), in_words(&Value::Float(point.value)))].into(),
        other => return Err(format!("{other:?}")),
    })
}

/// The samples of a range query, by time.
fn range(
    query: &Query,
    data: &Vec<SeriesData>,
    until_ms: i64,
    options: &Options<'_>,
) -> Result<BTreeMap<i64, Samples>, String> {
    let outcome = query.range(data, 0, until_ms, STEP_MS, options).map_err(|error| error.to_string())?;
    let Answer::Matrix(series) = outcome.answer else { return Err("no matrix".into()) };
    let mut by_time: BTreeMap<i64, Samples> = BTreeMap::new();
    for series in &series {
        let labels = series.labels.to_string();
        for point in &series.points {
            let words = in_words(&Value::Float(point.value));
            by_time.entry(point.at_ms).or_default().insert(labels.clone(), words);
        }
        for point in &series.histograms {
            let words = in_words(&Value::Histogram(point.value.clone()));
            by_time.entry(point.at_ms).or_default().insert(labels.clone(), words);
        }
    }
    Ok(by_time)
}

/// Data as it is read in a failure.
fn in_short(data: &[SeriesData]) -> String {
    let series = |series: &SeriesData| {
        let floats: Vec<String> = series.points.iter().map(|p| format!("{}@{}", p.value, p.at_ms)).collect();
        let histograms: Vec<String> =
            series.histograms.iter().map(|p| format!("{}@{}", p.value, p.at_ms)).collect();
        format!(
            "{} {} {} {:?} {:?}",
            series.labels,
            floats.join(" "),
            histograms.join(" "),
            series.starts,
            series.histogram_starts
        )
    };
    data.iter().map(series).collect::<Vec<_>>().join("\n")
}

/// What the naive calculation takes: a function of the values in a window.
type Naive = fn(&[Point], i64, i64) -> Option<f64>;

const NAIVE: &[(&str, Naive)] = &[
    ("count_over_time", |points, _, _| Some(points.len() as f64)),
    ("max_over_time", |points, _, _| points.iter().map(|p| p.value).reduce(f64::max)),
    ("min_over_time", |points, _, _| points.iter().map(|p| p.value).reduce(f64::min)),
    ("last_over_time", |points, _, _| points.last().map(|p| p.value)),
    ("first_over_time", |points, _, _| points.first().map(|p| p.value)),
    ("sum_over_time", |points, _, _| Some(points.iter().map(|p| p.value).sum())),
    ("avg_over_time", |points, _, _| Some(points.iter().map(|p| p.value).sum::<f64>() / points.len() as f64)),
    ("resets", |points, _, _| Some(points.windows(2).filter(|p| p[1].value < p[0].value).count() as f64)),
    ("changes", |points, _, _| Some(points.windows(2).filter(|p| p[1].value != p[0].value).count() as f64)),
    ("irate", |points, _, _| {
        let [.., before, last] = points else { return None };
        let rise = if last.value < before.value { last.value } else { last.value - before.value };
        Some(rise / ((last.at_ms - before.at_ms) as f64 / 1e3))
    }),
    ("delta", |points, start, end| extrapolated(points, start, end, false)),
    ("increase", |points, start, end| extrapolated(points, start, end, true)),
    ("rate", |points, start, end| {
        extrapolated(points, start, end, true).map(|v| v / ((end - start) as f64 / 1e3))
    }),
];

/// As the Prometheus manual describes it.
fn extrapolated(points: &[Point], start_ms: i64, end_ms: i64, counter: bool) -> Option<f64> {
    let [first, .., last] = points else { return None };
    let mut rise = last.value - first.value;
    if counter {
        rise += points.windows(2).filter(|p| p[1].value < p[0].value).map(|p| p[0].value).sum::<f64>();
    }
    // In seconds, as the rounding decides at the threshold.
    let seconds = |ms: i64| ms as f64 / 1e3;
    let sampled = seconds(last.at_ms - first.at_ms);
    let between = sampled / (points.len() - 1) as f64;
    let gap = |ms: i64| if seconds(ms) >= between * 1.1 { between / 2.0 } else { seconds(ms) };
    let mut before = gap(first.at_ms - start_ms);
    if counter && rise > 0.0 && first.value >= 0.0 {
        before = before.min(sampled * (first.value / rise));
    }
    Some(rise * (sampled + before + gap(end_ms - last.at_ms)) / sampled)
}

fn near(a: f64, b: f64) -> bool {
    a == b || (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1.0)
}

/// A series of finite numbers, gaps, resets and staleness markers.
fn plain_series(n: usize, choices: &mut Choices<'_>) -> SeriesData {
    let (mut at_ms, mut total) = (0, 0.0);
    let mut point = |choices: &mut Choices<'_>| {
        at_ms += [15_000, 15_000, 1_000, 70_000, 400_000][choices.up_to(4)];
        match choices.up_to(12) {
            0 => return Point { at_ms, value: STALE },
            1 => total = 0.0,
            2 => total -= 1.5,
            more => total += more as f64 / 7.0,
        }
        Point { at_ms, value: total }
    };
    let points = (0..choices.up_to(120)).map(|_| point(choices)).collect();
    let labels =
        Labels::from_pairs([("__name__", "a".to_owned()), ("n", n.to_string()), ("g", (n % 2).to_string())]);
    SeriesData::of_points(labels, points)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 600, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_panics_and_ranges_are_instants(
        query_bytes in prop::collection::vec(any::<u8>(), 0..60),
        data_bytes in prop::collection::vec(any::<u8>(), 0..400),
        delayed in any::<bool>(),
    ) {
        let text = vector(&mut Choices(query_bytes.iter()), 3);
        let Ok(query) = Query::parse(&text) else { return Ok(()) };
        if delayed && text.contains("__name__") {
            // Whether a group's name goes is one thing for the whole series.
            return Ok(());
        }
        let data = data(&mut Choices(data_bytes.iter()));
        let options = Options { delayed_name_removal: delayed, ..Options::default() };
        let until_ms = 40 * STEP_MS;
        let by_time = match range(&query, &data, until_ms, &options) {
            Ok(by_time) => by_time,
            // Two series that differ in their names only are refused even where
            // they have no step in common; so does Prometheus.
            Err(error) if error.contains("same labelset") => return Ok(()),
            Err(error) => {
                // Some time of the range cannot be answered.
                let mut times = (0..=until_ms).step_by(STEP_MS as usize);
                let any = times.any(|at_ms| instant(&query, &data, at_ms, &options).is_err());
                prop_assert!(any, "{}: {}\n{}", text, error, in_short(&data));
                return Ok(());
            }
        };
        for at_ms in (0..=until_ms).step_by(STEP_MS as usize) {
            let expected = by_time.get(&at_ms).cloned().unwrap_or_default();
            let found = instant(&query, &data, at_ms, &options);
            prop_assert_eq!(found, Ok(expected), "{} at {}\n{}", text, at_ms, in_short(&data));
        }
    }

    #[test]
    fn windows_are_what_a_plain_calculation_gives(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        span_s in 1_i64..1_000,
        step_s in 1_i64..400,
    ) {
        let mut choices = Choices(bytes.iter());
        let data: Vec<SeriesData> = (0..3).map(|n| plain_series(n, &mut choices)).collect();
        let (span, step, until) = (span_s * 1_000, step_s * 1_000, 60 * step_s * 1_000);
        for (name, naive) in NAIVE {
            let query = Query::parse(&format!("{name}(a[{span_s}s])")).unwrap();
            let outcome = query.range(&data, 0, until, step, &Options::default()).unwrap();
            let Answer::Matrix(found) = outcome.answer else { panic!("no matrix") };
            for series in &data {
                let of = |labels: &Labels| labels.get("n") == series.labels.get("n");
                let found = found.iter().find(|s| of(&s.labels)).map(|s| s.points.clone()).unwrap_or_default();
                let expected: Vec<Point> = (0..=until).step_by(step as usize).filter_map(|at_ms| {
                    let inside = |p: &&Point| p.at_ms > at_ms - span && p.at_ms <= at_ms && !is_stale(p.value);
                    let points: Vec<Point> = series.points.iter().filter(inside).copied().collect();
                    let value = if points.is_empty() { None } else { naive(&points, at_ms - span, at_ms) }?;
                    Some(Point { at_ms, value })
                }).collect();
                let same = found.len() == expected.len()
                    && found.iter().zip(&expected).all(|(a, b)| a.at_ms == b.at_ms && near(a.value, b.value));
                prop_assert!(same, "{} {:?}\n{:?}\n{:?}", name, series.labels, found, expected);
            }
        }
    }

    #[test]
    fn aggregations_are_what_a_plain_calculation_gives(
        bytes in prop::collection::vec(any::<u8>(), 0..800),
        step_s in 1_i64..400,
    ) {
        let mut choices = Choices(bytes.iter());
        let data: Vec<SeriesData> = (0..7).map(|n| plain_series(n, &mut choices)).collect();
        let (step, until) = (step_s * 1_000, 40 * step_s * 1_000);
        let latest = |series: &SeriesData, at_ms: i64| {
            let point = series.points.iter().rfind(|p| p.at_ms <= at_ms)?;
            (point.at_ms > at_ms - 300_000 && !is_stale(point.value)).then_some(point.value)
        };
        type Naive = fn(&mut [f64]) -> f64;
        let ops: &[(&str, Naive)] = &[
            ("sum by (g) (a)", |v| v.iter().sum()),
            ("avg by (g) (a)", |v| v.iter().sum::<f64>() / v.len() as f64),
            ("count by (g) (a)", |v| v.len() as f64),
            ("min by (g) (a)", |v| v.iter().copied().fold(f64::INFINITY, f64::min)),
            ("max by (g) (a)", |v| v.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
            ("sum by (g) (topk by (g) (2, a))", |v| {
                v.sort_by(|a, b| b.total_cmp(a));
                v.iter().take(2).sum()
            }),
            ("quantile by (g) (0.5, a)", |v| {
                v.sort_by(f64::total_cmp);
                (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0
            }),
        ];
        for (text, naive) in ops {
            let outcome = Query::parse(text).unwrap().range(&data, 0, until, step, &Options::default()).unwrap();
            let Answer::Matrix(found) = outcome.answer else { panic!("no matrix") };
            for group in ["0", "1"] {
                let found = found.iter().find(|s| s.labels.get("g") == Some(group)).map(|s| s.points.clone());
                let found = found.unwrap_or_default();
                let members = || data.iter().filter(|s| s.labels.get("g") == Some(group));
                let expected: Vec<Point> = (0..=until).step_by(step as usize).filter_map(|at_ms| {
                    let mut values: Vec<f64> = members().filter_map(|s| latest(s, at_ms)).collect();
                    (!values.is_empty()).then(|| Point { at_ms, value: naive(&mut values) })
                }).collect();
                let same = found.len() == expected.len()
                    && found.iter().zip(&expected).all(|(a, b)| a.at_ms == b.at_ms && near(a.value, b.value));
                prop_assert!(same, "{}\n{:?}\n{:?}", text, found, expected);
            }
        }
    }
}
