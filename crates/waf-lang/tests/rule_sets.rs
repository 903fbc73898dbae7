//! The Core Rule Set, as its authors and as Debian ship it, reads without an error.

#![allow(clippy::print_stderr)] // What is skipped is said.

use std::path::Path;

use waf_lang::model::{Item, RuleSet};
use waf_lang::{Files, Kind, parse, referenced};

/// Every file of a folder, and an entry file that includes them as their manual says.
fn load(folders: &[&Path], entry: &str) -> RuleSet {
    let mut files = Files { roots: vec!["entry.conf".to_owned()], ..Files::default() };
    files.all.insert("entry.conf".to_owned(), entry.as_bytes().to_vec());
    for folder in folders {
        for file in std::fs::read_dir(folder).expect("the folder is readable") {
            let path = file.expect("an entry").path();
            let name = path.file_name().and_then(|name| name.to_str()).expect("a name").to_owned();
            files.all.insert(format!("crs/{name}"), std::fs::read(&path).expect("a file"));
        }
    }
    for (name, text) in &files.all {
        for reference in referenced(name, text) {
            let there = files.all.contains_key(&reference.name_or_pattern);
            assert!(reference.kind == Kind::Rules || there, "{reference:?} of {name} is there");
        }
    }
    match parse(&files) {
        Ok(rules) => rules,
        Err(errors) => {
            let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
            panic!("{} errors:\n{}", all.len(), all.join("\n"));
        }
    }
}

/// Rules, links with a test, `SecAction`s, markers.
fn counts(rules: &RuleSet) -> (usize, usize, usize, usize) {
    let mut counts = (0, 0, 0, 0);
    for item in &rules.items {
        match item {
            Item::Marker(_) => counts.3 += 1,
            Item::Rule(rule) => {
                counts.0 += 1;
                for link in &rule.links {
                    if link.test.is_some() {
                        counts.1 += 1;
                    } else {
                        counts.2 += 1;
                    }
                }
            }
        }
    }
    counts
}

#[test]
fn core_rule_set_4() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/crs/rules");
    if !folder.exists() {
        eprintln!("skipped: no Core Rule Set beside the repository");
        return;
    }
    let rules = load(&[&folder], "Include crs/crs-setup.conf.example\nInclude crs/*.conf\n");
    assert_eq!(counts(&rules), (630, 695, 8, 30));
    let updated: usize = rules
        .items
        .iter()
        .filter_map(|item| match item {
            Item::Rule(rule) => Some(rule),
            Item::Marker(_) => None,
        })
        .flat_map(|rule| rule.links.first())
        .filter_map(|link| link.test.as_ref())
        .map(|test| test.targets.iter().filter(|target| target.exclude).count())
        .sum();
    assert!(updated >= 55, "{updated} exclusions");
    assert!(rules.notes.is_empty(), "{:?}", rules.notes);
}

#[test]
fn core_rule_set_3_of_debian() {
    // Where Debian's package is installed, or where it was unpacked.
    let root = std::env::var("CRS3_ROOT").unwrap_or_else(|_| "/".to_owned());
    let root = Path::new(&root);
    let (setup, rules) = (root.join("etc/modsecurity/crs"), root.join("usr/share/modsecurity-crs/rules"));
    if !setup.exists() || !rules.exists() {
        eprintln!("skipped: modsecurity-crs is neither installed nor unpacked in `CRS3_ROOT`");
        return;
    }
    let rules = load(&[&setup, &rules], "Include crs/crs-setup.conf\nInclude crs/RE*.conf\n");
    let all = counts(&rules);
    assert_eq!(all.1, 790, "{all:?}");
    // `@geoLookup` and `@rbl`, which its setup leaves switched off.
    assert_eq!(rules.notes.len(), 2, "{:?}", rules.notes);
}
