//! The life of a sample, told once.
//!
//! ```text
//! target ─▶ fetch ─▶ exposition ─▶ labels ─▶ sink ─▶ store ─┬─▶ queries ─▶ API, page
//! access log ─▶ tail ─▶ line ─▶ counts ───────────┘         └─▶ rules ─▶ alerts ─▶ receivers
//! ```
//!
//! Each target has a task that wakes at its own steady moment ([`scrape`]); each
//! log has one that reads what was appended ([`logs`]). What they find goes to
//! the store on threads that may wait for the disk ([`sink`]). The rule loop
//! ([`rules`]) records, decides what fires and tells receivers; queries run on
//! threads of their own, a few at a time ([`queries`]). None waits for another:
//! a hostile query, a dead receiver or a full disk stops no scrape.
//!
//! [`scrape`]: crate::scrape
//! [`logs`]: crate::logs
//! [`sink`]: crate::sink
//! [`rules`]: crate::rules
//! [`queries`]: crate::queries

use crate::logs;
use crate::plan::Plan;
use crate::push::{Forward, Push};
use crate::queries::Queries;
use crate::rules::{Book, Loop};
use crate::scrape::{Go, Pools};
use crate::server::Sockets;
use crate::sink::Sink;
use crate::state::{State, lock};
use base::names;
use futures_util::future::BoxFuture;
use monitor_store::Store;
use role::{Fault, Role, Shutdown, Start};
use serde_json::{Value, json};
use site::Log;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Between two calls of the store's upkeep.
const MAINTAIN: Duration = Duration::from_secs(5);

/// Tasks that do not end within this when the monitor ends are left behind.
const END: Duration = Duration::from_secs(5);

/// Runs the monitor until it is told to drain.
pub async fn run(start: Start<site::Monitor>) -> Result<(), Fault> {
    let Start { role, revision, listeners, run_dir, state_dir, events, registry, shutdown } = start;
    let plan = Plan::compile(revision).map_err(|errors| Fault::new(errors.join("\n")))?;

    // Memory of former days first: what cannot be read is named, and the rest is used.
    let dir = state_dir.join("monitor");
    sys::file::make_dir(&dir, 0o700)
        .map_err(|error| Fault::new(format!("cannot make `{}`: {error}", dir.display())))?;
    let (store, opened, aside) = open_store(dir.join("store"), &plan).await?;
    let store = Arc::new(store);
    let (uptime, unreadable) = crate::probe::remembered(&dir);
    let forward = Arc::new(Forward::new(store.clone(), dir.join("remote-write"), registry.clone()));
    let max_series = plan.site.store.max_series;
    let state = Arc::new(State {
        sink: Arc::new(Sink::new(store.clone(), forward.clone(), &registry)),
        push: Arc::new(Push::new(store.clone(), forward, max_series, registry.clone())),
        queries: Queries::new(store, plan.site.queries),
        plan: watch::Sender::new(Arc::new(plan)),
        board: Arc::default(),
        book: Mutex::new(Book::default()),
        events,
        registry: registry.clone(),
        state_dir,
        listening: Mutex::default(),
        clock: crate::clock::Clock::new(&registry),
        started_ms: sys::clock::now_ms(),
        opened,
        damage: Mutex::default(),
        log_trouble: Mutex::default(),
        archives: Mutex::default(),
        probes: Mutex::default(),
        uptime: Mutex::new(uptime),
        trouble: Mutex::new(unreadable.into_iter().chain(aside).collect()),
    });

    // Then the ears: page and API, and the admin socket.
    let mut sockets = Sockets::default();
    for (asked, listener) in first_sockets(&state.plan().site.listen, &listeners)? {
        sockets
            .serve(asked, listener, &state, &shutdown)
            .map_err(|error| Fault::new(format!("cannot serve on {asked}: {error}")))?;
    }
    let opened_sockets = Arc::new(Mutex::new(Vec::new()));
    let monitor = Arc::new(Monitor {
        state: state.clone(),
        serving: Mutex::new(sockets.asked()),
        opened: opened_sockets.clone(),
        opened_with: (state.plan().site.store.out_of_order, state.plan().site.store.max_series),
    });
    let path = run_dir.join(format!("{role}.sock"));
    role::admin::serve(&path, monitor.clone(), registry, shutdown.clone())
        .map_err(|error| Fault::new(format!("cannot listen on `{}`: {error}", path.display())))?;

    // Then the work: rules and upkeep always, targets and logs as the revision says.
    let (rules, trouble) = Loop::new(state.clone(), dir.join("alerts.json"));
    lock(&state.trouble).extend(trouble);
    let rules = tokio::spawn(rules.run(shutdown.clone()));
    let upkeep = tokio::spawn(keep_up(state.clone(), shutdown.clone()));
    let band = tokio::spawn(crate::growth::keep_band(state.clone(), shutdown.clone()));
    let probes = tokio::spawn(crate::probe::keep(state.clone(), dir.clone(), shutdown.clone()));
    let pools = Pools::new(state.sink.clone(), state.registry.clone(), state.board.clone());
    let mut work = Work { state: state.clone(), dir, pools, logs: BTreeMap::new() };
    let mut plans = state.plan.subscribe();
    loop {
        let plan = plans.borrow_and_update().clone();
        state.push.forward.follow(&plan.site).await;
        state.push.follow(&plan.site.otlp);
        state.queries.follow(plan.site.queries);
        work.follow(&plan);
        sockets.close_others(&plan.site.listen, &state);
        for (asked, listener) in std::mem::take(&mut *lock(&opened_sockets)) {
            // It was bound in `prepare`; what fails here is the runtime's.
            let _ = sockets.serve(asked, listener, &state, &shutdown);
        }
        *lock(&monitor.serving) = sockets.asked();
        tokio::select! {
            () = shutdown.wait() => break,
            changed = plans.changed() => if changed.is_err() { break },
        }
    }

    state.queries.close();
    // At the end: logs and rules save where they are, and the log of the store is synced.
    work.end().await;
    state.push.forward.end().await;
    let _ = tokio::time::timeout(END, rules).await;
    let _ = tokio::time::timeout(END, upkeep).await;
    let _ = tokio::time::timeout(END, band).await;
    let _ = tokio::time::timeout(END, probes).await;
    let synced = tokio::task::spawn_blocking(move || state.sink.store().commit()).await;
    match synced {
        Ok(Err(error)) => Err(Fault::new(format!("the store could not be synced: {error}"))),
        _ => Ok(()),
    }
}

/// Opens the store. One of the first version is not read: it is set aside, and the
/// operator told, because a site shall not stay down for readings of the past.
async fn open_store(
    dir: PathBuf,
    plan: &Plan,
) -> Result<(Store, monitor_store::OpenReport, Option<String>), Fault> {
    let settings = store_settings(plan);
    let opened = tokio::task::spawn_blocking(move || {
        let now_ms = sys::clock::now_ms() as i64;
        let aside = dir.with_extension("version-1");
        match Store::open(&dir, settings.clone(), now_ms) {
            Err(monitor_store::Error::OldVersion(_))
                if !aside.exists() && std::fs::rename(&dir, &aside).is_ok() =>
            {
                let told = format!(
                    "the store was of version 1, which is not read any more: it is set aside as `{}`, and a new one was begun; hint: delete it when nobody misses it",
                    aside.display()
                );
                Store::open(&dir, settings, now_ms).map(|(store, report)| (store, report, Some(told)))
            }
            opened => opened.map(|(store, report)| (store, report, None)),
        }
    });
    match opened.await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(Fault::new(format!("cannot open the store: {error}"))),
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}

fn store_settings(plan: &Plan) -> monitor_store::Settings {
    monitor_store::Settings {
        retention: plan.site.retention,
        retention_bytes: plan.site.retention_bytes,
        retention_5m: plan.site.store.retention_5m,
        retention_1h: plan.site.store.retention_1h,
        out_of_order: plan.site.store.out_of_order,
        sync: plan.site.store.sync,
        max_series: plan.site.store.max_series,
        ..Default::default()
    }
}

/// Inherited sockets serve what the revision asks for, in its order; what is
/// left is bound.
fn first_sockets(
    asked: &[SocketAddr],
    listeners: &role::Listeners,
) -> Result<Vec<(SocketAddr, TcpListener)>, Fault> {
    let wrong = |error| Fault::new(format!("the inherited sockets `monitor` cannot be used: {error}"));
    let mut inherited = listeners.tcp("monitor").map_err(wrong)?;
    let mut sockets = Vec::new();
    for address in asked {
        let same = |l: &TcpListener| l.local_addr().is_ok_and(|local| local == *address);
        let fits = |l: &TcpListener| l.local_addr().is_ok_and(|local| local.ip() == address.ip());
        let at = inherited.iter().position(same);
        // Port 0 was chosen by whoever bound it.
        let at = at.or_else(|| (address.port() == 0).then(|| inherited.iter().position(fits)).flatten());
        let listener = match at {
            Some(at) => inherited.remove(at),
            None => bind(*address).map_err(Fault::new)?,
        };
        sockets.push((*address, listener));
    }
    Ok(sockets)
}

fn bind(address: SocketAddr) -> Result<TcpListener, String> {
    sys::socket::listen_tcp(address, false).map_err(|error| {
        format!("cannot listen on {address}: {error}\n  hint: another program may have the port; give `listen` another one")
    })
}

async fn keep_up(state: Arc<State>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = shutdown.wait() => return,
            () = tokio::time::sleep(MAINTAIN) => {}
        }
        let this = state.clone();
        let done = tokio::task::spawn_blocking(move || {
            let report = this.sink.store().maintain(sys::clock::now_ms() as i64);
            let mut trouble = lock(&this.trouble);
            trouble.retain(|text| !text.starts_with(UPKEEP));
            match report {
                Ok(report) => lock(&this.damage).extend(report.damage),
                Err(error) => trouble.push(format!("{UPKEEP}{error}")),
            }
        });
        if let Err(panic) = done.await {
            std::panic::resume_unwind(panic.into_panic());
        }
    }
}

/// How trouble in [`keep_up`] begins, so that it goes when the next call succeeds.
const UPKEEP: &str = "the store's upkeep failed: ";

/// The tasks of targets and logs.
struct Work {
    state: Arc<State>,
    dir: PathBuf,
    pools: Pools,
    logs: BTreeMap<String, (Log, watch::Sender<Go>, JoinHandle<()>)>,
}

impl Work {
    /// Starts what is new and ends what is gone; the rest goes on undisturbed.
    fn follow(&mut self, plan: &Plan) {
        let interval = plan.site.scrape_interval.duration();
        self.pools.follow(&plan.pools);

        self.logs.retain(|_, (log, go, _)| {
            let wanted = plan.site.logs.contains(log);
            if !wanted {
                go.send_replace(Go::Removed);
            }
            wanted
        });
        for log in &plan.site.logs {
            if !self.logs.contains_key(&log.name) {
                let reader = logs::Task::new(log.clone(), &self.dir, self.state.clone());
                let (go, told) = watch::channel(Go::On);
                let task = tokio::spawn(reader.run(interval, told));
                self.logs.insert(log.name.clone(), (log.clone(), go, task));
            }
        }
    }

    async fn end(self) {
        for (_, go, _) in self.logs.values() {
            go.send_replace(Go::Shutdown);
        }
        let logs = async {
            for (_, _, task) in self.logs.into_values() {
                let _ = tokio::time::timeout(END, task).await;
            }
        };
        tokio::join!(self.pools.end(), logs);
    }
}

/// The role as its admin socket sees it.
struct Monitor {
    state: Arc<State>,
    /// The addresses of the revision that are served.
    serving: Mutex<Vec<SocketAddr>>,
    /// Bound for a revision that was committed, not yet served.
    opened: Arc<Mutex<Vec<(SocketAddr, TcpListener)>>>,
    /// What the store keeps from its opening on: `out_of_order`, `max_series`.
    opened_with: (base::Millis, usize),
}

/// Said where a revision changes what the store keeps from its opening on.
const LATER: &str = "a changed `out_of_order` or `max_series` takes effect when the monitor starts next; hint: restart the monitor";

/// A revision that can be swapped in.
struct Prepared {
    plan: Plan,
    sockets: Vec<(SocketAddr, TcpListener)>,
}

impl Role for Monitor {
    type Site = site::Monitor;
    type Prepared = Prepared;

    fn prepare(&self, revision: site::Revision<site::Monitor>) -> Result<Prepared, Vec<String>> {
        let plan = Plan::compile(revision)?;
        let serving = lock(&self.serving).clone();
        let mut sockets = Vec::new();
        for address in plan.site.listen.iter().filter(|address| !serving.contains(address)) {
            sockets.push((*address, bind(*address).map_err(|error| vec![error])?));
        }
        Ok(Prepared { plan, sockets })
    }

    fn commit(&self, prepared: Prepared) {
        lock(&self.opened).extend(prepared.sockets);
        let settings = store_settings(&prepared.plan);
        let store = self.state.sink.store();
        store.set_retention(settings.retention());
        store.set_sync(settings.sync);
        let mut trouble = lock(&self.state.trouble);
        trouble.retain(|text| text != LATER);
        if (settings.out_of_order, settings.max_series) != self.opened_with {
            trouble.push(LATER.to_owned());
        }
        drop(trouble);
        self.state.plan.send_replace(Arc::new(prepared.plan));
    }

    fn status(&self) -> Value {
        self.state.status()
    }

    fn ready(&self) -> Result<(), String> {
        self.state.ready()
    }

    /// `/alerts`, `/silences` and `/silence/ID`, as below `/api/v2/`, for the command line.
    fn handle(&self, request: role::admin::Request) -> BoxFuture<'_, Option<role::admin::Response>> {
        Box::pin(async move {
            let endpoint = request.path.strip_prefix('/')?;
            let own = matches!(endpoint, "silences" | "alerts") || endpoint.starts_with("silence/");
            if !own {
                return None;
            }
            let params = crate::api::Params(request.query.clone());
            let asker = crate::api::alerts::Asker::Owner;
            let reply = crate::api::alerts::answer(
                &self.state,
                asker,
                &request.method,
                endpoint,
                &params,
                &request.body,
            );
            Some(match reply.status.is_success() {
                true if reply.body.is_empty() => role::admin::Response::json(&json!({})),
                true => role::admin::Response {
                    status: reply.status,
                    content_type: reply.content_type,
                    body: reply.body.to_vec(),
                },
                false => {
                    let why: String = serde_json::from_slice(&reply.body).unwrap_or_default();
                    role::admin::Response::error(reply.status, why)
                }
            })
        })
    }

    fn gather(&self) {
        self.state.push.forward.gather();
        let stats = self.state.sink.store().stats();
        self.state.registry.gauge(&names::MONITOR_SERIES).with(&[]).set(stats.series as f64);
        let conflicts = self.state.registry.counter(&names::MONITOR_CONFLICTS).with(&[]);
        conflicts.add(stats.conflicts.saturating_sub(conflicts.get()));
        let bytes = stats.block_bytes + stats.log_bytes;
        self.state.registry.gauge(&names::MONITOR_STORE_BYTES).with(&[]).set(bytes as f64);
    }
}

impl State {
    /// Whether page and API answer.
    pub(crate) fn ready(&self) -> Result<(), String> {
        if lock(&self.listening).is_empty() {
            return Err("page and API do not listen yet".to_owned());
        }
        Ok(())
    }

    /// For `bastide status`.
    fn status(&self) -> Value {
        let plan = self.plan();
        let stats = self.sink.store().stats();
        let targets = self.board.targets();
        let down: Vec<Value> = targets
            .iter()
            .filter_map(|target| {
                let error = lock(&target.health).error.clone();
                let label = |name: &str| target.work.target.labels.get(name).unwrap_or_default().to_owned();
                let (job, instance) = (label("job"), label("instance"));
                (!error.is_empty()).then(|| json!({ "job": job, "instance": instance, "error": error }))
            })
            .collect();
        let book = lock(&self.book);
        let alerts: Vec<Value> = book
            .rules
            .all()
            .filter(|(_, alert)| alert.state != monitor_alert::State::Resolved)
            .map(|(_, alert)| json!({ "labels": alert.labels, "state": alert.state.as_str() }))
            .collect();
        let failing: Vec<Value> = book
            .health
            .iter()
            .filter(|(_, health)| !health.error.is_empty())
            .map(|(rule, health)| json!({ "rule": rule, "error": health.error }))
            .collect();
        let mut damage: Vec<String> = Vec::new();
        for found in self.opened.damage.iter().chain(lock(&self.damage).iter()) {
            damage.push(format!("{}: {}", found.file.display(), found.what));
        }
        let probes: Vec<Value> = lock(&self.probes)
            .iter()
            .filter_map(|(name, fares)| Some(json!({ "probe": name, "error": fares.failed.as_ref()? })))
            .collect();
        json!({
            "revision": plan.revision,
            "probes_failing": probes,
            "listening": lock(&self.listening).iter().map(SocketAddr::to_string).collect::<Vec<_>>(),
            "targets": targets.len(),
            "targets_down": down,
            "series": stats.series,
            "store_bytes": stats.block_bytes + stats.log_bytes,
            "alerts": alerts,
            "rules_failing": failing,
            "undelivered": book.undelivered,
            "damage": damage,
            "trouble": lock(&self.trouble).iter().chain(lock(&self.log_trouble).values()).cloned().chain(self.sink.trouble()).chain(self.clock.trouble()).chain(self.push.forward.trouble()).chain(self.board.trouble()).chain(plan.notes.iter().cloned()).collect::<Vec<_>>(),
        })
    }
}
