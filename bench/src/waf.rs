//! `bench waf`: CPU time of inspecting a request with the Core Rule Set, beside
//! libmodsecurity (a C program, compiled here), in the same interleaved run.
//!
//! Both get the same rules (`waf/base.conf`, then the rule set), the same parts of a
//! request, and run phases 1, 2 and 5 (the logging phase) from the transaction's
//! beginning to its end, in one thread, in `SecRuleEngine On`, audit log off. The
//! metric is `cpu_us`, CPU time of the thread (CLOCK_THREAD_CPUTIME_ID) for each
//! request. The workloads are in `waf/workloads.rs`, each with `/PL1` and `/PL4`.

mod peer;
mod request;
mod rules;
mod workloads;

use crate::rounds::{Named, interleaved};
use crate::rows::Report;
use crate::{WafOptions, machine};
use peer::Peer;
use request::Request;
use rules::Rules;
use std::cell::RefCell;
use std::path::Path;
use std::time::Duration;

/// Ours must be no more than one part in this many of libmodsecurity's, at
/// paranoia level 1 and 4.
const BARS: [(&str, f64, f64); 5] = [
    ("get3", 60.0, 30.0),
    ("browser", 60.0, 30.0),
    ("form1k", 35.0, 30.0),
    ("json4k", 75.0, 30.0),
    ("multipart64k", 45.0, 30.0),
];

/// One request at one paranoia level.
struct Cell {
    request: Request,
    paranoia: u8,
}

/// One engine, with its rules loaded at both levels.
enum Engine {
    Peer { at_1: RefCell<Peer>, at_4: RefCell<Peer> },
}

impl Engine {
    /// Runs `request` `repeat` times: CPU time of all, and the rules that matched.
    fn run(&self, cell: &Cell, repeat: u32) -> Result<(Duration, Vec<u64>), String> {
        match self {
            Self::Peer { at_1, at_4 } => {
                let peer = if cell.paranoia == 1 { at_1 } else { at_4 };
                let answer = peer.borrow_mut().ask(&cell.request, repeat)?;
                let ids = answer.log.iter().filter_map(|line| peer::rule_of(line)).collect();
                Ok((answer.cpu, ids))
            }
        }
    }

    /// CPU µs for each request, of as many as fill `time`.
    fn measure(&self, cell: &Cell, time: Duration) -> Result<f64, String> {
        let (once, _) = self.run(cell, 1)?;
        let (some, _) = self.run(cell, repeats(once, time / 10))?;
        let once = some / repeats(once, time / 10);
        let repeat = repeats(once, time);
        let (all, _) = self.run(cell, repeat)?;
        Ok(all.as_secs_f64() * 1e6 / f64::from(repeat))
    }
}

/// How often what takes `once` fits into `time`; at least twice.
fn repeats(once: Duration, time: Duration) -> u32 {
    let fit = time.as_nanos() / once.as_nanos().max(1);
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(2, 1_000_000)
}

/// Measures in interleaved rounds, then checks the bars.
pub(crate) fn run(target: &Path, options: &WafOptions) -> Result<Report, String> {
    let rules = Rules::read(options.rules.as_deref())?;
    let folder = machine::folder("waf")?;
    if let Some((first, _)) = machine::two_cores() {
        machine::pin(first)?;
    }
    let mut report = Report::default();
    let mut engines: Vec<Named<Engine>> = Vec::new();
    match libmodsecurity(target, &rules, folder.path()) {
        Ok(engine) => engines.push(("libmodsecurity", engine)),
        Err(why) => report.skipped.push(format!("libmodsecurity: {why}")),
    }

    let cells = cells(&options.workload);
    for (name, cell) in &cells {
        for (engine, runs) in &engines {
            let (_, ids) = runs.run(cell, 1)?;
            eprintln!("{name:<16} {engine:<15} matched {ids:?}");
        }
    }
    let (rounds, time) = if options.common.quick { (2, 20) } else { (5, 300) };
    let rounds = options.common.rounds.unwrap_or(rounds);
    interleaved(rounds, "cpu_us", &cells, &engines, &mut report, |cell, engine| {
        engine.measure(cell, Duration::from_millis(time))
    });
    Ok(report)
}

fn libmodsecurity(target: &Path, rules: &Rules, folder: &Path) -> Result<Engine, String> {
    let program = peer::compile(target)?;
    let at_1 = Peer::start(&program, &rules.write(folder, 1)?)?;
    let at_4 = Peer::start(&program, &rules.write(folder, 4)?)?;
    eprintln!("{}: rules loaded in {} ms", at_1.name, at_1.load.as_millis());
    Ok(Engine::Peer { at_1: RefCell::new(at_1), at_4: RefCell::new(at_4) })
}

/// The workloads at both levels, or those that are named (`json4k`, `json4k/PL4`).
fn cells(named: &[String]) -> Vec<Named<Cell>> {
    let mut cells = Vec::new();
    for (index, (_, request)) in workloads::all().into_iter().enumerate() {
        for (name, paranoia) in [(NAMES[index].0, 1), (NAMES[index].1, 4)] {
            let wanted = |n: &String| name == n || name.split_once('/').is_some_and(|(shape, _)| shape == n);
            if named.is_empty() || named.iter().any(wanted) {
                cells.push((name, Cell { request: request.clone(), paranoia }));
            }
        }
    }
    cells
}

/// The workloads' names at levels 1 and 4.
const NAMES: [(&str, &str); 5] = [
    ("get3/PL1", "get3/PL4"),
    ("browser/PL1", "browser/PL4"),
    ("form1k/PL1", "form1k/PL4"),
    ("json4k/PL1", "json4k/PL4"),
    ("multipart64k/PL1", "multipart64k/PL4"),
];
