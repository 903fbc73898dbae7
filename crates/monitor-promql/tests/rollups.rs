//! Functions over time ask for the number of a rollup that fits them, so that
//! they answer what they would from the samples that expired.

use monitor_promql::source::Column;
use monitor_promql::{
    Answer, Labels, Options, Point, Query, Selection, SeriesData, SeriesStream, Source, SourceError,
};

const RAW_SINCE_MS: i64 = 3_600_000;
const END_MS: i64 = 7_200_000;
const WINDOW_MS: i64 = 300_000;

/// A series of which only five-minute rollups are left before [`RAW_SINCE_MS`].
struct RolledUp(Vec<Point>);

fn samples() -> Vec<Point> {
    (1..=END_MS / 15_000).map(|i| Point { at_ms: i * 15_000, value: ((i * 37) % 101) as f64 }).collect()
}

impl Source for RolledUp {
    fn select(&self, selection: &Selection<'_>) -> Result<Box<dyn SeriesStream + '_>, SourceError> {
        let (old, raw): (Vec<Point>, Vec<Point>) = self.0.iter().partition(|p| p.at_ms <= RAW_SINCE_MS);
        let of_window = |end_ms: i64| {
            let inside = |p: &&Point| p.at_ms > end_ms - WINDOW_MS && p.at_ms <= end_ms;
            let values: Vec<f64> = old.iter().filter(inside).map(|p| p.value).collect();
            let value = match selection.column {
                Column::Value => values.last().copied().unwrap_or_default(),
                Column::Min => values.iter().copied().fold(f64::INFINITY, f64::min),
                Column::Max => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
                Column::Sum => values.iter().sum(),
                Column::Count => values.len() as f64,
            };
            Point { at_ms: end_ms, value }
        };
        let rollups = (1..=RAW_SINCE_MS / WINDOW_MS).map(|i| of_window(i * WINDOW_MS));
        let one = |p: Point| if selection.column == Column::Count { Point { value: 1.0, ..p } } else { p };
        let points = rollups
            .chain(raw.into_iter().map(one))
            .filter(|p| (selection.start_ms..=selection.end_ms).contains(&p.at_ms))
            .collect();
        let series = SeriesData::of_points(Labels::from_pairs([("__name__", "a")]), points);
        Ok(Box::new(vec![series].into_iter()))
    }

    fn raw_since_ms(&self) -> i64 {
        RAW_SINCE_MS
    }
}

#[test]
fn rollups_answer_what_their_samples_would() {
    let raw = vec![SeriesData::of_points(Labels::from_pairs([("__name__", "a")]), samples())];
    let rolled_up = RolledUp(samples());
    for function in ["max", "min", "sum", "count", "avg", "last", "present"] {
        let query = Query::parse(&format!("{function}_over_time(a[20m])")).unwrap();
        let answer = |source: &dyn Source| {
            let outcome = query.range(source, 1_200_000, END_MS, WINDOW_MS, &Options::default()).unwrap();
            let Answer::Matrix(series) = outcome.answer else { panic!("no matrix") };
            assert_eq!(series.len(), 1, "{function}");
            series[0].points.clone()
        };
        let (expected, found) = (answer(&raw), answer(&rolled_up));
        assert_eq!(expected.len(), 21);
        assert_eq!(found.len(), expected.len(), "{function}");
        for (found, expected) in found.iter().zip(&expected) {
            assert_eq!(found.at_ms, expected.at_ms);
            let near = (found.value - expected.value).abs() < 1e-9;
            assert!(near, "{function} at {}: {} is not {}", found.at_ms, found.value, expected.value);
        }
    }
}
