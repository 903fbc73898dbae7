//! `cargo xtask check`: the house's rules that a machine can see.
//!
//! Each module below holds one rule as a function of plain data, tested there
//! with cases that break it; this file gathers the data and prints.

mod direction;
mod files;
mod licences;
mod purity;
mod reasons;
mod unused;

use cargo_metadata::{Metadata, MetadataCommand};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// A rule broken somewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// The rule: `direction`, `purity`, `licences`, …
    pub(crate) rule: &'static str,
    /// Where: a crate, or `path:line`.
    pub(crate) at: String,
    /// What is wrong.
    pub(crate) what: String,
    /// What to do.
    pub(crate) hint: String,
}

/// Checks everything and prints the problems, then one line that counts them.
pub(crate) fn run(root: &Path, json: bool, bless: bool) -> ExitCode {
    let problems = match gather(root, bless) {
        Ok(problems) => problems,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(1);
        }
    };
    if json {
        match serde_json::to_string_pretty(&problems) {
            Ok(text) => println!("{text}"),
            Err(error) => eprintln!("error: the problems could not be written as JSON: {error}"),
        }
    } else {
        for problem in &problems {
            eprintln!("error[{}]: {}: {}\n  hint: {}", problem.rule, problem.at, problem.what, problem.hint);
        }
    }
    eprintln!("house rules: {} problem(s)", problems.len());
    ExitCode::from(u8::from(!problems.is_empty()))
}

fn gather(root: &Path, bless: bool) -> Result<Vec<Problem>, String> {
    let metadata = MetadataCommand::new()
        .current_dir(root)
        .exec()
        .map_err(|error| format!("cargo metadata failed: {error}"))?;
    let tracked = tracked_files(root)?;
    if bless {
        files::bless(root, &tracked)?;
    }
    let mut problems = direction::check(&metadata);
    problems.extend(purity::check(root, &metadata)?);
    problems.extend(licences::check(root, &metadata)?);
    problems.extend(unused::check(&metadata)?);
    problems.extend(reasons::check(root, &metadata));
    problems.extend(files::check(root, &tracked)?);
    Ok(problems)
}

/// The repository's files: tracked ones, and new ones that are not ignored, so
/// that a developer hears of a problem before the commit and not after.
fn tracked_files(root: &Path) -> Result<Vec<String>, String> {
    let output = Command::new("git")
        .current_dir(root)
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .output()
        .map_err(|error| format!("`git` could not be started: {error}\nhint: install git"))?;
    if !output.status.success() {
        return Err(format!("git ls-files failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    let mut files: Vec<String> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    files.sort();
    files.dedup();
    Ok(files)
}

/// The packages of this workspace.
fn members(metadata: &Metadata) -> impl Iterator<Item = &cargo_metadata::Package> {
    metadata.packages.iter().filter(|package| metadata.workspace_members.contains(&package.id))
}

/// The Rust files below `folder`, without what builds leave behind.
fn sources(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        let built = path.ends_with("target") || path.ends_with("node_modules");
        if path.is_dir() && !built {
            found.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
