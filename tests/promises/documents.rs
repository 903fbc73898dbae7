//! The documents say what is true of the program: commands they print are
//! understood, and each ready-made alert has its page.

use std::path::{Path, PathBuf};
use testkit::site::{Site, repository};

#[test]
fn every_command_of_the_documents_is_understood() {
    let site = Site::empty();
    let (mut tried, mut wrong) = (0, Vec::new());
    for path in documents() {
        let text = std::fs::read_to_string(&path).expect("a document is UTF-8");
        for command in commands(&text) {
            tried += 1;
            // With `--help` at its end a command is parsed, and then explained instead of done.
            let mut args: Vec<&str> = command.iter().map(String::as_str).take_while(|a| *a != "--").collect();
            args.push("--help");
            let output = site.run(&args);
            if !output.status.success() {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                wrong.push(format!("{}: bastide {}: {said}", path.display(), command.join(" ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(tried > 30, "only {tried} commands were found");
}

#[test]
fn every_ready_made_alert_has_a_runbook() {
    let reference = read("docs/reference/file.md");
    let index = read("docs/runbooks/README.md");
    let (_, table) = reference.split_once("## Ready-made alerts").expect("the reference lists them");
    let names: Vec<&str> =
        table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        assert!(index.contains(&format!("[{name}]({name}.md)")), "the runbooks' index has no `{name}`");
        let page = read(&format!("docs/runbooks/{name}.md"));
        for part in ["## Look", "## Do"] {
            assert!(page.contains(part), "{name}.md has no `{part}`");
        }
    }
}

/// The reference of SecLang names every directive, operator, transformation and action
/// that the parser's tables have, with what becomes of it.
#[test]
fn every_word_of_the_rule_language_is_in_its_reference() {
    let reference = read("docs/reference/seclang.md");
    let (mut known, mut missing) = (0, Vec::new());
    for file in [
        "waf-lang/src/directive.rs",
        "waf-lang/src/operator.rs",
        "waf-lang/src/action.rs",
        "waf-lang/src/control.rs",
    ] {
        let text = read(&format!("crates/{file}"));
        // Tables are lists of tuples whose first part is the name.
        let tables = text.split("#[cfg(test)]").next().unwrap_or_default();
        let mut lines = tables.lines().map(str::trim).peekable();
        while let Some(line) = lines.next() {
            let entry = match line {
                "(" => lines.peek().copied().unwrap_or_default(),
                line => line.strip_prefix('(').unwrap_or_default(),
            };
            let Some((name, _)) = entry.strip_prefix('"').and_then(|rest| rest.split_once("\",")) else {
                continue;
            };
            known += 1;
            let spelt = [
                format!("`{name}`"),
                format!("`@{name}`"),
                format!("`{}`", name.replace("sanitize", "sanitise")),
            ];
            if !spelt.iter().any(|spelt| reference.contains(spelt.as_str())) {
                missing.push(format!("{file}: {name}"));
            }
        }
    }
    for (_, name) in waf_text::Transformation::ALL {
        known += 1;
        if !reference.contains(&format!("`{name}`")) {
            missing.push((*name).to_owned());
        }
    }
    assert!(missing.is_empty(), "not in docs/reference/seclang.md:\n{}", missing.join("\n"));
    assert!(known > 200, "only {known} words were found");
}

#[test]
fn commands_are_found_in_fences_and_cut_where_they_end() {
    let text = "bastide no\n```sh\nbastide up   # now\nbastide check && bastide plan\npg_dump \"$(bastide database url)\" > x\n\
                bastide query 'a | b'\n```\n```toml\nbastide = 1\n```\n";
    let found: Vec<String> = commands(text).iter().map(|c| c.join(" ")).collect();
    assert_eq!(found, ["up", "check", "plan", "database url", "query a | b"]);
}

fn read(name: &str) -> String {
    let path = repository().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// All of ours in Markdown.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![repository().join("README.md")];
    let mut folders = vec![repository().join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of documents").flatten() {
            let path = entry.path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension() == Some(Path::new("md").as_os_str()) => found.push(path),
                false => {}
            }
        }
    }
    found
}

/// The arguments of each `bastide` that a shell would run in a text's `sh` fences.
fn commands(text: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut inside = false;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix("```") {
            Some(language) => inside = !inside && language == "sh",
            None if inside => {
                let mut rest = line;
                while let Some(at) = rest.find("bastide ") {
                    let before = rest[..at].chars().next_back();
                    rest = &rest[at + "bastide ".len()..];
                    if before.is_none_or(|c| matches!(c, ' ' | '(')) && !rest.starts_with(['/', '-']) {
                        found.push(words(rest));
                    }
                }
            }
            None => {}
        }
    }
    found.retain(|command| !command.is_empty());
    found
}

/// A command's words up to where the shell would end it; quotes keep words together.
fn words(text: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '#' | '&' | '|' | '>' | ')' | ';') => break,
            (None, ' ') => words.extend((!word.is_empty()).then(|| std::mem::take(&mut word))),
            (_, c) => word.push(c),
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}
