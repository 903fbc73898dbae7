//! `bastide run ROLE`: one role in the foreground.
//!
//! Under `bastide up` a role is given directories and finds its revision there.
//! On its own it compiles the file it is given, binds its own sockets, and
//! compiles the file again at SIGHUP.

use crate::Outcome;
use crate::args::{Postgres, RoleDirs, Run, Supervisor};
use crate::up::USERS;
use control::book::Book;
use control::compile::{self, Facts, Refusal};
use control::inputs::Inputs;
use control::life_of_a_change as life;
use control::paths::{Paths, revision_file};
use control::supervisor as supervise;
use role::client::Admin;
use role::{Events, Fault, Listeners, Registry, Shutdown, Start};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use site::{Revision, Site};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};

pub(crate) fn run(run: &Run) -> Outcome {
    match run {
        Run::Edge(dirs) => role("edge", dirs, Threads::One, |site| Ok(site.edge), edge::run),
        Run::Database(dirs) => role("database", dirs, Threads::Many, databases, database::run),
        Run::Monitor(dirs) => role("monitor", dirs, Threads::Many, |site| Ok(site.monitor), monitor::run),
        Run::Agent(dirs) => {
            role("agent", dirs, Threads::One, |_| Ok(site::Agent::default()), monitor::agent::run)
        }
        Run::Control(dirs) => control(dirs),
        Run::Privileged(dirs) => privileged(dirs),
        Run::Postgres(args) => postgres(args),
        Run::Supervisor(args) => supervisor(args),
    }
}

fn databases(site: Site) -> Result<site::Databases, Fault> {
    site.databases.ok_or_else(|| {
        Fault::new("the file has no `[database.NAME]`").hint("add one, or do not run this role")
    })
}

/// How many threads a role's runtime has.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Threads {
    /// The role starts its own workers, or needs none.
    One,
    /// One a processor.
    Many,
}

fn role<T, W>(
    name: &'static str,
    dirs: &RoleDirs,
    threads: Threads,
    part: fn(Site) -> Result<T, Fault>,
    work: fn(Start<T>) -> W,
) -> Outcome
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    W: Future<Output = Result<(), Fault>>,
{
    // First of all: inherited descriptors are adopted before others are made.
    let listeners = Listeners::inherited().map_err(|e| Fault::new(format!("inherited sockets: {e}")))?;
    let mut runtime = match threads {
        Threads::One => tokio::runtime::Builder::new_current_thread(),
        Threads::Many => tokio::runtime::Builder::new_multi_thread(),
    };
    let runtime =
        runtime.enable_all().build().map_err(|e| Fault::new(format!("cannot start the runtime: {e}")))?;
    let outcome = runtime.block_on(async {
        let shutdown =
            Shutdown::on_signals().map_err(|e| Fault::new(format!("cannot listen for signals: {e}")))?;
        let (revision, run_dir, state_dir) = match (&dirs.config, &dirs.run_dir, &dirs.state_dir) {
            (Some(file), _, _) => alone(name, file, part)?,
            (None, Some(run_dir), Some(state_dir)) => {
                let revision = stored(name, run_dir)?;
                (revision, run_dir.clone(), state_dir.clone())
            }
            _ => return Err(Fault::new("neither `--config` nor `--run-dir` and `--state-dir` are given")),
        };
        // Who asks gets the sockets back: a supervisor that takes over holds them again.
        let fds = run_dir.join(format!("{name}.fds"));
        listeners.hand_out(&fds).map_err(|e| Fault::new(format!("cannot serve `{}`: {e}", fds.display())))?;
        let registry = Arc::new(Registry::default());
        let build = registry.gauge(&base::names::BUILD_INFO);
        build.with(&[name, env!("CARGO_PKG_VERSION")]).set(1.0);
        registry
            .gauge(&base::names::ROLE_START_TIME)
            .with(&[name])
            .set((sys::clock::now_ms() / 1_000) as f64);
        let events = Events::open(name, &state_dir, &registry);
        work(Start { role: name, revision, listeners, run_dir, state_dir, events, registry, shutdown }).await
    });
    // What a role has finished with may still occupy a blocking thread: nobody waits for it.
    runtime.shutdown_background();
    outcome.map(|()| ExitCode::SUCCESS)
}

/// The revision that control left for a role.
fn stored<T: DeserializeOwned>(name: &str, run_dir: &Path) -> Result<Revision<T>, Fault> {
    let path = revision_file(run_dir, name);
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(error) => {
            return Err(Fault::new(format!("cannot read the revision `{}`: {error}", path.display()))
                .hint("`bastide up` writes it; a role on its own takes `--config FILE`"));
        }
    };
    serde_json::from_slice(&text).map_err(|e| {
        Fault::new(format!("the revision `{}` cannot be read: {e}", path.display()))
            .hint("`bastide reload` writes it anew")
    })
}

/// Compiles the file for a role on its own, and again at SIGHUP.
fn alone<T: Serialize + Send + Sync + 'static>(
    name: &'static str,
    file: &Path,
    part: fn(Site) -> Result<T, Fault>,
) -> Result<(Revision<T>, PathBuf, PathBuf), Fault> {
    // Directories of its own: what root makes here must not stand in the way of a later `up`.
    let paths = Paths::of(&format!("{}.{name}", compile::site_name(file)?))?;
    crate::up::prepare_directories(&paths, false)?;
    if paths.socket(name).exists() && std::os::unix::net::UnixStream::connect(paths.socket(name)).is_ok() {
        return Err(Fault::new(format!("the {name} of site `{}` runs already", paths.site))
            .hint("give the site another `name`, or set `BASTIDE_RUN_DIR`"));
    }
    let revision = compile_part(file, &paths, 1, part)?;
    let (file, run_dir, state_dir) = (file.to_owned(), paths.run_dir.clone(), paths.state_dir.clone());
    let mut hangup =
        signal(SignalKind::hangup()).map_err(|e| Fault::new(format!("cannot listen for signals: {e}")))?;
    tokio::spawn(async move {
        for id in 2.. {
            if hangup.recv().await.is_none() {
                return;
            }
            if let Err(fault) = reload(name, &file, &paths, id, part).await {
                // The role goes on as it was; the log says why.
                crate::terminal::Terminal::new(crate::args::Color::Auto, false).fault(&fault);
            }
        }
    });
    Ok((revision, run_dir, state_dir))
}

async fn reload<T: Serialize>(
    name: &str,
    file: &Path,
    paths: &Paths,
    id: u64,
    part: fn(Site) -> Result<T, Fault>,
) -> Result<(), Fault> {
    let revision = compile_part(file, paths, id, part)?;
    let admin = Admin::new(&paths.socket(name));
    let refused = |e: role::client::Error| {
        Fault::new(format!("the new configuration was refused, the old one goes on: {e}"))
    };
    admin.post("/prepare", &revision).await.map_err(refused)?;
    admin.post("/commit", &json!({ "id": revision.id, "hash": revision.hash })).await.map_err(refused)?;
    Ok(())
}

fn compile_part<T>(
    file: &Path,
    paths: &Paths,
    id: u64,
    part: fn(Site) -> Result<T, Fault>,
) -> Result<Revision<T>, Fault> {
    let inputs =
        Inputs::read(file).map_err(|e| Fault::new(format!("cannot read `{}`: {e}", file.display())))?;
    let mut book = Book::open(&paths.state_dir)?;
    let program = std::env::current_exe().unwrap_or_default();
    let facts = Facts {
        paths: Some(paths),
        program: &program,
        running: &HashSet::new(),
        now_ms: sys::clock::now_ms(),
    };
    let compiled =
        compile::compile(&inputs, &mut book, &facts).map_err(|refusal: Refusal| match refusal.fault {
            Some(fault) => fault,
            None => {
                let text: Vec<String> = refusal.diagnostics.iter().map(|d| d.render(false)).collect();
                Fault::new(format!("`{}` cannot be applied\n{}", file.display(), text.join("\n")))
            }
        })?;
    book.save()?;
    let hash = compile::hash(&compiled.site);
    Ok(Revision { id: base::RevisionId(id), hash, made_at_ms: facts.now_ms, site: part(compiled.site)? })
}

fn control(dirs: &RoleDirs) -> Outcome {
    let (Some(run_dir), Some(state_dir)) = (&dirs.run_dir, &dirs.state_dir) else {
        return Err(Fault::new("control is started by `bastide up`").hint("run that instead"));
    };
    let site = run_dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let program =
        std::env::current_exe().map_err(|e| Fault::new(format!("cannot find this program: {e}")))?;
    let paths = Paths { site, state_dir: state_dir.clone(), run_dir: run_dir.clone() };
    crate::runtime()?.block_on(async {
        let shutdown =
            Shutdown::on_signals().map_err(|e| Fault::new(format!("cannot listen for signals: {e}")))?;
        life::run(life::Start { paths, program }, shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn privileged(dirs: &RoleDirs) -> Outcome {
    let Some(run_dir) = &dirs.run_dir else {
        return Err(Fault::new("the firewall's helper is started by `bastide up`").hint("run that instead"));
    };
    let user = sys::user::find("bastide")
        .map_err(|e| Fault::new(format!("cannot read the users of this machine: {e}")))?;
    crate::runtime()?.block_on(async {
        let shutdown =
            Shutdown::on_signals().map_err(|e| Fault::new(format!("cannot listen for signals: {e}")))?;
        control::privileged::run(run_dir, user.map(|u| (u.uid, u.gid)), shutdown).await
    })?;
    Ok(ExitCode::SUCCESS)
}

fn postgres(args: &Postgres) -> Outcome {
    let text = std::fs::read(&args.spec)
        .map_err(|e| Fault::new(format!("cannot read `{}`: {e}", args.spec.display())))?;
    let instance: site::PostgresInstance = serde_json::from_slice(&text)
        .map_err(|e| Fault::new(format!("`{}` is no member's specification: {e}", args.spec.display())))?;
    // Returns only where it failed: otherwise this process is PostgreSQL now.
    Err(database::instance::exec(&instance))
}

fn supervisor(args: &Supervisor) -> Outcome {
    let mut users = HashMap::new();
    if sys::user::is_root() {
        for (class, name) in USERS {
            let user = sys::user::find(name)
                .map_err(|e| Fault::new(format!("cannot read the users of this machine: {e}")))?;
            let user = user.ok_or_else(|| {
                Fault::new(format!("there is no user `{name}`")).hint("`bastide up` adds it")
            })?;
            users.insert(class.to_owned(), (user.uid, user.gid));
        }
    }
    let program =
        std::env::current_exe().map_err(|e| Fault::new(format!("cannot find this program: {e}")))?;
    let site = args.run_dir.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let paths = Paths { site, state_dir: args.state_dir.clone(), run_dir: args.run_dir.clone() };
    let first = control::first_processes(&program, &paths, args.firewall && sys::user::is_root());
    let settings = supervise::Settings {
        run_dir: args.run_dir.clone(),
        state_dir: args.state_dir.clone(),
        users,
        first,
    };
    crate::runtime()?.block_on(async {
        let events = Events::open("supervisor", &args.state_dir, &Registry::default());
        supervise::run(settings, events).await
    })?;
    Ok(ExitCode::SUCCESS)
}
