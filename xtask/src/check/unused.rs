//! A dependency that no source file of its crate names is not needed.

use super::{Problem, members, sources};
use cargo_metadata::Metadata;

/// Every direct dependency of every crate against that crate's source.
pub(crate) fn check(metadata: &Metadata) -> Result<Vec<Problem>, String> {
    let mut problems = Vec::new();
    for package in members(metadata) {
        let folder = package.manifest_path.parent().ok_or("a manifest without a folder")?;
        let mut texts = Vec::new();
        for file in sources(folder.as_std_path())? {
            texts.push(std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?);
        }
        for dependency in &package.dependencies {
            let name = dependency.rename.as_deref().unwrap_or(&dependency.name).replace('-', "_");
            if !texts.iter().any(|text| names(text, &name)) {
                problems.push(Problem {
                    rule: "unused",
                    at: format!("crate `{}`", package.name),
                    what: format!("does not use its dependency `{}`", dependency.name),
                    hint: "take it out of the crate's Cargo.toml".to_owned(),
                });
            }
        }
    }
    Ok(problems)
}

/// Whether `text` has `name` as a word, outside line comments.
fn names(text: &str, name: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.lines().any(|line| {
        let code = line.split("//").next().unwrap_or_default();
        code.match_indices(name).any(|(at, _)| {
            let before = code[..at].chars().next_back();
            let after = code[at + name.len()..].chars().next();
            !before.is_some_and(part) && !after.is_some_and(part)
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_words_of_code() {
        for (text, expected) in [
            ("use http::Request;", true),
            ("let x = http::x();", true),
            ("// http is not used", false),
            ("use http_body::Body;", false),
            ("use axum_http::x;", false),
            ("", false),
        ] {
            assert_eq!(names(text, "http"), expected, "{text}");
        }
    }
}
