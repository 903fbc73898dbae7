//! Queries: a few at once, each for a while, on threads of their own kind. A
//! hostile one costs an error; scraping and rules never wait for it.

use crate::state::lock;
use monitor_promql::{Error, Options, Stop};
use monitor_store::Store;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// What queries may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    /// Queries that run at once; further ones wait for their turn. Default 8, 1
    /// to 1,000 (Prometheus: 20).
    pub(crate) at_once: usize,
    /// The longest a query may take, waiting included. Default 30 s, 100 ms to
    /// 1 h (Prometheus: 2 min).
    pub(crate) timeout: Duration,
    /// Samples one query may hold, 16 bytes each. Default 5,000,000, so 80 MB;
    /// 1,000 to 1,000,000,000 (Prometheus: 50,000,000).
    pub(crate) max_samples: u64,
    /// How far back a value counts as current, in milliseconds. Default 5 min,
    /// 1 ms to 1 d (Prometheus: the same).
    pub(crate) lookback_ms: i64,
    /// A query that takes longer is told in the event log, as are those that hit
    /// a limit. Default 5 s.
    pub(crate) slow: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            at_once: 8,
            timeout: Duration::from_secs(30),
            max_samples: 5_000_000,
            lookback_ms: 300_000,
            slow: Duration::from_secs(5),
        }
    }
}

/// Work that was told to stop may take this long to do so before its client is
/// answered without it.
const GRACE: Duration = Duration::from_millis(500);

/// Between two queries that are told in the event log: a hostile client shall
/// not fill it.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Runs queries over the store.
pub(crate) struct Queries {
    settings: Settings,
    store: Arc<Store>,
    gate: Arc<Semaphore>,
    closing: Arc<AtomicBool>,
    logged: Mutex<Option<Instant>>,
}

impl Queries {
    /// Over `store`.
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self::with(store, Settings::default())
    }

    /// Over `store`, with what queries may take.
    pub(crate) fn with(store: Arc<Store>, settings: Settings) -> Self {
        let gate = Arc::new(Semaphore::new(settings.at_once.max(1)));
        Self { settings, store, gate, closing: Arc::default(), logged: Mutex::default() }
    }

    /// What queries may take.
    pub(crate) fn settings(&self) -> &Settings {
        &self.settings
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
        let turn = tokio::time::timeout(timeout, self.gate.clone().acquire_owned()).await;
        let Ok(Ok(permit)) = turn else { return Err(Error::Timeout) };
        let gone = Gone(Arc::new(AtomicBool::new(false)));
        let (store, flag, closing) = (self.store.clone(), gone.0.clone(), self.closing.clone());
        let settings = self.settings;
        let task = tokio::task::spawn_blocking(move || {
            let _permit = permit; // Given back when the work ends, not when its caller does.
            let stop = move || {
                if flag.load(Ordering::Relaxed) || closing.load(Ordering::Relaxed) {
                    Some(Stop::Cancelled)
                } else {
                    (Instant::now() >= deadline).then_some(Stop::Deadline)
                }
            };
            work(&store, &Options { max_samples: settings.max_samples, ..options(&stop) })
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
pub(crate) fn options(stop: &(dyn Fn() -> Option<Stop> + Sync)) -> Options<'_> {
    let Settings { lookback_ms, max_samples, .. } = Settings::default();
    Options { lookback_ms, max_samples, max_series: MAX_SERIES, stop, ..Options::default() }
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
        let queries = Queries::new(Arc::new(store));
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
    async fn work_is_stopped_when_its_client_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(dir.path(), monitor_store::Settings::default(), 0).unwrap();
        let queries = Queries::new(Arc::new(store));
        let (said, stopped) = tokio::sync::oneshot::channel();
        let run = queries.run(Settings::default().timeout, move |_, options| {
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
