//! The life of a query, from top to bottom.
//!
//! 1. The role starts: each database gets its state ([`crate::shared`]), a task
//!    that watches each member ([`crate::poll`]) and its port.
//! 2. A client connects, says who it is and proves it ([`crate::client`]).
//! 3. Its session reads batches ([`crate::session`]): each statement is parsed
//!    by PostgreSQL's parser and judged (`database-route`).
//! 4. A batch of plain reads goes to a replica that has replayed what the login
//!    wrote ([`crate::held`]); everything else to the session's own
//!    connection to the primary ([`crate::primary`]), and after a write the
//!    primary is asked how far its log reaches.
//! 5. The session ends: its connection is made as new and goes back to the pool.
//! 6. The role drains: no new clients, sessions end between transactions.

use crate::shared::{Config, Shared};
use crate::stats::Stats;
use crate::{client, poll};
use role::{Fault, Registry, Role, Shutdown, Start};
use serde_json::{Value, json};
use site::{Databases, MemberRole, Revision};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

/// Sessions have this long to end when the role drains.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);

/// Runs the role until it has drained.
pub async fn run(start: Start<Databases>) -> Result<(), Fault> {
    let Start { role, revision, mut listeners, run_dir, events, registry, shutdown, .. } = start;
    let router = Arc::new(Router {
        databases: Mutex::default(),
        revision: AtomicU64::new(0),
        registry: registry.clone(),
        events,
        shutdown: shutdown.clone(),
    });
    let prepared = router.prepare(revision).map_err(|errors| Fault::new(errors.join("; ")))?;

    let mut ports = Vec::new();
    for config in &prepared.configs {
        ports.push((config.site.name.clone(), bind(&mut listeners, &config.site)?));
    }
    router.commit(prepared);
    for (database, sockets) in ports {
        for socket in sockets {
            router.clone().serve(&database, socket)?;
        }
    }
    let fds = run_dir.join(format!("{role}.fds"));
    listeners.hand_out(&fds).map_err(|e| fault("cannot listen on", &fds.display(), &e))?;
    let admin = run_dir.join(format!("{role}.sock"));
    role::admin::serve(&admin, router.clone(), registry, shutdown.clone())
        .map_err(|e| fault("cannot listen on", &admin.display(), &e))?;

    shutdown.wait().await;
    let deadline = Instant::now() + DRAIN_LIMIT;
    while router.sessions() > 0 && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

fn fault(what: &str, on: &dyn std::fmt::Display, error: &std::io::Error) -> Fault {
    Fault::new(format!("{what} `{on}`: {error}"))
}

/// The sockets inherited as `database.NAME`, or bound as the file says.
fn bind(listeners: &mut role::Listeners, site: &site::Database) -> Result<Vec<TcpListener>, Fault> {
    let name = format!("database.{}", site.name);
    let inherited = listeners.tcp(&name).map_err(|e| fault("cannot use the inherited socket", &name, &e))?;
    if !inherited.is_empty() {
        return Ok(inherited);
    }
    let mut bound = Vec::new();
    for address in &site.listen {
        let listener = sys::socket::listen_tcp(*address, false).map_err(|e| {
            fault("cannot listen on", address, &e).hint(format!(
                "another program has the port: see `ss -ltnp`, or change `listen` of [database.{}]",
                site.name
            ))
        })?;
        listeners.add(&name, &listener).map_err(|e| fault("cannot keep the socket of", address, &e))?;
        bound.push(listener);
    }
    Ok(bound)
}

/// The role.
struct Router {
    databases: Mutex<BTreeMap<String, Database>>,
    revision: AtomicU64,
    registry: Arc<Registry>,
    events: role::Events,
    shutdown: Shutdown,
}

/// One database, and where it listens.
struct Database {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
}

/// A revision, checked and compiled.
struct Prepared {
    id: u64,
    configs: Vec<Config>,
}

impl Router {
    /// Accepts clients of a database until the role drains.
    fn serve(self: Arc<Self>, database: &str, listener: TcpListener) -> Result<(), Fault> {
        let address = listener.local_addr().map_err(|e| fault("cannot ask the address of", &database, &e))?;
        let listener = tokio::net::TcpListener::from_std(listener)
            .map_err(|e| fault("cannot listen on", &address, &e))?;
        let shared = {
            let mut databases = crate::shared::lock(&self.databases);
            let Some(entry) = databases.get_mut(database) else { return Ok(()) };
            entry.addresses.push(address);
            entry.shared.clone()
        };
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = self.shutdown.wait() => return,
                };
                match accepted {
                    Ok((stream, _)) => {
                        tokio::spawn(client::serve(shared.clone(), stream, self.shutdown.clone()));
                    }
                    // Out of descriptors, most likely: leave room for those who free some.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        Ok(())
    }

    fn sessions(&self) -> usize {
        crate::shared::lock(&self.databases).values().map(|d| d.shared.sessions.load(Relaxed)).sum()
    }

    /// Starts to watch those members of a database that nobody watches yet.
    fn watch(&self, shared: &Arc<Shared>, before: &[Arc<crate::member::Member>]) {
        for member in &shared.config.load().members {
            if !before.iter().any(|m| Arc::ptr_eq(m, member)) {
                tokio::spawn(poll::watch(shared.clone(), member.clone(), self.events.clone()));
            }
        }
    }
}

impl Role for Router {
    type Site = Databases;
    type Prepared = Prepared;

    fn prepare(&self, revision: Revision<Databases>) -> Result<Prepared, Vec<String>> {
        let databases = crate::shared::lock(&self.databases);
        let mut configs = Vec::new();
        let mut errors = Vec::new();
        let running = !databases.is_empty();
        for site in revision.site.databases {
            let name = site.name.clone();
            let known = databases.get(&name);
            if running && known.is_none() {
                errors
                    .push(format!("database `{name}` is new: start the `database` role again for its port"));
                continue;
            }
            if configs.iter().any(|c: &Config| c.site.name == name) {
                errors.push(format!("database `{name}` is there twice"));
                continue;
            }
            let before = known.map(|d| d.shared.config.load_full());
            if let Some(before) = &before
                && before.site.listen != site.listen
            {
                errors.push(format!(
                    "`listen` of database `{name}` changed: start the `database` role again for it"
                ));
            }
            match Config::compile(site, before.as_deref()) {
                Ok(config) => configs.push(config),
                Err(more) => errors.extend(more),
            }
        }
        for name in databases.keys() {
            if !configs.iter().any(|c| c.site.name == *name) && errors.is_empty() {
                errors.push(format!("database `{name}` is gone: start the `database` role again"));
            }
        }
        if errors.is_empty() { Ok(Prepared { id: revision.id.0, configs }) } else { Err(errors) }
    }

    fn commit(&self, prepared: Prepared) {
        let mut databases = crate::shared::lock(&self.databases);
        for config in prepared.configs {
            let name = config.site.name.clone();
            if let Some(database) = databases.get(&name) {
                let before = database.shared.config.swap(Arc::new(config));
                database.shared.forget_greetings();
                database.shared.members_changed();
                self.watch(&database.shared, &before.members);
            } else {
                let shared = Arc::new(Shared::new(config, Stats::new(&self.registry, &name)));
                self.watch(&shared, &[]);
                databases.insert(name, Database { shared, addresses: Vec::new() });
            }
        }
        self.revision.store(prepared.id, Relaxed);
        self.registry.gauge(&base::names::ROLE_REVISION).with(&["database"]).set(prepared.id as f64);
    }

    fn status(&self) -> Value {
        let databases = crate::shared::lock(&self.databases);
        let list: Vec<Value> = databases.iter().map(|(name, database)| describe(name, database)).collect();
        json!({ "revision": self.revision.load(Relaxed), "databases": list })
    }

    fn ready(&self) -> Result<(), String> {
        for (name, database) in crate::shared::lock(&self.databases).iter() {
            let config = database.shared.config.load();
            let primary = config.primary();
            let state = primary.state();
            if !state.up {
                return Err(format!(
                    "the primary `{}` of database `{name}` does not take writes: {}",
                    primary.name, state.why
                ));
            }
        }
        Ok(())
    }
}

/// One database for `status`.
fn describe(name: &str, database: &Database) -> Value {
    let shared = &database.shared;
    let config = shared.config.load();
    let max_lag = config.settings().max_lag;
    let members: Vec<Value> = config
        .members
        .iter()
        .map(|member| {
            let state = member.state().clone();
            let (active, idle) = member.connections();
            let is_replica = member.role == MemberRole::Replica;
            json!({
                "name": member.name,
                "address": member.address,
                "role": member.role.as_str(),
                "up": state.up,
                "takes": match (state.up, is_replica) {
                    (false, _) => "nothing",
                    (true, false) => "writes",
                    (true, true) if state.lag > max_lag => "nothing",
                    (true, true) => "reads",
                },
                "why": state.why,
                "since_ms": state.since_ms,
                "lag_seconds": is_replica.then(|| state.lag.as_secs_f64()),
                "lag_bytes": is_replica.then_some(state.lag_bytes),
                "lsn": state.reading.map(|r| r.lsn),
                "received_lsn": state.received,
                "timeline": state.reading.map(|r| r.timeline),
                "connections": { "active": active, "idle": idle },
            })
        })
        .collect();
    json!({
        "name": name,
        "listen": database.addresses,
        "clients": shared.sessions.load(Relaxed),
        "max_clients": config.settings().max_clients,
        "max_lag_seconds": max_lag.as_secs_f64(),
        "durability": config.site.durability,
        "tls": config.tls.is_some(),
        "logins": shared
            .needs()
            .into_iter()
            .map(|(login, lsn)| json!({ "name": login, "reads_from_lsn": lsn }))
            .collect::<Vec<_>>(),
        "members": members,
    })
}
