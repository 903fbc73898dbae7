//! `cargo xtask conformance crs --rules DIR --tests DIR [--case 920100-2]`: the
//! Core Rule Set's regression cases.
//!
//! Each case's bytes go through our strict head parser, then through the rules at
//! paranoia level 4 in detection mode, to a back end that reflects, and back
//! through the response phases ([`exchange`]). `waf-ftw` reads the cases and
//! judges.
//!
//! Where the parser refuses the bytes, the case passes or fails by the status it
//! expects. Where it expects something else of bytes that HTTP has a server
//! refuse, it is listed as refused, with the section that says so; the rules alone
//! then see the bytes through a lenient reading, and the list says whether they
//! would have met the expectation.

mod exchange;
mod lenient;
mod rules;
#[cfg(test)]
mod tests;

use super::{Failure, Outcome};
use edge_http::Refusal;
use exchange::{Exchange, Site};
use serde::Serialize;
use std::path::{Path, PathBuf};
use waf_ftw::{Case, Previous};

/// What the command line says of this suite.
#[derive(Debug, Default)]
pub(crate) struct Options {
    /// Where the rules are; the suite's own beside the repository otherwise.
    pub(crate) rules: Option<PathBuf>,
    /// Where the cases are.
    pub(crate) tests: Option<PathBuf>,
    /// Only these cases (`920100-2`), or all of a rule (`920100`), and all that
    /// happened.
    pub(crate) cases: Vec<String>,
}

impl Options {
    /// Whether any was given.
    pub(crate) fn any(&self) -> bool {
        self.rules.is_some() || self.tests.is_some() || !self.cases.is_empty()
    }
}

/// A case that our parser refuses, as HTTP asks for.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Refused {
    /// The case.
    pub(crate) name: String,
    /// Why, as the metrics name it.
    pub(crate) reason: &'static str,
    /// The section that has it refused.
    pub(crate) section: &'static str,
    /// The status it was refused with.
    pub(crate) status: u16,
    /// Whether the rules meet the expectation where a lenient reading shows them
    /// the request; nothing where no reading can.
    pub(crate) rules_alone: Option<bool>,
}

impl Refused {
    /// The line that lists it.
    pub(crate) fn line(&self) -> String {
        let alone = match self.rules_alone {
            Some(true) => "; the rules alone would do as expected",
            Some(false) => "; the rules alone would not do as expected",
            None => "",
        };
        format!("refused {} with {}: {} ({}){alone}", self.name, self.status, self.reason, self.section)
    }
}

/// Runs the cases.
pub(crate) fn run(data: &Path, options: &Options) -> Result<Outcome, String> {
    let rules = options.rules.clone().unwrap_or_else(|| data.join("rules"));
    let tests = options.tests.clone().unwrap_or_else(|| data.join("regression"));
    let settings = rules::settings(&rules)?;
    let mut site = Site::new(&settings)?;
    let mut outcome = Outcome::default();
    let mut files = Vec::new();
    find_cases(&tests, &mut files)?;
    files.sort();
    let mut seen = 0;
    for file in &files {
        for case in read_cases(file)? {
            let wanted = options.cases.is_empty()
                || options.cases.iter().any(|id| *id == case.id() || *id == case.rule_id.to_string());
            if wanted {
                seen += 1;
                run_case(&mut site, &case, !options.cases.is_empty(), &mut outcome);
            }
        }
    }
    if seen == 0 {
        return Err(format!("no case in `{}`; hint: --case takes 920100-2 or 920100", tests.display()));
    }
    Ok(outcome)
}

/// All `.yaml` files below `dir`.
fn find_cases(dir: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let error = |error: std::io::Error| format!("{}: {error}", dir.display());
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            find_cases(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
            files.push(path);
        }
    }
    Ok(())
}

fn read_cases(file: &Path) -> Result<Vec<Case>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    waf_ftw::read(&name, &text).map_err(|error| format!("{}: {error}", file.display()))
}

/// How one case ended.
enum Ended {
    Passed,
    Refused { refusal: Refusal, rules_alone: Option<bool> },
    Failed(String),
}

fn run_case(site: &mut Site, case: &Case, verbose: bool, outcome: &mut Outcome) {
    if verbose {
        eprintln!("== {} {}", case.id(), case.desc.trim_end());
    }
    let ended = stages(site, case, verbose);
    if verbose {
        match &ended {
            Ended::Passed => eprintln!("   passed"),
            Ended::Refused { refusal, .. } => eprintln!("   refused: {}", refusal.explanation()),
            Ended::Failed(why) => eprintln!("   FAILED: {why}"),
        }
    }
    match ended {
        Ended::Passed => outcome.passed += 1,
        Ended::Refused { refusal, rules_alone } => outcome.refused.push(Refused {
            name: case.id(),
            reason: refusal.reason(),
            section: refusal.section(),
            status: refusal.status(),
            rules_alone,
        }),
        Ended::Failed(why) => {
            outcome.failed += 1;
            outcome.failures.push(Failure { name: format!("{} {}", case.id(), first_line(&case.desc)), why });
        }
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// The case's stages, until one does not pass.
fn stages(site: &mut Site, case: &Case, verbose: bool) -> Ended {
    let mut previous = Previous::default();
    for stage in &case.stages {
        let requests = match stage.input.requests(&previous) {
            Ok(requests) => requests,
            Err(error) => return Ended::Failed(error.to_string()),
        };
        for raw in requests {
            let exchange = site.exchange(&raw, &stage.input);
            if verbose {
                trace(&raw, &exchange);
            }
            if let Some(refusal) = exchange.refused
                && !stage.output.status.contains(&refusal.status())
            {
                // A limit of ours is no rule of HTTP: the case fails by it.
                if refusal.section().is_empty() {
                    return Ended::Failed(matched(&exchange));
                }
                let alone = site.rules_alone(&raw, &stage.input, verbose);
                let rules_alone =
                    alone.map(|exchange| waf_ftw::judge(&stage.output, &exchange.outcome()).is_ok());
                return Ended::Refused { refusal, rules_alone };
            }
            if let Err(why) = waf_ftw::judge(&stage.output, &exchange.outcome()) {
                return Ended::Failed(format!("{why}\n{}", matched(&exchange)));
            }
            previous = exchange.previous();
        }
    }
    Ended::Passed
}

/// What matched, in one line.
fn matched(exchange: &Exchange) -> String {
    if let Some(refusal) = exchange.refused {
        return format!("refused with {}: {}", refusal.status(), refusal.explanation());
    }
    // Most that match are the rule set's own housekeeping and log nothing.
    let silent = exchange.matched_ids.iter().filter(|id| !exchange.logged_ids.contains(id)).count();
    let ids: Vec<String> = exchange.logged_ids.iter().map(u64::to_string).collect();
    let ids = if ids.is_empty() { "none".to_owned() } else { ids.join(" ") };
    format!("status {}; matched: {ids}, and {silent} that log nothing", exchange.status)
}

/// How much of a request is worth showing.
const TRACED_LINES: usize = 60;
const TRACED_BYTES: usize = 2_000;

/// All that happened, for whoever looks into one case.
fn trace(raw: &[u8], exchange: &Exchange) {
    let mut lines = raw.split_inclusive(|&b| b == b'\n');
    for line in lines.by_ref().take(TRACED_LINES) {
        let cut = &line[..line.len().min(TRACED_BYTES)];
        let more = if cut.len() < line.len() { "…" } else { "" };
        eprintln!("   > {}{more}", cut.escape_ascii());
    }
    match lines.count() {
        0 => {}
        more => eprintln!("   > … and {more} lines"),
    }
    for line in &exchange.trace {
        eprintln!("   {line}");
    }
    eprintln!("   {}", matched(exchange));
}
