//! The tasks of pools: what discovery finds becomes targets' tasks.

use super::discovery::Discoverer;
use super::target::{Counters, Scraper, Told};
use super::{Board, Endpoint, Go, Health, PoolPlan, PoolView, TargetView, Work};
use crate::sink::Sink;
use base::names;
use monitor_model::Labels;
use monitor_scrape::Change;
use role::Registry;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

/// Tasks that do not end within this are left behind.
const END: Duration = Duration::from_secs(5);

/// Changes of discovery that follow one another are taken together.
const SETTLE: Duration = Duration::from_millis(50);

/// All pools of the revision.
pub(crate) struct Pools {
    sink: Arc<Sink>,
    registry: Arc<Registry>,
    board: Arc<Board>,
    running: BTreeMap<String, Running>,
}

struct Running {
    tell: watch::Sender<(PoolPlan, Go)>,
    task: JoinHandle<()>,
}

impl Pools {
    pub(crate) fn new(sink: Arc<Sink>, registry: Arc<Registry>, board: Arc<Board>) -> Self {
        Self { sink, registry, board, running: BTreeMap::new() }
    }

    /// Starts what is new, changes what changed, ends what is gone; the rest goes on undisturbed.
    pub(crate) fn follow(&mut self, plans: &[PoolPlan]) {
        self.running.retain(|key, running| {
            let wanted = plans.iter().any(|plan| plan.key == *key);
            if !wanted {
                running.tell.send_modify(|(_, go)| *go = Go::Removed);
            }
            wanted
        });
        for plan in plans {
            if let Some(running) = self.running.get(&plan.key) {
                running.tell.send_if_modified(|(known, _)| {
                    let differs = known != plan;
                    if differs {
                        known.clone_from(plan);
                    }
                    differs
                });
                continue;
            }
            let (tell, told) = watch::channel((plan.clone(), Go::On));
            let pool = PoolTask {
                plan: plan.clone(),
                sink: self.sink.clone(),
                registry: self.registry.clone(),
                board: self.board.clone(),
                discoverers: Vec::new(),
                changed: Arc::new(Notify::new()),
                targets: BTreeMap::new(),
            };
            let task = tokio::spawn(pool.run(told));
            self.running.insert(plan.key.clone(), Running { tell, task });
        }
    }

    /// Ends all tasks; series go on with the next monitor.
    pub(crate) async fn end(self) {
        for running in self.running.values() {
            running.tell.send_modify(|(_, go)| *go = Go::Shutdown);
        }
        let all = async {
            for running in self.running.into_values() {
                let _ = running.task.await; // A panic was told by its own thread.
            }
        };
        let _ = tokio::time::timeout(END, all).await;
    }
}

/// One pool.
struct PoolTask {
    plan: PoolPlan,
    sink: Arc<Sink>,
    registry: Arc<Registry>,
    board: Arc<Board>,
    discoverers: Vec<Discoverer>,
    changed: Arc<Notify>,
    targets: BTreeMap<Key, TargetTask>,
}

/// What names a target within its pool.
type Key = (Labels, String);

struct TargetTask {
    view: TargetView,
    tell: watch::Sender<Told>,
    task: JoinHandle<()>,
}

impl PoolTask {
    async fn run(mut self, mut told: watch::Receiver<(PoolPlan, Go)>) {
        loop {
            let (plan, go) = told.borrow_and_update().clone();
            if go != Go::On {
                return self.end(go).await;
            }
            self.plan = plan;
            self.discover();
            self.reconcile();
            tokio::select! {
                () = self.changed.notified() => tokio::time::sleep(SETTLE).await,
                changed = told.changed() => if changed.is_err() { return self.end(Go::Shutdown).await },
            }
        }
    }

    /// Discoveries that are as they were go on.
    fn discover(&mut self) {
        let mut old = std::mem::take(&mut self.discoverers);
        for settings in &self.plan.pool.discovery {
            let same = |known: &Discoverer| known.settings == *settings;
            let discoverer = match old.iter().position(same) {
                Some(at) => old.swap_remove(at),
                None => Discoverer::new(settings.clone(), &self.plan.pool.name, &self.changed),
            };
            self.discoverers.push(discoverer);
        }
    }

    /// Makes the targets' tasks those of what was found.
    fn reconcile(&mut self) {
        let pool = self.plan.pool.clone();
        let mut view = PoolView { name: pool.name.clone(), ..PoolView::default() };
        let mut groups = Vec::new();
        let mut failures = 0;
        for discoverer in &self.discoverers {
            let found = discoverer.found();
            groups.extend(found.groups);
            failures += found.failures;
            view.failing.extend(found.failing.into_values());
        }
        let change = Change::of_groups(&pool, &groups);
        (view.dropped, view.dropped_count) = (change.dropped, change.dropped_count);
        view.wrong = change.wrong;
        let mut wanted: BTreeMap<Key, Work> = BTreeMap::new();
        for (target, endpoint) in &self.plan.fixed {
            let (target, endpoint) = (target.clone(), endpoint.clone());
            wanted.insert(target.key(), Work { target, endpoint, pool: pool.clone(), exceeded: None });
        }
        for target in change.targets {
            match Endpoint::of_authority(&target.address, target.tls) {
                Ok(endpoint) => {
                    let exceeded = change.exceeded.clone();
                    wanted.insert(target.key(), Work { target, endpoint, pool: pool.clone(), exceeded });
                }
                Err(why) => view.wrong.push((target.discovered, why)),
            }
        }
        self.follow(wanted);
        view.targets = self.targets.values().map(|running| running.view.clone()).collect();
        let gauge = self.registry.gauge(&names::MONITOR_TARGETS);
        for (state, count) in
            [("active", view.targets.len()), ("dropped", view.dropped_count), ("wrong", view.wrong.len())]
        {
            gauge.with(&[&pool.name, state]).set(count as f64);
        }
        self.registry.counter(&names::MONITOR_DISCOVERY_FAILURES).with(&[&pool.name]).add(failures);
        self.board.show(&self.plan.key, view);
    }

    fn follow(&mut self, mut wanted: BTreeMap<Key, Work>) {
        let old = std::mem::take(&mut self.targets);
        for (key, mut running) in old {
            match wanted.remove(&key) {
                Some(work) => {
                    if *running.view.work != work {
                        let work = Arc::new(work);
                        running.view.work = work.clone();
                        running.tell.send_replace(Told { work, go: Go::On });
                    }
                    self.targets.insert(key, running);
                }
                None => {
                    // The same labels elsewhere are the same series: they go on there.
                    let moved = wanted.keys().any(|(labels, _)| *labels == key.0);
                    let go = if moved { Go::Shutdown } else { Go::Removed };
                    running.tell.send_modify(|told| told.go = go);
                }
            }
        }
        let counters = Counters::new(&self.registry, &self.plan.pool.name);
        for (key, work) in wanted {
            let work = Arc::new(work);
            let health = Arc::new(Mutex::new(Health::default()));
            let (tell, told) = watch::channel(Told { work: work.clone(), go: Go::On });
            let scraper = Scraper::new(work.clone(), self.sink.clone(), health.clone(), counters.clone());
            let task = tokio::spawn(scraper.run(told));
            self.targets.insert(key, TargetTask { view: TargetView { work, health }, tell, task });
        }
    }

    async fn end(self, go: Go) {
        self.board.remove(&self.plan.key);
        for running in self.targets.values() {
            running.tell.send_modify(|told| told.go = go);
        }
        for running in self.targets.into_values() {
            let _ = tokio::time::timeout(END, running.task).await;
        }
    }
}
