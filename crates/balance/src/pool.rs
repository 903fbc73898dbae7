//! The servers of one pool, the requests at each, and the choice of one.

use crate::health::{Change, Health, Outcome, State};
use crate::settings::{self, Policy};
use base::Address;
use serde::Serialize;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One pool, shared by all workers.
#[derive(Debug)]
pub struct Pool {
    settings: settings::Pool,
    endpoints: Vec<Arc<Endpoint>>,
    /// Smooth weighted round robin's current weights, one a server. The lock also
    /// makes choosing and counting one step.
    turns: Mutex<Vec<i64>>,
}

/// The right to send one request to a server, counted until it ends. Dropping it
/// is [`Outcome::Abandoned`].
#[derive(Debug)]
#[must_use = "a lease that is dropped at once frees the server at once"]
pub struct Lease {
    endpoint: Arc<Endpoint>,
    index: usize,
    trial: bool,
}

/// No server may take the request now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoServer {
    /// Why, in short; also a metric's label.
    pub reason: &'static str,
    /// When a server's trial is due, if one is backing off.
    pub trial_at_ms: Option<u64>,
}

/// One server, for status page and metrics.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerStatus {
    /// `app/1`.
    pub name: String,
    /// Where it answers.
    pub address: Address,
    /// Its share.
    pub weight: u16,
    /// Requests at it now.
    pub in_flight: u32,
    /// Whether it takes requests.
    pub up: bool,
    /// In detail.
    pub health: State,
    /// Why, for a person.
    pub why: String,
    /// Since when, in the caller's milliseconds.
    pub since_ms: u64,
}

#[derive(Debug)]
struct Endpoint {
    name: String,
    /// Shared across revisions, so that the count stays exact.
    in_flight: Arc<AtomicU32>,
    /// [`State`] in one word for the choice: [`IN`], [`UNCHECKED`], [`OUT`], or
    /// the time of the trial. Written under `health`'s lock only.
    gate: AtomicU64,
    /// Whether failures are on record, so that an answer must take the lock.
    failing: AtomicBool,
    /// Whether a trial request is under way.
    on_trial: AtomicBool,
    health: Mutex<Health>,
}

const IN: u64 = 0;
const UNCHECKED: u64 = 1;
const OUT: u64 = u64::MAX;

impl Pool {
    /// A pool whose servers nobody has spoken to yet.
    pub fn new(settings: settings::Pool, now_ms: u64) -> Self {
        let checked = settings.health.is_some();
        let endpoints =
            settings.servers.iter().map(|s| Arc::new(Endpoint::new(&s.name, checked, now_ms))).collect();
        Self::with(settings, endpoints)
    }

    /// The pool for new settings. A server of the same name and address keeps its
    /// health (unless checks were switched on or off), its drained flag and its
    /// requests in flight; leases of the old pool stay valid.
    pub fn rebuild(&self, settings: settings::Pool, now_ms: u64) -> Self {
        let checked = settings.health.is_some();
        let same_checks = checked == self.settings.health.is_some();
        let endpoints = settings
            .servers
            .iter()
            .map(|new| match self.position(&new.name).filter(|&i| self.address(i) == &new.address) {
                Some(i) if same_checks => Arc::clone(&self.endpoints[i]),
                Some(i) => Arc::new(self.endpoints[i].with_checks(checked, now_ms)),
                None => Arc::new(Endpoint::new(&new.name, checked, now_ms)),
            })
            .collect();
        Self::with(settings, endpoints)
    }

    fn with(settings: settings::Pool, endpoints: Vec<Arc<Endpoint>>) -> Self {
        let turns = Mutex::new(vec![0; endpoints.len()]);
        Self { settings, endpoints, turns }
    }

    /// What the pool was told.
    pub fn settings(&self) -> &settings::Pool {
        &self.settings
    }

    /// How many servers there are; their indices are below it.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The index of a server's name.
    pub fn position(&self, name: &str) -> Option<usize> {
        self.settings.servers.iter().position(|s| s.name == name)
    }

    /// A server's address. Panics if `index` is not below [`Pool::len`].
    pub fn address(&self, index: usize) -> &Address {
        &self.settings.servers[index].address
    }

    /// A server's name. Panics if `index` is not below [`Pool::len`].
    pub fn name(&self, index: usize) -> &str {
        &self.settings.servers[index].name
    }

    /// Chooses a server for one request and counts the request there. `exclude`
    /// are indices not to take: those already tried for this request.
    ///
    /// Servers not checked yet are taken only where no other may be. A server
    /// whose back-off is over takes one request at a time until one is answered.
    pub fn choose(&self, now_ms: u64, exclude: &[usize]) -> Result<Lease, NoServer> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        for wanted in [Tier::Proven, Tier::Unchecked] {
            // Between reading the counters and taking one, another pool of the same
            // servers (the revision before) may have taken the last place.
            while let Some(index) = self.next(&mut turns, now_ms, exclude, wanted) {
                if let Some(lease) = self.take(index, now_ms) {
                    return Ok(lease);
                }
            }
        }
        Err(self.no_server(now_ms, exclude))
    }

    /// The best server of a tier, without taking it.
    fn next(&self, turns: &mut [i64], now_ms: u64, exclude: &[usize], wanted: Tier) -> Option<usize> {
        let eligible = |i: usize| !exclude.contains(&i) && self.tier(i, now_ms) == Some(wanted);
        let least = match self.settings.policy {
            Policy::RoundRobin => None,
            Policy::LeastRequests => {
                let of = |i: usize| (self.endpoints[i].in_flight(), self.weight(i));
                // a/x < b/y without division: a·y < b·x.
                let less = |a: (u32, i64), b: (u32, i64)| i64::from(a.0) * b.1 < i64::from(b.0) * a.1;
                let least = (0..self.len()).filter(|&i| eligible(i)).map(of);
                Some(least.reduce(|best, this| if less(this, best) { this } else { best })?)
            }
        };
        let tied = |i: usize| match least {
            None => true,
            Some((n, w)) => i64::from(self.endpoints[i].in_flight()) * w <= i64::from(n) * self.weight(i),
        };
        // Smooth weighted round robin among those left: each gains its weight, the
        // highest is taken and gives up the sum.
        let mut total = 0;
        let mut best: Option<usize> = None;
        for i in (0..self.len()).filter(|&i| eligible(i) && tied(i)) {
            turns[i] += self.weight(i);
            total += self.weight(i);
            if best.is_none_or(|b| turns[i] > turns[b]) {
                best = Some(i);
            }
        }
        let best = best?;
        turns[best] -= total;
        Some(best)
    }

    fn tier(&self, index: usize, now_ms: u64) -> Option<Tier> {
        let endpoint = &self.endpoints[index];
        let limit = self.settings.max_in_flight;
        if limit != 0 && endpoint.in_flight() >= limit {
            return None;
        }
        match endpoint.gate.load(Ordering::Acquire) {
            IN => Some(Tier::Proven),
            UNCHECKED => Some(Tier::Unchecked),
            OUT => None,
            trial_at if trial_at > now_ms => None,
            _ => (!endpoint.on_trial.load(Ordering::Acquire)).then_some(Tier::Proven),
        }
    }

    fn take(&self, index: usize, now_ms: u64) -> Option<Lease> {
        let endpoint = &self.endpoints[index];
        let gate = endpoint.gate.load(Ordering::Acquire);
        let trial = !matches!(gate, IN | UNCHECKED);
        if trial && (gate > now_ms || endpoint.on_trial.swap(true, Ordering::AcqRel)) {
            return None;
        }
        let limit = self.settings.max_in_flight;
        let before = endpoint.in_flight.fetch_add(1, Ordering::AcqRel);
        let lease = Lease { endpoint: Arc::clone(endpoint), index, trial };
        // Over the limit: the lease is dropped and gives the place back.
        (limit == 0 || before < limit).then_some(lease)
    }

    fn no_server(&self, now_ms: u64, exclude: &[usize]) -> NoServer {
        let left = || (0..self.len()).filter(|i| !exclude.contains(i));
        let gates = || left().map(|i| self.endpoints[i].gate.load(Ordering::Acquire));
        let reason = if self.is_empty() {
            "empty"
        } else if left().next().is_none() {
            "all_tried"
        } else if gates().any(|gate| gate == IN || gate == UNCHECKED) {
            "all_busy"
        } else {
            "all_down"
        };
        let trial_at_ms = gates().filter(|gate| !matches!(*gate, IN | UNCHECKED | OUT)).min();
        NoServer { reason, trial_at_ms: trial_at_ms.map(|at| at.max(now_ms)) }
    }

    fn weight(&self, index: usize) -> i64 {
        // 0 is refused where the file is read; here it must only do no harm.
        i64::from(self.settings.servers[index].weight.max(1))
    }

    /// Takes an active check's result for a server: nothing, or why it failed.
    /// Panics if `index` is not below [`Pool::len`].
    pub fn checked(&self, index: usize, result: Result<(), &str>, now_ms: u64) -> Option<Change> {
        let (rise, fall) = self.settings.health.as_ref().map_or((1, 1), |check| (check.rise, check.fall));
        self.endpoints[index].update(|health| health.checked(result, rise, fall, now_ms))
    }

    /// Takes a server out by hand (its requests in flight go on), or back in.
    /// Panics if `index` is not below [`Pool::len`].
    pub fn drain(&self, index: usize, drained: bool, now_ms: u64) -> Option<Change> {
        self.endpoints[index].update(|health| health.drain(drained, now_ms))
    }

    /// Every server, in the order of the file.
    pub fn status(&self) -> Vec<ServerStatus> {
        let servers = self.settings.servers.iter().zip(&self.endpoints);
        let one = |(server, endpoint): (&settings::Server, &Arc<Endpoint>)| {
            let health = endpoint.health();
            ServerStatus {
                name: server.name.clone(),
                address: server.address.clone(),
                weight: server.weight,
                in_flight: endpoint.in_flight(),
                up: health.state().is_up(),
                health: health.state(),
                why: health.why().to_owned(),
                since_ms: health.since_ms(),
            }
        };
        servers.map(one).collect()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tier {
    Proven,
    Unchecked,
}

impl Lease {
    /// The server's index in the pool that gave the lease.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Whether the server is out and this request tries it.
    pub fn is_trial(&self) -> bool {
        self.trial
    }

    /// Tells how the server did while the request goes on: its place stays taken
    /// until the lease is dropped. Say `Answered` at the response's head, and drop
    /// the lease at the end of its body.
    pub fn report(&mut self, outcome: Outcome, now_ms: u64) -> Option<Change> {
        let endpoint = &self.endpoint;
        let trial = self.trial;
        if outcome == Outcome::Answered && !trial && !endpoint.failing.load(Ordering::Acquire) {
            return None;
        }
        let change = endpoint.update(|health| health.ended(outcome, trial, now_ms));
        if outcome != Outcome::Abandoned {
            self.finish_trial();
        }
        change
    }

    /// Ends the request: [`Lease::report`], then the place is free.
    pub fn end(mut self, outcome: Outcome, now_ms: u64) -> Option<Change> {
        self.report(outcome, now_ms)
    }

    fn finish_trial(&mut self) {
        if std::mem::take(&mut self.trial) {
            self.endpoint.on_trial.store(false, Ordering::Release);
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.finish_trial();
        self.endpoint.in_flight.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Endpoint {
    fn new(name: &str, checked: bool, now_ms: u64) -> Self {
        Self::of(name, Arc::default(), Health::new(checked, now_ms))
    }

    /// The same server with its checks switched on or off: what the old checks
    /// said no longer counts, since nothing would take it back.
    fn with_checks(&self, checked: bool, now_ms: u64) -> Self {
        let mut health = Health::new(checked, now_ms);
        if self.health().state() == State::Drained {
            health.drain(true, now_ms);
        }
        Self::of(&self.name, Arc::clone(&self.in_flight), health)
    }

    fn of(name: &str, in_flight: Arc<AtomicU32>, health: Health) -> Self {
        let gate = AtomicU64::new(gate_of(health.state()));
        let (failing, on_trial) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { name: name.to_owned(), in_flight, gate, failing, on_trial, health: Mutex::new(health) }
    }

    fn in_flight(&self) -> u32 {
        self.in_flight.load(Ordering::Acquire)
    }

    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update(&self, step: impl FnOnce(&mut Health) -> bool) -> Option<Change> {
        let mut health = self.health();
        let was_up = health.state().is_up();
        let was_unchecked = health.state() == State::Unchecked;
        let changed = step(&mut health);
        self.failing.store(health.failures() > 0, Ordering::Release);
        self.gate.store(gate_of(health.state()), Ordering::Release);
        let up = health.state().is_up();
        // From one kind of out to another is no news; the first word about a server is.
        let news = changed && (up != was_up || was_unchecked);
        news.then(|| Change { server: self.name.clone(), up, why: health.why().to_owned() })
    }
}

fn gate_of(state: State) -> u64 {
    match state {
        State::In => IN,
        State::Unchecked => UNCHECKED,
        State::FailedChecks | State::Drained => OUT,
        State::BackingOff { trial_at_ms } => trial_at_ms.clamp(UNCHECKED + 1, OUT - 1),
    }
}

#[cfg(test)]
mod tests;
