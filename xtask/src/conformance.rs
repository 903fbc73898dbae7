//! `cargo xtask conformance NAME [--json] [--dir DIR]`: other people's suites
//! against our crates.
//!
//! A suite reads its data from a folder that is not part of the repository
//! (`../shared/testdata/…` unless `--dir` says otherwise). Where the folder is
//! absent, the run says so and counts nothing as passed.
//!
//! The suite `crs` also takes `--rules DIR`, `--tests DIR` and `--case ID`.
//!
//! A run fails where a case failed. With `--ratchet`, as `script/test` runs it, it
//! fails where it is worse than `xtask/conformance.toml` says: fewer cases passed,
//! or one failed that is not known to.

mod agent;
mod crs;
mod openmetrics;
mod seclang;

use crate::differential;
pub(crate) use crs::Options as CrsOptions;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use toml_edit::{DocumentMut, Item};

/// One suite.
struct Suite {
    name: &'static str,
    about: &'static str,
    /// Below `../shared/testdata`.
    data: &'static str,
    run: fn(&Path, &crs::Options) -> Result<Outcome, String>,
}

static SUITES: &[Suite] = &[
    Suite {
        name: "agent",
        about: "node_exporter's end-to-end case",
        data: "node_exporter",
        run: |dir, _| agent::run(dir),
    },
    Suite { name: "crs", about: "the Core Rule Set's regression cases", data: "crs", run: crs::run },
    Suite {
        name: "openmetrics",
        about: "OpenMetrics' cases for parsers",
        data: "openmetrics",
        run: |dir, _| openmetrics::run(dir),
    },
    Suite { name: "promql", about: "Prometheus' PromQL scripts", data: "promql", run: |dir, _| promql(dir) },
    Suite {
        name: "seclang",
        about: "Coraza's and ModSecurity's SecLang cases",
        data: "",
        run: |dir, _| seclang::run(dir),
    },
];

/// What a suite's run gave.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Outcome {
    /// Cases that did as the suite says.
    pub(crate) passed: u64,
    /// Cases that did not.
    pub(crate) failed: u64,
    /// Cases that were not run, because what they need is not built.
    pub(crate) skipped: u64,
    /// Cases whose bytes a standard has us refuse before the suite's subject sees them.
    pub(crate) refused: Vec<crs::Refused>,
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
pub(crate) fn run(
    root: &Path,
    name: Option<&str>,
    json: bool,
    ratchet: bool,
    dir: Option<PathBuf>,
    options: &crs::Options,
) -> ExitCode {
    let Some(name) = name else {
        for suite in SUITES {
            println!("{:<12} {}", suite.name, suite.about);
        }
        println!("{:<12} {}", differential::NAME, differential::ABOUT);
        return ExitCode::SUCCESS;
    };
    let Some(suite) = SUITES.iter().find(|suite| suite.name == name) else {
        let known: Vec<_> = SUITES.iter().map(|suite| suite.name).chain([differential::NAME]).collect();
        eprintln!("error: no conformance suite `{name}`\nhint: there are: {}", known.join(", "));
        return ExitCode::from(64);
    };
    if name != "crs" && options.any() {
        eprintln!("error: `--rules`, `--tests` and `--case` belong to the suite `crs`");
        return ExitCode::from(64);
    }
    let given = dir.is_some();
    let dir = dir.unwrap_or_else(|| root.join("../shared/testdata").join(suite.data));
    let elsewhere = options.rules.is_some() && options.tests.is_some();
    if !dir.is_dir() && !elsewhere {
        eprintln!("conformance {name}: not run: no data at `{}`", dir.display());
        eprintln!("hint: name the folder with --dir");
        // Absent data is no failure of ours where nobody asked for that folder.
        return ExitCode::from(u8::from(given));
    }
    match (suite.run)(&dir, options) {
        Ok(outcome) => {
            let printed = report(&outcome, json);
            if !ratchet {
                return printed;
            }
            match worse(root, name, &outcome) {
                Ok(None) => ExitCode::SUCCESS,
                Ok(Some(what)) | Err(what) => {
                    eprintln!("error: conformance {name}: {what}");
                    ExitCode::from(1)
                }
            }
        }
        Err(error) => {
            eprintln!("error: conformance {name} could not run: {error}");
            ExitCode::from(1)
        }
    }
}

/// What is worse than the file says.
fn worse(root: &Path, name: &str, outcome: &Outcome) -> Result<Option<String>, String> {
    let file = "xtask/conformance.toml";
    let text = std::fs::read_to_string(root.join(file)).map_err(|error| format!("{file}: {error}"))?;
    compare(name, &text, outcome).map_err(|error| format!("{file}: {error}"))
}

fn compare(name: &str, text: &str, outcome: &Outcome) -> Result<Option<String>, String> {
    let document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let table = document.get(name).ok_or_else(|| format!("no [{name}]"))?;
    let floor = table.get("passed").and_then(Item::as_integer).ok_or("no `passed`")?;
    let floor = u64::try_from(floor).map_err(|_| "`passed` is negative")?;
    let known: Vec<&str> = match table.get("known").and_then(Item::as_array) {
        Some(cases) => cases.iter().filter_map(|case| case.as_str()).collect(),
        None => Vec::new(),
    };
    // A known case is named by its beginning, file and line.
    let new =
        outcome.failures.iter().find(|failure| !known.iter().any(|case| failure.name.starts_with(case)));
    Ok(match new {
        Some(failure) => Some(format!("`{}` is not known to fail", failure.name)),
        None if outcome.passed < floor => Some(format!("{} passed, and {floor} did before", outcome.passed)),
        None => None,
    })
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
        outcome
            .failures
            .extend(report.failed.into_iter().map(|case| Failure { name: case.name, why: case.why }));
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
        for refused in &outcome.refused {
            println!("{}", refused.line());
        }
        if !outcome.refused.is_empty() {
            println!("{} refused as HTTP has it, neither passed nor failed", outcome.refused.len());
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

    #[test]
    fn the_ratchet_holds() {
        let failure = |name: &str| Failure { name: name.to_owned(), why: String::new() };
        let judge = |passed, failures: Vec<Failure>, text: &str| {
            compare("suite", text, &Outcome { passed, failures, ..Outcome::default() })
                .map(|worse| worse.is_some())
        };
        let text = "[suite]\npassed = 10\nknown = [\"a.test:7:\"]\n";
        assert_eq!(judge(10, vec![], text), Ok(false));
        assert_eq!(judge(10, vec![failure("a.test:7: x")], text), Ok(false));
        assert_eq!(judge(9, vec![], text), Ok(true));
        assert_eq!(judge(11, vec![failure("a.test:70: x")], text), Ok(true));
        assert!(judge(10, vec![], "[other]\n").is_err());
    }
}
