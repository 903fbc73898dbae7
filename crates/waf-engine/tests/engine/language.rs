//! What rules mean: `../cases/*.txt`, whose form [`crate::case`] explains. Each case
//! runs twice: as rules run, in a workspace that other cases have used, and without
//! any short cut in a new one.

use crate::case::{self, Case};
use crate::exchange::Outcome;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use waf_engine::settings::Settings;
use waf_engine::{Engine, LoadError, Verdict, Workspace, builtin};

/// Ids of the rules that tell what a macro is, from here on.
const TELLS: u64 = 990_000;

#[test]
fn cases() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).expect("the cases").map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    let (mut failed, mut count) = (String::new(), 0);
    let mut workspace = Workspace::default();
    for path in paths {
        let file = path.file_name().expect("a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).expect("a file of cases");
        for case in case::read(&text) {
            count += 1;
            let mut wrong = Vec::new();
            workspace = run(&case, workspace, &mut wrong);
            for line in wrong {
                writeln!(failed, "{file}: {}: {line}", case.name).expect("room");
            }
        }
    }
    assert!(failed.is_empty(), "\n{failed}");
    assert!(count > 100, "{count} cases");
}

fn run(case: &Case, workspace: Workspace, wrong: &mut Vec<String>) -> Workspace {
    let macros = case::macros(case);
    let mut settings = case.settings.clone();
    for (at, text) in macros.iter().enumerate() {
        let id = TELLS + at as u64;
        write!(settings.files[0].text, "\nSecAction \"id:{id},phase:5,pass,log,noauditlog,msg:'{text}'\"")
            .expect("room");
    }
    let fast = match load(&settings, Engine::load) {
        Ok(engine) => engine,
        Err(errors) => {
            not_loaded(case, &errors, wrong);
            return workspace;
        }
    };
    let plain = load(&settings, Engine::load_plain).expect("what loads with short cuts loads without");
    let left: Vec<u64> = fast.ids_left().collect();
    let mut workspace = workspace;
    for (number, step) in case.steps.iter().enumerate() {
        let (outcome, back) = step.exchange.run(&fast, std::mem::take(&mut workspace));
        workspace = back;
        let (without, _) = step.exchange.run(&plain, Workspace::default());
        for (how, outcome, engine) in [("", &outcome, &fast), (" without short cuts", &without, &plain)] {
            for expected in &step.expected {
                let judged = Judged { outcome, engine, macros: &macros, left: &left };
                if let Err(found) = judged.check(expected) {
                    wrong.push(format!("step {}{how}: expected `{expected}`, found `{found}`", number + 1));
                }
            }
            if !step.expected.iter().any(|line| line.starts_with("matched")) {
                wrong.push("it does not say what matched".to_owned());
            }
        }
    }
    workspace
}

type Load = fn(&Settings) -> Result<Engine, Vec<LoadError>>;

fn load(settings: &Settings, by: Load) -> Result<Arc<Engine>, Vec<LoadError>> {
    by(settings).map(Arc::new)
}

fn not_loaded(case: &Case, errors: &[LoadError], wrong: &mut Vec<String>) {
    let text: String = errors.iter().map(|error| format!("{error}\n")).collect();
    for expected in case.steps.iter().flat_map(|step| &step.expected) {
        let fits = expected.strip_prefix("not loaded ").is_some_and(|part| text.contains(part));
        if !fits {
            wrong.push(format!("expected `{expected}`, found `{}`", text.trim()));
        }
    }
}

struct Judged<'j> {
    outcome: &'j Outcome,
    engine: &'j Engine,
    macros: &'j [String],
    left: &'j [u64],
}

impl Judged<'_> {
    /// What was found instead, if so.
    fn check(&self, expected: &str) -> Result<(), String> {
        let report = &self.outcome.report;
        let same = |found: String, expected: &str| if found == expected { Ok(()) } else { Err(found) };
        let has = |found: String, part: &str| if found.contains(part) { Ok(()) } else { Err(found) };
        let (word, rest) = expected.split_once(' ').unwrap_or((expected, ""));
        match word {
            "pass" | "deny" | "redirect" | "drop" => same(verdict(self.outcome.verdict()), expected),
            "matched" => {
                let ids = report.matched_ids.iter().filter(|id| {
                    let own = (builtin::TOO_MUCH..=builtin::BODY_TOO_LARGE).contains(id);
                    own || **id < TELLS && self.left.contains(id)
                });
                let ids: Vec<String> = ids.map(u64::to_string).collect();
                same(ids.join(" "), rest)
            }
            "would" => {
                let found = report.disrupted_by.map(|id| format!("would be refused by {id}"));
                same(found.unwrap_or_default(), expected)
            }
            "exceeded" => same(report.exceeded.map(|e| e.as_str()).unwrap_or("nothing").to_owned(), rest),
            "error" => has(report.body_error.clone().unwrap_or("none".to_owned()), rest),
            "body" => {
                let found = if self.outcome.wanted_request_body { "body wanted" } else { "body not wanted" };
                same(found.to_owned(), expected)
            }
            "response" => {
                let found =
                    if self.outcome.wanted_response_body { "response wanted" } else { "response not wanted" };
                same(found.to_owned(), expected)
            }
            "note" => has(self.engine.notes().iter().map(|note| format!("{}\n", note.text)).collect(), rest),
            "msg" | "data" | "at" | "saw" | "found" => self.told(word, rest),
            _ if expected.starts_with("%{") => self.macro_is(expected),
            _ => panic!("`{expected}` is nothing that can be expected"),
        }
    }

    /// `1 = text`, of the matches of rule 1.
    fn told(&self, what: &str, rest: &str) -> Result<(), String> {
        let (id, expected) = rest.split_once(" =").expect("a rule's id, ` = `, a text");
        let id: u64 = id.parse().expect("a rule's id");
        let mut all = self.outcome.report.matches.iter().filter(|told| told.rule == id);
        let found = match what {
            "msg" => all.next().map(|told| told.message.clone()).unwrap_or("no match".to_owned()),
            "data" => all.next().map(|told| told.data.clone()).unwrap_or("no match".to_owned()),
            "at" => all.map(|told| told.variable.as_str()).collect::<Vec<_>>().join(" "),
            "saw" => all.map(|told| told.transformed.as_str()).collect::<Vec<_>>().join(" | "),
            _ => all.map(|told| told.matched.as_str()).collect::<Vec<_>>().join(" | "),
        };
        if found == expected.strip_prefix(' ').unwrap_or(expected) { Ok(()) } else { Err(found) }
    }

    fn macro_is(&self, expected: &str) -> Result<(), String> {
        let (name, value) = expected.split_once(" =").expect("a macro, ` = `, a text");
        let at = self.macros.iter().position(|known| known == name).expect("a macro that was asked for");
        let told = self.outcome.report.matches.iter().find(|told| told.rule == TELLS + at as u64);
        let found = told.map(|told| told.message.clone()).unwrap_or("phase 5 did not run".to_owned());
        if found == value.strip_prefix(' ').unwrap_or(value) {
            Ok(())
        } else {
            Err(format!("{name} = {found}"))
        }
    }
}

fn verdict(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Pass => "pass".to_owned(),
        Verdict::Deny { status, rule } => format!("deny {status} by {rule}"),
        Verdict::Redirect { status, to, rule } => format!("redirect {status} {to} by {rule}"),
        Verdict::Drop { rule } => format!("drop by {rule}"),
    }
}
