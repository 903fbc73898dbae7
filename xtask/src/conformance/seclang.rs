//! Other people's SecLang cases: Coraza's operator and transformation cases, and
//! the portable ones of ModSecurity v3's regression suite.
//!
//! The folder may be that of the units (with `operators` and `transformations` in
//! it), that of the regression cases (`*.json`), or one that holds both as
//! `seclang-units` and `modsecurity-regression`.

mod judge;
mod play;
mod regression;
mod targets;
mod units;

use super::Outcome;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// Runs whatever of the three the folder holds.
pub(super) fn run(dir: &Path) -> Result<Outcome, String> {
    // A panic is told as its case's failure, once.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = all(dir);
    std::panic::set_hook(hook);
    outcome
}

fn all(dir: &Path) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let folders = [dir.to_owned(), dir.join("seclang-units"), dir.join("modsecurity-regression")];
    for folder in folders.iter().filter(|folder| folder.is_dir()) {
        for file in cases(&folder.join("transformations"))? {
            units::transformations(&file, &mut outcome)?;
        }
        for file in cases(&folder.join("operators"))? {
            units::operators(&file, &mut outcome)?;
        }
        for file in cases(folder)? {
            regression::run(&file, &mut outcome)?;
        }
    }
    if outcome == Outcome::default() {
        return Err(format!("no case in `{}`", dir.display()));
    }
    Ok(outcome)
}

/// The `.json` files of a folder, by name; none where there is no such folder.
fn cases(folder: &Path) -> Result<Vec<PathBuf>, String> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let error = |error: std::io::Error| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read<T: DeserializeOwned>(file: &Path) -> Result<Vec<T>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))
}

/// A file's name as failures give it.
fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
