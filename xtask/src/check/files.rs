//! What files may say and how long they may be.
//!
//! Lengths are a ratchet: 90 of 100 Rust files stay below [`P90`] lines, and a
//! file above [`LONG`] lines is listed in `xtask/long-files.txt` with the length
//! it had when it was listed and may shrink only. `cargo xtask check --bless`
//! writes the list anew.

use super::Problem;
use std::collections::BTreeMap;
use std::path::Path;

/// Nine of ten Rust files are shorter than this.
const P90: usize = 600;
/// A longer source file must be listed.
const LONG: usize = 800;
const LIST: &str = "xtask/long-files.txt";

/// Text that no file may hold, and why. Written in halves, so that this file
/// does not break its own rule.
static FORBIDDEN: &[(&str, &str)] = &[
    (concat!("index.crates", ".io"), HOST),
    (concat!("static.crates", ".io"), HOST),
    (concat!("registry.npm", "js.org"), HOST),
    (concat!("registry.yarn", "pkg.com"), HOST),
    (concat!("files.python", "hosted.org"), HOST),
    (concat!("pypi", ".org"), HOST),
    (concat!("deb.debi", "an.org"), HOST),
    (concat!("security.debi", "an.org"), HOST),
    (concat!("proxy.gol", "ang.org"), HOST),
    (concat!("/wo", "rk/main"), PATH),
    (concat!("/wo", "rk/shared"), PATH),
    (concat!("/wo", "rk/."), PATH),
    (concat!("/ro", "ot/.cargo"), PATH),
    (concat!("/ro", "ot/.rustup"), PATH),
    (concat!("/ro", "ot/.pyenv"), PATH),
    (concat!("/tmp/ba", "sh_jobs"), PATH),
    (concat!("/fa", "rm/"), PATH),
];
const HOST: &str = "registries are reached by package name with their ordinary clients; their hosts stay out";
const PATH: &str = "a path of one machine means nothing on another; write it relative to the repository";

/// Strings and lengths of `files`, which are relative to `root`.
pub(crate) fn check(root: &Path, files: &[String]) -> Result<Vec<Problem>, String> {
    let mut problems = Vec::new();
    let mut lengths = BTreeMap::new();
    for file in files {
        // Deleted but not yet committed, or binary: nothing to read.
        let Ok(bytes) = std::fs::read(root.join(file)) else { continue };
        let Ok(text) = std::str::from_utf8(&bytes) else { continue };
        problems.extend(forbidden(file, text));
        if is_source(file) {
            lengths.insert(file.as_str(), text.lines().count());
        }
    }
    let listed = std::fs::read_to_string(root.join(LIST)).unwrap_or_default();
    problems.extend(too_long(&lengths, &parse_list(&listed)?));
    Ok(problems)
}

/// Writes the list of long files as they are now.
pub(crate) fn bless(root: &Path, files: &[String]) -> Result<(), String> {
    let mut text =
        String::from("# Files above 800 lines and what they may have at most: this list only shrinks.\n");
    for file in files.iter().filter(|file| is_source(file)) {
        let lines = std::fs::read_to_string(root.join(file)).unwrap_or_default().lines().count();
        if lines > LONG {
            text.push_str(&format!("{lines} {file}\n"));
        }
    }
    std::fs::write(root.join(LIST), text).map_err(|error| format!("{LIST}: {error}"))
}

/// Hand-written source; `ui/dist` is a build's output.
fn is_source(file: &str) -> bool {
    let kept = [".rs", ".ts", ".tsx", ".css", ".sh"].iter().any(|end| file.ends_with(end));
    kept && !file.starts_with("ui/dist/")
}

fn forbidden(file: &str, text: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for (needle, why) in FORBIDDEN {
            if line.contains(needle) {
                let (at, what) = (format!("{file}:{}", index + 1), format!("holds `{needle}`"));
                problems.push(Problem { rule: "strings", at, what, hint: (*why).to_owned() });
            }
        }
        // A lock file that records where packages came from names a registry's
        // host, whichever it was.
        if file.ends_with("package-lock.json") && line.trim_start().starts_with("\"resolved\"") {
            let hint = "npm config set omit-lockfile-registry-resolved true, then npm install".to_owned();
            let (at, what) = (format!("{file}:{}", index + 1), "records a download address".to_owned());
            problems.push(Problem { rule: "strings", at, what, hint });
            break;
        }
    }
    problems
}

/// Lines such as `912 crates/x/src/y.rs`.
fn parse_list(text: &str) -> Result<BTreeMap<&str, usize>, String> {
    let mut list = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let parsed = line.split_once(' ').and_then(|(n, file)| Some((file.trim(), n.parse().ok()?)));
        let (file, lines) = parsed.ok_or(format!("{LIST}: `{line}` is not a length and a file"))?;
        list.insert(file, lines);
    }
    Ok(list)
}

fn too_long(lengths: &BTreeMap<&str, usize>, listed: &BTreeMap<&str, usize>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let hint = "would it be easier to find one's way in as two files?".to_owned();
    let mut add = |at: &str, what: String| {
        problems.push(Problem { rule: "lengths", at: at.to_owned(), what, hint: hint.clone() });
    };
    for (file, lines) in lengths {
        match listed.get(file) {
            Some(limit) if lines > limit => {
                add(file, format!("grew from {limit} to {lines} lines; {LIST} lets it shrink only"));
            }
            None if *lines > LONG => add(file, format!("has {lines} lines, more than {LONG}")),
            _ => {}
        }
    }
    for file in listed.keys() {
        if lengths.get(file).is_none_or(|lines| *lines <= LONG) {
            add(file, format!("is not long any more: take it off {LIST}"));
        }
    }
    let mut rust: Vec<usize> = lengths.iter().filter(|(f, _)| f.ends_with(".rs")).map(|(_, n)| *n).collect();
    rust.sort_unstable();
    // The smallest length that at least nine of ten files do not exceed.
    if let Some(p90) = rust.get((rust.len() * 9).div_ceil(10).saturating_sub(1))
        && *p90 >= P90
    {
        add(
            "the workspace",
            format!("a tenth of the Rust files have {p90} lines or more (aim: below {P90})"),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_paths_are_found_with_their_line() {
        let text = format!("fine\nsee {} here\n", concat!("registry.npm", "js.org"));
        let found = forbidden("a.md", &text);
        assert_eq!((found.len(), found[0].at.as_str()), (1, "a.md:2"));
        assert_eq!(forbidden("a.md", "a rule about /root/ and /tmp/ is fine, so is crates.io"), []);
        let lock = "{\n \"node_modules/a\": {\n  \"resolved\": \"https://host.example/a.tgz\"\n";
        assert_eq!(forbidden("ui/package-lock.json", lock).len(), 1);
        assert_eq!(forbidden("ui/other.json", lock), []);
    }

    #[test]
    fn long_files_may_only_shrink() {
        let check = |lines: usize, listed: &str| {
            let lengths = BTreeMap::from([("a.rs", lines), ("b.rs", 10)]);
            too_long(&lengths, &parse_list(listed).unwrap())
                .iter()
                .filter(|p| p.at == "a.rs")
                .map(|p| p.what.clone())
                .collect::<Vec<_>>()
                .join("")
        };
        assert_eq!(check(800, ""), "");
        assert!(check(801, "").contains("more than 800"));
        assert_eq!(check(900, "# list\n900 a.rs\n"), "");
        assert!(check(901, "900 a.rs").contains("grew"));
        assert!(check(700, "900 a.rs").contains("take it off"));
        assert!(parse_list("many a.rs").is_err());
    }

    #[test]
    fn the_ninetieth_percentile_is_kept() {
        let names: Vec<String> = (0..10).map(|i| format!("{i}.rs")).collect();
        let judge = |long: usize| {
            let lengths =
                names.iter().enumerate().map(|(i, n)| (n.as_str(), if i < long { 700 } else { 10 }));
            too_long(&lengths.collect(), &BTreeMap::new()).len()
        };
        assert_eq!((judge(0), judge(1), judge(2)), (0, 0, 1));
    }
}
