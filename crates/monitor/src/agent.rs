//! The role `agent`: readings of the host and of supervised processes, read anew
//! for each `GET /metrics` on its admin socket.

use futures_util::future::BoxFuture;
use monitor_agent::{Host, Process, Settings};
use role::client::Admin;
use role::{Fault, Role, Start};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::state::lock;

/// `control` may take this long to say which processes there are; then the ones
/// known from before are read.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// Processes that are read, at most.
const MAX_PROCESSES: usize = 1_000;

struct Agent {
    host: Arc<Mutex<Host>>,
    processes: Mutex<Vec<Process>>,
    control: Mutex<Option<PathBuf>>,
}

/// Serves until it is told to drain.
pub async fn run(start: Start<site::Agent>) -> Result<(), Fault> {
    let host = host_of(&start.revision.site).map_err(Fault::new)?;
    let agent = Arc::new(Agent {
        host: Arc::new(Mutex::new(host)),
        processes: Mutex::default(),
        control: Mutex::new(start.revision.site.control.clone()),
    });
    let path = start.run_dir.join(format!("{}.sock", start.role));
    role::admin::serve(&path, agent, start.registry.clone(), start.shutdown.clone())
        .map_err(|error| Fault::new(format!("cannot listen on `{}`: {error}", path.display())))?;
    start.shutdown.wait().await;
    Ok(())
}

/// A host that is read as the site says.
fn host_of(site: &site::Agent) -> Result<Host, String> {
    let textfiles = site.textfiles.iter().cloned().collect();
    Host::new(Settings { textfiles, ..Settings::default() }).map_err(|error| error.to_string())
}

impl Agent {
    /// Which supervised processes there are, as `control` knows them.
    async fn processes(&self) -> Vec<Process> {
        let control = lock(&self.control).clone();
        if let Some(path) = control
            && let Ok(answer) = Admin::new(&path).timeout(ASK_TIMEOUT).get("/processes").await
        {
            *lock(&self.processes) = processes_of(&answer);
        }
        lock(&self.processes).clone()
    }
}

/// `[{"name": "edge", "pid": 12}, …]`, or that under `processes`; those without a
/// pid do not run.
fn processes_of(answer: &Value) -> Vec<Process> {
    let list = answer.as_array().or_else(|| answer.get("processes")?.as_array());
    list.into_iter()
        .flatten()
        .filter_map(|entry| {
            let pid = i32::try_from(entry.get("pid")?.as_i64()?).ok().filter(|pid| *pid > 0)?;
            Some(Process { name: entry.get("name")?.as_str()?.to_owned(), pid })
        })
        .take(MAX_PROCESSES)
        .collect()
}

impl Role for Agent {
    type Site = site::Agent;
    type Prepared = site::Agent;

    fn prepare(&self, revision: site::Revision<site::Agent>) -> Result<site::Agent, Vec<String>> {
        Ok(revision.site)
    }

    fn commit(&self, prepared: site::Agent) {
        *lock(&self.control) = prepared.control;
    }

    fn status(&self) -> Value {
        let host = lock(&self.host);
        let failures: Vec<String> =
            host.failures.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
        json!({ "failures": failures, "processes": lock(&self.processes).len() })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn readings(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let processes = self.processes().await;
            let host = self.host.clone();
            let read = tokio::task::spawn_blocking(move || {
                let mut out = String::with_capacity(64 << 10);
                let mut host = lock(&host);
                host.read(sys::clock::now_ms() as f64 / 1e3, &mut out);
                host.read_processes(&processes, &mut out);
                out
            });
            match read.await {
                Ok(readings) => readings,
                Err(panic) => std::panic::resume_unwind(panic.into_panic()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_those_with_a_pid() {
        let answer = json!([{"name": "edge", "pid": 7}, {"name": "x", "pid": null}, {"pid": 3}, {"name": "y", "pid": -1}]);
        assert_eq!(processes_of(&answer), [Process { name: "edge".into(), pid: 7 }]);
        assert_eq!(processes_of(&json!({ "processes": answer })).len(), 1);
        assert!(processes_of(&json!("no")).is_empty());
    }
}
