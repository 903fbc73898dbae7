//! `bastide up`: from a file to a site that answers.
//!
//! This process only prepares, asks and shows: the supervisor is another one, in
//! a session of its own, so that what happens to a terminal does not happen to
//! the site. In the foreground, Ctrl-C and SIGTERM stop the site; a second one
//! stops it at once.

use crate::args::{Global, Up};
use crate::terminal::{FAILED, Style, Terminal};
use crate::{Outcome, check, down, reload, target};
use control::compile::{self, Checked, Refusal};
use control::paths::Paths;
use control::supervisor::{self, Order, orders};
use role::Fault;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

pub(crate) fn run(args: &Up, global: &Global, terminal: &Terminal) -> Outcome {
    let began = Instant::now();
    let mut checked = match compile::check(&args.file) {
        Ok(checked) => checked,
        Err(Refusal { fault: Some(fault), .. }) => return Err(fault),
        Err(refusal) => {
            check::print(&refusal.diagnostics, terminal);
            terminal.note(check::count(&refusal.diagnostics));
            return Ok(ExitCode::from(FAILED));
        }
    };
    check::print(&checked.warnings, terminal);
    if let Some(why) = checked.not_here.take() {
        return Err(why);
    }
    let paths = target::find(global, Some(&args.file))?;
    crate::runtime()?.block_on(bring_up(args, &paths, &checked, began, terminal))
}

async fn bring_up(
    args: &Up,
    paths: &Paths,
    checked: &Checked,
    began: Instant,
    terminal: &Terminal,
) -> Outcome {
    let progress = Progress::new(terminal);
    progress.step("file", &checked.summary);
    if orders::ask(&paths.run_dir, &Order::List).await.is_ok() {
        return Err(Fault::new(format!("site `{}` is up already", paths.site))
            .hint("`bastide reload` applies a changed file; `bastide status` shows the site; `bastide down` stops it"));
    }
    prepare_directories(paths, true)?;
    let adopting = paths.run_dir.join("processes.json").exists();
    start_supervisor(paths, checked.firewall.apply)?;
    wait_for_supervisor(paths).await?;
    progress
        .step("supervisor", if adopting { "took over what an earlier one left running" } else { "started" });

    let mut interrupted = Interrupts::new()?;
    let outcome = tokio::select! {
        outcome = become_ready(args, paths, checked, &progress, terminal) => outcome,
        () = interrupted.wait() => Err(Fault::new("interrupted")),
    };
    match outcome {
        Ok(status) => {
            progress.ready(&status, began.elapsed());
            if args.detach {
                return Ok(ExitCode::SUCCESS);
            }
        }
        // What an earlier supervisor left running goes on; what we started is stopped again.
        Err(fault) if adopting => return Err(fault),
        Err(fault) => {
            progress.step("stopping", "what was started");
            down::stop(paths, false).await?;
            return Err(fault);
        }
    }
    terminal.note(terminal.paint_err(Style::Dim, "Ctrl-C stops the site; with `--detach` it stays up"));
    tokio::select! {
        () = interrupted.wait() => {}
        () = supervisor_ends(paths) => {
            terminal.note(format!("site `{}` was stopped, or its supervisor was", paths.site));
            return Ok(ExitCode::SUCCESS);
        }
    }
    progress.step("stopping", "finishing what is under way; Ctrl-C again stops at once");
    tokio::select! {
        stopped = down::stop(paths, false) => { stopped?; }
        () = interrupted.wait() => { down::stop(paths, true).await?; }
    }
    progress.step("down", &format!("the data stays in {}", paths.state_dir.display()));
    Ok(ExitCode::SUCCESS)
}

/// Applies the file and waits until all of it answers, or until something plainly never will.
async fn become_ready(
    args: &Up,
    paths: &Paths,
    checked: &Checked,
    progress: &Progress<'_>,
    terminal: &Terminal,
) -> Result<Value, Fault> {
    let deadline = Instant::now() + Duration::from_secs(args.timeout);
    let admin = target::control(paths).timeout(Duration::from_secs(5));
    while admin.get("/ready").await.is_err() {
        let failing = control_keeps_ending(paths).await;
        if failing.is_some() || Instant::now() > deadline {
            let why = failing.unwrap_or_else(|| "it does not answer".to_owned());
            return Err(Fault::new(format!("control did not start: {why}"))
                .hint(format!("its log is `{}`", paths.logs().join("control.log").display())));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let applied = reload::apply(paths, checked).await?;
    if let Some(trouble) = applied["trouble"].as_str() {
        terminal.warn(trouble);
    }
    progress.step("revision", &format!("r{} committed", applied["revision"]));
    loop {
        let status = admin.get("/site").await.unwrap_or(Value::Null);
        if status["ready"] == true {
            return Ok(status);
        }
        progress.waiting(&status);
        let hopeless = status["failing"].as_array().is_some_and(|list| !list.is_empty());
        if hopeless || Instant::now() > deadline {
            let after =
                if hopeless { "and will not be".to_owned() } else { format!("after {} s", args.timeout) };
            return Err(not_ready(&status, &after, paths));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// How control ended last, where it was started again and again.
async fn control_keeps_ending(paths: &Paths) -> Option<String> {
    let list = control::status::processes(paths).await?;
    let process =
        list.iter().find(|p| p.name == "control" && p.restarts >= control::status::GIVES_UP_AFTER)?;
    Some(control::status::why_away(process))
}

fn not_ready(status: &Value, after: &str, paths: &Paths) -> Fault {
    let waiting: Vec<&str> =
        status["waiting_for"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let why = if waiting.is_empty() { "control does not answer".to_owned() } else { waiting.join("\n  ") };
    Fault::new(format!("the site is not ready {after}:\n  {why}"))
        .hint(format!("the logs are in `{}`", paths.logs().display()))
}

/// Directories, and as root the users, that the processes need.
///
/// `several_users` is what root does under `up`; a role on its own runs as whoever started it.
pub(crate) fn prepare_directories(paths: &Paths, several_users: bool) -> Result<(), Fault> {
    let root = several_users && sys::user::is_root();
    let group = if root { Some(ensure_users()?) } else { None };
    for dir in [&paths.state_dir, &paths.run_dir, &paths.logs()] {
        if let Some(above) = dir.parent() {
            // The folder above the site's own holds other sites' too.
            sys::file::make_dir(above, if root { 0o755 } else { 0o700 })
                .map_err(|e| cannot_make(above, &e))?;
        }
        // Root's and the roles' group's, sticky: the roles make files here, for all of
        // them, but cannot replace each other's or the supervisor's.
        let mode = if root { 0o3771 } else { 0o700 };
        std::fs::create_dir_all(dir)
            .and_then(|()| match group {
                Some(gid) => std::os::unix::fs::chown(dir, Some(0), Some(gid)),
                None => Ok(()),
            })
            .and_then(|()| std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)))
            .map_err(|e| cannot_make(dir, &e))?;
    }
    Ok(())
}

fn cannot_make(dir: &Path, error: &std::io::Error) -> Fault {
    Fault::new(format!("cannot prepare the folder `{}`: {error}", dir.display()))
        .hint("`BASTIDE_STATE_DIR` and `BASTIDE_RUN_DIR` choose other places")
}

/// The system users of the roles, of PostgreSQL and of the web servers.
pub(crate) const USERS: [(&str, &str); 3] =
    [("role", "bastide"), ("database", "bastide-db"), ("app", "bastide-app")];

/// Makes the users that are missing; the group of the roles' user.
fn ensure_users() -> Result<u32, Fault> {
    let mut group = 0;
    for (class, name) in USERS {
        let find = || {
            sys::user::find(name)
                .map_err(|e| Fault::new(format!("cannot read the users of this machine: {e}")))
        };
        let user = match find()? {
            Some(user) => user,
            None => {
                add_user(name)?;
                find()?.ok_or_else(|| Fault::new(format!("user `{name}` was added but is not there")))?
            }
        };
        if class == "role" {
            group = user.gid;
        }
    }
    Ok(group)
}

fn add_user(name: &str) -> Result<(), Fault> {
    let hint = || {
        format!(
            "add it by hand: `useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}`"
        )
    };
    let output = Command::new("useradd")
        .args([
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            "/nonexistent",
            "--shell",
            "/usr/sbin/nologin",
            name,
        ])
        .output()
        .map_err(|e| Fault::new(format!("cannot add user `{name}`: useradd: {e}")).hint(hint()))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Fault::new(format!("cannot add user `{name}`: {}", said.trim())).hint(hint()))
}

/// Starts the supervisor in a session of its own, its output in the log.
///
/// `firewall` starts the helper that speaks to the kernel's, too; one that an earlier supervisor
/// started is adopted whatever is said here.
pub(crate) fn start_supervisor(paths: &Paths, firewall: bool) -> Result<(), Fault> {
    let program =
        std::env::current_exe().map_err(|e| Fault::new(format!("cannot find this program: {e}")))?;
    let log_path = paths.logs().join("supervisor.log");
    let log = std::fs::File::options()
        .append(true)
        .create(true)
        .open(&log_path)
        .map_err(|e| Fault::new(format!("cannot write `{}`: {e}", log_path.display())))?;
    let errors =
        log.try_clone().map_err(|e| Fault::new(format!("cannot write `{}`: {e}", log_path.display())))?;
    let mut command = Command::new(program);
    command
        .args(["run", "supervisor", "--run-dir"])
        .arg(&paths.run_dir)
        .arg("--state-dir")
        .arg(&paths.state_dir)
        .args(firewall.then_some("--firewall"));
    command.stdin(Stdio::null()).stdout(log).stderr(errors).process_group(0).current_dir("/");
    // It outlives us; its remains are init's.
    command.spawn().map(drop).map_err(|e| Fault::new(format!("cannot start the supervisor: {e}")))
}

/// Waits until the supervisor takes orders.
pub(crate) async fn wait_for_supervisor(paths: &Paths) -> Result<(), Fault> {
    for _ in 0..500 {
        if orders::ask(&paths.run_dir, &Order::List).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = paths.logs().join("supervisor.log");
    let said = std::fs::read_to_string(&log).unwrap_or_default();
    let last = said.lines().last().unwrap_or("it said nothing");
    Err(Fault::new(format!("the supervisor did not start: {last}"))
        .hint(format!("its log is `{}`", log.display())))
}

/// Returns once no supervisor holds the lock.
async fn supervisor_ends(paths: &Paths) {
    let lock = supervisor::lock_path(&paths.run_dir);
    loop {
        tokio::time::sleep(Duration::from_millis(250)).await;
        if sys::file::Lock::take(&lock).is_ok_and(|lock| lock.is_some()) {
            return;
        }
    }
}

/// Ctrl-C, SIGTERM and the end of the terminal.
struct Interrupts {
    int: tokio::signal::unix::Signal,
    term: tokio::signal::unix::Signal,
    hup: tokio::signal::unix::Signal,
}

impl Interrupts {
    fn new() -> Result<Self, Fault> {
        let on = |kind| signal(kind).map_err(|e| Fault::new(format!("cannot listen for signals: {e}")));
        Ok(Self {
            int: on(SignalKind::interrupt())?,
            term: on(SignalKind::terminate())?,
            hup: on(SignalKind::hangup())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! { _ = self.int.recv() => {}, _ = self.term.recv() => {}, _ = self.hup.recv() => {} }
    }
}

/// What people see while the site comes up, on standard error.
struct Progress<'a> {
    terminal: &'a Terminal,
    last: std::cell::RefCell<String>,
}

impl<'a> Progress<'a> {
    fn new(terminal: &'a Terminal) -> Self {
        Self { terminal, last: Default::default() }
    }

    fn step(&self, what: &str, detail: &str) {
        let what = self.terminal.paint_err(Style::Bold, format!("{what:<12}"));
        self.terminal.note(format!("{what} {detail}"));
    }

    /// Says what is waited for, when that changes.
    fn waiting(&self, status: &Value) {
        let list: Vec<&str> =
            status["waiting_for"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // The first line of each: reasons can be long.
        let text = list.iter().filter_map(|w| w.split(':').next()).collect::<Vec<_>>().join(", ");
        if !text.is_empty() && *self.last.borrow() != text {
            self.step("waiting for", &text);
            *self.last.borrow_mut() = text;
        }
    }

    fn ready(&self, status: &Value, took: Duration) {
        let urls = &status["urls"];
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        self.step("site", &text(&urls["site"]));
        self.step("page", &text(&urls["page"]));
        for database in urls["databases"].as_array().into_iter().flatten() {
            self.step("database", &text(&database["url"]));
        }
        let ready = self.terminal.paint_err(Style::Good, format!("{:<12}", "ready"));
        self.terminal.note(format!("{ready} after {:.1} s", took.as_secs_f64()));
        if self.terminal.json {
            self.terminal.print_json(status);
        }
    }
}
