//! Every query of Prometheus' own scripts is read; what is written of it reads
//! the same. The scripts lie beside the repository; without them this says so.

use monitor_lang::{ParseOptions, parse, pretty};
use std::{fs, path::Path};

#[test]
fn queries_of_the_scripts() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/testdata/promql");
    let Ok(files) = fs::read_dir(&dir) else {
        eprintln!("skipped: no scripts beside the repository");
        return;
    };
    let mut read = 0;
    for file in files.map(|file| file.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "test"))
    {
        let script = fs::read_to_string(&file).unwrap();
        let lines: Vec<&str> = script.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let Some(query) = query(line) else { continue };
            // What must fail may do so when it is read.
            let body = lines[i + 1..].iter().take_while(|l| l.starts_with([' ', '\t']));
            let may_fail = line.starts_with("eval_fail") || body.clone().any(|l| l.contains("expect fail"));
            match parse(query, &ParseOptions::default()) {
                Ok(expr) => {
                    read += 1;
                    let printed = expr.to_string();
                    for printed in [pretty(&expr), printed.clone()] {
                        let again = parse(&printed, &ParseOptions::default())
                            .unwrap_or_else(|error| panic!("`{query}` as `{printed}`: {error}"));
                        assert_eq!(again.to_string(), expr.to_string());
                    }
                }
                Err(error) => assert!(may_fail, "{}:{}: `{query}`: {error}", file.display(), i + 1),
            }
        }
    }
    assert!(read > 1000, "only {read} queries were found");
}

/// The query of `eval instant at 5m …` and `eval range from 0 to 5m step 1m …`.
fn query(line: &str) -> Option<&str> {
    let words =
        match line.strip_prefix("eval")?.split_whitespace().find(|w| ["instant", "range"].contains(w))? {
            "instant" => 4,
            _ => 8,
        };
    let mut rest = line;
    for _ in 0..words {
        rest = rest.trim_start();
        rest = &rest[rest.find(char::is_whitespace)?..];
    }
    Some(rest.trim())
}
