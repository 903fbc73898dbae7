//! Licences and sources of everything that is linked, built with or tested with.
//!
//! `deny.toml` holds the lists (in cargo-deny's format, so that that tool reads
//! the same file): `[licenses] allow`, the exceptions for single crates, and
//! nothing but the default registry and paths of this workspace as a source. The
//! page's packages are read from their lock file; those that only build or test
//! it are not shipped and not looked at.

use super::Problem;
use cargo_metadata::Metadata;
use spdx::{Expression, ParseMode};
use std::path::Path;
use toml_edit::{DocumentMut, Item};

/// The lists of `deny.toml`.
#[derive(Debug, Default)]
struct Lists {
    allow: Vec<String>,
    /// Crate and the licences that it alone may have.
    exceptions: Vec<(String, Vec<String>)>,
}

/// Every package of the resolved graph against the lists.
pub(crate) fn check(root: &Path, metadata: &Metadata) -> Result<Vec<Problem>, String> {
    let path = root.join("deny.toml");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let lists = parse(&text).map_err(|error| format!("deny.toml: {error}"))?;
    let mut problems = Vec::new();
    for package in &metadata.packages {
        let at = format!("crate `{} {}`", package.name, package.version);
        let ours = metadata.workspace_members.contains(&package.id);
        if let Err(what) = source_is_allowed(package.source.as_ref().map(|s| s.repr.as_str()), ours) {
            let hint = "depend on a published version, or bring the code into the workspace".to_owned();
            problems.push(Problem { rule: "sources", at: at.clone(), what, hint });
        }
        if let Err(what) = licence_is_allowed(&package.name, package.license.as_deref(), &lists) {
            let hint = "choose another crate; a permissive licence that is missing is added to deny.toml \
                        with the reason"
                .to_owned();
            problems.push(Problem { rule: "licences", at, what, hint });
        }
    }
    let lock = "ui/package-lock.json";
    if let Ok(text) = std::fs::read_to_string(root.join(lock)) {
        problems.extend(page(lock, &text, &lists).map_err(|error| format!("{lock}: {error}"))?);
    }
    Ok(problems)
}

/// The packages of an npm lock file (version 3) that are bundled into the page.
fn page(file: &str, text: &str, lists: &Lists) -> Result<Vec<Problem>, String> {
    let lock: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let packages = lock.get("packages").and_then(|p| p.as_object()).ok_or("no `packages`")?;
    let mut problems = Vec::new();
    for (path, package) in packages {
        let flag = |name: &str| package.get(name).and_then(serde_json::Value::as_bool) == Some(true);
        // The empty path is ours.
        if path.is_empty() || flag("dev") || flag("devOptional") {
            continue;
        }
        let licence = package.get("license").and_then(|licence| licence.as_str());
        if let Err(what) = licence_is_allowed(path, licence, lists) {
            let hint = "choose another package".to_owned();
            problems.push(Problem { rule: "licences", at: format!("{file}: `{path}`"), what, hint });
        }
    }
    Ok(problems)
}

fn parse(text: &str) -> Result<Lists, String> {
    let document: DocumentMut = text.parse().map_err(|error| format!("{error}"))?;
    let strings = |item: Option<&Item>| -> Vec<String> {
        let array = item.and_then(Item::as_array);
        array.into_iter().flatten().filter_map(|value| value.as_str()).map(str::to_owned).collect()
    };
    let licenses = document.get("licenses").ok_or("no [licenses]")?;
    let allow = strings(licenses.get("allow"));
    if allow.is_empty() {
        return Err("[licenses] allow is empty".to_owned());
    }
    let mut exceptions = Vec::new();
    for exception in licenses.get("exceptions").and_then(Item::as_array).into_iter().flatten() {
        let table = exception.as_inline_table().ok_or("an exception is not a table")?;
        let name = table.get("crate").and_then(|v| v.as_str()).ok_or("an exception has no `crate`")?;
        let allow = table.get("allow").and_then(|v| v.as_array()).ok_or("an exception has no `allow`")?;
        let allow = allow.iter().filter_map(|v| v.as_str()).map(str::to_owned).collect();
        exceptions.push((name.to_owned(), allow));
    }
    Ok(Lists { allow, exceptions })
}

fn source_is_allowed(source: Option<&str>, ours: bool) -> Result<(), String> {
    match source {
        None if ours => Ok(()),
        None => Err("is a path outside the workspace".to_owned()),
        Some(source) if cargo_metadata::Source { repr: source.to_owned() }.is_crates_io() => Ok(()),
        Some(source) => Err(format!("comes from `{source}`, not from the default registry")),
    }
}

fn licence_is_allowed(name: &str, licence: Option<&str>, lists: &Lists) -> Result<(), String> {
    let licence = licence.ok_or("states no SPDX licence")?;
    // Lax: older manifests write `MIT/Apache-2.0`.
    let expression = Expression::parse_mode(licence, ParseMode::LAX)
        .map_err(|error| format!("has the licence `{licence}`, which does not parse: {}", error.reason))?;
    let own = lists.exceptions.iter().filter(|(crate_name, _)| crate_name == name).flat_map(|(_, l)| l);
    let allowed: Vec<&String> = lists.allow.iter().chain(own).collect();
    // "A OR B" needs one, "A AND B" both; an exception (WITH …) only takes
    // demands away, but is listed like a licence to be sure that it was read.
    let accepted = expression.evaluate(|wanted| allowed.iter().any(|one| **one == wanted.to_string()));
    if accepted {
        Ok(())
    } else {
        Err(format!("has the licence `{licence}`, which deny.toml does not allow"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = r#"
[licenses]
allow = ["MIT", "Apache-2.0", "ISC"]
exceptions = [{ crate = "roots", allow = ["CDLA-Permissive-2.0"] }]
"#;

    #[test]
    fn expressions_are_evaluated() {
        let lists = parse(DENY).unwrap();
        for (name, licence, expected) in [
            ("a", Some("MIT"), true),
            ("a", Some("MIT/Apache-2.0"), true),
            ("a", Some("GPL-3.0-only"), false),
            ("a", Some("MIT OR LGPL-2.1-or-later"), true),
            ("a", Some("MIT AND GPL-2.0-only"), false),
            ("a", Some("(MIT OR GPL-2.0-only) AND ISC"), true),
            ("a", Some("AGPL-3.0-only"), false),
            ("a", Some("CDLA-Permissive-2.0"), false),
            ("roots", Some("CDLA-Permissive-2.0"), true),
            ("a", Some("no licence at all"), false),
            ("a", None, false),
        ] {
            assert_eq!(licence_is_allowed(name, licence, &lists).is_ok(), expected, "{name}: {licence:?}");
        }
    }

    #[test]
    fn sources_are_the_default_registry_and_the_workspace() {
        let registry = concat!("registry+https://github.com/rust-lang/crates.io", "-index");
        assert!(source_is_allowed(Some(registry), false).is_ok());
        assert!(source_is_allowed(None, true).is_ok());
        assert!(source_is_allowed(None, false).is_err());
        assert!(source_is_allowed(Some("git+https://example.com/x"), false).is_err());
        assert!(source_is_allowed(Some("registry+https://example.com/index"), false).is_err());
    }

    #[test]
    fn packages_of_the_page_are_checked_and_its_tools_are_not() {
        let lock = r#"{ "packages": { "": {},
            "node_modules/good": { "license": "MIT" },
            "node_modules/bad": { "license": "GPL-3.0-only" },
            "node_modules/none": {},
            "node_modules/tool": { "license": "MPL-2.0", "dev": true } } }"#;
        let found = page("lock", lock, &parse(DENY).unwrap()).unwrap();
        let at: Vec<_> = found.iter().map(|p| p.at.as_str()).collect();
        assert_eq!(at, ["lock: `node_modules/bad`", "lock: `node_modules/none`"]);
        assert!(page("lock", "{}", &parse(DENY).unwrap()).is_err());
    }

    #[test]
    fn a_deny_file_without_a_list_is_refused() {
        assert!(parse("[licenses]\n").is_err());
        assert!(parse("").is_err());
    }
}
