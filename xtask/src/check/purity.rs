//! Pure crates: no I/O, no clock, no randomness, no tokio.
//!
//! Two looks: at what a pure crate links (the resolved graph, without build and
//! dev dependencies), and at what its own source calls outside tests. A library
//! that could do I/O and is only asked to parse is welcome, so the first list
//! names only what exists for I/O.

use super::direction::{Floor, floor};
use super::{Problem, members, sources};
use cargo_metadata::{DependencyKind, Metadata, PackageId};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Crates that exist to do I/O or to reach the operating system.
static IMPURE_CRATES: &[&str] =
    &["hyper", "hyper-util", "memmap2", "mio", "notify", "procfs", "rustix", "socket2", "sys", "tokio"];

/// Calls that do I/O, read a clock or draw randomness.
static IMPURE_CALLS: &[&str] = &[
    "std::env::",
    "std::fs",
    "std::os::unix::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "RandomState::new",
    "SystemTime::now",
    "TcpListener",
    "TcpStream",
    "UdpSocket",
];

/// Whether a crate must be pure.
fn is_pure(name: &str) -> bool {
    matches!(floor(name), Some(Floor::Base | Floor::Pure))
}

/// Both looks at every pure crate.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Problem>, String> {
    let mut problems = Vec::new();
    let graph = linked(metadata);
    let names: BTreeMap<_, _> = metadata.packages.iter().map(|p| (&p.id, p.name.as_str())).collect();
    for package in members(metadata).filter(|package| is_pure(&package.name)) {
        for id in reach(&graph, &package.id) {
            let name = names.get(id).copied().unwrap_or_default();
            if IMPURE_CRATES.contains(&name) {
                problems.push(problem(&format!("crate `{}`", package.name), &format!("links `{name}`")));
            }
        }
        let folder = package.manifest_path.parent().map(|dir| dir.join("src")).unwrap_or_default();
        for file in sources(folder.as_std_path())? {
            // A module of tests in its own file may read its cases.
            if file.ends_with("tests.rs") {
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
            let shown = file.strip_prefix(root).unwrap_or(&file).display().to_string();
            for (line, call) in impure_calls(&text) {
                problems.push(problem(&format!("{shown}:{line}"), &format!("uses `{call}`")));
            }
        }
    }
    Ok(problems)
}

/// What each package links: its normal dependencies.
fn linked(metadata: &Metadata) -> BTreeMap<&PackageId, Vec<&PackageId>> {
    let nodes = metadata.resolve.as_ref().map(|resolve| resolve.nodes.as_slice()).unwrap_or_default();
    let normal = |node: &'_ cargo_metadata::NodeDep| {
        node.dep_kinds.iter().any(|kind| {
            // What only other systems link does not count.
            let here = kind.target.as_ref().is_none_or(|t| !t.to_string().contains("windows"));
            kind.kind == DependencyKind::Normal && here
        })
    };
    nodes.iter().map(|n| (&n.id, n.deps.iter().filter(|d| normal(d)).map(|d| &d.pkg).collect())).collect()
}

fn reach<'a>(
    graph: &BTreeMap<&'a PackageId, Vec<&'a PackageId>>,
    from: &'a PackageId,
) -> BTreeSet<&'a PackageId> {
    let mut seen = BTreeSet::new();
    let mut next = vec![from];
    while let Some(id) = next.pop() {
        for to in graph.get(id).into_iter().flatten() {
            if seen.insert(*to) {
                next.push(to);
            }
        }
    }
    seen
}

/// Line numbers and calls; comments, and everything from the first `#[cfg(test)]`
/// on (tests stand last in a file), are left out.
fn impure_calls(text: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("#[cfg(test)]") {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        found.extend(IMPURE_CALLS.iter().filter(|call| code.contains(**call)).map(|call| (index + 1, *call)));
    }
    found
}

fn problem(at: &str, what: &str) -> Problem {
    Problem {
        rule: "purity",
        at: at.to_owned(),
        what: what.to_owned(),
        hint: "a pure crate decides and an assembly does: take the time, the seed or the bytes as an \
               argument"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_outside_comments_and_tests() {
        let text = "//! std::fs is not used\nfn f() { std::fs::read(\"x\"); }\nlet t = Instant::now(); // now\n\
                    #[cfg(test)]\nmod tests { fn g() { std::process::exit(0) } }\n";
        assert_eq!(impure_calls(text), [(2, "std::fs"), (3, "Instant::now")]);
    }

    #[test]
    fn base_and_pure_crates_must_be_pure_and_others_need_not() {
        assert!(is_pure("base") && is_pure("waf-engine") && is_pure("site"));
        assert!(!is_pure("sys") && !is_pure("edge") && !is_pure("xtask") && !is_pure("serde"));
    }
}
