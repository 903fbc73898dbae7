//! Every sample of TOML in the documentation, the examples and the templates is
//! a file that the parser accepts. A fence marked `toml,fragment` is no whole file.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Files of an ending below a folder of the repository.
fn files(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !name.starts_with('.') && name != "target" && name != "node_modules" {
            files(&path, ending, found);
        } else if path.extension().is_some_and(|known| known == ending) {
            found.push(path);
        }
    }
}

/// The fenced blocks whose first word after the fence is `toml` alone, each with its line.
fn samples(markdown: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut inside: Option<(usize, bool, String)> = None;
    for (index, line) in markdown.lines().enumerate() {
        let fence = line.trim_start().strip_prefix("```");
        match (&mut inside, fence) {
            (None, Some(mark)) => inside = Some((index + 1, mark.trim() == "toml", String::new())),
            (Some((at, wanted, text)), Some(_)) => {
                if *wanted {
                    found.push((*at, std::mem::take(text)));
                }
                inside = None;
            }
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

fn accept(name: &str, text: &str) -> Result<(), String> {
    match config::parse(name, text) {
        Ok(parsed) if parsed.warnings.is_empty() => Ok(()),
        Ok(parsed) => Err(parsed.warnings.iter().map(|warning| warning.render(false)).collect()),
        Err(findings) => Err(findings.iter().map(|finding| finding.render(false)).collect()),
    }
}

#[test]
fn samples_of_documents_are_accepted() {
    let mut documents = Vec::new();
    files(&root().join("docs"), "md", &mut documents);
    files(&root().join("examples"), "md", &mut documents);
    for name in ["README.md", "ARCHITECTURE.md", "LEXICON.md", "THREATS.md", "CHANGELOG.md"] {
        documents.extend(Some(root().join(name)).filter(|path| path.exists()));
    }
    let mut wrong = Vec::new();
    for path in &documents {
        let markdown = fs::read_to_string(path).expect("a document is UTF-8");
        for (line, text) in samples(&markdown) {
            if let Err(findings) = accept(&format!("{}, from line {line}", path.display()), &text) {
                wrong.push(findings);
            }
        }
    }
    assert!(!documents.is_empty(), "the reference at least is a document");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn examples_are_accepted() {
    let mut found = Vec::new();
    files(&root().join("examples"), "toml", &mut found);
    for path in found.iter().filter(|path| path.ends_with("bastide.toml")) {
        let text = fs::read_to_string(path).expect("an example is UTF-8");
        accept(&path.display().to_string(), &text).unwrap_or_else(|findings| panic!("{findings}"));
    }
}

#[test]
fn templates_are_accepted() {
    for template in config::TEMPLATES {
        accept(template.name, template.text).unwrap_or_else(|findings| panic!("{findings}"));
    }
    accept("minimal", config::minimal_example()).unwrap_or_else(|findings| panic!("{findings}"));
}

#[test]
fn fences_are_found() {
    let markdown =
        "a\n```toml\n[[route]]\n```\n```toml,fragment\nx\n```\n  ```toml\ny\n  ```\n```sh\n```toml\n";
    assert_eq!(samples(markdown), [(2, "[[route]]\n".to_owned()), (8, "y\n".to_owned())]);
}
