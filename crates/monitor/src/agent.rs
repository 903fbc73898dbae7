//! The role `agent`: readings of the host and of supervised processes, read anew
//! for each `GET /metrics` on its admin socket; and of what costs more (control
//! groups, units, programs, PostgreSQL), read at intervals of their own and given
//! as last read.

use base::Millis;
use futures_util::future::BoxFuture;
use monitor_agent::postgres::{self, Readings};
use monitor_agent::{BadPattern, Host, Pattern, Process, Settings, Slow};
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

struct Agent {
    /// Replaced as a whole by another site, without waiting for a reading.
    host: Mutex<Arc<Mutex<Host>>>,
    /// Of the last reading of the host.
    failures: Mutex<Vec<String>>,
    /// The slow collectors' last exposition, and the task that makes it.
    slow: Mutex<Repeated>,
    databases: Mutex<Vec<Database>>,
    processes: Mutex<Vec<Process>>,
    site: Mutex<site::Agent>,
}

/// The slow collectors; they end with this.
struct Repeated {
    state: Arc<Mutex<SlowState>>,
    task: JoinHandle<()>,
}

impl Drop for Repeated {
    fn drop(&mut self) {
        // A reading that has begun ends by itself, and nobody sees it.
        self.task.abort();
    }
}

#[derive(Default)]
struct SlowState {
    exposition: String,
    failures: Vec<String>,
}

/// A PostgreSQL that is asked by a task of its own, which ends with this.
struct Database {
    told: site::AgentPostgres,
    every: Millis,
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
        slow: Mutex::new(repeat(slow, site.host.slow_interval)),
        databases: Mutex::new(
            site.postgres.iter().map(|told| watch(told, site.host.postgres_interval)).collect(),
        ),
        processes: Mutex::default(),
        site: Mutex::new(site),
    });
    let path = start.run_dir.join(format!("{}.sock", start.role));
    role::admin::serve(&path, agent, start.registry.clone(), start.shutdown.clone())
        .map_err(|error| Fault::new(format!("cannot listen on `{}`: {error}", path.display())))?;
    start.shutdown.wait().await;
    Ok(())
}

/// How the host is read, as the site says.
fn settings(site: &site::Agent) -> Settings {
    let mut settings =
        Settings { textfiles: site.textfiles.iter().cloned().collect(), ..Settings::default() };
    let host = &site.host;
    settings.without.clone_from(&host.without);
    let except = |pattern: &mut Pattern, told: &Option<String>| {
        if let Some(told) = told {
            pattern.exclude = Some(told.clone());
        }
    };
    except(&mut settings.mount_points, &host.except_mounts);
    except(&mut settings.filesystem_types, &host.except_filesystems);
    except(&mut settings.disks, &host.except_disks);
    for devices in [&mut settings.network_devices, &mut settings.network_classes, &mut settings.arp_devices] {
        except(devices, &host.except_devices);
    }
    except(&mut settings.units, &host.except_units);
    settings.units.include.clone_from(&host.only_units);
    settings
}

/// Begins to read the slow collectors.
fn repeat(slow: Slow, every: Millis) -> Repeated {
    let state: Arc<Mutex<SlowState>> = Arc::default();
    Repeated { task: tokio::spawn(repeat_slow(slow, every.duration(), state.clone())), state }
}

/// Reads the slow collectors for ever.
async fn repeat_slow(mut slow: Slow, every: Duration, state: Arc<Mutex<SlowState>>) {
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
        tokio::time::sleep(every).await;
    }
}

/// Begins to ask a PostgreSQL, for as long as what it gives is kept.
fn watch(told: &site::AgentPostgres, every: Millis) -> Database {
    let server = postgres::Server {
        name: told.name.clone(),
        address: told.address.clone(),
        user: told.user.clone(),
        password: told.password.clone(),
        database: told.database.clone(),
    };
    let state: Arc<Mutex<DatabaseState>> = Arc::default();
    let task = tokio::spawn(repeat_postgres(postgres::Client::new(server), every.duration(), state.clone()));
    Database { told: told.clone(), every, state, task }
}

/// Asks a PostgreSQL for ever.
async fn repeat_postgres(mut client: postgres::Client, every: Duration, state: Arc<Mutex<DatabaseState>>) {
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
        tokio::time::sleep(every).await;
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
        // What cannot be read so is refused before anything changes.
        let wrong = |error: BadPattern| vec![error.to_string()];
        Slow::new(settings(&revision.site)).map_err(wrong)?;
        Ok(revision.site)
    }

    fn commit(&self, prepared: site::Agent) {
        let mut databases = lock(&self.databases);
        let before = std::mem::take(&mut *databases);
        // A connection to a server of which nothing changed is kept.
        let every = prepared.host.postgres_interval;
        let mut before: Vec<Database> = before
            .into_iter()
            .filter(|database| database.every == every && prepared.postgres.contains(&database.told))
            .collect();
        for told in &prepared.postgres {
            let known = before.iter().position(|database| database.told == *told);
            databases.push(known.map_or_else(|| watch(told, every), |at| before.swap_remove(at)));
        }
        let mut site = lock(&self.site);
        if (&site.textfiles, &site.host) != (&prepared.textfiles, &prepared.host)
            && let (Ok(host), Ok(slow)) = (Host::new(settings(&prepared)), Slow::new(settings(&prepared)))
        {
            *lock(&self.host) = Arc::new(Mutex::new(host));
            *lock(&self.slow) = repeat(slow, prepared.host.slow_interval);
        }
        *site = prepared;
    }

    fn status(&self) -> Value {
        let mut failures = lock(&self.failures).clone();
        failures.extend(lock(&lock(&self.slow).state).failures.iter().cloned());
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
            let mut beside = lock(&lock(&self.slow).state).exposition.clone();
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
    fn the_host_is_read_as_the_file_says() {
        let mut site = site::Agent::default();
        let usual = Settings::default();
        assert_eq!(settings(&site), usual);
        site.host.without = vec!["hwmon".into()];
        site.host.except_devices = Some("^veth".into());
        site.host.only_units = Some("^nginx".into());
        let told = settings(&site);
        assert_eq!(told.without, ["hwmon"]);
        for devices in [&told.network_devices, &told.network_classes, &told.arp_devices] {
            assert_eq!(devices.exclude.as_deref(), Some("^veth"));
        }
        // What is not said stays as it was.
        assert_eq!(told.mount_points, usual.mount_points);
        assert_eq!(
            (told.units.include.as_deref(), told.units.exclude),
            (Some("^nginx"), usual.units.exclude)
        );
        site.host.except_mounts = Some("(".into());
        assert!(Slow::new(settings(&site)).is_err());
    }

    #[test]
    fn processes_are_those_with_a_pid() {
        let answer = json!([{"name": "edge", "pid": 7}, {"name": "x", "pid": null}, {"pid": 3}, {"name": "y", "pid": -1}]);
        assert_eq!(processes_of(&answer), [Process { name: "edge".into(), pid: 7 }]);
        assert_eq!(processes_of(&json!({ "processes": answer })).len(), 1);
        assert!(processes_of(&json!("no")).is_empty());
    }
}
