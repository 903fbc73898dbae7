//! Interleaved rounds: every contender once in each, in an order that rotates, so
//! that what drifts on the machine falls on all of them.

use crate::Common;
use crate::rows::{Report, Sample, summarise};
use std::time::Duration;

/// How many rounds, and how long a cell runs.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    pub(crate) rounds: u32,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
}

impl Pace {
    /// As the options say.
    pub(crate) fn new(options: &Common) -> Self {
        // CPU time is read in ticks of 10 ms: two seconds make them 1 % or less.
        let (rounds, warm_up, measured) = if options.quick { (2, 100, 300) } else { (5, 300, 2_000) };
        Self {
            rounds: options.rounds.unwrap_or(rounds),
            warm_up: Duration::from_millis(warm_up),
            measured: Duration::from_millis(measured),
        }
    }
}

/// A name, as it is printed, and what it stands for.
pub(crate) type Named<T> = (&'static str, T);

/// Measures all cells and adds rows and failures to `report`. A cell that fails
/// is not measured again: its contender is left out of that workload.
pub(crate) fn interleaved<W, C>(
    rounds: u32,
    metric: &'static str,
    workloads: &[Named<W>],
    contenders: &[Named<C>],
    report: &mut Report,
    mut measure: impl FnMut(&W, &C) -> Result<f64, String>,
) {
    let mut samples = Vec::new();
    let mut out = Vec::new();
    let mut first = 0;
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for (workload, what) in workloads {
            for turn in 0..contenders.len() {
                let (name, contender) = &contenders[(first + turn) % contenders.len()];
                if out.contains(&(*workload, *name)) {
                    continue;
                }
                match measure(what, contender) {
                    Ok(value) => samples.push(Sample { workload, contender: (*name).to_owned(), value }),
                    Err(why) => {
                        report.failed.push(format!("{workload} {name}: {why}"));
                        out.push((*workload, *name));
                    }
                }
            }
        }
        // Another one begins in each round.
        first += 1;
    }
    samples.retain(|s| !out.iter().any(|(workload, name)| *workload == s.workload && *name == s.contender));
    let place = |s: &Sample| {
        let workload = workloads.iter().position(|(name, _)| *name == s.workload);
        (workload, contenders.iter().position(|(name, _)| *name == s.contender))
    };
    samples.sort_by_key(place);
    report.rows.extend(summarise(metric, &samples));
}

/// Those of `all` that are named; all where none is.
pub(crate) fn chosen<T>(all: Vec<Named<T>>, named: &[String]) -> Vec<Named<T>> {
    all.into_iter().filter(|(name, _)| named.is_empty() || named.iter().any(|n| n == name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_all_names() {
        let all = || vec![("W1", ()), ("W2", ())];
        assert_eq!(chosen(all(), &["W2".to_owned()]), [("W2", ())]);
        assert_eq!(chosen(all(), &[]), all());
    }

    #[test]
    fn orders_rotate_and_failures_leave_their_workload_only() {
        let mut report = Report::default();
        let mut calls = Vec::new();
        let workloads = [("W1", 1.0), ("W2", 2.0)];
        let contenders = [("a", 10.0), ("b", 20.0), ("c", 30.0)];
        interleaved(2, "cpu_us", &workloads, &contenders, &mut report, |w, c| {
            calls.push((*w, *c));
            if (*w, *c) == (2.0, 20.0) { Err("broke".to_owned()) } else { Ok(w * c) }
        });
        let firsts: Vec<_> = [0, 3, 6, 9].iter().map(|i| calls[*i]).collect();
        assert_eq!(firsts, [(1.0, 10.0), (2.0, 10.0), (1.0, 20.0), (2.0, 30.0)]);
        assert_eq!(report.failed, ["W2 b: broke"]);
        let rows: Vec<_> =
            report.rows.iter().map(|r| format!("{} {} {}", r.workload, r.contender, r.median)).collect();
        assert_eq!(rows, ["W1 a 10", "W1 b 20", "W1 c 30", "W2 a 20", "W2 c 60"]);
    }
}
