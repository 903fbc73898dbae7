//! `bench logs`: lines of an access log per CPU-second, from the file to the counters,
//! beside a regular expression doing the same and, where it is installed, goaccess.
//!
//! One log in combined format, made from a seed: addresses, routes with ids, assets with
//! hashes, queries, agents and referers in proportions like a shop's, among them lines
//! that are none. Ours follows the file (`Follower`), reads each line (`Format`) and counts
//! it (`Counts`), all in one thread, whose CPU time counts; the regular expression gets
//! the same lines from memory and counts in the same counters; goaccess makes its report.
//!
//! | metric | workload | must be |
//! |---|---|---|
//! | `lines_per_cpu_s` | `combined` | ours at least [`LEAST`] |
//! | `lines_per_cpu_s` | `timed`: the same with a duration at the end | – |
//! | `lines_per_cpu_s` | `archive`: the same lines kept and compressed | – |

use crate::rounds::interleaved;
use crate::rows::{OURS, Report};
use crate::{LogsOptions, machine};
use monitor_logs::archive::{Archive, Record, Settings};
use monitor_logs::count::{Counts, Limits};
use monitor_logs::follow::{Follower, Piece, Places};
use monitor_logs::{Entry, Format, Scratch, Spec};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Lines a CPU-second that ours must read.
const LEAST: f64 = 5_000_000.0;

/// Runs the bench.
pub(crate) fn run(_target: &Path, options: &LogsOptions) -> Result<Report, String> {
    let lines = options.lines.unwrap_or(if options.common.quick { 100_000 } else { 500_000 });
    let rounds = options.common.rounds.unwrap_or(if options.common.quick { 2 } else { 5 });
    let folder = machine::folder("logs")?;
    if let Some((core, _)) = machine::two_cores() {
        machine::pin(core)?;
    }
    let mut logs = Vec::new();
    for (name, timed) in [("combined", false), ("timed", true)] {
        let path = folder.path().join(format!("{name}.log"));
        let text = generate(lines, 1, timed);
        eprintln!("{name}: {lines} lines, {} bytes each", text.len() / lines);
        std::fs::write(&path, text).map_err(|e| format!("cannot write `{}`: {e}", path.display()))?;
        logs.push((name, path));
    }
    let first = logs[0].1.clone();
    let wanted = |list: &[String], name: &str| list.is_empty() || list.iter().any(|w| w == name);
    logs.retain(|(name, _)| wanted(&options.workload, name));
    let mut report = Report::default();
    let mut contenders = vec![(OURS, Contender::Ours), ("regex", Contender::Regex)];
    match Command::new("goaccess").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => contenders.push(("goaccess", Contender::Goaccess)),
        _ => report.skipped.push("goaccess: it is not installed; hint: apt-get install goaccess".to_owned()),
    }
    contenders.retain(|(name, _)| wanted(&options.contender, name));
    interleaved(rounds, "lines_per_cpu_s", &logs, &contenders, &mut report, |path, contender| {
        let cpu = match contender {
            Contender::Ours => ours(path, lines)?,
            Contender::Regex => regex(path, lines)?,
            Contender::Goaccess => goaccess(path)?,
        };
        Ok(lines as f64 / cpu.as_secs_f64())
    });
    let mut archive = vec![("archive", first)];
    archive.retain(|(name, _)| wanted(&options.workload, name) && wanted(&options.contender, OURS));
    interleaved(rounds, "lines_per_cpu_s", &archive, &[(OURS, ())], &mut report, |path, ()| {
        Ok(lines as f64 / keep(path, folder.path())?.as_secs_f64())
    });
    let ours = report.rows.iter().find(|row| row.workload == "combined" && row.contender == OURS);
    if let Some(row) = ours.filter(|row| row.median < LEAST && !options.common.quick) {
        report.failed.push(format!("combined: {:.0} lines a CPU-second, must be {LEAST:.0}", row.median));
    }
    Ok(report)
}

enum Contender {
    Ours,
    Regex,
    Goaccess,
}

fn ours(path: &Path, lines: usize) -> Result<Duration, String> {
    let format = Format::compile(&Spec::Combined).map_err(|error| error.to_string())?;
    let began = machine::thread_cpu();
    let mut follower = Follower::new(path.to_owned(), Some(Places::default()), false);
    let mut counts = Counts::new(Limits::default(), 1);
    let mut scratch = Scratch::default();
    loop {
        let more = follower.poll(0, |piece| {
            let entry = match piece {
                Piece::Line(line) => format.parse(line, &mut scratch),
                Piece::TooLong => None,
            };
            match entry {
                Some(entry) => counts.add(&entry),
                None => counts.add_unparsed(),
            }
        });
        if !more.map_err(|error| error.to_string())? {
            break;
        }
    }
    let cpu = machine::thread_cpu() - began;
    check(&counts, lines)?;
    Ok(cpu)
}

/// The usual expression for this format, and the same counting.
fn regex(path: &Path, lines: usize) -> Result<Duration, String> {
    let expression = concat!(
        r#"^(\S+) \S+ [^\[]*\[([^\]]+)\] "([A-Z-]+) (\S+)[^"]*" ([1-5]\d\d) (\d+|-)"#,
        r#" "((?:[^"\\]|\\.)*)" "((?:[^"\\]|\\.)*)"(?: ([0-9.]+))?$"#
    );
    let regex =
        regex::bytes::RegexBuilder::new(expression).unicode(false).build().map_err(|e| e.to_string())?;
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let began = machine::thread_cpu();
    let mut counts = Counts::new(Limits::default(), 1);
    let mut places = regex.capture_locations();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        if regex.captures_read(&mut places, line).is_none() {
            counts.add_unparsed();
            continue;
        }
        let part = |n: usize| places.get(n).map_or(&b""[..], |(from, to)| &line[from..to]);
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
        counts.add(&Entry {
            ip: part(1),
            method: part(3),
            target: part(4),
            status: number(part(5)).unwrap_or_default() as u16,
            bytes: number(part(6)).unwrap_or_default() as u64,
            duration_us: number(part(9)).map(|s| (s * 1e6) as u64),
            ..Entry::default()
        });
    }
    let cpu = machine::thread_cpu() - began;
    check(&counts, lines)?;
    Ok(cpu)
}

/// What was counted is what was written: nobody is fast by leaving lines out.
fn check(counts: &Counts, lines: usize) -> Result<(), String> {
    let read: u64 = counts.codes().map(|(_, count)| count).sum();
    let unparsed = lines.div_ceil(1_000) as u64;
    if read + unparsed == lines as u64 && counts.unparsed() == unparsed {
        return Ok(());
    }
    Err(format!("of {lines} lines {read} were read and {} were not", counts.unparsed()))
}

fn goaccess(path: &Path) -> Result<Duration, String> {
    let before = children_cpu();
    let status = Command::new("goaccess")
        .arg(path)
        .args(["--log-format=COMBINED", "--no-global-config", "--output=/dev/null", "-o", "report.json"])
        .current_dir(path.parent().unwrap_or(path))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("it could not be started: {error}"))?;
    match status.success() {
        true => Ok(children_cpu().saturating_sub(before)),
        false => Err(format!("it ended with {status}")),
    }
}

/// CPU time of the children that have ended (proc(5), `stat`, fields 16 and 17).
fn children_cpu() -> Duration {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
    Duration::from_millis((ticks(14) + ticks(15)) * 10)
}

/// All lines into an archive.
fn keep(path: &Path, folder: &Path) -> Result<Duration, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let dir: PathBuf = folder.join("archive");
    let began = machine::thread_cpu();
    let (mut archive, _) = Archive::open(&dir, &Spec::Combined.to_text(), Settings::default())
        .map_err(|error| error.to_string())?;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        archive.append(Record { time_ms: 0, status: 200, duration_us: None, line });
        if archive.is_full() {
            archive.flush().1.map_err(|error| error.to_string())?;
        }
    }
    archive.flush().1.map_err(|error| error.to_string())?;
    let cpu = machine::thread_cpu() - began;
    let kept = archive.kept();
    eprintln!(
        "archive: {:.1} bytes of each {}",
        kept.bytes() as f64 / kept.lines() as f64,
        text.len() as u64 / kept.lines()
    );
    drop(archive);
    std::fs::remove_dir_all(&dir).map_err(|error| error.to_string())?;
    Ok(cpu)
}

/// A log as a shop's might be.
fn generate(lines: usize, seed: u64, timed: bool) -> String {
    const AGENTS: [&str; 6] = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0",
        "curl/8.8.0",
        "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    ];
    const WORDS: [&str; 12] = [
        "shoes", "coats", "lamps", "chairs", "tables", "books", "tea", "mugs", "rugs", "beds", "toys", "pens",
    ];
    let mut chance = seed | 1;
    let mut below = |bound: u64| {
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        chance % bound
    };
    let mut out = String::with_capacity(lines * 220);
    for n in 0..lines {
        if n % 1_000 == 0 {
            out.push_str("not a line of any server\n");
            continue;
        }
        let word = WORDS[below(12) as usize];
        let target = match below(100) {
            0..=9 => "/".to_owned(),
            10..=29 => format!("/products/{}/{}", word, below(50_000)),
            30..=44 => format!("/assets/{word}-{:08x}.js", below(40) * 97_234_567 % 0xFFFF_FFFF),
            45..=54 => format!("/images/{}/{}.webp", word, below(9_000)),
            55..=64 => format!("/search?q={word}+{}&page={}", WORDS[below(12) as usize], below(20)),
            65..=74 => format!(
                "/api/v1/cart/{:08x}-{:04x}-4abc-8def-{:012x}",
                below(1 << 32),
                below(1 << 16),
                below(1 << 48)
            ),
            75..=84 => format!("/category/{word}?sort=price"),
            85..=92 => format!("/api/v1/orders/{}/items", below(1_000_000)),
            93..=96 => format!("/wp-content/{}.php", below(500)),
            _ => "/healthz".to_owned(),
        };
        let status = match below(100) {
            0..=88 => {
                if target.starts_with("/wp") {
                    404
                } else {
                    200
                }
            }
            89..=93 => 304,
            94..=96 => 404,
            97..=98 => 302,
            _ => 500,
        };
        let method = if target.contains("cart") { "POST" } else { "GET" };
        let second = n / 300;
        let (a, b) = (below(200) + 20, below(65_536));
        let _ = write!(
            out,
            "{a}.{}.{}.{} - - [23/Nov/2026:{:02}:{:02}:{:02} +0000] \"{method} {target} HTTP/1.1\" {status} {} \"{}\" \"{}\"",
            b >> 8,
            b & 255,
            below(255),
            second / 3_600 % 24,
            second / 60 % 60,
            second % 60,
            below(60_000),
            if below(3) == 0 { "-" } else { "https://shop.example/category/lamps" },
            AGENTS[below(6) as usize],
        );
        if timed {
            let _ = write!(out, " 0.{:03}", below(900));
        }
        out.push('\n');
    }
    out
}
