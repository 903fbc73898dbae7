//! How a revision gets to the roles: all of them prepare it; only when all agree
//! do they commit. A role that is not running starts from the file written here.

use crate::paths::Paths;
use crate::supervisor::{Order, Reply, orders};
use role::client::{Admin, Error};
use serde::Serialize;
use serde_json::{Value, json};
use site::{ProcessSpec, Revision, Site};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// The parts of a revision, as the roles read them.
fn parts(paths: &Paths, revision: &Revision<Site>) -> serde_json::Result<Vec<(&'static str, Value)>> {
    fn part<T: Serialize + Clone>(revision: &Revision<Site>, content: &T) -> serde_json::Result<Value> {
        serde_json::to_value(revision.part(content.clone()))
    }
    let site = &revision.site;
    let mut parts = vec![("edge", part(revision, &site.edge)?), ("monitor", part(revision, &site.monitor)?)];
    let agent = site::Agent { control: Some(paths.socket("control")), ..site.agent.clone() };
    parts.push(("agent", part(revision, &agent)?));
    if let Some(databases) = &site.databases {
        parts.push(("database", part(revision, databases)?));
    }
    Ok(parts)
}

/// Publishes `next` in place of `current`. On an error nothing has changed; the
/// errors are for the operator. Otherwise the names of processes that still run
/// with an older specification.
pub async fn publish(
    paths: &Paths,
    current: Option<&Site>,
    next: &Revision<Site>,
) -> Result<Vec<String>, Vec<String>> {
    let parts = parts(paths, next).map_err(|e| vec![format!("the revision cannot be written: {e}")])?;
    let mut agreed = Vec::new();
    let mut errors = Vec::new();
    for (role, part) in &parts {
        let admin = Admin::new(&paths.socket(role));
        match admin.post("/prepare", part).await {
            Ok(_) => agreed.push((*role, admin)),
            // It is not running, or just starting: it takes the file below.
            Err(Error::Unreachable { .. }) => {}
            Err(error @ Error::Refused { .. }) => errors.push(format!("{role}: {error}")),
        }
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    let before = write_files(paths, &parts).map_err(|e| vec![e])?;
    // Old and new together first: what leaves may stop only once no role uses it.
    if let Err(why) = apply(paths, &together(current, &next.site)).await {
        restore(before);
        return Err(vec![why]);
    }
    let id = json!({ "id": next.id, "hash": next.hash });
    for (role, admin) in agreed {
        if let Err(error) = admin.post("/commit", &id).await {
            // It agreed and went away: when it comes back it reads the file.
            errors.push(format!("{role} did not commit {}: {error}", next.id));
        }
    }
    let changed = apply(paths, &next.site.processes).await.map_err(|e| vec![e])?;
    if !errors.is_empty() {
        // Restarted, they start from the new file: the roles agree again.
        for error in &errors {
            let role = error.split(' ').next().unwrap_or_default().to_owned();
            let _ = orders::ask(&paths.run_dir, &Order::Restart { name: role }).await;
        }
    }
    Ok(changed)
}

/// The processes of both: those of the new site as it has them, then what only the old one has.
fn together(current: Option<&Site>, next: &Site) -> Vec<ProcessSpec> {
    let mut all = next.processes.clone();
    for old in current.iter().flat_map(|site| &site.processes) {
        if !all.iter().any(|spec| spec.name == old.name) {
            all.push(old.clone());
        }
    }
    all
}

async fn apply(paths: &Paths, processes: &[ProcessSpec]) -> Result<Vec<String>, String> {
    let order = Order::Apply { processes: processes.to_vec() };
    match orders::ask(&paths.run_dir, &order).await {
        Ok(Reply::Applied { changed }) => Ok(changed),
        Ok(Reply::Refused(why)) => Err(why),
        Ok(other) => Err(format!("the supervisor answered {other:?}")),
        Err(error) => Err(format!(
            "the supervisor does not answer: {error}\n  hint: `bastide up` starts it again; nothing that runs is lost"
        )),
    }
}

type Before = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Writes the file of each role; what was there comes back for [`restore`].
fn write_files(paths: &Paths, parts: &[(&'static str, Value)]) -> Result<Before, String> {
    let mut before = Before::new();
    for (role, part) in parts {
        let path = paths.role_revision(role);
        before.insert(path.clone(), std::fs::read(&path).ok());
        if let Err(error) = sys::file::write_atomic(&path, part.to_string().as_bytes(), 0o600) {
            restore(before);
            return Err(format!("cannot write `{}`: {error}", path.display()));
        }
    }
    Ok(before)
}

fn restore(before: Before) {
    for (path, content) in before {
        let _ = match content {
            Some(content) => sys::file::write_atomic(&path, &content, 0o600),
            None => std::fs::remove_file(&path),
        };
    }
}

/// How long a server that is taken out may finish its requests before it is restarted.
const DRAIN: Duration = Duration::from_secs(20);
/// How long a restarted server may take until the edge finds it healthy.
const COMES_UP: Duration = Duration::from_secs(30);

/// Restarts processes one at a time. A web server is first taken out of traffic,
/// and the next one waits until it is healthy again. The error names the process
/// that did not come back; those after it are untouched.
pub async fn roll(paths: &Paths, site: &Site, names: &[String]) -> Result<(), String> {
    for name in names {
        let pool = site.edge.pools.iter().find(|p| p.servers.iter().any(|s| s.name == *name));
        let edge = Admin::new(&paths.socket("edge"));
        let target = pool.map(|pool| format!("pool={}&server={name}", pool.name));
        if let Some(target) = &target {
            // An edge that is away sends nothing to the server either.
            let _ = edge.post(&format!("/drain-server?{target}"), &json!({})).await;
            wait_for(DRAIN, || async { server(&edge, name).await.is_none_or(|s| s["in_flight"] == 0) }).await;
        }
        let before = pid_of(paths, name).await;
        match orders::ask(&paths.run_dir, &Order::Restart { name: name.clone() }).await {
            Ok(Reply::Refused(why)) => return Err(why),
            Ok(_) => {}
            Err(error) => return Err(format!("the supervisor does not answer: {error}")),
        }
        let restarted = wait_for(COMES_UP, || async {
            let now = pid_of(paths, name).await;
            now.is_some() && now != before
        })
        .await;
        if let Some(target) = &target {
            let _ = edge.post(&format!("/undrain-server?{target}"), &json!({})).await;
        }
        let healthy = target.is_none()
            || wait_for(COMES_UP, || async { server(&edge, name).await.is_some_and(|s| s["up"] == true) })
                .await;
        if !restarted || !healthy {
            return Err(format!(
                "`{name}` did not come back within {} s; the processes after it still run as before\n  hint: `bastide logs {name}` shows why",
                COMES_UP.as_secs()
            ));
        }
    }
    Ok(())
}

async fn wait_for<F: Future<Output = bool>>(limit: Duration, condition: impl Fn() -> F) -> bool {
    let end = tokio::time::Instant::now() + limit;
    loop {
        if condition().await {
            return true;
        }
        if tokio::time::Instant::now() >= end {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the edge says of a web server.
async fn server(edge: &Admin, name: &str) -> Option<Value> {
    let status = edge.get("/status").await.ok()?;
    let pools = status["pools"].as_array()?;
    pools.iter().filter_map(|p| p["servers"].as_array()).flatten().find(|s| s["name"] == name).cloned()
}

async fn pid_of(paths: &Paths, name: &str) -> Option<i32> {
    match orders::ask(&paths.run_dir, &Order::List).await {
        Ok(Reply::Processes(list)) => list.into_iter().find(|p| p.name == name)?.pid,
        _ => None,
    }
}
