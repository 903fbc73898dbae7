//! The supervisor: starts processes, starts them again, stops them; binds the
//! listening sockets and keeps them open while a process is away.
//!
//! It never reads the file, speaks no HTTP and takes no input from the network:
//! its orders come as JSON lines through a Unix socket (0600). If it dies, its
//! processes go on; the next one adopts them by recorded pid and start time, and
//! asks them for the listening sockets.

pub mod orders;
mod process;
pub mod restart;

pub use orders::{Order, ProcessReport, Reply};

use crate::supervisor::process::{Process, State};
use base::events::Event;
use role::{Events, Fault, Listeners};
use serde::{Deserialize, Serialize};
use site::{ListenerSpec, ProcessSpec, UserClass};
use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use sys::process::Identity;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

/// What the supervisor starts with.
#[derive(Debug)]
pub struct Settings {
    /// Sockets, records, per-process files.
    pub run_dir: PathBuf,
    /// Logs.
    pub state_dir: PathBuf,
    /// The users of the classes where it is root; empty otherwise.
    pub users: HashMap<String, (u32, u32)>,
    /// The first processes: `control`, and `privileged` where it is asked for.
    pub first: Vec<ProcessSpec>,
}

/// What is written to `<run>/processes.json` after every change.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ledger {
    processes: Vec<LedgerEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct LedgerEntry {
    spec: ProcessSpec,
    identity: Option<Identity>,
    restarts: u64,
}

/// An order's line, at most: specifications carry environments and files.
const MAX_ORDER: u64 = 16 << 20;

/// Runs until it is told to stop and everything has ended.
pub async fn run(settings: Settings, events: Events) -> Result<(), Fault> {
    let lock = sys::file::Lock::take(&lock_path(&settings.run_dir))
        .map_err(|e| Fault::new(format!("cannot lock `{}`: {e}", settings.run_dir.display())))?;
    let Some(_lock) = lock else {
        return Err(Fault::new("another supervisor runs this site")
            .hint("`bastide status` shows it; `bastide down` stops it"));
    };
    let socket = orders::socket_path(&settings.run_dir);
    let listener = sys::socket::listen_unix(&socket, 0o600)
        .and_then(|l| {
            if let Some((uid, gid)) = settings.users.get("role") {
                std::os::unix::fs::chown(&socket, Some(*uid), Some(*gid))?;
            }
            UnixListener::from_std(l)
        })
        .map_err(|e| Fault::new(format!("cannot serve `{}`: {e}", socket.display())))?;

    let (exits_in, exits) = mpsc::unbounded_channel();
    let mut supervisor = Supervisor {
        settings,
        events,
        processes: BTreeMap::new(),
        sockets: HashMap::new(),
        exits: exits_in,
        stopping: None,
    };
    supervisor.adopt();
    let first = std::mem::take(&mut supervisor.settings.first);
    for spec in first {
        supervisor.want(spec);
    }
    let (orders_in, orders) = mpsc::channel(16);
    tokio::spawn(accept(listener, orders_in));
    supervisor.serve(orders, exits).await;
    sweep(&supervisor.settings.run_dir);
    Ok(())
}

/// Files of a run directory that mean nothing once nobody runs, some of them with secrets.
const OF_A_RUN: &[&str] = &[".sock", ".fds", ".revision.json", ".spec.json", "processes.json"];

/// Removes what the processes left in the run directory; the lock stays, we hold it.
fn sweep(run_dir: &Path) {
    for entry in std::fs::read_dir(run_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if OF_A_RUN.iter().any(|end| name.to_string_lossy().ends_with(end)) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Held by the supervisor as long as it lives.
pub fn lock_path(run_dir: &Path) -> PathBuf {
    run_dir.join("lock")
}

type Exit = (String, Identity);
type Asked = (Order, oneshot::Sender<Reply>);

/// The order of an eventual shutdown: when the signals came.
struct Stopping {
    /// The stage being stopped.
    stage: u8,
}

struct Supervisor {
    settings: Settings,
    events: Events,
    processes: BTreeMap<String, Process>,
    /// All listening sockets, by what they are for; kept while anything wants them.
    sockets: HashMap<ListenerSpec, Vec<OwnedFd>>,
    exits: mpsc::UnboundedSender<Exit>,
    stopping: Option<Stopping>,
}

impl Supervisor {
    async fn serve(&mut self, mut orders: mpsc::Receiver<Asked>, mut exits: mpsc::UnboundedReceiver<Exit>) {
        let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        let mut log_check = tokio::time::interval(Duration::from_secs(10));
        loop {
            if self.step() {
                return;
            }
            let wait = self.next_deadline_ms().map(|at| at.saturating_sub(sys::clock::monotonic_ms()));
            let timer = tokio::time::sleep(Duration::from_millis(wait.unwrap_or(3_600_000)));
            tokio::select! {
                Some((order, answer)) = orders.recv() => {
                    let reply = self.obey(order);
                    let _ = answer.send(reply);
                }
                Some((name, identity)) = exits.recv() => self.ended(&name, identity),
                _ = timer => {}
                _ = term.recv() => self.stop_all(),
                _ = int.recv() => self.stop_all(),
                _ = log_check.tick() => process::trim_logs(&self.settings.state_dir),
            }
        }
    }

    /// Starts, kills and goes on with stopping whatever is due. True when all is over.
    fn step(&mut self) -> bool {
        let now = sys::clock::monotonic_ms();
        let mut changed = false;
        let due: Vec<String> =
            self.processes.iter().filter(|(_, p)| p.is_due(now)).map(|(name, _)| name.clone()).collect();
        for name in due {
            changed = true;
            self.start(&name);
        }
        for process in self.processes.values_mut() {
            process.kill_if_overdue(now);
        }
        let gone: Vec<String> =
            self.processes.iter().filter(|(_, p)| p.is_forgotten()).map(|(name, _)| name.clone()).collect();
        for name in gone {
            changed = true;
            self.processes.remove(&name);
        }
        if let Some(over) = self.step_stopping() {
            if over {
                return true;
            }
            changed = true;
        }
        if changed {
            self.drop_unwanted_sockets();
            self.write_ledger();
        }
        false
    }

    /// Goes on to the next stage once the current one has ended.
    fn step_stopping(&mut self) -> Option<bool> {
        let stage = self.stopping.as_ref()?.stage;
        if self.processes.values().any(|p| p.spec.stage >= stage && p.handle().is_some()) {
            return None;
        }
        let Some(next) = self.processes.values().filter(|p| p.handle().is_some()).map(|p| p.spec.stage).max()
        else {
            return Some(true);
        };
        self.stopping = Some(Stopping { stage: next });
        let now = sys::clock::monotonic_ms();
        for process in self.processes.values_mut().filter(|p| p.spec.stage == next) {
            process.ask_to_end(now);
        }
        Some(false)
    }

    /// The first call stops stage by stage, highest first; the second kills.
    fn stop_all(&mut self) {
        if self.stopping.is_some() {
            for process in self.processes.values_mut() {
                process.kill();
            }
            return;
        }
        for process in self.processes.values_mut() {
            process.unwant();
        }
        self.stopping = Some(Stopping { stage: u8::MAX });
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        self.processes.values().filter_map(Process::deadline_ms).min()
    }

    fn obey(&mut self, order: Order) -> Reply {
        match order {
            Order::List => Reply::Processes(self.report()),
            Order::Shutdown => {
                self.stop_all();
                Reply::Done
            }
            _ if self.stopping.is_some() => Reply::Refused("the site is stopping".to_owned()),
            Order::Apply { processes } => self.apply(processes),
            Order::Restart { name } => match self.processes.get_mut(&name) {
                Some(process) => {
                    process.restart(sys::clock::monotonic_ms());
                    Reply::Done
                }
                None => Reply::Refused(format!("there is no process `{name}`")),
            },
        }
    }

    /// Starts what is new, stops what is gone, and names what differs from what
    /// runs: those are restarted one at a time, by order, so that control can
    /// take each out of traffic first.
    fn apply(&mut self, wanted: Vec<ProcessSpec>) -> Reply {
        if let Some(bad) = wanted.iter().find(|spec| !self.is_allowed(spec)) {
            return Reply::Refused(format!("process `{}` may not run as it asks to", bad.name));
        }
        // Every socket first: a port that is taken must leave all as it is.
        if let Err(why) = self.bind_all(&wanted) {
            return Reply::Refused(why);
        }
        let now = sys::clock::monotonic_ms();
        let names: Vec<&str> = wanted.iter().map(|s| s.name.as_str()).collect();
        for (name, process) in &mut self.processes {
            if !names.contains(&name.as_str()) && !is_own(&process.spec) {
                process.unwant();
                process.ask_to_end(now);
            }
        }
        let changed = wanted.into_iter().filter_map(|spec| self.want(spec)).collect();
        Reply::Applied { changed }
    }

    /// A process under the supervisor's own (root) user may only be our own helper.
    fn is_allowed(&self, spec: &ProcessSpec) -> bool {
        let inside = |path: &Path, dir: &Path| {
            path.starts_with(dir) && !path.components().any(|c| c.as_os_str() == "..")
        };
        let files_ok = spec.files.iter().all(|f| inside(&f.path, &self.settings.run_dir));
        let dirs_ok = spec
            .dirs
            .iter()
            .all(|d| inside(d, &self.settings.run_dir) || inside(d, &self.settings.state_dir));
        spec.user != UserClass::Privileged && files_ok && dirs_ok
    }

    /// Takes a specification in; its name where a process runs with another one.
    fn want(&mut self, spec: ProcessSpec) -> Option<String> {
        let now = sys::clock::monotonic_ms();
        match self.processes.get_mut(&spec.name) {
            Some(process) => process.want(spec, now),
            None => {
                self.processes.insert(spec.name.clone(), Process::new(spec, now));
                None
            }
        }
    }

    fn bind_all(&mut self, wanted: &[ProcessSpec]) -> Result<(), String> {
        let mut made = Vec::new();
        for listener in wanted.iter().flat_map(|spec| &spec.listeners) {
            if self.sockets.contains_key(listener) {
                continue;
            }
            let sockets = sys::socket::listen_tcp_shared(listener.address, listener.count).map_err(|e| {
                format!(
                    "cannot listen on `{}` for {}: {}",
                    listener.address,
                    listener.name,
                    explain(&e, listener)
                )
            })?;
            made.push((listener.clone(), sockets.into_iter().map(OwnedFd::from).collect()));
        }
        self.sockets.extend(made);
        Ok(())
    }

    fn drop_unwanted_sockets(&mut self) {
        let wanted: Vec<&ListenerSpec> = self.processes.values().flat_map(|p| &p.spec.listeners).collect();
        self.sockets.retain(|spec, _| wanted.contains(&spec));
    }

    fn start(&mut self, name: &str) {
        let Some(process) = self.processes.get_mut(name) else { return };
        let mut sockets = Vec::new();
        for spec in &process.spec.listeners {
            for fd in self.sockets.get(spec).into_iter().flatten() {
                match fd.try_clone() {
                    Ok(copy) => sockets.push((spec.name.clone(), copy)),
                    Err(error) => {
                        return process.failed_to_start(&error.to_string(), sys::clock::monotonic_ms());
                    }
                }
            }
        }
        let outcome = process::spawn(&process.spec, sockets, &self.settings);
        let now = sys::clock::monotonic_ms();
        match outcome {
            Ok(handle) => {
                watch(&handle, name, &self.exits);
                let event = report(name, "started", Some(handle.identity().pid), "");
                process.started(handle, now);
                self.events.emit(event);
            }
            Err(why) => {
                process.failed_to_start(&why, now);
                self.events.emit(report(name, "failed", None, &why));
            }
        }
    }

    fn ended(&mut self, name: &str, identity: Identity) {
        let Some(process) = self.processes.get_mut(name) else { return };
        if process.handle().is_none_or(|h| h.identity() != identity) {
            return;
        }
        let was_wanted = process.is_wanted();
        let how = process.ended(sys::clock::monotonic_ms());
        self.events.emit(report(
            name,
            if was_wanted { "ended" } else { "stopped" },
            Some(identity.pid),
            &how,
        ));
        self.write_ledger();
    }

    /// Takes over what an earlier supervisor left running.
    fn adopt(&mut self) {
        let path = self.settings.run_dir.join("processes.json");
        let Ok(ledger) = std::fs::read(&path).map(|text| serde_json::from_slice::<Ledger>(&text)) else {
            return;
        };
        let Ok(ledger) = ledger else { return };
        for entry in ledger.processes {
            let Some(identity) = entry.identity else { continue };
            let Ok(Some(handle)) = identity.open() else { continue };
            let name = entry.spec.name.clone();
            if let Ok(listeners) = Listeners::ask(&self.settings.run_dir.join(format!("{name}.fds"))) {
                self.take_sockets(&entry.spec, listeners);
            }
            watch(&handle, &name, &self.exits);
            self.events.emit(report(&name, "adopted", Some(identity.pid), "its supervisor had died"));
            self.processes.insert(name, Process::adopted(entry.spec, handle, entry.restarts));
        }
    }

    fn take_sockets(&mut self, spec: &ProcessSpec, listeners: Listeners) {
        let mut by_name: HashMap<String, Vec<OwnedFd>> = HashMap::new();
        for (name, fd) in listeners.into_pairs() {
            by_name.entry(name).or_default().push(fd);
        }
        for wanted in &spec.listeners {
            let Some(fds) = by_name.get_mut(&wanted.name) else { continue };
            // Several addresses may share a name: they were handed over in order.
            let count = usize::from(wanted.count).min(fds.len());
            self.sockets.insert(wanted.clone(), fds.drain(..count).collect());
        }
    }

    fn write_ledger(&self) {
        let entries = self.processes.values().map(|p| LedgerEntry {
            spec: p.running().clone(),
            identity: p.handle().map(|h| h.identity()),
            restarts: p.restarts,
        });
        let ledger = Ledger { processes: entries.collect() };
        // On failure (a full disk) the next change tries again; adoption then sees the older record.
        if let Ok(text) = serde_json::to_vec(&ledger) {
            let _ = sys::file::write_atomic(&self.settings.run_dir.join("processes.json"), &text, 0o600);
        }
    }

    fn report(&self) -> Vec<ProcessReport> {
        let address = |l: &ListenerSpec| {
            let fd = self.sockets.get(l)?.first()?.try_clone().ok()?;
            Some((l.name.clone(), std::net::TcpListener::from(fd).local_addr().ok()?))
        };
        self.processes
            .values()
            .map(|p| ProcessReport {
                name: p.spec.name.clone(),
                pid: p.handle().map(|h| h.identity().pid),
                state: match p.state() {
                    State::Running { .. } => "running",
                    State::Ending { .. } => "ending",
                    State::Waiting { .. } => "restarting",
                    State::Stopped => "stopped",
                }
                .to_owned(),
                restarts: p.restarts,
                last_end: p.last_end.clone(),
                listeners: p.spec.listeners.iter().filter_map(address).collect(),
                log: process::log_path(&self.settings.state_dir, &p.spec.name),
            })
            .collect()
    }
}

/// Whether a process belongs to the supervisor's own start rather than to the file.
fn is_own(spec: &ProcessSpec) -> bool {
    spec.stage == 0
}

fn report(process: &str, what: &str, pid: Option<i32>, why: &str) -> Event {
    Event::Process { process: process.to_owned(), what: what.to_owned(), pid, why: why.to_owned() }
}

fn explain(error: &std::io::Error, listener: &ListenerSpec) -> String {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "another program has this port\n  hint: `ss -ltnp 'sport = :{}'` shows which; stop it, or choose another port in the file",
            listener.address.port()
        ),
        std::io::ErrorKind::PermissionDenied => {
            "permission denied\n  hint: ports below 1024 need root; use a port such as 8443".to_owned()
        }
        std::io::ErrorKind::AddrNotAvailable => "this machine does not have that address".to_owned(),
        _ => error.to_string(),
    }
}

/// Tells `exits` when the process ends.
fn watch(handle: &sys::process::Handle, name: &str, exits: &mpsc::UnboundedSender<Exit>) {
    use std::os::fd::AsFd;
    let (name, exits, identity) = (name.to_owned(), exits.clone(), handle.identity());
    // Its deprecation is about types whose descriptor may change; an `OwnedFd`'s cannot.
    #[expect(deprecated)]
    let fd = handle.as_fd().try_clone_to_owned().and_then(tokio::io::unix::AsyncFd::new);
    tokio::spawn(async move {
        if let Ok(fd) = fd {
            let _ = fd.readable().await;
        }
        let _ = exits.send((name, identity));
    });
}

async fn accept(listener: UnixListener, orders: mpsc::Sender<Asked>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        tokio::spawn(converse(stream, orders.clone()));
    }
}

/// One line in, one line out, until the other end closes.
async fn converse(stream: UnixStream, orders: mpsc::Sender<Asked>) {
    use tokio::io::AsyncReadExt;
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read.take(MAX_ORDER)).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let reply = match serde_json::from_str(&line) {
            Ok(order) => {
                let (answer, answered) = oneshot::channel();
                if orders.send((order, answer)).await.is_err() {
                    return;
                }
                answered.await.unwrap_or_else(|_| Reply::Refused("the supervisor is ending".to_owned()))
            }
            Err(error) => Reply::Refused(format!("not an order: {error}")),
        };
        let Ok(mut text) = serde_json::to_vec(&reply) else { return };
        text.push(b'\n');
        if write.write_all(&text).await.is_err() {
            return;
        }
    }
}
