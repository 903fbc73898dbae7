//! The role `agent`: readings of the host and of supervised processes, read anew
//! for each `GET /metrics` on its admin socket; and of what costs more (control
//! groups, units, programs, PostgreSQL), read at intervals of their own and given
//! as last read.

use futures_util::future::BoxFuture;
use monitor_agent::postgres::{self, Readings};
use monitor_agent::{Host, Process, Settings, Slow};
use role::client::Admin;
use role::{Fault, Role, Start};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinHandle;

use crate::state::lock;

/// `control` may take this long to say which processes there are; then the ones
/// known from before are read.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);

/// Processes that are read, at most.
const MAX_PROCESSES: usize = 1_000;

/// Between two readings of what costs more, from the end of one to the beginning
/// of the next.
const SLOW_INTERVAL: Duration = Duration::from_secs(30);
const POSTGRES_INTERVAL: Duration = Duration::from_secs(30);

struct Agent {
    /// Replaced as a whole by another site, without waiting for a reading.
    host: Mutex<Arc<Mutex<Host>>>,
    /// Of the last reading of the host.
    failures: Mutex<Vec<String>>,
    /// The slow collectors' last exposition.
    slow: Arc<Mutex<SlowState>>,
    databases: Mutex<Vec<Database>>,
    processes: Mutex<Vec<Process>>,
    site: Mutex<site::Agent>,
}

#[derive(Default)]
struct SlowState {
    exposition: String,
    failures: Vec<String>,
}

/// A PostgreSQL that is asked by a task of its own, which ends with this.
struct Database {
    told: site::AgentPostgres,
    state: Arc<Mutex<DatabaseState>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct DatabaseState {
    readings: Readings,
    /// Why it could not be asked, or what it refused.
    failures: Vec<String>,
}

impl Drop for Database {
    fn drop(&mut self) {
        // A reading that has begun ends by its own limits.
        self.task.abort();
    }
}

/// Serves until it is told to drain.
pub async fn run(start: Start<site::Agent>) -> Result<(), Fault> {
    let site = start.revision.site.clone();
    let host = Host::new(settings(&site)).map_err(|error| Fault::new(error.to_string()))?;
    let slow = Slow::new(settings(&site)).map_err(|error| Fault::new(error.to_string()))?;
    let agent = Arc::new(Agent {
        host: Mutex::new(Arc::new(Mutex::new(host))),
        failures: Mutex::default(),
        slow: Arc::default(),
        databases: Mutex::new(site.postgres.iter().map(watch).collect()),
        processes: Mutex::default(),
        site: Mutex::new(site),
    });
    let path = start.run_dir.join(format!("{}.sock", start.role));
    let repeated = tokio::spawn(repeat_slow(slow, agent.slow.clone()));
    role::admin::serve(&path, agent, start.registry.clone(), start.shutdown.clone())
        .map_err(|error| Fault::new(format!("cannot listen on `{}`: {error}", path.display())))?;
    start.shutdown.wait().await;
    repeated.abort();
    Ok(())
}

/// How the host is read, as the site says.
fn settings(site: &site::Agent) -> Settings {
    Settings { textfiles: site.textfiles.iter().cloned().collect(), ..Settings::default() }
}

/// Reads the slow collectors for ever.
async fn repeat_slow(mut slow: Slow, state: Arc<Mutex<SlowState>>) {
    let mut first = true;
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let mut exposition = String::new();
            slow.read(&mut exposition);
            (slow, exposition)
        });
        let exposition;
        (slow, exposition) = match read.await {
            Ok(read) => read,
            Err(error) => resume(error),
        };
        let failures = slow.failures.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
        *lock(&state) = SlowState { exposition, failures };
        if std::mem::take(&mut first) {
            // Most of what was run so far is not run again. Where it cannot be given
            // back, the role is larger, and nothing else.
            let _ = sys::process::release_code();
        }
        tokio::time::sleep(SLOW_INTERVAL).await;
    }
}

/// Begins to ask a PostgreSQL, for as long as what it gives is kept.
fn watch(told: &site::AgentPostgres) -> Database {
    let server = postgres::Server {
        name: told.name.clone(),
        address: told.address.clone(),
        user: told.user.clone(),
        password: told.password.clone(),
        database: told.database.clone(),
    };
    let state: Arc<Mutex<DatabaseState>> = Arc::default();
    let task = tokio::spawn(repeat_postgres(postgres::Client::new(server), state.clone()));
    Database { told: told.clone(), state, task }
}

/// Asks a PostgreSQL for ever.
async fn repeat_postgres(mut client: postgres::Client, state: Arc<Mutex<DatabaseState>>) {
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let readings = client.read();
            (client, readings)
        });
        let readings;
        (client, readings) = match read.await {
            Ok(read) => read,
            Err(error) => resume(error),
        };
        let name = &client.server().name;
        let failures = client.trouble.iter().map(|trouble| format!("postgres {name}: {trouble}"));
        let refused = client.refused.iter().map(|(what, why)| format!("postgres {name}: {what}: {why}"));
        let failures = failures.chain(refused).collect();
        *lock(&state) = DatabaseState { readings, failures };
        tokio::time::sleep(POSTGRES_INTERVAL).await;
    }
}

/// A panic of a reading's thread is one of ours; a thread that was given up at the
/// end of the process never comes back.
fn resume(error: tokio::task::JoinError) -> ! {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(error) => panic!("a reading was given up: {error}"),
    }
}

impl Agent {
    /// Which supervised processes there are, as `control` knows them.
    async fn processes(&self) -> Vec<Process> {
        let control = lock(&self.site).control.clone();
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
        let mut databases = lock(&self.databases);
        let before = std::mem::take(&mut *databases);
        // A connection to a server of which nothing changed is kept.
        let mut before: Vec<Database> =
            before.into_iter().filter(|database| prepared.postgres.contains(&database.told)).collect();
        for told in &prepared.postgres {
            let known = before.iter().position(|database| database.told == *told);
            databases.push(known.map_or_else(|| watch(told), |at| before.swap_remove(at)));
        }
        let mut site = lock(&self.site);
        if site.textfiles != prepared.textfiles
            && let Ok(host) = Host::new(settings(&prepared))
        {
            *lock(&self.host) = Arc::new(Mutex::new(host));
        }
        *site = prepared;
    }

    fn status(&self) -> Value {
        let mut failures = lock(&self.failures).clone();
        failures.extend(lock(&self.slow).failures.iter().cloned());
        let databases = lock(&self.databases);
        failures.extend(databases.iter().flat_map(|database| lock(&database.state).failures.clone()));
        json!({ "failures": failures, "processes": lock(&self.processes).len() })
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn readings(&self) -> BoxFuture<'_, String> {
        Box::pin(async move {
            let processes = self.processes().await;
            let host = lock(&self.host).clone();
            let mut beside = lock(&self.slow).exposition.clone();
            // One family of all servers together.
            let mut readings = Readings::default();
            for database in lock(&self.databases).iter() {
                readings.merge(&lock(&database.state).readings);
            }
            readings.write(&mut beside);
            let read = tokio::task::spawn_blocking(move || {
                let mut host = lock(&host);
                host.read_processes(&processes, &mut beside);
                let mut out = String::with_capacity(64 << 10);
                host.read(sys::clock::now_ms() as f64 / 1e3, &beside, &mut out);
                let failures: Vec<String> =
                    host.failures.iter().map(|(name, fault)| format!("{name}: {fault}")).collect();
                out.push_str(&beside);
                (out, failures)
            });
            match read.await {
                Ok((out, failures)) => {
                    *lock(&self.failures) = failures;
                    out
                }
                Err(error) => resume(error),
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
