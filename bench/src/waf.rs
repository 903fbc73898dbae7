//! `bench waf`: CPU time of inspecting a request with the Core Rule Set, beside
//! libmodsecurity (a C program, compiled here), in the same interleaved run.
//!
//! Both get the same rules (`waf/base.conf`, then the rule set), the same parts of a
//! request, and run phases 1, 2 and 5 (the logging phase) from the transaction's
//! beginning to its end, in one thread, in `SecRuleEngine On`, audit log off.
//!
//! | metric | of | must be |
//! |---|---|---|
//! | `cpu_us` | one request: CPU time of the thread | see [`BARS`] |
//! | `allocs` | one benign GET of ours, once warm | 0 |
//! | `load_ms` | loading the rules, CPU time | ours below [`LOAD_MS`] |
//! | `growth`, `worst_us` | worst-case inputs, see `waf/worst.rs` | linear |
//! | `instr` | one request of ours, by callgrind, with `--callgrind` | – |
//!
//! The workloads are in `waf/workloads.rs`, each with `/PL1` and `/PL4`.

pub(crate) mod ours;
pub(crate) mod peer;
pub(crate) mod request;
pub(crate) mod rules;
mod workloads;
mod worst;

use crate::rounds::{Named, interleaved};
use crate::rows::{OURS, Report, Row};
use crate::{WafOptions, machine};
use ours::{Ours, Prepared};
use peer::Peer;
use request::Request;
use rules::Rules;
use std::cell::RefCell;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The names of each workload at levels 1 and 4, and the bars: ours must be no more
/// than one part in this many of libmodsecurity's.
const BARS: [Bar; 5] = [
    Bar { names: ("get3/PL1", "get3/PL4"), parts: (60.0, 30.0) },
    Bar { names: ("browser/PL1", "browser/PL4"), parts: (60.0, 30.0) },
    Bar { names: ("form1k/PL1", "form1k/PL4"), parts: (35.0, 30.0) },
    Bar { names: ("json4k/PL1", "json4k/PL4"), parts: (75.0, 30.0) },
    Bar { names: ("multipart64k/PL1", "multipart64k/PL4"), parts: (45.0, 30.0) },
];

struct Bar {
    names: (&'static str, &'static str),
    parts: (f64, f64),
}

/// Loading the Core Rule Set must take less, CPU ms.
const LOAD_MS: f64 = 300.0;

/// The contender to beat.
const LIBMODSECURITY: &str = "libmodsecurity";

/// One request at one paranoia level.
struct Cell {
    request: Request,
    paranoia: u8,
    /// Ours must be at most one part in this many.
    parts: f64,
}

/// One engine, with its rules loaded at both levels.
struct Contender {
    at_1: RefCell<Engine>,
    at_4: RefCell<Engine>,
}

enum Engine {
    Peer(Peer),
    Ours(Box<Ours>),
}

impl Contender {
    /// Runs `cell` `repeat` times: CPU time of all, and the rules that matched.
    fn run(&self, cell: &Cell, repeat: u32) -> Result<(Duration, Vec<u64>), String> {
        let engine = if cell.paranoia == 1 { &self.at_1 } else { &self.at_4 };
        match &mut *engine.borrow_mut() {
            Engine::Peer(peer) => {
                let answer = peer.ask(&cell.request, repeat)?;
                Ok((answer.cpu, answer.log.iter().filter_map(|line| peer::rule_of(line)).collect()))
            }
            Engine::Ours(ours) => {
                let prepared = Prepared::new(&cell.request);
                let before = machine::thread_cpu();
                for _ in 1..repeat {
                    std::hint::black_box(ours.run(&prepared));
                }
                let (_, report) = ours.run(&prepared);
                let ids = report.matches.iter().map(|m| m.rule).collect();
                Ok((machine::thread_cpu() - before, ids))
            }
        }
    }

    /// CPU µs for each request, of as many as fill `time`.
    fn measure(&self, cell: &Cell, time: Duration) -> Result<f64, String> {
        let (once, _) = self.run(cell, 1)?;
        let some = repeats(once, time / 10);
        let (few, _) = self.run(cell, some)?;
        let many = repeats(few / some, time);
        let (all, _) = self.run(cell, many)?;
        Ok(all.as_secs_f64() * 1e6 / f64::from(many))
    }
}

/// How often what takes `once` fits into `time`; at least twice.
fn repeats(once: Duration, time: Duration) -> u32 {
    let fit = time.as_nanos() / once.as_nanos().max(1);
    u32::try_from(fit).unwrap_or(u32::MAX).clamp(2, 1_000_000)
}

/// Measures in interleaved rounds, then checks what must be.
pub(crate) fn run(target: &Path, options: &WafOptions) -> Result<Report, String> {
    let rules = Rules::read(options.rules.as_deref())?;
    if let Some((first, _)) = machine::two_cores() {
        machine::pin(first)?;
    }
    let cells = cells(&options.workload);
    if cells.is_empty() {
        return Err(format!(
            "no workload `{}`\nhint: `cargo xtask bench waf --help` names them",
            options.workload.join(",")
        ));
    }
    let mut report = Report::default();
    if let Some(times) = options.only_run {
        run_only(&rules, &cells, times)?;
        return Ok(report);
    }
    let folder = machine::folder("waf")?;
    let mut contenders: Vec<Named<Contender>> = vec![(OURS, ours(&rules, &mut report)?)];
    match libmodsecurity(target, &rules, folder.path(), &mut report) {
        Ok(contender) => contenders.push((LIBMODSECURITY, contender)),
        Err(why) => report.skipped.push(format!("{LIBMODSECURITY}: {why}")),
    }
    for (name, cell) in &cells {
        for (contender, engines) in &contenders {
            let (_, ids) = engines.run(cell, 1)?;
            eprintln!("{name:<16} {contender:<14} matched {ids:?}");
        }
    }
    let (rounds, time) = if options.common.quick { (2, 20) } else { (5, 300) };
    let rounds = options.common.rounds.unwrap_or(rounds);
    interleaved(rounds, "cpu_us", &cells, &contenders, &mut report, |cell, contender| {
        contender.measure(cell, Duration::from_millis(time))
    });
    bars(&cells, &mut report);
    allocations(&contenders[0].1, &cells, &mut report)?;
    if !options.no_worst {
        worst::run(&rules, options.common.quick, &mut report)?;
    }
    if options.callgrind {
        for (name, _) in &cells {
            match instructions(&rules, name) {
                Ok(count) => report.rows.push(row(name, OURS, "instr", count)),
                Err(why) => report.skipped.push(format!("{name} instr: {why}")),
            }
        }
    }
    Ok(report)
}

fn ours(rules: &Rules, report: &mut Report) -> Result<Contender, String> {
    let mut loads = Vec::new();
    for _ in 0..3 {
        loads.push(Ours::load(rules, 1)?.load);
    }
    loads.sort();
    let load_ms = loads[1].as_secs_f64() * 1e3;
    report.rows.push(row("load", OURS, "load_ms", load_ms));
    if load_ms >= LOAD_MS {
        report.failed.push(format!("load: {load_ms:.0} ms, not below {LOAD_MS} ms"));
    }
    let engine = |level| Ours::load(rules, level).map(|ours| RefCell::new(Engine::Ours(Box::new(ours))));
    Ok(Contender { at_1: engine(1)?, at_4: engine(4)? })
}

fn libmodsecurity(
    target: &Path,
    rules: &Rules,
    folder: &Path,
    report: &mut Report,
) -> Result<Contender, String> {
    let program = peer::compile(target)?;
    let at_1 = Peer::start(&program, &rules.write(folder, 1)?)?;
    let at_4 = Peer::start(&program, &rules.write(folder, 4)?)?;
    eprintln!("{LIBMODSECURITY:<14} {}", at_1.name);
    report.rows.push(row("load", LIBMODSECURITY, "load_ms", at_1.load.as_secs_f64() * 1e3));
    Ok(Contender { at_1: RefCell::new(Engine::Peer(at_1)), at_4: RefCell::new(Engine::Peer(at_4)) })
}

fn row(workload: &str, contender: &str, metric: &'static str, value: f64) -> Row {
    let (workload, contender) = (workload.to_owned(), contender.to_owned());
    Row { workload, contender, metric, median: value, min: value, max: value, ratio: None }
}

/// The workloads at both levels, or those that are named (`json4k`, `json4k/PL4`).
fn cells(named: &[String]) -> Vec<Named<Cell>> {
    let mut cells = Vec::new();
    for (bar, (_, request)) in BARS.iter().zip(workloads::all()) {
        for (name, paranoia, parts) in [(bar.names.0, 1, bar.parts.0), (bar.names.1, 4, bar.parts.1)] {
            let wanted = |n: &String| name == n || name.split_once('/').is_some_and(|(shape, _)| shape == n);
            if named.is_empty() || named.iter().any(wanted) {
                cells.push((name, Cell { request: request.clone(), paranoia, parts }));
            }
        }
    }
    cells
}

/// Says for each cell how many times cheaper ours is, and what is not enough.
fn bars(cells: &[Named<Cell>], report: &mut Report) {
    for (name, cell) in cells {
        let row =
            report.rows.iter().find(|r| r.workload == *name && r.contender == OURS && r.metric == "cpu_us");
        let Some(ratio) = row.and_then(|row| row.ratio) else { continue };
        let met = ratio <= 1.0 / cell.parts;
        eprintln!(
            "{name:<16} 1/{:<6.1} of libmodsecurity's, bar 1/{:.0} {}",
            1.0 / ratio,
            cell.parts,
            if met { "met" } else { "MISSED" }
        );
        if !met {
            report.failed.push(format!(
                "{name}: 1/{:.1} of libmodsecurity's, more than 1/{:.0}",
                1.0 / ratio,
                cell.parts
            ));
        }
    }
}

/// Allocations of one benign GET after warm-up, on the average of many.
fn allocations(ours: &Contender, cells: &[Named<Cell>], report: &mut Report) -> Result<(), String> {
    const RUNS: u32 = 100;
    for (name, cell) in cells.iter().filter(|(_, cell)| cell.request.method == b"GET") {
        let (_, matched) = ours.run(cell, RUNS)?;
        let engine = if cell.paranoia == 1 { &ours.at_1 } else { &ours.at_4 };
        let Engine::Ours(engine) = &mut *engine.borrow_mut() else { continue };
        let prepared = Prepared::new(&cell.request);
        let before = sys::allocations::of_this_thread();
        for _ in 0..RUNS {
            std::hint::black_box(engine.run(&prepared));
        }
        let count = (sys::allocations::of_this_thread() - before) as f64 / f64::from(RUNS);
        report.rows.push(row(name, OURS, "allocs", count));
        // A match is written down, and that takes memory.
        if count > 0.0 && matched.is_empty() {
            report.failed.push(format!("{name}: {count} allocations for each request, must be none"));
        }
    }
    Ok(())
}

/// For callgrind: nothing but loading and `times` requests.
fn run_only(rules: &Rules, cells: &[Named<Cell>], times: u32) -> Result<(), String> {
    for (_, cell) in cells {
        let mut ours = Ours::load(rules, cell.paranoia)?;
        let prepared = Prepared::new(&cell.request);
        for _ in 0..times {
            std::hint::black_box(ours.run(&prepared));
        }
    }
    Ok(())
}

/// Instructions of one request: the difference of two runs of different lengths.
fn instructions(rules: &Rules, workload: &str) -> Result<f64, String> {
    let (few, many) = (10, 30);
    let program = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let count = |times: u32| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(&program)
            .args(["waf", "--workload", workload, "--only-run", &times.to_string(), "--rules"])
            .arg(&rules.folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("`valgrind` could not be started: {error} (Debian: valgrind)"))?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let line = said.lines().find_map(|line| line.split_once("Collected : "));
        line.and_then(|(_, number)| number.trim().parse::<f64>().ok())
            .ok_or_else(|| format!("callgrind gave no count: {}", said.lines().last().unwrap_or("nothing")))
    };
    Ok((count(many)? - count(few)?) / f64::from(many - few))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_bars_and_requests_stand_in_the_same_order() {
        for (bar, (name, _)) in BARS.iter().zip(workloads::all()) {
            assert_eq!((bar.names.0, bar.names.1), (&*format!("{name}/PL1"), &*format!("{name}/PL4")));
        }
        assert_eq!(cells(&[]).len(), 10);
        assert_eq!(cells(&["json4k".to_owned(), "get3/PL4".to_owned()]).len(), 3);
    }

    #[test]
    fn a_missed_bar_is_a_failure() {
        let mut report = Report::default();
        for (workload, ratio) in [("get3/PL1", 1.0 / 61.0), ("json4k/PL1", 1.0 / 74.0)] {
            report.rows.push(Row { ratio: Some(ratio), ..row(workload, OURS, "cpu_us", 1.0) });
        }
        bars(&cells(&[]), &mut report);
        assert_eq!(report.failed, ["json4k/PL1: 1/74.0 of libmodsecurity's, more than 1/75"]);
    }
}
