//! Queries: a few at once, each for a while, on threads of their own kind. A
//! hostile one costs an error; scraping and rules never wait for it.

use crate::state::lock;
use monitor_promql::{Error, Options, Stop};
use monitor_store::Store;
use site::monitor::Queries as Settings;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Work that was told to stop may take this long to do so before its client is
/// answered without it.
const GRACE: Duration = Duration::from_millis(500);

/// Between two queries that are told in the event log: a hostile client shall
/// not fill it.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Runs queries over the store.
pub(crate) struct Queries {
    /// With its gate: who came in by an older one leaves by that.
    settings: Mutex<(Settings, Arc<Semaphore>)>,
    store: Arc<Store>,
    closing: Arc<AtomicBool>,
    logged: Mutex<Option<Instant>>,
}

impl Queries {
    /// Over `store`.
    pub(crate) fn new(store: Arc<Store>, settings: Settings) -> Self {
        let settings = Mutex::new((settings, gate(&settings)));
        Self { settings, store, closing: Arc::default(), logged: Mutex::default() }
    }

    /// What queries may take from now on.
    pub(crate) fn follow(&self, settings: Settings) {
        let mut known = lock(&self.settings);
        if known.0 != settings {
            *known = (settings, gate(&settings));
        }
    }

    /// What queries may take.
    pub(crate) fn settings(&self) -> Settings {
        lock(&self.settings).0
    }

    /// Whether a query may be told in the event log now.
    pub(crate) fn may_log(&self) -> bool {
        let mut logged = lock(&self.logged);
        let may = logged.is_none_or(|last| last.elapsed() >= LOG_EVERY);
        if may {
            *logged = Some(Instant::now());
        }
        may
    }

    /// Ends what runs: the monitor ends.
    pub(crate) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// Whether the monitor ends.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Runs `work` on a thread that may wait. It is stopped at the deadline, and
    /// when the caller goes away.
    pub(crate) async fn run<T, F>(&self, timeout: Duration, work: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Store, &Options<'_>) -> Result<T, Error> + Send + 'static,
    {
        let deadline = Instant::now() + timeout;
        let (settings, gate) = lock(&self.settings).clone();
        let turn = tokio::time::timeout(timeout, gate.acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Err(Error::Timeout) };
        let gone = Gone(Arc::new(AtomicBool::new(false)));
        let (store, flag, closing) = (self.store.clone(), gone.0.clone(), self.closing.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit; // Given back when the work ends, not when its caller does.
            let stop = move || {
                if flag.load(Ordering::Relaxed) || closing.load(Ordering::Relaxed) {
                    Some(Stop::Cancelled)
                } else {
                    (Instant::now() >= deadline).then_some(Stop::Deadline)
                }
            };
            work(&store, &options(&settings, &stop))
        });
        // The client gets its answer in time even if the work looks up too rarely;
        // the work keeps its turn until it has really ended.
        match tokio::time::timeout_at((deadline + GRACE).into(), task).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => std::panic::resume_unwind(panic.into_panic()),
            Err(_) => Err(Error::Timeout),
        }
    }
}

/// Series that one expression may have: what the store has by default. Aggregations
/// fold them as they stream by; what is held is bounded by samples.
const MAX_SERIES: usize = 1_000_000;

/// What every evaluation may take.
pub(crate) fn options<'s>(settings: &Settings, stop: &'s (dyn Fn() -> Option<Stop> + Sync)) -> Options<'s> {
    let lookback_ms = settings.lookback_ms();
    Options { lookback_ms, max_samples: settings.samples, max_series: MAX_SERIES, stop, ..Options::default() }
}

fn gate(settings: &Settings) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(settings.at_once.max(1)))
}

/// Says so when it is dropped.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_answered_in_time_whatever_the_work_does() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), monitor_store::Settings::default(), 0).unwrap();
        let queries = Queries::new(Arc::new(store), Settings::default());
        let deaf = queries.run(Duration::from_millis(10), |_, _| {
            std::thread::sleep(Duration::from_secs(3));
            Ok(())
        });
        let began = Instant::now();
        assert!(matches!(deaf.await, Err(Error::Timeout)));
        assert!(began.elapsed() < Duration::from_secs(3));
        // Work that listens is told why it must stop.
        let told = queries.run(Duration::from_millis(10), |_, options| {
            loop {
                if let Some(stop) = (options.stop)() {
                    return Ok(stop);
                }
                std::thread::yield_now();
            }
        });
        assert_eq!(told.await.unwrap(), Stop::Deadline);
    }

    #[tokio::test]
    async fn other_settings_count_from_the_next_query_on() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), monitor_store::Settings::default(), 0).unwrap();
        let queries = Queries::new(Arc::new(store), Settings { at_once: 1, ..Settings::default() });
        let (enter, entered) = tokio::sync::oneshot::channel();
        let (leave, left) = std::sync::mpsc::channel::<()>();
        let limits = |options: &Options<'_>| (options.max_samples, options.lookback_ms);
        let first = queries.run(Duration::from_secs(60), move |_, options| {
            let _ = enter.send(());
            let _ = left.recv();
            Ok(limits(options))
        });
        let others = async {
            entered.await.unwrap();
            // The one turn is taken; settings with another gate have two.
            let full = queries.run(Duration::from_millis(20), |_, _| Ok(())).await;
            assert!(matches!(full, Err(Error::Timeout)), "{full:?}");
            queries.follow(Settings {
                at_once: 2,
                samples: 7,
                lookback: base::Millis(9),
                ..Settings::default()
            });
            let told = queries.run(Duration::from_secs(60), move |_, options| Ok(limits(options))).await;
            assert_eq!(told.unwrap(), (7, 9));
            leave.send(()).unwrap();
        };
        let (first, ()) = tokio::join!(first, others);
        assert_eq!(first.unwrap(), (5_000_000, 300_000));
    }

    #[tokio::test]
    async fn work_is_stopped_when_its_client_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), monitor_store::Settings::default(), 0).unwrap();
        let queries = Queries::new(Arc::new(store), Settings::default());
        let (said, stopped) = tokio::sync::oneshot::channel();
        let run = queries.run(Settings::default().timeout.duration(), move |_, options| {
            loop {
                if let Some(stop) = (options.stop)() {
                    let _ = said.send(stop);
                    return Ok(());
                }
                std::thread::yield_now();
            }
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), run).await.is_err());
        assert_eq!(stopped.await.unwrap(), Stop::Cancelled);
    }
}
