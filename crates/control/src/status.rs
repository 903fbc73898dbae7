//! What the whole site does now, gathered from the supervisor and the roles.

use crate::life_of_a_change::Control;
use crate::paths::Paths;
use crate::supervisor::{Order, ProcessReport, Reply, orders};
use role::client::Admin;
use serde_json::{Value, json};
use site::Site;
use std::collections::HashSet;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

/// A role that does not answer within this is shown as not answering.
const PATIENCE: Duration = Duration::from_secs(2);

/// The supervisor's processes; none where it does not answer.
pub async fn processes(paths: &Paths) -> Option<Vec<ProcessReport>> {
    match orders::ask(&paths.run_dir, &Order::List).await {
        Ok(Reply::Processes(list)) => Some(list),
        _ => None,
    }
}

/// The names of the processes that run.
pub async fn running(paths: &Paths) -> HashSet<String> {
    let list = processes(paths).await.unwrap_or_default();
    list.into_iter().filter(|p| p.pid.is_some()).map(|p| p.name).collect()
}

/// A role's own status and whether it is ready.
async fn ask(paths: &Paths, role: &str) -> (Value, Result<(), String>) {
    let admin = Admin::new(&paths.socket(role)).timeout(PATIENCE);
    match admin.get("/status").await {
        Ok(status) => match admin.get("/ready").await {
            Ok(_) => (status, Ok(())),
            Err(error) => (status, Err(error.to_string())),
        },
        Err(error) => (Value::Null, Err(error.to_string())),
    }
}

impl Control {
    /// Everything, for `GET /status`.
    pub(crate) async fn gather(&self) -> Value {
        let committed = self.committed();
        let list = processes(&self.paths).await;
        let now_ms = sys::clock::now_ms();
        let bans = self.bans.lock().unwrap_or_else(PoisonError::into_inner).list(now_ms).len();
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut waiting = Vec::new();
        let Some(committed) = committed else {
            return json!({
                "site": self.paths.site, "ready": false, "waiting_for": ["a file: `bastide up FILE`"],
                "processes": list, "bans": bans,
            });
        };
        let site = &committed.revision.site;
        if list.is_none() {
            waiting.push("the supervisor does not answer; `bastide up` starts it again".to_owned());
        }
        let has_database = site.databases.is_some();
        let (edge, monitor, database) =
            tokio::join!(ask(&self.paths, "edge"), ask(&self.paths, "monitor"), async {
                if has_database { ask(&self.paths, "database").await } else { (Value::Null, Ok(())) }
            });
        for (name, (_, ready)) in [("edge", &edge), ("database", &database), ("monitor", &monitor)] {
            if let Err(why) = ready {
                waiting.push(format!("{name}: {why}"));
            }
        }
        waiting.extend(servers_down(&edge.0));
        waiting.extend(members_down(&database.0));
        let away: Vec<&ProcessReport> = list.iter().flatten().filter(|p| p.pid.is_none()).collect();
        waiting.extend(away.iter().map(|process| why_away(process)));
        let failing: Vec<&str> =
            away.iter().filter(|p| p.restarts >= GIVES_UP_AFTER).map(|p| p.name.as_str()).collect();
        json!({
            "site": self.paths.site,
            "file": committed.file,
            "revision": { "id": committed.revision.id, "hash": committed.revision.hash, "made_at_ms": committed.revision.made_at_ms },
            "ready": waiting.is_empty(),
            "waiting_for": waiting,
            "failing": failing,
            "trouble": trouble,
            "urls": urls(site),
            "line": site.monitor.line,
            "processes": list,
            "edge": edge.0,
            "database": database.0,
            "monitor": monitor.0,
            "bans": bans,
            "state_dir": self.paths.state_dir,
            "run_dir": self.paths.run_dir,
        })
    }
}

/// A process that ended by itself so often has a cause that time does not cure.
pub const GIVES_UP_AFTER: u64 = 5;
/// Of a log's end so much is looked at, and of a line so much is shown.
const LOG_TAIL: u64 = 8 << 10;
const LOG_LINE: usize = 300;

/// How a process that does not run ended, and what it said last.
pub fn why_away(process: &ProcessReport) -> String {
    let end = process.last_end.as_deref().unwrap_or("starting");
    let said = last_words(&process.log).map_or(String::new(), |line| format!(": {line}"));
    format!("process {}: {} ({end}){said}", process.name, process.state)
}

/// The last complaint in a log's end, or else its last line.
fn last_words(log: &Path) -> Option<String> {
    let mut file = std::fs::File::open(log).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(LOG_TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    let complains =
        |line: &&str| ["FATAL", "PANIC", "error:", "ERROR", "cannot"].iter().any(|word| line.contains(word));
    let line = lines().rfind(complains).or_else(|| lines().next_back())?;
    Some(line.chars().filter(|c| !c.is_control()).take(LOG_LINE).collect())
}

/// Where a person or program finds the site's parts.
fn urls(site: &Site) -> Value {
    let databases: Vec<Value> = site
        .databases
        .iter()
        .flat_map(|d| &d.databases)
        .map(|d| {
            let at = d.listen.first().map(ToString::to_string).unwrap_or_default();
            let user = d.users.first();
            let url = user.map(|u| format!("postgres://{}@{at}/{}", u.name, u.database));
            json!({ "name": d.name, "listen": at, "url": url })
        })
        .collect();
    let line = &site.monitor.line;
    json!({ "site": line.site_url, "page": line.page_url, "databases": databases, "database": databases.first().map(|d| d["url"].clone()) })
}

fn servers_down(edge: &Value) -> Vec<String> {
    let servers =
        edge["pools"].as_array().into_iter().flatten().filter_map(|p| p["servers"].as_array()).flatten();
    servers
        .filter(|s| s["up"] == false)
        .map(|s| {
            format!(
                "web server {}: {}",
                s["name"].as_str().unwrap_or("?"),
                s["why"].as_str().unwrap_or("down")
            )
        })
        .collect()
}

fn members_down(database: &Value) -> Vec<String> {
    let members = database["databases"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|d| d["members"].as_array())
        .flatten();
    members
        .filter(|m| m["up"] == false)
        .map(|m| {
            format!("database {}: {}", m["name"].as_str().unwrap_or("?"), m["why"].as_str().unwrap_or("down"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_words_of_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("x.log");
        assert_eq!(last_words(&log), None);
        let cases = [
            ("", None),
            ("starting\n\n", Some("starting")),
            ("FATAL: no\nbye\n", Some("FATAL: no")),
            ("error: old\nfine\nerror: new\n  hint: x\n", Some("error: new")),
        ];
        for (text, expected) in cases {
            std::fs::write(&log, text).unwrap();
            assert_eq!(last_words(&log).as_deref(), expected, "{text:?}");
        }
        std::fs::write(&log, "x".repeat(100_000)).unwrap();
        assert_eq!(last_words(&log).unwrap().len(), LOG_LINE);
    }
}
