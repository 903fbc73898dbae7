//! Depend on purpose: each direct dependency has a line in
//! `docs/decisions/dependencies.md` that says what it solves for us, and each
//! line has its dependency.

use super::{Problem, members};
use cargo_metadata::Metadata;
use std::collections::BTreeSet;
use std::path::Path;

const FILE: &str = "docs/decisions/dependencies.md";

/// The direct dependencies against the file.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Vec<Problem> {
    let direct: BTreeSet<&str> = members(metadata)
        .flat_map(|package| &package.dependencies)
        .filter(|dependency| dependency.path.is_none())
        .map(|dependency| dependency.name.as_str())
        .collect();
    match std::fs::read_to_string(root.join(FILE)) {
        Ok(text) => compare(&direct, &text),
        Err(error) => vec![problem(FILE, format!("cannot be read: {error}"))],
    }
}

fn compare(direct: &BTreeSet<&str>, text: &str) -> Vec<Problem> {
    let listed: Vec<(usize, &str, &str)> = text.lines().enumerate().filter_map(entry).collect();
    let mut problems = Vec::new();
    for name in direct {
        if !listed.iter().any(|(_, listed, _)| listed == name) {
            problems.push(problem(FILE, format!("no line says what `{name}` solves for us")));
        }
    }
    for (index, (line, name, reason)) in listed.iter().enumerate() {
        let at = format!("{FILE}:{line}");
        if !direct.contains(name) {
            problems.push(problem(&at, format!("`{name}` is not a direct dependency (any more)")));
        }
        if reason.split_whitespace().count() < 3 {
            problems.push(problem(&at, format!("`{name}` has no reason")));
        }
        if index > 0 && listed[index - 1].1 >= *name {
            problems.push(problem(&at, format!("`{name}` is not in alphabetical order, or is there twice")));
        }
    }
    problems
}

/// A line such as "- `name`: reason": its number, name and reason.
fn entry((index, line): (usize, &str)) -> Option<(usize, &str, &str)> {
    let (name, reason) = line.trim_start().strip_prefix("- `")?.split_once('`')?;
    Some((index + 1, name, reason.trim_start_matches([':', ' ', '—', '–', '-'])))
}

fn problem(at: &str, what: String) -> Problem {
    let hint = "one line each, in alphabetical order: - `name`: what it solves for us".to_owned();
    Problem { rule: "reasons", at: at.to_owned(), what, hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dependency_has_one_reason_and_every_reason_its_dependency() {
        let direct = BTreeSet::from(["bytes", "clap"]);
        let good =
            "# Dependencies\n\n- `bytes`: shared buffers without copies.\n- `clap`: the command line.\n";
        assert_eq!(compare(&direct, good), []);
        for (text, expected) in [
            ("- `bytes`: shared buffers without copies.", "no line says what `clap` solves"),
            ("- `bytes`: shared buffers here.\n- `clap`: x", "`clap` has no reason"),
            ("- `clap`: the command line.\n- `bytes`: shared buffers here.", "not in alphabetical order"),
            ("- `bytes`: a b c\n- `clap`: a b c\n- `dead`: a b c", "`dead` is not a direct dependency"),
        ] {
            let found = compare(&direct, text);
            assert!(found.iter().any(|p| p.what.contains(expected)), "{text}: {found:?}");
        }
    }
}
