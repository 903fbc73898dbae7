//! `cargo xtask bench NAME …`: builds what is measured with optimisation, then
//! hands over to the `bench` binary, which does the measuring.

use std::path::Path;
use std::process::{Command, ExitCode};

/// Builds `bench`, and `bastide` where it is what is measured, for release and runs
/// the former with `arguments`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> ExitCode {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--release", "--quiet", "-p", "bench"]);
    // The WAF's benches and that of logs have what they measure within them.
    if !arguments.first().is_some_and(|name| name.starts_with("waf") || name == "logs") {
        build.args(["-p", "bastide"]);
    }
    match build.status() {
        Ok(status) if status.success() => {}
        Ok(_) => {
            eprintln!("error: the release build failed\nhint: see the compiler's messages above");
            return ExitCode::from(1);
        }
        Err(error) => {
            eprintln!("error: `cargo` could not be started: {error}");
            return ExitCode::from(1);
        }
    }
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    let program = target.join("release/bench");
    match Command::new(&program).arg("--target").arg(&target).args(arguments).status() {
        // A signal (Ctrl-C) has no code: failed.
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => {
            eprintln!("error: `{}` could not be started: {error}", program.display());
            ExitCode::from(1)
        }
    }
}
