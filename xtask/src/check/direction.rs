//! The design's map: `base` ← pure ← parts (with `sys`) ← assemblies ← `bastide`.
//! An assembly never depends on another.

use super::{Problem, members};
use cargo_metadata::{DependencyKind, Metadata};

/// The floors of the house, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Floor {
    Base,
    Pure,
    Sys,
    Part,
    Assembly,
    Top,
    /// Beside the product: tests, benches, automation, examples.
    Tool,
}

/// Every crate of the workspace and its floor. A crate that is missing here is a
/// problem: a new room is entered on the map first.
static MAP: &[(&str, Floor)] = &[
    ("base", Floor::Base),
    ("balance", Floor::Pure),
    ("database-route", Floor::Pure),
    ("database-wire", Floor::Pure),
    ("edge-http", Floor::Pure),
    ("edge-route", Floor::Pure),
    ("monitor-alert", Floor::Pure),
    ("monitor-exposition", Floor::Pure),
    ("monitor-forecast", Floor::Pure),
    ("monitor-lang", Floor::Pure),
    ("monitor-model", Floor::Pure),
    ("monitor-promql", Floor::Pure),
    ("monitor-scrape", Floor::Pure),
    ("monitor-wire", Floor::Pure),
    ("site", Floor::Pure),
    ("waf-body", Floor::Pure),
    ("waf-engine", Floor::Pure),
    ("waf-ftw", Floor::Pure),
    ("waf-injection", Floor::Pure),
    ("waf-lang", Floor::Pure),
    ("waf-text", Floor::Pure),
    ("yaml-tree", Floor::Pure),
    ("sys", Floor::Sys),
    ("config", Floor::Part),
    ("edge-cert", Floor::Part),
    ("firewall", Floor::Part),
    ("monitor-agent", Floor::Part),
    ("monitor-logs", Floor::Part),
    ("monitor-store", Floor::Part),
    // The admin socket, events and metrics that every role serves.
    ("role", Floor::Part),
    ("control", Floor::Assembly),
    ("database", Floor::Assembly),
    ("edge", Floor::Assembly),
    ("monitor", Floor::Assembly),
    ("bastide", Floor::Top),
    ("bench", Floor::Tool),
    ("shop", Floor::Tool),
    ("testkit", Floor::Tool),
    ("tests", Floor::Tool),
    ("xtask", Floor::Tool),
];

/// The floor of the crate `name`.
pub(crate) fn floor(name: &str) -> Option<Floor> {
    MAP.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

/// One dependency of a crate of ours on a crate of ours.
#[derive(Clone, Copy, Debug)]
struct Edge<'a> {
    from: &'a str,
    to: &'a str,
    dev: bool,
}

/// Every crate's dependencies on our own crates against the map.
pub(crate) fn check(metadata: &Metadata) -> Vec<Problem> {
    let mut problems = Vec::new();
    for package in members(metadata) {
        if floor(&package.name).is_none() {
            problems.push(problem(&package.name, "is not on the map"));
        }
        for dependency in &package.dependencies {
            // Ours are the ones with a path; a registry crate may share a name.
            if dependency.path.is_none() {
                continue;
            }
            let dev = dependency.kind == DependencyKind::Development;
            problems.extend(judge(Edge { from: &package.name, to: &dependency.name, dev }));
        }
    }
    problems
}

fn judge(edge: Edge<'_>) -> Option<Problem> {
    let (from, to) = (floor(edge.from)?, floor(edge.to)?);
    let allowed = match (from, to) {
        // The shop knows nothing of Bastide: it is what users bring.
        (Floor::Tool, _) if edge.from == "shop" => false,
        (Floor::Tool, _) => true,
        // Tests of anything that does I/O may use the kit.
        (_, Floor::Tool) => edge.dev && edge.to == "testkit" && from >= Floor::Sys,
        (Floor::Pure, Floor::Pure) => true,
        (from, to) => to < from,
    };
    let what = format!("depends on `{}`: {from:?} may not stand on {to:?}", edge.to);
    (!allowed).then(|| problem(edge.from, &what))
}

fn problem(at: &str, what: &str) -> Problem {
    Problem {
        rule: "direction",
        at: format!("crate `{at}`"),
        what: what.to_owned(),
        hint: "base ← pure ← parts (with sys) ← assemblies ← bastide, and assemblies never depend on \
               one another; what they share goes down or travels in `site` revisions (the map is \
               xtask/src/check/direction.rs)"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(from: &str, to: &str, dev: bool) -> bool {
        assert!(floor(from).is_some() && floor(to).is_some(), "{from} and {to} are on the map");
        judge(Edge { from, to, dev }).is_none()
    }

    #[test]
    fn the_map_is_kept() {
        for (from, to, dev, expected) in [
            ("waf-engine", "base", false, true),
            ("waf-engine", "edge-http", false, true),
            ("waf-engine", "sys", false, false),
            ("base", "site", false, false),
            ("base", "waf-engine", true, false),
            ("sys", "base", false, true),
            ("sys", "site", false, true),
            ("role", "sys", false, true),
            ("config", "role", false, false),
            ("edge", "role", false, true),
            ("edge", "database", false, false),
            ("edge", "control", true, false),
            ("bastide", "edge", false, true),
            ("edge", "bastide", false, false),
            ("edge", "testkit", true, true),
            ("edge", "testkit", false, false),
            ("waf-engine", "testkit", true, false),
            ("edge", "tests", true, false),
            ("tests", "bastide", true, true),
            ("xtask", "monitor-promql", false, true),
            ("shop", "base", false, false),
        ] {
            assert_eq!(allowed(from, to, dev), expected, "{from} → {to} (dev: {dev})");
        }
    }
}
