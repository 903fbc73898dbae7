//! `bastide down`: stop the site and wait until nothing of it runs.

use crate::Outcome;
use crate::args::{Down, Global};
use crate::target;
use crate::terminal::Terminal;
use control::paths::Paths;
use control::supervisor::{self, Order, orders};
use role::Fault;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Longer than every drain and stop limit taken together, stage after stage.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn run(args: &Down, global: &Global, terminal: &Terminal) -> Outcome {
    let paths = target::find(global, args.file.as_deref())?;
    let was_up = crate::runtime()?.block_on(stop(&paths, args.now))?;
    if terminal.json {
        terminal.print_json(&json!({ "site": paths.site, "stopped": was_up }));
    } else if was_up {
        terminal.note(format!(
            "site `{}` is down; its data stays in {}",
            paths.site,
            paths.state_dir.display()
        ));
    } else {
        terminal.note(format!("site `{}` was not up", paths.site));
    }
    Ok(ExitCode::SUCCESS)
}

/// Stops everything; false where nothing ran. Leftovers of a supervisor that was
/// killed are adopted first and then stopped, like everything else.
pub(crate) async fn stop(paths: &Paths, now: bool) -> Result<bool, Fault> {
    if !orders::socket_path(&paths.run_dir).exists() && !paths.run_dir.join("processes.json").exists() {
        return Ok(false);
    }
    if orders::ask(&paths.run_dir, &Order::Shutdown).await.is_err() {
        if !paths.run_dir.join("processes.json").exists() {
            return Ok(false);
        }
        crate::up::start_supervisor(paths, false)?;
        crate::up::wait_for_supervisor(paths).await?;
        order(paths).await?;
    }
    if now {
        order(paths).await?;
    }
    let end = Instant::now() + PATIENCE;
    while !is_over(paths)? {
        if Instant::now() > end {
            return Err(Fault::new(format!(
                "site `{}` did not stop within {} s",
                paths.site,
                PATIENCE.as_secs()
            ))
            .hint("`bastide status` shows what still runs; `bastide down --now` kills it"));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(true)
}

async fn order(paths: &Paths) -> Result<(), Fault> {
    match orders::ask(&paths.run_dir, &Order::Shutdown).await {
        Ok(_) => Ok(()),
        // It ended between two looks: that is what was asked for.
        Err(_) if is_over(paths)? => Ok(()),
        Err(error) => Err(Fault::new(format!("the supervisor of `{}` does not answer: {error}", paths.site))),
    }
}

/// The supervisor holds the lock as long as it lives, and it lives as long as its processes.
fn is_over(paths: &Paths) -> Result<bool, Fault> {
    let path = supervisor::lock_path(&paths.run_dir);
    sys::file::Lock::take(&path)
        .map(|lock| lock.is_some())
        .map_err(|e| Fault::new(format!("cannot look at `{}`: {e}", path.display())))
}
