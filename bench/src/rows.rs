//! What a bench prints: rows of medians, and their ratio to the best peer.

use serde::Serialize;
use std::process::ExitCode;

/// The contender that is ours; all others are peers.
pub(crate) const OURS: &str = "bastide";

/// One contender's figures in one workload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    /// `W1`.
    pub(crate) workload: String,
    /// `nginx`.
    pub(crate) contender: String,
    /// `cpu_us`: its unit ends its name. Less is better.
    pub(crate) metric: &'static str,
    /// Over the rounds.
    pub(crate) median: f64,
    /// Over the rounds.
    pub(crate) min: f64,
    /// Over the rounds.
    pub(crate) max: f64,
    /// Of the median to the best median among the peers (the others' programs)
    /// in the same workload and run; none where no peer ran.
    pub(crate) ratio: Option<f64>,
}

/// A run's rows, and what went wrong or was left out.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// In the order of workloads, then contenders.
    pub(crate) rows: Vec<Row>,
    /// Contenders and cells that did not run, each with its reason: no failure.
    pub(crate) skipped: Vec<String>,
    /// Cells that went wrong: the run failed.
    pub(crate) failed: Vec<String>,
}

impl Report {
    /// Whether nothing was to be measured, and nothing was said.
    pub(crate) fn is_nothing(&self) -> bool {
        self.rows.is_empty() && self.skipped.is_empty() && self.failed.is_empty()
    }
}

/// One figure of one round.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    /// `W1`.
    pub(crate) workload: &'static str,
    /// `nginx`.
    pub(crate) contender: String,
    /// In the metric's unit.
    pub(crate) value: f64,
}

/// Rows from the samples of all rounds; workloads and contenders keep the order
/// in which they first appear.
pub(crate) fn summarise(metric: &'static str, samples: &[Sample]) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        if rows.iter().any(|r| r.workload == sample.workload && r.contender == sample.contender) {
            continue;
        }
        let same = |s: &&Sample| s.workload == sample.workload && s.contender == sample.contender;
        let mut values: Vec<f64> = samples.iter().filter(same).map(|s| s.value).collect();
        values.sort_by(f64::total_cmp);
        rows.push(Row {
            workload: sample.workload.to_owned(),
            contender: sample.contender.clone(),
            metric,
            median: median(&values),
            min: values[0],
            max: values[values.len() - 1],
            ratio: None,
        });
    }
    let medians: Vec<_> = rows.iter().map(|r| (r.workload.clone(), r.contender.clone(), r.median)).collect();
    for row in &mut rows {
        let peers = medians.iter().filter(|(w, c, _)| *w == row.workload && c != OURS).map(|(_, _, m)| *m);
        let more = crate::store::MORE_IS_BETTER.contains(&metric);
        let best = if more { peers.max_by(f64::total_cmp) } else { peers.min_by(f64::total_cmp) };
        row.ratio = best.filter(|best| *best > 0.0).map(|best| row.median / best);
    }
    rows
}

/// Of sorted values, at least one.
fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

/// Prints the rows, then on stderr what was skipped and what failed.
pub(crate) fn print(report: &Report, json: bool) -> ExitCode {
    if json {
        match serde_json::to_string_pretty(&report.rows) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("error: the rows could not be written as JSON: {error}"),
        }
    } else {
        print!("{}", table(&report.rows));
    }
    for skipped in &report.skipped {
        eprintln!("skipped: {skipped}");
    }
    for failed in &report.failed {
        eprintln!("failed: {failed}");
    }
    ExitCode::from(u8::from(!report.failed.is_empty() || report.rows.is_empty()))
}

fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<12} {:<17} {:<20} {:>11} {:>11} {:>11} {:>7}\n",
        "workload", "contender", "metric", "median", "min", "max", "ratio"
    );
    let mut before = None;
    for row in rows {
        if before.is_some_and(|workload| workload != &row.workload) {
            text.push('\n');
        }
        before = Some(&row.workload);
        let digits = if row.ratio.is_some_and(|ratio| ratio < 0.1) { 4 } else { 2 };
        let ratio = row.ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.digits$}"));
        text.push_str(&format!(
            "{:<12} {:<17} {:<20} {:>11.2} {:>11.2} {:>11.2} {:>7}\n",
            row.workload, row.contender, row.metric, row.median, row.min, row.max, ratio
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(samples: &[(&'static str, &str, f64)]) -> Vec<(String, f64, Option<f64>)> {
        let samples: Vec<_> = samples
            .iter()
            .map(|(workload, contender, value)| Sample {
                workload,
                contender: (*contender).to_owned(),
                value: *value,
            })
            .collect();
        summarise("cpu_us", &samples)
            .into_iter()
            .map(|r| (format!("{} {}", r.workload, r.contender), r.median, r.ratio))
            .collect()
    }

    #[test]
    fn the_ratio_is_to_the_best_peer_of_the_same_workload() {
        let rows = rows(&[
            ("W1", OURS, 30.0),
            ("W1", "nginx", 20.0),
            ("W1", "haproxy", 10.0),
            ("W2", OURS, 5.0),
            ("W2", "nginx", 10.0),
            ("W1", OURS, 10.0),
            ("W1", "nginx", 20.0),
            ("W1", "haproxy", 30.0),
        ]);
        let expected = [
            ("W1 bastide", 20.0, Some(1.0)),
            ("W1 nginx", 20.0, Some(1.0)),
            ("W1 haproxy", 20.0, Some(1.0)),
            ("W2 bastide", 5.0, Some(0.5)),
            ("W2 nginx", 10.0, Some(1.0)),
        ];
        assert_eq!(rows, expected.map(|(name, median, ratio)| (name.to_owned(), median, ratio)));
    }

    #[test]
    fn without_peers_there_is_no_ratio() {
        assert_eq!(rows(&[("W1", OURS, 3.0)]), [("W1 bastide".to_owned(), 3.0, None)]);
    }

    #[test]
    fn medians() {
        for (values, expected) in [(&[1.0][..], 1.0), (&[1.0, 2.0], 1.5), (&[1.0, 2.0, 9.0], 2.0)] {
            assert_eq!(median(values), expected);
        }
    }
}
