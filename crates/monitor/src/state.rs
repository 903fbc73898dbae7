//! What the monitor's tasks share.

use crate::plan::Plan;
use crate::queries::Queries;
use crate::rules::Book;
use crate::scrape::Board;
use crate::sink::Sink;
use monitor_store::{Damage, OpenReport};
use role::{Events, Registry};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// Shared by tasks, API and admin socket.
pub(crate) struct State {
    /// What runs.
    pub(crate) plan: watch::Sender<Arc<Plan>>,
    /// The way into the store.
    pub(crate) sink: Arc<Sink>,
    /// Samples that are pushed here, and sent on from here.
    pub(crate) push: Arc<crate::push::Push>,
    /// The way out of it.
    pub(crate) queries: Queries,
    /// Targets with how they fare.
    pub(crate) board: Arc<Board>,
    /// Rules with how they fare.
    pub(crate) book: Mutex<Book>,
    /// The event log.
    pub(crate) events: Events,
    /// The metrics.
    pub(crate) registry: Arc<Registry>,
    /// `<state>`: logs are below.
    pub(crate) state_dir: PathBuf,
    /// Where page and API answer.
    pub(crate) listening: Mutex<Vec<SocketAddr>>,
    /// Whether the clock can be believed.
    pub(crate) clock: crate::clock::Clock,
    /// Unix milliseconds.
    pub(crate) started_ms: u64,
    /// What the store said when it was opened.
    pub(crate) opened: OpenReport,
    /// What was found damaged since.
    pub(crate) damage: Mutex<Vec<Damage>>,
    /// Logs that cannot be read, by name, with the reason.
    pub(crate) log_trouble: Mutex<BTreeMap<String, String>>,
    /// How probes fare, by name.
    pub(crate) probes: Mutex<BTreeMap<String, crate::probe::Fares>>,
    /// How services were, day by day.
    pub(crate) uptime: Mutex<crate::probe::uptime::Uptime>,
    /// What is kept of logs for searching.
    pub(crate) archives: crate::logs::Archives,
    /// What else the operator must know.
    pub(crate) trouble: Mutex<Vec<String>>,
}

impl State {
    /// What runs now.
    pub(crate) fn plan(&self) -> Arc<Plan> {
        self.plan.borrow().clone()
    }

    /// The page's URL, without a slash at its end.
    pub(crate) fn external_url(&self) -> String {
        let plan = self.plan();
        if let Some(url) = plan.site.external_url.as_deref().filter(|url| !url.is_empty()) {
            return url.trim_end_matches('/').to_owned();
        }
        let told = plan.site.line.page_url.trim_end_matches('/');
        if !told.is_empty() {
            return told.to_owned();
        }
        let listening = lock(&self.listening);
        listening.first().map(|address| format!("http://{address}")).unwrap_or_default()
    }
}

/// A lock whose holder panicked is still a lock: what it guards is replaced whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
