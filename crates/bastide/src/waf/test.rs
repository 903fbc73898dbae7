//! `bastide waf test`: a folder of go-ftw's cases, sent to the running site byte by
//! byte, and judged by what it answered and by the events it wrote.

use super::seen::Seen;
use super::send::{Answer, Destination};
use crate::Outcome as Done;
use crate::args::{Global, WafTest};
use crate::events;
use crate::lines;
use crate::target;
use crate::terminal::{FAILED, Style, Terminal, escape};
use base::EventId;
use control::paths::Paths;
use role::Fault;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use waf_ftw::{Case, Outcome, Previous, Stage, judge};

/// Connections at once.
const AT_ONCE: usize = 4;
/// The site's logs are written behind its answers: so long at most.
const LOGS_WITHIN: Duration = Duration::from_secs(10);
/// They are read again this much later, and are taken for whole when nothing came.
const LOGS_SETTLE: Duration = Duration::from_millis(400);

/// A stage that was sent.
struct Sent {
    case: usize,
    stage: usize,
    from: Vec<IpAddr>,
    answer: Result<Answer, String>,
}

/// Why a case failed, or was not judged.
struct Told {
    id: String,
    file: String,
    stage: usize,
    why: String,
}

pub(crate) fn run(args: &WafTest, global: &Global, terminal: &Terminal) -> Done {
    let (cases, files) = read(&args.dir)?;
    let paths = target::find(global, args.site.file.as_deref())?;
    let url = match &args.url {
        Some(url) => url.clone(),
        None => url_of(&paths)?,
    };
    let destination = Destination::of(&url)?;
    let began_ms = sys::clock::now_ms();
    let (sent, skipped) = send_all(&cases, &files, &destination);
    let logged = logged(&paths, began_ms, &sent)?;
    let mut failures = Vec::new();
    let mut failed = HashSet::new();
    for one in &sent {
        let stage = &cases[one.case].stages[one.stage];
        if let Err(why) = decide(stage, one, &logged) {
            failed.insert(one.case);
            failures.push(told(&cases[one.case], &files[one.case], one.stage, why));
        }
    }
    let judged: HashSet<usize> = sent.iter().map(|one| one.case).collect();
    let passed = judged.len() - failed.len();
    if terminal.json {
        let list = |all: &[Told]| {
            let one = |t: &Told| json!({ "case": t.id, "file": t.file, "stage": t.stage, "why": t.why });
            all.iter().map(one).collect::<Vec<_>>()
        };
        terminal.print_json(&json!({
            "url": url, "passed": passed, "failed": failed.len(),
            "failures": list(&failures), "skipped": list(&skipped), "events_lost": logged.lost,
        }));
    } else {
        print(&failures, &skipped, &logged, terminal);
        terminal.line(format!("{passed} passed, {} failed", failed.len()));
    }
    Ok(ExitCode::from(if failed.is_empty() { 0 } else { FAILED }))
}

fn print(failures: &[Told], skipped: &[Told], logged: &Logged, terminal: &Terminal) {
    for one in failures {
        let stage = if one.stage > 0 { format!(" stage {}", one.stage + 1) } else { String::new() };
        let head = terminal.paint(Style::Bad, format!("{}{stage}", one.id));
        terminal.line(format!("{head}  {}  {}", one.why, terminal.paint(Style::Dim, &one.file)));
    }
    if !skipped.is_empty() {
        terminal.note(format!(
            "note: {} cases were not judged: {}",
            skipped.len(),
            skipped.first().map(|one| one.why.as_str()).unwrap_or_default()
        ));
    }
    if logged.lost > 0 {
        terminal.note(format!(
            "note: {} events were dropped by the site's full queue; run it again",
            logged.lost
        ));
    }
}

fn told(case: &Case, file: &str, stage: usize, why: impl ToString) -> Told {
    Told { id: case.id(), file: file.to_owned(), stage, why: escape(&why.to_string()) }
}

/// The cases of every YAML file in a folder and below, with their files' names.
fn read(dir: &Path) -> Result<(Vec<Case>, Vec<String>), Fault> {
    let mut files = Vec::new();
    find(dir, &mut files)?;
    files.sort();
    let (mut cases, mut names) = (Vec::new(), Vec::new());
    for path in &files {
        let text = std::fs::read_to_string(path)
            .map_err(|e| Fault::new(format!("cannot read `{}`: {e}", path.display())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let read = waf_ftw::read(&name, &text).map_err(|e| {
            Fault::new(format!("{}:{}: {}", path.display(), e.line, e.what))
                .hint("cases are in the form of go-ftw, as the Core Rule Set's own")
        })?;
        names.resize(names.len() + read.len(), path.display().to_string());
        cases.extend(read);
    }
    if cases.is_empty() {
        return Err(Fault::new(format!("`{}` holds no cases", dir.display()))
            .hint("name a folder (or a file) with go-ftw's YAML, such as `tests/regression/tests` of the Core Rule Set"));
    }
    Ok((cases, names))
}

fn find(path: &Path, files: &mut Vec<PathBuf>) -> Result<(), Fault> {
    let cannot = |e: std::io::Error| Fault::new(format!("cannot read `{}`: {e}", path.display()));
    if !std::fs::metadata(path).map_err(cannot)?.is_dir() {
        files.push(path.to_owned());
        return Ok(());
    }
    for entry in std::fs::read_dir(path).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        let is_yaml = path.extension().is_some_and(|e| e == "yaml" || e == "yml");
        if path.is_dir() || is_yaml {
            find(&path, files)?;
        }
    }
    Ok(())
}

fn url_of(paths: &Paths) -> Result<String, Fault> {
    let status =
        crate::runtime()?.block_on(target::control(paths).timeout(Duration::from_secs(10)).get("/site"));
    let status: Value = status.map_err(|error| target::explain(paths, error))?;
    let url = status["urls"]["site"].as_str().map(|url| url.trim_end_matches('/').to_owned());
    url.ok_or_else(|| {
        Fault::new("the site does not say where it listens").hint("name it: `--url https://localhost:8443`")
    })
}

/// What the back end of the Core Rule Set's own tests would answer with this status.
const PROBE: &[u8] = b"POST /reflect HTTP/1.1\r\nHost: localhost\r\nUser-Agent: bastide\r\nAccept: */*\r\n\
    Content-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n{\"status\": 226}";

/// Why a case cannot be judged at a real site: its back end answers what it answers.
fn unfit(case: &Case) -> Option<&'static str> {
    let asks = |uri: &String| uri.starts_with("/reflect");
    let reflects =
        case.stages.iter().any(|stage| stage.input.response.is_some() || stage.input.uris.iter().any(asks));
    reflects.then_some(
        "they need a back end that answers as the case says (`/reflect`; `cargo xtask conformance crs` has one)",
    )
}

fn send_all(cases: &[Case], files: &[String], destination: &Destination) -> (Vec<Sent>, Vec<Told>) {
    let reflects = destination.send(PROBE).1.is_ok_and(|answer| answer.status == 226);
    let (next, sent, skipped) = (AtomicUsize::new(0), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(case) = cases.get(at) else { return };
                    match unfit(case).filter(|_| !reflects) {
                        Some(why) => lock(&skipped).push(told(case, &files[at], 0, why)),
                        None => lock(&sent).extend(send(at, case, destination)),
                    }
                }
            });
        }
    });
    let mut sent = sent.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    sent.sort_by_key(|one| (one.case, one.stage));
    (sent, skipped.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// The stages of a case, one after the other.
fn send(at: usize, case: &Case, destination: &Destination) -> Vec<Sent> {
    let mut previous = Previous::default();
    let mut all = Vec::new();
    for (number, stage) in case.stages.iter().enumerate() {
        let mut one = Sent { case: at, stage: number, from: Vec::new(), answer: Err(String::new()) };
        match stage.input.requests(&previous) {
            Ok(requests) => {
                for request in requests {
                    let (from, answer) = destination.send(&request);
                    one.from.push(from);
                    one.answer = answer;
                }
            }
            Err(error) => one.answer = Err(error.to_string()),
        }
        if let Ok(answer) = &one.answer {
            previous = Previous { location: answer.location.clone(), cookies: answer.cookies.clone() };
        }
        all.push(one);
    }
    all
}

/// What the site wrote about the requests.
struct Logged {
    by_client: HashMap<String, Vec<Seen>>,
    /// Events whose id the access log has, and that never came.
    lost: usize,
}

/// Reads the site's logs until nothing more comes.
fn logged(paths: &Paths, began_ms: u64, sent: &[Sent]) -> Result<Logged, Fault> {
    let ours: HashSet<String> = sent.iter().flat_map(|one| &one.from).map(IpAddr::to_string).collect();
    let (started, mut before) = (Instant::now(), (usize::MAX, usize::MAX));
    loop {
        std::thread::sleep(LOGS_SETTLE);
        let mut found = Vec::new();
        since(&events::event_log(paths), began_ms, "\"waf_match\"", |event| {
            if event["event"] == "waf_match" && event["client"].as_str().is_some_and(|c| ours.contains(c)) {
                found.push(Seen::of_event(&event));
            }
        })?;
        let (mut told, mut lines) = (HashSet::new(), 0);
        since(&events::access_log(paths), began_ms, "", |line| {
            if line["client"].as_str().is_some_and(|c| ours.contains(c)) {
                lines += 1;
                told.extend(line["waf"].as_str().and_then(EventId::parse));
            }
        })?;
        let have: HashSet<EventId> = found.iter().filter_map(|s| EventId::parse(s.id.as_deref()?)).collect();
        let missing = told.difference(&have).count();
        let now = (found.len(), lines);
        let settled = now == before && missing == 0;
        if settled || started.elapsed() > LOGS_WITHIN {
            let mut by_client: HashMap<String, Vec<Seen>> = HashMap::new();
            for seen in found {
                by_client.entry(seen.client.clone().unwrap_or_default()).or_default().push(seen);
            }
            return Ok(Logged { by_client, lost: missing });
        }
        before = now;
    }
}

/// The lines of a log since a moment that hold `needle`.
fn since(path: &Path, began_ms: u64, needle: &str, mut each: impl FnMut(Value)) -> Result<(), Fault> {
    let finder = memchr::memmem::Finder::new(needle.as_bytes());
    lines::backwards(path, |line| {
        let Ok(value) = serde_json::from_slice::<Value>(line) else { return true };
        // Lines of several threads are nearly in order.
        let old = value["at_ms"].as_u64().is_some_and(|at| at + 5_000 < began_ms);
        if !old && finder.find(line).is_some() {
            each(value);
        }
        !old
    })
    .map_err(|e| events::cannot_read(path, &e))
}

fn decide(stage: &Stage, sent: &Sent, logged: &Logged) -> Result<(), String> {
    let of_client = |from: &IpAddr| logged.by_client.get(&from.to_string());
    let seen: Vec<&Seen> = sent.from.iter().filter_map(of_client).flatten().collect();
    let matches = || seen.iter().flat_map(|seen| &seen.matches);
    let ids: Vec<u64> = matches().map(|m| m.rule).collect();
    let log: Vec<String> = matches()
        .map(|m| {
            let tags = m.tags.iter().map(|tag| format!(" [tag \"{tag}\"]")).collect::<String>();
            format!("[id \"{}\"] [msg \"{}\"] [data \"{}\"]{tags}", m.rule, m.message, m.data)
        })
        .collect();
    let outcome = match &sent.answer {
        Ok(answer) => Outcome {
            error: None,
            status: answer.status,
            response: &answer.bytes,
            matched_ids: &ids,
            log: &log,
        },
        Err(why) => Outcome { error: Some(why), matched_ids: &ids, log: &log, ..Outcome::default() },
    };
    judge(&stage.output, &outcome).map_err(|why| match &sent.answer {
        Ok(answer) => format!("{why} (answered {})", answer.status),
        Err(_) => why.to_string(),
    })
}
