//! `conformance waf-differential`: the same requests through libmodsecurity and our
//! engine, with the Core Rule Set, blocking, at each paranoia level; whether they
//! decide alike, and which rules matched on one side only.
//!
//! Requests come from a seed: payloads of the Core Rule Set's regression cases,
//! changed as attackers change them (`mutate.rs`) and put anywhere in a request
//! (`carry.rs`); those cases as they are; and benign traffic (`benign.rs`).
//! Disagreements are grouped by rule; those that are understood belong to a class
//! (`classes.rs`) that docs/decisions/waf-differential.md explains. The run fails where a
//! missed block is not explained or fewer than 99.5 % of decisions agree.

mod benign;
mod carry;
mod classes;
mod mutate;
mod random;
mod seeds;
mod tally;

use crate::waf::ours::Ours;
use crate::waf::peer::{self, Answer, Peer};
use crate::waf::request::Request;
use crate::waf::rules::{Rules, test_data};
use crate::{DifferentialOptions, machine};
use random::Random;
use seeds::Seeds;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tally::Tally;
use waf_engine::settings::{Limits, RawBody};

/// Decisions that must agree, in a hundred.
const MUST_AGREE: f64 = 99.5;

/// What an engine says of a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Judgement {
    /// Whether it refuses.
    pub(crate) blocked: bool,
    /// The status it refuses with, or 200.
    pub(crate) status: u32,
    /// The rules that matched and log, each with what was written of it.
    pub(crate) matches: Vec<(u64, String)>,
}

/// A generated request and how it came about.
struct Generated {
    request: Request,
    /// `json-value percent case`.
    origin: String,
}

/// Runs it: 0 where it passed, 1 where it did not or could not run.
pub(crate) fn main(target: &Path, options: &DifferentialOptions) -> ExitCode {
    match run(target, options) {
        Ok(passed) => ExitCode::from(u8::from(!passed)),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(1)
        }
    }
}

/// Runs it and prints; false where it failed.
fn run(target: &Path, options: &DifferentialOptions) -> Result<bool, String> {
    let mut rules = Rules::read(options.rules.as_deref())?;
    rules.after = SCORE.to_owned();
    let cases = options.dir.clone().unwrap_or_else(|| test_data("crs/regression"));
    let seeds = Seeds::read(&cases)?;
    let requests = generate(&seeds, options.seed, options.count);
    eprintln!(
        "seed {}: {} requests from {} payloads and {} cases",
        options.seed,
        requests.len(),
        seeds.payloads.len(),
        seeds.requests.len()
    );
    let program = peer::compile(target)?;
    let folder = machine::folder("differential")?;
    let levels = &options.pl;
    if let Some(file) = &options.file {
        let bytes = std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
        let request = Request::of_bytes(&bytes).ok_or(format!("{}: no request", file.display()))?;
        let one = Generated { request, origin: file.display().to_string() };
        return show(&program, &rules, folder.path(), (levels, options.forms), &one);
    }
    if let Some(index) = options.request {
        let one = requests.get(index).ok_or(format!("there is no request {index}"))?;
        return show(&program, &rules, folder.path(), (levels, options.forms), one);
    }
    let next = AtomicUsize::new(0);
    let tallies = Mutex::new(Vec::new());
    // The highest level takes longest: first, so that no thread waits for it.
    std::thread::scope(|scope| {
        for _ in 0..2.min(levels.len()) {
            scope.spawn(|| {
                while let Some(level) = levels.iter().rev().nth(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = compare(&program, &rules, folder.path(), *level, options.forms, &requests);
                    if let Ok(mut all) = tallies.lock() {
                        all.push((*level, tally));
                    }
                }
            });
        }
    });
    let mut tallies = tallies.into_inner().map_err(|_| "a thread ended".to_owned())?;
    tallies.sort_by_key(|(level, _)| *level);
    let mut passed = true;
    let mut closing = Vec::new();
    for (level, tally) in tallies {
        let tally = tally.map_err(|why| format!("PL{level}: {why}"))?;
        println!("== PL{level}\n{}", tally.shown(options.examples));
        closing.push(format!("PL{level}: {}", tally.closing()));
        passed &= tally.agreement() >= MUST_AGREE && tally.unexplained_missed() == 0;
    }
    println!("{}", closing.join("\n"));
    Ok(passed)
}

/// Our engine as it is compared: with `REQUEST_BODY` as libmodsecurity has it, or, if
/// `forms`, as it is by default.
fn load(rules: &Rules, level: u8, forms: bool) -> Result<Ours, String> {
    let raw_body = if forms { RawBody::Forms } else { RawBody::Always };
    Ours::load_with(rules, level, Limits::default(), raw_body)
}

/// The score at the end, for both to write down.
const SCORE: &str = "\nSecAction \"id:9999999,phase:5,pass,log,t:none,msg:'score \
                     %{tx.blocking_inbound_anomaly_score} %{tx.detection_inbound_anomaly_score}'\"\n";

fn generate(seeds: &Seeds, seed: u64, count: usize) -> Vec<Generated> {
    let random = Random::new(seed);
    let mut requests = Vec::with_capacity(count);
    for _ in 0..count {
        let share = random.below(100);
        let (request, origin) = if share < 30 {
            let (request, origin) = benign::benign(&random);
            (request, origin.to_owned())
        } else if share < 40 {
            (random.pick(&seeds.requests), "case".to_owned())
        } else {
            let payload = random.pick(&seeds.payloads);
            let (payload, ways) = mutate::mutate(&random, &payload);
            let (request, place) = carry::carry(&random, &payload);
            (request, format!("{place} {}", ways.join(" ")))
        };
        // The C interface takes the target as a C string.
        if !request.target.contains(&0) && !request.method.contains(&0) {
            requests.push(Generated { request, origin });
        }
    }
    requests
}

/// One request, and what both say of it at each level.
fn show(
    program: &Path,
    rules: &Rules,
    folder: &Path,
    (levels, forms): (&[u8], bool),
    one: &Generated,
) -> Result<bool, String> {
    println!("{}\n\n{}\n", one.origin, one.request.shown());
    let mut alike = true;
    for level in levels {
        let mut peer = Peer::start(program, &rules.write(folder, *level)?)?;
        let theirs = judgement(peer.ask(&one.request, 1)?);
        let ours = load(rules, *level, forms)?.judge(&one.request);
        for (name, judged) in [("libmodsecurity", &theirs), ("ours", &ours)] {
            println!("PL{level} {name}: {}", judged.status);
            for (_, line) in &judged.matches {
                println!("    {line}");
            }
        }
        alike &= theirs.blocked == ours.blocked;
    }
    Ok(alike)
}

fn judgement(answer: Answer) -> Judgement {
    let with_rule = |line: String| peer::rule_of(&line).map(|rule| (rule, line));
    let matches = answer.log.into_iter().filter_map(with_rule).collect();
    Judgement { blocked: answer.blocked, status: answer.status, matches }
}

fn compare(
    program: &Path,
    rules: &Rules,
    folder: &Path,
    level: u8,
    forms: bool,
    requests: &[Generated],
) -> Result<Tally, String> {
    let configuration = rules.write(folder, level)?;
    let mut peer = Peer::start(program, &configuration)?;
    let mut ours = load(rules, level, forms)?;
    let mut tally = Tally::default();
    for (index, generated) in requests.iter().enumerate() {
        let theirs = match peer.ask(&generated.request, 1) {
            Ok(answer) => judgement(answer),
            Err(why) => {
                eprintln!("PL{level} request {index}: {why}");
                tally.crashed += 1;
                peer = Peer::start(program, &configuration)?;
                continue;
            }
        };
        let ours = ours.judge(&generated.request);
        tally.add(index, &generated.origin, &generated.request, &theirs, &ours);
    }
    Ok(tally)
}
