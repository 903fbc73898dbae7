//! Rule files and what becomes of them: texts in, a dump or messages out. Each case
//! of `cases/*.txt` is `== name`, the files (`-- file name` begins another than
//! `main.conf`), `=>`, and what is expected.

mod dump;

use std::fmt::Write as _;
use std::path::Path;

use waf_lang::{Files, parse};

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut failed = String::new();
    let mut count = 0;
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        let (_, cases) = text.split_once("\n== ").expect("a first case");
        let mut written = text[..text.find("\n== ").expect("a first case")].to_owned();
        for case in cases.split("\n== ") {
            let (name, rest) = case.split_once('\n').expect("a name");
            let (input, expected) = rest.split_once("\n=>").expect("an expectation");
            let found = answer(&files(input));
            if found.trim() != expected.trim() {
                let file = path.file_name().expect("a name").display();
                writeln!(failed, "{file}: {name}\nfound:\n{found}\nexpected:\n{expected}").expect("room");
            }
            writeln!(written, "\n== {name}\n{input}\n=>\n{}", found.trim()).expect("room");
            count += 1;
        }
        // To take what is found for what is expected; read the difference before you keep it.
        if std::env::var_os("ACCEPT_CASES").is_some() {
            std::fs::write(&path, written).expect("the file is written");
        }
    }
    assert!(failed.is_empty(), "{failed}");
    assert!(count > 70, "{count} cases");
}

fn files(input: &str) -> Files {
    let mut files = Files { roots: vec!["main.conf".to_owned()], ..Files::default() };
    let mut name = "main.conf";
    for line in input.split_inclusive('\n') {
        match line.strip_prefix("-- file ") {
            Some(other) => {
                name = other.trim_end();
                files.all.entry(name.to_owned()).or_default();
            }
            None => files.all.entry(name.to_owned()).or_default().extend_from_slice(line.as_bytes()),
        }
    }
    files
}

fn answer(files: &Files) -> String {
    match parse(files) {
        Ok(rules) => dump::rules(&rules),
        Err(errors) => errors.iter().map(|error| format!("{error}\n")).collect(),
    }
}
