//! How a running site's parts fare.

use super::Check;
use crate::events::text;
use crate::show;
use crate::status::list;
use crate::{target, top};
use control::paths::Paths;
use serde_json::Value;
use std::time::Duration;

/// A certificate that ends sooner was not renewed when it should have been.
const SOON_S: u64 = 14 * 86_400;

/// Everything of the site; none where control does not answer.
pub(super) async fn status(paths: &Paths) -> Option<Value> {
    target::control(paths).timeout(Duration::from_secs(10)).get("/site").await.ok()
}

pub(super) fn look(paths: &Paths, status: &Value, checks: &mut Vec<Check>) {
    match status["ready"] == true {
        true => checks.push(Check::ok("running", format!("site `{}` is up and ready", paths.site))),
        false => {
            let waiting: Vec<String> = list(&status["waiting_for"])
                .iter()
                .filter_map(Value::as_str)
                .map(crate::terminal::escape)
                .collect();
            checks.push(Check::fail(
                "running",
                format!("not ready:\n{}", waiting.join("\n")),
                "`bastide logs PROCESS` may say why",
            ));
        }
    }
    if let Some(trouble) = status["trouble"].as_str() {
        let (what, hint) =
            trouble.split_once("\n  hint: ").unwrap_or((trouble, "`bastide reload` tries again"));
        checks.push(Check::warn("last change", crate::terminal::escape(what), hint));
    }
    processes(status, checks);
    certificates(status, sys::clock::now_ms() / 1_000, checks);
    replicas(status, checks);
    monitor(status, checks);
}

fn processes(status: &Value, checks: &mut Vec<Check>) {
    let all = list(&status["processes"]);
    let restarted: Vec<&Value> =
        all.iter().filter(|p| p["restarts"].as_u64().is_some_and(|n| n > 0)).collect();
    for process in &restarted {
        let name = text(process, "name");
        checks.push(Check::warn(
            "process",
            format!(
                "`{name}` ended by itself and was restarted, {} so far; last: {}",
                text(process, "restarts"),
                text(process, "last_end")
            ),
            format!("`bastide logs {name}` shows what it said"),
        ));
    }
    if restarted.is_empty() && !all.is_empty() {
        checks.push(Check::ok("processes", format!("{} run, none was restarted", all.len())));
    }
}

fn certificates(status: &Value, now_s: u64, checks: &mut Vec<Check>) {
    for certificate in list(&status["edge"]["certificates"]) {
        let names =
            list(&certificate["names"]).iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
        let names = crate::terminal::escape(&names);
        let Some(ends_s) = certificate["not_after_s"].as_u64() else { continue };
        let hint = "put a newer one where `tls` points and `bastide reload`; our own are renewed by themselves: `bastide logs control`";
        checks.push(match ends_s.checked_sub(now_s) {
            None => Check::fail("certificate", format!("{names}: it has ended"), hint),
            Some(left) if left < SOON_S => {
                Check::warn("certificate", format!("{names}: ends in {}", show::span(left * 1_000)), hint)
            }
            Some(left) => Check::ok("certificate", format!("{names}: ends in {}", show::span(left * 1_000))),
        });
    }
}

fn replicas(status: &Value, checks: &mut Vec<Check>) {
    for database in list(&status["database"]["databases"]) {
        let max = database["max_lag_seconds"].as_f64().unwrap_or(f64::INFINITY);
        let members = list(&database["members"]);
        let mut good = 0;
        for member in members.iter().filter(|m| m["role"] == "replica") {
            match member["lag_seconds"].as_f64() {
                Some(lag) if lag > max => checks.push(Check::warn(
                    "replica",
                    format!("{} is {lag:.1} s behind and gets no reads", text(member, "name")),
                    "`bastide database status` shows its position; is its disk or machine busy?",
                )),
                _ if member["up"] == true => good += 1,
                _ => checks.push(Check::fail(
                    "replica",
                    format!("{} is down: {}", text(member, "name"), text(member, "why")),
                    format!("`bastide logs database.{}` may say why", text(member, "name")),
                )),
            }
        }
        if good > 0 {
            checks.push(Check::ok("replicas", format!("{good} of {} keep up", text(database, "name"))));
        }
    }
}

fn monitor(status: &Value, checks: &mut Vec<Check>) {
    let monitor = &status["monitor"];
    for target in list(&monitor["targets_down"]) {
        checks.push(Check::warn(
            "scrape",
            format!("{} cannot be read: {}", text(target, "instance"), text(target, "error")),
            "does it run, and serve metrics where the file says?",
        ));
    }
    for key in ["trouble", "damage"] {
        for said in list(&monitor[key]).iter().filter_map(Value::as_str) {
            checks.push(Check::warn(
                "monitor",
                crate::terminal::escape(said),
                "`bastide logs monitor` may say more",
            ));
        }
    }
    for rule in list(&monitor["rules_failing"]) {
        checks.push(Check::warn(
            "rule",
            format!("{}: {}", text(rule, "rule"), text(rule, "error")),
            "correct its `expr`; `bastide query` tries one",
        ));
    }
    for alert in top::firing(status) {
        checks.push(Check::warn(
            "alert",
            format!("{alert} fires"),
            "`bastide alerts` says what it means and what to do",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_wrong_is_found() {
        let now_s = sys::clock::now_ms() / 1_000;
        let status = json!({
            "ready": false, "waiting_for": ["edge: no answer"], "trouble": "it fell back\n  hint: confirm it",
            "processes": [{ "name": "app/1", "restarts": 3, "last_end": "exit code 1" }],
            "edge": { "certificates": [
                { "names": ["a"], "not_after_s": 5 }, { "names": ["b"], "not_after_s": now_s + 86_400 },
                { "names": ["c"], "not_after_s": now_s + 90 * 86_400 } ] },
            "database": { "databases": [{ "name": "main", "max_lag_seconds": 2.0, "members": [
                { "name": "main/0", "role": "primary", "up": true },
                { "name": "main/1", "role": "replica", "up": true, "lag_seconds": 9.0 },
                { "name": "main/2", "role": "replica", "up": false, "why": "refused" } ] }] },
            "monitor": { "targets_down": [{ "instance": "app/1", "error": "no" }], "alerts": [], "trouble": ["x"] },
        });
        let mut checks = Vec::new();
        look(&Paths { site: "a".into(), state_dir: "/s".into(), run_dir: "/r".into() }, &status, &mut checks);
        let states: Vec<(&str, State)> = checks.iter().map(|c| (c.what, c.state)).collect();
        assert_eq!(
            states,
            [
                ("running", State::Fail),
                ("last change", State::Warn),
                ("process", State::Warn),
                ("certificate", State::Fail),
                ("certificate", State::Warn),
                ("certificate", State::Ok),
                ("replica", State::Warn),
                ("replica", State::Fail),
                ("scrape", State::Warn),
                ("monitor", State::Warn),
            ]
        );
        assert!(checks.iter().filter(|c| c.state != State::Ok).all(|c| c.hint.is_some()));
    }
}
