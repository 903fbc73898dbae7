//! ModSecurity's own regression cases: what it refuses is refused here, and what it
//! reads is read, but for what this engine says it does not support.

#![allow(clippy::print_stderr)] // What is skipped is said.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use waf_lang::{Files, parse};

fn cases() -> Option<Vec<(String, Value)>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/modsecurity-regression");
    let Ok(entries) = std::fs::read_dir(folder) else {
        eprintln!("skipped: no regression cases beside the repository");
        return None;
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read(&path).expect("a file");
        let all: Vec<Value> = serde_json::from_slice(&text).expect("JSON");
        cases.extend(all.into_iter().map(|case| (name.clone(), case)));
    }
    Some(cases)
}

/// The data files that the cases name, which are not beside them: written from what
/// the cases' own expectations tell of them.
fn files(case: &Value) -> Files {
    let mut all: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for (name, text) in [
        (
            "test-cases/data/config_example.txt",
            "SecRule ARGS \"@contains config_example\" \"id:40,pass,t:trim\"\n",
        ),
        (
            "test-cases/data/config_example2.txt",
            "SecRule ARGS \"@contains config_example\" \"id:99,pass,t:trim\"\n",
        ),
        (
            "test-cases/data/config_example3.txt",
            "\nSecRule ARGS \"@contains config_example\" ops \"id:1000,pass,t:trim\"\n",
        ),
        ("test-cases/data/big-file.conf", "SecComponentSignature big\n"),
        ("test-cases/data/ipMatchFromFile.txt", "127.0.0.1\n10.10.10.1\n"),
        ("test-cases/data/unicode.mapping-reduced", "1250 (ANSI)\n00a1:21\n1251 (ANSI)\n00c0:41 00c1:41\n"),
    ] {
        all.insert(name.to_owned(), text.as_bytes().to_vec());
    }
    let rules = case["rules"].as_array().expect("rules");
    let text = rules.iter().map(|rule| rule.as_str().expect("text")).collect::<Vec<_>>().join("\n");
    all.insert("case.conf".to_owned(), text.into_bytes());
    Files { roots: vec!["case.conf".to_owned()], all }
}

#[test]
fn what_must_be_refused_is() {
    let Some(cases) = cases() else { return };
    let mut refused = 0;
    for (file, case) in cases {
        if case["expected"]["parser_error"].is_null() {
            continue;
        }
        assert!(parse(&files(&case)).is_err(), "{file} {}: {:#}", case["title"], case["rules"]);
        refused += 1;
    }
    assert!(refused >= 15, "only {refused} cases");
}

#[test]
fn what_must_be_read_is_or_says_why_not() {
    let Some(cases) = cases() else { return };
    let mut read = 0;
    let mut unexplained = Vec::new();
    for (file, case) in cases {
        if !case["expected"]["parser_error"].is_null() {
            continue;
        }
        match parse(&files(&case)) {
            Ok(_) => read += 1,
            Err(errors) => {
                for error in errors {
                    let known = error.what.contains("not supported")
                        || error.hint.as_ref().is_some_and(|hint| hint.starts_with("data is not fetched"));
                    if !known {
                        unexplained.push(format!("{file} {}: {error}", case["title"]));
                    }
                }
            }
        }
    }
    assert!(unexplained.is_empty(), "{} errors:\n{}", unexplained.len(), unexplained.join("\n"));
    assert!(read >= 400, "only {read} cases");
}
