//! Scraping: every target at its own steady moment of the interval.
//!
//! `monitor-scrape` decides; this does it:
//!
//! ```text
//! revision ─▶ Pools ─▶ a task for each pool ─┬─▶ a task for each target ─▶ client ─▶ body ─▶ rows ─▶ sink
//!   static, files, HTTP, DNS ─▶ discovery ───┘                                  └─▶ health ─▶ Board ─▶ API
//! ```
//!
//! A reload changes what it must: pools, discoveries and targets that are as they
//! were go on with their connections, their moments and what they know of series.
//! Reading a body and waiting for the disk happen on threads that may wait.

mod client;
mod discovery;
mod plan;
mod pool;
mod rows;
mod target;

pub(crate) use crate::fetch::Endpoint;
pub(crate) use plan::{PoolPlan, pools_of};
pub(crate) use pool::Pools;

use crate::state::lock;
use monitor_model::{Labels, Metadata};
use monitor_scrape::{Pool, Target};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// What a task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Go {
    /// Go on.
    On,
    /// It left the revision: its series are over.
    Removed,
    /// The monitor ends; the series go on with the next one.
    Shutdown,
}

/// How a target fares.
#[derive(Clone, Debug, Default)]
pub(crate) struct Health {
    /// Why the last scrape failed; empty where it did not.
    pub(crate) error: String,
    /// When it was, in Unix milliseconds; none before the first.
    pub(crate) at_ms: Option<u64>,
    /// How long it took, in seconds.
    pub(crate) took_s: f64,
    /// Type, unit and help of each family that it told.
    pub(crate) metadata: Arc<BTreeMap<String, Metadata>>,
}

/// What is scraped, and how: all that a target's task is told.
#[derive(Clone, Debug)]
pub(crate) struct Work {
    /// What it is.
    pub(crate) target: Target,
    /// Where it answers.
    pub(crate) endpoint: Endpoint,
    /// Its pool.
    pub(crate) pool: Arc<Pool>,
    /// Why it is not scraped although it is there: `target_limit`.
    pub(crate) exceeded: Option<String>,
}

impl PartialEq for Work {
    fn eq(&self, other: &Self) -> bool {
        let same_pool = Arc::ptr_eq(&self.pool, &other.pool) || *self.pool == *other.pool;
        same_pool
            && self.target == other.target
            && self.endpoint == other.endpoint
            && self.exceeded == other.exceeded
    }
}

/// A target as it is shown.
#[derive(Clone, Debug)]
pub(crate) struct TargetView {
    /// What is scraped.
    pub(crate) work: Arc<Work>,
    /// How it fares.
    pub(crate) health: Arc<Mutex<Health>>,
}

/// A pool as it is shown.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolView {
    /// `job_name`: `scrapePool` of the API.
    pub(crate) name: String,
    /// What is scraped.
    pub(crate) targets: Vec<TargetView>,
    /// Labels of what relabelling dropped, as it was discovered; as many as are kept.
    pub(crate) dropped: Vec<Labels>,
    /// How many were dropped.
    pub(crate) dropped_count: usize,
    /// What was discovered and cannot be a target, with the reason.
    pub(crate) wrong: Vec<(Labels, String)>,
    /// Discoveries that fail, with the reason; what they found before goes on.
    pub(crate) failing: Vec<String>,
}

/// All pools, for API and status.
#[derive(Debug, Default)]
pub(crate) struct Board(Mutex<BTreeMap<String, PoolView>>);

impl Board {
    /// Pools by name.
    pub(crate) fn pools(&self) -> Vec<PoolView> {
        lock(&self.0).values().cloned().collect()
    }

    /// All targets, by pool.
    pub(crate) fn targets(&self) -> Vec<TargetView> {
        lock(&self.0).values().flat_map(|pool| pool.targets.iter().cloned()).collect()
    }

    /// What the operator must know about discovery.
    pub(crate) fn trouble(&self) -> Vec<String> {
        let pools = lock(&self.0);
        let of_pool = |pool: &PoolView| {
            let wrong = pool.wrong.iter().take(10).map(|(labels, why)| {
                let address = labels.get("__address__").unwrap_or_default();
                format!("pool `{}`: `{address}` cannot be scraped: {why}", pool.name)
            });
            let failing = pool.failing.iter().map(|why| format!("pool `{}`: {why}", pool.name));
            wrong.chain(failing).collect::<Vec<_>>()
        };
        pools.values().flat_map(of_pool).collect()
    }

    fn show(&self, key: &str, view: PoolView) {
        lock(&self.0).insert(key.to_owned(), view);
    }

    fn remove(&self, key: &str) {
        lock(&self.0).remove(key);
    }
}
