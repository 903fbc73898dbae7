//! `cargo xtask conformance NAME [--json] [--dir DIR]`: other people's suites
//! against our crates.
//!
//! A suite reads its data from a folder that is not part of the repository
//! (`../shared/testdata/…` unless `--dir` says otherwise). Where the folder is
//! absent, the run says so and counts nothing as passed.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// One suite.
struct Suite {
    name: &'static str,
    about: &'static str,
    /// Below `../shared/testdata`.
    data: &'static str,
    run: fn(&Path) -> Result<Outcome, String>,
}

static SUITES: &[Suite] =
    &[Suite { name: "promql", about: "Prometheus' PromQL scripts", data: "promql", run: promql }];

/// What a suite's run gave.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// Cases that did as the suite says.
    pub(crate) passed: u64,
    /// Cases that did not.
    pub(crate) failed: u64,
    /// Cases that were not run, because what they need is not built.
    pub(crate) skipped: u64,
    /// Why, for each that failed.
    pub(crate) failures: Vec<Failure>,
    /// What the skipped ones need, and how many need it.
    #[serde(skip)]
    pub(crate) needs: BTreeMap<String, u64>,
}

/// A case that did not do as the suite says.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Failure {
    /// The case, as its suite names it.
    pub(crate) name: String,
    /// What was expected and what came.
    pub(crate) why: String,
}

/// Runs the suite `name` and prints what it gave.
pub(crate) fn run(root: &Path, name: Option<&str>, json: bool, dir: Option<PathBuf>) -> ExitCode {
    let Some(name) = name else {
        for suite in SUITES {
            println!("{:<12} {}", suite.name, suite.about);
        }
        return ExitCode::SUCCESS;
    };
    let Some(suite) = SUITES.iter().find(|suite| suite.name == name) else {
        let known: Vec<_> = SUITES.iter().map(|suite| suite.name).collect();
        eprintln!("error: no conformance suite `{name}`\nhint: there are: {}", known.join(", "));
        return ExitCode::from(64);
    };
    let given = dir.is_some();
    let dir = dir.unwrap_or_else(|| root.join("../shared/testdata").join(suite.data));
    if !dir.is_dir() {
        eprintln!("conformance {name}: not run: no data at `{}`", dir.display());
        eprintln!("hint: name the folder with --dir");
        // Absent data is no failure of ours where nobody asked for that folder.
        return ExitCode::from(u8::from(given));
    }
    match (suite.run)(&dir) {
        Ok(outcome) => report(&outcome, json),
        Err(error) => {
            eprintln!("error: conformance {name} could not run: {error}");
            ExitCode::from(1)
        }
    }
}

/// Every script of the folder through `monitor-promql`.
fn promql(dir: &Path) -> Result<Outcome, String> {
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|error| format!("{}: {error}", dir.display()))? {
        let path = entry.map_err(|error| format!("{}: {error}", dir.display()))?.path();
        if path.extension().is_some_and(|extension| extension == "test") {
            scripts.push(path);
        }
    }
    if scripts.is_empty() {
        return Err(format!("no `.test` script in `{}`", dir.display()));
    }
    scripts.sort();
    let mut outcome = Outcome::default();
    for path in scripts {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        let report = monitor_promql::script::run(&file, &text);
        outcome.passed += report.passed as u64;
        outcome.failed += report.failed.len() as u64;
        outcome.skipped += report.skipped.len() as u64;
        outcome
            .failures
            .extend(report.failed.into_iter().map(|case| Failure { name: case.name, why: case.why }));
        for case in report.skipped {
            *outcome.needs.entry(case.why).or_default() += 1;
        }
    }
    Ok(outcome)
}

/// Prints `outcome`; with `json` the object is the only thing on stdout.
fn report(outcome: &Outcome, json: bool) -> ExitCode {
    let closing = closing_line(outcome);
    for (need, count) in &outcome.needs {
        eprintln!("skipped {count}: {need}");
    }
    if json {
        match serde_json::to_string_pretty(outcome) {
            Ok(text) => println!("{text}"),
            Err(error) => {
                eprintln!("error: the outcome could not be written as JSON: {error}");
                return ExitCode::from(1);
            }
        }
        eprintln!("{closing}");
    } else {
        for failure in &outcome.failures {
            println!("FAILED {}\n    {}", failure.name, failure.why.trim_end().replace('\n', "\n    "));
        }
        println!("{closing}");
    }
    ExitCode::from(u8::from(outcome.failed > 0))
}

/// `N passed, N failed`, and `, N skipped` where some were.
fn closing_line(outcome: &Outcome) -> String {
    let mut line = format!("{} passed, {} failed", outcome.passed, outcome.failed);
    if outcome.skipped > 0 {
        line.push_str(&format!(", {} skipped", outcome.skipped));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_the_one_that_is_read() {
        let mut outcome = Outcome { passed: 3, failed: 1, ..Outcome::default() };
        assert_eq!(closing_line(&outcome), "3 passed, 1 failed");
        outcome.skipped = 2;
        assert_eq!(closing_line(&outcome), "3 passed, 1 failed, 2 skipped");
    }
}
