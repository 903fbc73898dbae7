//! What only we have: the drawing of the line, and the event log.

use super::{Params, json};
use crate::plan::Plan;
use crate::server::Reply;
use crate::state::State;
use hyper::StatusCode;
use monitor_promql::Error;
use serde_json::Value;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Events in one answer, at most.
const MAX_EVENTS: usize = 1_000;

/// Bytes of the log that are looked at, from its end.
const MAX_READ: u64 = 16 << 20;

const CHUNK: u64 = 256 << 10;

/// Answers `/api/bastide/v1/<endpoint>`.
pub(crate) async fn answer(state: &Arc<State>, endpoint: &str, params: &Params) -> Reply {
    match endpoint {
        "line" => match line(&state.plan()) {
            Ok(line) => Reply::json(line),
            Err(error) => failure(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
        },
        "alert" => super::alerts::alert(state, params).await,
        "events" => events(state, params).await,
        "growth" => growth(state).await,
        "logs" => super::logs::answer(state, params).await,
        "probes" => Reply::json(probes(state)),
        _ => failure(StatusCode::NOT_FOUND, &format!("`/api/bastide/v1/{endpoint}` is not served here")),
    }
}

/// Which resource runs out first.
async fn growth(state: &Arc<State>) -> Reply {
    let answer = match crate::growth::grow(state).await {
        Ok(answer) => serde_json::to_string(&answer).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match answer {
        Ok(answer) => Reply::json(answer),
        Err(why) => failure(StatusCode::SERVICE_UNAVAILABLE, &why),
    }
}

/// How each probe fares, by name.
fn probes(state: &State) -> String {
    let probes: Vec<Value> = crate::state::lock(&state.probes)
        .iter()
        .map(|(name, fares)| {
            serde_json::json!({
                "name": name,
                "well": fares.failed.is_none(),
                "error": fares.failed,
                "at_ms": fares.at_ms,
                "seconds": fares.took_s,
            })
        })
        .collect();
    serde_json::json!({ "probes": probes }).to_string()
}

/// The drawing, with the revision that runs.
fn line(plan: &Plan) -> serde_json::Result<String> {
    let line = site::Line { revision: plan.revision.to_string(), ..plan.site.line.clone() };
    serde_json::to_string(&line)
}

fn failure(status: StatusCode, why: &str) -> Reply {
    let kind = if status == StatusCode::NOT_FOUND { "not_found" } else { "bad_data" };
    Reply { status, ..Reply::json(json::error(kind, why)) }
}

/// `events?limit=&kind=`: the newest first. `kind` is an event's name,
/// `waf_match`; it may be given several times.
async fn events(state: &Arc<State>, params: &Params) -> Reply {
    let limit = match params.get("limit").map(str::parse::<usize>) {
        None => 100,
        Some(Ok(limit)) if (1..=MAX_EVENTS).contains(&limit) => limit,
        Some(_) => {
            return failure(StatusCode::BAD_REQUEST, &format!("`limit` is a number from 1 to {MAX_EVENTS}"));
        }
    };
    let kinds: Vec<String> = params.all("kind").filter(|k| !k.is_empty()).map(str::to_owned).collect();
    let path = state.state_dir.join("log/events.jsonl");
    let read = state
        .queries
        .run(Duration::from_secs(10), move |_, options| {
            let stop = || (options.stop)().is_some();
            newest(&path, limit, &kinds, stop).map_err(|e| Error::Execution(e.to_string()))
        })
        .await;
    match read {
        Ok(lines) => {
            let mut out = String::from("{\"events\":");
            json::separated(&mut out, &lines, |out, line| out.push_str(line));
            out.push('}');
            Reply::json(out)
        }
        Err(error) => {
            failure(StatusCode::SERVICE_UNAVAILABLE, &format!("the event log cannot be read: {error}"))
        }
    }
}

/// The newest events of the log and of the one rotated before it, as lines of
/// JSON; lines that are damaged are left out.
fn newest(path: &Path, limit: usize, kinds: &[String], stop: impl Fn() -> bool) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let rotated = PathBuf::from(format!("{}.1", path.display()));
    let mut budget = MAX_READ;
    for path in [path, &rotated] {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        backwards(&file, &mut budget, |line| {
            if let Some(event) = wanted(line, kinds) {
                found.push(event);
            }
            found.len() < limit && !stop()
        })?;
        if found.len() >= limit || budget == 0 {
            break;
        }
    }
    Ok(found)
}

fn wanted(line: &[u8], kinds: &[String]) -> Option<String> {
    // Read as any JSON: a newer or older role may write kinds that we do not know.
    let event: Value = serde_json::from_slice(line).ok()?;
    let kind = event.get("event")?.as_str()?;
    let fits = kinds.is_empty() || kinds.iter().any(|k| k == kind);
    fits.then(|| event.to_string())
}

/// Gives a file's lines, the last one first, until `each` says that it is enough.
fn backwards(file: &File, budget: &mut u64, mut each: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut end = file.metadata()?.len();
    // The bytes behind `end` that belong to a line whose beginning is not read yet.
    let mut rest: Vec<u8> = Vec::new();
    while end > 0 && *budget > 0 {
        let size = CHUNK.min(end).min(*budget);
        let mut block = vec![0; size as usize];
        file.read_exact_at(&mut block, end - size)?;
        end -= size;
        *budget -= size;
        block.extend_from_slice(&rest);
        let first_end =
            if end == 0 { 0 } else { memchr::memchr(b'\n', &block).map_or(block.len(), |at| at + 1) };
        let whole = &block[first_end..];
        for line in whole.rsplit(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            if !each(line) {
                return Ok(());
            }
        }
        block.truncate(first_end);
        rest = block;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_events_come_first_across_rotation() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let line = |n: usize| {
            let kind = if n.is_multiple_of(2) { "ban" } else { "alert" };
            format!("{{\"at_ms\":{n},\"event\":\"{kind}\",\"pad\":\"{}\"}}\n", "x".repeat(700))
        };
        let older: String = (0..1_000).map(line).collect();
        let newer: String = (1_000..2_000).map(line).collect::<String>() + "{\"torn\n[]\n{\"half";
        std::fs::write(dir.path().join("events.jsonl.1"), older).unwrap();
        std::fs::write(&path, newer).unwrap();
        let at = |lines: Vec<String>| -> Vec<u64> {
            lines
                .iter()
                .map(|l| serde_json::from_str::<Value>(l).unwrap()["at_ms"].as_u64().unwrap())
                .collect()
        };
        assert_eq!(at(newest(&path, 3, &[], || false).unwrap()), [1_999, 1_998, 1_997]);
        assert_eq!(at(newest(&path, 2, &["ban".into()], || false).unwrap()), [1_998, 1_996]);
        let all = at(newest(&path, 5_000, &[], || false).unwrap());
        assert_eq!(all, (0..2_000).rev().collect::<Vec<u64>>());
        assert!(newest(&dir.path().join("none"), 1, &[], || false).unwrap().is_empty());
    }
}
