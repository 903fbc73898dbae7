//! `cargo xtask conformance waf-differential [--count N] [--seed N] [--pl 1,4] …`:
//! our WAF engine and libmodsecurity on the same generated requests. The work is
//! `bench`'s, which knows how to run both; here it is only started.
//!
//! With `--ratchet`, as `script/test` runs suites, it is short, and where there is
//! no libmodsecurity or no data it says so and counts as nothing.

use crate::bench;
use std::path::Path;
use std::process::ExitCode;

/// As the suites are listed.
pub(crate) const NAME: &str = "waf-differential";

/// What it is.
pub(crate) const ABOUT: &str = "block decisions like libmodsecurity's, on generated requests";

/// Requests of the short form, at each paranoia level.
const SHORT: &str = "1500";

/// Hands `arguments`, what stands behind the name, to `bench`.
pub(crate) fn run(root: &Path, arguments: &[String]) -> ExitCode {
    let short = arguments.iter().any(|argument| argument == "--ratchet");
    let mut rest: Vec<String> = vec![NAME.to_owned()];
    rest.extend(arguments.iter().filter(|argument| *argument != "--ratchet").cloned());
    if short {
        if let Some(missing) = missing(root) {
            eprintln!("conformance {NAME}: not run: {missing}");
            return ExitCode::SUCCESS;
        }
        rest.extend(["--count".to_owned(), SHORT.to_owned()]);
    }
    bench::run(root, &rest)
}

/// What this machine lacks for it, where nobody asked for it by name.
fn missing(root: &Path) -> Option<&'static str> {
    if !root.join("../shared/testdata/crs/rules").is_dir() {
        return Some("no data at `../shared/testdata/crs`");
    }
    let header = Path::new("/usr/include/modsecurity/modsecurity.h").is_file();
    (!header).then_some("no libmodsecurity (Debian: libmodsecurity-dev)")
}
