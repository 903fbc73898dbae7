//! Every transformation and operator is linear in its value, on the inputs that
//! would show if it were not. What is counted is instructions, under callgrind:
//! four times the value may cost at most five times as much. Where valgrind is
//! not installed, the test says so and is not run.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::Command;
use waf_text::{ByteSet, Transformation, operator};

/// Units that, repeated, have made somebody's decoder quadratic.
static UNITS: &[&str] = &[
    "a",
    " ",
    "%",
    "%u",
    "%41",
    "+",
    "\\",
    "\\u",
    "\\1",
    "\\00",
    "&",
    "&a",
    "&#",
    "&#x",
    "&lt",
    "/*",
    "*/",
    "/**/",
    "<!--",
    "-",
    "-->",
    "<!--/*",
    "#",
    "*",
    "/",
    "../",
    "a/../",
    "a/",
    "./",
    ".",
    "0x",
    "0x41",
    "QQ",
    "=",
    "\u{e9}",
    "\u{1f600}",
    "|",
    "|41",
    "\0",
    "'",
];

const SMALL: usize = 1_024;
const LARGE: usize = 4 * SMALL;

type Run = Box<dyn Fn(&[u8])>;

/// What is measured: a name, the bytes without which it has nothing to do, and it.
struct Subject {
    name: &'static str,
    triggers: ByteSet,
    run: Run,
}

impl Subject {
    fn operator(name: &'static str, triggers: ByteSet, run: fn(&[u8])) -> Self {
        Self { name, triggers, run: Box::new(run) }
    }

    fn transformation(transformation: Transformation, name: &'static str) -> Self {
        let run = move |value: &[u8]| {
            let mut out = Vec::with_capacity(value.len() * 4 + 64);
            transformation.apply(value, &mut out);
        };
        Self { name, triggers: transformation.triggers(), run: Box::new(run) }
    }
}

/// All of them, one after the other.
fn subjects() -> Vec<Subject> {
    let mut all: Vec<Subject> =
        Transformation::ALL.iter().map(|&(one, name)| Subject::transformation(one, name)).collect();
    let letters = ByteSet::new(b"a");
    let marks = ByteSet::new(b"|\\");
    all.push(Subject::operator("contains", letters, |value| {
        black_box(operator::contains(value, b"aaaaaaab"));
    }));
    all.push(Subject::operator("containsWord", letters, |value| {
        black_box(operator::contains_word(value, b"aaaaaaaa"));
    }));
    all.push(Subject::operator("validateUrlEncoding", ByteSet::new(b"%"), |value| {
        black_box(operator::invalid_url_encoding(value));
    }));
    all.push(Subject::operator("validateUtf8Encoding", ByteSet::ALL, |value| {
        black_box(operator::invalid_utf8(value));
    }));
    all.push(Subject::operator("pm", marks, |value| {
        black_box(operator::phrases(value));
    }));
    all
}

/// What a subject is tried with. One to which every byte means something works
/// through a value as through any other: a few will do.
fn units(subject: &Subject) -> impl Iterator<Item = &'static str> {
    let (triggers, few) = (subject.triggers, subject.triggers == ByteSet::ALL);
    let telling = UNITS.iter().copied().filter(move |unit| triggers.meets(&ByteSet::of(unit.as_bytes())));
    telling.step_by(if few { 8 } else { 1 })
}

fn repeated(unit: &str, length: usize) -> Vec<u8> {
    unit.bytes().cycle().take(length).collect()
}

/// Callgrind counts what runs within, and writes a file each time it returns.
#[inline(never)]
fn waf_text_probe(run: &dyn Fn(&[u8]), value: &[u8]) {
    run(black_box(value));
}

#[test]
#[ignore = "runs under valgrind, started by `linear`"]
fn probes() {
    for subject in subjects() {
        for unit in units(&subject) {
            for length in [SMALL, LARGE] {
                waf_text_probe(&subject.run, &repeated(unit, length));
            }
        }
    }
}

#[test]
fn linear() {
    let Ok(folder) = Folder::new() else { panic!("no folder for callgrind's files") };
    let me = std::env::current_exe().unwrap_or_else(|error| panic!("{error}"));
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=linear::waf_text_probe"])
        .arg("--dump-after=linear::waf_text_probe")
        .arg(format!("--callgrind-out-file={}", folder.0.join("out").display()))
        .arg(me)
        .args(["--exact", "probes", "--ignored", "--test-threads=1"])
        .output();
    let output = match run {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            eprintln!("not run: valgrind is not installed");
            return;
        }
        Err(error) => panic!("{error}"),
        Ok(output) => output,
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let mut dump = 0;
    let mut wrong = Vec::new();
    for subject in subjects() {
        for unit in units(&subject) {
            let [small, large] = [1, 2].map(|step| folder.instructions(dump + step));
            dump += 2;
            // A thousand instructions are the noise of a call.
            if large > 5 * small + 1_000 {
                wrong.push(format!(
                    "{} of {unit:?}: {small} for {SMALL} bytes, {large} for {LARGE}",
                    subject.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A folder of its own, gone in the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("waf-text-linear-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }

    /// What the dump of that number counted.
    fn instructions(&self, dump: usize) -> u64 {
        let file = self.0.join(format!("out.{dump}"));
        summary(&file).unwrap_or_else(|| panic!("{} holds no count", file.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The line `summary: N` of callgrind's file; `totals:` in some versions.
fn summary(file: &Path) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("summary:").or_else(|| line.strip_prefix("totals:")))?;
    line.trim().parse().ok()
}
