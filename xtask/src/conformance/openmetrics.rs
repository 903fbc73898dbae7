//! OpenMetrics' own cases: folders with an exposition, `metrics`, and `test.json`,
//! which says whether it is one (`shouldParse`).

use super::{Failure, Outcome};
use monitor_exposition::{Format, Limits, check};
use std::path::{Path, PathBuf};

/// Every folder below `dir` that holds a case.
pub(super) fn run(dir: &Path) -> Result<Outcome, String> {
    let mut cases = Vec::new();
    find(dir, 0, &mut cases)?;
    if cases.is_empty() {
        return Err(format!("no folder with `metrics` and `test.json` below `{}`", dir.display()));
    }
    cases.sort();
    let mut outcome = Outcome::default();
    for case in cases {
        let name = case.strip_prefix(dir).unwrap_or(&case).display().to_string();
        match judge(&case)? {
            None => outcome.passed += 1,
            Some(why) => {
                outcome.failed += 1;
                outcome.failures.push(Failure { name, why });
            }
        }
    }
    Ok(outcome)
}

/// Folders lie in folders, a few deep.
const MAX_DEPTH: usize = 6;

fn find(dir: &Path, depth: usize, cases: &mut Vec<PathBuf>) -> Result<(), String> {
    let error = |error: std::io::Error| format!("{}: {error}", dir.display());
    if dir.join("metrics").is_file() && dir.join("test.json").is_file() {
        cases.push(dir.to_owned());
    }
    if depth == MAX_DEPTH {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let entry = entry.map_err(error)?;
        if entry.file_type().map_err(error)?.is_dir() {
            find(&entry.path(), depth + 1, cases)?;
        }
    }
    Ok(())
}

/// Why a case failed.
fn judge(case: &Path) -> Result<Option<String>, String> {
    let read = |name: &str| {
        let path = case.join(name);
        std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let test: serde_json::Value = serde_json::from_slice(&read("test.json")?)
        .map_err(|error| format!("{}: {error}", case.join("test.json").display()))?;
    let expected = test
        .get("shouldParse")
        .and_then(serde_json::Value::as_bool)
        .ok_or_else(|| format!("{}: no `shouldParse`", case.join("test.json").display()))?;
    Ok(match (check(Format::OpenMetrics, &read("metrics")?, Limits::default()), expected) {
        (Ok(_), true) | (Err(_), false) => None,
        (Ok(_), false) => Some("it was taken, and is no OpenMetrics".to_owned()),
        (Err(error), true) => Some(format!("it was refused: {error}")),
    })
}
