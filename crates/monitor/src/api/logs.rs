//! Searching the lines of access logs: `/api/bastide/v1/logs`.

use super::{Params, json, params};
use crate::server::Reply;
use crate::state::{State, lock};
use base::names;
use hyper::StatusCode;
use monitor_logs::archive::{Found, Hit, Kept, Position, Query, Statuses, Text, search};
use serde_json::{Value, json as value};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Lines in one answer, at most.
const MAX_LINES: usize = 5_000;

/// A search may take this long; it then gives what it found, and where to go on.
const PATIENCE: Duration = Duration::from_secs(10);

/// A text or expression may have so many bytes.
const MAX_TEXT: usize = 4_096;

/// Answers `logs?query=&regex=&ignore_case=&start=&end=&status=&host=&ip=&method=&route=&
/// min_seconds=&log=&limit=&from=`: the newest first. All parameters may be absent;
/// `log` may be given several times; `from` is the `next` of the answer before.
pub(crate) async fn answer(state: &Arc<State>, params: &Params) -> Reply {
    let query = match query(params) {
        Ok(query) => query,
        Err(why) => return refused(StatusCode::BAD_REQUEST, &why),
    };
    let wanted: Vec<&str> = params.all("log").filter(|name| !name.is_empty()).collect();
    let archives: Vec<(String, Kept)> = lock(&state.archives)
        .iter()
        .filter(|(name, _)| wanted.is_empty() || wanted.contains(&name.as_str()))
        .map(|(name, kept)| (name.clone(), kept.clone()))
        .collect();
    if let Some(unknown) = wanted.iter().find(|name| !archives.iter().any(|(known, _)| known == *name)) {
        let why = format!(
            "no lines of a log `{unknown}` are kept; hint: `logs` of the file names logs, and `log_retention` keeps their lines"
        );
        return refused(StatusCode::NOT_FOUND, &why);
    }
    let found = state
        .queries
        .run(PATIENCE + Duration::from_secs(5), move |_, options| {
            // Ends by itself before the query does, so that it can give what it found.
            let until = std::time::Instant::now() + PATIENCE;
            let stop = || std::time::Instant::now() >= until || (options.stop)().is_some();
            Ok(search(&archives, &query, &stop))
        })
        .await;
    let searches = state.registry.counter(&names::MONITOR_LOG_SEARCHES);
    match found {
        Ok(found) => {
            searches.with(&[if found.complete { "complete" } else { "partial" }]).inc();
            Reply::json(body(&found).to_string())
        }
        Err(error) => {
            searches.with(&["failed"]).inc();
            refused(StatusCode::SERVICE_UNAVAILABLE, &format!("the search ended: {error}"))
        }
    }
}

fn refused(status: StatusCode, why: &str) -> Reply {
    let kind = if status == StatusCode::NOT_FOUND { "not_found" } else { "bad_data" };
    Reply { status, ..Reply::json(json::error(kind, why)) }
}

fn body(found: &Found) -> Value {
    let lines: Vec<Value> = found.hits.iter().map(line).collect();
    let next: BTreeMap<&String, [u64; 2]> =
        found.next.iter().map(|(log, at)| (log, [at.frame, u64::from(at.line)])).collect();
    value!({
        "status": "success",
        "data": {
            "lines": lines,
            "complete": found.complete,
            "next": next,
            "frames": found.frames,
            "passed_over": found.passed_over,
            "damage": found.damage,
        }
    })
}

fn line(hit: &Hit) -> Value {
    value!({
        "log": &*hit.log,
        "at_ms": hit.time_ms,
        "status": (hit.status > 0).then_some(hit.status),
        "seconds": hit.duration_us.map(|us| f64::from(us) / 1e6),
        "line": String::from_utf8_lossy(&hit.line),
    })
}

fn query(params: &Params) -> Result<Query, String> {
    let text = |name: &str| params.get(name).map(str::to_owned);
    let time = |name: &str| params.get(name).map(params::time_ms).transpose();
    for name in ["query", "regex", "host", "ip", "method", "route"] {
        if params.get(name).is_some_and(|text| text.len() > MAX_TEXT) {
            return Err(format!("`{name}` has more than {MAX_TEXT} bytes"));
        }
    }
    let ignore_case = matches!(params.get("ignore_case"), Some("1" | "true"));
    let looked_for = match (params.get("query"), params.get("regex")) {
        (Some(_), Some(_)) => return Err("either `query` or `regex`, not both".to_owned()),
        (Some(plain), None) if ignore_case => Some(Text::ignoring_case(plain)?),
        (Some(plain), None) => Some(Text::plain(plain)),
        (None, Some(regex)) if ignore_case => Some(Text::regex(&format!("(?i){regex}"))?),
        (None, Some(regex)) => Some(Text::regex(regex)?),
        (None, None) => None,
    };
    let limit = match params.get("limit").map(str::parse::<usize>) {
        None => 100,
        Some(Ok(limit)) if (1..=MAX_LINES).contains(&limit) => limit,
        Some(_) => return Err(format!("`limit` is a number from 1 to {MAX_LINES}")),
    };
    let least = match params.get("min_seconds").map(str::parse::<f64>) {
        None => None,
        Some(Ok(seconds)) if (0.0..=4_000.0).contains(&seconds) => Some((seconds * 1e6) as u32),
        Some(_) => return Err("`min_seconds` is a number from 0 to 4000".to_owned()),
    };
    let from = match params.get("from") {
        None => BTreeMap::new(),
        Some(text) => serde_json::from_str::<BTreeMap<String, (u64, u32)>>(text)
            .map_err(|_| "`from` is not what an answer had in `next`".to_owned())?
            .into_iter()
            .map(|(log, (frame, line))| (log, Position { frame, line }))
            .collect(),
    };
    Ok(Query {
        start_ms: time("start")?,
        end_ms: time("end")?,
        text: looked_for,
        status: params.get("status").map(Statuses::parse).transpose()?,
        host: text("host"),
        ip: text("ip"),
        method: text("method"),
        route: text("route"),
        min_duration_us: least,
        limit,
        from,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_read_or_refused() {
        let of = |pairs: &[(&str, &str)]| {
            query(&Params(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()))
        };
        let all = of(&[
            ("query", "needle"),
            ("start", "10"),
            ("end", "2015-06-03T13:21:58.555Z"),
            ("status", "5xx,404"),
            ("min_seconds", "0.5"),
            ("limit", "7"),
            ("from", r#"{"edge":[3,4]}"#),
        ])
        .unwrap();
        assert_eq!((all.start_ms, all.end_ms), (Some(10_000), Some(1_433_337_718_555)));
        assert_eq!((all.min_duration_us, all.limit), (Some(500_000), 7));
        assert_eq!(all.from["edge"], Position { frame: 3, line: 4 });
        for wrong in [
            &[("query", "a"), ("regex", "b")][..],
            &[("regex", "(")],
            &[("regex", "(a{900}){900}")],
            &[("status", "999")],
            &[("limit", "0")],
            &[("limit", "99999")],
            &[("min_seconds", "NaN")],
            &[("start", "yesterday")],
            &[("from", "[]")],
        ] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
        let long = "x".repeat(MAX_TEXT + 1);
        assert!(of(&[("query", &long)]).is_err());
    }
}
