//! What the parser says of a file: `cases/NAME.toml` and the findings expected
//! of it, `cases/NAME.txt`, as `bastide check` shows them.
//!
//! `BASTIDE_BLESS=1` writes the expected findings anew; read the difference.

use std::fs;
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the cases are beside this file")
        .map(|entry| entry.expect("a folder that can be read").path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .collect();
    files.sort();
    files
}

fn findings(path: &Path) -> String {
    let text = fs::read_to_string(path).expect("a case is UTF-8");
    let (found, closing) = match config::parse("bastide.toml", &text) {
        Ok(parsed) => (parsed.warnings, "accepted"),
        Err(found) => (found, "refused"),
    };
    let mut out: Vec<String> = found.iter().map(|finding| finding.render(false)).collect();
    out.push(format!("{closing}\n"));
    out.join("\n")
}

#[test]
fn every_case_is_told_as_expected() {
    let bless = std::env::var_os("BASTIDE_BLESS").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(cases.len() >= 30, "only {} cases were found", cases.len());
    for path in cases {
        let expected_path = path.with_extension("txt");
        let found = findings(&path);
        assert!(!found.contains("5ECRET"), "a secret is shown in {}", path.display());
        if bless {
            fs::write(&expected_path, &found).expect("the folder can be written");
            continue;
        }
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if found != expected {
            wrong.push(format!("{}\n--- expected\n{expected}\n--- found\n{found}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What programs read, and what a terminal shows, say the same.
#[test]
fn findings_are_the_same_in_every_form() {
    let text = "[site]\nname = \"a\"\nname = \"b\"\n[pool.app]\nrnu = 1\n";
    let found = config::parse("bastide.toml", text).expect_err("the file is wrong");
    let json = serde_json::to_value(&found).expect("findings are data");
    let first = &json[0];
    assert_eq!(first["severity"], "error");
    assert_eq!(first["code"], "duplicate");
    assert_eq!((&first["line"], &first["column"]), (&3.into(), &1.into()));
    assert_eq!(first["span"], serde_json::json!({ "start": 18, "end": 22 }));
    assert_eq!(first["related"][0]["line"], 2);
    assert_eq!(json[1]["code"], "unknown-key");
    assert_eq!(json[1]["hint"], "did you mean `run`?");
    for finding in &found {
        let coloured = finding.render(true);
        assert!(coloured.contains("\x1b["));
        let plain: String = coloured
            .split('\x1b')
            .map(|part| {
                part.strip_prefix('[').and_then(|part| part.split_once('m')).map_or(part, |(_, rest)| rest)
            })
            .collect();
        assert_eq!(plain, finding.render(false));
    }
}

#[test]
fn the_name_of_the_site() {
    let route = "[[route]]\nfiles = \".\"\n";
    let name = |file: &str, site: &str| {
        let text = format!("{site}{route}");
        config::parse(file, &text).expect("the file is right").config.name()
    };
    assert_eq!(name("bastide.toml", ""), "bastide");
    assert_eq!(name("/srv/my shop.toml", ""), "my-shop");
    assert_eq!(name("x", "[site]\nname = \"shop\"\n"), "shop");
    assert_eq!(name("x", "[site]\ndomains = [\"*.shop.example\", \"b.example\"]\n"), "shop.example");
    assert_eq!(name("x", "[site]\ndomains = [\"2001:db8::1\"]\n"), "2001-db8--1");
    assert_eq!(name("..", ""), "site");
}

/// No text makes the parser panic: every case with bytes cut off, removed,
/// doubled and replaced.
#[test]
fn damaged_files_are_refused_or_read_but_never_panic() {
    let seed = 0x5eed_u64;
    println!("seed {seed:#x}");
    let mut state = seed;
    let mut random = move |below: usize| {
        // splitmix64 (Steele, Lea, Flood 2014)
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % below.max(1) as u64) as usize
    };
    let bits = [
        "\"", "[", "]", "[[", "{", "}", "=", "\n", ".", "é", "\u{202E}", "\u{0}", "\\u0007", "-1", "[]",
        "''", "{}",
    ];
    for path in cases() {
        let text: Vec<char> = fs::read_to_string(&path).expect("a case is UTF-8").chars().collect();
        for _ in 0..60 {
            let mut damaged = text.clone();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                match random(4) {
                    0 => damaged.truncate(at),
                    1 => drop(damaged.drain(at..(at + random(8)).min(damaged.len()))),
                    2 => drop(damaged.splice(at..at, bits[random(bits.len())].chars())),
                    _ => {
                        let piece: Vec<char> = damaged[at..(at + random(40)).min(damaged.len())].to_vec();
                        drop(damaged.splice(at..at, piece));
                    }
                }
            }
            let damaged: String = damaged.into_iter().collect();
            if let Err(findings) = config::parse("x", &damaged) {
                assert!(!findings.is_empty(), "refused without a reason: {damaged}");
                for finding in findings {
                    let shown = finding.render(false);
                    assert!(shown.chars().all(|c| c == '\n' || !c.is_control()), "{shown:?}");
                }
            }
        }
    }
}
