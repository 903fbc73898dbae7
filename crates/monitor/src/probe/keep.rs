//! The probes' tasks: they follow the revision, and each keeps its own moments.

use super::uptime::Uptime;
use super::{Reading, Report, Settings, attempt, settings};
use crate::sink::Pending;
use crate::state::{State, lock};
use monitor_model::{Labels, METRIC_NAME, STALE};
use role::Shutdown;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The book of uptime, in the monitor's folder.
const BOOK: &str = "uptime.json";

/// Between two times that the book of uptime is saved.
const SAVE: Duration = Duration::from_secs(30);

/// Probes under way at once.
const AT_ONCE: usize = 32;

/// How a probe fares, for the API and `bastide status`.
#[derive(Clone, Debug)]
pub(crate) struct Fares {
    /// Why the last try failed; none where it succeeded.
    pub(crate) failed: Option<String>,
    /// When it was, in Unix milliseconds.
    pub(crate) at_ms: u64,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
}

/// What was before, whatever can be read of it, and why where nothing can. It is
/// read before the page is shown: an outage goes on over a restart.
pub(crate) fn remembered(dir: &Path) -> (Uptime, Option<String>) {
    match Uptime::load(&dir.join(BOOK)) {
        Ok(book) => (book, None),
        Err(why) => (Uptime::default(), Some(why)),
    }
}

/// Runs the probes of the revision, and those of the next one, until the monitor ends.
pub(crate) async fn keep(state: Arc<State>, dir: PathBuf, shutdown: Shutdown) {
    let file = dir.join(BOOK);
    let gate = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let mut running: BTreeMap<String, Running> = BTreeMap::new();
    let mut plans = state.plan.subscribe();
    let mut save = tokio::time::interval(SAVE);
    loop {
        let plan = plans.borrow_and_update().clone();
        follow(&state, &plan.site.probes, &mut running, &gate);
        tokio::select! {
            () = shutdown.wait() => break,
            changed = plans.changed() => if changed.is_err() { break },
            _ = save.tick() => {
                super::uptime::look_at_site(&state).await;
                save_book(&state, &file).await;
            }
        }
    }
    for probe in running.into_values() {
        probe.stop.send_replace(Stop::Shutdown);
        let _ = tokio::time::timeout(Duration::from_secs(1), probe.task).await;
    }
    save_book(&state, &file).await;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    /// It left the revision: its series are over.
    Removed,
    /// The monitor ends.
    Shutdown,
}

struct Running {
    asked: site::Probe,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

fn follow(
    state: &Arc<State>,
    wanted: &[site::Probe],
    running: &mut BTreeMap<String, Running>,
    gate: &Arc<tokio::sync::Semaphore>,
) {
    running.retain(|_, probe| {
        let stays = wanted.contains(&probe.asked);
        if !stays {
            let goes_on = wanted.iter().any(|w| w.name == probe.asked.name);
            probe.stop.send_replace(if goes_on { Stop::Shutdown } else { Stop::Removed });
            lock(&state.probes).remove(&probe.asked.name);
        }
        stays
    });
    for probe in wanted {
        if running.contains_key(&probe.name) {
            continue;
        }
        // The plan was compiled with these settings, so they are sound.
        let Ok(settings) = settings(probe) else { continue };
        let (stop, stopped) = watch::channel(Stop::No);
        let task = tokio::spawn(run(settings, state.clone(), gate.clone(), stopped));
        running.insert(probe.name.clone(), Running { asked: probe.clone(), stop, task });
    }
}

async fn save_book(state: &Arc<State>, file: &std::path::Path) {
    let book = lock(&state.uptime).clone();
    let file = file.to_owned();
    let saved = tokio::task::spawn_blocking(move || book.save(&file)).await;
    let mut trouble = lock(&state.trouble);
    trouble.retain(|text| !text.starts_with(SAVE_FAILED));
    if let Ok(Err(error)) = saved {
        trouble.push(format!("{SAVE_FAILED}{error}"));
    }
}

/// How trouble in [`save_book`] begins, so that it goes when the next call succeeds.
const SAVE_FAILED: &str = "the book of uptime cannot be saved: ";

/// One probe, at its moments: its name decides which, so that not all are at once, and
/// they are the same after a restart.
async fn run(
    settings: Settings,
    state: Arc<State>,
    gate: Arc<tokio::sync::Semaphore>,
    mut stopped: watch::Receiver<Stop>,
) {
    let every_ms = settings.every.as_millis() as u64;
    let print = monitor_alert::fingerprint(&[("probe".to_owned(), settings.name.clone())]);
    let offset_ms = print % every_ms;
    let mut known: BTreeSet<Labels> = BTreeSet::new();
    let mut at_ms = next(sys::clock::now_ms(), every_ms, offset_ms);
    loop {
        let wait = Duration::from_millis(at_ms.saturating_sub(sys::clock::now_ms()));
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = stopped.changed() => break,
        }
        let report = tokio::select! {
            report = one_of_a_few(&settings, &gate) => report,
            _ = stopped.changed() => break,
        };
        note(&settings, &state, &report, at_ms);
        known = give(&settings.name, &state, report.readings, known, at_ms).await;
        at_ms = after(at_ms, sys::clock::now_ms(), every_ms, offset_ms);
    }
    if *stopped.borrow() == Stop::Removed {
        give(&settings.name, &state, Vec::new(), known, sys::clock::now_ms()).await;
    }
}

async fn one_of_a_few(settings: &Settings, gate: &tokio::sync::Semaphore) -> Report {
    let _turn = gate.acquire().await; // It is never closed.
    attempt(settings).await
}

/// The first moment after `now_ms` that is `offset_ms` into the interval.
fn next(now_ms: u64, every_ms: u64, offset_ms: u64) -> u64 {
    let since = (now_ms + every_ms - offset_ms) % every_ms;
    now_ms + every_ms - since
}

/// The moment after `at_ms`, which has just been. A timer may wake us a little
/// early; a clock that says much less stepped back, and its moments count.
fn after(at_ms: u64, now_ms: u64, every_ms: u64, offset_ms: u64) -> u64 {
    let from_ms = if now_ms.saturating_add(every_ms) < at_ms { now_ms } else { now_ms.max(at_ms) };
    next(from_ms, every_ms, offset_ms)
}

fn note(settings: &Settings, state: &State, report: &Report, at_ms: u64) {
    let fares = Fares { failed: report.failed.clone(), at_ms, took_s: report.took.as_secs_f64() };
    lock(&state.probes).insert(settings.name.clone(), fares);
    if settings.public {
        lock(&state.uptime).note(&settings.name, at_ms, report.failed.is_none());
    }
}

/// Gives the readings to the store; series that were there and are not any more end.
async fn give(
    name: &str,
    state: &Arc<State>,
    readings: Vec<Reading>,
    before: BTreeSet<Labels>,
    at_ms: u64,
) -> BTreeSet<Labels> {
    let at_ms = at_ms as i64;
    let mut samples = Vec::with_capacity(readings.len());
    let mut now = BTreeSet::new();
    for reading in readings {
        let own = [(METRIC_NAME, reading.name), ("job", "probe"), ("instance", name)];
        let label = reading.label.as_ref().map(|(name, value)| (*name, value.as_str()));
        let labels = Labels::from_pairs(own.into_iter().chain(label));
        now.insert(labels.clone());
        samples.push(Pending { labels, at_ms, value: reading.value });
    }
    let over = before.difference(&now).cloned();
    samples.extend(over.map(|labels| Pending { labels, at_ms, value: STALE }));
    let sink = state.sink.clone();
    // The disk may be waited for.
    let stored = tokio::task::spawn_blocking(move || sink.append(&samples));
    if let Err(panic) = stored.await {
        std::panic::resume_unwind(panic.into_panic());
    }
    now
}

#[cfg(test)]
mod tests {
    #[test]
    fn moments_are_steady() {
        assert_eq!(super::next(100_000, 30_000, 7), 120_007);
        assert_eq!(super::next(120_006, 30_000, 7), 120_007);
        assert_eq!(super::next(120_007, 30_000, 7), 150_007);
        assert_eq!(super::next(0, 1_000, 0), 1_000);
    }

    #[test]
    fn a_clock_that_jumps_costs_no_moment() {
        let after = |at_ms, now_ms| super::after(at_ms, now_ms, 30_000, 7);
        assert_eq!(after(120_007, 120_300), 150_007);
        assert_eq!(after(120_007, 120_006), 150_007, "woken early");
        assert_eq!(after(120_007, 86_520_300), 86_550_007);
        assert_eq!(after(86_520_007, 120_300), 150_007, "and not tomorrow");
    }
}
